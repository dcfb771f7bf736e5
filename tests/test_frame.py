from __future__ import annotations

import csv
import io

import pytest
from made_records import demo
from test_table import hand_made

from swapbench.errors import UnknownName
from swapbench.report.tables.frame import flat_rows, to_frame
from swapbench.report.tables.table import as_csv, table_of


def test_flat_rows_hold_the_names_and_values_of_the_csv() -> None:
    table = table_of(hand_made())
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    flat = flat_rows(table)
    assert [list(row) for row in flat] == [list(row) for row in rows]
    assert [row["latency_p50_ns"] for row in flat] == [float(row["latency_p50_ns"]) for row in rows]
    assert [row["missing"] for row in flat] == [row["missing"] for row in rows]


def test_named_columns_bring_their_intervals_and_what_must_not_be_lost() -> None:
    [row, *_] = flat_rows(table_of(demo()), "latency_p50,acer")
    assert list(row) == [
        "label",
        "latency_p50_ns",
        "latency_p50_low_ns",
        "latency_p50_high_ns",
        "acer",
        "acer_low",
        "acer_high",
        "data_simulated",
        "valid",
        "doubts",
        "missing",
    ]
    with pytest.raises(UnknownName, match="latency_p50"):
        flat_rows(table_of(demo()), "latency_p5")


def test_a_frame_has_a_line_a_record_and_numbers_as_numbers() -> None:
    pytest.importorskip("pandas")
    table = table_of(hand_made())
    frame = to_frame(table, ("latency_p50", "energy"))
    assert list(frame["label"]) == [row.label for row in table.rows]
    assert frame["latency_p50_ns"].dtype == float
    assert frame["energy_above_idle_uj"].isna().sum() == 1
    assert "no energy counter" in frame["missing"][2]
