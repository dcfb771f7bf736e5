"""The files that shall decide together: their records and scores in one run, measured first where need be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swapbench import store
from swapbench.errors import BadRecord, UnknownName, UserError
from swapbench.files import file_sha256
from swapbench.records import Absent
from swapbench.systems.computed import Known
from swapbench.systems.costs import Prices, drawn_medians
from swapbench.systems.scores import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.catalog import Folders
    from swapbench.commands.options import SystemOptions
    from swapbench.pad.scores import FoldFrames
    from swapbench.ports import Progress, Say
    from swapbench.records import Record
    from swapbench.report.rows.row import Row

DRAWS = 1000


@dataclass(frozen=True)
class Members:
    """Files of one run that may be compared with each other.

    Attributes:
        run: its folder
        records: of the files, in the order in which they were named
        rows: of these records
        known: their scores and what an inference costs
    """

    run: Path
    records: tuple[Record, ...]
    rows: tuple[Row, ...]
    known: Known


def members(
    folders: Folders, names: Sequence[str], options: SystemOptions, *, progress: Progress, say: Say
) -> Members:
    """The members of a system: from the records of a run, else measured now.

    Raises:
        UnknownName: neither a file nor in the run.
        UserError: They cannot be compared, or one has no times or no scores.
    """
    from swapbench.report.rows.summary import summary

    run, records = _found(folders, names, options, progress=progress, say=say)
    if len({(record.artifact_sha256, record.runtime.runtime) for record in records}) < len(records):
        raise UserError("a file is named twice", remedy="A system asks each file once: leave one of them out")
    rows = tuple(map(summary, records))
    _check_parts(records)
    _check_comparable(rows, records)
    titles = tuple(record.title for record in records)
    folds = joined(titles, [_frames(run, record) for record in records])
    left_out = sum(fold.dev.left_out + fold.test.left_out for fold in folds)
    if left_out:
        say(f"{left_out} frames lack a score of a member and are left out for all of them.")
    known = Known(titles, tuple((one.run, one.id) for one in records), folds, _times(rows), _energies(rows))
    return Members(run, records, rows, known)


# ---- Finding them ----


def _found(
    folders: Folders, names: Sequence[str], options: SystemOptions, *, progress: Progress, say: Say
) -> tuple[Path, tuple[Record, ...]]:
    """The run and the records of the files, which are measured where the newest run lacks them."""
    run = options.run or (None if options.data.named else store.newest_run(folders.reports))
    if run is not None:
        known = [record for record in store.load_run(run) if record.decision is None]
        lacking = [name for name in names if not _matching(name, known, options.runtimes)]
        if not lacking:
            return run, tuple(_record(name, known, run, options.runtimes) for name in names)
        if options.run is not None or not all(map(_is_file, names)):
            missing = next((name for name in lacking if not _is_file(name)), lacking[0])
            raise UnknownName(f"file in the run {run.name}", missing, {one.title for one in known})
    for name in names:
        if not _is_file(name):
            raise UserError(
                f"there is no file {name}, and no run to take it from",
                remedy="Name model files, or measure some first: swapbench run",
            )
    folder = _measured(folders, names, options, progress=progress, say=say)
    records = [record for record in store.load_run(folder) if record.decision is None]
    return folder, tuple(_record(name, records, folder, options.runtimes) for name in names)


def _is_file(name: str) -> bool:
    """Whether it names a file, alone or with its card."""
    return Path(name).is_file() or Path(name.rpartition("=")[0] or name).is_file()


def _matching(name: str, records: Sequence[Record], runtimes: Sequence[str]) -> list[Record]:
    """The records of a file by its name in tables, its file name, its id or its path."""
    path = Path(name if Path(name).exists() else name.rpartition("=")[0] or name)
    return [
        record
        for record in records
        if (not runtimes or record.runtime.runtime in runtimes)
        and (
            name in {record.title, record.artifact, record.id, record.variant.name}
            or (path.is_file() and path.name == record.artifact)
        )
    ]


def _record(name: str, records: Sequence[Record], run: Path, runtimes: Sequence[str]) -> Record:
    """The one record of a file; of several the one of the file's content."""
    matching = _matching(name, records, runtimes)
    path = Path(name if Path(name).exists() else name.rpartition("=")[0] or name)
    if path.is_file() and matching:
        digest = file_sha256(path)
        same = [record for record in matching if record.artifact_sha256 == digest]
        if not same:
            raise UserError(
                f"{name} is another file than the one of that name in the run {run.name}",
                remedy="Measure it: swapbench run FILES, or name its records' run with --run",
            )
        matching = same
    if not matching:
        raise UnknownName(f"file in the run {run.name}", name, {record.title for record in records})
    if len(matching) > 1:
        listed = ", ".join(record.id for record in matching)
        raise UserError(
            f"{name} is {len(matching)} records of the run {run.name}: {listed}",
            remedy="Name one of them by its id, or choose with --runtime",
        )
    return matching[0]


def _measured(
    folders: Folders, names: Sequence[str], options: SystemOptions, *, progress: Progress, say: Say
) -> Path:
    """A run of the files."""
    from swapbench.commands import run as main_job

    say("These files have no records yet, so they are measured first.")
    request = main_job.RunRequest(
        tuple(names), runtimes=options.runtimes, data=options.data, card=options.card
    )
    result = main_job.run(folders, request, progress=progress, say=say)
    for title, error in result.failures:
        raise UserError(f"{title} could not be measured: {error.args[0]}", remedy=error.remedy) from error
    return result.folder


# ---- Whether they go together ----


def _check_parts(records: Sequence[Record]) -> None:
    """Raise UserError where a part of a network does not come right after the part that it reads."""
    for place, record in enumerate(records):
        reads = None if record.card is None else record.card.reads
        if reads is None:
            continue
        before = records[place - 1] if place else None
        if before is None or before.card is None or before.card.stem != reads.card:
            raise UserError(
                f"{record.title} reads {reads.output} of {reads.card}, which must be named right before it",
                remedy="Name the parts of a network in their order",
            )
        ours, theirs = (
            (one.variant.precision, one.variant.format, one.runtime.runtime) for one in (record, before)
        )
        if ours != theirs:
            raise UserError(
                f"{record.title} was scored with a part in {ours[0]} ({ours[1]}) under {ours[2]}, and"
                f" {before.title} is in {theirs[0]} ({theirs[1]}) under {theirs[2]}",
                remedy="Take the parts in one precision and format, under one runtime",
            )


def _check_comparable(rows: Sequence[Row], records: Sequence[Record]) -> None:
    from swapbench.report.rows.comparable import why_not
    from swapbench.report.tables.columns import COLUMNS

    parts = [row for row, one in zip(rows, records, strict=True) if one.card is not None and one.card.reads]
    for row in rows:
        if row.speed is None:
            raise UserError(
                f"{row.label} has no times: {COLUMNS['latency_p50'].absent(row)}", remedy="Measure it again"
            )
        if row.accuracy is None and row not in parts:
            raise UserError(
                f"{row.label} has no scores: {COLUMNS['acer'].absent(row)}",
                remedy="Give data and a card: swapbench run FILE=CARD --data FOLDER",
            )
    first = rows[0]
    for row in rows[1:]:
        for name in ("latency_p50", *(() if row in parts else ("auc",))):
            if why := why_not(first, row, COLUMNS[name]):
                raise UserError(
                    f"{first.label} and {row.label} cannot decide together: they differ in {why}",
                    remedy="Measure both in one run, on the same data: swapbench run FILES --data FOLDER",
                )


def _frames(run: Path, record: Record) -> tuple[FoldFrames, ...]:
    """The score of every frame behind a record's accuracy."""
    from swapbench.pad.metrics import FoldScores, folds_sha256
    from swapbench.pad.score_files import read_frames

    path = store.scores_path(run, record.id)
    if not path.is_file():
        if isinstance(record.accuracy, Absent):
            raise UserError(
                f"{record.title} has no scores: {record.accuracy.absent}", remedy=record.accuracy.remedy
            )
        raise BadRecord(
            f"the scores of {record.title} are not in {path.parent}",
            remedy="Measure it again: swapbench run keeps the score of every frame",
        )
    frames = read_frames(path)
    digest = folds_sha256([FoldScores.of_frames(fold) for fold in frames])
    if not isinstance(record.accuracy, Absent) and digest != record.accuracy.scores_sha256:
        raise BadRecord(
            f"{path} does not hold the scores that the record of {record.title} rests on",
            remedy="Measure it again",
        )
    return frames


# ---- What an inference costs ----


def _times(rows: Sequence[Row]) -> Prices:
    shown = []
    for row in rows:
        assert row.speed is not None
        shown.append(list(row.speed.p50_by_round_ns.values()))
    each = np.array([row.speed.p50_ns for row in rows if row.speed is not None])
    return Prices(each, drawn_medians(shown, DRAWS, 0))


def _energies(rows: Sequence[Row]) -> Prices | Absent:
    from swapbench.report.rows.comparable import why_not
    from swapbench.report.tables.columns import COLUMNS

    energy = COLUMNS["energy"]
    for row in rows:
        if energy.number(row) is None:
            return Absent(absent=f"no energy is known of {row.label}", remedy="Its own row says why")
        if why := why_not(rows[0], row, energy):
            return Absent(absent=f"the energies of {rows[0].label} and {row.label} differ in {why}")
    each = np.array([row.energy[0].above_idle_uj for row in rows])
    reach = np.array([row.energy[0].uncertainty_uj for row in rows])
    drawn = np.random.default_rng(0).uniform(-1, 1, (len(rows), DRAWS))
    return Prices(each, each[:, None] + reach[:, None] * drawn)
