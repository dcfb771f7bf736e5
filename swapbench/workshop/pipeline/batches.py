"""Batches: which images a step sees, how each is augmented, and its pixels, cut while the network trains.

Every draw comes from one generator in a fixed order, so that an epoch can be repeated. The thread that cuts
uses no PyTorch operator on images: a parallel one would start a second team of threads, which makes the
network's own team sleep at each of its barriers where there are no more cores than one team needs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from swapbench.workshop.nets import modalities_of
from swapbench.workshop.pipeline.crops import (
    Jitter,
    balanced_order,
    draw_jitter,
    of_one_channel,
    stratified_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from swapbench.records import Preprocessing
    from swapbench.workshop.pipeline.crops import Regions
    from swapbench.workshop.recipes.recipe import Augmentation, TrainRecipe

Job = TypeVar("Job")
Made = TypeVar("Made")


class Draws(NamedTuple):
    """How each of n images differs from the deployed crop.

    Attributes:
        jitters: Geometry of each image.
        gains: Factor of each channel [n, 3].
        contrast: Factor of each image's contrast [n].
        bgr: Whether the gains are in the order blue, green, red.
    """

    jitters: Sequence[Jitter]
    gains: NDArray[np.float32]
    contrast: NDArray[np.float32]
    bgr: bool

    def of(self, share: slice) -> Draws:
        """The draws of some of the images."""
        return Draws(self.jitters[share], self.gains[share], self.contrast[share], self.bgr)


def draw(augmentation: Augmentation, count: int, random: np.random.Generator, *, bgr: bool = False) -> Draws:
    """Draws for `count` images, within the limits of the recipe."""
    jitters = [draw_jitter(augmentation, random) for _ in range(count)]
    brightness = random.uniform(1 - augmentation.brightness, 1 + augmentation.brightness, (count, 1))
    gains = brightness * random.uniform(1 - augmentation.colour, 1 + augmentation.colour, (count, 3))
    contrast = random.uniform(1 - augmentation.contrast, 1 + augmentation.contrast, count)
    return Draws(jitters, gains.astype(np.float32), contrast.astype(np.float32), bgr)


def chosen(views: Sequence[Draws], numbers: NDArray[np.intp], rows: NDArray[np.intp]) -> Draws:
    """The draws of each row [n] in the view of its number [n]."""
    pairs = [(views[number], int(row)) for number, row in zip(numbers, rows, strict=True)]
    return Draws(
        [view.jitters[row] for view, row in pairs],
        np.stack([view.gains[row] for view, row in pairs]),
        np.stack([view.contrast[row] for view, row in pairs]),
        views[0].bgr,
    )


def memory_format(device: torch.device) -> torch.memory_format:
    """The layout of images in memory that convolutions on a device take: channels last where that is safe.

    On CPUs with AVX2 and without AVX-512, PyTorch 2.13 (its oneDNN) writes beyond its buffers in the backward
    pass of channels-last convolutions with certain numbers of channels (4, for one), and the process dies.
    """
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return torch.contiguous_format
    return torch.channels_last


class Images(NamedTuple):
    """Cut images and how their colours are to be changed.

    Attributes:
        crops: uint8 [n, height, width, 3].
        gains: Factor of each channel [n, 3], in the channel order of the crops.
        contrast: Factor of each image's contrast [n].
        beside: What other sensors saw, uint8 [n, height, width, modalities]; their levels are not changed.
    """

    crops: NDArray[np.uint8]
    gains: NDArray[np.float32]
    contrast: NDArray[np.float32]
    beside: NDArray[np.uint8] | None = None

    def pixels(self, device: torch.device) -> Tensor:
        """The changed images on a device: [n, channels, height, width] 0..255, in its `memory_format`."""
        arrays = (self.crops, self.gains, self.contrast)
        crops, gains, contrast = (torch.from_numpy(array).to(device) for array in arrays)
        pixels = crops.permute(0, 3, 1, 2).contiguous(memory_format=memory_format(device))
        changed = recoloured(pixels, gains, contrast)
        if self.beside is None:
            return changed
        others = torch.from_numpy(self.beside).to(device).permute(0, 3, 1, 2).float()
        return torch.cat([changed, others], 1).contiguous(memory_format=memory_format(device))

    def of(self, rows: NDArray[np.intp]) -> Images:
        """Some of the images."""
        beside = None if self.beside is None else self.beside[rows]
        return Images(self.crops[rows], self.gains[rows], self.contrast[rows], beside)


Sight = tuple["Preprocessing", tuple[str, ...]]
"""How a network sees: its preprocessing, and the modalities besides the photograph."""


def cut(
    regions: Regions,
    rows: NDArray[np.intp],
    draws: Draws,
    size: Preprocessing,
    modalities: Sequence[str] = (),
) -> Images:
    """The images of rows [n], augmented as drawn, in the size and channel order of a preprocessing."""
    beside = None
    if modalities:
        one = of_one_channel(size)
        views = [
            [regions.beside[name].view(int(row), one, jitter) for name in modalities]
            for row, jitter in zip(rows, draws.jitters, strict=True)
        ]
        beside = np.stack([np.concatenate(of_row, axis=2) for of_row in views])
    crops = [regions.view(int(row), size, jitter) for row, jitter in zip(rows, draws.jitters, strict=True)]
    same_order = draws.bgr == (size.channel_order == "bgr")
    gains = draws.gains if same_order else np.ascontiguousarray(draws.gains[:, ::-1])
    return Images(np.stack(crops), gains, draws.contrast, beside)


def recoloured(pixels: Tensor, gains: Tensor, contrast: Tensor) -> Tensor:
    """Pixels with each channel times its gain, then the distance from the image's mean times its contrast.

    Args:
        pixels: [n, 3, h, w] 0..255.
        gains: [n, 3].
        contrast: [n].

    Returns:
        [n, 3, h, w], float32, clipped to 0..255.
    """
    changed = pixels * gains[:, :, None, None]
    mean = changed.mean((1, 2, 3), keepdim=True)
    return changed.sub_(mean).mul_(contrast[:, None, None, None]).add_(mean).clamp_(0, 255)


def normalised(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pixels [n, channels, h, w] 0..255 as the network's input; device and memory layout stay the same.

    The first three are the photograph's, as its card says; others are those of modalities, about 0 in -2..2.
    """
    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=pixels.device).view(1, 3, 1, 1)
    photographs = (pixels[:, :3] * preprocessing.scale).sub_(mean).div_(std)
    if pixels.shape[1] == 3:
        return photographs
    return torch.cat([photographs, (pixels[:, 3:] / 255 - 0.5) / 0.25], 1)


@dataclass(frozen=True)
class Batch:
    """The images of one step.

    Attributes:
        rows: Indexes into the samples of the regions [n].
        images: For the student.
        bona_fide: 0 or 1 [n].
        domains: Number of the domain [n].
        views: Number of the fixed view of each image [n]; None where the draws are fresh.
        also: The same images for each of the other networks; empty with fixed views.
        share: Of the whole training that has passed.
    """

    rows: NDArray[np.intp]
    images: Images
    bona_fide: Tensor
    domains: Tensor
    views: NDArray[np.intp] | None = None
    also: tuple[Images, ...] = ()
    share: float = 1.0

    def of(self, rows: Tensor) -> Batch:
        """These rows of it [m], without what other networks see."""
        chosen = rows.numpy()
        images = self.images.of(chosen)
        return Batch(self.rows[chosen], images, self.bona_fide[rows], self.domains[rows], share=self.share)


class _Job(NamedTuple):
    """What a batch is made from, see `Batch`."""

    rows: NDArray[np.intp]
    views: NDArray[np.intp] | None
    draws: Draws
    share: float


def steps(recipe: TrainRecipe, epoch: int, samples: int) -> int:
    """The number of batches of an epoch; the last images that do not fill a batch are left out."""
    return max(samples // recipe.phase(epoch).batch, 1)


def batches(
    recipe: TrainRecipe,
    epoch: int,
    regions: Regions,
    size: Preprocessing,
    random: np.random.Generator,
    *,
    also: Sequence[Sight] = (),
    views: Sequence[Draws] = (),
    share: slice = slice(None),
) -> Iterator[Batch]:
    """The batches of an epoch.

    Args:
        recipe: Says how many images a batch has and how they are augmented.
        epoch: From 0.
        regions: The decoded training frames.
        size: The student's preprocessing in this epoch.
        random: Where all draws come from.
        also: How other networks see, which see the same draws.
        views: Fixed views, draws for every sample each; one of them is drawn for each image, instead of fresh
            draws.
        share: The rows of each batch that belong to this process.
    """
    order = balanced_order(regions.samples, random)
    if recipe.stratified:
        order = stratified_order(order, regions.samples, random)
    count = recipe.phase(epoch).batch
    bgr = size.channel_order == "bgr"
    jobs: list[_Job] = []
    many = steps(recipe, epoch, len(order))
    for step in range(many):
        passed = (epoch + step / many) / recipe.epochs
        rows = order[step * count : (step + 1) * count]
        if views:
            numbers = random.integers(len(views), size=len(rows))[share]
            jobs.append(_Job(rows[share], numbers, chosen(views, numbers, rows[share]), passed))
        else:
            draws = draw(recipe.augmentation, len(rows), random, bgr=bgr)
            jobs.append(_Job(rows[share], None, draws.of(share), passed))
    names = sorted({sample.domain for sample in regions.samples})
    domains = torch.tensor([names.index(sample.domain) for sample in regions.samples])
    bona_fide = torch.tensor([int(sample.bona_fide) for sample in regions.samples])

    def make(job: _Job) -> Batch:
        rows, numbers, draws, passed = job
        return Batch(
            rows=rows,
            images=cut(regions, rows, draws, size, modalities_of(recipe.architecture)),
            bona_fide=bona_fide[rows],
            domains=domains[rows],
            views=numbers,
            also=() if views else tuple(cut(regions, rows, draws, *other) for other in also),
            share=passed,
        )

    return ahead(make, jobs)


def ahead(make: Callable[[Job], Made], jobs: Sequence[Job]) -> Iterator[Made]:
    """The result of `make` for each job, in order; a thread makes the next while the caller uses the last."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        future = thread.submit(make, jobs[0])
        for job in jobs[1:]:
            result, future = future.result(), thread.submit(make, job)
            yield result
        yield future.result()
