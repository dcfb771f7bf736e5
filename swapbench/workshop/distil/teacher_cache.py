"""Teachers' answers, computed once for a fixed number of augmented views of every training image and kept on disk.

A teacher's forward pass costs several times a student's step, and fresh views would pay it for every image in every epoch.
Each view of each teacher is finished or not there, so asking goes on where it was cut.
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

from swapbench.files import whole_file, write_atomically
from swapbench.workshop.distil.distillation import Answer
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
_ASKED_AT_ONCE = 32


@dataclass(frozen=True)
class Answers:
    """Views of every sample, and what each teacher says of them.

    views: the draws of each; stored: for each teacher and view, part -> rows of all samples, mapped from disk; seconds: what
    asking took, also where the answers were there already.
    """

    views: tuple[Draws, ...]
    stored: tuple[tuple[dict[str, NDArray[Any]], ...], ...]
    seconds: float

    def of(self, rows: NDArray[np.intp], views: NDArray[np.intp], device: torch.device) -> tuple[Answer, ...]:
        """One answer a teacher to these samples in these views."""
        return tuple(
            Answer(**{part: _gathered(by_view, part, rows, views).to(device) for part in by_view[0]})
            for by_view in self.stored
        )


def kept_answers(
    teachers: Sequence[Teacher],
    recipe: TrainRecipe,
    regions: Regions,
    work: Path,
    progress: Progress,
) -> Answers:
    """The answers to the recipe's number of views of every sample; those that are not in `work` yet are asked for now.

    A view is drawn from its number, so that more views leave the first ones as they are. The seed of a training decides which
    of the views it sees when, not what they are: trainings that differ in the seed alone share the answers.
    """
    assert recipe.distillation is not None
    bgr = recipe.preprocessing.channel_order == "bgr"
    count = len(regions.samples)
    views = tuple(
        draw(recipe.augmentation, count, np.random.default_rng([number, _FORMAT]), bgr=bgr)
        for number in range(recipe.distillation.views)
    )
    folders = [work / f"answers-{_key(teacher, recipe, regions)[:24]}" for teacher in teachers]
    missing = [
        (teacher, draws, folder / f"view-{number}.json")
        for teacher, folder in zip(teachers, folders, strict=True)
        for number, draws in enumerate(views)
        if not (folder / f"view-{number}.json").is_file()
    ]
    done = 0

    def asked(images: int) -> None:
        nonlocal done
        done += images
        progress("asking the teachers", done, len(missing) * count)

    for teacher, draws, about in missing:
        _ask(teacher, regions, draws, about, asked)
    stored, seconds = [], 0.0
    for folder in folders:
        by_view = []
        for number in range(len(views)):
            about = folder / f"view-{number}.json"
            said = json.loads(about.read_text(encoding="utf-8"))
            seconds += said["seconds"]
            by_view.append({part: np.load(_part_path(about, part), mmap_mode="r") for part in said["parts"]})
        stored.append(tuple(by_view))
    return Answers(views, tuple(stored), seconds)


def _key(teacher: Teacher, recipe: TrainRecipe, regions: Regions) -> str:
    """A digest of everything that an answer depends on."""
    about = [
        _FORMAT,
        regions.key,
        teacher.card.checkpoint_sha256,
        teacher.card.preprocessing.model_dump(mode="json"),
        sorted(teacher.parts),
        [teacher.bfloat16, teacher.device.type],
        recipe.augmentation.model_dump(mode="json"),
        recipe.preprocessing.channel_order,
    ]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _ask(teacher: Teacher, regions: Regions, draws: Draws, about: Path, asked: Callable[[int], None]) -> None:
    """Write what a teacher says of every sample in one view: a .npy file for each part, and last the file `about` them."""
    began = time.monotonic()
    count = len(regions.samples)
    blocks = np.array_split(np.arange(count), -(-count // _ASKED_AT_ONCE))

    def make(rows: NDArray[np.intp]) -> Images:
        one = chosen([draws], np.zeros(len(rows), np.intp), rows)
        return cut(regions, rows, one, teacher.card.preprocessing)

    files: dict[str, IO[bytes]] = {}
    with contextlib.ExitStack() as stack:
        for rows, images in zip(blocks, ahead(make, blocks), strict=True):
            for part, value in teacher.answer(images.pixels(teacher.device))._asdict().items():
                if value is None:
                    continue
                # features are many: half precision is finer than what bfloat16 computed
                array = (value.half() if part == "features" else value).cpu().numpy()
                if part not in files:
                    files[part] = stack.enter_context(whole_file(_part_path(about, part)))
                    header = {"descr": array.dtype.str, "fortran_order": False}
                    shape = {"shape": (count, *array.shape[1:])}
                    np.lib.format.write_array_header_1_0(files[part], header | shape)
                files[part].write(np.ascontiguousarray(array).data)
            asked(len(rows))
    write_atomically(about, json.dumps({"parts": list(files), "seconds": time.monotonic() - began}) + "\n")


def _part_path(about: Path, part: str) -> Path:
    return about.with_name(f"{about.stem}.{part}.npy")


def _gathered(
    by_view: Sequence[dict[str, NDArray[Any]]], part: str, rows: NDArray[np.intp], views: NDArray[np.intp]
) -> Tensor:
    found = [by_view[view][part][row] for row, view in zip(rows, views, strict=True)]
    return torch.from_numpy(np.stack(found))
