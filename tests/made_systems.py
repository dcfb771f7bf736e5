"""Members of a system by hand: scores of files for the same frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.scores import FoldFrames, Scored
from swapbench.records import Member, System
from swapbench.systems.scores import FoldMembers, joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def split(name: str, classes: Mapping[str, Sequence[Sequence[float]]]) -> tuple[Scored, np.ndarray]:
    """Frames of presentations: class ("" is bona fide) -> presentations -> scores; each of another person."""
    rows = [
        (f"{name}/{species or 'live'}/{number}", species, frame, score)
        for species, presentations in classes.items()
        for number, frames in enumerate(presentations)
        for frame, score in enumerate(frames)
    ]
    scored = Scored.of(
        [row[0] for row in rows],
        [f"person of {row[0]}" for row in rows],
        [not row[1] for row in rows],
        [row[1] for row in rows],
        [row[3] for row in rows],
    )
    return scored, np.array([row[2] for row in rows], dtype=np.int64)


def fold(
    dev: Mapping[str, Sequence[Sequence[float]]],
    test: Mapping[str, Sequence[Sequence[float]]],
    name: str = "",
) -> FoldFrames:
    """One fold of one file."""
    (dev_scores, dev_frame), (test_scores, test_frame) = split(f"dev{name}", dev), split(f"test{name}", test)
    return FoldFrames(name, dev_scores, test_scores, dev_frame, test_frame)


def members(*folds: FoldFrames) -> tuple[FoldMembers, ...]:
    """Files with one fold each, as the members of a system."""
    return joined([f"file {number}" for number in range(len(folds))], [[one] for one in folds])


def system(rule: str = "mean", count: int = 2, **more: object) -> System:
    """A system of some files."""
    files = tuple(Member(file=f"file-{number}.onnx") for number in range(count))
    return System(**({"name": "made", "rule": rule, "members": files} | more))  # type: ignore[arg-type]


# threshold of the small file .6 and of the large one .7, both without an error on development
SMALL_DEV = {"": [[0.9], [0.6]], "print": [[0.4], [0.1]]}
LARGE_DEV = {"": [[0.8], [0.7]], "print": [[0.3], [0.2]]}
# at their thresholds the small one rejects the second live and accepts the first print
SMALL_TEST = {"": [[0.9], [0.5]], "print": [[0.65], [0.1]]}
LARGE_TEST = {"": [[0.9], [0.8]], "print": [[0.1], [0.2]]}
SMALL, LARGE = fold(SMALL_DEV, SMALL_TEST), fold(LARGE_DEV, LARGE_TEST)
