"""OpenVINO, which reads .onnx files itself: the adapter, and the worker as which this module is run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.runtimes.contract import PythonWorker
from swapbench.runtimes.feed import Input, Output
from swapbench.runtimes.worker import Executed, Profiled, main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.runtimes.feed import Array, Shapes


@dataclass
class OpenVINO(PythonWorker):
    """The adapter: what the parent process knows."""

    name: str = "openvino"
    formats: tuple[str, ...] = ("onnx",)
    module: str = "swapbench_openvino"
    distributions: tuple[str, ...] = ("openvino",)


class Backend:
    """OpenVINO, imported in the worker process."""

    runtime = package = "openvino"

    def __init__(self) -> None:
        import openvino

        self.core, self.version = openvino.Core(), openvino.__version__.partition("-")[0]

    def available_providers(self) -> Sequence[str]:
        return tuple(self.core.available_devices)

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> Engine:
        return Engine(self.core, artifact, threads, provider or "CPU", shapes)


class Engine:
    delegated_nodes = nodes = None  # how much of the graph a delegate took, and of how much

    def __init__(self, core: Any, artifact: str, threads: int, device: str, shapes: Shapes) -> None:
        model = core.read_model(artifact)
        self.input, *others = _inputs(model, shapes)
        self.settings = {"precision": "f32"}  # else fp32 files run in bfloat16 where the processor can
        config = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
        self._compile = lambda **more: core.compile_model(model, device, {**config, **more})
        compiled = self._compile()
        self.providers = tuple(compiled.get_property("EXECUTION_DEVICES"))
        self.outputs = tuple(Output(port.any_name) for port in compiled.outputs)
        self._request = compiled.create_infer_request()
        self._zeros = {other.name: np.zeros(other.shape, other.dtype) for other in others}

    def timed_call(self, feed: Array) -> Callable[[], Array]:
        infer = self._infer(feed)
        return lambda: infer()[0]

    def scored_call(self, feed: Array, places: Sequence[int]) -> Callable[[], Sequence[Array]]:
        infer = self._infer(feed)
        return lambda: [*map(infer().__getitem__, places)]

    def _infer(self, feed: Array) -> Callable[[], Any]:
        return partial(self._request.infer, {self.input.name: feed, **self._zeros})

    def profile(self, feed: Array, runs: int) -> Profiled:
        request = self._compile(PERF_COUNT=True).create_infer_request()
        nodes: dict[int, Executed] = {}
        for _ in range(runs):
            request.infer({self.input.name: feed, **self._zeros})
            for place, node in enumerate(request.profiling_info):
                fresh = Executed(node.node_name, node.node_type, "", node.exec_type)
                nodes.setdefault(place, fresh).run_ns.append(round(node.real_time.total_seconds() * 1e9))
        return Profiled([node for node in nodes.values() if any(node.run_ns)], [])


def _inputs(model: Any, shapes: Shapes) -> list[Input]:
    """The inputs in the graph's order, set to their shapes."""
    inputs = []
    for place, port in enumerate(model.inputs):
        found = [length.get_length() if length.is_static else str(length) for length in port.partial_shape]
        shape, dtype = shapes.of_input(place, port.any_name, found), port.element_type.to_dtype()
        inputs.append(Input(port.any_name, shape, np.dtype(dtype), alone=len(model.inputs) == 1))
    model.reshape({one.name: one.shape for one in inputs})
    return inputs


if __name__ == "__main__":
    sys.exit(main(Backend))
