"""What the web page shows of a record besides its row: latency samples, machine, and how to measure it again.

A detail is much smaller than its record, so that a page of thousands of records need not hold them all.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.records import THERMAL_STATUSES, Accuracy, Speed, Weight
from swapbench.report.rows.comparable import cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.records import Machine, PhoneState, Record, RuntimeUsed

    Pairs = tuple[tuple[str, str], ...]

SAMPLES_A_RECORD = 400
"""Latencies kept of one record: about as many as the curve has pixels across."""


@dataclass(frozen=True)
class Detail:
    """The detail of one record. Pairs are titles and texts, in the order in which they are shown.

    Attributes:
        command: The `swapbench run` that measures this file again.
        machine: What must be equal for two records to be compared.
        state: What the machine was doing when measuring began.
        ran: Runtime, versions and plan.
        facts: Section, title and text of each.
        runs: How many latencies were measured.
        samples_ns: At most SAMPLES_A_RECORD of these latencies, sorted; see `thinned`.
    """

    run: str
    record_id: str
    file: str
    sha256: str
    command: str
    machine: Pairs
    state: Pairs
    ran: Pairs
    facts: tuple[tuple[str, str, str], ...]
    runs: int
    samples_ns: tuple[int, ...]


def detail_of(record: Record) -> Detail:
    """The detail of one record."""
    runs_ns = _runs_ns(record)
    facts = (
        ("speed", "Stopped because", _stopped(record)),
        ("weight", "Remarks on the file", "; ".join(record.remarks)),
        ("weight", "Operators", _ops(record)),
        ("weight", "Operators not counted in MACs", _uncounted(record)),
        ("accuracy", "Intervals", _accuracy_intervals(record)),
        ("accuracy", "Training", _training(record)),
    )
    return Detail(
        run=record.run,
        record_id=record.id,
        file=record.artifact,
        sha256=record.artifact_sha256,
        command=command(record),
        machine=_machine(record.machine, record.runtime),
        state=_state(record.machine),
        ran=_ran(record),
        facts=tuple(fact for fact in facts if fact[2]),
        runs=len(runs_ns),
        samples_ns=thinned(sorted(runs_ns), SAMPLES_A_RECORD),
    )


def thinned(ordered: Sequence[int], at_most: int) -> tuple[int, ...]:
    """At most `at_most` of n sorted values, evenly spaced by rank: those at i (n - 1) // (at_most - 1)."""
    if len(ordered) <= at_most:
        return tuple(ordered)
    return tuple(ordered[i * (len(ordered) - 1) // (at_most - 1)] for i in range(at_most))


def _runs_ns(record: Record) -> list[int]:
    if not isinstance(record.speed, Speed):
        return []
    return [ns for worker in record.speed.workers for latencies in worker.slices_ns for ns in latencies]


def command(record: Record) -> str:
    """The `swapbench run` that measures this file again, as one line for a POSIX shell.

    A file that swapbench did not build is given by its own name. Data other than the simulated set appear as
    a word in capitals, because a record holds their name and digest but not their folder.
    """
    variant, plan = record.variant, record.plan
    words = ["swapbench", "run"]
    if record.card is None or variant.precision == "unknown":
        words.append(record.artifact)
    else:
        model = f"{variant.net}.{variant.recipe}" if variant.recipe else variant.net
        words += ["--models", model, "--precision", variant.precision, "--format", variant.format]
    for name, shape in record.shapes.items():
        words += ["--shape", f"{name}={','.join(map(str, shape))}"]
    runtime = record.runtime.runtime
    delegate = re.fullmatch(r"(?:benchmark_model|litert)-(\w+)", runtime)
    words += ["--runtime", "litert" if delegate else runtime, "--device", record.machine.name]
    words += ["--delegate", delegate[1]] if delegate else []
    core_kind = cores(record.machine, record.runtime)
    if core_kind is not None:
        words += ["--cores", "CORES" if core_kind == "chosen" else core_kind]
    words += ["--fps", f"{plan.fps:g}"] if plan.fps is not None else []
    words += ["--threads", str(plan.threads), "--target", f"{plan.target_relative_half_width:g}"]
    words += ["--budget", f"{plan.time_budget_s:g}", "--seed", str(plan.seed)]
    if not isinstance(record.accuracy, Accuracy):
        words.append("--no-accuracy")
    elif not record.accuracy.simulated:
        words += ["--data", "FOLDER_OF_THE_DATA"]
    return shlex.join(words)


def _machine(machine: Machine, used: RuntimeUsed) -> Pairs:
    """The identity of the machine: what must be equal for two records to be compared."""
    numbers = ", ".join(map(str, used.core_numbers))
    facts = {
        "Name": machine.name,
        "Device": machine.device,
        "Processor": machine.soc,
        "System": machine.system,
        "ABI": machine.abi,
        "Logical cores": str(machine.logical_cores),
        "Memory": f"{machine.memory_bytes / 2**30:.1f} GiB",
        "Governor": machine.governor or "",
        "Emulated": "yes" if machine.emulated else "",
        "Held to": f"{cores(machine, used)} cores ({numbers})" if numbers else "",
        "Libraries": used.settings.get("flavour", ""),
        "Scheduled as": _scheduled_as(machine.state),
    }
    return tuple((name, text) for name, text in facts.items() if text)


def _scheduled_as(state: PhoneState | None) -> str:
    """What a phone ran the file as; "" for other devices."""
    if state is None:
        return ""
    clamps = (state.clamp_min_percent, state.clamp_max_percent)
    groups = (
        state.cpuset and f"cpuset {state.cpuset}",
        state.cpu_group and f"cpu group {state.cpu_group}",
        None in clamps or f"uclamp {clamps[0]:g} to {clamps[1]:g} %",
    )
    told = ", ".join(group for group in groups if isinstance(group, str) and group)
    return (
        f"a program of adb's shell{f' ({told})' if told else ''}, which Android may schedule otherwise "
        "than an app in the foreground: --cores fixes its cores, and only a run in the app tells its times"
    )


def _state(machine: Machine) -> Pairs:
    """What the machine was doing when measuring began."""
    facts = {
        "Load, 1 min": machine.load_1min,
        "Busy cores": machine.busy_cores,
        "Temperature, °C": machine.temperature_c,
        "On battery": machine.on_battery,
        "Mean clock while measured": _mean_clocks(machine),
        **_phone_state("before", machine.state_before),
        **_phone_state("after", machine.state),
    }
    return tuple((name, _state_text(value)) for name, value in facts.items() if value is not None)


def _state_text(value: str | bool | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"


def _mean_clocks(machine: Machine) -> str | None:
    """At what frequency a phone's cores were, asleep or not; None where it does not tell."""
    if machine.state is None or machine.state_before is None:
        return None
    earlier = {cluster.cores: cluster for cluster in machine.state_before.clusters}
    means = (
        (cluster.cores, cluster.mean_khz_since(earlier[cluster.cores]))
        for cluster in machine.state.clusters
        if cluster.cores in earlier
    )
    told = [
        f"cores {', '.join(map(str, cores))} {khz / 1000:.0f} MHz" for cores, khz in means if khz is not None
    ]
    return "; ".join(told) or None


def _phone_state(when: str, state: PhoneState | None) -> dict[str, str | None]:
    """What makes a phone faster or slower, as one line of text; {} for other devices."""
    if state is None:
        return {}
    saver, charging, screen = (
        None if flag is None else f"{name} {'on' if flag else 'off'}"
        for name, flag in (
            ("battery saver", state.battery_saver),
            ("charging", state.charging),
            ("screen", state.screen_on),
        )
    )
    parts = (
        None if state.thermal_status is None else f"thermal status {THERMAL_STATUSES[state.thermal_status]}",
        None if state.surface_c is None else f"surface {state.surface_c:g} °C",
        None if state.thermal_headroom is None else f"thermal headroom {state.thermal_headroom:g}",
        None if state.battery_percent is None else f"battery {state.battery_percent} %",
        charging,
        saver,
        screen,
    )
    return {f"Phone, {when}": ", ".join(part for part in parts if part) or None}


def _ran(record: Record) -> Pairs:
    """Runtime, versions and plan: what else is needed to repeat the measurement."""
    used, plan = record.runtime, record.plan
    delegated = "" if used.delegated_nodes is None else f"{used.delegated_nodes} of {used.nodes} graph nodes"
    rounds = f"{plan.min_rounds} to {plan.max_rounds}"
    facts = {
        "Runtime": f"{used.runtime} {used.version} ({used.package})",
        "Providers": ", ".join(used.providers),
        "Delegated": delegated,
        "Settings": ", ".join(f"{name}: {value}" for name, value in used.settings.items()),
        "Packages": ", ".join(f"{name} {version}" for name, version in record.machine.packages.items()),
        "Rounds": f"{rounds}, {plan.slices_per_round} slices of {units.duration(plan.slice_ns)} each",
        "Warm-up": f"{plan.warmup_runs} runs and {units.duration(plan.warmup_ns)}",
        "Time budget": f"{plan.time_budget_s:g} s for all files of the run",
        "Record schema": str(record.schema_version),
    }
    return tuple((name, text) for name, text in facts.items() if text)


def _stopped(record: Record) -> str:
    reasons = {
        "target": "the interval was narrow enough",
        "budget": "the time was spent",
        "rounds": "all rounds were done",
    }
    return reasons[record.speed.stopped] if isinstance(record.speed, Speed) else ""


def _ops(record: Record) -> str:
    ops = record.weight.ops if isinstance(record.weight, Weight) else {}
    return ", ".join(f"{count} {name}" for name, count in ops.items())


def _uncounted(record: Record) -> str:
    return ", ".join(record.weight.uncounted_ops) if isinstance(record.weight, Weight) else ""


def _accuracy_intervals(record: Record) -> str:
    if not isinstance(record.accuracy, Accuracy):
        return ""
    accuracy = record.accuracy
    intervals = {
        "ACER": accuracy.acer_interval,
        "BPCER": accuracy.bpcer.interval if accuracy.bpcer is not None else None,
        "AUC": accuracy.auc_interval,
    }
    return "; ".join(
        f"{name}: {100 * interval.confidence:g} %, {interval.method}"
        for name, interval in intervals.items()
        if interval
    )


def _training(record: Record) -> str:
    training = record.card.training if record.card else None
    if training is None:
        return ""
    simulated = " (simulated)" if training.simulated_data else ""
    return f"{training.command}, seed {training.seed}, data {training.data}{simulated}"
