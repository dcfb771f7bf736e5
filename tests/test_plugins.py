"""What installed packages add, with packages that are a few files on the path."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from tiny_files import small_onnx

from swapbench import catalog, cli
from swapbench.commands.options import DeviceOptions
from swapbench.commands.place import available_meters, open_place
from swapbench.errors import BadModelFile, EnvironmentFailed, UnknownName, UserError
from swapbench.modelfile import read_graph
from swapbench.plugins import plugins
from swapbench.records import Absent, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("few_rounds")

RUNTIME = """
from dataclasses import dataclass
from swapbench.runtimes.ort import OnnxRuntime

@dataclass
class Twin(OnnxRuntime):
    name: str = "twin"
"""
METER = """
import time
from swapbench.ports import CounterValue
from swapbench.records import Absent

class Candle:
    name, scope, resolution_uj, update_ns = "candle", "a candle", 1, 1_000_000

    def read(self):
        now_ns = time.monotonic_ns()
        return (CounterValue("flame", now_ns // 1000, None, now_ns),)

def none():
    return Absent(absent="nobody lit it", remedy="Light it.")

def stuck():
    raise OSError("no matches")
"""
DEVICE = """
from swapbench.devices.local import Local

class Board(Local):
    def meters(self):
        from {meters} import Candle
        return {{"candle": Candle}}

def board(profile, serial):
    board = Board(profile["name"])
    board.where = (profile["address"], serial)
    return board
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> catalog.Folders:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return catalog.Folders(work)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a package of one module: its entry points as they stand in the file, and its code."""

    def installed(package: str, entries: str, code: str = "") -> None:
        site = tmp_path / "site"
        info = site / f"{package}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(entries)
        (site / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, package, raising=False)  # of an earlier test
        monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")  # workers find it too

    return installed


# ------------------------------------------------------------------------------------------------ runtimes


def test_a_runtime_of_a_package_runs_where_it_is_named(
    folders: catalog.Folders, install: Callable[..., None]
) -> None:
    install("twinned", "[swapbench.runtimes]\ntwin = twinned:Twin\n", RUNTIME)
    assert catalog.runtime_names()[-1] == "twin"
    assert [one.name for one in catalog.runtimes(folders)] == list(catalog.runtimes_by_default())
    Path("net.onnx").write_bytes(small_onnx())
    run = ["run", "net.onnx", "--runtime", "twin", "--budget", "1", "--window", "1", "--name", "run"]
    assert cli.main(run) in {0, 3}
    (path,) = Path("reports/run/records").glob("*.json")
    assert path.name.startswith("net.onnx-twin-")


def test_reading_what_there_is_imports_no_package(install: Callable[..., None]) -> None:
    install("bomb", "[swapbench.runtimes]\nboom = bomb:x\n", "raise SystemExit('bang')")
    assert plugins("runtime", ()).by_name["boom"].package == "bomb 1.5"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('bang')", "SystemExit: bang"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("", "AttributeError: module 'faulty' has no attribute 'Twin'"),
        ("class Twin: name = 'twin'", "it has no formats and no command and no parse_loaded"),
        ("def Twin(): return 1 / 0", "ZeroDivisionError: division by zero"),
        (RUNTIME.replace('"twin"', '"onnxruntime"'), "it calls itself 'onnxruntime'"),
    ],
)
def test_a_broken_package_costs_a_line_and_itself(
    folders: catalog.Folders,
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    reason: str,
) -> None:
    monkeypatch.setattr(catalog, "RUNTIMES", {})
    install("faulty", "[swapbench.runtimes]\ntwin = faulty:Twin\n", code)
    with pytest.raises(EnvironmentFailed) as caught:
        catalog.runtime(folders, "twin")
    assert str(caught.value).startswith(f"the runtime twin of the package faulty 1.5 does not work ({reason}")
    assert str(caught.value).endswith("Update the package, or: pip uninstall faulty")
    assert cli.main(["runtimes", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["state"], row["added_by"]) == ("twin", "missing", "faulty 1.5")
    assert reason in row["detail"]


@pytest.mark.parametrize(
    ("name", "notice"),
    [
        ("onnxruntime", "the runtime onnxruntime of mine 1.5 is ignored: swapbench has its own of that name"),
        ("../up", "the runtime '../up' of mine 1.5 is ignored: that is no plain name"),
        ("Big", "the runtime 'Big' of mine 1.5 is ignored: that is no plain name"),
    ],
)
def test_a_package_cannot_take_a_name(
    folders: catalog.Folders,
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    notice: str,
) -> None:
    install("mine", f"[swapbench.runtimes]\n{name} = mine:Twin\n", RUNTIME)
    assert type(catalog.runtime(folders, "onnxruntime")).__module__ == "swapbench.runtimes.ort"
    assert catalog.runtime_names() == tuple(catalog.RUNTIMES)
    if name != "onnxruntime":
        with pytest.raises(UnknownName):
            catalog.runtime(folders, name)
    assert catalog.plugin_notices() == (notice,)
    monkeypatch.setattr("swapbench.commands.runtimes._row", lambda _, one: {"name": one, "state": "ok"})
    assert cli.main(["runtimes", "--json"]) == 0
    assert capsys.readouterr().err == f"notice: {notice}\n"


def test_two_packages_with_one_name_are_both_ignored(install: Callable[..., None]) -> None:
    for package in ("one", "two"):
        install(package, f"[swapbench.runtimes]\ntwin = {package}:Twin\n", RUNTIME)
    found = plugins("runtime", ())
    assert dict(found.by_name) == {}
    assert found.refused == ("the runtime twin is ignored: one 1.5 and two 1.5 both bring one",)


# -------------------------------------------------------------------------------------------------- meters


def test_a_meter_of_a_package_is_found_and_one_that_does_not_work_costs_a_line(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "METERS", {})
    entries = "[swapbench.meters]\ncandle = lit:Candle\ndark = lit:none\nbox = lit:stuck\nwax = lit:Candle\n"
    install("lit", entries, METER)
    said: list[str] = []
    found = available_meters(catalog.meters(), said.append)
    assert not isinstance(found, Absent)
    assert [meter.name for meter in found] == ["candle"]
    assert [line.partition(" of the package")[0] for line in said] == [
        "notice: the meter box",
        "notice: the meter wax",
    ]
    assert "(OSError: no matches)" in said[0]
    assert "(it calls itself 'candle')" in said[1]


def test_a_meter_that_is_absent_says_why(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "METERS", {})
    install("unlit", "[swapbench.meters]\ndark = unlit:none\n", METER)
    found = available_meters(catalog.meters())
    assert found == Absent(absent="dark: nobody lit it", remedy="dark: Light it.")


# ------------------------------------------------------------------------------------------------- devices


def board(folders: catalog.Folders, kind: str = "board") -> None:
    folders.devices.mkdir(exist_ok=True)
    (folders.devices / "mine.toml").write_text(f'name = "mine"\nkind = "{kind}"\naddress = "here"\n')


def test_a_device_of_a_package_runs_files_with_its_own_meters(
    folders: catalog.Folders, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install("waxed", "", METER)
    install("boarded", "[swapbench.devices]\nboard = boarded:board\n", DEVICE.format(meters="waxed"))
    board(folders)
    place = open_place(folders, DeviceOptions("mine", "SERIAL-1"), ["onnxruntime"])
    assert place.device.where == ("here", "SERIAL-1")  # type: ignore[attr-defined]
    assert list(place.meters) == ["candle"]
    assert place.setup == {"kind": "board"}
    with pytest.raises(UserError, match="--cores is for phones"):
        open_place(folders, DeviceOptions("mine", cores=("big",)), [])
    assert cli.main(["devices", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["profiles"]}
    assert (rows["mine"]["kind"], rows["mine"]["attached"]) == ("board", "")
    assert cli.main(["doctor", "--device", "mine", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert [finding["name"] for finding in findings] == ["device", "energy: candle"]


def test_a_device_of_another_name_or_kind_is_refused(
    folders: catalog.Folders, install: Callable[..., None]
) -> None:
    install(
        "boarded",
        "[swapbench.devices]\nboard = boarded:board\nlocal = boarded:board\n",
        DEVICE.format(meters="waxed"),
    )
    (line,) = catalog.plugin_notices()
    assert line.startswith("the device local of boarded 1.5 is ignored: swapbench has its own")
    board(folders, "bord")
    with pytest.raises(UserError, match=r"unknown kind 'bord'. Known kinds: local, android, board"):
        catalog.device(folders, "mine")
    board(folders)
    (folders.devices / "mine.toml").rename(folders.devices / "other.toml")
    with pytest.raises(EnvironmentFailed, match="it calls itself 'mine'"):
        catalog.device(folders, "other")


# ------------------------------------------------------------------------------------------------- formats

FORMAT = """
import json
import sys
from dataclasses import dataclass

import numpy as np

from swapbench.errors import BadModelFile
from swapbench.modelfile import Graph, Tensor
from swapbench.runtimes.contract import PythonWorker
from swapbench.runtimes.feed import Input, Output
from swapbench.runtimes.worker import main

def read(path, content, shapes):
    try:
        shape = tuple(json.loads(content))
    except ValueError:
        raise BadModelFile(f"{path} holds no dots") from None
    inputs, outputs = (Tensor("x", shape, "float32"),), (Tensor("y", (1,), "float32"),)
    return Graph("dots", inputs, outputs, len(content), params=7, macs=0, ops={"Dot": 1},
                 uncounted_ops=("Dot",), precision="fp32", layout="nchw", files=(path,))

@dataclass
class Dots(PythonWorker):
    name: str = "dots"
    formats: tuple = ("dots",)
    module: str = "dotted"

class Backend:
    runtime = package = "dots"
    version = "1"

    def load(self, artifact, threads, provider, shapes):
        return Engine(shapes)

class Engine:
    providers, settings, outputs = ("python",), {}, (Output("y"),)
    delegated_nodes = nodes = None

    def __init__(self, shapes):
        self.input = Input("x", shapes.of_input(0, "x", ()), np.dtype(np.float32))

    def timed_call(self, feed):
        return lambda: feed.sum(keepdims=True)

if __name__ == "__main__":
    sys.exit(main(Backend))
"""
ENTRIES = "[swapbench.formats]\ndots = dotted:read\n[swapbench.runtimes]\ndots = dotted:Dots\n"


def test_a_format_of_a_package_is_measured_and_reported_without_the_package(
    folders: catalog.Folders,
    install: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install("dotted", ENTRIES, FORMAT)
    Path("net.dots").write_text("[1, 3, 8, 8]")
    Path("bad.dots").write_text("[1, 3")
    run = [
        "run",
        "net.dots",
        "bad.dots",
        "--runtime",
        "dots",
        "--budget",
        "1",
        "--window",
        "1",
        "--name",
        "run",
    ]
    assert cli.main(run) == BadModelFile.exit_status
    assert "failed: bad.dots: holds no dots" in capsys.readouterr().err
    (path,) = Path("reports/run/records").glob("*.json")
    record = json.loads(path.read_text())
    assert (record["variant"]["format"], record["weight"]["params"]) == ("dots", 7)
    assert record["weight"]["uncounted_ops"] == ["Dot"]
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(tmp_path / "site")])
    assert cli.main(["report", "reports/run", "--format", "csv"]) == 0
    assert cli.main(["run", "net.dots"]) == BadModelFile.exit_status
    assert "net.dots: is no .onnx, .tflite, .param or .pte file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def read(*_): return 3", "it does not return a Graph of the format dots"),
        (FORMAT.replace('Graph("dots"', 'Graph("onnx"'), "it does not return a Graph of the format dots"),
        ("def read(*_): raise KeyError('dot')", "KeyError: 'dot'"),
    ],
)
def test_a_reader_that_does_not_work_costs_its_files(
    folders: catalog.Folders, install: Callable[..., None], code: str, reason: str
) -> None:
    install("dotted", ENTRIES, code)
    Path("net.dots").write_text("[1, 3, 8, 8]")
    with pytest.raises(EnvironmentFailed) as caught:
        read_graph(Path("net.dots"))
    assert reason in str(caught.value)


def test_a_package_cannot_take_a_format(install: Callable[..., None]) -> None:
    install(
        "taker", "[swapbench.formats]\n" + "".join(f"{one} = taker:x\n" for one in ("onnx", "param", "ncnn"))
    )
    assert len(catalog.plugin_notices()) == 3
    with pytest.raises(ValidationError):
        Variant(net="n", precision="fp32", format="../onnx")
