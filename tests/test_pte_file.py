"""Reading ExecuTorch programs: what is counted where, and that no content of a file is trusted."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from tiny_pte import CHAR, NO_VALUE, call, program, small_pte, tensor, xnn_node, xnn_value, xnnpack

from swapbench.errors import BadModelFile
from swapbench.modelfile import Graph, read_graph
from swapbench.modelfile.input_shapes import refuse_unmeasurable


def graph(folder: Path, content: bytes, shapes: dict[str, tuple[int, ...]] | None = None) -> Graph:
    path = folder / "net.pte"
    path.write_bytes(content)
    return read_graph(path, shapes)


def test_a_network_under_xnnpack_has_the_counts_of_the_other_formats(tmp_path: Path) -> None:
    found = graph(tmp_path, small_pte({"swapbench": b'{"network": "n"}'}))
    assert (found.format, found.layout, found.precision) == ("executorch", "nchw", "fp32")
    assert (found.macs, found.params) == (4 * 27 * 64 + 8, 112 + 4 + 10)
    assert [(one.name, one.shape, one.dtype) for one in found.inputs] == [("input", (1, 3, 8, 8), "float32")]
    assert [(one.name, one.shape) for one in found.outputs] == [("output", (1, 2))]
    kinds = ("StaticTranspose", "Conv2d", "PReLU", "GlobalAvgPooling2d", "FullyConnected")
    assert found.ops == dict.fromkeys(kinds, 1)
    assert (found.made_by, found.taken_by) == (("FullyConnected",), ("Conv2d",))
    assert (found.metadata, found.uncounted_ops, found.worker_options) == ({"network": "n"}, (), {})


def test_kernels_outside_a_delegate_are_counted_too(tmp_path: Path) -> None:
    weights, bias, zero = (np.ones(shape, np.float32).tobytes() for shape in ((4, 3, 3, 3), (2, 4), (2,)))
    values = [
        tensor(1, 3, 8, 8),
        tensor(1, 2),
        tensor(4, 3, 3, 3, constant=1),
        tensor(1, 4, 8, 8),
        tensor(1, 4),
        tensor(2, 4, constant=2),
        tensor(4, 2),
        tensor(2, constant=3),
    ]
    calls = [
        call(0, 0, 2, 3, 3),
        call(1, 3, 4, 4),
        call(2, 5, 6, 6),
        call(3, 7, 4, 6, 1, 1),
    ]
    operators = ("aten::convolution", "aten::mean", "aten::permute_copy", "aten::addmm")
    content = program(values, calls, operators=operators, constants=(weights, bias, zero))
    found = graph(tmp_path, content)
    assert found.macs == 4 * 27 * 64 + 8
    assert found.params == 108 + 8 + 2
    assert found.made_by == ("aten::addmm",)


def test_biases_that_are_all_zero_do_not_count(tmp_path: Path) -> None:
    values = [tensor(1, 4), tensor(1, 2), tensor(2, 4, constant=1), tensor(2, constant=2)]
    weights, zeros = np.ones((2, 4), np.float32).tobytes(), bytes(8)
    content = program(
        values, [call(0, 0, 2, 3, 1, 1)], operators=("aten::linear",), constants=(weights, zeros)
    )
    assert graph(tmp_path, content).params == 8


def test_integer_weights_are_int8_and_those_with_a_scale_of_each_run_dynamic(tmp_path: Path) -> None:
    for activations, precision in ((3, "int8"), (9, "int8-dynamic"), (1, "int8-dynamic")):
        values = [
            xnn_value(0, 1, 4),
            xnn_value(1, 1, 2),
            xnn_value(2, 1, 4, kind=activations),
            xnn_value(3, 2, 4, data=1, kind=6),
        ]
        nodes = [xnn_node(18, f0=0, f1=2), xnn_node(2, f0=2, f1=3, f2=NO_VALUE, f3=1)]
        data = xnnpack(values, nodes, (0, 1), np.ones((2, 4), np.int8))
        content = program(
            [tensor(1, 4), tensor(1, 2)],
            [call(0, 0, 1, delegate=True)],
            delegates={"XnnpackBackend": data},
        )
        found = graph(tmp_path, content)
        assert (found.precision, found.params, found.macs) == (precision, 8, 8)


def test_another_backend_is_not_counted_and_said(tmp_path: Path) -> None:
    content = program(
        [tensor(1, 3, 8, 8), tensor(1, 2)],
        [call(0, 0, 1, delegate=True)],
        delegates={"CoreMLBackend": b"secret"},
    )
    found = graph(tmp_path, content)
    assert (found.uncounted_ops, found.macs, found.precision) == (("CoreMLBackend",), 0, "unknown")


def test_free_lengths_are_asked_for_and_products_at_another_size_are_not_counted(tmp_path: Path) -> None:
    values = [tensor(8, 4, dynamic=1), tensor(8, 2, dynamic=1), tensor(2, 4, constant=1)]
    content = program(
        values,
        [call(0, 0, 2, 1, 1)],
        operators=("aten::linear",),
        constants=(np.ones((2, 4), np.float32).tobytes(),),
    )
    found = graph(tmp_path, content)
    assert found.inputs[0].declared == ("?", "?")
    found = graph(tmp_path, content, {"": (1, 4)})
    assert (found.inputs[0].shape, found.uncounted_ops) == ((1, 4), ("aten::linear",))
    assert found.worker_options == {"shapes": "1x4"}
    assert graph(tmp_path, content, {"": (8, 4)}).macs == 64


def test_several_inputs_are_numbered_and_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    values = [tensor(2, 3, 4, 4), tensor(2, 3, 4, 4), tensor(2, 3, 4, 4, kind=CHAR)]
    content = program(values, [call(0, 0, 2, 1, 1)], operators=("aten::add",), ends=((0, 2), (1,)))
    found = graph(tmp_path, content)
    assert [(one.name, one.dtype) for one in found.inputs] == [("input0", "float32"), ("input1", "int8")]
    with pytest.raises(BadModelFile, match="takes 2 images a run"):
        refuse_unmeasurable(found, "net.pte")


def test_of_several_methods_that_named_forward_is_meant_else_the_first(tmp_path: Path) -> None:
    values, add = [tensor(1, 4), tensor(1, 4)], [call(0, 0, 0, 1, 1)]
    content = program(values, add, operators=("aten::add",), method="encode")
    assert graph(tmp_path, content).ops == {"aten::add": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0\0TFL3" + bytes(40), "lacks the identifier ET12"),
        (program([tensor(1, 4), tensor(1, 4)], []), "no operators"),
        (program([tensor(1, 4), tensor(1, 4)], [call(3, 0, 1, 1)], operators=("a",)), "unknown operator"),
        (program([tensor(1, 4), tensor(1, 4)], [call(0, 9, 1, 1)], operators=("a",)), "missing value"),
        (program([tensor(1, 4), tensor(-1, 4)], [call(0, 0, 1, 1)], operators=("a",)), "negative size"),
        (
            program([tensor(1, 4), tensor(1, 4, constant=7)], [call(0, 0, 1, 1)], operators=("a",)),
            "data of a constant are missing",
        ),
        (
            program(
                [tensor(1, 4), tensor(1, 2), tensor(2, 4), tensor(2, constant=1)],
                [call(0, 0, 2, 3, 1, 1)],
                operators=("aten::linear",),
                constants=(b"1234",),
            ),
            "do not fit the shape",
        ),
        (program([tensor(1, 4), tensor(1, 4)], [call(0, 0, 1, delegate=True)]), "a delegate is missing"),
    ],
)
def test_a_damaged_program_is_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BadModelFile, match=message):
        graph(tmp_path, content)


def test_a_program_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = small_pte()
    for end in range(1, len(content), 7):
        with pytest.raises(BadModelFile):
            graph(tmp_path, content[:end])


def test_flipped_bytes_give_a_graph_or_a_refusal(tmp_path: Path) -> None:
    content, dice = small_pte(), random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            graph(tmp_path, bytes(damaged))
        except BadModelFile:
            refused += 1
    assert 0 < refused < 300


def test_a_part_that_is_named_far_more_often_than_a_file_can_need_is_refused(tmp_path: Path) -> None:
    """Thousands of calls that are one call of thousands of arguments: 24 kB that stand for nine million."""
    content = program(
        [tensor(1, 4), tensor(1, 4)],
        [call(0, *[0] * 3000)] * 3000,
        operators=("aten::cat",),
    )
    assert len(content) < 30_000
    with pytest.raises(BadModelFile, match="far more often"):
        graph(tmp_path, content)
