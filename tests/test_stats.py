from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench import stats
from swapbench.records import CounterRead, Interval, Power
from swapbench.stats import bootstrap


@pytest.mark.parametrize(
    ("samples", "q", "expected"),
    [
        ([3, 1, 2], 0.5, 2),
        ([4, 1, 3, 2], 0.5, 2),
        ([7], 0.99, 7),
        ([1, 2, 3, 4], 0, 1),
        ([1, 2, 3, 4], 1, 4),
        (range(1, 101), 0.05, 5),
        (range(1, 101), 0.07, 7),  # .07 * 100 is 7.000000000000001
        (range(1, 101), 0.9, 90),
    ],
)
def test_a_quantile_is_the_least_sample_that_covers_the_fraction(
    samples: list[int], q: float, expected: int
) -> None:
    assert stats.quantile(list(samples), q) == expected


def test_a_quantile_of_nothing_or_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        stats.quantile([], 0.5)
    with pytest.raises(ValueError, match="a quantile must lie in"):
        stats.quantile([1], 1.5)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.floats(0, 1))
@settings(deadline=None)
def test_a_quantile_is_a_sample_and_the_same_as_numpys_inverted_cdf(samples: list[int], q: float) -> None:
    q = round(q, 3)
    found = stats.quantile(samples, q)
    assert found in samples
    assert sum(one <= found for one in samples) >= q * len(samples) - 1e-6
    assert sum(one < found for one in samples) <= q * len(samples) + 1e-6


# ------------------------------------------------------------------------------------------ bootstrap


def test_the_relative_half_width_is_half_the_width_over_the_middle() -> None:
    assert stats.relative_half_width(Interval(low=98, high=102, method="by hand")) == pytest.approx(0.02)
    assert stats.relative_half_width(Interval(low=-1, high=1, method="by hand")) == math.inf


def drawn_one_by_one(group: np.ndarray, cell: np.ndarray, groups: int, cells: int, draws: int, seed: int):
    """The bootstrap as the books tell it: draw groups, collect their samples, count."""
    rng = np.random.default_rng(seed)
    totals = []
    for _ in range(draws):
        places = np.concatenate([np.flatnonzero(group == one) for one in rng.integers(0, groups, groups)])
        totals.append(np.bincount(cell[places], minlength=cells))
    return np.array(totals)


@pytest.mark.parametrize("cells_a_sample", [0, 10**6])
@given(st.integers(2, 8), st.integers(1, 9), st.integers(0, 40), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_totals_are_those_of_groups_drawn_one_by_one(
    cells_a_sample: int, groups: int, cells: int, more: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), [0], rng.integers(0, groups, more)])
    cell = rng.integers(0, cells, group.size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_CELLS_A_SAMPLE", cells_a_sample)  # sample by sample, or as a product
        patch.setattr(bootstrap, "_COUNTS_AT_ONCE", 3 * cells)  # three groups at once
        found = stats.clustered_totals(group, cell, groups=groups, cells=cells, draws=12, seed=seed)
    assert found.tolist() == drawn_one_by_one(group, cell, groups, cells, 12, seed).tolist()


def test_groups_are_drawn_whole() -> None:
    # Three subjects of ten samples, all in one cell: in a draw a cell holds 0, 10, 20 or 30 samples.
    group = np.repeat([0, 1, 2], 10)
    totals = stats.clustered_totals(group, group == 2, groups=3, cells=2, draws=300, seed=1)
    assert set(totals[:, 1]) == {0, 10, 20, 30}
    assert set(totals.sum(axis=1)) == {30}
    assert np.mean(totals[:, 1] == 30) == pytest.approx(1 / 27, abs=0.03)


def test_samples_that_are_groups_of_their_own_have_the_multinomial_distribution() -> None:
    cell = np.repeat([0, 1, 2], [10, 30, 60])
    own = stats.clustered_totals(np.arange(100), cell, groups=100, cells=4, draws=4000, seed=2)
    assert set(own.sum(axis=1)) == {100}
    assert own[:, 3].max() == 0
    assert own.mean(axis=0)[:3] == pytest.approx([10, 30, 60], abs=0.5)
    assert own.std(axis=0)[:3] == pytest.approx([3, 21**0.5, 24**0.5], rel=0.05)  # n p (1 - p)
    drawn = drawn_one_by_one(np.arange(100), cell, 100, 4, 1000, seed=3)
    assert own.std(axis=0)[:3] == pytest.approx(drawn.std(axis=0)[:3], rel=0.1)


def test_a_clustered_interval_is_wider_than_one_that_takes_samples_for_independent() -> None:
    rng = np.random.default_rng(0)
    wrong = np.repeat(rng.random(20) < 0.5, 30).astype(np.intp)
    widths = []
    for group in (np.repeat(np.arange(20), 30), np.arange(600)):
        groups = int(group.max()) + 1
        totals = stats.clustered_totals(group, wrong, groups=groups, cells=2, draws=500)
        interval = stats.bootstrap_interval(totals[:, 1] / 600, 0.95, "test")
        assert interval is not None
        widths.append(interval.high - interval.low)
    assert widths[0] > 3 * widths[1]  # sqrt(30) = 5.5


def test_no_samples_give_no_totals() -> None:
    assert stats.clustered_totals([], [], groups=3, cells=2, draws=4).tolist() == [[0, 0]] * 4


def test_draws_in_which_the_statistic_does_not_exist_are_left_out() -> None:
    interval = stats.bootstrap_interval([2.0, math.nan, 3.0, math.nan], 0.95, "by hand")
    assert interval is not None
    assert (interval.low, interval.high, interval.method) == (2.0, 3.0, "by hand")


def test_a_statistic_that_mostly_does_not_exist_has_no_interval() -> None:
    assert stats.bootstrap_interval([2.0, math.nan, math.nan], 0.95, "by hand") is None
    assert stats.bootstrap_interval([math.nan], 0.95, "by hand") is None
    assert stats.bootstrap_interval([], 0.95, "by hand") is None


# ------------------------------------------------------------------------------------------ proportions


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [
        (0, 20, 0, 0.168),
        (0, 40, 0, 0.088),
        (0, 80, 0, 0.045),
        (0, 120, 0, 0.030),
        (1, 20, 0.0013, 0.249),
        (5, 5, 0.478, 1),
        (50, 100, 0.398, 0.602),
    ],
)
def test_clopper_pearson_gives_the_values_of_the_tables(
    errors: int, trials: int, low: float, high: float
) -> None:
    interval = stats.clopper_pearson(errors, trials)
    assert interval.low == pytest.approx(low, abs=5e-4)
    assert interval.high == pytest.approx(high, abs=5e-4)


def test_no_error_in_n_has_the_closed_form() -> None:
    # (1 - p)^n = .025
    assert stats.clopper_pearson(0, 35).high == pytest.approx(1 - 0.025 ** (1 / 35), abs=1e-12)


@given(st.integers(1, 300), st.data())
@settings(max_examples=50, deadline=None)
def test_clopper_pearson_holds_the_rate_and_mirrors(trials: int, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, trials))
    interval, mirror = stats.clopper_pearson(errors, trials), stats.clopper_pearson(trials - errors, trials)
    assert 0 <= interval.low <= errors / trials <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-9)
    narrower = stats.clopper_pearson(errors, trials, 0.8)
    assert interval.low <= narrower.low
    assert narrower.high <= interval.high


@pytest.mark.parametrize(
    ("errors", "trials"), [(1, 1_000_000), (123_456, 500_000), (499_999, 500_000), (17, 40), (39, 40)]
)
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_clopper_pearson_is_the_quantile_of_the_beta_distribution(
    errors: int, trials: int, confidence: float
) -> None:
    beta = pytest.importorskip("scipy.stats").beta
    interval, tail = stats.clopper_pearson(errors, trials, confidence), (1 - confidence) / 2
    assert interval.low == pytest.approx(beta.ppf(tail, errors, trials - errors + 1), rel=1e-7)
    assert interval.high == pytest.approx(beta.ppf(1 - tail, errors + 1, trials - errors), rel=1e-7)


@pytest.mark.parametrize("confidence", [0.4, 1.0, math.nan])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="a confidence must lie in"):
        stats.clopper_pearson(1, 5, confidence)


@pytest.mark.parametrize(("errors", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(errors: int, trials: int) -> None:
    with pytest.raises(ValueError, match="is not a proportion"):
        stats.clopper_pearson(errors, trials)


def test_a_proportion_carries_its_interval() -> None:
    found = stats.proportion(1, 20)
    assert found.rate == 0.05
    assert found.interval.method == "Clopper-Pearson"


# ------------------------------------------------------------------------------------------ pairs


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 * 1/2
        (6, 0, 2 / 64),
        (0, 6, 2 / 64),
        (5, 1, 2 * 7 / 64),  # 6 + 1 ways of 64
        (3, 3, 1.0),
        (4, 3, 1.0),  # 2 * 64/128
    ],
)
def test_mcnemar_counts_coin_tosses(first: int, second: int, p: float) -> None:
    assert stats.mcnemar(first, second) == pytest.approx(p)


@given(st.integers(0, 2000), st.integers(0, 2000))
@settings(max_examples=50, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    binomtest = pytest.importorskip("scipy.stats").binomtest
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert stats.mcnemar(first, second) == pytest.approx(
        expected, rel=1e-9, abs=1e-250
    )  # subnormal powers of 2 lose digits


def test_many_flips_do_not_overflow() -> None:
    assert stats.mcnemar(5000, 0) == 0.0  # 2 / 2**5000 is below the least float
    assert 0 < stats.mcnemar(500_000, 503_000) < 0.01


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        stats.mcnemar(-1, 3)


def test_holm_multiplies_the_smallest_by_their_number_and_never_turns_the_order() -> None:
    # sorted .01 .02 .03 .4: 4 * .01, 3 * .02, 2 * .03, 1 * .4
    assert stats.holm([0.03, 0.01, 0.4, 0.02]) == pytest.approx((0.06, 0.04, 0.4, 0.06))
    assert stats.holm([0.01, 0.011]) == pytest.approx((0.02, 0.02))  # 1 * .011 would be less than 2 * .01
    assert stats.holm([0.7, 0.6]) == (1.0, 1.0)
    assert stats.holm([]) == ()


def test_rank_correlation_by_hand() -> None:
    assert stats.spearman([1, 2, 3], [10, 100, 1000]) == 1
    assert stats.spearman([1, 2, 3], [3, 2, 1]) == -1
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: sum of products about the mean 4.5 over sqrt(4.5 * 5)
    assert stats.spearman([0.1, 0.5, 0.5, 0.9], [1, 2, 3, 4]) == pytest.approx(4.5 / 22.5**0.5)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_rank_correlation_agrees_with_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = (list(side) for side in zip(*pairs, strict=True))
    found = stats.spearman(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        expected = pytest.importorskip("scipy.stats").spearmanr(first, second).statistic
        assert found == pytest.approx(expected, abs=1e-12)


def test_one_value_or_two_lengths_have_no_rank_correlation() -> None:
    assert stats.spearman([1], [2]) is None
    with pytest.raises(ValueError, match="cannot correlate"):
        stats.spearman([1, 2], [1, 2, 3])


# ------------------------------------------------------------------------------------------ energy


def _power(before_uj: int, busy_uj: int, after_uj: int, **more: int) -> Power:
    """Windows of 10 s and 1000 runs of 10 ms."""

    def window(used: int) -> tuple[CounterRead, ...]:
        return (CounterRead(counter="package-0", used_uj=used, window_ns=10_000_000_000),)

    fields = {"resolution_uj": 0, "update_ns": 0, "runs": 1000} | more
    return Power(
        meter="by hand",
        scope="all",
        idle_before=window(before_uj),
        busy=window(busy_uj),
        idle_after=window(after_uj),
        **fields,
    )


def test_energy_above_idle_is_what_the_arithmetic_says() -> None:
    # 10 ms runs, 2 W busy, 1 W idle: 20 J in 1000 runs, 10 J of it idle
    energy = stats.energy_per_run(_power(10_000_000, 20_000_000, 10_000_000))
    assert (energy.gross_uj, energy.above_idle_uj, energy.uncertainty_uj) == (20_000, 10_000, 0)
    assert energy.resolved
    assert stats.energy_per_run_uj(_power(10_000_000, 20_000_000, 10_000_000)) == (20_000, 10_000, 0)


def test_idle_drift_becomes_uncertainty_and_is_told() -> None:
    # 1.0 W before, 1.1 W after: idle is 1.05 W, so 20 - 10.5 J; half of .1 W over 10 s is .5 J
    power = _power(10_000_000, 20_000_000, 11_000_000)
    energy = stats.energy_per_run(power)
    assert energy.above_idle_uj == pytest.approx(9_500)
    assert energy.uncertainty_uj == pytest.approx(500)
    assert stats.idle_drift(power) == pytest.approx(0.1 / 1.05)


def test_a_coarse_counter_becomes_uncertainty() -> None:
    # step 1 J: 1 J for the busy window and 2 J for both idle ones, halved by their double length: 2 J in 1000
    # runs
    assert stats.energy_per_run(_power(10**7, 2 * 10**7, 10**7, resolution_uj=10**6)).uncertainty_uj == 2000
    # update .1 s: .2 J at 2 W, and 2 * .1 J / 2 at 1 W: .3 J in 1000 runs
    slow = stats.energy_per_run(_power(10**7, 2 * 10**7, 10**7, update_ns=10**8))
    assert slow.uncertainty_uj == pytest.approx(300)


def test_energy_that_the_meter_cannot_tell_from_nothing_is_only_bounded() -> None:
    energy = stats.energy_per_run(_power(10**7, 10**7 + 500_000, 10**7, resolution_uj=10**6))
    assert not energy.resolved
    assert energy.limit_uj == pytest.approx(500 + 2000)
    below = stats.energy_per_run(_power(10**7, 9 * 10**6, 10**7))
    assert below.limit_uj == 0
