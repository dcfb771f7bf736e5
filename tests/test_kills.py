"""Commands that are killed or starved: nothing is half written, and the same command goes on.

SWAPBENCH_KILLS says how often each command is killed; docs/security.md has the figures of a longer run.
"""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import small_network
from watched import SOURCE

from swapbench import store
from swapbench.bench.run_folder import read_about

KILLS = int(os.environ.get("SWAPBENCH_KILLS", "0"))
QUICK = ("run", "report", "gate", "baseline")
"""Commands that are killed also where SWAPBENCH_KILLS says nothing; the others take half a minute a kill."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE), "CI": "true", "ADB": "no-adb-here"}
COMMANDS = {
    "run": ("run", "a.onnx", "b.onnx", "--no-accuracy", "--budget", "1", "--window", "1", "--name", "r"),
    "report": ("report", str(SOURCE / "reports" / "example"), "--figure", "latency", "--out", "page"),
    "gate": ("gate", "--baseline", "a.onnx", "--candidate", "b.onnx", "--budget-s", "1"),
    "baseline": ("baseline", "save", "a.onnx", "b.onnx", "--out", "base"),
    "simulate": ("data", "simulate", "tree", "--layout", "manifest", "--split", "dev"),
    "train": (
        *("train", "minifasnet_v2", "--data", "faces.csv", "--faces", "frame"),
        *("--schedule", "one.toml", "--threads", "1", "--out", "trained"),
    ),
    "export": (
        *("export", "minifasnet_v2", "--format", "onnx", "--precision", "fp32"),
        *("--data", "faces.csv", "--out", "files"),
    ),
}
LEFT = ("reports", "page", "base", "tree", "trained", "files")
NEEDS_TORCH = {"train", "export"}
SCARCE = {
    "files of 1 kB": (resource.RLIMIT_FSIZE, 1 << 10),
    "files of 10 kB": (resource.RLIMIT_FSIZE, 10 << 10),
    "files of 200 kB": (resource.RLIMIT_FSIZE, 200 << 10),
    "8 descriptors": (resource.RLIMIT_NOFILE, 8),
    "12 descriptors": (resource.RLIMIT_NOFILE, 12),
    "64 MB of memory": (resource.RLIMIT_AS, 64 << 20),
    "512 MB of memory": (resource.RLIMIT_AS, 512 << 20),
}


def command(name: str, folder: Path, limit: tuple[int, int] | None = None) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "swapbench", *COMMANDS[name]]
    if limit is not None:
        which, most = limit
        starve = f"import resource; resource.setrlimit({which}, ({most}, {most}))"
        argv = [sys.executable, "-c", f"{starve}; import os, sys; os.execv(sys.argv[1], sys.argv[1:])", *argv]
    return subprocess.Popen(
        argv,
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
        for place in LEFT
        for path in (folder / place).rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def prepared(folder: Path) -> Path:
    folder.mkdir()
    small_network(folder / "a.onnx")
    small_network(folder / "b.onnx", 6)
    (folder / "one.toml").write_text("epochs = 0.01\n")
    labelled(folder)
    return folder


def labelled(folder: Path) -> None:
    """Two images a person, bona fide and attack, of four people to train on, two for each other split."""
    pixels = np.random.default_rng(0)
    with (folder / "faces.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "split", "label", "species", "subject"])
        for person, split in enumerate(("train", "train", "train", "train", "dev", "dev", "test", "test")):
            for label, species, brightest in (("bona_fide", "", 255), ("attack", "print", 127)):
                name = f"{person}-{label}.png"
                picture = pixels.integers(0, brightest, (96, 96, 3), dtype=np.uint8)
                Image.fromarray(picture).save(folder / name)
                rows.writerow([name, split, label, species, f"person {person}"])


def is_done(status: int) -> bool:
    return status in {0, 1, 3}  # a busy machine raises doubts, and a gate may fail


def is_told(name: str, folder: Path) -> bool:
    """Whether a run that was killed had said all and noted that, so that nothing is left to go on with."""
    about = read_about(folder / "reports" / "r") if name == "run" else None
    if about is None or not (about["finished"] and about["reported"]):
        return False
    again = command(name, folder)
    _, said = again.communicate()
    assert again.returncode == 2, said
    assert "Show what it measured with: swapbench report reports/r" in said
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_goes_on_after_it_was_killed_at_any_moment(tmp_path: Path, name: str) -> None:
    if not KILLS and name not in QUICK:
        pytest.skip("takes minutes: SWAPBENCH_KILLS says how often it is killed")
    if name in NEEDS_TORCH:
        pytest.importorskip("torch")
    undisturbed = prepared(tmp_path / "undisturbed")
    began = time.monotonic()
    done = command(name, undisturbed)
    _, said = done.communicate()
    taken = time.monotonic() - began
    assert is_done(done.returncode), said
    wanted = result(name, undisturbed)
    dice = np.random.default_rng([7, *name.encode()])
    folder, kills = prepared(tmp_path / "0"), 0
    while kills < (KILLS or 4):
        killed = command(name, folder)
        time.sleep(dice.uniform(0, taken))
        if killed.poll() is None:
            kills += 1
            killed.send_signal(dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        _, said = killed.communicate(timeout=120)
        assert str(SOURCE) not in said, said  # no traceback of ours; Python's own start is not ours
        assert "bug in swapbench" not in said, said
        told = killed.returncode == -signal.SIGKILL and is_told(name, folder)
        if told or is_done(killed.returncode):
            assert result(name, folder) == wanted
            folder = prepared(tmp_path / f"{int(folder.name) + 1}")
    last = command(name, folder)
    _, said = last.communicate()
    assert is_done(last.returncode), said
    assert result(name, folder) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "report"])
@pytest.mark.parametrize("scarce", SCARCE)
def test_what_the_machine_cannot_give_is_said_and_the_same_command_then_goes_on(
    tmp_path: Path, name: str, scarce: str
) -> None:
    folder = prepared(tmp_path / "one")
    starved = command(name, folder, SCARCE[scarce])
    _, said = starved.communicate(timeout=120)
    assert "Traceback" not in said, said
    assert "bug in swapbench" not in said, said
    assert is_done(starved.returncode) or starved.returncode in {2, 4}, said
    if not is_done(starved.returncode):
        assert "error: " in said or "failed: " in said
        last = command(name, folder)
        _, said = last.communicate()
        assert is_done(last.returncode), said
    assert result(name, folder)
