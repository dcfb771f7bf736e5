"""The points of the Pareto figure: two numbers of a row with their intervals, and how sure the front is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.report.choose.fronts import comparisons
from swapbench.report.figures.drawing import table_csv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.report.choose.fronts import Standing
    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Column


@dataclass(frozen=True)
class Point:
    """One row in the figure, numbers in the units in which the table keeps them.

    Attributes:
        share_on_front: of the bootstrap draws, 0..1; None where nothing was drawn.
    """

    label: str
    machine: str
    data: str
    model: str
    precision: str
    runtime: str
    x: float
    x_low: float | None
    x_high: float | None
    y: float
    y_low: float | None
    y_high: float | None
    file_bytes: int | None
    data_simulated: bool
    doubtful: bool
    on_front: bool
    share_on_front: float | None


def points_of(
    rows: Sequence[Row], x: Column, y: Column, evidence: Evidence
) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """The points of the figure, and the labels of the rows that lack one of the two numbers.

    Raises:
        UserError: Neither more nor less of a column is better.
    """
    points: list[Point] = []
    left_out: set[str] = set()
    for group in comparisons(rows, (x, y), evidence):
        points += [_point(point, group.machine, group.data, x, y) for point in group.standings]
        left_out |= {point.row.label for point in group.not_judged}
    return tuple(points), tuple(row.label for row in rows if row.label in left_out)


def _point(standing: Standing, machine: str, data: str, x: Column, y: Column) -> Point:
    row = standing.row
    (x_low, x_high), (y_low, y_high) = (column.interval(row) or (None, None) for column in (x, y))
    return Point(
        label=row.label,
        machine=machine,
        data=data,
        model=row.model,
        precision=row.precision,
        runtime=f"{row.format}, {row.runtime}",
        x=x.number(row) or 0.0,
        x_low=x_low,
        x_high=x_high,
        y=y.number(row) or 0.0,
        y_low=y_low,
        y_high=y_high,
        file_bytes=row.weight.file_bytes if row.weight else None,
        data_simulated=bool(row.data_simulated),
        doubtful=bool(row.doubts),
        on_front=standing.on_front,
        share_on_front=standing.share,
    )


def points_csv(points: Sequence[Point], x: Column, y: Column) -> str:
    """The data of the figure: a line a point, nothing rounded, numbers named as in the table."""
    lines = []
    for point in points:
        line = {
            name: getattr(point, name)
            for name in ("label", "machine", "data", "model", "precision", "runtime")
        }
        for column, numbers in (
            (x, (point.x, point.x_low, point.x_high)),
            (y, (point.y, point.y_low, point.y_high)),
        ):
            line |= dict(zip(_names(column), numbers, strict=True))
        shared = ("file_bytes", "data_simulated", "doubtful", "on_front", "share_on_front")
        lines.append(line | {name: getattr(point, name) for name in shared})
    return table_csv(list(lines[0]), [list(line.values()) for line in lines])


def _names(column: Column) -> tuple[str, str, str]:
    """latency_p50_ns, latency_p50_low_ns, latency_p50_high_ns."""
    name = column.fields[0]
    unit = next((unit for unit in ("_ns", "_bytes", "_uj") if name.endswith(unit)), "")
    stem = name.removesuffix(unit) if unit else name
    return name, f"{stem}_low{unit}", f"{stem}_high{unit}"


Ends = tuple[float, float, float]
"""A value with the two ends of its interval, all in the unit that is shown."""


def ends_of(point: Point, column: Column, which: str) -> Ends:
    """The number of a point on the axis "x" or "y" with the ends of its interval."""
    value = getattr(point, which)
    low, high = getattr(point, f"{which}_low"), getattr(point, f"{which}_high")
    shown = (value if number is None else number for number in (value, low, high))
    value, low, high = map(column.shown, shown)
    return value, min(low, value), max(high, value)


def is_log(column: Column, points: Sequence[Point], which: str) -> bool:
    """Whether an axis is logarithmic: shares are not, nor is what reaches 0."""
    return column.quantity != "share" and all(ends_of(point, column, which)[1] > 0 for point in points)
