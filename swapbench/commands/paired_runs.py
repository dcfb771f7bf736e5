"""One pair of files after another: rounds until the verdicts are settled, then the checks of a gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from swapbench import bench, stats
from swapbench.commands import error_evidence
from swapbench.commands.error_evidence import ScoredFile
from swapbench.errors import SwapbenchError, WorkerFailed
from swapbench.gate import comparison, error_rates, verdict
from swapbench.records import Absent, Speed
from swapbench.report.rows import comparable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.bench import PairedTimes, Round, Statistic
    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.commands.sides import Side
    from swapbench.gate.comparison import Check
    from swapbench.gate.policy import Policy
    from swapbench.gate.verdict import Verdict
    from swapbench.pad.evaluation import Evaluation
    from swapbench.pad.metrics import FoldScores
    from swapbench.ports import Device, Progress
    from swapbench.records import Machine, PeakMemory, Plan, Record, RuntimeUsed

STATISTICS: Mapping[str, Statistic] = {
    "latency_p05": "p05",
    "latency_p50": "p50",
    "latency_p90": "p90",
    "load": "load",
}
"""Paired metric of a policy -> statistic of a worker."""

NOT_SCORED = Absent(
    absent="nothing was scored, and there are no records of both files",
    remedy="Give a dataset with --data, or runs as both sides",
)
NO_ENERGY = Absent(
    absent="the gate does not measure energy, and there are no records of both files",
    remedy="Give runs as both sides",
)
UNMEASURED = Absent(absent="the candidate did not run")


@dataclass(frozen=True)
class Pair:
    """A file and the one that is to take its place, under one runtime."""

    baseline: ModelUnderTest
    candidate: ModelUnderTest

    @property
    def model(self) -> str:
        """The name of its checks."""
        return self.candidate.path.name


@dataclass(frozen=True)
class Judged:
    """What the rounds of a pair came to.

    Attributes:
        verdicts: By paired metric.
        memory: Peak memory of baseline and candidate; absent where a process failed.
    """

    pair: Pair
    times: PairedTimes
    verdicts: Mapping[str, Verdict]
    memory: tuple[PeakMemory | Absent, PeakMemory | Absent]


@dataclass(frozen=True)
class Session:
    """What every pair of a gate is measured with.

    Attributes:
        device: Where.
        plan: How each round is timed.
        rules: What is allowed.
        budget_s: The time for the rounds of one pair.
        progress: Who is told.
        clock: Seconds.
        errors_judged: Whether error rates are judged too, which takes half of the false alarms.
    """

    device: Device
    plan: Plan
    rules: Policy
    budget_s: float
    progress: Progress
    clock: Callable[[], float]
    errors_judged: bool = False

    @property
    def false_alarm(self) -> float:
        """The probability of a false alarm of all timings, and likewise of all error rates."""
        return verdict.FALSE_ALARM / 2 if self.errors_judged else verdict.FALSE_ALARM

    def hard(self, metric: str, model: str) -> bool:
        """Whether a FAIL in this metric of this model fails the gate."""
        return self.rules.budget(metric, model).hard


def judge(pairs: Sequence[Pair], session: Session) -> list[Judged]:
    """Measure one pair after another and judge them together.

    Raises:
        EnvironmentFailed: A baseline does not run, or the device goes away.
    """
    comparisons = sum(session.hard(metric, pair.model) for pair in pairs for metric in STATISTICS)
    judged = [_PairTrial(pair, session, comparisons).judge() for pair in pairs]
    return _family(judged, session)


class _PairTrial:
    """Measures one pair until its hard timings are settled or the time is spent.

    A FAIL among many comparisons, which are the hard timings of all pairs, must be surer than one alone.
    """

    def __init__(self, pair: Pair, session: Session, comparisons: int) -> None:
        self._pair, self._session, self._comparisons = pair, session, comparisons
        self._old, self._new = pair.baseline.pushed(session.device), pair.candidate.pushed(session.device)
        self._began_s = session.clock()

    def judge(self) -> Judged:
        """All rounds, with a second batch where the first shows a FAIL, then the memory of each side."""
        hard = {metric for metric in STATISTICS if self._session.hard(metric, self._pair.model)}
        self._report(0)
        times, verdicts = self._batch(None, hard)
        failed = {metric for metric, result in verdicts.items() if result.outcome == "FAIL"}
        if failed and not times.over:
            times, again = self._batch(times, failed)
            verdicts |= {metric: verdict.confirmed(verdicts[metric], again[metric]) for metric in failed}
        if times.invalid:
            verdicts = {metric: verdict.invalid(times.invalid, len(times.rounds)) for metric in verdicts}
        self._report(self._session.budget_s)
        memory: tuple[PeakMemory | Absent, PeakMemory | Absent] = (UNMEASURED, UNMEASURED)
        if not times.failure:
            memory = (self._memory_of(self._old), self._memory_of(self._new))
        return Judged(self._pair, times, verdicts, memory)

    def _report(self, spent_s: float) -> None:
        budget_s = self._session.budget_s
        self._session.progress(f"timing {self._pair.model}", min(spent_s, budget_s), budget_s)

    def _batch(self, before: PairedTimes | None, wanted: set[str]) -> tuple[PairedTimes, dict[str, Verdict]]:
        """Rounds up to one look after another, until the wanted verdicts are settled or one is a sure FAIL.

        Without `before` it is the first batch; with it the one that confirms, whose changes are its own.
        """
        device, plan, clock = self._session.device, self._session.plan, self._session.clock
        first = len(before.rounds) if before else 0
        began_s, times, done = clock(), before, 0
        verdicts: dict[str, Verdict] = {}
        for look in verdict.CONFIRMING_LOOKS if before else verdict.LOOKS:
            if done:
                round_s = (clock() - began_s) / done
                if clock() - self._began_s + round_s * (look - done) > self._session.budget_s:
                    break
            while done < look and not (times and times.over):
                times = bench.measure_rounds(self._old, self._new, device, plan, 1, before=times)
                done += 1
                self._report(clock() - self._began_s)
            assert times is not None
            verdicts = self._verdicts(times.rounds, first)
            outcomes = [self._settled(verdicts[metric], confirming=bool(before)) for metric in wanted]
            if times.over or all(outcomes) or (not before and "FAIL" in outcomes):
                break
        assert times is not None
        return times, verdicts

    def _verdicts(self, rounds: Sequence[Round], first: int) -> dict[str, Verdict]:
        """Over the rounds from `first` on, with the controls of all."""
        verdicts = {}
        for metric, statistic in STATISTICS.items():
            budget = self._session.rules.budget(metric, self._pair.model).relative
            assert budget is not None  # a policy gives paired metrics relative budgets only
            changes, controls = bench.log_ratios(rounds, statistic)
            confidence = verdict.CONFIRMING_CONFIDENCE if first else verdict.CONFIDENCE
            verdicts[metric] = verdict.decide(changes[first:], controls, budget, confidence=confidence)
        return verdicts

    def _settled(self, result: Verdict, *, confirming: bool) -> Literal["PASS", "FAIL", ""]:
        """PASS, or FAIL where it is sure enough among all comparisons; else "" and more rounds may tell."""
        if result.outcome == "FAIL":
            sure = verdict.sure_p(self._comparisons, self._session.false_alarm)
            return "FAIL" if result.p_value <= sure[confirming] else ""
        return "PASS" if result.outcome == "PASS" else ""

    def _memory_of(self, file: bench.FileUnderTest) -> PeakMemory | Absent:
        try:
            return bench.measure_memory(file, self._session.device, self._session.plan)
        except WorkerFailed as error:
            return Absent(absent=f"the memory pass failed: {error.args[0]}", remedy=error.remedy)


def scored_files(pairs: Sequence[Pair], session: Session, judged_on: Evaluation) -> dict[str, ScoredFile]:
    """The error rates of every file, by its digest; absent where it has no card or cannot be scored."""
    from swapbench.bench import experiment
    from swapbench.pad.metrics import FoldScores

    device, plan, progress = session.device, session.plan, session.progress
    models = {model.sha256: model for pair in pairs for model in (pair.baseline, pair.candidate)}
    cards = {
        digest: model.card
        for digest, model in models.items()
        if model.card is not None and model.unscored is None
    }
    crops = judged_on.prepared([card.preprocessing for card in cards.values()], progress)
    found = {digest: ScoredFile(model.unscored or experiment.NO_CARD) for digest, model in models.items()}
    files = [
        replace(experiment.file_under_test(models[digest], device, crops), name=digest) for digest in cards
    ]
    scored = bench.measure_scores(files, device, plan, at_once=max(1, judged_on.processes // plan.threads))
    for number, (file, outputs) in enumerate(scored, 1):
        card = cards[file.name]
        try:
            if isinstance(outputs, SwapbenchError):
                raise outputs
            name = models[file.name].path.name
            folds = experiment.scored_folds(name, card, outputs, judged_on, crops)
            accuracy = judged_on.accuracy(
                folds,
                outputs,
                card.preprocessing,
                crops[card.preprocessing],
                confidence=plan.confidence,
                seed=plan.seed,
            )
            found[file.name] = ScoredFile(accuracy, tuple(map(FoldScores.of_frames, folds)))
        except SwapbenchError as error:
            found[file.name] = ScoredFile(Absent(absent=error.args[0], remedy=error.remedy))
        progress("scoring", number, len(files))
    return found


# ---------------------------------------------------------------------------------------------- checks


def _family(judged: Sequence[Judged], session: Session) -> list[Judged]:
    """The same with the false alarms of all hard timings of all models together held down."""
    places = [
        (number, metric)
        for number, result in enumerate(judged)
        if result.times.failure is None
        for metric in result.verdicts
        if session.hard(metric, result.pair.model)
    ]
    adjusted = verdict.family(
        [judged[number].verdicts[metric] for number, metric in places], false_alarm=session.false_alarm
    )
    verdicts = [dict(result.verdicts) for result in judged]
    for (number, metric), decision in zip(places, adjusted, strict=True):
        verdicts[number][metric] = decision
    return [replace(result, verdicts=changed) for result, changed in zip(judged, verdicts, strict=True)]


def checks_of(
    judged: Sequence[Judged],
    sides: tuple[Side, Side],
    scored: Mapping[str, ScoredFile],
    session: Session,
) -> tuple[list[Check], list[str], list[Record]]:
    """What was measured of every pair, judged by the policy, remarks for the reader, and the candidates.

    Args:
        judged: The pairs.
        sides: What they were named by.
        scored: Files that were scored now, by digest.
        session: What they were measured with.
    """
    ran = [result for result in judged if result.times.failure is None]
    records = [_records(result, sides, scored, session.plan) for result in ran]
    evidence = [
        error_evidence.evidence(*pair, _folds(result, sides, scored), session.plan.seed)
        for result, pair in zip(ran, records, strict=True)
    ]
    errors = error_rates.judge(
        [(result.pair.model, known.rates) for result, known in zip(ran, evidence, strict=True)],
        session.rules,
        false_alarm=session.false_alarm,
    )
    checks = [
        comparison.did_not_run(result.pair.model, result.times.failure.args[0])
        for result in judged
        if result.times.failure is not None
    ]
    notes = []
    for result, (old, new), known, verdicts in zip(ran, records, evidence, errors, strict=True):
        model = result.pair.model
        if not comparison.differences(old, new):
            checks += [_timing_check(result, metric, session.rules) for metric in result.verdicts]
        others = comparison.record_checks(old, new, session.rules, verdicts)
        if scored and known.counts is not None:
            flips = comparison.flips_check(
                model, known.counts.flips, known.counts.presentations, session.rules
            )
            others = tuple(flips if check.metric == flips.metric else check for check in others)
        checks += [*others, *comparison.ceiling_checks(new, session.rules)]
        notes += known.notes(model)
    return checks, notes, [new for _, new in records]


def _folds(
    result: Judged, sides: tuple[Side, Side], scored: Mapping[str, ScoredFile]
) -> tuple[tuple[FoldScores, ...], tuple[FoldScores, ...]]:
    """The scores of both files: those of now, or those that their earlier records rest on."""
    if scored:
        return scored[result.pair.baseline.sha256].folds, scored[result.pair.candidate.sha256].folds
    earlier = _earlier(sides, result)
    if earlier is None:
        return (), ()
    return (
        error_evidence.kept_folds(sides[0].scores, earlier[0]),
        error_evidence.kept_folds(sides[1].scores, earlier[1]),
    )


def _timing_check(result: Judged, metric: str, rules: Policy) -> Check:
    baseline_ns, candidate_ns = (
        stats.median(
            [bench.statistic_ns(getattr(done, role), STATISTICS[metric]) for done in result.times.rounds]
        )
        for role in (bench.BASELINE, bench.CANDIDATE)
    )
    return comparison.timing_check(
        metric,
        result.pair.model,
        result.verdicts[metric],
        rules,
        baseline_ns=baseline_ns,
        candidate_ns=candidate_ns,
    )


def _records(
    result: Judged, sides: tuple[Side, Side], scored: Mapping[str, ScoredFile], plan: Plan
) -> tuple[Record, Record]:
    """Both sides as records of this session.

    Parity, energy, and accuracy where nothing was scored now, come from earlier records if both sides have
    some.
    """
    times, carried_over = result.times, _carried_over(_earlier(sides, result), result)

    def record(file: ModelUnderTest, role: str, place: int) -> Record:
        draft = file.draft(_speed(times, role), times.used[role], times.machine, plan, "gate")
        quantities = carried_over[place] | ({"accuracy": scored[file.sha256].accuracy} if scored else {})
        return replace(draft, weight=file.weight(result.memory[place]), **quantities).record()

    return record(result.pair.baseline, bench.BASELINE, 0), record(result.pair.candidate, bench.CANDIDATE, 1)


def _carried_over(earlier: tuple[Record, Record] | None, result: Judged) -> list[dict[str, Any]]:
    """What earlier records of both sides say about quantities that are not measured now, or why nothing."""
    absent: dict[str, Any] = {"accuracy": NOT_SCORED, "parity": NOT_SCORED, "power": NO_ENERGY}
    if earlier is None:
        return [absent, absent]
    old, new = earlier
    differences = comparison.differences(old, new)
    if differences:
        refused = Absent(
            absent=f"the records of the two sides cannot be compared: {'; '.join(differences)}",
            remedy="Measure both on one device with one plan: swapbench run",
        )
        return [dict.fromkeys(absent, refused)] * 2
    elsewhere = _from_elsewhere(old, result)  # a ceiling names the device of this session
    return [
        {"accuracy": record.accuracy, "parity": record.parity, "power": elsewhere or record.power}
        for record in (old, new)
    ]


class _Here(NamedTuple):
    """What ran in this session, and where."""

    machine: Machine
    runtime: RuntimeUsed


def _from_elsewhere(record: Record, result: Judged) -> Absent | None:
    """Why the energy of an earlier record does not hold for this device; None where it was measured on it."""
    here = _Here(result.times.machine, result.times.used[bench.BASELINE])
    differences = comparable.differences(record, here)
    if not differences:
        return None
    return Absent(
        absent=f"the records' energy was measured elsewhere: {'; '.join(differences)}",
        remedy="Compare the runs themselves: swapbench report",
    )


def _earlier(sides: tuple[Side, Side], result: Judged) -> tuple[Record, Record] | None:
    """An earlier record of each side's file under the runtime of this session; None where a side has none.

    A run may hold several of one file: of other cores, of other flavours of the libraries. Two that were
    measured alike are taken, at best as they ran in this session.
    """
    old, new = (
        [
            record
            for record in side.records
            if record.artifact_sha256 == file.sha256 and record.runtime.runtime == file.runtime.name
        ]
        for side, file in zip(sides, (result.pair.baseline, result.pair.candidate), strict=True)
    )
    used = result.times.used[bench.BASELINE]

    def rank(pair: tuple[Record, Record]) -> tuple[bool, bool]:
        return (bool(comparison.differences(*pair)), pair[0].runtime.configuration != used.configuration)

    return min(product(old, new), key=rank, default=None)


def _speed(times: PairedTimes, role: str) -> Speed | Absent:
    if times.invalid:
        return Absent(absent=times.invalid, remedy="Measure again")
    workers = tuple(getattr(done, role) for done in times.rounds)
    return Speed(workers=workers, input=times.input, stopped="rounds")
