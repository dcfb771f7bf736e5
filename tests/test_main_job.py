"""The main job from a bundled network to a report, with the real exporters, runtimes and data files."""

from __future__ import annotations

import csv
import itertools
import json
import operator
import shutil
from pathlib import Path

import pytest

from swapbench import cli, store
from swapbench.modelfile import read_graph

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def data(folder: Path, simulated: Path) -> Path:
    """A part of the simulated set: 16 people to develop on, 8 to test on."""
    part = folder / "data"
    part.mkdir()
    shutil.copy(simulated / "dataset.json", part)
    for split, people in (("dev", 16), ("test", 8)):
        (part / split).symlink_to(simulated / split)
        name = f"manifest-{split}.csv"
        with (simulated / name).open(newline="") as whole, (part / name).open("w", newline="") as file:
            rows = csv.DictReader(whole)
            writer = csv.DictWriter(file, rows.fieldnames or ())
            writer.writeheader()
            by_person = itertools.groupby(rows, operator.itemgetter("subject"))
            for _, captures in itertools.islice(by_person, people):
                writer.writerows(captures)
    return part


def files_with_times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_bundled_network_is_exported_measured_and_reported_and_nothing_is_done_twice(
    folder: Path,
    data: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CI", "true")
    argv = ["run", "--models", "minifasnet_v2", "--data", str(data), "--budget", "2"]
    assert cli.main([*argv, "--name", "first"]) in {0, 3}
    first = capsys.readouterr()
    assert "Simulated data" in first.err
    records = store.load_run(folder / "reports" / "first")
    assert {record.variant.file_name for record in records} == {
        f"minifasnet_v2.{precision}.{form}"
        for precision in ("fp32", "fp16", "int8")
        for form in ("onnx", "tflite")
    }
    assert len({record.weight.macs for record in records}) == 1
    assert len({record.weight.params for record in records}) == 1
    for record in records:
        assert record.accuracy.simulated
        assert record.accuracy.bona_fide == 16
        assert set(record.accuracy.apcer_by_species) == {"print", "replay"}
        assert record.speed.input == "sample"
        assert record.parity.samples == 64
        assert len(record.speed.workers) >= record.plan.min_rounds
    by_name = {record.variant.file_name: record for record in records}
    sizes = {name: record.weight.file_bytes for name, record in by_name.items()}
    for form in ("onnx", "tflite"):
        assert (
            sizes[f"minifasnet_v2.int8.{form}"]
            < sizes[f"minifasnet_v2.fp16.{form}"]
            < sizes[f"minifasnet_v2.fp32.{form}"]
        )
    report = folder / "reports" / "first"
    assert "Simulated data" in (report / "table.md").read_text()
    with (report / "table.csv").open(newline="") as file:
        assert {row["data_simulated"] for row in csv.DictReader(file)} == {"true"}
    assert json.loads((report / "table.json").read_text())["rows"]
    assert (report / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert (report / "pareto.pdf").read_bytes().startswith(b"%PDF")
    assert "<text" in (report / "pareto.svg").read_text()

    built = files_with_times(folder / "build") | files_with_times(data)
    request.getfixturevalue("few_rounds")
    assert cli.main([*argv, "--name", "second"]) in {0, 3}
    assert files_with_times(folder / "build") | files_with_times(data) == built
    again = {record.id: record.accuracy for record in store.load_run(folder / "reports" / "second")}
    assert again == {record.id: record.accuracy for record in records}


@pytest.mark.usefixtures("few_rounds")
def test_an_exported_file_carries_what_is_needed_to_score_it_without_its_card(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CI", "true")
    argv = [
        "export",
        "minifasnet_v2",
        "--format",
        "onnx",
        "--precision",
        "fp32",
        "--data",
        str(data),
        "--out",
        "shipped",
    ]
    assert cli.main(argv) == 0
    (path,) = (folder / "shipped").glob("*.onnx")
    assert path.name == "minifasnet_v2.fp32.onnx"
    assert read_graph(path).metadata["preprocessing"]["width_px"] == 80
    assert cli.main(["run", str(path), "--data", str(data), "--budget", "1", "--name", "shipped"]) in {0, 3}
    (record,) = store.load_run(folder / "reports" / "shipped")
    assert record.accuracy.bona_fide == 16
