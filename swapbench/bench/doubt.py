"""Reasons to distrust a record, and what to do about them: pure functions of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench import stats, units
from swapbench.bench.steadiness import phone_doubts
from swapbench.hindrances import hindrances
from swapbench.pad.agreement import broken_limits, unjudged
from swapbench.records import NOTHING_TO_COMPARE, Absent, Doubt, Speed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swapbench.bench.draft import Draft
    from swapbench.records import Accuracy, Machine, Parity, Plan, Power, Record, RuntimeUsed, Variant

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


def doubts(record: Record | Draft) -> tuple[Doubt, ...]:
    """The reasons to distrust a record, each with what to do about it; its own list of doubts is not used.

    An absent quantity carries its own reason and is no doubt about the others, except speed, which every
    device can measure. Simulated data is a property of the dataset, not a doubt.
    """
    reasons = [*_run_doubts(record.machine, record.runtime)]
    if isinstance(record.speed, Absent):
        absent = record.speed
        reasons.append(Doubt(code="no_speed", quantity="speed", message=absent.absent, remedy=absent.remedy))
    else:
        reasons += _speed_doubts(record.plan, record.speed)
    if not isinstance(record.weight, Absent) and record.weight.uncounted_ops:
        reasons.append(
            Doubt(
                code="uncounted_ops",
                quantity="weight",
                message=f"the MACs do not include {', '.join(record.weight.uncounted_ops)}",
                remedy="Read the MACs as a lower bound.",
            )
        )
    if not isinstance(record.accuracy, Absent):
        reasons += _accuracy_doubts(record.accuracy)
        reasons += _saturation_doubts(record.variant, record.runtime, record.machine)
    reasons += parity_doubts(record.parity)
    if not isinstance(record.device_parity, Absent):
        reasons += _device_parity_doubts(record.device_parity)
    if not isinstance(record.power, Absent):
        for power in record.power:
            reasons += power_doubts(power)
    return tuple(reasons)


def _saturation_doubts(variant: Variant, used: RuntimeUsed, machine: Machine) -> Iterable[Doubt]:
    if machine.int8_saturates and variant.precision == "int8" and used.runtime == "onnxruntime":
        yield Doubt(
            code="int8_saturates",
            quantity="accuracy",
            message="this processor has no VNNI: its products of uint8 and int8 saturate in onnxruntime, "
            "so the scores may differ from those on other processors",
            remedy="Score on the processor that the file is meant for, or quantise it with reduce_range.",
        )


def parity_doubts(parity: Parity | Absent) -> Iterable[Doubt]:
    """The reasons to distrust that a file computes what its network computes, its errors being its own."""
    if isinstance(parity, Absent):
        if parity == NOTHING_TO_COMPARE:
            yield _unjudged(parity.absent, parity.remedy)
        return
    reason = unjudged(parity)
    if reason:
        yield _unjudged(reason, "Take a development split with more frames of both classes.")
    broken = broken_limits(parity)
    share = parity.decision_flips / parity.samples
    if broken:
        yield Doubt(
            code="differs_from_network",
            quantity="accuracy",
            message=f"the file differs from its PyTorch network: {_differences(parity)}; {'; '.join(broken)}",
            remedy="Freeze the threshold on this file's own scores, as was done here, compare its error "
            "rates with those of fp32, and prefer fp16 where it does not keep them.",
        )
    elif share > FLIPPED_SHARE:
        yield Doubt(
            code="decisions_flipped",
            quantity="accuracy",
            message=f"{units.percent(share)} of the decisions differ from those of the PyTorch network"
            f" at its threshold ({parity.decision_flips} of {parity.samples})",
            remedy="Freeze the threshold on this file's own scores, as was done here, "
            "and compare its error rates with those of fp32.",
        )


def _unjudged(reason: str, remedy: str) -> Doubt:
    return Doubt(
        code="parity_unjudged",
        quantity="accuracy",
        message=f"whether the file computes what its PyTorch network computes could not be judged: {reason}",
        remedy=remedy,
    )


def _differences(parity: Parity) -> str:
    """How far the scores of a quantised file are from its network's: decisions, ranks, logits."""
    parts = [f"{parity.decision_flips} of {parity.samples} decisions flip"]
    if parity.rank_correlation is not None:
        parts.append(f"rank correlation {parity.rank_correlation:.3f}")
    if parity.logit_error is not None:
        parts.append(f"logit error {units.percent(parity.logit_error)} of the logits' spread")
    return ", ".join(parts)


def _device_parity_doubts(parity: Parity) -> Iterable[Doubt]:
    broken = broken_limits(parity)
    if not broken and parity.decision_flips > FLIPPED_SHARE * parity.samples:
        broken = [f"{parity.decision_flips} of {parity.samples} decisions flip"]
    if broken:
        yield Doubt(
            code="differs_from_desktop",
            quantity="accuracy",
            message=f"the device's scores differ from this computer's: {'; '.join(broken)}",
            remedy="Try another version of the runtime on the device, or another precision. "
            "The error rates hold for this device only.",
        )


def _run_doubts(machine: Machine, used: RuntimeUsed) -> Iterable[Doubt]:
    if machine.emulated:
        yield Doubt(
            code="emulated_device",
            quantity="run",
            message="the device is emulated, so its times and energy are not those of a real device",
            remedy="Measure on a real device.",
        )
    cores = f"{machine.logical_cores} core{'s' * (machine.logical_cores > 1)}"
    load = f"a load of {machine.load_1min:.2g} on {cores}" if machine.load_1min is not None else ""
    most, busy = LOAD_A_CORE * machine.logical_cores, machine.load_1min
    if machine.busy_cores is not None:  # the load average still includes our own work of a minute ago
        load, busy = f"{machine.busy_cores:.2g} busy, {cores} to use", machine.busy_cores
        most = BUSY_A_CORE * machine.logical_cores
    if busy is not None and busy > most:
        yield Doubt(
            code="other_load",
            quantity="run",
            message=f"other programs were using the machine ({load})",
            remedy="Stop other programs, wait a minute and measure again.",
        )
    usable = len(used.core_numbers) or machine.logical_cores
    crowded = crowding(used.threads, usable)
    if crowded:
        yield Doubt(
            code="threads_over_cores",
            quantity="speed",
            message=crowded,
            remedy=f"Measure with --threads {usable}, or let the process use more cores.",
        )
    yield from phone_doubts(machine)
    if machine.on_battery and machine.state is None:  # a phone may be, and `phone_doubts` looks at its supply
        yield Doubt(
            code="on_battery",
            quantity="run",
            message="the machine ran on its battery and may have lowered its clock frequency",
            remedy="Plug it in.",
        )
    if used.package in {"tflite-runtime", "tflite_runtime"}:  # the latter in older records
        yield Doubt(
            code="old_runtime",
            quantity="run",
            message=f"tflite-runtime {used.version} ran the file, which is no longer maintained",
            remedy="Measure its successor too, unless this is what ships: pip install ai-edge-litert",
        )
    if used.delegated_nodes is not None and used.nodes is not None and used.delegated_nodes < used.nodes:
        yield Doubt(
            code="partial_delegate",
            quantity="speed",
            message=f"the delegate took {used.delegated_nodes} of {used.nodes} nodes; "
            "the others ran in the built-in kernels",
            remedy="Export the file with operators that the delegate supports, or state this mixture.",
        )


def crowding(threads: int, cores: int) -> str:
    """What is wrong with so many threads on so many cores; empty where each thread has its own."""
    if threads <= cores:
        return ""
    return f"{threads} threads shared {cores} core{'s' * (cores > 1)} and waited for each other"


def _speed_doubts(plan: Plan, speed: Speed) -> Iterable[Doubt]:
    if len(speed.workers) < plan.min_rounds:
        yield Doubt(
            code="too_few_workers",
            quantity="speed",
            message=f"only {len(speed.workers)} of at least {plan.min_rounds} worker processes were timed",
            remedy="Let the run finish.",
        )
    estimate = stats.typical(speed.workers, confidence=plan.confidence)
    interval = None if estimate is None else estimate.interval
    width = 0.0 if interval is None else stats.relative_half_width(interval)
    if width > plan.target_relative_half_width:
        why = {"budget": " when the time was up", "rounds": " after the last round"}.get(speed.stopped, "")
        yield Doubt(
            code="wide_interval",
            quantity="speed",
            message=f"the interval of the median was still ±{units.percent(width)}{why}; "
            f"the target is ±{units.percent(plan.target_relative_half_width)}",
            remedy="Allow more time or rounds, or measure on a quieter machine.",
        )
    medians = [stats.median(worker.runs_ns) for worker in speed.workers]
    if len(medians) > 1 and max(medians) > WORKERS_RATIO * min(medians):
        yield Doubt(
            code="workers_disagree",
            quantity="speed",
            message=f"the median of the slowest process is {units.ratio(max(medians) / min(medians))}"
            " that of the fastest",
            remedy="Fix the clock frequency, stop other programs, or measure more rounds.",
        )
    runs = speed.runs_ns
    tail = stats.quantile(runs, 0.9) / stats.median(runs)
    if tail > TAIL_RATIO:
        yield Doubt(
            code="heavy_tail",
            quantity="speed",
            message=f"one run in ten takes more than {units.ratio(tail)} the median",
            remedy="Look for other programs or throttling, and report a low quantile beside the median.",
        )
    cpu_ns = [worker.cpu_ns for worker in speed.workers if worker.cpu_ns is not None]
    share = sum(cpu_ns) / sum(runs)
    if plan.threads == 1 and len(cpu_ns) == len(speed.workers) and share < CPU_SHARE:
        yield Doubt(
            code="waited_for_cpu",
            quantity="speed",
            message=f"the worker was on the CPU for only {units.percent(share)} of its run time",
            remedy="Stop other programs. Ignore this if an accelerator does the work.",
        )


def _accuracy_doubts(accuracy: Accuracy) -> Iterable[Doubt]:
    species, fewest = min(
        ((f" of species {name}", errors.trials) for name, errors in accuracy.apcer_by_species.items()),
        key=lambda item: item[1],
        default=("", accuracy.attacks),
    )
    if fewest < FEW_PRESENTATIONS:
        attacks = f"{fewest or 'no'} attack{'s' * (fewest != 1)}{species}"
        yield Doubt(
            code="few_attacks",
            quantity="accuracy",
            message=f"the protocol has {attacks}, fewer than {FEW_PRESENTATIONS}",
            remedy="Use a protocol with more presentations, and read the interval rather than the rate.",
        )
    if accuracy.bona_fide < FEW_PRESENTATIONS:
        yield Doubt(
            code="few_bona_fide",
            quantity="accuracy",
            message=f"the protocol has {accuracy.bona_fide} bona fide"
            f" presentation{'s' * (accuracy.bona_fide != 1)}, "
            f"fewer than {FEW_PRESENTATIONS}",
            remedy="Use a protocol with more presentations, and read the interval rather than the rate.",
        )
    presented = accuracy.bona_fide + accuracy.attacks + accuracy.failures_to_acquire
    if accuracy.failures_to_acquire > FAILED_SHARE * presented:
        yield Doubt(
            code="failures_to_acquire",
            quantity="accuracy",
            message=f"{accuracy.failures_to_acquire} of {presented} presentations have no score"
            + "".join(f"; {group.sentence}" for group in accuracy.failed_frames[:3]),
            remedy="Check the frames and the face boxes of the dataset.",
        )
    yield from _separation_doubts(accuracy)


def _separation_doubts(accuracy: Accuracy) -> Iterable[Doubt]:
    """What the interval of the AUC says by itself; `card_check` may know the reason."""
    interval = accuracy.auc_interval
    if interval is None or interval.low > 0.5:
        return
    area = f"AUC {accuracy.auc:.2f}, interval {interval.low:.2f} to {interval.high:.2f}"
    if interval.high < 0.5:
        yield Doubt(
            code="worse_than_chance",
            quantity="accuracy",
            message=f"attacks score higher than bona fide presentations ({area})",
            remedy="Look at bona_fide_index or higher_is in the output section of the card;"
            " `swapbench card FILE --data FOLDER` tries them.",
        )
    else:
        yield Doubt(
            code="classes_not_separated",
            quantity="accuracy",
            message=f"the scores do not tell bona fide presentations from attacks: chance alone may give this"
            f" ({area})",
            remedy="Look at the card (`swapbench card FILE --data FOLDER` tries others), or use more"
            " presentations, or data that resemble the network's.",
        )


def power_doubts(power: Power) -> Iterable[Doubt]:
    """The reasons to distrust what one meter measured."""
    drift = stats.idle_drift(power)
    if drift > IDLE_DRIFT:
        yield Doubt(
            code="idle_drift",
            quantity="power",
            message=f"{power.meter}: idle power changed by {units.percent(drift)} during the run",
            remedy="Let the machine cool down and stop other programs.",
        )
    energy = stats.energy_per_run(power)
    if not energy.resolved:
        yield Doubt(
            code="energy_unresolved",
            quantity="power",
            message=f"{power.meter}: a run uses less than {units.energy(energy.limit_uj)} above idle, "
            "too little to resolve",
            remedy="Use a longer power window or a finer meter.",
        )
    elif energy.uncertainty_uj > ENERGY_UNCERTAINTY * energy.above_idle_uj:
        yield Doubt(
            code="energy_uncertain",
            quantity="power",
            message=f"{power.meter}: the energy above idle is only known as "
            f"{units.energy(energy.above_idle_uj)} ± {units.energy(energy.uncertainty_uj)}",
            remedy="Use a longer power window.",
        )


def slower_than_float(records: Iterable[Record | Draft]) -> dict[str, Doubt]:
    """By record id, a doubt about integer files slower than the fp32 file of the same net and machine.

    Only where the intervals of the two medians do not overlap. The message names the likely reason.
    """
    timed = [(record, record.speed) for record in records if isinstance(record.speed, Speed)]
    floats = {_pairing(record): speed for record, speed in timed if record.variant.precision == "fp32"}
    slower = {}
    for record, speed in timed:
        float_speed = floats.get(_pairing(record))
        precision = record.variant.precision
        if not precision.startswith("int") or float_speed is None:
            continue
        confidence = record.plan.confidence
        integer, fp32 = (
            stats.typical(times.workers, confidence=confidence) for times in (speed, float_speed)
        )
        if integer is None or fp32 is None or integer.interval is None or fp32.interval is None:
            continue
        if integer.interval.low <= fp32.interval.high:
            continue
        ratio = integer.value_ns / fp32.value_ns
        slower[record.id] = Doubt(
            code="slower_than_float",
            quantity="speed",
            message=f"{precision} takes {units.ratio(ratio)} the time of fp32: {_why_slow(record)}",
            remedy="Use the fp32 or fp16 file with this runtime, or a quantisation that its kernels support.",
        )
    return slower


def _pairing(record: Record | Draft) -> tuple[object, ...]:
    """What must be the same for the times of an integer and an fp32 file to be compared."""
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


def _why_slow(record: Record | Draft) -> str:
    used = record.runtime
    ops = {} if isinstance(record.weight, Absent) else record.weight.ops
    profile = None if isinstance(record.operators, Absent) else record.operators
    found = hindrances(record.variant.precision, used, ops, profile)
    if found:
        return "; ".join(found)
    if profile is None:
        return "why is not known, because its operators were not profiled (swapbench run --profile)"
    return f"no operator of it fell back or only converts; {used.runtime} is not faster in integers here"
