"""The section on score parity: what a run's kept scores say of each file against its network's fp32 file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_records import NOT_SCORED, record

from swapbench import store
from swapbench.pad.score_files import write_score_file
from swapbench.pad.scores import FoldFrames, Scored
from swapbench.report.rows.fp32_parity import parities_of
from swapbench.report.writer import write_report

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.records import Record

EACH = 20


def keep_scores(folder: Path, of: Record, replay: float) -> None:
    """Bona fide .9, print .1, `replay` for the replays of the test split (.2 in development)."""

    def split(name: str, replay_score: float) -> Scored:
        kinds = ["", "print", "replay"]
        rows = [(kind, number) for kind in kinds for number in range(EACH)]
        score = {"": 0.9, "print": 0.1, "replay": replay_score}
        return Scored.of(
            [f"{name}-{kind}-{number}" for kind, number in rows],
            [f"{name}{number}" for _, number in rows],
            [not kind for kind, _ in rows],
            [kind for kind, _ in rows],
            [score[kind] for kind, _ in rows],
        )

    frames = np.zeros(3 * EACH, np.int64)
    fold = FoldFrames("", split("dev", 0.2), split("test", replay), frames, frames)
    write_score_file(store.scores_path(folder, of.id), [fold])


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, list[Record]]:
    records = [record("net", precision) for precision in ("fp32", "fp16", "int8")]
    for one, replay in zip(records, (0.2, 0.21, 0.95), strict=True):
        keep_scores(tmp_path, one, replay)
    return tmp_path, records


def test_a_file_that_fails_on_one_species_is_named_in_the_report(run: tuple[Path, list[Record]]) -> None:
    folder, records = run
    written = write_report(records, folder)
    text = (folder / "table.md").read_text(encoding="utf-8")
    section = text[text.index("## Score parity") : text.index("## Notes")]
    lines = {
        line.split("|")[1].strip(" †"): line for line in section.splitlines() if line.startswith("| net")
    }
    assert "FAILS ON replay" in lines["net.int8.onnx"]
    assert "+100.00" in lines["net.int8.onnx"]
    assert f"{EACH}/{3 * EACH}" in lines["net.int8.onnx"]
    assert "alike" in lines["net.fp16.onnx"]
    assert "net.fp32.onnx" not in lines  # the reference is not held against itself
    (sentence,) = written.fails_on
    assert sentence.startswith("net.int8.onnx against net.fp32.onnx: Fails on replay")
    kept = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    assert {one["record"]: one["flips"] for one in kept} == {records[1].id: 0, records[2].id: EACH}


def test_without_an_fp32_file_the_others_are_held_against_the_fp16_file(
    run: tuple[Path, list[Record]],
) -> None:
    folder, records = run
    found = parities_of(records[1:], dict.fromkeys((of.id for of in records), folder))
    assert [(parity.name, parity.reference) for parity in found] == [("net.int8.onnx", "net.fp16.onnx")]


def test_the_same_files_in_two_runs_are_each_held_against_their_own_run(tmp_path: Path) -> None:
    folders, records = {}, []
    for name, replay in (("one", 0.21), ("two", 0.95)):
        for precision, of_this in (("fp32", 0.2), ("int8", replay)):
            made = record("net", precision).model_copy(update={"run": name})
            keep_scores(tmp_path / name, made, of_this)
            folders[name, made.id] = tmp_path / name
            records.append(made)
    written = write_report(records, tmp_path, run_folders=folders)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    section = text[text.index("## Score parity") : text.index("## Notes")]
    verdicts = [line for line in section.splitlines() if line.startswith("| net.int8")]
    assert ["FAILS ON replay" in line for line in verdicts] == [False, True]
    assert len(written.fails_on) == 1


def test_runs_without_kept_scores_have_no_such_section(tmp_path: Path) -> None:
    records = [record("net", precision) for precision in ("fp32", "int8")]
    (tmp_path / "parity.json").write_text("of an earlier report")
    write_report(records, tmp_path)
    assert "## Score parity" not in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert not (tmp_path / "parity.json").exists()


def test_a_record_without_accuracy_or_on_other_data_is_not_compared(run: tuple[Path, list[Record]]) -> None:
    folder, (fp32, fp16, int8) = run
    other = fp16.model_copy(
        update={"accuracy": fp16.accuracy.model_copy(update={"dataset_digest": "another"})}
    )
    unscored = int8.model_copy(update={"accuracy": NOT_SCORED})
    folders = dict.fromkeys((fp32.id, fp16.id, int8.id), folder)
    assert parities_of([fp32, other, unscored], folders) == ()
