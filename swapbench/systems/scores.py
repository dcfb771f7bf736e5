"""The scores of several files for the same frames of the same presentations, as one array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import BadDataset, UserError
from swapbench.pad.scores import coded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.pad.scores import FoldFrames, Scored

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class FrameScores:
    """What the members of a system say of one split.

    Attributes:
        of: one row per presentation; its scores mean nothing
        scores: [members, presentations, frames], frames in the order in which a camera delivers them; NaN
            behind the last frame of a presentation
        left_out: frames that some member has no score of, and which no member is therefore asked about
    """

    of: Scored
    scores: Floats
    left_out: int = 0

    @property
    def count(self) -> Ints:
        """How many frames each presentation has, [presentations]."""
        frames: Ints = np.sum(~np.isnan(self.scores[0]), axis=1)
        return frames

    def first(self, frames: int) -> FrameScores:
        """The same with at most so many frames of each presentation."""
        return FrameScores(self.of, self.scores[:, :, :frames], self.left_out)

    def members(self, places: Sequence[int]) -> FrameScores:
        """The same of some members."""
        return FrameScores(self.of, self.scores[list(places)], self.left_out)


@dataclass(frozen=True, eq=False)
class FoldMembers:
    """One fold: what the members say of both splits."""

    name: str
    dev: FrameScores
    test: FrameScores


def joined(names: Sequence[str], members: Sequence[Sequence[FoldFrames]]) -> tuple[FoldMembers, ...]:
    """The scores of several files, fold by fold.

    Args:
        names: of the files, for messages
        members: the folds of each

    Raises:
        BadDataset: folds, frames or labels differ, a fold has no development scores, or development frames
            of one fold are tested in another
    """
    folds = [{fold.name: fold for fold in one} for one in members]
    for name, one in zip(names, folds, strict=True):
        if one.keys() != folds[0].keys():
            raise BadDataset(
                f"{names[0]} and {name} were scored on different folds", remedy="Score both in one run."
            )
    result = []
    for fold in folds[0]:
        splits = {}
        for split in ("dev", "test"):
            tables = [(getattr(one[fold], split), getattr(one[fold], f"{split}_frame")) for one in folds]
            if split == "dev" and not len(tables[0][0]):
                raise BadDataset(
                    f"the scores of {names[0]} have no development split{f' in fold {fold}' if fold else ''}",
                    remedy="Weights, margins and thresholds are chosen on one: give data that have it.",
                )
            splits[split] = _joined_split(names, tables)
        result.append(FoldMembers(fold, splits["dev"], splits["test"]))
    _check_leaks(result)
    return tuple(result)


def check_probabilities(names: Sequence[str], folds: Sequence[FoldMembers]) -> None:
    """What a mean, a product or logits need: scores between 0 and 1.

    Raises:
        UserError: a file has others
    """
    for member, name in enumerate(names):
        for scores in (split.scores[member] for fold in folds for split in (fold.dev, fold.test)):
            if np.nanmin(scores, initial=0.0) < 0 or np.nanmax(scores, initial=0.0) > 1:
                raise UserError(
                    f"scores of {name} lie outside 0..1, so they are no probabilities to fuse",
                    remedy="Say in its card what its output means (docs/cards.md), or ask it in a cascade",
                )


def _check_leaks(folds: Sequence[FoldMembers]) -> None:
    """Margins are chosen on the development splits of all folds together."""
    tested = {name for fold in folds for name in fold.test.of.presentation.tolist()}
    for fold in folds:
        shared = tested.intersection(fold.dev.of.presentation.tolist())
        if shared:
            raise BadDataset(
                f"{len(shared)} development presentations{f' of fold {fold.name}' if fold.name else ''} are"
                f" tested too, among them {min(shared)}",
                remedy="Systems are chosen on all development splits at once: score one fold (--protocol).",
            )


def _joined_split(names: Sequence[str], tables: Sequence[tuple[Scored, NDArray[np.int64]]]) -> FrameScores:
    """Frames in the alphabetical order of their presentations, then by number, the same for all members."""
    first, frame = tables[0]
    order, number = _ordered(first, frame)
    size = np.bincount(number)
    start = np.cumsum(size) - size
    place = np.arange(len(order)) - np.repeat(start, size)
    again = (number[1:] == number[:-1]) & (frame[order][1:] == frame[order][:-1])
    if np.any(again):
        name = first.presentation[order][1:][again][0]
        raise BadDataset(f"{names[0]} has a frame of {name} twice", remedy="Score it again.")
    scores = np.full((len(names), size.size, int(size.max(initial=1))), np.nan)
    for member, (name, (table, numbers)) in enumerate(zip(names, tables, strict=True)):
        own = order if member == 0 else _ordered(table, numbers)[0]
        same = len(table) == len(first) and bool(
            np.all(table.presentation[own] == first.presentation[order])
            and np.all(numbers[own] == frame[order])
        )
        if not same:
            raise BadDataset(
                f"{names[0]} and {name} were scored on different frames", remedy="Score both in one run."
            )
        for column, words in (("is_bona_fide", "label"), ("species", "species"), ("subject", "subject")):
            if np.any(getattr(table, column)[own] != getattr(first, column)[order]):
                raise BadDataset(
                    f"{names[0]} and {name} disagree about the {words} of a presentation",
                    remedy="Score both in one run.",
                )
        scores[member, number, place] = table.score[own]
    return _complete(first.rows(order[start]), scores, len(first))


def _complete(of: Scored, scores: Floats, frames: int) -> FrameScores:
    """Without the frames that a member lacks; those that are left move up."""
    usable = ~np.isnan(scores).any(axis=0)
    scores = np.where(usable, scores, np.nan)
    order = np.argsort(~usable, axis=1, kind="stable")
    scores = np.take_along_axis(scores, order[None], axis=2)
    return FrameScores(of, scores, frames - int(usable.sum()))


def _ordered(table: Scored, frame: NDArray[np.int64]) -> tuple[Ints, Ints]:
    """Rows by presentation and frame, and the number of the presentation of each row in that order."""
    number, _ = coded(table.presentation)
    order = np.lexsort((frame, number))
    return order, number[order]
