"""What `swapbench export` says of files: how they agree, what was tried, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swapbench import cli
from swapbench.commands import export as commands
from swapbench.commands.export import Exported
from swapbench.errors import ParityFailed
from swapbench.pad.agreement import TOLERANCES
from swapbench.records import NOTHING_TO_COMPARE, Absent, Parity, Variant
from swapbench.workshop.artifacts import Built
from swapbench.workshop.export.mixed import Trial


def parity(**changes: Any) -> Parity:
    return Parity(
        **{
            "samples": 112,
            "max_abs_difference": 0.15,
            "mean_abs_difference": 0.02,
            "correlation": 0.99,
            "rank_correlation": 0.996,
            "logit_correlation": 0.997,
            "logit_error": 0.079,
            "decision_flips": 1,
            "threshold": 0.5,
            "tolerance": dict(TOLERANCES["int8"]),
            **changes,
        }
    )


def built(folder: Path, found: Parity | Absent, trials: tuple[Trial, ...] = ()) -> Built:
    path = folder / "net.int8.onnx"
    path.write_bytes(b"x" * 1500)
    return Built(Variant(net="net", precision="int8", format="onnx"), path, "ab" * 32, found, trials)


def trial(layers: int, error: float, *, chosen: bool = False) -> Trial:
    return Trial(
        float_layers=tuple(f"c{n}" for n in range(layers)),
        float_share=0.024 * layers,
        file_bytes=632705 + layers,
        run_ns=1_760_000,
        logit_error=error,
        rank_correlation=0.974,
        flips=3,
        samples=128,
        chosen=chosen,
    )


def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], exported: Exported, *argv: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(commands, "export", lambda *_, **__: exported)
    monkeypatch.setenv("CI", "true")
    status = cli.main(["export", "net", *argv])
    return status, *capsys.readouterr()


def test_a_good_file_is_shown_with_its_agreement_and_nothing_is_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = Exported((built(tmp_path, parity(), (trial(0, 0.079, chosen=True),)),), ())
    status, out, err = printed(monkeypatch, capsys, exported)
    assert (status, err) == (0, "")
    heading, row = out.splitlines()[:2]  # a long path goes on in the next lines
    assert heading.split()[:4] == ["file", "size", "largest", "diff"]
    assert row.split()[:9] == ["net.int8.onnx", "1.50", "kB", "0.15", "0.079", "0.996", "1", "of", "112"]


def test_a_file_that_differs_is_there_said_to_and_ends_with_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = Exported((built(tmp_path, parity(logit_error=0.4, decision_flips=20)),), ())
    status, out, err = printed(monkeypatch, capsys, exported)
    assert status == 3
    assert "net.int8.onnx" in out
    assert err.startswith("doubt: differs_from_network (net.int8.onnx): the file differs from its PyTorch")
    assert "20 of 112 decisions flip" in err


def test_a_file_whose_parity_was_not_judged_ends_with_three_and_one_that_was_refused_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = printed(monkeypatch, capsys, Exported((built(tmp_path, NOTHING_TO_COMPARE),), ()))
    assert (status, "net.int8.onnx" in out) == (3, True)
    assert "doubt: parity_unjudged" in err
    refused = Exported((), (("net.fp16.onnx", ParityFailed("net.fp16.onnx does not reproduce it")),))
    status, out, err = printed(monkeypatch, capsys, refused)
    assert (status, "Nothing was exported" in out, "failed: net.fp16.onnx" in err) == (3, True, True)


def test_what_was_tried_is_a_compact_table_and_json_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = (trial(0, 0.237), trial(1, 0.079, chosen=True))
    exported = Exported((built(tmp_path, parity(), curve),), ())
    _, out, err = printed(monkeypatch, capsys, exported)
    assert "Layers left in float" in err
    first, second = (" ".join(line.split()) for line in out.splitlines()[-2:])
    assert first == "net.int8.onnx 0 layers, 0.0 % 633 kB 1.76 ms 0.237 0.974 3 of 128"
    assert second == "1 layer, 2.4 % 633 kB 1.76 ms 0.079 0.974 3 of 128 this file"
    _, out, err = printed(monkeypatch, capsys, exported, "--json")
    (row,) = json.loads(out)
    assert [point["float_layers"] for point in row["curve"]] == [[], ["c0"]]
    assert (row["doubts"], err) == ([], "")


def test_precisions_are_named_and_a_misspelt_one_is_told_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        commands, "export", lambda _, wanted, *__, **___: asked.append(wanted) or Exported((), ())
    )
    monkeypatch.setenv("CI", "true")
    cli.main(["export", "net", "--precision", "int8-dynamic,int16x8"])
    assert asked[0].precisions == ("int8-dynamic", "int16x8")
    capsys.readouterr()
    assert cli.main(["export", "net", "--precision", "int8-dynamc"]) == 2
    assert "int8-dynamic" in capsys.readouterr().err
    assert cli.main(["export", "net", "--precision", "unknown"]) == 2
