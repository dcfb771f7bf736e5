"""The three protocols between the bench and the world, and the small values that cross them.

A device is a place where a program runs and a file is read. A runtime is a command and what its output means.
A meter is a set of energy counters that only go up. The three do not know each other.

Two exist in a second kind, because the world has it: a `Tool` is a runtime that times by itself and tells a summary, and a
`SampledMeter` makes energy of files that a worker (`WatchingRuntime`) samples on the device itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from swapbench.errors import DeviceFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from swapbench.records import (
        Format,
        Machine,
        Plan,
        Power,
        PowerGrade,
        RuntimeUsed,
        ToolSummary,
    )

Mode = Literal["time", "serve", "score", "profile"]
Ending = Literal["done", "plugged", "waited"]
"""How detached jobs come to an end by themselves: all done; the cable came back too early; nobody pulled it in time."""


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end."""

    stdout: str
    stderr: str
    exit_code: int


class Conversation(Protocol):
    """A living program: one line in, one line out. Reading sleeps; it never spins."""

    def read_line(self, timeout_s: float) -> str:
        """Next line of standard output without its newline; WorkerFailed when it ends, dies or is too slow."""
        ...

    def write_line(self, line: str) -> None:
        """Send one line to standard input."""
        ...

    def close(self, timeout_s: float = 10.0) -> None:
        """End the program (close its input, then terminate it if it does not end). Safe to call twice."""
        ...


class Device(Protocol):
    """A place where a program runs and a file is read."""

    name: str

    def describe(self) -> Machine:
        """The fingerprint that says what may be compared with what."""
        ...

    def push(self, path: Path) -> str:
        """Bring a file there; returns its path on the device."""
        ...

    def pull(self, remote: str, path: Path) -> None:
        """Fetch a file, whole or not at all."""
        ...

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program to its end; WorkerFailed where it does not start or takes too long."""
        ...

    def start(self, argv: Sequence[str]) -> Conversation:
        """Start a program to talk with."""
        ...

    def read(self, path: str) -> str:
        """The text of a file on the device; DeviceFailed where it cannot be read."""
        ...

    def quiet(self, plan: Plan) -> AbstractContextManager[None]:
        """A steady state around a measurement; restores what it changed."""
        ...


@dataclass(frozen=True)
class Loaded:
    """What a worker says once its model is loaded and ran once."""

    used: RuntimeUsed
    load_ns: int
    first_ns: int
    warmup_runs: int
    before_load_bytes: int
    input: str


@dataclass(frozen=True)
class Slice:
    """Timed runs: wall time of each and the CPU time of all. late_frames: frames of a camera that they lost, None where none came."""

    run_ns: tuple[int, ...]
    cpu_ns: int
    peak_rss_bytes: int
    late_frames: int | None = None


@dataclass(frozen=True)
class Outputs:
    """Raw outputs of a scoring pass, one row a sample (rows in the order of the samples file)."""

    rows: tuple[tuple[float, ...], ...]
    invoke_ns: int
    pass_ns: int


@dataclass(frozen=True)
class Node:
    """A node of the graph as a runtime executed it, or as it placed it.

    name: "" where the runtime gives none; output: types and shapes of what it gives, "" where that is not known;
    provider: the execution provider or delegate that ran it; count: how many nodes this stands for, where the runtime
    cannot tell them apart; run_ns: the time of all of them in each profiled run, () for a node that is only placed.
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

    run_ns: whole runs without the profiler; nodes: what was executed and timed, in order; placed: the nodes of the graph and
    who runs each, which are others than `nodes` where a delegate makes its own; absent: why `nodes` is empty.
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
        ...

    def parse_loaded(self, line: str) -> Loaded:
        """What the worker said once its model was loaded; WorkerFailed for an error line."""
        ...

    def parse_slice(self, line: str) -> Slice:
        """One slice of timed runs; WorkerFailed for an error line."""
        ...

    def parse_outputs(self, stdout: str) -> Outputs:
        """Everything a scoring pass printed; WorkerFailed for an error line or a pass that did not end."""
        ...

    def parse_profile(self, stdout: str) -> Profile:
        """Everything a profiling worker printed; WorkerFailed for an error line or a worker that did not end."""
        ...


@dataclass(frozen=True)
class Samples:
    """Files of the device that a worker read again and again from before begin_ns until after end_ns, by its own clock.

    values: one tuple a row, a number for each file in the order given; None where it could not be read or held no number.
    asleep_ns: how long the device had been asleep since its start when the window closed; that clock stands still meanwhile.
    """

    begin_ns: int
    end_ns: int
    times_ns: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    asleep_ns: int = 0

    def of(self, columns: Sequence[int]) -> Samples:
        """The same rows with some of the files only."""
        picked = tuple(tuple(row[column] for column in columns) for row in self.values)
        return replace(self, values=picked)


@runtime_checkable
class WatchingRuntime(Protocol):
    """A runtime whose serving worker can sample numeric files while it works and while it waits.

    Its option `watch` takes paths with commas between, `period_ms` the time between rows. The worker then says one line of
    samples after every slice, and one as its only answer to the request {"idle_ns": T}, to do nothing for T.
    """

    def parse_samples(self, line: str) -> Samples:
        """One line of samples; WorkerFailed for an error line."""
        ...


@dataclass(frozen=True)
class ToolRun:
    """What a tool said of one process of its own. input: what it fed, as in records.Speed."""

    used: RuntimeUsed
    load_ns: int
    first_ns: int
    warmup_runs: int
    input: str
    summary: ToolSummary


class Tool(Protocol):
    """A program that times a file by itself and tells a summary: it does not serve, score or tell single runs."""

    name: str
    formats: tuple[Format, ...]

    def command(self, artifact: str, *, threads: int, options: Mapping[str, str | int | float]) -> list[str]:
        """The argv of one process that times one artifact."""
        ...

    def parse_run(self, finished: Finished) -> ToolRun:
        """What one process said; WorkerFailed where it failed or did not do what was asked of it."""
        ...


@dataclass(frozen=True)
class CounterValue:
    """One energy counter at one moment. Counts up in microjoules and starts again at 0 after range_uj."""

    counter: str
    value_uj: int
    range_uj: int | None
    time_ns: int

    def used_since(self, before: CounterValue) -> int:
        """Microjoules counted from `before` to this reading, over at most one restart at 0.

        A second restart inside the window cannot be seen: a window must be shorter than range_uj at full power
        (262 kJ last 29 minutes at 150 W). Raises DeviceFailed where the difference is not known: another counter,
        a reading outside its range, a range that changed, or a counter that went backwards without a range.
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
                remedy="Measure again: the driver was reloaded or the counter started again at 0.",
            )
        return used_uj + self.range_uj


class Meter(Protocol):
    """A set of energy counters that only go up.

    The counters of one meter are disjoint and add up to its scope, except those named `whole/part` (as in
    `package-0/core`): they are inside another counter, or `beside/` the scope, told for insight and never added.
    """

    name: str
    scope: str
    resolution_uj: int
    update_ns: int

    def read(self) -> tuple[CounterValue, ...]:
        """All counters now, each with the meter's own clock."""
        ...


@runtime_checkable
class GradedMeter(Meter, Protocol):
    """A meter of a device that has several ways to its energy, of unlike quality; see records.Power."""

    grade: PowerGrade
    basis: tuple[str, ...]


@runtime_checkable
class SampledMeter(Protocol):
    """Energy out of files of the device that have no counter of energy, sampled by the worker itself in the same windows.

    All three windows are looked at together, because what a file means (its unit, its sign, how often it is refreshed) can
    only be told from the difference between idle and busy.
    """

    name: str
    files: tuple[str, ...]
    period_ms: int

    def check(self) -> None:
        """DeviceFailed where the device is in a state in which these files do not show what it uses."""
        ...

    def power(self, idle_before: Samples, busy: Samples, idle_after: Samples, runs: int) -> Power:
        """The energy of the three windows; DeviceFailed where it cannot be told. Samples hold `files`, in their order."""
        ...


@dataclass(frozen=True)
class DetachedJob:
    """A program that a device runs by itself: a name that is also one of a file, its command line, its standard input."""

    name: str
    argv: tuple[str, ...]
    requests: str


@dataclass(frozen=True)
class Detached:
    """What a device keeps of the jobs that were left on it.

    token: of whoever left them; alive: they wait, or run; unplugged: the cable is out now; begun: it was out, and the first job
    began; ended: how they came to an end by themselves, None where they did not; restarted: the device was, since; finished: the
    jobs whose answers are there.
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
    """A device that goes on working when its cable is pulled: what it measures of its battery can only be seen then."""

    name: str

    def cable_files(self) -> tuple[str, ...]:
        """The numeric files that read 0 while the cable is out, none where that shows in words only.

        DeviceFailed where the device cannot tell whether its cable is in.
        """
        ...

    def detach(self, token: str, jobs: Sequence[DetachedJob], *, patience_s: float, settle_s: float) -> None:
        """Leave jobs there. They are done one after another, beginning settle_s after the cable went, and end when it comes back.

        They wait for that as long as patience_s. What was left there before is thrown away. DeviceFailed where the device cannot
        tell whether its cable is in, or would not go on without it.
        """
        ...

    def detached(self) -> Detached | None:
        """What it keeps, None for nothing; Unreachable while it is away."""
        ...

    def detached_answers(self, name: str) -> str:
        """Everything that a finished job said. WorkerFailed, with the reason, for one that was killed."""
        ...

    def end_detached(self) -> bool:
        """End what waits or runs there and throw away what is kept; whether there was anything."""
        ...


class Progress(Protocol):
    """Told how far a stage is; `total` may be a number of things or of seconds."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Stage `stage` has done `done` of `total`."""
        ...


class Say(Protocol):
    """Told a line for the person in front of it."""

    def __call__(self, line: str, /) -> None:
        """Say it."""
        ...


def unheard(line: str, /) -> None:
    """A Say where nobody listens."""
    del line


def unseen(stage: str, done: float, total: float) -> None:
    """A Progress where nobody looks."""
    del stage, done, total
