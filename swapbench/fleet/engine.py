"""Dask as we use it: quiet, without its pages, and idle while something is measured."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from swapbench import __version__
from swapbench.errors import UserError

if TYPE_CHECKING:
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


def versions() -> dict[str, str]:
    """What both sides must have alike."""
    import distributed

    return {"swapbench": __version__, "distributed": distributed.__version__}


async def ask(door: Door, question: str, **values: Any) -> Any:
    """Ask the scheduler's desk over a connection of its own; OSError where it is gone or lets nobody in."""
    from distributed.core import rpc

    desk = rpc(door.address, connection_args=door.security().get_connection_args("client"))
    try:
        return await getattr(desk, f"fleet_{question}")(**values)
    finally:
        await desk.close_rpc()


def refuse_other(there: dict[str, Any], role: str) -> None:
    """Raise UserError where a scheduler has other versions than we have."""
    for name, ours in versions().items():
        theirs = there.get(name, "of unknown version")
        if theirs != ours:
            raise UserError(
                f"this {role} has {name} {ours}, and the scheduler has {name} {theirs}",
                remedy="Install the same version on both: numbers of different ones must not be mixed",
            )
