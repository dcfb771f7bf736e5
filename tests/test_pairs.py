"""Paired rounds on a device whose numbers are known by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.bench import FileUnderTest
from swapbench.bench.pairs import (
    CLOCK_LIMIT,
    THROTTLED,
    PairedTimes,
    Round,
    log_ratios,
    measure_rounds,
)
from swapbench.errors import DeviceFailed, WorkerFailed
from swapbench.records import Machine, Plan, WorkerTimes
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeModel

FAKE = PythonWorker("fake", ("onnx",), "fake", python="python")
MS = 1_000_000
PLAN = Plan(slices_per_round=6, slice_ns=10 * MS)
OLD, NEW = FileUnderTest("old", "old.onnx", FAKE), FileUnderTest("new", "new.onnx", FAKE)


def fake(new: FakeModel, old: FakeModel | None = None, **more: Any) -> Fake:
    return Fake({"old.onnx": old or FakeModel(run_ns=2 * MS), "new.onnx": new}, **more)


def measured(device: Fake, rounds: int = 2, plan: Plan = PLAN) -> PairedTimes:
    return measure_rounds(OLD, NEW, device, plan, rounds)


def times(*runs_ns: int, load_ns: int = 100) -> WorkerTimes:
    return WorkerTimes(round=0, load_ns=load_ns, first_ns=10, warmup_runs=0, slices_ns=(runs_ns,), cpu_ns=1)


def test_every_round_has_three_fresh_workers_two_of_them_of_the_baseline() -> None:
    device = fake(FakeModel(run_ns=2_200_000))
    done = measured(device, 2)
    started = [argv[argv.index("--artifact") + 1] for argv in device.asked]
    assert sorted(started[:3]) == sorted(started[3:]) == ["new.onnx", "old.onnx", "old.onnx"]
    assert [one.candidate.round for one in done.rounds] == [0, 1]
    # 10 ms slices of 2 ms runs are five runs, of 2.2 ms runs too
    assert done.rounds[0].baseline.slices_ns == done.rounds[0].control.slices_ns == ((2 * MS,) * 5,) * 6
    assert done.rounds[1].candidate.slices_ns == ((2_200_000,) * 5,) * 6
    assert (done.failure, done.invalid, done.over, done.input) == (None, "", False, "sample")
    assert device.open_workers == 0


def test_a_candidate_that_takes_a_tenth_longer_has_the_log_of_1_1_and_the_control_nothing() -> None:
    done = measured(fake(FakeModel(run_ns=2_200_000)), 3)
    for statistic in ("p05", "p50", "p90"):
        changes, controls = log_ratios(done.rounds, statistic)
        assert changes == pytest.approx([0.0953102] * 3, abs=1e-6)
        assert controls == [0, 0, 0]


def test_the_slices_of_a_round_go_through_all_six_orders() -> None:
    device = fake(FakeModel(run_ns=2 * MS))
    measured(device, 1)
    slices = device.order[3:]  # the first three find out how long a run takes
    turns = [slices[at : at + 3] for at in range(0, len(slices), 3)]
    assert len(turns) == 6
    # the candidate is twice in each place
    assert sorted(turn.index("new.onnx") for turn in turns) == [0, 0, 1, 1, 2, 2]


def test_the_start_of_the_order_is_drawn_from_the_seed_and_the_round() -> None:
    def order(seed: int) -> list[str]:
        device = fake(FakeModel(run_ns=2 * MS))
        measured(device, 6, PLAN.model_copy(update={"seed": seed}))
        return device.order

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_more_rounds_go_on_where_the_earlier_ones_ended() -> None:
    device = fake(FakeModel(run_ns=2 * MS))
    first = measured(device, 2)
    more = measure_rounds(OLD, NEW, device, PLAN, 2, before=first)
    assert more.rounds[:2] == first.rounds
    assert [one.control.round for one in more.rounds] == [0, 1, 2, 3]
    at_once = measured(fake(FakeModel(run_ns=2 * MS)), 4)
    assert at_once.rounds == more.rounds


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"error_in": frozenset({1})}, "programmed failure"),
        ({"dies_in": frozenset({1})}, "ended with 1"),
        ({"slow_in": frozenset({1})}, "printed nothing for 60 s"),
    ],
    ids=["error line", "dies", "slow"],
)
def test_a_candidate_that_fails_is_a_finding_that_names_the_error(
    fault: dict[str, Any], message: str
) -> None:
    device = fake(FakeModel(**fault))
    done = measured(device, 5)
    assert message in str(done.failure)
    assert done.over
    assert len(done.rounds) == 1
    assert device.open_workers == 0
    assert measure_rounds(OLD, NEW, device, PLAN, 3, before=done) == done


def test_a_baseline_that_fails_is_a_fault_of_the_environment() -> None:
    device = fake(FakeModel(), FakeModel(error_in=frozenset({0})))
    with pytest.raises(WorkerFailed, match="the baseline itself failed: programmed failure"):
        measured(device)
    assert device.open_workers == 0


def test_a_device_that_goes_away_while_the_candidate_starts_is_no_finding_about_the_candidate() -> None:
    class Leaving(Fake):
        def start(self, argv: Any) -> Any:
            if "new.onnx" in argv:
                raise DeviceFailed("the cable was pulled")
            return super().start(argv)

    device = Leaving({"old.onnx": FakeModel(), "new.onnx": FakeModel()})
    with pytest.raises(DeviceFailed, match="the cable was pulled"):
        measured(device)
    assert device.open_workers == 0


class Moody(PythonWorker):
    """Reports another provider from the `turn`-th worker on."""

    def __init__(self, turn: int) -> None:
        super().__init__("moody", ("onnx",), "m", python="python")
        self.loaded, self.turn = 0, turn

    def parse_loaded(self, line: str) -> Any:
        self.loaded += 1
        said = json.loads(line)
        provider = "cpu" if self.loaded < self.turn else "other"
        return super().parse_loaded(json.dumps(said | {"providers": [provider]}))


@pytest.mark.parametrize("role", ["baseline", "candidate"])
def test_a_provider_that_changes_between_rounds_makes_it_invalid(role: str) -> None:
    moody = Moody(5 if role == "baseline" else 3)  # two workers of the baseline a round: the third round
    old = dataclasses.replace(OLD, runtime=moody) if role == "baseline" else OLD
    new = dataclasses.replace(NEW, runtime=moody) if role == "candidate" else NEW
    done = measure_rounds(old, new, fake(FakeModel()), PLAN, 9)
    assert done.invalid.startswith(f"the {role} ran differently in round 3 than before: providers")
    assert len(done.rounds) == 3


def test_a_control_on_another_provider_than_its_twin_makes_it_invalid() -> None:
    done = measure_rounds(dataclasses.replace(OLD, runtime=Moody(2)), NEW, fake(FakeModel()), PLAN, 3)
    assert "ran differently in round 1" in done.invalid


class Changing(Fake):
    """Another machine from the `turn`-th look at it on."""

    def __init__(self, turn: int, change: dict[str, Any], **more: Any) -> None:
        super().__init__({"old.onnx": FakeModel(), "new.onnx": FakeModel()}, **more)
        self.looks, self.turn, self.change = 0, turn, change

    def describe(self) -> Machine:
        self.looks += 1
        first = super().describe().model_copy(update={"governor": "performance"})
        return first.model_copy(update=self.change if self.looks >= self.turn else {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"on_battery": True}, "the power source changed from mains to battery"),
        ({"governor": "powersave"}, "the clock governor changed from performance to powersave"),
    ],
)
def test_a_machine_that_changes_between_rounds_makes_it_invalid(change: dict[str, Any], message: str) -> None:
    done = measured(Changing(3, change), 9)  # looked at before round 1 and after every round
    assert done.invalid == message
    assert len(done.rounds) == 2


def test_warmth_and_a_reading_that_is_gone_are_no_change() -> None:
    done = measured(Changing(3, {"temperature_c": 90.0, "on_battery": None}), 4)
    assert (done.invalid, len(done.rounds)) == ("", 4)


@pytest.mark.parametrize("path", [CLOCK_LIMIT, THROTTLED])
def test_throttling_between_rounds_makes_it_invalid(path: str) -> None:
    readings = iter(["7\n", "7\n", "8\n"])

    class Hot(Fake):
        def read(self, asked: str) -> str:
            return next(readings) if asked == path else super().read(asked)

    done = measured(Hot({"old.onnx": FakeModel(), "new.onnx": FakeModel()}), 9)
    assert done.invalid.endswith("changed from 7 to 8")
    assert len(done.rounds) == 2


def test_an_interrupt_ends_all_workers_and_goes_on() -> None:
    def interrupted(process: int, run: int) -> int:
        if process == 1 and run > 5:
            raise KeyboardInterrupt
        return MS

    device = fake(FakeModel(run_ns=interrupted))
    with pytest.raises(KeyboardInterrupt):
        measured(device, 3)
    assert device.open_workers == 0


# ------------------------------------------------------------------------------------------ log ratios


def test_each_statistic_is_the_quantile_of_its_worker() -> None:
    # of 1..20 the 5 % quantile is the 1st, the median the 10th, the 90 % quantile the 18th
    base, slow = range(1, 21), range(2, 42, 2)
    one = Round(times(*base), times(*slow), times(*range(3, 63, 3), load_ns=400))
    for statistic in ("p05", "p50", "p90"):
        changes, controls = log_ratios([one], statistic)
        # against the geometric mean of 1 and 3 times the baseline: 2 / sqrt(3)
        assert changes == [pytest.approx(math.log(2) - math.log(3) / 2)]
        assert controls == [pytest.approx(math.log(3))]
    assert log_ratios([one], "load") == ([pytest.approx(-math.log(2))], [pytest.approx(math.log(4))])


def test_a_burst_in_a_few_runs_moves_the_tail_and_not_the_low_quantile() -> None:
    calm, disturbed = [100] * 20, [100] * 15 + [900] * 5
    one = Round(times(*calm), times(*disturbed), times(*calm))
    assert log_ratios([one], "p05")[0] == log_ratios([one], "p50")[0] == [0.0]
    assert log_ratios([one], "p90")[0] == [pytest.approx(math.log(9))]


def test_no_rounds_are_no_ratios() -> None:
    assert log_ratios([]) == ([], [])


@given(
    runs=st.lists(st.integers(1000, 10**9), min_size=1, max_size=30),
    factor=st.integers(1, 50),
)
def test_a_candidate_that_is_the_baseline_times_a_factor_has_the_log_of_the_factor(
    runs: list[int], factor: int
) -> None:
    one = Round(times(*runs), times(*(ns * factor for ns in runs)), times(*runs))
    for statistic in ("p05", "p50", "p90"):
        assert log_ratios([one], statistic) == ([pytest.approx(math.log(factor))], [0.0])
