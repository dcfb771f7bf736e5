"""How often the uncertainty of energy per inference holds the truth; run by benchmarks/coverage.py.

A counter moves in steps, at update times that the reader does not know; idle power wanders between the
windows and is disturbed by other work now and then. The truth is the energy of the runs, above an idle power
that is the mean of both ends. The uncertainty is a worst case and no interval, so it should hold always.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swapbench import stats
from swapbench.records import CounterRead, Power

WINDOW_NS = 10_000_000_000


@dataclass(frozen=True)
class Supply:
    """A meter and the power that it sees.

    Attributes:
        name: what is printed.
        step_uj: of the counter.
        update_ns: between its new values.
        drift: how far idle power moves over the three windows, relative, at most.
        other_work: the share of trials in which other work adds a tenth of idle power to one idle window.
    """

    name: str
    step_uj: int
    update_ns: int
    drift: float = 0.0
    other_work: float = 0.0


SUPPLIES = (
    Supply("RAPL, steady", 61, 1_000_000),
    Supply("RAPL, idle power drifts by up to 5 %", 61, 1_000_000, drift=0.05),
    Supply("coarse rails: 1 mJ every 100 ms", 1_000, 100_000_000, drift=0.02),
    Supply("RAPL, other work in one idle window of ten", 61, 1_000_000, other_work=0.1),
)


def holds(supply: Supply, rng: np.random.Generator) -> bool:
    """Whether the energy of a run of one trial lies within what `stats.energy_per_run` says of it."""
    idle_w, busy_w, runs = rng.uniform(0.5, 20), rng.uniform(0.05, 20), int(rng.integers(100, 20_000))
    slope = idle_w * supply.drift * rng.uniform(-1, 1)
    watts = [idle_w, idle_w + slope / 2 + busy_w, idle_w + slope]
    if rng.random() < supply.other_work:
        watts[rng.choice([0, 2])] += 0.1 * idle_w
    used = [_read(supply, power_w, rng) for power_w in watts]
    reads = [(CounterRead(counter="package-0", used_uj=uj, window_ns=WINDOW_NS),) for uj in used]
    power = Power(
        meter="made",
        scope="package",
        resolution_uj=supply.step_uj,
        update_ns=supply.update_ns,
        idle_before=reads[0],
        busy=reads[1],
        idle_after=reads[2],
        runs=runs,
    )
    truth_uj = busy_w * WINDOW_NS / 1e3 / runs
    found = stats.energy_per_run(power)
    return abs(found.above_idle_uj - truth_uj) <= found.uncertainty_uj


def _read(supply: Supply, power_w: float, rng: np.random.Generator) -> int:
    """What a counter of constant power shows of a window: whole steps, as of its last updates."""
    lag_ns = rng.uniform(0, supply.update_ns, 2)
    begin_uj = rng.uniform(0, 1e9)
    ends_ns = (0 - lag_ns[0], WINDOW_NS - lag_ns[1])
    values = [(begin_uj + power_w * at_ns / 1e3) // supply.step_uj * supply.step_uj for at_ns in ends_ns]
    return max(round(values[1] - values[0]), 0)


def table(trials: int, seed: int) -> str:
    """The lines of a Markdown table."""
    lines = ["| meter | energy per inference within its uncertainty |", "|---|---|"]
    for number, supply in enumerate(SUPPLIES):
        rng = np.random.default_rng([seed, number])
        share = np.mean([holds(supply, rng) for _ in range(trials)])
        lines.append(f"| {supply.name} | {100 * share:.1f} |")
    return "\n".join(lines)
