"""The shapes between the layers of an ncnn network, and the multiply-accumulates that follow from them.

A shape is in the order of numpy without a batch, which ncnn does not have: (w), (h, w), (c, h, w) or
(c, d, h, w). What is not known here has the shape None, and so has everything behind it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from swapbench.modelfile.ncnn_bin import WITHOUT_WEIGHTS, is_known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.modelfile.ncnn_param import Layer

    Shape = tuple[int, ...]
    Taken = Sequence[Shape]

_REST: Final = -233
"""Stands for "what is left"."""
_SAME: Final = frozenset({-233, -234})
"""Paddings that keep the length, divided by the stride."""
_AXES: Final[Mapping[int, tuple[int, ...]]] = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 11, 1)}
"""Rank -> the numbers under which layers name the axes: width 0, height 1, depth 11, channels 2."""


class Unknown(Exception):
    """The shape of what a layer makes cannot be told without running it."""


def shapes_between(layers: Sequence[Layer], inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Name of a blob -> its shape, for those that can be told.

    Args:
        layers: Of the network, in order.
        inputs: Name of an input's blob -> its shape.

    Raises:
        ValueError: A layer's parameters do not fit what it takes.
    """
    known = dict(inputs)
    for layer in layers:
        taken = [known[blob] for blob in layer.inputs if blob in known]
        if layer.kind == "Input" or len(taken) < len(layer.inputs):
            continue
        try:
            made = _made(layer, taken)
        except Unknown:
            continue
        if any(length < 1 for shape in made for length in shape):
            raise ValueError(f"nothing is left of the input behind its layer {layer.name!r} ({layer.kind})")
        known.update(zip(layer.outputs, made, strict=False))
    return known


def macs(layer: Layer, shapes: Mapping[str, Shape]) -> int | None:
    """Multiply-accumulates of a layer; None where they are not known."""
    count = _MACS.get(layer.kind)
    if count is None:
        return None if layer.kind in UNCOUNTED or not is_known(layer.kind) else 0
    blobs = (*layer.inputs, *layer.outputs[:1])
    if not all(blob in shapes for blob in blobs) or not layer.outputs:
        return None
    return count(layer, [shapes[blob] for blob in layer.inputs], shapes[layer.outputs[0]])


def _made(layer: Layer, taken: Taken) -> list[Shape]:
    shape = _SHAPES.get(layer.kind)
    if shape is not None:
        return shape(layer, taken)
    if not taken or layer.kind not in WITHOUT_WEIGHTS - _RESHAPING | _KEEPING:
        raise Unknown
    return [taken[0]] * len(layer.outputs)


# ----------------------------------------------------------------------------------------------- convolutions


def _gathered(length: int, kernel: int, stride: int, pads: tuple[int, int], *, up: bool = False) -> int:
    """The length that a window leaves that is moved by a stride."""
    if pads[0] in _SAME:
        return -(-length // stride)
    room = length + pads[0] + pads[1] - kernel
    return (-(-room // stride) if up else room // stride) + 1


def _window(layer: Layer, axis: int) -> tuple[int, int, tuple[int, int]]:
    """Extent, stride and paddings of a convolution along width (0) or height (1)."""
    first = 10 * axis
    kernel = layer.integer(1 + first, layer.integer(1))
    dilation = layer.integer(2 + first, layer.integer(2, 1))
    stride = layer.integer(3 + first, layer.integer(3, 1))
    begin = layer.integer(4 + first, layer.integer(4))
    end = layer.integer(15 + axis, begin)
    if min(kernel, dilation, stride) < 1:
        raise ValueError(f"the layer {layer.name!r} has a kernel or a stride below 1")
    return dilation * (kernel - 1) + 1, stride, (begin, end)


def _convolved(layer: Layer, taken: Taken) -> list[Shape]:
    outputs, shape = layer.size(0), taken[0]
    if len(shape) == 1 and layer.kind == "Convolution":  # a linear layer
        return [(outputs,)]
    _rank(layer, shape, 3)
    (width, height) = (_gathered(shape[2 - axis], *_window(layer, axis)) for axis in (0, 1))
    return [(outputs, height, width)]


def _convolved_1d(layer: Layer, taken: Taken) -> list[Shape]:
    _rank(layer, taken[0], 2)
    return [(layer.size(0), _gathered(taken[0][1], *_window(layer, 0)))]


def _scattered(layer: Layer, taken: Taken) -> list[Shape]:
    _rank(layer, taken[0], 3)
    lengths = []
    for axis in (1, 0):
        extent, stride, pads = _window(layer, axis)
        whole = (taken[0][2 - axis] - 1) * stride + extent + layer.integer(18 + axis)
        asked = layer.integer(20 + axis)
        lengths.append(asked or whole - sum(pads))
        if pads[0] in _SAME and not asked:
            raise Unknown
    return [(layer.size(0), *lengths)]


def _linear(layer: Layer, taken: Taken) -> list[Shape]:
    outputs, shape = layer.size(0), taken[0]
    inputs = layer.size(2) // max(outputs, 1)
    if len(shape) == 2 and shape[1] == inputs:
        return [(shape[0], outputs)]
    if math.prod(shape) != inputs:
        raise ValueError(f"the layer {layer.name!r} takes {inputs} numbers and gets {math.prod(shape)}")
    return [(outputs,)]


def _pooled(layer: Layer, taken: Taken) -> list[Shape]:
    shape = taken[0]
    _rank(layer, shape, 3)
    if layer.integer(4):
        return [(shape[0],)]
    if layer.integer(7):
        width = layer.integer(8)
        asked = (layer.integer(18, width), width)
        lengths = [old if new == _REST else new for old, new in zip(shape[1:], asked, strict=True)]
        return [(shape[0], *lengths)]
    lengths = []
    for axis in (1, 0):
        first = 10 * axis
        kernel, stride = (
            layer.integer(1 + first, layer.integer(1)),
            layer.integer(2 + first, layer.integer(2, 1)),
        )
        begin = layer.integer(3 + first, layer.integer(3))
        end = layer.integer(14 + axis, begin)
        if min(kernel, stride) < 1:
            raise ValueError(f"the layer {layer.name!r} has a kernel or a stride below 1")
        mode = layer.integer(5)
        pads = (min(_SAME), 0) if mode in {2, 3} else (begin, end)
        lengths.append(_gathered(shape[2 - axis], kernel, stride, pads, up=mode == 0))
    return [(shape[0], *lengths)]


# ------------------------------------------------------------------------------------------ joins and changes


def _joined(layer: Layer, taken: Taken) -> list[Shape]:
    """Of two operands: the longer of each length, where one of them is 1."""
    if layer.integer(1) or len(taken) < 2:
        return [taken[0]]
    long, short = sorted(taken, key=len, reverse=True)
    if len(long) > len(short):
        return [long]
    if any(one != other and 1 not in {one, other} for one, other in zip(long, short, strict=True)):
        raise Unknown
    return [tuple(map(max, long, short))]


def _concatenated(layer: Layer, taken: Taken) -> list[Shape]:
    axis = _axis(layer, layer.integer(0), taken[0])
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in taken}
    if len(rest) > 1:
        raise ValueError(f"the layer {layer.name!r} joins blobs of different sizes")
    return [(*taken[0][:axis], sum(shape[axis] for shape in taken), *taken[0][axis + 1 :])]


def _sliced(layer: Layer, taken: Taken) -> list[Shape]:
    shape, axis = taken[0], _axis(layer, layer.integer(1), taken[0])
    left, made = shape[axis], []
    sizes = layer.array(0) or (_REST,) * len(layer.outputs)
    if layer.array(2):  # by indices
        raise Unknown
    for place, size in enumerate(sizes):
        length = left // (len(sizes) - place) if size == _REST else size
        left -= length
        made.append((*shape[:axis], length, *shape[axis + 1 :]))
    return made


def _flat(_: Layer, taken: Taken) -> list[Shape]:
    return [(math.prod(taken[0]),)]


def _reshaped(layer: Layer, taken: Taken) -> list[Shape]:
    if layer.params.keys() & {3, 6} or len(taken) > 1:
        raise Unknown
    asked = [layer.integer(number, _REST) for number in (2, 11, 1, 0)]
    shape = [length for length in asked if length != _REST]
    old = taken[0]
    kept = [
        old[place - len(shape)] if not length and len(shape) - place <= len(old) else length
        for place, length in enumerate(shape)
    ]
    known = math.prod(length for length in kept if length != -1)
    if kept.count(-1) == 1 and known > 0:
        kept[kept.index(-1)] = math.prod(old) // known
    if math.prod(kept) != math.prod(old):
        raise ValueError(f"the layer {layer.name!r} makes {math.prod(kept)} numbers of {math.prod(old)}")
    return [tuple(kept)]


def _permuted(layer: Layer, taken: Taken) -> list[Shape]:
    shape, order = taken[0], layer.integer(0)
    orders = {
        2: ((0, 1), (1, 0)),
        3: ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)),
    }.get(len(shape), ())
    if not 0 <= order < len(orders):
        raise Unknown
    return [tuple(shape[place] for place in orders[order])]


def _squeezed(layer: Layer, taken: Taken) -> list[Shape]:
    shape = taken[0]
    axes = {_axis(layer, axis, shape) for axis in layer.array(3)}
    names = _AXES[len(shape)]
    axes |= {place for place, name in enumerate(names) if not layer.array(3) and layer.integer(name)}
    return [tuple(length for place, length in enumerate(shape) if place not in axes or length != 1)]


def _expanded(layer: Layer, taken: Taken) -> list[Shape]:
    shape, axes = list(taken[0]), layer.array(3)
    if not axes or len(shape) + len(axes) > max(_AXES):
        raise Unknown
    for axis in sorted(axis % (len(taken[0]) + len(axes)) for axis in axes):
        shape.insert(axis, 1)
    return [tuple(shape)]


def _padded(layer: Layer, taken: Taken) -> list[Shape]:
    shape = list(taken[0])
    top, bottom, left, right, front, behind = (layer.integer(number) for number in (0, 1, 2, 3, 7, 8))
    shape[-1] += left + right
    if len(shape) > 1:
        shape[-2] += top + bottom
    if len(shape) > 2:
        shape[0] += front + behind
    return [tuple(shape)]


def _resized(layer: Layer, taken: Taken) -> list[Shape]:
    shape = taken[0]
    height, width = layer.integer(3), layer.integer(4)
    if layer.integer(5) or len(taken) > 1 or 9 in layer.params or len(shape) > 3:
        raise Unknown
    if len(shape) == 1:  # each number becomes a plane
        shape = (shape[0], 1, 1)
    factors = layer.real(1, 1.0), layer.real(2, 1.0)
    lengths = [
        asked or int(old * factor)
        for old, asked, factor in zip(shape[-2:], (height, width), factors, strict=True)
    ]
    return [(*shape[:-2], *lengths) if len(shape) == 3 else (shape[0], lengths[1])]


def _reduced(layer: Layer, taken: Taken) -> list[Shape]:
    shape, axes = taken[0], layer.array(3)
    if layer.integer(1, 1) and not axes:
        axes = tuple(range(len(shape)))
    gone = {_axis(layer, axis, shape) for axis in axes}
    if layer.integer(4):
        return [tuple(1 if place in gone else length for place, length in enumerate(shape))]
    return [tuple(length for place, length in enumerate(shape) if place not in gone) or (1,)]


def _cropped(layer: Layer, taken: Taken) -> list[Shape]:
    shape = list(taken[0])
    if len(taken) > 1 or layer.params.keys() & {19, 20, 21} or len(shape) > 3:
        raise Unknown
    starts, ends = layer.array(9), layer.array(10)
    if starts:
        axes = layer.array(11) or tuple(range(len(starts)))
        for start, end, axis in zip(starts, ends, axes, strict=True):
            place = _axis(layer, axis, taken[0])
            length = shape[place]
            first = start + length if start < 0 else start
            last = min(end + length if end < 0 else end, length)
            shape[place] = length - first if end == _REST else last - first
        return [tuple(shape)]
    numbers = {1: (0,), 2: (1, 0), 3: (2, 1, 0)}[len(shape)]
    for place, number in enumerate(numbers):
        offset = layer.integer(number)
        size = layer.integer({0: 3, 1: 4, 2: 5}[number])
        back = layer.integer({0: 6, 1: 7, 2: 8}[number])
        left = shape[place] - offset
        shape[place] = left if size == _REST else min(size, left) if size > 0 else left - back
    return [tuple(shape)]


def _shuffled(layer: Layer, taken: Taken) -> list[Shape]:
    _rank(layer, taken[0], 3)
    channels, height, width = taken[0]
    factor = layer.integer(0, 1)
    if factor < 1:
        raise ValueError(f"the layer {layer.name!r} has a factor below 1")
    if layer.kind == "PixelShuffle":
        return [(channels // factor**2, height * factor, width * factor)]
    return [(channels * factor**2, height // factor, width // factor)]


def _stored(layer: Layer, _: Taken) -> list[Shape]:
    lengths = (layer.size(number) for number in (2, 11, 1, 0))
    return [tuple(length for length in lengths if length)]


# ------------------------------------------------------------------------------------------ products of blobs


def _multiplied(layer: Layer, taken: Taken) -> list[Shape]:
    if len(taken) != 2 or min(map(len, taken)) < 2 or len({shape[:-2] for shape in taken}) > 1:
        raise Unknown
    left, right = taken
    return [(*left[:-1], right[-2] if layer.integer(0) else right[-1])]


def _gemm_lengths(layer: Layer, taken: Taken) -> tuple[int, int, int]:
    """Rows, columns and the length that is summed over."""
    operands = list(taken)
    rows, columns, inner = (layer.integer(number) for number in (7, 8, 9))
    if not layer.integer(4):
        if not operands or len(operands[0]) != 2:
            raise Unknown
        shape = operands.pop(0)
        rows, inner = reversed(shape) if layer.integer(2) else shape
    if not layer.integer(5):
        if not operands or len(operands[0]) != 2:
            raise Unknown
        shape = operands.pop(0)
        columns = shape[0] if layer.integer(3) else shape[1]
    return rows, columns, inner


def _gemm(layer: Layer, taken: Taken) -> list[Shape]:
    rows, columns, _ = _gemm_lengths(layer, taken)
    return [(columns, rows) if layer.integer(14) else (rows, columns)]


def _rank(layer: Layer, shape: Shape, rank: int) -> None:
    if len(shape) != rank:
        raise ValueError(f"the layer {layer.name!r} ({layer.kind}) gets a blob of rank {len(shape)}")


def _axis(layer: Layer, axis: int, shape: Shape) -> int:
    place = axis + len(shape) if axis < 0 else axis
    if not 0 <= place < len(shape):
        raise ValueError(f"the layer {layer.name!r} names an axis {axis} of a blob of rank {len(shape)}")
    return place


_SHAPES: Final[Mapping[str, Callable[[Layer, Taken], list[Shape]]]] = {
    **dict.fromkeys(("Convolution", "ConvolutionDepthWise"), _convolved),
    **dict.fromkeys(("Convolution1D", "ConvolutionDepthWise1D"), _convolved_1d),
    **dict.fromkeys(("Deconvolution", "DeconvolutionDepthWise"), _scattered),
    "InnerProduct": _linear,
    "Pooling": _pooled,
    "BinaryOp": _joined,
    "Concat": _concatenated,
    "Slice": _sliced,
    "Flatten": _flat,
    "Reshape": _reshaped,
    "Permute": _permuted,
    "Squeeze": _squeezed,
    "ExpandDims": _expanded,
    "Padding": _padded,
    "Interp": _resized,
    "Reduction": _reduced,
    "Crop": _cropped,
    **dict.fromkeys(("PixelShuffle", "Reorg"), _shuffled),
    "MemoryData": _stored,
    "MatMul": _multiplied,
    "Gemm": _gemm,
}
_KEEPING: Final = frozenset(
    {
        *("BatchNorm", "Scale", "Bias", "PReLU", "Normalize", "LayerNorm", "InstanceNorm", "GroupNorm"),
        *("RMSNorm", "Quantize", "Dequantize", "Requantize"),
    }
)
"""Types of layers with weights that keep the shape of what they take."""
_RESHAPING: Final = frozenset(
    {
        "Pooling1D",
        "Pooling3D",
        "SDPA",
        "Einsum",
        "Tile",
        "Fold",
        "Unfold",
        "GridSample",
        "ArgMax",
        "GLU",
        "Diag",
    }
)
"""Types of layers without weights that make other shapes, which are not worked out here."""


def _of_convolution(layer: Layer, _: Taken, made: Shape) -> int:
    return layer.size(6) * math.prod(made[1:])


def _of_transposed(layer: Layer, taken: Taken, _: Shape) -> int:
    return layer.size(6) * math.prod(taken[0][1:])


def _of_linear(layer: Layer, _: Taken, made: Shape) -> int:
    return layer.size(2) * math.prod(made[:-1])


def _of_product(_: Layer, taken: Taken, made: Shape) -> int:
    return math.prod(made) * taken[0][-1]


def _of_gemm(layer: Layer, taken: Taken, _: Shape) -> int:
    return math.prod(_gemm_lengths(layer, taken))


_MACS: Final[Mapping[str, Callable[[Layer, Taken, Shape], int]]] = {
    **dict.fromkeys(
        ("Convolution", "ConvolutionDepthWise", "Convolution1D", "ConvolutionDepthWise1D"), _of_convolution
    ),
    **dict.fromkeys(("Deconvolution", "DeconvolutionDepthWise"), _of_transposed),
    "InnerProduct": _of_linear,
    "MatMul": _of_product,
    "Gemm": _of_gemm,
}
UNCOUNTED: Final = frozenset(
    {
        *("Convolution3D", "ConvolutionDepthWise3D", "Deconvolution1D", "DeconvolutionDepthWise1D"),
        *("Deconvolution3D", "DeconvolutionDepthWise3D", "DeformableConv2D", "Einsum", "SDPA"),
        *("MultiHeadAttention", "LSTM", "GRU", "RNN"),
    }
)
"""Types of layers with products that are not counted."""
