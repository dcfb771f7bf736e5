"""How far each file's scores are from its network's fp32 file.

Read from the scores that a run kept beside its records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import store
from swapbench.errors import BadDataset
from swapbench.pad.score_files import read_score_file
from swapbench.pad.score_parity import score_parity
from swapbench.report.rows.comparable import SAME_DATA, conditions_of, differing
from swapbench.report.rows.references import FLOATS
from swapbench.report.rows.summary import present

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from swapbench.pad.score_files import ScoreFile
    from swapbench.pad.score_parity import ScoreParity
    from swapbench.records import Record
    from swapbench.report.rows.comparable import Conditions


@dataclass(frozen=True)
class RowParity:
    """One record of a run held against its reference; both named by their records.

    Ids are unique within a run only.
    """

    run: str
    record_id: str
    name: str
    reference_id: str
    reference: str
    found: ScoreParity

    def as_json(self) -> dict[str, object]:
        """Ids and score parity as parity.json holds them."""
        return {"record": self.record_id, "reference": self.reference_id, **self.found.as_json()}


def parities_of(records: Sequence[Record], folders: Mapping[str, Path]) -> tuple[RowParity, ...]:
    """Every record compared with the fp32 record of its network on the same data.

    That of the same run, runtime and cores, where there is one, and the fp16 record where there is none in
    fp32. References themselves have no parity, nor have records without kept scores (older runs, runs without
    accuracy).

    Args:
        records: of one run.
        folders: record id -> the run folder that keeps its scores.
    """
    read: dict[str, ScoreFile] = {}

    def scores(record: Record) -> ScoreFile | None:
        path = store.scores_path(folders[record.id], record.id)
        if record.id not in read and path.is_file():
            read[record.id] = read_score_file(path)
        return read.get(record.id)

    parities = []
    scored = [_Scored(record, conditions_of(record)) for record in records if present(record.accuracy)]
    references = [side for side in scored if side.record.variant.precision in FLOATS]
    for side in scored:
        reference = None if side.record.variant.precision == "fp32" else _reference(side, references)
        if reference is None:
            continue
        ours, theirs = scores(side.record), scores(reference)
        if ours is None or theirs is None:
            continue
        try:
            compared = score_parity(theirs.folds, ours.folds)
        except BadDataset:  # scores of another protocol or another version of the data: nothing to compare
            continue
        names = (side.record.run, side.record.id, side.record.title)
        parities.append(RowParity(*names, reference.id, reference.title, compared))
    return tuple(parities)


@dataclass(frozen=True, eq=False)
class _Scored:
    """A record with an accuracy."""

    record: Record
    conditions: Conditions


def _reference(side: _Scored, references: Iterable[_Scored]) -> Record | None:
    """The fp32 (or else fp16) record of the same network and data.

    Of the same run, runtime and cores where there is one; None where it is the record itself.
    """

    def nearness(other: _Scored) -> tuple[bool, bool]:
        ours, theirs = side.conditions, other.conditions
        alike = (ours.runtime, ours.cores) == (theirs.runtime, theirs.cores)
        return other.record.variant.precision == "fp32", alike and side.record.run == other.record.run

    variant = side.record.variant
    candidates = [
        other
        for other in references
        if (other.record.variant.net, other.record.variant.recipe) == (variant.net, variant.recipe)
        and not any(differing(side, other, SAME_DATA))
    ]
    nearest = max(candidates, key=nearness, default=None)
    itself = nearest is None or nearest.record.variant.precision == side.record.variant.precision
    return None if nearest is None or itself else nearest.record
