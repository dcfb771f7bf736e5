"""APCER of every attack species before and after quantisation, each with its interval.

A panel for each network, format and runtime (and data, where they differ); in it a line for each species with
a point for each precision that was measured, so that a species that the smaller file accepts more often is
seen at once. What does not fit a page stands on the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from swapbench.report.figures.drawing import Drawing, as_csv, drawing
from swapbench.report.figures.panels import by_panel, on_pages
from swapbench.report.figures.style import (
    COLOURS,
    PRECISION_MARKERS,
    Key,
    Page,
    Panel,
    distinct,
    left_for,
    mark,
    not_drawn,
    plain_axis,
    sheet,
)
from swapbench.report.rows.row import distinction_among

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table

LINES_AT_MOST = 300
"""Lines (species and headings) in one figure, on all of its pages."""
SPECIES_AT_MOST = 16
"""Species in one panel."""
SLOT_IN = 0.075
"""Height of a point."""
BETWEEN_IN = 0.26
"""From the last line of a panel to the first of the next: its title."""
COLOUR_OF = dict(zip(PRECISION_MARKERS, (COLOURS[place] for place in (2, 0, 3, 5, 1, 4)), strict=True))
"""Precision -> its colour."""


@dataclass(frozen=True)
class SpeciesPoint:
    """APCER of one file on one attack species, a share of 1; a block with many species has several panels."""

    label: str
    block: str
    panel: str
    model: str
    precision: str
    species: str
    apcer: float
    apcer_low: float
    apcer_high: float
    errors: int
    trials: int
    data_simulated: bool


def points_of(rows: Sequence[Row]) -> tuple[tuple[SpeciesPoint, ...], tuple[str, ...]]:
    """The points of the figure, and the labels of rows without APCER or beyond what its pages can show."""
    scored = [row for row in rows if row.accuracy and row.accuracy.apcer_by_species]
    distinction = distinction_among(scored)
    points: list[SpeciesPoint] = []
    left_out = [row.label for row in rows if not (row.accuracy and row.accuracy.apcer_by_species)]
    lines: set[tuple[str, str]] = set()
    for row in scored:
        assert row.accuracy is not None
        species = row.accuracy.apcer_by_species
        block = ", ".join([row.model, row.format, row.runtime, *distinction(row)])
        more = lines | {(block, ""), *((block, name) for name in species)}
        if len(more) > LINES_AT_MOST:
            left_out.append(row.label)
            continue
        lines = more
        points += [
            SpeciesPoint(
                label=row.label,
                block=block,
                panel=block,
                model=row.model,
                precision=row.precision,
                species=name,
                apcer=errors.rate,
                apcer_low=errors.interval.low,
                apcer_high=errors.interval.high,
                errors=errors.errors,
                trials=errors.trials,
                data_simulated=bool(row.data_simulated),
            )
            for name, errors in sorted(species.items())
        ]
    return _in_panels(points), tuple(left_out)


def _in_panels(points: Sequence[SpeciesPoint]) -> tuple[SpeciesPoint, ...]:
    """The points of a block with more species than a panel holds, each in its part of the block."""
    species_of = {block: _species(members) for block, members in by_panel(points).items()}

    def panel(point: SpeciesPoint) -> str:
        species = species_of[point.block]
        if len(species) <= SPECIES_AT_MOST:
            return point.block
        part, parts = species.index(point.species) // SPECIES_AT_MOST, -(-len(species) // SPECIES_AT_MOST)
        return f"{point.block}, part {part + 1} of {parts}"

    return tuple(replace(point, panel=panel(point)) for point in points)


def draw(table: Table, _: Evidence, page: Page) -> Drawing:
    """The figure of a table."""
    points, left_out = points_of(table.rows)
    if not points:
        return Drawing({}, "no record has an APCER by attack species, so there is nothing to draw", left_out)
    shows = "APCER of every attack species, by network, format and runtime, with intervals; lower is better."
    pages = on_pages(by_panel(points), lambda own: _height_in(own) + BETWEEN_IN, page.a_row(2))
    return drawing(
        lambda: [figure_of(part, page, left_out) for part in pages],
        as_csv(points),
        page,
        left_out,
        shows,
        ["species", "intervals"],
    )


def _species(points: Sequence[SpeciesPoint]) -> list[str]:
    return sorted({point.species for point in points})


def _precisions(points: Sequence[SpeciesPoint]) -> list[str]:
    return [name for name in PRECISION_MARKERS if any(point.precision == name for point in points)]


def _height_in(points: Sequence[SpeciesPoint]) -> float:
    """Room for each precision that there is, and a little between two species."""
    return 0.04 + len(_species(points)) * (0.05 + SLOT_IN * len(_precisions(points)))


def figure_of(points: Sequence[SpeciesPoint], page: Page, left_out: Sequence[str] = ()) -> Figure:
    """Draw `points`, of which there is at least one; call it inside `rc_context(page.rc)`."""
    panels = by_panel(points)
    a_row = page.a_row(len(panels))
    left_in, longest = left_for((point.species for point in points), page, a_row=a_row)
    last = len(panels) - a_row
    figure, axes = sheet(
        page,
        [
            Panel(_height_in(own), name, below_in=0.4 if number >= last else BETWEEN_IN - 0.16)
            for number, (name, own) in enumerate(panels.items())
        ],
        [
            Key(
                "",
                tuple(
                    mark(
                        page, name, marker=PRECISION_MARKERS[name], markersize=page.pt(4), **_look(name, page)
                    )
                    for name in _precisions(points)
                ),
            )
        ],
        left_in=left_in,
        a_row=a_row,
        notes=not_drawn("no APCER, or too many lines", left_out, ", see the table"),
        simulated=any(point.data_simulated for point in points),
    )
    high = max(1.0, *(100 * point.apcer_high for point in points))
    shown = distinct((point.species for point in points), longest)
    for number, (panel, own) in enumerate(zip(axes, panels.values(), strict=True)):
        panel.set_xlim(-0.02 * high, 1.05 * high)
        _panel(panel, own, shown, page)
        panel.tick_params(axis="x", labelbottom=number >= last)
        if number >= last:
            panel.set_xlabel("APCER, % (lower is better)", labelpad=page.pt(2))
    return figure


def _panel(axes: Axes, points: Sequence[SpeciesPoint], shown: Mapping[str, str], page: Page) -> None:
    species, precisions = _species(points), _precisions(points)
    axes.set_ylim(len(species) - 0.5, -0.5)
    axes.set_yticks(range(len(species)), [shown[name] for name in species])
    axes.tick_params(axis="y", length=0)
    plain_axis(axes.xaxis, most=6)
    axes.grid(visible=True, axis="x", which="major")
    slot = SLOT_IN / (0.05 + SLOT_IN * len(precisions))  # in units of the axis, where a species has 1
    for point in points:
        order = precisions.index(point.precision) - (len(precisions) - 1) / 2
        axes.errorbar(
            100 * point.apcer,
            species.index(point.species) + order * slot,
            xerr=[
                [100 * max(point.apcer - point.apcer_low, 0.0)],
                [100 * max(point.apcer_high - point.apcer, 0.0)],
            ],
            fmt=PRECISION_MARKERS[point.precision],
            markersize=page.pt(3.2),
            ecolor=COLOUR_OF[point.precision],
            elinewidth=page.pt(0.7),
            clip_on=False,
            **_look(point.precision, page),
        )


def _look(precision: str, page: Page) -> dict[str, Any]:
    colour = COLOUR_OF[precision]
    return {
        "color": colour,
        "markerfacecolor": colour if precision == "fp32" else "white",
        "markeredgewidth": page.pt(0.8),
    }
