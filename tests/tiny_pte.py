"""ExecuTorch programs of a few bytes, put together table by table after the schemas, without ExecuTorch."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np

FLOAT, CHAR = 6, 1
NO_VALUE = 0xFFFF_FFFF


class Builder(flatbuffers.Builder):
    """Writes a table that is named twice once."""

    def __init__(self) -> None:
        super().__init__(1024)
        self.seen: dict[int, int] = {}


@dataclass
class Table:
    """Fields by their places in the schema: (kind of `struct`, number), bytes, texts, tables and lists."""

    fields: dict[int, Any] = field(default_factory=dict)

    def pack(self, builder: Builder) -> int:
        if id(self) not in builder.seen:
            builder.seen[id(self)] = self._pack(builder)
        return builder.seen[id(self)]

    def _pack(self, builder: Builder) -> int:
        inner = {
            number: made
            for number, one in self.fields.items()
            if (made := _referred(builder, one)) is not None
        }
        builder.StartObject(max(self.fields, default=0) + 1)
        for number, one in self.fields.items():
            if number in inner:
                builder.PrependUOffsetTRelativeSlot(number, inner[number], 0)
            else:
                kind, value = one
                slot = {
                    "B": builder.PrependUint8Slot,
                    "b": builder.PrependInt8Slot,
                    "h": builder.PrependInt16Slot,
                    "i": builder.PrependInt32Slot,
                    "I": builder.PrependUint32Slot,
                    "Q": builder.PrependUint64Slot,
                }[kind]
                slot(number, value, -1 if kind in "bhi" else 255)  # no default, so that each is written
        return builder.EndObject()


def _referred(builder: Builder, one: Any) -> int | None:
    """What lies elsewhere; None for a number, which lies in the table."""
    if isinstance(one, Table):
        return one.pack(builder)
    if isinstance(one, str):
        return builder.CreateString(one)
    if isinstance(one, bytes):
        return builder.CreateByteVector(one)
    if isinstance(one, np.ndarray):
        return builder.CreateNumpyVector(one)
    if isinstance(one, list):
        places = [made for part in one if (made := _referred(builder, part)) is not None]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    return None


def flatbuffer(root: Table, identifier: bytes) -> bytes:
    builder = Builder()
    builder.Finish(root.pack(builder), file_identifier=identifier)
    return bytes(builder.Output())


def whole(*numbers: int, kind: Any = np.int32) -> np.ndarray:
    return np.array(numbers, kind)


def tensor(*shape: int, kind: int = FLOAT, constant: int = 0, dynamic: int = 0) -> Table:
    """A value of a program; `constant` is the place of its data."""
    order = np.arange(len(shape), dtype=np.uint8)
    inner = Table({0: ("b", kind), 2: whole(*shape), 3: order, 5: ("I", constant), 8: ("b", dynamic)})
    return Table({0: ("B", 5), 1: inner})


def xnn_value(number: int, *shape: int, data: int = 0, kind: int = 1, flag: int = 0) -> Table:
    """A value of XNNPACK's graph; `data` is the place of its constant, `flag` 1 is fed and 2 is made."""
    inner = Table(
        {
            0: ("h", kind),
            1: ("I", len(shape)),
            2: whole(*shape, kind=np.uint32),
            3: ("I", data),
            4: ("I", number if flag else NO_VALUE),
            5: ("I", flag),
            6: ("I", number),
        }
    )
    return Table({0: ("B", 1), 1: inner})


def xnn_node(kind: int, lists: dict[int, tuple[int, ...]] | None = None, **fields: int) -> Table:
    """A node of XNNPACK's graph; fields are named by their places, as in f16=3."""
    inner = Table(
        {int(name[1:]): ("I", value) for name, value in fields.items()}
        | {number: whole(*numbers, kind=np.uint32) for number, numbers in (lists or {}).items()}
    )
    return Table({0: ("B", kind), 1: inner})


def call(operator: int, *arguments: int, delegate: bool = False) -> Table:
    inner = Table({0: ("i", operator), 1: whole(*arguments)})
    return Table({0: ("B", 2 if delegate else 1), 1: inner})


def program(
    values: list[Table],
    calls: list[Table],
    *,
    operators: tuple[str, ...] = (),
    delegates: dict[str, bytes] | None = None,
    constants: tuple[bytes, ...] = (),
    named: dict[str, bytes] | None = None,
    ends: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (1,)),
    method: str = "forward",
) -> bytes:
    """A program with its data behind it, as ExecuTorch writes it."""
    segments: list[bytes] = [b"".join(constants)]
    delegated, called = [], []
    for backend, data in (delegates or {}).items():
        delegated.append(Table({0: backend, 1: Table({0: ("b", 1), 1: ("I", len(segments))})}))
        segments.append(data)
    for name, data in (named or {}).items():
        called.append(Table({0: name, 1: ("I", len(segments))}))
        segments.append(data)
    begins = np.cumsum([0, *map(len, segments)])
    offsets = np.cumsum([0, 0, *map(len, constants[:-1])]).astype(np.uint64)
    plan = Table(
        {
            0: method,
            2: values,
            3: whole(*ends[0]),
            4: whole(*ends[1]),
            5: [Table({2: calls})],
            6: [Table({0: name, 1: "out"}) for name in operators],
            7: delegated,
            8: whole(0, kind=np.int64),
        }
    )
    root = Table(
        {
            0: ("I", 0),
            1: [plan],
            4: [
                Table({0: ("Q", int(begin)), 1: ("Q", len(data))})
                for begin, data in zip(begins, segments, strict=False)
            ],
            5: Table({0: ("I", 0), 1: offsets}),
            7: called,
        }
    )
    made = flatbuffer(root, b"ET12")
    held = b"".join(segments)
    size = len(made) + 32
    header = b"eh00" + struct.pack("<IQQQ", 32, size, size, len(held))
    (begin,) = struct.unpack_from("<I", made)
    return struct.pack("<I", begin + 32) + made[4:8] + header + made[8:] + held


def xnnpack(values: list[Table], nodes: list[Table], outside: tuple[int, ...], *data: np.ndarray) -> bytes:
    """A delegate of XNNPACK, with its constants behind it; the last of `outside` is what it makes."""
    begins = np.cumsum([0, *(one.nbytes for one in data)])
    stored = [
        Table({0: ("Q", int(begin)), 1: ("Q", one.nbytes)})
        for begin, one in zip((0, *begins), (np.empty(0), *data), strict=False)
    ]
    root = Table(
        {
            1: nodes,
            2: values,
            3: ("I", len(outside)),
            4: whole(*outside[:-1], kind=np.uint32),
            5: whole(*outside[-1:], kind=np.uint32),
            8: stored,
        }
    )
    made = flatbuffer(root, b"XN01")
    held = b"".join(one.tobytes() for one in data)
    header = (
        bytes(4) + b"XH00" + struct.pack("<HIIIQ", 30, 32, len(made), 32 + len(made), len(held)) + bytes(2)
    )
    return header + made + held


def small_pte(named: dict[str, bytes] | None = None) -> bytes:
    """The network of `tiny_files.small_onnx` for ExecuTorch, all of it under XNNPACK; every weight is 1."""
    weights = [np.ones(shape, np.float32) for shape in ((4, 3, 3, 3), (4,), (4,), (2, 4), (2,))]
    values = [
        xnn_value(0, 1, 3, 8, 8, flag=1),
        xnn_value(1, 1, 2, flag=2),
        *(xnn_value(2 + place, *one.shape, data=1 + place) for place, one in enumerate(weights)),
        xnn_value(7, 1, 8, 8, 3),
        xnn_value(8, 1, 8, 8, 4),
        xnn_value(9, 1, 8, 8, 4),
        xnn_value(10, 1, 4),
    ]
    nodes = [
        xnn_node(5, {1: (0, 2, 3, 1)}, f0=4, f2=0, f3=7),  # StaticTranspose
        xnn_node(
            7,
            **dict.fromkeys(("f0", "f1", "f2", "f3", "f6", "f7", "f8", "f9"), 1),
            f4=3,
            f5=3,
            f10=3,
            f11=4,
            f12=1,
            f15=7,
            f16=2,
            f17=3,
            f18=8,
        ),  # Conv2d
        xnn_node(31, f0=8, f1=4, f2=9),  # PReLU
        xnn_node(19, f0=9, f1=10),  # GlobalAvgPooling2d
        xnn_node(2, f0=10, f1=5, f2=6, f3=1),  # FullyConnected
    ]
    return program(
        [tensor(1, 3, 8, 8), tensor(1, 2)],
        [call(0, 0, 1, delegate=True)],
        delegates={"XnnpackBackend": xnnpack(values, nodes, (0, 1), *weights)},
        named=named,
    )
