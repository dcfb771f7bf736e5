"""From a frame and a face box to a network's input, exactly as a card's `Preprocessing` says.

This is the one implementation, in four steps: upright frame (`frames`), crop around the face (`facebox`,
`geometry`), size (`resizing`), channel order. They give uint8, which `prepare` keeps on disk. `normalise`
turns it into the network's float32; the runtimes' workers feed the same bits. Needs numpy and Pillow, OpenCV
for videos, dlib for faces that the dataset gives no box for; never PyTorch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from swapbench.data.dataset import content_sha256
from swapbench.data.facebox import Detections, FaceFinder, detector_name, needs_detector
from swapbench.data.frames import by_file, decoders, read_frames, side_by_side
from swapbench.data.geometry import NoCrop, crop_box, cut, leaves_frame, padded
from swapbench.data.images import load_frame
from swapbench.data.resizing import resize
from swapbench.errors import BadDataset
from swapbench.files import disk_failure, whole_file
from swapbench.kept import keep, kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.facebox import Face
    from swapbench.data.frames import Frame
    from swapbench.data.samples import Box, Sample
    from swapbench.records import FaceBoxes, Preprocessing


def resized(
    frame: Image.Image, region: tuple[float, float, float, float], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    """A region of a frame at the input size.

    Args:
        frame: RGB
        region: x0, y0, x1, y1 in pixels, see `geometry.crop_box`; all filters but "antialias" look at whole
            pixels only, so it is truncated to them
        preprocessing: of the card

    Returns:
        uint8 [height, width, channels] in the card's channel order.
    """
    if preprocessing.channel_order == "gray":
        frame = frame.convert("L")
    x0, y0, x1, y1 = region
    width, height, enlarged = _fitted(x1 - x0, y1 - y0, preprocessing)
    name = preprocessing.enlarge if enlarged and preprocessing.enlarge is not None else preprocessing.resize
    inside = x0 >= 0 and y0 >= 0 and x1 <= frame.width and y1 <= frame.height
    if name == "antialias" and inside:
        pixels = np.asarray(frame.resize((width, height), Image.Resampling.BILINEAR, box=region))
        pixels = pixels.reshape(height, width, preprocessing.channels)
    else:
        corners = int(x0), int(y0), int(x1), int(y1)
        pixels = resize(cut(frame, corners, preprocessing.border), width, height, name)
    left, top = (preprocessing.width_px - width) // 2, (preprocessing.height_px - height) // 2
    right, bottom = preprocessing.width_px - width - left, preprocessing.height_px - height - top
    pixels = padded(pixels, (left, top, right, bottom), preprocessing.border)
    return np.ascontiguousarray(pixels[:, :, ::-1] if preprocessing.channel_order == "bgr" else pixels)


def _fitted(width: float, height: float, preprocessing: Preprocessing) -> tuple[int, int, bool]:
    """The size of a crop in the network's input, and whether it is enlarged to it.

    In a letterbox sides are truncated, as public code does: a square may be one pixel short of the input,
    where its side times the ratio is a hair below a whole number.
    """
    ratio = min(preprocessing.width_px / width, preprocessing.height_px / height)
    if preprocessing.fit == "stretch":
        return preprocessing.width_px, preprocessing.height_px, ratio > 1
    return max(int(width * ratio), 1), max(int(height * ratio), 1), ratio > 1


def cropped(frame: Image.Image, box: Box | None, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The face in a frame as the network's uint8 input [height, width, channels]; box None: the whole frame.

    Raises:
        NoCrop: see `geometry.crop_box`
    """
    return resized(frame, crop_box(frame.width, frame.height, box, preprocessing), preprocessing)


def load_crop(path: Path, box: Box | None, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """`cropped` of an image file; BadDataset where it cannot be read, NoCrop where it has none."""
    return cropped(load_frame(path), box, preprocessing)


def normalise(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(pixel * scale - mean) / std for each channel of [..., channels], float32. NHWC stays NHWC.

    Computed in double precision for each of the 256 values and rounded once, as the runtimes' workers do:
    equal bits.
    """
    values = np.arange(256, dtype=np.float64)[:, None]
    table = (values * preprocessing.scale - np.asarray(preprocessing.mean)) / np.asarray(preprocessing.std)
    channels = np.arange(0, 256 * preprocessing.channels, 256, dtype=np.uint16)
    normalised: NDArray[np.float32] = np.take(table.T.astype(np.float32).ravel(), pixels + channels)
    return normalised


# --------------------------------------------------------------------------------------------- whole datasets


@dataclass
class Timings:
    """Where the time of a call went, in ns: the first three are sums over its threads.

    Attributes:
        threads: how many
        decode_ns: reading and decoding files
        faces_ns: annotations and the detector
        resize_ns: cropping and resizing
        wall_ns: the whole call
    """

    threads: int = 1
    decode_ns: int = 0
    faces_ns: int = 0
    resize_ns: int = 0
    wall_ns: int = 0


@dataclass(frozen=True, slots=True)
class Acquired:
    """What was found for one sample.

    Attributes:
        index: of the sample
        frame: its frame, or why there is none
        faces: the face in the frame by each policy; empty without a frame
    """

    index: int
    frame: Frame | str
    faces: Mapping[FaceBoxes, Face]


class Sources:
    """The files behind samples, by content: what is cached is named after it.

    A file that cannot be read raises BadDataset; an annotation that cannot be read is no error here, because
    the frames that need it report it.

    Attributes:
        samples: whose files they are
    """

    def __init__(self, samples: Sequence[Sample], folder: Path) -> None:
        self.samples, self._folder = samples, folder
        self._decoders = decoders(samples)
        self._contents: dict[Path, bytes] = {}
        for sample in samples:
            if sample.path not in self._contents:
                try:
                    self._contents[sample.path] = content_sha256(sample.path)
                except OSError as error:
                    raise BadDataset(f"cannot read {sample.path}: {error.strerror}") from error
            if sample.annotation is not None and sample.annotation.path not in self._contents:
                with contextlib.suppress(OSError):
                    self._contents[sample.annotation.path] = content_sha256(sample.annotation.path)

    def key(self, policies: Iterable[FaceBoxes], settings: object) -> str:
        """A digest of all that determines pixels: content, frames, boxes, decoders, and the detector if used.

        Args:
            policies: where face boxes come from
            settings: of the crops, in types that JSON has
        """
        wanted = sorted(set(policies))
        searched = any(needs_detector(policy, self.samples) for policy in wanted)
        about = [
            self._decoders,
            detector_name(self.samples[0].detector) if searched else "",
            wanted,
            settings,
        ]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        for sample in self.samples:
            row: list[object] = [sample.frame, sample.spread, sample.rotate_deg, sample.box]
            row += [sample.plane] if sample.plane else []
            digest.update(self._contents[sample.path])
            if sample.annotation is not None:
                row.append(sample.annotation.format)
                digest.update(self._contents.get(sample.annotation.path, b""))
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()

    def acquire(
        self, file: Sequence[int], policies: Iterable[FaceBoxes], spent: Timings
    ) -> Iterator[Acquired]:
        """Frames and faces of samples of one file, in the file's order.

        At most two frames are in memory, the last one and the next.

        Args:
            file: indexes of the samples
            policies: where face boxes come from
            spent: the time it takes is added here
        """
        clock = time.perf_counter_ns
        samples = [self.samples[index] for index in file]
        finder = FaceFinder()
        if any(needs_detector(policy, samples) for policy in policies):
            about = [self._contents[samples[0].path].hex(), str(samples[0].rotate_deg)]
            about += [*decoders(samples), detector_name(samples[0].detector)]
            finder = FaceFinder(Detections.kept(self._folder, about))
        frames = read_frames(samples)
        while True:
            began = clock()
            numbered = next(frames, None)
            spent.decode_ns += clock() - began
            if numbered is None:
                break
            row, frame = numbered
            faces: dict[FaceBoxes, Face] = {}
            began = clock()
            if not isinstance(frame, str):
                faces = {policy: finder.face(policy, samples[row], frame) for policy in policies}
            spent.faces_ns += clock() - began
            yield Acquired(file[row], frame, faces)
        finder.save()


@dataclass(frozen=True)
class Prepared:
    """Crops on disk.

    Attributes:
        path: a .npy of uint8 [samples, height, width, channels], in the order of the samples
        failures: index -> reason for every frame that could not be read or has no face; its row is zero and
            its score must be NaN
        at_border: indexes of the frames whose crop at its full size leaves the frame
        timings: of the call that wrote the file, shared by all that it wrote; None where the file was there
            already
    """

    path: Path
    failures: Mapping[int, str]
    at_border: frozenset[int] = frozenset()
    timings: Timings | None = field(default=None, compare=False)

    def crops(self) -> NDArray[np.uint8]:
        """The rows, mapped from disk without being read."""
        rows: NDArray[np.uint8] = np.load(self.path, mmap_mode="r")
        return rows


def prepare(
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    out: Path,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """`prepare_all` for one geometry."""
    (prepared,) = prepare_all(samples, [preprocessing], out, processes, progress)
    return prepared


def prepare_all(
    samples: Sequence[Sample],
    preprocessings: Sequence[Preprocessing],
    out: Path,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Prepared]:
    """Crop every sample for several geometries at once: each file is decoded once for all of them.

    Files that exist are not written again: a second call with equal content reads nothing but the files'
    digests. A file's name is a digest of content, frames, boxes, geometry and the versions of decoders and
    detector; mean, std and scale do not matter because the rows are uint8. Faces are kept by content too, in
    `out`/faces.

    Frames that cannot be read and frames without a face are reported in `failures`, never dropped.

    Args:
        samples: frames to crop
        preprocessings: the geometries
        out: the folder
        processes: threads that work at the same time, each on one file with at most two frames in memory
            (Pillow, OpenCV and dlib release the interpreter lock), so that memory does not grow with the
            dataset
        progress: is called with (done, all) samples

    Returns:
        The crops of each geometry, in their order.

    Raises:
        BadDataset: a file does not exist
        MissingPackage: OpenCV or dlib is needed and not installed
        EnvironmentFailed: the folder cannot be written, or the disk is full
    """
    began = time.perf_counter_ns()
    sources = Sources(samples, out / "faces")
    paths = [out / f"crops-{_key(sources, preprocessing)}.npy" for preprocessing in preprocessings]
    entries = {path: kept(_found_path(path)) for path in paths}
    missing = {
        path: preprocessing
        for path, preprocessing in zip(paths, preprocessings, strict=True)
        if entries[path] is None
    }
    timings = Timings(threads=max(processes, 1))
    if missing:
        try:
            out.mkdir(parents=True, exist_ok=True)
            entries |= _write_crops(sources, missing, timings, progress)
        except OSError as error:
            raise disk_failure(error, next(iter(missing))) from error
    timings.wall_ns = time.perf_counter_ns() - began
    return [_prepared(path, entries[path] or {}, timings if path in missing else None) for path in paths]


_PIXELS: Final = 2
"""Raised when the same card gives other pixels than before: crops of an earlier version are not used."""


def _key(sources: Sources, preprocessing: Preprocessing) -> str:
    geometry = preprocessing.model_dump(exclude={"scale", "mean", "std"})
    return sources.key([preprocessing.face_box], [_PIXELS, geometry])[:24]


def _found_path(path: Path) -> Path:
    return path.with_suffix(".found.json")


def _prepared(path: Path, found: Mapping[str, Any], timings: Timings | None) -> Prepared:
    failures = {int(row): reason for row, reason in found["failures"].items()}
    return Prepared(path, failures, frozenset(found["at_border"]), timings)


def _write_crops(
    sources: Sources,
    geometries: Mapping[Path, Preprocessing],
    timings: Timings,
    progress: Callable[[int, int], None] | None,
) -> dict[Path, dict[str, Any]]:
    """Write the crops of every sample for every wanted file, and add the time it takes to `timings`.

    Returns:
        What is kept beside each file: its failures, and the crops that leave the frame.
    """
    clock, lock = time.perf_counter_ns, threading.Lock()
    samples, policies = sources.samples, {preprocessing.face_box for preprocessing in geometries.values()}
    failures: dict[Path, dict[int, str]] = {path: {} for path in geometries}
    at_border: dict[Path, set[int]] = {path: set() for path in geometries}
    done = 0

    def crop_file(file: Sequence[int]) -> int:
        spent = Timings()
        for acquired in sources.acquire(file, policies, spent):
            for path, preprocessing in geometries.items():
                began = clock()
                crop, outside = _crop(acquired, preprocessing)
                spent.resize_ns += clock() - began
                with lock:
                    if outside:
                        at_border[path].add(acquired.index)
                    if isinstance(crop, str):
                        failures[path][acquired.index] = f"{samples[acquired.index].name}: {crop}"
                        crop = np.zeros(_row(preprocessing), np.uint8)
                    rows[path].seek(starts[path] + acquired.index * crop.nbytes)
                    rows[path].write(crop.data)
        with lock:
            timings.decode_ns += spent.decode_ns
            timings.faces_ns += spent.faces_ns
            timings.resize_ns += spent.resize_ns
        return len(file)

    # Written and not mapped: a full disk is an error here, where a map would end the process by a signal.
    with contextlib.ExitStack() as stack:
        rows = {path: stack.enter_context(whole_file(path)) for path in geometries}
        for path, preprocessing in geometries.items():
            shape = (len(samples), *_row(preprocessing))
            np.lib.format.write_array_header_1_0(
                rows[path], {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
        starts = {path: file.tell() for path, file in rows.items()}
        finished = stack.enter_context(
            contextlib.closing(side_by_side(crop_file, by_file(samples), timings.threads))
        )
        for count in finished:
            done += count
            if progress is not None:
                progress(done, len(samples))
    entries = {}
    for path, reasons in failures.items():
        entries[path] = {
            "failures": {str(index): reasons[index] for index in sorted(reasons)},
            "at_border": sorted(at_border[path]),
        }
        keep(_found_path(path), entries[path], [path])
    return entries


def _row(preprocessing: Preprocessing) -> tuple[int, int, int]:
    return preprocessing.height_px, preprocessing.width_px, preprocessing.channels


def _crop(acquired: Acquired, preprocessing: Preprocessing) -> tuple[NDArray[np.uint8] | str, bool]:
    """The crop, or why there is none, and whether it leaves the frame."""
    if isinstance(acquired.frame, str):
        return acquired.frame, False
    face, image = acquired.faces[preprocessing.face_box], acquired.frame.image
    if isinstance(face, str):
        return face, False
    try:
        crop = cropped(image, face, preprocessing)
    except NoCrop as error:
        return str(error), False
    return crop, leaves_frame(image.width, image.height, face, preprocessing)
