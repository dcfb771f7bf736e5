"""The process that runs a whole system: real files, their crops, and decisions that are told."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from red_faces import red_less_blue

from swapbench.runtimes.contract import parse_loaded, parse_slice
from swapbench.runtimes.feed import Shapes
from swapbench.runtimes.worker import work
from swapbench.systems.worker import _System

if TYPE_CHECKING:
    from pathlib import Path

# red less blue of an image, of which both files make p = 1 / (1 + exp(-2 (red - blue) / saturation))
CROPS = {"reddish": (20, 10), "bluish": (10, 20), "grey": (15, 14)}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    """A cascade of two files about three presentations of one frame."""
    images = np.array([np.full((8, 8, 3), (red, 15, blue), np.uint8) for red, blue in CROPS.values()])
    np.save(tmp_path / "crops.npy", images)
    members = []
    for name, saturation in (("small", 100.0), ("large", 20.0)):
        (tmp_path / f"{name}.onnx").write_bytes(red_less_blue(saturated_by=saturation))
        members.append(
            {
                "module": "swapbench.runtimes.ort",
                "artifact": str(tmp_path / f"{name}.onnx"),
                "samples": str(tmp_path / "crops.npy"),
                "normalise": json.dumps({"scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}),
                "meaning": {"kind": "logits", "bona_fide_index": 1},
            }
        )
    steps = {
        "rule": "cascade",
        "weights": [1.0, 1.0],
        "margin": 0.02,
        "frame_rule": "mean",
        "bounds": [0.0, 0.0],
        "threshold": 0.0,
        "members": [0.5, 0.5],
        "evidence": [0.0, 0.0],
    }
    return {"steps": steps, "members": members, "presentations": [[0], [1], [2]]}


def answers(job: dict[str, Any], folder: Path, *requests: dict[str, int]) -> tuple[int, list[str]]:
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    argv = ["--mode", "serve", "--artifact", str(path), "--warmup-runs", "0", "--warmup-ns", "0"]
    first = job["members"][0]
    argv += ["--samples", first["samples"], "--normalise", first["normalise"]]
    out = io.StringIO()
    status = work(argv, lambda: _System(0), [json.dumps(request) for request in requests], out)
    return status, out.getvalue().splitlines()


def test_a_slice_says_what_each_decision_was(job: dict[str, Any], tmp_path: Path) -> None:
    status, (loaded, first, second) = answers(
        job, tmp_path, {"runs": 6, "wake_runs": 0}, {"runs": 1, "wake_runs": 1}
    )
    assert status == 0
    assert parse_loaded(loaded).used.providers == ("CPUExecutionProvider",)
    # p of the small file: reddish .55, bluish .45, and grey .505, which is within .02 and asks the large one
    decided = parse_slice(first).decisions
    assert decided is not None
    assert len(decided) == 6
    assert set(decided) == {(0, 1, 1, 0), (1, 0, 1, 0), (2, 1, 1, 1)}
    assert decided[:3] == decided[3:]  # in turn
    later = parse_slice(second).decisions
    assert later is not None
    assert len(later) == 1  # runs that wake the thread pool are no decisions


def test_each_process_decides_about_other_presentations(
    job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swapbench.systems.worker.BUFFERS_BYTES", 1)
    job["presentations"] = [[row % 3] for row in range(20)]
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    held = [
        _System(turn).load(str(tmp_path / "job.json"), 1, None, Shapes())._held  # type: ignore[attr-defined]
        for turn in (0, 1, 2)
    ]
    assert held == [list(range(8)), list(range(8, 16)), [16, 17, 18, 19, 0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": "swapbench.runtimes.nothing"}, "No module named"),
        ({"meaning": {"kind": "expression"}}, "cannot be timed in a system"),
        ({"samples": "nowhere.npy"}, "cannot read the samples file"),
    ],
)
def test_a_job_that_cannot_be_used_is_one_error(
    change: dict[str, Any], message: str, job: dict[str, Any], tmp_path: Path
) -> None:
    job["members"][1] |= change
    status, (line,) = answers(job, tmp_path)
    assert status == 1
    assert message in json.loads(line)["message"]


def test_a_job_that_is_no_job_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("[]", encoding="utf-8")
    out = io.StringIO()
    assert work(["--artifact", str(tmp_path / "job.json")], lambda: _System(0), [], out) == 1
    assert "cannot use the job" in json.loads(out.getvalue())["message"]
