"""Cards against files: what does not fit costs the accuracy, what contradicts is a doubt."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PRETRAINED

from swapbench.bench.card_fit import input_doubts, misfit, outputs_option
from swapbench.modelfile import Graph, Tensor, read_graph
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.records import ModelCard, OutputMeaning, Preprocessing
from swapbench.runtimes import contract, litert
from swapbench.runtimes.worker import work

SYARINGAN = PRETRAINED.parent / "syaringan" / "FaceAntiSpoofing.tflite"
MAP_FIRST = PRETRAINED.parents[1] / "cases" / "map_as_classes" / "map_first.onnx"


def card(output: dict[str, Any], **preprocessing: Any) -> ModelCard:
    fields = {"width_px": 8, "height_px": 8, "crop_scale": 1.0, **preprocessing}
    return ModelCard(
        name="net",
        summary="for tests",
        family="none",
        architecture={},
        checkpoint="",
        checkpoint_sha256="",
        preprocessing=Preprocessing(**fields),
        output=OutputMeaning.model_validate(output),
    )


def graph(input_: Tensor | None = None, *outputs: Tensor) -> Graph:
    return Graph(
        format="tflite",
        inputs=(input_ or Tensor("x", (1, 8, 8, 3), "float32"),),
        outputs=outputs or (Tensor("y", (1, 2), "float32"),),
        file_bytes=1,
        params=1,
        macs=1,
        ops={},
        uncounted_ops=(),
        precision="fp32",
        layout=None,
    )


TWO = {"kind": "logits", "bona_fide_index": 1}


def test_a_card_that_fits_says_nothing_and_the_first_output_needs_no_option() -> None:
    assert misfit(card(TWO), graph()) is None
    assert outputs_option(card(TWO), graph()) == {}
    both = graph(None, Tensor("a", (1, 2), "float32"), Tensor("b", (1, 2), "float32"))
    assert outputs_option(card({**TWO, "name": "b"}), both) == {"outputs": "1"}
    assert outputs_option(card({"kind": "expression", "expression": "sum(b*a)"}), both) == {"outputs": "1,0"}


@pytest.mark.parametrize("shape", [(1, 9, 10, 3), (1, 3, 9, 10)], ids=["nhwc", "nchw"])
def test_an_input_of_another_size_is_a_misfit(shape: tuple[int, ...]) -> None:
    reason = misfit(card(TWO), graph(Tensor("x", shape, "float32")))
    assert reason is not None
    assert "the input 'x' takes 10x9 px" in reason.absent
    assert "the card says 8x8" in reason.absent
    fitting = card(TWO, width_px=10, height_px=9)
    assert misfit(fitting, graph(Tensor("x", shape, "float32"))) is None


def test_a_card_that_calls_every_class_bona_fide_is_a_misfit() -> None:
    reason = misfit(card({**TWO, "bona_fide_index": [0, 1]}), graph())
    assert reason is not None
    assert "the card says that all of them are of bona fide" in reason.absent
    assert (
        misfit(card({**TWO, "bona_fide_index": [0, 1]}), graph(None, Tensor("y", (1, 3), "float32"))) is None
    )


def test_an_output_that_is_not_there_is_a_misfit() -> None:
    reason = misfit(card({**TWO, "name": "z"}), graph())
    assert reason is not None
    assert reason.absent.startswith("the card does not fit the file: the card means the output 'z'")


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "preprocessing", "part"),
    [
        # 256 steps of 1 / 255 from 0: 0..1
        (
            "uint8",
            1 / 255,
            0,
            {"scale": 1.0},
            "holds 0 to 1.00 (scale 0.00392, zero point 0), but the card feeds 0 to 255",
        ),
        ("int8", 1 / 255, -128, {"scale": 1.0}, "holds 0 to 1.00"),
        ("int8", 1.0, -128, {}, "the int8 input of the file holds 0 to 255 (scale 1.00, zero point -128)"),
        ("int8", 1 / 255, -128, {"mean": (0.5,) * 3, "std": (0.5,) * 3}, "card feeds -1.00 to 1.00"),
        ("int8", 2 / 255, 0, {"scale": 1.0}, "holds -1.00"),
    ],
)
def test_an_input_scale_that_contradicts_the_range_of_the_card_is_a_doubt(
    dtype: str, scale: float, zero_point: int, preprocessing: dict[str, Any], part: str
) -> None:
    tensor = Tensor("x", (1, 8, 8, 3), dtype, scale, zero_point)
    (doubt,) = input_doubts(card(TWO, **preprocessing).preprocessing, graph(tensor))
    assert (doubt.code, doubt.quantity) == ("input_range_contradicted", "accuracy")
    assert part in doubt.message


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "preprocessing"),
    [
        ("uint8", 1 / 255, 0, {}),
        ("int8", 1.0, -128, {"scale": 1.0}),
        ("int8", 2 / 255, 0, {"mean": (0.5,) * 3, "std": (0.5,) * 3}),
        ("int8", 4.8 / 255, -17, IMAGENET),
        ("int8", 0.9 * 4.8 / 255, -17, IMAGENET),  # no calibration image was black and white at once
        ("int8", 1 / 200, -128, {}),
        ("float32", None, None, {"scale": 1.0}),
        ("uint8", None, None, {}),
    ],
)
def test_an_input_scale_that_agrees_with_the_card_is_no_doubt(
    dtype: str, scale: float | None, zero_point: int | None, preprocessing: dict[str, Any]
) -> None:
    tensor = Tensor("x", (1, 8, 8, 3), dtype, scale, zero_point)
    assert input_doubts(card(TWO, **preprocessing).preprocessing, graph(tensor)) == ()


# ------------------------------------------------------------------------------------ files of other people


@pytest.mark.skipif(not MAP_FIRST.is_file(), reason="needs the shared cases beside the repository")
def test_a_map_that_comes_first_is_not_taken_for_two_classes() -> None:
    found = read_graph(MAP_FIRST)
    two = card({**TWO, "classes": ["attack", "bona fide"]}, width_px=80, height_px=80)
    reason = misfit(two, found)
    assert reason is not None
    assert "has 400 numbers (1x1x20x20), the card names 2 classes" in reason.absent
    assert "The other output is logits (1x2)" in reason.remedy
    named = two.replace(output=two.output.replace(name="logits"))
    assert misfit(named, found) is None
    assert misfit(two.replace(output=OutputMeaning(kind="map")), found) is None


@pytest.mark.slow
@pytest.mark.skipif(not SYARINGAN.is_file(), reason="needs shared/pretrained/syaringan beside the repository")
def test_the_score_of_two_outputs_is_that_of_its_authors_pipeline(tmp_path: Path) -> None:
    """Their app: sum over the leaves of |Identity| * Identity_1, where a high sum is an attack."""
    from ai_edge_litert.interpreter import Interpreter

    pixels = np.random.default_rng(3).integers(0, 256, (2, 256, 256, 3), np.uint8)
    interpreter = Interpreter(str(SYARINGAN))
    interpreter.allocate_tensors()
    leaves, routes = (details["index"] for details in interpreter.get_output_details())
    theirs = []
    for image in pixels:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.float32(image / 255)[None])
        interpreter.invoke()
        theirs.append(float(np.sum(np.abs(interpreter.get_tensor(leaves)) * interpreter.get_tensor(routes))))

    expression = {"kind": "expression", "expression": "sum(abs(Identity) * Identity_1)"}
    said = card({**expression, "higher_is": "attack"}, width_px=256, height_px=256)
    file = read_graph(SYARINGAN)
    assert misfit(said, file) is None
    np.save(tmp_path / "samples.npy", pixels)
    options = {"artifact": str(SYARINGAN), "samples": str(tmp_path / "samples.npy"), "warmup-runs": "0"}
    options |= {
        "warmup-ns": "0",
        "normalise": json.dumps({"scale": 1 / 255, "mean": [0] * 3, "std": [1] * 3}),
    }
    options |= outputs_option(said, file)
    out = StringIO()
    argv = [part for key, value in options.items() for part in (f"--{key}", value)]
    assert work(["--mode", "score", *argv], litert.open_backend, StringIO(), out) == 0
    outputs = contract.parse_outputs(out.getvalue())
    scores = bona_fide_scores(outputs.rows, said.output, outputs.tensors)
    assert [tensor.name for tensor in outputs.tensors] == ["Identity", "Identity_1"]
    assert scores.tolist() == pytest.approx([-score for score in theirs], abs=1e-5)
