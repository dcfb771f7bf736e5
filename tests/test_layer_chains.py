"""Which chains are measured for a latency table, and what becomes of their times."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.records import Speed, WorkerTimes
from swapbench.workshop.prune.latency_table import Latency, LatencyTable
from swapbench.workshop.prune.layer_chains import LayerGrid, bare, grids, layer_ns, rising, spread
from swapbench.workshop.prune.widths import Shape, WidthSpace

BASE = (64, 64, *(128, 128, 64) * 5, *(256, 256, 128) * 7, 512, 512, 128, *(256, 256, 128) * 2, 512, 512)
SHAPE = Shape(80, 2)
SPACE = WidthSpace.of(BASE)


def speed(*rounds_ns: tuple[int, ...]) -> Speed:
    workers = tuple(
        WorkerTimes(round=number, load_ns=1, first_ns=1, warmup_runs=0, slices_ns=(runs,), cpu_ns=1)
        for number, runs in enumerate(rounds_ns)
    )
    return Speed(workers=workers, input="random", stopped="rounds")


def test_the_time_of_a_layer_is_the_difference_of_two_chains_over_the_layers_between_them() -> None:
    # medians 10, 20, 12 and 50, 64, 48: differences 40, 44, 36, of which 40 is the median, over 8 layers
    short = speed((10, 9, 90), (20, 20, 20), (12, 12, 12))
    long = speed((50, 50, 500), (64, 64, 1), (48, 48, 48))
    assert layer_ns(short, long, 8) == 5.0


def test_widths_are_spread_over_those_that_the_search_chooses_from() -> None:
    assert spread({1, 2, 3, 10, 20, 30, 31}, 4) == (1, 10, 20, 31)
    assert spread((5, 7), 4) == (5, 7)
    assert spread((5,), 4) == (5,)
    with pytest.raises(ValueError, match="at least two"):
        spread((5, 6, 7), 1)


def test_a_wider_layer_is_never_faster_in_the_table() -> None:
    assert rising([[-1.0, 5.0, 4.0], [3.0, 2.0, 9.0]]) == ((0.0, 5.0, 5.0), (3.0, 5.0, 9.0))


def rows_of(length: int) -> st.SearchStrategy[list[list[float]]]:
    row = st.lists(st.floats(-5, 5), min_size=length, max_size=length)
    return st.lists(row, min_size=1, max_size=4)


@given(st.integers(1, 4).flatmap(rows_of))
def test_rising_times_rise_along_both_sides_and_leave_what_rises_alone(ns: list[list[float]]) -> None:
    found = rising(ns)
    for row, given_row in zip(found, ns, strict=True):
        assert all(low <= high for low, high in pairwise(row))
        assert all(new >= old for new, old in zip(row, given_row, strict=True))
    assert all(a <= b for above, below in pairwise(found) for a, b in zip(above, below, strict=True))
    assert rising(found) == found


def test_a_grid_shares_the_short_chain_of_a_row_and_a_pair_has_two_layers() -> None:
    grid = LayerGrid("pair", 1, 1, 20, (6, 64), (12, 256), depthwise=False, linear=False, down=True)
    first, second = grid.row(64)
    assert first.short == second.short
    assert (first.short.copies, first.long.copies, first.layers) == (0, 4, 8)
    assert (second.long.inputs, second.long.outputs) == (64, 256)
    up, down = grid.times([[1, 2], [3, 4]])
    assert (up.linear, up.inputs, up.outputs, up.ns) == (False, (6, 64), (12, 256), ((1, 2), (3, 4)))
    assert (down.linear, down.inputs, down.outputs, down.ns) == (True, (12, 256), (6, 64), ((1, 3), (2, 4)))


def test_a_layer_that_changes_the_size_is_measured_with_one_and_with_five() -> None:
    grid = LayerGrid("beside", 3, 2, 40, (1,), (12, 128), depthwise=True, linear=False)
    (narrow, wide) = grid.row(1)
    assert (narrow.short.copies, narrow.long.copies, narrow.layers) == (1, 5, 4)
    assert (wide.long.inputs, wide.long.outputs) == (128, 128)


@pytest.mark.parametrize("points", [2, 4, 7])
def test_the_grids_hold_every_layer_of_every_structure_and_no_name_stands_for_two_chains(points: int) -> None:
    planned = grids(SHAPE, SPACE, points)
    chains = {
        chain
        for grid in planned
        for inputs in grid.inputs
        for cell in grid.row(inputs)
        for chain in (cell.short, cell.long)
    }
    assert len({chain.name for chain in chains}) == len(chains)
    assert bare(80).name not in {chain.name for chain in chains}
    layers = [one for grid in planned for one in grid.times([[1.0] * len(grid.outputs)] * len(grid.inputs))]
    latency = Latency(LatencyTable(format=1, measured="by hand", layers=tuple(layers)), SHAPE)
    for genes in (SPACE.widest, (0,) * len(SPACE.sizes), tuple(size // 2 for size in SPACE.sizes)):
        assert latency.ns(SPACE.channels(genes)) == len(list(SHAPE.layers(BASE)))  # 1 ns each


def test_what_follows_a_layer_is_part_of_its_kind_where_the_table_says_so(tmp_path: Path) -> None:
    planned = grids(SHAPE, SPACE, 2)
    layers = [
        one.model_copy(
            update={"ns": tuple(tuple(100.0 if one.linear else 1.0 for _ in row) for row in one.ns)}
        )
        for grid in planned
        for one in grid.times([[1.0] * len(grid.outputs)] * len(grid.inputs))
    ]
    table = LatencyTable(format=1, measured="by hand", layers=tuple(layers))
    linear = sum(layer.linear for layer in SHAPE.layers(BASE))
    assert linear == 15 + 1 + 2  # down of every bottleneck, the map's end, and the two at the head
    rest = len(list(SHAPE.layers(BASE))) - linear
    assert Latency(table, SHAPE).ns(BASE) == 100 * linear + rest
    assert LatencyTable.model_validate(json.loads(table.model_dump_json())) == table


torch = pytest.importorskip("torch")


@pytest.mark.slow
def test_the_long_chain_has_the_multiplications_of_its_layers_more(tmp_path: Path) -> None:
    from swapbench.modelfile import read_graph
    from swapbench.workshop.artifacts.chain_files import Wanted, file_content

    def macs(chain: object, size_px: int) -> int:
        path = tmp_path / "a.onnx"
        path.write_bytes(file_content(Wanted(path="", size_px=size_px, chain=chain), "onnx", "fp32"))  # type: ignore[arg-type]
        return read_graph(path).macs

    for grid, by_hand in (
        (LayerGrid("pair", 1, 1, 10, (8,), (24,), depthwise=False, linear=False, down=True), 100 * 8 * 24),
        (LayerGrid("row", 3, 1, 10, (1,), (24,), depthwise=True, linear=False), 100 * 9 * 24),
        (LayerGrid("beside", 3, 2, 10, (1,), (24,), depthwise=True, linear=False), 25 * 9 * 24),
        (LayerGrid("beside", 5, 1, 5, (1,), (24,), depthwise=True, linear=True), 25 * 24),
        (LayerGrid("beside", 3, 2, 16, (3,), (8,), depthwise=False, linear=False), 64 * 27 * 8),
        (LayerGrid("pair", 1, 1, 1, (2,), (32,), depthwise=False, linear=True, down=True), 64),
    ):
        (cell,) = grid.row(grid.inputs[0])
        more = macs(cell.long, grid.input_px) - macs(cell.short, grid.input_px)
        assert more == cell.layers * by_hand


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_chain_can_be_had_in_other_precisions_and_in_tflite(tmp_path: Path, precision: str) -> None:
    from swapbench.modelfile import read_graph
    from swapbench.workshop.artifacts.chain_files import Wanted, file_content

    grid = LayerGrid("pair", 1, 1, 10, (8,), (24,), depthwise=False, linear=False, down=True)
    chain = grid.row(8)[0].long
    path = tmp_path / "a.tflite"
    path.write_bytes(file_content(Wanted(path="", size_px=10, chain=chain), "tflite", precision))  # type: ignore[arg-type]
    found = read_graph(path)
    assert found.precision == precision
    assert found.ops["CONV_2D"] == 9
    assert found.outputs[0].shape == (1, 8)
