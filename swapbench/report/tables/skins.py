"""The skins of a chosen table: CSV and JSON here, Markdown, LaTeX, HTML and terminal beside.

CSV and JSON hold what the whole table's skins hold, under the same names and unrounded: of each chosen column
its number and its interval, and whatever the columns are, what must not be lost: the label, the groups,
whether data are simulated, doubts, what is missing. Where no column was named they hold all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from swapbench.errors import UnknownName
from swapbench.report.tables import fields, html, latex, markdown, sections
from swapbench.report.tables import table as table_skins
from swapbench.report.tables.table import csv_text
from swapbench.report.tables.view import selection_of, view_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table
    from swapbench.report.tables.view import Query, Selection


class Skin(NamedTuple):
    """A table as the text of a file.

    Attributes:
        suffix: What the name of the file ends in.
        asked: The text of what was asked of a table.
        whole: The text where nothing was asked; None where it is the same.
    """

    suffix: str
    asked: Callable[[Table, Query], str]
    whole: Callable[[Table], str] | None = None


SKINS: Mapping[str, Skin] = {
    "markdown": Skin(
        "md", lambda table, query: markdown.as_markdown(view_of(table, query)), sections.as_markdown
    ),
    "latex": Skin("tex", latex.latex_of),
    "csv": Skin(
        "csv",
        lambda table, query: as_csv(selection_of(table, query), chosen=bool(query.columns)),
        table_skins.as_csv,
    ),
    "json": Skin(
        "json",
        lambda table, query: as_json(selection_of(table, query), chosen=bool(query.columns)) + "\n",
        lambda table: table_skins.as_json(table) + "\n",
    ),
    "html": Skin("html", lambda table, query: html.as_html(view_of(table, query))),
}
"""By name; a new one is a module beside this one and an entry here."""

SUFFIXES = {name: skin.suffix for name, skin in SKINS.items()}
IDENTITY = ("label",)
HONESTY = ("data_simulated", "valid", "doubts", "missing")
"""What stands in CSV before and after the chosen columns, whatever they are."""


def text_of(table: Table, query: Query, skin: str) -> str:
    """What was asked of a table, in one of SKINS, with a newline at its end.

    Where nothing was asked, what a report writes: Markdown is then the whole report, CSV and JSON hold all
    columns.
    """
    if skin not in SKINS:
        raise UnknownName("format", skin, SKINS)
    chosen = SKINS[skin]
    return chosen.whole(table) if chosen.whole is not None and not query else chosen.asked(table, query)


def _names(view: Selection) -> tuple[str, ...]:
    named = [name for column in view.columns for name in column.fields]
    return tuple(dict.fromkeys((*IDENTITY, *named, *HONESTY)))


def as_csv(view: Selection, *, chosen: bool = True) -> str:
    """The rows of the view in its order, with the columns that were chosen or with all.

    See table.py for the cells.
    """
    names = _names(view) if chosen else fields.names(view.table.species)
    return csv_text(view.rows, names, raw=view.table.raw_csv)


def as_json(view: Selection, *, chosen: bool = True) -> str:
    """The same values as JSON, without a newline at the end, by group.

    An object with `kind` ("swapbench.view"), `version` (1), `reference`, `data_simulated`, `machines` and
    `groups`. A row is a line; it holds the chosen columns under their names in the CSV skin, or all as in the
    JSON of the whole table.
    """
    named = {name: fields.field(name) for name in _names(view)}

    def values(row: Row) -> dict[str, Any]:
        if not chosen:
            return fields.json_row(row)
        return {name: fields.plain(value(row)) for name, value in named.items()}

    head = {
        "kind": "swapbench.view",
        "version": 1,
        "reference": view.table.reference,
        "data_simulated": view.data_simulated,
        "machines": list(dict.fromkeys(row.place for row in view.rows)),
    }
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    groups = [
        f'  {{"title": {encode(title)}, "rows": [\n'
        + ",\n".join(f"   {encode(values(row))}" for row in rows)
        + "\n  ]}"
        for title, rows in view.members
    ]
    members = [*(f' "{name}": {encode(value)}' for name, value in head.items()), ' "groups": [']
    return "{\n" + ",\n".join(members) + "\n" + ",\n".join(groups) + "\n ]\n}"
