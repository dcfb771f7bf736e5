"""Energy of a run, from counters read over an idle, a busy and another idle window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from swapbench.records import CounterRead, Power


@dataclass(frozen=True)
class EnergyPerRun:
    """Energy of one run, from the counters of one meter.

    Attributes:
        gross_uj: all that the scope used while busy.
        above_idle_uj: what it used above its idle power.
        uncertainty_uj: worst case, of above_idle_uj.
    """

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
    """Energy of one run from three windows, summed over the counters that do not lie inside another.

    Idle power is that of both idle windows together. 1000 runs in 10 s of 2 W busy, 1 W idle: 20 mJ gross, 10
    mJ above idle. The uncertainty adds up the worst case: for each window one step of the counter and what is
    used in one update interval, and half of the drift between the two idle windows over the busy window.
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
    """Integral of sampled values over time by the trapezoid rule, linear between two samples.

    1 W at 0 s and 3 W at 10 s are 20 J together, 12.5 J of them in the second half.

    Args:
        times_ns: of the samples, ascending.
        values: of the samples.
        begin_ns: lower limit.
        end_ns: upper limit.

    Returns:
        The integral, in the unit of the values times ns.

    Raises:
        ValueError: the samples are not in order or do not reach from begin_ns to end_ns.
    """
    times = np.asarray([at - times_ns[0] for at in times_ns], dtype=np.float64)
    samples = np.asarray(values, dtype=np.float64)
    begin, end = begin_ns - times_ns[0], end_ns - times_ns[0]
    if times.size < 2 or times.size != samples.size or bool(np.any(np.diff(times) <= 0)):
        raise ValueError("an integral needs at least two samples in ascending order of time")
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
    """How far idle power moved from before to after, relative to its mean: 1 W, then 1.1 W, is 0.095."""
    before, after = _watts(power.idle_before), _watts(power.idle_after)
    mean = (before + after) / 2
    return abs(after - before) / mean if mean else 0.0


def _sum_uj(window: Sequence[CounterRead]) -> int:
    return sum(read.used_uj for read in window if read.counts_towards_total)


def _mean_window_ns(window: Sequence[CounterRead]) -> float:
    return sum(read.window_ns for read in window) / len(window)


def _watts(window: Sequence[CounterRead]) -> float:
    return _sum_uj(window) / _mean_window_ns(window) * 1e3
