"""Where the face is in a frame: from the dataset's own annotation, or from a detector that works offline.

A box is x, y, width, height in pixels of the upright frame. The three policies are those of
`records.Preprocessing.face_box`. A frame in which no face is found is a failure to acquire, with its reason;
it is never cropped at random.

Boxes of different origin enclose different parts of a face (dlib: brow to chin; eyes of OULU-NPU: see
`layouts.oulu.box_of_eyes`), so a network's crop scale fits best the kind of box that it was trained with.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from swapbench.data.frames import is_video
from swapbench.data.layouts import face_format
from swapbench.data.samples import DLIB, Detector
from swapbench.errors import BadDataset, MissingPackage, UserError
from swapbench.files import content_of, file_sha256
from swapbench.kept import keep, kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.data.frames import Frame
    from swapbench.data.layouts import FaceFormat
    from swapbench.data.samples import Annotation, Box, Sample
    from swapbench.records import FaceBoxes

    Face = Box | None | str
    """A box, None for the whole frame, or in words why there is none."""

NEAREST_FRAMES = 5
"""A frame without a line of its own takes the line of a frame at most this far away: a fifth of a second."""

SEARCHED_SIDE_PX = 640
"""Frames are reduced to this longer side before the detector looks at them."""

_LARGEST_PX = 1e6


@dataclass(frozen=True)
class Annotated:
    """An annotation file as read.

    Attributes:
        path: the file
        boxes: frame number -> box; None where the dataset says that there is no face
        numbered: as in `FaceFormat`
        side_px: as in `FaceFormat`
    """

    path: Path
    boxes: Mapping[int, Box | None]
    numbered: bool = True
    side_px: int | None = None

    def at(self, number: int, frame_width_px: int, frame_height_px: int) -> Box | str:
        """The box for a frame in its pixels, or why there is none.

        A frame without a line takes the nearest one within `NEAREST_FRAMES`, the earlier of two.
        """
        if not self.numbered:
            number = 0
        nearest = min(self.boxes, key=lambda line: (abs(line - number), line))
        if abs(nearest - number) > NEAREST_FRAMES:
            return f"{self.path.name} has no line for frame {number} or within {NEAREST_FRAMES} frames of it"
        box = self.boxes[nearest]
        if box is None:
            return f"{self.path.name} says that there is no face in frame {nearest}"
        if self.side_px is None:
            return box
        across, down = frame_width_px / self.side_px, frame_height_px / self.side_px
        return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def read_annotation(annotation: Annotation) -> Annotated:
    """Read an annotation file in the format of its dataset.

    Raises:
        BadDataset: the file cannot be read, or a line does not have the format, with its number
    """
    try:
        lines = content_of(annotation.path).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise BadDataset(f"cannot read {annotation.path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadDataset(f"{annotation.path} is not a text file") from error
    form = face_format(annotation.format)
    boxes: dict[int, Box | None] = {}
    for row, line in enumerate(lines, start=1):
        if line.strip():
            frame, box = _frame_and_box(f"{annotation.path} line {row}", line.replace(",", " ").split(), form)
            boxes[frame] = box if box[2] > 0 and box[3] > 0 else None
    if not boxes:
        raise BadDataset(f"{annotation.path} is empty")
    return Annotated(annotation.path, boxes, form.numbered, form.side_px)


def _frame_and_box(where: str, fields: Sequence[str], form: FaceFormat) -> tuple[int, Box]:
    if len(fields) not in form.fields:
        raise BadDataset(f"{where}: {len(fields)} numbers instead of {' or '.join(map(str, form.fields))}")
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise BadDataset(f"{where}: {' '.join(fields)[:80]!r} is not all numbers") from None
    if not all(abs(number) < _LARGEST_PX for number in numbers):
        raise BadDataset(f"{where}: {' '.join(fields)[:80]!r} holds a number that is not a pixel coordinate")
    if not form.numbered:
        return 0, form.box(numbers)
    frame, *rest = numbers
    if frame < 0 or frame != int(frame):
        raise BadDataset(f"{where}: the frame number {fields[0]!r} is not a non-negative integer")
    return int(frame), form.box(rest)


# --------------------------------------------------------------------------------------------- the detectors

_thread = threading.local()


def detector_of(text: str) -> Detector:
    """The detector of an option: `dlib`, or `yunet=FILE`.

    Raises:
        UserError: it is written otherwise, or the file is no YuNet that OpenCV reads
        MissingPackage: the package that runs it is not installed
    """
    kind, _, file = text.partition("=")
    if kind == "dlib" and not file:
        return DLIB
    if kind != "yunet" or not file:
        raise UserError(
            f"--detector {text!r} is not a detector",
            remedy="Use dlib, or yunet=FILE.onnx with the face_detection_yunet of OpenCV's model zoo.",
        )
    detector = Detector("yunet", Path(file))
    yunet(Image.new("RGB", (64, 64)), detector)
    return detector


def detector_name(detector: Detector = DLIB) -> str:
    """Name, version and weights of a detector, on which its boxes depend.

    Raises:
        MissingPackage: its package is not installed.
    """
    if detector.weights is None:
        return f"dlib {_dlib().__version__}"
    return f"YuNet of OpenCV {_cv2().__version__}, {detector.weights.name} {_digest(detector.weights)[:12]}"


def found_by(detector: Detector, image: Image.Image) -> Box | None:
    """The largest face that a detector finds, or None; MissingPackage where its package is not installed.

    The largest one is taken because the face that is presented is the one in front.
    """
    return detect(image) if detector.weights is None else yunet(image, detector)


def yunet(image: Image.Image, detector: Detector) -> Box | None:
    """The largest face that YuNet finds at OpenCV's own thresholds, or None.

    YuNet (Wu, Peng and Yu, YuNet: a tiny millisecond-level face detector, Machine Intelligence Research 2023)
    is a network of 75,000 parameters. The frame is reduced to `SEARCHED_SIDE_PX` first, as for dlib.

    Raises:
        MissingPackage: OpenCV is not installed
        UserError: OpenCV does not read the weights
    """
    cv2, key = _cv2(), str(detector.weights)
    small, across, down = _reduced(image)
    networks = _thread.__dict__.setdefault("networks", {})  # each thread has networks of its own, as for dlib
    try:
        if key not in networks:
            networks[key] = cv2.FaceDetectorYN.create(key, "", small.size)
        networks[key].setInputSize(small.size)
        _, faces = networks[key].detect(np.ascontiguousarray(np.asarray(small)[:, :, ::-1]))
    except cv2.error as error:
        raise UserError(
            f"OpenCV {cv2.__version__} does not read {key} as a YuNet: {' '.join(str(error).split())[:200]}",
            remedy="Take the face_detection_yunet of OpenCV's model zoo that belongs to this version.",
        ) from error
    if faces is None or not len(faces):
        return None
    x, y, width, height = max((face[:4].tolist() for face in faces), key=lambda box: box[2] * box[3])
    return x * across, y * down, width * across, height * down


def _reduced(image: Image.Image) -> tuple[Image.Image, float, float]:
    """The frame at a longer side of `SEARCHED_SIDE_PX` at most, and what its pixels are across and down."""
    factor = max(*image.size, SEARCHED_SIDE_PX) / SEARCHED_SIDE_PX
    if factor == 1:
        return image, 1.0, 1.0
    size = (max(round(image.width / factor), 1), max(round(image.height / factor), 1))
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return small, image.width / small.width, image.height / small.height


@functools.cache
def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}",
            remedy="Name the weights of YuNet: --detector yunet=FILE.",
        ) from error


def _cv2() -> Any:
    try:
        import cv2
    except ImportError:
        raise MissingPackage("opencv-python-headless", "finding faces with YuNet", "datasets") from None
    return cv2


def detect(image: Image.Image) -> Box | None:
    """The largest face that dlib's frontal face detector finds, or None.

    Histograms of oriented gradients with a linear classifier (King, Max-Margin Object Detection, arXiv
    1502.00046), made for faces from 80 px. The frame is reduced to `SEARCHED_SIDE_PX` first; where nothing is
    found it is searched once more at twice that size, for faces from 40 px.

    Raises:
        MissingPackage: dlib is not installed
    """
    # A detector keeps what it computed of its last image, so each thread has one of its own.
    if not hasattr(_thread, "detector"):
        _thread.detector = _dlib().get_frontal_face_detector()
    small, across, down = _reduced(image)
    pixels = np.asarray(small)
    for upsample in (0, 1):
        faces = _thread.detector(pixels, upsample)
        if faces:
            face = max(faces, key=lambda face: face.area())
            return face.left() * across, face.top() * down, face.width() * across, face.height() * down
    return None


def _dlib() -> Any:
    try:
        import dlib
    except ImportError:
        missing = MissingPackage("dlib-bin", "finding faces where the dataset gives no box", "datasets")
        missing.remedy += ", or use another detector: --detector yunet=FILE, or whole frames: --faces frame"
        raise missing from None
    return dlib


def needs_detector(policy: FaceBoxes, samples: Sequence[Sample]) -> bool:
    """True where `policy` makes the detector look at a frame of these samples."""
    if policy == "given":
        return any(sample.box is None and sample.annotation is None for sample in samples)
    return policy == "detector"


@dataclass
class Detections:
    """What the detector finds in the frames of one file: kept on disk by the file's content, computed once.

    Attributes:
        path: the JSON file that holds frame number -> box or null; see `kept`
        boxes: frame number -> box; None where there is no face
        saved: how many of them are on disk
    """

    path: Path
    boxes: dict[int, Box | None] = field(default_factory=dict)
    saved: int = 0

    @classmethod
    def kept(cls, folder: Path, about: Sequence[str]) -> Detections:
        """What was found before; a file that is not as it was kept counts as none.

        Args:
            folder: where found faces are kept
            about: digest of the file, its decoder and the detector
        """
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
        path = folder / key[:2] / f"{key}.json"
        content = kept(path) or {"boxes": {}}
        boxes = {int(number): tuple(box) if box else None for number, box in content["boxes"].items()}
        return cls(path, boxes, len(boxes))

    def at(self, frame: Frame, detector: Detector = DLIB) -> Box | None:
        """The box in a frame, or None where no face is found."""
        if frame.number not in self.boxes:
            self.boxes[frame.number] = found_by(detector, frame.image)
        return self.boxes[frame.number]

    def save(self) -> None:
        """Write what is new."""
        if len(self.boxes) > self.saved:
            keep(self.path, {"boxes": {str(number): box for number, box in self.boxes.items()}})
            self.saved = len(self.boxes)


@dataclass
class FaceFinder:
    """Finds the face in the frames of one file. Not to be shared between threads.

    Attributes:
        detections: None where no policy that is asked for needs the detector
        annotated: annotation files read so far, or why they cannot be read
    """

    detections: Detections | None = None
    annotated: dict[Annotation, Annotated | str] = field(default_factory=dict)

    def face(self, policy: FaceBoxes, sample: Sample, frame: Frame) -> Face:
        """A sample's face box in its frame by a policy; None for the whole frame, or why there is none."""
        if policy == "frame":
            return None
        if policy == "given" and sample.box is not None:
            box: Box | str = sample.box
        elif policy == "given" and sample.annotation is not None:
            box = self._annotated(sample.annotation, frame)
        else:
            box = self._detected(sample, frame)
        return box if isinstance(box, str) else _inside(box, *frame.image.size)

    def save(self) -> None:
        """Keep what the detector found."""
        if self.detections is not None:
            self.detections.save()

    def _detected(self, sample: Sample, frame: Frame) -> Box | str:
        assert self.detections is not None
        where = f" in frame {frame.number}" if is_video(sample) else ""
        found = self.detections.at(frame, sample.detector)
        return found or f"no face found by {detector_name(sample.detector)}{where}"

    def _annotated(self, annotation: Annotation, frame: Frame) -> Box | str:
        if annotation not in self.annotated:
            try:
                self.annotated[annotation] = read_annotation(annotation)
            except BadDataset as error:
                self.annotated[annotation] = str(error).replace(str(annotation.path), annotation.path.name)
        annotated = self.annotated[annotation]
        return annotated if isinstance(annotated, str) else annotated.at(frame.number, *frame.image.size)


def _inside(box: Box, frame_width_px: int, frame_height_px: int) -> Box | str:
    """The box, which may reach over the edge, or a reason where no part of it is in the frame."""
    x, y, width, height = box
    if x < frame_width_px and y < frame_height_px and x + width > 0 and y + height > 0:
        return box
    shown = ", ".join(f"{edge:g}" for edge in box)
    return f"the face box {shown} lies outside the frame of {frame_width_px}x{frame_height_px} px"
