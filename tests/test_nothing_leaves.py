"""What docs/security.md promises: no command reaches the network or writes outside of its working folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import skip_without
from red_faces import write_red_faces
from test_cli import small_network
from watched import SOURCE, Watched, watch

from swapbench import environment
from swapbench.records import SUFFIXES

RUN = ("run", "net.onnx", "--no-accuracy", "--budget", "1", "--window", "1", "--name", "a")


def kept_to_itself(done: Watched, status: int = 0) -> None:
    assert done.status == status, done.said
    assert done.connections == []
    assert done.outside == []
    assert done.left == []


def test_every_process_of_ours_switches_the_telemetry_of_onnxruntime_off() -> None:
    code = "import os, swapbench; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "0", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == "1\n"


def test_caches_of_libraries_go_where_a_person_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in environment.CACHES:
        monkeypatch.setenv(variable, "")  # so that what is set below is undone, too
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MPLCONFIGDIR", "/elsewhere")
    environment.keep_caches_in(tmp_path)
    assert os.environ["MPLCONFIGDIR"] == "/elsewhere"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "torchinductor")
    assert list(tmp_path.iterdir()) == []


def test_a_run_a_report_and_a_gate_reach_nothing_and_write_nothing_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "work").mkdir()
    small_network(tmp_path / "work" / "net.onnx")
    done = watch(tmp_path, *RUN)
    assert done.status in {0, 3}, done.said  # a busy machine raises doubts
    kept_to_itself(done, done.status)
    kept_to_itself(
        watch(tmp_path, "report", str(SOURCE / "reports" / "example"), "--figure", "latency", "--out", "page")
    )
    gate = ("gate", "--baseline", "net.onnx", "--candidate", "net.onnx", "--budget-s", "1")
    done = watch(tmp_path, *gate)
    assert done.status in {0, 1, 3}, done.said
    kept_to_itself(done, done.status)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "tflite", "ncnn", "executorch"])
def test_an_export_reaches_nothing_and_writes_nothing_elsewhere(tmp_path: Path, kind: str) -> None:
    skip_without({"onnx": "onnxscript", "tflite": "litert_torch", "ncnn": "pnnx"}.get(kind, kind))
    faces = tmp_path / "work" / "faces"
    faces.mkdir(parents=True)
    write_red_faces(faces)
    asked = ("--format", kind, "--precision", "fp32", "--data", "faces")
    kept_to_itself(watch(tmp_path, "export", "minifasnet_v2", *asked))
    assert list((tmp_path / "work" / "build").rglob(f"minifasnet_v2.fp32.{SUFFIXES[kind]}"))
