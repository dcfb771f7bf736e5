"""The web page in a real browser: by mouse, by keyboard, on a phone, with ten thousand records."""

from __future__ import annotations

import base64
import gzip
import re

import made_records as made
import pytest
from browsers import CHROMIUM, browser, example, open_page, records
from test_page import NASTY, many

from swapbench.report.choose.fronts import on_front
from swapbench.report.page.detail import detail_of
from swapbench.report.page.document import page_html
from swapbench.report.tables.table import table_of
from swapbench.texts import spaced

playwright = pytest.importorskip("playwright.sync_api")
__all__ = ["browser", "example", "open_page"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt install chromium"),
]


def column_of(page, place: int) -> list[str]:
    return page.locator(f"#table tbody tr > *:nth-child({place})").evaluate_all(
        "cells => cells.map(cell => cell.firstChild.textContent)"
    )


def drawn(page) -> int:
    """How many points there are: glyphs of the library, and squares of a crowd."""
    squares = "[...plot.crowd].reduce((sum, [, members]) => sum + members.length, 0)"
    return page.evaluate(f"plot.sources.points.data.x.length + {squares}")


def test_every_cell_is_the_text_of_the_table(open_page, example):
    page = open_page(example)
    table = table_of(records())
    page.evaluate("state.shown = data.columns.map(column => column.name); drawTable()")
    shown = page.evaluate("state.shown")
    cells = page.locator("#table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    from swapbench.report.tables.columns import column

    wanted = [[column(name, table.rows).text(row) for name in shown] for row in table.rows]
    assert len(cells) == 13
    for line, texts, row in zip(cells, wanted, table.rows, strict=True):
        assert line[0] == row.label + (" †" if row.doubts else "")
        assert [cell.replace(" ", "") for cell in line[1:]] == [text.replace(" ", "") for text in texts[1:]]


def labels_on_front(rows, values) -> set[str]:
    return {row.label for row, on in zip(rows, on_front(values), strict=True) if on}


def test_the_front_is_that_of_the_figure(open_page, example):
    page = open_page(example)
    rows = [row for row in table_of(records()).rows if row.accuracy is not None and row.speed is not None]
    front = labels_on_front(rows, [(row.speed.p50_ns, row.accuracy.acer) for row in rows])
    assert set(page.evaluate("[...plot.front].map(i => label(plot.rows[i]))")) == front
    assert {name.removesuffix(" †") for name in page.locator("#front button").all_inner_texts()} == front


def test_a_front_where_more_is_better_is_the_mirrored_one(open_page, example):
    page = open_page(example)
    page.select_option("#x", "speed_up")
    page.select_option("#y", "auc")
    rows = [
        row
        for row in table_of(records()).rows
        if row.accuracy is not None and row.relative and row.relative.speed_up
    ]
    front = set()
    for reference in {
        row.relative.reference for row in rows
    }:  # a ratio to another reference is another number
        mine = [row for row in rows if row.relative.reference == reference]
        front |= labels_on_front(mine, [(-row.relative.speed_up, -row.accuracy.auc) for row in mine])
    assert set(page.evaluate("[...plot.front].map(i => label(plot.rows[i]))")) == front


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_round(open_page, example):
    page = open_page(example)
    heading = page.locator('th:has([data-sort="latency_p50"])')
    assert heading.get_attribute("aria-sort") == "none"
    page.click('[data-sort="latency_p50"]')
    assert heading.get_attribute("aria-sort") == "ascending"
    place = page.evaluate("state.shown.indexOf('latency_p50') + 1")
    values = column_of(page, place)
    assert values[-1] == "–"
    assert [float(value) for value in values[:-1]] == sorted(float(value) for value in values[:-1])
    page.click('[data-sort="latency_p50"]')
    assert heading.get_attribute("aria-sort") == "descending"
    turned = column_of(page, place)
    assert turned[-1] == "–"
    assert [float(value) for value in turned[:-1]] == sorted(
        (float(value) for value in turned[:-1]), reverse=True
    )


def test_the_keyboard_sorts_and_keeps_its_place(open_page, example):
    page = open_page(example)
    page.focus('[data-sort="file_bytes"]')
    page.keyboard.press("Enter")
    assert page.locator('th:has([data-sort="file_bytes"])').get_attribute("aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.dataset.sort") == "file_bytes"
    page.keyboard.press("Space")
    assert page.locator('th:has([data-sort="file_bytes"])').get_attribute("aria-sort") == "descending"


def test_the_tab_key_reaches_everything_and_the_focus_shows(open_page, example):
    page = open_page(example)
    seen = []
    name = "e => e.id || e.dataset.sort || e.className || e.tagName"
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.evaluate_handle("document.activeElement")
        if focused.evaluate("e => e === document.body"):
            break
        seen.append(focused.evaluate(name))
        assert focused.evaluate("e => getComputedStyle(e).outlineStyle") != "none", seen[-1]
    order = [
        seen.index(name)
        for name in ("skip", "theme", "search", "x", "x-log", "y", "colour", "scroll", "file", "acer")
    ]
    assert order == sorted(order)


def test_a_filter_changes_points_and_rows(open_page, example):
    page = open_page(example)
    assert drawn(page) == 12
    page.click("summary:has-text('Precision')")
    page.click("label:has-text('int8')")
    assert drawn(page) == 8
    assert page.inner_text("#count") == "9 of 13 records"
    assert page.locator("#table tbody tr").count() == 9
    page.fill("#search", "MINIFASNET tflite")
    assert drawn(page) == 2
    page.fill("#search", "nothing like it")
    assert (drawn(page), page.locator("#table tbody tr").count()) == (0, 0)


def test_a_menu_closes_with_escape_and_gives_the_focus_back(open_page, example):
    page = open_page(example)
    page.focus("summary:has-text('Runtime')")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.inner_text("#count") != "13 of 13 records"
    page.keyboard.press("Escape")
    assert page.locator("details.menu[open]").count() == 0
    assert "Runtime" in page.evaluate("document.activeElement.textContent")


def test_axes_change_with_their_unit_and_scale(open_page, example):
    page = open_page(example)
    page.select_option("#x", "energy")
    assert drawn(page) == 5  # of six with a meter, one has used no more than idle: a bound is not a point
    assert (
        page.evaluate("plot.figure.below[0].axis_label.text")
        == "Energy above idle, mJ (lower is better, log scale)"
    )
    assert "8 have no number on one of the axes" in page.inner_text("#chart-note")
    page.uncheck("#x-log")
    page.check("#y-log")
    assert page.evaluate("[plot.figure.below[0].type, plot.figure.left[0].type]") == ["LinearAxis", "LogAxis"]
    values = page.evaluate(
        "[plot.sources.points.data.x, plot.rows.map(row => columns.get('energy').values[row] / 1e3)]"
    )
    assert values[0] == values[1]


def test_intervals_are_bars_from_low_to_high(open_page, example):
    page = open_page(example)
    table = table_of(records())
    row = next(row for row in table.rows if row.speed is not None)
    bars = page.evaluate("plot.sources.bars.data")
    ends = set(zip(bars["x0"], bars["x1"], strict=True))
    assert (row.speed.p50_low_ns / 1e6, row.speed.p50_high_ns / 1e6) in ends
    assert len(ends) >= 12


def point_px(page, name: str) -> tuple[float, float]:
    return page.evaluate(
        """name => {
            const i = plot.rows.findIndex(row => label(row) === name);
            const box = byId("chart").getBoundingClientRect();
            const { x_scale: x, y_scale: y } = plot.view.frame;
            return [box.left + x.compute(plot.xs[i]), box.top + y.compute(plot.ys[i])];
        }""",
        name,
    )


def test_hovering_says_numbers_intervals_and_doubts(open_page, example):
    page = open_page(example)
    row = next(row for row in table_of(records()).rows if row.doubts)
    page.mouse.move(*point_px(page, row.label))
    tip = page.inner_text("#tip")
    assert row.label in tip
    assert f"[{row.speed.p50_low_ns / 1e6:.2f}, {row.speed.p50_high_ns / 1e6:.2f}] ms" in tip
    assert row.doubts[0].message in tip
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_a_click_on_a_point_opens_its_record_and_marks_its_row(open_page, example):
    page = open_page(example)
    name = "minifasnet_v2.fp32.onnx"
    page.mouse.click(*point_px(page, name))
    assert page.inner_text("#detail-title") == name
    assert name in page.inner_text("#table tr[aria-current]")
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()
    # A browser tells of a closed dialog in a later task; the focus moves then.
    page.wait_for_function("name => document.activeElement.textContent.includes(name)", arg=name)


def test_the_record_says_everything(open_page, example):
    page = open_page(example)
    page.click("#table tbody tr:has-text('resnet18_map.int8.onnx') button")
    said = page.inner_text("#detail")
    for text in (
        "the interval is",
        "What helps: Measure longer",
        "Median latency",
        "APCER by attack species",
        "print",
        "5 of 400",
        "Example CPU",
        "performance",
        "swapbench run resnet18_map.int8.onnx --runtime onnxruntime",
        "cd" * 32,
        "onnxruntime 1.31.0",
        "Drawn from 400 of 800 runs",
        "Simulated data: not PAD performance.",
        "rapl, package",
    ):
        assert text in said, text
    page.wait_for_selector("#latencies canvas", state="attached")
    page.click("#detail button:has-text('Next')")
    assert page.inner_text("#detail-title") != "resnet18_map.int8.onnx"
    assert page.evaluate("document.activeElement.textContent") == "Next"


def test_a_record_without_anything_says_why(open_page, example):
    page = open_page(example)
    page.click("#table tbody tr:has-text('empty') button")
    said = page.inner_text("#detail")
    assert "Not measured" in said
    assert "no data set was given" in said
    assert "What helps: Give one with --data" in said
    assert "Latency samples" not in said


def test_a_report_in_which_nothing_was_measured_has_no_chart_but_reasons(open_page, tmp_path):
    nothing = made.NOT_SCORED
    one = made.record(speed=nothing, weight=nothing, accuracy=nothing, power=nothing, parity=nothing)
    path = tmp_path / "bare.html"
    path.write_text(page_html(table_of([one]), [detail_of(one)]), encoding="utf-8")
    page = open_page(path)
    assert page.locator("#chart-section").is_hidden()
    page.click("#table tbody button")
    assert page.locator("#detail .reasons li").count() == 5


def test_without_its_chart_library_the_page_shows_tables_and_says_why_there_is_no_chart(
    browser, example, tmp_path
):
    path = tmp_path / "index.html"
    html = example.read_text(encoding="utf-8")
    other = base64.b64encode(gzip.compress(b"var Bokeh = {};")).decode()  # not what the policy allows
    path.write_text(re.sub(r'(id="library">)[^<]*', rf"\g<1>{other}", html), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    assert page.inner_text("#chart-section") == (
        "There is no chart: the browser did not run the chart library. The table below has all numbers."
    )
    page.fill("#search", "MINIFASNET tflite")
    assert page.locator("#table tbody tr").count() == 3
    page.click("#table tbody tr button")
    assert "Median latency" in page.inner_text("#detail")
    page.keyboard.press("Escape")
    page.click("#theme")
    page.close()


def test_a_browser_that_cannot_unpack_the_data_says_so(browser, example):
    page = browser.new_page()
    page.add_init_script("delete globalThis.DecompressionStream")
    page.goto(example.as_uri())
    assert "it has no DecompressionStream" in page.inner_text("#chart-section .notice")
    assert page.locator(".published table").is_visible()
    page.close()


def test_an_address_opens_its_record(open_page, example):
    one = records()[3]
    page = open_page(example, fragment=f"#record=demo%2F{one.id}")
    assert page.inner_text("#detail-title") == one.variant.file_name


def test_columns_are_chosen(open_page, example):
    page = open_page(example)
    page.click("summary:has-text('Columns')")
    page.check('[data-column="auc"]')
    page.uncheck('[data-column="macs"]')
    headings = page.locator("#table thead button").evaluate_all(
        "buttons => buttons.map(button => button.dataset.sort)"
    )
    assert "auc" in headings
    assert "macs" not in headings
    assert page.locator('[data-column="file"]').is_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_system_and_the_switch_turns_it(open_page, example, scheme):
    page = open_page(example, color_scheme=scheme)
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
    assert page.evaluate(background) == (dark if scheme == "dark" else light)
    assert page.get_attribute("#theme", "aria-pressed") == ("true" if scheme == "dark" else "false")
    page.click("#theme")
    assert page.evaluate(background) == (light if scheme == "dark" else dark)
    assert page.evaluate("plot.figure.below[0].axis_label_text_color") == page.evaluate("style('--muted')")


def test_text_has_the_contrast_that_wcag_asks_for(open_page, example):
    page = open_page(example)
    for _ in range(2):
        ratios = page.evaluate(
            """() => {
                const weights = [0.2126, 0.7152, 0.0722];
                const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                const light = hex => [1, 3, 5].map(at => linear(parseInt(hex.slice(at, at + 2), 16) / 255))
                    .reduce((sum, v, i) => sum + v * weights[i], 0);
                const ratio = (...both) => {
                    const [less, more] = both.map(name => light(style(name)) + 0.05).sort((a, b) => a - b);
                    return more / less;
                };
                const grounds = ["--bg", "--surface", "--notice"];
                const inks = ["--text", "--muted", "--accent"];
                return inks.flatMap(ink => grounds.map(ground => ratio(ink, ground)));
            }"""
        )
        assert min(ratios) >= 4.5
        page.click("#theme")


@pytest.mark.parametrize("opened", [False, True])
def test_a_phone_never_scrolls_sideways(open_page, example, opened):
    page = open_page(
        example, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    if opened:
        page.tap("#table tbody tr:nth-child(2) button")
        page.wait_for_selector("#latencies canvas", state="attached")
    widths = page.evaluate("[document.documentElement.scrollWidth, byId('detail').scrollWidth, innerWidth]")
    assert widths[0] <= 390
    assert widths[1] <= 390
    assert widths[2] == 390
    assert page.evaluate("byId('scroll').scrollWidth > byId('scroll').clientWidth")


def test_names_with_markup_are_only_text(open_page, tmp_path):
    records = [
        made.record(
            NASTY,
            recipe=NASTY,
            accuracy=made.accuracy({NASTY: (1, 10), "print": (2, 10)}, 1, 10),
            doubts=(made.doubt(message=NASTY),),
        ),
        made.record("plain", accuracy=made.accuracy({NASTY: (3, 10)}, 1, 10), minute=1),
    ]
    path = tmp_path / "nasty.html"
    path.write_text(page_html(table_of(records), map(detail_of, records), notes=[NASTY]), encoding="utf-8")
    page = open_page(path)
    shown = spaced(NASTY)
    page.select_option("#y", f"apcer.{shown}")
    assert shown in page.evaluate("plot.figure.left[0].axis_label.text")
    page.click("#table tbody tr button")
    assert page.locator("img").count() == 0
    assert shown in page.evaluate("byId('detail').textContent")


def test_printing_shows_all_rows_and_no_controls(open_page, tmp_path):
    table, details = many(120)
    path = tmp_path / "print.html"
    path.write_text(page_html(table, details), encoding="utf-8")
    page = open_page(path)
    assert page.locator("#table tbody tr").count() == 50
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#table tbody tr").count() == 120
    assert page.locator("#filters").is_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#table tbody tr").count() == 50


def test_ten_thousand_records_are_drawn_filtered_sorted_and_paged(open_page, tmp_path):
    table, details = many(10_000)
    html = page_html(table, details)
    assert len(html.encode()) < 15_000_000
    path = tmp_path / "many.html"
    path.write_text(html, encoding="utf-8")
    page = open_page(path)
    assert drawn(page) == 10_000
    page.click("summary:has-text('Precision')")
    page.click("label:has-text('int8')")
    assert drawn(page) == sum(row.precision != "int8" for row in table.rows)
    page.click('[data-sort="latency_p50"]')
    fastest = min(row.speed.p50_ns for row in table.rows if row.precision != "int8")
    assert page.evaluate("columns.get('latency_p50').values[state.ordered[0]]") == fastest
    page.click("#pages button:has-text('Next')")
    assert page.inner_text("#pages span").startswith("51 to 100 of")
    assert page.locator("#table tbody tr").count() == 50
