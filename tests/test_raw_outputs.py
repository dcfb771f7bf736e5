"""From raw outputs to scores, and cards held against what a file returns; every number by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from swapbench.errors import BadCard, NotValid
from swapbench.modelfile import Tensor
from swapbench.pad.output_fit import check_output, output_places
from swapbench.pad.raw_outputs import bona_fide_scores, output_doubts
from swapbench.ports import OutputTensor
from swapbench.records import OutputMeaning

NAN = math.nan


def meaning(kind: str, **fields: Any) -> OutputMeaning:
    return OutputMeaning.model_validate({"kind": kind, **fields})


@pytest.mark.parametrize(
    ("said", "row", "score"),
    [
        (meaning("logits", bona_fide_index=1), [0.0, math.log(3)], 0.75),
        (meaning("logits", bona_fide_index=0), [0.0, math.log(3)], 0.25),
        (meaning("logits", bona_fide_index=1), [-1e4, 1e4, 0.0], 1.0),  # no overflow in exp
        (meaning("logits", bona_fide_index=[0, 2]), [0.0, math.log(3), 0.0], 0.4),
        (meaning("probabilities", bona_fide_index=2), [0.1, 0.2, 0.7], 0.7),
        (meaning("probabilities", bona_fide_index=[0, 2]), [0.1, 0.2, 0.7], 0.8),
        (meaning("probabilities"), [0.3], 0.3),
        (meaning("score"), [-3.5], -3.5),
        (meaning("score", higher_is="attack"), [-3.5], 3.5),
        (meaning("sigmoid"), [math.log(3)], 0.75),
        (meaning("sigmoid", higher_is="attack"), [math.log(3)], 0.25),
        (meaning("sigmoid"), [-1e4], 0.0),
        (meaning("map"), [1.0, 2.0, 6.0, 7.0], 4.0),
        (meaning("map", reduce="sum", higher_is="attack"), [1.0, 2.0, 6.0, 7.0], -16.0),
        (meaning("map", reduce="max"), [1.0, 2.0, 6.0, 7.0], 7.0),
        (meaning("map", reduce="min"), [1.0, 2.0, 6.0, 7.0], 1.0),
        (meaning("expression", expression="mean(only) + only[1]"), [1.0, 2.0, 6.0], 5.0),
    ],
)
def test_the_card_says_how_one_score_comes_of_the_numbers(
    said: OutputMeaning, row: list[float], score: float
) -> None:
    assert bona_fide_scores([row, row], said).tolist() == pytest.approx([score, score])


def test_an_expression_takes_each_output_from_its_place_in_the_row() -> None:
    said = meaning("expression", expression="sum(abs(a) * b)", higher_is="attack")
    tensors = (OutputTensor("b", (1, 2)), OutputTensor("a", (1, 1, 2)))
    rows = [[1.0, 2.0, -3.0, 4.0], [0.5, 0.0, 8.0, 9.0]]
    assert bona_fide_scores(rows, said, tensors).tolist() == [-(3.0 + 8.0), -4.0]
    with pytest.raises(BadCard, match="returns b, 2 numbers in all, but the card needs a, b"):
        bona_fide_scores([[1.0, 2.0]], said, tensors[:1])
    with pytest.raises(BadCard, match="returns one output"):
        bona_fide_scores([[1.0, 2.0]], said)


@pytest.mark.parametrize(
    ("said", "row"),
    [
        (meaning("logits", bona_fide_index=2), [0.0, 1.0]),
        (meaning("logits", bona_fide_index=[0, 2]), [0.0, 1.0]),
        (meaning("score"), [0.0, 1.0]),
        (meaning("sigmoid"), [0.0, 1.0]),
    ],
)
def test_outputs_of_another_shape_than_the_card_says_are_refused(
    said: OutputMeaning, row: list[float]
) -> None:
    with pytest.raises(BadCard, match="the network returns 2 numbers per image"):
        bona_fide_scores([row], said)


@pytest.mark.parametrize("kind", ["logits", "probabilities", "map"])
@pytest.mark.parametrize("broken", [NAN, math.inf, -math.inf])
def test_a_network_that_answers_nan_does_not_pass_for_a_face_that_was_not_found(
    kind: str, broken: float
) -> None:
    with pytest.raises(NotValid, match="returns NaN or infinity for 1 of 2 images"):
        bona_fide_scores([[0.0, 1.0], [0.0, broken]], meaning(kind))


def test_an_expression_that_divides_by_zero_is_no_score() -> None:
    with pytest.raises(NotValid, match="gives NaN or infinity for 1 of 2 images"):
        bona_fide_scores([[1.0], [0.0]], meaning("expression", expression="1 / y"))


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"kind": "logits", "higher_is": "attack"}, "bona_fide_index says what is high"),
        ({"kind": "logits", "bona_fide_index": -1}, "must be a class, counted from 0"),
        ({"kind": "logits", "bona_fide_index": []}, "one class or several different ones"),
        ({"kind": "logits", "bona_fide_index": [1, 1]}, "one class or several different ones"),
        ({"kind": "expression"}, "belong together"),
        ({"kind": "score", "expression": "a"}, "belong together"),
        ({"kind": "expression", "expression": "a", "name": "a"}, "names its outputs itself"),
        ({"kind": "score", "reduce": "max"}, "reduce belongs to"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        OutputMeaning.model_validate(fields)


# ---------------------------------------------------------------------------------- held against the file


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, "float32")


MAP, LOGITS, ONE = tensor("map", 1, 1, 20, 20), tensor("logits", 1, 2), tensor("one", 1, 1)


@pytest.mark.parametrize(
    ("said", "outputs", "part", "remedy"),
    [
        (
            meaning("logits", bona_fide_index=1, classes=("attack", "bona fide")),
            (MAP, LOGITS),
            "the output 'map' has 400 numbers (1x1x20x20), the card names 2 classes",
            "The other output is logits (1x2)",
        ),
        (meaning("logits"), (MAP, LOGITS, ONE), "says logits of classes", "logits (1x2), one (1x1)"),
        (
            meaning("logits", bona_fide_index=2),
            (LOGITS,),
            "bona fide is at index 2",
            "the file's only output",
        ),
        (meaning("logits"), (ONE,), "softmax is always 1", "only output"),
        (meaning("score"), (LOGITS,), "has 2 numbers (1x2), the card says score", "only output"),
        (meaning("sigmoid", name="map"), (ONE, MAP), "the output 'map' has 400", "one (1x1)"),
        (meaning("map"), (LOGITS,), "a map, which has a height and a width", "only output"),
        (
            meaning("score", name="on"),
            (ONE,),
            "means the output 'on', but the file has one (1x1)",
            "mean one?",
        ),
        (meaning("expression", expression="sum(tow)"), (LOGITS,), "means the output 'tow'", "Known: logits"),
        (meaning("expression", expression="map[0] + logits"), (MAP, LOGITS), "gives 2 numbers", "sum, mean"),
        (meaning("expression", expression="logits[2]"), (LOGITS,), "takes number 2 of 2", ""),
        (meaning("expression", expression="sum("), (LOGITS,), "in place of its end", "looks like this"),
    ],
)
def test_a_card_that_does_not_fit_the_file_is_refused_with_what_the_file_has(
    said: OutputMeaning, outputs: tuple[Tensor, ...], part: str, remedy: str
) -> None:
    with pytest.raises(BadCard) as caught:
        check_output(said, outputs)
    assert part in caught.value.args[0]
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("said", "outputs", "places"),
    [
        (meaning("logits", bona_fide_index=1), (LOGITS, MAP), (0,)),
        (meaning("logits", name="logits", classes=("a", "b")), (MAP, LOGITS), (1,)),
        (meaning("map"), (MAP,), (0,)),
        (meaning("map"), (tensor("m", 1, 32, 32),), (0,)),
        (meaning("score"), (tensor("s"),), (0,)),  # a scalar
        (meaning("score"), (tensor("s", 1, 1, 1, 1),), (0,)),
        (meaning("probabilities", bona_fide_index=2), (tensor("p", 1, 3, 1, 1),), (0,)),
        (meaning("probabilities", bona_fide_index=2), (tensor("p", 0, 3),), (0,)),  # a free batch
        (meaning("logits", bona_fide_index=5), (tensor("p", 0, 0),), (0,)),  # nothing is known
        (meaning("expression", expression="sum(b * a)"), (tensor("a", 1, 3), ONE, tensor("b", 1, 3)), (2, 0)),
    ],
)
def test_a_card_that_fits_says_which_outputs_are_asked_for(
    said: OutputMeaning, outputs: tuple[Tensor, ...], places: tuple[int, ...]
) -> None:
    check_output(said, outputs)
    assert output_places(said, outputs) == places


# ---------------------------------------------------------------------------------- what the numbers belie

LIKE_PROBABILITIES = [[0.9, 0.1, 0.0], [0.2, 0.5, 0.3]]


@pytest.mark.parametrize(
    ("said", "rows", "part"),
    [
        (meaning("logits"), LIKE_PROBABILITIES, "3 numbers of each image are never negative and sum to 1"),
        (meaning("probabilities"), [[2.5, -1.0], [0.5, 0.5]], "lie between -1.00 and 2.50"),
        (
            meaning("probabilities"),
            [[0.5, 0.1], [0.5, 0.6]],
            "numbers of an image sum to between 0.600 and 1.10",
        ),
        (meaning("probabilities"), [[1.5], [0.2]], "lie between 0.200 and 1.50"),
    ],
)
def test_numbers_that_belie_the_kind_are_a_doubt(
    said: OutputMeaning, rows: list[list[float]], part: str
) -> None:
    (doubt,) = output_doubts(rows, said)
    assert (doubt.code, doubt.quantity) == ("output_kind_suspect", "accuracy")
    assert part in doubt.message


@pytest.mark.parametrize(
    ("said", "rows"),
    [
        (meaning("probabilities"), LIKE_PROBABILITIES),
        (meaning("probabilities"), [[0.996, 0.00390625, 0.0], [0.5, 0.5, 0.00390625]]),  # steps of 1 / 256
        (meaning("probabilities"), [[0.7], [0.2]]),
        (meaning("logits"), [[1.5, -0.5], [0.4, 0.6]]),
        (meaning("logits"), [[0.4, 0.6]]),  # one image proves nothing
        (meaning("logits"), [[0.4, 0.7], [0.5, 0.5]]),
        (meaning("score"), [[0.4], [0.7]]),
        (meaning("probabilities"), [[NAN, 0.5]]),
        (meaning("logits"), []),
    ],
)
def test_numbers_that_agree_with_the_kind_raise_no_doubt(
    said: OutputMeaning, rows: list[list[float]]
) -> None:
    assert output_doubts(rows, said) == ()
