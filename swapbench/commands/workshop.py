"""Making networks and the files that ship: train and export. The only commands that need PyTorch."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, cast

from swapbench import catalog, units
from swapbench.commands.data import DataRequest, folds
from swapbench.errors import MissingPackage, SwapbenchError, UnknownName, UserError
from swapbench.files import write_atomically
from swapbench.ports import unheard, unseen
from swapbench.records import FORMATS, PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.catalog import Carded, Folders
    from swapbench.data.dataset import Dataset
    from swapbench.data.samples import Sample
    from swapbench.ports import Progress, Say
    from swapbench.records import Format, Precision
    from swapbench.workshop.artifacts import Built
    from swapbench.workshop.recipes.recipe import TrainRecipe


DEV_FRAMES = 512
"""Frames of the development split that calibration and parity choose from: more than they take, far fewer than a video set has."""


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
    wanted = checked_variants(formats, precisions)
    carded, failures = carded_models(folders, names)
    found = folds(folders, DataRequest(data), ("dev",), progress=progress, say=say)[0]
    built, failed = build_files(folders, carded, *wanted, found, progress)
    if out is not None:
        for one in built:
            write_atomically(out / one.variant.file_name, one.path.read_bytes())
    return built, (*failures, *failed)


def checked_variants(
    formats: Sequence[str], precisions: Sequence[str]
) -> tuple[tuple[Format, ...], tuple[Precision, ...]]:
    """Formats and precisions as they were typed. Raises UnknownName with the nearest name."""
    return (
        cast("tuple[Format, ...]", catalog.checked_names("format", catalog.split_commas(formats), FORMATS)),
        cast(
            "tuple[Precision, ...]",
            catalog.checked_names("precision", catalog.split_commas(precisions), PRECISIONS),
        ),
    )


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


def train(
    folders: Folders,
    name: str,
    request: DataRequest,
    seed: int | None,
    out: Path | None,
    *,
    method: str | None = None,
    macs: str | None = None,
    latency_table: Path | None = None,
    latency_ms: float | None = None,
    channel_multiple: int | None = None,
    teachers: Sequence[str] = (),
    schedule: str | None = None,
    threads: int | None = None,
    missing: bool = False,
    progress: Progress,
    say: Say,
) -> Path:
    """Train from a network's recipe, with a method's laid over it, on one fold of a protocol; returns the card's file.

    channel_multiple: of what the widths that pruning finds are multiples, as the method says unless told; teachers: cards to
    learn from instead of those that the recipe names; schedule: how much is spent, the recipe's own unless told; threads: of
    the processor, all of them unless told; missing: do nothing where the same recipe, data and seed were trained to the card
    that is there. Started by torchrun, its processes train together (compress.processes).
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingPackage("torch", "training", "train")
    from swapbench.workshop.prune.pruning import prune, require_feasible
    from swapbench.workshop.recipes.recipe import read_recipe
    from swapbench.workshop.recipes.schedule import read_schedule
    from swapbench.workshop.train.processes import joined
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train as train_network

    recipe = read_recipe(
        named_file("recipe", name, catalog.recipe_files(folders)),
        None if method is None else named_file("method", method, _laid_over(folders, "methods")),
    )
    if schedule is not None:
        path = named_file("schedule", schedule, _laid_over(folders, "schedules"))
        recipe = read_schedule(path).over(recipe)
    if macs is not None:
        recipe = _within(recipe, macs)
    if latency_table is not None or latency_ms is not None:
        recipe = _within_latency(recipe, macs, latency_table, latency_ms)
    if channel_multiple is not None:
        recipe = _pruned(recipe, "--channel-multiple", channel_multiple=channel_multiple)
    if teachers:
        recipe = _taught_by(recipe, teachers)
    target = out or folders.models
    teacher_files = _teacher_files(recipe, folders, target)
    if recipe.pruning is not None:
        require_feasible(recipe)
    if request.faces is not None:
        where = recipe.preprocessing.replace(face_box=request.faces)
        recipe = recipe.replace(preprocessing=where)
    said = {
        "--recipe": method,
        "--macs": macs,
        "--channel-multiple": None if channel_multiple is None else str(channel_multiple),
        "--schedule": schedule,
        "--seed": None if seed is None else str(seed),
    }
    options = [text for option, value in said.items() if value is not None for text in (option, value)]
    if latency_table is not None:
        options += ["--latency-table", str(latency_table), "--latency-ms", f"{latency_ms:g}"]
    options += [text for teacher in teachers for text in ("--teacher", teacher)]
    command = shlex.join(["swapbench", "train", name, *request.options(), *options])
    make = train_network if recipe.pruning is None else prune
    with joined() as processes:
        if not processes.leads:
            progress, say = unseen, unheard
        elif processes.count > 1:
            command = f"torchrun --nproc-per-node {processes.count} --local-ranks-filter 0 -m {command}"
        with processes.first():
            found = folds(folders, request, ("train", "dev"), progress=progress, say=say)
        if len(found) > 1:
            raise UserError(
                f"{found[0].protocol} has {len(found)} folds, each with a network of its own",
                remedy=f"Train them one by one, the first with: --protocol {request.protocol}_{found[0].fold}",
            )
        setup = TrainingSetup(
            seed=seed,
            command=command,
            work=folders.build / "training",
            threads=threads or max((os.cpu_count() or 1) // processes.count, 1),
            teachers=teacher_files,
            missing=missing,
            processes=processes,
            say=say,
            progress=progress,
        )
        card = make(recipe, found[0], target, setup)
    return target / f"{card.name}{f'.{card.recipe}' if card.recipe else ''}.toml"


def _laid_over(folders: Folders, kind: str) -> dict[str, Path]:
    """Name -> file of the methods or schedules, built-in and the user's own, which win: what is laid over a network's recipe."""
    places = (catalog.builtin_folder("models"), folders.models)
    return {path.stem: path for place in places for path in sorted((place / "recipes" / kind).glob("*.toml"))}


def named_file(kind: str, name: str, known: Mapping[str, Path]) -> Path:
    """A TOML file by its path, or by its name among those that are known. Raises UnknownName."""
    path = Path(name) if name.endswith(".toml") else known.get(name)
    if path is None:
        raise UnknownName(kind, name, known)
    return path


def _within(recipe: TrainRecipe, macs: str) -> TrainRecipe:
    """The recipe with another budget, written as 40M, 2.5G or 40000000."""
    read = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG]?)", macs)
    most = round(float(read[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[read[2]]) if read else 0
    if most < 1:
        raise UserError(f"--macs {macs!r} is no number of multiply-accumulates", remedy="Write it as in 40M.")
    return _budgeted(recipe, "--macs", macs=most)


def _within_latency(
    recipe: TrainRecipe, macs: str | None, table: Path | None, latency_ms: float | None
) -> TrainRecipe:
    """The recipe with a budget in milliseconds by a measured table."""
    if macs is not None:
        raise UserError("--macs and --latency-ms exclude each other", remedy="A search has one budget.")
    if table is None or not latency_ms:
        raise UserError(
            "--latency-table and --latency-ms go together, and the time is above 0",
            remedy="For example: --latency-table FILE --latency-ms 2.5; measure the table with: swapbench latency-table",
        )
    return _budgeted(recipe, "--latency-ms", latency_ms=latency_ms, latency_table=str(table))


def _budgeted(recipe: TrainRecipe, option: str, **budget: float | str) -> TrainRecipe:
    """The recipe with this budget in place of its own."""
    none = {"macs": None, "latency_ms": None, "latency_table": None}
    return _pruned(recipe, option, **{**none, **budget})


def _pruned(recipe: TrainRecipe, option: str, **changes: float | str | None) -> TrainRecipe:
    """The recipe with changes, which an option asks for, to the way it prunes."""
    if recipe.pruning is None:
        raise UserError(
            f"recipe {recipe.stem} prunes nothing, so {option} says nothing to it",
            remedy="Add a method, as in --recipe uniform.",
        )
    return recipe.replace(pruning=recipe.pruning.replace(**changes))


def _taught_by(recipe: TrainRecipe, teachers: Sequence[str]) -> TrainRecipe:
    """The recipe with these teachers; one that it names keeps its share, another has 1."""
    if recipe.distillation is None:
        raise UserError(
            f"recipe {recipe.stem} learns from no teacher, so --teacher says nothing to it",
            remedy="Add a method, as in --recipe distill.",
        )
    shares = {name: recipe.distillation.teachers.get(name, 1.0) for name in teachers}
    return recipe.replace(distillation=recipe.distillation.replace(teachers=shares))


def _teacher_files(recipe: TrainRecipe, folders: Folders, target: Path) -> dict[str, Path]:
    """Name -> card of every teacher: a file that was named, else in the folder of the student, else a known model."""
    if recipe.distillation is None or not recipe.distillation.on:
        return {}
    known = {**catalog.card_files(folders), **{path.stem: path for path in sorted(target.glob("*.toml"))}}
    return {name: named_file("teacher", name, known) for name in recipe.distillation.teachers}


def need_workshop(purpose: str) -> None:
    """MissingPackage where what makes files is not installed."""
    for package in ("torch", "litert_torch", "ai_edge_quantizer", "onnxslim", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(package, purpose, "export")


def carded_models(
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


def build_files(
    folders: Folders,
    carded: Sequence[Carded],
    formats: Sequence[Format],
    precisions: Sequence[Precision],
    found: Dataset,
    progress: Progress,
) -> tuple[tuple[Built, ...], list[tuple[str, SwapbenchError]]]:
    """The wanted files of every card, from the cache or exported now. PyTorch is needed only where one is missing."""
    import numpy as np

    from swapbench.data.preprocess import prepare
    from swapbench.workshop import artifacts as build

    built: list[Built] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for one in carded:
        dev = _spread(found.samples("dev"), DEV_FRAMES)
        progress("reading images", 0, 1)
        prepared = prepare(
            dev, one.card.preprocessing, folders.build / "crops", processes=os.cpu_count() or 1
        )
        progress("reading images", 1, 1)
        usable = [index for index in range(len(dev)) if index not in prepared.failures]
        crops = build.DevCrops(
            crops=np.asarray(prepared.crops()[usable]),
            bona_fide=np.array([dev[index].bona_fide for index in usable], dtype=np.bool_),
        )
        variants = catalog.variants(one.card, formats, precisions)
        cache = folders.build / "artifacts"
        if build.missing(one.card, variants, cache, crops.digest()):
            need_workshop(f"exporting {one.card.name}")
        for result in build.build(one.card, one.path, variants, crops, cache, progress):
            if isinstance(result, build.Built):
                built.append(result)
            else:
                failures.append((result.variant.file_name, result.error))
    return tuple(built), failures


def _spread(samples: Sequence[Sample], most: int) -> tuple[Sample, ...]:
    """At most so many samples, half of each class, spread evenly over the split and in its order."""
    chosen: set[int] = set()
    for bona_fide in (True, False):
        places = [place for place, one in enumerate(samples) if one.bona_fide is bona_fide]
        count = min(len(places), most // 2)
        chosen.update(places[number * len(places) // count] for number in range(count))
    return tuple(samples[place] for place in sorted(chosen))
