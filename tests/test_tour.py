"""The quick tour and the tutorials, typed as they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

TOUR = REPOSITORY / "docs" / "tour.md"
TUTORIALS = REPOSITORY / "docs" / "tutorials"
DOUBTFUL = "# exit 3 is fine"


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


def test_the_tour_shows_the_main_commands() -> None:
    shown = {line.split()[1] for line in commands(TOUR) if line.startswith("swapbench ")}
    assert {"init", "doctor", "export", "run", "report", "profile", "baseline", "gate"} <= shown


def typed(page: Path, *aside: str) -> str:
    """The commands of a page as a script; where it has made and entered its folder, `aside` comes between."""
    lines = [
        f"{line.removesuffix(DOUBTFUL)} || [ $? -eq 3 ]" if line.endswith(DOUBTFUL) else line
        for line in commands(page)
    ]
    entered = 1 + next((place for place, line in enumerate(lines) if line.startswith("cd ")), -1)
    return "\n".join(["set -e", *lines[:entered], *aside, *lines[entered:]])


def run(script: str, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_every_command_of_the_tour_and_of_keeping_ci_green_works(tmp_path: Path, simulated: Path) -> None:
    # Simulating takes half a minute, as does making an int8 file. `make demo` makes both, and whoever comes
    # second finds them. That an empty folder will do is what test_main_job tries.
    kept = REPOSITORY / "build"
    for name in ("artifacts", "crops"):
        (kept / name).mkdir(parents=True, exist_ok=True)
    known = "\n".join(
        [f"ln -s {shlex.quote(str(simulated.parent))} data", "mkdir build"]
        + [f"ln -s {shlex.quote(str(kept / name))} build/{name}" for name in ("artifacts", "crops")]
    )
    said = run(typed(TOUR, known), tmp_path)
    made = tmp_path / "bench"
    assert (made / "paper" / "table.tex").read_text(encoding="utf-8").count(r"\toprule") == 1
    assert (made / "paper" / "pareto.pdf").read_bytes().startswith(b"%PDF")
    assert (made / "reports" / "tour" / "index.html").is_file()
    assert "minifasnet_v2.int8.onnx" in said
    run(typed(TUTORIALS / "ci.md", known), tmp_path)
    verdict = (tmp_path / "gatehouse" / "gate.md").read_text(encoding="utf-8")
    assert r"| PASS | minifasnet\_v2.fp32.onnx | file\_bytes |" in verdict


@pytest.mark.slow
def test_every_command_of_writing_a_paper_works_in_a_clone(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "example").symlink_to(REPOSITORY / "reports" / "example")
    said = run(typed(TUTORIALS / "paper.md"), tmp_path)
    assert "Simulated data" in said
    assert (tmp_path / "paper" / "paper.tex").is_file()
    assert {path.name for path in tmp_path.glob("figures/*.pdf")} == {"pareto.pdf", "species.pdf", "det.pdf"}
    assert (tmp_path / "table" / "table.tex").read_text(encoding="utf-8").count(r"\toprule") == 1
