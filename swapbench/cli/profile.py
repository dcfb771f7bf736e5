"""The command about operators: profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import DeviceName, Json, Runtimes, ShapeTexts, Threads
from swapbench.commands.options import PROFILE_PROCESSES, input_shapes


def profile(
    baseline: Annotated[Path, typer.Argument(metavar="A", help="A model file.")],
    candidate: Annotated[
        Path | None, typer.Argument(metavar="B", help="A second file, to see what differs.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="How many operators to show.")] = 10,
    graph: Annotated[
        bool, typer.Option("--graph", help="Show only what the files hold; run and time nothing.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=2, metavar="N", help="Fresh processes per file; more give steadier shares.")
    ] = PROFILE_PROCESSES,
    device: DeviceName = "local",
    runtime: Runtimes = None,
    shape: ShapeTexts = None,
    threads: Threads = 1,
    json_out: Json = False,
) -> None:
    """Show where a model's time goes, operator by operator.

    With two files: which operators grew, came, went or fell back to a slower kernel.
    """
    from swapbench.bench import PAIRED_PLAN
    from swapbench.commands import profile as commands
    from swapbench.report.tables import operator_tables

    request = commands.ProfileRequest(
        baseline,
        candidate,
        device,
        tuple(runtime or ()),
        timed=not graph,
        processes=processes,
        plan=PAIRED_PLAN.replace(threads=threads),
        shapes=input_shapes(shape or ()),
    )
    with terminal.progress() as progress:
        result = commands.profile(terminal.folders(), request, progress=progress)
    tables = (result.files, result.counted, result.breakdowns, result.difference)
    terminal.show(
        operator_tables.json_text(*tables) if json_out else operator_tables.terminal(*tables, top), end=""
    )
