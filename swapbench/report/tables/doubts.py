"""What speaks against some rows, by kind: every skin says it at the length that its readers bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.records import Doubt
    from swapbench.report.rows.row import Row

NAMES_AT_MOST = 5
"""So many rows are named in a sentence; the others are counted."""


@dataclass(frozen=True)
class DoubtKind:
    """All doubts of one code about one quantity.

    Attributes:
        code: of the doubts.
        quantity: that they are about.
        cases: each with its row.
        rows: how many rows there are, with this doubt and without.
    """

    code: str
    quantity: str
    cases: tuple[tuple[Row, Doubt], ...]
    rows: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The rows that have it, each once."""
        return tuple(dict.fromkeys(row.label for row, _ in self.cases))

    @property
    def remedies(self) -> tuple[str, ...]:
        """What helps, each once."""
        return tuple(dict.fromkeys(" ".join(doubt.remedy.split()) for _, doubt in self.cases if doubt.remedy))

    @property
    def messages(self) -> dict[str, tuple[str, ...]]:
        """Sentence -> the rows of which it is said."""
        said: dict[str, list[str]] = {}
        for row, doubt in self.cases:
            said.setdefault(sentence(doubt.message), []).append(row.label)
        return {message: tuple(labels) for message, labels in said.items()}

    @property
    def phrase(self) -> str:
        """Its code in words: 'wide interval'."""
        return self.code.replace("_", " ")

    @property
    def count(self) -> str:
        """Its code and how many rows have it."""
        return f"{self.code} ({self.quantity}): {len(self.labels)} of {self.rows} rows"

    def text(self, *, remedy: bool = True) -> str:
        """One sentence: its rows, its message or one of them, and what helps if `remedy`."""
        whose = "all rows" if len(self.labels) == self.rows else few(self.labels)
        message = next(iter(self.messages))
        if len(self.messages) > 1:
            message = f"for one, {self.labels[0]}: {message}"
        helps = f" What helps: {self.remedies[0]}" if remedy and self.remedies else ""
        return f"{self.code} ({self.quantity}), {whose}: {message}{helps}"


def doubt_kinds(rows: Sequence[Row]) -> tuple[DoubtKind, ...]:
    """The doubts of some rows in the order in which a reader meets them."""
    by_kind: dict[tuple[str, str], list[tuple[Row, Doubt]]] = {}
    for row in rows:
        for doubt in row.doubts:
            by_kind.setdefault((doubt.code, doubt.quantity), []).append((row, doubt))
    return tuple(DoubtKind(*kind, tuple(cases), len(rows)) for kind, cases in by_kind.items())


def few(names: Sequence[str]) -> str:
    """The first names, and how many others there are."""
    more = len(names) - NAMES_AT_MOST
    if more <= 1:  # "and 1 more" is no shorter than the name
        return ", ".join(names)
    return f"{', '.join(names[:NAMES_AT_MOST])} and {more} more"


def sentence(text: str) -> str:
    """A text on one line that ends as a sentence does."""
    text = " ".join(text.split())
    return text + ("" if not text or text[-1] in ".!?" else ".")
