"""What `swapbench report` does.

Run folders -> the whole report, one table that was asked for, or a recommendation.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import store
from swapbench.errors import BadRecord, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table as RichTable

    from swapbench.catalog import Folders
    from swapbench.ports import Say
    from swapbench.records import Record
    from swapbench.report.tables.table import Table
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
    """The run folders that were named, each once; patterns are filled in, and the newest run stands for none.

    Of several, those that are no runs are left out and named: `reports/*` holds more than runs. Raises
    BadRecord where nothing is left.
    """
    if not runs:
        newest = store.newest_run(folders.reports)
        if newest is None:
            raise BadRecord("there is no run in reports/ yet", remedy="Make one with: swapbench run")
        return (newest,)
    named: list[Path] = []
    for run in runs:
        filled = _MAGIC & set(str(run)) and not run.exists()
        named += sorted(Path(path) for path in glob.glob(str(run))) if filled else [run]  # noqa: PTH207 - absolute patterns too
        if filled and not named:
            raise BadRecord(
                f"nothing is named like {run}", remedy="Name the folders of runs, as in reports/*"
            )
    named = list({path.resolve(): path for path in named}.values())
    found = tuple(path for path in named if any((path / "records").glob("*.json")))
    if not found:
        raise BadRecord(f"{named[0]} holds no records", remedy="Make some with: swapbench run")
    if len(found) < len(named):
        say(f"no runs, left out: {', '.join(str(path) for path in named if path not in found)}")
    return found


def table(
    folders: Folders, runs: Sequence[Path], relative_to: str | None, say: Say
) -> tuple[Table, tuple[Path, ...]]:
    """The table of some runs, and their folders.

    Rows that were summed up before are taken from build/rows/.
    """
    from swapbench.report.rows.row_cache import rows_of_run
    from swapbench.report.tables.table import table_of_rows

    chosen = run_folders(folders, runs, say)
    kept = folders.build / "rows"
    rows = [row for folder in chosen for row in rows_of_run(folder, kept)]
    return table_of_rows(rows, relative_to), chosen


def recommendations(drawn: Table, query: Query, requirements: Sequence[str]) -> tuple[str, ...]:
    """What to take of the chosen rows under some requirements, one paragraph for each device and data.

    See report.pareto.
    """
    from swapbench.report.choose.recommendation import recommend
    from swapbench.report.tables.columns import constraint
    from swapbench.report.tables.view import view_of

    rows = view_of(drawn, query).rows
    wanted = [constraint(text, rows) for text in requirements]
    return tuple(one.text for one in recommend(rows, wanted))


def terminal_table(drawn: Table, query: Query) -> RichTable:
    """The table that was asked for, for a terminal; the usual one where nothing was."""
    from swapbench.report.tables import skins
    from swapbench.report.tables.view import view_of

    return skins.as_rich(view_of(drawn, query)) if query else skins.usual_table(drawn)


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
    folders: Folders,
    runs: Sequence[Path],
    out: Path | None,
    relative_to: str | None,
    say: Say,
    *,
    literature: bool = False,
) -> WholeReport:
    """Draw the whole report of one or several runs from their records.

    Literature: with the published numbers.
    """
    from swapbench.report import writer
    from swapbench.report.literature import literature as published

    drawn, chosen = table(folders, runs, relative_to, say)
    folder = _folder_for(chosen, out)
    records, run_folders = _records(chosen)
    files = writer.write_report(
        records, folder, relative_to, run_folders, table=drawn, kinds=writer.EVERY_FIGURE,
        literature=published() if literature else (),
    )  # fmt: skip
    return WholeReport(drawn, records, files)


def write_figure(
    folders: Folders,
    runs: Sequence[Path],
    query: Query,
    relative_to: str | None,
    out: Path | None,
    say: Say,
    *,
    kind: str,
    history: Path | None,
    **options: str,
) -> tuple[Path, ...]:
    """Draw one figure of the chosen rows, with its data; a pruning search needs no run.

    Options: as in report.figures.draw.
    """
    from swapbench.report import writer
    from swapbench.report.tables.view import view_of

    if kind == "search":
        found = writer.write_figure(kind, None, (), {}, out or Path(), history=history, **options)
    else:
        drawn, chosen = table(folders, runs, relative_to, say)
        drawn = replace(drawn, rows=view_of(drawn, query).rows)
        records, run_folders = _records(chosen)
        found = writer.write_figure(kind, drawn, records, run_folders, _folder_for(chosen, out), **options)
    return found


def _records(chosen: Sequence[Path]) -> tuple[tuple[Record, ...], dict[tuple[str, str], Path]]:
    """All records of some runs, and which run's folder each lies in."""
    of_run = {folder: store.load_run(folder) for folder in chosen}
    folder_of = {(one.run, one.id): folder for folder, found in of_run.items() for one in found}
    return tuple(one for found in of_run.values() for one in found), folder_of


def _folder_for(chosen: Sequence[Path], out: Path | None) -> Path:
    if out is None and len(chosen) > 1:
        raise UserError(
            "a report of several runs needs a folder of its own",
            remedy="Give one with --out, or print one table with --format",
        )
    return out or chosen[0]
