"""Order statistics, bootstrap, exact intervals and tests, and the energy of a run: pure functions of numbers, numpy only.

One definition of a quantile throughout: the inverse of the empirical distribution function (Hyndman and Fan's type 1),
the least sample that at least the fraction `q` of the samples does not exceed. It is always a value that
was really measured; the median of an even number of samples is the lower of the middle two.
"""

from __future__ import annotations

import bisect
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.records import Interval, Proportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from swapbench.records import CounterRead, Power

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

MEDIAN = 0.5
DRAWS = 1000
_DRAWS_AT_ONCE_VALUES = 2_000_000
_COUNTS_AT_ONCE = 2**24
_CELLS_A_SAMPLE = 100  # a dense product costs about 1/100 of gathering a sample


# ---------------------------------------------------------------------------------------------- quantiles


def quantile(samples: ArrayLike, q: float) -> float:
    """The least sample that at least the fraction `q` of `samples` does not exceed; q = 0 is the minimum.

    Raises ValueError without samples or for a q outside 0..1.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64), axis=None)
    return float(ordered[_rank(ordered.size, q)])


def median(samples: ArrayLike) -> float:
    """`quantile` at 0.5."""
    return quantile(samples, MEDIAN)


def _rank(count: int, q: float) -> int:
    if count == 0:
        raise ValueError("a quantile needs at least one sample")
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile lies in 0..1, not at {q}")
    return max(0, math.ceil(q * count - 1e-9) - 1)  # .07 * 100 is 7.000000000000001


@dataclass(frozen=True)
class TailPercentile:
    """A percentile that the number of samples supports, after MLPerf LoadGen's early stopping.

    value: the estimate, None where there are fewer than `least_samples`; overruns: how many samples may exceed the true
    percentile; index: place of `value` in the ascending samples, counted from 0.
    """

    value: float | None
    least_samples: int
    overruns: int = 0
    index: int | None = None


def early_stopping_percentile(samples: ArrayLike, p: float, confidence: float = 0.99) -> TailPercentile:
    """An upper estimate of the `p` percentile (0 < p < 1) that is right with `confidence`, or no value.

    MLPerf inference LoadGen, early stopping with tolerance 0: for t overruns let h(t) be the least h with
    P(Binomial(h + t, 1 - p) <= t) <= 1 - confidence; take the largest t with h(t) + t <= n and
    report the ascending sample number n - t, so that the t - 1 largest are dropped.
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

    The same t as LoadGen's: the probability falls with the number of trials, so h(t) + t <= count means just this.
    """
    _check_tail(p, confidence)
    if count < 1:
        return -1
    below = np.cumsum(np.exp(_log_binomial_terms(count, 1 - p)))
    return int(np.searchsorted(below, 1 - confidence, side="right")) - 1


@functools.lru_cache(maxsize=64)
def least_samples(p: float, confidence: float = 0.99) -> int:
    """Fewest samples that support the `p` percentile: 11 for the median, 64 for p90, 130 for p95, 662 for p99."""
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
        raise ValueError(f"percentile and confidence lie between 0 and 1, not at {p} and {confidence}")


def _log_binomial_terms(trials: int, probability: float) -> Floats:
    """Log P(Binomial(trials, probability) = k) for k = 0..trials; 0 < probability < 1."""
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, trials + 1, dtype=np.float64)))))
    k = np.arange(trials + 1)
    log_choose = log_factorial[trials] - log_factorial - log_factorial[::-1]
    terms: Floats = log_choose + k * math.log(probability) + (trials - k) * math.log1p(-probability)
    return terms


# ---------------------------------------------------------------------------------------------- bootstrap


def hierarchical_draws(
    workers: Sequence[Sequence[Sequence[float]]], q: float = MEDIAN, *, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """`draws` bootstrap replicates of the `q` quantile of all runs: [draws].

    Resamples workers, then slices within each drawn worker; the runs of a slice stay together, because disturbances are
    longer than a run. `workers[w][s]` holds the runs of slice s of worker w.
    """
    values, owner, times = _drawn(workers, draws, seed)
    replicates = np.empty(draws)
    at_once = max(1, _DRAWS_AT_ONCE_VALUES // values.size)
    for start in range(0, draws, at_once):
        weight = np.cumsum(times[start : start + at_once, owner], axis=1, dtype=np.int32)
        due = np.maximum(np.ceil(q * weight[:, -1] - 1e-9), 1)
        place = [int(np.searchsorted(row, want)) for row, want in zip(weight, due, strict=True)]
        replicates[start : start + at_once] = values[place]
    return replicates


def _drawn(
    workers: Sequence[Sequence[Sequence[float]]], draws: int, seed: int
) -> tuple[Floats, Ints, NDArray[np.int16]]:
    """All runs ascending, the slice that each belongs to, and how often each draw holds each slice."""
    slices = [np.asarray(one, dtype=np.float64) for worker in workers for one in worker]
    per_worker = tuple(len(worker) for worker in workers)
    if not per_worker or min(per_worker) == 0 or min(one.size for one in slices) == 0:
        raise ValueError("every worker needs slices and every slice runs")
    values = np.concatenate(slices)
    owner = np.repeat(np.arange(len(slices)), [one.size for one in slices])
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
def _by_slice(slices_of_worker: tuple[int, ...], draws: int, seed: int) -> Floats:
    """`_times_drawn` as a product of matrices wants it: [slices in all, draws]."""
    times = np.ascontiguousarray(_times_drawn(slices_of_worker, draws, seed).T, dtype=np.float64)
    times.flags.writeable = False
    return times


def hierarchical_interval(
    workers: Sequence[Sequence[Sequence[float]]],
    q: float = MEDIAN,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the `q` quantile over workers and their slices.

    The same as `percentile_interval` of `hierarchical_draws`, without making the replicates: an end of the interval is the
    least run that enough draws reach, and how many reach a run is one product. Ten thousand records need that.
    """
    values, owner, _ = _drawn(workers, draws, seed)
    times = _by_slice(tuple(len(worker) for worker in workers), draws, seed)
    due = np.maximum(np.ceil(q * (np.bincount(owner).astype(np.float64) @ times) - 1e-9), 1)

    def draws_at_most(place: int) -> int:
        """How many replicates are `values[place]` or less."""
        runs = np.bincount(owner[: place + 1], minlength=len(times)).astype(np.float64)
        return int(np.count_nonzero(runs @ times >= due))

    tail = (1 - confidence) / 2
    low, high = (
        float(values[bisect.bisect_left(range(values.size), _rank(draws, end) + 1, key=draws_at_most)])
        for end in (tail, 1 - tail)
    )
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
    """How many samples lie in each cell in each bootstrap draw of whole groups (subjects): [draws, cells].

    group, cell: the place of each sample's group and cell, 0 up to `groups` and `cells`. A draw takes `groups` groups with
    repeats. What a statistic needs of a draw is often no more than such counts, and then a million samples cost one
    product of matrices. The same groups, draws and seed give the same draws whatever the cells are, except where every
    sample is a group of its own: there the counts themselves are drawn, which have the same (multinomial) distribution.
    """
    group, cell = np.asarray(group, dtype=np.intp), np.asarray(cell, dtype=np.intp)
    rng = np.random.default_rng(seed)
    if group.size == groups and np.all(np.bincount(group, minlength=groups) == 1):
        share = np.bincount(cell, minlength=cells) / groups
        return rng.multinomial(groups, share, size=draws).astype(np.float64)
    if groups * cells > _CELLS_A_SAMPLE * max(group.size, 1):
        return _totals_sample_by_sample(group, cell, groups, cells, draws, rng)
    times = np.empty((draws, groups), dtype=np.float32)
    for one in times:
        one[:] = np.bincount(rng.integers(0, groups, groups), minlength=groups)
    order = np.argsort(group, kind="stable")
    group, cell = group[order], cell[order]
    totals = np.zeros((draws, cells))
    at_once = max(1, _COUNTS_AT_ONCE // cells)
    for first in range(0, groups, at_once):
        last = min(first + at_once, groups)
        start, end = np.searchsorted(group, (first, last))
        place = (group[start:end] - first) * cells + cell[start:end]
        count = np.bincount(place, minlength=(last - first) * cells).reshape(last - first, cells)
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
    for one in totals:
        times = np.bincount(rng.integers(0, groups, groups), minlength=groups)
        one[used] = np.add.reduceat(times[group], start)
    return totals


def bootstrap_interval(replicates: ArrayLike, confidence: float, method: str) -> Interval | None:
    """`percentile_interval` without the replicates that are NaN (a class is missing in the draw).

    None where more than half of them are.
    """
    values = np.asarray(replicates, dtype=np.float64)
    usable = values[~np.isnan(values)]
    if usable.size == 0 or usable.size * 2 < values.size:
        return None
    return percentile_interval(usable, confidence, method)


# ---------------------------------------------------------------------------------------------- proportions


def clopper_pearson(errors: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact two-sided interval of a proportion (Clopper and Pearson 1934), from the tails of the binomial.

    0 errors of 20 give 0 to 16.8 %. Raises ValueError unless 0 <= errors <= trials, trials >= 1 and 0.5 <= confidence < 1.
    """
    if trials < 1 or not 0 <= errors <= trials:
        raise ValueError(f"{errors} errors of {trials} trials is no proportion")
    if not 0.5 <= confidence < 1:
        raise ValueError(f"a confidence lies in 0.5..1, not at {confidence}")
    tail = (1 - confidence) / 2
    low = 0.0 if errors == 0 else _probability_where(errors, trials, tail)
    high = 1.0 if errors == trials else 1 - _probability_where(trials - errors, trials, tail)
    return Interval(low=low, high=high, confidence=confidence, method="Clopper-Pearson")


def _probability_where(at_least: int, trials: int, tail: float) -> float:
    """The p with P(Binomial(trials, p) >= at_least) = tail, for tail <= 1/4 and at_least >= 1, by guarded Newton steps.

    It lies below at_least / trials, where the probability is more than 1/4 (Greenberg and Mohri 2014).
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
    """P(Binomial(trials, p) >= at_least) and P(... == at_least), for at_least at or above the mean and below `trials`.

    Each term is a product of ratios from the one before, and they only fall: 12 standard deviations on they are nothing.
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


# ---------------------------------------------------------------------------------------------- pairs


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test (1947) that two ways of deciding the same cases err equally often.

    only_first, only_second: cases that only the first, only the second got right. Under equality each of them is a coin
    toss, so p = min(1, 2 P(Binomial(both, 1/2) <= the smaller)). 6 against 0 give 2/64. Takes cases to be independent.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"{only_first} and {only_second} are no counts")
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
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, running)
    return tuple(adjusted)


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation, ties given their average rank; None where a side is constant or has under two values."""
    one, other = (_average_ranks(np.asarray(side, dtype=np.float64)) for side in (first, second))
    if one.shape != other.shape:
        raise ValueError(f"cannot correlate values of shapes {one.shape} and {other.shape}")
    if one.size < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    one, other = one - one.mean(), other - other.mean()
    found = float(one @ other / math.sqrt(float(one @ one) * float(other @ other)))
    return max(-1.0, min(1.0, found))


def _average_ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    average: Floats = (np.cumsum(count) - (count - 1) / 2)[place]
    return average


# ---------------------------------------------------------------------------------------------- energy


@dataclass(frozen=True)
class EnergyPerRun:
    """Energy of one run: all that the scope used while busy, and that above idle with its worst-case uncertainty."""

    gross_uj: float
    above_idle_uj: float
    uncertainty_uj: float

    @property
    def resolved(self) -> bool:
        """False where the energy above idle cannot be told from nothing: then it is less than `limit_uj`."""
        return self.above_idle_uj > self.uncertainty_uj

    @property
    def limit_uj(self) -> float:
        """The most that a run can have used above idle."""
        return max(0.0, self.above_idle_uj + self.uncertainty_uj)


def energy_per_run(power: Power) -> EnergyPerRun:
    """Energy of one run from three windows, summed over the counters of the meter that do not lie inside another.

    Idle power is that of both idle windows together. 1000 runs in 10 s of 2 W busy, 1 W idle: 20 mJ gross, 10 mJ above
    idle. The uncertainty adds up the worst case: for each window one step of the counter and what is used in one update
    interval, and half of the drift between the two idle windows over the busy window.
    """
    busy_ns = _mean_window_ns(power.busy)
    idle_ns = _mean_window_ns(power.idle_before) + _mean_window_ns(power.idle_after)
    busy_uj, before_uj, after_uj = (_sum_uj(w) for w in (power.busy, power.idle_before, power.idle_after))
    idle_uj_a_ns = (before_uj + after_uj) / idle_ns
    step_uj = power.resolution_uj * sum(read.counts_towards_total for read in power.busy)
    busy_step_uj = step_uj + power.update_ns * busy_uj / busy_ns
    idle_step_uj = (2 * step_uj + 2 * power.update_ns * idle_uj_a_ns) * busy_ns / idle_ns
    drift_uj = abs(_watts(power.idle_before) - _watts(power.idle_after)) * busy_ns / 1e3 / 2
    return EnergyPerRun(
        gross_uj=busy_uj / power.runs,
        above_idle_uj=(busy_uj - idle_uj_a_ns * busy_ns) / power.runs,
        uncertainty_uj=(busy_step_uj + idle_step_uj + drift_uj) / power.runs,
    )


def integral(times_ns: Sequence[int], values: ArrayLike, begin_ns: float, end_ns: float) -> float:
    """Integral of sampled values over time, in value times ns, by the trapezoid rule; linear between two samples.

    1 W at 0 s and 3 W at 10 s are 20 J together, 12.5 J of them in the second half. Raises ValueError for samples that are not in order or do
    not reach from begin_ns to end_ns.
    """
    times = np.asarray([at - times_ns[0] for at in times_ns], dtype=np.float64)
    samples = np.asarray(values, dtype=np.float64)
    begin, end = begin_ns - times_ns[0], end_ns - times_ns[0]
    if times.size < 2 or times.size != samples.size or bool(np.any(np.diff(times) <= 0)):
        raise ValueError("an integral needs at least two samples, one after the other")
    if not times[0] <= begin <= end <= times[-1]:
        raise ValueError(f"the samples do not reach from {begin_ns} to {end_ns} ns")
    inside = (times > begin) & (times < end)
    at = np.concatenate(([begin], times[inside], [end]))
    value = np.concatenate(
        ([np.interp(begin, times, samples)], samples[inside], [np.interp(end, times, samples)])
    )
    return float(np.sum(np.diff(at) * (value[1:] + value[:-1]) / 2))


def energy_per_run_uj(power: Power) -> tuple[float, float, float]:
    """(gross, above idle, uncertainty) of one run in microjoules; see `energy_per_run`."""
    energy = energy_per_run(power)
    return energy.gross_uj, energy.above_idle_uj, energy.uncertainty_uj


def idle_drift(power: Power) -> float:
    """How far idle power moved from before to after, relative to its mean: 1 W then 1.1 W is 0.095."""
    before, after = _watts(power.idle_before), _watts(power.idle_after)
    mean = (before + after) / 2
    return abs(after - before) / mean if mean else 0.0


def _sum_uj(window: Sequence[CounterRead]) -> int:
    return sum(read.used_uj for read in window if read.counts_towards_total)


def _mean_window_ns(window: Sequence[CounterRead]) -> float:
    return sum(read.window_ns for read in window) / len(window)


def _watts(window: Sequence[CounterRead]) -> float:
    return _sum_uj(window) / _mean_window_ns(window) * 1e3
