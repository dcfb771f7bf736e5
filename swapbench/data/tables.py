"""Tables in text files as columns: their encoding, separator and header, and where each row stands.

They are read as spreadsheets and scripts write them. What columns mean is the matter of who asks.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from swapbench.errors import BadDataset
from swapbench.files import LARGEST_TEXT_BYTES, opened

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Text = NDArray[np.object_]
    Row = tuple[int, list[str]]
    """The line on which a row ends, and its fields."""

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""First bytes of what spreadsheets call Unicode text."""

_SEPARATORS = "\t;|,"
"""In the order in which they are taken where a line has as many of one as of another."""

_NAMED_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""A spreadsheet's own first line, which says what separates the fields below it."""

_SEPARATOR_NAMES = {",": "a comma", ";": "a semicolon", "|": "a bar", "\t": "a tab", " ": "a space"}
_DIGITS = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"(?:[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[+-]?\d+)?\s*%?|[+-]?nan)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class TextTable:
    """The rows of a file as they stand, without blank lines and comments.

    Attributes:
        path: the file
        header: names of the columns; their numbers from 1 where the file has none
        headless: True where the file has no header
        separator: what stands between fields
        columns: one for each name, [rows]
        lines: the line in the file on which each row ends, [rows]
    """

    path: Path
    header: tuple[str, ...]
    headless: bool
    separator: str
    columns: tuple[Text, ...]
    lines: tuple[int, ...]

    def column(self, name: str) -> Text:
        """The column of a name; BadDataset where several have it."""
        if self.header.count(name) > 1:
            raise BadDataset(
                f"{self.path} has {self.header.count(name)} columns named {name!r}",
                remedy="Give each a name of its own.",
            )
        return self.columns[self.header.index(name)]

    def refuse(self, row: int, complaint: str, remedy: str) -> NoReturn:
        """Raise BadDataset with the line of a row."""
        raise BadDataset(f"{self.path} line {self.lines[row]}: {complaint}", remedy=remedy)


def decoded(path: Path) -> str:
    r"""The text of a file, unpacked where its name ends in .gz, with \n between its lines.

    Raises:
        BadDataset: it is not text
        OSError: it cannot be read; EOFError or zlib.error where it cannot be unpacked
    """
    with opened(path, LARGEST_TEXT_BYTES) as file, gzip.open(file) if path.suffix == ".gz" else file as table:
        content = table.read(LARGEST_TEXT_BYTES + 1)
    if len(content) > LARGEST_TEXT_BYTES:
        raise BadDataset(f"{path} unpacks to more than {LARGEST_TEXT_BYTES / 1e6:g} MB")
    encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadDataset(
            f"cannot read {path}: line {line} is not text in UTF-8",
            remedy="Save the file as UTF-8.",
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class TextLines:
    """The lines of a table.

    Attributes:
        path: the file
        all_lines: every line of the file, without its end
        first: how many lines stand above the first row, comments and blank ones
        separator: what stands between fields
    """

    path: Path
    all_lines: tuple[str, ...]
    first: int
    separator: str

    @classmethod
    def of(cls, path: Path) -> TextLines:
        """The lines of a file; BadDataset where there is no row, and as `decoded`."""
        lines = decoded(path).split("\n")
        of_rows = (place for place, line in enumerate(lines) if line.strip() and line[0] != "#")
        first = next(of_rows, None)
        named = None if first is None else _NAMED_SEPARATOR.fullmatch(lines[first].strip(" "))
        if named:
            first = next(of_rows, None)
        if first is None:
            raise BadDataset(f"{path} is empty", remedy="Name a file with a header and rows.")
        return cls(path, tuple(lines), first, named[1] if named else separator_of(lines[first]))

    def lines(self) -> Iterator[str]:
        """The lines from the first row on, each with its end."""
        return (f"{line}\n" for line in self.all_lines[self.first :])


def read_table(path: Path, known_names: Container[str], own_names: Container[str]) -> TextTable:
    """The rows of a file separated by commas, semicolons, tabs or spaces.

    A row whose number of fields is not the header's is refused with its line. Empty fields behind the last
    column, as spreadsheets write them, count for nothing.

    Args:
        path: the file, plain or .gz
        known_names: names of columns as `column_name` gives them, which tell a header from data
        own_names: our own files have no other columns; their fields are taken with their spaces

    Raises:
        BadDataset: the file is empty or is not text, or a row does not fit the header
        OSError: as `decoded`
    """
    text = TextLines.of(path)
    ours = all(name.strip('"') in own_names for name in next(text.lines()).strip().split(text.separator))
    rows = _rows(text, spaces=ours)
    first = next(rows, None)
    if first is None:
        raise BadDataset(f"{path} is empty", remedy="Name a file with a header and rows.")
    header = [name.strip() for name in first[1]]
    headless = _is_data(header, known_names)
    if headless:
        rows = itertools.chain([first], rows)
        above = _commented_header(text, len(header), known_names)
        header, headless = above or [str(number + 1) for number in range(len(header))], above is None
    fields: list[str] = []  # of all rows, one behind the other: millions of short lists would take minutes
    lines: list[int] = []
    for row in rows:
        if len(row[1]) == len(header):
            lines.append(row[0])
            fields += row[1]
        elif not row[1][0].startswith("#"):
            _refuse_width(path, row, first, text.separator)
    columns = (fields[place :: len(header)] for place in range(len(header)))
    return TextTable(
        path,
        tuple(header),
        headless,
        text.separator,
        tuple(np.array(column, dtype=np.object_) for column in columns),
        tuple(lines),
    )


def column_name(text: str) -> str:
    """The name of a column in the spelling by which names are recognised."""
    return text.strip().lower().replace(" ", "_").replace("-", "_")


def separator_of(line: str) -> str:
    """What separates the fields of a line: what it has most of, a space where it has none of the others."""
    separator = max(_SEPARATORS, key=line.count)
    return separator if separator in line else " "


def _rows(text: TextLines, *, spaces: bool) -> Iterator[Row]:
    """Every row with a field that is not blank, without empty fields at its end that belong to no column."""
    reader = csv.reader(
        text.lines(), delimiter=text.separator, skipinitialspace=not spaces or text.separator == " "
    )
    columns = 0
    try:
        for fields in reader:
            if not fields or not (fields[-1].strip() or "".join(fields).strip()):
                continue
            while len(fields) > columns and not fields[-1].strip():
                fields.pop()
            columns = columns or len(fields)
            yield text.first + reader.line_num, fields
    except csv.Error as error:
        raise BadDataset(
            f"{text.path} line {text.first + reader.line_num}: a field is too long",
            remedy="Is a quotation mark left open further up?",
        ) from error


def _is_data(first_row: Sequence[str], known_names: Container[str]) -> bool:
    """True for a first row that holds numbers in place of names.

    Numbers are names where they count the columns from 0, as pandas writes them, and beside two known names.
    """
    counts_columns = len(first_row) > 2 and [*first_row] == [str(number) for number in range(len(first_row))]
    known = sum(column_name(field) in known_names for field in first_row)
    return any(map(_NUMBER.fullmatch, first_row)) and not counts_columns and known < 2


def _commented_header(text: TextLines, columns: int, known_names: Container[str]) -> list[str] | None:
    """The names in the last comment above the rows, where NumPy writes them; None where there are none."""
    above = reversed(text.all_lines[: text.first])
    comment = next((line.lstrip("# ") for line in above if line.startswith("#")), "")
    names = [name.strip() for name in next(csv.reader([comment], delimiter=text.separator), [])]
    return (
        names if len(names) == columns and any(column_name(name) in known_names for name in names) else None
    )


def _refuse_width(path: Path, row: Row, first: Row, separator: str) -> NoReturn:
    """Raise BadDataset about a row with more or fewer fields than the first one, with the likely cause."""
    line, fields = row
    complaint = f"{path} line {line}: {len(fields)} fields, where line {first[0]} has {len(first[1])}"
    if len(fields) < len(first[1]):
        raise BadDataset(complaint, remedy="Was the file cut short, or is a quotation mark left open?")
    if separator == "," and all(map(_DIGITS.fullmatch, fields[-2:])):
        remedy = f"{','.join(fields[-2:])} looks like a decimal comma: separate the fields by semicolons."
    else:
        remedy = (
            f"Give the column of {fields[-1].strip()[:40]!r} a name, or quote the field that holds"
            f" {_SEPARATOR_NAMES.get(separator, repr(separator))}."
        )
    raise BadDataset(complaint, remedy=remedy)
