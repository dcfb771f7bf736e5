"""Draw procedural faces: identities that never existed, under a given pose, expression and light.

Knows how a head is shaped, coloured and lit. Must not know about cameras, prints, displays or data sets:
what it returns is the light that leaves the scene, before anything photographs it.

Lengths inside this module are in *half face widths* (``u`` to the right, ``v`` downwards, origin between
the cheekbones); they become pixels only when a canvas is made, so that any ``size_px`` draws the same person.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Box = tuple[float, float, float, float]

FACE_WIDTH_SHARE = 0.33
"""Width of the face box as a share of the rendered square."""

_CENTRE_V_SHARE = 0.47
_BOX_V = (-0.98, 1.27)
_HEAD_U = 1.75
_HEAD_V = (-2.15, 1.75)

# From very light to very dark, in sRGB; a tone is an interpolation between neighbours in linear light.
_TONES = (
    (243, 208, 190), (235, 192, 166), (222, 174, 142), (203, 152, 117), (178, 125, 92), (147, 98, 70),
    (113, 72, 51), (84, 53, 39), (60, 38, 29),
)  # fmt: skip
_HAIRS = (
    (22, 18, 17), (38, 28, 23), (62, 42, 30), (92, 62, 41), (128, 90, 56), (178, 140, 92), (122, 62, 36),
    (140, 136, 132), (205, 202, 196),
)  # fmt: skip
_IRISES = ((58, 36, 22), (84, 54, 30), (110, 84, 48), (88, 100, 70), (92, 118, 140), (120, 130, 138))

STYLES = ("shaved", "short", "crop", "parted", "fringe", "bob", "long", "curly", "tied", "receding")


def linear(srgb: NDArray[np.float32]) -> Image:
    """Linear light of sRGB values in 0..1 (IEC 61966-2-1); values outside are clipped."""
    x = np.clip(srgb, 0.0, 1.0).astype(np.float32)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _linear_colour(rgb: tuple[int, int, int]) -> NDArray[np.float32]:
    return linear(np.asarray(rgb, np.float32) / 255.0)


def _blend(table: tuple[tuple[int, int, int], ...], position: float) -> NDArray[np.float32]:
    """Colour at ``position`` in 0..1 along a table of sRGB colours, in linear light."""
    at = float(np.clip(position, 0.0, 1.0)) * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    share = np.float32(at - low)
    return (_linear_colour(table[low]) * (1 - share) + _linear_colour(table[low + 1]) * share).astype(
        np.float32
    )


@dataclass(frozen=True)
class Identity:
    """One person: everything that stays the same from one photograph to the next.

    Shape fields are offsets in half face widths or ratios around 1; colours are linear RGB triples.
    """

    seed: int
    skin: tuple[float, float, float]
    darkness: float
    redness: float
    blotches: float
    oiliness: float
    jaw: float
    chin: float
    cheek: float
    skull: float
    depth: float
    asymmetry: float
    nose_length: float
    nose_width: float
    nose_height: float
    nose_tip: float
    eye_distance: float
    eye_size: float
    eye_tilt: float
    eye_open: float
    lid_fold: float
    iris: tuple[float, float, float]
    brow_height: float
    brow_arch: float
    brow_thickness: float
    brow_density: float
    mouth_width: float
    mouth_height: float
    lip_upper: float
    lip_lower: float
    lipstick: float
    lip_hue: float
    hair: tuple[float, float, float]
    style: str
    hairline: float
    hair_volume: float
    parting: float
    beard: float
    moustache: float
    stubble: float
    wrinkles: float
    freckles: float
    glasses: float
    glasses_round: float
    glasses_colour: tuple[float, float, float]
    neck: float
    shoulders: float
    collar: str
    clothes: tuple[float, float, float]
    pattern: str
    pattern_colour: tuple[float, float, float]

    @staticmethod
    def draw(seed: int) -> Identity:
        """The person with this number; the same number is always the same person."""
        rng = np.random.default_rng(np.random.SeedSequence([0xFACE, seed]))

        def n(mean: float, sigma: float) -> float:
            return float(mean + sigma * np.clip(rng.standard_normal(), -2.2, 2.2))

        def triple(x: NDArray[np.float32]) -> tuple[float, float, float]:
            return float(x[0]), float(x[1]), float(x[2])

        darkness = float(rng.uniform())
        undertone = rng.normal(0, 0.035, 3).astype(np.float32)
        skin = np.clip(_blend(_TONES, darkness) * (1 + undertone), 0.01, 0.95)
        masculine = float(np.clip(rng.normal(0.5, 0.32), 0, 1))
        age = float(rng.beta(1.4, 2.0))
        grey = age > 0.62 and rng.uniform() < 0.7
        if grey:
            hair = _blend(_HAIRS[7:], rng.uniform())
        elif darkness > 0.5 or rng.uniform() < 0.3:
            hair = _blend(_HAIRS[:3], rng.uniform())
        else:
            hair = _blend(_HAIRS[:7], rng.uniform())
        weights = (
            np.array([0.06, 0.06, 0.07, 0.10, 0.14, 0.16, 0.20, 0.10, 0.11, 0.0])
            if masculine < 0.5
            else np.array([0.14, 0.26, 0.18, 0.14, 0.06, 0.01, 0.03, 0.07, 0.01, 0.10])
        )
        style = STYLES[int(rng.choice(len(STYLES), p=weights / weights.sum()))]
        bearded = masculine > 0.5
        facial = rng.uniform()
        cloth = rng.uniform(0.02, 0.75) * (0.35 + 0.65 * rng.dirichlet((1.2, 1.2, 1.2)) * 2)
        return Identity(
            seed=seed,
            skin=triple(skin),
            darkness=darkness,
            redness=n(0.5, 0.25) * (1.2 - darkness),
            blotches=abs(n(0.0, 0.5)),
            oiliness=float(rng.uniform(0.1, 1.0)),
            jaw=n(0.0, 0.045) + 0.05 * (masculine - 0.5),
            chin=n(0.0, 0.055) + 0.05 * (masculine - 0.5),
            cheek=n(0.0, 0.03),
            skull=n(0.0, 0.04),
            depth=n(0.92, 0.07),
            asymmetry=n(0.0, 0.012),
            nose_length=n(1.0, 0.09),
            nose_width=n(1.0 + 0.18 * darkness, 0.13),
            nose_height=n(1.0 - 0.15 * darkness, 0.14),
            nose_tip=n(0.0, 0.03),
            eye_distance=n(0.405, 0.02),
            eye_size=n(1.0, 0.07),
            eye_tilt=n(0.03, 0.04),
            eye_open=n(1.0, 0.14),
            lid_fold=float(rng.uniform(0.15, 1.0)),
            iris=triple(_blend(_IRISES[:2] if darkness > 0.55 else _IRISES, rng.uniform())),
            brow_height=n(0.0, 0.025),
            brow_arch=n(0.05, 0.025),
            brow_thickness=n(0.9 + 0.35 * masculine, 0.2),
            brow_density=float(rng.uniform(0.45, 0.95)),
            mouth_width=n(0.36, 0.032),
            mouth_height=n(0.0, 0.03),
            lip_upper=n(0.85 + 0.35 * darkness, 0.18),
            lip_lower=n(0.9 + 0.3 * darkness, 0.18),
            lipstick=float(rng.uniform(0.3, 0.9)) if masculine < 0.45 and rng.uniform() < 0.45 else 0.0,
            lip_hue=float(rng.uniform()),
            hair=triple(hair),
            style=style,
            hairline=n(0.0, 0.045) + (0.05 * age if masculine > 0.5 else 0.0),
            hair_volume=float(rng.uniform(0.6, 1.35)),
            parting=float(rng.uniform(-0.45, 0.45)),
            beard=float(rng.uniform(0.5, 1.0)) if bearded and facial < 0.28 else 0.0,
            moustache=float(rng.uniform(0.5, 1.0)) if bearded and (facial < 0.25 or facial > 0.9) else 0.0,
            stubble=float(rng.uniform(0.15, 0.7)) if bearded and 0.25 < facial < 0.75 else 0.0,
            wrinkles=float(np.clip(age * 1.3 - 0.2, 0, 1)),
            freckles=float(rng.uniform(0.3, 1.0)) if darkness < 0.45 and rng.uniform() < 0.25 else 0.0,
            glasses=float(rng.uniform(0.4, 1.0)) if rng.uniform() < 0.22 else 0.0,
            glasses_round=float(rng.uniform(2.0, 4.5)),
            glasses_colour=triple(
                _blend(((16, 15, 16), (60, 38, 26), (30, 34, 60), (150, 140, 130)), rng.uniform())
            ),
            neck=n(0.49 + 0.12 * masculine, 0.03),
            shoulders=n(0.95 + 0.12 * masculine, 0.05),
            collar=str(rng.choice(("crew", "vee", "shirt", "hood", "round"))),
            clothes=triple(np.clip(cloth, 0.012, 0.85).astype(np.float32)),
            pattern=str(rng.choice(("plain", "plain", "stripes", "checks", "knit", "speckle"))),
            pattern_colour=triple(np.clip(rng.uniform(0.02, 0.8, 3), 0, 1).astype(np.float32)),
        )


@dataclass(frozen=True)
class Scene:
    """What changes from one photograph to the next: pose, expression, light and what stands behind.

    Angles in degrees; ``light`` is an RGB intensity, ``ambient`` the share of it that has no direction.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    smile: float = 0.0
    mouth_open: float = 0.0
    brow_raise: float = 0.0
    eyes_closed: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    azimuth_deg: float = 20.0
    elevation_deg: float = 30.0
    ambient: float = 0.45
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    backdrop: int = 0
    seed: int = 0

    @staticmethod
    def draw(
        rng: np.random.Generator,
        azimuth_deg: tuple[float, float] = (-60.0, 60.0),
        elevation_deg: tuple[float, float] = (0.0, 50.0),
        ambient: tuple[float, float] = (0.3, 0.75),
        kelvin: tuple[float, float] = (3500.0, 7500.0),
    ) -> Scene:
        """A scene drawn from ranges of light; pose, expression and backdrop have fixed distributions."""
        warmth = float(np.log(rng.uniform(*kelvin) / 5500.0))
        return Scene(
            yaw_deg=float(np.clip(rng.normal(0, 9), -20, 20)),
            pitch_deg=float(np.clip(rng.normal(0, 5), -11, 11)),
            roll_deg=float(np.clip(rng.normal(0, 3.5), -9, 9)),
            smile=float(np.clip(rng.normal(0.25, 0.35), -0.3, 1.0)),
            mouth_open=float(rng.uniform(0.2, 0.8)) if rng.uniform() < 0.25 else 0.0,
            brow_raise=float(np.clip(rng.normal(0, 0.4), -0.6, 1.0)),
            eyes_closed=float(np.clip(rng.normal(0.05, 0.15), 0, 0.55)),
            gaze=(float(rng.normal(0, 0.25)), float(rng.normal(0, 0.15))),
            azimuth_deg=float(rng.uniform(*azimuth_deg)),
            elevation_deg=float(rng.uniform(*elevation_deg)),
            ambient=float(rng.uniform(*ambient)),
            light=(float(np.exp(-0.35 * warmth)), 1.0, float(np.exp(0.45 * warmth))),
            backdrop=int(rng.integers(2**31)),
            seed=int(rng.integers(2**31)),
        )


def _noise(
    rng: np.random.Generator, shape: tuple[int, int], cell_v: float, cell_u: float | None = None
) -> Image:
    """Smooth noise of about unit variance whose features are ``cell`` pixels large."""
    cell_u = cell_v if cell_u is None else cell_u
    rows, columns = int(shape[0] / max(cell_v, 1.0)) + 3, int(shape[1] / max(cell_u, 1.0)) + 3
    seedling = rng.standard_normal((rows, columns), dtype=np.float32)
    if (rows, columns) == (shape[0] + 3, shape[1] + 3):
        return np.ascontiguousarray(seedling[: shape[0], : shape[1]])
    return np.asarray(cv2.resize(seedling, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _step(x: NDArray[Any]) -> Image:
    return np.asarray(np.clip(x, 0.0, 1.0))


class _Canvas:
    """A pixel grid with coordinates in half face widths; ``unit`` is the number of pixels in one."""

    def __init__(self, unit: float, u: tuple[float, float], v: tuple[float, float]) -> None:
        self.unit = unit
        columns, rows = max(8, round((u[1] - u[0]) * unit)), max(8, round((v[1] - v[0]) * unit))
        self.shape = (rows, columns)
        self.rows, self.columns = slice(0, rows), slice(0, columns)
        self.u = (u[0] + (np.arange(columns, dtype=np.float32) + 0.5) / unit).astype(np.float32)
        self.v = (v[0] + (np.arange(rows, dtype=np.float32) + 0.5) / unit).astype(np.float32)

    def window(self, u: float, v: float, du: float, dv: float) -> tuple[slice, slice]:
        columns = np.searchsorted(self.u, (u - du, u + du))
        rows = np.searchsorted(self.v, (v - dv, v + dv))
        return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))

    def part(self, u: float, v: float, du: float, dv: float) -> _Canvas:
        """A rectangle of this canvas that knows where it lies in it."""
        piece = copy(self)
        piece.rows, piece.columns = self.window(u, v, du, dv)
        piece.u, piece.v = self.u[piece.columns], self.v[piece.rows]
        piece.shape = (len(piece.v), len(piece.u))
        return piece

    def at(self, window: tuple[slice, slice]) -> tuple[Image, Image]:
        return self.u[window[1]][None, :], self.v[window[0]][:, None]

    def bump(self, field: Image, u: float, v: float, su: float, sv: float, amount: float) -> None:
        """Add a Gaussian hill; local, because most of a hill is nothing."""
        window = self.window(u, v, 3.2 * su, 3.2 * sv)
        x, y = self.at(window)
        field[window] += np.exp(-0.5 * ((y - v) / sv) ** 2) * (amount * np.exp(-0.5 * ((x - u) / su) ** 2))

    def pair(self, field: Image, u: float, v: float, su: float, sv: float, amount: float) -> None:
        self.bump(field, -u, v, su, sv, amount)
        self.bump(field, u, v, su, sv, amount)


_PHI = np.array([0, 15, 30, 45, 60, 75, 90, 110, 130, 150, 165, 180], np.float32)


def _round(knots: NDArray[np.float32], mirrored: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """A closed smooth radius over 720 directions, from knots at ``_PHI`` degrees from straight down."""
    half = np.arange(360, dtype=np.float32) / 2
    right = np.interp(half, _PHI, knots)
    left = right if mirrored is None else np.interp(half, _PHI, mirrored)
    ring = np.concatenate([right, left[::-1]])
    kernel = np.exp(-0.5 * (np.arange(-36, 37) / 12.0) ** 2)
    padded = np.concatenate([ring[-36:], ring, ring[:36]])
    return np.convolve(padded, kernel / kernel.sum(), mode="valid").astype(np.float32)


def _light(scene: Scene) -> NDArray[np.float32]:
    """Unit vector towards the light: right, down, towards the viewer."""
    a, e = np.deg2rad(scene.azimuth_deg), np.deg2rad(scene.elevation_deg)
    return np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)], np.float32)


def _turn(scene: Scene) -> NDArray[np.float32]:
    """Rotation from head to viewer: pitch, then yaw, then roll."""
    y, p, r = (np.deg2rad(x) for x in (scene.yaw_deg, scene.pitch_deg, scene.roll_deg))
    yaw = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    pitch = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    roll = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(roll @ yaw @ pitch, np.float32)


class _Head:
    """Height, albedo and coverage of one head, facing the viewer, on its own canvas."""

    def __init__(self, person: Identity, scene: Scene, unit: float) -> None:
        self.person, self.scene = person, scene
        self.canvas = _Canvas(unit, (-_HEAD_U, _HEAD_U), _HEAD_V)
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
        self.outline = _round(radius, radius * (1 + p.asymmetry))
        self.radius = self.outline[self.direction]
        self.q = self.rho / self.radius
        self.half_width = float(self.outline[180])
        self.face = _step((self.radius - self.rho) * unit + 0.5)
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
        height = np.interp(column, [-0.45, -0.22, 0.0, tip - 0.08, tip + 0.02, tip + 0.07, tip + 0.13, tip + 0.2],
                           [0.0, 0.085, 0.17, 0.30, 0.325, 0.24, 0.05, 0.0])  # fmt: skip
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
        red += 0.16 * p.blotches * _noise(rng, c.shape, 0.16 * c.unit)
        dark += 0.035 * p.blotches * _noise(rng, c.shape, 0.28 * c.unit)
        fine = _noise(rng, c.shape, 0.018 * c.unit)
        pores = _noise(rng, c.shape, 0.03 * c.unit)
        dark += 0.022 * fine + 0.02 * pores
        red += 0.05 * pores
        self.z += 0.0022 * pores + 0.0012 * fine
        self.gloss += 0.22 * fine
        if p.freckles:
            spots = _noise(rng, c.shape, 0.035 * c.unit)
            where = np.zeros(c.shape, np.float32)
            c.pair(where, 0.42, 0.14, 0.32, 0.20, 0.9)
            c.bump(where, 0, 0.05, 0.3, 0.22, 0.6)
            dark += 0.55 * p.freckles * where * _step((spots - 1.0) * 2.5)
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
        inside = np.exp(-(np.abs(across) ** 3)) * _step((t + 0.04) * 9) * _step((1.04 - t) * 7)
        rng = np.random.default_rng(np.random.SeedSequence([0xB0, p.seed, int(side > 0)]))
        strands = _noise(rng, (inside.shape[0], inside.shape[1]), 0.012 * c.unit, 0.05 * c.unit)
        amount = np.clip(inside * p.brow_density * (0.85 + 0.30 * strands), 0, 0.96)[..., None]
        colour = np.minimum(np.asarray(p.hair, np.float32) * 0.75, 0.30)
        colour = np.minimum(colour, np.asarray(p.skin, np.float32) * 0.7)
        self.albedo[window] = self.albedo[window] * (1 - amount) + colour * amount
        self.z[window] += 0.008 * inside * strands

    def _eye(self, side: float) -> None:
        p, c, s = self.person, self.canvas, self.scene
        cu, cv_ = side * p.eye_distance, -0.135
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
        eye = _step(np.minimum(y - upper, lower - y) * k + 0.5) * (np.abs(t) < 1)
        gu, gv = 0.055 * s.gaze[0] + s.yaw_deg * -0.0012, 0.03 * s.gaze[1] - 0.012
        r = np.sqrt((u - cu - gu) ** 2 + (v - cv_ - gv) ** 2)
        iris_r, pupil_r = 0.102 * p.eye_size, 0.040
        white = np.array([0.62, 0.56, 0.52], np.float32) * (1 - 0.12 * p.darkness)
        pink = _step((np.abs(t) - 0.62) * 2.2)[..., None] * np.array([0.02, 0.13, 0.14], np.float32)
        surface = white - np.broadcast_to(pink, (*eye.shape, 3))
        rng = np.random.default_rng(np.random.SeedSequence([0xE7E, p.seed]))
        spokes = rng.standard_normal(64).astype(np.float32)
        angle = (cv2.phase(np.ascontiguousarray(u - cu - gu + 0 * v), np.ascontiguousarray(v - cv_ - gv + 0 * u))
                 * (64 / (2 * np.pi))).astype(np.int32) % 64  # fmt: skip
        ring = np.clip(r / iris_r, 0, 1)
        shade = (0.85 + 0.55 * ring * (1 - ring) * 4 * 0.5 + 0.10 * spokes[angle]) * (
            1 - 0.65 * _step((ring - 0.78) * 5)
        )
        colour = np.asarray(p.iris, np.float32) * np.clip(shade, 0.1, 1.6)[..., None]
        inner = _step((iris_r - r) * k + 0.5)[..., None]
        surface = surface * (1 - inner) + colour * inner
        pupil = _step((pupil_r - r) * k + 0.5)[..., None]
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
        wide = 0.017 + 0.008 * _step(t * 0.8 + 0.2)
        lash = np.exp(-(((y - upper + 0.004) / wide) ** 2)) * _step((1.08 - np.abs(t)) * 8)
        lash = np.maximum(lash, 0.40 * np.exp(-(((y - lower) / 0.009) ** 2)) * _step((1 - np.abs(t)) * 5))
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
        lips = _step(np.minimum(v - top, bottom - v) * k * 0.6 + 0.5) * (np.abs(t) < 1)
        skin = np.asarray(p.skin, np.float32)
        natural = skin * np.array([0.80, 0.52, 0.52], np.float32) * (1 - 0.15 * p.darkness)
        painted = _blend(((190, 60, 70), (150, 30, 50), (200, 100, 100), (120, 40, 60)), p.lip_hue)
        colour = natural * (1 - p.lipstick) + painted * p.lipstick
        rng = np.random.default_rng(np.random.SeedSequence([0x11, p.seed]))
        furrows = _noise(rng, (lips.shape[0], lips.shape[1]), 0.09 * k, 0.014 * k)
        tone = (1 + 0.09 * furrows - 0.20 * _step((line - v) * 14))[..., None]
        cover = (0.92 * lips)[..., None]
        out = self.albedo[window] * (1 - cover) + colour * tone * cover
        inside = _step(np.minimum(v - line + gap, line + 1.2 * gap - v) * k + 0.5) * (gap * k > 0.6)
        teeth = inside * _step((line - gap + 0.055 - v) * k) * _step((0.86 - np.abs(t)) * 6)
        seams = 1 - 0.22 * np.exp(-(((np.mod(np.abs(u) / 0.062, 1.0) - 0.5) / 0.12) ** 2)) * np.ones_like(v)
        cavity = np.array([0.045, 0.012, 0.012], np.float32)
        ivory = np.array([0.55, 0.50, 0.42], np.float32) * (0.55 + 0.45 * body[..., None])
        out = out * (1 - inside[..., None]) + cavity * inside[..., None]
        out = out * (1 - teeth[..., None]) + ivory * seams[..., None] * teeth[..., None]
        seam = np.exp(-(((v - line) / 0.013) ** 2)) * _step((1.06 - np.abs(t)) * 6) * np.exp(-gap * 40)
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
            _noise(rng, c.shape, 0.045 * c.unit, 0.02 * c.unit),
            _noise(rng, c.shape, 0.02 * c.unit),
        )
        if not (p.beard or p.moustache or p.stubble):
            return
        u, v = c.u[None, :], c.v[:, None]
        line = (
            0.30 + 0.42 * np.exp(-(((np.abs(u) - 0.36) / 0.36) ** 2)) - 0.22 * _step((np.abs(u) - 0.80) * 5)
        )
        jaw = _step((v - line + 0.05 * coarse) * 8) * self.face
        lip = np.exp(-((np.abs(u) / (p.mouth_width * 1.02)) ** 4) - (np.abs((v - self.mouth_v) / 0.135) ** 4))
        chin = _step(jaw - 1.15 * lip)
        top = np.exp(-(((v - 0.5 * (self.mouth_v - 0.10 + self.nose_base + 0.04)) / 0.055) ** 4))
        upper = top * np.exp(-((u / (p.mouth_width * 1.0)) ** 4)) * _step(1.2 - 0.25 * coarse)
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

    def normals(self, z: Image) -> tuple[Image, Image, Image]:
        c = self.canvas
        smooth = cv2.GaussianBlur(z, (0, 0), max(0.35, 0.008 * c.unit))
        gu = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=c.unit / 8)
        gv = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=c.unit / 8)
        nz = 1.0 / np.sqrt(1.0 + gu * gu + gv * gv)
        return -gu * nz, -gv * nz, nz

    def shadows(self, z: Image, light: NDArray[np.float32]) -> tuple[Image, Image]:
        """Cast shadow (1 lit, 0 dark) and ambient occlusion, both found at half resolution."""
        rows, columns = z.shape
        small = cv2.resize(z, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
        k = self.canvas.unit / 2
        flat = float(np.hypot(light[0], light[1])) + 1e-6
        du, dv, slope = float(light[0]) / flat, float(light[1]) / flat, float(light[2]) / flat
        lit = np.ones_like(small)
        for reach in (0.05, 0.10, 0.17, 0.27, 0.42):
            shift = np.array([[1, 0, -du * reach * k], [0, 1, -dv * reach * k]], np.float32)
            ahead = cv2.warpAffine(
                small, shift, (small.shape[1], small.shape[0]), borderMode=cv2.BORDER_REPLICATE
            )
            over = (ahead - small - reach * max(slope, 0.05)) / (0.05 + 0.35 * reach)
            lit = np.minimum(lit, 1 - _step(over + 0.25))
        lit = cv2.GaussianBlur(lit, (0, 0), max(0.4, 0.03 * k))
        hollow = np.zeros_like(small)
        for reach, amount in ((0.06, 2.6), (0.20, 1.7)):
            hollow += amount * np.maximum(cv2.GaussianBlur(small, (0, 0), reach * k) - small - 0.002, 0)
        open_ = np.exp(-hollow)
        size = (columns, rows)
        return cv2.resize(lit, size, interpolation=cv2.INTER_LINEAR), cv2.resize(open_, size)


_STYLES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # Radius of the opening for the face and of the outside of the hair, at the angles of _PHI; the first
    # is multiplied by the head outline too, so that 1.0 lies on the outline.
    "shaved": ((2, 2, 2, 2, 2, 2, 2, 0.99, 0.86, 0.72, 0.66, 0.65), (1, 1, 1, 1, 1, 1, 1.0, 1.01, 1.012, 1.015, 1.015, 1.015)),
    "short": ((2, 2, 2, 2, 2, 2, 1.03, 0.94, 0.84, 0.70, 0.65, 0.64), (1, 1, 1, 1, 1, 1, 1.03, 1.06, 1.08, 1.11, 1.13, 1.14)),
    "crop": ((2, 2, 2, 2, 2, 2, 1.0, 0.93, 0.82, 0.66, 0.60, 0.60), (1, 1, 1, 1, 1, 1, 1.04, 1.07, 1.11, 1.17, 1.22, 1.24)),
    "parted": ((2, 2, 2, 2, 2, 1.2, 0.99, 0.92, 0.80, 0.66, 0.62, 0.60), (1, 1, 1, 1, 1, 1, 1.05, 1.09, 1.13, 1.18, 1.19, 1.18)),
    "fringe": ((2, 2, 2, 1.1, 0.98, 0.95, 0.93, 0.86, 0.66, 0.48, 0.43, 0.42), (1, 1, 1, 1.04, 1.1, 1.12, 1.12, 1.13, 1.14, 1.17, 1.18, 1.18)),
    "bob": ((2, 2, 1.1, 0.99, 0.95, 0.93, 0.92, 0.89, 0.80, 0.68, 0.62, 0.60), (1, 1.0, 1.12, 1.24, 1.28, 1.25, 1.2, 1.17, 1.16, 1.17, 1.18, 1.18)),
    "long": ((2, 2, 1.04, 0.985, 0.96, 0.95, 0.93, 0.88, 0.78, 0.67, 0.63, 0.61), (1, 1.0, 1.12, 1.2, 1.2, 1.19, 1.17, 1.15, 1.14, 1.16, 1.17, 1.17)),
    "curly": ((2, 2, 2, 1.1, 1.0, 0.97, 0.94, 0.88, 0.78, 0.66, 0.62, 0.60), (1, 1, 1.02, 1.1, 1.2, 1.27, 1.3, 1.33, 1.36, 1.38, 1.38, 1.38)),
    "tied": ((2, 2, 2, 2, 2, 2, 1.01, 0.91, 0.80, 0.67, 0.62, 0.60), (1, 1, 1, 1, 1, 1, 1.02, 1.045, 1.06, 1.07, 1.07, 1.07)),
    "receding": ((2, 2, 2, 2, 2, 2, 1.0, 0.965, 0.93, 0.90, 0.86, 0.80), (1, 1, 1, 1, 1, 1, 1.03, 1.05, 1.05, 1.05, 1.05, 1.05)),
}  # fmt: skip
_LOOSE = frozenset({"long", "bob", "curly"})
_COVERED_EARS = frozenset({"long", "bob", "curly", "fringe"})


def _shade(
    albedo: Image, normal: tuple[Image, Image, Image], scene: Scene, light: NDArray[np.float32],
    lit: Image | float = 1.0, open_: Image | float = 1.0, warmth: float = 1.0,
) -> Image:  # fmt: skip
    """Radiance of a matt surface: wrapped Lambert, whose wrap is wider for red as under skin, and a sky."""
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


def _strands(head: _Head, rng: np.random.Generator, curly: bool) -> Image:
    """Texture of the hair, -2..2: strands that run from the crown, or curls."""
    c = head.canvas
    if curly:
        a, b = _noise(rng, c.shape, 0.07 * c.unit), _noise(rng, c.shape, 0.03 * c.unit)
        return (0.9 * a + 0.6 * b).astype(np.float32)
    du = np.ascontiguousarray(np.broadcast_to(c.u[None, :] - 0.5 * head.person.parting, c.shape))
    dv = np.ascontiguousarray(np.broadcast_to(c.v[:, None] + 1.15, c.shape))
    away, around = cv2.cartToPolar(du, dv)
    wave = 0.10 * np.sin(4.0 * away + head.person.parting * 9)
    tile = rng.standard_normal((24, 512), dtype=np.float32)
    tile[:, 1:] = 0.55 * tile[:, 1:] + 0.45 * tile[:, :-1]
    coarse = _noise(rng, (24, 512), 4, 14)
    across = (around + wave) * (512 / (2 * np.pi))
    along = np.clip(away * 3.2, 0, 22)
    fine = cv2.remap(
        tile,
        across.astype(np.float32),
        along.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    wide = cv2.remap(
        coarse,
        across.astype(np.float32),
        along.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    return np.asarray(0.75 * fine + 0.7 * wide, np.float32)


def _glasses(head: _Head, rgb: Image, alpha: Image, light: float) -> None:
    p, c = head.person, head.canvas
    power = p.glasses_round
    a, b = 0.335, 0.225 + 0.03 * (4.5 - power)
    thick = 0.016 + 0.022 * p.glasses
    colour = np.asarray(p.glasses_colour, np.float32) * light
    for side in (-1.0, 1.0):
        cu, cv_ = side * (p.eye_distance + 0.015), -0.10
        window = c.window(cu, cv_, a + 0.12, b + 0.14)
        u, v = c.at(window)

        def ring(dv: float, u: Image = u, v: Image = v, cu: float = cu, cv_: float = cv_) -> Image:
            f = (np.abs((u - cu) / a) ** power + np.abs((v - cv_ - dv) / b) ** power) ** np.float32(1 / power)
            return np.asarray((f - 1.0) * (0.5 * (a + b)))

        region = rgb[window]
        region *= 1 - 0.30 * np.exp(-((ring(0.05) / 0.030) ** 2))[..., None]
        d = ring(0.0)
        lens = _step(-d * c.unit)[..., None]
        glare = 0.025 * lens * _step(0.5 + 3.0 * (v - cv_) * -1 + 1.6 * side * (u - cu))[..., None] * light
        region[:] = region * (1 - 0.06 * lens) + glare
        rim = _step((thick - np.abs(d)) * c.unit + 0.5)[..., None]
        sheen = (
            1
            + 1.8
            * np.exp(-(((d + 0.3 * thick) / (0.4 * thick)) ** 2))[..., None]
            * _step(-(v - cv_) * 6)[..., None]
        )
        region[:] = region * (1 - rim) + colour * sheen * rim
        temple = c.window(side * (head.half_width - 0.08), -0.17, 0.14, 0.05)
        u, v = c.at(temple)
        bar = _step((thick * 1.1 - np.abs(v + 0.17)) * c.unit + 0.5)[..., None] * alpha[temple][..., None]
        bar = bar * (np.abs(u) > p.eye_distance + a)[..., None]
        rgb[temple] = rgb[temple] * (1 - bar) + colour * bar
    bridge = c.window(0, -0.13, max(p.eye_distance - a + 0.02, 0.04), 0.09)
    u, v = c.at(bridge)
    bar = _step((0.8 * thick - np.abs(v + 0.15 - 0.8 * u * u)) * c.unit + 0.5)[..., None]
    rgb[bridge] = rgb[bridge] * (1 - bar) + colour * bar


def _head(person: Identity, scene: Scene, unit: float) -> tuple[Image, Image, _Canvas]:
    """Premultiplied RGBA radiance of the head facing the viewer, and its height."""
    head = _Head(person, scene, unit)
    c, p = head.canvas, person
    light = _turn(scene).T @ _light(scene)
    rng = np.random.default_rng(np.random.SeedSequence([0x4A12, p.seed]))
    opening, outer = (np.asarray(x, np.float32) for x in _STYLES[p.style])
    volume = 1 + (outer - 1) * p.hair_volume
    opening = opening - np.where(_PHI > 100, p.hairline, 0).astype(np.float32) * -0.6
    tilt = np.where(_PHI > 120, p.parting * 0.22, 0).astype(np.float32)
    parted = p.style in ("parted", "bob", "long")
    inner_ring = _round(opening + (tilt if parted else 0), opening - (tilt if parted else 0))
    outer_ring = _round(volume, volume) * head.outline
    inner = inner_ring[head.direction] * head.radius
    outside = outer_ring[head.direction]
    curly = p.style == "curly"
    strands = _strands(head, rng, curly)
    jag = 0.022 * unit * (0.8 * strands + _noise(rng, c.shape, 0.10 * unit))
    soft = {"shaved": 0.10, "short": 0.22, "receding": 0.2, "crop": 0.3}.get(p.style, 0.4)
    rim = 0.8 if curly else 0.25
    hair = _step((head.rho - inner) * unit * soft + 0.6 * jag * soft * 2 + 0.5)
    hair = hair * _step((outside - head.rho) * unit * 0.7 + rim * jag + 0.3)
    hair[c.v > 0.95, :] *= 1.0 if p.style in _LOOSE else 0.0
    density = {"shaved": 0.62, "receding": 0.9}.get(p.style, 1.0)
    z, alpha = head.z, head.face.copy()
    if p.style not in _COVERED_EARS:
        for side in (-1.0, 1.0):
            window = c.window(side * head.half_width, -0.02, 0.2, 0.42)
            u, v = c.at(window)
            lean = side * u - head.half_width + 0.10 * v
            d = np.sqrt((lean / 0.125) ** 2 + ((v + 0.02) / 0.285) ** 2)
            ear = _step((1 - d) * 0.13 * unit + 0.5) * (1 - head.face[window])
            fold = np.exp(-(((d - 0.62) / 0.16) ** 2))[..., None]
            tone = (
                np.asarray(p.skin, np.float32) * np.array([0.92, 0.74, 0.70], np.float32) * (1 - 0.40 * fold)
            )
            head.albedo[window] += (tone - head.albedo[window]) * ear[..., None]
            z[window] += ear * (0.12 + 0.12 * np.sqrt(np.clip(1 - d * d, 0, 1)))
            alpha[window] = np.maximum(alpha[window], ear)
    cover = (hair * density)[..., None]
    tone = np.clip(1 + (0.20 if curly else 0.24) * strands, 0.3, 1.8)[..., None]
    roots = np.asarray(p.hair, np.float32) * tone
    if p.style == "shaved":
        roots = 0.6 * roots + 0.12 * np.asarray(p.skin, np.float32)
    albedo = head.albedo * (1 - cover) + roots * cover
    dome = np.sqrt(np.maximum(1 - np.minimum(head.rho / outside, 1.0) ** 2.4, 0)).astype(np.float32)
    mane = p.depth * dome + (0.02 if p.style == "shaved" else 0.09) + (0.05 if curly else 0.010) * strands
    z = z * (1 - hair) + np.maximum(mane, z) * hair
    alpha = np.maximum(alpha, hair * (0.9 + 0.1 * density))
    normal = head.normals(z)
    lit, open_ = head.shadows(z, light)
    rgb = _shade(albedo, normal, scene, light, lit, open_)
    half = light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    glint = np.maximum(normal[0] * half[0] + normal[1] * half[1] + normal[2] * half[2], 0)
    bright = 1.35 * (1 - scene.ambient)
    wet = np.maximum(head.gloss, 0) * (1 - hair) * lit
    shine = p.oiliness * wet * (0.10 * cv2.pow(glint, 34.0) + 0.045 * cv2.pow(glint, 9.0))
    tress = np.maximum(1 - (normal[1] * 0.9 + half[1] * 0.9 + 0.12 * strands) ** 2 * 6, 0) ** 3
    shine += 0.055 * hair * density * tress * lit * np.clip(0.6 + 0.5 * strands, 0, 2) * (0.3 if curly else 1)
    rgb += shine[..., None] * (np.asarray(scene.light, np.float32) * bright)
    for gu, gv, radius, amount in head.glints:
        window = c.window(gu, gv, 0.12, 0.12)
        u, v = c.at(window)
        at_u, at_v = gu + 0.5 * radius * float(light[0]), gv + 0.5 * radius * float(light[1]) - 0.02
        spot = np.exp(-(((u - at_u) / 0.020) ** 2) - ((v - at_v) / 0.020) ** 2)
        rgb[window] += (
            (0.8 * min(amount, 1.0) * bright) * spot[..., None] * np.asarray(scene.light, np.float32)
        )
    if p.glasses:
        _glasses(head, rgb, alpha, 0.4 * scene.ambient + 0.6)
    return np.dstack([rgb * alpha[..., None], alpha]).astype(np.float32), z, c


def _pose(layer: Image, z: Image, c: _Canvas, scene: Scene, frame: _Canvas) -> Image:
    """The head turned: for each pixel of the frame, the point of the height field that is seen there."""
    quarter = 4
    rows, columns = frame.shape[0] // quarter, frame.shape[1] // quarter
    su = np.interp(np.arange(columns) * quarter + (quarter - 1) / 2, np.arange(frame.shape[1]), frame.u)
    sv = np.interp(np.arange(rows) * quarter + (quarter - 1) / 2, np.arange(frame.shape[0]), frame.v)
    smooth = cv2.GaussianBlur(z, (0, 0), 0.10 * c.unit) - 0.35
    turn = _turn(scene).astype(np.float64)
    x, y = np.meshgrid(su, sv)
    pivot = 0.9
    y = y - pivot
    u, v = x.copy(), y.copy()
    inverse = np.linalg.inv(turn[:2, :2])
    for _ in range(4):
        mx = ((u - c.u[0]) * c.unit).astype(np.float32)
        my = ((v + pivot - c.v[0]) * c.unit).astype(np.float32)
        depth = cv2.remap(smooth, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rx, ry = x - turn[0, 2] * depth, y - turn[1, 2] * depth
        u, v = inverse[0, 0] * rx + inverse[0, 1] * ry, inverse[1, 0] * rx + inverse[1, 1] * ry
    size = (frame.shape[1], frame.shape[0])
    mx = cv2.resize(((u - c.u[0]) * c.unit).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    my = cv2.resize(((v + pivot - c.v[0]) * c.unit).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.remap(layer, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.float32)


def _backdrop(scene: Scene, shape: tuple[int, int], unit: float) -> Image:
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
        grain = _noise(rng, quarter, 0.05 * k) + 0.7 * _noise(rng, quarter, 0.3 * k)
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


def _loose_hair(person: Identity, frame: _Canvas, rng: np.random.Generator) -> tuple[Image, Image, Image]:
    """Cover of the hair behind the neck and in front of the shoulders, and its texture."""
    length = {"long": 2.1 + 0.8 * person.hair_volume, "bob": 1.12, "curly": 1.35}[person.style]
    v = frame.v
    outer = np.interp(v, [-1.2, -0.4, 0.5, 1.2, 1.8, 2.8], [0.92, 1.11, 1.14, 1.14, 1.13, 1.10])
    if person.style == "curly":
        outer = outer * (1.0 + 0.18 * person.hair_volume)
    inner = np.interp(v, [0.2, 0.9, 1.3, 1.8, 2.8], [0.95, 0.80, 0.68, 0.62, 0.70])
    strands = _noise(rng, frame.shape, 1.2 * frame.unit, 0.035 * frame.unit)
    strands = strands + 0.7 * _noise(rng, frame.shape, 0.5 * frame.unit, 0.10 * frame.unit)
    if person.style == "curly":
        strands = _noise(rng, frame.shape, 0.08 * frame.unit) + 0.4 * strands
    au = np.abs(frame.u)[None, :] + 0.02 * strands
    ends = (
        length - 0.35 * np.clip(au, 0, 1.5) ** 4 * (0.45 if person.style == "long" else 1.0) + 0.05 * strands
    )
    end = _step((ends - v[:, None]) * 6) * _step((v + 1.0) * 3)[:, None]
    back = _step((outer[:, None] - au) * frame.unit * 0.5 + 0.5) * end
    front = back * _step((au - inner[:, None]) * frame.unit * 0.3 + 0.5)
    return back.astype(np.float32), front.astype(np.float32), strands.astype(np.float32)


def _body(person: Identity, scene: Scene, frame: _Canvas, out: Image) -> None:
    """Paint hair behind, neck, clothes and hair in front over the backdrop."""
    rng = np.random.default_rng(np.random.SeedSequence([0xB0D7, person.seed]))
    drift = 0.25 * float(np.sin(np.deg2rad(scene.yaw_deg)))
    level = 0.9 * scene.ambient + 1.35 * (1 - scene.ambient) * 0.55
    colour = np.asarray(person.hair, np.float32) * np.asarray(scene.light, np.float32) * np.float32(level)
    loose = None
    if person.style in _LOOSE:
        part = frame.part(-drift * 0.4, 0.55, 1.45, 1.65 if person.style != "long" else 2.6)
        part.u = part.u + np.float32(drift * 0.4)
        view = out[part.rows, part.columns]
        loose = _loose_hair(person, part, rng)
        back = loose[0][..., None]
        view[:] = view * (1 - back) + colour * (0.45 * np.clip(1 + 0.25 * loose[2], 0.3, 2)[..., None] * back)
    _neck(person, scene, frame.part(0, 1.5, 1.4, 1.0), out, drift)
    _clothes(person, scene, frame.part(0, 2.5, 9.0, 1.0), out, drift, rng)
    if loose is not None:
        front = loose[1][..., None]
        curve = np.clip(0.75 + 0.35 * np.sign(part.u) * _light(scene)[0], 0.3, 1.3)[None, :, None]
        strand = np.clip(1 + 0.30 * loose[2], 0.25, 2)[..., None]
        view[:] = (
            view * (1 - front)
            + (colour * curve * strand + 0.008 * np.maximum(loose[2], 0)[..., None]) * front
        )


def _under_chin(person: Identity, light: NDArray[np.float32], u: Image, v: Image, drift: float) -> Image:
    """Light that reaches the neck past the chin, 0..1."""
    chin = 1.24 + person.chin - 0.35 * (u - 0.8 * drift) ** 2
    reach = 0.28 + 0.5 * max(float(-light[1]), 0.0)
    return np.asarray(1 - 0.72 * _step(1 - (v - chin) / reach) ** 1.3, np.float32)


def _neck(person: Identity, scene: Scene, part: _Canvas, out: Image, drift: float) -> None:
    light = _light(scene)
    view = out[part.rows, part.columns]
    u, v = (part.u - np.float32(drift * 0.4))[None, :], part.v[:, None]
    width = person.neck * np.interp(part.v, [0.6, 1.2, 1.6, 1.95, 2.3], [1.0, 0.97, 1.05, 1.35, 2.2])
    half = width.astype(np.float32)[:, None]
    x = np.clip(u / half, -0.995, 0.995)
    neck = _step((half - np.abs(u)) * part.unit + 0.5)[..., None]
    skin = np.empty((*part.shape, 3), np.float32)
    skin[:] = np.asarray(person.skin, np.float32) * np.array([0.92, 0.88, 0.86], np.float32)
    cords = 0.25 * np.exp(-(((np.abs(u) - 0.30 - 0.11 * (2.0 - v)) / 0.07) ** 2)) * np.sign(u)
    nu = np.asarray(0.85 * x * np.abs(x) + cords, np.float32)
    nv = np.full(part.shape, 0.12, np.float32)
    nz = np.sqrt(np.maximum(1 - nu * nu - nv * nv, 0.05))
    shade = _under_chin(person, light, u, v, drift)
    body = _shade(skin, (nu, nv, nz), scene, light, shade, 0.35 + 0.65 * shade)
    view[:] = view * (1 - neck) + body * neck


def _clothes(
    person: Identity, scene: Scene, part: _Canvas, out: Image, drift: float, rng: np.random.Generator
) -> None:
    p, light = person, _light(scene)
    view = out[part.rows, part.columns]
    u, v = (part.u - np.float32(drift * 0.4))[None, :], part.v[:, None]
    au = np.abs(u) / p.shoulders
    line = np.interp(au, [0, 0.42, 0.62, 1.0, 1.5, 1.95, 2.25, 2.5, 2.8],
                     [1.72, 1.70, 1.74, 1.86, 1.98, 2.12, 2.32, 2.75, 3.6]).astype(np.float32)  # fmt: skip
    depth = {"crew": 0.10, "vee": 0.75, "shirt": 0.42, "hood": 0.22, "round": 0.38}[p.collar]
    if p.collar in ("vee", "shirt"):
        cut = depth * (1 - np.abs(u) / (0.62 * p.neck / 0.6))
    else:
        cut = depth * np.sqrt(np.maximum(1 - (u / (0.74 * p.neck / 0.6)) ** 2, 0))
    hem = (line + np.maximum(cut, 0)).astype(np.float32)
    cloth = _step((v - hem) * part.unit + 0.5)
    folds = 0.030 * _noise(rng, part.shape, 0.5 * part.unit, 0.28 * part.unit)
    relief = folds + 0.55 * np.sqrt(np.maximum(v - line, 0) * 0.6 + 0.002)
    if p.collar in ("hood", "crew", "round"):
        relief = relief + 0.05 * np.exp(-(((v - hem - 0.05) / 0.035) ** 2))
    elif p.collar == "shirt":
        relief = relief + 0.05 * _step((0.24 - np.abs(v - hem - 0.10) - 0.1 * np.abs(u)) * 10)
    relief = cv2.GaussianBlur(relief.astype(np.float32), (0, 0), max(0.35, 0.014 * part.unit))
    gu = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=1, scale=part.unit / 2)
    gv = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=1, scale=part.unit / 2)
    inv = 1 / np.sqrt(1 + gu * gu + gv * gv)
    tint: NDArray[Any] = np.empty((*part.shape, 3), np.float32)
    tint[:] = np.asarray(p.clothes, np.float32)
    second = np.asarray(p.pattern_colour, np.float32)
    turns = np.float32(2 * np.pi / rng.uniform(0.09, 0.4))
    if p.pattern == "stripes":
        stripe = _step(np.sin((v + folds) * turns) * 3 + 0.5)[..., None]
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
        tint = tint * np.clip(1 + 0.3 * _noise(rng, part.shape, 0.02 * part.unit), 0.2, 2)[..., None]
    shade = 0.45 + 0.55 * _under_chin(p, light, u, v, drift)
    wear = _shade(tint.astype(np.float32), (-gu * inv, -gv * inv, inv), scene, light, shade, 1.0, 0.4)
    wear *= (1 - 0.30 * np.exp(-np.maximum(v - hem, 0) / 0.018) * cloth)[..., None]
    view[:] = view * (1 - cloth[..., None]) + wear * cloth[..., None]


def face_box(scene: Scene, size_px: int) -> Box:
    """Face box ``x, y, w, h`` in pixels of a render of this size: hairline to chin, cheek to cheek."""
    unit = FACE_WIDTH_SHARE * size_px / 2
    turn = _turn(scene)
    centre = turn @ np.array([0.0, (_BOX_V[0] + _BOX_V[1]) / 2 - 0.9, 0.30], np.float32)
    width, height = 2.0, _BOX_V[1] - _BOX_V[0]
    x, y = float(centre[0]) - width / 2, float(centre[1]) + 0.9 - height / 2
    return (x * unit + size_px / 2, y * unit + _CENTRE_V_SHARE * size_px, width * unit, height * unit)


def render(identity: Identity, scene: Scene, size_px: int) -> tuple[Image, Box]:
    """Light leaving the scene, linear RGB float32 ``(size_px, size_px, 3)``, about 0..1, and the face box.

    The head is a height field with an albedo, shaded by wrapped Lambert light, a sky, cast shadows, occlusion
    and a specular lobe, and turned by following the height field. The same arguments give the same bytes.

    Raises:
        ValueError: ``size_px`` is below 64.
    """
    if size_px < 64:
        raise ValueError(f"size_px is {size_px}, at least 64 is needed")
    unit = FACE_WIDTH_SHARE * size_px / 2
    half = size_px / 2 / unit
    top = _CENTRE_V_SHARE * size_px / unit
    frame = _Canvas(unit, (-half, half), (-top, 2 * half - top))
    if frame.shape != (size_px, size_px):
        raise ValueError(f"no canvas of {size_px} px")
    out = _backdrop(scene, frame.shape, unit)
    _body(identity, scene, frame, out)
    layer, z, canvas = _head(identity, scene, unit)
    seen = _pose(layer, z, canvas, scene, frame)
    out *= 1 - seen[..., 3:]
    out += seen[..., :3]
    return np.ascontiguousarray(out, np.float32), face_box(scene, size_px)
