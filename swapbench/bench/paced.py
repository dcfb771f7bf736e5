"""Runs that wait for the frames of a camera, in contrast to runs back to back.

Between two frames a processor slows down and its caches are used by others, so that a decision takes longer
than back to back, and of two models the slower one may become the faster.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swapbench import stats
from swapbench.bench.workers import (
    ANSWER_TIMEOUT_S,
    LOAD_TIMEOUT_S,
    FileUnderTest,
    ask,
    close_together,
    read_answer,
)
from swapbench.errors import DeviceFailed, EnvironmentFailed
from swapbench.records import Absent, Speed, WorkerTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.ports import Conversation, Device, Loaded, Slice
    from swapbench.records import Plan

ROUNDS: Final = stats.LOOKS[0]
TURNS: Final = 2
SLICE_S: Final = 0.7
LEAST_FRAMES: Final = 10
"""Of one slice, so that every process has the runs that its p95 needs; a slow camera gets longer ones."""


def at_frame_rate(file: FileUnderTest, fps: float) -> FileUnderTest:
    """The same file, whose serving worker waits for a frame of a camera before every run."""
    return replace(file, options={**file.options, "fps": fps})


def measure_paced(
    files: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    fps: float,
    *,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Speed | Absent]:
    """Latency of every file at a frame rate, by name; Absent, with the reason, for one that fails.

    Rounds of fresh workers, all loaded, and slices of some frames in turn; the other workers sleep meanwhile,
    as an app's other models do.

    Args:
        files: what to time.
        device: where.
        plan: how; its `fps` is not used.
        fps: frames a second.
        progress: told the share that is done.

    Raises:
        DeviceFailed: the device is gone.
    """
    order = random.Random(plan.seed)  # noqa: S311 - an order, no secret
    running = {file.name: at_frame_rate(file, fps) for file in files}
    times: dict[str, list[WorkerTimes]] = {name: [] for name in running}
    inputs: dict[str, str] = {}
    failed: dict[str, Absent] = {}
    for number in range(ROUNDS):
        living: dict[str, _PacedWorker] = {}
        opened: list[Conversation] = []
        try:
            for name, file in running.items():
                if name in failed:
                    continue
                try:
                    living[name] = _PacedWorker(file, device, plan, opened)
                except DeviceFailed:
                    raise
                except EnvironmentFailed as failure:
                    failed[name] = _absent(failure)
            for turn in range(TURNS):
                for name in order.sample(sorted(living), len(living)):
                    try:
                        living[name].measure_slice(fps)
                    except DeviceFailed:
                        raise
                    except EnvironmentFailed as failure:
                        failed[name] = _absent(failure)
                        del living[name]
                if progress is not None:
                    progress((number * TURNS + turn + 1) / (ROUNDS * TURNS))
        finally:
            close_together(opened)
        for name, worker in living.items():
            times[name].append(worker.times(number))
            inputs[name] = worker.loaded.input
    return {
        name: failed[name]
        if name in failed
        else Speed(workers=tuple(times[name]), input=inputs[name], stopped="rounds")
        for name in running
    }


def _absent(failure: EnvironmentFailed) -> Absent:
    return Absent(absent=f"timing at the frame rate failed: {failure.args[0]}", remedy=failure.remedy)


class _PacedWorker:
    """One worker of a round, loaded."""

    def __init__(self, file: FileUnderTest, device: Device, plan: Plan, opened: list[Conversation]) -> None:
        self._runtime = file.runtime
        self._conversation = device.start(file.command("serve", plan))
        opened.append(self._conversation)
        self.loaded: Loaded = self._runtime.parse_loaded(read_answer(self._conversation, LOAD_TIMEOUT_S))
        self._slices: list[Slice] = []

    def measure_slice(self, fps: float) -> None:
        slice_s = max(SLICE_S, LEAST_FRAMES / fps)
        request = {"slice_ns": round(slice_s * 1e9)}
        self._slices.append(ask(self._conversation, self._runtime, request, slice_s + ANSWER_TIMEOUT_S))

    def times(self, number: int) -> WorkerTimes:
        late = [timed.late_frames for timed in self._slices]
        return WorkerTimes(
            round=number,
            load_ns=self.loaded.load_ns,
            first_ns=self.loaded.first_ns,
            warmup_runs=self.loaded.warmup_runs,
            slices_ns=tuple(timed.run_ns for timed in self._slices),
            cpu_ns=sum(timed.cpu_ns for timed in self._slices),
            late_frames=None if None in late else sum(count or 0 for count in late),
        )
