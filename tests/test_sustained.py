"""One file for minutes, on a clock that only the work moves."""

from __future__ import annotations

import pytest

from swapbench import bench
from swapbench.bench import FileUnderTest
from swapbench.errors import WorkerFailed
from swapbench.records import Machine, PhoneState, Plan
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeModel

FAKE = PythonWorker("fake", ("onnx",), "fake", python="python")
MS = 1_000_000
SUBJECT = FileUnderTest("a", "a.onnx", FAKE)


class Warming(Fake):
    """Half a degree warmer whenever it is asked, which takes 200 ms; throttles from 32 degrees on."""

    asked_times = 0

    def describe(self) -> Machine:
        self.asked_times += 1
        self.clock.sleep(0.2)
        temperature_c = 30 + self.asked_times / 2
        state = PhoneState(thermal_status=int(temperature_c >= 32))
        return super().describe().model_copy(update={"temperature_c": temperature_c, "state": state})


def test_every_minute_has_its_quantiles_and_its_temperature() -> None:
    # 10 ms a run, from the 18000th on (after three minutes) 20 ms
    device = Warming({"a.onnx": FakeModel(run_ns=lambda _, run: (20 if run >= 18_000 else 10) * MS)})
    heard: list[float] = []
    found = bench.measure_sustained(
        SUBJECT, device, Plan(), 600, progress=heard.append, clock=device.clock.seconds
    )
    assert len(found.points) == 10
    assert [round(point.start_s) for point in found.points] == [0, *range(60, 600, 60)]
    assert [point.p50_ns for point in found.points] == [10 * MS] * 3 + [20 * MS] * 7
    assert found.points[0].runs == 6000
    assert found.points[1].runs == 5980  # the question before it took 200 ms of its minute
    assert [point.temperature_c for point in found.points[:4]] == [30.5, 31, 31.5, 32]
    assert [point.thermal_status for point in found.points[:5]] == [0, 0, 0, 1, 1]
    assert heard == sorted(heard)
    assert heard[-1] == 600
    assert device.open_workers == 0


def test_a_short_one_has_five_points_too() -> None:
    device = Fake({"a.onnx": FakeModel(run_ns=10 * MS)})
    found = bench.measure_sustained(SUBJECT, device, Plan(), 20, clock=device.clock.seconds)
    assert [point.start_s for point in found.points] == [0, 4, 8, 12, 16]
    assert [point.runs for point in found.points] == [400] * 5
    assert (found.points[0].temperature_c, found.points[0].thermal_status) == (None, None)


def test_a_run_longer_than_a_stretch_still_makes_a_point() -> None:
    device = Fake({"a.onnx": FakeModel(run_ns=7_000 * MS)})
    found = bench.measure_sustained(SUBJECT, device, Plan(), 20, clock=device.clock.seconds)
    assert [(point.start_s, point.runs) for point in found.points] == [(0, 1), (7, 1), (14, 1)]


def test_a_worker_that_dies_is_an_error_and_leaves_nothing() -> None:
    device = Fake({"a.onnx": FakeModel(dies_in=frozenset({0}))})
    with pytest.raises(WorkerFailed, match="fake worker ended"):
        bench.measure_sustained(SUBJECT, device, Plan(), 20, clock=device.clock.seconds)
    assert device.open_workers == 0
