"""The beginning of a card for a model file: what the file tells, and a question for what it does not.

A question stands where a value belongs, so that a card with open questions is refused, by the name of the
field, and never used as it is.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from swapbench import units
from swapbench.modelfile import layout_of
from swapbench.modelfile.input_shapes import shape_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.modelfile import Graph, Layout, Tensor

OPEN: Final = '"?"'
"""Stands where the file does not tell a value."""

_SOFTMAX = frozenset({"Softmax", "SOFTMAX", "aten::_softmax"})
_SIGMOID = frozenset({"Sigmoid", "LOGISTIC", "QLinearSigmoid", "aten::sigmoid"})
_LINEAR = frozenset(
    {
        *("Gemm", "MatMul", "Conv", "Add", "Mul", "QGemm", "QLinearMatMul", "QLinearConv", "FusedGemm"),
        *("FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
        *("BatchNormalization", "GlobalAveragePool", "ReduceMean", "LogSoftmax"),
        *("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL", "ADD", "MUL", "MEAN", "LOG_SOFTMAX"),
        *("InnerProduct", "Convolution", "BinaryOp", "Pooling"),
        *("FullyConnected", "Conv2d", "Multiply", "GlobalAvgPooling2d", "AvgPooling2d"),
        *("aten::addmm", "aten::linear", "aten::convolution", "aten::add", "aten::mul", "aten::mean"),
    }
)
"""Operators whose numbers are logits where there is one for each class.

A Mul that rescales ends dynamic int8. Softmax makes the same of a log softmax as of what that was made from.
"""

_SCALING = frozenset(
    {"Add", "Sub", "Mul", "Div", "BatchNormalization", "ADD", "SUB", "MUL", "DIV", "BinaryOp", "BatchNorm"}
    | {"Subtract", "Multiply", "aten::add", "aten::sub", "aten::mul", "aten::div"}
)
"""With these a file that normalises pixels itself begins."""

_RANGES: Final = (
    ((0.0, 1.0), ("scale = 0.00392156862745098",)),
    ((0.0, 255.0), ("scale = 1.0",)),
    ((-1.0, 1.0), ("scale = 0.00392156862745098", "mean = 0.5", "std = 0.5")),
)
"""What a network takes of a pixel from 0 to 255, and how a card says it."""

_INTEGERS = frozenset({f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)})

_NEAR = 0.05
"""Calibration sees the largest values seldom: ends of a range may be this share of its width off."""


@dataclass(frozen=True)
class CardDraft:
    """What is known of a card.

    Attributes:
        notes: What the card must say and why, a sentence each.
        toml: The beginning of a card; empty where no card can describe the file.
    """

    notes: tuple[str, ...]
    toml: str


def draft(graph: Graph, name: str) -> CardDraft:
    """The beginning of a card for a file.

    Args:
        graph: Of the file.
        name: Of the network.
    """
    if len(graph.inputs) != 1:
        inputs = ", ".join(f"{tensor.name} {shape_text(tensor.shape)}" for tensor in graph.inputs)
        several = f"the file has {len(graph.inputs)} inputs ({inputs}), and a card describes one image"
        return CardDraft((f"{several}: it can be timed, but not scored",), "")
    if not graph.outputs:
        return CardDraft(("the file has no outputs: it can be neither timed nor scored",), "")
    image = _Image.of(graph)
    if image is None:
        shape = shape_text(graph.inputs[0].shape)
        none = f"the input {graph.inputs[0].name} of {shape} takes no image of 1 or 3 channels"
        return CardDraft((f"{none}: the file can be timed, but not scored",), "")
    fed, said = zip(*_input_lines(graph, image), strict=True)
    returned, told = zip(*_output_lines(graph), strict=True)
    lines = [f"name = {json.dumps(name)}", "", "[preprocessing]", *fed, "", "[output]", *returned]
    return CardDraft(tuple(note for note in (*said, *told) if note), "\n".join(lines) + "\n")


@dataclass(frozen=True)
class _Image:
    """How an input takes an image; sizes are 0 where the file leaves them free."""

    layout: Layout
    channels: int
    width_px: int
    height_px: int

    @classmethod
    def of(cls, graph: Graph) -> _Image | None:
        (tensor,) = graph.inputs
        if len(tensor.shape) != 4:
            return None
        layout = layout_of([tensor]) or ("nchw" if graph.format == "onnx" else "nhwc")
        _, *lengths = tensor.shape
        channels, height, width = lengths if layout == "nchw" else (lengths[2], *lengths[:2])
        return cls(layout, channels, width, height) if channels in {0, 1, 3} else None


def _input_lines(graph: Graph, image: _Image) -> Iterator[tuple[str, str]]:
    """Lines of the preprocessing section, each with the note that it is told by, or "" for none."""
    channels = f"{image.channels or 'any number of'} channel{'s' * (image.channels != 1)}"
    place = "first" if image.layout == "nchw" else "last"
    size = "a size that the file leaves open"
    if image.width_px and image.height_px:
        size = f"{image.width_px}x{image.height_px} px"
    yield (
        f"width_px = {image.width_px or OPEN}",
        f"the input takes {channels}, {place} ({image.layout.upper()}), of {size}",
    )
    yield f"height_px = {image.height_px or OPEN}", ""
    crop = "how faces are cut out is not in the file: crop_scale, and border, fit, resize and keep_box_aspect"
    yield (
        f"crop_scale = {OPEN}  # side of the crop in sides of the face box, such as 1.0 or 2.7",
        f"{crop} where they are not the usual ones",
    )
    if image.channels == 1:
        yield 'channel_order = "gray"', ""
    else:
        yield f'channel_order = {OPEN}  # "rgb" or "bgr"', "the order of the channels is not in the file"
    yield from _range_lines(graph)


def _range_lines(graph: Graph) -> Iterator[tuple[str, str]]:
    (tensor,) = graph.inputs
    held = held_range(tensor)
    if held is None and tensor.dtype in _INTEGERS:
        yield "scale = 1.0", f"the {tensor.dtype} input takes pixels as they are; the file does the rest"
        return
    ask = f"scale = {OPEN}  # 0.00392156862745098 makes 0 to 1 of a pixel, 1.0 leaves 0 to 255"
    if held is None:
        note = "the range of the input is not in the file: scale, and mean and std where there are any"
        if scaling := _SCALING.intersection(graph.taken_by):
            note += f"; it begins with {' and '.join(sorted(scaling))}, so it may take pixels of 0 to 255"
        yield ask, note
        return
    low, high = (units.significant(end, 3) for end in held)
    note = f"the {tensor.dtype} input holds {low} to {high} (scale {tensor.scale:.6g}, zero point"
    note += f" {tensor.zero_point})"
    margin = _NEAR * (held[1] - held[0])
    for ends, lines in _RANGES:
        if all(abs(end - wanted) <= margin for end, wanted in zip(held, ends, strict=True)):
            yield lines[0], f"{note}: pixels become {ends[0]:g} to {ends[1]:g}"
            yield from ((line, "") for line in lines[1:])
            return
    yield ask, f"{note}, which scale, mean and std have to make of pixels"


def held_range(tensor: Tensor) -> tuple[float, float] | None:
    """The least and the largest real number that a quantised input holds; None where it is not quantised."""
    if not tensor.scale or tensor.dtype not in _INTEGERS:
        return None
    limits, zero_point = np.iinfo(tensor.dtype), tensor.zero_point or 0
    return (limits.min - zero_point) * tensor.scale, (limits.max - zero_point) * tensor.scale


def _output_lines(graph: Graph) -> Iterator[tuple[str, str]]:
    """Lines of the output section, each with the note that it is told by, or "" for none."""
    described = [
        f"{tensor.name} ({shape_text(tensor.shape)}, made by {maker or 'nothing'})"
        for tensor, maker in zip(graph.outputs, graph.made_by, strict=True)
    ]
    if len(graph.outputs) > 1:
        several = (
            f"the file has {len(graph.outputs)} outputs, of which the card names one, or an expression of"
        )
        yield (
            f"name = {OPEN}  # {', '.join(json.dumps(tensor.name) for tensor in graph.outputs)}",
            f"{several} several: {', '.join(described)}",
        )
        yield f'kind = {OPEN}  # "logits", "probabilities", "score", "sigmoid", "map" or "expression"', ""
        yield f"bona_fide_index = {OPEN}  # of logits and probabilities; others have higher_is instead", ""
        return
    (tensor,), (maker,) = graph.outputs, graph.made_by
    lengths = [length for length in tensor.shape[1:] if length != 1]
    numbers = math.prod(tensor.shape[1:])
    if 0 in tensor.shape[1:] or not tensor.shape:
        yield f"kind = {OPEN}", f"the file does not tell how many numbers its output {described[0]} has"
    elif numbers == 1:
        yield from _of_one(maker, described[0])
    elif len(lengths) == 1:
        yield from _of_classes(maker, described[0], numbers)
    else:
        yield 'kind = "map"', f"the output {described[0]} is a map"
        yield (
            f'reduce = {OPEN}  # "mean", "sum", "max" or "min"',
            "what is made of the map is not in the file",
        )
        yield f'higher_is = {OPEN}  # "bona_fide" or "attack"', ""


def _of_one(maker: str, described: str) -> Iterator[tuple[str, str]]:
    if maker in _SIGMOID:
        yield 'kind = "score"', f"the output {described} is one number after a sigmoid"
    else:
        yield (
            f'kind = {OPEN}  # "sigmoid" for a logit, "score" for a number as it is',
            f"the output {described} is one number, and nothing in the file says whether it is a logit",
        )
    yield f'higher_is = {OPEN}  # "bona_fide" or "attack"', "whether high means bona fide is not in the file"


def _of_classes(maker: str, described: str, numbers: int) -> Iterator[tuple[str, str]]:
    have = f"the output {described} has {numbers} numbers"
    if maker in _SOFTMAX | _SIGMOID:
        yield 'kind = "probabilities"', f"{have}, probabilities after a {maker.lower()}"
    elif maker in _LINEAR:
        yield 'kind = "logits"', f"{have}, logits: the file ends without a softmax"
    else:
        yield (
            f'kind = {OPEN}  # "logits" or "probabilities"',
            f"{have}, and {maker or 'nothing'} before them does not tell logits from probabilities",
        )
    yield (
        f"bona_fide_index = {OPEN}  # 0 to {numbers - 1}",
        "which of the classes is bona fide is not in the file",
    )
