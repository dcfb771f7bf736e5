"""What is known of rows only beside other rows, from the scores that runs kept beside their records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import store
from swapbench.report.rows.fp32_parity import parities_of
from swapbench.report.rows.side_by_side import KeptScores, side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.records import Record
    from swapbench.report.rows.fp32_parity import RowParity
    from swapbench.report.rows.row import Row
    from swapbench.report.rows.side_by_side import SideBySide


@dataclass(frozen=True)
class Comparisons:
    """How rows compare.

    Attributes:
        parities: how far each file's scores are from its network's fp32 file.
        runtimes: networks that ran under several runtimes; None where nobody compared their scores.
    """

    parities: tuple[RowParity, ...] = ()
    runtimes: tuple[SideBySide, ...] | None = None

    def side_by_side(self, rows: Sequence[Row]) -> tuple[SideBySide, ...]:
        """Networks that ran under several runtimes, without their scores where nobody compared them."""
        return side_by_side(rows) if self.runtimes is None else self.runtimes


NOT_COMPARED = Comparisons()
"""Only the rows themselves are at hand."""


def comparisons_of(
    rows: Sequence[Row], records: Sequence[Record], folder_of: Mapping[tuple[str, str], Path]
) -> Comparisons:
    """What is known of some rows beside others.

    Args:
        rows: of a table, with their labels.
        records: of these rows.
        folder_of: (run, record id) -> the run folder that keeps its scores.
    """
    paths = {(run, name): store.scores_path(folder, name) for (run, name), folder in folder_of.items()}
    by_run: dict[Path, list[Record]] = {}  # records of several runs may have the same names
    for record in records:
        by_run.setdefault(folder_of[record.run, record.id], []).append(record)
    parities = tuple(
        parity
        for folder, members in by_run.items()
        for parity in parities_of(members, {record.id: folder for record in members})
    )
    are_kept = any(path.is_file() for path in paths.values())  # else no table gets columns of dashes
    return Comparisons(parities, side_by_side(rows, KeptScores(paths).agreement) if are_kept else None)
