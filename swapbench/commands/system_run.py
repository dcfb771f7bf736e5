"""A system as a whole: its files loaded together in one process, timed in turn with the files alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench import store, units
from swapbench.bench import run_folder
from swapbench.bench.series import linked
from swapbench.commands import models_under_test
from swapbench.commands import run as main_job
from swapbench.commands.data import evaluation, folds
from swapbench.commands.face_cache import face_cache
from swapbench.commands.named_files import CardFinder, named_files
from swapbench.commands.options import SystemOptions
from swapbench.commands.place import available_meters, open_place
from swapbench.commands.switches import switched
from swapbench.commands.system_members import members
from swapbench.commands.system_row import keep, system_record
from swapbench.errors import UserError
from swapbench.files import file_sha256
from swapbench.pad.rates import ThresholdRule
from swapbench.records import Absent
from swapbench.systems.computed import How, computed, decided_on_test
from swapbench.systems.file import read_system
from swapbench.systems.frozen import Development

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.bench.experiment import ModelUnderTest
    from swapbench.catalog import Folders
    from swapbench.commands.system_members import Members
    from swapbench.ports import Progress, Runtime, Say
    from swapbench.records import Record, System


def run(
    folders: Folders, path: Path, request: main_job.RunRequest, *, progress: Progress, say: Say
) -> main_job.RunResult:
    """Measure a system's files, then the system itself; its row stands beside theirs in the run.

    Raises:
        UserError: A file of the system is not found, the system was not frozen yet, or it cannot be timed.
    """
    system = read_system(path)
    if not system.frozen:
        raise UserError(
            f"{path} has no frozen threshold, so it cannot decide",
            remedy="Choose it on a development split: swapbench system fuse, cascade or frames",
        )
    files = _files(folders, system, path, request.files)
    runtimes = tuple(dict.fromkeys(member.runtime for member in system.members if member.runtime))
    request = replace(request, files=tuple(map(str, files)), runtimes=request.runtimes or runtimes)
    with face_cache(folders, say, keep=request.data.keep_crops) as kept:
        result = main_job.run(kept, request, progress=progress, say=say)
        if result.failures:
            return result
        options = SystemOptions(run=result.folder, fps=request.timing.fps, runtimes=request.runtimes)
        known = members(kept, request.files, options, progress=progress, say=say)
        notes = _measured(kept, known, system, request, progress, say)
    return replace(result, records=store.load_run(known.run), notes=(*result.notes, *notes))


def _files(folders: Folders, system: System, path: Path, named: Sequence[str]) -> list[Path]:
    """Where the system's files lie: among those that were named, beside the system, or among the exported."""
    near = [file.path for file in named_files(named)] + sorted(path.parent.glob("*"))
    found = []
    for member in system.members:
        candidates = [file for file in near if file.name == member.file]
        candidates += sorted(folders.build.rglob(member.file)) if folders.build.is_dir() else []
        fitting = [file for file in candidates if not member.sha256 or file_sha256(file) == member.sha256]
        if not fitting:
            there = f" of the content that {path.name} names" if candidates else ""
            raise UserError(
                f"there is no file {member.file}{there}",
                remedy=f"Name it, or its folder: swapbench run --system {path.name} FOLDER",
            )
        found.append(fitting[0])
    return found


def _measured(
    folders: Folders,
    known: Members,
    system: System,
    request: main_job.RunRequest,
    progress: Progress,
    say: Say,
) -> list[str]:
    """Time the system, keep its record, and say how near comes what its files' times make of it."""
    from swapbench.bench import experiment
    from swapbench.bench.decision_jobs import Job
    from swapbench.bench.decisions import measure_decisions
    from swapbench.systems.measured import measured

    if len(known.known.folds) > 1:
        raise UserError(
            f"a system is timed on one fold, and these data have {len(known.known.folds)}",
            remedy="Choose one: --protocol 3_1",
        )
    place = switched(open_place(folders, request.device, request.runtimes), request.switches)
    models = _models(folders, known, place.runtimes, request)
    data = folds(folders, request.data, ("dev", "test"), progress=progress, say=lambda _: None)
    judged_on = evaluation(folders, data, request.data)
    crops = experiment.prepared_crops(models, judged_on, progress)
    failures = {row for one in crops.values() for row in one.failures}
    rows = judged_on.test_presentations(failures)
    plan = known.records[0].plan
    budget_s = request.timing.budget_s or main_job.SECONDS_A_FILE * (len(models) + 1)
    setup = experiment.Setup(
        place.device, available_meters(place.meters), plan.replace(time_budget_s=budget_s), judged_on
    )
    system, rule = _for_these_data(system, known)
    job = Job(
        system,
        [experiment.file_under_test(model, place.device, crops) for model in models],
        models,
        list(rows.values()),
        store.system_path(known.run, system.name).with_suffix(".job.json"),
    )
    found = measure_decisions(job, setup, progress)
    on_sitting = replace(known.known, time=found.sitting.prices)
    how = How(rule, request.timing.fps, plan.confidence, plan.seed)
    result = computed(system, on_sitting, how)
    said = decided_on_test(system, on_sitting.folds)
    number_of = {name: number for number, name in enumerate(rows)}
    numbers = [number_of[name] for name in said.of.presentation.tolist()]
    decision = measured(result.decision, said, found.sitting, numbers, plan.confidence)
    record = system_record(known, replace(result, decision=decision.decision))
    record = record.replace(
        power=found.power,
        weight=record.weight
        if isinstance(record.weight, Absent)
        else record.weight.replace(peak_memory=found.memory),
        doubts=(*record.doubts, *decision.doubts),
    )
    with run_folder.only_writer(known.run):
        keep(known.run, record, result.folds, say)
    used = found.sitting.energy_uj
    energy = [] if isinstance(used, Absent) else [f"It uses {units.energy(used)} above idle."]
    return [_comparison(record), *energy, *_untimed(decision.untimed, len(numbers))]


def _models(
    folders: Folders, known: Members, runtimes: Sequence[Runtime], request: main_job.RunRequest
) -> list[ModelUnderTest]:
    """The members as what a run measures."""
    cards = CardFinder.named(folders, request.card)
    models = []
    for record, file in zip(known.records, named_files(request.files), strict=True):
        every = models_under_test.of_file(file, runtimes, cards, request.shapes)
        models.append(next(one for one in every if one.runtime.name == record.runtime.runtime))
    return linked(models)


def _for_these_data(system: System, known: Members) -> tuple[System, ThresholdRule]:
    """The system for the fold of these data, and the rule of its threshold.

    It is its own on the data that it was chosen on, else "given": nothing is chosen anew.
    """
    fold = known.known.folds[0].name
    frozen = next((one for one in system.frozen if one.fold == fold), system.frozen[0])
    system = system.replace(frozen=(frozen.replace(fold=fold),))
    rule = ThresholdRule.named(system.threshold_rule)
    if rule is not None and Development(known.known.folds, rule).freeze(system).frozen == system.frozen:
        return system, rule
    return system.replace(threshold_rule="given"), ThresholdRule("given", frozen.threshold)


def _comparison(record: Record) -> str:
    decision = record.decision
    assert decision is not None
    assert decision.computed_time_ns is not None
    mean, before = decision.time_ns.all.mean, decision.computed_time_ns
    return (
        f"{record.title}: a decision takes {units.duration(mean)} on average; the times of its files alone"
        f" in the same sitting make {units.duration(before)} ({100 * (before / mean - 1):+.1f} %)."
    )


def _untimed(untimed: int, of: int) -> list[str]:
    if not untimed:
        return []
    return [f"{untimed} of {of} presentations go a way that was not timed; their cost is computed."]
