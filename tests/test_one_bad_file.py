"""One bad file costs one file: it fails with a sentence, and the others are measured."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from conftest import REPOSITORY
from test_cli import small_network

from swapbench import cli, store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("few_rounds")

ALIAS = REPOSITORY.parent / "shared" / "cases" / "hostile" / "alias.tflite"
CARD = {
    "network": "net",
    "preprocessing": {"width_px": 32, "height_px": 32, "crop_scale": 1.0},
    "output": {"kind": "logits", "bona_fide_index": 1, "classes": ["attack", "bona fide"]},
}


def described(path: Path, text: str) -> None:
    """A whole network whose description of itself is `text`."""
    model = onnx.load(small_network(path))
    model.metadata_props.add(key="swapbench", value=text)
    onnx.save(model, path)


def with_card(**changes: Any) -> Callable[[Path], None]:
    card = {**CARD, "preprocessing": CARD["preprocessing"] | changes}  # type: ignore[operator]
    return lambda path: described(path, json.dumps(card))


def cut_short(path: Path) -> None:
    small_network(path)
    path.write_bytes(path.read_bytes()[:100])


BAD: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": cut_short,
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "metadata that are no JSON": lambda path: described(path, "{"),
    "metadata 200,000 levels deep": lambda path: described(path, "[" * 200_000),
    "pipe": os.mkfifo,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("ADB", "no-adb-here")
    small_network(tmp_path / "good.onnx")


def test_bad_files_fail_alone_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for number, (kind, make) in enumerate(BAD.items()):
        names.append(f"bad{number} {kind.replace('/', ' ')}.onnx")
        make(tmp_path / names[-1])
    command = ["run", *names, "good.onnx", "--no-accuracy", "--budget", "1", "--window", "1", "--name", "a"]
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert "a fault of swapbench" not in said
    assert "bug" not in said
    failed = [line for line in said.splitlines() if line.startswith("failed: ")]
    for name in names:
        assert sum(name in line for line in failed) == 1, name
    [record] = store.load_run(tmp_path / "reports" / "a")
    assert record.artifact == "good.onnx"


def test_cards_in_files_that_are_out_of_bounds_are_refused_with_their_fields(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nan, inf = float("nan"), float("inf")
    changes: list[dict[str, Any]] = [
        *({"width_px": value} for value in (0, 200_000)),
        {"height_px": -80},
        *({"crop_scale": value} for value in (0, nan, 1e300)),
        *({"std": value} for value in ([nan] * 3, [0, 1, 1])),
        {"mean": [inf] * 3},
        {"scale": 0},
    ]
    for number, change in enumerate(changes):
        with_card(**change)(tmp_path / f"bad{number}.onnx")
    names = [f"bad{number}.onnx" for number in range(len(changes))]
    assert cli.main(["run", *names, "good.onnx", "--no-accuracy", "--budget", "1", "--window", "1"]) == 2
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == len(changes)
    for line, [field] in zip(failed, changes, strict=True):
        assert f"preprocessing.{field}" in line


def test_a_name_of_249_letters_is_measured(tmp_path: Path) -> None:
    name = "n" * 244 + ".onnx"
    (tmp_path / "good.onnx").rename(tmp_path / name)
    assert cli.main(["run", name, "--no-accuracy", "--budget", "1", "--window", "1", "--name", "a"]) in {0, 3}
    [record] = store.load_run(tmp_path / "reports" / "a")
    assert record.artifact == name


@pytest.mark.skipif(not ALIAS.is_file(), reason="needs the shared cases")
def test_a_small_file_that_names_its_parts_a_million_times_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["inspect", str(ALIAS), "good.onnx"]) == 2
    assert "names its parts far more often" in capsys.readouterr().err
