"""The search for the layers of a quantised file that stay in float: on paper, and on real small files."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from swapbench.errors import UserError
from swapbench.records import ModelCard, OutputMeaning, Precision, Preprocessing, Variant
from swapbench.workshop.artifacts.files import curve_csv
from swapbench.workshop.artifacts.quantising import Judge, Samples, quantised
from swapbench.workshop.export import mixed, to_onnx
from swapbench.workshop.export.mixed import Layer, Operator, Trial, body_and_head, price, search


def layers(*macs: int) -> tuple[Layer, ...]:
    return tuple(Layer(f"c{n}", (f"c{n}",), 10, count) for n, count in enumerate(macs))


class Additive:
    """A network whose layers add their squared errors; a "file" is the list of those in float."""

    def __init__(self, squares: Sequence[float], macs: Sequence[int] = ()) -> None:
        self.layers = layers(*(macs or [100] * len(squares)))
        self.squares = squares
        self.made: list[list[int]] = []

    def file(self, in_float: Collection[int] = ()) -> bytes:
        self.made.append(sorted(in_float))
        return json.dumps(sorted(in_float)).encode()

    def error(self, content: bytes) -> float:
        in_float = json.loads(content)
        return math.sqrt(sum(square for n, square in enumerate(self.squares) if n not in in_float))

    def measure(self, content: bytes, in_float: Sequence[int]) -> Trial:
        return Trial(
            float_layers=tuple(self.layers[n].name for n in in_float),
            float_share=price(self.layers, in_float) if in_float else 0.0,
            file_bytes=len(content),
            run_ns=1,
            logit_error=self.error(content),
            rank_correlation=1.0,
            flips=0,
            samples=10,
        )

    def found(self, target: float, samples: int = 1) -> tuple[list[int], tuple[Trial, ...]]:
        content, trials = search(self, self.error, self.measure, target, samples)
        return json.loads(content), trials


def test_a_layer_is_what_lies_between_weighted_operators_and_a_small_head_is_none() -> None:
    operators = [
        Operator("pad"),
        Operator("conv", 30, 1000),
        Operator("relu"),
        Operator("wide", 90, 2000),
        Operator("flatten"),
        Operator("linear", 20, 20),
        Operator("softmax"),
    ]
    found, head = body_and_head(operators)
    assert [(one.name, one.operators, one.weights, one.macs) for one in found] == [
        ("conv", ("pad", "conv"), 30, 1000),
        ("wide", ("relu", "wide", "flatten"), 90, 2000),
    ]
    assert head == ("linear", "softmax")
    operators[5] = Operator("linear", 100, 100)  # 100 of 3100 is more than 2 %
    found, head = body_and_head(operators)
    assert [one.operators for one in found][-1] == ("flatten", "linear", "softmax")
    assert head == ()


def test_a_graph_without_weights_has_nothing_to_quantise() -> None:
    assert body_and_head([Operator("relu")]) == ((), ())


def test_the_price_of_a_layer_is_half_its_share_of_weights_and_half_that_of_multiplications() -> None:
    # layers of 10 weights each; 100, 200 and 700 multiplications
    assert price(layers(100, 200, 700), [2]) == pytest.approx((1 / 3 + 0.7) / 2)
    assert price(layers(100, 200, 700), [0, 1, 2]) == 1


def test_all_layers_are_quantised_and_nothing_else_is_tried_where_that_is_near_enough() -> None:
    network = Additive([0.003, 0.005])  # sqrt(.008) = .089
    found, trials = network.found(0.1)
    assert (found, network.made) == ([], [[]])
    assert [(one.chosen, one.float_layers) for one in trials] == [(True, ())]


def test_the_layers_that_cost_most_for_their_price_stay_in_float() -> None:
    """Of five equal layers two cost .04 and .05; without them .0003 are left, an error of .017."""
    network = Additive([0.0001, 0.05, 0.0001, 0.04, 0.0001])
    found, trials = network.found(0.1)
    assert found == [1, 3]
    assert [one.float_layers for one in trials] == [(), ("c1",), ("c1", "c3")]
    assert [one.float_share for one in trials] == pytest.approx([0, 0.2, 0.4])  # three would be .6, over half
    assert [one.logit_error for one in trials] == pytest.approx([0.3005, 0.2007, 0.0173], abs=1e-4)
    assert [one.chosen for one in trials] == [False, False, True]
    # every layer was quantised alone once
    assert all([n for n in range(5) if n != alone] in network.made for alone in range(5))


def test_a_dear_layer_waits_for_a_cheap_one_that_gains_nearly_as_much() -> None:
    # the second has nine tenths of the work: (1/4 + .9) / 2 = .575 of the price, against .14 of the first
    network = Additive([0.04, 0.05, 0.0, 0.0], macs=[100, 2700, 100, 100])
    found, trials = network.found(0.25)
    assert trials[1].float_layers == ("c0",)
    assert found == [0]


def test_where_nothing_is_near_enough_the_best_trade_is_taken_all_the_same() -> None:
    network = Additive([1.0] * 10)
    found, trials = network.found(0.1)
    # remaining share of the error plus share in float: sqrt(.9)+.1, sqrt(.8)+.2, ... only rises
    assert found == []
    assert len(trials) == 5  # 0, 1, 2, 3 and 4 layers; 6 would be more than half


def test_neighbours_are_tried_together_in_a_deep_network_and_more_of_them_in_a_heavy_one() -> None:
    deep = Additive([1.0, *[0.0] * 99])
    deep.found(0.1)
    alone = [one for one in deep.made if len(one) > 90]
    assert len(alone) == mixed.MOST_UNITS
    assert len({n for one in alone for n in set(range(100)) - set(one)}) == 100
    heavy = Additive([1.0, *[0.0] * 99], macs=[10**9] * 100)
    heavy.found(0.1, samples=64)
    assert len([one for one in heavy.made if len(one) > 80]) == mixed.LEAST_UNITS


def test_a_network_that_scores_everything_alike_ends_the_search() -> None:
    network = Additive([1.0, 1.0])
    blind = network.measure(b"[]", ()).replace(logit_error=None)
    content, trials = search(network, network.error, lambda *_: blind, 0.1, 1)
    assert (content, len(trials)) == (b"[]", 1)


def test_the_curve_is_a_table_for_programs() -> None:
    trial = (
        Additive([0.5]).measure(b"[]", ()).replace(float_layers=("c0", "c1"), chosen=True, logit_error=None)
    )
    header, row = curve_csv([trial]).splitlines()
    assert header == (
        "float_layers,float_share,file_bytes,run_ns,logit_error,rank_correlation,flips,samples,chosen"
    )
    assert row == "c0 c1,0.0,2,1,,1.0,0,10,True"


# --- with onnxruntime's quantiser ---

SIZE_PX = 8
CARD = ModelCard(
    name="tiny",
    summary="",
    family="",
    architecture={},
    checkpoint="",
    checkpoint_sha256="",
    preprocessing=Preprocessing(width_px=SIZE_PX, height_px=SIZE_PX, crop_scale=1.0, scale=1 / 255),
    output=OutputMeaning(kind="logits", bona_fide_index=1),
)


def poisoned(*, wide: float) -> bytes:
    """Three convolutions; one channel of the first is `wide` times the others, and the second undoes it.

    In float nothing changes; one scale for all channels leaves the others 1 / `wide` of the levels.
    """
    dice = np.random.default_rng(4)
    first, second, third = (
        dice.uniform(0, 1, (out, into, 3, 3)).astype(np.float32) / (9 * into)
        for out, into in ((4, 3), (8, 4), (8, 8))
    )
    first[0] *= wide
    second[:, 0] /= wide
    constants = {"a": first, "b": second, "c": third, "d": dice.normal(size=(8, 2)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["input", "a"], ["1"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["1"], ["2"], name="relu"),
        helper.make_node("Conv", ["2", "b"], ["3"], name="second", pads=[1] * 4),
        helper.make_node("Relu", ["3"], ["4"], name="relu2"),
        helper.make_node("Conv", ["4", "c"], ["5"], name="third", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["5"], ["6"], name="pool"),
        helper.make_node("Flatten", ["6"], ["7"], name="flatten"),
        helper.make_node("MatMul", ["7", "d"], ["logits"], name="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", 1, [1, 3, SIZE_PX, SIZE_PX])],
        [helper.make_tensor_value_info("logits", 1, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def made(base: bytes, folder: Path, precision: Precision = "int8", count: int = 48) -> tuple[bytes, Any]:
    from swapbench.pad.raw_outputs import bona_fide_scores
    from swapbench.workshop.export.outputs import file_outputs

    dice = np.random.default_rng(1)
    crops = dice.integers(0, 256, (count, SIZE_PX, SIZE_PX, 3)).astype(np.uint8)
    crops = (crops * dice.uniform(0.2, 1, (count, 1, 1, 1))).astype(np.uint8)
    reference = np.empty(0)
    if count:
        (folder / "base.onnx").write_bytes(base)
        outputs, _ = file_outputs(folder / "base.onnx", crops, CARD.preprocessing)
        reference = bona_fide_scores(outputs.tolist(), CARD.output)
    variant = Variant(net="tiny", precision=precision, format="onnx")
    threshold = float(np.median(reference)) if count else 0.5
    samples = Samples(crops, reference)
    return quantised(variant, base, samples, Judge(CARD, folder, threshold), lambda content: content)


def float_kernels(content: bytes) -> list[str]:
    """Names of the convolutions whose weights are stored in float."""
    model = onnx.load_model_from_string(content)
    weights = {one.name for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
    return [node.name for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights]


def test_a_network_that_quantises_well_is_quantised_whole(tmp_path: Path) -> None:
    content, trials = made(poisoned(wide=1), tmp_path)
    assert len(trials) == 1
    assert float_kernels(content) == []
    assert trials[0].logit_error is not None
    assert trials[0].logit_error < 0.1
    assert [path.name for path in tmp_path.iterdir()] == ["base.onnx"]


def test_the_layer_that_spoils_a_network_is_found_and_stays_in_float(tmp_path: Path) -> None:
    content, trials = made(poisoned(wide=3000), tmp_path)
    assert trials[0].logit_error is not None
    assert trials[0].logit_error > 0.25
    chosen = next(one for one in trials if one.chosen)
    assert chosen.logit_error is not None
    assert chosen.logit_error < trials[0].logit_error / 2
    assert 0 < chosen.float_share <= 0.5
    assert float_kernels(content) == list(chosen.float_layers) != []
    assert chosen.file_bytes == len(content)


def test_a_quantiser_gives_the_same_bytes_each_time_and_keeps_the_layers_it_is_told_to(
    tmp_path: Path,
) -> None:
    base = poisoned(wide=1)
    samples = np.random.default_rng(2).normal(size=(8, 3, SIZE_PX, SIZE_PX)).astype(np.float32)
    first, second = (to_onnx.Quantiser(base, "int8", samples) for _ in range(2))
    assert [one.name for one in first.layers] == ["first", "second", "third"]
    assert first.file() == first.file() == second.file()
    assert float_kernels(first.file([1])) == ["second"]
    assert first.file([1]) == second.file((1,))


@pytest.mark.parametrize(
    ("precision", "activations", "nodes"),
    [
        ("int16x8", onnx.TensorProto.UINT16, {"QuantizeLinear", "DequantizeLinear"}),
        ("int8", onnx.TensorProto.UINT8, {"QuantizeLinear", "DequantizeLinear"}),
        ("int8-dynamic", None, {"DynamicQuantizeLinear", "ConvInteger"}),
    ],
)
def test_every_integer_precision_is_what_it_is_called(
    precision: Precision, activations: int | None, nodes: set[str], tmp_path: Path
) -> None:
    content, _ = made(poisoned(wide=1), tmp_path, precision)
    model = onnx.load_model_from_string(content)
    assert nodes <= {node.op_type for node in model.graph.node}
    zeros = {one.name: one.data_type for one in model.graph.initializer}
    quantise = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert {zeros[node.input[2]] for node in quantise} == ({activations} if activations else set())
    assert len(content) < len(poisoned(wide=1)) * 2  # of a network so small, the nodes are most of the file


def test_dynamic_int8_needs_no_frames_and_the_others_say_that_they_do(tmp_path: Path) -> None:
    content, trials = made(poisoned(wide=1), tmp_path, "int8-dynamic", count=0)
    assert b"ConvInteger" in content
    assert trials == ()
    for precision in ("int8", "int16x8"):
        with pytest.raises(UserError, match="needs frames to find the ranges of its activations"):
            made(poisoned(wide=1), tmp_path, precision, count=0)
