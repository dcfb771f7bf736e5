"""Pruning: find the widths of a network within a budget, then train the network of these widths.

    uniform       every width times one factor
    magnitude     the least important channels of a trained network are cut; the others may keep their weights
    metapruning   a PruningNet, an evolutionary search over what it generates, training from scratch; with a discrepancy
                  between source domains in the PruningNet's training, in the fitness or in both it is Meta-MMD, in our
                  reading: of the thesis that names it (Zhang, NTU 2022, hdl 10356/158548) only the abstract is public

A GPU trains where there is one; candidates are judged on the processor, side by side, by the development split; the test
split is never opened. What takes long (PruningNet, search, training) is on disk as it goes; the PruningNet is kept, because
it serves every budget and every fitness.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from swapbench import units
from swapbench.cards import read_card
from swapbench.errors import BadCard, UserError
from swapbench.files import file_sha256, write_atomically
from swapbench.ports import unheard, unseen
from swapbench.workshop.nets.checkpoint import load_network, read_tensors, save_checkpoint
from swapbench.workshop.prune.fitness import Fitness
from swapbench.workshop.prune.latency_table import Latency, read_latency_table
from swapbench.workshop.prune.magnitude import importance, inherited, kept_channels
from swapbench.workshop.prune.pruning_net import PruningNet, shape_of
from swapbench.workshop.prune.search import best, search
from swapbench.workshop.prune.widths import Budget, WidthSpace
from swapbench.workshop.recipes.pruning_recipe import Magnitude, MetaPruning, UniformWidth
from swapbench.workshop.recipes.recipe import TrainRecipe
from swapbench.workshop.train.loop import Run, default_device
from swapbench.workshop.train.mmd import require_domains
from swapbench.workshop.train.processes import ALONE, Processes
from swapbench.workshop.train.training import train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from swapbench.data.dataset import Dataset
    from swapbench.ports import Progress, Say
    from swapbench.records import ModelCard
    from swapbench.workshop.prune.search import Evaluated
    from swapbench.workshop.prune.widths import Channels
    from swapbench.workshop.recipes.pruning_recipe import Pruning


def prune(
    recipe: TrainRecipe,
    dataset: Dataset,
    out: Path,
    *,
    seed: int | None = None,
    command: str | None = None,
    work: Path | None = None,
    threads: int = 1,
    device: torch.device | None = None,
    teachers: Mapping[str, Path] | None = None,
    missing: bool = False,
    processes: Processes = ALONE,
    say: Say = unheard,
    progress: Progress = unseen,
) -> ModelCard:
    """Find widths as `recipe.pruning` says and train them; the arguments are those of train, which writes card and checkpoint.

    The card's name carries the budget (`mobilefacenet.metammd-40M`). A search leaves its history beside the card, as
    <stem>.search.csv. say hears lines, progress how far the search is.

    Raises UserError, before anything is computed, for a budget that no width meets; BadCard for a network that cannot be pruned
    or a base that does not fit; BadDataset; NotValid where numbers stop being numbers (the last good state stays).
    """
    assert recipe.pruning is not None, "a recipe without pruning is for train"
    require_feasible(recipe)
    seed = recipe.seed if seed is None else seed
    task = _Task(
        recipe=recipe,
        dataset=dataset,
        out=out,
        seed=seed,
        work=out / ".training" if work is None else work,
        threads=threads,
        device=device or default_device(),
        processes=processes,
        space=width_space(recipe, recipe.pruning),
        budget=_budget(recipe, recipe.pruning),
        say=say,
        progress=progress,
    )
    _check_domains(task)
    initial, before_s = None, 0.0
    match recipe.pruning:
        case UniformWidth():
            channels = task.space.uniform(task.budget)
        case Magnitude() as magnitude:
            channels, initial = _magnitude(task, magnitude)
        case MetaPruning() as metapruning:
            channels, before_s = _metapruning(task, metapruning)
    task.say(f"widths: {task.budget.said(task.budget.cost(channels))}, channels {list(channels)}")
    return train(
        with_widths(recipe, channels),
        dataset,
        out,
        seed=seed,
        command=command,
        work=task.work,
        threads=threads,
        device=task.device,
        initial=initial,
        before_s=before_s,
        teachers=teachers,
        missing=missing,
        processes=processes,
        say=say,
        progress=progress,
    )


def require_feasible(recipe: TrainRecipe) -> None:
    """Raise, before data are opened, for a budget that no width meets (UserError) or a network that cannot be pruned (BadCard)."""
    assert recipe.pruning is not None
    space, budget = width_space(recipe, recipe.pruning), _budget(recipe, recipe.pruning)
    space.within(budget)
    budget.cost(
        space.base
    )  # a table that ends below the widest layer is an error now and not in the middle of a search


def with_widths(recipe: TrainRecipe, channels: Channels) -> TrainRecipe:
    """The recipe that trains the network of this channel list: no pruning left in it, named after method and budget."""
    assert recipe.pruning is not None
    macs = shape_of(recipe.architecture).macs(channels)
    kept = isinstance(recipe.pruning, Magnitude) and recipe.pruning.inherit
    how = f"{recipe.pruning.method}, weights kept" if kept else recipe.pruning.method
    return _changed(
        recipe,
        recipe=label(recipe),
        summary=f"{recipe.summary}; widths by {how}{_multiples(recipe.pruning.channel_multiple)}, {units.count(macs)} MACs",
        architecture={**recipe.architecture, "channels": list(channels)},
        pruning=None,
    )


def label(recipe: TrainRecipe) -> str:
    """Method and budget as they stand in a file's name: metammd-40M, uniform-3_5ms, uniform-40M-x8 in multiples of 8 channels."""
    pruning = recipe.pruning
    assert pruning is not None
    method = recipe.recipe or pruning.method
    budget = f"{pruning.latency_ms:g}ms" if pruning.macs is None else f"{pruning.macs / 1e6:g}M"
    multiple = f"-x{pruning.channel_multiple}" if pruning.channel_multiple > 1 else ""
    return f"{method}-{budget}{multiple}".replace(".", "_")


def _multiples(channel_multiple: int) -> str:
    return f" in multiples of {channel_multiple} channels" if channel_multiple > 1 else ""


@dataclass(frozen=True)
class _Task:
    recipe: TrainRecipe
    dataset: Dataset
    out: Path
    seed: int
    work: Path
    threads: int
    device: torch.device
    processes: Processes
    space: WidthSpace
    budget: Budget
    say: Say
    progress: Progress


def width_space(recipe: TrainRecipe, pruning: Pruning) -> WidthSpace:
    """The widths that a method chooses from. Raises BadCard for a network that cannot be pruned."""
    channels = recipe.architecture.get("channels")
    if recipe.family != "minifasnet" or channels is None:
        raise BadCard(
            f"recipe {recipe.stem}: networks of the family {recipe.family} cannot be pruned",
            remedy="Only channel lists of the family minifasnet can.",
        )
    if recipe.architecture.get("squeeze"):
        raise BadCard(
            f"recipe {recipe.stem}: a network with squeeze-and-excitation cannot be pruned",
            remedy="Leave out squeeze in its architecture.",
        )
    steps = pruning.steps if isinstance(pruning, MetaPruning) else 2
    try:
        return WidthSpace.of(
            channels, steps=steps, smallest=pruning.smallest, multiple=pruning.channel_multiple
        )
    except ValueError as error:
        raise BadCard(f"recipe {recipe.stem}: {error}") from error


def _budget(recipe: TrainRecipe, pruning: Pruning) -> Budget:
    shape = shape_of(recipe.architecture)
    if pruning.latency_ms is not None and pruning.latency_table is not None:
        table = read_latency_table(Path(pruning.latency_table))
        if pruning.channel_multiple % table.channel_multiple:
            raise UserError(
                f"{pruning.latency_table} has times of widths in multiples of {table.channel_multiple} only, and others are slower",
                remedy=f"Prune with --channel-multiple {table.channel_multiple}, or measure a table of all widths.",
            )
        return Latency(table, shape).budget(pruning.latency_ms)
    if pruning.macs is None:
        raise UserError(f"recipe {recipe.stem} prunes to no budget", remedy="Give one, as in --macs 40M.")
    return Budget.of_macs(pruning.macs, shape)


def _check_domains(task: _Task) -> None:
    """Say now what would else be said after the search."""
    pruning = task.recipe.pruning
    meta = pruning if isinstance(pruning, MetaPruning) else None
    if task.recipe.mmd_weight > 0 or (meta is not None and meta.mmd_training > 0):
        require_domains(task.dataset, "train")
    if meta is not None and meta.mmd_search > 0:
        require_domains(task.dataset, "dev")


def _magnitude(task: _Task, pruning: Magnitude) -> tuple[Channels, dict[str, Tensor] | None]:
    base = pruning.base or task.recipe.name
    path = task.out / f"{base}.toml"
    if not path.is_file():
        raise UserError(
            f"magnitude pruning cuts a trained network, and {path} is not there",
            remedy=f"Train it first, on the same data and into the same folder: swapbench train {base}",
        )
    card = read_card(path)
    if (card.family, card.architecture) != (task.recipe.family, task.recipe.architecture):
        raise BadCard(
            f"{path} is another architecture than that of the recipe {task.recipe.stem}",
            remedy=f"Train it again: swapbench train {base}",
        )
    if card.training is None or card.training.data_digest != task.dataset.digest():
        raise BadCard(
            f"{path} was trained on other data than these",
            remedy="Train it again on the same fold: what it has seen must not decide here.",
        )
    weights = load_network(card, path).state_dict()
    kept = kept_channels(importance(weights, task.space, pruning.importance), task.space, task.budget)
    channels = task.space.with_widths([len(one) for one in kept])
    return channels, inherited(weights, task.space, kept) if pruning.inherit else None


def _metapruning(task: _Task, pruning: MetaPruning) -> tuple[Channels, float]:
    """The widths that the search finds, and the seconds that went into the PruningNet and the search."""
    digest = task.dataset.digest()
    network, network_path, trained = _pruning_net(task, pruning, digest)
    with task.processes.first():  # the others find a search on disk that is finished
        return _searched(task, pruning, digest, network, network_path, trained)


def _searched(
    task: _Task,
    pruning: MetaPruning,
    digest: str,
    network: PruningNet,
    network_path: Path,
    trained: _Trained,
) -> tuple[Channels, float]:
    fitness = Fitness.of(network, task.recipe, pruning, task.dataset, task.seed, task.work, task.threads)
    parts = [
        pruning.model_dump(mode="json"),
        task.recipe.mmd_over,
        digest,
        file_sha256(network_path),
        task.budget.most,
        task.budget.cost(task.space.base),
    ]
    fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    torch.set_num_threads(1)  # candidates are judged side by side
    found = search(
        task.space.within(task.budget),
        fitness,
        pruning.search,
        seed=task.seed,
        state=task.work / f"search-{fingerprint[:16]}.json",
        fingerprint=fingerprint,
        workers=task.threads,
        progress=lambda done, total: task.progress("searching widths", done, total),
    )
    took_s = sum(one.seconds for one in found) / task.threads  # so many were judged at once
    share = units.percent(took_s / len(found) / trained.epoch_s)
    task.say(
        f"a candidate took {took_s / len(found):.2f} s, {share} of an epoch of the PruningNet ({trained.epoch_s:.1f} s)"
    )
    stem = _changed(task.recipe, recipe=label(task.recipe)).stem
    write_atomically(task.out / f"{stem}.search.csv", history(found, task.space, task.budget.quantity))
    chosen = best(found)
    task.say(
        f"found in generation {chosen.generation + 1}: "
        + ", ".join(
            f"{name} {value:.4f}" for name, value in {"fitness": chosen.fitness, **chosen.parts}.items()
        )
    )
    return task.space.channels(chosen.genes), trained.seconds + took_s


class _Trained(NamedTuple):
    """What training took, also where it was done before."""

    seconds: float
    epochs: int

    @property
    def epoch_s(self) -> float:
        return self.seconds / self.epochs


def _pruning_net(task: _Task, pruning: MetaPruning, digest: str) -> tuple[PruningNet, Path, _Trained]:
    """The trained PruningNet, its file, and what its training took."""
    recipe, first = task.recipe, task.recipe.phases[0]
    size_px = recipe.preprocessing.width_px
    generator = pruning.model_dump(include={"steps", "smallest", "hidden", "channel_multiple"})
    run = Run(
        # nothing of budget, search or final training: one PruningNet serves them all
        recipe=_changed(
            recipe,
            name="pruning_net",
            recipe=None,
            summary="",
            architecture={**recipe.architecture, "generator": generator},
            phases=(
                {
                    "size_px": size_px,
                    "epochs": pruning.epochs or first.epochs,
                    "batch": pruning.batch or first.batch,
                },
            ),
            learning_rate=pruning.learning_rate or recipe.learning_rate,
            map_weight=0.0,
            mmd_weight=pruning.mmd_training,
            distillation=None,
            pruning=None,
        ),
        seed=task.seed,
        dataset=task.dataset,
        digest=digest,
        work=task.work,
        threads=task.threads,
        device=task.device,
        processes=task.processes,
        bfloat16=False,
        say=lambda line: task.say(f"PruningNet {line}"),
        progress=task.progress,
        choose_epoch=False,
    )
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    network = PruningNet(recipe.architecture, task.space, pruning.hidden)
    path = task.work / f"pruning_net-{run.fingerprint[:16]}.safetensors"
    about = path.with_suffix(".json")
    if path.is_file():  # the last that is written
        network.load_state_dict(read_tensors(path))
    else:
        run.fit(network)
        with task.processes.first():
            if task.processes.leads:
                trained = _Trained(run.seconds, run.recipe.epochs)
                write_atomically(about, json.dumps(trained._asdict()) + "\n")
                save_checkpoint(network, path, half=False)
                run.state_path.unlink(missing_ok=True)
    return network, path, _Trained(**json.loads(about.read_text(encoding="utf-8")))


def history(found: Sequence[Evaluated], space: WidthSpace, quantity: str) -> str:
    """Every structure that was judged as CSV: how it came about, what it costs (in the column `quantity`), what it is worth, its widths."""
    parts = list(dict.fromkeys(name for one in found for name in one.parts))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["generation", "origin", quantity, "fitness", *parts, *(gene.name for gene in space.genes)]
    )
    for one in found:
        widths = [gene.widths[number] for gene, number in zip(space.genes, one.genes, strict=True)]
        values = [one.parts.get(name, "") for name in parts]
        writer.writerow([one.generation, one.origin, f"{one.cost:.0f}", one.fitness, *values, *widths])
    return text.getvalue()


def _changed(recipe: TrainRecipe, /, **changes: Any) -> TrainRecipe:
    return TrainRecipe.model_validate({**recipe.model_dump(), **changes})
