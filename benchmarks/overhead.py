"""What does measuring cost? Swapbench's times against a bare loop around the same runtime on the same file.

    python benchmarks/overhead.py [FILE.onnx | .tflite | .param | .pte ...] [--rounds N]

In every round a fresh worker of swapbench and a fresh process with nothing but the runtime in it stay loaded
and take turns in short slices; the ratio is the median over slices of (median of the worker's slice / median
of the loop's). It also tells which share of a scoring pass is spent outside the runtime. Without a file, a
small convolutional network is made for onnxruntime and, where that is installed, for ncnn.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swapbench import bench, stats, units
from swapbench.devices.local import Local
from swapbench.errors import SwapbenchError
from swapbench.modelfile import read_graph
from swapbench.records import Plan
from swapbench.runtimes.executorch import ExecuTorch
from swapbench.runtimes.litert import LiteRT
from swapbench.runtimes.ncnn import Ncnn
from swapbench.runtimes.ort import OnnxRuntime

if TYPE_CHECKING:
    from swapbench.ports import Conversation

BARE = {
    "onnx": """
import sys, time, json
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
given = session.get_inputs()[0]
kind = np.float16 if "float16" in given.type else np.float32
x = np.random.default_rng(0).random(given.shape, np.float32).astype(kind)
def run():
    session.run(None, {given.name: x})
""",
    "tflite": """
import sys, time, json
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
rng, kind = np.random.default_rng(0), np.dtype(given["dtype"])
if kind.kind == "f":
    x = rng.random(given["shape"], np.float32).astype(kind)
else:
    x = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, given["shape"], kind, endpoint=True)
def run():
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    interpreter.get_tensor(answer["index"])
""",
    "ncnn": """
import sys, time, json
import numpy as np, ncnn
shape = [int(length) for length in sys.argv[2].split("x")]
net = ncnn.Net()
net.opt.num_threads = 1
net.load_param(sys.argv[1])
net.load_model(sys.argv[1].removesuffix(".param") + ".bin")
given, answer = net.input_names()[0], net.output_names()[0]
x = np.random.default_rng(0).random(shape, np.float32)[0]
def run():
    extractor = net.create_extractor()
    extractor.input(given, ncnn.Mat(x).clone())
    np.array(extractor.extract(answer)[1])
""",
    "executorch": """
import sys, time, json
import torch
from executorch.extension.pybindings import _C
_C._unsafe_reset_threadpool(1)
program = _C._load_program(sys.argv[1])
method = program.load_method("forward")
x = torch.rand(method.method_meta().input_tensor_meta(0).sizes())
def run():
    method.call((x,))[0].numpy()
""",
}
RUNTIMES = {"onnx": OnnxRuntime, "tflite": LiteRT, "ncnn": Ncnn, "executorch": ExecuTorch}
LOOP = """
for _ in range(30):
    run()
print("ready", flush=True)
for line in sys.stdin:
    run()
    run()
    times = []
    for _ in range(int(line)):
        begin = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - begin)
    print(json.dumps(times), flush=True)
"""
PLAIN = json.dumps({"scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]})
TIMEOUT_S = 120.0


def small_net(path: Path, width: int = 24, blocks: int = 5) -> Path:
    """A plain convolutional network for 80x80 px images."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, last, channels = [], [], "image", 3
    for number in range(blocks):
        shape = (width, channels, 3, 3)
        kernel = (rng.standard_normal(shape) / np.sqrt(9 * channels)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{number}"))
        stride = 2 if number == 0 else 1
        nodes += [
            helper.make_node(
                "Conv", [last, f"w{number}"], [f"c{number}"], pads=[1] * 4, strides=[stride] * 2
            ),
            helper.make_node("Relu", [f"c{number}"], [f"r{number}"]),
        ]
        last, channels = f"r{number}", width
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["score"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 80, 80])],
        [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, [1, width, 1, 1])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def small_ncnn_net(path: Path, width: int = 24, blocks: int = 5) -> Path:
    """The same network for ncnn."""
    layers, weights, last, channels = ["Input image 0 1 image 0=80 1=80 2=3"], [], "image", 3
    for number in range(blocks):
        count = width * channels * 9
        layers += [
            f"Convolution c{number} 1 1 {last} c{number} 0={width} 1=3 3={1 + (number == 0)} 4=1 6={count}",
            f"ReLU r{number} 1 1 c{number} r{number}",
        ]
        kernel = np.random.default_rng(number).standard_normal(count) / np.sqrt(9 * channels)
        weights.append(bytes(4) + kernel.astype(np.float32).tobytes())
        last, channels = f"r{number}", width
    layers.append(f"Pooling pool 1 1 {last} score 0=1 4=1")
    path.write_text("\n".join(["7767517", f"{len(layers)} {len(layers)}", *layers, ""]), encoding="utf-8")
    path.with_suffix(".bin").write_bytes(b"".join(weights))
    return path


def small_nets(folder: Path) -> list[Path]:
    nets = [small_net(folder / "small.onnx")]
    has_ncnn = importlib.util.find_spec("ncnn") is not None
    return [*nets, small_ncnn_net(folder / "small.param")] if has_ncnn else nets


@dataclass
class Taken:
    """What both sides took: medians slice by slice and all runs round by round, in ns."""

    slice_ratios: list[list[float]] = field(default_factory=list)
    undisturbed_ratios: list[float] = field(default_factory=list)
    ours_ns: list[int] = field(default_factory=list)
    bare_ns: list[int] = field(default_factory=list)


def measure(path: Path, rounds: int, slices: int, seed: int) -> Taken:
    """Both sides in turn: `rounds` fresh pairs of processes, `slices` pairs of slices in each."""
    device, order, taken = Local(), random.Random(seed), Taken()
    graph = read_graph(path)
    runtime, shapes = RUNTIMES[graph.format](), graph.worker_options
    for _ in range(rounds):
        worker = device.start(runtime.command(str(path), mode="serve", threads=1, options=shapes))
        loop = device.start([sys.executable, "-c", BARE[graph.format] + LOOP, str(path), *shapes.values()])
        try:
            assert runtime.parse_loaded(worker.read_line(TIMEOUT_S)).input == "random"
            assert loop.read_line(TIMEOUT_S) == "ready"

            def ours(runs: int, worker: Conversation = worker) -> list[int]:
                worker.write_line(json.dumps({"runs": runs, "wake_runs": 2}))
                return list(runtime.parse_slice(worker.read_line(TIMEOUT_S)).run_ns)

            def bare(runs: int, loop: Conversation = loop) -> list[int]:
                loop.write_line(str(runs))
                return list(json.loads(loop.read_line(TIMEOUT_S)))

            runs = min(max(round(20e6 / stats.median(bare(5))), 5), 300)
            turns = [{side: side(runs) for side in order.sample((ours, bare), 2)} for _ in range(slices)]
        finally:
            worker.close()
            loop.close()
        taken.slice_ratios.append([stats.median(turn[ours]) / stats.median(turn[bare]) for turn in turns])
        round_ours, round_bare = ([ns for turn in turns for ns in turn[side]] for side in (ours, bare))
        taken.undisturbed_ratios.append(stats.quantile(round_ours, 0.05) / stats.quantile(round_bare, 0.05))
        taken.ours_ns += round_ours
        taken.bare_ns += round_bare
    return taken


def outside_share(path: Path) -> float | None:
    """Share of a scoring pass that is not spent in the runtime, or None where the input is no image."""
    graph = read_graph(path)
    shape = graph.inputs[0].shape
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        return None
    height, width = shape[1:3] if shape[3] == 3 else shape[2:4]
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.npy"
        np.save(samples, np.random.default_rng(0).integers(0, 256, (300, height, width, 3), np.uint8))
        options = {"samples": str(samples), "normalise": PLAIN, **graph.worker_options}
        file = bench.FileUnderTest(path.name, str(path), RUNTIMES[graph.format](), options)
        ((_, outputs),) = bench.measure_scores([file], Local(), Plan())
    if isinstance(outputs, SwapbenchError):
        raise outputs
    return 1 - outputs.invoke_ns / outputs.pass_ns


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="*", type=Path, help="model files; small nets if none")
    parser.add_argument("--rounds", type=int, default=6, help="fresh pairs of processes")
    parser.add_argument("--slices", type=int, default=10, help="pairs of slices in each round")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in options.files or small_nets(Path(folder)):
            taken = measure(path.resolve(), options.rounds, options.slices, options.seed)
            ratios = [stats.median(of_round) for of_round in taken.slice_ratios]
            middle, interval = stats.median(ratios), stats.process_interval(ratios)
            assert interval is not None, "one round has no interval: ask for more --rounds"
            low = taken.undisturbed_ratios
            share = outside_share(path.resolve())
            outside = "no image input" if share is None else units.percent(share)
            print(
                f"{path.name}: bare loop {units.duration(stats.median(taken.bare_ns))}, "
                f"swapbench {units.duration(stats.median(taken.ours_ns))}\n"
                f"  ratio of medians {middle:.4f} [{interval.low:.4f}, {interval.high:.4f}],"
                f" {interval.method}\n"
                f"  ratio of 5 % quantiles {stats.median(low):.4f}, rounds {min(low):.4f} to {max(low):.4f}\n"
                f"  scoring outside the runtime: {outside}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
