"""The command about operators: profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import Device, Json, Runtimes, Threads

PROCESSES = 5
"""Stands here too because the command, which owns it, is too much to import for --help; a test holds both equal."""


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(profile)


def profile(
    one: Annotated[Path, typer.Argument(metavar="A", help="A model file.")],
    other: Annotated[
        Path | None, typer.Argument(metavar="[B]", help="A file to hold against A: what differs is shown.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many nodes to show.")] = 10,
    graph: Annotated[
        bool, typer.Option("--graph", help="Only what the files hold; nothing is run or timed.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=2, help="Fresh processes of each file; more make the shares steadier.")
    ] = PROCESSES,
    device: Device = "local",
    runtime: Runtimes = None,
    threads: Threads = 1,
    json_out: Json = False,
) -> None:
    """Where the time of a model goes, operator by operator; with two files, which operators grew, came, went or fell back."""
    from swapbench.bench import PAIRED_PLAN
    from swapbench.commands import profile as commands
    from swapbench.report.tables import operator_tables as operators

    request = commands.ProfileRequest(
        one, other, device, tuple(runtime or ()), timed=not graph, processes=processes,
        plan=PAIRED_PLAN.replace(threads=threads),
    )  # fmt: skip
    with terminal.progress() as progress:
        found = commands.profile(terminal.folders(), request, progress=progress)
    told = (found.files, found.counted, found.breakdowns, found.difference)
    print(operators.json_text(*told) if json_out else operators.terminal(*told, top), end="")
