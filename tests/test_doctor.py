"""The doctor, asked about computers made of paper."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from swapbench import doctor
from swapbench.doctor import Probes, examine
from swapbench.errors import DeviceFailed
from swapbench.ports import CounterValue
from swapbench.records import Absent, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swapbench.ports import Meter

FOLDER = Path("/work of mine")
EXECUTORCH = "torch, executorch.extension.pybindings._C"
VERSIONS = dict.fromkeys(
    (
        *("swapbench", "numpy", "pydantic", "onnx", "pillow", "pandas", "matplotlib", "psutil"),
        *("onnxruntime", "ai-edge-litert", "ncnn", "executorch", "torch", "onnxscript", "onnxslim"),
        *("onnxconverter-common", "pnnx"),
        *("litert-torch", "ai-edge-quantizer", "safetensors", "opencv-python-headless", "dlib-bin"),
    ),
    "1.2.3",
)
FILES = {
    "/proc/cpuinfo": "vendor_id : GenuineIntel\nflags : fpu vme\n",
    "/proc/self/status": "Name:\tpython\nVmHWM:\t   43212 kB\n",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
}
GOOD = Probes(
    python=(3, 12, 1),
    system="Linux x86_64",
    version_of=VERSIONS.get,
    is_importable=lambda _: True,
    load_failure=lambda _: None,
    read_text=FILES.get,
    logical_cores=lambda: 8,
    usable_cores=lambda: 8,
    load_1min=lambda: 0.1,
    free_bytes=lambda _: 50_000_000_000,
    write_failure=lambda _: None,
)


class Wheel:
    """A meter that is there."""

    name, scope, resolution_uj, update_ns = "wheel", "hamster wheel", 1_000, 1_000_000

    def read(self) -> tuple[CounterValue, ...]:
        return (CounterValue("left", 1, None, 0), CounterValue("right", 2, None, 0))


METERS: Mapping[str, Callable[[], Meter | Absent]] = {"wheel": Wheel}


def ask(meters: Mapping[str, Callable[[], Meter | Absent]] = METERS, **changed: Any) -> dict[str, Finding]:
    findings = examine(meters, FOLDER, dataclasses.replace(GOOD, **changed))
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    return {finding.name: finding for finding in findings}


def without(*packages: str) -> Callable[[str], str | None]:
    return lambda name: None if name in packages else VERSIONS.get(name)


def test_a_good_computer_is_ok_throughout_and_needs_no_remedy() -> None:
    findings = ask()
    assert {name: one for name, one in findings.items() if one.state != "ok" or one.remedy} == {}
    assert (
        findings["energy: wheel"].detail
        == "hamster wheel: left, right; steps of 1.00 mJ, updated every 1.00 ms"
    )
    assert "onnxruntime 1.2.3" in findings["onnxruntime"].detail


def test_everything_that_is_not_ok_says_what_would_help() -> None:
    findings = examine(
        {"dark": lambda: Absent(absent="no light", remedy="Switch it on.")},
        FOLDER,
        Probes(
            python=(3, 9, 0),
            system="Plan9",
            version_of=lambda _: None,
            is_importable=lambda _: False,
            load_failure=lambda _: "broken",
            read_text=lambda _: None,
            logical_cores=lambda: 1,
            usable_cores=lambda: 1,
            load_1min=lambda: 3.0,
            free_bytes=lambda _: 5,
            write_failure=lambda _: "Read-only file system",
        ),
    )
    assert all(finding.state != "ok" for finding in findings)
    silent = [finding.name for finding in findings if not finding.remedy]
    assert silent == ["virtual machine"]  # what cannot be seen there cannot be mended either


def test_an_old_python_is_named() -> None:
    finding = ask(python=(3, 10, 4))["python"]
    assert (finding.state, finding.detail) == ("missing", "Python 3.10.4 on Linux x86_64")
    assert finding.remedy == "Install Python 3.11 or newer."


def test_a_missing_package_is_named_with_its_command() -> None:
    finding = ask(version_of=without("psutil", "pillow"))["packages"]
    assert (finding.state, finding.detail) == ("missing", "not installed: pillow, psutil")
    assert finding.remedy == "Install them with: pip install pillow psutil"


def test_a_source_tree_that_was_never_installed_is_no_missing_package() -> None:
    assert ask(version_of=without("swapbench"))["packages"].state == "ok"


def test_a_missing_runtime_says_which_files_cannot_run() -> None:
    finding = ask(version_of=without("onnxruntime"))["onnxruntime"]
    assert finding == Finding(
        "onnxruntime",
        "missing",
        ".onnx files cannot run: onnxruntime is not installed",
        "Install it with: pip install onnxruntime",
    )


def test_onnxruntime_for_gpus_is_onnxruntime() -> None:
    versions = {**VERSIONS, "onnxruntime-gpu": "1.20"}
    del versions["onnxruntime"]
    finding = ask(version_of=versions.get)["onnxruntime"]
    assert (finding.state, finding.detail) == ("ok", "onnxruntime-gpu 1.20 runs .onnx files")


def test_a_runtime_that_does_not_load_is_missing_and_not_only_installed() -> None:
    tried: list[str] = []

    def load_failure(module: str) -> str | None:
        tried.append(module)
        return "ImportError: libfoo.so.1: cannot open shared object file" if module == "onnxruntime" else None

    findings = ask(load_failure=load_failure)
    assert findings["onnxruntime"].state == "missing"
    assert "is installed but does not load: ImportError: libfoo.so.1" in findings["onnxruntime"].detail
    assert findings["litert"].state == "ok"
    assert tried == ["onnxruntime", "ai_edge_litert.interpreter", "ncnn", EXECUTORCH]


def test_the_frozen_tflite_runtime_is_a_limited_litert() -> None:
    versions = {**VERSIONS, "tflite-runtime": "2.14.0"}
    findings = ask(version_of=versions.get)
    assert (findings["litert"].state, findings["tflite-runtime"].state) == ("ok", "limited")
    del versions["ai-edge-litert"]
    tried: list[str] = []
    findings = ask(version_of=versions.get, load_failure=tried.append)
    assert "tflite-runtime" not in findings
    finding = findings["litert"]
    assert finding.state == "limited"
    assert "tflite-runtime 2.14.0 runs .tflite files" in finding.detail
    assert finding.remedy == "LiteRT is its successor: pip install ai-edge-litert"
    assert tried == ["onnxruntime", "tflite_runtime.interpreter", "ncnn", EXECUTORCH]


@pytest.mark.parametrize(
    ("module", "package", "extras"),
    [
        ("torch", "torch", ("export", "train")),
        ("cv2", "opencv-python-headless", ("simulate", "datasets")),
        ("dlib", "dlib-bin", ("datasets",)),
    ],
)
def test_a_workshop_without_its_packages_names_the_extra(
    module: str, package: str, extras: tuple[str, ...]
) -> None:
    findings = ask(is_importable=lambda name: name != module)
    for extra in ("export", "train", "simulate", "datasets"):
        assert findings[extra].state == ("missing" if extra in extras else "ok")
    assert f"needs packages that are not installed: {package}" in findings[extras[0]].detail
    assert findings[extras[0]].remedy == f"Install with: pip install 'swapbench[{extras[0]}]'"


def test_an_absent_meter_keeps_its_reason_and_remedy() -> None:
    findings = ask({"dark": lambda: Absent(absent="no light", remedy="Switch it on."), **METERS})
    assert findings["energy: dark"] == Finding("energy: dark", "missing", "no light", "Switch it on.")
    assert findings["energy: wheel"].state == "ok"


def test_a_meter_that_fails_when_read_is_missing_and_ends_nothing() -> None:
    class Broken(Wheel):
        def read(self) -> tuple[CounterValue, ...]:
            raise DeviceFailed("the wheel is stuck", remedy="Oil it.")

    assert ask({"broken": Broken})["energy: broken"] == Finding(
        "energy: broken", "missing", "the wheel is stuck", "Oil it."
    )


@pytest.mark.parametrize(
    ("logical", "usable", "state", "detail"),
    [
        (8, 8, "ok", "8 of 8 logical cores can be used"),
        (8, 2, "ok", "2 of 8 logical cores can be used"),
        (8, 1, "limited", "1 of 8 logical cores can be used: the measured process shares its core"),
        (None, 4, "ok", "4 of 4 logical cores can be used"),
    ],
)
def test_cores_are_those_that_may_be_used(logical: int | None, usable: int, state: str, detail: str) -> None:
    finding = ask(logical_cores=lambda: logical, usable_cores=lambda: usable)["cores"]
    assert (finding.state, finding.detail) == (state, detail)


@pytest.mark.parametrize(
    ("load", "cores", "state"),
    [(0.5, 2, "ok"), (0.51, 2, "limited"), (1.9, 8, "ok"), (2.1, 8, "limited"), (None, 8, "limited")],
)
def test_a_load_above_a_quarter_of_the_cores_is_too_much(load: float | None, cores: int, state: str) -> None:
    assert ask(load_1min=lambda: load, usable_cores=lambda: cores)["load"].state == state


@pytest.mark.parametrize(
    ("governor", "state", "remedy"),
    [
        ("performance\n", "ok", ""),
        ("powersave\n", "limited", "sudo cpupower frequency-set -g performance"),
        (None, "limited", "Nothing can be set here"),
    ],
)
def test_the_governor_is_judged(governor: str | None, state: str, remedy: str) -> None:
    path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    files = {**FILES, path: governor}
    finding = ask(read_text=files.get)["governor"]
    assert finding.state == state
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("cpuinfo", "state"),
    [
        ("flags\t\t: fpu hypervisor lahf_lm\n", "limited"),
        ("flags\t\t: fpu lahf_lm\nmodel name : hypervisor\n", "ok"),
        (None, "limited"),
    ],
)
def test_a_virtual_machine_is_known_by_its_flag(cpuinfo: str | None, state: str) -> None:
    files = {**FILES, "/proc/cpuinfo": cpuinfo}
    assert ask(read_text=files.get)["virtual machine"].state == state


@pytest.mark.parametrize("status", [None, "Name:\tpython\n"])
def test_a_proc_without_a_high_water_mark_is_limited(status: str | None) -> None:
    files = {**FILES, "/proc/self/status": status}
    assert ask(read_text=files.get)["/proc"].state == "limited"


@pytest.mark.parametrize(
    ("free", "state"),
    [(2_000_000_000, "ok"), (1_999_999_999, "limited"), (199_999_999, "missing"), (None, "limited")],
)
def test_disk_space_is_judged_in_the_working_folder(free: int | None, state: str) -> None:
    asked: list[Path] = []

    def free_bytes(folder: Path) -> int | None:
        asked.append(folder)
        return free

    assert ask(free_bytes=free_bytes)["disk"].state == state
    assert asked == [FOLDER]


def test_a_folder_that_cannot_be_written_is_missing() -> None:
    finding = ask(write_failure=lambda _: "Read-only file system")["writing"]
    assert finding.state == "missing"
    assert finding.detail == f"no file can be written in {FOLDER}: Read-only file system"


# -------------------------------------------------------------------------------------- the real questions


def test_a_module_that_loads_has_no_failure() -> None:
    assert doctor.load_failure("json") is None


def test_a_module_that_does_not_load_gives_the_last_line_of_its_error() -> None:
    assert doctor.load_failure("no_such_module_here") == (
        "ModuleNotFoundError: No module named 'no_such_module_here'"
    )


def test_a_module_that_never_loads_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeping_module.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert doctor.load_failure("sleeping_module", timeout_s=0.2) == "importing takes longer than 0.2 s"


def test_a_module_that_dies_names_the_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dying_module.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert doctor.load_failure("dying_module") == "importing is killed by signal 9"


def test_packages_are_looked_up_and_not_imported() -> None:
    assert doctor.version_of("pytest") == pytest.__version__
    assert doctor.version_of("no-such-distribution") is None
    assert doctor.is_importable("antigravity")
    assert not doctor.is_importable("no_such_module_here")
    assert not doctor.is_importable("")
    assert "antigravity" not in sys.modules


def test_a_folder_that_does_not_exist_yet_is_asked_of_its_parent(tmp_path: Path) -> None:
    probes = doctor.this_computer()
    inside = tmp_path / "not" / "yet"
    assert probes.write_failure(inside) is None
    assert (probes.free_bytes(inside) or 0) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_says_why() -> None:
    assert doctor.write_failure(Path("/proc/self")) is not None


def test_this_computer_answers_every_question() -> None:
    probes = dataclasses.replace(doctor.this_computer(), load_failure=lambda _: None)
    findings = examine({}, Path(), probes)
    assert [finding.name for finding in findings][:2] == ["python", "packages"]
    assert all(finding.detail for finding in findings)
