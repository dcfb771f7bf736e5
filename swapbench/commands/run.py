"""The main job, from the names that a person typed to records and a report."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench import bench, catalog, stats, store, units
from swapbench.commands.data import DataRequest, evaluation, folds
from swapbench.commands.device import DeviceRequest, found_meters, open_place
from swapbench.commands.workshop import build_files, carded_models, checked_variants
from swapbench.errors import BadModelFile, SwapbenchError, UnknownName, UserError
from swapbench.files import file_sha256
from swapbench.records import (
    NOT_ELSEWHERE,
    NOT_PACED,
    PRECISIONS,
    Absent,
    Format,
    Parity,
    Plan,
    Precision,
    Speed,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.bench.experiment import Candidate
    from swapbench.catalog import Carded, Folders
    from swapbench.data.dataset import Dataset
    from swapbench.ports import Progress, Runtime, Say, Tool
    from swapbench.records import ModelCard, Record
    from swapbench.workshop.artifacts import Built


LEAST_SUSTAINED_S = 5.0
SECONDS_A_FILE = 5.0
"""Default time for the speed phase, for each file. Twelve files then take a minute."""


@dataclass(frozen=True)
class RunRequest:
    """What a person asked `swapbench run` for. Empty means: everything that is bundled."""

    files: tuple[Path, ...] = ()
    models: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    precisions: tuple[Precision, ...] = ()
    runtimes: tuple[str, ...] = ()
    device: DeviceRequest = field(default_factory=DeviceRequest)
    data: DataRequest = field(default_factory=DataRequest)
    card: str | None = None
    accuracy: bool = True
    name: str | None = None
    replace: bool = False
    relative_to: str | None = None
    budget_s: float | None = None
    sustained_s: float | None = None
    plan: Plan = field(default_factory=Plan)


@dataclass(frozen=True)
class RunResult:
    """The records of a run, what failed (each with its error), and remarks for the end."""

    folder: Path
    records: tuple[Record, ...]
    failures: tuple[tuple[str, SwapbenchError], ...]
    notes: tuple[str, ...]


def run_request(
    *,
    files: Sequence[Path],
    models: Sequence[str],
    formats: Sequence[str],
    precisions: Sequence[str],
    runtimes: Sequence[str],
    threads: int,
    target: float,
    seed: int,
    window_s: float = 10.0,
    fps: float | None = None,
    sustained: str | None = None,
    **rest: Any,
) -> RunRequest:
    """A validated request. Raises UnknownName with the nearest name for anything that is in no catalogue."""
    name = rest.get("name")
    if name is not None and (Path(name).name != name or name in {"", ".", ".."}):
        raise UserError(f"{name!r} is no name for a run", remedy="Use letters, digits, dots and dashes")
    wanted = checked_variants(formats, precisions)
    return RunRequest(
        files=tuple(files),
        models=catalog.split_commas(models),
        formats=wanted[0],
        precisions=wanted[1],
        runtimes=catalog.checked_names("runtime", catalog.split_commas(runtimes), tuple(catalog.RUNTIMES)),
        plan=Plan(
            threads=threads,
            target_relative_half_width=target,
            seed=seed,
            power_window_s=window_s,
            fps=fps,
        ),
        sustained_s=None if sustained is None else _sustained_s(sustained),
        **rest,
    )


def _timed_by_tools(candidates: Sequence[Candidate], tools: Sequence[Tool]) -> list[Candidate]:
    """The files that a tool can time, once more under each tool. UserError where there are tools and no such file."""
    from dataclasses import replace

    found = [
        replace(one, tool=tool)
        for one in candidates
        for tool in tools
        if one.runtime.name == "litert" and one.variant.format in tool.formats
    ]
    if tools and candidates and not found:
        raise UserError(
            "--delegate times .tflite files, and none is in this run", remedy="Leave --delegate out"
        )
    return found


def _sustained_s(text: str) -> float:
    """Seconds of a sustained run as it was typed: '10min'."""
    duration_s = units.amount(text, "time", "--sustained") / 1e9
    if duration_s < LEAST_SUSTAINED_S:
        raise UserError(
            f"--sustained {text} is no sustained run: {LEAST_SUSTAINED_S:g} s are the least",
            remedy="For example: --sustained 10min",
        )
    return duration_s


def run(folders: Folders, request: RunRequest, *, progress: Progress, say: Say) -> RunResult:
    """The main job: export what is missing, measure, save a record of each file, write the report."""
    from swapbench.bench import experiment

    place = open_place(folders, request.device, request.runtimes)
    device, runtimes = place.device, place.runtimes
    only_files = bool(request.files) and not request.models
    carded, failures = ((), []) if only_files else carded_models(folders, request.models)
    forced_card = catalog.model(folders, request.card).card if request.card else None
    files, wrong = candidates_of_files(request.files, runtimes, forced_card)
    failures = [*failures, *wrong]
    found: tuple[Dataset, ...] = ()
    if carded or (request.accuracy and any(one.card is not None for one in files)):
        found = folds(folders, request.data, ("dev", "test"), progress=progress, say=say)
    candidates = list(files)
    if carded:
        built, failed = build_files(folders, carded, request.formats, request.precisions, found[0], progress)
        failures += failed
        candidates += _candidates(built, carded, runtimes)
    candidates += _timed_by_tools(candidates, place.tools)
    if place.clusters:
        candidates = [cluster.pinned(one) for one in candidates for cluster in place.clusters]
    candidates = list({one.record_id: one for one in candidates}.values())  # the same file given twice is one
    if not candidates:
        if failures:
            return RunResult(folders.reports, (), tuple(failures), ())
        raise UserError(
            "nothing is left to run with these options",
            remedy="onnxruntime runs .onnx files, litert runs .tflite files",
        )
    if request.relative_to is not None:
        known = {text for one in candidates for text in (one.variant.net, _net_and_recipe(one.variant))}
        if request.relative_to not in known:
            raise UnknownName("model in this run", request.relative_to, known)
    judged_on = evaluation(folders, found, request.data) if found and request.accuracy else None
    plan = request.plan.replace(time_budget_s=request.budget_s or SECONDS_A_FILE * len(candidates))
    setup = dict(place.setup)
    if request.sustained_s is not None:
        setup["sustained"] = f"{request.sustained_s:g} s"
    measured_with = experiment.Setup(
        device,
        found_meters(place.meters),
        plan,
        judged_on,
        desktop=_desktop(folders, runtimes) if place.setup else None,
        sustained_s=request.sustained_s,
        unplugged=bench.Unplugged(found_meters(place.unplugged), say) if request.device.detached else None,
        settings=setup,
    )
    folder = _run_folder(folders, request, experiment.description(candidates, measured_with), say)
    outcome = experiment.run(candidates, measured_with, folder, progress=progress)
    notes = [*_paced_notes(outcome.records), *_parity_notes(outcome.records)]
    if outcome.resumed:
        notes.append(f"{outcome.resumed} of {len(candidates)} records were there already and were kept.")
    if outcome.records:
        progress("writing the report", 0, 1)
        from swapbench.report.writer import write_report as write

        written = write(outcome.records, folder, request.relative_to)
        progress("writing the report", 1, 1)
        notes.append(f"Report: {os.path.relpath(folder)}/ ({', '.join(path.name for path in written.all)})")
        notes += written.remarks
    return RunResult(folder, outcome.records, (*failures, *outcome.failures), tuple(notes))


def candidates_of_files(
    files: Sequence[Path], runtimes: Sequence[Runtime], forced_card: ModelCard | None
) -> tuple[list[Candidate], list[tuple[str, SwapbenchError]]]:
    """Files from anywhere; each that cannot be measured fails alone. The card: the one given, or the file's own."""
    from swapbench.bench.experiment import Candidate
    from swapbench.modelfile import read_graph, single_static_input

    good: list[Candidate] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for path in files:
        try:
            graph = read_graph(path)
            single_static_input(graph, path.name)
            able = [one for one in runtimes if graph.format in one.formats]
            if not able:
                raise UserError(
                    f"none of the chosen runtimes runs {graph.format} files",
                    remedy="Leave --runtime out, or choose another",
                )
            card = forced_card or own_card(path, graph.metadata)
        except SwapbenchError as error:
            failures.append((str(path), error))
            continue
        sha256 = file_sha256(path)
        variant = Variant(net=_net_name(path), precision=graph.precision, format=graph.format)
        no_parity = Absent(
            absent="the network that this file was made from is not known", remedy="Export it with swapbench"
        )
        good += [Candidate(variant, path, sha256, graph, runtime, card, no_parity) for runtime in able]
    return good, failures


def _net_name(path: Path) -> str:
    """The stem of a file name, without a precision at its end: 'net.kd.int8.tflite' -> 'net.kd'."""
    parts = path.stem.split(".")
    return ".".join(parts[:-1]) if len(parts) > 1 and parts[-1] in PRECISIONS else path.stem


def own_card(path: Path, metadata: dict[str, Any] | None) -> ModelCard | None:
    """The card that a file exported by swapbench carries in its metadata, or None."""
    from pydantic import ValidationError

    from swapbench.records import ModelCard

    if metadata is None:
        return None
    try:
        return ModelCard(
            name=metadata["network"],
            recipe=metadata.get("recipe"),
            summary="read from the metadata of the file",
            family="",
            architecture={},
            checkpoint="",
            checkpoint_sha256=metadata.get("checkpoint_sha256", ""),
            preprocessing=metadata["preprocessing"],
            output=metadata["output"],
        )
    except (KeyError, ValidationError) as error:
        raise BadModelFile(
            f"the swapbench metadata in {path} is damaged ({str(error).splitlines()[0]})",
            remedy="Export the file again",
        ) from error


def _candidates(
    built: Sequence[Built], carded: Sequence[Carded], runtimes: Sequence[Runtime]
) -> list[Candidate]:
    from swapbench.bench.experiment import Candidate
    from swapbench.modelfile import read_graph

    cards = {(one.card.name, one.card.recipe): one.card for one in carded}
    return [
        Candidate(
            variant=one.variant,
            path=one.path,
            sha256=one.sha256,
            graph=read_graph(one.path),
            runtime=runtime,
            card=cards[one.variant.net, one.variant.recipe],
            parity=one.parity,
        )
        for one in built
        for runtime in runtimes
        if one.variant.format in runtime.formats
    ]


def _net_and_recipe(variant: Variant) -> str:
    return ".".join(filter(None, (variant.net, variant.recipe)))


def _run_folder(folders: Folders, request: RunRequest, wanted: dict[str, Any], say: Say) -> Path:
    """Where the records go: an unfinished run of the same description is taken up again."""
    from swapbench.bench import experiment

    if request.name is None:
        runs = sorted(
            folders.reports.glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True
        )
        for path in runs:
            if experiment.unfinished(path.parent, wanted):
                say(f"Going on with the unfinished run {path.parent.name}.")
                return path.parent
        return folders.reports / datetime.now().astimezone().strftime(
            f"%Y-%m-%dT%H-%M-%S-{request.device.name}"
        )
    folder = folders.reports / request.name
    old = sorted((folder / "records").glob("*.json"))
    if experiment.unfinished(folder, wanted):
        if old:
            say(f"Going on with the unfinished run {request.name}.")
    elif old and not request.replace:
        raise UserError(
            f"the run {request.name} has {len(old)} records already",
            remedy="Choose another --name, or measure again with --replace",
        )
    else:
        for path in old:
            path.unlink()
        store.drop_drafts(folder)
    return folder


def _desktop(folders: Folders, runtimes: Sequence[Runtime]) -> bench.Desktop:
    """This computer as the reference of a phone's scores."""
    return bench.Desktop(
        catalog.device(folders, "local"), {one.name: catalog.runtime(one.name) for one in runtimes}
    )


def _parity_notes(records: Sequence[Record]) -> list[str]:
    """How far a phone's scores are from this computer's, in one line for all files; one more for each that has none."""
    found = [(one.artifact, one.device_parity) for one in records if isinstance(one.device_parity, Parity)]
    lines = []
    if found:
        name, worst = max(found, key=lambda item: item[1].max_abs_difference)
        flips = sum(parity.decision_flips for _, parity in found)
        samples = sum(parity.samples for _, parity in found)
        lines.append(
            f"Scores against this computer's: at most {worst.max_abs_difference:.2g} apart ({name}); "
            f"{flips} of {samples} decisions flip."
        )
    return lines + [
        f"{one.artifact}: {one.device_parity.absent}. {one.device_parity.remedy}".rstrip()
        for one in records
        if isinstance(one.device_parity, Absent) and one.device_parity != NOT_ELSEWHERE
    ]


def _paced_notes(records: Sequence[Record]) -> list[str]:
    """What a camera's frame rate makes of the latencies, a line a file; and where the order of two files turns round."""
    lines = []
    for cores in dict.fromkeys(one.runtime.settings.get("cores", "") for one in records):
        where = f", {cores} cores" if cores else ""
        medians = {
            f"{one.artifact} ({one.runtime.runtime}{where})": (
                stats.median(one.speed.runs_ns),
                stats.median(one.paced.runs_ns),
            )
            for one in records
            if isinstance(one.speed, Speed)
            and isinstance(one.paced, Speed)
            and one.runtime.settings.get("cores", "") == cores
        }
        lines += [
            f"{name}: {units.duration(at_rate)} at the frame rate, {units.duration(back_to_back)} back to back."
            for name, (back_to_back, at_rate) in medians.items()
        ]
        by_speed, by_paced = (sorted(medians, key=lambda name: medians[name][place]) for place in (0, 1))
        if by_speed != by_paced:
            lines.append(f"The order turns round: at the frame rate it is {', '.join(by_paced)}.")
    return lines + [
        f"{one.artifact}: {one.paced.absent}"
        for one in records
        if isinstance(one.paced, Absent) and one.paced != NOT_PACED
    ]
