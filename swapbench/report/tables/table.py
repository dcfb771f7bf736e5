"""One table of all records, and the two skins that hold everything, unrounded: CSV and JSON.

CSV: one line a record, units in the column names, empty where a number does not exist (the column `missing`
says why), `true`/`false` for booleans, an apostrophe before text that a spreadsheet would compute, lists
joined by `;`, one column a species for each of `apcer.<species>`, `apcer_low.`, `apcer_high.`,
`apcer_errors.` and `apcer_trials.`, energy of the first meter.

JSON: an object with `kind` ("swapbench.table"), `version` (1), `reference` (the reference network or null),
`data_simulated` (true when any row's is), `machines` (fingerprints) and `rows`: the fields of summary.Row
under their own names, nested where they are nested there (`apcer_by_species`, `energy`, `relative`, `doubts`,
`missing`); null where a number does not exist.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import store
from swapbench.errors import BadRecord
from swapbench.report.rows.references import compared_rows
from swapbench.report.tables.fields import flat, json_row, names
from swapbench.texts import inert_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swapbench.records import Record
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.fields import Value

SIMULATED = "Simulated data: not PAD performance."
"""What every skin and every figure says when scores come from simulated data."""


@dataclass(frozen=True)
class Table:
    """All rows in their order, and how they are shown.

    Attributes:
        reference: the network that ratios refer to, None where nothing could serve.
        reference_was_asked: whether a person named it.
        raw_csv: whether text that a spreadsheet would compute stands in CSV as it is; see texts.inert_cell.
    """

    rows: tuple[Row, ...]
    reference: str | None
    reference_was_asked: bool
    raw_csv: bool = False

    @property
    def data_simulated(self) -> bool:
        """True when the accuracy of any row comes from simulated data."""
        return any(row.data_simulated for row in self.rows)

    @property
    def machines(self) -> tuple[str, ...]:
        """The fingerprints of all machines, in the order of the rows."""
        return tuple(dict.fromkeys(row.place for row in self.rows))

    @property
    def species(self) -> tuple[str, ...]:
        """All attack instrument species of all rows, sorted."""
        return tuple(
            sorted({name for row in self.rows if row.accuracy for name in row.accuracy.apcer_by_species})
        )


def table_of(records: Sequence[Record], relative_to: str | None = None) -> Table:
    """The table of some records; see references.compared_rows for the order and the reference.

    Raises:
        BadRecord: there is no record.
        UnknownName: no record is of the network `relative_to`.
    """
    from swapbench.report.rows.summary import summary  # needs NumPy, which rows that are kept do not

    return table_of_rows(map(summary, records), relative_to)


def table_of_rows(rows: Iterable[Row], relative_to: str | None = None) -> Table:
    """The table of rows as `summary.summary` makes them; otherwise `table_of`."""
    compared, reference = compared_rows(rows, relative_to)
    if not compared:
        raise BadRecord("there are no records to report", remedy="Make some with: swapbench run")
    return Table(compared, reference, relative_to is not None)


# ---- CSV and JSON: complete and exact ----


def as_csv(table: Table) -> str:
    """The table as CSV (see the head of this module)."""
    return csv_text(table.rows, names(table.species), raw=table.raw_csv)


def csv_text(rows: Iterable[Row], names: Sequence[str], *, raw: bool = False) -> str:
    """CSV of the named fields of some rows; `raw` as in Table."""
    values = [flat(name) for name in names]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([csv_cell(value(row), raw=raw) for value in values] for row in rows)
    return text.getvalue()


def as_json(table: Table) -> str:
    """The table as JSON, without a newline at the end (see the head of this module)."""
    return store.dumps(
        {
            "kind": "swapbench.table",
            "version": 1,
            "reference": table.reference,
            "data_simulated": table.data_simulated,
            "machines": list(table.machines),
            "rows": [json_row(row) for row in table.rows],
        }
    )


def json_text(records: Sequence[Record], relative_to: str | None = None) -> str:
    """The records as the JSON skin of their table; raises what table_of raises."""
    return as_json(table_of(records, relative_to))


def csv_cell(value: Value, *, raw: bool) -> str:
    """A value as it stands in CSV; `raw` as in Table."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if raw else inert_cell(value)
    return repr(value) if isinstance(value, float) else str(value)
