"""The times of operators inside ExecuTorch, XNNPACK's included: from the event trace that its package writes.

The trace (ETDump) is a flatbuffer after ExecuTorch's etdump_schema_flatcc.fbs. XNNPACK's operators have
neither the names nor the shapes of the program's nodes, and their times are whole microseconds.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from swapbench.flatbuffer_tables import root
from swapbench.runtimes.feed import Unusable
from swapbench.runtimes.worker import Executed

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.flatbuffer_tables import Table

WARMUP_RUNS: Final = 3
KERNEL: Final = "native_call_"
"""What the name of an event begins with that is a kernel of the program."""
_EXECUTE: Final = "Execute"
_SIZE: Final = 4
"""Bytes in front of the flatbuffer that say how long it is."""
_NUMBERED: Final = re.compile(r"( IGEMM| DWConv| GEMM)? #\d+$")


def profile(
    library: Any, artifact: str, method: str, call: Callable[[Any], None], runs: int
) -> list[Executed]:
    """Every operator in the order of execution, with its time in each of `runs` runs after a warm-up.

    Args:
        library: ExecuTorch's.
        artifact: The program.
        method: Of it.
        call: Runs a method once.
        runs: How many are profiled.

    Raises:
        Unusable: The package writes no trace, or one of another form.
    """
    program = library._load_program(artifact, enable_etdump=True)  # noqa: SLF001 - it has no other name
    if not program.has_etdump():
        raise Unusable("this build of ExecuTorch writes no event trace")
    loaded = program.load_method(method)
    for _ in range(WARMUP_RUNS + runs):
        call(loaded)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.etdp"
        program.write_etdump_result_to_file(str(path))
        return executed(path.read_bytes(), runs)


def executed(trace: bytes, runs: int) -> list[Executed]:
    """The operators of the last runs of a trace, in order; Unusable where it has another form."""
    try:
        blocks = [block for block in root(trace[_SIZE:]).tables(1) if block.text(0) == _EXECUTE][-runs:]
        each = [_operators(block) for block in blocks]
    except ValueError as problem:
        raise Unusable(f"ExecuTorch's trace has an unknown format ({problem})") from None
    if len(each) < runs or not each[0]:
        raise Unusable("ExecuTorch's trace lacks runs or their operators")
    first = [(op, provider) for op, provider, _ in each[0]]
    if any([(op, provider) for op, provider, _ in one] != first for one in each):
        raise Unusable("the operators in ExecuTorch's trace changed from run to run")
    return [
        Executed("", op, "", provider, [one[place][2] for one in each])
        for place, (op, provider) in enumerate(first)
    ]


def _operators(block: Table) -> list[tuple[str, str, int]]:
    """(operator, what ran it, its time in ns) of one run."""
    found = []
    for event in block.tables(3):
        timed = event.table(0)
        if timed is None:
            continue
        name, inside = timed.text(0), timed.text(4)
        took_ns = timed.whole(7, "Q") - timed.whole(6, "Q")
        if inside:
            found.append((_NUMBERED.sub("", inside), "xnnpack", took_ns))
        elif name.startswith(KERNEL):
            found.append((name.removeprefix(KERNEL), "builtin", took_ns))
    return found
