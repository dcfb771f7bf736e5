"""Sustained runs: one file for minutes, to see its latency once the device is warm."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from swapbench import stats
from swapbench.bench.workers import ANSWER_TIMEOUT_S, LOAD_TIMEOUT_S, ask, read_answer
from swapbench.records import Sustained, SustainedPoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Device
    from swapbench.records import Plan

STRETCH_S: Final = 60.0
FEWEST_STRETCHES: Final = 5
LEAST_S: Final = 1e-3
SLICE_S: Final = 5.0
"""A worker reports all runs of a slice at once, so slices are short; the gaps are some milliseconds."""


def measure_sustained(
    file: FileUnderTest,
    device: Device,
    plan: Plan,
    duration_s: float,
    *,
    progress: Callable[[float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Sustained:
    """Run a file without a pause for `duration_s`: one point a minute, but at least five.

    At the end of every point the device is asked for its temperature, which takes some tenths of a second on
    a phone.

    Args:
        file: what to run.
        device: where.
        plan: for its threads and warm-up.
        duration_s: for how long.
        progress: told the seconds that are done.
        clock: in seconds.

    Raises:
        WorkerFailed: the worker failed.
        DeviceFailed: the device is gone.
    """
    stretch_s = min(STRETCH_S, duration_s / FEWEST_STRETCHES)
    points: list[SustainedPoint] = []
    conversation = device.start(file.command("serve", plan))
    try:
        file.runtime.parse_loaded(read_answer(conversation, LOAD_TIMEOUT_S))
        began_s = clock()
        while (start_s := clock() - began_s) < duration_s - stretch_s / 2:
            # later points begin on time, although reading the temperature before took some
            end_s = min((len(points) + 1) * stretch_s, duration_s)
            runs_ns: list[int] = []
            while (left_s := end_s - (clock() - began_s)) > LEAST_S or not runs_ns:
                request = {"slice_ns": round(min(SLICE_S, max(left_s, LEAST_S)) * 1e9), "wake_runs": 0}
                timed = ask(conversation, file.runtime, request, SLICE_S + ANSWER_TIMEOUT_S)
                runs_ns += timed.run_ns
                if progress is not None:
                    progress(min(clock() - began_s, duration_s))
            machine = device.describe()
            points.append(
                SustainedPoint(
                    start_s=round(start_s, 3),
                    p50_ns=round(stats.quantile(runs_ns, 0.5)),
                    p90_ns=round(stats.quantile(runs_ns, 0.9)),
                    runs=len(runs_ns),
                    temperature_c=machine.temperature_c,
                    thermal_status=machine.state.thermal_status if machine.state else None,
                )
            )
    finally:
        conversation.close()
    return Sustained(points=tuple(points))
