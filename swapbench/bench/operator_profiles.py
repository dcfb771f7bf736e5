"""Where the time of a run goes: fresh processes that run one file under its runtime's own profiler.

Two files take turns, A B, B A, A B, so that a drift of the machine's clock falls on both alike. A profile is a pass of its own:
no other number of a record comes from it, because a profiler slows down what it watches.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from swapbench.bench.workers import ANSWER_TIMEOUT_S, LOAD_TIMEOUT_S
from swapbench.errors import WorkerFailed
from swapbench.operators import identities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Device, Profile, Progress
    from swapbench.records import Plan

RUNS = 50
"""At most so many runs a process; see runtimes.worker.PROFILED_NS for how many fit."""

TIMEOUT_S = LOAD_TIMEOUT_S + ANSWER_TIMEOUT_S


def measure_operators(
    subjects: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    processes: int,
    *,
    progress: Progress,
    budget_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[tuple[Profile, ...]]:
    """Profiles of each subject, as many of each: result[subject][process].

    With a budget it ends before a turn that would not fit, at least one is measured, and a process that alone takes longer
    is ended. Raises WorkerFailed, naming the subject, where one fails or executes other nodes than before, and
    DeviceFailed where the device goes away.
    """
    began_s, timeout_s = clock(), min(TIMEOUT_S, budget_s or TIMEOUT_S)
    found: list[list[Profile]] = [[] for _ in subjects]
    for turn in range(processes):
        spent_s = clock() - began_s
        if budget_s is not None and turn and spent_s * (turn + 1) / turn > budget_s:
            progress("profiling", processes, processes)
            break
        order = range(len(subjects))
        for place in order if turn % 2 == 0 else reversed(order):
            profile = _profiled(subjects[place], device, plan, timeout_s)
            if found[place] and _executed(profile) != _executed(found[place][0]):
                raise WorkerFailed(f"{subjects[place].name} executed other nodes in another process")
            found[place].append(profile)
        progress("profiling", turn + 1, processes)
    return [tuple(one) for one in found]


def _profiled(subject: FileUnderTest, device: Device, plan: Plan, timeout_s: float) -> Profile:
    finished = device.run(subject.command("profile", plan, runs=RUNS), timeout_s)
    try:
        return subject.runtime.parse_profile(finished.stdout)
    except WorkerFailed as failure:
        ended = "" if finished.exit_code in {0, 1} else f" (it ended with {finished.exit_code})"
        raise WorkerFailed(
            f"{subject.name} could not be profiled: {failure.args[0]}{ended}", remedy=failure.remedy
        ) from failure


def _executed(profile: Profile) -> set[tuple[str, str, str, int]]:
    return set(identities(profile.nodes))
