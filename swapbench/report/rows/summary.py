"""From a raw record to one row: nothing is rounded, nothing is measured; `references` adds the ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from swapbench import stats
from swapbench.records import NO_THRESHOLD, NOT_ELSEWHERE, NOT_PACED, NOT_PROFILED, Absent, Speed
from swapbench.report.rows.comparable import conditions_of
from swapbench.report.rows.row import DecisionRow, Energy, Latency, Missing, PacedLatency, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.records import Plan, Power, Record

_T = TypeVar("_T")
TAILS = (0.90, 0.95, 0.99)
"""The percentiles that are reported only where there are enough processes and runs to bound them."""
MORE_RUNS = "Measure longer: a larger time budget"


def summary(record: Record) -> Row:
    """The row of one record."""
    speed, paced = _latency(record.speed, record.plan), _paced(record.paced, record.plan)
    energy = tuple(map(_energy, present(record.power) or ()))
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
        energy=energy,
        decision=_decision(record, present(speed), energy),
        parity=present(record.parity),
        device_parity=present(record.device_parity),
        operators=present(record.operators),
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


def _latency(speed: Speed | Absent, plan: Plan) -> Latency | Absent:
    if isinstance(speed, Absent):
        return speed
    workers = [worker for worker in speed.workers if any(worker.slices_ns)]
    if not workers:
        return Absent(absent="no worker finished a timed run", remedy="Measure again")
    p05, p50 = (stats.typical(workers, q, plan.confidence) for q in (0.05, stats.MEDIAN))
    medians_ns = stats.process_quantiles_ns(workers, stats.MEDIAN)
    assert p50 is not None  # every process here finished a timed run
    assert medians_ns is not None
    p05_low, p05_high = _ends(p05)
    p50_low, p50_high = _ends(p50)
    p90, p95, p99 = (stats.tail_bound_ns(workers, p) for p in TAILS)
    runs = sum(len(worker.runs_ns) for worker in workers)
    cpu_ns = [worker.cpu_ns for worker in workers if worker.cpu_ns is not None]
    return Latency(
        p05_ns=None if p05 is None else p05.value_ns,
        p05_low_ns=p05_low,
        p05_high_ns=p05_high,
        p50_ns=p50.value_ns,
        p50_low_ns=p50_low,
        p50_high_ns=p50_high,
        confidence=None if p50.interval is None else p50.interval.confidence,
        p90_ns=p90,
        p95_ns=p95,
        p99_ns=p99,
        load_ns=stats.median([worker.load_ns for worker in workers]),
        first_ns=stats.median([worker.first_ns for worker in workers]),
        cpu_time_ns=sum(cpu_ns) / runs if len(cpu_ns) == len(workers) else None,
        runs=runs,
        workers=len(workers),
        input=speed.input,
        sitting=speed.sitting,
        p50_by_round_ns={worker.round: median for worker, median in zip(workers, medians_ns, strict=True)},
    )


def _ends(estimate: stats.Estimate | None) -> tuple[float | None, float | None]:
    """Both ends of an estimate's interval, None where it has none."""
    if estimate is None or estimate.interval is None:
        return None, None
    return estimate.interval.low, estimate.interval.high


def _paced(paced: Speed | Absent, plan: Plan) -> PacedLatency | Absent:
    if isinstance(paced, Absent):
        return paced
    p50 = stats.typical(paced.workers, confidence=plan.confidence)
    if p50 is None:
        return Absent(absent="no worker finished a timed run at the frame rate", remedy="Measure again")
    low, high = _ends(p50)
    late = [worker.late_frames for worker in paced.workers]
    counted = [frames for frames in late if frames is not None]
    frames = len(paced.runs_ns) + sum(counted) if len(counted) == len(late) else None
    return PacedLatency(
        p50_ns=p50.value_ns,
        p50_low_ns=low,
        p50_high_ns=high,
        p95_ns=stats.tail_bound_ns(paced.workers, 0.95),
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


def _decision(record: Record, speed: Latency | None, energy: tuple[Energy, ...]) -> DecisionRow | None:
    """What one decision costs: what the record of a system says, or a file's own numbers times its frames."""
    if record.decision is not None:
        decision = record.decision
        time, joules, latency = decision.time_ns, present(decision.energy_uj), present(decision.latency_ns)
        whole = energy[0] if energy and energy[0].resolved else None  # of a system that was metered as one
        spread = joules.interval if joules else None
        return DecisionRow(
            basis=decision.basis,
            frames=decision.frames.all.mean,
            time_ns=time.all.mean,
            time_low_ns=time.interval.low if time.interval else None,
            time_high_ns=time.interval.high if time.interval else None,
            time_p90_ns=time.all.p90,
            time_worst_ns=time.all.worst,
            energy_uj=whole.above_idle_uj if whole else joules.all.mean if joules else None,
            energy_low_uj=_reach(whole, -1) if whole else spread.low if spread else None,
            energy_high_uj=_reach(whole, 1) if whole else spread.high if spread else None,
            latency_ns=latency.all.mean if latency else None,
            fps=decision.fps,
        )
    accuracy = present(record.accuracy)
    if speed is None or accuracy is None or accuracy.frames is None:
        return None
    decided = accuracy.bona_fide + accuracy.attacks
    frames = (accuracy.frames - (accuracy.frames_without_score or 0)) / decided
    metered = energy[0] if energy and energy[0].resolved else None
    of_one = frames == 1

    def times(value: float | None) -> float | None:
        return None if value is None else frames * value

    return DecisionRow(
        basis="file",
        frames=frames,
        time_ns=frames * speed.p50_ns,
        time_low_ns=times(speed.p50_low_ns),
        time_high_ns=times(speed.p50_high_ns),
        time_p90_ns=speed.p50_ns if of_one else None,
        time_worst_ns=speed.p50_ns if of_one else None,
        energy_uj=times(metered.above_idle_uj) if metered else None,
        energy_low_uj=times(_reach(metered, -1)) if metered else None,
        energy_high_uj=times(_reach(metered, 1)) if metered else None,
        latency_ns=None,
        fps=None,
    )


def _reach(energy: Energy, sign: int) -> float:
    """An end of what the energy above idle may be."""
    return energy.above_idle_uj + sign * energy.uncertainty_uj


def _missing(record: Record, speed: Latency | Absent, paced: PacedLatency | Absent) -> Iterator[Missing]:
    """Why values of the row are None, in the order of its parts; nothing where nobody asked for a value."""
    if isinstance(speed, Absent):
        yield Missing("speed", speed.absent, speed.remedy)
    elif isinstance(record.speed, Speed):
        for p, value in zip(TAILS, (speed.p90_ns, speed.p95_ns, speed.p99_ns), strict=True):
            if value is None:
                yield Missing("tail", stats.why_no_tail(record.speed.workers, p), MORE_RUNS)
    if isinstance(record.weight, Absent):
        yield Missing("weight", record.weight.absent, record.weight.remedy)
    elif isinstance(memory := record.weight.peak_memory, Absent):
        yield Missing("memory", memory.absent, memory.remedy)
    if isinstance(record.accuracy, Absent):
        yield Missing("accuracy", record.accuracy.absent, record.accuracy.remedy)
    else:
        if record.accuracy.acer is None:
            yield Missing("accuracy", NO_THRESHOLD.absent, NO_THRESHOLD.remedy)
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
        assert isinstance(record.paced, Speed)
        reason = stats.why_no_tail(record.paced.workers, 0.95)
        yield Missing("paced", f"at the frame rate, {reason}", "Ask for more frames a second")
    if isinstance(record.device_parity, Absent) and record.device_parity != NOT_ELSEWHERE:
        yield Missing("device_parity", record.device_parity.absent, record.device_parity.remedy)
    if isinstance(record.operators, Absent) and record.operators != NOT_PROFILED:
        yield Missing("operators", record.operators.absent, record.operators.remedy)
