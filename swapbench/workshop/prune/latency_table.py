"""A table of measured latencies as the budget of pruning: a structure takes as long as its layers together.

The table is a JSON file that `swapbench latency-table`, or somebody else, measured on the target device;
nothing here measures. It holds, for each kind of layer that the network has, times on a grid of widths:

    {"format": 1, "measured": "pixel7, onnxruntime 1.24, 1 thread, fp32", "other_ns": 21000,
     "layers": [{"kind": "dense", "kernel": 1, "stride": 1, "input_px": 20, "linear": true,
                 "inputs": [16, 64], "outputs": [16, 128], "ns": [[2100, 9800], [6100, 31000]]}, ...]}

`ns` has a row for every input width and a column for every output width; a depthwise layer has one row and no
`inputs`. `linear` says whether an activation follows (false) or not (true); without it the times serve both.
Between the widths times are interpolated linearly; beyond them they are not extrapolated. `channel_multiple`,
1 by default, is the number of which all widths are multiples that the times hold for. `other_ns` is what a
run costs besides its layers. A sum of layers ignores what the runtime fuses and what the caches keep, so
`checked` may hold whole networks, predicted and measured; the network that is found should be measured whole
all the same.
"""

from __future__ import annotations

import json
import statistics
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError, model_validator

from swapbench import units
from swapbench.cards import first_problem
from swapbench.errors import UserError
from swapbench.files import content_of
from swapbench.records import Frozen
from swapbench.workshop.prune.widths import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.workshop.prune.widths import Channels, Layer, Shape


class LayerTimes(Frozen):
    """Times of one kind of layer on a grid of widths, see the module."""

    kind: Literal["dense", "depthwise"]
    kernel: int
    stride: int
    input_px: int
    linear: bool | None = None
    inputs: tuple[int, ...] = (1,)
    outputs: tuple[int, ...] = Field(min_length=1)
    ns: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _rectangular(self) -> LayerTimes:
        if [len(row) for row in self.ns] != [len(self.outputs)] * len(self.inputs):
            raise ValueError("ns needs a row for every input width, and in it a time for every output width")
        if any(low >= high for widths in (self.inputs, self.outputs) for low, high in pairwise(widths)):
            raise ValueError("widths must be in ascending order")
        return self


class CheckedNetwork(Frozen):
    """A whole network, predicted by the table and measured."""

    channels: tuple[int, ...]
    predicted_ns: float
    measured_ns: float


class LatencyTable(Frozen):
    """A table as in its file, see the module."""

    format: Literal[1]
    measured: str
    channel_multiple: int = Field(default=1, ge=1)
    other_ns: float = Field(default=0.0, ge=0)
    layers: tuple[LayerTimes, ...]
    checked: tuple[CheckedNetwork, ...] = ()

    @property
    def error(self) -> float | None:
        """Median of |predicted - measured| / measured of the checked networks; None without one."""
        errors = [
            abs(network.predicted_ns - network.measured_ns) / network.measured_ns for network in self.checked
        ]
        return statistics.median(errors) if errors else None

    @property
    def correlation(self) -> float | None:
        """Pearson's, of predicted and measured times; None below three networks or where one never varies."""
        predicted = [network.predicted_ns for network in self.checked]
        measured = [network.measured_ns for network in self.checked]
        if len(self.checked) < 3 or min(len(set(predicted)), len(set(measured))) < 2:
            return None
        return statistics.correlation(predicted, measured)


@dataclass(frozen=True)
class Latency:
    """Predicts the latency of a channel list from a table."""

    table: LatencyTable
    shape: Shape

    def ns(self, channels: Channels) -> float:
        """The predicted time of one run in nanoseconds.

        Raises:
            UserError: The table does not hold a layer.
        """
        return self.table.other_ns + sum(self._layer_ns(layer) for layer in self.shape.layers(channels))

    def budget(self, latency_ms: float) -> Budget:
        """A limit on the predicted time."""
        return Budget(latency_ms * 1e6, self.ns, units.duration, "latency_ns")

    def _layer_ns(self, layer: Layer) -> float:
        wanted = (layer.kind, layer.kernel, layer.stride, layer.input_px)
        times = next(
            (
                times
                for times in self.table.layers
                if (times.kind, times.kernel, times.stride, times.input_px) == wanted
                and times.linear in {None, layer.linear}
            ),
            None,
        )
        if times is None:
            raise UserError(f"the latency table has no {_text(layer)}", remedy="Measure it too.")
        try:
            rows = [_between(times.outputs, row, layer.outputs) for row in times.ns]
            return rows[0] if layer.kind == "depthwise" else _between(times.inputs, rows, layer.inputs)
        except ValueError as error:
            raise UserError(
                f"the latency table has no {_text(layer)} from {layer.inputs} to {layer.outputs} channels",
                remedy="Measure wider and narrower ones.",
            ) from error


def read_latency_table(path: Path) -> LatencyTable:
    """Read a table.

    Raises:
        UserError: The file cannot be read or is not a table; the message names the field.
    """
    try:
        return LatencyTable.model_validate(json.loads(content_of(path)))
    except OSError as error:
        raise UserError(f"cannot read the latency table {path}: {error.strerror}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error, LatencyTable)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error


def _text(layer: Layer) -> str:
    activation = "" if layer.linear else " with activation"
    kernel = f"{layer.kernel}x{layer.kernel}"
    return f"{layer.kind} layer {kernel}{activation}, stride {layer.stride}, at {layer.input_px} px"


def _between(widths: Sequence[int], values: Sequence[float], width: int) -> float:
    """The value at a width, linear between the two nearest ones; ValueError beyond them."""
    if not widths[0] <= width <= widths[-1]:
        raise ValueError(width)
    right = min(bisect_right(widths, width), len(widths) - 1)
    left = max(right - 1, 0)
    if right == left:
        return values[0]
    fraction = (width - widths[left]) / (widths[right] - widths[left])
    return values[left] + fraction * (values[right] - values[left])
