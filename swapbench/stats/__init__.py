"""Order statistics, bootstrap, exact intervals and tests, energy of a run: pure functions, numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.stats.bootstrap import (
    DRAWS,
    bootstrap_interval,
    clustered_totals,
    hierarchical_draws,
    hierarchical_interval,
    percentile_interval,
    relative_half_width,
)
from swapbench.stats.energy import EnergyPerRun, energy_per_run, energy_per_run_uj, idle_drift, integral
from swapbench.stats.exact import clopper_pearson, holm, mcnemar, proportion, spearman
from swapbench.stats.quantiles import (
    MEDIAN,
    TailPercentile,
    early_stopping_percentile,
    least_samples,
    median,
    permitted_overruns,
    quantile,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

__all__ = [
    "DRAWS",
    "MEDIAN",
    "EnergyPerRun",
    "TailPercentile",
    "bootstrap_interval",
    "clopper_pearson",
    "clustered_totals",
    "early_stopping_percentile",
    "energy_per_run",
    "energy_per_run_uj",
    "hierarchical_draws",
    "hierarchical_interval",
    "holm",
    "idle_drift",
    "integral",
    "least_samples",
    "mcnemar",
    "median",
    "percentile_interval",
    "permitted_overruns",
    "proportion",
    "quantile",
    "relative_half_width",
    "spearman",
]
