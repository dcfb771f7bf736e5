"""Instruments that do not fill the frame: their outline, the rim, what is behind them, and the hand.

Knows outlines in the frame. Must not know what the instrument shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swapbench.simulate.face_canvas import Image

    Colour = tuple[float, float, float]

_FINGER_DEG = 18.0


@dataclass(frozen=True)
class Hold:
    """How much of the frame an instrument fills, and what is around it.

    Lengths are in shares of the frame.

    Attributes:
        middle: of the outline, x and y.
        half: half its width and height.
        turn_deg: how far it is tilted in the frame.
        rim: width of the bezel, or of bare paper.
        corner: radius of its corners.
        seed: of the surroundings.
        light: their brightness.
        fingers: how many are in front of the rim; the side is drawn from the seed.
        skin: linear RGB of the hand.
    """

    middle: tuple[float, float]
    half: tuple[float, float]
    turn_deg: float
    rim: float
    corner: float
    seed: int
    light: float
    fingers: int
    skin: Colour

    def paint(self, radiance: Image, rim: Colour) -> None:
        """Paint surroundings, rim and fingers into a supersampled radiance, in place."""
        side = radiance.shape[0]
        u, v = self._own_coordinates(side)
        outside = _beyond(u, v, self.half, self.corner)
        soft = np.float32(1.5 / side)
        body = np.clip(0.5 - (outside - self.rim) / soft, 0, 1)[..., None]
        picture = np.clip(0.5 - outside / soft, 0, 1)[..., None]
        around = self._surroundings(side)
        # contact shadow of the instrument on what is behind it
        around *= (1 - 0.5 * np.exp(-np.maximum(outside - self.rim, 0) / 0.02))[..., None]
        frame = (
            np.asarray(rim, np.float32) * (1 + 1.5 * np.exp(-((outside - self.rim) ** 2) / 1e-5))[..., None]
        )
        radiance *= picture
        radiance += (1 - picture) * (body * frame + (1 - body) * around)
        self._hand(radiance, u, v)

    def shown(self, side: int) -> NDArray[np.bool_]:
        """Where a frame of `side` x `side` samples shows the instrument, rim and all."""
        u, v = self._own_coordinates(side)
        return np.asarray(_beyond(u, v, self.half, self.corner) <= self.rim)

    def _own_coordinates(self, side: int) -> tuple[Image, Image]:
        ramp = (np.arange(side, dtype=np.float32) + 0.5) / side
        x, y = ramp[None, :] - np.float32(self.middle[0]), ramp[:, None] - np.float32(self.middle[1])
        a = np.deg2rad(self.turn_deg)
        cos, sin = np.float32(np.cos(a)), np.float32(np.sin(a))
        return np.asarray(x * cos + y * sin, np.float32), np.asarray(y * cos - x * sin, np.float32)

    def _surroundings(self, side: int) -> Image:
        """A room out of focus."""
        rng = np.random.default_rng(np.random.SeedSequence([0x401D, self.seed]))
        small = np.empty((48, 48, 3), np.float32)
        small[:] = np.exp(rng.normal(0, 0.25, 3)) * 0.5
        for _ in range(10):
            x, y, w, h = (int(q) for q in rng.integers((0, 0, 4, 4), (44, 44, 30, 30)))
            shade = tuple(float(q) for q in np.exp(rng.normal(-0.8, 0.7) + rng.normal(0, 0.2, 3)))
            cv2.rectangle(small, (x, y), (x + w, y + h), shade, -1)
        small = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(0.6, 4))) * np.float32(self.light)
        return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)

    def _hand(self, radiance: Image, u: Image, v: Image) -> None:
        """Fingers that reach over the rim from one side."""
        if not self.fingers:
            return
        rng = np.random.default_rng(np.random.SeedSequence([0xF1A6, self.seed]))
        which = int(rng.integers(4))
        along, across = (v, u) if which < 2 else (u, v)
        sign = np.float32(1 if which % 2 else -1)
        half_across, half_along = self.half if which < 2 else self.half[::-1]
        width = float(rng.uniform(0.028, 0.05))
        at = float(rng.uniform(-0.6, 0.6)) * half_along
        for number in range(self.fingers):
            reach = half_across + self.rim - float(rng.uniform(0.04, 0.12))
            lean = np.deg2rad(float(rng.normal(0, _FINGER_DEG)))
            d_along = along - np.float32(at + number * 2.1 * width)
            d_across = sign * across - np.float32(reach)
            axis = d_across * np.float32(np.cos(lean)) + d_along * np.float32(np.sin(lean))
            off = d_along * np.float32(np.cos(lean)) - d_across * np.float32(np.sin(lean))
            # a capsule that goes on outwards for ever
            distance = np.hypot(off, np.minimum(axis, 0)) / np.float32(width)
            cover = np.clip((1 - distance) * np.float32(width * radiance.shape[0] / 2), 0, 1)[..., None]
            round_ = 0.45 + 0.55 * np.sqrt(np.clip(1 - distance**2, 0, 1))
            skin = np.asarray(self.skin, np.float32) * np.float32(1.2 * self.light) * round_[..., None]
            radiance *= 1 - cover
            radiance += cover * skin


def _beyond(u: Image, v: Image, half: tuple[float, float], corner: float) -> Image:
    """Distance outside a rectangle with rounded corners, negative inside."""
    du = np.abs(u) - np.float32(half[0] - corner)
    dv = np.abs(v) - np.float32(half[1] - corner)
    outer = np.hypot(np.maximum(du, 0), np.maximum(dv, 0))
    return np.asarray(outer + np.minimum(np.maximum(du, dv), 0) - np.float32(corner), np.float32)


@dataclass(frozen=True)
class Holds:
    """How often instruments of a site do not fill the frame, and how far they are from it.

    Attributes:
        share: of instruments whose outline is seen.
        inset: range of what is left free on each side, in shares of the frame; negative: not in the frame.
        rim: range of the rim's width.
        corner: radius of the corners.
        hand: share of those with fingers.
    """

    share: float = 0.0
    inset: tuple[float, float] = (-0.05, 0.14)
    rim: tuple[float, float] = (0.01, 0.05)
    corner: float = 0.0
    hand: float = 0.5

    def draw(self, rng: np.random.Generator) -> Hold | None:
        """A hold, or None where the instrument fills the frame."""
        if not self.share or rng.uniform() >= self.share:
            return None
        left, right, top, bottom = rng.uniform(*self.inset, 4)
        tone = rng.uniform(0.05, 0.6)
        return Hold(
            middle=(float(0.5 + (left - right) / 2), float(0.5 + (top - bottom) / 2)),
            half=(float(0.5 - (left + right) / 2), float(0.5 - (top + bottom) / 2)),
            turn_deg=float(rng.normal(0, 2.5)),
            rim=float(rng.uniform(*self.rim)),
            corner=self.corner,
            seed=int(rng.integers(2**31)),
            light=float(np.exp(rng.normal(-1.0, 0.5))),
            fingers=int(rng.integers(1, 5)) if rng.uniform() < self.hand else 0,
            skin=(float(tone), float(0.62 * tone), float(0.45 * tone)),
        )


FILLING = Holds()
"""Every instrument fills the frame."""
