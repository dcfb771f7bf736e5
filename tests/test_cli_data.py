"""Data as people have them, from the command line: frames that fail, folders of images, kept crops."""

from __future__ import annotations

import csv
import json
import stat
import tempfile
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from test_cli_pad import CARD, red_less_blue

from swapbench import cli
from swapbench.catalog import Folders
from swapbench.commands import data as data_command
from swapbench.commands.options import DataOptions
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("few_rounds")

LIVE, SPOOF = (200, 0, 20), (20, 0, 200)
"""Colours of which the network "red" gives sigmoid(180 / 255) = .6695 and its complement."""

MEASURE = ["--card", "card.toml", "--faces", "frame"]
QUICKLY = ["--budget", "1", "--window", "1", "--name", "one"]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    red_less_blue(tmp_path / "net.onnx")
    (tmp_path / "card.toml").write_text(CARD)


def picture(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


def manifest(folder: Path) -> None:
    """Three bona fide images and three prints for each of dev and test."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "label", "species", "split"])
        for split in ("dev", "test"):
            for person in range(3):
                for label, species, colour in (("bona_fide", "", LIVE), ("attack", "print", SPOOF)):
                    name = f"{split}-{label}-{person}.png"
                    picture(folder / name, colour)
                    writer.writerow([name, f"{split}{person}", label, species, split])


def test_frames_that_fail_are_named_with_their_reason_and_kept_in_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest(tmp_path)
    (tmp_path / "test-bona_fide-0.png").write_bytes(b"")
    for name in ("dev-attack-1.png", "test-attack-2.png"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-30])
    sentences = [
        "2 frames have no score (dev-attack-1.png, test-attack-2.png): it is cut short",
        "1 frame has no score (test-bona_fide-0.png): the file is empty",
    ]
    assert cli.main(["score", "net.onnx", *MEASURE, "--data", "manifest.csv", "--out", "out.csv"]) == 0
    said = capsys.readouterr().err
    assert all(sentence in said for sentence in sentences)
    cli.main(["run", "net.onnx", *MEASURE, "--data", "manifest.csv", *QUICKLY])
    said = capsys.readouterr().err
    assert all(said.count(sentence) == 1 for sentence in sentences)
    (path,) = (tmp_path / "reports" / "one" / "records").iterdir()
    assert json.loads(path.read_text())["accuracy"]["failed_frames"] == [
        {"reason": "it is cut short", "frames": 2, "files": ["dev-attack-1.png", "test-attack-2.png"]},
        {"reason": "the file is empty", "frames": 1, "files": ["test-bona_fide-0.png"]},
    ]


def test_where_no_frame_of_a_class_is_left_the_reasons_are_part_of_the_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest(tmp_path)
    for person in range(3):
        (tmp_path / f"test-bona_fide-{person}.png").write_bytes(b"")
    cli.main(["run", "net.onnx", *MEASURE, "--data", "manifest.csv", *QUICKLY])
    said = " ".join(capsys.readouterr().err.split())
    assert "no bona fide presentation with a score" in said
    assert "3 frames have no score (test-bona_fide-0.png, test-bona_fide-1.png" in said
    assert "the file is empty" in said


# --------------------------------------------------------------------------------- folders of live and spoof


def live_and_spoof(root: Path, per_class: int = 3) -> None:
    """live/ and spoof/print/, of which one attack looks bona fide."""
    for number in range(per_class):
        picture(root / "live" / f"{number}.png", LIVE)
        picture(root / "spoof" / "print" / f"{number}.png", LIVE if number == 0 else SPOOF)
    (root / "spoof" / "notes.txt").write_text("taken in the office")


def accuracy_of(run: Path) -> dict[str, object]:
    (path,) = (run / "records").iterdir()
    accuracy: dict[str, object] = json.loads(path.read_text())["accuracy"]
    return accuracy


def test_a_folder_of_live_and_spoof_is_scored_without_a_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live_and_spoof(tmp_path / "faces")
    cli.main(["run", "net.onnx", *MEASURE, "--data", "faces", *QUICKLY])
    captured = capsys.readouterr()
    said = " ".join(captured.err.split())
    assert "AUC" in captured.out
    assert "ACER" not in captured.out.split("In brackets")[0]
    assert "no development split: errors at a frozen threshold are absent" in said
    assert "each file counts as a person of its own" in said
    found = accuracy_of(tmp_path / "reports" / "one")
    # one of three prints is as bona fide as the bona fide: it ties with all three, and wins none
    assert found["auc"] == pytest.approx((3 * 2 + 3 * 0.5) / 9)
    assert (found["bona_fide"], found["attacks"], found["dataset"]) == (3, 3, "faces")
    assert [found[name] for name in ("acer", "apcer", "bpcer", "hter", "dev_eer", "threshold")] == [None] * 6
    page = (tmp_path / "reports" / "one" / "table.md").read_text()
    assert "no development split to freeze a threshold on" in page


def test_a_given_threshold_makes_errors_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live_and_spoof(tmp_path / "faces")
    cli.main(["run", "net.onnx", *MEASURE, "--data", "faces", "--threshold", "0.5", *QUICKLY])
    capsys.readouterr()
    found = accuracy_of(tmp_path / "reports" / "one")
    assert (found["threshold"], found["threshold_rule"]) == (0.5, "given")
    assert found["apcer"] == pytest.approx(1 / 3)
    assert found["acer"] == pytest.approx(1 / 6)


def test_a_folder_with_splits_freezes_its_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live_and_spoof(tmp_path / "faces" / "val")
    live_and_spoof(tmp_path / "faces" / "test", 4)
    assert cli.main(["score", "net.onnx", *MEASURE, "--data", "faces", "--out", "out.csv"]) == 0
    with (tmp_path / "out.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert [row["split"] for row in rows].count("dev") == 6
    assert {row["species"] for row in rows} == {"", "print"}
    assert cli.main(["data", "check", "faces"]) == 0
    assert "notes.txt" in capsys.readouterr().out


# -------------------------------------------------------------------------------------- what is kept of faces


def test_crops_are_announced_with_their_size_private_and_deleted_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live_and_spoof(tmp_path / "faces")
    argv = ["score", "net.onnx", *MEASURE, "--data", "faces", "--out", "out.csv"]
    assert cli.main(argv) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "of face crops were written to build/crops, which only you can open" in said
    crops, scores = tmp_path / "build" / "crops", tmp_path / "build" / "scores"
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (crops, scores)] == [0o700, 0o700]
    assert cli.main(argv) == 0
    assert "of face crops were written" not in capsys.readouterr().err  # nothing new
    assert cli.main(["clean"]) == 0
    assert "build/crops" in capsys.readouterr().out
    assert any(crops.iterdir())
    (scores / "kept.json").write_text("{}")
    assert cli.main(["clean", "--crops"]) == 0
    assert not crops.exists()
    assert (scores / "kept.json").exists()
    assert cli.main(["clean", "--all"]) == 0
    assert [*(tmp_path / "build").iterdir()] == []
    capsys.readouterr()
    assert cli.main(["clean", "--crops"]) == 0
    assert "Nothing to delete." in capsys.readouterr().out


def test_without_a_cache_nothing_of_a_face_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    live_and_spoof(tmp_path / "faces")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    data = [*MEASURE, "--data", "faces", "--no-cache"]
    assert cli.main(["score", "net.onnx", *data, "--out", "out.csv"]) == 0
    cli.main(["run", "net.onnx", *data, *QUICKLY])
    assert "of face crops were written" not in capsys.readouterr().err
    assert not [*tmp_path.rglob("*.npy")]
    assert not [*temporary.iterdir()]
    assert accuracy_of(tmp_path / "reports" / "one")["bona_fide"] == 3


def test_nothing_is_deleted_behind_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "elsewhere" / "crops").mkdir(parents=True)
    (tmp_path / "build").symlink_to(tmp_path / "elsewhere")
    assert cli.main(["clean", "--all"]) == 2
    assert "is a link" in capsys.readouterr().err
    assert (tmp_path / "elsewhere" / "crops").is_dir()


def test_parity_without_a_development_split_decides_at_the_eer_of_the_test_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live_and_spoof(tmp_path / "faces")
    assert cli.main(["parity", "net.onnx", "net.onnx", *MEASURE, "--data", "faces", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["flips"] == 0
    assert "decisions are made at the EER of the test scores" in captured.err


def test_networks_that_are_still_to_be_exported_need_a_development_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live_and_spoof(tmp_path / "faces")
    assert cli.main(["run", "--models", "minifasnet_v2", "--data", "faces"]) == 2
    assert "faces has no development split, on which exported files are calibrated" in capsys.readouterr().err


@pytest.mark.parametrize(("images", "announced"), [(3, 1), (0, 0)])
def test_faces_that_have_to_be_simulated_first_are_announced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, announced: int
) -> None:
    def simulate(folders: object, wanted: object, *, progress: Callable[[str, float, float], None]) -> Path:
        for done in range(1, images + 1):
            progress("simulating", done, images)
        return tmp_path / "none"

    monkeypatch.setattr(data_command, "simulate", simulate)
    said: list[str] = []
    with pytest.raises(BadDataset):
        data_command.folds(
            Folders(tmp_path), DataOptions(), ("test",), progress=lambda *_: None, say=said.append
        )
    assert [("--no-accuracy" in line, "--data" in line) for line in said] == [(True, True)] * announced
