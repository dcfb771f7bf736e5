"""Every value of a row under the name that scripts know, with its unit: `latency_p50_ns`, `file_bytes`.

CSV, JSON and data frames take their names and values from here, and columns take their numbers, so that no
two of them can disagree. The names are an interface.
"""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from swapbench.records import Proportion
from swapbench.report.rows.row import Relative, hter, worst_species
from swapbench.report.rows.values import at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from swapbench.records import Accuracy
    from swapbench.report.rows.row import Missing, Row

Value = str | int | float | bool | None


def _of_accuracy(value: Callable[[Accuracy], Any]) -> Callable[[Row], Any]:
    return lambda row: None if row.accuracy is None else value(row.accuracy)


def _operating_point(name: str) -> Callable[[Row], float | None]:
    def rate(row: Row) -> float | None:
        errors = row.accuracy and row.accuracy.bpcer_at_apcer.get(name)
        return errors.rate if isinstance(errors, Proportion) else None

    return rate


def _first_energy(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.energy[0], name) if row.energy else None


FIELDS: Mapping[str, Callable[[Row], Any]] = {
    "label": at("label"),
    "record_id": at("record_id"),
    "run": at("run"),
    "time": at("time"),
    "net": at("variant.net"),
    "recipe": at("variant.recipe"),
    "precision": at("variant.precision"),
    "format": at("variant.format"),
    "runtime": at("used.runtime"),
    "runtime_version": at("used.version"),
    "providers": at("used.providers"),
    "threads": at("used.threads"),
    "delegated_nodes": at("used.delegated_nodes"),
    "nodes": at("used.nodes"),
    "artifact_sha256": at("artifact_sha256"),
    "machine": at("machine"),
    "machine_fingerprint": at("place"),
    "flavour": lambda row: row.used.settings.get("flavour"),
    "cores": at("conditions.cores"),
    "settings": at("settings"),
    "input": at("speed.input"),
    "latency_p05_ns": at("speed.p05_ns"),
    "latency_p05_low_ns": at("speed.p05_low_ns"),
    "latency_p05_high_ns": at("speed.p05_high_ns"),
    "latency_p50_ns": at("speed.p50_ns"),
    "latency_p50_low_ns": at("speed.p50_low_ns"),
    "latency_p50_high_ns": at("speed.p50_high_ns"),
    "latency_confidence": at("speed.confidence"),
    "latency_p90_ns": at("speed.p90_ns"),
    "latency_p95_ns": at("speed.p95_ns"),
    "latency_p99_ns": at("speed.p99_ns"),
    "load_ns": at("speed.load_ns"),
    "first_ns": at("speed.first_ns"),
    "cpu_time_ns": at("speed.cpu_time_ns"),
    "runs": at("speed.runs"),
    "workers": at("speed.workers"),
    "paced_fps": at("conditions.frame_rate"),
    "paced_p50_ns": at("paced.p50_ns"),
    "paced_p50_low_ns": at("paced.p50_low_ns"),
    "paced_p50_high_ns": at("paced.p50_high_ns"),
    "paced_p95_ns": at("paced.p95_ns"),
    "paced_missed": at("paced.missed"),
    "paced_frames": at("paced.frames"),
    "file_bytes": at("weight.file_bytes"),
    "params": at("weight.params"),
    "macs": at("weight.macs"),
    "peak_memory_bytes": at("weight.peak_memory.peak_bytes"),
    "memory_before_load_bytes": at("weight.peak_memory.before_load_bytes"),
    "memory_kind": at("weight.peak_memory.kind"),
    "dataset": at("accuracy.dataset"),
    "dataset_digest": at("accuracy.dataset_digest"),
    "data_simulated": at("accuracy.simulated"),
    "trained_on_simulated_data": at("trained_on_simulated_data"),
    "protocol": at("accuracy.protocol"),
    "threshold": at("accuracy.threshold"),
    "threshold_rule": at("accuracy.threshold_rule"),
    "apcer": at("accuracy.apcer"),
    "apcer_worst_species": lambda row: worst_species(row.accuracy) if row.accuracy else (),
    "bpcer": at("accuracy.bpcer.rate"),
    "bpcer_low": at("accuracy.bpcer.interval.low"),
    "bpcer_high": at("accuracy.bpcer.interval.high"),
    "acer": at("accuracy.acer"),
    "acer_low": at("accuracy.acer_interval.low"),
    "acer_high": at("accuracy.acer_interval.high"),
    "acer_bias": at("accuracy.acer_bias"),
    "acer_sd": at("accuracy.acer_sd"),
    "hter_source_dev": _of_accuracy(hter),
    "hter_source_dev_low": at("accuracy.hter_interval.low"),
    "hter_source_dev_high": at("accuracy.hter_interval.high"),
    "hter_target_eer": at("accuracy.eer"),
    "hter_target_eer_low": at("accuracy.eer_interval.low"),
    "hter_target_eer_high": at("accuracy.eer_interval.high"),
    "eer": at("accuracy.eer"),
    "auc": at("accuracy.auc"),
    "auc_low": at("accuracy.auc_interval.low"),
    "auc_high": at("accuracy.auc_interval.high"),
    "bpcer10": _operating_point("bpcer10"),
    "bpcer20": _operating_point("bpcer20"),
    "bpcer100": _operating_point("bpcer100"),
    "bona_fide": at("accuracy.bona_fide"),
    "attacks": at("accuracy.attacks"),
    "failures_to_acquire": at("accuracy.failures_to_acquire"),
    "failures_bona_fide": _of_accuracy(lambda accuracy: accuracy.failures_by_class.get("bona_fide")),
    "failures_attacks": _of_accuracy(lambda accuracy: accuracy.failures_by_class.get("attack")),
    "frames": at("accuracy.frames"),
    "frames_without_score": at("accuracy.frames_without_score"),
    "subjects": at("accuracy.subjects"),
    "faces": lambda row: (row.accuracy and row.accuracy.faces) or None,
    "basis": lambda row: row.accuracy.basis if row.accuracy else (),
    "folds": lambda row: tuple(fold.fold for fold in row.accuracy.folds) if row.accuracy else (),
    "parity_max_abs_difference": at("parity.max_abs_difference"),
    "parity_rank_correlation": at("parity.rank_correlation"),
    "parity_logit_error": at("parity.logit_error"),
    "parity_decision_flips": at("parity.decision_flips"),
    "parity_samples": at("parity.samples"),
    "device_max_abs_difference": at("device_parity.max_abs_difference"),
    "device_decision_flips": at("device_parity.decision_flips"),
    "device_samples": at("device_parity.samples"),
    "energy_meter": _first_energy("meter"),
    "energy_scope": _first_energy("scope"),
    "energy_above_idle_uj": _first_energy("above_idle_uj"),
    "energy_uncertainty_uj": _first_energy("uncertainty_uj"),
    "energy_limit_uj": _first_energy("limit_uj"),
    "energy_gross_uj": _first_energy("gross_uj"),
    "energy_runs": _first_energy("runs"),
    "decision_basis": at("decision.basis"),
    "decision_frames": at("decision.frames"),
    "decision_time_ns": at("decision.time_ns"),
    "decision_time_low_ns": at("decision.time_low_ns"),
    "decision_time_high_ns": at("decision.time_high_ns"),
    "decision_time_p90_ns": at("decision.time_p90_ns"),
    "decision_time_worst_ns": at("decision.time_worst_ns"),
    "decision_energy_uj": at("decision.energy_uj"),
    "decision_energy_low_uj": at("decision.energy_low_uj"),
    "decision_energy_high_uj": at("decision.energy_high_uj"),
    "decision_latency_ns": at("decision.latency_ns"),
    "decision_fps": at("decision.fps"),
    "relative_to": at("relative.reference"),
    **{ratio.name: at(f"relative.{ratio.name}") for ratio in fields(Relative) if ratio.name != "reference"},
    "valid": at("valid"),
    "doubts": at("doubts"),
    "missing": at("missing"),
}
"""In the order of the CSV skin; `names` adds those of attack species."""

_OF_SPECIES: Mapping[str, Callable[[Proportion], float]] = {
    "apcer": lambda errors: errors.rate,
    "apcer_low": lambda errors: errors.interval.low,
    "apcer_high": lambda errors: errors.interval.high,
    "apcer_errors": lambda errors: errors.errors,
    "apcer_trials": lambda errors: errors.trials,
}
"""One field a species each: `apcer.print`."""
_SPECIES_AFTER = "apcer_worst_species"


def names(species: Iterable[str]) -> tuple[str, ...]:
    """All names of a table that holds these attack species, in the order of the CSV skin."""
    of_species = [f"{kind}.{name}" for kind in _OF_SPECIES for name in species]
    every = list(FIELDS)
    place = every.index(_SPECIES_AFTER) + 1
    return (*every[:place], *of_species, *every[place:])


def field(name: str) -> Callable[[Row], Any]:
    """From a row to the value of that name, also of one attack species."""
    kind, _, species = name.partition(".")
    if not species:
        return FIELDS[name]
    value = _OF_SPECIES[kind]

    def of_species(row: Row) -> float | None:
        errors = row.accuracy.apcer_by_species.get(species) if row.accuracy else None
        return None if errors is None else value(errors)

    return of_species


def flat(name: str) -> Callable[[Row], Value]:
    """`field` as one plain value: lists joined by `;`, doubts by their codes, a time as ISO 8601."""
    value = field(name)
    match name:
        case "time":
            return lambda row: row.time.isoformat()
        case "doubts":
            return lambda row: ";".join(doubt.code for doubt in row.doubts)
        case "missing":
            return lambda row: missing_text(row.missing)
        case "providers" | "apcer_worst_species" | "basis" | "folds":
            return lambda row: ";".join(value(row))
        case _:
            return value


def missing_text(missing: Iterable[Missing]) -> str:
    """Why numbers are missing, as one text."""
    return "; ".join(f"{why.quantity}: {why.reason}" for why in missing)


# ---- JSON ----


def json_row(row: Row) -> dict[str, Any]:
    """Every value of a row as JSON has it: what is several values there is nested."""
    return {name: plain(value(row)) for name, value in _JSON_FIELDS.items()}


def plain(value: Any) -> Any:
    """A value as JSON has it: objects and lists; null for a number that is not finite."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return {part.name: plain(getattr(value, part.name)) for part in fields(value)}


def _species(accuracy: Accuracy) -> list[dict[str, Value]]:
    return [
        {
            "species": name,
            "apcer": errors.rate,
            "low": errors.interval.low,
            "high": errors.interval.high,
            "errors": errors.errors,
            "trials": errors.trials,
        }
        for name, errors in sorted(accuracy.apcer_by_species.items())
    ]


def _folds(accuracy: Accuracy) -> list[dict[str, Value]]:
    return [
        {
            "fold": fold.fold,
            "apcer": fold.apcer,
            "bpcer": fold.bpcer.rate,
            "acer": fold.acer,
            "hter_source_dev": fold.hter,
            "hter_target_eer": fold.eer,
            "auc": fold.auc,
            "bona_fide": fold.bona_fide,
            "attacks": fold.attacks,
        }
        for fold in accuracy.folds
    ]


def _json_fields() -> dict[str, Callable[[Row], Any]]:
    ratios = {part.name for part in fields(Relative)} | {"relative_to"}
    values: dict[str, Callable[[Row], Any]] = {}
    for name, value in FIELDS.items():
        if name == "energy_meter":
            values |= {"energy": at("energy"), "relative": at("relative")}
        elif name == "folds":
            values[name] = lambda row: _folds(row.accuracy) if row.accuracy else ()
        elif name not in ratios and not name.startswith("energy_"):
            values[name] = value
        if name == _SPECIES_AFTER:
            values["apcer_by_species"] = lambda row: _species(row.accuracy) if row.accuracy else ()
    return values


_JSON_FIELDS = _json_fields()
