"""The fitness of a structure: how good the weights are that a PruningNet generates for it."""

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

    from torch import Tensor

    from swapbench.data.dataset import Dataset
    from swapbench.data.samples import Sample
    from swapbench.workshop.prune.pruning_net import PruningNet
    from swapbench.workshop.prune.widths import Genes
    from swapbench.workshop.recipes.pruning_recipe import MetaPruning
    from swapbench.workshop.recipes.recipe import TrainRecipe
    from swapbench.workshop.train.mmd import MmdOver
    from swapbench.workshop.train.setup import Execution


@dataclass(frozen=True)
class Fitness:
    """The fitness of structures with generated weights: loss on the dev split + weight x discrepancy.

    The loss is class-balanced: unlike an error rate of a few hundred images it hardly ever ties.

    Attributes:
        network: Generates the weights.
        bona_fide_index: Of the logits.
        calibration: Batches of normalised training images [n, 3, h, w], for the batch norms' statistics.
        images: Normalised images of the development split [n, 3, h, w].
        samples: Those that the images show.
        domains: Number of the domain of each image [n].
        bona_fide: 0 or 1 for each image [n].
        weight: Of the discrepancy between domains.
        over: Which images of two domains are compared.
        bandwidth: That of the unpruned structure for all structures, so that discrepancies can be compared;
            None where there is only one domain.
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
        execution: Execution,
    ) -> Fitness:
        """The fitness on the train and dev splits of a dataset, with the crops as they are deployed.

        Raises:
            BadDataset: Frames cannot be read, or a class has none that can be used.
        """
        size, work, threads = recipe.preprocessing, execution.work, execution.threads
        regions = decode(dataset.samples("train"), [size], recipe.augmentation, work, threads)
        order = balanced_order(regions.samples, np.random.default_rng([execution.seed]))
        rows = order[: pruning.calibration_images]
        batches = np.array_split(rows, -(-len(rows) // SCORING_BATCH))
        dev = dataset.samples("dev")
        prepared = prepare(dev, size, work, threads)
        chosen = spread(
            [row for row in range(len(dev)) if row not in prepared.failures], dev, pruning.search_images
        )
        samples = tuple(dev[row] for row in chosen)
        if len({sample.bona_fide for sample in samples}) < 2:
            raise BadDataset(
                f"dev of {dataset.name} has usable images of one class only: "
                + ", ".join(list(prepared.failures.values())[:3]),
                remedy="Restore the files, give face boxes, or use whole frames with --faces frame.",
            )
        names = sorted({sample.domain for sample in samples})
        fitness = cls(
            network=network.eval(),
            bona_fide_index=recipe.output.bona_fide_indexes[0],
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
            return fitness
        _, embedding = fitness._outputs(network.space.widest)
        return replace(fitness, bandwidth=median_bandwidth(embedding))

    def __call__(self, genes: Genes) -> Judged:
        """Evaluate one structure; safe to call from several threads."""
        scores, embedding = self._outputs(genes)
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
    def _outputs(self, genes: Genes) -> tuple[Tensor, Tensor]:
        """Bona fide scores [n] and embeddings [n, d] of the development images."""
        network = self.network.candidate(genes, self.calibration)
        taps = [network.taps(images) for images in torch.split(self.images, SCORING_BATCH)]
        logits = torch.cat([batch.logits for batch in taps]).double()
        embedding = torch.cat([batch.embedding for batch in taps])
        return torch.softmax(logits, 1)[:, self.bona_fide_index], embedding


def spread(rows: Sequence[int], samples: Sequence[Sample], most: int) -> list[int]:
    """At most `most` rows, in order: as many of each domain and species, spread evenly over each."""
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
