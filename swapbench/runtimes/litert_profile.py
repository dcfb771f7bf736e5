"""The times of operators inside LiteRT, XNNPACK's included: its profiler, through C functions of its wheel.

The Python classes of ai-edge-litert do not expose the profiler, but the library in its wheel exports the
functions that LiteRT declares in `litert/c/litert_profiler.h`, `litert_compiled_model.h` and
`litert_opaque_options.h` (https://github.com/google-ai-edge/LiteRT, Apache-2.0). They are not promised to
stay: they are called only in releases that they were tried with, and only in a process that does nothing
else.

The profiler prints its times as a table: for each operator, its calls so far and its share of all the time
so far. XNNPACK's operators have neither the names nor the shapes of the graph's nodes. Times are whole
microseconds.
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any

from swapbench.runtimes.feed import Unusable
from swapbench.runtimes.worker import Executed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from swapbench.runtimes.feed import Array, Shapes

TRIED = ("2.3.",)
"""Releases of ai-edge-litert whose functions are as declared here."""

LIBRARIES = ("libLiteRt.so", "libLiteRt.dylib")
WARMUP_RUNS = 3
INSIDE = "Delegate/"
"""The profiler's prefix for an operator that a delegate ran."""

_CPU, _WRITE, _MAX_RANK = 1, 1, 8
_ROW = re.compile(
    r"\s*(?P<op>\S.*?)\s+(?:[\d.]+\s+){3}(?P<share>[\d.]+)%\s+[\d.]+%\s+[\d.]+\s+(?P<calls>\d+)\s+"
    r"\[(?P<name>.*)\]:(?P<index>\d+)\s*"
)
_TOTAL = re.compile(r"Timings \(microseconds\): count=\d+ (?:first=\d+ )?curr=(?P<us>\d+)")


def library_of(package_folder: Path, version: str) -> Path:
    """The library to profile with; Unusable where it is missing or of a release that was not tried."""
    if not version.startswith(TRIED):
        tried = ", ".join(f"{release}*" for release in TRIED)
        raise Unusable(f"profiling works with ai-edge-litert {tried}, but {version} is installed")
    for name in LIBRARIES:
        if (package_folder / name).is_file():
            return package_folder / name
    raise Unusable("this build of ai-edge-litert has no library with a profiler")


def profile(
    library: Path, artifact: str, threads: int, shapes: Shapes, feed: Array, runs: int
) -> list[Executed]:
    """Every operator in the order of execution, with its time in each of `runs` runs after a warm-up.

    Args:
        library: With the profiler.
        artifact: The model file.
        threads: Of the CPU.
        shapes: Of the inputs, where the file leaves lengths free.
        feed: For the first input of the graph; others get zeros.
        runs: How many are profiled.

    Raises:
        Unusable: A function is missing or fails, or the table has another form.
    """
    model = _Profiled(ctypes.CDLL(str(library)), artifact, threads, shapes, feed)
    for _ in range(WARMUP_RUNS):
        model.run()
    return executed([model.profiled_run() for _ in range(runs)])


def executed(summaries: list[str]) -> list[Executed]:
    """What each run added to the table.

    Args:
        summaries: `summaries[i]` is the profiler's table after i + 1 profiled runs.
    """
    nodes: dict[tuple[str, str, str], Executed] = {}
    before: dict[tuple[str, str, str], int] = {}
    for done, text in enumerate(summaries):
        rows, sum_us = _table(text)
        for key, (share, calls) in rows.items():
            op, name, index = key
            if key not in nodes:
                inside = op.startswith(INSIDE)
                nodes[key] = Executed(
                    "" if inside else f"{name}:{index}",
                    op.removeprefix(INSIDE),
                    "",
                    "xnnpack" if inside else "builtin",
                    [0] * done,
                    max(1, calls // (done + 1)),
                )
            spent_us = round(share * sum_us)  # rounding restores the whole microseconds that went in
            nodes[key].run_ns.append(max(0, spent_us - before.get(key, 0)) * 1000)
            before[key] = spent_us
    if any(len(node.run_ns) != len(summaries) for node in nodes.values()):
        raise Unusable("the operators in LiteRT's profile changed from run to run")
    return list(nodes.values())


def _table(text: str) -> tuple[dict[tuple[str, str, str], tuple[float, int]], int]:
    """Parse the profiler's table.

    Returns:
        (operator, name, index) -> (share of the time, calls), in the order of execution, and the time of all
        operators in µs; both since the start.
    """
    order = text.partition("Top by Computation Time")[0]
    rows = {
        (row["op"], row["name"], row["index"]): (float(row["share"]) / 100, int(row["calls"]))
        for row in map(_ROW.fullmatch, order.splitlines())
        if row
    }
    total = _TOTAL.search(text)
    if not rows or total is None:
        raise Unusable("LiteRT's profile has an unknown format")
    return rows, int(total["us"])


class _Layout(ctypes.Structure):
    """LiteRtLayout: the shape of a tensor."""

    _fields_ = (
        ("rank", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * _MAX_RANK),
        ("strides", ctypes.c_uint32 * _MAX_RANK),
    )


class _TensorType(ctypes.Structure):
    """LiteRtRankedTensorType: element type and layout."""

    _fields_ = (("element_type", ctypes.c_int), ("layout", _Layout))


class _Profiled:
    """A model compiled for the CPU with profiling on, and its buffers; lives as long as its process."""

    def __init__(self, library: Any, artifact: str, threads: int, shapes: Shapes, feed: Array) -> None:
        self._library = library
        self._c = ctypes.CDLL(None)
        self._c.strdup.restype = ctypes.c_void_p
        self._environment = self._result("LiteRtCreateEnvironment", ctypes.c_int(0), None)
        model = self._result("LiteRtCreateModelFromFile", self._environment, artifact.encode())
        options = self._options(threads)
        self._model = self._result("LiteRtCreateCompiledModel", self._environment, model, options)
        self._profiler = self._result("LiteRtCompiledModelGetProfiler", self._model)
        if self._profiler.value is None:
            raise Unusable("LiteRT returned no profiler for the model")
        signature = self._result("LiteRtGetModelSignature", model, _size(0))
        self._inputs = self._fed_buffers(signature, shapes, feed)
        self._outputs = self._output_buffers(signature)

    def run(self) -> None:
        sides = [part for buffers in (self._inputs, self._outputs) for part in (_size(len(buffers)), buffers)]
        self._call("LiteRtRunCompiledModel", self._model, _size(0), *sides)

    def profiled_run(self) -> str:
        """One run; the profiler's table of all profiled runs so far."""
        self._call("LiteRtResetProfiler", self._profiler)  # otherwise it keeps every event of every run
        self._call("LiteRtStartProfiler", self._profiler)
        self.run()
        self._call("LiteRtStopProfiler", self._profiler)
        text = self._result("LiteRtGetProfileSummary", self._profiler, self._model)
        try:
            return ctypes.string_at(text.value or 0).decode("utf-8", "replace")
        finally:
            self._c.free(text)

    def _options(self, threads: int) -> ctypes.c_void_p:
        options = self._result("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
        free = ctypes.cast(self._c.free, ctypes.c_void_p)
        for name, text in (
            ("runtime_options_string", "enable_profiling = true\n"),
            ("xnnpack", f"num_threads = {threads}\n"),
        ):
            content = ctypes.c_void_p(self._c.strdup(text.encode()))
            part = self._result("LiteRtCreateOpaqueOptions", name.encode(), content, free)
            self._call("LiteRtAddOpaqueOptions", options, part)
        return options

    def _fed_buffers(self, signature: ctypes.c_void_p, shapes: Shapes, feed: Array) -> Any:
        """The buffers of all inputs, which have got their shapes and what they are fed."""
        graph = self._result("LiteRtGetSignatureSubgraph", signature)
        count = self._count("Inputs", signature)
        buffers = (ctypes.c_void_p * count)()
        in_graph = [
            self._result("LiteRtGetSubgraphInput", graph, _size(place)).value for place in range(count)
        ]
        for place in range(count):
            tensor, kind = self._tensor("Input", signature, place)
            where = in_graph.index(tensor.value)  # a signature may order inputs otherwise than the graph
            if shapes.inputs:
                self._resize(place, kind.layout, shapes.inputs[where])
            buffer = self._buffer("Input", place, kind)
            self._write(buffer, feed if where == 0 else None)
            buffers[place] = buffer
        return buffers

    def _resize(self, place: int, layout: _Layout, shape: tuple[int, ...]) -> None:
        if tuple(layout.dimensions[: layout.rank]) == shape:
            return
        lengths = (ctypes.c_int * len(shape))(*shape)
        self._call(
            "LiteRtCompiledModelResizeInputTensor",
            self._model,
            _size(0),
            _size(place),
            lengths,
            _size(len(shape)),
        )
        layout.rank = len(shape)
        layout.dimensions[: len(shape)] = shape

    def _output_buffers(self, signature: ctypes.c_void_p) -> Any:
        """The buffers of all outputs, whose shapes follow from those of the inputs."""
        count = self._count("Outputs", signature)
        buffers, layouts = (ctypes.c_void_p * count)(), (_Layout * count)()
        name = "LiteRtGetCompiledModelOutputTensorLayouts"
        self._call(name, self._model, _size(0), _size(count), layouts, ctypes.c_bool(True))
        for place in range(count):
            _, kind = self._tensor("Output", signature, place)
            kind.layout = layouts[place]
            buffers[place] = self._buffer("Output", place, kind)
        return buffers

    def _count(self, sides: str, signature: ctypes.c_void_p) -> int:
        count = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{sides}", signature, ctypes.byref(count))
        return count.value

    def _tensor(
        self, side: str, signature: ctypes.c_void_p, place: int
    ) -> tuple[ctypes.c_void_p, _TensorType]:
        tensor = self._result(f"LiteRtGetSignature{side}TensorByIndex", signature, _size(place))
        kind = _TensorType()
        self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
        return tensor, kind

    def _buffer(self, side: str, place: int, kind: _TensorType) -> ctypes.c_void_p:
        needs = self._result(
            f"LiteRtGetCompiledModel{side}BufferRequirements", self._model, _size(0), _size(place)
        )
        made = "LiteRtCreateManagedTensorBufferFromRequirements"
        return self._result(made, self._environment, ctypes.byref(kind), needs)

    def _write(self, buffer: ctypes.c_void_p, feed: Array | None) -> None:
        """Write `feed`, or zeros, into a buffer."""
        size = ctypes.c_size_t()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, ctypes.byref(size))
        content = bytes(size.value) if feed is None else feed.tobytes()
        if size.value != len(content):
            raise Unusable(f"LiteRT takes {size.value} bytes of input, but the graph has {len(content)}")
        memory = ctypes.c_void_p()
        self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(memory), ctypes.c_int(_WRITE))
        ctypes.memmove(memory, content, len(content))
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def _result(self, name: str, *args: Any) -> ctypes.c_void_p:
        """Call a function; returns what it stores through its last argument, a pointer."""
        result = ctypes.c_void_p()
        self._call(name, *args, ctypes.byref(result))
        return result

    def _call(self, name: str, *args: Any) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise Unusable(f"this build of ai-edge-litert has no function {name}") from None
        function.restype = ctypes.c_int
        status = function(*args)
        if status != 0:
            raise Unusable(f"{name} of ai-edge-litert failed with status {status}")


_size: Callable[[int], Any] = ctypes.c_size_t
