"""The weights of an ncnn network (.bin): one layer's after the other, in the order of the .param file.

Nothing in the file says where a weight begins; that follows from the sizes in the .param file. A weight that
is stored with a tag may be float16, int8, or an index of a byte into a table; others are float32.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from swapbench.modelfile.ncnn_param import Layer

FLOAT16: Final = 0x01306B47
_INT8: Final = 0x000D4B38
_FLOAT32_SCALED: Final = 0x0002C056
_TABLE_BYTES: Final = 256 * 4
WORD: Final = 4
_ELEMENT_BYTES: Final[Mapping[str, int]] = {"float16": 2, "int8": 1, "float32": 4, "table": 1}


class Part(NamedTuple):
    """A weight as the .param file announces it.

    Attributes:
        elements: how many numbers.
        tagged: whether a tag says how they are stored.
        product: whether it belongs to a product; None for scales and statistics, which are no parameters.
    """

    elements: int
    tagged: bool = False
    product: bool | None = True


@dataclass(frozen=True)
class Weight:
    """A weight as it is stored.

    Attributes:
        layer: Its place in the network.
        part: As announced.
        dtype: In numpy's words, "uint8" for indices into a table.
        zero: Whether all its numbers are 0.
        begin: Where its numbers begin in the file, behind tag and table.
        end: Where the next weight begins.
    """

    layer: int
    part: Part
    dtype: str
    zero: bool
    begin: int
    end: int


def weights(layers: Sequence[Layer], content: bytes) -> Iterator[Weight]:
    """The weights of a network, as far as the layout of every layer before them is known.

    Raises:
        ValueError: The file is too short, or has bytes that belong to no layer.
    """
    offset = 0
    for place, layer in enumerate(layers):
        announced = parts(layer)
        if announced is None:
            return
        for part in announced:
            dtype, begin, offset = _stored(layer, part, content, offset)
            zero = not np.frombuffer(content, np.uint8, offset - begin, begin).any()
            yield Weight(place, part, dtype, zero, begin, offset)
    if offset != len(content):
        raise ValueError(f"it has {len(content) - offset:,} bytes more than the layers need")


def parts(layer: Layer) -> list[Part] | None:
    """The weights of a layer in the order of the file; None for a type that is not known here."""
    announce = _PARTS.get(layer.kind)
    if announce is not None:
        return [part for part in announce(layer) if part.elements]
    return [] if layer.kind in WITHOUT_WEIGHTS else None


def is_known(kind: str) -> bool:
    """Whether it is known which weights layers of that type store."""
    return kind in WITHOUT_WEIGHTS or kind in _PARTS


def _stored(layer: Layer, part: Part, content: bytes, offset: int) -> tuple[str, int, int]:
    """How a weight is stored, where its numbers begin, and where what follows it begins."""
    dtype = "float32"
    try:
        if part.tagged:
            (tag,) = struct.unpack_from("<I", content, offset)
            offset += WORD
            dtype = {FLOAT16: "float16", _INT8: "int8", _FLOAT32_SCALED: "float32", 0: "float32"}.get(
                tag, "table"
            )
    except struct.error:
        raise _too_short(layer, content) from None
    begin = offset + (_TABLE_BYTES if dtype == "table" else 0)
    end = begin + -(-part.elements * _ELEMENT_BYTES[dtype] // WORD) * WORD
    if end > len(content):
        raise _too_short(layer, content)
    return "uint8" if dtype == "table" else dtype, begin, end


def _too_short(layer: Layer, content: bytes) -> ValueError:
    return ValueError(f"it ends after {len(content):,} bytes, inside the weights of the layer {layer.name!r}")


def _convolution(layer: Layer) -> Iterator[Part]:
    outputs = layer.size(0)
    if layer.integer(19):  # the weights are an input
        return
    yield Part(layer.size(6), tagged=True)
    if layer.integer(5):
        yield Part(outputs)
    scales = layer.integer(8)
    if scales:
        groups = layer.size(7, 1)
        depthwise = "DepthWise" in layer.kind
        each = outputs if not depthwise else groups if scales in {1, 101} else 1
        yield from _scales(each, 2 if scales > 100 else 1)


def _scales(weight_scales: int, blob_scales: int) -> Iterator[Part]:
    """The scales of an int8 layer: of its weights, and of its input and perhaps its output."""
    yield Part(weight_scales, product=None)
    for _ in range(blob_scales):
        yield Part(1, product=None)


def _transposed(layer: Layer) -> Iterator[Part]:
    if layer.integer(28):
        return
    yield Part(layer.size(6), tagged=True)
    if layer.integer(5):
        yield Part(layer.size(0))


def _linear(layer: Layer) -> Iterator[Part]:
    outputs = layer.size(0)
    yield Part(layer.size(2), tagged=True)
    if layer.integer(1):
        yield Part(outputs)
    if layer.integer(8):
        yield from _scales(outputs, 1)


def _batch_norm(layer: Layer) -> Iterator[Part]:
    """Slope, mean, variance, bias; the parameters of the arithmetic are the first and the last."""
    channels = layer.size(0)
    for product in (False, None, None, False):
        yield Part(channels, product=product)


def _scale(layer: Layer) -> Iterator[Part]:
    elements = layer.integer(0)
    if elements != -233:  # else the factors are an input
        yield Part(layer.size(0), product=False)
        if layer.integer(1):
            yield Part(elements, product=False)


def _affine(sizes: int, switch: int, parts_each: int = 2) -> Callable[[Layer], Iterator[Part]]:
    """A norm whose factors and offsets have the length of parameter `sizes`, unless `switch` is 0."""

    def announce(layer: Layer) -> Iterator[Part]:
        if layer.integer(switch, 1):
            for _ in range(parts_each):
                yield Part(layer.size(sizes), product=False)

    return announce


def _one(number: int, *, product: bool = False) -> Callable[[Layer], list[Part]]:
    """One weight, whose length is that parameter."""
    return lambda layer: [Part(layer.size(number), product=product)]


def _memory(layer: Layer) -> list[Part]:
    width, height, depth, channels = (layer.size(number) for number in (0, 1, 11, 2))
    elements = width * max(height, 1) * max(depth, 1) * max(channels, 1)
    return [Part(elements, tagged=layer.integer(21, 1) == 0, product=False)]


def _gemm(layer: Layer) -> Iterator[Part]:
    rows, columns, inner = (layer.integer(number) for number in (7, 8, 9))
    if layer.integer(4):
        yield Part(max(rows * inner, 0), tagged=True)
    if layer.integer(5):
        yield Part(max(columns * inner, 0), tagged=True)
    if layer.integer(6):
        kind = layer.integer(10)
        lengths = {0: 1, 1: rows, 2: rows, 3: rows * columns, 4: columns}
        yield Part(max(lengths.get(kind, 0), 0), tagged=True)
    if layer.integer(18):
        if layer.integer(4):
            yield Part(max(rows, 0), product=None)
        if layer.integer(5):
            yield Part(1, product=None)


def _sizes(*numbers: int) -> Callable[[Layer], list[Part]]:
    """Scales and offsets of quantisation, whose lengths are those parameters."""
    return lambda layer: [Part(layer.size(number), product=None) for number in numbers]


def _embedding(layer: Layer) -> Iterator[Part]:
    yield Part(layer.size(3), tagged=True, product=False)
    if layer.integer(2):
        yield Part(layer.size(0), product=False)


_CONVOLUTIONS: Final = ("Convolution", "ConvolutionDepthWise", "Convolution1D", "ConvolutionDepthWise1D")
_TRANSPOSED: Final = (
    "Deconvolution",
    "DeconvolutionDepthWise",
    "Deconvolution1D",
    "DeconvolutionDepthWise1D",
)
_PARTS: Final[Mapping[str, Callable[[Layer], Iterator[Part] | list[Part]]]] = {
    **dict.fromkeys((*_CONVOLUTIONS, "Convolution3D", "ConvolutionDepthWise3D"), _convolution),
    **dict.fromkeys((*_TRANSPOSED, "Deconvolution3D", "DeconvolutionDepthWise3D"), _transposed),
    "InnerProduct": _linear,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Bias": _one(0),
    "PReLU": _one(0, product=True),
    "Normalize": _one(3),
    "Padding": _sizes(6),
    "Quantize": _sizes(0),
    "Dequantize": _sizes(0, 1),
    "Requantize": _sizes(0, 1, 2),
    "LayerNorm": _affine(0, 2),
    "InstanceNorm": _affine(0, 2),
    "GroupNorm": _affine(1, 3),
    "RMSNorm": _affine(0, 2, 1),
    "MemoryData": _memory,
    "Gemm": _gemm,
    "Embed": _embedding,
}
WITHOUT_WEIGHTS: Final = frozenset(
    {
        *("Input", "Split", "Noop", "Dropout", "Cast", "Packing", "DeepCopy", "CopyTo"),
        *("ReLU", "Clip", "Sigmoid", "TanH", "HardSwish", "HardSigmoid", "Swish", "Mish", "ELU", "SELU"),
        *("GELU", "CELU", "Softplus", "AbsVal", "BNLL", "Exp", "Log", "Power", "UnaryOp", "Softmax", "Erf"),
        *("Threshold", "LRN", "CumulativeSum", "ShuffleChannel", "Shrink", "GLU", "Diag", "Flip"),
        *("BinaryOp", "Eltwise", "Concat", "Slice", "Flatten", "Reshape", "Permute", "Squeeze", "ExpandDims"),
        *("Pooling", "Pooling1D", "Pooling3D", "Interp", "Crop", "Reduction", "Reorg", "PixelShuffle"),
        *("MatMul", "SDPA", "Einsum", "Tile", "Fold", "Unfold", "GridSample", "ArgMax", "MVN"),
    }
)
"""Types of layers that store no weights."""
