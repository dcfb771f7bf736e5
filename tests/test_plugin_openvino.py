"""A runtime in a package of its own, installed and run for real: `make plugin`."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import REPOSITORY
from tiny_files import small_onnx

from swapbench.runtimes.contract import parse_outputs

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = REPOSITORY / "build" / "plugin"
PYTHON = ENVIRONMENT / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not (ENVIRONMENT / ".installed").exists(), reason="has an environment of its own: make plugin"
)


def swapbench(folder: Path, *words: str) -> str:
    """What a command prints that ends well; 3 is a run with doubts."""
    command = [PYTHON, "-m", "swapbench", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 3}, done.stderr
    return done.stdout


def test_it_is_listed_beside_the_built_in_ones(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(swapbench(tmp_path, "runtimes", "--json"))}
    row = rows["openvino"]
    assert (row["state"], row["formats"], row["package"]) == ("ok", ["onnx"], "openvino")
    assert "CPU" in row["accelerators"]
    assert row["added_by"].startswith("swapbench-openvino ")
    assert rows["onnxruntime"]["state"] == "ok"


def test_it_runs_where_it_is_named_and_only_there(tmp_path: Path) -> None:
    def records(name: str, *options: str) -> dict[str, dict[str, Any]]:
        words = ["run", "net.onnx", "--budget", "1", "--window", "1", "--name", name, *options]
        swapbench(tmp_path, *words)
        found = [json.loads(path.read_text()) for path in (tmp_path / "reports" / name).glob("records/*")]
        return {record["runtime"]["runtime"]: record for record in found}

    (tmp_path / "net.onnx").write_bytes(small_onnx())
    assert set(records("alone")) == {"onnxruntime"}
    both = records("both", "--runtime", "onnxruntime,openvino")
    assert set(both) == {"onnxruntime", "openvino"}
    assert both["openvino"]["runtime"]["settings"]["precision"] == "f32"
    assert both["openvino"]["weight"]["macs"] == both["onnxruntime"]["weight"]["macs"]


def test_it_computes_what_onnxruntime_computes(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(small_onnx())
    samples = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.save(tmp_path / "samples.npy", samples)
    options = ["--mode", "score", "--artifact", "net.onnx", "--samples", "samples.npy"]
    options += ["--normalise", json.dumps({"scale": 0.01, "mean": [1, 1, 1], "std": [1, 2, 3]})]
    rows = []
    for module in ("swapbench_openvino", "swapbench.runtimes.ort"):
        command = [PYTHON, "-m", module, *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        rows.append(np.array(parse_outputs(done.stdout).rows))
    assert np.ptp(rows[1]) > 1
    assert np.allclose(*rows, rtol=1e-5)


def test_it_profiles(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(small_onnx())
    assert "Convolution" in swapbench(tmp_path, "profile", "net.onnx", "--runtime", "openvino")
