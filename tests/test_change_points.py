"""Change points: the statistic against its definition, the rate of false alarms, and what is found."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.stats import ChangePoint, change_points
from swapbench.stats.change_points import LEAST, split_gains

STEP = [0.0] * 12 + [1.0] * 12


def by_definition(values: list[float], left: int) -> float:
    """Matteson and James (2014), equations 5 and 7, with exponent 1."""
    x, y = values[:left], values[left:]
    n, m = len(x), len(y)
    between = 2 / (n * m) * sum(abs(a - b) for a in x for b in y)
    within = [
        sum(abs(a - b) for a, b in itertools.combinations(part, 2)) / math.comb(len(part), 2)
        for part in (x, y)
    ]
    return n * m / (n + m) * (between - sum(within))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2 * LEAST, max_size=20))
def test_every_split_has_the_statistic_of_the_paper(values: list[float]) -> None:
    gains = split_gains(np.array([values]))[0]
    expected = [by_definition(values, left) for left in range(LEAST, len(values) - LEAST + 1)]
    assert gains == pytest.approx(expected, abs=1e-6)


def test_a_step_of_one_between_three_and_three_by_hand() -> None:
    # nothing within the parts, 2 between them, times 3 * 3 / 6
    assert split_gains(np.array([[0.0, 0, 0, 1, 1, 1]]))[0] == pytest.approx([3.0])


def test_a_step_without_noise_is_found_where_it_is() -> None:
    assert change_points(STEP) == (ChangePoint(12, 0.0005),)


def test_two_steps_in_noise_are_found_and_the_same_every_time() -> None:
    noise = np.random.default_rng(5).normal(size=90)
    values = list(noise + np.repeat([0.0, 4.0, 1.0], 30))
    found = change_points(values)
    assert [change.start for change in found] == [30, 60]
    assert found == change_points(values)


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 50, [0.0, 0, 1, 1], [3.0] * 20 + [9.0] + [3.0] * 20])
def test_nothing_is_found_in_few_or_equal_values_or_in_one_outlier(values: list[float]) -> None:
    assert change_points(values) == ()


def test_two_values_at_the_end_of_twenty_are_too_few_for_certainty_and_four_are_not() -> None:
    """Two of 22 lie side by side at an end in 2 of 231 orders, four of 24 in 2 of 10,626."""
    noise = list(np.random.default_rng(0).normal(scale=0.01, size=20))
    assert change_points([*noise, 9.0, 9.1]) == ()
    assert [one.start for one in change_points([*noise, 9.0, 9.1, 9.05, 9.02])] == [20]


NOISE = {
    "normal": lambda random, count: random.normal(size=count),
    "heavy tails": lambda random, count: random.standard_t(2, size=count),
    "two modes": lambda random, count: random.choice([0.0, 5.0], size=count) + random.normal(size=count),
    "skewed": lambda random, count: random.lognormal(sigma=1.0, size=count),
    "few values": lambda random, count: random.integers(3, size=count).astype(float),
}


@pytest.mark.parametrize("name", NOISE)
def test_false_alarms_are_no_more_than_the_level_says(name: str) -> None:
    """400 series without a change at 5 %: more than 32 alarms has probability 0.0044 at exactly 5 %."""
    random = np.random.default_rng(20)
    alarms = sum(
        bool(change_points(NOISE[name](random, 30), level=0.05, permutations=99)) for _ in range(400)
    )
    assert alarms <= 32
