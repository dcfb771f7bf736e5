from __future__ import annotations

import json
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from swapbench.runtimes import contract, ort
from swapbench.runtimes.worker import work

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

FLOAT, HALF, INT = 1, 10, 7
PLAIN = '{"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}'


def graph(
    path: Path, shape: list[int | str], *, element: int = FLOAT, inputs: int = 1, outputs: int = 1
) -> str:
    """A file whose outputs are the mean of its first input over everything but the channels."""
    helper = onnx.helper
    axes = helper.make_tensor("axes", INT, [2], [2, 3] if len(shape) == 4 and shape[1] == 3 else [1, 2])
    nodes = [
        helper.make_node("ReduceMean", ["x0", "axes"], [f"y{n}"], keepdims=0, name=f"mean{n}")
        for n in range(outputs)
    ]
    if len(shape) != 4:
        nodes = [helper.make_node("Identity", ["x0"], ["y0"])]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(f"x{n}", element, shape) for n in range(inputs)],
        [helper.make_tensor_value_info(f"y{n}", element, None) for n in range(outputs)],
        [axes] if len(shape) == 4 else [],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return str(path)


def said(*argv: str) -> tuple[int, list[dict[str, Any]]]:
    out = StringIO()
    status = work(["--warmup-ns", "0", *argv], ort.open_backend, StringIO('{"runs": 2}\n'), out)
    return status, [json.loads(line) for line in out.getvalue().splitlines()]


def test_it_reports_the_provider_that_really_ran_and_its_version(tmp_path: Path) -> None:
    import onnxruntime

    status, (loaded, timed) = said("--artifact", graph(tmp_path / "m.onnx", [1, 3, 4, 6]), "--runs", "3")
    assert status == 0
    assert loaded["providers"] == ["CPUExecutionProvider"]
    assert (loaded["runtime"], loaded["version"]) == ("onnxruntime", onnxruntime.__version__)
    assert loaded["package"].startswith("onnxruntime")
    assert "spinning" not in loaded["settings"]
    assert len(timed["run_ns"]) == 3


def test_with_several_threads_spinning_is_off_and_said(tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx", [1, 3, 4, 6])
    _, (loaded, served) = said("--artifact", path, "--mode", "serve", "--threads", "2")
    assert (loaded["threads"], loaded["settings"]["spinning"]) == (2, "off")
    assert len(served["run_ns"]) == 2


@pytest.mark.parametrize("element", [FLOAT, HALF], ids=["float32", "float16"])
@pytest.mark.parametrize("shape", [[1, 3, 4, 6], [1, 4, 6, 3]], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_scores_are_those_of_the_samples_whatever_the_layout(
    tmp_path: Path, element: int, shape: list[int], outputs: int
) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    np.save(tmp_path / "s.npy", samples)
    path = graph(tmp_path / "m.onnx", list(shape), element=element, outputs=outputs)
    argv = ("--mode", "score", "--artifact", path, "--samples", str(tmp_path / "s.npy"), "--normalise", PLAIN)
    status, answers = said(*argv)
    assert status == 0
    outputs_read = contract.parse_outputs("\n".join(map(json.dumps, answers)))
    np.testing.assert_allclose(outputs_read.rows, samples.mean(axis=(1, 2)), rtol=2e-3)


def test_an_input_that_is_no_image_can_be_timed_but_not_scored(tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx", [1, 10])
    status, (loaded, timed) = said("--artifact", path, "--runs", "2")
    assert (status, loaded["input"], len(timed["run_ns"])) == (0, "random", 2)
    np.save(tmp_path / "s.npy", np.zeros((1, 4, 6, 3), np.uint8))
    argv = ("--artifact", path, "--mode", "score", "--samples", str(tmp_path / "s.npy"), "--normalise", PLAIN)
    status, answers = said(*argv)
    assert status == 1
    assert "does not take a 3-channel image" in answers[-1]["message"]


@pytest.mark.parametrize("dimensions", ["batch=1", ""])
def test_free_lengths_are_what_the_parent_says_with_a_name_or_without(
    tmp_path: Path, dimensions: str
) -> None:
    path = graph(tmp_path / "m.onnx", ["batch" if dimensions else None, 3, 4, 6])
    np.save(tmp_path / "s.npy", np.full((2, 4, 6, 3), 7, np.uint8))
    argv = ("--artifact", path, "--samples", str(tmp_path / "s.npy"), "--normalise", PLAIN, "--mode", "score")
    status, answers = said(*argv, "--shapes", "1x3x4x6", "--dimensions", dimensions)
    assert status == 0
    assert contract.parse_outputs("\n".join(map(json.dumps, answers))).rows == ((7.0, 7.0, 7.0),) * 2


def test_a_free_length_that_nobody_sets_is_an_error(tmp_path: Path) -> None:
    status, (error,) = said("--artifact", graph(tmp_path / "m.onnx", ["batch", 3, 4, 6]))
    assert status == 1
    assert "dynamic shape ['batch', 3, 4, 6]" in error["message"]


def test_several_inputs_are_timed_with_zeros(tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx", [1, 3, 4, 6], inputs=2)
    status, (loaded, timed) = said("--artifact", path, "--runs", "2")
    assert (status, loaded["input"], len(timed["run_ns"])) == (0, "zeros", 2)


@pytest.mark.parametrize("element", [2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13])
def test_inputs_of_all_numeric_types_are_timed(tmp_path: Path, element: int) -> None:
    path = graph(tmp_path / "m.onnx", [1, 10], element=element)
    status, answers = said("--artifact", path, "--runs", "2")
    assert (status, answers[-1]["event"]) == (0, "slice")


def test_a_provider_that_is_not_there_is_an_error_and_not_a_silent_fallback(tmp_path: Path) -> None:
    path = graph(tmp_path / "m.onnx", [1, 3, 4, 6])
    status, (error,) = said("--artifact", path, "--provider", "NoSuchExecutionProvider")
    assert status == 1
    assert "this onnxruntime does not have NoSuchExecutionProvider" in error["message"]


def test_a_truncated_file_is_one_error_line(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    graph(path, [1, 3, 4, 6])
    path.write_bytes(path.read_bytes()[:40])
    status, answers = said("--artifact", str(path))
    assert status == 1
    assert [one["event"] for one in answers] == ["error"]
    assert "\n" not in answers[0]["message"]


def test_the_adapter_names_its_worker_and_its_format() -> None:
    runtime = ort.OnnxRuntime()
    assert (runtime.name, runtime.formats) == ("onnxruntime", ("onnx",))
    assert runtime.command("m.onnx", mode="time", threads=1, options={})[:3] == [
        sys.executable,
        "-m",
        "swapbench.runtimes.ort",
    ]
