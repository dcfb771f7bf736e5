"""What runs files here, and runtimes with an interpreter of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_files import small_onnx

from swapbench import catalog, cli
from swapbench.commands import listing, runtimes
from swapbench.errors import EnvironmentFailed, SwapbenchError, UnknownName, UserError, WorkerFailed
from swapbench.runtimes.about import about
from swapbench.runtimes.contract import LENDER, PythonWorker, parse_about

pytestmark = pytest.mark.usefixtures("few_rounds")

ANSWER = {
    "event": "about",
    "runtime": "r",
    "version": "1.2",
    "package": "p",
    "providers": ["cpu"],
    "packages": {"python": "3.11.0", "numpy": "2.0", "p": "1.2"},
}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> catalog.Folders:
    monkeypatch.chdir(tmp_path)
    return catalog.Folders(tmp_path)


def program(path: Path, text: str) -> Path:
    """A program of the shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """An interpreter with our packages that is not ours, as far as anyone can tell."""
    return program(tmp_path / "env" / "bin" / "python", f'exec "{sys.executable}" "$@"')


# ------------------------------------------------------------------------------------------------ listing


def test_each_runtime_says_what_it_is_and_what_is_missing_how_to_get_it(folders: catalog.Folders) -> None:
    rows = {row["name"]: row for row in runtimes.list_runtimes(folders).rows}
    assert list(rows) == list(catalog.RUNTIMES)
    import onnxruntime

    ort = rows["onnxruntime"]
    assert (ort["state"], ort["formats"], ort["version"]) == ("ok", ["onnx"], onnxruntime.__version__)
    assert ort["accelerators"] == onnxruntime.get_available_providers()
    assert rows["litert"]["accelerators"] == ["xnnpack", "builtin"]
    for row in rows.values():
        assert (row["state"] == "ok") == bool(row["version"]) == (not row["detail"])
        assert bool(row["remedy"]) == (row["state"] != "ok")


def test_the_listing_is_a_table_or_json(
    folders: catalog.Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalog, "RUNTIMES", {"tflite-runtime": catalog.RUNTIMES["tflite-runtime"]})
    monkeypatch.setattr(runtimes, "_asked", missing)
    assert cli.main(["runtimes"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[1].split() == ["tflite-runtime", ".tflite", "missing"]
    assert "not installed. It needs NumPy 1" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert cli.main(["runtimes", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["state"], row["version"], row["accelerators"]) == ("missing", "", [])


def missing(*_: object) -> None:
    raise WorkerFailed("tflite-runtime is not installed; install it with: pip install tflite-runtime")


# ------------------------------------------------------------------------------------------------ the worker


def test_what_a_worker_says_of_itself_is_read_back() -> None:
    class Plain:
        runtime, package, version = "r", "p", "1.2"

        def load(self, *_: object) -> None: ...

    class Telling(Plain):
        def available_providers(self) -> list[str]:
            return ["cpu", "npu"]

    said = about(Telling())  # type: ignore[arg-type]
    read = parse_about(f"chatter\n{json.dumps(said)}\n")
    assert (read.package, read.version, read.providers) == ("p", "1.2", ("cpu", "npu"))
    assert set(read.packages) == {"python", "numpy", "p"}
    assert about(Plain())["providers"] == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stdout", "message"),
    [
        ("", "answered nothing"),
        ("hello\n", "answered nothing"),
        (json.dumps({"event": "error", "message": "no luck"}), "no luck"),
        (json.dumps({"event": "loaded"}), "'loaded' instead of 'about'"),
        (json.dumps(ANSWER | {"packages": 3}), "incomplete"),
        (json.dumps(ANSWER | {"providers": None}), "incomplete"),
        (json.dumps({"event": "about"}), "incomplete"),
    ],
)
def test_an_answer_that_makes_no_sense_is_said(stdout: str, message: str) -> None:
    with pytest.raises(WorkerFailed, match=message):
        parse_about(stdout)


def test_another_interpreter_is_lent_our_package_and_that_of_the_worker_and_nothing_beside() -> None:
    ours = PythonWorker("r", ("onnx",), "swapbench.runtimes.ort")
    assert ours.start == [sys.executable, "-m", "swapbench.runtimes.ort"]
    theirs = PythonWorker("r", ("onnx",), "yaml.worker", python="/env/bin/python")
    python, environment, lender, ours_lent, lent, *rest = theirs.start
    assert (python, environment, lender) == ("/env/bin/python", "-E", str(LENDER))
    assert Path(ours_lent.removeprefix("swapbench=")) == Path(cli.__file__).parents[1] / "__init__.py"
    assert lent.startswith("yaml=")
    assert Path(lent.removeprefix("yaml=")).name == "__init__.py"
    assert rest == ["-m", "yaml.worker"]


def test_the_lender_makes_one_file_importable_and_passes_the_command_line_on(tmp_path: Path) -> None:
    (tmp_path / "lent.py").write_text("WORDS = 1\n")
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "task.py").write_text(
        "import lent, sys, importlib.util as u\n"
        "print(lent.WORDS, __name__, sys.argv[1:], u.find_spec('beside'), u.find_spec('worker'))\n"
    )
    lent = [f"{name}={tmp_path / name}.py" for name in ("lent", "task")]
    command = [sys.executable, "-E", str(LENDER), *lent, "-m", "task", "--mode", "about"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.stdout.split("\n")[0] == "1 __main__ ['--mode', 'about'] None None", done.stderr


# ------------------------------------------------------------------------------- an interpreter of its own


def test_a_runtime_with_an_interpreter_of_its_own_runs_and_its_packages_are_recorded(
    folders: catalog.Folders, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.onnx").write_bytes(small_onnx())
    assert cli.main(["runtimes", "add", "onnxruntime", "--python", "env"]) == 0
    assert "onnxruntime runs with env from now on (python 3." in capsys.readouterr().err
    assert Path("runtimes/onnxruntime.toml").read_text() == 'python = "env/bin/python"\n'
    chosen = catalog.runtime(folders, "onnxruntime")
    assert isinstance(chosen, PythonWorker)
    assert chosen.python == str(other)
    run = ["run", "net.onnx", "--budget", "1", "--window", "1", "--name", "run"]
    assert cli.main(run) in {0, 3}
    (path,) = Path("reports/run/records").glob("*.json")
    packages = json.loads(path.read_text())["machine"]["packages"]
    assert set(packages) == {"python", "numpy", "onnxruntime"}
    assert cli.main(["runtimes", "remove", "onnxruntime"]) == 0
    assert not Path("runtimes/onnxruntime.toml").exists()
    assert catalog.runtime(folders, "onnxruntime").python == sys.executable  # type: ignore[attr-defined]


def test_an_interpreter_that_is_gone_ends_the_run_before_it_begins(
    folders: catalog.Folders, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runtimes.add(folders, "onnxruntime", other)
    other.unlink()
    Path("net.onnx").write_bytes(small_onnx())
    assert cli.main(["run", "net.onnx"]) == EnvironmentFailed.exit_status
    message = capsys.readouterr().err
    assert f"{other} does not run onnxruntime: cannot start {other}: No such file" in message
    assert "swapbench runtimes remove onnxruntime" in message
    rows = {row["name"]: row for row in runtimes.list_runtimes(folders).rows}
    assert (rows["onnxruntime"]["state"], rows["litert"]["state"]) == ("missing", "ok")


def test_a_name_on_the_path_is_an_interpreter(
    folders: catalog.Folders, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(other.parent), prepend=":")
    other.rename(other.with_name("python-of-mine"))
    runtimes.add(folders, "onnxruntime", Path("python-of-mine"))
    assert catalog.interpreter(folders, "onnxruntime") == other.with_name("python-of-mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exit 0", "it answered nothing about its runtime"),
        ("echo it is late >&2; exit 1", r"it answered nothing about its runtime \(it is late\)"),
        ("while :; do echo; sleep 0.01; done", "did not finish within 0.2 s"),
        ("exec sleep 60", "did not finish within 0.2 s"),
    ],
)
def test_a_program_that_is_no_interpreter_is_refused(
    folders: catalog.Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setattr(runtimes, "PATIENCE_S", 0.2 if "sleep" in text else 60.0)
    path = program(tmp_path / "other", text)
    with pytest.raises(UserError, match=f"^{path} does not run litert: .*{message}"):
        runtimes.add(folders, "litert", path)
    assert not folders.runtimes.exists()


def test_a_program_of_another_processor_is_refused(folders: catalog.Folders, tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xff\xff" + bytes(44))
    path.chmod(0o755)
    with pytest.raises(UserError, match="no program for this computer's processor"):
        runtimes.add(folders, "litert", path)


def test_what_cannot_be_started_is_refused(folders: catalog.Folders, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("python")
    with pytest.raises(UserError, match=r"cannot start .*text: Permission denied"):
        runtimes.add(folders, "litert", Path("text"))
    for nowhere in ("no/such/python", "no-such-python", "."):
        with pytest.raises(UserError, match="there is no interpreter"):
            runtimes.add(folders, "litert", Path(nowhere))


def test_an_interpreter_without_the_package_is_told_what_to_install_there(
    folders: catalog.Folders, tmp_path: Path
) -> None:
    path = program(tmp_path / "python", f'exec "{sys.executable}" -I -S "$@"')
    with pytest.raises(UserError) as caught:
        runtimes.add(folders, "litert", path)
    assert str(caught.value) == (
        f"{path} does not run litert: it has no module numpy. "
        f"Install it there: {path} -m pip install numpy ai-edge-litert"
    )


@pytest.mark.parametrize("version", ["2.7", "3.8", "3.10"])
def test_an_old_interpreter_is_refused(folders: catalog.Folders, tmp_path: Path, version: str) -> None:
    old = next(iter(sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))), None)
    old = old or (Path(found) if (found := shutil.which(f"python{version}")) else None)
    if old is None:
        pytest.skip(f"there is no Python {version}")
    with pytest.raises(UserError, match=rf"it is Python {version}\.\d+, and a worker needs 3.11 or newer"):
        runtimes.add(folders, "litert", old)


def test_names_are_those_of_runtimes(folders: catalog.Folders, other: Path) -> None:
    for name in ("tflite", "../../etc/passwd", ""):
        with pytest.raises(UnknownName):
            runtimes.add(folders, name, other)
        with pytest.raises(UnknownName):
            runtimes.remove(folders, name)
    with pytest.raises(UserError, match="own Python already"):
        runtimes.remove(folders, "litert")


@pytest.mark.parametrize("content", ["", "python = 3", 'python = ""', 'python = "a"\nargs = "b"', "python ="])
def test_a_choice_that_a_person_has_spoilt_is_named(folders: catalog.Folders, content: str) -> None:
    folders.runtimes.mkdir()
    path = folders.runtimes / "litert.toml"
    path.write_text(content)
    with pytest.raises(SwapbenchError, match=r"runtimes/litert\.toml"):
        catalog.runtime(folders, "litert")


def test_the_doctor_says_which_runtimes_have_a_python_of_their_own(
    folders: catalog.Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swapbench.doctor.examine", lambda **_: ())
    folders.runtimes.mkdir()
    (folders.runtimes / "litert.toml").write_text('python = "env/bin/python"')
    (finding,) = listing.examine(folders)
    assert (finding.name, finding.state) == ("Python of litert", "ok")
    assert f"with {folders.root / 'env/bin/python'}" in finding.detail
