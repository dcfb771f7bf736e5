"""The skins of a chosen table: CSV, JSON and terminal here, Markdown, LaTeX and HTML beside.

CSV and JSON hold what the whole table's skins hold, under the same names and unrounded: of each chosen column
its number and its interval, and whatever the columns are, what must not be lost: the label, the groups,
whether data are simulated, doubts, what is missing. Where no column was named they hold all.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from swapbench.errors import UnknownName
from swapbench.report.tables import fields, html, latex, markdown, sections
from swapbench.report.tables import table as table_skins
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.markdown import footnotes, plain_line
from swapbench.report.tables.table import csv_text, table_of
from swapbench.report.tables.view import Group, Query, selection_of, view_of, without_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.table import Table as RichTable

    from swapbench.records import Record
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.table import Table
    from swapbench.report.tables.view import Selection, View


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
    "latex": Skin("tex", lambda table, query: latex.as_latex(view_of(table, query))),
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
ROWS_AT_MOST = 500
"""So many rows a terminal shows; nobody reads more there, and drawing them takes seconds."""
_HEADING_WIDTH, _NARROW_HEADING = 11, 8
_WIDE = 110
_NAME_WIDTH = 12
_IDENTITY = ("label",)
_HONESTY = ("data_simulated", "valid", "doubts", "missing")


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
    return tuple(dict.fromkeys((*_IDENTITY, *named, *_HONESTY)))


def as_csv(view: Selection, *, chosen: bool = True) -> str:
    """The rows of the view in its order, with the columns that were chosen or with all.

    See table.py for the cells.
    """
    return csv_text(view.rows, _names(view) if chosen else fields.names(view.table.species))


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


def as_rich(view: View, *, narrow: bool = False) -> RichTable:
    """The view for a terminal; best in bold, groups apart.

    Where it is wide or narrow is asked for, intervals stand below.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, caption_justify="left"
    )
    left_out = max(sum(len(group.lines) for group in view.groups) - ROWS_AT_MOST, 0)
    groups, room = [], ROWS_AT_MOST
    for group in view.groups:
        groups.append(Group(group.title, group.lines[:room]))
        room -= len(groups[-1].lines)
    groups = [group for group in groups if group.lines]
    texts = {id(line): plain_line(line, view) for group in groups for line in group.lines}
    columns = list(zip(*texts.values(), strict=True))
    below = narrow or sum(max(map(len, column)) + 1 for column in columns) > _WIDE
    for place, column in enumerate(view.columns):
        title = (
            textwrap.wrap(column.title, _NARROW_HEADING if narrow else _HEADING_WIDTH)
            if below
            else [column.title]
        )
        longest = max((len(line[place]) for line in texts.values()), default=0)
        drawn.add_column(
            Text("\n".join([*title, column.unit] if column.unit else title)),
            justify="right" if column.numeric else "left",
            overflow="fold",
            vertical="bottom",
            min_width=min(longest, _NAME_WIDTH) if narrow and place == view.naming else None,
        )
    for group in groups:
        if group.title:
            drawn.add_row(Text(group.title.replace(" · ", "\n"), style="italic"))
        for line in group.lines:
            drawn.add_row(
                *(
                    Text(
                        text.replace(" ", "\n", 1) if below and cell.aside else text,
                        style="bold" if cell.best else "",
                    )
                    for text, cell in zip(texts[id(line)], line.cells, strict=True)
                )
            )
        drawn.add_section()
    more = [f"{left_out} more rows are in every other format."] if left_out else []
    drawn.caption = Text("\n".join((*more, *view.remarks, *footnotes(view))))
    return drawn


_TERMINAL = ("latency_p50", "latency_p90", "file_bytes", "peak_memory", "acer", "speed_up")
_WHERE_MEASURED = ("paced_p50", "paced_missed", "device_flips", "energy")


def terminal_table(records: Sequence[Record], relative_to: str | None = None) -> RichTable:
    """The usual columns of some records for a terminal; raises what table_of raises."""
    return usual_table(table_of(records, relative_to))


def usual_table(table: Table) -> RichTable:
    """What a person looks at first, for a terminal; the files of a report hold the rest."""
    names = without_threshold(_TERMINAL, table.rows)
    measured = (
        name for name in _WHERE_MEASURED if any(COLUMNS[name].value(row) is not None for row in table.rows)
    )
    return as_rich(
        view_of(replace(table, reference_was_asked=False), Query((*names, *measured))), narrow=True
    )
