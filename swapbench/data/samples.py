"""The nouns of a dataset: a presentation, a frame of it, and where its face box is found.

One presentation is one trial: a video or a still image of a person, or of a copy of one, in front of a
camera. This module knows no file format and no pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Label = Literal["bona_fide", "attack"]
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the upright frame."""

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""Suffixes of video files; every other file of a dataset is an image."""


STACK_SUFFIXES = frozenset({".hdf5", ".h5"})
"""Suffixes of HDF5 files that hold an array a frame."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A file of the dataset that says where the face is. It is read when the frame is.

    Attributes:
        path: the file
        format: name of a `layouts.corpus.FaceFormat`
    """

    path: Path
    format: str


@dataclass(frozen=True, slots=True)
class Detector:
    """What finds faces in frames of which the dataset does not say where they are.

    Attributes:
        kind: dlib's frontal face detector, or YuNet, which OpenCV runs
        weights: the file of a YuNet; None for dlib, whose weights are part of it
    """

    kind: Literal["dlib", "yunet"] = "dlib"
    weights: Path | None = None


DLIB = Detector()


@dataclass(frozen=True, slots=True)
class Presentation:
    """A video or an image and what is known about it.

    Attributes:
        name: unique in its dataset: the path relative to the dataset's folder, with forward slashes
        path: the file
        video: False for a still image
        subject: who is shown, or whose face was copied; unique over all datasets that are used together
        label: bona fide or attack
        species: attack instrument species, empty for bona fide
        domain: the conditions that differ between domains
        session: further conditions, free text
        device: the camera, free text
        split: the dataset's own, empty where it has none
        instrument: details of the attack instrument, free text
        box: the face in an image, where a manifest gives it
        annotation: the file that says where the face is otherwise
        rotate_deg: 90, 180 or 270: how far a frame must be turned clockwise to be upright, whatever the file
            itself says; 0: as the file says
        beside: files of other sensors of the same capture, in the same geometry, by modality (depth, nir)
    """

    name: str
    path: Path
    video: bool
    subject: str
    label: Label
    species: str = ""
    domain: str = ""
    session: str = ""
    device: str = ""
    split: str = ""
    instrument: str = ""
    box: Box | None = None
    annotation: Annotation | None = None
    rotate_deg: int = 0
    beside: tuple[tuple[str, Path], ...] = ()

    def samples(self, frames_per_video: int, split: str) -> tuple[Sample, ...]:
        """The frames to score, as samples of `split`: an image itself, or frames spread over a video."""
        count = frames_per_video if self.video else 1
        return tuple(
            Sample(
                name=self.name,
                path=self.path,
                frame=frame,
                subject=self.subject,
                label=self.label,
                species=self.species,
                domain=self.domain,
                session=self.session,
                device=self.device,
                split=split,
                instrument=self.instrument,
                box=self.box,
                presentation=self.name,
                spread=count if self.video else 0,
                annotation=self.annotation,
                rotate_deg=self.rotate_deg,
                beside=self.beside,
            )
            for frame in range(count)
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame of one presentation. Attributes that are not described here are those of `Presentation`.

    Attributes:
        name: the file as the dataset names it
        frame: with spread 0 the number of the frame in the file, 0 in an image
        box: the face in this frame, where a manifest gives it
        presentation: equal for all frames of one trial; the file's name unless a manifest says otherwise
        spread: n > 0 for a video: this is frame number `frame` of n that are spread evenly over its N frames,
            floor((frame + 1/2) N / n); N is known once the video is open
        detector: what finds the face where nothing says where it is
        plane: which plane of an array of several is meant, where the file is a stack of arrays
    """

    name: str
    path: Path
    frame: int
    subject: str
    label: Label
    species: str
    domain: str
    session: str
    device: str
    split: str
    instrument: str
    box: Box | None
    presentation: str
    spread: int = 0
    annotation: Annotation | None = None
    rotate_deg: int = 0
    detector: Detector = DLIB
    beside: tuple[tuple[str, Path], ...] = ()
    plane: int = 0

    @property
    def bona_fide(self) -> bool:
        """True for a living face in front of the camera."""
        return self.label == "bona_fide"
