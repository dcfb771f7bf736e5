"""One presentation to a camera, decided in full before it is rendered: a face, or a print or display of one.

Knows how a person, an instrument and a framing meet. Must not know who is in a data set nor how it is laid
out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.simulate import recapture
from swapbench.simulate.camera import STUDIO, Camera, Pixels, Shot
from swapbench.simulate.faces import Identity, Scene, render

if TYPE_CHECKING:
    from swapbench.simulate.face_canvas import Image
    from swapbench.simulate.held import Hold
    from swapbench.simulate.instruments import Display, Printer, Sheet, Showing
    from swapbench.simulate.recapture import Framing


def stream(*words: int) -> np.random.Generator:
    """Random numbers that depend on these words alone, and on no other stream."""
    return np.random.default_rng(np.random.SeedSequence(words))


def draw_identity(seed: int, number: int) -> Identity:
    """The person with this number under this seed.

    Args:
        seed: seed of the data set.
        number: 0 to 8,000,008; within this range no two pairs of seed and number share a person.
    """
    # Odd multiplication modulo a power of two is a bijection: distinct numbers stay distinct people.
    return Identity.draw((number + seed * 8_000_009) * 0x9E3779B97F4A7C15 % 2**64)


@dataclass(frozen=True)
class Photograph:
    """A photograph taken to be copied, decided but not yet exposed.

    Attributes:
        number: tells the photographs of one person apart.
        shot: exposure, white balance and compression.
        noise: stream of the sensor noise; its state is no part of the photograph's identity.
    """

    number: int
    shot: Shot
    noise: np.random.Generator = field(compare=False)


def studio_shot(rng: np.random.Generator) -> Shot:
    """The shutter release of a photograph taken to be copied: well exposed, sharp, little compressed."""
    return Shot(
        exposure=float(0.2 * np.exp(rng.normal(0, 0.15))),
        white_balance=(float(np.exp(rng.normal(0, 0.04))), 1.0, float(np.exp(rng.normal(0, 0.04)))),
        adaptation=0.8,
        quality=int(rng.integers(88, 97)),
    )


@dataclass(frozen=True)
class Print:
    """A print attack: one sheet from one printer, held before the camera."""

    photograph: Photograph
    printer: Printer
    sheet: Sheet

    @property
    def instrument(self) -> str:
        """Name of the attack instrument."""
        return self.printer.name

    @property
    def curl(self) -> tuple[float, float]:
        """Bend of the sheet in shares of the source, and its direction in degrees."""
        return self.sheet.bend, self.sheet.bend_deg

    @property
    def hold(self) -> Hold | None:
        """Its outline, where that is seen."""
        return self.sheet.hold

    def radiance(self, photo: Pixels, framing: Framing) -> Image:
        """The framed print, supersampled linear RGB."""
        return recapture.printed(photo, self.printer, self.sheet, framing)


@dataclass(frozen=True)
class Replay:
    """A replay attack: a photograph shown on a display, held before the camera."""

    photograph: Photograph
    display: Display
    showing: Showing
    curl: tuple[float, float] = (0.0, 0.0)

    @property
    def instrument(self) -> str:
        """Name of the attack instrument."""
        return self.display.name

    @property
    def hold(self) -> Hold | None:
        """Its outline, where that is seen."""
        return self.showing.hold

    def radiance(self, photo: Pixels, framing: Framing) -> Image:
        """The framed display, supersampled linear RGB."""
        return recapture.replayed(photo, self.display, self.showing, framing)


@dataclass(frozen=True)
class Presentation:
    """What a camera is to see, fully decided: nothing is drawn after this but sensor noise.

    Attributes:
        camera: the capture device.
        shot: its shutter release.
        scene: the scene with the face, seen directly or in the photograph that is copied.
        framing: where that scene falls in the frame.
        attack: the attack with its instrument, None for bona fide.
    """

    camera: Camera
    shot: Shot
    scene: Scene
    framing: Framing
    attack: Print | Replay | None


class Subject:
    """A simulated person before the cameras; each photograph to be copied is taken once."""

    def __init__(self, identity: Identity, source_px: int) -> None:
        self.identity = identity
        self._source_px = source_px
        self._photos: dict[int, Pixels] = {}

    def radiance(self, presentation: Presentation) -> Image:
        """The light that enters the camera: supersampled linear RGB of the framed presentation."""
        attack, framing = presentation.attack, presentation.framing
        if attack is None:
            return recapture.bona_fide(self._rendered(presentation.scene), framing)
        return attack.radiance(self.photo(attack.photograph, presentation.scene), framing)

    def _rendered(self, scene: Scene) -> Image:
        return render(self.identity, scene, self._source_px)[0]

    def photo(self, photograph: Photograph, scene: Scene) -> Pixels:
        """The photograph as it is read back from its file: sRGB bytes."""
        if photograph.number not in self._photos:
            data = STUDIO.photograph(
                self._rendered(scene), photograph.shot, photograph.noise, supersampling=1
            )
            decoded = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
            self._photos[photograph.number] = np.ascontiguousarray(decoded[..., ::-1], np.uint8)
        return self._photos[photograph.number]
