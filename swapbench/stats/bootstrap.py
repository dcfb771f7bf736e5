"""Bootstrap of workers and their slices, and of groups of samples."""

from __future__ import annotations

import bisect
import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from swapbench.records import Interval
from swapbench.stats.quantiles import MEDIAN, quantile, rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

DRAWS = 1000
_DRAWS_AT_ONCE_VALUES = 2_000_000
_COUNTS_AT_ONCE = 2**24
_CELLS_A_SAMPLE = 100  # a dense product costs about 1/100 of gathering a sample


def hierarchical_draws(
    workers: Sequence[Sequence[Sequence[float]]], q: float = MEDIAN, *, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Bootstrap replicates of the `q` quantile of all runs.

    Resamples workers, then slices within each drawn worker; the runs of a slice stay together, because
    disturbances last longer than a run.

    Args:
        workers: `workers[w][s]` holds the runs of slice s of worker w.
        q: of the quantile, 0..1.
        draws: number of replicates.
        seed: of the random numbers.

    Returns:
        The replicates, `[draws]`.

    Raises:
        ValueError: a worker has no slices, or a slice no runs.
    """
    values, owner, times = _drawn(workers, draws, seed)
    replicates = np.empty(draws)
    at_once = max(1, _DRAWS_AT_ONCE_VALUES // values.size)
    for start in range(0, draws, at_once):
        weight = np.cumsum(times[start : start + at_once, owner], axis=1, dtype=np.int32)
        due = np.maximum(np.ceil(q * weight[:, -1] - 1e-9), 1)
        index = [int(np.searchsorted(row, want)) for row, want in zip(weight, due, strict=True)]
        replicates[start : start + at_once] = values[index]
    return replicates


def _drawn(
    workers: Sequence[Sequence[Sequence[float]]], draws: int, seed: int
) -> tuple[Floats, Ints, NDArray[np.int16]]:
    """All runs ascending, the slice that each belongs to, and how often each draw holds each slice."""
    slices = [np.asarray(runs, dtype=np.float64) for worker in workers for runs in worker]
    per_worker = tuple(len(worker) for worker in workers)
    if not per_worker or min(per_worker) == 0 or min(runs.size for runs in slices) == 0:
        raise ValueError("every worker needs at least one slice, and every slice at least one run")
    values = np.concatenate(slices)
    owner = np.repeat(np.arange(len(slices)), [runs.size for runs in slices])
    order = np.argsort(values, kind="stable")
    return values[order], owner[order], _times_drawn(per_worker, draws, seed)


@functools.lru_cache(maxsize=16)  # most records of a run have the same shape
def _times_drawn(slices_of_worker: tuple[int, ...], draws: int, seed: int) -> NDArray[np.int16]:
    """How often each slice is in each draw: [draws, slices in all]."""
    rng = np.random.default_rng(seed)
    per_worker = np.array(slices_of_worker, dtype=np.intp)
    count, most, total = len(per_worker), int(per_worker.max()), int(per_worker.sum())
    first_slice = np.concatenate(([0], np.cumsum(per_worker)[:-1]))
    drawn = rng.integers(0, count, (draws, count))
    wanted = per_worker[drawn][:, :, None]
    picked = (rng.random((draws, count, most)) * wanted).astype(np.intp) + first_slice[drawn][:, :, None]
    real = np.arange(most) < wanted
    cell = picked + (np.arange(draws) * total)[:, None, None]
    times = np.bincount(cell[real], minlength=draws * total).reshape(draws, total).astype(np.int16)
    times.flags.writeable = False
    return times


@functools.lru_cache(maxsize=16)
def _by_slice(slices_of_worker: tuple[int, ...], draws: int, seed: int) -> NDArray[np.int32]:
    """`_times_drawn` as `_runs_in_draws` wants it: [slices in all, draws]."""
    times = np.ascontiguousarray(_times_drawn(slices_of_worker, draws, seed).T, dtype=np.int32)
    times.flags.writeable = False
    return times


def _runs_in_draws(owner: Ints, times: NDArray[np.int32]) -> NDArray[np.int32]:
    """How many of some runs, given by their slices, each draw holds.

    In integers: BLAS would wake all cores for a product of a few microseconds.
    """
    runs = np.bincount(owner, minlength=len(times)).astype(np.int32)
    in_draws: NDArray[np.int32] = np.einsum("s,sd->d", runs, times)
    return in_draws


def hierarchical_interval(
    workers: Sequence[Sequence[Sequence[float]]],
    q: float = MEDIAN,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the `q` quantile over workers and their slices.

    The same as `percentile_interval` of `hierarchical_draws`, without computing the replicates: an end of the
    interval is the smallest run that enough draws reach, and how many reach a run is one product. Ten
    thousand records need that.

    Args:
        workers: `workers[w][s]` holds the runs of slice s of worker w.
        q: of the quantile, 0..1.
        confidence: of the interval.
        draws: number of replicates.
        seed: of the random numbers.
    """
    values, owner, _ = _drawn(workers, draws, seed)
    times = _by_slice(tuple(len(worker) for worker in workers), draws, seed)
    due = np.maximum(np.ceil(q * _runs_in_draws(owner, times) - 1e-9), 1).astype(np.int32)

    def draws_at_most(index: int) -> int:
        """How many replicates are `values[index]` or less."""
        return int(np.count_nonzero(_runs_in_draws(owner[: index + 1], times) >= due))

    middle, reach = rank(values.size, q), 2 * math.isqrt(values.size)
    near = {
        place: draws_at_most(place) for place in (middle - reach, middle + reach) if 0 <= place < values.size
    }

    def smallest_reached_by(wanted: int) -> float:
        """The smallest run that is no less than so many replicates; most ends lie near the quantile."""
        first = max((place + 1 for place, reached in near.items() if reached < wanted), default=0)
        last = min((place for place, reached in near.items() if reached >= wanted), default=values.size)
        return float(values[bisect.bisect_left(range(values.size), wanted, first, last, key=draws_at_most)])

    tail = (1 - confidence) / 2
    low, high = (smallest_reached_by(rank(draws, end) + 1) for end in (tail, 1 - tail))
    method = f"bootstrap over workers and slices, {draws} draws, seed {seed}"
    return Interval(low=low, high=high, confidence=confidence, method=method)


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
