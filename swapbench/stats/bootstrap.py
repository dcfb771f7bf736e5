"""Bootstrap of groups of samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swapbench.records import Interval
from swapbench.stats.quantiles import quantile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

DRAWS = 1000
_COUNTS_AT_ONCE = 2**24
_CELLS_A_SAMPLE = 100  # a dense product costs about 1/100 of gathering a sample


def percentile_interval(replicates: ArrayLike, confidence: float, method: str) -> Interval:
    """The central `confidence` of bootstrap replicates."""
    tail = (1 - confidence) / 2
    return Interval(
        low=quantile(replicates, tail),
        high=quantile(replicates, 1 - tail),
        confidence=confidence,
        method=method,
    )


def relative_half_width(interval: Interval) -> float:
    """Half the width of an interval over its middle; infinite where the middle is 0."""
    middle = (interval.low + interval.high) / 2
    return (interval.high - interval.low) / 2 / abs(middle) if middle else math.inf


def clustered_totals(
    group: ArrayLike, cell: ArrayLike, *, groups: int, cells: int, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """How many samples lie in each cell in each bootstrap draw of whole groups (subjects).

    A statistic often needs no more of a draw than such counts, and then a million samples cost one product of
    matrices. The same groups, draws and seed give the same draws whatever the cells are, except where every
    sample is a group of its own: there the counts themselves are drawn, which have the same (multinomial)
    distribution.

    Args:
        group: index of each sample's group.
        cell: index of each sample's cell.
        groups: number of groups; a draw takes as many, with repeats.
        cells: number of cells.
        draws: number of replicates.
        seed: of the random numbers.

    Returns:
        Counts, `[draws, cells]`.
    """
    group, cell = np.asarray(group, dtype=np.intp), np.asarray(cell, dtype=np.intp)
    rng = np.random.default_rng(seed)
    if group.size == groups and np.all(np.bincount(group, minlength=groups) == 1):
        share = np.bincount(cell, minlength=cells) / groups
        return rng.multinomial(groups, share, size=draws).astype(np.float64)
    if groups * cells > _CELLS_A_SAMPLE * max(group.size, 1):
        return _totals_sample_by_sample(group, cell, groups, cells, draws, rng)
    times = np.empty((draws, groups), dtype=np.float32)
    for draw in times:
        draw[:] = np.bincount(rng.integers(0, groups, groups), minlength=groups)
    order = np.argsort(group, kind="stable")
    group, cell = group[order], cell[order]
    totals = np.zeros((draws, cells))
    at_once = max(1, _COUNTS_AT_ONCE // cells)
    for first in range(0, groups, at_once):
        last = min(first + at_once, groups)
        start, end = np.searchsorted(group, (first, last))
        index = (group[start:end] - first) * cells + cell[start:end]
        count = np.bincount(index, minlength=(last - first) * cells).reshape(last - first, cells)
        # whole numbers below 2**24 are exact in float32, and a float32 product takes half the time
        totals += times[:, first:last] @ count.astype(np.float32)
    return totals


def _totals_sample_by_sample(
    group: Ints, cell: Ints, groups: int, cells: int, draws: int, rng: np.random.Generator
) -> Floats:
    """`clustered_totals` where a table of groups and cells would be nearly empty."""
    order = np.argsort(cell, kind="stable")
    group, cell = group[order], cell[order]
    used, start = np.unique(cell, return_index=True)
    totals = np.zeros((draws, cells))
    for total in totals:
        times = np.bincount(rng.integers(0, groups, groups), minlength=groups)
        total[used] = np.add.reduceat(times[group], start)
    return totals


def bootstrap_interval(replicates: ArrayLike, confidence: float, method: str) -> Interval | None:
    """`percentile_interval` without the replicates that are NaN (a class is missing in the draw).

    Returns:
        The interval; None where more than half of the replicates are NaN.
    """
    values = np.asarray(replicates, dtype=np.float64)
    usable = values[~np.isnan(values)]
    if usable.size == 0 or usable.size * 2 < values.size:
        return None
    return percentile_interval(usable, confidence, method)
