"""What is fed to a graph, images normalised through a table or seeded random data, and what it returns.

The native runner does the same in native/feed.c, bit for bit for images. The timed process imports this
module: only the standard library and numpy may be imported here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]


class Unusable(Exception):
    """The request or the model makes a run impossible; becomes the worker's error line."""


class Refused(Unusable):
    """The runtime itself refuses to load or to run the file."""


@dataclass(frozen=True)
class Shapes:
    """What a file leaves free and the parent has settled.

    Attributes:
        inputs: The shape of every input in the graph's order; empty where the file fixes all of them.
        dimensions: Name of a free length in an ONNX file -> what it is.
    """

    inputs: tuple[tuple[int, ...], ...] = ()
    dimensions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: str | None, dimensions: str | None) -> Shapes:
        """The same from options of a worker, "1x3x80x80,1x10" and "N=1,H=80"; Unusable where wrong."""
        try:
            return cls(
                tuple(
                    tuple(int(length) for length in shape.split("x") if length)
                    for shape in (inputs.split(",") if inputs else ())
                ),
                {
                    name: int(length)
                    for name, _, length in (
                        one.rpartition("=") for one in (dimensions.split(",") if dimensions else ())
                    )
                },
            )
        except ValueError as problem:
            raise Unusable(f"--shapes or --dimensions is not a list of lengths: {problem}") from None

    def of_input(self, place: int, name: str, found: Sequence[Any]) -> tuple[int, ...]:
        """The shape of the input at a place in the graph's order; Unusable where it is not known.

        Args:
            place: In the graph's order.
            name: Of the input.
            found: Its lengths as the runtime reports them.
        """
        shape = self.inputs[place] if place < len(self.inputs) else tuple(found)
        if any(not isinstance(length, int) or length < 1 for length in shape):
            raise Unusable(
                f"the input {name!r} has dynamic shape {list(found)}, and --shapes does not set it"
            )
        return shape


@dataclass(frozen=True)
class Output:
    """An output of a graph, as the runtime describes it.

    Attributes:
        name: In the graph.
        quantisation: (scale, zero_point) of an integer output, where real = (stored - zero_point) * scale.
    """

    name: str
    quantisation: tuple[float, int] | None = None

    def real(self, stored: Array) -> Array:
        """What the runtime returned in real numbers, single precision: dequantised where it is quantised."""
        if self.quantisation is None:
            return stored.astype(np.float32, copy=False)
        scale, zero_point = self.quantisation
        return (stored.astype(np.float32) - zero_point) * np.float32(scale)


@dataclass(frozen=True)
class Input:
    """The input of a graph that is fed, as the runtime describes it; others beside it get zeros.

    Attributes:
        name: In the graph.
        shape: All lengths are fixed.
        dtype: Of the elements.
        quantisation: (scale, zero_point) of an integer input, where real = (stored - zero_point) * scale.
        alone: Whether the graph has no other input.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantisation: tuple[float, int] | None = None
    alone: bool = True

    @property
    def channels_last(self) -> bool | None:
        """Whether an image input (rank 4, 3 channels or 1) is NHWC; None where the input is not an image."""
        if len(self.shape) != 4:
            return None
        for channels in (3, 1):
            if self.shape[3] == channels:
                return True
            if self.shape[1] == channels:
                return False
        return None

    @property
    def channels(self) -> int:
        """How many channels an image input has."""
        return self.shape[3] if self.channels_last else self.shape[1]

    @property
    def height_width(self) -> tuple[int, int]:
        """The size of an image input in pixels."""
        return (self.shape[1], self.shape[2]) if self.channels_last else (self.shape[2], self.shape[3])


def made_input(spec: Input, seed: int) -> tuple[Array, str]:
    """Data for a graph input where there are no samples, and what they are, "random" or "zeros".

    Floats are uniform in [0, 1), integers of one or two bytes over their full range. Wider integers are often
    indices, which must lie in a range that only the graph knows, and several inputs may have to agree: both
    get zeros.
    """
    if spec.dtype.kind not in "fiub":
        raise Unusable(f"the input {spec.name!r} has type {spec.dtype}, which is not numeric")
    rng = np.random.default_rng(seed)
    if not spec.alone or (spec.dtype.kind in "iu" and spec.dtype.itemsize > 2):
        return np.zeros(spec.shape, spec.dtype), "zeros"
    if spec.dtype.kind == "f":
        return rng.random(spec.shape, np.float32).astype(spec.dtype), "random"
    if spec.dtype.kind == "b":
        return rng.integers(0, 2, spec.shape).astype(spec.dtype), "random"
    limits = np.iinfo(spec.dtype)
    return rng.integers(limits.min, limits.max, spec.shape, spec.dtype, endpoint=True), "random"


@dataclass(frozen=True)
class Normalise:
    """Normalisation of a pixel in 0..255, per channel: `(pixel * scale - mean) / std`."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_json(cls, text: str) -> Normalise:
        """Parse `{"scale": s, "mean": [...], "std": [...]}`, a number a channel; else Unusable."""
        try:
            fields = json.loads(text)
            mean, std = (tuple(float(value) for value in fields[key]) for key in ("mean", "std"))
            scale = float(fields["scale"])
        except (ValueError, KeyError, TypeError) as problem:
            raise Unusable(f"--normalise is not JSON with scale, mean and std: {problem!r}") from None
        if len(mean) not in (1, 3) or len(std) != len(mean) or 0 in std:
            raise Unusable("--normalise needs a mean and a non-zero std for each of 3 channels or 1")
        return cls(scale, mean, std)

    def table(self, spec: Input) -> Array:
        """What each pixel value becomes in each channel.

        Computed in double precision and rounded once, so that every worker feeds the same bits.

        Returns:
            `[channels, 256]`, of the graph's element type.
        """
        pixels = np.arange(256, dtype=np.float64)
        real = np.stack([(pixels * self.scale - m) / s for m, s in zip(self.mean, self.std, strict=True)])
        if spec.dtype.kind == "f":
            return real.astype(spec.dtype)
        limits = np.iinfo(spec.dtype)
        if spec.quantisation is None:  # the graph normalises by itself: pixels as they are, or shifted
            if (real != np.rint(real)).any() or real.min() < limits.min or real.max() > limits.max:
                raise Unusable(
                    f"the input {spec.name!r} is {spec.dtype} without a quantisation scale, so it takes"
                    f" whole numbers from {limits.min} to {limits.max}, and scale, mean and std make others"
                )
            return real.astype(spec.dtype)
        scale, zero_point = spec.quantisation
        stored: Array = np.clip(np.rint(real / scale) + zero_point, limits.min, limits.max).astype(spec.dtype)
        return stored


class ImageFeed:
    """A preallocated input buffer that uint8 images are normalised into, by table lookup."""

    def __init__(self, spec: Input, normalise: Normalise) -> None:
        channels = len(normalise.mean)
        if spec.channels_last is None or spec.channels != channels or spec.shape[0] != 1:
            shape = list(spec.shape)
            raise Unusable(
                f"the input {spec.name!r} of shape {shape} is not a single {channels}-channel image"
            )
        self.buffer: Array = np.zeros(spec.shape, spec.dtype)
        self._table = normalise.table(spec)
        self._flat_table = self._table.ravel()
        self._entry: Array | None = None
        if spec.channels_last:
            offset = np.arange(channels, dtype=np.intp) * 256
            self._offset = np.ascontiguousarray(np.broadcast_to(offset, spec.shape[1:]))
            self._entry = np.zeros(spec.shape[1:], np.intp)

    def fill(self, image: Array) -> None:
        """Normalise `image`, uint8 [height, width, channels], into `buffer`."""
        # mode "clip": with "raise", numpy would write into a temporary copy first
        if self._entry is not None:
            np.add(image, self._offset, out=self._entry)
            np.take(self._flat_table, self._entry, out=self.buffer[0], mode="clip")
            return
        for channel in range(len(self._table)):
            np.take(self._table[channel], image[:, :, channel], out=self.buffer[0, channel], mode="clip")


def fill_with_map(feed: Array, given: Array, spec: Input) -> None:
    """Copy what one file returned into the input of the next; Unusable where it does not fit.

    Both are float32 of one shape: a part of a network hands its map over as it is.
    """
    if given.shape != feed.shape or feed.dtype != np.float32:
        raise Unusable(
            f"the input {spec.name!r} takes {feed.dtype} {list(feed.shape)}, and the file before it returns"
            f" {given.dtype} {list(given.shape)}"
        )
    np.copyto(feed, given)


def open_samples(path: str, spec: Input) -> Array:
    """Memory-map the samples file; Unusable where it does not hold images of the graph's size.

    Returns:
        uint8 `[n, height, width, channels]`.
    """
    try:
        samples: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise Unusable(f"cannot read the samples file: {problem}") from None
    if samples.dtype != np.uint8 or samples.ndim != 4 or samples.shape[3] not in (1, 3) or len(samples) == 0:
        raise Unusable(
            f"samples are {samples.dtype} {list(samples.shape)}, not uint8 [n, height, width, 3 or 1]"
        )
    shape, channels = list(spec.shape), samples.shape[3]
    if spec.channels_last is None or spec.channels != channels:
        raise Unusable(f"the input {spec.name!r} of shape {shape} does not take a {channels}-channel image")
    if samples.shape[1:3] != spec.height_width:
        wanted = "x".join(map(str, reversed(spec.height_width)))
        raise Unusable(f"samples are {samples.shape[2]}x{samples.shape[1]} px, but the graph takes {wanted}")
    return samples
