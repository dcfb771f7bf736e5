"""Figures for papers and slides: pure functions of records. Each is points, then a drawing.

`draw` is the entry; what a kind shows stands at the head of its module. The same records give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from swapbench.errors import UnknownName
from swapbench.report.choose.resampling import NOTHING
from swapbench.report.figures import det, fps, latency, pareto, search, species, sustained, swap
from swapbench.report.figures.style import Drawing, StyleName, WidthName, page_of
from swapbench.report.tables.columns import numeric_column

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.tables.table import Table

__all__ = ["KINDS", "SUFFIXES", "Drawing", "Kind", "StyleName", "WidthName", "draw"]

Kind = Literal["pareto", "swap", "latency", "species", "det", "sustained", "fps", "search"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SUFFIXES = ("png", "svg", "pdf", "csv")
"""The files of every figure; the last is its data."""


def draw(
    kind: str,
    table: Table | None,
    evidence: Evidence = NOTHING,
    *,
    x: str = "latency_p50",
    y: str = "acer",
    style: str = "paper",
    width: str = "column",
    history: Path | None = None,
) -> Drawing:
    """A figure of that kind as bytes by suffix, or the reason in words why there is nothing to draw.

    Args: kind: One of KINDS. table: None only for "search". evidence: The records behind the table and where
        their scores are kept: latency, det, sustained and fps are drawn from them, and pareto resamples them.
        x: The column of the horizontal axis, for pareto. y: The column of the vertical axis, for pareto.
        style: "paper" or "screen". width: "column" or "page". history: The CSV of a pruning search, for
        search.

    Raises:
        UnknownName: There is no such kind, style, width or column.
        UserError: A column is text, or the history cannot be read.
        BadDataset: Kept scores are damaged.
    """
    page = page_of(style, width)
    if kind not in KINDS:
        raise UnknownName("figure", kind, KINDS)
    if kind == "search":
        return search.draw(history, page)
    if table is None or not table.rows:
        return Drawing({}, "there are no records, so there is nothing to draw")
    match kind:
        case "swap":
            return swap.draw(table, page)
        case "latency":
            return latency.draw(table, evidence, page)
        case "species":
            return species.draw(table, page)
        case "det":
            return det.draw(table, evidence, page)
        case "sustained":
            return sustained.draw(table, evidence, page)
        case "fps":
            return fps.draw(table, evidence, page)
        case _:
            across, up = numeric_column(x, table.rows), numeric_column(y, table.rows)
            return pareto.draw(table, evidence, page, across, up)
