"""What must hold of every LaTeX file that is made: it compiles, and no box is wider than its place."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def assert_no_overfull_box(source: Path) -> None:
    """Compile a file in its folder, without access to a shell, and read what pdflatex says of its boxes."""
    argv = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", source.name]
    for _ in range(2):  # a longtable has its widths from the time before
        done = subprocess.run(
            argv, cwd=source.parent, capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL
        )
        said = done.stdout.decode(errors="replace")
        if "not found" in said and ("siunitx" in said or "longtable" in said):
            pytest.skip("pdflatex has no siunitx")
        assert done.returncode == 0, said[-2000:]
    assert "Overfull" not in said, said
    assert "Float too large" not in said, said
    assert source.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
