"""Who is shown and how: what stays the same about a person, and what changes from one photograph to the next.

Knows the population that people and scenes are drawn from. Must not know how either is painted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.simulate.face_canvas import blend

if TYPE_CHECKING:
    from numpy.typing import NDArray


# From very light to very dark, in sRGB; a tone is an interpolation between neighbours in linear light.
_TONES = (
    (243, 208, 190),
    (235, 192, 166),
    (222, 174, 142),
    (203, 152, 117),
    (178, 125, 92),
    (147, 98, 70),
    (113, 72, 51),
    (84, 53, 39),
    (60, 38, 29),
)
_HAIRS = (
    (22, 18, 17),
    (38, 28, 23),
    (62, 42, 30),
    (92, 62, 41),
    (128, 90, 56),
    (178, 140, 92),
    (122, 62, 36),
    (140, 136, 132),
    (205, 202, 196),
)
_IRISES = ((58, 36, 22), (84, 54, 30), (110, 84, 48), (88, 100, 70), (92, 118, 140), (120, 130, 138))

STYLES = ("shaved", "short", "crop", "parted", "fringe", "bob", "long", "curly", "tied", "receding")


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
        skin = np.clip(blend(_TONES, darkness) * (1 + undertone), 0.01, 0.95)
        masculine = float(np.clip(rng.normal(0.5, 0.32), 0, 1))
        age = float(rng.beta(1.4, 2.0))
        grey = age > 0.62 and rng.uniform() < 0.7
        if grey:
            hair = blend(_HAIRS[7:], rng.uniform())
        elif darkness > 0.5 or rng.uniform() < 0.3:
            hair = blend(_HAIRS[:3], rng.uniform())
        else:
            hair = blend(_HAIRS[:7], rng.uniform())
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
            iris=triple(blend(_IRISES[:2] if darkness > 0.55 else _IRISES, rng.uniform())),
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
                blend(((16, 15, 16), (60, 38, 26), (30, 34, 60), (150, 140, 130)), rng.uniform())
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

    Angles in degrees; `light` is an RGB intensity, `ambient` the share of it that has no direction.
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

    @property
    def towards_light(self) -> NDArray[np.float32]:
        """Unit vector towards the light: right, down, towards the viewer."""
        a, e = np.deg2rad(self.azimuth_deg), np.deg2rad(self.elevation_deg)
        return np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)], np.float32)

    @property
    def turn(self) -> NDArray[np.float32]:
        """Rotation from head to viewer: pitch, then yaw, then roll."""
        y, p, r = (np.deg2rad(x) for x in (self.yaw_deg, self.pitch_deg, self.roll_deg))
        yaw = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        pitch = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
        roll = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
        return np.asarray(roll @ yaw @ pitch, np.float32)
