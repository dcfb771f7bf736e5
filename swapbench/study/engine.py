"""The engine of a study: starts jobs as cores become free, keeps what is finished, and tells how far all are.

Killed at any moment, the same study goes on: a job that was finished is known by its key and the digests of
its files, and one that was not goes on where its own training state is. A job that fails costs itself and
those that need it.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from swapbench.errors import EnvironmentFailed, NotValid, SwapbenchError, UserError
from swapbench.study.executor import HowFar
from swapbench.study.jobs import keep_finished, seconds_of_finished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.study.executor import Ended, Executor, Running
    from swapbench.study.jobs import Job

State = Literal["waiting", "running", "kept", "done", "failed"]
_POLL_S: Final = 0.2
_TRAINING: Final = "training"
"""Stages that begin so say by their share how long the rest of the job takes."""
_EARLY: Final = 0.02
"""Below this share nothing can be said of the rest."""


@dataclass(frozen=True)
class JobNow:
    """How a job stands.

    Attributes:
        state: "kept" for one that an earlier call finished.
        seconds: so far, or in all where it ended.
        how_far: of a running one.
        error: why it failed.
    """

    job: Job
    state: State = "waiting"
    seconds: float = 0.0
    how_far: HowFar = field(default_factory=HowFar)
    error: SwapbenchError | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in {"kept", "done", "failed"}


@dataclass(frozen=True)
class Now:
    """How all jobs stand, in their order.

    Attributes:
        jobs: all of them.
        left_s: about how long the rest takes; None where nothing can be said yet.
    """

    jobs: tuple[JobNow, ...]
    left_s: float | None = None

    def of(self, *states: State) -> tuple[JobNow, ...]:
        """Those in one of the states."""
        return tuple(job for job in self.jobs if job.state in states)

    @property
    def failures(self) -> tuple[tuple[str, SwapbenchError], ...]:
        """The failed ones, each with its error."""
        return tuple((now.job.name, now.error) for now in self.jobs if now.error is not None)


@dataclass(frozen=True)
class Clock:
    """Where the engine's time comes from."""

    seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def run(
    jobs: Sequence[Job],
    executor: Executor,
    listen: Callable[[Now], None] = lambda _: None,
    clock: Clock | None = None,
) -> Now:
    """Do all jobs that are not done yet; KeyboardInterrupt is let through once all of them have ended.

    Args:
        jobs: in the order in which they are started where nothing else speaks.
        executor: who does them.
        listen: hears how all stand, every time that something has changed.
        clock: for tests.

    Raises:
        UserError: jobs share a name or wait for each other, or for one that does not exist.
    """
    check(jobs)
    return _Engine(jobs, executor, listen, clock or Clock()).run()


def check(jobs: Sequence[Job]) -> None:
    """See `run`."""
    names = [job.name for job in jobs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two trainings are called {twice}", remedy="Give each arm a name of its own")
    known: set[str] = set()
    waiting = list(jobs)
    while waiting:
        ready = [job for job in waiting if set(job.after) <= known]
        if not ready:
            job = waiting[0]
            missing = sorted(set(job.after) - known)
            raise UserError(
                f"{job.name} can never begin: it waits for {', '.join(missing)}",
                remedy="Let it wait for trainings that are in the study and do not wait for it",
            )
        known |= {job.name for job in ready}
        waiting = [job for job in waiting if job.name not in known]


class _Engine:
    def __init__(
        self, jobs: Sequence[Job], executor: Executor, listen: Callable[[Now], None], clock: Clock
    ) -> None:
        self._now = {job.name: JobNow(job) for job in jobs}
        self._running: dict[str, tuple[Running, float]] = {}
        self._executor, self._listen, self._clock = executor, listen, clock
        self._told: Now | None = None

    def run(self) -> Now:
        for name, now in self._now.items():
            seconds = seconds_of_finished(now.job)
            if seconds is not None:
                self._now[name] = JobNow(now.job, "kept", seconds)
        try:
            while not all(now.over for now in self._now.values()):
                self._start_what_can()
                self._tell()
                if self._running:
                    self._clock.sleep(_POLL_S)
                    self._look()
        finally:
            for running, _ in self._running.values():
                running.end()
        self._tell()
        return self._snapshot()

    def _start_what_can(self) -> None:
        for name, now in self._now.items():
            if now.state != "waiting":
                continue
            before = [self._now[other] for other in now.job.after]
            lost = next((other for other in before if other.state == "failed"), None)
            if lost is not None:
                self._fail(name, EnvironmentFailed(f"not begun, because {lost.job.name} failed"))
                continue
            if all(other.over for other in before) and self._cores(now.job) <= self._free_cores():
                self._start(name, now.job)

    def _cores(self, job: Job) -> int:
        return max(1, min(job.cores, self._executor.cores))

    def _free_cores(self) -> int:
        return self._executor.cores - sum(self._cores(self._now[name].job) for name in self._running)

    def _start(self, name: str, job: Job) -> None:
        try:
            if job.prepare is not None:
                job.prepare()
            self._running[name] = (self._executor.start(job), self._clock.seconds())
        except SwapbenchError as error:
            self._fail(name, error)
        except Exception as error:  # noqa: BLE001 - whatever files of others raise costs one training
            reason = f"{type(error).__name__}: {error}"
            self._fail(name, EnvironmentFailed(f"it could not be started ({reason})"))
        else:
            self._now[name] = JobNow(job, "running")

    def _look(self) -> None:
        for name, (running, began_s) in list(self._running.items()):
            job, seconds = self._now[name].job, self._clock.seconds() - began_s
            ended = running.ended()
            if ended is None:
                self._now[name] = JobNow(job, "running", seconds, running.how_far())
                continue
            del self._running[name]
            error = None if ended.status == 0 else failure(job, ended)
            if error is None:
                try:
                    keep_finished(job, seconds)
                except FileNotFoundError as lost:
                    error = EnvironmentFailed(f"it ended well but left no {lost.filename}")
                except SwapbenchError as raised:
                    error = raised
            if error is None:
                self._now[name] = JobNow(job, "done", seconds)
            else:
                self._fail(name, error, seconds)

    def _fail(self, name: str, error: SwapbenchError, seconds: float = 0.0) -> None:
        self._now[name] = JobNow(self._now[name].job, "failed", seconds, error=error)

    def _snapshot(self) -> Now:
        jobs = tuple(self._now.values())
        return Now(jobs, remaining_s(jobs, self._executor.cores))

    def _tell(self) -> None:
        now = self._snapshot()
        if now != self._told:
            self._told = now
            self._listen(now)


def failure(job: Job, ended: Ended) -> SwapbenchError:
    """How a job failed, as an error of the class that its exit status stands for."""
    where = f"What it said is in {job.log}"
    if ended.status < 0:
        return EnvironmentFailed(
            f"it was ended by signal {-ended.status}",
            remedy=f"Where the memory did not suffice, fewer --jobs help. {where}",
        )
    kind = {2: UserError, 3: NotValid}.get(ended.status, EnvironmentFailed)
    return kind(ended.error or f"it ended with status {ended.status}", remedy=where)


def remaining_s(jobs: Sequence[JobNow], cores: int) -> float | None:
    """About how long the jobs that are not over take on so many cores; None where nothing says so.

    A job takes as long as those of its group took on average, else as all took; one that trains says by its
    share how long it takes itself.
    """
    if all(now.over for now in jobs):
        return 0.0
    rest, longest = 0.0, 0.0
    for now in jobs:
        if now.over:
            continue
        whole = _expected_s(now, jobs)
        if whole is None:
            return None
        left = max(whole - now.seconds, 0.0)
        rest += left * max(1, min(now.job.cores, cores))
        longest = max(longest, left)
    return max(rest / cores, longest)


def _expected_s(now: JobNow, jobs: Sequence[JobNow]) -> float | None:
    """How long a job takes in all."""
    if (said := _by_its_share(now)) is not None:
        return said
    over = [other for other in jobs if other.state in {"kept", "done"} and other.seconds > 0]
    alike = [other.seconds for other in over if other.job.group == now.job.group]
    known = alike or [other.seconds for other in over]
    known = known or [seconds for other in jobs if (seconds := _by_its_share(other)) is not None]
    return statistics.mean(known) if known else None


def _by_its_share(now: JobNow) -> float | None:
    """How long a running job takes in all by what it says itself; None where it says too little."""
    trains = now.state == "running" and now.how_far.stage.startswith(_TRAINING)
    return now.seconds / now.how_far.share if trains and now.how_far.share > _EARLY else None
