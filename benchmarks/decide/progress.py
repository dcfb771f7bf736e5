"""How far the studies are, and what the next ones wait for."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.decide import evidence, studies
from benchmarks.decide.worlds import ROOT
from swapbench.catalog import Folders
from swapbench.commands.study_table import trainings
from swapbench.workshop.prune.widths import WidthSpace
from swapbench.workshop.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.decide.evidence import Evidence
    from benchmarks.decide.studies import Planned
    from swapbench.commands.study_table import Training


@dataclass(frozen=True)
class Standing:
    """A study, its trainings, and what is kept of them.

    Attributes:
        planned: the study.
        trainings: all of it.
        results: of those that are done.
    """

    planned: Planned
    trainings: tuple[Training, ...]
    results: tuple[Evidence, ...]

    @property
    def missing(self) -> tuple[Training, ...]:
        """Those without a result."""
        name = self.planned.study.name
        return tuple(one for one in self.trainings if evidence.kept(name, one) is None)

    def of(self, arm: str) -> dict[tuple[str, int], Evidence]:
        """The results of an arm, by domain and seed."""
        return {(one.domain, one.seed): one for one in self.results if one.arm == arm}

    @property
    def arms(self) -> tuple[str, ...]:
        """In their order."""
        return tuple(self.planned.study.arms)


def folder_of(study: str) -> Path:
    """Where the trainings of a study are made, relative to the repository."""
    return (studies.WORK / study).relative_to(ROOT)


def standing(name: str) -> Standing | str:
    """How far a study is; in words what it waits for."""
    if name == "rank":
        planned = _rank()
    elif name.startswith("decide-"):
        planned = _decision(name.removeprefix("decide-"))
    else:
        planned = studies.FIXED[name]()
    if isinstance(planned, str):
        return planned
    every = trainings(planned.study, Folders(ROOT), folder_of(planned.study.name))
    found = [evidence.kept(planned.study.name, one) for one in every]
    return Standing(planned, every, tuple(one for one in found if one is not None))


def _decision(target: str) -> Planned | str:
    weighed = standing(f"weights-{target}")
    assert isinstance(weighed, Standing)
    if weighed.missing:
        return f"waits for weights-{target}, of which {len(weighed.missing)} trainings are missing"
    return studies.decision(target, chosen_weights(weighed))


def chosen_weights(weighed: Standing) -> Mapping[str, float]:
    """Of each kind of alignment the weight whose mean AUC over the held-out sources is the highest."""

    def mean_auc(kind: str, weight: float) -> float:
        results = weighed.of(f"{kind}{weight:g}".replace(".", "_"))
        return statistics.fmean(one.auc for one in results.values())

    return {
        kind: max(studies.WEIGHTS, key=lambda weight: mean_auc(kind, weight)) for kind in ("live", "class")
    }


def _rank() -> Planned | str:
    name = f"decide-{studies.RANK_DOMAIN}"
    searched = standing(name)
    if isinstance(searched, str):
        return f"waits for {name}, which {searched}"
    first = searched.of("metapruning").get(("", 1))
    if first is None:
        return f"waits for the first search of {name}"
    sources = [domain for domain in studies.DOMAINS if domain != studies.RANK_DOMAIN]
    return studies.ranking(
        sources[1 % len(sources)], [_channels(row) for row in first.content["search"]["ranked"]]
    )


def _channels(row: Mapping[str, str]) -> Sequence[int]:
    base = read_recipe(ROOT / "models" / "recipes" / "mobilefacenet.toml").architecture["channels"]
    space = WidthSpace.of(base)
    return space.with_widths([int(row[gene.name]) for gene in space.genes])
