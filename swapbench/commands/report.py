"""What `swapbench report` does: run folders -> the whole report, one table or figure, or a recommendation."""

from __future__ import annotations

import glob
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import store
from swapbench.errors import BadRecord, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.catalog import Folders
    from swapbench.commands.options import FigureOptions, RunSelection
    from swapbench.ports import Say
    from swapbench.records import Record
    from swapbench.report.tables.table import Table
    from swapbench.report.tables.terminal import TerminalTable
    from swapbench.report.tables.view import Query
    from swapbench.report.writer import ReportFiles

_MAGIC = frozenset("*?[")


@dataclass(frozen=True)
class WholeReport:
    """The table of a report, its records and what was written."""

    table: Table
    records: tuple[Record, ...]
    files: ReportFiles


def run_folders(folders: Folders, runs: Sequence[Path], say: Say) -> tuple[Path, ...]:
    """The run folders that were named, each once; patterns are expanded, and the newest run stands for none.

    Of several, those that are not runs are left out and named: `reports/*` holds more than runs.

    Raises:
        BadRecord: Nothing is left.
    """
    if not runs:
        newest = store.newest_run(folders.reports)
        if newest is None:
            raise BadRecord("there is no run in reports/ yet", remedy="Make one with: swapbench run")
        return (newest,)
    named: list[Path] = []
    for run in runs:
        if run.exists() or not _MAGIC & set(str(run)):
            named.append(run)
            continue
        named += sorted(Path(path) for path in glob.glob(str(run)))  # noqa: PTH207 - absolute patterns too
        if not named:
            raise BadRecord(f"nothing matches {run}", remedy="Name the folders of runs, as in reports/*")
    named = list({path.resolve(): path for path in named}.values())
    chosen = tuple(path for path in named if any((path / "records").glob("*.json")))
    if not chosen:
        raise BadRecord(f"{named[0]} holds no records", remedy="Make some with: swapbench run")
    if len(chosen) < len(named):
        others = ", ".join(str(path) for path in named if path not in chosen)
        say(f"left out, because they are not runs: {others}")
    return chosen


def table(folders: Folders, selection: RunSelection, say: Say) -> tuple[Table, tuple[Path, ...]]:
    """The table of some runs, and their folders. Rows that were made before are taken from build/rows/."""
    from swapbench.report.rows.row_cache import rows_of_run
    from swapbench.report.tables.table import table_of_rows

    chosen = run_folders(folders, selection.runs, say)
    rows = [row for folder in chosen for row in rows_of_run(folder, folders.build / "rows")]
    return replace(table_of_rows(rows, selection.relative_to), raw_csv=selection.raw_csv), chosen


def recommendations(drawn: Table, query: Query, requirements: Sequence[str]) -> tuple[str, ...]:
    """What to take of the chosen rows under some requirements, one paragraph for each device and data."""
    from swapbench.report.choose.recommendation import recommend
    from swapbench.report.tables.columns import constraint
    from swapbench.report.tables.view import view_of

    rows = view_of(drawn, query).rows
    wanted = [constraint(text, rows) for text in requirements]
    return tuple(advice.text for advice in recommend(rows, wanted))


def terminal_table(drawn: Table, query: Query, *, every_doubt: bool) -> TerminalTable:
    """The table that was asked for, for a terminal; the usual one where nothing was."""
    from swapbench.report.tables.terminal import TerminalTable, usual_view
    from swapbench.report.tables.view import view_of

    return TerminalTable(view_of(drawn, query) if query else usual_view(drawn), every_doubt)


def published() -> str:
    """The published numbers as Markdown, which a terminal can show too."""
    from swapbench.report.literature import as_markdown, literature

    return as_markdown(literature())


def write_tables(drawn: Table, query: Query, skin: str | None, out: Path) -> tuple[Path, ...]:
    """Keep one skin of the table, or all of them, as `table.<suffix>` in a folder."""
    from swapbench.files import write_atomically
    from swapbench.report.tables.skins import SUFFIXES, text_of

    written = []
    for name in [skin] if skin else SUFFIXES:
        written.append(out / f"table.{SUFFIXES[name]}")
        write_atomically(written[-1], text_of(drawn, query, name))
    return tuple(written)


def write_report(
    folders: Folders, selection: RunSelection, say: Say, *, literature: bool = False
) -> WholeReport:
    """Draw the whole report of some runs from their records, with the published numbers if `literature`."""
    from swapbench.report import writer
    from swapbench.report.literature import literature as published

    drawn, chosen = table(folders, selection, say)
    folder = _folder_for(chosen, selection.out)
    records, folder_of = records_of(chosen)
    files = writer.write_report(
        records,
        folder,
        selection.relative_to,
        folder_of,
        table=drawn,
        kinds=writer.EVERY_FIGURE,
        literature=published() if literature else (),
    )
    return WholeReport(drawn, records, files)


def write_figure(
    folders: Folders, selection: RunSelection, query: Query, kind: str, options: FigureOptions, say: Say
) -> tuple[Path, ...]:
    """Draw one figure of the chosen rows, with its data; a pruning search needs no run."""
    from swapbench.report import figures, writer
    from swapbench.report.tables.view import view_of

    drawn_as = figures.Options(**asdict(options))
    if kind == "search":
        return writer.write_figure(kind, None, (), {}, selection.out or Path(), drawn_as)
    drawn, chosen = table(folders, selection, say)
    drawn = replace(drawn, rows=view_of(drawn, query).rows)
    records, folder_of = records_of(chosen)
    return writer.write_figure(kind, drawn, records, folder_of, _folder_for(chosen, selection.out), drawn_as)


def write_paper(
    folders: Folders, selection: RunSelection, query: Query, folder: Path, options: FigureOptions, say: Say
) -> tuple[Path, ...]:
    """Write an example paper with every table and figure of the chosen rows."""
    from swapbench.report import figures, writer

    drawn, chosen = table(folders, selection, say)
    records, folder_of = records_of(chosen)
    drawn_as = figures.Options(**asdict(options))
    return writer.write_paper(drawn, query, records, folder_of, folder, drawn_as)


def records_of(chosen: Sequence[Path]) -> tuple[tuple[Record, ...], dict[tuple[str, str], Path]]:
    """All records of some runs, and the folder of the run that each lies in."""
    runs = {folder: store.load_run(folder) for folder in chosen}
    folder_of = {(record.run, record.id): folder for folder, records in runs.items() for record in records}
    return tuple(record for records in runs.values() for record in records), folder_of


def _folder_for(chosen: Sequence[Path], out: Path | None) -> Path:
    if out is None and len(chosen) > 1:
        raise UserError(
            "a report of several runs needs a folder of its own",
            remedy="Give one with --out, or print one table with --format",
        )
    return out or chosen[0]
