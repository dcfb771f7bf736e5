"""Work that several processes share."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from watched import SOURCE

from swapbench.errors import EnvironmentFailed
from swapbench.processes import results

if TYPE_CHECKING:
    from pathlib import Path


def test_every_job_gives_its_result() -> None:
    assert sorted(results(math.sqrt, [1, 4, 9], 2)) == [1, 2, 3]


def test_what_a_job_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="math domain error"):
        list(results(math.sqrt, [-1, 4], 2))


def test_a_process_that_dies_is_an_error_of_the_environment_and_nobody_waits() -> None:
    with pytest.raises(EnvironmentFailed, match="a process that shares the work died"):
        list(results(os._exit, [3, 3, 3], 2))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent_and_leave_ctrl_c_to_it(tmp_path: Path, number: int) -> None:
    code = (
        "import time; from swapbench.processes import results\n"
        "if __name__ == '__main__':\n"
        "    try:\n        list(results(time.sleep, [0, 60, 60], 2))\n"
        "    except KeyboardInterrupt:\n        raise SystemExit(7)\n"
    )
    (tmp_path / "sleeping.py").write_text(code)
    parent = subprocess.Popen(
        [sys.executable, "sleeping.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(children) < 3:  # two that sleep, and what multiprocessing itself starts
        assert time.monotonic() < deadline
        children = psutil.Process(parent.pid).children()
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(parent.pid, number)  # as a terminal does
    else:
        parent.kill()
    _, said = parent.communicate(timeout=50)
    assert said == "" or number == signal.SIGKILL  # Python's tracker of resources then warns
    assert parent.returncode == (7 if number == signal.SIGINT else -number)
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert len(gone) == 3
