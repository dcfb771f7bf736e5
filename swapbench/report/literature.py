"""Published numbers, as data with their sources; never in a table, a figure or a front with measured ones.

The data are literature.toml beside this module. How a number was obtained stands beside it, because most
published error rates of cross-domain tests were read at a threshold that the test data chose.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from swapbench.records import Frozen
from swapbench.report.tables.markdown import escaped, grid

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLISHED = "Published by others, not measured here."
"""What every view says above these numbers."""


_NOT_OURS = "Other data, other protocols, other devices: do not compare them with the tables above."


class Result(Frozen):
    """One number: in which setting, of which metric, in which unit; sd over folds where it was given."""

    setting: str
    metric: str
    value: float
    unit: str
    sd: float | None = None

    @property
    def text(self) -> str:
        """The number as it was printed, with its unit."""
        spread = "" if self.sd is None else f" ± {self.sd:g}"
        return f"{self.value:g}{spread} {self.unit}"


class Entry(Frozen):
    """A publication.

    Attributes:
        obtained: how its numbers came about.
        split: on which data its error rates were read; None where it has none.
        threshold: which data chose their threshold; None where there are none.
        read_in: what of it was read for this table.
    """

    method: str
    paper: str
    venue: str
    obtained: str
    split: Literal["test", "validation", "not stated"] | None = None
    threshold: Literal["test", "development", "not stated"] | None = None
    read_in: Literal["paper", "abstract", "repository"]
    note: str = ""
    results: tuple[Result, ...] = Field(default=())


def literature() -> tuple[Entry, ...]:
    """All published numbers that swapbench carries, in the order of their file."""
    text = (resources.files("swapbench.report") / "literature.toml").read_text(encoding="utf-8")
    return tuple(Entry.model_validate(one) for one in tomllib.loads(text)["entry"])


def as_markdown(entries: Sequence[Entry]) -> str:
    """The published numbers as Markdown.

    One line a number, then how the numbers of each method came about.
    """
    rows = [
        (one.method, found.setting, found.metric, found.text, *_where(one, found))
        for one in entries
        for found in one.results
    ]
    ways: dict[str, list[str]] = {}
    for one in entries:
        ways.setdefault(f"{one.obtained} (read in the {one.read_in})", []).append(one.method)
    return "\n".join(
        [
            "## Published numbers",
            "",
            f"> **{PUBLISHED}** {_NOT_OURS}",
            "",
            grid(("Model", "Setting", "Metric", "Published", "Read on", "Threshold from"), rows),
            "",
            "How these numbers came about:",
            *(f"- {escaped(', '.join(methods))}: {escaped(way)}." for way, methods in ways.items()),
            "",
            "Sources:",
            *(
                f"- {escaped(one.method)}: {escaped(one.paper)}, {escaped(one.venue)}."
                + (f" {escaped(one.note)}." if one.note else "")
                for one in entries
            ),
            "",
        ]
    )


_ERROR_RATES = frozenset({"ACER", "AUC", "EER", "HTER"})


def _where(entry: Entry, result: Result) -> tuple[str, str]:
    """On which data an error rate was read and which chose its threshold; an AUC has none, an EER its own."""
    if result.metric not in _ERROR_RATES:
        return "", ""
    chosen = {"AUC": "", "EER": "the same data"}.get(result.metric, entry.threshold or "")
    return entry.split or "", chosen
