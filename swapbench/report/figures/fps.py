"""Energy of one decision against how many decisions a second were made.

A camera does not ask as often as a model could answer. Above idle, a decision costs about the same at any
rate; with the idle share of a device that is awake for nothing else, a slow rate makes every decision dearer.
Both are drawn. The rate is the one that was reached in the measured window: a slow model falls short of the
rate that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench.records import Absent
from swapbench.report.figures.drawing import Drawing, as_csv, drawing
from swapbench.report.figures.panels import by_panel
from swapbench.report.figures.style import (
    GREY,
    LINES,
    Key,
    Looks,
    Page,
    Panel,
    log_axis,
    mark,
    not_drawn,
    sheet,
)
from swapbench.report.rows.comparable import names_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table

FILES_AT_MOST = 7
"""Files in one panel: one for each colour."""


@dataclass(frozen=True)
class Paced:
    """Energy of one decision of one file at one rate, by the first meter of its record.

    Attributes:
        asked_fps: None where decisions followed back to back.
        above_idle_uj: None where the meter could not resolve it; then it is below `limit_uj`.
    """

    label: str
    file: str
    panel: str
    asked_fps: float | None
    reached_fps: float
    above_idle_uj: float | None
    uncertainty_uj: float
    limit_uj: float
    gross_uj: float


def points_of(rows: Sequence[Row], evidence: Evidence) -> tuple[tuple[Paced, ...], tuple[str, ...]]:
    """The points of the figure, and the labels of records without energy or beyond the colours of a panel."""
    points: list[Paced] = []
    places = names_of(rows)
    left_out: list[str] = []
    files: dict[str, set[str]] = {}
    for row in rows:
        record = evidence.record(row)
        if record is None or isinstance(record.power, Absent) or not row.energy:
            left_out.append(row.label)
            continue
        power, energy = record.power[0], row.energy[0]
        panel = f"{places[row.place]}, {energy.meter} ({energy.scope})"
        name = f"{record.title}, {row.runtime}"
        here = files.setdefault(panel, set())
        if name not in here and len(here) == FILES_AT_MOST:
            left_out.append(row.label)
            continue
        here.add(name)
        window_ns = sum(read.window_ns for read in power.busy) / len(power.busy)
        points.append(
            Paced(
                label=row.label,
                file=name,
                panel=panel,
                asked_fps=record.plan.fps,
                reached_fps=power.runs / window_ns * 1e9,
                above_idle_uj=energy.above_idle_uj if energy.resolved else None,
                uncertainty_uj=energy.uncertainty_uj,
                limit_uj=energy.limit_uj,
                gross_uj=energy.gross_uj,
            )
        )
    return tuple(points), tuple(left_out)


def draw(table: Table, evidence: Evidence, page: Page) -> Drawing:
    """The figure of a table and its records."""
    points, left_out = points_of(table.rows, evidence)
    if not points:
        return Drawing({}, "no record holds an energy, so there is nothing to draw", left_out)
    if all(point.asked_fps is None for point in points):
        reason = "every energy was measured back to back, so there is no frame rate to draw it against"
        return Drawing({}, reason, left_out)
    shows = (
        "Energy of one decision, above idle and with idle included, against the decisions made per second."
    )
    return drawing(
        lambda: figure_of(points, page, left_out), as_csv(points), page, left_out, shows, ["power"]
    )


def figure_of(points: Sequence[Paced], page: Page, left_out: Sequence[str] = ()) -> Figure:
    """Draw `points`, of which there is at least one; call it inside `rc_context(page.rc)`."""
    files = Looks.of(point.file for point in points)
    panels = by_panel(points)
    keys = [
        files.line_key("File, runtime", page, 1.1, 3.4),
        Key(
            "",
            (
                mark(page, "above idle", linestyle="-", color=GREY, linewidth=page.pt(1.1)),
                mark(page, "idle included", linestyle=LINES[1], color=GREY, linewidth=page.pt(0.8)),
            ),
        ),
        Key(
            "",
            (
                mark(page, "paced", marker="o", color=GREY),
                mark(page, "back to back", marker="o", color=GREY, markerfacecolor="white"),
            ),
        ),
    ]
    notes = []
    if any(point.above_idle_uj is None for point in points):
        notes.append("An arrow points down from a bound: the meter could not resolve the energy above idle.")
    notes += not_drawn("no energy, or too many files", left_out)
    titles = list(panels) if len(panels) > 1 else [""]
    figure, axes = sheet(
        page, [Panel(2.6 if page.wide else 2.0, title) for title in titles], keys, left_in=0.68, notes=notes
    )
    for panel, own in zip(axes, panels.values(), strict=True):
        _panel(panel, own, files, page)
    return figure


def _panel(axes: Axes, points: Sequence[Paced], files: Looks, page: Page) -> None:
    rates = [point.reached_fps for point in points]
    ends_mj = [point.gross_uj / 1e3 for point in points]
    for point in points:
        value = point.above_idle_uj
        ends_mj += [(point.limit_uj if value is None else value) / 1e3]
        if value is not None:
            ends_mj += [(value - point.uncertainty_uj) / 1e3, (value + point.uncertainty_uj) / 1e3]
    x_ends = (min(rates) / 1.25, max(rates) * 1.25)
    y_ends = (min(end for end in ends_mj if end > 0) / 1.25, max(ends_mj) * 1.25)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*x_ends)
    axes.set_ylim(*y_ends)
    log_axis(axes.xaxis, *x_ends)
    log_axis(axes.yaxis, *y_ends)
    axes.grid(visible=True, which="major")
    axes.set_xlabel("Decisions per second (log scale)", labelpad=page.pt(2))
    axes.set_ylabel("Energy of one decision, mJ\n(log scale)", labelpad=page.pt(2))
    for name in dict.fromkeys(point.file for point in points):
        own = sorted(
            (point for point in points if point.file == name),
            key=lambda point: (point.reached_fps, point.label),
        )
        colour = files.colour(name)
        resolved = [point for point in own if point.above_idle_uj is not None]
        for curve, line, width in (
            ([(point.reached_fps, (point.above_idle_uj or 0.0) / 1e3) for point in resolved], "-", 1.1),
            ([(point.reached_fps, point.gross_uj / 1e3) for point in own], LINES[1], 0.8),
        ):
            axes.plot(
                [rate for rate, _ in curve],
                [energy_mj for _, energy_mj in curve],
                color=colour,
                linestyle=line,
                linewidth=page.pt(width),
            )
        for point in own:
            _point(axes, point, colour, files.marker(name), page)


def _point(axes: Axes, point: Paced, colour: str, marker: str, page: Page) -> None:
    fill = "white" if point.asked_fps is None else colour
    look: dict[str, Any] = {
        "color": colour,
        "markerfacecolor": fill,
        "markeredgewidth": page.pt(0.8),
        "clip_on": False,
    }
    axes.plot(point.reached_fps, point.gross_uj / 1e3, marker=marker, markersize=page.pt(2.6), **look)
    if point.above_idle_uj is None:
        axes.errorbar(
            point.reached_fps,
            point.limit_uj / 1e3,
            yerr=0.25 * point.limit_uj / 1e3,
            uplims=True,
            fmt="_",
            color=colour,
            markersize=page.pt(4),
            elinewidth=page.pt(0.7),
        )
        return
    axes.errorbar(
        point.reached_fps,
        point.above_idle_uj / 1e3,
        yerr=point.uncertainty_uj / 1e3,
        fmt="none",
        ecolor=colour,
        elinewidth=page.pt(0.7),
    )
    axes.plot(point.reached_fps, point.above_idle_uj / 1e3, marker=marker, markersize=page.pt(3.6), **look)
