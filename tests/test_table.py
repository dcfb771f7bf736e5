from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import (
    MACHINE,
    NOT_SCORED,
    accuracy,
    demo,
    doubt,
    power,
    record,
    speed,
    weight,
)

from swapbench import files, store
from swapbench.errors import BadRecord, UnknownName
from swapbench.records import PeakMemory, Record, Variant, Weight
from swapbench.report.rows.comparisons import comparisons_of
from swapbench.report.rows.row import worst_species
from swapbench.report.tables.markdown import escaped, grid
from swapbench.report.tables.sections import as_markdown, markdown_text
from swapbench.report.tables.table import SIMULATED, as_csv, json_text, table_of
from swapbench.report.tables.terminal import terminal_table

GOLDEN = Path(__file__).parent / "golden"
# The single way to change the golden tables: SWAPBENCH_UPDATE_GOLDEN=1 pytest tests/test_table.py
UPDATE = os.environ.get("SWAPBENCH_UPDATE_GOLDEN") == "1"


def hand_made() -> list[Record]:
    """A teacher and three students: whole, doubtful without memory, without accuracy and with few runs."""
    return [
        record(
            "teacher",
            speed=speed(2_000_000, 20_000),
            weight=weight(8_000_000, 2_000_000, 400_000_000, 90_000_000),
            power=power(40_000_000, 1000),
        ),
        record(
            "student",
            recipe="kd",
            speed=speed(1_000_000, 10_000, runs=700),
            accuracy=accuracy({"print": (5, 100), "replay": (1, 100)}, 1, 50),
            power=power(20_000_000, 1000),
        ),
        record(
            "student",
            "int8",
            recipe="kd",
            speed=speed(500_000, 5_000),
            weight=weight(520_000, 500_000, 40_000_000, peak_bytes=None),
            accuracy=accuracy({"print": (0, 100), "replay": (0, 100)}, 3, 50),
            power=power(10_000_100, 1000),
            doubts=(doubt(), doubt("few_blocks", "only 4 workers", "")),
        ),
        record(
            "student",
            "fp32",
            "tflite",
            recipe="kd",
            speed=speed(1_500_000, 15_000, runs=40),
            accuracy=NOT_SCORED,
        ),
    ]


def with_net(name: str) -> Record:
    return record(
        name, accuracy=accuracy({name: (1, 10), "print": (0, 10)}, 0, 10), speed=speed(1000, 10, runs=20)
    )


def cells_of(line: str) -> list[str]:
    """The cells of a Markdown line as a reader of tables splits them: at bars that are not escaped."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# ---- golden files ----


@pytest.mark.parametrize("skin", ["md", "csv", "json"])
def test_the_table_is_exactly_the_golden_one(skin: str) -> None:
    made = {
        "md": lambda: markdown_text(hand_made()),
        "csv": lambda: as_csv(table_of(hand_made())),
        "json": lambda: json_text(hand_made()) + "\n",
    }[skin]()
    path = GOLDEN / f"table.{skin}"
    if UPDATE:
        files.write_atomically(path, made)
    assert made == path.read_text(encoding="utf-8")


def test_a_record_of_schema_version_1_loads_for_ever() -> None:
    # This file is never written again: it stands for the records that people have.
    loaded = store.load(GOLDEN / "record_v1.json")
    assert loaded.schema_version == 1
    assert loaded.variant == Variant(net="student", recipe="kd", precision="fp32", format="onnx")
    assert isinstance(loaded.weight, Weight)
    assert isinstance(loaded.weight.peak_memory, PeakMemory)
    assert loaded.weight.macs == 40_000_000
    row = table_of([loaded]).rows[0]
    assert row.speed is not None
    assert row.accuracy is not None
    assert (row.speed.runs, row.speed.p05_ns, row.accuracy.apcer, worst_species(row.accuracy)) == (
        700,
        1_280_000,
        0.05,
        ("print",),
    )
    assert row.energy[0].above_idle_uj == pytest.approx(10_000)


# ---- Markdown ----


def test_simulated_data_are_announced_above_everything_else() -> None:
    text = markdown_text(demo())
    assert text.index(f"> **{SIMULATED}**") < text.index("## ")
    assert SIMULATED not in markdown_text(demo(simulated=False))


def test_the_banner_names_the_rows_when_only_some_are_simulated() -> None:
    real = record("real", accuracy=accuracy({"print": (0, 10)}, 0, 10, simulated=False))
    assert f"> **{SIMULATED}** Rows: net.fp32.onnx." in markdown_text([real, record("net")])


def test_the_same_doubt_of_several_rows_is_one_line() -> None:
    text = markdown_text([record("a", doubts=(doubt(),)), record("b", doubts=(doubt(),)), record("c")])
    assert (
        "- **wide_interval** (speed), a.fp32.onnx, b.fp32.onnx: the interval is wide. What helps: "
        "Measure longer" in text
    )
    assert text.count("wide_interval") == 1
    assert "2 of 3 records must be read with care" in text


def test_a_doubt_whose_message_differs_names_each_row_below_one_remedy() -> None:
    text = markdown_text(
        [record("a", doubts=(doubt(message="4 % wide"),)), record("b", doubts=(doubt(message="6 % wide"),))]
    )
    assert (
        "- **wide_interval** (speed): What helps: Measure longer\n  - a.fp32.onnx: 4 % wide.\n  - "
        "b.fp32.onnx: 6 % wide." in text
    )
    assert text.count("Measure longer\n") == 1


def test_doubtful_rows_carry_a_dagger_and_others_do_not() -> None:
    lines = markdown_text([record("a", doubts=(doubt(),)), record("b")]).splitlines()
    assert any(line.startswith("| a † ") for line in lines)
    assert any(line.startswith("| b ") for line in lines)
    assert not any("b †" in line or "b.fp32.onnx †" in line for line in lines)


def test_the_reason_for_a_missing_number_stands_once_for_all_rows() -> None:
    text = markdown_text(demo())
    assert text.count("no energy counter that may be read") == 1
    assert "- power, all rows: this machine has no energy counter" in text


def test_a_refused_percentile_is_a_dash_with_the_runs_it_needs() -> None:
    text = markdown_text([record(speed=speed(1_000_000, 10_000, runs=100))])
    assert "p99 needs 5 processes of 100 runs each" in text
    header, _, line = text[text.index("\n## Speed\n") :].splitlines()[3:6]
    assert dict(zip(cells_of(header), cells_of(line), strict=True))["p99 latency, ms"] == "–"


def test_cpu_time_is_labelled_as_no_energy() -> None:
    assert "CPU time (stand-in, not energy)" in markdown_text(demo())


def test_energy_that_the_meter_cannot_resolve_is_a_bound() -> None:
    text = markdown_text([record(power=power(10_000_100, 1000))])
    assert re.search(r"\| +< 0\.00222 ", text.replace("&lt;", "<"))


def test_machines_are_never_mixed_in_one_grid() -> None:
    other = MACHINE.model_copy(update={"name": "pixel7"})
    text = markdown_text([record("a"), record("b", machine=other)])
    assert "The records come from 2 machines." in text
    main = text[text.index("## Speed, weight") : text.index("Latency of one inference")]
    assert main.count("| Model") == 2
    assert main.index("**bench-1") < main.index("| a ") < main.index("**pixel7") < main.index("| b ")


def test_rows_scored_on_different_data_are_warned_about() -> None:
    there = accuracy({"print": (2, 100)}, 1, 50, dataset_digest="fedcba")
    assert "cannot be compared" in markdown_text([record("a"), record("b", accuracy=there)])
    assert "cannot be compared" not in markdown_text([record("a"), record("b")])


def test_every_line_of_a_grid_is_equally_wide_on_a_terminal() -> None:
    lines = grid(["Model", "x"], [["網路", "1"], ["plain", "22.5"], ["e\u0301", "3"]]).splitlines()
    assert lines[2] == "| 網路  |    1 |"
    assert lines[3] == "| plain | 22.5 |"
    assert lines[4] == "| e\u0301     |    3 |"
    assert lines[1] == "| ----- | ---: |"


@pytest.mark.parametrize(
    "name",
    ["a|b", "a`b`", "<b>&amp;", 'q"uote, comma', "line\nbreak", "[link](x)", "*bold* _it_", "back\\|slash"],
)
def test_special_names_stay_in_their_cell_and_are_shown_as_they_are(name: str) -> None:
    from markdown_it import MarkdownIt

    rendered = MarkdownIt("commonmark").enable("table").render(markdown_text([with_net(name)]))
    shown = name.replace("\n", " ")
    as_html = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert f"<td>{as_html}</td>" in rendered  # the model column
    assert f'<th style="text-align:right">{as_html}, %</th>' in rendered  # the species column
    assert f"<td>{as_html}.fp32.onnx</td>" in rendered
    for tag in ("<em>", "<a ", "<b>", "<td><code>"):
        assert tag not in rendered


@settings(max_examples=200, deadline=None)
@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=20
    )
)
def test_escaped_text_in_a_cell_never_breaks_the_table(text: str) -> None:
    from markdown_it import MarkdownIt

    rendered = MarkdownIt("commonmark").enable("table").render(grid(["Model", "y"], [[text, "1"]]))
    assert rendered.count("<td") == 2
    body = rendered[rendered.index("<td>") + 4 : rendered.index("</td>")]
    expected = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert body.split() == expected.split()


def test_file_names_stay_legible_where_nothing_must_be_escaped() -> None:
    assert escaped("minifasnet_v2.kd.int8.tflite [1.0, 2.0]") == "minifasnet_v2.kd.int8.tflite [1.0, 2.0]"


# ---- CSV and JSON ----


def read_csv(records: list[Record]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(table_of(records)), newline="")))


def test_csv_names_units_and_rounds_nothing() -> None:
    row = read_csv([record("a", speed=speed(1_000_001, 7)), record("b")])[0]
    assert float(row["latency_p50_ns"]) == 1_000_001 + 44 * 7
    assert {"file_bytes", "peak_memory_bytes", "energy_above_idle_uj", "load_ns", "cpu_time_ns"} <= set(row)
    assert row["apcer.print"] == "0.02"
    assert float(row["acer"]) == (0.04 + 0.02) / 2


def test_csv_says_simulated_doubtful_and_missing_in_columns_of_their_own() -> None:
    rows = read_csv(hand_made())
    assert [row["data_simulated"] for row in rows] == ["true", "true", "", "true"]
    assert [row["valid"] for row in rows] == ["true", "false", "true", "true"]
    assert rows[1]["doubts"] == "wide_interval;few_blocks"
    assert "power: this machine has no energy counter" in rows[2]["missing"]
    assert rows[2]["acer"] == rows[2]["energy_above_idle_uj"] == ""


@pytest.mark.parametrize("name", ["a|b", 'say "x", y', "line\nbreak", "semi;colon", "é網"])
def test_csv_gives_special_names_back(name: str) -> None:
    [row] = read_csv([with_net(name)])
    assert row["net"] == name
    assert row[f"apcer.{name}"] == "0.1"


def test_csv_and_json_agree_with_pandas() -> None:
    import pandas as pd

    frame = pd.read_csv(io.StringIO(as_csv(table_of(hand_made()))))
    rows = json.loads(json_text(hand_made()))["rows"]
    assert list(frame["label"]) == [row["label"] for row in rows]
    for column in ("latency_p50_ns", "file_bytes", "acer", "bpcer_high", "latency_p99_ns"):
        assert [None if pd.isna(x) else x for x in frame[column]] == [row[column] for row in rows]
    assert list(frame["speed_up"].dropna()) == [
        row["relative"]["speed_up"] for row in rows if row["relative"]
    ]


def test_json_is_complete_and_says_what_it_is() -> None:
    whole = json.loads(json_text(hand_made()))
    assert (whole["kind"], whole["version"], whole["reference"], whole["data_simulated"]) == (
        "swapbench.table",
        1,
        "teacher",
        True,
    )
    row = next(row for row in whole["rows"] if row["precision"] == "int8")
    assert row["doubts"][0] == {
        "code": "wide_interval",
        "quantity": "speed",
        "message": "the interval is wide",
        "remedy": "Measure longer",
    }
    assert row["apcer_by_species"][0] == {
        "species": "print",
        "apcer": 0.0,
        "low": 0.0,
        "high": 0.01,
        "errors": 0,
        "trials": 100,
    }
    assert row["energy"][0]["meter"] == "rapl"
    assert row["peak_memory_bytes"] is None
    assert {one["quantity"] for one in row["missing"]} == {"tail", "memory"}


def test_a_number_that_is_not_finite_is_empty_in_csv_and_null_in_json() -> None:
    odd = record(accuracy=accuracy({"print": (0, 10)}, 0, 10, auc=float("nan")))
    assert read_csv([odd])[0]["auc"] == ""
    assert json.loads(json_text([odd]))["rows"][0]["auc"] is None
    assert "nan" not in markdown_text([odd])


# ---- what cannot be ----


def test_no_records_is_an_error_with_what_to_do() -> None:
    with pytest.raises(BadRecord, match="swapbench run"):
        table_of([])


def test_an_unknown_reference_is_an_error() -> None:
    with pytest.raises(UnknownName):
        markdown_text(demo(), "nothing")


# ---- terminal ----


@pytest.mark.parametrize("width", [100, 120])
def test_the_terminal_table_fits_and_loses_no_name(width: int) -> None:
    from rich.console import Console

    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(terminal_table(demo()))
    lines = capture.get().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert sum("minifasnet_v2.int8.tflite †" in line for line in lines) == 1
    assert any(SIMULATED in line for line in lines)
    assert any("10.4×" in line for line in lines)


def test_the_terminal_shows_names_that_look_like_markup_as_they_are() -> None:
    from rich.console import Console

    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(terminal_table([with_net("[red]x[/red]")]))
    assert "[red]x[/red]" in capture.get()


def test_the_terminal_shows_energy_only_when_something_was_metered() -> None:
    headings = [str(column.header) for column in terminal_table(hand_made()).table(140).columns]
    assert "Energy\nabove\nidle\nmJ" in headings
    assert not any("Energy" in str(column.header) for column in terminal_table(demo()).table(140).columns)


def test_the_example_report_is_what_its_records_say() -> None:
    """Kept in the repository to be looked at; `swapbench report reports/example` makes it again."""
    folder = Path(__file__).parents[1] / "reports" / "example"
    drawn = table_of(store.load_run(folder))
    records = store.load_run(folder)
    folder_of = {(record.run, record.id): folder for record in records}
    comparisons = comparisons_of(drawn.rows, records, folder_of)
    assert len(comparisons.parities) == 16  # four files of each of four networks beside its two in fp32
    assert len(comparisons.runtimes or ()) == 12  # four networks in three precisions
    assert as_markdown(drawn, comparisons) == (folder / "table.md").read_text(encoding="utf-8")
    assert as_csv(drawn) == (folder / "table.csv").read_text(encoding="utf-8")
