"""Crops at the frame's edges: worked by hand, and held against plain OpenCV pipelines of public networks."""

from typing import get_args

import numpy as np
import pytest
from author_pipelines import MINIVISION, PIPELINES
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from swapbench.data.geometry import NoCrop, crop_box, cut, leaves_frame, padded
from swapbench.data.preprocess import cropped
from swapbench.data.samples import Box
from swapbench.data.variants import variants
from swapbench.records import Border, Preprocessing

SQUARE = Preprocessing(width_px=32, height_px=24, crop_scale=2.0)


def frame_of(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def counted(width: int, height: int) -> Image.Image:
    """A grey frame whose pixel at x, y is 10 y + x + 1."""
    return Image.fromarray((10 * np.arange(height)[:, None] + np.arange(width) + 1).astype(np.uint8))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # 10x10 about (10, 10), times 2: 0..20
        ((5, 5, 10, 10), (0, 0, 20, 20)),
        # a square on the longer side, 24: from -2 and 3; -2.5 is truncated towards 0
        ((3.5, 9, 12, 12), (-2, 3, 22, 27)),
        # 11x13 about (7.5, 8.5), times 2: the side is 26, from -5.5 and -4.5
        ((2, 2, 11, 13), (-5, -4, 21, 22)),
    ],
)
@pytest.mark.parametrize("border", ["black", "reflect", "replicate"])
def test_a_crop_that_keeps_its_size_may_leave_the_frame(
    box: Box, expected: tuple[int, int, int, int], border: Border
) -> None:
    assert crop_box(40, 40, box, SQUARE.replace(border=border)) == expected


def test_a_clipped_crop_ends_with_the_frame() -> None:
    clipping = SQUARE.replace(border="clip")
    # 20x20 about (10, 30) in 40x35: x from 0 to 20, y from 20 to 35 for 40
    assert crop_box(40, 35, (5, 25, 10, 10), clipping) == (0, 20, 20, 35)
    # twice 30 about (10, 20): from -20 to 40, and from -10 to 50
    assert crop_box(50, 40, (-5, 5, 30, 30), clipping) == (0, 0, 40, 40)
    # the box as it is
    assert crop_box(50, 40, (3, 5, 7, 9), clipping.replace(crop_scale=1, keep_box_aspect=True)) == (
        3,
        5,
        10,
        14,
    )


def test_a_crop_larger_than_the_frame_shrinks_before_it_is_cut_off() -> None:
    # 30 times 39/30 is 39: about (10, 20) from -9.5 to 29.5 and from .5 to 39.5, both ends inclusive
    assert crop_box(50, 40, (-5, 5, 30, 30), SQUARE.replace(border="shrink")) == (0, 0, 30, 40)


def test_the_borders_by_hand() -> None:
    frame = counted(3, 1)  # 1 2 3
    crop = (-4, 0, 6, 1)
    assert cut(frame, crop, "black")[0, :, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 0, 0, 0]
    assert cut(frame, crop, "replicate")[0, :, 0].tolist() == [1, 1, 1, 1, 1, 2, 3, 3, 3, 3]
    assert cut(frame, crop, "reflect")[0, :, 0].tolist() == [1, 2, 3, 2, 1, 2, 3, 2, 1, 2]


def test_what_is_reflected_is_the_crop_and_not_the_frame() -> None:
    # two pixels of the crop are inside: 1 2, and the frame's 3 is not seen
    assert cut(counted(9, 1), (-3, 0, 2, 1), "reflect")[0, :, 0].tolist() == [2, 1, 2, 1, 2]


@given(margins=st.tuples(*[st.integers(0, 30)] * 4), size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
@pytest.mark.parametrize(
    ("border", "name"),
    [("black", "BORDER_CONSTANT"), ("reflect", "BORDER_REFLECT_101"), ("replicate", "BORDER_REPLICATE")],
)
def test_a_border_is_opencvs_also_where_it_is_larger_than_the_picture(
    margins: tuple[int, int, int, int], size: tuple[int, int], border: Border, name: str
) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = np.asarray(frame_of(*size))
    left, top, right, bottom = margins
    theirs = cv2.copyMakeBorder(pixels, top, bottom, left, right, getattr(cv2, name))
    assert np.array_equal(padded(pixels, margins, border), theirs)


def test_a_letterbox_is_centred_and_its_bars_are_of_the_border() -> None:
    frame = Image.new("L", (4, 2), 200)
    card = Preprocessing(
        width_px=8, height_px=7, crop_scale=1, fit="letterbox", channel_order="gray", resize="nearest"
    )
    # 4x2 times min(8/4, 7/2): 8x4, one bar of one row above and one of two below
    rows = cropped(frame.convert("RGB"), None, card)[:, :, 0]
    assert [sorted(set(row)) for row in rows.tolist()] == [[0]] + [[200]] * 4 + [[0]] * 2
    assert np.unique(cropped(frame.convert("RGB"), None, card.replace(border="replicate"))).tolist() == [200]


def test_the_filter_of_enlarging_is_used_where_the_crop_is_smaller_than_the_input() -> None:
    card = Preprocessing(width_px=8, height_px=8, crop_scale=1, resize="nearest", enlarge="bilinear")
    small, large = frame_of(6, 6), frame_of(12, 12)
    assert np.array_equal(cropped(small, None, card), cropped(small, None, card.replace(resize="bilinear")))
    assert np.array_equal(cropped(large, None, card), cropped(large, None, card.replace(enlarge=None)))
    assert not np.array_equal(cropped(large, None, card), cropped(large, None, card.replace(resize="area")))


def test_gray_is_the_luma_of_the_colours() -> None:
    frame = Image.new("RGB", (5, 5), (200, 100, 50))
    gray = cropped(frame, None, Preprocessing(width_px=3, height_px=2, crop_scale=1, channel_order="gray"))
    # .299 * 200 + .587 * 100 + .114 * 50 = 124.2
    assert gray.shape == (2, 3, 1)
    assert np.unique(gray).tolist() == [124]


def test_a_crop_outside_the_frame_and_one_too_large_have_a_reason() -> None:
    with pytest.raises(NoCrop, match="lies outside the frame"):
        crop_box(40, 40, (60, 60, 5, 5), SQUARE.replace(border="black"))
    with pytest.raises(NoCrop, match=r"40000x40000 px is larger than 100 megapixels"):
        crop_box(2000, 2000, (0, 0, 2000, 2000), SQUARE.replace(border="reflect", crop_scale=20))


def test_a_crop_leaves_the_frame_at_its_full_size_whatever_the_border_does() -> None:
    for border in get_args(Border):
        card = SQUARE.replace(border=border)
        assert not leaves_frame(40, 40, (5, 5, 10, 10), card)  # 0..20
        assert leaves_frame(40, 40, (4, 5, 10, 10), card)  # -1..19
        assert leaves_frame(40, 40, (26, 25, 10, 10), card)  # 21..41
        assert not leaves_frame(40, 40, None, card)


# ------------------------------------------------------------------------------------ public pipelines


@pytest.mark.parametrize("name", PIPELINES)
def test_the_pixels_are_those_of_the_authors(name: str) -> None:
    """200 boxes of all sizes whose centre is in the frame: many of the crops leave it, some on all sides."""
    cv2 = pytest.importorskip("cv2")
    card, author = PIPELINES[name]
    random, outside = np.random.default_rng(5), 0
    for seed in range(200):
        width, height = (int(side) for side in random.integers(30, 400, 2))
        box_width, box_height = (int(side) for side in random.integers(8, 300, 2))
        x, y = (int(random.integers(0, side)) for side in (width, height))
        box = [x - box_width // 2, y - box_height // 2, box_width, box_height]
        given = float(box[0]), float(box[1]), float(box_width), float(box_height)
        frame = frame_of(width, height, seed)
        outside += leaves_frame(width, height, given, card)
        theirs = author(cv2, np.asarray(frame), box)
        assert np.array_equal(cropped(frame, given, card), theirs), (width, height, box)
    assert 100 < outside < 200


# ------------------------------------------------------------------------------------------- variants


def test_the_variants_of_a_card_change_one_respect_each() -> None:
    found = variants(MINIVISION)
    assert list(found) == [
        'border = "shrink"',
        'border = "clip"',
        'border = "black"',
        'border = "reflect"',
        'border = "replicate"',
        "keep_box_aspect = false",
        "crop_scale = 1.0",
        "crop_scale = 1.5",
        "crop_scale = 4.0",
        'fit = "letterbox"',
        'resize = "antialias"',
        'resize = "area", enlarge = "lanczos4"',
    ]
    assert found['border = "black"'] == MINIVISION.replace(border="black")
    assert found["crop_scale = 4.0"] == MINIVISION.replace(crop_scale=4.0)


def test_a_whole_frame_has_no_variants_of_its_crop() -> None:
    whole = SQUARE.replace(face_box="frame", width_px=60, height_px=80)
    assert list(variants(whole)) == [
        'fit = "letterbox"',
        'resize = "bilinear"',
        'resize = "area", enlarge = "lanczos4"',
    ]
