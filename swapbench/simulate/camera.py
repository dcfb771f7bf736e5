"""One camera for all captures: optics, an RGGB sensor with noise, and the processing up to JPEG bytes.

Knows nothing of what stands before the lens. Lengths are in pixels of the captured frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from swapbench.simulate.face_canvas import Image, linear

Pixels = NDArray[np.uint8]

SUPERSAMPLING = 3
"""Side of the grid of radiance samples that one sensor pixel integrates."""


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


# NumPy reduces an axis of three an element at a time: whole channels give the same bits many times as fast.


def mean_of_channels(rgb: Image) -> Image:
    """Mean of red, green and blue, shape `(h, w, 1)`."""
    return ((rgb[..., 0] + rgb[..., 1] + rgb[..., 2]) / np.float32(3))[..., None]


def _means(rgb: Image) -> NDArray[np.float64]:
    """Mean of each channel."""
    return np.array([rgb[..., channel].mean(dtype=np.float64) for channel in range(3)])


@dataclass(frozen=True)
class Shot:
    """What one press of the shutter adds to a camera; drawn alike for bona fide and attacks.

    Attributes:
        exposure: linear level to which the metered light is brought.
        white_balance: gains of red, green and blue.
        adaptation: how far the mean colour is brought to grey, 0..1.
        focus_px: standard deviation of the blur by defocus.
        shake_px: length of the blur by motion.
        shake_deg: its direction.
        noise: factor of the camera's noise.
        flare: share of stray light.
        saturation: factor of the camera's.
        contrast: factor of the camera's.
        sharpening: factor of the camera's.
        quality: of the JPEG file.
    """

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


@dataclass(frozen=True)
class Shots:
    """How the shots of a camera scatter; bona fide and attacks draw from the same.

    Attributes:
        exposure: middle of the linear level, and the deviation of its logarithm.
        tint: logarithms of the gains of red and blue about which the white balance scatters.
        tint_sigma: how far it scatters.
        adaptation: range of it.
        focus_px: deviation of the blur by defocus.
        shaken: share of shots with a blur by motion.
        noise_sigma: deviation of the logarithm of the noise.
        flare: largest share of stray light.
        saturation_sigma: deviation of its logarithm.
        contrast_sigma: the same.
        quality: range of the JPEG files', without its upper end.
    """

    exposure: tuple[float, float] = (0.18, 0.26)
    tint: tuple[float, float] = (0.0, 0.0)
    tint_sigma: float = 0.085
    adaptation: tuple[float, float] = (0.5, 0.95)
    focus_px: float = 0.62
    shaken: float = 0.2
    noise_sigma: float = 0.5
    flare: float = 0.30
    saturation_sigma: float = 0.16
    contrast_sigma: float = 0.17
    quality: tuple[int, int] = (70, 96)

    def draw(self, rng: np.random.Generator, frame_px: int = 256) -> Shot:
        """A shot; blurs scale with the frame so that small frames show the same picture."""
        scale = frame_px / 256
        red, blue = np.exp(rng.normal(self.tint, self.tint_sigma))
        level, sigma = self.exposure
        return Shot(
            exposure=float(level * np.exp(rng.normal(0, sigma))),
            white_balance=(float(red), 1.0, float(blue)),
            adaptation=float(rng.uniform(*self.adaptation)),
            focus_px=float(abs(rng.normal(0, self.focus_px)) * scale),
            shake_px=float(rng.uniform(1.0, 3.0) * scale) if rng.uniform() < self.shaken else 0.0,
            shake_deg=float(rng.uniform(0, 180)),
            noise=float(np.exp(np.clip(rng.normal(0, self.noise_sigma), -1.2, 0.9))),
            flare=float(rng.beta(1, 2) * self.flare),
            saturation=float(np.exp(rng.normal(-0.03, self.saturation_sigma))),
            contrast=float(np.exp(rng.normal(0.04, self.contrast_sigma))),
            sharpening=float(rng.uniform(0, 2)),
            quality=int(rng.integers(*self.quality)),
        )


ORDINARY = Shots()


@dataclass(frozen=True)
class Camera:
    """A lens, a sensor and the processing behind it.

    Attributes:
        name: of the camera.
        psf_px: standard deviation of the optical blur.
        shot_noise: standard deviation at full scale, in shares of it; grows with the root of the signal.
        read_noise: standard deviation without light, in shares of full scale.
        crosstalk: share of the saturation that the colour filters lose.
        saturation: factor of the processing.
        contrast: exponent of the processing.
        sharpening: amount of the unsharp mask.
        curve: strength of an S-shaped tone curve; negative flattens.
        denoising: share of a median of 3 x 3 in the picture.
        resolution: side of the picture before it is enlarged to the frame, as a share of it.
        level: light that is brought to the exposure, where the camera has its own lamp; None: it is metered.
        shots: how its shots scatter.
    """

    name: str
    psf_px: float = 0.45
    shot_noise: float = 0.012
    read_noise: float = 0.004
    crosstalk: float = 0.06
    saturation: float = 1.1
    contrast: float = 1.0
    sharpening: float = 0.3
    curve: float = 0.0
    denoising: float = 0.0
    resolution: float = 1.0
    level: float | None = None
    shots: Shots = ORDINARY

    def photograph(
        self, radiance: Image, shot: Shot, rng: np.random.Generator, supersampling: int = SUPERSAMPLING
    ) -> bytes:
        """JPEG bytes of a radiance `(n*s, n*s, 3)` in linear RGB, on a sensor of `n` x `n` pixels.

        Raises:
            ValueError: the radiance is not RGB with sides that are even multiples of `supersampling`.
        """
        return jpeg(self.develop(radiance, shot, rng, supersampling), shot.quality)

    def develop(
        self, radiance: Image, shot: Shot, rng: np.random.Generator, supersampling: int = SUPERSAMPLING
    ) -> Pixels:
        """The photograph before compression, sRGB bytes `(n, n, 3)`."""
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
        means = _means(light)
        middle = _means(light[rows // 4 : rows - rows // 4, columns // 3 : columns - columns // 3])
        metered = 0.4 * means + 0.6 * middle
        level = 0.25 * float(metered[0]) + 0.6 * float(metered[1]) + 0.15 * float(metered[2]) + 1e-4
        if self.level is not None:
            level = self.level
        grey = float(means.mean())
        gains = (grey / (means + 0.02 * grey + 1e-4)) ** shot.adaptation * np.asarray(shot.white_balance)
        sensor = light * (gains * (shot.exposure / level)).astype(np.float32)
        sensor = sensor * np.float32(1 - shot.flare) + np.float32(shot.flare * shot.exposure)
        noisy = self._noise(mosaic(sensor), shot, rng)
        rgb = demosaic(noisy)
        mean = mean_of_channels(rgb)
        vivid = self.saturation * shot.saturation
        rgb = mean + (rgb - mean) * np.float32(vivid * (1 - self.crosstalk))
        if self.contrast != 1.0 or shot.contrast != 1.0:
            power = self.contrast * shot.contrast
            pivot = np.float32(shot.exposure ** (1 - power))
            rgb = cv2.pow(np.maximum(rgb, 0), power) * pivot
        rgb = rgb / (1 + np.maximum(rgb - 0.75, 0))
        image = self._processed(encode(np.asarray(rgb, np.float32)))
        amount = self.sharpening * shot.sharpening
        if amount > 0.02:
            soft = cv2.GaussianBlur(image, (0, 0), 1.0)
            image = np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), np.uint8)
        return image

    def _processed(self, image: Pixels) -> Pixels:
        """Less noise, the camera's own resolution, and its tone curve."""
        if self.denoising:
            median = cv2.medianBlur(image, 3)
            image = np.asarray(
                cv2.addWeighted(image, 1 - self.denoising, median, self.denoising, 0), np.uint8
            )
        if self.resolution < 1:
            rows, columns = image.shape[:2]
            small = (round(columns * self.resolution), round(rows * self.resolution))
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            image = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_CUBIC), np.uint8)
        if self.curve:
            x = np.arange(256) / 255
            bent = np.clip(x - self.curve * np.sin(2 * np.pi * x) / (2 * np.pi), 0, 1)
            image = np.asarray(cv2.LUT(image, np.floor(bent * 255 + 0.5).astype(np.uint8)), np.uint8)
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
