"""Resizing by the filters of a card, named after OpenCV's and Pillow's.

Authors resize with OpenCV, and a network sees the difference between two implementations of one filter. So
OpenCV's filters are computed here as OpenCV computes them for 8-bit pictures (resize.cpp of its module
imgproc), without needing OpenCV: positions and weights in single precision, fixed-point weights of 11 bits
where it has them, sums in its order. Against OpenCV 5.0 on x86-64, over noise and blurred noise of random
sizes from 1 to 300 px, nearest, bilinear, area and Lanczos give the same bits; of cubic's values 6 of 10,000
differ, by one grey level. Without Intel's IPP, as on ARM, OpenCV rounds the weights of cubic to 11 bits, and
4 % of its values are one grey level away from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from swapbench.records import Resize

    Pixels = NDArray[np.uint8]
    Numbers = NDArray[Any]

_ONE = 2048
"""1 in the fixed-point weights."""


def resize(pixels: Pixels, width_px: int, height_px: int, name: Resize) -> Pixels:
    """A picture in another size, by the filter of that name; the same size is left as it is.

    Args:
        pixels: [height, width, channels], with 1 or 3 channels
        width_px: of the result
        height_px: of the result
        name: of the filter
    """
    if pixels.shape[:2] == (height_px, width_px):
        return pixels
    if name in _PILLOW:
        picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        resized = np.asarray(picture.resize((width_px, height_px), _PILLOW[name]))
        return resized[:, :, None] if resized.ndim == 2 else resized
    return _OPENCV[name](pixels, width_px, height_px)


def nearest(pixels: Pixels, width_px: int, height_px: int) -> Pixels:
    """OpenCV's INTER_NEAREST: the pixel that holds the upper left corner of the new one."""
    rows, columns = (
        np.minimum(np.floor(np.arange(new) * _step(old, new)).astype(np.intp), old - 1)
        for old, new in ((pixels.shape[0], height_px), (pixels.shape[1], width_px))
    )
    picked: Pixels = pixels[rows][:, columns]
    return picked


def bilinear(pixels: Pixels, width_px: int, height_px: int) -> Pixels:
    """OpenCV's INTER_LINEAR: between the four nearest pixels, pixel centres at .5, edges repeated."""
    if pixels.shape[:2] == (2 * height_px, 2 * width_px):
        return area(pixels, width_px, height_px)
    return _between_four(pixels, _linear(pixels.shape[1], width_px), _linear(pixels.shape[0], height_px))


def cubic(pixels: Pixels, width_px: int, height_px: int) -> Pixels:
    """OpenCV's INTER_CUBIC: Keys' cubic convolution with a = -0.75 over 4x4 pixels, edges repeated."""
    across, down = _cubic(pixels.shape[1], width_px), _cubic(pixels.shape[0], height_px)
    return _rounded(down.sums(across.sums(pixels.astype(np.float64), axis=1), axis=0))


def lanczos4(pixels: Pixels, width_px: int, height_px: int) -> Pixels:
    """OpenCV's INTER_LANCZOS4: a Lanczos window of 8x8 pixels, edges repeated."""
    across, down = _lanczos(pixels.shape[1], width_px), _lanczos(pixels.shape[0], height_px)
    sums = down.sums(across.sums(pixels.astype(np.int64), axis=1), axis=0)
    mixed: Pixels = np.clip((sums + _ONE * _ONE // 2) // (_ONE * _ONE), 0, 255).astype(np.uint8)
    return mixed


def area(pixels: Pixels, width_px: int, height_px: int) -> Pixels:
    """OpenCV's INTER_AREA: the mean over the area of the new pixel.

    Where one side at least grows, it is a bilinear filter whose weights are shares of the new pixel.
    """
    height, width, channels = pixels.shape
    if height < height_px or width < width_px:
        return _between_four(pixels, _shares(width, width_px), _shares(height, height_px))
    if height % height_px == 0 and width % width_px == 0:
        across_px, down_px = width // width_px, height // height_px
        cells = pixels.reshape(height_px, down_px, width_px, across_px, channels)
        sums = cells.sum((1, 3), dtype=np.int64)
        if across_px == down_px == 2:
            quarters: Pixels = ((sums + 2) // 4).astype(np.uint8)
            return quarters
        return _rounded(sums.astype(np.float32) * np.float32(1 / (across_px * down_px)))
    across, down = _areas(width, width_px), _areas(height, height_px)
    return _rounded(down.sums(across.sums(pixels.astype(np.float32), axis=1), axis=0))


def _step(old: int, new: int) -> float:
    return 1 / (new / old)


def _rounded(values: Numbers) -> Pixels:
    rounded: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


@dataclass(frozen=True)
class _Taps:
    """The old pixels along one axis that each new pixel is made of.

    Attributes:
        position: of the old pixels [new, taps]
        weight: of each [new, taps]
    """

    position: NDArray[np.intp]
    weight: Numbers

    def sums(self, values: Numbers, axis: int) -> Numbers:
        """The weighted sums along an axis of [height, width, channels], tap after tap as OpenCV adds them."""
        shape = (1, -1, 1) if axis == 1 else (-1, 1, 1)
        result: Numbers = values.take(self.position[:, 0], axis) * self.weight[:, 0].reshape(shape)
        for tap in range(1, self.position.shape[1]):
            result += values.take(self.position[:, tap], axis) * self.weight[:, tap].reshape(shape)
        return result


def _centres(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The old pixel at or before the centre of each new one, and how far behind it the centre lies."""
    centre = ((np.arange(new) + 0.5) * _step(old, new) - 0.5).astype(np.float32)
    first = np.floor(centre)
    return first.astype(np.intp), centre - first


def _linear(old: int, new: int) -> _Taps:
    first, share = _centres(old, new)
    return _two(first, share, old)


def _shares(old: int, new: int) -> _Taps:
    step, new_px = _step(old, new), np.arange(new)
    first = np.floor(new_px * step)
    share = ((new_px + 1) - (first + 1) * (new / old)).astype(np.float32)
    share = np.where(share <= 0, np.float32(0), share - np.floor(share))
    return _two(first.astype(np.intp), share, old)


def _two(first: NDArray[np.intp], share: NDArray[np.float32], old: int) -> _Taps:
    weight = np.rint(np.stack([1 - share, share], axis=1) * np.float32(_ONE)).astype(np.int32)
    return _Taps(np.clip(first[:, None] + np.arange(2), 0, old - 1), weight)


def _between_four(pixels: Pixels, across: _Taps, down: _Taps) -> Pixels:
    """The four nearest pixels in fixed point, with the bits that OpenCV drops on the way down."""
    upper, lower = (
        across.sums(pixels[down.position[:, row]].astype(np.int32), axis=1).astype(np.int32) >> 4
        for row in (0, 1)
    )
    weight = down.weight.astype(np.int32)[:, :, None, None]
    sums = (weight[:, 0] * upper >> 16) + (weight[:, 1] * lower >> 16)
    mixed: Pixels = (sums + 2 >> 2).astype(np.uint8)
    return mixed


def _cubic(old: int, new: int) -> _Taps:
    centre = (np.arange(new) + 0.5) * _step(old, new) - 0.5
    first = np.floor(centre)
    distance = np.abs(centre[:, None] - first[:, None] - np.arange(-1, 3))
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    position = first.astype(np.intp)[:, None] + np.arange(-1, 3)
    return _Taps(np.clip(position, 0, old - 1), np.where(distance <= 1, near, far))


def _lanczos(old: int, new: int) -> _Taps:
    first, share = _centres(old, new)
    # sinc(d) sinc(d / 4) without sin(pi d), which all eight have in common but for its sign
    taps = np.arange(8)
    distance = (share + np.float32(3))[:, None] - taps.astype(np.float32)
    angle = np.where(np.abs(distance) < 1e-6, 1e-15, distance.astype(np.float64) * (np.pi / 4))
    weight = (np.sin(angle) / angle**2 * (-1.0) ** taps).astype(np.float32)
    weight *= 1 / weight.cumsum(1, dtype=np.float32)[:, -1:]
    position = np.clip(first[:, None] + taps - 3, 0, old - 1)
    return _Taps(position, np.rint(weight * np.float32(_ONE)).astype(np.int64))


def _areas(old: int, new: int) -> _Taps:
    """What each new pixel covers of the old ones; slivers below 1/1000 of a pixel are left out."""
    step = old / new
    start = np.arange(new) * step
    end = start + step
    length = np.minimum(step, old - start)
    last = np.minimum(np.floor(end), old - 1)
    first = np.minimum(np.ceil(start), last)
    before = np.where(first - start > 1e-3, first - start, 0)
    after = np.where(end - last > 1e-3, np.minimum(np.minimum(end - last, 1), length), 0)
    position = (first[:, None] + np.arange(-1, int((last - first).max()) + 1)).astype(np.intp)
    weight = (position < last[:, None]).astype(np.float64)
    weight[:, 0] = before
    weight[np.arange(new), (last - first + 1).astype(np.intp)] = after
    return _Taps(np.clip(position, 0, old - 1), (weight / length[:, None]).astype(np.float32))


_OPENCV: Final[Mapping[Resize, Callable[[Pixels, int, int], Pixels]]] = {
    "nearest": nearest,
    "bilinear": bilinear,
    "area": area,
    "cubic": cubic,
    "lanczos4": lanczos4,
}

_PILLOW: Final[Mapping[Resize, Image.Resampling]] = {
    "antialias": Image.Resampling.BILINEAR,
    "pillow_nearest": Image.Resampling.NEAREST,
    "pillow_box": Image.Resampling.BOX,
    "pillow_bilinear": Image.Resampling.BILINEAR,
    "pillow_hamming": Image.Resampling.HAMMING,
    "pillow_bicubic": Image.Resampling.BICUBIC,
    "pillow_lanczos": Image.Resampling.LANCZOS,
}
