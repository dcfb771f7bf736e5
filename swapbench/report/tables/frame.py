"""Rows as flat records with units in their names, and as a pandas DataFrame: what a notebook works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.errors import EnvironmentFailed
from swapbench.report.tables.columns import columns as columns_named
from swapbench.report.tables.fields import flat, names
from swapbench.report.tables.skins import HONESTY, IDENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from swapbench.report.tables.fields import Value
    from swapbench.report.tables.table import Table


def flat_rows(table: Table, columns: str | Sequence[str] = ()) -> list[dict[str, Value]]:
    """One dict a row, under the names of the CSV skin: `latency_p50_ns`, `latency_p50_low_ns`, ...

    Args:
        table: whose rows; a view's rows in its order are `replace(table, rows=view.rows)`.
        columns: names of columns (`latency_p50,acer`), each with its interval; none means everything.

    Returns:
        Numbers unrounded and None where a number does not exist; `missing` says why, `doubts` what speaks
        against the row.

    Raises:
        UnknownName: there is no such column.
    """
    fields = names(table.species)
    if columns:
        chosen = columns_named(columns, table.rows)
        fields = tuple(
            dict.fromkeys((*IDENTITY, *(name for column in chosen for name in column.fields), *HONESTY))
        )
    values = {name: flat(name) for name in fields}
    return [{name: value(row) for name, value in values.items()} for row in table.rows]


def to_frame(table: Table, columns: str | Sequence[str] = ()) -> DataFrame:
    """`flat_rows` as a DataFrame, one line a record; a number that does not exist is missing (isna).

    Raises:
        EnvironmentFailed: pandas is not installed.
        UnknownName: there is no such column.
    """
    try:
        from pandas import DataFrame
    except ImportError:
        raise EnvironmentFailed("a data frame needs pandas", remedy="pip install pandas") from None
    return DataFrame(flat_rows(table, columns))
