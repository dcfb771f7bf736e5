from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.errors import ParityFailed
from swapbench.pad import agreement
from swapbench.pad.agreement import TOLERANCES, broken_limits, check, flip_threshold, unjudged
from swapbench.records import OutputMeaning, Parity, Precision

REFERENCE = np.array([0.1, 0.2, 0.8, 0.9])
scores = st.lists(st.floats(0, 1), min_size=2, max_size=40)
LOGITS = OutputMeaning(kind="logits")


def parity(reference: np.ndarray, other: np.ndarray, threshold: float, precision: Precision) -> Parity:
    return agreement.parity(reference, other, threshold, precision, LOGITS)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


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
        ("int8", [0.9, 0.8, 0.2, 0.1], "the logits' correlation -1.0000 is below 0.97"),
        ("int8", [0.9, 0.8, 0.2, 0.1], "the rank correlation -1.0000 is below 0.95"),
        # every logit is exactly turned round: their root mean square difference is twice their spread
        ("int8", [0.9, 0.8, 0.2, 0.1], "the logits' error is 2 of their spread, which exceeds 0.25"),
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
    found = parity(reference, moved, 0.5, "int8")
    assert found.decision_flips == flips
    assert any("flipped" in one for one in broken_limits(found)) is broken


def test_what_holds_is_handed_back() -> None:
    found = parity(REFERENCE, REFERENCE + 1e-6, 0.5, "fp32")
    assert check(found, reference="net", artifact="net.onnx") is found


def test_scores_that_are_no_numbers_break_the_limits() -> None:
    found = parity(REFERENCE, np.array([0.1, math.nan, 0.8, 0.9]), 0.5, "int8")
    assert broken_limits(found)


def test_a_constant_output_is_caught_although_it_has_no_correlation() -> None:
    # logits of REFERENCE are symmetric about 0, so a constant 0 is off by exactly their spread
    found = parity(REFERENCE, np.full(4, 0.5), 0.5, "int8")
    assert (found.correlation, found.rank_correlation) == (None, None)
    assert "the logits' error is 1 of their spread, which exceeds 0.25" in broken_limits(found)


def test_logits_are_those_on_paper() -> None:
    # of exp(2) : 1 and 1 : exp(2), then of scores that are 0 and 1, which end at +-16
    odds = np.array([math.exp(2) / (1 + math.exp(2)), 1 / (1 + math.exp(2)), 0.0, 1.0])
    assert agreement.logits(odds, LOGITS) == pytest.approx([2, -2, -16, 16])
    score = OutputMeaning(kind="score")
    assert agreement.logits(odds, score) is odds


def test_saturated_scores_do_not_condemn_a_file_whose_logits_ranks_and_decisions_agree() -> None:
    """Sixty-three scores are 0 or 1 and correlate whatever happens; the one between moves by .4."""
    exact = np.concatenate([np.linspace(-12, -8, 31), [-0.1], np.linspace(8, 12, 32)])
    other = exact + np.where(np.arange(64) == 31, 2.2, 0.1)
    found = parity(sigmoid(exact), sigmoid(other), 0.9, "int8")
    assert found.max_abs_difference > 0.4
    assert found.rank_correlation == pytest.approx(1)
    assert found.logit_error == pytest.approx(math.sqrt((63 * 0.1**2 + 2.2**2) / 64) / exact.std(), rel=1e-6)
    assert broken_limits(found) == []


def test_an_error_of_the_logits_is_found_although_every_score_is_saturated() -> None:
    """All scores are 0 or 1 to four digits on both sides, and the logits have nothing in common."""
    dice = np.random.default_rng(0)
    exact, other = 9 + dice.normal(size=200), 9 + dice.normal(size=200)
    found = parity(sigmoid(exact), sigmoid(other), 0.5, "int8")
    assert (found.decision_flips, found.max_abs_difference < 0.01) == (0, True)
    assert [words.split(" ")[1] for words in broken_limits(found)] == ["logits'", "logits'", "rank"]


def test_the_order_within_two_narrow_clusters_is_not_judged() -> None:
    """Clusters 10 apart, each shuffled within .2: Spearman's is about .75, and nothing that matters moved."""
    dice = np.random.default_rng(1)
    middle = np.repeat([-5.0, 5.0], 100)
    exact, other = (middle + dice.uniform(-0.1, 0.1, 200) for _ in range(2))
    found = parity(sigmoid(exact), sigmoid(other), 0.5, "int8")
    assert found.rank_correlation == pytest.approx(0.75, abs=0.06)
    assert broken_limits(found) == []


def test_noise_of_a_quarter_of_the_spread_is_where_the_limits_lie() -> None:
    dice = np.random.default_rng(2)
    exact = dice.normal(size=4000)
    for noise, breaks in ((0.2, False), (0.3, True)):
        moved = exact + noise * dice.normal(size=4000)
        found = parity(sigmoid(exact), sigmoid(moved), 1.1, "int8")  # nothing is accepted: no flips
        assert bool(broken_limits(found)) is breaks
        assert found.logit_correlation == pytest.approx(1 / math.sqrt(1 + noise**2), abs=0.01)


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "int16x8"])
def test_a_quantised_file_cannot_be_judged_by_equal_scores_or_by_a_handful(precision: Precision) -> None:
    flat = parity(np.full(40, 0.5), np.linspace(0.5, 0.51, 40), 0.4, precision)
    assert broken_limits(flat) == []
    assert unjudged(flat) == "the reference gives all 40 samples the same score"
    few = np.linspace(0.1, 0.9, 19)
    assert unjudged(parity(few, few, 0.5, precision)).startswith("there are only 19 samples to compare")
    enough = np.linspace(0.1, 0.9, 20)
    assert unjudged(parity(enough, enough, 0.5, precision)) == ""
    assert unjudged(parity(few, few, 0.5, "fp16")) == ""


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
