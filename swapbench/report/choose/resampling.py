"""How a number might have come out: draws of every row's value in one column.

What a draw is made of, by column:

- latencies: a bootstrap over the record's processes of the number that each shows (see `stats.latency`); the
  tail percentiles at the place of their bound. Records of one run were timed in turn, so a draw takes the
  same rounds for all of them.
- error rates: where the run kept its scores, a bootstrap over the people of the test split, the same people
  for every row of the same data, because files that were scored on the same presentations err together.
  Elsewhere within the record's interval, each row for itself, which makes two rows that err together look
  less sure of their order.
- energy: evenly within its uncertainty, which is a worst case and not a deviation.
- ratios: the row's own draws against the reference as it is, which does not move while rows of one reference
  are compared.
- any other number with an interval: a normal distribution with a deviation for each side, whose ends are the
  interval's.
- numbers without an interval are taken as exact. For sizes and counts that is true; of any other it is said
  in the method.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from swapbench import stats
from swapbench.pad.rates import accepted
from swapbench.pad.score_files import read_score_file
from swapbench.pad.scores import coded
from swapbench.records import Accuracy, Speed
from swapbench.report.tables.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.pad.score_files import ScoreFile
    from swapbench.records import Record
    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Column

    Floats = NDArray[np.float64]

DRAWS = 1000
_QUANTILES = {"latency_p05": 0.05, "latency_p50": 0.5}
_TAILS = {"latency_p90": 0.90, "latency_p95": 0.95, "latency_p99": 0.99}
_RATES = ("acer", "apcer", "bpcer", "hter")
_RATIO_OF = {
    "speed_up": "latency_p50",
    "speed_up_p05": "latency_p05",
    "energy_reduction": "energy",
    "error_ratio": "acer",
    "accuracy_kept": "acer",
}
_CELLS_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Evidence:
    """What rows were made from: their records, and where the scores of a record's frames are kept.

    records: by (run, record id). scores_path: the file of a record, which need not exist; None where there is
    none.
    """

    records: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    scores_path: Callable[[Record], Path | None] = lambda _: None
    _read: dict[tuple[str, str], ScoreFile | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls, records: Iterable[Record], scores_path: Callable[[Record], Path | None] = lambda _: None
    ) -> Evidence:
        """The evidence of some records."""
        return cls({(record.run, record.id): record for record in records}, scores_path)

    def record(self, row: Row) -> Record | None:
        """The record of a row, None where it is not at hand."""
        return self.records.get((row.run, row.record_id))

    def scores(self, record: Record) -> ScoreFile | None:
        """The kept scores of a record, None where there are none.

        Raises:
            BadDataset: they are damaged.
        """
        key = (record.run, record.id)
        if key not in self._read:
            path = self.scores_path(record)
            self._read[key] = read_score_file(path) if path is not None and path.is_file() else None
        return self._read[key]


NOTHING = Evidence()
"""Only the rows themselves: their intervals have to do."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """values: [rows, draws], in the unit of the row.

    Methods: how they were made, in words, one for each way that was taken.
    """

    values: Floats
    methods: tuple[str, ...]


def is_counted(column: Column) -> bool:
    """Whether the column's numbers are counted in the file and not measured, so that they have no error."""
    return column.about == "weight" and "memory" not in column.parts


def may_move(column: Column) -> bool:
    """Whether draws of the column can differ from its number although its rows show no interval."""
    return column.name in {*_QUANTILES, *_TAILS, *_RATES, *_RATIO_OF} or column.name.startswith("apcer.")


def draws_of(
    rows: Sequence[Row], column: Column, evidence: Evidence = NOTHING, *, draws: int = DRAWS, seed: int = 0
) -> Drawn:
    """Draws of the column's number of each row, all of which must have one; see the head of this module."""
    numbers = [column.number(row) for row in rows]
    values = np.array(numbers, dtype=np.float64)
    if column.name in _RATIO_OF:
        return _ratios(rows, values, column, evidence, draws, seed)
    drawn = np.repeat(values[:, None], draws, axis=1)
    title = column.title
    if is_counted(column):
        return Drawn(drawn, ())
    methods = []
    paired = _rates_of_people(rows, column, evidence, draws, seed)
    for place, row in enumerate(rows):
        times = _latencies(row, column, evidence, draws, seed)
        if place in paired:
            drawn[place] = paired[place]
            methods.append(f"{title}: people of the test set drawn again, the same for every file")
        elif times is not None:
            drawn[place] = times
            methods.append(f"{title}: processes drawn again")
        elif (bounds := column.interval(row)) is not None:
            rng = np.random.default_rng([seed, _number(f"{row.run} {row.record_id} {column.name}")])
            if column.quantity == "energy":
                drawn[place] = rng.uniform(*bounds, draws)
                methods.append(f"{title}: drawn evenly within its uncertainty")
            else:
                confidence = _confidence(row, evidence)
                drawn[place] = _from_interval(values[place], bounds, confidence, rng.standard_normal(draws))
                if column.quantity == "share":
                    drawn[place] = np.clip(drawn[place], 0.0, 1.0)
                methods.append(f"{title}: drawn within its interval, each file for itself")
        else:
            methods.append(f"{title}: taken as exact, because it has no interval")
    return Drawn(drawn, tuple(dict.fromkeys(methods)))


def _number(text: str) -> int:
    """The same number for the same text in every process, unlike hash()."""
    return zlib.crc32(text.encode())


def _confidence(row: Row, evidence: Evidence) -> float:
    record = evidence.record(row)
    if record is not None:
        return record.plan.confidence
    return (row.speed.confidence if row.speed else None) or 0.95


def _from_interval(value: float, bounds: tuple[float, float], confidence: float, normal: Floats) -> Floats:
    """Half of the draws on either side of the value, the ends of the interval at its own quantiles."""
    width = NormalDist().inv_cdf((1 + confidence) / 2)
    below, above = max(value - bounds[0], 0.0) / width, max(bounds[1] - value, 0.0) / width
    return value + normal * np.where(normal < 0, below, above)


def _ratios(
    rows: Sequence[Row], values: Floats, column: Column, evidence: Evidence, draws: int, seed: int
) -> Drawn:
    """Draws of the row's own number behind a ratio.

    Turned into the ratio that it would be to the same reference.
    """
    base = COLUMNS[_RATIO_OF[column.name]]
    drawn = draws_of(rows, base, evidence, draws=draws, seed=seed)
    own = np.array([base.number(row) for row in rows], dtype=np.float64)[:, None]
    moved = drawn.values
    if column.name == "accuracy_kept":
        own, moved = 1 - own, 1 - moved
    upper, lower = (moved, own) if base.name == "acer" else (own, moved)
    factor = np.divide(upper, lower, out=np.ones_like(moved), where=lower > 0)
    return Drawn(values[:, None] * factor, drawn.methods)


def _latencies(row: Row, column: Column, evidence: Evidence, draws: int, seed: int) -> Floats | None:
    record = evidence.record(row)
    if column.name not in {*_QUANTILES, *_TAILS} or record is None or not isinstance(record.speed, Speed):
        return None
    workers = record.speed.workers
    q = (_QUANTILES | _TAILS)[column.name]
    shown = stats.process_quantiles_ns(workers, q)
    assert shown is not None  # the row has this number
    count = len(shown)
    place = stats.bound_place(count) if column.name in _TAILS else (count - 1) // 2
    assert place is not None
    rng = np.random.default_rng([seed, _number(row.run), count])
    drawn: Floats = np.sort(np.array(shown)[rng.integers(0, count, (draws, count))], axis=1)[:, place]
    return drawn


# ---- Error rates over people ----


@dataclass(frozen=True, eq=False)
class _Errors:
    """Errors and trials of every person in every class of every fold: [people, classes of all folds, 2].

    classes: how many each fold has; bona fide comes first, then its species in alphabetical order.
    """

    people: tuple[str, ...]
    counts: Floats
    classes: tuple[int, ...]
    species: tuple[str, ...]


def _rates_of_people(
    rows: Sequence[Row], column: Column, evidence: Evidence, draws: int, seed: int
) -> dict[int, Floats]:
    """Place of a row -> draws of its rate.

    For the rows whose kept scores give the very rate that the row has.
    """
    if column.name not in _RATES and not column.name.startswith("apcer."):
        return {}
    alike: dict[tuple[str, ...], dict[int, _Errors]] = {}
    for place, row in enumerate(rows):
        errors = _errors_of(row, evidence)
        if errors is None:
            continue
        totals = errors.counts.sum(axis=0)
        if np.all((totals[:, 0] == 0) | (totals[:, 0] == totals[:, 1])):
            continue  # people without an error, drawn again, make none: only the exact interval knows better
        again = _rate(totals[None], errors, column.name)[0]
        if abs(again - (column.number(row) or 0.0)) < 1e-9:
            alike.setdefault(errors.people, {})[place] = errors
    rates: dict[int, Floats] = {}
    for people, members in alike.items():
        if len(people) < 2:
            continue
        rng = np.random.default_rng([seed, _number("\n".join(people))])
        at_once = max(1, _CELLS_AT_ONCE // len(people))
        for start in range(0, draws, at_once):
            count = min(at_once, draws - start)
            times = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), count).astype(float)
            for place, errors in members.items():
                totals = (times @ errors.counts.reshape(len(people), -1)).reshape(count, -1, 2)
                rates.setdefault(place, np.empty(draws))[start : start + count] = _rate(
                    totals, errors, column.name
                )
    for place, values in rates.items():
        # a draw without a single presentation of a class says nothing of its rate
        values[np.isnan(values)] = column.number(rows[place])
    return rates


def _errors_of(row: Row, evidence: Evidence) -> _Errors | None:
    record = evidence.record(row)
    if record is None or not isinstance(record.accuracy, Accuracy):
        return None
    scores = evidence.scores(record)
    if scores is None:
        return None
    thresholds = {fold.fold: fold.threshold for fold in record.accuracy.folds}
    if not thresholds and record.accuracy.threshold is not None:
        thresholds = {fold.name: record.accuracy.threshold for fold in scores.folds}
    if {fold.name for fold in scores.folds} != thresholds.keys():
        return None
    people = tuple(sorted({name for fold in scores.folds for name in fold.test.subject.tolist()}))
    place_of = {name: place for place, name in enumerate(people)}
    counts, classes, species = [], [], []
    for fold in scores.folds:
        test = fold.test.acquired
        code, names = coded(test.species)
        if names[:1] != ("",) or len(names) < 2:
            return None
        person = np.array([place_of[name] for name in test.subject.tolist()], dtype=np.intp)
        wrong = accepted(test.score, thresholds[fold.name]) != test.is_bona_fide
        cell = person * len(names) + code
        size = len(people) * len(names)
        pair = [np.bincount(cell, weights=wrong, minlength=size), np.bincount(cell, minlength=size)]
        counts.append(np.stack(pair, axis=-1).reshape(len(people), len(names), 2))
        classes.append(len(names))
        species += list(names)
    return _Errors(people, np.concatenate(counts, axis=1), tuple(classes), tuple(species))


def _rate(totals: Floats, errors: _Errors, name: str) -> Floats:
    """The rate of that name in each of the totals [draws, classes, 2], as pad.metrics has it over folds."""
    with np.errstate(invalid="ignore"):
        if name in {"bpcer", *(f"apcer.{group}" for group in errors.species)}:
            wanted = [
                group == name.removeprefix("apcer.") if name != "bpcer" else not group
                for group in errors.species
            ]
            both = totals[:, wanted].sum(axis=1)
            pooled: Floats = both[:, 0] / both[:, 1]
            return pooled
        folds, first = [], 0
        for count in errors.classes:
            part = totals[:, first : first + count]
            first += count
            rate = part[..., 0] / part[..., 1]
            worst, rejected = rate[:, 1:].max(axis=1), rate[:, 0]
            attacks = part[:, 1:].sum(axis=1)
            folds.append(
                {
                    "acer": (worst + rejected) / 2,
                    "apcer": worst,
                    "hter": (attacks[:, 0] / attacks[:, 1] + rejected) / 2,
                }.get(name, np.full(len(totals), np.nan))
            )
    mean: Floats = np.mean(folds, axis=0)
    return mean
