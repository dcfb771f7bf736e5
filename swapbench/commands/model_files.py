"""The files of networks that have a model card; those that are missing are exported."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from swapbench import catalog, doctor
from swapbench.errors import BadCard, BadDataset
from swapbench.files import private_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.catalog import Carded, Folders
    from swapbench.commands.options import VariantOptions
    from swapbench.data.dataset import Dataset
    from swapbench.errors import SwapbenchError
    from swapbench.ports import Progress
    from swapbench.workshop.artifacts import Built


def model_files(
    folders: Folders, carded: Sequence[Carded], wanted: VariantOptions, data: Dataset, progress: Progress
) -> tuple[tuple[Built, ...], list[tuple[str, SwapbenchError]]]:
    """The wanted files of every card, from the cache or exported now; PyTorch is needed only for the latter.

    The development split of `data` calibrates the files and checks them against the network.

    Raises:
        BadDataset: There is no development split.
        MissingPackage: A file must be exported and the exporters are not installed.
    """
    from swapbench.workshop import artifacts

    if carded and not data.samples("dev"):
        raise BadDataset(
            f"{data.name} has no development split, on which exported files are calibrated and checked",
            remedy="Export them first with swapbench export, then name the files: swapbench run FILE",
        )
    files: list[Built] = []
    failures: list[tuple[str, SwapbenchError]] = []
    cache = folders.build / "artifacts"
    for model in carded:
        if not model.card.family:
            failures.append((model.card.name, _no_network(model)))
            continue
        progress("reading images", 0, 1)
        kept = private_folder(folders.cache / "crops")
        crops = artifacts.DevCrops.of(data.samples("dev"), model.card.preprocessing, kept)
        progress("reading images", 1, 1)
        variants = catalog.variants(model.card, wanted.formats, wanted.precisions)
        if artifacts.missing(model.card, variants, cache, crops.digest()):
            doctor.require("export", f"exporting {model.card.name}")
        for result in artifacts.build(model.card, model.path, variants, crops, cache, progress):
            if isinstance(result, artifacts.Built):
                files.append(result)
            else:
                failures.append((result.variant.file_name, result.error))
    return tuple(files), failures


def _no_network(model: Carded) -> BadCard:
    return BadCard(
        f"the card {model.path.name} describes files and names no network that could be exported",
        remedy=f"Measure a file with it: swapbench run FILE={shlex.quote(model.path.name)}",
    )
