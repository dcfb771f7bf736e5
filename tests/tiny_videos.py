"""Videos of a few kilobytes whose frames can be told apart, and the damage that real ones arrive with."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.data.samples import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from swapbench.data.samples import Annotation, Box

STEP = 10


def video(path: Path, frames: int = 20, size: tuple[int, int] = (64, 48), stripe: bool = False) -> Path:
    """Frame i is grey of level 10 i, with a white stripe over the left quarter of the width if asked for."""
    code = {".mp4": "mp4v", ".mkv": "FFV1"}.get(path.suffix, "MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 25.0, size)
    assert writer.isOpened(), path
    for number in range(frames):
        pixels = np.full((size[1], size[0], 3), STEP * number, np.uint8)
        if stripe:
            pixels[:, : size[0] // 4] = 255
        writer.write(pixels)
    writer.release()
    return path


def level(image: Image.Image) -> int:
    """The number of the frame that `video` wrote, read from its grey."""
    return round(float(np.median(np.asarray(image))) / STEP)


def chunk(data: bytes, frame: int) -> int:
    """Where a frame begins in an AVI file."""
    at = data.index(b"movi")
    for _ in range(frame + 1):
        at = data.index(b"00dc", at + 1)
    return at


def cut(path: Path, frames: int) -> Path:
    """An AVI file that ends where frame number `frames` would begin."""
    data = path.read_bytes()
    path.write_bytes(data[: chunk(data, frames)])
    return path


def blank(path: Path, frame: int) -> Path:
    """An AVI file in which the content of a frame is lost."""
    data = bytearray(path.read_bytes())
    at = chunk(data, frame)
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + size] = bytes(size)
    path.write_bytes(data)
    return path


def declare(path: Path, frames: int) -> Path:
    """An AVI file whose header says that it has so many frames."""
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = data.index(mark) + offset
        data[at : at + 4] = struct.pack("<I", frames)
    path.write_bytes(data)
    return path


def turn(path: Path, clockwise_deg: int) -> Path:
    """An MP4 file whose track header says that it must be turned."""
    one = 1 << 16
    a, b, c, d = {
        0: (one, 0, 0, one),
        90: (0, one, -one, 0),
        180: (-one, 0, 0, -one),
        270: (0, -one, one, 0),
    }[clockwise_deg]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def frame_of(
    path: Path,
    frame: int = 0,
    spread: int = 0,
    *,
    box: Box | None = None,
    annotation: Annotation | None = None,
    rotate_deg: int = 0,
    label: str = "bona_fide",
) -> Sample:
    species = "print" if label == "attack" else ""
    return Sample(
        name=path.name,
        path=path,
        frame=frame,
        subject="s",
        label=label,  # type: ignore[arg-type]
        species=species,
        domain="A",
        session="",
        device="",
        split="dev",
        instrument="",
        box=box,
        presentation=path.name,
        spread=spread,
        annotation=annotation,
        rotate_deg=rotate_deg,
    )


def spread_over(path: Path, count: int, **about: object) -> list[Sample]:
    return [frame_of(path, frame, count, **about) for frame in range(count)]  # type: ignore[arg-type]
