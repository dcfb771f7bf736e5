"""The native runner from the parent's side: ONNX Runtime, LiteRT and ncnn on devices without Python.

The runner implements the worker contract (`swapbench.runtimes.contract`), so its answers are parsed like
those of every other worker. What it reports beyond the contract is parsed here: when a slice began and
ended, the frames that a paced slice lost, and the files that were watched meanwhile, all by the device's own
clocks.

Its libraries come in flavours: "aar", the official Android libraries; "bundle", those of the Linux wheels
with a C library of their own; "host", those of the wheels installed on this computer. Flavour and package
are recorded with the runtime, so that numbers of two flavours are never compared.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
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
    """The device's clocks at one moment.

    Attributes:
        monotonic_ns: The clock of runs and watched files; it stands still while the device sleeps.
        boottime_ns: The time since boot, the clock of power rails.
        realtime_ns: The wall clock.
    """

    monotonic_ns: int
    boottime_ns: int
    realtime_ns: int

    def boottime_of(self, monotonic_ns: int) -> int:
        """Convert a monotonic time into the time since boot, if the device did not sleep in between."""
        return monotonic_ns + self.boottime_ns - self.monotonic_ns


@dataclass(frozen=True)
class Window:
    """When a slice ran, by the monotonic clock.

    Attributes:
        begin_ns: Of the first timed run.
        end_ns: Of the last timed run.
        late_frames: Camera frames that were lost; None where the slice was not paced.
    """

    begin_ns: int
    end_ns: int
    late_frames: int | None = None


@dataclass(frozen=True)
class Watched:
    """Files watched during a slice or an idle window.

    Attributes:
        what: Which of the two.
        begin_ns: Of the window, by the monotonic clock. The first row was read before it.
        end_ns: Of the window. The last row was read after it.
        times_ns: When each row was read, by the monotonic clock.
        values: Per row, a number for each file in the order given; None where the file could not be read or
            held no number.
        clocks: After the window.
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

    Attributes:
        name: Of the runtime, in records.
        formats: The model files that it runs.
        runner: Its path on the device.
        library: The path of the runtime's library on the device.
        flavour: Of the library.
        package: Which the library comes from.
        version: Of the package; "" where it is unknown.
        prefix: What starts the runner, e.g. a loader with its flags, or `env` with variables.
        affinity: Hexadecimal mask of the cores to run on, "" for all.
        cores: The kind of those cores, "" for all.
        fps: Camera pacing; None for runs back to back.
        delegate: The accelerator that must run the whole graph, "" for the processor.
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
    delegate: str = ""

    @property
    def plain_name(self) -> str:
        """The runtime's name without its delegate's."""
        return self.name.removesuffix(f"-{self.delegate}")

    def command(
        self, artifact: str, *, mode: Mode, threads: int, options: Mapping[str, str | int | float]
    ) -> list[str]:
        """The runner's command line; `options` are further flags, written {"warmup_runs": 5}.

        Raises:
            WorkerFailed: The mode is "profile", which only the Python workers have.
        """
        if mode == "profile":
            raise _no_profile(self.name)
        flags: dict[str, str | int | float] = {**self._what(artifact), "mode": mode, "threads": threads}
        if self.affinity:
            flags["affinity"] = self.affinity
        if self.fps is not None and mode != "score":
            flags["fps"] = self.fps
        argv = [*self.prefix, self.runner]
        for key, value in {**flags, **options}.items():
            argv += [f"--{key.replace('_', '-')}", str(value)]
        return argv

    def _what(self, artifact: str) -> dict[str, str]:
        """The flags that say what is run."""
        provider = {"provider": self.delegate} if self.delegate else {}
        return {"runtime": self.plain_name, "library": self.library, "artifact": artifact, **provider}

    def parse_loaded(self, line: str) -> Loaded:
        """Parse a "loaded" line and add package and flavour; WorkerFailed where another library ran."""
        loaded = contract.parse_loaded(line)
        used = loaded.used
        version = used.version
        if version == "unknown":
            version = self.version or version
        elif self.plain_name == "onnxruntime" and self.version and self.version != version:
            raise WorkerFailed(
                f"the device runs {self.plain_name} {version} instead of {self.version}",
                remedy="Remove what was pushed to the device and prepare it again.",
            )
        settings = {**used.settings, "flavour": self.flavour}
        if self.cores:
            settings["cores"] = self.cores
        known = used.replace(version=version, package=self.package, settings=settings)
        return replace(loaded, used=known.replace(runtime=self.name) if self.delegate else known)

    def parse_slice(self, line: str) -> Slice:
        """See `contract.parse_slice`."""
        return contract.parse_slice(line)

    def parse_outputs(self, stdout: str) -> Outputs:
        """See `contract.parse_outputs`."""
        return contract.parse_outputs(stdout)

    def parse_samples(self, line: str) -> Samples:
        """The files that were watched during a slice or an idle window; see `parse_watched`."""
        watched = parse_watched(line)
        asleep_ns = watched.clocks.boottime_ns - watched.clocks.monotonic_ns
        return Samples(watched.begin_ns, watched.end_ns, watched.times_ns, watched.values, asleep_ns)

    def parse_profile(self, stdout: str) -> Profile:
        """Raise WorkerFailed: the runner has no profiler."""
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
    """LiteRT through the TFLite C API or, in a library without it, LiteRT's own, CompiledModel."""

    name: str = "litert"
    formats: tuple[Format, ...] = ("tflite",)
    runner: str = ""
    library: str = ""
    flavour: Flavour = "aar"
    package: str = "litert-android"

    def accelerated(self, delegate: Literal["gpu", "npu"]) -> NativeLiteRT:
        """The same with an accelerator of CompiledModel, as a runtime of its own: "litert-gpu"."""
        return replace(self, name=f"{self.name}-{delegate}", delegate=delegate)


@dataclass
class NativeNcnn(NativeWorker):
    """ncnn through its C API."""

    name: str = "ncnn"
    formats: tuple[Format, ...] = ("ncnn",)
    runner: str = ""
    library: str = ""
    flavour: Flavour = "aar"
    package: str = "ncnn-android"


@dataclass
class NativeSystem(NativeWorker):
    """Several files in one process of the runner; what it is handed is a job, see native/system.c."""

    name: str = "system"
    formats: tuple[Format, ...] = ()
    runner: str = ""
    library: str = ""
    flavour: Flavour = "aar"
    package: str = "system"

    @classmethod
    def of(cls, member: NativeWorker) -> NativeSystem:
        """The same runner, started as for a file under `member`."""
        started = {name: getattr(member, name) for name in STARTED_BY}
        return cls(**started)

    def _what(self, artifact: str) -> dict[str, str]:
        return {"system": artifact}


STARTED_BY = ("runner", "flavour", "prefix", "affinity", "cores")
"""What files must have in common to share a process."""


def parse_clocks(line: str) -> Clocks:
    """The clocks of a "loaded" or "watched" line; WorkerFailed where it has none."""
    return _clocks(_event(line))


def parse_window(line: str) -> Window:
    """When the slice of a "slice" line ran and which frames it lost; WorkerFailed on anything else."""
    event = _event(line)
    try:
        late = event.get("late_frames")
        return Window(int(event["begin_ns"]), int(event["end_ns"]), None if late is None else int(late))
    except (KeyError, ValueError, TypeError) as problem:
        raise _incomplete(event, problem) from None


def parse_watched(line: str) -> Watched:
    """Parse a "watched" line; WorkerFailed on an error line, rows of unequal length or anything else.

    A serving runner that was started with the option `watch` (paths separated by commas) prints one after
    every slice, and one as its only answer to the request {"idle_ns": T}, which asks it to do nothing for T
    ns. `period_ms` sets the time between rows.
    """
    event = _event(line)
    try:
        what: Windowed = "idle" if event["what"] == "idle" else "slice"
        begin_ns, end_ns = int(event["begin_ns"]), int(event["end_ns"])
        rows = [(int(at), tuple(_number(value) for value in values)) for at, *values in event["rows"]]
    except (KeyError, ValueError, TypeError) as problem:
        raise _incomplete(event, problem) from None
    if len({len(values) for _, values in rows}) != 1:
        raise _incomplete(event, "rows of different lengths, or none")
    times_ns = tuple(at for at, _ in rows)
    return Watched(what, begin_ns, end_ns, times_ns, tuple(values for _, values in rows), _clocks(event))


def installed_library(runtime: str) -> Path:
    """The runtime's shared library in the installed Python package; MissingPackage where there is none."""
    package, module, pattern = {
        "onnxruntime": ("onnxruntime", "onnxruntime", "capi/libonnxruntime.so*"),
        "litert": ("ai-edge-litert", "ai_edge_litert", "libLiteRt.so"),
    }[runtime]
    spec = importlib.util.find_spec(module)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    libraries = sorted(path for folder in folders for path in folder.glob(pattern))
    if not libraries:
        raise MissingPackage(package, f"running {runtime} without Python", "phone")
    return libraries[0]


def _no_profile(runtime: str) -> WorkerFailed:
    return WorkerFailed(
        f"the native runner cannot measure the times of single operators in {runtime}",
        remedy="Profile on this computer: --device local",
    )


def _event(line: str) -> dict[str, Any]:
    event = contract.answer(line)
    if event is None:
        raise WorkerFailed(f"the runner printed {line.strip()[:200]!r}, which is not an answer")
    if event["event"] == "error":
        raise WorkerFailed(str(event.get("message", "the runner failed without a message")))
    return event


def _clocks(event: Mapping[str, Any]) -> Clocks:
    try:
        clocks = event["clocks"]
        return Clocks(int(clocks["monotonic_ns"]), int(clocks["boottime_ns"]), int(clocks["realtime_ns"]))
    except (KeyError, ValueError, TypeError) as problem:
        raise _incomplete(event, problem) from None


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    return value


def _incomplete(event: Mapping[str, Any], problem: object) -> WorkerFailed:
    return WorkerFailed(f"the runner's {event['event']!r} line is incomplete: {problem!r}")


if TYPE_CHECKING:
    _keeps_the_ports: tuple[type[Runtime], type[WatchingRuntime]] = (NativeWorker, NativeWorker)
