"""The skins of a chosen table: Markdown, CSV, JSON and terminal here, LaTeX and HTML beside. All are pure functions of a `View`.

CSV and JSON hold what the whole table's skins hold, under the same names and unrounded: of each chosen column its number and its
interval, and whatever the columns are, what must not be lost: the label, the groups, whether data are simulated, doubts, what
is missing. Where no column was named they hold all.
"""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from swapbench.errors import UnknownName
from swapbench.report.tables import fields, html, latex, markdown
from swapbench.report.tables import table as table_skins
from swapbench.report.tables.markdown import aligned, escaped
from swapbench.report.tables.table import ROWS_AT_MOST, csv_text
from swapbench.report.tables.view import DAGGER, NOT_MEASURED, Group, plain_cell, superscript, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table as RichTable

    from swapbench.report.rows.summary import Row
    from swapbench.report.tables.table import Table
    from swapbench.report.tables.view import Line, Query, View

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "json": "json", "html": "html"}
"""The skins that are text, and what their files end in."""
_WHOLE: dict[str, Callable[[Table], str]] = {
    "markdown": markdown.as_markdown,
    "csv": table_skins.as_csv,
    "json": lambda table: table_skins.as_json(table) + "\n",
}
_HEADING_WIDTH = 11
_WIDE = 110
_IDENTITY = ("label",)
_HONESTY = ("data_simulated", "valid", "doubts", "missing")


def text_of(table: Table, query: Query, skin: str) -> str:
    """What was asked of a table, in one of SUFFIXES, with a newline at its end.

    Where nothing was asked, what a report writes: Markdown is then the whole report, CSV and JSON hold all columns.
    """
    if not query and skin in _WHOLE:
        return _WHOLE[skin](table)
    view, chosen = view_of(table, query), bool(query.columns)
    match skin:
        case "markdown":
            return as_markdown(view)
        case "latex":
            return latex.as_latex(view)
        case "html":
            return html.as_html(view)
        case "csv":
            return as_csv(view, chosen=chosen)
        case "json":
            return as_json(view, chosen=chosen) + "\n"
        case _:
            raise UnknownName("format", skin, SUFFIXES)


def as_markdown(view: View) -> str:
    """The view as a Markdown table with its notes; best in bold."""
    left = [not one.numeric for one in view.columns]
    header = [escaped(one.heading) for one in view.columns]
    parts = [f"**{escaped(view.remarks[0])}**"] if view.data_simulated else []
    for group in view.groups:
        lines = [header]
        for line in group.lines:
            texts = map(escaped, _plain_line(line, view))
            lines.append(
                [_bold(text) if cell.best else text for text, cell in zip(texts, line.cells, strict=True)]
            )
        if group.title:
            parts.append(f"**{escaped(group.title)}**")
        parts.append(aligned(lines, left))
    parts.append(
        " ".join(escaped(text) for text in (view.caption, *view.remarks[1 if view.data_simulated else 0 :]))
    )
    notes = [f"- {escaped(text)}" for text in footnotes(view)]
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts) + "\n"


def _bold(text: str) -> str:
    """The number in bold, what stands beside it not."""
    digits, _, aside = text.partition(" ")
    return f"**{digits}** {aside}".rstrip()


def footnotes(view: View) -> list[str]:
    """What the marks of plain text mean: '† ...' and 'n/a¹ ...'."""
    return [
        *(f"{DAGGER} {text}" for text in view.doubts),
        *(f"{NOT_MEASURED}{superscript(number)} {text}" for number, text in enumerate(view.notes, 1)),
    ]


def _names(view: View) -> tuple[str, ...]:
    named = [name for one in view.columns for name in one.fields]
    return tuple(dict.fromkeys((*_IDENTITY, *named, *_HONESTY)))


def as_csv(view: View, *, chosen: bool = True) -> str:
    """The rows of the view in its order, with the columns that were chosen or with all; see table.py for the cells."""
    return csv_text(view.rows, _names(view) if chosen else fields.names(view.table.species))


def as_json(view: View, *, chosen: bool = True) -> str:
    """The same values as JSON, without a newline at the end; groups, in their order, each with its title and rows.

    An object with `kind` ("swapbench.view"), `version` (1), `reference`, `data_simulated`, `machines` and `groups`. A row is
    a line; it holds the chosen columns under their names in the CSV skin, or all as in the JSON of the whole table.
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
        f'  {{"title": {encode(group.title)}, "rows": [\n'
        + ",\n".join(f"   {encode(values(line.row))}" for line in group.lines)
        + "\n  ]}"
        for group in view.groups
    ]
    members = [*(f' "{name}": {encode(value)}' for name, value in head.items()), ' "groups": [']
    return "{\n" + ",\n".join(members) + "\n" + ",\n".join(groups) + "\n ]\n}"


def as_rich(view: View) -> RichTable:
    """The view for a terminal; best in bold, groups apart. Where it is wide, intervals stand below their numbers."""
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
    texts = {id(line): _plain_line(line, view) for group in groups for line in group.lines}
    columns = list(zip(*texts.values(), strict=True))
    below = sum(max(map(len, column)) + 1 for column in columns) > _WIDE
    for one in view.columns:
        title = textwrap.wrap(one.title, _HEADING_WIDTH) if below else [one.title]
        drawn.add_column(
            Text("\n".join([*title, one.unit] if one.unit else title)),
            justify="right" if one.numeric else "left",
            overflow="fold",
            vertical="bottom",
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


def _plain_line(line: Line, view: View) -> list[str]:
    texts = [plain_cell(cell, one) for cell, one in zip(line.cells, view.columns, strict=True)]
    if line.doubtful:
        texts[view.naming] += f" {DAGGER}"
    return texts
