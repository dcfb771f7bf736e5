"""Model files of a few bytes, made without any exporter: what the tests of reading feed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def onnx_bytes(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    *,
    inputs: dict[str, list[Any]] | None = None,
    metadata: dict[str, str] | None = None,
    domains: tuple[str, ...] = ("",),
    also: dict[str, list[Any]] | None = None,
) -> bytes:
    """A graph from nodes and constants; unless told, "x" [1, 3, 8, 8] goes in and "y" comes out.

    `also` has the shapes of further outputs.
    """
    inputs = {"x": [1, 3, 8, 8]} if inputs is None else inputs
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid(domain, 18 if domain == "" else 1) for domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    output = onnx.shape_inference.infer_shapes(model).graph.output[0]
    if not output.type.tensor_type.HasField("shape"):
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    model.graph.output[0].CopyFrom(output)
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (also or {}).items()
    )
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def heavy(name: str) -> str:
    """Write an .onnx file that takes about a millisecond: eight products with a million weights."""
    names = [f"x{number}" for number in range(9)]
    x, y = (helper.make_tensor_value_info(names[place], TensorProto.FLOAT, [1, 1000]) for place in (0, -1))
    nodes = [helper.make_node("MatMul", [one, "w"], [other]) for one, other in itertools.pairwise(names)]
    weights = numpy_helper.from_array(np.full((1000, 1000), 1e-3, np.float32), "w")
    graph = helper.make_graph(nodes, "heavy", [x], [y], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), name)
    return name


def small_onnx(**options: Any) -> bytes:
    """Conv 3->4, 3x3 with bias on 8x8 (padded), PRelu, global pool, Gemm 4->2.

    4*27*64 + 8 MACs, 112 + 4 + 10 parameters.
    """
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("PRelu", ["c", "slope"], ["p"]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "fw", "fb"], ["y"], transB=1),
    ]
    constants = {
        "w": ones(4, 3, 3, 3),
        "b": ones(4),
        "slope": ones(4, 1, 1),
        "fw": ones(2, 4),
        "fb": ones(2),
    }
    return onnx_bytes(nodes, constants, **options)


class TinyTflite:
    """A flatbuffer put together tensor by tensor."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.model.metadata = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: list[int],
        data: np.ndarray | None = None,
        *,
        kind: int = schema.TensorType.FLOAT32,
        quantised: tuple[float, int] | None = None,
        signature: list[int] | None = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.shapeSignature = name, shape, kind, signature
        if quantised is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [quantised[0]], [quantised[1]]
        if data is not None:
            tensor.buffer = self.buffer(np.ascontiguousarray(data).view(np.uint8).ravel())
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def buffer(self, data: np.ndarray) -> int:
        buffer = schema.BufferT()
        buffer.data = data
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def op(self, code: int, inputs: list[int], output: int, options: Any = None, kind: int = 0) -> int:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        self.model.operatorCodes.append(entry)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.graph.operators.append(operator)
        return output

    def metadata(self, name: str, text: str) -> None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, self.buffer(np.frombuffer(text.encode(), np.uint8))
        self.model.metadata.append(entry)

    def bytes(self) -> bytes:
        builder = flatbuffers.Builder(256)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def convolution_options(activation: int = 0) -> tuple[Any, int]:
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding, options.fusedActivationFunction = schema.Padding.SAME, activation
    return options, schema.BuiltinOptions.Conv2DOptions


def small_ncnn(path: Path) -> None:
    """Write the network of `small_onnx` for ncnn: `path` and the .bin beside it; every weight is 1."""
    layers = (
        "Input x 0 1 x 0=8 1=8 2=3",
        "Convolution conv 1 1 x a 0=4 1=3 4=1 5=1 6=108",
        "PReLU prelu 1 1 a b 0=4",
        "Pooling pool 1 1 b c 0=1 4=1",
        "InnerProduct linear 1 1 c y 0=2 1=1 2=8",
    )
    path.write_text("\n".join(["7767517", "5 5", *layers, ""]), encoding="utf-8")
    tag = bytes(4)
    held = [(tag, 108), (b"", 4), (b"", 4), (tag, 8), (b"", 2)]
    path.with_suffix(".bin").write_bytes(b"".join(start + ones(count).tobytes() for start, count in held))


def small_tflite(
    *,
    signature: list[int] | None = None,
    quantised: tuple[float, int] | None = None,
    second_input: bool = False,
    metadata: str | None = None,
) -> TinyTflite:
    """The network of `small_onnx` with the same counts."""
    code = schema.BuiltinOperator
    file = TinyTflite()
    kind = schema.TensorType.FLOAT32 if quantised is None else schema.TensorType.INT8
    x = file.tensor("x", [1, 8, 8, 3], kind=kind, quantised=quantised, signature=signature)
    w = file.tensor("w", [4, 3, 3, 3], ones(4, 3, 3, 3))
    b = file.tensor("b", [4], ones(4))
    c = file.op(code.CONV_2D, [x, w, b], file.tensor("c", [1, 8, 8, 4]), *convolution_options())
    slope = file.tensor("slope", [1, 1, 4], ones(1, 1, 4))
    p = file.op(code.PRELU, [c, slope], file.tensor("p", [1, 8, 8, 4]))
    axes = file.tensor("axes", [2], np.array([1, 2], np.int32), kind=schema.TensorType.INT32)
    g = file.op(
        code.MEAN,
        [p, axes],
        file.tensor("g", [1, 4]),
        schema.ReducerOptionsT(),
        schema.BuiltinOptions.ReducerOptions,
    )
    fw, fb = file.tensor("fw", [2, 4], ones(2, 4)), file.tensor("fb", [2], ones(2))
    y = file.op(
        code.FULLY_CONNECTED,
        [g, fw, fb],
        file.tensor("y", [1, 2]),
        schema.FullyConnectedOptionsT(),
        schema.BuiltinOptions.FullyConnectedOptions,
    )
    file.graph.inputs, file.graph.outputs = [x], [y]
    if second_input:
        file.graph.inputs.append(file.tensor("other", [1, 2]))
    if metadata is not None:
        file.metadata("swapbench", metadata)
    return file


def two_outputs_tflite() -> TinyTflite:
    """What goes in [1, 4, 6, 3] comes out flattened as "y0"; "y1" is the same negated."""
    file = TinyTflite()
    x = file.tensor("x", [1, 4, 6, 3])
    shape = file.tensor("s", [2], np.array([1, 72], np.int32), kind=schema.TensorType.INT32)
    code, kinds = schema.BuiltinOperator, schema.BuiltinOptions
    y0 = file.tensor("y0", [1, 72])
    file.op(code.RESHAPE, [x, shape], y0, schema.ReshapeOptionsT(), kinds.ReshapeOptions)
    y1 = file.tensor("y1", [1, 72])
    file.op(code.NEG, [y0], y1, schema.NegOptionsT(), kinds.NegOptions)
    file.graph.inputs, file.graph.outputs = [x], [y0, y1]
    return file


def mobilenet_v2() -> bytes:
    """MobileNetV2 1.0 at 224 with batch norm folded: 300,774,272 MACs and 3,487,816 parameters."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}

    def convolution(x: str, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> str:
        name = f"c{len(nodes)}"
        constants[f"{name}w"] = ones(outputs, inputs // groups, kernel, kernel)
        constants[f"{name}b"] = ones(outputs)
        nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{name}w", f"{name}b"],
                [name],
                strides=[stride] * 2,
                pads=[kernel // 2] * 4,
                group=groups,
            )
        )
        return name

    x, width = convolution("x", 3, 32, 3, 2), 32
    for expansion, outputs, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for repeat in range(repeats):
            before, hidden = x, width * expansion
            if expansion != 1:
                x = convolution(x, width, hidden, 1, 1)
            x = convolution(x, hidden, hidden, 3, stride if repeat == 0 else 1, hidden)
            x = convolution(x, hidden, outputs, 1, 1)
            if repeat > 0:
                nodes.append(helper.make_node("Add", [before, x], [f"{x}+"]))
                x = f"{x}+"
            width = outputs
    x = convolution(x, width, 1280, 1, 1)
    constants |= {"fw": ones(1000, 1280), "fb": ones(1000)}
    nodes += [
        helper.make_node("GlobalAveragePool", [x], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "fw", "fb"], ["y"], transB=1),
    ]
    return onnx_bytes(nodes, constants, inputs={"x": [1, 3, 224, 224]})
