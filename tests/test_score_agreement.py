"""Agreement of two runtimes, on scores and outputs that can be followed on paper."""

from __future__ import annotations

import pytest

from swapbench.pad.metrics import FoldScores
from swapbench.pad.score_agreement import NO_CLASSES, ScoreAgreement, of_folds, of_outputs
from swapbench.pad.scores import Scored
from swapbench.ports import Outputs, OutputTensor
from swapbench.records import NO_THRESHOLD, Absent


def folds(*scores: float) -> tuple[FoldScores, ...]:
    """One fold: two bona fide, then attacks, a person each."""
    rows = range(len(scores))
    test = Scored.of(
        [f"p{row}" for row in rows],
        [f"s{row}" for row in rows],
        [row < 2 for row in rows],
        ["" if row < 2 else "print" for row in rows],
        list(scores),
    )
    return (FoldScores("", None, test),)


def test_each_side_decides_at_its_own_threshold() -> None:
    # the second side's scores are all .1 lower, and so is its threshold: no decision differs
    lower = of_folds(folds(0.9, 0.6, 0.4), folds(0.8, 0.5, 0.3), ({"": 0.5}, {"": 0.4}))
    assert isinstance(lower, ScoreAgreement)
    assert (lower.compared, lower.flips, lower.left_out) == (3, 0, 0)
    assert (lower.max_abs_difference, lower.mean_abs_difference) == pytest.approx((0.1, 0.1))
    assert lower.rank_correlation == pytest.approx(1)
    same = of_folds(folds(0.9, 0.6, 0.4), folds(0.8, 0.5, 0.3), ({"": 0.55}, {"": 0.55}))
    assert isinstance(same, ScoreAgreement)
    assert same.flips == 1  # .6 is accepted, .5 is not


def test_a_presentation_without_a_score_on_either_side_is_left_out_and_counted() -> None:
    found = of_folds(folds(0.9, float("nan"), 0.4), folds(0.9, 0.6, 0.4), ({"": 0.5}, {"": 0.5}))
    assert isinstance(found, ScoreAgreement)
    assert (found.compared, found.left_out, found.max_abs_difference) == (2, 1, 0)


def test_without_thresholds_scores_are_compared_and_decisions_are_absent() -> None:
    found = of_folds(folds(0.9, 0.6, 0.4), folds(0.9, 0.5, 0.4), ({}, {"": 0.5}))
    assert isinstance(found, ScoreAgreement)
    assert found.flips == NO_THRESHOLD
    assert found.max_abs_difference == pytest.approx(0.1)


def test_nothing_scored_by_both_is_nothing_to_compare() -> None:
    nothing = of_folds(folds(float("nan"), 0.6), folds(0.9, float("nan")), ({"": 0.5}, {"": 0.5}))
    assert isinstance(nothing, Absent)


def outputs(*rows: tuple[float, ...], shape: tuple[int, ...] = (1, 2)) -> Outputs:
    return Outputs(rows, 0, 0, (OutputTensor("y", shape),))


def test_of_raw_outputs_a_decision_is_the_largest_class() -> None:
    found = of_outputs(outputs((1, 2), (3, 1)), outputs((1, 2.5), (1, 1.5)))
    assert isinstance(found, ScoreAgreement)
    assert (found.compared, found.flips, found.max_abs_difference) == (2, 1, 2)
    assert found.mean_abs_difference == pytest.approx((0 + 0.5 + 2 + 0.5) / 4)


def test_a_map_is_compared_without_decisions() -> None:
    maps = outputs((1, 2, 3, 4), shape=(1, 1, 2, 2))
    found = of_outputs(maps, maps)
    assert isinstance(found, ScoreAgreement)
    assert (found.max_abs_difference, found.flips) == (0, NO_CLASSES)


@pytest.mark.parametrize("other", [outputs((1, 2, 3)), outputs((1, float("inf"))), outputs((1, 2), (3, 4))])
def test_outputs_that_cannot_be_compared_say_why(other: Outputs) -> None:
    assert isinstance(of_outputs(outputs((1, 2)), other), Absent)
