"""Runtimes side by side: which rows stand together, what they are compared in, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import NOT_SCORED, accuracy, doubt, record, speed, weight
from test_fp32_parity import EACH, keep_scores
from tiny_files import small_onnx, small_tflite

import swapbench as sb
from swapbench import catalog, cli, store
from swapbench.bench.built_in_inputs import COUNT, built_in_images
from swapbench.errors import UserError
from swapbench.ports import Node
from swapbench.records import Absent, OperatorGroup, OperatorProfile, Record
from swapbench.report.page.detail import detail_of
from swapbench.report.page.document import RUNTIMES_AT_MOST, page_html
from swapbench.report.rows.comparisons import comparisons_of
from swapbench.report.rows.side_by_side import SideBySide, side_by_side
from swapbench.report.tables.side_by_side import first_rows, json_text, reasons, terminal_table
from swapbench.report.tables.table import table_of
from swapbench.report.writer import write_report
from swapbench.testing import Fake, FakeModel

MS = 1_000_000


def together(*records: Record) -> tuple[SideBySide, ...]:
    return side_by_side(table_of(records).rows)


def members(sets: tuple[SideBySide, ...]) -> list[tuple[str, ...]]:
    return [tuple(row.label for row in one.rows) for one in sets]


def under(name: str, **more: Any) -> Record:
    """The fp32 ONNX file of `net` under a runtime of that name."""
    made = record("net", "fp32", "onnx", **more)
    used = made.runtime.replace(runtime=name, package=name)
    return made.replace(id=f"{made.id}-{name}", runtime=used)


# ---- Which rows stand together ----


def test_files_of_one_network_and_precision_stand_together_whatever_their_formats() -> None:
    sets = together(
        record("net", "fp32", "onnx"),
        record("net", "fp32", "tflite"),
        record("net", "int8", "onnx"),
        record("net", "int8", "tflite"),
        record("net", "fp32", "tflite", recipe="distill"),
        record("other", "fp32", "onnx"),
    )
    assert members(sets) == [("net.fp32.onnx", "net.fp32.tflite"), ("net.int8.onnx", "net.int8.tflite")]
    assert [one.title for one in sets] == ["net, fp32", "net, int8"]


def test_what_was_measured_elsewhere_or_with_other_threads_never_stands_beside() -> None:
    onnx, tflite = record("net", "fp32", "onnx"), record("net", "fp32", "tflite")
    elsewhere = tflite.replace(machine=tflite.machine.replace(name="another"))
    assert together(onnx, elsewhere) == ()
    assert together(onnx, tflite.replace(runtime=tflite.runtime.replace(threads=4))) == ()
    assert together(onnx, onnx.replace(id="again", run="later")) == ()  # one runtime


def test_the_reference_is_of_the_runtime_that_most_networks_have() -> None:
    alone = together(under("aaa"), record("net", "fp32", "onnx"))
    assert alone[0].reference.runtime == "aaa"  # the first of the table
    sets = together(
        under("aaa"),
        record("net", "fp32", "onnx"),
        record("net", "fp32", "tflite"),
        record("net", "int8", "onnx"),
        record("net", "int8", "tflite"),
    )
    assert [one.reference.runtime for one in sets] == ["onnxruntime", "onnxruntime"]
    rows = table_of([record("net", "fp32", "onnx"), record("net", "fp32", "tflite")]).rows
    assert side_by_side(rows, first=("litert",))[0].reference.runtime == "litert"


def test_ratios_are_to_the_reference_and_paired_by_round_where_both_were_timed_together() -> None:
    sitting = "2026-11-21T10:00:00+00:00"
    onnx = record("net", "fp32", "onnx", speed=speed(2 * MS, 0).replace(sitting=sitting))
    tflite = record(
        "net",
        "fp32",
        "tflite",
        speed=speed(MS, 0).replace(sitting=sitting),
        weight=weight(1_000_000, 1, 1, 30_000_000),
    )
    (one,) = together(onnx, tflite)
    itself, other = (row.relative for row in one.rows)
    assert itself is not None
    assert other is not None
    assert (itself.speed_up, other.speed_up, other.paired) == (1, 2, True)
    assert (other.speed_up_low, other.speed_up_high) == (2, 2)
    assert (other.size_reduction, other.memory_reduction) == (2, 2)


# ---- Agreement of scores ----


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Path, list[Record]]:
    """Two files whose kept scores give every replay another decision: .2 and .95 at thresholds of .5."""
    records = [record("net", "fp32", form) for form in ("onnx", "tflite")]
    for place, (one, replay) in enumerate(zip(records, (0.2, 0.95), strict=True)):
        keep_scores(tmp_path, one, replay)
        path = store.scores_path(tmp_path, one.id)
        records[place] = one.replace(accuracy=one.accuracy.replace(scores_sha256=_digest(path)))  # type: ignore[union-attr]
    return tmp_path, records


def _digest(path: Path) -> str:
    from swapbench.pad.metrics import folds_sha256
    from swapbench.pad.score_files import read_score_file

    return folds_sha256(read_score_file(path).folds)


def compared(folder: Path, records: list[Record]) -> SideBySide:
    folders = {(one.run, one.id): folder for one in records}
    (one,) = comparisons_of(table_of(records).rows, records, folders).runtimes or ()
    return one


def test_decisions_that_differ_are_counted_over_the_kept_scores(scored: tuple[Path, list[Record]]) -> None:
    found = compared(*scored).agreements["net.fp32.tflite"]
    assert not isinstance(found, Absent)
    assert (found.flips, found.compared) == (EACH, 3 * EACH)
    assert found.max_abs_difference == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"accuracy": NOT_SCORED}, "net.fp32.tflite has no scores: no data set was given"),
        (
            {"accuracy": accuracy({"print": (0, 9)}, 0, 9, dataset_digest="fe")},
            "they were scored on different data (digest of the data: fe and 0123456789abcdef)",
        ),
        ({"id": "elsewhere"}, "the scores of net.fp32.tflite were not kept beside its record"),
    ],
)
def test_where_scores_cannot_be_compared_the_reason_stands(
    scored: tuple[Path, list[Record]], change: dict[str, Any], reason: str
) -> None:
    folder, (onnx, tflite) = scored
    found = compared(folder, [onnx, tflite.replace(**change)]).agreements["net.fp32.tflite"]
    assert isinstance(found, Absent)
    assert found.absent == reason


def test_the_report_and_its_page_show_the_runtimes_and_why_one_is_slow(
    scored: tuple[Path, list[Record]],
) -> None:
    folder, (onnx, tflite) = scored
    cast = OperatorGroup(op="Cast", provider="cpu", output="float", nodes=7, share=0.25)
    profile = OperatorProfile(executed=(cast,), placed=(cast,), processes=3, runs=50)
    write_report([onnx.replace(operators=profile), tflite], folder)
    text = (folder / "table.md").read_text(encoding="utf-8")
    section = text[text.index("## Runtimes side by side") : text.index("## Speed\n")]
    assert f"{EACH} of {3 * EACH}" in section
    why = "7 executed nodes only convert between types of numbers: 7 Cast (25.0 % of the time of all"
    why += " operators)."
    assert f"- net.fp32.onnx\n  - {why}" in section
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert '<h2 id="runtimes-title">Runtimes side by side</h2>' in page
    assert f"<li>net, fp32 under onnxruntime: {why}</li>" in page


def test_a_page_of_very_many_records_shows_the_first_runtimes_and_says_how_many_more() -> None:
    records = [record(f"net{number}", "fp32", form) for number in range(150) for form in ("onnx", "tflite")]
    page = page_html(table_of(records), map(detail_of, records))
    shown = page[page.index('id="runtimes-title"') :]
    assert sum(f"net{number} · fp32" in shown for number in range(150)) == RUNTIMES_AT_MOST / 2
    assert "100 more rows are in table.md beside this page." in shown


def test_the_last_of_the_sets_that_fit_is_cut_but_never_to_its_reference_alone() -> None:
    three = [under(runtime) for runtime in ("a", "b", "c")]
    other = [one.replace(id=f"{one.id}-int8", variant=one.variant.replace(precision="int8")) for one in three]
    sets = together(*three, *other)
    assert [[len(one.rows) for one in first_rows(sets, most)] for most in (6, 5, 4, 1)] == [
        [3, 3],
        [3, 2],
        [3],
        [],
    ]
    (last_first,) = side_by_side(sets[0].rows, first=("c",))
    assert [row.runtime for row in first_rows((last_first,), 2)[0].rows] == ["c", "a"]


def test_a_report_of_one_runtime_has_no_such_section(tmp_path: Path) -> None:
    write_report([record("net", "fp32"), record("net", "int8")], tmp_path)
    assert "side by side" not in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "runtimes-title" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_terminal_of_eighty_columns_has_room_for_the_row_of_each_runtime(
    scored: tuple[Path, list[Record]],
) -> None:
    import io

    from rich.console import Console

    folder, (onnx, tflite) = scored
    one = compared(folder, [onnx, tflite.replace(doubts=(doubt(),))])
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        console.print(terminal_table([one], every_doubt=False))
    shown = capture.get()
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert f"{EACH} of {3 * EACH}" in shown
    assert "No room" not in shown
    assert "Ratios and differences: against" in shown
    assert "the option --doubts" in shown


def test_the_json_has_ratios_agreement_and_reasons(scored: tuple[Path, list[Record]]) -> None:
    (network,) = json.loads(json_text([compared(*scored)]))["networks"]
    first, second = network["rows"]
    assert (network["reference"], first["agreement"]) == ("net.fp32.onnx", None)
    assert second["agreement"]["flips"] == EACH
    assert (first["speed_up"], second["paired"]) == (1, True)
    assert first["hindrances"] == []


# ---- The command ----


ROWS = tuple((float(place % 2), 0.5) for place in range(COUNT))
OTHER_ROWS = (*((row[0], row[1] + 0.25) for row in ROWS[:-1]), (0.0, 9.5))


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The tflite file takes half the time of the onnx file and decides one input otherwise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    Path("net.fp32.onnx").write_bytes(small_onnx())
    Path("net.fp32.tflite").write_bytes(small_tflite().bytes())
    executed = (
        Node("a", "Conv", "float 1x4", "cpu", (6000,)),
        Node("b", "Cast", "float 1x4", "cpu", (2000,)),
    )
    fake = Fake(
        {
            "net.fp32.onnx": FakeModel(
                run_ns=2 * MS, runtime="onnxruntime", rows=ROWS, executed=executed, placed=executed
            ),
            "net.fp32.tflite": FakeModel(run_ns=MS, runtime="litert", rows=OTHER_ROWS),
        }
    )
    monkeypatch.setattr(catalog, "device", lambda *_: fake)
    return fake


FILES = ("net.fp32.onnx", "net.fp32.tflite")
BOTH = ("--runtime", "onnxruntime", "--runtime", "litert")


def test_several_runtimes_are_measured_together_and_set_side_by_side(
    device: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", *BOTH, *FILES]) == 0
    told = capsys.readouterr()
    assert all(len(line) <= 80 for line in told.out.splitlines())
    assert "2.00×" in told.out
    assert "1 of 64" in told.out
    assert "- 1 executed node only converts between types of numbers: 1 Cast (25.0 % of the" in told.out
    assert "64 built-in patterns" in told.err
    assert device.open_workers == 0
    assert not list(Path.cwd().glob("reports"))


def test_the_first_runtime_that_is_named_is_the_reference(
    device: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "--runtime", "litert,onnxruntime", *FILES, "--json"]) == 0
    (network,) = json.loads(capsys.readouterr().out)["networks"]
    by_runtime = {row["runtime"]: row for row in network["rows"]}
    assert network["reference"] == "net.fp32.tflite"
    assert (by_runtime["onnxruntime"]["speed_up"], by_runtime["onnxruntime"]["paired"]) == (0.5, True)
    assert by_runtime["onnxruntime"]["agreement"]["flips"] == 1
    assert by_runtime["onnxruntime"]["agreement"]["max_abs_difference"] == 9
    assert len(device.order) > 0


def test_one_file_for_each_runtime_is_one_network_whatever_the_names_are(
    device: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.fp32.tflite").rename("mobile.tflite")
    device.models = {**device.models, "mobile.tflite": device.models["net.fp32.tflite"]}
    assert cli.main(["compare", *BOTH, "net.fp32.onnx", "mobile.tflite"]) == 0
    told = capsys.readouterr()
    assert "Taken to be one network: net.fp32.onnx, mobile.tflite." in told.err
    assert "2.00×" in told.out


def test_a_file_without_a_counterpart_is_left_out_by_name(
    device: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lonely.onnx").write_bytes(small_onnx())
    assert cli.main(["compare", *BOTH, *FILES, "lonely.onnx"]) == 0
    assert "has its network and precision: lonely.onnx (onnxruntime)." in capsys.readouterr().err
    assert not any("lonely.onnx" in argv for argv in device.asked)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*BOTH, "net.fp32.onnx"), "no network in one precision is there for two of these runtimes"),
        (("net.fp32.onnx",), "1 file cannot be compared with each other"),
        (("a", "b", "c"), "3 files cannot be compared with each other"),
        ((*BOTH, *FILES, "--policy", "gate.toml"), "a policy judges versions of a file, not runtimes"),
        (("--runtime", "tflow,litert", *FILES), "no runtime named 'tflow'"),
        ((*BOTH, "missing.onnx", "missing.tflite"), "missing.onnx"),
    ],
)
def test_what_cannot_be_compared_says_what_to_do(
    device: Fake, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert cli.main(["compare", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert device.asked == []


def test_a_runtime_that_fails_is_named_and_the_rest_goes_on(
    device: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("other.fp32.onnx").write_bytes(small_onnx())
    Path("other.fp32.tflite").write_bytes(small_tflite().bytes())
    device.models = {**device.models, "other.fp32.onnx": FakeModel(error_in=frozenset(range(99)))}
    assert cli.main(["compare", *BOTH, *FILES, "other.fp32.onnx", "other.fp32.tflite"]) == 4
    told = capsys.readouterr()
    assert "2.00×" in told.out
    assert "failed: other.fp32.onnx" in told.err


def test_a_run_with_profile_keeps_what_its_report_explains(
    device: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", *FILES, *BOTH, "--name", "kept", "--budget", "1", "--profile"]
    assert cli.main(words) in {0, 3}
    capsys.readouterr()
    onnx, tflite = store.load_run(Path("reports/kept"))
    assert not isinstance(onnx.operators, Absent)
    assert [(one.op, one.share) for one in onnx.operators.executed] == [("Conv", 0.75), ("Cast", 0.25)]
    assert onnx.operators.processes == 3
    assert not isinstance(tflite.operators, Absent)
    assert tflite.operators.untimed == "programmed without operators"
    text = Path("reports/kept/table.md").read_text(encoding="utf-8")
    assert "1 executed node only converts between types of numbers: 1 Cast (25.0 %" in text
    assert "which operators take the time is not known: programmed without operators." in text
    assert device.open_workers == 0


def test_from_python_the_same(device: Fake) -> None:
    compared = sb.side_by_side(FILES, ("onnxruntime", "litert"), budget_s=5)
    (one,) = compared.networks
    assert one.reference.runtime == "onnxruntime"
    assert reasons([one]) != ()
    assert device.open_workers == 0
    with pytest.raises(UserError, match="two of these runtimes"):
        sb.side_by_side("net.fp32.onnx", ("onnxruntime", "litert"))


def test_built_in_images_are_seeded_use_the_whole_range_and_differ() -> None:
    images = built_in_images(8, 10, 3)
    assert images.shape == (COUNT, 8, 10, 3)
    assert np.array_equal(images, built_in_images(8, 10, 3))
    assert not np.array_equal(images, built_in_images(8, 10, 3, seed=1))
    assert all((image.min(), image.max()) == (0, 255) for image in images)
    assert len({image.tobytes() for image in images}) == COUNT
