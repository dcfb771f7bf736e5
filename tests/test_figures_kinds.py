"""Every other figure: its data, that its text is legible, and why it cannot be drawn."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from figure_checks import assert_legible
from made_records import NOT_SCORED, accuracy, decision, demo, power, record, speed, weight
from matplotlib import rc_context

from swapbench import store
from swapbench.errors import BadDataset, UnknownName, UserError
from swapbench.pad.score_files import write_score_file
from swapbench.pad.scores import FoldFrames, Scored
from swapbench.records import ALL_PRECISIONS, NOT_SUSTAINED, Plan, Record, Sustained, SustainedPoint
from swapbench.report.choose.resampling import Evidence
from swapbench.report.figures import (
    KINDS,
    SUFFIXES,
    Drawing,
    Options,
    det,
    draw,
    fps,
    latency,
    search,
    species,
    style,
    sustained,
    swap,
    system_search,
)
from swapbench.report.figures.style import page_of
from swapbench.report.tables.table import SIMULATED, table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER, SLIDE = page_of("paper", "column"), page_of("screen", "page")


def drawn(kind: str, records: list[Record], evidence: Evidence | None = None, **more: Any) -> Drawing:
    return draw(kind, table_of(records), evidence or Evidence.of(records), Options(**more))


def lines_of(found: Drawing) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(found.files["csv"].decode())))


def with_energy(records: list[Record], runs: tuple[int, ...] = (1000,)) -> list[Record]:
    return [
        one.model_copy(update={"power": power(20_000_000, runs[i % len(runs)])})
        for i, one in enumerate(records)
    ]


# ---- what all have in common ----


def warm(net: str, *points: tuple[float, int, float | None, int | None]) -> Record:
    """Latency in ms, temperature and thermal status minute by minute; p90 is half as much again."""
    return record(
        net,
        sustained=Sustained(
            points=tuple(
                SustainedPoint(
                    start_s=60 * minute,
                    p50_ns=int(ms * 1e6),
                    p90_ns=int(ms * 1.5e6),
                    runs=runs,
                    temperature_c=temperature,
                    thermal_status=status,
                )
                for minute, (ms, runs, temperature, status) in enumerate(points)
            )
        ),
    )


def kept(folder: Path, records: list[Record], scores: Scored) -> Evidence:
    nothing, frames = scores.rows(np.arange(0)), np.zeros(len(scores), dtype=np.int64)
    for one in records:
        path = store.scores_path(folder, one.id)
        path.parent.mkdir(exist_ok=True)
        write_score_file(path, [FoldFrames("", nothing, scores, frames[:0], frames)])
    return Evidence.of(records, lambda one: store.scores_path(folder, one.id))


def five_scores() -> Scored:
    """Bona fide .9 .7 .5; print .6 .2; replay .8 .1."""
    return Scored.of(
        [f"x{i}" for i in range(7)],
        [f"p{i}" for i in range(7)],
        [True, True, True, False, False, False, False],
        ["", "", "", "print", "print", "replay", "replay"],
        [0.9, 0.7, 0.5, 0.6, 0.2, 0.8, 0.1],
    )


def history(folder: Path, text: str) -> Path:
    path = folder / "search.csv"
    path.write_text(text)
    return path


HISTORY = """generation,origin,cost,fitness,eer,conv1
0,random,40000000,0.30,0.30,32
0,random,30000000,0.25,0.25,24
0,random,35000000,inf,,16
1,mutation,28000000,0.27,0.27,24
1,crossover,29000000,0.20,0.20,24
"""


def every_kind(folder: Path) -> dict[str, Drawing]:
    records = with_energy(demo()[:6])
    scored = [record("a"), record("b", "int8")]
    paced = with_energy(
        [record("a", run=f"r{i}", plan=Plan(fps=rate)) for i, rate in enumerate((5.0, 30.0, None))]
    )
    whole = [record(net, accuracy=accuracy({"print": (2, 100)}, 1, 50, frames=150)) for net in "ab"]
    hot = [warm("a", (1.0, 900, 30.0, 0), (1.4, 700, 38.0, 2))]
    return {
        "pareto": drawn("pareto", records),
        "decision": drawn("decision", [*whole, record("pair", form="onnx", decision=decision(2e6))]),
        "swap": drawn("swap", records),
        "latency": drawn("latency", records),
        "species": drawn("species", records),
        "det": drawn("det", scored, kept(folder, scored, five_scores())),
        "sustained": drawn("sustained", hot),
        "fps": drawn("fps", paced),
        "search": draw("search", None, options=Options(history=history(folder, HISTORY))),
    }


def test_every_kind_has_its_files_with_real_text(tmp_path: Path) -> None:
    first = every_kind(tmp_path)
    assert set(first) == set(KINDS)
    for kind, found in first.items():
        assert set(found.files) == set(SUFFIXES), (kind, found.reason)
        svg = found.files["svg"].decode()
        assert svg.count("<text") > 5, kind
        assert b"/Type3" not in found.files["pdf"], kind
        assert lines_of(found), kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_without_anything_to_show_says_why_in_words(kind: str) -> None:
    bare = record(speed=NOT_SCORED, accuracy=NOT_SCORED, weight=NOT_SCORED)
    found = drawn(kind, [bare])
    assert found.files == {}
    assert len(found.reason.split()) > 4
    assert draw(kind, None).files == {}


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="pareto"):
        drawn("paretto", [record()])


# ---- swap ----


def test_every_axis_of_swap_says_how_many_times_better() -> None:
    big = record(
        "big", speed=speed(8_000_000, 0), weight=weight(8_000_000, 9, 10**9), power=power(20_000_000, 1000)
    )
    little = record(
        "little",
        speed=speed(2_000_000, 0),
        weight=weight(1_000_000, 9, 9),
        accuracy=accuracy({"print": (8, 100)}, 0, 50),
        power=power(20_000_000, 4000),
    )
    lines, left_out = swap.lines_of(table_of([big, little]).rows)
    assert left_out == ()
    [line] = [one for one in lines if one.model == "little"]
    assert (line.reference, line.speed, line.weight) == ("big.fp32.onnx", 4.0, 8.0)
    # ACER: (0.04 + 0.02) / 2 = 0.03 of the reference, (0.08 + 0) / 2 = 0.04 here
    assert line.accuracy == pytest.approx(0.75)
    assert line.power == pytest.approx(4.0)


def test_what_a_file_lacks_breaks_its_line_and_is_counted_at_the_foot() -> None:
    records = with_energy(demo()[:3])
    records[1] = records[1].model_copy(update={"power": NOT_SCORED})
    lines, _ = swap.lines_of(table_of(records).rows)
    assert [line.power is None for line in lines].count(True) == 1
    with rc_context(PAPER.rc):
        figure = swap.figure_of(lines, PAPER)
        assert_legible(figure)
    assert "n/a: 1 of 3" in " ".join(text.get_text() for text in figure.axes[0].get_xticklabels())


def test_a_quantity_that_no_file_has_takes_no_room_and_is_named_in_the_caption() -> None:
    found = drawn("swap", demo()[:3])
    assert "Power" not in found.files["svg"].decode()
    assert "Not measured, so not shown: power." in found.files["txt"].decode()
    whole = drawn("swap", with_energy(demo()[:3]))
    assert "Power" in whole.files["svg"].decode()
    assert "Not measured" not in whole.files["txt"].decode()


def test_a_quantity_that_one_panel_lacks_is_said_to_be_unknown_there() -> None:
    records = [
        *with_energy([record("a"), record("b")]),
        record("a", form="tflite"),
        record("b", form="tflite"),
    ]
    svg = drawn("swap", records).files["svg"].decode()
    assert svg.count("not known") == 1
    assert svg.count("Power") == 2


def test_rows_without_a_reference_are_left_out_of_swap() -> None:
    found = drawn("swap", [record("a", "int8"), record("b", "int8")])
    assert found.left_out == ("a.int8.onnx", "b.int8.onnx")
    assert "reference" in found.reason


# ---- latency ----


def test_every_run_is_in_one_bin_of_its_file() -> None:
    records = [record("a", speed=speed(1_000_000, 10_000, runs=800)), record("b", speed=speed(5, 0, runs=20))]
    found, left_out = latency.distributions_of(table_of(records).rows, Evidence.of(records))
    assert left_out == ()
    assert [sum(one.runs) for one in found] == [800, 20]
    first = found[0]
    assert first.edges_ns[0] <= 1_000_000 < first.edges_ns[1]
    assert first.edges_ns[-2] <= 8_990_000 < first.edges_ns[-1]
    assert first.p90_ns is not None
    assert found[1].p90_ns is None


def test_the_data_of_latency_hold_every_bin_with_runs() -> None:
    lines = lines_of(drawn("latency", [record(speed=speed(1_000_000, 10_000, runs=800))]))
    assert sum(int(line["runs"]) for line in lines) == 800
    assert all(float(line["bin_low_ns"]) < float(line["bin_high_ns"]) for line in lines)
    assert {line["p50_ns"] for line in lines} == {"4940000.0"}


def test_more_files_than_a_page_holds_are_left_out_by_name() -> None:
    records = [record(f"n{i:02d}", speed=speed(1_000_000, 1000, runs=20, workers=1)) for i in range(45)]
    found, left_out = latency.distributions_of(table_of(records).rows, Evidence.of(records))
    assert (len(found), left_out) == (40, tuple(f"n{i}.fp32.onnx" for i in range(40, 45)))


def test_names_of_files_are_told_apart_by_their_ends() -> None:
    stem = "a_network_with_a_very_long_name_that_fills_the_column"
    names = [f"{stem}.fp32.onnx", f"{stem}.int8.onnx"]
    assert list(style.distinct(names, 20).values()) == ["a_net…lumn.fp32.onnx", "a_net…lumn.int8.onnx"]


def test_names_that_differ_only_where_nothing_is_shown_get_numbers() -> None:
    names = [f"{'a' * 30}{middle}{'b' * 30}" for middle in "xy"]
    shown = style.distinct([*names, "short"], 12)
    assert list(shown.values()) == ["a…bbbbbb (1)", "a…bbbbbb (2)", "short"]


def test_the_latency_figure_shows_two_long_names_as_two() -> None:
    long = "a_network_with_a_very_long_name_that_fills_the_column"
    svg = drawn("latency", [record(long), record(long, "int8")]).files["svg"].decode()
    labels = set(re.findall(r">([^<>]*…[^<>]*\.onnx)<", svg))
    assert {label[-10:] for label in labels} == {".fp32.onnx", ".int8.onnx"}


# ---- sizes and captions ----


@pytest.mark.parametrize(
    ("width", "inches"), [("column", 3.5), ("page", 7.16), ("5.2", 5.2), ("5.2in", 5.2), ("6 in", 6.0)]
)
def test_a_figure_is_as_wide_as_was_asked(width: str, inches: float) -> None:
    found = draw("swap", table_of(demo()[:3]), options=Options(width=width))
    assert f'width="{72 * inches:.4g}' in found.files["svg"].decode()


@pytest.mark.parametrize("width", ["1", "0", "99", ".5in", "3.2"])
def test_a_width_without_room_is_refused_with_what_there_is(width: str) -> None:
    with pytest.raises(UserError, match=r"from 3\.3 to 20 inches"):
        draw("swap", table_of(demo()[:3]), options=Options(width=width))


@pytest.mark.parametrize("width", ["wide", "-3", "", "5 cm", "nan", "1e1"])
def test_a_width_that_is_none_is_an_unknown_name(width: str) -> None:
    with pytest.raises(UnknownName, match="column, page"):
        draw("swap", table_of(demo()[:3]), options=Options(width=width))


def test_a_caption_says_what_is_shown_of_how_many_runs_and_people_and_which_intervals() -> None:
    scores = accuracy({"print": (2, 100)}, 1, 50).replace(subjects=35)
    records = [record("a", accuracy=scores), record("b", accuracy=scores)]
    found = drawn("pareto", records).files
    text = found["txt"].decode()
    first = text.partition(" 2 records of run demo on ")[0]
    assert (
        first
        == "ACER against median latency of each file, with their intervals; the line is the Pareto front."
    )
    speed = table_of(records).rows[0].speed
    assert speed is not None
    assert f"A file was timed in {speed.runs} runs of {speed.workers} fresh processes." in text
    assert "Intervals of medians: 95 %, order statistics over processes." in text
    assert "50 bona fide and 100 attack presentations of 35 people." in text
    assert text.endswith(f"{SIMULATED}\n")
    tex = found["tex"].decode()
    assert tex.startswith(r"\caption{ACER against median latency")
    assert tex.endswith("\\label{fig:pareto}\n")
    assert r"95 \%" in tex


# ---- precisions ----


def test_every_precision_is_drawn_in_its_own_way() -> None:
    for looks in (style.PRECISIONS, style.PRECISION_LINES, style.PRECISION_MARKERS, species.COLOUR_OF):
        assert tuple(looks) == ALL_PRECISIONS
        assert len(set(looks.values())) == len(ALL_PRECISIONS)


# ---- species ----


def many_species(networks: int) -> list[Record]:
    return [
        record(f"n{number:02d}", precision, accuracy=accuracy({"mask": (1, 100), "print": (2, 100)}, 1, 50))
        for number in range(networks)
        for precision in ("fp32", "int8")
    ]


def test_species_stand_on_as_many_pages_as_they_need_none_higher_than_a_page_of_paper() -> None:
    found = drawn("species", many_species(30))
    assert found.left_out == ()
    pages = found.pages("svg")
    assert list(pages) == ["", ".2", ".3"]
    svgs = [page.decode() for page in pages.values()]
    assert all(float(re.search(r'height="([\d.]+)pt"', svg)[1]) / 72 < 9.3 for svg in svgs)  # type: ignore[index]
    for number in range(30):
        assert sum(f"n{number:02d}, onnx" in svg for svg in svgs) == 1


def test_a_network_with_more_species_than_a_panel_holds_has_several() -> None:
    kinds = {f"mask {number:02d}": (1, 100) for number in range(40)}
    precisions = ("fp32", "fp16", "int8")
    records = [record("a", precision, accuracy=accuracy(kinds, 1, 50)) for precision in precisions]
    first, second = (page.decode() for page in drawn("species", records).pages("svg").values())
    assert [f">mask {number:02d}<" in first for number in (0, 15, 16, 39)] == [True, True, False, False]
    assert [f">mask {number:02d}<" in second for number in (0, 15, 16, 39)] == [False, False, True, True]
    assert ["part 1 of 3" in first, "part 2 of 3" in second, "part 3 of 3" in second] == [True] * 3


def test_a_precision_that_is_not_there_takes_no_room() -> None:
    one, two = (species.points_of(table_of(many_species(1)[:count]).rows)[0] for count in (1, 2))
    with rc_context(PAPER.rc):
        heights = [
            species.figure_of(points, PAPER).axes[0].get_window_extent().height / 300 for points in (one, two)
        ]
    assert heights == pytest.approx([0.04 + 2 * (0.05 + 0.075), 0.04 + 2 * (0.05 + 2 * 0.075)])


def test_species_are_compared_before_and_after_quantisation_with_their_intervals() -> None:
    records = [
        record("a", accuracy=accuracy({"print": (2, 100), "mask": (4, 100)}, 1, 50)),
        record("a", "int8"),
    ]
    points, _ = species.points_of(table_of(records).rows)
    assert [(one.precision, one.species, one.apcer) for one in points] == [
        ("fp32", "mask", 0.04),
        ("fp32", "print", 0.02),
        ("int8", "print", 0.02),
        ("int8", "replay", 0.04),
    ]
    assert (points[0].apcer_low, points[0].apcer_high) == pytest.approx((0.03, 0.05))
    assert {one.block for one in points} == {"a, onnx, onnxruntime"}
    with rc_context(PAPER.rc):
        figure = species.figure_of(points, PAPER)
        assert_legible(figure)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["mask", "print", "replay"]


# ---- det ----


def test_rates_at_every_threshold_are_those_on_paper() -> None:
    apcer, bpcer = det.rates_at(five_scores(), np.array([0.15, 0.55, 0.75, np.inf]))
    # at .15 both prints pass; at .55 one print and one replay; at .75 only one replay of two; at inf nothing
    assert apcer.tolist() == [1.0, 0.5, 0.5, 0.0]
    assert bpcer == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_score_on_the_threshold_is_accepted_in_a_det_curve_too() -> None:
    apcer, bpcer = det.rates_at(five_scores(), np.array([0.9]))
    assert (apcer.tolist(), bpcer) == ([0.0], pytest.approx([2 / 3]))


def test_operating_points_are_the_frozen_and_the_own_eer_threshold(tmp_path: Path) -> None:
    records = [record("a", accuracy=accuracy({"print": (1, 2), "replay": (1, 2)}, 1, 3, threshold=0.55))]
    points, _ = det.points_of(table_of(records).rows, kept(tmp_path, records, five_scores()))
    [frozen] = [one for one in points if one.what == "dev threshold"]
    assert (frozen.threshold, frozen.apcer) == (0.55, 0.5)
    assert frozen.bpcer == pytest.approx(1 / 3)
    [own] = [one for one in points if one.what == "test EER threshold"]
    # pooled: at .7 one attack of four and one bona fide of three: nearest to equal among all thresholds
    assert own.threshold == 0.7
    assert (own.apcer, own.bpcer) == (0.5, pytest.approx(1 / 3))
    curve = [(one.apcer, one.bpcer) for one in points if one.what == "curve"]
    assert curve[0] == (1.0, 0.0)
    assert curve[-1] == (0.0, 1.0)


def test_only_the_corners_of_a_curve_are_kept() -> None:
    # attacks leave at .1, .2 and .3, bona fide at .4 and .5: two straight stretches, three corners
    apcer, bpcer = np.array([1, 2 / 3, 1 / 3, 0, 0, 0]), np.array([0, 0, 0, 0, 1 / 2, 1])
    assert det._thinned(np.arange(6.0), apcer, bpcer).tolist() == [0, 3, 5]


def test_axes_are_normal_deviates(tmp_path: Path) -> None:
    normal = NormalDist()
    found = det.deviates(np.array([0.5, 0.1587, 0.0, 1.0]), 0.01)
    assert found == pytest.approx([0, -1, normal.inv_cdf(0.01), normal.inv_cdf(0.99)], abs=1e-3)
    records = [record("a")]
    points, _ = det.points_of(table_of(records).rows, kept(tmp_path, records, five_scores()))
    with rc_context(PAPER.rc):
        figure = det.figure_of(points, PAPER)
        assert_legible(figure)
    ticks = zip(figure.axes[0].get_xticks(), figure.axes[0].get_xticklabels(), strict=True)
    for place, text in ticks:
        assert normal.cdf(place) == pytest.approx(float(text.get_text()) / 100)


def test_a_million_scores_make_a_small_curve() -> None:
    rng = np.random.default_rng(0)
    thresholds = np.sort(rng.normal(size=100_000))
    apcer = np.linspace(1, 0, 100_000)
    kept_thresholds = det._thinned(thresholds, apcer, 1 - apcer)
    assert 100 < kept_thresholds.size < 1000


def test_damaged_scores_are_an_error_with_the_name_of_their_file(tmp_path: Path) -> None:
    records = [record("a")]
    evidence = kept(tmp_path, records, five_scores())
    store.scores_path(tmp_path, records[0].id).write_bytes(b"not gzip")
    with pytest.raises(BadDataset, match=r"a\.fp32\.onnx"):
        drawn("det", records, evidence)


def test_records_whose_scores_were_not_kept_are_left_out(tmp_path: Path) -> None:
    records = [record("a"), record("b")]
    evidence = kept(tmp_path, records[:1], five_scores())
    evidence = Evidence.of(records, evidence.scores_path)
    assert drawn("det", records, evidence).left_out == ("b.fp32.onnx",)


# ---- sustained ----


def hot() -> list[Record]:
    return [
        warm("a", (1.0, 900, 30.0, 0), (1.2, 800, 36.0, 1), (1.5, 700, 41.0, 1), (1.6, 650, 43.0, 3)),
        warm("b", (2.0, 450, 30.0, 0), (2.0, 450, None, 0), (2.0, 450, 33.0, 0), (2.1, 440, 34.0, 0)),
    ]


def test_sustained_runs_keep_their_minutes() -> None:
    lines = lines_of(drawn("sustained", hot()))
    assert [float(line["start_s"]) for line in lines[:4]] == [0, 60, 120, 180]
    assert [line["temperature_c"] for line in lines[4:]] == ["30.0", "", "33.0", "34.0"]


def test_throttling_is_said_where_the_status_rises() -> None:
    moments, _ = sustained.moments_of(table_of(hot()).rows, Evidence.of(hot()))
    risen = sustained.rises([one for one in moments if one.label.startswith("a")])
    assert [(one.start_s, status) for one, status in risen] == [(60.0, 1), (180.0, 3)]
    with rc_context(PAPER.rc):
        figure = sustained.figure_of(moments, PAPER)
        assert_legible(figure)
    assert [text.get_text() for text in figure.axes[0].texts] == ["light", "severe"]


def test_without_a_temperature_there_is_one_panel_and_a_note() -> None:
    cold = [warm("a", (1.0, 900, None, None), (1.1, 800, None, None))]
    moments, _ = sustained.moments_of(table_of(cold).rows, Evidence.of(cold))
    with rc_context(PAPER.rc):
        figure = sustained.figure_of(moments, PAPER)
    assert len(figure.axes) == 1
    assert "The device gave no temperature." in [text.get_text() for text in figure.texts]


def test_records_without_a_sustained_run_are_left_out() -> None:
    assert record().sustained == NOT_SUSTAINED
    assert drawn("sustained", [*hot(), record("c")]).left_out == ("c.fp32.onnx",)


# ---- fps ----


def test_energy_of_a_decision_stands_at_the_rate_that_was_reached() -> None:
    # 10 s windows: 50 runs at 5 fps; asked for 1000 fps, 400 runs are 40 a second
    records = [
        record("a", run="r1", plan=Plan(fps=5), power=power(10_500_000, 50)),
        record("a", run="r2", plan=Plan(fps=1000), power=power(14_000_000, 400)),
    ]
    points, left_out = fps.points_of(table_of(records).rows, Evidence.of(records))
    assert left_out == ()
    assert [(one.asked_fps, one.reached_fps, one.gross_uj) for one in points] == [
        (5.0, 5.0, 210_000.0),
        (1000.0, 40.0, 35_000.0),
    ]
    assert [one.above_idle_uj for one in points] == pytest.approx([10_000, 10_000])
    assert {one.file for one in points} == {"a.fp32.onnx, onnxruntime"}


def test_an_energy_that_the_meter_could_not_resolve_is_a_bound() -> None:
    records = [
        record("a", run="r1", plan=Plan(fps=5), power=power(10_001_000, 50)),
        record("a", run="r2", plan=Plan(fps=50), power=power(14_000_000, 500)),
    ]
    found = drawn("fps", records)
    assert lines_of(found)[0]["above_idle_uj"] == ""
    assert "could not resolve" in found.files["svg"].decode()


def test_energies_back_to_back_only_have_no_rate_to_be_drawn_against() -> None:
    assert "back to back" in drawn("fps", with_energy([record("a")])).reason


# ---- search ----


SYSTEM = """setting,dev_acer,dev_apcer,dev_bpcer,dev_cost_ns,dev_asked,dev_frames,chosen
0,0.2,0.3,0.1,1000000,1.0 0.0,1.0,0
0.1,0.1,0.15,0.05,3000000,1.0 0.2,1.0,1
always,0.1,0.1,0.1,11000000,1.0 1.0,1.0,0
"""


def test_the_search_of_a_system_is_drawn_with_what_was_chosen(tmp_path: Path) -> None:
    path = tmp_path / "pair.search.csv"
    path.write_text(SYSTEM, encoding="utf-8")
    found = draw("search", None, options=Options(history=path))
    lines = found.files["csv"].decode().splitlines()
    assert lines[0] == "setting,acer,apcer,bpcer,cost,axis,chosen"
    assert lines[2] == '0.1,0.1,0.15,0.05,3.0,"Time of a decision on development, ms",true'
    assert found.shows.startswith("What a decision system was chosen from: error rates and mean cost of 3")
    with rc_context(PAPER.rc):
        assert_legible(system_search.figure_of(system_search.read_search(path, SYSTEM), PAPER))
    with pytest.raises(UserError, match="is no search of a system"):
        system_search.read_search(path, SYSTEM.replace("dev_cost_ns", "cost"))


def test_a_history_as_the_search_writes_it_is_read(tmp_path: Path) -> None:
    found = search.read_history(history(tmp_path, HISTORY))
    assert [(one.generation, one.cost, one.fitness, one.best) for one in found] == [
        (0, 40e6, 0.30, True),
        (0, 30e6, 0.25, True),
        (0, 35e6, None, False),
        (1, 28e6, 0.27, False),
        (1, 29e6, 0.20, True),
    ]


def test_what_the_file_calls_best_is_kept_and_lines_may_be_in_any_order(tmp_path: Path) -> None:
    text = "Generation, fitness, best, candidate, macs\n1,0.2,no,b,9\n0,0.3,yes,a,8\n"
    found = search.read_history(history(tmp_path, text))
    assert [(one.candidate, one.best, one.cost, one.cost_unit) for one in found] == [
        ("a", True, 8.0, "MACs"),
        ("b", False, 9.0, "MACs"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column generation"),
        ("generation,cost\n", "no column fitness"),
        ("generation,fitness\n", "holds no candidate"),
        ("generation,fitness\n0,good\n", "line 2: fitness 'good' is not a number"),
        ("generation,fitness\n0,1\n-1,1\n", "line 3: generation '-1' is not a whole number"),
        ("generation,fitness\n1.5,1\n", "line 2: generation '1.5'"),
        ("generation,fitness,best\n0,1,perhaps\n", "line 2: best is 'perhaps'"),
        ("generation,fitness,cost,cost_unit\n0,1,5,MACs\n0,1,5,ns\n", "several units: MACs, ns"),
        ("generation,fitness\n0,\xff\n", "is not a number"),
    ],
)
def test_a_history_that_cannot_be_read_says_where(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        search.read_history(history(tmp_path, text))


def test_a_missing_history_and_bytes_that_are_no_text_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no search history"):
        search.read_history(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"generation,fitness\n0,\xff\n")
    with pytest.raises(UserError, match="cannot read"):
        search.read_history(tmp_path / "x.csv")


def test_candidates_without_a_fitness_are_counted_in_the_figure(tmp_path: Path) -> None:
    found = draw("search", None, options=Options(history=history(tmp_path, HISTORY)))
    assert found.left_out == ("generation 0",)
    assert "1 candidate without a fitness." in found.files["svg"].decode()
    with rc_context(PAPER.rc):
        assert_legible(search.figure_of(search.read_history(history(tmp_path, HISTORY)), PAPER))


# ---- legible in every size ----


def figures(on: Any, folder: Path) -> dict[str, Figure]:
    records = with_energy(demo())
    table, evidence = table_of(records), Evidence.of(records)
    scored = [record("a_network_with_a_long_name"), record("a_network_with_a_long_name", "int8")]
    paced = with_energy(
        [record("a", run=f"r{i}", plan=Plan(fps=rate)) for i, rate in enumerate((1.0, 30.0, None))],
        (10, 300, 900),
    )
    return {
        "swap": swap.figure_of(swap.lines_of(table.rows)[0], on),
        "latency": latency.figure_of(latency.distributions_of(table.rows, evidence)[0], on),
        "species": species.figure_of(species.points_of(table.rows)[0], on),
        "det": det.figure_of(
            det.points_of(table_of(scored).rows, kept(folder, scored, five_scores()))[0], on
        ),
        "sustained": sustained.figure_of(
            sustained.moments_of(table_of(hot()).rows, Evidence.of(hot()))[0], on
        ),
        "fps": fps.figure_of(fps.points_of(table_of(paced).rows, Evidence.of(paced))[0], on),
        "search": search.figure_of(search.read_history(history(folder, HISTORY)), on),
    }


def test_the_same_records_give_the_same_bytes_of_every_kind(tmp_path: Path) -> None:
    def bytes_of(figure: Figure) -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    with rc_context(PAPER.rc):
        first, again = figures(PAPER, tmp_path), figures(PAPER, tmp_path)
        for kind, figure in first.items():
            assert bytes_of(figure) == bytes_of(again[kind]), kind


NARROWEST = page_of("paper", "3.3")


@pytest.mark.parametrize("on", [PAPER, SLIDE, NARROWEST], ids=["paper", "slide", "narrowest"])
def test_no_text_of_any_kind_is_cut_off_or_covered(on: Any, tmp_path: Path) -> None:
    with rc_context(on.rc):
        for figure in figures(on, tmp_path).values():
            assert figure.get_figwidth() == on.width_in
            assert_legible(figure)
