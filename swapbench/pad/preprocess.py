"""From an image file and a face box to a network's input, exactly as a card's Preprocessing says.

Four steps: upright frame (EXIF orientation applied, as OpenCV's reader does) -> crop -> resize -> channel order; these give
uint8 and are what `prepare` keeps on disk. `normalise` turns them into the network's float32.
Needs numpy and Pillow only, so that a bench without PyTorch can feed its models.
"""

from __future__ import annotations

import functools
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import BadDataset
from swapbench.files import disk_failure, whole_file, write_atomically
from swapbench.pad.dataset import content_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from swapbench.pad.dataset import Box, Sample
    from swapbench.records import Preprocessing


def crop_box(
    frame_width_px: int, frame_height_px: int, box: Box | None, preprocessing: Preprocessing
) -> tuple[int, int, int, int]:
    """The crop as x0, y0, x1, y1 in pixels, x1 and y1 exclusive, always inside the frame and never empty.

    The box (or the square on its longer side) is scaled by `crop_scale` about its centre, by less where the frame is too
    small, then shifted inside the frame. The rounding (inclusive corners, both truncated) is that of
    minivision-ai/Silent-Face-Anti-Spoofing, whose networks are sensitive to it. Without a box: the whole frame.
    """
    if box is None:
        return 0, 0, frame_width_px, frame_height_px
    x, y, width, height = box
    centre_x, centre_y = x + width / 2, y + height / 2
    if not preprocessing.keep_box_aspect:
        width = height = max(width, height)
    x0, x1 = _inside(
        centre_x, width, frame_width_px, _scale(width, height, frame_width_px, frame_height_px, preprocessing)
    )
    y0, y1 = _inside(
        centre_y,
        height,
        frame_height_px,
        _scale(width, height, frame_width_px, frame_height_px, preprocessing),
    )
    return x0, y0, x1, y1


def _scale(
    width: float, height: float, frame_width_px: int, frame_height_px: int, preprocessing: Preprocessing
) -> float:
    return min((frame_height_px - 1) / height, (frame_width_px - 1) / width, preprocessing.crop_scale)


def _inside(centre: float, length: float, frame_px: int, scale: float) -> tuple[int, int]:
    low, high = centre - length * scale / 2, centre + length * scale / 2
    if low < 0:
        low, high = 0.0, high - low
    if high > frame_px - 1:
        low, high = low - (high - frame_px + 1), float(frame_px - 1)
    first = max(int(low), 0)
    return first, max(int(high), first) + 1


def load_frame(path: Path) -> Image.Image:
    """The upright RGB frame of an image file. Raises OSError or ValueError for a file that is no readable image."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def resized(
    frame: Image.Image, region: tuple[float, float, float, float], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    """A region (x0, y0, x1, y1 in pixels) of an RGB frame at the input size: uint8 [height, width, 3] in the card's order.

    "bilinear" looks at whole pixels only, so the region is truncated to them.
    """
    from PIL import Image

    size = (preprocessing.width_px, preprocessing.height_px)
    if preprocessing.resize == "antialias":
        pixels = np.asarray(frame.resize(size, Image.Resampling.BILINEAR, box=region))
    else:
        x0, y0, x1, y1 = (int(edge) for edge in region)
        pixels = four_neighbours(np.asarray(frame.crop((x0, y0, x1, y1))), *size)
    return np.ascontiguousarray(pixels[:, :, ::-1] if preprocessing.channel_order == "bgr" else pixels)


def load_crop(path: Path, box: Box | None, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """One image as the network's uint8 input [height, width, 3]. Raises OSError or ValueError where it cannot be read."""
    frame = load_frame(path)
    return resized(frame, crop_box(frame.width, frame.height, box, preprocessing), preprocessing)


def four_neighbours(pixels: NDArray[np.uint8], width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Bilinear interpolation of [h, w, c] between the four nearest pixels, pixel centres at .5, edges repeated.

    What OpenCV calls INTER_LINEAR; it computes with 11 bit weights, so single grey levels may differ.
    """
    top, bottom, down = _neighbours(pixels.shape[0], height_px)
    left, right, across = _neighbours(pixels.shape[1], width_px)
    down, across = down[:, None, None], across[None, :, None]
    upper = pixels[top][:, left] * (1 - across) + pixels[top][:, right] * across
    lower = pixels[bottom][:, left] * (1 - across) + pixels[bottom][:, right] * across
    mixed: NDArray[np.uint8] = np.floor(upper * (1 - down) + lower * down + 0.5).astype(np.uint8)
    return mixed


def _neighbours(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    position = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    first = np.floor(position).astype(np.intp)
    return first, np.minimum(first + 1, old - 1), position - first


def normalise(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(pixel * scale - mean) / std for each channel of [..., 3], float32. NHWC stays NHWC."""
    factor = (preprocessing.scale / np.asarray(preprocessing.std)).astype(np.float32)
    offset = (np.asarray(preprocessing.mean) / np.asarray(preprocessing.std)).astype(np.float32)
    scaled: NDArray[np.float32] = pixels.astype(np.float32) * factor - offset
    return scaled


@dataclass(frozen=True)
class Prepared:
    """Crops on disk: `path` is a .npy of uint8 [n, height, width, 3], row by row as the samples were given.

    failures: index -> reason for every image that could not be read; its row is zero and its score must be NaN.
    """

    path: Path
    failures: Mapping[int, str]

    def crops(self) -> NDArray[np.uint8]:
        """The rows, mapped from disk without being read."""
        rows: NDArray[np.uint8] = np.load(self.path, mmap_mode="r")
        return rows


def prepare(
    samples: Sequence[Sample], preprocessing: Preprocessing, out: Path, processes: int = 1
) -> Prepared:
    """Crop every sample once into the folder `out`; a second call with equal content reads nothing but the files' digests.

    The file's name is a digest of the images' content, the boxes, the geometry of the preprocessing and the decoder's version;
    mean, std and scale do not matter because the rows are uint8. `processes` threads decode at the same time (Pillow
    releases the interpreter lock). Unreadable images are reported in `failures`, never dropped.

    Raises BadDataset for an image that is not there, EnvironmentFailed where the folder cannot be written or the disk is full.
    """
    geometry = preprocessing.model_dump(exclude={"scale", "mean", "std"})
    path = out / f"crops-{content_key(samples, geometry)[:24]}.npy"
    reasons = path.with_suffix(".failures.json")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (path.is_file() and reasons.is_file()):
            _write_crops(samples, preprocessing, path, reasons, max(processes, 1))
    except OSError as error:
        raise disk_failure(error, path) from error
    failures = json.loads(reasons.read_text(encoding="utf-8"))
    return Prepared(path, {int(row): text for row, text in failures.items()})


def _write_crops(
    samples: Sequence[Sample], preprocessing: Preprocessing, path: Path, reasons: Path, threads: int
) -> None:
    row = (preprocessing.height_px, preprocessing.width_px, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(samples), *row)}
    unread = np.zeros(row, np.uint8).tobytes()
    crop = functools.partial(_crop_or_reason, preprocessing=preprocessing)
    failures: dict[int, str] = {}
    # Written and not mapped: a full disk is an error here, where a map would end the process by a signal.
    with whole_file(path) as file, ThreadPoolExecutor(max_workers=threads) as pool:
        np.lib.format.write_array_header_1_0(file, header)
        for index, found in enumerate(pool.map(crop, samples)):
            if isinstance(found, str):
                failures[index] = found
                file.write(unread)
            else:
                file.write(found.tobytes())
        # inside the block: the array's presence is what says that both are complete
        write_atomically(
            reasons, json.dumps({str(index): text for index, text in failures.items()}, indent=1) + "\n"
        )


def _crop_or_reason(sample: Sample, preprocessing: Preprocessing) -> NDArray[np.uint8] | str:
    try:
        return load_crop(sample.path, sample.box, preprocessing)
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises SyntaxError for some broken files
        return f"{sample.name}: {type(error).__name__}: {error}".replace(str(sample.path), sample.name)


def content_key(samples: Sequence[Sample], settings: object) -> str:
    """A digest of what determines prepared pixels: image content, boxes, the decoder's version, and JSON-able settings."""
    import PIL

    digest = hashlib.sha256(json.dumps([PIL.__version__, settings], sort_keys=True).encode())
    for sample in samples:
        try:
            content = content_sha256(sample.path)
        except OSError as error:
            raise BadDataset(f"cannot read {sample.path}: {error.strerror}") from error
        digest.update(content + json.dumps(sample.box).encode())
    return digest.hexdigest()
