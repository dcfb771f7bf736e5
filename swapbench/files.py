"""Atomic files: written next to the target, flushed, then renamed. Nothing else writes results."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from swapbench.errors import EnvironmentFailed

if TYPE_CHECKING:
    from collections.abc import Iterator


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def private_folder(path: Path) -> Path:
    """The folder, created if missing, that only its owner can open; EnvironmentFailed if it cannot be."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise disk_failure(error, path) from error
    return path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that replaces `path` when the block ends, and leaves no trace when the block raises.

    A missing folder is created.

    Raises:
        EnvironmentFailed: the disk is full or the folder cannot be written. Other errors and interrupts pass
            through.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise disk_failure(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file completely or not at all; see `whole_file`."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def disk_failure(error: OSError, path: Path) -> EnvironmentFailed:
    """An error of the operating system about a file, with what to do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EnvironmentFailed(
            f"the disk is full: {path} could not be written",
            remedy="Free some space and run the same command again; what was finished is kept",
        )
    return EnvironmentFailed(
        f"{path} could not be written ({error.strerror or error})",
        remedy="Check that the folder exists and that you may write to it",
    )
