from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import made_records
import numpy as np
import pytest

from swapbench import bench, stats
from swapbench.bench import FileUnderTest, Timed, doubts, slower_than_float
from swapbench.devices.local import Local
from swapbench.errors import DeviceFailed, WorkerFailed
from swapbench.pad.agreement import TOLERANCES
from swapbench.ports import Outputs
from swapbench.records import (
    NOTHING_TO_COMPARE,
    Absent,
    FailedFrames,
    Interval,
    OperatorGroup,
    OperatorProfile,
    Parity,
    Plan,
    Power,
    Speed,
)
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeClock, FakeMeter, FakeModel

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.ports import CounterValue
    from swapbench.records import Accuracy, Record

FAKE = PythonWorker("fake", ("onnx",), "fake", python="python")
MS = 1_000_000
QUICK = Plan(max_rounds=9, slices_per_round=3, slice_ns=10 * MS, time_budget_s=1000)


def files(*names: str, **options: str) -> list[FileUnderTest]:
    return [FileUnderTest(name, f"{name}.onnx", FAKE, options) for name in names]


def fake(**models: FakeModel) -> Fake:
    return Fake({f"{name}.onnx": model for name, model in models.items()})


def timed(device: Fake, plan: Plan = QUICK, **more: Any) -> dict[str, Any]:
    names = [name.removesuffix(".onnx") for name in device.models]
    return bench.measure_speed(files(*names), device, plan, clock=device.clock.seconds, **more)


# ------------------------------------------------------------------------------------------ speed


def test_a_steady_model_is_measured_in_the_least_number_of_rounds_with_slices_of_the_asked_length() -> None:
    device = fake(a=FakeModel(run_ns=2 * MS))
    result = timed(device)["a"]
    assert isinstance(result, Timed)
    assert (result.speed.stopped, result.speed.input) == ("target", "sample")
    assert result.used.providers == ("arithmetic",)
    assert [worker.round for worker in result.speed.workers] == [*range(6)]
    # 10 ms slices of 2 ms runs are five runs
    assert result.speed.workers[0].slices_ns == ((2 * MS,) * 5,) * 3
    assert result.speed.workers[0].cpu_ns == 15 * 2 * MS
    assert (result.speed.workers[0].load_ns, result.speed.workers[0].first_ns) == (5 * MS, 2 * MS)
    assert result.speed.workers[0].warmup_runs == 3  # the runs that found out how long one takes


@pytest.mark.parametrize(("run_ns", "runs"), [(50 * MS, 2), (1000, 200)])
def test_a_slice_has_at_least_two_runs_and_at_most_two_hundred(run_ns: int, runs: int) -> None:
    result = timed(fake(a=FakeModel(run_ns=run_ns)))["a"]
    assert {len(one) for worker in result.speed.workers for one in worker.slices_ns} == {runs}


def test_every_round_has_a_fresh_worker_of_every_file_and_all_end() -> None:
    device = fake(a=FakeModel(), b=FakeModel())
    timed(device)
    started = [argv[argv.index("--artifact") + 1] for argv in device.asked]
    assert [sorted(started[place : place + 2]) for place in range(0, 12, 2)] == [["a.onnx", "b.onnx"]] * 6
    assert len(started) == 12
    assert device.open_workers == 0


def test_slices_go_round_and_their_order_is_drawn_anew() -> None:
    device = fake(a=FakeModel(), b=FakeModel(), c=FakeModel())
    timed(device, QUICK.model_copy(update={"slices_per_round": 10, "min_rounds": 1}))
    slices = device.order[3:]  # the first three find out how long a run takes
    turns = [tuple(slices[i : i + 3]) for i in range(0, 30, 3)]
    assert all(sorted(turn) == ["a.onnx", "b.onnx", "c.onnx"] for turn in turns)
    assert len(set(turns)) > 2


def test_the_order_depends_on_the_seed_only() -> None:
    def order(seed: int) -> list[str]:
        device = fake(a=FakeModel(), b=FakeModel(), c=FakeModel())
        timed(device, QUICK.model_copy(update={"seed": seed}))
        return device.order

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_it_goes_on_until_every_interval_is_narrow_enough() -> None:
    # Process 0 is 30 % slower than all others: with two workers the interval is wide, with many it is not.
    device = fake(
        a=FakeModel(run_ns=lambda process, run: (13 if process == 0 else 10) * MS // 10), b=FakeModel()
    )
    plan = QUICK.model_copy(update={"max_rounds": 30})
    result = timed(device, plan)
    rounds = len(result["a"].speed.workers)
    assert result["a"].speed.stopped == result["b"].speed.stopped == "target"
    assert 2 < rounds < 30
    assert len(result["b"].speed.workers) == rounds  # all stay in the rotation, paired


def restless(process: int, run: int) -> int:
    """Every process has its own speed, 1 to 2 ms."""
    del run
    return MS + process * 370_000 % MS


def test_it_stops_after_the_last_round() -> None:
    result = timed(fake(a=FakeModel(run_ns=restless)))["a"]
    assert (result.speed.stopped, len(result.speed.workers)) == ("rounds", 9)


def test_it_stops_when_the_time_is_spent_but_not_before_the_least_number_of_rounds() -> None:
    slow = FakeModel(run_ns=restless, load_ns=100 * MS)
    plan = QUICK.replace(time_budget_s=1.0, max_rounds=100)
    result = timed(fake(a=slow), plan)["a"]
    assert result.speed.stopped == "budget"
    # a round: 107 ms to load and run first, and slices of at least 15 ms
    assert 6 < len(result.speed.workers) <= 8
    hasty = timed(fake(a=slow), plan.replace(time_budget_s=0.0))["a"]
    assert (hasty.speed.stopped, len(hasty.speed.workers)) == ("budget", 6)


def test_a_device_that_goes_away_ends_the_sitting_for_all() -> None:
    class Leaving(Fake):
        def start(self, argv: Any) -> Any:
            if len(self.asked) == 5:  # the second round's first
                raise DeviceFailed("the cable was pulled")
            return super().start(argv)

    device = Leaving({"a.onnx": FakeModel(), "b.onnx": FakeModel(), "c.onnx": FakeModel()})
    with pytest.raises(DeviceFailed, match="the cable was pulled"):
        timed(device)
    assert device.open_workers == 0


def test_progress_tells_rounds_widths_and_time() -> None:
    told: list[bench.RoundDone] = []
    timed(fake(a=FakeModel(run_ns=2 * MS)), progress=told.append)
    assert [one.rounds for one in told] == [1, 2, 3, 4, 5, 6]
    assert [dict(one.half_widths) for one in told] == [{}] * 5 + [{"a": 0.0}]
    # a round: 5 + 2 ms, 3 runs to size the slices, 3 slices of 5 runs of 2 ms
    assert [round(one.spent_s, 9) for one in told] == [0.043, 0.086, 0.129, 0.172, 0.215, 0.258]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"error_in": frozenset({1})}, "programmed failure"),
        ({"dies_in": frozenset({1})}, "ended with 1"),
        ({"slow_in": frozenset({0})}, "printed nothing for 60 s"),
    ],
    ids=["error line", "dies", "slow"],
)
def test_a_worker_that_fails_takes_its_file_out_and_leaves_the_others_in(
    fault: dict[str, Any], message: str
) -> None:
    device = fake(good=FakeModel(), bad=FakeModel(**fault))
    result = timed(device)
    assert isinstance(result["good"], Timed)
    assert isinstance(result["bad"], WorkerFailed)
    assert message in str(result["bad"])
    assert device.open_workers == 0


def test_a_file_that_no_worker_can_load_is_one_failure() -> None:
    device = fake(good=FakeModel())
    result = bench.measure_speed(files("good", "missing"), device, QUICK, clock=device.clock.seconds)
    assert isinstance(result["good"], Timed)
    assert str(result["missing"]) == "there is no model file missing.onnx"


def test_when_everything_failed_it_ends_at_once() -> None:
    device = fake(a=FakeModel(error_in=frozenset({0})))
    assert isinstance(timed(device)["a"], WorkerFailed)
    assert len(device.asked) == 1


def test_what_libraries_print_between_the_answers_is_skipped() -> None:
    chatter = ("INFO: Created delegate", '{"not": "an answer"}', "{", "")
    result = timed(fake(a=FakeModel(chatter=chatter)))["a"]
    assert isinstance(result, Timed)


def test_a_provider_that_changes_between_rounds_is_a_failure() -> None:
    class Moody(PythonWorker):
        def parse_loaded(self, line: str) -> Any:
            moods.append("x")
            said = json.loads(line)
            return super().parse_loaded(json.dumps(said | {"providers": [f"provider {len(moods)}"]}))

    moods: list[str] = []
    device = fake(a=FakeModel())
    file = FileUnderTest("a", "a.onnx", Moody("moody", ("onnx",), "m"))
    result = bench.measure_speed([file], device, QUICK, clock=device.clock.seconds)["a"]
    assert isinstance(result, WorkerFailed)
    assert "ran differently in round 2" in str(result)


def test_an_interrupt_ends_all_workers_and_goes_on() -> None:
    def interrupted(process: int, run: int) -> int:
        if process == 1 and run > 5:
            raise KeyboardInterrupt
        return MS

    device = fake(a=FakeModel(), b=FakeModel(run_ns=interrupted))
    with pytest.raises(KeyboardInterrupt):
        timed(device)
    assert device.open_workers == 0


def test_the_plan_and_the_options_reach_the_worker_and_each_round_feeds_another_image() -> None:
    device = fake(a=FakeModel())
    plan = QUICK.model_copy(update={"threads": 2, "warmup_runs": 9, "seed": 4})
    bench.measure_speed(files("a", samples="s.npy"), device, plan, clock=device.clock.seconds)
    first, second = (" ".join(argv) for argv in device.asked[:2])
    assert "--mode serve --artifact a.onnx --threads 2 --warmup-runs 9" in first
    assert "--seed 4" in first
    assert "--samples s.npy" in first
    assert "--index 0" in first
    assert "--index 1" in second
    assert "--index" not in " ".join(fake_without_samples().asked[0])


def fake_without_samples() -> Fake:
    device = fake(a=FakeModel())
    timed(device)
    return device


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="have the same name"):
        bench.measure_speed(files("a", "a"), fake(a=FakeModel()), QUICK)


# ------------------------------------------------------------------------------------------ memory and scores


def test_memory_comes_from_a_process_of_its_own() -> None:
    device = fake(a=FakeModel(before_load_bytes=40, peak_rss_bytes=70))
    memory = bench.measure_memory(files("a")[0], device, QUICK)
    assert (memory.before_load_bytes, memory.peak_bytes) == (40, 70)
    assert "VmHWM" in memory.kind
    assert "--mode time" in " ".join(device.asked[0])


def test_a_failure_in_the_memory_pass_is_told_with_its_reason() -> None:
    device = fake(a=FakeModel(error_in=frozenset({0})))
    with pytest.raises(WorkerFailed, match="programmed failure"):
        bench.measure_memory(files("a")[0], device, QUICK)


class Silent(PythonWorker):
    """A "worker" that is a line of Python."""

    def command(self, artifact: str, **_: Any) -> list[str]:
        return [sys.executable, "-c", artifact]


def test_a_worker_that_dies_without_a_word_is_told_with_its_last_words() -> None:
    file = FileUnderTest("a", "import sys; sys.exit('no such library')", Silent("s", ("onnx",), "s"))
    with pytest.raises(WorkerFailed, match="the worker of a ended with exit status 1: no such library"):
        bench.measure_memory(file, Local(), QUICK)
    ((_, error),) = bench.measure_scores([file], Local(), QUICK)
    assert isinstance(error, WorkerFailed)
    assert "ended with 1: no such library" in str(error)


def scores(file: FileUnderTest, device: Any, plan: Plan) -> Outputs:
    ((of, outputs),) = bench.measure_scores([file], device, plan)
    assert of == file
    assert isinstance(outputs, Outputs)
    return outputs


def test_scores_are_the_rows_of_the_worker() -> None:
    device = fake(a=FakeModel(rows=((0.25, 0.75), (1, 0)), run_ns=3 * MS))
    outputs = scores(files("a")[0], device, QUICK)
    assert outputs.rows == ((0.25, 0.75), (1.0, 0.0))
    assert outputs.invoke_ns == 6 * MS


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_scoring_side_by_side_answers_in_order_and_one_that_fails_stops_nobody(at_once: int) -> None:
    rows = {name: ((float(number), 1.0),) for number, name in enumerate("abc")}
    models = {
        name: FakeModel(rows=rows[name], error_in=frozenset({0} if name == "b" else ())) for name in "abc"
    }
    device = fake(**models)
    found = list(bench.measure_scores(files("a", "b", "c"), device, QUICK, at_once=at_once))
    assert [file.name for file, _ in found] == ["a", "b", "c"]
    assert [isinstance(one, WorkerFailed) for _, one in found] == [False, True, False]
    assert device.open_workers == 0


def test_scoring_that_is_given_up_ends_its_workers() -> None:
    device = fake(a=FakeModel(rows=((1.0,),)), b=FakeModel(rows=((1.0,),)))
    answers = bench.measure_scores(files("a", "b"), device, QUICK, at_once=2)
    next(answers)
    assert device.open_workers == 1
    answers.close()
    assert device.open_workers == 0


def test_a_real_worker_of_onnxruntime_goes_through_all_passes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from test_ort import PLAIN, graph

    from swapbench.runtimes.ort import OnnxRuntime

    np.save(tmp_path / "s.npy", np.full((3, 4, 6, 3), 7, np.uint8))
    options = {"samples": str(tmp_path / "s.npy"), "normalise": PLAIN}
    file = FileUnderTest("m", graph(tmp_path / "m.onnx", [1, 3, 4, 6]), OnnxRuntime(), options)
    plan = Plan(min_rounds=1, max_rounds=1, slices_per_round=2, slice_ns=MS, warmup_ns=0)
    result = bench.measure_speed([file], Local(), plan)["m"]
    assert isinstance(result, Timed)
    assert (result.speed.input, len(result.speed.workers[0].slices_ns)) == ("sample", 2)
    memory = bench.measure_memory(file, Local(), plan)
    assert memory.peak_bytes > memory.before_load_bytes > 10_000_000
    assert scores(file, Local(), plan).rows == ((7.0, 7.0, 7.0),) * 3


# ------------------------------------------------------------------------------------------ power


def powers(device: Fake, *meters: Any, **plan: float) -> Any:
    return bench.measure_power(
        files("a")[0], meters, device, QUICK.model_copy(update=plan), sleep=device.clock.sleep
    )


def test_energy_above_idle_is_what_the_arithmetic_says() -> None:
    device = fake(a=FakeModel(run_ns=10 * MS))
    (power,) = powers(device, FakeMeter(device.clock, idle_w=1, busy_w=2))
    assert (power.meter, power.runs) == ("fake", 1000)
    assert [window[0].used_uj for window in (power.idle_before, power.busy, power.idle_after)] == [
        *(10_000_000, 20_000_000, 10_000_000)
    ]
    assert {window[0].window_ns for window in (power.idle_before, power.busy, power.idle_after)} == {10**10}
    energy = stats.energy_per_run(power)
    assert (energy.gross_uj, energy.above_idle_uj) == (20_000, 10_000)
    assert device.open_workers == 0


def test_a_counter_that_starts_again_inside_a_window_counts_on() -> None:
    device = fake(a=FakeModel(run_ns=10 * MS))
    meter = FakeMeter(device.clock, start_uj=20_000_000, range_uj=25_000_000)
    (power,) = powers(device, meter)
    assert stats.energy_per_run(power).above_idle_uj == 10_000


def test_drift_of_the_idle_power_is_seen() -> None:
    device = fake(a=FakeModel(run_ns=10 * MS))
    (power,) = powers(device, FakeMeter(device.clock, drift_w=0.01))
    # idle rises by .01 W in each of the 21 s between the middles of both idle windows
    assert stats.idle_drift(power) == pytest.approx(0.21 / 1.16, rel=0.02)
    assert stats.energy_per_run(power).above_idle_uj == pytest.approx(10_000, rel=1e-4)


class Breaking(FakeMeter):
    """A meter that refuses from its second reading on."""

    reads = 0

    def read(self) -> tuple[CounterValue, ...]:
        self.reads += 1
        if self.reads > 1:
            raise DeviceFailed("the counter is gone", remedy="Plug it in")
        return super().read()


def test_a_meter_that_fails_leaves_the_others() -> None:
    device = fake(a=FakeModel(run_ns=10 * MS))
    found = powers(device, Breaking(device.clock), FakeMeter(device.clock, name="good"))
    assert [one.meter for one in found] == ["good"]


def test_where_every_meter_fails_power_is_absent_with_the_reason() -> None:
    device = fake(a=FakeModel(run_ns=10 * MS))
    found = powers(device, Breaking(device.clock))
    assert isinstance(found, Absent)
    assert "the counter is gone" in found.absent
    assert found.remedy == "Plug it in"


def test_a_meter_whose_counters_change_is_no_measurement() -> None:
    class Growing(FakeMeter):
        reads = 0

        def read(self) -> tuple[CounterValue, ...]:
            self.reads += 1
            return super().read() * self.reads

    device = fake(a=FakeModel(run_ns=10 * MS))
    found = powers(device, Growing(device.clock))
    assert isinstance(found, Absent)
    assert "1 energy counters were read before the window and 2 after it" in found.absent


def test_without_a_meter_no_worker_is_started() -> None:
    device = fake(a=FakeModel())
    assert isinstance(powers(device), Absent)
    assert device.asked == []


def test_a_worker_that_dies_in_the_busy_window_is_an_error_and_is_closed() -> None:
    device = fake(a=FakeModel(dies_in=frozenset({0})))
    with pytest.raises(WorkerFailed, match="ended with 1"):
        powers(device, FakeMeter(device.clock))
    assert device.open_workers == 0


# ------------------------------------------------------------------------------------------ doubts


def codes(record: Record) -> list[str]:
    return [one.code for one in doubts(record)]


def quiet(**more: Any) -> Record:
    """A record that nothing speaks against."""
    return made_records.record(speed=speed(*[(1000,) * 20] * 6), **more)


def speed(*workers: tuple[int, ...], cpu_share: float = 1.0, **more: Any) -> Speed:
    """Workers by their runs in ns, dealt to two slices each."""
    made = made_records.speed(1, 0, runs=8, workers=1).workers[0]
    return Speed(
        workers=tuple(
            made.model_copy(
                update={
                    "round": number,
                    "slices_ns": (runs[::2], runs[1::2]),
                    "cpu_ns": round(sum(runs) * cpu_share),
                }
            )
            for number, runs in enumerate(workers)
        ),
        **({"input": "sample", "stopped": "target"} | more),
    )


def test_a_clean_record_has_no_doubts() -> None:
    assert codes(quiet()) == []


def test_absent_accuracy_power_and_parity_are_no_doubts_but_absent_speed_is() -> None:
    nothing = Absent(absent="not asked for", remedy="ask")
    record = quiet(accuracy=nothing, power=nothing, parity=nothing, weight=nothing)
    assert codes(record) == []
    (doubt,) = doubts(record.model_copy(update={"speed": nothing}))
    assert (doubt.code, doubt.message, doubt.remedy) == ("no_speed", "not asked for", "ask")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"emulated": True}, "emulated_device"),
        ({"load_1min": 2.1}, "other_load"),
        ({"load_1min": 0.0, "busy_cores": 1.1}, "other_load"),
        ({"on_battery": True}, "on_battery"),
    ],
)
def test_the_state_of_the_machine_is_doubted(change: dict[str, Any], code: str) -> None:
    record = quiet(machine=made_records.MACHINE.model_copy(update=change))
    assert codes(record) == [code]


@pytest.mark.parametrize(
    "change",
    [{"load_1min": 1.9}, {"load_1min": None}, {"load_1min": 9.0, "busy_cores": 0.9}, {"on_battery": False}],
)
def test_a_quiet_machine_is_not_doubted(change: dict[str, Any]) -> None:
    # four cores: a load of two is half of them
    assert codes(quiet(machine=made_records.MACHINE.model_copy(update=change))) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"package": "tflite-runtime"}, ["old_runtime"]),
        ({"package": "tflite_runtime"}, ["old_runtime"]),  # as older records name it
        ({"delegated_nodes": 9, "nodes": 10}, ["partial_delegate"]),
        ({"delegated_nodes": 10, "nodes": 10}, []),
        ({"delegated_nodes": None, "nodes": None}, []),
        ({"threads": 4}, []),  # of four cores
        ({"threads": 5}, ["threads_over_cores"]),
        ({"threads": 2, "settings": {"affinity": "8"}}, ["threads_over_cores"]),  # held to core 3
        ({"threads": 2, "settings": {"affinity": "c"}}, []),  # held to cores 2 and 3
    ],
)
def test_what_really_ran_is_doubted(change: dict[str, Any], expected: list[str]) -> None:
    record = quiet()
    assert codes(record.model_copy(update={"runtime": record.runtime.model_copy(update=change)})) == expected


STEADY = (1000,) * 20


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (speed(*(STEADY,) * 5), ["too_few_workers"]),
        (speed(*(STEADY,) * 6, cpu_share=0.8), ["waited_for_cpu"]),
        (speed(*((1000,) * 15 + (1600,) * 5,) * 6), ["heavy_tail"]),
        (speed(*(STEADY,) * 9, (1200,) * 20), ["workers_disagree"]),
        (
            speed(*((level,) * 20 for level in (955, 980, 1000, 1000, 1020, 1045)), stopped="budget"),
            ["wide_interval"],
        ),
    ],
    ids=["few workers", "starved", "tail", "one slow process", "wide"],
)
def test_the_times_are_doubted(measured: Speed, expected: list[str]) -> None:
    assert codes(quiet().model_copy(update={"speed": measured})) == expected


def test_a_worker_with_several_threads_may_use_less_cpu_than_time() -> None:
    record = quiet(plan=Plan(threads=2)).model_copy(update={"speed": speed(*(STEADY,) * 6, cpu_share=0.8)})
    assert codes(record) == []


def quantised(**figures: Any) -> Parity:
    return Parity(
        **{
            "samples": 128,
            "max_abs_difference": 0.4,
            "mean_abs_difference": 0.02,
            "correlation": 0.97,
            "rank_correlation": 0.993,
            "logit_correlation": 0.99,
            "logit_error": 0.14,
            "decision_flips": 2,
            "threshold": 0.5,
            "tolerance": dict(TOLERANCES["int8"]),
            **figures,
        }
    )


def test_a_quantised_file_within_its_limits_is_not_doubted_for_a_few_saturated_scores() -> None:
    assert codes(quiet(parity=quantised())) == []


def test_a_quantised_file_that_differs_is_measured_with_a_doubt_that_says_how() -> None:
    record = quiet(parity=quantised(decision_flips=20, rank_correlation=0.91, logit_error=0.314))
    (doubt,) = doubts(record)
    assert doubt.code == "differs_from_network"
    assert (
        "20 of 128 decisions flip, rank correlation 0.910, logit error 31.4 % of the logits' spread"
        in doubt.message
    )
    assert "the rank correlation 0.9100 is below 0.95" in doubt.message
    assert doubt.remedy


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        (NOTHING_TO_COMPARE, "the development split has no frame that could be read"),
        (quantised(samples=19, decision_flips=0), "there are only 19 samples to compare, fewer than 20"),
        (
            quantised(logit_error=None, logit_correlation=None, rank_correlation=None, decision_flips=0),
            "the reference gives all 128 samples the same score",
        ),
    ],
)
def test_a_file_whose_parity_could_not_be_judged_is_doubted(parity: Parity | Absent, words: str) -> None:
    (doubt,) = doubts(quiet(parity=parity))
    assert doubt.code == "parity_unjudged"
    assert words in doubt.message
    assert doubt.remedy


@pytest.mark.parametrize(
    ("precision", "kind", "saturates", "expected"),
    [
        ("int8", "onnx", True, ["int8_saturates"]),
        ("int8", "onnx", False, []),
        ("int8", "onnx", None, []),
        ("int8", "tflite", True, []),
        ("fp32", "onnx", True, []),
    ],
)
def test_an_int8_file_is_doubted_where_the_processor_s_products_saturate(
    precision: str, kind: str, saturates: bool | None, expected: list[str]
) -> None:
    record = made_records.record("net", precision, kind)
    record = record.replace(machine=record.machine.replace(int8_saturates=saturates), speed=quiet().speed)
    assert codes(record) == expected


@pytest.mark.parametrize(("flips", "expected"), [(0, []), (2, []), (3, ["decisions_flipped"])])
def test_decisions_that_differ_from_the_networks_are_a_doubt_above_two_per_cent(
    flips: int, expected: list[str]
) -> None:
    parity = Parity(
        samples=100,
        max_abs_difference=0.1,
        mean_abs_difference=0.01,
        correlation=0.99,
        decision_flips=flips,
        threshold=0.5,
        tolerance={},
    )
    assert codes(quiet(parity=parity)) == expected


def test_a_wide_interval_says_how_wide_and_why_it_stopped() -> None:
    wide = speed(*((level,) * 20 for level in (1000, 1100) * 3), stopped="budget")
    record = quiet().model_copy(update={"speed": wide})
    (doubt,) = [one for one in doubts(record) if one.code == "wide_interval"]
    assert doubt.message == (
        "the interval of the median was still ±4.8 % when the time was up; the target is ±2.0 %"
    )
    assert doubt.remedy


def with_auc(auc: float, low: float, high: float) -> Accuracy:
    """The area and its interval, of enough presentations."""
    interval = Interval(low=low, high=high, method="by hand")
    return made_records.accuracy({"print": (0, 100)}, 0, 50, auc=auc, auc_interval=interval)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (made_records.accuracy({"print": (0, 100), "mask": (0, 19)}, 0, 50), ["few_attacks"]),
        (with_auc(0.39, 0.3, 0.48), ["worse_than_chance"]),
        (with_auc(0.55, 0.49, 0.61), ["classes_not_separated"]),
        (with_auc(0.55, 0.51, 0.59), []),
        (made_records.accuracy({"print": (0, 100), "mask": (0, 20)}, 0, 20), []),
        (made_records.accuracy({"print": (0, 100)}, 0, 19), ["few_bona_fide"]),
        (made_records.accuracy({"print": (0, 100)}, 0, 50, failures_to_acquire=7), []),
        (made_records.accuracy({"print": (0, 100)}, 0, 50, failures_to_acquire=8), ["failures_to_acquire"]),
        (made_records.accuracy({"print": (0, 100)}, 0, 50, simulated=True), []),
    ],
    ids=[
        "few",
        "inverted",
        "at chance",
        "weak",
        "enough",
        "few bona fide",
        "some faces missing",
        "many faces missing",
        "simulated",
    ],
)
def test_the_data_is_doubted(accuracy: Any, expected: list[str]) -> None:
    assert codes(quiet(accuracy=accuracy)) == expected


def test_one_presentation_is_said_in_the_singular() -> None:
    said = doubts(quiet(accuracy=made_records.accuracy({"print": (0, 1)}, 0, 1)))
    assert [doubt.message for doubt in said] == [
        "the protocol has 1 attack of species print, fewer than 20",
        "the protocol has 1 bona fide presentation, fewer than 20",
    ]


def test_operators_that_the_count_leaves_out_are_doubted() -> None:
    weight = made_records.weight(1, 1, 1).model_copy(update={"uncounted_ops": ("Mystery",)})
    (doubt,) = doubts(quiet(weight=weight))
    assert (doubt.code, doubt.message) == ("uncounted_ops", "the MACs do not include Mystery")


def power(before_uj: int, busy_uj: int, after_uj: int, **more: Any) -> tuple[Power, ...]:
    (made,) = made_records.power(busy_uj, 1000)
    before, after = ((made.busy[0].model_copy(update={"used_uj": used}),) for used in (before_uj, after_uj))
    return (made.model_copy(update={"idle_before": before, "idle_after": after, **more}),)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (power(10**7, 2 * 10**7, 10**7), []),
        (power(10**7, 2 * 10**7, 10**7 + 1_200_000), ["idle_drift"]),
        (power(10**7, 10**7 + 100, 10**7, resolution_uj=10**6), ["energy_unresolved"]),
        (power(10**7, 2 * 10**7, 10**7, resolution_uj=2 * 10**6), ["energy_uncertain"]),
    ],
    ids=["clean", "drift", "unresolved", "coarse"],
)
def test_the_energy_is_doubted(measured: tuple[Power, ...], expected: list[str]) -> None:
    assert codes(quiet(power=measured)) == expected


def test_every_doubt_says_what_to_do() -> None:
    record = quiet(
        machine=made_records.MACHINE.model_copy(
            update={"emulated": True, "load_1min": 9.0, "on_battery": True}
        ),
        accuracy=made_records.accuracy({"print": (0, 10)}, 0, 10, failures_to_acquire=10),
        power=power(10**7, 10**7 + 100, 2 * 10**7),
    ).model_copy(
        update={"speed": speed((1000, 3000) * 10, (2000, 9000) * 10, cpu_share=0.1, stopped="rounds")}
    )
    found = doubts(record)
    assert len(found) >= 11
    assert all(one.remedy and one.message for one in found)
    assert len({one.code for one in found}) == len(found)


# ------------------------------------------------------------------------------------------ int8 against fp32


def pair(int8_ns: int, precision: str = "int8", **more: Any) -> list[Record]:
    real = made_records.record(precision="fp32", form="tflite", speed=speed(*((1000,) * 20,) * 6))
    quantised = made_records.record(
        precision=precision, form="tflite", speed=speed(*((int8_ns,) * 20,) * 6), **more
    )
    return [real, quantised]


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "int16x8"])
def test_an_integer_file_that_is_slower_than_its_fp32_file_is_named(precision: str) -> None:
    real, quantised = pair(1500, precision)
    found = slower_than_float([real, quantised])
    assert found.keys() == {quantised.id}
    assert found[quantised.id].message.startswith(f"{precision} takes 1.50× the time of fp32: ")


def test_faster_or_incomparable_files_are_not_named() -> None:
    assert slower_than_float(pair(900)) == {}
    real, quantised = pair(1500)
    elsewhere = quantised.machine.model_copy(update={"name": "another"})
    assert slower_than_float([real, quantised.model_copy(update={"machine": elsewhere})]) == {}
    assert slower_than_float([quantised]) == {}
    unmeasured = real.model_copy(update={"speed": Absent(absent="failed")})
    assert slower_than_float([unmeasured, quantised]) == {}


def test_overlapping_intervals_are_no_difference() -> None:
    real, quantised = pair(1010)
    noisy = speed(*((level,) * 20 for level in (900, 1000, 1100, 1000, 1000, 1000)))
    assert slower_than_float([real.model_copy(update={"speed": noisy}), quantised]) == {}


def test_the_reason_is_taken_from_the_record() -> None:
    real, quantised = pair(1500)
    partly = quantised.runtime.model_copy(update={"delegated_nodes": 3, "nodes": 9})
    (doubt,) = slower_than_float([real, quantised.model_copy(update={"runtime": partly})]).values()
    assert "6 of 9 nodes are outside the delegate" in doubt.message
    weight = made_records.weight(1, 1, 1).model_copy(
        update={"ops": {"CONV_2D": 4, "QUANTIZE": 3, "DEQUANTIZE": 3}}
    )
    (doubt,) = slower_than_float([real, quantised.model_copy(update={"weight": weight})]).values()
    assert "6 of the file's 10 nodes only convert between types of numbers" in doubt.message


def test_without_a_reason_the_doubt_says_that_none_is_known() -> None:
    real, quantised = pair(1500)
    (doubt,) = slower_than_float([real, quantised]).values()
    assert doubt.message.endswith("its operators were not profiled (swapbench run --profile)")
    conv = OperatorGroup(op="QLinearConv", provider="CPUExecutionProvider", output="uint8", nodes=9, share=1)
    profile = OperatorProfile(executed=(conv,), placed=(conv,), processes=3, runs=50)
    (doubt,) = slower_than_float([real, quantised.model_copy(update={"operators": profile})]).values()
    assert "no operator of it fell back or only converts" in doubt.message


# ------------------------------------------------------------------------------------------ the fake itself


def test_the_fake_meter_counts_busy_and_idle_time() -> None:
    clock = FakeClock()
    meter = FakeMeter(clock, idle_w=1, busy_w=3)
    clock.sleep(2)
    clock.work(10**9)
    assert meter.read()[0].value_uj == 2_000_000 + 3_000_000


def test_the_fake_device_reads_only_what_is_programmed(tmp_path: Path) -> None:
    device = Fake({}, files={"/sys/x": "1"})
    device.pull("/sys/x", tmp_path / "x")
    assert (tmp_path / "x").read_text() == "1"
    with pytest.raises(DeviceFailed, match="cannot read /sys/y"):
        device.read("/sys/y")
    assert device.describe().emulated


def test_presentations_without_a_score_are_doubted_with_their_reasons() -> None:
    failed = FailedFrames(reason="the file is empty", frames=8, files=("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    accuracy = made_records.accuracy(
        {"print": (0, 100)}, 0, 50, failures_to_acquire=8, failed_frames=(failed,)
    )
    (doubt,) = doubts(quiet(accuracy=accuracy))
    assert doubt.message == (
        "8 of 158 presentations have no score; 8 frames have no score (a.jpg, b.jpg, c.jpg, ...):"
        " the file is empty"
    )


def test_attacks_are_counted_as_a_whole_where_no_threshold_counts_their_errors() -> None:
    few = {"threshold": None, "bpcer": None, "acer": None, "apcer": None, "apcer_by_species": {}}
    assert codes(quiet(accuracy=made_records.accuracy({"print": (0, 19)}, 0, 50, **few))) == ["few_attacks"]
    assert codes(quiet(accuracy=made_records.accuracy({"print": (0, 20)}, 0, 50, **few))) == []
