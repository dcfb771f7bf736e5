"""The command line as a person meets it: standard output, standard error and exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_files import small_onnx

from swapbench import catalog, cli, store
from swapbench.cli import terminal
from swapbench.commands.options import JudgedData

pytestmark = pytest.mark.usefixtures("few_rounds")


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("ADB", "no-adb-here")  # the real one would leave its server behind


def small_network(path: Path, channels: int = 4, *, inputs: int = 1, batch: int | str = 1) -> Path:
    """A convolution, a global pool and a linear layer: [1, 3, 32, 32] -> [1, 2]."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(size=(channels, 3, 3, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(random.normal(size=(channels, 2)).astype(np.float32), "f"),
    ]
    nodes = [
        helper.make_node("Conv", ["x0", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["q"]),
        helper.make_node("MatMul", ["q", "f"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info(f"x{number}", TensorProto.FLOAT, [batch, 3, 32, 32])
            for number in range(inputs)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 2])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_help_answers_without_importing_anything_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from swapbench.cli import main; status = main(['--help']); "
        "heavy = {'torch','onnx','onnxruntime','pandas','matplotlib','ai_edge_litert','numpy','pydantic',"
        "'cv2','PIL','rich'};"
        "print('HEAVY', sorted(heavy & set(sys.modules)), status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "HEAVY [] 0"
    assert "doctor" in done.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "--models", "minifasnet_v3"], "Did you mean minifasnet_v2"),
        (["run", "--device", "lokal"], "Did you mean local?"),
        (["run", "--runtime", "onnxruntim"], "Did you mean onnxruntime or"),
        (["run", "--precision", "int4"], "Did you mean int8 or int16x8?"),
        (["run", "--format", "onxx"], "Did you mean onnx?"),
        (["export", "resnet18"], "Did you mean resnet18_map?"),
        (["train", "minifasnet"], "Did you mean minifasnet_v2"),
        (["data", "simulate", "--split", "tset"], "Did you mean test?"),
        (["data", "simulate", "--world", "3"], "there is no world named '3'. Known: 1, 2."),
        (["data", "simulate", "tree", "--world", "2"], "--world is for --layout manifest."),
        (["data", "simulate", "tree", "--modalities", "rgb,nir"], "--modalities is for --layout manifest."),
        (["data", "simulate", "--modalities", "rgb,dept"], "Did you mean depth?"),
        (["report"], "swapbench run"),
        (["report", "nowhere"], "holds no records"),
        (["run", "--name", "../up", "x.onnx"], "not a valid run name"),
        (["run", "x.onnx"], "cannot read x.onnx"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_an_unknown_option_is_a_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--thread", "2"]) == 2
    assert "thread" in capsys.readouterr().err


def test_the_models_command_lists_the_bundled_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    captured = capsys.readouterr()
    assert {"minifasnet_v2", "resnet18_map"} <= {row["name"] for row in json.loads(captured.out)}
    assert captured.err == ""


def test_every_listed_model_has_a_name_of_its_own_that_can_be_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = catalog.Folders(Path.cwd())
    folders.models.mkdir(exist_ok=True)
    bundled = catalog.builtin_folder("models") / "minifasnet_v2.toml"
    (folders.models / "mine.toml").write_bytes(bundled.read_bytes())  # of the same network
    assert cli.main(["models", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert {"mine", "minifasnet_v2", "minifasnet_v2.distill"} <= set(names)
    assert len(set(names)) == len(names)
    found, failures = catalog.models(folders, names)
    assert ([model.path.stem for model in found], failures) == (names, [])


def test_a_name_is_not_broken_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    row = {
        "name": "minifasnet_v2.distill",
        "made": "word " * 40,
        "data": "word " * 40,
        "summary": "word " * 40,
    }
    terminal.print_rows([row], tuple(row), "")
    assert "minifasnet_v2.distill" in capsys.readouterr().out


def test_the_devices_command_lists_this_computer(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices"]) == 0
    captured = capsys.readouterr()
    assert "this computer" in captured.out
    assert "ADB is set to no-adb-here, which is not a program" in captured.err


def test_a_damaged_profile_is_listed_with_its_reason_and_the_others_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "mine.toml").write_text("kind =\n")
    (tmp_path / "devices" / "phone.toml").write_text('name = "phone"\nkind = "android"\n')
    assert cli.main(["devices", "--json"]) == 0
    profiles = {row["name"]: row for row in json.loads(capsys.readouterr().out)["profiles"]}
    assert "mine.toml is not TOML" in profiles["mine"]["summary"]
    assert "phone.toml is invalid: match" in profiles["phone"]["summary"]
    assert profiles["local"]["attached"] == "here"


def test_the_doctor_says_what_cannot_be_measured_and_what_would_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["doctor", "--no-noise", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"ok", "limited", "missing"} >= {one["state"] for one in findings}
    assert any("onnxruntime" in one["name"] for one in findings)
    for one in findings:
        assert one["detail"]
        assert one["state"] != "missing" or one["remedy"], one


def test_files_from_anywhere_run_without_a_card_and_the_broken_ones_do_not_stop_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = small_network(tmp_path / "a good one.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "photo.tflite").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (tmp_path / "cut.onnx").write_bytes(good.read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("hello")
    small_network(tmp_path / "two.onnx", inputs=2)
    small_network(tmp_path / "dynamic.onnx", batch="n")
    broken = ["empty.onnx", "photo.tflite", "cut.onnx", "notes.txt", "none.onnx"]
    names = ["a good one.onnx", *broken, "two.onnx", "dynamic.onnx"]
    assert cli.main(["run", *names, "--budget", "1", "--name", "mixed"]) == 2
    captured = capsys.readouterr()
    for name in broken:
        assert sum(line.startswith(f"failed: {name}:") for line in captured.err.splitlines()) == 1, (
            captured.err
        )
    assert "a good one" in captured.out
    records = {one.artifact: one for one in store.load_run(tmp_path / "reports" / "mixed")}
    assert records.keys() == {"a good one.onnx", "two.onnx", "dynamic.onnx"}
    assert records["two.onnx"].speed.input == "zeros"
    assert records["dynamic.onnx"].shapes == {"x0": (1, 3, 32, 32)}
    record = records["a good one.onnx"]
    assert record.variant.net == "a good one"
    assert record.weight.macs == 4 * 27 * 32 * 32 + 4 * 2
    assert record.weight.params == 4 * 27 + 4 * 2
    for file in ("table.md", "table.csv", "table.json"):
        assert (tmp_path / "reports" / "mixed" / file).stat().st_size > 0
    assert "a good one" in (tmp_path / "reports" / "mixed" / "table.md").read_text()


def test_data_that_cannot_be_scored_cost_the_accuracy_only_and_are_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("faces/live/a.png", "faces/spoof/b.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no picture")
    (tmp_path / "card.toml").write_text(
        'name = "net"\n[preprocessing]\nface_box = "frame"\nwidth_px = 8\nheight_px = 8\ncrop_scale = 1.0\n'
        '[output]\nkind = "logits"\nbona_fide_index = 1\n'
    )
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(small_onnx(metadata={"told": name}))
    run = ["run", "a.onnx", "b.onnx", "--card", "card.toml", "--data", "faces", "--budget", "1"]
    assert cli.main([*run, "--json"]) == 2
    out, err = capsys.readouterr()
    rows = json.loads(out)["rows"]
    assert [row["runs"] > 0 for row in rows] == [True, True]
    assert [row["auc"] for row in rows] == [None, None]
    assert err.count("failed: ") == 1
    assert "failed: a.onnx, b.onnx: " in err


@pytest.mark.parametrize(
    ("options", "lacking", "asks"),
    [
        ([], None, False),
        (["--card", "card.toml"], None, True),
        (["--card", "card.toml"], "opencv-python-headless", False),
        (["--card", "card.toml", "--no-accuracy"], None, False),
    ],
)
def test_naming_a_card_asks_for_the_accuracy_on_simulated_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], lacking: str | None, asks: bool
) -> None:
    asked = []

    def data(folders: object, named: JudgedData, splits: object, **talk: object) -> tuple[()]:
        asked.append(named)
        return ()

    monkeypatch.setattr("swapbench.commands.run.folds", data)
    monkeypatch.setattr("swapbench.doctor.lacks", lambda extra: lacking)
    (tmp_path / "card.toml").write_text(
        'name = "net"\n[preprocessing]\nface_box = "frame"\nwidth_px = 32\nheight_px = 32\ncrop_scale = 1.0\n'
        '[output]\nkind = "logits"\nbona_fide_index = 1\n'
    )
    small_network(tmp_path / "net.onnx")
    assert cli.main(["run", "net.onnx", "--budget", "1", *options]) in {0, 3}
    assert asked == ([JudgedData()] if asks else [])


def test_a_run_is_not_overwritten_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_network(tmp_path / "net.onnx")
    argv = ["run", "net.onnx", "--budget", "1", "--name", "mine"]
    assert cli.main(argv) in {0, 3}
    first = store.load_run(tmp_path / "reports" / "mine")
    assert cli.main(argv) == 2
    assert "--replace" in capsys.readouterr().err
    assert store.load_run(tmp_path / "reports" / "mine") == first
    assert cli.main([*argv, "--replace"]) in {0, 3}
    assert store.load_run(tmp_path / "reports" / "mine") != first


def test_json_of_a_run_in_which_everything_failed_still_names_the_failures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["run", "none.onnx", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("failed: none.onnx:")


def test_the_same_file_given_twice_is_measured_once(tmp_path: Path) -> None:
    small_network(tmp_path / "net.onnx")
    assert cli.main(["run", "net.onnx", "./net.onnx", "--budget", "1", "--name", "twice"]) in {0, 3}
    assert len(store.load_run(tmp_path / "reports" / "twice")) == 1


def test_a_fault_of_our_own_is_one_line_unless_the_traceback_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swapbench.commands import listing

    def broken(folders: object) -> None:
        raise RuntimeError("a bug\nof ours")

    monkeypatch.setattr(listing, "list_devices", broken)
    assert cli.main(["devices"]) == 4
    assert "RuntimeError: a bug of ours. This is a bug in swapbench" in capsys.readouterr().err
    monkeypatch.setenv("SWAPBENCH_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        cli.main(["devices"])


def test_a_reference_that_does_not_run_is_said_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_network(tmp_path / "net.onnx")
    assert cli.main(["run", "net.onnx", "--relative-to", "nett", "--budget", "1"]) == 2
    assert "Did you mean net?" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_the_wrong_runtime_for_a_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_network(tmp_path / "net.onnx")
    assert cli.main(["run", "net.onnx", "--runtime", "litert"]) == 2
    assert "runs onnx files" in capsys.readouterr().err


def processes_of(path: Path) -> list[str]:
    """The workers that run this file."""
    found = subprocess.run(["pgrep", "-f", str(path)], capture_output=True, text=True, check=False)
    return found.stdout.split()


def test_ctrl_c_ends_with_130_leaves_no_process_and_the_same_command_goes_on(tmp_path: Path) -> None:
    small_network(tmp_path / "net.onnx")
    argv = [
        sys.executable,
        "-m",
        "swapbench",
        "run",
        "net.onnx",
        "--budget",
        "300",
        "--target",
        "0.001",
        "--name",
        "long",
    ]
    with subprocess.Popen(
        argv,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "CI": "true"},
    ) as process:
        while not processes_of(tmp_path / "net.onnx"):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "resumes from there" in said
        assert "Traceback" not in said
    assert processes_of(tmp_path / "net.onnx") == []
    about = json.loads((tmp_path / "reports" / "long" / "run.json").read_text())
    assert about["finished"] is False


def test_a_folder_that_cannot_be_written_is_an_environment_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_network(tmp_path / "net.onnx")
    (tmp_path / "reports").write_text("a file is in the way")
    assert cli.main(["run", "net.onnx", "--budget", "1"]) == 4
    assert "could not be written" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["version", "--version"])
def test_the_version_is_the_packages_own(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    from swapbench import __version__

    assert cli.main([word]) == 0
    assert capsys.readouterr().out.strip() == __version__
