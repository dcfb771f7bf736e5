"""Commands that are killed at seeded moments: nothing is half written, and the same command goes on.

SWAPBENCH_KILLS says how often each command is killed; docs/security.md has the figures of a longer run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_cli import small_network
from watched import SOURCE

from swapbench import store

KILLS = int(os.environ.get("SWAPBENCH_KILLS", "4"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE), "CI": "true", "ADB": "no-adb-here"}
COMMANDS = {
    "run": ("run", "a.onnx", "b.onnx", "--no-accuracy", "--budget", "1", "--window", "1", "--name", "r"),
    "report": ("report", str(SOURCE / "reports" / "example"), "--figure", "latency", "--out", "page"),
    "gate": ("gate", "--baseline", "a.onnx", "--candidate", "b.onnx", "--budget-s", "1"),
    "baseline": ("baseline", "save", "a.onnx", "b.onnx", "--out", "base"),
}


def command(name: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "swapbench", *COMMANDS[name]],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(name: str, folder: Path) -> set[str]:
    """What a command leaves behind, without what only lives as long as it does."""
    if name == "run":
        assert len(store.load_run(folder / "reports" / "r")) == 2
    return {
        str(path.relative_to(folder))
        for place in ("reports", "page", "base")
        for path in (folder / place).rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def prepared(folder: Path) -> Path:
    folder.mkdir()
    small_network(folder / "a.onnx")
    small_network(folder / "b.onnx", 6)
    return folder


def is_done(status: int) -> bool:
    return status in {0, 1, 3}  # a busy machine raises doubts, and a gate may fail


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_goes_on_after_it_was_killed_at_any_moment(tmp_path: Path, name: str) -> None:
    undisturbed = prepared(tmp_path / "undisturbed")
    began = time.monotonic()
    done = command(name, undisturbed)
    _, said = done.communicate()
    taken = time.monotonic() - began
    assert is_done(done.returncode), said
    wanted = result(name, undisturbed)
    dice = np.random.default_rng([7, *name.encode()])
    folder, kills = prepared(tmp_path / "0"), 0
    while kills < KILLS:
        killed = command(name, folder)
        time.sleep(dice.uniform(0, taken))
        if killed.poll() is None:
            kills += 1
            killed.send_signal(dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        _, said = killed.communicate(timeout=120)
        assert str(SOURCE) not in said, said  # no traceback of ours; Python's own start is not ours
        assert "bug in swapbench" not in said, said
        if is_done(killed.returncode):
            assert result(name, folder) == wanted
            folder = prepared(tmp_path / f"{int(folder.name) + 1}")
    last = command(name, folder)
    _, said = last.communicate()
    assert is_done(last.returncode), said
    assert result(name, folder) == wanted
