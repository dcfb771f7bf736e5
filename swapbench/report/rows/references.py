"""Rows in the order of a table, with labels that tell them apart, each held against its reference: from two rows to ratios.

A row is compared only with one of the same place (`report.places`), format, runtime, version, threads and settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swapbench.errors import UnknownName
from swapbench.records import PRECISIONS
from swapbench.report.rows.summary import Missing, Relative, Row, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.records import Record

_PRECISIONS: tuple[str, ...] = PRECISIONS


def rows_of(records: Sequence[Record], relative_to: str | None = None) -> tuple[tuple[Row, ...], str | None]:
    """Rows in the order of the table, each with its ratios, and the name of the reference network.

    Sorted by machine, net, recipe, format and runtime, precision from fp32 down, threads, time. The reference of a
    row is the record of the network `relative_to` (`net` or `net.recipe`; by default the network with the most MACs)
    in fp32 of the same place (see report.places), format, runtime, version, threads and settings; where there are several, the newest.
    Raises UnknownName when no record is of the network `relative_to`.
    """
    return compared_rows(map(summary, records), relative_to)


def compared_rows(rows: Iterable[Row], relative_to: str | None = None) -> tuple[tuple[Row, ...], str | None]:
    """`rows_of` from rows as `summary` makes them, each of one record alone."""
    rows = _with_labels(sorted(rows, key=_order))
    name = _reference_name(rows, relative_to)
    if name is None:
        return tuple(rows), None
    references = _references(rows, name)
    compared = []
    for row in rows:
        reference = references.get(_place(row))
        if reference is None:
            under = f"{row.runtime} {row.runtime_version} with {row.threads} thread{'s' * (row.threads != 1)}"
            under += " and the same settings" * bool(row.settings)
            reason = f"no fp32 {row.format} record of {name} under {under} on the same machine"
            why = Missing("reference", reason, "Measure it in the same run")
            compared.append(_changed(row, missing=(*row.missing, why)))
        else:
            compared.append(_changed(row, relative=relative(row, reference)))
    return tuple(compared), name


def _changed(row: Row, **values: Any) -> Row:
    """`dataclasses.replace` for thousands of rows: it would hand on every field by name and take ten times as long."""
    changed = object.__new__(Row)
    vars(changed).update(vars(row) | values)
    return changed


def relative(row: Row, reference: Row) -> Relative:
    """The ratios of a row to its reference. Accuracy is compared only on the same data and protocol."""
    itself = (row.run, row.record_id) == (reference.run, reference.record_id)
    same_data = (row.dataset_digest, row.protocol) == (reference.dataset_digest, reference.protocol)
    accuracy_kept = error_ratio = None
    if same_data and row.acer is not None and reference.acer is not None:
        accuracy_kept = _over(1 - row.acer, 1 - reference.acer)
        error_ratio = _over(row.acer, reference.acer)
    same_meter = bool(row.energy and reference.energy) and (
        (row.energy[0].meter, row.energy[0].scope, row.paced_fps)
        == (reference.energy[0].meter, reference.energy[0].scope, reference.paced_fps)
    )
    comparable = same_meter and row.energy[0].resolved and reference.energy[0].resolved
    return Relative(
        reference=reference.label,
        speed_up=_over(reference.latency_p50_ns, row.latency_p50_ns),
        speed_up_low=None if itself else _over(reference.latency_p50_low_ns, row.latency_p50_high_ns),
        speed_up_high=None if itself else _over(reference.latency_p50_high_ns, row.latency_p50_low_ns),
        speed_up_p05=_over(reference.latency_p05_ns, row.latency_p05_ns),
        size_reduction=_over(reference.file_bytes, row.file_bytes),
        params_reduction=_over(reference.params, row.params),
        macs_reduction=_over(reference.macs, row.macs),
        memory_reduction=_over(reference.peak_memory_bytes, row.peak_memory_bytes),
        accuracy_kept=accuracy_kept,
        error_ratio=error_ratio,
        energy_reduction=_over(reference.energy_above_idle_uj, row.energy_above_idle_uj)
        if comparable
        else None,
    )


def _over(top: float | None, bottom: float | None) -> float | None:
    return top / bottom if top is not None and bottom else None


def _order(row: Row) -> tuple[object, ...]:
    precision = _PRECISIONS.index(row.precision) if row.precision in _PRECISIONS else len(_PRECISIONS)
    kind = (row.net, row.recipe or "", row.format, row.runtime, precision, row.threads)
    return (row.machine_fingerprint, *kind, row.runtime_version, row.time, row.record_id)


def _with_labels(rows: list[Row]) -> list[Row]:
    """Rows whose labels are unique: what distinguishes equal file names is added only where it is needed."""
    tells: tuple[Callable[[Row], str], ...] = (
        lambda row: row.runtime,
        lambda row: row.runtime_version,
        lambda row: f"{row.threads} thread{'s' * (row.threads != 1)}",
        lambda row: row.machine,
        lambda row: f"{row.cores or 'any'} cores",
        lambda row: f"{row.flavour or 'official'} libraries",
        lambda row: row.run,
        lambda row: row.record_id,
    )
    parts: list[tuple[str, ...]] = [(row.label,) for row in rows]
    for tell in tells:
        told: dict[tuple[str, ...], set[str]] = {}
        for row, known in zip(rows, parts, strict=True):
            told.setdefault(known, set()).add(tell(row))
        parts = [
            (*known, tell(row)) if len(told[known]) > 1 else known
            for row, known in zip(rows, parts, strict=True)
        ]
    return [
        _changed(row, label=f"{first} ({', '.join(more)})") if more else row
        for row, (first, *more) in zip(rows, parts, strict=True)
    ]


def _reference_name(rows: Sequence[Row], relative_to: str | None) -> str | None:
    if relative_to is not None:
        if not any(relative_to in {row.net, row.model} for row in rows):
            raise UnknownName("network among these records", relative_to, {row.model for row in rows})
        return relative_to
    counted = [row for row in rows if row.macs is not None]
    heaviest = max((row.macs or 0 for row in counted), default=0)
    return min((row.net for row in counted if row.macs == heaviest), default=None)


def _place(row: Row) -> tuple[object, ...]:
    """What a row and its reference have in common: never another flavour of the libraries, other cores or another delegate."""
    return (
        row.machine_fingerprint,
        row.format,
        row.runtime,
        row.runtime_version,
        row.threads,
        row.settings,
    )


def _references(rows: Iterable[Row], name: str) -> dict[tuple[object, ...], Row]:
    """The reference of every place that has one."""
    found: dict[tuple[object, ...], Row] = {}
    for row in rows:
        if row.precision == "fp32" and name in {row.net, row.model}:
            known = found.setdefault(_place(row), row)
            # A bare network name means the network as it is; a recipe of it only where nothing else was measured.
            rank = (row.model == name, row.time, row.record_id)
            if rank > (known.model == name, known.time, known.record_id):
                found[_place(row)] = row
    return found
