"""Rows in the order of a table, with labels that tell them apart, each with its ratios to its reference.

A row's reference is a row of the same machine, cores, libraries, format, runtime, version, threads and
settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from swapbench import stats
from swapbench.errors import UnknownName
from swapbench.records import ALL_PRECISIONS
from swapbench.report.rows.comparable import SAME_FILE, SAME_METER, SAME_SETUP, SAME_THRESHOLD, differing
from swapbench.report.rows.row import Latency, Missing, Relative, Row
from swapbench.report.rows.values import at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.report.rows.comparable import Condition

_T = TypeVar("_T")
_PRECISIONS: tuple[str, ...] = ALL_PRECISIONS
FLOATS = ("fp32", "fp16")
"""Precisions that a reference may have, the best first."""


def compared_rows(rows: Iterable[Row], relative_to: str | None = None) -> tuple[tuple[Row, ...], str | None]:
    """Rows in the order of the table, each with its ratios, and the name of the reference network.

    Sorted by machine, net, recipe, format and runtime, precision from fp32 down, threads, time. The reference
    of a row is the record of the network `relative_to` (`net` or `net.recipe`; by default the network with
    the most MACs) in fp32, or in fp16 where there is none in fp32, of the same machine, cores, libraries,
    format, runtime, version, threads and settings; where there are several, the newest.

    Args:
        rows: as `summary` makes them, each of one record alone.
        relative_to: the network that ratios refer to.

    Raises:
        UnknownName: no record is of the network `relative_to`.
    """
    rows = _with_labels(sorted(rows, key=_order))
    name = _reference_name(rows, relative_to)
    if name is None:
        return tuple(rows), None
    references = _references(rows, name)
    compared = []
    for row in rows:
        reference = references.get(_setup(row))
        if row.is_system:
            why = Missing("reference", "ratios are of files, and this is a system")
            compared.append(_changed(row, missing=(*row.missing, why)))
        elif reference is None:
            threads = row.used.threads
            under = f"{row.runtime} {row.used.version} with {threads} thread{'s' * (threads != 1)}"
            under += " and the same settings" * bool(row.settings)
            reason = f"no fp32 or fp16 {row.format} record of {name} under {under} on the same machine"
            why = Missing("reference", reason, "Measure it in the same run")
            compared.append(_changed(row, missing=(*row.missing, why)))
        else:
            conditions = _changed(row.conditions, reference=reference.label)
            compared.append(_changed(row, relative=relative(row, reference), conditions=conditions))
    return tuple(compared), name


def _changed(value: _T, **fields: Any) -> _T:
    """`dataclasses.replace` for thousands of rows.

    It would hand on every field by name and take ten times as long.
    """
    changed = object.__new__(type(value))
    vars(changed).update(vars(value) | fields)
    return changed


_EVERY = SAME_METER | SAME_THRESHOLD
_REDUCTIONS = {
    "speed_up": (SAME_SETUP, at("speed.p50_ns")),
    "speed_up_p05": (SAME_SETUP, at("speed.p05_ns")),
    "size_reduction": (SAME_FILE, at("weight.file_bytes")),
    "params_reduction": (SAME_FILE, at("weight.params")),
    "macs_reduction": (SAME_FILE, at("weight.macs")),
    "memory_reduction": (SAME_SETUP, at("weight.peak_memory.peak_bytes")),
}
"""reference / row, by what both must have in common for it."""


def relative(row: Row, reference: Row) -> Relative:
    """The ratios of a row to its reference, each where the two may be compared in the number behind it."""
    differ: frozenset[Condition] = frozenset()
    if row.conditions != reference.conditions:
        differ = frozenset(differing(row, reference, _EVERY))
    ratios = {
        name: None if differ & conditions else _over(value(reference), value(row))
        for name, (conditions, value) in _REDUCTIONS.items()
    }
    itself = (row.run, row.record_id) == (reference.run, reference.record_id)
    low = high = accuracy_kept = error_ratio = energy_reduction = None
    by_round: list[float] = []
    if row.speed and reference.speed and not itself and not differ & SAME_SETUP:
        if row.run == reference.run:
            by_round = _ratios_by_round(row.speed, reference.speed)
        interval = stats.process_interval(by_round, row.speed.confidence or 0.95)
        if interval is not None and ratios["speed_up"] is not None:
            low, high = min(interval.low, ratios["speed_up"]), max(interval.high, ratios["speed_up"])
        else:
            low = _over(reference.speed.p50_low_ns, row.speed.p50_high_ns)
            high = _over(reference.speed.p50_high_ns, row.speed.p50_low_ns)
    acer, reference_acer = (at("accuracy.acer")(one) for one in (row, reference))
    if acer is not None and reference_acer is not None and not differ & SAME_THRESHOLD:
        accuracy_kept = _over(1 - acer, 1 - reference_acer)
        error_ratio = _over(acer, reference_acer)
    if row.energy and reference.energy and not differ & SAME_METER:
        ours, theirs = row.energy[0], reference.energy[0]
        if ours.resolved and theirs.resolved:
            energy_reduction = _over(theirs.above_idle_uj, ours.above_idle_uj)
    return Relative(
        reference=reference.label,
        reference_precision=reference.precision,
        paired=len(by_round) > 1,
        speed_up_low=low,
        speed_up_high=high,
        accuracy_kept=accuracy_kept,
        error_ratio=error_ratio,
        energy_reduction=energy_reduction,
        **ratios,
    )


def _ratios_by_round(speed: Latency, reference: Latency) -> list[float]:
    """Reference / row in every round, where both files were timed together; else nothing."""
    rounds = speed.p50_by_round_ns
    if speed.sitting != reference.sitting or rounds.keys() != reference.p50_by_round_ns.keys():
        return []
    return [reference.p50_by_round_ns[number] / own for number, own in rounds.items() if own > 0]


def _over(top: float | None, bottom: float | None) -> float | None:
    return top / bottom if top is not None and bottom else None


def _order(row: Row) -> tuple[object, ...]:
    precision = _PRECISIONS.index(row.precision) if row.precision in _PRECISIONS else len(_PRECISIONS)
    kind = (row.net, row.recipe or "", row.format, row.runtime, precision, row.used.threads)
    return (row.place, *kind, row.used.version, row.time, row.record_id)


def _with_labels(rows: list[Row]) -> list[Row]:
    """Rows whose labels are unique: what distinguishes equal file names is added only where it is needed."""
    tells: tuple[Callable[[Row], str], ...] = (
        lambda row: row.runtime,
        lambda row: row.used.version,
        lambda row: f"{row.used.threads} thread{'s' * (row.used.threads != 1)}",
        lambda row: row.machine,
        lambda row: f"{row.conditions.cores or 'any'} cores",
        lambda row: f"{row.used.settings.get('flavour') or 'official'} libraries",
        lambda row: row.run,
        lambda row: row.record_id,
    )
    parts: list[tuple[str, ...]] = [(row.label,) for row in rows]
    for tell in tells:
        words: dict[tuple[str, ...], set[str]] = {}
        for row, label in zip(rows, parts, strict=True):
            words.setdefault(label, set()).add(tell(row))
        parts = [
            (*label, tell(row)) if len(words[label]) > 1 else label
            for row, label in zip(rows, parts, strict=True)
        ]
    return [
        _changed(row, label=f"{first} ({', '.join(more)})") if more else row
        for row, (first, *more) in zip(rows, parts, strict=True)
    ]


def _reference_name(rows: Sequence[Row], relative_to: str | None) -> str | None:
    if relative_to is not None:
        if not any(relative_to in {row.net, row.model} for row in rows if not row.is_system):
            raise UnknownName("network among these records", relative_to, {row.model for row in rows})
        return relative_to
    macs = [(row.weight.macs, row.net) for row in rows if row.weight is not None and not row.is_system]
    heaviest = max((count for count, _ in macs), default=0)
    return min((net for count, net in macs if count == heaviest), default=None)


def _setup(row: Row) -> tuple[object, ...]:
    """What a row and its reference have in common: never other libraries, other cores or another delegate."""
    under = row.conditions
    return (row.place, row.format, under.runtime, under.version, under.threads, under.settings)


def _references(rows: Iterable[Row], name: str) -> dict[tuple[object, ...], Row]:
    """The reference of every setup that has one."""
    references: dict[tuple[object, ...], Row] = {}
    for row in rows:
        if row.precision in FLOATS and name in {row.net, row.model} and not row.is_system:
            best = references.setdefault(_setup(row), row)
            if _rank(row, name) > _rank(best, name):
                references[_setup(row)] = row
    return references


def _rank(row: Row, name: str) -> tuple[object, ...]:
    """The higher, the better a row serves as the reference `name`.

    A bare name means the network as it is; a recipe of it only where nothing else was measured.
    """
    return (row.model == name, -FLOATS.index(row.precision), row.time, row.record_id)
