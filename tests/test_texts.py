"""What is shown is text: nothing out of a foreign name steers a terminal, a document or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import made_records as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.cli import terminal
from swapbench.report.figures.drawing import table_csv
from swapbench.report.page.detail import detail_of
from swapbench.report.page.document import page_data_of, page_html
from swapbench.report.tables import html, markdown
from swapbench.report.tables.skins import text_of
from swapbench.report.tables.table import Table, as_csv, table_of
from swapbench.report.tables.view import Query
from swapbench.texts import inert_cell, quoted_cell, spaced, unquoted_cell, visible

ESCAPES = "net\x1b[2J\x9b1m\u202egnp\u2066\nerror: forged\r\x07\u2028"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 網 👩‍🔬 ½", "plain é 網 👩‍🔬 ½"),
        ("\x1b[31m", "\\u001b[31m"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b2J", "\\u009b2J"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("tag\U000e0041", "tag\\udb40\\udc41"),
        ("\udcff", "\\udcff"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_stay_lines_where_they_are_ours() -> None:
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\u001b"


@given(st.text())
def test_json_stays_the_same_value(text: str) -> None:
    assert json.loads(visible(json.dumps([text], ensure_ascii=False), keep="\n")) == [text]


@given(st.text())
def test_nothing_that_steers_is_left(text: str) -> None:
    joined = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
    for safe in (visible(text), spaced(text)):
        assert not [c for c in safe if c in "\x1b\n\r\x9b\u202a\u202e\u2066" or (c < " " and c not in joined)]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", "＝1"])
def test_a_spreadsheet_computes_no_text(text: str) -> None:
    assert inert_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "net", "1=1", "'net", "a-b"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert inert_cell(text) == text


@given(st.text(alphabet="'=+-@\t\n\ra1"))
def test_a_quoted_cell_is_no_formula_and_comes_back(text: str) -> None:
    assert quoted_cell(text)[:1] not in set("=+-@\t\n\r")
    assert unquoted_cell(quoted_cell(text)) == text


def test_a_cell_steers_no_terminal() -> None:
    assert inert_cell("a\x1b[2J\nb\r=1") == "a\\u001b[2J\nb\\r=1"


def table(name: str, *, raw: bool = False) -> Table:
    record = made.record(name, "fp32", "onnx")
    drawn = table_of([record.replace(artifact=name, named=name)])
    return Table(drawn.rows, drawn.reference, drawn.reference_was_asked, raw)


def test_csv_quotes_formulas_and_leaves_numbers_and_can_be_had_raw() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(table("=1+1")))))
    assert rows[0]["net"] == "'=1+1"
    assert rows[0]["label"].startswith("'=1+1")
    assert all(not cell.startswith("'") for name, cell in rows[0].items() if "1+1" not in cell), rows[0]
    raw = list(csv.DictReader(io.StringIO(as_csv(table("=1+1", raw=True)))))
    assert raw[0]["net"] == "=1+1"
    assert text_of(table("=1+1", raw=True), Query(columns=("file",)), "csv").count("'") == 0
    assert table_csv(["label", "x"], [["=1+1", -2.5], ["net", None]]) == "label,x\n'=1+1,-2.5\nnet,\n"


def test_markdown_html_and_the_page_show_no_marks() -> None:
    drawn = table(ESCAPES)
    record = made.record(ESCAPES, "fp32", "onnx").replace(artifact=ESCAPES, named=ESCAPES)
    texts = [text_of(drawn, Query(), "markdown"), text_of(drawn, Query(), "html")]
    page = page_html(drawn, [detail_of(record)])
    texts += [page, json.dumps(page_data_of(page), ensure_ascii=False)]
    for text in texts:
        assert not {"\x1b", "\x9b", "\u202e", "\u2066", "\u2028", "\x07"} & set(text)
    assert "\x1b" not in markdown.escaped(ESCAPES)
    assert "\u202e" not in html.as_html(view_of_table(drawn))


def view_of_table(drawn: Table) -> Any:
    from swapbench.report.tables.view import view_of

    return view_of(drawn)


def test_the_terminal_gets_text(capsys: pytest.CaptureFixture[str]) -> None:
    record = made.record(ESCAPES, "fp32", "onnx").replace(artifact=ESCAPES, named=ESCAPES)
    terminal.print_records([record], None, every_doubt=True)
    terminal.print_rows([{"name": ESCAPES}], ["name"], "")
    terminal.print_result([{"name": ESCAPES}], ["name"], "", json_out=True)
    terminal.say(f"failed: {ESCAPES}")
    said = capsys.readouterr()
    for text in said:
        assert not {"\x1b", "\x9b", "\u202e", "\u2066", "\u2028", "\x07", "\r"} & set(text)
    assert said.err.count("\n") == 1
    assert not [line for line in said.out.splitlines() if line.lstrip().startswith("error: forged")]
