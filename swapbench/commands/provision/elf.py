"""For which page sizes a program or library is built: the alignment of its segments, from its ELF header."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_HEADER: Final = struct.Struct("<4sBB58x")
_TABLE: Final = struct.Struct("<Q14xHH")
"""At 32: where the program headers lie; at 54: the size of one and how many there are (elf(5), 64 bits)."""
_TABLE_AT: Final = 32
_SEGMENT: Final = struct.Struct("<I44xQ")
"""Its type, and at 48 its alignment."""
_LOADED: Final = 1
_MOST_SEGMENTS: Final = 256


def least_alignment(path: Path) -> int | None:
    """The least alignment of the segments that are loaded, in bytes: no larger page can hold them.

    Returns:
        None for a file that is not a 64-bit little-endian ELF file, or not all of it.
    """
    with path.open("rb") as file:
        try:
            magic, bits, order = _HEADER.unpack(file.read(_HEADER.size))
            if (magic, bits, order) != (b"\x7fELF", 2, 1):
                return None
            file.seek(_TABLE_AT)
            table, size, count = _TABLE.unpack(file.read(_TABLE.size))
            alignments = []
            for number in range(min(count, _MOST_SEGMENTS)):
                file.seek(table + number * size)
                kind, alignment = _SEGMENT.unpack(file.read(_SEGMENT.size))
                if kind == _LOADED:
                    alignments.append(alignment)
        except (struct.error, OSError, ValueError, OverflowError):
            return None
    return min(alignments, default=None)
