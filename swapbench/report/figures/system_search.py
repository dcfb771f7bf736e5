"""What a decision system was chosen from: errors and cost of every candidate on the development split.

Drawn from the CSV that `swapbench system` leaves beside the system, `systems/NAME.search.csv`; its columns
are those of `swapbench.systems.lines.search_csv`. The chosen candidate is ringed.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from swapbench.errors import UserError
from swapbench.report.figures.drawing import Drawing, as_csv, drawing
from swapbench.report.figures.style import COLOURS, Key, Page, Panel, mark, plain_axis, sheet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

COSTS: Final = {
    "dev_cost_ns": (1e6, "Time of a decision on development, ms"),
    "dev_cost_uj": (1e3, "Energy of a decision on development, mJ"),
}
"""Column -> how many of its unit are one of the axis, and the name of the axis."""
RATES: Final = {"acer": "ACER", "apcer": "APCER", "bpcer": "BPCER"}


@dataclass(frozen=True)
class Tried:
    """One candidate; rates between 0 and 1, the cost in the unit of the axis."""

    setting: str
    acer: float
    apcer: float
    bpcer: float
    cost: float
    axis: str
    chosen: bool


def is_search(text: str) -> bool:
    """Whether the text of a CSV is the search of a system."""
    return text.lstrip("\N{BYTE ORDER MARK}").startswith("setting,")


def read_search(path: Path, text: str) -> tuple[Tried, ...]:
    """The candidates of a search, in the order in which they were tried.

    Raises:
        UserError: a column is missing, or a cell is no number
    """
    found = []
    try:
        for row in csv.DictReader(io.StringIO(text)):
            column = next(name for name in COSTS if name in row)
            per, axis = COSTS[column]
            acer, apcer, bpcer = (float(row[f"dev_{name}"]) for name in RATES)
            cost, chosen = float(row[column]) / per, row["chosen"] == "1"
            found.append(Tried(row["setting"], acer, apcer, bpcer, cost, axis, chosen))
    except (KeyError, ValueError, TypeError, StopIteration) as problem:
        raise UserError(
            f"{path} is no search of a system: {problem!r}",
            remedy="Name the .search.csv that swapbench system wrote",
        ) from None
    if not found:
        raise UserError(f"{path} holds no candidates", remedy="Search again: swapbench system")
    return tuple(found)


def draw(path: Path, text: str, page: Page) -> Drawing:
    """The figure of a search."""
    tried = read_search(path, text)
    shows = (
        f"What a decision system was chosen from: error rates and mean cost of {len(tried)} candidates on the"
        " development split, at thresholds frozen there; the chosen one is ringed."
    )
    return drawing(lambda: figure_of(tried, page), as_csv(tried), page, shows=shows)


def figure_of(tried: Sequence[Tried], page: Page) -> Figure:
    """Draw the candidates, of which there is at least one; call it inside `rc_context(page.rc)`."""
    looks: dict[str, dict[str, Any]] = {
        name: {"color": colour, "marker": marker, "linestyle": style}
        for (name, colour), marker, style in zip(
            zip(RATES, COLOURS, strict=False), ("o", "^", "v"), ("-", ":", ":"), strict=True
        )
    }
    small = page.pt(3)
    entries = [mark(page, label, markersize=small, **looks[name]) for name, label in RATES.items()]
    ring: dict[str, Any] = {
        "marker": "o",
        "markerfacecolor": "none",
        "color": "0.1",
        "markersize": page.pt(8),
    }
    figure, (axes,) = sheet(page, [Panel(1.9)], [Key("", (*entries, mark(page, "chosen", **ring)))])
    ranked = sorted(tried, key=lambda one: one.cost)
    for name in reversed(RATES):
        rates = [100 * getattr(one, name) for one in ranked]
        axes.plot(
            [one.cost for one in ranked], rates, linewidth=page.pt(0.8), markersize=small, **looks[name]
        )
    for one in tried:
        if one.chosen:
            axes.plot([one.cost], [100 * one.acer], linestyle="none", zorder=5, **ring)
    axes.set_xlabel(tried[0].axis, labelpad=page.pt(2))
    axes.set_ylabel("Error on development, %", labelpad=page.pt(2))
    axes.margins(x=0.05, y=0.1)
    plain_axis(axes.xaxis)
    plain_axis(axes.yaxis)
    axes.grid(visible=True, which="major")
    return figure
