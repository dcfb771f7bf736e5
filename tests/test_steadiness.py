from __future__ import annotations

from typing import Any

import made_records
import pytest

from swapbench.bench.steadiness import phone_doubts
from swapbench.records import CpuCluster, Machine, PhoneState, StartGate

STATE = PhoneState(
    thermal_status=0,
    surface_c=31.5,
    battery_percent=71,
    charging=True,
    plugged=("usb",),
    battery_saver=False,
    screen_on=True,
    clusters=(
        CpuCluster(cores=(0, 1), max_khz=1800000, allowed_khz=1800000, governor="walt"),
        CpuCluster(cores=(2, 3), max_khz=2850000, allowed_khz=2401000, governor="walt"),
    ),
)
PASSED = StartGate(limit_c=35.0, surface_c=31.5, waited_s=0.0, passed=True)


def machine(**changed: Any) -> Machine:
    told = {"state": STATE, "state_before": STATE, "start_gate": PASSED, **changed}
    return made_records.MACHINE.model_copy(update=told)


def state(**changed: Any) -> PhoneState:
    return STATE.model_copy(update=changed)


def cluster(**changed: Any) -> tuple[CpuCluster, ...]:
    return (STATE.clusters[0], STATE.clusters[1].model_copy(update=changed))


def codes(one: Machine) -> list[str]:
    return [doubt.code for doubt in phone_doubts(one)]


def test_a_phone_that_held_still_is_not_doubted() -> None:
    assert codes(machine()) == []


def test_a_computer_that_is_no_phone_is_not_doubted() -> None:
    assert codes(made_records.MACHINE) == []


def test_what_a_phone_does_not_tell_is_no_change() -> None:
    assert codes(machine(state=PhoneState())) == []
    assert codes(machine(state_before=PhoneState())) == []
    assert codes(machine(state_before=None)) == []


@pytest.mark.parametrize(
    ("after", "code", "message"),
    [
        (state(thermal_status=2), "throttled", "thermal status moderate"),
        (state(battery_saver=True), "battery_saver", "battery saver was on"),
        (state(battery_percent=19), "battery_low", "at 19 %"),
        (state(plugged=()), "charging_changed", "usb, charging before, no cable, charging after"),
        (state(charging=False), "charging_changed", "usb, charging before, usb, not charging after"),
        (state(screen_on=False), "screen_changed", "on before and off after"),
        (
            state(clusters=cluster(allowed_khz=1500000)),
            "frequency_cap_moved",
            "cores 2,3 .* 2401 MHz before and 1500 MHz after",
        ),
        (
            state(clusters=cluster(governor="performance")),
            "governor_changed",
            "cores 2,3 .* walt before and performance after",
        ),
    ],
)
def test_a_change_while_measuring_is_a_doubt_whichever_way_it_goes(
    after: PhoneState, code: str, message: str
) -> None:
    (doubt,) = phone_doubts(machine(state=after))
    assert doubt.code == code
    with pytest.raises(ValueError, match=message):
        raise ValueError(doubt.message)
    assert doubt.remedy
    if code != "battery_low":  # a battery that fills up meanwhile is no reason to doubt
        assert codes(machine(state_before=after)) == [code]


def test_a_screen_that_could_not_be_kept_on_is_a_doubt() -> None:
    (doubt,) = phone_doubts(machine(state_before=state(screen_kept_on=False)))
    assert doubt.code == "screen_not_kept_on"
    assert "USB debugging (Security settings)" in doubt.remedy
    assert codes(machine(state_before=state(screen_kept_on=True))) == []


@pytest.mark.parametrize(
    ("gate", "code", "message"),
    [
        (
            {"surface_c": 39.24, "waited_s": 600.0},
            "hot_start",
            "started at 39.2 °C, above the limit of 35.0 °C, after a wait of 600 s",
        ),
        ({"surface_c": 31.5, "waited_s": 600.0}, "hot_start", "still throttled at 31.5 °C"),
        ({"surface_c": None}, "start_temperature_unknown", "reports no temperature"),
    ],
)
def test_a_start_gate_that_was_not_passed_is_a_doubt(gate: dict[str, Any], code: str, message: str) -> None:
    failed = PASSED.model_copy(update={**gate, "passed": False})
    (doubt,) = phone_doubts(machine(start_gate=failed))
    assert (doubt.code, doubt.quantity) == (code, "run")
    assert message in doubt.message
    assert doubt.remedy


def test_a_moved_limit_is_explained_by_the_clock_that_the_cores_really_had() -> None:
    before = state(clusters=cluster(centiseconds_at_khz={1_500_000: 10, 2_401_000: 10}))
    after = cluster(allowed_khz=1_500_000, centiseconds_at_khz={1_500_000: 110, 2_401_000: 110})
    (doubt,) = phone_doubts(machine(state_before=before, state=state(clusters=after)))
    assert doubt.message.endswith("1500 MHz after (they were at 1950 MHz on average)")
