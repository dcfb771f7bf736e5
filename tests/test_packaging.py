"""What an installed swapbench carries, and what says who made it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
import yaml
from conftest import REPOSITORY

import swapbench

if TYPE_CHECKING:
    from pathlib import Path


def test_the_citation_is_of_this_version_and_licence() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == swapbench.__version__
    assert citation["license"] == "Apache-2.0"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


@pytest.mark.slow
def test_a_wheel_carries_cards_profiles_texts_and_pages_and_no_tests(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            f"--wheel-dir={tmp_path}",
            str(REPOSITORY),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (REPOSITORY / "swapbench").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert f"swapbench/{path.relative_to(REPOSITORY / 'swapbench').as_posix()}" in names
    for folder in ("models", "devices"):
        for path in (REPOSITORY / folder).rglob("*.toml"):
            assert f"swapbench/builtin/{path.relative_to(REPOSITORY).as_posix()}" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]
