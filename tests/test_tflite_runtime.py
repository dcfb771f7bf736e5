"""One file under the real tflite-runtime, which needs an environment of its own: `make tflite-runtime`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tiny_files import small_tflite

ENVIRONMENT = os.environ.get("TFLITE_RUNTIME_PYTHON", "")

pytestmark = pytest.mark.skipif(not ENVIRONMENT, reason="has an environment of its own: make tflite-runtime")


def records(folder: Path, *options: str) -> list[dict[str, Any]]:
    """The records of a run of one file in that environment, by runtime; 3 is a run with doubts."""
    (folder / "net.tflite").write_bytes(small_tflite().bytes())
    words = ["run", "net.tflite", "--budget", "1", "--window", "1", "--name", "run", *options]
    done = subprocess.run(
        [ENVIRONMENT, "-m", "swapbench", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 3}, done.stderr
    found = [json.loads(path.read_text()) for path in (folder / "reports/run/records").glob("*.json")]
    return sorted(found, key=lambda record: record["runtime"]["runtime"])


def test_it_runs_beside_litert_where_it_is_named(tmp_path: Path) -> None:
    litert, frozen = records(tmp_path, "--runtime", "litert", "--runtime", "tflite-runtime")
    assert (litert["runtime"]["runtime"], litert["runtime"]["package"]) == ("litert", "ai-edge-litert")
    assert (frozen["runtime"]["runtime"], frozen["runtime"]["package"]) == ("tflite-runtime",) * 2
    assert "old_runtime" in {doubt["code"] for doubt in frozen["doubts"]}
    assert "old_runtime" not in {doubt["code"] for doubt in litert["doubts"]}
    assert frozen["machine"]["packages"]["numpy"].startswith("1.")


def test_it_takes_the_place_of_litert_where_that_is_not_installed(tmp_path: Path) -> None:
    pip = [ENVIRONMENT, "-m", "pip", "uninstall", "--quiet", "--yes", "ai-edge-litert"]
    subprocess.run(pip, check=True)
    (record,) = records(tmp_path)
    assert (record["runtime"]["runtime"], record["runtime"]["package"]) == ("litert", "tflite-runtime")
    assert "old_runtime" in {doubt["code"] for doubt in record["doubts"]}
