"""swapbench report as a person meets it: what it prints, what it writes, what it says of mistakes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from made_records import MACHINE, NOT_SCORED, doubt, record, speed
from test_table import hand_made

from swapbench import cli, store
from swapbench.cli import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.records import Record

Capture = pytest.CaptureFixture[str]
OTHER = MACHINE.model_copy(update={"name": "pixel7"})


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")


def save(folder: Path, *records: Record) -> Path:
    for one in records:
        store.save(one, folder)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save(tmp_path / "reports" / "first", *hand_made())


def report(*argv: object) -> int:
    return cli.main(["report", *map(str, argv)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run folder after `swapbench report --literature`, and what that printed."""
    root = tmp_path_factory.mktemp("whole")
    run = save(root / "reports" / "first", *hand_made())
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(root), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert report("--literature") == 0
    return run, out.getvalue(), err.getvalue()


def test_the_whole_report_is_written_beside_the_newest_run(whole: tuple[Path, str, str]) -> None:
    run, out, err = whole
    assert "student.kd.int8.onnx †" in out
    files = {path.name for path in run.iterdir() if path.is_file()}
    assert {f"table.{suffix}" for suffix in ("md", "tex", "csv", "json", "html")} <= files
    assert {"index.html", "pareto.pdf", "pareto.svg", "pareto.png", "pareto.csv", "latency.pdf"} <= files
    for name in files:
        assert f"first/{name}" in err
    assert "No figure: " in err
    assert "sustained: " in err


def test_published_numbers_stand_apart(whole: tuple[Path, str, str]) -> None:
    run, out, _ = whole
    assert "Published by others, not measured here." in out
    assert "Published by others" in (run / "literature.md").read_text()
    for suffix in ("md", "tex", "csv", "json", "html"):
        assert "Published by others" not in (run / f"table.{suffix}").read_text()


def test_published_numbers_stand_in_no_other_format(run: Path, capsys: Capture) -> None:
    assert report("--format", "latex", "--literature") == 2
    assert "Markdown table only" in capsys.readouterr().err
    assert report("--format", "markdown", "--literature", "--columns", "acer") == 0
    assert "Published by others" in capsys.readouterr().out


@pytest.mark.parametrize("skin", ["markdown", "latex", "csv", "json", "html"])
def test_a_format_is_printed_and_nothing_is_written(skin: str, run: Path, capsys: Capture) -> None:
    before = sorted(run.rglob("*"))
    assert report("--format", skin, "--columns", "latency_p50,acer", "--sort", "-acer") == 0
    assert "student.kd" in capsys.readouterr().out
    assert sorted(run.rglob("*")) == before


def test_a_format_is_what_the_whole_report_writes(whole: tuple[Path, str, str], capsys: Capture) -> None:
    folder = whole[0]
    suffixes = {"markdown": "md", "latex": "tex", "csv": "csv", "json": "json", "html": "html"}
    for skin, suffix in suffixes.items():
        assert report(folder, "--format", skin) == 0
        assert capsys.readouterr().out == (folder / f"table.{suffix}").read_text(encoding="utf-8")


def test_out_keeps_the_format_or_all_of_them(run: Path, tmp_path: Path) -> None:
    assert report(run, "--format", "latex", "--columns", "acer", "--out", tmp_path / "one") == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["table.tex"]
    assert report(run, "--columns", "acer", "--out", tmp_path / "all") == 0
    assert len(list((tmp_path / "all").iterdir())) == 5


def test_columns_alone_are_a_table_on_the_terminal(run: Path, capsys: Capture) -> None:
    assert report("--columns", "params,acer", "--where", "precision=int8") == 0
    out = capsys.readouterr().out
    assert "student.kd.int8.onnx †" in out
    assert "teacher" not in out


def test_json_is_the_chosen_table(run: Path, capsys: Capture) -> None:
    assert report("--columns", "acer", "--json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "swapbench.view"


def test_several_runs_and_devices_are_one_table_with_a_part_for_each(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    save(tmp_path / "reports" / "phone", record("teacher", run="phone", machine=OTHER))
    (tmp_path / "reports" / "notes.md").write_text("no run")
    assert report("reports/*", "--format", "markdown", "--columns", "latency_p50") == 0
    said = capsys.readouterr()
    assert "**Device: bench-1**" in said.out
    assert "**Device: pixel7**" in said.out
    assert "left out, because they are not runs: reports/notes.md" in said.err
    assert report(run, run / ".." / "first", "--format", "csv") == 0
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 4


def test_a_report_of_several_runs_needs_a_folder(run: Path, tmp_path: Path, capsys: Capture) -> None:
    other = save(tmp_path / "reports" / "second", record("teacher", run="second"))
    assert report(run, other) == 2
    assert "--out" in capsys.readouterr().err
    assert report(run, other, "--out", "both", "--json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "swapbench.table"
    assert "teacher.fp32.onnx (second)" in (tmp_path / "both" / "table.md").read_text()


def test_a_requirement_gives_a_recommendation_in_words(run: Path, capsys: Capture) -> None:
    assert report("--require", "acer<=3.2 %", "--require", "p50<=3ms") == 0
    assert "student.kd.int8.onnx" in capsys.readouterr().out
    assert report("--require", "acer<=0.1 %") == 0
    assert "acer" in capsys.readouterr().out
    assert report("--require", "acer<=5") == 2


def test_doubts_are_counted_or_with_an_option_said_in_full(run: Path, capsys: Capture) -> None:
    assert report("--columns", "acer") == 0
    counted = capsys.readouterr().out
    assert "wide_interval (speed): 1 of 4 rows" in " ".join(counted.split())
    assert "What helps: Measure longer" not in counted
    assert report("--columns", "acer", "--doubts") == 0
    assert "What helps: Measure longer" in capsys.readouterr().out


def test_where_json_is_printed_doubts_are_counted_beside_it(capsys: Capture) -> None:
    terminal.say_doubts([record("a", doubts=(doubt(),)), record("b", doubts=(doubt(),)), record("c")])
    assert capsys.readouterr().err == "doubt: wide_interval (speed): 2 of 3 rows\n"


def test_notes_of_latex_are_as_long_as_was_asked(run: Path, capsys: Capture) -> None:
    assert report("--format", "latex", "--columns", "acer", "--notes", "full") == 0
    assert r"\par" in capsys.readouterr().out
    assert report("--format", "latex", "--columns", "acer", "--notes", "none") == 0
    assert r"\par" not in capsys.readouterr().out
    assert report("--format", "latex", "--notes", "long") == 2
    assert "no kind of notes named 'long'" in capsys.readouterr().err


def test_one_figure_is_drawn_of_the_chosen_rows(run: Path, tmp_path: Path, capsys: Capture) -> None:
    argv = [
        "--figure",
        "pareto",
        "--x",
        "file_bytes",
        "--y",
        "acer",
        "--where",
        "net=student",
        "--out",
        "fig",
    ]
    assert report(*argv) == 0
    assert sorted(path.name for path in (tmp_path / "fig").iterdir()) == [
        f"pareto.{suffix}" for suffix in ("csv", "pdf", "png", "svg", "tex", "txt")
    ]
    assert "teacher" not in (tmp_path / "fig" / "pareto.csv").read_text()
    assert not (run / "pareto.pdf").exists()
    assert report("--figure", "sustained") == 2
    assert "cannot draw the figure sustained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--format", "latx"], "Did you mean latex"),
        (["--columns", "latncy"], "latency"),
        (["--sort", "-acre"], "acer"),
        (["--group", "devise"], "Did you mean device"),
        (["--relative-to", "techer", "--columns", "acer"], "Did you mean teacher"),
        (["--require", "acer"], "is not a valid requirement"),
        (["--figure", "parto"], "Did you mean pareto"),
        (["--figure", "pareto", "--x", "latncy"], "latency"),
        (["nothing/*"], "nothing matches nothing"),
        (["nowhere"], "holds no records"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    argv: list[str], said: str, run: Path, capsys: Capture
) -> None:
    assert report(*argv) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_one_record_and_a_record_without_anything_are_a_table(tmp_path: Path, capsys: Capture) -> None:
    nothing = record("nothing", speed=NOT_SCORED, weight=NOT_SCORED, accuracy=NOT_SCORED, parity=NOT_SCORED)
    save(tmp_path / "reports" / "alone", nothing)
    for skin in ("markdown", "latex", "csv", "json", "html"):
        assert report("--format", skin) == 0
        assert report("--format", skin, "--columns", "latency_p50,acer,energy,speed_up") == 0
        assert "nothing" in capsys.readouterr().out


def test_options_may_be_repeated_or_joined_by_commas(run: Path, capsys: Capture) -> None:
    assert (
        report("--format", "csv", "--columns", "acer", "--columns", "params", "--sort", "acer,-params") == 0
    )
    first = capsys.readouterr().out
    assert report("--format", "csv", "--columns", "acer,params", "--sort", "acer", "--sort", "-params") == 0
    assert capsys.readouterr().out == first


def test_a_table_is_kept_in_build_and_made_again_after_it_is_gone(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert report("--format", "csv") == 0
    first = capsys.readouterr().out
    assert list((tmp_path / "build" / "rows").glob("*.json"))
    save(run, record("later", speed=speed(1_000_000, 10_000)))
    assert report("--format", "csv") == 0
    assert capsys.readouterr().out.count("\n") == first.count("\n") + 1
