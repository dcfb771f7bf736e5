"""The regression gate, from the files that a person named to checks: both sides are measured anew, in pairs.

Every pair of files is timed in rounds (see bench.pairs) until the verdict on each hard timing is settled or
the time is spent. A FAIL stands only where a second, independent batch of rounds says so too; then a profile
of both files says which operators grew.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import bench, catalog, history, store, units
from swapbench.bench.doubt import BUSY_A_CORE, crowding
from swapbench.bench.scoring import NO_CARD
from swapbench.commands import error_evidence, models_under_test, paired_runs
from swapbench.commands.data import evaluation, folds
from swapbench.commands.error_evidence import ScoredFile, kept_folds, kept_scores
from swapbench.commands.explanations import explain
from swapbench.commands.face_cache import face_cache
from swapbench.commands.history import points_of
from swapbench.commands.named_files import CardFinder, NamedFile
from swapbench.commands.options import LAST, DeviceOptions, PairOptions
from swapbench.commands.place import open_place
from swapbench.commands.sides import FilesGone, side
from swapbench.errors import BadModelFile, UserError
from swapbench.gate import comparison, error_rates, verdict
from swapbench.gate.amounts import amounts
from swapbench.gate.comparison import GateResult
from swapbench.gate.policy import METRICS, read_policy
from swapbench.records import Absent, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.catalog import Folders
    from swapbench.commands.options import JudgedData
    from swapbench.commands.sides import Side
    from swapbench.gate.comparison import Check
    from swapbench.ports import Progress, Say
    from swapbench.records import Machine, Plan
    from swapbench.report.trends.series import Point


@dataclass(frozen=True)
class GateRequest:
    """What a person asked `swapbench gate` or `swapbench compare` for.

    Attributes:
        baseline: Files, folders or glob patterns, like the candidate; see `sides.side`.
        data: What both sides are scored on; None for nothing.
        plan: How each round is timed; None for the plan of the bench with the threads and seed of `pairs`.
        history: Folder of a history that advises the reader; it decides nothing.
        last: How many of its newest comparable records each number is held against.
    """

    baseline: tuple[str, ...]
    candidate: tuple[str, ...]
    pairs: PairOptions = field(default_factory=PairOptions)
    data: JudgedData | None = None
    plan: Plan | None = None
    history: Path | None = None
    last: int = LAST


def gate(
    folders: Folders,
    request: GateRequest,
    *,
    progress: Progress,
    say: Say,
    clock: Callable[[], float] = time.monotonic,
) -> GateResult:
    """Measure every file that both sides have, pair by pair, and judge it by the policy.

    Files are matched by name; a single file on each side is a pair whatever the names are. A candidate that
    is not a model file or does not run is a FAIL.

    Raises:
        UserError: Nothing matches, or the policy or a baseline is unusable.
        EnvironmentFailed: A baseline does not run, or the device goes away.
    """
    options = request.pairs
    place = open_place(folders, DeviceOptions(options.device), catalog.split_commas(options.runtimes))
    device, runtimes = place.device, place.runtimes
    rules = read_policy(options.policy)
    overlay = {"threads": options.threads, "seed": options.seed}
    plan = request.plan or bench.PAIRED_PLAN.replace(**overlay)
    earlier = None if request.history is None else points_of(folders, history.existing(request.history))[0]
    sides = (side(folders, request.baseline, "baseline"), side(folders, request.candidate, "candidate"))
    cards = CardFinder.named(folders, options.card)
    matched, notes = _matched(*sides)
    pairs: list[paired_runs.Pair] = []
    checks: list[Check] = []
    for baseline, candidate in matched:
        old = models_under_test.of_file(NamedFile(baseline, baseline.name), runtimes, cards, options.shapes)
        try:
            file = NamedFile(candidate, candidate.name)
            new = models_under_test.of_file(file, runtimes, cards, options.shapes)
            pairs += _pairs(old, new)
        except BadModelFile as error:
            checks.append(comparison.did_not_run(candidate.name, str(error)))
    rules.require_matches([*(pair.model for pair in pairs), *(check.model for check in checks)])
    data = None
    if request.data is not None:
        data = folds(folders, request.data, ("dev", "test"), progress=progress, say=say)
    errors_judged = data is not None or all(side.scored for side in sides)
    session = paired_runs.Session(device, plan, rules, options.budget_s, progress, clock, errors_judged)
    with device.quiet(plan, progress):
        notes += _disturbances(device.describe(), plan)
        judged = paired_runs.judge(pairs, session)
        explanations = explain(judged, session)
    completed = [result.pair for result in judged if result.times.failure is None]
    scored: dict[str, ScoredFile] = {}
    if data is not None and request.data is not None:
        with face_cache(folders, say, keep=request.data.keep_crops) as kept:
            judged_on = evaluation(kept, data, request.data)
            scored = paired_runs.scored_files(completed, session, judged_on)
    measured, remarks, candidates = paired_runs.checks_of(judged, sides, scored, session)
    checks += measured
    notes += remarks
    if earlier is not None:
        notes += _advice(candidates, earlier, request.last, scored=bool(scored))
    notes += comparison.elsewhere(rules, device.name, [pair.model for pair in pairs])
    return GateResult(tuple(checks), tuple(notes), explanations)


def _advice(candidates: Sequence[Record], earlier: Sequence[Point], last: int, *, scored: bool) -> list[str]:
    """What a history says of the candidates, in the numbers that were measured now."""
    from swapbench.report.rows.summary import summary
    from swapbench.report.trends.advice import advice

    names = ("latency_p50", "peak_memory", "file_bytes", *(("acer",) if scored else ()))
    told = [line for record in candidates for line in advice(summary(record), earlier, names, last)]
    return told or ["history: no number is worse than each of its last comparable ones"]


def compare(folders: Folders, request: GateRequest, *, progress: Progress, say: Say) -> GateResult:
    """The same for a person. Runs whose files are gone are compared by their records, without timings."""
    try:
        return gate(folders, request, progress=progress, say=say)
    except FilesGone as gone:
        runs = [[Path(source) for source in sources] for sources in (request.baseline, request.candidate)]
        if not all((run / "records").is_dir() for side_runs in runs for run in side_runs):
            raise
        reason = gone.args[0]
    loaded = [[(run, store.load_run(run)) for run in side_runs] for side_runs in runs]
    pairs = _alike(*([record for _, records in of_side for record in records] for of_side in loaded))
    if not pairs:
        raise UserError("the two runs have no file in common", remedy="Files are matched by name")
    options = request.pairs
    rules = read_policy(options.policy)
    kept = [dict(kept for run in of_side for kept in kept_scores(*run).items()) for of_side in loaded]
    evidence = [
        error_evidence.evidence(old, new, (kept_folds(kept[0], old), kept_folds(kept[1], new)), options.seed)
        for old, new in pairs
    ]
    errors = error_rates.judge(
        [(new.artifact, known.rates) for (_, new), known in zip(pairs, evidence, strict=True)], rules
    )
    checks: list[Check] = []
    notes = [f"only records were compared: {reason}"]
    for (old, new), known, verdicts in zip(pairs, evidence, errors, strict=True):
        checks += comparison.record_checks(old, new, rules, verdicts)
        if not comparison.differences(old, new):
            notes += [*_timing_notes(old.artifact, old, new), *known.notes(new.artifact)]
    return GateResult(tuple(checks), tuple(notes))


def _alike(old: Sequence[Record], new: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Records of one file under one runtime on the same cores, with libraries of the same flavour.

    Where none did, the first of each side, so that what differs between them is said.
    """
    sides: tuple[dict[tuple[str, str], list[Record]], ...] = ({}, {})
    for by_file, records in zip(sides, (old, new), strict=True):
        for record in records:
            by_file.setdefault((record.artifact, record.runtime.runtime), []).append(record)
    pairs = []
    for key in sorted(sides[0].keys() & sides[1].keys()):
        alike = [
            (before, after)
            for before, after in product(sides[0][key], sides[1][key])
            if before.runtime.configuration == after.runtime.configuration
        ]
        pairs += alike or [(sides[0][key][0], sides[1][key][0])]
    return pairs


def _timing_notes(model: str, old: Record, new: Record) -> list[str]:
    notes = []
    for metric in paired_runs.STATISTICS:
        before, after = amounts(old, metric), amounts(new, metric)
        if not isinstance(before, Absent) and not isinstance(after, Absent):
            text, change = METRICS[metric].text, after[""] / before[""] - 1
            notes.append(
                f"{model}: {metric} {text(before[''])} to {text(after[''])} ({verdict.changed(change)}), "
                "not judged, because the two were measured at different times"
            )
    return notes


# ---------------------------------------------------------------------------------------------- which files


def _matched(baseline: Side, candidate: Side) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Files that belong together, and remarks about those that have no partner. UserError where none has."""
    old, new = ({path.name for path in side.files} for side in (baseline, candidate))
    if len(old) == len(new) == 1 and old != new:
        pair = (baseline.named(*old), candidate.named(*new))
        if pair[0].suffix == pair[1].suffix:
            return [pair], [f"{pair[1].name} is compared with {pair[0].name}"]
    both = sorted(old & new)
    if not both:
        ours, theirs = units.some(sorted(old)), units.some(sorted(new))
        raise UserError(
            f"no file of the baseline ({ours}) has the same name as a candidate ({theirs})",
            remedy="Files are matched by name; to compare two names, give one file on each side",
        )
    alone = [
        f"not compared, because only the {role} has it: {name}"
        for role, names in (("baseline", old - new), ("candidate", new - old))
        for name in sorted(names)
    ]
    return [(baseline.named(name), candidate.named(name)) for name in both], alone


def _pairs(old: Sequence[ModelUnderTest], new: Sequence[ModelUnderTest]) -> list[paired_runs.Pair]:
    """The two sides under each runtime; where one side has a card, it is that of both."""
    card = next((model.card for model in (*new, *old) if model.unscored is None), None)
    old, new = (
        [model.with_card(card) if model.unscored == NO_CARD and card else model for model in side]
        for side in (old, new)
    )
    by_runtime = {model.runtime.name: model for model in new}
    return [
        paired_runs.Pair(baseline, by_runtime[baseline.runtime.name])
        for baseline in old
        if baseline.runtime.name in by_runtime
    ]


def _disturbances(machine: Machine, plan: Plan) -> list[str]:
    notes = [crowding(plan.threads, machine.logical_cores)]
    if machine.busy_cores is not None and machine.busy_cores >= BUSY_A_CORE * machine.logical_cores:
        cores = f"{machine.busy_cores:.2g} of {machine.logical_cores} cores"
        notes.append(f"other work kept {cores} busy before the gate began")
    return list(filter(None, notes))
