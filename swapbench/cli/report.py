"""The command that shows and draws what was measured: report."""

from __future__ import annotations

import contextlib
import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swapbench.cli import terminal
from swapbench.cli.groups import Group
from swapbench.cli.options import Doubts, Json, RawCsv, RelativeTo, Runs
from swapbench.cli.panels import OUTPUT
from swapbench.commands.options import FigureOptions, RunSelection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIGURE = "Figure"
TABLE = "Table"


def _selection(
    runs: Runs = None,
    relative_to: RelativeTo = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder to write to. By default the run's own; a single table is only printed.",
        ),
    ] = None,
    raw_csv: RawCsv = False,
) -> RunSelection:
    return RunSelection(tuple(runs or ()), relative_to, out, raw_csv)


def _query(
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Columns, separated by commas: latency_p50,acer,energy."),
    ] = None,
    sort: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Columns to sort by, -name for descending: acer,-speed_up."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Split the table by device, runtime, precision, format, model or another text column.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help='Keep only rows that meet it: runtime=litert, "acer<=0.05". Repeatable.'
        ),
    ] = None,
    notes: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Below a LaTeX table: none, short, or full for every reason and doubt.",
        ),
    ] = "short",
) -> object:
    from swapbench.catalog import split_commas
    from swapbench.report.tables.latex import notes_of
    from swapbench.report.tables.view import Query

    return Query(
        columns=split_commas(columns or ()),
        sort=split_commas(sort or ()),
        group=split_commas(group or ()),
        where=tuple(where or ()),
        notes=notes_of(notes),
    )


def _figure(
    x: Annotated[str, typer.Option(metavar="NAME", help="x-axis of pareto and decision.")] = "latency_p50",
    y: Annotated[str, typer.Option(metavar="NAME", help="y-axis of pareto and decision.")] = "acer",
    style: Annotated[str, typer.Option(metavar="NAME", help="paper or screen.")] = "paper",
    width: Annotated[
        str, typer.Option(metavar="NAME", help="column, page, or inches, as in 5.2.")
    ] = "column",
    history: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV of a pruning search or of a system's, for the figure search."),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Names beside the points of pareto (names), numbers with a legend (keys), or auto.",
        ),
    ] = "auto",
    shares: Annotated[
        bool,
        typer.Option(
            "--shares/--no-shares",
            show_default=False,
            help="Say beside each name of pareto in how many draws the file is on the front.",
        ),
    ] = False,
    uncertainty: Annotated[
        str,
        typer.Option(metavar="NAME", help="Intervals of pareto as bars, bars with caps, or an ellipse."),
    ] = "bars",
) -> FigureOptions:
    return FigureOptions(x, y, style, width, history, labels, shares, uncertainty)


def report(
    selection: Annotated[RunSelection, Group(OUTPUT, _selection)],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="SKIN",
            rich_help_panel=TABLE,
            help="Print one table as markdown, latex, csv, json or html. By default a terminal table.",
        ),
    ] = None,
    *,
    query: Annotated[Any, Group(TABLE, _query)],
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            rich_help_panel="Advice",
            help='Recommend the cheapest row that meets it: "p90<=30ms", "acer<=5 %". Repeatable.',
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            rich_help_panel=FIGURE,
            help="Draw only pareto, decision, swap, latency, species, det, sustained, fps, or search (with "
            "--history).",
        ),
    ] = None,
    figure_options: Annotated[FigureOptions, Group(FIGURE, _figure)],
    literature: Annotated[
        bool,
        typer.Option(
            "--literature",
            rich_help_panel=OUTPUT,
            help="Add published numbers, marked as such and kept apart.",
        ),
    ] = False,
    paper: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=OUTPUT,
            help="Write an example paper of two columns with every table and figure, to copy from.",
        ),
    ] = None,
    doubts: Doubts = False,
    json_out: Json = False,
) -> None:
    """Write tables, figures and a page from a run's records.

    With an option for tables or figures, or with --require, it makes only what was asked for.
    """
    from swapbench import catalog
    from swapbench.commands import report as job
    from swapbench.errors import UserError
    from swapbench.report.tables.skins import SUFFIXES, text_of

    folders = terminal.folders()
    skin = format_ and catalog.checked_names("format", [format_], tuple(SUFFIXES))[0]
    single = skin or query or require or figure or paper
    if literature and (single or json_out) and skin != "markdown":
        raise UserError(
            "--literature works with a whole report or a Markdown table only",
            remedy="Leave the other options out, or add --format markdown",
        )
    if figure:
        _say_written(job.write_figure(folders, selection, query, figure, figure_options, terminal.say))
    if paper:
        _say_written(job.write_paper(folders, selection, query, paper, figure_options, terminal.say))
    if require:
        drawn, _ = job.table(folders, selection, terminal.say)
        advice = job.recommendations(drawn, query, require)
        terminal.show(json.dumps(advice, indent=1, ensure_ascii=False) if json_out else "\n\n".join(advice))
    elif skin or (query and not figure and not paper):
        with _uncollected():
            drawn, _ = job.table(folders, selection, terminal.say)
            if skin or json_out:
                terminal.show(text_of(drawn, query, skin or "json"), end="")
            else:
                terminal.print_table(job.terminal_table(drawn, query, every_doubt=doubts))
        if literature:
            terminal.show(f"\n{job.published()}", end="")
        if selection.out:
            _say_written(job.write_tables(drawn, query, skin, selection.out))
    elif not single:
        whole = job.write_report(folders, selection, terminal.say, literature=literature)
        if json_out:
            terminal.show(text_of(whole.table, query, "json"), end="")
        else:
            terminal.print_table(job.terminal_table(whole.table, query, every_doubt=doubts))
        if literature:
            terminal.show(f"\n{job.published()}", end="")
        _say_written(whole.files.all)
        for text in whole.files.remarks:
            terminal.say(text)


def _say_written(paths: Sequence[Path]) -> None:
    for path in paths:
        terminal.say(f"wrote {path}")


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles: a large table is millions of values and no cycle.

    Looking for one takes a quarter of its time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
