"""How often the intervals and bounds that a report prints hold the truth: latency, error rates, energy.

    python benchmarks/coverage.py [--trials 1000] [--seed 0]

Worlds of noise give processes, whose runs the product's own rule keeps measuring: at least six processes, a
look at the width after 6, 9, 13 and 20, a stop at +-2 %, and in half of the trials a time budget that ends it
somewhere between. The truth is that of 200,000 processes of the same world. A last table takes committed
records: how often a few of their processes cover the whole's estimate.

Nominal are 95 % for intervals and for bounds (which may be surer, because orders come in steps). A world
whose rounds drift breaks the one assumption, that processes are independent; it is shown, and named, to say
so.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import coverage_energy
import coverage_errors
import numpy as np

from swapbench import stats, store
from swapbench.records import Plan, Speed, WorkerTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TRUTH_FROM = 200_000
SLICES, RUNS = 8, 15
TARGET = Plan().target_relative_half_width
EXAMPLE = Path(__file__).parents[1] / "reports" / "example"


@dataclass(frozen=True)
class World:
    """How processes differ, and runs within them.

    Attributes:
        name: what is printed.
        levels: draws the level of processes of a sequence of rounds, [sequences, rounds].
        slice_sd: relative deviation of slices, which resemble the one before with a correlation of .9.
        run_sd: deviation of the logarithm of runs.
    """

    name: str
    levels: Callable[[np.random.Generator, tuple[int, int]], Floats]
    slice_sd: float = 0.01
    run_sd: float = 0.02

    def processes(self, rng: np.random.Generator, sequences: int, rounds: int) -> Floats:
        """Runs of processes in ms: [sequences, rounds, SLICES * RUNS]."""
        level = self.levels(rng, (sequences, rounds))
        slices = np.empty((sequences, rounds, SLICES))
        slices[..., 0] = rng.standard_normal((sequences, rounds))
        for number in range(1, SLICES):
            step = rng.standard_normal((sequences, rounds))
            slices[..., number] = 0.9 * slices[..., number - 1] + math.sqrt(0.19) * step
        shape = (sequences, rounds, SLICES, RUNS)
        runs = np.exp(self.run_sd * np.abs(rng.standard_normal(shape)))
        runs *= (level[..., None] * (1 + self.slice_sd * slices))[..., None]
        return runs.reshape(sequences, rounds, SLICES * RUNS)


def _normal(sd: float) -> Callable[[np.random.Generator, tuple[int, int]], Floats]:
    return lambda rng, shape: 1 + sd * rng.standard_normal(shape)


def _two_modes(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    slow: Floats = np.where(rng.random(shape) < 0.3, 1.15, 1.0)
    return slow * (1 + 0.005 * rng.standard_normal(shape))


def _bursts(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    hit = rng.random(shape) < 0.15
    level: Floats = 1 + 0.005 * rng.standard_normal(shape) + hit * rng.exponential(0.3, shape)
    return level


def _drift(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    steps = rng.standard_normal(shape)
    for number in range(1, shape[1]):
        steps[:, number] = 0.5 * steps[:, number - 1] + math.sqrt(0.75) * steps[:, number]
    level: Floats = 1 + 0.02 * steps
    return level


WORLDS = (
    World("quiet: processes 0.3 %", _normal(0.003)),
    World("processes 2 %", _normal(0.02)),
    World("processes 3 %, slices 3 %", _normal(0.03), slice_sd=0.03),
    World("processes 5 %", _normal(0.05)),
    World("two modes, 15 % apart", _two_modes),
    World("skewed processes", lambda rng, shape: 1 + 0.02 * np.exp(rng.standard_normal(shape))),
    World("bursts hit one process in seven", _bursts),
    World("rounds drift (not independent)", _drift),
)
QUANTITIES = {"p05": 0.05, "median": 0.5, "p90": 0.9, "p95": 0.95, "speed-up": 0.5}


def rounds_measured(medians: Floats, rng: np.random.Generator) -> int:
    """After how many processes the product stops: at a look, or where a time budget ends."""
    budget = int(rng.integers(stats.LOOKS[0], stats.LOOKS[-1] + 1)) if rng.random() < 0.5 else len(medians)
    for look in stats.LOOKS:
        if look > budget:
            return budget
        interval = stats.process_interval(medians[:look].tolist())
        assert interval is not None
        if stats.relative_half_width(interval) <= TARGET:
            return look
    return budget


def coverage(world: World, trials: int, rng: np.random.Generator) -> dict[str, float]:
    """The share of trials in which each quantity's interval, or bound, holds the truth."""
    rounds = stats.LOOKS[-1]
    many = world.processes(rng, TRUTH_FROM // rounds, rounds).reshape(-1, SLICES * RUNS)
    truths = {name: float(np.median(_of_each(many, q))) for name, q in QUANTITIES.items()}
    other = World("", _normal(0.005))  # the file that the speed-up is against, hit by the same rounds
    held = dict.fromkeys(QUANTITIES, 0)
    for _ in range(trials):
        runs = world.processes(rng, 1, rounds)[0]
        shown = {name: _of_each(runs, q) for name, q in QUANTITIES.items()}
        count = rounds_measured(shown["median"], rng)
        shared = 1 + 0.03 * rng.standard_normal(rounds)
        faster = _of_each(other.processes(rng, 1, rounds)[0], 0.5) * shared
        shown["speed-up"] = shown["median"] * shared / faster
        for name, values in shown.items():
            held[name] += _holds(name, values[:count].tolist(), truths)
    return {name: number / trials for name, number in held.items()}


def _of_each(runs: Floats, q: float) -> Floats:
    """The product's quantile of each row."""
    quantiles: Floats = np.quantile(runs, q, axis=-1, method="inverted_cdf")
    return quantiles


def _holds(name: str, values: Sequence[float], truths: dict[str, float]) -> bool:
    if name in {"p90", "p95"}:
        bound = stats.median_bound(values)
        assert bound is not None
        return bound >= truths[name]
    interval = stats.process_interval(values)
    assert interval is not None
    truth = truths["median"] / _OTHER_MEDIAN if name == "speed-up" else truths[name]
    return interval.low <= truth <= interval.high


_OTHER_MEDIAN = float(
    np.median(_of_each(World("", _normal(0.005)).processes(np.random.default_rng(7), 2000, 20), 0.5))
)


def of_records(folder: Path, size: int, rng: np.random.Generator) -> dict[str, float]:
    """How often `size` processes of a committed record cover the estimate of all of its processes."""
    held, trials = dict.fromkeys(("p05", "median"), 0), 0
    for record in store.load_run(folder):
        if not isinstance(record.speed, Speed) or len(record.speed.workers) <= size:
            continue
        for _ in range(40):
            trials += 1
            chosen = [record.speed.workers[i] for i in rng.permutation(len(record.speed.workers))[:size]]
            for name in held:
                held[name] += _covers(chosen, record.speed.workers, QUANTITIES[name])
    return {name: number / trials for name, number in held.items()}


def _covers(few: Sequence[WorkerTimes], whole: Sequence[WorkerTimes], q: float) -> bool:
    part, truth = stats.typical(few, q), stats.typical(whole, q)
    assert part is not None
    assert part.interval is not None
    assert truth is not None
    return part.interval.low <= truth.value_ns <= part.interval.high


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--trials", type=int, default=1000, help="simulated files in each world")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| world | " + " | ".join(QUANTITIES) + " |")
    print("|---" * (len(QUANTITIES) + 1) + "|")
    for number, world in enumerate(WORLDS):
        found = coverage(world, options.trials, np.random.default_rng([options.seed, number]))
        print(f"| {world.name} | " + " | ".join(f"{100 * share:.1f}" for share in found.values()) + " |")
    shares = of_records(EXAMPLE, 6, np.random.default_rng(options.seed))
    text = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    print(f"\nSix of the processes of each record in {EXAMPLE.name}/ cover the estimate of all: {text}.")
    print(f"\n{coverage_errors.table(options.trials, options.seed)}")
    print(f"\n{coverage_energy.table(options.trials, options.seed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
