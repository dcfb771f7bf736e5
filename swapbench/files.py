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
    from collections.abc import Iterator, Sequence


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_sha256(paths: Sequence[Path]) -> str:
    """The digest of files that are one thing: of one file its own, of several that of what sha256sum prints.

    It is `sha256sum a b | sha256sum` in the folder of the files.
    """
    if len(paths) == 1:
        return file_sha256(paths[0])
    lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


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
