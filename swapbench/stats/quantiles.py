"""Order statistics.

One definition of a quantile throughout: the inverse of the empirical distribution function (Hyndman and Fan's
type 1), the smallest sample such that at least the fraction `q` of the samples does not exceed it. It is
always a value that was really measured; the median of an even number of samples is the lower of the middle
two.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

MEDIAN = 0.5


def quantile(samples: ArrayLike, q: float) -> float:
    """The smallest sample that at least the fraction `q` of `samples` does not exceed; q = 0 is the minimum.

    Raises:
        ValueError: there are no samples, or q lies outside 0..1.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64), axis=None)
    return float(ordered[rank(ordered.size, q)])


def median(samples: ArrayLike) -> float:
    """`quantile` at 0.5."""
    return quantile(samples, MEDIAN)


def rank(count: int, q: float) -> int:
    """Place of the `q` quantile among `count` ascending samples, from 0."""
    if count == 0:
        raise ValueError("a quantile needs at least one sample")
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile must lie in 0..1, not at {q}")
    return max(0, math.ceil(q * count - 1e-9) - 1)  # .07 * 100 is 7.000000000000001


@dataclass(frozen=True)
class TailPercentile:
    """A percentile that the number of samples supports, after MLPerf LoadGen's early stopping.

    Attributes:
        value: the estimate, None where there are fewer than `least_samples`.
        least_samples: fewest samples that support this percentile.
        overruns: how many samples may exceed the true percentile.
        index: place of `value` in the ascending samples, from 0.
    """

    value: float | None
    least_samples: int
    overruns: int = 0
    index: int | None = None


def early_stopping_percentile(samples: ArrayLike, p: float, confidence: float = 0.99) -> TailPercentile:
    """An upper estimate of the `p` percentile (0 < p < 1) that is right with `confidence`, or no value.

    MLPerf Inference LoadGen, early stopping with tolerance 0: for t overruns let h(t) be the least h with
    P(Binomial(h + t, 1 - p) <= t) <= 1 - confidence; take the largest t with h(t) + t <= n and report the
    ascending sample number n - t, so that the t - 1 largest are dropped.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64), axis=None)
    least = least_samples(p, confidence)
    if ordered.size < least:
        return TailPercentile(None, least)
    overruns = permitted_overruns(ordered.size, p, confidence)
    index = ordered.size - overruns
    return TailPercentile(float(ordered[index]), least, overruns, index)


@functools.lru_cache(maxsize=4096)
def permitted_overruns(count: int, p: float, confidence: float = 0.99) -> int:
    """Largest t with P(Binomial(count, 1 - p) <= t) <= 1 - confidence, or -1.

    The same t as LoadGen's: the probability falls with the number of trials, so h(t) + t <= count means just
    this.
    """
    _check_tail(p, confidence)
    if count < 1:
        return -1
    below = np.cumsum(np.exp(_log_binomial_terms(count, 1 - p)))
    return int(np.searchsorted(below, 1 - confidence, side="right")) - 1


@functools.lru_cache(maxsize=64)
def least_samples(p: float, confidence: float = 0.99) -> int:
    """Fewest samples that support the `p` percentile: 11 for the median, 64 for p90, 662 for p99."""
    _check_tail(p, confidence)
    low, high = 1, 2
    while permitted_overruns(high, p, confidence) < 1:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if permitted_overruns(middle, p, confidence) < 1:
            low = middle
        else:
            high = middle
    return high


def _check_tail(p: float, confidence: float) -> None:
    if not (0 < p < 1 and 0 < confidence < 1):
        raise ValueError(f"percentile and confidence must lie between 0 and 1, not at {p} and {confidence}")


def _log_binomial_terms(trials: int, probability: float) -> Floats:
    """Log P(Binomial(trials, probability) = k) for k = 0..trials; 0 < probability < 1."""
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, trials + 1, dtype=np.float64)))))
    k = np.arange(trials + 1)
    log_choose = log_factorial[trials] - log_factorial - log_factorial[::-1]
    terms: Floats = log_choose + k * math.log(probability) + (trials - k) * math.log1p(-probability)
    return terms
