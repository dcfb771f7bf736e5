"""Filters by their names: worked by hand, and held against OpenCV's and Pillow's own."""

from typing import get_args

import numpy as np
import pytest
from PIL import Image

from swapbench.data.resizing import resize
from swapbench.records import Resize

OPENCV = {
    "nearest": "INTER_NEAREST",
    "bilinear": "INTER_LINEAR",
    "area": "INTER_AREA",
    "cubic": "INTER_CUBIC",
    "lanczos4": "INTER_LANCZOS4",
}
SIZES = [
    # old width and height, new width and height: down, up, one of each, whole factors, a single pixel
    ((143, 97), (80, 80)),
    ((31, 57), (128, 128)),
    ((143, 40), (80, 80)),
    ((40, 143), (60, 80)),
    ((160, 120), (80, 60)),
    ((240, 180), (80, 60)),
    ((80, 160), (80, 60)),
    ((49, 49), (128, 128)),
    ((5, 7), (1, 1)),
    ((1, 1), (5, 7)),
    ((2, 3), (224, 224)),
]


def noise(width: int, height: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, channels), dtype=np.uint8)


def row(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)[:, :, None]


def resized_row(values: np.ndarray, width: int, name: Resize) -> list[int]:
    return [int(value) for value in resize(values, width, 1, name)[0, :, 0]]


def test_bilinear_by_hand() -> None:
    # two pixels to four: centres at -.25 .25 .75 1.25 -> 0, .25, .75, 1 of the way from 0 to 100
    assert resized_row(row(0, 100), 4, "bilinear") == [0, 25, 75, 100]
    # four to two looks at the two nearest only: centres at .5 and 2.5
    assert resized_row(row(0, 10, 200, 100), 2, "bilinear") == [5, 150]


def test_nearest_takes_the_pixel_at_the_left_edge_of_the_new_one() -> None:
    # five to two: 0 and 2.5
    assert resized_row(row(10, 20, 30, 40, 50), 2, "nearest") == [10, 30]


def test_area_is_the_mean_of_what_the_new_pixel_covers() -> None:
    assert resized_row(row(0, 30, 60, 90, 100, 200), 2, "area") == [30, 130]
    # three to two: (1 * 30 + .5 * 60) / 1.5 and (.5 * 60 + 1 * 90) / 1.5
    assert resized_row(row(30, 60, 90), 2, "area") == [40, 80]


def test_area_enlarges_by_shares_of_the_new_pixel() -> None:
    # two to three, each old pixel 1.5 new ones: the middle one is half of each
    assert resized_row(row(0, 100), 3, "area") == [0, 50, 100]


def test_cubic_overshoots_at_a_step() -> None:
    # centre at 1.75: distances 1.75 .75 .25 1.25, with a = -.75 the weights are
    # -.03515625 .26171875 .87890625 -.10546875; here 100 * (.87890625 - .10546875)
    assert resized_row(row(0, 0, 100, 100), 8, "cubic")[4] == 77
    # centre at 2.25: the last three weigh .87890625 + .26171875 - .03515625
    assert resized_row(row(0, 0, 100, 100), 8, "cubic")[5] == 111


def test_lanczos_keeps_a_flat_picture_flat() -> None:
    flat = np.full((9, 9, 3), 77, np.uint8)
    assert np.unique(resize(flat, 20, 13, "lanczos4")).tolist() == [77]


@pytest.mark.parametrize("name", get_args(Resize))
def test_the_same_size_is_left_as_it_is(name: Resize) -> None:
    pixels = noise(9, 6)
    assert np.array_equal(resize(pixels, 9, 6, name), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", OPENCV)
def test_a_filter_is_opencvs(
    name: Resize, size: tuple[tuple[int, int], tuple[int, int]], channels: int
) -> None:
    cv2 = pytest.importorskip("cv2")
    (width, height), new = size
    pixels = noise(width, height, channels)
    theirs = cv2.resize(pixels, new, interpolation=getattr(cv2, OPENCV[name]))
    ours = resize(pixels, *new, name)
    assert ours.shape == (new[1], new[0], channels)
    difference = np.abs(ours.astype(int) - theirs.reshape(ours.shape).astype(int))
    if name == "cubic":  # OpenCV computes it in two ways, with and without Intel's IPP
        assert difference.max() <= 1
        assert difference.mean() < 0.06
    else:
        assert difference.max() == 0


@pytest.mark.parametrize("name", [name for name in get_args(Resize) if name.startswith("pillow_")])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_filter_is_pillows(name: Resize, channels: int) -> None:
    pixels = noise(50, 40, channels)
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    theirs = np.asarray(picture.resize((23, 61), Image.Resampling[name.removeprefix("pillow_").upper()]))
    assert np.array_equal(resize(pixels, 23, 61, name), theirs.reshape(61, 23, channels))
