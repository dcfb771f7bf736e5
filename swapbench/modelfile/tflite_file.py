"""Reading TFLite files for `swapbench.modelfile`."""

from __future__ import annotations

import math
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.modelfile import Shapes


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
_SEE_THROUGH = frozenset({"DEQUANTIZE", "CAST"})
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
        file.check()
        inputs, _ = shaped(path, [file.described(index) for index in file.inputs], shapes)
        file.resize(path, inputs)
        count = file.count()
    except (struct.error, *DAMAGE) as error:
        raise BadModelFile(f"{path} is damaged or cut short: {first_line(error)}", remedy=AGAIN) from error
    return Graph(
        format="tflite",
        files=(path,),
        inputs=inputs,
        outputs=tuple(file.described(index) for index in file.outputs),
        file_bytes=len(content),
        params=count.params,
        macs=count.macs,
        ops=dict(Counter(kind for kind, _, _ in file.operators).most_common()),
        uncounted_ops=tuple(sorted(count.uncounted)),
        precision=count.precision,
        layout=layout_of(inputs),
        metadata=description(path, file.metadata()),
    )


class _File:
    """The main subgraph of a TFLite file.

    Unpacking visits every table and vector and raises where one points outside the file; `check` does the
    same for indices into other parts.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.content = content
        self.model = schema.ModelT.InitFromPackedBuf(content, 0)
        self.kinds = {
            value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
        }
        self.types = {
            value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
        }
        if not self.model.subgraphs or not self.model.operatorCodes or not self.model.buffers:
            raise ValueError("it has no graph")
        self.tensors = self.model.subgraphs[0].tensors
        self.resized: dict[int, tuple[int, ...]] | None = {}
        self.inputs = _numbers(self.model.subgraphs[0].inputs)
        self.outputs = _numbers(self.model.subgraphs[0].outputs)
        self.operators = [
            (self._kind(op), _numbers(op.inputs), _numbers(op.outputs))
            for op in self.model.subgraphs[0].operators or ()
        ]
        self.producer = {out: (kind, inputs) for kind, inputs, outputs in self.operators for out in outputs}

    def _kind(self, op: Any) -> str:
        code = self.model.operatorCodes[op.opcodeIndex]
        name: str = self.kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown")
        return name

    def check(self) -> None:
        """Raise ValueError for an index of a missing part, or for constant data of the wrong size."""
        if not self.operators or not self.inputs or not self.outputs:
            raise ValueError("it has no operators, no inputs or no outputs")
        for subgraph in self.model.subgraphs:
            count = len(subgraph.tensors or ())
            for op in subgraph.operators or ():
                if not 0 <= op.opcodeIndex < len(self.model.operatorCodes):
                    raise ValueError("an operator has an unknown type")
                if any(not -1 <= index < count for index in (*_numbers(op.inputs), *_numbers(op.outputs))):
                    raise ValueError("an operator refers to a missing tensor")
            if any(
                not 0 <= index < count for index in (*_numbers(subgraph.inputs), *_numbers(subgraph.outputs))
            ):
                raise ValueError("an input or output refers to a missing tensor")
            for tensor in subgraph.tensors or ():
                self._check_data(tensor)
        for entry in self.model.metadata or ():
            if not 0 <= entry.buffer < len(self.model.buffers):
                raise ValueError("its metadata is missing")

    def _check_data(self, tensor: Any) -> None:
        if not 0 <= tensor.buffer < len(self.model.buffers):
            raise ValueError("a tensor refers to missing data")
        shape = _numbers(tensor.shape)
        if any(length < -1 for length in shape):
            raise ValueError("a tensor has a negative size")
        data_bytes = len(self._data(tensor.buffer))
        size = _ELEMENT_BYTES.get(self.types.get(tensor.type, ""))
        if data_bytes and size and tensor.sparsity is None and data_bytes != math.prod(shape) * size:
            raise ValueError(f"constant data of {data_bytes} bytes does not fit the shape {list(shape)}")

    def _data(self, index: int) -> Any:
        buffer = self.model.buffers[index]
        if buffer.offset > 1:  # large files keep data behind the flatbuffer
            if buffer.offset + buffer.size > len(self.content):
                raise ValueError("constant data lies beyond the end of the file")
            return self.content[buffer.offset : buffer.offset + buffer.size]
        return b"" if buffer.data is None else buffer.data

    def name(self, index: int) -> str:
        name = self.tensors[index].name
        return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")

    def resize(self, path: Path, inputs: Sequence[Tensor]) -> None:
        """Take over the shapes that follow from other shapes of the inputs than the file holds."""
        shapes = [tensor.shape for tensor in inputs]
        if shapes == [self.shape(index) for index in self.inputs]:
            return
        known = all(0 not in shape for shape in shapes)
        self.resized = resized_shapes(path, shapes) if known else None

    def shape(self, index: int) -> tuple[int, ...]:
        stored = _numbers(self.tensors[index].shape)
        return stored if self.resized is None else self.resized.get(index, stored)

    def declared(self, index: int) -> tuple[int | str, ...]:
        """The lengths of a tensor, with UNNAMED for every free one."""
        signature = _numbers(self.tensors[index].shapeSignature) or self.shape(index)
        return tuple(length if length > 0 else UNNAMED for length in signature)

    def described(self, index: int) -> Tensor:
        tensor = self.tensors[index]
        scale: float | None = None
        zero_point: int | None = None
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            scales, zeros = tensor.quantization.scale, _numbers(tensor.quantization.zeroPoint)
            if len(scales) == 1:
                scale, zero_point = float(scales[0]), zeros[0] if zeros else 0
        dtype = self.types.get(tensor.type, "unknown")
        return Tensor(self.name(index), self.shape(index), dtype, scale, zero_point, self.declared(index))

    def constant(self, index: int) -> tuple[int, Constant] | None:
        """The constant behind a tensor, through dequantisation and casts, with the index of its buffer."""
        for _ in self.tensors:  # bounded: a damaged file may have a cycle
            if len(self._data(self.tensors[index].buffer)):
                break
            kind, inputs = self.producer.get(index, ("", ()))
            if kind not in _SEE_THROUGH:
                return None
            index = inputs[0]
        tensor, shape = self.tensors[index], self.shape(index)
        zero = len(shape) <= 1 and not any(bytes(self._data(tensor.buffer)))
        return tensor.buffer, Constant(shape, self.types.get(tensor.type, "unknown"), zero)

    def count(self) -> Count:
        count = Count()
        for kind, inputs, outputs in self.operators:
            product = kind in _PRODUCTS
            if product and self.resized is None:
                count.uncounted.add(kind)
            elif product:
                count.macs += self._macs(kind, inputs, outputs[0])
            elif kind in _UNCOUNTED or kind.startswith("STABLEHLO_"):
                count.uncounted.add(kind)
            for place in _PRODUCTS.get(kind) or _ARITHMETIC.get(kind, ()):
                if place >= len(inputs) or inputs[place] < 0:
                    continue
                stored = self.constant(inputs[place])
                if stored is not None:
                    count.use(*stored, product=product or kind == "PRELU")
        return count

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

    def metadata(self) -> str | None:
        for entry in self.model.metadata or ():
            name = entry.name.decode(errors="replace") if isinstance(entry.name, bytes) else entry.name
            if name == METADATA_KEY:
                return bytes(self._data(entry.buffer)).decode()
        return None


def _numbers(vector: Any) -> tuple[int, ...]:
    return () if vector is None else tuple(int(number) for number in vector)
