"""The skins of a chosen table: golden files, nothing injected, one set of values in all of them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from latex_checks import assert_no_overfull_box
from made_records import MACHINE, NOT_SCORED, accuracy, doubt, record, speed, weight
from rich.console import Console
from test_table import hand_made

from swapbench import files
from swapbench.errors import UnknownName
from swapbench.report.tables import html, latex, markdown, skins, terminal
from swapbench.report.tables.columns import COLUMNS
from swapbench.report.tables.table import SIMULATED, Table, as_csv, as_json, table_of
from swapbench.report.tables.view import Query, view_of

GOLDEN = Path(__file__).parent / "golden" / "tables"
# The single way to change the golden tables: SWAPBENCH_UPDATE_GOLDEN=1 pytest tests/test_skins.py
UPDATE = os.environ.get("SWAPBENCH_UPDATE_GOLDEN") == "1"

HARD = "a\\b{c}$d%e&f#g_h~i^j|k`l<m>\"n'o*p[q]"
"""Every character that means something in LaTeX, HTML or Markdown."""
ASKED = Query(("latency_p50", "latency_p99", "params", "acer", "energy"), ("-acer",), ("runtime",))


def asked() -> Table:
    """Two devices, doubts, missing numbers, bounds, ratios, hard names and letters."""
    other = MACHINE.model_copy(update={"name": "pixel_7 & co"})
    odd = doubt("odd", "50 % [x] ± 3 µs × 2 – -- 網 é š ≥ 1")
    return table_of([*hand_made(), record(HARD, machine=other, doubts=(odd,))], "teacher")


def on_terminal(drawn: object, width: int = 140) -> str:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(drawn)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def named(name: str) -> Table:
    where = MACHINE.model_copy(update={"name": name})
    doubts = (doubt(name, name, name),)
    return table_of(
        [
            record(name, machine=where, run=name, doubts=doubts, accuracy=accuracy({name: (1, 10)}, 0, 10)),
            record("other"),
        ]
    )


# ---- golden files ----


@pytest.mark.parametrize(
    "name",
    [
        "asked.md",
        "asked.tex",
        "asked.csv",
        "asked.json",
        "asked.html",
        "asked.txt",
        "usual.tex",
        "usual.html",
    ],
)
def test_the_skin_is_exactly_the_golden_one(name: str) -> None:
    stem, _, suffix = name.partition(".")
    table, query = (asked(), ASKED) if stem == "asked" else (table_of(hand_made()), Query())
    by_suffix = {suffix: skin for skin, suffix in skins.SUFFIXES.items()}
    if suffix == "txt":
        made = on_terminal(terminal.TerminalTable(view_of(table, query)))
    else:
        made = skins.text_of(table, query, by_suffix[suffix])
    path = GOLDEN / name
    if UPDATE:
        files.write_atomically(path, made)
    assert made == path.read_text(encoding="utf-8")


def test_every_skin_says_that_data_are_simulated() -> None:
    for skin in skins.SUFFIXES:
        for query in (ASKED, Query()):
            text = skins.text_of(asked(), query, skin)
            assert SIMULATED in text or "data_simulated" in text, skin


def test_a_skin_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean latex"):
        skins.text_of(asked(), ASKED, "latx")


def test_nothing_asked_is_what_the_whole_table_has_always_been() -> None:
    table = table_of(hand_made())
    assert skins.text_of(table, Query(), "csv") == as_csv(table)
    assert skins.text_of(table, Query(), "json") == as_json(table) + "\n"
    assert skins.text_of(table, Query(), "markdown").startswith("# swapbench report")


# ---- CSV and JSON: the values of the whole table ----


def test_csv_holds_the_chosen_columns_of_the_whole_csv_and_what_must_not_be_lost() -> None:
    whole = {row["label"]: row for row in csv.DictReader(io.StringIO(as_csv(asked())))}
    rows = list(csv.DictReader(io.StringIO(skins.text_of(asked(), ASKED, "csv"))))
    assert [row["label"] for row in rows] == [row.label for row in view_of(asked(), ASKED).rows]
    assert {"latency_p50_low_ns", "speed_up", "data_simulated", "doubts", "missing"} <= set(rows[0])
    assert "file_bytes" not in rows[0]
    for row in rows:
        assert row == {name: whole[row["label"]][name] for name in row}


def test_json_holds_the_same_values_in_their_groups() -> None:
    found = json.loads(skins.text_of(asked(), ASKED, "json"))
    assert (found["kind"], found["version"], found["data_simulated"]) == ("swapbench.view", 1, True)
    rows = [row for group in found["groups"] for row in group["rows"]]
    flat = list(csv.DictReader(io.StringIO(skins.text_of(asked(), ASKED, "csv"))))
    for one, other in zip(rows, flat, strict=True):
        assert {name: one[name] for name in ("label", "relative_to")} == {
            "label": other["label"],
            "relative_to": other["relative_to"] or None,
        }
        assert one["latency_p50_ns"] == float(other["latency_p50_ns"])
        assert {each["code"] for each in one["doubts"]} == set(filter(None, other["doubts"].split(";")))


def test_sorting_alone_leaves_all_columns() -> None:
    query = Query(sort=("-acer",))
    header = skins.text_of(asked(), query, "csv").splitlines()[0]
    assert header == as_csv(asked()).splitlines()[0]
    whole = {row["label"]: row for row in json.loads(as_json(asked()))["rows"]}
    for group in json.loads(skins.text_of(asked(), query, "json"))["groups"]:
        assert all(row == whole[row["label"]] for row in group["rows"])


# ---- Markdown ----


def test_markdown_shows_hard_names_as_they_are() -> None:
    from markdown_it import MarkdownIt

    text = markdown.as_markdown(view_of(named(HARD), Query(("model", "acer"))))
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    shown = HARD.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert f"<td>{shown} †</td>" in rendered
    assert rendered.count("<td") == 4
    for tag in ("<em>", "<a ", "<code>", "<m>"):
        assert tag not in rendered


def test_only_the_number_is_bold() -> None:
    text = markdown.as_markdown(view_of(table_of(hand_made()), Query(("latency_p50",))))
    assert "**1.71** [1.67, 1.76]" in text


# ---- HTML ----


class Page(HTMLParser):
    """All tags with their attributes, and the text of every cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


def test_html_is_well_formed_and_says_what_its_headings_head() -> None:
    page = Page(html.as_html(view_of(asked(), ASKED)))
    assert page.open == []
    scopes = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]
    assert scopes.count("col") == len(view_of(asked(), ASKED).columns)
    assert scopes.count("row") == 5
    assert scopes.count("rowgroup") == 3
    assert [tag for tag, _ in page.tags if tag == "caption"] == ["caption"]
    notes = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert notes == {f"#{attributes['id']}" for tag, attributes in page.tags if tag == "li"}


@pytest.mark.parametrize("name", [HARD, "<script>alert(1)</script>", '" onload="x', "</table>", "網x"])
def test_html_shows_hard_names_as_they_are_and_takes_no_tag_from_them(name: str) -> None:
    page = Page(html.as_html(view_of(named(name), Query(("model", "acer", "device", f"apcer.{name}")))))
    assert f"{name} †" in page.cells
    assert f"APCER {name}, %" in page.cells
    plain = Page(html.as_html(view_of(named("plain"), Query(("model", "acer", "device", "apcer.plain")))))
    assert sorted(tag for tag, _ in page.tags) == sorted(tag for tag, _ in plain.tags)
    assert all(
        set(one) <= {"scope", "class", "colspan", "href", "id", "lang", "charset", "name", "content"}
        for _, one in page.tags
    )


# ---- LaTeX ----


@given(st.text(max_size=40))
def test_escaped_latex_is_ascii_without_a_living_special_character(text: str) -> None:
    found = latex.escaped(text)
    assert found.isascii()
    words = r"\\(text\w+|ensuremath|times|pm|mu|cdot|le|ge|dagger|dots|ss|ae|AE|o|O|l|L)(?![a-zA-Z])"
    commands = words + r"|\\[\\{}$&#%_`'^~=u.\"rHvc]"
    rest = re.sub(commands, "", found)
    assert not set(rest) & set("\\$&#%_~^")
    assert "--" not in rest
    bare = found.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("50 % [a]", r"50 \% {[}a]"),
        ("minifasnet_v2", r"minifasnet\_v2"),
        ("µ × – ±", r"\ensuremath{\mu} \ensuremath{\times} \textendash{} \ensuremath{\pm}"),
        ("é š Å ñ", r"\'{e} \v{s} \r{A} \~{n}"),
        ("網\n\x00", "U+7DB2  "),
        ("--out", "-{}-out"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
    ],
)
def test_latex_sets_text_as_it_is(text: str, found: str) -> None:
    assert latex.escaped(text) == found


def heads_of(text: str) -> list[str]:
    """The heads of the first table, their lines joined."""
    line = next(
        line for line in text.splitlines() if line.startswith(("{\\begin{tabular}[b]", r"\toprule {"))
    )
    return [" ".join(head.split(r" \\ ")) for head in re.findall(r"@\{\}}(.*?)\\end\{tabular\}", line)]


def test_numbers_stand_in_columns_that_siunitx_aligns() -> None:
    text = skins.text_of(table_of(hand_made()), Query(("latency_p50", "params")), "latex")
    assert r"\begin{tabular}{l S[table-format=1.3]@{\,}l S[table-format=1.3]}" in text
    assert heads_of(text) == ["File", "Median (ms)", "Params (M)"]
    assert r"student.kd.fp32.tflite & \bfseries 1.71 & \scriptsize {[}1.67, 1.76] & " in text
    assert r"student.kd.int8.onnx\,\ensuremath{\dagger} & 0.720 &" in text


def test_a_latex_table_has_the_columns_that_were_asked_for_and_no_ratio_beside() -> None:
    query = Query(("file", "precision", "latency_p50", "acer", "file_bytes", "params"))
    assert heads_of(skins.text_of(asked(), query, "latex")) == [
        "File",
        "Precision",
        "Median (ms)",
        "ACER (\\%)",
        "Size (MB)",
        "Params (M)",
    ]


def test_a_latex_table_has_the_unit_in_which_its_numbers_are_short() -> None:
    light = record(weight=weight(640_000, 250_000, 40_000_000), speed=speed(250_000, 0, runs=20))
    text = skins.text_of(table_of([light]), Query(("latency_p50", "file_bytes", "params", "macs")), "latex")
    assert heads_of(text) == ["File", r"Median (\ensuremath{\mu}s)", "Size (kB)", "Params (k)", "MACs (M)"]
    assert re.search(r"^net\.fp32\.onnx & 250 &.* 640 & 250 & 40\.0 ", text, re.MULTILINE)


def test_notes_of_a_latex_table_are_none_short_or_full_and_never_say_what_helps() -> None:
    rows = table_of([record("a", doubts=(doubt(),), accuracy=NOT_SCORED), record("b")])
    texts = {
        kind: skins.text_of(rows, Query(("acer",), notes=kind), "latex") for kind in ("none", "short", "full")
    }
    printed = {
        kind: [line for line in text[text.index("\\bottomrule") :].splitlines() if not line.startswith("%")]
        for kind, text in texts.items()
    }
    assert printed["none"] == [
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
        "\\csname swapbenchend\\endcsname",
    ]
    assert "dagger" not in "".join(line for line in texts["none"].splitlines() if not line.startswith("%"))
    assert r"\ensuremath{\dagger} Doubts of the measurement: wide interval (speed).\par" in printed["short"]
    assert "n/a: not measured.\\par" in printed["short"]
    assert (
        r"\ensuremath{\dagger} wide\_interval (speed), a.fp32.onnx: the interval is wide.\par"
        in printed["full"]
    )
    assert any(line.startswith(r"\textsuperscript{1} ") for line in printed["full"])
    assert all("Measure longer" not in text for text in texts.values())


def test_an_unknown_kind_of_notes_names_those_there_are() -> None:
    with pytest.raises(UnknownName, match="Did you mean full"):
        latex.notes_of("fuul")


PAPER = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs,longtable,siunitx}
\begin{document}
Before. \input{table} After.
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs and siunitx")
@pytest.mark.parametrize("main", ["table.tex", "paper.tex"])
def test_latex_compiles_as_it_is_and_inside_a_paper(tmp_path: Path, main: str) -> None:
    names = [HARD, "[1em]", "*", "網é", r"\undefined", "--x"]
    other = [record(name, doubts=(doubt(message=name),), run=name) for name in names]
    table = table_of([*hand_made(), *other], "teacher")
    (tmp_path / "table.tex").write_text(skins.text_of(table, ASKED, "latex"), encoding="ascii")
    (tmp_path / "paper.tex").write_text(PAPER, encoding="ascii")
    assert_no_overfull_box(tmp_path / main)


QUERIES = {
    "six": Query(("file", "precision", "latency_p50", "acer", "file_bytes", "params"), notes="full"),
    "all": Query(tuple(name for name, column in COLUMNS.items() if column.listed), notes="full"),
    "one": Query(("acer",), notes="none"),
    "groups": Query(("model", "device", "runtime", "run", "latency_p50"), group=("device", "run")),
}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs and siunitx")
@pytest.mark.parametrize("rows", [3, 50])
@pytest.mark.parametrize("query", list(QUERIES))
def test_no_table_is_wider_than_its_page(tmp_path: Path, query: str, rows: int) -> None:
    long = "a_network-with_a_name.that_nobody_would_give-to_a_file_but_a_script"
    made = [
        record(f"{long}{number}", run="a_run_of_a_long_name", doubts=(doubt(),)) for number in range(rows)
    ]
    made.append(record("x" * 90))
    text = skins.text_of(table_of(made), QUERIES[query], "latex")
    assert (r"\begin{longtable}" in text) == (rows == 50)
    (tmp_path / "table.tex").write_text(text, encoding="ascii")
    assert_no_overfull_box(tmp_path / "table.tex")


# ---- terminal ----


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 140, 200])
def test_at_any_width_no_number_is_cut_and_columns_without_room_are_named(width: int) -> None:
    view = view_of(asked(), ASKED)
    text = on_terminal(terminal.TerminalTable(view), width)
    assert max(map(len, text.splitlines())) <= width
    table, _, caption = text.partition(SIMULATED.split()[0])
    dropped = re.findall(r"No room at \d+ columns: (.*?)\.", " ".join((table + caption).split()))
    names = dropped[0].split(", ") if dropped else []
    shown = view.columns[: len(view.columns) - len(names)]
    assert [column.name for column in view.columns[len(shown) :]] == names
    pieces = set(table.replace("[", " [").split())
    for line in (line for group in view.groups for line in group.lines):
        for cell in line.cells[: len(shown)]:
            if cell.digits:
                assert {f"{cell.digits}", f"{cell.digits}×"} & pieces, cell
                assert cell.aside in table


def test_the_widest_terminal_has_every_column_and_intervals_beside_their_numbers() -> None:
    text = on_terminal(terminal.TerminalTable(view_of(asked(), ASKED)), 220)
    assert "No room" not in text
    assert "1.71 [1.67, 1.76]" in text


def test_doubts_are_counted_by_kind_and_said_in_full_where_that_is_asked() -> None:
    found = table_of(
        [
            *(record(f"n{number}", doubts=(doubt(message=f"{number} % wide"),)) for number in range(9)),
            record("sound"),
        ]
    )
    view = view_of(found, Query(("acer",)))
    counted = str(terminal.TerminalTable(view).caption(100))
    assert "\n† wide_interval (speed): 9 of 10 rows\n" in counted
    assert counted.endswith("† What each says and what helps: swapbench report --doubts")
    assert "Measure longer" not in counted
    full = str(terminal.TerminalTable(view, every_doubt=True).caption(100))
    assert all(f"\n    n{number}.fp32.onnx: {number} % wide." in full for number in range(9))
    assert full.count("    What helps: Measure longer") == 1
    assert "--doubts" not in full


def test_markup_in_names_is_text_on_a_terminal() -> None:
    text = on_terminal(terminal.TerminalTable(view_of(named("[red]x[/red]"), Query(("model", "acer")))))
    assert "[red]x[/red] †" in text


def test_a_terminal_shows_so_many_rows_and_says_how_many_more_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(terminal, "ROWS_AT_MOST", 3)
    found = table_of([record(run=name) for name in "abcde"])
    usual = on_terminal(terminal.TerminalTable(terminal.usual_view(found)))
    assert usual.count("net.fp32.onnx") == 3
    assert "2 more rows are in every other format." in " ".join(usual.split())
    text = on_terminal(terminal.TerminalTable(view_of(found, Query(("acer",), group=("run",)))))
    assert text.count("net.fp32.onnx") == 3
    assert "2 more rows are in every other format." in " ".join(text.split())
