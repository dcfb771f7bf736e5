"""The energy of a phone from its battery's fuel gauge, where it has no energy counter, in two ways.

`BatteryCharge` counts the charge that leaves the battery, from one step of the charge counter to another,
times voltage. Steps are large (1 to 11 mAh, 14 to 150 J), so windows must be minutes long; how long, a phone
shows by its steps.
`BatteryCurrent` integrates current times voltage. A gauge is refreshed at a rate that its vendor does not
document, so the rate is estimated from the samples.

Only on some phones do the files mean what Linux documents (power_supply: uA, uV, uAh, current negative while
discharging). `battery_units` infers what they mean on this one; what remains ambiguous is refused. Both
meters need a phone that runs on its battery alone. They read through functions that are passed in; the
samples come from the worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

from swapbench import stats
from swapbench.errors import DeviceFailed
from swapbench.meters.battery_units import charge_step, charge_unit_uah, current_meaning, volt_unit_uv
from swapbench.records import Absent, CounterRead, Power

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.ports import SampledMeter, Samples
    from swapbench.records import PhoneState

_FOLDER: Final = "/sys/class/power_supply"
SUPPLIES: Final = ("battery", "bms")
"""The names of gauges: the usual one, and that of some Qualcomm phones (Xiaomi)."""
PERIOD_MS: Final = 100
COUNTER: Final = "battery"
SCOPE: Final = "whole phone, at its battery"

LOWEST_PERCENT: Final = 20
HIGHEST_PERCENT: Final = 95
FEWEST_REFRESHES: Final = 5
FEWEST_STEPS: Final = 2
_STALE_REFRESHES: Final = 2
LEAST_READ_SHARE: Final = 0.9
_UAS_PER_UAH = 3_600

_LONGER = "Use a longer power window."
_ON_BATTERY = (
    "Use run --detached, with which the phone measures while its cable is out; or pull the cable and use adb "
    "over Wi-Fi (adb tcpip 5555, then adb connect ADDRESS:5555). On some phones "
    "`adb shell dumpsys battery suspend_input` stops charging with the cable in (`... reset` resumes it)."
)


class BatteryCharge:
    """Charge from step to step, times voltage; implements ports.SampledMeter.

    Args:
        charge: The file of the charge counter.
        voltage: The file of the voltage.
        unit_uah: Microampere hours of one count.
        state: The phone's state.
    """

    name = "battery-charge"
    period_ms = PERIOD_MS

    def __init__(self, charge: str, voltage: str, unit_uah: int, state: Callable[[], PhoneState]) -> None:
        self.files: tuple[str, ...] = (charge, voltage)
        self._unit_uah = unit_uah
        self._state = state

    def check(self) -> None:
        """DeviceFailed where the phone does not run on its battery alone, or is too full or too empty."""
        refuse_unless_discharging(self._state())

    def power(self, idle_before: Samples, busy: Samples, idle_after: Samples, runs: int) -> Power:
        """The mean power from the first to the last step inside each window, extended to the whole window.

        A step is seen up to one row late: that, over the time between steps, is the uncertainty of a window.

        Args:
            idle_before: Samples of the first idle window.
            busy: Samples of the busy window.
            idle_after: Samples of the last idle window.
            runs: Inferences in the busy window.

        Raises:
            DeviceFailed: A window has fewer than two steps, or the charge rises.
        """
        rows = [_Rows(idle_before, "first idle"), _Rows(busy, "busy"), _Rows(idle_after, "last idle")]
        step = charge_step(chain.from_iterable(window.column(0) for window in rows))
        windows = [self._used(window, step) for window in rows]
        steps = ", ".join(str(window.steps) for window in windows)
        unit = "uAh" if self._unit_uah == 1 else "mAh"
        return Power(
            meter=self.name,
            scope=SCOPE,
            resolution_uj=math.ceil(max(window.unit_uj for window in windows)),
            update_ns=math.ceil(max(window.late_ns for window in windows)),
            idle_before=(windows[0].read,),
            busy=(windows[1].read,),
            idle_after=(windows[2].read,),
            runs=runs,
            grade="charge",
            basis=(f"charge in {unit}, {steps} steps of {step:g} {unit} in the three windows",),
        )

    def _used(self, rows: _Rows, step: float | None) -> _Charge:
        charges, volts = rows.column(0), rows.column(1)
        volt = volt_unit_uv(volts) / 1e6
        steps = [
            place
            for place in range(1, len(charges))
            if charges[place] != charges[place - 1] and rows.begin_ns <= rows.times_ns[place] <= rows.end_ns
        ]
        if any(charges[place] > charges[place - 1] for place in steps):
            raise DeviceFailed(
                f"the battery's charge rose in the {rows.when} window: it is charging", remedy=_ON_BATTERY
            )
        if len(steps) < FEWEST_STEPS:
            raise DeviceFailed(
                f"the battery's charge counter made {len(steps)} steps in the {rows.when} window of "
                f"{rows.window_ns / 1e9:.0f} s, but {FEWEST_STEPS} are needed",
                remedy=self._window_needed(step, volt * stats.median(volts)),
            )
        first, last = steps[0], steps[-1]
        begin_ns, end_ns = rows.times_ns[first], rows.times_ns[last]
        mean_v = stats.integral(rows.times_ns, volts, begin_ns, end_ns) * volt / (end_ns - begin_ns)
        unit_uj = self._unit_uah * _UAS_PER_UAH * mean_v
        whole = rows.window_ns / (end_ns - begin_ns)
        used_uj = (charges[first] - charges[last]) * unit_uj * whole
        read = CounterRead(counter=COUNTER, used_uj=round(used_uj), window_ns=rows.window_ns)
        return _Charge(read, len(steps), unit_uj * whole, rows.longest_gap_ns * whole)

    def _window_needed(self, step: float | None, volts: float) -> str:
        """What to do where a window was too short for this counter."""
        if step is None:
            return (
                f"{_LONGER} The counter never changed, so its step is unknown; others have steps of 1 to "
                "11 mAh, which take 14 to 150 s at 1 W."
            )
        step_mah = step * self._unit_uah / 1000
        step_j = step_mah * _UAS_PER_UAH / 1000 * volts
        window_s = 10 * math.ceil(FEWEST_STEPS * step_j / 10)
        return (
            f"Its steps are {step_mah:.3g} mAh, {step_j:.0f} s at 1 W each: use windows of {window_s} s "
            f"(--window {window_s}), and longer ones where the phone uses less than 1 W."
        )


@dataclass(frozen=True)
class _Charge:
    """One window of the charge counter.

    Attributes:
        read: The energy used.
        steps: How often the counter changed.
        unit_uj: The energy of one count, extended to the window.
        late_ns: How late a step may be seen, extended to the window.
    """

    read: CounterRead
    steps: int
    unit_uj: float
    late_ns: float


class BatteryCurrent:
    """Current times voltage, integrated by the trapezoidal rule; implements ports.SampledMeter.

    Args:
        current: The file of the current.
        voltage: The file of the voltage.
        state: The phone's state.
    """

    name = "battery-current"
    period_ms = PERIOD_MS

    def __init__(self, current: str, voltage: str, state: Callable[[], PhoneState]) -> None:
        self.files: tuple[str, ...] = (current, voltage)
        self._state = state

    def check(self) -> None:
        """DeviceFailed where the phone does not run on its battery alone, or is too full or too empty."""
        refuse_unless_discharging(self._state())

    def power(self, idle_before: Samples, busy: Samples, idle_after: Samples, runs: int) -> Power:
        """The mean power of each window after the first two refreshes of the gauge, over the whole window.

        A gauge reports the mean of a past interval: the first number in a window belongs to the time before
        it, and the next may belong to both.

        Args:
            idle_before: Samples of the first idle window.
            busy: Samples of the busy window.
            idle_after: Samples of the last idle window.
            runs: Inferences in the busy window.

        Raises:
            DeviceFailed: The gauge was refreshed fewer than five times in the busy window, or the unit or
                the sign is ambiguous.
        """
        windows = [
            _Rows(idle_before, "first idle"),
            _Rows(busy, "busy"),
            _Rows(idle_after, "last idle"),
        ]
        refresh_ns = _refresh_ns(windows[1])
        volt_uv = volt_unit_uv(windows[1].column(1))
        currents = [_mean(rows, rows.column(0), _STALE_REFRESHES * refresh_ns) for rows in windows]
        meaning = current_meaning(currents[0], currents[1], currents[2])
        unit_uw = meaning.sign * meaning.unit_ua * volt_uv / 1e6
        reads = []
        for rows in windows:
            powers = [current * volts for current, volts in zip(rows.column(0), rows.column(1), strict=True)]
            used_uj = _mean(rows, powers, _STALE_REFRESHES * refresh_ns) * unit_uw * rows.window_ns / 1e9
            reads.append(CounterRead(counter=COUNTER, used_uj=round(used_uj), window_ns=rows.window_ns))
        longest_ns = max(rows.window_ns for rows in windows)
        return Power(
            meter=self.name,
            scope=SCOPE,
            resolution_uj=math.ceil(_step(windows) * abs(unit_uw) * longest_ns / 1e9),
            update_ns=refresh_ns,
            idle_before=(reads[0],),
            busy=(reads[1],),
            idle_after=(reads[2],),
            runs=runs,
            grade="current",
            basis=(
                f"{meaning.text} while discharging, as the load shows",
                f"the gauge was refreshed about every {refresh_ns / 1e6:.0f} ms",
            ),
        )


def refuse_unless_discharging(state: PhoneState) -> None:
    """DeviceFailed for a phone that is plugged in, charging, outside 20 to 95 % or does not report these.

    Full batteries are topped up without the gauge noticing, and empty ones change voltage and clock
    frequency.
    """
    if state.plugged:
        supplies = " and ".join(state.plugged)
        raise DeviceFailed(
            f"the phone is powered by {supplies}, so its battery does not show what it uses",
            remedy=_ON_BATTERY,
        )
    if state.charging:
        raise DeviceFailed(
            "the phone is charging, so its battery does not show what it uses", remedy=_ON_BATTERY
        )
    if state.plugged is None or state.charging is None or state.battery_percent is None:
        raise DeviceFailed(
            "this phone does not report whether it is charging",
            remedy="Its battery gauge cannot be used.",
        )
    if not LOWEST_PERCENT <= state.battery_percent <= HIGHEST_PERCENT:
        raise DeviceFailed(
            f"the battery is at {state.battery_percent} %, outside {LOWEST_PERCENT} to {HIGHEST_PERCENT} %",
            remedy="Charge it to the middle of that range."
            if state.battery_percent < 50
            else "Use the phone for a while.",
        )


# ---------------------------------------------------------------------------------------------- finding


def find_battery_charge(
    read_text: Callable[[str], str], state: Callable[[], PhoneState], *, now: bool = True
) -> BatteryCharge | Absent:
    """The charge counter of this phone's battery, or why it cannot be used and what would help.

    Args:
        read_text: The text of a file on the phone; DeviceFailed where it cannot be read.
        state: The phone's state.
        now: Whether the phone is to be measured in its present state. If not, call `check` before measuring.
    """
    charge = _first_readable("charge_counter", read_text)
    if isinstance(charge, Absent):
        return charge
    voltage = _first_readable("voltage_now", read_text)
    if isinstance(voltage, Absent):
        return voltage
    try:
        present = state()
        if now:
            refuse_unless_discharging(present)
        volt_unit_uv([voltage.number])
    except DeviceFailed as failure:
        return Absent(absent=str(failure.args[0]), remedy=failure.remedy)
    percent = present.battery_percent
    unit_uah = charge_unit_uah(charge.number, percent or 0)
    if unit_uah is None:
        return Absent(
            absent=f"the charge counter reads {charge.number:g} at {percent} %, which is not plausible",
            remedy="This phone's charge counter cannot be used.",
        )
    return BatteryCharge(charge.path, voltage.path, unit_uah, state)


def find_battery_current(
    read_text: Callable[[str], str], state: Callable[[], PhoneState], *, now: bool = True
) -> BatteryCurrent | Absent:
    """The current of this phone's battery, or why it cannot be used; arguments as in find_battery_charge."""
    current = _first_readable("current_now", read_text)
    voltage = _first_readable("voltage_now", read_text)
    if isinstance(current, Absent):
        return current
    if isinstance(voltage, Absent):
        return voltage
    try:
        if now:
            refuse_unless_discharging(state())
        volt_unit_uv([voltage.number])
    except DeviceFailed as failure:
        return Absent(absent=str(failure.args[0]), remedy=failure.remedy)
    return BatteryCurrent(current.path, voltage.path, state)


@dataclass(frozen=True)
class _Node:
    """A file that holds a number."""

    path: str
    number: float


def _first_readable(name: str, read_text: Callable[[str], str]) -> _Node | Absent:
    reasons = []
    for supply in SUPPLIES:
        path = f"{_FOLDER}/{supply}/{name}"
        try:
            return _Node(path, float(read_text(path)))
        except (DeviceFailed, ValueError) as problem:
            reasons.append(str(problem.args[0]))
    return Absent(
        absent=f"this phone does not let adb read its battery's {name} ({reasons[0]})",
        remedy="Some vendors hide the gauge from adb: use a phone with power rails, or another one.",
    )


# ---------------------------------------------------------------------------------------------- samples


class _Rows:
    """The rows of one window that have a number in every column; DeviceFailed where too many do not."""

    def __init__(self, samples: Samples, when: str) -> None:
        rows = [
            (at, [float(value) for value in values if value is not None])
            for at, values in zip(samples.times_ns, samples.values, strict=True)
            if None not in values
        ]
        self.when = when
        self.begin_ns, self.end_ns = samples.begin_ns, samples.end_ns
        self.window_ns = samples.end_ns - samples.begin_ns
        self.times_ns = [at for at, _ in rows]
        self._values = [values for _, values in rows]
        covered = bool(rows) and self.times_ns[0] <= self.begin_ns and self.end_ns <= self.times_ns[-1]
        if not covered or len(rows) < LEAST_READ_SHARE * len(samples.times_ns):
            raise DeviceFailed(
                f"only {len(rows)} of {len(samples.times_ns)} readings of the battery gauge succeeded "
                f"in the {when} window",
                remedy="Measure again; if it happens again, this phone's gauge cannot be used.",
            )
        self.longest_gap_ns = max(b - a for a, b in pairwise(self.times_ns))

    def column(self, number: int) -> list[float]:
        """The numbers of one file."""
        return [values[number] for values in self._values]


def _mean(rows: _Rows, values: Sequence[float], leave_out_ns: int) -> float:
    """The mean over time of a window without its first nanoseconds."""
    begin_ns = rows.begin_ns + leave_out_ns
    return stats.integral(rows.times_ns, values, begin_ns, rows.end_ns) / (rows.end_ns - begin_ns)


def _refresh_ns(busy: _Rows) -> int:
    """How long the gauge keeps a number: the median time between two changes of the current, plus one row.

    Only the busy window counts: under a steady load a gauge may report the same number twice.
    """
    inside = [
        (at, current)
        for at, current in zip(busy.times_ns, busy.column(0), strict=True)
        if busy.begin_ns <= at <= busy.end_ns
    ]
    changes_ns = [at for (_, before), (at, current) in pairwise(inside) if current != before]
    if len(changes_ns) < FEWEST_REFRESHES:
        raise DeviceFailed(
            f"the battery's current changed {len(changes_ns)} times in the busy window of "
            f"{busy.window_ns / 1e9:.0f} s, but {FEWEST_REFRESHES} changes are needed",
            remedy=f"{_LONGER} A gauge that never changes cannot be used.",
        )
    between = [b - a for a, b in pairwise(changes_ns)]
    return round(stats.median(between)) + busy.longest_gap_ns


def _step(windows: Sequence[_Rows]) -> float:
    """The rounding error of current times voltage, in the units of both files."""

    def least_difference(column: int) -> float:
        numbers = sorted({number for rows in windows for number in rows.column(column)})
        return min((b - a for a, b in pairwise(numbers)), default=0.0)

    highest = [max(abs(number) for rows in windows for number in rows.column(column)) for column in (0, 1)]
    return least_difference(0) * highest[1] + least_difference(1) * highest[0]


if TYPE_CHECKING:
    _keep_the_port: tuple[type[SampledMeter], type[SampledMeter]] = (BatteryCharge, BatteryCurrent)
