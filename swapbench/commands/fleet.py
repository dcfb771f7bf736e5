"""What `swapbench fleet` does: be a scheduler, join one as a host, and say what a fleet has and does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Any

from swapbench import units
from swapbench.errors import UserError
from swapbench.files import only_one
from swapbench.fleet.door import (
    door_to,
    is_loopback,
    needs_dask,
    opened_at,
    read_join_file,
    split,
    write_join_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.fleet.door import Door
    from swapbench.fleet.host import Offer
    from swapbench.ports import Say


def start(
    folders: Folders, listen: str, join_file: Path, ready: Callable[[Door], None], *, tls: bool
) -> None:
    """Be a scheduler until Ctrl-C. The certificate of a join file that is there is used again.

    Raises:
        UserError: Without TLS, other computers could reach it.
        EnvironmentFailed: The address cannot be had, or the join file not be written.
    """
    needs_dask()
    from swapbench.fleet.door import Door
    from swapbench.fleet.scheduler import serve

    if join_file.is_file() and tls and (old := read_join_file(join_file)).certificate:
        door = Door(*split(listen), old.certificate, old.key)
    else:
        door = opened_at(listen, tls=tls)

    def opened(found: Door) -> None:
        write_join_file(found, join_file)
        ready(found)

    _until_interrupted(serve(door, folders.root / "fleet", opened))


def join(folders: Folders, where: str, offer: Offer, joined: Callable[[], None], say: Say) -> None:
    """Be a host of a fleet until Ctrl-C.

    Raises:
        UserError: The scheduler has another version, or there is no join file.
        EnvironmentFailed: There is no scheduler, or it does not let us in.
    """
    needs_dask()
    from swapbench.fleet.host import Host, checked

    def refusal(owner: str) -> UserError:
        return UserError(f"another host works in this folder{owner}", remedy="Join from a folder of its own")

    door = door_to(where, folders.root)
    with only_one(folders.root / "fleet" / ".host.lock", refusal):
        _until_interrupted(Host(door, checked(offer), say).stay(joined))


def overview(folders: Folders, where: str) -> dict[str, Any]:
    """What a fleet has and does: hosts, phones and jobs, as JSON values.

    Raises:
        EnvironmentFailed: There is no scheduler, or it does not let us in.
    """
    needs_dask()
    from swapbench.fleet.client import Fleet

    with Fleet(door_to(where, folders.root)) as fleet:
        return rows(fleet.overview())


def rows(state: dict[str, Any]) -> dict[str, Any]:
    """What a scheduler knows, in rows for people and programs."""
    hosts, phones, jobs = [], [], []
    for name, about in sorted(state["hosts"].items()):
        slots = about["slots"]
        hosts.append(
            {
                "host": name,
                "cores": int(slots.get("cores", {}).get("cores", 0)),
                "gpus": int(slots.get("cores", {}).get("gpu", 0)),
                "processor": "offered" if "processor" in slots else "",
                "running": ", ".join(sorted(about["running"].values())),
            }
        )
        for phone in about["phones"]:
            battery = phone["battery"]
            phones.append(
                {
                    "serial": phone["serial"],
                    "host": name,
                    "profiles": ", ".join(phone["profiles"]),
                    "state": "ready" if phone["state"] == "device" else phone["state"],
                    "battery": "" if battery is None else f"{battery} %",
                    "model": phone["model"],
                    "held by": phone["held_by"],
                }
            )
    for job in sorted(state["jobs"].values(), key=lambda job: job["handed_in_s"]):
        needs = ", ".join(
            f"{count:g} {name}" if name in {"cores", "gpu"} else name for name, count in job["needs"].items()
        )
        running = job["state"] == "running"
        since = state["now_s"] - (job["begun_s"] if running else job["handed_in_s"])
        jobs.append(
            {
                "job": job["title"],
                "for": job["who"],
                "state": job["state"],
                "where": f"{job['host']}/{job['device']}" if running else needs,
                "stage": f"{job.get('stage', '')} {100 * job.get('share', 0):.0f} %" if running else "",
                "since": units.time_span(max(since, 0.0)),
            }
        )
    return {"hosts": hosts, "phones": phones, "jobs": jobs}


def how_to_join(door: Door, join_file: Path) -> list[str]:
    """What a person does next, in lines."""
    if not door.certificate:
        safety = "without TLS: every user of this computer can run programs as you through it"
    else:
        safety = "TLS; whoever has the join file can run programs on every host"
    local = is_loopback(door.host)
    copy = "On this computer" if local else f"On each host, with a copy of {join_file}, which is a secret"
    return [
        f"Scheduler at {door.place} ({safety}).",
        f"{copy}: swapbench fleet join {join_file.name if not local else join_file}",
        f"Then: swapbench run --fleet {join_file} --device PROFILE net.tflite",
        "Ctrl-C ends the scheduler; what it was handed stays in fleet/.",
    ]


def _until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """Do asynchronous work until it ends, or until Ctrl-C or SIGTERM, which are how such work should end."""

    async def listening() -> None:
        task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(listening())
