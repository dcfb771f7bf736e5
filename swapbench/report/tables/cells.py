"""What a person reads in one cell of a table: rounded through swapbench.units, an en dash where a number does not exist."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.report.tables.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.report.rows.summary import Energy, Row

DOUBTFUL = " †"


def or_dash(show: Callable[[float], str], value: float | None) -> str:
    """`value` as text, or an en dash where it does not exist."""
    return units.NOT_MEASURED if value is None or not math.isfinite(value) else show(value)


def bare_percent(fraction: float) -> str:
    """A fraction in per cent without the sign, for a column whose heading names the unit."""
    return units.percent(fraction, decimals=2).removesuffix(" %")


def points(change: float) -> str:
    """A change of a rate in percentage points, with its sign."""
    return "0" if change == 0 else f"{100 * change:+.2f}"


def between(text: str, show: Callable[[float], str], low: float | None, high: float | None) -> str:
    """`text [low, high]`; the text alone where there is no interval."""
    return text if low is None or high is None else f"{text} [{show(low)}, {show(high)}]"


def with_interval(
    show: Callable[[float], str], value: float | None, low: float | None, high: float | None
) -> str:
    """`value [low, high]`; the value alone where it has no interval."""
    return units.NOT_MEASURED if value is None else between(or_dash(show, value), show, low, high)


def ms(value: float | None) -> str:
    """Nanoseconds as a bare number of milliseconds, or an en dash."""
    return or_dash(units.milliseconds, value)


def median(row: Row) -> str:
    """Median latency in milliseconds with its interval."""
    return with_interval(
        units.milliseconds,
        FIELDS["latency_p50_ns"](row),
        FIELDS["latency_p50_low_ns"](row),
        FIELDS["latency_p50_high_ns"](row),
    )


def paced_median(row: Row) -> str:
    """Median latency at a camera's frame rate in milliseconds with its interval."""
    return with_interval(
        units.milliseconds,
        FIELDS["paced_p50_ns"](row),
        FIELDS["paced_p50_low_ns"](row),
        FIELDS["paced_p50_high_ns"](row),
    )


def acer(row: Row) -> str:
    """ACER in per cent with its interval."""
    return with_interval(bare_percent, FIELDS["acer"](row), FIELDS["acer_low"](row), FIELDS["acer_high"](row))


def apcer(row: Row) -> str:
    """APCER in per cent with the species it comes from, or how many species tie."""
    text = or_dash(bare_percent, FIELDS["apcer"](row))
    worst = FIELDS["apcer_worst_species"](row)
    if FIELDS["apcer"](row) is None or not worst:
        return text
    return f"{text} ({worst[0] if len(worst) == 1 else f'{len(worst)} species tie'})"


def species_cell(name: str) -> Callable[[Row], str]:
    """The cell of one attack instrument species: its APCER in per cent with its interval."""

    def cell(row: Row) -> str:
        errors = row.accuracy.apcer_by_species.get(name) if row.accuracy else None
        if errors is None:
            return units.NOT_MEASURED
        return with_interval(bare_percent, errors.rate, errors.interval.low, errors.interval.high)

    return cell


def energy(one: Energy | None) -> str:
    """Above idle with its uncertainty; where the meter cannot resolve it, the bound and not the estimate."""
    if one is None:
        return units.NOT_MEASURED
    if not one.resolved:
        return f"< {units.energy(one.limit_uj)}"
    return f"{units.energy(one.above_idle_uj)} ± {units.energy(one.uncertainty_uj, 2)}"


def first_energy(row: Row) -> str:
    """Energy of one inference by the first meter of the record."""
    return energy(row.energy[0] if row.energy else None)


def relative_cell(name: str) -> Callable[[Row], str]:
    """The cell of one ratio of summary.Relative."""
    return lambda row: or_dash(units.ratio, getattr(row.relative, name, None))


def speed_up(row: Row) -> str:
    """Speed-up of the median with its interval; the reference itself is named so."""
    if row.relative is None:
        return units.NOT_MEASURED
    ratio = row.relative
    if ratio.reference == row.label:
        return "reference"
    return between(
        or_dash(units.ratio, ratio.speed_up), units.significant, ratio.speed_up_low, ratio.speed_up_high
    )


def frames(row: Row) -> str:
    """How many frames of the camera came and how many of them were lost: '3 of 120'."""
    if FIELDS["paced_frames"](row) is None or FIELDS["paced_missed"](row) is None:
        return units.NOT_MEASURED
    return (
        f"{round(FIELDS['paced_missed'](row) * FIELDS['paced_frames'](row))} of {FIELDS['paced_frames'](row)}"
    )


def paced_short(row: Row) -> str:
    """Median at a camera's frame rate and the share of missed frames, for a narrow column: '35.2 ms, 2.50 %'."""
    if FIELDS["paced_p50_ns"](row) is None:
        return units.NOT_MEASURED
    missed = "" if FIELDS["paced_missed"](row) is None else f", {units.percent(FIELDS['paced_missed'](row))}"
    return f"{units.duration(FIELDS['paced_p50_ns'](row))}{missed}"


def device_flips(row: Row) -> str:
    """Decisions that the device makes otherwise than the desktop: '3/400'."""
    return (
        units.NOT_MEASURED
        if FIELDS["device_samples"](row) is None
        else f"{FIELDS['device_decision_flips'](row)}/{FIELDS['device_samples'](row)}"
    )


def flip_sentence(row: Row) -> str:
    """What must be said of a file that decides otherwise on its device than on the desktop, "" where it does not."""
    if not FIELDS["device_decision_flips"](row) or FIELDS["device_max_abs_difference"](row) is None:
        return ""
    return (
        f"{row.label} decides otherwise on {row.machine} than on the desktop: {FIELDS['device_decision_flips'](row)} of "
        f"{FIELDS['device_samples'](row)} decisions flip, scores are up to {units.significant(FIELDS['device_max_abs_difference'](row), 2)} apart."
    )


def file(row: Row) -> str:
    """The label of the row, with a dagger when the record is doubtful."""
    return row.label + (DOUBTFUL if row.doubts else "")
