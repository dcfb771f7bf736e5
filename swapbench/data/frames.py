"""Frames of image and video files: upright and RGB, or in words why there is none.

Images are read by Pillow (`images`), videos by FFmpeg through OpenCV, which is imported when the first video
is opened. This module knows nothing about faces or networks.
"""

from __future__ import annotations

import functools
import itertools
import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, NamedTuple

import PIL
from PIL import Image

from swapbench.data import stacks
from swapbench.data.images import image_or_reason, turned
from swapbench.data.samples import STACK_SUFFIXES, VIDEO_SUFFIXES
from swapbench.errors import MissingPackage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from typing import TypeVar

    from swapbench.data.samples import Sample

    Unit = TypeVar("Unit")
    Result = TypeVar("Result")

UNITS_AHEAD = 2
"""Units in flight per thread: one that it works on and one that waits, so that no thread is ever idle."""


class Frame(NamedTuple):
    """An upright RGB frame and its number in its file, 0 in an image."""

    number: int
    image: Image.Image


def is_video(sample: Sample) -> bool:
    """True where the sample's file is a video: samples are spread over it, or its suffix says so."""
    return sample.spread > 0 or sample.path.suffix.lower() in VIDEO_SUFFIXES


def decoders(samples: Iterable[Sample]) -> list[str]:
    """Names and versions of what decodes the files of these samples, on which their pixels depend."""
    versions = [f"pillow {PIL.__version__}"]
    films = [sample for sample in samples if is_video(sample)]
    if any(sample.path.suffix.lower() in STACK_SUFFIXES for sample in films):
        versions.append(f"h5py {stacks.version()}")
    if any(sample.path.suffix.lower() not in STACK_SUFFIXES for sample in films):
        versions.append(f"opencv {_cv2().__version__}")
    return versions


def by_file(samples: Sequence[Sample]) -> list[list[int]]:
    """The indexes of the samples of each file, files in the order in which they first appear."""
    files: dict[tuple[Path, int], list[int]] = {}
    for index, sample in enumerate(samples):
        files.setdefault((sample.path, sample.rotate_deg), []).append(index)
    return list(files.values())


def read_frames(samples: Sequence[Sample]) -> Iterator[tuple[int, Frame | str]]:
    """The frames that samples of one file ask for, in the file's order.

    A video is decoded from its beginning to the last frame that is wanted, and no further. The frames that
    can be decoded are yielded; each of the others has its reason. Nothing after a damaged frame is read,
    because its number is not known.

    The number N that `Sample.spread` counts with is the one that the container declares. Where it declares
    too many, the frames that do not exist are reported; where it declares too few, the choice is spread
    evenly over the part that it declares, because only decoding every file to its end could tell. Where it
    declares none, the frames are counted. A video of fewer frames than `spread` gives some of them twice.

    A video is turned as its metadata says, or by `rotate_deg` instead.

    Args:
        samples: all of one file

    Yields:
        Index in `samples`, and the frame or the reason why there is none.

    Raises:
        MissingPackage: a video is to be read without OpenCV
    """
    if samples[0].path.suffix.lower() in STACK_SUFFIXES:
        for index, found in stacks.read(samples, _number):
            yield index, found if isinstance(found, str) else Frame(*found)
        return
    if is_video(samples[0]):
        yield from _video_frames(samples)
        return
    image = image_or_reason(samples[0].path, samples[0].rotate_deg)
    frame = image if isinstance(image, str) else Frame(0, image)
    for index in range(len(samples)):
        yield index, frame


def _video_frames(samples: Sequence[Sample]) -> Iterator[tuple[int, Frame | str]]:
    capture = _opened(samples[0])
    try:
        if not capture.isOpened():
            empty = samples[0].path.is_file() and samples[0].path.stat().st_size == 0
            for index in range(len(samples)):
                yield index, "the file is empty" if empty else "not a video that can be opened"
            return
        declared = capture.get(_cv2().CAP_PROP_FRAME_COUNT)
        count = int(declared) if declared > 0 else _counted(samples[0])
        wanted = sorted((_number(sample, count), index) for index, sample in enumerate(samples))
        grabbed, readable = 0, True
        for number, group in itertools.groupby(wanted, key=lambda pair: pair[0]):
            while readable and grabbed <= number:
                readable = bool(capture.grab())
                grabbed += readable
            frame = _retrieved(capture, number, samples[0]) if readable else _missing(number, grabbed, count)
            for _, index in group:
                yield index, frame
    finally:
        capture.release()


def _number(sample: Sample, count: int) -> int:
    """The number of the sample's frame in a file of `count` frames."""
    if sample.spread == 0:
        return sample.frame
    return (2 * sample.frame + 1) * count // (2 * sample.spread)


def _missing(number: int, readable: int, count: int) -> str:
    if number >= count:
        return f"there is no frame {number}: the video has {count} frames, numbered from 0"
    return f"truncated or damaged: {readable} of {count} frames can be read"


def _retrieved(capture: Any, number: int, sample: Sample) -> Frame | str:
    try:
        done, bgr = capture.retrieve()
    except _cv2().error as error:
        return f"frame {number} cannot be decoded: {' '.join(str(error).split())}"
    if not done or bgr is None or bgr.ndim != 3:
        return f"frame {number} cannot be decoded"
    height, width, _ = bgr.shape
    image = Image.frombuffer("RGB", (width, height), bgr, "raw", "BGR", 0, 1)
    return Frame(number, turned(image, sample.rotate_deg))


def _opened(sample: Sample) -> Any:
    # One decoding thread: files are decoded side by side, and a thread pool for each would get in the way.
    cv2 = _cv2()
    capture = cv2.VideoCapture(str(sample.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if sample.rotate_deg:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    return capture


def _counted(sample: Sample) -> int:
    capture = _opened(sample)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


@functools.cache
def _cv2() -> Any:
    # Both libraries print about every damaged file; the reasons that are returned say it once, in one line.
    # Whoever wants their output sets the variables.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError:
        raise MissingPackage("opencv-python-headless", "reading videos", "datasets") from None
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def side_by_side(
    work: Callable[[Unit], Result], units: Iterable[Unit], threads: int
) -> Generator[Result, None, None]:
    """work(unit) of every unit in several threads, results as they come.

    Only `UNITS_AHEAD` units per thread are in flight at any time, so that neither waiting units nor results
    pile up, however many there are. An exception of `work` is raised here, after the units that were in
    flight.

    Args:
        work: is called in the threads
        units: its arguments
        threads: how many

    Yields:
        The results, in the order in which they are ready.
    """
    pending: set[Future[Result]] = set()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for unit in units:
                if len(pending) >= UNITS_AHEAD * threads:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
                pending.add(pool.submit(work, unit))
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in pending:
                future.cancel()
