"""The public Python face: what a notebook does with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import swapbench as sb
from swapbench.errors import BadDataset, BadRecord, UnknownName, UserError
from swapbench.pad.rates import apcer_by_species, eer_threshold
from swapbench.report.tables.columns import COLUMNS

pytestmark = pytest.mark.usefixtures("few_rounds")

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "reports" / "example"


@pytest.fixture(scope="module")
def run() -> sb.Run:
    return sb.load(EXAMPLE)


@pytest.fixture
def two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one network as net.onnx and net.tflite."""
    tiny_files = pytest.importorskip("tiny_files")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(tiny_files.small_onnx())
    (tmp_path / "net.tflite").write_bytes(tiny_files.small_tflite().bytes())
    return tmp_path


def test_importing_it_imports_nothing_heavy() -> None:
    program = "import sys, swapbench; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pandas", "matplotlib", "onnxruntime", "torch", "pydantic", "typer", "rich", "onnx"}
    assert not heavy & set(loaded.stdout.split())


def test_its_names_are_those_that_it_promises() -> None:
    promised = {"load", "measure", "compare", "metrics", "side_by_side"}
    promised |= {"Run", "Figure", "Errors", "__version__"}
    assert set(sb.__all__) == promised
    assert promised <= set(dir(sb))
    assert all(hasattr(sb, name) for name in promised)
    with pytest.raises(AttributeError, match="has no attribute 'mesure'"):
        _ = sb.mesure


# ---- Runs ----


def test_a_frame_has_a_row_a_record_in_the_order_of_the_table(run: sb.Run) -> None:
    frame = run.frame()
    assert len(frame) == len(run.records) == 24
    assert list(frame["label"]) == [row.label for row in run.table.rows]
    fields = {field for column in COLUMNS.values() for field in column.fields}
    assert fields - set(frame.columns) <= {"machine"}
    row = frame[frame["label"] == "minifasnet_v2.int8.tflite"].iloc[0]
    record = next(one for one in run.records if one.artifact == "minifasnet_v2.int8.tflite")
    assert row["acer"] == record.accuracy.acer
    assert row["acer_low"] == record.accuracy.acer_interval.low
    assert row["file_bytes"] == record.weight.file_bytes


def test_a_number_that_was_not_measured_is_missing_with_its_reason(run: sb.Run) -> None:
    frame = run.frame()
    assert frame["energy_above_idle_uj"].isna().all()
    assert frame["missing"].str.contains("power: ").all()


def test_a_frame_of_chosen_columns_has_their_intervals(run: sb.Run) -> None:
    frame = run.frame("latency_p50,acer")
    expected = [
        "latency_p50_ns",
        "latency_p50_low_ns",
        "latency_p50_high_ns",
        "acer",
        "acer_low",
        "acer_high",
    ]
    assert [name for name in frame.columns if name in expected] == expected
    assert "file_bytes" not in frame.columns
    with pytest.raises(UnknownName, match="latency_p51"):
        run.frame("latency_p51")


def test_the_front_is_that_of_the_figure(run: sb.Run) -> None:
    front = run.pareto(x="latency_p50", y="acer")
    drawn = pd.read_csv(pd.io.common.BytesIO(run.figure("pareto").files["csv"]))
    assert len(front) == 24
    assert front.set_index("file")["on_front"].to_dict() == drawn.set_index("label")["on_front"].to_dict()
    assert front["data_simulated"].all()


def test_a_front_says_why_a_file_could_not_be_judged(run: sb.Run) -> None:
    front = run.pareto(x="energy", y="acer")
    assert front["on_front"].isna().all()
    assert front["missing"].str.startswith("no Energy above idle: ").all()


def test_a_front_of_texts_is_refused(run: sb.Run) -> None:
    with pytest.raises(UserError, match="runtime"):
        run.pareto(x="runtime", y="acer")


def test_a_figure_is_shown_and_saved(run: sb.Run, tmp_path: Path) -> None:
    figure = run.figure("swap")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "<svg" in figure._repr_svg_()
    paths = figure.save(tmp_path / "paper")
    suffixes = ("png", "svg", "pdf", "csv", "txt", "tex")
    assert {path.name for path in paths} == {f"swap.{suffix}" for suffix in suffixes}
    assert all(path.read_bytes() == figure.files[path.suffix[1:]] for path in paths)


def test_a_figure_that_cannot_be_drawn_says_why(run: sb.Run) -> None:
    with pytest.raises(UserError, match="no pareto figure: no record has both Energy above idle and ACER"):
        run.figure("pareto", x="energy", y="acer")


def test_a_notebook_shows_the_table_and_that_data_are_simulated(run: sb.Run) -> None:
    html = run._repr_html_()
    assert html.startswith("<table>")
    assert "<script" not in html
    assert "Simulated data: not PAD performance." in html
    assert str(run).startswith("# swapbench report")
    assert repr(run) == f"<Run of 24 records: {EXAMPLE}>"


def test_what_cannot_be_loaded_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="holds no records"):
        sb.load(tmp_path)
    with pytest.raises(UnknownName, match="resnet18"):
        sb.load(EXAMPLE, relative_to="resnet18")
    with pytest.raises(UserError, match="no run was named"):
        sb.load()


# ---- Measuring ----


def test_files_are_measured_into_a_run(two_files: Path) -> None:
    stages: list[str] = []
    run = sb.measure(
        ["net.onnx", Path("net.tflite"), "none.onnx"],
        budget_s=1,
        name="mine",
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert sorted(run.frame()["label"]) == ["net.onnx", "net.tflite"]
    assert [name for name, _ in run.failures] == ["none.onnx"]
    assert run.folders == (two_files / "reports" / "mine",) or run.folders == (Path("reports/mine"),)
    assert "timing" in stages
    assert list(sb.load("reports/mine").frame()["label"]) == list(run.frame()["label"])


def test_where_nothing_can_be_measured_the_first_error_is_raised(two_files: Path) -> None:
    with pytest.raises(UserError, match=r"none\.onnx"):
        sb.measure("none.onnx", budget_s=1)
    with pytest.raises(UserError, match="no files were named"):
        sb.measure([])
    with pytest.raises(UserError, match="a budget of 0 s"):
        sb.measure("net.onnx", budget_s=0)


def test_two_files_are_compared(two_files: Path) -> None:
    result = sb.compare("net.onnx", "net.onnx", budget_s=1)
    assert result.verdict in {"PASS", "INCONCLUSIVE"}
    assert {check.model for check in result.checks} == {"net.onnx"}


# ---- Error rates ----


def test_error_rates_at_a_given_threshold_worked_out_by_hand() -> None:
    scores = [0.9, 0.8, 0.4, 0.7, 0.2, 0.1, 0.6, 0.3]
    labels = [1, 1, 1, 1, 0, 0, 0, 0]
    species = ["", "", "", "", "print", "print", "replay", "replay"]
    errors = sb.metrics(scores, labels, species=species, threshold=0.5)
    assert errors.bpcer is not None
    assert (errors.bpcer.errors, errors.bpcer.trials) == (1, 4)
    assert {name: one.rate for name, one in errors.apcer_by_species.items()} == {"print": 0.0, "replay": 0.5}
    assert errors.apcer == 0.5
    assert errors.acer == (0.5 + 0.25) / 2
    assert errors.threshold == 0.5
    # of 16 pairs of bona fide and attack only (0.4, 0.6) is in the wrong order
    assert errors.auc == 15 / 16


def test_the_threshold_is_frozen_on_development_scores() -> None:
    random = np.random.default_rng(1)
    labels, dev_labels = random.random(300) < 0.5, random.random(200) < 0.5
    scores, dev_scores = random.normal(labels * 1.0, 1.0), random.normal(dev_labels * 1.0, 1.0)
    species = np.where(random.random(300) < 0.5, "print", "replay")
    errors = sb.metrics(scores, labels, species=species, dev=(dev_scores, dev_labels))
    frozen = eer_threshold(dev_scores[dev_labels], dev_scores[~dev_labels]).threshold
    assert errors.threshold == frozen
    attacks = {name: scores[~labels & (species == name)] for name in ("print", "replay")}
    assert errors.apcer == max(apcer_by_species(frozen, attacks).values())
    assert errors.acer_interval is not None


def test_without_a_threshold_there_are_only_rates_that_need_none() -> None:
    errors = sb.metrics([0.9, 0.1, 0.8, 0.3], ["bona_fide", "attack", "Live", "spoof"])
    assert (errors.threshold, errors.apcer, errors.bpcer, errors.acer) == (None, None, None, None)
    assert errors.apcer_by_species == {}
    assert (errors.eer, errors.auc) == (0.0, 1.0)
    assert [text.partition(":")[0] for text in errors.remarks] == ["no subjects", "no species"]
    frame = errors.frame()
    assert list(frame.columns) == ["name", "value", "unit", "low", "high", "note"]
    assert "AUC: 100.00 %" in str(errors)
    assert "<table" in errors._repr_html_()


def test_frames_of_a_presentation_are_one_trial() -> None:
    errors = sb.metrics(
        [0.9, 0.1, 0.2, 0.2], [1, 1, 0, 0], presentations=["a", "a", "b", "b"], threshold=0.45
    )
    assert errors.bpcer is not None
    assert (errors.bpcer.errors, errors.bpcer.trials) == (0, 1)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"labels": [1, 2]}, UserError, "'2' is not a label"),
        ({"labels": [1, 0, 0]}, BadDataset, "shapes"),
        ({"labels": [1, 1]}, BadDataset, "no attack presentation"),
        ({"labels": [1, 0], "threshold": 0.5, "dev": ([1.0, 0.0], [1, 0])}, UserError, "exclude each other"),
        ({"labels": [1, 0], "species": ["", ""]}, BadDataset, "species"),
        ({"labels": [1, 0], "species": [None, None]}, BadDataset, "1 of 2 species are missing"),
        ({"labels": [1, 0], "subjects": ["a", None]}, BadDataset, "1 of 2 subjects are missing"),
        ({"labels": [1, 0], "subjects": [1.0, float("nan")]}, BadDataset, "1 of 2 subjects are missing"),
        ({"labels": [1, 0], "dev": ([1.0], [1], ["a"])}, UserError, "dev is not a pair"),
    ],
)
def test_arrays_that_mean_nothing_are_refused(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        sb.metrics([0.9, 0.1], **options)


@pytest.mark.parametrize(
    "scores", [["a", "b"], [[1.0], [1.0, 2.0]], np.array([1, 2], "datetime64[s]"), np.array([1j, 2j])]
)
def test_scores_that_are_not_numbers_are_refused(scores: Any) -> None:
    with pytest.raises(UserError, match="the scores are not numbers"):
        sb.metrics(scores, [1, 0])


def test_a_masked_score_is_a_failure_to_acquire() -> None:
    masked = np.ma.masked_array([0.9, 0.8, 0.1, 0.2], mask=[False, True, False, False])
    assert sb.metrics(masked, [1, 1, 0, 0]).rates.failures_by_class == {"bona_fide": 1, "attack": 0}


# ---- The page about it ----


@pytest.mark.slow
def test_every_block_of_the_notebook_page_runs(two_files: Path) -> None:
    (two_files / "reports").mkdir()
    (two_files / "reports" / "demo").symlink_to(EXAMPLE)
    text = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 9
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/notebook.md", "exec"), names)
    assert names["front"]["on_front"].any()
    assert set(names["measured"].frame()["label"]) == {"net.onnx", "net.tflite"}
    assert names["result"].verdict in {"PASS", "INCONCLUSIVE"}
    assert Path("paper/pareto.pdf").is_file()
    assert names["errors"].apcer is not None
