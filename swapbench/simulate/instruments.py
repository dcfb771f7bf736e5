"""Presentation attack instruments: prints and displays, and the ways to hold one before a camera.

Knows inks, screens and subpixels. Must not know where in a frame an instrument falls or how a camera sees it.
A print is CMYK with grey-component replacement and clustered-dot screens at 15/75/0/45 degrees; a display has
a gamma, a black lift and a grid of subpixels, whose moire comes by aliasing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from swapbench.simulate.camera import decode, mean_of_channels
from swapbench.simulate.held import FILLING
from swapbench.simulate.reflections import NOTHING_REFLECTED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swapbench.simulate.camera import Pixels
    from swapbench.simulate.face_canvas import Image
    from swapbench.simulate.held import Hold, Holds
    from swapbench.simulate.reflections import Reflection, Reflections

_SCREEN_ANGLES_DEG = (15.0, 75.0, 0.0, 45.0)
_LIGHT_OF_BYTES = decode(np.arange(256, dtype=np.uint8))


@dataclass(frozen=True)
class Printer:
    """Inks, paper and screening. Colours are linear RGB reflectances of a solid patch.

    Attributes:
        name: of the printer.
        period_px: period of the screens in pixels of the frame.
        scattered: a frequency-modulated screen, as of an inkjet, and not clustered dots.
        dot_gain_px: how far ink spreads.
        tone: exponent of the tone curve.
        black: strength of the replacement of grey by black ink.
        cyan: of the ink; so are magenta, yellow and key.
        magenta: see cyan.
        yellow: see cyan.
        key: see cyan.
        paper: of the bare paper.
        gloss: strength of reflections of the light.
        streaks: amplitude of bands across the sheet.
        mottle: amplitude of uneven inking, in blotches of some pixels.
        vivid: how far the driver raises colours and contrast, as the photo mode of printers does.
    """

    name: str
    period_px: float = 2.0
    scattered: bool = False
    dot_gain_px: float = 0.25
    tone: float = 0.85
    black: float = 0.7
    cyan: tuple[float, float, float] = (0.06, 0.36, 0.62)
    magenta: tuple[float, float, float] = (0.58, 0.05, 0.22)
    yellow: tuple[float, float, float] = (0.85, 0.72, 0.07)
    key: tuple[float, float, float] = (0.035, 0.035, 0.04)
    paper: tuple[float, float, float] = (0.86, 0.86, 0.84)
    gloss: float = 0.05
    streaks: float = 0.02
    mottle: float = 0.0
    vivid: float = 0.0

    def plates(self, photo: Pixels) -> Pixels:
        """Cyan, magenta, yellow and black dot areas 0..255 of an sRGB photograph; black replaces grey."""
        area = np.clip(1 - np.power(_LIGHT_OF_BYTES, self.tone), 0, 1).astype(np.float32)
        cmy = np.asarray(area[photo])
        if self.vivid:
            grey = mean_of_channels(cmy)
            cmy = grey + (cmy - grey) * np.float32(1 + self.vivid)
            cmy = np.clip(0.5 + (cmy - 0.5) * np.float32(1 + self.vivid / 2), 0, 1)
        black = np.minimum(np.minimum(cmy[..., 0], cmy[..., 1]), cmy[..., 2])[..., None]
        black = np.float32(self.black) * black * black
        cmy = 1 - (1 - cmy) / np.maximum(1 - black, 0.02)
        return np.clip(np.concatenate([cmy, black], axis=2) * 255 + 0.5, 0, 255).astype(np.uint8)

    def halftone(self, plates: Pixels, phase_px: tuple[int, int], raster_per_frame_px: float) -> Pixels:
        """Dots of each plate, 0 or 255 blurred by dot gain, on the raster of `plates`."""
        # Few sizes, so that the cache of screens stays small.
        side = -(-(max(plates.shape[:2]) + 256) // 512) * 512
        period = round(self.period_px * raster_per_frame_px, 3)
        screens = _scatter(side) if self.scattered else _screens(side, period)
        y, x = phase_px[0] % 256, phase_px[1] % 256
        rows, columns = plates.shape[:2]
        dots = [
            cv2.compare(
                plates[..., i], np.ascontiguousarray(screens[i][y : y + rows, x : x + columns]), cv2.CMP_GT
            )
            for i in range(4)
        ]
        inked = cv2.merge(dots)
        sigma = self.dot_gain_px * raster_per_frame_px
        return np.asarray(cv2.GaussianBlur(inked, (0, 0), sigma) if sigma > 0.2 else inked, np.uint8)

    def reflectance(self, dots: Pixels) -> Image:
        """Linear RGB of inks that multiply on paper, from dot areas 0..255 of the four plates."""
        level = np.arange(256, dtype=np.float32) / 255
        out = np.empty((*dots.shape[:2], 3), np.float32)
        planes = cv2.split(dots)
        for channel in range(3):
            product = np.full(dots.shape[:2], self.paper[channel], np.float32)
            for plane, ink in zip(planes, (self.cyan, self.magenta, self.yellow, self.key), strict=True):
                table = 1 - level * np.float32(1 - ink[channel])
                product *= cv2.LUT(plane, table)
            out[..., channel] = product
        return out


@lru_cache(maxsize=24)
def _screens(side: int, period: float) -> tuple[Pixels, ...]:
    """Clustered-dot thresholds 0..254 of the four plates, equalised: area above a tone equals the tone."""
    yy = np.arange(side, dtype=np.float32)[:, None]
    xx = np.arange(side, dtype=np.float32)[None, :]
    screens = []
    for angle in _SCREEN_ANGLES_DEG:
        a = np.deg2rad(angle)
        k = np.float32(2 * np.pi / period)
        u = (xx * np.float32(np.cos(a)) + yy * np.float32(np.sin(a))) * k
        v = (yy * np.float32(np.cos(a)) - xx * np.float32(np.sin(a))) * k
        wave = ((np.cos(u) + np.cos(v)) * np.float32(255.75) + 511.5).astype(np.int32)
        screens.append(_equalised(wave, 1024))
    return tuple(screens)


@lru_cache(maxsize=4)
def _scatter(side: int) -> tuple[Pixels, ...]:
    """Thresholds of a frequency-modulated screen: noise without its low frequencies, equalised."""
    rng = np.random.default_rng(np.random.SeedSequence([0x5CA7]))
    screens = []
    for _ in range(4):
        noise = rng.standard_normal((side, side), dtype=np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), 0.7) - cv2.GaussianBlur(noise, (0, 0), 1.6)
        wave = np.clip((noise / noise.std() * 0.16 + 0.5) * 1023, 0, 1023).astype(np.int32)
        screens.append(_equalised(wave, 1024))
    return tuple(screens)


def _equalised(wave: NDArray[np.int32], levels: int) -> Pixels:
    counts = np.bincount(wave.ravel(), minlength=levels)
    rank = (np.cumsum(counts) - 0.5 * counts) / wave.size
    return np.asarray(np.clip(rank * 255, 0, 254).astype(np.uint8)[wave])


@dataclass(frozen=True)
class Sheet:
    """How a print is held and lit, once.

    Attributes:
        bend: curl in shares of the sheet.
        bend_deg: its direction.
        shade: darkening across the sheet.
        shade_deg: its direction.
        gloss: strength of a reflection, times that of the paper.
        gloss_at: its centre in shares of the frame.
        zoom: factor of the period of the screens.
        phase_px: offset of the screens.
        fidelity: 0..1, how much of the halftone gives way to continuous tone.
        light: colour of the light on the sheet.
        creases: folds, each with its distance from the middle in shares of half a frame, its direction in
            degrees, and how much darker one side of it is.
        reflection: of a room in its gloss; None: none.
        hold: its outline, where that is seen.
    """

    bend: float = 0.0
    bend_deg: float = 0.0
    shade: float = 0.15
    shade_deg: float = 0.0
    gloss: float = 0.0
    gloss_at: tuple[float, float] = (0.3, 0.3)
    zoom: float = 1.0
    phase_px: tuple[int, int] = (0, 0)
    fidelity: float = 0.0
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    creases: tuple[tuple[float, float, float], ...] = ()
    reflection: Reflection | None = None
    hold: Hold | None = None


@dataclass(frozen=True)
class Sheets:
    """How the prints of a site are held.

    Attributes:
        careful: share that is hard to tell.
        bend: deviation of the curl.
        shade: largest darkening across a sheet; a careful one has a third of it.
        fidelity: range of it.
        careful_fidelity: the same, of a careful sheet.
        creased: share with folds.
        reflections: of rooms in their gloss.
        holds: their outlines.
    """

    careful: float = 0.2
    bend: float = 0.06
    shade: float = 0.45
    fidelity: tuple[float, float] = (0.0, 0.45)
    careful_fidelity: tuple[float, float] = (0.5, 0.8)
    creased: float = 0.0
    reflections: Reflections = NOTHING_REFLECTED
    holds: Holds = FILLING

    def draw(self, rng: np.random.Generator) -> Sheet:
        """A way to hold a print."""
        careful = rng.uniform() < self.careful
        warmth = float(rng.normal(0, 0.12))
        return Sheet(
            bend=float(rng.normal(0, self.bend)),
            bend_deg=float(rng.uniform(0, 180)),
            shade=float(rng.uniform(0.0, self.shade / 3 if careful else self.shade)),
            shade_deg=float(rng.uniform(0, 360)),
            gloss=0.0 if careful else float(rng.beta(1, 2)),
            gloss_at=(float(rng.uniform()), float(rng.uniform())),
            zoom=float(rng.uniform(0.85, 1.15)) * (0.7 if careful else 1.0),
            phase_px=(int(rng.integers(256)), int(rng.integers(256))),
            fidelity=float(rng.uniform(*(self.careful_fidelity if careful else self.fidelity))),
            light=(float(np.exp(-warmth)), 1.0, float(np.exp(warmth))),
            creases=self._creases(rng),
            reflection=self.reflections.draw(rng),
            hold=self.holds.draw(rng),
        )

    def _creases(self, rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
        if not self.creased or rng.uniform() >= self.creased:
            return ()
        first = float(rng.choice((0.0, 90.0))) + float(rng.normal(0, 4))
        return tuple(
            (float(rng.uniform(-0.5, 0.5)), first + 90 * number, float(rng.normal(0, 0.18)))
            for number in range(int(rng.integers(1, 3)))
        )


@dataclass(frozen=True)
class Display:
    """A screen: tone, colour and the grid of its subpixels.

    Attributes:
        name: of the display.
        pitch_px: one display pixel at unit zoom, in pixels of the frame.
        grid: contrast of the subpixel grid.
        gamma: exponent of the tone curve.
        white: linear RGB of white.
        black: light of black, as a share of white.
        gamut: share of the saturation that is lost.
        gloss: strength of reflections of the room.
        flicker: amplitude of bands by refreshing.
        shoulder: level above which highlights are clipped, as a share of white.
        colour_shift: how far red and blue drift across a display that is seen at an angle.
    """

    name: str
    pitch_px: float = 1.9
    grid: float = 0.45
    gamma: float = 2.2
    white: tuple[float, float, float] = (0.94, 1.0, 1.08)
    black: float = 0.02
    gamut: float = 0.06
    gloss: float = 0.15
    flicker: float = 0.04
    shoulder: float = 1.0
    colour_shift: float = 0.0

    def emission(self, photo: Pixels) -> Image:
        """Linear RGB of an sRGB photograph on this screen, without its grid."""
        tone = np.power(np.arange(256, dtype=np.float32) / 255, np.float32(self.gamma))
        tone = np.float32(self.black) + np.float32(1 - self.black) * tone
        if self.shoulder < 1:
            tone = np.minimum(tone, np.float32(self.shoulder)) / np.float32(self.shoulder)
        light = tone[photo]
        mean = mean_of_channels(light)
        light = mean + (light - mean) * np.float32(1 - self.gamut)
        return np.asarray(light * np.asarray(self.white, np.float32), np.float32)

    def lattice(self, mx: Image, my: Image, pitch: float, sample: float, strength: float) -> Image:
        """Transmission of the subpixel grid, mean 1, at source positions; shape `(h, w, 3)`.

        The cell is three stripes on two thirds of its height, as two harmonics of its Fourier series, each
        already averaged over a sample. What is left above the sensor's own resolution folds down there: that
        is the moire.

        Args:
            mx: horizontal source positions, `[h, w]`.
            my: vertical source positions, `[h, w]`.
            pitch: of the cell in source pixels.
            sample: width of a radiance sample in source pixels.
            strength: contrast of the grid.
        """
        turn = np.float32(2 * np.pi / pitch)
        blur = sample / pitch
        weight = np.float32(strength)
        unit = np.ones_like(mx)
        cx, sx = cv2.polarToCart(unit, mx * turn)
        cy, _ = cv2.polarToCart(unit, my * turn)
        rows = unit + weight * np.float32(2 * np.sinc(2 / 3) * np.sinc(blur)) * cy
        first, second = (np.float32(2 * np.sinc(k / 3) * np.sinc(k * blur)) * weight for k in (1, 2))
        cx2, sx2 = 2 * cx * cx - 1, 2 * sx * cx
        out = np.empty((*mx.shape, 3), np.float32)
        for channel in range(3):
            p = 2 * np.pi * (channel - 1) / 3
            c1, s1, c2, s2 = (np.float32(f(k * p)) for k in (1, 2) for f in (np.cos, np.sin))
            out[..., channel] = (1 + first * (cx * c1 + sx * s1) + second * (cx2 * c2 + sx2 * s2)) * rows
        return out


@dataclass(frozen=True)
class Showing:
    """How a display is held and lit, once.

    Attributes:
        zoom: factor of the pixel pitch.
        grid: factor of the contrast of the subpixel grid.
        turn_deg: of the grid against the sensor.
        flicker: factor of the display's.
        flicker_phase: of the bands, in radians.
        flicker_cycles: bands over half a frame.
        glare: strength of a reflection, times the gloss of the display.
        glare_at: its centre in shares of the frame.
        glare_size: its radius in shares of half a frame.
        pane: reflected window: left, top, width and height in shares of the frame; None: no window.
        falloff: darkening across the display.
        falloff_deg: its direction.
        veil: light of the room that is added everywhere.
        lens: curvature of the camera's picture of the grid, which bends the moire; in shares of half a frame.
        drift_deg: direction of the drift of colours.
        reflection: of a room in the glass; None: none.
        hold: its outline, where that is seen.
    """

    zoom: float = 1.0
    grid: float = 1.0
    turn_deg: float = 0.0
    flicker: float = 0.0
    flicker_phase: float = 0.0
    flicker_cycles: float = 2.0
    glare: float = 0.0
    glare_at: tuple[float, float] = (0.3, 0.3)
    glare_size: float = 0.4
    pane: tuple[float, float, float, float] | None = None
    falloff: float = 0.0
    falloff_deg: float = 0.0
    veil: float = 0.01
    lens: float = 0.0
    drift_deg: float = 0.0
    reflection: Reflection | None = None
    hold: Hold | None = None


@dataclass(frozen=True)
class Showings:
    """How the displays of a site are held.

    Attributes:
        careful: share that is hard to tell.
        grid: range of the contrast of the subpixel grid.
        paned: share that reflects a window, of those that are not careful.
        veil: largest light of the room that is added everywhere.
        zoom: range of it.
        turn_deg: deviation of the direction of the grid.
        lens: largest curvature of the grid.
        reflections: of rooms in the glass.
        holds: their outlines.
    """

    careful: float = 0.2
    grid: tuple[float, float] = (0.5, 1.4)
    paned: float = 0.3
    veil: float = 0.02
    zoom: tuple[float, float] = (0.85, 1.15)
    turn_deg: float = 2.5
    lens: float = 0.0
    reflections: Reflections = NOTHING_REFLECTED
    holds: Holds = FILLING

    def draw(self, rng: np.random.Generator) -> Showing:
        """A way to hold a display."""
        careful = rng.uniform() < self.careful
        low = 0.25 if careful else 1.0
        pane = None
        if not careful and rng.uniform() < self.paned:
            x, y, w, h = rng.uniform((0, 0, 0.1, 0.1), (0.8, 0.8, 0.4, 0.5))
            pane = (float(x), float(y), float(w), float(h))
        return Showing(
            zoom=float(rng.uniform(*self.zoom)),
            grid=float(rng.uniform(*self.grid)) * low,
            turn_deg=float(rng.normal(0, self.turn_deg)),
            flicker=float(rng.beta(1, 2)) * low,
            flicker_phase=float(rng.uniform(0, 2 * np.pi)),
            flicker_cycles=float(rng.uniform(0.8, 6)),
            glare=float(rng.beta(1, 1.6)) * low,
            glare_at=(float(rng.uniform()), float(rng.uniform())),
            glare_size=float(rng.uniform(0.15, 0.8)),
            pane=pane,
            falloff=float(rng.uniform(0, 0.35)),
            falloff_deg=float(rng.uniform(0, 360)),
            veil=float(rng.uniform(0, self.veil)) * low,
            lens=float(rng.uniform(-self.lens, self.lens)) if self.lens else 0.0,
            drift_deg=float(rng.uniform(0, 360)) if self.lens else 0.0,
            reflection=self.reflections.draw(rng),
            hold=self.holds.draw(rng),
        )
