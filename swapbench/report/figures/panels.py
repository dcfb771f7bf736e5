"""What figures of several panels share: points by panel, panels by page, the legend of precisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from swapbench.report.figures.style import GREY, PRECISION_LINES, PRECISION_MARKERS, Key, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from swapbench.report.figures.style import Page

PAGE_IN = 7.8
"""So high are the panels of one page at most; a paper's page has an inch more, for legends and a caption."""

Point = TypeVar("Point")


class InPanel(Protocol):
    """A point that names its panel."""

    @property
    def panel(self) -> str:
        """The title of the panel."""


PanelPoint = TypeVar("PanelPoint", bound=InPanel)


def by_panel(points: Iterable[PanelPoint]) -> dict[str, list[PanelPoint]]:
    """The points of each panel, in their order."""
    panels: dict[str, list[PanelPoint]] = {}
    for point in points:
        panels.setdefault(point.panel, []).append(point)
    return panels


def on_pages(
    panels: Mapping[str, Sequence[Point]], height_in: Callable[[Sequence[Point]], float], a_row: int
) -> list[list[Point]]:
    """The points of each page, none of which is higher than `PAGE_IN` unless one row of panels is.

    Args:
        panels: points by panel.
        height_in: of the panel of some points, with its title and what stands below it.
        a_row: how many panels stand side by side.
    """
    pages: list[list[Point]] = [[]]
    used_in = 0.0
    every = list(panels.values())
    for start in range(0, len(every), a_row):
        row = every[start : start + a_row]
        row_in = max(map(height_in, row))
        if pages[-1] and used_in + row_in > PAGE_IN:
            pages.append([])
            used_in = 0.0
        pages[-1] += [point for points in row for point in points]
        used_in += row_in
    return pages


def precision_lines(precisions: Iterable[str], page: Page, *, markers: bool) -> Key:
    """The legend of the precisions that there are, as lines and if `markers` with their markers."""
    there = set(precisions)

    def look(name: str) -> dict[str, Any]:
        line = {"linestyle": PRECISION_LINES[name], "color": GREY, "linewidth": page.pt(1.0)}
        if not markers:
            return line
        fill = GREY if name == "fp32" else "white"
        marker = {"marker": PRECISION_MARKERS[name], "markersize": page.pt(3.5), "markerfacecolor": fill}
        return line | marker

    names = [name for name in PRECISION_LINES if name in there]
    return Key("Precision", tuple(mark(page, name, **look(name)) for name in names))
