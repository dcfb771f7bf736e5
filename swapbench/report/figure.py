"""The Pareto figure: ACER against median latency, in the width of one column of a paper.

Who is on the front, what the figure's data are and where labels go are pure functions; only `draw` knows matplotlib.
A panel holds what may be compared: one machine, one data set and protocol. The same rows give the same bytes.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench import units
from swapbench.report.table import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from swapbench.report.summary import Row
    from swapbench.report.table import Table

WIDTH_IN = 3.5
"""One column of a two-column paper (88.9 mm)."""
DOTS_PER_INCH = 300
# Okabe and Ito's palette, safe for colour-blind readers, in an order whose neighbours also differ in grey.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
FILLS: Mapping[str, str] = {"fp32": "full", "fp16": "bottom", "int8": "none", "unknown": "right"}
SMALLEST_PT2, LARGEST_PT2 = 13.0, 80.0
LABELLED_AT_MOST = 6
GREY = "#555555"
RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.linewidth": 0.6,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "swapbench",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Point:
    """One row in the figure: what is drawn, in the units in which it is stored."""

    label: str
    machine: str
    data: str
    model: str
    precision: str
    runtime: str
    latency_p50_ns: float
    latency_low_ns: float
    latency_high_ns: float
    acer: float
    acer_low: float
    acer_high: float
    file_bytes: int | None
    data_simulated: bool
    on_front: bool


@dataclass(frozen=True)
class Drawing:
    """The files of the figure by suffix (png, svg, pdf, csv); empty with a reason when nothing can be drawn."""

    files: Mapping[str, bytes]
    reason: str
    left_out: tuple[str, ...]


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Indices, ascending, of the points that no other point dominates; smaller is better in both coordinates.

    A point dominates another one when it is at least as good in both coordinates and better in one, so equal points do
    not dominate each other. Coordinates must be finite.
    """
    front: list[int] = []
    best = math.inf
    ordered = sorted(range(len(points)), key=lambda i: points[i])
    for i in ordered:
        if points[i][1] < best or (front and points[i] == points[front[-1]]):
            front.append(i)
            best = points[i][1]
    return tuple(sorted(front))


def pareto_points(rows: Sequence[Row]) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """The points of the figure and the labels of the rows without speed or accuracy, which cannot be in it."""
    left_out = tuple(row.label for row in rows if row.latency_p50_ns is None or row.acer is None)
    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.label not in left_out:
            panels.setdefault((_machine(row, rows), _data(row, rows)), []).append(row)
    points = []
    for (machine, data), members in panels.items():
        front = pareto_front([(row.latency_p50_ns or 0.0, row.acer or 0.0) for row in members])
        points += [_point(row, machine, data, on_front=i in front) for i, row in enumerate(members)]
    return tuple(points), left_out


def _machine(row: Row, rows: Sequence[Row]) -> str:
    """The machine's name, or all of its fingerprint where another machine has the same name."""
    alike = {other.machine_fingerprint for other in rows if other.machine == row.machine}
    return row.machine if len(alike) == 1 else row.machine_fingerprint


def _data(row: Row, rows: Sequence[Row]) -> str:
    """Data set and protocol, with the digest where other data have the same name."""
    name = (row.dataset, row.protocol)
    alike = {other.dataset_digest for other in rows if (other.dataset, other.protocol) == name}
    digest = "" if len(alike) == 1 else f" ({(row.dataset_digest or '')[:8]})"
    return f"{row.dataset}{digest}, {row.protocol}"


def _point(row: Row, machine: str, data: str, *, on_front: bool) -> Point:
    latency_ns, acer = row.latency_p50_ns or 0.0, row.acer or 0.0
    return Point(
        label=row.label,
        machine=machine,
        data=data,
        model=row.model,
        precision=row.precision,
        runtime=f"{row.format}, {row.runtime}",
        latency_p50_ns=latency_ns,
        latency_low_ns=latency_ns if row.latency_p50_low_ns is None else row.latency_p50_low_ns,
        latency_high_ns=latency_ns if row.latency_p50_high_ns is None else row.latency_p50_high_ns,
        acer=acer,
        acer_low=acer if row.acer_low is None else row.acer_low,
        acer_high=acer if row.acer_high is None else row.acer_high,
        file_bytes=row.file_bytes,
        data_simulated=bool(row.data_simulated),
        on_front=on_front,
    )


def points_csv(points: Sequence[Point]) -> str:
    """The data of the figure: one line a point, nothing rounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(Point.__dataclass_fields__)
    writer.writerow(names)
    for point in points:
        values = (getattr(point, name) for name in names)
        writer.writerow(["" if v is None else str(v).lower() if isinstance(v, bool) else v for v in values])
    return text.getvalue()


# ---- Where labels go ----

Box = tuple[float, float, float, float]
"""left, bottom, right, top"""


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def label_boxes(
    anchors: Sequence[tuple[float, float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    lines: Sequence[Box],
    bounds: Box,
) -> tuple[Box, ...]:
    """A box for each label, near its anchor (x, y, radius), inside `bounds` where it fits, over as little as possible.

    Greedy and deterministic: labels are placed in order, each at the candidate place that costs least. To cover an
    obstacle or an earlier label costs most, to be far away less, to cross a line least. All in the same unit (pixels).
    """
    placed: list[Box] = []
    for (x, y, radius), (width, height) in zip(anchors, sizes, strict=True):
        candidates = []
        for step in range(12):
            reach = radius + 2 + step * height * 0.6
            for turn in range(16):
                angle = 2 * math.pi * turn / 16
                cos, sin = math.cos(angle), math.sin(angle)
                # The box touches the circle of that reach with the side or corner that faces the anchor.
                centre_x = x + cos * reach + width / 2 * max(-1.0, min(1.0, 1.6 * cos))
                centre_y = y + sin * reach + height / 2 * max(-1.0, min(1.0, 1.6 * sin))
                left = min(max(centre_x - width / 2, bounds[0]), max(bounds[2] - width, bounds[0]))
                bottom = min(max(centre_y - height / 2, bounds[1]), max(bounds[3] - height, bounds[1]))
                box = (left, bottom, left + width, bottom + height)
                hidden = sum(overlap(box, other) for other in (*obstacles, *placed)) / (width * height)
                hidden += overlap(box, (x - radius, y - radius, x + radius, y + radius)) / (width * height)
                crossed = sum(overlap(box, line) for line in lines) / (width * height)
                candidates.append((round(40 * hidden + 8 * crossed + step, 6), turn, box))
        placed.append(min(candidates)[2])
    return tuple(placed)


# ---- Drawing ----


def drawing(table: Table) -> Drawing:
    """The figure of a table as PNG, SVG (real text), PDF (TrueType fonts) and its data as CSV."""
    points, left_out = pareto_points(table.rows)
    if not points:
        reason = "no record has both a latency and an accuracy, so there is nothing to draw"
        return Drawing({}, reason, left_out)
    from matplotlib import rc_context

    with rc_context(RC):
        figure = draw(points, left_out)
        files = {"csv": points_csv(points).encode()}
        # Without these, matplotlib writes the time and its version into the files.
        silent = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
        for suffix, metadata in silent.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, dpi=DOTS_PER_INCH, metadata=metadata)
            files[suffix] = buffer.getvalue()
    return Drawing(files, "", left_out)


def draw(points: Sequence[Point], left_out: Sequence[str] = ()) -> Figure:
    """The figure itself; call it inside `rc_context(RC)`. `points` must not be empty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((point.machine, point.data) for point in points))
    simulated = any(point.data_simulated for point in points)
    figure = Figure(figsize=(WIDTH_IN, 1.0))
    FigureCanvasAgg(figure)
    axes_in, gap_in, left_in, right_in = 2.1, 0.5, 0.5, 0.1
    legends = _legends(figure, points)
    legends_in = _flow(figure, legends, left_in=0.06)
    note = _left_out_note(left_out)
    note_in = 0.13 if note else 0.0
    head_in = 0.08 + 0.15 * simulated + 0.13 * (len(panels) > 1)
    height_in = head_in + len(panels) * axes_in + (len(panels) - 1) * gap_in + 0.38 + legends_in + note_in
    figure.set_size_inches(WIDTH_IN, height_in)
    _flow(figure, legends, left_in=0.06, top_in=legends_in + note_in)
    if note:
        figure.text(0.08 / WIDTH_IN, 0.05 / height_in, note, fontsize=5.5, color="0.35")
    if simulated:
        figure.text(
            left_in / WIDTH_IN,
            1 - 0.05 / height_in,
            SIMULATED,
            fontsize=7,
            fontweight="bold",
            va="top",
            ha="left",
        )
    for place, panel in enumerate(panels):
        top_in = height_in - head_in - place * (axes_in + gap_in)
        box = (
            left_in / WIDTH_IN,
            (top_in - axes_in) / height_in,
            1 - (left_in + right_in) / WIDTH_IN,
            axes_in / height_in,
        )
        axes = figure.add_axes(box)
        if len(panels) > 1:
            axes.set_title(_panel_title(panel, panels), fontsize=6.5, loc="left", pad=3)
        _panel(axes, [point for point in points if (point.machine, point.data) == panel], points)
    return figure


def _panel_title(panel: tuple[str, str], panels: Sequence[tuple[str, str]]) -> str:
    """Only what differs between the panels."""
    return ": ".join(part for i, part in enumerate(panel) if len({other[i] for other in panels}) > 1)


def _left_out_note(left_out: Sequence[str]) -> str:
    if not left_out:
        return ""
    return f"Not drawn (no speed or no accuracy): {len(left_out)} record{'s' * (len(left_out) != 1)}, see the table."


def _order(points: Sequence[Point], name: str) -> list[str]:
    return list(
        dict.fromkeys(getattr(point, name) for point in sorted(points, key=lambda p: getattr(p, name)))
    )


def _colour(model: str, points: Sequence[Point]) -> str:
    return COLOURS[_order(points, "model").index(model) % len(COLOURS)]


def _marker(runtime: str, points: Sequence[Point]) -> str:
    return MARKERS[_order(points, "runtime").index(runtime) % len(MARKERS)]


def _diameter_pt(file_bytes: int | None, points: Sequence[Point]) -> float:
    """The marker's area grows with the square root of the file size: sizes differ too much for a linear scale."""
    largest = max((point.file_bytes or 0 for point in points), default=0)
    share = math.sqrt((file_bytes or 0) / largest) if largest else 0.0
    return math.sqrt(SMALLEST_PT2 + (LARGEST_PT2 - SMALLEST_PT2) * share)


def _panel(axes: Axes, points: Sequence[Point], everything: Sequence[Point]) -> None:
    axes.set_xscale("log")
    _limits(axes, points)
    axes.set_xlabel("Median latency, ms (log scale; lower is better)", labelpad=2)
    axes.set_ylabel("ACER, % (lower is better)", labelpad=2)
    axes.grid(visible=True, which="major", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(points) > 1:
        _front_line(axes, points)
    # Large markers first, so that no small one hides below them.
    for point in sorted(points, key=lambda p: (p.on_front, -_diameter_pt(p.file_bytes, everything), p.label)):
        _draw_point(axes, point, everything)
    _draw_labels(axes, points, everything)


def _limits(axes: Axes, points: Sequence[Point]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    low_ms = min(point.latency_low_ns for point in points) / 1e6
    high_ms = max(point.latency_high_ns for point in points) / 1e6
    margin = max((high_ms / low_ms) ** 0.08, 1.08)
    axes.set_xlim(low_ms / margin, high_ms * margin)
    decades = math.log10(high_ms * margin**2 / low_ms)
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)) if decades > 0.9 else MaxNLocator(5)
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(LogLocator(subs="all") if decades > 0.9 else NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    top = max(100 * point.acer_high for point in points)
    bottom = min(100 * point.acer_low for point in points)
    span = max(top - bottom, 0.5)
    # Zero is shown whenever it is near: a cut axis makes small differences look large.
    start = 0.0 if bottom < span else bottom - 0.1 * span
    room = 0.09 * (top - start) if top > start else 0.1
    axes.set_ylim(start - room, max(top, start + 0.5) + room)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "" if value < 0 else f"{value:g}"))


def _front_line(axes: Axes, points: Sequence[Point]) -> None:
    """A step: between two points of the front, only the slower one's error is reachable in the time of neither."""
    front = sorted({(point.latency_p50_ns / 1e6, 100 * point.acer) for point in points if point.on_front})
    xs, ys = [x for x, _ in front], [y for _, y in front]
    (_, right), (_, top) = axes.get_xlim(), axes.get_ylim()
    axes.plot(
        [xs[0], *xs, right], [top, *ys, ys[-1]], drawstyle="steps-post", color=GREY, linewidth=0.8, zorder=1.5
    )


def _draw_point(axes: Axes, point: Point, everything: Sequence[Point]) -> None:
    x, y = point.latency_p50_ns / 1e6, 100 * point.acer
    colour = _colour(point.model, everything)
    if not point.on_front:
        colour = _lighter(colour)
    axes.errorbar(
        x,
        y,
        xerr=[[max(x - point.latency_low_ns / 1e6, 0)], [max(point.latency_high_ns / 1e6 - x, 0)]],
        yerr=[[max(y - 100 * point.acer_low, 0)], [max(100 * point.acer_high - y, 0)]],
        fmt="none",
        ecolor=colour,
        elinewidth=0.8 if point.on_front else 0.6,
        zorder=2 + point.on_front / 2,
    )
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=_marker(point.runtime, everything),
        markersize=_diameter_pt(point.file_bytes, everything),
        clip_on=False,
        zorder=3 + point.on_front / 2,
        **_face(colour, point.precision),
    )


def _face(colour: str, precision: str) -> dict[str, Any]:
    """Precision as fill: full, half, open. Open means white, so that no line shows through."""
    fill = FILLS.get(precision, "none")
    if fill == "none":
        return {"markeredgecolor": colour, "markerfacecolor": "white", "markeredgewidth": 0.9}
    return {"color": colour, "fillstyle": fill, "markerfacecoloralt": "white", "markeredgewidth": 0.9}


def _lighter(colour: str) -> str:
    """The colour half way to white: opaque, unlike a transparent one."""
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{(channel + 255) // 2:02x}" for channel in channels)


def _draw_labels(axes: Axes, points: Sequence[Point], everything: Sequence[Point]) -> None:
    """Names for the front (or for the only points), where they hide nothing."""
    named = [point for point in points if point.on_front]
    if len(points) <= LABELLED_AT_MOST // 2:
        named = list(points)
    named = sorted(named, key=lambda point: (point.latency_p50_ns, point.acer, point.label))[
        :LABELLED_AT_MOST
    ]
    pixels = axes.figure.dpi / 72

    def at(x_ns: float, acer: float) -> tuple[float, float]:
        x, y = axes.transData.transform((x_ns / 1e6, 100 * acer))
        return float(x), float(y)

    obstacles: list[Box] = []
    lines: list[Box] = []
    for point in points:
        x, y = at(point.latency_p50_ns, point.acer)
        radius = (_diameter_pt(point.file_bytes, everything) / 2 + 1) * pixels
        obstacles.append((x - radius, y - radius, x + radius, y + radius))
        (left, low), (right, high) = (
            at(point.latency_low_ns, point.acer_low),
            at(point.latency_high_ns, point.acer_high),
        )
        lines += [(left, y - pixels, right, y + pixels), (x - pixels, low, x + pixels, high)]
    frame = axes.get_window_extent()
    bounds = (frame.x0 + 2 * pixels, frame.y0 + 2 * pixels, frame.x1, frame.y1)
    front = sorted({at(point.latency_p50_ns, point.acer) for point in points if point.on_front})
    corners = [(front[0][0], frame.y1), *front, (frame.x1, front[-1][1])]
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        lines.append((x, y - pixels, next_x, y + pixels))
        lines.append((next_x - pixels, min(y, next_y), next_x + pixels, max(y, next_y)))
    # A halo would turn the text of an SVG into outlines; a box keeps it text.
    paper = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.3}
    texts = [axes.text(0, 0, point.label, fontsize=6, zorder=2.9, bbox=paper) for point in named]
    extents = [text.get_window_extent() for text in texts]
    anchors = []
    for point in named:
        x, y = at(point.latency_p50_ns, point.acer)
        anchors.append((x, y, _diameter_pt(point.file_bytes, everything) / 2 * pixels))
    boxes = label_boxes(anchors, [(e.width + 2, e.height + 1) for e in extents], obstacles, lines, bounds)
    for text, box, (x, y, radius) in zip(texts, boxes, anchors, strict=True):
        text.set_position(
            tuple(axes.transData.inverted().transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)))
        )
        text.set(ha="center", va="center")
        near_x, near_y = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
        if math.hypot(near_x - x, near_y - y) > radius + 5 * pixels:
            ends = axes.transData.inverted().transform([(x, y), (near_x, near_y)])
            axes.plot(ends[:, 0], ends[:, 1], color="0.5", linewidth=0.4, zorder=1.8)


# ---- Legends ----


def _legends(figure: Figure, points: Sequence[Point]) -> list[Legend]:
    from matplotlib.lines import Line2D

    def mark(label: str, marker: str, colour: str, precision: str = "fp32", size_pt: float = 4.5) -> Artist:
        return Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            markersize=size_pt,
            label=label,
            **_face(colour, precision),
        )

    groups: list[tuple[str, list[Artist]]] = []
    models, runtimes = _order(points, "model"), _order(points, "runtime")
    groups.append(("Network", [mark(name, "o", _colour(name, points)) for name in models]))
    groups.append(("File, runtime", [mark(name, _marker(name, points), GREY) for name in runtimes]))
    precisions = [name for name in FILLS if any(point.precision == name for point in points)]
    groups.append(("Precision", [mark(name, "o", GREY, name) for name in precisions]))
    sizes = sorted({point.file_bytes for point in points if point.file_bytes is not None})
    if sizes:
        ends = dict.fromkeys((sizes[0], sizes[-1]))
        disks = [mark(units.size(one, 2), "o", GREY, "int8", _diameter_pt(one, points)) for one in ends]
        groups.append(("File size", disks))
    front: list[Artist] = []
    if len(points) > len({(point.machine, point.data) for point in points}):
        front.append(Line2D([], [], color=GREY, linewidth=0.8, label="Pareto front"))
    if not all(point.on_front for point in points):
        front += [mark("on the front", "o", "#000000"), mark("dominated", "o", _lighter("#000000"))]
    bars = Line2D([], [], color=GREY, linewidth=0.6, marker="|", markersize=5, label="interval")
    groups.append(("", [*front, bars]))
    return [
        figure.legend(
            handles=handles,
            title=title or None,
            ncols=1 if title else len(handles),
            loc="upper left",
            frameon=False,
            fontsize=6,
            title_fontsize=6.5,
            alignment="left",
            handletextpad=0.5,
            columnspacing=1.2,
            borderpad=0.1,
            labelspacing=0.4,
            handlelength=1.4,
        )
        for title, handles in groups
    ]


def _flow(figure: Figure, legends: Sequence[Legend], *, left_in: float, top_in: float = 0.0) -> float:
    """Set legends side by side from the left, in as many lines as they need; the height they take, in inches."""
    height_in = figure.get_size_inches()[1]
    x_in = left_in
    line_top_in, line_height_in = top_in, 0.0
    for legend in legends:
        extent = legend.get_window_extent()
        wide_in, high_in = extent.width / figure.dpi, extent.height / figure.dpi
        if x_in > left_in and x_in + wide_in > WIDTH_IN:
            x_in, line_top_in, line_height_in = left_in, line_top_in - line_height_in - 0.03, 0.0
        legend.set_bbox_to_anchor((x_in / WIDTH_IN, line_top_in / height_in), transform=figure.transFigure)
        x_in += wide_in + 0.07
        line_height_in = max(line_height_in, high_in)
    return top_in - line_top_in + line_height_in + 0.06
