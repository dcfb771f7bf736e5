"""Figures for papers and slides: pure functions of records. Each is points, then a drawing.

`draw` is the entry; what a kind shows stands at the head of its module. The same records give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench.errors import UnknownName
from swapbench.report.choose.resampling import NOTHING
from swapbench.report.figures import decision, det, fps, latency, pareto, search, species, sustained, swap
from swapbench.report.figures.captions import captioned
from swapbench.report.figures.drawing import Drawing
from swapbench.report.figures.intervals import uncertainty_of
from swapbench.report.figures.style import StyleName, WidthName, page_of
from swapbench.report.tables.columns import numeric_column

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.figures.style import Page
    from swapbench.report.tables.table import Table

__all__ = ["KINDS", "SUFFIXES", "Drawing", "Options", "StyleName", "WidthName", "draw", "page_of"]

_DRAW: Final[dict[str, Callable[[Table, Evidence, Page], Drawing]]] = {
    "swap": swap.draw,
    "latency": latency.draw,
    "species": species.draw,
    "det": det.draw,
    "sustained": sustained.draw,
    "fps": fps.draw,
}
"""Figures of a table; a further one is a module beside these and a line here."""

KINDS = ("pareto", "decision", *_DRAW, "search")
SUFFIXES = ("png", "svg", "pdf", "csv", "txt", "tex")
"""The files of every figure; `csv` is its data, the last two are its caption."""


@dataclass(frozen=True)
class Options:
    """How one figure is drawn.

    Attributes:
        x: the column of the horizontal axis, for pareto and decision; of the latter it may be a cost of an
            inference, which stands for that of a decision.
        y: the column of the vertical axis, for pareto and decision.
        style: "paper" or "screen".
        width: "column", "page", or inches as text.
        history: the CSV of a pruning search, for search.
        labels: what names the files on the front of pareto: "names" beside their points, "keys" (numbers,
            with the names in a legend), or "auto": names where there are few.
        shares: whether pareto says beside a name in how many draws the file is on the front.
        uncertainty: intervals in pareto as "bars", bars with "caps", or an "ellipse" of both.
    """

    x: str = "latency_p50"
    y: str = "acer"
    style: str = "paper"
    width: str = "column"
    history: Path | None = None
    labels: str = "auto"
    shares: bool = False
    uncertainty: str = "bars"


USUAL = Options()


def draw(kind: str, table: Table | None, evidence: Evidence = NOTHING, options: Options = USUAL) -> Drawing:
    """A figure of that kind as bytes by suffix, or the reason in words why there is nothing to draw.

    Args:
        kind: one of KINDS.
        table: None only for "search".
        evidence: the records behind the table and where their scores are kept: latency, det, sustained and
            fps are drawn from them, and pareto resamples them.
        options: how it is drawn.

    Raises:
        UnknownName: there is no such kind, style, width or column.
        UserError: a column is text, the history cannot be read, or the width has no room.
        BadDataset: kept scores are damaged.
    """
    page = page_of(options.style, options.width)
    if kind not in KINDS:
        raise UnknownName("figure", kind, KINDS)
    if kind == "search":
        return captioned(search.draw(options.history, page), kind, ())
    if table is None or not table.rows:
        return Drawing({}, "there are no records, so there is nothing to draw")
    if kind in {"decision", "pareto"}:
        names = (options.x, options.y)
        labels = pareto.Labels.of(options.labels, shares=options.shares)
        uncertainty = uncertainty_of(options.uncertainty)
        if kind == "decision":
            drawn = decision.draw(table, evidence, page, names, labels, uncertainty)
        else:
            columns = (numeric_column(names[0], table.rows), numeric_column(names[1], table.rows))
            drawn = pareto.draw(table, evidence, page, columns, labels, uncertainty)
    else:
        drawn = _DRAW[kind](table, evidence, page)
    return captioned(drawn, kind, table.rows)
