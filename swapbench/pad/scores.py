"""Scores and what is known about them: a table, its mean over frames, its canonical text and digest.

Scores rise with bona fide. A score of NaN is a failure to acquire. This module computes no error rate;
`swapbench.pad.score_files` reads and writes tables.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    Scores = NDArray[np.float64]
    Text = NDArray[np.object_]
    Codes = NDArray[np.intp]

SCORE_COLUMNS = ("presentation", "subject", "label", "species", "score")
LABEL_OF = {True: "bona_fide", False: "attack"}
_TEXTS = ("presentation", "subject", "species")
_COLUMNS = ("presentation", "subject", "is_bona_fide", "species", "score")
_CONTROL = re.compile("[\\x00-\\x1f\\x7f\\ud800-\\udfff]")
_ROWS_AT_ONCE = 65536


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores and what is known about each: five read-only arrays of one length.

    A presentation may have several rows (frames) until `mean_by_presentation` has made one of them.

    Attributes:
        presentation: names as str objects (not np.str_, which pads a million names to the longest of them)
        subject: who is shown or whose face was copied, as str objects
        is_bona_fide: False for an attack
        species: attack instrument species as str objects, empty for bona fide
        score: float64, NaN for a failure to acquire

    Raises:
        BadDataset: the columns differ in shape, a name is empty or not printable, an attack has no species or
            a bona fide row has one, or a score is infinite
    """

    presentation: Text
    subject: Text
    is_bona_fide: NDArray[np.bool_]
    species: Text
    score: Scores

    def __post_init__(self) -> None:
        for name in _TEXTS:
            self._own(name, np.asarray(getattr(self, name)).astype(np.object_))
        self._own("is_bona_fide", np.array(self.is_bona_fide, dtype=np.bool_))
        self._own("score", np.array(self.score, dtype=np.float64))
        shapes = {getattr(self, name).shape for name in _COLUMNS}
        if shapes != {(self.score.size,)}:
            raise BadDataset(
                f"the columns of a score table differ in shape: {sorted(shapes)}",
                remedy="Every row needs a value in each column.",
            )
        for name in _TEXTS:
            _check_text(name, getattr(self, name))
        if np.any((self.species == "") != self.is_bona_fide):
            raise BadDataset(
                "the species must be empty for bona fide and given for every attack",
                remedy="APCER is counted by species.",
            )
        if np.any(np.isinf(self.score)):
            raise BadDataset(
                f"{int(np.sum(np.isinf(self.score)))} scores are infinite",
                remedy="A score is a finite number, or NaN where none could be computed.",
            )

    def _own(self, name: str, array: NDArray[Any]) -> None:
        array.setflags(write=False)  # always a copy: nobody else can write to it either
        object.__setattr__(self, name, array)

    @classmethod
    def of(
        cls,
        presentation: Sequence[str],
        subject: Sequence[str],
        is_bona_fide: Sequence[bool],
        species: Sequence[str],
        score: ArrayLike,
    ) -> Scored:
        """The same from ordinary sequences."""
        return cls(
            np.array(presentation, dtype=np.object_),
            np.array(subject, dtype=np.object_),
            np.array(is_bona_fide, dtype=np.bool_),
            np.array(species, dtype=np.object_),
            np.array(score, dtype=np.float64),
        )

    def __len__(self) -> int:
        return self.score.size

    def rows(self, selection: NDArray[Any]) -> Scored:
        """The rows that an index or a mask selects."""
        rows = object.__new__(Scored)  # rows of a table that passed its checks need no second check
        for name in _COLUMNS:
            rows._own(name, getattr(self, name)[selection])
        return rows

    def with_scores(self, score: ArrayLike) -> Scored:
        """The same rows with other scores."""
        scores = np.array(score, dtype=np.float64)
        if scores.shape != self.score.shape or np.any(np.isinf(scores)):
            return Scored(self.presentation, self.subject, self.is_bona_fide, self.species, scores)  # refuses
        others = object.__new__(Scored)  # names that passed their checks need no second check
        others.__dict__.update(self.__dict__)
        others._own("score", scores)
        return others

    @property
    def acquired(self) -> Scored:
        """The rows that have a score."""
        return self.rows(~np.isnan(self.score)) if self.failures_to_acquire else self

    @property
    def failures_to_acquire(self) -> int:
        """How many rows have none."""
        return int(np.sum(np.isnan(self.score)))

    @property
    def bona_fide(self) -> Scores:
        """Scores of the bona fide rows, NaN included."""
        return self.score[self.is_bona_fide]

    @property
    def attacks(self) -> Scores:
        """Scores of the attacks of all species together, NaN included."""
        return self.score[~self.is_bona_fide]

    @property
    def attacks_by_species(self) -> dict[str, Scores]:
        """Species -> scores of its rows, NaN included, species in alphabetical order."""
        code, names = self.coded_species
        return {name: self.score[code == number] for number, name in enumerate(names) if name}

    @cached_property
    def coded_species(self) -> tuple[Codes, tuple[str, ...]]:
        """The number of each row's species in the sorted list of species (bona fide is ""), and that list."""
        return coded(self.species)


def coded(texts: Text) -> tuple[Codes, tuple[str, ...]]:
    """The number of every text in the alphabetical list of different texts, and that list.

    The same as np.unique with its inverse, by hashing: sorting a million objects takes seconds.
    """
    names = tuple(sorted(set(texts.tolist())))
    number_of = {name: number for number, name in enumerate(names)}
    return np.fromiter(map(number_of.__getitem__, texts.tolist()), np.intp, texts.size), names


def _check_text(name: str, column: Text) -> None:
    values = column.tolist()
    try:
        joined = "".join(values)
    except TypeError:
        raise BadDataset(f"a {name} is not text") from None
    if not joined.isprintable() and _CONTROL.search(joined):
        unprintable = next(text for text in values if _CONTROL.search(text))
        raise BadDataset(f"the {name} {unprintable!r} holds control characters or bytes that are not text")
    if name != "species" and np.any(column == ""):
        raise BadDataset(f"a score has no {name}")


@dataclass(frozen=True, eq=False)
class FoldFrames:
    """The scores of one fold of a protocol, frame by frame.

    Attributes:
        name: empty where there is only one fold
        dev: development scores
        test: test scores
        dev_frame: the number of each row's frame in its presentation, [rows of dev]
        test_frame: the same for test
    """

    name: str
    dev: Scored
    test: Scored
    dev_frame: NDArray[np.int64]
    test_frame: NDArray[np.int64]


def mean_by_presentation(frames: Scored) -> tuple[Scored, int]:
    """One row per presentation: the mean score of its frames.

    A frame without a score does not affect the mean of the others; a presentation without any is NaN, a
    failure to acquire. Presentations keep the order in which they first appear. Sums are rounded once
    (`math.fsum`), so that no mean, and no tie between two of them, depends on the order of the frames.

    Returns:
        The presentations, and the number of frames that had no score.

    Raises:
        BadDataset: the frames of a presentation disagree about subject, label or species
    """
    names = frames.presentation.tolist()
    number_of = {name: number for number, name in enumerate(dict.fromkeys(names))}
    unscored = frames.failures_to_acquire
    if len(number_of) == len(frames):
        return frames, unscored
    member = np.fromiter(map(number_of.__getitem__, names), np.intp, len(frames))
    first = np.empty(len(number_of), dtype=np.intp)
    first[member[::-1]] = np.arange(len(frames))[::-1]  # of several writes to an element the last one stays
    for name in ("subject", "is_bona_fide", "species"):
        column = getattr(frames, name)
        differing = np.flatnonzero(column != column[first][member])
        if differing.size:
            raise BadDataset(
                f"frames of presentation {names[differing[0]]} differ in {name}",
                remedy="Give different presentations different names.",
            )
    of_presentation: list[list[float]] = [[] for _ in range(first.size)]
    for number, score in zip(member.tolist(), frames.score.tolist(), strict=True):
        if not math.isnan(score):
            of_presentation[number].append(score)
    return frames.rows(first).with_scores([_mean(scores) for scores in of_presentation]), unscored


def _mean(scores: Sequence[float]) -> float:
    """The mean, the same for every order of the scores; NaN of none."""
    if not scores:
        return math.nan
    try:
        return math.fsum(scores) / len(scores)
    except OverflowError:  # of finite scores near the largest double
        return math.fsum(score / len(scores) for score in scores)


def scores_csv(scored: Scored) -> str:
    """The canonical text of scores: rows sorted, numbers in their shortest exact form.

    Its columns are `SCORE_COLUMNS`.
    """
    return "".join(_canonical_text(scored))


def scores_sha256(scored: Scored) -> str:
    """sha256 of the canonical text."""
    digest = hashlib.sha256()
    for text in _canonical_text(scored):
        digest.update(text.encode())
    return digest.hexdigest()


def _canonical_text(scored: Scored) -> Iterator[str]:
    names = scored.presentation.tolist()
    keys: Sequence[Any] = names if len(set(names)) == len(names) else list(_text_rows(scored))
    order = sorted(range(len(names)), key=keys.__getitem__)
    yield _csv_text([SCORE_COLUMNS])
    for start in range(0, len(names), _ROWS_AT_ONCE):
        rows = np.array(order[start : start + _ROWS_AT_ONCE], dtype=np.intp)
        yield _csv_text(_text_rows(scored.rows(rows)))


def _text_rows(scored: Scored) -> Iterator[tuple[str, str, str, str, str]]:
    return zip(
        scored.presentation.tolist(),
        scored.subject.tolist(),
        map(LABEL_OF.__getitem__, scored.is_bona_fide.tolist()),
        scored.species.tolist(),
        map(repr, scored.score.tolist()),
        strict=True,
    )


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
