"""Verdicts over paired rounds, and the seeded simulation that says how often they are wrong."""

from __future__ import annotations

import importlib.util
import itertools
import math
import random
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from swapbench.gate import verdict
from swapbench.gate.verdict import Verdict, change_interval, confirmed, decide, exceedance_p, family

if TYPE_CHECKING:
    from types import ModuleType

STILL = [-0.002, 0.001, 0.000, 0.002, -0.001, 0.001, -0.001, 0.002]
logs = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=6, max_size=30)


def shifted(by: float) -> list[float]:
    return [math.log1p(by) + value for value in STILL]


def made(outcome: str = "FAIL", p: float = 0.01, **more: Any) -> Verdict:
    fields = {"change": 0.05, "low": 0.03, "high": 0.07, "margin": 0.01, "noise_floor": 0.005, "rounds": 8}
    return Verdict(outcome=outcome, detectable=0.05, reason="as made", p_value=p, **(fields | more))  # type: ignore[arg-type]


# ---- one verdict ----


def test_a_change_far_above_the_budget_fails() -> None:
    found = decide(shifted(0.05), STILL, 0.01)
    assert found.outcome == "FAIL"
    assert found.change == pytest.approx(
        0.05 * 1 + 0.000525, abs=1e-5
    )  # the median of STILL is half of 0 + 0.001
    assert found.margin == pytest.approx(0.01)
    assert found.rounds == 8
    assert found.reason.startswith("+5.1 % [")
    assert found.reason.endswith("is above the budget of 1.0 %")


def test_no_change_passes() -> None:
    found = decide(STILL, STILL[::-1], 0.01)
    assert found.outcome == "PASS"
    assert "is within the budget of 1.0 %" in found.reason


def test_a_change_at_the_budget_is_inconclusive_and_says_what_would_have_been_seen() -> None:
    found = decide(shifted(0.01), STILL, 0.01)
    assert found.outcome == "INCONCLUSIVE"
    assert found.low < found.margin < found.high
    assert f"8 rounds would have shown +{100 * found.detectable:.1f} %" in found.reason


def test_controls_that_spread_more_than_the_budget_widen_the_margin() -> None:
    noisy = [-0.02, 0.02] * 4
    found = decide(shifted(0.015), noisy, 0.01)
    assert found.margin == found.noise_floor == pytest.approx(math.expm1(0.02))
    assert decide(shifted(0.015), STILL, 0.01).outcome != "PASS"
    assert found.outcome == "PASS"
    assert "the noise floor of 2.0 % (the budget of 1.0 %)" in found.reason


def test_controls_that_are_off_to_one_side_widen_the_margin_by_their_offset() -> None:
    assert decide(shifted(0.05), shifted(0.05), 0.01).outcome != "FAIL"


def test_noise_makes_no_pass_of_a_change_above_three_budgets() -> None:
    noisy = [-0.2, 0.2] * 4
    found = decide(shifted(0.05), noisy, 0.01)
    assert found.outcome == "INCONCLUSIVE"
    assert "too noisy for a budget of 1.0 %" in found.reason
    assert decide(shifted(0.05), noisy, 0.02).outcome == "PASS"  # 5 % is less than three times 2 %


def test_a_candidate_that_is_faster_passes() -> None:
    assert decide(shifted(-0.3), STILL, 0.01).outcome == "PASS"


def test_nothing_measured_is_invalid() -> None:
    found = decide([], [], 0.01)
    assert (found.outcome, found.rounds) == ("INVALID", 0)
    assert math.isnan(found.change)


def test_five_rounds_are_too_few_for_either_answer() -> None:
    found = decide([0.5] * 5, [0.0] * 5, 0.01)
    assert found.outcome == "INCONCLUSIVE"
    assert found.reason == "5 rounds are too few: a 95% interval needs 6"
    assert found.low == -1
    assert math.isinf(found.high)


@pytest.mark.parametrize(
    ("changes", "controls", "budget", "says"),
    [
        ([0.1], [], 0.01, "1 changes and only 0 controls"),
        ([math.nan], [0.0], 0.01, "not finite"),
        ([0.1], [math.inf], 0.01, "not finite"),
        ([0.1], [0.0], 0.0, "above 0"),
        ([0.1], [0.0], math.nan, "above 0"),
    ],
)
def test_rounds_that_are_none_are_refused(
    changes: list[float], controls: list[float], budget: float, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        decide(changes, controls, budget)


@given(logs, st.floats(0.001, 0.5), st.floats(0.0, 1.0))
def test_a_larger_budget_never_turns_a_pass_into_a_fail(
    changes: list[float], budget: float, more: float
) -> None:
    controls = [0.0] * len(changes)
    strict, tolerant = decide(changes, controls, budget), decide(changes, controls, budget + more)
    assert not (strict.outcome == "PASS" and tolerant.outcome != "PASS")
    assert not (tolerant.outcome == "FAIL" and strict.outcome != "FAIL")


@given(logs)
def test_a_file_against_itself_with_the_same_noise_never_fails(noise: list[float]) -> None:
    assert decide(noise, noise, 0.01).outcome != "FAIL"


def test_a_change_as_large_as_detectable_would_have_failed() -> None:
    rng = random.Random(6)
    seen = 0
    for _ in range(200):
        noise, controls = ([rng.gauss(0, 0.01) for _ in range(12)] for _ in range(2))
        detectable = decide(noise, controls, 0.01).detectable
        again = [rng.gauss(math.log1p(detectable), 0.01) for _ in range(12)]
        seen += decide(again, controls, 0.01).outcome == "FAIL"
    assert seen >= 180


# ---- the interval ----


def test_the_interval_of_six_values_is_worked_out_by_hand() -> None:
    # P(all six on one side) = 1/64, one more 7/64; (.025 - 1/64) / (6/64) = .1; 5 * .1 / (1 + 4 * .1) = .3571
    low, high = change_interval([1, 2, 3, 4, 5, 6])
    assert low == pytest.approx(1.357142857)
    assert high == pytest.approx(5.642857143)


def test_one_wild_round_at_either_end_hardly_moves_the_interval_of_nine() -> None:
    calm = change_interval([1, 2, 3, 4, 5, 6, 7, 8, 9])
    wild = change_interval([-1e9, 2, 3, 4, 5, 6, 7, 8, 1e9])
    assert (
        calm == wild
    )  # P(at most 1 of 9 on a side) = 10/512 = .0195 is below .025: the extremes are not used


def test_the_interval_holds_its_confidence_for_skewed_rounds() -> None:
    rng = random.Random(1)
    for rounds in (6, 9, 16, 30):
        held = 0
        for _ in range(1000):
            low, high = change_interval([rng.expovariate(1) for _ in range(rounds)])
            held += low <= math.log(2) <= high
        assert held >= 930, rounds


def test_eight_values_above_the_limit_give_one_in_256() -> None:
    assert exceedance_p([0.1] * 8, 0.0) == 1 / 256
    assert exceedance_p([-0.1] * 8, 0.0) == 1.0


@given(logs, st.floats(-1, 1, allow_subnormal=False), st.sampled_from([0.8, 0.9, 0.95]))
def test_p_is_small_exactly_where_the_interval_lies_above_the_limit(
    values: list[float], limit: float, confidence: float
) -> None:
    low, _ = change_interval(values, confidence)
    if abs(low - limit) < 1e-9:
        return
    assert (exceedance_p(values, limit) < (1 - confidence) / 2 + 1e-12) == (low > limit)


@given(logs, st.floats(-1, 1), st.floats(0, 1))
def test_p_grows_with_the_limit(values: list[float], limit: float, more: float) -> None:
    assert exceedance_p(values, limit) <= exceedance_p(values, limit + more) + 1e-12


@pytest.mark.parametrize(("confidence", "least"), [(0.95, 6), (0.99, 8), (0.5, 2)])
def test_the_least_number_of_rounds_is_the_least_that_has_an_interval(confidence: float, least: int) -> None:
    assert verdict.least_rounds(confidence) == least
    assert math.isfinite(change_interval(list(range(least)), confidence)[0])
    assert math.isinf(change_interval(list(range(least - 1)), confidence)[0])


def test_the_first_look_has_rounds_enough_for_an_interval() -> None:
    assert verdict.LOOKS[0] >= verdict.least_rounds()
    assert verdict.CONFIRMING_LOOKS[0] >= verdict.least_rounds(verdict.CONFIRMING_CONFIDENCE)
    assert all(one < other for one, other in itertools.pairwise(verdict.CONFIRMING_LOOKS))


def test_the_controls_of_an_earlier_batch_tell_the_noise_floor_of_a_later_one() -> None:
    # five controls of which one is wild reach far; among thirteen it does not count
    wild = [*STILL[:4], 0.3]
    alone = decide(shifted(0.05)[:5], wild, 0.01, confidence=verdict.CONFIRMING_CONFIDENCE)
    together = decide(shifted(0.05)[:5], [*STILL, *wild], 0.01, confidence=verdict.CONFIRMING_CONFIDENCE)
    assert (alone.outcome, together.outcome) == ("INCONCLUSIVE", "FAIL")
    assert together.noise_floor < 0.01 < alone.noise_floor
    assert together.rounds == 5


@pytest.mark.parametrize("comparisons", [1, 3, 12])
def test_two_batches_that_are_just_sure_enough_stand_in_the_family(comparisons: int) -> None:
    first, second = verdict.sure_p(comparisons)
    both = confirmed(made(p=first * 0.999), made(p=second * 0.999))
    others = [made("PASS", p=1.0)] * (comparisons - 1)
    assert family([both, *others])[0].outcome == "FAIL"
    hardly = confirmed(made(p=first * 1.01), made(p=second))
    assert family([hardly, *others])[0].outcome == "INCONCLUSIVE"


# ---- confirmation and families ----


def test_a_fail_that_fails_again_is_confirmed_with_the_numbers_of_the_second_batch() -> None:
    found = confirmed(made(p=0.02, change=0.09), made(p=0.01, change=0.05))
    assert (found.outcome, found.change, found.rounds) == ("FAIL", 0.05, 16)
    assert found.p_value == pytest.approx(0.0008)  # 2 * max(.02, .01 / 2) ** 2
    assert found.reason == "as made; a first batch showed +9.0 %"


@pytest.mark.parametrize("second", ["PASS", "INCONCLUSIVE"])
def test_a_fail_that_is_not_seen_again_is_inconclusive(second: str) -> None:
    found = confirmed(made(change=0.09), made(second, p=0.4))
    assert (found.outcome, found.p_value) == ("INCONCLUSIVE", 0.4)
    assert "a first batch of 8 rounds showed +9.0 %, a second of 8 did not confirm it" in found.reason


def test_a_second_batch_that_is_invalid_makes_the_whole_invalid() -> None:
    assert confirmed(made(), verdict.invalid("charging began")).outcome == "INVALID"


@pytest.mark.parametrize("first", ["PASS", "INCONCLUSIVE", "INVALID"])
def test_what_is_no_fail_needs_no_confirmation(first: str) -> None:
    assert confirmed(made(first), made("FAIL")) == made(first)


def test_the_false_alarms_of_several_models_are_held_together_by_holm() -> None:
    # adjusted: .001 * 4 = .004; then max(.004, 3 * .002) = .006 and so on
    found = family(
        [made(p=0.002), made(p=0.001), made("PASS", p=0.7), made("PASS", p=0.9)], false_alarm=0.005
    )
    assert [one.outcome for one in found] == ["INCONCLUSIVE", "FAIL", "PASS", "PASS"]
    assert (
        "not significant among 4 comparisons (adjusted p 0.006, at most 0.005 is needed)" in found[0].reason
    )


def test_a_verdict_that_is_invalid_is_no_comparison() -> None:
    alone = family([made(p=0.004), verdict.invalid("throttled")], false_alarm=0.005)
    assert [one.outcome for one in alone] == ["FAIL", "INVALID"]


def test_family_of_nothing_is_nothing() -> None:
    assert family([]) == ()


def test_family_never_makes_a_fail() -> None:
    given_verdicts = [replace(made("PASS"), p_value=1e-9), made("INCONCLUSIVE", p=1e-9)]
    assert [one.outcome for one in family(given_verdicts)] == ["PASS", "INCONCLUSIVE"]


# ---- the gate itself is tested ----


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    path = REPOSITORY / "benchmarks" / "gate_simulation.py"
    spec = importlib.util.spec_from_file_location("gate_simulation", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["gate_simulation"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("noise", ["assumed", "measured"])
def test_the_gate_seldom_cries_wolf_and_sees_real_slowdowns(simulation: ModuleType, noise: str) -> None:
    found = simulation.simulate(simulation.KINDS[noise], trials=300, seed=6, slowdowns=(0.0, 0.05, 0.10))
    nothing, five, ten = found.failed["**gate, p05 + 1%**"]
    assert nothing * found.trials <= 1
    assert five >= 0.90
    assert ten >= 0.99
    assert all(found.failed[f"gate, {name}"][0] * found.trials <= 1 for name in ("p50 + 10%", "p90 + 25%"))
    assert found.passed["**gate, p05 + 1%**"][0] >= 0.85
    assert found.passed["**gate, p05 + 1%**"][1] <= 0.005
    # the same samples under the rules in use: what the gate is for
    assert found.failed["same rounds, Mann-Whitney p < .05"][0] > 0.1
    assert found.failed["stored baseline, mean + 5 %"][0] > 0.1
    assert found.failed["same rounds, asv: p < .002 and 1.1x"][1] < five


def test_simulated_noise_without_bursts_drift_or_processes_is_that_of_the_runs(
    simulation: ModuleType,
) -> None:
    quiet = replace(
        simulation.ASSUMED,
        job_sd=0.0,
        drift_sd=0.0,
        trend=(0.0, 0.0),
        process_sd=0.0,
        contaminated=0.0,
        spiked=0.0,
        burst_begins=0.0,
    )
    logs_drawn = simulation.sittings(quiet, 4, 6, simulation.np.random.default_rng(0))
    assert logs_drawn.shape == (4, 6, 3, simulation.SLICES * simulation.RUNS)
    assert logs_drawn.std() == pytest.approx(0.03, rel=0.03)


def test_mann_whitney_of_the_simulation_agrees_with_scipy(simulation: ModuleType) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = simulation.np.random.default_rng(3)
    one, other = rng.normal(0.3, 1, 40), rng.normal(0, 1, 50)
    expected = scipy_stats.mannwhitneyu(one, other, alternative="greater", use_continuity=False).pvalue
    assert simulation.mann_whitney_p(one, other) == pytest.approx(expected, rel=1e-9)
