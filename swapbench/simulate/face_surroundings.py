"""What surrounds a procedural face: the backdrop behind it, the neck below it and the clothes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from swapbench.simulate.face_canvas import noise, step
from swapbench.simulate.face_hair import LOOSE_STYLES, loose_hair
from swapbench.simulate.face_light import matt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swapbench.simulate.face_canvas import Canvas, Image
    from swapbench.simulate.face_identity import Identity, Scene


def backdrop(scene: Scene, shape: tuple[int, int], unit: float) -> Image:
    """What stands behind the person, out of focus to some degree."""
    rng = np.random.default_rng(np.random.SeedSequence([0xBAC, scene.backdrop]))
    quarter = (max(shape[0] // 2, 8), max(shape[1] // 2, 8))
    k = unit / 2
    wall = (np.exp(rng.uniform(np.log(0.05), np.log(0.75))) * np.exp(rng.normal(0, 0.18, 3))).astype(
        np.float32
    )
    out = np.empty((*quarter, 3), np.float32)
    out[:] = wall
    kind = str(rng.choice(("wall", "rough", "shelves", "window", "curtain", "leaves", "frames", "bricks")))
    rows, columns = quarter
    if kind == "rough":
        grain = noise(rng, quarter, 0.05 * k) + 0.7 * noise(rng, quarter, 0.3 * k)
        out *= np.clip(1 + 0.14 * grain, 0.3, 2)[..., None]
    elif kind in ("shelves", "frames", "window"):
        count = {"shelves": 46, "frames": 6, "window": 3}[kind]
        for _ in range(count):
            x, y = int(rng.integers(-columns // 8, columns)), int(rng.integers(-rows // 8, rows))
            w = int(columns * rng.uniform(*((0.02, 0.06) if kind == "shelves" else (0.12, 0.45))))
            h = int(rows * rng.uniform(*((0.10, 0.24) if kind == "shelves" else (0.15, 0.7))))
            colour = wall * 0.3 + 0.7 * np.exp(rng.uniform(-3.4, -0.4)) * np.exp(rng.normal(0, 0.4, 3))
            if kind == "window":
                colour = np.array([0.75, 0.85, 1.0]) * rng.uniform(0.5, 1.3)
            shade = tuple(float(q) for q in np.clip(colour, 0.005, 1.3))
            cv2.rectangle(out, (x, y), (x + w, y + h), shade, -1)
            if kind != "shelves":
                edge = tuple(float(q) for q in wall * rng.uniform(0.2, 1.5))
                cv2.rectangle(out, (x, y), (x + w, y + h), edge, max(1, int(rng.uniform(0.02, 0.08) * k)))
    elif kind == "curtain":
        across = np.arange(columns, dtype=np.float32) / k
        folds = np.sin(across * rng.uniform(4, 14) + np.sin(across * 2.3) * 1.5 + rng.uniform(0, 6))
        out *= (1 + 0.3 * folds)[None, :, None].astype(np.float32)
    elif kind == "leaves":
        for _ in range(90):
            centre = (int(rng.integers(0, columns)), int(rng.integers(0, rows)))
            colour = (
                np.array([0.35, 0.6, 0.15]) * np.exp(rng.uniform(-2.5, 0.6)) * np.exp(rng.normal(0, 0.3, 3))
            )
            cv2.circle(out, centre, int(k * rng.uniform(0.05, 0.35)), tuple(float(q) for q in colour), -1)
    elif kind == "bricks":
        high, wide = max(3, int(0.16 * k)), max(6, int(0.42 * k))
        for row in range(rows // high + 1):
            for column in range(-1, columns // wide + 1):
                x, y = column * wide + (row % 2) * wide // 2, row * high
                colour = tuple(float(q) for q in wall * np.exp(rng.normal(0, 0.16)))
                cv2.rectangle(out, (x, y), (x + wide - 1, y + high - 1), colour, -1)
                cv2.rectangle(out, (x, y), (x + wide, y + high), tuple(float(q) for q in wall * 1.35), 1)
    blur = float(np.exp(rng.uniform(np.log(0.006), np.log(0.22)))) * k
    if blur > 0.4:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), blur), np.float32)
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
    slope_u = np.linspace(-1, 1, columns, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    slope_v = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    out *= np.exp(fall * (slope_u + slope_v))[..., None]
    out *= np.asarray(scene.light, np.float32)
    return np.asarray(cv2.resize(out, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def paint_body(person: Identity, scene: Scene, frame: Canvas, out: Image) -> None:
    """Paint hair behind, neck, clothes and hair in front over the backdrop."""
    rng = np.random.default_rng(np.random.SeedSequence([0xB0D7, person.seed]))
    drift = 0.25 * float(np.sin(np.deg2rad(scene.yaw_deg)))
    level = 0.9 * scene.ambient + 1.35 * (1 - scene.ambient) * 0.55
    colour = np.asarray(person.hair, np.float32) * np.asarray(scene.light, np.float32) * np.float32(level)
    loose = None
    if person.style in LOOSE_STYLES:
        patch = frame.part(-drift * 0.4, 0.55, 1.45, 1.65 if person.style != "long" else 2.6)
        patch.u = patch.u + np.float32(drift * 0.4)
        view = out[patch.rows, patch.columns]
        loose = loose_hair(person, patch, rng)
        back = loose[0][..., None]
        view[:] = view * (1 - back) + colour * (0.45 * np.clip(1 + 0.25 * loose[2], 0.3, 2)[..., None] * back)
    _neck(person, scene, frame.part(0, 1.5, 1.4, 1.0), out, drift)
    _clothes(person, scene, frame.part(0, 2.5, 9.0, 1.0), out, drift, rng)
    if loose is not None:
        front = loose[1][..., None]
        curve = np.clip(0.75 + 0.35 * np.sign(patch.u) * scene.towards_light[0], 0.3, 1.3)[None, :, None]
        strand = np.clip(1 + 0.30 * loose[2], 0.25, 2)[..., None]
        view[:] = (
            view * (1 - front)
            + (colour * curve * strand + 0.008 * np.maximum(loose[2], 0)[..., None]) * front
        )


def _under_chin(person: Identity, light: NDArray[np.float32], u: Image, v: Image, drift: float) -> Image:
    """Light that reaches the neck past the chin, 0..1."""
    chin = 1.24 + person.chin - 0.35 * (u - 0.8 * drift) ** 2
    reach = 0.28 + 0.5 * max(float(-light[1]), 0.0)
    return np.asarray(1 - 0.72 * step(1 - (v - chin) / reach) ** 1.3, np.float32)


def _neck(person: Identity, scene: Scene, patch: Canvas, out: Image, drift: float) -> None:
    light = scene.towards_light
    view = out[patch.rows, patch.columns]
    u, v = (patch.u - np.float32(drift * 0.4))[None, :], patch.v[:, None]
    width = person.neck * np.interp(patch.v, [0.6, 1.2, 1.6, 1.95, 2.3], [1.0, 0.97, 1.05, 1.35, 2.2])
    half = width.astype(np.float32)[:, None]
    x = np.clip(u / half, -0.995, 0.995)
    neck = step((half - np.abs(u)) * patch.unit + 0.5)[..., None]
    skin = np.empty((*patch.shape, 3), np.float32)
    skin[:] = np.asarray(person.skin, np.float32) * np.array([0.92, 0.88, 0.86], np.float32)
    cords = 0.25 * np.exp(-(((np.abs(u) - 0.30 - 0.11 * (2.0 - v)) / 0.07) ** 2)) * np.sign(u)
    nu = np.asarray(0.85 * x * np.abs(x) + cords, np.float32)
    nv = np.full(patch.shape, 0.12, np.float32)
    nz = np.sqrt(np.maximum(1 - nu * nu - nv * nv, 0.05))
    shade = _under_chin(person, light, u, v, drift)
    body = matt(skin, (nu, nv, nz), scene, light, shade, 0.35 + 0.65 * shade)
    view[:] = view * (1 - neck) + body * neck


def _clothes(
    person: Identity, scene: Scene, patch: Canvas, out: Image, drift: float, rng: np.random.Generator
) -> None:
    p, light = person, scene.towards_light
    view = out[patch.rows, patch.columns]
    u, v = (patch.u - np.float32(drift * 0.4))[None, :], patch.v[:, None]
    au = np.abs(u) / p.shoulders
    at = [0, 0.42, 0.62, 1.0, 1.5, 1.95, 2.25, 2.5, 2.8]
    line = np.interp(au, at, [1.72, 1.70, 1.74, 1.86, 1.98, 2.12, 2.32, 2.75, 3.6]).astype(np.float32)
    depth = {"crew": 0.10, "vee": 0.75, "shirt": 0.42, "hood": 0.22, "round": 0.38}[p.collar]
    if p.collar in ("vee", "shirt"):
        cut = depth * (1 - np.abs(u) / (0.62 * p.neck / 0.6))
    else:
        cut = depth * np.sqrt(np.maximum(1 - (u / (0.74 * p.neck / 0.6)) ** 2, 0))
    hem = (line + np.maximum(cut, 0)).astype(np.float32)
    cloth = step((v - hem) * patch.unit + 0.5)
    folds = 0.030 * noise(rng, patch.shape, 0.5 * patch.unit, 0.28 * patch.unit)
    relief = folds + 0.55 * np.sqrt(np.maximum(v - line, 0) * 0.6 + 0.002)
    if p.collar in ("hood", "crew", "round"):
        relief = relief + 0.05 * np.exp(-(((v - hem - 0.05) / 0.035) ** 2))
    elif p.collar == "shirt":
        relief = relief + 0.05 * step((0.24 - np.abs(v - hem - 0.10) - 0.1 * np.abs(u)) * 10)
    relief = cv2.GaussianBlur(relief.astype(np.float32), (0, 0), max(0.35, 0.014 * patch.unit))
    gu = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=1, scale=patch.unit / 2)
    gv = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=1, scale=patch.unit / 2)
    inv = 1 / np.sqrt(1 + gu * gu + gv * gv)
    tint: NDArray[Any] = np.empty((*patch.shape, 3), np.float32)
    tint[:] = np.asarray(p.clothes, np.float32)
    second = np.asarray(p.pattern_colour, np.float32)
    turns = np.float32(2 * np.pi / rng.uniform(0.09, 0.4))
    if p.pattern == "stripes":
        stripe = step(np.sin((v + folds) * turns) * 3 + 0.5)[..., None]
        tint = tint * (1 - stripe) + second * stripe
    elif p.pattern == "checks":
        mesh = np.float32(0.5) * (np.sin((v + folds) * turns) > 0) + np.float32(0.5) * (
            np.sin((u + folds) * turns) > 0
        )
        tint = np.asarray(tint * (1 - mesh[..., None]) + second * mesh[..., None])
    elif p.pattern == "knit":
        ribs = np.sin(u * 95)
        tint = np.asarray(tint * (1 + 0.25 * ribs * np.sin(v * 70 + 2 * ribs))[..., None])
    elif p.pattern == "speckle":
        tint = tint * np.clip(1 + 0.3 * noise(rng, patch.shape, 0.02 * patch.unit), 0.2, 2)[..., None]
    shade = 0.45 + 0.55 * _under_chin(p, light, u, v, drift)
    wear = matt(tint.astype(np.float32), (-gu * inv, -gv * inv, inv), scene, light, shade, 1.0, 0.4)
    wear *= (1 - 0.30 * np.exp(-np.maximum(v - hem, 0) / 0.018) * cloth)[..., None]
    view[:] = view * (1 - cloth[..., None]) + wear * cloth[..., None]
