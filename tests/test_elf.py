"""The alignment of ELF files, whose bytes are put together by hand from elf(5)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from swapbench.commands.provision.elf import least_alignment

if TYPE_CHECKING:
    from pathlib import Path

LOADED, DYNAMIC = 1, 2


def elf(*segments: tuple[int, int], magic: bytes = b"\x7fELF\x02\x01") -> bytes:
    """A header of 64 bytes and a program header of 56 bytes for each (type, alignment)."""
    header = magic.ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHH", 3, 183, 1, 0, 64, 0, 0, 64, 56, len(segments)
    )
    table = b"".join(
        struct.pack("<IIQQQQQQ", kind, 5, 0, 0, 0, 0, 0, alignment) for kind, alignment in segments
    )
    return header.ljust(64, b"\0") + table


@pytest.mark.parametrize(
    ("content", "alignment"),
    [
        (elf((LOADED, 0x4000), (LOADED, 0x4000)), 16_384),
        (elf((LOADED, 0x4000), (LOADED, 0x1000), (DYNAMIC, 8)), 4_096),
        (elf((DYNAMIC, 8)), None),
        (elf((LOADED, 0x4000))[:-1], None),
        (elf((LOADED, 0x4000), magic=b"\x7fELF\x01\x01"), None),  # 32 bits
        (elf((LOADED, 0x4000), magic=b"\x7fELF\x02\x02"), None),  # big-endian
        (b"#!/bin/sh\n", None),
        (b"", None),
        (elf()[:32] + b"\xff" * 32, None),  # a table beyond the end of any file
    ],
    ids=["16 kB", "4 kB", "none", "cut off", "32 bits", "big-endian", "script", "empty", "far away"],
)
def test_the_least_alignment_of_what_is_loaded(tmp_path: Path, content: bytes, alignment: int | None) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(content)
    assert least_alignment(path) == alignment
