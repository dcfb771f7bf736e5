from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.errors import ParityFailed
from swapbench.pad.agreement import TOLERANCES, broken_limits, check, flip_threshold, parity

REFERENCE = np.array([0.1, 0.2, 0.8, 0.9])
scores = st.lists(st.floats(0, 1), min_size=2, max_size=40)


def test_the_figures_are_those_on_paper() -> None:
    found = parity(REFERENCE, np.array([0.1, 0.6, 0.7, 0.9]), 0.5, "int8")
    assert found.samples == 4
    assert found.max_abs_difference == pytest.approx(0.4)
    assert found.mean_abs_difference == pytest.approx(0.125)
    assert found.decision_flips == 1  # .2 -> .6 crosses .5, .8 -> .7 does not
    assert found.threshold == 0.5
    # sums of products of deviations: .33 / sqrt(.5 * .3475)
    assert found.correlation == pytest.approx(0.35 / math.sqrt(0.5 * 0.3475), abs=1e-9)
    assert found.tolerance == dict(TOLERANCES["int8"])


def test_a_score_exactly_on_the_threshold_is_accepted_on_both_sides() -> None:
    assert parity(np.array([0.5]), np.array([0.6]), 0.5, "fp32").decision_flips == 0
    assert parity(np.array([0.5]), np.array([0.4]), 0.5, "fp32").decision_flips == 1


@given(scores)
def test_scores_agree_with_themselves_at_every_precision(values: list[float]) -> None:
    for precision in TOLERANCES:
        found = parity(np.array(values), np.array(values), 0.5, precision)
        assert found.max_abs_difference == 0
        assert found.decision_flips == 0
        assert broken_limits(found) == []


@given(scores, st.floats(0, 1))
def test_flips_never_exceed_the_samples_and_the_mean_never_the_largest(
    values: list[float], at: float
) -> None:
    found = parity(np.array(values), np.array(values[::-1]), at, "int8")
    assert 0 <= found.decision_flips <= found.samples
    assert found.mean_abs_difference <= found.max_abs_difference + 1e-12


@pytest.mark.parametrize(
    ("precision", "moved", "words"),
    [
        ("fp32", [0.1, 0.2, 0.8, 0.902], "largest difference 0.002, which exceeds 0.001"),
        ("fp16", [0.1, 0.2, 0.8, 0.96], "largest difference 0.06, which exceeds 0.05"),
        ("int8", [0.9, 0.8, 0.2, 0.1], "correlation -1.0000 is below 0.98"),
        (
            "int8",
            [0.1, 0.2, 0.4, 0.4],
            "the share of flipped decisions (2 of 4) is at least 0.0976, which exceeds 0.05",
        ),
    ],
)
def test_a_broken_limit_names_both_sides_and_itself(precision: str, moved: list[float], words: str) -> None:
    found = parity(REFERENCE, np.array(moved), 0.5, precision)  # type: ignore[arg-type]
    with pytest.raises(ParityFailed) as caught:
        check(found, reference="net", artifact="net.onnx")
    assert str(caught.value).startswith("net.onnx does not reproduce net on 4 samples")
    assert words in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(("flips", "broken"), [(7, False), (10, False), (11, True), (20, True)])
def test_flips_break_the_limit_only_where_their_share_surely_exceeds_it(flips: int, broken: bool) -> None:
    """11 of 112 is 9.8 %, 95 % sure to be above 5.6 %; 10 of 112 is 8.9 %, above 4.9 %."""
    reference = np.linspace(0.4, 0.6, 112)
    moved = reference.copy()
    moved[56 - flips : 56] += 0.11  # those just below the threshold cross it
    found = parity(reference, moved, 0.5, "int8").model_copy(update={"correlation": 1.0})
    assert found.decision_flips == flips
    assert any("flipped" in one for one in broken_limits(found)) is broken


def test_what_holds_is_handed_back() -> None:
    found = parity(REFERENCE, REFERENCE + 1e-6, 0.5, "fp32")
    assert check(found, reference="net", artifact="net.onnx") is found


def test_scores_that_are_no_numbers_break_the_limits() -> None:
    found = parity(REFERENCE, np.array([0.1, math.nan, 0.8, 0.9]), 0.5, "int8")
    assert broken_limits(found)


def test_a_constant_output_is_caught_although_it_has_no_correlation() -> None:
    found = parity(REFERENCE, np.full(4, 0.5), 0.5, "int8")
    assert found.correlation is None
    assert "correlation is undefined because one side is constant" in broken_limits(found)


def test_an_unknown_precision_has_no_tolerance() -> None:
    assert parity(REFERENCE, REFERENCE[::-1], 0.5, "unknown").tolerance == {}


@pytest.mark.parametrize("other", [[0.1], [], [[0.1, 0.2, 0.8, 0.9]]])
def test_scores_of_other_samples_are_not_compared(other: list) -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        parity(REFERENCE, np.array(other), 0.5, "fp32")


def test_the_flip_threshold_lies_between_two_scores() -> None:
    # EER threshold of these is the score .6; the next score below it is .4
    assert flip_threshold(np.array([0.6, 0.9]), np.array([0.1, 0.4])) == pytest.approx(0.5)


@given(scores, scores)
def test_rounding_flips_nothing_at_the_flip_threshold(bona_fide: list[float], attacks: list[float]) -> None:
    # scores of a network differ by more than their last bit, or are equal
    bona_fide, attacks = [round(one, 3) for one in bona_fide], [round(one, 3) for one in attacks]
    threshold = flip_threshold(np.array(bona_fide), np.array(attacks))
    both = np.array(bona_fide + attacks)
    lowest_accepted = both[both >= threshold]
    for moved in (both - 1e-6, both + 1e-6):
        found = parity(both, moved, threshold, "fp32")
        assert found.decision_flips == 0 or lowest_accepted.size == both.size
