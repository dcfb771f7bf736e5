import errno
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from author_pipelines import MINIVISION
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_videos import cut, frame_of, level, spread_over, video

from swapbench.data import facebox, frames
from swapbench.data.geometry import crop_box
from swapbench.data.preprocess import Sources, load_crop, normalise, prepare, prepare_all
from swapbench.data.samples import Annotation, Box, Sample
from swapbench.errors import BadDataset, EnvironmentFailed
from swapbench.records import Preprocessing

SQUARE = Preprocessing(width_px=32, height_px=24, crop_scale=2.0)
WHOLE = SQUARE.model_copy(update={"face_box": "frame"})


def sample(path: Path, box: Box | None = None) -> Sample:
    return Sample(path.name, path, 0, "s", "bona_fide", "", "A", "", "", "dev", "", box, path.name)


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
    # each is the double precision result, rounded once
    assert result.ravel().tolist() == [-1.0, np.float32((128 / 255 - 0.5) / 0.25), 6.0]


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


def test_crops_that_leave_the_frame_are_counted_with_a_face_that_has_no_crop_among_the_failures(
    tmp_path: Path,
) -> None:
    path = picture(tmp_path / "a.png")  # 60x48; crops are twice the box
    boxes = [(20, 14, 20, 20), (4, 14, 20, 20), (52, 14, 20, 20), (58, 14, 20, 20)]
    clipping = SQUARE.replace(border="clip", crop_scale=0.5)
    prepared, clipped = prepare_all(
        [sample(path, box) for box in boxes], [SQUARE, clipping], tmp_path / "out"
    )
    assert (prepared.at_border, dict(prepared.failures)) == ({1, 2, 3}, {})
    # half of the last box begins at 63
    assert clipped.at_border == {2}
    assert clipped.failures == {
        3: "a.png: the crop around the face box 58, 14, 20, 20 lies outside the frame"
    }
    assert not clipped.crops()[3].any()
    again = prepare([sample(path, box) for box in boxes], clipping, tmp_path / "out")
    assert (again.at_border, again.failures) == (clipped.at_border, clipped.failures)


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
    moved = [sample(samples[0].path, (11, 8, 20, 24))]
    assert prepare(moved, SQUARE, tmp_path / "out").path != first.path
    assert prepare(samples, WHOLE, tmp_path / "out").path != first.path
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


# ------------------------------------------------------------------------------------------ videos and faces


FACE: Box = (16, 12, 20, 20)


def levels(rows: Any) -> list[int]:
    """The numbers of the frames of `video` in prepared rows."""
    return [level(Image.fromarray(row)) for row in rows]


def test_rows_of_videos_and_images_stand_in_the_order_of_the_samples_even_where_files_are_mixed(
    tmp_path: Path,
) -> None:
    a, b = video(tmp_path / "a.avi"), video(tmp_path / "b.mp4")
    still = picture(tmp_path / "c.png")
    samples = [
        frame_of(a, 7, box=FACE),
        frame_of(b, 3, box=FACE),
        sample(still, FACE),
        frame_of(a, 2, box=FACE),
    ]
    prepared = prepare(samples, SQUARE, tmp_path / "out", processes=3)
    assert not prepared.failures
    rows = prepared.crops()
    assert levels(rows[[0, 1, 3]]) == [7, 3, 2]
    assert np.array_equal(rows[2], load_crop(still, FACE, SQUARE))


def test_frames_that_are_missing_and_frames_without_a_face_are_failures_with_their_reasons(
    tmp_path: Path,
) -> None:
    whole = video(tmp_path / "a.avi")
    broken = cut(video(tmp_path / "b.avi"), 13)
    (tmp_path / "empty.avi").touch()
    (tmp_path / "a.face").write_text("2 0 0 0 0\n7 16 12 20 20\n12 900 900 9 9\n")
    noted = Annotation(tmp_path / "a.face", "replay")
    samples = [
        *spread_over(whole, 4, annotation=noted),  # frames 2, 7, 12 and 17, whose nearest line is that of 12
        *spread_over(broken, 4, box=FACE),
        frame_of(tmp_path / "empty.avi", 0, 2, box=FACE),
        frame_of(whole, 99, box=FACE),
    ]
    prepared = prepare(samples, SQUARE, tmp_path / "out", processes=2)
    assert prepared.failures == {
        0: "a.avi: a.face says that there is no face in frame 2",
        2: "a.avi: the face box 900, 900, 9, 9 lies outside the frame of 64x48 px",
        3: "a.avi: the face box 900, 900, 9, 9 lies outside the frame of 64x48 px",
        7: "b.avi: truncated or damaged: 13 of 20 frames can be read",
        8: "empty.avi: the file is empty",
        9: "a.avi: there is no frame 99: the video has 20 frames, numbered from 0",
    }
    rows = prepared.crops()
    assert levels(rows[[1, 4, 5, 6]]) == [7, 2, 7, 12]
    assert not rows[list(prepared.failures)].any()


def test_an_annotation_that_is_missing_or_malformed_takes_its_frames_only(tmp_path: Path) -> None:
    path = video(tmp_path / "a.avi")
    (tmp_path / "bad.face").write_text("0 1 2\n")
    samples = [
        frame_of(path, 1, annotation=Annotation(tmp_path / "bad.face", "replay")),
        frame_of(path, 2, annotation=Annotation(tmp_path / "gone.face", "replay")),
        frame_of(path, 3, box=FACE),
    ]
    prepared = prepare(samples, SQUARE, tmp_path / "out")
    assert prepared.failures == {
        0: "a.avi: bad.face line 1: 3 numbers instead of 5",
        1: "a.avi: cannot read gone.face: No such file or directory",
    }
    assert levels(prepared.crops()[2:]) == [3]


def test_a_frame_smaller_than_its_box_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", width=20, height=12)
    prepared = prepare([sample(path, (-30, -20, 300, 200))], SQUARE, tmp_path / "out")
    assert not prepared.failures
    assert np.array_equal(prepared.crops()[0], load_crop(path, (-30, -20, 300, 200), SQUARE))


def test_a_box_or_an_annotation_that_changes_makes_another_file(tmp_path: Path) -> None:
    path = video(tmp_path / "a.avi")
    (tmp_path / "a.face").write_text("0 16 12 20 20\n")
    noted = [frame_of(path, 0, annotation=Annotation(tmp_path / "a.face", "replay"))]
    first = prepare(noted, SQUARE, tmp_path / "out").path
    assert prepare(noted, SQUARE, tmp_path / "out").path == first
    (tmp_path / "a.face").write_text("0 17 12 20 20\n")
    assert prepare(noted, SQUARE, tmp_path / "out").path != first
    others = [
        [frame_of(path, 1)],
        [frame_of(path, 0, 2)],
        [frame_of(path, 0, rotate_deg=180)],
        [frame_of(path)],
    ]
    assert len({prepare(one, WHOLE, tmp_path / "out").path for one in others}) == 4


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the videos that were opened."""
    names: list[str] = []
    really = frames._opened

    def noting(one: Sample) -> Any:
        names.append(one.path.name)
        return really(one)

    monkeypatch.setattr(frames, "_opened", noting)
    return names


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the frames that the detector was asked about; it finds FACE in all but the first."""
    numbers: list[int] = []

    def stand_in(image: Image.Image) -> Box | None:
        numbers.append(level(image))
        return FACE if numbers[-1] else None

    monkeypatch.setattr(facebox, "detect", stand_in)
    return numbers


def test_several_geometries_decode_each_file_once_and_equal_those_made_alone(
    tmp_path: Path, opened: list[str]
) -> None:
    samples = [
        one
        for name in ("a.avi", "b.avi")
        for one in spread_over(video(tmp_path / name, stripe=True), 4, box=FACE)
    ]
    geometries = [SQUARE, MINIVISION, WHOLE, SQUARE.model_copy(update={"mean": (0.5, 0.5, 0.5)})]
    together = prepare_all(samples, geometries, tmp_path / "together", processes=2)
    assert sorted(opened) == ["a.avi", "b.avi"]
    assert together[0].path == together[3].path
    assert len({one.path for one in together}) == 3
    for geometry, one in zip(geometries, together, strict=True):
        alone = prepare(samples, geometry, tmp_path / "alone")
        assert np.array_equal(one.crops(), alone.crops())
        assert one.crops().shape == (8, geometry.height_px, geometry.width_px, 3)
    opened.clear()
    assert prepare_all(samples, geometries, tmp_path / "together") == together
    assert opened == []
    wider = SQUARE.model_copy(update={"crop_scale": 1.5})
    prepare_all(samples, [SQUARE, wider], tmp_path / "together")
    assert sorted(opened) == ["a.avi", "b.avi"]  # for the new one only, but decoded


def test_faces_are_looked_for_once_however_many_cards_there_are(tmp_path: Path, searched: list[int]) -> None:
    samples = spread_over(video(tmp_path / "a.avi"), 4)
    first = prepare(samples, SQUARE, tmp_path / "out")
    assert searched == [2, 7, 12, 17]
    boxed = spread_over(tmp_path / "a.avi", 4, box=FACE)
    assert np.array_equal(first.crops(), prepare(boxed, SQUARE, tmp_path / "out").crops())
    prepare(samples, SQUARE.model_copy(update={"crop_scale": 1.2}), tmp_path / "out")
    prepare(samples, SQUARE.model_copy(update={"face_box": "detector"}), tmp_path / "out")
    prepare(samples[:2], SQUARE, tmp_path / "out")
    assert searched == [2, 7, 12, 17]
    prepare([frame_of(samples[0].path, 3)], SQUARE, tmp_path / "out")
    assert searched == [2, 7, 12, 17, 3]


def test_where_the_detector_finds_nothing_the_frame_is_a_failure_to_acquire(
    tmp_path: Path, searched: list[int]
) -> None:
    samples = [frame_of(video(tmp_path / "a.avi"), number) for number in (0, 5)]
    prepared = prepare(samples, SQUARE, tmp_path / "out")
    (index, reason), *others = prepared.failures.items()
    assert (index, others) == (0, [])
    assert reason.startswith("a.avi: no face found by dlib ")
    assert reason.endswith(" in frame 0")
    assert not prepare(samples, WHOLE, tmp_path / "out").failures


def test_the_detector_itself_finds_no_face_in_noise(tmp_path: Path) -> None:
    prepared = prepare([sample(picture(tmp_path / "a.png"))], SQUARE, tmp_path / "out")
    assert prepared.failures[0].startswith("a.png: no face found by dlib ")


def test_progress_counts_samples_up_to_all_of_them(tmp_path: Path) -> None:
    samples = [
        *spread_over(video(tmp_path / "a.avi"), 3, box=FACE),
        sample(picture(tmp_path / "b.png"), FACE),
        *spread_over(video(tmp_path / "c.avi"), 4, box=FACE),
    ]
    heard: list[tuple[int, int]] = []
    prepare(samples, SQUARE, tmp_path / "out", progress=lambda done, total: heard.append((done, total)))
    counts = [0, *(done for done, _ in heard)]
    files = [later - earlier for earlier, later in itertools.pairwise(counts)]
    assert sorted(files) == [1, 3, 4]  # whole files, in whichever order they are finished
    assert (counts[-1], {total for _, total in heard}) == (8, {8})


def test_the_call_that_makes_a_file_tells_where_its_time_went_and_the_cache_tells_nothing(
    tmp_path: Path,
) -> None:
    samples = spread_over(video(tmp_path / "a.avi"), 4, box=FACE)
    one, two = prepare_all(samples, [SQUARE, WHOLE], tmp_path / "out", processes=2)
    assert one.timings is two.timings
    assert one.timings is not None
    assert one.timings.threads == 2
    parts = one.timings.decode_ns, one.timings.faces_ns, one.timings.resize_ns
    assert min(parts) > 0
    assert sum(parts) <= one.timings.wall_ns  # one file: only one thread had work
    assert prepare(samples, SQUARE, tmp_path / "out").timings is None


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_call_leaves_nothing_and_the_next_one_does_everything(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    samples = [one for name in "abc" for one in spread_over(video(tmp_path / f"{name}.avi"), 2, box=FACE)]

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise interruption

    with pytest.raises(interruption):
        prepare(samples, SQUARE, tmp_path / "out", processes=2, progress=stop)
    assert not list((tmp_path / "out").iterdir())
    assert levels(prepare(samples, SQUARE, tmp_path / "out").crops()) == [5, 15] * 3


def test_only_as_many_frames_as_threads_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: set[int] = set()
    most = 0
    really = frames._retrieved

    class Watched(Image.Image):
        def __del__(self) -> None:
            alive.discard(id(self))

    def retrieved(capture: Any, number: int, one: Sample) -> Any:
        nonlocal most
        found = really(capture, number, one)
        assert isinstance(found, frames.Frame)
        watched = Watched()
        watched.__dict__.update(found.image.__dict__)
        alive.add(id(watched))
        most = max(most, len(alive))
        return frames.Frame(number, watched)

    monkeypatch.setattr(frames, "_retrieved", retrieved)
    samples = [one for name in "abcdef" for one in spread_over(video(tmp_path / f"{name}.avi"), 10, box=FACE)]
    prepare(samples, SQUARE, tmp_path / "out", processes=2)
    assert 1 <= most <= 2 * 2  # a thread holds the frame before until it has the next one


def test_the_key_is_of_content_and_not_of_places(tmp_path: Path) -> None:
    keys = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        keys.append(Sources([sample(picture(folder / "a.png"), FACE)], tmp_path).key(["given"], {"a": 1}))
    assert keys[0] == keys[1]
