"""The trainings of each study, as command lines of swapbench, and a way to run many of them side by side."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from swapbench.cards import read_card
from swapbench.workshop.prune.pruning import with_widths
from swapbench.workshop.prune.widths import WidthSpace
from swapbench.workshop.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "models" / "recipes"
WORK = ROOT / "build" / "compression"
DOMAINS = "ABCD"
TEACHER, STUDENT, UNPRUNED = "resnet18_map", "minifasnet_v2", "mobilefacenet"
MACS = 40_000_000
ARMS = ("uniform", "magnitude", "metapruning", "metammd", "uniform_mmd", "metammd_training", "metammd_search")
SEARCHED = ("metapruning", "metammd", "metammd_training", "metammd_search")
RANKED = 8
RANK_DOMAIN = "D"


@dataclass(frozen=True)
class Training:
    """One command, the card that it leaves, and what it needs.

    Attributes:
        arguments: of `swapbench train`.
        out: folder of the card.
        stem: of the card's file name.
        after: cards of other trainings that must be there before.
        prepare: makes files that must be there before.
    """

    arguments: tuple[str, ...]
    out: Path
    stem: str
    after: tuple[Path, ...] = ()
    prepare: Callable[[], None] | None = field(default=None, compare=False)

    @property
    def card(self) -> Path:
        """Where its card will be."""
        return self.out / f"{self.stem}.toml"

    def command(self, schedule: str) -> list[str]:
        """For a lane of its own: one thread each is faster than one training with all of them."""
        spent = () if schedule == "full" else ("--schedule", schedule)
        out = str(self.out.relative_to(ROOT))
        return [
            *(sys.executable, "-m", "swapbench", "train", *self.arguments, *spent),
            *("--threads", "1", "--missing", "--out", out),
        ]


def students(seeds: int) -> list[Training]:
    """The student alone and distilled, with the same schedule; the teacher is the bundled one."""
    trainings = []
    for seed in range(1, seeds + 1):
        out, last = students_folder(seed), ("--seed", str(seed))
        trainings.append(Training((STUDENT, *last), out, STUDENT))
        distilled = (STUDENT, "--recipe", "distill", "--teacher", TEACHER, *last)
        trainings.append(Training(distilled, out, f"{STUDENT}.distill"))
    return trainings


def students_folder(seed: int) -> Path:
    """Where the students of a seed are."""
    return WORK / "students" / f"seed{seed}"


def unseen(seeds: int) -> list[Training]:
    """Every arm on every fold. What a search finds with the first seed is trained again with the others.

    All seeds of magnitude pruning cut the same trained network.
    """
    trainings = []
    for seed in range(1, seeds + 1):
        # one arm on every fold before the next: what is interrupted has complete arms to show
        if seed == 1:
            trainings += [_unpruned(domain) for domain in DOMAINS]
        trainings += [_pruned(arm, domain, seed) for arm in ARMS for domain in DOMAINS]
    return trainings


def _unpruned(domain: str) -> Training:
    arguments = (UNPRUNED, "--protocol", fold(domain), "--seed", "1")
    return Training(arguments, unseen_folder(domain, 1), UNPRUNED)


def _pruned(arm: str, domain: str, seed: int) -> Training:
    out, first = unseen_folder(domain, seed), unseen_folder(domain, 1)
    last = ("--protocol", fold(domain), "--seed", str(seed))
    stem = f"{UNPRUNED}.{arm}-40M"
    arguments: tuple[str, ...] = (UNPRUNED, "--recipe", arm, "--macs", "40M", *last)
    after: tuple[Path, ...] = ()
    prepare = None
    if arm == "magnitude":
        base = first / f"{UNPRUNED}.toml"
        after, prepare = (base,), _copied(base, out)
    elif arm in SEARCHED and seed > 1:
        source = first / f"{stem}.toml"
        recipe = out / "recipes" / f"{stem}.toml"
        after, prepare = (source,), _recipe_of(source, arm, recipe)
        arguments = (str(recipe.relative_to(ROOT)), *last)
    elif arm == "metammd_search":  # the PruningNet of metapruning, not trained twice
        after = (first / f"{UNPRUNED}.metapruning-40M.toml",)
    elif arm == "metammd_training":  # that of metammd
        after = (first / f"{UNPRUNED}.metammd-40M.toml",)
    return Training(arguments, out, stem, after, prepare)


def unseen_folder(domain: str, seed: int) -> Path:
    """Where the networks that never saw a domain are."""
    return WORK / "unseen" / f"without-{domain}-seed{seed}"


def fold(domain: str) -> str:
    """The protocol that trains on the other domains and tests on this one."""
    return "+".join(other for other in DOMAINS if other != domain) + f":{domain}"


def rank(seeds: int) -> list[Training]:
    """Structures of the MetaPruning search of one fold, spread evenly from its best to its worst."""
    del seeds
    source = unseen_folder(RANK_DOMAIN, 1) / f"{UNPRUNED}.metapruning-40M.toml"
    out = WORK / "rank"
    trainings = []
    for number in range(RANKED):
        recipe = out / "recipes" / f"rank{number}.toml"
        arguments = (str(recipe.relative_to(ROOT)), "--protocol", fold(RANK_DOMAIN), "--seed", "1")
        stem = f"{UNPRUNED}.rank{number}-40M"
        trainings.append(Training(arguments, out, stem, (source,), _ranked(source, number, recipe)))
    return trainings


STUDIES: dict[str, Callable[[int], list[Training]]] = {"students": students, "unseen": unseen, "rank": rank}


def ranked_rows(history: Path) -> list[dict[str, str]]:
    """RANKED rows of a search's history, from the best fitness to the worst."""
    with history.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["fitness"]))
    return [rows[round(number * (len(rows) - 1) / (RANKED - 1))] for number in range(RANKED)]


def run_all(trainings: Sequence[Training], schedule: str, lanes: int) -> list[Path]:
    """Run the trainings, `lanes` of them side by side; returns the cards that were not made."""
    logs = WORK / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running = list(trainings), dict[Future[int], Training]()
    trained: set[Path] = set()
    failed: list[Path] = []
    wanted = {training.card for training in trainings}
    lock = threading.Lock()

    def run(training: Training) -> int:
        if training.prepare is not None:
            training.prepare()
        log = logs / f"{training.out.name}.{training.stem}.log"
        command = training.command(schedule)
        with lock:
            print("started:", *command[2:], flush=True)
        with log.open("w", encoding="utf-8") as file:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
            )
            return done.returncode

    with ThreadPoolExecutor(lanes) as pool:
        while waiting or running:
            for training in list(waiting):
                needs = set(training.after) & wanted
                if needs & set(failed):
                    failed.append(training.card)
                    waiting.remove(training)
                elif needs <= trained and len(running) < lanes:
                    running[pool.submit(run, training)] = training
                    waiting.remove(training)
            if not running:
                continue
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                training = running.pop(future)
                good = future.exception() is None and future.result() == 0
                (trained.add if good else failed.append)(training.card)
                outcome = "done" if good else f"FAILED ({future.exception() or 'see its log'})"
                left = f"{len(waiting) + len(running)} left"
                print(f"{outcome}: {training.card.relative_to(WORK)}, {left}", flush=True)
    return failed


def _copied(card: Path, out: Path) -> Callable[[], None]:
    def copy() -> None:
        out.mkdir(parents=True, exist_ok=True)
        for path in (card, card.with_suffix(".safetensors")):
            if out != card.parent:
                shutil.copy2(path, out)

    return copy


def _recipe_of(source: Path, arm: str, path: Path) -> Callable[[], None]:
    """Write the recipe that trains the widths of a card anew."""

    def write() -> None:
        _write_recipe(arm, tuple(read_card(source).architecture["channels"]), path)

    return write


def _ranked(source: Path, number: int, path: Path) -> Callable[[], None]:
    def write() -> None:
        row = ranked_rows(source.with_suffix(".search.csv"))[number]
        _write_recipe("metapruning", _channels(row), path, label=f"rank{number}-40M")

    return write


def _channels(row: dict[str, str]) -> tuple[int, ...]:
    base = read_recipe(RECIPES / f"{UNPRUNED}.toml").architecture["channels"]
    space = WidthSpace.of(base, steps=2)
    return space.with_widths([int(row[gene.name]) for gene in space.genes])


def _write_recipe(arm: str, channels: tuple[int, ...], path: Path, label: str | None = None) -> None:
    pruned = read_recipe(RECIPES / f"{UNPRUNED}.toml", RECIPES / "methods" / f"{arm}.toml")
    assert pruned.pruning is not None
    pruned = pruned.model_copy(update={"pruning": pruned.pruning.model_copy(update={"macs": MACS})})
    recipe = with_widths(pruned, channels)
    text = recipe.model_dump(mode="json", exclude_none=True)
    if label is not None:
        text["recipe"] = label
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(text), encoding="utf-8")
