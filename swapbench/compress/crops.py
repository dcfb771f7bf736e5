"""Training crops: every image decoded once, then cut anew for each epoch with the deployed resize.

What is kept is the part of the frame that any jittered crop can touch, at its own resolution: print screens and moire live
in the finest detail, so a training crop must not be resampled twice when a deployed one is resampled once.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from swapbench.errors import BadDataset
from swapbench.files import whole_file, write_atomically
from swapbench.pad.preprocess import content_key, crop_box, load_frame, resized

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.compress.recipe import Augmentation
    from swapbench.pad.dataset import Sample
    from swapbench.records import Preprocessing


class Jitter(NamedTuple):
    """One draw of the geometry: side times `scale`, centre moved by parts of the side, mirrored or not."""

    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    flip: bool = False


def draw_jitter(augmentation: Augmentation, random: np.random.Generator) -> Jitter:
    """A Jitter within the recipe's limits."""
    scale = random.uniform(1 - augmentation.scale, 1 + augmentation.scale)
    shift_x, shift_y = random.uniform(-augmentation.shift, augmentation.shift, 2)
    return Jitter(float(scale), float(shift_x), float(shift_y), bool(random.random() < augmentation.flip))


def jittered(
    crop: tuple[int, int, int, int], jitter: Jitter, limits: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """The crop after scale and shift, moved (and shrunk where it must) to lie inside the limits; all are x0, y0, x1, y1."""
    edges = [0.0] * 4
    for axis, shift in ((0, jitter.shift_x), (1, jitter.shift_y)):
        low, high = crop[axis], crop[axis + 2]
        side = min((high - low) * jitter.scale, limits[axis + 2] - limits[axis])
        start = (low + high) / 2 + shift * (high - low) - side / 2
        start = min(max(start, limits[axis]), limits[axis + 2] - side)
        edges[axis], edges[axis + 2] = start, start + side
    return edges[0], edges[1], edges[2], edges[3]


class Region(NamedTuple):
    """Where one decoded part lies in the file, and in its frame."""

    offset: int
    frame_width_px: int
    frame_height_px: int
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class Regions:
    """Decoded parts of frames, mapped from one file: uint8 RGB, one after the other."""

    samples: tuple[Sample, ...]
    pixels: NDArray[np.uint8]
    table: tuple[Region, ...]

    def view(self, index: int, preprocessing: Preprocessing, jitter: Jitter) -> NDArray[np.uint8]:
        """The jittered crop of one sample at the preprocessing's input size: uint8 [height, width, 3].

        Without jitter it equals pad.preprocess.load_crop of the same image.
        """
        from PIL import Image

        region = self.table[index]
        height, width = region.y1 - region.y0, region.x1 - region.x0
        stored = self.pixels[region.offset : region.offset + height * width * 3].reshape(height, width, 3)
        crop = crop_box(region.frame_width_px, region.frame_height_px, self.samples[index].box, preprocessing)
        x0, y0, x1, y1 = jittered(crop, jitter, region[3:])
        inside = (x0 - region.x0, y0 - region.y0, x1 - region.x0, y1 - region.y0)
        view = resized(Image.fromarray(stored), inside, preprocessing)
        return view[:, ::-1] if jitter.flip else view


def decode(
    samples: Sequence[Sample],
    preprocessings: Sequence[Preprocessing],
    augmentation: Augmentation,
    folder: Path,
    threads: int = 1,
) -> Regions:
    """Decode what every jittered crop of every given preprocessing can touch into one file in `folder`, or find it there.

    The file's name is a digest of the images and the settings. Raises BadDataset naming images that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reach = (1 + augmentation.scale) / 2 + augmentation.shift
    geometry = [one.model_dump(include={"crop_scale", "keep_box_aspect"}) for one in preprocessings]
    path = folder / f"regions-{content_key(samples, [geometry, reach])[:24]}.bin"
    index = path.with_suffix(".json")
    if not (path.is_file() and index.is_file()):
        _decode(samples, preprocessings, reach, path, index, threads)
    table = tuple(Region(*row) for row in json.loads(index.read_text(encoding="utf-8")))
    return Regions(tuple(samples), np.memmap(path, dtype=np.uint8, mode="r"), table)


def _decode(
    samples: Sequence[Sample],
    preprocessings: Sequence[Preprocessing],
    reach: float,
    path: Path,
    index: Path,
    threads: int,
) -> None:
    def read(sample: Sample) -> tuple[Region, bytes] | str:
        try:
            frame = load_frame(sample.path)
        except (OSError, ValueError, SyntaxError) as error:
            return f"{sample.name} ({error})"
        crops = [crop_box(frame.width, frame.height, sample.box, one) for one in preprocessings]
        more = reach - 0.5
        lows = [(x0 - more * (x1 - x0), y0 - more * (y1 - y0)) for x0, y0, x1, y1 in crops]
        highs = [(x1 + more * (x1 - x0), y1 + more * (y1 - y0)) for x0, y0, x1, y1 in crops]
        box = (
            max(math.floor(min(x for x, _ in lows)), 0),
            max(math.floor(min(y for _, y in lows)), 0),
            min(math.ceil(max(x for x, _ in highs)), frame.width),
            min(math.ceil(max(y for _, y in highs)), frame.height),
        )
        return Region(0, frame.width, frame.height, *box), frame.crop(box).tobytes()

    table: list[Region] = []
    unreadable: list[str] = []
    offset = 0
    with whole_file(path) as file, ThreadPoolExecutor(max_workers=threads) as pool:
        for found in pool.map(read, samples):
            if isinstance(found, str):
                unreadable.append(found)
                continue
            region, pixels = found
            table.append(region._replace(offset=offset))
            offset += file.write(pixels)
        if unreadable:
            raise BadDataset(
                f"{len(unreadable)} of {len(samples)} images cannot be read: {', '.join(unreadable[:3])}",
                remedy="Restore them or take their rows out of the manifest.",
            )
        write_atomically(index, json.dumps(table) + "\n")


def balanced_order(samples: Sequence[Sample], random: np.random.Generator) -> NDArray[np.intp]:
    """One epoch: len(samples) indexes in random order, half of each class, and within a class as many of each group.

    A group is a domain, and for attacks a domain and species. Small groups repeat, each image about equally often.
    """
    groups: dict[bool, dict[tuple[str, str], list[int]]] = {True: {}, False: {}}
    for index, sample in enumerate(samples):
        groups[sample.bona_fide].setdefault((sample.domain, sample.species), []).append(index)
    chosen = []
    for by_group in groups.values():
        quota = -(-len(samples) // (2 * max(len(by_group), 1)))
        for members in by_group.values():
            rounds = [random.permutation(members) for _ in range(-(-quota // len(members)))]
            chosen.append(np.concatenate(rounds)[:quota])
    return random.permutation(np.concatenate(chosen))[: len(samples)]
