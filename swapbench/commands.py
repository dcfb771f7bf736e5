"""What each command does, from the names that a person typed to a finished result. Prints nothing.

Progress goes to a callable (stage, done, total); remarks that a person should see while waiting go to `say`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from swapbench import catalog, store, units
from swapbench.errors import BadModelFile, BadRecord, MissingPackage, SwapbenchError, UnknownName, UserError
from swapbench.files import write_atomically
from swapbench.records import FORMATS, PRECISIONS, Absent, Format, Plan, Precision, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.build import Built
    from swapbench.catalog import Carded, Folders
    from swapbench.doctor import Finding
    from swapbench.experiment import Candidate, Evaluation
    from swapbench.pad.dataset import Dataset
    from swapbench.ports import Progress, Runtime
    from swapbench.records import ModelCard, Record

    Say = Callable[[str], None]

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
    data: Path | None = None
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


def split_commas(values: Iterable[str]) -> tuple[str, ...]:
    """'a,b' and repeated options mean the same."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


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
    return RunRequest(
        files=tuple(files),
        models=split_commas(models),
        formats=cast("tuple[Format, ...]", catalog.checked_names("format", split_commas(formats), FORMATS)),
        precisions=cast(
            "tuple[Precision, ...]", catalog.checked_names("precision", split_commas(precisions), PRECISIONS)
        ),
        runtimes=catalog.checked_names("runtime", split_commas(runtimes), tuple(catalog.RUNTIMES)),
        plan=Plan(threads=threads, target_relative_half_width=target, seed=seed),
        **rest,
    )


def list_models(folders: Folders) -> tuple[list[dict[str, Any]], tuple[SwapbenchError, ...]]:
    """One row a model card, and the errors of cards that cannot be read."""
    good, bad = catalog.models(folders)
    rows = []
    for one in good:
        card = one.card
        made = "from elsewhere"
        if card.training is not None:
            made = f"{card.training.time[:10]} on {'simulated' if card.training.simulated_data else card.training.data} data"
        rows.append(
            {
                "name": card.name,
                "family": card.family,
                "input": f"{card.preprocessing.width_px}×{card.preprocessing.height_px}",
                "made": made,
                "dev EER": units.percent(card.training.dev_results["eer"])
                if card.training and "eer" in card.training.dev_results
                else units.NOT_MEASURED,
                "summary": card.summary,
                "licence": card.licence,
                "card": str(one.path),
            }
        )
    return rows, bad


def list_devices(folders: Folders) -> list[dict[str, str]]:
    """One row a device profile."""
    import tomllib

    rows = []
    for name, path in catalog.device_files(folders).items():
        profile = tomllib.loads(path.read_text(encoding="utf-8"))
        rows.append(
            {"name": name, "kind": str(profile.get("kind", "")), "summary": str(profile.get("summary", ""))}
        )
    return rows


def examine(folders: Folders) -> tuple[Finding, ...]:
    """What can be measured here, and why the rest cannot."""
    from swapbench import doctor

    return doctor.examine(meters=catalog.meters(), folder=folders.root)


def simulate(
    folders: Folders,
    out: Path | None,
    splits: Sequence[str],
    seed: int | None,
    sheet: Path | None,
    *,
    progress: Progress,
) -> Path:
    """Make the simulated dataset (cached); returns its folder."""
    if importlib.util.find_spec("cv2") is None:
        raise MissingPackage("opencv-python-headless", "making simulated data", "simulate")
    from swapbench.pad import simulate as simulation
    from swapbench.pad.dataset import SPLITS

    chosen = catalog.checked_names("split", split_commas(splits), SPLITS) or SPLITS
    folder = simulation.simulate(
        out or folders.data,
        simulation.Recipe() if seed is None else simulation.Recipe(seed=seed),
        splits=chosen,
        progress=lambda done, total: progress("simulating faces and recaptures", done, total),
    )
    if sheet is not None:
        simulation.contact_sheet(folder, sheet)
    return folder


def dataset(
    folders: Folders, data: Path | None, splits: Sequence[str], *, progress: Progress, say: Say
) -> Dataset:
    """The dataset folder that was named, or the simulated one, made on first use."""
    from swapbench.pad.dataset import Dataset

    if data is None:
        data = simulate(folders, None, splits, None, None, progress=progress)
    found = Dataset.load(data, splits)
    if found.simulated:
        say(f"Data: {found.name} ({found.notice})")
    return found


def export(
    folders: Folders,
    names: Sequence[str],
    formats: Sequence[str],
    precisions: Sequence[str],
    data: Path | None,
    out: Path | None,
    *,
    progress: Progress,
    say: Say,
) -> tuple[tuple[Built, ...], tuple[tuple[str, SwapbenchError], ...]]:
    """Export the named models (all if none); files that exist already are not made again."""
    request = run_request(
        files=(),
        models=names,
        formats=formats,
        precisions=precisions,
        runtimes=(),
        threads=1,
        target=0.02,
        seed=0,
    )
    carded, failures = _carded(folders, request.models)
    found = dataset(folders, data, ("dev",), progress=progress, say=say)
    built, failed = _build(folders, carded, request, found, progress)
    if out is not None:
        for one in built:
            write_atomically(out / one.variant.file_name, one.path.read_bytes())
    return built, (*failures, *failed)


def export_rows(built: Sequence[Built]) -> list[dict[str, str]]:
    """What was exported, as a table."""
    return [
        {
            "file": one.variant.file_name,
            "size": units.size(one.path.stat().st_size),
            "largest diff": units.significant(one.parity.max_abs_difference, 2),
            "correlation": units.NOT_MEASURED
            if one.parity.correlation is None
            else f"{one.parity.correlation:.5f}",
            "flips": f"{one.parity.decision_flips} of {one.parity.samples}",
            "path": os.path.relpath(one.path),
        }
        for one in built
    ]


def run(folders: Folders, request: RunRequest, *, progress: Progress, say: Say) -> RunResult:
    """The main job: export what is missing, measure, save a record of each file, write the report."""
    from swapbench import experiment

    device = catalog.device(folders, request.device)
    runtimes = catalog.runtimes(request.runtimes)
    only_files = bool(request.files) and not request.models
    carded, failures = ((), []) if only_files else _carded(folders, request.models)
    forced_card = catalog.model(folders, request.card).card if request.card else None
    files, wrong = _files(request, runtimes, forced_card)
    failures = [*failures, *wrong]
    found: Dataset | None = None
    if carded or (request.accuracy and any(one.card is not None for one in files)):
        found = dataset(folders, request.data, ("dev", "test"), progress=progress, say=say)
    candidates = list(files)
    if carded:
        built, failed = _build(folders, carded, request, cast("Dataset", found), progress)
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
    evaluation: Evaluation | None = None
    if found is not None and request.accuracy:
        evaluation = experiment.Evaluation(
            dataset=found,
            digest=found.digest(("dev", "test")),
            protocol="dev and test of the dataset folder",
            cache=folders.build,
            processes=os.cpu_count() or 1,
        )
    plan = request.plan.model_copy(
        update={"time_budget_s": request.budget_s or SECONDS_A_FILE * len(candidates)}
    )
    wanted = experiment.description(candidates, plan, device.name, evaluation)
    folder = _run_folder(folders, request, wanted, say)
    meters, why_not = _meters()
    outcome = experiment.run(
        candidates, device, meters or why_not, plan, evaluation, folder, progress=progress
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
        if written.no_figure:
            notes.append(f"No figure: {written.no_figure}")
    return RunResult(folder, outcome.records, (*failures, *outcome.failures), tuple(notes))


def write_report(
    folders: Folders, runs: Sequence[Path], out: Path | None, relative_to: str | None
) -> tuple[tuple[Record, ...], tuple[Path, ...]]:
    """Draw the report of one or several runs from their records; returns the records and the files written."""
    from swapbench.report.writer import write_report as write

    chosen = list(runs)
    if not chosen:
        newest = store.newest_run(folders.reports)
        if newest is None:
            raise BadRecord("there is no run in reports/ yet", remedy="Make one with: swapbench run")
        chosen = [newest]
    records = tuple(record for folder in chosen for record in store.load_run(folder))
    if not records:
        raise BadRecord(f"{chosen[0]} holds no records", remedy="Make some with: swapbench run")
    if out is None and len(chosen) > 1:
        raise UserError("a report of several runs needs a folder of its own", remedy="Give one with --out")
    return records, write(records, out or chosen[0], relative_to).all


def train(
    folders: Folders,
    name: str,
    data: Path | None,
    seed: int | None,
    out: Path | None,
    *,
    progress: Progress,
    say: Say,
) -> Path:
    """Train from a recipe; returns the card's file."""
    if importlib.util.find_spec("torch") is None:
        raise MissingPackage("torch", "training", "train")
    from swapbench.compress import train as training
    from swapbench.compress.recipe import read_recipe

    recipes = catalog.recipe_files(folders)
    path = Path(name) if name.endswith(".toml") else recipes.get(name)
    if path is None:
        raise UnknownName("recipe", name, recipes)
    recipe = read_recipe(path)
    found = dataset(folders, data, ("train", "dev"), progress=progress, say=say)
    target = out or folders.models
    training.train(
        recipe,
        found.root,
        target,
        seed=seed,
        command=shlex.join(
            ["swapbench", "train", name]
            + ([] if data is None else ["--data", str(data)])
            + ([] if seed is None else ["--seed", str(seed)])
        ),
        work=folders.build / "training",
        threads=os.cpu_count() or 1,
        progress=say,
    )
    return target / f"{recipe.stem}.toml"


def _need_workshop(purpose: str) -> None:
    for package in ("torch", "litert_torch", "ai_edge_quantizer", "onnxslim", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(package, purpose, "export")


def _carded(
    folders: Folders, names: Sequence[str]
) -> tuple[tuple[Carded, ...], list[tuple[str, SwapbenchError]]]:
    """The named models or all; a misspelt name is an error at once, a broken card fails alone."""
    known = catalog.card_files(folders)
    for name in names:
        if name not in known and not name.endswith(".toml"):
            raise UnknownName("model", name, known)
    good: list[Carded] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for name in names or known:
        try:
            good.append(catalog.model(folders, name))
        except SwapbenchError as error:
            failures.append((name, error))
    return tuple(good), failures


def _files(
    request: RunRequest, runtimes: Sequence[Runtime], forced_card: ModelCard | None
) -> tuple[list[Candidate], list[tuple[str, SwapbenchError]]]:
    """Files from anywhere; each that cannot be measured fails alone. The card: the one given, or the file's own."""
    from swapbench.experiment import Candidate
    from swapbench.graph import read_graph, single_static_input

    good: list[Candidate] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for path in request.files:
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


def _build(
    folders: Folders, carded: Sequence[Carded], request: RunRequest, found: Dataset, progress: Progress
) -> tuple[tuple[Built, ...], list[tuple[str, SwapbenchError]]]:
    """The wanted files of every card, from the cache or exported now. PyTorch is needed only where one is missing."""
    import numpy as np

    from swapbench import build
    from swapbench.pad.preprocess import prepare

    built: list[Built] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for one in carded:
        progress("reading images", 0, 1)
        dev = found.samples("dev")
        prepared = prepare(
            dev, one.card.preprocessing, folders.build / "crops", processes=os.cpu_count() or 1
        )
        progress("reading images", 1, 1)
        usable = [index for index in range(len(dev)) if index not in prepared.failures]
        crops = build.DevCrops(
            crops=np.asarray(prepared.crops()[usable]),
            bona_fide=np.array([dev[index].bona_fide for index in usable], dtype=np.bool_),
        )
        variants = catalog.variants(one.card, request.formats, request.precisions)
        cache = folders.build / "artifacts"
        if build.missing(one.card, variants, cache, crops.digest()):
            _need_workshop(f"exporting {one.card.name}")
        for result in build.build(one.card, one.path, variants, crops, cache, progress):
            if isinstance(result, build.Built):
                built.append(result)
            else:
                failures.append((result.variant.file_name, result.error))
    return tuple(built), failures


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
