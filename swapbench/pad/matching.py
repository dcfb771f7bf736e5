"""The test presentations that two artifacts have both scored, fold by fold, with the threshold of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import BadDataset
from swapbench.pad.rates import accepted, eer_threshold
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.pad.metrics import FoldScores
    from swapbench.pad.scores import Scored, Scores
    from swapbench.records import Accuracy

    Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MatchedFold:
    """One fold's test presentations with a score on both sides, both thresholds, and what was left out."""

    name: str
    reference: Scored
    other: Scores
    thresholds: tuple[float, float]
    only_in_reference: list[str]
    only_in_other: list[str]
    unscored_by_reference: int
    unscored_by_other: int

    @property
    def unmatched(self) -> int:
        """How many presentations one side lacks or has no score of."""
        missing = len(self.only_in_reference) + len(self.only_in_other)
        return missing + self.unscored_by_reference + self.unscored_by_other

    def right(self, artifact: int, threshold_of: int) -> Flags:
        """Which presentations an artifact decides correctly; 0 is the reference, 1 the other."""
        scores = (self.reference.score, self.other)[artifact]
        correct: Flags = accepted(scores, self.thresholds[threshold_of]) == self.reference.is_bona_fide
        return correct


def matched_folds(
    reference: Sequence[FoldScores],
    other: Sequence[FoldScores],
    thresholds: tuple[Mapping[str, float], Mapping[str, float]] | None = None,
) -> list[MatchedFold]:
    """The folds of both, in the order of the reference, matched by name and by presentation.

    Args:
        reference: one row per presentation in each split
        other: the same
        thresholds: of both by name of the fold, where they were frozen before; None: the EER thresholds of
            the development scores

    Raises:
        BadDataset: folds, labels or species differ, a fold has no development scores, or a presentation has
            several rows
    """
    names = [[fold.name for fold in side] for side in (reference, other)]
    if sorted(names[0]) != sorted(names[1]) or len(set(names[0])) != max(1, len(names[0])):
        listed = [", ".join(repr(name) for name in side) or "none" for side in names]
        raise BadDataset(
            f"the folds differ: {listed[0]} in the reference, {listed[1]} in the other",
            remedy="Score both on the same protocol.",
        )
    others = {fold.name: fold for fold in other}
    return [
        _matched(
            fold,
            others[fold.name],
            (_threshold(fold), _threshold(others[fold.name]))
            if thresholds is None
            else (thresholds[0][fold.name], thresholds[1][fold.name]),
        )
        for fold in reference
    ]


def require_both_classes(folds: Sequence[MatchedFold]) -> None:
    """Raise BadDataset where a fold has no bona fide presentation or no attack with a score on both sides."""
    for fold in folds:
        if not fold.reference.is_bona_fide.any() or fold.reference.is_bona_fide.all():
            raise BadDataset(
                "the two have no scored presentations in common for bona fide, for attacks, or for both",
                remedy="Score both on the same data.",
            )


def frozen_thresholds(accuracy: Accuracy | Absent, folds: Sequence[FoldScores]) -> dict[str, float]:
    """The frozen threshold of each fold of a record, by its name; empty where the record has none."""
    if isinstance(accuracy, Absent):
        return {}
    if accuracy.threshold is not None:
        return {fold.name: accuracy.threshold for fold in folds}
    return {fold.fold: fold.threshold for fold in accuracy.folds}


def _matched(first: FoldScores, second: FoldScores, thresholds: tuple[float, float]) -> MatchedFold:
    row_there = {name: row for row, name in enumerate(second.test.presentation.tolist())}
    names = first.test.presentation.tolist()
    if len(set(names)) < len(names) or len(row_there) < len(second.test):
        raise BadDataset(
            "a presentation has several scores in the test split",
            remedy="One presentation is one trial: average its frames with mean_by_presentation first.",
        )
    rows = np.array([row for row, name in enumerate(names) if name in row_there], dtype=np.intp)
    rows_there = np.array([row_there[name] for name in names if name in row_there], dtype=np.intp)
    here, there = first.test.rows(rows), second.test.rows(rows_there)
    for column, words in (("is_bona_fide", "label"), ("species", "species")):
        differing = np.flatnonzero(getattr(here, column) != getattr(there, column))
        if differing.size:
            raise BadDataset(
                f"the two disagree about the {words} of {differing.size} presentations,"
                f" among them {here.presentation[differing[0]]}",
                remedy="Take both from the same labels.",
            )
    missing, missing_there = np.isnan(here.score), np.isnan(there.score)
    both = ~missing & ~missing_there
    return MatchedFold(
        name=first.name,
        reference=here.rows(both),
        other=there.score[both],
        thresholds=thresholds,
        only_in_reference=[name for name in names if name not in row_there],
        only_in_other=sorted(row_there.keys() - set(names)),
        unscored_by_reference=int(np.sum(missing & ~missing_there)),
        unscored_by_other=int(np.sum(missing_there & ~missing)),
    )


def _threshold(fold: FoldScores) -> float:
    if fold.dev is None:
        raise BadDataset(
            f"the scores{' of fold ' + fold.name if fold.name else ''} have no development split",
            remedy="Add its scores: decisions need a threshold that was frozen on them.",
        )
    dev = fold.dev.acquired
    return eer_threshold(dev.bona_fide, dev.attacks).threshold
