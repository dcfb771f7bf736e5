"""The passes that measure: speed in rounds, then memory, scores and energy, each alone.

A *subject* is one file under one runtime. Speed is measured of all subjects in one sitting: in every round each gets one
fresh worker process, all stay loaded, and short slices go round in an order that is drawn anew each time, so that a
burst of other work or a drift of the clock frequency hits all alike. The other passes run one subject at a time, but
for scoring, which is not timed. While a worker works this process sleeps.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from swapbench import stats
from swapbench.bench.workers import (
    ANSWER_TIMEOUT_S,
    LOAD_TIMEOUT_S,
    FileUnderTest,
    Worked,
    ask,
    is_answer,
    said,
    time_together,
)
from swapbench.errors import DeviceFailed, EnvironmentFailed, WorkerFailed
from swapbench.ports import GradedMeter, SampledMeter, WatchingRuntime
from swapbench.records import (
    Absent,
    CounterRead,
    PeakMemory,
    Power,
    Speed,
    WorkerTimes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from swapbench.ports import (
        Conversation,
        CounterValue,
        Device,
        Finished,
        Meter,
        Outputs,
        Runtime,
        Samples,
        Slice,
        Tool,
    )
    from swapbench.records import Plan, RuntimeUsed

MEMORY_RUNS = 10
STOPPING_DRAWS = 400
SETTLE_S = 0.5
SCORING_TIMEOUT_S = 3600.0
MEMORY_KIND = "peak resident set of a fresh process (VmHWM), mapped file pages included"


@dataclass(frozen=True)
class Timed:
    """The speed of a subject and what really ran."""

    speed: Speed
    used: RuntimeUsed


@dataclass(frozen=True)
class RoundDone:
    """Where a speed measurement stands: rounds done, the relative half width of each median, seconds spent."""

    rounds: int
    half_widths: Mapping[str, float]
    spent_s: float


# ---------------------------------------------------------------------------------------------- speed


@dataclass(frozen=True)
class ToolUnderTest:
    """One file under a tool that times by itself; otherwise as `FileUnderTest`."""

    name: str
    artifact: str
    tool: Tool
    options: Mapping[str, str | int | float] = field(default_factory=dict)

    def command(self, plan: Plan) -> list[str]:
        """The command line of one process, which times for as long as a worker does in one round."""
        given = {
            "warmup_runs": plan.warmup_runs,
            "warmup_ns": plan.warmup_ns,
            "timed_ns": plan.slices_per_round * plan.slice_ns,
        }
        return self.tool.command(self.artifact, threads=plan.threads, options={**given, **self.options})


@dataclass(frozen=True)
class _Round:
    """What one process of one subject gave."""

    used: RuntimeUsed
    input: str
    times: WorkerTimes


@dataclass
class _Course:
    """What has been measured of one subject so far."""

    name: str
    rounds: list[_Round] = field(default_factory=list)
    failure: EnvironmentFailed | None = None

    def add(self, done: _Round | EnvironmentFailed) -> None:
        """Keep a round's times; a failure, or another runtime than in earlier rounds, takes the subject out."""
        if isinstance(done, EnvironmentFailed):
            self.failure = done
        elif self.rounds and done.used != self.rounds[0].used:
            self.failure = WorkerFailed(
                f"{self.name} ran in another way in round {done.times.round + 1} than before"
            )
        else:
            self.rounds.append(done)

    def result(self, stopped: Literal["target", "budget", "rounds"]) -> Timed | EnvironmentFailed:
        if self.failure is not None:
            return self.failure
        first = self.rounds[0]
        speed = Speed(
            workers=tuple(one.times for one in self.rounds),
            input=first.input,
            stopped=stopped,
            sample=_sample(first.times),
        )
        return Timed(speed, first.used)


def _sample(times: WorkerTimes) -> Literal["run", "process median", "process mean"]:
    if times.summary is None:
        return "run"
    return "process mean" if times.summary.median_ns is None else "process median"


def measure_speed(
    subjects: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    *,
    progress: Callable[[RoundDone], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Timed | EnvironmentFailed]:
    """Latency of every subject, by name; the error in place of a subject that failed.

    Rounds go on until the interval of every median is within plan.target_relative_half_width ("target"),
    plan.time_budget_s is spent on all together ("budget") or plan.max_rounds are done ("rounds"), but at least
    plan.min_rounds. Whatever interrupts it, all workers have ended when it is left.
    """
    by_name = {subject.name: subject for subject in subjects}
    order = random.Random(plan.seed)  # noqa: S311 - an order, no secret

    def one_round(names: Sequence[str], number: int) -> dict[str, _Round | EnvironmentFailed]:
        together = [by_name[name] for name in names]
        done = time_together(together, device, plan, number, lambda all_: order.sample(all_, len(all_)))
        return {name: _worked(one) for name, one in done.items()}

    return _in_rounds([one.name for one in subjects], one_round, plan, progress, clock)


def measure_tool_speed(
    subjects: Sequence[ToolUnderTest],
    device: Device,
    plan: Plan,
    *,
    progress: Callable[[RoundDone], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Timed | EnvironmentFailed]:
    """Latency of files under tools that tell no single runs: every process is one sample, its median or mean.

    As `measure_speed`: rounds of one fresh process of each subject, in an order that is drawn anew each time, until
    the interval of every median over processes is narrow enough, the time is spent or the rounds are done.
    """
    by_name = {subject.name: subject for subject in subjects}
    order = random.Random(plan.seed)  # noqa: S311 - an order, no secret

    def one_round(names: Sequence[str], number: int) -> dict[str, _Round | EnvironmentFailed]:
        return {name: _ran(by_name[name], device, plan, number) for name in order.sample(names, len(names))}

    return _in_rounds([one.name for one in subjects], one_round, plan, progress, clock)


def _in_rounds(
    names: Sequence[str],
    one_round: Callable[[Sequence[str], int], Mapping[str, _Round | EnvironmentFailed]],
    plan: Plan,
    progress: Callable[[RoundDone], None] | None,
    clock: Callable[[], float],
) -> dict[str, Timed | EnvironmentFailed]:
    """Rounds of all subjects that have not failed, until it is enough; see `measure_speed`."""
    courses = {name: _Course(name) for name in names}
    if len(courses) != len(names):
        raise ValueError("two subjects of one sitting share a name")
    started = clock()
    stopped: Literal["target", "budget", "rounds"] = "rounds"
    for number in range(max(plan.max_rounds, 1)):
        running = [course for course in courses.values() if course.failure is None]
        if not running:
            break
        done = one_round([course.name for course in running], number)
        for course in running:
            course.add(done[course.name])
        spent_s = clock() - started
        enough = number + 1 >= plan.min_rounds
        widths = (
            {c.name: _half_width([one.times for one in c.rounds], plan) for c in running if c.failure is None}
            if enough
            else {}
        )
        if progress is not None:
            progress(RoundDone(number + 1, widths, spent_s))
        if enough and all(width <= plan.target_relative_half_width for width in widths.values()):
            stopped = "target"
            break
        if enough and spent_s >= plan.time_budget_s and number + 1 < plan.max_rounds:
            stopped = "budget"
            break
    return {name: course.result(stopped) for name, course in courses.items()}


def _worked(worked: Worked | EnvironmentFailed) -> _Round | EnvironmentFailed:
    if isinstance(worked, EnvironmentFailed):
        return worked
    return _Round(worked.loaded.used, worked.loaded.input, worked.times)


def _ran(subject: ToolUnderTest, device: Device, plan: Plan, number: int) -> _Round | EnvironmentFailed:
    """One process of a tool."""
    try:
        timeout_s = LOAD_TIMEOUT_S + ANSWER_TIMEOUT_S
        run = subject.tool.parse_run(device.run(subject.command(plan), timeout_s))
        typical_ns = run.summary.mean_ns if run.summary.median_ns is None else run.summary.median_ns
    except EnvironmentFailed as failure:
        return failure
    if typical_ns is None:
        return WorkerFailed(f"{subject.tool.name} told neither a median nor a mean of {subject.name}")
    times = WorkerTimes(
        round=number,
        load_ns=run.load_ns,
        first_ns=run.first_ns,
        warmup_runs=run.warmup_runs,
        slices_ns=((typical_ns,),),
        cpu_ns=None,
        summary=run.summary,
    )
    return _Round(run.used, run.input, times)


def _half_width(workers: Sequence[WorkerTimes], plan: Plan) -> float:
    slices_ns = [worker.slices_ns for worker in workers]
    return stats.relative_half_width(
        stats.hierarchical_interval(
            slices_ns, confidence=plan.confidence, draws=STOPPING_DRAWS, seed=plan.seed
        )
    )


# ---------------------------------------------------------------------------------------------- memory and scores


def measure_memory(subject: FileUnderTest, device: Device, plan: Plan) -> PeakMemory:
    """Peak memory of one fresh worker that does nothing else. WorkerFailed where it fails."""
    argv = subject.command("time", plan, runs=MEMORY_RUNS)
    finished = device.run(argv, LOAD_TIMEOUT_S + ANSWER_TIMEOUT_S)
    answers = [line for line in finished.stdout.splitlines() if is_answer(line)]
    loaded = subject.runtime.parse_loaded(answers[0]) if answers else None
    if loaded is None or len(answers) < 2:
        raise _died(subject, finished)
    return PeakMemory(
        before_load_bytes=loaded.before_load_bytes,
        peak_bytes=subject.runtime.parse_slice(answers[1]).peak_rss_bytes,
        kind=MEMORY_KIND,
    )


def measure_scores(
    subjects: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    *,
    at_once: int = 1,
    timeout_s: float = SCORING_TIMEOUT_S,
) -> Iterator[tuple[FileUnderTest, Outputs | EnvironmentFailed]]:
    """Raw outputs for every sample of each subject's options `samples` and `normalise`, or the error in their place.

    Scores do not depend on what else runs, so `at_once` workers may run side by side; answers come in the order of the
    subjects. Closing the iterator, or an interrupt, ends all workers.
    """
    waiting = deque(subjects)
    living: deque[tuple[FileUnderTest, Conversation | EnvironmentFailed]] = deque()
    try:
        while waiting or living:
            while waiting and len(living) < max(at_once, 1):
                living.append((waiting[0], _started(waiting[0], device, plan)))
                waiting.popleft()
            subject, conversation = living[0]
            found: Outputs | EnvironmentFailed
            if isinstance(conversation, EnvironmentFailed):
                found = conversation
            else:
                found = _scored(subject, conversation, timeout_s)
                conversation.close()
            living.popleft()
            yield subject, found
    finally:
        for _, conversation in living:
            if not isinstance(conversation, EnvironmentFailed):
                conversation.close(0.0)


def _started(subject: FileUnderTest, device: Device, plan: Plan) -> Conversation | EnvironmentFailed:
    try:
        return device.start(subject.command("score", plan))
    except EnvironmentFailed as error:
        return error


def _scored(
    subject: FileUnderTest, conversation: Conversation, timeout_s: float
) -> Outputs | EnvironmentFailed:
    """Everything that a scoring worker says, up to its last answer."""
    lines: list[str] = []
    try:
        while not lines or ('"scored"' not in lines[-1] and '"error"' not in lines[-1]):
            lines.append(said(conversation, timeout_s))
        return subject.runtime.parse_outputs("\n".join(lines))
    except EnvironmentFailed as error:
        return error


def _died(subject: FileUnderTest, finished: Finished) -> WorkerFailed:
    last = " | ".join(line.strip() for line in finished.stderr.splitlines()[-3:] if line.strip())
    return WorkerFailed(
        f"the worker of {subject.name} ended with {finished.exit_code}{': ' + last if last else ''}"
    )


# ---------------------------------------------------------------------------------------------- power


def measure_power(
    subject: FileUnderTest,
    meters: Sequence[Meter | SampledMeter],
    device: Device,
    plan: Plan,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Power, ...] | Absent:
    """Idle, busy, idle: all meters over the same windows of plan.power_window_s with one loaded worker.

    The worker is loaded in all three windows and runs in the busy one only, without pause; where a meter is sampled, the
    worker samples its files in all three. One Power a meter that could be read throughout, in the order of the meters;
    Absent, with every reason, where none could. WorkerFailed where the worker fails.
    """
    if not meters:
        return Absent(
            absent="this device has no energy counter that can be read", remedy="See: swapbench doctor"
        )
    counted = [meter for meter in meters if not isinstance(meter, SampledMeter)]
    watch = _Watch(subject.runtime, [meter for meter in meters if isinstance(meter, SampledMeter)])
    slices: list[Slice] = []
    window_ns = round(plan.power_window_s * 1e9)
    answer_s = 2 * plan.power_window_s + ANSWER_TIMEOUT_S

    def wait() -> None:
        if not watch.meters:
            sleep(plan.power_window_s)
            return
        conversation.write_line(json.dumps({"idle_ns": window_ns}))
        watch.hear(said(conversation, answer_s))

    def work() -> None:
        request = {"slice_ns": window_ns, "wake_runs": 0}
        slices.append(ask(conversation, subject.runtime, request, answer_s))
        if watch.meters:
            watch.hear(said(conversation, ANSWER_TIMEOUT_S))

    conversation = device.start(subject.command("serve", plan, **watch.options))
    try:
        subject.runtime.parse_loaded(said(conversation, LOAD_TIMEOUT_S))
        windows = []
        for spend_window in (wait, work, wait):
            sleep(SETTLE_S)
            windows.append(_window(counted, spend_window))
    finally:
        conversation.close()
    runs = len(slices[0].run_ns)
    found: dict[str, Power | DeviceFailed] = watch.powers(runs)
    for meter, *three in zip(counted, *windows, strict=True):
        found[meter.name] = _power(meter, runs, *three)
    return measured([found[meter.name] for meter in meters])


def measured(found: Sequence[Power | DeviceFailed]) -> tuple[Power, ...] | Absent:
    """What the meters gave that did not fail; Absent, with every reason, where all did."""
    failures = [one for one in found if isinstance(one, DeviceFailed)]
    powers = tuple(one for one in found if isinstance(one, Power))
    if powers:
        return powers
    reasons = "; ".join(str(one.args[0]) for one in failures)
    return Absent(absent=f"the energy counter failed while measuring: {reasons}", remedy=failures[0].remedy)


class _Watch:
    """What a worker samples for meters without a counter. A meter that may not be used now drops out with its reason."""

    def __init__(self, runtime: Runtime, meters: Sequence[SampledMeter]) -> None:
        self._runtime = runtime
        self._failures: dict[str, DeviceFailed] = {}
        self._heard: list[Samples] = []
        self.meters = [meter for meter in meters if self._usable(meter)]
        self._files = list(dict.fromkeys(file for meter in self.meters for file in meter.files))
        self.options: dict[str, str | float] = {}
        if self.meters:
            self.options = {
                "watch": ",".join(self._files),
                "period_ms": min(meter.period_ms for meter in self.meters),
            }

    def _usable(self, meter: SampledMeter) -> bool:
        if not isinstance(self._runtime, WatchingRuntime):
            self._failures[meter.name] = DeviceFailed(
                f"the worker of {self._runtime.name} cannot sample {meter.name} while it works",
                remedy="Use the native runner.",
            )
            return False
        try:
            meter.check()
        except DeviceFailed as failure:
            self._failures[meter.name] = failure
            return False
        return True

    def hear(self, line: str) -> None:
        """The samples of one window."""
        assert isinstance(self._runtime, WatchingRuntime)
        self._heard.append(self._runtime.parse_samples(line))

    def powers(self, runs: int) -> dict[str, Power | DeviceFailed]:
        """The energy of the three windows by meter, or why it is not known."""
        found: dict[str, Power | DeviceFailed] = dict(self._failures)
        for meter in self.meters:
            columns = [self._files.index(file) for file in meter.files]
            before, busy, after = (heard.of(columns) for heard in self._heard)
            try:
                meter.check()  # once more: a cable may have come meanwhile
                found[meter.name] = meter.power(before, busy, after, runs)
            except DeviceFailed as failure:
                found[meter.name] = failure
        return found


_Window = tuple[CounterRead, ...] | DeviceFailed


def _window(meters: Sequence[Meter], spend_window: Callable[[], None]) -> list[_Window]:
    """What every meter counted while `spend_window` ran, or why it could not."""
    before = [_read(meter) for meter in meters]
    spend_window()
    return [_counted(one, _read(meter)) for meter, one in zip(meters, before, strict=True)]


def _read(meter: Meter) -> tuple[CounterValue, ...] | DeviceFailed:
    try:
        return meter.read()
    except DeviceFailed as failure:
        return failure


def _counted(
    before: tuple[CounterValue, ...] | DeviceFailed, after: tuple[CounterValue, ...] | DeviceFailed
) -> _Window:
    if isinstance(before, DeviceFailed):
        return before
    if isinstance(after, DeviceFailed):
        return after
    if len(before) != len(after):
        return DeviceFailed(
            f"{len(before)} energy counters were read before the window and {len(after)} after it"
        )
    try:
        return tuple(
            CounterRead(counter=b.counter, used_uj=a.used_since(b), window_ns=a.time_ns - b.time_ns)
            for b, a in zip(before, after, strict=True)
        )
    except DeviceFailed as failure:
        return failure


def _power(
    meter: Meter, runs: int, idle_before: _Window, busy: _Window, idle_after: _Window
) -> Power | DeviceFailed:
    if isinstance(idle_before, DeviceFailed):
        return idle_before
    if isinstance(busy, DeviceFailed):
        return busy
    if isinstance(idle_after, DeviceFailed):
        return idle_after
    return Power(
        meter=meter.name,
        scope=meter.scope,
        resolution_uj=meter.resolution_uj,
        update_ns=meter.update_ns,
        idle_before=idle_before,
        busy=busy,
        idle_after=idle_after,
        runs=runs,
        grade=meter.grade if isinstance(meter, GradedMeter) else None,
        basis=meter.basis if isinstance(meter, GradedMeter) else (),
    )
