"""What is asked of a table and what comes of it: columns, order, groups, the best, footnotes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import MACHINE, NOT_SCORED, accuracy, demo, doubt, power, record, speed, weight
from test_table import hand_made

from swapbench.errors import UnknownName, UserError
from swapbench.records import Doubt
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.table import SIMULATED, table_of
from swapbench.report.tables.view import Query, View, view_of

if TYPE_CHECKING:
    from swapbench.records import Record

HAND_MADE = table_of(hand_made())
OTHER = MACHINE.model_copy(update={"name": "pixel7"})


def seen(records: list[Record], columns: str = "", **more: Any) -> View:
    relative_to = more.pop("relative_to", None)
    names = tuple(columns.split(",")) if columns else ()
    return view_of(table_of(records, relative_to), Query(names, **more))


def nets(view: View) -> list[list[str]]:
    return [[line.row.net for line in group.lines] for group in view.groups]


def best(view: View, name: str) -> list[str]:
    place = [one.name for one in view.columns].index(name)
    return [line.row.net for group in view.groups for line in group.lines if line.cells[place].best]


def fast(net: str, fastest_ns: int, **more: Any) -> Record:
    return record(net, speed=speed(fastest_ns, 10_000), **more)


# ---- columns, order, groups ----


def test_the_file_is_named_where_no_column_names_it() -> None:
    assert [one.name for one in seen([record()], "acer").columns] == ["file", "acer"]
    assert [one.name for one in seen([record()], "acer,model").columns] == ["acer", "model"]
    assert seen([record()], "acer,model").naming == 1


def test_the_usual_columns_are_those_that_have_a_number() -> None:
    names = [one.name for one in seen([record(accuracy=NOT_SCORED)]).columns]
    assert "latency_p50" in names
    assert not {"acer", "apcer", "energy"} & set(names)


def test_ratios_follow_what_they_compare_once_a_reference_is_asked_for() -> None:
    asked = "latency_p50,params,acer,energy"
    absolute = ["file", "latency_p50", "params", "acer", "energy"]
    assert [one.name for one in seen(hand_made(), asked).columns] == absolute
    assert [one.name for one in seen(hand_made(), asked, relative_to="teacher").columns] == [
        "file",
        "latency_p50",
        "speed_up",
        "params",
        "params_reduction",
        "acer",
        "accuracy_kept",
        "error_ratio",
        "energy",
        "energy_reduction",
    ]
    named = [one.name for one in seen(hand_made(), "acer,speed_up", relative_to="teacher").columns]
    assert named == ["file", "acer", "speed_up"]


def test_rows_are_sorted_by_the_keys_with_what_has_no_value_last_both_ways() -> None:
    records = [
        fast("a", 3_000_000),
        fast("b", 1_000_000),
        fast("c", 1_000_000),
        record("d", speed=NOT_SCORED),
    ]
    assert nets(seen(records, sort=("latency_p50",))) == [["b", "c", "a", "d"]]
    assert nets(seen(records, sort=("-latency_p50",))) == [["a", "b", "c", "d"]]
    assert nets(seen(records, sort=("latency_p50", "-net"))) == [["c", "b", "a", "d"]]
    assert nets(seen(records, sort=("-net",))) == [["d", "c", "b", "a"]]


@given(st.permutations(["latency_p50", "-acer", "file_bytes", "-net"]), st.integers(0, 4))
def test_sorting_loses_and_repeats_nothing(keys: list[str], count: int) -> None:
    view = view_of(HAND_MADE, Query(sort=tuple(keys[:count])))
    assert sorted(row.label for row in view.rows) == sorted(row.label for row in HAND_MADE.rows)


def test_groups_are_named_by_what_their_rows_share() -> None:
    view = seen(hand_made(), group=("runtime", "precision"))
    assert [group.title for group in view.groups] == [
        "Runtime: onnxruntime · Precision: fp32",
        "Runtime: onnxruntime · Precision: int8",
        "Runtime: litert · Precision: fp32",
    ]


def test_several_devices_are_never_one_group() -> None:
    view = seen([record("a"), record("b", machine=OTHER)], group=("runtime",))
    assert [group.title for group in view.groups] == [
        "Device: bench-1 · Runtime: onnxruntime",
        "Device: pixel7 · Runtime: onnxruntime",
    ]
    assert [group.title for group in seen([record("a")]).groups] == [""]


def test_devices_of_one_name_are_told_apart_by_their_fingerprints() -> None:
    more = MACHINE.model_copy(update={"memory_bytes": 16 * 2**30})
    titles = [group.title for group in seen([record("a"), record("b", machine=more)]).groups]
    assert len(titles) == len(set(titles)) == 2
    assert "16.0 GiB" in titles[0] + titles[1]


def test_conditions_leave_only_the_rows_that_meet_them() -> None:
    assert nets(seen(demo(), where=("format=onnx", "precision=int8", "net=resnet18_map"))) == [
        ["resnet18_map"]
    ]
    few = seen(hand_made(), where=("acer<=3 %",))
    assert {row.net for row in few.rows} == {"student", "teacher"}
    assert all(row.accuracy is not None and row.accuracy.acer <= 0.03 for row in few.rows)


def test_the_reference_serves_though_it_is_left_out() -> None:
    view = seen(hand_made(), "speed_up", where=("precision=int8",), relative_to="teacher")
    assert [cell.digits for cell in view.groups[0].lines[0].cells] == ["", "4.00"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(columns=("latncy",)), "latency"),
        (Query(sort=("acre",)), "acer"),
        (Query(group=("acer",)), "acer holds numbers"),
        (Query(group=("rntime",)), "Did you mean runtime"),
        (Query(where=("runtime=tvm",)), "There are: litert, onnxruntime"),
        (Query(where=("acer=0.05",)), "acer<=amount"),
        (Query(where=("acer<=0",)), "no record meets"),
        (Query(where=("nonsense",)), "is not a valid requirement"),
    ],
)
def test_what_cannot_be_asked_is_an_error_that_says_what_can(query: Query, said: str) -> None:
    with pytest.raises((UserError, UnknownName), match=said):
        view_of(table_of(hand_made()), query)


# ---- the best ----


def test_the_best_is_the_least_or_the_most_by_the_columns_own_direction() -> None:
    records = [
        fast("a", 2_000_000, accuracy=accuracy({"print": (1, 100)}, 0, 50)),
        fast("b", 1_000_000, accuracy=accuracy({"print": (9, 100)}, 0, 50)),
    ]
    view = seen(records, "latency_p50,acer,auc")
    assert (best(view, "latency_p50"), best(view, "acer"), best(view, "auc")) == (["b"], ["a"], ["a"])


def test_rows_whose_digits_are_equal_are_best_together_and_where_all_are_none_is() -> None:
    # Medians of 1.490000 and 1.490400 ms are both shown as 1.49.
    records = [fast("a", 1_000_000), fast("b", 1_000_400), fast("c", 3_000_000)]
    assert best(seen(records, "latency_p50"), "latency_p50") == ["a", "b"]
    assert best(seen(records[:2], "latency_p50"), "latency_p50") == []
    assert best(seen(records[:1], "latency_p50"), "latency_p50") == []


def test_a_row_in_doubt_about_the_quantity_is_never_best_but_may_be_in_others() -> None:
    doubtful = fast("a", 1_000_000, doubts=(doubt(),), weight=weight(1_000_000, 500_000, 40_000_000))
    view = seen([doubtful, fast("b", 2_000_000), fast("c", 3_000_000)], "latency_p50,file_bytes")
    assert best(view, "latency_p50") == ["b"]
    assert best(view, "file_bytes") == ["a"]
    about_all = Doubt(code="other_load", quantity="run", message="busy")
    view = seen([fast("a", 1_000_000, doubts=(about_all,)), fast("b", 2_000_000)], "latency_p50")
    assert best(view, "latency_p50") == ["b"]


def test_each_group_has_its_best_and_no_device_beats_another() -> None:
    records = [
        fast("a", 1_000_000),
        fast("b", 2_000_000),
        fast("c", 3_000_000, machine=OTHER),
        fast("d", 4_000_000, machine=OTHER),
    ]
    assert best(seen(records, "latency_p50"), "latency_p50") == ["a", "c"]


def test_accuracies_on_other_data_have_no_best_and_a_warning() -> None:
    there = accuracy({"print": (9, 100)}, 1, 50, dataset_digest="fedcba")
    view = seen([record("a"), record("b", accuracy=there)], "acer")
    assert best(view, "acer") == []
    assert any("cannot be compared" in text for text in view.remarks)


def test_energies_of_other_meters_have_no_best() -> None:
    records = [record("a", power=power(20_000_000, 1000)), record("b", power=power(30_000_000, 1000))]
    assert best(seen(records, "energy"), "energy") == ["a"]
    other = record("b", power=power(30_000_000, 1000, meter="nvml"))
    assert best(seen([records[0], other], "energy"), "energy") == []


# ---- footnotes and remarks ----


def test_one_reason_is_one_footnote_however_many_rows_it_is_true_of() -> None:
    view = seen([record("a", accuracy=NOT_SCORED), record("b", accuracy=NOT_SCORED)], "acer,energy")
    assert view.notes == ("no data set was given", "this machine has no energy counter that may be read")
    assert [[cell.note for cell in line.cells] for line in view.groups[0].lines] == [[0, 1, 2], [0, 1, 2]]


def test_a_number_that_nobody_gave_a_reason_for_is_not_in_the_record() -> None:
    assert seen([record()], "bpcer10").notes == ("the record does not hold it",)


def test_a_kind_of_doubt_is_one_sentence_that_names_few_rows_and_counts_the_others() -> None:
    records = [record(f"n{number}", doubts=(doubt(message=f"{number} % wide"),)) for number in range(9)]
    [said] = seen([*records, record("sound")]).doubts
    assert said == (
        "wide_interval (speed), n0.fp32.onnx, n1.fp32.onnx, n2.fp32.onnx, n3.fp32.onnx, n4.fp32.onnx "
        "and 4 more: "
        "for one, n0.fp32.onnx: 0 % wide. What helps: Measure longer"
    )
    assert seen(records).doubts[0].startswith("wide_interval (speed), all rows: ")


def test_simulated_data_are_said_first_and_only_where_they_are() -> None:
    assert seen([record()]).remarks[0] == SIMULATED
    real = record("real", accuracy=accuracy({"print": (0, 10)}, 0, 10, simulated=False))
    assert seen([record("net"), real]).remarks[0] == f"{SIMULATED} Rows: net.fp32.onnx."
    assert SIMULATED not in " ".join(seen([real]).remarks)


def test_the_caption_names_runs_devices_and_days() -> None:
    records = [record("a"), record("b", run="second", machine=OTHER)]
    assert seen(records).caption == "2 records of runs demo, second on bench-1, pixel7, 2026-11-21."


def test_the_same_record_of_two_runs_is_two_rows() -> None:
    view = seen([record(), record(run="again")], "latency_p50")
    assert {row.label for row in view.rows} == {"net.fp32.onnx (again)", "net.fp32.onnx (demo)"}


def test_every_column_can_be_asked_for_of_any_row() -> None:
    empty = record("nothing", speed=NOT_SCORED, weight=NOT_SCORED, accuracy=NOT_SCORED, parity=NOT_SCORED)
    for records in (hand_made(), [empty]):
        view = seen(records, ",".join(COLUMNS))
        for line in view.groups[0].lines:
            for cell, one in zip(line.cells, view.columns, strict=True):
                assert cell.digits or cell.text, one.name
                assert (cell.note > 0) == (cell.text == "n/a"), one.name
