"""A card that is found again, for files that want their input in one way and on images that show it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image
from red_faces import red_less_blue, write_red_faces
from tiny_files import onnx_bytes

from swapbench import cli
from swapbench.bench.card_search import image_input
from swapbench.cards import read_card
from swapbench.data.ranges import usual_ranges
from swapbench.errors import BadModelFile, MissingPackage
from swapbench.modelfile import Graph, Tensor
from swapbench.pad.evaluation import Evaluation


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_red_faces(tmp_path_factory.mktemp("faces"))


def found(file: Path, faces: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert cli.main(["card", str(file), "--data", str(faces), "--json", *more]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


@pytest.mark.slow
def test_the_card_of_a_file_is_found_and_written_beside_it(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "net.onnx"
    file.write_bytes(red_less_blue(saturated_by=255.0))
    said = found(file, faces, capsys)
    card = read_card(tmp_path / "net.toml")
    assert said["auc"] > 0.95
    assert (card.name, card.licence) == ("net", "unknown")
    # red less blue and its reverse cannot be told from the other class in the other channel order
    straight = (card.output.bona_fide_index, card.preprocessing.channel_order)
    assert straight in {(1, "rgb"), (0, "bgr")}
    assert card.preprocessing.crop_scale == 1.0
    assert (card.preprocessing.width_px, card.preprocessing.height_px) == (8, 8)
    crops = {line["value"]: line for line in said["lines"] if line["field"] == "crop"}
    assert crops["1"]["verdict"] == "chosen"
    assert crops["2.7"]["verdict"] == crops["whole frame"]["verdict"] == "worse"
    assert {line["field"] for line in said["lines"]} >= {"output", "range", "channel_order", "crop", "border"}

    assert not [path for path in (tmp_path / "build").rglob("*") if path.is_file()]  # no face is left

    # what is there stays, unless told otherwise
    before = (tmp_path / "net.toml").read_bytes()
    assert cli.main(["card", str(file), "--data", str(faces)]) == 2
    assert "overwrite it with --replace" in capsys.readouterr().err
    assert (tmp_path / "net.toml").read_bytes() == before
    assert cli.main(["card", str(file), "--data", str(faces), "--out", "other.toml"]) == 0
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) <= 80
    assert "Not told apart by these images:" in table
    assert tomllib.loads((tmp_path / "other.toml").read_text())["preprocessing"]["crop_scale"] == 1.0


@pytest.mark.slow
def test_a_range_that_saturates_the_file_is_not_chosen(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where values above 1 are cut off, 0..255 leaves nothing of the images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(red_less_blue(saturated_by=1.0, flipped=True))
    said = found(tmp_path / "net.onnx", faces, capsys)
    ranges = {line["value"]: line["verdict"] for line in said["lines"] if line["field"] == "range"}
    assert ranges["0..255"] == "worse"
    assert ranges["0..1"] == "chosen"
    assert said["card"]["output"]["kind"] == "logits"


@pytest.mark.slow
def test_files_that_tell_nothing_get_no_card(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    (tmp_path / "net.onnx").write_bytes(onnx_bytes(nodes, {"w": np.zeros((3, 2), np.float32)}))
    assert cli.main(["card", "net.onnx", "--data", str(faces)]) == 3
    assert "no way to feed the file and to read its outputs separates" in capsys.readouterr().err
    assert not (tmp_path / "net.toml").exists()


@pytest.mark.slow
def test_without_a_detector_whole_images_are_tried(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where face crops lie in folders, and dlib is not installed."""
    prepared_rows = Evaluation.prepared_rows

    def without_detector(self: Evaluation, rows: Any, cards: Any) -> Any:
        if any(card.face_box != "frame" for card in cards):
            raise MissingPackage("dlib-bin", "finding faces", "datasets")
        return prepared_rows(self, rows, cards)

    for path in faces.iterdir():  # of each frame what its box holds
        if path.suffix == ".png":
            Image.open(path).crop((20, 10, 40, 30)).save(tmp_path / path.name)
    (tmp_path / "manifest.csv").write_bytes((faces / "manifest.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Evaluation, "prepared_rows", without_detector)
    (tmp_path / "net.onnx").write_bytes(red_less_blue(saturated_by=255.0))
    said = found(tmp_path / "net.onnx", tmp_path, capsys)
    assert said["card"]["preprocessing"]["face_box"] == "frame"
    assert said["auc"] > 0.95
    assert "finding faces needs the package dlib-bin" in said["remarks"][0]
    assert not {"crop", "border"} & {line["field"] for line in said["lines"]}


def test_a_folder_of_live_and_spoof_is_read_for_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("live/a.png", "spoof/b.png"):
        (tmp_path / "faces" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "faces" / name)
    (tmp_path / "net.onnx").write_bytes(red_less_blue(saturated_by=255.0))
    assert cli.main(["card", "net.onnx", "--data", "faces", "--faces", "frame", "--at-most", "16"]) == 2
    assert "only 1 usable image of a class; a card needs at least 8 of each" in capsys.readouterr().err


def test_a_card_needs_data_that_were_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["card", str(tmp_path / "net.onnx")]) == 2
    assert "found on labelled images, and none were named" in capsys.readouterr().err


def graph(*shapes: tuple[int, ...]) -> Graph:
    inputs = tuple(Tensor(f"x{number}", shape, "float32") for number, shape in enumerate(shapes))
    return Graph("onnx", inputs, (Tensor("y", (1, 2), "float32"),), 1, 1, 1, {}, (), "fp32", None)


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((1, 3, 40, 60), {"width_px": 60, "height_px": 40, "channel_order": "rgb"}),
        ((1, 40, 60, 3), {"width_px": 60, "height_px": 40, "channel_order": "rgb"}),
        ((1, 1, 40, 60), {"width_px": 60, "height_px": 40, "channel_order": "gray"}),
    ],
)
def test_the_input_of_a_file_says_size_and_channels(shape: tuple[int, ...], fields: dict[str, Any]) -> None:
    assert image_input(graph(shape)) == fields


@pytest.mark.parametrize(
    "shapes", [((1, 3, 40, 60), (1, 2)), ((1, 100),), ((1, 3, 0, 0),), ((1, 5, 40, 60),)]
)
def test_a_file_that_takes_no_single_image_gets_no_card(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(BadModelFile, match="one input that is an image of a fixed size"):
        image_input(graph(*shapes))


def test_the_mean_of_imagenet_stays_with_its_colours() -> None:
    assert usual_ranges("bgr")["ImageNet"]["mean"] == usual_ranges("rgb")["ImageNet"]["mean"][::-1]
    assert list(usual_ranges("gray")) == ["0..1", "0..255", "-1..1"]
    assert usual_ranges("gray")["-1..1"] == {"scale": 1 / 255, "mean": (0.5,), "std": (0.5,)}
