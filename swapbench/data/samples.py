"""The nouns of a dataset: a presentation, a frame of it, and where its face box stands.

One presentation is one trial: a video or a still image of somebody, or of a copy of somebody, in front of a camera.
This module knows no file format and no pixels.
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
"""Endings of the names of files that are videos; every other file of a dataset is an image."""

AnnotationFormat = Literal["oulu", "replay", "msu", "celeba"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A file of a dataset's own that says where the face is, in that dataset's format. Read when the frame is."""

    path: Path
    format: AnnotationFormat


@dataclass(frozen=True, slots=True)
class Presentation:
    """A video or an image and what is known about it.

    name: unique in its dataset, the path relative to the dataset's folder with forward slashes; subject: unique over all
    datasets that are used together; species: attack instrument species, empty for bona fide; split: the dataset's own,
    empty where it has none; box: the face in an image where a manifest gives it; annotation: where else it stands;
    rotate_deg: 90, 180 or 270, how far a frame must be turned clockwise to be upright, instead of what the file itself says;
    0: as it says.
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

    def samples(self, frames_per_video: int, split: str) -> tuple[Sample, ...]:
        """The frames to be scored, as samples of `split`: an image itself, or so many frames spread evenly over a video."""
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
            )
            for frame in range(count)
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame of one presentation. `name` is its file as the dataset gives it; `box` is x, y, width, height in pixels.

    spread 0: `frame` is the number of the frame in the file, 0 in an image. spread n > 0: the file is a video and this is
    the frame-th of n spread evenly over its N frames, number floor((frame + 1/2) N / n): N is known once the video is open.
    presentation: equal for all frames of one trial, the file's name where a manifest does not say otherwise.
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

    @property
    def bona_fide(self) -> bool:
        """True for a living face in front of the camera."""
        return self.label == "bona_fide"
