"""Which files a person named, what they are called, and which card each gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_files import small_onnx

from swapbench.cards import write_card
from swapbench.catalog import Folders
from swapbench.commands import models_under_test
from swapbench.commands.named_files import CardFinder, NamedFile, distinct_names, named_file, named_files
from swapbench.errors import UserError
from swapbench.records import Absent, ModelCard, OutputMeaning, Preprocessing
from swapbench.runtimes.ort import OnnxRuntime

PREPROCESSING = Preprocessing(width_px=8, height_px=8, crop_scale=1.0)


def card(name: str) -> ModelCard:
    return ModelCard(name=name, preprocessing=PREPROCESSING, output=OutputMeaning(kind="logits"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a/model.onnx", "b/model.onnx", "b/other.onnx"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(small_onnx())
    return tmp_path


def test_equal_names_are_told_apart_by_as_many_folders_as_it_takes() -> None:
    paths = [Path("/x/1/a/m.onnx"), Path("/x/2/a/m.onnx"), Path("/x/2/b/m.onnx"), Path("/x/n.onnx")]
    assert distinct_names(paths) == ["1/a/m.onnx", "2/a/m.onnx", "b/m.onnx", "n.onnx"]
    assert distinct_names([Path("/m.onnx"), Path("/a/m.onnx")]) == ["m.onnx", "a/m.onnx"]


def test_a_folder_is_the_files_in_it_and_every_file_counts_once(folder: Path) -> None:
    files = named_files(("b", "b/model.onnx", "a"))
    assert [file.title for file in files] == ["b/model.onnx", "other.onnx", "a/model.onnx"]
    (folder / "c").mkdir()
    (folder / "c" / "LOUD.ONNX").write_bytes(small_onnx())
    assert [file.title for file in named_files(("c",))] == ["LOUD.ONNX"]
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no \.onnx, \.tflite, \.param or \.pte file"):
        named_files(("empty",))
    with pytest.raises(UserError, match="b holds 2 model files"):
        named_file("b")


def test_a_card_follows_an_equals_sign_unless_that_is_part_of_the_files_name(folder: Path) -> None:
    assert named_file("a/model.onnx=cards/x.toml") == NamedFile(
        Path("a/model.onnx"), "model.onnx", "cards/x.toml"
    )
    (folder / "lr=0.1.onnx").write_bytes(small_onnx())
    assert named_file("lr=0.1.onnx") == NamedFile(Path("lr=0.1.onnx"), "lr=0.1.onnx")
    assert named_file("lr=0.1.onnx=x.toml") == NamedFile(Path("lr=0.1.onnx"), "lr=0.1.onnx", "x.toml")


def test_the_nearest_card_wins(folder: Path) -> None:
    for name in ("named", "all"):
        write_card(card(name), folder / f"{name}.toml")
    write_card(card("beside"), folder / "b" / "model.toml")
    metadata = {
        "network": "inside",
        "preprocessing": PREPROCESSING.model_dump(),
        "output": {"kind": "logits"},
    }
    folders = Folders(folder)

    def found(name: str, for_all: str | None = None) -> str:
        result = CardFinder.named(folders, for_all).card(named_file(name), metadata)
        assert isinstance(result, ModelCard)
        return result.name

    assert found("b/model.onnx=named.toml", "all.toml") == "named"
    assert found("b/model.onnx", "all.toml") == "all"
    assert found("b/model.onnx") == "beside"
    assert found("a/model.onnx") == "inside"
    assert CardFinder(folders).card(named_file("a/model.onnx"), None) is None


def test_toml_of_another_kind_beside_a_model_is_no_card(folder: Path) -> None:
    (folder / "a" / "model.toml").write_text('[[budget]]\nmetric = "latency_p50"\n')
    assert CardFinder(Folders(folder)).card(named_file("a/model.onnx"), None) is None


@pytest.mark.parametrize("text", ["[preprocessing", "[preprocessing]\nwidth_px = 8\n"])
def test_a_card_that_cannot_be_used_costs_the_accuracy_and_is_told_of(folder: Path, text: str) -> None:
    (folder / "a" / "model.toml").write_text(text)
    models, failures = models_under_test.of_files(
        named_files(("a", "b")), [OnnxRuntime()], CardFinder(Folders(folder))
    )
    assert [model.title for model in models] == ["a/model.onnx", "b/model.onnx", "other.onnx"]
    ((name, error),) = failures
    assert (name, error.exit_status) == ("a/model.onnx", 2)
    assert "its card cannot be used: " in str(error)
    unscored = models[0].unscored
    assert isinstance(unscored, Absent)
    assert unscored.absent.startswith("its card cannot be used")


def test_a_card_names_the_network_and_the_file_keeps_its_own_name(folder: Path) -> None:
    write_card(card("fasnet"), folder / "b" / "model.toml")
    cards = CardFinder(Folders(folder))
    (first,) = models_under_test.of_file(named_file("b/model.onnx"), [OnnxRuntime()], cards)
    assert (first.variant.net, first.variant.precision, first.title) == ("fasnet", "fp32", "model.onnx")
    (second,) = models_under_test.of_file(named_file("b/other.onnx"), [OnnxRuntime()], cards)
    assert (second.variant.net, second.title) == ("other", "other.onnx")


def test_two_files_of_one_name_have_rows_and_records_of_their_own(folder: Path) -> None:
    models, _ = models_under_test.of_files(
        named_files(("a/model.onnx", "b/model.onnx")), [OnnxRuntime()], CardFinder(Folders(folder))
    )
    assert [model.title for model in models] == ["a/model.onnx", "b/model.onnx"]
    assert len({model.record_id for model in models}) == 2
    assert all("/" not in model.record_id for model in models)


def test_a_name_of_a_bundled_network_is_that_network_unless_a_file_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swapbench.catalog import Folders
    from swapbench.commands.run import RunRequest, _with_networks

    monkeypatch.chdir(tmp_path)
    asked = RunRequest(files=("net.onnx", "minifasnet_v2"))
    found = _with_networks(Folders(tmp_path), asked)
    assert (found.files, found.variants.models) == (("net.onnx",), ("minifasnet_v2",))
    Path("minifasnet_v2").mkdir()
    assert _with_networks(Folders(tmp_path), asked) == asked
