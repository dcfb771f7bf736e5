"""What there is of a dataset under a protocol, what is missing, wrong or odd: `swapbench data check`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from swapbench.data.dataset import SPLITS
from swapbench.data.folds import count_rows
from swapbench.data.layouts.corpus import counted, shortened
from swapbench.data.protocol import opened

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.data.folds import CountRow
    from swapbench.data.layouts import Corpus


@dataclass(frozen=True)
class DataCheck:
    """What there is of a dataset under a protocol. No fault hides another.

    Attributes:
        title: of the dataset or protocol
        rows: counts by fold, split and class
        faults: why numbers from it would be meaningless
        missing: names that are listed or published and have no file
        findings: what else is odd
        people: who is in two splits, or that nobody is
        basis: what numbers would rest on
    """

    title: str
    rows: tuple[CountRow, ...]
    faults: tuple[str, ...]
    missing: tuple[str, ...]
    findings: tuple[str, ...]
    people: tuple[str, ...]
    basis: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """True where nothing is wrong or missing and every count is the published one."""
        as_published = all(row.official in {None, row.found} for row in self.rows)
        return as_published and not self.faults and not self.missing

    def table(self) -> list[dict[str, Any]]:
        """The counts with the column names of a table."""
        return [
            {
                "fold": row.fold,
                "split": row.split,
                "class": row.kind,
                "found": row.found,
                "official": "" if row.official is None else row.official,
                "subjects": row.people,
            }
            for row in self.rows
        ]

    def lines(self) -> list[str]:
        """Everything but the counts, one sentence each, the worst first."""
        missing = (
            [f"missing: {counted(len(self.missing), 'file')}, first: {shortened(self.missing)}"]
            if self.missing
            else []
        )
        return [
            *(f"wrong: {text}" for text in self.faults),
            *missing,
            *(f"odd: {text}" for text in self.findings),
            *(f"people: {text}" for text in self.people),
            *(f"note: {text}" for text in self.basis),
            "complete" if self.complete else "not complete",
        ]

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        return {**asdict(self), "complete": self.complete}


def check_data(
    data: Path | None,
    *,
    data_root: Path | None = None,
    protocol: str | None = None,
    images: Path | None = None,
) -> DataCheck:
    """Compare what `open_data` would use with what was published, and list all that is wrong, missing or odd.

    No video and no image is opened.

    Args:
        data: as in `open_data`
        data_root: as in `open_data`
        protocol: as in `open_data`
        images: as in `open_data`

    Raises:
        UserError: the protocol does not exist or does not fit the data
        BadDataset: there is nothing to count
    """
    found = opened(data, data_root, protocol, 1, SPLITS, images)
    folds, corpora = found.folds, found.corpora
    rows = [row for fold in folds for row in fold.counts()]
    if not any(fold.official for fold in folds):  # what was published is about the whole dataset then
        whole = [row for corpus in corpora for row in _corpus_counts(corpus)]
        counted_already = {(row.split, row.kind, row.found) for row in rows}
        if any(row.official or (row.split, row.kind, row.found) not in counted_already for row in whole):
            rows = [*whole, *rows]
    faults = [str(fault) for fold in folds for fault in fold.problems([s for s in SPLITS if fold.needs(s)])]
    missing = [presentation.name for corpus in corpora for presentation in corpus.missing]
    missing += [
        presentation.name
        for fold in folds
        for split in SPLITS
        for presentation in fold.missing.get(split, ())
    ]
    return DataCheck(
        title=folds[0].protocol or folds[0].name,
        rows=tuple(rows),
        faults=tuple(dict.fromkeys(faults)),
        missing=tuple(dict.fromkeys(missing)),
        findings=tuple(text for corpus in corpora for text in corpus.findings),
        people=tuple(dict.fromkeys(text for fold in folds for text in fold.people())),
        basis=tuple(dict.fromkeys(text for fold in folds for text in fold.all_basis)),
    )


def _corpus_counts(corpus: Corpus) -> list[CountRow]:
    by_split = {
        split: [presentation for presentation in corpus.presentations if presentation.split == split]
        for split in corpus.splits
    }
    return count_rows(f"all of {corpus.title}", by_split, corpus.official)
