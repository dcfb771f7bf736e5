from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swapbench import bench
from swapbench.errors import WorkerFailed
from swapbench.ports import Finished, Node, Profile
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeModel

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNTIME = PythonWorker("fake", ("onnx",), "fake.worker", python="fake")
CONV = Node("c", "Conv", "f 1", "cpu", (2000,))
ADD = Node("a", "Add", "f 1", "cpu", (1000,))


def file(name: str) -> bench.FileUnderTest:
    return bench.FileUnderTest(name, name, RUNTIME)


def measured(
    device: Fake, *names: str, processes: int = 3, budget_s: float | None = None
) -> list[tuple[Profile, ...]]:
    said: list[tuple[str, float, float]] = []
    found = bench.measure_operators(
        [file(name) for name in names],
        device,
        bench.PAIRED_PLAN,
        processes,
        budget_s=budget_s,
        progress=lambda *step: said.append(step),
        clock=device.clock.seconds,
    )
    done = list(range(1, len(found[0]) + 1))
    assert [step[1] for step in said] == done + [processes] * (done[-1] < processes)
    return found


def test_two_files_take_turns_in_fresh_processes() -> None:
    device = Fake({"a": FakeModel(executed=(CONV,)), "b": FakeModel(executed=(ADD,))})
    old, new = measured(device, "a", "b")
    assert device.order == ["a", "b", "b", "a", "a", "b"]
    assert [one.nodes for one in old] == [(CONV,)] * 3
    assert [one.nodes for one in new] == [(ADD,)] * 3
    assert all(argv[argv.index("--mode") + 1] == "profile" for argv in device.asked)
    assert device.open_workers == 0


def test_it_ends_before_a_turn_that_does_not_fit_but_not_before_the_first() -> None:
    # a process takes 10 ms to load and run first, and 20 runs of 49.5 ms: one second
    model = FakeModel(run_ns=49_500_000, load_ns=5_000_000, first_ns=5_000_000, executed=(CONV,))
    device = Fake({"a": model})
    assert len(measured(device, "a", processes=9, budget_s=4.5)[0]) == 4
    assert len(measured(device, "a", processes=9, budget_s=0.1)[0]) == 1


def test_a_process_gets_no_more_than_the_whole_budget() -> None:
    class Watching(Fake):
        limits_s: Sequence[float] = ()

        def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
            self.limits_s = (*self.limits_s, timeout_s)
            return super().run(argv, timeout_s)

    device = Watching({"a": FakeModel(executed=(CONV,))})
    measured(device, "a", processes=2, budget_s=8)
    assert device.limits_s == (8, 8)


def test_a_file_that_cannot_be_profiled_is_named() -> None:
    device = Fake({"a": FakeModel(executed=(CONV,)), "b": FakeModel(error_in=frozenset({1}))})
    with pytest.raises(WorkerFailed, match="b could not be profiled: programmed failure"):
        measured(device, "a", "b")
    assert device.open_workers == 0


def test_a_worker_that_crashed_says_with_what() -> None:
    class Crashing(Fake):
        def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
            return Finished("", "", -11)

    with pytest.raises(WorkerFailed, match=r"ended before it was done \(exit status -11\)"):
        measured(Crashing({"a": FakeModel()}), "a")


def test_processes_of_one_file_that_executed_different_nodes_are_refused() -> None:
    class Moody(Fake):
        def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
            if len(self.asked) == 2:
                self.models = {"a": FakeModel(executed=(CONV, ADD))}
            return super().run(argv, timeout_s)

    with pytest.raises(WorkerFailed, match="a did not execute the same nodes in every process"):
        measured(Moody({"a": FakeModel(executed=(CONV,))}), "a")


def test_a_runtime_without_a_profiler_gives_whole_runs_and_the_reason() -> None:
    (found,) = measured(Fake({"a": FakeModel(run_ns=3, placed=(CONV,))}), "a", processes=2)
    assert [one.absent for one in found] == ["programmed without operators"] * 2
    assert found[0].run_ns == (3,) * 10
    assert found[0].placed == (CONV,)
