"""PyTorch to ONNX: fp32, fp16 and integer files of a network; "input" is NCHW float32, "logits" float32.

A part of a network also returns its map, "features", which is the "input" of the next one.

The base is exported once, with PRelu as one node; the precisions are made from it without PyTorch. Every
function returns the same bytes for the same arguments.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from swapbench.workshop.export.mixed import Operator, body_and_head

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray
    from torch import nn

    from swapbench.records import Precision

INPUT = "input"
OPSET = 18
METADATA_KEY = "swapbench"

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
    from swapbench.workshop.nets import input_shape, output_names

    example = torch.zeros(1, *input_shape(module, height_px, width_px))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            batch_norms_folded(module.eval()),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(output_names(module)),
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


class Quantiser:
    """Quantisation of a base, calibrated once: all layers, or some of them.

    Weights are int8 per channel; activations are uint8 or (int16x8) uint16 over their whole range, between
    nodes that quantise and dequantise (QDQ). Dynamic files quantise activations to uint8 anew in each run and
    have uint8 weights per tensor, the only ones that onnxruntime's convolution of integers takes.

    Input and output stay float32, as in the other precisions: applications need no change, and a score is not
    one of 256 values. For the same reason the output layer stays in float where it is small. PRelu becomes
    max(x, a*x), in float between quantised convolutions: the fastest form in int8 (where a slope exceeds 1:
    a*x + (1-a)*relu(x)). Even so, a small network with PReLU is no faster in int8 than in fp32 with
    onnxruntime on x86, and slower in int16x8 and dynamic int8, for which it has few kernels.

    Attributes:
        layers: Those that can be quantised, in order.
    """

    def __init__(self, base: bytes, precision: Precision, samples: NDArray[np.float32] | None) -> None:
        """Calibrate.

        Args:
            base: From `export_base`.
            precision: One with integer weights.
            samples: Normalised images [n, 3, height, width] for calibration; not needed for dynamic.
        """
        self._precision = precision
        self._model = onnx.load_from_string(base)
        rewrite_prelu(self._model, "sum" if precision == "int8-dynamic" else "max")
        self.layers, self._head = body_and_head(operators(self._model))
        self._ranges = None if precision == "int8-dynamic" else self._calibrated(samples)

    def file(self, in_float: Collection[int] = ()) -> bytes:
        """The file with the layers of these numbers in float."""
        exclude = [*self._head, *(name for number in in_float for name in self.layers[number].operators)]
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "quantised.onnx"
            if self._ranges is None:
                self._quantise_dynamically(made, exclude)
            else:
                ranges = Path(folder) / "ranges.json"
                ranges.write_text(self._ranges, encoding="utf-8")
                self._quantise_statically(made, exclude, ranges, None)
            return _serialised(_bare(onnx.load(made)))

    def _calibrated(self, samples: NDArray[np.float32] | None) -> str:
        """The ranges of all tensors, as onnxruntime writes them."""
        assert samples is not None
        with tempfile.TemporaryDirectory() as folder:
            ranges = Path(folder) / "ranges.json"
            self._quantise_statically(Path(folder) / "quantised.onnx", [], ranges, _reader(samples))
            return ranges.read_text(encoding="utf-8")

    def _quantise_statically(self, made: Path, exclude: list[str], ranges: Path, reader: Any) -> None:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        prelu = [node.name for node in self._model.graph.node if node.name.startswith("prelu_")]
        with _quiet():
            quantize_static(
                copy.deepcopy(self._model),  # which it changes
                made,
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt16 if self._precision == "int16x8" else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=[*prelu, *exclude],
                calibration_cache_path=ranges,
            )

    def _quantise_dynamically(self, made: Path, exclude: list[str]) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with _quiet():
            quantize_dynamic(
                copy.deepcopy(self._model), made, weight_type=QuantType.QUInt8, nodes_to_exclude=exclude
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to pre-process, which splits HardSwish and slows down the result."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


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


def operators(model: onnx.ModelProto) -> list[Operator]:
    """The nodes of a graph in order, with the weights and multiplications of those that have any."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {
        value.name: math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.output)
    }
    kernels = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type not in _WEIGHTED or node.input[1] not in kernels:
            found.append(Operator(node.name))
            continue
        kernel = kernels[node.input[1]]
        products = math.prod(kernel)
        if node.op_type in {"Conv", "ConvTranspose"}:
            products = int(sizes[node.output[0]]) * math.prod(kernel[1:])
        found.append(Operator(node.name, math.prod(kernel), products))
    return found
