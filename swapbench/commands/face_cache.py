"""What is kept of the faces in the data: it is announced, closed to others, and deleted on request.

Crops are pictures of people where the data are real. They stay in the working folder because making them
again takes minutes; scores that were computed from them stay too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.errors import UserError
from swapbench.files import disk_failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from swapbench.catalog import Folders
    from swapbench.ports import Say

_OF_FACES = ("crops", "training/crops-*", "training/regions-*", "training/faces")
"""What holds pixels or places of faces, below the folder of everything that can be made again."""


@contextlib.contextmanager
def face_cache(folders: Folders, say: Say, *, keep: bool = True) -> Iterator[Folders]:
    """Folders of which `cache` keeps crops and scores: that of the working folder, or one that is deleted.

    Args:
        folders: the working folder's
        say: is told how much was written, and how to delete it
        keep: False for a temporary folder, closed to others and deleted at the end
    """
    if not keep:
        with tempfile.TemporaryDirectory(prefix="swapbench-") as folder:
            yield replace(folders, temporary=Path(folder))
        return
    before = _bytes(_of_faces(folders))
    try:
        yield folders
    finally:
        written = _bytes(_of_faces(folders)) - before
        if written > 0:
            places = {path.relative_to(folders.build).parts[0] for path in _of_faces(folders)}
            where = " and ".join(os.path.relpath(folders.build / place) for place in sorted(places))
            say(
                f"{units.size(written)} of face crops were written to {where}, which only you can open."
                " To delete them: swapbench clean --crops"
            )


@dataclass(frozen=True)
class Kept:
    """A part of what is kept in the working folder."""

    path: Path
    size_bytes: int


def kept(folders: Folders) -> tuple[Kept, ...]:
    """Every part of the folder of what can be made again, with its size."""
    parts = sorted(folders.build.iterdir()) if folders.build.is_dir() else []
    return tuple(Kept(path, _bytes([path])) for path in parts)


def clean(folders: Folders, *, everything: bool) -> tuple[Kept, ...]:
    """Delete crops of faces, or everything that can be made again; returns what was deleted.

    Raises:
        UserError: the folder is a link
        EnvironmentFailed: something cannot be deleted
    """
    if folders.build.is_symlink():
        raise UserError(
            f"{folders.build} is a link, behind which nothing is deleted", remedy="Delete it yourself."
        )
    deleted = (
        kept(folders) if everything else tuple(Kept(path, _bytes([path])) for path in _of_faces(folders))
    )
    for part in deleted:
        try:
            if part.path.is_dir() and not part.path.is_symlink():
                shutil.rmtree(part.path)
            else:
                part.path.unlink()
        except OSError as error:
            raise disk_failure(error, part.path) from error
    return deleted


def _of_faces(folders: Folders) -> list[Path]:
    return sorted(path for pattern in _OF_FACES for path in folders.build.glob(pattern))


def _bytes(paths: Iterable[Path]) -> int:
    """Size of files and of all that is in folders, without following links."""
    total = 0
    for path in paths:
        inner = (Path(place) / name for place, _, names in os.walk(path) for name in names)
        for file in inner if path.is_dir() else (path,):
            with contextlib.suppress(OSError):  # a file that another process just renamed
                total += file.lstat().st_size
    return total
