"""Order statistics, bootstrap, exact intervals and tests, energy of a run: pure functions, numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.stats.beta import beta_probability, t_quantile
from swapbench.stats.bootstrap import (
    DRAWS,
    bootstrap_interval,
    clustered_totals,
    percentile_interval,
    relative_half_width,
)
from swapbench.stats.change_points import LEVEL, ChangePoint, change_points
from swapbench.stats.clustered import clustered_proportion, effective_trials, likely_rates
from swapbench.stats.energy import EnergyPerRun, energy_per_run, energy_per_run_uj, idle_drift, integral
from swapbench.stats.exact import clopper_pearson, holm, mcnemar, proportion, spearman
from swapbench.stats.latency import (
    LOOKS,
    Estimate,
    process_interval,
    process_quantiles_ns,
    runs_for,
    tail_bound_ns,
    typical,
    why_no_tail,
)
from swapbench.stats.medians import binomial_tails, bound_place, median_bound, median_interval
from swapbench.stats.quantiles import MEDIAN, median, quantile
from swapbench.stats.sign_flips import change_p, exchanges, least_rise, rise_p

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

__all__ = [
    "DRAWS",
    "LEVEL",
    "LOOKS",
    "MEDIAN",
    "ChangePoint",
    "EnergyPerRun",
    "Estimate",
    "beta_probability",
    "binomial_tails",
    "bootstrap_interval",
    "bound_place",
    "change_p",
    "change_points",
    "clopper_pearson",
    "clustered_proportion",
    "clustered_totals",
    "effective_trials",
    "energy_per_run",
    "energy_per_run_uj",
    "exchanges",
    "holm",
    "idle_drift",
    "integral",
    "least_rise",
    "likely_rates",
    "mcnemar",
    "median",
    "median_bound",
    "median_interval",
    "percentile_interval",
    "process_interval",
    "process_quantiles_ns",
    "proportion",
    "quantile",
    "relative_half_width",
    "rise_p",
    "runs_for",
    "spearman",
    "t_quantile",
    "tail_bound_ns",
    "typical",
    "why_no_tail",
]
