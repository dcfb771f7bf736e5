"""Parts of a network: files that read one another, in scoring, in a cascade, and in one process."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from red_faces import red_less_blue, red_parts

from swapbench.bench import series
from swapbench.bench.model_under_test import ModelUnderTest
from swapbench.errors import WorkerFailed
from swapbench.modelfile import read_graph
from swapbench.records import (
    Absent,
    Member,
    ModelCard,
    OutputMeaning,
    Preprocessing,
    System,
    Variant,
)
from swapbench.records.cards import Reads
from swapbench.runtimes import ort
from swapbench.runtimes.contract import PythonWorker, parse_outputs, parse_slice
from swapbench.runtimes.worker import work
from swapbench.systems.worker import _System

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGE = Preprocessing(width_px=8, height_px=8, crop_scale=1.0, scale=1.0, mean=(128.0,) * 3)
LOGITS = OutputMeaning(kind="logits", bona_fide_index=1)
PLAIN = json.dumps({"scale": 1.0, "mean": [128.0] * 3, "std": [1.0] * 3})
ORT = PythonWorker("onnxruntime", ("onnx",), "swapbench.runtimes.ort")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts, the file that computes the same as both, and crops."""
    folder = tmp_path_factory.mktemp("parts")
    first, second = red_parts()
    (folder / "net_1.onnx").write_bytes(first)
    (folder / "net_2.onnx").write_bytes(second)
    (folder / "whole.onnx").write_bytes(red_less_blue(saturated_by=200.0))
    np.save(folder / "crops.npy", np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), np.uint8))
    return folder


def scored(folder: Path, file: str, *more: str) -> tuple[tuple[float, ...], ...]:
    out = io.StringIO()
    argv = ["--mode", "score", "--artifact", str(folder / file), "--samples", str(folder / "crops.npy")]
    argv += ["--normalise", PLAIN, "--warmup-runs", "0", "--warmup-ns", "0", *more]
    work(argv, ort.open_backend, [], out)
    return parse_outputs(out.getvalue()).rows


def test_parts_in_series_say_what_the_whole_says(folder: Path) -> None:
    before = json.dumps([{"artifact": str(folder / "net_1.onnx"), "place": 1}])
    assert np.allclose(
        scored(folder, "net_2.onnx", "--reads", before), scored(folder, "whole.onnx"), atol=1e-5
    )
    assert not np.allclose(scored(folder, "net_1.onnx"), scored(folder, "whole.onnx"), atol=0.1)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ([{"artifact": "net_1.onnx", "place": 0}], "takes float32 [1, 6, 8, 8], and the file before it"),
        ([{"artifact": "net_1.onnx"}], "--reads is no list of artifacts and places"),
    ],
)
def test_what_does_not_fit_is_one_error(
    before: list[dict[str, Any]], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(WorkerFailed) as raised:
        scored(folder, "net_2.onnx", "--reads", json.dumps(before))
    assert message in str(raised.value)


# ---- Which file reads which ----


def model(folder: Path, name: str, reads: Reads | None = None, **changes: Any) -> ModelUnderTest:
    path = folder / f"{name}.onnx"
    card = ModelCard(name=name, preprocessing=IMAGE, output=LOGITS, reads=reads)
    variant = Variant(net=name, precision="fp32", format="onnx")
    graph, parity = read_graph(path), Absent(absent="made by hand")
    return ModelUnderTest(variant, path, name, graph, ORT, card, parity, **changes)


def test_a_part_knows_the_parts_before_it_and_says_so(folder: Path) -> None:
    first, second = model(folder, "net_1"), model(folder, "net_2", Reads(card="net_1"))
    found = series.linked([second, first])
    assert found[0].before == (first,)
    assert found[1].before == ()
    assert series.read_digests(found[0]) == [("net_1", 1)]
    assert "it reads features of net_1.onnx, without which it decides nothing" in found[0].remarks[0]


@pytest.mark.parametrize(
    ("others", "reads", "reason"),
    [
        ((), Reads(card="net_1"), "it reads features of net_1.fp32 (onnx), which is not among the files"),
        (
            ("net_1",),
            Reads(card="net_1", output="map"),
            "it reads map of net_1.onnx, which returns y, features",
        ),
    ],
)
def test_a_part_without_what_it_reads_has_no_accuracy(
    others: Sequence[str], reads: Reads, reason: str, folder: Path
) -> None:
    (part, *_) = series.linked([model(folder, "net_2", reads), *(model(folder, name) for name in others)])
    assert part.unscored is not None
    assert part.unscored.absent == reason


# ---- In one process ----


def test_a_cascade_of_parts_hands_the_map_over(folder: Path) -> None:
    def member(name: str) -> dict[str, Any]:
        return {
            "module": "swapbench.runtimes.ort",
            "artifact": str(folder / name),
            "meaning": {"kind": "logits", "bona_fide_index": 1},
        }

    crops = {"samples": str(folder / "crops.npy"), "normalise": PLAIN}
    whole = np.array(scored(folder, "whole.onnx"))
    share = 1 / (1 + np.exp(whole[:, 0] - whole[:, 1]))
    threshold = float(np.median(share))
    steps = {
        "rule": "cascade",
        "weights": [1.0, 1.0],
        "margin": float("inf"),
        "frame_rule": "mean",
        "bounds": [0.0, 0.0],
        "threshold": 0.0,
        "members": [0.5, threshold - 1e-6],
        "evidence": [0.0, 0.0],
    }
    members = [member("net_1.onnx") | crops, member("net_2.onnx") | {"reads": 1}]
    job = {"steps": steps, "members": members, "presentations": [[row] for row in range(5)]}
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    argv = ["--mode", "serve", "--artifact", str(path), "--warmup-runs", "0", "--warmup-ns", "0"]
    argv += ["--samples", crops["samples"], "--normalise", PLAIN]
    out = io.StringIO()
    assert work(argv, lambda: _System(0), ['{"runs": 5, "wake_runs": 0}'], out) == 0
    decisions = parse_slice(out.getvalue().splitlines()[1]).decisions
    assert decisions is not None
    # the first decision was the untimed first run
    accepted = {number: accepted for number, accepted, *_ in decisions}
    assert accepted == {row: int(share[row] >= threshold - 1e-6) for row in range(5)}
    assert {tuple(asked) for _, _, *asked in decisions} == {(1, 1)}


# ---- As data ----


def test_only_a_cascade_has_members_that_read() -> None:
    first, second = Member(file="a.onnx"), Member(file="b.onnx", reads="features")
    assert (
        System(name="x", rule="cascade", margin=0.1, members=(first, second)).members[1].reads == "features"
    )
    for rule, members, message in (
        ("mean", (first, second), "b.onnx reads another member, which only a cascade allows"),
        ("cascade", (second, first), "b.onnx reads the member before it, and it is the first"),
    ):
        with pytest.raises(ValueError, match=message):
            System(name="x", rule=rule, margin=0.1 if rule == "cascade" else None, members=members)
