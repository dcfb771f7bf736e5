"""ncnn: the worker that runs a .param file with its .bin, and the adapter that reads it.

Run as `python -m swapbench.runtimes.ncnn --mode time --artifact FILE.param --shapes 1x3x80x80`. One timed run
makes an extractor, copies the input into ncnn's memory, computes, and copies the first output out, as an app
does. The copy is needed: a first layer that works in place would write into memory that is not ncnn's own.

ncnn's options stay as an app finds them that sets none but the threads, unless a switch says otherwise, and
are recorded, since they change both times and outputs. Whether float16 takes the place of float32 depends on
the CPU and the layer as well, so that is found out with layers of one weight before anything is loaded: see
`halved`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
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
    switchable: tuple[str, ...] = tuple(OPTIONS)


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
        self._switches: dict[str, bool] = {}
        self.version: str = ncnn.__version__

    def available_providers(self) -> Sequence[str]:
        """See about.TellsProviders."""
        return (CPU, SINGLE)

    def switch(self, switches: Mapping[str, bool]) -> None:
        """See switches.Switchable."""
        unknown = [name for name in switches if name not in OPTIONS]
        if unknown:
            raise Unusable(f"ncnn has no switch {unknown[0]!r}; choose {', '.join(OPTIONS)}")
        self._switches = {OPTIONS[name]: state for name, state in switches.items()}

    def load(self, artifact: str, threads: int, provider: str | None, shapes: Shapes) -> Engine:
        return _Loaded(Nets(self._ncnn, provider or CPU, self._switches), artifact, threads, shapes)


@dataclass(frozen=True)
class Nets:
    """Makes empty networks that all have the same options.

    Attributes:
        ncnn: The package.
        provider: CPU or SINGLE.
        switches: ncnn's option -> whether it is on; the others stay as they are.
    """

    ncnn: Any
    provider: str = CPU
    switches: Mapping[str, bool] = field(default_factory=dict)

    def empty(self, threads: int) -> Any:
        """An empty network; Unusable for an unknown provider."""
        if self.provider not in {CPU, SINGLE}:
            raise Unusable(f"unknown provider {self.provider!r}; choose {CPU} or {SINGLE}")
        net = self.ncnn.Net()
        net.opt.num_threads = threads
        net.opt.openmp_blocktime = 0
        single = dict.fromkeys(_REDUCED, False) if self.provider == SINGLE else {}
        for option, state in {**single, **self.switches}.items():
            setattr(net.opt, option, state)
        return net


class _Loaded:
    """One network in one Net."""

    delegated_nodes: int | None = None
    nodes: int | None = None

    def __init__(self, nets: Nets, artifact: str, threads: int, shapes: Shapes) -> None:
        net, ncnn = nets.empty(threads), nets.ncnn
        self.providers: tuple[str, ...] = (nets.provider,)
        self.settings = {
            **{name: "on" if getattr(net.opt, option) else "off" for name, option in OPTIONS.items()},
            "fp16_weights": _listed(halved(nets, 1.0, _NEAR_ONE)),
            "fp16_activations": _listed(halved(nets, _NEAR_ONE, 1.0)),
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


def _taken(extractor: Any, name: str) -> Array:
    """An output as an array of one's own, with a batch of 1 as the other runtimes give it."""
    status, output = extractor.extract(name)
    if status != 0:
        raise Refused(f"ncnn cannot compute {name!r} (it returned {status})")
    return np.array(output)[None]


def halved(nets: Nets, number: float, weight: float) -> list[str]:
    """The types of layers in which ncnn rounds such numbers or weights to float16 on this CPU.

    Each is run with one weight and one number throughout, of which one has no float16.

    Args:
        nets: With the options that are asked about.
        number: All numbers of the input.
        weight: All weights.
    """
    return [kind for kind in _LAYERS if not _is_exact(nets, kind, number, weight)]


def _is_exact(nets: Nets, kind: str, number: float, weight: float) -> bool:
    """Whether a layer of that type computes in single precision."""
    params, terms, shape = _LAYERS[kind]
    # ncnn refers to both, and holds neither
    stored = bytes(4) + np.full(_CHANNELS**2, weight, np.float32).tobytes()
    numbers = np.full(shape, number, np.float32)
    net = nets.empty(1)
    net.load_param_mem(f"7767517\n2 2\nInput in 0 1 in\n{kind} layer 1 1 in out {params}\n")
    net.load_model_mem(stored)
    extractor = net.create_extractor()
    extractor.input("in", nets.ncnn.Mat(numbers).clone())
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
