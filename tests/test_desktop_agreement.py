"""A phone's scores against this computer's of the same file, worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tiny_files import small_onnx

from swapbench import bench
from swapbench.bench import doubts
from swapbench.bench.model_under_test import ModelUnderTest
from swapbench.errors import WorkerFailed
from swapbench.modelfile import read_graph
from swapbench.pad.scores import FoldFrames, Scored
from swapbench.records import Absent, OutputMeaning, Parity, Plan, Variant
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeModel

if TYPE_CHECKING:
    from pathlib import Path

DEV = [0.9, 0.8, 0.1, 0.2]
LOGITS = OutputMeaning(kind="logits")
TEST = [0.9, 0.6, 0.4, 0.3]


def folds(dev: list[float], test: list[float]) -> tuple[FoldFrames, ...]:
    def scored(scores: list[float]) -> Scored:
        half = len(scores) // 2
        people = [f"s{number}" for number in range(half)] * 2
        kinds = [""] * half + ["print"] * half
        names = [f"{kind}{person}" for kind, person in zip(kinds, people, strict=True)]
        return Scored.of(names, people, [not kind for kind in kinds], kinds, scores)

    frames = np.zeros(len(dev), np.int64)
    return (FoldFrames("", scored(dev), scored(test), frames, frames),)


def test_the_same_scores_are_no_difference() -> None:
    found = bench.device_parity(folds(DEV, TEST), folds(DEV, TEST), "fp32", LOGITS)
    assert isinstance(found, Parity)
    assert (found.samples, found.max_abs_difference, found.decision_flips) == (8, 0, 0)
    # the EER threshold .8 of dev, moved half way down to the next score
    assert found.threshold == pytest.approx(0.5)


def test_decisions_flip_at_the_threshold_of_this_computers_development_scores() -> None:
    phone = folds(DEV, [0.9, 0.45, 0.55, 0.3])
    found = bench.device_parity(folds(DEV, TEST), phone, "fp32", LOGITS)
    assert isinstance(found, Parity)
    assert found.max_abs_difference == pytest.approx(0.15)
    assert found.decision_flips == 2


def test_frames_without_a_crop_count_on_neither_side() -> None:
    phone = folds(DEV, [0.9, 0.6, math.nan, 0.3])
    found = bench.device_parity(folds(DEV, [math.nan, 0.6, math.nan, 0.3]), phone, "fp32", LOGITS)
    assert isinstance(found, Parity)
    assert found.samples == 6
    nothing = folds([math.nan] * 4, [math.nan] * 4)
    assert isinstance(bench.device_parity(folds(DEV, TEST), nothing, "fp32", LOGITS), Absent)


@pytest.mark.parametrize(
    ("difference", "flips", "doubted"),
    [(9e-4, 0, False), (2e-3, 0, True), (0.0, 2, False), (0.0, 3, True)],
)
def test_a_phone_that_differs_more_than_arithmetic_explains_is_doubted(
    difference: float, flips: int, doubted: bool
) -> None:
    import made_records

    parity = Parity(
        samples=100,
        max_abs_difference=difference,
        mean_abs_difference=0,
        correlation=1,
        decision_flips=flips,
        threshold=0.5,
        tolerance={"max_abs_difference": 1e-3, "mean_abs_difference": 1e-4},
    )
    record = made_records.record().model_copy(update={"device_parity": parity})
    assert ("differs_from_desktop" in {one.code for one in doubts(record)}) == doubted


def test_what_is_kept_of_this_computers_scores_depends_on_file_samples_and_packages(tmp_path: Path) -> None:
    def desktop(version: str) -> bench.Desktop:
        device = Fake({})
        told = device.describe().model_copy(update={"packages": {"onnxruntime": version}})
        device.describe = lambda: told  # type: ignore[method-assign]
        return bench.Desktop(device, {})

    def key(version: str = "1", sha256: str = "a", samples: str = "s.npy", normalise: str = "{}") -> str:
        return desktop(version).key(sha256, "onnxruntime", tmp_path / samples, {"normalise": normalise})

    assert key() == key()
    assert len({key(), key("2"), key(sha256="b"), key(samples="t.npy"), key(normalise="{1}")}) == 5


def test_the_reference_is_scored_by_the_worker_of_this_computer(tmp_path: Path) -> None:
    worker = PythonWorker("fake", ("onnx",), "fake", python="python")
    desktop = bench.Desktop(Fake({"a.onnx": FakeModel(rows=((0.25,), (0.75,)))}), {"fake": worker})
    (tmp_path / "a.onnx").write_bytes(small_onnx(inputs={"x": ["N", 3, 8, 8]}))
    model = ModelUnderTest(
        variant=Variant(net="a", precision="fp32", format="onnx"),
        path=tmp_path / "a.onnx",
        sha256="0" * 64,
        graph=read_graph(tmp_path / "a.onnx"),
        runtime=worker,
        card=None,
        parity=Absent(absent="unknown"),
    )
    found = desktop.outputs(model, "fake", tmp_path / "s.npy", {"normalise": "{}"}, Plan())
    assert found.rows == ((0.25,), (0.75,))
    asked = desktop.device.asked[0]  # type: ignore[attr-defined]
    assert "--samples" in asked
    assert asked[asked.index("--shapes") + 1] == "1x3x8x8"  # a free batch is 1 here as on the phone
    broken = dataclasses.replace(desktop, device=Fake({}))
    with pytest.raises(WorkerFailed):
        broken.outputs(model, "fake", tmp_path / "s.npy", {"normalise": "{}"}, Plan())
