"""Sustained runs: latency over minutes, and below it the temperature, with the moments at which the device began to throttle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench.records import Sustained
from swapbench.report.figures.style import (
    GREY,
    LINES,
    Drawing,
    Key,
    Looks,
    Page,
    Panel,
    as_csv,
    drawing,
    mark,
    plain_axis,
    sheet,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.summary import Row
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
            Moment(
                label=row.label,
                machine=row.machine,
                start_s=one.start_s,
                p50_ns=one.p50_ns,
                p90_ns=one.p90_ns,
                runs=one.runs,
                temperature_c=one.temperature_c,
                thermal_status=one.thermal_status,
            )
            for one in sustained.points
        ]
    return tuple(moments), tuple(left_out)


def draw(table: Table, evidence: Evidence, page: Page) -> Drawing:
    """The figure of a table and its records."""
    moments, left_out = moments_of(table.rows, evidence)
    if not moments:
        return Drawing({}, "no record holds a sustained run, so there is nothing to draw", left_out)
    return drawing(lambda: figure_of(moments, page, left_out), as_csv(moments), page, left_out)


def rises(moments: Sequence[Moment]) -> list[tuple[Moment, int]]:
    """The moments of one record at which the thermal status rose, each with the status that it rose to."""
    found, before = [], 0
    for one in moments:
        if one.thermal_status is not None:
            if one.thermal_status > before:
                found.append((one, one.thermal_status))
            before = one.thermal_status
    return found


def figure_of(moments: Sequence[Moment], page: Page, left_out: Sequence[str] = ()) -> Figure:
    """The figure itself; call it inside `rc_context(page.rc)`. `moments` must not be empty."""
    files = Looks.of(one.label for one in moments)
    warm = any(one.temperature_c is not None for one in moments)
    last = [
        mark(page, "median", linestyle="-", color=GREY, linewidth=page.pt(1.1)),
        mark(page, "p90", linestyle=LINES[1], color=GREY, linewidth=page.pt(0.7)),
    ]
    keys = [
        files.key(
            "File",
            lambda name, label: mark(
                page,
                label,
                linestyle="-",
                linewidth=page.pt(1.1),
                marker=files.marker(name),
                markersize=page.pt(3),
                color=files.colour(name),
            ),
        ),
        Key("", tuple(last)),
    ]
    notes = [] if warm else ["The device gave no temperature."]
    if any(rises([one for one in moments if one.label == label]) for label in files.names):
        notes.append("Words above the curves: the thermal status, when it rose.")
    if left_out:
        many = "s" * (len(left_out) != 1)
        notes.append(f"Not drawn (no sustained run, or too many files): {len(left_out)} record{many}.")
    panels = [Panel(1.5, below_in=0.12 if warm else 0.4)] + [Panel(0.9)] * warm
    figure, axes = sheet(page, panels, keys, notes=notes)
    end_min = max(one.start_s for one in moments) / 60 or 1.0
    for one in axes:
        one.set_xlim(-0.03 * end_min, 1.05 * end_min)
        plain_axis(one.xaxis, most=7)
        one.grid(visible=True, which="major")
    if warm:
        axes[0].tick_params(axis="x", labelbottom=False)
    axes[-1].set_xlabel("Time since the start, minutes", labelpad=page.pt(2))
    _latencies(axes[0], moments, files, page)
    if warm:
        _temperatures(axes[1], moments, files, page)
    return figure


def _latencies(axes: Axes, moments: Sequence[Moment], files: Looks, page: Page) -> None:
    highest = max(one.p90_ns for one in moments) / 1e6
    throttled = [label for label in files.names if rises([one for one in moments if one.label == label])]
    curves = 1 - 0.09 * len(throttled)  # the share of the height that is not words
    axes.set_ylim(0, 1.08 * highest / curves)
    plain_axis(axes.yaxis)
    axes.set_ylabel("Latency, ms", labelpad=page.pt(2))
    for label in files.names:
        mine = [one for one in moments if one.label == label]
        minutes = [one.start_s / 60 for one in mine]
        look: dict[str, Any] = {"color": files.colour(label)}
        axes.plot(
            minutes,
            [one.p50_ns / 1e6 for one in mine],
            marker=files.marker(label),
            markersize=page.pt(2.6),
            linewidth=page.pt(1.1),
            **look,
        )
        axes.plot(
            minutes, [one.p90_ns / 1e6 for one in mine], linestyle=LINES[1], linewidth=page.pt(0.7), **look
        )
    for number, label in enumerate(throttled):
        up = 1 - 0.09 * (number + 0.5)
        for one, status in rises([one for one in moments if one.label == label]):
            late = one.start_s > 0.8 * max(one.start_s for one in moments)
            axes.plot(
                one.start_s / 60,
                up,
                marker=files.marker(label),
                markersize=page.pt(3),
                color=files.colour(label),
                transform=axes.get_xaxis_transform(),
            )
            axes.annotate(
                STATUS[status],
                (one.start_s / 60, up),
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
        mine = [one for one in moments if one.label == label]
        axes.plot(
            [one.start_s / 60 for one in mine],
            [math.nan if one.temperature_c is None else one.temperature_c for one in mine],
            color=files.colour(label),
            marker=files.marker(label),
            markersize=page.pt(2.6),
            linewidth=page.pt(1.1),
        )
    axes.margins(y=0.12)
