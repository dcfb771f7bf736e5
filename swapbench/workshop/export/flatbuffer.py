"""Passes over a .tflite file: PReLU as one operator, padding for XNNPACK, short names, our metadata.

Every function takes and returns the bytes of a file, and returns the same bytes for the same arguments. Only
ai-edge-litert is needed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from swapbench.workshop.export.mixed import Operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

METADATA_KEY = "swapbench"
INPUT = "input"
OUTPUT = "logits"

_Code = schema.BuiltinOperator
_CODE_NAMES = {value: name for name, value in vars(_Code).items() if isinstance(value, int)}
_RELU = schema.ActivationFunctionType.RELU
_RELU6 = schema.ActivationFunctionType.RELU6
_DATA_ALIGNMENT_BYTES = 16
"""Required for constant data by the schema (`force_align: 16`); the generated Python writer ignores it."""

_FILE_IDENTIFIER = b"TFL3"
_LOWEST_PADDING = -1e30


def tidied(content: bytes, outputs: Sequence[str] = (OUTPUT,)) -> bytes:
    """A converter's file made ready to ship: PReLU fused, zero padding, short names, nothing unused.

    Args:
        content: Of the file.
        outputs: Names that its outputs are to have, in order.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    _fuse_prelu(model)
    _pad_with_zeros(model)
    _drop_unused(model)
    _rename(model, outputs)
    model.description = "swapbench"
    return _written(model)


def described(content: bytes, metadata: str) -> bytes:
    """The file with `metadata` (JSON text) in the metadata buffer "swapbench", which is replaced."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    entry = schema.MetadataT()
    entry.name = METADATA_KEY
    entry.buffer = len(model.buffers)
    data = schema.BufferT()
    data.data = np.frombuffer(metadata.encode(), np.uint8)
    model.buffers.append(data)
    replaced = {METADATA_KEY, "keep_stablehlo_constant"}
    others = [other for other in model.metadata or () if _text(other.name) not in replaced]
    model.metadata = [*others, entry]
    _drop_unused(model)
    return _written(model)


def operators(content: bytes) -> list[Operator]:
    """The operators of a file in order, each under the name of its first output."""
    graph = _Graph(flatbuffer_utils.read_model_from_bytearray(bytearray(content)))
    found = []
    for op in graph.operators:
        macs = graph.multiplications(op)
        weights = math.prod(graph.shape(op.inputs[1])) if macs else 0
        found.append(Operator(_text(graph.tensor(op.outputs[0]).name), weights, macs))
    return found


class _Graph:
    """The main subgraph of a file, with the queries that the passes need."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.subgraph = model.subgraphs[0]
        self.operators: list[Any] = self.subgraph.operators
        self.producer = {int(out): op for op in self.operators for out in op.outputs}

    def tensor(self, index: int) -> Any:
        return self.subgraph.tensors[int(index)]

    def shape(self, index: int) -> list[int]:
        shape = self.tensor(index).shape
        return [] if shape is None else [int(length) for length in shape]

    def code(self, op: Any) -> int:
        entry = self.model.operatorCodes[op.opcodeIndex]
        return int(max(entry.builtinCode, entry.deprecatedBuiltinCode))

    def made_by(self, index: int, code: int) -> Any | None:
        op = self.producer.get(int(index))
        return op if op is not None and self.code(op) == code else None

    def constant(self, index: int) -> NDArray[np.float32] | None:
        """The value of a float32 constant, None for anything else."""
        tensor = self.tensor(index)
        data = self.model.buffers[tensor.buffer].data
        if data is None or tensor.type != schema.TensorType.FLOAT32:
            return None
        return np.frombuffer(bytes(data), np.float32).reshape(self.shape(index))

    def users(self, index: int) -> list[Any]:
        return [op for op in self.operators if int(index) in {int(i) for i in op.inputs}]

    def multiplications(self, op: Any) -> int:
        code = self.code(op)
        if code not in {_Code.CONV_2D, _Code.DEPTHWISE_CONV_2D, _Code.FULLY_CONNECTED}:
            return 0
        weights, outputs = self.shape(op.inputs[1]), int(np.prod(self.shape(op.outputs[0])))
        if code == _Code.CONV_2D:
            return outputs * int(np.prod(weights[1:]))
        return outputs * (weights[1] * weights[2] if code == _Code.DEPTHWISE_CONV_2D else weights[1])

    def set_code(self, op: Any, code: int) -> None:
        """Make `op` an operator of another kind, which is added to the file where it is missing."""
        for index, entry in enumerate(self.model.operatorCodes):
            if max(entry.builtinCode, entry.deprecatedBuiltinCode) == code:
                op.opcodeIndex = index
                return
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        self.model.operatorCodes.append(entry)
        op.opcodeIndex = len(self.model.operatorCodes) - 1


def _fuse_prelu(model: Any) -> None:
    """Replace RELU(x) - slope * RELU(-x), into which litert-torch decomposes PReLU, by one PRELU."""
    graph = _Graph(model)
    dead: set[int] = set()
    for op in graph.operators:
        if graph.code(op) != _Code.SUB:
            continue
        positive = graph.made_by(op.inputs[0], _Code.RELU)
        scaled = graph.made_by(op.inputs[1], _Code.MUL)
        if positive is None or scaled is None:
            continue
        x = int(positive.inputs[0])
        negative, slope = _constant_last(graph, scaled.inputs)
        flipped = graph.made_by(negative, _Code.MUL)
        if flipped is None or flipped.builtinOptions.fusedActivationFunction != _RELU:
            continue
        source, minus_one = _constant_last(graph, flipped.inputs)
        slopes, sign = graph.constant(slope), graph.constant(minus_one)
        if source != x or slopes is None or sign is None or not np.all(sign == -1):
            continue
        if any(len(graph.users(part.outputs[0])) != 1 for part in (positive, scaled, flipped)):
            continue
        tensor = graph.tensor(slope)
        if len(graph.shape(slope)) == 4:
            tensor.shape = graph.shape(slope)[1:]  # PRELU takes slopes without the batch dimension
            tensor.shapeSignature = None
        graph.set_code(op, _Code.PRELU)
        op.inputs = [x, slope]
        op.builtinOptions, op.builtinOptionsType = None, schema.BuiltinOptions.NONE
        dead |= {id(positive), id(scaled), id(flipped)}
    graph.subgraph.operators = [op for op in graph.operators if id(op) not in dead]


def _constant_last(graph: _Graph, inputs: Iterable[int]) -> tuple[int, int]:
    first, second = (int(index) for index in inputs)
    return (first, second) if graph.constant(second) is not None else (second, first)


def _pad_with_zeros(model: Any) -> None:
    """Replace PADV2 with minus infinity before max pooling by PAD with zeros, for inputs from 0 up.

    The maximum is the same. XNNPACK supports PAD and leaves PADV2 to a slow reference kernel (a quarter of
    the time of an int8 central difference network), and a range down to minus infinity would spoil
    quantisation.
    """
    graph = _Graph(model)
    for op in graph.operators:
        if graph.code(op) != _Code.PADV2 or not _never_negative(graph, op.inputs[0]):
            continue
        value = graph.constant(op.inputs[2])
        if value is None or float(value.max()) > _LOWEST_PADDING:
            continue
        if any(graph.code(user) != _Code.MAX_POOL_2D for user in graph.users(op.outputs[0])):
            continue
        graph.set_code(op, _Code.PAD)
        op.inputs = [int(op.inputs[0]), int(op.inputs[1])]
        op.builtinOptions, op.builtinOptionsType = schema.PadOptionsT(), schema.BuiltinOptions.PadOptions


def _never_negative(graph: _Graph, index: int) -> bool:
    op = graph.producer.get(int(index))
    if op is None:
        return False
    if graph.code(op) in {_Code.RELU, _Code.RELU6, _Code.LOGISTIC}:
        return True
    return getattr(op.builtinOptions, "fusedActivationFunction", None) in {_RELU, _RELU6}


def _drop_unused(model: Any) -> None:
    """Remove tensors, operator codes and buffers without a user; dangling tensors break the quantiser."""
    for number, subgraph in enumerate(model.subgraphs):
        used_by = {int(i) for op in subgraph.operators for i in (*op.inputs, *op.outputs)}
        used = sorted((used_by | {int(i) for i in (*subgraph.inputs, *subgraph.outputs)}) - {-1})
        place = {old: new for new, old in enumerate(used)} | {-1: -1}
        subgraph.tensors = [subgraph.tensors[old] for old in used]
        for node in (subgraph, *subgraph.operators):
            node.inputs = [place[int(i)] for i in node.inputs]
            node.outputs = [place[int(i)] for i in node.outputs]
        for signature in model.signatureDefs or ():
            if signature.subgraphIndex == number:
                for entry in (*signature.inputs, *signature.outputs):
                    entry.tensorIndex = place[int(entry.tensorIndex)]
    operators = [op for subgraph in model.subgraphs for op in subgraph.operators]
    codes = sorted({int(op.opcodeIndex) for op in operators})
    for op in operators:
        op.opcodeIndex = codes.index(int(op.opcodeIndex))
    model.operatorCodes = [model.operatorCodes[index] for index in codes]
    holders = [
        *(tensor for subgraph in model.subgraphs for tensor in subgraph.tensors),
        *(model.metadata or ()),
    ]
    # buffer 0 is the empty one by convention
    buffers = sorted({0} | {int(holder.buffer) for holder in holders})
    for holder in holders:
        holder.buffer = buffers.index(int(holder.buffer))
    model.buffers = [model.buffers[index] for index in buffers]


def _rename(model: Any, outputs: Sequence[str]) -> None:
    """Name tensors after their operator: converters write whole module paths into the file."""
    graph = _Graph(model)
    for number, op in enumerate(graph.operators):
        kind = _CODE_NAMES[graph.code(op)].lower()
        for place, index in enumerate(op.inputs):
            if int(index) >= 0 and int(index) not in graph.producer:
                graph.tensor(index).name = f"{kind}_{number}.{place}"
        for place, index in enumerate(op.outputs):
            graph.tensor(index).name = f"{kind}_{number}" + (f":{place}" if place else "")
    subgraph = graph.subgraph
    for indices, names in ((subgraph.inputs, (INPUT,)), (subgraph.outputs, outputs)):
        for place, index in enumerate(indices):
            graph.tensor(index).name = names[place] if place < len(names) else f"{names[0]}_{place}"
    for signature in model.signatureDefs or ():
        for entry in (*signature.inputs, *signature.outputs):
            entry.name = graph.tensor(entry.tensorIndex).name


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose data are aligned to 16 bytes."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the name that the generated code calls
        data = None if self.data is None else bytes(self.data)
        if data is not None:
            builder.StartVector(1, len(data), _DATA_ALIGNMENT_BYTES)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            builder.vectorNumElems = len(data)
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def _written(model: Any) -> bytes:
    plain, model.buffers = model.buffers, [_aligned(buffer) for buffer in model.buffers]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=_FILE_IDENTIFIER)
    model.buffers = plain
    return bytes(builder.Output())


def _aligned(buffer: Any) -> _AlignedBuffer:
    aligned = _AlignedBuffer()
    aligned.data = buffer.data
    return aligned


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
