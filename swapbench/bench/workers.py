"""Talking to workers: one fresh process, one loaded model, short slices on request.

`time_together` is the building block of every comparison: one fresh worker of each file, all loaded, slices
in turn.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swapbench import stats
from swapbench.errors import DeviceFailed, EnvironmentFailed, WorkerFailed
from swapbench.records import WorkerTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from swapbench.ports import Conversation, Device, Loaded, Mode, Runtime, Slice
    from swapbench.records import Plan, Preprocessing

PROBE_RUNS = 3
WAKE_RUNS = 2
MIN_RUNS_A_SLICE = 2
MAX_RUNS_A_SLICE = 200
LOAD_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class FileUnderTest:
    """One file under one runtime, on the device.

    Attributes:
        name: tells files that are measured together apart.
        artifact: the file's path on the device.
        runtime: what runs it.
        options: flags of the worker, e.g. samples.
    """

    name: str
    artifact: str
    runtime: Runtime
    options: Mapping[str, str | int | float] = field(default_factory=dict)

    def command(self, mode: Mode, plan: Plan, **options: str | float) -> list[str]:
        """The worker's command line under a plan."""
        defaults = {"warmup_runs": plan.warmup_runs, "warmup_ns": plan.warmup_ns, "seed": plan.seed}
        return self.runtime.command(
            self.artifact, mode=mode, threads=plan.threads, options={**defaults, **options, **self.options}
        )


@dataclass(frozen=True)
class TimedWorker:
    """One fresh worker that was timed: what it reported once loaded, and its times."""

    loaded: Loaded
    times: WorkerTimes


def normalise_json(preprocessing: Preprocessing) -> str:
    """The arithmetic between a pixel and the network's input, as a worker's option."""
    return json.dumps(preprocessing.model_dump(mode="json", include={"scale", "mean", "std"}), sort_keys=True)


def read_answer(conversation: Conversation, timeout_s: float) -> str:
    """The worker's next answer; what libraries print in between is skipped.

    Raises:
        WorkerFailed: There was none in that time, however much was printed.
    """
    deadline, printed = time.monotonic() + timeout_s, ""
    while True:
        try:
            line = conversation.read_line(max(0.0, deadline - time.monotonic()))
        except WorkerFailed as error:
            # what is left of the time may be milliseconds: that it was silent for those says nothing
            if printed and time.monotonic() >= deadline:
                raise _no_answer(timeout_s, printed) from error
            raise
        if is_answer(line):
            return line
        printed = line
        if time.monotonic() > deadline:
            raise _no_answer(timeout_s, printed)


def _no_answer(timeout_s: float, printed: str) -> WorkerFailed:
    return WorkerFailed(f"the worker gave no answer in {timeout_s:g} s, and printed: {printed[:80]}")


def is_answer(line: str) -> bool:
    """Whether a worker's line is one of its answers, in contrast to what libraries print."""
    return line.lstrip().startswith("{") and '"event"' in line


def ask(conversation: Conversation, runtime: Runtime, request: Mapping[str, int], timeout_s: float) -> Slice:
    """Have a serving worker time one slice."""
    conversation.write_line(json.dumps(request))
    return runtime.parse_slice(read_answer(conversation, timeout_s))


def time_together(
    files: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    number: int,
    order: Callable[[Sequence[str]], Sequence[str]],
    *,
    load_at_once: bool = False,
) -> dict[str, TimedWorker | EnvironmentFailed]:
    """One round: a fresh worker of each file, all loaded, plan.slices_per_round slices of each in turn.

    Whatever interrupts the round, all its workers have ended when it is left.

    Args:
        files: what to time, with different names.
        device: where.
        plan: how.
        number: of the round, from 0.
        order: puts names in an order; called once for loading and once for every turn.
        load_at_once: start all workers before the first has loaded, which halves the time of a short round;
            load and first-run times are then those of a machine that loads them all.

    Returns:
        By name the worker, or its error: the other workers go on.

    Raises:
        DeviceFailed: the device is gone.
    """
    by_name = {file.name: file for file in files}
    failed: dict[str, EnvironmentFailed] = {}
    living: dict[str, _LiveWorker] = {}
    try:
        loading = order(list(by_name))
        for batch in [loading] if load_at_once else [[name] for name in loading]:
            for name in batch:
                with _failing(name, living, failed):
                    living[name] = _LiveWorker(by_name[name], device, plan, number)
            for name in [name for name in batch if name in living]:
                with _failing(name, living, failed):
                    living[name].load()
        for _ in range(plan.slices_per_round):
            for name in order(list(living)):
                with _failing(name, living, failed):
                    living[name].measure_slice()
    finally:
        close_together([worker.conversation for worker in living.values()])
    return {name: living[name].result(number) if name in living else failed[name] for name in by_name}


def close_together(conversations: Sequence[Conversation]) -> None:
    """End all of them at once: a worker takes longer to shut down than a slice takes."""
    threads = [threading.Thread(target=conversation.close) for conversation in conversations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def _failing(
    name: str, living: dict[str, _LiveWorker], failed: dict[str, EnvironmentFailed]
) -> Generator[None, None, None]:
    """A failure inside takes the worker of that name out of the round, unless the device itself failed."""
    try:
        yield
    except DeviceFailed:
        raise
    except EnvironmentFailed as failure:
        failed[name] = failure
        if name in living:
            living.pop(name).conversation.close()


class _LiveWorker:
    """One worker of a round: started, loaded, then timed."""

    def __init__(self, file: FileUnderTest, device: Device, plan: Plan, number: int) -> None:
        self._runtime = file.runtime
        # another real image in each round, because latency may depend on what is fed
        options = {"index": number} if "samples" in file.options else {}
        self.conversation = device.start(file.command("serve", plan, **options))
        self._slice_ns = plan.slice_ns
        self._slices: list[Slice] = []

    def load(self) -> None:
        """Wait until the model is loaded; find out how many runs make a slice."""
        self._loaded = self._runtime.parse_loaded(read_answer(self.conversation, LOAD_TIMEOUT_S))
        probe = self._ask(PROBE_RUNS, wake_runs=0)
        typical_ns = max(1.0, stats.median(probe.run_ns))
        fitting = round(self._slice_ns / typical_ns)
        self._runs = min(max(fitting, MIN_RUNS_A_SLICE), MAX_RUNS_A_SLICE)
        # a run that fills half a slice has woken caches and threads by itself
        self._wake_runs = WAKE_RUNS if fitting > MIN_RUNS_A_SLICE else 1

    def _ask(self, runs: int, wake_runs: int) -> Slice:
        return ask(self.conversation, self._runtime, {"runs": runs, "wake_runs": wake_runs}, ANSWER_TIMEOUT_S)

    def measure_slice(self) -> None:
        self._slices.append(self._ask(self._runs, self._wake_runs))

    def result(self, number: int) -> TimedWorker:
        times = WorkerTimes(
            round=number,
            load_ns=self._loaded.load_ns,
            first_ns=self._loaded.first_ns,
            warmup_runs=self._loaded.warmup_runs + PROBE_RUNS,
            slices_ns=tuple(timed.run_ns for timed in self._slices),
            cpu_ns=sum(timed.cpu_ns for timed in self._slices),
            decisions=_decisions(self._slices),
        )
        return TimedWorker(self._loaded, times)


def _decisions(slices: Sequence[Slice]) -> tuple[tuple[tuple[int, ...], ...], ...] | None:
    """What the runs of a system were, slice by slice; None of a file."""
    known = [timed.decisions for timed in slices]
    decided = tuple(decisions for decisions in known if decisions is not None)
    return decided if len(decided) == len(known) and decided else None
