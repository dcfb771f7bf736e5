"""onnxruntime: the worker that runs a .onnx file, and the adapter that reads it.

Run as `python -m swapbench.runtimes.ort --mode time --artifact FILE`. One timed run is `InferenceSession.run`
with a numpy input: it binds the input, computes and returns the output as an array.

Execution is sequential, with one inter-op thread. With several intra-op threads, spinning is off (and
recorded in the settings): two workers that stay loaded and alternate must not burn each other's cores.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.runtimes.contract import PythonWorker
from swapbench.runtimes.feed import Input, Output, Unusable
from swapbench.runtimes.worker import Profiled, main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.records import Format
    from swapbench.runtimes.feed import Array, Shapes
    from swapbench.runtimes.worker import Backend, Engine

CPU = "CPUExecutionProvider"
PROFILED_WARMUP_RUNS = 3
PACKAGES = tuple(f"onnxruntime{kind}" for kind in ("", "-gpu", "-directml", "-openvino", "-qnn"))
"""Distributions of which each brings the module onnxruntime."""

TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(uint16)": np.uint16,
    "tensor(int32)": np.int32,
    "tensor(uint32)": np.uint32,
    "tensor(int64)": np.int64,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}


@dataclass
class OnnxRuntime(PythonWorker):
    """onnxruntime on a machine that runs Python; implements ports.Runtime."""

    name: str = "onnxruntime"
    formats: tuple[Format, ...] = ("onnx",)
    module: str = "swapbench.runtimes.ort"
    distributions: tuple[str, ...] = PACKAGES


class _Ort:
    """onnxruntime, imported."""

    runtime = "onnxruntime"

    def __init__(self) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise Unusable("onnxruntime is not installed; install it with: pip install onnxruntime") from None
        self._ort = onnxruntime
        self.package, self.version = _package(), onnxruntime.__version__

    def available_providers(self) -> Sequence[str]:
        return tuple(self._ort.get_available_providers())

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> Engine:
        return _Session(self._ort, artifact, threads, provider, shapes)


class _Session:
    """One .onnx file in one InferenceSession."""

    delegated_nodes: int | None = None
    nodes: int | None = None

    def __init__(self, ort: Any, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> None:
        wanted = provider or CPU
        if wanted not in ort.get_available_providers():
            raise Unusable(
                f"this onnxruntime does not have {wanted}; it has {', '.join(ort.get_available_providers())}"
            )
        self.settings = {"graph_optimization": "all"}
        if threads > 1:
            self.settings["spinning"] = "off"
        self._open = partial(_session, ort, artifact, threads, wanted, shapes.dimensions)
        session = self._open()
        self.providers = tuple(session.get_providers())
        if wanted not in self.providers:
            raise Unusable(f"{wanted} was requested, but the session runs on {', '.join(self.providers)}")
        self.input, *others = _inputs(session, shapes)
        self._zeros = {other.name: np.zeros(other.shape, other.dtype) for other in others}
        self.outputs = tuple(Output(details.name) for details in session.get_outputs())
        self._session = session

    def timed_call(self, feed: Array) -> Callable[[], Array]:
        return self._call(self._session, feed)

    def _call(self, session: Any, feed: Array) -> Callable[[], Array]:
        feeds = {self.input.name: feed, **self._zeros}
        if len(self.outputs) == 1:
            run: Callable[[], list[Array]] = partial(session.run, [self.outputs[0].name], feeds)
        else:  # all outputs are computed and returned, as in an application
            run = partial(session.run, None, feeds)
        return lambda: run()[0]

    def scored_call(self, feed: Array, places: Sequence[int]) -> Callable[[], Sequence[Array]]:
        names = [self.outputs[place].name for place in places]
        run: Callable[[], list[Array]] = partial(
            self._session.run, names, {self.input.name: feed, **self._zeros}
        )
        return run

    def profile(self, feed: Array, runs: int) -> Profiled:
        import tempfile

        from swapbench.runtimes.ort_profile import executed

        with tempfile.TemporaryDirectory() as folder:
            session = self._open(profile_into=folder)
            call = self._call(session, feed)
            for _ in range(PROFILED_WARMUP_RUNS + runs):
                call()
            events = json.loads(Path(session.end_profiling()).read_bytes())
        nodes = executed(events, PROFILED_WARMUP_RUNS)
        return Profiled(nodes, nodes, "" if nodes else "onnxruntime's profile has no nodes")


def _session(
    ort: Any,
    artifact: str,
    threads: int,
    provider: str,
    dimensions: Mapping[str, int],
    profile_into: str | None = None,
) -> Any:
    options = ort.SessionOptions()
    for name, length in dimensions.items():
        options.add_free_dimension_override_by_name(name, length)
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if threads > 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile_into is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(profile_into, "profile"))
    return ort.InferenceSession(artifact, options, providers=[provider])


def _inputs(session: Any, shapes: Shapes) -> list[Input]:
    """The inputs in the graph's order, of which there is at least one."""
    inputs = session.get_inputs()
    if not inputs:
        raise Unusable("the graph has no inputs")
    for details in inputs:
        if details.type not in TYPES:
            raise Unusable(f"the input {details.name!r} has type {details.type}, which is not numeric")
    return [
        Input(
            details.name,
            shapes.of_input(place, details.name, details.shape),
            np.dtype(TYPES[details.type]),
            alone=len(inputs) == 1,
        )
        for place, details in enumerate(inputs)
    ]


def _package() -> str:
    from importlib import metadata

    for package in PACKAGES:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        return package
    return "onnxruntime"


def open_backend() -> Backend:
    """Import onnxruntime."""
    return _Ort()


if __name__ == "__main__":
    sys.exit(main(open_backend))
