import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_videos import blank, cut, declare, frame_of, level, spread_over, turn, video

from swapbench.data import frames
from swapbench.data.frames import Frame, by_file, read_frames, side_by_side
from swapbench.data.images import load_frame
from swapbench.data.samples import Sample
from swapbench.errors import MissingPackage


def read(samples: list[Sample]) -> list[Frame | str]:
    """What is found for each sample, in the samples' order; every one is answered once."""
    found = list(read_frames(samples))
    assert sorted(index for index, _ in found) == list(range(len(samples)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def numbers(samples: list[Sample]) -> list[int | str]:
    """The numbers of the frames, which must be what their pixels say."""
    answers: list[int | str] = []
    for found in read(samples):
        if isinstance(found, Frame):
            assert level(found.image) == found.number
        answers.append(found if isinstance(found, str) else found.number)
    return answers


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_frames_are_spread_evenly_over_a_video(tmp_path: Path, suffix: str) -> None:
    # 20 frames, 4 samples: the middles of four parts of 5 frames, 2.5 7.5 12.5 17.5, rounded down
    assert numbers(spread_over(video(tmp_path / f"a{suffix}"), 4)) == [2, 7, 12, 17]
    assert numbers(spread_over(tmp_path / f"a{suffix}", 1)) == [10]


def test_a_video_of_fewer_frames_than_are_asked_for_gives_some_twice(tmp_path: Path) -> None:
    # 3 frames, 8 samples: (i + 1/2) 3 / 8 = .19 .56 .94 1.3 1.7 2.1 2.4 2.8
    assert numbers(spread_over(video(tmp_path / "a.avi", frames=3), 8)) == [0, 0, 0, 1, 1, 2, 2, 2]


@given(count=st.integers(1, 500), spread=st.integers(1, 40))
def test_spread_frames_exist_rise_and_stand_symmetrically(count: int, spread: int) -> None:
    chosen = [frames._number(frame_of(Path("a.avi"), one, spread), count) for one in range(spread)]
    assert chosen == sorted(chosen)
    assert chosen[0] >= 0
    assert chosen[-1] < count
    assert chosen[0] <= count / (2 * spread) <= count - chosen[-1]


def test_frames_by_number_come_in_the_order_of_the_file_whatever_the_order_of_the_samples(
    tmp_path: Path,
) -> None:
    video(tmp_path / "a.avi")
    samples = [frame_of(tmp_path / "a.avi", number) for number in (9, 0, 9, 3)]
    assert numbers(samples) == [9, 0, 9, 3]
    assert [found.number for _, found in read_frames(samples) if isinstance(found, Frame)] == [0, 3, 9, 9]


class Counting:
    """A capture that counts what is decoded and turned into pixels."""

    def __init__(self, capture: Any) -> None:
        self.capture, self.grabbed, self.retrieved = capture, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.capture, name)

    def grab(self) -> bool:
        self.grabbed += 1
        return bool(self.capture.grab())

    def retrieve(self) -> Any:
        self.retrieved += 1
        return self.capture.retrieve()


def test_nothing_is_decoded_behind_the_last_wanted_frame_and_only_wanted_frames_become_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures: list[Counting] = []
    opened = frames._opened

    def counting(sample: Sample) -> Counting:
        captures.append(Counting(opened(sample)))
        return captures[-1]

    monkeypatch.setattr(frames, "_opened", counting)
    samples = [frame_of(video(tmp_path / "a.avi"), number) for number in (3, 7, 7)]
    assert numbers(samples) == [3, 7, 7]
    assert [(one.grabbed, one.retrieved) for one in captures] == [(8, 2)]


def test_a_truncated_video_gives_the_frames_that_are_there_and_a_reason_for_the_others(
    tmp_path: Path,
) -> None:
    path = cut(video(tmp_path / "a.avi"), 13)
    reason = "truncated or damaged: 13 of 20 frames can be read"
    assert numbers(spread_over(path, 4)) == [2, 7, 12, reason]
    assert numbers([frame_of(path, 13), frame_of(path, 12)]) == [reason, 12]


def test_nothing_behind_damage_is_read_because_its_number_is_not_known(tmp_path: Path) -> None:
    path = blank(video(tmp_path / "a.avi"), 8)
    first, second, third = numbers([frame_of(path, number) for number in (5, 12, 19)])
    assert first == 5
    assert second == third
    assert str(second).startswith("truncated or damaged: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"no video\n" * 99, "not a video that can be opened")],
)
def test_a_file_that_is_no_video_is_a_reason_for_each_of_its_samples(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "a.avi").write_bytes(content)
    assert read(spread_over(tmp_path / "a.avi", 2)) == [reason, reason]
    assert read([frame_of(tmp_path / "a.avi", 5)]) == [reason]


def test_an_mp4_without_its_end_is_a_reason(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:400])
    assert read([frame_of(path)]) == ["not a video that can be opened"]


def test_a_number_behind_the_end_names_how_many_frames_there_are(tmp_path: Path) -> None:
    path = video(tmp_path / "a.avi")
    reason = "there is no frame 20: the video has 20 frames, numbered from 0"
    assert numbers([frame_of(path, 19), frame_of(path, 20)]) == [19, reason]


def test_a_container_that_declares_too_many_frames_is_found_out(tmp_path: Path) -> None:
    path = declare(video(tmp_path / "a.avi"), 40)
    reason = "truncated or damaged: 20 of 40 frames can be read"
    assert numbers(spread_over(path, 4)) == [5, 15, reason, reason]


def test_a_container_that_declares_too_few_frames_gives_a_choice_from_those(tmp_path: Path) -> None:
    assert numbers(spread_over(declare(video(tmp_path / "a.avi"), 10), 4)) == [1, 3, 6, 8]


def test_frames_are_counted_where_the_container_declares_none(tmp_path: Path) -> None:
    assert numbers(spread_over(declare(video(tmp_path / "a.avi"), 0), 4)) == [2, 7, 12, 17]


def white_edge(image: Image.Image) -> str:
    """Where the white stripe is."""
    grey = np.asarray(image).mean(axis=2)
    edges = {"left": grey[:, 2], "right": grey[:, -3], "top": grey[2], "bottom": grey[-3]}
    return next(name for name, pixels in edges.items() if pixels.min() > 200)


@pytest.mark.parametrize(
    ("said_deg", "expected", "size"),
    [(0, "left", (64, 48)), (90, "top", (48, 64)), (180, "right", (64, 48)), (270, "bottom", (48, 64))],
)
def test_a_video_is_turned_as_its_metadata_says_and_rotate_deg_replaces_it(
    tmp_path: Path, said_deg: int, expected: str, size: tuple[int, int]
) -> None:
    path = turn(video(tmp_path / "a.mp4", stripe=True), said_deg)
    (upright,) = read([frame_of(path)])
    assert isinstance(upright, Frame)
    assert (white_edge(upright.image), upright.image.size) == (expected, size)
    (replaced,) = read([frame_of(path, rotate_deg=180)])
    assert isinstance(replaced, Frame)
    assert (white_edge(replaced.image), replaced.image.size) == ("right", (64, 48))


def test_an_image_is_turned_as_its_exif_says_and_rotate_deg_replaces_it(tmp_path: Path) -> None:
    lying = Image.new("RGB", (40, 20))
    lying.paste((255, 255, 255), (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter clockwise
    lying.save(tmp_path / "a.png", exif=exif)
    assert white_edge(load_frame(tmp_path / "a.png")) == "top"
    assert white_edge(load_frame(tmp_path / "a.png", 180)) == "right"
    assert white_edge(load_frame(tmp_path / "a.png", 270)) == "bottom"


def test_an_image_is_one_frame_for_all_its_samples_and_number_0(tmp_path: Path) -> None:
    Image.new("RGB", (9, 7), (200, 100, 50)).save(tmp_path / "a.png")
    first, second = read([frame_of(tmp_path / "a.png"), frame_of(tmp_path / "a.png", 37)])
    assert isinstance(first, Frame)
    assert first is second
    assert first.number == 0
    assert first.image.getpixel((3, 3)) == (200, 100, 50)


def test_an_image_that_would_fill_the_memory_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (90, 70)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (reason,) = read([frame_of(tmp_path / "a.png")])
    assert reason == "it has more pixels than are read"


def test_without_opencv_a_video_names_what_to_install_and_an_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (9, 7)).save(tmp_path / "a.png")
    video(tmp_path / "a.avi")
    monkeypatch.setattr(frames, "_cv2", frames._cv2.__wrapped__)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert isinstance(read([frame_of(tmp_path / "a.png")])[0], Frame)
    with pytest.raises(
        MissingPackage, match=r"reading videos needs .*opencv.* pip install 'swapbench\[datasets\]'"
    ):
        read([frame_of(tmp_path / "a.avi")])


def test_damaged_videos_print_nothing(tmp_path: Path) -> None:
    path = blank(video(tmp_path / "a.avi"), 8)
    (tmp_path / "none.avi").write_bytes(b"no video")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from swapbench.data.frames import read_frames;"
        "from tiny_videos import spread_over;"
        "print(sum(len(list(read_frames(spread_over(Path(p), 20)))) for p in sys.argv[2:]))"
    )
    argv = [sys.executable, "-c", program, str(Path(__file__).parent), str(path), str(tmp_path / "none.avi")]
    silent = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=silent)
    assert (done.stdout, done.stderr) == ("40\n", "")


def test_samples_are_gathered_by_file_in_the_order_of_their_first(tmp_path: Path) -> None:
    a, b = tmp_path / "a.avi", tmp_path / "b.avi"
    samples = [frame_of(b, 0), frame_of(a, 0), frame_of(b, 1), frame_of(a, 1)]
    assert by_file(samples) == [[0, 2], [1, 3]]


@pytest.mark.parametrize("threads", [1, 3])
def test_few_units_are_under_way_at_a_time_however_many_there_are(threads: int) -> None:
    begun = 0

    def units() -> Iterator[int]:
        nonlocal begun
        for number in range(200):
            begun = number + 1
            yield number

    received = []
    for result in side_by_side(lambda unit: unit * unit, units(), threads):
        received.append(result)
        assert begun - len(received) <= frames.UNITS_AHEAD * threads
    assert sorted(received) == [number**2 for number in range(200)]


def test_an_error_in_a_thread_ends_the_work_and_no_thread_is_left() -> None:
    done: list[int] = []

    def work(unit: int) -> None:
        if unit == 5:
            raise OSError("disk")
        done.append(unit)

    with pytest.raises(OSError, match="disk"):
        list(side_by_side(work, range(1000), 2))
    assert len(done) < 20
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]
