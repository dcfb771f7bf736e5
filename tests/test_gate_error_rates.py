"""Verdicts on error rates: what a gate says of a few more errors, and of sets too small to say anything."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import REPOSITORY
from made_records import accuracy
from test_paired_errors import counted, split

from swapbench.gate import error_rates
from swapbench.gate.policy import Budget, Policy
from swapbench.records import Interval

if TYPE_CHECKING:
    from types import ModuleType

    from swapbench.gate.error_rates import ErrorVerdict
    from swapbench.pad.scores import Scored


def judged(before: Scored, after: Scored, policy: Policy | None = None) -> dict[str, ErrorVerdict]:
    evidence = error_rates.of_counts(counted(before, after), seed=0)
    (verdicts,) = error_rates.judge([("net.onnx", evidence)], policy or Policy())
    return verdicts


def outcomes(verdicts: dict[str, ErrorVerdict]) -> dict[str, str]:
    return {name: verdict.outcome for name, verdict in verdicts.items()}


def test_one_of_eighty_is_no_failure_and_the_row_says_what_the_set_can_show() -> None:
    found = judged(split(), split({"print": [7]}))
    assert outcomes(found) == {
        "acer": "INCONCLUSIVE",
        "bpcer": "PASS",
        "apcer/print": "INCONCLUSIVE",
        "apcer/replay": "PASS",
    }
    # four checks share 0.5 %: 2 to the power of -10 is 0.00098
    assert found["apcer/print"].reason == (
        "0 of 80 to 1 of 80 (+1.25 points, +1.00 allowed), p = 1; "
        "80 attacks of 20 people could show +12.50 points, so the budget is below what this set resolves"
    )
    assert found["acer"].reason.startswith("0.00 % to 0.62 % (+0.62 points, +0.50 allowed), p = 1; 240 pres")
    assert found["apcer/print"].detectable == pytest.approx(0.125)


def test_a_rise_in_many_people_fails() -> None:
    found = judged(split(), split({"print": range(12)}))["apcer/print"]
    assert (found.outcome, found.p_value) == ("FAIL", pytest.approx(1 / 2**12))
    assert found.reason == (
        "0 of 80 to 12 of 80 (+15.00 points, +1.00 allowed), p = 0.00049; "
        "a rise within the budget has p = 0.00024"
    )


def test_the_same_errors_of_few_people_do_not() -> None:
    of_three = [number for number in range(80) if number % 20 in {0, 1, 2}]
    found = judged(split(), split({"print": of_three}))["apcer/print"]
    assert (found.errors, found.outcome) == ((0, 12), "INCONCLUSIVE")


def test_fewer_errors_pass_and_no_errors_at_all_do_too() -> None:
    assert set(outcomes(judged(split({"print": range(12)}), split())).values()) == {"PASS"}
    found = judged(split(), split())
    assert set(outcomes(found).values()) == {"PASS"}
    assert "the budget is below what this set resolves" in found["bpcer"].reason


@pytest.mark.parametrize(("people", "each"), [(1, 80), (1, 1), (4, 1), (8, 10)])
def test_a_set_of_few_people_can_show_nothing_and_passes_nothing(people: int, each: int) -> None:
    small = split(people=people, each=each)
    everything = {name: range(people * each) for name in ("", "print", "replay")}
    for after in (small, split(everything, people=people, each=each)):
        found = judged(small, after)
        assert set(outcomes(found).values()) == {"INCONCLUSIVE"}
        assert found["bpcer"].detectable is None
    whom = "1 person" if people == 1 else f"{people} people"
    assert f"{people * each} attacks of {whom} are too few to show any rise" in found["apcer/print"].reason


def test_a_failure_must_be_sure_among_all_hard_checks_of_all_models() -> None:
    # 8 people: p is 1/256, below 0.5 % alone and not among four, or eight, checks
    evidence = error_rates.of_counts(counted(split(), split({"print": range(8)})), seed=0)
    only = Policy(
        budgets=(
            Budget(metric="acer", absolute=0.005, hard=False),
            Budget(metric="bpcer", absolute=0.01, hard=False),
            Budget(metric="apcer", absolute=0.01, hard=False),
        )
    )
    (advisory,) = error_rates.judge([("a.onnx", evidence)], only)
    assert advisory["apcer/print"].outcome == "FAIL"
    verdicts = error_rates.judge([("a.onnx", evidence), ("b.onnx", evidence)], Policy())
    assert [found["apcer/print"].outcome for found in verdicts] == ["INCONCLUSIVE"] * 2
    assert "not significant among 8 comparisons" in verdicts[0]["apcer/print"].reason


def test_a_larger_budget_is_a_larger_rise_that_passes() -> None:
    policy = Policy(budgets=(Budget(metric="apcer", absolute=0.15), Budget(metric="acer", absolute=0.08)))
    found = judged(split(), split({"print": range(12)}), policy)
    assert set(outcomes(found).values()) == {"PASS"}
    assert "below" not in found["apcer/print"].reason
    relative = Policy(budgets=(Budget(metric="apcer", relative=0.5),))
    twice = judged(split({"print": range(4)}), split({"print": range(6)}), relative)["apcer/print"]
    assert (twice.outcome, twice.allowed) == ("PASS", pytest.approx(0.025))
    none = judged(split(), split({"print": range(6)}), relative)["apcer/print"]
    assert (none.outcome, none.allowed) == ("INCONCLUSIVE", 0.0)
    assert "none allowed" in none.reason


# ------------------------------------------------------------------------------------------ records alone


def test_records_are_compared_by_their_intervals() -> None:
    before = accuracy({"print": (2, 100)}, 1, 50, subjects=30)
    after = accuracy({"print": (6, 100)}, 1, 50, subjects=30)
    found = error_rates.of_records(before, after)["apcer/print"]
    # both intervals reach one point: the deviation is sqrt(2) / 1.96 = 0.7215 points; 3 points are 4.158
    assert found.rise_p(0.01) == pytest.approx(1.606e-5, rel=1e-3)
    assert found.change_p() == pytest.approx(2 * 1.485e-8, rel=1e-2)
    # 3.0902 deviations for a p of 0.001
    assert found.least_rise(0.001, 0.01) == pytest.approx(0.01 + 3.0902 * 0.0072150, rel=1e-4)


def test_a_record_without_an_interval_can_show_nothing() -> None:
    one_person = accuracy({"print": (2, 100)}, 1, 50, acer_interval=None)
    (verdicts,) = error_rates.judge([("a", error_rates.of_records(one_person, one_person))], Policy())
    assert verdicts["acer"].outcome == "INCONCLUSIVE"
    wide = Interval(low=0.0, high=1.0, method="by hand")
    unsure = accuracy({"print": (0, 100)}, 0, 50, acer_interval=wide)
    (verdicts,) = error_rates.judge([("a", error_rates.of_records(unsure, unsure))], Policy())
    assert (verdicts["acer"].outcome, verdicts["acer"].detectable) == ("INCONCLUSIVE", None)


def test_species_of_one_record_are_left_to_the_caller() -> None:
    both = accuracy({"print": (2, 100), "mask": (1, 50)}, 1, 50)
    assert "apcer/mask" not in error_rates.of_records(both, accuracy({"print": (2, 100)}, 1, 50))


# ------------------------------------------------------------------------------------ how often it is wrong


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """benchmarks/gate_errors.py"""
    path = REPOSITORY / "benchmarks" / "gate_errors.py"
    spec = importlib.util.spec_from_file_location("gate_errors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gate_errors"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("records", [False, True])
def test_equally_good_candidates_do_not_fail_and_much_worse_ones_do(
    simulation: ModuleType, records: bool
) -> None:
    crowd = simulation.Crowd(20, 4, records=records)
    unchanged, _, again, *_, far_worse = simulation.CANDIDATES
    found = [simulation.shares(crowd, candidate, 40, seed=3) for candidate in (unchanged, again, far_worse)]
    assert [one.failed for one in found[:2]] == [0, 0]
    assert (found[0].passed, found[0].without_test) == (1, 0)
    assert found[1].without_test > 0.5  # a budget without a test fails most of them
    assert found[2].failed > 0.5
    assert found[2].passed == 0
