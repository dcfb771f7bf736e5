"""What a frame's score is worth as evidence, and how much a second frame of a presentation adds.

The logarithm of the likelihood ratio of a score is taken to be linear in it (Platt 1999): a logistic
regression on the development split's frames, less the logarithm of the odds of its classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from swapbench.errors import BadDataset
from swapbench.records import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_STEPS: Final = 100
_SMALL: Final = 1e-10


def fitted(scores: Floats, is_bona_fide: NDArray[np.bool_]) -> Evidence:
    """The evidence of single frames.

    Newton's method on the logistic loss, with a ridge of 1e-3 on the standardised slope so that separable
    classes have a finite one.

    Args:
        scores: of development frames, [frames]
        is_bona_fide: [frames]

    Raises:
        BadDataset: a class is missing, or all scores are equal
    """
    real = np.asarray(is_bona_fide, dtype=np.float64)
    spread = float(np.std(scores)) if scores.size else 0.0
    if spread == 0 or real.all() or not real.any():
        raise BadDataset(
            "development frames of both classes with different scores are needed to weigh evidence",
            remedy="Give data whose development split has both.",
        )
    middle = float(np.mean(scores))
    design = np.stack([(scores - middle) / spread, np.ones(scores.size)], axis=1)
    ridge = np.array([1e-3, 0.0]) * scores.size
    beta = np.zeros(2)
    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        gradient = design.T @ (real - share) - ridge * beta
        curvature = (design * (share * (1 - share))[:, None]).T @ design + np.diag(ridge) + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        beta += step
        if np.max(np.abs(step)) < _SMALL:
            break
    odds = float(np.log(real.sum() / (real.size - real.sum())))
    slope = float(beta[0]) / spread
    return Evidence(slope=slope, offset=float(beta[1]) - slope * middle - odds)


def alike(scores: Floats, classes: NDArray[np.object_]) -> float | None:
    """The correlation of two frames of one presentation, within its class.

    The intraclass correlation ICC(1) of a one-way analysis of variance over presentations (Shrout and Fleiss
    1979), with the means of the classes taken out. n frames are worth n / (1 + (n - 1) r) independent ones.

    Args:
        scores: [presentations, frames], NaN behind the last frame
        classes: of each presentation, species or "" for bona fide

    Returns:
        At most 1, below 0 where frames differ more than presentations; None where no presentation has two
        frames, too few have, or all frames are equal.
    """
    there = ~np.isnan(scores)
    count = there.sum(axis=1)
    several = count > 0
    scores, there, count, classes = scores[several], there[several], count[several], classes[several]
    values = np.where(there, scores, 0.0)
    for name in set(classes.tolist()):
        rows = classes == name
        values[rows] -= values[rows].sum() / count[rows].sum()
    values = np.where(there, values, 0.0)
    frames, groups = int(count.sum()), len(count)
    freedom_between = groups - len(set(classes.tolist()))
    if frames <= groups or freedom_between < 1:
        return None
    mean = values.sum(axis=1) / count
    within = float(np.sum(np.where(there, (values - mean[:, None]) ** 2, 0.0))) / (frames - groups)
    between = float(np.sum(count * mean**2)) / freedom_between
    typical = (frames - float(np.sum(count**2)) / frames) / (groups - 1)
    total = between + (typical - 1) * within
    return None if total == 0 else (between - within) / total
