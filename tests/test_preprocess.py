import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from swapbench.errors import BadDataset, EnvironmentFailed
from swapbench.pad.dataset import Sample
from swapbench.pad.preprocess import crop_box, four_neighbours, load_crop, normalise, prepare
from swapbench.records import Preprocessing

MINIVISION = Preprocessing(
    width_px=80,
    height_px=80,
    crop_scale=2.7,
    keep_box_aspect=True,
    resize="bilinear",
    channel_order="bgr",
    scale=1.0,
)
SQUARE = Preprocessing(width_px=32, height_px=24, crop_scale=2.0)


def sample(path: Path, box: tuple[float, float, float, float] | None = None) -> Sample:
    return Sample(path.name, path, 0, "s", "bona_fide", "", "A", "", "", "dev", "", box)


def picture(path: Path, width: int = 60, height: int = 48, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=95)
    return path


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # 100x120 about (250, 310), times 2.7: 270x324 -> 115..385, 148..472, both ends inside
        ((200, 250, 100, 120), (115, 148, 386, 473)),
        # the same at the left edge: x would begin at -35, so it is shifted to 0..270
        ((50, 250, 100, 120), (0, 148, 271, 473)),
        # at the lower right corner of a 480x640 frame: shifted to end on the last pixel
        ((400, 560, 70, 80), (290, 423, 480, 640)),
        # too wide for the frame: the scale becomes (480-1)/300, the height follows
        ((90, 100, 300, 310), (0, 7, 480, 503)),
    ],
)
def test_the_crop_follows_the_published_rule(
    box: tuple[float, float, float, float], expected: tuple[int, int, int, int]
) -> None:
    assert crop_box(480, 640, box, MINIVISION) == expected


def test_a_square_crop_stands_on_the_longer_side_of_the_box() -> None:
    # 40x60 about (100, 100), times 2: 120x120 -> 40..160, the end inclusive
    assert crop_box(300, 300, (80, 70, 40, 60), SQUARE) == (40, 40, 161, 161)


def test_without_a_box_the_whole_frame_is_used() -> None:
    assert crop_box(64, 48, None, SQUARE) == (0, 0, 64, 48)


@given(
    frame=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    box=st.tuples(st.floats(-500, 2500), st.floats(-500, 2500), st.floats(0.5, 3000), st.floats(0.5, 3000)),
    scale=st.floats(0.5, 5),
    aspect=st.booleans(),
)
def test_a_crop_is_never_empty_and_never_leaves_the_frame(
    frame: tuple[int, int], box: tuple[float, float, float, float], scale: float, aspect: bool
) -> None:
    preprocessing = SQUARE.model_copy(update={"crop_scale": scale, "keep_box_aspect": aspect})
    x0, y0, x1, y1 = crop_box(*frame, box, preprocessing)
    assert 0 <= x0 < x1 <= frame[0]
    assert 0 <= y0 < y1 <= frame[1]


def test_bilinear_between_four_neighbours_by_hand() -> None:
    # two pixels to four: centres at -.25 .25 .75 1.25 -> 0, .25, .75, 1 of the way from 0 to 100
    row = np.array([[[0], [100]]], dtype=np.uint8)
    assert four_neighbours(row, 4, 1)[0, :, 0].tolist() == [0, 25, 75, 100]
    # four to two looks at the two nearest only: centres at .5 and 2.5
    row = np.array([[[0], [10], [200], [100]]], dtype=np.uint8)
    assert four_neighbours(row, 2, 1)[0, :, 0].tolist() == [5, 150]


@pytest.mark.parametrize("size", [(80, 80), (31, 57), (200, 150), (1, 1)])
def test_bilinear_is_opencvs_within_one_grey_level(size: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(3).integers(0, 256, (97, 143, 3), dtype=np.uint8)
    theirs = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    difference = np.abs(four_neighbours(pixels, *size).astype(int) - theirs.astype(int))
    assert difference.max() <= 1


def test_antialias_averages_where_four_neighbours_would_alias(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    plain = Preprocessing(width_px=9, height_px=9, crop_scale=1.0)
    smooth = load_crop(tmp_path / "stripes.png", None, plain).astype(int)
    sharp = load_crop(tmp_path / "stripes.png", None, plain.model_copy(update={"resize": "bilinear"})).astype(
        int
    )
    assert abs(smooth - 127).max() < 12
    assert sharp.max() - sharp.min() > 100


def test_the_channel_order_of_the_card_is_what_comes_out(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "plain.png")
    rgb = load_crop(tmp_path / "plain.png", None, SQUARE)
    assert rgb.shape == (24, 32, 3)
    assert rgb.dtype == np.uint8
    assert rgb[0, 0].tolist() == [200, 100, 50]
    bgr = load_crop(tmp_path / "plain.png", None, SQUARE.model_copy(update={"channel_order": "bgr"}))
    assert bgr[0, 0].tolist() == [50, 100, 200]
    assert bgr.flags.c_contiguous


def test_the_exif_orientation_is_applied_before_the_box(tmp_path: Path) -> None:
    lying = Image.new("RGB", (40, 20), (255, 255, 255))
    lying.paste((255, 0, 0), (0, 0, 10, 20))  # the left strip of the stored image ...
    exif = Image.Exif()
    exif[0x0112] = 6  # ... is the upper one after turning by a quarter clockwise
    lying.save(tmp_path / "turned.png", exif=exif)
    same = Preprocessing(width_px=20, height_px=40, crop_scale=1.0)
    upright = load_crop(tmp_path / "turned.png", None, same)
    assert upright[0, :, 1].tolist() == [0] * 20
    assert upright[39, :, 1].tolist() == [255] * 20


def test_a_decoded_jpeg_is_opencvs_within_two_grey_levels(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = picture(tmp_path / "a.jpg")
    same = Preprocessing(width_px=60, height_px=48, crop_scale=1.0, channel_order="bgr")
    theirs = cv2.imread(str(path)).astype(int)
    assert abs(load_crop(path, None, same).astype(int) - theirs).max() <= 2


def test_normalising_is_pixel_times_scale_minus_mean_over_std() -> None:
    pixels = np.array([[[[0, 128, 255]]]], dtype=np.uint8)
    own = Preprocessing(
        width_px=1, height_px=1, crop_scale=1.0, mean=(0.5, 0.5, 0.25), std=(0.5, 0.25, 0.125)
    )
    result = normalise(pixels, own)
    assert result.dtype == np.float32
    assert result.shape == (1, 1, 1, 3)
    np.testing.assert_allclose(result.ravel(), [-1.0, (128 / 255 - 0.5) / 0.25, 6.0], atol=1e-6)


def test_raw_pixels_stay_as_they_are_for_a_network_that_wants_0_to_255() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert np.array_equal(normalise(pixels, MINIVISION), pixels.astype(np.float32))


def test_prepared_rows_equal_single_crops_and_failures_are_named(tmp_path: Path) -> None:
    good = [sample(picture(tmp_path / f"{seed}.jpg", seed=seed), (10, 8, 20, 24)) for seed in range(3)]
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "0.jpg").read_bytes()[:300])
    samples = [good[0], sample(tmp_path / "broken.jpg"), good[1], sample(tmp_path / "cut.jpg"), good[2]]
    prepared = prepare(samples, SQUARE, tmp_path / "out", processes=2)
    rows = prepared.crops()
    assert rows.shape == (5, 24, 32, 3)
    assert rows.dtype == np.uint8
    assert set(prepared.failures) == {1, 3}
    assert prepared.failures[1].startswith("broken.jpg: ")
    assert str(tmp_path) not in " ".join(prepared.failures.values())
    assert not rows[[1, 3]].any()
    for index in (0, 2, 4):
        assert np.array_equal(rows[index], load_crop(samples[index].path, samples[index].box, SQUARE))


def test_preparing_again_does_nothing_and_another_geometry_or_pixel_makes_another_file(
    tmp_path: Path,
) -> None:
    samples = [sample(picture(tmp_path / "a.jpg"), (10, 8, 20, 24))]
    first = prepare(samples, SQUARE, tmp_path / "out")
    written_ns = first.path.stat().st_mtime_ns
    again = prepare(samples, SQUARE.model_copy(update={"mean": (0.5, 0.5, 0.5)}), tmp_path / "out")
    assert again == first
    assert first.path.stat().st_mtime_ns == written_ns
    assert (
        prepare(samples, SQUARE.model_copy(update={"crop_scale": 1.5}), tmp_path / "out").path != first.path
    )
    assert prepare([sample(samples[0].path)], SQUARE, tmp_path / "out").path != first.path
    picture(tmp_path / "a.jpg", seed=9)
    assert prepare(samples, SQUARE, tmp_path / "out").path != first.path
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_file_that_vanished_is_an_error_and_not_a_failure_to_acquire(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match=r"cannot read .*gone.jpg"):
        prepare([sample(tmp_path / "gone.jpg")], SQUARE, tmp_path / "out")


def test_a_full_disk_is_one_clear_line_and_leaves_nothing_that_looks_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    samples = [sample(picture(tmp_path / "a.jpg"), (10, 8, 20, 24))]
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        with pytest.raises(EnvironmentFailed, match=r"the disk is full: .*crops-.* Free some space"):
            prepare(samples, SQUARE, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert prepare(samples, SQUARE, tmp_path / "out").crops().shape == (1, 24, 32, 3)


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    samples = [sample(picture(tmp_path / "a.jpg"))]
    with pytest.raises(EnvironmentFailed, match=r"a\.jpg/out/crops-.* could not be written .* Check that"):
        prepare(samples, SQUARE, tmp_path / "a.jpg" / "out")
