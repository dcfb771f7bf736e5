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
"""Operators whose multiplications are counted, with the places of weights and biases among their inputs."""

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

_FIX = "Fix it with: python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name {name} --input_shape {shape} in.onnx out.onnx"


def read(path: Path, content: bytes) -> Graph:
    """What is in an ONNX file of that content; `path` is for messages. Raises BadModelFile."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise BadModelFile(
            f"{path} is no ONNX file or is damaged: it cannot be parsed", remedy=AGAIN
        ) from error
    if not model.graph.node or not model.opset_import:
        raise BadModelFile(f"{path} is no ONNX file or is damaged: it holds no graph", remedy=AGAIN)
    external = [one.name for one in model.graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL]
    if external:
        raise BadModelFile(
            f"{path} keeps its weights in another file",
            remedy="Save it as one file: onnx.save(onnx.load(path), out, save_as_external_data=False)",
        )
    weights = {one.name for one in model.graph.initializer}
    for one in model.graph.input:
        if one.name not in weights:
            _refuse_dynamic(path, one)
    try:
        onnx.checker.check_model(model)
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        count = _Walk(model, graph).count
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, *DAMAGE) as error:
        raise BadModelFile(f"{path} is damaged: {first_line(error)}", remedy=AGAIN) from error
    inputs = tuple(_tensor(one) for one in model.graph.input if one.name not in weights)
    metadata = {one.key: one.value for one in model.metadata_props}
    return Graph(
        format="onnx",
        inputs=inputs,
        outputs=tuple(_tensor(one) for one in graph.output),
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
    """Counts one ONNX graph. `model` has the nodes, `inferred` the shapes between them."""

    def __init__(self, model: Any, inferred: Any) -> None:
        self.initializers = {one.name: one for one in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output}
        for node in model.graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.initializers[node.output[0]] = attribute.t
        self.shapes = {
            one.name: tuple(dim.dim_value for dim in one.type.tensor_type.shape.dim)
            for one in (*inferred.value_info, *inferred.input, *inferred.output)
            if one.type.tensor_type.HasField("shape")
        }
        self.count = Count()
        self.no_slopes: set[str] = set()
        for node in model.graph.node:
            if node.op_type in {"Add", "Max"}:
                self._find_prelu(node)
        for node in model.graph.node:
            self._add(node)

    def constant(self, name: str) -> tuple[str, Constant] | None:
        """The constant behind a tensor, seen through dequantisation and casts, and the name under which it is stored."""
        while name not in self.initializers:
            node = self.producer.get(name)
            if node is None or node.op_type not in _SEE_THROUGH:
                return None
            name = node.input[0]
        tensor = self.initializers[name]
        return name, Constant(tuple(tensor.dims), _dtype(tensor.data_type), _all_zero(tensor))

    def shape(self, name: str) -> tuple[int, ...] | None:
        found = self.constant(name)
        shape = found[1].shape if found else self.shapes.get(name)
        return None if shape is None or 0 in shape else shape

    def source(self, name: str) -> str:
        """The tensor that carries the same values before any quantisation and dequantisation."""
        node = self.producer.get(name)
        while node is not None and node.op_type in {*_SEE_THROUGH, "QuantizeLinear"}:
            name = node.input[0]
            node = self.producer.get(name)
        return name

    def _find_prelu(self, node: Any) -> None:
        """a*x + b*relu(x) and max(x, a*x) are PReLU with the slopes a; the b = 1 - a are no further parameters."""
        scaled: list[tuple[str, str, Constant]] = []
        positive: list[tuple[str, str, Constant]] = []
        for name in node.input:
            product = self.producer.get(self.source(name))
            if product is None or product.op_type != "Mul":
                continue
            factor = next((found for one in product.input if (found := self.constant(one))), None)
            variable = [one for one in product.input if self.constant(one) is None]
            if factor is None or len(variable) != 1:
                continue
            x = self.source(variable[0])
            before = self.producer.get(x)
            if before is not None and before.op_type == "Relu":
                positive.append((self.source(before.input[0]), *factor))
            scaled.append((x, *factor))
        if node.op_type == "Max":
            inputs = {self.source(name) for name in node.input}
            slopes = [one for one in scaled if one[0] in inputs]
        else:
            slopes = [one for one in scaled if one[0] in {x for x, _, _ in positive}]
            self.no_slopes |= {name for x, name, _ in positive if x in {one[0] for one in slopes}}
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
            found = (
                self.constant(node.input[place]) if place < len(node.input) and node.input[place] else None
            )
            if found is not None and found[0] not in self.no_slopes:
                self.count.use(*found, product=product)

    def _macs(self, node: Any, places: Sequence[int]) -> int | None:
        kind = node.op_type
        if "Conv" in kind:
            weights = self.shape(node.input[places[0]])
            # a transposed convolution scatters every input element, the others gather for every output element
            swept = self.shape(node.input[0] if kind == "ConvTranspose" else node.output[0])
            return None if weights is None or swept is None else math.prod(swept) * math.prod(weights[1:])
        left, out = self.shape(node.input[places[0]]), self.shape(node.output[0])
        if left is None or out is None:
            return None
        transposed = "Gemm" in kind and any(one.name == "transA" and one.i for one in node.attribute)
        return math.prod(out) * left[-2 if transposed else -1]


def _all_zero(tensor: Any) -> bool:
    if len(tensor.dims) != 1:
        return False
    from onnx import numpy_helper

    return not numpy_helper.to_array(tensor).any()
