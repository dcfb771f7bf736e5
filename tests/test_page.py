"""The web page as text: what it holds, that it holds no more, and that no name can become markup."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import made_records as made
import pytest

from swapbench.errors import EnvironmentFailed
from swapbench.records import Absent, PhoneState, Record
from swapbench.report.figures.style import COLOURS
from swapbench.report.literature import PUBLISHED, literature
from swapbench.report.page import data as page_data
from swapbench.report.page import document as page
from swapbench.report.page.detail import SAMPLES_A_RECORD, command, detail_of, thinned
from swapbench.report.page.document import page_data_of, page_html
from swapbench.report.rows.references import compared_rows
from swapbench.report.rows.summary import summary
from swapbench.report.tables.columns import COLUMNS, column
from swapbench.report.tables.table import SIMULATED, Table, table_of

NASTY = "</script><img src=x onerror=alert(1)>&<!--\u2028\"'$$x$$"


def html_of(records, **more):
    return page_html(table_of(records), [detail_of(one) for one in records], **more)


def data_of(records):
    return page_data_of(html_of(records))


def many(count: int):
    """A table of `count` records that all differ, and their details; made from twelve rows, for speed."""
    records = made.demo()
    rows, details = [summary(one) for one in records], [detail_of(one) for one in records]
    draw = random.Random(5)
    new_rows, new_details = [], []
    for i in range(count):
        row, detail = rows[i % 12], details[i % 12]
        pace, error = draw.lognormvariate(0, 0.8), draw.uniform(0.2, 3)
        named = {"run": f"run-{i // 48}", "record_id": f"{row.record_id}-{i}"}
        errors = {name: getattr(row.accuracy, name) * error for name in ("acer", "apcer", "eer")}
        times = {
            name: getattr(row.speed, name) * pace
            for name in ("p05_ns", "p50_ns", "p50_low_ns", "p50_high_ns", "p90_ns", "load_ns")
        }
        net = f"{row.net}_{i % 9}"
        samples = tuple(int(ns * pace) for ns in detail.samples_ns)
        digest = f"{draw.getrandbits(256):064x}"
        new_rows.append(
            replace(
                row,
                **named,
                accuracy=row.accuracy.model_copy(update=errors),
                speed=replace(row.speed, **times),
                variant=row.variant.model_copy(update={"net": net}),
                artifact_sha256=digest,
                label=f"{net}.{row.precision}.{row.format}",
            )
        )
        new_details.append(replace(detail, **named, samples_ns=samples, sha256=digest))
    compared, reference = compared_rows(new_rows)
    return Table(compared, reference, reference_was_asked=False), new_details


class Outline(HTMLParser):
    """Which elements a page has, with their attributes, and the text inside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] in {"script", "style"} and data.strip():
            self.inside.append((self.elements[-1][0], data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


# ---- The numbers ----


def test_every_number_and_interval_of_the_page_is_the_tables_own():
    records = [*made.demo(), made.record("with_energy", power=made.power(12_000_000, 1000), minute=9)]
    table, data = table_of(records), data_of(records)
    compared = 0
    for shown in data["columns"]:
        known = column(shown["name"], table.rows)
        for place, row in enumerate(table.rows):
            number = known.number(row)
            assert shown["values"][place] == (known.value(row) if number is None else number)
            if known.numeric:
                assert shown["texts"][place] == known.text(row)
            if shown["low"] is not None:
                assert (shown["low"][place], shown["high"][place]) == (known.interval(row) or (None, None))
            compared += 1
    assert compared >= 35 * 13
    assert {"latency_p50", "acer", "energy", "speed_up", "apcer.print", "apcer.replay"} <= {
        one["name"] for one in data["columns"]
    }


def test_a_column_that_no_record_has_is_left_out_and_its_reason_stands_with_the_record():
    data = data_of([made.record()])
    assert "energy" not in {one["name"] for one in data["columns"]}
    missing = [data["pool"][place] for place in data["rows"]["missing"][0]]
    assert {
        "quantity": "power",
        "reason": made.NOT_MEASURED_ENERGY.absent,
        "remedy": made.NOT_MEASURED_ENERGY.remedy,
    } in missing


def test_an_absent_number_is_null_with_the_reason_of_its_column_and_never_zero():
    scored = made.record("scored")
    unscored = made.record("unscored", accuracy=made.NOT_SCORED, minute=1)
    data = data_of([scored, unscored])
    acer = next(one for one in data["columns"] if one["name"] == "acer")
    place = data["rows"]["id"].index(f"demo/{unscored.id}")
    assert acer["values"][place] is None
    assert acer["texts"][place] == "–"
    assert data["pool"][acer["absent"][place]] == "no data set was given"


def test_only_rows_of_one_machine_and_one_data_set_have_the_conditions_of_a_front_in_common():
    other_machine = made.MACHINE.model_copy(update={"soc": "Other CPU"})
    other_data = made.accuracy({"print": (1, 10)}, 1, 10, dataset_digest="feed")
    records = [
        made.record("a"),
        made.record("b"),
        made.record("c", machine=other_machine),
        made.record("d", accuracy=other_data),
    ]
    data = data_of(records)
    by_name = {column["name"]: column for column in data["columns"]}
    asked = {*by_name["latency_p50"]["conditions"], *by_name["acer"]["conditions"]}
    values = zip(*(data["rows"]["conditions"][name] for name in sorted(asked)), strict=True)
    groups = dict(zip(data["columns"][2]["values"], values, strict=True))
    assert data["columns"][2]["name"] == "net"
    assert groups["a"] == groups["b"]
    assert len({groups["a"], groups["c"], groups["d"]}) == 3


def test_a_record_of_a_phone_says_that_a_shell_is_not_an_app():
    for state, told in (
        (PhoneState(cpuset="/top-app"), "a program of adb's shell (cpuset /top-app), which"),
        (
            PhoneState(cpuset="/", cpu_group="/bg", clamp_min_percent=0, clamp_max_percent=39.06),
            "a program of adb's shell (cpuset /, cpu group /bg, uclamp 0 to 39.06 %), which",
        ),
        (PhoneState(), "a program of adb's shell, which"),  # an older record
    ):
        phone = made.MACHINE.model_copy(update={"state": state})
        assert dict(detail_of(made.record("a", machine=phone)).machine)["Scheduled as"].startswith(told)
    assert "Scheduled as" not in dict(detail_of(made.record("a")).machine)


def test_machines_of_one_name_are_told_apart_in_the_filter():
    other = made.MACHINE.model_copy(update={"soc": "Other CPU"})
    data = data_of([made.record("a"), made.record("b", machine=other)])
    device = next(one for one in data["facets"] if one["name"] == "device")
    assert len(device["values"]) == 2
    assert any("Other CPU" in value for value in device["values"])


def test_the_filters_count_every_row_once():
    data = data_of(made.demo())
    facets = {one["name"]: one for one in data["facets"]}
    assert facets["precision"]["values"] == ["fp32", "fp16", "int8"]
    assert [facets["precision"]["rows"].count(place) for place in range(3)] == [4, 4, 4]
    assert facets["doubts"]["values"] == ["no doubts", "doubtful"]
    assert facets["doubts"]["rows"].count(1) == 4
    assert facets["recipe"]["values"] == ["none"]


# ---- Samples ----


def test_few_samples_are_kept_as_they_are():
    assert thinned([1, 2, 3], 3) == (1, 2, 3)
    assert thinned([], 3) == ()


def test_thinning_keeps_both_ends_and_evenly_spaced_ranks():
    assert thinned(range(100, 200), 4) == (100, 133, 166, 199)


def test_a_million_runs_leave_a_bounded_number_of_samples():
    assert len(thinned(range(1_000_000), SAMPLES_A_RECORD)) == SAMPLES_A_RECORD


def test_the_page_knows_all_runs_and_keeps_fewer_samples():
    one = made.record(speed=made.speed(1_000_000, 10, runs=2000))
    data = data_of([one])
    assert data["rows"]["runs"] == [2000]
    samples = data["rows"]["samples_ns"][0]
    assert len(samples) == SAMPLES_A_RECORD
    assert (samples[0], samples[-1]) == (1_000_000, 1_019_990)


def test_the_samples_of_all_records_together_are_bounded(monkeypatch):
    monkeypatch.setattr(page_data, "SAMPLES_IN_ALL", 600)
    data = data_of(made.demo())
    assert {len(samples) for samples in data["rows"]["samples_ns"]} == {50}


# ---- How to measure it again ----


def test_the_command_names_the_file_and_the_plan():
    one = made.record("resnet18_map", "int8", "tflite", recipe="kd", card=None)
    card = made_card("resnet18_map", "kd")
    assert command(one) == (
        "swapbench run resnet18_map.kd.int8.tflite --runtime litert --device bench-1 --threads 1"
        " --target 0.02 --budget 60 --seed 0"
    )
    assert command(one.model_copy(update={"card": card})).startswith(
        "swapbench run --models resnet18_map.kd --precision int8 --format tflite --runtime litert"
    )


def test_the_command_says_what_of_the_data_a_record_cannot_know():
    real = made.record(accuracy=made.accuracy({"print": (1, 10)}, 1, 10, simulated=False))
    assert command(real).endswith(" --data FOLDER_OF_THE_DATA")
    assert command(made.record(accuracy=made.NOT_SCORED)).endswith(" --no-accuracy")


def test_the_command_quotes_a_name_for_the_shell():
    one = made.record().model_copy(update={"artifact": "my file; rm -rf x.onnx"})
    assert "'my file; rm -rf x.onnx'" in command(one)


def made_card(name: str, recipe: str | None):
    from swapbench.records import ModelCard, OutputMeaning, Preprocessing

    return ModelCard(
        name=name,
        recipe=recipe,
        summary="",
        family="f",
        architecture={},
        checkpoint="c",
        checkpoint_sha256="00",
        preprocessing=Preprocessing(width_px=8, height_px=8, crop_scale=1.0),
        output=OutputMeaning(kind="logits"),
    )


# ---- The document ----


def test_the_page_begins_with_what_it_is():
    html = html_of(made.demo())
    outline = Outline(html)
    assert html.startswith("<!doctype html>")
    assert outline.all("html") == [{"lang": "en"}]
    assert "<title>swapbench report: 12 records, demo</title>" in html
    metas = {one.get("name"): one.get("content") for one in outline.all("meta")}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert "12 exported" in metas["description"]
    assert len(outline.all("h1")) == 1


def test_simulated_data_are_said_above_everything_else():
    html = html_of(made.demo())
    assert html.index(SIMULATED) < html.index('id="filters"')
    assert SIMULATED not in html_of(made.demo(simulated=False))


def test_one_record_and_records_without_anything_measured_make_a_page():
    nothing = Absent(absent="it was not asked for")
    bare = made.record(speed=nothing, weight=nothing, accuracy=nothing, power=nothing, parity=nothing)
    data = data_of([bare])
    assert [one["name"] for one in data["columns"] if one["numeric"]] == []
    assert data["rows"]["samples_ns"] == [[]]


def test_a_record_of_the_first_schema_version_makes_a_page():
    old = made.record().model_copy(update={"schema_version": 1})
    ran = data_of([Record.model_validate(old.model_dump())])
    assert ["Record schema", "1"] in ran["pool"][ran["rows"]["ran"][0]]


def test_published_numbers_stand_apart_and_say_what_they_are():
    html = html_of(made.demo(), literature=literature())
    start = html.index("Published numbers")
    assert html.index('id="table"') < start < html.index("MADDG")
    assert PUBLISHED in html[start:]
    assert html.count('rowspan="') == 2 * len(literature())
    assert "MADDG" not in json.dumps(page_data_of(html))
    assert "Published numbers" not in html_of(made.demo())


def test_notes_are_shown_and_escaped():
    assert "<li>The run &lt;b&gt; was not finished.</li>" in html_of(
        made.demo(), notes=["The run <b> was not finished."]
    )


def test_the_same_records_give_the_same_bytes():
    assert html_of(made.demo()) == html_of(made.demo()[::-1])


def test_several_machines_are_warned_about():
    other = made.MACHINE.model_copy(update={"name": "bench-2"})
    html = html_of([made.record("a"), made.record("b", machine=other)])
    assert "The records come from 2 machines" in html


def test_the_dates_are_those_of_the_first_and_the_last_record():
    late = made.record("late").model_copy(update={"time": datetime(2027, 1, 2, tzinfo=UTC)})
    assert "2026-11-21 to 2027-01-02" in html_of([made.record(), late])


# ---- Nothing from elsewhere, nothing injected ----


def policy_of(html: str) -> dict[str, list[str]]:
    [policy] = [
        one["content"]
        for one in Outline(html).all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    return {name: values for name, *values in (part.split() for part in (policy or "").split(";"))}


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else():
    html = html_of(made.demo())
    policy = policy_of(html)
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert len(scripts) == 2
    digests.append(base64.b64encode(hashlib.sha256(page.chart_library().encode()).digest()).decode())
    assert page.unpacked(html, "library") == page.chart_library()
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == [f"'sha256-{digest}'" for digest in digests]
    assert policy["img-src"] == ["data:"]
    assert policy["base-uri"] == policy["form-action"] == ["'none'"]
    [style] = Outline(html).all("style")
    assert policy["style-src"] == [f"'nonce-{style['nonce']}'"]
    assert not {"'unsafe-inline'", "'unsafe-eval'"} & {
        value for values in policy.values() for value in values
    }


def test_no_element_names_anything_outside_the_file():
    outline = Outline(html_of(made.demo(), literature=literature()))
    for _tag, attributes in outline.elements:
        assert not {"src", "srcset", "style", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "data:,").startswith(("#", "data:"))
    assert not any("@import" in text or "url(" in text for tag, text in outline.inside if tag == "style")


def test_names_with_markup_stay_text():
    def spiked(html_name: str):
        one = made.record(html_name, doubts=(made.doubt(message=html_name, remedy=html_name),), minute=1)
        return one.model_copy(
            update={
                "run": html_name,
                "artifact": html_name,
                "machine": made.MACHINE.model_copy(update={"name": html_name}),
                "accuracy": made.accuracy({html_name: (1, 10)}, 1, 10, dataset=html_name),
            }
        )

    plain, nasty = Outline(html_of([spiked("x")])), Outline(html_of([spiked(NASTY)], notes=[]))
    assert [tag for tag, _ in plain.elements] == [tag for tag, _ in nasty.elements]
    assert not nasty.all("img")
    data = data_of([spiked(NASTY)])
    [shown] = next(one for one in data["columns"] if one["name"] == "net")["values"]
    assert shown == NASTY.replace("\u2028", " ")


def test_our_scripts_set_names_as_text_only():
    own = "".join((page.ASSETS / name).read_text() for name in page.SCRIPTS)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", own)
    assert len(own) < 95_000


def test_no_script_contains_what_would_end_it():
    html = html_of(made.demo())
    assert html.count("<script") == html.count("</script>") == 4
    assert "<!--" not in html


def test_making_a_page_does_not_import_the_chart_library():
    code = (
        "import sys; sys.path.insert(0, 'tests'); import made_records as made;"
        "from swapbench.report.page.document import page_html;"
        "from swapbench.report.page.detail import detail_of;"
        "from swapbench.report.tables.table import table_of; records = made.demo();"
        "page_html(table_of(records), map(detail_of, records));"
        "print([name for name in ('bokeh', 'tornado', 'matplotlib') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=page.Path(__file__).parents[1],
    )
    assert ran.stdout.strip() == "[]"


def test_a_missing_chart_library_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setattr(page.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFailed, match="pip install"):
        html_of(made.demo())


# ---- Many records ----


def test_ten_thousand_records_would_fit_into_fifteen_megabytes(monkeypatch):
    monkeypatch.setattr(
        page_data, "SAMPLES_IN_ALL", page_data.SAMPLES_IN_ALL // 10
    )  # as many a record as of 10,000
    table, details = many(1000)
    html = page_html(table, details)
    assert len(page_data_of(html)["rows"]["id"]) == 1000
    library = len(re.search(r'id="library">([^<]*)<', html)[1])
    assert 400_000 < library < 600_000
    assert library + 10 * (len(html.encode()) - library) < 15_000_000


def test_the_same_file_measured_in_two_runs_stays_two_records():
    first = made.record()
    second = first.model_copy(update={"run": "again", "artifact_sha256": "ef" * 32})
    data = data_of([first, second])
    assert dict(zip(data["rows"]["id"], data["rows"]["sha256"], strict=True)) == {
        f"demo/{first.id}": "cd" * 32,
        f"again/{first.id}": "ef" * 32,
    }


def test_every_column_of_the_registry_has_a_place_in_the_page():
    known = {*page_data._SECTIONS, ""}
    assert {page_data._section(one) for one in COLUMNS.values()} <= known
    assert set(page_data._FIRST_SHOWN) <= COLUMNS.keys()


def test_the_page_gives_networks_the_colours_of_the_figures_none_of_them_black_or_grey():
    style = (page.ASSETS / "page.css").read_text(encoding="utf-8")
    light = re.findall(r"--series-\d: (#\w+);", style)[: len(COLOURS)]
    assert light == [colour.lower() for colour in COLOURS]
    assert not any(len({colour[1:3], colour[3:5], colour[5:]}) == 1 for colour in light)
