"""The times of nodes from a profile that onnxruntime wrote: Chrome's trace format, one JSON array of events.

See https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html. Used here: "X" events of
category "Session" named `model_run`, one per run, and of category "Node" named `<node>_kernel_time`, with
`op_name`, `provider` and `output_type_shape` among their arguments. Times are whole microseconds.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from swapbench.runtimes.worker import Executed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KERNEL = "_kernel_time"
ADDED = re.compile(r"(?:_nchwc|_token_\d+)+$")
"""What optimisers append to the name of a node that they replace; the number differs from file to file."""
RUN = "model_run"


def executed(events: Sequence[Mapping[str, Any]], warmup_runs: int) -> list[Executed]:
    """Every node in the order of its first run, with its own time in each run after the warm-up.

    A node that holds others (a loop, a branch) counts without them. A node that did not run in some run took
    0 there.

    Raises:
        KeyError, TypeError, ValueError: The events have another form.
    """
    starts = sorted(
        int(event["ts"]) for event in events if event.get("cat") == "Session" and event["name"] == RUN
    )
    runs = len(starts) - warmup_runs
    kernels = [
        event for event in events if event.get("cat") == "Node" and str(event["name"]).endswith(KERNEL)
    ]
    nodes: dict[tuple[str, str, str], Executed] = {}
    for event, own_us in _own_times(kernels):
        run = bisect_right(starts, int(event["ts"])) - 1 - warmup_runs
        if run < 0:
            continue
        args = event["args"]
        name, op = str(event["name"]).removesuffix(KERNEL), str(args["op_name"])
        key = (name, str(args.get("node_index", "")), op)
        if key not in nodes:
            output = _shapes(args.get("output_type_shape", ()))
            provider = str(args.get("provider", ""))
            nodes[key] = Executed(ADDED.sub("", name), op, output, provider, [0] * runs)
        nodes[key].run_ns[run] += own_us * 1000
    return list(nodes.values())


def _own_times(kernels: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], int]]:
    """Each event with its duration in µs, less that of the events inside it, in order of time."""
    order = sorted(kernels, key=lambda event: (int(event["ts"]), -int(event["dur"])))
    own_us = [int(event["dur"]) for event in order]
    enclosing: list[int] = []  # places in `order`, the innermost last
    for place, event in enumerate(order):
        while enclosing and int(event["ts"]) >= _end_us(order[enclosing[-1]]):
            enclosing.pop()
        if enclosing:
            own_us[enclosing[-1]] -= int(event["dur"])
        enclosing.append(place)
    return list(zip(order, own_us, strict=True))


def _end_us(event: Mapping[str, Any]) -> int:
    return int(event["ts"]) + int(event["dur"])


def _shapes(outputs: Sequence[Mapping[str, Sequence[int]]]) -> str:
    """[{"float": [1, 32, 40, 40]}] as 'float 1x32x40x40'."""
    return ", ".join(
        f"{kind} {'x'.join(map(str, shape))}".strip() for output in outputs for kind, shape in output.items()
    )
