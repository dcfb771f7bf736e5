"""How often does a gate raise a false alarm or miss a slowdown? Several rules on the same samples.

    python benchmarks/gate_simulation.py [--trials N] [--seed N] [--only timings|errors]

One *slot* is one slice of one worker. Log latency of a run = job + drift of the slot + the worker process +
contamination of the slot + burst + the run itself. Two kinds of noise, seeded:

- ASSUMED, a hosted runner: jobs differ by 10 % (sd); within a job an AR(1) drift of 6 % sd over 12 slots and
a
  trend of -3 to +8 %; processes 1 %; runs 3 %; 5 % of the slots are slower by 10 to 60 %; 2 % of the runs by
  20 to 100 %; bursts.
- MEASURED, set so that the median of six A/A rounds spreads (sd) as it did on a shared machine with two
cores: p05
  0.4 % (there 0.3 %), median 5 % (6 %), mean 4 % (3 %). Processes hardly differ, and bursts of other work,
  longer than a slice, take half the time.

Each round has three fresh workers (baseline, candidate, control) in alternating slots, as the gate measures
them. The other rules get the same samples of baseline and candidate; "stored baseline" takes its baseline
from another job. A slowdown only shifts the candidate's log latencies, so every trial is judged at every
slowdown with the same noise. Error rates have worlds of their own (gate_errors.py).
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.gate import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SLOWDOWNS = (0.0, 0.01, 0.02, 0.05, 0.10, 0.20)
SLICES, RUNS, GAP_SLOTS = 8, 20, 20
BASELINE, CANDIDATE, CONTROL = range(3)
QUANTILES = {"p05": 0.05, "p50": 0.50, "p90": 0.90}
BUDGETS = {"p05": 0.01, "p50": 0.10, "p90": 0.25}


@dataclass(frozen=True)
class Noise:
    """Standard deviations and sizes of log latency; bursts begin in a share of slots and last some slots."""

    job_sd: float
    drift_sd: float
    drift_slots: float
    trend: tuple[float, float]
    process_sd: float
    run_sd: float
    contaminated: float
    contamination: tuple[float, float]
    spiked: float
    spike: tuple[float, float]
    burst_begins: float
    burst_slots: float
    burst: tuple[float, float]


ASSUMED = Noise(
    job_sd=0.10,
    drift_sd=0.06,
    drift_slots=12,
    trend=(-0.03, 0.08),
    process_sd=0.01,
    run_sd=0.03,
    contaminated=0.05,
    contamination=(0.1, 0.6),
    spiked=0.02,
    spike=(0.2, 1.0),
    burst_begins=0.01,
    burst_slots=10,
    burst=(0.2, 0.8),
)
MEASURED = Noise(
    job_sd=0.10,
    drift_sd=0.005,
    drift_slots=150,
    trend=(-0.01, 0.01),
    process_sd=0.002,
    run_sd=0.02,
    contaminated=0.02,
    contamination=(0.1, 0.6),
    spiked=0.02,
    spike=(0.2, 1.0),
    burst_begins=0.2,
    burst_slots=5,
    burst=(0.3, 0.6),
)
KINDS = {"assumed": ASSUMED, "measured": MEASURED}


def sittings(noise: Noise, trials: int, rounds: int, rng: np.random.Generator) -> Floats:
    """Log latencies of independent trials without slowdown: [trials, rounds, worker, runs of all slices]."""
    a_round = 3 * SLICES
    slots = rounds * (a_round + GAP_SLOTS)
    level = rng.normal(0, noise.job_sd, (trials, 1)) + np.linspace(0, 1, slots) * rng.uniform(
        *noise.trend, (trials, 1)
    )
    level += _drift(noise, trials, slots, rng)
    level += _bursts(noise, trials, slots, rng)
    hit = rng.random((trials, slots)) < noise.contaminated
    level += hit * rng.uniform(*noise.contamination, (trials, slots))
    level = level.reshape(trials, rounds, a_round + GAP_SLOTS)[:, :, :a_round]
    mine = level.reshape(trials, rounds, SLICES, 3)
    turned = np.empty_like(mine)
    for number in range(rounds):  # the order turns with every slice and every round
        for turn in range(SLICES):
            order = np.roll(np.arange(3), number)[:: 1 if (number + turn) % 2 == 0 else -1]
            turned[:, number, turn, order] = mine[:, number, turn]
    logs = np.repeat(turned.transpose(0, 1, 3, 2)[..., None], RUNS, axis=-1)
    logs += rng.normal(0, noise.run_sd, logs.shape)
    spiked = rng.random(logs.shape) < noise.spiked
    logs[spiked] += rng.uniform(*noise.spike, int(spiked.sum()))
    logs = logs.reshape(trials, rounds, 3, SLICES * RUNS)
    logs += rng.normal(0, noise.process_sd, (trials, rounds, 3, 1))
    return logs


def _drift(noise: Noise, trials: int, slots: int, rng: np.random.Generator) -> Floats:
    keep = math.exp(-1 / noise.drift_slots)
    drift = rng.normal(0, noise.drift_sd, (trials, slots))
    drift[:, 1:] *= math.sqrt(1 - keep * keep)
    for slot in range(1, slots):
        drift[:, slot] += keep * drift[:, slot - 1]
    return drift


def _bursts(noise: Noise, trials: int, slots: int, rng: np.random.Generator) -> Floats:
    """One burst ends before the next begins; each has its own size."""
    share = noise.burst_begins * noise.burst_slots
    on = rng.random(trials) < share / (1 + share)
    size = rng.uniform(*noise.burst, trials)
    bursts = np.empty((trials, slots))
    for slot in range(slots):
        begins = ~on & (rng.random(trials) < noise.burst_begins)
        size = np.where(begins, rng.uniform(*noise.burst, trials), size)
        on = (on & (rng.random(trials) >= 1 / noise.burst_slots)) | begins
        bursts[:, slot] = on * size
    return bursts


# ---------------------------------------------------------------------------------------------- rules


def per_worker(logs: Floats, q: float) -> Floats:
    """The log of the q quantile (inverse distribution function) of each worker: [trials, rounds, worker]."""
    place = max(0, math.ceil(q * logs.shape[-1] - 1e-9) - 1)
    return np.partition(logs, place, axis=-1)[..., place]


def in_looks(
    of_workers: Floats,
    slowdown: float,
    budget: float,
    *,
    before: Floats | None = None,
    comparisons: int = 1,
    fixed: int | None = None,
) -> verdict.Verdict:
    """One batch [rounds, worker] as the gate judges it: more rounds while it is neither PASS nor a sure FAIL.

    Args:
        of_workers: log latencies.
        slowdown: of the candidate.
        budget: of the gate.
        before: the rounds of the first batch, where this is the one that confirms it.
        comparisons: in the gate.
        fixed: so many rounds and one look instead.
    """
    changes = (
        of_workers[:, CANDIDATE] - of_workers[:, [BASELINE, CONTROL]].mean(axis=1) + math.log1p(slowdown)
    )
    controls = of_workers[:, CONTROL] - of_workers[:, BASELINE]
    earlier = [] if before is None else (before[:, CONTROL] - before[:, BASELINE]).tolist()
    confirming = before is not None
    confidence = verdict.CONFIRMING_CONFIDENCE if confirming else verdict.CONFIDENCE
    found = verdict.invalid("not begun")
    looks = verdict.CONFIRMING_LOOKS if confirming else verdict.LOOKS
    for rounds in looks if fixed is None else (fixed,):
        found = verdict.decide(
            changes[:rounds].tolist(), earlier + controls[:rounds].tolist(), budget, confidence=confidence
        )
        sure = found.p_value <= verdict.sure_p(comparisons)[confirming]
        if found.outcome == "PASS" or (found.outcome == "FAIL" and sure):
            break
    return found


def gate(
    first: Floats,
    second: Floats,
    slowdown: float,
    budget: float,
    *,
    models: int = 1,
    fixed: int | None = None,
) -> verdict.Verdict:
    """Two batches and the gate's rules; the family's other comparisons (three a model) are unchanged."""
    comparisons = len(QUANTILES) * models
    found = in_looks(first, slowdown, budget, comparisons=comparisons, fixed=fixed)
    if found.outcome == "FAIL":
        before = first[: found.rounds]
        again = in_looks(second, slowdown, budget, before=before, comparisons=comparisons, fixed=fixed)
        found = verdict.confirmed(found, again)
    unchanged = verdict.Verdict("PASS", 0, 0, 0, 0, 0, verdict.LOOKS[0], 0, "")
    return verdict.family([found, *[unchanged] * (comparisons - 1)])[0]


def mann_whitney_p(slower: Floats, faster: Floats) -> float:
    """One-sided p that `slower` is not stochastically larger (normal approximation, no ties)."""
    ranks = np.empty(slower.size + faster.size)
    ranks[np.argsort(np.concatenate((slower, faster)))] = np.arange(1, ranks.size + 1)
    above = ranks[: slower.size].sum() - slower.size * (slower.size + 1) / 2
    mean = slower.size * faster.size / 2
    sd = math.sqrt(slower.size * faster.size * (slower.size + faster.size + 1) / 12)
    return math.erfc((above - mean) / sd / math.sqrt(2)) / 2


def mean_rule(candidate: Floats, baseline: Floats) -> bool:
    return bool(np.exp(candidate).mean() / np.exp(baseline).mean() > 1.05)


def mann_whitney_rule(candidate: Floats, baseline: Floats) -> bool:
    return mann_whitney_p(candidate, baseline) < 0.05


def asv_rule(candidate: Floats, baseline: Floats) -> bool:
    """asv continuous: two-sided p < .002 and a factor of 1.1 between the medians."""
    p = mann_whitney_p(candidate, baseline)
    return 2 * min(p, 1 - p) < 0.002 and bool(np.median(candidate) - np.median(baseline) > math.log(1.1))


RULES: Mapping[str, Callable[[Floats, Floats], bool]] = {
    "mean + 5 %": mean_rule,
    "Mann-Whitney p < .05": mann_whitney_rule,
    "asv: p < .002 and 1.1x": asv_rule,
}
OTHER_RULES_ROUNDS = 12
TRIALS_AT_ONCE = 50


@dataclass(frozen=True)
class Table:
    """Shares of the trials, by rule and in the order of the slowdowns.

    Attributes:
        slowdowns: of the candidate.
        failed: share of FAIL.
        passed: share of PASS.
        rounds: mean rounds of the gate by p05.
        fixed_rounds: of the shortest design with one look at a number of rounds fixed beforehand (and as many
            to confirm) that ends in the right verdict as often; None where even the gate's most rounds are
            not enough.
    """

    slowdowns: Sequence[float]
    failed: Mapping[str, Sequence[float]]
    passed: Mapping[str, Sequence[float]]
    rounds: Sequence[float]
    fixed_rounds: Sequence[float | None]
    trials: int


def simulate(noise: Noise, trials: int, seed: int, slowdowns: Sequence[float] = SLOWDOWNS) -> Table:
    """All rules over `trials` pairs of batches, and a baseline from a third job."""
    failed: dict[str, list[float]] = {}
    passed: dict[str, list[float]] = {}
    rounds = [0.0] * len(slowdowns)
    of_fixed = {most: [[0.0, 0.0] for _ in slowdowns] for most in verdict.LOOKS}

    def count(rule: str, place: int, outcome: str) -> None:
        failed.setdefault(rule, [0.0] * len(slowdowns))[place] += (outcome == "FAIL") / trials
        passed.setdefault(rule, [0.0] * len(slowdowns))[place] += (outcome == "PASS") / trials

    title, budget = f"**gate, p05 + {BUDGETS['p05']:.0%}**", BUDGETS["p05"]
    rng = np.random.default_rng(seed)
    for start in range(0, trials, TRIALS_AT_ONCE):
        many = min(TRIALS_AT_ONCE, trials - start)
        first, second = (sittings(noise, many, verdict.LOOKS[-1], rng) for _ in range(2))
        stored = sittings(noise, many, OTHER_RULES_ROUNDS, rng)[:, :, BASELINE].reshape(many, -1)
        here = first[:, :OTHER_RULES_ROUNDS, BASELINE].reshape(many, -1)
        slower = first[:, :OTHER_RULES_ROUNDS, CANDIDATE].reshape(many, -1)
        of = {name: (per_worker(first, q), per_worker(second, q)) for name, q in QUANTILES.items()}
        for trial, (place, slowdown) in itertools.product(range(many), enumerate(slowdowns)):
            candidate = slower[trial] + math.log1p(slowdown)
            for where, baseline in (("stored baseline", stored[trial]), ("same rounds", here[trial])):
                for name, rule in RULES.items():
                    count(f"{where}, {name}", place, "FAIL" if rule(candidate, baseline) else "PASS")
            one, two = of["p05"][0][trial], of["p05"][1][trial]
            count(f"{title}, not confirmed", place, in_looks(one, slowdown, budget).outcome)
            found = gate(one, two, slowdown, budget)
            count(title, place, found.outcome)
            rounds[place] += found.rounds / trials
            for most, sums in of_fixed.items():
                other = gate(one, two, slowdown, budget, fixed=most)
                sums[place][0] += (other.outcome == right(slowdown, budget)) / trials
                sums[place][1] += other.rounds / trials
            count(f"{title}, one of four models", place, gate(one, two, slowdown, budget, models=4).outcome)
            for name in ("p50", "p90"):
                one, two = of[name][0][trial], of[name][1][trial]
                found = gate(one, two, slowdown, BUDGETS[name])
                count(f"gate, {name} + {BUDGETS[name]:.0%}", place, found.outcome)
    fixed_rounds = []
    for place, slowdown in enumerate(slowdowns):
        shares = failed if right(slowdown, budget) == "FAIL" else passed
        as_often = [
            sums[place][1] for sums in of_fixed.values() if sums[place][0] >= shares[title][place] - 0.005
        ]
        fixed_rounds.append(min(as_often, default=None))
    return Table(slowdowns, failed, passed, rounds, fixed_rounds, trials)


def right(slowdown: float, budget: float) -> str:
    """The verdict that a gate without noise would give."""
    return "FAIL" if slowdown > budget else "PASS"


def markdown(table: Table) -> str:
    """Per cent of the trials that fail; of the gate's also those that pass, after a slash."""
    lines = [
        ["per cent FAIL (gate: FAIL / PASS)", *[f"{slowdown:+.0%}" for slowdown in table.slowdowns]],
        ["---", *["--:"] * len(table.slowdowns)],
    ]
    for rule, failed in table.failed.items():
        cells = [f"{100 * share:.1f}" for share in failed]
        if "gate" in rule:
            cells = [
                f"{cell} / {100 * share:.1f}" for cell, share in zip(cells, table.passed[rule], strict=True)
            ]
        lines.append([rule, *cells])
    lines.append(["rounds of the gate by p05", *[f"{rounds:.1f}" for rounds in table.rounds]])
    lines.append(
        ["rounds of a fixed design as often right"]
        + ["more" if rounds is None else f"{rounds:.1f}" for rounds in table.fixed_rounds]
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---------------------------------------------------------------------------------------------- intervals


def coverage(rounds: int, trials: int, true_median: float, rng: np.random.Generator) -> tuple[float, float]:
    """Coverage of the median of skewed, contaminated rounds at 95 %: (our interval, percentile bootstrap)."""
    held = np.zeros(2)
    for _ in range(trials):
        values = rng.normal(0, 0.01, rounds) + (rng.random(rounds) < 0.3) * rng.exponential(0.1, rounds)
        low, high = verdict.change_interval(values.tolist())
        drawn = np.median(values[rng.integers(0, rounds, (400, rounds))], axis=1)
        boot_low, boot_high = np.quantile(drawn, (0.025, 0.975))
        held += (low <= true_median <= high, boot_low <= true_median <= boot_high)
    return float(held[0] / trials), float(held[1] / trials)


def true_median_of_rounds() -> float:
    """The median that `coverage` asks for, from four million draws."""
    rng = np.random.default_rng(0)
    draws = 4_000_000
    values = rng.normal(0, 0.01, draws) + (rng.random(draws) < 0.3) * rng.exponential(0.1, draws)
    return float(np.median(values))


def spread(noise: Noise, gates: int, seed: int) -> dict[str, float]:
    """Standard deviation over gates of the median of six A/A rounds, by statistic; MEASURED is set by it."""
    logs = sittings(noise, gates, 6, np.random.default_rng(seed))
    of = {name: per_worker(logs, q) for name, q in QUANTILES.items()}
    of["mean"] = np.log(np.exp(logs).mean(axis=-1))
    return {
        name: float(np.std(np.median(one[..., CONTROL] - one[..., BASELINE], axis=1)))
        for name, one in of.items()
    }


def print_timings(trials: int, seed: int) -> None:
    """The tables of slowdowns, and how often the interval of the median holds."""
    for name, noise in KINDS.items():
        spreads = ", ".join(f"{key} {value:.2%}" for key, value in spread(noise, 1000, seed).items())
        print(f"\nNoise: {name}. The median of six A/A rounds spreads (sd): {spreads}. {trials} trials.\n")
        print(markdown(simulate(noise, trials, seed)))
    print("\nHow often a 95 % interval holds the true median of skewed rounds:\n")
    print("| rounds | this gate's, % | percentile bootstrap, % |\n| --: | --: | --: |")
    rng, true_median = np.random.default_rng(seed), true_median_of_rounds()
    for rounds in (5, 6, 9, 12, 16, 24, 30):
        ours, bootstrap = coverage(rounds, 5 * trials, true_median, rng)
        print(f"| {rounds} | {100 * ours:.1f} | {100 * bootstrap:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--only", choices=("timings", "errors"))
    given = parser.parse_args()
    if given.only != "errors":
        print_timings(given.trials, given.seed)
    if given.only != "timings":
        print(f"\nError rates, {given.trials} trials; a fifth of them where the candidate is worse:\n")
        from gate_errors import markdown as error_lines  # beside this file, wherever that is imported from

        for line in error_lines(given.trials, given.seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
