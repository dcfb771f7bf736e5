"""The columns that people name: `--columns latency_p50,acer`, `--x energy`, `--require "p90<=30ms"`.

One registry for every view: what a column is called, its unit, which direction is better, where its number
and its interval stand in a row, and on which conditions it depends. Tables, figures, Pareto fronts,
constraints and the page all read it, so a name means the same everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.errors import UnknownName, UserError
from swapbench.records import NOT_ELSEWHERE, NOT_PACED
from swapbench.report.rows.comparable import (
    SAME_DATA,
    SAME_DECISION,
    SAME_FILE,
    SAME_METER,
    SAME_RATE,
    SAME_SETUP,
    SAME_THRESHOLD,
)
from swapbench.report.tables.column import Amount, Column, Origin
from swapbench.report.tables.fields import FIELDS, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.report.rows.row import Row
    from swapbench.report.tables.column import Better
    from swapbench.report.tables.fields import Value


def bare_percent(fraction: float) -> str:
    """A fraction in per cent without the sign, for a column whose heading names the unit."""
    return units.percent(fraction, decimals=2).removesuffix(" %")


@dataclass(frozen=True)
class Constraint:
    """What a user demands of a row: `acer<=0.05`, `p90<=30ms`, `speed_up>=7`.

    Limit: in the row's own unit.
    """

    column: Column
    at_most: bool
    limit: float
    text: str

    def met(self, row: Row) -> bool | None:
        """Whether the row meets it; None where its number does not exist."""
        value = self.column.number(row)
        if value is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit


def column(name: str, rows: Iterable[Row] = ()) -> Column:
    """The column of that name or alias; `apcer.<species>` for the species of `rows`.

    Raises:
        UnknownName: there is no such column; the message names the nearest ones.
    """
    registered = COLUMNS.get(ALIASES.get(name, name))
    if registered is not None:
        return registered
    of_species = {
        f"apcer.{species}" for row in rows if row.accuracy for species in row.accuracy.apcer_by_species
    }
    if name in of_species:
        return _species(name.removeprefix("apcer."))
    raise UnknownName("column", name, {*COLUMNS, *ALIASES, *of_species})


def columns(names: str | Sequence[str], rows: Iterable[Row] = ()) -> tuple[Column, ...]:
    """The columns of a list of names, or of a text with commas.

    Raises:
        UnknownName: there is no such column.
        UserError: none is named.
    """
    parts = names.split(",") if isinstance(names, str) else names
    wanted = [part.strip() for part in parts if part.strip()]
    if not wanted:
        raise UserError("no column was named", remedy=f"Some of: {', '.join(COLUMNS)}")
    rows = tuple(rows)
    chosen = [column(name, rows) for name in wanted]
    return tuple({column.name: column for column in chosen}.values())


def numeric_column(name: str, rows: Iterable[Row] = ()) -> Column:
    """A column that can be an axis or a sort key.

    Raises:
        UnknownName: there is no such column.
        UserError: it holds text.
    """
    chosen = column(name, rows)
    if not chosen.numeric:
        numeric = [column.name for column in COLUMNS.values() if column.numeric]
        raise UserError(f"column {name} holds text, not numbers", remedy=f"One of: {', '.join(numeric)}")
    return chosen


def constraint(text: str, rows: Iterable[Row] = ()) -> Constraint:
    """Read 'acer<=0.05', 'acer <= 5 %', 'p90<=30ms', 'speed_up>=7'.

    Raises:
        UnknownName: there is no such column.
        UserError: the text is not a requirement.
    """
    parts = re.fullmatch(r"\s*([\w.-]+)\s*(<=|>=|<|>|=+)\s*(.+?)\s*", text)
    if parts is None or parts[2] not in {"<=", ">="}:
        raise UserError(
            f"{text!r} is not a valid requirement",
            remedy='Write column<=amount or column>=amount, e.g. "p90<=30ms"',
        )
    wanted = numeric_column(parts[1], rows)
    assert wanted.quantity is not None
    amount = re.sub(r"(?<=[\d.])\s*[x×]$", "", parts[3]) if wanted.sign else parts[3]
    limit = units.amount(amount, wanted.quantity, where=f"requirement {text!r}")
    return Constraint(wanted, parts[2] == "<=", limit, " ".join(parts.groups()))


# ---- The registry ----


def _whole(number: float) -> str:
    return f"{number:.0f}"


_TIME = Amount("time", units.milliseconds, "ms", 1e6)
_SIZE = Amount("size", units.megabytes, "MB", 1e6)
_MILLIONS = Amount("count", units.millions, "M", 1e6)
_SHARE = Amount("share", bare_percent, "%", 0.01)
_ENERGY = Amount("energy", units.millijoules, "mJ", 1e3)
_TIMES = Amount("count", units.significant, sign="×")
_PLAIN = Amount("count", units.significant)
_WHOLE = Amount("count", _whole)
_PER_SECOND = Amount("count", units.significant, "1/s")

_IN_FILE = Origin("weight", SAME_FILE)
_SPEED = Origin("speed", SAME_SETUP)
_TAIL = Origin("speed tail", SAME_SETUP)
_PACED = Origin("speed paced", SAME_RATE, f"{NOT_PACED.absent} (--fps)")
_MEMORY = Origin("weight memory", SAME_SETUP)
_ACCURACY = Origin("accuracy", SAME_DATA)
_FROZEN = Origin("accuracy", SAME_THRESHOLD)
_DECISION = Origin("speed decision", SAME_DECISION, "its times or its accuracy are missing")
_PARITY = Origin("parity", SAME_DATA)
_ELSEWHERE = Origin("accuracy device_parity", SAME_DATA, NOT_ELSEWHERE.absent)
_METER = Origin("power", SAME_METER)


def _text(name: str, title: str, value: Callable[[Row], Value] | None = None, *fields: str) -> Column:
    return Column(name, title, value or FIELDS[name], fields or (name,))


def _number(
    name: str,
    title: str,
    amount: Amount,
    origin: Origin,
    *fields: str,
    better: Better = "lower",
    ratios: tuple[str, ...] = (),
) -> Column:
    """A column of its first field.

    Fields of the ends of its interval have `_low` and `_high` in their names.
    """
    ends = {end: field(name) for end in ("low", "high") for name in fields if f"_{end}" in name}
    low, high = ends.get("low"), ends.get("high")
    return Column(
        name, title, field(fields[0]), fields, amount, origin, better, low=low, high=high, ratios=ratios
    )


def _ratio(name: str, title: str, base: Origin, *interval: str, otherwise: str = "") -> Column:
    """A column of reference / row.

    Where it is to compare, both were measured as the base of the ratio asks.
    """
    why = otherwise or "its reference has no such number"
    origin = Origin(f"{base.part} reference", base.conditions | {"reference"}, why)
    return _number(name, title, _TIMES, origin, name, *interval, "relative_to", better="higher")


def _species(species: str) -> Column:
    origin = replace(_FROZEN, otherwise="its test data hold no such attack")
    fields = (f"apcer.{species}", f"apcer_low.{species}", f"apcer_high.{species}")
    value, low, high = map(field, fields)
    title = f"APCER {species}"
    return Column(f"apcer.{species}", title, value, fields, _SHARE, origin, "lower", low=low, high=high)


def fold_column(fold: str) -> Column:
    """ACER of one fold of a protocol, at the threshold frozen on its own development split."""

    def acer(row: Row) -> float | None:
        folds = row.accuracy.folds if row.accuracy else ()
        return next((errors.acer for errors in folds if errors.fold == fold), None)

    return Column(f"acer.{fold}", f"Fold {fold}", acer, ("folds",), _SHARE, _FROZEN, "lower")


def _above_idle_uj(row: Row) -> float | None:
    """An estimate that the meter could not resolve is no number: only its bound may be printed."""
    return row.energy[0].above_idle_uj if row.energy and row.energy[0].resolved else None


def _above_idle_end(sign: int) -> Callable[[Row], float | None]:
    def bound(row: Row) -> float | None:
        value = _above_idle_uj(row)
        return None if value is None else value + sign * row.energy[0].uncertainty_uj

    return bound


def _bound_uj(row: Row) -> float | None:
    return row.energy[0].limit_uj if row.energy and not row.energy[0].resolved else None


def _worst_species(row: Row) -> str | None:
    names = FIELDS["apcer_worst_species"](row)
    if not names:
        return None
    return str(names[0]) if len(names) == 1 else f"{len(names)} tie"


def _reference(row: Row) -> str | None:
    if row.relative is None:
        return None
    return "this row" if row.relative.reference == row.label else row.relative.reference


_IDENTITY = (
    _text("file", "File", lambda row: row.label, "label"),
    _text("model", "Model", lambda row: row.model, "net", "recipe"),
    _text("net", "Network"),
    _text("recipe", "Recipe"),
    _text("precision", "Precision"),
    _text("format", "Format"),
    _text("runtime", "Runtime"),
    _text("runtime_version", "Version"),
    _text("threads", "Threads"),
    _text("cores", "Cores"),
    _text("flavour", "Libraries"),
    _text("settings", "Settings"),
    _text("device", "Device", lambda row: row.machine, "machine"),
    _text("run", "Run"),
    replace(_text("dataset", "Data"), origin=Origin("accuracy")),
    replace(_text("protocol", "Protocol"), origin=Origin("accuracy")),
)
_P50 = ("latency_p50_ns", "latency_p50_low_ns", "latency_p50_high_ns")
_P05 = ("latency_p05_ns", "latency_p05_low_ns", "latency_p05_high_ns")
_PACED_P50 = ("paced_p50_ns", "paced_p50_low_ns", "paced_p50_high_ns", "paced_fps")
_SPEEDS = (
    _number("latency_p50", "Median latency", _TIME, _SPEED, *_P50, ratios=("speed_up",)),
    _number("latency_p05", "p05 latency", _TIME, _SPEED, *_P05, ratios=("speed_up_p05",)),
    _number("latency_p90", "p90 latency", _TIME, _TAIL, "latency_p90_ns"),
    _number("latency_p95", "p95 latency", _TIME, _TAIL, "latency_p95_ns"),
    _number("latency_p99", "p99 latency", _TIME, _TAIL, "latency_p99_ns"),
    _number("load", "Load", _TIME, _SPEED, "load_ns"),
    _number("first", "First run", _TIME, _SPEED, "first_ns"),
    _number("cpu_time", "CPU time", _TIME, _SPEED, "cpu_time_ns"),
    _number("paced_p50", "Median at frame rate", _TIME, _PACED, *_PACED_P50),
    _number("paced_p95", "p95 at frame rate", _TIME, _PACED, "paced_p95_ns", "paced_fps"),
    _number("paced_missed", "Missed frames", _SHARE, _PACED, "paced_missed", "paced_frames", "paced_fps"),
)
_WEIGHTS = (
    _number("file_bytes", "File size", _SIZE, _IN_FILE, "file_bytes", ratios=("size_reduction",)),
    _number("params", "Parameters", _MILLIONS, _IN_FILE, "params", ratios=("params_reduction",)),
    _number("macs", "MACs", _MILLIONS, _IN_FILE, "macs", ratios=("macs_reduction",)),
    _number("peak_memory", "Peak memory", _SIZE, _MEMORY, "peak_memory_bytes", ratios=("memory_reduction",)),
)


def _rate(name: str, title: str, *fields: str, origin: Origin = _ACCURACY) -> Column:
    return _number(name, title, _SHARE, origin, *(fields or (name,)))


_ACER = _rate("acer", "ACER", "acer", "acer_low", "acer_high", origin=_FROZEN)
_AUC = _rate("auc", "AUC", "auc", "auc_low", "auc_high")
_HTER = ("hter_source_dev", "hter_source_dev_low", "hter_source_dev_high")
_HTER_EER = ("hter_target_eer", "hter_target_eer_low", "hter_target_eer_high")
_ERRORS = (
    replace(_ACER, ratios=("accuracy_kept", "error_ratio")),
    _rate("apcer", "APCER", origin=_FROZEN),
    _rate("bpcer", "BPCER", "bpcer", "bpcer_low", "bpcer_high", origin=_FROZEN),
    _rate("hter", "HTER @source-dev", *_HTER, origin=_FROZEN),
    _rate("hter_target_eer", "HTER @target-EER", *_HTER_EER),
    _rate("eer", "EER"),
    replace(_AUC, better="higher"),
    _rate("bpcer10", "BPCER10"),
    _rate("bpcer20", "BPCER20"),
    _rate("bpcer100", "BPCER100"),
)
_DIFFERENCES = (
    _number(
        "device_difference",
        "Largest difference from the desktop",
        _PLAIN,
        _ELSEWHERE,
        "device_max_abs_difference",
        "device_samples",
    ),
    _number(
        "device_flips",
        "Flips from the desktop",
        _WHOLE,
        _ELSEWHERE,
        "device_decision_flips",
        "device_samples",
    ),
)
_ENERGIES = (
    Column(
        "energy",
        "Energy above idle",
        _above_idle_uj,
        ("energy_above_idle_uj", "energy_uncertainty_uj", "energy_limit_uj", "energy_meter", "energy_scope"),
        _ENERGY,
        _METER,
        "lower",
        low=_above_idle_end(-1),
        high=_above_idle_end(1),
        spread=True,
        limit=_bound_uj,
        ratios=("energy_reduction",),
    ),
    _number(
        "energy_gross",
        "Energy, idle included",
        _ENERGY,
        _METER,
        "energy_gross_uj",
        "energy_meter",
        "energy_scope",
    ),
)
_DECISIONS = (
    _number(
        "decision_time",
        "Time of a decision",
        _TIME,
        _DECISION,
        "decision_time_ns",
        "decision_time_low_ns",
        "decision_time_high_ns",
    ),
    _number("decision_p90", "p90 of decisions", _TIME, _DECISION, "decision_time_p90_ns"),
    _number("decision_worst", "Worst decision", _TIME, _DECISION, "decision_time_worst_ns"),
    _number(
        "decision_energy",
        "Energy of a decision",
        _ENERGY,
        Origin("power decision", SAME_METER | SAME_DATA, "its energy or its accuracy is missing"),
        "decision_energy_uj",
        "decision_energy_low_uj",
        "decision_energy_high_uj",
    ),
)
_NO_COMMON_ERRORS = "its reference was scored on other data, or makes no errors"
_NO_COMMON_ENERGY = (
    "its reference has no energy, or another meter, or the meter could not resolve one of the two"
)
_KEPT = _ratio("accuracy_kept", "1 - ACER kept", _FROZEN, otherwise=_NO_COMMON_ERRORS)
_ERROR_RATIO = _ratio("error_ratio", "Error ratio", _FROZEN, otherwise=_NO_COMMON_ERRORS)
_RATIOS = (
    _ratio("speed_up", "Speed-up", _SPEED, "speed_up_low", "speed_up_high"),
    _ratio("speed_up_p05", "Speed-up (p05)", _SPEED),
    _ratio("size_reduction", "Smaller file", _IN_FILE),
    _ratio("params_reduction", "Fewer parameters", _IN_FILE),
    _ratio("macs_reduction", "Fewer MACs", _IN_FILE),
    _ratio("memory_reduction", "Less memory", _MEMORY),
    _ratio("energy_reduction", "Less energy", _METER, otherwise=_NO_COMMON_ENERGY),
    replace(_KEPT, amount=_SHARE),
    replace(_ERROR_RATIO, better="lower"),
)
_DETAILS = (
    _number("runs", "Runs", _WHOLE, _SPEED, "runs", better=""),
    _number("workers", "Workers", _WHOLE, _SPEED, "workers", better=""),
    _number("paced_frames", "Frames", _WHOLE, _PACED, "paced_frames", "paced_fps", better=""),
    _number("paced_fps", "Frame rate", _PER_SECOND, _PACED, "paced_fps", better=""),
    _number("memory_before_load", "Before load", _SIZE, _MEMORY, "memory_before_load_bytes"),
    _number("decision_frames", "Frames of a decision", _PLAIN, _DECISION, "decision_frames", better=""),
    _number(
        "decision_latency",
        "First frame to decision",
        _TIME,
        _DECISION,
        "decision_latency_ns",
        "decision_fps",
        better="",
    ),
    _text("decision_basis", "Decision"),
    _text("worst_species", "Worst species", _worst_species, "apcer_worst_species"),
    _number("acer_sd", "SD of ACER over folds", _SHARE, _FROZEN, "acer_sd"),
    _number("threshold", "Threshold", _PLAIN, _ACCURACY, "threshold", better=""),
    _number(
        "parity_difference",
        "Largest difference from PyTorch",
        _PLAIN,
        _PARITY,
        "parity_max_abs_difference",
        "parity_samples",
    ),
    _number(
        "parity_ranks",
        "Rank correlation with PyTorch",
        _PLAIN,
        _PARITY,
        "parity_rank_correlation",
        "parity_samples",
        better="higher",
    ),
    _number(
        "parity_logits", "Logit error from PyTorch", _PLAIN, _PARITY, "parity_logit_error", "parity_samples"
    ),
    _number("parity_flips", "Flips from PyTorch", _WHOLE, _PARITY, "parity_decision_flips", "parity_samples"),
    _number("parity_samples", "Samples compared with PyTorch", _WHOLE, _PARITY, "parity_samples", better=""),
    _number(
        "device_samples", "Samples compared with the desktop", _WHOLE, _ELSEWHERE, "device_samples", better=""
    ),
    _number("energy_runs", "Metered runs", _WHOLE, _METER, "energy_runs", better=""),
    _text("meter", "Meter", FIELDS["energy_meter"], "energy_meter"),
    _text("scope", "Scope", FIELDS["energy_scope"], "energy_scope"),
    _text("reference", "Reference", _reference, "relative_to"),
)
"""What only a whole report shows in columns."""
COLUMNS = {
    column.name: column
    for column in (
        *_IDENTITY,
        *_SPEEDS,
        *_WEIGHTS,
        *_ERRORS,
        *_DIFFERENCES,
        *_ENERGIES,
        *_DECISIONS,
        *_RATIOS,
        *(replace(column, listed=False) for column in _DETAILS),
    )
}
"""Every column by its name, in the order in which a list of all of them is shown."""

ALIASES = {
    "latency": "latency_p50",
    "median": "latency_p50",
    "p50": "latency_p50",
    "p05": "latency_p05",
    "p90": "latency_p90",
    "p95": "latency_p95",
    "p99": "latency_p99",
    "size": "file_bytes",
    "memory": "peak_memory",
    "hter_source_dev": "hter",
}
"""Shorter names that mean the same."""
