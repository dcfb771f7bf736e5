"""The columns that people name: `--columns latency_p50,acer`, `--x energy`, `--sort -speed_up`, `--require "p90<=30ms"`.

One registry for every view: what a column is called, its unit, which direction is better, where its number and its interval
stand in a row, and on which conditions it depends. Tables, figures, Pareto fronts, constraints and the page all read it, so a
name means the same everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.errors import UnknownName, UserError
from swapbench.records import NOT_ELSEWHERE, NOT_PACED
from swapbench.report.rows.comparable import SAME_DATA, SAME_FILE, SAME_METER, SAME_RATE, SAME_SETUP
from swapbench.report.tables.column import Column
from swapbench.report.tables.fields import FIELDS, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from swapbench.report.rows.summary import Row
    from swapbench.report.tables.fields import Value


def bare_percent(fraction: float) -> str:
    """A fraction in per cent without the sign, for a column whose heading names the unit."""
    return units.percent(fraction, decimals=2).removesuffix(" %")


@dataclass(frozen=True)
class Constraint:
    """What a user demands of a row: `acer<=0.05`, `p90<=30ms`, `speed_up>=7`. limit: in the row's own unit."""

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

    Raises UnknownName with the nearest names.
    """
    found = COLUMNS.get(ALIASES.get(name, name))
    if found is not None:
        return found
    species = sorted({one for row in rows if row.accuracy for one in row.accuracy.apcer_by_species})
    if name.startswith("apcer.") and name.removeprefix("apcer.") in species:
        return _species(name.removeprefix("apcer."))
    raise UnknownName("column", name, {*COLUMNS, *ALIASES, *(f"apcer.{one}" for one in species)})


def columns(names: str | Sequence[str], rows: Iterable[Row] = ()) -> tuple[Column, ...]:
    """The columns of a list of names, or of a text with commas. Raises UnknownName, UserError where there is none."""
    parts = names.split(",") if isinstance(names, str) else names
    wanted = [part.strip() for part in parts if part.strip()]
    if not wanted:
        raise UserError("no column was named", remedy=f"Some of: {', '.join(COLUMNS)}")
    rows = tuple(rows)
    found = {one.name: one for one in (column(name, rows) for name in wanted)}
    return tuple(found.values())


def numeric_column(name: str, rows: Iterable[Row] = ()) -> Column:
    """A column that can be an axis or a sort key. Raises UnknownName, UserError where it holds text."""
    found = column(name, rows)
    if not found.numeric:
        known = [one.name for one in COLUMNS.values() if one.numeric]
        raise UserError(f"{name} is text, not a number", remedy=f"One of: {', '.join(known)}")
    return found


def constraint(text: str, rows: Iterable[Row] = ()) -> Constraint:
    """Read 'acer<=0.05', 'acer <= 5 %', 'p90<=30ms', 'speed_up>=7'.

    Raises UserError for anything else, UnknownName for a column that there is not.
    """
    parts = re.fullmatch(r"\s*([\w.-]+)\s*(<=|>=|<|>|=+)\s*(.+?)\s*", text)
    if parts is None or parts[2] not in {"<=", ">="}:
        raise UserError(
            f"{text!r} is no requirement", remedy='Write column<=amount or column>=amount, e.g. "p90<=30ms"'
        )
    wanted = numeric_column(parts[1], rows)
    assert wanted.quantity is not None
    amount = re.sub(r"(?<=[\d.])\s*[x×]$", "", parts[3]) if wanted.sign else parts[3]
    limit = units.amount(amount, wanted.quantity, where=f"requirement {text!r}")
    if wanted.quantity == "share" and limit > 1 and "%" not in parts[3]:
        raise UserError(
            f"requirement {text!r}: {parts[3]} is more than the whole",
            remedy=f"A share is written {parts[3]} % or {limit / 100:g}",
        )
    return Constraint(wanted, parts[2] == "<=", limit, " ".join(parts.groups()))


# ---- The registry ----


def _whole(number: float) -> str:
    return f"{number:.0f}"


def _text(
    name: str, title: str, value: Callable[[Row], Value] | None = None, *fields: str, **more: Any
) -> Column:
    return Column(name, title, value or FIELDS[name], fields or (name,), **more)


def _number(name: str, title: str, stored: str, *others: str, interval: str = "", **more: Any) -> Column:
    """A column of the field `stored`.

    Args:
        name: what people type.
        title: its heading.
        stored: the field of its number.
        others: fields that a reader of CSV or JSON needs with it.
        interval: fields of the ends of its interval, with {} for low and high.
        more: what else a Column takes.
    """
    ends = tuple(interval.replace("{}", end, 1) for end in ("low", "high")) if interval else ()
    bounds = {end: field(name) for end, name in zip(("low", "high"), ends, strict=False)}
    return Column(name, title, field(stored), (stored, *ends, *others), **bounds, **more)


_TIME = {"show": units.milliseconds, "unit": "ms", "per_unit": 1e6, "better": "lower", "quantity": "time"}
_SIZE = {"show": units.megabytes, "unit": "MB", "per_unit": 1e6, "better": "lower", "quantity": "size"}
_COUNT = {"show": units.millions, "unit": "M", "per_unit": 1e6, "better": "lower", "quantity": "count"}
_SHARE = {"show": bare_percent, "unit": "%", "per_unit": 0.01, "better": "lower", "quantity": "share"}
_ENERGY = {"show": units.millijoules, "unit": "mJ", "per_unit": 1e3, "better": "lower", "quantity": "energy"}
_PLAIN = {"show": units.significant, "quantity": "count"}
_WHOLE = {"show": _whole, "quantity": "count"}

_SPEED = {**_TIME, "part": "speed", "conditions": SAME_SETUP}
_TAIL = {**_SPEED, "part": "speed tail"}
_MEMORY = {**_SIZE, "part": "weight memory", "conditions": SAME_SETUP}
_RATE = {**_SHARE, "part": "accuracy", "conditions": SAME_DATA}
_NOT_PACED = {
    "part": "speed paced",
    "otherwise": f"{NOT_PACED.absent} (--fps)",
    "conditions": SAME_RATE,
}
_ELSEWHERE = {
    "part": "accuracy device_parity",
    "otherwise": NOT_ELSEWHERE.absent,
    "conditions": SAME_DATA,
    "better": "lower",
}
_METERED = {**_ENERGY, "part": "power", "conditions": SAME_METER}
_NO_COMMON_ERRORS = "its reference was scored on other data, or makes no errors"
_NO_COMMON_ENERGY = (
    "its reference has no energy, or another meter, or the meter could not resolve one of the two"
)


def _ratio(name: str, title: str, part: str, base: frozenset[Any], **more: Any) -> Column:
    settings: dict[str, Any] = {
        "show": units.significant,
        "sign": "×",
        "better": "higher",
        "quantity": "count",
        "otherwise": "its reference has no such number",
        "part": f"{part} reference",
        "conditions": base | {"reference"},
    }
    return _number(name, title, name, "relative_to", **(settings | more))


def _species(species: str) -> Column:
    more = {**_RATE, "otherwise": "its test data hold no such attack"}
    return _number(
        f"apcer.{species}", f"APCER {species}", f"apcer.{species}", interval="apcer_{}." + species, **more
    )


def fold_column(fold: str) -> Column:
    """ACER of one fold of a protocol, at the threshold frozen on its own development split."""

    def acer(row: Row) -> float | None:
        folds = row.accuracy.folds if row.accuracy else ()
        return next((errors.acer for errors in folds if errors.fold == fold), None)

    return Column(f"acer.{fold}", f"Fold {fold}", acer, ("folds",), **_RATE)


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


_ENERGY_FIELDS = (
    "energy_above_idle_uj",
    "energy_uncertainty_uj",
    "energy_limit_uj",
    "energy_meter",
    "energy_scope",
)
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
    _text("dataset", "Data", part="accuracy"),
    _text("protocol", "Protocol", part="accuracy"),
)
_SPEEDS = (
    _number(
        "latency_p50",
        "Median latency",
        "latency_p50_ns",
        interval="latency_p50_{}_ns",
        ratios=("speed_up",),
        **_SPEED,
    ),
    _number("latency_p05", "p05 latency", "latency_p05_ns", ratios=("speed_up_p05",), **_SPEED),
    _number("latency_p90", "p90 latency", "latency_p90_ns", **_TAIL),
    _number("latency_p95", "p95 latency", "latency_p95_ns", **_TAIL),
    _number("latency_p99", "p99 latency", "latency_p99_ns", **_TAIL),
    _number("load", "Load", "load_ns", **_SPEED),
    _number("first", "First run", "first_ns", **_SPEED),
    _number("cpu_time", "CPU time", "cpu_time_ns", **_SPEED),
    _number("runs", "Runs", "runs", part="speed", listed=False, conditions=SAME_SETUP, **_WHOLE),
    _number("workers", "Workers", "workers", part="speed", listed=False, conditions=SAME_SETUP, **_WHOLE),
    _number(
        "paced_p50",
        "Median at frame rate",
        "paced_p50_ns",
        "paced_fps",
        interval="paced_p50_{}_ns",
        **(_TIME | _NOT_PACED),
    ),
    _number("paced_p95", "p95 at frame rate", "paced_p95_ns", "paced_fps", **(_TIME | _NOT_PACED)),
    _number(
        "paced_missed", "Missed frames", "paced_missed", "paced_frames", "paced_fps", **(_SHARE | _NOT_PACED)
    ),
    _number("paced_frames", "Frames", "paced_frames", "paced_fps", listed=False, **(_WHOLE | _NOT_PACED)),
    _number("paced_fps", "Frame rate", "paced_fps", listed=False, **(_PLAIN | _NOT_PACED | {"unit": "1/s"})),
)
_WEIGHTS = (
    _number("file_bytes", "File size", "file_bytes", part="weight", ratios=("size_reduction",), **_SIZE),
    _number("params", "Parameters", "params", part="weight", ratios=("params_reduction",), **_COUNT),
    _number("macs", "MACs", "macs", part="weight", ratios=("macs_reduction",), **_COUNT),
    _number("peak_memory", "Peak memory", "peak_memory_bytes", ratios=("memory_reduction",), **_MEMORY),
    _number("memory_before_load", "Before load", "memory_before_load_bytes", listed=False, **_MEMORY),
)
_ERRORS = (
    _number("acer", "ACER", "acer", interval="acer_{}", ratios=("accuracy_kept", "error_ratio"), **_RATE),
    _number("acer_sd", "SD of ACER over folds", "acer_sd", listed=False, **_RATE),
    _number("apcer", "APCER", "apcer", **_RATE),
    _text("worst_species", "Worst species", _worst_species, "apcer_worst_species", listed=False),
    _number("bpcer", "BPCER", "bpcer", interval="bpcer_{}", **_RATE),
    _number("hter", "HTER @source-dev", "hter_source_dev", interval="hter_source_dev_{}", **_RATE),
    _number("hter_target_eer", "HTER @target-EER", "hter_target_eer", interval="hter_target_eer_{}", **_RATE),
    _number("eer", "EER", "eer", **_RATE),
    _number("auc", "AUC", "auc", interval="auc_{}", **(_RATE | {"better": "higher"})),
    _number("bpcer10", "BPCER10", "bpcer10", **_RATE),
    _number("bpcer20", "BPCER20", "bpcer20", **_RATE),
    _number("bpcer100", "BPCER100", "bpcer100", **_RATE),
    _number(
        "threshold", "Threshold", "threshold", part="accuracy", listed=False, conditions=SAME_DATA, **_PLAIN
    ),
    _number(
        "parity_difference",
        "Largest difference from PyTorch",
        "parity_max_abs_difference",
        "parity_samples",
        part="parity",
        better="lower",
        listed=False,
        conditions=SAME_DATA,
        **_PLAIN,
    ),
    _number(
        "parity_flips",
        "Flips from PyTorch",
        "parity_decision_flips",
        "parity_samples",
        part="parity",
        better="lower",
        listed=False,
        conditions=SAME_DATA,
        **_WHOLE,
    ),
    _number(
        "parity_samples",
        "Samples held against PyTorch",
        "parity_samples",
        part="parity",
        listed=False,
        conditions=SAME_DATA,
        **_WHOLE,
    ),
    _number(
        "device_difference",
        "Largest difference from the desktop",
        "device_max_abs_difference",
        "device_samples",
        **(_PLAIN | _ELSEWHERE),
    ),
    _number(
        "device_flips",
        "Flips from the desktop",
        "device_decision_flips",
        "device_samples",
        **(_WHOLE | _ELSEWHERE),
    ),
    _number(
        "device_samples",
        "Samples held against the desktop",
        "device_samples",
        listed=False,
        **(_WHOLE | _ELSEWHERE | {"better": ""}),
    ),
)
_ENERGIES = (
    Column(
        "energy",
        "Energy above idle",
        _above_idle_uj,
        _ENERGY_FIELDS,
        low=_above_idle_end(-1),
        high=_above_idle_end(1),
        spread=True,
        limit=_bound_uj,
        ratios=("energy_reduction",),
        **_METERED,
    ),
    _number(
        "energy_gross", "Energy, idle included", "energy_gross_uj", "energy_meter", "energy_scope", **_METERED
    ),
    _number(
        "energy_runs",
        "Metered runs",
        "energy_runs",
        part="power",
        listed=False,
        conditions=SAME_METER,
        **_WHOLE,
    ),
    _text("meter", "Meter", FIELDS["energy_meter"], "energy_meter", listed=False),
    _text("scope", "Scope", FIELDS["energy_scope"], "energy_scope", listed=False),
)
_RATIOS = (
    _text("reference", "Reference", _reference, "relative_to", listed=False),
    _ratio("speed_up", "Speed-up", "speed", SAME_SETUP, interval="speed_up_{}"),
    _ratio("speed_up_p05", "Speed-up (p05)", "speed", SAME_SETUP),
    _ratio("size_reduction", "Smaller file", "weight", SAME_FILE),
    _ratio("params_reduction", "Fewer parameters", "weight", SAME_FILE),
    _ratio("macs_reduction", "Fewer MACs", "weight", SAME_FILE),
    _ratio("memory_reduction", "Less memory", "weight memory", SAME_SETUP),
    _ratio("energy_reduction", "Less energy", "power", SAME_METER, otherwise=_NO_COMMON_ENERGY),
    _ratio(
        "accuracy_kept",
        "1 - ACER kept",
        "accuracy",
        SAME_DATA,
        otherwise=_NO_COMMON_ERRORS,
        sign="",
        **(_SHARE | {"better": "higher"}),
    ),
    _ratio("error_ratio", "Error ratio", "accuracy", SAME_DATA, otherwise=_NO_COMMON_ERRORS, better="lower"),
)
COLUMNS = {
    column.name: column for column in (*_IDENTITY, *_SPEEDS, *_WEIGHTS, *_ERRORS, *_ENERGIES, *_RATIOS)
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
