"""The commands of a fleet, and how its jobs look on a terminal."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from swapbench.cli import terminal
from swapbench.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from swapbench.fleet.client import Standing
    from swapbench.fleet.door import Door

_EVERY_S: Final = 60.0
"""How often plain lines say how far all jobs are, besides what begins and ends."""

Where = Annotated[
    str, typer.Argument(metavar="WHERE", help="The join file, or the scheduler's address (scheduler:8786).")
]


def start(
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="ADDRESS",
            help="Where to listen, as in 10.0.0.5:8786. By default on all addresses, port 8786.",
        ),
    ] = ":8786",
    join_file: Annotated[
        Path,
        typer.Option(
            "--join-file", metavar="FILE", help="Where to write the secret that lets hosts and people in."
        ),
    ] = Path("fleet.join"),
    tls: Annotated[
        bool,
        typer.Option(
            "--tls/--no-tls",
            show_default=False,
            help="Encrypt, and let in only who has the join file. This is the default; without, it listens "
            "on this computer alone.",
        ),
    ] = True,
) -> None:
    """Be the scheduler of a fleet until Ctrl-C, and say how hosts join it."""
    from swapbench.commands import fleet

    def ready(door: Door) -> None:
        for line in fleet.how_to_join(door, join_file):
            terminal.say(line)

    fleet.start(terminal.folders(), listen, join_file, ready, tls=tls)


def join(
    where: Where,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What this host is called. By default its name."),
    ] = None,
    phone: Annotated[
        list[str] | None,
        typer.Option(
            "--phone", metavar="SERIAL", help="Offer this phone alone. Repeatable. By default all attached."
        ),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(
            "--cores", min=0, metavar="N", help="Cores for trainings and scoring. By default all; 0 for none."
        ),
    ] = None,
    gpus: Annotated[
        str | None, typer.Option("--gpus", metavar="NUMBERS", help="GPUs for trainings, as 0,1.")
    ] = None,
    processor: Annotated[
        bool,
        typer.Option(
            "--processor/--no-processor",
            show_default=False,
            help="Let this computer's own processor be measured, alone. This is the default.",
        ),
    ] = True,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS",
            help="This host's address as the scheduler reaches it, where it cannot find out.",
        ),
    ] = None,
) -> None:
    """Offer this computer's phones and cores to a fleet until Ctrl-C."""
    from swapbench.catalog import split_commas
    from swapbench.commands import fleet
    from swapbench.cores import usable_cores
    from swapbench.fleet.host import Offer, host_name

    offer = Offer(
        name or host_name(),
        Path.cwd(),
        tuple(phone or ()),
        usable_cores() if cores is None else cores,
        split_commas((gpus or "",)),
        processor=processor,
        contact=address,
    )

    def joined() -> None:
        terminal.say(f"Joined as {offer.name}. Ctrl-C leaves; what runs then is ended.")

    fleet.join(terminal.folders(), where, offer, joined, terminal.say)


def show(
    where: Annotated[
        str, typer.Argument(metavar="WHERE", help="The join file, or the scheduler's address.")
    ] = "fleet.join",
    json_out: Json = False,
) -> None:
    """Show the hosts and phones of a fleet, who holds each, and what waits and runs."""
    import json

    from swapbench.commands import fleet

    rows = fleet.overview(terminal.folders(), where)
    if json_out:
        terminal.show(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    terminal.print_rows(
        rows["hosts"], ("host", "cores", "gpus", "processor", "running"), "No host has joined."
    )
    terminal.show("")
    columns = ("serial", "host", "profiles", "state", "battery", "held by")
    terminal.print_rows(rows["phones"], columns, "No host has a phone.")
    terminal.show("")
    columns = ("job", "for", "state", "where", "stage", "since")
    terminal.print_rows(rows["jobs"], columns, "No job waits or runs.")


def view() -> PlainJobs | LiveJobs:
    """How jobs are shown: drawn anew on a terminal, in lines elsewhere."""
    live = sys.stderr.isatty() and not os.environ.get("CI")
    return LiveJobs() if live else PlainJobs()


def summary(jobs: Sequence[Standing]) -> str:
    """All jobs in a line: '2 of 6 jobs done, 3 running, 1 waits'."""
    count = {
        state: sum(job.state == state for job in jobs) for state in ("done", "failed", "running", "waiting")
    }
    parts = [f"{count['done']} of {len(jobs)} jobs done"]
    parts += [f"{count[state]} {state}" for state in ("failed", "running", "waiting") if count[state]]
    return ", ".join(parts)


def where_of(job: Standing) -> str:
    """'host a, phone 1234'."""
    phone = job.job.profile not in {"", "local"}
    return f"host {job.host}" + (f", phone {job.device}" if phone else "")


class PlainJobs:
    """A line when a job begins or ends, and once a minute how far all are."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, str]] = {}
        self._said_s = time.monotonic()

    def __call__(self, jobs: Sequence[Standing]) -> None:
        """Hear how all jobs stand."""
        changed = False
        for job in jobs:
            now = (job.state, job.stage if job.state == "waiting" else job.host)
            before = self._states.get(job.job.id, ("waiting", ""))
            self._states[job.job.id] = now
            if now == before:
                continue
            changed = True
            if job.state == "running":
                terminal.say(f"begins: {job.job.title} ({where_of(job)})")
            elif job.state == "waiting" and job.stage:
                terminal.say(f"{job.job.title} {job.stage}")
            elif job.over:
                terminal.say(f"{job.state}: {job.job.title}")
        if (changed and any(job.over for job in jobs)) or time.monotonic() - self._said_s >= _EVERY_S:
            self._said_s = time.monotonic()
            running = "; ".join(f"{job.job.title}: {_far(job)}" for job in jobs if job.state == "running")
            terminal.say(summary(jobs) + (f" ({running})" if running else ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class LiveJobs:
    """Every job on a line that is drawn anew, with a line of all below."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=2, transient=True)

    def __call__(self, jobs: Sequence[Standing]) -> None:
        """Hear how all jobs stand."""
        self._live.update(_drawn(jobs))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _far(job: Standing) -> str:
    return f"{job.stage} {100 * job.share:.0f} %" if job.stage else "starting"


def _drawn(jobs: Sequence[Standing]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    for _ in range(3):
        table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for job in jobs:
        far = _far(job) if job.state == "running" else job.stage or job.error
        where = where_of(job) if job.host else ""
        table.add_row(*map(terminal.plain, (job.job.title, job.state, where, far)))
    return Group(table, Text(summary(jobs)))
