"""The columns that people name: `--columns latency_p50,acer`, `--x energy`, `--sort -speed_up`, `--require "p90<=30ms"`.

One registry for every view: what a column is called, its unit, which direction is better, where its number and its interval
stand in a row. Tables, figures, Pareto fronts, constraints and the page all read it, so a name means the same everywhere.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from swapbench import units
from swapbench.errors import UnknownName, UserError
from swapbench.records import NOT_ELSEWHERE, NOT_PACED
from swapbench.report.rows.comparable import SAME_DATA, SAME_FILE, SAME_METER, SAME_RATE, SAME_SETUP
from swapbench.report.rows.values import at
from swapbench.report.tables import cells
from swapbench.report.tables.fields import FIELDS, Value, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.report.rows.comparable import Condition
    from swapbench.report.rows.summary import Row

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Column:
    """One column. Numbers are kept in the unit of `summary.Row`; `per_unit` of them are one `unit` that is shown.

    name: what people type. title: the heading, without its unit. value: from a row to what it holds, None where that does not
    exist. fields: the names of the same value, and of its interval, in the CSV and JSON skins. show: from a number of the row
    to its digits in `unit`; sign: what follows the digits in running text, "×". better: which direction is better, "" for
    what cannot be ranked. low, high: the interval; spread: it is symmetric and shown as ±. limit: what a number is below
    that the meter could not resolve. part: the parts of `Row.missing` that say why a number is absent, its quantity first;
    otherwise: why it is, where they do not say. ratios: the columns that say the same relative to the reference.
    """

    name: str
    title: str
    value: Callable[[Row], Value]
    fields: tuple[str, ...]
    show: Callable[[float], str] = str
    unit: str = ""
    per_unit: float = 1.0
    better: Better = ""
    low: Callable[[Row], float | None] | None = None
    high: Callable[[Row], float | None] | None = None
    part: str = ""
    quantity: units.Kind | None = None
    sign: str = ""
    spread: bool = False
    limit: Callable[[Row], float | None] | None = None
    otherwise: str = ""
    ratios: tuple[str, ...] = ()
    conditions: frozenset[Condition] = SAME_FILE

    @property
    def heading(self) -> str:
        """Title and unit: 'Median latency, ms'."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def numeric(self) -> bool:
        """Whether it can be an axis, a constraint or have a best row."""
        return self.quantity is not None

    @property
    def about(self) -> str:
        """Which of the four quantities it tells of, as doubts name them; "" for none."""
        return self.part.partition(" ")[0]

    @property
    def relative(self) -> bool:
        """Whether it compares with the reference row."""
        return "reference" in self.part.split()

    def number(self, row: Row) -> float | None:
        """Its number in the row's own unit, None where there is none."""
        value = self.value(row)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def interval(self, row: Row) -> tuple[float, float] | None:
        """Its interval in the row's own unit, None where there is none."""
        if self.low is None or self.high is None:
            return None
        low, high = self.low(row), self.high(row)
        return None if low is None or high is None else (low, high)

    def shown(self, value: float) -> float:
        """A number in the unit that is shown."""
        return value / self.per_unit

    def digits(self, row: Row) -> str:
        """Its number as digits in `unit`, "" where there is none that is finite."""
        value = self.number(row) if self.numeric else None
        return "" if value is None or not math.isfinite(value) else self.show(value)

    def aside(self, row: Row) -> str:
        """What stands beside the digits: '[4.43, 4.56]', '± 0.0031', or ""."""
        bounds = self.interval(row)
        value = self.number(row)
        if bounds is None or value is None or not math.isfinite(value):
            return ""
        if self.spread:
            return f"± {units.significant(self.shown(bounds[1] - bounds[0]) / 2, 2)}"
        return f"[{self.show(bounds[0])}, {self.show(bounds[1])}]"

    def text(self, row: Row) -> str:
        """The cell of a person's table, without a unit where `unit` says it; an en dash where there is nothing to say."""
        if not self.numeric:
            value = self.value(row)
            return units.NOT_MEASURED if value is None else str(value)
        digits = self.digits(row)
        if digits:
            return f"{digits}{self.sign} {self.aside(row)}".rstrip()
        below = self.limit(row) if self.limit else None
        return units.NOT_MEASURED if below is None else f"< {self.show(below)}"

    def absent(self, row: Row) -> str:
        """Why the row has no number here; "" where it has one or nobody said why."""
        if self.value(row) is not None:
            return ""
        parts = self.part.split()
        said = [one.reason for one in row.missing if one.quantity in parts and self._concerns(one.reason)]
        if self.relative and row.relative is None:
            said = [one.reason for one in row.missing if one.quantity == "reference"] or said
        return "; ".join(dict.fromkeys(said)) or self.otherwise

    def _concerns(self, reason: str) -> bool:
        """Reasons of one percentile or operating point begin with its name, and are no other one's."""
        named = re.match(r"(p\d\d|bpcer\d+)\b", reason)
        return named is None or self.name in {named[1], f"latency_{named[1]}", f"paced_{named[1]}"}


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


def _field(name: str) -> Callable[[Row], Value]:
    return FIELDS[name]


def _bound(name: str) -> Callable[[Row], float | None]:
    return FIELDS[name]


def _text(
    name: str,
    title: str,
    value: Callable[[Row], Value] | None = None,
    *,
    fields: tuple[str, ...] = (),
    part: str = "",
) -> Column:
    return Column(name, title, value or _field(name), fields or (name,), part=part)


def _time(
    name: str,
    title: str,
    stored: str,
    part: str = "speed",
    *,
    interval: str = "",
    ratios: tuple[str, ...] = (),
    more: tuple[str, ...] = (),
    otherwise: str = "",
) -> Column:
    bounds = (f"{interval}_low_ns", f"{interval}_high_ns") if interval else ()
    low, high = map(_bound, bounds) if bounds else (None, None)
    return Column(
        name, title, _field(stored), (stored, *bounds, *more), units.milliseconds, "ms", 1e6, "lower", low, high, part, "time",
        ratios=ratios, otherwise=otherwise, conditions=SAME_RATE if "paced" in part else SAME_SETUP,
    )  # fmt: skip


def _size(name: str, title: str, stored: str, part: str, *ratios: str) -> Column:
    return Column(
        name, title, _field(stored), (stored,), units.megabytes, "MB", 1e6, "lower", part=part, quantity="size", ratios=ratios,
        conditions=SAME_SETUP if "memory" in part else SAME_FILE,
    )  # fmt: skip


def _count(name: str, title: str, *ratios: str) -> Column:
    return Column(
        name, title, _field(name), (name,), units.millions, "M", 1e6, "lower", part="weight", quantity="count", ratios=ratios
    )  # fmt: skip


def _rate(
    name: str,
    title: str,
    better: Better = "lower",
    stored: str = "",
    *,
    interval: bool = True,
    ratios: tuple[str, ...] = (),
) -> Column:
    stored = stored or name
    bounds = (f"{stored}_low", f"{stored}_high") if interval else ()
    low, high = map(_bound, bounds) if bounds else (None, None)
    return Column(
        name, title, _field(stored), (stored, *bounds), cells.bare_percent, "%", 0.01, better, low, high, "accuracy", "share",
        ratios=ratios, conditions=SAME_DATA,
    )  # fmt: skip


def _ratio_of(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row.relative, name, None)


def _ratio(
    name: str,
    title: str,
    part: str,
    better: Better = "higher",
    *,
    interval: bool = False,
    otherwise: str = "",
    base: frozenset[Condition] = SAME_FILE,
) -> Column:
    bounds = (f"{name}_low", f"{name}_high") if interval else ()
    low, high = map(_ratio_of, bounds) if bounds else (None, None)
    return Column(
        name, title, _ratio_of(name), (name, *bounds, "relative_to"), units.significant, "", 1.0, better, low, high,
        f"{part} reference", "count", "×", otherwise=otherwise or "its reference has no such number", conditions=base | {"reference"},
    )  # fmt: skip


def _species(species: str) -> Column:
    stored = tuple(f"{name}.{species}" for name in ("apcer", "apcer_low", "apcer_high"))
    value, low, high = map(field, stored)
    return Column(
        f"apcer.{species}",
        f"APCER {species}",
        value,
        stored,
        cells.bare_percent,
        "%",
        0.01,
        "lower",
        low,
        high,
        "accuracy",
        "share",
        otherwise="its test data hold no such attack",
        conditions=SAME_DATA,
    )


def _elsewhere(name: str, title: str, stored: str, show: Callable[[float], str]) -> Column:
    return Column(
        name, title, _field(stored), (stored, "device_samples"), show, "", 1.0, "lower", part="accuracy device_parity",
        quantity="count", otherwise=NOT_ELSEWHERE.absent, conditions=SAME_DATA,
    )  # fmt: skip


def _above_idle_uj(row: Row) -> float | None:
    """An estimate that the meter could not resolve is no number: only its bound may be printed."""
    return row.energy[0].above_idle_uj if row.energy and row.energy[0].resolved else None


def _above_idle_end(sign: int) -> Callable[[Row], float | None]:
    def bound(row: Row) -> float | None:
        value = _above_idle_uj(row)
        return None if value is None else value + sign * row.energy[0].uncertainty_uj

    return bound


_NOT_PACED = f"{NOT_PACED.absent} (--fps)"
_NO_COMMON_ERRORS = "its reference was scored on other data, or makes no errors"

COLUMNS = {
    one.name: one
    for one in (
        _text("file", "File", lambda row: row.label, fields=("label",)),
        _text("model", "Model", lambda row: row.model, fields=("net", "recipe")),
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
        _text("device", "Device", lambda row: row.machine, fields=("machine",)),
        _text("run", "Run"),
        _text("dataset", "Data", part="accuracy"),
        _text("protocol", "Protocol", part="accuracy"),
        _time("latency_p50", "Median latency", "latency_p50_ns", interval="latency_p50", ratios=("speed_up",)),
        _time("latency_p05", "p05 latency", "latency_p05_ns", ratios=("speed_up_p05",)),
        _time("latency_p90", "p90 latency", "latency_p90_ns", "speed tail"),
        _time("latency_p95", "p95 latency", "latency_p95_ns", "speed tail"),
        _time("latency_p99", "p99 latency", "latency_p99_ns", "speed tail"),
        _time("load", "Load", "load_ns"),
        _time("first", "First run", "first_ns"),
        _time("cpu_time", "CPU time", "cpu_time_ns"),
        _time(
            "paced_p50", "Median at frame rate", "paced_p50_ns", "speed paced", interval="paced_p50", more=("paced_fps",),
            otherwise=_NOT_PACED,
        ),
        _time(
            "paced_p95", "p95 at frame rate", "paced_p95_ns", "speed paced", more=("paced_fps",), otherwise=_NOT_PACED
        ),
        Column(
            "paced_missed", "Missed frames", _field("paced_missed"), ("paced_missed", "paced_frames", "paced_fps"),
            cells.bare_percent, "%", 0.01, "lower", part="speed paced", quantity="share", otherwise=_NOT_PACED,
            conditions=SAME_RATE,
        ),
        _size("file_bytes", "File size", "file_bytes", "weight", "size_reduction"),
        _count("params", "Parameters", "params_reduction"),
        _count("macs", "MACs", "macs_reduction"),
        _size("peak_memory", "Peak memory", "peak_memory_bytes", "weight memory", "memory_reduction"),
        _rate("acer", "ACER", ratios=("accuracy_kept", "error_ratio")),
        _rate("apcer", "APCER", interval=False),
        _rate("bpcer", "BPCER"),
        _rate("hter", "HTER @source-dev", stored="hter_source_dev"),
        _rate("hter_target_eer", "HTER @target-EER"),
        _rate("eer", "EER", interval=False),
        _rate("auc", "AUC", "higher"),
        _rate("bpcer10", "BPCER10", interval=False),
        _rate("bpcer20", "BPCER20", interval=False),
        _rate("bpcer100", "BPCER100", interval=False),
        _elsewhere("device_difference", "Largest difference from the desktop", "device_max_abs_difference", units.significant),
        _elsewhere("device_flips", "Flips from the desktop", "device_decision_flips", lambda flips: f"{flips:.0f}"),
        Column(
            "energy", "Energy above idle", _above_idle_uj,
            ("energy_above_idle_uj", "energy_uncertainty_uj", "energy_limit_uj", "energy_meter", "energy_scope"),
            units.millijoules, "mJ", 1e3, "lower", _above_idle_end(-1), _above_idle_end(1), "power", "energy", spread=True,
            limit=lambda row: row.energy[0].limit_uj if row.energy and not row.energy[0].resolved else None,
            ratios=("energy_reduction",), conditions=SAME_METER,
        ),
        Column(
            "energy_gross", "Energy, idle included", lambda row: row.energy[0].gross_uj if row.energy else None,
            ("energy_gross_uj", "energy_meter", "energy_scope"), units.millijoules, "mJ", 1e3, "lower", part="power",
            quantity="energy", conditions=SAME_METER,
        ),
        _ratio("speed_up", "Speed-up", "speed", interval=True, base=SAME_SETUP),
        _ratio("speed_up_p05", "Speed-up (p05)", "speed", base=SAME_SETUP),
        _ratio("size_reduction", "Smaller file", "weight"),
        _ratio("params_reduction", "Fewer parameters", "weight"),
        _ratio("macs_reduction", "Fewer MACs", "weight"),
        _ratio("memory_reduction", "Less memory", "weight memory", base=SAME_SETUP),
        _ratio(
            "energy_reduction", "Less energy", "power", base=SAME_METER,
            otherwise="its reference has no energy, or another meter, or the meter could not resolve one of the two",
        ),
        Column(
            "accuracy_kept", "1 - ACER kept", _ratio_of("accuracy_kept"), ("accuracy_kept", "relative_to"), cells.bare_percent,
            "%", 0.01, "higher", part="accuracy reference", quantity="share", otherwise=_NO_COMMON_ERRORS,
            conditions=SAME_DATA | {"reference"},
        ),
        _ratio("error_ratio", "Error ratio", "accuracy", "lower", otherwise=_NO_COMMON_ERRORS, base=SAME_DATA),
    )
}  # fmt: skip
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
