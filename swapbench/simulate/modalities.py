"""The same presentation to a depth sensor and a near-infrared camera, pixel by pixel beside the photograph.

What they show of an instrument is what makes them worth having: a sheet or a display is flat, whatever it
shows; most inks are transparent at 850 nm, so a print is pale but for its black; a display is dark, and
reflects the sensor's own lamp. Skin is equally bright at all tones, and hair is grey. The facts are those of
data sets that have such channels (Zhang et al., CASIA-SURF, CVPR 2019; George et al., WMCA, TIFS 2020); the
numbers are our choice. Simulated data; not PAD performance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.simulate import recapture
from swapbench.simulate.camera import SUPERSAMPLING, Camera, Shot, jpeg
from swapbench.simulate.faces import BACKDROP_DEPTH, relief, render
from swapbench.simulate.presentation import Print, Replay

if TYPE_CHECKING:
    from swapbench.simulate.face_canvas import Image
    from swapbench.simulate.faces import Identity
    from swapbench.simulate.presentation import Presentation, Subject

HALF_FACE_MM = 75
"""Half the width of a face."""

STEP_MM = 1.5
"""Depth of one level of a depth map; level 128 lies at the axis of the head's turns, higher is nearer."""

_NOISE_MM = 2.0
_CURL = 3.0
"""Half face widths by which the middle of a sheet is before its edge, at a bend of 1."""

_SKIN, _HAIR, _CLOTH, _PAPER = 0.55, 0.20, 0.35, 0.85
_CLEAR_INK, _CARBON, _FAR = (0.93, 0.93, 0.93), (0.08, 0.08, 0.08), 0.35
_SENSOR = Camera("near-infrared", 0.6, 0.016, 0.006, 1.0, 1.0, 1.0, 0.2, level=0.45)
_RELEASE = Shot(exposure=0.35, adaptation=0.0, quality=90)


def depth(subject: Subject, presentation: Presentation, rng: np.random.Generator) -> bytes:
    """A depth map as a PNG file with 8 bits a pixel, of the size of the frame."""
    framing, attack = presentation.framing, presentation.attack
    if attack is None:
        near = relief(subject.identity, presentation.scene, framing.source_px)
        mx, my = framing.maps()
        # the nearest sample, so that no depth lies between a face and the wall behind it
        seen = cv2.remap(near, mx, my, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        middle = SUPERSAMPLING // 2
        seen = seen[middle::SUPERSAMPLING, middle::SUPERSAMPLING]
    else:
        seen = _flat(attack, framing.frame_px, rng)
    level = 128 + (seen * HALF_FACE_MM + rng.normal(0, _NOISE_MM, seen.shape)) / STEP_MM
    pixels = cv2.medianBlur(np.clip(np.rint(level), 0, 255).astype(np.uint8), 3)
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise ValueError(f"cannot encode a map of shape {pixels.shape} as PNG")
    return data.tobytes()


def _flat(attack: Print | Replay, frame_px: int, rng: np.random.Generator) -> Image:
    """A plane that is a little tilted, curled if it is a sheet; beyond its outline the wall."""
    ramp = np.linspace(-1, 1, frame_px)
    lean_u, lean_v = rng.normal(0, 0.25, 2)
    u, v = ramp[None, :], ramp[:, None]
    plane = lean_u * u + lean_v * v
    bend, bend_deg = attack.curl
    a = np.deg2rad(bend_deg)
    plane = plane - _CURL * bend * (u * np.cos(a) + v * np.sin(a)) ** 2
    hold = attack.hold
    return plane if hold is None else np.where(hold.shown(frame_px), plane, BACKDROP_DEPTH)


def near_infrared(subject: Subject, presentation: Presentation, rng: np.random.Generator) -> bytes:
    """A picture at 850 nm under the sensor's own lamp, as a grey JPEG file of the size of the frame."""
    framing, attack = presentation.framing, presentation.attack
    if attack is None:
        scene = replace(
            presentation.scene, azimuth_deg=0.0, elevation_deg=8.0, ambient=0.2, light=(1.0, 1.0, 1.0)
        )
        light = render(_in_infrared(subject.identity), scene, framing.source_px)[0]
        wall = relief(subject.identity, presentation.scene, framing.source_px) <= BACKDROP_DEPTH
        light[wall] *= np.float32(_FAR)
        radiance = recapture.bona_fide(light, framing)
    elif isinstance(attack, Print):
        ink = replace(
            attack.printer, cyan=_CLEAR_INK, magenta=_CLEAR_INK, yellow=_CLEAR_INK, key=_CARBON,
            paper=(_PAPER, _PAPER, _PAPER),
        )  # fmt: skip
        sheet = replace(attack.sheet, light=(1.0, 1.0, 1.0), reflection=None)
        photo = subject.photo(attack.photograph, presentation.scene)
        radiance = recapture.printed(photo, ink, sheet, framing)
    else:
        dark = np.zeros((framing.source_px, framing.source_px, 3), np.uint8)
        off = replace(attack.display, black=0.004, grid=0.0, flicker=0.0, colour_shift=0.0, gloss=0.5)
        x, y = rng.uniform(0.3, 0.7, 2)
        lamp = replace(
            attack.showing, glare=1.0, glare_at=(float(x), float(y)), glare_size=0.12, pane=None, veil=0.006,
            reflection=None,
        )  # fmt: skip
        radiance = recapture.replayed(dark, off, lamp, framing)
    return jpeg(_SENSOR.develop(_grey(radiance), _RELEASE, rng)[..., 1], _RELEASE.quality)


def _grey(radiance: Image) -> Image:
    """What one channel sees, in all three."""
    mean = radiance.mean(axis=2, dtype=np.float32)
    return np.dstack([mean, mean, mean])


def _in_infrared(person: Identity) -> Identity:
    """The same person at 850 nm: melanin and blood hardly absorb, make-up and most dyes do not show."""

    def even(level: float) -> tuple[float, float, float]:
        return (level, level, level)

    cloth = _CLOTH + 0.5 * float(np.mean(person.clothes))
    return replace(
        person,
        skin=even(_SKIN),
        darkness=0.2,
        redness=0.0,
        blotches=0.2 * person.blotches,
        freckles=0.0,
        lipstick=0.0,
        hair=even(_HAIR + 0.5 * float(np.mean(person.hair))),
        iris=even(0.18),
        stubble=0.3 * person.stubble,
        clothes=even(cloth),
        pattern_colour=even(0.8 * cloth + 0.2 * float(np.mean(person.pattern_colour))),
    )


MAKE = {"depth": depth, "nir": near_infrared}
"""What can stand beside the photograph -> what makes its file."""

SUFFIX = {"depth": ".depth.png", "nir": ".nir.jpg"}
"""Ending of its file, in place of the photograph's."""
