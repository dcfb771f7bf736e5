from __future__ import annotations

import io
import math
import random
from typing import TYPE_CHECKING

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from PIL import Image
from tiny_files import TinyTflite, mobilenet_v2, ones, onnx_bytes, small_onnx, small_tflite

from swapbench.errors import BadModelFile
from swapbench.modelfile import Graph, read_graph, single_static_input

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, bytes], Path]

SMALL_MACS = 4 * 27 * 64 + 8
SMALL_PARAMS = 4 * 27 + 4 + 4 + 8 + 2


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return put


def read(write: Write, name: str, content: bytes) -> Graph:
    return read_graph(write(name, content))


def test_a_small_onnx_graph_is_counted_as_on_paper(write: Write) -> None:
    content = small_onnx()
    graph = read(write, "a.onnx", content)
    assert (graph.macs, graph.params, graph.file_bytes) == (SMALL_MACS, SMALL_PARAMS, len(content))
    assert (graph.format, graph.precision, graph.layout) == ("onnx", "fp32", "nchw")
    assert graph.ops == {"Conv": 1, "PRelu": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert graph.uncounted_ops == ()
    assert [(one.name, one.shape, one.dtype) for one in graph.inputs] == [("x", (1, 3, 8, 8), "float32")]
    assert graph.outputs[0].shape == (1, 2)
    assert graph.metadata is None


def test_the_same_network_counts_the_same_in_tflite(write: Write) -> None:
    graph = read(write, "a.tflite", small_tflite().bytes())
    assert (graph.macs, graph.params) == (SMALL_MACS, SMALL_PARAMS)
    assert (graph.format, graph.precision, graph.layout) == ("tflite", "fp32", "nhwc")
    assert graph.ops == {"CONV_2D": 1, "PRELU": 1, "MEAN": 1, "FULLY_CONNECTED": 1}


def test_mobilenet_v2_has_the_published_counts(write: Write) -> None:
    graph = read(write, "mobilenet.onnx", mobilenet_v2())
    assert graph.macs == 300_774_272
    assert graph.params == 3_487_816


@pytest.mark.parametrize(
    ("slopes", "nodes"),
    [
        (
            "sum",
            [
                helper.make_node("Mul", ["x", "a"], ["ax"]),
                helper.make_node("Relu", ["x"], ["r"]),
                helper.make_node("Mul", ["r", "rest"], ["br"]),
                helper.make_node("Add", ["ax", "br"], ["y"]),
            ],
        ),
        ("max", [helper.make_node("Mul", ["x", "a"], ["ax"]), helper.make_node("Max", ["x", "ax"], ["y"])]),
        ("prelu", [helper.make_node("PRelu", ["x", "a"], ["y"])]),
    ],
)
@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 1)])
def test_the_slopes_of_a_prelu_count_once_in_every_form(
    write: Write, slopes: str, nodes: list, shape: tuple[int, ...]
) -> None:
    constants = {"a": ones(*shape) / 4}
    if slopes == "sum":
        constants["rest"] = 1 - constants["a"]
    graph = read(write, "a.onnx", onnx_bytes(nodes, constants))
    assert graph.params == shape[0]


def test_weights_count_through_dequantisation_but_scales_and_zero_points_do_not(write: Write) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "s", "z"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["b32", "sb"], ["b"], axis=0),
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
    ]
    constants = {
        "w8": ones(4, 3, 3, 3, dtype=np.int8),
        "s": ones(4),
        "z": np.zeros(4, np.int8),
        "b32": ones(4, dtype=np.int32),
        "sb": ones(4),
    }
    graph = read(write, "a.onnx", onnx_bytes(nodes, constants))
    assert graph.params == 4 * 27 + 4
    assert graph.macs == 4 * 27 * 36
    assert graph.precision == "int8"


def test_half_precision_weights_count_through_a_cast(write: Write) -> None:
    nodes = [
        helper.make_node("Cast", ["w16"], ["w"], to=1),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    graph = read(write, "a.onnx", onnx_bytes(nodes, {"w16": ones(4, 3, 3, 3, dtype=np.float16)}))
    assert (graph.params, graph.precision) == (108, "fp16")


def test_quantised_operators_count_their_weights_and_biases_alone(write: Write) -> None:
    u8, one = np.uint8, ones()
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "zw", "s", "z", "b"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    constants = {
        "s": one,
        "z": np.array(0, u8),
        "w": ones(4, 3, 3, 3, dtype=np.int8),
        "zw": np.array(0, np.int8),
        "b": ones(4, dtype=np.int32),
    }
    graph = read(write, "a.onnx", onnx_bytes(nodes, constants))
    assert (graph.params, graph.macs) == (112, 4 * 27 * 36)


def test_a_constant_that_is_used_twice_counts_once_and_an_all_zero_bias_not_at_all(write: Write) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "zero"], ["c"], pads=[1] * 4),
        helper.make_node("Conv", ["c", "w", "zero"], ["y"], pads=[1] * 4),
    ]
    graph = read(write, "a.onnx", onnx_bytes(nodes, {"w": ones(3, 3, 3, 3), "zero": np.zeros(3, np.float32)}))
    assert graph.params == 81
    assert graph.macs == 2 * 81 * 64


def test_grouped_and_transposed_convolutions_and_matrix_products(write: Write) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "depthwise"], ["c"], group=4),  # 4x6x6 outputs of 9
        helper.make_node("ConvTranspose", ["c", "up"], ["t"], strides=[2, 2]),  # 4x6x6 inputs of 2x2x2
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["p"]),  # [24, 12] x [12, 5]
        helper.make_node("Add", ["p", "bias"], ["y"]),
    ]
    constants = {
        "depthwise": ones(4, 1, 3, 3),
        "up": ones(4, 2, 2, 2),
        "shape": np.array([1, 24, 12], np.int64),
        "m": ones(12, 5),
        "bias": ones(5),
    }
    graph = read(write, "a.onnx", onnx_bytes(nodes, constants, inputs={"x": [1, 4, 8, 8]}))
    assert graph.macs == 4 * 36 * 9 + 4 * 36 * 8 + 24 * 12 * 5
    assert graph.params == 36 + 32 + 60 + 5


def test_operators_whose_products_are_not_counted_are_named(write: Write) -> None:
    nodes = [
        helper.make_node("Einsum", ["x", "w"], ["e"], equation="nchw,cd->ndhw"),
        helper.make_node("Mystery", ["e"], ["y"], domain="somebody"),
    ]
    graph = read(write, "a.onnx", onnx_bytes(nodes, {"w": ones(3, 2)}, domains=("", "somebody")))
    assert graph.uncounted_ops == ("Einsum", "Mystery")
    assert graph.macs == 0


def test_tflite_counts_depthwise_and_transposed_convolutions_products_and_custom_operators(
    write: Write,
) -> None:
    code, file = schema.BuiltinOperator, TinyTflite()
    x = file.tensor("x", [1, 8, 8, 4])
    half = file.tensor(
        "half", [1, 3, 3, 4], ones(1, 3, 3, 4, dtype=np.float16), kind=schema.TensorType.FLOAT16
    )
    w = file.op(code.DEQUANTIZE, [half], file.tensor("w", [1, 3, 3, 4]))
    c = file.op(code.DEPTHWISE_CONV_2D, [x, w, -1], file.tensor("c", [1, 6, 6, 4]))
    size = file.tensor("size", [4], np.array([1, 12, 12, 2], np.int32), kind=schema.TensorType.INT32)
    up = file.tensor("up", [2, 2, 2, 4], ones(2, 2, 2, 4))
    t = file.op(code.TRANSPOSE_CONV, [size, up, c], file.tensor("t", [1, 12, 12, 2]))
    m = file.op(code.BATCH_MATMUL, [t, t], file.tensor("m", [1, 12, 12, 12]))
    y = file.op(code.CUSTOM, [m], file.tensor("y", [1, 2]))
    file.graph.inputs, file.graph.outputs = [x], [y]
    graph = read(write, "a.tflite", file.bytes())
    assert graph.macs == 4 * 36 * 9 + 4 * 36 * 8 + 12 * 12 * 12 * 2
    assert graph.params == 36 + 32
    assert graph.uncounted_ops == ("CUSTOM",)
    assert graph.precision == "fp16"


def test_a_quantised_input_tells_its_scale_and_zero_point(write: Write) -> None:
    graph = read(write, "a.tflite", small_tflite(quantised=(0.5, -3)).bytes())
    tensor = single_static_input(graph, "a.tflite")
    assert (tensor.dtype, tensor.scale, tensor.zero_point) == ("int8", 0.5, -3)


@pytest.mark.parametrize("name", ["a.onnx", "a.tflite"])
def test_our_description_is_read_back(write: Write, name: str) -> None:
    text = '{"network":"mini","preprocessing":{"width_px":80}}'
    content = (
        small_onnx(metadata={"swapbench": text, "other": "x"})
        if name == "a.onnx"
        else small_tflite(metadata=text).bytes()
    )
    assert read(write, name, content).metadata == {"network": "mini", "preprocessing": {"width_px": 80}}


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_description_is_refused(write: Write, text: str) -> None:
    with pytest.raises(BadModelFile, match="metadata is not"):
        read(write, "a.tflite", small_tflite(metadata=text).bytes())


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match=r"cannot read .*No such file"):
        read_graph(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("name", ["a.onnx", "a.tflite"])
def test_an_empty_file_says_so(write: Write, name: str) -> None:
    with pytest.raises(BadModelFile, match="is empty"):
        read(write, name, b"")


def test_another_kind_of_file_is_refused_by_its_name(write: Write) -> None:
    with pytest.raises(BadModelFile, match=r"is no \.onnx, \.tflite, \.param or \.pte file"):
        read(write, "a.pth", b"x")


@pytest.mark.parametrize("name", ["a.onnx", "a.tflite"])
@pytest.mark.parametrize("kind", ["jpeg", "text", "zeros", "the other format"])
def test_foreign_content_under_a_model_s_name_is_refused_in_one_line(
    write: Write, name: str, kind: str
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "JPEG")
    content = {
        "jpeg": picture.getvalue(),
        "text": b"<html>404 not found</html>\n" * 20,
        "zeros": bytes(4096),
        "the other format": small_tflite().bytes() if name == "a.onnx" else small_onnx(),
    }[kind]
    with pytest.raises(BadModelFile) as caught:
        read(write, name, content)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("content", [small_onnx(), small_tflite().bytes()], ids=["onnx", "tflite"])
def test_a_file_cut_short_anywhere_is_refused_or_complete(write: Write, content: bytes) -> None:
    name = "a.tflite" if content[4:8] == b"TFL3" else "a.onnx"
    refused = 0
    for length in range(1, len(content), 7):
        try:
            graph = read(write, name, content[:length])
        except BadModelFile:
            refused += 1
        else:  # nothing but padding or texts after the graph were lost
            assert (graph.macs, graph.params) == (SMALL_MACS, SMALL_PARAMS)
    assert refused >= len(range(1, len(content), 7)) - 2


@pytest.mark.parametrize("content", [small_onnx(), small_tflite().bytes()], ids=["onnx", "tflite"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 6))
def test_a_damaged_file_is_read_or_refused_but_never_anything_else(
    write: Write, content: bytes, seed: int, flips: int
) -> None:
    damaged, dice = bytearray(content), random.Random(seed)
    for _ in range(flips):
        damaged[dice.randrange(8, len(damaged))] = dice.randrange(256)
    name = "a.tflite" if content[4:8] == b"TFL3" else "a.onnx"
    try:
        graph = read(write, name, bytes(damaged))
    except BadModelFile as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert graph.inputs


def test_two_inputs_can_be_looked_at_but_not_scored(write: Write) -> None:
    nodes = [helper.make_node("Add", ["x", "other"], ["y"])]
    onnx_two = onnx_bytes(nodes, {}, inputs={"x": [1, 3, 8, 8], "other": [1, 3, 8, 8]})
    for graph in (
        read(write, "a.onnx", onnx_two),
        read(write, "a.tflite", small_tflite(second_input=True).bytes()),
    ):
        assert len(graph.inputs) == 2
        with pytest.raises(BadModelFile, match="model has 2 inputs \\(x, other\\)"):
            single_static_input(graph, "model")


def test_constant_data_that_does_not_fill_its_shape_is_refused(write: Write) -> None:
    file = small_tflite()
    file.graph.tensors[1].shape = [4, 3, 3, 4]
    with pytest.raises(BadModelFile, match="does not fit"):
        read(write, "a.tflite", file.bytes())


@pytest.mark.parametrize("index", [99, -7])
def test_an_operator_that_refers_to_nothing_is_refused(write: Write, index: int) -> None:
    file = small_tflite()
    file.graph.operators[0].inputs = [0, index, 2]
    with pytest.raises(BadModelFile, match="refers to a missing tensor"):
        read(write, "a.tflite", file.bytes())


def test_the_small_counts_are_those_of_the_arithmetic() -> None:
    assert math.prod((4, 3, 3, 3)) * 64 + 8 == SMALL_MACS == 6920
    assert SMALL_PARAMS == 126


def test_a_file_that_names_one_part_many_times_is_refused_before_it_fills_the_memory(write: Write) -> None:
    """One subgraph of 300 tensors, named 2,000 times in 20 kB."""
    file = TinyTflite()
    file.graph.inputs = [file.tensor(f"t{place}", [1, 2, 3, 4]) for place in range(300)][:1]
    file.graph.outputs = file.graph.inputs
    file.op(schema.BuiltinOperator.NEG, file.graph.inputs, 1)
    builder = flatbuffers.Builder(0)
    graph, buffer, code = (
        one.Pack(builder) for one in (file.graph, schema.BufferT(), file.model.operatorCodes[0])
    )
    vectors = []
    for start, place, count in (
        (schema.ModelStartSubgraphsVector, graph, 2000),
        (schema.ModelStartBuffersVector, buffer, 1),
        (schema.ModelStartOperatorCodesVector, code, 1),
    ):
        start(builder, count)
        for _ in range(count):
            builder.PrependUOffsetTRelative(place)
        vectors.append(builder.EndVector())
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, vectors[0])
    schema.ModelAddBuffers(builder, vectors[1])
    schema.ModelAddOperatorCodes(builder, vectors[2])
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    content = bytes(builder.Output())
    assert len(content) < 40_000
    with pytest.raises(BadModelFile, match="names its parts far more often"):
        read(write, "a.tflite", content)


@pytest.mark.parametrize("name", [b"Conv", b"GlobalAveragePool", b"slope"])
def test_a_name_that_is_no_text_is_damage(write: Write, name: bytes) -> None:
    content = small_onnx().replace(name, b"\xff" * len(name))
    with pytest.raises(BadModelFile, match="is damaged: a name in it is no text"):
        read(write, "a.onnx", content)


def test_a_free_length_whose_name_is_no_text_is_damage(write: Write) -> None:
    content = small_onnx(inputs={"x": ["batches", 3, 8, 8]}).replace(b"batches", b"\xff" * 7)
    with pytest.raises(BadModelFile, match="is damaged: a name in it is no text"):
        read(write, "a.onnx", content)


def test_a_node_without_the_input_that_it_needs_is_damage(write: Write) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Identity", ["n"], ["y"])]
    model = onnx.load_model_from_string(onnx_bytes(nodes, {}))
    del model.graph.node[1].input[:]
    with pytest.raises(BadModelFile, match="is damaged"):
        read(write, "a.onnx", model.SerializeToString())
