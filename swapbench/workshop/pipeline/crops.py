"""Training crops: every frame decoded once, then cut anew for each epoch with the deployed resize.

What is kept is the part of the frame that any jittered crop can touch, at its own resolution: print screens and moire live
in the finest detail, so a training crop must not be resampled twice when a deployed one is resampled once.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from swapbench.data.frames import by_file, side_by_side
from swapbench.data.preprocess import Sources, Timings, crop_box, resized
from swapbench.errors import BadDataset
from swapbench.files import whole_file, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.samples import Box, Sample
    from swapbench.records import FaceBoxes, Preprocessing
    from swapbench.workshop.recipes.recipe import Augmentation


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
    """Decoded parts of frames, mapped from one file: uint8 RGB, one after the other.

    key: a digest of the frames and of how they were decoded; samples: those in whose frames there is a face; boxes:
    policy -> the box of each of them; left_out: why the others are not there, one reason each.
    """

    key: str
    samples: tuple[Sample, ...]
    pixels: NDArray[np.uint8]
    table: tuple[Region, ...]
    boxes: Mapping[FaceBoxes, Sequence[Box | None]]
    left_out: tuple[str, ...] = ()

    def view(self, index: int, preprocessing: Preprocessing, jitter: Jitter) -> NDArray[np.uint8]:
        """The jittered crop of one sample at the preprocessing's input size: uint8 [height, width, 3].

        Without jitter it equals pad.preprocess.cropped of the same frame.
        """
        from PIL import Image

        region = self.table[index]
        height, width = region.y1 - region.y0, region.x1 - region.x0
        stored = self.pixels[region.offset : region.offset + height * width * 3].reshape(height, width, 3)
        box = self.boxes[preprocessing.face_box][index]
        crop = crop_box(region.frame_width_px, region.frame_height_px, box, preprocessing)
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

    The file's name is a digest of the frames and the settings. Frames without a face are left out, as an application
    would not score them either. Raises BadDataset naming frames that cannot be read, and where no bona fide or no attack
    frame is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reach = (1 + augmentation.scale) / 2 + augmentation.shift
    geometry = [
        one.model_dump(include={"crop_scale", "keep_box_aspect", "face_box"}) for one in preprocessings
    ]
    sources = Sources(samples, folder / "faces")
    policies = [one.face_box for one in preprocessings]
    path = folder / f"regions-{sources.key(policies, [geometry, reach])[:24]}.bin"
    index = path.with_suffix(".json")
    if not (path.is_file() and index.is_file()):
        _decode(sources, preprocessings, reach, path, index, threads)
    read = json.loads(index.read_text(encoding="utf-8"))
    return Regions(
        key=path.stem,
        samples=tuple(samples[row] for row in read["samples"]),
        pixels=np.memmap(path, dtype=np.uint8, mode="r"),
        table=tuple(Region(*row) for row in read["table"]),
        boxes={
            policy: [tuple(box) if box else None for box in boxes] for policy, boxes in read["boxes"].items()
        },
        left_out=tuple(read["left_out"]),
    )


def _decode(
    sources: Sources,
    preprocessings: Sequence[Preprocessing],
    reach: float,
    path: Path,
    index: Path,
    threads: int,
) -> None:
    samples, lock = sources.samples, threading.Lock()
    policies: list[FaceBoxes] = sorted({one.face_box for one in preprocessings})
    table: dict[int, Region] = {}
    boxes: dict[int, list[Box | None]] = {}
    unreadable: dict[int, str] = {}
    faceless: dict[int, str] = {}

    def read(members: Sequence[int]) -> None:
        for found in sources.acquire(members, policies, Timings()):
            name = samples[found.index].name
            if isinstance(found.frame, str):
                unreadable[found.index] = f"{name}: {found.frame}"
                continue
            reason = next((face for face in found.faces.values() if isinstance(face, str)), None)
            if reason is not None:
                faceless[found.index] = f"{name}: {reason}"
                continue
            image = found.frame.image
            box = {policy: face for policy, face in found.faces.items() if not isinstance(face, str)}
            crops = [crop_box(image.width, image.height, box[one.face_box], one) for one in preprocessings]
            part = _touched(crops, reach - 0.5, image.width, image.height)
            pixels = image.crop(part).tobytes()
            with lock:
                table[found.index] = Region(file.tell(), image.width, image.height, *part)
                file.write(pixels)
            boxes[found.index] = [box[policy] for policy in policies]

    with (
        whole_file(path) as file,
        contextlib.closing(side_by_side(read, by_file(samples), threads)) as finished,
    ):
        for _ in finished:
            pass
        if unreadable:
            first = ", ".join(unreadable[row] for row in sorted(unreadable)[:3])
            raise BadDataset(
                f"{len(unreadable)} of {len(samples)} images cannot be read: {first}",
                remedy="Restore them or take their rows out of the manifest.",
            )
        kept = sorted(table)
        left_out = [faceless[row] for row in sorted(faceless)]
        lost = {sample.label for sample in samples} - {samples[row].label for row in kept}
        if lost:
            raise BadDataset(
                f"no {' and no '.join(sorted(lost))} frame has a face: {len(left_out)} of {len(samples)} have none, "
                + ", ".join(left_out[:3]),
                remedy="Give face boxes, or train on whole frames (face_box = frame).",
            )
        about = {
            "samples": kept,
            "table": [table[row] for row in kept],
            "boxes": {policy: [boxes[row][column] for row in kept] for column, policy in enumerate(policies)},
            "left_out": left_out,
        }
        write_atomically(index, json.dumps(about) + "\n")


def _touched(
    crops: Sequence[tuple[int, int, int, int]], more: float, frame_width_px: int, frame_height_px: int
) -> tuple[int, int, int, int]:
    """The part of a frame that holds every crop and `more` of its side around it, as far as the frame goes."""
    lows = [(x0 - more * (x1 - x0), y0 - more * (y1 - y0)) for x0, y0, x1, y1 in crops]
    highs = [(x1 + more * (x1 - x0), y1 + more * (y1 - y0)) for x0, y0, x1, y1 in crops]
    return (
        max(math.floor(min(x for x, _ in lows)), 0),
        max(math.floor(min(y for _, y in lows)), 0),
        min(math.ceil(max(x for x, _ in highs)), frame_width_px),
        min(math.ceil(max(y for _, y in highs)), frame_height_px),
    )


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
