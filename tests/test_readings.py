"""The ways in which outputs can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swapbench.pad.readings import other_readings, readings
from swapbench.ports import OutputTensor
from swapbench.records import OutputMeaning


def meaning(kind: str, **fields: Any) -> OutputMeaning:
    return OutputMeaning.model_validate({"kind": kind, **fields})


def test_every_output_is_read_by_its_shape_and_its_numbers() -> None:
    tensors = (
        OutputTensor("shares", (1, 2)),
        OutputTensor("logits", (1, 2)),
        OutputTensor("one", (1, 1)),
        OutputTensor("share", (1,)),
        OutputTensor("map", (1, 1, 2, 2)),
        OutputTensor("features", (1, 17)),
    )
    row = [0.25, 0.75, -1.0, 3.0, 7.0, 0.5, 0.0, 0.1, 0.2, 0.3, *range(17)]
    assert readings(np.array([row, row]), tensors) == [
        meaning("probabilities", bona_fide_index=0),
        meaning("probabilities", bona_fide_index=1),
        meaning("logits", name="logits", bona_fide_index=0),
        meaning("logits", name="logits", bona_fide_index=1),
        meaning("sigmoid", name="one"),
        meaning("sigmoid", name="one", higher_is="attack"),
        meaning("score", name="share"),
        meaning("score", name="share", higher_is="attack"),
        meaning("map", name="map"),
        meaning("map", name="map", higher_is="attack"),
    ]


@pytest.mark.parametrize(
    ("said", "others"),
    [
        (meaning("logits", bona_fide_index=1), [0, 2]),
        (meaning("logits", name="y", bona_fide_index=0), [1, 2]),
        (meaning("probabilities", bona_fide_index=(0, 2)), [0, 1, 2]),
    ],
)
def test_of_classes_every_other_one_might_be_meant(said: OutputMeaning, others: list[int]) -> None:
    found = other_readings(said, (OutputTensor("y", (1, 3)), OutputTensor("z", (1, 9))))
    assert found == [said.replace(bona_fide_index=index) for index in others]


@pytest.mark.parametrize("kind", ["score", "sigmoid", "map", "expression"])
def test_of_a_number_the_other_direction_might_be_meant(kind: str) -> None:
    said = meaning(kind, **({"expression": "sum(y)"} if kind == "expression" else {}))
    (turned,) = other_readings(said, (OutputTensor("y", (1, 3)),))
    assert turned == said.replace(higher_is="attack")
    assert other_readings(turned, ()) == [said.replace(higher_is="bona_fide")]
