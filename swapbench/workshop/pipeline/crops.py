"""Training crops: every frame is decoded once, and then cut anew in each epoch with the resize of deployment.

What is stored is the part of the frame that any jittered crop can touch, at its own resolution: halftone and
moire are in the finest detail, so a training crop must not be resampled twice where a deployed one is
resampled once.
"""

from __future__ import annotations

import contextlib
import math
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from swapbench.data.frames import by_file, side_by_side
from swapbench.data.geometry import NoCrop, crop_box
from swapbench.data.modalities import in_modality
from swapbench.data.preprocess import Sources, Timings, resized
from swapbench.errors import BadDataset
from swapbench.files import whole_file
from swapbench.kept import keep, kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.samples import Box, Sample
    from swapbench.records import FaceBoxes, Preprocessing
    from swapbench.workshop.recipes.recipe import Augmentation


class Jitter(NamedTuple):
    """One draw of the geometry.

    Attributes:
        scale: Factor of the side.
        shift_x: How far the centre moves, as a fraction of the side.
        shift_y: See `shift_x`.
        flip: Whether the crop is mirrored.
    """

    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    flip: bool = False


def draw_jitter(augmentation: Augmentation, random: np.random.Generator) -> Jitter:
    """A jitter within the limits of the recipe."""
    scale = random.uniform(1 - augmentation.scale, 1 + augmentation.scale)
    shift_x, shift_y = random.uniform(-augmentation.shift, augmentation.shift, 2)
    return Jitter(float(scale), float(shift_x), float(shift_y), bool(random.random() < augmentation.flip))


def jittered(
    crop: tuple[int, int, int, int], jitter: Jitter, limits: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """The crop after scale and shift, moved and, if necessary, shrunk to lie inside the limits.

    Args:
        crop: x0, y0, x1, y1.
        jitter: Scale and shift.
        limits: x0, y0, x1, y1; they give way to a crop that reaches outside by itself.
    """
    x0, y0, x1, y1 = limits
    limits = min(x0, crop[0]), min(y0, crop[1]), max(x1, crop[2]), max(y1, crop[3])
    edges = [0.0] * 4
    for axis, shift in ((0, jitter.shift_x), (1, jitter.shift_y)):
        low, high = crop[axis], crop[axis + 2]
        side = min((high - low) * jitter.scale, limits[axis + 2] - limits[axis])
        start = (low + high) / 2 + shift * (high - low) - side / 2
        start = min(max(start, limits[axis]), limits[axis + 2] - side)
        edges[axis], edges[axis + 2] = start, start + side
    return edges[0], edges[1], edges[2], edges[3]


class Region(NamedTuple):
    """Where the decoded part of one frame lies in the file, in bytes, and in the frame, in pixels."""

    offset: int
    frame_width_px: int
    frame_height_px: int
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class Regions:
    """Decoded parts of frames, mapped from one file.

    Attributes:
        key: A digest of the frames and of how they were decoded.
        samples: Those whose frames have a face.
        pixels: uint8 RGB, one part after the other.
        table: Where the part of each sample lies.
        boxes: Policy for face boxes -> box of each sample.
        left_out: Reasons why the other samples were left out.
        beside: Modality -> the same parts as another sensor saw them.
    """

    key: str
    samples: tuple[Sample, ...]
    pixels: NDArray[np.uint8]
    table: tuple[Region, ...]
    boxes: Mapping[FaceBoxes, Sequence[Box | None]]
    left_out: tuple[str, ...] = ()
    beside: Mapping[str, Regions] = field(default_factory=dict)

    def view(self, index: int, preprocessing: Preprocessing, jitter: Jitter) -> NDArray[np.uint8]:
        """The jittered crop of one sample at the input size of a preprocessing: uint8 [height, width, 3].

        Without jitter it equals `data.preprocess.cropped` of the same frame.
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
    """Decode the parts of frames that jittered crops can touch into one file, or find the file from before.

    Frames without a face are left out, as an application would not score them either.

    Args:
        samples: The frames.
        preprocessings: Of all networks that will see crops.
        augmentation: Limits of the jitter.
        folder: Of the file, whose name is a digest of the frames and the settings.
        threads: Number of threads.

    Raises:
        BadDataset: Frames cannot be read, or no bona fide or no attack frame has a face.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reach = (1 + augmentation.scale) / 2 + augmentation.shift
    fields = {"crop_scale", "keep_box_aspect", "border", "face_box"}
    geometry = [preprocessing.model_dump(include=fields) for preprocessing in preprocessings]
    sources = Sources(samples, folder / "faces")
    policies = [preprocessing.face_box for preprocessing in preprocessings]
    path = folder / f"regions-{sources.key(policies, [geometry, reach])[:24]}.bin"
    index = path.with_suffix(".json")
    content = kept(index)
    if content is None:
        content = _decode(sources, preprocessings, reach, path, threads)
        keep(index, content, [path])
    boxes = content["boxes"].items()
    return Regions(
        key=path.stem,
        samples=tuple(samples[row] for row in content["samples"]),
        pixels=np.memmap(path, dtype=np.uint8, mode="r"),
        table=tuple(Region(*row) for row in content["table"]),
        boxes={policy: [tuple(box) if box else None for box in of_policy] for policy, of_policy in boxes},
        left_out=tuple(content["left_out"]),
    )


def with_modalities(
    regions: Regions,
    sights: Sequence[tuple[Preprocessing, tuple[str, ...]]],
    augmentation: Augmentation,
    folder: Path,
    threads: int = 1,
) -> Regions:
    """The regions with those of every modality that one of the networks sees, see `decode`.

    Raises:
        BadDataset: A capture has no file of a modality, or it cannot be read, or has no box.
    """
    beside = {}
    for name in sorted({name for _, modalities in sights for name in modalities}):
        sizes = [size for size, modalities in sights if name in modalities]
        samples = regions.samples
        for faces in sorted({size.face_box for size in sizes}):
            samples = in_modality(regions.samples, name, faces)
        beside[name] = decode(samples, sizes, augmentation, folder, threads)
        if len(beside[name].samples) < len(regions.samples):
            raise BadDataset(f"{beside[name].left_out[0]} ({name})")
    return replace(regions, beside=beside)


def of_one_channel(size: Preprocessing) -> Preprocessing:
    """The same geometry for images of one channel."""
    return size.replace(channel_order="gray", mean=(0.5,), std=(0.25,))


def _decode(
    sources: Sources,
    preprocessings: Sequence[Preprocessing],
    reach: float,
    path: Path,
    threads: int,
) -> dict[str, Any]:
    """Decode into a file; what is kept beside it says where the part of each frame lies."""
    samples, lock = sources.samples, threading.Lock()
    policies: list[FaceBoxes] = sorted({preprocessing.face_box for preprocessing in preprocessings})
    table: dict[int, Region] = {}
    boxes: dict[int, list[Box | None]] = {}
    unreadable: dict[int, str] = {}
    faceless: dict[int, str] = {}

    def read(members: Sequence[int]) -> None:
        for source in sources.acquire(members, policies, Timings()):
            name = samples[source.index].name
            if isinstance(source.frame, str):
                unreadable[source.index] = f"{name}: {source.frame}"
                continue
            reason = next((face for face in source.faces.values() if isinstance(face, str)), None)
            if reason is not None:
                faceless[source.index] = f"{name}: {reason}"
                continue
            image = source.frame.image
            box = {policy: face for policy, face in source.faces.items() if not isinstance(face, str)}
            try:
                crops = [
                    crop_box(image.width, image.height, box[preprocessing.face_box], preprocessing)
                    for preprocessing in preprocessings
                ]
            except NoCrop as error:
                faceless[source.index] = f"{name}: {error}"
                continue
            touched = _touched(crops, reach - 0.5, image.width, image.height)
            pixels = image.crop(touched).tobytes()
            with lock:
                table[source.index] = Region(file.tell(), image.width, image.height, *touched)
                file.write(pixels)
            boxes[source.index] = [box[policy] for policy in policies]

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
                remedy="Restore them, or remove their rows from the manifest.",
            )
        rows = sorted(table)
        left_out = [faceless[row] for row in sorted(faceless)]
        lost = {sample.label for sample in samples} - {samples[row].label for row in rows}
        if lost:
            labels = " and no ".join(sorted(lost))
            raise BadDataset(
                f"no {labels} frame has a face: {len(left_out)} of {len(samples)} have none, "
                + ", ".join(left_out[:3]),
                remedy="Give face boxes, or train on whole frames (face_box = frame).",
            )
        return {
            "samples": rows,
            "table": [table[row] for row in rows],
            "boxes": {policy: [boxes[row][column] for row in rows] for column, policy in enumerate(policies)},
            "left_out": left_out,
        }


def _touched(
    crops: Sequence[tuple[int, int, int, int]], margin: float, frame_width_px: int, frame_height_px: int
) -> tuple[int, int, int, int]:
    """The part of a frame with every crop and a margin around it, which is a fraction of its side."""
    lows = [(x0 - margin * (x1 - x0), y0 - margin * (y1 - y0)) for x0, y0, x1, y1 in crops]
    highs = [(x1 + margin * (x1 - x0), y1 + margin * (y1 - y0)) for x0, y0, x1, y1 in crops]
    return (
        max(math.floor(min(x for x, _ in lows)), 0),
        max(math.floor(min(y for _, y in lows)), 0),
        min(math.ceil(max(x for x, _ in highs)), frame_width_px),
        min(math.ceil(max(y for _, y in highs)), frame_height_px),
    )


def balanced_order(samples: Sequence[Sample], random: np.random.Generator) -> NDArray[np.intp]:
    """The indexes of one epoch, in random order: half of each class, and as many of each of its groups.

    A group is a domain, and for attacks a domain and species. The images of small groups repeat, about
    equally often.
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


def stratified_order(
    order: NDArray[np.intp], samples: Sequence[Sample], random: np.random.Generator
) -> NDArray[np.intp]:
    """The same indexes, so that every stretch holds each class, domain and species nearly by its share.

    Each group is spread evenly over the epoch, from a start that is drawn: of a share s of all, a batch of b
    has s b, rounded up or down.
    """
    groups: dict[tuple[bool, str, str], list[int]] = {}
    for index in order:
        sample = samples[index]
        groups.setdefault((sample.bona_fide, sample.domain, sample.species), []).append(int(index))
    places = [(np.arange(len(members)) + random.random()) / len(members) for members in groups.values()]
    members = np.concatenate([np.array(of_group, np.intp) for of_group in groups.values()])
    return members[np.argsort(np.concatenate(places), kind="stable")]
