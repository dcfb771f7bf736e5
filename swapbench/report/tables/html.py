"""The HTML skin of a view: a plain document with one table, its caption and its notes.

No script, nothing from elsewhere.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from swapbench.report.tables.column import DAGGER
from swapbench.texts import spaced

if TYPE_CHECKING:
    from swapbench.report.tables.column import Cell, Column
    from swapbench.report.tables.view import Group, Line, View

_STYLE = """\
:root { color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5em; }
th, td { padding: .15em .7em; text-align: right; white-space: nowrap; }
th { font-weight: normal; }
thead th { border-bottom: 1px solid; vertical-align: bottom; white-space: normal; }
tbody + tbody th[scope=rowgroup] { padding-top: .8em; }
.text { text-align: left; }
.aside { opacity: .75; font-size: smaller; }"""


def as_html(view: View) -> str:
    """The view as a document of its own."""
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        "<title>swapbench table</title>",
        f"<style>\n{_STYLE}\n</style>",
        "</head>",
        "<body>",
        as_fragment(view),
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def as_fragment(view: View) -> str:
    """The table of the view with its notes, to stand in any other document: a notebook, for one."""
    header = "".join(
        f'<th scope="col"{_kind(column)}>{_escaped(column.heading)}</th>' for column in view.columns
    )
    remarks = list(view.remarks)
    notice = f"<strong>{_escaped(remarks.pop(0))}</strong> " if view.data_simulated else ""
    lines = [
        "<table>",
        f"<caption>{notice}{_escaped(view.caption)}</caption>",
        f"<thead>\n<tr>{header}</tr>\n</thead>",
        *(_group(group, view) for group in view.groups),
        "</table>",
    ]
    if remarks:
        lines.append(f"<p>{' '.join(map(_escaped, remarks))}</p>")
    lines += [f"<p>{DAGGER} {_escaped(text)}</p>" for text in view.doubts]
    if view.notes:
        items = "\n".join(
            f'<li id="note-{number}">{_escaped(text)}</li>' for number, text in enumerate(view.notes, 1)
        )
        lines.append(f"<p>Why a number is missing:</p>\n<ol>\n{items}\n</ol>")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Text as it is, in an element or an attribute; controls and bidirectional marks become spaces."""
    return escape(spaced(text))


def _kind(column: Column) -> str:
    return "" if column.numeric else ' class="text"'


def _group(group: Group, view: View) -> str:
    lines = ["<tbody>"]
    if group.title:
        lines.append(
            f'<tr><th scope="rowgroup" class="text" colspan="{len(view.columns)}">'
            f"<em>{_escaped(group.title)}</em></th></tr>"
        )
    lines += [_line(line, view) for line in group.lines]
    return "\n".join([*lines, "</tbody>"])


def _line(line: Line, view: View) -> str:
    cells = []
    for place, (cell, column) in enumerate(zip(line.cells, view.columns, strict=True)):
        if place == view.naming:
            dagger = f" {DAGGER}" if line.doubtful else ""
            cells.append(f'<th scope="row" class="text">{_escaped(cell.text)}{dagger}</th>')
        else:
            cells.append(f"<td{_kind(column)}>{_cell(cell, column)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _cell(cell: Cell, column: Column) -> str:
    if not cell.digits:
        mark = f'<sup><a href="#note-{cell.note}">{cell.note}</a></sup>' if cell.note else ""
        return _escaped(cell.text) + mark
    digits = f"{cell.digits}{column.sign}"
    shown = f"<strong>{digits}</strong>" if cell.best else digits
    return f'{shown} <span class="aside">{_escaped(cell.aside)}</span>' if cell.aside else shown
