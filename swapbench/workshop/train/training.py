"""Training: one recipe, one dataset, one seed -> one model card, its checkpoint and its curve.

The best network of the last phase is chosen on the development split and on nothing else; the test split is
never opened. Several GPUs can share a training (see `processes`); a protocol of many trainings (seeds, arms)
uses them best with one training each.
"""

from __future__ import annotations

import csv
import io
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from swapbench import __version__, repository
from swapbench.cards import read_card, write_card
from swapbench.files import write_atomically
from swapbench.records import ModelCard, Reads, Training
from swapbench.workshop.distil.distillation import open_teachers, training_data_difference
from swapbench.workshop.nets import build
from swapbench.workshop.nets.checkpoint import load_network, save_checkpoint
from swapbench.workshop.nets.early_exit import shapes_between
from swapbench.workshop.train.dev_scoring import dev_results
from swapbench.workshop.train.loop import TrainingRun
from swapbench.workshop.train.setup import Start, TrainingSetup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.data.dataset import Dataset
    from swapbench.workshop.distil.distillation import Teacher
    from swapbench.workshop.nets.early_exit import EarlyExitNet
    from swapbench.workshop.recipes.recipe import TrainRecipe

_PACKAGES = ("torch", "numpy", "pillow", "safetensors")


def train(
    recipe: TrainRecipe,
    dataset: Dataset,
    out: Path,
    setup: TrainingSetup | None = None,
    start: Start | None = None,
) -> ModelCard:
    """Train a recipe and write <stem>.toml, <stem>.safetensors and <stem>.curve.csv.

    A network with early exits gets a card for each of its parts as well, <stem>_1.toml and so on, whose
    checkpoint is the same.

    Frames without a face are left out and counted.

    Args:
        recipe: Without pruning: `prune` finds the widths first.
        dataset: With its splits train and dev; dev chooses the epoch.
        out: Folder for the three files.
        setup: Seed, hardware, teachers and listeners; None takes the defaults.
        start: Weights to begin with, and what was spent on the network before; None draws the weights.

    Returns:
        The card. Its `dev_results` come from the stored checkpoint, read back and evaluated in float32 on the
        CPU.

    Raises:
        BadDataset: Frames cannot be read, or a class or a domain that the recipe needs is missing.
        BadCard: The recipe does not fit its network, or a teacher does not fit the recipe.
        UserError: The processes cannot share a batch evenly.
        NotValid: The loss is not finite any more; the last good state stays on disk.
    """
    assert recipe.pruning is None, "prune finds the widths first"
    setup, start = setup or TrainingSetup(), start or Start()
    execution = setup.execution(recipe, out)
    say, processes = execution.say, execution.processes
    torch.set_num_threads(execution.threads)
    torch.backends.cudnn.deterministic = True
    teachers = open_teachers(
        recipe,
        _teacher_paths(recipe, out, setup.teachers),
        execution.device,
        bfloat16=setup.in_bfloat16(
            execution.device, wanted=recipe.distillation is not None and recipe.distillation.bfloat16
        ),
    )
    run = TrainingRun(
        recipe=recipe,
        dataset=dataset,
        digest=dataset.digest(),
        execution=execution,
        bfloat16=setup.in_bfloat16(execution.device, wanted=recipe.bfloat16),
        teachers=teachers,
        start=start,
    )
    summary = recipe.summary + "".join(_distilled_from(run, teacher) for teacher in teachers)
    checkpoint = out / f"{recipe.stem}.safetensors"
    card_path = checkpoint.with_suffix(".toml")
    if setup.missing and (finished := run.finished(checkpoint)) is not None:
        say(f"{card_path} exists already: the same recipe, data and seed were trained before")
        return finished
    torch.manual_seed(execution.seed)
    family, architecture = recipe.network
    fitted = run.fit(build(family, architecture))
    if not processes.leads:
        processes.together()
        return read_card(card_path)
    card = ModelCard(
        name=recipe.name,
        recipe=recipe.recipe,
        summary=summary,
        family=family,
        architecture=architecture,
        checkpoint=checkpoint.name,
        checkpoint_sha256=save_checkpoint(fitted.network, checkpoint),
        preprocessing=recipe.preprocessing,
        output=recipe.output,
        source="trained here",
        training=Training(
            command=setup.command or _shortest_command(run),
            seed=execution.seed,
            data=_data_name(dataset),
            data_digest=run.digest,
            simulated_data=dataset.simulated,
            commit=_commit(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(start.before_s + fitted.seconds, 1),
            machine=_machine(run),
            packages={"swapbench": __version__, **{name: version(name) for name in _PACKAGES}},
        ),
    )
    stored = load_network(card, card_path)
    scores = run.scores(stored, "dev", recipe.preprocessing, bfloat16=False)
    bona_fide = [sample.bona_fide for sample in dataset.samples("dev")]
    results = {**dev_results(bona_fide, scores), "epoch": float(fitted.state.best_epoch + 1)}
    assert card.training is not None
    card = card.replace(training=card.training.replace(dev_results=results))
    write_atomically(checkpoint.with_suffix(".curve.csv"), curve_csv(fitted.state.curve))
    for part in parts_of(card):
        write_card(part, out / f"{part.stem}.toml")
    write_card(card, card_path)
    write_atomically(run.finished_path, json.dumps({"checkpoint_sha256": card.checkpoint_sha256}) + "\n")
    run.state_path.unlink(missing_ok=True)
    processes.together()
    return card


def parts_of(card: ModelCard) -> tuple[ModelCard, ...]:
    """The cards of the parts of a network with early exits, each of which reads the one before it."""
    if card.family != "early_exit":
        return ()
    whole = cast("EarlyExitNet", build(card.family, card.architecture))
    size = card.preprocessing
    shapes = (None, *shapes_between(whole, size.height_px, size.width_px))
    parts: list[ModelCard] = []
    for number, takes in enumerate(shapes, 1):
        cut = {"part": number} if takes is None else {"part": number, "takes": list(takes)}
        architecture = {**card.architecture, **cut}
        kept = build(card.family, architecture).state_dict()
        others = (key.split(".")[:2] for key in whole.state_dict() if key not in kept)
        parts.append(
            card.replace(
                recipe=f"{card.recipe or 'early_exit'}_{number}",
                summary=f"{card.summary}, part {number} of {len(shapes)}",
                architecture=architecture,
                drop_keys=tuple(dict.fromkeys(f"{'.'.join(names)}.*" for names in others)),
                reads=None if not parts else Reads(card=parts[-1].stem),
            )
        )
    return tuple(parts)


def _shortest_command(run: TrainingRun) -> str:
    seed = run.execution.seed
    return f"swapbench train {run.recipe.stem}" + (f" --seed {seed}" if seed != run.recipe.seed else "")


def _data_name(dataset: Dataset) -> str:
    fold = f"fold {dataset.fold}" if dataset.fold else ""
    return " ".join(filter(None, (dataset.protocol or dataset.name, fold)))


def curve_csv(curve: Sequence[Mapping[str, float]]) -> str:
    """The curve as CSV, a row an epoch; a cell is empty where an epoch has no such number."""
    columns = list(dict.fromkeys(name for row in curve for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(curve)
    return text.getvalue()


def _teacher_paths(recipe: TrainRecipe, out: Path, cards: Mapping[str, Path]) -> dict[str, Path]:
    names = recipe.distillation.teachers if recipe.distillation is not None else ()
    return {name: cards.get(name, out / f"{name}.toml") for name in names}


def _distilled_from(run: TrainingRun, teacher: Teacher) -> str:
    """What the card says about a teacher; announced too where its training data differ from the student's."""
    origin = f"; distilled from {teacher.stem} ({teacher.card.checkpoint_sha256[:8]})"
    difference = training_data_difference(teacher.card, run.dataset, run.digest)
    if difference:
        run.execution.say(f"the teacher {teacher.stem} was trained on {difference}; the card records it")
        return f"{origin}, which was trained on {difference}"
    return origin


def _machine(run: TrainingRun) -> str:
    execution = run.execution
    where = f"{platform.machine()}, {execution.threads} thread(s)"
    if execution.processes.count > 1:
        where += f", {execution.processes.count} processes"
    if execution.device.type == "cuda":
        where += f", {torch.cuda.get_device_name(execution.device)}"
    return f"{where}, {'bfloat16' if run.bfloat16 else 'float32'}"


def _commit() -> str:
    """The commit of this source tree, +changed where code or recipes differ; "" outside a repository."""
    package = Path(__file__).parents[2]
    # what a training writes beside its recipes is no change
    sources = [str(package), str(package.parent / "models" / "recipes")]
    # an installed package may lie in another repository
    if repository.git(package, "ls-files", "--error-unmatch", __file__) is None:
        return ""
    head, changes = (
        repository.git(package, *command)
        for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", *sources))
    )
    return "" if head is None or changes is None else head.strip() + ("+changed" if changes.strip() else "")
