"""How every figure looks: sizes, colours, markers; the sheet with its panels, legends and notes.

Sizes are those of a paper in inches and points; the screen style is the same layout magnified. Colours are
safe for colour-blind readers, and whatever colour tells is told by a marker, a fill or a line style too.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from swapbench.errors import UnknownName, UserError
from swapbench.report.tables.table import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

StyleName = Literal["paper", "screen"]
WidthName = Literal["column", "page"]
NARROWEST_IN, WIDEST_IN = 3.3, 20.0

# Okabe and Ito's palette, safe for colour-blind readers, in an order whose neighbours also differ in grey; in
# place of its black and yellow Paul Tol's wine, because black and grey have meanings and yellow is faint.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#882255", "#D55E00", "#56B4E9")
OTHER = "#999999"
GREY = "#555555"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))
LETTER = 0.56
PRECISIONS: Mapping[str, str] = {
    "fp32": "full",
    "fp16": "bottom",
    "int16x8": "top",
    "int8": "none",
    "int8-dynamic": "left",
    "unknown": "right",
}
"""Precision -> how its marker is filled."""
PRECISION_LINES: Mapping[str, Any] = {
    "fp32": LINES[0],
    "fp16": LINES[2],
    "int16x8": (0, (7, 1.5)),
    "int8": LINES[1],
    "int8-dynamic": (0, (4, 1.5, 1, 1.5, 1, 1.5)),
    "unknown": LINES[3],
}
PRECISION_MARKERS: Mapping[str, str] = {
    "fp32": "o",
    "fp16": "^",
    "int16x8": "v",
    "int8": "s",
    "int8-dynamic": "P",
    "unknown": "D",
}


@dataclass(frozen=True)
class Page:
    """The width a figure is drawn in, and how much larger than on paper all of it is."""

    width_in: float
    scale: float
    dots_per_inch: int

    def inch(self, paper_in: float) -> float:
        """A length of the paper style on this page."""
        return paper_in * self.scale

    def pt(self, paper_pt: float) -> float:
        """A size in points of the paper style on this page."""
        return paper_pt * self.scale

    @property
    def wide(self) -> bool:
        """Whether there is room for more than one column of text."""
        return self.width_in / self.scale > 5

    def a_row(self, panels: int) -> int:
        """How many of so many panels stand side by side."""
        return 2 if self.wide and panels > 1 else 1

    @property
    def rc(self) -> dict[Any, Any]:
        """Settings for matplotlib's rc_context, inside which a figure is drawn."""
        sizes = {
            "font.size": 7,
            "axes.linewidth": 0.6,
            "axes.labelsize": 7,
            "axes.titlesize": 6.5,
            "xtick.labelsize": 6.5,
            "ytick.labelsize": 6.5,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "xtick.minor.width": 0.4,
            "ytick.minor.width": 0.4,
            "xtick.major.size": 3.0,
            "ytick.major.size": 3.0,
            "xtick.minor.size": 1.6,
            "ytick.minor.size": 1.6,
            "lines.linewidth": 1.0,
            "grid.linewidth": 0.5,
        }
        return {name: self.pt(size) for name, size in sizes.items()} | {
            "font.family": "DejaVu Sans",
            "grid.color": "0.9",
            "svg.fonttype": "none",
            "svg.hashsalt": "swapbench",
            "pdf.fonttype": 42,
            "text.parse_math": False,
            "axes.unicode_minus": True,
        }


PAGES: Mapping[str, Mapping[str, Page]] = {
    # One column of a two-column paper is 88.9 mm, both with the gap 181.9 mm; a slide of 16:9 is 13.33 in.
    "paper": {"column": Page(3.5, 1.0, 300), "page": Page(7.16, 1.0, 300)},
    "screen": {"column": Page(6.67, 1.9, 150), "page": Page(13.33, 1.9, 150)},
}


def page_of(style: str, width: str) -> Page:
    """The page of a style and a width: "column", "page", or inches, such as "5.2".

    Raises:
        UnknownName: There is no such style or width.
        UserError: The width leaves no room, or is wider than any page.
    """
    if style not in PAGES:
        raise UnknownName("figure style", style, PAGES)
    if width in PAGES[style]:
        return PAGES[style][width]
    inches = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+) *(?:in)?", width)
    if inches is None:
        raise UnknownName("figure width", width, PAGES[style])
    page = replace(PAGES[style]["column"], width_in=float(inches[1]))
    least = page.inch(NARROWEST_IN)
    if not least <= page.width_in <= WIDEST_IN:
        raise UserError(
            f"a figure cannot be {inches[1]} inches wide",
            remedy=f"Choose a width from {least:g} to {WIDEST_IN:g} inches, or column or page",
        )
    return page


# ---- The sheet ----


@dataclass(frozen=True)
class Panel:
    """Room for one pair of axes, in inches of the paper style.

    Attributes:
        below_in: Room for its ticks and its axis label.
    """

    height_in: float
    title: str = ""
    below_in: float = 0.4


@dataclass(frozen=True)
class Key:
    """One legend: its title and its entries."""

    title: str
    entries: tuple[Artist, ...]


def sheet(
    page: Page,
    panels: Sequence[Panel],
    keys: Sequence[Key] = (),
    *,
    left_in: float = 0.5,
    right_in: float = 0.1,
    a_row: int = 1,
    notes: Sequence[str] = (),
    simulated: bool = False,
) -> tuple[Figure, tuple[Axes, ...]]:
    """An empty figure as wide as the page and as high as its parts need.

    Call it inside rc_context(page.rc).

    Args:
        page: Lengths below are in inches of its paper style.
        panels: Those of one row stand side by side, aligned at their heads.
        keys: The legends, below the panels.
        left_in: Room left of each pair of axes.
        right_in: Room right of it.
        a_row: How many panels stand side by side.
        notes: Sentences at the foot.
        simulated: Whether the warning about simulated data stands at the head.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Text is measured at the resolution that it is drawn at: at fewer dots legends would touch.
    figure = Figure(figsize=(page.width_in, 1.0), dpi=page.dots_per_inch)
    FigureCanvasAgg(figure)
    legends = [_legend(figure, page, key) for key in keys if key.entries]
    legends_in = _flow(figure, page, legends, 0.0)
    lines = [line for note in notes for line in _wrapped(note, page)]
    notes_in = page.inch(0.1 * len(lines) + 0.05 * bool(lines))
    top_in = page.inch(0.08 + 0.15 * simulated)
    rows = [panels[start : start + a_row] for start in range(0, len(panels), a_row)]
    panels_in = sum(page.inch(_highest_in(row) + row[0].below_in + _title_in(row[0])) for row in rows)
    height_in = top_in + panels_in + legends_in + notes_in
    figure.set_size_inches(page.width_in, height_in)
    _flow(figure, page, legends, legends_in + notes_in)
    left, right = page.inch(left_in), page.inch(right_in)
    if simulated:
        figure.text(
            min(left, page.inch(0.5)) / page.width_in,
            1 - page.inch(0.05) / height_in,
            SIMULATED,
            fontsize=page.pt(7),
            fontweight="bold",
            va="top",
            ha="left",
        )
    for number, line in enumerate(reversed(lines)):
        figure.text(
            page.inch(0.08) / page.width_in,
            page.inch(0.05 + 0.1 * number) / height_in,
            line,
            fontsize=page.pt(5.5),
            color="0.35",
        )
    axes = []
    cell_in = page.width_in / a_row
    edge_in = height_in - top_in
    for row in rows:
        edge_in -= page.inch(_title_in(row[0]) + _highest_in(row))
        for place, panel in enumerate(row):
            box = (
                (place * cell_in + left) / page.width_in,
                (edge_in + page.inch(_highest_in(row) - panel.height_in)) / height_in,
                (cell_in - left - right) / page.width_in,
                page.inch(panel.height_in) / height_in,
            )
            axes.append(figure.add_axes(box))
            if panel.title:
                title = shortened(panel.title, characters(cell_in - left - right, page, 6.5))
                axes[-1].set_title(title, fontsize=page.pt(6.5), loc="left", pad=page.pt(3))
            axes[-1].spines[["top", "right"]].set_visible(False)
            axes[-1].set_axisbelow(True)
        edge_in -= page.inch(row[0].below_in)
    return figure, tuple(axes)


def _highest_in(row: Sequence[Panel]) -> float:
    return max(panel.height_in for panel in row)


def _title_in(panel: Panel) -> float:
    return 0.16 if panel.title else 0.0


def characters(width_in: float, page: Page, size_pt: float) -> int:
    """How many characters of a size fit into a width; in this font a letter is 0.56 of the size wide."""
    return int(width_in * 72 / (page.pt(size_pt) * LETTER))


def _wrapped(note: str, page: Page) -> list[str]:
    return textwrap.wrap(note, characters(page.width_in - page.inch(0.16), page, 5.5), break_on_hyphens=False)


def shortened(text: str, longest: int, head: float = 0.5) -> str:
    """The text, or its two ends with an ellipsis between, `head` of it before; data files keep all of it."""
    if len(text) <= longest:
        return text
    first = max(int((longest - 1) * head), 1)
    return f"{text[:first]}…{text[len(text) - max(longest - 1 - first, 1) :]}"


def distinct(names: Iterable[str], longest: int) -> dict[str, str]:
    """Each name in at most so many letters, mostly its end, which tells files apart.

    Names that would look alike all the same get numbers.
    """
    every = list(dict.fromkeys(names))
    for head in (0.3, 0.0):
        shown = {name: shortened(name, longest, head) for name in every}
        counts = Counter(shown.values())
        if max(counts.values(), default=0) <= 1:
            return shown
    for number, name in enumerate(every, 1):
        if counts[shown[name]] > 1:
            shown[name] = f"{shortened(name, longest - len(f' ({number})'), 0.0)} ({number})"
    return shown


def left_for(
    names: Iterable[str], page: Page, size_pt: float = 6.5, least_in: float = 0.5, a_row: int = 1
) -> tuple[float, int]:
    """Room at the left for names beside an axis, and how many letters of a name fit in it.

    The room is in inches of the paper style.

    At most half of the width, of which each of `a_row` panels side by side has its part.
    """
    longest = max((len(name) for name in names), default=0)
    letter_in = 0.6 * size_pt / 72  # room for the widest names, which have no letter to spare at the edge
    most = int((0.5 * page.width_in / page.scale / a_row - 0.15) / letter_in)
    return max(least_in, min(longest, most) * letter_in + 0.15), most


def _legend(figure: Figure, page: Page, key: Key) -> Legend:
    """Entries below each other under a title while they are few; else in as many columns as fit."""
    below = bool(key.title) and len(key.entries) < 8
    for columns in range(1 if below else len(key.entries), 0, -1):
        legend = figure.legend(
            handles=list(key.entries),
            title=key.title or None,
            ncols=columns,
            loc="upper left",
            frameon=False,
            fontsize=page.pt(6),
            title_fontsize=page.pt(6.5),
            alignment="left",
            handletextpad=0.5,
            columnspacing=1.2,
            borderpad=0.1,
            labelspacing=0.4,
            handlelength=1.8,
        )
        if columns == 1 or legend.get_window_extent().width / figure.dpi < page.width_in - page.inch(0.12):
            break
        legend.remove()
    return legend


def _flow(figure: Figure, page: Page, legends: Sequence[Legend], top_in: float) -> float:
    """Set legends side by side from the left, in as many lines as needed; their height in inches."""
    if not legends:
        return 0.0
    height_in = figure.get_size_inches()[1]
    left_in = x_in = page.inch(0.06)
    line_top_in, line_height_in = top_in, 0.0
    for legend in legends:
        extent = legend.get_window_extent()
        wide_in, high_in = extent.width / figure.dpi, extent.height / figure.dpi
        if x_in > left_in and x_in + wide_in > page.width_in - page.inch(0.04):
            x_in, line_top_in, line_height_in = left_in, line_top_in - line_height_in - page.inch(0.03), 0.0
        legend.set_bbox_to_anchor(
            (x_in / page.width_in, line_top_in / height_in), transform=figure.transFigure
        )
        x_in += wide_in + page.inch(0.07)
        line_height_in = max(line_height_in, high_in)
    return top_in - line_top_in + line_height_in + page.inch(0.06)


# ---- Colours and markers ----


@dataclass(frozen=True)
class Looks:
    """A colour for each name; names beyond the palette share one grey and one entry of the legend."""

    names: tuple[str, ...]
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str], first: Iterable[str] = ()) -> Looks:
        """Colours in alphabetical order; of too many names, those of `first` come first."""
        every, wanted = sorted(set(names)), set(first)
        if len(every) > len(COLOURS):
            served = sorted(sorted(every, key=lambda name: (name not in wanted, name))[: len(COLOURS)])
            return cls(tuple(served), tuple(name for name in every if name not in served))
        return cls(tuple(every))

    def colour(self, name: str) -> str:
        """The colour of a name."""
        return COLOURS[self.names.index(name)] if name in self.names else OTHER

    def marker(self, name: str) -> str:
        """The marker of a name."""
        return MARKERS[self.names.index(name) % len(MARKERS)] if name in self.names else "."

    def key(self, title: str, draw: Callable[[str, str], Artist]) -> Key:
        """The legend: draw(name, label) for each name and once for all others."""
        entries = [draw(name, label) for name, label in distinct(self.names, 36).items()]
        if self.others:
            entries.append(draw(self.others[0], f"{len(self.others)} others"))
        return Key(title, tuple(entries))

    def line_key(self, title: str, page: Page, width_pt: float, marker_pt: float = 0.0) -> Key:
        """The legend of lines in these colours, and with these markers where markers have a size."""

        def line(name: str, label: str) -> Artist:
            marker = {"marker": self.marker(name), "markersize": page.pt(marker_pt)} if marker_pt else {}
            look = {"linestyle": "-", "linewidth": page.pt(width_pt), "color": self.colour(name)}
            return mark(page, label, **look, **marker)

        return self.key(title, line)


def face(colour: str, precision: str, page: Page) -> dict[str, Any]:
    """Precision as fill: full, half, open. Open means white, so that no line shows through."""
    fill, width = PRECISIONS.get(precision, "none"), page.pt(0.9)
    if fill == "none":
        return {"markeredgecolor": colour, "markerfacecolor": "white", "markeredgewidth": width}
    return {"color": colour, "fillstyle": fill, "markerfacecoloralt": "white", "markeredgewidth": width}


def lighter(colour: str) -> str:
    """The colour half way to white: opaque, unlike a transparent one."""
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{(channel + 255) // 2:02x}" for channel in channels)


def mark(page: Page, label: str, **look: Any) -> Artist:
    """An entry of a legend: a marker or a line with its name."""
    from matplotlib.lines import Line2D

    drawn: dict[str, Any] = {"linestyle": "none", "markersize": page.pt(4.5)} | look
    return Line2D([], [], label=label, **drawn)


# ---- Axes ----


def log_axis(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis that a person reads: 1, 2, 5 where they fit, plain digits."""
    import math

    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    decades = math.log10(high / low)
    axis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.6 else (1.0,)) if decades > 0.9 else MaxNLocator(5)
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(LogLocator(subs="all") if decades > 0.9 else NullLocator())
    axis.set_minor_formatter(NullFormatter())


def plain_axis(axis: Any, *, most: int = 5, negative: bool = False) -> None:
    """Ticks of a linear axis at round numbers, plain digits; none below zero where nothing is negative."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: "" if value < 0 and not negative else f"{round(value, 10):g}")
    )


def keep_on_page(axes: Axes) -> None:
    """Drop the ticks of the x axis whose labels the edge of the page would cut; call it with final limits."""
    low, high = sorted(axes.get_xlim())
    edge = axes.figure.bbox.x1
    labels = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    kept = [value for value, text in labels if low <= value <= high and text.get_window_extent().x1 <= edge]
    axes.set_xticks(kept)


def not_drawn(why: str, left_out: Sequence[str], where: str = "") -> list[str]:
    """The note on rows that a figure lacks; none where it lacks none."""
    count = len(left_out)
    return [f"Not drawn ({why}): {count} record{'s' * (count != 1)}{where}."] if count else []
