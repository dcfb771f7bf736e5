from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import (
    MACHINE,
    NOT_MEASURED_ENERGY,
    NOT_SCORED,
    accuracy,
    demo,
    doubt,
    power,
    proportion,
    record,
    speed,
    weight,
)

from swapbench.errors import UnknownName
from swapbench.records import Absent, Machine, Record, RuntimeUsed, Speed
from swapbench.report.rows.references import compared_rows
from swapbench.report.rows.row import Row, worst_species
from swapbench.report.rows.summary import summary
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.sections import as_markdown
from swapbench.report.tables.table import table_of
from swapbench.report.tables.view import other_references

if TYPE_CHECKING:
    from collections.abc import Sequence


def rows_of(records: Sequence[Record], relative_to: str | None = None) -> tuple[tuple[Row, ...], str | None]:
    return compared_rows(map(summary, records), relative_to)


def used(version: str = "1.31.0", threads: int = 1, runtime: str = "onnxruntime") -> RuntimeUsed:
    return RuntimeUsed(runtime=runtime, version=version, package=runtime, providers=("CPU",), threads=threads)


def test_the_latencies_of_a_hundred_runs_are_those_counted_on_paper() -> None:
    # 1.00, 1.01 .. 1.99 ms, dealt to ten processes: the first has 1.00, 1.10 .. 1.90. Their medians are 1.40
    # to 1.49, the lower middle one 1.44; their fastest runs 1.00 to 1.09; their p90 1.80 to 1.89, of which
    # the ninth bounds the median: P(Binomial(10, 1/2) >= 9) = 11/1024, and 56/1024 for the eighth.
    row = summary(record(speed=speed(1_000_000, 10_000, runs=100)))
    assert row.speed.p50_ns == 1_440_000
    assert row.speed.p05_ns == 1_040_000
    assert row.speed.p90_ns == 1_880_000
    assert (row.speed.runs, row.speed.workers) == (100, 10)
    assert row.speed.cpu_time_ns == pytest.approx(1_495_000)


def test_a_percentile_that_needs_more_runs_is_missing_and_says_how_many() -> None:
    row = summary(record(speed=speed(1_000_000, 10_000, runs=100)))
    assert row.speed.p95_ns is None
    assert row.speed.p99_ns is None
    reasons = [one.reason for one in row.missing if one.quantity == "tail"]
    assert reasons == [
        "p95 needs 5 processes of 20 runs each",
        "p99 needs 5 processes of 100 runs each",
    ]


def test_the_interval_holds_the_median_and_is_the_same_every_time() -> None:
    row, again = summary(record()), summary(record())
    assert row == again
    assert row.speed.p50_low_ns is not None
    assert row.speed.p50_high_ns is not None
    assert row.speed.p50_low_ns <= 1_440_000 <= row.speed.p50_high_ns
    assert row.speed.confidence == 0.95


def test_load_and_first_run_are_medians_over_the_workers() -> None:
    # Ten workers with 5_000_000 + 0 .. 9 ns: the lower of the middle two.
    row = summary(record())
    assert (row.speed.load_ns, row.speed.first_ns) == (5_000_004, 3_000_004)


def test_accuracy_names_the_worst_species_and_all_that_tie() -> None:
    one = summary(record(accuracy=accuracy({"print": (2, 100), "replay": (4, 100), "mask": (1, 100)}, 1, 50)))
    assert one.accuracy.apcer == 0.04
    assert worst_species(one.accuracy) == ("replay",)
    assert one.accuracy.acer == pytest.approx((0.04 + 0.02) / 2)
    tied = summary(record(accuracy=accuracy({"print": (0, 100), "replay": (0, 100)}, 0, 50)))
    assert worst_species(tied.accuracy) == ("print", "replay")


def test_an_operating_point_that_could_not_be_reached_is_missing_with_its_reason() -> None:
    points = {
        "bpcer10": proportion(5, 50, 0.05, 0.2),
        "bpcer100": Absent(absent="too few attacks", remedy="More"),
    }
    row = summary(record(accuracy=accuracy({"print": (1, 10)}, 1, 50, bpcer_at_apcer=points)))
    assert [COLUMNS[name].value(row) for name in ("bpcer10", "bpcer20", "bpcer100")] == [0.1, None, None]
    assert [one.reason for one in row.missing if one.quantity == "accuracy"] == ["bpcer100: too few attacks"]


def test_energy_above_idle_is_what_the_arithmetic_says() -> None:
    # 10 s at 2 W busy and 1 W idle, 1000 runs: 20 mJ gross, 10 mJ above idle.
    [energy] = summary(record(power=power(20_000_000, 1000))).energy
    assert energy.gross_uj == pytest.approx(20_000)
    assert energy.above_idle_uj == pytest.approx(10_000)
    assert energy.resolved
    assert energy.uncertainty_uj < 100


def test_energy_below_its_uncertainty_is_not_resolved() -> None:
    [energy] = summary(record(power=power(10_000_100, 1000))).energy
    assert not energy.resolved
    assert energy.limit_uj == pytest.approx(energy.above_idle_uj + energy.uncertainty_uj)


def test_what_was_not_measured_is_none_and_keeps_its_reason_and_remedy() -> None:
    row = summary(
        record(
            speed=NOT_SCORED,
            weight=NOT_SCORED,
            accuracy=NOT_SCORED,
            power=NOT_MEASURED_ENERGY,
            parity=NOT_SCORED,
        )
    )
    assert row.speed is row.weight is row.accuracy is row.parity is row.data_simulated is None
    assert row.energy == ()
    assert {one.quantity for one in row.missing} == {"speed", "weight", "accuracy", "power", "parity"}
    assert {one.remedy for one in row.missing} == {NOT_SCORED.remedy, NOT_MEASURED_ENERGY.remedy}


def test_memory_alone_can_be_missing() -> None:
    row = summary(record(weight=weight(10, 20, 30, peak_bytes=None)))
    assert row.weight is not None
    assert (row.weight.file_bytes, row.weight.params, row.weight.macs) == (10, 20, 30)
    assert COLUMNS["peak_memory"].value(row) is None
    assert [one.quantity for one in row.missing if one.quantity == "memory"] == ["memory"]


def test_a_speed_without_a_single_run_is_missing() -> None:
    row = summary(record(speed=Speed(workers=(), input="sample", stopped="budget")))
    assert row.speed is None
    assert "no worker finished" in next(one.reason for one in row.missing if one.quantity == "speed")


def test_rows_are_sorted_by_network_format_and_precision_whatever_the_order() -> None:
    rows, _ = rows_of(list(reversed(demo())))
    assert [row.label for row in rows[:6]] == [
        "minifasnet_v2.fp32.onnx",
        "minifasnet_v2.fp16.onnx",
        "minifasnet_v2.int8.onnx",
        "minifasnet_v2.fp32.tflite",
        "minifasnet_v2.fp16.tflite",
        "minifasnet_v2.int8.tflite",
    ]
    assert rows == rows_of(demo())[0]


def test_labels_are_file_names_and_say_more_only_where_two_are_equal() -> None:
    two_threads = record(minute=1, runtime=used(threads=2))
    rows, _ = rows_of([record(), two_threads, record(precision="int8")])
    assert [row.label for row in rows] == [
        "net.fp32.onnx (1 thread)",
        "net.fp32.onnx (2 threads)",
        "net.int8.onnx",
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=6))
def test_labels_are_always_unique(kinds: list[tuple[int, int, int]]) -> None:
    records = [
        record(
            minute=i,
            run=f"run{run}",
            runtime=used(threads=1 + threads),
            machine=MACHINE.model_copy(update={"name": f"m{m}"}),
            speed=NOT_SCORED,
        )
        for i, (run, threads, m) in enumerate(kinds)
    ]
    rows, _ = rows_of(records)
    assert len({row.label for row in rows}) == len(rows)


def test_ratios_are_reference_over_row_for_costs_and_row_over_reference_for_accuracy() -> None:
    teacher = record(
        "teacher", weight=weight(8_000_000, 2_000_000, 400_000_000, 90_000_000), power=power(40_000_000, 1000)
    )
    student = record(
        "student",
        speed=speed(500_000, 5_000),
        weight=weight(2_000_000, 500_000, 40_000_000, 60_000_000),
        accuracy=accuracy({"print": (10, 100)}, 0, 50),
        power=power(20_000_000, 1000),
    )
    rows, reference = rows_of([student, teacher])
    assert reference == "teacher"
    ratio = rows[0].relative
    assert ratio is not None
    assert ratio.reference == "teacher.fp32.onnx"
    assert ratio.speed_up == 2
    assert ratio.speed_up_p05 == 2
    assert (ratio.size_reduction, ratio.params_reduction, ratio.macs_reduction) == (4, 4, 10)
    assert ratio.memory_reduction == 1.5
    # Teacher: ACER (.04 + .02) / 2 = .03; student: (.10 + 0) / 2 = .05.
    assert ratio.accuracy_kept == pytest.approx(0.95 / 0.97)
    assert ratio.error_ratio == pytest.approx(5 / 3)
    # Above idle: (40 - 10) mJ against (20 - 10) mJ.
    assert ratio.energy_reduction == pytest.approx(3)


def test_the_speed_up_interval_is_of_the_ratios_by_round_of_files_timed_together() -> None:
    # Round by round the teacher takes 2 times as long, but for one round in which it takes 3 times.
    teacher, student = speed(1_000_000, 10_000), speed(500_000, 5_000)
    odd = teacher.workers[0]
    odd = odd.replace(slices_ns=tuple(tuple(3 * ns // 2 for ns in runs_ns) for runs_ns in odd.slices_ns))
    teacher = teacher.replace(workers=(odd, *teacher.workers[1:]))
    rows, _ = rows_of(
        [
            record("teacher", speed=teacher, weight=weight(1, 1, 2)),
            record("student", speed=student, weight=weight(1, 1, 1)),
        ]
    )
    ratios = rows[0].relative
    assert ratios is not None
    assert ratios.paired
    assert ratios.speed_up == 2.9 / 1.44  # of the medians 1.45 ms and .72 ms
    assert (ratios.speed_up_low, ratios.speed_up_high) == (2, pytest.approx(ratios.speed_up))
    assert rows[1].relative is not None
    assert (rows[1].relative.speed_up, rows[1].relative.speed_up_low) == (1, None)


def test_the_speed_up_interval_of_files_not_timed_together_joins_the_worst_ends() -> None:
    rows, _ = rows_of(
        [
            record("teacher", speed=speed(1_000_000, 10_000).replace(sitting="a"), weight=weight(1, 1, 2)),
            record("student", speed=speed(500_000, 5_000).replace(sitting="b"), weight=weight(1, 1, 1)),
        ]
    )
    student, teacher = rows
    assert student.relative is not None
    assert not student.relative.paired
    assert student.relative.speed_up_low == pytest.approx(
        teacher.speed.p50_low_ns / student.speed.p50_high_ns
    )  # type: ignore[operator]
    assert student.relative.speed_up_high == pytest.approx(
        teacher.speed.p50_high_ns / student.speed.p50_low_ns
    )  # type: ignore[operator]


def test_the_reference_has_the_same_format_runtime_threads_and_machine() -> None:
    other = MACHINE.model_copy(update={"name": "pixel7"})
    rows, name = rows_of(
        [
            record("teacher", weight=weight(8, 8, 8 * 10**9)),
            record("net", minute=1),
            record("net", form="tflite"),
            record("net", minute=2, machine=other),
            record("net", minute=3, runtime=used(threads=2)),
            record("net", minute=4, runtime=used(version="1.30.0")),
        ]
    )
    assert name == "teacher"
    assert {row.record_id for row in rows if row.relative} == {
        "teacher.fp32.onnx-onnxruntime-0",
        "net.fp32.onnx-onnxruntime-1",
    }
    reasons = {row.missing[-1].reason for row in rows if row.relative is None}
    assert len(reasons) == 4
    assert (
        "no fp32 or fp16 tflite record of teacher under litert 2.3.0 with 1 thread on the same machine"
        in reasons
    )


def test_a_machine_in_another_state_is_the_same_machine() -> None:
    def place(machine: Machine) -> str:
        return summary(record(machine=machine)).place

    warm = MACHINE.model_copy(update={"temperature_c": 71.0, "load_1min": 2.0, "on_battery": True})
    assert place(warm) == place(MACHINE)
    other = MACHINE.model_copy(update={"governor": "powersave"})
    assert place(other) != place(MACHINE)


def on_cores(kind: str, mask: str, fastest_ns: int) -> Record:
    """The reference network, timed on some cores of a phone."""
    one = record(speed=speed(fastest_ns, fastest_ns // 100))
    settings = {**one.runtime.settings, "cores": kind, "affinity": mask}
    used = one.runtime.model_copy(update={"settings": settings})
    return one.model_copy(update={"id": f"{one.id}-{kind}", "runtime": used})


def test_cores_of_another_kind_are_another_machine_and_never_compared() -> None:
    rows, _ = rows_of([on_cores("big", "c0", 2_000_000), on_cores("little", "f", 8_000_000), record()])
    assert len({row.place for row in rows}) == 3
    assert {row.conditions.cores for row in rows} == {"big", "little", None}
    assert [row.relative.speed_up for row in rows if row.relative] == [1, 1, 1]
    labels = {row.label.partition(" ")[2] for row in rows}
    assert labels == {"(big cores)", "(little cores)", "(any cores)"}
    assert any(row.place.endswith("on big cores 6,7") for row in rows)


def test_an_older_record_that_tells_its_cores_by_their_mask_only_stands_apart_too() -> None:
    old = on_cores("big", "c0", 2_000_000)
    settings = {name: value for name, value in old.runtime.settings.items() if name != "cores"}
    old = old.model_copy(update={"runtime": old.runtime.model_copy(update={"settings": settings})})
    rows, _ = rows_of([old, record()])
    assert len({row.place for row in rows}) == 2


def test_the_newest_reference_is_taken_where_there_are_several() -> None:
    rows, _ = rows_of(
        [record(minute=0, speed=speed(2_000_000, 20_000)), record(minute=9, speed=speed(4_000_000, 40_000))]
    )
    assert [row.relative.speed_up for row in rows if row.relative] == [2, 1]


def test_where_there_is_no_fp32_the_fp16_file_is_the_reference_and_is_said_to_be() -> None:
    half, small = record("net", "fp16"), record("net", "int8")
    rows, _ = compared_rows(map(summary, (small, half)))
    assert [row.relative and row.relative.reference for row in rows] == ["net.fp16.onnx"] * 2
    sentence = "No fp32 file was measured in place of net.fp16.onnx, so that is the reference."
    assert other_references(rows) == [sentence]
    assert sentence in as_markdown(table_of([small, half]))
    rows, _ = compared_rows(map(summary, (small, half, record("net", "fp32"))))
    assert {row.relative and row.relative.reference for row in rows} == {"net.fp32.onnx"}
    assert other_references(rows) == []
    rows, _ = compared_rows(map(summary, (small,)))
    assert rows[0].relative is None


def test_the_reference_can_be_named_and_an_unknown_one_is_refused() -> None:
    rows, name = rows_of(demo(), "minifasnet_v2")
    assert name == "minifasnet_v2"
    assert {row.relative.reference for row in rows if row.relative} == {
        "minifasnet_v2.fp32.onnx",
        "minifasnet_v2.fp32.tflite",
    }
    with pytest.raises(UnknownName, match="minifasnet_v2"):
        rows_of(demo(), "minifasnet_v3")


def test_a_bare_name_prefers_the_network_without_a_recipe_and_a_full_name_finds_the_recipe() -> None:
    plain, distilled = record("net", minute=0), record("net", recipe="kd", minute=5)
    rows, _ = rows_of([plain, distilled], "net")
    assert {row.relative.reference for row in rows if row.relative} == {"net.fp32.onnx"}
    rows, _ = rows_of([plain, distilled], "net.kd")
    assert {row.relative.reference for row in rows if row.relative} == {"net.kd.fp32.onnx"}
    rows, _ = rows_of([distilled], "net")
    assert rows[0].relative is not None


def test_no_error_ratio_when_the_reference_makes_no_errors() -> None:
    rows, _ = rows_of(demo(errors=False))
    assert all(row.relative is not None and row.relative.error_ratio is None for row in rows)
    assert all(row.relative is not None and row.relative.accuracy_kept == 1 for row in rows)


def test_accuracies_on_different_data_are_not_compared() -> None:
    there = accuracy({"print": (2, 100)}, 1, 50, dataset_digest="fedcba")
    rows, _ = rows_of([record("teacher", weight=weight(9, 9, 9**9)), record("student", accuracy=there)])
    student = rows[0].relative
    assert student is not None
    assert student.accuracy_kept is student.error_ratio is None
    assert student.speed_up == 1


def test_energies_of_different_meters_are_not_compared() -> None:
    rows, _ = rows_of(
        [
            record("teacher", weight=weight(9, 9, 9**9), power=power(20_000_000, 10)),
            record("student", power=power(20_000_000, 10, meter="nvml")),
        ]
    )
    assert rows[0].relative is not None
    assert rows[0].relative.energy_reduction is None


def test_without_any_weight_there_is_no_reference() -> None:
    rows, name = rows_of([record(weight=NOT_SCORED)])
    assert name is None
    assert rows[0].relative is None


def test_doubts_make_a_row_invalid() -> None:
    row = summary(record(doubts=(doubt(),)))
    assert not row.valid
    assert row.doubts == (doubt(),)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 10**7), st.integers(20, 200))
def test_quantiles_of_a_row_never_cross(fastest_ns: int, step_ns: int, runs: int) -> None:
    row = summary(record(speed=speed(fastest_ns, step_ns, runs=runs)))
    order = [row.speed.p05_ns, row.speed.p50_ns, row.speed.p90_ns, row.speed.p95_ns]
    known = [value for value in order if value is not None]
    assert known == sorted(known)
    assert all(math.isfinite(value) for value in known)


# --- accuracy without a development split ---

UNDECIDED = dict.fromkeys(("threshold", "bpcer", "apcer", "acer", "acer_interval", "dev_eer"))


def undecided(name: str) -> Record:
    """A record of scores without a threshold, of which the AUC is .9 and the EER .1."""
    fields = {**UNDECIDED, "threshold_rule": "", "apcer_by_species": {}, "auc": 0.9, "eer": 0.1}
    return record(name, accuracy=accuracy({"print": (1, 10)}, 1, 10, **fields))


def test_without_a_threshold_errors_are_absent_with_the_reason_and_auc_is_there() -> None:
    row = summary(undecided("a"))
    assert COLUMNS["acer"].number(row) is None
    assert COLUMNS["auc"].number(row) == 0.9
    assert COLUMNS["hter"].number(row) is None
    assert "no development split" in COLUMNS["acer"].absent(row)
    (missing,) = (one for one in row.missing if one.quantity == "accuracy")
    assert "--threshold" in missing.remedy


def test_what_compares_errors_is_absent_without_a_threshold() -> None:
    rows, _ = rows_of([undecided("a"), undecided("b")])
    assert all(row.relative is None or row.relative.error_ratio is None for row in rows)
    assert "AUC" in as_markdown(table_of([undecided("a")]))


def test_auc_and_eer_stand_for_acer_only_where_no_row_has_one() -> None:
    from swapbench.report.tables.view import without_threshold

    names = ("latency_p50", "acer", "speed_up")
    alone, with_other = [summary(undecided("a"))], [summary(undecided("a")), summary(record("b"))]
    assert without_threshold(names, alone) == ("latency_p50", "auc", "hter_target_eer", "speed_up")
    assert without_threshold(names, with_other) == names
    assert without_threshold(names, []) == names
