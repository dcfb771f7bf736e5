"""The main job, from what a person asked for to records and a report."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench import bench, catalog, doctor, stats, store, units
from swapbench.bench import run_folder
from swapbench.commands import models_under_test
from swapbench.commands.data import evaluation, folds
from swapbench.commands.face_cache import face_cache
from swapbench.commands.model_files import model_files
from swapbench.commands.named_files import CardFinder, named_files
from swapbench.commands.options import DeviceOptions, JudgedData, RunFolder, TimingOptions, VariantOptions
from swapbench.commands.place import available_meters, open_place
from swapbench.commands.switches import switched
from swapbench.errors import SwapbenchError, UnknownName, UserError
from swapbench.records import ALL_FORMATS, NOT_ELSEWHERE, NOT_PACED, Absent, Accuracy, Parity, Plan, Speed
from swapbench.runtimes.native.adapter import NativeWorker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.bench.experiment import ModelUnderTest, Outcome, Setup
    from swapbench.catalog import Folders
    from swapbench.commands.place import Place
    from swapbench.data.dataset import Dataset
    from swapbench.ports import Progress, Runtime, Say, Tool
    from swapbench.records import Record

SECONDS_A_FILE = 5.0
"""Default time for the speed phase, for each file. Twelve files then take a minute."""


@dataclass(frozen=True)
class RunRequest:
    """What a person asked `swapbench run` for; without files or models, everything that is bundled.

    Attributes:
        files: Model files from anywhere, folders of them, and files with their cards; see `named_files`.
        variants: Networks with a model card, and which files of each.
        runtimes: All if empty.
        card: Model card (name or file) of all files that have none named for them alone.
        accuracy: Whether files are scored at all.
        shapes: Of inputs whose lengths a file leaves free; see `options.input_shapes`.
        switches: Options of runtimes that are turned on or off; see `switches.runtime_switches`.
        lost_hosts: Hosts of a fleet that began this run before and were lost.
    """

    files: tuple[str, ...] = ()
    variants: VariantOptions = field(default_factory=VariantOptions)
    runtimes: tuple[str, ...] = ()
    device: DeviceOptions = field(default_factory=DeviceOptions)
    data: JudgedData = field(default_factory=JudgedData)
    card: str | None = None
    accuracy: bool = True
    timing: TimingOptions = field(default_factory=TimingOptions)
    output: RunFolder = field(default_factory=RunFolder)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    switches: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lost_hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """The records of a run, what failed, each with its error, and remarks for the end."""

    folder: Path
    records: tuple[Record, ...]
    failures: tuple[tuple[str, SwapbenchError], ...]
    notes: tuple[str, ...]


def run(folders: Folders, request: RunRequest, *, progress: Progress, say: Say) -> RunResult:
    """The main job: export what is missing, measure, save a record of each file, write the report.

    The run is unfinished, so that the same request goes on with it, until `finish`.

    Raises:
        UnknownName: A name is in no catalogue.
        UserError: Nothing is left to run with these options, or the run's name is taken.
    """
    with face_cache(folders, say, keep=request.data.keep_crops) as kept:
        return _run(kept, request, progress, say)


def finish(result: RunResult) -> None:
    """Note that a person has the result: the last thing of a run, after which it does not go on."""
    run_folder.write_reported(result.folder)


def _run(folders: Folders, request: RunRequest, progress: Progress, say: Say) -> RunResult:
    from swapbench.bench import experiment

    request = _with_networks(folders, request)
    place = switched(open_place(folders, request.device, request.runtimes), request.switches)
    models, data, failures = _models(folders, request, place, progress, say)
    if not models:
        if failures:
            return RunResult(folders.reports, (), tuple(failures), ())
        raise UserError(
            "these options leave nothing to run",
            remedy="onnxruntime runs .onnx files, litert runs .tflite files, ncnn runs .param files, "
            "executorch runs .pte files",
        )
    _check_reference(request.output.relative_to, models)
    settings = dict(place.setup)
    if request.timing.sustained_s is not None:
        settings["sustained"] = f"{request.timing.sustained_s:g} s"
    if request.timing.profile:
        settings["operators"] = "profiled"
    for name, states in request.switches.items():
        settings[f"switches of {name}"] = ", ".join(f"{option}={state}" for option, state in states.items())
    setup = experiment.Setup(
        place.device,
        available_meters(place.meters, say),
        _plan(request.timing, len(models)),
        evaluation(folders, data, request.data) if data and request.accuracy else None,
        desktop=_desktop(folders, place.runtimes) if place.setup else None,
        profiled=request.timing.profile,
        sustained_s=request.timing.sustained_s,
        unplugged=(
            bench.Unplugged(available_meters(place.unplugged), say) if request.device.detached else None
        ),
        settings=settings,
        lost_hosts=request.lost_hosts,
    )
    description = experiment.description(models, setup)
    folder, is_resumed = _run_folder(folders, request, description)
    with run_folder.only_writer(folder):
        _prepare(folder, request, say, is_resumed=is_resumed)
        say(_intent(models, setup))
        outcome = experiment.run(models, setup, folder, progress=progress, to_report=True)
        notes = _report(folder, request, len(models), outcome, progress)
    told = (*failures, *outcome.failures)
    if request.accuracy:
        notes = [*_unscored_notes(outcome.records, told), *notes]
    return RunResult(folder, outcome.records, told, tuple(notes))


def _report(
    folder: Path, request: RunRequest, models: int, outcome: Outcome, progress: Progress
) -> list[str]:
    """Write the report; what a person should read of it."""
    notes = notes_of(outcome.records)
    if outcome.resumed:
        notes.append(f"{outcome.resumed} of {models} records were there already and were kept.")
    if outcome.records and request.output.report:
        progress("writing the report", 0, 1)
        from swapbench.report.writer import write_report

        report = write_report(outcome.records, folder, request.output.relative_to)
        progress("writing the report", 1, 1)
        notes.append(f"Report: {os.path.relpath(folder)}/ ({', '.join(path.name for path in report.all)})")
        notes += report.remarks
    return notes


def notes_of(records: Sequence[Record]) -> list[str]:
    """What a person should read of some records beside their numbers."""
    return [
        *_remarks(records),
        *_frame_notes(records),
        *_border_notes(records),
        *_paced_notes(records),
        *_parity_notes(records),
        *_lost_notes(records),
    ]


def _lost_notes(records: Sequence[Record]) -> list[str]:
    """What was measured again from the beginning, because a host of a fleet was lost."""
    return [
        f"{record.title} was measured again: {units.some(list(record.lost_hosts))} began it and "
        f"{'was' if len(record.lost_hosts) == 1 else 'were'} lost."
        for record in records
        if record.lost_hosts
    ]


def _with_networks(folders: Folders, request: RunRequest) -> RunRequest:
    """The request with names of networks among its files, where there is no such file, as networks."""
    known = catalog.card_files(folders)
    networks = [name for name in request.files if name in known and not Path(name).exists()]
    files = tuple(name for name in request.files if name not in networks)
    models = tuple(dict.fromkeys((*request.variants.models, *networks)))
    return replace(request, files=files, variants=replace(request.variants, models=models))


def _models(
    folders: Folders, request: RunRequest, place: Place, progress: Progress, say: Say
) -> tuple[list[ModelUnderTest], tuple[Dataset, ...], list[tuple[str, SwapbenchError]]]:
    """Everything to measure, each once; the data, if any are needed; and what cannot be measured."""
    only_files = bool(request.files) and not request.variants.models
    carded, failures = ([], []) if only_files else catalog.networks(folders, request.variants.models)
    cards = CardFinder.named(folders, request.card)
    files = named_files(request.files)
    models, failed = models_under_test.of_files(files, place.runtimes, cards, request.shapes)
    failures += failed
    data: tuple[Dataset, ...] = ()
    if carded or (request.accuracy and _has_data(request)):
        data = folds(folders, request.data, ("dev", "test"), progress=progress, say=say)
    if carded:
        wanted = request.variants
        if request.runtimes and not wanted.formats:
            named = {name for runtime in place.runtimes for name in runtime.formats}
            wanted = replace(wanted, formats=tuple(name for name in ALL_FORMATS if name in named))
        built, failed = model_files(folders, carded, wanted, data[0], progress)
        failures += failed
        models += models_under_test.of_networks(built, carded, place.runtimes)
    models += _timed_by_tools(models, place.tools)
    if place.clusters:
        models = [cluster.pinned(model) for model in models for cluster in place.clusters]
    unique = {model.record_id: model for model in models}  # a file may have been given twice
    return list(unique.values()), data, failures


def _has_data(request: RunRequest) -> bool:
    """Whether files are scored: on the data that were named, or on the simulated set where a card was.

    A card for all files has no other use than their accuracy, so naming one asks for it; where simulated data
    cannot be made, it stays absent with its reason.
    """
    return request.data.named or (request.card is not None and doctor.lacks("simulate") is None)


def _intent(models: Sequence[ModelUnderTest], setup: Setup) -> str:
    """What the run is going to do, in one line."""
    runs = f"{len(models)} run{'s' * (len(models) != 1)}"
    names = units.some(list(dict.fromkeys(model.title for model in models)))
    parts = [f"speed ({setup.plan.time_budget_s:g} s)", "memory"]
    parts += [] if isinstance(setup.meters, Absent) else ["energy"]
    parts += ["operators"] if setup.profiled else []
    parts += ["a sustained run"] if setup.sustained_s is not None else []
    scored = sum(model.unscored is None and model.tool is None for model in models)
    if setup.evaluation is not None and scored:
        parts.append("accuracy" if scored == len(models) else f"accuracy of {scored}")
    return f"Measuring {names} ({runs}): {', '.join(parts)}."


def _timed_by_tools(models: Sequence[ModelUnderTest], tools: Sequence[Tool]) -> list[ModelUnderTest]:
    """The files that a tool can time, once more under each; UserError if there are tools but no such file."""
    timed = [
        replace(model, tool=tool)
        for model in models
        for tool in tools
        if model.runtime.name == "litert" and model.variant.format in tool.formats
    ]
    if tools and models and not timed:
        raise UserError(
            "--delegate times .tflite files, and none is in this run", remedy="Leave --delegate out"
        )
    return timed


def _check_reference(name: str | None, models: Sequence[ModelUnderTest]) -> None:
    """Raise UnknownName where the model to compare with is not among those that are measured."""
    variants = [model.variant for model in models]
    names = {variant.net for variant in variants}
    names |= {f"{variant.net}.{variant.recipe}" for variant in variants if variant.recipe}
    if name is not None and name not in names:
        raise UnknownName("model in this run", name, names)


def _plan(timing: TimingOptions, files: int) -> Plan:
    return Plan(
        threads=timing.threads,
        target_relative_half_width=timing.target,
        time_budget_s=timing.budget_s or SECONDS_A_FILE * files,
        seed=timing.seed,
        power_window_s=timing.window_s,
        fps=timing.fps,
    )


def _run_folder(folders: Folders, request: RunRequest, description: dict[str, Any]) -> tuple[Path, bool]:
    """Where the records go, and whether that is an unfinished run of the same description.

    Without a name it is the newest one that no other process goes on with, or a new folder.
    """
    if request.output.name is not None:
        folder = folders.reports / request.output.name
        return folder, run_folder.unfinished(folder, description)
    runs = sorted(folders.reports.glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in runs:
        if run_folder.unfinished(path.parent, description) and not run_folder.is_being_written(path.parent):
            return path.parent, True
    now = datetime.now().astimezone().strftime(f"%Y-%m-%dT%H-%M-%S-{request.device.name}")
    names = (now, *(f"{now}-{number}" for number in range(2, 1000)))
    return next(folder for name in names if not (folder := folders.reports / name).exists()), False


def _prepare(folder: Path, request: RunRequest, say: Say, *, is_resumed: bool) -> None:
    """Make the folder ready for a run, whose records are the only ones; UserError where there are others."""
    old = sorted((folder / "records").glob("*.json"))
    if is_resumed:
        if old or request.output.name is None:
            say(f"Resuming the unfinished run {folder.name}.")
    elif old and not request.output.replace:
        raise UserError(
            f"the run {folder.name} has {len(old)} record{'s' * (len(old) != 1)} already",
            remedy=f"Show what it measured with: swapbench report {shlex.quote(os.path.relpath(folder))}; "
            "measure again with --replace, or choose another --name",
        )
    else:
        for path in old:
            path.unlink()
        store.drop_drafts(folder)


def _desktop(folders: Folders, runtimes: Sequence[Runtime]) -> bench.Desktop:
    """This computer as the reference of a phone's scores."""
    return bench.Desktop(
        catalog.device(folders, "local"),
        {runtime.name: catalog.runtime(folders, _without_delegate(runtime)) for runtime in runtimes},
    )


def _without_delegate(runtime: Runtime) -> str:
    """What stands on this computer for a runtime of a phone, an accelerated one too."""
    return runtime.plain_name if isinstance(runtime, NativeWorker) else runtime.name


def _parity_notes(records: Sequence[Record]) -> list[str]:
    """How far a phone's scores are from this computer's, in one line; one more for each file without any."""
    parities = [
        (record.artifact, record.device_parity)
        for record in records
        if isinstance(record.device_parity, Parity)
    ]
    lines = []
    if parities:
        name, worst = max(parities, key=lambda item: item[1].max_abs_difference)
        flips = sum(parity.decision_flips for _, parity in parities)
        samples = sum(parity.samples for _, parity in parities)
        lines.append(
            f"Scores against this computer's: at most {worst.max_abs_difference:.2g} apart ({name}); "
            f"{flips} of {samples} decisions flip."
        )
    return lines + [
        f"{record.artifact}: {record.device_parity.absent}. {record.device_parity.remedy}".rstrip()
        for record in records
        if isinstance(record.device_parity, Absent) and record.device_parity != NOT_ELSEWHERE
    ]


def _remarks(records: Sequence[Record]) -> list[str]:
    """What should be known of each file, once, under however many runtimes it ran."""
    lines = [f"{record.title}: {remark}." for record in records for remark in record.remarks]
    return list(dict.fromkeys(lines))


def _unscored_notes(records: Sequence[Record], failures: Sequence[tuple[str, SwapbenchError]]) -> list[str]:
    """Why files have no accuracy and what would give them one, but for those whose failure says so."""
    failed = {title for title, _ in failures}
    titles: dict[Absent, dict[str, None]] = {}
    for record in records:
        if isinstance(record.accuracy, Absent) and record.accuracy.remedy and record.title not in failed:
            titles.setdefault(record.accuracy, {})[record.title] = None
    return [
        f"Not scored: {units.some(list(names))}: {reason.absent}. {reason.remedy.rstrip('.')}."
        for reason, names in titles.items()
    ]


def _border_notes(records: Sequence[Record]) -> list[str]:
    """How many crops leave the frame, and what each card does about it, once for all files alike."""
    return list(
        dict.fromkeys(
            f"{record.accuracy.crops_at_border} of {record.accuracy.frames} crops at crop_scale"
            f" {record.card.preprocessing.crop_scale:g} leave the frame, where the card of {record.card.name}"
            f' says border = "{record.card.preprocessing.border}".'
            for record in records
            if record.card is not None
            and isinstance(record.accuracy, Accuracy)
            and record.accuracy.crops_at_border
        )
    )


def _frame_notes(records: Sequence[Record]) -> list[str]:
    """Which frames have no score and why, once for all files."""
    sentences = [
        group.sentence
        for record in records
        if isinstance(record.accuracy, Accuracy)
        for group in record.accuracy.failed_frames
    ]
    return [f"{sentence}." for sentence in dict.fromkeys(sentences)]


def _paced_notes(records: Sequence[Record]) -> list[str]:
    """What a camera's frame rate does to each file's latency, and where it changes the order of files."""
    lines = []
    for cores in dict.fromkeys(record.runtime.settings.get("cores", "") for record in records):
        where = f", {cores} cores" if cores else ""
        medians = {
            f"{record.title} ({record.runtime.runtime}{where})": (speed.value_ns, paced.value_ns)
            for record in records
            if isinstance(record.speed, Speed)
            and isinstance(record.paced, Speed)
            and record.runtime.settings.get("cores", "") == cores
            and (speed := stats.typical(record.speed.workers)) is not None
            and (paced := stats.typical(record.paced.workers)) is not None
        }
        lines += [
            f"{name}: {units.duration(paced)} at the frame rate, {units.duration(back_to_back)} back to back."
            for name, (back_to_back, paced) in medians.items()
        ]
        by_speed, by_paced = (sorted(medians, key=lambda name: medians[name][place]) for place in (0, 1))
        if by_speed != by_paced:
            lines.append(f"The order changes: at the frame rate it is {', '.join(by_paced)}.")
    return lines + [
        f"{record.artifact}: {record.paced.absent}"
        for record in records
        if isinstance(record.paced, Absent) and record.paced != NOT_PACED
    ]
