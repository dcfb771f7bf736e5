"""How well scores separate bona fide presentations from attacks, and whether others do it better.

Everything here is about ranks, so that scores of any scale may be compared.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.rates import auc

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Scores = NDArray[np.float64]
    Labels = NDArray[np.bool_]

DRAWS = 2000
DRAWS_A_TEST = 400
"""The least p is 1 / (draws + 1), and Holm's adjustment multiplies it by the number of tests."""

NOISE_DEVIATIONS = 2.576
"""99 % of the AUCs of random scores lie within so many standard deviations of 1/2."""


def separation(scores: Scores, bona_fide: Labels) -> float:
    """AUC of scores [n] that rise with bona fide."""
    return auc(scores[bona_fide], scores[~bona_fide])


def noise(bona_fide: Labels) -> float:
    """How far the AUC of random scores may be from 1/2, in 99 of 100 cases.

    From the variance of the AUC of random scores without ties (Mann and Whitney, "On a test of whether one of
    two random variables is stochastically larger than the other", 1947).
    """
    positives, negatives = int(np.sum(bona_fide)), int(np.sum(~bona_fide))
    return NOISE_DEVIATIONS * float(np.sqrt((positives + negatives + 1) / (12 * positives * negatives)))


def better_by_chance(scores: Scores, other: Scores, bona_fide: Labels, draws: int = DRAWS) -> float:
    """One-sided p of the hypothesis that `other` has no higher AUC than `scores` but by chance.

    Paired permutation test of Bandos, Rockette and Gur ("A permutation test sensitive to differences in areas
    for comparing ROC curves from a paired design", Statistics in Medicine 24, 2005): both are ranked, and
    each presentation's two ranks are swapped or not at random. It assumes no distribution of scores.

    Args:
        scores: [n].
        other: [n], of the same presentations.
        bona_fide: [n].
        draws: permutations, with a fixed seed; the least p is 1 / (draws + 1).
    """
    first, second = _ranks(scores), _ranks(other)

    def gain(swapped: Labels) -> float:
        ranks, others = np.where(swapped, second, first), np.where(swapped, first, second)
        return separation(others, bona_fide) - separation(ranks, bona_fide)

    observed = gain(np.zeros(bona_fide.size, np.bool_))
    permutations = np.random.default_rng(0).integers(0, 2, (draws, bona_fide.size)).astype(np.bool_)
    # a difference of AUCs is a sum of halves over pairs: equal ones may differ in the last bit
    reached = sum(gain(swapped) >= observed - 1e-9 for swapped in permutations)
    return (1 + reached) / (1 + draws)


def _ranks(scores: Scores) -> Scores:
    """Twice the average rank, the same for ties."""
    order = np.sort(scores)
    return (np.searchsorted(order, scores, "left") + np.searchsorted(order, scores, "right")).astype(
        np.float64
    )


def auc_interval(
    area: float, positives: int, negatives: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of an AUC, sensible also for few scores and for areas of 0 and 1.

    Method 5 of Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 25 (2006): the areas whose own standard error, after Hanley and
    McNeil (1982), makes the one that was seen plausible.

    Args:
        area: the AUC that was seen.
        positives: how many bona fide scores.
        negatives: how many scores of attacks.
        confidence: between 0 and 1.
    """
    deviations = NormalDist().inv_cdf(0.5 + confidence / 2)
    mean_count = (positives + negatives) / 2 - 1

    def plausible(true: float) -> bool:
        variance = (
            true * (1 - true) * (1 + mean_count * (1 - true) / (2 - true) + mean_count * true / (1 + true))
        )
        return abs(area - true) <= deviations * math.sqrt(variance / (positives * negatives))

    return _edge(plausible, area, 0.0), _edge(plausible, area, 1.0)


def _edge(plausible: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where plausible areas end between one that is plausible and one that need not be, by bisection."""
    for _ in range(50):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if plausible(middle) else (inside, middle)
    return inside
