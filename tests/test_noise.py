"""How noisy a machine is: a file timed against itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swapbench import bench, catalog
from swapbench.bench.noise import Noise, stolen_and_all
from swapbench.bench.workers import FileUnderTest
from swapbench.commands import noise as command
from swapbench.errors import WorkerFailed
from swapbench.records import Plan
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeModel

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
FAKE = PythonWorker("fake", ("onnx",), "fake", python="python")
PLAN = Plan(slices_per_round=2, slice_ns=10 * MS)


def test_a_file_that_always_takes_the_same_time_shows_no_noise() -> None:
    ticks = iter([(100, 10_000), (160, 12_000)])
    found = bench.measure_noise(
        FileUnderTest("net", "net.onnx", FAKE),
        Fake({"net.onnx": FakeModel(run_ns=2 * MS)}),
        PLAN,
        stolen=lambda: next(ticks),
    )
    assert found == Noise(p05=0.0, median=0.0, alone=0.0, stolen=0.03)  # 60 of 2000 ticks


def test_processes_that_differ_show_how_little_can_be_told() -> None:
    # every other process takes 10 % longer, so that the ratio of two is 1, .91 or 1.1
    model = FakeModel(run_ns=lambda process, run: (22 if process % 3 else 20) * MS // 10 + run * 0)
    found = bench.measure_noise(
        FileUnderTest("net", "net.onnx", FAKE), Fake({"net.onnx": model}), PLAN, stolen=lambda: None
    )
    assert 0.09 <= found.median <= 0.101
    assert 0.04 <= found.alone <= 0.05
    assert found.stolen is None


def test_a_file_that_does_not_run_is_an_error() -> None:
    with pytest.raises(WorkerFailed):
        bench.measure_noise(
            FileUnderTest("net", "net.onnx", FAKE),
            Fake({"net.onnx": FakeModel(dies_in=frozenset({0, 1}))}),
            PLAN,
            stolen=lambda: None,
        )


def test_stolen_time_is_the_eighth_number_of_proc_stat(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    path.write_text("cpu  10 1 5 100 2 0 1 7 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert stolen_and_all(path) == (7, 126)
    path.write_text("cpu 10 1\n")
    assert stolen_and_all(path) is None
    assert stolen_and_all(tmp_path / "none") is None


def test_what_the_noise_means_is_said_in_words() -> None:
    quiet = command.finding_of(Noise(p05=0.004, median=0.006, alone=0.01, stolen=0.0))
    assert (quiet.state, quiet.remedy) == ("ok", "")
    assert "differ by more than 0.6 % in the median or 0.4 % in p05" in quiet.detail
    loud = command.finding_of(Noise(p05=0.08, median=0.09, alone=0.06, stolen=0.02))
    assert loud.state == "limited"
    assert "others took 2.0 % of the processor's time" in loud.detail
    assert loud.remedy


@pytest.mark.slow
def test_this_computer_has_a_noise(tmp_path: Path) -> None:
    stages: list[float] = []
    finding = command.noise(
        catalog.Folders(tmp_path), progress=lambda stage, done, total: stages.append(done)
    )
    assert finding.name == "noise"
    assert "are told apart" in finding.detail
    assert stages == [*range(1, 10)]
