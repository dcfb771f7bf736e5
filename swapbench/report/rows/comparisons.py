"""What is known of rows only beside other rows, from the scores that runs kept beside their records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.report.rows.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

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
