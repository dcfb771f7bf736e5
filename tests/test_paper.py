"""An example paper: it compiles, holds every table and figure, and no box is wider than its place."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from latex_checks import assert_no_overfull_box
from made_records import demo

from swapbench import store
from swapbench.cli import main
from swapbench.report.writer import EVERY_FIGURE

EXAMPLE = Path(__file__).parents[1] / "reports" / "example"


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper of the example run."""
    folder = tmp_path_factory.mktemp("paper")
    assert main(["report", str(EXAMPLE), "--paper", str(folder)]) == 0
    return folder


def included(paper: Path, command: str) -> list[str]:
    return re.findall(rf"\\{command}\{{(.*?)\}}", (paper / "paper.tex").read_text(encoding="ascii"))


def test_a_paper_includes_every_table_and_figure_that_is_written(paper: Path) -> None:
    tables = {f"tables/{path.name}" for path in (paper / "tables").iterdir()}
    assert {f"{name}.tex" for name in included(paper, "input") if name.startswith("tables")} == tables
    assert {"tables/speed.tex", "tables/accuracy.tex", "tables/apcer-by-attack-species.tex"} <= tables
    figures = {f"figures/{path.name}" for path in (paper / "figures").iterdir()}
    captions = {name for name in included(paper, "input") if name.startswith("figures")}
    assert {*included(paper, "includegraphics"), *captions} == figures
    drawn = {Path(name).stem for name in captions}
    assert drawn == {*EVERY_FIGURE} - {"sustained", "fps", "decision"}, (
        "of these the example has no measurement"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs and siunitx")
def test_a_paper_compiles_without_an_overfull_box(paper: Path) -> None:
    assert_no_overfull_box(paper / "paper.tex")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs and siunitx")
def test_a_paper_of_wide_figures_and_chosen_rows_compiles_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in demo():
        store.save(one, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    argv = [
        "report",
        "run",
        "--paper",
        "paper",
        "--width",
        "page",
        "--columns",
        "model,acer",
        "--notes",
        "full",
    ]
    assert main([*argv, "--where", "format=onnx"]) == 0
    assert "litert" not in (tmp_path / "paper/tables/chosen.tex").read_text(encoding="ascii")
    assert_no_overfull_box(tmp_path / "paper/paper.tex")
