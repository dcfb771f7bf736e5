r"""The LaTeX skin of a view: it compiles as it is, a paper can \input it, and it fits a page of two columns.

Numbers stand alone in siunitx `S` columns, so that they align and a paper's own number style applies. Room is
found by short heads, by units in which numbers are short, and then in this order: intervals below their
numbers instead of beside them, a `table*` across the page instead of a `table` in a column, several tables of
fewer columns each. Many rows become a `longtable`, for which a page of two columns is left for a while.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast, get_args

from swapbench import units
from swapbench.errors import UnknownName
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.latex_text import breakable, escaped, flowing, width_pt
from swapbench.report.tables.view import Notes, dressed, selection_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Cell, Column
    from swapbench.report.tables.table import Table
    from swapbench.report.tables.view import Line, Query, Selection, View

# The narrowest of the usual pages of two columns, article on letter paper; IEEE's are a tenth wider.
COLUMN_PT, PAGE_PT = 229.0, 469.0
LINES_AT_MOST = 48
"""Lines that a page has room for beside a caption and notes; more are a longtable."""
BETWEEN_PT = 6.0
SCRIPT = (
    0.95  # of the width in footnote size is that of script size, whose letters are wider for their height
)
TEXT_SHARE = 0.34
"""Text that takes more of the width than this is broken over several lines."""
PACKAGES = "booktabs,longtable,siunitx"
"""What a paper with such a table must load."""
PAGE = "letterpaper,textwidth=7.16in,textheight=9.3in,columnsep=0.16in"
"""A page of two columns as IEEE's, for the package geometry."""

# \@nodocument becomes \relax at \begin{document}: inside a paper the preamble is skipped.
HEAD = rf"""% Made by swapbench. It compiles as it is; in a paper: \input it, and load {PACKAGES}.
\expandafter\ifx\csname @nodocument\endcsname\relax\else
\documentclass[10pt,twocolumn]{{article}}
\usepackage[{PAGE}]{{geometry}}
\usepackage{{{PACKAGES}}}
\pagestyle{{empty}}
\def\swapbenchend{{\end{{document}}}}
\begin{{document}}
\fi
"""
TAIL = "\\csname swapbenchend\\endcsname\n"
SETUP = (
    r"\footnotesize\sloppy\setlength{\tabcolsep}{3pt}",
    r"\sisetup{detect-weight,mode=text}% so that bold digits are bold",
)
_SCALED = frozenset({"ms", "MB", "M", "mJ"})
BRIEF = {
    "latency_p50": "Median",
    "latency_p05": "p05",
    "latency_p90": "p90",
    "latency_p95": "p95",
    "latency_p99": "p99",
    "paced_p50": "Median paced",
    "paced_p95": "p95 paced",
    "paced_missed": "Missed",
    "file_bytes": "Size",
    "params": "Params",
    "peak_memory": "Memory",
    "hter": "HTER src-dev",
    "hter_target_eer": "HTER tgt-EER",
    "device_difference": "Device diff.",
    "device_flips": "Device flips",
    "energy": "Energy",
    "energy_gross": "Energy gross",
    "params_reduction": "Fewer params",
    "accuracy_kept": "Acc. kept",
    "parity_difference": "Torch diff.",
    "parity_flips": "Torch flips",
    "parity_samples": "Torch samples",
}
"""Column -> its head in a paper, where that is shorter than its title."""


def notes_of(name: str) -> Notes:
    """The same from what was typed; UnknownName where there is no such kind of notes."""
    if name not in get_args(Notes):
        raise UnknownName("kind of notes", name, get_args(Notes))
    return cast("Notes", name)


def latex_of(table: Table, query: Query) -> str:
    """What was asked of a table, with the columns that were named and no others but a name of each row."""
    return as_latex(selection_of(replace(table, reference_was_asked=False), query), query.notes)


def as_latex(selection: Selection, notes: Notes = "short", title: str = "") -> str:
    """One file with as many tables as the columns need; title: what stands first in the caption."""
    view = dressed(
        replace(selection, columns=tuple(_printed(each, selection.rows) for each in selection.columns))
    )
    layouts = _layouts(view)
    tables = []
    for number, layout in enumerate(layouts, 1):
        part = f" Part {number} of {len(layouts)}." if len(layouts) > 1 else ""
        caption = " ".join(filter(None, (title, view.caption + part, *_urgent(view))))
        below = list(_notes(view, notes)) if number == len(layouts) else []
        draw = _longtable if layout.lines > LINES_AT_MOST else _float
        tables.append(draw(layout, flowing(caption), notes, below))
    return HEAD + "\n".join(tables) + "\n" + TAIL


# ---- Columns that are short ----


def _printed(column: Column, rows: Sequence[Row]) -> Column:
    """A column with a short head; in a smaller unit if all numbers are below 1, a larger one from 1000."""
    brief = replace(column, title=BRIEF.get(column.name, column.title))
    shown = [column.shown(number) for row in rows if (number := column.number(row))]
    if not shown:
        return brief
    return in_unit(brief, 1e-3 if max(shown) < 1 else 1e3 if min(shown) >= 1000 else 1.0)


def in_unit(column: Column, step: float) -> Column:
    """The same column in the unit that is `step` times as large, as it is where there is none."""
    amount, per_unit = column.amount, column.per_unit * step
    if amount is None or amount.unit not in _SCALED or step == 1:
        return column
    sizes = units.UNITS[amount.quantity].items()
    unit = next((unit for unit, size in sizes if size == per_unit and unit not in {"", "us", "uJ"}), None)
    if unit is None:
        return column
    other = replace(
        amount, unit=unit, per_unit=per_unit, show=lambda value: units.significant(value / per_unit)
    )
    return replace(column, amount=other)


# ---- Room ----


@dataclass(frozen=True)
class _Layout:
    """Some columns of a view and how they are set.

    Attributes:
        places: of the columns in the view.
        wide: whether it stands across the page.
        below: whether intervals stand below their numbers.
        crowded: whether long text is broken over several lines.
    """

    view: View
    places: tuple[int, ...]
    wide: bool
    below: bool
    crowded: bool = False

    @property
    def room_pt(self) -> float:
        """The width that it may take."""
        return PAGE_PT if self.wide else COLUMN_PT

    @cached_property
    def asides(self) -> tuple[int, ...]:
        """The places whose intervals need a column of their own."""
        return () if self.below else tuple(place for place in self.places if _has_aside(self.view, place))

    @property
    def width_pt(self) -> float:
        """The width that it takes."""
        return sum(self.column_pt.values()) + BETWEEN_PT * len(self.places)

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.width_pt <= self.room_pt

    @property
    def lines(self) -> int:
        """How many lines its rows take."""
        titles = sum(bool(group.title) for group in self.view.groups)
        return titles + sum(map(self._lines_of, _lines(self.view)))

    def _lines_of(self, line: Line) -> int:
        texts = [line.cells[place].text for place in self.places if not self.view.columns[place].numeric]
        wide = [width_pt(text) for text in texts]
        broken = max(math.ceil(1.1 * width / self.text_pt) if width > self.text_pt else 1 for width in wide)
        return broken + (self.below and any(line.cells[place].aside for place in self.places))

    @cached_property
    def column_pt(self) -> dict[int, float]:
        """The width of each column by its place, an interval beside it included."""
        return {place: self._column_pt(place) for place in self.places}

    def _column_pt(self, place: int) -> float:
        column = self.view.columns[place]
        cells = [line.cells[place] for line in _lines(self.view)]
        heads = [width_pt(word) for word in _heading(column, 0)]
        if not column.numeric:
            dagger = 8.0 if place == self.view.naming else 0.0
            return max([*heads, *(min(width_pt(cell.text), self.text_pt) for cell in cells)]) + dagger
        numbers = max((width_pt(cell.digits or cell.text + "00") for cell in cells), default=0.0)
        asides = max((SCRIPT * width_pt(cell.aside) for cell in cells), default=0.0)
        beside = 4 + asides if place in self.asides else 0.0
        return max([numbers + beside, 0.0 if beside else asides, *heads])

    @property
    def text_pt(self) -> float:
        """The width at which text is broken."""
        return TEXT_SHARE * self.room_pt if self.crowded else math.inf

    @property
    def specification(self) -> str:
        """The columns as LaTeX wants them."""
        return " ".join(map(self._specification, self.places))

    def _specification(self, place: int) -> str:
        cells = [line.cells[place] for line in _lines(self.view)]
        if self.view.columns[place].numeric:
            return _number_format([cell.digits for cell in cells]) + (
                r"@{\,}l" if place in self.asides else ""
            )
        return f"p{{{self.column_pt[place]:.0f}pt}}" if place in self.broken else "l"

    @cached_property
    def broken(self) -> frozenset[int]:
        """The places of text that is broken over several lines."""
        texts = [place for place in self.places if not self.view.columns[place].numeric]
        return frozenset(
            place
            for place in texts
            if any(width_pt(line.cells[place].text) > self.text_pt for line in _lines(self.view))
        )


def _layouts(view: View) -> list[_Layout]:
    """The first way to set all columns that fits a page, or its width; where none does, several tables."""
    every = tuple(range(len(view.columns)))
    ways = [_Layout(view, every, *way) for way in itertools.product((False, True), repeat=3)]
    fitting = [layout for layout in ways if layout.fits]
    if fitting:
        return [next((layout for layout in fitting if layout.lines <= LINES_AT_MOST), fitting[-1])]
    layouts: list[_Layout] = []
    for place in every:
        if place == view.naming:
            continue
        longer = replace(layouts[-1], places=(*layouts[-1].places, place)) if layouts else None
        if longer is not None and longer.fits:
            layouts[-1] = longer
        else:
            layouts.append(_Layout(view, (view.naming, place), wide=True, below=True, crowded=True))
    narrower = ((replace(layout, wide=False), layout) for layout in layouts)
    return [narrow if narrow.fits and narrow.lines <= LINES_AT_MOST else wide for narrow, wide in narrower]


def _lines(view: View) -> Iterator[Line]:
    return (line for group in view.groups for line in group.lines)


def _has_aside(view: View, place: int) -> bool:
    return any(line.cells[place].aside for line in _lines(view))


def _number_format(digits: Sequence[str]) -> str:
    """An S column as wide as its widest number: 'S[table-format=2.3]'."""
    whole, fraction, sign = 1, 0, ""
    for text in digits:
        before, _, after = text.lstrip("-").partition(".")
        whole, fraction = max(whole, len(before)), max(fraction, len(after))
        sign = "-" if text.startswith("-") else sign
    return f"S[table-format={sign}{whole}.{fraction}]"


# ---- Tables ----


def _float(layout: _Layout, caption: str, notes: Notes, below: Sequence[str]) -> str:
    kind = "table*" if layout.wide else "table"
    return "\n".join(
        [
            rf"\begin{{{kind}}}[!t]",
            r"\centering",
            *SETUP,
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{layout.specification}}}",
            r"\toprule",
            _head(layout),
            *_body(layout, notes),
            r"\bottomrule",
            r"\end{tabular}",
            *_below(below, r"\par\smallskip\raggedright\scriptsize"),
            rf"\end{{{kind}}}",
        ]
    )


def _longtable(layout: _Layout, caption: str, notes: Notes, below: Sequence[str]) -> str:
    """A table over several pages, which LaTeX sets in one column only."""
    head = _head(layout)
    return "\n".join(
        [
            r"\makeatletter\if@twocolumn\onecolumn\let\swapbenchback\twocolumn",
            r"\else\let\swapbenchback\relax\fi\makeatother",
            r"\begingroup",
            *SETUP,
            rf"\begin{{longtable}}{{{layout.specification}}}",
            rf"\caption{{{caption}}}\\",
            rf"\toprule {head} \midrule \endfirsthead",
            rf"\toprule {head} \midrule \endhead",
            r"\bottomrule \endfoot",
            *list(_body(layout, notes))[1:],
            r"\end{longtable}",
            *_below(below, r"\par\raggedright\scriptsize"),
            r"\endgroup\swapbenchback\relax",
        ]
    )


def _below(notes: Sequence[str], setup: str) -> list[str]:
    """Notes with what they need before them, where one of them is more than a comment."""
    return [*([] if all(line.startswith("%") for line in notes) else [setup]), *notes]


def _heading(column: Column, width: int) -> list[str]:
    """The lines of a head, hardly wider than so many letters."""
    lines = textwrap.wrap(column.title, max(8, width), break_long_words=False)
    return [*lines, f"({column.unit})"] if column.unit else lines


def _head(layout: _Layout) -> str:
    heads = []
    for place in layout.places:
        column = layout.view.columns[place]
        letters = int(layout.column_pt[place] / width_pt("n"))
        lines = r" \\ ".join(map(escaped, _heading(column, letters)))
        align = "c" if column.numeric else "l"
        stacked = rf"\begin{{tabular}}[b]{{@{{}}{align}@{{}}}}{lines}\end{{tabular}}"
        heads.append(rf"\multicolumn{{2}}{{c}}{{{stacked}}}" if place in layout.asides else f"{{{stacked}}}")
    return " & ".join(heads) + r" \\"


def _body(layout: _Layout, notes: Notes) -> Iterator[str]:
    for group in layout.view.groups:
        yield r"\midrule"
        if group.title:
            count, wide = len(layout.places) + len(layout.asides), min(layout.width_pt, layout.room_pt) - 6
            title = rf"\parbox[t]{{{wide:.0f}pt}}{{\raggedright\itshape {flowing(group.title)}}}"
            yield rf"\multicolumn{{{count}}}{{l}}{{{title}}} \\"
        for line in group.lines:
            yield " & ".join(_cells(line, layout, notes)) + r" \\"
            if layout.below and any(line.cells[place].aside for place in layout.places):
                asides = (line.cells[place].aside for place in layout.places)
                cells = (rf"{{\scriptsize {escaped(aside)}}}" if aside else "" for aside in asides)
                yield " & ".join(cells) + r" \\[1.5pt]"


def _cells(line: Line, layout: _Layout, notes: Notes) -> Iterator[str]:
    for place in layout.places:
        cell, column = line.cells[place], layout.view.columns[place]
        marked = line.doubtful and place == layout.view.naming and notes != "none"
        dagger = r"\,\ensuremath{\dagger}" if marked else ""
        if place in layout.broken:
            yield rf"{{\raggedright\hspace{{0pt}}{breakable(cell.text)}{dagger}\par}}"
        else:
            yield _cell(cell, column, notes) + dagger
        if place in layout.asides:
            yield rf"\scriptsize {escaped(cell.aside)}" if cell.aside else ""


def _cell(cell: Cell, column: Column, notes: Notes) -> str:
    if cell.digits:
        return rf"\bfseries {cell.digits}" if cell.best else cell.digits
    mark = rf"\textsuperscript{{{cell.note}}}" if cell.note and notes == "full" else ""
    text = escaped(cell.text) + mark
    return f"{{{text}}}" if column.numeric else text


# ---- Notes ----


def _urgent(view: View) -> Sequence[str]:
    """What must not be left out with the notes."""
    return view.remarks[:1] if view.data_simulated else ()


def _notes(view: View, notes: Notes) -> Iterator[str]:
    """The notes below the tables; those that are not wanted stay in the file, as comments."""
    for kind, mark, text in _said(view):
        wanted = notes != "none" and kind in {"both", notes}
        yield rf"{mark}{flowing(text)}\par" if wanted else f"% {mark}{escaped(text)}"


def _heads(view: View) -> str:
    """What the heads stand for that are shorter than the title of their column."""
    meant = {column.title: COLUMNS[column.name].title for column in view.columns if column.name in BRIEF}
    return "; ".join(f"{brief}: {title}" for brief, title in meant.items()) + "." if meant else ""


def _said(view: View) -> Iterator[tuple[str, str, str]]:
    """Every note: which kind of notes it belongs to, its mark as LaTeX, its text.

    What helps against a doubt is for who measures, not for who reads.
    """
    remarks = " ".join(filter(None, (_heads(view), *view.remarks[len(_urgent(view)) :])))
    if remarks:
        yield "both", "", remarks
    dagger = r"\ensuremath{\dagger} "
    if view.doubt_kinds:
        about: dict[str, list[str]] = {}
        for kind in view.doubt_kinds:
            about.setdefault(kind.quantity, []).append(kind.phrase)
        texts = (f"{', '.join(phrases)} ({quantity})" for quantity, phrases in about.items())
        yield "short", dagger, f"Doubts of the measurement: {'; '.join(texts)}."
    if view.notes:
        yield "short", "", "n/a: not measured."
    for kind in view.doubt_kinds:
        yield "full", dagger, kind.text(remedy=False)
    for number, text in enumerate(view.notes, 1):
        yield "full", rf"\textsuperscript{{{number}}} ", text
