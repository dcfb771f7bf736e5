from __future__ import annotations

import csv
import functools
import io
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import MACHINE, NOT_SCORED, accuracy, demo, record, speed, weight

from swapbench.report.figure import (
    COLOURS,
    RC,
    WIDTH_IN,
    Drawing,
    draw,
    drawing,
    label_boxes,
    overlap,
    pareto_front,
    pareto_points,
    points_csv,
)
from swapbench.report.table import SIMULATED, table_of
from swapbench.report.writer import write_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from swapbench.records import Record

coordinates = st.one_of(st.integers(0, 5).map(float), st.floats(0, 1e9, allow_nan=False))
clouds = st.lists(st.tuples(coordinates, coordinates), max_size=30)


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


@functools.cache
def demo_files() -> Mapping[str, bytes]:
    return drawing(table_of(demo())).files


def drawn(records: list[Record]) -> Drawing:
    return drawing(table_of(records))


# ---- the front ----


def test_the_front_of_five_points_is_the_one_drawn_on_paper() -> None:
    # (1, 5), (2, 3) and (4, 1) are best at something; (3, 3) loses to (2, 3), (5, 2) to (4, 1).
    assert pareto_front([(1, 5), (2, 3), (3, 3), (4, 1), (5, 2)]) == (0, 1, 3)


def test_equal_points_do_not_push_each_other_off_the_front() -> None:
    assert pareto_front([(2, 2), (1, 1), (1, 1)]) == (1, 2)


def test_the_front_of_nothing_is_empty_and_of_equal_errors_is_the_fastest() -> None:
    assert pareto_front([]) == ()
    assert pareto_front([(3, 0), (1, 0), (2, 0)]) == (1,)


@given(clouds)
def test_no_point_of_the_front_is_dominated_and_every_other_is_by_one_of_the_front(
    points: list[tuple[float, float]],
) -> None:
    front = set(pareto_front(points))
    for i, point in enumerate(points):
        if i in front:
            assert not any(dominates(other, point) for other in points)
        else:
            assert any(dominates(points[j], point) for j in front)


@given(clouds, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order(points: list[tuple[float, float]], random: object) -> None:
    order = list(range(len(points)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = pareto_front([points[i] for i in order])
    assert sorted(order[i] for i in shuffled) == list(pareto_front(points))


# ---- the points ----


def test_points_keep_the_numbers_of_their_rows() -> None:
    points, left_out = pareto_points(table_of([record()]).rows)
    [point] = points
    assert left_out == ()
    assert (point.latency_p50_ns, point.file_bytes, point.on_front) == (1_490_000, 2_000_000, True)
    assert point.acer == pytest.approx(0.03)
    assert (point.acer_low, point.acer_high) == pytest.approx((0.01, 0.05))


def test_rows_without_speed_or_accuracy_are_left_out_by_name() -> None:
    rows = table_of([record("a"), record("b", accuracy=NOT_SCORED), record("c", speed=NOT_SCORED)]).rows
    points, left_out = pareto_points(rows)
    assert [point.label for point in points] == ["a.fp32.onnx"]
    assert left_out == ("b.fp32.onnx", "c.fp32.onnx")


def test_each_machine_and_each_data_set_has_its_own_front() -> None:
    slow = MACHINE.model_copy(update={"name": "pixel7"})
    there = accuracy({"print": (50, 100)}, 1, 50, dataset_digest="fedcba")
    records = [
        record("a"),
        record("b", machine=slow, speed=speed(9_000_000, 9)),
        record("c", speed=speed(9_000_000, 9), accuracy=there),
    ]
    points, _ = pareto_points(table_of(records).rows)
    assert all(point.on_front for point in points)
    assert len({(point.machine, point.data) for point in points}) == 3


def test_the_data_of_the_figure_are_complete_and_not_rounded() -> None:
    points, _ = pareto_points(table_of(demo()).rows)
    lines = list(csv.DictReader(io.StringIO(points_csv(points))))
    assert [line["label"] for line in lines] == [point.label for point in points]
    assert [float(line["latency_high_ns"]) for line in lines] == [point.latency_high_ns for point in points]
    assert {line["data_simulated"] for line in lines} == {"true"}
    assert [line["on_front"] == "true" for line in lines] == [point.on_front for point in points]


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


# ---- the drawing ----


def test_the_figure_has_real_text_truetype_fonts_and_print_resolution() -> None:
    from PIL import Image

    files = demo_files()
    assert set(files) == {"png", "svg", "pdf", "csv"}
    svg = files["svg"].decode()
    assert "ACER, % (lower is better)" in svg
    assert "minifasnet_v2.int8.onnx" in svg
    assert b"/Type3" not in files["pdf"]
    assert b"/FontFile2" in files["pdf"]
    image = Image.open(io.BytesIO(files["png"]))
    assert image.width == WIDTH_IN * 300
    assert min(image.info["dpi"]) > 299


def test_simulated_data_are_announced_inside_the_figure() -> None:
    real = record(accuracy=accuracy({"print": (1, 10)}, 0, 10, simulated=False))
    assert SIMULATED in demo_files()["svg"].decode()
    assert SIMULATED not in drawn([real]).files["svg"].decode()


def test_the_same_records_give_the_same_bytes() -> None:
    assert drawn(demo()).files == demo_files()


def test_nothing_to_draw_is_a_reason_and_no_file() -> None:
    nothing = drawn([record(accuracy=NOT_SCORED)])
    assert nothing.files == {}
    assert "nothing to draw" in nothing.reason
    assert nothing.left_out == ("net.fp32.onnx",)


def test_what_is_left_out_is_counted_in_the_figure() -> None:
    svg = drawn([record("a"), record("b", accuracy=NOT_SCORED)]).files["svg"].decode()
    assert "Not drawn (no speed or no accuracy): 1 record, see the table." in svg


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
        pytest.param(
            [record("a", speed=speed(1000, 1)), record("b", speed=speed(10**10, 10**7))], id="seven decades"
        ),
    ],
)
def test_odd_records_are_drawn_with_every_point_and_label_inside(records: list[Record]) -> None:
    from matplotlib import rc_context

    points, _ = pareto_points(table_of(records).rows)
    with rc_context(RC):
        figure = draw(points)
        figure.canvas.draw()
        [axes] = figure.axes
        frame = axes.get_window_extent().padded(1)
        for point in points:
            assert frame.contains(*axes.transData.transform((point.latency_p50_ns / 1e6, 100 * point.acer)))
        texts = [text for text in axes.texts if text.get_text() in {point.label for point in points}]
        assert texts
        for text in texts:
            extent = text.get_window_extent()
            assert frame.contains(extent.x0, extent.y0)
        page = figure.bbox.padded(1)
        for legend in figure.legends:
            extent = legend.get_window_extent()
            assert page.contains(extent.x0, extent.y0)
            assert page.contains(extent.x1, extent.y1)


def test_neighbouring_colours_differ_in_grey() -> None:
    def grey(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    assert all(abs(grey(a) - grey(b)) > 0.15 for a, b in itertools.pairwise(COLOURS[:4]))


# ---- the files ----


def test_a_report_is_seven_files_and_nothing_else(tmp_path: Path) -> None:
    written = write_report([record()], tmp_path / "report")
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == [
        "pareto.csv",
        "pareto.pdf",
        "pareto.png",
        "pareto.svg",
        "table.csv",
        "table.json",
        "table.md",
    ]
    assert sorted(path.name for path in written.all) == names
    assert written.no_figure == ""


def test_a_figure_that_can_no_longer_be_drawn_does_not_stay(tmp_path: Path) -> None:
    write_report([record()], tmp_path)
    written = write_report([record(accuracy=NOT_SCORED)], tmp_path)
    assert written.figure == ()
    assert "nothing to draw" in written.no_figure
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "table.json", "table.md"]


def test_the_report_uses_the_reference_that_was_asked_for(tmp_path: Path) -> None:
    write_report(
        [record("a", accuracy=NOT_SCORED), record("b", weight=weight(9, 9, 10**9))], tmp_path, relative_to="a"
    )
    assert "## Relative to a\n" in (tmp_path / "table.md").read_text(encoding="utf-8")
