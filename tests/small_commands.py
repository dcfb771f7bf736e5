"""Every command in its shortest form, to be killed and starved; see test_kills and test_scarce."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import small_network
from watched import SOURCE

from swapbench import store
from swapbench.files import file_sha256

KILLS = int(os.environ.get("SWAPBENCH_KILLS", "0"))
QUICK = ("run", "report", "gate", "baseline")
"""Commands that are tried also where SWAPBENCH_KILLS says nothing; the others take half a minute a try."""
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
BOX = {"box_x": 24, "box_y": 24, "box_w": 48, "box_h": 48}
NEEDS_TORCH = {"train", "export"}
SAME_EACH_TIME: dict[str, set[str]] = {
    "run": set(),
    "report": {".md", ".csv", ".json", ".html", ".svg", ".png", ".pdf"},
    "gate": set(),
    "baseline": {".onnx"},
    "simulate": {".jpg", ".csv", ".json"},
    "train": {".safetensors"},
    "export": {".onnx"},
}
"""Suffixes of files whose bytes do not depend on when and how fast they were made."""


FEW_PEOPLE = """
import sys
from swapbench import interrupts
interrupts.listen()
try:
    from swapbench.simulate.dataset import Recipe
    of_world = Recipe.of_world
    Recipe.of_world = lambda *world, **fields: of_world(*world, **{"dev_identities": 6, **fields})
except ImportError:
    pass  # no memory for NumPy's libraries: the command itself says so
from swapbench.__main__ import main
sys.exit(main())
"""
"""The command line, which simulates a tenth of the people of the development split."""


def argv(name: str) -> list[str]:
    program = ("-c", FEW_PEOPLE) if name == "simulate" else ("-m", "swapbench")
    return [sys.executable, *program, *COMMANDS[name]]


Process = subprocess.Popen[str]


def begun(argv: list[str], folder: Path, **variables: str) -> Process:
    """A command in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        argv,
        cwd=folder,
        env=ENVIRONMENT | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def require(name: str) -> None:
    """Skip what takes minutes, unless it was asked for, and what cannot run here."""
    if not KILLS and name not in QUICK:
        pytest.skip("takes minutes: tried where SWAPBENCH_KILLS names a number of kills")
    if name in NEEDS_TORCH:
        pytest.importorskip("torch")


def result(name: str, folder: Path) -> dict[str, str]:
    """The files that a command leaves behind, with their digests; none of those that hold times.

    Without what only lives as long as the command does.
    """
    if name == "run":
        assert len(store.load_run(folder / "reports" / "r")) == 2
    paths = [path for place in LEFT for path in (folder / place).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): file_sha256(path) if path.suffix in SAME_EACH_TIME[name] else ""
        for path in paths
        if path.name != ".lock"
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
        rows.writerow(["path", "split", "label", "species", "subject", *BOX])
        for person, split in enumerate(("train", "train", "train", "train", "dev", "dev", "test", "test")):
            for label, species, brightest in (("bona_fide", "", 255), ("attack", "print", 127)):
                name = f"{person}-{label}.png"
                picture = pixels.integers(0, brightest, (96, 96, 3), dtype=np.uint8)
                Image.fromarray(picture).save(folder / name)
                rows.writerow([name, split, label, species, f"person {person}", *BOX.values()])


def is_done(name: str, status: int) -> bool:
    return status in ({0, 1, 3} if name == "gate" else {0, 3})  # a busy machine raises doubts
