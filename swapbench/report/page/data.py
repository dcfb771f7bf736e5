"""The data of the web page as JSON values: the numbers of the table with their texts, and the details.

Numbers and texts come from `report.tables.columns`, in the units of `summary.Row`, so the page cannot
disagree with the table; the page itself only subtracts one run from another. What many records share (a
machine, a doubt, a plan) is stored once, in `pool`, and referred to by its index.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from swapbench import units
from swapbench.records import NO_THRESHOLD, PeakMemory
from swapbench.report.page.copies import copies_data
from swapbench.report.page.detail import SAMPLES_A_RECORD, thinned
from swapbench.report.rows.comparable import CONDITIONS, OF_ONE_RUNTIME, WORDS, names_of, value_of
from swapbench.report.rows.row import worst_species
from swapbench.report.rows.values import at
from swapbench.report.tables.columns import COLUMNS, bare_percent, column
from swapbench.report.tables.table import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from swapbench.records import Accuracy, FoldErrors, Parity
    from swapbench.report.page.detail import Detail
    from swapbench.report.rows.fp32_parity import RowParity
    from swapbench.report.rows.row import Energy, Missing, PacedLatency, Row
    from swapbench.report.tables.column import Column
    from swapbench.report.tables.table import Table

SAMPLES_IN_ALL = 400_000
LEAST_SAMPLES = 24
"""Latencies kept for the curves: fewer per record where all would exceed SAMPLES_IN_ALL, down to this."""

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
}


def page_data(table: Table, details: Iterable[Detail], parities: Sequence[RowParity]) -> dict[str, Any]:
    """Everything that the page's script reads; all lists of rows are in the order of the table.

    Args:
        table: The records, in the order in which they are shown.
        details: Of the records of the table, in any order.
        parities: Scores of the exported files against those of their fp32 reference; records may lack one.

    Raises:
        KeyError: A row has no detail.
    """
    rows = table.rows
    detail_by_id = {(detail.run, detail.record_id): detail for detail in details}
    ordered = [detail_by_id[row.run, row.record_id] for row in rows]
    parity_by_id = {(parity.run, parity.record_id): parity for parity in parities}
    pool = _Pool()
    sample_limit = max(LEAST_SAMPLES, min(SAMPLES_A_RECORD, SAMPLES_IN_ALL // len(rows)))
    shown = [
        column
        for column in _columns(table)
        if not column.numeric or any(column.text(row) != units.NOT_MEASURED for row in rows)
    ]
    return {
        "kind": "swapbench.page",
        "version": 1,
        "reference": table.reference,
        "not_measured": units.NOT_MEASURED,
        "samples_a_record": SAMPLES_A_RECORD,
        "sections": _SECTIONS,
        "first_shown": _first_shown(table),
        "of_one_runtime": OF_ONE_RUNTIME,
        "words": WORDS,
        "columns": [_column(column, rows, pool) for column in shown],
        "facts": [fact for fact in _facts(rows, ordered) if any(fact["texts"])],
        "facets": _facets(table),
        "rows": {
            "id": [f"{row.run}/{row.record_id}" for row in rows],
            "conditions": _conditions(rows, pool),
            "doubts": [[pool(doubt.model_dump()) for doubt in row.doubts] for row in rows],
            "missing": [[pool(_missing(missing)) for missing in row.missing] for row in rows],
            "machine": [pool(detail.machine) for detail in ordered],
            "state": [pool(detail.state) for detail in ordered],
            "ran": [pool(detail.ran) for detail in ordered],
            "command": [detail.command for detail in ordered],
            "file": [detail.file for detail in ordered],
            "sha256": [detail.sha256 for detail in ordered],
            "data": [pool(_data(row)) for row in rows],
            "runs": [detail.runs for detail in ordered],
            "samples_ns": [thinned(detail.samples_ns, sample_limit) for detail in ordered],
            "species": [_species(row) for row in rows],
            "folds": [[_fold(fold) for fold in row.accuracy.folds] if row.accuracy else [] for row in rows],
            "parity": [_parity(parity_by_id.get((row.run, row.record_id))) for row in rows],
        },
        "copies": copies_data(table, shown, pool),
        "pool": pool.values,
    }


# ---- Parts ----


class _Pool:
    """Values that many records share: each is stored once, and called with one it gives the index."""

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
    listed = (one for one in COLUMNS.values() if one.listed)
    return (*listed, *(column(f"apcer.{name}", table.rows) for name in table.species))


def _first_shown(table: Table) -> list[str]:
    names = list(_FIRST_SHOWN)
    if len(table.machines) > 1:
        names.insert(1, "device")
    if any(row.paced is not None for row in table.rows):
        names += ["paced_p50", "paced_missed"]
    if any(row.device_parity is not None for row in table.rows):
        names += ["device_difference", "device_flips"]
    if any(row.energy for row in table.rows):
        names.append("energy")
    if any(row.relative and row.relative.speed_up is not None for row in table.rows):
        names.append("speed_up")
    return names


def _facts(rows: Sequence[Row], details: Sequence[Detail]) -> list[dict[str, Any]]:
    """The texts of `_FACTS` and of the details, by section and title; "" for a row that has none."""
    facts = [
        {"section": section, "title": title, "texts": [text(row) for row in rows]}
        for section, title, text in _FACTS
    ]
    by_title = [{(section, title): text for section, title, text in detail.facts} for detail in details]
    for section, title in dict.fromkeys(key for texts in by_title for key in texts):
        texts = [texts.get((section, title), "") for texts in by_title]
        facts.append({"section": section, "title": title, "texts": texts})
    return facts


def _column(column: Column, rows: Sequence[Row], pool: _Pool) -> dict[str, Any]:
    values = [column.value(row) if (n := column.number(row)) is None else _finite(n) for row in rows]
    bounds = [column.interval(row) for row in rows] if column.low is not None else []
    has_bounds = any(pair is not None for pair in bounds)
    absent = [
        pool(column.absent(row)) if value is None else None for row, value in zip(rows, values, strict=True)
    ]
    return {
        "name": column.name,
        "title": column.title,
        "heading": column.heading,
        "unit": column.unit,
        "sign": column.sign,
        "about": column.about,
        "parts": column.parts,
        "per_unit": column.per_unit,
        "better": column.better,
        "numeric": column.numeric,
        "section": _section(column),
        "conditions": sorted(column.conditions),
        "values": values,
        "low": [_finite(pair[0]) if pair else None for pair in bounds] if has_bounds else None,
        "high": [_finite(pair[1]) if pair else None for pair in bounds] if has_bounds else None,
        "texts": [column.text(row) for row in rows] if column.numeric else None,
        "absent": absent if None in values else None,
    }


def _section(column: Column) -> str:
    """The section of the detail that shows a column; species have a table of their own."""
    if not column.numeric or column.name.startswith("apcer."):
        return ""
    return "relative" if column.relative else column.about


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _missing(missing: Missing) -> dict[str, str]:
    return {"quantity": missing.quantity, "reason": missing.reason, "remedy": missing.remedy}


def _species(row: Row) -> list[list[Any]]:
    errors = row.accuracy.apcer_by_species if row.accuracy else {}
    return [[name, rate.errors, rate.trials] for name, rate in sorted(errors.items())]


def _conditions(rows: Sequence[Row], pool: _Pool) -> dict[str, list[int]]:
    """The conditions of every row: by their names, the index of each row's value."""
    return {name: [pool(value_of(row, name)) for row in rows] for name in ("runtime", *CONDITIONS)}


def _facets(table: Table) -> list[dict[str, Any]]:
    """The filters: their values in the order of the table, and for each row the index of its value."""
    names = names_of(table.rows)
    value_of_row: Mapping[str, Callable[[Row], str]] = {
        "device": lambda row: names[row.place],
        "net": lambda row: row.net,
        "recipe": lambda row: row.recipe or "none",
        "precision": lambda row: row.precision,
        "format": lambda row: row.format,
        "runtime": lambda row: row.runtime,
        "data": lambda row: (
            "not scored" if row.accuracy is None else f"{row.accuracy.dataset}, {row.accuracy.protocol}"
        ),
        "doubts": lambda row: "doubtful" if row.doubts else "no doubts",
    }
    facets = []
    for name, title in FACETS:
        texts = [value_of_row[name](row) for row in table.rows]
        index = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        facets.append(
            {"name": name, "title": title, "values": list(index), "rows": [index[text] for text in texts]}
        )
    return facets


def _data(row: Row) -> str:
    scored = row.accuracy
    return (
        ""
        if scored is None
        else f"{scored.dataset}, protocol {scored.protocol}, digest {scored.dataset_digest}"
    )


def _fold(fold: FoldErrors) -> list[str]:
    rates = (fold.apcer, fold.bpcer.rate, fold.acer, fold.hter, fold.auc)
    return [fold.fold, *map(bare_percent, rates), f"{fold.bona_fide} + {fold.attacks}"]


def _parity(parity: RowParity | None) -> dict[str, Any] | None:
    if parity is None:
        return None
    lines = [[line.name, line.value, line.note] for line in parity.found.lines()]
    return {
        "reference": parity.reference,
        "flag": parity.found.flag,
        "sentence": parity.found.sentence,
        "lines": lines,
    }


# ---- Facts: what the detail shows besides the columns ----


def _speed_interval(row: Row) -> str:
    speed = row.speed
    if speed is None or speed.confidence is None:
        return ""
    return f"{100 * speed.confidence:.3g} %, from the order of {speed.workers} fresh processes"


def _presentations(accuracy: Accuracy) -> str:
    lost = accuracy.failures_to_acquire
    text = f"{accuracy.bona_fide} bona fide, {accuracy.attacks} attacks, {lost} failures to acquire"
    by_class = accuracy.failures_by_class
    if lost and by_class:
        text += f" ({by_class.get('bona_fide')} bona fide, {by_class.get('attack')} attacks)"
    return text if accuracy.subjects is None else f"{text}; {accuracy.subjects} people"


def _frames(accuracy: Accuracy) -> str:
    frames = accuracy.frames
    if frames is None:
        return ""
    counted = f"{frames}, {accuracy.frames_without_score} of them without a score"
    return "; ".join([counted, *(group.sentence for group in accuracy.failed_frames)])


def _crops_at_border(accuracy: Accuracy) -> str:
    return "" if accuracy.crops_at_border is None else str(accuracy.crops_at_border)


def _spread(accuracy: Accuracy) -> str:
    sd = accuracy.acer_sd
    return "" if sd is None else f"{bare_percent(sd)} percentage points"


def _threshold(accuracy: Accuracy) -> str:
    threshold = accuracy.threshold
    if accuracy.acer is None:
        return f"none: {NO_THRESHOLD.absent}"
    return "" if threshold is None else f"{units.significant(threshold)} ({accuracy.threshold_rule})"


def _simulated(row: Row) -> str:
    return SIMULATED if row.data_simulated else ""


def _energy(energy: Energy) -> str:
    """Above idle with its uncertainty; where the meter cannot resolve it, the bound and not the estimate."""
    if not energy.resolved:
        return f"< {units.energy(energy.limit_uj)}"
    return f"{units.energy(energy.above_idle_uj)} ± {units.energy(energy.uncertainty_uj, 2)}"


def _missed(paced: PacedLatency) -> str:
    """'3 of 120' frames."""
    if paced.frames is None or paced.missed is None:
        return units.NOT_MEASURED
    return f"{round(paced.missed * paced.frames)} of {paced.frames}"


def _meters(row: Row) -> str:
    return "; ".join(
        f"{energy.meter}, {energy.scope}: {_energy(energy)} above idle, "
        f"{units.energy(energy.gross_uj)} with idle, {energy.runs} runs"
        for energy in row.energy
    )


def _memory(row: Row) -> str:
    memory = at("weight.peak_memory")(row)
    if not isinstance(memory, PeakMemory):
        return ""
    return f"{units.size(memory.before_load_bytes)} of it before the model was loaded; {memory.kind}"


def _reference(row: Row) -> str:
    if row.relative is None:
        return ""
    return "this record itself" if row.relative.reference == row.label else row.relative.reference


def _parity_text(parity: Parity | None) -> str:
    if parity is None:
        return ""
    parts = [f"largest score difference {units.significant(parity.max_abs_difference)}"]
    if parity.rank_correlation is not None:
        parts.append(f"rank correlation {parity.rank_correlation:.4f}")
    if parity.logit_error is not None:
        parts.append(f"logit error {units.percent(parity.logit_error)} of their spread")
    parts.append(f"{parity.decision_flips} of {parity.samples} decisions flip")
    return ", ".join(parts)


def _at_frame_rate(row: Row) -> str:
    rate = row.conditions.frame_rate
    if rate is None or row.paced is None:
        return ""
    return f"{rate:g} frames a second, {_missed(row.paced)} were missed"


def _of_accuracy(text: Callable[[Accuracy], str]) -> Callable[[Row], str]:
    return lambda row: text(row.accuracy) if row.accuracy else ""


def _runs(row: Row) -> str:
    return f"{row.speed.runs} in {row.speed.workers} fresh processes" if row.speed else ""


_FACTS: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
    ("speed", "Runs", _runs),
    ("speed", "Interval of the median", _speed_interval),
    ("speed", "Input", lambda row: row.speed.input if row.speed else ""),
    ("speed", "At a camera's rate", _at_frame_rate),
    ("weight", "Memory counted", _memory),
    ("accuracy", "What the data are", _simulated),
    ("accuracy", "Standard deviation over folds", _of_accuracy(_spread)),
    ("accuracy", "Threshold", _of_accuracy(_threshold)),
    ("accuracy", "Worst attack species", _of_accuracy(lambda accuracy: ", ".join(worst_species(accuracy)))),
    ("accuracy", "Presentations", _of_accuracy(_presentations)),
    ("accuracy", "Frames", _of_accuracy(_frames)),
    ("accuracy", "Crops that leave the frame", _of_accuracy(_crops_at_border)),
    ("accuracy", "Face boxes", _of_accuracy(lambda accuracy: accuracy.faces)),
    ("accuracy", "Rests on", _of_accuracy(lambda accuracy: "; ".join(accuracy.basis))),
    ("power", "Meters", _meters),
    ("relative", "Reference", _reference),
    ("parity", "Against the PyTorch network", lambda row: _parity_text(row.parity)),
    ("parity", "On the device, against the desktop", lambda row: _parity_text(row.device_parity)),
)
