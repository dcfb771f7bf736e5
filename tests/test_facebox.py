import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PRETRAINED
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_videos import frame_of

from swapbench.data import facebox
from swapbench.data.facebox import (
    NEAREST_FRAMES,
    Annotated,
    Detections,
    FaceFinder,
    detect,
    detector_name,
    needs_detector,
    read_annotation,
)
from swapbench.data.frames import Frame
from swapbench.data.images import load_frame
from swapbench.data.layouts.oulu import box_of_eyes
from swapbench.data.samples import Annotation, Box
from swapbench.errors import BadDataset, MissingPackage

real_faces = pytest.mark.skipif(
    not PRETRAINED.is_dir(), reason=f"no sample faces in {PRETRAINED.name}/ beside the repository"
)


def annotation(folder: Path, form: str, text: str) -> Annotation:
    (folder / "a.face").write_text(text)
    return Annotation(folder / "a.face", form)


def blank(width: int = 64, height: int = 48, number: int = 0) -> Frame:
    return Frame(number, Image.new("RGB", (width, height)))


def test_the_box_of_two_eyes_by_hand() -> None:
    # 20 px between the eyes, midpoint (50, 50): 40 wide, from 14 above to 34 below
    assert box_of_eyes((40, 50), (60, 50)) == pytest.approx((30, 36, 40, 48))
    assert box_of_eyes((60, 50), (40, 50)) == pytest.approx((30, 36, 40, 48))
    # a head that leans: 3-4-5 triangle, 50 px between the eyes
    assert box_of_eyes((0, 0), (40, 30)) == pytest.approx((20 - 50, 15 - 35, 100, 120))


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("oulu", "0,40,50,60,50\n1,41,50,61,50\n", {0: (30, 36, 40, 48), 1: (31, 36, 40, 48)}),
        ("oulu", "7,0,0,0,0\n", {7: None}),
        ("oulu", "\ufeff7,40,50,60,50\n", {7: (30, 36, 40, 48)}),
        ("replay", "0 12 8 24 26\n1 0 0 0 0\n", {0: (12, 8, 24, 26), 1: None}),
        ("msu", "0, 12, 8, 36, 34, 18, 16, 30, 16\n1,0,0,0,0,0,0,0,0\n", {0: (12, 8, 24, 26), 1: None}),
        ("msu", "3 12 8 36 34\r\n\r\n", {3: (12, 8, 24, 26)}),
        ("replay", "0 12 8 -24 26", {0: None}),
        ("celeba", "56 28 112 56 0.9991\n", {0: (56, 28, 112, 56)}),
    ],
)
def test_every_format_is_read_as_it_is_documented(
    tmp_path: Path, form: str, text: str, expected: dict[int, Box | None]
) -> None:
    assert read_annotation(annotation(tmp_path, form, text)).boxes == expected


def test_boxes_of_celeba_are_scaled_from_224_to_the_image_each_side_by_its_own_factor(tmp_path: Path) -> None:
    read = read_annotation(annotation(tmp_path, "celeba", "56 28 112 56 0.9"))
    assert read.at(0, 448, 112) == (112, 14, 224, 28)


def test_a_frame_without_a_line_takes_the_nearest_one_whatever_it_says() -> None:
    one, two = (1.0, 1.0, 1.0, 1.0), (2.0, 2.0, 2.0, 2.0)
    read = Annotated(Path("x/a.face"), {10: one, 14: two, 20: None})
    assert read.at(10, 64, 48) == one
    assert read.at(11, 64, 48) == one
    assert read.at(12, 64, 48) == one  # the earlier of two that are equally near
    assert read.at(13, 64, 48) == two
    assert read.at(18, 64, 48) == "a.face says that there is no face in frame 20"
    assert read.at(5, 64, 48) == one
    assert read.at(4, 64, 48) == "a.face has no line for frame 4 or within 5 frames of it"
    assert read.at(26, 64, 48) == "a.face has no line for frame 26 or within 5 frames of it"


@given(lines=st.sets(st.integers(0, 60), min_size=1), number=st.integers(0, 60))
def test_the_line_that_is_taken_is_never_far_and_never_farther_than_another(
    lines: set[int], number: int
) -> None:
    read = Annotated(Path("a.face"), {line: (float(line), 0.0, 1.0, 1.0) for line in lines})
    found = read.at(number, 64, 48)
    distances = [abs(line - number) for line in lines]
    if isinstance(found, str):
        assert min(distances) > NEAREST_FRAMES
    else:
        assert abs(found[0] - number) == min(distances) <= NEAREST_FRAMES


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("oulu", "0,40,50,60,50\n1,40,50,60\n", "a.face line 2: 4 numbers instead of 5"),
        ("msu", "0,1,2,3,4,5\n", "a.face line 1: 6 numbers instead of 5 or 9"),
        ("replay", "0 1 2 x 4\n", "a.face line 1: '0 1 2 x 4' is not all numbers"),
        (
            "replay",
            "0 1 2 nan 4\n",
            "a.face line 1: '0 1 2 nan 4' holds a number that is not a pixel coordinate",
        ),
        (
            "replay",
            "0 1 2 1e9 4\n",
            "a.face line 1: '0 1 2 1e9 4' holds a number that is not a pixel coordinate",
        ),
        ("replay", "1.5 1 2 3 4\n", "a.face line 1: the frame number '1.5' is not a non-negative integer"),
        ("oulu", "-1,1,2,3,4\n", "a.face line 1: the frame number '-1' is not a non-negative integer"),
        ("oulu", "\n \n", "a.face is empty"),
        ("celeba", "", "a.face is empty"),
    ],
)
def test_a_malformed_annotation_is_an_error_with_its_line_and_a_reason_for_its_frames(
    tmp_path: Path, form: str, text: str, message: str
) -> None:
    given = annotation(tmp_path, form, text)
    with pytest.raises(BadDataset) as caught:
        read_annotation(given)
    assert str(caught.value) == f"{tmp_path}/{message}"
    assert FaceFinder().face("given", frame_of(Path("a.avi"), annotation=given), blank()) == message


def test_an_annotation_that_is_not_there_or_no_text_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "b.face").write_bytes(b"\xff\xfe\x00\x9c")
    for name, reason in (
        ("a.face", "cannot read a.face: No such file"),
        ("b.face", "b.face is not a text file"),
    ):
        given = Annotation(tmp_path / name, "oulu")
        face = FaceFinder().face("given", frame_of(Path("a.avi"), annotation=given), blank())
        assert isinstance(face, str)
        assert face.startswith(reason)


def test_a_box_outside_the_frame_is_a_reason_and_one_over_its_edge_is_a_box(tmp_path: Path) -> None:
    def face(box: Box) -> object:
        return FaceFinder().face("given", frame_of(Path("a.png"), box=box), blank(64, 48))

    assert face((-10, -10, 11, 11)) == (-10, -10, 11, 11)
    assert face((63, 47, 40, 40)) == (63, 47, 40, 40)
    assert face((-500, -500, 2000, 2000)) == (-500, -500, 2000, 2000)
    assert face((64, 0, 10, 10)) == "the face box 64, 0, 10, 10 lies outside the frame of 64x48 px"
    assert face((0, -10, 10, 10)) == "the face box 0, -10, 10, 10 lies outside the frame of 64x48 px"
    outside = annotation(tmp_path, "replay", "0 100 100 20 20")
    reason = FaceFinder().face("given", frame_of(Path("a.avi"), annotation=outside), blank(64, 48))
    assert reason == "the face box 100, 100, 20, 20 lies outside the frame of 64x48 px"


FOUND: Box = (5.0, 6.0, 7.0, 8.0)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of the frames that the detector was asked about; it finds FOUND, and nothing in a square."""
    asked: list[tuple[int, int]] = []

    def stand_in(image: Image.Image) -> Box | None:
        asked.append(image.size)
        return None if image.width == image.height else FOUND

    monkeypatch.setattr(facebox, "detect", stand_in)
    return asked


def test_the_policies_ask_the_manifest_the_annotation_and_the_detector_in_this_order(
    tmp_path: Path, searched: list[tuple[int, int]]
) -> None:
    finder = FaceFinder(Detections.kept(tmp_path, ["a"]))
    noted = annotation(tmp_path, "replay", "0 1 2 30 40")
    both = frame_of(Path("a"), box=(9, 9, 9, 9), annotation=noted)
    assert finder.face("given", both, blank()) == (9, 9, 9, 9)
    assert finder.face("given", frame_of(Path("a"), annotation=noted), blank()) == (1, 2, 30, 40)
    assert finder.face("frame", both, blank()) is None
    assert searched == []
    assert finder.face("detector", both, blank()) == FOUND
    assert finder.face("given", frame_of(Path("a")), blank()) == FOUND
    assert searched == [(64, 48)]  # once for both


def test_a_dataset_that_says_that_there_is_no_face_is_believed(
    tmp_path: Path, searched: list[tuple[int, int]]
) -> None:
    given = annotation(tmp_path, "replay", "0 0 0 0 0")
    face = FaceFinder().face("given", frame_of(Path("a.mov"), annotation=given), blank())
    assert face == "a.face says that there is no face in frame 0"
    assert searched == []


def test_a_frame_in_which_nothing_is_found_is_a_reason_that_names_the_detector(
    tmp_path: Path, searched: list[tuple[int, int]]
) -> None:
    finder = FaceFinder(Detections.kept(tmp_path, ["a"]))
    reason = f"no face found by {detector_name()} in frame 12"
    assert finder.face("detector", frame_of(Path("a.avi")), blank(20, 20, 12)) == reason
    assert f"{finder.face('detector', frame_of(Path('a.png')), blank(20, 20, 12))} in frame 12" == reason
    assert reason.startswith("no face found by dlib ")


def test_the_detector_is_needed_only_where_nothing_else_is_known() -> None:
    noted = frame_of(Path("a"), annotation=Annotation(Path("b"), "msu"))
    boxed, bare = frame_of(Path("a"), box=(1, 1, 1, 1)), frame_of(Path("a"))
    assert not needs_detector("given", [noted, boxed])
    assert needs_detector("given", [noted, bare])
    assert needs_detector("detector", [boxed])
    assert not needs_detector("frame", [bare])


def test_what_was_found_is_kept_for_the_same_content_and_detector_only(
    tmp_path: Path, searched: list[tuple[int, int]]
) -> None:
    for number in (0, 40):
        first = Detections.kept(tmp_path, ["content", "dlib 1"])
        assert first.at(blank(64, 48, number)) == FOUND
        first.save()
    again = Detections.kept(tmp_path, ["content", "dlib 1"])
    assert again.at(blank(64, 48, 0)) == again.at(blank(64, 48, 40)) == FOUND
    assert len(searched) == 2
    assert again.at(blank(20, 20, 7)) is None
    again.save()
    assert Detections.kept(tmp_path, ["content", "dlib 1"]).boxes == {0: FOUND, 40: FOUND, 7: None}
    assert Detections.kept(tmp_path, ["content", "dlib 2"]).boxes == {}
    assert Detections.kept(tmp_path, ["other", "dlib 1"]).boxes == {}
    assert len(searched) == 3


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"a": [1, 2, 3, 4]}', '{"0": 5}'])
def test_a_damaged_note_of_found_faces_is_looked_for_again(
    tmp_path: Path, searched: list[tuple[int, int]], damage: str
) -> None:
    first = Detections.kept(tmp_path, ["a"])
    first.at(blank())
    first.save()
    first.path.write_text(damage)
    second = Detections.kept(tmp_path, ["a"])
    assert second.boxes == {}
    assert second.at(blank()) == FOUND
    second.save()
    assert json.loads(second.path.read_text())["boxes"] == {"0": list(FOUND)}


def test_without_dlib_the_error_says_what_to_install_and_what_else_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(
        MissingPackage, match=r"no box needs .*dlib-bin.* 'swapbench\[datasets\]', or .* --faces frame"
    ):
        detector_name()


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (79, 700), (300, 200)])
def test_no_face_is_found_in_noise_of_any_shape(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert detect(Image.fromarray(pixels)) is None


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


@real_faces
@pytest.mark.parametrize(
    ("image", "right", "left"),
    # eye centres read off the upright images by a person; F1 is turned a little to the side
    [("T1", (194, 209), (268, 231)), ("F1", (228, 198), (294, 214)), ("F2", (199, 320), (302, 340))],
)
def test_the_box_of_the_eyes_and_dlibs_box_enclose_the_same_face(
    image: str, right: tuple[float, float], left: tuple[float, float]
) -> None:
    found = detect(load_frame(PRETRAINED / f"image_{image}.jpg"))
    eyes = box_of_eyes(right, left)
    assert found is not None
    assert overlap(found, eyes) > 0.65
    assert found[3] / eyes[3] == pytest.approx(1, abs=0.15)


@real_faces
@pytest.mark.parametrize("factor", [4.0, 2.0, 0.25])
def test_a_large_frame_is_reduced_and_a_small_one_searched_at_twice_its_size(factor: float) -> None:
    upright = load_frame(PRETRAINED / "image_T1.jpg")
    once = detect(upright)
    scaled = upright.resize((round(480 * factor), round(640 * factor)), Image.Resampling.BICUBIC)
    again = detect(scaled)
    assert once is not None
    assert again is not None
    assert overlap(once, tuple(edge / factor for edge in again)) > 0.7  # type: ignore[arg-type]


@real_faces
def test_the_larger_of_two_faces_is_taken() -> None:
    upright = load_frame(PRETRAINED / "image_F2.jpg")
    both = Image.new("RGB", (960, 640))
    both.paste(upright.resize((240, 320)), (40, 100))
    both.paste(upright, (480, 0))
    found = detect(both)
    assert found is not None
    assert found[0] > 480
