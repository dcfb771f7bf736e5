"""From errors on presentations to a verdict: is an error rate worse than its budget allows?

FAIL where a test over people says that the rate rose by more than the budget, PASS where it did not rise by
more on these presentations, otherwise INCONCLUSIVE: it rose by more, but so it could have by chance. A set
that is too small to show any rise is INCONCLUSIVE too, whatever happened on it. The evidence is the
presentations that both sides scored (`pad.paired_errors`), or else two records, which do not say which
presentations were decided wrongly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

from swapbench.gate.verdict import FALSE_ALARM, doubts_among

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.gate.policy import Budget, Policy
    from swapbench.gate.verdict import Outcome
    from swapbench.pad.paired_errors import PairedCounts
    from swapbench.records import Accuracy, Interval, Proportion

_ROUNDING = 1e-12


class RateEvidence(Protocol):
    """What is known of one error rate of a baseline and its candidate; rates are shares."""

    @property
    def rates(self) -> tuple[float, float]:
        """Of baseline and candidate."""

    @property
    def errors(self) -> tuple[int, int] | None:
        """Of baseline and candidate; None for a rate that is no share of presentations."""

    @property
    def trials(self) -> int:
        """Presentations."""

    @property
    def people(self) -> int | None:
        """Whom they show; None where that is not known."""

    def change_p(self) -> float:
        """Two-sided p of the hypothesis that nothing changed."""

    def rise_p(self, allowed: float) -> float:
        """One-sided p of the hypothesis that the rate rose by at most `allowed`."""

    def least_rise(self, p_value: float, allowed: float) -> float | None:
        """The smallest rise whose `rise_p` can be `p_value`; None where no rise can."""


@dataclass(frozen=True)
class ErrorVerdict:
    """What presentations say about one error rate of one model.

    Attributes:
        outcome: The verdict.
        rates: Of baseline and candidate, shares.
        errors: Of baseline and candidate; None for ACER.
        trials: Presentations.
        people: Whom they show; None where that is not known.
        allowed: The rise that the budget allows, a share.
        change_p: Two-sided p of the hypothesis that nothing changed.
        p_value: One-sided p of the hypothesis that the rate rose by at most `allowed`.
        detectable: The smallest rise that could have been a FAIL, a share; None where none could.
        resolution: The same if the budget were 0.
        reason: In words.
    """

    outcome: Outcome
    rates: tuple[float, float]
    errors: tuple[int, int] | None
    trials: int
    people: int | None
    allowed: float
    change_p: float
    p_value: float
    detectable: float | None
    resolution: float | None
    reason: str

    @property
    def rise(self) -> float:
        """Rate of the candidate less that of the baseline."""
        return self.rates[1] - self.rates[0]


def judge(
    models: Sequence[tuple[str, Mapping[str, RateEvidence]]],
    policy: Policy,
    *,
    false_alarm: float = FALSE_ALARM,
) -> list[dict[str, ErrorVerdict]]:
    """The verdicts on all error rates of one gate, by model and name of the check.

    Args:
        models: Each model and what is known of it, by name of the check: acer, bpcer, apcer/SPECIES.
        policy: What is allowed.
        false_alarm: The probability, at most, that any hard check is a FAIL although nothing is worse.
    """
    budgets = [
        {name: policy.budget(name.partition("/")[0], model) for name in evidence}
        for model, evidence in models
    ]
    hard = [(number, name) for number, of in enumerate(budgets) for name, budget in of.items() if budget.hard]
    verdicts = [
        {
            name: _decide(name, rate, budgets[number][name], false_alarm, max(len(hard), 1))
            for name, rate in evidence.items()
        }
        for number, (_, evidence) in enumerate(models)
    ]
    doubts = doubts_among([verdicts[number][name].p_value for number, name in hard], false_alarm)
    for (number, name), doubt in zip(hard, doubts, strict=True):
        found = verdicts[number][name]
        if found.outcome == "FAIL" and doubt:
            unsure = replace(found, outcome="INCONCLUSIVE")
            verdicts[number][name] = replace(unsure, reason=f"{_reason(name, unsure)}; {doubt}")
    return verdicts


def _decide(
    name: str, rate: RateEvidence, budget: Budget, false_alarm: float, comparisons: int
) -> ErrorVerdict:
    """The verdict on a rate alone; what it could have shown is that among so many comparisons."""
    before, after = rate.rates
    allowed = budget.absolute if budget.absolute is not None else (budget.relative or 0.0) * before
    needed = false_alarm / (comparisons if budget.hard else 1)
    detectable = rate.least_rise(needed, allowed)
    p_value = rate.rise_p(allowed + _ROUNDING)
    outcome: Outcome = "INCONCLUSIVE"
    if p_value <= false_alarm:
        outcome = "FAIL"
    elif detectable is not None and after - before <= allowed + _ROUNDING:
        outcome = "PASS"
    verdict = ErrorVerdict(
        outcome=outcome,
        rates=(before, after),
        errors=rate.errors,
        trials=rate.trials,
        people=rate.people,
        allowed=allowed,
        change_p=rate.change_p(),
        p_value=p_value,
        detectable=detectable,
        resolution=rate.least_rise(needed, 0.0),
        reason="",
    )
    return replace(verdict, reason=_reason(name, verdict))


def _reason(name: str, verdict: ErrorVerdict) -> str:
    """The verdict in words."""
    before, after = (
        [f"{100 * rate:.2f} %" for rate in verdict.rates]
        if verdict.errors is None
        else [f"{errors} of {verdict.trials}" for errors in verdict.errors]
    )
    allowed = f"{_points(verdict.allowed)} allowed" if verdict.allowed else "none allowed"
    rose = f"{before} to {after} ({_points(verdict.rise)} points, {allowed}), p = {verdict.change_p:.2g}"
    if verdict.outcome == "FAIL":
        return f"{rose}; a rise within the budget has p = {verdict.p_value:.2g}"
    people = "" if verdict.people is None else f" of {verdict.people} {_people(verdict.people)}"
    shown_on = f"{verdict.trials} {_presentations(name)}{people}"
    if verdict.detectable is None or verdict.resolution is None:
        return f"{rose}; {shown_on} are too few to show any rise"
    could = f"{shown_on} could show {_points(verdict.detectable)} points"
    if verdict.allowed < verdict.resolution:
        could += ", so the budget is below what this set resolves"
    return f"{rose}; {could}"


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def _people(number: int) -> str:
    return "person" if number == 1 else "people"


def _presentations(name: str) -> str:
    return {"acer": "presentations", "bpcer": "bona fide presentations"}.get(name, "attacks")


# ---------------------------------------------------------------------------------------------- the evidence


def of_counts(counts: PairedCounts, seed: int) -> dict[str, RateEvidence]:
    """The evidence of presentations that both sides scored, by name of the check."""
    evidence: dict[str, RateEvidence] = {"acer": counts.acer(seed), "bpcer": counts.bpcer()}
    return evidence | {f"apcer/{species}": errors for species, errors in counts.apcer().items()}


def of_records(baseline: Accuracy, candidate: Accuracy) -> dict[str, RateEvidence]:
    """The evidence of two records of the same data; a rate that only one of them has is left out."""
    people = baseline.subjects
    evidence: dict[str, RateEvidence] = {}
    if baseline.acer is not None and candidate.acer is not None:
        evidence["acer"] = Unpaired(
            (baseline.acer, candidate.acer),
            (baseline.acer_interval, candidate.acer_interval),
            None,
            baseline.bona_fide + baseline.attacks,
            people,
        )
    if baseline.bpcer is not None and candidate.bpcer is not None:
        evidence["bpcer"] = _of_proportions(baseline.bpcer, candidate.bpcer, people)
    for species, errors in baseline.apcer_by_species.items():
        if species in candidate.apcer_by_species:
            there = candidate.apcer_by_species[species]
            evidence[f"apcer/{species}"] = _of_proportions(errors, there, people)
    return evidence


def _of_proportions(before: Proportion, after: Proportion, people: int | None) -> Unpaired:
    return Unpaired(
        (before.rate, after.rate),
        (before.interval, after.interval),
        (before.errors, after.errors),
        before.trials,
        people,
    )


@dataclass(frozen=True)
class Unpaired:
    """A rate of two records, each with its interval.

    The sides are taken as independent, which is on the safe side: on the same presentations they err alike.
    The distances of the ends of both intervals join as those of independent rates do (Newcombe, Statistics in
    Medicine 17, 1998), and grow with the confidence as those of a normal distribution.

    Attributes:
        rates: Of baseline and candidate.
        intervals: Of baseline and candidate; nothing can be shown where one is None.
        errors: Of baseline and candidate; None for ACER.
        trials: Presentations of the baseline.
        people: In the whole test split; None in older records.
    """

    rates: tuple[float, float]
    intervals: tuple[Interval | None, Interval | None]
    errors: tuple[int, int] | None
    trials: int
    people: int | None

    def change_p(self) -> float:
        """Two-sided p of the hypothesis that nothing changed."""
        before, after = self.rates
        deviation = self._deviation(rise=after >= before)
        return 1.0 if deviation is None else min(1.0, 2 * _above(abs(after - before), deviation))

    def rise_p(self, allowed: float) -> float:
        """One-sided p of the hypothesis that the rate rose by at most `allowed`."""
        before, after = self.rates
        deviation = self._deviation(rise=True)
        if after - before <= allowed or deviation is None:
            return 1.0
        return _above(after - before - allowed, deviation)

    def least_rise(self, p_value: float, allowed: float) -> float | None:
        """The smallest rise whose `rise_p` can be `p_value`; None where no rise can."""
        deviation = self._deviation(rise=True)
        if deviation is None:
            return None
        rise = allowed - NormalDist().inv_cdf(p_value) * deviation
        return rise if self.rates[0] + rise <= 1 else None

    def _deviation(self, *, rise: bool) -> float | None:
        """The standard deviation of a rise (or fall) that the intervals amount to."""
        first, second = self.intervals
        if first is None or second is None:
            return None
        before, after = self.rates
        reach = (
            (first.high - before, after - second.low) if rise else (before - first.low, second.high - after)
        )
        return math.hypot(*reach) / NormalDist().inv_cdf((1 + first.confidence) / 2)


def _above(distance: float, deviation: float) -> float:
    """The upper tail of a normal distribution around 0."""
    return 0.5 * math.erfc(distance / deviation / math.sqrt(2)) if deviation > 0 else float(distance <= 0)
