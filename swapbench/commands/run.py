"""The main job, from the names that a person typed to records and a report."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench import catalog
from swapbench.commands.data import DataRequest, evaluation, folds
from swapbench.commands.workshop import build_files, carded_models, checked_variants
from swapbench.errors import BadModelFile, SwapbenchError, UnknownName, UserError
from swapbench.records import PRECISIONS, Absent, Format, Plan, Precision, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.build import Built
    from swapbench.catalog import Carded, Folders
    from swapbench.commands.data import Say
    from swapbench.experiment import Candidate
    from swapbench.pad.dataset import Dataset
    from swapbench.ports import Progress, Runtime
    from swapbench.records import ModelCard, Record


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
    device: str = "local"
    data: DataRequest = field(default_factory=DataRequest)
    card: str | None = None
    accuracy: bool = True
    name: str | None = None
    replace: bool = False
    relative_to: str | None = None
    budget_s: float | None = None
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
        plan=Plan(threads=threads, target_relative_half_width=target, seed=seed),
        **rest,
    )


def run(folders: Folders, request: RunRequest, *, progress: Progress, say: Say) -> RunResult:
    """The main job: export what is missing, measure, save a record of each file, write the report."""
    from swapbench import experiment

    device = catalog.device(folders, request.device)
    runtimes = catalog.runtimes(request.runtimes)
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
    plan = request.plan.model_copy(
        update={"time_budget_s": request.budget_s or SECONDS_A_FILE * len(candidates)}
    )
    wanted = experiment.description(candidates, plan, device.name, judged_on)
    folder = _run_folder(folders, request, wanted, say)
    meters, why_not = _meters()
    outcome = experiment.run(
        candidates, device, meters or why_not, plan, judged_on, folder, progress=progress
    )
    notes = []
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
    from swapbench.experiment import Candidate
    from swapbench.graph import read_graph, single_static_input

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
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
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
    from swapbench.experiment import Candidate
    from swapbench.graph import read_graph

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
    from swapbench import experiment

    if request.name is None:
        runs = sorted(
            folders.reports.glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True
        )
        for path in runs:
            if experiment.unfinished(path.parent, wanted):
                say(f"Going on with the unfinished run {path.parent.name}.")
                return path.parent
        return folders.reports / datetime.now().astimezone().strftime(f"%Y-%m-%dT%H-%M-%S-{request.device}")
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
    return folder


def _meters() -> tuple[tuple[Any, ...], Absent]:
    """The energy meters of this computer, and why there is none where there is none."""
    found = []
    reasons: list[str] = []
    remedies: list[str] = []
    for name, find in catalog.meters().items():
        meter = find()
        if isinstance(meter, Absent):
            reasons.append(f"{name}: {meter.absent}")
            remedies.append(f"{name}: {meter.remedy}" if meter.remedy else "")
        else:
            found.append(meter)
    absent = Absent(absent="; ".join(reasons) or "no meter is known", remedy=" ".join(filter(None, remedies)))
    return tuple(found), absent
