"""Is the gate right on this machine? Whole gates of a real file against itself and slowed copies of it.

    python benchmarks/gate_selftest.py FILE.onnx [--gates 30] [--slower 0.05 0.02]

The slowed copies compute the same scores and a convolution besides, whose width is set by a longer paired
measurement until it costs the wanted share of time. Three questions: how often does a gate of a file against
itself FAIL; how often while a competing load is switched on and off; how often does a gate see the slowed
copy. Only the timings' verdicts are counted: more parameters and a larger file would give the copy away. Ends
with 1 where a file against itself fails.
"""

from __future__ import annotations

import argparse
import collections
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from swapbench import bench
from swapbench.catalog import Folders
from swapbench.commands.gate import GateRequest, gate
from swapbench.devices.local import Local
from swapbench.runtimes.ort import OnnxRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

CALIBRATION_ROUNDS = 12
TOGGLE_S = 3.0


def slowed(path: Path, width: int, out: Path) -> Path:
    """A copy with the same first output that also computes a 3x3 convolution of `width` channels."""
    model = onnx.load(path)
    graph = model.graph
    given, output = graph.input[0], graph.output[0].name
    kernel = np.random.default_rng(0).random((width, 3, 3, 3), np.float32)
    graph.initializer.extend(
        [
            numpy_helper.from_array(kernel, "slow_kernel"),
            numpy_helper.from_array(np.zeros(1, np.float32), "slow_0"),
        ]
    )
    for node in graph.node:
        node.output[:] = [f"{name}_fast" if name == output else name for name in node.output]
    graph.node.extend(
        [
            helper.make_node("Conv", [given.name, "slow_kernel"], ["slow_map"]),
            helper.make_node("ReduceMax", ["slow_map"], ["slow_max"], keepdims=0),
            helper.make_node("Mul", ["slow_max", "slow_0"], ["slow_nothing"]),
            helper.make_node("Add", [f"{output}_fast", "slow_nothing"], [output]),
        ]
    )
    assert given.type.tensor_type.elem_type == TensorProto.FLOAT, "a float file is needed"
    onnx.save(model, out)
    return out


def measured_change(first: Path, second: Path) -> float:
    """How much longer the second file takes, by the median of paired rounds."""
    files = [bench.FileUnderTest(one.name, str(one), OnnxRuntime()) for one in (first, second)]
    times = bench.measure_rounds(*files, Local(), bench.PAIRED_PLAN, CALIBRATION_ROUNDS)
    return math.expm1(statistics.median(bench.log_ratios(times.rounds)[0]))


def copy_slower_by(path: Path, wanted: float, folder: Path) -> tuple[Path, float]:
    """A slowed copy and by how much it is, measured anew after two steps towards the wanted share."""
    width, change = 16, 0.0
    for _ in range(3):
        copy = slowed(path, width, folder / f"slower{wanted:g}.onnx")
        change = measured_change(path, copy)
        if abs(change - wanted) < 0.1 * wanted:
            break
        width = max(1, round(width * wanted / max(change, wanted / 8)))
    return copy, change


@contextmanager
def toggled_load() -> Iterator[None]:
    """One process that computes for some seconds and sleeps for as long, until the block ends."""
    over = threading.Event()

    def toggle() -> None:
        while not over.is_set():
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            over.wait(TOGGLE_S)
            busy.kill()
            busy.wait()
            over.wait(TOGGLE_S)

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def gates(baseline: Path, candidate: Path, count: int) -> tuple[collections.Counter[str], list[float]]:
    """The verdict on the timings of so many gates, and how long each took."""
    outcomes: collections.Counter[str] = collections.Counter()
    seconds = []
    for seed in range(count):
        plan = bench.PAIRED_PLAN.model_copy(update={"seed": seed})
        request = GateRequest((str(baseline),), (str(candidate),), plan=plan)
        began = time.monotonic()
        result = gate(
            Folders(Path.cwd()),
            request,
            progress=lambda *_: None,
            say=lambda text: print(text, file=sys.stderr),
        )
        seconds.append(time.monotonic() - began)
        found = {one.outcome for one in result.checks if one.hard and one.metric.startswith("latency")}
        outcomes[next(name for name in ("FAIL", "INVALID", "INCONCLUSIVE", "PASS") if name in found)] += 1
    return outcomes, seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--gates", type=int, default=30)
    parser.add_argument("--slower", type=float, nargs="*", default=[0.05, 0.02])
    options = parser.parse_args()
    wrong = 0

    def told(what: str, found: tuple[collections.Counter[str], list[float]]) -> None:
        outcomes, seconds = found
        shares = ", ".join(f"{name} {outcomes[name]}" for name in ("PASS", "INCONCLUSIVE", "FAIL", "INVALID"))
        print(
            f"{what}: {shares} of {options.gates};"
            f" {statistics.median(seconds):.1f} s a gate, at most {max(seconds):.1f} s",
            flush=True,
        )

    print(f"{options.file.name} on {os.cpu_count()} cores")
    same = gates(options.file, options.file, options.gates)
    told("against itself", same)
    wrong += same[0]["FAIL"]
    with tempfile.TemporaryDirectory() as folder:
        for wanted in options.slower:
            copy, change = copy_slower_by(options.file, wanted, Path(folder))
            told(f"against a copy measured {change:+.1%}", gates(options.file, copy, options.gates))
    with toggled_load():
        same = gates(options.file, options.file, options.gates)
    told(f"against itself, a competing load on and off every {TOGGLE_S:g} s", same)
    wrong += same[0]["FAIL"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
