"""Dask as we use it: quiet, without its pages, and idle while something is measured."""

from __future__ import annotations

import functools
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import swapbench
from swapbench import __version__
from swapbench.errors import UserError
from swapbench.files import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.fleet.door import Door

_CONFIG: Final = {
    # no web pages: nobody asked for them, and they have no lock
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # nothing of Dask's own samples or ticks while a processor is measured
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "1h",
    # a host whose network is gone counts as lost after a minute; one that was killed at once
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.scheduler.allowed-failures": 100,  # jobs have deadlines and count lost hosts themselves
    "distributed.scheduler.work-stealing": True,
    "distributed.comm.timeouts.connect": "5s",
    "distributed.comm.timeouts.tcp": "60s",
    "distributed.comm.retry.count": 0,
}
_LOGGERS: Final = ("distributed", "distributed.client", "tornado.application", "asyncio")
_SILENT: Final = logging.CRITICAL + 1
CODE: Final = "swapbench's own code"
_SOURCES: Final = frozenset({".py", ".c", ".h"})
_DIGITS: Final = 16
NOWHERE: Final = "127.0.0.1:0"
"""Where the web server without pages listens."""


def set_up() -> None:
    """Set Dask up for this process."""
    import dask

    dask.config.set({**_CONFIG, "logging": dict.fromkeys(_LOGGERS, _SILENT)})
    import distributed.config  # sets up logging when it is imported, so its levels are set once more

    assert distributed.config is not None
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(_SILENT)


def code_now() -> str:
    """A digest of what a `swapbench` command would run that is started now: our own Python and C files.

    Two checkouts of one version may differ in it, and one checkout may change below a process.
    """
    package = Path(swapbench.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*") if path.suffix in _SOURCES):
        name = path.relative_to(package).as_posix()
        digest.update(f"{file_sha256(path)}  {name}\n".encode())
    return digest.hexdigest()[:_DIGITS]


@functools.cache
def code() -> str:
    """The digest of what this process runs, as it was when it was first asked for: when a fleet begins."""
    return code_now()


def versions() -> dict[str, str]:
    """What both sides must have alike."""
    import distributed

    return {"swapbench": __version__, "distributed": distributed.__version__, CODE: code()}


async def ask(door: Door, question: str, **values: Any) -> Any:
    """Ask the scheduler's desk over a connection of its own; OSError where it is gone or lets nobody in."""
    from distributed.core import rpc

    desk = rpc(door.address, connection_args=door.security().get_connection_args("client"))
    try:
        return await getattr(desk, f"fleet_{question}")(**values)
    finally:
        await desk.close_rpc()


def refuse_other(there: Mapping[str, Any], role: str, other: str = "the scheduler") -> None:
    """Raise UserError where somebody has other versions than we have, or other code of the same version.

    Args:
        there: what the other states of itself
        role: what we are
        other: who that is
    """
    for name, ours in versions().items():
        theirs = there.get(name, "unknown")
        if theirs != ours:
            same = "commit, without changes of your own," if name == CODE else "version"
            raise UserError(
                f"this {role} has {name} {ours}, and {other} has {name} {theirs}",
                remedy=f"Install the same {same} on both, and start what runs again: "
                "numbers of different ones must not be mixed",
            )
