"""swapbench system: from the records of a run to a row of its own, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from red_faces import red_less_blue, red_parts, write_red_faces

from swapbench import store
from swapbench.cli import main
from swapbench.records import Absent
from swapbench.report.rows.references import compared_rows
from swapbench.report.rows.summary import summary
from swapbench.report.tables.columns import COLUMNS
from swapbench.systems.file import read_system, write_system

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.usefixtures("few_rounds")

EXAMPLE = Path(__file__).parents[1] / "reports" / "example"
SMALL, OTHER = "minifasnet_v2.distill.int8.tflite", "mobilefacenet.uniform-40M.int8.tflite"
LARGE = "resnet18_map.int8.onnx"


def small_run(folder: Path, files: Sequence[str] = (SMALL, OTHER, LARGE)) -> Path:
    """Some records of the example with their scores."""
    run = folder / "reports" / "example"
    for file in files:
        (record,) = EXAMPLE.glob(f"records/{file}-*.json")
        for path in (record, store.scores_path(EXAMPLE, record.stem)):
            copy = run / path.relative_to(EXAMPLE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    return run


@pytest.fixture(scope="module")
def with_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a fusion whose weights were searched."""
    folder = tmp_path_factory.mktemp("systems")
    run = small_run(folder)
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        assert (
            main(["system", "fuse", SMALL, OTHER, "--weights", "search", "--name", "pair", "--fps", "15"])
            == 3
        )
    return run


def test_a_system_becomes_a_row_with_its_file_its_scores_and_the_searched_curve(with_pair: Path) -> None:
    (record,) = [one for one in store.load_run(with_pair) if one.decision is not None]
    assert record.title == "pair (computed)"
    assert [doubt.code for doubt in record.doubts] == ["doubtful_member"]
    assert isinstance(record.speed, Absent)
    assert store.scores_path(with_pair, record.id).is_file()
    decision = record.decision
    assert decision is not None
    assert decision.system == read_system(store.system_path(with_pair, "pair"))
    with store.system_path(with_pair, "pair").with_suffix(".search.csv").open(encoding="utf-8") as file:
        tried = list(csv.DictReader(file))
    assert len(tried) == 21  # weights in steps of a twentieth
    assert (with_pair / "systems" / "pair.search.png").read_bytes().startswith(b"\x89PNG")
    (chosen,) = [row for row in tried if row["chosen"] == "1"]
    assert float(chosen["dev_acer"]) == min(float(row["dev_acer"]) for row in tried)
    # both files are asked once a decision, so it costs the sum of their medians
    each = [summary(one).speed for one in store.load_run(with_pair) if one.artifact in {SMALL, OTHER}]
    assert decision.time_ns.all.mean == pytest.approx(sum(speed.p50_ns for speed in each if speed))
    assert decision.gain is not None
    assert decision.gain.member == SMALL
    assert not isinstance(decision.latency_ns, Absent)
    assert decision.latency_ns.all.mean == pytest.approx(
        decision.time_ns.all.mean
    )  # one frame waits for none


def test_files_and_systems_stand_on_one_front(with_pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row.label: row for row in map(summary, store.load_run(with_pair))}
    time = COLUMNS["decision_time"]
    assert rows[SMALL].decision is not None
    assert time.number(rows[SMALL]) == rows[SMALL].speed.p50_ns  # type: ignore[union-attr] # stills have one frame
    assert time.number(rows["pair (computed)"]) > time.number(rows[SMALL])  # type: ignore[operator]
    assert main(["report", str(with_pair), "--figure", "decision"]) == 0
    points = list(csv.DictReader((with_pair / "decision.csv").read_text(encoding="utf-8").splitlines()))
    assert {point["label"] for point in points} == {SMALL, OTHER, LARGE, "pair (computed)"}
    assert main(["report", str(with_pair), "--figure", "decision", "--x", "energy"]) == 2
    assert "Energy of a decision" in capsys.readouterr().err


def test_ratios_are_of_files_and_never_to_a_system(with_pair: Path) -> None:
    rows, reference = compared_rows(map(summary, store.load_run(with_pair)))
    assert reference == "resnet18_map"  # a system has the MACs of all its files
    pair = next(row for row in rows if row.is_system)
    assert pair.relative is None
    assert COLUMNS["speed_up"].absent(pair) == "ratios are of files, and this is a system"


def test_no_system_no_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = small_run(tmp_path, (SMALL,))
    assert main(["report", str(run), "--figure", "decision"]) == 2
    assert "no record is of a system" in capsys.readouterr().err


def test_a_system_of_one_name_replaces_the_first_and_tells_programs(
    with_pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "reports" / "example"
    shutil.copytree(with_pair, run)
    monkeypatch.chdir(tmp_path)
    argv = ["system", "cascade", SMALL, LARGE, "--margin", "inf", "--name", "pair", "--json"]
    assert main(argv) == 3
    out, err = capsys.readouterr()
    decision = json.loads(out)["decision"]
    assert decision["members"][1]["asked"] == 1.0
    assert decision["time_ns"]["all"]["worst"] == decision["time_ns"]["all"]["mean"]
    assert "The row pair (computed) of this run is replaced." in err
    assert len([one for one in store.load_run(run) if one.decision is not None]) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fuse", SMALL], "a fusion takes two files or more"),
        (["fuse", SMALL, OTHER, "--weights", "1"], "1 weights for 2 files"),
        (["fuse", SMALL, OTHER, "--weights", "0,0"], "--weights 0,0 do not fit"),
        (["fuse", SMALL, OTHER, "--weights", "a,b"], "--weights 'a,b' are not numbers"),
        (["fuse", SMALL, OTHER, "--rule", "sum"], "there is no rule named 'sum'"),
        (["fuse", SMALL, SMALL], "a file is named twice"),
        (["fuse", SMALL, "minifasnet.int8.tflite"], "there is no file in the run example named"),
        (["cascade", SMALL, LARGE, "--target", "auc>=0.9"], "--target 'auc>=0.9' is none"),
        (["cascade", SMALL, LARGE, "--target", "acer<=1 %"], "nothing that was tried keeps acer <= 1 %"),
        (["cascade", SMALL, LARGE, "--cost", "energy"], "there is no energy to choose by"),
        (["frames", SMALL, "--frames", "1,2"], "presentations of these data have 1 frame, not 2"),
        (["frames", SMALL, "--frames", "0"], "--frames '0' are not numbers of frames"),
        (["frames", SMALL, "--frames", "1", "--rule", "best"], "there is no rule named 'best'"),
    ],
)
def test_bad_input_is_one_sentence(
    argv: list[str],
    message: str,
    with_pair: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(with_pair.parents[1])
    assert main(["system", *argv]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert message in error


def test_members_of_other_places_data_or_without_scores_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run(tmp_path, (SMALL, OTHER))
    monkeypatch.chdir(tmp_path)
    records = {record.artifact: record for record in store.load_run(run)}
    path = run / "records" / f"{records[OTHER].id}.json"

    def says(change: dict[str, object]) -> str:
        path.unlink()
        store.save(records[OTHER].replace(**change), run)
        assert main(["system", "fuse", SMALL, OTHER]) == 2
        return capsys.readouterr().err

    threads = records[OTHER].runtime.replace(threads=4)
    assert "cannot decide together: they differ in threads: 1 and 4" in says({"runtime": threads})
    accuracy = records[OTHER].accuracy
    assert not isinstance(accuracy, Absent)
    other_data = accuracy.replace(dataset_digest="0" * 64)
    assert "they differ in digest of the data" in says({"accuracy": other_data})
    assert "has no scores: nobody looked" in says({"accuracy": Absent(absent="nobody looked")})
    assert "has no times: nobody timed" in says({"speed": Absent(absent="nobody timed")})
    other_scores = accuracy.replace(scores_sha256="0" * 64)
    assert "does not hold the scores that the record" in says({"accuracy": other_scores})
    store.scores_path(run, records[OTHER].id).unlink()
    assert "the scores of mobilefacenet.uniform-40M.int8.tflite are not in" in says({})


@pytest.fixture(scope="module")
def with_two(with_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the fusion and a cascade."""
    run = tmp_path_factory.mktemp("two") / "reports" / "example"
    shutil.copytree(with_pair, run)
    with pytest.MonkeyPatch.context() as here:
        here.chdir(run.parents[1])
        assert main(["system", "cascade", SMALL, LARGE, "--margin", "0.2", "--name", "door"]) == 3
    return run


def test_a_system_is_held_against_another_on_the_same_presentations(
    with_two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(with_two.parents[1])
    records = {one.variant.net: one for one in store.load_run(with_two) if one.decision is not None}
    assert main(["system", "compare", "pair", "door", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "Simulated data" in err
    found = json.loads(out)
    assert (found["first"], found["second"]) == ("pair (computed)", "door (computed)")
    for side, name in (("first", "pair"), ("second", "door")):
        accuracy, decision = records[name].accuracy, records[name].decision
        assert not isinstance(accuracy, Absent)
        assert accuracy.bpcer is not None
        assert decision is not None
        assert found["acer"][side] == accuracy.acer
        assert (found["apcer"][side], found["bpcer"][side]) == (accuracy.apcer, accuracy.bpcer.rate)
        assert found["costs"]["time"][side] == decision.time_ns.all.model_dump()
    assert found["not_compared"] == {"energy": f"pair (computed) has none, for no energy is known of {SMALL}"}
    assert found["acer"]["interval"]["method"].startswith("bootstrap over ")
    assert main(["system", "compare", "reports/example/systems/pair.toml", "door (computed)"]) == 0
    text = capsys.readouterr().out
    time = [line for line in text.splitlines() if line.startswith("time, mean")]
    ratio = found["costs"]["time"]["second"]["mean"] / found["costs"]["time"]["first"]["mean"]
    assert f"{100 * (ratio - 1):+.1f} %" in time[0]
    assert f"McNemar p = {found['p_value']:.2g}" in text
    assert "The energy of a decision is not compared" in text


def test_systems_of_other_data_places_or_none_are_refused(
    with_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "reports" / "example"
    shutil.copytree(with_two, run)
    monkeypatch.chdir(tmp_path)
    door = next(one for one in store.load_run(run) if one.variant.net == "door")
    path = run / "records" / f"{door.id}.json"

    def compared(*words: str, status: int = 2, **change: object) -> str:
        path.unlink(missing_ok=True)
        store.save(door.replace(**change), run)
        assert main(["system", "compare", *(words or ("pair", "door"))]) == status
        told = capsys.readouterr()
        return told.out + told.err

    accuracy = door.accuracy
    assert not isinstance(accuracy, Absent)
    assert "there is no system in the run example named 'dor'. Did you mean door" in compared("pair", "dor")
    assert "door and door (computed) are one row" in compared("door", "door (computed)")
    other_data = compared(accuracy=accuracy.replace(dataset_digest="0" * 64))
    assert "cannot be compared: they differ in digest of the data" in other_data
    other_rule = compared(accuracy=accuracy.replace(threshold_rule="apcer<=5 %@dev"))
    assert "they differ in threshold: eer@dev and apcer<=5 %@dev" in other_rule
    threads = door.runtime.replace(threads=4)
    elsewhere = compared(status=0, runtime=threads)
    assert "The time of a decision is not compared: they differ in threads: 1 and 4." in elsewhere
    assert door.decision is not None
    measured = compared(status=0, decision=door.decision.replace(basis="measured"))
    assert "The time of a decision is not compared: one is measured, the other computed" in measured
    other_scores = compared(accuracy=accuracy.replace(scores_sha256="0" * 64))
    assert "the scores of door (computed) are not in" in other_scores
    shutil.rmtree(run)
    assert main(["system", "compare", "pair", "door"]) == 2
    assert "there is no run to take pair from" in capsys.readouterr().err


def test_a_system_file_of_someone_else_is_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in (
        ('name = "../x"\nmembers = [{file = "a.onnx"}]', "is not a plain file name"),
        ('name = "x"\nmembers = [{file = "/etc/passwd"}]', "is not a plain file name"),
        ('name = "x"\nmembers = []', "at least 1 item"),
        ('name = "x"\nmargn = 1\nmembers = [{file = "a.onnx"}]', "did you mean margin?"),
        ('name = "x"\nrule = "cascade"\nmembers = [{file = "a.onnx"}]', "belong together"),
        ('name = "x"\nmembers = [{file = "a.onnx", weight = -1}]', "greater than or equal to 0"),
        ('name = "x"\nmembers = [{file = "a.onnx", weight = 0}]', "no member decides"),
        ('name = "x"\nmembers = [{file = "a.onnx"}]\n[frames]\ncount = 100000', "less than or equal to 1000"),
        ('name = "x"\nmembers = [{file = "a.onnx"}]', "has no frozen threshold"),
        ("name = ", "x.toml"),
    ):
        path = tmp_path / "x.toml"
        path.write_text(text, encoding="utf-8")
        assert main(["run", "--system", str(path)]) == 2, text
        assert message in capsys.readouterr().err, text


CARD = """
name = "{name}"
[preprocessing]
width_px = 8
height_px = 8
crop_scale = {crop}
scale = 1.0
mean = 128.0
[output]
kind = "logits"
bona_fide_index = 1
"""


@pytest.mark.slow
def test_files_without_records_are_measured_and_a_system_runs_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    write_red_faces(tmp_path / "faces")
    contents = (red_less_blue(saturated_by=30.0), *red_parts())  # another crop, then a network in two parts
    files = ["small.onnx", "large_1.onnx", "large_2.onnx"]
    for file, content, crop in zip(files, contents, (1.6, 1.0, 1.0), strict=True):
        reads = '[reads]\ncard = "large_1"' if file == "large_2.onnx" else ""
        card = CARD.format(name=file.removesuffix(".onnx"), crop=crop) + reads
        (tmp_path / file).write_bytes(content)
        (tmp_path / file).with_suffix(".toml").write_text(card, encoding="utf-8")
    data = ["--data", "faces/manifest.csv"]
    assert main(["system", "cascade", *files, *data, "--name", "door", "--target", "acer<=5 %"]) in {0, 3}
    assert "measured first" in capsys.readouterr().err
    (system,) = tmp_path.glob("reports/*/systems/door.toml")
    shutil.copy(system, tmp_path / "door.toml")
    argv = ["run", "--system", "door.toml", *data, "--name", "whole", "--budget", "1", "--window", "1"]
    assert main(argv) in {0, 3}
    assert "door (measured): a decision takes" in capsys.readouterr().err
    records = {one.artifact: one for one in store.load_run(tmp_path / "reports" / "whole")}
    record = records["door.toml"]
    decision = record.decision
    assert decision is not None
    assert [member.reads for member in decision.system.members] == ["", "", "features"]
    assert decision.timed is not None
    assert decision.system == read_system(system)  # on the data that chose it, its rule is its own
    taken = {
        tuple(one[2:]) for worker in decision.timed.workers for part in worker.decisions or () for one in part
    }
    assert taken <= {(1, 0, 0), (1, 1, 0), (1, 1, 1)}
    assert "system_decides_otherwise" not in {doubt.code for doubt in record.doubts}
    assert decision.computed_time_ns is not None
    assert not list(tmp_path.glob("reports/whole/systems/*.job.json"))
    # a part is a file of its own in speed and weight, and decides nothing alone
    part = records["large_2.onnx"]
    assert part.accuracy == Absent(
        absent="it is a part of a network and decides nothing without large_1",
        remedy="Let the parts decide together: swapbench system cascade PART_1 PART_2",
    )
    assert not isinstance(part.speed, Absent)
    assert part.speed.input == "random"
    weights = [records[file].weight for file in files]
    assert not isinstance(record.weight, Absent)
    assert record.weight.macs == sum(one.macs for one in weights if not isinstance(one, Absent))
    for wrong, message in (
        (["cascade", *files[::-1]], "features of large_1, which must be named right before it"),
        (["fuse", *files], "large_2.onnx is a part of a network, which decides in a cascade only"),
        (["frames", "large_2.onnx"], "must be named right before it"),
    ):
        assert main(["system", *wrong]) == 2
        assert message in capsys.readouterr().err
    small = decision.system.replace(members=(decision.system.members[0].replace(file="gone.onnx"),) * 2)
    write_system(small, tmp_path / "gone.toml")
    assert main(["run", "--system", "gone.toml", *data]) == 2
    assert "there is no file gone.onnx" in capsys.readouterr().err
