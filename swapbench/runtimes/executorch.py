"""ExecuTorch: the worker that runs a .pte program, and the adapter that reads it.

Run as `python -m swapbench.runtimes.executorch --mode time --artifact FILE.pte`. ExecuTorch's Python package
takes PyTorch's tensors and gives them, and is linked with PyTorch's libraries, so the worker imports PyTorch:
that costs its start and its memory, which an app's does not have, and no run. The input buffer is handed over
as a tensor that shares its memory.

What of a program runs under XNNPACK was decided when it was exported; nothing can be chosen here.
"""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from swapbench.runtimes.contract import PythonWorker
from swapbench.runtimes.feed import Input, Output, Refused, Unusable
from swapbench.runtimes.worker import Profiled, main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.records import Format
    from swapbench.runtimes.feed import Array, Shapes
    from swapbench.runtimes.worker import Backend, Engine

NAME: Final = "executorch"
METHOD: Final = "forward"
_DTYPES: Final = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
"""By their ScalarType, in numpy's words."""


@dataclass
class ExecuTorch(PythonWorker):
    """ExecuTorch on a machine that runs Python; implements ports.Runtime."""

    name: str = NAME
    formats: tuple[Format, ...] = ("executorch",)
    module: str = "swapbench.runtimes.executorch"
    distributions: tuple[str, ...] = (NAME,)
    advice: str = (
        "Install it with: pip install executorch torch; where that does not go together with what is here, "
        "give it an environment of its own: python3 -m venv et && et/bin/pip install executorch torch && "
        "swapbench runtimes add executorch --python et/bin/python"
    )


class _Package:
    """ExecuTorch, imported."""

    runtime = package = NAME

    def __init__(self) -> None:
        try:
            self.version: str = importlib.metadata.version(NAME)
            import torch  # before ExecuTorch, which is linked with its libraries

            # the public module would import the exporter as well, and with it half a minute of other packages
            from executorch.extension.pybindings import _C as library  # noqa: N811 - that of PyTorch is named alike
        except (importlib.metadata.PackageNotFoundError, ModuleNotFoundError) as error:
            missing = "torch" if getattr(error, "name", NAME) == "torch" else NAME
            raise Unusable(
                f"{missing} is not installed; install it with: pip install executorch torch"
            ) from None
        except ImportError as error:
            raise Unusable(f"ExecuTorch is installed but does not load ({error})") from None
        self._torch, self._library = torch, library

    def available_providers(self) -> Sequence[str]:
        """See about.TellsProviders."""
        return tuple(self._library._get_registered_backend_names())  # noqa: SLF001 - it has no other name

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> Engine:
        if provider is not None:
            raise Unusable("what runs a program of ExecuTorch is settled in the file; leave --provider out")
        return _Loaded(self._torch, self._library, artifact, threads, shapes)


class _Loaded:
    """The method of one program."""

    delegated_nodes: int | None = None
    nodes: int | None = None

    def __init__(self, torch: Any, library: Any, artifact: str, threads: int, shapes: Shapes) -> None:
        library._unsafe_reset_threadpool(threads)  # noqa: SLF001 - it has no other name
        used = library._threadpool_get_thread_count()  # noqa: SLF001
        if used != threads:
            raise Unusable(f"ExecuTorch uses {used} threads where {threads} were asked for")
        self._library, self._artifact = library, artifact
        self._program = program = library._load_program(artifact)  # noqa: SLF001
        names = [program.get_method_name(place) for place in range(program.num_methods())]
        self._name = name = METHOD if METHOD in names else names[0]
        try:
            self._method = program.load_method(name)
        except RuntimeError as error:
            raise Refused(f"this ExecuTorch cannot load the method {name}: {error}") from None
        about = self._method.method_meta()
        self.providers: tuple[str, ...] = ("cpu",)
        self.settings: dict[str, str] = {} if name == METHOD else {"method": name}
        inputs = [self._input(about, place, shapes) for place in range(about.num_inputs())]
        self.input = inputs[0]
        made = range(about.num_outputs())
        self.outputs = tuple(Output("output" if len(made) == 1 else f"output{place}") for place in made)
        self._torch = torch
        self._others = [torch.zeros(one.shape, dtype=getattr(torch, one.dtype.name)) for one in inputs[1:]]

    def _input(self, about: Any, place: int, shapes: Shapes) -> Input:
        meta, alone = about.input_tensor_meta(place), about.num_inputs() == 1
        name = "input" if alone else f"input{place}"
        kind = meta.dtype()
        if not 0 <= kind < len(_DTYPES):
            raise Unusable(f"the input {name!r} is of a type that cannot be fed (ScalarType {kind})")
        return Input(name, shapes.of_input(place, name, meta.sizes()), np.dtype(_DTYPES[kind]), alone=alone)

    def timed_call(self, feed: Array) -> Callable[[], Array]:
        run, tensors = self._method.call, self._tensors(feed)

        def call() -> Array:
            made: Array = run(tensors)[0].numpy()
            return made

        return call

    def scored_call(self, feed: Array, places: Sequence[int]) -> Callable[[], Sequence[Array]]:
        run, tensors = self._method.call, self._tensors(feed)

        def call() -> list[Array]:
            made = run(tensors)
            return [made[place].numpy() for place in places]

        return call

    def profile(self, feed: Array, runs: int) -> Profiled:
        from swapbench.runtimes.executorch_profile import profile

        tensors = self._tensors(feed)
        try:
            nodes = profile(
                self._library, self._artifact, self._name, lambda method: method.call(tensors), runs
            )
        except Unusable as problem:
            return Profiled([], [], str(problem))
        return Profiled(nodes, [replace(node, run_ns=[]) for node in nodes])

    def _tensors(self, feed: Array) -> tuple[Any, ...]:
        """What the method is called with; the first shares the memory of the input buffer."""
        return (self._torch.from_numpy(feed), *self._others)


def open_backend() -> Backend:
    """Import ExecuTorch."""
    return _Package()


if __name__ == "__main__":
    sys.exit(main(open_backend))
