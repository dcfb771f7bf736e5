from __future__ import annotations

import json
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from swapbench.runtimes import contract, litert, tflite_runtime
from swapbench.runtimes.feed import Unusable
from swapbench.runtimes.worker import work

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = '{"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}'
MEAN, CUSTOM, FLOAT32, INT32, INT8 = 40, 32, 0, 2, 9


def graph(path: Path, *, quantised: bool = False, inputs: int = 1, signature: list[int] | None = None) -> str:
    """A .tflite file, written with the schema itself: the mean over height and width of [1, 4, 6, 3].

    quantised: int8 with scale .5 and zero point -128 at the input, 1 and -128 at the output.
    """
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

    def tensor(name: str, shape: list[int], kind: int, buffer: int, scale: float | None = None) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, shape, kind, buffer
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [-128]
        return made

    def buffer(data: bytes = b"") -> Any:
        made = schema.BufferT()
        made.data = list(data) or None
        return made

    kind = INT8 if quantised else FLOAT32
    given = [tensor(f"x{n}", [1, 4, 6, 3], kind, 0, 0.5 if quantised else None) for n in range(inputs)]
    given[0].shapeSignature = signature
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = MEAN
    code.version = 2 if quantised else 1
    mean = schema.OperatorT()
    mean.opcodeIndex, mean.inputs, mean.outputs = 0, [0, inputs], [inputs + 1]
    mean.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
    mean.builtinOptions = schema.ReducerOptionsT()
    subgraph = schema.SubGraphT()
    subgraph.tensors = [
        *given,
        tensor("axes", [2], INT32, 1),
        tensor("y", [1, 3], kind, 0, 1.0 if quantised else None),
    ]
    subgraph.inputs, subgraph.outputs, subgraph.operators = list(range(inputs)), [inputs + 1], [mean]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [subgraph]
    model.buffers = [buffer(), buffer(np.array([1, 2], np.int32).tobytes())]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return str(path)


def said(*argv: str) -> tuple[int, list[dict[str, Any]]]:
    pytest.importorskip("ai_edge_litert.interpreter")
    out = StringIO()
    status = work(["--warmup-ns", "0", *argv], litert.open_backend, StringIO('{"runs": 2}\n'), out)
    return status, [json.loads(line) for line in out.getvalue().splitlines()]


def test_it_reports_how_many_nodes_the_delegate_took(tmp_path: Path) -> None:
    status, (loaded, timed) = said("--artifact", graph(tmp_path / "m.tflite"), "--runs", "3")
    assert status == 0
    assert (loaded["runtime"], loaded["package"]) == ("litert", "ai-edge-litert")
    assert (loaded["providers"], loaded["delegated_nodes"], loaded["nodes"]) == (["xnnpack"], 1, 1)
    assert len(timed["run_ns"]) == 3


def test_the_built_in_kernels_can_be_asked_for_and_are_reported(tmp_path: Path) -> None:
    _, (loaded, *_) = said("--artifact", graph(tmp_path / "m.tflite"), "--provider", "builtin")
    assert (loaded["providers"], loaded["delegated_nodes"], loaded["nodes"]) == (["builtin"], 0, 1)


def test_an_unknown_delegate_is_an_error(tmp_path: Path) -> None:
    status, (error,) = said("--artifact", graph(tmp_path / "m.tflite"), "--provider", "npu")
    assert status == 1
    assert "choose xnnpack or builtin" in error["message"]


@pytest.mark.parametrize("mode", ["serve", "time"])
def test_it_keeps_the_contract_with_two_threads(tmp_path: Path, mode: str) -> None:
    path = graph(tmp_path / "m.tflite")
    status, (loaded, timed) = said("--artifact", path, "--mode", mode, "--threads", "2", "--runs", "2")
    assert (status, loaded["threads"], len(timed["run_ns"])) == (0, 2, 2)


@pytest.mark.parametrize("quantised", [False, True])
def test_scores_are_those_of_the_samples_also_when_input_and_output_are_quantised(
    tmp_path: Path, quantised: bool
) -> None:
    # pixels up to 127, so that pixel / .5 - 128 stays within int8
    samples = np.random.default_rng(0).integers(0, 128, (5, 4, 6, 3), np.uint8)
    np.save(tmp_path / "s.npy", samples)
    argv = ("--artifact", graph(tmp_path / "m.tflite", quantised=quantised), "--mode", "score")
    status, answers = said(*argv, "--samples", str(tmp_path / "s.npy"), "--normalise", PLAIN)
    assert status == 0
    outputs = contract.parse_outputs("\n".join(map(json.dumps, answers)))
    np.testing.assert_allclose(outputs.rows, samples.mean(axis=(1, 2)), atol=0.51 if quantised else 1e-4)


def test_several_inputs_are_timed_with_zeros(tmp_path: Path) -> None:
    status, (loaded, timed) = said("--artifact", graph(tmp_path / "m.tflite", inputs=2), "--runs", "2")
    assert (status, loaded["input"], len(timed["run_ns"])) == (0, "zeros", 2)


def test_a_free_length_that_nobody_sets_is_an_error(tmp_path: Path) -> None:
    status, (error,) = said("--artifact", graph(tmp_path / "m.tflite", signature=[-1, 4, 6, 3]))
    assert status == 1
    assert "dynamic shape [-1, 4, 6, 3]" in error["message"]


@pytest.mark.parametrize("shape", ["1x4x6x3", "1x2x8x3"])
def test_an_input_is_resized_to_the_shape_that_the_parent_says(tmp_path: Path, shape: str) -> None:
    path = graph(tmp_path / "m.tflite", signature=[-1, -1, -1, 3])
    _, height, width, _ = map(int, shape.split("x"))
    samples = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    np.save(tmp_path / "s.npy", samples)
    argv = ("--mode", "score", "--artifact", path, "--samples", str(tmp_path / "s.npy"), "--normalise", PLAIN)
    status, answers = said(*argv, "--shapes", shape)
    assert status == 0
    outputs = contract.parse_outputs("\n".join(map(json.dumps, answers)))
    np.testing.assert_allclose(outputs.rows, samples.mean(axis=(1, 2)), rtol=1e-5)


def test_a_foreign_file_is_one_error_line(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"no flatbuffer")
    status, answers = said("--artifact", str(tmp_path / "m.tflite"))
    assert status == 1
    assert [one["event"] for one in answers] == ["error"]


# ------------------------------------------------------------------------------------------ which package


def importer(*installed: str) -> Any:
    def import_module(name: str) -> Any:
        if name not in installed:
            raise ModuleNotFoundError(name)
        return SimpleNamespace(__name__=name)

    return import_module


@pytest.mark.parametrize(
    ("installed", "package"),
    [
        (("ai_edge_litert.interpreter", "tflite_runtime.interpreter"), "ai-edge-litert"),
        (("tflite_runtime.interpreter",), "tflite-runtime"),
    ],
)
def test_the_predecessor_is_used_only_where_litert_is_missing_and_is_named(
    installed: tuple[str, ...], package: str
) -> None:
    backend = litert.open_backend(importer(*installed), lambda name: f"version of {name}")
    assert (backend.package, backend.version) == (package, f"version of {package}")


def test_without_either_package_the_error_says_what_to_install() -> None:
    with pytest.raises(Unusable, match="pip install ai-edge-litert"):
        litert.open_backend(importer(), str)


def test_a_package_that_does_not_load_is_named_with_its_reason() -> None:
    def import_module(name: str) -> Any:
        if name.startswith("tflite_runtime"):
            raise ImportError("numpy.core.multiarray failed to import")
        raise ModuleNotFoundError(name)

    with pytest.raises(Unusable, match=r"^tflite-runtime 2.14.0 is installed but does not load \(numpy.core"):
        litert.open_backend(import_module, lambda _: "2.14.0")


def test_the_predecessor_by_name_takes_no_other_package() -> None:
    adapter = tflite_runtime.TFLiteRuntime()
    command = adapter.command("a.tflite", mode="time", threads=1, options={})
    assert command[1:3] == ["-m", "swapbench.runtimes.tflite_runtime"]
    packages = {"tflite_runtime": "tflite-runtime"}
    both = importer("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
    backend = litert.LiteRTBackend(adapter.name, packages, both, lambda _: "2.14.0")
    assert (backend.runtime, backend.package) == ("tflite-runtime", "tflite-runtime")
    with pytest.raises(Unusable, match=r"tflite-runtime is not installed; .*: pip install tflite-runtime"):
        litert.LiteRTBackend(adapter.name, packages, importer("ai_edge_litert.interpreter"), str)


# ------------------------------------------------------------------------------------------ coverage


def node(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": np.array(inputs), "outputs": np.array(outputs)}


CHAIN = [
    node("CONV_2D", [0, 10], [1]),
    node("CUSTOM", [1], [2]),
    node("CONV_2D", [2, 11], [3]),
    node("ADD", [3, 1], [4]),
]


@pytest.mark.parametrize(
    ("delegates", "taken"),
    [
        ([], 0),
        ([node("DELEGATE", [0, 10, 11], [4])], 4),
        ([node("DELEGATE", [0, 10], [1]), node("DELEGATE", [2, 1, 11], [4])], 3),
        ([node("DELEGATE", [0, 10], [1])], 1),
    ],
    ids=["none", "whole", "two parts", "one part"],
)
def test_the_nodes_inside_delegates_are_counted_from_their_borders(
    delegates: list[dict[str, Any]], taken: int
) -> None:
    assert litert.delegated([*CHAIN, *delegates]) == (taken, 4)


def test_optional_inputs_that_are_missing_do_not_confuse_the_count() -> None:
    nodes = [node("CONV_2D", [0, 10, -1], [1]), node("DELEGATE", [0, 10], [1])]
    assert litert.delegated(nodes) == (1, 1)


def test_a_build_that_does_not_tell_its_nodes_is_unknown() -> None:
    assert litert._coverage(SimpleNamespace()) == (None, None)
    assert litert._providers(None, None) == ("unknown",)


def test_a_mixture_names_both() -> None:
    assert litert._providers(3, 4) == ("xnnpack", "builtin")


def test_the_adapter_names_its_worker_and_its_format() -> None:
    runtime = litert.LiteRT()
    assert (runtime.name, runtime.formats) == ("litert", ("tflite",))
    assert runtime.command("m", mode="time", threads=1, options={})[2] == "swapbench.runtimes.litert"
