"""The Pareto figure: any two columns against each other, with intervals, the front, and how sure it is.

A panel holds rows that may all be compared with each other in both columns (see report.rows.comparable).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from swapbench import units
from swapbench.errors import UnknownName
from swapbench.report.figures.drawing import Drawing, drawing
from swapbench.report.figures.intervals import CAPTION, draw_intervals
from swapbench.report.figures.labels import label_boxes
from swapbench.report.figures.pareto_points import ends_of, is_log, points_csv, points_of
from swapbench.report.figures.style import (
    GREY,
    PRECISIONS,
    Key,
    Looks,
    Page,
    Panel,
    characters,
    face,
    keep_on_page,
    lighter,
    log_axis,
    mark,
    not_drawn,
    plain_axis,
    sheet,
    shortened,
)
from swapbench.report.tables.column import DAGGER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.figures.intervals import Uncertainty
    from swapbench.report.figures.labels import Box
    from swapbench.report.figures.pareto_points import Point
    from swapbench.report.tables.column import Column
    from swapbench.report.tables.table import Table

_How = Literal["auto", "names", "keys"]

SMALLEST_PT2, LARGEST_PT2 = 13.0, 80.0
CROWD = 60
BARS_AT_MOST = 100
"""With more points than this only the front has bars: the others' would hide the points."""
LABELLED_AT_MOST = 6
BESIDE = 36
"""Letters of a name beside a point; one that is longer keeps both of its ends."""
FEW = 3
"""So few points have all their names beside them."""
LIKELY = 0.25
"""A file that is not on the front is named where it is there in at least this share of the draws."""


@dataclass(frozen=True)
class Labels:
    """How files are named.

    Attributes:
        how: "names" beside their points, "keys" for numbers with the names in a legend, "auto" for names
            where there are few points.
        shares: whether a name says in how many draws its file is on the front.
    """

    how: _How = "auto"
    shares: bool = False

    @classmethod
    def of(cls, how: str, *, shares: bool) -> Labels:
        """The same from what was typed; UnknownName where `how` is none of them."""
        if how not in get_args(_How):
            raise UnknownName("way to label points", how, get_args(_How))
        return cls(cast("_How", how), shares)

    def beside(self, points: Sequence[Point]) -> bool:
        """Whether names stand beside points."""
        return self.how == "names" or (self.how == "auto" and len(points) <= FEW)

    def text(self, point: Point, longest: int) -> str:
        """A file's name, a dagger where it is doubtful, how often it is on the front where that is asked."""
        share = point.share_on_front if self.shares else None
        often = "" if share is None else f" {100 * share:.0f} %"
        return f"{shortened(point.label, longest)}{f' {DAGGER}' if point.doubtful else ''}{often}"


USUAL_LABELS = Labels()


def draw(
    table: Table,
    evidence: Evidence,
    page: Page,
    columns: tuple[Column, Column],
    labels: Labels = USUAL_LABELS,
    uncertainty: Uncertainty = "bars",
) -> Drawing:
    """The figure of a table; the shares on the front are drawn from the evidence."""
    x, y = columns
    points, left_out = points_of(table.rows, x, y, evidence)
    if not points:
        lacking = x.title if x.name == y.name else f"both {x.title} and {y.title}"
        return Drawing({}, f"no record has {lacking}, so there is nothing to draw", left_out)
    bars = ", with their intervals" if any(column.low is not None for column in (x, y)) else ""
    return drawing(
        lambda: figure_of(points, page, columns, labels, left_out, uncertainty),
        points_csv(points, x, y),
        page,
        left_out,
        f"{y.title} against {_small(x)} of each file{bars}; the line is the Pareto front."
        + (CAPTION[uncertainty] if bars else ""),
        {x.about, y.about, "intervals"},
    )


def _small(column: Column) -> str:
    title = column.title
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def figure_of(
    points: Sequence[Point],
    page: Page,
    columns: tuple[Column, Column],
    labels: Labels = USUAL_LABELS,
    left_out: Sequence[str] = (),
    uncertainty: Uncertainty = "bars",
) -> Figure:
    """Draw `points`, of which there is at least one; call it inside `rc_context(page.rc)`."""
    x, y = columns
    groups = list(dict.fromkeys((point.machine, point.data) for point in points))
    a_row = 2 if page.wide and len(groups) > 1 else 1
    height_in = 3.2 if page.wide and a_row == 1 else 2.1
    below_in = (
        0.5 if "\n" in _axis_title(x, points, page.width_in / page.scale / a_row - 0.6, page, "x") else 0.4
    )
    panels = [
        Panel(height_in, _panel_title(group, groups) if len(groups) > 1 else "", below_in) for group in groups
    ]
    notes = []
    if labels.shares and any(point.share_on_front is not None for point in points):
        notes.append("Per cent: share of bootstrap draws with the file on the front.")
    if any(point.doubtful for group in groups for point in labelled(_of(points, group), page)):
        notes.append("† doubtful record, see the table.")
    if any(len(_of(points, group)) > BARS_AT_MOST for group in groups):
        notes.append("Intervals of the front only; the data file has all.")
    notes += not_drawn(f"no {_small(x)} or no {_small(y)}", left_out, ", see the table")
    y_title = _axis_title(y, points, height_in, page)
    shown = _Shown.of(points, uncertainty)
    named = [point for group in groups for point in labelled(_of(points, group), page)]
    beside = labels.beside(points)
    longest = BESIDE if beside else characters(page.width_in - page.inch(0.65), page, 6)
    texts = {point: labels.text(point, longest) for point in named}
    keys = _keys(points, shown, page, x, y)
    if not beside:
        keys.insert(0, _key_of_names(texts, shown, page))
        texts = {point: str(number) for number, point in enumerate(texts, 1)}
    figure, axes = sheet(
        page,
        panels,
        keys,
        left_in=0.62 if "\n" in y_title else 0.5,
        a_row=a_row,
        notes=notes,
        simulated=_simulated(points, x, y),
    )
    for panel, group in zip(axes, groups, strict=True):
        own = _of(points, group)
        _panel(panel, own, shown, y_title, page, x, y)
        _draw_labels(panel, own, {point: texts[point] for point in own if point in texts}, shown, page, x, y)
    return figure


def _of(points: Sequence[Point], group: tuple[str, str]) -> list[Point]:
    return [point for point in points if (point.machine, point.data) == group]


def _simulated(points: Sequence[Point], x: Column, y: Column) -> bool:
    accuracy = any("accuracy" in column.parts for column in (x, y))
    return accuracy and any(point.data_simulated for point in points)


def _panel_title(panel: tuple[str, str], panels: Sequence[tuple[str, str]]) -> str:
    """Only what differs between the panels."""
    return ": ".join(part for i, part in enumerate(panel) if part and len({other[i] for other in panels}) > 1)


# ---- Axes ----


def _axis_title(column: Column, points: Sequence[Point], room_in: float, page: Page, which: str = "y") -> str:
    scale = "log scale; " if is_log(column, points, which) else ""
    title = f"{column.heading} ({scale}{column.better} is better)"
    if len(title) <= characters(page.inch(room_in), page, 6.4):
        return title
    return f"{column.heading}\n({scale}{column.better} is better)"


@dataclass(frozen=True)
class _Shown:
    """What colour, marker and size say in all panels of one figure, and how intervals are drawn."""

    models: Looks
    runtimes: Looks
    diameter_pt: Mapping[int | None, float]
    uncertainty: Uncertainty

    @classmethod
    def of(cls, points: Sequence[Point], uncertainty: Uncertainty) -> _Shown:
        """Networks on a front are served first with colours.

        The marker's area grows with the square root of the file size: sizes differ too much for a linear
        scale. Markers of a crowd are smaller, and where all files have the same size it says nothing.
        """
        sizes = {point.file_bytes for point in points}
        largest = max((size or 0 for size in sizes), default=0) or 1
        crowd = min(1.0, max(CROWD / len(points), 0.25))

        def diameter(size: int | None) -> float:
            share = math.sqrt((size or 0) / largest) if len(sizes) > 1 else 0.2
            return math.sqrt((SMALLEST_PT2 + (LARGEST_PT2 - SMALLEST_PT2) * share) * crowd)

        return cls(
            Looks.of((point.model for point in points), (point.model for point in points if point.on_front)),
            Looks.of(point.runtime for point in points),
            {size: diameter(size) for size in sizes},
            uncertainty,
        )


def _panel(
    axes: Axes, points: Sequence[Point], shown: _Shown, y_title: str, page: Page, x: Column, y: Column
) -> None:
    _limits(axes, "x", x, points)
    _limits(axes, "y", y, points)
    keep_on_page(axes)
    axes.set_xlabel(
        _axis_title(x, points, axes.get_position().width * page.width_in / page.scale, page, "x"),
        labelpad=page.pt(2),
    )
    axes.set_ylabel(y_title, labelpad=page.pt(2))
    axes.grid(visible=True, which="major")
    if len(points) > 1:
        _front_line(axes, points, page, x, y)
    _draw_points(axes, points, shown, page, x, y)


def _limits(axes: Axes, which: str, column: Column, points: Sequence[Point]) -> None:
    ends = [ends_of(point, column, which) for point in points]
    low, high = min(low for _, low, _ in ends), max(high for _, _, high in ends)
    axis, set_limits = (axes.xaxis, axes.set_xlim) if which == "x" else (axes.yaxis, axes.set_ylim)
    if is_log(column, points, which):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        margin = max((high / low) ** 0.08, 1.08)
        set_limits(low / margin, high * margin)
        log_axis(axis, low / margin, high * margin)
        return
    span = max(high - low, 0.5 if column.quantity == "share" else 1e-9)
    # Zero is shown whenever it is near: a cut axis makes small differences look large.
    start = 0.0 if 0 <= low < span else low - 0.1 * span
    top = max(high, start + 0.5) if column.quantity == "share" else high
    room = 0.06 * (top - start) if top > start else 0.1
    set_limits(max(start - room, 0.0) if low >= 0 else start - room, top + room)
    plain_axis(axis, negative=low < 0)


def _front(points: Sequence[Point], x: Column, y: Column) -> list[tuple[float, float]]:
    """The points of the front from the best in x to the best in y."""
    sign = 1 if x.better == "lower" else -1
    corners = {(x.shown(point.x), y.shown(point.y)) for point in points if point.on_front}
    return sorted(corners, key=lambda corner: (sign * corner[0], corner[1]))


def _corners(axes: Axes, points: Sequence[Point], x: Column, y: Column) -> list[tuple[float, float]]:
    """The border of what the front dominates.

    Between two points of the front only the worse of both values is reached for sure, so the border is a
    staircase.
    """
    front = _front(points, x, y)
    x_worst = axes.get_xlim()[1 if x.better == "lower" else 0]
    y_worst = axes.get_ylim()[1 if y.better == "lower" else 0]
    corners = [(front[0][0], y_worst), front[0]]
    for (_, y_here), (x_next, y_next) in itertools.pairwise(front):
        corners += [(x_next, y_here), (x_next, y_next)]
    return [*corners, (x_worst, front[-1][1])]


def _front_line(axes: Axes, points: Sequence[Point], page: Page, x: Column, y: Column) -> None:
    corners = _corners(axes, points, x, y)
    axes.plot(
        [corner[0] for corner in corners],
        [corner[1] for corner in corners],
        color=GREY,
        linewidth=page.pt(0.8),
        zorder=1.5,
    )


def _draw_points(
    axes: Axes, points: Sequence[Point], shown: _Shown, page: Page, x: Column, y: Column
) -> None:
    """Points that look alike in one go, the largest first, which would hide others; the front on top."""
    models, runtimes = shown.models, shown.runtimes
    alike: dict[tuple[bool, float, str, str, str], list[Point]] = {}
    for point in points:
        diameter = shown.diameter_pt[point.file_bytes]
        # networks beyond the palette share a colour, and thousands of them must not be thousands of artists
        model = point.model if point.model in models.names else models.others[0]
        key = (point.on_front, -diameter, model, point.runtime, point.precision)
        alike.setdefault(key, []).append(point)
    for (is_front, size, model, runtime, precision), members in sorted(alike.items()):
        colour = models.colour(model) if is_front else lighter(models.colour(model))
        ends = [(ends_of(point, x, "x"), ends_of(point, y, "y")) for point in members]
        if is_front or len(points) <= BARS_AT_MOST:
            draw_intervals(axes, ends, shown.uncertainty, colour, 0.8 if is_front else 0.6, page)
        axes.plot(
            [value for (value, _, _), _ in ends],
            [value for _, (value, _, _) in ends],
            linestyle="none",
            marker=runtimes.marker(runtime),
            markersize=page.pt(-size),
            clip_on=False,
            zorder=3 + is_front / 2,
            **face(colour, precision, page),
        )


# ---- Labels ----


def labelled(points: Sequence[Point], page: Page) -> list[Point]:
    """The points that get a name: the front from left to right, then those often on it; all of a few."""
    most = LABELLED_AT_MOST * (2 if page.wide else 1)
    if len(points) <= FEW:
        return list(points)
    front = sorted(
        (point for point in points if point.on_front), key=lambda point: (point.x, point.y, point.label)
    )
    likely = sorted(
        (point for point in points if not point.on_front and (point.share_on_front or 0) >= LIKELY),
        key=lambda point: (-(point.share_on_front or 0), point.x, point.label),
    )
    return [*front, *likely][:most]


def _key_of_names(texts: Mapping[Point, str], shown: _Shown, page: Page) -> Key:
    """The legend of the numbers in the plot."""
    entries = (
        mark(
            page,
            f"{number}  {text}",
            marker=shown.runtimes.marker(point.runtime),
            **face(_colour(point, shown), point.precision, page),
        )
        for number, (point, text) in enumerate(texts.items(), 1)
    )
    near = any(not point.on_front for point in texts)
    return Key("On the front, or likely to be" if near else "On the front", tuple(entries))


def _colour(point: Point, shown: _Shown) -> str:
    colour = shown.models.colour(point.model)
    return colour if point.on_front else lighter(colour)


def _draw_labels(
    axes: Axes,
    points: Sequence[Point],
    texts_of: Mapping[Point, str],
    shown: _Shown,
    page: Page,
    x: Column,
    y: Column,
) -> None:
    """Names or numbers where they hide nothing."""
    named = list(texts_of)
    pixels = axes.figure.dpi / 72 * page.scale

    def at(shown_x: float, shown_y: float) -> tuple[float, float]:
        found = axes.transData.transform((shown_x, shown_y))
        return float(found[0]), float(found[1])

    obstacles: list[Box] = []
    lines: list[Box] = []
    places = [(ends_of(point, x, "x"), ends_of(point, y, "y")) for point in points]
    # value, low and high of each point, all at once: one by one it would take longer than the drawing
    here, low_ends, high_ends = (
        axes.transData.transform([(of_x[which], of_y[which]) for of_x, of_y in places]) for which in range(3)
    )
    for point, *pixels_of in zip(points, here.tolist(), low_ends.tolist(), high_ends.tolist(), strict=True):
        (here_x, here_y), (left, low), (right, high) = pixels_of
        radius = (shown.diameter_pt[point.file_bytes] / 2 + 1) * pixels
        obstacles.append((here_x - radius, here_y - radius, here_x + radius, here_y + radius))
        lines += [
            (left, here_y - pixels, right, here_y + pixels),
            (here_x - pixels, low, here_x + pixels, high),
        ]
    frame = axes.get_window_extent()
    bounds = (frame.x0 + 2 * pixels, frame.y0 + 2 * pixels, frame.x1, frame.y1)
    corners = [at(*point) for point in _corners(axes, points, x, y)]
    for (from_x, from_y), (to_x, to_y) in itertools.pairwise(corners):
        lines.append(
            (
                min(from_x, to_x) - pixels / 2,
                min(from_y, to_y) - pixels / 2,
                max(from_x, to_x) + pixels / 2,
                max(from_y, to_y) + pixels / 2,
            )
        )
    # A halo would turn the text of an SVG into outlines; a box keeps it text.
    paper = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.3 * page.scale}
    texts = [
        axes.text(
            0,
            0,
            texts_of[point],
            fontsize=page.pt(6),
            color="black" if point.on_front else "0.4",
            zorder=2.9,
            bbox=paper,
            transform=None,
        )
        for point in named
    ]
    extents = [text.get_window_extent() for text in texts]
    anchors = []
    for point in named:
        here_x, here_y = at(x.shown(point.x), y.shown(point.y))
        anchors.append((here_x, here_y, shown.diameter_pt[point.file_bytes] / 2 * pixels))
    boxes = label_boxes(anchors, [(e.width + 2, e.height + 1) for e in extents], obstacles, lines, bounds)
    for text, box, (here_x, here_y, radius) in zip(texts, boxes, anchors, strict=True):
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        text.set_transform(axes.transData)
        text.set_position(tuple(axes.transData.inverted().transform(middle)))
        text.set(ha="center", va="center")
        near_x, near_y = min(max(here_x, box[0]), box[2]), min(max(here_y, box[1]), box[3])
        if math.hypot(near_x - here_x, near_y - here_y) > radius + 3 * pixels:
            ends = axes.transData.inverted().transform([(here_x, here_y), (near_x, near_y)])
            axes.plot(ends[:, 0], ends[:, 1], color="0.5", linewidth=page.pt(0.4), zorder=1.8)


# ---- Legends ----


def _keys(points: Sequence[Point], shown: _Shown, page: Page, x: Column, y: Column) -> list[Key]:
    models, runtimes = shown.models, shown.runtimes
    keys = [
        models.key(
            "Network",
            lambda name, label: mark(page, label, marker="o", **face(models.colour(name), "fp32", page)),
        ),
        runtimes.key(
            "File, runtime",
            lambda name, label: mark(page, label, marker=runtimes.marker(name), **face(GREY, "fp32", page)),
        ),
    ]
    precisions = [name for name in PRECISIONS if any(point.precision == name for point in points)]
    keys.append(
        Key("Precision", tuple(mark(page, name, marker="o", **face(GREY, name, page)) for name in precisions))
    )
    sizes = sorted({point.file_bytes for point in points if point.file_bytes is not None})
    if len(sizes) > 1:
        ends = dict.fromkeys((sizes[0], sizes[-1]))
        disks = [mark(page, units.size(size, 2), marker="o", **face(GREY, "int8", page)) for size in ends]
        for disk, point in zip(disks, ends, strict=True):
            disk.set(markersize=page.pt(shown.diameter_pt[point]))
        keys.append(Key("File size", tuple(disks)))
    last = []
    if len(points) > len({(point.machine, point.data) for point in points}):
        last.append(mark(page, "Pareto front", linestyle="-", color=GREY, linewidth=page.pt(0.8)))
    if not all(point.on_front for point in points):
        last += [
            mark(page, "on the front", marker="o", **face("#000000", "fp32", page)),
            mark(page, "dominated", marker="o", **face(lighter("#000000"), "fp32", page)),
        ]
    if shown.uncertainty == "ellipse" and all(column.low is not None for column in (x, y)):
        last.append(mark(page, "both intervals, each by itself", marker="o", color=lighter(GREY)))
    elif any(column.low is not None for column in (x, y)):
        bar = {
            "linestyle": "-",
            "color": GREY,
            "linewidth": page.pt(0.6),
            "marker": "|",
            "markersize": page.pt(5),
        }
        last.append(mark(page, "interval", **bar))
    return [*keys, Key("", tuple(last))]
