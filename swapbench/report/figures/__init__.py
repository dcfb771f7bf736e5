"""Figures for papers and slides: pure functions of records. Each is points, then a drawing.

`draw` is the entry; what a kind shows stands at the head of its module. The same records give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.errors import UnknownName
from swapbench.report.choose.resampling import NOTHING
from swapbench.report.figures import det, fps, latency, pareto, search, species, sustained, swap
from swapbench.report.figures.style import Drawing, Page, StyleName, WidthName, page_of
from swapbench.report.tables.columns import numeric_column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.tables.table import Table

__all__ = ["KINDS", "SUFFIXES", "Drawing", "StyleName", "WidthName", "draw"]


@dataclass(frozen=True)
class Request:
    """What a figure is drawn from.

    Attributes:
        table: Its rows; at least one.
        evidence: The records behind the table and where their scores are kept.
        page: Size and style.
        axes: Columns of the horizontal and the vertical axis, for figures that let them be chosen.
    """

    table: Table
    evidence: Evidence
    page: Page
    axes: tuple[str, str]


def _pareto(request: Request) -> Drawing:
    x, y = (numeric_column(name, request.table.rows) for name in request.axes)
    return pareto.draw(request.table, request.evidence, request.page, x, y)


_OF_RECORDS: Mapping[str, Callable[[Request], Drawing]] = {
    "pareto": _pareto,
    "swap": lambda request: swap.draw(request.table, request.page),
    "latency": lambda request: latency.draw(request.table, request.evidence, request.page),
    "species": lambda request: species.draw(request.table, request.page),
    "det": lambda request: det.draw(request.table, request.evidence, request.page),
    "sustained": lambda request: sustained.draw(request.table, request.evidence, request.page),
    "fps": lambda request: fps.draw(request.table, request.evidence, request.page),
}
"""Figure -> what draws it; a new one is a module beside these and a line here."""

KINDS = (*_OF_RECORDS, "search")
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
    """Draw a figure: its bytes by suffix, or the reason in words why there is nothing to draw.

    Args:
        kind: One of KINDS.
        table: None only for "search".
        evidence: The records behind the table and where their scores are kept.
        x: The column of the horizontal axis, for pareto.
        y: The column of the vertical axis, for pareto.
        style: "paper" or "screen".
        width: "column" or "page".
        history: The CSV of a pruning search, for search.

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
    return _OF_RECORDS[kind](Request(table, evidence, page, (x, y)))
