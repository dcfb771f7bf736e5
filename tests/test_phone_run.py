"""The main job on the emulated phone, through the command line: healthy, and with all that goes wrong."""

from __future__ import annotations

import csv
import functools
import json
import operator
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import REPOSITORY
from onnx import TensorProto, helper, numpy_helper
from phone.lifecycle import adb_server
from PIL import Image
from software_gpu import ACCELERATOR, VULKAN, software_gpu
from tiny_files import TinyTflite, heavy, small_tflite

from swapbench import catalog, cli, stats, store
from swapbench.bench.workers import ask
from swapbench.commands import options, place
from swapbench.commands import run as main_job
from swapbench.commands.phone_report import gist
from swapbench.commands.provision import kit
from swapbench.commands.provision import sources as kit_sources
from swapbench.devices import android
from swapbench.errors import EnvironmentFailed
from swapbench.records import Absent, Finding, FrozenFold, Member, Parity, Plan, Speed, Sustained, System
from swapbench.report import writer
from swapbench.systems.file import write_system

if TYPE_CHECKING:
    from collections.abc import Callable

    from phone.lifecycle import Phone

    from swapbench.devices.android import Android
    from swapbench.ports import Slice
    from swapbench.records import Record

pytest_plugins = ["phone.fixture"]

CARD = (
    'name = "red"\nsummary = "a test"\nfamily = ""\ncheckpoint = ""\ncheckpoint_sha256 = ""\n[architecture]\n'
    "[preprocessing]\nwidth_px = 4\nheight_px = 4\ncrop_scale = 1.0\n"
    '[output]\nkind = "score"\n'
)
PHONE_METERS = place.phone_meters
ONE_OPERATOR = {"onnx": kit.trial_onnx, "tflite": kit.trial_tflite}


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the native runner is built once for all tests."""
    pytest.importorskip("ziglang", reason="building the native runner needs the package ziglang")
    return tmp_path_factory.mktemp("kits")


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, runners: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(options, "LEAST_SUSTAINED_S", 0.5)
    monkeypatch.setattr(kit, "cache", lambda folders: runners)
    # not tested here: narrow intervals, how busy the phone is, what its meters say, tables and figures
    monkeypatch.setattr(
        main_job, "Plan", partial(Plan, min_rounds=1, max_rounds=1, slices_per_round=4, slice_ns=10_000_000)
    )
    monkeypatch.setattr(android, "BUSY_WINDOW_S", 0)
    monkeypatch.setattr(place, "phone_meters", lambda phone: {})
    monkeypatch.setattr(writer, "write_report", lambda *_, **__: SimpleNamespace(all=(), remarks=()))


def model(name: str) -> str:
    """A file of one operator under any name."""
    Path(name).write_bytes(ONE_OPERATOR[Path(name).suffix[1:]]())
    return name


def red_less_blue(name: str) -> str:
    """A network whose bona fide probability is sigmoid(mean red - mean blue), for pixels of 0 to 1."""
    weights = np.zeros((1, 3, 4, 4), np.float32)
    weights[0, 0], weights[0, 2] = 1 / 16, -1 / 16
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["difference"]),
            helper.make_node("Sigmoid", ["difference"], ["p"]),
            helper.make_node("Flatten", ["p"], ["score"]),
        ],
        Path(name).stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), name)
    return name


def red_less_blue_in_parts() -> tuple[str, str]:
    """The same network in two parts: the first also passes the image on, negative; the second reads that."""
    whole = onnx.load(red_less_blue("large_1.onnx"))
    whole.graph.node.append(helper.make_node("Neg", ["image"], ["features"]))
    whole.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 3, 4, 4]))
    onnx.save(whole, "large_1.onnx")
    rest = onnx.load(red_less_blue("large_2.onnx"))
    rest.graph.input[0].name = "map"
    rest.graph.node.insert(0, helper.make_node("Neg", ["map"], ["image"]))
    onnx.save(rest, "large_2.onnx")
    return "large_1.onnx", "large_2.onnx"


def faces() -> tuple[str, ...]:
    """Options of a run that scores: three people a split, bona fide and printed, in colours that differ."""
    Path("card.toml").write_text(CARD)
    random = np.random.default_rng(0)
    with Path("manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "frame", "presentation", "subject", "label", "species", "split"])
        for split in ("dev", "test"):
            for kind, tint in (("", (60, 0, 0)), ("print", (0, 0, 60))):
                for person in range(3):
                    name = f"{split}{kind}{person}.png"
                    pixels = random.integers(0, 190, (8, 8, 3)) + tint
                    Image.fromarray(pixels.astype(np.uint8)).save(name)
                    label = "attack" if kind else "bona_fide"
                    rows.writerow([name, 0, f"{split}{kind}{person}", f"{split}{person}", label, kind, split])
    return ("--data", "manifest.csv", "--faces", "frame", "--card", "card.toml")


def run(*words: str, name: str = "r", device: str = "emulated-x86") -> int:
    """The exit status of `swapbench run` for a second."""
    data = () if "--data" in words else ("--no-accuracy",)
    return cli.main(["run", *words, "--device", device, "--budget", "1", "--name", name, *data])


def records(name: str = "r") -> dict[str, Record]:
    return {one.artifact: one for one in store.load_run(Path("reports") / name)}


def codes(record: Record) -> set[str]:
    return {doubt.code for doubt in record.doubts}


def left_running(phone: Phone) -> list[str]:
    return [command for _, command in phone.processes() if "runner" in command]


def error(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error."""
    return capsys.readouterr().err


# ------------------------------------------------------------------------------------------ healthy


def test_speed_weight_and_accuracy_come_from_the_phone(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(red_less_blue("net.onnx"), *faces()) == 3  # an emulated phone is a doubt
    record = records()["net.onnx"]
    assert record.machine.name == "emulated-x86"
    assert record.machine.emulated
    assert "emulated_device" in codes(record)
    assert record.runtime.settings["flavour"] == "bundle"
    assert record.runtime.settings["runner"] == "native"
    assert isinstance(record.speed, Speed)
    assert record.speed.input == "sample"
    assert record.weight.peak_memory.peak_bytes > 10e6  # ONNX Runtime alone
    assert record.accuracy.auc == 1.0
    assert record.machine.state_before is not None
    assert record.machine.start_gate.passed
    # the same file and pixels under the Python worker here
    assert isinstance(record.device_parity, Parity)
    assert (record.device_parity.samples, record.device_parity.decision_flips) == (12, 0)
    assert record.device_parity.max_abs_difference <= 1e-4
    said = error(capsys)
    assert "Scores against this computer's: at most" in said
    assert "0 of 12 decisions flip" in said
    assert left_running(phone) == []
    assert json.loads(phone.shell("cat /data/local/tmp/swapbench/kit.json").stdout)["parts"]


def test_a_system_is_timed_as_a_whole_in_one_process_of_the_phone(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    data = faces()[:4]
    files = (red_less_blue("small.onnx"), *red_less_blue_in_parts())
    for file in files:
        reads = '[reads]\ncard = "red_1"\n' if file == "large_2.onnx" else ""
        name = CARD.replace('name = "red"', f'name = "red_{file[6]}"') if "_" in file else CARD
        Path(file).with_suffix(".toml").write_text(name + reads)
    frozen = FrozenFold(threshold=0.0, members=(0.5, 0.5, 0.5))
    members = tuple(Member(file=file, reads="features" * (file == "large_2.onnx")) for file in files)
    door = System(name="door", rule="cascade", margin=0.058, members=members, frozen=(frozen,))
    write_system(door, Path("door.toml"))
    assert run("--system", "door.toml", *data) == 3
    assert "door (measured): a decision takes" in error(capsys)
    decision = records()["door.toml"].decision
    assert decision is not None
    assert decision.timed is not None
    assert decision.computed_time_ns is not None
    taken = {
        tuple(one[2:]) for worker in decision.timed.workers for part in worker.decisions or () for one in part
    }
    assert taken == {(1, 0, 0), (1, 1, 1)}  # some are asked about, as their scores say
    assert "system_decides_otherwise" not in codes(records()["door.toml"])
    assert 0 < decision.members[1].asked < 1
    assert left_running(phone) == []


def test_a_phone_that_scores_otherwise_is_visible(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from swapbench.bench import desktop_agreement as agreement

    honest = agreement.measure_scores

    def here(*args: object, **options: object) -> object:
        for subject, outputs in honest(*args, **options):  # type: ignore[arg-type]
            yield subject, replace(outputs, rows=tuple((1 - row[0],) for row in outputs.rows))

    monkeypatch.setattr(agreement, "measure_scores", here)
    assert run(red_less_blue("net.onnx"), *faces()) == 3
    record = records()["net.onnx"]
    assert record.device_parity.decision_flips > 6
    assert "differs_from_desktop" in codes(record)
    assert "differs_from_desktop" in capsys.readouterr().out


@pytest.mark.slow  # a second phone, which gets everything
def test_android_s_own_applets_do_what_busybox_s_do(
    phone: Phone, start_phone: Callable[..., Phone], capsys: pytest.CaptureFixture[str]
) -> None:
    def doctored(one: Phone) -> list[tuple[str, ...]]:
        assert cli.main(["doctor", "--device", "emulated-x86", "--serial", one.serial, "--json"]) == 0
        return [gist(Finding(**row)) for row in json.loads(capsys.readouterr().out)]

    toybox = start_phone(applets="toybox")
    assert toybox.shell("readlink /system/bin/grep /system/bin/sha256sum").stdout == "toybox\ntoybox\n"
    assert doctored(toybox) == doctored(phone)
    assert run(red_less_blue("net.onnx"), *faces(), "--serial", toybox.serial) == 3
    assert records()["net.onnx"].device_parity.decision_flips == 0
    assert left_running(toybox) == []
    assert cli.main(["device", "end", "emulated-x86", "--serial", toybox.serial]) == 0


def test_free_lengths_and_weights_in_another_file_work_on_the_phone_as_here(phone: Phone) -> None:
    model_ = onnx.load(red_less_blue("net.onnx"))
    for place_, name in enumerate(("N", "channels", "H", "W")):
        if name != "channels":
            model_.graph.input[0].type.tensor_type.shape.dim[place_].dim_param = name
    del model_.graph.output[:]
    model_.graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, None))
    onnx.save(model_, "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    # height and width come from the card
    assert run("net.onnx", *faces()) == 3
    record = records()["net.onnx"]
    assert record.shapes == {"image": (1, 3, 4, 4)}
    assert record.weight.file_bytes == Path("net.onnx").stat().st_size + Path("net.data").stat().st_size
    assert record.accuracy.auc == 1.0
    assert isinstance(record.device_parity, Parity)
    assert (record.device_parity.samples, record.device_parity.decision_flips) == (12, 0)


def test_a_tflite_file_with_a_free_batch_and_one_with_two_inputs_are_timed_on_the_phone(
    phone: Phone,
) -> None:
    Path("free.tflite").write_bytes(small_tflite(signature=[-1, -1, -1, 3]).bytes())
    Path("two.tflite").write_bytes(small_tflite(second_input=True).bytes())
    assert run("free.tflite", "two.tflite", "--shape", "1,12,10,3") == 3
    free, two = records()["free.tflite"], records()["two.tflite"]
    assert (free.shapes, free.speed.input) == ({"x": (1, 12, 10, 3)}, "random")
    assert (two.shapes, two.speed.input) == ({}, "zeros")
    assert "has 2 inputs (x, other)" in two.accuracy.absent


@pytest.mark.parametrize("name", ["two words.onnx", 'it\'s "so" $HOME.onnx', "Übung 日本.tflite", "-n.onnx"])
def test_file_names_of_all_kinds_work(phone: Phone, name: str) -> None:
    assert run(f"./{model(name)}") == 3
    assert list(records()) == [name]


@pytest.mark.slow  # waits for frames and for seconds
def test_times_at_a_frame_rate_and_over_time_stand_beside_those_back_to_back(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("swapbench.bench.paced.SLICE_S", 0.25)
    assert run(heavy("net.onnx"), "--fps", "100", "--sustained", "2s") == 3
    record = records()["net.onnx"]
    assert record.plan.fps == 100
    assert isinstance(record.paced, Speed)
    # six rounds of two slices of a quarter of a second at 100 frames a second;
    # on a busy machine some are lost, and counted
    assert [len(worker.slices_ns) for worker in record.paced.workers] == [2] * 6
    for worker in record.paced.workers:
        assert all(1 <= len(one) <= 26 for one in worker.slices_ns)
        assert worker.late_frames is not None
        assert len(worker.runs_ns) + worker.late_frames <= 2 * 27
    # frames that were due behind a pause at the end of a slice are not seen to be late: not in all of the six
    due = [len(worker.runs_ns) + (worker.late_frames or 0) for worker in record.paced.workers]
    assert max(due) >= 2 * 24
    assert "fps" not in record.runtime.settings
    assert isinstance(record.sustained, Sustained)
    # five points, or less where a busy machine takes longer to tell a point than it lasts
    starts_s = [point.start_s for point in record.sustained.points]
    assert starts_s == sorted(starts_s)
    assert starts_s[0] == 0
    assert 2 <= len(starts_s) <= 5
    for point in record.sustained.points:
        assert 0 < point.p50_ns <= point.p90_ns
        assert (point.temperature_c, point.thermal_status) == (31.7, 0)
    assert "at the frame rate" in error(capsys)


def test_cores_can_be_chosen_and_the_record_says_which(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model("net.onnx"), "--cores", "big", name="big") == 3
    mask = records("big")["net.onnx"].runtime.settings["affinity"]
    assert int(mask, 16).bit_count() >= 1
    assert run(model("net.onnx"), "--cores", "bigg") == 2
    assert "Did you mean big" in error(capsys)
    assert run(model("net.onnx"), "--cores", "big", device="local") == 2
    assert "--cores is for phones" in error(capsys)


def test_a_sweep_measures_every_file_on_every_cluster_and_tells_them_apart(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model("a.onnx"), model("b.tflite"), "--cores", "sweep") == 3
    found = store.load_run(Path("reports/r"))
    kinds = {one.runtime.settings["cores"] for one in found}
    assert {"big"} <= kinds or kinds == {"all"}  # the cores of this machine are those of the phone
    assert len(found) == 2 * len(kinds)
    masks = {one.runtime.settings["cores"]: one.runtime.settings["affinity"] for one in found}
    assert len(set(masks.values())) == len(kinds)
    bits = [int(mask, 16) for mask in masks.values()]
    assert sum(bits) == functools.reduce(operator.or_, bits)  # no core is in two of them
    assert all(f"-{one.runtime.settings['cores']}-" in one.id for one in found)
    said = capsys.readouterr().out
    for kind in kinds:
        assert len(kinds) == 1 or f"{kind} cores" in said
    # the same again is the same run, and it is finished
    assert run("a.onnx", "b.tflite", "--cores", "sweep") == 2
    capsys.readouterr()


def test_several_kinds_of_cores_are_named_with_commas(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model("net.onnx"), "--cores", "big,all,big") == 3
    assert [one.runtime.settings["cores"] for one in store.load_run(Path("reports/r"))] == ["all", "big"]
    for typed, reason in (
        ("big,sweep", "is not a valid choice of cores"),
        (",", "is not a valid choice of cores"),
        ("big,litle", "Did you mean little"),
    ):
        assert run("net.onnx", "--cores", typed) == 2
        assert reason in error(capsys)
    assert run("net.onnx", "--cores", "sweep", device="local") == 2
    assert "--cores is for phones" in error(capsys)


def test_a_second_run_sends_nothing_again(phone: Phone) -> None:
    run(model("net.onnx"), name="first")
    sent = phone.shell("ls -l --full-time /data/local/tmp/swapbench").stdout
    run("net.onnx", name="second")
    assert phone.shell("ls -l --full-time /data/local/tmp/swapbench").stdout == sent
    assert "libonnxruntime.so" in sent


def truths_of_windows(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """What the phone had really used before and after each window of energy, as they are measured."""
    truths: list[tuple[dict[str, float], dict[str, float]]] = []

    def asking(*arguments: Any) -> Slice:
        before = phone.truth()
        answer = ask(*arguments)
        truths.append((before, phone.truth()))
        return answer

    monkeypatch.setattr("swapbench.bench.energy.ask", asking)
    return truths


@pytest.mark.slow  # three windows of eight seconds
def test_energy_is_within_five_percent_of_what_the_phone_really_used(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    truths = truths_of_windows(phone, monkeypatch)
    monkeypatch.setattr(place, "phone_meters", PHONE_METERS)
    assert run(heavy("net.onnx"), "--window", "8") == 3
    power = {one.meter: one for one in records()["net.onnx"].power}
    ((before, after),) = truths
    used_uj = after["energy_uj"] - before["energy_uj"]
    above_idle_uj = used_uj - 800_000 * (after["seconds"] - before["seconds"])
    assert {"perfetto-rails", "battery-current"} <= set(power)
    assert "power-rails" not in power  # the dump is refused, as on stock builds
    for one in power.values():
        energy = stats.energy_per_run(one)
        assert energy.gross_uj * one.runs == pytest.approx(used_uj, rel=0.05), one.meter
        assert energy.above_idle_uj * one.runs == pytest.approx(above_idle_uj, rel=0.05), one.meter


@pytest.mark.slow  # nine windows of six seconds
def test_the_energy_of_a_systems_decision_is_what_the_phone_really_used(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    truths = truths_of_windows(phone, monkeypatch)
    monkeypatch.setattr(place, "phone_meters", PHONE_METERS)
    data = faces()[:4]
    files = (red_less_blue("small.onnx"), red_less_blue("large.onnx"))
    for file in files:
        Path(file).with_suffix(".toml").write_text(CARD)
    members = tuple(Member(file=file) for file in files)
    write_system(System(name="pair", members=members, frozen=(FrozenFold(threshold=0.5),)), Path("pair.toml"))
    assert run("--system", "pair.toml", *data, "--window", "6") == 3
    record = records()["pair.toml"]
    (before, after) = truths[-1]  # those of the files were asked before
    assert len(truths) == 3
    power = record.power[0]
    used_uj = after["energy_uj"] - before["energy_uj"]
    above_idle_uj = used_uj - 800_000 * (after["seconds"] - before["seconds"])
    energy = stats.energy_per_run(power)
    decision = record.decision
    assert decision is not None
    assert not isinstance(decision.energy_uj, Absent)
    assert decision.energy_uj.all.mean == pytest.approx(energy.above_idle_uj)
    # a decision is so short that the meter's own uncertainty is above the few percent of longer ones
    assert decision.energy_uj.all.mean * power.runs == pytest.approx(
        above_idle_uj, abs=energy.uncertainty_uj * power.runs
    )
    assert decision.energy_uj.all.worst == decision.energy_uj.all.mean  # both files are always asked
    assert decision.computed_energy_uj is not None


def red_less_blue_tflite(name: str) -> str:
    """Mean red - mean blue, for pixels of 0 to 1."""
    file, size = TinyTflite(), [1, 4, 4, 3]
    x = file.tensor("x", size)
    shape = file.tensor("shape", [2], np.array([1, 48], np.int32), kind=schema.TensorType.INT32)
    flat = file.op(
        schema.BuiltinOperator.RESHAPE,
        [x, shape],
        file.tensor("flat", [1, 48]),
        schema.ReshapeOptionsT(),
        schema.BuiltinOptions.ReshapeOptions,
    )
    weights = np.tile(np.array([1 / 16, 0, -1 / 16], np.float32), 16).reshape(1, 48)
    y = file.op(
        schema.BuiltinOperator.FULLY_CONNECTED,
        [flat, file.tensor("w", [1, 48], weights), file.tensor("b", [1], np.zeros(1, np.float32))],
        file.tensor("y", [1, 1]),
        schema.FullyConnectedOptionsT(),
        schema.BuiltinOptions.FullyConnectedOptions,
    )
    file.graph.inputs, file.graph.outputs = [x], [y]
    Path(name).write_bytes(file.bytes())
    return name


@pytest.mark.slow  # arm64 programs under an emulator
def test_an_arm64_phone_runs_both_runtimes_and_scores_as_this_computer_does(
    start_phone: Callable[..., Phone], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched = REPOSITORY / "build" / "kits"
    monkeypatch.setattr(kit, "cache", lambda folders: fetched)
    phone = start_phone(arch="arm64")
    try:
        for runtime in ("onnxruntime", "litert"):
            kit_sources.fetched_bundle(runtime, fetched)
    except EnvironmentFailed as failure:
        pytest.skip(f"no libraries for arm64: {failure}")
    assert cli.main(["device", "prepare", "generic-arm64", "--json"]) == 0
    assert [row["flavour"] for row in json.loads(capsys.readouterr().out)] == ["bundle", "bundle"]
    files = [red_less_blue("net.onnx"), red_less_blue_tflite("net.tflite")]
    assert run(*files, *faces(), device="generic-arm64") == 3
    for record in records().values():
        assert record.machine.abi == "arm64-v8a"
        assert record.machine.emulated
        assert record.accuracy.auc == 1.0
        assert record.device_parity.samples == 12
        assert record.device_parity.max_abs_difference <= 1e-4
    assert sorted(records()) == files
    assert left_running(phone) == []


# ------------------------------------------------------------------------------------------ which phone


def test_no_phone_is_said_with_what_to_try(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with adb_server() as nobody:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(nobody.port))
        assert run(model("net.onnx"), device="pixel8") == 4
        said = error(capsys)
    assert "no attached phone fits the profile pixel8. No phone is attached" in said
    assert "make phone" in said


def test_another_phone_is_listed_and_not_taken(phone: Phone, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model("net.onnx"), device="pixel8") == 4
    assert f"Attached: {phone.serial} (Google Pixel 7 (emulated))" in error(capsys)


def test_of_two_phones_none_is_picked_silently(
    phone: Phone,
    start_phone: Callable[..., Phone],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = start_phone(dialect="samsung")
    model("net.onnx")
    assert run("net.onnx") == 4
    said = error(capsys)
    assert "2 attached phones fit the profile emulated-x86" in said
    assert phone.serial in said
    assert f"--serial {min(phone.serial, other.serial)}" in said or "--serial" in said
    assert run("net.onnx", "--serial", other.serial) == 3
    assert "SM-S911B" in records()["net.onnx"].machine.device
    monkeypatch.setenv("ANDROID_SERIAL", phone.serial)
    assert run("net.onnx", name="by-variable") == 3
    assert "Pixel 7" in records("by-variable")["net.onnx"].machine.device
    assert run("net.onnx", "--serial", "nobody") == 4
    assert "no phone has the serial nobody" in error(capsys)


def test_an_unauthorised_phone_is_told_to_be_looked_at(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.set(authorised=False)
    phone.connect()
    assert run(model("net.onnx")) == 4
    assert "does not trust this computer (unauthorized)" in error(capsys)


@pytest.mark.slow  # adb itself tries for ten seconds
def test_a_phone_that_does_not_answer_is_said_to_be_offline(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.set(answering=False)
    phone.connect()
    assert run(model("net.onnx")) == 4
    assert "does not answer (offline)" in error(capsys)


def test_a_computer_without_adb_is_told_how_to_get_it(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADB", "/nowhere/adb")
    assert run(model("net.onnx")) == 4
    assert "ADB is set to /nowhere/adb, which is not a program" in error(capsys)


# ------------------------------------------------------------------------------------------ faults


def back(phone: Phone) -> None:
    """The cable is plugged in again."""
    phone.set(cable=True)
    phone.connect()


def test_a_cable_pulled_during_a_push_ends_the_run_and_the_next_one_goes_on(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.set(pull_cable_after_push_bytes=5_000_000)
    assert run(model("net.onnx")) == 4
    assert f"phone {phone.serial}" in error(capsys)
    back(phone)
    assert run("net.onnx") == 3
    assert list(records()) == ["net.onnx"]
    assert ".part" not in phone.shell("ls -a /data/local/tmp/swapbench/.run").stdout


def test_a_cable_pulled_while_timing_ends_the_run_at_once_for_all_files(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [model(name) for name in ("a.onnx", "b.onnx", "c.tflite")]
    phone.when("--mode serve", after_s=0.3, cable=False)
    assert run(*files) == 4
    said = error(capsys)
    assert said.count(f"phone {phone.serial}") == 1  # one reason, not one for each file
    assert not list(Path("reports/r").glob("records/*"))
    back(phone)
    assert run(*files) == 3
    assert sorted(records()) == sorted(files)
    assert left_running(phone) == []


def test_what_was_finished_before_the_cable_was_pulled_is_kept(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [red_less_blue("one.onnx"), red_less_blue("two.onnx")]
    words = (*files, *faces(), "--threads", str(os.cpu_count()))  # one file is scored at a time
    phone.when("--artifact /data/local/tmp/swapbench/two.onnx --mode score", cable=False)
    assert run(*words) == 4
    assert list(records()) == ["one.onnx"]
    kept = [path.read_bytes() for path in Path("reports/r/records").glob("one*")]
    back(phone)
    error(capsys)
    assert run(*words) == 3
    assert "1 of 2 records were there already and were kept" in error(capsys)
    assert sorted(records()) == files
    assert [path.read_bytes() for path in Path("reports/r/records").glob("one*")] == kept
    assert left_running(phone) == []


@pytest.mark.slow  # a process of its own
def test_an_interrupted_run_leaves_nothing_running_on_the_phone(phone: Phone) -> None:
    argv = [sys.executable, "-m", "swapbench", "run", model("net.onnx"), "--device", "emulated-x86"]
    process = subprocess.Popen(
        [*argv, "--no-accuracy", "--target", "0.001"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline_s = time.monotonic() + 300  # it builds its own runner first
    while not left_running(phone):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in said.decode()
    deadline_s = time.monotonic() + 10  # a shell that was hung up takes a moment to end
    while left_running(phone) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert left_running(phone) == []


def test_a_full_disk_is_said_and_the_next_run_goes_on(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.set(disk_free_bytes=3_000_000)
    assert run(model("net.onnx")) == 4
    assert f"the storage of phone {phone.serial} is full" in error(capsys)
    phone.set(disk_free_bytes=None)
    assert run("net.onnx") == 3


@pytest.mark.slow  # three runs
def test_a_disk_that_is_full_for_one_file_leaves_the_others(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    run(model("small.onnx"), name="before")  # the kit is there now
    large = onnx.load("small.onnx")
    large.graph.initializer.append(numpy_helper.from_array(np.zeros(2_000_000, np.float32), "unused"))
    onnx.save(large, "large.onnx")
    phone.set(disk_free_bytes=3_000_000)
    error(capsys)
    assert run("small.onnx", "large.onnx") == 4
    assert "failed: large" in error(capsys)
    assert list(records()) == ["small.onnx"]
    phone.set(disk_free_bytes=None)
    assert run("small.onnx", "large.onnx") == 3
    assert sorted(records()) == ["large.onnx", "small.onnx"]


@pytest.mark.slow  # measures long enough to be killed in the middle
def test_a_killed_runner_is_one_failed_file_and_the_next_run_measures_it(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [model("a.onnx"), model("b b.tflite")]
    monkeypatch.setattr(main_job, "Plan", partial(Plan, min_rounds=1, max_rounds=1, slices_per_round=150))
    # quoted for the shell that starts the runner, without quotes in the runner itself, which is killed
    argument = "--artifact {}/data/local/tmp/swapbench/b b.tflite"
    phone.kill_when(argument.format("'"), argument.format(""), after_s=0.2)
    assert run(*files) == 4
    assert "failed: b b.tflite: runner" in (said := error(capsys))
    assert "was killed (SIGKILL)" in said
    assert list(records()) == ["a.onnx"]
    assert run(*files) == 3
    assert sorted(records()) == files
    assert left_running(phone) == []


def test_a_folder_that_runs_no_programs_is_explained(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.set(noexec=True)
    assert run(model("net.onnx")) == 4
    assert "noexec" in error(capsys)


def test_throttling_while_timing_is_a_doubt(phone: Phone) -> None:
    phone.when("--mode serve", thermal_status=3)
    assert run(model("net.onnx")) == 3
    assert {"throttled", "frequency_cap_moved"} <= codes(records()["net.onnx"])


def test_throttling_that_is_over_before_the_record_is_written_stays_a_doubt(phone: Phone) -> None:
    phone.when("--mode serve", thermal_status=3)
    phone.when("--mode time", thermal_status=0)
    assert run(model("net.onnx")) == 3
    record = records()["net.onnx"]
    assert record.machine.state.thermal_status == 0
    assert "throttled" in codes(record)


def test_charging_that_begins_meanwhile_is_a_doubt(phone: Phone) -> None:
    phone.when("--mode serve", charging=True)
    assert run(model("net.onnx")) == 3
    assert "charging_changed" in codes(records()["net.onnx"])


def test_a_faked_battery_is_refused(phone: Phone, capsys: pytest.CaptureFixture[str]) -> None:
    phone.shell("dumpsys battery unplug")
    assert run(model("net.onnx")) == 4
    assert "battery" in error(capsys)
    phone.shell("dumpsys battery reset")
    assert run("net.onnx") == 3


# ------------------------------------------------------------------------------------------ delegates

BENCHMARK_MODEL = """#!/system/bin/sh
cat <<END
INFO: #threads used for CPU inference: [1]
INFO: Replacing {taken} out of 4 node(s) with delegate (TfLiteGpuDelegateV2) node, \
yielding 1 partitions for subgraph 0.
INFO: Initialized session in 4.2ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds \
but terminate if exceeding 150 seconds.
INFO: count=161 first=3302 curr=3049 min=2987 max=9120 avg=3101.44 std=611 p5=2999 median=3051 p95=3390
INFO: Running benchmark for at least 50 iterations and at least 1 seconds \
but terminate if exceeding 150 seconds.
INFO: count=324 first=3055 curr=3031 min=2980 max=8744 avg=3077.2 std=402 p5=2995 median=3040 p95=3217
END
"""
"""A program that says what TFLite's says, without its work."""


def test_delegates_are_timed_by_benchmark_model_beside_the_runtimes(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    model("net.tflite")
    assert run("net.tflite", "--delegate", "gpu") == 4
    assert "swapbench device prepare emulated-x86 --benchmark-model FILE" in error(capsys)
    Path("benchmark_model").write_text(BENCHMARK_MODEL.format(taken=3))
    assert cli.main(["device", "prepare", "emulated-x86", "--benchmark-model", "benchmark_model"]) == 0
    assert run("net.tflite", "--delegate", "gpu") == 3
    by_runtime = {one.runtime.runtime: one for one in store.load_run(Path("reports/r"))}
    assert set(by_runtime) == {"litert", "benchmark_model-gpu"}
    record = by_runtime["benchmark_model-gpu"]
    assert isinstance(record.speed, Speed)
    assert record.speed.sample == "process median"
    assert {worker.slices_ns for worker in record.speed.workers} == {((3_040_000,),)}
    assert (record.runtime.delegated_nodes, record.runtime.nodes) == (3, 4)
    assert "partial_delegate" in codes(record)
    assert record.accuracy.absent == record.power.absent == "the tool reports times only"
    error(capsys)
    assert run("net.tflite", "--delegate", "gpu", "--require-full-delegation", name="whole") == 4
    assert "the whole graph is required" in error(capsys)
    assert [one.runtime.runtime for one in store.load_run(Path("reports/whole"))] == ["litert"]


COMPILED_MODEL = """#!/system/bin/sh
# litert/tools/benchmark_litert_model.cc
name=TfLiteXNNPackDelegate taken=3
case " $* " in *" --use_gpu=true --use_cpu=false "*) name=LITERT_CL taken=4 ;; esac
cat <<END
INFO: Num threads: [1]
VERBOSE: Replacing $taken out of 4 node(s) with delegate ($name) node, \
yielding 1 partitions for subgraph 0 (main).
INFO: Initialized session in 4.2ms.
INFO: count=40 first=3302 curr=3049 min=2987 max=9120 avg=3101.44 std=611 p5=2999 median=3051 p95=3390
INFO: count=324 first=3055 curr=3031 min=2980 max=8744 avg=3077.2 std=402 p5=2995 median=3040 p95=3217
END
"""
"""The same of the program that drives the CompiledModel API: its GPU takes the graph if the CPU may not."""


def test_the_benchmark_model_of_compiled_model_is_known_by_its_banner(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    model("net.tflite")
    Path("benchmark_model").write_text(COMPILED_MODEL)
    assert cli.main(["device", "prepare", "emulated-x86", "--benchmark-model", "benchmark_model"]) == 0
    assert run("net.tflite", "--delegate", "gpu", "--require-full-delegation", name="whole") in {0, 3}
    by_runtime = {one.runtime.runtime: one for one in store.load_run(Path("reports/whole"))}
    record = by_runtime["benchmark_model-gpu"]
    assert (record.runtime.providers, record.runtime.delegated_nodes) == (("gpu",), 4)
    assert record.runtime.settings["api"] == "CompiledModel"
    error(capsys)
    assert run("net.tflite", "--delegate", "gpu", name="fallback") == 4
    assert "does not say what the gpu delegate took" in error(capsys)
    assert run("net.tflite", "--delegate", "nnapi", name="nnapi") == 2
    assert "has no delegate nnapi. Choose xnnpack, gpu, npu" in error(capsys)


def test_an_accelerator_that_does_not_load_costs_its_runs_and_no_other(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("libLiteRtGpuAccelerator.so").write_bytes(b"no library")
    prepare = ["device", "prepare", "emulated-x86", "--json", "--litert-library"]
    assert cli.main([*prepare, "missing.so"]) == 2
    assert "there is no file missing.so" in error(capsys)
    assert cli.main([*prepare, "libLiteRtGpuAccelerator.so"]) == 0
    told = capsys.readouterr()
    assert [row["runtime"] for row in json.loads(told.out)] == ["onnxruntime", "litert"]
    assert "litert-gpu is of no use on this phone: litert found no gpu accelerator" in told.err
    assert run(model("net.tflite"), "--delegate", "gpu") == 4
    assert "litert found no gpu accelerator" in error(capsys)
    assert [one.runtime.runtime for one in store.load_run(Path("reports/r"))] == ["litert"]
    assert left_running(phone) == []


@pytest.mark.slow  # a GPU in software
def test_scores_of_the_accelerated_file_are_checked_too(
    phone: Phone, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = software_gpu(tmp_path_factory.mktemp("gpu"))
    libraries = [word for name in (ACCELERATOR, VULKAN) for word in ("--litert-library", str(beside / name))]
    assert cli.main(["device", "prepare", "emulated-x86", "--json", *libraries]) == 0
    rows = {row["runtime"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["litert"]["providers"], rows["litert-gpu"]["providers"]) == ("xnnpack", "gpu")
    assert run(red_less_blue_tflite("net.tflite"), *faces(), "--delegate", "gpu") == 3
    by_runtime = {one.runtime.runtime: one for one in store.load_run(Path("reports/r"))}
    assert set(by_runtime) == {"litert", "litert-gpu"}
    record = by_runtime["litert-gpu"]
    assert (record.runtime.providers, record.runtime.settings["accelerator"]) == (("gpu",), "GPU WebGPU")
    assert record.accuracy.auc == 1.0
    assert (record.device_parity.samples, record.device_parity.decision_flips) == (12, 0)
    assert record.device_parity.max_abs_difference < 1e-2
    assert run("net.tflite", "--delegate", "npu", name="npu") == 4
    assert "nothing that runs files with npu" in error(capsys)


def test_a_delegate_without_a_file_for_it_or_without_a_phone_is_a_mistake(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("benchmark_model").write_text(BENCHMARK_MODEL.format(taken=4))
    cli.main(["device", "prepare", "emulated-x86", "--benchmark-model", "benchmark_model"])
    error(capsys)
    assert run(model("net.onnx"), "--delegate", "gpu") == 2
    assert "--delegate times .tflite files" in error(capsys)
    assert run("net.onnx", "--delegate", "gpu", device="local") == 2
    assert "--delegate is for phones" in error(capsys)
    assert run("net.onnx", "--delegate", "cuda") == 2
    assert "no delegate named 'cuda'" in error(capsys)


# -------------------------------------------------------------------------------- prepare, doctor, devices


def test_one_phone_over_two_connections_is_one_phone(phone: Phone) -> None:
    address = f"localhost:{phone.serial.partition(':')[2]}"
    phone.adb_server("connect", address)
    try:
        listed = phone.adb_server("devices").stdout.decode()
        assert f"{phone.serial}\tdevice" in listed
        assert f"{address}\tdevice" in listed
        folders = catalog.Folders(Path())
        for serial in (None, phone.serial, address):
            device = cast("Android", catalog.device(folders, "emulated-x86", serial))
            assert device.adb.serial in ({phone.serial, address} if serial is None else {serial})
    finally:
        phone.adb_server("disconnect", address)


def test_preparing_tries_every_runtime_on_the_phone(phone: Phone, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["device", "prepare", "emulated-x86", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["runtime"], row["flavour"]) for row in rows] == [
        ("onnxruntime", "bundle"),
        ("litert", "bundle"),
    ]
    assert all(row["version"][0].isdigit() for row in rows)
    assert Path("build/phones/emulated-x86.json").is_file()


def test_archives_for_arm64_are_no_help_on_another_phone(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ort.aar").write_bytes(b"")
    assert cli.main(["device", "prepare", "emulated-x86", "--onnxruntime-aar", "ort.aar"]) == 2
    assert "serve phones of arm64-v8a; this phone is x86_64" in error(capsys)


def test_this_computer_needs_no_preparing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["device", "prepare", "local"]) == 2
    assert "needs no preparing" in error(capsys)


def test_a_phone_that_is_not_prepared_names_the_command(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kit, "is_like_this_computer", lambda abi: False)
    assert run(model("net.onnx")) == 4
    assert "swapbench device prepare emulated-x86 --onnxruntime-aar FILE" in error(capsys)


def test_what_another_computer_pushed_is_used(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["device", "prepare", "emulated-x86"]) == 0
    Path("build/phones/emulated-x86.json").unlink()
    monkeypatch.setattr(kit, "is_like_this_computer", lambda abi: False)
    assert run(model("net.onnx")) == 3
    assert records()["net.onnx"].runtime.settings["flavour"] == "bundle"


def test_the_doctor_tells_files_that_are_not_built_for_the_pages_of_the_phone(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    def pages() -> dict[str, str]:
        cli.main(["doctor", "--device", "emulated-x86", "--json"])
        rows: list[dict[str, str]] = json.loads(capsys.readouterr().out)
        return next(row for row in rows if row["name"] == "pages")

    assert (pages()["state"], pages()["detail"]) == ("ok", "4 kB")
    assert cli.main(["device", "prepare", "emulated-x86"]) == 0
    capsys.readouterr()
    assert pages()["state"] == "ok"
    phone.set(properties={"ro.boot.hardware.cpu.pagesize": str(1 << 30)})
    assert pages()["state"] == "missing"
    assert "kB, for which" in pages()["detail"]


def test_the_doctor_probes_the_phone(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phone.set(battery_saver=True)
    assert cli.main(["doctor", "--device", "emulated-x86", "--json"]) == 0
    findings = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert findings["adb"]["state"] == "ok"
    assert findings["battery saver"]["state"] == "limited"
    assert "low_power 0" in findings["battery saver"]["remedy"]
    assert findings["runtimes"]["state"] == "ok"
    assert "onnxruntime" in findings["runtimes"]["detail"]
    phone.set(cable=False)
    assert cli.main(["doctor", "--device", "emulated-x86"]) == 4


def test_devices_tells_profiles_phones_and_which_fits(
    phone: Phone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    profiles = {row["name"]: row for row in found["profiles"]}
    assert profiles["emulated-x86"]["attached"] == phone.serial
    assert profiles["pixel8"]["attached"] == ""
    (row,) = found["phones"]
    assert (row["serial"], row["state"], row["model"]) == (
        phone.serial,
        "device",
        "Google Pixel 7 (emulated)",
    )
    assert "emulated-x86" in row["profiles"]
    assert cli.main(["devices"]) == 0
    assert "Pixel 7 (emulated)" in capsys.readouterr().out
