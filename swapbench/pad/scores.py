"""Scores with what is known about each: a table in memory, its mean over frames, its file and its digest.

Scores rise with bona fide. A score that is NaN is a failure to acquire. This module computes no error rate.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.errors import BadDataset, NotValid
from swapbench.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.records import OutputMeaning

    Scores = NDArray[np.float64]

SCORE_COLUMNS = ("presentation", "subject", "label", "species", "score")
_LABELS = {"bona_fide": True, "attack": False}
_KINDS: Mapping[str, Any] = {
    "presentation": np.str_,
    "subject": np.str_,
    "is_bona_fide": np.bool_,
    "species": np.str_,
    "score": np.float64,
}
_CONTROL = re.compile("[\\x00-\\x1f\\x7f\\ud800-\\udfff]")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores and what is known about each: five arrays of one length, read-only.

    presentation, subject, species: text; is_bona_fide: bool; score: float64, NaN = failure to acquire.
    The species of a bona fide row is empty. A presentation may have several rows (frames) until
    `mean_by_presentation` has made one of them. Raises BadDataset for rows that mean nothing.
    """

    presentation: NDArray[np.str_]
    subject: NDArray[np.str_]
    is_bona_fide: NDArray[np.bool_]
    species: NDArray[np.str_]
    score: Scores

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            own = np.array(vars(self)[name], dtype=kind)  # a copy: nobody else can write to it
            own.setflags(write=False)
            object.__setattr__(self, name, own)
        shapes = {array.shape for array in vars(self).values()}
        if shapes != {(self.score.size,)}:
            raise BadDataset(f"the columns of a score table differ in shape: {sorted(shapes)}")
        for name in ("presentation", "subject"):
            if np.any(vars(self)[name] == ""):
                raise BadDataset(f"a score without a {name}")
        for name in ("presentation", "subject", "species"):
            odd = next((text for text in vars(self)[name].tolist() if _CONTROL.search(text)), None)
            if odd is not None:
                raise BadDataset(f"the {name} {odd!r} holds control characters or bytes that are no text")
        if np.any((self.species == "") != self.is_bona_fide):
            raise BadDataset(
                "species must be empty for bona fide and named for every attack",
                remedy="APCER is counted by species.",
            )
        if np.any(np.isinf(self.score)):
            raise BadDataset(
                f"{int(np.sum(np.isinf(self.score)))} scores are infinite",
                remedy="A score is a finite number, or NaN where none could be computed.",
            )

    @classmethod
    def of(
        cls,
        presentation: Sequence[str],
        subject: Sequence[str],
        is_bona_fide: Sequence[bool],
        species: Sequence[str],
        score: Sequence[float],
    ) -> Scored:
        """The same from ordinary sequences."""
        given = (presentation, subject, is_bona_fide, species, score)
        return cls(
            *(np.asarray(column, dtype=kind) for column, kind in zip(given, _KINDS.values(), strict=True))
        )

    def __len__(self) -> int:
        return self.score.size

    def rows(self, chosen: NDArray[Any]) -> Scored:
        """The rows that an index or a mask chooses."""
        return Scored(*(array[chosen] for array in vars(self).values()))

    @property
    def acquired(self) -> Scored:
        """The rows that have a score."""
        return self.rows(~np.isnan(self.score))

    @property
    def failures_to_acquire(self) -> int:
        """How many rows have none."""
        return int(np.sum(np.isnan(self.score)))

    @property
    def bona_fide(self) -> Scores:
        """Scores of the bona fide rows, NaN included."""
        return self.score[self.is_bona_fide]

    @property
    def attacks_by_species(self) -> dict[str, Scores]:
        """Species -> scores of its rows, NaN included, species in alphabetical order."""
        names = np.unique(self.species[~self.is_bona_fide])
        return {str(name): self.score[self.species == name] for name in names}


def mean_by_presentation(frames: Scored) -> tuple[Scored, int]:
    """One row a presentation: the mean score of its frames, and the number of frames that had none.

    A frame without a score does not touch the mean of the others; a presentation without any is NaN, a failure to
    acquire. Presentations keep the order in which they first appear. Raises BadDataset where the frames of one
    presentation disagree about subject, label or species.
    """
    _, first, member = np.unique(frames.presentation, return_index=True, return_inverse=True)
    for name in ("subject", "is_bona_fide", "species"):
        column = vars(frames)[name]
        wrong = np.flatnonzero(column != column[first][member])
        if wrong.size:
            raise BadDataset(f"frames of presentation {frames.presentation[wrong[0]]} differ in {name}")
    known = ~np.isnan(frames.score)
    total = np.bincount(member[known], weights=frames.score[known], minlength=first.size)
    count = np.bincount(member[known], minlength=first.size)
    mean = np.divide(total, count, out=np.full(first.size, np.nan), where=count > 0)
    order = np.argsort(first)
    shown = first[order]
    presentations = Scored(
        frames.presentation[shown],
        frames.subject[shown],
        frames.is_bona_fide[shown],
        frames.species[shown],
        mean[order],
    )
    return presentations, frames.failures_to_acquire


def scores_csv(scored: Scored) -> str:
    """The canonical text of scores: `presentation,subject,label,species,score`, rows sorted, the shortest exact numbers."""
    rows = zip(*(array.tolist() for array in vars(scored).values()), strict=True)
    lines = sorted(
        (str(presentation), str(subject), "bona_fide" if real else "attack", str(species), repr(float(score)))
        for presentation, subject, real, species, score in rows
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    writer.writerows(lines)
    return text.getvalue()


def scores_sha256(scored: Scored) -> str:
    """sha256 of the canonical text, which is the sha256 of the file that `write_scores` writes."""
    return hashlib.sha256(scores_csv(scored).encode()).hexdigest()


def write_scores(path: Path, scored: Scored) -> str:
    """Write the canonical text to `path`, whole or not at all; returns its sha256."""
    content = scores_csv(scored).encode()
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def read_scores(path: Path) -> Scored:
    """Scores from a file in the canonical form; rows may stand in any order. Raises BadDataset with file and line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if tuple(header) != SCORE_COLUMNS:
                raise BadDataset(
                    f"{path} is no score file: its first line is {','.join(header)[:80]!r}",
                    remedy=f"Expected: {','.join(SCORE_COLUMNS)}",
                )
            rows = [_score_row(f"{path} line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadDataset(f"cannot read the scores {path}: {error}") from error
    columns = zip(*rows, strict=True) if rows else [()] * 5
    return Scored.of(*columns)


def _score_row(where: str, row: Sequence[str]) -> tuple[str, str, bool, str, float]:
    if len(row) != len(SCORE_COLUMNS):
        raise BadDataset(f"{where}: {len(row)} fields instead of {len(SCORE_COLUMNS)}")
    presentation, subject, label, species, text = row
    if label not in _LABELS:
        raise BadDataset(f"{where}: unknown label {label!r}", remedy="Use bona_fide or attack.")
    try:
        score = float(text)
    except ValueError:
        raise BadDataset(
            f"{where}: the score {text!r} is no number", remedy="Use nan where there is none."
        ) from None
    return presentation, subject, _LABELS[label], species, score


def bona_fide_scores(rows: Sequence[Sequence[float]], meaning: OutputMeaning) -> Scores:
    """One score a sample, rising with bona fide, from a network's raw outputs and what its card says they mean.

    logits: the softmax probability of the bona fide class; probabilities: that entry; score: the number itself.
    Raises BadDataset where the outputs do not have the shape that the card says, and NotValid where a network answers
    with numbers that are not finite: that is its failure, and must not pass for a face that was not found.
    """
    outputs = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    if outputs.shape[1] <= meaning.bona_fide_index or (meaning.kind == "score" and outputs.shape[1] != 1):
        raise BadDataset(
            f"the network gives {outputs.shape[1]} numbers an image, its card reads {meaning.kind}"
            f" with bona fide at {meaning.bona_fide_index}",
            remedy="Correct the output section of the model card.",
        )
    broken = int(np.sum(~np.isfinite(outputs).all(axis=1)))
    if broken:
        raise NotValid(
            f"the network answers {broken} of {len(rows)} images with NaN or infinity",
            remedy="Look for overflow in its precision (fp16 ends at 65504), or for inputs in another range.",
        )
    if meaning.kind == "logits":
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs = shifted / shifted.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(outputs[:, meaning.bona_fide_index])
