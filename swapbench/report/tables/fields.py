"""What the CSV and JSON skins call each value of a row: names, with their units, and where in the row a value stands.

These names are an interface: scripts of users read them.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from swapbench.records import Proportion
from swapbench.report.rows.summary import Energy, Relative, hter, worst_species
from swapbench.report.rows.values import at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swapbench.records import Accuracy
    from swapbench.report.rows.summary import Row

Value = str | int | float | bool | None


def _of_accuracy(value: Callable[[Accuracy], Any]) -> Callable[[Row], Any]:
    return lambda row: None if row.accuracy is None else value(row.accuracy)


def _operating_point(name: str) -> Callable[[Row], float | None]:
    def rate(row: Row) -> float | None:
        errors = row.accuracy and row.accuracy.bpcer_at_apcer.get(name)
        return errors.rate if isinstance(errors, Proportion) else None

    return rate


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
    "apcer_by_species": lambda row: _species(row.accuracy) if row.accuracy else (),
    "bpcer": at("accuracy.bpcer.rate"),
    "bpcer_low": at("accuracy.bpcer.interval.low"),
    "bpcer_high": at("accuracy.bpcer.interval.high"),
    "acer": at("accuracy.acer"),
    "acer_low": at("accuracy.acer_interval.low"),
    "acer_high": at("accuracy.acer_interval.high"),
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
    "folds": lambda row: _folds(row.accuracy) if row.accuracy else (),
    "parity_max_abs_difference": at("parity.max_abs_difference"),
    "parity_decision_flips": at("parity.decision_flips"),
    "parity_samples": at("parity.samples"),
    "device_max_abs_difference": at("device_parity.max_abs_difference"),
    "device_decision_flips": at("device_parity.decision_flips"),
    "device_samples": at("device_parity.samples"),
    "energy": at("energy"),
    "relative": at("relative"),
    "valid": at("valid"),
    "doubts": at("doubts"),
    "missing": at("missing"),
}
"""Every value that the JSON skin has of a row, in its order."""

SPECIES_FIELDS = ("apcer", "apcer_low", "apcer_high", "apcer_errors", "apcer_trials")
"""In the CSV skin: one column a species each, `apcer.print`."""
ENERGY_FIELDS = ("meter", "scope", "above_idle_uj", "uncertainty_uj", "limit_uj", "gross_uj", "runs")
RATIO_FIELDS = tuple(field.name for field in fields(Relative))
assert set(ENERGY_FIELDS) == {field.name for field in fields(Energy)}


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
