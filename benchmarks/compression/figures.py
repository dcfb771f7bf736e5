"""The figures of reports/compression, in the style of swapbench's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.report.figures.style import (
    COLOURS,
    GREY,
    MARKERS,
    Drawing,
    Key,
    Page,
    Panel,
    as_csv,
    drawing,
    left_for,
    mark,
    page_of,
    plain_axis,
    sheet,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from benchmarks.compression.studies import Arm

_MEAN = "#000000"


@dataclass(frozen=True)
class ArmPoint:
    """ACER of an arm: of one domain, or the mean of all with its 95 % interval."""

    arm: str
    domain: str
    acer: float
    low: float | None = None
    high: float | None = None


def arms_figure(arms: Mapping[str, Arm], domains: str) -> Drawing:
    """ACER on domains that were never seen.

    A line for each arm: its mean with its interval, and the mean of the seeds on each domain.
    """
    points = []
    for arm in arms.values():
        low, high = (float(value) for value in np.quantile(arm.draws, (0.025, 0.975)))
        points.append(ArmPoint(arm.name, "mean", arm.mean(), low, high))
        points += [ArmPoint(arm.name, domain, arm.on(domain)) for domain in domains]
    on = page_of("paper", "column")
    return drawing(lambda: _arms(points, tuple(arms), domains, on), as_csv(points), on)


def _arms(points: list[ArmPoint], names: tuple[str, ...], domains: str, on: Page) -> Figure:
    left_in, _ = left_for(names, on)
    colours = [colour for colour in COLOURS if colour != _MEAN]
    looks = {domain: (colours[number], MARKERS[number + 1]) for number, domain in enumerate(domains)}
    keys = [
        Key(
            "",
            (
                mark(on, "mean, 95 % interval", marker="o", color=_MEAN, markersize=on.pt(4)),
                *(
                    mark(on, f"without {domain}", marker=marker, color=colour, markersize=on.pt(3))
                    for domain, (colour, marker) in looks.items()
                ),
            ),
        )
    ]
    figure, (axes,) = sheet(on, [Panel(0.05 + 0.2 * len(names))], keys, left_in=left_in, simulated=True)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x", which="major")
    axes.set_xlabel("ACER on a left-out domain, % (lower is better)", labelpad=on.pt(2))
    for point in points:
        place = names.index(point.arm)
        if point.low is None or point.high is None:
            colour, marker = looks[point.domain]
            axes.plot(100 * point.acer, place + 0.22, marker, color=colour, markersize=on.pt(2.6), zorder=2)
            continue
        axes.errorbar(
            100 * point.acer,
            place - 0.12,
            xerr=[[100 * (point.acer - point.low)], [100 * (point.high - point.acer)]],
            fmt="o",
            color=_MEAN,
            ecolor=GREY,
            markersize=on.pt(3.6),
            elinewidth=on.pt(0.9),
            zorder=3,
        )
    plain_axis(axes.xaxis, most=6)
    return figure
