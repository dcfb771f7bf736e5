"""Does the native runner time what the Python worker times? Both on the same file and library, in turn.

    python benchmarks/runner.py FILE.onnx FILE.tflite ... [--rounds N]

In every round a fresh Python worker and a fresh runner stay loaded and take turns in short slices, in an
order drawn anew each time. Printed is runner / worker: of the medians slice by slice, with an interval over
rounds, and of the 5 % quantiles of whole rounds, which leave the bursts of a shared machine out. Beside it
stands worker / worker, the same ratio for a second Python worker in the same rounds: what it shows is noise.
The difference in microseconds tells a constant cost a run, such as that of Python's own calls, from one that
grows with the model. onnxruntime's wheel holds two builds, one inside Python's module and the shared library
that the runner loads: that the same nodes take a little longer in the first is no difference of the timing.
Building the runner needs the package ziglang.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from swapbench import stats, units
from swapbench.bench.workers import FileUnderTest, TimedWorker, time_together
from swapbench.devices.local import Local
from swapbench.records import Interval, Plan
from swapbench.runtimes.litert import LiteRT
from swapbench.runtimes.native.adapter import NativeLiteRT, NativeOnnxRuntime, installed_library
from swapbench.runtimes.native.build import build, this_computer
from swapbench.runtimes.ort import OnnxRuntime

WORKER, CONTROL, RUNNER = "worker", "second worker", "runner"
BOUND = 0.02
BOUND_ABOVE_NS = 1_000_000
"""The runner is to time what the worker times to 2 %, for models that take more than a millisecond."""


def files(path: Path, runner: Path) -> list[FileUnderTest]:
    """The file under the Python worker, twice, and under the runner."""
    if path.suffix == ".onnx":
        python, native, package = OnnxRuntime(), NativeOnnxRuntime, "onnxruntime"
    else:
        python, native, package = LiteRT(), NativeLiteRT, "ai-edge-litert"
    library = str(installed_library(python.name))
    ours = native(runner=str(runner), library=library, flavour="host", package=package)
    return [
        FileUnderTest(name, str(path), runtime)
        for name, runtime in ((WORKER, python), (CONTROL, python), (RUNNER, ours))
    ]


def measure(path: Path, runner: Path, rounds: int, plan: Plan) -> dict[str, list[TimedWorker]]:
    """Rounds of fresh processes in alternating slices, by name; raises the error of a process that failed."""
    taken: dict[str, list[TimedWorker]] = {}
    order = random.Random(plan.seed)
    for number in range(rounds):
        done = time_together(
            files(path, runner), Local(), plan, number, lambda names: order.sample(names, len(names))
        )
        for name, worker in done.items():
            if not isinstance(worker, TimedWorker):
                raise worker
            taken.setdefault(name, []).append(worker)
    return taken


def compared(path: Path, taken: dict[str, list[TimedWorker]], name: str, other: str) -> str:
    """One line: the ratio `name` / `other` by slices and by rounds."""
    medians, by_round, differences_us = [], [], []
    for one, two in zip(taken[name], taken[other], strict=True):
        pairs = [
            (stats.median(a), stats.median(b))
            for a, b in zip(one.times.slices_ns, two.times.slices_ns, strict=True)
        ]
        medians.append(stats.median([a / b for a, b in pairs]))
        differences_us += [(a - b) / 1000 for a, b in pairs]
        by_round.append(stats.quantile(one.times.runs_ns, 0.05) / stats.quantile(two.times.runs_ns, 0.05))
    middle, interval = stats.median(medians), stats.process_interval(medians)
    assert interval is not None, "one round has no interval: ask for more --rounds"
    times = [
        units.duration(stats.quantile([ns for one in taken[side] for ns in one.times.runs_ns], 0.05))
        for side in (name, other)
    ]
    return (
        f"{path.name}: {name} / {other} {middle:.4f} [{interval.low:.4f}, {interval.high:.4f}]"
        f"{_bound(interval, taken, name)}, {stats.median(differences_us):+.0f} µs a run; "
        f"5 % quantiles {times[0]} / {times[1]}, ratio {stats.median(by_round):.4f}, "
        f"rounds {min(by_round):.4f} to {max(by_round):.4f}"
    )


def _bound(interval: Interval, taken: dict[str, list[TimedWorker]], name: str) -> str:
    """Whether the runner keeps to the bound, in words, as far as the interval tells; "" for the control."""
    if name != RUNNER:
        return ""
    if stats.quantile([ns for one in taken[WORKER] for ns in one.times.runs_ns], 0.05) < BOUND_ABOVE_NS:
        return " (below 1 ms, where no bound holds)"
    low, high = interval.low - 1, interval.high - 1
    if max(abs(low), abs(high)) <= BOUND:
        return f" (within {BOUND:.0%})"
    return f" (BEYOND {BOUND:.0%})" if low > BOUND or high < -BOUND else f" (too noisy to tell {BOUND:.0%})"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="+", type=Path, help=".onnx and .tflite files")
    parser.add_argument("--rounds", type=int, default=6, help="fresh processes of each")
    parser.add_argument("--slices", type=int, default=12, help="slices of each in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    plan = Plan(slices_per_round=options.slices, threads=options.threads, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        runner = build(this_computer(), Path(folder))
        for path in options.files:
            taken = measure(path.resolve(), runner, options.rounds, plan)
            print(compared(path, taken, RUNNER, WORKER))
            print(compared(path, taken, CONTROL, WORKER), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
