"""The command that shows and draws what was measured: report."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import Json, RelativeTo
from swapbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders, or patterns such as 'reports/*'; the newest run if none."),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="SKIN",
            help="Print one table: markdown, latex, csv, json or html; terminal if none.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="Columns of the table, parted by commas: latency_p50,acer,energy."
        ),
    ] = None,
    sort: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Columns to sort by; -name for descending: acer,-speed_up."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="device, runtime, precision, format, model, ...; a part of the table each."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help='Only such rows: runtime=litert, "acer<=0.05"; repeat for several.'
        ),
    ] = None,
    relative_to: RelativeTo = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help='Recommend the cheapest row that keeps to it: "p90<=30ms", "acer<=5 %"; repeat for several.',
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Draw one figure: pareto, swap, latency, species, det, sustained, fps, or search (with --history).",
        ),
    ] = None,
    x: Annotated[str, typer.Option("--x", metavar="NAME", help="Column across, for pareto.")] = "latency_p50",
    y: Annotated[str, typer.Option("--y", metavar="NAME", help="Column upwards, for pareto.")] = "acer",
    style: Annotated[str, typer.Option(help="Of the figure: paper or screen.")] = "paper",
    width: Annotated[str, typer.Option(help="Of the figure: column or page.")] = "column",
    history: Annotated[
        Path | None, typer.Option(help="CSV of a pruning search, for the figure search.")
    ] = None,
    literature: Annotated[
        bool, typer.Option("--literature", help="With published numbers, marked as such and kept apart.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; if not given, the run's own folder, and a single table is only printed."
        ),
    ] = None,
    json_out: Json = False,
) -> None:
    """Show and draw what was measured, from records alone: all tables, figures and a page, or the one thing asked for."""
    from swapbench import catalog
    from swapbench.commands import report as job
    from swapbench.report.tables.skins import SUFFIXES, text_of
    from swapbench.report.tables.view import Query

    folders = terminal.folders()
    query = Query(
        columns=catalog.split_commas(columns or ()),
        sort=catalog.split_commas(sort or ()),
        group=catalog.split_commas(group or ()),
        where=tuple(where or ()),
    )
    skin = format_ and catalog.checked_names("format", [format_], tuple(SUFFIXES))[0]
    single = skin or query or require or figure
    if literature and (single or json_out) and skin != "markdown":
        raise UserError(
            "published numbers stand beside a whole report or a Markdown table only",
            remedy="Leave the other options out, or add --format markdown",
        )
    if figure:
        written = job.write_figure(
            folders, runs or (), query, relative_to, out, terminal.say, kind=figure, history=history, x=x, y=y, style=style,
            width=width,
        )  # fmt: skip
        for path in written:
            terminal.say(f"wrote {path}")
    if require:
        drawn, _ = job.table(folders, runs or (), relative_to, terminal.say)
        found = job.recommendations(drawn, query, require)
        print(json.dumps(found, indent=1, ensure_ascii=False) if json_out else "\n\n".join(found))
    elif skin or (query and not figure):
        with _uncollected():
            drawn, _ = job.table(folders, runs or (), relative_to, terminal.say)
            if skin or json_out:
                print(text_of(drawn, query, skin or "json"), end="")
            else:
                _print(job.terminal_table(drawn, query))
        if literature:
            print(f"\n{job.published()}", end="")
        for path in job.write_tables(drawn, query, skin, out) if out else ():
            terminal.say(f"wrote {path}")
    elif not single:
        whole = job.write_report(folders, runs or (), out, relative_to, terminal.say, literature=literature)
        if json_out:
            print(text_of(whole.table, query, "json"), end="")
        else:
            _print(job.terminal_table(whole.table, query))
        if literature:
            print(f"\n{job.published()}", end="")
        for path in whole.files.all:
            terminal.say(f"wrote {path}")
        for text in whole.files.remarks:
            terminal.say(text)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles: a large table is millions of values and no cycle, and looking takes a quarter of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(report)
