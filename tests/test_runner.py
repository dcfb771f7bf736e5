"""The native runner for this computer against the Python workers, on tiny models; needs ziglang."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from swapbench import bench
from swapbench.bench.workers import FileUnderTest, TimedWorker, time_together
from swapbench.devices.local import Local
from swapbench.errors import EnvironmentFailed, MissingPackage, SwapbenchError, WorkerFailed
from swapbench.records import Plan
from swapbench.runtimes import contract, litert, ort
from swapbench.runtimes.native import adapter as native
from swapbench.runtimes.native import build as building
from swapbench.runtimes.native.adapter import NativeLiteRT, NativeOnnxRuntime, NativeWorker, installed_library
from swapbench.runtimes.native.build import TARGETS, build
from swapbench.runtimes.native.ort_slots import USED, rendered, slots
from swapbench.runtimes.worker import work

if TYPE_CHECKING:
    from collections.abc import Callable

onnx = pytest.importorskip("onnx")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
tiny_files = pytest.importorskip("tiny_files")
software_gpu = pytest.importorskip("software_gpu").software_gpu

SOURCE = Path(building.__file__).parent
FLOAT, HALF, DOUBLE, INT64 = 1, 10, 11, 7
PLAIN = json.dumps({"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]})
IMAGENET = json.dumps({"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})
EXTREME = json.dumps({"scale": 1e-7, "mean": [1e-8, -3e-5, 0], "std": [1, 0.3, 1e-10]})
needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="building the runner needs the package ziglang"
)


# ----------------------------------------------------------------------------------------- models and helpers


def onnx_graph(
    path: Path, shape: list[Any], element: int = FLOAT, *, inputs: int = 1, outputs: int = 1
) -> str:
    """What goes in comes out, flattened; with two outputs the second is the first one negated."""
    helper = onnx.helper
    nodes = [helper.make_node("Flatten", ["x0"], ["y0"]), helper.make_node("Neg", ["y0"], ["y1"])][:outputs]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(f"x{n}", element, shape) for n in range(inputs)],
        [helper.make_tensor_value_info(f"y{n}", element, None) for n in range(outputs)],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return str(path)


def tflite_graph(path: Path, quantised: tuple[float, int] | None = None, *, free: bool = False) -> str:
    """What goes in comes out, flattened; where its lengths are `free`, the file says so."""
    kind = schema.TensorType.FLOAT32 if quantised is None else schema.TensorType.INT8
    file = tiny_files.TinyTflite()
    x = file.tensor("x", [1, 4, 6, 3], kind=kind, quantised=quantised)
    shape = file.tensor("s", [2], np.array([1, 72], np.int32), kind=schema.TensorType.INT32)
    y = file.tensor("y", [1, 72], kind=kind, quantised=quantised)
    file.op(
        schema.BuiltinOperator.RESHAPE,
        [x, shape],
        y,
        schema.ReshapeOptionsT(),
        schema.BuiltinOptions.ReshapeOptions,
    )
    file.graph.inputs, file.graph.outputs = [x], [y]
    if free:
        file.graph.tensors[x].shapeSignature = [-1, -1, -1, 3]
    path.write_bytes(file.bytes())
    return str(path)


def saved_samples(folder: Path, count: int = 5, shape: tuple[int, int] = (4, 6)) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape, 3), np.uint8)
    np.save(folder / "s.npy", pixels)
    return str(folder / "s.npy")


def python_rows(backend: Callable[[], Any], *argv: str) -> tuple[tuple[float, ...], ...]:
    """The rows that the Python worker scores."""
    out = StringIO()
    with np.errstate(over="ignore"):  # float16 has no room for the largest
        status = work(["--mode", "score", "--warmup-ns", "0", *argv], backend, StringIO(), out)
    assert status == 0, out.getvalue()
    return contract.parse_outputs(out.getvalue()).rows


@dataclass
class Runner:
    """The runner for this computer with the libraries of the packages installed here."""

    path: str

    def runtime(self, artifact: str) -> NativeWorker:
        kind = NativeOnnxRuntime if artifact.endswith(".onnx") else NativeLiteRT
        library = str(installed_library(kind().name))
        return kind(runner=self.path, library=library, flavour="host", package="wheel")

    def say(self, model: str, mode: Any = "time", requests: str = "", **options: Any) -> list[dict[str, Any]]:
        """Every answer of a run, the last one an error where it failed."""
        options = {"warmup_ns": 0, "runs": 3, **options}
        argv = self.runtime(model).command(model, mode=mode, threads=1, options=options)
        done = subprocess.run(argv, input=requests, capture_output=True, text=True, timeout=60, check=False)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == (1 if answers and answers[-1]["event"] == "error" else 0), done.stderr
        return answers

    def error(self, model: str, mode: Any = "time", requests: str = "", **options: Any) -> dict[str, Any]:
        answers = self.say(model, mode, requests, **options)
        assert answers[-1]["event"] == "error"
        return answers[-1]

    def rows(self, artifact: str, samples: str, normalise: str) -> tuple[tuple[float, ...], ...]:
        answers = self.say(artifact, "score", samples=samples, normalise=normalise)
        return contract.parse_outputs("\n".join(map(json.dumps, answers))).rows


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("building the runner needs the package ziglang")
    return Runner(str(build(building.this_computer(), tmp_path_factory.mktemp("runner"))))


@dataclass
class WithGpu(Runner):
    """The runner with LiteRT's accelerator for GPUs, and a GPU in software, beside libLiteRt.so."""

    folder: Path = Path()

    def runtime(self, artifact: str) -> NativeWorker:
        litert = NativeLiteRT(runner=self.path, library=str(self.folder / "libLiteRt.so"), flavour="host")
        return litert.accelerated("gpu")


@pytest.fixture(scope="module")
def gpu(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> WithGpu:
    return WithGpu(runner.path, software_gpu(tmp_path_factory.mktemp("gpu")))


# ------------------------------------------------------------------------------------------ the same numbers


@pytest.mark.slow
@pytest.mark.parametrize("normalise", [PLAIN, IMAGENET, EXTREME], ids=["plain", "imagenet", "extreme"])
@pytest.mark.parametrize("element", [FLOAT, HALF, DOUBLE], ids=["float32", "float16", "float64"])
@pytest.mark.parametrize("shape", [[1, 3, 4, 6], [1, 4, 6, 3]], ids=["nchw", "nhwc"])
def test_what_goes_into_an_onnx_graph_is_bit_for_bit_what_the_python_worker_feeds(
    runner: Runner, tmp_path: Path, shape: list[int], element: int, normalise: str
) -> None:
    path, samples = onnx_graph(tmp_path / "m.onnx", shape, element), saved_samples(tmp_path)
    expected = python_rows(
        ort.open_backend, "--artifact", path, "--samples", samples, "--normalise", normalise
    )
    assert np.abs(expected).max() > 0
    assert runner.rows(path, samples, normalise) == expected


@pytest.mark.slow
@pytest.mark.parametrize("normalise", [PLAIN, IMAGENET], ids=["plain", "imagenet"])
@pytest.mark.parametrize(
    "quantised", [None, (0.5, -128), (0.018, 3)], ids=["float32", "int8", "clipped int8"]
)
def test_what_goes_into_a_tflite_graph_is_bit_for_bit_what_the_python_worker_feeds(
    runner: Runner, tmp_path: Path, quantised: tuple[float, int] | None, normalise: str
) -> None:
    path, samples = tflite_graph(tmp_path / "m.tflite", quantised), saved_samples(tmp_path)
    expected = python_rows(
        litert.open_backend, "--artifact", path, "--samples", samples, "--normalise", normalise
    )
    assert np.abs(expected).max() > 0
    assert runner.rows(path, samples, normalise) == expected


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_outputs_of_a_small_network_are_those_of_the_python_worker(
    runner: Runner, tmp_path: Path, format_: str
) -> None:
    path = tmp_path / f"m.{format_}"
    path.write_bytes(tiny_files.small_onnx() if format_ == "onnx" else tiny_files.small_tflite().bytes())
    samples = saved_samples(tmp_path, 300, (8, 8))  # more rows than one line of answers holds
    backend = ort.open_backend if format_ == "onnx" else litert.open_backend
    expected = python_rows(backend, "--artifact", str(path), "--samples", samples, "--normalise", IMAGENET)
    rows = runner.rows(str(path), samples, IMAGENET)
    assert len(rows) == 300
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_gpu_scores_what_the_processor_does_and_the_record_says_that_it_took_the_whole_graph(
    gpu: WithGpu, tmp_path: Path
) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny_files.small_tflite().bytes())
    samples = saved_samples(tmp_path, 4, (8, 8))
    argv = ("--artifact", str(path), "--samples", samples, "--normalise", IMAGENET)
    answers = gpu.say(str(path), "score", samples=samples, normalise=IMAGENET)
    rows = contract.parse_outputs("\n".join(map(json.dumps, answers))).rows
    np.testing.assert_allclose(rows, python_rows(litert.open_backend, *argv), rtol=1e-2, atol=1e-2)
    used = gpu.runtime(str(path)).parse_loaded(json.dumps(answers[0])).used
    assert (used.runtime, used.providers) == ("litert-gpu", ("gpu",))
    assert used.settings["accelerator"] == "GPU WebGPU"
    assert used.delegated_nodes == used.nodes == 4


@pytest.mark.slow
def test_a_graph_that_a_gpu_does_not_take_whole_is_refused(gpu: WithGpu, tmp_path: Path) -> None:
    file = tiny_files.TinyTflite()
    x, y = file.tensor("x", [1, 4, 6, 3]), file.tensor("y", [1], kind=schema.TensorType.INT32)
    file.op(schema.BuiltinOperator.RANK, [x], y)
    file.graph.inputs, file.graph.outputs = [x], [y]
    (tmp_path / "m.tflite").write_bytes(file.bytes())
    said = gpu.error(str(tmp_path / "m.tflite"))
    assert said["stage"] == "provider"
    assert "the gpu accelerator (GPU WebGPU) does not take the whole graph" in said["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("delegate", "says"),
    [("gpu", "litert found no gpu accelerator"), ("npu", "the npu accelerator (NpuAccelerator) does not")],
)
def test_without_an_accelerator_nothing_runs_in_its_place(
    runner: Runner, tmp_path: Path, delegate: str, says: str
) -> None:
    (tmp_path / "libLiteRt.so").symlink_to(installed_library("litert"))
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny_files.small_tflite().bytes())
    worker = NativeLiteRT(runner=runner.path, library=str(tmp_path / "libLiteRt.so"))
    argv = worker.command(str(path), mode="time", threads=1, options={"provider": delegate})
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, json.loads(done.stdout)["stage"]) == (1, "provider")
    assert says in json.loads(done.stdout)["message"]


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", ["batch=1,h=4", ""])
def test_free_lengths_of_an_onnx_graph_are_what_the_parent_says(
    runner: Runner, tmp_path: Path, dimensions: str
) -> None:
    path, samples = onnx_graph(tmp_path / "m.onnx", ["batch", "h", None, 3]), saved_samples(tmp_path)
    free = ("--shapes", "1x4x6x3", "--dimensions", dimensions)
    argv = ("--artifact", path, "--samples", samples, "--normalise", PLAIN, *free)
    given = {"samples": samples, "normalise": PLAIN, "shapes": "1x4x6x3"}
    answers = runner.say(path, "score", **given, **({"dimensions": dimensions} if dimensions else {}))
    rows = contract.parse_outputs("\n".join(map(json.dumps, answers))).rows
    assert rows == python_rows(ort.open_backend, *argv)


@pytest.mark.slow
def test_a_free_length_with_a_name_is_told_to_the_session(runner: Runner, tmp_path: Path) -> None:
    path = onnx_graph(tmp_path / "m.onnx", ["batch", 10])
    said = runner.error(path, shapes="1x10", dimensions="batch=2")
    assert said["stage"] == "run"
    assert "Expected: 2" in said["message"]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 6), (3, 8)])
def test_a_tflite_graph_is_resized_to_the_shape_that_the_parent_says(
    runner: Runner, tmp_path: Path, shape: tuple[int, int]
) -> None:
    path, samples = tflite_graph(tmp_path / "m.tflite", free=True), saved_samples(tmp_path, shape=shape)
    shapes = f"1x{shape[0]}x{shape[1]}x3"
    argv = ("--artifact", path, "--samples", samples, "--normalise", PLAIN, "--shapes", shapes)
    answers = runner.say(path, "score", samples=samples, normalise=PLAIN, shapes=shapes)
    rows = contract.parse_outputs("\n".join(map(json.dumps, answers))).rows
    assert rows == python_rows(litert.open_backend, *argv)
    assert np.abs(rows).max() > 0


@pytest.mark.slow
def test_several_inputs_are_timed_with_zeros_and_so_are_possible_indices(
    runner: Runner, tmp_path: Path
) -> None:
    two = tmp_path / "2.tflite"
    two.write_bytes(tiny_files.small_tflite(second_input=True).bytes())
    for path in (
        onnx_graph(tmp_path / "2.onnx", [1, 10], inputs=2),
        onnx_graph(tmp_path / "i.onnx", [1, 10], INT64),
        str(two),
    ):
        loaded, timed = runner.say(path)
        assert (loaded["input"], len(timed["run_ns"])) == ("zeros", 3)


@pytest.mark.slow
def test_weights_in_a_file_beside_the_model_are_read(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_files.small_onnx())
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    assert (tmp_path / "m.onnx.data").is_file()
    assert runner.say(str(path))[-1]["event"] == "slice"


@pytest.mark.slow
@pytest.mark.parametrize(("element", "mean"), [(2, 0), (3, 128)], ids=["uint8", "int8"])
def test_an_integer_input_without_a_scale_takes_whole_pixels_as_in_the_python_worker(
    runner: Runner, tmp_path: Path, element: int, mean: int
) -> None:
    path, samples = onnx_graph(tmp_path / "m.onnx", [1, 4, 6, 3], element), saved_samples(tmp_path)
    plain = json.dumps({"scale": 1, "mean": [mean] * 3, "std": [1, 1, 1]})
    argv = ("--artifact", path, "--samples", samples, "--normalise", plain)
    assert runner.rows(path, samples, plain) == python_rows(ort.open_backend, *argv)
    said = runner.error(path, samples=samples, normalise=IMAGENET)
    assert "without a quantisation scale, so it takes whole numbers from" in said["message"]


@pytest.mark.slow
def test_of_two_outputs_the_first_of_the_graph_is_told(runner: Runner, tmp_path: Path) -> None:
    path, samples = onnx_graph(tmp_path / "m.onnx", [1, 4, 6, 3], outputs=2), saved_samples(tmp_path)
    assert np.array(runner.rows(path, samples, PLAIN)).min() >= 0


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_outputs_that_are_asked_for_come_in_the_order_asked_with_names_and_shapes(
    runner: Runner, tmp_path: Path, format_: str
) -> None:
    path, samples = str(tmp_path / f"m.{format_}"), saved_samples(tmp_path)
    if format_ == "onnx":
        onnx_graph(Path(path), [1, 4, 6, 3], outputs=2)
    else:
        Path(path).write_bytes(tiny_files.two_outputs_tflite().bytes())
    given = {"samples": samples, "normalise": PLAIN}
    both = contract.parse_outputs(
        "\n".join(map(json.dumps, runner.say(path, "score", outputs="1,0", **given)))
    )
    assert [(tensor.name, tensor.shape) for tensor in both.tensors] == [("y1", (1, 72)), ("y0", (1, 72))]
    rows = np.array(both.rows)
    pixels = np.load(samples).reshape(5, -1)
    np.testing.assert_array_equal(rows[:, 72:], pixels)
    np.testing.assert_array_equal(rows[:, :72], -rows[:, 72:])
    error = runner.error(path, "score", outputs="2", **given)["message"]
    assert error == "--outputs must list places from 0 to 1, not 2"
    assert "needs an integer" in runner.error(path, "score", outputs="0,", **given)["message"]


# ------------------------------------------------------------------------------------------ the contract


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_it_serves_slices_as_the_bench_asks_for_them(runner: Runner, tmp_path: Path, format_: str) -> None:
    path = tmp_path / f"m.{format_}"
    path.write_bytes(tiny_files.small_onnx() if format_ == "onnx" else tiny_files.small_tflite().bytes())
    options = {"samples": saved_samples(tmp_path, 5, (8, 8)), "normalise": IMAGENET}
    file = FileUnderTest("native", str(path), runner.runtime(str(path)), options)
    plan = Plan(slices_per_round=3, slice_ns=1_000_000, warmup_ns=0)
    done = time_together([file], Local(), plan, 7, lambda names: names)["native"]
    assert isinstance(done, TimedWorker)
    assert [len(slice_ns) for slice_ns in done.times.slices_ns] == [len(done.times.slices_ns[0])] * 3
    assert all(ns > 0 for ns in done.times.runs_ns)
    used = done.loaded.used
    assert (used.runtime, used.package) == ("onnxruntime" if format_ == "onnx" else "litert", "wheel")
    assert (used.settings["runner"], used.settings["flavour"], done.loaded.input) == (
        "native",
        "host",
        "sample",
    )
    assert used.providers == (("CPUExecutionProvider",) if format_ == "onnx" else ("xnnpack",))
    if format_ == "tflite":
        assert (used.delegated_nodes, used.nodes) == (4, 4)
    ((_, scored),) = bench.measure_scores([file], Local(), plan)
    assert not isinstance(scored, SwapbenchError)
    assert len(scored.rows) == 5
    memory = bench.measure_memory(file, Local(), plan)
    assert 0 < memory.before_load_bytes < memory.peak_bytes


@pytest.mark.slow
def test_a_slice_has_as_many_runs_or_lasts_as_long_as_asked(runner: Runner, tmp_path: Path) -> None:
    path = onnx_graph(tmp_path / "m.onnx", [1, 10])
    requests = (
        '{"runs": 7}\n\n{"wake_runs": 0, "runs": 1}\n{"slice_ns": 3000000}\n{"runs": 2, "slice_ns": 1e12}'
    )
    loaded, *slices = runner.say(path, "serve", requests)
    assert loaded["input"] == "random"
    # the last line has no end: the parent was cut off while it spoke
    assert [one["event"] for one in slices] == ["slice"] * 3
    assert [len(one["run_ns"]) for one in slices[:2]] == [7, 1]
    assert slices[2]["end_ns"] - slices[2]["begin_ns"] >= 3_000_000
    assert all(one["cpu_ns"] >= 0 and one["peak_rss_bytes"] > 0 for one in slices)


@pytest.mark.slow
def test_several_threads_do_not_spin_and_cores_are_those_asked_for(runner: Runner, tmp_path: Path) -> None:
    path = onnx_graph(tmp_path / "m.onnx", [1, 10])
    mask = f"{1 << min(os.sched_getaffinity(0)):x}"
    loaded, timed = runner.say(path, threads=2, affinity=mask)
    assert (loaded["threads"], loaded["settings"]["spinning"], loaded["settings"]["affinity"]) == (
        2,
        "off",
        mask,
    )
    assert len(timed["run_ns"]) == 3


@pytest.mark.slow
def test_a_killed_runner_is_told_by_its_signal(runner: Runner, tmp_path: Path) -> None:
    path = onnx_graph(tmp_path / "m.onnx", [1, 10])
    conversation = Local().start(runner.runtime(path).command(path, mode="serve", threads=1, options={}))
    contract.parse_loaded(conversation.read_line(60))
    os.kill(conversation._process.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match="killed by signal 9"):
        conversation.read_line(60)
    conversation.close()


# ---------------------------------------------------------------------------------------- pacing and watching


@pytest.mark.slow
def test_a_paced_run_waits_for_its_frame(runner: Runner, tmp_path: Path) -> None:
    loaded, timed = runner.say(onnx_graph(tmp_path / "m.onnx", [1, 10]), runs=6, fps=200)
    window = native.parse_window(json.dumps(timed))
    assert loaded["settings"]["fps"] == "200"
    assert len(timed["run_ns"]) == 6
    assert window.end_ns - window.begin_ns >= 6 * 5_000_000
    assert window.late_frames is not None


@pytest.mark.slow
def test_frames_that_come_while_one_is_computed_are_lost_and_counted(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(
        tiny_files.mobilenet_v2()
    )  # 600 million operations: no CPU does 10000 a second
    _, timed = runner.say(str(tmp_path / "m.onnx"), runs=4, warmup_runs=1, fps=10000)
    at_least = sum(ns // 100_000 - 1 for ns in timed["run_ns"][:-1])
    assert timed["late_frames"] >= at_least > 0


@pytest.mark.slow
def test_watched_files_are_told_in_the_order_given_and_null_where_there_is_no_number(
    runner: Runner, tmp_path: Path
) -> None:
    texts = {"current": "-310000\n", "voltage": "4.02", "zeros": "007\n", "word": "Charging\n", "empty": ""}
    texts |= {"half": "12.\n", "plus": "+5\n", "two": "3 4\n", "long": "1" * 80}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = ",".join(str(tmp_path / name) for name in (*texts, "missing"))
    requests = '{"runs": 2}\n{"idle_ns": 30000000}\n'
    path = onnx_graph(tmp_path / "m.onnx", [1, 10])
    answers = runner.say(path, "serve", requests, watch=files, period_ms=5)
    assert [one["event"] for one in answers] == ["loaded", "slice", "watched", "watched"]
    during, idle = (native.parse_watched(json.dumps(one)) for one in answers[2:])
    assert (during.what, idle.what) == ("slice", "idle")
    for watched in (during, idle):
        assert set(watched.values) == {(-310000, 4.02, 7, None, None, None, 5, 3, None, None)}
        assert list(watched.times_ns) == sorted(watched.times_ns)
        assert watched.times_ns[0] <= watched.begin_ns <= watched.end_ns <= watched.times_ns[-1]
        assert abs(watched.clocks.boottime_of(watched.end_ns) - watched.clocks.boottime_ns) < 10**9
    assert idle.end_ns - idle.begin_ns >= 30_000_000
    assert len(idle.times_ns) >= 3


@pytest.mark.slow
def test_a_watched_file_that_is_replaced_is_read_anew(runner: Runner, tmp_path: Path) -> None:
    node, path = tmp_path / "node", onnx_graph(tmp_path / "m.onnx", [1, 10])
    node.write_text("1\n")
    options = {"watch": str(node), "warmup_ns": 0}
    conversation = Local().start(runner.runtime(path).command(path, mode="serve", threads=1, options=options))
    conversation.read_line(60)
    for value in ("1", "2"):
        (tmp_path / "new").write_text(f"{value}\n")
        (tmp_path / "new").replace(node)
        conversation.write_line('{"idle_ns": 1}')
        assert set(native.parse_watched(conversation.read_line(60)).values) == {(int(value),)}
    conversation.close()


# ------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "stage", "message"),
    [
        ({"library": "/no/such.so"}, "library", "cannot load the library /no/such.so"),
        ({"library": "libc.so.6"}, "library", "libc.so.6 has no function OrtGetApiBase"),
        ({"artifact": "/no/model.onnx"}, "model", "there is no model file /no/model.onnx"),
        ({"provider": "NoSuchExecutionProvider"}, "provider", "is not in this onnxruntime; it has"),
        ({"runtime": "caffe"}, "usage", "--runtime must be onnxruntime, litert or ncnn, not 'caffe'"),
        ({"mode": "dance"}, "usage", "--mode must be time, serve or score, not 'dance'"),
        ({"runs": 0}, "usage", "--runs needs an integer from 1 to 1000000, not '0'"),
        ({"threads": "two"}, "usage", "--threads needs an integer"),
        ({"colour": "blue"}, "usage", "unknown flag --colour"),
        ({"fps": "-3"}, "usage", "--fps must be above 0 and at most 10000, not '-3'"),
        ({"affinity": "g"}, "affinity", "hexadecimal mask"),
        ({"affinity": "0"}, "affinity", "hexadecimal mask"),
        ({"affinity": "8000000000000000"}, "affinity", "cannot run on"),
        ({"mode": "score"}, "usage", "scoring needs --samples and --normalise"),
        ({"mode": "score", "watch": "/proc/uptime"}, "usage", "cannot be combined with --mode score"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_done_is_one_line_with_its_stage(
    runner: Runner, tmp_path: Path, options: dict[str, Any], stage: str, message: str
) -> None:
    said = runner.error(onnx_graph(tmp_path / "m.onnx", [1, 4, 6, 3]), **options)
    assert said["stage"] == stage
    assert message in said["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 4, 5, 3), np.uint8), "samples are 5x4 px, but the graph takes 6x4"),
        (np.zeros((2, 4, 6, 3), np.float32), "not uint8"),
        (np.zeros((2, 4, 6, 1), np.uint8), "does not take a 1-channel image"),
        (np.zeros((2, 4, 6, 2), np.uint8), "not uint8"),
        (np.zeros((2, 4, 6, 3, 3), np.uint8), "not uint8"),
        (np.zeros((0, 4, 6, 3), np.uint8), "not uint8"),
        (np.asfortranarray(np.ones((2, 4, 6, 3), np.uint8)), "not uint8"),
    ],
    ids=["size", "float", "grey", "two channels", "rank", "empty", "fortran"],
)
def test_samples_of_another_kind_are_refused(
    runner: Runner, tmp_path: Path, given: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "s.npy", given)
    path = onnx_graph(tmp_path / "m.onnx", [1, 4, 6, 3])
    said = runner.error(path, "score", samples=str(tmp_path / "s.npy"), normalise=PLAIN)
    assert said["stage"] == "samples"
    assert message in said["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a .npy file"),
        (b"\x93NUMPY" + b"\1\0\xff\xff", "is not a .npy file"),
        (b"x" * 4000, "is not a .npy file"),
    ],
    ids=["empty", "short", "foreign"],
)
def test_a_samples_file_that_is_none_is_refused(
    runner: Runner, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "s.npy").write_bytes(content)
    path = onnx_graph(tmp_path / "m.onnx", [1, 4, 6, 3])
    assert message in runner.error(path, samples=str(tmp_path / "s.npy"), normalise=PLAIN)["message"]
    missing = runner.error(path, samples=str(tmp_path / "none.npy"), normalise=PLAIN)
    assert "No such file" in missing["message"]


@pytest.mark.slow
def test_a_truncated_samples_file_is_refused_before_anything_is_scored(
    runner: Runner, tmp_path: Path
) -> None:
    whole = Path(saved_samples(tmp_path)).read_bytes()
    (tmp_path / "s.npy").write_bytes(whole[:-1])
    path = onnx_graph(tmp_path / "m.onnx", [1, 4, 6, 3])
    (said,) = runner.say(path, "score", samples=str(tmp_path / "s.npy"), normalise=PLAIN)
    assert "is shorter than its header says" in said["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "normalise",
    [
        "",
        "{}",
        "[1]",
        '{"scale": 1}',
        '{"scale": 1, "mean": [0, 0], "std": [1, 1, 1]}',
        PLAIN[:-1],
        PLAIN + "x",
        '{"scale": 1, "mean": [0, 0, 0], "std": [1, 0, 1]}',
        '{"scale": inf, "mean": [0, 0, 0], "std": [1, 1, 1]}',
    ],
)
def test_a_normalisation_that_is_none_is_refused(runner: Runner, tmp_path: Path, normalise: str) -> None:
    path, samples = onnx_graph(tmp_path / "m.onnx", [1, 4, 6, 3]), saved_samples(tmp_path)
    said = runner.error(path, samples=samples, normalise=normalise)
    assert "--normalise" in said["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    ["{}", "7", '{"runs": 0}', '{"runs": -1}', '{"runs": "3"}', '{"runs": 1', '{"idle_ns": 5}', "x" * 9000],
)
def test_a_request_that_is_none_ends_the_runner_with_the_reason(
    runner: Runner, tmp_path: Path, request_: str
) -> None:
    said = runner.error(onnx_graph(tmp_path / "m.onnx", [1, 10]), "serve", f"{request_}\n")
    assert said["stage"] == "request"


@pytest.mark.slow
def test_a_graph_that_cannot_be_run_is_named(runner: Runner, tmp_path: Path) -> None:
    dynamic = onnx_graph(tmp_path / "d.onnx", ["batch", 10])
    assert "the input 'x0' has dynamic shape [-1, 10]" in runner.error(dynamic)["message"]
    for shapes in ("0x10", "1xa", "ax10", "1x99999999999"):
        assert "--shapes" in runner.error(dynamic, shapes=shapes)["message"]
    for dimensions in ("batch", "batch=", "batch=0", "=1x"):
        said = runner.error(dynamic, shapes="1x10", dimensions=dimensions)
        assert "--dimensions is not a list of lengths" in said["message"]
    many = onnx_graph(tmp_path / "17.onnx", [1, 10], inputs=17)
    assert "17 inputs and 1 outputs; the runner takes at most 16 and 16" in runner.error(many)["message"]
    (tmp_path / "text.onnx").write_bytes(b"no graph")
    assert runner.error(str(tmp_path / "text.onnx"))["message"].startswith("onnxruntime: ")
    (tmp_path / "text.tflite").write_bytes(b"no flatbuffer")
    assert "LiteRtCreateModelFromFile failed" in runner.error(str(tmp_path / "text.tflite"))["message"]
    flat, samples = onnx_graph(tmp_path / "f.onnx", [1, 10]), saved_samples(tmp_path)
    assert (
        "does not take a 3-channel image" in runner.error(flat, samples=samples, normalise=PLAIN)["message"]
    )


# ----------------------------------------------------------------------------------------- TFLite's own C API

# No Python package for this kind of computer exports it, so a library stands in: it keeps the documented
# interface, copies its one int8 input to its output, moves its tensors with every invocation, as the real
# one may, and talks on the standard output.
TFLITE = r"""
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
typedef struct { const char *name; int8_t data[72]; int rank, dims[4]; size_t bytes; } Tensor;
typedef struct { float scale; int32_t zero_point; } Params;
static Tensor in[2] = {{"x", {0}, 4, {1, 4, 6, 3}, 72}}, out[2] = {{"y", {0}, 2, {1, 72}, 72}};
static int now;
const char *TfLiteVersion(void) { return "2.99.0"; }
void *TfLiteModelCreateFromFile(const char *p) {
    printf("chatter\n");
    fflush(stdout);
    return strstr(p, "bad") ? NULL : in;
}
void *TfLiteInterpreterOptionsCreate(void) { return in; }
void TfLiteInterpreterOptionsSetNumThreads(void *o, int32_t n) {}
void *TfLiteInterpreterCreate(void *m, void *o) { return in; }
int TfLiteInterpreterAllocateTensors(void *i) { return 0; }
int TfLiteInterpreterResizeInputTensor(void *i, int32_t n, const int *dims, int32_t rank) {
    in[now].rank = rank;
    memcpy(in[now].dims, dims, rank * sizeof *dims);
    return 0;
}
int32_t TfLiteInterpreterGetInputTensorCount(void *i) { return 1; }
int32_t TfLiteInterpreterGetOutputTensorCount(void *i) { return 1; }
void *TfLiteInterpreterGetInputTensor(void *i, int32_t n) { return n == 0 ? &in[now] : NULL; }
const void *TfLiteInterpreterGetOutputTensor(void *i, int32_t n) { return n == 0 ? &out[now] : NULL; }
int TfLiteInterpreterInvoke(void *i) {
    int old = now;
    now = 1 - now;
    in[now] = in[old];
    out[now] = out[old];
    memcpy(out[now].data, in[now].data, 72);
    in[old].bytes = out[old].bytes = 0;
    return 0;
}
int TfLiteTensorType(const Tensor *t) { return 9; }
int32_t TfLiteTensorNumDims(const Tensor *t) { return t->rank; }
int32_t TfLiteTensorDim(const Tensor *t, int32_t n) { return t->dims[n]; }
size_t TfLiteTensorByteSize(const Tensor *t) { return t->bytes; }
const char *TfLiteTensorName(const Tensor *t) { return t->name; }
Params TfLiteTensorQuantizationParams(const Tensor *t) { Params p = {.5f, -128}; return p; }
int TfLiteTensorCopyFromBuffer(Tensor *t, const void *d, size_t n) {
    return n == t->bytes ? (memcpy(t->data, d, n), 0) : 1;
}
int TfLiteTensorCopyToBuffer(const Tensor *t, void *d, size_t n) {
    return n == t->bytes ? (memcpy(d, t->data, n), 0) : 1;
}
"""
TOO_OLD = "int LiteRtCreateEnvironment(void) { return 0; }"


def library(folder: Path, source: str) -> str:
    target = building.this_computer()
    compiler = building.find_compiler(target)
    (folder / "lib.c").write_text(source)
    # with the runner's options: for others zig first builds its own libraries, which takes half a minute
    options = ["-target", f"{target}-gnu.{building.GLIBC}", "-O2", "-s", "-shared", "-fPIC", "-w"]
    argv = [*compiler, *options, str(folder / "lib.c"), "-o", str(folder / "lib.so")]
    subprocess.run(argv, check=True, capture_output=True)
    return str(folder / "lib.so")


@pytest.mark.slow
def test_a_library_with_the_tflite_c_api_is_used_through_it(runner: Runner, tmp_path: Path) -> None:
    given = {"library": library(tmp_path, TFLITE), "samples": saved_samples(tmp_path), "normalise": PLAIN}
    path = tmp_path / "m.tflite"
    path.write_bytes(b"anything")
    loaded, outputs, _ = runner.say(str(path), "score", **given)
    assert (loaded["version"], loaded["settings"]["api"]) == ("2.99.0", "tflite-c")
    assert (loaded["providers"], loaded["nodes"]) == (["unknown"], None)
    pixels = np.load(given["samples"]).reshape(5, 72)
    np.testing.assert_array_equal(outputs["rows"], np.minimum(pixels, 127.5))  # (127 + 128) / 2
    given["samples"] = saved_samples(tmp_path, shape=(6, 4))
    assert "the graph takes 6x4" in runner.error(str(path), "score", **given)["message"]
    assert len(runner.say(str(path), "score", **given, shapes="1x6x4x3")[1]["rows"]) == 5
    (tmp_path / "bad.tflite").write_bytes(b"anything")
    assert (
        "litert cannot read the model file" in runner.error(str(tmp_path / "bad.tflite"), **given)["message"]
    )


@pytest.mark.slow
def test_a_litert_whose_interface_was_another_is_refused(runner: Runner, tmp_path: Path) -> None:
    path = tflite_graph(tmp_path / "m.tflite")
    assert "older than 2.2.0" in runner.error(path, library=library(tmp_path, TOO_OLD))["message"]
    other = str(installed_library("onnxruntime"))
    assert "has no function LiteRtCreateEnvironment" in runner.error(path, library=other)["message"]


# ------------------------------------------------------------------------------------------ building


def elf_text(path: Path) -> tuple[int, bytes]:
    """(machine, the whole file) of an ELF file."""
    content = path.read_bytes()
    assert content[:4] == b"\x7fELF"
    return int.from_bytes(content[18:20], "little"), content


@needs_compiler
@pytest.mark.slow
def test_it_builds_for_every_target_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = {target: build(target, tmp_path / "new folder") for target in TARGETS}
    machines = {target: elf_text(path)[0] for target, path in built.items()}
    assert machines == {"x86_64-linux": 62, "aarch64-linux": 183, "aarch64-android": 183}
    android = elf_text(built["aarch64-android"])[1]
    assert b"/system/bin/linker64\0" in android
    assert b"\0libc.so\0" in android
    assert b"ld-linux" not in android
    assert b"GLIBC_2.17\0" in elf_text(built["aarch64-linux"])[1]
    assert all(os.access(path, os.X_OK) for path in built.values())
    assert sorted((tmp_path / "new folder").iterdir()) == sorted(built.values())
    monkeypatch.setattr(building, "find_compiler", None)  # whoever compiles again fails
    assert {target: build(target, tmp_path / "new folder") for target in TARGETS} == built


@needs_compiler
@pytest.mark.slow
def test_source_that_does_not_compile_leaves_nothing_and_tells_the_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.c").write_text("int main(void) { return nothing; }")
    monkeypatch.setattr(building, "_source", lambda name: tmp_path / "broken.c")
    with pytest.raises(EnvironmentFailed, match=r"could not be compiled: .*undeclared identifier 'nothing'"):
        build("x86_64-linux", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_without_a_compiler_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"needs the package ziglang.*swapbench\[phone\]"):
        build("x86_64-linux", tmp_path)


def test_the_ndk_that_the_environment_names_compiles_for_android_only(tmp_path: Path) -> None:
    clang = tmp_path / "toolchains/llvm/prebuilt/linux-x86_64/bin/aarch64-linux-android24-clang"
    named = {"ANDROID_NDK_ROOT": str(tmp_path), "ANDROID_NDK_HOME": ""}
    with pytest.raises(EnvironmentFailed, match="has no clang for arm64"):
        building.find_compiler("aarch64-android", named)
    clang.parent.mkdir(parents=True)
    clang.touch()
    assert building.find_compiler("aarch64-android", named) == (str(clang),)


def test_another_source_or_target_is_another_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = building.source_digest("x86_64-linux")
    assert building.source_digest("aarch64-linux") != before
    (tmp_path / "same.c").write_text("int x;")
    monkeypatch.setattr(building, "_source", lambda name: tmp_path / "same.c")
    assert building.source_digest("x86_64-linux") != before


# ----------------------------------------------------------------------------- places in ONNX Runtime's table

HEADER = """
#define ORT_API2_STATUS(NAME, ...) OrtStatus* NAME
struct OrtApiBase { const OrtApi*(ORT_API_CALL* GetApi)(uint32_t version); };
struct OrtApi {
  /** ORT_API2_STATUS(InAComment, int x); */
  OrtStatus*(ORT_API_CALL* CreateStatus)(OrtErrorCode code, const char* msg);
  // (ORT_API_CALL* AlsoInAComment)(int);
  ORT_API2_STATUS(CreateEnv, OrtLoggingLevel level,
                  const char* name);
  ORT_CLASS_RELEASE(Env);
  ORT_API_T(bool, IsThere, int x);
  const char*(ORT_API_CALL* GetErrorMessage)(const OrtStatus* status);
};
struct Other { ORT_API2_STATUS(After, int x); };
"""


def test_places_are_counted_over_every_way_in_which_the_header_declares_a_function() -> None:
    assert slots(HEADER) == {
        "CreateStatus": 0,
        "CreateEnv": 1,
        "ReleaseEnv": 2,
        "IsThere": 3,
        "GetErrorMessage": 4,
    }
    with pytest.raises(ValueError, match="no struct OrtApi"):
        slots("struct Other {};")


def test_every_function_that_the_source_calls_has_a_place() -> None:
    called = re.findall(r"^\s*F\([^,]+, (\w+),", (SOURCE / "ort.c").read_text(), re.MULTILINE)
    assert sorted(called) == sorted(USED)
    places = re.findall(r"#define SLOT_(\w+) (\d+)", (SOURCE / "ort_slots.h").read_text())
    assert sorted(name for name, _ in places) == sorted(USED)
    assert rendered({name: int(place) for name, place in places}) == (SOURCE / "ort_slots.h").read_text()


def test_the_places_are_those_of_the_real_header() -> None:
    """SWAPBENCH_ORT_HEADER: an onnxruntime_c_api.h, e.g. from the headers/ of the Android library's AAR."""
    candidates = [os.environ.get("SWAPBENCH_ORT_HEADER", "")]
    candidates += [f"/usr/include/onnxruntime/{sub}onnxruntime_c_api.h" for sub in ("", "core/session/")]
    header = next((Path(one) for one in candidates if one and Path(one).is_file()), None)
    if header is None:
        pytest.skip("no onnxruntime_c_api.h here; SWAPBENCH_ORT_HEADER can name one")
    assert rendered(slots(header.read_text(encoding="utf-8"))) == (SOURCE / "ort_slots.h").read_text()
