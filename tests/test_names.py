"""Names out of files of someone else are names: none of them leads out of a folder of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import made_records as made
import pytest
import tomli_w
from conftest import REPOSITORY
from pydantic import ValidationError

from swapbench import cli, store
from swapbench.cards import read_card, write_card
from swapbench.commands.baseline_folder import BaselineFile
from swapbench.errors import BadCard, BadRecord
from swapbench.records import ModelCard, Record, plain_file_name
from swapbench.workshop.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = REPOSITORY.parent / "shared" / "cases" / "hostile"
NO_NAMES = [
    "../up",
    "/etc/passwd",
    "a/b",
    "..\\up",
    "a\\..\\b",
    "\\etc",
    "..",
    ".",
    "",
    "a\0b",
    "\udcff",
    "n" * 256,
    "é" * 128,
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"not a (plain )?file name|a file system takes 255"):
        plain_file_name(name)


@pytest.mark.parametrize(
    "name", ["net", "my net (v2)", "..net", ".net", "n" * 255, "é" * 127, "a\nb", "a\\b", "=1"]
)
def test_unusual_names_are_names(name: str) -> None:
    assert plain_file_name(name) == name


def card(**changes: Any) -> dict[str, Any]:
    return {
        "name": "net",
        "preprocessing": {"width_px": 8, "height_px": 8, "crop_scale": 1.0},
        "output": {"kind": "score"},
        **changes,
    }


@pytest.mark.parametrize("field", ["name", "recipe"])
def test_a_card_that_leads_elsewhere_is_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "card.toml"
    path.write_text(tomli_w.dumps(card(**{field: "../../up"})), encoding="utf-8")
    with pytest.raises(BadCard, match=rf"{field}: '../../up' is not a plain file name"):
        read_card(path)
    with pytest.raises(ValidationError):
        ModelCard.model_validate(card(**{field: "a/b"}))


@pytest.mark.parametrize("field", ["id", "artifact"])
def test_a_record_that_leads_elsewhere_is_damaged(tmp_path: Path, field: str) -> None:
    record = made.record("net", "fp32", "onnx")
    text = store.record_text(record).replace(
        f'"{field}": "{getattr(record, field)}"', f'"{field}": "/tmp/elsewhere"'
    )
    assert "/tmp/elsewhere" in text
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadRecord, match=f"damaged at {field}: '/tmp/elsewhere' is not a plain file name"):
        store.load(tmp_path / "a.json")


def test_a_baseline_that_leads_elsewhere_is_refused() -> None:
    with pytest.raises(ValidationError, match="plain file name"):
        BaselineFile(
            name="../net.onnx",
            sha256="",
            file_bytes=1,
            params=1,
            macs=1,
            ops={},
            format="onnx",
            precision="fp32",
        )


def test_a_run_lies_in_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from test_cli import small_network

    monkeypatch.chdir(tmp_path)
    small_network(tmp_path / "net.onnx")
    assert cli.main(["run", "net.onnx", "--no-accuracy", "--name", "../../up"]) == 2
    assert "'../../up' is not a valid run name" in capsys.readouterr().err


def test_a_file_whose_name_is_not_utf_8_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from test_cli import small_network

    monkeypatch.chdir(tmp_path)
    small_network(tmp_path / "net.onnx").rename(tmp_path / "net\udcff.onnx")
    assert cli.main(["run", "net\udcff.onnx", "--no-accuracy"]) == 2
    assert "is not a file name in UTF-8" in capsys.readouterr().err


def test_the_longest_name_that_a_card_may_have_is_written(tmp_path: Path) -> None:
    one = ModelCard.model_validate(card(name="n" * 255))
    write_card(one, tmp_path / "card.toml")
    assert read_card(tmp_path / "card.toml") == one


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs the shared cases")
def test_the_hostile_recipe_card_and_record_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCard, match="plain file name"):
        read_recipe(HOSTILE / "evil_recipe.toml")
    with pytest.raises(BadCard, match="plain file name"):
        read_card(HOSTILE / "evilcard.toml")
    with pytest.raises(BadRecord, match="damaged at id"):
        store.load_run(HOSTILE / "evil_record")
    assert Record.model_fields["id"].metadata  # the check is the model's
