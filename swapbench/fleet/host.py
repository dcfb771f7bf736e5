"""A host: it offers its phones and cores, does what it is sent in folders of its own, and hands results in.

A job that it began goes on when the scheduler is gone; its result is handed in when the scheduler is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from swapbench.devices import leases
from swapbench.environment import LOST_HOSTS
from swapbench.errors import DeviceFailed, EnvironmentFailed, SwapbenchError, UserError
from swapbench.files import private_folder
from swapbench.fleet import child as children
from swapbench.fleet import engine
from swapbench.fleet.child import Child
from swapbench.fleet.content import CHUNK_BYTES, Content
from swapbench.fleet.door import cannot_connect
from swapbench.fleet.parcel import Job, Result, inside
from swapbench.fleet.phones import Phones
from swapbench.fleet.slots import Quiet, Slot, cores_slot, phone_slot, processor_slot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from swapbench.fleet.door import Door

POLL_S: Final = 0.5
QUIET_POLL_S: Final = 5.0
"""How often a host looks at a job while its own processor is measured."""
ANNOUNCE_S: Final = 2.0
NAME_FREE_S: Final = 20.0
"""So long a host waits for its own name, which it may have left in a hurry."""
HAND_IN_S: Final = 24 * 3600.0
"""So long a host tries to hand a result in."""
_OWN: Final = ("build", "data", "devices", "runtimes")
"""Folders of the host's working folder that commands find in theirs: kits, simulated data, profiles."""


@dataclass(frozen=True)
class Offer:
    """What a person lets a host offer.

    Attributes:
        name: Of the host.
        folder: Its working folder.
        serials: Of the phones; none offers all that are attached.
        cores: For work; 0 offers none.
        gpus: Numbers of GPUs, as CUDA names them.
        processor: Whether its own processor may be measured.
        contact: Its address, where the scheduler cannot find out.
    """

    name: str
    folder: Path
    serials: tuple[str, ...] = ()
    cores: int = 0
    gpus: tuple[str, ...] = ()
    processor: bool = True
    contact: str | None = None


_here: list[Host] = []
"""The host of this process, which Dask's workers in it work for."""


async def do(job: bytes) -> str:
    """Do a job: what Dask calls on a host. Returns the name of the host that did it."""
    from distributed import get_worker

    (host,) = _here
    await asyncio.shield(host.job(Job.read(job), str(get_worker().name)))
    return host.offer.name


@dataclass
class Host:
    """One host, which joins a scheduler again whenever it comes back."""

    door: Door
    offer: Offer
    say: Callable[[str], None]
    _quiet: Quiet = field(default_factory=Quiet)
    _slots: dict[str, Slot] = field(default_factory=dict)
    _workers: dict[str, Any] = field(default_factory=dict)
    _jobs: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _running: dict[str, str] = field(default_factory=dict)
    _gpus: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        folder = private_folder(self.offer.folder / "fleet")
        self._content = Content(folder / "content")
        self._content.drop_old()
        self._work = private_folder(folder / "jobs")
        for left in self._work.iterdir():  # by a host that was killed
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        self._phones = Phones(self.offer.folder, self.offer.serials)
        self._gpus = list(self.offer.gpus)

    # ---------------------------------------------------------------------------------- the scheduler

    async def _ask(self, question: str, within_s: float = 0.0, **values: Any) -> Any:
        """Ask the scheduler; where it is gone, again until it is back or the time is over."""
        until_s = time.monotonic() + within_s
        while True:
            try:
                return await engine.ask(self.door, question, **values)
            except OSError as error:
                if time.monotonic() >= until_s:
                    raise cannot_connect(self.door, error) from error
                await asyncio.sleep(1.0)

    async def stay(self, joined: Callable[[], None]) -> None:
        """Join, and join again whenever the scheduler comes back, until this task is cancelled.

        Args:
            joined: Hears that the host has joined, each time.

        Raises:
            UserError: The scheduler has another version.
            EnvironmentFailed: There is no scheduler, or it does not let us in.
        """
        engine.set_up()
        _here[:] = [self]
        wait_s = 0.0
        try:
            while True:
                there = await self._ask("hello", wait_s)
                engine.refuse_other(there, "host")
                await self._refuse_twice()
                await self._until_lost(joined)
                wait_s = math.inf
                self.say(f"The scheduler {self.door.place} is gone; waiting for it. Jobs go on.")
        finally:
            _here.clear()
            for task in self._jobs.values():
                task.cancel()
            await asyncio.gather(*self._jobs.values(), return_exceptions=True)

    async def _refuse_twice(self) -> None:
        """Raise UserError where another host has our name; what a killed one said of itself is soon gone."""
        until_s = time.monotonic() + NAME_FREE_S
        while self.offer.name in (await self._ask("state", within_s=HAND_IN_S, jobs=["none"]))["hosts"]:
            if time.monotonic() > until_s:
                raise UserError(
                    f"a host named {self.offer.name} has joined already",
                    remedy="Give this one another --name",
                )
            await asyncio.sleep(1.0)

    async def _refuse_changed_code(self) -> None:
        """Raise EnvironmentFailed where a command would run other code than this host joined with."""
        now = await asyncio.to_thread(engine.code_now)
        if now != engine.code():
            raise EnvironmentFailed(
                f"the host {self.offer.name} joined with {engine.CODE} {engine.code()}, and now has {now}",
                remedy="Start it again there: swapbench fleet join",
            )

    async def _until_lost(self, joined: Callable[[], None]) -> None:
        """Offer what there is until the scheduler is gone."""
        self._slots = {}
        if self.offer.processor:
            self._slots["processor"] = processor_slot(self.offer.name)
        if self.offer.cores or self.offer.gpus:
            self._slots["cores"] = cores_slot(self.offer.cores, len(self.offer.gpus))
        try:
            told = False
            while True:
                if not self._quiet.alone:
                    await self._look_at_phones()
                for slot in list(self._slots.values()):
                    await self._open(slot)
                if any(
                    worker.status.name in {"closed", "closing", "failed"} for worker in self._workers.values()
                ):
                    return
                await self._ask("announce", 10.0, host=self.offer.name, about=self._about())
                if not told:
                    joined()
                    told = True
                await asyncio.sleep(QUIET_POLL_S if self._quiet.alone else ANNOUNCE_S)
        except EnvironmentFailed:
            return
        finally:
            with contextlib.suppress(SwapbenchError, asyncio.CancelledError):
                await self._ask("leave", host=self.offer.name)
            for name in list(self._workers):
                await self._close(name)

    async def _open(self, slot: Slot) -> None:
        """Have Dask send jobs for a slot."""
        from distributed import Worker

        if slot.name in self._workers:
            return
        worker = Worker(
            self.door.address,
            name=f"{self.offer.name}/{slot.name}",
            nthreads=slot.threads,
            resources=slot.resources,
            memory_limit=0,
            security=self.door.security(),
            host=None if self.offer.contact else _own_address(self.door),
            contact_address=self.offer.contact,
            dashboard_address=engine.NOWHERE,
            local_directory=str(self._work),
            death_timeout="20s",
        )
        self._workers[slot.name] = worker
        try:
            await worker
        except Exception as error:  # whatever Dask raises where the scheduler goes away meanwhile
            raise cannot_connect(self.door, error) from error

    async def _close(self, name: str) -> None:
        worker = self._workers.pop(name, None)
        if worker is not None:
            with contextlib.suppress(Exception):
                await worker.close(timeout=2, executor_wait=False, reason="not offered any more")

    async def _look_at_phones(self) -> None:
        """Offer phones that came, and no longer those that are gone; one that does a job ends it first."""
        there = await asyncio.to_thread(self._phones.look)
        for serial, profiles in there.items():
            self._slots.setdefault(serial, phone_slot(self.offer.name, serial, profiles))
        for name, slot in list(self._slots.items()):
            if slot.serial and slot.serial not in there and name not in self._running:
                del self._slots[name]
                await self._close(name)

    def _about(self) -> dict[str, Any]:
        return {
            "slots": {name: slot.resources for name, slot in self._slots.items()},
            "running": dict(self._running),
            "phones": self._phones.about(),
            "note": self._phones.note,
            "versions": engine.versions(),
        }

    # ------------------------------------------------------------------------------------------- jobs

    async def job(self, job: Job, worker: str) -> None:
        """Do a job that is not done or being done here already."""
        task = self._jobs.get(job.id)
        if task is None or task.done():
            name = worker.partition("/")[2]
            slot = self._slots.get(name)
            if slot is None:
                raise DeviceFailed(f"phone {name} is no longer attached to the host {self.offer.name}")
            task = self._jobs[job.id] = asyncio.create_task(self._do(job, slot))
        await task

    async def _do(self, job: Job, slot: Slot) -> None:
        folder = self._work / job.id
        running = slot.name if slot.threads == 1 else f"{slot.name} {job.id}"
        self._running[running] = job.title
        about = {"job": job.id, "host": self.offer.name}
        try:
            if not await self._ask("tell", HAND_IN_S, **about, stage="", share=0.0):
                return
            await self._refuse_changed_code()
            await self._fetch(job)
            async with self._quiet.held(alone=slot.name == "processor"), self._leased(job, slot) as lease:
                lost = await self._ask("begin", HAND_IN_S, **about, device=slot.serial or slot.name)
                if lost is None:  # another host has done it meanwhile
                    return
                result = await self._run(job, slot, folder, lease, lost)
        except SwapbenchError as error:
            result = Result(error.exit_status, str(error), host=self.offer.name, device=slot.serial)
        finally:
            self._running.pop(running, None)
        try:
            await self._hand_in(job, result)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def _leased(self, job: Job, slot: Slot) -> AsyncIterator[leases.Lease | None]:
        """The phone for this job alone, as soon as nobody else on this host has it."""
        if not slot.serial:
            yield None
            return
        lease = None
        while lease is None:
            try:
                lease = leases.take(
                    slot.serial, f"a job of the fleet ({job.title}, for {job.who})", job.lease_s
                )
            except leases.Leased as taken:
                stage = f"waits: in use by {taken.lease.holder}"
                if not await self._tell(job, stage, 0.0):
                    raise EnvironmentFailed("nobody wants it any more") from None
                await asyncio.sleep(POLL_S)
        try:
            yield lease
        finally:
            leases.give_back(lease)

    async def _run(
        self, job: Job, slot: Slot, folder: Path, lease: leases.Lease | None, lost: list[str]
    ) -> Result:
        await asyncio.to_thread(self._set_out, job, folder)
        began, began_s = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
        gpu = self._gpus.pop() if job.gpu and self._gpus else None
        environment = {
            **job.environment,
            leases.TOKEN: lease.token if lease else "",
            LOST_HOSTS: "\n".join(lost),
            **({"ANDROID_SERIAL": slot.serial} if slot.serial else {}),
            **({"OMP_NUM_THREADS": str(job.cores)} if job.cores else {}),
            **({"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else {}),
        }
        command, why = Child(), ""
        await command.start(job.words, folder, environment)
        try:
            poll_s = QUIET_POLL_S if self._quiet.alone else POLL_S
            while await command.ended(poll_s) is None:
                if time.monotonic() - began_s > job.lease_s:
                    why = (
                        f"its lease of {job.lease_s:g} s ran out before it ended, so the host ended it. "
                        "Give it a longer one with --lease"
                    )
                    break
                if not await self._tell(job, command.far.stage, command.far.share):
                    why = "nobody wants it any more"
                    break
        finally:
            status = await command.end()
            if gpu is not None:
                self._gpus.append(gpu)
        if lease is not None and not why and not lease.holds(time.time()):
            why = "its lease of the phone ran out while it measured"
        files = {} if why else await asyncio.to_thread(self._collected, job, folder)
        return Result(
            status=4 if why else status,
            error=why or command.error,
            said=tuple(command.said),
            printed=children.printed(folder),
            files=files,
            host=self.offer.name,
            device=slot.serial,
            lost=tuple(lost),
            began=began,
            seconds=round(time.monotonic() - began_s, 3),
        )

    async def _tell(self, job: Job, stage: str, share: float) -> bool:
        """Say how far a job is; whether it is still wanted. A scheduler that is gone wants it."""
        try:
            return bool(
                await self._ask("tell", job=job.id, host=self.offer.name, stage=stage, share=float(share))
            )
        except SwapbenchError:
            return True

    # ------------------------------------------------------------------------------------------ files

    async def _fetch(self, job: Job) -> None:
        """Get the files of a job that are not here yet."""
        sender = secrets.token_hex(8)
        for digest in self._content.lacks(job.files.values()):
            offset, last = 0, False
            while not last:
                data = await self._ask("get", HAND_IN_S, digest=digest, offset=offset)
                last = len(data) < CHUNK_BYTES
                await asyncio.to_thread(self._content.add, digest, sender, offset, bytes(data), last=last)
                offset += len(data)

    def _set_out(self, job: Job, folder: Path) -> None:
        """Lay the files of a job out in a folder of its own, beside what the host has."""
        shutil.rmtree(folder, ignore_errors=True)
        private_folder(folder)
        for name, digest in job.files.items():
            self._content.place(digest, folder / inside(name))
        for name in _OWN:
            own = self.offer.folder.absolute() / name
            if name in {"build", "data"}:
                own.mkdir(parents=True, exist_ok=True)
            if own.is_dir() and not (folder / name).exists():
                (folder / name).symlink_to(own)

    def _collected(self, job: Job, folder: Path) -> dict[str, str]:
        """The files that a job wrote, kept by digest."""
        found = {path for pattern in job.outputs for path in folder.glob(inside(pattern)) if path.is_file()}
        files = {}
        for path in sorted(found):
            if path.resolve().is_relative_to(folder.resolve()) and not path.is_symlink():
                files[path.relative_to(folder).as_posix()] = self._content.keep(path)
        return files

    async def _hand_in(self, job: Job, result: Result) -> None:
        """Give the scheduler a result with its files, now or when it is back."""
        sender = secrets.token_hex(8)
        for digest in await self._ask("lacks", HAND_IN_S, digests=list(result.files.values())):
            offset, last = 0, False
            while not last:
                data = await asyncio.to_thread(self._content.chunk, digest, offset)
                last = len(data) < CHUNK_BYTES
                await self._ask(
                    "put", HAND_IN_S, digest=digest, sender=sender, offset=offset, data=data, last=last
                )
                offset += len(data)
        await self._ask("done", HAND_IN_S, job=job.id, result=result.text().decode(), failed=result.failed)


def _own_address(door: Door) -> str:
    """Where the scheduler reaches this host: only there does it listen."""
    from distributed.utils import get_ip

    return str(get_ip(door.host, door.port))


def host_name() -> str:
    """What this host is called where nobody says otherwise."""
    return os.uname().nodename.partition(".")[0]


def checked(offer: Offer) -> Offer:
    """The offer itself; UserError where its name or a number makes no sense."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", offer.name):
        raise UserError(f"{offer.name!r} is not a name for a host", remedy="Use letters, digits and dashes")
    return offer
