import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")

import small_nets  # noqa: E402 - torch must be there first

from swapbench.devices.linux_text import int8_saturates  # noqa: E402
from swapbench.modelfile import read_graph  # noqa: E402
from swapbench.workshop.export import to_onnx  # noqa: E402
from swapbench.workshop.export.rewrite import shipped  # noqa: E402

pytestmark = pytest.mark.slow

NETS = {
    "prelu": small_nets.PReluNet,
    "hard_swish": small_nets.HardSwishNet,
    "difference": small_nets.DifferenceNet,
    "residual": small_nets.ResidualNet,
}
CALIBRATION = small_nets.nchw(small_nets.images(32, seed=1))
JUDGED = small_nets.images(48, seed=2)
CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def net(name: str) -> Any:
    return shipped(small_nets.settled(NETS[name]()))


@functools.cache
def base(name: str) -> bytes:
    return to_onnx.export_base(net(name), small_nets.SIZE_PX, small_nets.SIZE_PX)


def int8(content: bytes, samples: np.ndarray = CALIBRATION, in_float: tuple[int, ...] = ()) -> bytes:
    return to_onnx.Quantiser(content, "int8", samples).file(in_float)


@functools.cache
def file(name: str, precision: str) -> bytes:
    if precision == "int8":
        return int8(base(name))
    return {"fp32": to_onnx.fp32, "fp16": to_onnx.fp16}[precision](base(name))


def run(content: bytes, *, fused: bool = True) -> np.ndarray:
    """Logits of the file; unfused, int8 nodes compute in float between quantising and dequantising."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": row[None]})[0] for row in small_nets.nchw(JUDGED)])


@pytest.mark.parametrize("name", NETS)
def test_an_fp32_file_computes_what_pytorch_computes(name: str) -> None:
    assert np.abs(run(file(name, "fp32")) - small_nets.outputs(net(name), JUDGED)).max() <= 2e-5


@pytest.mark.parametrize("name", NETS)
def test_an_fp16_file_is_near_keeps_its_float32_ends_and_passes_the_checker(name: str) -> None:
    content = file(name, "fp16")
    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    ends = [*model.graph.input, *model.graph.output]
    assert [one.type.tensor_type.elem_type for one in ends] == [onnx.TensorProto.FLOAT] * 2
    assert np.abs(run(content) - small_nets.outputs(net(name), JUDGED)).max() <= 2e-2


@pytest.mark.parametrize("name", NETS)
def test_an_int8_file_follows_fp32(name: str) -> None:
    exact = small_nets.outputs(net(name), JUDGED)
    found = run(
        file(name, "int8"), fused=not int8_saturates(CPUINFO.read_text() if CPUINFO.is_file() else "")
    )
    assert np.corrcoef((exact[:, 1] - exact[:, 0]), (found[:, 1] - found[:, 0]))[0, 1] >= 0.97


def test_lower_precision_is_a_smaller_file() -> None:
    sizes = [len(file("prelu", precision)) for precision in ("fp32", "fp16", "int8")]
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.5 * sizes[0]


@pytest.mark.parametrize("name", NETS)
def test_every_precision_has_the_same_counts_and_tells_what_it_is(name: str, tmp_path: Path) -> None:
    graphs = []
    for precision in ("fp32", "fp16", "int8"):
        path = tmp_path / f"{precision}.onnx"
        path.write_bytes(file(name, precision))
        graphs.append(read_graph(path))
    assert len({(one.params, one.macs) for one in graphs}) == 1
    assert [one.precision for one in graphs] == ["fp32", "fp16", "int8"]
    assert {one.layout for one in graphs} == {"nchw"}
    assert {one.uncounted_ops for one in graphs} == {()}
    assert {(one.inputs[0].name, one.outputs[0].name) for one in graphs} == {("input", "logits")}


def test_prelu_runs_in_no_slow_kernel_in_any_precision() -> None:
    assert b"PRelu" in base("prelu")
    for precision in ("fp32", "fp16", "int8"):
        model = onnx.load_model_from_string(file("prelu", precision))
        assert "PRelu" not in {node.op_type for node in model.graph.node}


def test_slopes_above_one_are_right_in_int8_too() -> None:
    slope = np.array([0.25, 1.5], np.float32)
    x = np.array([[-2.0, -4.0]], np.float32)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("PRelu", ["input", "slope"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("input", 1, [1, 2])],
            [onnx.helper.make_tensor_value_info("y", 1, [1, 2])],
            [numpy_helper.from_array(slope, "slope")],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    import onnxruntime

    for form in ("sum", "max"):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        to_onnx.rewrite_prelu(changed, form)
        session = onnxruntime.InferenceSession(
            changed.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        assert session.run(None, {"input": x})[0].tolist() == [[-0.5, -6.0]]


def test_hard_swish_stays_whole() -> None:
    for precision in ("fp32", "int8"):
        model = onnx.load_model_from_string(file("hard_swish", precision))
        assert sum(node.op_type == "HardSwish" for node in model.graph.node) == 2


def test_one_outlier_among_the_calibration_images_is_not_clipped() -> None:
    samples = CALIBRATION.copy()
    samples[5, 0, 3, 3] = 50.0
    model = onnx.load_model_from_string(int8(base("residual"), samples))
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    first = next(
        node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "input"
    )
    scale, zero = float(constants[first.input[1]]), float(constants[first.input[2]])
    assert (255 - zero) * scale == pytest.approx(50.0, abs=scale)
    assert -zero * scale == pytest.approx(float(samples.min()), abs=scale)


def test_the_output_of_an_int8_file_is_no_multiple_of_one_step() -> None:
    found = run(file("residual", "int8"))
    assert len(np.unique(found[:, 0])) > 0.9 * len(found)
    model = onnx.load_model_from_string(file("residual", "int8"))
    assert model.graph.node[-1].op_type == "Gemm"  # nothing is dequantised after the last layer


def test_leading_layers_stay_in_float_where_asked_for() -> None:
    model = onnx.load_model_from_string(int8(base("residual"), in_float=(0, 1)))
    kernels = [one.data_type for one in model.graph.initializer if len(one.dims) == 4]
    assert sorted(kernels) == [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.INT8]
    quantised = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert "input" not in quantised


def test_activations_are_unsigned_and_weights_signed_by_channel() -> None:
    model = onnx.load_model_from_string(file("residual", "int8"))
    constants = {one.name: one for one in model.graph.initializer}
    quantise = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert {constants[node.input[2]].data_type for node in quantise} == {onnx.TensorProto.UINT8}
    kernels = [
        one
        for one in model.graph.initializer
        if one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 4
    ]
    assert len(kernels) == 3
    scales = {
        node.input[0]: constants[node.input[1]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    assert all(tuple(scales[one.name].dims) == (one.dims[0],) for one in kernels)


def test_exporting_twice_gives_the_same_bytes() -> None:
    again = to_onnx.export_base(net("prelu"), small_nets.SIZE_PX, small_nets.SIZE_PX)
    assert again == base("prelu")
    assert to_onnx.fp16(again) == file("prelu", "fp16")
    assert int8(again) == file("prelu", "int8")


def test_a_file_says_nothing_about_the_machine_that_made_it() -> None:
    content = file("prelu", "int8")
    assert str(Path(small_nets.__file__).parent).encode() not in content
    assert b".py" not in content
    assert b"stack_trace" not in content


def test_the_description_travels_in_the_file_and_changes_nothing_else(tmp_path: Path) -> None:
    content = to_onnx.described(
        to_onnx.described(file("prelu", "fp32"), '{"network":"old"}'), '{"network":"mini"}'
    )
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    assert read_graph(path).metadata == {"network": "mini"}
    assert np.array_equal(run(content), run(file("prelu", "fp32")))
