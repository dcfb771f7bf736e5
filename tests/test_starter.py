"""`swapbench init`: a folder to begin in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swapbench.cards import read_card
from swapbench.cli import main
from swapbench.commands.starter import FILES, make_starter
from swapbench.errors import EnvironmentFailed
from swapbench.gate.policy import read_policy

if TYPE_CHECKING:
    from pathlib import Path


def test_every_file_of_a_starter_folder_is_accepted_by_what_reads_it(tmp_path: Path) -> None:
    written, kept = make_starter(tmp_path / "mine")
    assert (len(written), kept) == (len(FILES), [])
    card = read_card(tmp_path / "mine/models/my_net.toml")
    assert card.preprocessing.channel_order == "bgr"
    assert len(card.output.classes) == 3
    assert [budget.metric for budget in read_policy(tmp_path / "mine/gate.toml").budgets] == [
        "latency_p05",
        "file_bytes",
        "acer",
    ]


def test_what_exists_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.toml").write_text("# mine\n")
    assert main(["init"]) == 0
    said = capsys.readouterr()
    assert (tmp_path / "gate.toml").read_text() == "# mine\n"
    assert "kept gate.toml as it is" in said.err
    assert said.out.splitlines() == ["README.md", "models/my_net.toml", ".gitignore"]
    assert main(["init"]) == 0  # twice is once
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(EnvironmentFailed, match="cannot make"):
        make_starter(tmp_path / "taken")
