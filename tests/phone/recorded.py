"""A report of a real phone (`swapbench doctor --bundle`) as what an emulated phone answers.

Its programs print what the phone printed, its files below /sys hold what stood there, but for the cores,
which stay those of this machine, so that pinning is real. The properties still say that it is emulated.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

TRACE = "perfetto --txt -c - -o"
CORES = "/sys/devices/system/cpu/"


@dataclass(frozen=True)
class Said:
    """What a program printed."""

    text: str
    errors: str
    status: int


@dataclass(frozen=True)
class Recorded:
    """What a phone answered: properties, programs by their command line, and files."""

    properties: dict[str, str]
    said: dict[str, Said]
    begins: dict[str, Said]
    files: dict[str, str]

    def answer(self, words: str) -> Said | None:
        """What the program printed, if it was asked."""
        if words in self.said:
            return self.said[words]
        return next(
            (said for start, said in self.begins.items() if f"{words} ".startswith(f"{start} ")), None
        )


def read_recorded(path: Path) -> Recorded:
    """Reads a report; raises ValueError or KeyError where it is none."""
    with zipfile.ZipFile(path) as packed:
        texts = {name: packed.read(name).decode() for name in packed.namelist()}
    index: dict[str, Any] = json.loads(texts["report.json"])
    lines = (line[1:-1].split("]: [", 1) for line in texts["properties.txt"].splitlines())
    said: dict[str, Said] = {}
    begins: dict[str, Said] = {}
    for answer in index["answers"]:
        kept = begins if answer["begins"] else said
        kept[answer["words"]] = Said(texts[answer["file"]], answer["errors"], answer["status"])
    files = {
        name.removeprefix("files"): text
        for name, text in texts.items()
        if name.startswith("files/sys/") and not name.startswith(f"files{CORES}") and ".." not in name
    }
    return Recorded({line[0]: line[1] for line in lines if len(line) == 2}, said, begins, files)
