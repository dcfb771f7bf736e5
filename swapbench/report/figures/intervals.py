"""Intervals of points in a plot: bars, bars with caps, or light ellipses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import numpy as np

from swapbench.errors import UnknownName
from swapbench.report.figures.style import lighter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from swapbench.report.figures.pareto_points import Ends
    from swapbench.report.figures.style import Page

Uncertainty = Literal["bars", "caps", "ellipse"]
CAPTION: Final[dict[Uncertainty, str]] = {
    "bars": "",
    "caps": "",
    "ellipse": " The half axes of an ellipse are the two intervals of its file, each by itself: it is no "
    "region for both numbers at once.",
}
"""What a caption must say of the way in which intervals are drawn."""
_CORNERS = 48


def uncertainty_of(how: str) -> Uncertainty:
    """The same from what was typed; UnknownName where it is none of them."""
    if how not in get_args(Uncertainty):
        raise UnknownName("way to draw uncertainty", how, get_args(Uncertainty))
    return cast("Uncertainty", how)


def draw_intervals(
    axes: Axes, ends: Sequence[tuple[Ends, Ends]], how: Uncertainty, colour: str, width_pt: float, page: Page
) -> None:
    """The intervals of points in x and y; an ellipse needs both, so where there is only one it is a bar."""
    round_ones = [both for both in ends if how == "ellipse" and all(low < high for _, low, high in both)]
    if round_ones:
        _ellipses(axes, round_ones, lighter(colour))
    bars = [both for both in ends if both not in round_ones]
    if not bars:
        return
    (xs, x_bars), (ys, y_bars) = (_lengths([both[which] for both in bars]) for which in (0, 1))
    caps: dict[str, Any] = {"capsize": page.pt(1.6), "capthick": page.pt(width_pt)} if how == "caps" else {}
    axes.errorbar(
        xs,
        ys,
        xerr=x_bars,
        yerr=y_bars,
        fmt="none",
        ecolor=colour,
        elinewidth=page.pt(width_pt),
        zorder=2 + (width_pt > 0.7) / 2,
        **caps,
    )


def _lengths(ends: Sequence[Ends]) -> tuple[list[float], list[list[float]]]:
    """Values, and the lengths of bars below and above each."""
    return (
        [value for value, _, _ in ends],
        [[value - low for value, low, _ in ends], [high - value for value, _, high in ends]],
    )


def _ellipses(axes: Axes, ends: Sequence[tuple[Ends, Ends]], colour: str) -> None:
    from matplotlib.collections import PolyCollection

    shapes = [
        np.column_stack((_along(x, axes.get_xscale(), 0), _along(y, axes.get_yscale(), 1))) for x, y in ends
    ]
    axes.add_collection(
        PolyCollection(shapes, facecolors=colour, edgecolors="none", alpha=0.45, zorder=1.6), autolim=False
    )


def _along(ends: Ends, scale: str, dimension: int) -> NDArray[np.float64]:
    """One coordinate of the corners: a quarter of an ellipse towards each end of an interval.

    The two halves differ where the interval is not symmetric. On a logarithmic axis it is an ellipse as it is
    seen, so its logarithms are.
    """
    value, low, high = (math.log10(end) if scale == "log" else end for end in ends)
    angles = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
    reach = np.sin(angles) if dimension else np.cos(angles)
    corners = value + np.where(reach > 0, reach * (high - value), reach * (value - low))
    shown: NDArray[np.float64] = 10.0**corners if scale == "log" else corners
    return shown
