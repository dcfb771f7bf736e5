"""What the page needs to copy what it shows as Markdown, LaTeX and CSV, in the texts of the skins of a view.

Words, rules of characters and exact values come from `report.tables`; the page's scripts choose rows and
columns and put them together. Tests hold both to the same bytes.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from swapbench.report.tables import latex, latex_text
from swapbench.report.tables.column import DAGGER
from swapbench.report.tables.doubts import NAMES_AT_MOST
from swapbench.report.tables.fields import flat
from swapbench.report.tables.skins import HONESTY, IDENTITY
from swapbench.report.tables.table import SIMULATED, csv_cell
from swapbench.report.tables.view import NOT_HELD, NOT_MEASURED, SAID, TAILS, flip_sentence
from swapbench.texts import spaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Column
    from swapbench.report.tables.table import Table

RULES = {
    "dagger": DAGGER,
    "not_measured": NOT_MEASURED,
    "not_held": NOT_HELD,
    "names_at_most": NAMES_AT_MOST,
    "simulated": SIMULATED,
    "tails": TAILS,
    "said": SAID,
    "honesty": [IDENTITY, HONESTY],
    "latex": {
        "head": latex.HEAD,
        "tail": latex.TAIL,
        "setup": latex.SETUP,
        "brief": latex.BRIEF,
        "room_pt": [latex.COLUMN_PT, latex.PAGE_PT],
        "lines_at_most": latex.LINES_AT_MOST,
        "between_pt": latex.BETWEEN_PT,
        "script": latex.SCRIPT,
        "text_share": latex.TEXT_SHARE,
        "characters": latex_text.CHARACTERS,
        "accents": {chr(mark): letter for mark, letter in latex_text.ACCENTS.items()},
        "em": latex_text.EM,
        "long": latex_text.LONG,
    },
}
"""What does not depend on the records."""


def copies_data(table: Table, columns: Sequence[Column], pool: Callable[[Any], int]) -> dict[str, Any]:
    """Values of `RULES`, and those of the rows that the columns of the page do not hold.

    Args:
        table: the records.
        columns: those that the page offers.
        pool: stores what several rows share.
    """
    rows = table.rows
    names = dict.fromkeys(name for column in columns for name in column.fields)
    return RULES | {
        "wide": _wide(
            text
            for column in columns
            for text in (column.heading, *(() if column.amount else map(column.text, rows)))
        ),
        "csv": {
            name: [csv_cell(flat(name)(row), raw=table.raw_csv) for row in rows]
            for name in (*IDENTITY, *names, *HONESTY)
        },
        "fields": {column.name: column.fields for column in columns},
        "units": {column.name: _other_units(column, rows) for column in columns if column.amount},
        "rows": {
            "date": [pool(f"{row.time:%Y-%m-%d}") for row in rows],
            "place": [
                pool([row.conditions.device, row.conditions.device_with_cores, row.place]) for row in rows
            ],
            "machine": [pool(row.machine) for row in rows],
            "simulated": [row.data_simulated for row in rows],
            "flip": [pool(flip_sentence(row)) for row in rows],
            "confidence": [pool(_confidence(row)) for row in rows],
            "rate": [pool(row.conditions.frame_rate) for row in rows],
            "reference": [pool(_odd_reference(row)) for row in rows],
        },
    }


def _other_units(column: Column, rows: Sequence[Row]) -> list[list[Any]]:
    """A smaller and a larger unit, each with the digits and asides of the rows that may be shown in it."""
    found = []
    for step in (1e-3, 1e3):
        other = latex.in_unit(column, step)
        numbers = [column.number(row) for row in rows]
        fitting = {
            place: other.cell(rows[place])[:2]
            for place, number in enumerate(numbers)
            if other is not column
            and number is not None
            and (column.shown(number) < 1) == (step < 1)
            and not 1 <= column.shown(number) < 1000
        }
        found.append([other.unit, fitting])
    return found


def _confidence(row: Row) -> float | None:
    return row.speed.confidence if row.speed else None


def _odd_reference(row: Row) -> str | None:
    """The reference of a row where it is no fp32 file."""
    odd = row.relative is not None and row.relative.reference_precision != "fp32"
    return row.relative.reference if odd and row.relative else None


def _wide(texts: Iterable[str]) -> str:
    """The characters that take two columns of a terminal, or none: "W" and "0" before each."""
    every = sorted({char for text in texts for char in spaced(text) if not char.isascii()})
    width = {char: _columns(char) for char in every}
    return "".join(f"{columns}{char}" for char, columns in width.items() if columns != 1)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
