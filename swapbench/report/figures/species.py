"""APCER of every attack species before and after quantisation, each with its interval.

A block for each network, format and runtime (and data, where they differ); in it a line for each species with
a point for each precision, so that a species that the smaller file accepts more often is seen at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench.report.figures.style import (
    COLOURS,
    PRECISION_MARKERS,
    Drawing,
    Key,
    Page,
    Panel,
    as_csv,
    characters,
    drawing,
    left_for,
    mark,
    not_drawn,
    plain_axis,
    sheet,
    shortened,
)
from swapbench.report.rows.row import distinction_among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table

LINES_AT_MOST = 60
"""Lines (species and headings) in one figure: more do not fit on a page."""
COLOUR_OF = dict(zip(PRECISION_MARKERS, (COLOURS[place] for place in (2, 0, 3, 5, 1, 4)), strict=True))
"""Precision -> its colour."""


@dataclass(frozen=True)
class SpeciesPoint:
    """APCER of one file on one attack species, a share of 1."""

    label: str
    block: str
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
    """The points of the figure, and the labels of rows without APCER or beyond what a page can show."""
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
    return tuple(points), tuple(left_out)


def draw(table: Table, _: Evidence, page: Page) -> Drawing:
    """The figure of a table."""
    points, left_out = points_of(table.rows)
    if not points:
        return Drawing({}, "no record has an APCER by attack species, so there is nothing to draw", left_out)
    return drawing(lambda: figure_of(points, page, left_out), as_csv(points), page, left_out)


def figure_of(points: Sequence[SpeciesPoint], page: Page, left_out: Sequence[str] = ()) -> Figure:
    """Draw `points`, of which there is at least one; call it inside `rc_context(page.rc)`."""
    precisions = [name for name in PRECISION_MARKERS if any(point.precision == name for point in points)]
    left_in, longest = left_for((point.species for point in points), page)
    places: dict[tuple[str, str], int] = {}
    for block in dict.fromkeys(point.block for point in points):
        places[block, ""] = len(places)
        for species in sorted({point.species for point in points if point.block == block}):
            places[block, species] = len(places)
    keys = [
        Key(
            "",
            tuple(
                mark(page, name, marker=PRECISION_MARKERS[name], markersize=page.pt(4), **_look(name, page))
                for name in precisions
            ),
        )
    ]
    notes = not_drawn("no APCER, or too many lines", left_out, ", see the table")
    figure, (axes,) = sheet(
        page,
        [Panel(0.05 + 0.19 * len(places))],
        keys,
        left_in=left_in,
        notes=notes,
        simulated=any(point.data_simulated for point in points),
    )
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.set_yticks(
        [place for (_, species), place in places.items() if species],
        [shortened(species, longest) for _, species in places if species],
    )
    axes.tick_params(axis="y", length=0)
    high = max(100 * point.apcer_high for point in points)
    axes.set_xlim(-0.02 * max(high, 1), 1.05 * max(high, 1))
    plain_axis(axes.xaxis, most=6)
    axes.grid(visible=True, axis="x", which="major")
    axes.set_xlabel("APCER, % (lower is better)", labelpad=page.pt(2))
    for (block, species), place in places.items():
        if not species:
            axes.text(
                0.012,
                place + 0.1,
                shortened(block, characters(page.width_in - page.inch(left_in + 0.1), page, 7.6)),
                fontsize=page.pt(6.5),
                fontweight="bold",
                ha="left",
                va="center",
                transform=axes.get_yaxis_transform(),
            )
    for point in points:
        order = precisions.index(point.precision)
        y = places[point.block, point.species] + (order - (len(precisions) - 1) / 2) * 0.24
        axes.errorbar(
            100 * point.apcer,
            y,
            xerr=[
                [100 * max(point.apcer - point.apcer_low, 0.0)],
                [100 * max(point.apcer_high - point.apcer, 0.0)],
            ],
            fmt=PRECISION_MARKERS.get(point.precision, "D"),
            markersize=page.pt(3.2),
            ecolor=COLOUR_OF.get(point.precision, COLOURS[4]),
            elinewidth=page.pt(0.7),
            clip_on=False,
            **_look(point.precision, page),
        )
    return figure


def _look(precision: str, page: Page) -> dict[str, Any]:
    colour = COLOUR_OF.get(precision, COLOURS[4])
    return {
        "color": colour,
        "markerfacecolor": colour if precision == "fp32" else "white",
        "markeredgewidth": page.pt(0.8),
    }
