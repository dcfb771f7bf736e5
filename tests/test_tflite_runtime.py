"""One file under the real tflite-runtime, which needs an environment of its own: `make tflite-runtime`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from conftest import REPOSITORY
from tiny_files import small_tflite

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = REPOSITORY / "build" / "tflite-runtime"
PYTHON = ENVIRONMENT / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not (ENVIRONMENT / ".installed").exists(), reason="has an environment of its own: make tflite-runtime"
)


def swapbench(folder: Path, *words: str) -> None:
    """A command that ends well; 3 is a run with doubts."""
    command = [sys.executable, "-m", "swapbench", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 3}, done.stderr


def records(folder: Path, *options: str) -> list[dict[str, Any]]:
    """The records of a run of one file, by runtime."""
    (folder / "net.tflite").write_bytes(small_tflite().bytes())
    swapbench(folder, "run", "net.tflite", "--budget", "1", "--window", "1", "--name", "run", *options)
    found = [json.loads(path.read_text()) for path in (folder / "reports/run/records").glob("*.json")]
    return sorted(found, key=lambda record: record["runtime"]["runtime"])


def test_it_runs_beside_litert_where_it_is_named(tmp_path: Path) -> None:
    swapbench(tmp_path, "runtimes", "add", "tflite-runtime", "--python", str(PYTHON))
    litert, frozen = records(tmp_path, "--runtime", "litert,tflite-runtime")
    assert (litert["runtime"]["runtime"], litert["runtime"]["package"]) == ("litert", "ai-edge-litert")
    assert (frozen["runtime"]["runtime"], frozen["runtime"]["package"]) == ("tflite-runtime",) * 2
    assert "old_runtime" in {doubt["code"] for doubt in frozen["doubts"]}
    assert "old_runtime" not in {doubt["code"] for doubt in litert["doubts"]}
    assert frozen["machine"]["packages"]["numpy"].startswith("1.")
    assert not litert["machine"]["packages"]["numpy"].startswith("1.")


def test_it_takes_the_place_of_litert_where_that_is_not_installed(tmp_path: Path) -> None:
    swapbench(tmp_path, "runtimes", "add", "litert", "--python", str(PYTHON))
    (record,) = records(tmp_path)
    assert (record["runtime"]["runtime"], record["runtime"]["package"]) == ("litert", "tflite-runtime")
    assert "old_runtime" in {doubt["code"] for doubt in record["doubts"]}
