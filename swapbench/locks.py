"""One writer at a time: a lock that the system gives back however its process ends."""

from __future__ import annotations

import contextlib
import os
from typing import IO, TYPE_CHECKING

from swapbench.errors import UserError
from swapbench.files import disk_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def only_writer(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Keep other processes from the block; there are no stale locks, because a dead process has none.

    Args:
        path: of the lock, whose folder is created if missing.
        what: is written, for the message: "the run nightly".
        remedy: what to do where another process writes it.

    Raises:
        UserError: another living process is in the block.
        EnvironmentFailed: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+", encoding="ascii")
    except OSError as error:
        raise disk_failure(error, path.parent) from error
    with lock:
        try:
            _lock(lock)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip()
            raise UserError(
                f"{what} is being written by another process{f' ({owner})' if owner else ''}", remedy=remedy
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}\n")
        lock.flush()
        yield


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, where phones are measured only
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
