"""What a gate allows: budgets by metric and model, absolute ceilings, and which are hard; from gate.toml.

    [[budget]]                    # how much worse than the baseline; the last entry that matches counts
    metric = "latency_p05"
    models = "minifasnet_v2*"     # glob over file names; default "*"
    relative = "2 %"              # or absolute = "10 kB"
    hard = true                   # default; false only warns

    [[ceiling]]                   # whatever the baseline was
    metric = "latency_p90"
    at_most = "30 ms"
    device = "pixel7"             # glob; default "*"

Metrics without an entry keep their default budget. Amounts are kept in the base unit of their metric.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from swapbench import units
from swapbench.errors import UserError, suggestion
from swapbench.files import parsed_toml, toml_text
from swapbench.records import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Metric:
    """A quantity with a budget.

    Attributes:
        kind: of its unit.
        paired: judged over paired rounds by gate.verdict; error rates are judged by gate.error_rates, and
            the others are compared as they are.
        more_is_better: less is worse.
    """

    kind: units.Kind
    paired: bool = False
    more_is_better: bool = False

    @property
    def unit(self) -> str:
        """The base unit in which its amounts are kept; empty for counts and shares."""
        return {"time": "ns", "size": "bytes", "energy": "uj", "count": "", "share": ""}[self.kind]

    def text(self, amount: float) -> str:
        """An amount of it, as text."""
        if self.kind == "share":
            return units.percent(amount, 2)
        if self.kind == "count":  # rounded, two different counts could look the same
            return f"{amount:,.0f}".replace(",", " ")
        return {"time": units.duration, "size": units.size, "energy": units.energy}[self.kind](amount, 4)


METRICS: Final[Mapping[str, Metric]] = {
    "latency_p05": Metric("time", paired=True),
    "latency_p50": Metric("time", paired=True),
    "latency_p90": Metric("time", paired=True),
    "load": Metric("time", paired=True),
    "file_bytes": Metric("size"),
    "params": Metric("count"),
    "macs": Metric("count"),
    "peak_memory": Metric("size"),
    "energy": Metric("energy"),
    "acer": Metric("share"),
    "apcer": Metric("share"),
    "bpcer": Metric("share"),
    "parity_flips": Metric("share"),
    "delegate_coverage": Metric("share", more_is_better=True),
}
"""apcer is judged by species; parity_flips and delegate_coverage are shares of samples and of graph nodes."""

ERROR_RATES: Final = ("acer", "apcer", "bpcer")
"""Metrics that are judged over presentations and people by gate.error_rates."""


class Budget(Frozen):
    """How much worse than the baseline a metric may be.

    Attributes:
        metric: a name of METRICS.
        models: glob over file names.
        relative: to the baseline, 0.01 is 1 %; None where `absolute` is given.
        absolute: in the metric's base unit; None where `relative` is given.
        hard: False only warns.
    """

    metric: str
    models: str = "*"
    relative: float | None = None
    absolute: float | None = None
    hard: bool = True


class Ceiling(Frozen):
    """The most that a metric may be, whatever the baseline was.

    Attributes:
        metric: a name of METRICS.
        at_most: in the metric's base unit.
        models: glob over file names.
        device: glob over device names.
        hard: False only warns.
    """

    metric: str
    at_most: float
    models: str = "*"
    device: str = "*"
    hard: bool = True


DEFAULTS: Final[Mapping[str, Budget]] = {
    budget.metric: budget
    for budget in (
        Budget(metric="latency_p05", relative=0.01),
        Budget(metric="latency_p50", relative=0.10),
        Budget(metric="latency_p90", relative=0.25),
        Budget(metric="load", relative=0.25, hard=False),
        Budget(metric="file_bytes", relative=0.01),
        Budget(metric="params", relative=0.01),
        Budget(metric="macs", relative=0.01),
        Budget(metric="peak_memory", relative=0.05),
        Budget(metric="energy", relative=0.10, hard=False),
        Budget(metric="acer", absolute=0.005),
        Budget(metric="apcer", absolute=0.01),
        Budget(metric="bpcer", absolute=0.01),
        Budget(metric="parity_flips", absolute=0.01),
        Budget(metric="delegate_coverage", absolute=0.0),
    )
}


class Policy(Frozen):
    """The entries of a gate.toml in their order; `source` is its path, empty where there is no file."""

    budgets: tuple[Budget, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    source: str = ""

    def budget(self, metric: str, model: str) -> Budget:
        """The budget of a metric for a model: the last entry that matches, else the default."""
        return self._entry(metric, model) or DEFAULTS[metric]

    def asks_for(self, metric: str, model: str) -> bool:
        """Whether the file names this metric for this model: then the gate is INVALID without it."""
        return self._entry(metric, model) is not None

    def _entry(self, metric: str, model: str) -> Budget | None:
        """The last entry for a metric and a model."""
        for budget in reversed(self.budgets):
            if budget.metric == metric and fnmatchcase(model, budget.models):
                return budget
        return None

    def ceilings_of(self, model: str, device: str) -> tuple[Ceiling, ...]:
        """The ceilings that hold for a model on a device."""
        return tuple(
            ceiling
            for ceiling in self.ceilings
            if fnmatchcase(model, ceiling.models) and fnmatchcase(device, ceiling.device)
        )

    def require_matches(self, models: Sequence[str]) -> None:
        """Refuse a gate that would check nothing.

        Raises:
            UserError: there is no model, or an entry matches none.
        """
        if not models:
            raise UserError(
                "there is no model to compare", remedy="Give files that exist in both baseline and candidate"
            )
        entries: tuple[Budget | Ceiling, ...] = (*self.budgets, *self.ceilings)
        for entry in entries:
            if not any(fnmatchcase(model, entry.models) for model in models):
                kind = "budget" if isinstance(entry, Budget) else "ceiling"
                raise UserError(
                    f"{self.source}: models = {entry.models!r} of a [[{kind}]] for {entry.metric} "
                    f"matches none of {', '.join(models)}",
                    remedy=suggestion(entry.models, models),
                )


def read_policy(path: Path | None) -> Policy:
    """The policy in a TOML file; the defaults where no path is given.

    Raises:
        UserError: the file cannot be read, is not TOML, or has an unknown key, metric or unit, or a value of
            the wrong type; with file, line and key.
    """
    if path is None:
        return Policy()
    text = toml_text(path, "policy")
    raw = parsed_toml(text, path)
    for key in raw:
        if key not in {"budget", "ceiling"}:
            raise _unknown(str(path), "key", key, ("budget", "ceiling"))
    budgets = [_budget(entry, where) for entry, where in _entries(raw, "budget", text, path)]
    ceilings = [_ceiling(entry, where) for entry, where in _entries(raw, "ceiling", text, path)]
    return Policy(budgets=tuple(budgets), ceilings=tuple(ceilings), source=str(path))


def _entries(
    raw: Mapping[str, Any], kind: str, text: str, path: Path
) -> Iterable[tuple[Mapping[str, Any], str]]:
    """Every [[kind]] table, and where it is."""
    tables = raw.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError(
            f"{path}: {kind} is not a list of tables", remedy=f"Begin every entry with [[{kind}]]"
        )
    header = re.compile(rf"^\s*\[\[\s*{kind}\s*\]\]")
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if header.match(line)]
    for number, table in enumerate(tables):
        # tables written inline have no header line of their own
        where = f"{path}, line {lines[number]}" if len(lines) == len(tables) else str(path)
        yield table, f"{where}: [[{kind}]] {number + 1}"


def _budget(entry: Mapping[str, Any], where: str) -> Budget:
    metric = _checked(entry, where, ("metric", "models", "relative", "absolute", "hard"))
    relative, absolute = entry.get("relative"), entry.get("absolute")
    if (relative is None) == (absolute is None):
        raise UserError(f"{where} needs either relative or absolute", remedy='For example: relative = "5 %"')
    paired = METRICS[metric].paired
    if paired and relative is None:
        raise UserError(
            f"{where}: {metric} is compared as a ratio, so its budget must be relative, not absolute",
            remedy='For example: relative = "5 %"; for an absolute limit use a [[ceiling]]',
        )
    allowed = None if relative is None else units.amount(relative, "share", f"{where}: relative")
    if paired and allowed == 0:
        raise UserError(
            f"{where}: relative = 0 leaves no room for the noise of {metric}",
            remedy='Allow some, for example "1 %"',
        )
    return Budget(
        metric=metric,
        models=entry.get("models", "*"),
        relative=allowed,
        absolute=None
        if absolute is None
        else units.amount(absolute, METRICS[metric].kind, f"{where}: absolute"),
        hard=entry.get("hard", True),
    )


def _ceiling(entry: Mapping[str, Any], where: str) -> Ceiling:
    metric = _checked(entry, where, ("metric", "models", "at_most", "device", "hard"))
    if "at_most" not in entry:
        raise UserError(f"{where} has no at_most", remedy='For example: at_most = "30 ms"')
    if METRICS[metric].more_is_better:
        raise UserError(
            f"{where}: {metric} has no ceiling, because more is better", remedy="Use a [[budget]]"
        )
    return Ceiling(
        metric=metric,
        at_most=units.amount(entry["at_most"], METRICS[metric].kind, f"{where}: at_most"),
        models=entry.get("models", "*"),
        device=entry.get("device", "*"),
        hard=entry.get("hard", True),
    )


def _checked(entry: Mapping[str, Any], where: str, keys: Sequence[str]) -> str:
    """The metric of an entry whose keys are known and of the right type."""
    for key, value in entry.items():
        if key not in keys:
            raise _unknown(where, "key", key, keys)
        wanted = {"metric": str, "models": str, "device": str, "hard": bool}.get(key)
        if wanted is not None and not isinstance(value, wanted):
            kind = "text in quotes" if wanted is str else "true or false"
            raise UserError(f"{where}: {key} = {value!r} is not {kind}")
    metric = entry.get("metric")
    if metric is None:
        raise UserError(f"{where} has no metric", remedy=f"One of: {', '.join(METRICS)}")
    if metric not in METRICS:
        raise _unknown(where, "metric", metric, tuple(METRICS))
    return str(metric)


def _unknown(where: str, what: str, name: str, known: Sequence[str]) -> UserError:
    return UserError(f"{where}: there is no {what} {name!r}", remedy=suggestion(name, known))
