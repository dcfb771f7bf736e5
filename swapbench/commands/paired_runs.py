"""One pair of files after another: rounds until the verdicts are settled, then the checks that a gate is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from swapbench import bench, stats
from swapbench.errors import SwapbenchError, WorkerFailed
from swapbench.gate import comparison, verdict
from swapbench.records import Absent, Record, Speed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.bench import PairedTimes, Round, Statistic
    from swapbench.bench.experiment import Candidate
    from swapbench.commands.baseline import Side
    from swapbench.gate.comparison import Check
    from swapbench.gate.policy import Policy
    from swapbench.gate.verdict import Verdict
    from swapbench.pad.evaluation import Evaluation
    from swapbench.ports import Device, Progress
    from swapbench.records import Accuracy, PeakMemory, Plan

STATISTICS: Mapping[str, Statistic] = {
    "latency_p05": "p05",
    "latency_p50": "p50",
    "latency_p90": "p90",
    "load": "load",
}
"""Paired metric of a policy -> statistic of a worker."""

NOT_SCORED = Absent(
    absent="nothing was scored, and no records of both files say it",
    remedy="Give a dataset with --data, or runs as both sides",
)
NO_ENERGY = Absent(
    absent="the gate measures no energy, and no records of both files say it",
    remedy="Give runs as both sides",
)
UNMEASURED = Absent(absent="the candidate did not run")


@dataclass(frozen=True)
class Pair:
    """A file and the one that is to take its place, under one runtime."""

    baseline: Candidate
    candidate: Candidate

    @property
    def model(self) -> str:
        """The name of its checks."""
        return self.candidate.variant.file_name


@dataclass(frozen=True)
class Judged:
    """What the rounds of a pair came to. memory: peak memory of baseline and candidate; absent where a process failed."""

    pair: Pair
    times: PairedTimes
    verdicts: Mapping[str, Verdict]
    memory: tuple[PeakMemory | Absent, PeakMemory | Absent]


def judge(
    pairs: Sequence[Pair],
    device: Device,
    plan: Plan,
    rules: Policy,
    *,
    budget_s: float,
    progress: Progress,
    clock: Callable[[], float],
) -> list[Judged]:
    """Measure one pair after another, budget_s for the rounds of each, and judge them together.

    Raises EnvironmentFailed where a baseline does not run or the device goes away.
    """
    comparisons = sum(_hard(rules, metric, pair.model) for pair in pairs for metric in STATISTICS)
    judged = [
        _Sitting(pair, device, plan, rules, comparisons, budget_s, progress, clock).judge() for pair in pairs
    ]
    return _family(judged, rules)


class _Sitting:
    """Measures one pair until its hard timings are settled or the time is spent.

    comparisons: hard timings of all pairs; a FAIL among many must be surer than one alone.
    """

    def __init__(
        self,
        pair: Pair,
        device: Device,
        plan: Plan,
        rules: Policy,
        comparisons: int,
        budget_s: float,
        progress: Progress,
        clock: Callable[[], float],
    ) -> None:
        self._pair, self._device, self._rules, self._clock = pair, device, rules, clock
        self._plan, self._budget_s, self._comparisons = plan, budget_s, comparisons
        self._progress, self._stage = progress, f"timing {pair.model}"
        self._old, self._new = (
            bench.FileUnderTest(one.path.name, device.push(one.path), one.runtime)
            for one in (pair.baseline, pair.candidate)
        )
        self._began_s = clock()

    def judge(self) -> Judged:
        """All rounds, with a second batch where the first shows a FAIL, then the memory of each side."""
        hard = {metric for metric in STATISTICS if _hard(self._rules, metric, self._pair.model)}
        self._progress(self._stage, 0, self._budget_s)
        times, verdicts = self._batch(None, hard)
        failed = {metric for metric, one in verdicts.items() if one.outcome == "FAIL"}
        if failed and not times.over:
            times, again = self._batch(times, failed)
            verdicts |= {metric: verdict.confirmed(verdicts[metric], again[metric]) for metric in failed}
        if times.invalid:
            verdicts = {metric: verdict.invalid(times.invalid, len(times.rounds)) for metric in verdicts}
        self._progress(self._stage, self._budget_s, self._budget_s)
        memory = (
            (UNMEASURED, UNMEASURED)
            if times.failure
            else (self._memory_of(self._old), self._memory_of(self._new))
        )
        return Judged(self._pair, times, verdicts, memory)

    def _batch(self, before: PairedTimes | None, wanted: set[str]) -> tuple[PairedTimes, dict[str, Verdict]]:
        """Rounds after `before` up to one look after another, until the wanted verdicts are settled or one is a sure FAIL.

        Without `before` it is the first batch; with it the one that confirms, whose changes are its own.
        """
        first = len(before.rounds) if before else 0
        began_s, times, done = self._clock(), before, 0
        verdicts: dict[str, Verdict] = {}
        for look in verdict.CONFIRMING_LOOKS if before else verdict.LOOKS:
            if done:
                round_s = (self._clock() - began_s) / done
                if self._clock() - self._began_s + round_s * (look - done) > self._budget_s:
                    break
            while done < look and not (times and times.over):
                times = bench.measure_rounds(self._old, self._new, self._device, self._plan, 1, before=times)
                done += 1
                spent_s = self._clock() - self._began_s
                self._progress(self._stage, min(spent_s, self._budget_s), self._budget_s)
            assert times is not None
            verdicts = self._verdicts(times.rounds, first)
            outcomes = [self._settled(verdicts[metric], confirming=bool(before)) for metric in wanted]
            if times.over or all(outcomes) or (not before and "FAIL" in outcomes):
                break
        assert times is not None
        return times, verdicts

    def _verdicts(self, rounds: Sequence[Round], first: int) -> dict[str, Verdict]:
        """Over the rounds from `first` on, with the controls of all."""
        found = {}
        for metric, statistic in STATISTICS.items():
            budget = self._rules.budget(metric, self._pair.model).relative
            assert budget is not None  # a policy gives paired metrics relative budgets only
            changes, controls = bench.log_ratios(rounds, statistic)
            confidence = verdict.CONFIRMING_CONFIDENCE if first else verdict.CONFIDENCE
            found[metric] = verdict.decide(changes[first:], controls, budget, confidence=confidence)
        return found

    def _settled(self, one: Verdict, *, confirming: bool) -> Literal["PASS", "FAIL", ""]:
        """PASS, or FAIL where it is sure enough among all comparisons; else "" and more rounds may tell."""
        if one.outcome == "FAIL":
            return "FAIL" if one.p_value <= verdict.sure_p(self._comparisons)[confirming] else ""
        return "PASS" if one.outcome == "PASS" else ""

    def _memory_of(self, subject: bench.FileUnderTest) -> PeakMemory | Absent:
        try:
            return bench.measure_memory(subject, self._device, self._plan)
        except WorkerFailed as error:
            return Absent(absent=f"the memory pass failed: {error.args[0]}", remedy=error.remedy)


def _hard(rules: Policy, metric: str, model: str) -> bool:
    return rules.budget(metric, model).hard


def accuracies_of(
    pairs: Sequence[Pair], device: Device, judged_on: Evaluation, plan: Plan, progress: Progress
) -> dict[str, Accuracy | Absent]:
    """The error rates of every file on the data, by its digest; absent where it has no card or could not be scored."""
    from swapbench.bench import experiment

    files = {one.sha256: one for pair in pairs for one in (pair.baseline, pair.candidate)}
    cards = {digest: one.card for digest, one in files.items() if one.card is not None}
    crops = judged_on.prepared([card.preprocessing for card in cards.values()], progress)
    found: dict[str, Accuracy | Absent] = dict.fromkeys(files, experiment.NO_CARD)
    subjects = [
        replace(experiment.file_under_test(files[digest], device, crops), name=digest) for digest in cards
    ]
    at_once = max(1, judged_on.processes // plan.threads)
    for number, (subject, outputs) in enumerate(
        bench.measure_scores(subjects, device, plan, at_once=at_once), 1
    ):
        card = cards[subject.name]
        try:
            if isinstance(outputs, SwapbenchError):
                raise outputs
            folds_found = experiment.scored_folds(
                files[subject.name].path.name, card, outputs, judged_on, crops
            )
            found[subject.name] = judged_on.accuracy(
                folds_found, outputs, card.preprocessing, confidence=plan.confidence, seed=plan.seed
            )
        except SwapbenchError as error:
            found[subject.name] = Absent(absent=error.args[0], remedy=error.remedy)
        progress("scoring", number, len(subjects))
    return found


# ---------------------------------------------------------------------------------------------- checks


def _family(judged: Sequence[Judged], rules: Policy) -> list[Judged]:
    """With the false alarms of all hard timings of all models together held down."""
    places = [
        (number, metric)
        for number, one in enumerate(judged)
        if one.times.failure is None
        for metric in one.verdicts
        if _hard(rules, metric, one.pair.model)
    ]
    adjusted = verdict.family([judged[number].verdicts[metric] for number, metric in places])
    verdicts = [dict(one.verdicts) for one in judged]
    for (number, metric), found in zip(places, adjusted, strict=True):
        verdicts[number][metric] = found
    return [replace(one, verdicts=found) for one, found in zip(judged, verdicts, strict=True)]


def checks_of(
    judged: Sequence[Judged],
    sides: tuple[Side, Side],
    accuracies: Mapping[str, Accuracy | Absent],
    rules: Policy,
    plan: Plan,
) -> list[Check]:
    """What was measured of every pair, held against the policy. accuracies: by digest of file, empty where nothing was scored."""
    checks: list[Check] = []
    for one in judged:
        if one.times.failure is not None:
            checks.append(comparison.did_not_run(one.pair.model, one.times.failure.args[0]))
            continue
        old, new = _records(one, sides, accuracies, plan)
        found = comparison.record_checks(old, new, rules)
        if not comparison.differences(old, new):
            checks += [_timing_check(one, metric, rules) for metric in one.verdicts]
        checks += [*found, *comparison.ceiling_checks(new, rules)]
    return checks


def _timing_check(one: Judged, metric: str, rules: Policy) -> Check:
    baseline_ns, candidate_ns = (
        stats.median([bench.statistic_ns(times, STATISTICS[metric]) for times in side_times])
        for side_times in (
            [done.baseline for done in one.times.rounds],
            [done.candidate for done in one.times.rounds],
        )
    )
    return comparison.timing_check(
        metric,
        one.pair.model,
        one.verdicts[metric],
        rules,
        baseline_ns=baseline_ns,
        candidate_ns=candidate_ns,
    )


def _records(
    one: Judged, sides: tuple[Side, Side], accuracies: Mapping[str, Accuracy | Absent], plan: Plan
) -> tuple[Record, Record]:
    """Both sides as records of this sitting.

    Parity, energy, and accuracy where nothing was scored now, come from earlier records where both sides have some.
    """
    files = (one.pair.baseline, one.pair.candidate)
    known = _known(sides, files, one)
    absent: dict[str, Any] = {"accuracy": NOT_SCORED, "parity": NOT_SCORED, "power": NO_ENERGY}
    told = [absent, absent]
    if known[0] is not None and known[1] is not None:
        differ = comparison.differences(known[0], known[1])
        if differ:
            refused = Absent(
                absent=f"the records of the two sides must not be compared: {'; '.join(differ)}",
                remedy="Measure both on one device with one plan: swapbench run",
            )
            told = [dict.fromkeys(absent, refused)] * 2
        else:
            told = [
                {"accuracy": record.accuracy, "parity": record.parity, "power": record.power}
                for record in known
                if record is not None
            ]
            elsewhere = _from_elsewhere(known[0], one)
            if elsewhere is not None:  # a ceiling names the device of this sitting
                told = [about | {"power": elsewhere} for about in told]
    old, new = (
        Record(
            id=file.record_id,
            time=datetime.now(UTC),
            run="gate",
            variant=file.variant,
            artifact=file.path.name,
            artifact_sha256=file.sha256,
            card=file.card,
            runtime=one.times.used[role],
            plan=plan,
            machine=one.times.machine,
            speed=_speed(one.times, role),
            weight=file.weight(memory),
            **(more | ({"accuracy": accuracies[file.sha256]} if accuracies else {})),
            doubts=(),
        )
        for role, file, memory, more in zip(
            (bench.BASELINE, bench.CANDIDATE), files, one.memory, told, strict=True
        )
    )
    return old, new


def _from_elsewhere(record: Record, judged: Judged) -> Absent | None:
    """Why the energy of an earlier record says nothing about the place of this sitting; None where it was the same place."""
    here = {"machine": judged.times.machine, "runtime": judged.times.used[bench.BASELINE]}
    differ = comparison.differences_of_place(record, record.replace(**here))
    if not differ:
        return None
    return Absent(
        absent=f"the records' energy was measured elsewhere: {'; '.join(differ)}",
        remedy="Compare the runs themselves: swapbench report",
    )


def _known(
    sides: tuple[Side, Side], files: tuple[Candidate, Candidate], judged: Judged
) -> tuple[Record | None, Record | None]:
    """An earlier record of each side's file under the runtime of this sitting, or None.

    A run may hold several of one file: of other cores, of other flavours of the libraries. Two that were measured alike are
    taken, at best as they ran in this sitting.
    """
    old, new = (
        [
            record
            for record in part.records
            if record.artifact_sha256 == file.sha256 and record.runtime.runtime == file.runtime.name
        ]
        for part, file in zip(sides, files, strict=True)
    )
    if not old or not new:
        return (old[0] if old else None, new[0] if new else None)
    used = judged.times.used[bench.BASELINE]

    def rank(pair: tuple[Record, Record]) -> tuple[bool, bool]:
        return (
            bool(comparison.differences(*pair)),
            pair[0].runtime.configuration != used.configuration,
        )

    return min(product(old, new), key=rank)


def _speed(times: PairedTimes, role: str) -> Speed | Absent:
    if times.invalid:
        return Absent(absent=times.invalid, remedy="Measure again")
    workers = tuple(getattr(done, role) for done in times.rounds)
    return Speed(workers=workers, input=times.input, stopped="rounds")
