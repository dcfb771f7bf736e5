"""Batches: which images a step sees, how each of them is changed, and the pixels, cut while the network works on the last ones.

Every draw comes from one generator in a fixed order, so that an epoch can be repeated. The thread that cuts uses no operator
of PyTorch's on images: one that runs in parallel starts a second team of threads, which puts the network's own team to sleep
at each of its barriers where there are no more cores than one team needs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from swapbench.workshop.pipeline.crops import Jitter, balanced_order, draw_jitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from swapbench.records import Preprocessing
    from swapbench.workshop.pipeline.crops import Regions
    from swapbench.workshop.recipes.recipe import Augmentation, TrainRecipe

Job = TypeVar("Job")
Made = TypeVar("Made")


class Draws(NamedTuple):
    """How each of n images differs from the deployed crop: its geometry, gains [n, 3] of its channels, contrast [n].

    bgr: whether the gains are those of blue, green and red.
    """

    jitters: Sequence[Jitter]
    gains: NDArray[np.float32]
    contrast: NDArray[np.float32]
    bgr: bool

    def of(self, share: slice) -> Draws:
        """Those of some of the images."""
        return Draws(self.jitters[share], self.gains[share], self.contrast[share], self.bgr)


def draw(augmentation: Augmentation, count: int, random: np.random.Generator, *, bgr: bool = False) -> Draws:
    """Draws for `count` images within the recipe's limits."""
    jitters = [draw_jitter(augmentation, random) for _ in range(count)]
    brightness = random.uniform(1 - augmentation.brightness, 1 + augmentation.brightness, (count, 1))
    gains = brightness * random.uniform(1 - augmentation.colour, 1 + augmentation.colour, (count, 3))
    contrast = random.uniform(1 - augmentation.contrast, 1 + augmentation.contrast, count)
    return Draws(jitters, gains.astype(np.float32), contrast.astype(np.float32), bgr)


def chosen(views: Sequence[Draws], numbers: NDArray[np.intp], rows: NDArray[np.intp]) -> Draws:
    """The draws of each row in the view whose number stands beside it."""
    pairs = [(views[number], int(row)) for number, row in zip(numbers, rows, strict=True)]
    return Draws(
        [view.jitters[row] for view, row in pairs],
        np.stack([view.gains[row] for view, row in pairs]),
        np.stack([view.contrast[row] for view, row in pairs]),
        views[0].bgr,
    )


class Images(NamedTuple):
    """Cut images, uint8 [n, height, width, 3], and how their colours are to be changed: gains [n, 3], contrast [n]."""

    crops: NDArray[np.uint8]
    gains: NDArray[np.float32]
    contrast: NDArray[np.float32]

    def pixels(self, device: torch.device) -> Tensor:
        """The changed images, computed on a device: [n, 3, height, width] 0..255, float32, channels last in memory."""
        crops, gains, contrast = (torch.from_numpy(one).to(device) for one in self)
        return recoloured(crops.permute(0, 3, 1, 2), gains, contrast)


def cut(regions: Regions, rows: NDArray[np.intp], draws: Draws, size: Preprocessing) -> Images:
    """The images of these rows as `size` wants them, changed as drawn."""
    crops = [regions.view(int(row), size, jitter) for row, jitter in zip(rows, draws.jitters, strict=True)]
    same_order = draws.bgr == (size.channel_order == "bgr")
    gains = draws.gains if same_order else np.ascontiguousarray(draws.gains[:, ::-1])
    return Images(np.stack(crops), gains, draws.contrast)


def recoloured(pixels: Tensor, gains: Tensor, contrast: Tensor) -> Tensor:
    """NCHW pixels 0..255 with each channel times its gain [n, 3], then contrast [n] about the image's own mean: float32."""
    changed = pixels * gains[:, :, None, None]
    mean = changed.mean((1, 2, 3), keepdim=True)
    return changed.sub_(mean).mul_(contrast[:, None, None, None]).add_(mean).clamp_(0, 255)


def normalised(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """NCHW pixels 0..255 as the network wants them, float32, on the pixels' device and in their layout in memory."""
    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=pixels.device).view(1, 3, 1, 1)
    return (pixels * preprocessing.scale).sub_(mean).div_(std)


@dataclass(frozen=True)
class Batch:
    """rows [n] of the regions; their images; bona_fide [n] 0 or 1; domains [n] numbers.

    views [n]: numbers of the fixed views, None where the draws are fresh; then `also` holds the same images as each of the
    other networks wants them.
    """

    rows: NDArray[np.intp]
    images: Images
    bona_fide: Tensor
    domains: Tensor
    views: NDArray[np.intp] | None = None
    also: tuple[Images, ...] = ()


def steps(recipe: TrainRecipe, epoch: int, samples: int) -> int:
    """How many batches an epoch has: the last images that fill none are left out."""
    return max(samples // recipe.phase(epoch).batch, 1)


def batches(
    recipe: TrainRecipe,
    epoch: int,
    regions: Regions,
    size: Preprocessing,
    random: np.random.Generator,
    *,
    also: Sequence[Preprocessing] = (),
    views: Sequence[Draws] = (),
    share: slice = slice(None),
) -> Iterator[Batch]:
    """The batches of an epoch, `size` being the student's input in it.

    also: what other networks want to see of the same draws; views: draws for every sample of which one is taken each time,
    instead of fresh ones; share: which rows of each batch, where other processes have the others.
    """
    order = balanced_order(regions.samples, random)
    count = recipe.phase(epoch).batch
    bgr = size.channel_order == "bgr"
    jobs: list[tuple[NDArray[np.intp], NDArray[np.intp] | None, Draws]] = []
    for step in range(steps(recipe, epoch, len(order))):
        rows = order[step * count : (step + 1) * count]
        if views:
            numbers = random.integers(len(views), size=len(rows))[share]
            jobs.append((rows[share], numbers, chosen(views, numbers, rows[share])))
        else:
            draws = draw(recipe.augmentation, len(rows), random, bgr=bgr)
            jobs.append((rows[share], None, draws.of(share)))
    names = sorted({sample.domain for sample in regions.samples})
    domains = torch.tensor([names.index(sample.domain) for sample in regions.samples])
    bona_fide = torch.tensor([int(sample.bona_fide) for sample in regions.samples])

    def make(job: tuple[NDArray[np.intp], NDArray[np.intp] | None, Draws]) -> Batch:
        rows, numbers, draws = job
        return Batch(
            rows=rows,
            images=cut(regions, rows, draws, size),
            bona_fide=bona_fide[rows],
            domains=domains[rows],
            views=numbers,
            also=() if views else tuple(cut(regions, rows, draws, other) for other in also),
        )

    return ahead(make, jobs)


def ahead(make: Callable[[Job], Made], jobs: Sequence[Job]) -> Iterator[Made]:
    """What `make` makes of each job, in order, the next one in a thread while the caller works on this one."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(make, jobs[0])
        for job in jobs[1:]:
            ready, coming = coming.result(), thread.submit(make, job)
            yield ready
        yield coming.result()
