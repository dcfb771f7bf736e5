"""The Markdown skin of a view.

Legible in a terminal (columns are padded) and on a forge (everything is escaped).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING

from swapbench.report.tables.column import DAGGER
from swapbench.report.tables.view import NOT_MEASURED, plain_cell, superscript
from swapbench.texts import spaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swapbench.report.tables.view import Line, View


def as_markdown(view: View) -> str:
    """The view as Markdown with its notes; best in bold."""
    simulated = view.remarks[:1] if view.data_simulated else ()
    parts = [f"**{escaped(text)}**" for text in simulated]
    parts += grids(view)
    parts.append(" ".join(escaped(text) for text in (view.caption, *view.remarks[len(simulated) :])))
    notes = [f"- {escaped(text)}" for text in footnotes(view)]
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts) + "\n"


def grids(view: View) -> Iterator[str]:
    """A Markdown table for each group of a view, below its title."""
    left = [not column.numeric for column in view.columns]
    header = [escaped(column.heading) for column in view.columns]
    for group in view.groups:
        lines = [header]
        for line in group.lines:
            texts = map(escaped, plain_line(line, view))
            lines.append(
                [_bold(text) if cell.best else text for text, cell in zip(texts, line.cells, strict=True)]
            )
        if group.title:
            yield f"**{escaped(group.title)}**"
        yield aligned(lines, left)


def plain_line(line: Line, view: View) -> list[str]:
    """The cells of a line as plain text; the one that names the row carries the dagger."""
    texts = [plain_cell(cell, column) for cell, column in zip(line.cells, view.columns, strict=True)]
    if line.doubtful:
        texts[view.naming] += f" {DAGGER}"
    return texts


def footnotes(view: View) -> list[str]:
    """What the marks of plain text mean: '† ...' and 'n/a¹ ...'."""
    return [
        *(f"{DAGGER} {text}" for text in view.doubts),
        *absences(view),
    ]


def absences(view: View) -> list[str]:
    """Why numbers are missing: 'n/a¹ ...'."""
    return [f"{NOT_MEASURED}{superscript(number)} {text}" for number, text in enumerate(view.notes, 1)]


def _bold(text: str) -> str:
    """The number in bold, what stands beside it not."""
    digits, _, aside = text.partition(" ")
    return f"**{digits}** {aside}".rstrip()


_TEXT_HEADINGS = frozenset({"Model", "File"})
_NARROW = re.compile(r"[ -~†±×µ–]*")


@functools.lru_cache(maxsize=2**16)  # a name stands in every section
def escaped(text: str) -> str:
    """`text` so that Markdown (also in a table cell) shows it as it is.

    What steers a terminal becomes spaces: line breaks, control characters, bidirectional marks.
    """
    text = spaced(text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    text = re.sub(r"<(?=[\w/!?])", "&lt;", text)
    text = re.sub(r"([\\`*|~$])", r"\\\1", text)
    # Without a closing bracket no link can form; other brackets are intervals and stay legible.
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)
    # An underscore inside a word is no emphasis; leaving it alone keeps file names legible in a terminal.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned as plain text too.

    Text to the left, numbers to the right.
    """
    lines = [[escaped(cell) for cell in line] for line in (header, *rows)]
    return aligned(lines, [heading in _TEXT_HEADINGS for heading in header])


def aligned(lines: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """A Markdown table of cells that are Markdown already.

    The first line is the heading, `left` says which columns are text.
    """
    widths = [max(3, *map(_width, column)) for column in zip(*lines, strict=True)]

    def line_of(line: Sequence[str]) -> str:
        padded = (
            cell + " " * (width - _width(cell)) if to_left else " " * (width - _width(cell)) + cell
            for cell, width, to_left in zip(line, widths, left, strict=True)
        )
        return "| " + " | ".join(padded) + " |"

    rule = (
        "-" * width if to_left else "-" * (width - 1) + ":"
        for width, to_left in zip(widths, left, strict=True)
    )
    return "\n".join([line_of(lines[0]), "| " + " | ".join(rule) + " |", *map(line_of, lines[1:])])


def _width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if _NARROW.fullmatch(text):
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
