"""Why a record should be distrusted, and what to do about it: pure functions of finished records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench import stats, units
from swapbench.bench.steadiness import phone_doubts
from swapbench.pad.agreement import broken_limits
from swapbench.records import Absent, Doubt, Speed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swapbench.records import Accuracy, Machine, Parity, Plan, Power, Record, RuntimeUsed

LOAD_A_CORE = 0.5
BUSY_A_CORE = 0.25
TAIL_RATIO = 1.5
WORKERS_RATIO = 1.1
CPU_SHARE = 0.85
FEW_PRESENTATIONS = 20
FAILED_SHARE = 0.05
FLIPPED_SHARE = 0.02
IDLE_DRIFT = 0.1
ENERGY_UNCERTAINTY = 0.25


def doubts(record: Record) -> tuple[Doubt, ...]:
    """The reasons to distrust a record, each with what to do about it; those that it already lists are not looked at.

    A quantity that is Absent carries its own reason and is no doubt about the others, except speed, which every device can
    measure. Simulated data is a property of the data set, not a doubt.
    """
    found = [*_run_doubts(record.machine, record.runtime)]
    if isinstance(record.speed, Absent):
        absent = record.speed
        found.append(Doubt(code="no_speed", quantity="speed", message=absent.absent, remedy=absent.remedy))
    else:
        found += _speed_doubts(record.plan, record.speed)
    if not isinstance(record.weight, Absent) and record.weight.uncounted_ops:
        found.append(
            Doubt(
                code="uncounted_ops",
                quantity="weight",
                message=f"MACs leave out {', '.join(record.weight.uncounted_ops)}",
                remedy="Take the MACs as a lower bound.",
            )
        )
    if not isinstance(record.accuracy, Absent):
        found += _accuracy_doubts(record.accuracy)
    if not isinstance(record.parity, Absent):
        found += _parity_doubts(record.parity)
    if not isinstance(record.device_parity, Absent):
        found += _device_parity_doubts(record.device_parity)
    if not isinstance(record.power, Absent):
        for one in record.power:
            found += power_doubts(one)
    return tuple(found)


def _parity_doubts(parity: Parity) -> Iterable[Doubt]:
    share = parity.decision_flips / parity.samples
    if share > FLIPPED_SHARE:
        yield Doubt(
            code="decisions_flipped",
            quantity="accuracy",
            message=f"{units.percent(share)} of the decisions differ from the PyTorch network's at its threshold"
            f" ({parity.decision_flips} of {parity.samples})",
            remedy="Freeze the threshold on this file's own scores, as was done here, and compare its error rates with fp32's.",
        )


def _device_parity_doubts(parity: Parity) -> Iterable[Doubt]:
    broken = broken_limits(parity)
    if not broken and parity.decision_flips > FLIPPED_SHARE * parity.samples:
        broken = [f"{parity.decision_flips} of {parity.samples} decisions flip"]
    if broken:
        yield Doubt(
            code="differs_from_desktop",
            quantity="accuracy",
            message=f"the device scores the file otherwise than this computer does: {'; '.join(broken)}",
            remedy="Try another version of the runtime on the device, or another precision; trust the error rates of each for itself.",
        )


def _run_doubts(machine: Machine, used: RuntimeUsed) -> Iterable[Doubt]:
    if machine.emulated:
        yield Doubt(
            code="emulated_device",
            quantity="run",
            message="the device is emulated; its times and energy are not those of the real one",
            remedy="Measure on the real device.",
        )
    load = f"load {machine.load_1min:.2g}" if machine.load_1min is not None else ""
    most, busy = LOAD_A_CORE * machine.logical_cores, machine.load_1min
    if machine.busy_cores is not None:  # the load average still holds what we did ourselves a minute ago
        load, busy = f"{machine.busy_cores:.2g} busy", machine.busy_cores
        most = BUSY_A_CORE * machine.logical_cores
    if busy is not None and busy > most:
        yield Doubt(
            code="other_load",
            quantity="run",
            message=f"other work ran on the machine: {load} on {machine.logical_cores} cores",
            remedy="Stop other programs, wait a minute and run again.",
        )
    yield from phone_doubts(machine)
    if machine.on_battery and machine.state is None:  # a phone may be on its battery, and says so itself
        yield Doubt(
            code="on_battery",
            quantity="run",
            message="the machine ran on its battery and may have held its clock back",
            remedy="Plug it in; a phone under an energy measurement must stay unplugged.",
        )
    if used.package == "tflite_runtime":
        yield Doubt(
            code="old_runtime",
            quantity="run",
            message="tflite_runtime, the frozen predecessor of LiteRT, was used",
            remedy="pip install ai-edge-litert",
        )
    if used.delegated_nodes is not None and used.nodes is not None and used.delegated_nodes < used.nodes:
        yield Doubt(
            code="partial_delegate",
            quantity="speed",
            message=f"the delegate took {used.delegated_nodes} of {used.nodes} nodes; the rest ran in the built-in kernels",
            remedy="Export the file so that the delegate knows every operator, or say that you mean this mixture.",
        )


def _speed_doubts(plan: Plan, speed: Speed) -> Iterable[Doubt]:
    if len(speed.workers) < plan.min_rounds:
        yield Doubt(
            code="too_few_workers",
            quantity="speed",
            message=f"{len(speed.workers)} worker processes were measured, {plan.min_rounds} are the least",
            remedy="Let the run go on to its end.",
        )
    slices_ns = [worker.slices_ns for worker in speed.workers]
    interval = stats.hierarchical_interval(slices_ns, confidence=plan.confidence, seed=plan.seed)
    width = stats.relative_half_width(interval)
    if width > plan.target_relative_half_width:
        why = {"budget": " when the time was spent", "rounds": " after the last round"}.get(speed.stopped, "")
        yield Doubt(
            code="wide_interval",
            quantity="speed",
            message=f"the median is known to ±{units.percent(width)}{why}, "
            f"±{units.percent(plan.target_relative_half_width)} was wanted",
            remedy="Allow more time or rounds, or measure on a quieter machine.",
        )
    medians = [stats.median(worker.runs_ns) for worker in speed.workers]
    if len(medians) > 1 and max(medians) > WORKERS_RATIO * min(medians):
        yield Doubt(
            code="workers_disagree",
            quantity="speed",
            message=f"the median of one process is {units.ratio(max(medians) / min(medians))} that of another",
            remedy="Fix the clock frequency, stop other programs, or measure more rounds.",
        )
    runs = speed.runs_ns
    tail = stats.quantile(runs, 0.9) / stats.median(runs)
    if tail > TAIL_RATIO:
        yield Doubt(
            code="heavy_tail",
            quantity="speed",
            message=f"one run in ten takes more than {units.ratio(tail)} the median",
            remedy="Look for other work or throttling; quote a low quantile beside the median.",
        )
    cpu_ns = [worker.cpu_ns for worker in speed.workers if worker.cpu_ns is not None]
    share = sum(cpu_ns) / sum(runs)
    if plan.threads == 1 and len(cpu_ns) == len(speed.workers) and share < CPU_SHARE:
        yield Doubt(
            code="waited_for_cpu",
            quantity="speed",
            message=f"the worker had the processor for only {units.percent(share)} of its runs",
            remedy="Stop other programs, or the work is done by an accelerator and this can be ignored.",
        )


def _accuracy_doubts(accuracy: Accuracy) -> Iterable[Doubt]:
    species, fewest = min(
        accuracy.apcer_by_species.items(), key=lambda item: item[1].trials, default=("", None)
    )
    if fewest is None or fewest.trials < FEW_PRESENTATIONS:
        number = f"{fewest.trials} attacks of species {species}" if fewest else "no attacks at all"
        yield Doubt(
            code="few_attacks",
            quantity="accuracy",
            message=f"the protocol has {number}, fewer than {FEW_PRESENTATIONS}",
            remedy="Use a protocol with more presentations; read the interval, not the rate.",
        )
    if accuracy.bpcer.trials < FEW_PRESENTATIONS:
        yield Doubt(
            code="few_bona_fide",
            quantity="accuracy",
            message=f"the protocol has {accuracy.bpcer.trials} bona fide presentations, fewer than {FEW_PRESENTATIONS}",
            remedy="Use a protocol with more presentations; read the interval, not the rate.",
        )
    presented = accuracy.bona_fide + accuracy.attacks + accuracy.failures_to_acquire
    if accuracy.failures_to_acquire > FAILED_SHARE * presented:
        yield Doubt(
            code="failures_to_acquire",
            quantity="accuracy",
            message=f"{accuracy.failures_to_acquire} of {presented} presentations gave no face to score",
            remedy="Check the face boxes of the data set.",
        )


def power_doubts(power: Power) -> Iterable[Doubt]:
    """The reasons to distrust what one meter showed."""
    drift = stats.idle_drift(power)
    if drift > IDLE_DRIFT:
        yield Doubt(
            code="idle_drift",
            quantity="power",
            message=f"{power.meter}: idle power moved by {units.percent(drift)} from before to after",
            remedy="Let the machine cool down and stop other programs.",
        )
    energy = stats.energy_per_run(power)
    if not energy.resolved:
        yield Doubt(
            code="energy_unresolved",
            quantity="power",
            message=f"{power.meter}: a run uses less than {units.energy(energy.limit_uj)} above idle; "
            "more cannot be told",
            remedy="Use a longer power window or a finer meter.",
        )
    elif energy.uncertainty_uj > ENERGY_UNCERTAINTY * energy.above_idle_uj:
        yield Doubt(
            code="energy_uncertain",
            quantity="power",
            message=f"{power.meter}: {units.energy(energy.above_idle_uj)} above idle "
            f"is known to ±{units.energy(energy.uncertainty_uj)} only",
            remedy="Use a longer power window.",
        )


def slower_than_float(records: Iterable[Record]) -> dict[str, Doubt]:
    """By record id: the int8 files whose median is above that of the fp32 file of the same net on the same machine.

    Only where the two intervals do not overlap. The message names what the record shows as the likely reason.
    """
    timed = [(record, record.speed) for record in records if isinstance(record.speed, Speed)]
    floats = {_kind(record): speed for record, speed in timed if record.variant.precision == "fp32"}
    found = {}
    for record, speed in timed:
        other = floats.get(_kind(record))
        if record.variant.precision != "int8" or other is None:
            continue
        confidence = record.plan.confidence
        quantised, real = (
            stats.hierarchical_interval([w.slices_ns for w in one.workers], confidence=confidence)
            for one in (speed, other)
        )
        if quantised.low <= real.high:
            continue
        ratio = stats.median(speed.runs_ns) / stats.median(other.runs_ns)
        found[record.id] = Doubt(
            code="slower_than_float",
            quantity="speed",
            message=f"int8 takes {units.ratio(ratio)} the time of fp32: {_why_slow(record)}",
            remedy="Ship the fp32 or fp16 file for this runtime, or quantise in a way that its kernels take.",
        )
    return found


def _kind(record: Record) -> tuple[object, ...]:
    """What must be alike for the times of two files to be compared."""
    variant, used = record.variant, record.runtime
    return (
        variant.net,
        variant.recipe,
        variant.format,
        used.runtime,
        used.version,
        used.threads,
        tuple(sorted(used.configuration.items())),
        record.machine.name,
    )


def _why_slow(record: Record) -> str:
    used = record.runtime
    if used.delegated_nodes is not None and used.nodes is not None and used.delegated_nodes < used.nodes:
        return f"the delegate took only {used.delegated_nodes} of {used.nodes} nodes"
    if not isinstance(record.weight, Absent):
        ops = {name.upper(): number for name, number in record.weight.ops.items()}
        casts = sum(
            ops.get(name, 0) for name in ("QUANTIZELINEAR", "DEQUANTIZELINEAR", "QUANTIZE", "DEQUANTIZE")
        )
        if casts:
            return f"{casts} of {sum(ops.values())} operators only convert between integer and float"
    return f"{used.runtime} has no faster integer kernels for this net on {record.machine.soc}, as far as the record shows"
