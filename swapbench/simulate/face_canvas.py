"""What a procedural face is painted on and with: a pixel grid in face units, noise and colour.

Lengths are in *half face widths* (`u` to the right, `v` downwards, origin between the cheekbones); they
become pixels only when a `Canvas` is made, so that any size draws the same person. Knows nothing of what is
painted.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def linear(srgb: NDArray[np.float32]) -> Image:
    """Linear light of sRGB values in 0..1 (IEC 61966-2-1); values outside are clipped."""
    x = np.clip(srgb, 0.0, 1.0).astype(np.float32)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _linear_colour(rgb: tuple[int, int, int]) -> NDArray[np.float32]:
    return linear(np.asarray(rgb, np.float32) / 255.0)


def blend(table: tuple[tuple[int, int, int], ...], position: float) -> NDArray[np.float32]:
    """Colour at `position` in 0..1 along a table of sRGB colours, in linear light."""
    at = float(np.clip(position, 0.0, 1.0)) * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    share = np.float32(at - low)
    return (_linear_colour(table[low]) * (1 - share) + _linear_colour(table[low + 1]) * share).astype(
        np.float32
    )


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cell_v: float, cell_u: float | None = None
) -> Image:
    """Smooth noise of about unit variance whose features are `cell` pixels large."""
    cell_u = cell_v if cell_u is None else cell_u
    rows, columns = int(shape[0] / max(cell_v, 1.0)) + 3, int(shape[1] / max(cell_u, 1.0)) + 3
    seedling = rng.standard_normal((rows, columns), dtype=np.float32)
    if (rows, columns) == (shape[0] + 3, shape[1] + 3):
        return np.ascontiguousarray(seedling[: shape[0], : shape[1]])
    return np.asarray(cv2.resize(seedling, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def step(x: NDArray[Any]) -> Image:
    """`x` clipped to 0..1: a soft edge where `x` is a distance in units of its softness."""
    return np.asarray(np.clip(x, 0.0, 1.0))


class Canvas:
    """A pixel grid with coordinates in half face widths; `unit` is the number of pixels in one."""

    def __init__(self, unit: float, u: tuple[float, float], v: tuple[float, float]) -> None:
        self.unit = unit
        columns, rows = max(8, round((u[1] - u[0]) * unit)), max(8, round((v[1] - v[0]) * unit))
        self.shape = (rows, columns)
        self.rows, self.columns = slice(0, rows), slice(0, columns)
        self.u = (u[0] + (np.arange(columns, dtype=np.float32) + 0.5) / unit).astype(np.float32)
        self.v = (v[0] + (np.arange(rows, dtype=np.float32) + 0.5) / unit).astype(np.float32)

    def window(self, u: float, v: float, du: float, dv: float) -> tuple[slice, slice]:
        """Rows and columns within `du` and `dv` of a point."""
        columns = np.searchsorted(self.u, (u - du, u + du))
        rows = np.searchsorted(self.v, (v - dv, v + dv))
        return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))

    def part(self, u: float, v: float, du: float, dv: float) -> Canvas:
        """A rectangle of this canvas that knows where it lies in it."""
        piece = copy(self)
        piece.rows, piece.columns = self.window(u, v, du, dv)
        piece.u, piece.v = self.u[piece.columns], self.v[piece.rows]
        piece.shape = (len(piece.v), len(piece.u))
        return piece

    def at(self, window: tuple[slice, slice]) -> tuple[Image, Image]:
        """Coordinates of a window, as a row and a column that broadcast to it."""
        return self.u[window[1]][None, :], self.v[window[0]][:, None]

    def bump(self, field: Image, u: float, v: float, su: float, sv: float, amount: float) -> None:
        """Add a Gaussian hill; local, because most of a hill is nothing."""
        window = self.window(u, v, 3.2 * su, 3.2 * sv)
        x, y = self.at(window)
        field[window] += np.exp(-0.5 * ((y - v) / sv) ** 2) * (amount * np.exp(-0.5 * ((x - u) / su) ** 2))

    def pair(self, field: Image, u: float, v: float, su: float, sv: float, amount: float) -> None:
        """The same hill on both sides."""
        self.bump(field, -u, v, su, sv, amount)
        self.bump(field, u, v, su, sv, amount)


KNOTS_DEG = np.array([0, 15, 30, 45, 60, 75, 90, 110, 130, 150, 165, 180], np.float32)
"""Directions of the knots of a `smooth_radius`, from straight down."""


def smooth_radius(
    knots: NDArray[np.float32], mirrored: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """A closed smooth radius over 720 directions, from knots at `KNOTS_DEG` degrees from straight down."""
    half = np.arange(360, dtype=np.float32) / 2
    right = np.interp(half, KNOTS_DEG, knots)
    left = right if mirrored is None else np.interp(half, KNOTS_DEG, mirrored)
    ring = np.concatenate([right, left[::-1]])
    kernel = np.exp(-0.5 * (np.arange(-36, 37) / 12.0) ** 2)
    padded = np.concatenate([ring[-36:], ring, ring[:36]])
    return np.convolve(padded, kernel / kernel.sum(), mode="valid").astype(np.float32)
