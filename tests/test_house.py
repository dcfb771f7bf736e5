"""The house keeps the shape that docs/architecture.md draws."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MODULES = sorted([*ROOT.glob("swapbench/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])
LINES_AT_MOST = 500


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LINES_AT_MOST} == {}


def test_the_map_is_one_page_and_names_every_wing() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    wings = {name.strip() for layer in layers for name in layer.split("|")} - {"__main__", "testing"}
    drawing = PAGE[PAGE.index("## The wings") : PAGE.index("## Where a change belongs")]
    assert {wing for wing in wings if wing not in drawing} == set()
    assert len(PAGE.splitlines()) < 120


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_prose_is_at_most_110_characters_wide(name: str) -> None:
    wide, fenced = [], False
    for line in (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        if len(line) > 110 and not fenced and not line.startswith("|"):
            wide.append(line)
    assert wide == []
