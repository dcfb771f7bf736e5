"""How light falls on the parts of a procedural face: slopes, shadows and the radiance of a matt surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.simulate.face_canvas import step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swapbench.simulate.face_canvas import Image
    from swapbench.simulate.face_identity import Scene


def normals(z: Image, unit: float) -> tuple[Image, Image, Image]:
    """Unit normals of a height field, in lengths of `unit` pixels."""
    smooth = cv2.GaussianBlur(z, (0, 0), max(0.35, 0.008 * unit))
    gu = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=unit / 8)
    gv = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=unit / 8)
    nz = 1.0 / np.sqrt(1.0 + gu * gu + gv * gv)
    return -gu * nz, -gv * nz, nz


def shadows(z: Image, unit: float, light: NDArray[np.float32]) -> tuple[Image, Image]:
    """Cast shadow (1 lit, 0 dark) and ambient occlusion, both found at half resolution."""
    rows, columns = z.shape
    small = cv2.resize(z, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
    k = unit / 2
    flat = float(np.hypot(light[0], light[1])) + 1e-6
    du, dv, slope = float(light[0]) / flat, float(light[1]) / flat, float(light[2]) / flat
    lit = np.ones_like(small)
    for reach in (0.05, 0.10, 0.17, 0.27, 0.42):
        shift = np.array([[1, 0, -du * reach * k], [0, 1, -dv * reach * k]], np.float32)
        ahead = cv2.warpAffine(
            small, shift, (small.shape[1], small.shape[0]), borderMode=cv2.BORDER_REPLICATE
        )
        over = (ahead - small - reach * max(slope, 0.05)) / (0.05 + 0.35 * reach)
        lit = np.minimum(lit, 1 - step(over + 0.25))
    lit = cv2.GaussianBlur(lit, (0, 0), max(0.4, 0.03 * k))
    hollow = np.zeros_like(small)
    for reach, amount in ((0.06, 2.6), (0.20, 1.7)):
        hollow += amount * np.maximum(cv2.GaussianBlur(small, (0, 0), reach * k) - small - 0.002, 0)
    open_ = np.exp(-hollow)
    size = (columns, rows)
    return cv2.resize(lit, size, interpolation=cv2.INTER_LINEAR), cv2.resize(open_, size)


def matt(
    albedo: Image,
    normal: tuple[Image, Image, Image],
    scene: Scene,
    light: NDArray[np.float32],
    lit: Image | float = 1.0,
    open_: Image | float = 1.0,
    warmth: float = 1.0,
) -> Image:
    """Radiance of a matt surface: wrapped Lambert, whose wrap is wider for red as under skin, and a sky.

    Args:
        albedo: linear RGB, `[rows, columns, 3]`.
        normal: unit normals as three planes.
        scene: gives the colour of the light and the share of it that is ambient.
        light: unit vector towards the light.
        lit: 1 in the light, 0 in a cast shadow.
        open_: share of the sky that the surface sees.
        warmth: how far light wraps around: 1 for skin, less for cloth.
    """
    nu, nv, nz = normal
    facing = nu * light[0] + nv * light[1] + nz * light[2]
    sky = (0.80 + 0.14 * nz - 0.20 * nv) * open_ * (0.9 * scene.ambient)
    out = np.empty_like(albedo)
    for channel, reach in enumerate((0.34, 0.18, 0.14)):
        wrap = reach * warmth
        direct = np.maximum((facing + wrap) / (1 + wrap), 0.0) * (
            lit if channel else 0.15 + 0.85 * np.asarray(lit)
        )
        strength = np.float32(scene.light[channel])
        out[..., channel] = albedo[..., channel] * strength * (sky + (1.35 * (1 - scene.ambient)) * direct)
    return out
