"""The files of a figure: pictures, and the data behind them.

The same data give the same bytes: no time, no version and no random name goes into a file.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from swapbench.texts import inert_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

    from swapbench.report.figures.style import Page


@dataclass(frozen=True)
class Drawing:
    """The files of a figure by suffix; empty with a reason when nothing can be drawn.

    Attributes:
        files: Suffix -> content: png, svg, pdf, the data as csv, the caption as txt and tex. A further page
            has its number before the suffix, "2.png".
        reason: Why there are none.
        left_out: Labels of the rows that are not in the figure.
        shows: What it shows, for its caption.
        about: What its caption tells: how speed, accuracy, species (APCER by species) or power was measured,
            and, with intervals, which intervals these are.
    """

    files: Mapping[str, bytes]
    reason: str = ""
    left_out: tuple[str, ...] = ()
    shows: str = ""
    about: frozenset[str] = frozenset()

    def pages(self, suffix: str) -> dict[str, bytes]:
        """The pages of one suffix by what their names end in: "" for the first, ".2" for the second."""
        return {
            f".{name}".removesuffix(f".{suffix}"): content
            for name, content in self.files.items()
            if f".{name}".endswith(f".{suffix}")
        }


def drawing(
    build: Callable[[], Figure | Sequence[Figure]],
    data: str,
    page: Page,
    left_out: Sequence[str] = (),
    shows: str = "",
    about: Iterable[str] = (),
) -> Drawing:
    """A figure as PNG, SVG (real text), PDF (TrueType fonts), and its data as CSV.

    Args:
        build: draws it, on one page or several; it is called inside `rc_context(page.rc)`.
        data: the text of its data file.
        page: how it looks.
        left_out: see Drawing.
        shows: see Drawing.
        about: see Drawing.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    files = {"csv": data.encode()}
    # Without these, matplotlib writes the time and its version into the files.
    silent = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context(page.rc):
        built = build()
        for number, figure in enumerate([built] if isinstance(built, Figure) else built, 1):
            for suffix, metadata in silent.items():
                buffer = io.BytesIO()
                figure.savefig(buffer, format=suffix, dpi=page.dots_per_inch, metadata=metadata)
                files[suffix if number == 1 else f"{number}.{suffix}"] = buffer.getvalue()
    return Drawing(files, "", tuple(left_out), shows, frozenset(about))


def as_csv(points: Sequence[Any]) -> str:
    """The data of a figure: a line a point, the fields of its dataclass, nothing rounded, empty for None."""
    names = [field.name for field in fields(points[0])]
    return table_csv(names, ([getattr(point, name) for name in names] for point in points))


def table_csv(names: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """The same from names and values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for line in lines:
        writer.writerow(map(_csv_cell, line))
    return text.getvalue()


def _csv_cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return inert_cell(value) if isinstance(value, str) else "" if value is None else value
