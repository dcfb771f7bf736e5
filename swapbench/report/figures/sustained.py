"""Sustained runs: latency over minutes, below it the temperature, and when the device began to throttle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench.records import Sustained
from swapbench.report.figures.drawing import Drawing, as_csv, drawing
from swapbench.report.figures.style import (
    GREY,
    LINES,
    Key,
    Looks,
    Page,
    Panel,
    mark,
    not_drawn,
    plain_axis,
    sheet,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table

FILES_AT_MOST = 7
"""Files in one figure: one for each colour."""
STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's words for thermal status 0 to 6."""


@dataclass(frozen=True)
class Moment:
    """One stretch of the sustained run of one record; see records.SustainedPoint."""

    label: str
    machine: str
    start_s: float
    p50_ns: int
    p90_ns: int
    runs: int
    temperature_c: float | None
    thermal_status: int | None


def moments_of(rows: Sequence[Row], evidence: Evidence) -> tuple[tuple[Moment, ...], tuple[str, ...]]:
    """The points of the figure, and the labels of records without a sustained run or beyond the colours."""
    moments: list[Moment] = []
    left_out: list[str] = []
    drawn = 0
    for row in rows:
        record = evidence.record(row)
        sustained = record.sustained if record else None
        if not isinstance(sustained, Sustained) or drawn == FILES_AT_MOST:
            left_out.append(row.label)
            continue
        drawn += 1
        moments += [
            Moment(label=row.label, machine=row.machine, **point.model_dump()) for point in sustained.points
        ]
    return tuple(moments), tuple(left_out)


def draw(table: Table, evidence: Evidence, page: Page) -> Drawing:
    """The figure of a table and its records."""
    moments, left_out = moments_of(table.rows, evidence)
    if not moments:
        return Drawing({}, "no record holds a sustained run, so there is nothing to draw", left_out)
    shows = "Latency over the minutes of a sustained run: median and p90 of each stretch"
    shows += ", and temperature." if any(moment.temperature_c is not None for moment in moments) else "."
    return drawing(lambda: figure_of(moments, page, left_out), as_csv(moments), page, left_out, shows)


def rises(moments: Sequence[Moment]) -> list[tuple[Moment, int]]:
    """The moments of one record at which the thermal status rose, each with the status that it rose to."""
    risen: list[tuple[Moment, int]] = []
    before = 0
    for moment in moments:
        if moment.thermal_status is not None:
            if moment.thermal_status > before:
                risen.append((moment, moment.thermal_status))
            before = moment.thermal_status
    return risen


def figure_of(moments: Sequence[Moment], page: Page, left_out: Sequence[str] = ()) -> Figure:
    """Draw `moments`, of which there is at least one; call it inside `rc_context(page.rc)`."""
    files = Looks.of(moment.label for moment in moments)
    warm = any(moment.temperature_c is not None for moment in moments)
    last = [
        mark(page, "median", linestyle="-", color=GREY, linewidth=page.pt(1.1)),
        mark(page, "p90", linestyle=LINES[1], color=GREY, linewidth=page.pt(0.7)),
    ]
    keys = [
        files.line_key("File", page, 1.1, 3),
        Key("", tuple(last)),
    ]
    notes = [] if warm else ["The device gave no temperature."]
    if any(rises([moment for moment in moments if moment.label == label]) for label in files.names):
        notes.append("Words above the curves: the thermal status, when it rose.")
    notes += not_drawn("no sustained run, or too many files", left_out)
    panels = [Panel(1.5, below_in=0.12 if warm else 0.4)] + [Panel(0.9)] * warm
    figure, axes = sheet(page, panels, keys, notes=notes)
    end_min = max(moment.start_s for moment in moments) / 60 or 1.0
    for panel in axes:
        panel.set_xlim(-0.03 * end_min, 1.05 * end_min)
        plain_axis(panel.xaxis, most=7)
        panel.grid(visible=True, which="major")
    if warm:
        axes[0].tick_params(axis="x", labelbottom=False)
    axes[-1].set_xlabel("Time since the start, minutes", labelpad=page.pt(2))
    _latencies(axes[0], moments, files, page)
    if warm:
        _temperatures(axes[1], moments, files, page)
    return figure


def _latencies(axes: Axes, moments: Sequence[Moment], files: Looks, page: Page) -> None:
    highest = max(moment.p90_ns for moment in moments) / 1e6
    throttled = [
        label for label in files.names if rises([moment for moment in moments if moment.label == label])
    ]
    curves = 1 - 0.09 * len(throttled)  # the share of the height that is not words
    axes.set_ylim(0, 1.08 * highest / curves)
    plain_axis(axes.yaxis)
    axes.set_ylabel("Latency, ms", labelpad=page.pt(2))
    for label in files.names:
        own = [moment for moment in moments if moment.label == label]
        minutes = [moment.start_s / 60 for moment in own]
        look: dict[str, Any] = {"color": files.colour(label)}
        axes.plot(
            minutes,
            [moment.p50_ns / 1e6 for moment in own],
            marker=files.marker(label),
            markersize=page.pt(2.6),
            linewidth=page.pt(1.1),
            **look,
        )
        axes.plot(
            minutes,
            [moment.p90_ns / 1e6 for moment in own],
            linestyle=LINES[1],
            linewidth=page.pt(0.7),
            **look,
        )
    for number, label in enumerate(throttled):
        up = 1 - 0.09 * (number + 0.5)
        for moment, status in rises([moment for moment in moments if moment.label == label]):
            late = moment.start_s > 0.8 * max(moment.start_s for moment in moments)
            axes.plot(
                moment.start_s / 60,
                up,
                marker=files.marker(label),
                markersize=page.pt(3),
                color=files.colour(label),
                transform=axes.get_xaxis_transform(),
            )
            axes.annotate(
                STATUS[status],
                (moment.start_s / 60, up),
                xycoords=axes.get_xaxis_transform(),
                xytext=(page.pt(-3 if late else 3), 0),
                textcoords="offset points",
                fontsize=page.pt(5.5),
                ha="right" if late else "left",
                va="center",
            )


def _temperatures(axes: Axes, moments: Sequence[Moment], files: Looks, page: Page) -> None:
    axes.set_ylabel("Temperature, °C", labelpad=page.pt(2))
    plain_axis(axes.yaxis, most=4, negative=True)
    for label in files.names:
        own = [moment for moment in moments if moment.label == label]
        axes.plot(
            [moment.start_s / 60 for moment in own],
            [math.nan if moment.temperature_c is None else moment.temperature_c for moment in own],
            color=files.colour(label),
            marker=files.marker(label),
            markersize=page.pt(2.6),
            linewidth=page.pt(1.1),
        )
    axes.margins(y=0.12)
