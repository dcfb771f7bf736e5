"""The fitness of a structure: what the weights that a PruningNet generates for it are worth on the development split."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from swapbench.data.preprocess import prepare
from swapbench.errors import BadDataset
from swapbench.workshop.pipeline.batches import normalised
from swapbench.workshop.pipeline.crops import Jitter, balanced_order, decode
from swapbench.workshop.prune.search import Judged
from swapbench.workshop.train.dev_scoring import SCORING_BATCH, dev_results
from swapbench.workshop.train.mmd import domain_discrepancy, median_bandwidth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from swapbench.data.dataset import Dataset
    from swapbench.data.samples import Sample
    from swapbench.workshop.prune.pruning_net import PruningNet
    from swapbench.workshop.prune.widths import Genes
    from swapbench.workshop.recipes.pruning_recipe import MetaPruning
    from swapbench.workshop.recipes.recipe import TrainRecipe
    from swapbench.workshop.train.mmd import MmdOver


@dataclass(frozen=True)
class Fitness:
    """How good a structure is with the weights that a PruningNet generates: development loss + weight x discrepancy.

    The loss is class-balanced: unlike an error rate of some hundred images it hardly ever ties. calibration: batches of
    normalised training images; images [n, 3, h, w], samples, domains [n] and bona_fide [n]: of the development split;
    bandwidth: that of the unpruned structure for all, so that discrepancies compare; None where there is one domain.
    """

    network: PruningNet
    bona_fide_index: int
    calibration: tuple[Tensor, ...]
    images: Tensor
    samples: tuple[Sample, ...]
    domains: Tensor
    bona_fide: Tensor
    weight: float
    over: MmdOver
    bandwidth: float | None

    @classmethod
    def of(
        cls,
        network: PruningNet,
        recipe: TrainRecipe,
        pruning: MetaPruning,
        dataset: Dataset,
        seed: int,
        work: Path,
        threads: int,
    ) -> Fitness:
        """From the train and dev splits of a dataset, with the crops as they are deployed. Raises BadDataset."""
        size = recipe.preprocessing
        regions = decode(dataset.samples("train"), [size], recipe.augmentation, work, threads)
        rows = balanced_order(regions.samples, np.random.default_rng([seed]))[: pruning.calibration_images]
        batches = np.array_split(rows, -(-len(rows) // SCORING_BATCH))
        dev = dataset.samples("dev")
        prepared = prepare(dev, size, work, threads)
        chosen = spread(
            [row for row in range(len(dev)) if row not in prepared.failures], dev, pruning.search_images
        )
        samples = tuple(dev[row] for row in chosen)
        if len({sample.bona_fide for sample in samples}) < 2:
            raise BadDataset(
                f"of dev of {dataset.name} only one class can be used: "
                + ", ".join(list(prepared.failures.values())[:3]),
                remedy="Restore the files, give face boxes, or take whole frames with --faces frame.",
            )
        names = sorted({sample.domain for sample in samples})
        made = cls(
            network=network.eval(),
            bona_fide_index=recipe.output.bona_fide_index,
            calibration=tuple(
                normalised(_nchw(np.stack([regions.view(int(row), size, Jitter()) for row in batch])), size)
                for batch in batches
            ),
            images=normalised(_nchw(prepared.crops()[chosen]), size),
            samples=samples,
            domains=torch.tensor([names.index(sample.domain) for sample in samples]),
            bona_fide=torch.tensor([int(sample.bona_fide) for sample in samples]),
            weight=pruning.mmd_search,
            over=recipe.mmd_over,
            bandwidth=None,
        )
        if len(names) < 2:
            return made
        _, embedding = made._answers(network.space.widest)
        return replace(made, bandwidth=median_bandwidth(embedding))

    def __call__(self, genes: Genes) -> Judged:
        """Judge one structure; safe in several threads."""
        scores, embedding = self._answers(genes)
        if not bool(torch.isfinite(scores).all() and torch.isfinite(embedding).all()):
            return Judged(math.inf, {})
        parts = dict(dev_results(self.samples, scores.numpy()))
        fitness = parts["loss"]
        if self.bandwidth is not None:
            mmd = domain_discrepancy(embedding, self.domains, self.bona_fide, self.over, self.bandwidth)
            parts["mmd"] = float(mmd)
            fitness += self.weight * parts["mmd"]
        return Judged(fitness, parts)

    @torch.no_grad()
    def _answers(self, genes: Genes) -> tuple[Tensor, Tensor]:
        """Bona fide scores [n] and embeddings [n, d] of the development images."""
        network = self.network.candidate(genes, self.calibration)
        taps = [network.taps(images) for images in torch.split(self.images, SCORING_BATCH)]
        logits = torch.cat([one.logits for one in taps]).double()
        return torch.softmax(logits, 1)[:, self.bona_fide_index], torch.cat([one.embedding for one in taps])


def spread(rows: Sequence[int], samples: Sequence[Sample], most: int) -> list[int]:
    """At most so many of the rows, as many of each class, domain and species, spread evenly over each; in order."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        groups.setdefault((samples[row].domain, samples[row].species), []).append(row)
    quota = max(most // max(len(groups), 1), 1)
    return sorted(
        group[number * len(group) // min(quota, len(group))]
        for group in groups.values()
        for number in range(min(quota, len(group)))
    )


def _nchw(pixels: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
