"""From the records of a history to series: one file, runtime and column each, and only what is comparable.

What may stand in one series, `rows.comparable` decides alone: another machine, other cores, another version
of a runtime or another data set begin a series of their own. A change of level is found by
`stats.change_points`; what is counted in the file itself has no noise, so there every difference is one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from swapbench import stats, store
from swapbench.report.rows.comparable import SAME_FILE, names_of, sets_of, why_not
from swapbench.report.tables.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from swapbench.history import MeasuredAt
    from swapbench.records import Interval
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Column
    from swapbench.repository import Commit

USUAL: Final = ("latency_p50", "latency_p90", "file_bytes", "peak_memory", "acer", "energy")
"""The columns that are shown unless others are named."""
SEARCHED: Final = 250
"""So many points of a series, the newest, are searched for changes: the time grows with their square."""


@dataclass(frozen=True)
class Point:
    """One record of a history.

    Attributes:
        digest: sha256 of its file.
        at: the commit.
        row: what the report says of it.
    """

    digest: str
    at: MeasuredAt
    row: Row

    @property
    def time(self) -> datetime:
        """When its commit was made; when it was measured, where that is not known."""
        return self.at.time or self.row.time


@dataclass(frozen=True)
class Level:
    """Neighbouring points without a change among them.

    Attributes:
        points: how many.
        median: of their numbers.
        interval: of that median; None for a single point, and for what is counted and has no noise.
    """

    points: int
    median: float
    interval: Interval | None


@dataclass(frozen=True)
class Change:
    """A change of level.

    Attributes:
        place: of the first point after it, from 0.
        before: the level up to it.
        after: the level from it on, up to the next change.
        p: see stats.ChangePoint; None for a counted number.
    """

    place: int
    before: Level
    after: Level
    p: float | None

    @property
    def relative(self) -> float | None:
        """The ratio of both medians less 1; None where the number was 0."""
        return self.after.median / self.before.median - 1 if self.before.median else None


@dataclass(frozen=True)
class Series:
    """Comparable numbers of one file under one runtime, in the order of their commits.

    Attributes:
        column: what they are.
        place: name of the machine, cores and libraries among those of the history.
        points: one for each number.
        values: the numbers, in the unit of a row.
        changes: ascending by place.
        begins: what differs from the series before it, "" where there is none on this place.
    """

    column: Column
    place: str
    points: tuple[Point, ...]
    values: tuple[float, ...]
    changes: tuple[Change, ...]
    begins: str = ""

    @property
    def file(self) -> str:
        """What tables call the file."""
        return self.points[-1].row.label

    @property
    def ran_under(self) -> str:
        """The runtime, with its version where the numbers depend on it."""
        used = self.points[-1].row.used
        return f"{used.runtime} {used.version}" if "version" in self.column.conditions else used.runtime

    @property
    def counted(self) -> bool:
        """Whether the number is counted in the file, without any noise."""
        return is_counted(self.column)

    def doubts(self, place: int) -> tuple[str, ...]:
        """Codes of what speaks against the number of a point; nothing does against what is counted."""
        if self.counted:
            return ()
        about = {self.column.about, "run"}
        return tuple(
            dict.fromkeys(doubt.code for doubt in self.points[place].row.doubts if doubt.quantity in about)
        )

    def text(self, value: float) -> str:
        """A number of the series as digits, with its unit."""
        amount = self.column.amount
        assert amount is not None
        return f"{amount.show(value)}{f' {amount.unit}' if amount.unit else amount.sign}"

    def level_text(self, level: Level) -> str:
        """A level with the interval of its median; to the last byte where it was counted."""
        amount = self.column.amount
        assert amount is not None
        if self.counted:
            return f"{level.median:,.0f}".replace(",", " ") + " bytes" * (amount.quantity == "size")
        if level.interval is None:
            return self.text(level.median)
        low, high = amount.show(level.interval.low), amount.show(level.interval.high)
        return f"{self.text(level.median)} [{low}, {high}]"

    def worse(self, change: Change) -> bool | None:
        """Whether a change is for the worse; None where neither direction is better."""
        rose = change.after.median > change.before.median
        return None if not self.column.better else rose == (self.column.better == "lower")

    def neighbours(self, change: Change) -> tuple[str, str]:
        """The commits of the last point before a change and of the first one after it."""
        return self.points[change.place - 1].at.commit, self.points[change.place].at.commit


@dataclass(frozen=True)
class Trends:
    """All series of a history, and what its reader must know.

    Attributes:
        series: by place, file, runtime and column.
        places: name -> machine, cores and libraries in full.
        commits: the neighbours of a change -> the commits between, the newest first, where git knows them.
        remarks: sentences.
    """

    series: tuple[Series, ...]
    places: Mapping[str, str]
    commits: Mapping[tuple[str, str], tuple[Commit, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[tuple[Series, Change], ...]:
        """Every change with its series, the newest first."""
        found = [(series, change) for series in self.series for change in series.changes]
        return tuple(
            sorted(found, key=lambda each: each[0].points[each[1].place].time.timestamp(), reverse=True)
        )

    @property
    def simulated(self) -> bool:
        """Whether an error rate comes from simulated data."""
        return any(
            point.row.data_simulated
            for series in self.series
            if series.column.about == "accuracy"
            for point in series.points
        )


def is_counted(column: Column) -> bool:
    """Whether a column is counted in the file, so that equal files have equal numbers."""
    return column.conditions == SAME_FILE and column.about == "weight"


def series_of(points: Iterable[Point], columns: Sequence[Column] = ()) -> tuple[Series, ...]:
    """The series of some points.

    Args:
        points: in any order.
        columns: of which there are series; the usual ones if empty.
    """
    ordered = in_order(points)
    names = names_of(point.row for point in ordered)
    by_file: dict[tuple[str, str], list[Point]] = {}
    for point in ordered:
        by_file.setdefault((point.row.label, point.row.runtime), []).append(point)
    series: list[Series] = []
    for members in by_file.values():
        for column in columns or [COLUMNS[name] for name in USUAL]:
            series += _of_column(members, column, names)
    order = {name: place for place, name in enumerate(names.values())}
    return tuple(sorted(series, key=lambda one: (order[one.place], one.file, one.points[0].row.runtime)))


def in_order(points: Iterable[Point]) -> list[Point]:
    """The points by the time of their commits, then by when they were measured."""
    return sorted(
        points, key=lambda point: (point.time.timestamp(), point.row.time.timestamp(), point.digest)
    )


def _of_column(members: Sequence[Point], column: Column, names: Mapping[str, str]) -> list[Series]:
    """The series of one file under one runtime in a column: one for each set of comparable points."""
    measured = [point for point in members if column.number(point.row) is not None]
    found: list[Series] = []
    latest: dict[str, Point] = {}
    for places in sets_of([point.row for point in measured], [column]):
        points = tuple(measured[place] for place in places)
        place = names[points[0].row.place]
        values = tuple(column.number(point.row) or 0.0 for point in points)
        before = latest.get(place)
        begins = why_not(before.row, points[0].row, column) if before else ""
        latest[place] = points[-1]
        found.append(Series(column, place, points, values, _changes(values, column), begins))
    return found


def _changes(values: Sequence[float], column: Column) -> tuple[Change, ...]:
    if is_counted(column):
        starts = [place for place in range(1, len(values)) if values[place] != values[place - 1]]
        p_values: list[float | None] = [None] * len(starts)
    else:
        first = max(0, len(values) - SEARCHED)
        found = stats.change_points(values[first:])
        starts = [first + change.start for change in found]
        p_values = [change.p for change in found]
    edges = [0, *starts, len(values)]
    levels = [
        _level(values[start:end], counted=is_counted(column)) for start, end in itertools.pairwise(edges)
    ]
    return tuple(
        Change(start, before, after, p)
        for start, (before, after), p in zip(starts, itertools.pairwise(levels), p_values, strict=True)
    )


def _level(values: Sequence[float], *, counted: bool) -> Level:
    interval = None if counted else stats.median_interval(values)
    return Level(len(values), stats.median(list(values)), interval)


def as_json(trends: Trends) -> str:
    """All trends as JSON, unrounded, without a newline at the end."""
    return store.dumps(
        {
            "kind": "swapbench.trends",
            "version": 1,
            "data_simulated": trends.simulated,
            "places": dict(trends.places),
            "trends": [_json_of(series) for series in trends.series],
            "remarks": list(trends.remarks),
        }
    )


def _json_of(series: Series) -> dict[str, Any]:
    bounds = [series.column.interval(point.row) for point in series.points]
    return {
        "place": series.place,
        "file": series.file,
        "runtime": series.points[-1].row.runtime,
        "column": series.column.name,
        "field": series.column.fields[0],
        "better": series.column.better,
        "begins": series.begins,
        "points": [
            {
                "commit": point.at.commit,
                "changed": point.at.changed,
                "time": point.time.isoformat(),
                "value": value,
                "low": pair[0] if pair else None,
                "high": pair[1] if pair else None,
                "doubts": list(series.doubts(place)),
                "run": point.row.run,
                "record_sha256": point.digest,
            }
            for place, (point, value, pair) in enumerate(
                zip(series.points, series.values, bounds, strict=True)
            )
        ],
        "changes": [
            {
                "commit": series.points[change.place].at.commit,
                "after_commit": series.points[change.place - 1].at.commit,
                "point": change.place,
                "before": change.before.median,
                "after": change.after.median,
                "p": change.p,
                "worse": series.worse(change),
            }
            for change in series.changes
        ],
    }
