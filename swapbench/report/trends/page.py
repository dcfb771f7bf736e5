"""The skin of trends as one HTML file: charts in SVG, tables, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from swapbench import __version__, units
from swapbench.report.tables.table import SIMULATED
from swapbench.report.trends.words import METHOD, by_how_much, change_sentence, commit_text, plural, short
from swapbench.texts import spaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.report.trends.series import Series, Trends

_ASSETS: Final = resources.files("swapbench.report.trends") / "assets"
WIDTH, HEIGHT = 760, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 12, 12, 26
_TICKS: Final = 3
_MARGIN: Final = 0.06
"""Room above and below the numbers, as a share of their range."""


@dataclass(frozen=True)
class Mark:
    """A point of a chart, in its pixels.

    Attributes:
        x: from the left.
        y: from the top.
        low: y of the lower end of the interval; None without one.
        high: y of its upper end.
        doubtful: whether a doubt speaks against the number.
        title: what a pointer over it shows.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    doubtful: bool
    title: str


@dataclass(frozen=True)
class Step:
    """The median of a level, in pixels."""

    x0: float
    x1: float
    y: float


@dataclass(frozen=True)
class Turn:
    """A change, in pixels."""

    x: float
    title: str
    worse: bool | None


@dataclass(frozen=True)
class Chart:
    """A series as a drawing; points are equally far apart, in the order of their commits.

    Attributes:
        marks: one for each point.
        steps: the median of each level, where there are several.
        turns: the changes.
        ticks: y and its number.
        first: date of the first point.
        last: date of the last one.
    """

    marks: tuple[Mark, ...]
    steps: tuple[Step, ...]
    turns: tuple[Turn, ...]
    ticks: tuple[tuple[float, str], ...]
    first: str
    last: str


def chart_of(series: Series) -> Chart:
    """The drawing of a series."""
    rows = [point.row for point in series.points]
    bounds = [series.column.interval(row) for row in rows]
    ends = [end for pair in bounds if pair for end in pair]
    low, high = min(*series.values, *ends, series.values[0]), max(*series.values, *ends, series.values[0])
    room = (high - low) * _MARGIN or abs(high) * _MARGIN or 1.0
    low, high = low - room, high + room
    gap = (WIDTH - _LEFT - _RIGHT) / max(len(rows), 2)

    def across(place: float) -> float:
        return round(_LEFT + gap * (place + 0.5), 1)

    def down(value: float) -> float:
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low), 1)

    marks = tuple(
        Mark(
            across(place),
            down(value),
            down(pair[0]) if pair else None,
            down(pair[1]) if pair else None,
            bool(series.doubts(place)),
            spaced(f"{point.time:%Y-%m-%d} {short(point.at)}: {series.column.text(point.row)}"),
        )
        for place, (point, value, pair) in enumerate(zip(series.points, series.values, bounds, strict=True))
    )
    turns = tuple(
        Turn(across(change.place - 0.5), spaced(change_sentence(series, change)), series.worse(change))
        for change in series.changes
    )
    starts = [0, *(change.place for change in series.changes), len(rows)]
    levels = [series.changes[0].before, *(change.after for change in series.changes)] if turns else []
    steps = tuple(
        Step(across(start - 0.5), across(end - 0.5), down(level.median))
        for level, start, end in zip(levels, starts, starts[1:], strict=False)
    )
    amount = series.column.amount
    assert amount is not None
    values = [low + (high - low) * part / (_TICKS - 1) for part in range(_TICKS)]
    return Chart(
        marks,
        steps,
        turns,
        tuple((down(value), amount.show(value)) for value in values),
        f"{series.points[0].time:%Y-%m-%d}",
        f"{series.points[-1].time:%Y-%m-%d}",
    )


def page_html(trends: Trends, title: str) -> str:
    """The whole page; the same trends give the same text.

    Args:
        trends: what it shows.
        title: name of the history.
    """
    from jinja2 import Environment, StrictUndefined

    style = _asset("trends.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(_asset("trends.html")).render(
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'",
        style=style,
        title=spaced(title),
        version=__version__,
        simulated=SIMULATED if trends.simulated else "",
        method=METHOD,
        remarks=list(map(spaced, trends.remarks)),
        changes=list(_changes(trends)),
        places=[(name, spaced(text)) for name, text in trends.places.items()],
        parts=list(_parts(trends)),
        width=WIDTH,
        height=HEIGHT,
        plural=plural,
    )


def _changes(trends: Trends) -> Iterator[dict[str, object]]:
    """The lines of the table of changes."""
    numbers = {id(series): number for number, series in enumerate(trends.series)}
    for series, change in trends.changes:
        commits = trends.commits.get(series.neighbours(change))
        point = series.points[change.place]
        yield {
            "date": f"{point.time:%Y-%m-%d}",
            "number": numbers[id(series)],
            "file": spaced(f"{series.file}, {series.ran_under}"),
            "place": spaced(series.place),
            "what": series.column.title,
            "by": by_how_much(series, change),
            "worse": series.worse(change),
            "levels": f"{series.level_text(change.before)} to {series.level_text(change.after)}",
            "p": "counted" if change.p is None else units.significant(change.p, 2),
            "between": f"{short(series.points[change.place - 1].at)} to {short(point.at)}",
            "commits": None if commits is None else [spaced(commit_text(commit)) for commit in commits],
        }


def _parts(trends: Trends) -> Iterator[dict[str, object]]:
    """The series in their order, each with its chart and the lines of its table."""
    for number, series in enumerate(trends.series):
        yield {
            "number": number,
            "place": spaced(series.place),
            "file": spaced(f"{series.file}, {series.ran_under}"),
            "what": series.column.heading,
            "latest": f"{series.column.text(series.points[-1].row)} {series.column.unit}".rstrip(),
            "begins": spaced(series.begins),
            "chart": chart_of(series),
            "rows": [
                (
                    f"{point.time:%Y-%m-%d %H:%M}",
                    short(point.at),
                    series.column.text(point.row),
                    ", ".join(series.doubts(place)),
                    spaced(point.row.run),
                    point.digest[:12],
                )
                for place, point in enumerate(series.points)
            ],
        }


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
