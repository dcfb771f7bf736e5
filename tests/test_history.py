"""A history: what is added stays, what is comparable is drawn, what is hostile is text."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import made_records as made
import pytest

from swapbench import cli, history, repository, store
from swapbench.catalog import Folders
from swapbench.commands import history as commands
from swapbench.commands.options import TrendSelection
from swapbench.errors import BadRecord, UnknownName, UserError
from swapbench.history import MeasuredAt
from swapbench.records import Record
from swapbench.report.rows.summary import summary
from swapbench.report.trends.advice import advice
from swapbench.report.trends.series import Point, series_of
from swapbench.report.trends.terminal import sparkline

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
ESCAPE = "\x1b[2J\u202e<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Nobody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "nobody@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def at(day: int, commit: str | None = None) -> MeasuredAt:
    return MeasuredAt(commit=commit or f"{day:040x}", time=MARCH + timedelta(days=day))


def record(day: int, fastest_ns: int = 4_000_000, **changes: Any) -> Record:
    """The int8 file on a day."""
    one = made.record("net", "int8", "tflite", speed=made.speed(fastest_ns + 1000 * (day % 5), 1000))
    return one.replace(run=f"night{day}", time=MARCH + timedelta(days=day, hours=2), **changes)


def run_of(*records: Record, name: str = "night", about: dict[str, Any] | None = None) -> Path:
    folder = Path("reports") / name
    for one in records:
        store.save(one, folder)
    if about is not None:
        (folder / "run.json").write_text(json.dumps({"description": {}, "finished": True, **about}))
    return folder


def filled(days: int, change: int | None = None, folder: Path = Path("history")) -> Path:
    """A history of so many nights, 10 % slower from a day on."""
    for day in range(days):
        slow = 400_000 if change is not None and day >= change else 0
        history.add(folder, run_of(record(day, 4_000_000 + slow), name=f"{folder.name}{day}"), at(day))
    return folder


def git(*arguments: str, cwd: Path = Path()) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(message: str, day: int, cwd: Path = Path()) -> str:
    when = (MARCH + timedelta(days=day)).isoformat()
    (cwd / "source").write_text(message)
    git("add", "source", cwd=cwd)
    subprocess.run(
        ["git", "commit", "-qm", message],
        cwd=cwd,
        check=True,
        env={**os.environ, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when},
    )
    return git("rev-parse", "HEAD", cwd=cwd)


# ---- The folder ----


def test_a_record_is_kept_byte_for_byte_under_its_digest() -> None:
    run = run_of(record(1))
    [path] = (run / "records").glob("*.json")
    assert history.add(Path("history"), run, at(1)).new == 1
    [kept] = Path("history/records").glob("*.json")
    assert kept.read_bytes() == path.read_bytes()
    assert kept.stem == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_is_not_added_twice_and_keeps_its_commit() -> None:
    run = run_of(record(1))
    history.add(Path("history"), run, at(1))
    before = {path: path.read_bytes() for path in Path("history").rglob("*") if path.is_file()}
    again = history.add(Path("history"), run, at(2))
    assert (again.new, again.known, again.elsewhere) == (0, 1, (at(1).commit,))
    assert {path: path.read_bytes() for path in Path("history").rglob("*") if path.is_file()} == before


def test_of_a_run_that_grew_only_the_new_records_are_added() -> None:
    run = run_of(record(1))
    history.add(Path("history"), run, at(1))
    store.save(made.record("other", "fp32", "onnx"), run)
    assert history.add(Path("history"), run, at(1)).new == 1
    assert [len(one.records) for one in history.read(Path("history")).additions] == [1, 1]


def test_a_damaged_record_of_a_run_costs_itself() -> None:
    run = run_of(record(1))
    (run / "records" / "damaged.json").write_text("{")
    added = history.add(Path("history"), run, at(1))
    assert added.new == 1
    assert [name for name, _ in added.failures] == ["damaged.json"]


def test_a_run_without_records_is_refused() -> None:
    with pytest.raises(BadRecord, match="holds no records"):
        history.add(Path("history"), Path("reports/none"), at(1))


def test_an_addition_that_was_killed_before_its_last_file_does_not_count_and_is_finished_later() -> None:
    run = run_of(record(1))
    history.add(Path("history"), run, at(1))
    shutil.rmtree("history/runs")  # written last
    assert history.read(Path("history")).additions == ()
    assert history.add(Path("history"), run, at(1)).new == 1


def test_a_record_that_was_lost_is_put_back_by_the_same_command() -> None:
    run = run_of(record(1))
    history.add(Path("history"), run, at(1))
    [kept] = Path("history/records").glob("*.json")
    kept.write_text("{}")
    points, remarks = commands.points_of(Folders(Path()), history.read(Path("history")))
    assert points == []
    assert "1 of 1 records are missing" in remarks[0]
    history.add(Path("history"), run, at(1))
    assert len(commands.points_of(Folders(Path()), history.read(Path("history")))[0]) == 1


def test_what_lies_in_the_folder_and_does_not_belong_there_is_told_and_left_out(tmp_path: Path) -> None:
    filled(2)
    runs = Path("history/runs")
    good = next(runs.glob("*.json"))
    (runs / "copied.json").write_bytes(good.read_bytes())
    (runs / "text.json").write_text("no json")
    (runs / "deep.json").write_text("[" * 100_000)
    os.mkfifo(runs / "pipe.json")
    os.mkfifo(Path("history/records/pipe.json"))
    kept = history.read(Path("history"))
    assert len(kept.additions) == 2
    assert len(kept.damaged) == 4
    points, _ = commands.points_of(Folders(Path()), kept)
    assert len(points) == 2


def test_a_record_of_an_unknown_kind_costs_itself() -> None:
    """Its digest is right, and an addition names it; another swapbench may have written it."""
    filled(2)
    content = b'{"schema_version": 99}'
    digest = hashlib.sha256(content).hexdigest()
    Path(f"history/records/{digest}.json").write_bytes(content)
    addition = history.Addition(run="later", at=at(3), records=(digest,))
    text = (store.dumps(addition.model_dump(mode="json")) + "\n").encode()
    name = f"{at(3).commit[:10]}-{hashlib.sha256(text).hexdigest()[:16]}.json"
    Path("history/runs", name).write_bytes(text)
    points, remarks = commands.points_of(Folders(Path()), history.read(Path("history")))
    assert len(points) == 2
    assert "schema version 99" in remarks[0]


@pytest.mark.parametrize("name", ["HEAD", "--output=/tmp/x", "abc", "g" * 40, "A" * 40, "../../x"])
def test_the_name_of_a_commit_is_hexadecimal(name: str) -> None:
    with pytest.raises(ValueError, match="commit"):
        MeasuredAt(commit=name)
    run = run_of(record(1))
    with pytest.raises(UserError, match="is not the name of a commit"):
        commands.add(Folders(Path()), [run], Path("history"), name, print)


def test_two_branches_that_added_different_runs_merge_without_a_conflict() -> None:
    git("init", "-qb", "main")
    commit("first", 0)
    for day, branch in ((1, "one"), (2, "two")):
        git("checkout", "-qb", branch, "main")
        history.add(Path("history"), run_of(record(day), name=branch), at(day))
        shared = run_of(record(9), name=f"shared-{branch}")
        history.add(Path("history"), shared, at(9))  # both added this one, too
        git("add", "history")
        git("commit", "-qm", branch)
    git("merge", "-q", "-m", "both", "one")
    kept = history.read(Path("history"))
    assert not kept.damaged
    assert len(kept.measured_at) == 3


def test_processes_that_add_at_the_same_time_lose_nothing() -> None:
    runs = [run_of(record(day), name=f"night{day}") for day in range(4)]
    code = (
        "import sys; from pathlib import Path; from swapbench import history;"
        "day = int(sys.argv[1]);"
        "[history.add(Path('history'), Path(run),"
        " history.MeasuredAt(commit=f'{i:040x}')) for i, run in enumerate(sys.argv[2:])]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n), *map(str, runs)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    kept = history.read(Path("history"))
    assert (len(kept.measured_at), kept.damaged) == (4, ())
    assert not list(Path("history").rglob(".*"))


# ---- Which commit ----


def test_the_commit_is_the_one_that_the_run_says() -> None:
    git("init", "-q")
    commit("later", 5)
    said = {"commit": "c" * 40, "time": (MARCH + timedelta(days=1)).isoformat(), "changed": True}
    run = run_of(record(1), about={"measured_at": said})
    commands.add(Folders(Path()), [run], Path("history"), None, print)
    [addition] = history.read(Path("history")).additions
    assert (addition.at.commit, addition.at.changed) == ("c" * 40, True)


@pytest.mark.parametrize("said", [None, 7, {"commit": "x"}, {"commit": "c" * 40, "more": 1}])
def test_a_run_that_does_not_say_is_taken_for_the_commit_at_hand_and_that_is_told(said: object) -> None:
    git("init", "-q")
    head = commit("now", -300)
    heard: list[str] = []
    run = run_of(record(1), about={"measured_at": said})
    commands.add(Folders(Path()), [run], Path("history"), None, heard.append)
    [addition] = history.read(Path("history")).additions
    assert addition.at.commit == head
    assert "does not say at which commit" in heard[0]


def test_a_run_that_is_older_than_the_commit_at_hand_needs_its_own_named() -> None:
    git("init", "-q")
    head = commit("now", 0)
    run = run_of(record(1))
    for path in (run / "records").glob("*.json"):
        os.utime(path, (0, 0))
    with pytest.raises(UserError, match="older than the one at hand"):
        commands.add(Folders(Path()), [run], Path("history"), None, print)
    commands.add(Folders(Path()), [run], Path("history"), head[:8], print)
    [addition] = history.read(Path("history")).additions
    assert (addition.at.commit, addition.at.time) == (head, MARCH)


def test_outside_a_repository_the_commit_must_be_named() -> None:
    run = run_of(record(1))
    with pytest.raises(UserError, match="--commit"):
        commands.add(Folders(Path()), [run], Path("history"), None, print)
    commands.add(Folders(Path()), [run], Path("history"), "abcdef1", print)
    [addition] = history.read(Path("history")).additions
    assert (addition.at.commit, addition.at.time) == ("abcdef1", None)


def test_git_is_asked_for_nothing_that_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "git", lambda *_: pytest.fail("git was asked"))
    assert repository.commit(Path(), "--upload-pack=touch x") is None
    assert repository.commits_between(Path(), "--all", "a" * 40, 5) is None


# ---- Series ----


def points(*records: Record) -> list[Point]:
    return [Point(f"{day:064x}", at(day), summary(one)) for day, one in enumerate(records)]


def series(name: str, *records: Record) -> list[tuple[int, str]]:
    """Points and beginning of each series of a column."""
    found = [one for one in series_of(points(*records)) if one.column.name == name]
    return [(len(one.points), one.begins) for one in found]


def test_another_version_of_a_runtime_begins_a_series_of_latencies_and_none_of_sizes() -> None:
    old, new = record(0), record(1)
    newer = new.replace(runtime=new.runtime.replace(version="2.4.0"))
    assert series("latency_p50", old, newer) == [(1, ""), (1, "version: 2.3.0 and 2.4.0")]
    assert series("file_bytes", old, newer) == [(2, "")]


def test_places_do_not_share_a_series_and_data_sets_do_not_share_error_rates() -> None:
    here, there = record(0), record(1)
    there = there.replace(machine=there.machine.replace(logical_cores=8))
    assert series("latency_p50", here, there) == [(1, ""), (1, "")]
    one = record(0, accuracy=made.accuracy({"print": (1, 10)}, 1, 10))
    other = record(1, accuracy=made.accuracy({"print": (1, 10)}, 1, 10, dataset_digest="feed" * 4))
    assert [begins for _, begins in series("acer", one, other)][1].startswith("digest of the data: ")


def test_the_order_is_that_of_the_commits_and_not_of_the_measuring() -> None:
    late_for_old = Point("a" * 64, at(0), summary(record(30, 4_000_000)))
    early_for_new = Point("b" * 64, at(9), summary(record(10, 5_000_000)))
    [found] = [one for one in series_of([early_for_new, late_for_old]) if one.column.name == "latency_p50"]
    assert [point.digest[0] for point in found.points] == ["a", "b"]


def test_every_difference_of_a_counted_size_is_a_change_and_says_both_to_the_byte() -> None:
    weights = [made.weight(size, 10, 100) for size in (1_000_000, 1_000_000, 1_000_001, 1_000_001)]
    found = series_of(points(*(record(day, weight=one) for day, one in enumerate(weights))))
    [one] = [one for one in found if one.column.name == "file_bytes"]
    [change] = one.changes
    assert (change.place, change.p, one.worse(change)) == (2, None, True)
    assert one.level_text(change.before) == "1 000 000 bytes"
    assert one.level_text(change.after) == "1 000 001 bytes"


def test_a_slower_half_is_one_change_with_both_medians() -> None:
    records = [record(day, 4_000_000 + 400_000 * (day >= 15)) for day in range(30)]
    [one] = [one for one in series_of(points(*records)) if one.column.name == "latency_p50"]
    [change] = one.changes
    assert (change.place, change.before.points, change.after.points) == (15, 15, 15)
    # ten processes of 0.040 to 0.049 ms above the fastest run, and 0 to 4 us by the day
    assert change.before.median == pytest.approx(4_046_500, abs=600)
    assert change.relative == pytest.approx(400_000 / change.before.median)
    assert one.neighbours(change) == (at(14).commit, at(15).commit)


# ---- What a person sees ----


def test_a_terminal_of_80_columns_shows_the_change_and_the_commits_between(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    git("init", "-q")
    for day in range(24):
        for part in range(3 if day == 12 else 1):
            name = commit(
                f"Change {day}.{part} of what is fed to the network, said in a great many words", day
            )
        slow = 400_000 * (day >= 12)
        run = run_of(
            record(day, 4_000_000 + slow),
            name=f"night{day}",
            about={"measured_at": {"commit": name, "time": (MARCH + timedelta(days=day)).isoformat()}},
        )
        assert cli.main(["history", "add", str(run)]) == 0
    capsys.readouterr()
    monkeypatch.setattr("swapbench.cli.history._WIDTH", 80)
    assert cli.main(["history"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "worse by +9.9 % since 2026-03-13" in shown
    assert next(line for line in shown.splitlines() if "Change 12." in line).endswith("…")
    assert len(re.findall(r"Change 12\.\d", shown.split("p90")[0])) == 3
    assert "Change 11" not in shown
    assert "E-divisive" in shown


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_the_page_is_whole_loads_nothing_and_names_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    for day in range(30):
        hostile = record(day, 4_000_000 + 400_000 * (day >= 15), named=f"net{ESCAPE}.tflite")
        history.add(Path("history"), run_of(hostile, name=f"night{day}"), at(day))
    assert cli.main(["history", "--page", "--out", "page/h.html"]) == 0
    text = Path("page/h.html").read_text(encoding="utf-8")
    parser = _Texts()
    parser.feed(text)
    assert "script" not in parser.tags
    assert not {"\x1b", "\u202e"} & set(text)
    assert "default-src 'none'" in html.unescape(text)
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)
    assert text.count("<circle") == 30 * 5  # latency, its p90, size, memory and ACER
    assert "+9.9 % worse" in text
    capsys.readouterr()
    assert cli.main(["history"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_json_has_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    filled(30, change=15)
    assert cli.main(["history", "--json", "--columns", "latency_p50"]) == 0
    [trend] = json.loads(capsys.readouterr().out)["trends"]
    assert len(trend["points"]) == 30
    assert [change["commit"] for change in trend["changes"]] == [at(15).commit]


def test_conditions_and_columns_choose_and_unknown_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    filled(2)
    assert cli.main(["history", "--where", "runtime=onnxruntime"]) == 2
    assert "There are: litert" in capsys.readouterr().err
    assert cli.main(["history", "--columns", "latency_p5"]) == 2
    assert cli.main(["history", "--columns", "runtime"]) == 2
    assert cli.main(["history", "--history", "nowhere"]) == 2
    assert "swapbench history add" in capsys.readouterr().err


def test_bars_are_from_the_least_to_the_largest() -> None:
    assert sparkline([1, 1, 1], 5) == "▄▄▄"
    assert sparkline([9, 0, 7, 3.5], 3) == "▁█▅"


# ---- Exports ----


def exported(name: str, *more: str) -> Any:
    assert cli.main(["history", "export", "--format", name, "--out", "x.json", *more]) == 0
    return json.loads(Path("x.json").read_text(encoding="utf-8"))


def test_bencher_gets_its_metric_format() -> None:
    """As in https://bencher.dev/docs/reference/bencher-metric-format: numbers, `value` in each."""
    filled(3)
    benchmarks = exported("bencher")
    [(name, measures)] = benchmarks.items()
    assert name == "net.int8.tflite (litert)"
    row = summary(record(2))
    assert row.speed is not None
    assert measures["latency"] == {
        "value": row.speed.p50_ns,
        "lower_value": row.speed.p50_low_ns,
        "upper_value": row.speed.p50_high_ns,
    }
    assert measures["file-size"].keys() == {"value"}
    for metric in measures.values():
        assert metric.keys() <= {"value", "lower_value", "upper_value"}
        assert all(isinstance(value, float) for value in metric.values())


def test_github_action_benchmark_gets_lists_by_direction() -> None:
    filled(3)
    smaller = exported("github-smaller", "--columns", "latency_p50,auc")
    assert [entry["name"] for entry in smaller] == ["net.int8.tflite (litert): Median latency"]
    assert smaller[0]["unit"] == "ms"
    assert smaller[0]["value"] == pytest.approx(4.0465, abs=1e-3)
    assert all(isinstance(smaller[0][name], str) for name in ("name", "unit", "range", "extra"))
    bigger = exported("github-bigger", "--columns", "latency_p50,auc")
    assert [entry["name"] for entry in bigger] in ([], ["net.int8.tflite (litert): AUC"])


def test_only_one_place_is_exported_and_the_newest_series_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    filled(2)
    elsewhere = record(3)
    elsewhere = elsewhere.replace(machine=elsewhere.machine.replace(name="other"))
    history.add(Path("history"), run_of(elsewhere, name="other"), at(3))
    assert cli.main(["history", "export"]) == 2
    assert "--place" in capsys.readouterr().err
    assert list(exported("bencher", "--place", "other")) == ["net.int8.tflite (litert)"]
    assert cli.main(["history", "export", "--place", "third"]) == 2
    with pytest.raises(UnknownName):
        commands.export(
            commands.trends(Folders(Path()), Path("history"), TrendSelection()), "benchr", "other"
        )
    newer = record(4)
    newer = newer.replace(runtime=newer.runtime.replace(version="9"))
    history.add(Path("history"), run_of(newer, name="newer"), at(4))
    [entry] = exported("github-smaller", "--place", "bench-1", "--columns", "latency_p50")
    assert "ran under: litert 9" in entry["extra"]


# ---- Advice ----


def test_a_number_that_is_worse_than_each_of_the_last_is_told_and_one_that_is_not_is_not() -> None:
    earlier = points(*(record(day) for day in range(30)))
    [line] = advice(summary(record(31, 4_800_000)), earlier, ["latency_p50", "file_bytes"], 20)
    assert line.startswith("advisory, no verdict: net.int8.tflite under litert: Median latency 4.84 ms")
    assert "worse by 19.7 % than the median of the last 20" in line
    assert advice(summary(record(31)), earlier, ["latency_p50"], 20) == ()
    assert advice(summary(record(31, 3_000_000)), earlier, ["latency_p50"], 20) == ()


def test_advice_needs_comparable_ones() -> None:
    earlier = points(*(record(day) for day in range(30)))
    elsewhere = record(31, 4_800_000)
    elsewhere = elsewhere.replace(machine=elsewhere.machine.replace(name="other"))
    [line] = advice(summary(elsewhere), earlier, ["latency_p50"], 20)
    assert "0 comparable measurements of Median latency; at least 5" in line
