"""The networks of the table's lines, each trained by swapbench's own command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tomli_w

from benchmarks.compression.trainings import DOMAINS, RECIPES, STUDENT, TEACHER, fold
from swapbench.workshop.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from pathlib import Path

WIDE_PX = 128


@dataclass(frozen=True)
class Trainee:
    """What is trained for a line.

    Attributes:
        name: of the line.
        recipe: of the network.
        protocol: which domains train and which one is tested; empty: all of them.
        wide: whether the input is 128 px and not the recipe's.
        taught: whether it learns from the teacher of the same seed.
    """

    name: str
    recipe: str = STUDENT
    protocol: str = ""
    wide: bool = False
    taught: bool = False

    def folder(self, out: Path, seed: int) -> Path:
        """Where its card will be."""
        return out / f"{self.name}-seed{seed}"

    def card(self, out: Path, seed: int) -> Path:
        """Its card, whether it is there or not."""
        return self.folder(out, seed) / f"{self.recipe}{'.distill' if self.taught else ''}.toml"

    def command(self, data: Path, out: Path, seed: int, schedule: str) -> list[str]:
        """The command that trains it."""
        recipe = str(_wide(self.recipe, out)) if self.wide else self.recipe
        command = [sys.executable, "-m", "swapbench", "train", recipe, "--data", str(data)]
        if self.taught:
            command += ["--recipe", "distill", "--teacher", str(TRAINEES["teacher"].card(out, seed))]
        if self.protocol:
            command += ["--protocol", self.protocol]
        if schedule != "full":
            command += ["--schedule", schedule]
        folder = str(self.folder(out, seed))
        return [*command, "--seed", str(seed), "--threads", "1", "--missing", "--out", folder]


TRAINEES = {
    trainee.name: trainee
    for trainee in (
        Trainee("student"),
        Trainee("student-128", wide=True),
        Trainee("teacher", TEACHER),
        Trainee("distilled", taught=True),
        *(Trainee(f"without-{domain}", protocol=fold(domain)) for domain in DOMAINS),
    )
}
"""By name, in an order in which each finds its teacher."""


def _wide(recipe: str, out: Path) -> Path:
    """The recipe with a wider input, written beside what it trains."""
    text = read_recipe(RECIPES / f"{recipe}.toml").model_dump(mode="json", exclude_none=True)
    text["architecture"]["size_px"] = WIDE_PX
    text["preprocessing"] |= {"width_px": WIDE_PX, "height_px": WIDE_PX}
    for phase in text["phases"]:
        phase["size_px"] = WIDE_PX
    path = out / "recipes" / f"{recipe}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(text), encoding="utf-8")
    return path


def train(names: list[str], data: Path, out: Path, schedule: str, seeds: int) -> int:
    """Train what is missing, a seed of all of them before the next; returns the worst exit status."""
    worst = 0
    for seed in range(1, seeds + 1):
        for trainee in (trainee for name, trainee in TRAINEES.items() if name in names):
            command = trainee.command(data, out, seed, schedule)
            print(*command[2:], flush=True)
            worst = max(worst, subprocess.run(command, check=False).returncode)
    return worst
