"""The three protocols between the bench and the world, and the small values that cross them.

A device is a place where a program runs and a file is read. A runtime is a command and what its output means.
A meter is a set of energy counters that only go up. The three do not know each other.

Two exist in a second kind, because the world has it: a `Tool` is a program that times by itself and reports a
summary, and a `SampledMeter` derives energy from files that a worker (`WatchingRuntime`) samples on the
device itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from swapbench.errors import DeviceFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from swapbench.records import Format, Machine, Plan, Power, PowerGrade, RuntimeUsed, ToolSummary

Mode = Literal["time", "serve", "score", "profile"]
Ending = Literal["done", "plugged", "waited"]
"""How detached jobs end by themselves: all done, cable back too early, or nobody pulled it in time."""


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end."""

    stdout: str
    stderr: str
    exit_code: int


class Conversation(Protocol):
    """A living program: one line in, one line out. Reading sleeps; it never spins."""

    def read_line(self, timeout_s: float) -> str:
        """Next line of standard output without its newline.

        Raises:
            WorkerFailed: the program ends, dies or is too slow.
        """

    def write_line(self, line: str) -> None:
        """Send one line to standard input."""

    def close(self, timeout_s: float = 10.0) -> None:
        """End the program (close its input, then terminate it if it does not end). Safe to call twice."""


class Progress(Protocol):
    """Hears how far a stage is; `total` may be a number of things or of seconds."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Stage `stage` has done `done` of `total`."""


class Say(Protocol):
    """Hears a line for the person in front of the screen."""

    def __call__(self, line: str, /) -> None:
        """Say it."""


def unheard(line: str, /) -> None:
    """A `Say` that discards the line."""
    del line


def unseen(stage: str, done: float, total: float) -> None:
    """A `Progress` that discards what it hears."""
    del stage, done, total


class Device(Protocol):
    """A place where a program runs and a file is read."""

    name: str

    def describe(self) -> Machine:
        """The fingerprint that says what may be compared with what."""

    def push(self, path: Path, *beside: Path) -> str:
        """Bring a file there, and those that it needs beside it; returns its path on the device."""

    def pull(self, remote: str, path: Path) -> None:
        """Fetch a file, whole or not at all."""

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program to its end.

        Raises:
            WorkerFailed: it does not start or takes too long.
        """

    def start(self, argv: Sequence[str]) -> Conversation:
        """Start a program to talk with."""

    def read(self, path: str) -> str:
        """The text of a file on the device.

        Raises:
            DeviceFailed: it cannot be read.
        """

    def quiet(self, plan: Plan, progress: Progress = unseen) -> AbstractContextManager[None]:
        """A steady state around a measurement; restores what it changed. Tells what it waits for."""


@dataclass(frozen=True)
class Loaded:
    """What a worker reports once its model is loaded and has run once; `input` as in records.Speed."""

    used: RuntimeUsed
    load_ns: int
    first_ns: int
    warmup_runs: int
    before_load_bytes: int
    input: str


@dataclass(frozen=True)
class Slice:
    """Timed runs.

    Attributes:
        run_ns: wall time of each.
        cpu_ns: CPU time of all.
        peak_rss_bytes: of the process so far.
        late_frames: frames of a camera that they lost; None for runs that wait for no frame.
        decisions: what each run of a system was, see `swapbench.systems.worker`; None for a file.
    """

    run_ns: tuple[int, ...]
    cpu_ns: int
    peak_rss_bytes: int
    late_frames: int | None = None
    decisions: tuple[tuple[int, ...], ...] | None = None


class OutputTensor(NamedTuple):
    """An output that a scoring worker returned: its name in the file and its shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Outputs:
    """Raw outputs of a scoring pass.

    Attributes:
        rows: one for each sample, in the order of the samples file: the numbers of all outputs asked for.
        invoke_ns: time inside the runtime's invoke, of pass_ns in all.
        pass_ns: wall time in the worker, without loading.
        tensors: whose numbers a row holds, one after the other; empty where a worker does not say.
    """

    rows: tuple[tuple[float, ...], ...]
    invoke_ns: int
    pass_ns: int
    tensors: tuple[OutputTensor, ...] = ()


@dataclass(frozen=True)
class Node:
    """A node of the graph as a runtime executed it, or as it placed it.

    Attributes:
        name: "" where the runtime gives none.
        op: operator type.
        output: types and shapes of its outputs, "" where they are not known.
        provider: the execution provider or delegate that runs it.
        run_ns: its time in each profiled run, () for a node that is only placed.
        count: how many nodes this stands for, where they cannot be told apart; run_ns is the time of all.
    """

    name: str
    op: str
    output: str
    provider: str
    run_ns: tuple[int, ...] = ()
    count: int = 1


@dataclass(frozen=True)
class Profile:
    """Where the time of a run goes, from one fresh process.

    Attributes:
        used: the runtime and its settings.
        run_ns: whole runs without the profiler.
        nodes: what was executed and timed, in order.
        placed: the nodes of the graph and what runs each; of some a delegate makes nodes of its own.
        absent: why `nodes` is empty.
    """

    used: RuntimeUsed
    run_ns: tuple[int, ...]
    nodes: tuple[Node, ...]
    placed: tuple[Node, ...]
    absent: str = ""


class Runtime(Protocol):
    """A command and what its output means."""

    name: str
    formats: tuple[Format, ...]

    def command(
        self, artifact: str, *, mode: Mode, threads: int, options: Mapping[str, str | int | float]
    ) -> list[str]:
        """The argv of a worker for one artifact in one mode."""

    def parse_loaded(self, line: str) -> Loaded:
        """What the worker reports once its model is loaded.

        Raises:
            WorkerFailed: it reports an error.
        """

    def parse_slice(self, line: str) -> Slice:
        """One slice of timed runs.

        Raises:
            WorkerFailed: the line reports an error.
        """

    def parse_outputs(self, stdout: str) -> Outputs:
        """Everything that a scoring pass printed.

        Raises:
            WorkerFailed: it reports an error or did not end.
        """

    def parse_profile(self, stdout: str) -> Profile:
        """Everything that a profiling worker printed.

        Raises:
            WorkerFailed: it reports an error or did not end.
        """


@dataclass(frozen=True)
class Samples:
    """Files of the device that a worker read again and again, from before a window until after it.

    Attributes:
        begin_ns: of the window, by the worker's own clock.
        end_ns: of the window.
        times_ns: of each row.
        values: a tuple a row, a number for each file in the order given; None where none could be read.
        asleep_ns: how long the device had slept when the window closed, while the worker's clock stood still.
    """

    begin_ns: int
    end_ns: int
    times_ns: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    asleep_ns: int = 0

    def of(self, columns: Sequence[int]) -> Samples:
        """The same rows with some of the files only."""
        return replace(self, values=tuple(tuple(row[column] for column in columns) for row in self.values))


@runtime_checkable
class WatchingRuntime(Protocol):
    """A runtime whose serving worker can sample numeric files while it works and while it waits.

    Its option `watch` takes paths separated by commas, `period_ms` the time between rows. The worker then
    prints one line of samples after every slice, and one as its only answer to the request {"idle_ns": T}, to
    do nothing for T.
    """

    def parse_samples(self, line: str) -> Samples:
        """One line of samples.

        Raises:
            WorkerFailed: the line reports an error.
        """


@dataclass(frozen=True)
class ToolRun:
    """What a tool reports of one process of its own; `input` as in records.Speed."""

    used: RuntimeUsed
    load_ns: int
    first_ns: int
    warmup_runs: int
    input: str
    summary: ToolSummary


class Tool(Protocol):
    """A program that times a file by itself and reports a summary; it does not serve or score."""

    name: str
    formats: tuple[Format, ...]

    def command(self, artifact: str, *, threads: int, options: Mapping[str, str | int | float]) -> list[str]:
        """The argv of one process that times one artifact."""

    def parse_run(self, finished: Finished) -> ToolRun:
        """What one process reports.

        Raises:
            WorkerFailed: it failed or did not do what was asked of it.
        """


@dataclass(frozen=True)
class CounterValue:
    """One energy counter at one moment.

    Attributes:
        counter: its name.
        value_uj: counts up, and starts again at 0 after range_uj.
        range_uj: None where the counter's range is not known.
        time_ns: by the meter's own clock.
    """

    counter: str
    value_uj: int
    range_uj: int | None
    time_ns: int

    def used_since(self, before: CounterValue) -> int:
        """Microjoules counted from `before` to this reading, over at most one restart at 0.

        A second restart inside the window cannot be seen: a window must be shorter than range_uj at full
        power (262 kJ last 29 minutes at 150 W).

        Raises:
            DeviceFailed: the difference is not known: another counter, a reading outside its range, a range
                that changed, or a counter that went backwards without a range.
        """
        if self.counter != before.counter:
            raise DeviceFailed(f"readings of two counters were compared: {before.counter} and {self.counter}")
        if self.range_uj != before.range_uj:
            raise DeviceFailed(f"energy counter {self.counter} changed its range during the window")
        for value_uj in (before.value_uj, self.value_uj):
            if value_uj < 0 or (self.range_uj is not None and value_uj > self.range_uj):
                raise DeviceFailed(f"energy counter {self.counter} reads {value_uj} uJ, outside its range")
        used_uj = self.value_uj - before.value_uj
        if used_uj >= 0:
            return used_uj
        if self.range_uj is None:
            raise DeviceFailed(
                f"energy counter {self.counter} went backwards by {-used_uj} uJ and its range is not known",
                remedy="Measure again: the driver was reloaded or the counter was reset.",
            )
        return used_uj + self.range_uj


class Meter(Protocol):
    """A set of energy counters that only go up.

    The counters of one meter are disjoint and add up to its scope, except those named `whole/part` (as in
    `package-0/core`): they are inside another counter, or `beside/` the scope, given for insight and never
    added.

    Attributes:
        name: of the meter.
        scope: what the counters cover together.
        resolution_uj: step of a counter.
        update_ns: time between two new values.
    """

    name: str
    scope: str
    resolution_uj: int
    update_ns: int

    def read(self) -> tuple[CounterValue, ...]:
        """All counters now, each with the meter's own clock."""


@runtime_checkable
class GradedMeter(Meter, Protocol):
    """A meter of a device whose energy can be measured in ways of unequal quality; see records.Power."""

    grade: PowerGrade
    basis: tuple[str, ...]


@runtime_checkable
class SampledMeter(Protocol):
    """Energy from files that hold no energy counter, sampled by the worker itself in the same windows.

    All three windows are analysed together, because what a file means (its unit, its sign, how often it is
    refreshed) shows only in the difference between idle and busy.
    """

    name: str
    files: tuple[str, ...]
    period_ms: int

    def check(self) -> None:
        """Check that these files show what the device uses.

        Raises:
            DeviceFailed: it is in a state in which they do not.
        """

    def power(self, idle_before: Samples, busy: Samples, idle_after: Samples, runs: int) -> Power:
        """The energy of the three windows, whose samples hold `files` in their order.

        Raises:
            DeviceFailed: it cannot be determined.
        """


@dataclass(frozen=True)
class DetachedJob:
    """A program that a device runs by itself: its name, arguments and standard input."""

    name: str
    argv: tuple[str, ...]
    requests: str


@dataclass(frozen=True)
class Detached:
    """What a device keeps of the jobs that were left on it.

    Attributes:
        token: of whoever left them.
        alive: they wait or run.
        unplugged: the cable is out now.
        begun: it was out, and the first job began.
        ended: how they ended by themselves, None where they did not.
        restarted: whether the device was restarted since.
        finished: names of the jobs whose output is there.
    """

    token: str
    alive: bool
    unplugged: bool
    begun: bool
    ended: Ending | None
    restarted: bool
    finished: tuple[str, ...]


@runtime_checkable
class DetachableDevice(Protocol):
    """A device that works on when its cable is pulled: only then does its battery show what it uses."""

    name: str

    def cable_files(self) -> tuple[str, ...]:
        """The numeric files that read 0 while the cable is out, none where only words show it.

        Raises:
            DeviceFailed: the device cannot tell whether its cable is in.
        """

    def detach(self, token: str, jobs: Sequence[DetachedJob], *, patience_s: float, settle_s: float) -> None:
        """Leave jobs there, to be done one after another while the cable is out. Older ones are thrown away.

        Args:
            token: tells whose jobs they are.
            jobs: in order.
            patience_s: how long they wait for the cable to be pulled.
            settle_s: time between that and the first job.

        Raises:
            DeviceFailed: the device cannot tell whether its cable is in, or would not go on without it.
        """

    def detached(self) -> Detached | None:
        """What it keeps, None for nothing.

        Raises:
            Unreachable: nothing answers at the moment.
        """

    def detached_answers(self, name: str) -> str:
        """Everything that a finished job printed.

        Raises:
            WorkerFailed: the job was killed; the message says why.
        """

    def end_detached(self) -> bool:
        """End what waits or runs there and throw away what is kept; returns whether there was anything."""
