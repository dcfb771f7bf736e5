"""Speed, weight, accuracy and power of every file relative to its reference, as parallel coordinates.

Every axis says how many times better than the reference a file is, on one logarithmic scale: up is better, 1
is the reference itself. A quantity that a file lacks breaks its line, and the foot of the axis says how many
lack it; one that no file has takes no room, and the caption names it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.report.figures.drawing import Drawing, as_csv, drawing
from swapbench.report.figures.panels import by_panel, on_pages, precision_lines
from swapbench.report.figures.style import (
    GREY,
    PRECISION_LINES,
    PRECISION_MARKERS,
    Looks,
    Page,
    Panel,
    log_axis,
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

QUANTITIES = ("speed", "weight", "accuracy", "power")
TITLES = {
    "speed": "Speed\n(1 / latency)",
    "weight": "Weight\n(1 / file size)",
    "accuracy": "Accuracy\n(1 / ACER)",
    "power": "Power\n(1 / energy)",
}
HEIGHT_IN = 1.6
LINES_AT_MOST = 24
"""Lines in one panel; more of them cannot be followed."""


@dataclass(frozen=True)
class Line:
    """How many times better than its reference a file is in each quantity; None where either lacks it."""

    label: str
    panel: str
    reference: str
    model: str
    precision: str
    data_simulated: bool
    speed: float | None
    weight: float | None
    accuracy: float | None
    power: float | None


def lines_of(rows: Sequence[Row]) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """The lines of the figure, and the labels of rows without a reference or beyond what a panel can show."""
    places = names_of(rows)
    lines: list[Line] = []
    left_out: list[str] = []
    count: dict[str, int] = {}
    for row in rows:
        ratios = row.relative
        panel = f"{row.format}, {row.runtime}" + (f", {places[row.place]}" if len(places) > 1 else "")
        if ratios is None or count.get(panel, 0) == LINES_AT_MOST:
            left_out.append(row.label)
            continue
        count[panel] = count.get(panel, 0) + 1
        lines.append(
            Line(
                label=row.label,
                panel=panel,
                reference=ratios.reference,
                model=row.model,
                precision=row.precision,
                data_simulated=bool(row.data_simulated),
                speed=ratios.speed_up,
                weight=ratios.size_reduction,
                accuracy=1 / ratios.error_ratio if ratios.error_ratio else None,
                power=ratios.energy_reduction,
            )
        )
    return tuple(lines), tuple(left_out)


def draw(table: Table, _: Evidence, page: Page) -> Drawing:
    """The figure of a table."""
    lines, left_out = lines_of(table.rows)
    if not any(getattr(line, name) is not None for line in lines for name in QUANTITIES):
        reason = "no record has a reference to be compared with, so there is nothing to draw"
        return Drawing({}, reason, left_out)
    names = _measured(lines)
    shows = (
        f"{', '.join(names).capitalize()} of each file relative to its reference, on one logarithmic scale: "
        "1 is the reference, more is better."
    )
    unknown = [name for name in QUANTITIES if name not in names]
    if unknown:
        shows += f" Not measured, so not shown: {', '.join(unknown)}."
    pages = on_pages(by_panel(lines), lambda _: HEIGHT_IN + 0.5, page.a_row(2))
    return drawing(
        lambda: [figure_of(part, page, left_out) for part in pages],
        as_csv(lines),
        page,
        left_out,
        shows,
        names,
    )


def _measured(lines: Sequence[Line]) -> tuple[str, ...]:
    """The quantities that at least one file has."""
    return tuple(name for name in QUANTITIES if any(getattr(line, name) is not None for line in lines))


def figure_of(lines: Sequence[Line], page: Page, left_out: Sequence[str] = ()) -> Figure:
    """Draw `lines`, of which there is at least one; call it inside `rc_context(page.rc)`."""
    models = Looks.of(line.model for line in lines)
    panels, names = by_panel(lines), _measured(lines)
    keys = [
        models.line_key("Network", page, 1.2),
        precision_lines((line.precision for line in lines), page, markers=True),
    ]
    references = list(dict.fromkeys(line.reference for line in lines))
    notes = [f"1× is {', '.join(references[:3])}{', …' if len(references) > 3 else ''}; up is better."]
    notes += not_drawn("no reference, or too many lines", left_out, ", see the table")
    values = [
        value
        for line in lines
        for name in QUANTITIES
        if (value := getattr(line, name)) is not None and value > 0
    ]
    ends = (min([*values, 0.8]) / 1.15, max([*values, 1.25]) * 1.15)
    figure, axes = sheet(
        page,
        [Panel(HEIGHT_IN, name, below_in=0.36) for name in panels],
        keys,
        left_in=0.42 if ends[0] > 0.01 else 0.6,
        right_in=0.12,
        a_row=page.a_row(len(panels)),
        notes=notes,
        simulated=any(line.data_simulated and line.accuracy is not None for line in lines),
    )
    for panel, own in zip(axes, panels.values(), strict=True):
        _panel(panel, own, names, models, ends, page)
    return figure


def _panel(
    axes: Axes,
    lines: Sequence[Line],
    names: Sequence[str],
    models: Looks,
    ends: tuple[float, float],
    page: Page,
) -> None:
    from matplotlib.ticker import FuncFormatter

    places = range(len(names))
    axes.set_xlim(-0.3, len(names) - 0.7)
    axes.set_yscale("log")
    axes.set_ylim(*ends)
    log_axis(axes.yaxis, *ends)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.spines["bottom"].set_visible(False)
    axes.axhline(1, color=GREY, linewidth=page.pt(0.6), zorder=1)
    lacking = {name: sum(getattr(line, name) is None for line in lines) for name in names}
    for place, name in zip(places, names, strict=True):
        nothing = lacking[name] == len(lines)
        axes.axvline(
            place, color="0.75", linewidth=page.pt(0.6), linestyle=(0, (2, 2)) if nothing else "-", zorder=0.5
        )
        if nothing:
            axes.text(
                place,
                math.sqrt(ends[0] * ends[1]),
                "not known",
                rotation=90,
                ha="center",
                va="center",
                fontsize=page.pt(6),
                color="0.35",
                bbox={"facecolor": "white", "linewidth": 0, "pad": 1.0},
            )
    titles = [
        TITLES[name] + (f"\nn/a: {lacking[name]} of {len(lines)}" if 0 < lacking[name] < len(lines) else "")
        for name in names
    ]
    axes.set_xticks(list(places), titles, fontsize=page.pt(6))
    axes.tick_params(axis="x", length=0)
    # Lines that lie on each other are set side by side at the axes, by less than the width of a marker.
    for number, line in enumerate(lines):
        shift = (number - (len(lines) - 1) / 2) * min(0.03, 0.2 / len(lines))
        values = [getattr(line, name) for name in names]
        axes.plot(
            [place + shift for place in places],
            [math.nan if value is None else value for value in values],
            color=models.colour(line.model),
            linestyle=PRECISION_LINES.get(line.precision, "-"),
            linewidth=page.pt(1.0),
            marker=PRECISION_MARKERS.get(line.precision, "o"),
            markersize=page.pt(3.2),
            markerfacecolor="white" if line.precision != "fp32" else models.colour(line.model),
            markeredgewidth=page.pt(0.8),
            zorder=2,
        )
