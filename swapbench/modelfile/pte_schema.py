"""The parts of an ExecuTorch program (.pte) as plain values, after every reference into the file was checked.

A program is a list of instructions: kernels, and delegates, each of which holds a graph in its backend's own
format. Only that of XNNPACK is known here. The tables are those of ExecuTorch's program.fbs and
runtime_schema.fbs, which are read without any package of PyTorch.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from swapbench.flatbuffer_tables import root

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.flatbuffer_tables import Table

    Numbers = tuple[int, ...]

_Part = TypeVar("_Part")

IDENTIFIER: Final = b"ET12"
XNNPACK: Final = "XnnpackBackend"
METHOD: Final = "forward"
DTYPES: Final[Mapping[int, str]] = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
    15: "bfloat16",
    27: "uint16",
    28: "uint32",
    29: "uint64",
}
"""ScalarType -> in numpy's words."""
_XNN_DTYPES: Final[Mapping[int, str]] = {
    1: "float32",
    2: "float16",
    3: "int8",
    4: "uint8",
    5: "int32",
    6: "int8",
    7: "int32",
    8: "int4",
    9: "int8",
    10: "int4",
    11: "int8",
    12: "int32",
    13: "float32",
    14: "bfloat16",
}
"""XNNDatatype -> what its elements are stored as."""
_ANEW: Final = frozenset({9, 11})
"""XNNDatatype of values whose scale is found anew in each run."""
_XNN_KINDS: Final = (
    *("Add", "FullyConnected", "Softmax", "Sigmoid", "StaticTranspose", "Clamp", "Conv2d", "Div"),
    *("StaticResizeBilinear2D", "StaticConstantPad", "AvgPooling2d", "Minimum", "DepthwiseConv2d"),
    *("MaxPooling2d", "Multiply", "Subtract", "Floor", "Convert", "GlobalAvgPooling2d", "StaticReshape"),
    *("ArgMaxPooling2d", "SquareRoot", "Ceiling", "Hardswish", "LeakyReLU", "Maximum", "Negate", "Square"),
    *("ELU", "Abs", "PReLU", "Concatenate2", "Concatenate3", "Concatenate4", "StaticSlice"),
    *("ScaledDotProductAttention", "BatchMatrixMultiply", "Concatenate5", "ConvTranspose2d"),
    *("ReciprocalSquareRoot", "Log", "Gelu", "Tanh", "Exp", "Sin", "Copy", "Cos"),
)
"""XNodeUnion, from 1 on."""
_ONE_TO_ONE: Final = ((0,), 1)
_TWO_TO_ONE: Final = ((0, 1), 2)
_POOLING: Final = ((10,), 11)
_CONVOLUTION: Final = ((15, 16, 17), 18)
_CONCATENATION: Final = {2: ((1, 2), 5), 3: ((1, 2, 3), 5), 4: ((1, 2, 3, 4), 5), 5: ((1, 2, 3, 4, 7), 5)}
_ENDS: Final[Mapping[str, tuple[tuple[int, ...], int]]] = {
    **dict.fromkeys(
        ("Add", "Div", "Minimum", "Multiply", "Subtract", "Maximum", "PReLU", "BatchMatrixMultiply"),
        _TWO_TO_ONE,
    ),
    **dict.fromkeys(("Conv2d", "DepthwiseConv2d", "ConvTranspose2d"), _CONVOLUTION),
    **dict.fromkeys(("AvgPooling2d", "MaxPooling2d"), _POOLING),
    **{f"Concatenate{count}": ends for count, ends in _CONCATENATION.items()},
    "FullyConnected": ((0, 1, 2), 3),
    "ScaledDotProductAttention": ((0, 1, 2, 3, 4), 5),
    "ArgMaxPooling2d": ((6,), 7),
    **dict.fromkeys(("StaticTranspose", "StaticResizeBilinear2D", "StaticReshape"), ((2,), 3)),
    **dict.fromkeys(("StaticConstantPad", "StaticSlice"), ((3,), 4)),
    **dict.fromkeys(("LeakyReLU", "ELU"), ((1,), 2)),
}
"""A node -> the fields that name its inputs, and the one that names its output; others have one of each."""
_NO_VALUE: Final = 0xFFFF_FFFF
_TENSOR: Final = 5
_LISTS: Final = (10, 11)
"""KernelTypes: a tensor, and lists of them."""
_KERNEL_CALL: Final = 1
_DELEGATE_CALL: Final = 2


@dataclass(frozen=True)
class Value:
    """A tensor of a program or of a delegate's graph.

    Attributes:
        shape: Its lengths; where they are free, the largest that they may be.
        dtype: As it is stored, in numpy's words; "unknown" for a type of a newer schema.
        data: Of a constant; None for what is computed or fed.
        is_constant: Whether the file holds it, or one of a delegate's.
        is_free: Whether the file leaves its lengths free.
        quantised_anew: Whether its scale is found anew in each run.
    """

    shape: Numbers
    dtype: str
    data: memoryview | None = None
    is_constant: bool = False
    is_free: bool = False
    quantised_anew: bool = False


@dataclass(frozen=True)
class Node:
    """What computes: a kernel of the program, a node of XNNPACK's, or a whole delegate of another backend.

    Attributes:
        kind: "aten::convolution", "Conv2d", or the name of the backend.
        inputs: Keys of the values that it takes, in the schema's order; -1 is left out.
        output: Key of the value that it makes.
        delegate: Of which backend it is; "" for a kernel.
        group_inputs: Channels that each of a convolution's outputs is made from.
        group_outputs: Channels that each group of a convolution makes.
        kernel: Height and width of a convolution's.
    """

    kind: str
    inputs: Numbers
    output: int
    delegate: str = ""
    group_inputs: int = 0
    group_outputs: int = 0
    kernel: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Program:
    """The method of a program that is run.

    Attributes:
        version: Of the schema.
        values: Key -> tensor; those of delegates have keys of their own, but for what they share.
        nodes: In the order in which they are run.
        inputs: Keys.
        outputs: Keys.
        named: Name -> data that the program holds under a name.
    """

    version: int
    values: Mapping[int, Value]
    nodes: tuple[Node, ...]
    inputs: Numbers
    outputs: Numbers
    named: Mapping[str, memoryview]


def program(content: bytes) -> Program:
    """Read a file that has the identifier of ExecuTorch.

    Raises:
        ValueError: Something points outside the file or at a missing part, or is named more often than a file
            of this size can need.
    """
    return _Reader(content).program()


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._root = root(content)
        base = _segments_begin(content)
        segments = [(base + one.whole(0, "Q"), one.whole(1, "Q")) for one in self._root.tables(4)]
        if any(begin + size > len(content) for begin, size in segments):
            raise ValueError("its data lie beyond the end of the file")
        held = memoryview(content)
        self._segments = [held[begin : begin + size] for begin, size in segments]
        self._named = {
            one.text(0): _at(self._segments, one.whole(1, "I"), "its named data are missing")
            for one in self._root.tables(7)
        }
        self._values: dict[int, Value] = {}
        self._nodes: list[Node] = []

    def program(self) -> Program:
        plans = self._root.tables(1)
        named = [plan for plan in plans if plan.text(0) == METHOD] or list(plans[:1])
        if not named:
            raise ValueError("it has no method")
        plan = named[0]
        held = plan.tables(2)
        self._values.update(
            {key: value for key, one in enumerate(held) if (value := self._value(one)) is not None}
        )
        operators = [one.text(0) for one in plan.tables(6)]
        delegates = plan.tables(7)
        for chain in plan.tables(5):
            for instruction in chain.tables(2):
                kind, call = instruction.union(0)
                if kind not in {_KERNEL_CALL, _DELEGATE_CALL} or call is None:
                    continue
                arguments = self._flat(held, call.wholes(1, "i"))
                place = call.whole(0, "i")
                if kind == _KERNEL_CALL:
                    name = _at(operators, place, "an instruction has an unknown operator")
                    # the output is named twice: as an argument, and as what is returned
                    self._nodes.append(Node(name, arguments[:-1], arguments[-1] if arguments else -1))
                else:
                    self._delegated(_at(delegates, place, "a delegate is missing"), arguments)
        ends = [plan.wholes(number, "i") for number in (3, 4)]
        if any(key not in self._values for key in (*ends[0], *ends[1])):
            raise ValueError("an input or an output is no tensor")
        return Program(
            version=self._root.whole(0, "I"),
            values=self._values,
            nodes=tuple(self._nodes),
            inputs=ends[0],
            outputs=ends[1],
            named=self._named,
        )

    def _value(self, held: Table) -> Value | None:
        """A value of the program that is a tensor."""
        kind, tensor = held.union(0)
        if kind != _TENSOR or tensor is None:
            return None
        shape = tensor.wholes(2, "i")
        if any(length < 0 for length in shape):
            raise ValueError("a tensor has a negative size")
        place, allocated = tensor.whole(5, "I"), tensor.table(6) is not None
        constant = place > 0 and not allocated
        return Value(
            shape,
            DTYPES.get(tensor.whole(0, "b"), "unknown"),
            self._constant(place) if constant else None,
            constant,
            is_free=tensor.whole(8, "b") != 0,
        )

    def _constant(self, place: int) -> memoryview | None:
        """The data of a constant of the program; how long they are is known by their shape."""
        stored = self._root.table(5)
        if stored is None:
            inline = self._root.tables(2)
            return _at(inline, place, "the data of a constant are missing").data(0)
        offsets = stored.wholes(1, "Q")
        segment = _at(self._segments, stored.whole(0, "I"), "the data of constants are missing")
        return segment[_at(offsets, place, "the data of a constant are missing") :]

    def _flat(self, held: Sequence[Table], arguments: Numbers) -> Numbers:
        """The tensors among arguments, those of lists one by one, and -1 for what is none."""
        found: list[int] = []
        for key in arguments:
            kind, inner = _at(held, key, "an instruction refers to a missing value").union(0)
            if kind in _LISTS and inner is not None:
                found += inner.wholes(0, "i")
            else:
                found.append(key if kind == _TENSOR else -1)
        return tuple(found)

    def _delegated(self, delegate: Table, arguments: Numbers) -> None:
        """The nodes of a delegate; one node that stands for all where its backend is not known."""
        backend = delegate.text(0)
        processed = delegate.table(1)
        if processed is None:
            raise ValueError("a delegate has no data")
        place = processed.whole(1, "I")
        if processed.whole(0, "b") == 0:
            stored = self._root.tables(3)
            data = _at(stored, place, "the data of a delegate are missing").data(0)
        else:
            data = _at(self._segments, place, "the data of a delegate are missing")
        if backend != XNNPACK:
            self._nodes.append(Node(backend, arguments[:-1], arguments[-1] if arguments else -1, backend))
            return
        graph, constants = _xnnpack(data)
        first = 1 + max((*self._values, -1))
        keys = self._xnn_values(graph, constants, arguments, first)
        for one in graph.tables(1):
            kind, node = one.union(0)
            if node is None:
                raise ValueError("a node is of no kind")
            self._nodes.append(_xnn_node(kind, node, keys))

    def _xnn_values(
        self, graph: Table, constants: memoryview, arguments: Numbers, first: int
    ) -> Mapping[int, int]:
        """Number of a value in XNNPACK's graph -> key here; notes those that it does not share."""
        outside = (*graph.wholes(4, "I"), *graph.wholes(5, "I"))
        tensors = [argument for argument in arguments if argument >= 0]
        keys = dict(zip(outside, tensors, strict=False))
        inline, stored = graph.tables(6), graph.tables(8)
        for key, held in enumerate(graph.tables(2), first):
            kind, value = held.union(0)
            tensor = value if kind == 1 or value is None else value.table(0)
            if tensor is None:
                raise ValueError("a value of XNNPACK is of no kind")
            number = tensor.whole(6, "I")
            if number in keys:
                continue
            keys[number] = key
            place, data = tensor.whole(3, "I"), None
            if place and stored:
                data = self._xnn_constant(_at(stored, place, "a constant is missing"), constants)
            elif place:
                data = _at(inline, place, "a constant is missing").data(0)
            datatype = tensor.whole(0, "h")
            dtype = _XNN_DTYPES.get(datatype, "unknown")
            shape = tensor.wholes(2, "I")
            self._values[key] = Value(shape, dtype, data, bool(place), quantised_anew=datatype in _ANEW)
        return keys

    def _xnn_constant(self, stored: Table, constants: memoryview) -> memoryview | None:
        """Data behind XNNPACK's graph, or those that the program holds under a name; None for neither."""
        name = stored.text(2)
        if name:
            return self._named.get(name)  # else they are in another file
        begin, size = stored.whole(0, "Q"), stored.whole(1, "Q")
        if begin + size > len(constants):
            raise ValueError("the data of a constant lie beyond the end of the file")
        return constants[begin : begin + size]


def _segments_begin(content: bytes) -> int:
    """Where the segments behind the program begin, as the header behind the identifier says."""
    if content[8:12] != b"eh00":
        return len(content)
    _, size, base = struct.unpack_from("<IQQ", content, 12)
    if max(size, base) > len(content):
        raise ValueError("it is shorter than its header says")
    return int(base)


def _xnnpack(data: memoryview) -> tuple[Table, memoryview]:
    """The graph of a delegate of XNNPACK, and the constants behind it."""
    if bytes(data[4:8]) != b"XH00":
        return root(data), data[:0]
    graph, size, constants = struct.unpack_from("<III", data, 10)
    if graph + size > len(data) or constants > len(data):
        raise ValueError("a delegate is shorter than its header says")
    return root(data[graph : graph + size]), data[constants:]


def _xnn_node(kind: int, node: Table, keys: Mapping[int, int]) -> Node:
    name = _XNN_KINDS[kind - 1] if kind <= len(_XNN_KINDS) else f"XNode{kind}"
    taken, made = _ENDS.get(name, _ONE_TO_ONE)
    convolution = name in {"Conv2d", "DepthwiseConv2d", "ConvTranspose2d"}
    return Node(
        name,
        tuple(-1 if (one := node.whole(number, "I")) == _NO_VALUE else _key(keys, one) for number in taken),
        _key(keys, node.whole(made, "I")),
        XNNPACK,
        group_inputs=node.whole(10, "I") if convolution else 0,
        group_outputs=node.whole(11, "I") if convolution else 0,
        kernel=(node.whole(4, "I"), node.whole(5, "I")) if convolution else (0, 0),
    )


def _key(keys: Mapping[int, int], number: int) -> int:
    if number not in keys:
        raise ValueError("a node of XNNPACK refers to a missing value")
    return keys[number]


def _at(parts: Sequence[_Part], place: int, message: str) -> _Part:
    """A part by its place; ValueError where there is none."""
    if not 0 <= place < len(parts):
        raise ValueError(message)
    return parts[place]
