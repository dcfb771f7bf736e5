"""What does our training loop cost, against a bare PyTorch loop, and what does each term of distillation add?

    python benchmarks/training.py [RECIPE.toml] [--rounds N] [--terms]

Both loops train the same network from the same weights on the same batches in one process and take turns, an
epoch of a few batches each. The bare loop has its normalised batches in memory and does nothing but forward,
cross entropy, backward and step; ours also crops and augments every image anew, adds up the loss's terms,
clips gradients and reports progress. The ratio is the median over rounds of (bare time / our time); beside it
stands the ratio of the fastest tenth of all steps, which other work on the machine disturbs less. The exit
status is 1 where both are below the limit.

--terms measures a step (of the fastest tenth) with each term of distillation on its own, all of them at once,
and the teacher itself, whose outputs are kept on disk: a ResNet-18 with a map, with random weights, as
time does not depend on them. Frames are noise.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from swapbench import stats, units
from swapbench.data.dataset import Dataset
from swapbench.data.samples import Sample
from swapbench.ports import unseen
from swapbench.records import ModelCard
from swapbench.workshop.distil.distillation import Imitation, Teacher
from swapbench.workshop.distil.teacher_cache import cached_outputs
from swapbench.workshop.nets import build
from swapbench.workshop.pipeline.batches import batches, normalised
from swapbench.workshop.pipeline.crops import decode
from swapbench.workshop.recipes.recipe import Distillation, TrainRecipe, read_recipe
from swapbench.workshop.train.loop import TrainingRun
from swapbench.workshop.train.setup import Execution, default_device, faster_in_bfloat16
from swapbench.workshop.train.state import Learner

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.workshop.distil.teacher_cache import CachedOutputs
    from swapbench.workshop.pipeline.crops import Regions

RECIPES = Path(__file__).parents[1] / "models" / "recipes"
LIMIT = 0.9
FRAME_PX = 320
BOX = (90.0, 80.0, 130.0, 150.0)
TERMS = ("weight", "attention_weight", "hint_weight", "map_weight")


def noise(folder: Path, count: int) -> tuple[Sample, ...]:
    """`count` frames, every other one an attack."""
    random = np.random.default_rng(0)
    samples = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        Image.fromarray(random.integers(0, 256, (FRAME_PX, FRAME_PX, 3), np.uint8)).save(path)
        attack = number % 2 == 1
        samples.append(
            Sample(
                name=path.name,
                path=path,
                frame=0,
                subject=str(number),
                label="attack" if attack else "bona_fide",
                species="print" if attack else "",
                domain="",
                session="",
                device="",
                split="train",
                instrument="",
                box=BOX,
                presentation=path.name,
            )
        )
    return tuple(samples)


def started(recipe: TrainRecipe, samples: tuple[Sample, ...], work: Path, threads: int) -> TrainingRun:
    device = default_device()
    return TrainingRun(
        recipe=recipe,
        dataset=Dataset("noise", simulated=True, notice="", root=work, splits={"train": samples}),
        digest="",
        execution=Execution(seed=0, work=work, threads=threads, device=device),
        bfloat16=recipe.bfloat16 and faster_in_bfloat16(device),
    )


@dataclass
class Taken:
    """Seconds of every epoch and of every step of one loop."""

    epochs: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)

    def epoch(self, task: Callable[[Callable[[float], None]], None]) -> None:
        """Time an epoch that calls what it is given after every step."""
        times = [time.perf_counter()]
        task(lambda _: times.append(time.perf_counter()))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.epochs.append(time.perf_counter() - times[0])
        self.steps += [later - earlier for earlier, later in pairwise(times)]


def against_a_bare_loop(run: TrainingRun, regions: Regions, rounds: int) -> tuple[Taken, Taken]:
    """What our loop takes and what a bare one does; an epoch of each before them warms up."""
    recipe, size, device = run.recipe, run.recipe.preprocessing, run.execution.device
    torch.manual_seed(0)
    ours = build(recipe.family, recipe.architecture).to(device)
    bare = build(recipe.family, recipe.architecture).to(device)
    bare.load_state_dict(ours.state_dict())
    learner, optimiser = Learner.of(recipe, ours), Learner.of(recipe, bare).optimiser
    last = recipe.epochs - 1
    ready = [
        (normalised(batch.images.pixels(device), size), batch.bona_fide.to(device))
        for batch in batches(recipe, last, regions, size, np.random.default_rng([0, last]))
    ]

    def bare_epoch(heard: Callable[[float], None]) -> None:
        bare.train()
        for images, bona_fide in ready:
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=run.bfloat16):
                loss = functional.cross_entropy(bare(images), bona_fide)
            loss.backward()
            optimiser.step()
            heard(0)

    def our_epoch(heard: Callable[[float], None]) -> None:
        run.learn(last, learner, regions, on_step=heard)

    our_epoch(lambda _: None)
    bare_epoch(lambda _: None)
    taken = Taken(), Taken()
    for number in range(rounds):
        turns = list(zip(taken, (our_epoch, bare_epoch), strict=True))
        for times, task in turns if number % 2 else turns[::-1]:
            times.epoch(task)
    return taken


def of_each_term(run: TrainingRun, regions: Regions, rounds: int) -> None:
    """Print what a step takes with each term, and what the teacher takes for an image."""
    recipe, device = run.recipe, run.execution.device
    plain = read_recipe(RECIPES / "resnet18_map.toml")
    card = ModelCard(
        name=plain.name,
        summary="",
        family=plain.family,
        architecture=plain.architecture,
        checkpoint="",
        checkpoint_sha256="0" * 64,
        preprocessing=plain.preprocessing,
        output=plain.output,
    )
    network = build(card.family, card.architecture).to(device).eval()
    parts = frozenset({"map", "energy", "features"})
    teacher = Teacher(card, network, 1.0, device, parts, faster_in_bfloat16(device))

    def taught(**weights: float) -> TrainRecipe:
        off: dict[str, object] = dict.fromkeys(TERMS, 0.0)
        distillation = Distillation.model_validate({**off, "teachers": {"t": 1.0}, "views": 1, **weights})
        return recipe.model_copy(update={"distillation": distillation})

    outputs: CachedOutputs | None = None
    arms: dict[str, tuple[TrainingRun, Learner, CachedOutputs | None]] = {}
    every = dict.fromkeys(TERMS, 0.5)
    for name, weights in {
        "labels alone": {},
        **{f"+ {term}": {term: 0.5} for term in TERMS},
        "all": every,
    }.items():
        made = taught(**weights)
        if outputs is None:
            outputs = cached_outputs([teacher], made, regions, run.execution.work, unseen)
        student = build(recipe.family, recipe.architecture)
        imitation = Imitation(made, [teacher], student).to(device) if weights else None
        arm = started(made, regions.samples, run.execution.work, run.execution.threads)
        arms[name] = (arm, Learner.of(made, student.to(device), imitation), outputs if weights else None)
    assert outputs is not None
    print(
        f"the teacher: {units.duration(round(1e9 * outputs.seconds / len(regions.samples)))} an image, "
        f"{'bfloat16' if teacher.bfloat16 else 'float32'}, once for each view"
    )
    last = recipe.epochs - 1
    taken = {name: Taken() for name in arms}
    for _ in range(rounds):
        for name, (arm, learner, kept) in arms.items():
            taken[name].epoch(
                lambda heard, arm=arm, learner=learner, kept=kept: arm.learn(
                    last, learner, regions, outputs=kept, on_step=heard
                )
            )
    fastest = {name: stats.quantile(times.steps, 0.1) for name, times in taken.items()}
    for name, step_s in fastest.items():
        more = step_s - fastest["labels alone"]
        print(f"  {name:<18} {units.duration(round(1e9 * step_s))} a step, {1e3 * more:+.1f} ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("recipe", nargs="?", type=Path, default=RECIPES / "minifasnet_v2.toml")
    parser.add_argument("--rounds", type=int, default=9, help="epochs of each loop that count")
    parser.add_argument("--batches", type=int, default=8, help="batches an epoch")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--terms", action="store_true", help="also what each term of distillation costs")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        samples = noise(work, options.batches * recipe.phases[-1].batch)
        run = started(recipe, samples, work, options.threads)
        seen = [recipe.preprocessing, read_recipe(RECIPES / "resnet18_map.toml").preprocessing]
        regions = decode(samples, seen, recipe.augmentation, work, options.threads)
        ours, bare = against_a_bare_loop(run, regions, options.rounds)
        ratios = [bare_s / our_s for our_s, bare_s in zip(ours.epochs, bare.epochs, strict=True)]
        ratio = stats.median(ratios)
        undisturbed = stats.quantile(bare.steps, 0.1) / stats.quantile(ours.steps, 0.1)
        speeds = [len(samples) / stats.median(times.epochs) for times in (ours, bare)]
        print(
            f"{recipe.stem}, {recipe.preprocessing.width_px} px, batches of {recipe.phases[-1].batch}, "
            f"{options.threads} thread(s), {run.execution.device.type}: "
            f"swapbench {speeds[0]:.1f} images/s, bare loop {speeds[1]:.1f}\n"
            f"  ratio {ratio:.3f}, rounds {min(ratios):.3f} to {max(ratios):.3f}; "
            f"of the fastest tenth of steps {undisturbed:.3f} (limit {LIMIT})"
        )
        if options.terms:
            of_each_term(run, regions, options.rounds)
    return 0 if max(ratio, undisturbed) >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
