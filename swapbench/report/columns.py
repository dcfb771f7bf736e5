"""The columns that people name: `--columns latency_p50,acer`, `--x energy`, `--sort -speed_up`, `--require "p90<=30ms"`.

One registry for every view: what a column is called, its unit, which direction is better, where its number and its interval
stand in a row. Tables, figures, Pareto fronts, constraints and the page all read it, so a name means the same everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from swapbench import units
from swapbench.errors import UnknownName, UserError
from swapbench.report import cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swapbench.report.summary import Row

Better = Literal["lower", "higher", ""]
Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Column:
    """One column. Numbers are kept in the unit of `summary.Row`; `per_unit` of them are one `unit` that is shown.

    name: what people type. title: the heading, without its unit. better: which direction is better, "" for what cannot be
    ranked. value, low, high: from a row to its number and interval, None where it does not exist. text: the cell of a person's table,
    without a unit where `unit` says it. part: the part of `Row.missing` that says why a number is absent.
    """

    name: str
    title: str
    value: Callable[[Row], Cell]
    text: Callable[[Row], str]
    unit: str = ""
    per_unit: float = 1.0
    better: Better = ""
    low: Callable[[Row], float | None] | None = None
    high: Callable[[Row], float | None] | None = None
    part: str = ""
    quantity: units.Kind | None = None

    @property
    def heading(self) -> str:
        """Title and unit: 'Median latency, ms'."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def numeric(self) -> bool:
        """Whether it can be an axis, a sort key or a constraint."""
        return self.quantity is not None

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

    def absent(self, row: Row) -> str:
        """Why the row has no number here; "" where it has one or nobody said why."""
        if self.value(row) is not None:
            return ""
        return "; ".join(
            dict.fromkeys(one.reason for one in row.missing if one.quantity in self.part.split())
        )


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
    species = sorted({one.species for row in rows for one in row.apcer_by_species})
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
    return tuple(column(name, rows) for name in dict.fromkeys(wanted))


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
    limit = units.amount(parts[3], wanted.quantity, where=f"requirement {text!r}")
    return Constraint(wanted, parts[2] == "<=", limit, " ".join(parts.groups()))


# ---- The registry ----


def _field(name: str) -> Callable[[Row], Cell]:
    return lambda row: getattr(row, name)


def _bound(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row, name)


def _text(name: str, title: str, value: Callable[[Row], Cell] | None = None) -> Column:
    of = value or _field(name)

    def text(row: Row) -> str:
        found = of(row)
        return units.NOT_MEASURED if found is None else str(found)

    return Column(name, title, of, text)


def _time(name: str, title: str, stored: str, part: str = "speed", *, interval: str = "") -> Column:
    low, high = (_bound(f"{interval}_low_ns"), _bound(f"{interval}_high_ns")) if interval else (None, None)
    of = _field(stored)

    def text(row: Row) -> str:
        value = of(row)
        bounds = (low(row), high(row)) if low and high else (None, None)
        return cells.with_interval(units.milliseconds, value, *bounds)  # type: ignore[arg-type]

    return Column(name, title, of, text, "ms", 1e6, "lower", low, high, part, "time")


def _size(name: str, title: str, stored: str, part: str) -> Column:
    of = _field(stored)
    return Column(
        name, title, of, lambda row: cells.or_dash(units.megabytes, of(row)), "MB", 1e6, "lower",  # type: ignore[arg-type]
        part=part, quantity="size",
    )  # fmt: skip


def _count(name: str, title: str) -> Column:
    of = _field(name)
    return Column(
        name, title, of, lambda row: cells.or_dash(units.millions, of(row)), "M", 1e6, "lower",  # type: ignore[arg-type]
        part="weight", quantity="count",
    )  # fmt: skip


def _rate(
    name: str, title: str, better: Better = "lower", stored: str = "", *, interval: bool = True
) -> Column:
    stored = stored or name
    of = _field(stored)
    low, high = (_bound(f"{stored}_low"), _bound(f"{stored}_high")) if interval else (None, None)

    def text(row: Row) -> str:
        bounds = (low(row), high(row)) if low and high else (None, None)
        return cells.with_interval(cells.bare_percent, of(row), *bounds)  # type: ignore[arg-type]

    return Column(name, title, of, text, "%", 0.01, better, low, high, "accuracy", "share")


def _ratio(name: str, title: str, part: str, better: Better = "higher") -> Column:
    def of(row: Row) -> Cell:
        return getattr(row.relative, name, None)

    return Column(
        name,
        title,
        of,
        cells.relative_cell(name),
        "",
        1.0,
        better,
        part=f"{part} reference",
        quantity="count",
    )


def _species(species: str) -> Column:
    def part(name: str) -> Callable[[Row], float | None]:
        return lambda row: next(
            (getattr(one, name) for one in row.apcer_by_species if one.species == species), None
        )

    return Column(
        f"apcer.{species}", f"APCER {species}", part("apcer"), cells.species_cell(species), "%", 0.01, "lower",
        part("low"), part("high"), "accuracy", "share",
    )  # fmt: skip


def _energy(name: str, title: str, of: Callable[[Row], float | None], *, uncertain: bool) -> Column:
    def end(sign: int) -> Callable[[Row], float | None]:
        def bound(row: Row) -> float | None:
            value = of(row)
            return None if value is None else value + sign * row.energy[0].uncertainty_uj

        return bound

    def text(row: Row) -> str:
        if uncertain and row.energy and not row.energy[0].resolved:
            return f"< {units.significant(row.energy[0].limit_uj / 1e3)}"
        value = of(row)
        if value is None or not uncertain:
            return cells.or_dash(units.millijoules, value)
        return f"{units.millijoules(value)} ± {units.millijoules(row.energy[0].uncertainty_uj, 2)}"

    low, high = (end(-1), end(1)) if uncertain else (None, None)
    return Column(name, title, of, text, "mJ", 1e3, "lower", low, high, "power", "energy")


def _above_idle_uj(row: Row) -> float | None:
    """An estimate that the meter could not resolve is no number: only its bound may be printed."""
    return row.energy[0].above_idle_uj if row.energy and row.energy[0].resolved else None


COLUMNS = {
    one.name: one
    for one in (
        _text("file", "File", lambda row: row.label),
        _text("model", "Model", lambda row: row.model),
        _text("net", "Network"),
        _text("recipe", "Recipe"),
        _text("precision", "Precision"),
        _text("format", "Format"),
        _text("runtime", "Runtime"),
        _text("runtime_version", "Version"),
        _text("threads", "Threads"),
        _text("device", "Device", lambda row: row.machine),
        _text("run", "Run"),
        _text("dataset", "Data"),
        _text("protocol", "Protocol"),
        _time("latency_p50", "Median latency", "latency_p50_ns", interval="latency_p50"),
        _time("latency_p05", "p05 latency", "latency_p05_ns"),
        _time("latency_p90", "p90 latency", "latency_p90_ns", "speed tail"),
        _time("latency_p95", "p95 latency", "latency_p95_ns", "speed tail"),
        _time("latency_p99", "p99 latency", "latency_p99_ns", "speed tail"),
        _time("load", "Load", "load_ns"),
        _time("first", "First run", "first_ns"),
        _time("cpu_time", "CPU time", "cpu_time_ns"),
        _size("file_bytes", "File size", "file_bytes", "weight"),
        _count("params", "Parameters"),
        _count("macs", "MACs"),
        _size("peak_memory", "Peak memory", "peak_memory_bytes", "weight memory"),
        _rate("acer", "ACER"),
        _rate("apcer", "APCER", interval=False),
        _rate("bpcer", "BPCER"),
        _rate("hter", "HTER @dev", stored="hter_source_dev"),
        _rate("eer", "EER", interval=False),
        _rate("auc", "AUC", "higher"),
        _rate("bpcer10", "BPCER10", interval=False),
        _rate("bpcer20", "BPCER20", interval=False),
        _rate("bpcer100", "BPCER100", interval=False),
        _energy("energy", "Energy above idle", _above_idle_uj, uncertain=True),
        _energy(
            "energy_gross", "Energy, idle included", lambda row: row.energy[0].gross_uj if row.energy else None,
            uncertain=False,
        ),
        Column(
            "speed_up", "Speed-up", lambda row: row.relative.speed_up if row.relative else None, cells.speed_up, "", 1.0,
            "higher", lambda row: row.relative.speed_up_low if row.relative else None,
            lambda row: row.relative.speed_up_high if row.relative else None, "speed reference", "count",
        ),
        _ratio("size_reduction", "Smaller file", "weight"),
        _ratio("params_reduction", "Fewer parameters", "weight"),
        _ratio("macs_reduction", "Fewer MACs", "weight"),
        _ratio("memory_reduction", "Less memory", "memory"),
        _ratio("energy_reduction", "Less energy", "power"),
        Column(
            "accuracy_kept", "1 - ACER kept", lambda row: row.relative.accuracy_kept if row.relative else None,
            lambda row: cells.or_dash(cells.bare_percent, row.relative.accuracy_kept if row.relative else None),
            "%", 0.01, "higher", part="accuracy reference", quantity="share",
        ),
        _ratio("error_ratio", "Error ratio", "accuracy", "lower"),
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
