"""How long single runs take: the distribution of all timed runs of every file, with its median and p90.

A row a file, on one logarithmic axis a machine: the height of the shape is the share of runs in a bin (all
shapes are equally high, as their peaks say nothing), the thick mark the median with its interval, the thin
one the p90 estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from swapbench.records import Speed
from swapbench.report.figures.drawing import Drawing, drawing, table_csv
from swapbench.report.figures.panels import PAGE_IN
from swapbench.report.figures.style import (
    Key,
    Looks,
    Page,
    Panel,
    distinct,
    left_for,
    lighter,
    log_axis,
    mark,
    not_drawn,
    sheet,
)
from swapbench.report.tables.column import DAGGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.row import Latency, Row
    from swapbench.report.tables.table import Table

ROWS_AT_MOST = 40
"""Rows in one figure: more do not fit on a page."""
BINS_A_DECADE = 80


@dataclass(frozen=True, eq=False)
class Distribution:
    """All timed runs of a record, counted in bins that are equally wide on a logarithmic axis."""

    label: str
    machine: str
    model: str
    precision: str
    doubtful: bool
    p50_ns: float
    p50_low_ns: float | None
    p50_high_ns: float | None
    p90_ns: float | None
    edges_ns: tuple[float, ...]
    runs: tuple[int, ...]


def distributions_of(
    rows: Sequence[Row], evidence: Evidence
) -> tuple[tuple[Distribution, ...], tuple[str, ...]]:
    """The rows of the figure, and the labels of records without timed runs or beyond what a page can show."""
    distributions: list[Distribution] = []
    left_out: list[str] = []
    for row in rows:
        record = evidence.record(row)
        measured = record.speed if record else None
        if not isinstance(measured, Speed) or row.speed is None or len(distributions) == ROWS_AT_MOST:
            left_out.append(row.label)
        else:
            runs_ns = np.array(measured.runs_ns, dtype=np.float64)
            distributions.append(_distribution(row, row.speed, np.maximum(runs_ns, 1.0)))
    return tuple(distributions), tuple(left_out)


def _distribution(
    row: Row, speed: Latency, runs_ns: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Distribution:
    bins = np.floor(np.log10(runs_ns) * BINS_A_DECADE).astype(np.intp)
    first = int(bins.min())
    counts = np.bincount(bins - first)
    edges = 10.0 ** ((first + np.arange(len(counts) + 1)) / BINS_A_DECADE)
    return Distribution(
        label=row.label,
        machine=row.place,
        model=row.model,
        precision=row.precision,
        doubtful=bool(row.doubts),
        p50_ns=speed.p50_ns,
        p50_low_ns=speed.p50_low_ns,
        p50_high_ns=speed.p50_high_ns,
        p90_ns=speed.p90_ns,
        edges_ns=tuple(edges.tolist()),
        runs=tuple(counts.tolist()),
    )


def data_csv(distributions: Sequence[Distribution]) -> str:
    """One line a bin that holds runs; what is known of the record is repeated in each."""
    names = [field.name for field in fields(Distribution) if field.name not in {"edges_ns", "runs"}]
    lines = [
        [*(getattr(distribution, name) for name in names), low, high, runs]
        for distribution in distributions
        for low, high, runs in zip(
            distribution.edges_ns[:-1], distribution.edges_ns[1:], distribution.runs, strict=True
        )
        if runs
    ]
    return table_csv([*names, "bin_low_ns", "bin_high_ns", "runs"], lines)


def draw(table: Table, evidence: Evidence, page: Page) -> Drawing:
    """The figure of a table and its records."""
    distributions, left_out = distributions_of(table.rows, evidence)
    if not distributions:
        return Drawing({}, "no record holds timed runs, so there is nothing to draw", left_out)
    return drawing(
        lambda: figure_of(distributions, page, left_out),
        data_csv(distributions),
        page,
        left_out,
        "Latency of single runs: the distribution of all timed runs of each file, its median with its "
        "interval, and the bound of its p90.",
        ["speed", "intervals"],
    )


def figure_of(distributions: Sequence[Distribution], page: Page, left_out: Sequence[str] = ()) -> Figure:
    """Draw `distributions`, of which there is at least one; call it inside `rc_context(page.rc)`."""
    models = Looks.of(distribution.model for distribution in distributions)
    machines = list(dict.fromkeys(distribution.machine for distribution in distributions))
    names = {
        id(distribution): distribution.label + (f" {DAGGER}" if distribution.doubtful else "")
        for distribution in distributions
    }
    left_in, longest = left_for(names.values(), page)
    short = distinct(names.values(), longest)
    keys = [
        models.key("Network", lambda name, label: mark(page, label, marker="s", color=models.colour(name))),
        Key(
            "",
            (
                mark(
                    page,
                    "median, interval",
                    marker="|",
                    markersize=page.pt(7),
                    color="black",
                    markeredgewidth=page.pt(1.6),
                ),
                mark(page, "p90, at most", marker=6, markersize=page.pt(4), color="black"),
            ),
        ),
    ]
    notes = []
    if any(distribution.p90_ns is None for distribution in distributions):
        notes.append("Without p90: too few processes or runs to bound it.")
    if any(distribution.doubtful for distribution in distributions):
        notes.append("† doubtful record, see the table.")
    notes += not_drawn("no timed runs, or too many files", left_out, ", see the table")
    members = {
        machine: [distribution for distribution in distributions if distribution.machine == machine]
        for machine in machines
    }
    row_in = max(0.12, min(0.19, (PAGE_IN - 0.7 * len(machines)) / len(distributions)))
    figure, axes = sheet(
        page,
        [Panel(0.1 + row_in * len(members[name]), name if len(machines) > 1 else "") for name in machines],
        keys,
        left_in=left_in,
        notes=notes,
    )
    for panel, machine in zip(axes, machines, strict=True):
        _panel(
            panel,
            members[machine],
            [short[names[id(member)]] for member in members[machine]],
            models,
            page,
        )
    return figure


def _panel(
    axes: Axes, distributions: Sequence[Distribution], names: Sequence[str], models: Looks, page: Page
) -> None:
    axes.set_xscale("log")
    low = min(distribution.edges_ns[0] for distribution in distributions) / 1e6
    high = (
        max(max(distribution.edges_ns[-1], distribution.p50_high_ns or 0.0) for distribution in distributions)
        / 1e6
    )
    margin = max((high / low) ** 0.03, 1.03)
    axes.set_xlim(low / margin, high * margin)
    log_axis(axes.xaxis, low / margin, high * margin)
    axes.set_ylim(len(distributions) - 0.4, -0.6)
    axes.set_yticks(range(len(distributions)), names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x", which="major")
    axes.set_xlabel("Latency of one run, ms (log scale)", labelpad=page.pt(2))
    for place, distribution in enumerate(distributions):
        colour = models.colour(distribution.model)
        edges, counts = np.array(distribution.edges_ns) / 1e6, np.array(distribution.runs, dtype=np.float64)
        height = 0.8 * counts / counts.max()
        axes.fill_between(
            np.repeat(edges, 2)[1:-1],
            place + 0.4,
            place + 0.4 - np.repeat(height, 2),
            facecolor=lighter(colour),
            edgecolor=colour,
            linewidth=page.pt(0.5),
            zorder=2,
        )
        if distribution.p50_low_ns is not None and distribution.p50_high_ns is not None:
            axes.plot(
                [distribution.p50_low_ns / 1e6, distribution.p50_high_ns / 1e6],
                [place + 0.4] * 2,
                color="black",
                linewidth=page.pt(1.6),
                solid_capstyle="butt",
                zorder=3,
            )
        axes.plot(
            [distribution.p50_ns / 1e6] * 2,
            [place - 0.3, place + 0.4],
            color="black",
            linewidth=page.pt(1.4),
            zorder=3,
        )
        if distribution.p90_ns is not None:
            axes.plot(
                distribution.p90_ns / 1e6,
                place + 0.4,
                marker=6,
                markersize=page.pt(3.6),
                color="black",
                zorder=3,
            )
