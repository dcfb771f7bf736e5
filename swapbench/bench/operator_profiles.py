"""Where the time of a run goes: fresh processes that run one file under its runtime's own profiler.

Files take turns, A B, B A, A B, so that a drift of the machine's clock affects all alike. Profiling is a pass
of its own: no other number of a record comes from it, because a profiler slows down what it watches.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from swapbench.bench.workers import ANSWER_TIMEOUT_S, LOAD_TIMEOUT_S
from swapbench.errors import WorkerFailed
from swapbench.operators import identities, summary
from swapbench.ports import unseen
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Device, Profile, Progress
    from swapbench.records import OperatorProfile, Plan

RUNS = 50
"""Of a process, at most; runtimes.worker.PROFILED_NS says how many fit."""

KEPT_PROCESSES = 3
"""Fresh processes of each file in the pass of a run, whose record keeps shares and no ranges."""

TIMEOUT_S = LOAD_TIMEOUT_S + ANSWER_TIMEOUT_S


def measure_operators(
    files: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    processes: int,
    *,
    progress: Progress,
    budget_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[tuple[Profile, ...]]:
    """Profile files in turn.

    Args:
        files: what to profile.
        device: where.
        plan: for its threads and warm-up.
        processes: how many of each file.
        progress: told the turns that are done.
        budget_s: the pass ends before a turn that would not fit, but not before one is done; a process that
            alone takes longer is killed. None for no limit.
        clock: in seconds.

    Returns:
        The profiles of each file, of as many processes each: [file][process].

    Raises:
        WorkerFailed: a file could not be profiled, or executed different nodes than before.
        DeviceFailed: the device is gone.
    """
    began_s, timeout_s = clock(), min(TIMEOUT_S, budget_s or TIMEOUT_S)
    profiles: list[list[Profile]] = [[] for _ in files]
    for turn in range(processes):
        spent_s = clock() - began_s
        if budget_s is not None and turn and spent_s * (turn + 1) / turn > budget_s:
            progress("profiling", processes, processes)
            break
        order = range(len(files))
        for place in order if turn % 2 == 0 else reversed(order):
            profile = _profile(files[place], device, plan, timeout_s)
            if profiles[place] and _executed(profile) != _executed(profiles[place][0]):
                raise WorkerFailed(f"{files[place].name} did not execute the same nodes in every process")
            profiles[place].append(profile)
        progress("profiling", turn + 1, processes)
    return [tuple(of_file) for of_file in profiles]


def operator_profile(file: FileUnderTest, device: Device, plan: Plan) -> OperatorProfile | Absent:
    """What a record says of the operators of a file; absent where its runtime cannot profile it.

    Raises:
        DeviceFailed: the device is gone.
    """
    try:
        [profiles] = measure_operators([file], device, plan, KEPT_PROCESSES, progress=unseen)
    except WorkerFailed as error:
        return Absent(absent=f"its operators could not be profiled: {error.args[0]}", remedy=error.remedy)
    return summary(profiles)


def _profile(file: FileUnderTest, device: Device, plan: Plan, timeout_s: float) -> Profile:
    finished = device.run(file.command("profile", plan, runs=RUNS), timeout_s)
    try:
        return file.runtime.parse_profile(finished.stdout)
    except WorkerFailed as failure:
        ended = "" if finished.exit_code in {0, 1} else f" (exit status {finished.exit_code})"
        raise WorkerFailed(
            f"{file.name} could not be profiled: {failure.args[0]}{ended}", remedy=failure.remedy
        ) from failure


def _executed(profile: Profile) -> set[tuple[str, str, str, int]]:
    return set(identities(profile.nodes))
