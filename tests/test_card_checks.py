"""The cards of a whole run: every file is looked at, and one speaks for the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from red_faces import red_less_blue, write_red_faces

from swapbench.bench import CardChecks
from swapbench.bench.card_checks import all_outputs, other_geometries
from swapbench.bench.experiment import Setup, file_under_test
from swapbench.bench.model_under_test import ModelUnderTest, prepared_crops
from swapbench.data.dataset import Dataset
from swapbench.devices.local import Local
from swapbench.files import file_sha256
from swapbench.modelfile import Graph, Tensor, read_graph
from swapbench.pad.evaluation import Evaluation
from swapbench.records import Absent, ModelCard, OutputMeaning, Plan, Preprocessing, RuntimeUsed, Variant
from swapbench.runtimes.ort import OnnxRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.bench import CardCheck

NOT_HERE = Absent(absent="not in this test")
CARD = ModelCard(
    name="net",
    preprocessing=Preprocessing(width_px=8, height_px=8, crop_scale=1.0, channel_order="rgb", scale=1 / 255),
    output=OutputMeaning(kind="logits", bona_fide_index=0),
)


class Checked:
    """Checks of files with one card, and how many workers they took."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers = folder, 0
        root = write_red_faces(folder / "faces" if (folder / "faces").mkdir() is None else folder)
        self.evaluation = Evaluation((Dataset.load(root, ("dev", "test")),), folder / "cache", 1)

    def __call__(self, files: dict[str, bytes], card: ModelCard) -> dict[str, CardCheck]:
        models = [self._model(name, content, card) for name, content in files.items()]
        outer = self

        class Counting(Local):
            def start(self, argv: Any) -> Any:
                outer.workers += 1
                return super().start(argv)

        setup = Setup(Counting(), NOT_HERE, Plan(warmup_ns=0), self.evaluation)
        crops = prepared_crops(models, self.evaluation, quiet)
        used = RuntimeUsed(runtime="onnxruntime", version="1", package="p", providers=("cpu",), threads=1)
        drafts = {
            model.record_id: model.draft(NOT_HERE, used, setup.device.describe(), setup.plan, "run")
            for model in models
        }
        found = CardChecks(setup, self.evaluation, crops, quiet).results(
            drafts,
            {model.record_id: model for model in models},
            {model.record_id: file_under_test(model, setup.device, crops) for model in models},
        )
        return {model.path.name: found[model.record_id] for model in models}

    def _model(self, name: str, content: bytes, card: ModelCard) -> ModelUnderTest:
        path = self.folder / name
        path.write_bytes(content)
        precision: Any = "fp32" if "fp32" in name else "fp16"
        variant = Variant(net="net", precision=precision, format="onnx")
        return ModelUnderTest(
            variant, path, file_sha256(path), read_graph(path), OnnxRuntime(), None, NOT_HERE
        ).with_card(card)


def quiet(stage: str, done: float, total: float) -> None:
    assert 0 <= done <= total, stage


@pytest.mark.slow
def test_every_file_is_checked_and_outputs_are_kept(tmp_path: Path) -> None:
    """Of two files of one card the second has its classes exchanged: a conversion can do that."""
    checked = Checked(tmp_path)
    files = {"a.fp16.onnx": red_less_blue(saturated_by=255.0, flipped=True)}
    files["b.fp32.onnx"] = red_less_blue(saturated_by=255.0)
    right = CARD.replace(output=OutputMeaning(kind="logits", bona_fide_index=1))
    found = checked(files, right)
    assert found["b.fp32.onnx"].doubts == ()
    (doubt,) = found["a.fp16.onnx"].doubts
    assert doubt.code == "output_suspect"
    assert (
        "better with bona_fide_index = 0 (AUC 1.00) than with the card's bona_fide_index = 1" in doubt.message
    )
    workers = checked.workers
    assert workers == 6  # two scales of each, and two ranges more for the network
    assert checked(files, right) == found
    assert checked.workers == workers


@pytest.mark.slow
def test_what_one_file_says_about_the_crop_holds_for_the_others(tmp_path: Path) -> None:
    """Outside the box the colours say nothing, and a crop of four boxes is mostly that."""
    files = {f"{name}.onnx": red_less_blue(saturated_by=255.0) for name in ("a.fp32", "b.fp16")}
    wide = CARD.replace(
        preprocessing=CARD.preprocessing.replace(crop_scale=4.0),
        output=OutputMeaning(kind="logits", bona_fide_index=1),
    )
    found = Checked(tmp_path)(files, wide)
    assert [doubt.code for doubt in found["a.fp32.onnx"].doubts] == ["preprocessing_suspect"]
    assert "separate better with crop_scale = 1.0" in found["a.fp32.onnx"].doubts[0].message
    assert found["b.fp16.onnx"].doubts == found["a.fp32.onnx"].doubts


def test_other_crops_are_those_that_differ_enough() -> None:
    own = CARD.preprocessing.replace(crop_scale=1.3)
    others = other_geometries(own)
    assert [(other.crop_scale, other.border) for other in others] == [
        (1.3, "black"),
        (1.3, "reflect"),
        (1.0, "shift"),
        (2.7, "shift"),
        (4.0, "shift"),
    ]


def graph(*outputs: Tensor) -> Graph:
    return Graph("onnx", (Tensor("x", (1, 3, 8, 8), "float32"),), outputs, 1, 1, 1, {}, (), "fp32", None)


def test_all_outputs_are_asked_for_where_they_are_few_and_small() -> None:
    two, wide = Tensor("a", (1, 2), "float32"), Tensor("m", (1, 1, 40, 40), "float32")
    assert all_outputs(graph(two)) == {}
    assert all_outputs(graph(two, two, two)) == {"outputs": "0,1,2"}
    assert all_outputs(graph(two, wide)) == {}
    assert all_outputs(graph(two, Tensor("s", (1, 1), "object"))) == {}
    assert all_outputs(graph(two, Tensor("open", (0, 0), "float32"))) == {}
