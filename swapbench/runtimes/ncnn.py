"""ncnn: the worker that runs a .param file with its .bin, and the adapter that reads it.

Run as `python -m swapbench.runtimes.ncnn --mode time --artifact FILE.param --shapes 1x3x80x80`. One timed run
makes an extractor, copies the input into ncnn's memory, computes, and copies the first output out, as an app
does. The copy is needed: a first layer that works in place would write into memory that is not ncnn's own.

ncnn's options stay as an app finds them that sets none but the threads, and are recorded, since they change
both times and outputs. Whether float16 takes the place of float32 depends on the CPU and the layer as well,
so that is found out with layers of one weight before anything is loaded: see `halved`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from swapbench.runtimes.contract import PythonWorker
from swapbench.runtimes.feed import Input, Output, Refused, Unusable
from swapbench.runtimes.worker import Profiled, main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.records import Format
    from swapbench.runtimes.feed import Array, Shapes
    from swapbench.runtimes.worker import Backend, Engine

CPU: Final = "cpu"
SINGLE: Final = "cpu-fp32"
"""The CPU with every option off that lets ncnn compute in less than single precision."""
OPTIONS: Final[Mapping[str, str]] = {
    "winograd": "use_winograd_convolution",
    "sgemm": "use_sgemm_convolution",
    "packing": "use_packing_layout",
    "fp16_storage": "use_fp16_storage",
    "fp16_arithmetic": "use_fp16_arithmetic",
    "bf16_storage": "use_bf16_storage",
    "int8": "use_int8_inference",
}
"""The name of a setting in records -> ncnn's option."""
_REDUCED: Final = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")
_NEAR_ONE: Final = 1 + 2.0**-13
"""The nearest float16 is 1."""
_CHANNELS: Final = 16
_LAYERS: Final[Mapping[str, tuple[str, int, tuple[int, ...]]]] = {
    "Convolution": (f"0={_CHANNELS} 1=1 6={_CHANNELS**2}", _CHANNELS, (_CHANNELS, 4, 4)),
    "InnerProduct": (f"0={_CHANNELS} 2={_CHANNELS**2}", _CHANNELS, (_CHANNELS,)),
}
"""Type of a layer -> its parameters, how many products an output adds up, and the shape of its input."""


@dataclass
class Ncnn(PythonWorker):
    """ncnn on a machine that runs Python; implements ports.Runtime."""

    name: str = "ncnn"
    formats: tuple[Format, ...] = ("ncnn",)
    module: str = "swapbench.runtimes.ncnn"
    distributions: tuple[str, ...] = ("ncnn",)


class _Package:
    """ncnn, imported."""

    runtime = package = "ncnn"

    def __init__(self) -> None:
        os.environ["OMP_WAIT_POLICY"] = "passive"  # read when the library is loaded; see `spinning` below
        try:
            import ncnn
        except ModuleNotFoundError:
            raise Unusable("ncnn is not installed; install it with: pip install ncnn") from None
        except ImportError as error:
            raise Unusable(f"ncnn is installed but does not load ({error})") from None
        self._ncnn = ncnn
        self.version: str = ncnn.__version__

    def available_providers(self) -> Sequence[str]:
        """See about.TellsProviders."""
        return (CPU, SINGLE)

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> Engine:
        return _Loaded(self._ncnn, artifact, threads, provider or CPU, shapes)


class _Loaded:
    """One network in one Net."""

    delegated_nodes: int | None = None
    nodes: int | None = None

    def __init__(self, ncnn: Any, artifact: str, threads: int, provider: str, shapes: Shapes) -> None:
        net = _net(ncnn, threads, provider)
        self.providers: tuple[str, ...] = (provider,)
        self.settings = {
            **{name: "on" if getattr(net.opt, option) else "off" for name, option in OPTIONS.items()},
            "fp16_weights": _listed(halved(ncnn, provider, 1.0, _NEAR_ONE)),
            "fp16_activations": _listed(halved(ncnn, provider, _NEAR_ONE, 1.0)),
        }
        if threads > 1:  # workers that stay loaded and alternate must not burn each other's cores
            self.settings["spinning"] = "off"
        if net.load_param(artifact) != 0:
            raise Refused(_why_not(ncnn, artifact))
        weights = str(Path(artifact).with_suffix(".bin"))
        if net.load_model(weights) != 0:
            raise Refused(f"ncnn cannot load the weights {weights}")
        names, made = list(net.input_names()), list(net.output_names())
        if not names or not made:
            raise Refused(f"the network has {len(names)} inputs and {len(made)} outputs")
        inputs = [
            Input(name, shapes.of_input(place, name, ("?",)), np.dtype(np.float32), alone=len(names) == 1)
            for place, name in enumerate(names)
        ]
        if inputs[0].shape[0] != 1:
            raise Unusable(f"the input {names[0]!r} has a batch of {inputs[0].shape[0]}; ncnn runs one image")
        self.input = inputs[0]
        self.outputs = tuple(Output(name) for name in made)
        self._others = [(one.name, np.zeros(one.shape[1:], np.float32)) for one in inputs[1:]]
        self._net, self._mat = net, ncnn.Mat

    def timed_call(self, feed: Array) -> Callable[[], Array]:
        run, first = self._run(feed), self.outputs[0].name

        def call() -> Array:
            return _taken(run(), first)

        return call

    def scored_call(self, feed: Array, places: Sequence[int]) -> Callable[[], Sequence[Array]]:
        run, names = self._run(feed), [self.outputs[place].name for place in places]

        def call() -> list[Array]:
            extractor = run()
            return [_taken(extractor, name) for name in names]

        return call

    def profile(self, feed: Array, runs: int) -> Profiled:
        del feed, runs
        return Profiled([], [], "ncnn's Python package has no profiler")

    def _run(self, feed: Array) -> Callable[[], Any]:
        """A function that hands the input to a new extractor, which computes what is asked of it."""
        create, mat, name, image = self._net.create_extractor, self._mat, self.input.name, feed[0]
        others = self._others

        def run() -> Any:
            extractor = create()
            extractor.input(name, mat(image).clone())
            for other, zeros in others:
                extractor.input(other, mat(zeros).clone())
            return extractor

        return run


def _net(ncnn: Any, threads: int, provider: str) -> Any:
    """An empty network with its options."""
    if provider not in {CPU, SINGLE}:
        raise Unusable(f"unknown provider {provider!r}; choose {CPU} or {SINGLE}")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.openmp_blocktime = 0
    if provider == SINGLE:
        for option in _REDUCED:
            setattr(net.opt, option, False)
    return net


def _taken(extractor: Any, name: str) -> Array:
    """An output as an array of one's own, with a batch of 1 as the other runtimes give it."""
    status, output = extractor.extract(name)
    if status != 0:
        raise Refused(f"ncnn cannot compute {name!r} (it returned {status})")
    return np.array(output)[None]


def halved(ncnn: Any, provider: str, number: float, weight: float) -> list[str]:
    """The types of layers in which ncnn rounds such numbers or weights to float16 on this CPU.

    Each is run with one weight and one number throughout, of which one has no float16.

    Args:
        ncnn: The package.
        provider: CPU or SINGLE.
        number: All numbers of the input.
        weight: All weights.
    """
    return [kind for kind in _LAYERS if not _is_exact(ncnn, provider, kind, number, weight)]


def _is_exact(ncnn: Any, provider: str, kind: str, number: float, weight: float) -> bool:
    """Whether a layer of that type computes in single precision."""
    params, terms, shape = _LAYERS[kind]
    # ncnn refers to both, and holds neither
    stored = bytes(4) + np.full(_CHANNELS**2, weight, np.float32).tobytes()
    numbers = np.full(shape, number, np.float32)
    net = _net(ncnn, 1, provider)
    net.load_param_mem(f"7767517\n2 2\nInput in 0 1 in\n{kind} layer 1 1 in out {params}\n")
    net.load_model_mem(stored)
    extractor = net.create_extractor()
    extractor.input("in", ncnn.Mat(numbers).clone())
    return np.allclose(_taken(extractor, "out"), terms * number * weight, rtol=2.0**-16, atol=0)


def _listed(kinds: Sequence[str]) -> str:
    return ", ".join(kinds) or "none"


def _why_not(ncnn: Any, artifact: str) -> str:
    """Why a .param file does not load: the types of layers that this build of ncnn lacks, if that is why."""
    with open(artifact, encoding="utf-8", errors="replace") as file:
        words = [line.split() for line in file.readlines()[2:]]
    kinds = dict.fromkeys(line[0] for line in words if len(line) >= 4 and not line[0].startswith("#"))
    unknown = [kind for kind in kinds if ncnn.layer_to_index(kind) < 0]
    reason = f": it has no layer {', '.join(unknown)}" if unknown else ""
    return f"this ncnn cannot load the network{reason}"


def open_backend() -> Backend:
    """Import ncnn."""
    return _Package()


if __name__ == "__main__":
    sys.exit(main(open_backend))
