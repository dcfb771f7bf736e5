"""The commands of the history: show, add, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.groups import Group
from swapbench.cli.options import Json, Runs
from swapbench.cli.panels import OUTPUT, WHAT
from swapbench.commands.options import TrendSelection

Folder = Annotated[
    Path,
    typer.Option(
        "--history",
        metavar="FOLDER",
        rich_help_panel=WHAT,
        help="Folder of the history. By default history/.",
    ),
]
_FOLDER = Path("history")
_WIDTH = 100


def _chosen(
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Columns, separated by commas: latency_p50,acer,energy."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help='Keep only rows that meet it: runtime=litert, "acer<=0.05". Repeatable.'
        ),
    ] = None,
) -> TrendSelection:
    from swapbench.catalog import split_commas

    return TrendSelection(split_commas(columns or ()), tuple(where or ()))


Trends = Annotated[TrendSelection, Group(WHAT, _chosen)]


def show(
    *,
    chosen: Trends,
    history: Folder = _FOLDER,
    page: Annotated[
        bool,
        typer.Option("--page", rich_help_panel=OUTPUT, help="Write an HTML page that works offline."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=OUTPUT,
            help="Where the page goes, a folder or an .html file. By default the history's folder.",
        ),
    ] = None,
    json_out: Json = False,
) -> None:
    """Show how speed, weight, accuracy and power moved from commit to commit, per place."""
    from swapbench.commands import history as commands
    from swapbench.report.trends.series import as_json
    from swapbench.report.trends.terminal import terminal_text

    drawn = commands.trends(terminal.folders(), history, chosen)
    if page or out is not None:
        terminal.show(commands.write_page(drawn, history, out))
    elif json_out:
        terminal.show(as_json(drawn))
    else:
        terminal.show(terminal_text(drawn, terminal.columns() if sys.stdout.isatty() else _WIDTH))


def add(
    runs: Runs = None,
    history: Folder = _FOLDER,
    commit: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=WHAT,
            help="Commit that they were measured at. By default what the run says, else the one at hand.",
        ),
    ] = None,
) -> int:
    """Add the records of runs, each once; nothing in a history is ever changed."""
    from swapbench.commands import history as commands

    added, failures = commands.add(terminal.folders(), runs or (), history, commit, terminal.say)
    for run, one in added:
        known = f", {one.known} there already" if one.known else ""
        terminal.show(f"{run}: {one.new} added{known}")
        if one.elsewhere:
            terminal.say(f"{run}: what was there keeps its commit, {', '.join(one.elsewhere)}")
    return terminal.report_failures(failures)


def export(
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="bencher, or github-smaller and github-bigger for github-action-benchmark's custom tools.",
        ),
    ] = "bencher",
    *,
    chosen: Trends,
    place: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=WHAT,
            help="Which of several places, as swapbench history --json names them.",
        ),
    ] = None,
    history: Folder = _FOLDER,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="File to write. By default standard output."
        ),
    ] = None,
) -> None:
    """Print the latest numbers of one place as JSON for Bencher or github-action-benchmark."""
    from swapbench.commands import history as commands
    from swapbench.files import write_atomically

    text = commands.export(commands.trends(terminal.folders(), history, chosen), format_, place)
    if out is None:
        terminal.show(text, end="")
    else:
        write_atomically(out, text)
        terminal.show(out)
