"""Which files are worth considering, how sure that is, and which one to take under given requirements.

A row dominates another one when it is at least as good in every column and better in one, in each column's
own direction; so equal rows do not dominate each other. The front is what nothing dominates. How sure it is:
the share of draws in which a row is on the front, where a draw gives every row another value that it might
have had (see `report.draws`). Only rows that may be compared in every column (`report.rows.comparable`)
dominate each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench import units
from swapbench.errors import UserError
from swapbench.report.choose.resampling import DRAWS, NOTHING, draws_of, is_counted, may_move
from swapbench.report.rows.comparable import asked_by, differing, names_of, rivals, sets_of
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.table import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from swapbench.report.choose.resampling import Evidence
    from swapbench.report.rows.comparable import Condition
    from swapbench.report.rows.summary import Row
    from swapbench.report.tables.column import Column
    from swapbench.report.tables.columns import Constraint

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
    for one in points:
        count += on_front(one)
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
    cost draws. Raises UserError for a column that has no better direction.
    """
    for column in columns:
        if not column.better:
            raise UserError(
                f"{column.name} cannot be ranked: neither more nor less of it is better",
                remedy=f"One of: {', '.join(one.name for one in COLUMNS.values() if one.better)}",
            )
    lacking = {
        row.label: _why_missing(row, columns)
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
    "reference": lambda row: f"against {row.conditions.reference}" if row.relative else "",
}


def _why_missing(row: Row, columns: Iterable[Column]) -> str:
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
    shares[near] = shares_on_front(np.stack([one.values.T for one in drawn], axis=-1) * sign)
    methods = tuple(dict.fromkeys(method for one in drawn for method in one.methods))
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


# ---- A recommendation in words ----


@dataclass(frozen=True)
class Recommendation:
    """What to take on one device and data.

    The row, None where nothing meets every requirement, and why in sentences.
    """

    machine: str
    data: str
    chosen: Row | None
    cost: Column
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it as one paragraph."""
        return " ".join(self.sentences)


def recommend(
    rows: Sequence[Row], constraints: Sequence[Constraint], *, minimise: Column | None = None
) -> tuple[Recommendation, ...]:
    """The cheapest row that meets every constraint, or which one cannot be met and by how much.

    Cheapest: least of `minimise`, in its own direction of better; without it least energy above idle if every
    candidate has it from one meter and scope, else least median latency. One recommendation for each device
    and data that may be compared; says how surely each limit is kept, which rows are doubtful, and which
    could not be judged. Raises UserError for a cost that has no better direction.
    """
    if minimise is not None and not minimise.better:
        raise UserError(f"{minimise.name} cannot be minimised: neither more nor less of it is better")
    columns = [*(one.column for one in constraints), minimise or COLUMNS["latency_p50"]]
    return tuple(
        _recommendation(machine, data, members, tuple(constraints), minimise)
        for machine, data, members in groups_of(rows, columns)
    )


def _recommendation(
    machine: str, data: str, rows: Sequence[Row], constraints: tuple[Constraint, ...], minimise: Column | None
) -> Recommendation:
    unjudged: list[NotJudged] = []
    judged: list[Row] = []
    for row in rows:
        unknown = [one.column for one in constraints if _met(one, row) is None]
        if unknown:
            unjudged.append(NotJudged(row, _why_missing(row, unknown)))
        else:
            judged.append(row)
    meeting = [row for row in judged if all(_met(one, row) for one in constraints)]
    cost, why = _cost(meeting, minimise)
    fitting = [row for row in meeting if cost.number(row) is not None]
    unjudged += [NotJudged(row, _why_missing(row, [cost])) for row in meeting if cost.number(row) is None]
    say = [f"On {machine}{f', {data}' if data else ''}:"]
    chosen = min(fitting, key=_rank(cost), default=None)
    if chosen is not None:
        say += _choice(chosen, fitting, constraints, cost, why)
    elif judged and not meeting:
        say += _impossible(judged, constraints)
    else:
        say.append("no file can be judged.")
    if any(row.data_simulated for row in rows) and any("accuracy" in one.column.parts for one in constraints):
        say.append(SIMULATED)
    if unjudged:
        by_reason: dict[str, list[str]] = {}
        for one in unjudged:
            by_reason.setdefault(one.reason, []).append(one.row.label)
        listed = "; ".join(f"{_some(names)} ({reason})" for reason, names in by_reason.items())
        say.append(f"Not judged: {listed}.")
    return Recommendation(machine, data, chosen, cost, tuple(say))


def _met(constraint: Constraint, row: Row) -> bool | None:
    """As Constraint.met; what lies below a bound that keeps the limit keeps it too."""
    met = constraint.met(row)
    if met is None and constraint.at_most and constraint.column.limit is not None:
        below = constraint.column.limit(row)
        return True if below is not None and below <= constraint.limit else None
    return met


def _cost(rows: Sequence[Row], minimise: Column | None) -> tuple[Column, str]:
    """What is minimised, and why it is that, in words for the end of a sentence."""
    if minimise is not None:
        return minimise, "as asked"
    energy, latency = COLUMNS["energy"], COLUMNS["latency_p50"]
    lacking = [row for row in rows if energy.number(row) is None]
    if not rows or len(lacking) == len(rows):
        return latency, "because no energy was measured"
    if lacking:
        return latency, f"because energy is not known of {_some([row.label for row in lacking])}"
    differ = {name for row in rows for name in differing(rows[0], row, energy.conditions)}
    if differ & {"meter", "scope"}:
        return latency, "because the energies come from different meters"
    if differ:
        return latency, "because the energies were measured at different frame rates"
    return energy, "above idle, which every candidate has"


def _rank(cost: Column) -> Callable[[Row], tuple[float, float, str]]:
    def rank(row: Row) -> tuple[float, float, str]:
        value = cost.number(row)
        if value is None:
            return (math.inf, math.inf, row.label)
        return (
            value if cost.better == "lower" else -value,
            row.speed.p50_ns if row.speed else math.inf,
            row.label,
        )

    return rank


def _choice(
    chosen: Row,
    fitting: Sequence[Row],
    constraints: Sequence[Constraint],
    cost: Column,
    why: str,
) -> list[str]:
    verb = "meets" if len(fitting) == 1 else "meet"
    meets = f" that {verb} {_and([one.text for one in constraints])}" if constraints else ""
    least = "cheapest" if cost.better == "lower" else "best"
    of = f"{len(fitting)} file{'s' * (len(fitting) != 1)}{meets}"
    what = f"{_amount(cost, chosen)} of {_lower(cost.title)} ({why})"
    say = [f"take {chosen.label}, the {least} of {of}: {what}."]
    rest = sorted((row for row in fitting if row is not chosen), key=_rank(cost))
    if rest and not _apart(cost, chosen, rest[0]):
        say.append(f"{rest[0].label} costs {_amount(cost, rest[0])}, which cannot be told from it.")
    unsure = [one for one in constraints if _surely(one, chosen) is not True]
    if constraints and not unsure:
        say.append("It surely does: no interval crosses a limit.")
    for one in unsure:
        if _surely(one, chosen) is None:
            say.append(
                f"Whether it surely keeps {one.text} is not known: "
                f"{_lower(one.column.title)} has no interval."
            )
        else:
            low, high = one.column.interval(chosen) or (0.0, 0.0)
            say.append(
                f"Not surely: its {_lower(one.column.title)} of {_amount(one.column, chosen)}"
                " has the interval"
                f" {_shown(one.column, low)} to {_shown(one.column, high)}, which crosses {one.text}."
            )
    sure = [row for row in rest if all(_surely(one, row) for one in constraints)]
    if unsure and sure:
        say.append(f"The {least} that surely does is {sure[0].label} with {_amount(cost, sure[0])}.")
    if chosen.doubts:
        say.append(f"Its record is doubtful ({', '.join(dict.fromkeys(one.code for one in chosen.doubts))}).")
        good = [row for row in rest if not row.doubts]
        if good:
            say.append(f"The {least} without doubts is {good[0].label} with {_amount(cost, good[0])}.")
    other = [row.label for row in rest if row.doubts]
    if other:
        say.append(f"Doubtful too: {_some(other)}.")
    return say


def _impossible(judged: Sequence[Row], constraints: Sequence[Constraint]) -> list[str]:
    say = []
    for one in constraints:
        if any(_met(one, row) for row in judged):
            continue
        nearest = min(judged, key=lambda row: (_miss(one, row), *_rank(COLUMNS["latency_p50"])(row)))
        crosses = _surely(one, nearest) is False and _within(one, nearest)
        say.append(
            f"no file meets {one.text}: the nearest, {_named(nearest)}, has {_amount(one.column, nearest)}"
            f" and misses it by {_difference(one.column, _miss(one, nearest))}"
            f"{', though its interval reaches the limit' if crosses else ''}."
        )
    if not say:
        nearest = min(
            judged,
            key=lambda row: (
                max(_miss(one, row) / (abs(one.limit) or 1.0) for one in constraints),
                row.label,
            ),
        )
        missed = [
            f"{one.text} by {_difference(one.column, _miss(one, nearest))}"
            for one in constraints
            if not _met(one, nearest)
        ]
        say.append(
            "each requirement is met by some file, but no file meets"
            f" {_and([one.text for one in constraints])} together:"
            f" the nearest, {_named(nearest)}, misses {_and(missed)}."
        )
    return say


def _miss(constraint: Constraint, row: Row) -> float:
    """By how much a row misses a limit, 0 where it keeps it."""
    value = constraint.column.number(row)
    if value is None:
        return 0.0
    return max(value - constraint.limit if constraint.at_most else constraint.limit - value, 0.0)


def _surely(constraint: Constraint, row: Row) -> bool | None:
    """Whether the whole interval of a row keeps a limit; None where there is no interval.

    What is counted in the file is exact.
    """
    column = constraint.column
    if column.number(row) is None:
        return _met(constraint, row)
    bounds = column.interval(row)
    if bounds is None:
        return constraint.met(row) if is_counted(column) else None
    return bounds[1] <= constraint.limit if constraint.at_most else bounds[0] >= constraint.limit


def _within(constraint: Constraint, row: Row) -> bool:
    bounds = constraint.column.interval(row)
    if bounds is None:
        return False
    return bounds[0] <= constraint.limit if constraint.at_most else bounds[1] >= constraint.limit


def _apart(cost: Column, one: Row, other: Row) -> bool:
    """Whether the intervals of two rows do not meet; what has none is exact."""
    ends = [cost.interval(row) or (cost.number(row) or 0.0, cost.number(row) or 0.0) for row in (one, other)]
    return ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0]


def _shown(column: Column, value: float) -> str:
    match column.quantity:
        case "time":
            return units.duration(value)
        case "size":
            return units.size(value)
        case "energy":
            return units.energy(value)
        case "share":
            return f"{units.significant(100 * value)} %"
        case _:
            return units.ratio(value) if column.sign else units.count(value)


def _difference(column: Column, value: float) -> str:
    return f"{units.significant(100 * value)} points" if column.quantity == "share" else _shown(column, value)


def _amount(column: Column, row: Row) -> str:
    value = column.number(row)
    if value is None:
        below = column.limit(row) if column.limit else None
        return units.NOT_MEASURED if below is None else f"less than {_shown(column, below)}"
    return _shown(column, value)


def _named(row: Row) -> str:
    return f"{row.label} (doubtful)" if row.doubts else row.label


def _lower(title: str) -> str:
    """A title inside a sentence: 'Median latency' -> 'median latency', but 'ACER' stays."""
    return title if title[1:2].isupper() or title[1:2].isdigit() else title[:1].lower() + title[1:]


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _some(names: Sequence[str], at_most: int = 6) -> str:
    """Names, and how many more there are."""
    if len(names) <= at_most:
        return ", ".join(names)
    return f"{', '.join(names[:at_most])} and {len(names) - at_most} more"
