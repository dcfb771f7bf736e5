"""How often does a gate raise a false alarm about error rates, or miss a rise? Run by gate_simulation.py.

Worlds are people whose presentations resemble each other. The score of a presentation is the mean of its
class, what is the person's own, and noise; both are partly shared by baseline and candidate, which decide
alike as far as their shares agree. The threshold is 0 on both sides, as one that was frozen on other people.
An equally good candidate has the same means. A worse one accepts a species more often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from swapbench.gate import error_rates, verdict
from swapbench.gate.policy import Policy
from swapbench.pad.metrics import FoldScores, ScoringPass, describe_without_dev
from swapbench.pad.paired_errors import paired_counts
from swapbench.pad.scores import Scored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from swapbench.gate.error_rates import RateEvidence

    Floats = NDArray[np.float64]

SPECIES = ("print", "replay", "mask", "cut")
_NORMAL = NormalDist()
SURE_TRIALS = 5
"""A worse candidate gets one trial for so many of one that is as good: power needs fewer."""


@dataclass(frozen=True)
class Crowd:
    """A test split that can be drawn again.

    Attributes:
        people: how many.
        each: bona fide presentations of a person, and attacks of each of `SPECIES` on a person.
        error: of the baseline, in every class.
        own: the deviation of what is a person's own, in deviations of the noise.
        records: whether the gate has the records of both sides only, and no scores.
    """

    people: int
    each: int
    error: float = 0.03
    own: float = 0.7
    records: bool = False

    @property
    def name(self) -> str:
        """What is printed."""
        about = [f"{self.people} {'person' if self.people == 1 else 'people'}, {self.people * self.each}"]
        about += [f"errors {self.error:.1%}"] if self.error != 0.03 else []
        about += ["very different people"] if self.own > 1 else []
        about += ["records only"] if self.records else []
        return ", ".join(about)


@dataclass(frozen=True)
class Candidate:
    """How a candidate differs from its baseline.

    Attributes:
        name: what is printed.
        alike: the share of variance that both sides have in common.
        rise: of the APCER of the first species.
    """

    name: str
    alike: float
    rise: float = 0.0


CANDIDATES = (
    Candidate("unchanged", 1.0),
    Candidate("rounded", 0.98),
    Candidate("trained again", 0.7),
    Candidate("+5 points", 0.9, 0.05),
    Candidate("+10 points", 0.9, 0.10),
    Candidate("+20 points", 0.9, 0.20),
    Candidate("+40 points", 0.9, 0.40),
)
CROWDS = (
    Crowd(1, 80),
    Crowd(10, 8),
    Crowd(20, 4),
    Crowd(20, 4, error=0.001),
    Crowd(20, 40),
    Crowd(20, 40, own=2.0),
    Crowd(50, 4),
    Crowd(100, 2),
    Crowd(20, 4, records=True),
    Crowd(100, 2, records=True),
)


def drawn(crowd: Crowd, candidate: Candidate, rng: np.random.Generator) -> tuple[Scored, Scored]:
    """The scores of both sides on a split of new people."""
    parts: list[tuple[str, Floats, Floats]] = []
    for number, species in enumerate(("", *SPECIES)):
        shape = (crowd.people, crowd.each)
        common, mine, theirs = (
            crowd.own * rng.standard_normal((crowd.people, 1)) + rng.standard_normal(shape) for _ in range(3)
        )
        weights = math.sqrt(candidate.alike), math.sqrt(1 - candidate.alike)
        error = crowd.error + (candidate.rise if number == 1 else 0.0)
        sign = -1 if species else 1
        before, after = (
            sign * -_NORMAL.inv_cdf(rate) * math.hypot(1, crowd.own) + weights[0] * common + weights[1] * own
            for rate, own in ((crowd.error, mine), (error, theirs))
        )
        parts.append((species, before, after))
    species = np.repeat([name for name, _, _ in parts], crowd.people * crowd.each).astype(object)
    person = np.tile(np.repeat(np.arange(crowd.people), crowd.each).astype(str), len(parts)).astype(object)
    names = np.arange(species.size).astype(str).astype(object)
    before, after = (np.concatenate([part[side].ravel() for part in parts]) for side in (1, 2))
    baseline = Scored(names, person, species == "", species, before)
    return baseline, baseline.with_scores(after)


def paired(baseline: Scored, candidate: Scored) -> dict[str, RateEvidence]:
    """As the gate does it where it has the scores of both sides."""
    folds = ([FoldScores("", None, scored)] for scored in (baseline, candidate))
    return error_rates.of_counts(paired_counts(*folds, ({"": 0.0}, {"": 0.0})), seed=0)


def unpaired(baseline: Scored, candidate: Scored) -> dict[str, RateEvidence]:
    """As the gate does it where it has two records only."""
    about = ScoringPass("simulated", "", simulated=True, protocol="", invoke_ns=1, pass_ns=1)
    return error_rates.of_records(
        *(describe_without_dev(scored, 0.0, draws=2).accuracy(about) for scored in (baseline, candidate))
    )


def fixed_rule(evidence: dict[str, RateEvidence]) -> str:
    """The rule without a test: a FAIL where any rate on this set rose by more than its budget."""
    for name, rate in evidence.items():
        before, after = rate.rates
        allowed = Policy().budget(name.partition("/")[0], "").absolute or 0.0
        if after - before > allowed + 1e-12:
            return "FAIL"
    return "PASS"


def tested_rule(evidence: dict[str, RateEvidence]) -> str:
    """The verdict of the gate on all error rates of one model, with its half of the false alarms."""
    (verdicts,) = error_rates.judge([("", evidence)], Policy(), false_alarm=verdict.FALSE_ALARM / 2)
    outcomes = {found.outcome for found in verdicts.values()}
    return next((outcome for outcome in ("FAIL", "INCONCLUSIVE") if outcome in outcomes), "PASS")


@dataclass(frozen=True)
class Shares:
    """Of the trials of one candidate: FAIL without a test, FAIL and PASS of the gate."""

    without_test: float
    failed: float
    passed: float


def shares(crowd: Crowd, candidate: Candidate, trials: int, seed: int) -> Shares:
    """Both rules on the same splits."""
    rng = np.random.default_rng(seed)
    evidence_of = unpaired if crowd.records else paired
    evidence = [evidence_of(*drawn(crowd, candidate, rng)) for _ in range(trials)]
    outcomes = [tested_rule(rates) for rates in evidence]
    return Shares(
        sum(fixed_rule(rates) == "FAIL" for rates in evidence) / trials,
        outcomes.count("FAIL") / trials,
        outcomes.count("PASS") / trials,
    )


def markdown(trials: int, seed: int) -> Iterator[str]:
    """Per cent of the trials, line by line: FAIL without a test, FAIL / PASS of the gate."""
    as_good = [candidate for candidate in CANDIDATES if candidate.rise == 0]
    heads = [f"no test, {candidate.name}" for candidate in as_good[1:]]
    heads += [f"gate, {candidate.name}" for candidate in CANDIDATES]
    yield f"| people, presentations of each class | {' | '.join(heads)} |"
    yield f"| --- {'| --: ' * len(heads)}|"
    for crowd in CROWDS:
        found = [
            shares(crowd, candidate, trials if candidate in as_good else -(-trials // SURE_TRIALS), seed)
            for candidate in CANDIDATES
        ]
        cells = [f"{100 * of.without_test:.1f}" for of in found[1 : len(as_good)]]
        cells += [f"{100 * of.failed:.1f} / {100 * of.passed:.1f}" for of in found]
        yield f"| {crowd.name} | {' | '.join(cells)} |"
