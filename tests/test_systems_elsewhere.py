"""A system whose files run in another Python, or with a runtime of a package."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swapbench.bench.decision_jobs import _python_worker, _shared_worker
from swapbench.bench.workers import FileUnderTest
from swapbench.errors import UserError
from swapbench.runtimes.contract import PythonWorker

HERE = PythonWorker("here", ("onnx",), "swapbench.runtimes.ort")
THERE = PythonWorker("there", ("onnx",), "yaml.worker", python="/env/bin/python")


def under(*runtimes: object) -> list[FileUnderTest]:
    return [FileUnderTest("f", "f.onnx", runtime) for runtime in runtimes]  # type: ignore[arg-type]


def test_files_of_one_other_python_are_a_system_there_that_is_lent_their_packages() -> None:
    worker = _shared_worker(under(THERE, replace(THERE, name="again", module="numpy.worker")))
    assert (worker.python, worker.module) == ("/env/bin/python", "swapbench.systems.worker")
    lent = [one.partition("=")[0] for one in worker.start[3 : worker.start.index("-m")]]
    assert lent == ["numpy", "swapbench", "yaml"]
    assert worker.start[-2:] == ["-m", "swapbench.systems.worker"]


def test_files_of_our_python_are_a_system_there_whosever_package_runs_them() -> None:
    worker = _shared_worker(under(HERE, replace(HERE, name="added", module="yaml.worker")))
    assert not worker.is_elsewhere
    assert worker.start[1:] == ["-m", "swapbench.systems.worker"]


def test_files_of_two_pythons_are_no_system() -> None:
    with pytest.raises(UserError, match="here and there run with different Pythons") as caught:
        _shared_worker(under(HERE, THERE))
    assert "swapbench runtimes remove there" in caught.value.remedy


def test_a_runtime_that_is_no_python_program_cannot_be_part_of_a_system() -> None:
    class Native:
        name = "native"

    with pytest.raises(UserError, match="native does not run in Python"):
        _python_worker(under(Native())[0])
