"""What is known of the error rates of a pair: its scores by presentation, or else its records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import store
from swapbench.errors import BadDataset
from swapbench.gate import comparison, error_rates
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.gate.error_rates import RateEvidence
    from swapbench.pad.metrics import FoldScores
    from swapbench.pad.paired_errors import PairedCounts
    from swapbench.records import Accuracy, Record


@dataclass(frozen=True)
class ScoredFile:
    """What a file scored: its error rates or why there are none, and the scores of its presentations."""

    accuracy: Accuracy | Absent
    folds: tuple[FoldScores, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What is known of the error rates of one model.

    Attributes:
        rates: By name of the check; empty where the two must not be compared.
        counts: Of presentations that both sides scored; None where only the records are known.
        unpaired: Why only the records are known, "" where that is not so.
    """

    rates: Mapping[str, RateEvidence]
    counts: PairedCounts | None = None
    unpaired: str = ""

    def notes(self, model: str) -> list[str]:
        """Remarks for the reader."""
        if self.unpaired:
            return [f"{model}: error rates are compared by the intervals of their records: {self.unpaired}"]
        if self.counts is not None and self.counts.unmatched:
            left_out = f"{self.counts.unmatched} presentations lack a score on either side"
            return [f"{model}: {left_out} and are left out of the comparison of error rates"]
        return []


def evidence(
    old: Record, new: Record, folds: tuple[Sequence[FoldScores], Sequence[FoldScores]], seed: int
) -> Evidence:
    """The evidence of two records.

    Args:
        old: Of the baseline.
        new: Of the candidate.
        folds: The scores that either record rests on; empty where they are not known.
        seed: Of random exchanges, where all would be too many.
    """
    of_records = comparison.evidence_of(old, new)
    if not of_records or comparison.differences(old, new):
        return Evidence({})
    if not all(folds):
        return Evidence(of_records, unpaired="the scores of their presentations were not kept")
    from swapbench.pad.matching import frozen_thresholds
    from swapbench.pad.paired_errors import paired_counts

    thresholds = (frozen_thresholds(old.accuracy, folds[0]), frozen_thresholds(new.accuracy, folds[1]))
    if any(set(of_side) != {fold.name for fold in folds[0]} for of_side in thresholds):
        return Evidence(of_records, unpaired="the scores that were kept are of other folds")
    try:
        counts = paired_counts(*folds, thresholds)
    except BadDataset as error:
        return Evidence(of_records, unpaired=error.args[0])
    return Evidence(error_rates.of_counts(counts, seed), counts)


def kept_scores(run: Path, records: Sequence[Record]) -> dict[tuple[str, str], Path]:
    """Where a run folder keeps the scores of its records, by run and id."""
    paths = {(record.run, record.id): store.scores_path(run, record.id) for record in records}
    return {key: path for key, path in paths.items() if path.is_file()}


def kept_folds(kept: Mapping[tuple[str, str], Path], record: Record) -> tuple[FoldScores, ...]:
    """The scores that a record rests on; empty where they were not kept or are not those of the record."""
    path = kept.get((record.run, record.id))
    if path is None or isinstance(record.accuracy, Absent):
        return ()
    from swapbench.pad.score_files import folds_behind

    return folds_behind(record.accuracy, path)
