"""What the studies trained, by arm, domain and seed, and the study of ranked structures, made from another.

`swapbench train` does the trainings: students.toml and unseen.toml are studies.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from swapbench.commands.study_table import study_in
from swapbench.files import write_atomically
from swapbench.workshop.prune.pruning import with_widths
from swapbench.workshop.prune.widths import WidthSpace
from swapbench.workshop.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "models" / "recipes"
WORK = ROOT / "build" / "compression"
TEACHER, STUDENT, UNPRUNED = "resnet18_map", "minifasnet_v2", "mobilefacenet"
MACS = 40_000_000
_UNSEEN = study_in(Path(__file__).with_name("unseen.toml"))
assert _UNSEEN is not None
DOMAINS = "".join(_UNSEEN.domains)
ARMS = tuple(arm for arm in _UNSEEN.arms if arm != "unpruned")
STUDIES = ("students", "unseen", "rank")
RANKED = 8
RANK_DOMAIN = "D"
RANK_STUDY = WORK / "rank.toml"


@dataclass(frozen=True)
class Trained:
    """A training that a study finished: where it stands in the table, and its card."""

    arm: str
    domain: str
    seed: int
    card: Path


def trained(study: str) -> Iterator[Trained]:
    """What a study has finished so far, in the order of its table of results."""
    folder = WORK / study
    table = folder / "results.csv"
    if not table.is_file():
        return
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["card"]:
                yield Trained(row["arm"], row["domain"], int(row["seed"]), folder / row["card"])


def fold(domain: str) -> str:
    """The protocol that trains on the other domains and tests on this one."""
    return "+".join(other for other in DOMAINS if other != domain) + f":{domain}"


def write_rank_study() -> Path:
    """The study of structures of the MetaPruning search of one fold, evenly from its best to its worst.

    Raises:
        FileNotFoundError: the search was not finished.
    """
    searched = next(
        (
            one.card.with_suffix(".search.csv")
            for one in trained("unseen")
            if (one.arm, one.domain, one.seed) == ("metapruning", RANK_DOMAIN, 1)
        ),
        None,
    )
    if searched is None:
        raise FileNotFoundError(
            "the search of metapruning is not finished: train benchmarks/compression/unseen.toml"
        )
    arms = {}
    for number, row in enumerate(ranked_rows(searched)):
        recipe = WORK / "recipes" / f"rank{number}.toml"
        _write_recipe(_channels(row), recipe, f"rank{number}-40M")
        arms[f"rank{number}"] = {"network": str(recipe.relative_to(ROOT))}
    study = {"name": "rank", "seeds": [1], "protocol": fold(RANK_DOMAIN), "arms": arms}
    write_atomically(RANK_STUDY, tomli_w.dumps(study))
    return RANK_STUDY


def ranked_rows(history: Path) -> list[dict[str, str]]:
    """RANKED rows of a search's history, from the best fitness to the worst."""
    with history.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["fitness"]))
    return [rows[round(number * (len(rows) - 1) / (RANKED - 1))] for number in range(RANKED)]


def _channels(row: dict[str, str]) -> tuple[int, ...]:
    base = read_recipe(RECIPES / f"{UNPRUNED}.toml").architecture["channels"]
    space = WidthSpace.of(base, steps=2)
    return space.with_widths([int(row[gene.name]) for gene in space.genes])


def _write_recipe(channels: tuple[int, ...], path: Path, label: str) -> None:
    pruned = read_recipe(RECIPES / f"{UNPRUNED}.toml", RECIPES / "methods" / "metapruning.toml")
    assert pruned.pruning is not None
    pruned = pruned.replace(pruning=pruned.pruning.replace(macs=MACS))
    text = with_widths(pruned, channels).model_dump(mode="json", exclude_none=True)
    write_atomically(path, tomli_w.dumps({**text, "recipe": label}))
