"""PyTorch to ONNX: fp32, fp16 and int8 files of a network; "input" is NCHW float32, "logits" float32.

The base is exported once, with PRelu as one node; the three precisions are made from it without PyTorch.
Every function returns the same bytes for the same arguments.
"""

from __future__ import annotations

import logging
import math
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import nn

INPUT = "input"
OUTPUT = "logits"
OPSET = 18
METADATA_KEY = "swapbench"

FLOAT_HEAD_SHARE = 0.02
"""The output layer stays in float where it has at most this share of all multiplications, see `int8`."""

QUANTISED = (
    *("Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "Clip"),
    *("Reshape", "Flatten", "Concat", "Resize", "Pad"),
)
"""Operators that are quantised. Mul and activations are faster in float between quantised convolutions."""

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def export_base(module: nn.Module, height_px: int, width_px: int) -> bytes:
    """The fp32 graph of a network, with batch norm folded and PRelu as single nodes; batch 1, static shape.

    Exported with the exporter on top of torch.export, opset 18 (it ignores requests for less), then onnxslim.
    File names and stack traces that the exporter records are dropped, so the bytes depend on the network
    alone.

    Args:
        module: In eval mode.
        height_px: Of the input.
        width_px: Of the input.
    """
    import onnxslim
    import torch

    from swapbench.workshop.export.rewrite import batch_norms_folded

    example = torch.zeros(1, 3, height_px, width_px)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            batch_norms_folded(module.eval()),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        model = onnxslim.slim(program.model_proto)
    return _serialised(_bare(model))


def fp32(base: bytes) -> bytes:
    """The base with PRelu in a form that is fast in onnxruntime: a*x + (1-a)*relu(x).

    onnxruntime's PRelu kernel takes three times as long as the convolutions around it (3.5 ms against 1.0 ms
    for a small network with PReLU), while this form is fused with them.
    """
    model = onnx.load_from_string(base)
    rewrite_prelu(model, "sum")
    return _serialised(model)


def fp16(base: bytes) -> bytes:
    """Weights and arithmetic in float16; input and output stay float32."""
    from onnxconverter_common import float16

    model = onnx.load_from_string(base)
    rewrite_prelu(model, "sum")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every constant below the smallest float16
        half = float16.convert_float_to_float16(model, keep_io_types=True)
    return _serialised(half)


def int8(base: bytes, samples: NDArray[np.float32], float_layers: int = 0) -> bytes:
    """Static quantisation (QDQ): weights int8 per channel, activations uint8 over their whole range.

    Input and output stay float32, as in the other precisions: applications need no change, and a score is not
    one of 256 values. For the same reason the output layer stays in float where it is small
    (`FLOAT_HEAD_SHARE`). PRelu becomes max(x, a*x), in float between quantised convolutions: the fastest form
    in int8 (where a slope exceeds 1: a*x + (1-a)*relu(x)). Even so, a small network with PReLU is no faster
    in int8 than in fp32 with onnxruntime on x86.

    Args:
        base: From `export_base`.
        samples: Normalised images [n, 3, height, width] for calibration.
        float_layers: Number of weighted layers from the input on that stay in float.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = onnx.load_from_string(base)
    rewrite_prelu(model, "max")
    exclude = [node.name for node in model.graph.node if node.name.startswith("prelu_")]
    exclude += [*leading(model, float_layers), *float_head(model)]
    log = logging.getLogger()
    level = log.level
    log.setLevel(
        logging.ERROR
    )  # it recommends a pre-processing that splits HardSwish and slows down the result
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantize_static(
                model,
                path,
                _reader(samples),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=exclude,
            )
            quantised = onnx.load(path)
    finally:
        log.setLevel(level)
    return _serialised(_bare(quantised))


def described(model: bytes, metadata: str) -> bytes:
    """The file with `metadata` (JSON text) under the key "swapbench" as its only metadata."""
    described_model = onnx.load_from_string(model)
    del described_model.metadata_props[:]
    described_model.metadata_props.add(key=METADATA_KEY, value=metadata)
    return _serialised(described_model)


def _reader(samples: NDArray[np.float32]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows: Iterator[NDArray[np.float32]] = iter(samples)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            row = next(self.rows, None)
            return None if row is None else {INPUT: np.ascontiguousarray(row[None])}

    return Samples()


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without texts that say where and how the file was made."""
    model.producer_name = "swapbench"
    model.producer_version = ""
    model.doc_string = ""
    model.graph.name = "network"
    model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for weight in model.graph.initializer:
        weight.doc_string = ""
        del weight.metadata_props[:]
    return model


def _serialised(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def rewrite_prelu(model: onnx.ModelProto, form: str) -> None:
    """Replace PRelu nodes that have a constant slope a by arithmetic, in place.

    Args:
        model: The graph.
        form: "sum" is a*x + (1-a)*relu(x); "max" is max(x, a*x), and "sum" where a slope exceeds 1.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    unused: set[str] = set()
    for number, node in enumerate(graph.node):
        if node.op_type != "PRelu" or node.input[1] not in constants:
            nodes.append(node)
            continue
        slope = numpy_helper.to_array(constants[node.input[1]])
        unused.add(node.input[1])
        nodes += _arithmetic_prelu(graph, f"prelu_{number}", node.input[0], node.output[0], slope, form)
    del graph.node[:]
    graph.node.extend(nodes)
    still_used = {name for node in nodes for name in node.input}
    weights = [
        tensor for tensor in graph.initializer if tensor.name not in unused or tensor.name in still_used
    ]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _arithmetic_prelu(
    graph: onnx.GraphProto, name: str, x: str, y: str, slope: NDArray[np.float32], form: str
) -> list[onnx.NodeProto]:
    def constant(suffix: str, value: NDArray[np.float32]) -> str:
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{name}_{suffix}"))
        return f"{name}_{suffix}"

    scaled = helper.make_node("Mul", [x, constant("slope", slope)], [f"{name}_scaled"], name=f"{name}_scale")
    if form == "max" and float(slope.max()) <= 1:
        return [scaled, helper.make_node("Max", [x, f"{name}_scaled"], [y], name=f"{name}_max")]
    rest = constant("rest", (1 - slope).astype(slope.dtype))
    return [
        scaled,
        helper.make_node("Relu", [x], [f"{name}_positive"], name=f"{name}_relu"),
        helper.make_node("Mul", [f"{name}_positive", rest], [f"{name}_more"], name=f"{name}_mul"),
        helper.make_node("Add", [f"{name}_scaled", f"{name}_more"], [y], name=f"{name}_add"),
    ]


def float_head(model: onnx.ModelProto) -> list[str]:
    """Names of the last nodes that stay in float: the last weighted layer, if small, and all after it."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {
        value.name: math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.output)
    }
    weights = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    nodes = list(model.graph.node)
    weighted = [n for n, node in enumerate(nodes) if node.op_type in _WEIGHTED and node.input[1] in weights]
    if not weighted:
        return []

    def multiplications(node: onnx.NodeProto) -> int:
        kernel: Sequence[int] = weights[node.input[1]]
        if node.op_type in {"Conv", "ConvTranspose"}:
            return int(sizes[node.output[0]]) * math.prod(kernel[1:])
        return math.prod(kernel)

    total = sum(multiplications(nodes[n]) for n in weighted)
    last = weighted[-1]
    if multiplications(nodes[last]) > FLOAT_HEAD_SHARE * total:
        return []
    return [node.name for node in nodes[last:]]


def leading(model: onnx.ModelProto, layers: int) -> list[str]:
    """Names of all nodes up to and including the weighted layer with the number `layers`, counted from 1."""
    names: list[str] = []
    weighted = 0
    for node in model.graph.node:
        if weighted == layers:
            break
        names.append(node.name)
        weighted += node.op_type in _WEIGHTED
    return names
