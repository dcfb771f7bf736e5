"""Training a network from its recipe: distilled or pruned where a method says so."""

from __future__ import annotations

import re
import shlex
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swapbench import catalog, doctor
from swapbench.commands.data import folds
from swapbench.commands.face_cache import face_cache
from swapbench.commands.options import DataOptions, command_line
from swapbench.cores import usable_cores
from swapbench.errors import UserError
from swapbench.files import lock_of, only_one, private_folder
from swapbench.ports import unheard, unseen
from swapbench.study.batches import Batches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.ports import Progress, Say
    from swapbench.study.executor import Executor
    from swapbench.workshop.recipes.recipe import TrainRecipe


@dataclass(frozen=True)
class TrainRequest:
    """What makes a network. Its card keeps the command that says so: every field is in it.

    Attributes:
        network: Recipe of the network, a name or a file.
        recipe: Method applied on top of the network's recipe, a name or a file.
        macs: Pruning budget, written as 40M, 2.5G or 40000000.
        channel_multiple: The widths that pruning finds are multiples of it; None as the method says.
        schedule: How much training to spend, a name or a file; None as the recipe says.
        seed: None as the recipe says.
        latency_table: Measured times of layers, for a pruning budget of `latency_ms`.
        teacher: Cards to learn from, names or files, instead of those that the recipe names.
    """

    network: str
    data: DataOptions = field(default_factory=DataOptions)
    recipe: str | None = None
    macs: str | None = None
    channel_multiple: int | None = None
    schedule: str | None = None
    seed: int | None = None
    latency_table: Path | None = None
    latency_ms: float | None = None
    teacher: tuple[str, ...] = ()

    def command(self) -> str:
        """What a person types to train the same network again."""
        return shlex.join(["swapbench", "train", *command_line(self)])


def train(
    folders: Folders,
    request: TrainRequest,
    out: Path | None = None,
    *,
    threads: int | None = None,
    missing: bool = False,
    judges: AbstractContextManager[Executor] | None = None,
    progress: Progress,
    say: Say,
) -> Path:
    """Train a network on one fold of a protocol. Started by torchrun, its processes train together.

    The card and the checkpoint are written to `out` (models/), on `threads` of the processor (all of them).
    With `missing`, nothing is done if the same recipe, data and seed were trained to the card that is there.
    The structures of a search are judged by `judges` (threads of this process), which changes no result.

    Returns:
        The file of the card.

    Raises:
        MissingPackage: PyTorch is not installed.
        UnknownName: A recipe, method, schedule or teacher is not known.
        UserError: The options contradict each other or the recipe, the protocol has several folds, or another
            process trains the same network to `out`.
        EnvironmentFailed: The fleet cannot be reached, or offers no cores.
    """
    doctor.require("train", "training")
    from swapbench.workshop.prune.pruning import prune, require_feasible
    from swapbench.workshop.train.processes import joined
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train as train_network

    recipe = read_recipe(folders, request)
    target = out or folders.models
    teachers = teacher_cards(recipe, folders, target)
    if recipe.pruning is not None:
        require_feasible(recipe)
    if judges is not None and (recipe.pruning is None or recipe.pruning.method != "metapruning"):
        raise UserError(
            f"{recipe.stem} is neither a study nor a search, so --jobs and --fleet have no place",
            remedy="Leave them out, or search with --recipe metapruning",
        )
    command = request.command()

    def refusal(owner: str) -> UserError:
        return UserError(
            f"{recipe.stem} is being trained to {target} by another process{owner}",
            remedy="Wait until it ends, or name another folder with --out",
        )

    with joined() as processes:
        if not processes.leads:
            progress, say = unseen, unheard
        elif processes.count > 1:
            command = f"torchrun --nproc-per-node {processes.count} --local-ranks-filter 0 -m {command}"
        with processes.first():
            data = folds(folders, request.data, ("train", "dev"), progress=progress, say=say)
        if len(data) > 1:
            first = f"{request.data.protocol}_{data[0].fold}"
            raise UserError(
                f"{data[0].protocol} has {len(data)} folds, each with a network of its own",
                remedy=f"Train one at a time, the first with: --protocol {first}",
            )
        setup = TrainingSetup(
            seed=request.seed,
            command=command,
            work=private_folder(folders.build / "training"),
            threads=threads or max(usable_cores() // processes.count, 1),
            teachers=teachers,
            missing=missing,
            processes=processes,
            say=say,
            progress=progress,
        )
        with (
            only_one(lock_of(target, recipe.stem), refusal) if processes.leads else nullcontext(),
            face_cache(folders, say),
            judges if judges is not None and processes.leads else nullcontext() as elsewhere,
        ):
            if recipe.pruning is None:
                card = train_network(recipe, data[0], target, setup)
            else:
                card = prune(recipe, data[0], target, setup, Batches(elsewhere) if elsewhere else None)
    return target / f"{card.name}{f'.{card.recipe}' if card.recipe else ''}.toml"


def judge(fitness: Path, batch: Path, answer: Path, progress: Progress) -> None:
    """Judge a batch of structures of a search by the fitness in a file.

    Raises:
        MissingPackage: PyTorch is not installed.
        NotValid: A file is not what it must be.
        EnvironmentFailed: This computer computes otherwise than the one that searches.
    """
    doctor.require("train", "judging structures")
    from swapbench.workshop.prune import judging

    judging.judge(fitness, batch, answer, progress)


def read_recipe(folders: Folders, request: TrainRequest) -> TrainRecipe:
    """The network's recipe with everything that was asked for laid over it.

    Raises:
        UnknownName: A recipe, method or schedule is not known.
        UserError: An option contradicts another, or says nothing to the recipe.
    """
    from swapbench.workshop.recipes import recipe as recipes
    from swapbench.workshop.recipes.schedule import read_schedule

    path = catalog.named_file("recipe", request.network, catalog.recipe_files(folders))
    method = None
    if request.recipe is not None:
        method = catalog.named_file("method", request.recipe, catalog.recipe_files(folders, "methods"))
    recipe = recipes.read_recipe(path, method)
    if request.schedule is not None:
        schedules = catalog.recipe_files(folders, "schedules")
        recipe = read_schedule(catalog.named_file("schedule", request.schedule, schedules)).over(recipe)
    if request.macs is not None:
        recipe = with_budget(recipe, "--macs", macs=read_macs(request.macs))
    if request.latency_table is not None or request.latency_ms is not None:
        if request.macs is not None:
            raise UserError("--macs and --latency-ms cannot be combined", remedy="Give one budget.")
        if request.latency_table is None or not request.latency_ms:
            raise UserError(
                "--latency-table and --latency-ms go together, and the time is above 0",
                remedy="For example: --latency-table FILE --latency-ms 2.5; "
                "measure the table with: swapbench latency-table",
            )
        table = str(request.latency_table)
        recipe = with_budget(recipe, "--latency-ms", latency_ms=request.latency_ms, latency_table=table)
    if request.channel_multiple is not None:
        recipe = _pruned(recipe, "--channel-multiple", channel_multiple=request.channel_multiple)
    if request.teacher:
        recipe = taught_by(recipe, request.teacher)
    if request.data.faces is not None:
        recipe = recipe.replace(preprocessing=recipe.preprocessing.replace(face_box=request.data.faces))
    return recipe


def read_macs(text: str) -> int:
    """Multiply-accumulates that are written as 40M, 2.5G or 40000000.

    Raises:
        UserError: It is not such a number, or below 1.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG]?)", text)
    macs = round(float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]]) if match else 0
    if macs < 1:
        raise UserError(
            f"--macs {text!r} is not a number of multiply-accumulates", remedy="Write it as in 40M."
        )
    return macs


def with_budget(recipe: TrainRecipe, option: str, **budget: float | str) -> TrainRecipe:
    """The recipe with this budget in place of its own."""
    return _pruned(recipe, option, **{"macs": None, "latency_ms": None, "latency_table": None, **budget})


def _pruned(recipe: TrainRecipe, option: str, **changes: float | str | None) -> TrainRecipe:
    """The recipe with changes, which an option asks for, to the way it prunes."""
    if recipe.pruning is None:
        raise UserError(
            f"recipe {recipe.stem} does not prune, so {option} has no effect",
            remedy="Add a method, as in --recipe uniform.",
        )
    return recipe.replace(pruning=recipe.pruning.replace(**changes))


def taught_by(recipe: TrainRecipe, teachers: Sequence[str]) -> TrainRecipe:
    """The recipe with these teachers; one that it names keeps its share, another has 1."""
    if recipe.distillation is None:
        raise UserError(
            f"recipe {recipe.stem} learns from no teacher, so --teacher has no effect",
            remedy="Add a method, as in --recipe distill.",
        )
    shares = {name: recipe.distillation.teachers.get(name, 1.0) for name in teachers}
    return recipe.replace(distillation=recipe.distillation.replace(teachers=shares))


def teacher_cards(recipe: TrainRecipe, folders: Folders, target: Path) -> dict[str, Path]:
    """Name -> card of every teacher: a named file, else one beside the student, else a known model."""
    if recipe.distillation is None or not recipe.distillation.on:
        return {}
    cards = {**catalog.card_files(folders), **{path.stem: path for path in sorted(target.glob("*.toml"))}}
    return {name: catalog.named_file("teacher", name, cards) for name in recipe.distillation.teachers}
