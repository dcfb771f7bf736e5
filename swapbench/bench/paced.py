"""Runs that wait: for the frames of a camera, beside runs back to back.

Between two frames a processor slows down and its caches are used by others, so that a decision takes longer than back to back,
and of two models the slower one may become the faster.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swapbench.bench.workers import ANSWER_TIMEOUT_S, LOAD_TIMEOUT_S, FileUnderTest, ask, close_together, said
from swapbench.errors import DeviceFailed, EnvironmentFailed
from swapbench.records import Absent, Speed, WorkerTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.ports import Conversation, Device, Loaded, Slice
    from swapbench.records import Plan

ROUNDS: Final = 2
TURNS: Final = 4
SLICE_S: Final = 1.0
LEAST_FRAMES: Final = 18
"""Of one slice: a slow camera gets longer slices. All slices together are then more than the 130 runs that a p95 needs."""


def at_frame_rate(subject: FileUnderTest, fps: float) -> FileUnderTest:
    """The same subject, whose serving worker waits for the frames of a camera before every run."""
    return replace(subject, options={**subject.options, "fps": fps})


def measure_paced(
    subjects: Sequence[FileUnderTest],
    device: Device,
    plan: Plan,
    fps: float,
    *,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Speed | Absent]:
    """Latency of every subject at a frame rate, by name; Absent, with the reason, for one that fails.

    Rounds of fresh workers, all loaded, and slices of some frames in turn; the other workers sleep meanwhile, as an app's
    other models do. progress: told the share that is done. DeviceFailed where the device goes away.
    """
    order = random.Random(plan.seed)  # noqa: S311 - an order, no secret
    running = {one.name: at_frame_rate(one, fps) for one in subjects}
    times: dict[str, list[WorkerTimes]] = {name: [] for name in running}
    inputs: dict[str, str] = {}
    failed: dict[str, Absent] = {}
    for number in range(ROUNDS):
        living: dict[str, _Living] = {}
        opened: list[Conversation] = []
        try:
            for name, subject in running.items():
                if name in failed:
                    continue
                try:
                    living[name] = _Living(subject, device, plan, opened)
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
        for name, one in living.items():
            times[name].append(one.times(number))
            inputs[name] = one.loaded.input
    return {
        name: failed[name]
        if name in failed
        else Speed(workers=tuple(times[name]), input=inputs[name], stopped="rounds")
        for name in running
    }


def _absent(failure: EnvironmentFailed) -> Absent:
    return Absent(absent=f"the paced runs failed: {failure.args[0]}", remedy=failure.remedy)


class _Living:
    """One worker of a round, loaded."""

    def __init__(
        self, subject: FileUnderTest, device: Device, plan: Plan, opened: list[Conversation]
    ) -> None:
        self._runtime = subject.runtime
        self._conversation = device.start(subject.command("serve", plan))
        opened.append(self._conversation)
        self.loaded: Loaded = self._runtime.parse_loaded(said(self._conversation, LOAD_TIMEOUT_S))
        self._slices: list[Slice] = []

    def measure_slice(self, fps: float) -> None:
        slice_s = max(SLICE_S, LEAST_FRAMES / fps)
        request = {"slice_ns": round(slice_s * 1e9)}
        self._slices.append(ask(self._conversation, self._runtime, request, slice_s + ANSWER_TIMEOUT_S))

    def times(self, number: int) -> WorkerTimes:
        late = [one.late_frames for one in self._slices]
        return WorkerTimes(
            round=number,
            load_ns=self.loaded.load_ns,
            first_ns=self.loaded.first_ns,
            warmup_runs=self.loaded.warmup_runs,
            slices_ns=tuple(one.run_ns for one in self._slices),
            cpu_ns=sum(one.cpu_ns for one in self._slices),
            late_frames=None if None in late else sum(one or 0 for one in late),
        )
