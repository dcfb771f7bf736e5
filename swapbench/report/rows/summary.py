"""From a raw record to one row of numbers. Nothing is rounded, nothing is measured; `references` goes on from here to ratios.

Every number keeps its unit in its name. A number that does not exist is None, and `Row.missing` says why.
Ratios are named for their direction: `speed_up`, `size_reduction` and their kind are reference / this row (more
than 1 is better), `accuracy_kept` and `error_ratio` are this row / reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from swapbench import stats
from swapbench.records import NOT_ELSEWHERE, NOT_PACED, Absent, Proportion
from swapbench.report.rows.comparable import cores, fingerprint, settings_text

if TYPE_CHECKING:
    from datetime import datetime

    from swapbench.records import Accuracy, Doubt, Parity, Plan, Power, Record, Speed, Weight

Quantity = Literal[
    "speed", "tail", "paced", "weight", "memory", "accuracy", "power", "parity", "device_parity", "reference"
]
TAILS = (0.90, 0.95, 0.99)
"""The percentiles that are reported only when the sample is large enough to claim them."""

Part = tuple[dict[str, Any], "list[Missing]"]
"""What a part of a record gives a row: values by the names of its fields, and why the others are missing."""


@dataclass(frozen=True)
class Missing:
    """Why a number of a row does not exist. `quantity` says which part of the row it would have been in."""

    quantity: Quantity
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class SpeciesErrors:
    """APCER of one attack instrument species with its interval."""

    species: str
    apcer: float
    low: float
    high: float
    errors: int
    trials: int


@dataclass(frozen=True)
class Fold:
    """One fold of a protocol: errors at the threshold frozen on its own development split."""

    fold: str
    apcer: float
    bpcer: float
    acer: float
    hter_source_dev: float
    hter_target_eer: float
    auc: float
    bona_fide: int
    attacks: int


@dataclass(frozen=True)
class Energy:
    """Energy of one inference by one meter: above idle with its uncertainty, and with the idle share (gross)."""

    meter: str
    scope: str
    above_idle_uj: float
    uncertainty_uj: float
    gross_uj: float
    runs: int
    limit_uj: float

    @property
    def resolved(self) -> bool:
        """False when the uncertainty is as large as the energy itself: then only `limit_uj` may be printed."""
        return self.above_idle_uj > self.uncertainty_uj


@dataclass(frozen=True)
class Relative:
    """One row against its reference. None where either side is missing, or the reference is 0.

    The interval of speed_up joins the worst ends of both medians' intervals: it covers at least
    1 - 2 (1 - confidence) and is wider than a paired comparison's. The reference itself has none.
    """

    reference: str
    speed_up: float | None
    speed_up_low: float | None
    speed_up_high: float | None
    speed_up_p05: float | None
    size_reduction: float | None
    params_reduction: float | None
    macs_reduction: float | None
    memory_reduction: float | None
    accuracy_kept: float | None
    error_ratio: float | None
    energy_reduction: float | None


@dataclass(frozen=True)
class Row:
    """All numbers of one record. Latencies are of one inference at batch 1; rates are fractions, not per cent.

    label is unique among the rows of one table. latency_p05_ns is what the work costs when nothing disturbs it;
    p90, p95 and p99 are early-stopping estimates (MLPerf LoadGen) and None where there are too few runs to claim them.
    hter_source_dev is (pooled FAR + FRR) / 2 at the threshold frozen on the development split; hter_target_eer the same at the
    threshold that the test scores themselves would choose, as much of the literature reports it: equal to eer.
    bpcer10, 20 and 100 are BPCER where APCER is at most 10, 5 and 1 %.
    cpu_time_ns is the process CPU time of one inference: a stand-in for effort, not an energy.
    flavour and cores: of the native runner, see report.places; settings: all that were chosen for the runtime, as text.
    paced_: runs that wait for the frames of a camera at paced_fps, as energy then does, too; paced_missed is the share of paced_frames that were lost
    because one was still computed. device_: scores of the device against those of the same file on the desktop.
    """

    label: str
    record_id: str
    run: str
    time: datetime
    net: str
    recipe: str | None
    precision: str
    format: str
    runtime: str
    runtime_version: str
    providers: tuple[str, ...]
    threads: int
    delegated_nodes: int | None
    nodes: int | None
    artifact_sha256: str
    machine: str
    machine_fingerprint: str
    flavour: str | None = None
    cores: str | None = None
    settings: str | None = None
    input: str | None = None
    latency_p05_ns: float | None = None
    latency_p50_ns: float | None = None
    latency_p50_low_ns: float | None = None
    latency_p50_high_ns: float | None = None
    latency_confidence: float | None = None
    latency_p90_ns: float | None = None
    latency_p95_ns: float | None = None
    latency_p99_ns: float | None = None
    load_ns: float | None = None
    first_ns: float | None = None
    cpu_time_ns: float | None = None
    runs: int | None = None
    workers: int | None = None
    paced_fps: float | None = None
    paced_p50_ns: float | None = None
    paced_p50_low_ns: float | None = None
    paced_p50_high_ns: float | None = None
    paced_p95_ns: float | None = None
    paced_missed: float | None = None
    paced_frames: int | None = None
    file_bytes: int | None = None
    params: int | None = None
    macs: int | None = None
    peak_memory_bytes: int | None = None
    memory_before_load_bytes: int | None = None
    memory_kind: str | None = None
    dataset: str | None = None
    dataset_digest: str | None = None
    data_simulated: bool | None = None
    trained_on_simulated_data: bool | None = None
    protocol: str | None = None
    threshold: float | None = None
    threshold_rule: str | None = None
    apcer: float | None = None
    apcer_worst_species: tuple[str, ...] = ()
    apcer_by_species: tuple[SpeciesErrors, ...] = ()
    bpcer: float | None = None
    bpcer_low: float | None = None
    bpcer_high: float | None = None
    acer: float | None = None
    acer_low: float | None = None
    acer_high: float | None = None
    acer_sd: float | None = None
    hter_source_dev: float | None = None
    hter_source_dev_low: float | None = None
    hter_source_dev_high: float | None = None
    hter_target_eer: float | None = None
    hter_target_eer_low: float | None = None
    hter_target_eer_high: float | None = None
    eer: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    bpcer10: float | None = None
    bpcer20: float | None = None
    bpcer100: float | None = None
    bona_fide: int | None = None
    attacks: int | None = None
    failures_to_acquire: int | None = None
    failures_bona_fide: int | None = None
    failures_attacks: int | None = None
    frames: int | None = None
    frames_without_score: int | None = None
    subjects: int | None = None
    faces: str | None = None
    basis: tuple[str, ...] = ()
    folds: tuple[Fold, ...] = ()
    parity_max_abs_difference: float | None = None
    parity_decision_flips: int | None = None
    parity_samples: int | None = None
    device_max_abs_difference: float | None = None
    device_decision_flips: int | None = None
    device_samples: int | None = None
    energy: tuple[Energy, ...] = ()
    relative: Relative | None = None
    valid: bool = True
    doubts: tuple[Doubt, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def model(self) -> str:
        """`net` or `net.recipe`."""
        return f"{self.net}.{self.recipe}" if self.recipe else self.net

    @property
    def energy_above_idle_uj(self) -> float | None:
        """Energy above idle by the first meter of the record, or None."""
        return self.energy[0].above_idle_uj if self.energy else None


def summary(record: Record) -> Row:
    """The row of one record. Deterministic: the bootstrap is seeded by the record's own plan."""
    variant, used = record.variant, record.runtime
    parts = (
        _speed(record.speed, record.plan),
        _weight(record.weight),
        _accuracy(record.accuracy),
        _power(record.power),
        _parity(record.parity),
        _paced(record.paced, record.plan),
        _device_parity(record.device_parity),
    )
    values = {name: value for found, _ in parts for name, value in found.items()}
    return Row(
        label=variant.file_name,
        record_id=record.id,
        run=record.run,
        time=record.time,
        net=variant.net,
        recipe=variant.recipe,
        precision=variant.precision,
        format=variant.format,
        runtime=used.runtime,
        runtime_version=used.version,
        providers=used.providers,
        threads=used.threads,
        delegated_nodes=used.delegated_nodes,
        nodes=used.nodes,
        artifact_sha256=record.artifact_sha256,
        machine=record.machine.name,
        machine_fingerprint=fingerprint(record.machine, used),
        flavour=used.settings.get("flavour"),
        cores=cores(record.machine, used),
        settings=settings_text(used),
        paced_fps=record.plan.fps,
        trained_on_simulated_data=(
            record.card.training.simulated_data if record.card and record.card.training else None
        ),
        valid=record.valid,
        doubts=record.doubts,
        missing=tuple(one for _, missing in parts for one in missing),
        **values,
    )


def _missing(quantity: Quantity, why: Absent) -> Missing:
    return Missing(quantity, why.absent, why.remedy)


def _speed(speed: Speed | Absent, plan: Plan) -> Part:
    if isinstance(speed, Absent):
        return {}, [_missing("speed", speed)]
    workers = [worker for worker in speed.workers if any(worker.slices_ns)]
    if not workers:
        reason = "no worker finished a timed run"
        return {}, [Missing("speed", reason, "Measure again")]
    slices_ns: list[list[Any]] = [
        [np.array(one, np.float64) for one in worker.slices_ns if one] for worker in workers
    ]
    runs_ns = np.concatenate([one for worker in slices_ns for one in worker])
    interval = stats.hierarchical_interval(slices_ns, confidence=plan.confidence, seed=plan.seed)
    tails = {p: stats.early_stopping_percentile(runs_ns, p) for p in TAILS}
    known = [worker.cpu_ns for worker in workers if worker.cpu_ns is not None]
    values = {
        "input": speed.input,
        "latency_p05_ns": stats.quantile(runs_ns, 0.05),
        "latency_p50_ns": stats.median(runs_ns),
        "latency_p50_low_ns": interval.low,
        "latency_p50_high_ns": interval.high,
        "latency_confidence": interval.confidence,
        "latency_p90_ns": tails[0.90].value,
        "latency_p95_ns": tails[0.95].value,
        "latency_p99_ns": tails[0.99].value,
        "load_ns": stats.median([worker.load_ns for worker in workers]),
        "first_ns": stats.median([worker.first_ns for worker in workers]),
        "cpu_time_ns": sum(known) / len(runs_ns) if len(known) == len(workers) else None,
        "runs": len(runs_ns),
        "workers": len(workers),
    }
    return values, [
        Missing(
            "tail",
            f"p{100 * p:.0f} needs n >= {tail.least_samples} runs",
            "Measure longer: a larger time budget",
        )
        for p, tail in tails.items()
        if tail.value is None
    ]


def _weight(weight: Weight | Absent) -> Part:
    if isinstance(weight, Absent):
        return {}, [_missing("weight", weight)]
    values = {"file_bytes": weight.file_bytes, "params": weight.params, "macs": weight.macs}
    memory = weight.peak_memory
    if isinstance(memory, Absent):
        return values, [_missing("memory", memory)]
    return values | {
        "peak_memory_bytes": memory.peak_bytes,
        "memory_before_load_bytes": memory.before_load_bytes,
        "memory_kind": memory.kind,
    }, []


def _accuracy(accuracy: Accuracy | Absent) -> Part:
    if isinstance(accuracy, Absent):
        return {}, [_missing("accuracy", accuracy)]
    species = tuple(_species(name, one) for name, one in sorted(accuracy.apcer_by_species.items()))
    worst = max((one.apcer for one in species), default=None)
    interval = accuracy.acer_interval
    missing = [
        Missing("accuracy", f"{point}: {errors.absent}", errors.remedy)
        for point, errors in sorted(accuracy.bpcer_at_apcer.items())
        if isinstance(errors, Absent)
    ]
    values = {
        "dataset": accuracy.dataset,
        "dataset_digest": accuracy.dataset_digest,
        "data_simulated": accuracy.simulated,
        "protocol": accuracy.protocol,
        "threshold": accuracy.threshold,
        "threshold_rule": accuracy.threshold_rule,
        "apcer": accuracy.apcer,
        "apcer_worst_species": tuple(one.species for one in species if one.apcer == worst),
        "apcer_by_species": species,
        "bpcer": accuracy.bpcer.rate,
        "bpcer_low": accuracy.bpcer.interval.low,
        "bpcer_high": accuracy.bpcer.interval.high,
        "acer": accuracy.acer,
        "acer_low": interval.low if interval else None,
        "acer_high": interval.high if interval else None,
        "acer_sd": accuracy.acer_sd,
        "hter_source_dev": _hter(accuracy),
        "hter_source_dev_low": accuracy.hter_interval.low if accuracy.hter_interval else None,
        "hter_source_dev_high": accuracy.hter_interval.high if accuracy.hter_interval else None,
        "hter_target_eer": accuracy.eer,
        "hter_target_eer_low": accuracy.eer_interval.low if accuracy.eer_interval else None,
        "hter_target_eer_high": accuracy.eer_interval.high if accuracy.eer_interval else None,
        "eer": accuracy.eer,
        "auc": accuracy.auc,
        "auc_low": accuracy.auc_interval.low if accuracy.auc_interval else None,
        "auc_high": accuracy.auc_interval.high if accuracy.auc_interval else None,
        "bpcer10": _rate(accuracy.bpcer_at_apcer.get("bpcer10")),
        "bpcer20": _rate(accuracy.bpcer_at_apcer.get("bpcer20")),
        "bpcer100": _rate(accuracy.bpcer_at_apcer.get("bpcer100")),
        "bona_fide": accuracy.bona_fide,
        "attacks": accuracy.attacks,
        "failures_to_acquire": accuracy.failures_to_acquire,
        "failures_bona_fide": accuracy.failures_by_class.get("bona_fide"),
        "failures_attacks": accuracy.failures_by_class.get("attack"),
        "frames": accuracy.frames,
        "frames_without_score": accuracy.frames_without_score,
        "subjects": accuracy.subjects,
        "faces": accuracy.faces or None,
        "basis": accuracy.basis,
        "folds": tuple(
            Fold(
                fold=one.fold,
                apcer=one.apcer,
                bpcer=one.bpcer.rate,
                acer=one.acer,
                hter_source_dev=one.hter,
                hter_target_eer=one.eer,
                auc=one.auc,
                bona_fide=one.bona_fide,
                attacks=one.attacks,
            )
            for one in accuracy.folds
        ),
    }
    return values, missing


def _hter(accuracy: Accuracy) -> float:
    """Records of schema version 1 do not hold it, but its parts: one fold, errors by species, rejected bona fide."""
    if accuracy.hter is not None:
        return accuracy.hter
    attacks = accuracy.apcer_by_species.values()
    far = sum(one.errors for one in attacks) / sum(one.trials for one in attacks)
    return (far + accuracy.bpcer.rate) / 2


def _species(name: str, errors: Proportion) -> SpeciesErrors:
    interval = errors.interval
    return SpeciesErrors(name, errors.rate, interval.low, interval.high, errors.errors, errors.trials)


def _rate(errors: Proportion | Absent | None) -> float | None:
    return errors.rate if isinstance(errors, Proportion) else None


def _power(power: tuple[Power, ...] | Absent) -> Part:
    if isinstance(power, Absent):
        return {}, [_missing("power", power)]
    return {"energy": tuple(_energy(one) for one in power)}, []


def _energy(power: Power) -> Energy:
    run = stats.energy_per_run(power)
    return Energy(
        power.meter,
        power.scope,
        run.above_idle_uj,
        run.uncertainty_uj,
        run.gross_uj,
        power.runs,
        run.limit_uj,
    )


def _parity(parity: Parity | Absent) -> Part:
    if isinstance(parity, Absent):
        return {}, [_missing("parity", parity)]
    return {
        "parity_max_abs_difference": parity.max_abs_difference,
        "parity_decision_flips": parity.decision_flips,
        "parity_samples": parity.samples,
    }, []


def _paced(paced: Speed | Absent, plan: Plan) -> Part:
    if isinstance(paced, Absent):
        return {}, [] if paced == NOT_PACED else [_missing("paced", paced)]
    slices_ns: list[list[Any]] = [
        [np.array(one, np.float64) for one in worker.slices_ns if one]
        for worker in paced.workers
        if any(worker.slices_ns)
    ]
    if not slices_ns:
        return {}, [Missing("paced", "no worker finished a timed run at the frame rate", "Measure again")]
    runs_ns = np.concatenate([one for worker in slices_ns for one in worker])
    interval = stats.hierarchical_interval(slices_ns, confidence=plan.confidence, seed=plan.seed)
    p95 = stats.early_stopping_percentile(runs_ns, 0.95)
    lost = [worker.late_frames for worker in paced.workers]
    known = [one for one in lost if one is not None]
    frames = len(runs_ns) + sum(known) if len(known) == len(lost) else None
    values = {
        "paced_p50_ns": stats.median(runs_ns),
        "paced_p50_low_ns": interval.low,
        "paced_p50_high_ns": interval.high,
        "paced_p95_ns": p95.value,
        "paced_missed": None if frames is None else sum(known) / frames,
        "paced_frames": frames,
    }
    if p95.value is not None:
        return values, []
    reason = f"p95 at the frame rate needs n >= {p95.least_samples} runs"
    return values, [Missing("paced", reason, "Ask for more frames a second")]


def _device_parity(parity: Parity | Absent) -> Part:
    if isinstance(parity, Absent):
        return {}, [] if parity == NOT_ELSEWHERE else [_missing("device_parity", parity)]
    return {
        "device_max_abs_difference": parity.max_abs_difference,
        "device_decision_flips": parity.decision_flips,
        "device_samples": parity.samples,
    }, []
