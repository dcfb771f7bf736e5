"""Names of frames, from which the video can be told: `a/b/frame_0012.jpg` is of `a/b`, `a_12.png` of `a`."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from swapbench.data.samples import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swapbench.pad.scores import Text

FRAMES_A_VIDEO = 3
"""From so many rows a video on, on average, names are taken for those of frames."""

_NUMBERED = re.compile(
    r"(.*?)[/\\_\-. ]*(?:frame|frm|fr|f|img|image)?[_\-. ]*\d+(\.[a-z0-9]{1,5})?", re.IGNORECASE
)


def videos_of(names: Text) -> Text:
    """What each name says without the number of a frame at its end; names of video files stay as they are."""
    return np.array([_video(name) for name in names.tolist()], dtype=np.object_)


def _video(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    if match is None or (match[2] or "").lower() in VIDEO_SUFFIXES:
        return name
    return match[1] or "frames without a name"


def frames_for_trials(names: Text, bona_fide: NDArray[np.bool_]) -> tuple[int, str] | None:
    """How many videos rows seem to be frames of, and the first of them; None where names tell nothing.

    They do where each name is there once, several videos of each class have `FRAMES_A_VIDEO` frames on
    average, and no video is of both classes: pictures that are merely numbered are one group a class.

    Args:
        names: of presentations, [rows]
        bona_fide: class of each, [rows]
    """
    if len(set(names.tolist())) < names.size:
        return None
    videos = videos_of(names)
    classes = set(zip(videos.tolist(), bona_fide.tolist(), strict=True))
    of_class = Counter(label for _, label in classes)
    if (
        len({video for video, _ in classes}) < len(classes)
        or min(of_class.values(), default=0) < 2
        or names.size < FRAMES_A_VIDEO * len(classes)
    ):
        return None
    return len(classes), str(videos[0])
