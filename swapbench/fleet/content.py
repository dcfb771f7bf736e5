"""Files by their content: each is kept once, under its digest, and is believed only if it still has it."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swapbench.errors import EnvironmentFailed
from swapbench.files import disk_failure, file_sha256, private_folder, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CHUNK_BYTES: Final = 4 << 20
"""So much of a file travels in one message."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEPT_DAYS: Final = 30


@dataclass
class Content:
    """A folder of files by digest."""

    folder: Path
    _open: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        private_folder(self.folder)

    def path(self, digest: str) -> Path:
        """Where a file lies, or would lie; ValueError for what is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is not a digest")
        return self.folder / digest

    def has(self, digest: str) -> bool:
        """Whether the file is here."""
        return self.path(digest).is_file()

    def lacks(self, digests: Iterable[str]) -> list[str]:
        """Those that are not here, each once."""
        return [digest for digest in dict.fromkeys(digests) if not self.has(digest)]

    def chunk(self, digest: str, offset: int) -> bytes:
        """A part of a file; FileNotFoundError where it is not here."""
        path = self.path(digest)
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(CHUNK_BYTES)
        if offset == 0:
            os.utime(path)
        return data

    def add(self, digest: str, sender: str, offset: int, data: bytes, *, last: bool) -> None:
        """Take the next part of a file; it gets its name with the last one, if its digest is right.

        Raises:
            ValueError: The parts are out of order, or are another file.
        """
        path = self.path(digest)
        if not sender.isalnum():
            raise ValueError(f"{sender!r} is not a sender")
        part = self.folder / f".{digest}.{sender}"
        with part.open("wb" if offset == 0 else "ab") as file:
            if file.tell() != offset:
                raise ValueError(f"a part of {digest[:12]} was lost")
            file.write(data)
        if not last:
            return
        if file_sha256(part) != digest:
            part.unlink()
            raise ValueError(f"{digest[:12]} arrived damaged")
        os.replace(part, path)

    def keep(self, path: Path) -> str:
        """Keep a copy of a file; returns its digest."""
        digest = file_sha256(path)
        if not self.has(digest):
            with whole_file(self.path(digest)) as file, path.open("rb") as source:
                shutil.copyfileobj(source, file)
        return digest

    def place(self, digest: str, target: Path) -> None:
        """Put a file where a command looks for it; EnvironmentFailed where it is damaged or cannot be put."""
        source = self.path(digest)
        try:
            if file_sha256(source) != digest:
                source.unlink()
                raise EnvironmentFailed(f"a kept file ({digest[:12]}) was damaged", remedy="Try again")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.utime(source)
            _link(source, target)
        except OSError as error:
            raise disk_failure(error, target) from error

    def drop_old(self, now_s: float | None = None) -> None:
        """Delete what nobody has asked for in a month, and parts that never became whole."""
        oldest_s = (time.time() if now_s is None else now_s) - _KEPT_DAYS * 24 * 3600
        for path in self.folder.iterdir():
            if path.name.startswith(".") or path.stat().st_mtime < oldest_s:
                path.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """The file under another name, which nobody may write to; a copy where that cannot be."""
    source.chmod(0o400)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
