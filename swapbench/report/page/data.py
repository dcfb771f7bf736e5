"""What the web page knows: every number of the table with its text, and what the detail of a record shows, as plain JSON values.

Numbers and texts come from `report.columns`, in the units of `summary.Row`, so the page cannot disagree with the table; the
page itself neither computes nor rounds. Whatever many records share (a machine, a doubt, a plan) is stored once and named by its index.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from swapbench import units
from swapbench.report.page.detail import SAMPLES_A_RECORD, thinned
from swapbench.report.rows.comparable import names_of
from swapbench.report.tables import cells
from swapbench.report.tables.columns import COLUMNS, column
from swapbench.report.tables.table import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from swapbench.report.page.detail import Detail
    from swapbench.report.rows.fp32_parity import RowParity
    from swapbench.report.rows.summary import Row
    from swapbench.report.tables.columns import Column
    from swapbench.report.tables.table import Table

SAMPLES_IN_ALL = 400_000
LEAST_SAMPLES = 24
"""Latencies kept for the curves: fewer a record where the page would hold more than SAMPLES_IN_ALL, never below LEAST_SAMPLES."""

FACETS = (
    ("device", "Device"),
    ("net", "Network"),
    ("recipe", "Recipe"),
    ("precision", "Precision"),
    ("format", "Format"),
    ("runtime", "Runtime"),
    ("data", "Data"),
    ("doubts", "Doubts"),
)
_FIRST_SHOWN = (
    "file",
    "runtime",
    "latency_p50",
    "latency_p90",
    "file_bytes",
    "macs",
    "peak_memory",
    "apcer",
    "bpcer",
    "acer",
)
_SECTIONS = {
    "speed": "Speed",
    "weight": "Weight",
    "accuracy": "Accuracy",
    "power": "Power",
    "relative": "Relative",
    "parity": "Parity",
}  # fmt: skip


def page_data(table: Table, details: Iterable[Detail], parities: Sequence[RowParity]) -> dict[str, Any]:
    """Everything that the page's script reads, columns first; each list of `rows` and of a column is in the order of the table.

    details: of the records of the table, in any order. Raises KeyError where a row has none.
    """
    rows = table.rows
    by_id = {(one.run, one.record_id): one for one in details}
    own = [by_id[row.run, row.record_id] for row in rows]
    by_record = {(one.run, one.record_id): one for one in parities}
    pool = _Pool()
    at_most = max(LEAST_SAMPLES, min(SAMPLES_A_RECORD, SAMPLES_IN_ALL // len(rows)))
    shown = [
        one
        for one in _columns(table)
        if not one.numeric or any(one.text(row) != units.NOT_MEASURED for row in rows)
    ]
    facts = [
        {"section": section, "title": title, "texts": [of(row) for row in rows]}
        for section, title, of in _FACTS
    ]
    for section, title in dict.fromkeys((section, title) for one in own for section, title, _ in one.facts):
        found = [{(one[0], one[1]): one[2] for one in detail.facts} for detail in own]
        facts.append(
            {"section": section, "title": title, "texts": [said.get((section, title), "") for said in found]}
        )
    return {
        "kind": "swapbench.page",
        "version": 1,
        "reference": table.reference,
        "not_measured": units.NOT_MEASURED,
        "samples_a_record": SAMPLES_A_RECORD,
        "sections": _SECTIONS,
        "first_shown": _first_shown(table),
        "columns": [_column(one, rows, pool) for one in shown],
        "facts": [one for one in facts if any(one["texts"])],
        "facets": _facets(table),
        "rows": {
            "id": [f"{row.run}/{row.record_id}" for row in rows],
            "group": _groups(rows),
            "doubts": [[pool(one.model_dump()) for one in row.doubts] for row in rows],
            "missing": [[pool(_missing(one.quantity, one.reason, one.remedy)) for one in row.missing] for row in rows],
            "machine": [pool(one.machine) for one in own],
            "state": [pool(one.state) for one in own],
            "ran": [pool(one.ran) for one in own],
            "command": [one.command for one in own],
            "file": [one.file for one in own],
            "sha256": [one.sha256 for one in own],
            "data": [pool(_data(row)) for row in rows],
            "runs": [one.runs for one in own],
            "samples_ns": [thinned(one.samples_ns, at_most) for one in own],
            "species": [[[one.species, one.errors, one.trials] for one in row.apcer_by_species] for row in rows],
            "folds": [[_fold(one) for one in row.folds] for row in rows],
            "parity": [_parity(by_record.get((row.run, row.record_id))) for row in rows],
        },
        "pool": pool.values,
    }  # fmt: skip


# ---- Parts ----


class _Pool:
    """Values that many records share: each is kept once, and is known by its index."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._index: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        key = repr(value)
        if key not in self._index:
            self._index[key] = len(self.values)
            self.values.append(value)
        return self._index[key]


def _columns(table: Table) -> tuple[Column, ...]:
    return (*COLUMNS.values(), *(column(f"apcer.{name}", table.rows) for name in table.species))


def _first_shown(table: Table) -> list[str]:
    names = list(_FIRST_SHOWN)
    if len(table.machines) > 1:
        names.insert(1, "device")
    if any(row.paced_p50_ns is not None for row in table.rows):
        names += ["paced_p50", "paced_missed"]
    if any(row.device_samples is not None for row in table.rows):
        names += ["device_difference", "device_flips"]
    if any(row.energy for row in table.rows):
        names.append("energy")
    if any(row.relative and row.relative.speed_up is not None for row in table.rows):
        names.append("speed_up")
    return names


def _column(one: Column, rows: Sequence[Row], pool: _Pool) -> dict[str, Any]:
    values = [_finite(one.value(row)) for row in rows]
    bounds = [one.interval(row) for row in rows] if one.low is not None else []
    has_bounds = any(pair is not None for pair in bounds)
    return {
        "name": one.name,
        "title": one.title,
        "heading": one.heading,
        "unit": one.unit,
        "per_unit": one.per_unit,
        "better": one.better,
        "numeric": one.numeric,
        "section": _section(one),
        "values": values,
        "low": [_finite(pair[0]) if pair else None for pair in bounds] if has_bounds else None,
        "high": [_finite(pair[1]) if pair else None for pair in bounds] if has_bounds else None,
        "texts": [one.text(row) for row in rows] if one.numeric else None,
        "absent": [
            pool(one.absent(row)) if value is None else None for row, value in zip(rows, values, strict=True)
        ]
        if None in values
        else None,
    }


def _section(one: Column) -> str:
    """The part of the detail that shows it; species have a table of their own."""
    return (
        "" if not one.numeric or one.name.startswith("apcer.") else "relative" if one.relative else one.about
    )


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _missing(quantity: str, reason: str, remedy: str) -> dict[str, str]:
    return {"quantity": quantity, "reason": reason, "remedy": remedy}


def _groups(rows: Sequence[Row]) -> list[int]:
    """Rows with the same number may be compared: one machine, one data set and protocol."""
    seen: dict[tuple[object, ...], int] = {}
    keys = [(row.machine_fingerprint, row.dataset_digest, row.protocol) for row in rows]
    return [seen.setdefault(key, len(seen)) for key in keys]


def _facets(table: Table) -> list[dict[str, Any]]:
    """Filters that can tell rows apart: their values in the order of the table, and the place of each row's value."""
    names = names_of(table.rows)
    of: Mapping[str, Callable[[Row], str]] = {
        "device": lambda row: names[row.machine_fingerprint],
        "net": lambda row: row.net,
        "recipe": lambda row: row.recipe or "none",
        "precision": lambda row: row.precision,
        "format": lambda row: row.format,
        "runtime": lambda row: row.runtime,
        "data": lambda row: "not scored" if row.dataset is None else f"{row.dataset}, {row.protocol}",
        "doubts": lambda row: "doubtful" if row.doubts else "no doubts",
    }
    facets = []
    for name, title in FACETS:
        texts = [of[name](row) for row in table.rows]
        places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        facets.append(
            {"name": name, "title": title, "values": list(places), "rows": [places[text] for text in texts]}
        )
    return facets  # fmt: skip


def _data(row: Row) -> str:
    if row.dataset is None:
        return ""
    return f"{row.dataset}, protocol {row.protocol}, digest {row.dataset_digest}"


def _fold(one: Any) -> list[str]:
    rates = (one.apcer, one.bpcer, one.acer, one.hter_source_dev, one.auc)
    return [one.fold, *map(cells.bare_percent, rates), f"{one.bona_fide} + {one.attacks}"]


def _parity(one: RowParity | None) -> dict[str, Any] | None:
    if one is None:
        return None
    lines = [[line.name, line.value, line.note] for line in one.found.lines()]
    return {
        "reference": one.reference,
        "flag": one.found.flag,
        "sentence": one.found.sentence,
        "lines": lines,
    }


# ---- Facts: what a detail says besides the columns ----


def _joined(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)


def _speed_interval(row: Row) -> str:
    if row.latency_confidence is None:
        return ""
    return (
        f"{100 * row.latency_confidence:g} %, bootstrap over {row.workers} fresh processes and their slices"
    )


def _presentations(row: Row) -> str:
    if row.bona_fide is None:
        return ""
    text = f"{row.bona_fide} bona fide, {row.attacks} attacks, {row.failures_to_acquire} failures to acquire"
    if row.failures_to_acquire and row.failures_bona_fide is not None:
        text += f" ({row.failures_bona_fide} bona fide, {row.failures_attacks} attacks)"
    return text if row.subjects is None else f"{text}; {row.subjects} people"


def _frames(row: Row) -> str:
    return "" if row.frames is None else f"{row.frames}, {row.frames_without_score} of them without a score"


def _spread(row: Row) -> str:
    return "" if row.acer_sd is None else f"{cells.bare_percent(row.acer_sd)} percentage points"


def _simulated(row: Row) -> str:
    return SIMULATED if row.data_simulated else ""


def _meters(row: Row) -> str:
    return "; ".join(
        f"{one.meter}, {one.scope}: {cells.energy(one)} above idle, {units.energy(one.gross_uj)} with idle, {one.runs} runs"
        for one in row.energy
    )


def _memory(row: Row) -> str:
    before = row.memory_before_load_bytes
    return (
        "" if before is None else f"{units.size(before)} of it before the model was loaded; {row.memory_kind}"
    )


def _reference(row: Row) -> str:
    if row.relative is None:
        return ""
    return "this record itself" if row.relative.reference == row.label else row.relative.reference


def _network_parity(row: Row) -> str:
    if row.parity_samples is None or row.parity_max_abs_difference is None:
        return ""
    largest = units.significant(row.parity_max_abs_difference)
    return f"largest score difference {largest}, {row.parity_decision_flips} of {row.parity_samples} decisions flip"


def _device_parity(row: Row) -> str:
    if row.device_samples is None or row.device_max_abs_difference is None:
        return ""
    largest = units.significant(row.device_max_abs_difference)
    return f"largest score difference {largest}, {row.device_decision_flips} of {row.device_samples} decisions flip"


def _at_frame_rate(row: Row) -> str:
    if row.paced_fps is None or row.paced_p50_ns is None:
        return ""
    return f"{row.paced_fps:g} frames a second, {cells.frames(row)} were missed"


_FACTS: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
    ("speed", "Runs", lambda row: "" if row.runs is None else f"{row.runs} in {row.workers} fresh processes"),
    ("speed", "Interval of the median", _speed_interval),
    ("speed", "Input", lambda row: row.input or ""),
    ("speed", "At a camera's rate", _at_frame_rate),
    ("weight", "Memory counted", _memory),
    ("accuracy", "What the data are", _simulated),
    ("accuracy", "Standard deviation over folds", _spread),
    (
        "accuracy",
        "Threshold",
        lambda row: "" if row.threshold is None else f"{units.significant(row.threshold)} ({row.threshold_rule})",
    ),
    ("accuracy", "Worst attack species", lambda row: _joined(row.apcer_worst_species)),
    ("accuracy", "Presentations", _presentations),
    ("accuracy", "Frames", _frames),
    ("accuracy", "Face boxes", lambda row: row.faces or ""),
    ("accuracy", "Rests on", lambda row: "; ".join(row.basis)),
    ("power", "Meters", _meters),
    ("relative", "Reference", _reference),
    ("parity", "Against the PyTorch network", _network_parity),
    ("parity", "On the device, against the desktop", _device_parity),
)  # fmt: skip
