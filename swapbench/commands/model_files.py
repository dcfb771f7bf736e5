"""The files of networks that have a model card; those that are missing are exported."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from swapbench import catalog
from swapbench.errors import MissingPackage, SwapbenchError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.catalog import Carded, Folders
    from swapbench.commands.options import VariantOptions
    from swapbench.data.dataset import Dataset
    from swapbench.data.samples import Sample
    from swapbench.ports import Progress
    from swapbench.workshop.artifacts import Built, DevCrops

    Failures = list[tuple[str, SwapbenchError]]

DEV_FRAMES = 512
"""Frames of the development split that calibration and parity choose from.

More than they take, and far fewer than a video dataset has.
"""


def need_exporters(purpose: str) -> None:
    """Raise MissingPackage where what exports networks is not installed."""
    for package in ("torch", "litert_torch", "ai_edge_quantizer", "onnxslim", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(package, purpose, "export")


def carded_models(folders: Folders, names: Sequence[str]) -> tuple[tuple[Carded, ...], Failures]:
    """The named models, or all; a card that cannot be read fails alone.

    Raises:
        UnknownName: A name is misspelt.
    """
    cards = catalog.card_files(folders)
    for name in names:
        if name not in cards and not name.endswith(".toml"):
            raise UnknownName("model", name, cards)
    carded: list[Carded] = []
    failures: Failures = []
    for name in names or cards:
        try:
            carded.append(catalog.model(folders, name))
        except SwapbenchError as error:
            failures.append((name, error))
    return tuple(carded), failures


def model_files(
    folders: Folders, carded: Sequence[Carded], wanted: VariantOptions, data: Dataset, progress: Progress
) -> tuple[tuple[Built, ...], Failures]:
    """The wanted files of every card, from the cache or exported now; PyTorch is needed only for the latter.

    The development split of `data` calibrates the files and checks them against the network.

    Raises:
        MissingPackage: A file must be exported and the exporters are not installed.
    """
    from swapbench.workshop import artifacts

    files: list[Built] = []
    failures: Failures = []
    cache = folders.build / "artifacts"
    for model in carded:
        crops = _dev_crops(folders, model, data, progress)
        variants = catalog.variants(model.card, wanted.formats, wanted.precisions)
        if artifacts.missing(model.card, variants, cache, crops.digest()):
            need_exporters(f"exporting {model.card.name}")
        for result in artifacts.build(model.card, model.path, variants, crops, cache, progress):
            if isinstance(result, artifacts.Built):
                files.append(result)
            else:
                failures.append((result.variant.file_name, result.error))
    return tuple(files), failures


def _dev_crops(folders: Folders, model: Carded, data: Dataset, progress: Progress) -> DevCrops:
    """Frames of the development split as the network takes them, without those that cannot be read."""
    import numpy as np

    from swapbench.data.preprocess import prepare
    from swapbench.workshop.artifacts import DevCrops

    frames = _spread(data.samples("dev"), DEV_FRAMES)
    progress("reading images", 0, 1)
    prepared = prepare(
        frames, model.card.preprocessing, folders.build / "crops", processes=os.cpu_count() or 1
    )
    progress("reading images", 1, 1)
    usable = [index for index in range(len(frames)) if index not in prepared.failures]
    return DevCrops(
        crops=np.asarray(prepared.crops()[usable]),
        bona_fide=np.array([frames[index].bona_fide for index in usable], dtype=np.bool_),
    )


def _spread(samples: Sequence[Sample], limit: int) -> tuple[Sample, ...]:
    """At most so many samples, half of each class, spread evenly over the split and in its order."""
    chosen: set[int] = set()
    for bona_fide in (True, False):
        places = [place for place, sample in enumerate(samples) if sample.bona_fide is bona_fide]
        count = min(len(places), limit // 2)
        chosen.update(places[number * len(places) // count] for number in range(count))
    return tuple(samples[place] for place in sorted(chosen))
