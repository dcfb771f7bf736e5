"""Reading networks of ncnn, a .param file with its .bin beside it, for `swapbench.modelfile`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from swapbench.errors import BadModelFile
from swapbench.files import LARGEST_MODEL_BYTES, content_of
from swapbench.modelfile import (
    AGAIN,
    DAMAGE,
    Constant,
    Count,
    Graph,
    Tensor,
    description,
    first_line,
    layout_of,
)
from swapbench.modelfile.input_shapes import UNNAMED, shape_text, shaped
from swapbench.modelfile.ncnn_bin import weights
from swapbench.modelfile.ncnn_param import parse
from swapbench.modelfile.ncnn_shapes import macs, shapes_between
from swapbench.modelfile.parts import weights_of_ncnn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from swapbench.modelfile import Shapes
    from swapbench.modelfile.ncnn_param import Layer, Network
    from swapbench.modelfile.ncnn_shapes import Shape

_SAME_VALUES = frozenset(
    {"Split", "Flatten", "Reshape", "Permute", "Squeeze", "ExpandDims", "Dropout", "Noop"}
)
"""Layers that change at most the shape of what they take."""
_FUSING = frozenset({"Convolution", "ConvolutionDepthWise", "InnerProduct"})
_FUSED_SIGMOID = 4
"""Parameter 9 of such layers, which may hold an activation."""


def read(path: Path, content: bytes, shapes: Shapes) -> Graph:
    """The graph of a network of ncnn.

    ncnn runs a network at any size, and what an `Input` says of its size is a hint: an app may feed another.
    So it holds unless `shapes` asks for another.

    Args:
        path: Of the .param file, for messages and for its .bin.
        content: Of the .param file.
        shapes: Of inputs.

    Raises:
        BadModelFile: One of the two files is missing, damaged or of another network.
    """
    try:
        network = parse(content)
        inputs, between = _sized(path, network, shapes)
    except DAMAGE as error:
        raise BadModelFile(f"{path} is damaged: {first_line(error)}", remedy=AGAIN) from error
    stored = weights_of_ncnn(path)
    try:
        held = content_of(stored, LARGEST_MODEL_BYTES)
        count = _count(network, held, between)
    except OSError as error:
        raise BadModelFile(f"cannot read {stored}: {error.strerror}") from error
    except DAMAGE as error:
        raise BadModelFile(
            f"{stored} does not fit {path.name}: {first_line(error)}",
            remedy="Both must be of one network: get or convert them again.",
        ) from error
    return Graph(
        format="ncnn",
        files=(path, stored),
        inputs=inputs,
        outputs=tuple(Tensor(name, (1, *between.get(name, (0,))), "float32") for name in network.outputs),
        file_bytes=len(content) + len(held),
        params=count.params,
        macs=count.macs,
        ops=dict(Counter(layer.kind for layer in network.layers if layer.kind != "Input").most_common()),
        uncounted_ops=tuple(sorted(count.uncounted)),
        weights=count.element_types,
        precision=count.precision,
        layout=layout_of(inputs),
        metadata=description(path, network.metadata),
        made_by=tuple(_maker(network, name) for name in network.outputs),
        taken_by=tuple(sorted(_takers(network, inputs[0].name))) if inputs else (),
        producer="",
        versions={},
    )


def _sized(path: Path, network: Network, shapes: Shapes) -> tuple[tuple[Tensor, ...], dict[str, Shape]]:
    """The inputs at the size that is asked for, else that of the hint if the network runs at it; all shapes.

    Raises:
        BadModelFile: It cannot run at the size that was asked for.
    """
    layers = network.inputs
    inputs, _ = shaped(path, [_tensor(layer, shapes) for layer in layers], shapes)
    known = {tensor.name: tensor.shape[1:] for tensor in inputs if 0 not in tensor.shape}
    try:
        return inputs, shapes_between(network.layers, known)
    except ValueError as error:
        if not shapes.keys() & {"", *known}:  # Silent-Face-Anti-Spoofing-APK says 60x60 and feeds 80x80
            inputs, _ = shaped(path, [_tensor(layer, shapes, hint=False) for layer in layers], shapes)
            return inputs, {}
        sizes = " and ".join(shape_text(tensor.shape) for tensor in inputs)
        raise BadModelFile(
            f"{path} cannot run at {sizes}: {first_line(error)}",
            remedy="Say the size that it was made for, in its card or with --shape.",
        ) from error


def _tensor(layer: Layer, shapes: Shapes, *, hint: bool = True) -> Tensor:
    """An input as the file has it; a length that it does not say, or that is asked for otherwise, is free."""
    name = layer.outputs[0]
    lengths = tuple(layer.size(number) for number in (2, 1, 0))
    said = (1, *lengths) if all(lengths) and hint else (1, lengths[0], 0, 0)
    asked = shapes.get(name) or shapes.get("") or said
    held = zip(said, asked if len(asked) == len(said) else said, strict=True)
    # the channels are those of the first layer's weights
    declared = [
        length if length and (length == other or place < 2) else UNNAMED
        for place, (length, other) in enumerate(held)
    ]
    return Tensor(name, said, "float32", declared=tuple(declared))


def _count(network: Network, held: bytes, between: Mapping[str, Shape]) -> Count:
    """Parameters and multiply-accumulates; ValueError where the weights do not fit the layers."""
    count = Count()
    for place, weight in enumerate(weights(network.layers, held)):
        part = weight.part
        if part.product is not None:
            alone = not part.tagged  # factors and biases, of which converters add some that are all zero
            constant = Constant((part.elements,), weight.dtype, weight.zero and alone)
            count.use(place, constant, product=part.product)
    for layer in network.layers:
        products = macs(layer, between)
        if products is None:
            count.uncounted.add(layer.kind)
        else:
            count.macs += products
    return count


def _maker(network: Network, blob: str) -> str:
    """The type of the layer that makes a blob, before any change of its shape; "" for none."""
    makers = {name: layer for layer in network.layers for name in layer.outputs}
    layer = makers[blob]
    while layer.kind in _SAME_VALUES and layer.inputs:
        layer = makers[layer.inputs[0]]
    fused = layer.kind in _FUSING and layer.integer(9) == _FUSED_SIGMOID
    return "Sigmoid" if fused else layer.kind


def _takers(network: Network, blob: str) -> set[str]:
    """The types of layers that take a blob, before any change of its shape."""
    same, found = {blob}, set()
    for layer in network.layers:
        if not same.isdisjoint(layer.inputs):
            if layer.kind in _SAME_VALUES:
                same.update(layer.outputs)
            else:
                found.add(layer.kind)
    return found
