"""The parts of a TFLite file as plain values, after every reference into the file was checked.

The tables are those of TensorFlow Lite's schema.fbs, read through the package `tflite`: no runtime is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Numbers = tuple[int, ...]

MOST_VALUES: Final = 10_000
"""How many tables and numbers are read of a small file; of a larger one, as many as it has bytes.

A file may name one part many times, so that a few kilobytes would unpack to gigabytes.
"""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a subgraph.

    Attributes:
        name: In the file.
        shape: The lengths for which the file was made.
        signature: The same with -1 for every free one; empty where there is none.
        dtype: In numpy's words, "unknown" for a type of a newer schema.
        buffer: Index of its data; buffer 0 is empty.
        scales: Of its quantisation: none, one, or one a channel.
        zero_points: As above.
        is_sparse: Whether its data leave out zeros.
    """

    name: str
    shape: Numbers
    signature: Numbers
    dtype: str
    buffer: int
    scales: tuple[float, ...]
    zero_points: Numbers
    is_sparse: bool


@dataclass(frozen=True)
class Operator:
    """An operator: its name in the schema and the indices of its tensors; input -1 is left out."""

    kind: str
    inputs: Numbers
    outputs: Numbers


@dataclass(frozen=True)
class Subgraph:
    """A subgraph; inputs and outputs are indices of tensors."""

    tensors: tuple[StoredTensor, ...]
    operators: tuple[Operator, ...]
    inputs: Numbers
    outputs: Numbers


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        subgraphs: Of which the first is the model.
        buffers: The bytes of constants.
        metadata: Name -> index of a buffer.
        version: Of the schema.
        description: Of the file, by what wrote it.
    """

    subgraphs: tuple[Subgraph, ...]
    buffers: tuple[memoryview, ...]
    metadata: Mapping[str, int]
    version: int
    description: str


def contents(content: bytes) -> Contents:
    """Read a file that has the identifier of TFLite.

    Raises:
        ValueError, TypeError, IndexError, struct.error: Something points outside the file or at a missing
            part, or is named more often than a file of this size can need.
    """
    return _Reader(content).contents()


class _Reader:
    def __init__(self, content: bytes) -> None:
        import tflite

        self._content = memoryview(content)
        self._values = 0
        self._most_values = max(MOST_VALUES, len(content))
        self._model: Any = tflite.Model.GetRootAs(content, 0)
        self._kinds = _names(tflite.BuiltinOperator)
        self._types = {value: name.lower() for value, name in _names(tflite.TensorType).items()}

    def contents(self) -> Contents:
        model = self._model
        codes = self._all(model.OperatorCodesLength, model.OperatorCodes)
        kinds = [self._kind(code) for code in codes]
        buffers = tuple(self._data(buffer) for buffer in self._all(model.BuffersLength, model.Buffers))
        graphs = self._all(model.SubgraphsLength, model.Subgraphs)
        subgraphs = tuple(self._subgraph(one, kinds, len(buffers)) for one in graphs)
        metadata = {
            _text(entry.Name()): _index(entry.Buffer(), len(buffers), "its metadata are missing")
            for entry in self._all(model.MetadataLength, model.Metadata)
        }
        if not subgraphs or not kinds or not buffers:
            raise ValueError("it has no graph")
        return Contents(subgraphs, buffers, metadata, model.Version(), _text(model.Description()))

    def _kind(self, code: Any) -> str:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        return self._kinds.get(number, f"BUILTIN_{number}")

    def _subgraph(self, subgraph: Any, kinds: list[str], buffers: int) -> Subgraph:
        tensors = tuple(
            self._tensor(one, buffers) for one in self._all(subgraph.TensorsLength, subgraph.Tensors)
        )
        operators = []
        for one in self._all(subgraph.OperatorsLength, subgraph.Operators):
            kind = kinds[_index(one.OpcodeIndex(), len(kinds), "an operator has an unknown type")]
            inputs, outputs = self._numbers(one.InputsAsNumpy()), self._numbers(one.OutputsAsNumpy())
            for index in (*inputs, *outputs):
                _index(index, len(tensors), "an operator refers to a missing tensor", least=-1)
            options = one.BuiltinOptions()
            if options is not None:
                options.Offset(4)  # raises where they lie outside the file
            operators.append(Operator(kind, inputs, outputs))
        inputs, outputs = (
            self._numbers(indices) for indices in (subgraph.InputsAsNumpy(), subgraph.OutputsAsNumpy())
        )
        for index in (*inputs, *outputs):
            _index(index, len(tensors), "an input or output refers to a missing tensor")
        return Subgraph(tensors, tuple(operators), inputs, outputs)

    def _tensor(self, tensor: Any, buffers: int) -> StoredTensor:
        shape = self._numbers(tensor.ShapeAsNumpy())
        if any(length < -1 for length in shape):
            raise ValueError("a tensor has a negative size")
        quantisation = tensor.Quantization()
        scales, zero_points = (
            ((), ())
            if quantisation is None
            else (
                tuple(map(float, self._counted(quantisation.ScaleAsNumpy()))),
                self._numbers(quantisation.ZeroPointAsNumpy()),
            )
        )
        return StoredTensor(
            name=_text(tensor.Name()),
            shape=shape,
            signature=self._numbers(tensor.ShapeSignatureAsNumpy()),
            dtype=self._types.get(tensor.Type(), "unknown"),
            buffer=_index(tensor.Buffer(), buffers, "a tensor refers to missing data"),
            scales=scales,
            zero_points=zero_points,
            is_sparse=tensor.Sparsity() is not None,
        )

    def _data(self, buffer: Any) -> memoryview:
        if buffer.Offset() > 1:  # large files keep data behind the flatbuffer
            end = buffer.Offset() + buffer.Size()
            if end > len(self._content):
                raise ValueError("constant data lie beyond the end of the file")
            return self._content[buffer.Offset() : end]
        return memoryview(b"") if buffer.DataIsNone() else memoryview(buffer.DataAsNumpy())

    def _all(self, length: Callable[[], int], member: Callable[[int], Any]) -> list[Any]:
        return [member(place) for place in range(self._spend(length()))]

    def _numbers(self, vector: Any) -> Numbers:
        return tuple(map(int, self._counted(vector)))

    def _counted(self, vector: Any) -> Any:
        """A vector; the number 0 stands for one that is not there."""
        if isinstance(vector, int):
            return ()
        self._spend(len(vector))
        return vector

    def _spend(self, values: int) -> int:
        self._values += values
        if self._values > self._most_values:
            raise ValueError("it names its parts far more often than a file of its size can need")
        return values


def _names(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")


def _index(index: int, length: int, message: str, *, least: int = 0) -> int:
    """The index itself; ValueError where nothing has it."""
    if not least <= index < length:
        raise ValueError(message)
    return index
