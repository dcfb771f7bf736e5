"""Training: one recipe, one dataset, one seed -> one model card, its checkpoint and its curve.

The best network of the last phase is chosen on the development split and on nothing else; the test split is never opened.
Several GPUs can share a training (see processes); protocols of many trainings (seeds, arms) use them best by one each.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from swapbench import __version__
from swapbench.cards import read_card, write_card
from swapbench.files import write_atomically
from swapbench.ports import unheard, unseen
from swapbench.records import ModelCard, Training
from swapbench.workshop.distil.distillation import open_teachers, unlike_the_students_data
from swapbench.workshop.nets import build
from swapbench.workshop.nets.checkpoint import load_network, save_checkpoint
from swapbench.workshop.train.dev_scoring import dev_results
from swapbench.workshop.train.loop import Run, default_device, faster_in_bfloat16
from swapbench.workshop.train.processes import ALONE, Processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from swapbench.data.dataset import Dataset
    from swapbench.ports import Progress, Say
    from swapbench.workshop.distil.distillation import Teacher
    from swapbench.workshop.recipes.recipe import TrainRecipe

_PACKAGES = ("torch", "numpy", "pillow", "safetensors")


def train(
    recipe: TrainRecipe,
    dataset: Dataset,
    out: Path,
    *,
    seed: int | None = None,
    command: str | None = None,
    work: Path | None = None,
    threads: int = 1,
    device: torch.device | None = None,
    bfloat16: bool | None = None,
    initial: Mapping[str, Tensor] | None = None,
    before_s: float = 0.0,
    teachers: Mapping[str, Path] | None = None,
    missing: bool = False,
    processes: Processes = ALONE,
    say: Say = unheard,
    progress: Progress = unseen,
) -> ModelCard:
    """Train `recipe` on the train split of `dataset`; write <stem>.toml, <stem>.safetensors and <stem>.curve.csv into `out`.

    The dev split chooses the epoch, so both must be loaded. Frames without a face are left out and counted.

    command: the line that the card gives for repeating this; work: where decoded images, teachers' answers and the state for
    resuming lie (out/.training unless told); device: `default_device` unless told; bfloat16: None = as the recipe says, where
    the device is made for it; initial: weights to begin with, drawn from the seed unless given; before_s: what was
    spent on this network before, which the card's time holds too; teachers: name -> file of
    the card, in `out` unless told; missing: return the card that is there where this very training was finished before;
    processes: those that train it together, each of which calls this.
    say hears one line an epoch, progress every step. Returns the card, whose dev_results come from the stored checkpoint,
    read back and computed in float32 on the processor.

    Raises BadDataset, BadCard (also for a teacher that does not fit), UserError where the processes cannot share a batch, and
    NotValid when the loss is no longer a number (the last good state stays).
    """
    assert recipe.pruning is None, "compress.prune finds the widths first"
    seed = recipe.seed if seed is None else seed
    work = out / ".training" if work is None else work
    device = device or default_device()
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True

    def in_bfloat16(*, wanted: bool) -> bool:
        return wanted and faster_in_bfloat16(device) if bfloat16 is None else bfloat16

    distillation = recipe.distillation
    run = Run(
        recipe=recipe,
        seed=seed,
        dataset=dataset,
        digest=dataset.digest(),
        work=work,
        threads=threads,
        device=device,
        bfloat16=in_bfloat16(wanted=recipe.bfloat16),
        teachers=open_teachers(
            recipe,
            _teacher_paths(recipe, out, teachers),
            device,
            bfloat16=in_bfloat16(wanted=distillation is not None and distillation.bfloat16),
        ),
        say=say,
        progress=progress,
        initial=initial,
        processes=processes,
    )
    summary = recipe.summary + "".join(_distilled_from(run, teacher) for teacher in run.teachers)
    path = out / f"{recipe.stem}.safetensors"
    if missing and (there := run.finished(path)) is not None:
        say(f"{path.with_suffix('.toml')} is there: the same recipe, data and seed were trained before")
        return there
    torch.manual_seed(seed)
    best = run.fit(build(recipe.family, recipe.architecture))
    if not processes.leads:
        processes.together()
        return read_card(path.with_suffix(".toml"))
    card = ModelCard(
        name=recipe.name,
        recipe=recipe.recipe,
        summary=summary,
        family=recipe.family,
        architecture=recipe.architecture,
        checkpoint=path.name,
        checkpoint_sha256=save_checkpoint(best, path),
        preprocessing=recipe.preprocessing,
        output=recipe.output,
        source="trained here",
        training=Training(
            command=command
            or f"swapbench train {recipe.stem}" + (f" --seed {seed}" if seed != recipe.seed else ""),
            seed=seed,
            data=" ".join(
                filter(None, (dataset.protocol or dataset.name, dataset.fold and f"fold {dataset.fold}"))
            ),
            data_digest=run.digest,
            simulated_data=dataset.simulated,
            commit=_commit(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(before_s + run.seconds + run.asking_s, 1),
            machine=_machine(run),
            packages={"swapbench": __version__, **{name: version(name) for name in _PACKAGES}},
        ),
    )
    stored = load_network(card, path.with_suffix(".toml"))
    found = run.scores(stored, "dev", recipe.preprocessing, bfloat16=False)
    results = {**dev_results(dataset.samples("dev"), found), "epoch": float(run.best_epoch + 1)}
    assert card.training is not None
    card = card.replace(training=card.training.replace(dev_results=results))
    write_atomically(path.with_suffix(".curve.csv"), curve_csv(run.curve))
    write_card(card, path.with_suffix(".toml"))
    write_atomically(run.finished_path, json.dumps({"checkpoint_sha256": card.checkpoint_sha256}) + "\n")
    run.state_path.unlink(missing_ok=True)
    processes.together()
    return card


def curve_csv(curve: Sequence[Mapping[str, float]]) -> str:
    """A row an epoch; a column is empty where an epoch has no such number."""
    columns = list(dict.fromkeys(name for row in curve for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(curve)
    return text.getvalue()


def _teacher_paths(recipe: TrainRecipe, out: Path, known: Mapping[str, Path] | None) -> dict[str, Path]:
    names = recipe.distillation.teachers if recipe.distillation is not None else ()
    return {name: (known or {}).get(name, out / f"{name}.toml") for name in names}


def _distilled_from(run: Run, teacher: Teacher) -> str:
    """What the card says about a teacher; it is said aloud too where its data are not the student's."""
    told = f"; distilled from {teacher.stem} ({teacher.card.checkpoint_sha256[:8]})"
    unlike = unlike_the_students_data(teacher.card, run.dataset, run.digest)
    if unlike:
        run.say(f"the teacher {teacher.stem} was trained on {unlike}: the card says so")
        return f"{told}, which was trained on {unlike}"
    return told


def _machine(run: Run) -> str:
    where = f"{platform.machine()}, {run.threads} thread(s)"
    if run.processes.count > 1:
        where += f", {run.processes.count} processes"
    if run.device.type == "cuda":
        where += f", {torch.cuda.get_device_name(run.device)}"
    return f"{where}, {'bfloat16' if run.bfloat16 else 'float32'}"


def _commit() -> str:
    """The commit of this source tree, with +changed where its code or recipes differ; empty where it is in no repository."""
    package = Path(__file__).parents[2]
    where = ["git", "--no-optional-locks", "-C", str(package)]
    # what a training writes beside its recipes is no change
    sources = [str(package), str(package.parent / "models" / "recipes")]

    def said(*asked: str) -> str:
        done = subprocess.run([*where, *asked], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        said("ls-files", "--error-unmatch", __file__)  # an installed package may lie in somebody else's
        changes = said("status", "--porcelain", "--", *sources)
        return said("rev-parse", "HEAD") + ("+changed" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return ""
