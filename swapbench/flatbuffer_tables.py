"""Tables of a flatbuffer by the places of their fields, for formats that no package here has classes for.

Every reference is checked against the content, and how much is read is bounded by its size: a file may name
one part many times, so that a few kilobytes would unpack to gigabytes. See https://flatbuffers.dev/internals
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_VALUES: Final = 10_000
"""How many tables and numbers are read of a small content; of a larger one, as many as it has bytes."""
_OFFSET: Final = "I"
_VTABLE_HEAD: Final = 4
"""Bytes of a table's list of fields that are not fields: its own size, and that of the table."""


@dataclass
class _Source:
    content: memoryview
    values: int = 0

    def spend(self, values: int) -> int:
        self.values += values
        if self.values > max(MOST_VALUES, len(self.content)):
            raise ValueError("it names its parts far more often than a file of its size can need")
        return values

    def number(self, kind: str, place: int) -> int | float:
        size = struct.calcsize(f"<{kind}")
        if not 0 <= place <= len(self.content) - size:
            raise ValueError("something in it points outside the file")
        found: int | float = struct.unpack_from(f"<{kind}", self.content, place)[0]
        return found

    def whole(self, kind: str, place: int) -> int:
        return int(self.number(kind, place))

    def followed(self, place: int) -> int:
        return place + self.whole(_OFFSET, place)


@dataclass(frozen=True)
class Table:
    """A table; a field is named by its place in the schema, where a union takes two.

    Every method raises ValueError for a reference that leaves the content.
    """

    _source: _Source = field(repr=False)
    _place: int

    def whole(self, number: int, kind: str, default: int = 0) -> int:
        """An integer of a kind in the words of `struct`."""
        place = self._field(number)
        return default if place is None else self._source.whole(kind, place)

    def real(self, number: int) -> float:
        """A number in single precision."""
        place = self._field(number)
        return 0.0 if place is None else float(self._source.number("f", place))

    def text(self, number: int) -> str:
        """A text; "" where there is none."""
        return bytes(self.data(number)).decode(errors="replace")

    def data(self, number: int) -> memoryview:
        """The bytes of a vector or a text, not copied; empty where there is none."""
        begin, count = self._vector(number, 1)
        return self._source.content[begin : begin + count]

    def wholes(self, number: int, kind: str) -> tuple[int, ...]:
        """The integers of a vector."""
        size = struct.calcsize(f"<{kind}")
        begin, count = self._vector(number, size)
        self._source.spend(count)
        found: tuple[int, ...] = struct.unpack_from(f"<{count}{kind}", self._source.content, begin)
        return found

    def table(self, number: int) -> Table | None:
        """A table inside this one."""
        place = self._field(number)
        return None if place is None else self._at(self._source.followed(place))

    def union(self, number: int) -> tuple[int, Table | None]:
        """Which table of a union it is, counted from 1, and the table; 0 and None for none."""
        found = self.table(number + 1)
        kind = self.whole(number, "B")
        return (kind, found) if found is not None and kind else (0, None)

    def tables(self, number: int) -> tuple[Table, ...]:
        """The tables of a vector."""
        return tuple(self._tables(number))

    def _tables(self, number: int) -> Iterator[Table]:
        begin, count = self._vector(number, 4)
        for place in range(begin, begin + 4 * count, 4):
            yield self._at(self._source.followed(place))

    def _at(self, place: int) -> Table:
        self._source.spend(1)
        return Table(self._source, place)

    def _field(self, number: int) -> int | None:
        """Where the value of a field lies; None where the table has none."""
        listed = self._place - self._source.whole("i", self._place)
        entry = _VTABLE_HEAD + 2 * number
        if entry >= self._source.whole("H", listed):
            return None
        offset = self._source.whole("H", listed + entry)
        return self._place + offset if offset else None

    def _vector(self, number: int, size: int) -> tuple[int, int]:
        """Where a vector begins, and how many elements of a size it has."""
        place = self._field(number)
        if place is None:
            return 0, 0
        begin = self._source.followed(place)
        count = self._source.whole(_OFFSET, begin)
        if begin + 4 + count * size > len(self._source.content):
            raise ValueError("something in it points outside the file")
        return begin + 4, count


def root(content: bytes | memoryview) -> Table:
    """The outermost table of a flatbuffer."""
    source = _Source(memoryview(content))
    return Table(source, source.followed(0))
