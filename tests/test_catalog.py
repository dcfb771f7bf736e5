"""Names to things."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from swapbench import catalog
from swapbench.commands.options import DeviceOptions
from swapbench.commands.place import open_place
from swapbench.errors import BadCard, UnknownName, UserError
from swapbench.records import Absent


@pytest.fixture
def folders(tmp_path: Path) -> catalog.Folders:
    return catalog.Folders(tmp_path)


@pytest.mark.parametrize(
    "reference", [*catalog.RUNTIMES.values(), *catalog.DEVICE_KINDS.values(), *catalog.METERS.values()]
)
def test_every_name_in_the_catalogue_leads_to_something(reference: str) -> None:
    assert callable(catalog.load(reference))


def test_the_bundled_networks_are_found_from_any_folder(folders: catalog.Folders) -> None:
    assert {"minifasnet_v2", "resnet18_map"} <= set(catalog.card_files(folders))
    good, bad = catalog.models(folders)
    assert bad == []
    assert {"minifasnet_v2", "resnet18_map"} <= {one.card.name for one in good}


def test_a_users_own_card_overrides_the_bundled_one(folders: catalog.Folders) -> None:
    folders.models.mkdir()
    bundled = catalog.card_files(folders)["minifasnet_v2"]
    mine = folders.models / "minifasnet_v2.toml"
    mine.write_text(
        bundled.read_text(encoding="utf-8").replace('summary = "', 'summary = "mine: '), encoding="utf-8"
    )
    found = catalog.model(folders, "minifasnet_v2")
    assert found.path == mine
    assert found.card.summary.startswith("mine: ")


def test_an_unreadable_card_is_named_and_does_not_hide_the_others(folders: catalog.Folders) -> None:
    folders.models.mkdir()
    (folders.models / "broken.toml").write_text("name = ", encoding="utf-8")
    good, bad = catalog.models(folders)
    assert len(good) >= 2
    ((name, error),) = bad
    assert name == "broken"
    assert "broken.toml" in str(error)


def test_a_misspelt_model_is_corrected(folders: catalog.Folders) -> None:
    with pytest.raises(UnknownName, match="Did you mean minifasnet_v2"):
        catalog.model(folders, "minifasnetv2")
    with pytest.raises(UnknownName, match="Did you mean minifasnet_v2"):
        catalog.models(folders, ["minifasnet_v2", "minifasnetv2"])


def test_a_card_file_that_is_not_there_is_said(folders: catalog.Folders) -> None:
    with pytest.raises(BadCard, match="no model card nowhere"):
        catalog.model(folders, "nowhere/card.toml")


@pytest.mark.parametrize(("name", "near"), [("lokal", "local"), ("locl", "local")])
def test_a_misspelt_device_is_corrected(folders: catalog.Folders, name: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"Did you mean {near}"):
        catalog.device(folders, name)


def test_a_misspelt_runtime_is_corrected(folders: catalog.Folders) -> None:
    with pytest.raises(UnknownName, match="Did you mean onnxruntime"):
        catalog.runtime(folders, "onnx-runtime")


def test_a_device_profile_of_an_unknown_kind_is_refused(folders: catalog.Folders) -> None:
    folders.devices.mkdir()
    (folders.devices / "mine.toml").write_text('name = "mine"\nkind = "spaceship"\n')
    with pytest.raises(UserError, match="spaceship"):
        catalog.device(folders, "mine")


def test_a_serial_is_for_phones(folders: catalog.Folders) -> None:
    with pytest.raises(UserError, match="the device local has no serial"):
        catalog.device(folders, "local", "R58M12ABCDE")


def test_a_malformed_device_profile_is_named(folders: catalog.Folders) -> None:
    folders.devices.mkdir()
    (folders.devices / "mine.toml").write_text("kind =\n")
    with pytest.raises(UserError, match=r"mine\.toml is not TOML"):
        catalog.device(folders, "mine")


def test_a_card_becomes_twelve_files_less_what_was_not_asked_for(folders: catalog.Folders) -> None:
    card = catalog.model(folders, "minifasnet_v2").card
    assert len(catalog.variants(card)) == 6
    (only,) = catalog.variants(card, ["tflite"], ["int8"])
    assert only.file_name == "minifasnet_v2.int8.tflite"


def test_every_meter_is_there_or_says_why_not() -> None:
    for name, find in catalog.meters().items():
        meter = find()
        if isinstance(meter, Absent):
            assert meter.absent, name
            assert meter.remedy, name
        else:
            assert meter.read(), name


def test_a_runtime_that_is_no_longer_maintained_has_to_be_named(folders: catalog.Folders) -> None:
    assert [one.name for one in catalog.runtimes(folders)] == [
        "onnxruntime",
        "litert",
        "ncnn",
        "executorch",
    ]
    assert [one.name for one in catalog.runtimes(folders, ["tflite-runtime"])] == ["tflite-runtime"]


def test_it_is_not_for_phones(folders: catalog.Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "device", lambda *_: None)
    with pytest.raises(UserError, match="tflite-runtime runs on this computer only"):
        open_place(folders, DeviceOptions("pixel7"), ["tflite-runtime"])


def test_reading_the_catalogue_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = {"torch", "onnx", "onnxruntime", "pandas", "matplotlib", "ai_edge_litert", "numpy"}
    code = f"import sys; from swapbench import catalog; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_builtin_folders_exist_in_a_source_tree() -> None:
    package = Path(importlib.import_module("swapbench").__file__ or "").parent
    assert catalog.builtin_folder("models") in {package.parent / "models", package / "builtin" / "models"}
    assert catalog.builtin_folder("devices").is_dir()
