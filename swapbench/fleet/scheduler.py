"""The scheduler: Dask's, with a desk where files, jobs and results are handed in and fetched.

Whatever arrives at the desk is on the disk before it is answered, so that a scheduler that was killed knows
all of it when it is started again. Hosts and people need to reach nobody but the scheduler.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from swapbench.errors import EnvironmentFailed
from swapbench.files import content_of, private_folder, write_atomically
from swapbench.fleet import engine
from swapbench.fleet.content import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swapbench.fleet.door import Door

HOST_GONE_S: Final = 15.0
"""A host that has said nothing for so long is not shown any more; it speaks every few seconds."""
_WANTED: Final = frozenset({"waiting", "running"})
_KEPT_S: Final = 30 * 24 * 3600.0


@dataclass
class Desk:
    """What the scheduler keeps beside Dask's own tasks.

    Attributes:
        folder: Of all that is kept.
        jobs: By id, JSON values.
        hosts: By name, what each last said of itself.
        instance: Tells this scheduler from one that is started again in its place.
    """

    folder: Path
    clock: Callable[[], float] = time.time
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    content: Content = field(init=False)

    def __post_init__(self) -> None:
        private_folder(self.folder)
        self.content = Content(self.folder / "content")
        self.content.drop_old()
        jobs = private_folder(self.folder / "jobs")
        for path in sorted(jobs.glob("*.json")):
            try:
                job = json.loads(content_of(path))
                old = job["handed_in_s"] < self.clock() - _KEPT_S
            except (OSError, ValueError, TypeError, KeyError):
                continue
            if old:
                path.unlink(missing_ok=True)
            else:
                self.jobs[path.stem] = job

    # ------------------------------------------------------------------------- what hosts and people ask

    def hello(self) -> dict[str, str]:
        """Our versions."""
        return engine.versions()

    def lacks(self, digests: Sequence[str]) -> list[str]:
        """Which files are not here yet."""
        return self.content.lacks(digests)

    def put(self, digest: str, sender: str, offset: int, data: bytes, last: bool) -> None:
        """Take a part of a file."""
        self.content.add(digest, sender, offset, bytes(data), last=last)

    def get(self, digest: str, offset: int) -> bytes:
        """A part of a file; an empty one is its end."""
        return self.content.chunk(digest, offset)

    def hand_in(self, job: str, about: dict[str, Any]) -> bool:
        """Take a job; whether its result is there already. One that failed before is done again."""
        before = self.jobs.get(job)
        if before is None or before.get("failed"):
            self.jobs[job] = {**about, "state": "waiting", "begun": [], "handed_in_s": self.clock()}
            self._write(job)
        known = self.jobs[job]
        if known["state"] == "cancelled":
            known["state"] = "waiting"
        return bool(known["state"] == "done")

    def begin(self, job: str, host: str, device: str) -> list[str] | None:
        """Note that a host begins a job; the hosts that began it before and never came to an end.

        None where nobody wants it any more, because it is done or cancelled.
        """
        known = self._known(job)
        if known["state"] not in _WANTED:
            return None
        lost = list(known["begun"])
        known["begun"].append(host)
        known |= {"state": "running", "host": host, "device": device, "begun_s": self.clock(), "stage": ""}
        self._write(job)
        return lost

    def tell(self, job: str, host: str, stage: str, share: float) -> bool:
        """Hear how far a job is; whether it is still wanted."""
        known = self._known(job)
        if known["state"] != "done" and known.get("host", host) == host:
            known |= {"stage": stage, "share": share, "host": host, "told_s": self.clock()}
        return known["state"] in _WANTED

    def done(self, job: str, result: str, failed: bool) -> None:
        """Take a result; the first one counts."""
        known = self._known(job)
        if known["state"] == "done":
            return
        known |= {"state": "done", "result": result, "failed": failed, "ended_s": self.clock()}
        self._write(job)

    def cancel(self, job: str) -> None:
        """Note that nobody wants a job any more."""
        if job in self.jobs and self.jobs[job]["state"] != "done":
            self.jobs[job]["state"] = "cancelled"

    def announce(self, host: str, about: dict[str, Any]) -> None:
        """Hear what a host has."""
        self.hosts[host] = {**about, "said_s": self.clock()}

    def leave(self, host: str) -> None:
        """Hear that a host leaves."""
        self.hosts.pop(host, None)

    def state(self, jobs: Sequence[str]) -> dict[str, Any]:
        """All hosts, and the named jobs with their results; without names those that are not done."""
        now_s = self.clock()
        self.hosts = {
            name: about for name, about in self.hosts.items() if now_s - about["said_s"] < HOST_GONE_S
        }
        chosen = jobs or [name for name, job in self.jobs.items() if job["state"] in _WANTED]
        return {
            "instance": self.instance,
            "now_s": now_s,
            "hosts": self.hosts,
            "jobs": {name: self.jobs[name] for name in chosen if name in self.jobs},
        }

    # ---------------------------------------------------------------------------------------------------

    def _known(self, job: str) -> dict[str, Any]:
        if job not in self.jobs:
            raise KeyError(f"no job {job[:12]} was handed in")
        return self.jobs[job]

    def _write(self, job: str) -> None:
        if not job.isalnum():
            raise ValueError(f"{job!r} is not a job")
        write_atomically(self.folder / "jobs" / f"{job}.json", json.dumps(self.jobs[job]))

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """Its questions as Dask's server takes them."""
        asked = (
            *(self.hello, self.lacks, self.put, self.get, self.hand_in, self.begin, self.tell),
            *(self.done, self.cancel, self.announce, self.leave, self.state),
        )
        return {f"fleet_{ask.__name__}": ask for ask in asked}


async def serve(door: Door, folder: Path, ready: Callable[[Door], None]) -> None:
    """Be the scheduler until this task is cancelled.

    Args:
        door: Where to listen; port 0 takes a free one.
        folder: Of what is kept.
        ready: Hears the door as it is, once hosts can join.

    Raises:
        EnvironmentFailed: The address cannot be had.
    """
    from distributed import Scheduler

    engine.set_up()
    engine.versions()  # those of what runs, whatever changes on the disk from now on
    try:
        scheduler = await Scheduler(
            host=door.host or None,
            port=door.port,
            protocol=door.protocol,
            security=door.security(),
            dashboard=False,
            dashboard_address=engine.NOWHERE,
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise EnvironmentFailed(
            f"cannot listen on {door.place} ({reason})",
            remedy="Another scheduler may run there: choose another port with --listen",
        ) from error
    scheduler.handlers.update(Desk(folder).handlers())
    try:
        ready(type(door)(door.host or os.uname().nodename, scheduler.port, door.certificate, door.key))
        await scheduler.finished()
    finally:
        await scheduler.close(reason="ended")
        await asyncio.sleep(0)
