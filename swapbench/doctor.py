"""What can be measured on this computer, why the rest cannot, and what would help.

Every question about the computer is a function of `Probes`, so that a test can answer it. No runtime and no
PyTorch is imported here: packages are looked up, and the runtimes are tried in processes of their own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.cores import usable_cores
from swapbench.errors import MissingPackage, SwapbenchError
from swapbench.ports import SampledMeter
from swapbench.records import Absent, Finding
from swapbench.runtimes.lend import OLDEST as OLDEST_PYTHON
from swapbench.runtimes.ort import PACKAGES as _ONNXRUNTIME_PACKAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from swapbench.ports import Meter

LOAD_TIMEOUT_S = 60.0
LITTLE_DISK_BYTES = 2_000_000_000
TOO_LITTLE_DISK_BYTES = 200_000_000
BUSY_LOAD_PER_CORE = 0.25

EXTRAS: Mapping[str, Mapping[str, str]] = {
    "export": {
        "torch": "torch",
        "onnxscript": "onnxscript",
        "onnxslim": "onnxslim",
        "onnxconverter-common": "onnxconverter_common",
        "litert-torch": "litert_torch",
        "ai-edge-quantizer": "ai_edge_quantizer",
        "pnnx": "pnnx",
        "safetensors": "safetensors",
    },
    "train": {"torch": "torch", "safetensors": "safetensors"},
    "simulate": {"opencv-python-headless": "cv2"},
    "datasets": {"opencv-python-headless": "cv2", "dlib-bin": "dlib", "h5py": "h5py"},
}
"""Extra -> its packages, each with the module that shows that it is installed."""

_GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"


@dataclass(frozen=True)
class Probes:
    """What is asked about the computer. An unknown answer is None; none of them raises."""

    python: tuple[int, int, int]
    system: str
    version_of: Callable[[str], str | None]
    is_importable: Callable[[str], bool]
    load_failure: Callable[[str], str | None]
    read_text: Callable[[str], str | None]
    logical_cores: Callable[[], int | None]
    usable_cores: Callable[[], int]
    load_1min: Callable[[], float | None]
    free_bytes: Callable[[Path], int | None]
    write_failure: Callable[[Path], str | None]


def examine(
    meters: Mapping[str, Callable[[], Meter | Absent]], folder: Path, probes: Probes | None = None
) -> tuple[Finding, ...]:
    """All findings, in the order in which a person should read them.

    Args:
        meters: name -> a function that finds the meter or says why it is absent.
        folder: the working folder.
        probes: answer the questions about the computer; None asks this one.
    """
    ask = probes or this_computer()
    return (
        _python(ask),
        _own_version(ask),
        *_runtimes(ask),
        _extra("export", "making ONNX, TFLite and ncnn files", ask),
        _extra("train", "training, distilling and pruning", ask),
        _extra("simulate", "making simulated data", ask),
        _extra("datasets", "reading videos and finding faces", ask),
        *energy(meters),
        _cores(ask),
        _load(ask),
        _governor(ask),
        _virtual_machine(ask),
        _proc(ask),
        _disk(folder, ask),
        _writing(folder, ask),
    )


def this_computer() -> Probes:
    """Probes that ask this computer."""
    return Probes(
        python=sys.version_info[:3],
        system=f"{platform.system()} {platform.machine()}",
        version_of=version_of,
        is_importable=is_importable,
        load_failure=load_failure,
        read_text=_read_text,
        logical_cores=os.cpu_count,
        usable_cores=usable_cores,
        load_1min=_load_1min,
        free_bytes=_free_bytes,
        write_failure=write_failure,
    )


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_importable(module: str) -> bool:
    """Whether a top-level module could be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def lacks(extra: str) -> str | None:
    """The first package of an extra that is not installed, None where all are."""
    packages = EXTRAS[extra].items()
    return next((package for package, module in packages if not is_importable(module)), None)


def require(extra: str, purpose: str) -> None:
    """Raise MissingPackage where a package of an extra is not installed."""
    package = lacks(extra)
    if package is not None:
        raise MissingPackage(package, purpose, extra)


def load_failure(module: str, timeout_s: float = LOAD_TIMEOUT_S) -> str | None:
    """Why a fresh process cannot import `module`, in one line; None where it can."""
    argv = [sys.executable, "-W", "ignore", "-c", f"import {module}"]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"importing takes longer than {timeout_s:g} s"
    except OSError as error:
        return f"Python cannot be started ({error})"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"importing is killed by signal {-done.returncode}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"importing ends with status {done.returncode}"


def write_failure(folder: Path) -> str | None:
    """Why no file can be written in `folder`, or in its nearest parent that exists; None where one can."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)) as file:
            file.write(b"swapbench")
    except OSError as error:
        return error.strerror or str(error)
    return None


def _python(ask: Probes) -> Finding:
    text = ".".join(str(number) for number in ask.python)
    detail = f"Python {text} on {ask.system}"
    if ask.python[:2] >= OLDEST_PYTHON:
        return Finding("python", "ok", detail)
    oldest = ".".join(str(number) for number in OLDEST_PYTHON)
    return Finding("python", "missing", detail, f"Install Python {oldest} or newer.")


def _own_version(ask: Probes) -> Finding:
    packages = ("swapbench", "numpy", "pydantic", "onnx", "pillow", "pandas", "matplotlib", "psutil")
    versions = {package: ask.version_of(package) for package in packages}
    missing = [package for package, version in versions.items() if version is None and package != "swapbench"]
    detail = ", ".join(f"{package} {version}" for package, version in versions.items() if version is not None)
    if missing:
        return Finding(
            "packages",
            "missing",
            f"not installed: {', '.join(missing)}",
            f"Install them with: pip install {' '.join(missing)}",
        )
    return Finding("packages", "ok", detail)


def _runtimes(ask: Probes) -> Iterator[Finding]:
    modules = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
    yield _runtime("onnxruntime", ".onnx", _ONNXRUNTIME_PACKAGES, {}, ask)
    yield _runtime("litert", ".tflite", tuple(modules), modules, ask)
    yield _runtime("ncnn", ".param", ("ncnn",), {}, ask)
    # its library is linked with PyTorch's, which must be there first
    linked = {"executorch": "torch, executorch.extension.pybindings._C"}
    yield _runtime("executorch", ".pte", ("executorch",), linked, ask)
    if all(ask.version_of(package) is not None for package in modules):
        yield _runtime("tflite-runtime", ".tflite", ("tflite-runtime",), modules, ask)


def _runtime(
    name: str, suffix: str, packages: Sequence[str], modules: Mapping[str, str], ask: Probes
) -> Finding:
    preferred = packages[0]
    install = f"Install it with: pip install {preferred}"
    installed = [
        (package, version) for package in packages if (version := ask.version_of(package)) is not None
    ]
    if not installed:
        return Finding(name, "missing", f"{suffix} files cannot run: {preferred} is not installed", install)
    package, version = installed[0]
    failure = ask.load_failure(modules.get(package, name))
    if failure is not None:
        return Finding(
            name,
            "missing",
            f"{package} {version} is installed but does not load: {failure}",
            f"Install it again with: pip install --force-reinstall {package}",
        )
    if package == "tflite-runtime":
        return Finding(
            name,
            "limited",
            f"{package} {version} runs {suffix} files, but is no longer maintained",
            "LiteRT is its successor: pip install ai-edge-litert",
        )
    return Finding(name, "ok", f"{package} {version} runs {suffix} files")


def _extra(extra: str, purpose: str, ask: Probes) -> Finding:
    packages = EXTRAS[extra]
    missing = [package for package, module in packages.items() if not ask.is_importable(module)]
    if missing:
        return Finding(
            extra,
            "missing",
            f"{purpose} needs packages that are not installed: {', '.join(missing)}",
            f"Install with: pip install 'swapbench[{extra}]'",
        )
    versions = ", ".join(
        f"{package} {ask.version_of(package) or '(version unknown)'}" for package in packages
    )
    return Finding(extra, "ok", f"{purpose}: {versions}")


def energy(meters: Mapping[str, Callable[[], Meter | SampledMeter | Absent]]) -> tuple[Finding, ...]:
    """A finding for each meter: what it counts, or why it is not there."""
    return tuple(_meter(name, find) for name, find in meters.items())


def _meter(name: str, find: Callable[[], Meter | SampledMeter | Absent]) -> Finding:
    title = f"energy: {name}"
    try:
        meter = find()
        if isinstance(meter, Absent):
            return Finding(title, "missing", meter.absent, meter.remedy)
        if isinstance(meter, SampledMeter):
            meter.check()
            return Finding(title, "ok", f"{', '.join(meter.files)}, sampled every {meter.period_ms} ms")
        counters = ", ".join(value.counter for value in meter.read())
    except SwapbenchError as error:
        return Finding(title, "missing", str(error.args[0]), error.remedy)
    step = units.energy(meter.resolution_uj)
    return Finding(
        title,
        "ok",
        f"{meter.scope}: {counters}; steps of {step}, updated every {units.duration(meter.update_ns)}",
    )


def _cores(ask: Probes) -> Finding:
    usable = ask.usable_cores()
    detail = f"{usable} of {ask.logical_cores() or usable} logical cores can be used"
    if usable == 1:
        return Finding(
            "cores",
            "limited",
            f"{detail}: the measured process shares its core",
            "Use a machine with two cores or more.",
        )
    return Finding("cores", "ok", detail)


def _load(ask: Probes) -> Finding:
    load, cores = ask.load_1min(), ask.usable_cores()
    if load is None:
        return Finding("load", "limited", "the load of this system is unknown")
    detail = f"a load of {units.significant(load, 2)} over the last minute, on {cores} cores"
    if load > BUSY_LOAD_PER_CORE * cores:
        return Finding(
            "load", "limited", detail, "Stop other programs before measuring; uptime shows the load."
        )
    return Finding("load", "ok", detail)


def _governor(ask: Probes) -> Finding:
    text = ask.read_text(_GOVERNOR)
    if text is None:
        return Finding(
            "governor",
            "limited",
            "the frequency governor is not visible (a virtual machine, a container, or no frequency scaling)",
            "Nothing can be set here; frequency changes show only as wide intervals.",
        )
    governor = text.strip()
    if governor == "performance":
        return Finding("governor", "ok", "performance")
    return Finding(
        "governor",
        "limited",
        f"{governor}: the clock rate follows the load, so short runs are slower than long ones",
        "For steady numbers: sudo cpupower frequency-set -g performance",
    )


def _virtual_machine(ask: Probes) -> Finding:
    cpuinfo = ask.read_text("/proc/cpuinfo")
    if cpuinfo is None:
        return Finding("virtual machine", "limited", "unknown without /proc/cpuinfo")
    if re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE):
        return Finding(
            "virtual machine",
            "limited",
            "this is one: neighbours on the host disturb timings, and its energy counters are hidden",
            "Compare builds in one sitting only; measure energy on the computer itself.",
        )
    return Finding("virtual machine", "ok", "no sign of one")


def _proc(ask: Probes) -> Finding:
    status = ask.read_text("/proc/self/status")
    if status is not None and re.search(r"^VmHWM:\s+\d+ kB", status, re.MULTILINE):
        return Finding("/proc", "ok", "peak memory and CPU time of a worker can be read")
    return Finding(
        "/proc",
        "limited",
        "/proc/self/status does not report peak memory (VmHWM)",
        "Mount /proc; without it, peak memory comes from rusage.",
    )


def _disk(folder: Path, ask: Probes) -> Finding:
    free = ask.free_bytes(folder)
    if free is None:
        return Finding("disk", "limited", f"the free space in {folder} is unknown")
    detail = f"{units.size(free)} free in {folder}"
    if free < TOO_LITTLE_DISK_BYTES:
        return Finding("disk", "missing", detail, "Free some space, or work in another folder.")
    if free < LITTLE_DISK_BYTES:
        return Finding(
            "disk", "limited", detail, "Exports and simulated data can take 2 GB; free some space."
        )
    return Finding("disk", "ok", detail)


def _writing(folder: Path, ask: Probes) -> Finding:
    failure = ask.write_failure(folder)
    if failure is None:
        return Finding("writing", "ok", f"files can be written in {folder}")
    return Finding(
        "writing",
        "missing",
        f"no file can be written in {folder}: {failure}",
        f"Work in a folder of your own, or: sudo chown $USER {folder}",
    )


def _existing(folder: Path) -> Path:
    absolute = folder.absolute()
    return next((path for path in (absolute, *absolute.parents) if path.is_dir()), absolute)


def _read_text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _load_1min() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(_existing(folder)).free
    except OSError:
        return None
