"""Images for files whose outputs are compared without any data: seeded patterns, no faces and no noise alone.

Each is a sum of random fields, from coarse to fine, so that it has edges, gradients and texture as a photo
has. What two files make of them shows whether they compute alike, and nothing about how well they decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from swapbench.bench.card_fit import outputs_option
from swapbench.bench.workers import normalise_json
from swapbench.modelfile import layout_of
from swapbench.records import Absent, Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swapbench.bench.model_under_test import ModelUnderTest

    Images = NDArray[np.uint8]

COUNT: Final = 64
_GRIDS: Final = (2, 4, 8, 16, 32)


def image_size(model: ModelUnderTest) -> tuple[int, int, int] | Absent:
    """Height, width and channels of the one image that a file takes; absent where it takes something else."""
    inputs, layout = model.graph.inputs, layout_of(model.graph.inputs)
    if layout is None:
        return Absent(absent=f"the input of {model.title} is no image whose layout is known")
    _, *lengths = inputs[0].shape
    channels, height, width = lengths if layout == "nchw" else (lengths[2], *lengths[:2])
    return height, width, channels


def built_in_images(height: int, width: int, channels: int, seed: int = 0) -> Images:
    """The images, `[COUNT, height, width, channels]`; the same for the same size and seed."""
    draw = np.random.default_rng([seed, height, width, channels])
    fields = np.zeros((COUNT, height, width, channels))
    for place, grid in enumerate(_GRIDS):
        points = draw.random((COUNT, grid, grid, channels))
        fields += _enlarged(points, height, width) / 2**place
    low, high = (limit(fields, axis=(1, 2, 3), keepdims=True) for limit in (np.min, np.max))
    images: Images = np.rint(255 * (fields - low) / (high - low)).astype(np.uint8)
    return images


def _enlarged(points: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Grids of numbers, enlarged to images by linear interpolation along both sides."""
    for axis, length in ((1, height), (2, width)):
        where = np.linspace(0, points.shape[axis] - 1, length)
        low = np.minimum(where.astype(np.intp), points.shape[axis] - 2)
        part = (where - low).reshape([-1 if place == axis else 1 for place in range(4)])
        points = np.take(points, low, axis) * (1 - part) + np.take(points, low + 1, axis) * part
    return points


def scoring_options(model: ModelUnderTest, size: tuple[int, int, int], samples: str) -> dict[str, str]:
    """What a worker must be told to score such images: as the card says, else pixels from 0 to 1."""
    height, width, channels = size
    card = model.scoring_card
    if card is not None:
        return {
            "samples": samples,
            "normalise": normalise_json(card.preprocessing),
            **outputs_option(card, model.graph),
        }
    plain = Preprocessing(
        width_px=width,
        height_px=height,
        crop_scale=1.0,
        channel_order="gray" if channels == 1 else "rgb",
    )
    return {"samples": samples, "normalise": normalise_json(plain)}
