"""Which part of a frame a network sees: the crop around a face box, and what stands for pixels outside.

The rounding is that of the networks' authors, because networks are sensitive to it: each border of a card's
`Preprocessing` names the public code whose pixels it reproduces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from PIL import Image

    from swapbench.data.samples import Box
    from swapbench.records import Border, Preprocessing

Corners = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the frame, x1 and y1 exclusive."""

LARGEST_CROP_PX: Final = 100_000_000
"""Crops that keep their size outside the frame are held in memory: 300 MB as RGB."""


class NoCrop(BadDataset):
    """A frame has no crop around its face box."""


def crop_box(
    frame_width_px: int, frame_height_px: int, box: Box | None, preprocessing: Preprocessing
) -> Corners:
    """The crop around a face, never empty.

    The box, or the square on its longer side, is scaled by `crop_scale` about its centre. With the borders
    "shift" and "shrink" a crop that is larger than the frame is scaled by less, and corners are inclusive and
    truncated (minivision-ai/Silent-Face-Anti-Spoofing and yakhyo/face-anti-spoofing). With the other borders
    the first corner and the sides are truncated (hairymax/Face-AntiSpoofing and VietAnh954/
    face-antispoof-onnx), and with those that fill what lies outside, the crop may reach there.

    Args:
        frame_width_px: of the upright frame
        frame_height_px: of the upright frame
        box: of the face; None: the whole frame
        preprocessing: of the card

    Raises:
        NoCrop: the crop lies outside the frame, or is too large to be held in memory
    """
    if box is None:
        return 0, 0, frame_width_px, frame_height_px
    centre_x, centre_y, width, height = _unscaled(box, preprocessing)
    scale = preprocessing.crop_scale
    part = _PARTS.get(preprocessing.border, _unbounded)
    if preprocessing.border in ("shift", "shrink"):
        scale = min((frame_height_px - 1) / height, (frame_width_px - 1) / width, scale)
    x0, x1 = part(centre_x, width, frame_width_px, scale)
    y0, y1 = part(centre_y, height, frame_height_px, scale)
    if min(x1, frame_width_px) <= max(x0, 0) or min(y1, frame_height_px) <= max(y0, 0):
        shown = ", ".join(f"{number:g}" for number in box)
        raise NoCrop(f"the crop around the face box {shown} lies outside the frame")
    if (x1 - x0) * (y1 - y0) > LARGEST_CROP_PX:
        raise NoCrop(
            f"the crop of {x1 - x0}x{y1 - y0} px is larger than {LARGEST_CROP_PX / 1e6:.0f} megapixels"
        )
    return x0, y0, x1, y1


def leaves_frame(
    frame_width_px: int, frame_height_px: int, box: Box | None, preprocessing: Preprocessing
) -> bool:
    """Whether the crop at its full size reaches outside the frame, whatever the border does about it."""
    if box is None:
        return False
    centre_x, centre_y, width, height = _unscaled(box, preprocessing)
    x0, x1 = _unbounded(centre_x, width, frame_width_px, preprocessing.crop_scale)
    y0, y1 = _unbounded(centre_y, height, frame_height_px, preprocessing.crop_scale)
    return x0 < 0 or y0 < 0 or x1 > frame_width_px or y1 > frame_height_px


def _unscaled(box: Box, preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """Centre, width and height of what `crop_scale` scales: the box, or the square on its longer side."""
    x, y, width, height = box
    centre_x, centre_y = x + width / 2, y + height / 2
    if not preprocessing.keep_box_aspect:
        width = height = max(width, height)
    return centre_x, centre_y, width, height


def _shifted(centre: float, length: float, frame_px: int, scale: float) -> tuple[int, int]:
    low, high = centre - length * scale / 2, centre + length * scale / 2
    if low < 0:
        low, high = 0.0, high - low
    if high > frame_px - 1:
        low, high = low - (high - frame_px + 1), float(frame_px - 1)
    first = max(int(low), 0)
    return first, max(int(high), first) + 1


def _shrunk(centre: float, length: float, frame_px: int, scale: float) -> tuple[int, int]:
    low, high = centre - length * scale / 2, centre + length * scale / 2
    return max(int(low), 0), min(int(high), frame_px - 1) + 1


def _clipped(centre: float, length: float, frame_px: int, scale: float) -> tuple[int, int]:
    first, end = _unbounded(centre, length, frame_px, scale)
    return max(first, 0), min(end, frame_px)


def _unbounded(centre: float, length: float, _: int, scale: float) -> tuple[int, int]:
    first = int(centre - length * scale / 2)
    return first, first + max(int(length * scale), 1)


_PARTS: Final[Mapping[Border, Callable[[float, float, int, float], tuple[int, int]]]] = {
    "shift": _shifted,
    "shrink": _shrunk,
    "clip": _clipped,
}
"""Along one axis: centre, length, the frame's length in pixels and scale -> first pixel and end."""


def cut(frame: Image.Image, crop: Corners, border: Border) -> NDArray[np.uint8]:
    """The pixels of a crop, of which a part at least is inside the frame.

    Args:
        frame: RGB or L
        crop: the corners
        border: what stands outside the frame

    Returns:
        uint8 [height, width, channels]
    """
    x0, y0, x1, y1 = crop
    inside = max(x0, 0), max(y0, 0), min(x1, frame.width), min(y1, frame.height)
    pixels = np.asarray(frame.crop(inside))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return padded(pixels, (inside[0] - x0, inside[1] - y0, x1 - inside[2], y1 - inside[3]), border)


def padded(
    pixels: NDArray[np.uint8], margins: tuple[int, int, int, int], border: Border
) -> NDArray[np.uint8]:
    """Pixels with margins of reflected or repeated pixels, black where `border` names neither.

    Args:
        pixels: [height, width, channels]
        margins: left, top, right, bottom in pixels; may be larger than the picture
        border: of the card
    """
    left, top, right, bottom = margins
    if not any(margins):
        return pixels
    if border not in _BEYOND:
        return np.pad(pixels, ((top, bottom), (left, right), (0, 0)))
    height, width = pixels.shape[:2]
    rows = _BEYOND[border](np.arange(-top, height + bottom), height)
    columns = _BEYOND[border](np.arange(-left, width + right), width)
    return pixels[rows][:, columns]


def _reflected(position: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Positions folded into 0..length-1, the outermost pixels once: 2 1 0 1 2 1 0 for three pixels."""
    if length == 1:
        return np.zeros_like(position)
    period = 2 * (length - 1)
    folded: NDArray[np.intp] = np.abs(position) % period
    return np.minimum(folded, period - folded)


def _repeated(position: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    return np.clip(position, 0, length - 1)


_BEYOND: Final[Mapping[Border, Callable[[NDArray[np.intp], int], NDArray[np.intp]]]] = {
    "reflect": _reflected,
    "replicate": _repeated,
}
