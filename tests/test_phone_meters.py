"""A phone's energy: its power rails, its charge counter, its battery current; energies worked out by hand."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from swapbench import bench, stats
from swapbench.errors import DeviceFailed, WorkerFailed
from swapbench.meters.battery import (
    BatteryCharge,
    BatteryCurrent,
    find_battery_charge,
    find_battery_current,
    refuse_unless_discharging,
)
from swapbench.meters.battery_units import (
    CurrentMeaning,
    charge_step,
    charge_unit_uah,
    current_meaning,
    volt_unit_uv,
)
from swapbench.meters.power_rails import DUMP, REFRESH_NS, PowerRails, find_power_rails
from swapbench.meters.power_stats_text import RailEnergy, rail_energies
from swapbench.ports import Finished, SampledMeter, Samples
from swapbench.records import Absent, PhoneState, Plan, Power
from swapbench.runtimes import contract
from swapbench.testing import Fake, FakeClock, FakeConversation, FakeMeter, FakeModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECOND = 10**9

# ---------------------------------------------------------------------------------------------- the dump

HAL = """
============= PowerStats HAL 2.0 state residencies ==============
WLAN [S2X_VDD_BIG]:x   1.00 mWs
========== End of PowerStats HAL 2.0 state residencies ==========

============= PowerStats HAL 2.0 energy consumers ==============
DISPLAY      :       20417.88 mWs
CPU/1        :       61203.40 mWs
       10234 -         317.02 mWs
========== End of PowerStats HAL 2.0 energy consumers ==========

============= PowerStats HAL 2.0 energy meter ==============
                           Channel    Cumulative Energy
            [S2X_VDD_BIG]:CPU(BIG)         41877.31 mWs
        [VSYS_PWR_RADIO]:WLAN & BT          9034.50 mWs
========== End of PowerStats HAL 2.0 energy meter ==========
"""
BIG = RailEnergy("S2X_VDD_BIG", "CPU(BIG)", 41_877_310)
RADIO = RailEnergy("VSYS_PWR_RADIO", "WLAN & BT", 9_034_500)


def dump(**rails_mws: float) -> str:
    """The energy meter section of rails without subsystems; `__` stands for a slash."""
    rows = [f"  {f'[{name}]:SOC':>32}   {mws:14.2f} mWs" for name, mws in rails_mws.items()]
    return "\n".join(
        [
            "",
            "============= PowerStats HAL 2.0 energy meter ==============",
            f"  {'Channel':>32}   {'Cumulative Energy':>18}",
            *rows,
            "========== End of PowerStats HAL 2.0 energy meter ==========",
            "",
        ]
    )


def test_only_the_section_of_the_energy_meter_counts() -> None:
    assert rail_energies(HAL) == (BIG, RADIO)
    assert rail_energies(HAL.replace("\n", "\r\n")) == (BIG, RADIO)


def test_the_difference_that_everybody_shares_is_not_read() -> None:
    told = HAL.replace("41877.31 mWs", "41877.31 mWs (          3.20)")
    told = told.replace(
        "energy meter ==============\n", "energy meter ==============\nElapsed time: 512 ms\n"
    )
    assert rail_energies(told) == (BIG, RADIO)


def test_older_dumps_give_the_bare_channel() -> None:
    told = HAL.replace("            [S2X_VDD_BIG]:CPU(BIG)", "       S2X_VDD_BIG").replace(
        "[VSYS_PWR_RADIO]:WLAN & BT", "VSYS_PWR_RADIO"
    )
    bare = (RailEnergy("S2X_VDD_BIG", "", 41_877_310), RailEnergy("VSYS_PWR_RADIO", "", 9_034_500))
    assert rail_energies(told) == bare
    oldest = "============= PowerStats HAL 1.0 rail energy data =============="
    told = told.replace("============= PowerStats HAL 2.0 energy meter ==============", oldest)
    assert rail_energies(told) == bare


@pytest.mark.parametrize(
    "text", ["", "Can't find service: x\n", HAL[: HAL.index("=== PowerStats HAL 2.0 energy m")]]
)
def test_where_there_is_no_energy_meter_there_are_no_rails(text: str) -> None:
    assert rail_energies(text) == ()


def test_a_dump_that_was_cut_off_is_an_error() -> None:
    with pytest.raises(DeviceFailed, match="cut off"):
        rail_energies(HAL[: HAL.rindex("========== End")])


def test_a_rail_that_is_told_twice_is_an_error() -> None:
    with pytest.raises(DeviceFailed, match="S2X_VDD_BIG twice"):
        rail_energies(HAL.replace("[VSYS_PWR_RADIO]", "[S2X_VDD_BIG]"))


@pytest.mark.parametrize(
    ("energy_uj", "step_uj"),
    [(0, 10), (41_877_310, 10), (2**27 - 1, 10), (2**27, 16), (10**11, 8192), (2**37, 16384)],
)
def test_the_step_of_a_rail_is_that_of_a_32_bit_float(energy_uj: int, step_uj: int) -> None:
    assert RailEnergy("x", "", energy_uj).step_uj == step_uj


# ---------------------------------------------------------------------------------------------- rails


class Phone:
    """Answers the dump with the next of its texts; the last is said again. Asking takes `takes_ns`."""

    def __init__(self, *texts: str, exit_code: int = 0, stderr: str = "", takes_ns: int = 0) -> None:
        self.texts, self.exit_code, self.stderr = list(texts), exit_code, stderr
        self.now_ns, self.takes_ns = 0, takes_ns
        self.state = PhoneState(plugged=("usb",))

    def ask(self, command: str) -> Finished:
        assert command == DUMP
        self.now_ns += self.takes_ns
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        return Finished(text, self.stderr, self.exit_code)

    def clock_ns(self) -> int:
        return self.now_ns

    def find(self, *summed: str) -> PowerRails | Absent:
        return find_power_rails(self.ask, lambda: self.state, summed, self.clock_ns)

    def meter(self, *summed: str) -> PowerRails:
        found = self.find(*summed)
        assert isinstance(found, PowerRails), found
        return found


def absent(found: object) -> Absent:
    assert isinstance(found, Absent), found
    return found


def test_the_rails_of_the_profile_add_up_and_all_others_stand_beside() -> None:
    meter = Phone(dump(CPU=100.0, DDR=50.0, VSYS_PWR_DISPLAY=900.0)).meter("CPU", "DDR")
    assert {one.counter: one.value_uj for one in meter.read()} == {
        "CPU": 100_000,
        "DDR": 50_000,
        "beside/VSYS_PWR_DISPLAY": 900_000,
    }
    assert (meter.scope, meter.grade) == ("2 power rails", "rails")
    assert meter.basis == ("sum of CPU (SOC), DDR (SOC)",)


def test_without_a_profile_only_the_whole_battery_is_a_total_while_the_phone_runs_on_it() -> None:
    phone = Phone(dump(CPU=100.0, VSYS_PWR_VBATT=950.0))
    found = absent(phone.find())
    assert found.absent == "the phone is powered by usb, and VSYS_PWR_VBATT counts what its battery gives"
    assert "Pull the cable" in found.remedy
    phone.state = FINE
    meter = phone.meter()
    assert [one.counter for one in meter.read()] == ["VSYS_PWR_VBATT/CPU", "VSYS_PWR_VBATT"]
    assert meter.scope == "whole phone (VSYS_PWR_VBATT (SOC))"


def test_a_rail_of_the_whole_battery_is_never_added_to_those_that_it_holds() -> None:
    phone = Phone(dump(CPU=100.0, VSYS_PWR_VBATT=950.0))
    found = absent(phone.find("CPU", "VSYS_PWR_VBATT"))
    assert (
        found.absent
        == "VSYS_PWR_VBATT is the rail of the whole battery and includes the other rails of the sum"
    )
    assert 'summed = ["VSYS_PWR_VBATT"]' in found.remedy
    phone.state = FINE
    assert phone.meter("VSYS_PWR_VBATT").scope == "whole phone (VSYS_PWR_VBATT (SOC))"


def test_without_a_profile_and_a_whole_battery_nothing_is_added_up_but_every_rail_is_told() -> None:
    found = absent(Phone(HAL).find())
    assert "it is unknown which power rails" in found.absent
    assert "S2X_VDD_BIG (CPU(BIG)) 41.9 J, VSYS_PWR_RADIO (WLAN & BT) 9.03 J" in found.remedy


def test_a_rail_of_the_profile_that_is_missing_makes_the_sum_absent() -> None:
    found = absent(Phone(HAL).find("S2X_VDD_BIG", "S9X_VDD_NPU"))
    assert found.absent == "this phone does not report its power rails S9X_VDD_NPU"
    assert "VSYS_PWR_RADIO" in found.remedy


@pytest.mark.parametrize(
    ("phone", "says"),
    [
        (Phone("", stderr="Can't find service: android.hardware.power.stats\n"), "Can't find service"),
        (Phone("Permission Denial: can't dump\n", exit_code=1), "Permission Denial"),
        (Phone(dump()), "list none"),
        (Phone(dump(CPU=0.0)), "all read 0"),
        (Phone(HAL[:-80]), "cut off"),
        (Phone(""), "no output, exit status 0"),
    ],
)
def test_a_phone_without_rails_says_why(phone: Phone, says: str) -> None:
    assert says in absent(phone.find("CPU")).absent


def test_a_phone_that_cannot_be_reached_is_a_reason_too() -> None:
    def ask(command: str) -> Finished:
        raise DeviceFailed("phone X is gone", remedy="Check the cable.")

    assert absent(find_power_rails(ask, lambda: FINE)) == Absent(
        absent="phone X is gone", remedy="Check the cable."
    )


def test_a_rail_that_goes_away_while_measuring_is_an_error() -> None:
    meter = Phone(dump(CPU=1.0), dump(CPU=1.0), dump(GPU=1.0)).meter("CPU")
    with pytest.raises(DeviceFailed, match="does not report its power rails CPU"):
        meter.read()


def test_steps_and_the_time_that_asking_takes_are_the_uncertainty_of_rails() -> None:
    phone = Phone(dump(CPU=1e8, GPU=1.0), takes_ns=40_000_000)
    meter = phone.meter("CPU", "GPU")
    assert meter.resolution_uj == 8192  # 100 kJ
    assert meter.update_ns == REFRESH_NS + 40_000_000
    before_ns = phone.now_ns
    assert {one.time_ns for one in meter.read()} == {before_ns + 20_000_000}


def test_a_dump_that_the_system_refuses_says_so_and_where_the_rails_are() -> None:
    refusal = f"Error with service '{DUMP.partition(' ')[2]}' while dumping: FAILED_TRANSACTION"
    found = absent(Phone("", stderr=f"{refusal}\n").find("CPU"))
    assert found.absent == f"this phone's system does not let adb dump its power stats ({refusal})"
    assert "through Perfetto" in found.remedy


def test_rails_as_a_record_idle_busy_idle() -> None:
    clock = FakeClock()

    def text() -> str:
        """400 mW always, and 1500 mW more while busy; a display beside."""
        used_mws = 400 * clock.seconds() + 1500 * clock.busy_ns / 1e9
        return dump(CPU=5000 + used_mws, VSYS_PWR_DISPLAY=1 + 300 * clock.seconds())

    found = find_power_rails(lambda _: Finished(text(), "", 0), lambda: FINE, ["CPU"], lambda: clock.now_ns)
    assert isinstance(found, PowerRails)
    device = Fake({"m": FakeModel(run_ns=10_000_000)}, clock)
    subject = bench.FileUnderTest("m", "m", contract.PythonWorker("fake", ("onnx",), "x"))
    measured = bench.measure_power(subject, [found], device, Plan(power_window_s=10.0), sleep=clock.sleep)
    assert not isinstance(measured, Absent)
    (power,) = measured
    assert (power.grade, power.basis, power.runs) == ("rails", ("sum of CPU (SOC)",), 1000)
    energy = stats.energy_per_run(power)
    # 1.9 W for 10 ms, 1.5 W of it above idle; printed in steps of 10 uJ
    assert energy.gross_uj == pytest.approx(19_000, abs=0.1)
    assert energy.above_idle_uj == pytest.approx(15_000, abs=0.1)
    # 0.16 s and one step for each of the busy and both idle windows: (304000 + 10 + 64000 + 10) / 1000
    assert energy.uncertainty_uj == pytest.approx(368.02, abs=0.1)


# ---------------------------------------------------------------------------------------------- the integral


def test_a_ramp_from_1_to_3_is_20_over_10_and_12_and_a_half_in_its_second_half() -> None:
    assert stats.integral([0, 10], [1, 3], 0, 10) == 20
    assert stats.integral([0, 10], [1, 3], 5, 10) == 12.5
    assert stats.integral([0, 2, 10], [5, 5, 5], 3, 9) == 30
    assert stats.integral([7, 9], [1, 1], 8, 8) == 0


@pytest.mark.parametrize(
    ("times", "values", "begin", "end"),
    [
        ([0, 10], [1, 1], -1, 5),
        ([0, 10], [1, 1], 5, 11),
        ([0, 10], [1, 1], 6, 5),
        ([0], [1], 0, 0),
        ([0, 0], [1, 1], 0, 0),
        ([0, 5, 4], [1, 1, 1], 0, 4),
        ([0, 5], [1, 1, 1], 0, 5),
    ],
)
def test_an_integral_beyond_its_samples_or_out_of_order_is_refused(
    times: list[int], values: list[float], begin: int, end: int
) -> None:
    with pytest.raises(ValueError, match=r"integral|reach"):
        stats.integral(times, values, begin, end)


sampled = st.lists(
    st.tuples(st.integers(1, 10**9), st.floats(-1e7, 1e7)), min_size=2, max_size=30
)  # gap in ns, value
moments = st.lists(st.floats(0, 1), min_size=3, max_size=3)


def _series(gaps: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    start_ns = 10**15  # a phone that has been up for eleven days
    times = [start_ns + sum(gap for gap, _ in gaps[: place + 1]) for place in range(len(gaps))]
    return times, [value for _, value in gaps]


@given(sampled, moments)
def test_an_integral_is_the_sum_of_its_parts_and_lies_between_its_extremes(
    gaps: list[tuple[int, float]], shares: list[float]
) -> None:
    times, values = _series(gaps)
    length_ns = times[-1] - times[0]
    begin, middle, end = sorted(times[0] + math.floor(share * length_ns) for share in shares)
    whole = stats.integral(times, values, begin, end)
    scale = 1e7 * max(length_ns, 1) * 1e-9
    assert whole == pytest.approx(
        stats.integral(times, values, begin, middle) + stats.integral(times, values, middle, end), abs=scale
    )
    lowest, highest = min(values) * (end - begin), max(values) * (end - begin)
    assert lowest - scale <= whole <= highest + scale


@given(sampled, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_the_integral_of_a_straight_line_is_exact(
    gaps: list[tuple[int, float]], at_begin: float, slope_a_s: float
) -> None:
    times, _ = _series(gaps)
    length_ns = times[-1] - times[0]
    assume(length_ns > 0)
    values = [at_begin + slope_a_s * (at - times[0]) / 1e9 for at in times]
    expected = at_begin * length_ns + slope_a_s * length_ns**2 / 2e9
    assert stats.integral(times, values, times[0], times[-1]) == pytest.approx(
        expected, rel=1e-9, abs=1e-3 * length_ns
    )


# ---------------------------------------------------------------------------------------------- a gauge

FINE = PhoneState(battery_percent=71, charging=False, plugged=())
CURRENT, VOLTAGE = (
    "/sys/class/power_supply/battery/current_now",
    "/sys/class/power_supply/battery/voltage_now",
)
CHARGE = "/sys/class/power_supply/battery/charge_counter"


class Gauge:
    """A battery gauge: `watts(t)` over seconds, as the mean of the last `refresh_s`, with a little noise."""

    def __init__(
        self,
        watts: Callable[[float], float],
        *,
        refresh_s: float = 0.25,
        volts: float = 4.0,
        charge_step_uah: int = 1000,
    ) -> None:
        self.watts, self.refresh_s, self.volts = watts, refresh_s, volts
        self.charge_step_uah = charge_step_uah

    def current_ua(self, t: float) -> int:
        step = math.floor(t / self.refresh_s)
        mean_w = sum(self.watts((step - 1 + part / 8) * self.refresh_s) for part in range(8)) / 8
        noise_ua = (-1) ** step * 3000  # so that every refresh is a new number, and pairs cancel
        return round(mean_w / self.volts * 1e6) + noise_ua

    def charge_uah(self, t: float) -> int:
        used_uah = sum(self.watts(part / 4) for part in range(round(t * 4))) / 4 / self.volts / 3600 * 1e6
        return int(2_914_000 - used_uah) // self.charge_step_uah * self.charge_step_uah


def samples(
    begin_s: float, end_s: float, row: Callable[[float], Sequence[float | None]], period_s: float = 0.1
) -> Samples:
    """Rows as the runner gives them: the first before the window, the last after it."""
    times = [begin_s - 0.001]
    while times[-1] + period_s < end_s:
        times.append(times[-1] + period_s)
    times.append(end_s + 0.001)
    return Samples(
        round(begin_s * 1e9),
        round(end_s * 1e9),
        tuple(round(t * 1e9) for t in times),
        tuple(tuple(row(t)) for t in times),
    )


Windows = tuple[Samples, Samples, Samples]


def windows(row: Callable[[float], Sequence[float | None]], length_s: float = 10.0) -> Windows:
    """Idle, busy, idle, half a second between them; busy from `length_s` + 1.5 s on."""
    first, second, third = 1.0, length_s + 1.5, 2 * length_s + 2.0
    return (
        samples(first, first + length_s, row),
        samples(second, second + length_s, row),
        samples(third, third + length_s, row),
    )


def load(t: float, length_s: float = 10.0) -> float:
    """0.8 W idle and 2.3 W busy."""
    return 2.3 if length_s + 1.5 <= t < 2 * length_s + 1.5 else 0.8


def current_power(row: Callable[[float], Sequence[float | None]], runs: int = 1000) -> Power:
    return BatteryCurrent(CURRENT, VOLTAGE, lambda: FINE).power(*windows(row), runs)


GAUGE = Gauge(load)


@pytest.mark.parametrize(
    ("row", "basis"),
    [
        (lambda t: (-GAUGE.current_ua(t), 4_000_000), "current in uA, negative"),
        (lambda t: (GAUGE.current_ua(t), 4_000), "current in uA, positive"),
        (lambda t: (-(GAUGE.current_ua(t) // 1000), 4.0), "current in mA, negative"),
        (lambda t: (GAUGE.current_ua(t) // 1000, 4_000_000), "current in mA, positive"),
    ],
)
def test_the_energy_of_a_current_is_right_in_every_dialect(
    row: Callable[[float], Sequence[float]], basis: str
) -> None:
    power = current_power(row)
    energy = stats.energy_per_run(power)
    # 1000 runs in 10 s: 23 mJ each, 15 mJ above idle
    assert energy.gross_uj == pytest.approx(23_000, rel=0.005)
    assert energy.above_idle_uj == pytest.approx(15_000, rel=0.005)
    assert abs(energy.above_idle_uj - 15_000) < energy.uncertainty_uj
    assert power.basis[0] == f"{basis} while discharging, as the load shows"
    assert (power.grade, power.meter, power.runs) == ("current", "battery-current", 1000)
    assert [read.counter for read in power.busy] == ["battery"]
    assert power.busy[0].window_ns == 10 * SECOND


def test_a_gauge_that_lags_does_not_lower_the_energy() -> None:
    slow = Gauge(load, refresh_s=1.0)
    power = current_power(lambda t: (slow.current_ua(t), 4000))
    assert stats.energy_per_run(power).above_idle_uj == pytest.approx(15_000, rel=0.005)
    # it was refreshed every second, seen in rows of 0.1 s
    assert power.update_ns == pytest.approx(1.1 * SECOND, rel=0.1)


def test_steps_of_the_numbers_are_the_resolution() -> None:
    power = current_power(lambda t: ((575 if load(t) > 1 else 200) + math.floor(t * 4) % 2, 4000))
    # 1 mA x 4 V x 10 s
    assert power.resolution_uj == 40_000


@given(st.floats(0.3, 3), st.floats(0.05, 6), st.sampled_from([1, 1000]), st.sampled_from([1, -1]))
def test_any_load_above_idle_is_found_in_any_unit_and_sign(
    idle_w: float, more_w: float, unit: int, sign: int
) -> None:
    gauge = Gauge(lambda t: idle_w + (more_w if load(t) > 1 else 0))
    power = current_power(lambda t: (sign * (gauge.current_ua(t) // unit), 4000))
    energy = stats.energy_per_run(power)
    assert abs(energy.above_idle_uj - more_w * 10_000) <= energy.uncertainty_uj


@pytest.mark.parametrize(
    ("idle_before", "busy", "idle_after", "expected"),
    [
        (310, 660, 305, CurrentMeaning(1000, 1)),
        (-310_000, -660_000, -305_000, CurrentMeaning(1, -1)),
        (20, 50, 20, CurrentMeaning(1000, 1)),
        (0, 10_000, 0, CurrentMeaning(1000, 1)),
        (20_000, 50_000, 20_000, CurrentMeaning(1, 1)),
    ],
)
def test_unit_and_sign_are_told_by_the_load(
    idle_before: float, busy: float, idle_after: float, expected: CurrentMeaning
) -> None:
    assert current_meaning(idle_before, busy, idle_after) == expected


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((310, 310, 305), "does not follow the load"),
        ((-310, -200, -310), "does not follow the load"),  # charging: the load takes some of it
        ((-100, 400, -100), "does not follow the load"),
        ((0, 0, 0), "does not follow the load"),
        ((20, 49, 20), "unit of the battery current is unknown"),
        ((10, 10_001, 10), "unit of the battery current is unknown"),
        ((10, 49_999, 10), "unit of the battery current is unknown"),
        ((10, 20_000_000, 10), "unit of the battery current is unknown"),
    ],
)
def test_a_current_that_cannot_be_told_is_refused(numbers: tuple[float, float, float], says: str) -> None:
    with pytest.raises(DeviceFailed, match=says):
        current_meaning(*numbers)


@pytest.mark.parametrize(
    ("number", "unit_uv"), [(4_021_000, 1), (4_021, 1_000), (4.021, 10**6), (8_400, 1_000)]
)
def test_the_unit_of_a_voltage_is_told_by_its_size(number: float, unit_uv: int) -> None:
    assert volt_unit_uv([number, number, 0.0]) == unit_uv


@pytest.mark.parametrize("number", [0.0, 40.21, -4021.0, 402_100.0])
def test_a_number_that_is_no_voltage_of_a_battery_is_refused(number: float) -> None:
    with pytest.raises(DeviceFailed, match=r"voltage reads .* not plausible"):
        volt_unit_uv([number])


def test_a_gauge_that_stands_still_is_refused() -> None:
    with pytest.raises(DeviceFailed, match="changed 0 times in the busy window of 10 s"):
        current_power(lambda t: (660 if load(t) > 1 else 310, 4000))


def test_a_gauge_that_is_refreshed_too_seldom_is_refused() -> None:
    seldom = Gauge(load, refresh_s=4.0)
    with pytest.raises(
        DeviceFailed, match="changed 3 times in the busy window of 10 s, but 5 changes are needed"
    ):
        current_power(lambda t: (seldom.current_ua(t), 4000))


def test_rows_that_could_not_be_read_are_left_out_up_to_a_tenth() -> None:
    def row(every: int) -> Callable[[float], Sequence[float | None]]:
        return lambda t: (None if round(t * 10) % every == 3 else GAUGE.current_ua(t), 4000)

    assert stats.energy_per_run(current_power(row(20))).above_idle_uj == pytest.approx(15_000, rel=0.01)
    with pytest.raises(
        DeviceFailed,
        match=r"only \d+ of 102 readings of the battery gauge succeeded in the first idle window",
    ):
        current_power(row(5))


def test_a_window_whose_ends_were_not_read_is_refused() -> None:
    with pytest.raises(DeviceFailed, match="first idle window"):
        current_power(lambda t: (None if t < 1 else GAUGE.current_ua(t), 4000))


# ---------------------------------------------------------------------------------------------- charge


def charge_power(
    row: Callable[[float], Sequence[float | None]], length_s: float = 120.0, unit_uah: int = 1
) -> Power:
    return BatteryCharge(CHARGE, VOLTAGE, unit_uah, lambda: FINE).power(*windows(row, length_s), 1000)


def long_load(t: float) -> float:
    return load(t, 120.0)


@pytest.mark.parametrize(("unit_uah", "volt"), [(1, 4_000_000), (1000, 4000)])
def test_the_energy_of_a_charge_counter_is_counted_from_step_to_step(unit_uah: int, volt: float) -> None:
    gauge = Gauge(long_load)
    power = charge_power(lambda t: (gauge.charge_uah(t) / unit_uah, volt), unit_uah=unit_uah)
    energy = stats.energy_per_run(power)
    # 1000 runs in 120 s: 2.3 W are 276 mJ, 1.5 W above idle 180 mJ; a step is 1 mAh x 4 V = 14.4 J
    assert energy.gross_uj == pytest.approx(276_000, rel=0.01)
    assert energy.above_idle_uj == pytest.approx(180_000, rel=0.01)
    assert abs(energy.above_idle_uj - 180_000) < energy.uncertainty_uj
    unit = "uAh" if unit_uah == 1 else "mAh"
    # 96 J, 276 J and 96 J hold 6, 19 and 7 steps of 14.4 J, as they fall
    step = 1000 // unit_uah
    assert power.basis == (f"charge in {unit}, 6, 19, 7 steps of {step} {unit} in the three windows",)
    assert power.grade == "charge"


def test_two_steps_of_one_milliampere_hour_worked_out_by_hand() -> None:
    def row(t: float) -> tuple[float, float]:
        """Steps at 3 s and 8 s of every window of 10 s (which begin at 1, 11.5 and 22 s): 1 mAh in 5 s."""
        steps = [4.0, 9.0, 14.5, 19.5, 25.0, 30.0]
        return (2_914_000 - 1000 * sum(t >= step for step in steps), 4_000_000)

    power = charge_power(row, 10.0)
    # 1 mAh is 3.6 C, at 4 V 14.4 J; twice as long, 28.8 J
    assert [window[0].used_uj for window in (power.idle_before, power.busy, power.idle_after)] == [
        28_800_000
    ] * 3
    # a step may be seen 0.1 s late, which over 5 s of 10 s are 0.2 s
    assert power.update_ns == pytest.approx(0.2 * SECOND, rel=0.01)
    # one uAh, 14.4 mJ, twice
    assert power.resolution_uj == 28_800


@pytest.mark.parametrize("missing", [0, 1])
def test_windows_without_two_steps_are_refused(missing: int) -> None:
    def row(t: float) -> tuple[float, float]:
        return (2_914_000 - 1000 * (t >= 4.0) * missing, 4000)

    with pytest.raises(DeviceFailed, match=f"made {missing} steps in the first idle window of 10 s"):
        charge_power(row, 10.0)


def test_the_step_of_a_galaxy_s23_is_learnt_and_the_window_that_it_needs_is_told() -> None:
    def row(t: float) -> tuple[float, float]:
        """One step of 11 115 uAh, in the last idle window of 60 s (from 122 s on)."""
        return (1_344_915 - 11_115 * (t >= 150.0), 3_734_000)

    # 11.115 mAh are 40.014 C, at 3.734 V 149.4 J; two steps at 1 W take 299 s
    with pytest.raises(DeviceFailed, match="made 0 steps in the first idle window of 60 s") as failed:
        charge_power(row, 60.0)
    assert failed.value.remedy == (
        "Its steps are 11.1 mAh, 149 s at 1 W each: use windows of 300 s (--window 300), "
        "and longer ones where the phone uses less than 1 W."
    )


def test_the_step_of_a_counter_in_milliampere_hours_is_learnt_too() -> None:
    def row(t: float) -> tuple[float, float]:
        return (4274 - (t >= 4.0), 4228)

    # 1 mAh at 4.228 V is 15.2 J, twice 30.4 J
    with pytest.raises(DeviceFailed) as failed:
        charge_power(row, 10.0, unit_uah=1000)
    assert "steps are 1 mAh, 15 s at 1 W each: use windows of 40 s (--window 40)" in failed.value.remedy


def test_a_counter_that_never_changed_has_an_unknown_step() -> None:
    with pytest.raises(DeviceFailed, match="made 0 steps") as failed:
        charge_power(lambda t: (1_344_915, 3_734_000), 60.0)
    assert "its step is unknown; others have steps of 1 to 11 mAh" in failed.value.remedy


@pytest.mark.parametrize(
    ("readings", "step"),
    [
        ([1_344_915, 1_344_915, 1_333_800, 1_244_880], 11_115),  # 1, then 8 steps
        ([5, 5, 5], None),
        ([], None),
        ([2914, 2912, 2911], 1),
    ],
)
def test_a_step_is_the_least_change(readings: list[float], step: float | None) -> None:
    assert charge_step(readings) == step


def test_a_charge_that_rises_is_refused() -> None:
    with pytest.raises(DeviceFailed, match="rose in the first idle window"):
        charge_power(lambda t: (2_914_000 + 1000 * int(t), 4000), 10.0)


@pytest.mark.parametrize(
    ("number", "percent", "unit_uah"),
    [
        (2_914_000, 71, 1),
        (2_914, 71, 1000),
        (0, 71, None),
        (220, 71, None),
        (-5, 50, None),
        (10**9, 50, None),
    ],
)
def test_the_unit_of_a_charge_is_told_by_how_full_the_battery_is(
    number: float, percent: int, unit_uah: int | None
) -> None:
    assert charge_unit_uah(number, percent) == unit_uah


# ---------------------------------------------------------------------------------------------- the state


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"plugged": ("usb",)}, "powered by usb"),
        ({"plugged": ("ac", "wireless")}, "powered by ac and wireless"),
        ({"charging": True}, "is charging"),
        ({"plugged": None}, "does not report whether"),
        ({"charging": None}, "does not report whether"),
        ({"battery_percent": None}, "does not report whether"),
        ({"battery_percent": 19}, "at 19 %, outside 20 to 95 %"),
        ({"battery_percent": 96}, "at 96 %, outside 20 to 95 %"),
    ],
)
def test_a_phone_that_does_not_run_on_its_battery_alone_is_refused(
    changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(DeviceFailed, match=says):
        refuse_unless_discharging(FINE.model_copy(update=changed))


@pytest.mark.parametrize("percent", [20, 95])
def test_the_ends_of_the_range_are_fine(percent: int) -> None:
    refuse_unless_discharging(FINE.model_copy(update={"battery_percent": percent}))


class Files:
    """Files of a phone; anything else cannot be read."""

    def __init__(self, files: dict[str, str], state: PhoneState | DeviceFailed = FINE) -> None:
        self.files, self._state = files, state

    def read(self, path: str) -> str:
        if path not in self.files:
            raise DeviceFailed(f"cannot read {path} on phone X: Permission denied")
        return self.files[path]

    def state(self) -> PhoneState:
        if isinstance(self._state, DeviceFailed):
            raise self._state
        return self._state


USUAL = {CURRENT: "-310000\n", VOLTAGE: "4021000\n", CHARGE: "2914000\n"}
BMS = {path.replace("/battery/", "/bms/"): text for path, text in USUAL.items()}
FAKED = DeviceFailed("the battery state of this phone is faked", remedy="dumpsys battery reset")


def test_the_gauge_is_found_where_each_vendor_keeps_it() -> None:
    usual, xiaomi = (
        Files(USUAL),
        Files({VOLTAGE: "4021000"} | {k: v for k, v in BMS.items() if "volt" not in k}),
    )
    current = find_battery_current(usual.read, usual.state)
    assert isinstance(current, BatteryCurrent)
    assert current.files == (CURRENT, VOLTAGE)
    charge = find_battery_charge(xiaomi.read, xiaomi.state)
    assert isinstance(charge, BatteryCharge)
    assert charge.files == (CHARGE.replace("/battery/", "/bms/"), VOLTAGE)
    assert isinstance(charge, SampledMeter)
    assert isinstance(current, SampledMeter)


@pytest.mark.parametrize("find", [find_battery_charge, find_battery_current])
@pytest.mark.parametrize(
    ("phone", "says"),
    [
        (Files({}), "Permission denied"),
        (Files({CURRENT: "1", CHARGE: "2914000"}), "voltage_now"),
        (Files(USUAL | {CURRENT: "unknown\n", CHARGE: ""}), "does not let adb read"),
        (Files(USUAL, FINE.model_copy(update={"plugged": ("usb",)})), "powered by usb"),
        (Files(USUAL, FAKED), "faked"),
        (Files(USUAL | {VOLTAGE: "7"}), None),
        (Files(USUAL | {VOLTAGE: "0"}), "voltage reads 0, which is not plausible"),
    ],
)
def test_a_gauge_that_cannot_be_used_says_why(find: Any, phone: Files, says: str | None) -> None:
    found = find(phone.read, phone.state)
    if says is None:
        assert not isinstance(found, Absent)  # two cells, in volts
    else:
        assert says in absent(found).absent
        assert absent(found).remedy


def test_a_charge_counter_of_junk_is_refused() -> None:
    phone = Files(USUAL | {CHARGE: "220"})
    assert "reads 220 at 71 %" in absent(find_battery_charge(phone.read, phone.state)).absent


# ---------------------------------------------------------------------------------------------- the pass


class WatchingWorker(contract.PythonWorker):
    """Reads the samples that WatchingDevice's workers say."""

    def parse_samples(self, line: str) -> Samples:
        said = json.loads(line)
        if said["event"] == "error":
            raise WorkerFailed(said["message"])
        rows = said["rows"]
        return Samples(
            said["begin_ns"],
            said["end_ns"],
            tuple(row[0] for row in rows),
            tuple(tuple(row[1:]) for row in rows),
        )


class WatchingDevice(Fake):
    """Workers that sample a battery gauge: 0.8 W, 2.3 W while they work; files are told by their name."""

    def start(self, argv: Sequence[str]) -> WatchingConversation:
        super().start(argv).close()
        return WatchingConversation(self, "m", 0, argv)


class WatchingConversation(FakeConversation):
    def __init__(self, device: WatchingDevice, artifact: str, process: int, argv: Sequence[str]) -> None:
        super().__init__(device, artifact, process, argv)
        words = list(argv)
        self.files = words[words.index("--watch") + 1].split(",") if "--watch" in words else []

    def write_line(self, line: str) -> None:
        clock = self._device.clock
        begin_ns, idle = clock.now_ns, "idle_ns" in line
        if idle:
            clock.sleep(json.loads(line)["idle_ns"] / 1e9)
        else:
            super().write_line(line)
        if self.files:
            self._pending.append(json.dumps(self._watched(begin_ns, clock.now_ns, 0.8 if idle else 2.3)))

    def _watched(self, begin_ns: int, end_ns: int, watts: float) -> dict[str, Any]:
        times = [begin_ns - 1, *range(begin_ns + SECOND // 10, end_ns, SECOND // 10), end_ns + 1]
        values = {
            "current_now": [-round(watts / 4 * 1e6) + (-1) ** (at * 4 // SECOND) for at in times],
            "voltage_now": [4_000_000] * len(times),
            "charge_counter": [2_914_000] * len(times),
        }
        columns = [values[file.rsplit("/", 1)[1]] for file in self.files]
        rows = [[at, *row] for at, *row in zip(times, *columns, strict=True)]
        return {"event": "watched", "begin_ns": begin_ns, "end_ns": end_ns, "rows": rows}


WATCHING = WatchingWorker("watching", ("onnx",), "x")


def measured(
    meters: Sequence[Any], runtime: contract.PythonWorker = WATCHING, device: Fake | None = None
) -> tuple[Power, ...] | Absent:
    device = device or WatchingDevice({"m": FakeModel(run_ns=10_000_000)})
    subject = bench.FileUnderTest("m", "m", runtime)
    found = bench.measure_power(subject, meters, device, Plan(power_window_s=10.0), sleep=device.clock.sleep)
    assert device.open_workers == 0
    return found


def found_by(meters: Sequence[Any], **more: Any) -> tuple[Power, ...]:
    powers = measured(meters, **more)
    assert not isinstance(powers, Absent), powers
    return powers


def test_sampled_and_counted_energy_of_the_same_windows_agree() -> None:
    device = WatchingDevice({"m": FakeModel(run_ns=10_000_000)})
    counter = FakeMeter(device.clock, idle_w=0.8, busy_w=2.3)
    current = BatteryCurrent(CURRENT, VOLTAGE, lambda: FINE)
    powers = found_by([counter, current], device=device)
    assert [one.meter for one in powers] == ["fake", "battery-current"]
    assert [one.grade for one in powers] == [None, "current"]
    for one in powers:
        energy = stats.energy_per_run(one)
        assert (one.runs, energy.gross_uj) == (1000, pytest.approx(23_000, rel=0.001))
        assert energy.above_idle_uj == pytest.approx(15_000, rel=0.001)


def test_files_are_sampled_once_for_all_meters() -> None:
    device = WatchingDevice({"m": FakeModel(run_ns=10_000_000)})
    charge = BatteryCharge(CHARGE, VOLTAGE, 1, lambda: FINE)
    current = BatteryCurrent(CURRENT, VOLTAGE, lambda: FINE)
    (power,) = found_by([charge, current], device=device)  # the charge makes no step in 10 s
    assert power.meter == "battery-current"
    argv = device.asked[0]
    assert argv[argv.index("--watch") + 1] == f"{CHARGE},{VOLTAGE},{CURRENT}"
    assert argv[argv.index("--period-ms") + 1] == "100"


def test_where_no_meter_can_tell_every_reason_is_kept() -> None:
    charge = BatteryCharge(CHARGE, VOLTAGE, 1, lambda: FINE)
    plugged = FINE.model_copy(update={"plugged": ("usb",)})
    current = BatteryCurrent(CURRENT, VOLTAGE, lambda: plugged)
    found = absent(measured([charge, current]))
    assert "made 0 steps in the first idle window" in found.absent
    assert "powered by usb" in found.absent


def test_a_cable_that_comes_while_measuring_is_seen() -> None:
    states = [FINE, FINE.model_copy(update={"charging": True})]
    current = BatteryCurrent(CURRENT, VOLTAGE, lambda: states.pop(0))
    assert "is charging" in absent(measured([current])).absent


def test_a_worker_that_cannot_sample_makes_only_sampled_meters_absent() -> None:
    plain = contract.PythonWorker("plain", ("onnx",), "x")
    device = WatchingDevice({"m": FakeModel(run_ns=10_000_000)})
    current = BatteryCurrent(CURRENT, VOLTAGE, lambda: FINE)
    (power,) = found_by([current, FakeMeter(device.clock)], runtime=plain, device=device)
    assert power.meter == "fake"
    assert "--watch" not in device.asked[0]
    assert "the plain worker cannot sample battery-current" in absent(measured([current], plain)).absent
