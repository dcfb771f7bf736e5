"""The records of the studies: rows of runs, and the arms compared on domains that were never seen."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.compression.trainings import ARMS, DOMAINS
from swapbench import store
from swapbench.report.choose.resampling import Evidence, draws_of
from swapbench.report.rows.references import compared_rows
from swapbench.report.rows.summary import summary
from swapbench.report.tables.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.report.rows.row import Row

DRAWS, SEED = 10_000, 0


@dataclass(frozen=True)
class Study:
    """Rows of some runs, with draws of their ACER: the same resampled people of the test set for each."""

    rows: tuple[Row, ...]
    acer: dict[tuple[str, str], NDArray[np.float64]]

    def draws(self, row: Row) -> NDArray[np.float64]:
        return self.acer[row.run, row.record_id]


def read(folders: Iterable[Path]) -> Study:
    records, folder_of, rows = [], {}, []
    for folder in folders:
        run = store.load_run(folder)
        records += run
        folder_of |= {(record.run, record.id): folder for record in run}
        rows += compared_rows([summary(record) for record in run])[0]
    evidence = Evidence.of(
        records, lambda record: store.scores_path(folder_of[record.run, record.id], record.id)
    )
    drawn = draws_of(rows, COLUMNS["acer"], evidence, draws=DRAWS, seed=SEED)
    return Study(
        tuple(rows),
        {(row.run, row.record_id): values for row, values in zip(rows, drawn.values, strict=True)},
    )


def number(row: Row, column: str) -> float:
    """Its number in a column of the report, 0 where there is none."""
    return COLUMNS[column].number(row) or 0.0


def only(rows: Iterable[Row], **wanted: str | None) -> Row:
    """The single row whose fields are these."""
    (match,) = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    return match


@dataclass(frozen=True)
class Arm:
    """One way to 40 M MACs.

    Attributes:
        name: of the method.
        rows: its networks by the domain that they never saw.
        draws: of its ACER, averaged over seeds and domains.
    """

    name: str
    rows: dict[str, list[Row]]
    draws: NDArray[np.float64]

    @property
    def every(self) -> list[Row]:
        """All its networks."""
        return list(itertools.chain.from_iterable(self.rows.values()))

    def on(self, domain: str, column: str = "acer") -> float:
        """Mean of the seeds on one domain."""
        return statistics.mean(number(row, column) for row in self.rows[domain])

    def mean(self, column: str = "acer") -> float:
        """Mean of the domains' means."""
        return statistics.mean(self.on(domain, column) for domain in self.rows)


def arms(folders: Sequence[Path]) -> dict[str, Arm]:
    """Those that have a network for every domain, in the order of ARMS."""
    study = read(folders)
    networks: dict[str, dict[str, list[Row]]] = {arm: {domain: [] for domain in DOMAINS} for arm in ARMS}
    for row in study.rows:
        unseen_domain = (row.conditions.protocol or "").rpartition(" ")[2]  # of "A+B+C to D"
        networks[(row.recipe or "").removesuffix("-40M")][unseen_domain].append(row)
    return {
        name: Arm(
            name,
            rows,
            np.mean(
                [np.mean([study.draws(row) for row in seeds], axis=0) for seeds in rows.values()], axis=0
            ),
        )
        for name, rows in networks.items()
        if all(rows.values())
    }


def pairs(first: Arm, second: Arm) -> list[tuple[Row, Row]]:
    """Their networks of the same run: the same unseen domain, seed and sitting."""
    others = {row.run: row for row in second.every}
    return [(row, others[row.run]) for row in first.every if row.run in others]
