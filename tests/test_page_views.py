"""Views of the page in a real browser: links to them, copies of them, two runs, and what axe says of them."""

from __future__ import annotations

import csv
import io
import json
from urllib.parse import quote

import made_records as made
import numpy as np
import pytest
from browsers import CHROMIUM, browser, example, open_page, records
from PIL import Image
from test_page import NASTY, many

from swapbench.report.page.detail import detail_of
from swapbench.report.page.document import page_html
from swapbench.report.tables.skins import text_of
from swapbench.report.tables.table import table_of
from swapbench.report.tables.view import Query

pytest.importorskip("playwright.sync_api")
__all__ = ["browser", "example", "open_page"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt install chromium"),
]


def page_of(folder, those, name="page.html"):
    path = folder / name
    path.write_text(page_html(table_of(those), map(detail_of, those)), encoding="utf-8")
    return path


# ---- Copies ----

SHOW = """({ columns, sort, words }) => {
  const named = [...globalThis.columnNames()].filter(name => columns.includes(name));
  Object.assign(state, { shown: named, words });
  state.sort = { name: sort.replace(/^-/, ""), descending: sort.startsWith("-") };
  applyFilters();
  return named;
}"""
COPIES = {"markdown": "asMarkdown", "csv": "asCsv", "latex": "asLatex"}


def two_machines():
    """Two machines, of which one has two places, energy on half of the records, and doubts of two kinds."""
    there = made.record("net", minute=2).machine.model_copy(update={"name": "Other CPU"})
    moved = [made.record(f"net_{i}", minute=i) for i in range(3)]
    return [*records(), *(one.model_copy(update={"machine": there}) for one in moved)]


def odd_names():
    doubtful = made.record("=1+1", recipe=NASTY, doubts=(made.doubt(message=NASTY),))
    return [doubtful, made.record("网-é--x", minute=1), made.record("+a_b", minute=2)]


def many_rows():
    """More than a page of LaTeX holds, in units that are too large for some."""
    return [*made.demo(), *(made.record(f"net_{i}", minute=i % 50, recipe=f"r{i}") for i in range(60))]


@pytest.mark.parametrize(
    "those", [records, two_machines, odd_names, many_rows], ids=lambda made: made.__name__
)
def test_a_copy_is_letter_by_letter_what_the_skins_write(open_page, tmp_path, those):
    table = table_of(those())
    page = open_page(page_of(tmp_path, those()))
    page.evaluate("globalThis.columnNames = () => columns.keys()")
    every = page.evaluate("[...columns.keys()]")
    for columns, sort in (
        (page.evaluate("state.shown"), ""),
        (every, "-latency_p50"),
        (["file", "acer", "energy", "speed_up", "paced_p50"], "acer"),
        (["file", "device", "precision", "latency_p90", "macs"], "file"),
    ):
        named = page.evaluate(SHOW, {"columns": columns, "sort": sort, "words": ""})
        query = Query(columns=tuple(named), sort=(sort,) if sort else ())
        for skin, write in COPIES.items():
            assert page.evaluate(f"{write}(viewShown())") == text_of(table, query, skin), (skin, columns)


def test_a_copy_holds_the_rows_that_pass_the_filters_and_the_columns_that_are_ticked(open_page, example):
    page = open_page(example, permissions=["clipboard-read", "clipboard-write"])
    page.click("summary:has-text('Precision')")
    page.click("label:has-text('int8')")
    page.keyboard.press("Escape")
    page.click('[data-sort="acer"]')
    rows = page.evaluate("state.ordered.map(label)")
    page.click("[data-copy=CSV]")
    page.wait_for_function(
        "document.querySelector('#table-controls [role=status]').textContent.includes('CSV')"
    )
    copied = list(csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))
    assert [line["label"] for line in copied] == rows
    assert 0 < len(rows) < 13
    assert {"latency_p50_ns", "doubts", "missing"} <= set(copied[0])


def test_a_copied_cell_that_a_spreadsheet_would_compute_is_text(open_page, tmp_path):
    page = open_page(page_of(tmp_path, odd_names()))
    lines = list(csv.DictReader(io.StringIO(page.evaluate("asCsv(viewShown())"))))
    assert sorted(line["label"][:2] for line in lines) == sorted(["'=", "网-", "'+"])


# ---- Links ----


def test_a_link_brings_back_the_view_that_it_was_taken_from(open_page, example):
    page = open_page(example)
    page.select_option("#x", "energy")
    page.select_option("#y", "bpcer")
    page.uncheck("#x-log")
    page.select_option("#colour", "runtime")
    page.click("summary:has-text('Precision')")
    page.click("label:has-text('int8')")
    page.keyboard.press("Escape")
    page.fill("#search", "minifasnet")
    page.click("summary:has-text('Columns')")
    page.check('[data-column="auc"]')
    page.keyboard.press("Escape")
    page.click('[data-sort="acer"]')
    page.click("#table tbody tr:nth-child(2) button")
    fragment = page.evaluate("location.hash")
    what = (
        "[state.x, state.y, state.xLog, state.colour, state.words, state.shown, state.sort, state.ordered, "
        "state.opened, byId('detail-title').textContent]"
    )
    other = open_page(example, fragment=fragment)
    assert other.evaluate(what) == page.evaluate(what)
    assert other.input_value("#search") == "minifasnet"
    assert not other.is_checked("#x-log")
    assert "x=energy" in fragment
    assert page.evaluate("state.opened") >= 0


def test_back_and_forward_undo_and_redo(open_page, example):
    page = open_page(example)
    page.select_option("#x", "energy")
    page.fill("#search", "minifasnet")
    page.click("#table tbody tr button")
    opened = page.inner_text("#detail-title")
    page.go_back()
    page.wait_for_function("!byId('detail').open")
    assert page.evaluate("[state.x, state.words]") == ["energy", "minifasnet"]
    page.go_back()
    page.wait_for_function("state.words === ''")
    assert (page.input_value("#x"), page.input_value("#search")) == ("energy", "")
    page.go_back()
    page.wait_for_function("state.x === 'latency_p50'")
    for _ in range(3):
        page.go_forward()
    page.wait_for_function("byId('detail').open")
    assert page.inner_text("#detail-title") == opened


def test_typing_a_word_is_one_step_of_the_history(open_page, example):
    page = open_page(example)
    before = page.evaluate("history.length")
    page.locator("#search").press_sequentially("mini")
    assert page.evaluate("history.length") == before + 1
    assert page.evaluate("location.hash") == "#words=mini"


@pytest.mark.parametrize(
    "fragment",
    [
        "#record=%",
        "#record=" + quote(NASTY),
        f"#x={quote(NASTY)}&y=__proto__&colour=constructor&shape=toString&sort=-{quote(NASTY)}",
        "#x=file&y=net&where=net=nothing&where=__proto__=x&where==&where=&column=&column=%00&x-log=",
        f"#words={quote(NASTY)}",
        "#run-a=x&run-b=y&difference=file&&&==%E0%A4%A",
        "#" + "a" * 5000,
    ],
)
def test_a_hostile_address_is_text_and_harmless(open_page, example, fragment):
    page = open_page(example, fragment=fragment)
    assert page.locator("img").count() == 0
    assert page.locator("#table thead th").count() > 1
    assert page.evaluate("[columns.get(state.x).numeric, columns.get(state.y).numeric]") == [True, True]
    if "words" not in fragment:
        assert page.inner_text("#count") == "13 of 13 records"
    page.evaluate(f"location.hash = {json.dumps('#record=' + quote('nothing'))}")
    page.select_option("#x", "energy")
    assert "x=energy" in page.evaluate("location.hash")


# ---- Two runs ----


def later(one, **changes):
    return one.model_copy(update={"run": "later", "id": f"{one.id}-later"} | changes)


def test_two_runs_are_held_against_each_other(open_page, tmp_path):
    first = [made.record("net"), made.record("gone", minute=1), made.record("other", minute=2)]
    slower = made.record("net", accuracy=made.accuracy({"print": (30, 100)}, 1, 100))
    machine = first[2].machine.model_copy(update={"governor": "powersave"})
    second = [later(slower), later(first[2], machine=machine)]
    page = open_page(page_of(tmp_path, [*first, *second]), fragment="#difference=acer&run-a=demo&run-b=later")
    assert page.locator("#runs tbody tr").count() == 2
    line = page.locator("#runs tbody tr:has-text('net')").first
    rows = {(row.run, row.net): row for row in table_of([*first, *second]).rows}
    a, b = (rows[run, "net"].accuracy for run in ("demo", "later"))
    difference = 100 * (b.acer - a.acer)
    assert f"{difference:.2f}" in line.inner_text()
    if a.acer_interval and b.acer_interval:
        low = 100 * (b.acer_interval.low - a.acer_interval.high)
        high = 100 * (b.acer_interval.high - a.acer_interval.low)
        assert f"[{low:.2f}, {high:.2f}]" in line.inner_text()
    assert "1 more are in one of the two only" in page.inner_text("#runs-note")
    page.select_option("#difference", "latency_p50")
    assert "cannot be compared: machine" in page.inner_text("#runs tbody tr:has-text('other')")
    assert "run-a" not in page.evaluate("location.hash")
    page.click("#runs tbody tr:has-text('net') button >> nth=1")
    assert "run later" in page.inner_text("#detail")


def test_one_run_has_nothing_to_be_held_against(open_page, example):
    assert open_page(example).locator("#runs-section").is_hidden()


# ---- Many points ----


def test_a_crowd_is_on_the_canvas_and_follows_the_filter(open_page, tmp_path):
    table, details = many(3000)
    path = tmp_path / "crowd.html"
    path.write_text(page_html(table, details), encoding="utf-8")
    page = open_page(path)
    assert page.evaluate("[...plot.crowd].reduce((sum, [, members]) => sum + members.length, 0)") > 1000

    def coloured() -> int:
        """Pixels of the plot that are neither white nor grey, once it is painted."""
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        picture = Image.open(io.BytesIO(page.locator("#chart").screenshot())).convert("RGB")
        pixels = np.asarray(picture, dtype=int)
        return int(np.sum(pixels.max(axis=2) - pixels.min(axis=2) > 20))

    everything = coloured()
    page.fill("#search", "onnx")
    assert page.evaluate("plot.rows.length") == 1500  # still a crowd
    assert 0 < coloured() < everything


# ---- What axe says ----


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing_serious(open_page, tmp_path, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    those = [*records(), *map(later, made.demo()[:4])]
    # axe sets styles on elements to see through them, which the policy of the page refuses
    page = open_page(
        page_of(tmp_path, those),
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        bypass_csp=True,
    )
    for opened in (False, True):
        if opened:
            page.click("#table tbody tr:nth-child(2) button")
            page.wait_for_selector("#latencies canvas", state="attached")
        found = axe.run(page).response["violations"]
        serious = [one for one in found if one["impact"] in {"serious", "critical"}]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in serious] == []
