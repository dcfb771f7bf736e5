"""Frames of HDF5 files that hold an array a frame: groups `Frame_N` with a data set `array`, as of bob.

An array of three planes is a photograph, red first; of one with more, the plane that the sample names. Needs
h5py, which is imported when the first file is opened.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from swapbench.errors import MissingPackage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from swapbench.data.samples import Sample

_NAME = re.compile(r"Frame_(\d+)")


def version() -> str:
    """That of h5py, which decodes."""
    return str(_h5py().__version__)


def read(
    samples: Sequence[Sample], number_in: Callable[[Sample, int], int]
) -> Iterator[tuple[int, tuple[int, Image.Image] | str]]:
    """The frames that samples of one file ask for.

    Args:
        samples: all of one file
        number_in: which frame of so many a sample means

    Yields:
        Index in `samples`, and number and RGB image of the frame, or the reason why there is none.

    Raises:
        MissingPackage: h5py is not installed
    """
    h5py = _h5py()
    try:
        with h5py.File(samples[0].path, "r") as file:
            names = sorted((name for name in file if _NAME.fullmatch(name)), key=_number)
            for index, sample in enumerate(samples):
                number = number_in(sample, len(names))
                if number >= len(names):
                    yield index, f"there is no frame {number}: the file has {len(names)} frames"
                else:
                    found = _image(np.asarray(file[names[number]]["array"]), sample.plane)
                    yield index, found if isinstance(found, str) else (number, found)
    except (OSError, KeyError) as error:
        for index in range(len(samples)):
            yield index, f"not an HDF5 file of frames: {error}"


def _number(name: str) -> int:
    match = _NAME.fullmatch(name)
    assert match is not None
    return int(match[1])


def _image(array: np.ndarray[Any, Any], plane: int) -> Image.Image | str:
    if array.ndim != 3 or array.dtype != np.uint8 or array.shape[0] < 3:
        return f"an array of the shape {array.shape} and the type {array.dtype} is no image"
    if array.shape[0] == 3:
        return Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))
    if plane >= array.shape[0]:
        return f"an array of {array.shape[0]} planes has no plane {plane}"
    return Image.fromarray(np.ascontiguousarray(array[plane])).convert("RGB")


@functools.cache
def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingPackage("h5py", "reading HDF5 files", "datasets") from None
    return h5py
