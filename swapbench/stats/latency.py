"""Latency whose unit is the process.

The runs of one process resemble each other: memory is laid out once, the clock and the neighbours change
slowly. So a process counts as one observation, and what is estimated is what a typical fresh process shows:
the median over processes of each one's own quantile. Its interval comes from the order of those quantiles
alone (Hettmansperger and Sheather, Statistics and Probability Letters 4, 1986), whatever their distribution
is, and an upper bound of a tail from the same order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swapbench.stats.medians import bound_place, median_bound, median_interval
from swapbench.stats.quantiles import MEDIAN, median, quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.records import Interval, WorkerTimes

LOOKS: Final = (6, 9, 13, 20)
"""Numbers of processes after which measuring may stop because an interval is narrow enough.

Whoever looks often and stops when the interval happens to be narrow finds it too narrow. Four looks cost up
to 1 point of coverage, which `_LOOKS_SHARE` pays for; benchmarks/coverage.py shows both.
"""

_LOOKS_SHARE: Final = 0.8
"""Share of the allowed error that an interval takes for itself; the looks take the rest."""


@dataclass(frozen=True)
class Estimate:
    """A quantile of a typical process.

    Attributes:
        value_ns: the median over processes.
        interval: of it; None for a single process. Its confidence is lower than asked for where there are
            too few processes.
    """

    value_ns: float
    interval: Interval | None


def process_quantiles_ns(workers: Sequence[WorkerTimes], q: float) -> list[float] | None:
    """The `q` quantile of each process that finished a timed run; None where there is none, or one lacks it.

    Of a tool that reports a summary in place of runs it is the summary's own.
    """
    quantiles: list[float] = []
    for worker in workers:
        if not worker.runs_ns:
            continue
        if worker.summary is None:
            quantiles.append(quantile(worker.runs_ns, q))
            continue
        summary = worker.summary
        reported = {0.05: summary.p05_ns, 0.95: summary.p95_ns}.get(q)
        if q == MEDIAN:  # slices_ns holds the median, or the mean of a tool that knows no other
            reported = worker.runs_ns[0]
        if reported is None:
            return None
        quantiles.append(float(reported))
    return quantiles or None


def typical(workers: Sequence[WorkerTimes], q: float = MEDIAN, confidence: float = 0.95) -> Estimate | None:
    """The `q` quantile of a typical process with its interval; None as `process_quantiles_ns`."""
    quantiles = process_quantiles_ns(workers, q)
    if quantiles is None:
        return None
    return Estimate(median(quantiles), process_interval(quantiles, confidence))


def process_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """The interval of the median of what processes show, made wide enough for the looks of the stopping rule.

    Args:
        values: one of each process.
        confidence: of the interval; fewer than six processes give less, which the interval says.
    """
    interval = median_interval(values, 1 - _LOOKS_SHARE * (1 - confidence))
    if interval is None:
        return None
    return interval.replace(confidence=min(confidence, interval.confidence))


def runs_for(p: float) -> int:
    """Runs that a process needs to show its `p` quantile: one of them must be able to lie above it."""
    return math.ceil(1 / (1 - p) - 1e-9)


def tail_bound_ns(workers: Sequence[WorkerTimes], p: float, confidence: float = 0.95) -> float | None:
    """An upper bound of a typical process's `p` quantile, 0.5 < p < 1.

    Returns:
        None where there are too few processes, or one of them has fewer than `runs_for(p)` runs.
    """
    if any(worker.summary is None and 0 < len(worker.runs_ns) < runs_for(p) for worker in workers):
        return None
    quantiles = process_quantiles_ns(workers, p)
    return None if quantiles is None else median_bound(quantiles, confidence)


def why_no_tail(workers: Sequence[WorkerTimes], p: float, confidence: float = 0.95) -> str:
    """Why `tail_bound_ns` is None: what it needs."""
    if any(worker.summary is not None for worker in workers):
        return f"the tool does not report p{100 * p:.0f}"
    processes = next(count for count in range(1, 1000) if bound_place(count, confidence) is not None)
    return f"p{100 * p:.0f} needs {processes} processes of {runs_for(p)} runs each"
