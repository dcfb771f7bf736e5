"""Exact intervals and tests of counts, their adjustment for several tests, and rank correlation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swapbench.records import Interval, Proportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def clopper_pearson(errors: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact two-sided interval of a proportion (Clopper and Pearson 1934), from the tails of the binomial.

    0 errors of 20 give 0 to 16.8 %.

    Raises:
        ValueError: not 0 <= errors <= trials, no trials, or a confidence outside 0.5..1.
    """
    if trials < 1 or not 0 <= errors <= trials:
        raise ValueError(f"{errors} errors of {trials} trials is not a proportion")
    if not 0.5 <= confidence < 1:
        raise ValueError(f"a confidence must lie in 0.5..1, not at {confidence}")
    tail = (1 - confidence) / 2
    low = 0.0 if errors == 0 else _probability_where(errors, trials, tail)
    high = 1.0 if errors == trials else 1 - _probability_where(trials - errors, trials, tail)
    return Interval(low=low, high=high, confidence=confidence, method="Clopper-Pearson")


def _probability_where(at_least: int, trials: int, tail: float) -> float:
    """The p with P(Binomial(trials, p) >= at_least) = tail, by guarded Newton steps.

    It lies below at_least / trials, where the probability is more than 1/4 (Greenberg and Mohri 2014).

    Args:
        at_least: 1 to `trials`.
        trials: of the binomial.
        tail: at most 1/4.
    """
    if at_least == trials:
        return math.pow(tail, 1 / trials)
    low, high = 0.0, at_least / trials
    p = high
    for _ in range(100):
        reached, term = _upper_tail(at_least, trials, p)
        low, high = (p, high) if reached < tail else (low, p)
        newton = p - (reached - tail) * p / (at_least * term) if term > 0 else -1.0
        following = newton if low < newton < high else (low + high) / 2
        if abs(following - p) <= 1e-15 * p:
            break
        p = following
    return p


def _upper_tail(at_least: int, trials: int, p: float) -> tuple[float, float]:
    """P(Binomial(trials, p) >= at_least) and P(... == at_least), at or above the mean and below `trials`.

    Each term is the previous one times a ratio, and they only fall: 12 standard deviations on they are
        nothing.
    """
    log_term = (
        math.lgamma(trials + 1)
        - math.lgamma(at_least + 1)
        - math.lgamma(trials - at_least + 1)
        + at_least * math.log(p)
        + (trials - at_least) * math.log1p(-p)
    )
    last = min(trials, at_least + 60 + int(12 * math.sqrt(trials * p)))
    k = np.arange(at_least, last, dtype=np.float64)
    following = np.cumprod((trials - k) / (k + 1) * (p / (1 - p)))
    term = math.exp(log_term)
    return term * (1 + float(following.sum())), term


def proportion(errors: int, trials: int, confidence: float = 0.95) -> Proportion:
    """`errors` of `trials` with their Clopper-Pearson interval."""
    return Proportion(errors=errors, trials=trials, interval=clopper_pearson(errors, trials, confidence))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test (1947) that two ways of deciding the same cases err equally often.

    Under equality each case that only one of them got right is a coin toss, so p = min(1, 2 P(Binomial(both,
    1/2) <= the smaller)). 6 against 0 give 2/64. Assumes independent cases.

    Args:
        only_first: cases that only the first got right.
        only_second: cases that only the second got right.

    Raises:
        ValueError: a count is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts must not be negative: {only_first} and {only_second}")
    tosses, least = only_first + only_second, max(only_first, only_second)
    if only_first == only_second:
        return 1.0
    if least == tosses:
        return math.ldexp(2.0, -tosses)
    return min(1.0, 2 * _upper_tail(least, tosses, 0.5)[0])


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p values adjusted for their number by Holm's step-down method (1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return tuple(adjusted)


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation, ties given their average rank.

    Returns:
        -1..1; None where a side is constant or has fewer than two values.

    Raises:
        ValueError: the sides differ in shape.
    """
    x, y = (_average_ranks(np.asarray(side, dtype=np.float64)) for side in (first, second))
    if x.shape != y.shape:
        raise ValueError(f"cannot correlate values of shapes {x.shape} and {y.shape}")
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x, y = x - x.mean(), y - y.mean()
    correlation = float(x @ y / math.sqrt(float(x @ x) * float(y @ y)))
    return max(-1.0, min(1.0, correlation))


def _average_ranks(values: Floats) -> Floats:
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    average: Floats = (np.cumsum(count) - (count - 1) / 2)[index]
    return average
