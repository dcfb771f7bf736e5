"""From verdicts and records to checks, and from checks to the result of a gate and its exit status.

Timings are judged over paired rounds (gate.verdict) and only wrapped here; everything else that a record
holds is compared as it is. Records that cannot be compared are refused with what differs between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from swapbench import stats
from swapbench.gate.policy import METRICS
from swapbench.gate.verdict import changed
from swapbench.records import NO_THRESHOLD, Absent, Accuracy, Parity, Speed, Weight
from swapbench.report.rows import comparable
from swapbench.report.rows.comparable import fields_differing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swapbench.gate.policy import Budget, Policy
    from swapbench.gate.verdict import Outcome, Verdict
    from swapbench.operators import Change, Difference, Moved, Spread
    from swapbench.records import Power, Record

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


def record_checks(baseline: Record, candidate: Record, policy: Policy) -> tuple[Check, ...]:
    """Everything in two records that needs no paired rounds, compared with its budget.

    Sizes, counts, errors and shares are compared as they are, energy with its uncertainty. Where
    `differences` finds something, one INVALID check stands for all. A quantity is INVALID where one side
    lacks it, or where both do and the policy asks for it.
    """
    model = candidate.artifact
    differ = differences(baseline, candidate)
    if differ:
        return (must_not_compare(model, differ),)
    checks: list[Check] = []
    for metric, properties in METRICS.items():
        if not properties.paired:
            checks += _compared(metric, model, baseline, candidate, policy)
    return tuple(checks)


def _compared(
    metric: str, model: str, baseline: Record, candidate: Record, policy: Policy
) -> Iterable[Check]:
    budget = policy.budget(metric, model)
    before, after = amounts(baseline, metric), amounts(candidate, metric)
    if isinstance(before, Absent) or isinstance(after, Absent):
        yield _not_measured(metric, model, before, after, policy)
        return
    if metric in {"acer", "apcer"}:
        differ = _accuracy_differences(baseline, candidate)
        if differ:
            yield Check(metric, model, "INVALID", budget.hard, f"cannot be compared: {'; '.join(differ)}")
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
    before, after = (stats.energy_per_run(_power_of(record, meter)) for record in (baseline, candidate))
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


# ---------------------------------------------------------------------------------------------- from a record


def amounts(record: Record, metric: str) -> Mapping[str, float] | Absent:
    """A metric of a record in its base unit, by part: apcer by species, energy by meter, otherwise ""."""
    if metric.startswith("latency_"):
        return record.speed if isinstance(record.speed, Absent) else _latency(record.speed, metric)
    if metric == "load":
        if isinstance(record.speed, Absent):
            return record.speed
        return {"": stats.median([worker.load_ns for worker in record.speed.workers])}
    if metric in {"file_bytes", "params", "macs", "peak_memory"}:
        return record.weight if isinstance(record.weight, Absent) else _weight(record.weight, metric)
    if metric in {"acer", "apcer"}:
        return record.accuracy if isinstance(record.accuracy, Absent) else _errors(record.accuracy, metric)
    if metric == "energy":
        return record.power if isinstance(record.power, Absent) else _energies(record.power)
    if metric == "parity_flips":
        return record.parity if isinstance(record.parity, Absent) else _flips(record.parity)
    if metric == "delegate_coverage":
        taken, nodes = record.runtime.delegated_nodes, record.runtime.nodes
        if taken is None or not nodes:
            return Absent(absent=f"{record.runtime.runtime} does not report how many nodes its delegate took")
        return {"": taken / nodes}
    raise ValueError(f"there is no metric {metric!r}")


def _latency(speed: Speed, metric: str) -> Mapping[str, float] | Absent:
    if metric == "latency_p90":
        bound_ns = stats.tail_bound_ns(speed.workers, 0.9)
        return Absent(absent=stats.why_no_tail(speed.workers, 0.9)) if bound_ns is None else {"": bound_ns}
    estimate = stats.typical(speed.workers, {"latency_p05": 0.05, "latency_p50": 0.5}[metric])
    return Absent(absent="no process finished a timed run") if estimate is None else {"": estimate.value_ns}


def _weight(weight: Weight, metric: str) -> Mapping[str, float] | Absent:
    if metric == "peak_memory":
        memory = weight.peak_memory
        return memory if isinstance(memory, Absent) else {"": float(memory.peak_bytes)}
    return {"": float(getattr(weight, metric))}


def _errors(accuracy: Accuracy, metric: str) -> Mapping[str, float] | Absent:
    if accuracy.acer is None:
        return NO_THRESHOLD
    if metric == "acer":
        return {"": accuracy.acer}
    return {species: errors.rate for species, errors in accuracy.apcer_by_species.items()}


def _flips(parity: Parity) -> Mapping[str, float] | Absent:
    if parity.samples == 0:
        return Absent(absent="no sample was compared")
    return {"": parity.decision_flips / parity.samples}


def _energies(powers: tuple[Power, ...]) -> Mapping[str, float] | Absent:
    """Energy above idle by meter, of the meters that can resolve it."""
    energies = {power.meter: stats.energy_per_run(power) for power in powers}
    resolved = {meter: energy.above_idle_uj for meter, energy in energies.items() if energy.resolved}
    return resolved or Absent(absent="the energy above idle is smaller than its uncertainty")


def _power_of(record: Record, meter: str) -> Power:
    assert not isinstance(record.power, Absent)
    return next(power for power in record.power if power.meter == meter)
