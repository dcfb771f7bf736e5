"""What a classical detector sees of a frame: spectra and colours of the face, and numbers of the whole frame.

A simulated world whose attacks such numbers give away has a shortcut, and says nothing of networks. The face
is taken at the sensor's own resolution, so that nothing is lost that a network could still see.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from swapbench.data.images import load_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.data.samples import Box, Sample

    Floats = NDArray[np.float64]

WINDOW_PX = 144
"""Side of the square around the face: 1.3 face heights at the usual framing, a whole number of DCT blocks."""

_RINGS, _SECTORS, _BLOCK_PX, _BINS = 24, 8, 8, 16
_YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])


def of_frame(pixels: Floats, file_bytes: int) -> dict[str, Floats]:
    """Numbers of a whole frame, by name: `file size` [1], `mean colour` [3] and `energy` [1].

    Energies and sizes are logarithms. The energy is that of the grey frame without its mean.
    """
    grey = pixels @ _YCC[0]
    return {
        "file size": np.log([file_bytes]),
        "mean colour": np.array([channel.mean() for channel in _channels(pixels)]),
        "energy": np.log([grey.var() + 0.1]),
    }


def of_face(pixels: Floats, box: Box) -> Floats:
    """Spectral and colour features of the face in a frame [903].

    Log energies of the spectrum in rings and sectors, of brightness and both colour differences; log energies
    of the DCT of blocks of 8 x 8, and how much they vary over the face; histograms and moments of colours.
    """
    window = _around(pixels, box)
    ycc = _channels(window @ _YCC.T)
    red, green, blue = _channels(window)
    total = red + green + blue + 3
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    planes = [red, green, blue, 255 * (red + 1) / total, 255 * (blue + 1) / total, spread]
    parts = [_spectrum(plane) for plane in ycc]
    parts += [_blocks(plane) for plane in ycc]
    parts += [_histogram(plane) for plane in planes]
    parts += [np.array([plane.mean(), plane.std(), _skewness(plane)]) for plane in planes]
    return np.concatenate(parts)


def _channels(pixels: Floats) -> Floats:
    """The channels one after the other: NumPy reduces those many times as fast."""
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _around(pixels: Floats, box: Box) -> Floats:
    """The window [144, 144, 3] about the middle of the face, moved inside the frame."""
    x, y, width, height = box
    corner = []
    for middle, side in ((y + height / 2, pixels.shape[0]), (x + width / 2, pixels.shape[1])):
        corner.append(round(min(max(middle - WINDOW_PX / 2, 0), side - WINDOW_PX)))
    return pixels[corner[0] : corner[0] + WINDOW_PX, corner[1] : corner[1] + WINDOW_PX]


def _spectrum(plane: Floats) -> Floats:
    """Log energy of the windowed spectrum by ring and sector [192]."""
    taper = np.hanning(WINDOW_PX)
    wave = np.fft.rfft2((plane - plane.mean()) * taper * taper[:, None])
    power = wave.real * wave.real + wave.imag * wave.imag
    place, counts = _places()
    total = np.bincount(place, power.ravel(), counts.size) / np.maximum(counts, 1)
    return np.log(total + 1e-3)


@lru_cache(maxsize=1)
def _places() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Ring and sector of every frequency of a real spectrum as one number, and how many there are of each."""
    v, u = np.meshgrid(np.fft.fftfreq(WINDOW_PX), np.fft.rfftfreq(WINDOW_PX), indexing="ij")
    ring = np.minimum(np.hypot(u, v) / 0.5 * _RINGS, _RINGS - 1).astype(int)
    sector = ((np.arctan2(v, u) % np.pi) / np.pi * _SECTORS).astype(int) % _SECTORS
    place = (ring * _SECTORS + sector).ravel()
    return place, np.bincount(place, minlength=_RINGS * _SECTORS)


def _dct() -> Floats:
    k, n = np.arange(_BLOCK_PX)[:, None], np.arange(_BLOCK_PX)[None, :]
    basis = np.cos(np.pi * (n + 0.5) * k / _BLOCK_PX) * np.sqrt(2 / _BLOCK_PX)
    basis[0] /= np.sqrt(2)
    return basis


def _blocks(plane: Floats) -> Floats:
    """Of the DCT's coefficients but the first: log energies [63], and spreads of their logarithms [8]."""
    count = WINDOW_PX // _BLOCK_PX
    blocks = plane.reshape(count, _BLOCK_PX, count, _BLOCK_PX).transpose(0, 2, 1, 3)
    basis = _dct()
    coefficients = (basis @ blocks @ basis.T).reshape(count * count, -1)[:, 1:]
    energy = np.log(coefficients**2 + 0.1)
    # spreads of neighbouring coefficients tell nearly the same: eight averages are enough
    spread = energy.std(axis=0)[:56].reshape(8, 7).mean(axis=1)
    return np.concatenate([np.log((coefficients**2).mean(axis=0) + 0.1), spread])


def _histogram(plane: Floats) -> Floats:
    """Square roots of the shares of levels [16]: differences of shares count alike whatever their size."""
    counts = np.bincount(np.clip(plane / 256 * _BINS, 0, _BINS - 1).astype(int).ravel(), minlength=_BINS)
    return np.sqrt(counts / plane.size)


def _skewness(plane: Floats) -> float:
    centred = (plane - plane.mean()) / (plane.std() + 1e-6)
    return float((centred * centred * centred).mean())


def table(samples: Sequence[Sample]) -> dict[str, Floats]:
    """All features of these frames: name -> [samples, numbers]."""
    rows = []
    for sample in samples:
        assert sample.box is not None
        pixels = np.asarray(load_frame(sample.path), np.float64)
        whole = of_frame(pixels, sample.path.stat().st_size)
        rows.append(whole | {"spectra and colours": of_face(pixels, sample.box)})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
