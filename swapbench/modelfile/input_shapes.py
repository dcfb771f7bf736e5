"""From the lengths that a file leaves free to the shapes at which it is measured."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swapbench.errors import BadModelFile
from swapbench.modelfile import layout_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.modelfile import Graph, Shapes, Tensor

UNNAMED: Final = "?"
"""Stands for a free length without a name."""

ANY_RANK: Final = ("...",)
"""Stands for a shape of which not even the rank is known."""

MOST_ELEMENTS: Final = 1 << 28
"""Of one input: a billion bytes of floats."""

_NUMBERS: Final = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)

IMAGE_RANK: Final = 4
_OR_A_CARD: Final = "; a card says it too: FILE=CARD.toml"

EXAMPLE_PX: Final = 224
EXAMPLE_LENGTH: Final = 16
"""Lengths in the examples of a message."""


def shaped(path: Path, inputs: Sequence[Tensor], shapes: Shapes) -> tuple[tuple[Tensor, ...], dict[str, int]]:
    """The inputs with the shapes at which they are measured: those asked for, else batch 1.

    A length with a name is the same wherever the name stands.

    Args:
        path: For messages.
        inputs: As in the file; a free length is in `shape` what the file suggests, where 1 suggests nothing.
        shapes: What was asked for.

    Returns:
        The inputs, with 0 for a length that is still free, and the free lengths that have a name, by name.

    Raises:
        BadModelFile: The file fixes another shape than was asked for.
    """
    asked = [_asked(path, tensor, shapes, only=len(inputs) == 1) for tensor in inputs]
    lengths: dict[str, int] = {}
    for tensor, shape in zip(inputs, asked, strict=True):
        _name_lengths(lengths, tensor, shape or ())
    for tensor in inputs:
        _name_lengths(lengths, tensor, (1,))  # the batch
    made = tuple(
        replace(tensor, shape=_known_lengths(tensor, lengths) if shape is None else shape)
        for tensor, shape in zip(inputs, asked, strict=True)
    )
    return made, lengths


def _name_lengths(lengths: dict[str, int], tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Note what the first lengths of an input are, where the file has a name for them and nobody said."""
    for name, length in zip(tensor.declared, shape, strict=False):
        if isinstance(name, str) and name not in {UNNAMED, *ANY_RANK}:
            lengths.setdefault(name, length)


def _asked(path: Path, tensor: Tensor, shapes: Shapes, *, only: bool) -> tuple[int, ...] | None:
    """The shape that was asked for of an input; BadModelFile where the file fixes another one."""
    shape = shapes.get(tensor.name) or (shapes.get("") if only else None)
    if shape is None:
        return None
    fits = len(shape) == len(tensor.declared) and all(
        isinstance(length, str) or length == wanted
        for length, wanted in zip(tensor.declared, shape, strict=True)
    )
    if not fits and tensor.declared != ANY_RANK:
        raise BadModelFile(
            f"{path}: its input {tensor.name!r} is {_declared(tensor)} and cannot be {shape_text(shape)}",
            remedy="Lengths that are numbers are fixed in the file; export it again to change them.",
        )
    if math.prod(shape) > MOST_ELEMENTS:
        raise BadModelFile(
            f"{path}: an input of {shape_text(shape)} is too large",
            remedy=f"At most {MOST_ELEMENTS} numbers can be fed to an input.",
        )
    return shape


def _known_lengths(tensor: Tensor, lengths: Mapping[str, int]) -> tuple[int, ...]:
    """The lengths of an input that nobody gave a shape, 0 for those that are still free."""
    if tensor.declared == ANY_RANK:
        return (0,)
    known = []
    for place, (declared, suggested) in enumerate(zip(tensor.declared, tensor.shape, strict=True)):
        if isinstance(declared, int):
            known.append(declared)
        elif declared in lengths or place == 0:
            known.append(lengths.get(declared, 1))
        else:
            known.append(suggested if suggested > 1 else 0)
    return tuple(known)


def image_shapes(graph: Graph, width_px: int, height_px: int, channels: int) -> dict[str, tuple[int, ...]]:
    """The shape of the only input for images of a size, where the file leaves lengths of it free.

    Without any other hint the channels come first in ONNX and ncnn and last in TFLite. What a file of ncnn
    says of its size is a hint, which another size overrides.
    """
    (tensor,) = graph.inputs if len(graph.inputs) == 1 else (None,)
    if tensor is None or len(tensor.declared) != IMAGE_RANK:
        return {}
    if graph.format == "ncnn":
        return {tensor.name: (1, tensor.shape[1] or channels, height_px, width_px)}
    if 0 not in tensor.shape:
        return {}
    layout = layout_of([tensor]) or ("nchw" if graph.format == "onnx" else "nhwc")
    sizes = (channels, height_px, width_px) if layout == "nchw" else (height_px, width_px, channels)
    kept = zip(tensor.shape, (1, *sizes), strict=True)
    return {tensor.name: tuple(length or size for length, size in kept)}


def refuse_unmeasurable(graph: Graph, name: str) -> None:
    """Raise BadModelFile, naming the file `name`, where one run of it is not one image of a known size."""
    if not graph.inputs:
        raise BadModelFile(f"{name} has no inputs", remedy="Only a graph that is fed something is measured.")
    if not graph.outputs:
        raise BadModelFile(f"{name} has no outputs", remedy="Export it with what it computes as an output.")
    unknown = [tensor for tensor in graph.inputs if 0 in tensor.shape]
    if unknown:
        options = " ".join(f"--shape {shlex.quote(tensor.name)}={_example(tensor)}" for tensor in unknown)
        raise BadModelFile(
            f"{name} leaves {' and '.join(map(_unknown, unknown))}",
            remedy=f"Say the shape, such as: {options}{_OR_A_CARD if _is_image(graph) else ''}",
        )
    for tensor in graph.inputs:
        if tensor.dtype not in _NUMBERS:
            raise BadModelFile(
                f"the input {tensor.name!r} of {name} takes {tensor.dtype}",
                remedy="Only numbers of a type that numpy has can be fed.",
            )
        batch = tensor.shape[0] if len(tensor.shape) >= 4 else 1
        if batch > 1:
            fixed = "asked for" if isinstance(tensor.declared[0], str) else "fixed"
            raise BadModelFile(
                f"{name} takes {batch} images a run: the batch of its input {tensor.name!r} is {fixed} as "
                f"{shape_text(tensor.shape)}, but what is measured here is one image",
                remedy="Leave the batch at 1 in --shape."
                if fixed == "asked for"
                else "Export it again with batch 1 or with a free batch.",
            )


def _is_image(graph: Graph) -> bool:
    return len(graph.inputs) == 1 and len(graph.inputs[0].declared) == IMAGE_RANK


def shape_text(shape: Sequence[int]) -> str:
    """A shape as 1x3x80x80, with a question mark for a length that is not known."""
    return "x".join(str(length or "?") for length in shape) or "a single number"


def _declared(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.declared))}]"


def _unknown(tensor: Tensor) -> str:
    if tensor.declared == ANY_RANK:
        return f"the shape of its input {tensor.name!r} free"
    names = [
        str(name) if name != UNNAMED else f"length {place}"
        for place, (name, length) in enumerate(zip(tensor.declared, tensor.shape, strict=True), 1)
        if length == 0
    ]
    listed = ", ".join([*names[:-2], " and ".join(names[-2:])])
    return f"{listed} of its input {tensor.name!r} {_declared(tensor)} free"


def _example(tensor: Tensor) -> str:
    """A shape to type, with sizes that are common for images."""
    if tensor.declared == ANY_RANK:
        return f"1,3,{EXAMPLE_PX},{EXAMPLE_PX}"
    if len(tensor.shape) != 4:
        return ",".join(str(length or EXAMPLE_LENGTH) for length in tensor.shape)
    known = [length for length in tensor.shape[1:] if length > 4]
    side = known[0] if known else EXAMPLE_PX
    lengths = [length or side for length in tensor.shape]
    if not any(0 < length <= 4 for length in tensor.shape[1:]):
        lengths[1] = 3
    return ",".join(map(str, lengths))
