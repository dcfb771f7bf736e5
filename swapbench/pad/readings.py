"""The ways in which outputs can be read: which output, which class, which direction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.raw_outputs import ROUNDING, STEP
from swapbench.records import OutputMeaning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.ports import OutputTensor

MOST_CLASSES = 16
"""A list of more numbers is taken for features, not for classes."""


def other_readings(meaning: OutputMeaning, tensors: Sequence[OutputTensor]) -> list[OutputMeaning]:
    """The same output read otherwise: of classes every other one, of a number the other direction.

    Args:
        meaning: what a card says
        tensors: the outputs of the file that were returned, in their order
    """
    if not meaning.of_classes:
        opposite = "bona_fide" if meaning.higher_is == "attack" else "attack"
        return [meaning.replace(higher_is=opposite)]
    sizes = {tensor.name: math.prod(tensor.shape) for tensor in tensors}
    size = sizes.get(meaning.name) or next(iter(sizes.values()), 0)
    others = [index for index in range(min(size, MOST_CLASSES)) if (index,) != meaning.bona_fide_indexes]
    return [meaning.replace(bona_fide_index=index) for index in others]


def readings(
    numbers: NDArray[np.float64], tensors: Sequence[OutputTensor], *, first_unnamed: bool = True
) -> list[OutputMeaning]:
    """Every way to read a file's outputs.

    One number is a score, or a logit where it leaves 0..1; a short list has a number for each class, which
    are probabilities where they sum to 1; what has a height and a width is a map. Expressions are not among
    them: they are the network's author's.

    Args:
        numbers: of all outputs, one after the other, [samples, numbers]
        tensors: the outputs, in the file's order
        first_unnamed: leave out the name of the first output, which a card means unless it says otherwise
    """
    found: list[OutputMeaning] = []
    start = 0
    for place, tensor in enumerate(tensors):
        end = start + math.prod(tensor.shape)
        own, start = numbers[:, start:end], end
        name = "" if place == 0 and first_unnamed else tensor.name
        found += _of_output(own, tensor, name)
    return found


def _of_output(numbers: NDArray[np.float64], tensor: OutputTensor, name: str) -> list[OutputMeaning]:
    inside = bool(np.all((numbers >= -ROUNDING) & (numbers <= 1 + ROUNDING)))
    count = numbers.shape[1]
    if count == 1:
        both = OutputMeaning(name=name, kind="score" if inside else "sigmoid")
        return [both, both.replace(higher_is="attack")]
    if sum(length > 1 for length in tensor.shape[1:]) > 1:
        both = OutputMeaning(name=name, kind="map")
        return [both, both.replace(higher_is="attack")]
    if count > MOST_CLASSES:
        return []
    tolerance = ROUNDING + STEP * count / 2
    shares = inside and bool(np.all(np.abs(numbers.sum(axis=1) - 1) <= tolerance))
    kind = "probabilities" if shares else "logits"
    return [
        OutputMeaning(name=name, kind=kind, bona_fide_index=index)  # type: ignore[arg-type]
        for index in range(count)
    ]
