"""What `swapbench history` does: add runs, show how numbers moved, export them, and advise a gate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swapbench import history, repository
from swapbench.bench.run_folder import read_about
from swapbench.commands.report import run_folders
from swapbench.errors import UserError
from swapbench.files import write_atomically
from swapbench.history import MeasuredAt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.options import TrendSelection
    from swapbench.errors import SwapbenchError
    from swapbench.history import Added, History
    from swapbench.ports import Say
    from swapbench.report.trends.series import Point, Trends

COMMITS_AT_MOST: Final = 50
"""So many commits between the two sides of a change are named."""
_NO_COMMIT: Final = "Give it with --commit, as git log shows it"


def add(
    folders: Folders, runs: Sequence[Path], folder: Path, commit: str | None, say: Say
) -> tuple[list[tuple[Path, Added]], list[tuple[str, SwapbenchError]]]:
    """Add runs to a history.

    Args:
        folders: Of the working folder, whose repository knows the commits.
        runs: Folders or patterns; the newest run if empty.
        folder: Of the history.
        commit: What all of them were measured at; None where each run says so itself, or git does.
        say: Told of what was assumed.

    Returns:
        What came of each run, and the records that could not be read.

    Raises:
        UserError: The commit of a run is not known.
    """
    chosen = run_folders(folders, runs, say)
    measured_at = {run: _measured_at(folders.root, run, commit, say) for run in chosen}
    added = [(run, history.add(folder, run, at)) for run, at in measured_at.items()]
    return added, [failure for _, one in added for failure in one.failures]


def _measured_at(root: Path, run: Path, named: str | None, say: Say) -> MeasuredAt:
    """The commit that was named, else what the run says, else the one at hand if the run is younger."""
    if named is not None:
        known = repository.commit(root, named)
        if known is not None:
            return MeasuredAt(commit=known.name, time=known.time)
        if not repository.is_commit_name(named):
            raise UserError(
                f"--commit {named!r} is not the name of a commit",
                remedy="Write 7 to 64 of its hexadecimal digits, as git log shows them",
            )
        say(f"the repository here has no commit {named}, so its date is not known")
        return MeasuredAt(commit=named)
    about = read_about(run)
    said = history.said_by_run(about)
    if said is not None:
        return said
    head = repository.commit(root)
    if head is None:
        raise UserError(f"{run} does not say at which commit it was made", remedy=_NO_COMMIT)
    newest = max(path.stat().st_mtime for path in (run / "records").glob("*.json"))
    if newest < head.time.timestamp():
        raise UserError(
            f"{run} does not say at which commit it was made, and it is older than the one at hand",
            remedy=_NO_COMMIT,
        )
    at = MeasuredAt(commit=head.name, time=head.time, changed=repository.is_changed(root))
    say(f"{run.name} does not say at which commit it was made; taken for the one at hand, {head.name[:10]}")
    return at


def trends(folders: Folders, folder: Path, chosen: TrendSelection) -> Trends:
    """The trends of a history, with the commits between the two sides of each change.

    Raises:
        UserError: There is no history.
        UnknownName: There is no such column.
    """
    from swapbench.report.rows.comparable import names_of
    from swapbench.report.tables.columns import numeric_column
    from swapbench.report.tables.view import where
    from swapbench.report.trends import series

    kept = history.existing(folder)
    points, remarks = points_of(folders, kept)
    rows = [point.row for point in points]
    columns = tuple(numeric_column(name, rows) for name in chosen.columns)
    left = {id(row) for row in where(rows, chosen.where)}
    points = [point for point in points if id(point.row) in left]
    names = names_of(point.row for point in points)
    drawn = series.Trends(
        series.series_of(points, columns), {name: place for place, name in names.items()}, remarks=remarks
    )
    neighbours = {one.neighbours(change) for one, change in drawn.changes}
    found = {
        pair: repository.commits_between(folders.root, *pair, at_most=COMMITS_AT_MOST) for pair in neighbours
    }
    commits = {pair: between for pair, between in found.items() if between is not None}
    return replace(drawn, commits=commits)


def points_of(folders: Folders, kept: History) -> tuple[list[Point], tuple[str, ...]]:
    """The records of a history with their commits, and sentences about those that are missing."""
    from swapbench.report.rows.row_cache import rows_by_digest
    from swapbench.report.trends.series import Point

    bad: dict[str, str] = {}
    records = kept.folder / "records"
    rows = (
        rows_by_digest(
            records, folders.build / "rows", lambda digest, error: bad.update({digest: error.args[0]})
        )
        if records.is_dir()
        else {}
    )
    measured_at = kept.measured_at
    points = [Point(digest, at, rows[digest]) for digest, at in measured_at.items() if digest in rows]
    remarks = [f"Left out: {text}." for text in kept.damaged]
    remarks += [f"Left out: {text}." for digest, text in bad.items() if digest in measured_at]
    lost = [digest for digest in measured_at if digest not in rows and digest not in bad]
    if lost:
        remarks.append(
            f"{len(lost)} of {len(measured_at)} records are missing or not as they were added, such as "
            f"{lost[0][:12]}: add their runs again, or restore the files."
        )
    return points, tuple(remarks)


def write_page(drawn: Trends, folder: Path, out: Path | None) -> Path:
    """Write the page, to `out` (a file, or a folder for index.html) or into the history's folder."""
    from swapbench.report.trends.page import page_html

    target = folder / "index.html" if out is None else out
    if target.suffix != ".html":
        target /= "index.html"
    write_atomically(target, page_html(drawn, folder.resolve().name))
    return target


def export(drawn: Trends, name: str, place: str | None) -> str:
    """The latest numbers in the format of a service.

    Raises:
        UnknownName: There is no such format.
        UserError: There are several places, or no numbers.
    """
    from swapbench.errors import UnknownName
    from swapbench.report.trends.exports import EXPORTS, latest

    if name not in EXPORTS:
        raise UnknownName("export format", name, EXPORTS)
    return EXPORTS[name](latest(drawn.series, place))
