"""The energy pass: one loaded worker that idles, works and idles again while all meters watch."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from swapbench.bench.workers import ANSWER_TIMEOUT_S, LOAD_TIMEOUT_S, ask, read_answer
from swapbench.errors import DeviceFailed
from swapbench.ports import GradedMeter, SampledMeter, WatchingRuntime
from swapbench.records import Absent, CounterRead, Power

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import CounterValue, Device, Meter, Runtime, Samples, Slice
    from swapbench.records import Plan

SETTLE_S = 0.5
"""Rest before each window."""


def measure_power(
    file: FileUnderTest,
    meters: Sequence[Meter | SampledMeter],
    device: Device,
    plan: Plan,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Power, ...] | Absent:
    """Idle, busy, idle: all meters over the same windows of plan.power_window_s with one loaded worker.

    The worker is loaded in all three windows and runs in the busy one only, without a pause; where a meter is
    sampled, the worker reads the meter's files in all three.

    Returns:
        One Power for each meter that could be read throughout, in the order of the meters; Absent, with every
        reason, where none could.

    Raises:
        WorkerFailed: the worker failed.
        DeviceFailed: the device is gone.
    """
    if not meters:
        return Absent(absent="this device has no readable energy counter", remedy="See: swapbench doctor")
    counted = [meter for meter in meters if not isinstance(meter, SampledMeter)]
    watch = _Watch(file.runtime, [meter for meter in meters if isinstance(meter, SampledMeter)])
    slices: list[Slice] = []
    window_ns = round(plan.power_window_s * 1e9)
    timeout_s = 2 * plan.power_window_s + ANSWER_TIMEOUT_S

    def wait() -> None:
        if not watch.meters:
            sleep(plan.power_window_s)
            return
        conversation.write_line(json.dumps({"idle_ns": window_ns}))
        watch.add(read_answer(conversation, timeout_s))

    def work() -> None:
        request = {"slice_ns": window_ns, "wake_runs": 0}
        slices.append(ask(conversation, file.runtime, request, timeout_s))
        if watch.meters:
            watch.add(read_answer(conversation, ANSWER_TIMEOUT_S))

    conversation = device.start(file.command("serve", plan, **watch.options))
    try:
        file.runtime.parse_loaded(read_answer(conversation, LOAD_TIMEOUT_S))
        windows = []
        for spend_window in (wait, work, wait):
            sleep(SETTLE_S)
            windows.append(_window(counted, spend_window))
    finally:
        conversation.close()
    runs = len(slices[0].run_ns)
    powers: dict[str, Power | DeviceFailed] = watch.powers(runs)
    for meter, *meter_windows in zip(counted, *windows, strict=True):
        powers[meter.name] = _power(meter, runs, *meter_windows)
    return readable_powers([powers[meter.name] for meter in meters])


def readable_powers(powers: Sequence[Power | DeviceFailed]) -> tuple[Power, ...] | Absent:
    """What was measured by meters that did not fail; Absent, with every reason, where all failed."""
    readable = tuple(power for power in powers if isinstance(power, Power))
    if readable:
        return readable
    failures = [power for power in powers if isinstance(power, DeviceFailed)]
    reasons = "; ".join(str(failure.args[0]) for failure in failures)
    return Absent(
        absent=f"the energy counter failed during the measurement: {reasons}", remedy=failures[0].remedy
    )


class _Watch:
    """What a worker samples for meters without a counter; unusable meters drop out with their reason."""

    def __init__(self, runtime: Runtime, meters: Sequence[SampledMeter]) -> None:
        self._runtime = runtime
        self._failures: dict[str, DeviceFailed] = {}
        self._windows: list[Samples] = []
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
                f"the {self._runtime.name} worker cannot sample {meter.name} while it runs",
                remedy="Use the native runner.",
            )
            return False
        try:
            meter.check()
        except DeviceFailed as failure:
            self._failures[meter.name] = failure
            return False
        return True

    def add(self, line: str) -> None:
        """Keep the samples of one window."""
        assert isinstance(self._runtime, WatchingRuntime)
        self._windows.append(self._runtime.parse_samples(line))

    def powers(self, runs: int) -> dict[str, Power | DeviceFailed]:
        """The energy of the three windows by meter, or why it is not known."""
        powers: dict[str, Power | DeviceFailed] = dict(self._failures)
        for meter in self.meters:
            columns = [self._files.index(file) for file in meter.files]
            before, busy, after = (window.of(columns) for window in self._windows)
            try:
                meter.check()  # once more: a cable may have been plugged in meanwhile
                powers[meter.name] = meter.power(before, busy, after, runs)
            except DeviceFailed as failure:
                powers[meter.name] = failure
        return powers


_Window = tuple[CounterRead, ...] | DeviceFailed


def _window(meters: Sequence[Meter], spend_window: Callable[[], None]) -> list[_Window]:
    """What every meter counted while `spend_window` ran, or why it could not."""
    before = [_read(meter) for meter in meters]
    spend_window()
    return [_counted(values, _read(meter)) for meter, values in zip(meters, before, strict=True)]


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
