"""Whether a phone was in a steady state while it was measured, from its state before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swapbench.records import THERMAL_STATUSES, Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.records import CpuCluster, Machine, PhoneState, StartGate

LOW_BATTERY_PERCENT: Final = 20


def phone_doubts(machine: Machine) -> Iterator[Doubt]:
    """Reasons to distrust what a phone measured: it was hot, throttled or slowed down, or its state changed.

    None for a machine without a phone's state. What the phone did not report at one of the two moments counts
    as unchanged.
    """
    if machine.start_gate is not None and not machine.start_gate.passed:
        yield _gate(machine.start_gate)
    after = machine.state
    if after is None:
        return
    before = machine.state_before or after
    yield from _throttling(before, after)
    if before.battery_saver or after.battery_saver:
        yield _doubt(
            "battery_saver",
            "battery saver was on, which slows the processor down",
            "Turn it off: adb shell settings put global low_power 0",
        )
    if after.battery_percent is not None and after.battery_percent < LOW_BATTERY_PERCENT:
        yield _doubt(
            "battery_low",
            f"the battery was at {after.battery_percent} %, and phones slow down when it is low",
            "Charge it to between 20 and 95 %.",
        )
    if _changed(before.plugged, after.plugged) or _changed(before.charging, after.charging):
        yield _doubt(
            "charging_changed",
            f"charging changed during the measurement: {_supply(before)} before, {_supply(after)} after",
            "Leave the cable as it is, and start below 95 % so that the battery does not fill up.",
        )
    if before.screen_kept_on is False:
        yield _doubt(
            "screen_not_kept_on",
            "the phone does not let adb keep its screen on, and may have gone dark in between",
            "Set its screen timeout to the longest by hand, or allow "
            "'USB debugging (Security settings)' in its developer options.",
        )
    if _changed(before.screen_on, after.screen_on):
        yield _doubt(
            "screen_changed",
            f"the screen was {_on(before.screen_on)} before and {_on(after.screen_on)} after",
            "Do not touch the phone during the measurement.",
        )


def _gate(gate: StartGate) -> Doubt:
    if gate.surface_c is None:
        return _doubt(
            "start_temperature_unknown",
            "the phone reports no temperature, so it may have started hot",
            "Leave it idle for ten minutes before measuring.",
        )
    if gate.surface_c <= gate.limit_c:
        return _doubt(
            "hot_start",
            f"the phone still throttled at {gate.surface_c:.1f} °C after a wait of {gate.waited_s:.0f} s",
            "Let it cool down, out of its case and off the charger.",
        )
    return _doubt(
        "hot_start",
        f"the phone started at {gate.surface_c:.1f} °C, above the limit of {gate.limit_c:.1f} °C,"
        f" after a wait of {gate.waited_s:.0f} s",
        "Let it cool down, out of its case and off the charger.",
    )


def _mean_clock(was: CpuCluster, now: CpuCluster) -> str:
    """At what frequency cores really were in between, where the phone tells."""
    mean_khz = now.mean_khz_since(was)
    return "" if mean_khz is None else f" (they were at {mean_khz / 1000:.0f} MHz on average)"


def _throttling(before: PhoneState, after: PhoneState) -> Iterator[Doubt]:
    worst = max(before.thermal_status or 0, after.thermal_status or 0)
    if worst > 0:
        yield _doubt(
            "throttled",
            f"the phone throttled: thermal status {THERMAL_STATUSES[min(worst, len(THERMAL_STATUSES) - 1)]}",
            "Let it cool down and measure for less time, or measure the effect of heat with --sustained.",
        )
    earlier = {cluster.cores: cluster for cluster in before.clusters}
    for cluster in after.clusters:
        was = earlier.get(cluster.cores)
        if was is None:
            continue
        cores = ",".join(str(core) for core in cluster.cores)
        if was.allowed_khz and cluster.allowed_khz and was.allowed_khz != cluster.allowed_khz:
            was_mhz, now_mhz = was.allowed_khz / 1000, cluster.allowed_khz / 1000
            yield _doubt(
                "frequency_cap_moved",
                f"the clock limit of cores {cores} was {was_mhz:.0f} MHz before and {now_mhz:.0f} MHz after"
                f"{_mean_clock(was, cluster)}",
                "Let the phone cool down, and turn off its game and performance modes.",
            )
        if _changed(was.governor, cluster.governor):
            yield _doubt(
                "governor_changed",
                f"the governor of cores {cores} was {was.governor} before and {cluster.governor} after",
                "Turn off game and performance modes on the phone, or leave them as they are.",
            )


def _changed(before: object, after: object) -> bool:
    return before is not None and after is not None and before != after


def _supply(state: PhoneState) -> str:
    supplied = " and ".join(state.plugged or ()) or "no cable"
    return f"{supplied}, {'charging' if state.charging else 'not charging'}"


def _on(screen: bool | None) -> str:
    return "on" if screen else "off"


def _doubt(code: str, message: str, remedy: str) -> Doubt:
    return Doubt(code=code, quantity="run", message=message, remedy=remedy)
