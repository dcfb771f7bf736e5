from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import NOT_SCORED, accuracy, power, proportion, record, speed, weight

from swapbench.errors import UnknownName, UserError
from swapbench.records import Absent
from swapbench.report.rows.row import Row
from swapbench.report.rows.summary import summary
from swapbench.report.tables import fields
from swapbench.report.tables.columns import ALIASES, COLUMNS, column, columns, constraint, numeric_column
from swapbench.report.tables.table import table_of


def row(**more: object) -> Row:
    """Alone in its table: 1.00, 1.01 .. 1.99 ms, median 1.49; it is its own reference."""
    return table_of([record(**more)]).rows[0]  # type: ignore[arg-type]


def test_names_and_aliases_mean_one_column_each() -> None:
    assert all(name == one.name for name, one in COLUMNS.items())
    assert set(ALIASES.values()) <= set(COLUMNS)
    assert not set(ALIASES) & set(COLUMNS)
    assert column("p90") is COLUMNS["latency_p90"]


def test_the_same_column_named_twice_stands_once() -> None:
    assert [one.name for one in columns("p50, acer,latency_p50,")] == ["latency_p50", "acer"]


def test_a_name_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="latency_p90"):
        column("latency_p9")
    with pytest.raises(UserError, match="no column"):
        columns(" , ")


def test_a_species_is_a_column_where_a_row_has_it() -> None:
    one = row(accuracy=accuracy({"print": (2, 100)}, 1, 50))
    assert column("apcer.print", [one]).text(one) == "2.00 [1.00, 3.00]"
    with pytest.raises(UnknownName, match=r"apcer\.print"):
        column("apcer.prints", [one])


def test_text_is_no_axis() -> None:
    with pytest.raises(UserError, match="column runtime holds text"):
        numeric_column("runtime")


def test_every_column_says_the_same_value_as_the_whole_csv() -> None:
    one = row(power=power(20_000_000, 1000))
    flat = {name: fields.flat(name)(one) for name in fields.names(("print", "replay"))}
    for each in (*COLUMNS.values(), column("apcer.print", [one])):
        assert set(each.fields) <= set(flat), each.name
        if each.name not in {"model", "hter", "energy", "reference", "worst_species"}:
            assert each.value(one) == flat[each.fields[0]], each.name
    assert COLUMNS["energy"].value(one) == flat["energy_above_idle_uj"] == pytest.approx(10_000)


def test_cells_hold_digits_and_what_stands_beside_them() -> None:
    one = row(power=power(20_000_000, 1000))
    assert COLUMNS["latency_p90"].text(one) == "1.88"
    assert COLUMNS["latency_p90"].heading == "p90 latency, ms"
    assert COLUMNS["file_bytes"].text(one) == "2.00"
    assert COLUMNS["params"].text(one) == "0.500"
    assert COLUMNS["acer"].digits(one) == "3.00"
    assert COLUMNS["acer"].cell(one).aside == "[1.00, 5.00]"
    # 10 mJ; each of the two readings of a window may be 61 uJ off and one update of 1 ms late
    assert COLUMNS["energy"].text(one).startswith("10.0 ± 0.00")
    assert COLUMNS["speed_up"].text(one) == "1.00×"
    assert COLUMNS["threads"].text(one) == "1"
    assert COLUMNS["recipe"].text(one) == "–"


def test_an_energy_that_the_meter_cannot_resolve_is_a_bound_and_no_number() -> None:
    one = row(power=power(10_000_100, 1000))
    energy = COLUMNS["energy"]
    assert energy.number(one) is None
    assert energy.digits(one) == energy.cell(one).aside == ""
    assert energy.text(one) == "< 0.00222"


def test_an_absent_number_says_its_own_reason_and_no_other_one() -> None:
    one = row(speed=speed(1_000_000, 10_000, runs=100), weight=weight(1, 1, 1, peak_bytes=None))
    assert COLUMNS["latency_p99"].absent(one) == ("p99 needs 5 processes of 100 runs each")
    assert COLUMNS["latency_p95"].absent(one) == ("p95 needs 5 processes of 20 runs each")
    assert COLUMNS["peak_memory"].absent(one) == "the memory pass failed"
    assert COLUMNS["file_bytes"].absent(one) == ""
    assert COLUMNS["acer"].absent(row(accuracy=NOT_SCORED)) == "no data set was given"


def test_an_operating_point_says_why_it_is_absent() -> None:
    points = {"bpcer10": proportion(5, 50, 0.05, 0.2), "bpcer100": Absent(absent="too few attacks")}
    one = row(accuracy=accuracy({"print": (1, 10)}, 1, 50, bpcer_at_apcer=points))
    assert COLUMNS["bpcer10"].absent(one) == ""
    assert COLUMNS["bpcer100"].absent(one) == "bpcer100: too few attacks"
    assert COLUMNS["bpcer20"].absent(one) == ""  # nobody said why


def test_a_ratio_without_a_reference_says_which_one_is_missing() -> None:
    rows = table_of([record("big", weight=weight(9, 9, 10**9)), record("small", form="tflite")]).rows
    small = next(one for one in rows if one.net == "small")
    assert COLUMNS["speed_up"].absent(small).startswith("no fp32 or fp16 tflite record of big")


def test_a_number_that_is_not_finite_has_no_digits() -> None:
    one = row(accuracy=accuracy({"print": (0, 10)}, 0, 10, auc=float("nan")))
    assert COLUMNS["auc"].digits(one) == ""
    assert COLUMNS["auc"].text(one) == "–"


# ---- constraints ----


@pytest.mark.parametrize(
    ("text", "name", "at_most", "limit"),
    [
        ("acer<=0.05", "acer", True, 0.05),
        ("acer <= 5 %", "acer", True, 0.05),
        ("p90<=30ms", "latency_p90", True, 30e6),
        ("speed_up>=7", "speed_up", False, 7.0),
        ("speed_up >= 7×", "speed_up", False, 7.0),
        ("size<=1.5MB", "file_bytes", True, 1.5e6),
        ("params<=500k", "params", True, 5e5),
        ("energy<=10 mJ", "energy", True, 10_000.0),
        ("accuracy_kept>=101 %", "accuracy_kept", False, 1.01),
    ],
)
def test_a_requirement_is_read_in_the_unit_of_the_row(
    text: str, name: str, at_most: bool, limit: float
) -> None:
    found = constraint(text)
    assert (found.column.name, found.at_most, found.limit) == (name, at_most, pytest.approx(limit))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acer", "is not a valid requirement"),
        ("acer<0.05", "is not a valid requirement"),
        ("acer=0.05", "is not a valid requirement"),
        ("", "is not a valid requirement"),
        ("p90<=30", "has no unit"),
        ("p90<=30 mJ", "there is no unit 'mJ'"),
        ("acer<=5", "write|5 %"),
        ("acer<=-1", "not an amount"),
        ("runtime<=1", "holds text"),
        ("racer<=1", "Did you mean"),
    ],
)
def test_what_is_no_requirement_is_an_error_that_says_how_to_write_one(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        constraint(text)


def test_a_requirement_is_met_or_not_or_cannot_be_told() -> None:
    fast = constraint("p50<=1.44ms")
    assert fast.met(summary(record())) is True
    assert fast.met(summary(record(speed=speed(1_000_001, 10_000)))) is False
    assert fast.met(summary(record(speed=NOT_SCORED))) is None


@given(st.text(max_size=30))
def test_any_text_is_a_requirement_or_a_users_mistake(text: str) -> None:
    with contextlib.suppress(UserError):
        assert constraint(text).limit >= 0
