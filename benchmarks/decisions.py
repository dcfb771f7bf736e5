"""Why a decision costs more than its files alone: the same inferences back to back, in turn, and deciding.

    python benchmarks/decisions.py FIRST.onnx SECOND.onnx [--rounds N]

Both files carry their cards, as exported ones do. In every round one process runs each file back to back,
then both in turn, then whole decisions by the mean of both, about as many presentations as it holds. Wall
time is what a decision takes here; CPU time of the thread leaves out what other processes take from it, so
that the causes can be told apart on a busy machine. Medians of rounds' medians; one thread.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from swapbench.bench.workers import normalise_json
from swapbench.commands.named_files import own_card
from swapbench.modelfile import read_graph
from swapbench.runtimes.feed import Shapes
from swapbench.systems.worker import _Engine

RUNTIMES = {"onnx": "ort", "tflite": "litert"}
CLOCKS = {"wall": time.perf_counter_ns, "CPU": time.thread_time_ns}
RUNS = 12
STEPS = {
    "rule": "mean",
    "weights": [1.0, 1.0],
    "margin": None,
    "frame_rule": "mean",
    "bounds": [0.0, 0.0],
    "threshold": 0.5,
    "members": [],
    "evidence": [0.0, 0.0],
}


def job_of(paths, folder):
    """The job of a process that decides by the mean of some files, about random crops."""
    members = []
    for number, path in enumerate(paths):
        graph = read_graph(path)
        card = own_card(path, graph.metadata)
        image = card.preprocessing
        crops = np.random.default_rng(0).integers(0, 256, (64, image.height_px, image.width_px, 3), np.uint8)
        np.save(folder / f"{number}.npy", crops)
        members.append(
            {
                "module": f"swapbench.runtimes.{RUNTIMES[graph.format]}",
                "artifact": str(path),
                "samples": str(folder / f"{number}.npy"),
                "normalise": normalise_json(image),
                "meaning": card.output.model_dump(mode="json"),
            }
        )
    return {"steps": STEPS, "members": members, "presentations": [[row] for row in range(64)]}


def times(*calls):
    """The median time of a run of all calls in a row, by clock."""
    runs = []
    for _ in range(RUNS):
        began = [clock() for clock in CLOCKS.values()]
        for call in calls:
            call()
        runs.append([clock() - start for clock, start in zip(CLOCKS.values(), began, strict=True)])
    return dict(zip(CLOCKS, map(statistics.median, zip(*runs, strict=True)), strict=True))


def main():
    """Print what each way of running the same inferences takes."""
    parser = argparse.ArgumentParser(description="Why a decision costs more than its files alone.")
    parser.add_argument("files", nargs=2, type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(options.files, Path(folder))
        calls = []
        for member in job["members"]:
            loaded = importlib.import_module(member["module"]).open_backend()
            engine = loaded.load(member["artifact"], 1, None, Shapes())
            feed = np.random.default_rng(0).random(engine.input.shape, np.float32)
            calls.append(engine.timed_call(feed))
        whole = _Engine(job, 1, 0)
        decide = whole.timed_call(calls)
        found = {name: {clock: [] for clock in CLOCKS} for name in ("alone", "in turn", "decision")}
        for _ in range(options.rounds):
            each = [times(call) for call in calls]
            alone = {clock: sum(one[clock] for one in each) for clock in CLOCKS}
            for name, took in (("alone", alone), ("in turn", times(*calls)), ("decision", times(decide))):
                for clock in CLOCKS:
                    found[name][clock].append(took[clock])
    print(f"{'':10} {'wall, ms':>10} {'of a decision':>14} {'CPU, ms':>10} {'of a decision':>14}")
    whole_ns = {clock: statistics.median(found["decision"][clock]) for clock in CLOCKS}
    for name, by_clock in found.items():
        cells = []
        for clock in CLOCKS:
            took = statistics.median(by_clock[clock])
            cells.append(f"{took / 1e6:10.3f} {100 * (took / whole_ns[clock] - 1):+13.1f}%")
        print(f"{name:10} {' '.join(cells)}")


if __name__ == "__main__":
    main()
