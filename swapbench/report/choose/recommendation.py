"""Which file to take under given requirements, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.errors import UserError
from swapbench.report.choose.fronts import NotJudged, groups_of, why_missing
from swapbench.report.choose.resampling import is_counted
from swapbench.report.rows.comparable import differing
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.table import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Column
    from swapbench.report.tables.columns import Constraint


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
    could not be judged.

    Raises:
        UserError: neither more nor less of the cost is better.
    """
    if minimise is not None and not minimise.better:
        raise UserError(f"{minimise.name} cannot be minimised: neither more nor less of it is better")
    columns = [*(constraint.column for constraint in constraints), minimise or COLUMNS["latency_p50"]]
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
        unknown = [constraint.column for constraint in constraints if _met(constraint, row) is None]
        if unknown:
            unjudged.append(NotJudged(row, why_missing(row, unknown)))
        else:
            judged.append(row)
    meeting = [row for row in judged if all(_met(constraint, row) for constraint in constraints)]
    cost, why = _cost(meeting, minimise)
    fitting = [row for row in meeting if cost.number(row) is not None]
    unjudged += [NotJudged(row, why_missing(row, [cost])) for row in meeting if cost.number(row) is None]
    sentences = [f"On {machine}{f', {data}' if data else ''}:"]
    chosen = min(fitting, key=_rank(cost), default=None)
    if chosen is not None:
        sentences += _choice(chosen, fitting, constraints, cost, why)
    elif judged and not meeting:
        sentences += _impossible(judged, constraints)
    else:
        sentences.append("no file can be judged.")
    on_accuracy = any("accuracy" in constraint.column.parts for constraint in constraints)
    if on_accuracy and any(row.data_simulated for row in rows):
        sentences.append(SIMULATED)
    if unjudged:
        by_reason: dict[str, list[str]] = {}
        for entry in unjudged:
            by_reason.setdefault(entry.reason, []).append(entry.row.label)
        listed = "; ".join(f"{units.some(names, 6)} ({reason})" for reason, names in by_reason.items())
        sentences.append(f"Not judged: {listed}.")
    return Recommendation(machine, data, chosen, cost, tuple(sentences))


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
        return latency, f"because energy is not known of {units.some([row.label for row in lacking], 6)}"
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
    chosen: Row, fitting: Sequence[Row], constraints: Sequence[Constraint], cost: Column, why: str
) -> list[str]:
    verb = "meets" if len(fitting) == 1 else "meet"
    meets = f" that {verb} {_and([constraint.text for constraint in constraints])}" if constraints else ""
    least = "cheapest" if cost.better == "lower" else "best"
    of = f"{len(fitting)} file{'s' * (len(fitting) != 1)}{meets}"
    what = f"{_amount(cost, chosen)} of {_lower(cost.title)} ({why})"
    sentences = [f"take {chosen.label}, the {least} of {of}: {what}."]
    rest = sorted((row for row in fitting if row is not chosen), key=_rank(cost))
    if rest and not _apart(cost, chosen, rest[0]):
        sentences.append(f"{rest[0].label} costs {_amount(cost, rest[0])}, which cannot be told from it.")
    unsure = [constraint for constraint in constraints if _surely(constraint, chosen) is not True]
    if constraints and not unsure:
        sentences.append("It surely does: no interval crosses a limit.")
    for constraint in unsure:
        if _surely(constraint, chosen) is None:
            sentences.append(
                f"Whether it surely keeps {constraint.text} is not known: "
                f"{_lower(constraint.column.title)} has no interval."
            )
        else:
            low, high = constraint.column.interval(chosen) or (0.0, 0.0)
            sentences.append(
                f"Not surely: its {_lower(constraint.column.title)} of {_amount(constraint.column, chosen)}"
                f" has the interval {_shown(constraint.column, low)} to {_shown(constraint.column, high)},"
                f" which crosses {constraint.text}."
            )
    sure = [row for row in rest if all(_surely(constraint, row) for constraint in constraints)]
    if unsure and sure:
        sentences.append(f"The {least} that surely does is {sure[0].label} with {_amount(cost, sure[0])}.")
    if chosen.doubts:
        sentences.append(
            f"Its record is doubtful ({', '.join(dict.fromkeys(doubt.code for doubt in chosen.doubts))})."
        )
        good = [row for row in rest if not row.doubts]
        if good:
            sentences.append(f"The {least} without doubts is {good[0].label} with {_amount(cost, good[0])}.")
    other = [row.label for row in rest if row.doubts]
    if other:
        sentences.append(f"Doubtful too: {units.some(other, 6)}.")
    return sentences


def _impossible(judged: Sequence[Row], constraints: Sequence[Constraint]) -> list[str]:
    sentences = []
    for constraint in constraints:
        if any(_met(constraint, row) for row in judged):
            continue
        nearest = min(judged, key=lambda row: (_miss(constraint, row), *_rank(COLUMNS["latency_p50"])(row)))
        crosses = _surely(constraint, nearest) is False and _within(constraint, nearest)
        sentences.append(
            f"no file meets {constraint.text}: the nearest, {_named(nearest)}, has"
            f" {_amount(constraint.column, nearest)} and misses it by"
            f" {_difference(constraint.column, _miss(constraint, nearest))}"
            f"{', though its interval reaches the limit' if crosses else ''}."
        )
    if not sentences:
        nearest = min(
            judged,
            key=lambda row: (
                max(_miss(constraint, row) / (abs(constraint.limit) or 1.0) for constraint in constraints),
                row.label,
            ),
        )
        missed = [
            f"{constraint.text} by {_difference(constraint.column, _miss(constraint, nearest))}"
            for constraint in constraints
            if not _met(constraint, nearest)
        ]
        sentences.append(
            "each requirement is met by some file, but no file meets"
            f" {_and([constraint.text for constraint in constraints])} together:"
            f" the nearest, {_named(nearest)}, misses {_and(missed)}."
        )
    return sentences


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


def _apart(cost: Column, row: Row, other: Row) -> bool:
    """Whether the intervals of two rows do not meet; what has none is exact."""
    ends = [cost.interval(row) or (cost.number(row) or 0.0, cost.number(row) or 0.0) for row in (row, other)]
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
