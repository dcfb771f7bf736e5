"""Scores and what they say: score a file on a dataset, evaluate any score file, compare two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench.commands import models_under_test
from swapbench.commands.data import evaluation, folds
from swapbench.commands.face_cache import face_cache
from swapbench.commands.named_files import CardFinder, named_file
from swapbench.commands.options import DeviceOptions, ScoreOutput, ScoreReading
from swapbench.commands.place import open_place
from swapbench.data.shards import shard
from swapbench.errors import BadDataset, UserError
from swapbench.pad.arrays import Errors
from swapbench.records import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.options import ScoringOptions
    from swapbench.pad.metrics import FoldScores
    from swapbench.pad.score_files import ScoreFile
    from swapbench.pad.score_parity import ScoreParity
    from swapbench.pad.scores import FoldFrames
    from swapbench.ports import Progress, Say

SCORE_SUFFIXES = (".csv", ".gz", ".txt", ".scores")
"""What a score file's name ends in; everything else that is compared is a model file."""


def score(
    folders: Folders, file: str, options: ScoringOptions, out: ScoreOutput, *, progress: Progress, say: Say
) -> Path:
    """Score the development and test frames of a dataset with one model file; writes the score file `out`.

    `file` may name its card, as in `net.onnx=net.toml`; see `named_files`.

    Raises:
        BadModelFile: The file is not a model file.
        UserError: No runtime runs it, or it has no card that can be used.
    """
    from swapbench.bench import experiment
    from swapbench.pad.score_files import write_score_file

    place = open_place(folders, DeviceOptions(options.device), options.runtimes)
    cards = CardFinder.named(folders, options.card)
    model = models_under_test.of_file(named_file(file), place.runtimes, cards, options.shapes)[0]
    if model.unscored is not None:
        raise UserError(f"{model.title}: {model.unscored.absent}", remedy=model.unscored.remedy)
    data = folds(folders, options.data, ("dev", "test"), progress=progress, say=say)
    if options.shard is not None:
        data = tuple(shard(fold, *options.shard) for fold in data)
    plan = Plan(threads=options.threads)
    with face_cache(folders, say, keep=options.data.keep_crops) as kept:
        judged_on = evaluation(kept, data, options.data)
        scores: tuple[FoldFrames, ...] = ()
        if judged_on.samples:  # a shard may be empty
            scores = experiment.score(model, place.device, plan, judged_on, progress=progress, say=say)
    write_score_file(out.path, scores, judged_on.data, raw=out.raw_csv)
    return out.path


def read_scores(path: Path, reading: ScoreReading) -> ScoreFile:
    """The scores of a file, one for each presentation."""
    from swapbench.pad.score_files import read_score_file

    return read_score_file(
        path,
        columns=reading.columns,
        bona_fide_label=reading.bona_fide_label,
        rising_with=reading.rising_with,
        group_frames=reading.group_frames,
    )


def metrics(
    path: Path,
    dev: Path | None,
    threshold: float | None,
    reading: ScoreReading,
    *,
    confidence: float,
    seed: int,
) -> Errors:
    """Evaluate any score file.

    `dev` is a score file whose development scores freeze the threshold; else it is `threshold`, or frozen on
    the development scores of the file itself.

    Raises:
        UserError: `dev` was given for a score file of several folds.
        BadDataset: There is no score to freeze a threshold on.
    """
    from swapbench.pad import metrics as rates_of

    scores = read_scores(path, reading)
    remarks = list(scores.remarks)
    score_folds = scores.folds
    if dev is not None:
        other = read_scores(dev, reading)
        remarks += [f"{dev.name}: {text}" for text in other.remarks]
        if len(other.folds) != 1 or len(score_folds) != 1:
            raise UserError(
                "--dev works with score files of one fold", remedy="Put both splits into one file"
            )
        score_folds = (replace(score_folds[0], dev=other.folds[0].dev or other.folds[0].test),)
    if threshold is not None or any(fold.dev is None for fold in score_folds):
        if len(score_folds) > 1:
            raise BadDataset(
                f"{path} has folds without development scores", remedy="Every fold needs its own"
            )
        test = score_folds[0].test
        without_dev = rates_of.describe_without_dev(test, threshold, confidence=confidence, seed=seed)
        return Errors(without_dev, tuple(remarks))
    whole = [_whole(fold) for fold in score_folds]
    rates = rates_of.evaluate_folds(whole, confidence=confidence, seed=seed)
    return Errors(rates, tuple(remarks))


def parity(
    folders: Folders,
    reference: Path,
    other: Path,
    options: ScoringOptions,
    reading: ScoreReading,
    *,
    progress: Progress,
    say: Say,
) -> ScoreParity:
    """Compare the scores of two score files, two model files on a dataset, or one of each."""
    from swapbench.pad.score_parity import score_parity

    sides = []
    for path in (reference, other):
        if path.suffix in SCORE_SUFFIXES:
            scores = read_scores(path, reading)
        else:
            own = ScoreOutput(folders.build / "scores" / f"{path.name}.csv.gz")
            scores = read_scores(
                score(folders, str(path), options, own, progress=progress, say=say), ScoreReading({})
            )
        for remark in scores.remarks:
            say(f"note: {path.name}: {remark}")
        if any(fold.dev is None for fold in scores.folds):
            say(f"note: {path.name}: no development split: decisions are made at the EER of the test scores")
        sides.append([replace(fold, dev=fold.dev or fold.test) for fold in scores.folds])
    return score_parity(sides[0], sides[1])


def _whole(fold: FoldScores) -> FoldScores:
    """The fold itself; raises BadDataset where it has no development split."""
    if fold.dev is None:
        where = f" of fold {fold.name}" if fold.name else ""
        raise BadDataset(
            f"the scores{where} have no development split",
            remedy="A threshold must be frozen on one: give it with --dev, "
            "or add a column split with dev and test",
        )
    return fold
