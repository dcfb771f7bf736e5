"""How noisy a machine is: one file timed against itself, as two files of a run are."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swapbench import stats
from swapbench.bench.workers import FileUnderTest, time_together
from swapbench.errors import EnvironmentFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.ports import Device
    from swapbench.records import Plan, WorkerTimes

ROUNDS: Final = stats.LOOKS[1]
_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Noise:
    """What two processes of the same file differ by, as shares.

    Attributes:
        p05: half the interval of the ratio of their p05 by round: files of one run that differ by more in p05
            can be told apart.
        median: the same of their medians.
        alone: half the relative interval of the median of one of them, which times of another sitting or
            machine are held against.
        stolen: share of processor time that a hypervisor gave to others meanwhile; None where nothing tells.
    """

    p05: float
    median: float
    alone: float
    stolen: float | None


def measure_noise(
    file: FileUnderTest,
    device: Device,
    plan: Plan,
    *,
    progress: Callable[[int], None] = lambda _: None,
    stolen: Callable[[], tuple[int, int] | None] = lambda: stolen_and_all(_STAT),
) -> Noise:
    """Time a file against itself for some ten seconds.

    Args:
        file: what to time; a run of about a millisecond suits.
        device: where.
        plan: how each round is timed.
        progress: told the number of rounds that are done.
        stolen: the processor time so far that was stolen, and all of it.

    Raises:
        EnvironmentFailed: the file does not run.
    """
    order = random.Random(plan.seed)  # noqa: S311 - an order, no secret
    sides: dict[str, list[WorkerTimes]] = {"one": [], "other": []}
    before = stolen()
    for number in range(ROUNDS):
        workers = time_together(
            [replace(file, name=name) for name in sides],
            device,
            plan,
            number,
            lambda names: order.sample(names, len(names)),
            load_at_once=True,
        )
        for name, worker in workers.items():
            if isinstance(worker, EnvironmentFailed):
                raise worker
            sides[name].append(worker.times)
        progress(number + 1)
    alone = stats.typical(sides["one"], confidence=plan.confidence)
    assert alone is not None
    return Noise(
        p05=_reach(sides, 0.05, plan.confidence),
        median=_reach(sides, stats.MEDIAN, plan.confidence),
        alone=math.inf if alone.interval is None else stats.relative_half_width(alone.interval),
        stolen=_share(before, stolen()),
    )


def _reach(sides: dict[str, list[WorkerTimes]], q: float, confidence: float) -> float:
    one, other = (stats.process_quantiles_ns(workers, q) or [] for workers in sides.values())
    interval = stats.process_interval([a / b for a, b in zip(one, other, strict=True)], confidence)
    return math.inf if interval is None else max(1 - interval.low, interval.high - 1, 0.0)


def stolen_and_all(path: Path) -> tuple[int, int] | None:
    """Processor time since the start of the machine that a hypervisor stole, and all of it, in ticks.

    From the first line of /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
    """
    try:
        words = path.read_text(encoding="ascii").split("\n", 1)[0].split()
        ticks = [int(word) for word in words[1:9]]
    except (OSError, ValueError):
        return None
    return (ticks[7], sum(ticks)) if words[0] == "cpu" and len(ticks) == 8 else None


def _share(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])
