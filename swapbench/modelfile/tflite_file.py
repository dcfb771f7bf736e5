"""Reading TFLite files for `swapbench.modelfile`."""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench.errors import BadModelFile
from swapbench.modelfile import (
    AGAIN,
    DAMAGE,
    METADATA_KEY,
    Constant,
    Count,
    Graph,
    Tensor,
    description,
    first_line,
    layout_of,
)
from swapbench.modelfile.foreign import TFLITE
from swapbench.modelfile.input_shapes import UNNAMED, shaped
from swapbench.modelfile.tflite_resized import resized_shapes
from swapbench.modelfile.tflite_schema import contents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.modelfile import Shapes
    from swapbench.modelfile.tflite_schema import StoredTensor


_PRODUCTS: Mapping[str, tuple[int, ...]] = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "CONV_3D": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
    "FULLY_CONNECTED": (1, 2),
    "BATCH_MATMUL": (0, 1),
}
_ARITHMETIC: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM"), (0, 1)),
    "PRELU": (1,),
}
_UNCOUNTED = frozenset(
    {
        *("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "RNN", "SVDF"),
        *("UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "CONV_3D_TRANSPOSE", "RFFT2D"),
        *("WHILE", "IF", "CALL", "CUSTOM", "DELEGATE"),
    }
)
_SEE_THROUGH = frozenset({"DEQUANTIZE", "CAST", "RESHAPE", "TRANSPOSE"})
_ELEMENT_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("int8", "uint8", "bool"), 1),
    **dict.fromkeys(("float16", "int16", "uint16", "bfloat16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64"), 8),
}


def read(path: Path, content: bytes, shapes: Shapes) -> Graph:
    """The graph of a TFLite file.

    The shapes between its operators are those that the file holds, which suit one shape of its inputs, often
    with batch 1. For another shape, LiteRT is asked.

    Args:
        path: For messages.
        content: Of the file.
        shapes: Of inputs with free lengths.

    Raises:
        BadModelFile: It is damaged or of another format, or fixes another shape.
    """
    if content[4:8] != TFLITE:
        raise BadModelFile(
            f"{path} is not a TFLite file: it lacks the identifier {TFLITE.decode()}", remedy=AGAIN
        )
    try:
        file = _File(content)
        inputs, _ = shaped(path, [file.described(index) for index in file.inputs], shapes)
        file.resize(path, inputs)
        count = file.count()
    except struct.error as error:  # its words are of buffers and offsets
        raise BadModelFile(f"{path} is damaged or cut short", remedy=AGAIN) from error
    except DAMAGE as error:
        raise BadModelFile(f"{path} is damaged or cut short: {first_line(error)}", remedy=AGAIN) from error
    return Graph(
        format="tflite",
        files=(path,),
        inputs=inputs,
        outputs=tuple(file.described(index) for index in file.outputs),
        file_bytes=len(content),
        params=count.params,
        macs=count.macs,
        ops=dict(Counter(operator.kind for operator in file.operators).most_common()),
        uncounted_ops=tuple(sorted(count.uncounted)),
        weights=count.element_types,
        precision=count.precision,
        layout=layout_of(inputs),
        metadata=description(path, file.metadata),
        made_by=tuple(file.maker(index) for index in file.outputs),
        taken_by=tuple(sorted(file.takers(file.inputs[0]))),
        producer=file.held.description,
        versions=file.versions,
    )


class _File:
    """The main subgraph of a TFLite file."""

    def __init__(self, content: bytes) -> None:
        self.held = held = contents(content)
        graph = held.subgraphs[0]
        self.buffers, self.tensors, self.operators = held.buffers, graph.tensors, graph.operators
        self.resized: dict[int, tuple[int, ...]] | None = {}
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self.producer = {out: operator for operator in graph.operators for out in operator.outputs}
        described = held.metadata.get(METADATA_KEY)
        self.metadata = None if described is None else bytes(held.buffers[described]).decode()
        if not self.operators or not self.inputs or not self.outputs:
            raise ValueError("it has no operators, no inputs or no outputs")
        for subgraph in held.subgraphs:
            for tensor in subgraph.tensors:
                self._check_data(tensor)

    def _check_data(self, tensor: StoredTensor) -> None:
        """Raise ValueError for constant data of the wrong size."""
        data_bytes, size = len(self.buffers[tensor.buffer]), _ELEMENT_BYTES.get(tensor.dtype)
        shape = list(tensor.shape)
        if data_bytes and size and not tensor.is_sparse and data_bytes != math.prod(shape) * size:
            raise ValueError(f"constant data of {data_bytes} bytes does not fit the shape {shape}")

    def resize(self, path: Path, inputs: Sequence[Tensor]) -> None:
        """Take over the shapes that follow from other shapes of the inputs than the file holds."""
        shapes = [tensor.shape for tensor in inputs]
        if shapes == [self.shape(index) for index in self.inputs]:
            return
        known = all(0 not in shape for shape in shapes)
        self.resized = resized_shapes(path, shapes) if known else None

    def described(self, index: int) -> Tensor:
        tensor = self.tensors[index]
        scale: float | None = None
        zero_point: int | None = None
        if len(tensor.scales) == 1:
            (scale,), zero_point = tensor.scales, next(iter(tensor.zero_points), 0)
        shape = self.shape(index)
        declared = tuple(length if length > 0 else UNNAMED for length in (tensor.signature or shape))
        return Tensor(tensor.name, shape, tensor.dtype, scale, zero_point, declared)

    def constant(self, index: int) -> tuple[int, Constant] | None:
        """The constant behind a tensor, through dequantisation, casts and changes of its shape.

        Returns:
            The index of its buffer, and its content as stored.
        """
        for _ in self.tensors:  # bounded: a damaged file may have a cycle
            tensor = self.tensors[index]
            data = self.buffers[tensor.buffer]
            if data:
                zero = len(tensor.shape) <= 1 and not any(data)
                return tensor.buffer, Constant(tensor.shape, tensor.dtype, zero)
            producer = self.producer.get(index)
            if producer is None or producer.kind not in _SEE_THROUGH:
                return None
            index = producer.inputs[0]
        return None

    @property
    def versions(self) -> dict[str, int | str]:
        """Of the format, and of the oldest runtime that has all operators, where the file says it."""
        runtime = self.held.metadata.get("min_runtime_version")
        needed = (
            "" if runtime is None else bytes(self.buffers[runtime]).split(b"\0")[0].decode(errors="replace")
        )
        return {"schema": self.held.version, **({"runtime at least": needed} if needed else {})}

    def maker(self, index: int) -> str:
        """The operator that makes a tensor, before any change of its shape or type; "" for none."""
        for _ in self.tensors:  # bounded: a damaged file may have a cycle
            operator = self.producer.get(index)
            if (
                operator is None
                or operator.kind not in {*_SEE_THROUGH, "QUANTIZE", "SQUEEZE"}
                or not operator.inputs
            ):
                return "" if operator is None else operator.kind
            index = operator.inputs[0]
        return ""

    def takers(self, index: int) -> set[str]:
        """The operators that take a tensor, before any change of its shape or type."""
        same, found = {index}, set()
        for operator in self.operators:
            if not same.isdisjoint(operator.inputs):
                if operator.kind in {*_SEE_THROUGH, "QUANTIZE"}:
                    same.update(operator.outputs)
                else:
                    found.add(operator.kind)
        return found

    def shape(self, index: int) -> tuple[int, ...]:
        stored = self.tensors[index].shape
        return stored if self.resized is None else self.resized.get(index, stored)

    def count(self) -> Count:
        count = Count()
        for operator in self.operators:
            kind, inputs = operator.kind, operator.inputs
            product = kind in _PRODUCTS
            if product and self.resized is None:
                count.uncounted.add(kind)
            elif product:
                count.macs += self._macs(kind, inputs, operator.outputs[0])
            elif kind in _UNCOUNTED or kind.startswith("STABLEHLO_"):
                count.uncounted.add(kind)
            for place in _PRODUCTS.get(kind) or _ARITHMETIC.get(kind, ()):
                if place >= len(inputs) or inputs[place] < 0:
                    continue
                stored = self.constant(inputs[place])
                if stored is not None:
                    buffer, constant = stored
                    direct = self.tensors[inputs[place]].dtype == constant.dtype  # else dequantised before
                    used = replace(constant, activations=self._activations(inputs) if direct else "")
                    count.use(buffer, used, product=product or kind == "PRELU")
        return count

    def _activations(self, inputs: Sequence[int]) -> str:
        """The element type of the first input of an operator that is no constant."""
        variables = (index for index in inputs if index >= 0 and self.constant(index) is None)
        return next((self.tensors[index].dtype for index in variables), "")

    def _macs(self, kind: str, inputs: Sequence[int], output: int) -> int:
        out = math.prod(self.shape(output))
        if kind == "BATCH_MATMUL":
            # adj_x swaps the last two lengths; the one that is not in the output is summed over
            left, result = self.shape(inputs[0])[-2:], self.shape(output)
            return out * (left[1] if left[0] == result[-2] else left[0])
        weights = self.shape(inputs[1])
        if kind == "CONV_2D":  # [out, height, width, in of the group]
            return out * math.prod(weights[1:])
        if kind == "DEPTHWISE_CONV_2D":  # [1, height, width, out]
            return out * math.prod(weights[1:3])
        if kind == "CONV_3D":  # [depth, height, width, in, out]
            return out * math.prod(weights[:4])
        if kind == "TRANSPOSE_CONV":  # [out, height, width, in], every input element is scattered
            return math.prod(self.shape(inputs[2])) * math.prod(weights[:3])
        return out * weights[-1]
