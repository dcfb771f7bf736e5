"""From verdicts and records to checks, and from checks to the result of a gate and its exit status.

Timings are judged over paired rounds (gate.verdict), error rates over presentations and people
(gate.error_rates), and both are only wrapped here; everything else that a record holds is compared as it is.
Records that cannot be compared are refused with what differs between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from swapbench import stats
from swapbench.gate import error_rates
from swapbench.gate.amounts import amounts, power_of
from swapbench.gate.policy import ERROR_RATES, METRICS
from swapbench.gate.verdict import changed
from swapbench.records import Absent
from swapbench.report.rows import comparable
from swapbench.report.rows.comparable import fields_differing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swapbench.gate.error_rates import ErrorVerdict, RateEvidence
    from swapbench.gate.policy import Budget, Policy
    from swapbench.gate.verdict import Outcome, Verdict
    from swapbench.operators import Change, Difference, Moved, Spread
    from swapbench.records import Record

_COMPARABLE_PLAN = (
    "threads",
    "slices_per_round",
    "slice_ns",
    "warmup_runs",
    "warmup_ns",
    "power_window_s",
    "fps",
)
_COMPARABLE_ACCURACY = ("dataset", "dataset_digest", "protocol", "threshold_rule")
RUNS = "runs"
"""The metric of a check that only says whether a candidate ran at all."""


@dataclass(frozen=True)
class Check:
    """One quantity of one model, compared with its budget or ceiling.

    Numbers are None where they are not known.

    Attributes:
        metric: a name of policy.METRICS, followed by `/species` for apcer, or RUNS.
        model: the candidate's file name.
        outcome: ABSENT where the quantity was measured on neither side and nobody asked for it.
        hard: False only warns.
        text: one line for the reader.
        rule: what it was compared with.
        baseline: in the metric's base unit.
        candidate: in the metric's base unit.
        change: candidate / baseline - 1, or the difference in the metric's base unit where `absolute`;
            positive where the candidate is more, whichever is better.
        budget: the allowed change, in the same way; of a ceiling its limit.
        absolute: whether `change` and `budget` are in the metric's base unit.
        verdict: over paired rounds, for timings.
        error_verdict: over presentations and people, for error rates.
    """

    metric: str
    model: str
    outcome: Outcome | Literal["ABSENT"]
    hard: bool
    text: str
    rule: Literal["change", "ceiling", "runs"] = "change"
    baseline: float | None = None
    candidate: float | None = None
    change: float | None = None
    budget: float | None = None
    absolute: bool = False
    verdict: Verdict | None = None
    error_verdict: ErrorVerdict | None = None

    @property
    def measured(self) -> bool:
        """Whether something was measured and judged."""
        return self.outcome in {"PASS", "FAIL", "INCONCLUSIVE"}


@dataclass(frozen=True)
class Explanation:
    """Which operators grew in a model that failed on a timing; it affects no verdict.

    Attributes:
        model: the candidate's file name.
        total: the candidate's time as a share of the baseline's.
        grew: operator types, the largest growth first.
        moved: nodes that another provider or delegate runs now.
        reason: why all this is not known, "" where it is.
    """

    model: str
    total: Spread | None = None
    grew: tuple[Change, ...] = ()
    moved: tuple[Moved, ...] = ()
    reason: str = ""


def explanation(model: str, difference: Difference) -> Explanation:
    """What the difference of two profiles says about a failed timing."""
    return Explanation(model, difference.total, difference.grew, difference.moved, difference.absent)


@dataclass(frozen=True)
class GateResult:
    """All checks of a gate; its verdict is computed from them.

    Attributes:
        checks: of all models.
        notes: for the reader.
        explanations: of models that failed on a timing, for the reader.
    """

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    explanations: tuple[Explanation, ...] = ()

    @property
    def verdict(self) -> Outcome:
        """The worst of the hard checks; INVALID also where a model was not measured."""
        hard = {check.outcome for check in self.checks if check.hard}
        if "FAIL" in hard:
            return "FAIL"
        if "INVALID" in hard or self.unmeasured_models or not self.checks:
            return "INVALID"
        return "INCONCLUSIVE" if "INCONCLUSIVE" in hard else "PASS"

    @property
    def exit_status(self) -> int:
        """0: all hard checks passed; 1: one failed; 3: the gate is undecided or measured nothing."""
        return {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3, "INVALID": 3}[self.verdict]

    @property
    def models(self) -> tuple[str, ...]:
        """The models in the order of their checks."""
        return tuple(dict.fromkeys(check.model for check in self.checks))

    @property
    def unmeasured_models(self) -> tuple[str, ...]:
        """Models for which no check measured anything."""
        measured = {check.model for check in self.checks if check.measured}
        return tuple(model for model in self.models if model not in measured)


# -------------------------------------------------------------------------------------- may they be compared?


def differences(baseline: Record, candidate: Record) -> tuple[str, ...]:
    """Why two records cannot be compared, one line each: device, runtime flavour and settings, threads, plan.

    Runtime versions are left out, because a new version of the runtime is a change that a gate is there to
    judge; so are states such as load and temperature (they are doubts), and how many rounds were measured. A
    delegate that takes less of a file than before is a change to be judged too (`delegate_coverage`); one
    that takes nothing any more is another flavour.
    """
    return (
        *comparable.differences(baseline, candidate),
        *fields_differing("plan", baseline.plan, candidate.plan, _COMPARABLE_PLAN),
    )


# ---------------------------------------------------------------------------------------------- checks


def timing_check(
    metric: str, model: str, verdict: Verdict, policy: Policy, *, baseline_ns: float, candidate_ns: float
) -> Check:
    """The verdict over paired rounds as a check; baseline_ns and candidate_ns are for the reader only."""
    budget = policy.budget(metric, model)
    valid = verdict.outcome != "INVALID"
    return Check(
        metric,
        model,
        verdict.outcome,
        budget.hard,
        verdict.reason,
        baseline=baseline_ns if valid else None,
        candidate=candidate_ns if valid else None,
        change=verdict.change if valid else None,
        budget=budget.relative,
        verdict=verdict,
    )


def did_not_run(model: str, error: str) -> Check:
    """A candidate that does not load or fails while the baseline runs: a FAIL."""
    return Check(RUNS, model, "FAIL", hard=True, text=f"the candidate does not run: {error}", rule="runs")


def must_not_compare(model: str, reasons: Iterable[str]) -> Check:
    """The one check of two records that differ in more than the model."""
    text = f"cannot be compared: {'; '.join(reasons)}"
    return Check(RUNS, model, "INVALID", hard=True, text=text, rule="runs")


def record_checks(
    baseline: Record,
    candidate: Record,
    policy: Policy,
    errors: Mapping[str, ErrorVerdict] | None = None,
) -> tuple[Check, ...]:
    """Everything in two records that needs no paired rounds, compared with its budget.

    Sizes, counts and shares are compared as they are, energy with its uncertainty, error rates by their
    verdicts. Where `differences` finds something, one INVALID check stands for all. A quantity is INVALID
    where one side lacks it, or where both do and the policy asks for it.

    Args:
        baseline: What it was.
        candidate: What it is.
        policy: What is allowed.
        errors: The verdicts on the error rates by name of the check; None: judged by these records alone.
    """
    model = candidate.artifact
    differ = differences(baseline, candidate)
    if differ:
        return (must_not_compare(model, differ),)
    checks: list[Check] = []
    for metric, properties in METRICS.items():
        if not properties.paired and metric not in ERROR_RATES:
            checks += _compared(metric, model, baseline, candidate, policy)
    return (*checks, *_error_checks(baseline, candidate, policy, errors))


def _compared(
    metric: str, model: str, baseline: Record, candidate: Record, policy: Policy
) -> Iterable[Check]:
    budget = policy.budget(metric, model)
    before, after = amounts(baseline, metric), amounts(candidate, metric)
    if isinstance(before, Absent) or isinstance(after, Absent):
        yield _not_measured(metric, model, before, after, policy)
        return
    for part in dict.fromkeys((*before, *after)):
        name = f"{metric}/{part}" if part else metric
        if part not in before or part not in after:
            side = "baseline" if part not in before else "candidate"
            yield Check(name, model, "INVALID", budget.hard, f"the {side} has no {part}")
        elif metric == "energy":
            yield _energy_check(name, model, budget, baseline, candidate)
        else:
            yield _exact_check(name, metric, model, budget, before[part], after[part])


def _error_checks(
    baseline: Record, candidate: Record, policy: Policy, errors: Mapping[str, ErrorVerdict] | None
) -> Iterable[Check]:
    model = candidate.artifact
    if errors is None:
        errors = error_rates.judge([(model, evidence_of(baseline, candidate))], policy)[0]
    for metric in ERROR_RATES:
        budget = policy.budget(metric, model)
        before, after = amounts(baseline, metric), amounts(candidate, metric)
        if isinstance(before, Absent) or isinstance(after, Absent):
            yield _not_measured(metric, model, before, after, policy)
        elif differ := _accuracy_differences(baseline, candidate):
            yield Check(metric, model, "INVALID", budget.hard, f"cannot be compared: {'; '.join(differ)}")
        else:
            for part in dict.fromkeys((*before, *after)):
                name = f"{metric}/{part}" if part else metric
                if name in errors:
                    yield _error_check(name, model, budget, errors[name])
                    continue
                if part in before and part in after:
                    text = f"no presentation of {part} has a score on both sides"
                else:
                    text = f"the {'baseline' if part not in before else 'candidate'} has no {part}"
                yield Check(name, model, "INVALID", budget.hard, text)


def evidence_of(baseline: Record, candidate: Record) -> Mapping[str, RateEvidence]:
    """What two records say of the error rates of both; nothing where their data differ or were not scored."""
    before, after = baseline.accuracy, candidate.accuracy
    if isinstance(before, Absent) or isinstance(after, Absent) or _accuracy_differences(baseline, candidate):
        return {}
    return error_rates.of_records(before, after)


def _error_check(name: str, model: str, budget: Budget, verdict: ErrorVerdict) -> Check:
    before, after = verdict.rates
    absolute = budget.absolute is not None
    relative = after / before - 1 if before else None if after else 0.0
    return Check(
        name,
        model,
        verdict.outcome,
        budget.hard,
        verdict.reason,
        baseline=before,
        candidate=after,
        change=verdict.rise if absolute else relative,
        budget=budget.absolute if absolute else budget.relative,
        absolute=absolute,
        error_verdict=verdict,
    )


def flips_check(model: str, flips: int, presentations: int, policy: Policy) -> Check:
    """How many presentations baseline and candidate decide differently, each at its own threshold.

    An equally good candidate may decide many differently, so it only warns where the policy does not ask.
    """
    metric = "parity_flips"
    budget = policy.budget(metric, model)
    allowed, share = budget.absolute or 0.0, flips / presentations  # a baseline differs from itself in none
    text = METRICS[metric].text
    limit = f"at most {text(allowed)} allowed" if allowed else "none allowed"
    return Check(
        metric,
        model,
        "PASS" if share <= allowed else "FAIL",
        budget.hard and policy.asks_for(metric, model),
        f"{flips} of {presentations} presentations are decided differently ({text(share)}, {limit})",
        baseline=0.0,
        candidate=share,
        change=share,
        budget=allowed,
        absolute=True,
    )


def _not_measured(
    metric: str,
    model: str,
    before: Mapping[str, float] | Absent,
    after: Mapping[str, float] | Absent,
    policy: Policy,
) -> Check:
    """ABSENT where both sides lack it and the policy does not ask for it; otherwise INVALID."""
    reasons = {
        side: f"{amount.absent}{f'. {amount.remedy}' if amount.remedy else ''}"
        for side, amount in (("baseline", before), ("candidate", after))
        if isinstance(amount, Absent)
    }
    text = "; ".join(f"{side}: {reason}" for side, reason in reasons.items())
    if len(set(reasons.values())) == 1 and len(reasons) == 2:
        text = reasons["candidate"]
    expected = len(reasons) == 1 or policy.asks_for(metric, model)
    return Check(metric, model, "INVALID" if expected else "ABSENT", policy.budget(metric, model).hard, text)


def _accuracy_differences(baseline: Record, candidate: Record) -> tuple[str, ...]:
    return tuple(fields_differing("accuracy", baseline.accuracy, candidate.accuracy, _COMPARABLE_ACCURACY))


def _exact_check(name: str, metric: str, model: str, budget: Budget, before: float, after: float) -> Check:
    properties = METRICS[metric]
    worse = before - after if properties.more_is_better else after - before
    allowed = budget.absolute if budget.absolute is not None else (budget.relative or 0.0) * before
    within = worse <= allowed or math.isclose(worse, allowed, rel_tol=1e-9, abs_tol=1e-12)
    change: float | None = after - before
    if budget.absolute is None:
        change = after / before - 1 if before else None if after else 0.0
        difference = "new" if change is None else changed(change)
        limit = f"{changed(budget.relative or 0.0)} allowed"
    else:
        difference = f"{'-' if after < before else '+'}{properties.text(abs(after - before))}"
        sign = "-" if properties.more_is_better else "+"
        limit = f"{sign}{properties.text(budget.absolute)} allowed" if budget.absolute else "none allowed"
    return Check(
        name,
        model,
        "PASS" if within else "FAIL",
        budget.hard,
        f"{properties.text(before)} to {properties.text(after)} ({difference}, {limit})",
        baseline=before,
        candidate=after,
        change=change,
        budget=budget.relative if budget.absolute is None else budget.absolute,
        absolute=budget.absolute is not None,
    )


def _energy_check(name: str, model: str, budget: Budget, baseline: Record, candidate: Record) -> Check:
    """Energy above idle with its worst-case uncertainty: decided where the whole interval is on one side."""
    meter = name.partition("/")[2]
    before, after = (stats.energy_per_run(power_of(record, meter)) for record in (baseline, candidate))
    least = (after.above_idle_uj - after.uncertainty_uj) - (before.above_idle_uj + before.uncertainty_uj)
    most = (after.above_idle_uj + after.uncertainty_uj) - (before.above_idle_uj - before.uncertainty_uj)
    allowed = (budget.relative or 0.0) * before.above_idle_uj if budget.absolute is None else budget.absolute
    outcome: Outcome = "FAIL" if least > allowed else "PASS" if most <= allowed else "INCONCLUSIVE"
    text = METRICS["energy"].text
    amounts_text = " to ".join(
        f"{text(energy.above_idle_uj)} ± {text(energy.uncertainty_uj)}" for energy in (before, after)
    )
    absolute = budget.absolute is not None
    difference = after.above_idle_uj - before.above_idle_uj
    return Check(
        name,
        model,
        outcome,
        budget.hard,
        f"{amounts_text} ({text(allowed)} more allowed)",
        baseline=before.above_idle_uj,
        candidate=after.above_idle_uj,
        change=difference if absolute else difference / before.above_idle_uj,
        budget=budget.absolute if absolute else budget.relative,
        absolute=absolute,
    )


def ceiling_checks(candidate: Record, policy: Policy) -> tuple[Check, ...]:
    """The policy's ceilings that apply to a record's model and device; exactly on the ceiling passes.

    A ceiling on p90 is compared with an upper bound of it (stats.tail_bound_ns), one on p05 or p50 with the
    estimate. INVALID where the quantity was not measured.
    """
    model, checks = candidate.artifact, []
    for ceiling in policy.ceilings_of(model, candidate.machine.name):
        measured = amounts(candidate, ceiling.metric)
        text = METRICS[ceiling.metric].text
        if isinstance(measured, Absent):
            checks.append(
                Check(
                    ceiling.metric,
                    model,
                    "INVALID",
                    ceiling.hard,
                    measured.absent,
                    "ceiling",
                    budget=ceiling.at_most,
                )
            )
            continue
        for part, amount in measured.items():
            checks.append(
                Check(
                    f"{ceiling.metric}/{part}" if part else ceiling.metric,
                    model,
                    "PASS" if amount <= ceiling.at_most else "FAIL",
                    ceiling.hard,
                    f"{text(amount)}, at most {text(ceiling.at_most)} allowed on {candidate.machine.name}",
                    "ceiling",
                    candidate=amount,
                    budget=ceiling.at_most,
                    absolute=True,
                )
            )
    return tuple(checks)


def elsewhere(policy: Policy, device: str, models: Iterable[str]) -> tuple[str, ...]:
    """One note for each ceiling on a model that applies to other devices only, and so was not checked."""
    names = tuple(models)
    return tuple(
        f"not checked here: {ceiling.metric} at most {METRICS[ceiling.metric].text(ceiling.at_most)}"
        f" on {ceiling.device} (this is {device})"
        for ceiling in policy.ceilings
        if any(fnmatchcase(model, ceiling.models) for model in names)
        and not fnmatchcase(device, ceiling.device)
    )
