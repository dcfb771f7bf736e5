"""A gate with a history: what earlier nights say is a line for the reader and no part of the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import test_cli_gate
from test_cli_gate import gated

from swapbench import cli, history, store
from swapbench.commands import paired_runs
from swapbench.history import MeasuredAt
from swapbench.testing import FakeModel

if TYPE_CHECKING:
    from test_cli_gate import Put

    from swapbench.records import Record

device, working_folder = test_cli_gate.device, test_cli_gate.working_folder


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The candidates' records of the gates of a test."""
    found: list[Record] = []
    real = paired_runs.checks_of

    def heard(*arguments: object) -> object:
        result = real(*arguments)  # type: ignore[arg-type]
        found.extend(result[2])
        return result

    monkeypatch.setattr(paired_runs, "checks_of", heard)
    return found


def nights(record: Record, count: int) -> None:
    for night in range(count):
        run = Path("reports", f"night{night}")
        store.save(record.replace(run=run.name), run)
        history.add(Path("history"), run, MeasuredAt(commit=f"{night:040x}"))


def test_what_is_worse_than_every_night_is_told_and_the_verdict_stays(
    device: Put, candidates: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    device()
    status, alone = gated(capsys)
    assert status == 0
    nights(candidates[0], 6)
    status, said = gated(capsys, "--history", "history")
    assert (status, said["verdict"]) == (0, "PASS")
    assert "history: no number is worse than each of its last comparable ones" in said["notes"]
    # both sides have become slower alike: the gate passes, the history tells
    slower = FakeModel(run_ns=3_000_000)
    device(slower, slower)
    status, said = gated(capsys, "--history", "history")
    assert (status, said["verdict"]) == (0, "PASS")
    [line] = [note for note in said["notes"] if note.startswith("advisory, no verdict: ")]
    assert "Median latency 3.00 ms is worse by 50.0 % than the median of the last 6" in line
    assert [check["outcome"] for check in said["checks"]] == [check["outcome"] for check in alone["checks"]]


def test_a_history_that_is_not_there_is_told_before_anything_is_measured(
    device: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    place = device()
    assert cli.main(["gate", "--baseline", "old", "--candidate", "new", "--history", "history"]) == 2
    assert "there is no history in history" in capsys.readouterr().err
    assert place.asked == []


def test_few_nights_say_nothing(
    device: Put, candidates: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    device()
    gated(capsys)
    nights(candidates[0], 4)
    _, said = gated(capsys, "--history", "history")
    assert any("4 comparable measurements of Median latency; at least 5" in note for note in said["notes"])
