"""What a history says of one new record: advice for a reader, and never a verdict.

A number is told where it is worse than the median of the last ones on this place, and than each of them. Of
measurements that differ only by chance, one among N + 1 is the worst: with the last 20, one false word in 21
for each number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swapbench import stats, units
from swapbench.report.rows.comparable import comparable
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.trends.series import in_order
from swapbench.report.trends.words import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Column
    from swapbench.report.trends.series import Point

LEAST: Final = 5
"""With fewer earlier numbers nothing is said."""


def advice(row: Row, points: Iterable[Point], columns: Sequence[str], last: int) -> tuple[str, ...]:
    """One sentence for each number that is worse than its last ones; one in all where there are too few.

    Args:
        row: The new record.
        points: Of a history; only those of the same file under the same runtime count.
        columns: Names of the numbers to look at.
        last: How many of the newest comparable points a number is held against.
    """
    alike = in_order(
        point for point in points if (point.row.label, point.row.runtime) == (row.label, row.runtime)
    )
    told: list[str] = []
    for column in (COLUMNS[name] for name in columns):
        value = column.number(row)
        if value is None or not column.better:
            continue
        earlier = [
            number
            for point in alike
            if comparable(row, point.row, column) and (number := column.number(point.row)) is not None
        ][-last:]
        if len(earlier) < LEAST:
            few = plural(len(earlier), "comparable measurement")
            told.append(
                f"history: {row.label} under {row.runtime}: {few} of {column.title}; at least {LEAST} are "
                "needed"
            )
        elif _worse_than_each(value, earlier, column):
            told.append(_sentence(row, column, value, earlier))
    return tuple(told)


def _worse_than_each(value: float, earlier: Sequence[float], column: Column) -> bool:
    return value > max(earlier) if column.better == "lower" else value < min(earlier)


def _sentence(row: Row, column: Column, value: float, earlier: Sequence[float]) -> str:
    amount = column.amount
    assert amount is not None
    median = stats.median(list(earlier))
    by = f" by {units.percent(abs(value / median - 1))}" if median else ""
    shown = f"{amount.show(value)} {amount.unit}".rstrip()
    return (
        f"advisory, no verdict: {row.label} under {row.runtime}: {column.title} {shown} is worse{by} than "
        f"the median of the last {len(earlier)} on this place ({amount.show(median)}), and than each of them"
    )
