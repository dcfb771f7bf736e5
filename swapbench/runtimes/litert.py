"""LiteRT: the worker that runs a .tflite file, and the adapter that reads it.

Run as `python -m swapbench.runtimes.litert --mode time --artifact FILE`. One timed run is `set_tensor`,
`invoke`, `get_tensor`: input copy, compute, output copy, as for onnxruntime.

The package is ai-edge-litert; where only tflite-runtime, its frozen predecessor, is installed, that is used
and recorded as the package; `swapbench.runtimes.tflite_runtime` uses it in any case. The default CPU
delegate, XNNPACK, takes the nodes it supports; how many it really took is worked out from the interpreter's
node list and reported.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.runtimes.contract import PythonWorker
from swapbench.runtimes.feed import Input, Output, Unusable
from swapbench.runtimes.worker import Executed, Profiled, main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from swapbench.records import Format
    from swapbench.runtimes.feed import Array, Shapes
    from swapbench.runtimes.worker import Backend, Engine

PACKAGES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}
"""Module -> the package that provides it. All have the same interpreter; the first that loads is taken."""
XNNPACK = "xnnpack"
BUILTIN = "builtin"


@dataclass
class LiteRT(PythonWorker):
    """LiteRT on a machine that runs Python; implements ports.Runtime."""

    name: str = "litert"
    formats: tuple[Format, ...] = ("tflite",)
    module: str = "swapbench.runtimes.litert"
    distributions: tuple[str, ...] = tuple(PACKAGES.values())


def _version_of(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


class LiteRTBackend:
    """LiteRT, imported from the first package that is installed.

    Args:
        runtime: Its name in the catalogue.
        packages: Some of PACKAGES.
        import_module: Stands in for importlib's.
        version_of: The version of a package.

    Raises:
        Unusable: None of the packages is installed and loads.
    """

    def __init__(
        self,
        runtime: str,
        packages: Mapping[str, str],
        import_module: Callable[[str], ModuleType] = importlib.import_module,
        version_of: Callable[[str], str] = _version_of,
    ) -> None:
        self.runtime = runtime
        failures = []
        for module, package in packages.items():
            try:
                self._interpreter = import_module(f"{module}.interpreter")
            except ModuleNotFoundError:
                failures.append(f"{package} is not installed; install it with: pip install {package}")
            except ImportError as error:
                version, reason = version_of(package), " ".join(str(error).split())
                failures.insert(0, f"{package} {version} is installed but does not load ({reason})")
            else:
                self.package, self.version = package, version_of(package)
                self._folder = Path(getattr(self._interpreter, "__file__", "")).parent
                return
        raise Unusable(failures[0])

    def available_providers(self) -> Sequence[str]:
        """See about.TellsProviders; every build has XNNPACK, the default."""
        return (XNNPACK, BUILTIN)

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> Engine:
        """See worker.Backend."""
        profile = partial(self._profile, artifact, threads, shapes)
        return _Loaded(self._interpreter, artifact, threads, provider, shapes, profile)

    def _profile(self, artifact: str, threads: int, shapes: Shapes, feed: Array, runs: int) -> list[Executed]:
        from swapbench.runtimes import litert_profile

        if self.package != PACKAGES["ai_edge_litert"]:
            raise Unusable(f"{self.package} has no profiler that Python can use")
        library = litert_profile.library_of(self._folder, self.version)
        return litert_profile.profile(library, artifact, threads, shapes, feed, runs)


class _Loaded:
    """One .tflite file in one interpreter."""

    def __init__(
        self,
        litert: Any,
        artifact: str,
        threads: int,
        provider: str | None,
        shapes: Shapes,
        profile: Callable[[Array, int], list[Executed]],
    ) -> None:
        self.settings: dict[str, str] = {}
        self._provider, self._profile = provider, profile
        if provider in (None, XNNPACK):
            interpreter = litert.Interpreter(model_path=artifact, num_threads=threads)
        elif provider == BUILTIN:
            without = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            interpreter = litert.Interpreter(
                model_path=artifact, num_threads=threads, experimental_op_resolver_type=without
            )
        else:
            raise Unusable(f"unknown delegate {provider!r}; choose {XNNPACK} or {BUILTIN}")
        self.input, *others = _inputs(interpreter, shapes)
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()
        self._zeros = [
            (one["index"], np.zeros(other.shape, other.dtype))
            for one, other in zip(details[1:], others, strict=True)
        ]
        self.delegated_nodes, self.nodes = _coverage(interpreter)
        self.providers = _providers(self.delegated_nodes, self.nodes)
        if provider == XNNPACK and self.delegated_nodes == 0:
            raise Unusable("xnnpack was requested, but it took no node of the graph")
        self._interpreter = interpreter
        self._index = interpreter.get_input_details()[0]["index"]
        details = interpreter.get_output_details()
        self._output_indexes = [output["index"] for output in details]
        self.outputs = tuple(Output(str(output["name"]), _quantisation(output)) for output in details)

    def timed_call(self, feed: Array) -> Callable[[], Array]:
        interpreter = self._interpreter
        set_tensor, invoke, get_tensor = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor
        index, output_index = self._index, self._output_indexes[0]
        zeros = self._zeros

        def call() -> Array:
            set_tensor(index, feed)
            for other, nothing in zeros:
                set_tensor(other, nothing)
            invoke()
            output: Array = get_tensor(output_index)
            return output

        return call

    def scored_call(self, feed: Array, places: Sequence[int]) -> Callable[[], Sequence[Array]]:
        interpreter, indexes = self._interpreter, [self._output_indexes[place] for place in places]

        def call() -> list[Array]:
            interpreter.set_tensor(self._index, feed)
            for other, nothing in self._zeros:
                interpreter.set_tensor(other, nothing)
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in indexes]

        return call

    def profile(self, feed: Array, runs: int) -> Profiled:
        placed = self._placed()
        if self._provider == BUILTIN:
            return Profiled([], placed, "LiteRT's profiler only runs the default delegate")
        try:
            nodes = self._profile(feed, runs)
        except Unusable as reason:
            return Profiled([], placed, str(reason))
        return Profiled([_named(node, placed) for node in nodes], placed)

    def _placed(self) -> list[Executed]:
        """Every node of the graph by the name of its first output, and whether a delegate took it."""
        try:
            graph, inside = within_delegates(self._interpreter._get_ops_details())  # noqa: SLF001 - no public way
            return [
                Executed(*_tensor(self._interpreter, node), XNNPACK if place in inside else BUILTIN)
                for place, node in enumerate(graph)
            ]
        except (AttributeError, KeyError, TypeError, ValueError):
            return []


def _inputs(interpreter: Any, shapes: Shapes) -> list[Input]:
    """The inputs in the graph's order, of which there is at least one, set to their shapes."""
    inputs = []
    all_details = interpreter.get_input_details()
    for place, details in enumerate(all_details):
        name, dtype = str(details["name"]), np.dtype(details["dtype"])
        if dtype.kind not in "fiub":
            raise Unusable(f"the input {name!r} has type {dtype}, which is not numeric")
        stored = [int(length) for length in details["shape"]]
        signature = [int(length) for length in details.get("shape_signature", stored)]
        shape = shapes.of_input(place, name, signature)
        if shape != tuple(stored):
            interpreter.resize_tensor_input(details["index"], shape)
        inputs.append(Input(name, shape, dtype, _quantisation(details), alone=len(all_details) == 1))
    if not inputs:
        raise Unusable("the graph has no inputs")
    return inputs


def _quantisation(details: Mapping[str, Any]) -> tuple[float, int] | None:
    scale, zero_point = details.get("quantization", (0.0, 0))
    return (float(scale), int(zero_point)) if scale and np.dtype(details["dtype"]).kind in "iu" else None


def _coverage(interpreter: Any) -> tuple[int | None, int | None]:
    """(nodes that a delegate took, nodes of the graph), or (None, None) where this build hides them."""
    try:
        return delegated(interpreter._get_ops_details())  # noqa: SLF001 - there is no public way to ask
    except (AttributeError, KeyError, TypeError, ValueError):
        return None, None


def _named(node: Executed, placed: Sequence[Executed]) -> Executed:
    """A node of the profile with its name and output in the graph, where no delegate took it.

    The profile only numbers such nodes.
    """
    number = node.name.rpartition(":")[2]
    if node.provider != BUILTIN or not number.isdigit() or int(number) >= len(placed):
        return node
    in_graph = placed[int(number)]
    return replace(node, name=in_graph.name, output=in_graph.output) if in_graph.op == node.op else node


def _tensor(interpreter: Any, node: Mapping[str, Any]) -> tuple[str, str, str]:
    """Name, operator and output of a node."""
    details = interpreter._get_tensor_details(int(node["outputs"][0]), 0)  # noqa: SLF001 - no public way
    shape = "x".join(str(int(length)) for length in details["shape"])
    return str(details["name"]), str(node["op_name"]), f"{np.dtype(details['dtype'])} {shape}".strip()


def delegated(nodes: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """(nodes inside delegates, nodes of the graph) from an interpreter's node list."""
    graph, inside = within_delegates(nodes)
    return len(inside), len(graph)


def within_delegates(nodes: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], set[int]]:
    """The graph's nodes and the places of those inside delegates.

    A node is inside where its output is reached by walking from a delegate's outputs back to its inputs.

    Args:
        nodes: The interpreter's node list: the graph's nodes and, after them, one node "DELEGATE" for each
            part that a delegate took.
    """
    graph = [node for node in nodes if node["op_name"] != "DELEGATE"]
    producer = {int(tensor): place for place, node in enumerate(graph) for tensor in node["outputs"]}
    inside: set[int] = set()
    for delegate in (node for node in nodes if node["op_name"] == "DELEGATE"):
        inputs = {int(tensor) for tensor in delegate["inputs"]}
        pending = [int(tensor) for tensor in delegate["outputs"]]
        while pending:
            tensor = pending.pop()
            if tensor in inputs or tensor not in producer or producer[tensor] in inside:
                continue
            inside.add(producer[tensor])
            pending.extend(int(before) for before in graph[producer[tensor]]["inputs"])
    return graph, inside


def _providers(delegated_nodes: int | None, nodes: int | None) -> tuple[str, ...]:
    if delegated_nodes is None or nodes is None:
        return ("unknown",)
    return tuple(
        name for name, used in ((XNNPACK, delegated_nodes > 0), (BUILTIN, delegated_nodes < nodes)) if used
    )


def open_backend(
    import_module: Callable[[str], ModuleType] = importlib.import_module,
    version_of: Callable[[str], str] = _version_of,
) -> Backend:
    """Import LiteRT, or its predecessor where only that is installed."""
    return LiteRTBackend("litert", PACKAGES, import_module, version_of)


if __name__ == "__main__":
    sys.exit(main(open_backend))
