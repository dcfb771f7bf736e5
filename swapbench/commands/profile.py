"""Which operators take the time of a model file, and which of them a candidate spends more on than its baseline."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench import bench, catalog, operators, stats
from swapbench.commands.device import DeviceRequest, open_place
from swapbench.commands.run import candidates_of_files
from swapbench.errors import NotValid, SwapbenchError, UserError
from swapbench.gate.comparison import Explanation, explanation
from swapbench.operators import Contents, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swapbench.bench.experiment import Candidate
    from swapbench.catalog import Folders
    from swapbench.commands.paired_runs import Judged
    from swapbench.gate.policy import Policy
    from swapbench.operators import Breakdown, Difference, OperatorCount
    from swapbench.ports import Device, Progress, Runtime
    from swapbench.records import Plan

PROCESSES: Final = 5
LEAST_PROCESSES: Final = 3
"""Of each file: the range of five misses the median once in 16 times, that of three once in four."""

PAIRED_ROUNDS: Final = 4
"""Rounds of the gate's kind that tell how two files compare as a whole."""

EXPLAIN_BUDGET_S: Final = 8.0
"""Time for explaining one failed model of a gate."""


@dataclass(frozen=True)
class ProfileRequest:
    """What a person asked `swapbench profile` for. timed False: only what the files hold."""

    baseline: Path
    candidate: Path | None = None
    device: str = "local"
    runtimes: tuple[str, ...] = ()
    timed: bool = True
    processes: int = PROCESSES
    plan: Plan = bench.PAIRED_PLAN


@dataclass(frozen=True)
class ProfileResult:
    """One file, or two and their difference. breakdowns: one a file, () where nothing was timed."""

    files: tuple[Contents, ...]
    counted: tuple[OperatorCount, ...]
    breakdowns: tuple[Breakdown, ...] = ()
    difference: Difference | None = None


def profile(folders: Folders, request: ProfileRequest, *, progress: Progress) -> ProfileResult:
    """Profile one file, or two in turns.

    Raises UserError for a file that is none or two of different formats, EnvironmentFailed where a worker fails.
    """
    place = open_place(
        folders,
        DeviceRequest(request.device if request.timed else "local"),
        catalog.split_commas(request.runtimes),
    )
    device, runtimes = place.device, place.runtimes
    paths = [path for path in (request.baseline, request.candidate) if path is not None]
    chosen = [_candidate(path, runtimes) for path in paths]
    if len({one.variant.format for one in chosen}) > 1:
        raise UserError(
            f"{' and '.join(path.name for path in paths)} are of different formats, which name operators differently",
            remedy="Profile each of them alone",
        )
    files = tuple(_contents(one) for one in chosen)
    counted = operators.counted(files[0].ops, files[1].ops) if len(files) > 1 else ()
    if not request.timed:
        return ProfileResult(files, counted)
    subjects = [_subject(one, device) for one in chosen]
    with device.quiet(request.plan):
        found = bench.measure_operators(subjects, device, request.plan, request.processes, progress=progress)
        breakdowns = tuple(operators.breakdown(one) for one in found)
        if len(subjects) == 1:
            return ProfileResult(files, counted, breakdowns)
        total = _total(subjects[0], subjects[1], device, request.plan, progress)
    return ProfileResult(files, counted, breakdowns, operators.difference(found[0], found[1], total))


def _total(
    baseline: bench.FileUnderTest,
    candidate: bench.FileUnderTest,
    device: Device,
    plan: Plan,
    progress: Progress,
) -> Spread:
    """The candidate's time as a share of the baseline's, without a profiler, over rounds."""
    times = None
    for done in range(PAIRED_ROUNDS):
        progress("timing in pairs", done, PAIRED_ROUNDS)
        times = bench.measure_rounds(baseline, candidate, device, plan, 1, before=times)
        if times.failure is not None:
            raise times.failure
        if times.invalid:
            raise NotValid(times.invalid, remedy="Profile again")
    progress("timing in pairs", PAIRED_ROUNDS, PAIRED_ROUNDS)
    assert times is not None
    ratios = [math.exp(change) for change in bench.log_ratios(times.rounds)[0]]
    return Spread(stats.median(ratios), min(ratios), max(ratios))


def _candidate(path: Path, runtimes: Sequence[Runtime]) -> Candidate:
    """The file under the first runtime that runs it. Raises UserError."""
    found, failures = candidates_of_files((path,), runtimes, None)
    if failures:
        raise failures[0][1]
    return found[0]


def _contents(one: Candidate) -> Contents:
    graph = one.graph
    return Contents(one.path.name, graph.file_bytes, graph.params, graph.macs, graph.ops)


def _subject(one: Candidate, device: Device) -> bench.FileUnderTest:
    return bench.FileUnderTest(one.path.name, device.push(one.path), one.runtime)


def explain(
    judged: Sequence[Judged],
    rules: Policy,
    device: Device,
    plan: Plan,
    *,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Explanation, ...]:
    """Which operators grew in every model with a hard latency that failed; nothing that goes wrong here is an error."""
    return tuple(
        _explained(one, device, plan, progress, clock)
        for one in judged
        if any(
            found.outcome == "FAIL" and rules.budget(metric, one.pair.model).hard
            for metric, found in one.verdicts.items()
            if metric.startswith("latency_")
        )
        and one.times.failure is None
    )


def _explained(
    one: Judged, device: Device, plan: Plan, progress: Progress, clock: Callable[[], float]
) -> Explanation:
    model = one.pair.model
    try:
        baseline, candidate = bench.measure_operators(
            [_subject(side, device) for side in (one.pair.baseline, one.pair.candidate)],
            device,
            plan,
            PROCESSES,
            budget_s=EXPLAIN_BUDGET_S,
            progress=lambda stage, done, total: progress(f"{stage} {model}", done, total),
            clock=clock,
        )
        if len(baseline) < LEAST_PROCESSES:
            reason = f"{LEAST_PROCESSES} processes of each file did not fit into {EXPLAIN_BUDGET_S:g} s"
            return Explanation(model, reason=reason)
        p05 = one.verdicts["latency_p05"]
        total = Spread(1 + p05.change, 1 + p05.low, 1 + p05.high)
        return explanation(model, operators.difference(baseline, candidate, total))
    except SwapbenchError as error:
        return Explanation(model, reason=error.args[0])
    except Exception as error:  # noqa: BLE001 - a verdict stands whatever happens to its explanation
        return Explanation(model, reason=f"{type(error).__name__}: {' '.join(str(error).split())}")
