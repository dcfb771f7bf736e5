"""Which files are worth considering, and how sure that is.

A row dominates another one when it is at least as good in every column and better in one, in each column's
own direction; so equal rows do not dominate each other. The front is what nothing dominates. How sure it is:
the share of draws in which a row is on the front, where a draw gives every row another value that it might
have had (see `report.choose.resampling`). Only rows that may be compared in every column
(`report.rows.comparable`) dominate each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import UserError
from swapbench.report.choose.resampling import DRAWS, NOTHING, draws_of, may_move
from swapbench.report.rows.comparable import asked_by, names_of, rivals, sets_of
from swapbench.report.tables.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.comparable import Condition
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Column

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_CLEARLY = 2.0
_DRAWN_VALUES = 60_000
_FEWEST_DRAWS = 200


# ---- Dominance ----


def on_front(values: ArrayLike) -> Mask:
    """Which points nothing dominates: [points, metrics] -> [points]; smaller is better, no value is NaN.

    The first point in lexicographic order is dominated by none, as a point that dominates another comes
    before it. So it is taken, what is not better than it somewhere goes, and so on: as many passes as the
    front has different points.
    """
    points = np.asarray(values, dtype=np.float64)
    order = np.lexsort(points.T[::-1])
    front = np.zeros(len(points), dtype=np.bool_)
    left = points[order]
    while len(left):
        first = left[0]
        front[order[np.all(left == first, axis=1)]] = True
        better = np.any(left < first, axis=1)
        left, order = left[better], order[better]
    return front


def shares_on_front(draws: ArrayLike) -> Floats:
    """In which share of the draws each point is on the front: [draws, points, metrics] -> [points].

    Smaller is better.
    """
    points = np.asarray(draws, dtype=np.float64)
    count = np.zeros(points.shape[1])
    for values in points:
        count += on_front(values)
    shares: Floats = count / max(len(points), 1)
    return shares


# ---- Fronts of rows ----


@dataclass(frozen=True)
class Standing:
    """A row among those it is compared with.

    Share: of the draws with it on the front, 0..1; None where nothing was drawn.
    """

    row: Row
    on_front: bool
    share: float | None


@dataclass(frozen=True)
class NotJudged:
    """A row that lacks a number, and why."""

    row: Row
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Rows that may be compared and have all their numbers, in the order of the table, and others.

    data: "" where no column depends on it. draws: how many the shares were counted in; methods: how they were
    made.
    """

    machine: str
    data: str
    columns: tuple[Column, ...]
    standings: tuple[Standing, ...]
    not_judged: tuple[NotJudged, ...]
    draws: int
    methods: tuple[str, ...]


def comparisons(
    rows: Sequence[Row],
    columns: Sequence[Column],
    evidence: Evidence = NOTHING,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """The front of every device and data, and how sure it is; draws = 0 draws nothing.

    With more than 60 rows that could be on the front there are fewer draws, but not under 200 (a share of a
    half is then off by 7 points at most, 19 times of 20). A row that another one beats in every column by
    more than twice both of their intervals is taken to be on the front in no draw, so that only near rows
    cost draws.

    Raises:
        UserError: neither more nor less of a column is better.
    """
    for column in columns:
        if not column.better:
            raise UserError(
                f"{column.name} cannot be ranked: neither more nor less of it is better",
                remedy=f"One of: {', '.join(column.name for column in COLUMNS.values() if column.better)}",
            )
    lacking = {
        row.label: why_missing(row, columns)
        for row in rows
        if any(column.number(row) is None for column in columns)
    }
    judged = [row for row in rows if row.label not in lacking]
    results: dict[tuple[int, ...], _Result] = {}
    standing_of: dict[str, tuple[Standing, _Result]] = {}
    for like in rivals(judged, columns):
        if like.rivals not in results:
            among = [judged[place] for place in like.rivals]
            results[like.rivals] = _result(among, columns, evidence, draws, seed)
        result = results[like.rivals]
        for place in like.members:
            label = judged[place].label
            standing_of[label] = (result.standings[label], result)
    return tuple(
        _comparison(machine, data, members, tuple(columns), standing_of, lacking)
        for machine, data, members in groups_of(rows, columns)
    )


@dataclass(frozen=True)
class _Result:
    """Rows that are compared with each other, by label, and how their shares were made."""

    standings: dict[str, Standing]
    draws: int
    methods: tuple[str, ...]


def _comparison(
    machine: str,
    data: str,
    members: Sequence[Row],
    columns: tuple[Column, ...],
    standing_of: Mapping[str, tuple[Standing, _Result]],
    lacking: Mapping[str, str],
) -> Comparison:
    judged = [standing_of[row.label] for row in members if row.label not in lacking]
    return Comparison(
        machine,
        data,
        columns,
        tuple(standing for standing, _ in judged),
        tuple(NotJudged(row, lacking[row.label]) for row in members if row.label in lacking),
        min((result.draws for _, result in judged), default=0),
        tuple(dict.fromkeys(method for _, result in judged for method in result.methods)),
    )


def groups_of(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[tuple[str, str, tuple[Row, ...]], ...]:
    """(device, data, rows) of sets whose rows may all be compared in these columns, in the order of the rows.

    data is "" where no column depends on it. Rows without accuracy belong to no data: where a column needs it
    they are a group of their own. The names of a group tell it from the others.
    """
    asked = asked_by(columns)
    sets = [tuple(rows[place] for place in places) for places in sets_of(rows, columns)]
    digests: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.accuracy is not None:
            known = digests.setdefault((row.accuracy.dataset, row.accuracy.protocol), set())
            known.add(row.accuracy.dataset_digest)
    places = names_of(rows)
    names = [", ".join(dict.fromkeys(places[row.place] for row in members)) for members in sets]
    if "frame_rate" in asked:
        rates = [members[0].conditions.frame_rate for members in sets]
        names = [
            name if rate is None else f"{name}, {rate:g} frames a second"
            for name, rate in zip(names, rates, strict=True)
        ]
    data = []
    for members in sets:
        scored = members[0].accuracy if "data" in asked else None
        if scored is None:
            data.append("")
        else:
            several = len(digests[scored.dataset, scored.protocol]) > 1
            digest = f" ({scored.dataset_digest[:8]})" if several else ""
            data.append(f"{scored.dataset}{digest}, {scored.protocol}")
    return tuple(zip(_told_apart(names, data, sets, asked), data, sets, strict=True))


def _told_apart(
    names: list[str], data: Sequence[str], sets: Sequence[Sequence[Row]], asked: frozenset[Condition]
) -> list[str]:
    """The names of sets, with the conditions that tell sets of one name and one data set apart."""
    for condition, words in _TELLING.items():
        groups: dict[tuple[str, str], set[str]] = {}
        texts = [", ".join(dict.fromkeys(map(words, members))) for members in sets]
        for name, of, text in zip(names, data, texts, strict=True):
            groups.setdefault((name, of), set()).add(text)
        if condition in asked:
            names = [
                f"{name}, {text}" if len(groups[name, of]) > 1 and text else name
                for name, of, text in zip(names, data, texts, strict=True)
            ]
    return names


_TELLING: dict[Condition, Callable[[Row], str]] = {
    "threads": lambda row: f"{row.used.threads} thread{'s' * (row.used.threads != 1)}",
    "meter": lambda row: f"{row.conditions.meter}" if row.energy else "",
    "scope": lambda row: f"{row.conditions.scope}" if row.energy else "",
    "version": lambda row: f"{row.runtime} {row.used.version}",
    "settings": lambda row: row.conditions.settings,
    "threshold": lambda row: f"threshold {row.conditions.threshold}" if row.accuracy else "",
    "reference": lambda row: f"against {row.conditions.reference}" if row.relative else "",
}


def why_missing(row: Row, columns: Iterable[Column]) -> str:
    """Which of the columns a row has no number in, and why."""
    lacking = [column for column in columns if column.number(row) is None]
    return "; ".join(f"no {column.title}: {column.absent(row) or 'not measured'}" for column in lacking)


def _result(
    rows: Sequence[Row], columns: Sequence[Column], evidence: Evidence, draws: int, seed: int
) -> _Result:
    sign = np.array([1.0 if column.better == "lower" else -1.0 for column in columns])
    values = np.array([[column.number(row) for column in columns] for row in rows], dtype=np.float64) * sign
    front = on_front(values)
    if draws == 0 or len(rows) == 1:
        standings = {
            row.label: Standing(row, bool(is_front), None) for row, is_front in zip(rows, front, strict=True)
        }
        return _Result(standings, 0, ())
    near = [int(place) for place in np.flatnonzero(_near_the_front(rows, columns, values))]
    draws = min(draws, max(_DRAWN_VALUES // len(near), _FEWEST_DRAWS))
    drawn = [
        draws_of([rows[place] for place in near], column, evidence, draws=draws, seed=seed)
        for column in columns
    ]
    shares = np.zeros(len(rows))
    shares[near] = shares_on_front(np.stack([draw.values.T for draw in drawn], axis=-1) * sign)
    methods = tuple(dict.fromkeys(method for draw in drawn for method in draw.methods))
    standings = {
        row.label: Standing(row, bool(is_front), float(share))
        for row, is_front, share in zip(rows, front, shares, strict=True)
    }
    return _Result(standings, draws, methods)


def _near_the_front(rows: Sequence[Row], columns: Sequence[Column], values: Floats) -> Mask:
    """Which rows are not beaten clearly.

    In every column by more than `_CLEARLY` times both half widths together.
    """
    best, worst = values.copy(), values.copy()
    for number, column in enumerate(columns):
        for place, row in enumerate(rows):
            bounds = column.interval(row)
            if bounds is not None:
                value = abs(values[place, number])
                reach = _CLEARLY * max(value - bounds[0], bounds[1] - value)
            else:
                reach = np.inf if may_move(column) else 0.0
            best[place, number] -= reach
            worst[place, number] += reach
    near = np.ones(len(rows), dtype=np.bool_)
    # whoever is beaten clearly is so by a row whose worst is on the front of all that are worst
    for bad in np.unique(worst[on_front(worst)], axis=0):
        near &= ~(np.all(bad <= best, axis=1) & np.any(bad < best, axis=1))
    return near
