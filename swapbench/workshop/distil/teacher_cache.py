"""Teacher outputs, computed once for fixed augmented views of every training image and kept on disk.

A teacher's forward pass costs several times a student's step, and fresh views would pay it for every image in
every epoch. Each view of each teacher is on disk whole or not at all, so a killed computation resumes at the
next view.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from swapbench.files import whole_file
from swapbench.kept import keep, kept
from swapbench.workshop.distil.distillation import TeacherOutput
from swapbench.workshop.pipeline.batches import Draws, ahead, chosen, cut, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray
    from torch import Tensor

    from swapbench.ports import Progress
    from swapbench.workshop.distil.distillation import Teacher
    from swapbench.workshop.pipeline.batches import Images
    from swapbench.workshop.pipeline.crops import Regions
    from swapbench.workshop.recipes.recipe import TrainRecipe

_FORMAT = 2
_BATCH = 32
"""Images of one forward pass."""


@dataclass(frozen=True)
class CachedOutputs:
    """The outputs of each teacher for fixed views of every sample.

    Attributes:
        views: What was drawn for each view.
        stored: For each teacher and view, field of `TeacherOutput` -> rows of all samples, mapped from disk.
        seconds: What the outputs took to compute, also where they were on disk already.
    """

    views: tuple[Draws, ...]
    stored: tuple[tuple[dict[str, NDArray[Any]], ...], ...]
    seconds: float

    def of(
        self, rows: NDArray[np.intp], views: NDArray[np.intp], device: torch.device
    ) -> tuple[TeacherOutput, ...]:
        """One output a teacher for these samples [n], each in its view [n]."""
        return tuple(
            TeacherOutput(**{part: _gathered(by_view, part, rows, views).to(device) for part in by_view[0]})
            for by_view in self.stored
        )


def cached_outputs(
    teachers: Sequence[Teacher],
    recipe: TrainRecipe,
    regions: Regions,
    work: Path,
    progress: Progress,
) -> CachedOutputs:
    """The outputs for the recipe's number of views of every sample; those not on disk yet are computed now.

    A view is drawn from its number, so more views leave the first ones as they are. The seed of a training
    decides which view it sees when, not what the views are: trainings that differ in the seed alone share the
    outputs.

    Args:
        teachers: Each has a folder of its own, named by a digest of everything that its outputs depend on.
        recipe: Says how many views, and how they are drawn.
        regions: The decoded training frames.
        work: Where the folders lie.
        progress: Called with the number of images whose outputs were computed now.
    """
    assert recipe.distillation is not None
    count = len(regions.samples)
    views = fixed_views(recipe, count, recipe.distillation.views)
    # "answers" is what outputs were called when the first caches were written: they are still found
    folders = [work / f"answers-{_key(teacher, recipe, regions)[:24]}" for teacher in teachers]
    wanted = {
        folder / f"view-{number}.json": (teacher, draws)
        for teacher, folder in zip(teachers, folders, strict=True)
        for number, draws in enumerate(views)
    }
    entries = {index: kept(index) for index in wanted}
    missing = [index for index, content in entries.items() if content is None]
    done = 0

    def on_batch(images: int) -> None:
        nonlocal done
        done += images
        progress("computing teacher outputs", done, len(missing) * count)

    for index in missing:
        entries[index] = _compute(wanted[index][0], regions, wanted[index][1], index, on_batch)
    stored, seconds = [], 0.0
    for folder in folders:
        by_view = []
        for number in range(len(views)):
            index = folder / f"view-{number}.json"
            content = entries[index] or {}
            seconds += content["seconds"]
            by_view.append(
                {part: np.load(_array_path(index, part), mmap_mode="r") for part in content["parts"]}
            )
        stored.append(tuple(by_view))
    return CachedOutputs(views, tuple(stored), seconds)


def fixed_views(recipe: TrainRecipe, count: int, views: int) -> tuple[Draws, ...]:
    """What is drawn for each of some fixed views of `count` samples; the same for every seed."""
    bgr = recipe.preprocessing.channel_order == "bgr"
    return tuple(
        draw(recipe.augmentation, count, np.random.default_rng([number, _FORMAT]), bgr=bgr)
        for number in range(views)
    )


def _key(teacher: Teacher, recipe: TrainRecipe, regions: Regions) -> str:
    """A digest of everything that a teacher's outputs depend on."""
    parts = [
        _FORMAT,
        regions.key,
        teacher.card.checkpoint_sha256,
        teacher.card.preprocessing.model_dump(mode="json"),
        sorted(teacher.parts),
        [teacher.bfloat16, teacher.device.type],
        recipe.augmentation.model_dump(mode="json"),
        recipe.preprocessing.channel_order,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _compute(
    teacher: Teacher, regions: Regions, draws: Draws, index: Path, on_batch: Callable[[int], None]
) -> dict[str, Any]:
    """Write a teacher's outputs for every sample in one view: a .npy file a field, and last the index."""
    began = time.monotonic()
    count = len(regions.samples)
    blocks = np.array_split(np.arange(count), -(-count // _BATCH))

    def make(rows: NDArray[np.intp]) -> Images:
        of_rows = chosen([draws], np.zeros(len(rows), np.intp), rows)
        return cut(regions, rows, of_rows, *teacher.sight)

    files: dict[str, IO[bytes]] = {}
    with contextlib.ExitStack() as stack:
        for rows, images in zip(blocks, ahead(make, blocks), strict=True):
            for part, value in teacher.output(images.pixels(teacher.device))._asdict().items():
                if value is None:
                    continue
                # features are many: half precision is finer than what bfloat16 computed
                array = (value.half() if part == "features" else value).cpu().numpy()
                if part not in files:
                    files[part] = stack.enter_context(whole_file(_array_path(index, part)))
                    header = {"descr": array.dtype.str, "fortran_order": False}
                    shape = {"shape": (count, *array.shape[1:])}
                    np.lib.format.write_array_header_1_0(files[part], header | shape)
                files[part].write(np.ascontiguousarray(array).data)
            on_batch(len(rows))
    content = {"parts": list(files), "seconds": time.monotonic() - began}
    keep(index, content, [_array_path(index, part) for part in files])
    return content


def _array_path(index: Path, part: str) -> Path:
    return index.with_name(f"{index.stem}.{part}.npy")


def _gathered(
    by_view: Sequence[dict[str, NDArray[Any]]], part: str, rows: NDArray[np.intp], views: NDArray[np.intp]
) -> Tensor:
    return torch.from_numpy(
        np.stack([by_view[view][part][row] for row, view in zip(rows, views, strict=True)])
    )
