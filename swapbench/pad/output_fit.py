"""A card's output section held against a model file, before anything runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import BadCard, suggestion
from swapbench.modelfile.input_shapes import ANY_RANK
from swapbench.pad.expression import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.modelfile import Tensor
    from swapbench.records import OutputMeaning


def output_places(meaning: OutputMeaning, outputs: Sequence[Tensor]) -> tuple[int, ...]:
    """Which of a file's outputs the scores are made of, by their places in the file.

    Raises:
        BadCard: the file has no such output
    """
    if meaning.kind == "expression":
        return tuple(_place(name, outputs) for name in parse(meaning.expression).outputs)
    return (_place(meaning.name, outputs) if meaning.name else 0,)


def check_output(meaning: OutputMeaning, outputs: Sequence[Tensor]) -> None:
    """Raise BadCard where a file's outputs are not what the card says: how many there are, and of what shape.

    Lengths that the file leaves open are not checked, except that of a batch, which is 1.
    """
    chosen = [outputs[place] for place in output_places(meaning, outputs)]
    if meaning.kind == "expression":
        _check_expression(meaning, chosen)
        return
    (output,) = chosen
    size = output_size(output)
    if size is None:
        return
    problem = _problem(meaning, output, size)
    if problem:
        raise BadCard(
            f"the output {output.name!r} has {numbers(size)} ({shape_text(output)}), {problem}",
            remedy=_others(output, outputs),
        )


def output_size(output: Tensor) -> int | None:
    """How many numbers an output has for one image; None where the file leaves that open."""
    if output.declared == ANY_RANK:
        return None
    lengths = output.shape[1:] if output.shape and not _fixed(output.shape[0]) else output.shape
    return math.prod(lengths) if all(_fixed(length) for length in lengths) else None


def shape_text(output: Tensor) -> str:
    """A shape as `1x3x80x80`; a scalar has none."""
    return "x".join(str(length) for length in output.shape) or "a scalar"


def numbers(count: int) -> str:
    """So many numbers, in words that agree."""
    return "1 number" if count == 1 else f"{count} numbers"


def is_map(output: Tensor) -> bool:
    """Whether an output has a height and a width, unlike a list of classes."""
    lengths = [length for length in output.shape[1:] if length != 1]
    return len(lengths) > 1


def _fixed(length: object) -> bool:
    return isinstance(length, int) and length > 0


def _place(name: str, outputs: Sequence[Tensor]) -> int:
    names = [output.name for output in outputs]
    if name not in names:
        described = ", ".join(f"{output.name} ({shape_text(output)})" for output in outputs)
        raise BadCard(
            f"the card means the output {name!r}, but the file has {described}",
            remedy=suggestion(name, names),
        )
    return names.index(name)


def _problem(meaning: OutputMeaning, output: Tensor, size: int) -> str:
    """What the card says that the output is not; "" where they agree."""
    if meaning.of_classes:
        return _class_problem(meaning, output, size)
    if meaning.kind == "map":
        return "" if is_map(output) else "the card says a map, which has a height and a width"
    return "" if size == 1 else f"the card says {meaning.kind}, which is a single number"


def _class_problem(meaning: OutputMeaning, output: Tensor, size: int) -> str:
    highest = max(meaning.bona_fide_indexes)
    if meaning.classes and len(meaning.classes) != size:
        return f"the card names {len(meaning.classes)} classes"
    if is_map(output):
        return f"the card says {meaning.kind} of classes, which are a list"
    if highest >= size:
        return f"the card says that bona fide is at index {highest}, counted from 0"
    if len(meaning.bona_fide_indexes) == size > 1:
        return "the card says that all of them are of bona fide, so no attack could be told"
    if size == 1 and meaning.kind == "logits":
        return 'whose softmax is always 1; kind = "sigmoid" or "score" takes a single number'
    return ""


def _others(chosen: Tensor, outputs: Sequence[Tensor]) -> str:
    """What else the card could mean."""
    others = [f"{output.name} ({shape_text(output)})" for output in outputs if output is not chosen]
    if not others:
        return "Correct the output section of the card; it is the file's only output."
    verb = "output is" if len(others) == 1 else "outputs are"
    return (
        f'The other {verb} {", ".join(others)}; choose one with name = "..." in the card\'s output section.'
    )


def _check_expression(meaning: OutputMeaning, chosen: Sequence[Tensor]) -> None:
    """Evaluate the expression once, on ones of the outputs' lengths: what does not fit shows."""
    sizes = {output.name: output_size(output) for output in chosen}
    trial = {name: np.ones((1, size)) for name, size in sizes.items() if size is not None}
    if len(trial) == len(sizes):
        parse(meaning.expression).scores(trial)
