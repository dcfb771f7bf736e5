"""The bench: the passes that measure, and the doubts about what was measured.

It talks to devices, runtimes and meters only through `swapbench.ports`.
"""

from swapbench.bench.doubt import doubts, slower_than_float
from swapbench.bench.mistakes import Findings, check_preprocessing, chosen_rows
from swapbench.bench.operators import measure_operators
from swapbench.bench.pairs import (
    BASELINE,
    CANDIDATE,
    PAIRED_PLAN,
    PairedTimes,
    Round,
    Statistic,
    log_ratios,
    measure_rounds,
    statistic_ns,
)
from swapbench.bench.passes import (
    RoundDone,
    Timed,
    measure_memory,
    measure_power,
    measure_scores,
    measure_speed,
)
from swapbench.bench.workers import Subject, normalise_json

__all__ = [
    "BASELINE",
    "CANDIDATE",
    "PAIRED_PLAN",
    "Findings",
    "PairedTimes",
    "Round",
    "RoundDone",
    "Statistic",
    "Subject",
    "Timed",
    "check_preprocessing",
    "chosen_rows",
    "doubts",
    "log_ratios",
    "measure_memory",
    "measure_operators",
    "measure_power",
    "measure_rounds",
    "measure_scores",
    "measure_speed",
    "normalise_json",
    "slower_than_float",
    "statistic_ns",
]
