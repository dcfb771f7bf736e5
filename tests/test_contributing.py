"""The additions that docs/contributing.md shows work: each diff is applied to a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "contributing.md"
ADDITIONS = re.findall(
    r"^## (Add [^\n]+)\n.*?^```diff\n(.*?)^```\n.*?^```python\n(.*?)^```$",
    PAGE.read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


def test_the_page_shows_the_common_additions() -> None:
    nouns = ["quantity", "table format", "figure", "runtime", "dataset reader", "command"]
    assert [title for title, _, _ in ADDITIONS] == [f"Add a {noun}" for noun in nouns]


@pytest.mark.parametrize(("diff", "trial"), [pytest.param(*rest, id=title) for title, *rest in ADDITIONS])
def test_an_addition_works_in_a_copy_of_the_package(diff: str, trial: str, tmp_path: Path) -> None:
    pytest.importorskip("tiny_files")
    shutil.copytree(ROOT / "swapbench", tmp_path / "swapbench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for name in ("made_records.py", "tiny_files.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    for name in ("models", "devices"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "example").symlink_to(ROOT / "reports" / "example")
    apply = ["git", "apply", "-"]
    outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    subprocess.run(apply, cwd=tmp_path, input=diff, text=True, check=True, env=outside)
    path = os.pathsep.join((str(tmp_path), str(tmp_path / "tests")))
    answer = subprocess.run(
        [sys.executable, "-c", trial],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("name", ["pyproject.toml", "swapbench_openvino.py"])
def test_the_package_on_the_page_is_the_one_that_ci_installs_and_it_is_short(name: str) -> None:
    content = (ROOT / "tests" / "plugin_openvino" / name).read_text(encoding="utf-8")
    assert f"```{'toml' if name.endswith('.toml') else 'py'}\n{content}```\n" in PAGE.read_text(
        encoding="utf-8"
    )
    assert len(content.splitlines()) < 100
