"""Scores and what they say: score a file on a dataset, evaluate any score file, compare two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swapbench import catalog
from swapbench.commands.data import DataRequest, evaluation, folds
from swapbench.commands.device import DeviceRequest, open_place
from swapbench.commands.run import candidates_of_files
from swapbench.errors import BadDataset, UserError
from swapbench.records import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.pad.error_lines import Line
    from swapbench.pad.metrics import ErrorRates, FoldScores, TargetRates
    from swapbench.pad.score_files import ScoreFile
    from swapbench.pad.score_parity import ScoreParity
    from swapbench.ports import Progress, Say

SCORE_SUFFIXES = (".csv", ".gz", ".txt", ".scores")
"""What a score file's name ends in; everything else that is compared is a model file."""


@dataclass(frozen=True)
class ScoreReading:
    """How a score file of somebody else is to be read; see `pad.score_files.read_score_file`."""

    columns: Mapping[str, str]
    bona_fide_label: str | None = None
    rising_with: str = "bona_fide"

    @classmethod
    def of(cls, columns: Sequence[str], bona_fide_label: str | None, scores_are: str) -> ScoreReading:
        """The same from options as they were typed: columns as `score=probability`. Raises UserError."""
        mapping = {}
        for text in catalog.split_commas(columns):
            ours, equals, theirs = text.partition("=")
            if not equals or not ours or not theirs:
                raise UserError(
                    f"--column {text!r} names no column", remedy="Write ours=theirs, as in score=probability"
                )
            mapping[ours] = theirs
        catalog.checked_names("meaning of a score", (scores_are,), ("bona_fide", "attack"))
        return cls(mapping, bona_fide_label, scores_are)

    def read(self, path: Path) -> ScoreFile:
        """The file's scores, one a presentation."""
        from swapbench.pad.score_files import read_score_file

        return read_score_file(
            path, columns=self.columns, bona_fide_label=self.bona_fide_label, rising_with=self.rising_with
        )


def score(
    folders: Folders,
    file: Path,
    request: DataRequest,
    out: Path,
    *,
    device: str,
    runtimes: Sequence[str],
    card: str | None,
    threads: int,
    progress: Progress,
    say: Say,
) -> Path:
    """Score the development and test frames of a dataset with one model file; writes a score file."""
    from swapbench.bench import experiment
    from swapbench.pad.score_files import write_score_file

    place = open_place(folders, DeviceRequest(device), runtimes)
    forced = catalog.model(folders, card).card if card else None
    candidates, failures = candidates_of_files((file,), place.runtimes, forced)
    if failures:
        raise failures[0][1]
    chosen = candidates[0]
    if chosen.card is None:
        raise UserError(experiment.NO_CARD.absent, remedy=experiment.NO_CARD.remedy)
    found = folds(folders, request, ("dev", "test"), progress=progress, say=say)
    judged_on = evaluation(folders, found, request)
    scored = experiment.score(chosen, place.device, Plan(threads=threads), judged_on, progress=progress)
    write_score_file(out, scored, judged_on.data)
    return out


@dataclass(frozen=True)
class Evaluated:
    """What a score file says: error rates, and in sentences what weakens them."""

    rates: ErrorRates | TargetRates
    remarks: tuple[str, ...]

    def lines(self) -> list[Line]:
        """The rates as named lines for a person."""
        from swapbench.pad.error_lines import lines_of_rates

        return lines_of_rates(self.rates)

    def as_json(self) -> dict[str, object]:
        """The same for a program."""
        return {"lines": [one.as_json() for one in self.lines()], "remarks": list(self.remarks)}


def metrics(
    path: Path,
    dev: Path | None,
    threshold: float | None,
    reading: ScoreReading,
    *,
    confidence: float,
    seed: int,
) -> Evaluated:
    """Evaluate any score file: at the threshold of its development scores, of another file's, or of a given one."""
    from swapbench.pad import metrics as rates_of

    found = reading.read(path)
    remarks = list(found.remarks)
    folds_found = found.folds
    if dev is not None:
        other = reading.read(dev)
        remarks += [f"{dev.name}: {text}" for text in other.remarks]
        if len(other.folds) != 1 or len(folds_found) != 1:
            raise UserError("--dev works for score files of one fold", remedy="Put both splits into one file")
        folds_found = (replace(folds_found[0], dev=other.folds[0].dev or other.folds[0].test),)
    if threshold is not None or any(one.dev is None for one in folds_found):
        if len(folds_found) > 1:
            raise BadDataset(
                f"{path} has folds without development scores", remedy="Every fold needs its own"
            )
        test = folds_found[0].test
        without_dev = rates_of.describe_without_dev(test, threshold, confidence=confidence, seed=seed)
        return Evaluated(without_dev, tuple(remarks))
    rates = rates_of.evaluate_folds([_whole(one) for one in folds_found], confidence=confidence, seed=seed)
    return Evaluated(rates, tuple(remarks))


def parity(
    folders: Folders,
    reference: Path,
    other: Path,
    request: DataRequest,
    reading: ScoreReading,
    *,
    device: str,
    runtimes: Sequence[str],
    card: str | None,
    progress: Progress,
    say: Say,
) -> ScoreParity:
    """Compare the scores of two score files, two model files on a dataset, or one of each."""
    from swapbench.pad.score_parity import score_parity

    sides = []
    for path in (reference, other):
        scores, how = path, reading
        if path.suffix not in SCORE_SUFFIXES:
            how = ScoreReading({})
            scores = folders.build / "scores" / f"{path.name}.csv.gz"
            score(
                folders, path, request, scores, device=device, runtimes=runtimes, card=card, threads=1,
                progress=progress, say=say,
            )  # fmt: skip
        found = how.read(scores)
        sides.append([_whole(one) for one in found.folds])
        for remark in found.remarks:
            say(f"note: {path.name}: {remark}")
    return score_parity(sides[0], sides[1])


def _whole(fold: FoldScores) -> FoldScores:
    if fold.dev is None:
        raise BadDataset(
            f"the scores{' of fold ' + fold.name if fold.name else ''} have no development split",
            remedy="A threshold must be frozen on one: give it with --dev, or add a column split with dev and test",
        )
    return fold
