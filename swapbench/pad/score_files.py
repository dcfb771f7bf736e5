"""Score files: our own, other people's CSV and bob's columns, read into one table per fold and split.

Ours is a CSV with a row per frame, plain or `.csv.gz`:

    fold          empty where there is only one
    split         dev | test
    presentation  one trial; its frames are averaged
    frame         number of the frame in it
    subject       whose face is shown or was copied
    label         bona_fide | attack
    species       attack instrument species, empty for bona fide
    score         rises with bona fide; nan: failure to acquire
    data          what was scored, so that simulated data is still called so elsewhere

An apostrophe stands before a text that a spreadsheet would compute, and is no part of it when the file is
read.

The columns of other people's files are recognised by their usual names or named by the caller, and everything
that had to be assumed is listed in `ScoreFile.remarks`. A label that could mean either class is refused,
never guessed.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from swapbench.data.tables import read_table
from swapbench.data.words import NO_SPECIES
from swapbench.errors import BadDataset, UnknownName
from swapbench.files import whole_file
from swapbench.pad.frame_names import frames_for_trials, videos_of
from swapbench.pad.metrics import FoldScores, folds_sha256
from swapbench.pad.rates import auc
from swapbench.pad.score_columns import (
    COLUMNS,
    KNOWN_NAMES,
    labels_of,
    match_columns,
    numbers_of,
    species_of,
    splits_of,
    subjects_of,
    without_spaces,
)
from swapbench.pad.scores import LABEL_OF, FoldFrames, Scored, coded, mean_by_presentation
from swapbench.texts import quoted_cell, unquoted_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.tables import TextTable
    from swapbench.pad.scores import Scores, Text
    from swapbench.records import Accuracy

_BOB_FIELDS = (4, 5)
_ROWS_AT_ONCE = 65536
_TEXTS = frozenset({"fold", "presentation", "subject", "species", "data"})
"""Columns with texts of others."""

SIMULATED_MARK = " (simulated)"


@dataclass(frozen=True)
class ScoreFile:
    """A score file as tables of one row per presentation.

    Attributes:
        folds: dev is None where a fold has no development rows; test is empty where it has no test rows
        frames: rows of a split that is evaluated
        frames_without_score: how many of these have none
        remarks: what was assumed and what weakens the numbers, in sentences
    """

    folds: tuple[FoldScores, ...]
    frames: int
    frames_without_score: int
    remarks: tuple[str, ...]


# ---------------------------------------------------------------------------------------------- writing


def write_score_file(path: Path, folds: Sequence[FoldFrames], data: str = "", *, raw: bool = False) -> None:
    """Write the scores of every frame of every fold, completely or not at all; compressed if named .gz.

    The same scores give the same bytes.

    Args:
        path: the file
        folds: frame by frame
        data: what was scored, in words, see `data_label`
        raw: whether text that a spreadsheet would compute stands as it is; see texts.quoted_cell
    """
    cell = str if raw else quoted_cell
    with whole_file(path) as file, text_into(file, compressed=path.suffix == ".gz") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for fold in folds:
            for split, scored, frame in (
                ("dev", fold.dev, fold.dev_frame),
                ("test", fold.test, fold.test_frame),
            ):
                for start in range(0, len(scored), _ROWS_AT_ONCE):
                    rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(scored)))
                    writer.writerows(_rows(fold.name, split, scored.rows(rows), frame[rows], data, cell))


def data_label(name: str, *, simulated: bool) -> str:
    """What the column `data` says about a dataset."""
    return f"{name}{SIMULATED_MARK}" if simulated else name


def _rows(
    fold: str, split: str, scored: Scored, frame: NDArray[np.int64], data: str, cell: Callable[[str], str]
) -> Iterator[tuple[object, ...]]:
    return zip(
        [cell(fold)] * len(scored),
        [split] * len(scored),
        map(cell, scored.presentation.tolist()),
        frame.tolist(),
        map(cell, scored.subject.tolist()),
        map(LABEL_OF.__getitem__, scored.is_bona_fide.tolist()),
        map(cell, scored.species.tolist()),
        map(repr, scored.score.tolist()),
        [cell(data)] * len(scored),
        strict=True,
    )


@contextmanager
def text_into(file: IO[bytes], *, compressed: bool) -> Iterator[io.TextIOWrapper]:
    """Text that goes into a file, packed if asked for; the same text gives the same bytes."""
    # no name and no time in the gzip header: they would make two files of the same scores differ
    packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if compressed else None
    text = io.TextIOWrapper(packed or file, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.detach()  # flushes, and leaves the file itself open
        if packed is not None:
            packed.close()


# ---------------------------------------------------------------------------------------------- reading


def read_score_file(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    bona_fide_label: str | None = None,
    rising_with: str = "bona_fide",
    group_frames: bool = False,
) -> ScoreFile:
    """Scores from our own file, any other table with a header, or bob's 4 or 5 columns without one.

    Without a split column all rows are test scores. bob's columns are `claimed_id [model] real_id label
    score`: bona fide where both identities are equal, otherwise real_id is the species.

    Args:
        path: the file, plain or .gz
        columns: our name of a column -> the file's, before any usual name; its number from 1 in a file
            without a header; `EACH_ROW` for presentations where each row is one
        bona_fide_label: the label that means bona fide, all others being attacks; None: by their usual
            meaning
        rising_with: "bona_fide", or "attack", which turns the sign of every score
        group_frames: presentations whose names differ only in the number of a frame are one

    Raises:
        BadDataset: the file cannot be read or means nothing, with its line
        UserError: `columns` or `rising_with` names something that does not exist
    """
    if rising_with not in LABEL_OF.values():
        raise UnknownName("class for scores to rise with", rising_with, LABEL_OF.values())
    for name in columns or {}:
        if name not in COLUMNS:
            raise UnknownName("column", name, COLUMNS)
    text = _text_of(path)
    if text.headless and text.separator == " " and len(text.header) in _BOB_FIELDS and not columns:
        table = _bob_table(text)
    else:
        table = _csv_table(text, columns or {}, bona_fide_label, group_frames=group_frames)
    if rising_with == "attack":
        table.scores = -table.scores
        table.remarks.append(
            "scores were negated because they rise with attack, so thresholds are negated too"
        )
    return _score_file(text, table)


def folds_behind(accuracy: Accuracy, path: Path) -> tuple[FoldScores, ...]:
    """The scores that the accuracy of a record rests on; empty where the file does not hold them."""
    try:
        folds = read_score_file(path).folds
    except BadDataset:
        return ()
    return folds if folds_sha256(folds) == accuracy.scores_sha256 else ()


def read_frames(path: Path) -> tuple[FoldFrames, ...]:
    """The scores of one of our own files frame by frame, fold by fold.

    Raises:
        BadDataset: the file cannot be read, means nothing, or holds no frames of a test split
    """
    text = _text_of(path)
    table = _csv_table(text, {}, None, group_frames=False)
    number = np.zeros(len(text.lines), dtype=np.int64)
    if table.frame is not None:
        for row, name in enumerate(table.frame.tolist()):
            if not name.strip().isdecimal():
                text.refuse(row, f"{name!r} is no number of a frame", "Number the frames from 0.")
            number[row] = int(name)
    fold_code, names = coded(table.fold)
    folds = []
    for code, name in enumerate(names):
        splits = [np.flatnonzero((fold_code == code) & (table.split == split)) for split in ("dev", "test")]
        dev, test = (_scored(text, table, rows) for rows in splits)
        if len(test):
            folds.append(FoldFrames(name, dev, test, number[splits[0]], number[splits[1]]))
    if not folds:
        raise BadDataset(f"{path} holds no scores of a test split", remedy="Check its column of splits.")
    return tuple(folds)


def _text_of(path: Path) -> TextTable:
    try:
        text = read_table(path, KNOWN_NAMES, COLUMNS)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadDataset(
            f"cannot read the scores {path}: {reason}", remedy="Name a file of scores, such as scores.csv."
        ) from error
    if not text.lines:
        raise BadDataset(f"{path} has a header and no rows", remedy="Name a file of scores.")
    return text


@dataclass
class _Table:
    """Columns of a file under our names, with the meaning of each row, before frames are averaged."""

    fold: Text
    split: Text
    presentation: Text
    frame: Text | None
    subject: Text
    real: NDArray[np.bool_]
    species: Text
    scores: Scores
    remarks: list[str]


def _bob_table(text: TextTable) -> _Table:
    claimed, *_, real, names, numbers = text.columns
    remarks = [
        "bob's columns were read: bona fide where claimed_id is real_id, otherwise real_id is the species"
    ]
    bona_fide = claimed == real
    return _Table(
        fold=_same(names.size, ""),
        split=_same(names.size, "test"),
        presentation=names,
        frame=None,
        subject=claimed,
        real=bona_fide,
        species=np.where(bona_fide, "", real),
        scores=numbers_of(text, numbers, remarks),
        remarks=remarks,
    )


def _csv_table(
    text: TextTable, given: Mapping[str, str], bona_fide_label: str | None, *, group_frames: bool
) -> _Table:
    matched, remarks = match_columns(text, given)
    column = {
        ours: _unquoted(text.column(theirs)) if ours in _TEXTS else text.column(theirs)
        for ours, theirs in matched.items()
    }
    rows = len(text.lines)
    scores = numbers_of(text, column["score"], remarks)
    real, kinds = labels_of(text, column["label"], matched["label"], bona_fide_label)
    if "species" in column:
        species = species_of(text, column["species"], real, remarks)
    else:
        species = np.where(real, "", kinds)
        pooled = bool(np.any(kinds == NO_SPECIES))
        remarks.append(
            "no column of species: all attacks count as one, so APCER is pooled"
            if pooled
            else "no column of species: the labels of attacks were taken as species"
        )
    if "data" in column and any(said.endswith(SIMULATED_MARK) for said in set(column["data"].tolist())):
        remarks.append("simulated data: not PAD performance")
    if "presentation" not in column:
        remarks.append("each row counts as one presentation")
        column["presentation"] = np.array(
            [f"row {number}" for number in range(1, rows + 1)], dtype=np.object_
        )
    elif group_frames:
        column["presentation"] = videos_of(column["presentation"])
    elif (found := frames_for_trials(column["presentation"], real)) is not None:
        remarks.append(
            f"{rows} rows count as {rows} presentations, though their names look like frames of {found[0]}"
            f" videos ({found[1]}, ...): --group-frames averages those of each"
        )
    return _Table(
        fold=without_spaces(column["fold"]) if "fold" in column else _same(rows, ""),
        split=splits_of(text, column["split"]) if "split" in column else _same(rows, "test"),
        presentation=column["presentation"],
        frame=column.get("frame"),
        subject=subjects_of(column.get("subject"), column["presentation"], remarks),
        real=real,
        species=species,
        scores=scores,
        remarks=remarks,
    )


def _unquoted(column: Text) -> Text:
    if not any(cell[:1] == "'" for cell in column):
        return column
    return np.array([unquoted_cell(cell) for cell in column], dtype=np.object_)


def _same(count: int, text: str) -> Text:
    return np.full(count, text, dtype=np.object_)


# ---------------------------------------------------------------------------------------------- presentations


def _score_file(text: TextTable, table: _Table) -> ScoreFile:
    """Folds and splits separated and frames averaged, with the remarks that need all of it."""
    remarks = table.remarks
    trained = int(np.sum(table.split == "train"))
    if trained:
        remarks.append(f"{trained} rows of the training split are not evaluated")
    fold_code, names = coded(table.fold)
    folds: list[FoldScores] = []
    frames = unscored = presentations = failures = 0
    for number, name in enumerate(names):
        splits = {}
        for split in ("dev", "test"):
            rows = np.flatnonzero((fold_code == number) & (table.split == split))
            splits[split], frames_without_score = _presentations(text, table, rows)
            frames += rows.size
            unscored += frames_without_score
            presentations += len(splits[split])
            failures += splits[split].failures_to_acquire
        if any(map(len, splits.values())):
            folds.append(FoldScores(name, splits["dev"] if len(splits["dev"]) else None, splits["test"]))
    if not frames:
        raise BadDataset(
            f"{text.path} holds no scores of a dev or test split", remedy="Check its column of splits."
        )
    if presentations < frames:
        remarks.append(f"{frames} rows are frames of {presentations} presentations and were averaged")
    if unscored:
        remarks.append(f"{unscored} rows have no score; {failures} presentations are failures to acquire")
    remarks += [text for fold in folds for text in _doubts_of(fold)]
    return ScoreFile(tuple(folds), frames, unscored, tuple(remarks))


def _scored(text: TextTable, table: _Table, rows: NDArray[np.intp]) -> Scored:
    try:
        return Scored(
            table.presentation[rows],
            table.subject[rows],
            table.real[rows],
            table.species[rows],
            table.scores[rows],
        )
    except BadDataset as error:
        raise BadDataset(f"{text.path}: {error.args[0]}", remedy=error.remedy) from error


def _presentations(text: TextTable, table: _Table, rows: NDArray[np.intp]) -> tuple[Scored, int]:
    scored = _scored(text, table, rows)
    try:
        presentations, unscored = mean_by_presentation(scored)
    except BadDataset as error:
        raise BadDataset(f"{text.path}: {error.args[0]}", remedy=error.remedy) from error
    if table.frame is not None and len(presentations) < rows.size:
        seen = set()
        for row in rows.tolist():
            key = (table.presentation[row], table.frame[row])
            if key in seen:
                text.refuse(row, f"frame {key[1]} of {key[0]} is there a second time", "Remove the repeat.")
            seen.add(key)
    return presentations, unscored


def _doubts_of(fold: FoldScores) -> Iterator[str]:
    of_fold = f" of fold {fold.name}" if fold.name else ""
    acquired = fold.test.acquired
    if acquired.bona_fide.size and acquired.attacks.size:
        area = auc(acquired.bona_fide, acquired.attacks)
        if area < 0.5:
            yield (
                f"AUC{of_fold} is {area:.3f}, worse than chance: do the scores rise with attack"
                " (--scores-are attack), or are the labels inverted?"
            )
    if fold.dev is not None:
        shared = set(fold.dev.subject.tolist()) & set(fold.test.subject.tolist())
        if shared:
            yield (
                f"{len(shared)} subjects{of_fold} are in both dev and test, among them {min(shared)}:"
                " the threshold was chosen with their scores"
            )
