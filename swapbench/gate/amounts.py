"""The amounts that a record holds of the metrics of a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench import stats
from swapbench.gate.policy import ERROR_RATES
from swapbench.records import NO_THRESHOLD, Absent, Accuracy, Parity, Speed, Weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.records import Power, Record


def amounts(record: Record, metric: str) -> Mapping[str, float] | Absent:
    """A metric of a record in its base unit, by part: apcer by species, energy by meter, otherwise ""."""
    if metric.startswith("latency_"):
        return record.speed if isinstance(record.speed, Absent) else _latency(record.speed, metric)
    if metric == "load":
        if isinstance(record.speed, Absent):
            return record.speed
        return {"": stats.median([worker.load_ns for worker in record.speed.workers])}
    if metric in {"file_bytes", "params", "macs", "peak_memory"}:
        return record.weight if isinstance(record.weight, Absent) else _weight(record.weight, metric)
    if metric in ERROR_RATES:
        return record.accuracy if isinstance(record.accuracy, Absent) else _errors(record.accuracy, metric)
    if metric == "energy":
        return record.power if isinstance(record.power, Absent) else _energies(record.power)
    if metric == "parity_flips":
        return record.parity if isinstance(record.parity, Absent) else _flips(record.parity)
    if metric == "delegate_coverage":
        taken, nodes = record.runtime.delegated_nodes, record.runtime.nodes
        if taken is None or not nodes:
            return Absent(absent=f"{record.runtime.runtime} does not report how many nodes its delegate took")
        return {"": taken / nodes}
    raise ValueError(f"there is no metric {metric!r}")


def _latency(speed: Speed, metric: str) -> Mapping[str, float] | Absent:
    if metric == "latency_p90":
        bound_ns = stats.tail_bound_ns(speed.workers, 0.9)
        return Absent(absent=stats.why_no_tail(speed.workers, 0.9)) if bound_ns is None else {"": bound_ns}
    estimate = stats.typical(speed.workers, {"latency_p05": 0.05, "latency_p50": 0.5}[metric])
    return Absent(absent="no process finished a timed run") if estimate is None else {"": estimate.value_ns}


def _weight(weight: Weight, metric: str) -> Mapping[str, float] | Absent:
    if metric == "peak_memory":
        memory = weight.peak_memory
        return memory if isinstance(memory, Absent) else {"": float(memory.peak_bytes)}
    return {"": float(getattr(weight, metric))}


def _errors(accuracy: Accuracy, metric: str) -> Mapping[str, float] | Absent:
    if accuracy.acer is None or accuracy.bpcer is None:
        return NO_THRESHOLD
    if metric == "acer":
        return {"": accuracy.acer}
    if metric == "bpcer":
        return {"": accuracy.bpcer.rate}
    return {species: errors.rate for species, errors in accuracy.apcer_by_species.items()}


def _flips(parity: Parity) -> Mapping[str, float] | Absent:
    if parity.samples == 0:
        return Absent(absent="no sample was compared")
    return {"": parity.decision_flips / parity.samples}


def _energies(powers: tuple[Power, ...]) -> Mapping[str, float] | Absent:
    """Energy above idle by meter, of the meters that can resolve it."""
    energies = {power.meter: stats.energy_per_run(power) for power in powers}
    resolved = {meter: energy.above_idle_uj for meter, energy in energies.items() if energy.resolved}
    return resolved or Absent(absent="the energy above idle is smaller than its uncertainty")


def power_of(record: Record, meter: str) -> Power:
    """What one meter measured; there must be such a one."""
    assert not isinstance(record.power, Absent)
    return next(power for power in record.power if power.meter == meter)
