"""Reading ExecuTorch programs (.pte) for `swapbench.modelfile`."""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

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
from swapbench.modelfile.input_shapes import UNNAMED, shaped
from swapbench.modelfile.pte_schema import IDENTIFIER, XNNPACK, program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from swapbench.modelfile import Shapes
    from swapbench.modelfile.pte_schema import Node, Program, Value

_CONVOLUTIONS: Final = frozenset({"Conv2d", "DepthwiseConv2d", "ConvTranspose2d"})
_PRODUCTS: Final[Mapping[str, tuple[int, ...]]] = {
    **dict.fromkeys((*_CONVOLUTIONS, "FullyConnected"), (1, 2)),
    "BatchMatrixMultiply": (0, 1),
    **dict.fromkeys(("aten::convolution", "aten::linear"), (1, 2)),
    **dict.fromkeys(("aten::mm", "aten::bmm"), (0, 1)),
    "aten::addmm": (0, 1, 2),
}
"""An operator with products -> the places of its constants among its inputs."""
_ARITHMETIC: Final[Mapping[str, tuple[int, ...]]] = {
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Div", "Maximum", "Minimum", "PReLU"), (0, 1)),
    **dict.fromkeys(("aten::add", "aten::sub", "aten::mul", "aten::div", "aten::prelu"), (0, 1)),
    **dict.fromkeys(("aten::maximum", "aten::minimum", "aten::_prelu_kernel"), (0, 1)),
}
_UNCOUNTED: Final = (
    "ScaledDotProductAttention",
    "aten::lstm",
    "aten::gru",
    "llama::",
    "quantized_decomposed::e",
)
"""What operators with products that are not counted begin with."""
_SAME_VALUES: Final = frozenset(
    {
        *("StaticTranspose", "StaticReshape", "Convert", "Copy", "dim_order_ops::_to_dim_order_copy"),
        *("dim_order_ops::_clone_dim_order", "aten::clone", "aten::view_copy", "aten::permute_copy"),
        *(
            "aten::_to_copy",
            "aten::squeeze_copy",
            "aten::unsqueeze_copy",
            "aten::expand_copy",
            "executorch_prim::et_view",
        ),
        *("quantized_decomposed::quantize_per_tensor", "quantized_decomposed::dequantize_per_tensor"),
        *("quantized_decomposed::quantize_per_channel", "quantized_decomposed::dequantize_per_channel"),
    }
)
"""Operators that change at most the shape, the layout and the type of what they take."""


def read(path: Path, content: bytes, shapes: Shapes) -> Graph:
    """The graph of an ExecuTorch program: of its method "forward", else of its first.

    The format names neither inputs nor outputs, so they are called "input" and "output", with their number
    where there are several. Products inside delegates are counted where the delegate is XNNPACK's; another
    one stands among the operators that are not counted.

    Args:
        path: For messages.
        content: Of the file.
        shapes: Of inputs with free lengths.

    Raises:
        BadModelFile: It is damaged or of another format, or fixes another shape.
    """
    if content[4:8] != IDENTIFIER:
        raise BadModelFile(
            f"{path} is not an ExecuTorch program: it lacks the identifier {IDENTIFIER.decode()}",
            remedy=AGAIN,
        )
    try:
        held = program(content)
        if not held.nodes or not held.inputs or not held.outputs:
            raise ValueError("it has no operators, no inputs or no outputs")
        inputs, _ = shaped(path, _described(held, held.inputs, "input"), shapes)
        count = _count(held, at_size=[one.shape for one in inputs] == _shapes(held, held.inputs))
        named = held.named.get(METADATA_KEY)
        metadata = None if named is None else bytes(named).decode()
    except struct.error as error:
        raise BadModelFile(f"{path} is damaged or cut short", remedy=AGAIN) from error
    except DAMAGE as error:
        raise BadModelFile(f"{path} is damaged or cut short: {first_line(error)}", remedy=AGAIN) from error
    return Graph(
        format="executorch",
        files=(path,),
        inputs=inputs,
        outputs=tuple(_described(held, held.outputs, "output")),
        file_bytes=len(content),
        params=count.params,
        macs=count.macs,
        ops=dict(Counter(one.kind for one in held.nodes).most_common()),
        uncounted_ops=tuple(sorted(count.uncounted)),
        weights=count.element_types,
        precision=count.precision,
        layout=layout_of(inputs),
        metadata=description(path, metadata),
        made_by=tuple(_maker(held, key) for key in held.outputs),
        taken_by=tuple(sorted(_takers(held, held.inputs[0]))),
        producer="",
        versions={"schema": held.version},
    )


def _described(held: Program, keys: tuple[int, ...], word: str) -> list[Tensor]:
    return [
        Tensor(
            word if len(keys) == 1 else f"{word}{place}",
            value.shape,
            value.dtype,
            declared=tuple(UNNAMED for _ in value.shape) if value.is_free else value.shape,
        )
        for place, value in enumerate(held.values[key] for key in keys)
    ]


def _shapes(held: Program, keys: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [held.values[key].shape for key in keys]


def _count(held: Program, *, at_size: bool) -> Count:
    """Parameters and multiply-accumulates; the latter only at the size for which the file holds shapes."""
    count = Count()
    makers = {node.output: node for node in held.nodes}
    for node in held.nodes:
        kind = node.kind
        product = kind in _PRODUCTS
        if (product and not at_size) or kind.startswith(_UNCOUNTED) or node.delegate not in {"", XNNPACK}:
            count.uncounted.add(kind)
        elif product:
            count.macs += _macs(held, node)
        for place in _PRODUCTS.get(kind) or _ARITHMETIC.get(kind, ()):
            if place >= len(node.inputs) or node.inputs[place] < 0:
                continue
            stored = _constant(held, makers, node.inputs[place])
            if stored is not None:
                key, constant = stored
                slopes = "prelu" in kind.lower()
                used = replace(constant, activations=_activations(held, node) if product else "")
                count.use(key, used, product=product or slopes)
    return count


def _constant(held: Program, makers: Mapping[int, Node], key: int) -> tuple[int, Constant] | None:
    """The constant behind a value, through changes of its shape, and its key; see also `_is_zero`."""
    for _ in range(len(held.nodes) + 1):  # bounded: a damaged file may have a cycle
        value = held.values.get(key)
        if value is None:
            return None
        if value.is_constant:
            return key, Constant(value.shape, value.dtype, _is_zero(value))
        maker = makers.get(key)
        if maker is None or maker.kind not in _SAME_VALUES or not maker.inputs:
            return None
        key = maker.inputs[0]
    return None


def _is_zero(value: Value) -> bool:
    """Whether a vector is all zero, as the biases that converters add; ValueError where data are missing."""
    size = _ELEMENT_BYTES.get(value.dtype)
    if value.data is None or size is None:
        return False
    wanted = math.prod(value.shape) * size
    if len(value.data) < wanted:
        raise ValueError(f"constant data of {len(value.data)} bytes do not fit the shape {list(value.shape)}")
    return len(value.shape) <= 1 and not any(value.data[:wanted])


_ELEMENT_BYTES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("int8", "uint8", "bool"), 1),
    **dict.fromkeys(("float16", "int16", "uint16", "bfloat16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64"), 8),
}


def _activations(held: Program, node: Node) -> str:
    """What integer weights are multiplied with; floats where their scale is found anew in each run."""
    for key in node.inputs:
        value = held.values.get(key)
        if value is not None and not value.is_constant:
            return "float32" if value.quantised_anew else value.dtype
    return ""


def _macs(held: Program, node: Node) -> int:
    """Products of one run of a node."""
    shapes = [held.values[key].shape if key in held.values else () for key in node.inputs]
    out = math.prod(held.values[node.output].shape)
    if node.kind in _CONVOLUTIONS:
        window = math.prod(node.kernel)
        if node.kind == "ConvTranspose2d":  # every input element is scattered
            return math.prod(shapes[0]) * window * node.group_outputs
        return out * window * (node.group_inputs if node.kind == "Conv2d" else 1)
    if node.kind == "aten::convolution":
        # the output has one channel for each of the filters, but for transposed ones: [in, out of a group]
        transposed = shapes[1][0] != held.values[node.output].shape[1]
        return (math.prod(shapes[0]) if transposed else out) * math.prod(shapes[1][1:])
    return out * shapes[1 if node.kind == "aten::addmm" else 0][-1]


def _maker(held: Program, key: int) -> str:
    """The operator that makes a value, before any change of its shape or type; "" for none."""
    makers = {node.output: node for node in held.nodes}
    for _ in held.nodes:  # bounded: a damaged file may have a cycle
        node = makers.get(key)
        if node is None or node.kind not in _SAME_VALUES or not node.inputs:
            return "" if node is None else node.kind
        key = node.inputs[0]
    return ""


def _takers(held: Program, key: int) -> set[str]:
    """The operators that take a value, before any change of its shape or type."""
    same, found = {key}, set()
    for node in held.nodes:
        if not same.isdisjoint(node.inputs):
            if node.kind in _SAME_VALUES:
                same.add(node.output)
            else:
                found.add(node.kind)
    return found
