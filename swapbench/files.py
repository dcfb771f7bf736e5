"""Files that people write and files that we write.

What a person writes in TOML is read here. What we write appears whole or not at all: it is written next to
the target, flushed, then renamed; nothing else writes results.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import tomllib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from swapbench.errors import DISK_FULL, EnvironmentFailed, UserError
from swapbench.texts import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedReader, FileIO

LARGEST_TOML_BYTES: Final = 4_000_000
"""A hundred times the longest card; a larger file is something else."""
LARGEST_TEXT_BYTES: Final = 1 << 30
"""Of records, tables and lists; a score file of ten million frames has half of it."""
LARGEST_MODEL_BYTES: Final = 4 << 30
"""Protocol buffers and FlatBuffers end at 2 GiB; a TFLite file may hold weights behind."""
DEEPEST: Final = 64
"""Tables inside tables and lists; a card has three."""
_log = logging.getLogger(__name__)
_READABLE: Final = 50
"""Letters of a file's name in the name of its temporary file, which may have 255 bytes."""


def opened(path: Path, at_most_bytes: int | None = None) -> BufferedReader:
    """A regular file, open for reading: a pipe would wait for ever, and a device never ends.

    Raises:
        OSError: it cannot be opened, is none or is too large; its `strerror` says why.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    status, problem = os.fstat(descriptor), None
    if stat.S_ISDIR(status.st_mode):
        problem = OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    elif not stat.S_ISREG(status.st_mode):
        problem = OSError(errno.EINVAL, "not a regular file", str(path))
    elif at_most_bytes is not None and status.st_size > at_most_bytes:
        problem = OSError(errno.EFBIG, f"larger than {at_most_bytes / 1e6:g} MB", str(path))
    if problem is not None:
        os.close(descriptor)
        raise problem
    return os.fdopen(descriptor, "rb")


def content_of(path: Path, at_most_bytes: int = LARGEST_TEXT_BYTES) -> bytes:
    """The content of a regular file; raises as `opened`."""
    with opened(path, at_most_bytes) as file:
        return file.read()


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a regular file; raises as `opened`."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_sha256(paths: Sequence[Path]) -> str:
    """The digest of files that are one thing: of one file its own, of several that of what sha256sum prints.

    It is `sha256sum a b | sha256sum` in the folder of the files.
    """
    if len(paths) == 1:
        return file_sha256(paths[0])
    lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def toml_text(path: Path, what: str, error: type[UserError] = UserError) -> str:
    """The text of a TOML file that a person wrote, without the byte order mark that some editors put first.

    Args:
        path: Of the file.
        what: It is, in a message, such as "card".
        error: Raised where it cannot be read.

    Raises:
        UserError: Of the given kind; the file is missing, too large or not UTF-8.
    """
    try:
        content = content_of(path, LARGEST_TOML_BYTES)
    except OSError as problem:
        if problem.errno == errno.EFBIG:
            raise error(f"the {what} {path} is {problem.strerror}") from problem
        raise error(f"cannot read the {what} {path}: {problem.strerror}") from problem
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not TOML: {problem}", remedy="Save it as UTF-8") from problem


def toml_table(path: Path, what: str, error: type[UserError] = UserError) -> dict[str, Any]:
    """The content of a TOML file that a person wrote; see `toml_text` and `parsed_toml`."""
    return parsed_toml(toml_text(path, what, error), path, error)


def parsed_toml(text: str, path: Path, error: type[UserError] = UserError) -> dict[str, Any]:
    """The content of a TOML text; `path` names its file in a message.

    Raises:
        UserError: Of the given kind; the text is not TOML, or nested deeply.
    """
    too_deep = error(f"{path} is not TOML: it is nested more than {DEEPEST} levels deep")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{path} is not TOML: {problem}") from problem
    except RecursionError as problem:
        raise too_deep from problem
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        inside = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for parts in inside for one in parts if isinstance(one, dict | list)]
        if not level:
            return table
    raise too_deep


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

    A missing folder is created. What a killed process left of an earlier try is deleted.

    Raises:
        EnvironmentFailed: the disk is full or the folder cannot be written. Other errors and interrupts pass
            through.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=_own_prefix(path.parent, path.name), dir=path.parent)
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


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder `.<name>-<process>-...` in `parent`, which is deleted when the block ends.

    Those of processes that were killed are deleted first.

    Raises:
        EnvironmentFailed: it cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_own_prefix(parent, name), dir=parent))
    except OSError as error:
        raise disk_failure(error, parent) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own_prefix(parent: Path, name: str) -> str:
    """How what this process makes for a while in a folder begins: `.<name>-<process>-`.

    What processes of the same purpose left there, because they were killed, is deleted.
    """
    start = f".{name[:_READABLE]}-"
    with os.scandir(parent) as entries:
        left = [entry for entry in entries if entry.name.startswith(start)]
    for entry in left:
        owner = entry.name.removeprefix(start).partition("-")[0]
        if owner.isdecimal() and not _is_alive(int(owner)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)
    return f"{start}{os.getpid()}-"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


@contextlib.contextmanager
def only_one(lock: Path, refusal: Callable[[str], UserError] | None = None) -> Iterator[None]:
    """Let one process at a time do what the block does; others wait, with a line of notice, or are refused.

    The lock is the operating system's, on a file that is there as long as the block lasts: it ends with its
    process, however that ends, so that none is stale. Where a file system has no locks, nobody is kept out.

    Args:
        lock: the file; its folder is created if missing.
        refusal: makes the error of what it is told about the process that has the lock; None waits.

    Raises:
        UserError: the refusal.
        EnvironmentFailed: the folder cannot be written.
    """
    with _only_mine(lock, refusal) as file:
        with contextlib.suppress(OSError):  # who has it is a courtesy, on a full disk too
            file.truncate(0)
            file.write(f"process {os.getpid()}\n".encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()


def lock_of(folder: Path, name: str) -> Path:
    """The lock of what has a name in a folder, for `only_one`."""
    return folder / f".{name[:_READABLE]}.lock"


def _only_mine(lock: Path, refusal: Callable[[str], UserError] | None) -> FileIO:
    """The lock's file, open and locked, and still the one that others find at its path."""
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("a+b", buffering=0)
        except OSError as error:
            raise disk_failure(error, lock.parent) from error
        with contextlib.ExitStack() as unless_mine:
            unless_mine.enter_context(file)
            if not _locked(file, wait=False):
                file.seek(0)
                owner = (file.read(_READABLE) or b"").decode("ascii", "replace").strip()
                if refusal is not None:
                    raise refusal(f" ({owner})" if owner else "")
                where = visible(os.path.relpath(lock.parent))
                _log.warning("note: waiting for another process that writes to %s (%s)", where, owner)
                _locked(file, wait=True)
            with contextlib.suppress(FileNotFoundError):  # its owner deletes it at the end
                if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    unless_mine.pop_all()
                    return file


def _locked(file: FileIO, *, wait: bool) -> bool:
    """Lock a file, after waiting where another process has it; False where it has and is not waited for."""
    try:
        import fcntl
    except ImportError:  # Windows, where phones are measured only
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def disk_failure(error: OSError, path: Path) -> EnvironmentFailed:
    """An error of the operating system about a file, with what to do."""
    if error.errno in DISK_FULL:
        return EnvironmentFailed(
            f"the disk is full: {path} could not be written",
            remedy="Free some space and run the same command again; what was finished is kept",
        )
    if error.errno == errno.EFBIG:
        return EnvironmentFailed(
            f"{path} could not be written: it is larger than a file may be here",
            remedy="Raise the limit (ulimit -f) and run the same command again; what was finished is kept",
        )
    return EnvironmentFailed(
        f"{path} could not be written ({error.strerror or error})",
        remedy="Check that the folder exists and that you may write to it",
    )
