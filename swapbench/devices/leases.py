"""Who uses a phone, as a note on the computer that it is attached to: adb itself lets everybody in at once.

A lease is a small file for each serial, in a folder that all users of the computer share. It says who has the
phone and until when at the longest; it also ends with the process that took it, however that ends. It keeps
out only who asks: every command of swapbench that measures on a phone does.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import secrets
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from swapbench.errors import DeviceFailed, EnvironmentFailed
from swapbench.files import content_of, write_atomically
from swapbench.texts import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER: Final = "SWAPBENCH_LEASES"
"""Environment variable that names the folder, for computers where the usual place cannot be shared."""
TOKEN: Final = "SWAPBENCH_LEASE"  # noqa: S105 - the name of a variable
"""Environment variable of a command that measures under the lease of the process that started it."""
LONGEST_S: Final = 24 * 3600.0
"""Of a command that a person types: it ends with its process anyway."""
_LARGEST_BYTES: Final = 10_000
_SAME_S: Final = 2.0
"""Clocks are set: the time at which a process began is told from that of another only by more."""
_SHARED: Final = Path("/run/lock")
_own: dict[str, Lease] = {}
"""Leases that this process took for itself, by serial."""


class Leased(DeviceFailed):
    """Somebody else has the phone.

    Attributes:
        lease: who, and until when.
    """

    def __init__(self, lease: Lease) -> None:
        super().__init__(
            f"phone {lease.serial} is in use by {lease.holder} {lease.span}",
            remedy="Wait until that ends, or use another phone (--serial)",
        )
        self.lease = lease


@dataclass(frozen=True)
class Lease:
    """Somebody's right to a phone.

    Attributes:
        serial: of the phone.
        holder: who has it and for what, for people.
        token: tells the holder from everybody else.
        began_s: when it was taken, as `time.time`.
        until_s: when it runs out.
        process: that took it.
        process_began_s: when that process began, which tells it from a later one of the same number.
    """

    serial: str
    holder: str
    token: str
    began_s: float
    until_s: float
    process: int
    process_began_s: float

    @property
    def span(self) -> str:
        """'since 12:03, until 13:03 at the latest'."""
        since, until = (time.strftime("%H:%M", time.localtime(at)) for at in (self.began_s, self.until_s))
        return f"since {since}" + (f", until {until} at the latest" if self._bounded else "")

    @property
    def _bounded(self) -> bool:
        return self.until_s - self.began_s < LONGEST_S

    def holds(self, now_s: float) -> bool:
        """Whether it still counts: its time is not over, and its process lives."""
        began_s = _began_s(self.process)
        return now_s < self.until_s and began_s is not None and abs(began_s - self.process_began_s) < _SAME_S


def folder() -> Path:
    """Where the leases of this computer lie."""
    named = os.environ.get(FOLDER)
    if named:
        return Path(named)
    shared = _SHARED if os.access(_SHARED, os.W_OK) else Path(tempfile.gettempdir())
    return shared / "swapbench-leases"


def holder_of(serial: str, clock: Callable[[], float] = time.time) -> Lease | None:
    """The lease that somebody has of a phone; None where nobody has."""
    try:
        values: dict[str, Any] = json.loads(content_of(_file(serial), _LARGEST_BYTES))
        values["holder"] = visible(str(values["holder"]))
        lease = Lease(**values)
        return lease if lease.serial == serial and lease.holds(clock()) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def take(serial: str, holder: str, for_s: float = LONGEST_S, clock: Callable[[], float] = time.time) -> Lease:
    """Take a phone.

    Args:
        serial: Of the phone.
        holder: Who takes it and what for.
        for_s: How long the lease lives at the longest.
        clock: For tests.

    Raises:
        Leased: Somebody has it.
        EnvironmentFailed: The note cannot be written.
    """
    process = os.getpid()
    began_s = clock()
    lease = Lease(
        serial, holder, secrets.token_hex(16), began_s, began_s + for_s, process, _began_s(process) or 0.0
    )
    with _alone():
        other = holder_of(serial, clock)
        if other is not None:
            raise Leased(other)
        write_atomically(_file(serial), json.dumps(asdict(lease)))
    return lease


def give_back(lease: Lease) -> bool:
    """End a lease; False where it was no longer ours, so that another may have used the phone as well."""
    with contextlib.suppress(EnvironmentFailed), _alone():
        mine = holder_of(lease.serial)
        if mine is not None and mine.token == lease.token:
            _file(lease.serial).unlink(missing_ok=True)
            return True
    return False


def use(serial: str) -> None:
    """Use a phone in this command, until the process ends: under the lease of who started us, or our own.

    Where no note can be written, nobody is kept out.

    Raises:
        Leased: Somebody else has it.
    """
    if serial in _own and _own[serial].process == os.getpid():
        return
    other = holder_of(serial)
    if other is not None and other.token == os.environ.get(TOKEN):
        return
    try:
        lease = take(serial, f"{_user()} ({_command()}, process {os.getpid()})")
    except Leased:
        raise
    except EnvironmentFailed:
        return
    if not _own:
        atexit.register(end_own)
    _own[serial] = lease


def end_own() -> None:
    """Give back what this process took for itself: the command that needed it has ended."""
    for serial, lease in list(_own.items()):
        del _own[serial]
        if lease.process == os.getpid():
            give_back(lease)


@contextlib.contextmanager
def only_meanwhile() -> Iterator[None]:
    """Keep no phone longer than this, in a process that lives on, as a notebook's does."""
    try:
        yield
    finally:
        end_own()


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container knows no name for its user
        return "somebody"


def _command() -> str:
    words = [word for word in sys.argv[1:2] if word.isalpha()]
    return " ".join(["swapbench", *words]) if sys.argv and "swapbench" in sys.argv[0] else "Python"


def _file(serial: str) -> Path:
    return folder() / f"{hashlib.sha256(serial.encode()).hexdigest()[:16]}.json"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let no other process change the leases meanwhile; the lock is the operating system's."""
    path = folder()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # another user made it, and has opened it to all
            path.chmod(0o777)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise EnvironmentFailed(
            f"the leases of phones cannot be kept in {path} ({error.strerror})",
            remedy=f"Name a folder that all users can write to with {FOLDER}",
        ) from error
    try:
        with contextlib.suppress(ImportError, OSError):  # Windows, and file systems without locks
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _began_s(process: int) -> float | None:
    """When a living process began; None where there is none of that number."""
    import psutil

    try:
        found = psutil.Process(process)
        return None if found.status() == psutil.STATUS_ZOMBIE else found.create_time()
    except psutil.Error:
        return None
