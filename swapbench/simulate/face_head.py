"""The bare head of a procedural face: its relief, its skin and its features, facing the viewer.

Knows bones, nose, brows, eyes, mouth and whiskers. Must not know hair, glasses, clothes or how the head is
turned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.simulate.face_canvas import Canvas, blend, noise, smooth_radius, step

if TYPE_CHECKING:
    from swapbench.simulate.face_identity import Identity, Scene

_HEAD_U = 1.75
_HEAD_V = (-2.15, 1.75)

EYE_V = -0.135
"""Height of the eyes, in half face widths."""


class Head:
    """Height, albedo and coverage of one head, facing the viewer, on its own canvas."""

    def __init__(self, person: Identity, scene: Scene, unit: float) -> None:
        self.person, self.scene = person, scene
        self.canvas = Canvas(unit, (-_HEAD_U, _HEAD_U), _HEAD_V)
        self.rng = np.random.default_rng(np.random.SeedSequence([0x5C11, person.seed]))
        c = self.canvas
        u, v = np.broadcast_to(c.u[None, :], c.shape), np.broadcast_to(c.v[:, None], c.shape)
        rho, theta = cv2.cartToPolar(
            np.ascontiguousarray(v - 0.05), np.ascontiguousarray(u), angleInDegrees=True
        )
        self.rho = rho
        self.direction = np.minimum((theta * 2).astype(np.int32), 719)
        p = person
        radius = np.array(
            [1.27, 1.225, 1.11, 1.00, 0.935, 0.91, 0.915, 0.965, 1.09, 1.235, 1.32, 1.345], np.float32
        )
        radius += p.chin * np.array([1, 0.9, 0.4, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.float32)
        radius += p.jaw * np.array([-0.2, 0.3, 0.9, 1, 0.8, 0.4, 0, 0, 0, 0, 0, 0], np.float32)
        radius += p.cheek * np.array([0, 0, 0, 0.2, 0.6, 1, 1, 0.7, 0.2, 0, 0, 0], np.float32)
        radius += p.skull * np.array([0, 0, 0, 0, 0, 0, 0, 0.2, 0.6, 0.9, 1, 1], np.float32)
        radius[:2] += 0.05 * scene.mouth_open
        self.outline = smooth_radius(radius, radius * (1 + p.asymmetry))
        self.radius = self.outline[self.direction]
        self.q = self.rho / self.radius
        self.half_width = float(self.outline[180])
        self.face = step((self.radius - self.rho) * unit + 0.5)
        self.z = p.depth * np.sqrt(np.maximum(1.0 - np.minimum(self.q, 1.0) ** 2.5, 0.0)).astype(np.float32)
        self.albedo = np.empty((*c.shape, 3), np.float32)
        self.albedo[:] = np.asarray(p.skin, np.float32)
        self.red = np.zeros(c.shape, np.float32)
        self.dark = np.zeros(c.shape, np.float32)
        self.gloss = np.ones(c.shape, np.float32)
        self.glints: list[tuple[float, float, float, float]] = []
        self._bones()
        self._nose()
        self._skin()
        for side in (-1.0, 1.0):
            self._brow(side)
        self._mouth()
        self._whiskers()
        self.albedo *= np.exp(self.dark[..., None] * np.array([-0.72, -1.0, -1.12], np.float32))
        self.albedo *= 1 + self.red[..., None] * np.array([0.06, -0.16, -0.13], np.float32)
        for side in (-1.0, 1.0):
            self._eye(side)

    def _bones(self) -> None:
        p, c, z, s = self.person, self.canvas, self.z, self.scene
        e = p.eye_distance
        c.bump(z, 0, -0.72, 0.55, 0.22, 0.05)
        c.pair(z, e, -0.36 + p.brow_height, 0.22, 0.075, 0.055)
        c.pair(z, e * 0.98, -0.15, 0.20, 0.12, -0.115)
        c.pair(z, e, -0.14, 0.13, 0.08, 0.07)
        c.pair(z, e * 0.55, -0.12, 0.07, 0.13, -0.06)
        c.pair(z, 0.58, 0.14, 0.18, 0.14, 0.06)
        c.pair(z, 0.52, 0.60, 0.16, 0.20, -0.035 - 0.03 * p.wrinkles)
        c.pair(z, 0.87, -0.45, 0.12, 0.25, -0.05)
        c.bump(z, 0, 1.07 + p.chin * 0.8, 0.20, 0.12, 0.085)
        c.bump(z, 0, 0.915 + p.mouth_height, 0.18, 0.05, -0.05)
        c.bump(z, 0, 0.72, 0.30, 0.17, 0.07)
        if s.smile > 0:
            c.pair(z, 0.50, 0.33, 0.17, 0.13, 0.075 * s.smile)
        depth = 0.016 + 0.03 * p.wrinkles + 0.035 * max(s.smile, 0)
        for t in np.linspace(0, 1, 7):
            u, v = 0.21 + 0.22 * t**1.2 + 0.04 * s.smile * t, 0.36 + 0.32 * t
            c.pair(z, float(u), float(v), 0.035, 0.045, -depth * float(np.sin(np.pi * (0.15 + 0.75 * t))))
        for bag in np.linspace(-0.16, 0.16, 5):
            c.pair(z, e + float(bag), 0.02 - 0.6 * float(bag) ** 2, 0.05, 0.022, -0.008 - 0.014 * p.wrinkles)
        if p.wrinkles > 0.1:
            rng = np.random.default_rng(np.random.SeedSequence([0x3117, p.seed]))
            for line in range(3):
                height = -0.62 - 0.11 * line + float(rng.normal(0, 0.012))
                for x in np.linspace(-0.5, 0.5, 9):
                    wave = 0.015 * float(np.sin(5 * x + line))
                    c.bump(
                        z,
                        float(x),
                        height + wave,
                        0.07,
                        0.014,
                        -0.012 * p.wrinkles * float(rng.uniform(0.5, 1)),
                    )
            for x in np.linspace(0, 0.14, 4):
                for fan in (-0.5, 0.0, 0.5):
                    c.pair(
                        z,
                        e + 0.27 + float(x),
                        -0.12 + fan * (0.05 + float(x)),
                        0.03,
                        0.012,
                        -0.007 * p.wrinkles,
                    )

    def _nose(self) -> None:
        p, c = self.person, self.canvas
        tip = 0.35 * p.nose_length + p.nose_tip
        self.nose_base = tip + 0.10
        window = c.window(0, 0.08, 0.62, 0.62)
        u, v = c.at(window)
        column = v[:, 0]
        at = [-0.45, -0.22, 0.0, tip - 0.08, tip + 0.02, tip + 0.07, tip + 0.13, tip + 0.2]
        height = np.interp(column, at, [0.0, 0.085, 0.17, 0.30, 0.325, 0.24, 0.05, 0.0])
        width = (
            np.interp(column, [-0.45, -0.2, 0.05, tip, tip + 0.1], [0.14, 0.085, 0.10, 0.145, 0.15])
            * p.nose_width
        )
        ridge = np.exp(-(np.abs(u / width[:, None].astype(np.float32)) ** 2.2) / 1.5)
        self.z[window] += (p.nose_height * height[:, None]).astype(np.float32) * ridge
        w = p.nose_width
        c.bump(self.z, 0, tip, 0.095 * w, 0.07, 0.06 * p.nose_height)
        c.pair(self.z, 0.165 * w, tip + 0.045, 0.055 * w, 0.055, 0.10)
        c.bump(self.z, 0, tip + 0.19, 0.05, 0.06, -0.018)
        c.pair(self.dark, 0.085 * w, tip + 0.098, 0.042 * w, 0.020, 1.15)
        c.pair(self.dark, 0.235 * w, tip + 0.05, 0.020, 0.045, 0.22)
        c.bump(self.dark, 0, tip + 0.13, 0.16 * w, 0.022, 0.18)
        c.bump(self.red, 0, tip, 0.16, 0.10, 0.55 * p.redness)

    def _skin(self) -> None:
        p, c, rng = self.person, self.canvas, self.rng
        red, dark = self.red, self.dark
        c.pair(red, 0.58, 0.28, 0.22, 0.20, 0.9 * p.redness)
        c.bump(red, 0, 1.08, 0.25, 0.12, 0.35 * p.redness)
        c.pair(red, p.eye_distance, -0.1, 0.22, 0.12, 0.35)
        c.pair(dark, p.eye_distance, 0.0, 0.19, 0.06, 0.10 + 0.14 * p.wrinkles)
        c.pair(dark, p.eye_distance, -0.2, 0.22, 0.09, 0.10)
        c.bump(dark, 0, 0.55, 0.34, 0.12, 0.05)
        red += 0.16 * p.blotches * noise(rng, c.shape, 0.16 * c.unit)
        dark += 0.035 * p.blotches * noise(rng, c.shape, 0.28 * c.unit)
        fine = noise(rng, c.shape, 0.018 * c.unit)
        pores = noise(rng, c.shape, 0.03 * c.unit)
        dark += 0.022 * fine + 0.02 * pores
        red += 0.05 * pores
        self.z += 0.0022 * pores + 0.0012 * fine
        self.gloss += 0.22 * fine
        if p.freckles:
            spots = noise(rng, c.shape, 0.035 * c.unit)
            where = np.zeros(c.shape, np.float32)
            c.pair(where, 0.42, 0.14, 0.32, 0.20, 0.9)
            c.bump(where, 0, 0.05, 0.3, 0.22, 0.6)
            dark += 0.55 * p.freckles * where * step((spots - 1.0) * 2.5)
        for _ in range(int(rng.integers(0, 4))):
            c.bump(dark, float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.7, 1.0)), 0.016, 0.016, 0.9)

    def _brow(self, side: float) -> None:
        p, c, s = self.person, self.canvas, self.scene
        middle = -0.385 + p.brow_height - 0.05 * s.brow_raise
        window = c.window(side * 0.45, middle, 0.42, 0.2)
        u, v = c.at(window)
        t = (side * u - (p.eye_distance - 0.27)) / 0.54
        arch = middle + 0.03 - 1.5 * p.brow_arch * (1 - ((t - 0.62) / 0.62) ** 2) - 0.02 * s.brow_raise * t
        half = (
            0.062
            * p.brow_thickness
            * np.interp(t, [0, 0.12, 0.5, 1.0], [0.55, 0.95, 0.85, 0.18]).astype(np.float32)
        )
        across = (v - arch) / half
        inside = np.exp(-(np.abs(across) ** 3)) * step((t + 0.04) * 9) * step((1.04 - t) * 7)
        rng = np.random.default_rng(np.random.SeedSequence([0xB0, p.seed, int(side > 0)]))
        strands = noise(rng, (inside.shape[0], inside.shape[1]), 0.012 * c.unit, 0.05 * c.unit)
        amount = np.clip(inside * p.brow_density * (0.85 + 0.30 * strands), 0, 0.96)[..., None]
        colour = np.minimum(np.asarray(p.hair, np.float32) * 0.75, 0.30)
        colour = np.minimum(colour, np.asarray(p.skin, np.float32) * 0.7)
        self.albedo[window] = self.albedo[window] * (1 - amount) + colour * amount
        self.z[window] += 0.008 * inside * strands

    def _eye(self, side: float) -> None:
        p, c, s = self.person, self.canvas, self.scene
        cu, cv_ = side * p.eye_distance, EYE_V
        window = c.window(cu, cv_, 0.40, 0.34)
        u, v = c.at(window)
        half = 0.205 * p.eye_size
        t = side * (u - cu) / half
        y = v - cv_ + p.eye_tilt * t * 0.5 + 0.0 * u
        opening = p.eye_open * p.eye_size * (1 - 0.92 * s.eyes_closed) * (1 - 0.22 * max(s.smile, 0))
        inside_t = np.clip(1 - np.abs(t) ** 2.1, 0, 1)
        upper = -0.098 * opening * inside_t**0.85 * (1 + 0.10 * t) + 0.01
        lower = (
            0.062 * (0.5 + 0.5 * opening) * inside_t**0.9 * (1 + 0.12 * t) + 0.01 - 0.012 * max(s.smile, 0)
        )
        k = c.unit
        eye = step(np.minimum(y - upper, lower - y) * k + 0.5) * (np.abs(t) < 1)
        gu, gv = 0.055 * s.gaze[0] + s.yaw_deg * -0.0012, 0.03 * s.gaze[1] - 0.012
        r = np.sqrt((u - cu - gu) ** 2 + (v - cv_ - gv) ** 2)
        iris_r, pupil_r = 0.102 * p.eye_size, 0.040
        white = np.array([0.62, 0.56, 0.52], np.float32) * (1 - 0.12 * p.darkness)
        pink = step((np.abs(t) - 0.62) * 2.2)[..., None] * np.array([0.02, 0.13, 0.14], np.float32)
        surface = white - np.broadcast_to(pink, (*eye.shape, 3))
        rng = np.random.default_rng(np.random.SeedSequence([0xE7E, p.seed]))
        spokes = rng.standard_normal(64).astype(np.float32)
        across, down = (np.ascontiguousarray(x) for x in (u - cu - gu + 0 * v, v - cv_ - gv + 0 * u))
        angle = (cv2.phase(across, down) * (64 / (2 * np.pi))).astype(np.int32) % 64
        ring = np.clip(r / iris_r, 0, 1)
        shade = (0.85 + 0.55 * ring * (1 - ring) * 4 * 0.5 + 0.10 * spokes[angle]) * (
            1 - 0.65 * step((ring - 0.78) * 5)
        )
        colour = np.asarray(p.iris, np.float32) * np.clip(shade, 0.1, 1.6)[..., None]
        inner = step((iris_r - r) * k + 0.5)[..., None]
        surface = surface * (1 - inner) + colour * inner
        pupil = step((pupil_r - r) * k + 0.5)[..., None]
        surface = surface * (1 - pupil) + 0.006 * pupil
        lid_shadow = np.exp(-np.clip(y - upper, 0, 1) / 0.032)
        surface = surface * (1 - 0.62 * lid_shadow[..., None])
        skin = self.albedo[window]
        crease = (
            np.exp(-(((y - upper + 0.052 + 0.02 * p.lid_fold) / 0.016) ** 2)) * np.sqrt(inside_t) * p.lid_fold
        )
        skin = skin * (1 - 0.36 * crease[..., None] * np.array([0.8, 1, 1.05], np.float32))
        under = np.exp(-(((y - lower - 0.012) / 0.014) ** 2)) * inside_t * 0.25
        skin = skin * (1 - under[..., None] * np.array([0.35, 0.8, 0.8], np.float32))
        out = skin * (1 - eye[..., None]) + surface * eye[..., None]
        wide = 0.017 + 0.008 * step(t * 0.8 + 0.2)
        lash = np.exp(-(((y - upper + 0.004) / wide) ** 2)) * step((1.08 - np.abs(t)) * 8)
        lash = np.maximum(lash, 0.40 * np.exp(-(((y - lower) / 0.009) ** 2)) * step((1 - np.abs(t)) * 5))
        lash = np.clip(lash * (0.74 + 0.2 * (1 - p.brow_density)), 0, 0.93)[..., None]
        out = out * (1 - lash) + 0.012 * lash
        self.albedo[window] = out
        self.gloss[window] *= 1 - 0.9 * eye
        self.z[window] += 0.030 * np.exp(-(((y - upper + 0.02) / 0.03) ** 2)) * np.sqrt(inside_t)
        self.z[window] -= 0.020 * crease
        if opening > 0.45:
            self.glints.append((cu + gu, cv_ + gv, iris_r, opening))

    def _mouth(self) -> None:
        p, c, s = self.person, self.canvas, self.scene
        middle = max(0.70 + p.mouth_height, self.nose_base + 0.2)
        half = p.mouth_width * (1 + 0.16 * max(s.smile, 0) - 0.06 * s.mouth_open)
        window = c.window(0, middle + 0.04, half * 1.5, 0.34)
        u, v = c.at(window)
        t = u / half
        body = np.clip(1 - t**2, 0, 1)
        line = middle - 0.085 * s.smile * np.minimum(t**2, 1.4) + 0.012 * np.exp(-((t / 0.22) ** 2))
        gap = 0.5 * (0.11 * s.mouth_open + 0.05 * max(s.smile - 0.45, 0) * 2) * body**0.7
        bow = 1 - 0.22 * np.exp(-((t / 0.13) ** 2)) + 0.10 * np.exp(-(((np.abs(t) - 0.25) / 0.16) ** 2))
        thin = 1 - 0.25 * max(s.smile, 0)
        top = line - gap - 0.078 * p.lip_upper * thin * body**0.75 * bow
        bottom = line + 1.2 * gap + 0.105 * p.lip_lower * thin * body**0.62
        k = c.unit
        lips = step(np.minimum(v - top, bottom - v) * k * 0.6 + 0.5) * (np.abs(t) < 1)
        skin = np.asarray(p.skin, np.float32)
        natural = skin * np.array([0.80, 0.52, 0.52], np.float32) * (1 - 0.15 * p.darkness)
        painted = blend(((190, 60, 70), (150, 30, 50), (200, 100, 100), (120, 40, 60)), p.lip_hue)
        colour = natural * (1 - p.lipstick) + painted * p.lipstick
        rng = np.random.default_rng(np.random.SeedSequence([0x11, p.seed]))
        furrows = noise(rng, (lips.shape[0], lips.shape[1]), 0.09 * k, 0.014 * k)
        tone = (1 + 0.09 * furrows - 0.20 * step((line - v) * 14))[..., None]
        cover = (0.92 * lips)[..., None]
        out = self.albedo[window] * (1 - cover) + colour * tone * cover
        inside = step(np.minimum(v - line + gap, line + 1.2 * gap - v) * k + 0.5) * (gap * k > 0.6)
        teeth = inside * step((line - gap + 0.055 - v) * k) * step((0.86 - np.abs(t)) * 6)
        seams = 1 - 0.22 * np.exp(-(((np.mod(np.abs(u) / 0.062, 1.0) - 0.5) / 0.12) ** 2)) * np.ones_like(v)
        cavity = np.array([0.045, 0.012, 0.012], np.float32)
        ivory = np.array([0.55, 0.50, 0.42], np.float32) * (0.55 + 0.45 * body[..., None])
        out = out * (1 - inside[..., None]) + cavity * inside[..., None]
        out = out * (1 - teeth[..., None]) + ivory * seams[..., None] * teeth[..., None]
        seam = np.exp(-(((v - line) / 0.013) ** 2)) * step((1.06 - np.abs(t)) * 6) * np.exp(-gap * 40)
        out = out * (1 - 0.80 * seam[..., None])
        self.albedo[window] = out
        rim_up, rim_low = 0.5 * (top + line - gap), 0.45 * (line + gap) + 0.55 * bottom
        relief = 0.040 * p.lip_upper * np.exp(-(((v - rim_up) / 0.040) ** 2)) * body**0.7
        relief += 0.060 * p.lip_lower * np.exp(-(((v - rim_low) / 0.050) ** 2)) * body**0.6
        self.z[window] += relief - 0.04 * inside
        self.gloss[window] *= 1 + 0.8 * lips - 1.4 * inside
        for side in (-1.0, 1.0):
            c.bump(self.z, side * half * 1.04, middle - 0.085 * s.smile, 0.05, 0.05, -0.03)
            c.bump(self.dark, side * half * 1.02, middle - 0.085 * s.smile, 0.028, 0.022, 0.25)
        self.mouth_v = middle

    def _whiskers(self) -> None:
        p, c, rng = self.person, self.canvas, self.rng
        coarse, fine = (
            noise(rng, c.shape, 0.045 * c.unit, 0.02 * c.unit),
            noise(rng, c.shape, 0.02 * c.unit),
        )
        if not (p.beard or p.moustache or p.stubble):
            return
        u, v = c.u[None, :], c.v[:, None]
        line = 0.30 + 0.42 * np.exp(-(((np.abs(u) - 0.36) / 0.36) ** 2)) - 0.22 * step((np.abs(u) - 0.80) * 5)
        jaw = step((v - line + 0.05 * coarse) * 8) * self.face
        lip = np.exp(-((np.abs(u) / (p.mouth_width * 1.02)) ** 4) - (np.abs((v - self.mouth_v) / 0.135) ** 4))
        chin = step(jaw - 1.15 * lip)
        top = np.exp(-(((v - 0.5 * (self.mouth_v - 0.10 + self.nose_base + 0.04)) / 0.055) ** 4))
        upper = top * np.exp(-((u / (p.mouth_width * 1.0)) ** 4)) * step(1.2 - 0.25 * coarse)
        hair = np.asarray(p.hair, np.float32) * 0.8
        for area, amount in ((chin, p.beard), (upper, p.moustache)):
            if amount:
                cover = np.clip(area * (0.80 + 0.25 * coarse + 0.15 * fine) * (0.55 + 0.45 * amount), 0, 0.97)
                shade = np.clip(1 + 0.35 * coarse + 0.25 * fine, 0.2, 2)[..., None]
                self.albedo += (hair * shade - self.albedo) * cover[..., None]
                self.z += cover * (0.035 + 0.016 * coarse)
                self.gloss *= 1 - 0.8 * cover
        if p.stubble:
            area = np.maximum(chin, upper) * p.stubble
            cover = np.clip(area * (0.34 + 0.26 * fine), 0, 0.8)[..., None]
            self.albedo += (np.minimum(hair, 0.25 * np.asarray(p.skin, np.float32)) - self.albedo) * cover
