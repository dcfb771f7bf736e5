"""The order of work of a run, on a device whose numbers are known by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from swapbench import bench, store
from swapbench.bench import experiment
from swapbench.bench.draft import Draft, set_aside_drafts
from swapbench.data.dataset import Dataset
from swapbench.data.manifests import COLUMNS
from swapbench.data.preprocess import Prepared
from swapbench.errors import DeviceFailed, NotValid, WorkerFailed
from swapbench.modelfile import Graph, Tensor
from swapbench.pad.evaluation import Evaluation
from swapbench.pad.score_files import read_score_file
from swapbench.ports import Outputs, OutputTensor
from swapbench.records import (
    Absent,
    Machine,
    ModelCard,
    OutputMeaning,
    PhoneState,
    Plan,
    Preprocessing,
    Record,
    Variant,
)
from swapbench.runtimes.ort import OnnxRuntime
from swapbench.testing import Fake, FakeMeter, FakeModel

NO_METER = Absent(absent="no counter here", remedy="none")
PLAN = Plan(min_rounds=2, max_rounds=2, slices_per_round=2, time_budget_s=1, power_window_s=1)
PARITY = Absent(absent="not compared")
CARD = ModelCard(
    name="net",
    summary="a test",
    family="none",
    architecture={},
    checkpoint="",
    checkpoint_sha256="",
    preprocessing=Preprocessing(width_px=16, height_px=16, crop_scale=1.0),
    output=OutputMeaning(kind="probabilities", bona_fide_index=1),
)


def graph(file_bytes: int = 1000) -> Graph:
    return Graph(
        format="onnx",
        inputs=(Tensor("input", (1, 3, 16, 16), "float32"),),
        outputs=(Tensor("p", (1, 2), "float32"),),
        file_bytes=file_bytes,
        params=10,
        macs=100,
        ops={"Conv": 1},
        uncounted_ops=(),
        precision="fp32",
        layout="nchw",
    )


def under_test(folder: Path, name: str, card: ModelCard | None = CARD) -> experiment.ModelUnderTest:
    path = folder / f"{name}.onnx"
    path.write_bytes(name.encode())
    import hashlib

    return experiment.ModelUnderTest(
        variant=Variant(net=name, precision="fp32", format="onnx"),
        path=path,
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        graph=graph(),
        runtime=OnnxRuntime(),
        card=card,
        parity=PARITY,
    )


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """dev: 2 bona fide, 2 print; test: 4 bona fide, 4 print, 4 replay; one face a subject."""
    root = tmp_path / "data"
    root.mkdir()
    for split, kinds in (
        ("dev", {"": 2, "print": 2}),
        ("test", {"": 4, "print": 4, "replay": 4}),
    ):
        with (root / f"manifest-{split}.csv").open("w", newline="") as file:
            rows = csv.DictWriter(file, COLUMNS)
            rows.writeheader()
            for species, count in kinds.items():
                for number in range(count):
                    name = f"{split}-{species or 'live'}-{number}.png"
                    Image.fromarray(np.full((16, 16, 3), number * 10, np.uint8)).save(root / name)
                    rows.writerow(
                        dict.fromkeys(COLUMNS, "")
                        | {
                            "path": name,
                            "frame": 0,
                            "subject": f"{split}{number}",
                            "label": "attack" if species else "bona_fide",
                            "species": species,
                            "split": split,
                        }
                    )
    (root / "dataset.json").write_text(json.dumps({"name": "tiny", "simulated": True, "notice": "not real"}))
    found = Dataset.load(root, ("dev", "test"))
    return Evaluation((found,), tmp_path / "cache", 1, faces="frame")


SCORES = [
    *(0.9, 0.8),  # dev bona fide
    *(0.1, 0.2),  # dev print: the EER threshold is 0.8, where both rates are 0
    *(0.9, 0.9, 0.8, 0.7),  # test bona fide: 0.8 is on the threshold and accepted, 0.7 is rejected
    *(0.1, 0.1, 0.1, 0.9),  # test print: 1 of 4 accepted
    *(0.9, 0.9, 0.1, 0.1),  # test replay: 2 of 4 accepted
]
ROWS = tuple((1 - score, score) for score in SCORES)


def quiet(stage: str, done: float, total: float) -> None:
    assert 0 <= done <= total, stage


def run(
    models_under_test: list[experiment.ModelUnderTest],
    device: Fake,
    evaluation: Evaluation | None,
    folder: Path,
    **more: Any,
) -> experiment.Outcome:
    sleep = more.pop("sleep", time.sleep)
    setup = experiment.Setup(device, more.pop("meters", NO_METER), PLAN, evaluation, **more)
    return experiment.run(models_under_test, setup, folder, progress=quiet, sleep=sleep)


def test_crops_that_leave_the_frame_are_counted_among_the_test_frames(evaluation: Evaluation) -> None:
    outputs = Outputs(ROWS, invoke_ns=1, pass_ns=1)
    folds = evaluation.fold_frames(outputs, CARD.output, {})
    # the first four of 16 are of the development split
    prepared = Prepared(Path("crops.npy"), {}, at_border=frozenset((3, 4, 15)))
    accuracy = evaluation.accuracy(folds, outputs, CARD.preprocessing, prepared, confidence=0.95, seed=0)
    assert accuracy.crops_at_border == 2


@pytest.mark.parametrize("expression", ["sum(y)", "y[0] - y[1]", "y[0]"])
def test_a_frame_without_a_crop_has_no_score_whatever_the_score_is_made_of(
    evaluation: Evaluation, expression: str
) -> None:
    outputs = Outputs(ROWS, invoke_ns=1, pass_ns=1, tensors=(OutputTensor("y", (1, 2)),))
    meaning = OutputMeaning(kind="expression", expression=expression)
    (fold,) = evaluation.fold_frames(outputs, meaning, {5: "no face"})
    assert np.flatnonzero(np.isnan(fold.test.score)).tolist() == [1]  # the first four are of development


def test_a_record_holds_what_was_programmed(tmp_path: Path, evaluation: Evaluation) -> None:
    device = Fake({"net.onnx": FakeModel(run_ns=10_000_000, rows=ROWS, peak_rss_bytes=77_000_000)})
    outcome = run([under_test(tmp_path, "net")], device, evaluation, tmp_path / "run")
    (record,) = outcome.records
    assert outcome.failures == ()
    assert {ns for worker in record.speed.workers for ns in worker.runs_ns} == {10_000_000}
    assert len(record.speed.workers) == 2
    assert record.weight.peak_memory.peak_bytes == 77_000_000
    accuracy = record.accuracy
    assert accuracy.threshold == pytest.approx(0.8)
    assert accuracy.bpcer.errors == 1
    assert accuracy.bpcer.trials == 4
    assert {name: one.errors for name, one in accuracy.apcer_by_species.items()} == {"print": 1, "replay": 2}
    assert accuracy.apcer == 0.5  # the worst species, not 3 of 8
    assert accuracy.acer == pytest.approx(0.375)
    assert accuracy.simulated
    assert accuracy.hter == pytest.approx((3 / 8 + 1 / 4) / 2)  # the FAR is pooled over species
    assert (accuracy.frames, accuracy.frames_without_score, accuracy.subjects) == (12, 0, 4)
    assert accuracy.crops_at_border == 0  # whole frames
    assert accuracy.faces == "frame"
    assert accuracy.basis == (
        (
            "The card was not checked: the development split has only 2 usable"
            " presentations of a class, 8 are needed."
        ),
    )
    assert record.power == NO_METER
    assert "emulated_device" in {doubt.code for doubt in record.doubts}
    assert not record.valid


def test_the_score_of_every_frame_is_kept_beside_the_records(tmp_path: Path, evaluation: Evaluation) -> None:
    device = Fake({"net.onnx": FakeModel(rows=ROWS)})
    outcome = run([under_test(tmp_path, "net")], device, evaluation, tmp_path / "run")
    (fold,) = read_score_file(store.scores_path(tmp_path / "run", outcome.records[0].id)).folds
    assert fold.dev is not None
    assert [*fold.dev.score, *fold.test.score] == pytest.approx(SCORES)


def test_each_fold_has_its_own_threshold_and_a_shared_frame_is_scored_once(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    (whole,) = evaluation.folds
    folds = []
    for name in ("1", "2"):
        test = [one for one in whole.samples("test") if name == "2" or one.species != "replay"]
        folds.append(
            dataclasses.replace(
                whole,
                fold=name,
                protocol="by hand",
                splits={"dev": whole.samples("dev"), "test": tuple(test)},
            )
        )
    both = dataclasses.replace(evaluation, folds=tuple(folds))
    assert len(both.samples) == len(SCORES)
    device = Fake({"net.onnx": FakeModel(rows=ROWS)})
    (record,) = run([under_test(tmp_path, "net")], device, both, tmp_path / "run").records
    accuracy = record.accuracy
    assert accuracy.threshold is None
    # fold 1: print 1 of 4, bona fide 1 of 4; fold 2 adds replay, 2 of 4
    assert [one.acer for one in accuracy.folds] == pytest.approx([0.25, 0.375])
    assert accuracy.acer == pytest.approx(0.3125)
    assert accuracy.acer_sd == pytest.approx(0.0883883, rel=1e-5)
    assert accuracy.protocol == "by hand"


def test_energy_above_idle_is_what_the_arithmetic_says(tmp_path: Path) -> None:
    from swapbench.stats import energy_per_run

    device = Fake({"net.onnx": FakeModel(run_ns=10_000_000)})
    meter = FakeMeter(device.clock, idle_w=1.0, busy_w=2.0)
    outcome = run(
        [under_test(tmp_path, "net", None)],
        device,
        None,
        tmp_path / "run",
        meters=(meter,),
        sleep=device.clock.sleep,
    )
    (record,) = outcome.records
    assert outcome.failures == ()
    energy = energy_per_run(record.power[0])
    assert energy.above_idle_uj == pytest.approx(10_000, rel=1e-6)
    assert energy.gross_uj == pytest.approx(20_000, rel=1e-6)


def test_one_file_that_fails_does_not_stop_the_others(tmp_path: Path, evaluation: Evaluation) -> None:
    device = Fake(
        {"good.onnx": FakeModel(rows=ROWS), "bad.onnx": FakeModel(rows=ROWS, dies_in=frozenset({0, 1, 2, 3}))}
    )
    outcome = run(
        [under_test(tmp_path, "bad"), under_test(tmp_path, "good")], device, evaluation, tmp_path / "run"
    )
    assert [record.variant.net for record in outcome.records] == ["good"]
    assert [name for name, _ in outcome.failures] == ["bad.onnx"]
    assert isinstance(outcome.failures[0][1], WorkerFailed)
    assert experiment.read_about(tmp_path / "run")["finished"] is False
    assert device.open_workers == 0


class Interrupts(Fake):
    """Ctrl-C while the second file is being scored."""

    scored = 0

    def start(self, argv: Any) -> Any:
        if "score" in argv:
            self.scored += 1
            if self.scored == 2:
                raise KeyboardInterrupt
        return super().start(argv)


def test_an_interrupted_run_keeps_what_it_finished_and_goes_on_from_there(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    models = {"a.onnx": FakeModel(rows=ROWS), "b.onnx": FakeModel(rows=ROWS)}
    models_under_test = [under_test(tmp_path, "a"), under_test(tmp_path, "b")]
    folder = tmp_path / "run"
    interrupted = Interrupts(models)
    with pytest.raises(KeyboardInterrupt):
        run(models_under_test, interrupted, evaluation, folder)
    kept = store.load_run(folder)
    assert interrupted.open_workers == 0
    assert [record.variant.net for record in kept] == ["a"]
    wanted = experiment.description(models_under_test, experiment.Setup(Fake({}), NO_METER, PLAN, evaluation))
    assert experiment.unfinished(folder, wanted)
    device = Fake(models)
    outcome = run(models_under_test, device, evaluation, folder)
    assert [record.variant.net for record in outcome.records] == ["a", "b"]
    assert outcome.records[0] == kept[0]
    assert outcome.resumed == 1
    assert not any("a.onnx" in argv for argv in device.asked)
    assert not experiment.unfinished(folder, wanted)


def test_a_file_is_scored_once(tmp_path: Path, evaluation: Evaluation) -> None:
    models = {"net.onnx": FakeModel(rows=ROWS)}
    first, second = Fake(models), Fake(models)
    once = run([under_test(tmp_path, "net")], first, evaluation, tmp_path / "one")
    again = run([under_test(tmp_path, "net")], second, evaluation, tmp_path / "two")
    assert sum("score" in argv for argv in first.asked) == 1
    assert sum("score" in argv for argv in second.asked) == 0
    assert again.records[0].accuracy == once.records[0].accuracy


def test_a_damaged_score_cache_is_not_believed(tmp_path: Path, evaluation: Evaluation) -> None:
    models = {"net.onnx": FakeModel(rows=ROWS)}
    once = run([under_test(tmp_path, "net")], Fake(models), evaluation, tmp_path / "one")
    (kept,) = (evaluation.cache / "scores").glob("*.json")
    kept.write_text(kept.read_text()[:100])
    device = Fake(models)
    again = run([under_test(tmp_path, "net")], device, evaluation, tmp_path / "two")
    assert sum("score" in argv for argv in device.asked) == 1
    assert again.records[0].accuracy == once.records[0].accuracy


def test_a_file_without_a_card_has_no_accuracy_and_says_why(tmp_path: Path, evaluation: Evaluation) -> None:
    device = Fake({"net.onnx": FakeModel(fed_with="random")})
    outcome = run([under_test(tmp_path, "net", None)], device, evaluation, tmp_path / "run")
    assert outcome.records[0].accuracy == experiment.NO_CARD
    assert outcome.records[0].speed.input == "random"


def test_an_unreadable_image_is_a_failure_to_acquire_not_a_score(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    (evaluation.folds[0].root / "test-live-3.png").write_bytes(b"no image")
    device = Fake({"net.onnx": FakeModel(rows=ROWS)})
    outcome = run([under_test(tmp_path, "net")], device, evaluation, tmp_path / "run")
    accuracy = outcome.records[0].accuracy
    assert accuracy.failures_to_acquire == 1
    assert accuracy.bpcer.trials == 3
    assert accuracy.bpcer.errors == 0  # the one that was rejected is the one that could not be read


def test_a_network_that_answers_nan_loses_its_accuracy_and_keeps_its_speed(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    rows = ((float("nan"), float("nan")), *ROWS[1:])
    device = Fake({"net.onnx": FakeModel(rows=rows)})
    outcome = run([under_test(tmp_path, "net")], device, evaluation, tmp_path / "run")
    (record,) = outcome.records
    assert isinstance(record.accuracy, Absent)
    assert not isinstance(record.speed, Absent)


def test_records_of_equal_names_and_different_content_do_not_meet(tmp_path: Path) -> None:
    one = under_test(tmp_path, "net")
    assert one.record_id != dataclasses.replace(one, sha256="0" * 64).record_id


def test_a_record_id_is_a_safe_file_name_whatever_the_model_is_called(tmp_path: Path) -> None:
    odd = dataclasses.replace(
        under_test(tmp_path, "net"), variant=Variant(net="../a b'\"ä", precision="fp32", format="onnx")
    )
    assert "/" not in odd.record_id
    assert odd.record_id == odd.record_id.encode("ascii").decode()
    assert not odd.record_id.startswith(".")


class Phone(Fake):
    """A device that tells its state, hotter every time, and that can be gone."""

    described = 0
    gone = False

    def describe(self) -> Machine:
        if self.gone:
            raise DeviceFailed("phone X is not attached")
        self.described += 1
        state = PhoneState(thermal_status=0, surface_c=30.0 + self.described, charging=False, plugged=())
        changed = {"state": state, "state_before": state.model_copy(update={"thermal_status": 0})}
        return super().describe().model_copy(update=changed)


def test_every_record_of_a_phone_holds_the_state_after_its_own_passes(tmp_path: Path) -> None:
    device = Phone({"a.onnx": FakeModel(), "b.onnx": FakeModel()})
    outcome = run(
        [under_test(tmp_path, "a", None), under_test(tmp_path, "b", None)], device, None, tmp_path / "run"
    )
    assert [record.machine.state.surface_c for record in outcome.records] == [32.0, 33.0]
    assert "on_battery" not in {one.code for record in outcome.records for one in record.doubts}


def test_a_phone_that_is_gone_ends_the_run_and_one_that_stays_goes_on_with_the_others(tmp_path: Path) -> None:
    class Refusing(Phone):
        def push(self, path: Path) -> str:
            if path.name == "b.onnx":
                raise DeviceFailed("the storage of phone X is full")
            return super().push(path)

    device = Refusing({"a.onnx": FakeModel(), "b.onnx": FakeModel()})
    both = [under_test(tmp_path, "a", None), under_test(tmp_path, "b", None)]
    outcome = run(both, device, None, tmp_path / "run")
    assert [record.artifact for record in outcome.records] == ["a.onnx"]
    assert [name for name, _ in outcome.failures] == ["b.onnx"]
    device.gone = True
    with pytest.raises(DeviceFailed, match="phone X is not attached"):
        run(both, device, None, tmp_path / "again")


def test_scores_of_another_device_are_held_against_those_here(tmp_path: Path, evaluation: Evaluation) -> None:
    flipped = (*ROWS[:-1], tuple(reversed(ROWS[-1])))
    device = Fake({"net.onnx": FakeModel(rows=flipped)})
    here = Fake({"net.onnx": FakeModel(rows=ROWS)})
    desktop = bench.Desktop(here, {"fake": OnnxRuntime()})
    outcome = run([under_test(tmp_path, "net")], device, evaluation, tmp_path / "run", desktop=desktop)
    (record,) = outcome.records
    parity = record.device_parity
    # the EER threshold .8 of dev, moved half way to .2; of 16 frames the last one, .1, is .9 there
    assert (parity.samples, parity.decision_flips, parity.threshold) == (16, 1, pytest.approx(0.5))
    assert parity.max_abs_difference == pytest.approx(0.8)
    assert "differs_from_desktop" in {one.code for one in record.doubts}
    # kept: a second run scores nothing here
    asked = len(here.asked)
    run([under_test(tmp_path, "net")], device, evaluation, tmp_path / "run2", desktop=desktop)
    assert len(here.asked) == asked


def test_where_this_computer_cannot_score_the_reason_is_kept(tmp_path: Path, evaluation: Evaluation) -> None:
    desktop = bench.Desktop(Fake({}), {"fake": OnnxRuntime()})
    device = Fake({"net.onnx": FakeModel(rows=ROWS)})
    (record,) = run(
        [under_test(tmp_path, "net")], device, evaluation, tmp_path / "run", desktop=desktop
    ).records
    assert "this computer cannot score the file" in record.device_parity.absent


def test_a_frame_rate_and_a_long_run_stand_in_the_record(tmp_path: Path) -> None:
    device = Fake({"net.onnx": FakeModel(run_ns=10_000_000)})
    plan = PLAN.model_copy(update={"fps": 15.0})
    meter = FakeMeter(device.clock)
    setup = experiment.Setup(device, [meter], plan, sustained_s=2.0)
    outcome = experiment.run(
        [under_test(tmp_path, "net", None)],
        setup,
        tmp_path / "run",
        progress=quiet,
        sleep=device.clock.sleep,
    )
    (record,) = outcome.records
    assert len(record.paced.workers) == 6
    assert record.sustained.points[0].p50_ns == 10_000_000
    paced = [argv for argv in device.asked if "--fps" in argv]
    assert len(paced) == 7  # six rounds of paced times, and energy
    assert isinstance(record.power, tuple)


def test_another_setup_is_another_run(tmp_path: Path) -> None:
    one = [under_test(tmp_path, "net")]
    phone = experiment.Setup(Fake({}, name="pixel7"), NO_METER, PLAN)
    plain = experiment.description(one, phone)
    assert plain == {"artifacts": plain["artifacts"], "plan": plain["plan"], "device": "pixel7", "data": None}
    big, little = (
        experiment.description(one, dataclasses.replace(phone, settings={"cores": which}))
        for which in ("big", "little")
    )
    assert len({json.dumps(found) for found in (plain, big, little)}) == 3


def test_an_invalid_value_is_refused_before_it_reaches_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Fake({"good.onnx": FakeModel(), "bad.onnx": FakeModel()})
    good, bad = (under_test(tmp_path, name, None) for name in ("good", "bad"))

    def sustained(file: bench.FileUnderTest, *_: object, **__: object) -> object:
        return Absent(absent="tired") if file.name == good.record_id else "fast"

    monkeypatch.setattr("swapbench.bench.experiment.bench.measure_sustained", sustained)
    outcome = run([bad, good], device, None, tmp_path / "run", sustained_s=1.0)
    assert [record.variant.net for record in outcome.records] == ["good"]
    ((name, failure),) = outcome.failures
    assert name == "bad.onnx"
    assert isinstance(failure, NotValid)
    assert str(failure).startswith("the record of bad.onnx is not valid at sustained")
    assert [path.stem for path in (tmp_path / "run" / "records").iterdir()] == [good.record_id]
    assert experiment.read_about(tmp_path / "run")["finished"] is False


def test_a_changed_copy_is_validated_and_keeps_what_was_not_stated() -> None:
    assert Plan(fps=15.0).replace(threads=2) == Plan(fps=15.0, threads=2)
    stated = CARD.preprocessing.model_fields_set
    assert CARD.preprocessing.replace(width_px=32).model_fields_set == stated
    with pytest.raises(ValidationError, match="fps"):
        Plan().replace(fps=-1.0)
    with pytest.raises(ValidationError, match="no_such_field"):
        Plan().replace(no_such_field=1)


def test_no_module_copies_a_value_without_validating_it() -> None:
    sources = Path(experiment.__file__).parents[1].rglob("*.py")
    copying = [path.name for path in sources if ".model_copy(" in path.read_text(encoding="utf-8")]
    assert copying == []


def test_a_draft_that_was_set_aside_comes_back_as_it_was(tmp_path: Path) -> None:
    (record,) = run(
        [under_test(tmp_path, "net")], Fake({"net.onnx": FakeModel()}), None, tmp_path / "run"
    ).records
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(Draft)}
    draft = Draft(**values)
    assert draft.record() == record
    draft.set_aside(tmp_path / "another")
    assert set_aside_drafts(tmp_path / "another") == {record.id: draft}
    draft.save(tmp_path / "another")
    assert store.load_run(tmp_path / "another") == (record,)
    assert set_aside_drafts(tmp_path / "another") == {}
    made_elsewhere = {"schema_version", "decision"}  # no file is a system
    assert {field.name for field in dataclasses.fields(Draft)} == Record.model_fields.keys() - made_elsewhere


def test_a_card_that_does_not_fit_the_file_costs_the_accuracy_and_nothing_else(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    single = CARD.replace(output=OutputMeaning(kind="score"))
    models = [under_test(tmp_path, "good"), under_test(tmp_path, "net").with_card(single)]
    device = Fake({"good.onnx": FakeModel(rows=ROWS), "net.onnx": FakeModel(rows=ROWS)})
    outcome = run(models, device, evaluation, tmp_path / "run")
    assert outcome.failures == ()
    good, bad = sorted(outcome.records, key=lambda record: record.artifact)
    assert not isinstance(good.accuracy, Absent)
    assert isinstance(bad.accuracy, Absent)
    assert bad.accuracy.absent == (
        "the card does not fit the file: the output 'p' has 2 numbers (1x2), the card says score, which is a"
        " single number"
    )
    assert len(bad.speed.workers) == 2
    assert bad.weight.peak_memory.peak_bytes > 0
    assert not any("score" in argv for argv in device.asked if any("net.onnx" in part for part in argv))


def test_outputs_that_belie_the_card_are_a_doubt_about_the_accuracy(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    called_logits = CARD.replace(output=OutputMeaning(kind="logits", bona_fide_index=1))
    device = Fake({"net.onnx": FakeModel(rows=ROWS)})
    model = under_test(tmp_path, "net").with_card(called_logits)
    (record,) = run([model], device, evaluation, tmp_path / "run").records
    assert "output_kind_suspect" in {doubt.code for doubt in record.doubts}
    (right,) = run(
        [under_test(tmp_path, "net")],
        Fake({"net.onnx": FakeModel(rows=ROWS)}),
        evaluation,
        tmp_path / "right",
    ).records
    assert "output_kind_suspect" not in {doubt.code for doubt in right.doubts}
