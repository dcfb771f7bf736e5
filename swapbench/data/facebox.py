"""Where the face is in a frame: the dataset's own annotation, or a detector that works offline.

A box is x, y, width, height in pixels of the upright frame. The three policies are those of `records.Preprocessing.face_box`.
A frame in which nobody finds a face is a failure to acquire, with its reason; it is never cropped at random.

Boxes of different origin differ in what they enclose (dlib: brow to chin; eyes of OULU-NPU: see `box_of_eyes`), so
a network's crop scale fits best the kind of box that it was trained with.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from swapbench.errors import BadDataset, MissingPackage
from swapbench.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.data.frames import Frame
    from swapbench.data.samples import Annotation, AnnotationFormat, Box, Sample
    from swapbench.records import FaceBoxes

    Face = Box | None | str
    """A box, None for the whole frame, or in words why there is none."""

NEAREST_FRAMES = 5
"""A frame without a line of its own takes the line of a frame at most so far away: a fifth of a second."""

SEARCHED_SIDE_PX = 640
"""Frames are reduced to this longer side before the detector looks at them."""

_ANNOTATED_SIDE_PX = 224
"""CelebA-Spoof's boxes count in a frame of 224 x 224, whatever the image's size."""

_FIELDS: Mapping[AnnotationFormat, tuple[int, ...]] = {
    "oulu": (5,),
    "replay": (5,),
    "msu": (5, 9),
    "celeba": (4, 5),
}


def box_of_eyes(right: tuple[float, float], left: tuple[float, float]) -> Box:
    """The face box from both eye centres (x, y): 2.0 eye distances wide, from 0.7 above to 1.7 below the eyes' midpoint.

    The rule of bob.ip.facedetect for annotated eyes. With 63 mm between the pupils (Dodgson 2004) it is 126 x 151 mm, about
    from cheek to cheek and from the middle of the forehead to the chin. dlib's boxes have nearly the same longer side
    (2.3 to 2.7 eye distances on frontal faces).
    """
    distance = math.dist(right, left)
    x, y = (right[0] + left[0]) / 2, (right[1] + left[1]) / 2
    return x - distance, y - 0.7 * distance, 2.0 * distance, 2.4 * distance


@dataclass(frozen=True)
class Annotated:
    """An annotation file as read: frame number -> box, None where the dataset says that there is no face."""

    path: Path
    boxes: Mapping[int, Box | None]
    scaled: bool = False

    def at(self, number: int, frame_width_px: int, frame_height_px: int) -> Box | str:
        """The box for a frame, or why there is none.

        A frame without a line takes the nearest one within `NEAREST_FRAMES`, the earlier of two.
        """
        if self.scaled:
            number = 0
        nearest = min(self.boxes, key=lambda line: (abs(line - number), line))
        if abs(nearest - number) > NEAREST_FRAMES:
            return f"{self.path.name} has no line for frame {number} or within {NEAREST_FRAMES} frames of it"
        box = self.boxes[nearest]
        if box is None:
            return f"{self.path.name} says that there is no face in frame {nearest}"
        if not self.scaled:
            return box
        across, down = frame_width_px / _ANNOTATED_SIDE_PX, frame_height_px / _ANNOTATED_SIDE_PX
        return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def read_annotation(annotation: Annotation) -> Annotated:
    """Read an annotation file; fields may be separated by commas or spaces. A box without area says that there is no face.

    oulu: `frame,xR,yR,xL,yL`, the eyes' centres (the subject's right eye first); see `box_of_eyes`. Whether the first frame
    is 0 or 1 is not documented; one frame's motion is far below a box's accuracy.
    replay: `frame x y w h`, frames counted from 0.
    msu: `frame, left, top, right, bottom`, four more numbers for the eyes where the file has them. The boxes of clips that
    are stored upside down count in the upright frame: bob.db.msu_mfsd_mod turns the frames and takes the boxes as they are.
    celeba: one line `x y w h score` in a frame of 224 x 224.

    Raises BadDataset with file and line.
    """
    try:
        lines = annotation.path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadDataset(f"cannot read {annotation.path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadDataset(f"{annotation.path} is no text") from error
    boxes: dict[int, Box | None] = {}
    for row, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{annotation.path} line {row}"
            frame, box = _line(where, line.replace(",", " ").split(), annotation.format)
            boxes[frame] = box if box[2] > 0 and box[3] > 0 else None
    if not boxes:
        raise BadDataset(f"{annotation.path} is empty")
    return Annotated(annotation.path, boxes, scaled=annotation.format == "celeba")


def _line(where: str, texts: Sequence[str], form: AnnotationFormat) -> tuple[int, Box]:
    if len(texts) not in _FIELDS[form]:
        wanted = " or ".join(map(str, _FIELDS[form]))
        raise BadDataset(f"{where}: {len(texts)} numbers instead of {wanted}")
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        raise BadDataset(f"{where}: {' '.join(texts)[:80]!r} is not all numbers") from None
    if not all(abs(number) < 1e6 for number in numbers):
        raise BadDataset(f"{where}: {' '.join(texts)[:80]!r} holds a number that is no pixel")
    if form == "celeba":
        x, y, width, height = numbers[:4]
        return 0, (x, y, width, height)
    frame, a, b, c, d = numbers[:5]
    if frame < 0 or frame != int(frame):
        raise BadDataset(f"{where}: the frame number {texts[0]!r} is not a whole number from 0")
    if form == "oulu":
        return int(frame), box_of_eyes((a, b), (c, d))
    return int(frame), ((a, b, c - a, d - b) if form == "msu" else (a, b, c, d))


# ---------------------------------------------------------------------------------------------- the detector

_thread = threading.local()


def detector_name() -> str:
    """Name and version of the detector, part of what its boxes depend on. Raises MissingPackage without dlib."""
    return f"dlib {_dlib().__version__}"


def detect(image: Image.Image) -> Box | None:
    """The largest face that dlib's frontal face detector finds, or None.

    Histograms of oriented gradients with a linear classifier (King, Max-Margin Object Detection, arXiv 1502.00046), made
    for faces from 80 px. The frame is reduced to `SEARCHED_SIDE_PX` first; where nothing is found it is searched once more
    at twice that size, for faces from 40 px. The largest is taken because the face that is presented is the one in front.

    Raises MissingPackage without dlib.
    """
    # A detector keeps what it computed of its last image, so each thread has one of its own.
    if not hasattr(_thread, "detector"):
        _thread.detector = _dlib().get_frontal_face_detector()
    factor = max(*image.size, SEARCHED_SIDE_PX) / SEARCHED_SIDE_PX
    if factor > 1:
        size = (max(round(image.width / factor), 1), max(round(image.height / factor), 1))
        small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    else:
        small = image
    pixels = np.asarray(small)
    across, down = image.width / small.width, image.height / small.height
    for upsample in (0, 1):
        found = _thread.detector(pixels, upsample)
        if found:
            face = max(found, key=lambda one: one.area())
            return face.left() * across, face.top() * down, face.width() * across, face.height() * down
    return None


def _dlib() -> Any:
    try:
        import dlib
    except ImportError:
        missing = MissingPackage("dlib-bin", "finding faces where the dataset gives no box", "datasets")
        missing.remedy += ", or take whole frames: --faces frame"
        raise missing from None
    return dlib


def needs_detector(policy: FaceBoxes, samples: Sequence[Sample]) -> bool:
    """True where `policy` makes the detector look at a frame of these samples."""
    if policy == "given":
        return any(sample.box is None and sample.annotation is None for sample in samples)
    return policy == "detector"


@dataclass
class Detections:
    """What the detector finds in the frames of one file: kept on disk by the file's content, and looked for once.

    path: the JSON file that holds frame number -> box or null; see `kept`.
    """

    path: Path
    boxes: dict[int, Box | None] = field(default_factory=dict)
    saved: int = 0

    @classmethod
    def kept(cls, folder: Path, about: Sequence[str]) -> Detections:
        """What is kept in `folder` for the file, decoder and detector that `about` names; a damaged file counts as none."""
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
        path = folder / key[:2] / f"{key}.json"
        try:
            read = json.loads(path.read_bytes())
            boxes = {int(number): tuple(box) if box else None for number, box in read.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            boxes = {}
        return cls(path, boxes, len(boxes))

    def at(self, frame: Frame) -> Box | None:
        """The box in a frame, or None where no face is found."""
        if frame.number not in self.boxes:
            self.boxes[frame.number] = detect(frame.image)
        return self.boxes[frame.number]

    def save(self) -> None:
        """Write what is new."""
        if len(self.boxes) > self.saved:
            write_atomically(self.path, json.dumps(self.boxes) + "\n")
            self.saved = len(self.boxes)


@dataclass
class FaceFinder:
    """Finds the face in the frames of one file. Not to be shared between threads.

    detections: None where no policy that is asked for needs the detector.
    """

    detections: Detections | None = None
    annotated: dict[Annotation, Annotated | str] = field(default_factory=dict)

    def face(self, policy: FaceBoxes, sample: Sample, frame: Frame) -> Face:
        """The face box of a sample in its frame by a policy: a box, None for the whole frame, or why there is none."""
        if policy == "frame":
            return None
        if policy == "given" and sample.box is not None:
            box: Box | str = sample.box
        elif policy == "given" and sample.annotation is not None:
            box = self._annotated(sample.annotation, frame)
        else:
            box = self._detected(frame)
        return box if isinstance(box, str) else _inside(box, *frame.image.size)

    def save(self) -> None:
        """Keep what the detector found."""
        if self.detections is not None:
            self.detections.save()

    def _detected(self, frame: Frame) -> Box | str:
        assert self.detections is not None
        return self.detections.at(frame) or f"no face found by {detector_name()} in frame {frame.number}"

    def _annotated(self, annotation: Annotation, frame: Frame) -> Box | str:
        if annotation not in self.annotated:
            try:
                self.annotated[annotation] = read_annotation(annotation)
            except BadDataset as error:
                self.annotated[annotation] = str(error).replace(str(annotation.path), annotation.path.name)
        found = self.annotated[annotation]
        return found if isinstance(found, str) else found.at(frame.number, *frame.image.size)


def _inside(box: Box, frame_width_px: int, frame_height_px: int) -> Box | str:
    """The box, which may reach over the edge, or a reason where no part of it is in the frame."""
    x, y, width, height = box
    if x < frame_width_px and y < frame_height_px and x + width > 0 and y + height > 0:
        return box
    shown = ", ".join(f"{edge:g}" for edge in box)
    return f"the face box {shown} lies outside the frame of {frame_width_px}x{frame_height_px} px"
