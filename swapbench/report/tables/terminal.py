"""The skin of a view for a terminal of any width: numbers are never cut, columns that find no room are named.

Room is found in this order: intervals go below their numbers, long names are folded, columns are left out,
the last first. Doubts are counted; whoever asks gets all of them.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from swapbench.report.tables.column import DAGGER
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.markdown import absences, plain_line
from swapbench.report.tables.table import table_of
from swapbench.report.tables.view import Group, Query, view_of, without_threshold
from swapbench.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table as RichTable

    from swapbench.records import Record
    from swapbench.report.tables.column import Column
    from swapbench.report.tables.doubts import DoubtKind
    from swapbench.report.tables.table import Table
    from swapbench.report.tables.view import Line, View

ROWS_AT_MOST = 500
"""So many rows a terminal shows; nobody reads more there, and drawing them takes seconds."""
_HEADING = 8
"""Letters of a line of a heading, where no number of its column is wider."""
_NAME = 20
"""Names are folded to no fewer letters while another column could be left out instead."""
_BETWEEN = 2


@dataclass(frozen=True)
class _Layout:
    """How the columns of a view stand on a terminal.

    Attributes:
        widths: of each column that is shown, by its place in the view.
        heads: the heading of each.
        below: whether intervals stand below their numbers.
    """

    widths: Mapping[int, int]
    heads: Mapping[int, str]
    below: bool


class Hints(NamedTuple):
    """Where a reader finds what a terminal leaves out: columns without room, and doubts in full."""

    columns: str = "They are in swapbench report --columns NAMES and in --format markdown."
    doubts: str = "swapbench report --doubts"


HINTS = Hints()
"""Of the table of a run, which a report shows in other ways."""


@dataclass(frozen=True)
class TerminalTable:
    """A view that rich prints as the width of its console allows; best in bold, groups apart.

    Attributes:
        view: what is shown.
        every_doubt: whether doubts are said in full; otherwise their kinds are counted.
        hints: where the rest is.
    """

    view: View
    every_doubt: bool = False
    hints: Hints = HINTS

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """What rich prints: the table, and below it what its reader must know."""
        from rich.text import Text

        yield self.table(options.max_width)
        yield Text(self.caption(options.max_width))

    def table(self, width: int) -> RichTable:
        """The columns that have room in a width, without the caption."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        groups = _first_rows(self.view.groups)
        layout = _layout(self.view, groups, width)
        for place, wide in layout.widths.items():
            numeric = self.view.columns[place].numeric
            drawn.add_column(
                Text(layout.heads[place]),
                justify="right" if numeric else "left",
                overflow="fold",
                no_wrap=numeric,
                vertical="bottom",
                width=wide,
            )
        for group in groups:
            if group.title:
                drawn.add_row(Text(visible(group.title).replace(" · ", "\n"), style="italic"))
            for line in group.lines:
                cells = _texts(line, self.view, below=layout.below)
                cells[self.view.naming] = _folded(cells[self.view.naming], layout.widths[self.view.naming])
                styles = ["bold" if cell.best else "" for cell in line.cells]
                drawn.add_row(*(Text(cells[place], styles[place]) for place in layout.widths))
            drawn.add_section()
        return drawn

    def caption(self, width: int) -> str:
        """What a reader must know of the table in that width, a sentence or a mark a line."""
        layout = _layout(self.view, _first_rows(self.view.groups), width)
        lines = self._caption(layout, width)
        return "\n".join(map(visible, lines))

    def _caption(self, layout: _Layout, width: int) -> Iterator[str]:
        view = self.view
        dropped = [column for place, column in enumerate(view.columns) if place not in layout.widths]
        if dropped:
            names = ", ".join(column.name for column in dropped)
            yield f"No room at {width} columns: {names}. {self.hints.columns}"
        more = sum(len(group.lines) for group in view.groups) - ROWS_AT_MOST
        if more > 0:
            yield f"{more} more rows are in every other format."
        yield from view.remarks
        for kind in view.doubt_kinds:
            yield f"{DAGGER} {kind.count}"
            if self.every_doubt:
                yield from _in_full(kind)
        if view.doubt_kinds and not self.every_doubt:
            yield f"{DAGGER} What each says and what helps: {self.hints.doubts}"
        yield from absences(view)


def _first_rows(groups: Sequence[Group]) -> list[Group]:
    first, room = [], ROWS_AT_MOST
    for group in groups:
        first.append(Group(group.title, group.lines[:room]))
        room -= len(first[-1].lines)
    return [group for group in first if group.lines]


# ---- Room ----


def _layout(view: View, groups: Sequence[Group], width: int) -> _Layout:
    """The first way to set the columns that fits; the one that names the rows always stays."""
    every = range(len(view.columns))
    for below in (False, True):
        texts = [_texts(line, view, below=below) for group in groups for line in group.lines]
        numbers = {place: _width([line[place] for line in texts]) for place in every}
        heads = {place: _heading(view.columns[place], numbers[place] if below else None) for place in every}
        widths = {place: max(numbers[place], _width([heads[place]])) for place in every}
        if _total(widths.values()) <= width:
            return _Layout(widths, heads, below)
    name, least = view.naming, min(widths[view.naming], _NAME)
    others = [place for place in every if place != name]
    while others and _total([least, *(widths[place] for place in others)]) > width:
        others.pop()
    room = width - _total([0, *(widths[place] for place in others)])
    widths[name] = max(1, min(widths[name], room))
    return _Layout({place: widths[place] for place in sorted([name, *others])}, heads, below=True)


def _total(widths: Iterable[int]) -> int:
    every = list(widths)
    return sum(every) + _BETWEEN * (len(every) - 1)


def _width(texts: Iterable[str]) -> int:
    from rich.cells import cell_len

    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _texts(line: Line, view: View, *, below: bool) -> list[str]:
    """The cells of a line; if `below`, a number and what stands beside it are two lines."""
    return [
        text.replace(" ", "\n", 1) if below and cell.aside else text
        for text, cell in zip(map(visible, plain_line(line, view)), line.cells, strict=True)
    ]


def _folded(name: str, width: int) -> str:
    """A name on lines that end, where that is possible, at its dots, strokes and spaces."""
    from rich.cells import cell_len

    lines = [""]
    for part in re.findall(r"[^._/ -]*[._/ -]|[^._/ -]+", name):
        if lines[-1] and cell_len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _heading(column: Column, width: int | None) -> str:
    """The title and its unit, on lines hardly wider than the numbers below where a width is given."""
    title = (
        [column.title]
        if width is None
        else textwrap.wrap(column.title, max(_HEADING, width), break_long_words=False)
    )
    return "\n".join([*title, column.unit] if column.unit else title)


# ---- Words ----


def _in_full(kind: DoubtKind) -> Iterator[str]:
    for message, labels in kind.messages.items():
        whose = "all rows" if len(labels) == kind.rows else ", ".join(labels)
        yield f"    {whose}: {message}"
    yield from (f"    What helps: {remedy}" for remedy in kind.remedies)


# ---- The usual table ----


_USUAL = ("latency_p50", "latency_p90", "file_bytes", "peak_memory", "acer", "speed_up")
_WHERE_MEASURED = ("paced_p50", "paced_missed", "device_flips", "energy")


def usual_view(table: Table) -> View:
    """What a person looks at first; the files of a report hold the rest."""
    names = without_threshold(_USUAL, table.rows)
    measured = (
        name for name in _WHERE_MEASURED if any(COLUMNS[name].value(row) is not None for row in table.rows)
    )
    return view_of(replace(table, reference_was_asked=False), Query((*names, *measured)))


def terminal_table(
    records: Sequence[Record], relative_to: str | None = None, *, every_doubt: bool = False
) -> TerminalTable:
    """The usual columns of some records for a terminal; raises what table_of raises."""
    return TerminalTable(usual_view(table_of(records, relative_to)), every_doubt)
