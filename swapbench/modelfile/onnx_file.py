"""Reading ONNX files for `swapbench.modelfile`."""

from __future__ import annotations

import graphlib
import math
import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

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
)
from swapbench.modelfile.external import bring_in, weight_files
from swapbench.modelfile.inferred_shapes import shapes_between
from swapbench.modelfile.input_shapes import ANY_RANK, UNNAMED, shaped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.modelfile import Shapes


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
    "DynamicQuantizeMatMul": (0, 1, 4),
    "MatMulIntegerToFloat": (0, 1, 6),
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
_REARRANGING = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"})

_INITIALIZERS_ALONE: Final = 4
"""The first IR version in which initialisers need not be inputs as well. Runtimes never insist on it, but the
inference of shapes does."""

RULE_LETTERS: Final = 200
"""What is kept of the checker's message."""


def read(path: Path, content: bytes, shapes: Shapes) -> Graph:
    """The graph of an ONNX file.

    What the ONNX checker has against it does not matter as long as a runtime could run it: nodes are put in
    order here, and a newer version of the format is read as far as it is known.

    Args:
        path: For messages, and for the files beside it.
        content: Of the file.
        shapes: Of inputs with free lengths.

    Raises:
        BadModelFile: It is damaged or of another format, lacks a file, or fixes another shape.
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
        missing = "names no opset" if model.graph.node else "has no graph"
        raise BadModelFile(f"{path} is not an ONNX file, or is damaged: it {missing}", remedy=AGAIN)
    try:
        _check_text(model)
        files = (path, *weight_files(path, model))
        against_rules = _against_rules(path, model, len(files))
        versions = _versions(model)
        model.ir_version = max(model.ir_version, _INITIALIZERS_ALONE)
        bring_in(path, model)
        _sort_nodes(model.graph)
        _check_weights(model.graph)
        constants = _constants(model.graph)
        values = [value for value in model.graph.input if value.name not in constants]
        inputs, dimensions = shaped(path, [_tensor(value) for value in values], shapes)
        _set_lengths(
            model.graph, dict(zip([value.name for value in values], inputs, strict=True)), dimensions
        )
        inferred = shapes_between(model)
        walk = _Walk(model, inferred)
        count = walk.count
        made_by = tuple(walk.maker(value.name) for value in model.graph.output)
        taken_by = tuple(sorted(walk.takers(inputs[0].name))) if inputs else ()
        outputs = tuple(_tensor(value) for value in inferred.output)
    except DAMAGE as error:
        raise BadModelFile(f"{path} is damaged: {first_line(error)}", remedy=AGAIN) from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Graph(
        format="onnx",
        files=files,
        inputs=inputs,
        outputs=outputs,
        file_bytes=len(content) + sum(other.stat().st_size for other in files[1:]),
        params=count.params,
        macs=count.macs,
        ops=dict(Counter(node.op_type for node in model.graph.node).most_common()),
        uncounted_ops=tuple(sorted(count.uncounted)),
        weights=count.element_types,
        precision=count.precision,
        layout=layout_of(inputs),
        metadata=description(path, metadata.get(METADATA_KEY)),
        dimensions=dimensions,
        made_by=made_by,
        taken_by=taken_by,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        versions=versions,
        against_rules=against_rules,
    )


def _check_text(model: Any) -> None:
    """Raise ValueError for a name that is not UTF-8: protobuf gives bytes in its place."""
    graph = model.graph
    texts = [model.producer_name, model.producer_version, *(opset.domain for opset in model.opset_import)]
    texts += [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    texts += [value.name for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer)]
    ends = (*graph.input, *graph.output)
    texts += [dim.dim_param for value in ends for dim in value.type.tensor_type.shape.dim]
    for node in graph.node:
        texts += [node.op_type, node.domain, node.name, *node.input, *node.output]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name in it is no text")


def _versions(model: Any) -> dict[str, int | str]:
    opsets = {f"opset {opset.domain}".strip(): opset.version for opset in model.opset_import}
    return {"IR": model.ir_version, **opsets}


def _against_rules(path: Path, model: Any, files: int) -> str:
    """What ONNX's own checker says against a model, "" for nothing."""
    import onnx

    try:
        # with weights in other files, the checker must know the folder
        onnx.checker.check_model(os.fspath(path) if files > 1 else model)
    except (onnx.checker.ValidationError, *DAMAGE) as error:
        return " ".join(str(error).split())[:RULE_LETTERS]
    return ""


def _constants(graph: Any) -> set[str]:
    return {weight.name for weight in graph.initializer} | {
        sparse.values.name for sparse in graph.sparse_initializer
    }


def _check_weights(graph: Any) -> None:
    """Raise ValueError or TypeError for a constant whose data do not fill its shape."""
    import onnx

    for weight in graph.initializer:
        if weight.data_location != onnx.TensorProto.EXTERNAL:
            onnx.numpy_helper.to_array(weight)


def _sort_nodes(graph: Any) -> None:
    """Put the nodes in an order in which each comes after those that it needs, as runtimes do themselves.

    Raises:
        ValueError: A node or the graph needs what nothing makes, two nodes make the same, or nodes need each
            other.
    """
    makers: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if makers.setdefault(name, place) != place:
                raise ValueError(f"two nodes make {name!r}")
    given = {value.name for value in graph.input} | _constants(graph)
    needs = [set(_needed(node)) for node in graph.node]
    for name in sorted(set().union(*needs, (value.name for value in graph.output)) - given - makers.keys()):
        raise ValueError(f"{name!r} is needed, but nothing in the graph makes it")
    before = [{makers[name] for name in names if name in makers} for names in needs]
    if all(max(places, default=-1) < place for place, places in enumerate(before)):
        return
    try:
        order = list(graphlib.TopologicalSorter(dict(enumerate(before))).static_order())
    except graphlib.CycleError:
        raise ValueError("nodes of its graph need each other in a circle") from None
    nodes = [graph.node[place] for place in order]
    kept = type(graph)()
    kept.node.extend(nodes)
    del graph.node[:]
    graph.node.extend(kept.node)


def _needed(node: Any) -> Iterator[str]:
    """The names that a node reads, those that graphs inside it take from outside included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            made = {value.name for value in inner.input} | _constants(inner)
            made.update(name for other in inner.node for name in other.output)
            wanted = {name for other in inner.node for name in _needed(other)}
            yield from (wanted | {value.name for value in inner.output}) - made - {""}


def _set_lengths(graph: Any, inputs: Mapping[str, Tensor], dimensions: Mapping[str, int]) -> None:
    """Write the lengths at which the file is measured into the shapes of its graph."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in dimensions:
                dim.dim_value = dimensions[dim.dim_param]
            elif dim.dim_value < 1:  # -1 is how some exporters write a free length
                dim.ClearField("dim_value")
    for value in graph.input:
        if value.name in inputs and 0 not in inputs[value.name].shape:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for length in inputs[value.name].shape:
                shape.dim.add(dim_value=length)


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return Tensor(value.name, (), "unknown")
    if not kind.HasField("shape"):
        return Tensor(value.name, (0,), _dtype(kind.elem_type), declared=ANY_RANK)
    dims = kind.shape.dim
    declared = tuple(dim.dim_value if dim.dim_value > 0 else dim.dim_param or UNNAMED for dim in dims)
    shape = tuple(max(dim.dim_value, 0) for dim in dims)
    return Tensor(value.name, shape, _dtype(kind.elem_type), declared=declared)


def _dtype(elem_type: int) -> str:
    import onnx

    if elem_type == onnx.TensorProto.STRING:
        return "string"
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError):
        return "unknown"


class _Walk:
    """Counts one ONNX graph: `model` has the nodes, `inferred` the shapes between them."""

    def __init__(self, model: Any, inferred: Any) -> None:
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        for sparse in model.graph.sparse_initializer:
            self.initializers[sparse.values.name] = _dense(sparse)
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
        self.nodes = model.graph.node
        self.count = Count()
        self.complements: set[str] = set()  # factors 1 - a of a PReLU with slopes a
        for node in model.graph.node:
            if node.op_type in {"Add", "Max"}:
                self._find_prelu(node)
        for node in model.graph.node:
            self._add(node)

    def constant(self, name: str) -> tuple[str, Constant] | None:
        """The constant behind a tensor, through dequantisation, casts and changes of its shape.

        Returns:
            Its name in the file, and its content as stored.
        """
        while name not in self.initializers:
            node = self.producer.get(name)
            if node is None or node.op_type not in _SEE_THROUGH | _REARRANGING:
                return None
            name = node.input[0]
        tensor = self.initializers[name]
        return name, Constant(tuple(tensor.dims), _dtype(tensor.data_type), _all_zero(tensor))

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor, None where it is not known."""
        while name not in self.initializers and name not in self.shapes:
            node = self.producer.get(name)
            if node is None or node.op_type not in _SEE_THROUGH:
                return None
            name = node.input[0]
        shape = tuple(self.initializers[name].dims) if name in self.initializers else self.shapes[name]
        return None if 0 in shape else shape

    def source(self, name: str) -> str:
        """The tensor that carries the same values before any quantisation and dequantisation."""
        node = self.producer.get(name)
        while node is not None and node.op_type in {*_SEE_THROUGH, "QuantizeLinear"}:
            name = node.input[0]
            node = self.producer.get(name)
        return name

    def maker(self, name: str) -> str:
        """The operator that makes a tensor, before any change of its shape or type; "" for none."""
        node = self.producer.get(name)
        while node is not None and node.op_type in {*_SEE_THROUGH, *_REARRANGING, "QuantizeLinear"}:
            node = self.producer.get(node.input[0])
        return "" if node is None else str(node.op_type)

    def takers(self, name: str) -> set[str]:
        """The operators that take a tensor, before any change of its shape or type."""
        same, found = {name}, set()
        for node in self.nodes:
            if not same.isdisjoint(node.input):
                if node.op_type in {*_SEE_THROUGH, *_REARRANGING, "QuantizeLinear"}:
                    same.add(node.output[0])
                else:
                    found.add(str(node.op_type))
        return found

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
                name, constant = named
                activations = self._activations(node) if product else ""
                self.count.use(name, replace(constant, activations=activations), product=product)

    def _activations(self, node: Any) -> str:
        """The element type of what the weights of a product are multiplied with; see Constant."""
        if node.op_type == "DynamicQuantizeMatMul":
            return "float32"
        producer = self.producer.get(node.input[0])
        if producer is None:
            return ""
        if producer.op_type == "DynamicQuantizeLinear":
            return "float32"
        if producer.op_type == "DequantizeLinear" and len(producer.input) > 2:
            zero_point = self.constant(producer.input[2])
            return zero_point[1].dtype if zero_point else ""
        return ""

    def _macs(self, node: Any, places: Sequence[int]) -> int | None:
        kind = node.op_type
        if "Conv" in kind:
            weights = self.shape(node.input[places[0]])
            # a transposed convolution scatters every input element, others gather for every output element
            elements = self.shape(node.input[0] if kind == "ConvTranspose" else node.output[0])
            if weights is None or elements is None:
                return None
            return math.prod(elements) * math.prod(weights[1:])
        return self._matrix_macs(node, *places[:2])

    def _matrix_macs(self, node: Any, left_place: int, right_place: int) -> int | None:
        left, right = self.shape(node.input[left_place]), self.shape(node.input[right_place])
        if not left or not right:
            return None
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        if len(left) > 1 and flags.get("transA"):
            left = (*left[:-2], left[-1], left[-2])
        if len(right) > 1 and flags.get("transB"):
            right = (*right[:-2], right[-1], right[-2])
        batch: tuple[int, ...] = np.broadcast_shapes(left[:-2], right[:-2])
        out = (*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))
        self.shapes.setdefault(node.output[0], out)  # of operators that shape inference does not know
        return math.prod(out) * left[-1]


def _dense(sparse: Any) -> Any:
    """A sparse weight as a dense one whose data lie elsewhere: only its shape and type are counted."""
    import onnx

    return onnx.TensorProto(
        name=sparse.values.name,
        dims=sparse.dims,
        data_type=sparse.values.data_type,
        data_location=onnx.TensorProto.EXTERNAL,
    )


def _all_zero(tensor: Any) -> bool:
    from onnx import TensorProto, numpy_helper

    if len(tensor.dims) != 1 or tensor.data_location == TensorProto.EXTERNAL:
        return False

    return not numpy_helper.to_array(tensor).any()
