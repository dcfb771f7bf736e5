"""One network in one precision under several runtimes: rows that stand side by side, with what they agree in.

Which rows are of one network and precision is what their variants say. Only rows that may be compared in
their times (`comparable`) come together, and only where at least two runtimes ran. The reference of such a
set, to which its ratios and differences refer, is of the runtime that most sets have, so that a table of
many networks has one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from swapbench.errors import BadDataset
from swapbench.records import Absent
from swapbench.report.rows.comparable import SAME_DATA, SAME_SETUP, sets_of, why_not
from swapbench.report.rows.references import relative

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.pad.metrics import FoldScores
    from swapbench.pad.score_agreement import ScoreAgreement
    from swapbench.report.rows.comparable import Condition
    from swapbench.report.rows.row import Row

    Agree = Callable[[Row, Row], ScoreAgreement | Absent]
    """From a reference and another row to how far their scores are apart."""


@dataclass(frozen=True)
class SideBySide:
    """The rows of one network in one precision that may be compared, under at least two runtimes.

    Attributes:
        reference: what ratios and differences refer to; one of the rows.
        rows: in the order of the table, each with its ratios to the reference.
        agreements: label of a row -> how far its scores are from the reference's; the reference has none.
    """

    reference: Row
    rows: tuple[Row, ...]
    agreements: Mapping[str, ScoreAgreement | Absent]

    @property
    def title(self) -> str:
        """'minifasnet_v2, int8'."""
        return f"{self.reference.model}, {self.reference.precision}"


class _Asked(NamedTuple):
    """What must be equal for the numbers of some columns to be compared."""

    conditions: frozenset[Condition]


_TIMES = _Asked(SAME_SETUP)
_SCORES = _Asked(SAME_DATA)


def side_by_side(
    rows: Sequence[Row], agree: Agree | None = None, first: Sequence[str] = ()
) -> tuple[SideBySide, ...]:
    """Every network and precision that ran under several runtimes, in the order of the rows.

    Args:
        rows: of a table, with their labels.
        agree: how scores are compared; None compares none.
        first: runtimes that are to be the reference, the first that a set has.
    """
    sets = list(_sets(rows))
    common = Counter(runtime for members in sets for runtime in {row.runtime for row in members})
    order = list(dict.fromkeys((*first, *(row.runtime for row in rows))))
    order.sort(key=lambda runtime: (*(runtime != name for name in first), -common[runtime]))
    return tuple(_compared(members, order, agree) for members in sets)


def _sets(rows: Sequence[Row]) -> Iterator[tuple[Row, ...]]:
    by_network: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_network.setdefault((row.model, row.precision), []).append(row)
    for of_network in by_network.values():
        for places in sets_of(of_network, [_TIMES]):
            members = tuple(of_network[place] for place in places)
            if len({row.runtime for row in members}) > 1:
                yield members


def _compared(members: Sequence[Row], order: Sequence[str], agree: Agree | None) -> SideBySide:
    reference = min(members, key=lambda row: order.index(row.runtime))
    others = [row for row in members if row is not reference]
    return SideBySide(
        reference,
        tuple(_beside(row, reference) for row in members),
        {row.label: agree(reference, row) for row in others} if agree is not None else {},
    )


def _beside(row: Row, reference: Row) -> Row:
    """The row with its ratios to this reference in place of those to the reference of its table."""
    return replace(
        row,
        relative=relative(row, reference),
        conditions=replace(row.conditions, reference=reference.label),
        missing=tuple(why for why in row.missing if why.quantity != "reference"),
    )


class KeptScores:
    """The scores that runs kept beside their records, each file read once.

    Args:
        paths: (run, record id) -> where the scores are; the file need not exist.
    """

    def __init__(self, paths: Mapping[tuple[str, str], Path]) -> None:
        self._paths = paths
        self._read: dict[tuple[str, str], tuple[FoldScores, ...]] = {}

    def agreement(self, reference: Row, row: Row) -> ScoreAgreement | Absent:
        """How far the scores of a row are from a reference's; each decides at its own frozen threshold."""
        from swapbench.pad.matching import frozen_thresholds
        from swapbench.pad.score_agreement import of_folds

        for side in (reference, row):
            if side.accuracy is None:
                reasons = [why for why in side.missing if why.quantity == "accuracy"]
                reason = reasons[0].reason if reasons else "it was not scored"
                return Absent(absent=f"{side.label} has no scores: {reason}")
        differ = why_not(row, reference, _SCORES)
        if differ:
            return Absent(absent=f"they were scored on different data ({differ})")
        folds = [self._folds(side) for side in (reference, row)]
        for side, of_side in zip((reference, row), folds, strict=True):
            if not of_side:
                return Absent(absent=f"the scores of {side.label} were not kept beside its record")
        thresholds = [
            frozen_thresholds(side.accuracy, of_side)
            for side, of_side in zip((reference, row), folds, strict=True)
            if side.accuracy is not None
        ]
        try:
            return of_folds(folds[0], folds[1], (thresholds[0], thresholds[1]))
        except BadDataset as error:
            return Absent(absent=error.args[0], remedy=error.remedy)

    def _folds(self, row: Row) -> tuple[FoldScores, ...]:
        from swapbench.pad.score_files import folds_behind

        key = (row.run, row.record_id)
        if key not in self._read:
            path = self._paths.get(key)
            if path is None or row.accuracy is None or not path.is_file():
                return ()
            self._read[key] = folds_behind(row.accuracy, path)
        return self._read[key]


def explained(rows: Iterable[Row]) -> Iterator[tuple[Row, tuple[str, ...]]]:
    """Every row of which something is known that keeps its runtime from being fast, with the sentences."""
    from swapbench.hindrances import hindrances

    for row in rows:
        ops = row.weight.ops if row.weight is not None else {}
        found = list(hindrances(row.precision, row.used, ops, row.operators))
        found += [why.reason for why in row.missing if why.quantity == "operators"]
        if found:
            yield row, tuple(found)
