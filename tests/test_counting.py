"""Products behind shapes that the graph works out itself, and what integer weights are multiplied with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import PRETRAINED
from onnx import TensorProto, helper, numpy_helper
from tiny_files import TinyTflite, ones

from swapbench.modelfile import Graph, read_graph

PUBLIC = PRETRAINED.parent


def model(
    folder: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    *,
    opset: int = 18,
    shape: tuple[Any, ...] = (1, 3, 8, 8),
) -> Graph:
    """A graph from x to y, of whose output no shape is known."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (folder / "a.onnx").write_bytes(made.SerializeToString())
    return read_graph(folder / "a.onnx")


def flattened(opset: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Conv 3->4 on 8x8, then what PyTorch writes for `x.view(x.size(0), -1)`, then MatMul 256->5 and 5->2."""
    axes = {"axes": [0]} if opset < 13 else {}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Shape", ["c"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "first"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", *(() if axes else ["zero"])], ["batches"], **axes),
        helper.make_node("Concat", ["batches", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["c", "flat"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["p"]),
        helper.make_node("MatMul", ["p", "n"], ["y"]),
    ]
    constants = {
        "w": ones(4, 3, 1, 1),
        "first": np.array(0, np.int64),
        "zero": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
        "m": ones(256, 5),
        "n": ones(5, 2),
    }
    return nodes, constants


@pytest.mark.parametrize("opset", [10, 18])
@pytest.mark.parametrize("batch", [1, "batch_size"])
def test_a_product_behind_a_shape_that_the_graph_works_out_is_counted(
    tmp_path: Path, opset: int, batch: int | str
) -> None:
    nodes, constants = flattened(opset)
    graph = model(tmp_path, nodes, constants, opset=opset, shape=(batch, 3, 8, 8))
    assert graph.uncounted_ops == ()
    assert graph.macs == 4 * 3 * 64 + 256 * 5 + 5 * 2
    assert graph.params == 12 + 1280 + 10
    assert graph.outputs[0].shape == (1, 2)
    assert graph.ops["Shape"] == 1


def test_products_that_only_one_runtime_knows_are_counted_by_their_operands(tmp_path: Path) -> None:
    """ONNX infers no shape behind operators of onnxruntime's own."""
    nodes = [
        helper.make_node("FusedMatMul", ["x", "m"], ["p"], domain="com.microsoft", transB=1),
        helper.make_node("MatMul", ["p", "n"], ["q"]),
        helper.make_node("Gemm", ["g", "q"], ["y"], transA=1),
    ]
    constants = {"m": ones(5, 8), "n": ones(5, 2), "g": ones(3, 7)}
    graph = model(tmp_path, nodes, constants, shape=(3, 8))
    assert graph.uncounted_ops == ()
    assert graph.macs == 3 * 8 * 5 + 3 * 5 * 2 + 7 * 3 * 2  # [3, 8] x [8, 5] x [5, 2], then [7, 3] x [3, 2]
    assert graph.params == 40 + 10 + 21


def test_a_vector_and_a_stack_of_matrices_are_products_too(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "m"], ["p"]), helper.make_node("MatMul", ["p", "v"], ["y"])]
    graph = model(tmp_path, nodes, {"m": ones(2, 1, 8, 5), "v": ones(5)}, shape=(3, 4, 8))
    assert graph.macs == 2 * 3 * 4 * 8 * 5 + 2 * 3 * 4 * 5


def test_recurrent_layers_and_sums_in_letters_are_named_and_not_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["h"], hidden_size=2),
        helper.make_node("Einsum", ["h", "e"], ["y"], equation="abcd,de->abce"),
    ]
    constants = {"w": ones(1, 8, 3), "r": ones(1, 8, 2), "e": ones(2, 2)}
    graph = model(tmp_path, nodes, constants, shape=(4, 1, 3))
    assert (graph.uncounted_ops, graph.macs) == (("Einsum", "LSTM"), 0)


# ---- What integer weights are multiplied with ----


def test_dynamic_int8_is_recognised_and_counts_as_its_fp32_network(tmp_path: Path) -> None:
    """As onnxruntime quantises: the bias of a convolution is reshaped and added as floats."""
    floats = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]
    network = model(tmp_path, floats, {"w": ones(4, 3, 3, 3), "b": ones(4), "m": ones(4, 2)})
    integers = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("ConvInteger", ["xq", "w", "xz", "z"], ["ci"]),
        helper.make_node("Cast", ["ci"], ["cf"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "s"], ["cs"]),
        helper.make_node("Mul", ["cf", "cs"], ["cr"]),
        helper.make_node("Reshape", ["b", "channels"], ["br"]),
        helper.make_node("Add", ["cr", "br"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("DynamicQuantizeLinear", ["f"], ["fq", "fs", "fz"]),
        helper.make_node("MatMulInteger", ["fq", "m", "fz", "z"], ["mi"]),
        helper.make_node("Cast", ["mi"], ["mf"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["mf", "fs"], ["y"]),
    ]
    constants = {
        "w": ones(4, 3, 3, 3, dtype=np.uint8),
        "m": ones(4, 2, dtype=np.uint8),
        "b": ones(4),
        "channels": np.array([1, -1, 1, 1], np.int64),
        "s": np.array(0.5, np.float32),
        "z": np.array(1, np.uint8),
    }
    quantised = model(tmp_path, integers, constants)
    assert (network.precision, quantised.precision) == ("fp32", "int8-dynamic")
    assert quantised.macs == network.macs == 4 * 27 * 36 + 8
    assert quantised.params == network.params == 108 + 4 + 8
    assert quantised.weights == {"uint8": 116, "float32": 4}
    assert quantised.uncounted_ops == ()


@pytest.mark.parametrize(("activations", "precision"), [(np.int8, "int8"), (np.int16, "int16x8")])
def test_the_zero_point_of_the_activations_tells_int8_from_int16x8(
    tmp_path: Path, activations: type, precision: str
) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xr"]),
        helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["wr"]),
        helper.make_node("Conv", ["xr", "wr"], ["y"]),
    ]
    constants = {
        "s": np.array(0.5, np.float32),
        "z": np.array(0, activations),
        "wz": np.array(0, np.int8),
        "w": ones(4, 3, 3, 3, dtype=np.int8),
    }
    assert model(tmp_path, nodes, constants, opset=21).precision == precision


@pytest.mark.parametrize(
    ("activations", "precision"), [("FLOAT32", "int8-dynamic"), ("INT8", "int8"), ("INT16", "int16x8")]
)
def test_tflite_tells_its_kinds_of_int8_by_the_input_of_the_product(
    tmp_path: Path, activations: str, precision: str
) -> None:
    types, file = schema.TensorType, TinyTflite()
    x = file.tensor("x", [1, 8], kind=getattr(types, activations))
    w = file.tensor("w", [2, 8], ones(2, 8, dtype=np.int8), kind=types.INT8)
    y = file.op(schema.BuiltinOperator.FULLY_CONNECTED, [x, w, -1], file.tensor("y", [1, 2]))
    file.graph.inputs, file.graph.outputs = [x], [y]
    (tmp_path / "a.tflite").write_bytes(file.bytes())
    graph = read_graph(tmp_path / "a.tflite")
    assert (graph.precision, graph.macs, graph.weights) == (precision, 16, {"int8": 16})


def test_int8_weights_that_are_dequantised_first_are_int8(tmp_path: Path) -> None:
    types, file = schema.TensorType, TinyTflite()
    x = file.tensor("x", [1, 8])
    q = file.tensor("q", [2, 8], ones(2, 8, dtype=np.int8), kind=types.INT8)
    w = file.op(schema.BuiltinOperator.DEQUANTIZE, [q], file.tensor("w", [2, 8]))
    y = file.op(schema.BuiltinOperator.FULLY_CONNECTED, [x, w, -1], file.tensor("y", [1, 2]))
    file.graph.inputs, file.graph.outputs = [x], [y]
    (tmp_path / "a.tflite").write_bytes(file.bytes())
    assert read_graph(tmp_path / "a.tflite").precision == "int8"


# ---- Public files ----


@pytest.mark.skipif(
    not (PUBLIC / "vietanh954").is_dir(), reason="needs shared/pretrained beside the repository"
)
def test_a_public_network_and_its_dynamic_int8_file_have_the_same_counts() -> None:
    graphs = [
        read_graph(PUBLIC / "vietanh954" / name) for name in ("best_model.onnx", "best_model_quantized.onnx")
    ]
    assert [graph.precision for graph in graphs] == ["fp32", "int8-dynamic"]
    assert {(graph.macs, graph.params, graph.uncounted_ops) for graph in graphs} == {
        (104_154_112, 468_176, ())
    }


@pytest.mark.skipif(not (PUBLIC / "feni").is_dir(), reason="needs shared/pretrained beside the repository")
def test_a_public_network_has_the_same_products_in_both_formats() -> None:
    names = ("MiniFASNetV2.onnx", "MiniFASNetV2_float32.tflite", "MiniFASNetV2_float16.tflite")
    graphs = [read_graph(PUBLIC / "feni" / f"2.7_80x80_{name}") for name in names]
    assert [graph.precision for graph in graphs] == ["fp32", "fp32", "fp16"]
    assert {(graph.macs, graph.uncounted_ops) for graph in graphs} == {(40_718_220, ())}
