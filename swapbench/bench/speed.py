"""The speed pass: latency of all files together, in rounds of fresh processes.

In every round each file gets one fresh worker, all of them stay loaded, and short slices alternate in an
order that is drawn anew each time, so that a burst of other work or a drift of the clock frequency hits all
files alike. While a worker works, this process sleeps.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from swapbench import stats
from swapbench.bench.workers import (
    ANSWER_TIMEOUT_S,
    LOAD_TIMEOUT_S,
    FileUnderTest,
    TimedWorker,
    time_together,
)
from swapbench.errors import EnvironmentFailed, WorkerFailed
from swapbench.records import Speed, WorkerTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.ports import Device, Tool
    from swapbench.records import Plan, RuntimeUsed


@dataclass(frozen=True)
class Timed:
    """The speed of a file, and the runtime that really ran it."""

    speed: Speed
    used: RuntimeUsed


@dataclass(frozen=True)
class RoundDone:
    """Where the speed pass stands.

    Attributes:
        rounds: how many are done.
        half_widths: of each file's median, relative; empty before plan.min_rounds.
        spent_s: since the pass began.
    """

    rounds: int
    half_widths: Mapping[str, float]
    spent_s: float


@dataclass(frozen=True)
class ToolUnderTest:
    """One file under a tool that times by itself; otherwise as `FileUnderTest`."""

    name: str
    artifact: str
    tool: Tool
    options: Mapping[str, str | int | float] = field(default_factory=dict)

    def command(self, plan: Plan) -> list[str]:
        """The command line of one process, which times for as long as a worker does in one round."""
        options = {
            "warmup_runs": plan.warmup_runs,
            "warmup_ns": plan.warmup_ns,
            "timed_ns": plan.slices_per_round * plan.slice_ns,
        }
        return self.tool.command(self.artifact, threads=plan.threads, options={**options, **self.options})


@dataclass(frozen=True)
class _Process:
    """What one process of one file measured."""

    used: RuntimeUsed
    input: str
    times: WorkerTimes


@dataclass
class _Series:
    """The processes of one file so far."""

    name: str
    processes: list[_Process] = field(default_factory=list)
    failure: EnvironmentFailed | None = None

    def add(self, process: _Process | EnvironmentFailed) -> None:
        """Keep a process's times; a failure, or a runtime unlike that of earlier rounds, ends the series."""
        if isinstance(process, EnvironmentFailed):
            self.failure = process
        elif self.processes and process.used != self.processes[0].used:
            number = process.times.round + 1
            self.failure = WorkerFailed(f"{self.name} ran differently in round {number} than before")
        else:
            self.processes.append(process)

    def result(
        self, stopped: Literal["target", "budget", "rounds"], sitting: str
    ) -> Timed | EnvironmentFailed:
        if self.failure is not None:
            return self.failure
        first = self.processes[0]
        speed = Speed(
            workers=tuple(process.times for process in self.processes),
            input=first.input,
            stopped=stopped,
            sample=_sample(first.times),
            sitting=sitting,
        )
        return Timed(speed, first.used)


def _sample(times: WorkerTimes) -> Literal["run", "process median", "process mean"]:
    if times.summary is None:
        return "run"
    return "process mean" if times.summary.median_ns is None else "process median"


def measure_speed(
    files: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    *,
    progress: Callable[[RoundDone], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Timed | EnvironmentFailed]:
    """Latency of every file, by name; a file that failed has its error in place of its times.

    Rounds go on until the interval of every median is within plan.target_relative_half_width ("target"),
    plan.time_budget_s is spent on all together ("budget") or plan.max_rounds are done ("rounds"), but for at
    least plan.min_rounds. Widths are looked at after few numbers of rounds (`stats.LOOKS`), because looking
    often makes intervals too narrow.

    Whatever interrupts the pass, all its workers have ended when it is left.
    """
    by_name = {file.name: file for file in files}
    order = random.Random(plan.seed)  # noqa: S311 - an order, no secret

    def measure_round(names: Sequence[str], number: int) -> dict[str, _Process | EnvironmentFailed]:
        workers = time_together(
            [by_name[name] for name in names],
            device,
            plan,
            number,
            lambda waiting: order.sample(waiting, len(waiting)),
        )
        return {name: _process_of(worker) for name, worker in workers.items()}

    return _in_rounds([file.name for file in files], measure_round, plan, progress, clock)


def measure_tool_speed(
    files: Sequence[ToolUnderTest],
    device: Device,
    plan: Plan,
    *,
    progress: Callable[[RoundDone], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Timed | EnvironmentFailed]:
    """Latency of files under tools that do not report single runs.

    A process is one sample: its median or mean.

    As `measure_speed`: rounds of one fresh process of each file, in an order that is drawn anew each time,
    until the interval of every median over processes is narrow enough, the time is spent or the rounds are
    done.
    """
    by_name = {file.name: file for file in files}
    order = random.Random(plan.seed)  # noqa: S311 - an order, no secret

    def measure_round(names: Sequence[str], number: int) -> dict[str, _Process | EnvironmentFailed]:
        drawn = order.sample(names, len(names))
        return {name: _run_tool(by_name[name], device, plan, number) for name in drawn}

    return _in_rounds([file.name for file in files], measure_round, plan, progress, clock)


def _in_rounds(
    names: Sequence[str],
    measure_round: Callable[[Sequence[str], int], Mapping[str, _Process | EnvironmentFailed]],
    plan: Plan,
    progress: Callable[[RoundDone], None] | None,
    clock: Callable[[], float],
) -> dict[str, Timed | EnvironmentFailed]:
    """Rounds of all files that have not failed, until it is enough; see `measure_speed`."""
    all_series = {name: _Series(name) for name in names}
    if len(all_series) != len(names):
        raise ValueError("two files that are measured together have the same name")
    # to the microsecond: two sittings stay two where the clock was set back in between
    started_s, sitting = clock(), datetime.now(UTC).isoformat(timespec="microseconds")
    stopped: Literal["target", "budget", "rounds"] = "rounds"
    for number in range(max(plan.max_rounds, 1)):
        running = [series for series in all_series.values() if series.failure is None]
        if not running:
            break
        processes = measure_round([series.name for series in running], number)
        for series in running:
            series.add(processes[series.name])
        spent_s = clock() - started_s
        enough = number + 1 >= plan.min_rounds
        going = [series for series in running if series.failure is None]
        widths = {series.name: _half_width(series, plan) for series in going} if enough else {}
        if progress is not None:
            progress(RoundDone(number + 1, widths, spent_s))
        look = number + 1 in stats.LOOKS
        if enough and look and all(width <= plan.target_relative_half_width for width in widths.values()):
            stopped = "target"
            break
        if enough and spent_s >= plan.time_budget_s and number + 1 < plan.max_rounds:
            stopped = "budget"
            break
    return {name: series.result(stopped, sitting) for name, series in all_series.items()}


def _process_of(worker: TimedWorker | EnvironmentFailed) -> _Process | EnvironmentFailed:
    if isinstance(worker, EnvironmentFailed):
        return worker
    return _Process(worker.loaded.used, worker.loaded.input, worker.times)


def _run_tool(file: ToolUnderTest, device: Device, plan: Plan, number: int) -> _Process | EnvironmentFailed:
    """One process of a tool."""
    try:
        run = file.tool.parse_run(device.run(file.command(plan), LOAD_TIMEOUT_S + ANSWER_TIMEOUT_S))
        typical_ns = run.summary.mean_ns if run.summary.median_ns is None else run.summary.median_ns
    except EnvironmentFailed as failure:
        return failure
    if typical_ns is None:
        return WorkerFailed(f"{file.tool.name} reported neither a median nor a mean for {file.name}")
    times = WorkerTimes(
        round=number,
        load_ns=run.load_ns,
        first_ns=run.first_ns,
        warmup_runs=run.warmup_runs,
        slices_ns=((typical_ns,),),
        cpu_ns=None,
        summary=run.summary,
    )
    return _Process(run.used, run.input, times)


def _half_width(series: _Series, plan: Plan) -> float:
    estimate = stats.typical([process.times for process in series.processes], confidence=plan.confidence)
    interval = None if estimate is None else estimate.interval
    return math.inf if interval is None else stats.relative_half_width(interval)
