"""Exchanging the two sides of a person: p values worked out by hand, and against every way there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench import stats
from swapbench.stats.sign_flips import SIGN_FLIPS

DIFFERENCES = st.lists(st.integers(-3, 3), max_size=8)


def test_as_many_people_as_coins_that_all_show_heads() -> None:
    assert stats.rise_p([1] * 6) == pytest.approx(1 / 64)
    assert stats.change_p([1] * 6) == pytest.approx(2 / 64)
    assert stats.change_p([-1] * 6) == pytest.approx(2 / 64)
    # 2, 1 and -1 add up to 2; of the eight sums 4, 2, 2, 0, 0, -2, -2, -4 three are at least 2
    assert stats.rise_p([2, 1, -1]) == pytest.approx(3 / 8)


def test_one_more_error_shows_nothing_and_twelve_of_one_person_no_more() -> None:
    assert stats.change_p([0, 0, 1]) == 1.0
    assert stats.change_p([12, 0, 0]) == 1.0
    assert stats.change_p([]) == stats.change_p([0, 0]) == 1.0


def test_what_is_allowed_is_taken_off_the_rise() -> None:
    # 6 more and 2 allowed: as far as 4, which 6 or 5 of the six coins reach
    assert stats.rise_p([1] * 6, 2) == pytest.approx(7 / 64)
    assert stats.rise_p([1] * 6, 6) == 1.0
    assert stats.rise_p([1] * 6, 1.9) == pytest.approx(1 / 64)


@given(DIFFERENCES, st.sampled_from([0.0, 0.4, 1.0, 1.5, 2.0, 3.0]))
def test_the_p_is_the_share_of_all_exchanges(differences: list[int], allowed: float) -> None:
    rise = sum(differences)
    sums = [
        sum(sign * one for sign, one in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    share = sum(one >= rise - allowed - 1e-9 for one in sums) / len(sums)
    assert stats.rise_p(differences, allowed) == pytest.approx(1.0 if rise <= allowed else share)


@given(st.integers(0, 30), st.integers(0, 30))
def test_single_cases_give_the_exact_form_of_mcnemars_test(more: int, fewer: int) -> None:
    assert stats.change_p([1] * more + [-1] * fewer) == pytest.approx(stats.mcnemar(more, fewer), rel=1e-9)


def test_the_smallest_rise_that_people_can_show() -> None:
    # 2 to the power of -8 is 0.0039, of -7 0.0078
    assert stats.least_rise([4] * 20, 0.005) == 8
    assert stats.least_rise([1] * 8, 0.005) == 8
    assert stats.least_rise([1] * 7, 0.005) is None
    assert stats.least_rise([80], 0.005) is None
    assert stats.least_rise([], 0.005) is None
    # with 16 allowed, 8 people need 3 errors more each: 24 - 16 = 8, and one exchanged leaves 18
    assert stats.least_rise([4] * 8, 0.005, 4) == 24


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=25), st.sampled_from([0.05, 0.005]), st.integers(0, 6)
)
def test_no_smaller_rise_in_one_direction_is_as_sure(sizes: list[int], p_value: float, allowed: int) -> None:
    least = stats.least_rise(sizes, p_value, allowed)
    reached = [
        count * each
        for each in range(1, max(sizes) + 1)
        for count in range(1, sum(size >= each for size in sizes) + 1)
        if stats.rise_p([each] * count, allowed) <= p_value
    ]
    assert least == min(reached, default=None)


def test_few_people_are_exchanged_in_every_way_and_many_in_random_ones() -> None:
    (every,) = stats.exchanges(3, 0)
    assert len({tuple(way) for way in every.tolist()}) == 8
    many = np.concatenate(list(stats.exchanges(40, 0)))
    assert many.shape == (SIGN_FLIPS, 40)
    assert not many[0].any()
    assert many.mean() == pytest.approx(0.5, abs=0.01)
    assert sum(len(block) for block in stats.exchanges(10_000, 0)) == 2**28 // 10_000


def test_people_with_very_many_presentations_are_tested_exactly_too() -> None:
    # no two exchanges of 16 powers of two give the same sum, so one in 2**16 is as far as all of them
    powers = [2**power for power in range(16)]
    assert stats.rise_p(powers) == pytest.approx(1 / 2**16)
    # one error less on each: to exchange the smallest of them costs 2, and 2 are allowed
    assert stats.rise_p(powers, 2) == pytest.approx(2 / 2**16)
    # 10,000 are allowed: 18 people with 1251 errors more each may have three exchanged, with 1250 each four
    assert stats.least_rise([50_000] * 20, 0.005, 10_000) == 18 * 1251
    assert stats.rise_p([1251] * 18, 10_000) == pytest.approx(988 / 2**18)
    assert stats.rise_p([1250] * 18, 10_000) == pytest.approx(4048 / 2**18)
