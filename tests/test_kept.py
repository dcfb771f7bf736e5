"""Cache entries are believed only as they were written; what does not fit is made again with a line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_preprocess import sample

from swapbench import kept as cache
from swapbench.bench.output_cache import keep_outputs, kept_outputs
from swapbench.data.preprocess import prepare
from swapbench.kept import keep, kept, with_digest, without_digest
from swapbench.ports import Outputs, OutputTensor
from swapbench.records import Preprocessing

OUTPUTS = Outputs(((0.25, 0.75), (0.5, 0.5)), 10, 20, (OutputTensor("y", (1, 2)),))


@pytest.fixture(autouse=True)
def _nothing_was_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_noticed", set())


def test_what_was_kept_is_given_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.npy").write_bytes(b"array")
    keep(tmp_path / "entry.json", {"x": [1.5, None], "files": 3}, [tmp_path / "a.npy"])
    assert kept(tmp_path / "entry.json") == {"x": [1.5, None], "files": 3}
    assert kept(tmp_path / "absent.json") is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"x": 1}', "[" * 100_000, b"\xff\xfe".decode("latin-1")]
)
def test_what_is_no_entry_counts_as_none_with_one_line(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text(text, encoding="latin-1")
        assert kept(tmp_path / name) is None
    (said,) = caplog.messages
    assert said.endswith("one.json is not as it was kept, so it is made again")


def test_a_changed_value_or_file_does_not_fit(tmp_path: Path) -> None:
    path, array = tmp_path / "entry.json", tmp_path / "a.npy"
    array.write_bytes(b"array")
    keep(path, {"x": 1}, [array])
    whole = path.read_text()
    path.write_text(whole.replace('"x": 1', '"x": 2'))
    assert kept(path) is None
    path.write_text(whole)
    array.write_bytes(b"arra")
    assert kept(path) is None
    array.unlink()
    assert kept(path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [row[::-1] for row in rows],
        lambda rows: [rows[0], rows[1][:1]],
        lambda rows: rows[::-1],
        lambda rows: rows[:1],
    ],
)
def test_scores_whose_columns_or_rows_were_changed_are_not_believed(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "key.json"
    keep_outputs(path, OUTPUTS)
    assert kept_outputs(path) == OUTPUTS
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "rows": change(content["rows"])}))
    assert kept_outputs(path) is None


@pytest.mark.parametrize("damage", ["cut", "altered", "failures", "no failures"])
def test_damaged_crops_are_made_again(tmp_path: Path, damage: str) -> None:
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(tmp_path / "a.png")
    samples = [sample(tmp_path / "a.png")]
    card = Preprocessing(face_box="frame", width_px=4, height_px=4, crop_scale=1.0)
    made = prepare(samples, card, tmp_path / "crops")
    whole = made.path.read_bytes()
    found = made.path.with_suffix(".found.json")
    if damage == "cut":
        made.path.write_bytes(whole[:-5])
    elif damage == "altered":
        made.path.write_bytes(whole[:-5] + b"\0" * 5)
    elif damage == "failures":
        found.write_text("{")
    else:
        found.unlink()
    again = prepare(samples, card, tmp_path / "crops")
    assert again.path.read_bytes() == whole
    assert again.failures == {}
    assert again.timings is not None
    once_more = prepare(samples, card, tmp_path / "crops")
    assert once_more.timings is None


def test_a_text_with_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(with_digest(b'{"x":1}'))
    assert json.loads(path.read_bytes())["x"] == 1
    assert without_digest(path) == b'{"x":1}'
    for damage in (path.read_bytes() + b" ", path.read_bytes().replace(b"1}", b"2}"), b"", b"{}", b"[]"):
        path.write_bytes(damage)
        assert without_digest(path) is None
    assert without_digest(tmp_path / "absent") is None
