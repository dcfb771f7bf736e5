"""The regression gate, from the files that a person named to checks: both sides are measured anew, in pairs.

Every pair of files is timed in rounds (see bench.pairs) until the verdict on each hard timing is settled or the time is spent.
A FAIL stands only where a second, independent batch of rounds says so too; then a profile of both files says which operators grew.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import bench, catalog, store
from swapbench.bench.doubt import BUSY_A_CORE
from swapbench.commands import paired_runs as judging
from swapbench.commands import profile
from swapbench.commands.baseline import FilesGone, side
from swapbench.commands.data import evaluation, folds
from swapbench.commands.device import DeviceRequest, open_place
from swapbench.commands.run import candidates_of_files
from swapbench.errors import BadModelFile, UserError
from swapbench.gate import comparison, verdict
from swapbench.gate.comparison import GateResult
from swapbench.gate.policy import METRICS, read_policy
from swapbench.records import Absent, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.bench.experiment import Candidate
    from swapbench.catalog import Folders
    from swapbench.commands.baseline import Side
    from swapbench.commands.data import DataRequest
    from swapbench.gate.comparison import Check
    from swapbench.ports import Progress, Runtime, Say
    from swapbench.records import Machine, ModelCard, Plan

BUDGET_S = 20.0
"""Default time for the rounds of one model."""


@dataclass(frozen=True)
class GateRequest:
    """What a person asked `swapbench gate` for.

    baseline, candidate: files, folders or glob patterns (see baseline.side). data: what to score both sides on, None for nothing;
    card: the model card of files that carry none.
    """

    baseline: tuple[str, ...]
    candidate: tuple[str, ...]
    device: str = "local"
    runtimes: tuple[str, ...] = ()
    policy: Path | None = None
    data: DataRequest | None = None
    card: str | None = None
    budget_s: float = BUDGET_S
    plan: Plan = bench.PAIRED_PLAN


def gate(
    folders: Folders,
    request: GateRequest,
    *,
    progress: Progress,
    say: Say,
    clock: Callable[[], float] = time.monotonic,
) -> GateResult:
    """Measure every file that both sides have, pair by pair, and hold it against the policy.

    Files are matched by name; a single file on each side is a pair whatever the names are. A candidate that is
    no model file or does not run is a FAIL. Raises UserError where nothing matches or a baseline or the policy is unusable,
    EnvironmentFailed where a baseline does not run.
    """
    place = open_place(folders, DeviceRequest(request.device), catalog.split_commas(request.runtimes))
    device, runtimes = place.device, place.runtimes
    rules = read_policy(request.policy)
    sides = (
        side(folders, request.baseline, "baseline"),
        side(folders, request.candidate, "candidate"),
    )
    forced = catalog.model(folders, request.card).card if request.card else None
    matched, notes = _matched(*sides)
    pairs: list[judging.Pair] = []
    checks: list[Check] = []
    for baseline, candidate in matched:
        old, error = _one(baseline, runtimes, forced)
        if error is not None:
            raise error
        new, error = _one(candidate, runtimes, forced)
        if isinstance(error, BadModelFile):
            checks.append(comparison.did_not_run(candidate.name, str(error)))
        elif error is not None:
            raise error
        else:
            pairs += _pairs(old, new)
    rules.require_matches([*(one.model for one in pairs), *(check.model for check in checks)])
    judged_on = None
    if request.data is not None:
        found = folds(folders, request.data, ("dev", "test"), progress=progress, say=say)
        judged_on = evaluation(folders, found, request.data)
    with device.quiet(request.plan):
        notes += _busy(device.describe())
        judged = judging.judge(
            pairs, device, request.plan, rules, budget_s=request.budget_s, progress=progress, clock=clock
        )
        explanations = profile.explain(judged, rules, device, request.plan, progress=progress, clock=clock)
    ran = [one.pair for one in judged if one.times.failure is None]
    scored = judging.accuracies_of(ran, device, judged_on, request.plan, progress) if judged_on else {}
    checks += judging.checks_of(judged, sides, scored, rules, request.plan)
    notes += comparison.elsewhere(rules, device.name, [pair.model for pair in pairs])
    return GateResult(tuple(checks), tuple(notes), explanations)


def compare(
    folders: Folders,
    request: GateRequest,
    *,
    progress: Progress,
    say: Say,
    clock: Callable[[], float] = time.monotonic,
) -> GateResult:
    """The same for a person. Runs whose files are gone are compared by their records: timings are then told, not judged."""
    try:
        return gate(folders, request, progress=progress, say=say, clock=clock)
    except FilesGone as gone:
        runs = [[Path(one) for one in sources] for sources in (request.baseline, request.candidate)]
        if not all((path / "records").is_dir() for one in runs for path in one):
            raise
        reason = gone.args[0]
    pairs = _alike(*([one for path in paths for one in store.load_run(path)] for paths in runs))
    if not pairs:
        raise UserError("the two runs have no file in common", remedy="Files are matched by name")
    rules = read_policy(request.policy)
    checks = [check for old, new in pairs for check in comparison.record_checks(old, new, rules)]
    notes = [f"only records were compared: {reason}"]
    for old, new in pairs:
        if not comparison.differences(old, new):
            notes += _told_timings(old.variant.file_name, old, new)
    return GateResult(tuple(checks), tuple(notes))


def _alike(old: Sequence[Record], new: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Records of one file under one runtime that ran alike: on the same cores, with libraries of the same flavour.

    Where none did, the first of each side, so that what differs between them is said.
    """
    sides: tuple[dict[tuple[str, str], list[Record]], ...] = ({}, {})
    for found, records in zip(sides, (old, new), strict=True):
        for one in records:
            found.setdefault((one.variant.file_name, one.runtime.runtime), []).append(one)
    pairs = []
    for key in sorted(sides[0].keys() & sides[1].keys()):
        here = [pair for pair in product(sides[0][key], sides[1][key]) if _as_chosen(*pair)]
        pairs += here or [(sides[0][key][0], sides[1][key][0])]
    return pairs


def _as_chosen(one: Record, other: Record) -> bool:
    return one.runtime.configuration == other.runtime.configuration


def _told_timings(model: str, old: Record, new: Record) -> list[str]:
    told = []
    for metric in judging.STATISTICS:
        before, after = comparison.amounts(old, metric), comparison.amounts(new, metric)
        if not isinstance(before, Absent) and not isinstance(after, Absent):
            text, change = METRICS[metric].text, after[""] / before[""] - 1
            told.append(
                f"{model}: {metric} {text(before[''])} to {text(after[''])} ({verdict.changed(change)}), "
                "from two sittings and therefore not judged"
            )
    return told


# ---------------------------------------------------------------------------------------------- which files


def _matched(baseline: Side, candidate: Side) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Files that belong together, and remarks about those that have no partner. UserError where none has."""
    old, new = ({path.name for path in one.files} for one in (baseline, candidate))
    if len(old) == len(new) == 1 and old != new:
        pair = (baseline.named(*old), candidate.named(*new))
        if pair[0].suffix == pair[1].suffix:
            return [pair], [f"{pair[1].name} is compared with {pair[0].name}"]
    both = sorted(old & new)
    if not both:
        raise UserError(
            f"no file of the baseline ({_some(old)}) has the name of a candidate ({_some(new)})",
            remedy="Files are matched by name; give one file on each side to compare two names",
        )
    alone = [
        f"not compared, because only the {role} has it: {name}"
        for role, names in (("baseline", old - new), ("candidate", new - old))
        for name in sorted(names)
    ]
    return [(baseline.named(name), candidate.named(name)) for name in both], alone


def _some(names: set[str]) -> str:
    shown = sorted(names)[:4]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def _one(
    path: Path, runtimes: Sequence[Runtime], forced: ModelCard | None
) -> tuple[list[Candidate], Exception | None]:
    """A file under each runtime that runs it, or why it cannot be measured."""
    found, failures = candidates_of_files((path,), runtimes, forced)
    return found, failures[0][1] if failures else None


def _pairs(old: Sequence[Candidate], new: Sequence[Candidate]) -> list[judging.Pair]:
    by_runtime = {one.runtime.name: one for one in new}
    return [judging.Pair(one, by_runtime[one.runtime.name]) for one in old if one.runtime.name in by_runtime]


def _busy(machine: Machine) -> list[str]:
    if machine.busy_cores is None or machine.busy_cores < BUSY_A_CORE * machine.logical_cores:
        return []
    return [
        f"other work kept {machine.busy_cores:.2g} of {machine.logical_cores} cores busy before the gate began"
    ]
