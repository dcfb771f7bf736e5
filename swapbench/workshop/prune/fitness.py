"""The fitness of a structure: how good the weights are that a PruningNet generates for it."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
import torch

from swapbench.data.preprocess import prepare
from swapbench.errors import BadDataset, EnvironmentFailed, NotValid
from swapbench.files import write_atomically
from swapbench.workshop.pipeline.batches import normalised
from swapbench.workshop.pipeline.crops import Jitter, balanced_order, decode
from swapbench.workshop.prune.pruning_net import PruningNet
from swapbench.workshop.prune.search import Judged
from swapbench.workshop.prune.widths import Gene, WidthSpace
from swapbench.workshop.train.dev_scoring import SCORING_BATCH, dev_results
from swapbench.workshop.train.mmd import domain_discrepancy, median_bandwidth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from swapbench.data.dataset import Dataset
    from swapbench.data.samples import Sample
    from swapbench.workshop.prune.widths import Genes
    from swapbench.workshop.recipes.pruning_recipe import MetaPruning
    from swapbench.workshop.recipes.recipe import TrainRecipe
    from swapbench.workshop.train.mmd import MmdOver
    from swapbench.workshop.train.setup import Execution

_ABOUT: Final = "swapbench_fitness"
_SETTINGS: Final = ("bona_fide_index", "weight", "over", "bandwidth", "judge", "judged", "compared")
"""What is neither a network nor a tensor."""
_NOISE_DRAWS: Final = 20
"""Halves of the images from which the noise of a discrepancy is estimated."""


@dataclass(frozen=True)
class Fitness:
    """The fitness of structures with generated weights: loss on unseen people + weight x discrepancy.

    MetaPruning (Liu et al., ICCV 2019) judges by the error on held-out images. Ours is the class-balanced
    loss, or 1 - AUC: unlike an error rate of a few hundred images they hardly ever tie. The people are those
    of the development split or, where a source domain is held out, those of that domain.

    Attributes:
        network: Generates the weights.
        bona_fide_index: Of the logits.
        calibration: Batches of normalised training images [n, 3, h, w], for the batch norms' statistics.
        images: Normalised images that the generated weights have not seen [n, 3, h, w].
        domains: Number of the domain of each image [n].
        bona_fide: 0 or 1 for each image [n].
        weight: Of the discrepancy between domains.
        over: Which images of two domains are compared.
        bandwidth: That of the unpruned structure for all structures, so that discrepancies can be compared;
            None where there is only one domain.
        judge: Which part of the results on the judged images counts.
        judged: Rows of the images that it is of.
        compared: Rows of the images whose domains are compared.
    """

    network: PruningNet
    bona_fide_index: int
    calibration: tuple[Tensor, ...]
    images: Tensor
    domains: Tensor
    bona_fide: Tensor
    weight: float
    over: MmdOver
    bandwidth: float | None
    judge: Literal["loss", "auc"]
    judged: tuple[int, ...]
    compared: tuple[int, ...]

    def save(self, path: Path) -> None:
        """Write all of it to a .safetensors file, with which another process judges as this one does."""
        from safetensors.torch import save

        space = self.network.space
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {"domains": self.domains, "bona_fide": self.bona_fide, "images": _nhwc(self.images)}
        tensors |= {f"calibration.{place}": _nhwc(batch) for place, batch in enumerate(self.calibration)}
        about = {
            "architecture": self.network.architecture,
            "space": {**asdict(space), "genes": [asdict(gene) for gene in space.genes]},
            "hidden": self.network.hidden,
            "batches": len(self.calibration),
            "settings": {name: getattr(self, name) for name in _SETTINGS},
            "arithmetic": self.arithmetic(),
        }
        write_atomically(path, save(tensors, {_ABOUT: json.dumps(about)}))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The fitness in a file that `save` wrote.

        Raises:
            NotValid: It is no such file.
            EnvironmentFailed: This computer computes otherwise than the one that wrote it, if only in the
                last digit: its values must not be mixed with those of others.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})[_ABOUT])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            fitness = cls(**_fields(about, tensors))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise NotValid(
                f"{path} holds no fitness of structures", remedy="Start the search again."
            ) from error
        if fitness.arithmetic() != about["arithmetic"]:
            raise EnvironmentFailed(
                f"the computer {os.uname().nodename} computes other last digits than the one that searches",
                remedy="Search on processors of one kind with the same packages, or without --fleet; "
                "the same command goes on from what was judged.",
            )
        return fitness

    @classmethod
    def of(
        cls,
        network: PruningNet,
        recipe: TrainRecipe,
        pruning: MetaPruning,
        dataset: Dataset,
        execution: Execution,
        held_out: str = "",
    ) -> Fitness:
        """The fitness on the train and dev splits of a dataset, with the crops as they are deployed.

        Args:
            network: Generates the weights.
            recipe: Of the network.
            pruning: Of the search.
            dataset: With all source domains.
            execution: Where it computes.
            held_out: The source domain that the network was not trained on, on which structures are judged;
                "" judges them on the development split of all.

        Raises:
            BadDataset: Frames cannot be read, or a class has none that can be used.
        """
        size, work, threads = recipe.preprocessing, execution.work, execution.threads
        seen = [sample for sample in dataset.samples("train") if not held_out or sample.domain != held_out]
        regions = decode(seen, [size], recipe.augmentation, work, threads)
        order = balanced_order(regions.samples, np.random.default_rng([execution.seed]))
        rows = order[: pruning.calibration_images]
        batches = np.array_split(rows, -(-len(rows) // SCORING_BATCH))
        apart = [sample for sample in dataset.samples("train") if held_out and sample.domain == held_out]
        dev = (*dataset.samples("dev"), *apart)
        prepared = prepare(dev, size, work, threads)
        usable = [row for row in range(len(dev)) if row not in prepared.failures]
        chosen = spread([row for row in usable if row < len(dev) - len(apart)], dev, pruning.search_images)
        chosen += spread([row for row in usable if row >= len(dev) - len(apart)], dev, pruning.search_images)
        samples = tuple(dev[row] for row in chosen)
        judged = tuple(
            place for place, sample in enumerate(samples) if not held_out or sample.domain == held_out
        )
        if len({samples[place].bona_fide for place in judged}) < 2:
            raise BadDataset(
                f"dev of {dataset.name} has usable images of one class only: "
                + ", ".join(list(prepared.failures.values())[:3]),
                remedy="Restore the files, give face boxes, or use whole frames with --faces frame.",
            )
        names = sorted({sample.domain for sample in samples})
        fitness = cls(
            network=network.cpu().eval(),
            bona_fide_index=recipe.output.bona_fide_indexes[0],
            calibration=tuple(
                normalised(
                    _nchw(
                        torch.from_numpy(np.stack([regions.view(int(row), size, Jitter()) for row in batch]))
                    ),
                    size,
                )
                for batch in batches
            ),
            images=normalised(_nchw(torch.from_numpy(prepared.crops()[chosen])), size),
            domains=torch.tensor([names.index(sample.domain) for sample in samples]),
            bona_fide=torch.tensor([int(sample.bona_fide) for sample in samples]),
            weight=pruning.mmd_search,
            over=recipe.mmd_over,
            bandwidth=None,
            judge=pruning.judge,
            judged=judged,
            compared=tuple(place for place, row in enumerate(chosen) if row < len(dev) - len(apart)),
        )
        if len(names) < 2:
            return fitness
        _, embedding = fitness._outputs(network.space.widest)
        return replace(fitness, bandwidth=median_bandwidth(embedding[list(fitness.compared)]))

    def __call__(self, genes: Genes) -> Judged:
        """Evaluate one structure; safe to call from several threads."""
        scores, embedding = self._outputs(genes)
        if not bool(torch.isfinite(scores).all() and torch.isfinite(embedding).all()):
            return Judged(math.inf, {})
        parts = self._results(scores)
        fitness = self._own(parts)
        if self.bandwidth is not None:
            parts["mmd"] = self._discrepancy(embedding, self.compared)
            fitness += self.weight * parts["mmd"]
        return Judged(fitness, parts)

    def arithmetic(self) -> str:
        """A digest of what the widest structure computes: processors or packages that round otherwise differ.

        So does another number of PyTorch's threads.
        """
        digest = hashlib.sha256()
        for values in self._outputs(self.network.space.widest):
            digest.update(values.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def noise_share(self, structures: Sequence[Genes], random: np.random.Generator) -> float:
        """Sampling noise of the weighted discrepancy as a share of the spread of the structures' own fitness.

        The noise is the standard deviation over random halves of the compared images, drawn without
        replacement: about that of the discrepancy of all of them over other images (the delete-half
        jackknife). It is the mean over the structures; the spread is their standard deviation.

        Args:
            structures: At least two.
            random: Where the halves come from.
        """
        own, noise = [], []
        for genes in structures:
            scores, embedding = self._outputs(genes)
            own.append(self._own(self._results(scores)))
            halves = [
                random.permutation(self.compared)[: len(self.compared) // 2] for _ in range(_NOISE_DRAWS)
            ]
            noise.append(np.std([self._discrepancy(embedding, half) for half in halves], ddof=1))
        spread_of_own = float(np.std(own, ddof=1))
        return self.weight * float(np.mean(noise)) / spread_of_own if spread_of_own > 0 else math.inf

    def _results(self, scores: Tensor) -> dict[str, float]:
        bona_fide = [bool(self.bona_fide[place]) for place in self.judged]
        return dict(dev_results(bona_fide, scores[list(self.judged)].numpy()))

    def _own(self, results: Mapping[str, float]) -> float:
        return results["loss"] if self.judge == "loss" else 1 - results["auc"]

    def _discrepancy(self, embedding: Tensor, places: Sequence[int] | NDArray[np.int_]) -> float:
        rows = torch.as_tensor(places)
        return float(
            domain_discrepancy(
                embedding[rows], self.domains[rows], self.bona_fide[rows], self.over, self.bandwidth
            )
        )

    @torch.no_grad()
    def _outputs(self, genes: Genes) -> tuple[Tensor, Tensor]:
        """Bona fide scores [n] and embeddings [n, d] of the development images."""
        network = self.network.candidate(genes, self.calibration)
        taps = [network.taps(images) for images in torch.split(self.images, SCORING_BATCH)]
        logits = torch.cat([batch.logits for batch in taps]).double()
        embedding = torch.cat([batch.embedding for batch in taps])
        return torch.softmax(logits, 1)[:, self.bona_fide_index], embedding


def _fields(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of a fitness from its file; raises what Python does where they are not there."""
    space = about["space"]
    genes = [Gene(gene["name"], tuple(gene["places"]), tuple(gene["widths"])) for gene in space["genes"]]
    space = WidthSpace(tuple(space["base"]), tuple(genes), space["multiple"])
    network = PruningNet(about["architecture"], space, about["hidden"])
    own = {name.removeprefix("network."): of for name, of in tensors.items() if name.startswith("network.")}
    network.load_state_dict(own)
    settings = {name: about["settings"][name] for name in _SETTINGS}
    return {
        "network": network.eval(),
        "calibration": tuple(_nchw(tensors[f"calibration.{place}"]) for place in range(about["batches"])),
        "images": _nchw(tensors["images"]),
        "domains": tensors["domains"],
        "bona_fide": tensors["bona_fide"],
        **{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()},
    }


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


def _nchw(pixels: Tensor) -> Tensor:
    """Pixels [n, h, w, 3] as images [n, 3, h, w]; a pixel's channels stay side by side in memory."""
    return pixels.permute(0, 3, 1, 2).float()


def _nhwc(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).contiguous()
