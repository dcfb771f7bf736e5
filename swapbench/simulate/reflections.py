"""What glass and gloss reflect: windows, lamps and the dark shape of whoever holds the camera.

A reflection is added to the light of an instrument. Its edges have nothing to do with the face behind it,
which is what tells it from light on a face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from swapbench.simulate.face_canvas import Image

_SIDE = 160
"""Pixels of the room that is drawn: reflections are soft, and this is enough."""


@dataclass(frozen=True)
class Reflection:
    """A room that is seen in an instrument, once.

    Attributes:
        seed: of the room.
        strength: light of its brightest source, as a share of the white of the instrument.
        softness: deviation of the blur, in shares of the frame.
    """

    seed: int
    strength: float
    softness: float

    def light(self, side: int) -> Image:
        """Linear RGB that is added to a frame of `side` x `side` samples."""
        rng = np.random.default_rng(np.random.SeedSequence([0x4EF1, self.seed]))
        room = np.zeros((_SIDE, _SIDE, 3), np.float32)
        warmth = float(rng.normal(0, 0.25))
        tint = np.exp(np.array([warmth, 0, -warmth])).astype(np.float32)
        for _ in range(int(rng.integers(1, 3))):
            _window(room, rng, tint)
        for _ in range(int(rng.integers(0, 3))):
            centre = tuple(int(x) for x in rng.integers(0, _SIDE, 2))
            axes = (int(rng.integers(4, 22)), int(rng.integers(3, 9)))
            lamp = tuple(float(x) for x in tint[::-1] * rng.uniform(0.6, 1.0))
            cv2.ellipse(room, centre, axes, float(rng.uniform(0, 180)), 0, 360, lamp, -1)
        if rng.uniform() < 0.6:
            _holder(room, rng)
        room += np.float32(rng.uniform(0.0, 0.12)) * tint
        turn = cv2.getRotationMatrix2D((_SIDE / 2, _SIDE / 2), float(rng.normal(0, 12)), 1.25)
        room = cv2.warpAffine(room, turn, (_SIDE, _SIDE), borderMode=cv2.BORDER_REFLECT)
        blur = self.softness * _SIDE
        if blur > 0.3:
            room = cv2.GaussianBlur(room, (0, 0), blur)
        room *= np.float32(self.strength / max(float(room.max()), 1e-3))
        return np.asarray(cv2.resize(room, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True)
class Reflections:
    """How often the instruments of a site reflect a room, and how strongly.

    Attributes:
        share: of instruments that do.
        strength: range of it; most are near its lower end.
        softness: range of the blur, in shares of the frame.
    """

    share: float = 0.0
    strength: tuple[float, float] = (0.05, 0.4)
    softness: tuple[float, float] = (0.004, 0.05)

    def draw(self, rng: np.random.Generator) -> Reflection | None:
        """A reflection, or None."""
        if not self.share or rng.uniform() >= self.share:
            return None
        low, high = self.strength
        return Reflection(
            seed=int(rng.integers(2**31)),
            strength=float(low + (high - low) * rng.beta(1.2, 2)),
            softness=float(np.exp(rng.uniform(*np.log(self.softness)))),
        )


NOTHING_REFLECTED = Reflections()


def _window(room: Image, rng: np.random.Generator, tint: Image) -> None:
    """A window with its bars."""
    x, y = (int(v) for v in rng.integers(-_SIDE // 4, 3 * _SIDE // 4, 2))
    wide, high = (int(v) for v in rng.integers(_SIDE // 5, 2 * _SIDE // 3, 2))
    shade = tuple(float(v) for v in tint * rng.uniform(0.5, 1.0))
    cv2.rectangle(room, (x, y), (x + wide, y + high), shade, -1)
    bar = max(2, int(0.03 * _SIDE))
    for number in range(1, int(rng.integers(1, 4))):
        at = x + number * wide // 3
        cv2.rectangle(room, (at, y), (at + bar, y + high), (0.02, 0.02, 0.02), -1)
    if rng.uniform() < 0.6:
        at = y + high // 2
        cv2.rectangle(room, (x, at), (x + wide, at + bar), (0.02, 0.02, 0.02), -1)


def _holder(room: Image, rng: np.random.Generator) -> None:
    """Head and shoulders against the room: they hide what is behind them."""
    x, y = int(rng.uniform(0.2, 0.8) * _SIDE), int(rng.uniform(0.35, 0.7) * _SIDE)
    size = int(rng.uniform(0.10, 0.2) * _SIDE)
    dark = (0.01, 0.01, 0.012)
    cv2.ellipse(room, (x, y), (size, int(1.3 * size)), 0, 0, 360, dark, -1)
    cv2.ellipse(room, (x, y + 4 * size), (int(2.4 * size), int(2.6 * size)), 0, 0, 360, dark, -1)
