"""Runs at a camera's frame rate, beside those back to back."""

from __future__ import annotations

import pytest

from swapbench import bench
from swapbench.bench import FileUnderTest
from swapbench.errors import DeviceFailed
from swapbench.records import Absent, Plan, Speed
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeModel

FAKE = PythonWorker("fake", ("onnx",), "fake", python="python")
MS = 1_000_000


def files(*names: str) -> list[FileUnderTest]:
    return [FileUnderTest(name, f"{name}.onnx", FAKE) for name in names]


def test_rounds_of_fresh_workers_take_turns_and_wait_for_frames() -> None:
    device = Fake({"a.onnx": FakeModel(run_ns=10 * MS), "b.onnx": FakeModel(run_ns=20 * MS)})
    shares: list[float] = []
    found = bench.measure_paced(files("a", "b"), device, Plan(), 15, progress=shares.append)
    assert shares == [number / 12 for number in range(1, 13)]
    assert all(argv[argv.index("--fps") + 1] == "15" for argv in device.asked)
    assert len(device.asked) == 12  # a worker of each in each round
    for name, run_ns in (("a", 10 * MS), ("b", 20 * MS)):
        speed = found[name]
        assert isinstance(speed, Speed)
        assert [worker.round for worker in speed.workers] == [*range(6)]
        assert [len(worker.slices_ns) for worker in speed.workers] == [2] * 6
        assert {ns for worker in speed.workers for ns in worker.runs_ns} == {run_ns}
        # the fake does not wait: in .7 s, in which ten frames of a fifteenth come, as many runs as fit
        assert len(speed.workers[0].slices_ns[0]) == 700 * MS // run_ns
        assert [worker.late_frames for worker in speed.workers] == [0] * 6
    halves = [device.order[place : place + 2] for place in range(0, 24, 2)]
    assert all(set(half) == {"a.onnx", "b.onnx"} for half in halves)
    assert device.open_workers == 0


def test_a_slow_camera_gets_longer_slices() -> None:
    device = Fake({"a.onnx": FakeModel(run_ns=100 * MS)})
    found = bench.measure_paced(files("a"), device, Plan(), 2)["a"]
    assert isinstance(found, Speed)
    assert len(found.workers[0].slices_ns[0]) == 50  # five seconds, in which ten frames come


def test_frames_that_were_lost_are_counted_over_the_slices_of_a_worker() -> None:
    # a frame every 100 ms; a run of 250 ms loses two of them. 1 s is four such runs; a worker has two slices
    device = Fake({"a.onnx": FakeModel(run_ns=250 * MS)})
    found = bench.measure_paced(files("a"), device, Plan(), 10)["a"]
    assert isinstance(found, Speed)
    assert [worker.late_frames for worker in found.workers] == [2 * 4 * 2] * 6


def test_a_worker_that_fails_is_absent_with_its_reason_and_the_others_go_on() -> None:
    device = Fake({"a.onnx": FakeModel(), "b.onnx": FakeModel(dies_in=frozenset({1}))})
    found = bench.measure_paced(files("a", "b", "c"), device, Plan(), 15)
    assert isinstance(found["a"], Speed)
    assert isinstance(found["b"], Absent)
    assert "timing at the frame rate failed: fake worker ended with 1" in found["b"].absent
    assert isinstance(found["c"], Absent)
    assert "there is no model file c.onnx" in found["c"].absent
    assert device.open_workers == 0


def test_a_device_that_goes_away_ends_it_for_all() -> None:
    class Leaving(Fake):
        def start(self, argv: object) -> object:  # type: ignore[override]
            if len(self.asked) == 1:
                raise DeviceFailed("the cable was pulled")
            return super().start(argv)  # type: ignore[arg-type]

    device = Leaving({"a.onnx": FakeModel(), "b.onnx": FakeModel()})
    with pytest.raises(DeviceFailed, match="the cable was pulled"):
        bench.measure_paced(files("a", "b"), device, Plan(), 15)
    assert device.open_workers == 0
