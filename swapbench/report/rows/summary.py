"""From a raw record to one row: nothing is rounded, nothing is measured; `references` adds the ratios."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from swapbench import stats
from swapbench.records import NOT_ELSEWHERE, NOT_PACED, Absent
from swapbench.report.rows.comparable import conditions_of
from swapbench.report.rows.row import Energy, Latency, Missing, PacedLatency, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from swapbench.records import Plan, Power, Record, Speed, WorkerTimes

_T = TypeVar("_T")
TAILS = (0.90, 0.95, 0.99)
"""The percentiles that are reported only when the sample is large enough to claim them."""


def summary(record: Record) -> Row:
    """The row of one record. Deterministic: the bootstrap is seeded by the record's own plan."""
    speed, paced = _latency(record.speed, record.plan), _paced(record.paced, record.plan)
    return Row(
        label=record.title,
        record_id=record.id,
        run=record.run,
        time=record.time,
        variant=record.variant,
        artifact_sha256=record.artifact_sha256,
        used=record.runtime,
        conditions=conditions_of(record),
        speed=present(speed),
        paced=present(paced),
        weight=present(record.weight),
        accuracy=present(record.accuracy),
        energy=tuple(map(_energy, present(record.power) or ())),
        parity=present(record.parity),
        device_parity=present(record.device_parity),
        trained_on_simulated_data=(
            record.card.training.simulated_data if record.card and record.card.training else None
        ),
        doubts=record.doubts,
        missing=tuple(_missing(record, speed, paced)),
        relative=None,
    )


def present(value: _T | Absent) -> _T | None:
    """None in place of an `Absent`."""
    return None if isinstance(value, Absent) else value


# ---- Parts ----


def _slices_ns(workers: Iterable[WorkerTimes]) -> list[list[Any]]:
    """The runs of each slice of each worker that finished a timed run."""
    slices = [
        [runs_ns for runs_ns in worker.slices_ns if runs_ns] for worker in workers if any(worker.slices_ns)
    ]
    chain = itertools.chain.from_iterable
    flat = np.fromiter(chain(chain(slices)), np.float64)
    ends = itertools.accumulate((len(runs_ns) for runs_ns in chain(slices)), initial=0)
    parts = itertools.starmap(slice, itertools.pairwise(ends))
    return [[flat[next(parts)] for _ in worker] for worker in slices]


def _latency(speed: Speed | Absent, plan: Plan) -> Latency | Absent:
    if isinstance(speed, Absent):
        return speed
    workers = [worker for worker in speed.workers if any(worker.slices_ns)]
    if not workers:
        return Absent(absent="no worker finished a timed run", remedy="Measure again")
    slices_ns = _slices_ns(workers)
    runs_ns = np.sort(np.concatenate([runs for worker in slices_ns for runs in worker]))
    interval = stats.hierarchical_interval(slices_ns, confidence=plan.confidence, seed=plan.seed)
    p90, p95, p99 = (stats.early_stopping_percentile(runs_ns, p).value for p in TAILS)
    cpu_ns = [worker.cpu_ns for worker in workers if worker.cpu_ns is not None]
    return Latency(
        p05_ns=stats.quantile(runs_ns, 0.05),
        p50_ns=stats.median(runs_ns),
        p50_low_ns=interval.low,
        p50_high_ns=interval.high,
        confidence=interval.confidence,
        p90_ns=p90,
        p95_ns=p95,
        p99_ns=p99,
        load_ns=stats.median([worker.load_ns for worker in workers]),
        first_ns=stats.median([worker.first_ns for worker in workers]),
        cpu_time_ns=sum(cpu_ns) / len(runs_ns) if len(cpu_ns) == len(workers) else None,
        runs=len(runs_ns),
        workers=len(workers),
        input=speed.input,
    )


def _paced(paced: Speed | Absent, plan: Plan) -> PacedLatency | Absent:
    if isinstance(paced, Absent):
        return paced
    slices_ns = _slices_ns(paced.workers)
    if not slices_ns:
        return Absent(absent="no worker finished a timed run at the frame rate", remedy="Measure again")
    runs_ns = np.concatenate([runs for worker in slices_ns for runs in worker])
    interval = stats.hierarchical_interval(slices_ns, confidence=plan.confidence, seed=plan.seed)
    late = [worker.late_frames for worker in paced.workers]
    counted = [frames for frames in late if frames is not None]
    frames = len(runs_ns) + sum(counted) if len(counted) == len(late) else None
    return PacedLatency(
        p50_ns=stats.median(runs_ns),
        p50_low_ns=interval.low,
        p50_high_ns=interval.high,
        p95_ns=stats.early_stopping_percentile(runs_ns, 0.95).value,
        missed=None if frames is None else sum(counted) / frames,
        frames=frames,
    )


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


def _missing(record: Record, speed: Latency | Absent, paced: PacedLatency | Absent) -> Iterator[Missing]:
    """Why values of the row are None, in the order of its parts; nothing where nobody asked for a value."""
    if isinstance(speed, Absent):
        yield Missing("speed", speed.absent, speed.remedy)
    else:
        for p, value in zip(TAILS, (speed.p90_ns, speed.p95_ns, speed.p99_ns), strict=True):
            if value is None:
                reason = f"p{100 * p:.0f} needs n >= {stats.least_samples(p)} runs"
                yield Missing("tail", reason, "Measure longer: a larger time budget")
    if isinstance(record.weight, Absent):
        yield Missing("weight", record.weight.absent, record.weight.remedy)
    elif isinstance(memory := record.weight.peak_memory, Absent):
        yield Missing("memory", memory.absent, memory.remedy)
    if isinstance(record.accuracy, Absent):
        yield Missing("accuracy", record.accuracy.absent, record.accuracy.remedy)
    else:
        for point, errors in sorted(record.accuracy.bpcer_at_apcer.items()):
            if isinstance(errors, Absent):
                yield Missing("accuracy", f"{point}: {errors.absent}", errors.remedy)
    if isinstance(record.power, Absent):
        yield Missing("power", record.power.absent, record.power.remedy)
    if isinstance(record.parity, Absent):
        yield Missing("parity", record.parity.absent, record.parity.remedy)
    if isinstance(paced, Absent):
        if paced != NOT_PACED:
            yield Missing("paced", paced.absent, paced.remedy)
    elif paced.p95_ns is None:
        reason = f"p95 at the frame rate needs n >= {stats.least_samples(0.95)} runs"
        yield Missing("paced", reason, "Ask for more frames a second")
    if isinstance(record.device_parity, Absent) and record.device_parity != NOT_ELSEWHERE:
        yield Missing("device_parity", record.device_parity.absent, record.device_parity.remedy)
