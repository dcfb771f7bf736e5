"""Pruning: find the widths of a network within a budget, then train the network that has them.

    uniform       every width times one factor
    magnitude     the least important channels of a trained network are cut; the others may keep their weights
    metapruning   a PruningNet, an evolutionary search over what it generates, training from scratch (Liu et
                  al., "MetaPruning", ICCV 2019). With a discrepancy between source domains in the
                  PruningNet's training, in the fitness or in both it is Meta-MMD, in our reading: of the
                  thesis that names it (Zhang, NTU 2022, hdl 10356/158548) only the abstract is public

A GPU trains where there is one; candidates are judged on CPUs, side by side, in this process or elsewhere, on
the development split; the test split is never opened. Whatever takes long (PruningNet, search, training) is
on disk as it goes. The PruningNet is kept, because it serves every budget and every fitness.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch

from swapbench import units
from swapbench.cards import read_card
from swapbench.errors import BadCard, UserError
from swapbench.files import file_sha256, write_atomically
from swapbench.workshop.nets.checkpoint import load_network, read_tensors, save_checkpoint
from swapbench.workshop.prune.fitness import Fitness
from swapbench.workshop.prune.latency_table import Latency, read_latency_table
from swapbench.workshop.prune.magnitude import importance, inherited, kept_channels
from swapbench.workshop.prune.pruning_net import PruningNet, shape_of
from swapbench.workshop.prune.search import best, in_threads, search
from swapbench.workshop.prune.widths import Budget, WidthSpace
from swapbench.workshop.recipes.pruning_recipe import Magnitude, MetaPruning, UniformWidth
from swapbench.workshop.recipes.recipe import TrainRecipe, label
from swapbench.workshop.train.loop import TrainingRun
from swapbench.workshop.train.mmd import require_domains
from swapbench.workshop.train.setup import Start, TrainingSetup
from swapbench.workshop.train.training import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from swapbench.data.dataset import Dataset
    from swapbench.records import ModelCard
    from swapbench.workshop.prune.search import Elsewhere, Evaluated, Judges
    from swapbench.workshop.prune.widths import Channels
    from swapbench.workshop.recipes.pruning_recipe import Pruning
    from swapbench.workshop.train.setup import Execution


_NOISE_STRUCTURES: Final = 16
"""Structures from which it is estimated whether a discrepancy tells them apart."""


def prune(
    recipe: TrainRecipe,
    dataset: Dataset,
    out: Path,
    setup: TrainingSetup | None = None,
    elsewhere: Elsewhere | None = None,
) -> ModelCard:
    """Find widths as `recipe.pruning` says, and train the network that has them.

    The card's name carries the budget (`mobilefacenet.metammd-40M`). A search leaves its history beside the
    card, as <stem>.search.csv.

    Args:
        recipe: With pruning.
        dataset: With its splits train and dev.
        out: Folder for the card, the checkpoint and the curve, see `train`.
        setup: Seed, hardware, teachers and listeners; None takes the defaults.
        elsewhere: Where the structures of a search are judged; None for threads of this process. It changes
            no result.

    Raises:
        UserError: No widths meet the budget, or magnitude pruning has no trained network to cut; both before
            anything is computed.
        BadCard: The network cannot be pruned, or the trained network does not fit the recipe.
        BadDataset: Frames cannot be read, or a class or a domain that the recipe needs is missing.
        NotValid: The loss or the fitness is not finite any more; the last good state stays on disk.
    """
    assert recipe.pruning is not None, "a recipe without pruning is for train"
    require_feasible(recipe)
    setup = setup or TrainingSetup()
    task = _Task(
        recipe=recipe,
        dataset=dataset,
        out=out,
        execution=setup.execution(recipe, out),
        space=width_space(recipe, recipe.pruning),
        budget=_budget(recipe, recipe.pruning),
        elsewhere=elsewhere,
    )
    _check_domains(task)
    start = Start()
    match recipe.pruning:
        case UniformWidth():
            channels = task.space.uniform(task.budget)
        case Magnitude() as magnitude:
            channels, weights = _magnitude(task, magnitude)
            start = Start(weights)
        case MetaPruning() as metapruning:
            channels, before_s = _metapruning(task, metapruning)
            start = Start(before_s=before_s)
    cost = task.budget.text(task.budget.cost(channels))
    task.execution.say(f"widths: {cost}, channels {list(channels)}")
    return train(with_widths(recipe, channels), dataset, out, setup, start)


def require_feasible(recipe: TrainRecipe) -> None:
    """Check, before data are opened, that a recipe can be pruned to its budget.

    Raises:
        UserError: No widths meet the budget, or the latency table does not hold the network's layers.
        BadCard: The network cannot be pruned.
    """
    assert recipe.pruning is not None
    space, budget = width_space(recipe, recipe.pruning), _budget(recipe, recipe.pruning)
    space.within(budget)
    budget.cost(
        space.base
    )  # a table that ends below the widest layer fails now, not in the middle of a search


def with_widths(recipe: TrainRecipe, channels: Channels) -> TrainRecipe:
    """The recipe that trains the network of a channel list, named after method and budget."""
    assert recipe.pruning is not None
    macs = shape_of(recipe.architecture).macs(channels)
    pruning = recipe.pruning
    inherits = isinstance(pruning, Magnitude) and pruning.inherit
    how = f"{pruning.method}, weights kept" if inherits else pruning.method
    how += _multiples(pruning.channel_multiple)
    return _changed(
        recipe,
        recipe=label(recipe),
        summary=f"{recipe.summary}; widths by {how}, {units.count(macs)} MACs",
        architecture={**recipe.architecture, "channels": list(channels)},
        pruning=None,
    )


def _multiples(channel_multiple: int) -> str:
    return f" in multiples of {channel_multiple} channels" if channel_multiple > 1 else ""


@dataclass(frozen=True)
class _Task:
    recipe: TrainRecipe
    dataset: Dataset
    out: Path
    execution: Execution
    space: WidthSpace
    budget: Budget
    elsewhere: Elsewhere | None = None


def width_space(recipe: TrainRecipe, pruning: Pruning) -> WidthSpace:
    """The widths that a method chooses from.

    Raises:
        BadCard: The network cannot be pruned.
    """
    channels = recipe.architecture.get("channels")
    if recipe.family != "minifasnet" or channels is None:
        raise BadCard(
            f"recipe {recipe.stem}: networks of the family {recipe.family} cannot be pruned",
            remedy="Use a network of the family minifasnet with a channel list.",
        )
    if recipe.architecture.get("squeeze"):
        raise BadCard(
            f"recipe {recipe.stem}: a network with squeeze-and-excitation cannot be pruned",
            remedy="Remove squeeze from its architecture.",
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
                f"{pruning.latency_table} has times of widths in multiples of {table.channel_multiple} only, "
                "and others are slower",
                remedy=f"Prune with --channel-multiple {table.channel_multiple}, or measure a table of all "
                "widths.",
            )
        return Latency(table, shape).budget(pruning.latency_ms)
    if pruning.macs is None:
        raise UserError(f"recipe {recipe.stem} has no budget", remedy="Give one, as in --macs 40M.")
    return Budget.of_macs(pruning.macs, shape)


def _check_domains(task: _Task) -> None:
    """Raise BadDataset now for what would otherwise fail after the search."""
    pruning = task.recipe.pruning
    meta = pruning if isinstance(pruning, MetaPruning) else None
    if task.recipe.mmd_weight > 0 or (meta is not None and meta.mmd_training > 0):
        require_domains(task.dataset, "train")
    if meta is not None and meta.mmd_search > 0:
        require_domains(task.dataset, "dev")
    if meta is not None and meta.held_out:
        require_domains(task.dataset, "train")


def _magnitude(task: _Task, pruning: Magnitude) -> tuple[Channels, dict[str, Tensor] | None]:
    """The widths that are left of a trained network, and its weights where the pruned one inherits them."""
    base = pruning.base or task.recipe.name
    path = task.out / f"{base}.toml"
    if not path.is_file():
        raise UserError(
            f"magnitude pruning cuts a trained network, but there is no {path}",
            remedy=f"Train it first, on the same data and into the same folder: swapbench train {base}",
        )
    card = read_card(path)
    if (card.family, card.architecture) != (task.recipe.family, task.recipe.architecture):
        raise BadCard(
            f"{path} has a different architecture from the recipe {task.recipe.stem}",
            remedy=f"Train it again: swapbench train {base}",
        )
    if card.training is None or card.training.data_digest != task.dataset.digest():
        raise BadCard(
            f"{path} was trained on different data",
            remedy="Train it again on the same fold; other data must not decide which channels stay.",
        )
    weights = load_network(card, path).state_dict()
    kept = kept_channels(importance(weights, task.space, pruning.importance), task.space, task.budget)
    channels = task.space.with_widths([len(of_gene) for of_gene in kept])
    return channels, inherited(weights, task.space, kept) if pruning.inherit else None


def _metapruning(task: _Task, pruning: MetaPruning) -> tuple[Channels, float]:
    """The widths that the search finds, and the seconds that went into the PruningNet and the search."""
    held_out = _held_out(task, pruning)
    seen = replace(task, dataset=without_domain(task.dataset, held_out)) if held_out else task
    generator = _trained_generator(seen, pruning, seen.dataset.digest())
    with task.execution.processes.first():  # the others find a finished search on disk
        return _searched(task, pruning, generator, held_out)


def _held_out(task: _Task, pruning: MetaPruning) -> str:
    """The source domain on which structures are judged: each seed's own; "" for none."""
    if not pruning.held_out:
        return ""
    names = sorted({sample.domain for sample in task.dataset.samples("train")})
    return names[task.execution.seed % len(names)]


def without_domain(dataset: Dataset, domain: str) -> Dataset:
    """The dataset without the samples of a domain."""
    splits = {
        split: tuple(sample for sample in samples if sample.domain != domain)
        for split, samples in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


class _Cost(NamedTuple):
    """What the training of a PruningNet took, also where it was trained before."""

    seconds: float
    epochs: int

    @property
    def epoch_s(self) -> float:
        return self.seconds / self.epochs


@dataclass(frozen=True)
class _Generator:
    """A trained PruningNet, its file, and what its training took."""

    network: PruningNet
    path: Path
    cost: _Cost


def _judging(task: _Task, pruning: MetaPruning, generator: _Generator, held_out: str) -> Fitness:
    """The fitness, in which a discrepancy that is mostly noise has no say."""
    execution = task.execution
    fitness = Fitness.of(generator.network, task.recipe, pruning, task.dataset, execution, held_out)
    if pruning.mmd_noise is None or not fitness.weight or fitness.bandwidth is None:
        return fitness
    feasible, random = task.space.within(task.budget, pruning.least), np.random.default_rng(execution.seed)
    share = fitness.noise_share([feasible.drawn(random) for _ in range(_NOISE_STRUCTURES)], random)
    has_say = share <= pruning.mmd_noise
    execution.say(
        f"the noise of the discrepancy is {share:.2f} of the spread of the fitness: "
        f"it has {'its say' if has_say else 'no say in it'}"
    )
    return fitness if has_say else replace(fitness, weight=0.0)


def _searched(
    task: _Task, pruning: MetaPruning, generator: _Generator, held_out: str
) -> tuple[Channels, float]:
    """The widths that an evolutionary search finds, and the seconds of the search and of the PruningNet."""
    execution = task.execution
    torch.set_num_threads(1)  # structures are judged side by side, and bits do not depend on how many
    fitness = _judging(task, pruning, generator, held_out)
    parts = [
        pruning.model_dump(mode="json"),
        task.recipe.mmd_over,
        task.dataset.digest(),
        file_sha256(generator.path),
        task.budget.most,
        task.budget.cost(task.space.base),
    ]
    fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    at_once = task.elsewhere.at_once if task.elsewhere is not None else execution.threads
    with _judges(task, fitness, fingerprint) as judges:
        evaluated = search(
            task.space.within(task.budget, pruning.least),
            judges,
            pruning.search,
            seed=execution.seed,
            state=execution.work / f"search-{fingerprint[:16]}.json",
            fingerprint=fingerprint,
            progress=lambda done, total: execution.progress("searching widths", done, total),
        )
    took_s = sum(candidate.seconds for candidate in evaluated) / at_once
    candidate_s, epoch_s = took_s / len(evaluated), generator.cost.epoch_s
    execution.say(
        f"a candidate took {candidate_s:.2f} s, {units.percent(candidate_s / epoch_s)} of an epoch of the "
        f"PruningNet ({epoch_s:.1f} s)"
    )
    stem = _changed(task.recipe, recipe=label(task.recipe)).stem
    write_atomically(task.out / f"{stem}.search.csv", history(evaluated, task.space, task.budget.quantity))
    winner = best(evaluated)
    values = {"fitness": winner.fitness, **winner.parts}
    execution.say(
        f"found in generation {winner.generation + 1}: "
        + ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    )
    return task.space.channels(winner.genes), generator.cost.seconds + took_s


def _judges(task: _Task, fitness: Fitness, fingerprint: str) -> AbstractContextManager[Judges]:
    """Who judges the structures of a search: threads of this process, or whoever was named."""
    if task.elsewhere is None:
        return nullcontext(in_threads(fitness, task.execution.threads))
    return task.elsewhere.judges(task.execution.work / f"judging-{fingerprint[:16]}", fitness.save)


def _generator_run(task: _Task, pruning: MetaPruning, digest: str) -> TrainingRun:
    """The training of the PruningNet, which depends on neither budget nor search nor final training."""
    recipe, first = task.recipe, task.recipe.phases[0]
    generator = pruning.model_dump(include={"steps", "smallest", "hidden", "channel_multiple"})
    phase = {
        "size_px": recipe.preprocessing.width_px,
        "epochs": pruning.epochs or first.epochs,
        "batch": pruning.batch or first.batch,
    }
    return TrainingRun(
        recipe=_changed(
            recipe,
            name="pruning_net",
            recipe=None,
            summary="",
            architecture={**recipe.architecture, "generator": generator},
            phases=(phase,),
            learning_rate=pruning.learning_rate or recipe.learning_rate,
            map_weight=0.0,
            mmd_weight=pruning.mmd_training,
            flat=None,
            average=0.0,
            distillation=None,
            pruning=None,
        ),
        dataset=task.dataset,
        digest=digest,
        execution=replace(task.execution, say=lambda line: task.execution.say(f"PruningNet {line}")),
        choose_epoch=False,
    )


def _trained_generator(task: _Task, pruning: MetaPruning, digest: str) -> _Generator:
    execution = task.execution
    run = _generator_run(task, pruning, digest)
    torch.set_num_threads(execution.threads)
    torch.manual_seed(execution.seed)
    network = PruningNet(task.recipe.architecture, task.space, pruning.hidden)
    path = execution.work / f"pruning_net-{run.fingerprint[:16]}.safetensors"
    cost_path = path.with_suffix(".json")
    if path.is_file():  # the last that is written
        network.load_state_dict(read_tensors(path))
    else:
        fitted = run.fit(network)
        with execution.processes.first():
            if execution.processes.leads:
                cost = _Cost(fitted.seconds, run.recipe.epochs)
                write_atomically(cost_path, json.dumps(cost._asdict()) + "\n")
                save_checkpoint(network, path, half=False)
                run.state_path.unlink(missing_ok=True)
    return _Generator(network, path, _Cost(**json.loads(cost_path.read_text(encoding="utf-8"))))


def history(evaluated: Sequence[Evaluated], space: WidthSpace, quantity: str) -> str:
    """Every structure that was evaluated as CSV: generation, origin, cost, fitness and its parts, widths.

    Args:
        evaluated: In order.
        space: What the genes stand for.
        quantity: Name of the cost's column.
    """
    parts = list(dict.fromkeys(name for candidate in evaluated for name in candidate.parts))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["generation", "origin", quantity, "fitness", *parts, *(gene.name for gene in space.genes)]
    )
    for candidate in evaluated:
        widths = [gene.widths[number] for gene, number in zip(space.genes, candidate.genes, strict=True)]
        values = [candidate.parts.get(name, "") for name in parts]
        cost = f"{candidate.cost:.0f}"
        writer.writerow([candidate.generation, candidate.origin, cost, candidate.fitness, *values, *widths])
    return text.getvalue()


def _changed(recipe: TrainRecipe, /, **changes: Any) -> TrainRecipe:
    return TrainRecipe.model_validate({**recipe.model_dump(), **changes})
