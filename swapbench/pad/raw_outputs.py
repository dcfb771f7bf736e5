"""From a network's raw outputs to one score for each image, as a card says; and what belies the card."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from swapbench import units
from swapbench.errors import BadCard, NotValid
from swapbench.pad.expression import parse, sigmoid, softmax
from swapbench.records import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.ports import OutputTensor
    from swapbench.records import OutputMeaning

    Scores = NDArray[np.float64]
    Values = NDArray[np.float64]

CORRECT_OUTPUT: Final = "Correct the output section of the model card."
ROUNDING: Final = 0.002
"""By how much probabilities may leave 0..1: half precision, and the integers of a quantised softmax."""
STEP: Final = 1 / 256
"""Of a softmax with 8-bit outputs, so that the sum of n probabilities may be n / 2 steps from 1."""

_REDUCTIONS: Final[Mapping[str, Callable[..., Scores]]] = {
    "mean": np.mean,
    "sum": np.sum,
    "max": np.max,
    "min": np.min,
}


def bona_fide_scores(
    rows: Sequence[Sequence[float]], meaning: OutputMeaning, tensors: Sequence[OutputTensor] = ()
) -> Scores:
    """One score per sample, rising with bona fide, from a network's raw outputs.

    Args:
        rows: raw outputs, [samples, numbers]
        meaning: what the card says of them, see `OutputMeaning`
        tensors: the outputs whose numbers stand in a row, one after the other; without them a row is the only
            output

    Raises:
        BadCard: the outputs do not have the shape that the card says
        NotValid: an output is not finite, which is the network's failure and must not pass for a face that
            was not found; or the score of an expression is not
    """
    numbers = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    if meaning.kind == "expression":
        return _rising(_of_expression(numbers, meaning, tensors), meaning)
    if len(tensors) > 1:
        numbers = _named(numbers, [meaning.name or tensors[0].name], tensors)[0]
    numbers = _finite(numbers)
    if meaning.of_classes:
        scores = _of_classes(numbers, meaning)
    elif meaning.kind == "map":
        scores = _REDUCTIONS[meaning.reduce](numbers, axis=1)
    else:
        scores = _single(numbers, meaning)
    scores = _rising(scores, meaning)
    return sigmoid(scores) if meaning.kind == "sigmoid" else scores


def _rising(scores: Scores, meaning: OutputMeaning) -> Scores:
    """The scores so that they rise with bona fide; of a logit, its negative is that of the other class."""
    return np.ascontiguousarray(-scores if meaning.higher_is == "attack" else scores)


def _finite(numbers: Values) -> Values:
    """Raise NotValid where a number is not finite."""
    not_finite = int(np.sum(~np.isfinite(numbers).all(axis=1)))
    if not_finite:
        raise NotValid(
            f"the network returns NaN or infinity for {not_finite} of {len(numbers)} images",
            remedy="Look for overflow in its precision (fp16 ends at 65504), or for inputs out of range.",
        )
    return numbers


def _of_classes(numbers: Values, meaning: OutputMeaning) -> Scores:
    if numbers.shape[1] <= max(meaning.bona_fide_indexes):
        raise BadCard(
            f"the network returns {numbers.shape[1]} numbers per image, but its card says {meaning.kind}"
            f" with bona fide at index {max(meaning.bona_fide_indexes)}",
            remedy=CORRECT_OUTPUT,
        )
    probabilities = softmax(numbers) if meaning.kind == "logits" else numbers
    scores: Scores = probabilities[:, list(meaning.bona_fide_indexes)].sum(axis=1)
    return scores


def _single(numbers: Values, meaning: OutputMeaning) -> Scores:
    if numbers.shape[1] != 1:
        raise BadCard(
            f"the network returns {numbers.shape[1]} numbers per image, but its card says {meaning.kind},"
            " which is a single one",
            remedy=CORRECT_OUTPUT,
        )
    return numbers[:, 0]


def _of_expression(numbers: Values, meaning: OutputMeaning, tensors: Sequence[OutputTensor]) -> Scores:
    expression = parse(meaning.expression)
    named = _named(numbers, expression.outputs, tensors)
    scores = expression.scores(
        {name: _finite(values) for name, values in zip(expression.outputs, named, strict=True)}
    )
    not_finite = int(np.sum(~np.isfinite(scores)))
    if not_finite:
        raise NotValid(
            f"the expression {meaning.expression!r} gives NaN or infinity for {not_finite} of"
            f" {len(scores)} images",
            remedy="Look for a division by zero, an overflow of exp, or a log or sqrt of what is below 0.",
        )
    return scores


def _named(numbers: Values, names: Sequence[str], tensors: Sequence[OutputTensor]) -> list[Values]:
    """The numbers of the outputs of these names, each [samples, numbers]."""
    if not tensors and len(names) == 1:
        return [numbers]
    sizes = [math.prod(tensor.shape) for tensor in tensors]
    ends = np.cumsum(sizes)
    named = {
        tensor.name: numbers[:, end - size : end]
        for tensor, size, end in zip(tensors, sizes, ends, strict=True)
    }
    missing = [name for name in names if name not in named]
    if missing or (tensors and ends[-1] != numbers.shape[1]):
        raise BadCard(
            f"the network returns {', '.join(named) or 'one output'}, {numbers.shape[1]} numbers in all, but"
            f" the card needs {', '.join(names)}",
            remedy=CORRECT_OUTPUT,
        )
    return [named[name] for name in names]


def output_doubts(rows: Sequence[Sequence[float]], meaning: OutputMeaning) -> tuple[Doubt, ...]:
    """What the outputs themselves say against the card's `kind`; nothing where it is not one of classes.

    Logits that are never negative and sum to 1 are probabilities already: softmax of them squeezes the scores
    together and, with three classes and more, changes their order. Probabilities outside 0..1, or that do not
    sum to 1, are none.
    """
    if not meaning.of_classes or not rows:
        return ()
    numbers = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    if not np.isfinite(numbers).all():
        return ()
    least, most, sums = float(numbers.min()), float(numbers.max()), numbers.sum(axis=1)
    inside = least >= -ROUNDING and most <= 1 + ROUNDING
    tolerance = ROUNDING + STEP * numbers.shape[1] / 2
    sum_to_one = numbers.shape[1] > 1 and inside and bool(np.all(np.abs(sums - 1) <= tolerance))
    if meaning.kind == "logits" and sum_to_one and len(rows) > 1:
        return (
            _kind_doubt(
                f"the {numbers.shape[1]} numbers of each image are never negative and sum to 1, so they are"
                " probabilities, but the card calls them logits",
                'Write kind = "probabilities" in the output section of the card.',
            ),
        )
    if meaning.kind == "probabilities" and not inside:
        return (
            _kind_doubt(
                f"the outputs lie between {units.significant(least, 3)} and {units.significant(most, 3)}, but"
                " the card calls them probabilities",
                'Write kind = "logits" in the output section of the card, or "score" for a single number.',
            ),
        )
    if meaning.kind == "probabilities" and numbers.shape[1] > 1 and not sum_to_one:
        return (
            _kind_doubt(
                f"the {numbers.shape[1]} numbers of an image sum to between"
                f" {units.significant(float(sums.min()), 3)} and {units.significant(float(sums.max()), 3)},"
                " but the card calls them probabilities",
                "Look up what the network's last layer is: independent sigmoids are said by an expression.",
            ),
        )
    return ()


def _kind_doubt(message: str, remedy: str) -> Doubt:
    return Doubt(code="output_kind_suspect", quantity="accuracy", message=message, remedy=remedy)
