"""Latency whose unit is the process: estimates, intervals and bounds, against hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench import stats
from swapbench.records import ToolSummary, WorkerTimes


def worker(*runs_ns: int, number: int = 0, summary: ToolSummary | None = None) -> WorkerTimes:
    return WorkerTimes(
        round=number, load_ns=1, first_ns=1, warmup_runs=1, slices_ns=(runs_ns,), cpu_ns=None, summary=summary
    )


def test_the_estimate_is_the_middle_process_whatever_the_others_ran() -> None:
    # medians 2, 5 and 9: the third process has most runs, and still counts once
    estimate = stats.typical([worker(1, 2, 3), worker(5), worker(*[9] * 50)])
    assert estimate is not None
    assert estimate.value_ns == 5


def test_a_process_without_a_timed_run_does_not_count() -> None:
    assert stats.process_quantiles_ns([worker(), worker(4)], 0.5) == [4]
    assert stats.typical([worker()]) is None


def test_a_tool_gives_the_quantiles_that_it_reports_and_no_others() -> None:
    tool = [worker(7, summary=ToolSummary(median_ns=7, p05_ns=6)), worker(9, summary=ToolSummary(p05_ns=8))]
    assert stats.process_quantiles_ns(tool, 0.5) == [7, 9]
    assert stats.process_quantiles_ns(tool, 0.05) == [6, 8]
    assert stats.process_quantiles_ns(tool, 0.95) is None


@pytest.mark.parametrize(
    ("count", "confidence", "low", "high"),
    [
        (6, 1 - 2 / 64, 1, 6),  # P(Binomial(6, 1/2) < 1) = 1/64 on either side
        (8, 1 - 18 / 256, 2, 7),  # P(< 2) = 9/256
        (9, 1 - 20 / 512, 2, 8),  # P(< 2) = 10/512
    ],
)
def test_at_the_confidence_of_two_order_statistics_they_are_the_interval(
    count: int, confidence: float, low: float, high: float
) -> None:
    interval = stats.median_interval(range(1, count + 1), confidence)
    assert interval is not None
    assert (interval.low, interval.high, interval.confidence) == (low, high, confidence)


def test_between_two_order_statistics_the_ends_are_interpolated_by_hand() -> None:
    # n = 8: [1, 8] holds with 254/256, [2, 7] with 238/256. At .95 the share is
    # (254/256 - .95) / (16/256) = .675, and the weight of the inner one 7 * .675 / (1 + 6 * .675) = .93564.
    interval = stats.median_interval(range(1, 9), 0.95)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((1.93564, 7.06436), abs=1e-5)


def test_too_few_processes_give_their_range_and_say_how_sure_it_is() -> None:
    interval = stats.process_interval([3, 1, 4, 2])
    assert interval is not None
    assert (interval.low, interval.high, interval.confidence) == (1, 4, 0.875)
    assert stats.process_interval([1]) is None
    assert stats.process_interval([]) is None


def test_the_interval_of_processes_takes_four_fifths_of_the_error_and_is_called_what_was_asked_for() -> None:
    values = [1, 4, 2, 8, 5, 7, 9]
    interval, at_96 = stats.process_interval(values), stats.median_interval(values, 0.96)
    assert interval is not None
    assert at_96 is not None
    assert (interval.low, interval.high, interval.confidence) == (at_96.low, at_96.high, 0.95)


def test_the_bound_is_the_least_order_statistic_that_is_sure_enough() -> None:
    # P(X(k) < median) = P(Binomial(n, 1/2) >= k): 1/32 for the fifth of five, 1/16 for the fourth of four;
    # 9/256 for the seventh of eight, 37/256 for the sixth.
    assert stats.median_bound([5, 1, 4, 2, 3]) == 5
    assert stats.median_bound([1, 2, 3, 4]) is None
    assert stats.median_bound(range(1, 9)) == 7
    assert stats.median_bound(range(1, 9), 0.99) == 8
    assert stats.median_bound([], 0.95) is None


@given(st.lists(st.floats(1, 1e9), min_size=2, max_size=25), st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_hold_the_median_and_bounds_lie_above_it(values: list[float], confidence: float) -> None:
    interval, bound = stats.median_interval(values, confidence), stats.median_bound(values, confidence)
    assert interval is not None
    assert min(values) <= interval.low <= stats.median(values) <= interval.high <= max(values)
    assert bound is None or bound >= stats.median(values)


def test_intervals_and_bounds_are_right_as_often_as_they_say_whatever_the_distribution() -> None:
    rng = np.random.default_rng(1)
    for truth, draw in (
        (math.log(2), lambda: rng.exponential(1, (4000, 8))),
        (0.5 / 0.6, lambda: np.where(rng.random((4000, 8)) < 0.6, rng.random((4000, 8)), 5.0)),  # two modes
    ):
        values = draw()
        intervals = [stats.median_interval(row) for row in values.tolist()]
        held = np.mean([one is not None and one.low <= truth <= one.high for one in intervals])
        assert 0.93 <= held <= 0.975
        above = np.mean([(stats.median_bound(row) or 0) >= truth for row in values.tolist()])
        assert above >= 0.955  # 1 - 9/256 = .965 by the order alone


def test_a_tail_needs_processes_and_runs_that_can_lie_above_it() -> None:
    assert [stats.runs_for(p) for p in (0.9, 0.95, 0.99)] == [10, 20, 100]
    five = [worker(*range(first, first + 10)) for first in (10, 50, 20, 40, 30)]
    assert stats.tail_bound_ns(five, 0.9) == 58  # the ninth of 50, 51 .. 59
    assert stats.tail_bound_ns(five[:4], 0.9) is None
    assert stats.tail_bound_ns([*five, worker(1, 2)], 0.9) is None
    assert stats.tail_bound_ns(five, 0.95) is None
    assert stats.why_no_tail(five, 0.95) == ("p95 needs 5 processes of 20 runs each")
    tool = [worker(7, summary=ToolSummary(median_ns=7))] * 6
    assert stats.why_no_tail(tool, 0.9) == "the tool does not report p90"
