"""One view of the whole report: which columns of which rows, and what is said around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.report.tables.view import by_place

if TYPE_CHECKING:
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Column
    from swapbench.report.tables.table import Table
    from swapbench.report.tables.view import Selection

_WHERE_KNOWN = frozenset(
    (
        "cores",
        "flavour",
        "worst_species",
        "memory_reduction",
        "energy_reduction",
        "bpcer10",
        "bpcer20",
        "bpcer100",
        "parity_difference",
        "parity_ranks",
        "parity_logits",
        "parity_flips",
        "parity_samples",
    )
)
"""Columns that are left out where no row of a section has them; the notes say why."""


@dataclass(frozen=True)
class Section:
    """One view of the report; caption, lead (above the table) and below (after the caption) are Markdown."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str
    lead: str = ""
    below: str = ""

    def selection(self, table: Table) -> Selection:
        """Its rows, with the columns that have something to say of them."""
        columns = tuple(
            column
            for column in self.columns
            if column.name not in _WHERE_KNOWN
            or any(column.text(row) != units.NOT_MEASURED for row in self.rows)
        )
        return by_place(table, columns, self.rows)
