"""What is in a model file, .onnx, .tflite, .param (ncnn) or .pte (ExecuTorch): operators and their counts.

That is inputs, outputs, operators, parameters and MACs. Nothing is run, and PyTorch is not needed.

One fused multiply-add is one multiply-accumulate (MAC); convolutions, linear layers and matrix products
count, nothing else does. Parameters are the constants of the arithmetic: weights, biases that are not all
zero (converters add such biases), slopes, per-channel factors and offsets. They are counted through
dequantisation and casts, so that the fp32, fp16 and int8 files of a network have the same number. Batch norm
is folded in exported files, hence fewer parameters than in PyTorch. Scales, zero points, shapes, axes and
single numbers do not count. A network has the same counts in both formats.
"""

from __future__ import annotations

import importlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from swapbench.errors import BadModelFile, of_one_file
from swapbench.files import LARGEST_MODEL_BYTES, content_of
from swapbench.plugins import plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swapbench.plugins import Plugin, Plugins
    from swapbench.records import Format, Precision

METADATA_KEY = "swapbench"
"""Key of our JSON description in a file: ONNX metadata_props, TFLite metadata buffer."""

Layout = Literal["nchw", "nhwc"]
_Kind = TypeVar("_Kind")

AGAIN = "Export or download it again."

DAMAGE = (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError)
"""The errors that reading a damaged structure raises."""


Shapes = Mapping[str, tuple[int, ...]]
"""Name of an input -> the shape that it is to have; "" names the only input of a file."""


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: In the file.
        shape: The lengths at which the file is measured; 0 where the file leaves one free and nobody said.
        dtype: In numpy's words.
        scale: Where real = (stored - zero_point) * scale; None where it is not quantised.
        zero_point: As above.
        declared: The lengths as the file has them: a free one is its name in the file, or "?". The one text
            "..." stands for a shape of which not even the rank is known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    declared: tuple[int | str, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether the file leaves any of its lengths free."""
        return any(isinstance(length, str) for length in self.declared)


@dataclass(frozen=True)
class Graph:
    """The content of a model file.

    Attributes:
        format: Of the file.
        inputs: In the graph's order.
        outputs: In the graph's order.
        file_bytes: The size of all files.
        params: Parameters, counted as described above.
        macs: Multiply-accumulates of one run with inputs of these shapes.
        ops: Operator -> how often it occurs, under the file's own names.
        uncounted_ops: Operators with products that `macs` does not include.
        weights: Stored element type -> number of parameters, the most first.
        precision: What most parameters are, and how the file computes with them.
        layout: A guess from a 4-D input.
        metadata: Our JSON description; None in a foreign file.
        files: The model file, and after it the files beside it in which ONNX or ncnn keeps weights.
        dimensions: Name of a free length in an ONNX file -> what it is in `inputs`.
        made_by: The operator that makes each output, before any change of its shape or type; "" for none.
        taken_by: The operators that take the first input, before any change of its shape or type.
        producer: What wrote the file, as it says itself.
        versions: Of the format and of the operators: {"IR": 8, "opset": 13} or {"schema": 3}.
        against_rules: What the ONNX checker has against the file, "" for nothing; runtimes may run it anyway.
    """

    format: Format
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    file_bytes: int
    params: int
    macs: int
    ops: dict[str, int]
    uncounted_ops: tuple[str, ...]
    precision: Precision
    layout: Layout | None
    weights: Mapping[str, int] = field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    files: tuple[Path, ...] = ()
    dimensions: Mapping[str, int] = field(default_factory=dict)
    made_by: tuple[str, ...] = ()
    taken_by: tuple[str, ...] = ()
    producer: str = ""
    versions: Mapping[str, int | str] = field(default_factory=dict)
    against_rules: str = ""

    @property
    def set_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the inputs that the file does not fix, by name."""
        return {tensor.name: tensor.shape for tensor in self.inputs if tensor.is_free}

    @property
    def worker_options(self) -> dict[str, str]:
        """What a worker must be told of lengths that the file leaves free; see `runtimes.contract`."""
        # the runtimes of other formats need not say what a file expects
        if not self.set_shapes and self.format in {"onnx", "tflite", "executorch"}:
            return {}
        shapes = ",".join("x".join(map(str, tensor.shape)) for tensor in self.inputs)
        # a name with one of the marks of the list is not passed on: what is fed has the right shape anyway
        named = {name: length for name, length in self.dimensions.items() if not set(name) & set(",=")}
        dimensions = ",".join(f"{name}={length}" for name, length in named.items())
        return {"shapes": shapes, **({"dimensions": dimensions} if dimensions else {})}


_READERS: Mapping[str, str] = {
    ".onnx": "swapbench.modelfile.onnx_file",
    ".tflite": "swapbench.modelfile.tflite_file",
    ".param": "swapbench.modelfile.ncnn_file",
    ".pte": "swapbench.modelfile.pte_file",
}
"""Suffix of a model file -> the module that reads it."""
MODEL_SUFFIXES = tuple(_READERS)
KINDS = " or ".join((", ".join(MODEL_SUFFIXES[:-1]), MODEL_SUFFIXES[-1]))
"""The model files that can be measured, in a message."""


def read_graph(path: Path, shapes: Shapes | None = None) -> Graph:
    """Read a model file.

    The whole structure is checked before it is used, so that a damaged file cannot crash a runtime later.
    The batch is 1 where the file leaves it free; other free lengths are those of `shapes`, else they are 0,
    see `input_shapes.refuse_unmeasurable`.

    Args:
        path: Of the file.
        shapes: What inputs with free lengths are to be; names that the file does not have are ignored.

    Raises:
        BadModelFile: The file is missing, damaged or of another format, or fixes another shape.
        EnvironmentFailed: A package reads files of this format, and does not work.
    """
    from swapbench.modelfile.foreign import refuse_foreign

    try:
        content = content_of(path, LARGEST_MODEL_BYTES)
    except OSError as error:
        raise BadModelFile(f"cannot read {path}: {error.strerror}") from error
    if not content:
        raise BadModelFile(f"{path} is empty", remedy=AGAIN)
    reader = _READERS.get(path.suffix.lower())
    added = None if reader else added_formats().by_name.get(path.suffix.lower().removeprefix("."))
    if reader is None and added is None:
        network = path.with_suffix(".param")
        raise BadModelFile(
            f"{path} is no {KINDS} file",
            remedy=f"It belongs to {network.name}: name that."
            if path.suffix == ".bin" and network.is_file()
            else "Only these formats can be measured.",
        )
    if added is not None:
        return _read_by(added, path, content, shapes or {})
    assert reader is not None
    refuse_foreign(path, content)
    with of_one_file(str(path), BadModelFile):
        graph: Graph = importlib.import_module(reader).read(path, content, shapes or {})
        return graph


def added_formats() -> Plugins:
    """The formats that installed packages read, by the suffix of their files without its dot."""
    from swapbench.records import ALL_FORMATS

    return plugins("format", {suffix.removeprefix(".") for suffix in _READERS} | set(ALL_FORMATS))


def _read_by(plugin: Plugin, path: Path, content: bytes, shapes: Shapes) -> Graph:
    """Read a file as an installed package does; EnvironmentFailed where that does not work."""
    graph = plugin.made(path, content, shapes)
    if not isinstance(graph, Graph) or graph.format != plugin.name:
        raise plugin.broken(f"it does not return a Graph of the format {plugin.name}")
    return graph


def single_static_input(graph: Graph, name: str) -> Tensor:
    """The only input of a graph; BadModelFile, naming the file `name`, where there is not exactly one."""
    if len(graph.inputs) != 1:
        names = ", ".join(tensor.name for tensor in graph.inputs) or "none"
        raise BadModelFile(
            f"{name} has {len(graph.inputs)} inputs ({names})",
            remedy="Only models whose only input is an image can be scored.",
        )
    return graph.inputs[0]


@dataclass(frozen=True)
class Constant:
    """A constant of the arithmetic.

    Attributes:
        shape: In the file.
        dtype: Of the elements, as stored.
        zero: Whether all elements are 0.
        activations: The element type of what integer weights are multiplied with, "" where it does not
            matter. Floats mean that the file finds their scale anew in each run.
    """

    shape: tuple[int, ...]
    dtype: str
    zero: bool = False
    activations: str = ""

    @property
    def precision(self) -> Precision:
        """What it is, and how the file computes with it."""
        stored = _PRECISIONS.get(self.dtype, "unknown")
        return _WITH_ACTIVATIONS.get(self.activations, stored) if stored == "int8" else stored

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


@dataclass
class Count:
    """The counts of a graph; constants by identity, so that one that is used twice counts once."""

    macs: int = 0
    weights: dict[Any, Constant] = field(default_factory=dict)
    uncounted: set[str] = field(default_factory=set)

    def use(self, key: Any, constant: Constant, *, product: bool) -> None:
        """Count a constant, unless it is all zero.

        Args:
            key: Its identity.
            constant: Its content.
            product: Whether it belongs to a product. If not, single numbers and integers do not count.
        """
        numbers = _NUMBERS | {"int32"} if product else _NUMBERS
        if constant.dtype in numbers and not constant.zero and (product or constant.elements > 1):
            self.weights[key] = constant

    @property
    def params(self) -> int:
        """The number of parameters."""
        return sum(constant.elements for constant in self.weights.values())

    @property
    def element_types(self) -> dict[str, int]:
        """Stored element type -> number of parameters, the most first."""
        return dict(self._elements(lambda constant: constant.dtype).most_common())

    @property
    def precision(self) -> Precision:
        """The precision of most parameters."""
        elements: Counter[Precision] = self._elements(lambda constant: constant.precision)
        return elements.most_common(1)[0][0] if elements else "unknown"

    def _elements(self, kind: Callable[[Constant], _Kind]) -> Counter[_Kind]:
        elements: Counter[_Kind] = Counter()
        for constant in self.weights.values():
            elements[kind(constant)] += constant.elements
        return elements


_PRECISIONS: Mapping[str, Precision] = {"float32": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}
_WITH_ACTIVATIONS: Mapping[str, Precision] = {
    **dict.fromkeys(("float32", "float16"), "int8-dynamic"),
    **dict.fromkeys(("int16", "uint16"), "int16x8"),
}
_NUMBERS = frozenset({"float16", "float32", "float64", "bfloat16", "int8", "uint8", "int4"})


def layout_of(inputs: Sequence[Tensor]) -> Layout | None:
    """The layout of a single 4-D input, by which dimension has 1, 3 or 4 channels; None if ambiguous."""
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return None
    _, first, _, last = inputs[0].shape
    if last in {1, 3, 4} and first not in {1, 3, 4}:
        return "nhwc"
    if first in {1, 3, 4} and last not in {1, 3, 4}:
        return "nchw"
    return None


def description(path: Path, text: str | None) -> dict[str, Any] | None:
    """Our JSON description as a dictionary; BadModelFile where the text is something else."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadModelFile(f"{path}: its {METADATA_KEY!r} metadata is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadModelFile(f"{path}: its {METADATA_KEY!r} metadata is not a JSON object")
    return value


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
