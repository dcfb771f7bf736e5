"""What every test file may use."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

# shared machines pause at will: a slow example is no failure
hypothesis.settings.register_profile("swapbench", deadline=None)
hypothesis.settings.load_profile("swapbench")

REPOSITORY = Path(__file__).parents[1]
PRETRAINED = REPOSITORY.parent / "shared" / "pretrained" / "minivision"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hardware tests run only when asked for by marker or path."""
    if "hardware" in (config.option.markexpr or "") and "not hardware" not in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="needs hardware: run with -m hardware")
    for item in items:
        if "hardware" in item.keywords:
            item.add_marker(skip)
