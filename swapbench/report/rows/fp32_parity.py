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
from swapbench.records import Accuracy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.pad.score_files import ScoreFile
    from swapbench.pad.score_parity import ScoreParity
    from swapbench.records import Record


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
    """Every record compared with the fp32 record of its network in the same run, data, format and runtime.

    folders: record id -> the run folder that keeps its scores. Records without kept scores (older runs, runs
    without accuracy) and references themselves have none. Where the same runtime has no fp32 file, another
    one's serves.
    """
    read: dict[str, ScoreFile] = {}

    def scores(record: Record) -> ScoreFile | None:
        path = store.scores_path(folders[record.id], record.id)
        if record.id not in read and path.is_file():
            read[record.id] = read_score_file(path)
        return read.get(record.id)

    parities = []
    for record in records:
        reference = _reference(record, records)
        if reference is None or reference.id == record.id:
            continue
        ours, theirs = scores(record), scores(reference)
        if ours is None or theirs is None:
            continue
        try:
            compared = score_parity(theirs.folds, ours.folds)
        except BadDataset:  # scores of another protocol or another version of the data: nothing to compare
            continue
        parities.append(
            RowParity(
                record.run,
                record.id,
                record.variant.file_name,
                reference.id,
                reference.variant.file_name,
                compared,
            )
        )
    return tuple(parities)


def _reference(record: Record, records: Sequence[Record]) -> Record | None:
    if not isinstance(record.accuracy, Accuracy):
        return None
    alike = [
        other
        for other in records
        if other.variant.precision == "fp32"
        and (other.variant.net, other.variant.recipe) == (record.variant.net, record.variant.recipe)
        and isinstance(other.accuracy, Accuracy)
        and (other.accuracy.dataset_digest, other.accuracy.protocol)
        == (record.accuracy.dataset_digest, record.accuracy.protocol)
    ]
    if record.variant.precision == "fp32":
        return record
    near = [
        other
        for other in alike
        if other.runtime.runtime == record.runtime.runtime
        and other.runtime.settings.get("cores") == record.runtime.settings.get("cores")
        and other.run == record.run
    ]
    return next(iter(near or alike), None)
