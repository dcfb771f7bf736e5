"""The Pareto figure: its data, its labels, its bytes, and the files that a report writes of it."""

from __future__ import annotations

import csv
import functools
import io
import itertools
from typing import TYPE_CHECKING

import pytest
from figure_checks import assert_legible
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import MACHINE, NOT_SCORED, accuracy, demo, doubt, power, record, speed, weight

from swapbench.errors import UnknownName, UserError
from swapbench.report.choose.resampling import NOTHING, Evidence
from swapbench.report.figures import Drawing, Options, draw
from swapbench.report.figures.intervals import draw_intervals
from swapbench.report.figures.labels import label_boxes, overlap
from swapbench.report.figures.pareto import Labels, figure_of, labelled
from swapbench.report.figures.pareto_points import points_csv, points_of
from swapbench.report.figures.style import COLOURS, PAGES, Looks, page_of, shortened
from swapbench.report.tables.columns import column
from swapbench.report.tables.table import SIMULATED, table_of
from swapbench.report.writer import write_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

    from swapbench.records import Accuracy, Record
    from swapbench.report.figures.intervals import Uncertainty
    from swapbench.report.figures.pareto_points import Point

LATENCY, ACER = column("latency_p50"), column("acer")
PAPER = page_of("paper", "column")


@functools.cache
def demo_files() -> Mapping[str, bytes]:
    return drawn(demo()).files


def drawn(records: list[Record], **more: str) -> Drawing:
    return draw("pareto", table_of(records), Evidence.of(records), Options(**more))  # type: ignore[arg-type]


def points(records: list[Record], x: str = "latency_p50", y: str = "acer") -> tuple[Point, ...]:
    return points_of(table_of(records).rows, column(x), column(y), Evidence.of(records))[0]


# ---- the points ----


def test_points_keep_the_numbers_of_their_rows() -> None:
    [point] = points([record()])
    assert (point.x, point.file_bytes, point.on_front) == (1_440_000, 2_000_000, True)
    assert point.y == pytest.approx(0.03)
    assert (point.y_low, point.y_high) == pytest.approx((0.01, 0.05))


def test_rows_that_lack_one_of_the_numbers_are_left_out_by_name() -> None:
    rows = table_of([record("a"), record("b", accuracy=NOT_SCORED), record("c", speed=NOT_SCORED)]).rows
    found, left_out = points_of(rows, LATENCY, ACER, NOTHING)
    assert [point.label for point in found] == ["a.fp32.onnx"]
    assert left_out == ("b.fp32.onnx", "c.fp32.onnx")


def test_each_machine_and_each_data_set_has_its_own_front() -> None:
    slow = MACHINE.model_copy(update={"name": "pixel7"})
    there = accuracy({"print": (50, 100)}, 1, 50, dataset_digest="fedcba")
    found = points(
        [
            record("a"),
            record("b", machine=slow, speed=speed(9_000_000, 9)),
            record("c", speed=speed(9_000_000, 9), accuracy=there),
        ]
    )
    assert all(point.on_front for point in found)
    assert len({(point.machine, point.data) for point in found}) == 3


def test_the_data_of_the_figure_are_complete_and_not_rounded() -> None:
    found = points(demo())
    lines = list(csv.DictReader(io.StringIO(points_csv(found, LATENCY, ACER))))
    assert [line["label"] for line in lines] == [point.label for point in found]
    assert [float(line["latency_p50_high_ns"]) for line in lines] == [point.x_high for point in found]
    assert [float(line["acer_low"]) for line in lines] == [point.y_low for point in found]
    assert {line["data_simulated"] for line in lines} == {"true"}
    assert [line["on_front"] == "true" for line in lines] == [point.on_front for point in found]
    assert [float(line["share_on_front"]) for line in lines] == [point.share_on_front for point in found]


@pytest.mark.parametrize(
    ("x", "y", "names"),
    [
        ("energy", "acer", ["energy_above_idle_uj", "energy_above_idle_low_uj", "energy_above_idle_high_uj"]),
        ("speed_up", "accuracy_kept", ["speed_up", "speed_up_low", "speed_up_high", "accuracy_kept"]),
        ("size", "macs", ["file_bytes", "macs"]),
        ("apcer.print", "p90", ["apcer.print", "latency_p90_ns"]),
    ],
)
def test_any_two_columns_can_be_drawn_under_the_names_of_the_table(x: str, y: str, names: list[str]) -> None:
    from matplotlib import rc_context

    records = [one.model_copy(update={"power": power(20_000_000, 900)}) for one in demo()]
    rows = table_of(records).rows
    across, up = column(x, rows), column(y, rows)
    found, left_out = points_of(rows, across, up, NOTHING)
    assert (len(found), left_out) == (12, ())
    header = points_csv(found, across, up).splitlines()[0].split(",")
    assert set(names) <= set(header)
    assert len(header) == len(set(header))
    with rc_context(PAPER.rc):
        assert_legible(figure_of(found, PAPER, (across, up)))


def test_the_better_direction_of_each_column_decides_who_is_on_the_front() -> None:
    found = points(demo(), "speed_up", "auc")
    assert max(found, key=lambda point: point.x).on_front
    assert max(found, key=lambda point: (point.y, point.x)).on_front
    assert not min(found, key=lambda point: (point.x, point.y)).on_front


def test_a_column_of_text_is_no_axis_and_an_unknown_one_is_named() -> None:
    with pytest.raises(UserError, match="column runtime holds text"):
        drawn([record()], x="runtime")
    with pytest.raises(UnknownName, match="acre"):
        drawn([record()], y="acre")


# ---- intervals ----


def drawn_intervals(how: Uncertainty, *, log: bool = False) -> Axes:
    """An empty plot with one point at (10, 2) whose intervals are [5, 20] and [1, 4]."""
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    if log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    draw_intervals(axes, [((10.0, 5.0, 20.0), (2.0, 1.0, 4.0))], how, "#0072b2", 0.8, PAPER)
    return axes


@pytest.mark.parametrize("log", [False, True])
def test_an_ellipse_ends_where_both_intervals_do(log: bool) -> None:
    axes = drawn_intervals("ellipse", log=log)
    [shape] = axes.collections
    corners = shape.get_paths()[0].vertices
    assert [*corners.min(axis=0), *corners.max(axis=0)] == pytest.approx([5, 1, 20, 4])
    assert [*axes.lines, *axes.containers] == []
    lowest = corners[corners[:, 1].argmin()]
    assert lowest[0] == pytest.approx(10)  # the narrow end stands at the value


def test_bars_end_where_the_intervals_do_and_only_caps_have_caps() -> None:
    for how, caps in (("bars", 0), ("caps", 4)):
        axes = drawn_intervals(how)  # type: ignore[arg-type]
        across, up = axes.collections
        assert across.get_segments()[0].tolist() == [[5, 2], [20, 2]]
        assert up.get_segments()[0].tolist() == [[10, 1], [10, 4]]
        assert len([line for line in axes.lines if line.get_marker() not in {"", "None"}]) == caps


def test_where_one_axis_has_no_interval_an_ellipse_is_a_bar() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw_intervals(axes, [((10.0, 5.0, 20.0), (2.0, 2.0, 2.0))], "ellipse", "#0072b2", 0.8, PAPER)
    assert axes.collections[0].get_segments()[0].tolist() == [[5, 2], [20, 2]]


def test_a_way_to_draw_intervals_is_chosen_by_name_and_told_in_the_caption() -> None:
    few = demo()[:3]
    ways = {how: drawn(few, uncertainty=how) for how in ("bars", "caps", "ellipse")}
    assert len({found.files["svg"] for found in ways.values()}) == 3
    assert "half axes of an ellipse" in ways["ellipse"].files["txt"].decode()
    assert "ellipse" not in ways["bars"].files["txt"].decode()
    with pytest.raises(UnknownName, match="boxes"):
        drawn(few, uncertainty="boxes")


# ---- labels ----


def test_a_label_alone_sits_beside_its_point() -> None:
    [box] = label_boxes([(50, 50, 3)], [(20, 6)], [], [], (0, 0, 100, 100))
    assert overlap(box, (47, 47, 53, 53)) == 0
    assert min(abs(box[0] - 50), abs(box[2] - 50)) < 30


def test_labels_of_one_place_do_not_cover_each_other() -> None:
    boxes = label_boxes([(50, 50, 3)] * 3, [(20, 6)] * 3, [], [], (0, 0, 200, 200))
    assert all(overlap(one, other) == 0 for i, one in enumerate(boxes) for other in boxes[:i])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200), st.floats(1, 8)), min_size=1, max_size=6))
def test_labels_stay_inside_and_are_placed_the_same_every_time(
    anchors: list[tuple[float, float, float]],
) -> None:
    sizes = [(60.0, 8.0)] * len(anchors)
    obstacles = [(x - r, y - r, x + r, y + r) for x, y, r in anchors]
    boxes = label_boxes(anchors, sizes, obstacles, [], (0, 0, 300, 200))
    assert boxes == label_boxes(anchors, sizes, obstacles, [], (0, 0, 300, 200))
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 300 + 1e-6 and box[3] <= 200 + 1e-6 for box in boxes)


def test_a_label_says_how_often_and_how_doubtful() -> None:
    records = [record("a", doubts=(doubt(),)), record("b", speed=speed(50_000_000, 10))]
    first, second = points(records, y="size")
    assert Labels(shares=True).text(first, 36) == "a.fp32.onnx † 100 %"
    assert Labels(shares=True).text(second, 36) == "b.fp32.onnx 0 %"
    assert Labels().text(first, 36) == "a.fp32.onnx †"


def test_many_files_have_numbers_in_the_plot_and_their_whole_names_in_a_legend() -> None:
    from matplotlib import rc_context

    long = "mobilefacenet.uniform-40M-with-a-long-recipe"
    records = [
        record(f"{long}-{n}", speed=speed(1_000_000 * n, 10), accuracy=errors(9 - n)) for n in (1, 2, 3, 4)
    ]
    with rc_context(PAPER.rc):
        figure = figure_of(points(records), PAPER, (LATENCY, ACER))
        assert_legible(figure)
        [axes] = figure.axes
        assert sorted(text.get_text() for text in axes.texts) == ["1", "2", "3", "4"]
        named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert [f"{n}  {long}-{n}.fp32.onnx" for n in (1, 2, 3, 4)] == named[:4]


def errors(wrong: int) -> Accuracy:
    return accuracy({"print": (wrong, 100)}, wrong, 100)


def test_an_unknown_way_to_label_is_refused() -> None:
    with pytest.raises(UnknownName, match="way to label points"):
        draw("pareto", table_of(demo()), options=Options(labels="numbers"))


def test_no_axis_of_a_share_or_a_time_goes_below_zero() -> None:
    from matplotlib import rc_context

    with rc_context(PAPER.rc):
        [axes] = figure_of(
            points([record("a", accuracy=errors(0)), record("b")]), PAPER, (LATENCY, ACER)
        ).axes
        assert axes.get_ylim()[0] == 0
        assert axes.get_xlim()[0] > 0


def test_files_that_are_often_on_the_front_are_named_though_they_are_not_on_it() -> None:
    many = [record(f"n{i}", speed=speed(9_000_000, 10)) for i in range(9)]
    near = [record("a", run="x"), record("b", run="y", speed=speed(1_001_000, 10_000))]
    named = {point.label for point in labelled(points([*near, *many]), PAPER)}
    assert named == {"a.fp32.onnx", "b.fp32.onnx"}


def test_a_name_that_is_too_long_keeps_both_ends() -> None:
    assert shortened("minifasnet_v2.int8.tflite", 15) == "minifas….tflite"
    assert shortened("short", 15) == "short"


# ---- the drawing ----


def test_the_figure_has_real_text_truetype_fonts_and_print_resolution() -> None:
    from PIL import Image

    files = demo_files()
    assert set(files) == {"png", "svg", "pdf", "csv", "txt", "tex"}
    svg = files["svg"].decode()
    assert "ACER, % (lower is better)" in svg
    assert "minifasnet_v2.int8.onnx" in svg
    assert b"/Type3" not in files["pdf"]
    assert b"/FontFile2" in files["pdf"]
    image = Image.open(io.BytesIO(files["png"]))
    assert image.width == 3.5 * 300
    assert min(image.info["dpi"]) > 299


@pytest.mark.parametrize(
    ("style", "width", "pixels"),
    [("paper", "page", 2148), ("screen", "column", 1000), ("screen", "page", 1999)],
)
def test_every_style_and_width_is_as_wide_as_it_says(style: str, width: str, pixels: int) -> None:
    from PIL import Image

    found = drawn([record("a"), record("b", speed=speed(2_000_000, 10))], style=style, width=width)
    assert abs(Image.open(io.BytesIO(found.files["png"])).width - pixels) <= 1


def test_an_unknown_style_or_width_is_named() -> None:
    with pytest.raises(UnknownName, match="style"):
        page_of("poster", "column")
    with pytest.raises(UnknownName, match="width"):
        page_of("paper", "pages")


def test_simulated_data_are_announced_inside_the_figure() -> None:
    real = record(accuracy=accuracy({"print": (1, 10)}, 0, 10, simulated=False))
    assert SIMULATED in demo_files()["svg"].decode()
    assert SIMULATED not in drawn([real]).files["svg"].decode()
    assert SIMULATED not in drawn([record()], y="size").files["svg"].decode()


def test_the_same_records_give_the_same_bytes() -> None:
    assert drawn(demo()).files == demo_files()


def test_nothing_to_draw_is_a_reason_and_no_file() -> None:
    nothing = drawn([record(accuracy=NOT_SCORED)])
    assert nothing.files == {}
    assert nothing.reason == "no record has both Median latency and ACER, so there is nothing to draw"
    assert nothing.left_out == ("net.fp32.onnx",)


def test_what_is_left_out_is_counted_in_the_figure() -> None:
    svg = drawn([record("a"), record("b", accuracy=NOT_SCORED)]).files["svg"].decode()
    assert "Not drawn (no median latency or no ACER): 1 record, see the table." in svg


@pytest.mark.parametrize(("style", "width"), [(s, w) for s in PAGES for w in PAGES[s]])
def test_no_text_is_cut_off_or_covered_in_any_size(style: str, width: str) -> None:
    from matplotlib import rc_context

    on = page_of(style, width)
    with rc_context(on.rc):
        assert_legible(figure_of(points(demo()), on, (LATENCY, ACER)))


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(demo(errors=False), id="no errors anywhere"),
        pytest.param([record()], id="one record"),
        pytest.param(
            [record(accuracy=accuracy({"a$b$": (9, 9)}, 9, 9, acer_interval=None))], id="all errors"
        ),
        pytest.param([record(speed=speed(5, 0, runs=20))], id="identical runs"),
        pytest.param([record(f"net{i}") for i in range(9)], id="nine equal points"),
        pytest.param([record("a_{$x"), record("b$x^2$")], id="names that look like formulas"),
        pytest.param([record("long_name_of_a_network" * 4), record("<b>&amp;")], id="a long name, marks"),
        pytest.param(
            [record("a", speed=speed(1000, 1)), record("b", speed=speed(10**10, 10**7))], id="seven decades"
        ),
    ],
)
def test_odd_records_are_drawn_with_every_point_and_label_inside(records: list[Record]) -> None:
    from matplotlib import rc_context

    found = points(records)
    with rc_context(PAPER.rc):
        figure = figure_of(found, PAPER, (LATENCY, ACER), Labels("names"))
        assert_legible(figure)
        [axes] = figure.axes
        frame = axes.get_window_extent().padded(1)
        for point in found:
            assert frame.contains(*axes.transData.transform((point.x / 1e6, 100 * point.y)))
        names = {Labels().text(point, 36) for point in found}
        texts = [text for text in axes.texts if text.get_text() in names]
        assert texts
        for text in texts:
            extent = text.get_window_extent()
            assert frame.contains(extent.x0, extent.y0)
            assert frame.contains(extent.x1, extent.y1)


def test_several_devices_stand_side_by_side_on_a_page() -> None:
    from matplotlib import rc_context

    slow = MACHINE.model_copy(update={"name": "pixel7"})
    records = [*demo()[:6], *(one.model_copy(update={"machine": slow}) for one in demo()[6:])]
    on = page_of("paper", "page")
    with rc_context(on.rc):
        figure = figure_of(points(records), on, (LATENCY, ACER))
        assert_legible(figure)
    left, right = (axes.get_position() for axes in figure.axes)
    assert left.y0 == right.y0
    assert left.x1 < right.x0
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["bench-1", "pixel7"]


def test_a_hundred_networks_share_the_palette_and_those_on_the_front_are_served_first() -> None:
    names = [f"n{i:03d}" for i in range(100)]
    looks = Looks.of(names, ["n099", "n050"])
    assert {"n099", "n050"} <= set(looks.names)
    assert len(looks.names) == len(COLOURS)
    assert len(looks.others) == 100 - len(COLOURS)
    assert looks.colour("n098") == "#999999"


def test_a_crowd_is_drawn_and_legible() -> None:
    from matplotlib import rc_context

    records = [
        record(
            f"network_{i}",
            speed=speed(1_000_000 * (1 + i % 17), 1000, runs=20, workers=1),
            accuracy=accuracy({"print": ((7 * i) % 40, 400)}, (3 * i) % 20, 400),
            weight=weight(10**6 + i, 9, 9),
        )
        for i in range(150)
    ]
    with rc_context(PAPER.rc):
        assert_legible(figure_of(points(records), PAPER, (LATENCY, ACER)))


def test_neighbouring_colours_differ_in_grey() -> None:
    def grey(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    assert all(abs(grey(a) - grey(b)) > 0.15 for a, b in itertools.pairwise(COLOURS[:4]))


# ---- the files of a report ----


def test_a_report_has_the_figure_and_its_data(tmp_path: Path) -> None:
    written = write_report([record()], tmp_path / "report")
    names = sorted(path.name for path in written.figure)
    assert names == [f"pareto.{suffix}" for suffix in ("csv", "pdf", "png", "svg", "tex", "txt")]
    assert all(path.is_file() for path in written.figure)
    assert written.no_figure == ""


def test_a_figure_that_can_no_longer_be_drawn_does_not_stay(tmp_path: Path) -> None:
    write_report([record()], tmp_path)
    written = write_report([record(accuracy=NOT_SCORED)], tmp_path)
    assert written.figure == ()
    assert "nothing to draw" in written.no_figure
    assert not list(tmp_path.glob("pareto.*"))


def test_the_report_uses_the_reference_that_was_asked_for(tmp_path: Path) -> None:
    write_report(
        [record("a", accuracy=NOT_SCORED), record("b", weight=weight(9, 9, 10**9))], tmp_path, relative_to="a"
    )
    assert "## Relative to a\n" in (tmp_path / "table.md").read_text(encoding="utf-8")
