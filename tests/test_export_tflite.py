import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import skip_without

torch = pytest.importorskip("torch")
skip_without("litert_torch")

import small_nets  # noqa: E402 - torch must be there first
from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from ai_edge_litert.interpreter import Interpreter  # noqa: E402
from ai_edge_litert.tools import flatbuffer_utils  # noqa: E402

from swapbench.modelfile import read_graph  # noqa: E402
from swapbench.workshop.export import flatbuffer, to_tflite  # noqa: E402
from swapbench.workshop.export.rewrite import shipped  # noqa: E402

pytestmark = pytest.mark.slow

NETS = {
    "prelu": small_nets.PReluNet,
    "hard_swish": small_nets.HardSwishNet,
    "difference": small_nets.DifferenceNet,
    "residual": small_nets.ResidualNet,
}
PRECISIONS = ("fp32", "fp16", "int8")
CALIBRATION = small_nets.images(32, seed=1)
JUDGED = small_nets.images(48, seed=2)


@functools.cache
def net(name: str) -> Any:
    return shipped(small_nets.settled(NETS[name]()))


@functools.cache
def base(name: str) -> bytes:
    return to_tflite.export_base(net(name), small_nets.SIZE_PX, small_nets.SIZE_PX)


def int8(content: bytes, samples: np.ndarray = CALIBRATION, in_float: tuple[int, ...] = ()) -> bytes:
    return to_tflite.Quantiser(content, "int8", samples).file(in_float)


@functools.cache
def file(name: str, precision: str) -> bytes:
    if precision == "int8":
        return int8(base(name))
    return {"fp32": to_tflite.fp32, "fp16": to_tflite.fp16}[precision](base(name))


def interpreter(content: bytes) -> Interpreter:
    made = Interpreter(model_content=content, num_threads=1)
    made.allocate_tensors()
    return made


def run(content: bytes) -> np.ndarray:
    made, rows = interpreter(content), []
    for image in JUDGED:
        made.set_tensor(made.get_input_details()[0]["index"], image[None])
        made.invoke()
        rows.append(made.get_tensor(made.get_output_details()[0]["index"])[0].copy())
    return np.stack(rows)


def graph(content: bytes, folder: Path) -> Any:
    path = folder / "a.tflite"
    path.write_bytes(content)
    return read_graph(path)


@pytest.mark.parametrize("name", NETS)
def test_an_fp32_file_computes_what_pytorch_computes(name: str) -> None:
    assert np.abs(run(file(name, "fp32")) - small_nets.outputs(net(name), JUDGED)).max() <= 2e-5


@pytest.mark.parametrize("name", NETS)
def test_an_fp16_file_is_near(name: str) -> None:
    assert np.abs(run(file(name, "fp16")) - small_nets.outputs(net(name), JUDGED)).max() <= 2e-2


def test_lower_precision_is_a_smaller_file() -> None:
    sizes = [len(file("prelu", precision)) for precision in PRECISIONS]
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.5 * sizes[0]


@pytest.mark.parametrize("name", NETS)
def test_an_int8_file_follows_fp32(name: str) -> None:
    exact, found = small_nets.outputs(net(name), JUDGED), run(file(name, "int8"))
    assert np.corrcoef((exact[:, 1] - exact[:, 0]), (found[:, 1] - found[:, 0]))[0, 1] >= 0.97


@pytest.mark.parametrize("name", NETS)
def test_every_precision_has_the_same_counts_and_no_transposition(name: str, tmp_path: Path) -> None:
    graphs = [graph(file(name, precision), tmp_path) for precision in PRECISIONS]
    assert len({(one.params, one.macs) for one in graphs}) == 1
    assert [one.precision for one in graphs] == list(PRECISIONS)
    for one in graphs:
        assert "TRANSPOSE" not in one.ops
        assert one.layout == "nhwc"
        assert one.uncounted_ops == ()
        assert [(t.name, t.dtype) for t in (*one.inputs, *one.outputs)] == [
            ("input", "float32"),
            ("logits", "float32"),
        ]


@pytest.mark.parametrize("name", NETS)
def test_both_formats_count_the_same(name: str, tmp_path: Path) -> None:
    from swapbench.workshop.export import to_onnx

    path = tmp_path / "a.onnx"
    path.write_bytes(to_onnx.fp32(to_onnx.export_base(net(name), small_nets.SIZE_PX, small_nets.SIZE_PX)))
    onnx_graph, tflite_graph = read_graph(path), graph(file(name, "fp32"), tmp_path)
    assert (onnx_graph.params, onnx_graph.macs) == (tflite_graph.params, tflite_graph.macs)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_xnnpack_takes_the_whole_graph(name: str, precision: str) -> None:
    # after delegation the plan is the one delegate and nothing else
    details = interpreter(file(name, precision))._get_ops_details()
    nodes = [one for one in details if one["op_name"] != "DELEGATE"]
    delegated = [one for one in details if one["op_name"] == "DELEGATE"]
    assert len(delegated) == 1
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file(name, precision)))
    assert len(nodes) == len(model.subgraphs[0].operators)


def test_prelu_is_one_operator_and_stays_in_float_in_int8(tmp_path: Path) -> None:
    ops = graph(base("prelu"), tmp_path).ops
    assert ops["PRELU"] == 4
    assert not {"RELU", "MUL", "SUB"} & ops.keys()
    assert input_types(file("prelu", "int8"), schema.BuiltinOperator.PRELU) == {schema.TensorType.FLOAT32}


def test_hard_swish_is_one_operator_and_stays_in_float_in_int8(tmp_path: Path) -> None:
    assert graph(base("hard_swish"), tmp_path).ops["HARD_SWISH"] == 2
    content = file("hard_swish", "int8")
    assert input_types(content, schema.BuiltinOperator.HARD_SWISH) == {schema.TensorType.FLOAT32}
    assert schema.TensorType.INT8 in input_types(content, schema.BuiltinOperator.CONV_2D)


def input_types(content: bytes, code: int) -> set[int]:
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    main = model.subgraphs[0]
    return {
        main.tensors[op.inputs[0]].type
        for op in main.operators
        if model.operatorCodes[op.opcodeIndex].builtinCode == code
    }


@pytest.mark.parametrize("name", ["difference", "residual"])
def test_padded_max_pooling_after_relu_pads_with_zeros(name: str, tmp_path: Path) -> None:
    for precision in PRECISIONS:
        ops = graph(file(name, precision), tmp_path).ops
        assert "PADV2" not in ops
        assert ops["MAX_POOL_2D"] == 1


def test_folded_central_differences_are_plain_convolutions(tmp_path: Path) -> None:
    ops = graph(base("difference"), tmp_path).ops
    assert ops["CONV_2D"] == 2
    assert not {"SUB", "MUL"} & ops.keys()


def test_one_outlier_among_the_calibration_images_is_not_clipped() -> None:
    # the quantiser's own default, a moving average, would put the maximum near 5
    samples = CALIBRATION.copy()
    samples[5, 3, 3, 0] = 50.0
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(int8(base("residual"), samples)))
    main = model.subgraphs[0]
    first = next(op for op in main.operators if op.inputs[0] == main.inputs[0])
    stored = main.tensors[first.outputs[0]].quantization
    scale, zero = float(stored.scale[0]), float(stored.zeroPoint[0])
    assert (127 - zero) * scale == pytest.approx(50.0, abs=scale)
    assert (-128 - zero) * scale == pytest.approx(float(samples.min()), abs=scale)


def test_the_output_of_an_int8_file_is_no_multiple_of_one_step() -> None:
    found = run(file("residual", "int8"))
    assert len(np.unique(found[:, 0])) > 0.9 * len(found)


def test_leading_layers_stay_in_float_where_asked_for() -> None:
    content = int8(base("residual"), in_float=(0, 1))
    assert kernel_types(content) == [
        schema.TensorType.FLOAT32,
        schema.TensorType.FLOAT32,
        schema.TensorType.INT8,
    ]
    assert kernel_types(file("residual", "int8")) == [schema.TensorType.INT8] * 3


def kernel_types(content: bytes) -> list[int]:
    """Element types of the convolutions' weights in the order in which they run."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    main = model.subgraphs[0]
    return [
        main.tensors[op.inputs[1]].type
        for op in main.operators
        if model.operatorCodes[op.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
    ]


def test_weights_are_quantised_by_channel() -> None:
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file("residual", "int8")))
    main = model.subgraphs[0]
    kernels = [one for one in main.tensors if one.type == schema.TensorType.INT8 and one.name.endswith(b".1")]
    assert len(kernels) == 3
    assert all(len(one.quantization.scale) == 16 for one in kernels)


def test_exporting_twice_gives_the_same_bytes() -> None:
    again = to_tflite.export_base(net("prelu"), small_nets.SIZE_PX, small_nets.SIZE_PX)
    assert again == base("prelu")
    assert to_tflite.fp16(again) == file("prelu", "fp16")
    assert int8(again) == file("prelu", "int8")


def test_a_file_carries_short_names_and_no_module_paths() -> None:
    assert b"small_nets" not in base("prelu")
    assert b"torch.nn" not in base("prelu")


def test_constant_data_lies_at_multiples_of_sixteen_bytes() -> None:
    for precision in PRECISIONS:
        content = flatbuffer.described(file("prelu", precision), "{}")
        model = schema.Model.GetRootAs(content, 0)
        starts = [
            model.Buffers(n)._tab.Vector(model.Buffers(n)._tab.Offset(4))
            for n in range(model.BuffersLength())
            if not model.Buffers(n).DataIsNone()
        ]
        assert len(starts) > 10
        assert {start % 16 for start in starts} == {0}


def test_the_description_travels_in_the_file_and_changes_nothing_else(tmp_path: Path) -> None:
    content = flatbuffer.described(file("prelu", "int8"), '{"network":"old"}')
    content = flatbuffer.described(content, '{"network":"mini"}')
    assert graph(content, tmp_path).metadata == {"network": "mini"}
    assert np.array_equal(run(content), run(file("prelu", "int8")))
    assert b'"old"' not in content
