"""Every error that swapbench raises on purpose, with the exit status it ends in.

    SwapbenchError
    |-- UserError           exit 2  something the person can correct: a name, a file, an option, a card
    |   |-- UnknownName             a name that is in no catalogue (carries the nearest ones)
    |   |-- BadModelFile            a model file that is missing, truncated, foreign or cannot run
    |   |-- BadCard                 a model card that is malformed or does not match its checkpoint
    |   |-- BadDataset              a dataset folder or manifest that cannot be used as it is
    |   `-- BadRecord               a record that is damaged or of a schema version that we do not know
    |-- NotValid            exit 3  measured, but the result must not be used as it is
    |   `-- ParityFailed            an exported file computes something else than the network it came from
    `-- EnvironmentFailed   exit 4  the device, the disk, a package or a permission
        |-- DeviceFailed            the device went away or refused
        |   `-- Unreachable             nothing answers at the moment: it may be back soon
        |-- WorkerFailed            a worker process died or its answer makes no sense
        |   `-- RefusedFile    exit 2  a runtime does not load or run a file: the file is to be corrected
        `-- MissingPackage          an optional package is needed for this (names the extra)

A message is one line that says what is wrong; `remedy` says what to do next. Exit status 0 is success, 1 a
failed gate.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """At most three known names that look like `name`, the nearest first."""
    return tuple(difflib.get_close_matches(name, list(known), n=3, cutoff=0.5))


def suggestion(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest ones, or all."""
    names = list(known)
    near = nearest(name, names)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known: {', '.join(names) if names else 'none'}."


class SwapbenchError(Exception):
    """Base of all errors raised on purpose: a one-line message and what to do about it."""

    exit_status = 4

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.remedy = remedy

    def __str__(self) -> str:
        message = super().__str__()
        ended = message if message.endswith("?") else f"{message.rstrip('.')}."
        return f"{ended} {self.remedy}" if self.remedy else message


class UserError(SwapbenchError):
    """Something that the person who typed the command can correct."""

    exit_status = 2


class UnknownName(UserError):
    """A name that is in no catalogue.

    Attributes:
        near: at most three known names that look like it, the nearest first.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(f"there is no {kind} named {name!r}", remedy=suggestion(name, names))
        self.near = nearest(name, names)


class BadModelFile(UserError):
    """A model file that is missing, truncated, foreign, or of a shape that cannot be run."""


class BadCard(UserError):
    """A model card that is malformed or does not match its checkpoint."""


class BadDataset(UserError):
    """A dataset folder or manifest that cannot be used as it is."""


class BadRecord(UserError):
    """A record that is damaged or of an unknown schema version."""


@contextlib.contextmanager
def of_one_file(name: str, kind: type[UserError]) -> Iterator[None]:
    """Make whatever reading a file raises an error of that file, so that others go on.

    Libraries raise what they like for damaged content: RuntimeError, RecursionError, MemoryError.

    Args:
        name: of the file, for the message.
        kind: of the error.

    Raises:
        SwapbenchError: as it was raised inside, or of the kind.
    """
    try:
        yield
    except SwapbenchError:
        raise
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        raise kind(
            f"{name} cannot be read ({type(error).__name__}{': ' * bool(reason)}{reason.strip()[:200]})",
            remedy="There may be too little memory for it, or it is damaged: get or make it again"
            if isinstance(error, MemoryError)
            else "It may be damaged: get or make it again",
        ) from error


class NotValid(SwapbenchError):
    """Measured, but the result must not be used as it is."""

    exit_status = 3


class ParityFailed(NotValid):
    """An exported file computes something else than the network it came from."""


class EnvironmentFailed(SwapbenchError):
    """The device, the disk, a package or a permission."""

    exit_status = 4


def scarcity(error: BaseException) -> EnvironmentFailed | None:
    """What this machine had too little of, where an error was raised for that and is no bug of ours."""
    cut = _cut_short(error)
    if cut is not None:
        return EnvironmentFailed(
            f"{cut}, which Python compiled, is cut short, as by a disk that was full",
            remedy=f"Delete the compiled modules there: rm -r '{cut.parent}'",
        )
    number = error.errno if isinstance(error, OSError) else None
    unmapped = isinstance(error, ImportError) and any(words in str(error) for words in _NOT_LOADED)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or unmapped:
        return EnvironmentFailed(
            "the memory does not suffice", remedy="End other programs, or raise ulimit -v"
        )
    if number in {errno.EMFILE, errno.ENFILE}:
        return EnvironmentFailed("too many files are open", remedy="Raise ulimit -n, or end other programs")
    if number in _FORBIDDEN and isinstance(error, OSError) and error.filename is not None:
        return EnvironmentFailed(
            f"{error.filename} cannot be used ({error.strerror})",
            remedy="Make it readable and writable, or work in another folder",
        )
    if number in DISK_FULL:
        return EnvironmentFailed("the disk is full", remedy="Free some space and run the same command again")
    return None


def _cut_short(error: BaseException) -> Path | None:
    """The compiled module whose end is missing; Python keeps what a full disk took of one."""
    trace = error.__traceback__ if isinstance(error, EOFError) else None
    while trace is not None:
        path = trace.tb_frame.f_locals.get("bytecode_path")
        if path is not None and trace.tb_frame.f_code.co_filename.startswith("<frozen importlib"):
            from pathlib import Path

            return Path(path)
        trace = trace.tb_next
    return None


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of the operating system's errors where a disk, or a person's share of it, has no room left."""
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NOT_LOADED = ("annot allocate memory", "failed to map segment")
"""What the loader says of a library for which there is no memory; Python makes an ImportError of it."""


class DeviceFailed(EnvironmentFailed):
    """The device went away or refused."""


class Unreachable(DeviceFailed):
    """The device is offline or not attached: worth one attempt to connect again, or waiting."""


class WorkerFailed(EnvironmentFailed):
    """A worker process died or its answer makes no sense."""


class RefusedFile(WorkerFailed):
    """A runtime does not load or run a file, which costs that file alone."""

    exit_status = 2


class MissingPackage(EnvironmentFailed):
    """An optional package is needed; names the extra that brings it."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed",
            remedy=f"Install it with: pip install 'swapbench[{extra}]'",
        )
