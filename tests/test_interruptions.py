"""One writer a run, and the same command goes on whatever interrupted it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import skip_without
from test_cli import small_network
from watched import SOURCE

from swapbench import cli, interrupts
from swapbench.bench import run_folder
from swapbench.bench.run_folder import is_being_written, only_writer
from swapbench.errors import UserError
from swapbench.files import scratch_folder, write_atomically

pytestmark = pytest.mark.usefixtures("few_rounds")

RUN = ["run", "net.onnx", "--no-accuracy", "--budget", "1", "--window", "1", "--name", "a"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE), "CI": "true", "ADB": "no-adb-here"}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    small_network(tmp_path / "net.onnx")
    return tmp_path


def begun(argv: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *argv], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )


def wait_until(happened: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_second_writer_is_refused_and_the_lock_of_a_dead_process_is_none(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from swapbench.bench.run_folder import only_writer\n"
        "with only_writer(Path('run')): print('locked', file=sys.stderr, flush=True); time.sleep(60)"
    )
    owner = begun(["-c", code], tmp_path)
    assert owner.stderr is not None
    assert owner.stderr.readline() == "locked\n"
    folder = tmp_path / "run"
    assert is_being_written(folder)
    with pytest.raises(UserError, match=rf"run is being written by another process \(process {owner.pid}\)"):
        only_writer(folder).__enter__()
    owner.kill()
    owner.wait()
    owner.stderr.close()
    assert not is_being_written(folder)
    with only_writer(folder):
        assert is_being_written(folder)
    assert not is_being_written(folder)


def test_a_run_that_another_process_writes_is_refused_before_anything_is_measured(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_writer(work / "reports" / "a"):
        assert cli.main(RUN) == 2
    said = capsys.readouterr().err
    assert "the run a is being written by another process" in said
    assert "Measuring" not in said


@pytest.mark.parametrize(
    "moment", ["swapbench.report.writer.write_report", "swapbench.cli.terminal.print_records"]
)
def test_the_same_command_goes_on_where_the_report_or_the_table_was_interrupted(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(moment, interrupted)
        assert cli.main(RUN) == 130
    (record,) = (work / "reports" / "a" / "records").glob("*.json")
    kept = record.read_bytes()
    assert cli.main(RUN) in {0, 3}
    assert "Resuming the unfinished run a." in capsys.readouterr().err
    assert record.read_bytes() == kept
    assert (work / "reports" / "a" / "table.md").is_file()
    about = json.loads((work / "reports" / "a" / "run.json").read_text())
    assert about["finished"]
    assert about["reported"]
    assert cli.main(RUN) == 2
    said = capsys.readouterr().err
    assert "the run a has 1 record already. Show what it measured with: swapbench report reports/a;" in said


def test_a_signal_does_not_undo_what_a_command_has_said(tmp_path: Path) -> None:
    code = (
        "import sys; from swapbench import interrupts; interrupts.listen(); interrupts.conclude()\n"
        "print('said', file=sys.stderr, flush=True); sys.stdin.read()"
    )
    ending = subprocess.Popen(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert ending.stderr is not None
    assert ending.stderr.readline() == "said\n"
    for number in (signal.SIGINT, signal.SIGTERM):
        ending.send_signal(number)
    _, said = ending.communicate("", timeout=30)
    assert (ending.returncode, said) == (0, "")


def test_a_run_of_an_older_version_is_finished_without_a_word_of_its_report(tmp_path: Path) -> None:
    run_folder.write_about(tmp_path, {"description": {}}, finished=True)
    assert not run_folder.unfinished(tmp_path, {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_end_a_run_with_130_and_the_same_command_goes_on(work: Path, number: int) -> None:
    run = begun(["-m", "swapbench", *RUN[:-4], "--budget", "60", "--name", "a"], work)
    wait_until((work / "reports" / "a" / "run.json").is_file)
    time.sleep(0.5)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Interrupted." in said
    assert "bug" not in said
    assert not is_being_written(work / "reports" / "a")


def test_an_interrupt_while_modules_are_imported_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "slow_library.py").write_text(
        "import sys, time\nprint('importing', file=sys.stderr, flush=True)\n"
        "try:\n    time.sleep(60)\nexcept BaseException:\n    pass\ntime.sleep(60)\n"
    )
    code = "from swapbench import interrupts; interrupts.listen(); import slow_library"
    importing = begun(["-c", code], tmp_path)
    assert importing.stderr is not None
    assert importing.stderr.readline() == "importing\n"
    importing.send_signal(signal.SIGINT)
    _, said = importing.communicate(timeout=30)
    assert importing.returncode == 130
    assert said.startswith("Interrupted.")


_SIGNAL_AT = """
import os, signal, sys
at, number = os.environ.pop("SIGNAL_AT"), int(os.environ.pop("SIGNAL"))
def hook(event, arguments):
    if event == "import" and arguments[0] == at:
        os.kill(os.getpid(), number)
sys.addaudithook(hook)
"""


def interrupted_at(
    module: str, number: int, folder: Path, argv: list[str]
) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal when it begins to import a module."""
    (folder / "sitecustomize.py").write_text(_SIGNAL_AT)
    hooked = os.pathsep.join([str(folder), str(SOURCE)])
    return subprocess.run(
        [sys.executable, "-m", "swapbench", *argv],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": hooked, "SIGNAL_AT": module, "SIGNAL": str(int(number))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("argv", "module", "number"),
    [
        (["version"], "swapbench.cli", signal.SIGTERM),
        (["version"], "typer.exceptions", signal.SIGINT),
        (RUN, "numpy", signal.SIGINT),
        (["gate", "--baseline", "net.onnx", "--candidate", "net.onnx"], "onnx", signal.SIGTERM),
        (["report", str(SOURCE / "reports" / "example")], "numpy", signal.SIGINT),
        (["data", "simulate", "tree", "--split", "dev", "--layout", "manifest"], "cv2", signal.SIGINT),
        (["export", "minifasnet_v2"], "numpy", signal.SIGTERM),
        (["train", "minifasnet_v2"], "torch", signal.SIGTERM),
        (["train", "minifasnet_v2"], "torch.nn", signal.SIGINT),
    ],
)
def test_a_signal_ends_every_command_whatever_it_imports(
    work: Path, argv: list[str], module: str, number: int
) -> None:
    pytest.importorskip(module.partition(".")[0])
    ended = interrupted_at(module, number, work, argv)
    assert (ended.returncode, ended.stderr) == (130, f"{interrupts.SAID}\n")


def test_folders_that_a_killed_process_left_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".job-{dead.pid}-abc"
    left.mkdir()
    (tmp_path / f".job-{os.getpid()}-other").mkdir()
    (tmp_path / ".job-old").mkdir()
    with scratch_folder(tmp_path, "job") as folder:
        assert folder.is_dir()
        assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {".job-old", f".job-{os.getpid()}-other"}


def test_a_file_that_a_killed_process_left_unfinished_is_swept_by_the_next_try(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".a.json-{dead.pid}-x", f".a.json-{os.getpid()}-x", f".b.json-{dead.pid}-x"):
        (tmp_path / name).write_text("half")
    write_atomically(tmp_path / "a.json", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.json", f".a.json-{os.getpid()}-x", f".b.json-{dead.pid}-x"}


@pytest.mark.slow
def test_an_exporter_ends_with_its_parent(tmp_path: Path) -> None:
    skip_without("torch")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from swapbench.workshop.artifacts.exporting import start_child\n"
        "child = start_child('waiting', Path('job'), sys.stderr.buffer)\n"
        "print(child.pid, file=sys.stderr, flush=True); time.sleep(60)"
    )
    (tmp_path / "waiting.py").write_text(
        "import time; from swapbench.workshop.artifacts.exporting import end_with_parent\n"
        "end_with_parent(); time.sleep(60)"
    )
    parent = begun(["-c", code], tmp_path)
    assert parent.stderr is not None
    child = int(parent.stderr.readline())
    parent.kill()
    parent.wait()
    parent.stderr.close()
    wait_until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())
