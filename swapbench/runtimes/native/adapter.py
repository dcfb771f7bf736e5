"""The native runner from the parent's side: ONNX Runtime and LiteRT on devices without Python.

The runner keeps the worker contract (`swapbench.runtimes.contract`), so that its answers are read as those of every other
worker. What it says beyond the contract is read here: when a slice began and ended, frames that a paced slice lost, and files
that were watched meanwhile, all by the device's own clocks.

Its libraries come in flavours: "aar", the official Android libraries; "bundle", those of the Linux wheels with a C library of
their own; "host", those of the wheels installed on this computer. The flavour and the package stand in what a record says of
its runtime, so that numbers of two flavours are never compared.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swapbench.errors import MissingPackage, WorkerFailed
from swapbench.ports import Samples
from swapbench.runtimes import contract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.ports import Loaded, Mode, Outputs, Profile, Runtime, Slice, WatchingRuntime
    from swapbench.records import Format

Flavour = Literal["aar", "bundle", "host"]
Windowed = Literal["slice", "idle"]


@dataclass(frozen=True)
class Clocks:
    """The device's clocks at one moment: monotonic (runs, watched files), since boot (power rails), wall clock."""

    monotonic_ns: int
    boottime_ns: int
    realtime_ns: int

    def boottime_of(self, monotonic_ns: int) -> int:
        """The time since boot at a moment of the monotonic clock, where the device did not sleep in between."""
        return monotonic_ns + self.boottime_ns - self.monotonic_ns


@dataclass(frozen=True)
class Window:
    """When a slice ran, by the monotonic clock. late_frames: camera frames that it lost, None where it was not paced."""

    begin_ns: int
    end_ns: int
    late_frames: int | None = None


@dataclass(frozen=True)
class Watched:
    """Files watched during a slice or an idle window.

    times_ns: when each row was read (monotonic); values: one tuple a row, a number for each file in the order in which they
    were given, None where it could not be read or held no number. The first row is read before begin_ns, the last after end_ns.
    """

    what: Windowed
    begin_ns: int
    end_ns: int
    times_ns: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    clocks: Clocks


@dataclass
class NativeWorker:
    """The runner with one library on one device; implements ports.Runtime.

    runner, library: their paths on the device. prefix: what starts the runner there, e.g. a loader with its flags or `env` with
    variables. package, version: where the library comes from, as it was pushed. affinity: hexadecimal mask of the cores to run
    on, "" for all; cores: what kind they are, in a word. fps: camera pacing, None for runs back to back.
    """

    name: str
    formats: tuple[Format, ...]
    runner: str
    library: str
    flavour: Flavour
    package: str
    version: str = ""
    prefix: tuple[str, ...] = ()
    affinity: str = ""
    cores: str = ""
    fps: float | None = None

    def command(
        self, artifact: str, *, mode: Mode, threads: int, options: Mapping[str, str | int | float]
    ) -> list[str]:
        """The runner's command line; `options` are its flags without dashes: {"warmup_runs": 5}. Scoring is never paced.

        WorkerFailed for a profile, which only the Python workers make.
        """
        if mode == "profile":
            raise _no_profile(self.name)
        given: dict[str, str | int | float] = {"runtime": self.name, "library": self.library, "mode": mode}
        given |= {"artifact": artifact, "threads": threads}
        if self.affinity:
            given["affinity"] = self.affinity
        if self.fps is not None and mode != "score":
            given["fps"] = self.fps
        argv = [*self.prefix, self.runner]
        for key, value in {**given, **options}.items():
            argv += [f"--{key.replace('_', '-')}", str(value)]
        return argv

    def parse_loaded(self, line: str) -> Loaded:
        """What the runner said once its model was loaded, with package and flavour. WorkerFailed for another library."""
        from dataclasses import replace

        loaded = contract.parse_loaded(line)
        used = loaded.used
        version = used.version
        if version == "unknown":
            version = self.version or version
        elif self.name == "onnxruntime" and self.version and self.version != version:
            raise WorkerFailed(
                f"the device runs {self.name} {version}, not the {self.version} that was meant",
                remedy="Remove what was pushed to the device and prepare it again.",
            )
        told = {
            "version": version,
            "package": self.package,
            "settings": {
                **used.settings,
                "flavour": self.flavour,
                **({"cores": self.cores} if self.cores else {}),
            },
        }
        return replace(loaded, used=used.replace(**told))

    def parse_slice(self, line: str) -> Slice:
        """See `contract.parse_slice`."""
        return contract.parse_slice(line)

    def parse_outputs(self, stdout: str) -> Outputs:
        """See `contract.parse_outputs`."""
        return contract.parse_outputs(stdout)

    def parse_samples(self, line: str) -> Samples:
        """What the runner sampled during a slice or an idle window; see `parse_watched`."""
        watched = parse_watched(line)
        asleep_ns = watched.clocks.boottime_ns - watched.clocks.monotonic_ns
        return Samples(watched.begin_ns, watched.end_ns, watched.times_ns, watched.values, asleep_ns)

    def parse_profile(self, stdout: str) -> Profile:
        """Never called, because no command asks for one; WorkerFailed."""
        del stdout
        raise _no_profile(self.name)


@dataclass
class NativeOnnxRuntime(NativeWorker):
    """ONNX Runtime through its C API."""

    name: str = "onnxruntime"
    formats: tuple[Format, ...] = ("onnx",)
    runner: str = ""
    library: str = ""
    flavour: Flavour = "aar"
    package: str = "onnxruntime-android"


@dataclass
class NativeLiteRT(NativeWorker):
    """LiteRT through the TFLite C API or, in a library without it, LiteRT's own."""

    name: str = "litert"
    formats: tuple[Format, ...] = ("tflite",)
    runner: str = ""
    library: str = ""
    flavour: Flavour = "aar"
    package: str = "litert-android"


def parse_clocks(line: str) -> Clocks:
    """The clocks of a "loaded" or "watched" line. WorkerFailed where it has none."""
    return _clocks(_said(line))


def parse_window(line: str) -> Window:
    """When the slice of a "slice" line ran and which frames it lost. WorkerFailed on anything else."""
    said = _said(line)
    try:
        late = said.get("late_frames")
        return Window(int(said["begin_ns"]), int(said["end_ns"]), None if late is None else int(late))
    except (KeyError, ValueError, TypeError) as problem:
        raise _incomplete(said, problem) from None


def parse_watched(line: str) -> Watched:
    """Read a "watched" line. WorkerFailed on an error line, a row that is too short or anything else.

    A serving runner that was started with the option `watch` (paths with commas between) says one after every slice, and one
    as the only answer to the request {"idle_ns": T}, which asks it to do nothing for T. `period_ms` sets the time between rows.
    """
    said = _said(line)
    try:
        what: Windowed = "idle" if said["what"] == "idle" else "slice"
        begin_ns, end_ns = int(said["begin_ns"]), int(said["end_ns"])
        rows = [(int(at), tuple(_number(value) for value in values)) for at, *values in said["rows"]]
    except (KeyError, ValueError, TypeError) as problem:
        raise _incomplete(said, problem) from None
    if len({len(values) for _, values in rows}) != 1:
        raise _incomplete(said, "rows of different lengths, or none")
    times_ns = tuple(at for at, _ in rows)
    return Watched(what, begin_ns, end_ns, times_ns, tuple(values for _, values in rows), _clocks(said))


def installed_library(runtime: str) -> Path:
    """The shared library of a runtime inside the Python package installed here. MissingPackage where there is none."""
    package, module, pattern = {
        "onnxruntime": ("onnxruntime", "onnxruntime", "capi/libonnxruntime.so*"),
        "litert": ("ai-edge-litert", "ai_edge_litert", "libLiteRt.so"),
    }[runtime]
    spec = importlib.util.find_spec(module)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    found = sorted(path for folder in folders for path in folder.glob(pattern))
    if not found:
        raise MissingPackage(package, f"running {runtime} without Python", "phone")
    return found[0]


def _no_profile(runtime: str) -> WorkerFailed:
    return WorkerFailed(
        f"the native runner for {runtime} cannot tell the time of single operators",
        remedy="Profile on this computer: --device local",
    )


def _said(line: str) -> dict[str, Any]:
    said = contract.answer(line)
    if said is None:
        raise WorkerFailed(f"the runner said {line.strip()[:200]!r}, which is no answer")
    if said["event"] == "error":
        raise WorkerFailed(str(said.get("message", "the runner failed without a message")))
    return said


def _clocks(said: Mapping[str, Any]) -> Clocks:
    try:
        given = said["clocks"]
        return Clocks(int(given["monotonic_ns"]), int(given["boottime_ns"]), int(given["realtime_ns"]))
    except (KeyError, ValueError, TypeError) as problem:
        raise _incomplete(said, problem) from None


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return value


def _incomplete(said: Mapping[str, Any], problem: object) -> WorkerFailed:
    return WorkerFailed(f"the runner's {said['event']!r} line is incomplete: {problem!r}")


if TYPE_CHECKING:
    _keeps_the_ports: tuple[type[Runtime], type[WatchingRuntime]] = (NativeWorker, NativeWorker)
