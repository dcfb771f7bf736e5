"""Reading ONNX files for `swapbench.modelfile`."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from swapbench.errors import BadModelFile
from swapbench.modelfile import (
    AGAIN,
    DAMAGE,
    METADATA_KEY,
    Constant,
    Count,
    Graph,
    Tensor,
    description,
    first_line,
    layout_of,
    refuse_dynamic,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_PRODUCTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvInteger": (1,),
    "QLinearConv": (3, 8),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
}
"""Operators whose multiplications are counted, with the places of weights and biases in their inputs."""

_CONTRIB_PRODUCTS: Mapping[str, tuple[int, ...]] = {
    "FusedConv": (1, 2),
    "FusedGemm": (0, 1, 2),
    "FusedMatMul": (0, 1),
    "QGemm": (0, 3, 6),
}
_ARITHMETIC: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min"), (0, 1)),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), (0, 3)),
    "PRelu": (1,),
    **dict.fromkeys(
        ("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"), (1, 2)
    ),
}
_UNCOUNTED = frozenset(
    {"LSTM", "GRU", "RNN", "Einsum", "Attention", "DeformConv", "If", "Loop", "Scan", "DFT", "STFT"}
)
_SEE_THROUGH = frozenset({"DequantizeLinear", "Cast", "Identity"})

_FIX = (
    "Fix it with: python -m onnxruntime.tools.make_dynamic_shape_fixed "
    "--input_name {name} --input_shape {shape} in.onnx out.onnx"
)


def read(path: Path, content: bytes) -> Graph:
    """The graph of an ONNX file.

    Args:
        path: For messages.
        content: Of the file.

    Raises:
        BadModelFile: It is damaged, of another format or has a dynamic shape.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise BadModelFile(
            f"{path} is not an ONNX file, or is damaged: it cannot be parsed", remedy=AGAIN
        ) from error
    if not model.graph.node or not model.opset_import:
        raise BadModelFile(f"{path} is not an ONNX file, or is damaged: it has no graph", remedy=AGAIN)
    initializers = model.graph.initializer
    if any(weight.data_location == onnx.TensorProto.EXTERNAL for weight in initializers):
        raise BadModelFile(
            f"{path} keeps its weights in another file",
            remedy="Save it as one file: onnx.save(onnx.load(path), out, save_as_external_data=False)",
        )
    weights = {weight.name for weight in initializers}
    for value in model.graph.input:
        if value.name not in weights:
            _refuse_dynamic(path, value)
    try:
        onnx.checker.check_model(model)
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        count = _Walk(model, graph).count
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, *DAMAGE) as error:
        raise BadModelFile(f"{path} is damaged: {first_line(error)}", remedy=AGAIN) from error
    inputs = tuple(_tensor(value) for value in model.graph.input if value.name not in weights)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Graph(
        format="onnx",
        inputs=inputs,
        outputs=tuple(_tensor(value) for value in graph.output),
        file_bytes=len(content),
        params=count.params,
        macs=count.macs,
        ops=dict(Counter(node.op_type for node in model.graph.node).most_common()),
        uncounted_ops=tuple(sorted(count.uncounted)),
        precision=count.precision,
        layout=layout_of(inputs),
        metadata=description(path, metadata.get(METADATA_KEY)),
    )


def _refuse_dynamic(path: Path, value: Any) -> None:
    dims = value.type.tensor_type.shape.dim
    if value.type.tensor_type.HasField("shape") and all(dim.dim_value > 0 for dim in dims):
        return
    shape = [dim.dim_value or dim.dim_param or "?" for dim in dims]
    fixed = ",".join(
        str(length) if isinstance(length, int) else "1" if place == 0 else "<size>"
        for place, length in enumerate(shape)
    )
    remedy = _FIX.format(name=value.name, shape=fixed or "1,3,<height>,<width>")
    refuse_dynamic(path, value.name, shape, remedy)


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    return Tensor(value.name, tuple(dim.dim_value for dim in kind.shape.dim), _dtype(kind.elem_type))


def _dtype(elem_type: int) -> str:
    import onnx

    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError):
        return "unknown"


class _Walk:
    """Counts one ONNX graph: `model` has the nodes, `inferred` the shapes between them."""

    def __init__(self, model: Any, inferred: Any) -> None:
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output}
        for node in model.graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.initializers[node.output[0]] = attribute.t
        self.shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
            if value.type.tensor_type.HasField("shape")
        }
        self.count = Count()
        self.complements: set[str] = set()  # factors 1 - a of a PReLU with slopes a
        for node in model.graph.node:
            if node.op_type in {"Add", "Max"}:
                self._find_prelu(node)
        for node in model.graph.node:
            self._add(node)

    def constant(self, name: str) -> tuple[str, Constant] | None:
        """The constant behind a tensor, through dequantisation and casts, with its name in the file."""
        while name not in self.initializers:
            node = self.producer.get(name)
            if node is None or node.op_type not in _SEE_THROUGH:
                return None
            name = node.input[0]
        tensor = self.initializers[name]
        return name, Constant(tuple(tensor.dims), _dtype(tensor.data_type), _all_zero(tensor))

    def shape(self, name: str) -> tuple[int, ...] | None:
        named = self.constant(name)
        shape = named[1].shape if named else self.shapes.get(name)
        return None if shape is None or 0 in shape else shape

    def source(self, name: str) -> str:
        """The tensor that carries the same values before any quantisation and dequantisation."""
        node = self.producer.get(name)
        while node is not None and node.op_type in {*_SEE_THROUGH, "QuantizeLinear"}:
            name = node.input[0]
            node = self.producer.get(name)
        return name

    def _find_prelu(self, node: Any) -> None:
        """Find a PReLU: a*x + b*relu(x) or max(x, a*x), with slopes a. The b = 1 - a are not parameters."""
        scaled: list[tuple[str, str, Constant]] = []
        positive: list[tuple[str, str, Constant]] = []
        for name in node.input:
            product = self.producer.get(self.source(name))
            if product is None or product.op_type != "Mul":
                continue
            factor = next((named for operand in product.input if (named := self.constant(operand))), None)
            variables = [operand for operand in product.input if self.constant(operand) is None]
            if factor is None or len(variables) != 1:
                continue
            x = self.source(variables[0])
            before = self.producer.get(x)
            if before is not None and before.op_type == "Relu":
                positive.append((self.source(before.input[0]), *factor))
            scaled.append((x, *factor))
        if node.op_type == "Max":
            inputs = {self.source(name) for name in node.input}
            slopes = [factor for factor in scaled if factor[0] in inputs]
        else:
            slopes = [factor for factor in scaled if factor[0] in {x for x, _, _ in positive}]
            self.complements |= {name for x, name, _ in positive if x in {slope[0] for slope in slopes}}
        for _, name, constant in slopes:
            self.count.weights[name] = constant

    def _add(self, node: Any) -> None:
        kind = node.op_type
        foreign = node.domain not in {"", "ai.onnx"}
        products = {**_PRODUCTS, **_CONTRIB_PRODUCTS} if foreign else _PRODUCTS
        if kind in products:
            macs = self._macs(node, products[kind])
            if macs is None:
                self.count.uncounted.add(kind)
            else:
                self.count.macs += macs
            self._use(node, products[kind], product=True)
        elif kind in _ARITHMETIC:
            self._use(node, _ARITHMETIC[kind], product=kind == "PRelu")
        elif kind in _UNCOUNTED or (foreign and kind not in {*_SEE_THROUGH, "QuantizeLinear"}):
            self.count.uncounted.add(kind)

    def _use(self, node: Any, places: Sequence[int], *, product: bool) -> None:
        for place in places:
            if place >= len(node.input) or not node.input[place]:
                continue
            named = self.constant(node.input[place])
            if named is not None and named[0] not in self.complements:
                self.count.use(*named, product=product)

    def _macs(self, node: Any, places: Sequence[int]) -> int | None:
        kind = node.op_type
        if "Conv" in kind:
            weights = self.shape(node.input[places[0]])
            # a transposed convolution scatters every input element, others gather for every output element
            elements = self.shape(node.input[0] if kind == "ConvTranspose" else node.output[0])
            if weights is None or elements is None:
                return None
            return math.prod(elements) * math.prod(weights[1:])
        left, out = self.shape(node.input[places[0]]), self.shape(node.output[0])
        if left is None or out is None:
            return None
        transposed = "Gemm" in kind and any(
            attribute.name == "transA" and attribute.i for attribute in node.attribute
        )
        return math.prod(out) * left[-2 if transposed else -1]


def _all_zero(tensor: Any) -> bool:
    if len(tensor.dims) != 1:
        return False
    from onnx import numpy_helper

    return not numpy_helper.to_array(tensor).any()
