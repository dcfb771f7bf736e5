"""Commands that are killed: nothing is half written, and the same command goes on.

SWAPBENCH_KILLS says how often each command is killed; docs/security.md has the figures of a longer run.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_commands import COMMANDS, KILLS, argv, begun, is_done, prepared, require, result
from watched import SOURCE

from swapbench.bench.run_folder import read_about

if TYPE_CHECKING:
    from pathlib import Path


def is_told(name: str, folder: Path) -> bool:
    """Whether a run that was killed had said all and noted that, so that nothing is left to go on with."""
    about = read_about(folder / "reports" / "r") if name == "run" else None
    if about is None or not (about["finished"] and about["reported"]):
        return False
    again = begun(argv(name), folder)
    _, said = again.communicate()
    assert again.returncode == 2, said
    assert "Show what it measured with: swapbench report reports/r" in said
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_goes_on_after_it_was_killed_at_any_moment(tmp_path: Path, name: str) -> None:
    require(name)
    undisturbed = prepared(tmp_path / "undisturbed")
    began = time.monotonic()
    done = begun(argv(name), undisturbed)
    _, said = done.communicate()
    taken = time.monotonic() - began
    assert is_done(name, done.returncode), said
    wanted = result(name, undisturbed)
    dice = np.random.default_rng([7, *name.encode()])
    folder, kills = prepared(tmp_path / "0"), 0
    while kills < (KILLS or 2):
        killed = begun(argv(name), folder)
        time.sleep(dice.uniform(0, taken))
        if killed.poll() is None:
            kills += 1
            number = dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            if number == signal.SIGINT:
                os.killpg(killed.pid, number)  # as a terminal does
            else:
                killed.send_signal(number)
        _, said = killed.communicate(timeout=120)
        assert str(SOURCE) not in said, said  # no traceback of ours; Python's own start is not ours
        assert "bug in swapbench" not in said, said
        told = killed.returncode == -signal.SIGKILL and is_told(name, folder)
        if told or is_done(name, killed.returncode):
            assert result(name, folder) == wanted
            folder = prepared(tmp_path / f"{int(folder.name) + 1}")
    last = begun(argv(name), folder)
    _, said = last.communicate()
    assert is_done(name, last.returncode), said
    assert result(name, folder) == wanted
