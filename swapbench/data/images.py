"""Image files by Pillow: upright, RGB, 8 bits a channel, or in words why there is no such image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from swapbench.errors import BadDataset
from swapbench.files import opened

if TYPE_CHECKING:
    from pathlib import Path

_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for files that are not a readable image; SyntaxError for some broken ones."""

_CLOCKWISE = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns anticlockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}

_LEAST_BRIGHTEST = 1 << 12
"""A 16-bit image that stays below this holds 12 bits or fewer: depth, or the raw values of a sensor."""

_CONVERT = "convert it to JPEG or PNG"
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer in place of an image: fetch it with git lfs pull"),
    (b"<!doctype html", "a web page in place of an image: download it again"),
    (b"<html", "a web page in place of an image: download it again"),
    (b"\x93numpy", f"a NumPy array, not an image: {_CONVERT}"),
    (b"%pdf", f"a PDF, not an image: {_CONVERT}"),
    (b"\xff\x0a", f"a JPEG XL image, which is not read: {_CONVERT}"),
    (b"\x00\x00\x00\x0cjxl ", f"a JPEG XL image, which is not read: {_CONVERT}"),
    (b"\xff\xd8\xff", "damaged: it begins as a JPEG image does and cannot be decoded"),
    (b"\x89png", "damaged: it begins as a PNG image does and cannot be decoded"),
)
"""First bytes of a file that Pillow does not recognise, in lower case -> what it is."""


def image_or_reason(path: Path, rotate_deg: int = 0) -> Image.Image | str:
    """The upright RGB image of a file, or in words why there is none.

    Transparency is left out. Of an image of 16 bits a channel the upper 8 are kept, as OpenCV does; where the
    scale of deeper pixels cannot be known there is a reason in place of the image.

    Args:
        path: the image
        rotate_deg: how far it is turned clockwise; 0: as its EXIF orientation says
    """
    try:
        with opened(path) as file, Image.open(file) as image:
            deep_png = image.mode == "I" and image.format == "PNG"
            upright = turned(image, rotate_deg) if rotate_deg else ImageOps.exif_transpose(image)
            return _rgb(upright, sixteen_bits=deep_png or image.mode.startswith("I;16"))
    except _UNREADABLE as error:
        return _why(path, error)


def load_frame(path: Path, rotate_deg: int = 0) -> Image.Image:
    """The image of `image_or_reason`; BadDataset where there is none."""
    image = image_or_reason(path, rotate_deg)
    if isinstance(image, str):
        raise BadDataset(f"cannot read {path}: {image}")
    return image


def turned(image: Image.Image, clockwise_deg: int) -> Image.Image:
    """The image turned by 0, 90, 180 or 270 degrees."""
    return image.transpose(_CLOCKWISE[clockwise_deg]) if clockwise_deg else image


def _rgb(image: Image.Image, *, sixteen_bits: bool) -> Image.Image | str:
    """The pixels as RGB of 8 bits a channel. Pillow itself clips deeper grey values at 255."""
    if sixteen_bits:
        pixels = np.asarray(image)
        brightest = int(pixels.max(initial=0))
        if 0 < brightest < _LEAST_BRIGHTEST:
            return (
                f"16 bits a pixel of which the brightest is {brightest}, so that its scale is not known:"
                " convert it to 8 bits"
            )
        return Image.fromarray((pixels >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        return f"32 bits a pixel ({image.mode}), so that its scale is not known: convert it to 8 bits"
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # which Pillow advises, with a warning
    return image.convert("RGB")


def _why(path: Path, error: Exception) -> str:
    """What is wrong with a file that Pillow does not read."""
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than are read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if not isinstance(error, UnidentifiedImageError):
        said = str(error)
        return "it is cut short" if "truncated" in said.lower() else f"it is damaged: {said}"
    with opened(path) as file:
        start = file.read(512)
    if not start:
        return "the file is empty"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        return f"a HEIC image, which is not read: {_CONVERT}"
    for first_bytes, kind in _OTHER_KINDS:
        if start.lstrip().lower().startswith(first_bytes):
            return kind
    return "not an image, but text" if start.isascii() and b"\0" not in start else "not an image"
