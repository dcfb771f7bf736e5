"""The text of an ncnn network (.param) as plain values: layers, their blobs and their parameters.

A network begins with 7767517 and the numbers of its layers and blobs; then each line is a layer: its type,
its name, how many blobs it takes and makes, their names, and `id=value` for each parameter (an array is
`-23300-id=count,value,...`). See https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    Value = int | float | str | tuple[int | float, ...]

MAGIC: Final = "7767517"
METADATA_LINE: Final = "#swapbench "
"""Begins our line behind the last layer, where ncnn reads no more."""
LARGEST_BYTES: Final = 64 << 20
"""Of a text: a thousand times the longest of a network for phones."""
LARGEST_NUMBER: Final = (1 << 31) - 1
_ARRAYS: Final = -23300
_MOST_IDS: Final = 32


@dataclass(frozen=True)
class Layer:
    """A layer: its type and name, the blobs that it takes and makes, and its parameters by number.

    What reads a parameter raises ValueError where it is of another kind.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[int, Value]

    def integer(self, number: int, default: int = 0) -> int:
        """A parameter that is a whole number."""
        value = self.real(number, default)
        if not value.is_integer() or abs(value) > LARGEST_NUMBER:
            raise ValueError(f"parameter {number} of the layer {self.name!r} is no whole number")
        return int(value)

    def size(self, number: int, default: int = 0) -> int:
        """A parameter that is a number of things."""
        value = self.integer(number, default)
        if value < 0:
            raise ValueError(f"parameter {number} of the layer {self.name!r} is negative")
        return value

    def real(self, number: int, default: float) -> float:
        """A parameter that is a number."""
        value = self.params.get(number, default)
        if isinstance(value, int | float):
            return float(value)
        raise ValueError(f"parameter {number} of the layer {self.name!r} is no number")

    def array(self, number: int) -> tuple[int, ...]:
        """A parameter that is a list of whole numbers, () where there is none."""
        value = self.params.get(number, ())
        if not isinstance(value, tuple) or not all(isinstance(one, int) for one in value):
            raise ValueError(f"parameter {number} of the layer {self.name!r} is no list of whole numbers")
        return cast("tuple[int, ...]", value)


@dataclass(frozen=True)
class Network:
    """A network; `metadata` is the text of our line behind it, None in a foreign file."""

    layers: tuple[Layer, ...]
    metadata: str | None = None

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """The layers that stand for inputs; each makes one blob."""
        return tuple(layer for layer in self.layers if layer.kind == "Input")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The blobs that no layer takes, in the order in which they are made: ncnn names no outputs."""
        taken = {blob for layer in self.layers for blob in layer.inputs}
        return tuple(blob for layer in self.layers for blob in layer.outputs if blob not in taken)


def parse(content: bytes) -> Network:
    """The layers of a text.

    Raises:
        ValueError: It is no network of ncnn, is cut short, or contradicts itself.
    """
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it is larger than {LARGEST_BYTES >> 20} MB")
    lines = [line for line in content.decode("utf-8").splitlines() if line.strip()]
    counts = lines[1].split() if len(lines) > 1 else []
    if lines[0].strip() != MAGIC or len(counts) != 2:
        raise ValueError(f"it does not begin with {MAGIC} and the numbers of its layers and blobs")
    layer_count, blob_count = map(_whole, counts)
    found = lines[2 : 2 + max(layer_count, 0)]
    if not found or len(found) < layer_count:
        raise ValueError(f"it names {layer_count} layers and has {len(found)}")
    layers = tuple(map(_layer, found))
    _check(layers, blob_count)
    behind = (line for line in lines[2 + layer_count :] if line.startswith(METADATA_LINE))
    metadata = next(behind, None)
    return Network(layers, None if metadata is None else metadata.removeprefix(METADATA_LINE))


def _layer(line: str) -> Layer:
    words = line.split()
    if len(words) < 4:
        raise ValueError(f"a line is no layer: {line[:60]!r}")
    kind, name, *numbers = words[:4]
    taken, made = map(_whole, numbers)
    if taken < 0 or made < 0 or len(words) < 4 + taken + made:
        raise ValueError(f"the layer {name!r} names fewer blobs than it says")
    blobs = words[4 : 4 + taken + made]
    params = dict(_parameter(name, word) for word in words[4 + taken + made :])
    return Layer(kind, name, tuple(blobs[:taken]), tuple(blobs[taken:]), params)


def _parameter(layer: str, word: str) -> tuple[int, Value]:
    key, equals, text = word.partition("=")
    if not equals:
        raise ValueError(f"the layer {layer!r} has {word[:40]!r} where a parameter belongs")
    number = _whole(key)
    is_array = number <= _ARRAYS
    number = _ARRAYS - number if is_array else number
    if not 0 <= number < _MOST_IDS:
        raise ValueError(f"the layer {layer!r} has a parameter {key[:20]}, which ncnn does not know")
    if not is_array and (text[:1] == '"' or "," not in text):
        return number, _value(text)
    count, *values = text.split(",") if is_array else ("", *text.split(","))
    if is_array and _whole(count) != len(values):
        raise ValueError(f"the list {key[:20]} of the layer {layer!r} does not have the length that it says")
    return number, tuple(_number(value) for value in values)


def _value(text: str) -> Value:
    return text.strip('"') if text[:1] == '"' or text[:1].isalpha() else _number(text)


def _number(text: str) -> int | float:
    return float(text) if not text.lstrip("+-").isdecimal() else _whole(text)


def _whole(text: str) -> int:
    """A whole number that fits into 32 bits; ValueError for others."""
    if not text.lstrip("+-").isdecimal() or len(text) > 12 or abs(number := int(text)) > LARGEST_NUMBER:
        raise ValueError(f"{text[:20]!r} is no whole number of 32 bits")
    return number


def _check(layers: tuple[Layer, ...], blob_count: int) -> None:
    """Raise ValueError where blobs are made twice, taken before they are made, or more than announced."""
    made: set[str] = set()
    for layer in layers:
        for blob in layer.inputs:
            if blob not in made:
                raise ValueError(f"the layer {layer.name!r} takes {blob!r}, which no layer before it makes")
        for blob in layer.outputs:
            if blob in made:
                raise ValueError(f"two layers make {blob!r}")
            made.add(blob)
        if layer.kind == "Input" and (layer.inputs or len(layer.outputs) != 1):
            raise ValueError(f"the input {layer.name!r} does not make one blob")
    if len(made) > blob_count:
        raise ValueError(f"it announces {blob_count} blobs and has {len(made)}")
