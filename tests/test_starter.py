"""`swapbench init`: a folder to begin in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swapbench import catalog
from swapbench.cards import read_card
from swapbench.cli import main
from swapbench.commands.starter import FILES, make_starter
from swapbench.errors import EnvironmentFailed
from swapbench.gate.policy import read_policy
from swapbench.records import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path


def test_every_file_of_a_starter_folder_is_accepted_by_what_reads_it(tmp_path: Path) -> None:
    written, kept = make_starter(tmp_path / "mine")
    assert (len(written), kept) == (len(FILES), [])
    card = read_card(tmp_path / "mine/models/my_net.toml")
    # what Silent-Face-Anti-Spoofing does: tests/test_geometry.py holds it against the pixels of its code
    assert card.preprocessing == Preprocessing(
        width_px=80,
        height_px=80,
        crop_scale=2.7,
        keep_box_aspect=True,
        resize="bilinear",
        channel_order="bgr",
        scale=1.0,
    ).replace(border="shift", fit="stretch", mean=0.0, std=1.0)
    assert (card.output.kind, card.output.bona_fide_index, len(card.output.classes)) == ("logits", 1, 3)
    assert [budget.metric for budget in read_policy(tmp_path / "mine/gate.toml").budgets] == [
        "latency_p05",
        "file_bytes",
        "acer",
    ]


def test_a_run_in_a_starter_folder_makes_no_file_of_the_card_that_describes_files(tmp_path: Path) -> None:
    make_starter(tmp_path)
    folders = catalog.Folders(tmp_path)
    shown, made = (
        {model.card.name for model in found(folders)[0]} for found in (catalog.models, catalog.networks)
    )
    assert shown - made == {"my_net"}
    assert catalog.networks(folders, ["my_net"])[0][0].card.name == "my_net"  # the export says why it cannot


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
