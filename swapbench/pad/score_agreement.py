"""Whether two runtimes decide alike with the files of one network: scores or raw outputs of the same inputs.

Whether a file computes what its network computes is another question, with limits for each precision
(`swapbench.pad.agreement`); so is which of two decides better (`swapbench.pad.score_parity`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.matching import matched_folds
from swapbench.records import NO_THRESHOLD, Absent
from swapbench.stats import spearman

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.pad.metrics import FoldScores
    from swapbench.ports import Outputs

    Floats = NDArray[np.float64]

NO_CLASSES = Absent(
    absent="the output is no list of classes, and without data there is no threshold to decide at",
    remedy="Give data that freeze one: --data",
)
MOST_CLASSES = 1000


@dataclass(frozen=True)
class ScoreAgreement:
    """How far two files are from each other on the same inputs.

    Attributes:
        compared: presentations with a score on both sides, or inputs.
        max_abs_difference: of scores, or of any number of the outputs.
        mean_abs_difference: the same, on average.
        spread: the standard deviation of the reference's numbers, to measure the differences by.
        rank_correlation: Spearman's; None where a side is constant.
        flips: of `compared` how many are decided differently, each side at its own frozen threshold; of raw
            outputs those whose largest class differs.
        left_out: presentations without a score on either side.
    """

    compared: int
    max_abs_difference: float
    mean_abs_difference: float
    spread: float
    rank_correlation: float | None
    flips: int | Absent
    left_out: int = 0


def of_folds(
    reference: Sequence[FoldScores],
    other: Sequence[FoldScores],
    thresholds: tuple[Mapping[str, float], Mapping[str, float]],
) -> ScoreAgreement | Absent:
    """The agreement of two files on the test presentations that both scored.

    Args:
        reference: one row per presentation in each split
        other: the same
        thresholds: of both, by name of the fold; without one for each fold there are no decisions

    Raises:
        BadDataset: as in `matching.matched_folds`
    """
    names = {fold.name for fold in reference}
    decided = all(side.keys() >= names for side in thresholds)
    undecided = dict.fromkeys(names, 0.0)
    folds = matched_folds(reference, other, thresholds if decided else (undecided, undecided))
    first = np.concatenate([fold.reference.score for fold in folds])
    second = np.concatenate([fold.other for fold in folds])
    if not first.size:
        return Absent(absent="no presentation has a score on both sides")
    flips = sum(int(np.sum(fold.right(0, 0) != fold.right(1, 1))) for fold in folds)
    left_out = sum(fold.unmatched for fold in folds)
    return _agreement(first, second, first.size, flips if decided else NO_THRESHOLD, left_out)


def of_outputs(reference: Outputs, other: Outputs) -> ScoreAgreement | Absent:
    """The agreement of two files on inputs without labels: of every number that they returned."""
    first, second = (np.asarray(side.rows, np.float64) for side in (reference, other))
    if first.ndim != 2 or first.shape != second.shape or not first.size:
        sizes = " and ".join(str(len(side.rows[0]) if side.rows else 0) for side in (reference, other))
        return Absent(absent=f"their outputs have different sizes: {sizes} numbers")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return Absent(absent="an output holds what is no finite number")
    flips = int(np.sum(first.argmax(axis=1) != second.argmax(axis=1)))
    classes = _is_vector(reference) and 2 <= first.shape[1] <= MOST_CLASSES
    return _agreement(first.ravel(), second.ravel(), len(first), flips if classes else NO_CLASSES)


def _is_vector(outputs: Outputs) -> bool:
    """Whether the one output has no more than one length above 1, as a list of classes has."""
    shapes = [tensor.shape for tensor in outputs.tensors]
    return len(shapes) <= 1 and all(sum(length > 1 for length in shape) == 1 for shape in shapes)


def _agreement(
    first: Floats, second: Floats, compared: int, flips: int | Absent, left_out: int = 0
) -> ScoreAgreement:
    difference = np.abs(first - second)
    return ScoreAgreement(
        compared=compared,
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        spread=float(first.std()),
        rank_correlation=spearman(first, second),
        flips=flips,
        left_out=left_out,
    )
