"""Where a series of measurements changes its level for good: E-divisive, with a permutation test.

Matteson and James, A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data, Journal
of the American Statistical Association 109 (2014); in the form in which MongoDB watches its own benchmarks
(Daly et al., ICPE 2020): a segment is split where the energy distance between its two parts is largest, if
shuffled copies of the segment hardly ever show one as large, and then its parts are tried in the same way.

Nothing is assumed of the noise but that its order means nothing: no normal distribution, no known variance.
A slow drift, or days that resemble the day before, break that assumption and give more false alarms
(benchmarks/change_points.py measures how many).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

LEVEL: Final = 0.001
"""Probability that a series without any change shows one, as in Hunter (Fleming et al., ICPE 2023)."""
PERMUTATIONS: Final = 1999
"""Shuffled copies: the least p-value is 1 / (this + 1)."""
LEAST: Final = 3
"""Fewest values on either side of a change."""
_BATCH: Final = 1 << 17
"""Distances at once: a megabyte, which stays in a core's cache."""
_TIE: Final = 1e-9
"""Relative difference of two statistics that rounding may cause."""


@dataclass(frozen=True)
class ChangePoint:
    """A change of level.

    Attributes:
        start: place of the first value after it, from 0.
        p: share of shuffled copies, the series itself among them, whose best split is at least as good.
    """

    start: int
    p: float


def change_points(
    values: Sequence[float],
    *,
    level: float = LEVEL,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> tuple[ChangePoint, ...]:
    """The change points of a series, ascending; the same arguments give the same ones.

    Each segment is tested at `level`, so a series without any change shows one with at most that probability.

    Args:
        values: in the order of time.
        level: of the test.
        permutations: how many shuffled copies a split is held against.
        seed: of the shuffling.
    """
    series = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(seed)
    return tuple(sorted(_split(series, 0, level, permutations, random), key=lambda found: found.start))


def _split(
    series: NDArray[np.float64], start: int, level: float, permutations: int, random: np.random.Generator
) -> Iterator[ChangePoint]:
    """The change points of a segment that begins at place `start` of the whole."""
    count = len(series)
    if count < 2 * LEAST:
        return
    gains = split_gains(series[None, :])[0]
    left = int(np.argmax(gains)) + LEAST
    p = _p_value(series, float(gains.max()), level, permutations, random)
    if p > level:
        return
    yield ChangePoint(start + left, p)
    yield from _split(series[:left], start, level, permutations, random)
    yield from _split(series[left:], start + left, level, permutations, random)


def _p_value(
    series: NDArray[np.float64], gain: float, level: float, permutations: int, random: np.random.Generator
) -> float:
    """Of a best split with this gain; 1 as soon as it is certain to be above `level`."""
    if gain <= 0:
        return 1.0
    as_good, done = 1, 0
    allowed = level * (permutations + 1)
    size = max(1, _BATCH // len(series) ** 2)
    while done < permutations:
        # an unchanged segment is nearly always given up after the first few copies
        batch = min(size, permutations - done, max(16, done))
        shuffled = random.permuted(np.tile(series, (batch, 1)), axis=1)
        as_good += int((split_gains(shuffled).max(axis=1) >= gain * (1 - _TIE)).sum())
        done += batch
        if as_good > allowed:
            return 1.0
    return as_good / (permutations + 1)


def split_gains(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """The statistic Q of Matteson and James (2014, equation 7; exponent 1) for every split of some series.

    Args:
        series: of the same length [series, n].

    Returns:
        For each series, Q of the splits whose left part has LEAST, LEAST + 1, ..., n - LEAST values.
    """
    count = series.shape[1]
    distances = series[:, :, None] - series[:, None, :]
    np.abs(distances, out=distances)
    to_earlier = np.einsum("sij,ij->si", distances, np.tri(count, k=-1))
    within_left = to_earlier.cumsum(axis=1)
    between = distances.sum(axis=2).cumsum(axis=1) - 2 * within_left
    within_right = within_left[:, -1:] - within_left - between
    left = np.arange(LEAST, count - LEAST + 1, dtype=np.float64)
    right = count - left
    chosen = slice(LEAST - 1, count - LEAST)
    gains: NDArray[np.float64] = (left * right / count) * (
        2 * between[:, chosen] / (left * right)
        - within_left[:, chosen] / (left * (left - 1) / 2)
        - within_right[:, chosen] / (right * (right - 1) / 2)
    )
    return gains
