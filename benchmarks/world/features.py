"""What a classical detector sees of a frame: spectra and colours of the face, and numbers of the whole frame.

A simulated world whose attacks such numbers give away has a shortcut, and says nothing of networks. The face
is taken at the sensor's own resolution, so that nothing is lost that a network could still see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swapbench.data.images import load_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.data.samples import Sample

    Floats = NDArray[np.float64]

WINDOW_PX = 144
"""Side of the square around the face: 1.3 face heights at the usual framing, a whole number of DCT blocks."""

_RINGS, _SECTORS, _BLOCK_PX, _BINS = 24, 8, 8, 16
_YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])


def of_frame(sample: Sample) -> dict[str, Floats]:
    """Numbers of a whole frame, by name: `file size` [1], `mean colour` [3] and `energy` [1].

    Energies and sizes are logarithms. The energy is that of the grey frame without its mean.
    """
    pixels = np.asarray(load_frame(sample.path), np.float64)
    grey = pixels @ _YCC[0]
    return {
        "file size": np.log([sample.path.stat().st_size]),
        "mean colour": pixels.mean(axis=(0, 1)),
        "energy": np.log([grey.var() + 0.1]),
    }


def of_face(sample: Sample) -> Floats:
    """Spectral and colour features of the face in a frame [892].

    Log energies of the spectrum in rings and sectors, of brightness and both colour differences; log energies
    of the DCT of blocks of 8 x 8, and how much they vary over the face; histograms and moments of colours.
    """
    window = _around_face(sample)
    ycc = window @ _YCC.T
    red, green, blue = np.moveaxis(window, 2, 0) + 1.0
    grey = red + green + blue
    ratios = [255 * red / grey, 255 * blue / grey, np.ptp(window, axis=2)]
    planes = [*np.moveaxis(window, 2, 0), *ratios]
    parts = [_spectrum(ycc[..., channel]) for channel in range(3)]
    parts += [_blocks(ycc[..., channel]) for channel in range(3)]
    parts += [_histogram(plane) for plane in planes]
    parts += [np.array([plane.mean(), plane.std(), _skewness(plane)]) for plane in planes]
    return np.concatenate(parts)


def _around_face(sample: Sample) -> Floats:
    """The window [144, 144, 3] about the middle of the face, moved inside the frame."""
    pixels = np.asarray(load_frame(sample.path), np.float64)
    assert sample.box is not None
    x, y, width, height = sample.box
    corner = []
    for middle, side in ((y + height / 2, pixels.shape[0]), (x + width / 2, pixels.shape[1])):
        corner.append(round(min(max(middle - WINDOW_PX / 2, 0), side - WINDOW_PX)))
    return pixels[corner[0] : corner[0] + WINDOW_PX, corner[1] : corner[1] + WINDOW_PX]


def _spectrum(plane: Floats) -> Floats:
    """Log energy of the windowed spectrum by ring and sector [192]."""
    taper = np.hanning(WINDOW_PX)
    power = np.abs(np.fft.fft2((plane - plane.mean()) * taper * taper[:, None])) ** 2
    v, u = np.meshgrid(np.fft.fftfreq(WINDOW_PX), np.fft.fftfreq(WINDOW_PX), indexing="ij")
    ring = np.minimum(np.hypot(u, v) / 0.5 * _RINGS, _RINGS - 1).astype(int)
    sector = ((np.arctan2(v, u) % np.pi) / np.pi * _SECTORS).astype(int) % _SECTORS
    place = (ring * _SECTORS + sector).ravel()
    size = _RINGS * _SECTORS
    total = np.bincount(place, power.ravel(), size) / np.maximum(np.bincount(place, minlength=size), 1)
    return np.log(total + 1e-3)


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
    return float((((plane - plane.mean()) / (plane.std() + 1e-6)) ** 3).mean())


def table(samples: Sequence[Sample]) -> dict[str, Floats]:
    """All features of these frames: name -> [samples, numbers]."""
    whole = [of_frame(sample) for sample in samples]
    columns = {name: np.array([row[name] for row in whole]) for name in whole[0]}
    return columns | {"spectra and colours": np.array([of_face(sample) for sample in samples])}
