"""Proportions of presentations that come in groups, against hand-worked values and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench import stats
from swapbench.stats.beta import beta_probability, beta_quantile
from swapbench.stats.clustered import effective_trials


@pytest.mark.parametrize(
    ("x", "a", "b", "probability"),
    [(0.25, 1, 1, 0.25), (0.5, 2, 2, 0.5), (0.2, 1, 5, 1 - 0.8**5), (0.3, 4, 1, 0.3**4)],
)
def test_beta_probabilities_with_a_closed_form(x: float, a: float, b: float, probability: float) -> None:
    assert beta_probability(x, a, b) == pytest.approx(probability, abs=1e-13)
    assert beta_quantile(probability, a, b) == pytest.approx(x, abs=1e-12)


@given(st.floats(0.5, 5000), st.floats(0.5, 5000), st.sampled_from([0.005, 0.025, 0.5, 0.975]))
@settings(max_examples=60, deadline=None)
def test_beta_quantiles_are_those_of_scipy(a: float, b: float, probability: float) -> None:
    beta = pytest.importorskip("scipy.stats").beta
    assert beta_quantile(probability, a, b) == pytest.approx(float(beta.ppf(probability, a, b)), abs=1e-10)


def test_students_t_of_the_tables() -> None:
    found = [stats.t_quantile(0.975, freedom) for freedom in (1, 2, 9, 30)]
    assert found == pytest.approx([12.706, 4.303, 2.262, 2.042], abs=5e-4)


def test_presentations_of_different_people_count_each_and_have_the_exact_interval() -> None:
    wrong = [True] * 2 + [False] * 6
    assert effective_trials(wrong, range(8)) == 8
    assert stats.clustered_proportion(wrong, range(8)) == stats.proportion(2, 8)


def test_without_an_error_each_person_counts_once() -> None:
    found = stats.clustered_proportion([False] * 40, np.repeat(range(10), 4))
    assert (found.errors, found.trials) == (0, 40)
    assert found.interval.high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert found.interval.method == "Korn-Graubard over 10 people"


def test_people_who_always_fail_alike_are_worth_about_one_trial_each_by_hand() -> None:
    # Ten people of four presentations, three of them all wrong: rate .3. Between groups: 10/9 of the sum of
    # (4 - 1.2)^2 * 3 + (1.2)^2 * 7 = 33.6, over 40^2: .02333. Independent: .3 * .7 / 40 = .00525. The design
    # effect is 4.444, 40 trials are worth 9; times (t(39) / t(9))^2 = (2.0227 / 2.2622)^2 = .7995: 7.2.
    wrong = np.repeat([True] * 3 + [False] * 7, 4)
    assert effective_trials(wrong, np.repeat(range(10), 4)) == pytest.approx(7.195, abs=2e-3)


def test_people_who_differ_less_than_chance_are_worth_no_more_than_their_presentations() -> None:
    wrong = [True, False] * 10
    assert effective_trials(wrong, np.repeat(range(10), 2)) <= 20


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_intervals_hold_the_rate_and_depend_on_no_order(rows: list[tuple[bool, int]], random) -> None:  # type: ignore[no-untyped-def]
    again = random.sample(rows, len(rows))
    found, turned = (
        stats.clustered_proportion([row[0] for row in side], [row[1] for row in side])
        for side in (rows, again)
    )
    assert found == turned
    assert 0 <= found.interval.low <= found.rate <= found.interval.high <= 1
    low, high = stats.likely_rates([row[0] for row in rows], [row[1] for row in rows], 0.025)
    assert found.interval.low - 1e-9 <= low <= found.rate <= high <= found.interval.high + 1e-9
