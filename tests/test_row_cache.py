"""Rows from run folders: kept between calls, never stale, whatever lies in the folder."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_records import NOT_SCORED, accuracy, doubt, power, record, speed
from test_table import hand_made

from swapbench import store
from swapbench.errors import BadRecord
from swapbench.report.rows import row_cache as reading
from swapbench.report.rows import summary
from swapbench.report.rows.row_cache import rows_of_run
from swapbench.report.tables.table import table_of, table_of_rows

if TYPE_CHECKING:
    from swapbench.records import Record
    from swapbench.report.rows.row import Row

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for one in hand_made():
        store.save(one, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def summed_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the records that were summed up."""
    found: list[str] = []
    real = summary.summary

    def counted(one: Record) -> Row:
        found.append(one.id)
        return real(one)

    monkeypatch.setattr(summary, "summary", counted)
    return found


def kept_file(folder: Path) -> Path:
    [path] = folder.glob("*.json")
    return path


def test_kept_rows_are_the_rows_themselves(run: Path, tmp_path: Path, summed_up: list[str]) -> None:
    fresh = rows_of_run(run, tmp_path / "kept")
    assert len(summed_up) == len(fresh) == 4
    assert rows_of_run(run, tmp_path / "kept") == fresh == tuple(map(summary.summary, store.load_run(run)))
    assert len(summed_up) == 4 + 4  # the second reading summed up nothing, the comparison all
    assert table_of_rows(fresh) == table_of(store.load_run(run))


def test_nothing_is_kept_where_no_folder_is_given(run: Path, tmp_path: Path) -> None:
    rows_of_run(run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_record_that_changed_or_came_is_summed_up_and_one_that_went_is_gone(
    run: Path, tmp_path: Path, summed_up: list[str]
) -> None:
    rows_of_run(run, tmp_path / "kept")
    first, second, *_ = sorted((run / "records").glob("*.json"))
    old = first.stat()
    first.write_text(first.read_text().replace('"run": "demo"', '"run": "dumb"'))
    os.utime(first, ns=(old.st_atime_ns, old.st_mtime_ns))  # as long as before, and as old
    second.unlink()
    store.save(record("new"), run)
    del summed_up[:]
    rows = rows_of_run(run, tmp_path / "kept")
    assert len(summed_up) == 2
    assert [row.run for row in rows if row.record_id == first.stem] == ["dumb"]
    assert {row.record_id for row in rows} == {path.stem for path in (run / "records").glob("*.json")}


def test_a_changed_rule_meets_no_old_number(
    run: Path, tmp_path: Path, summed_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_of_run(run, tmp_path / "kept")
    monkeypatch.setattr(reading, "_code_digest", lambda: "of other code")
    del summed_up[:]
    rows_of_run(run, tmp_path / "kept")
    assert len(summed_up) == 4


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"code": 1}', "null"])
def test_damage_in_what_was_kept_costs_time_and_nothing_else(
    damage: str, run: Path, tmp_path: Path, summed_up: list[str]
) -> None:
    rows = rows_of_run(run, tmp_path / "kept")
    kept_file(tmp_path / "kept").write_text(damage)
    assert rows_of_run(run, tmp_path / "kept") == rows
    assert len(summed_up) == 8


def test_a_row_that_misses_a_value_is_not_taken(run: Path, tmp_path: Path) -> None:
    rows = rows_of_run(run, tmp_path / "kept")
    path = kept_file(tmp_path / "kept")
    whole = json.loads(path.read_text())
    del whole["distinct"]["speed"][0]["p50_ns"]
    path.write_text(json.dumps(whole))
    assert rows_of_run(run, tmp_path / "kept") == rows


@pytest.mark.parametrize("place", [-1, 1000])
def test_a_place_outside_the_distinct_values_is_damage(place: int, run: Path, tmp_path: Path) -> None:
    rows = rows_of_run(run, tmp_path / "kept")
    path = kept_file(tmp_path / "kept")
    whole = json.loads(path.read_text())
    whole["places"]["speed"][0] = place
    path.write_text(json.dumps(whole))
    assert rows_of_run(run, tmp_path / "kept") == rows


def test_a_list_of_places_that_is_too_short_is_damage(run: Path, tmp_path: Path) -> None:
    rows = rows_of_run(run, tmp_path / "kept")
    path = kept_file(tmp_path / "kept")
    whole = json.loads(path.read_text())
    del whole["places"]["speed"][-1]
    path.write_text(json.dumps(whole))
    assert rows_of_run(run, tmp_path / "kept") == rows


def test_a_folder_that_cannot_be_written_keeps_nothing_and_is_no_error(run: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file is in the way")
    assert len(rows_of_run(run, tmp_path / "kept")) == 4


def test_numbers_that_are_not_finite_are_kept_as_they_are(tmp_path: Path) -> None:
    odd = record(accuracy=accuracy({"print": (0, 10)}, 0, 10, auc=float("nan")), power=power(1, 1))
    (tmp_path / "run" / "records").mkdir(parents=True)
    text = json.dumps(
        odd.model_dump(mode="json") | {"accuracy": odd.accuracy.model_dump() | {"auc": math.nan}}
    )
    (tmp_path / "run" / "records" / "odd.json").write_text(text)
    for _ in range(2):
        [row] = rows_of_run(tmp_path / "run", tmp_path / "kept")
        assert row.accuracy is not None
        assert math.isnan(row.accuracy.auc)


def test_records_of_every_schema_version_make_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "records"
    folder.mkdir(parents=True)
    versions = sorted(GOLDEN.glob("record_v*.json"))
    for path in versions:
        (folder / path.name).write_bytes(path.read_bytes())
    store.save(record("now", doubts=(doubt(),)), tmp_path / "run")
    assert len(table_of_rows(rows_of_run(tmp_path / "run")).rows) == len(versions) + 1 >= 3


def test_many_new_records_are_summed_up_in_several_processes_with_the_same_result(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = rows_of_run(run)
    monkeypatch.setattr(reading, "_MANY", 8)
    monkeypatch.setattr(reading, "usable_cores", lambda: 2)
    for number in range(8):
        store.save(record("more", minute=number), run)
    rows = rows_of_run(run)
    assert len(rows) == 12
    assert all(row in rows for row in one_by_one)


def test_a_million_samples_in_one_record_are_a_row(tmp_path: Path) -> None:
    store.save(record(speed=speed(1_000_000, 1, runs=1_000_000, workers=10, slices=20)), tmp_path)
    [row] = rows_of_run(tmp_path)
    # 1_000_000 + 0 .. 999_999 ns, dealt to ten: their medians end in 0 to 9, and the lower middle one in 4.
    assert row.speed is not None
    assert (row.speed.runs, row.speed.p50_ns) == (1_000_000, 1_499_994)
    assert row.speed.p99_ns is not None


def test_what_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="holds no records"):
        rows_of_run(tmp_path)


def test_a_damaged_record_is_named(run: Path, tmp_path: Path) -> None:
    (run / "records" / "broken.json").write_text('{"schema_version": 1')
    with pytest.raises(BadRecord, match=r"broken\.json"):
        rows_of_run(run, tmp_path / "kept")


def test_a_record_without_any_quantity_is_a_row(tmp_path: Path) -> None:
    store.save(record(speed=NOT_SCORED, weight=NOT_SCORED, accuracy=NOT_SCORED, parity=NOT_SCORED), tmp_path)
    [row] = rows_of_run(tmp_path)
    assert row.speed is row.weight is row.accuracy is None
