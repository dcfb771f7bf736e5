"""Records made by hand for the tests of tables and figures: every number in them can be followed on paper."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from swapbench.records import (
    Absent,
    Accuracy,
    CostSummary,
    CounterRead,
    Decision,
    DecisionCost,
    Doubt,
    Interval,
    Machine,
    Member,
    Parity,
    PeakMemory,
    Plan,
    Power,
    Proportion,
    Record,
    RuntimeUsed,
    Speed,
    System,
    Variant,
    Weight,
    WorkerTimes,
)

MACHINE = Machine(
    name="bench-1",
    device="local",
    system="Linux 6.8",
    abi="x86_64",
    soc="Example CPU",
    logical_cores=4,
    memory_bytes=8 * 2**30,
    governor="performance",
)
NOT_MEASURED_ENERGY = Absent(
    absent="this machine has no energy counter that may be read",
    remedy="sudo chmod a+r /sys/class/powercap/*/energy_uj",
)
NOT_SCORED = Absent(absent="no data set was given", remedy="Give one with --data")
RUNTIMES = {"onnx": ("onnxruntime", "1.31.0"), "tflite": ("litert", "2.3.0")}


def speed(fastest_ns: int, step_ns: int, runs: int = 100, workers: int = 10, slices: int = 2) -> Speed:
    """Runs of fastest_ns, fastest_ns + step_ns, ... dealt to the workers, and theirs to slices, in turn.

    Of 100 steps ten workers hold 0, 10 .. 90; 1, 11 .. 91; and so on: their medians are 40 to 49 steps.
    """
    samples = [fastest_ns + step_ns * k for k in range(runs)]
    hands = [samples[w::workers] for w in range(workers)]
    return Speed(
        workers=tuple(
            WorkerTimes(
                round=w,
                load_ns=5_000_000 + w,
                first_ns=3_000_000 + w,
                warmup_runs=5,
                slices_ns=tuple(tuple(hand[i::slices]) for i in range(slices)),
                cpu_ns=sum(hand),
            )
            for w, hand in enumerate(hands)
        ),
        input="sample",
        stopped="target",
    )


def weight(file_bytes: int, params: int, macs: int, peak_bytes: int | None = 60_000_000) -> Weight:
    return Weight(
        file_bytes=file_bytes,
        params=params,
        macs=macs,
        peak_memory=Absent(absent="the memory pass failed", remedy="Run it again")
        if peak_bytes is None
        else PeakMemory(
            before_load_bytes=40_000_000, peak_bytes=peak_bytes, kind="resident set of a fresh process"
        ),
    )


def proportion(errors: int, trials: int, low: float, high: float) -> Proportion:
    return Proportion(errors=errors, trials=trials, interval=Interval(low=low, high=high, method="by hand"))


def accuracy(
    species: dict[str, tuple[int, int]],
    bona_fide_errors: int,
    bona_fide: int,
    *,
    simulated: bool = True,
    **more: Any,
) -> Accuracy:
    """Errors by hand; intervals are the rate minus and plus one hundredth, held in 0..1."""

    def around(errors: int, trials: int) -> Proportion:
        rate = errors / trials
        return proportion(errors, trials, max(rate - 0.01, 0.0), min(rate + 0.01, 1.0))

    by_species = {name: around(*counts) for name, counts in species.items()}
    bpcer = around(bona_fide_errors, bona_fide)
    apcer = max(one.rate for one in by_species.values())
    acer = (apcer + bpcer.rate) / 2
    fields: dict[str, Any] = {
        "dataset": "made",
        "dataset_digest": "0123456789abcdef",
        "simulated": simulated,
        "protocol": "intra",
        "threshold": 0.5,
        "threshold_rule": "equal error rate on the development split",
        "apcer_by_species": by_species,
        "bpcer": bpcer,
        "apcer": apcer,
        "acer": acer,
        "acer_interval": Interval(low=max(acer - 0.02, 0.0), high=min(acer + 0.02, 1.0), method="by hand"),
        "eer": acer,
        "auc": 1 - acer,
        "dev_eer": 0.0,
        "failures_to_acquire": 0,
        "bona_fide": bona_fide,
        "attacks": sum(trials for _, trials in species.values()),
        "scores_sha256": "ab" * 32,
        "invoke_ns": 1_000_000,
        "pass_ns": 2_000_000,
    }
    return Accuracy(**(fields | more))


def power(busy_uj: int, runs: int, meter: str = "rapl", scope: str = "package") -> tuple[Power, ...]:
    """Ten seconds each of idle at 1 W, busy, idle at 1 W."""
    idle = (CounterRead(counter="package-0", used_uj=10_000_000, window_ns=10_000_000_000),)
    busy = (CounterRead(counter="package-0", used_uj=busy_uj, window_ns=10_000_000_000),)
    return (
        Power(
            meter=meter,
            scope=scope,
            resolution_uj=61,
            update_ns=1_000_000,
            idle_before=idle,
            busy=busy,
            idle_after=idle,
            runs=runs,
        ),
    )


def doubt(
    code: str = "wide_interval", message: str = "the interval is wide", remedy: str = "Measure longer"
) -> Doubt:
    return Doubt(code=code, quantity="speed", message=message, remedy=remedy)


def record(net: str = "net", precision: str = "fp32", form: str = "onnx", **more: Any) -> Record:
    """A record in which everything is measured except energy; `more` replaces whole fields."""
    runtime, version = RUNTIMES[form]
    recipe = more.pop("recipe", None)
    variant = Variant(net=net, recipe=recipe, precision=precision, format=form)  # type: ignore[arg-type]
    file_name = re.sub(r"/|^\\", "_", variant.file_name)
    minute = more.pop("minute", 0)
    fields: dict[str, Any] = {
        "id": f"{file_name}-{runtime}-{minute}",
        "time": datetime(2026, 11, 21, 10, 0, tzinfo=UTC) + timedelta(minutes=minute),
        "run": "demo",
        "variant": variant,
        "artifact": file_name,
        "artifact_sha256": "cd" * 32,
        "card": None,
        "runtime": RuntimeUsed(
            runtime=runtime, version=version, package=runtime, providers=("CPUExecutionProvider",), threads=1
        ),
        "plan": Plan(),
        "machine": MACHINE,
        "speed": speed(1_000_000, 10_000),
        "weight": weight(2_000_000, 500_000, 40_000_000),
        "accuracy": accuracy({"print": (2, 100), "replay": (4, 100)}, 1, 50),
        "power": NOT_MEASURED_ENERGY,
        "parity": Parity(
            samples=200,
            max_abs_difference=0.001,
            mean_abs_difference=0.0001,
            correlation=1.0,
            decision_flips=0,
            threshold=0.5,
            tolerance={"max_abs_difference": 0.01},
        ),
        "doubts": (),
    }
    return Record(**(fields | more))


def decision(mean_ns: float) -> Decision:
    """Of two files that are asked together once about each presentation."""
    cost = CostSummary(presentations=250, mean=mean_ns, p90=mean_ns, worst=mean_ns)
    costs = DecisionCost(all=cost, bona_fide=cost, species={"print": cost, "replay": cost})
    absent = Absent(absent="no member has any")
    return Decision(
        system=System(name="pair", members=(Member(file="a.onnx"), Member(file="b.onnx"))),
        basis="computed",
        members=(),
        time_ns=costs,
        energy_uj=absent,
        frames=costs,
        latency_ns=absent,
    )


def demo(*, errors: bool = True, simulated: bool = True) -> list[Record]:
    """Twelve records as the demonstration makes them: two networks, two formats, three precisions."""
    base_ns = {
        "resnet18_map": {"onnx": 14_000_000, "tflite": 17_500_000},
        "minifasnet_v2": {"onnx": 1_350_000, "tflite": 1_900_000},
    }
    pace = {"fp32": 1.0, "fp16": 1.06, "int8": 0.52}
    file_bytes = {"resnet18_map": 44_700_000, "minifasnet_v2": 1_746_956}
    shrunk = {"fp32": 1.0, "fp16": 0.5, "int8": 0.26}
    wrong = {
        "resnet18_map": {"fp32": 3, "fp16": 3, "int8": 5},
        "minifasnet_v2": {"fp32": 9, "fp16": 9, "int8": 14},
    }
    records = []
    for net, formats in base_ns.items():
        for form, ns in formats.items():
            for place, (precision, factor) in enumerate(pace.items()):
                count = wrong[net][precision] if errors else 0
                fast_ns = int(ns * factor)
                records.append(
                    record(
                        net,
                        precision,
                        form,
                        minute=place,
                        speed=speed(fast_ns, fast_ns // 700, runs=800),
                        weight=weight(
                            int(file_bytes[net] * shrunk[precision]),
                            11_170_000 if net == "resnet18_map" else 434_000,
                            1_820_000_000 if net == "resnet18_map" else 40_720_000,
                            90_000_000 + file_bytes[net],
                        ),
                        accuracy=accuracy(
                            {"print": (count, 400), "replay": (count // 2, 400)},
                            count // 3,
                            400,
                            simulated=simulated,
                        ),
                        doubts=(doubt(message=f"the interval is {len(records)} % wide"),)
                        if precision == "int8"
                        else (),
                    )
                )
    return records
