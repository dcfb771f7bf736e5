"""Recapture in linear light: one camera, and a print or a display that may stand between it and the face.

Knows optics, inks, subpixels and sensors. Must not know how a face is drawn, nor how a data set is laid out.
Bona fide and attacks go through the same `Framing` and the same `Camera`, with a `Shot` drawn from the same
distribution, so that neither sharpness, exposure, noise nor compression is the label.

After the prototype of the project's reference notes (section 8): CMYK with grey-component replacement and
clustered-dot screens at 15/75/0/45 degrees; display gamma, black lift and subpixel grid with moire by aliasing.
Lengths are in pixels of the captured frame unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from swapbench.pad.faces import Box, Image, linear

Pixels = NDArray[np.uint8]

SUPERSAMPLING = 3
"""Side of the grid of radiance samples that one sensor pixel integrates."""

_SCREEN_ANGLES_DEG = (15.0, 75.0, 0.0, 45.0)
_GRID_STEP = 16


def _encoding() -> Pixels:
    x = np.arange(4096, dtype=np.float64) / 4095
    y = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.floor(y * 255 + 0.5).astype(np.uint8)


_ENCODE = _encoding()
_DECODE = linear(np.arange(256, dtype=np.float32) / np.float32(255))


def encode(radiance: Image) -> Pixels:
    """Bytes of sRGB for linear light in 0..1 (IEC 61966-2-1); values outside are clipped."""
    index = np.clip(radiance * 4095 + 0.5, 0, 4095).astype(np.uint16)
    return np.asarray(_ENCODE[index])


def decode(srgb: Pixels) -> Image:
    """Linear light of sRGB bytes."""
    return np.asarray(_DECODE[srgb])


@dataclass(frozen=True)
class Camera:
    """A lens, a sensor and the processing behind it. Noise is relative to full scale."""

    name: str
    psf_px: float = 0.45
    shot_noise: float = 0.012
    read_noise: float = 0.004
    crosstalk: float = 0.06
    saturation: float = 1.1
    contrast: float = 1.0
    sharpening: float = 0.3

    def photograph(
        self, radiance: Image, shot: Shot, rng: np.random.Generator, supersampling: int = SUPERSAMPLING
    ) -> bytes:
        """JPEG bytes of a radiance ``(n*s, n*s, 3)`` in linear RGB, on a sensor of ``n`` x ``n`` pixels.

        Raises:
            ValueError: the radiance is not RGB with sides that are even multiples of ``supersampling``.
        """
        return jpeg(self.develop(radiance, shot, rng, supersampling), shot.quality)

    def develop(
        self, radiance: Image, shot: Shot, rng: np.random.Generator, supersampling: int = SUPERSAMPLING
    ) -> Pixels:
        """The photograph before compression, sRGB bytes ``(n, n, 3)``."""
        if (
            radiance.ndim != 3
            or radiance.shape[2] != 3
            or any(x % (2 * supersampling) for x in radiance.shape[:2])
        ):
            raise ValueError(
                f"cannot photograph an array of shape {radiance.shape} at {supersampling} samples a pixel"
            )
        rows, columns = radiance.shape[0] // supersampling, radiance.shape[1] // supersampling
        sigma = float(np.hypot(self.psf_px, shot.focus_px)) * supersampling
        blurred = cv2.GaussianBlur(radiance, (0, 0), sigma) if sigma > 0.2 else radiance
        if shot.shake_px * supersampling >= 1:
            blurred = cv2.filter2D(blurred, -1, _shake(shot.shake_px * supersampling, shot.shake_deg))
        light = (
            cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_AREA)
            if supersampling > 1
            else blurred
        )
        light = np.asarray(light, np.float32)
        means = light.mean(axis=(0, 1), dtype=np.float64)
        middle = light[rows // 4 : rows - rows // 4, columns // 3 : columns - columns // 3].mean(
            axis=(0, 1), dtype=np.float64
        )
        metered = 0.4 * means + 0.6 * middle
        level = 0.25 * float(metered[0]) + 0.6 * float(metered[1]) + 0.15 * float(metered[2]) + 1e-4
        grey = float(means.mean())
        gains = (grey / (means + 0.02 * grey + 1e-4)) ** shot.adaptation * np.asarray(shot.white_balance)
        sensor = light * (gains * (shot.exposure / level)).astype(np.float32)
        sensor = sensor * np.float32(1 - shot.flare) + np.float32(shot.flare * shot.exposure)
        noisy = self._noise(mosaic(sensor), shot, rng)
        rgb = demosaic(noisy)
        mean = rgb.mean(axis=2, keepdims=True)
        vivid = self.saturation * shot.saturation
        rgb = mean + (rgb - mean) * np.float32(vivid * (1 - self.crosstalk))
        if self.contrast != 1.0 or shot.contrast != 1.0:
            power = self.contrast * shot.contrast
            pivot = np.float32(shot.exposure ** (1 - power))
            rgb = cv2.pow(np.maximum(rgb, 0), power) * pivot
        rgb = rgb / (1 + np.maximum(rgb - 0.75, 0))
        amount = self.sharpening * shot.sharpening
        image = encode(np.asarray(rgb, np.float32))
        if amount > 0.02:
            soft = cv2.GaussianBlur(image, (0, 0), 1.0)
            image = np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), np.uint8)
        return image

    def _noise(self, raw: Image, shot: Shot, rng: np.random.Generator) -> Image:
        """Poisson-Gauss noise, by its normal approximation with a variance linear in the signal."""
        gain = shot.noise
        variance = np.maximum(raw, 0) * np.float32((self.shot_noise * gain) ** 2) + np.float32(
            (self.read_noise * gain) ** 2
        )
        return np.asarray(
            raw + rng.standard_normal(raw.shape, dtype=np.float32) * np.sqrt(variance), np.float32
        )


@dataclass(frozen=True)
class Shot:
    """What one press of the shutter adds to a camera; drawn alike for bona fide and attacks."""

    exposure: float = 0.2
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    adaptation: float = 0.6
    focus_px: float = 0.0
    shake_px: float = 0.0
    shake_deg: float = 0.0
    noise: float = 1.0
    flare: float = 0.0
    saturation: float = 1.0
    contrast: float = 1.0
    sharpening: float = 1.0
    quality: int = 85

    @staticmethod
    def draw(rng: np.random.Generator, frame_px: int = 256) -> Shot:
        """A shot; blurs scale with the frame so that small frames show the same picture."""
        scale = frame_px / 256
        red, blue = np.exp(rng.normal(0, 0.085, 2))
        return Shot(
            exposure=float(0.18 * np.exp(rng.normal(0, 0.26))),
            white_balance=(float(red), 1.0, float(blue)),
            adaptation=float(rng.uniform(0.5, 0.95)),
            focus_px=float(abs(rng.normal(0, 0.62)) * scale),
            shake_px=float(rng.uniform(1.0, 3.0) * scale) if rng.uniform() < 0.2 else 0.0,
            shake_deg=float(rng.uniform(0, 180)),
            noise=float(np.exp(np.clip(rng.normal(0, 0.5), -1.2, 0.9))),
            flare=float(rng.beta(1, 2) * 0.30),
            saturation=float(np.exp(rng.normal(-0.03, 0.16))),
            contrast=float(np.exp(rng.normal(0.04, 0.17))),
            sharpening=float(rng.uniform(0, 2)),
            quality=int(rng.integers(70, 96)),
        )


STUDIO = Camera("studio", psf_px=0.5, shot_noise=0.004, read_noise=0.001, crosstalk=0.0, sharpening=0.2)
"""The camera that took the photograph which is later printed or shown."""


def _shake(length_px: float, angle_deg: float) -> NDArray[np.float32]:
    side = 2 * int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    a, middle = np.deg2rad(angle_deg), (side - 1) / 2
    for t in np.linspace(-length_px / 2, length_px / 2, 4 * side):
        kernel[round(middle + float(np.sin(a) * t)), round(middle + float(np.cos(a) * t))] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def mosaic(rgb: Image) -> Image:
    """What an RGGB sensor sees of an image: red on even rows and columns, blue on odd ones."""
    raw = rgb[..., 1].copy()
    raw[0::2, 0::2] = rgb[0::2, 0::2, 0]
    raw[1::2, 1::2] = rgb[1::2, 1::2, 2]
    return raw


def demosaic(raw: Image) -> Image:
    """Linear RGB from an RGGB mosaic, bilinear; values outside 0..1.6 are clipped."""
    # OpenCV names a pattern after its second row and column, so that RGGB is its "BG".
    counts = np.clip(raw * 40000 + 2000.5, 0, 65535).astype(np.uint16)
    rgb = cv2.cvtColor(counts, cv2.COLOR_BayerBG2RGB)
    return np.asarray((rgb.astype(np.float32) - 2000) * np.float32(1 / 40000))


def jpeg(image: Pixels, quality: int) -> bytes:
    """JPEG bytes of an sRGB image.

    Raises:
        ValueError: the encoder refused the image.
    """
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape} as JPEG")
    return data.tobytes()


@dataclass(frozen=True)
class Framing:
    """Where the source square (a scene, or a photograph of one) falls in the frame.

    ``matrix`` maps source pixels to frame pixels, row by row; ``box`` is the face in the frame. ``edge``, if any,
    is a border that enters the frame: for a print the end of the paper, for a display its bezel, for a bona
    fide a door or a wall in front. It is as frequent for each, so that it tells nothing.
    """

    matrix: tuple[float, ...]
    source_px: int
    frame_px: int
    box: Box
    edge: tuple[float, float, float, float] | None = None
    edge_colour: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @staticmethod
    def draw(
        rng: np.random.Generator, box: Box, source_px: int, frame_px: int, edged: float = 0.12
    ) -> Framing:
        """A framing with the face 95 to 125 px wide in a frame of 256, never showing the end of the source."""
        x, y, w, h = box
        # The first draw that keeps the frame inside the source is taken; each attempt is calmer.
        calm = 1.0
        while True:
            scale = rng.uniform(97, 124) * frame_px / 256 / w
            tilt = np.deg2rad(rng.normal(0, 2.2) * calm)
            where = frame_px * (0.5 + rng.uniform(-0.05, 0.05, 2) * calm)
            keystone = rng.normal(0, 0.028, 2) * calm / frame_px
            squeeze = np.exp(rng.normal(0, 0.02) * calm)
            to_origin = np.array([[1, 0, -x - w / 2], [0, 1, -y - h / 2], [0, 0, 1.0]])
            cos, sin = np.cos(tilt) * scale, np.sin(tilt) * scale
            turn = np.array([[cos * squeeze, -sin, 0], [sin, cos / squeeze, 0], [0, 0, 1.0]])
            lean = np.array([[1, 0, 0], [0, 1, 0], [keystone[0], keystone[1], 1.0]])
            back = np.array([[1, 0, where[0]], [0, 1, where[1]], [0, 0, 1.0]])
            matrix = back @ lean @ turn @ to_origin
            corners = _through(np.linalg.inv(matrix), np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]) * frame_px)
            margin = 0.012 * source_px
            if (corners.min() > margin and corners.max() < source_px - margin) or calm < 0.02:
                break
            calm *= 0.85
        face = _through(matrix, np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]))
        low, high = face.min(axis=0), face.max(axis=0)
        edge = None
        if rng.uniform() < edged:
            inset = rng.uniform(0.015, 0.09, 4) * (rng.uniform(size=4) < 0.45)
            edge = (float(inset[0]), float(inset[1]), float(inset[2]), float(inset[3]))
        colour = np.exp(rng.uniform(-3.5, 0)) * np.exp(rng.normal(0, 0.2, 3))
        return Framing(
            tuple(float(m) for m in matrix.ravel()), source_px, frame_px,
            (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])),
            edge, (float(colour[0]), float(colour[1]), float(colour[2])),
        )  # fmt: skip

    @property
    def scale(self) -> float:
        """Frame pixels per source pixel, at the face."""
        m = self.matrix
        return float(np.sqrt(abs(m[0] * m[4] - m[1] * m[3])))

    def maps(self, bend: float = 0.0, bend_deg: float = 0.0) -> tuple[Image, Image]:
        """Source coordinates of each supersampled frame position; ``bend`` is a curl in shares of the source."""
        side = self.frame_px * SUPERSAMPLING
        nodes = np.arange(0, side + _GRID_STEP, _GRID_STEP, dtype=np.float64)
        grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
        inverse = np.linalg.inv(np.asarray(self.matrix).reshape(3, 3))
        source = _through(inverse, (grid + 0.5) / SUPERSAMPLING)
        if bend:
            a = np.deg2rad(bend_deg)
            axis = np.array([np.cos(a), np.sin(a)])
            t = (source / self.source_px - 0.5) @ axis
            source += (bend * self.source_px * t**2)[:, None] * np.array([-axis[1], axis[0]])
        n = len(nodes)
        coarse = (source - 0.5).astype(np.float32).reshape(n, n, 2)
        # The nodes are pixel positions: an affine warp keeps them there, where a resize would shift by half a step.
        spread = np.array([[_GRID_STEP, 0, 0], [0, _GRID_STEP, 0]], np.float32)
        full = cv2.warpAffine(
            coarse, spread, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.ascontiguousarray(full[..., 0], np.float32), np.ascontiguousarray(full[..., 1], np.float32)

    def border(self, radiance: Image, colour: tuple[float, float, float], rim: float) -> None:
        """Paint the edge, if there is one, in place: ``rim`` is the share of it that belongs to the object."""
        if self.edge is None:
            return
        side = radiance.shape[0]
        outside = np.asarray(self.edge_colour, np.float32)
        for which, inset in enumerate(self.edge):
            for share, paint in ((1.0, np.asarray(colour, np.float32)), (1.0 - rim, outside)):
                depth = round(side * inset * share)
                if not depth:
                    continue
                strip = [radiance[:, :depth], radiance[:, -depth:], radiance[:depth], radiance[-depth:]][
                    which
                ]
                ramp = np.linspace(0.75, 1.1, strip.shape[0], dtype=np.float32)[:, None, None]
                strip[:] = paint * ramp


def _through(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    lifted = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    # einsum without a BLAS call: the same bytes on one thread and on many.
    out = np.einsum("ij,nj->ni", matrix, lifted)
    return np.asarray(out[:, :2] / out[:, 2:])


def bona_fide(radiance: Image, framing: Framing) -> Image:
    """A face in front of the camera: supersampled radiance of the framed scene."""
    mx, my = framing.maps()
    scene = np.asarray(
        cv2.remap(radiance, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32
    )
    framing.border(scene, framing.edge_colour, 0.3)
    return scene


@dataclass(frozen=True)
class Printer:
    """Inks, paper and screening. Colours are linear RGB reflectances of a solid patch."""

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

    def plates(self, photo: Pixels) -> Pixels:
        """Cyan, magenta, yellow and black dot areas 0..255 of an sRGB photograph, grey partly replaced by black."""
        area = np.clip(1 - np.power(_DECODE, self.tone), 0, 1).astype(np.float32)
        cmy = np.asarray(area[photo])
        black = cmy.min(axis=2, keepdims=True)
        black = np.float32(self.black) * black * black
        cmy = 1 - (1 - cmy) / np.maximum(1 - black, 0.02)
        return np.clip(np.concatenate([cmy, black], axis=2) * 255 + 0.5, 0, 255).astype(np.uint8)

    def halftone(self, plates: Pixels, phase_px: tuple[int, int], raster_per_frame_px: float) -> Pixels:
        """Dots of each plate, 0 or 255 blurred by dot gain, on the raster of ``plates``."""
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
    """How a print is held and lit, once."""

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

    @staticmethod
    def draw(rng: np.random.Generator) -> Sheet:
        """A way to hold a print; about one in five is a careful one, hard to tell."""
        careful = rng.uniform() < 0.2
        warmth = float(rng.normal(0, 0.12))
        return Sheet(
            bend=float(rng.normal(0, 0.06)),
            bend_deg=float(rng.uniform(0, 180)),
            shade=float(rng.uniform(0.0, 0.15 if careful else 0.45)),
            shade_deg=float(rng.uniform(0, 360)),
            gloss=0.0 if careful else float(rng.beta(1, 2)),
            gloss_at=(float(rng.uniform()), float(rng.uniform())),
            zoom=float(rng.uniform(0.85, 1.15)) * (0.7 if careful else 1.0),
            phase_px=(int(rng.integers(256)), int(rng.integers(256))),
            fidelity=float(rng.uniform(0.5, 0.8)) if careful else float(rng.uniform(0, 0.45)),
            light=(float(np.exp(-warmth)), 1.0, float(np.exp(warmth))),
        )


def printed(photo: Pixels, printer: Printer, sheet: Sheet, framing: Framing) -> Image:
    """A print held before the camera: supersampled radiance of the framed sheet of an sRGB photograph."""
    raster_px = max(16, round(photo.shape[0] * framing.scale * SUPERSAMPLING))
    plates = printer.plates(photo)
    fidelity = sheet.fidelity
    if printer.scattered:
        fidelity = max(fidelity, 0.35)
    elif sheet.zoom != 1.0:
        # Steps, so that the cache of screens stays small.
        printer = replace(printer, period_px=round(printer.period_px * sheet.zoom * 8) / 8)
    raster = np.asarray(cv2.resize(plates, (raster_px, raster_px), interpolation=cv2.INTER_LINEAR), np.uint8)
    dots = printer.halftone(raster, sheet.phase_px, float(SUPERSAMPLING))
    if fidelity:
        # Fine droplets of a photo printer between the screens: the tone without the dots.
        dots = np.asarray(cv2.addWeighted(dots, 1 - fidelity, raster, fidelity, 0), np.uint8)
    mx, my = framing.maps(sheet.bend, sheet.bend_deg)
    ratio = np.float32(raster_px / photo.shape[0])
    seen = cv2.remap(
        dots,
        (mx + 0.5) * ratio - 0.5,
        (my + 0.5) * ratio - 0.5,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    out = printer.reflectance(np.asarray(seen, np.uint8))
    side = out.shape[0]
    x = np.linspace(-1, 1, side, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, side, dtype=np.float32)[:, None]
    a, b = np.deg2rad(sheet.shade_deg), np.deg2rad(sheet.bend_deg)
    along = x * np.float32(np.cos(b)) + y * np.float32(np.sin(b))
    shade = 1 - sheet.shade * 0.5 * (1 + x * np.float32(np.cos(a)) + y * np.float32(np.sin(a)))
    shade = shade * (1 + 2.2 * sheet.bend * along)
    shade = shade * (
        1 + printer.streaks * np.sin(my * np.float32(0.23 * printer.period_px) + sheet.phase_px[0])
    )
    shine = _spot(x, y, sheet.gloss_at, 0.55) * np.float32(printer.gloss * sheet.gloss)
    out *= np.clip(shade, 0.15, 2)[..., None]
    out += shine[..., None]
    out *= np.asarray(sheet.light, np.float32)
    framing.border(out, printer.paper, 0.5)
    return out


def _spot(x: Image, y: Image, at: tuple[float, float], radius: float) -> Image:
    cx, cy = 2 * at[0] - 1, 2 * at[1] - 1
    return np.asarray(np.exp(-((x - cx) ** 2) / radius**2) * np.exp(-((y - cy) ** 2) / radius**2), np.float32)


@dataclass(frozen=True)
class Display:
    """A screen: tone, colour and the grid of its subpixels. ``pitch_px`` is one display pixel at unit zoom."""

    name: str
    pitch_px: float = 1.9
    grid: float = 0.45
    gamma: float = 2.2
    white: tuple[float, float, float] = (0.94, 1.0, 1.08)
    black: float = 0.02
    gamut: float = 0.06
    gloss: float = 0.15
    flicker: float = 0.04

    def emission(self, photo: Pixels) -> Image:
        """Linear RGB of an sRGB photograph on this screen, without its grid."""
        tone = np.power(np.arange(256, dtype=np.float32) / 255, np.float32(self.gamma))
        tone = np.float32(self.black) + np.float32(1 - self.black) * tone
        light = tone[photo]
        mean = light.mean(axis=2, keepdims=True)
        light = mean + (light - mean) * np.float32(1 - self.gamut)
        return np.asarray(light * np.asarray(self.white, np.float32), np.float32)

    def lattice(self, mx: Image, my: Image, pitch: float, sample: float, strength: float) -> Image:
        """Transmission of the subpixel grid, mean 1, at source positions; shape ``(h, w, 3)``.

        The cell is three stripes on two thirds of its height, as two harmonics of its Fourier series, each
        already averaged over a sample ``sample`` source pixels wide. What is left above the sensor's own
        resolution folds down there: that is the moire.
        """
        turn = np.float32(2 * np.pi / pitch)
        blur = sample / pitch
        weight = np.float32(strength)
        one = np.ones_like(mx)
        cx, sx = cv2.polarToCart(one, mx * turn)
        cy, _ = cv2.polarToCart(one, my * turn)
        rows = one + weight * np.float32(2 * np.sinc(2 / 3) * np.sinc(blur)) * cy
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
    """How a display is held and lit, once."""

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

    @staticmethod
    def draw(rng: np.random.Generator) -> Showing:
        """A way to hold a display; about one in five is a careful one, hard to tell."""
        careful = rng.uniform() < 0.2
        low = 0.25 if careful else 1.0
        pane = None
        if not careful and rng.uniform() < 0.3:
            x, y, w, h = rng.uniform((0, 0, 0.1, 0.1), (0.8, 0.8, 0.4, 0.5))
            pane = (float(x), float(y), float(w), float(h))
        return Showing(
            zoom=float(rng.uniform(0.85, 1.15)),
            grid=float(rng.uniform(0.5, 1.4)) * low,
            turn_deg=float(rng.normal(0, 2.5)),
            flicker=float(rng.beta(1, 2)) * low,
            flicker_phase=float(rng.uniform(0, 2 * np.pi)),
            flicker_cycles=float(rng.uniform(0.8, 6)),
            glare=float(rng.beta(1, 1.6)) * low,
            glare_at=(float(rng.uniform()), float(rng.uniform())),
            glare_size=float(rng.uniform(0.15, 0.8)),
            pane=pane,
            falloff=float(rng.uniform(0, 0.35)),
            falloff_deg=float(rng.uniform(0, 360)),
            veil=float(rng.uniform(0, 0.02)) * low,
        )


def replayed(photo: Pixels, display: Display, showing: Showing, framing: Framing) -> Image:
    """A display held before the camera: supersampled radiance of an sRGB photograph shown on it."""
    light = display.emission(photo)
    mx, my = framing.maps()
    out = np.asarray(cv2.remap(light, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)
    scale = framing.scale
    a = np.deg2rad(showing.turn_deg)
    cos, sin = np.float32(np.cos(a)), np.float32(np.sin(a))
    pitch = display.pitch_px * showing.zoom / scale
    grid = display.lattice(
        mx * cos + my * sin,
        my * cos - mx * sin,
        pitch,
        1 / (SUPERSAMPLING * scale),
        display.grid * showing.grid,
    )
    out *= grid
    side = out.shape[0]
    x = np.linspace(-1, 1, side, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, side, dtype=np.float32)[:, None]
    band = 1 + np.float32(display.flicker * showing.flicker) * np.sin(
        np.float32(np.pi * showing.flicker_cycles) * y + np.float32(showing.flicker_phase)
    )
    b = np.deg2rad(showing.falloff_deg)
    fall = 1 - np.float32(0.5 * showing.falloff) * (1 + x * np.float32(np.cos(b)) + y * np.float32(np.sin(b)))
    out *= (band * fall)[..., None]
    shine = _spot(x, y, showing.glare_at, showing.glare_size) * np.float32(display.gloss * showing.glare)
    if showing.pane is not None:
        u, v, w, h = showing.pane
        pane = np.zeros((side, side), np.float32)
        pane[int(v * side) : int((v + h) * side), int(u * side) : int((u + w) * side)] = (
            0.5 * display.gloss * showing.glare
        )
        shine = shine + cv2.blur(pane, (max(3, side // 40) | 1, max(3, side // 40) | 1))
    out += (shine + np.float32(showing.veil))[..., None]
    framing.border(out, (0.012, 0.012, 0.013), 0.7)
    return out
