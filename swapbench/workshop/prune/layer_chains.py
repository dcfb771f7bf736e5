"""What is measured for a latency table: small files that hold a layer several times.

One layer takes less time than a call of the runtime, so it is not timed alone. Two files that differ only in
how often they hold the layer are timed alternately; the difference, divided by the number of layers, is the
layer's time without the cost of the call, of the input and of what surrounds the layer. Latency tables were
brought to architecture search by Cai et al., "ProxylessNAS" (ICLR 2019), Wu et al., "FBNet" (CVPR 2019) and
Cai et al., "Once for All" (ICLR 2020).

Layers have the same neighbours in these files as in the network, because runtimes fuse what follows a
convolution and keep its result in a layout of their own:

    pair     1x1 up with PReLU, 1x1 down without, the input added: a bottleneck without its depthwise layer.
             Each of the two layers gets half the time, which is exact for the bottleneck as a whole
    row      depthwise layers with PReLU in series
    beside   layers that change the size of the map, in parallel on the same tensor, their results added. The
             additions are counted, too; a padding that the layers share hardly is
    bare     no layer at all: what a run costs besides its layers

Nothing here touches a file or a clock: it says which chains there are, and turns their times into a table.
`artifacts.chain_files` makes the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple

from swapbench import stats
from swapbench.records import Frozen
from swapbench.workshop.prune.latency_table import LayerTimes
from swapbench.workshop.prune.widths import convolutions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swapbench.records import Speed
    from swapbench.workshop.prune.widths import Convolution, Layer, Shape, WidthSpace

Layout = Literal["pair", "row", "beside", "bare"]

MORE = 4
"""How many more units the longer file has: enough to outweigh the cost of a call, few enough to be quick."""


class Chain(Frozen):
    """One file: `copies` units after a 1x1 convolution that turns the image into `inputs` channels.

    Attributes:
        layout: How the units are connected, see the module.
        depthwise: Each channel is convolved alone.
        kernel: Side in pixels.
        stride: 1 or 2.
        input_px: Side of the image.
        inputs: Channels; with 3 there is no convolution before the units.
        outputs: Channels.
        linear: No PReLU follows the layer; in a pair, the first of the two.
        copies: Number of units.
    """

    layout: Layout
    depthwise: bool = False
    kernel: int = 1
    stride: int = 1
    input_px: int = 1
    inputs: int = 3
    outputs: int = 3
    linear: bool = False
    copies: int = 0

    @property
    def name(self) -> str:
        """Unique for each chain, and fit for a file name."""
        depthwise, linear = "-depthwise" if self.depthwise else "", "-linear" if self.linear else ""
        return (
            f"{self.layout}{depthwise}-{self.kernel}x{self.kernel}-s{self.stride}"
            f"-{self.input_px}px-{self.inputs}to{self.outputs}{linear}-x{self.copies}"
        )


class Cell(NamedTuple):
    """Two chains whose difference in time is that of `layers` layers."""

    short: Chain
    long: Chain
    layers: int


@dataclass(frozen=True)
class LayerGrid:
    """One kind of layer on a grid of widths; a sitting measures a row: one input width, all output widths.

    Attributes:
        layout: How the units are connected, see the module.
        kernel: Side in pixels.
        stride: 1 or 2.
        input_px: Side of the layer's input.
        inputs: Widths, ascending; (1,) for a depthwise layer.
        outputs: Widths, ascending.
        depthwise: Each channel is convolved alone.
        linear: No PReLU follows the layer; in a pair, the first of the two.
        up: The table gets times of the first layer of a pair.
        down: The table gets times of the second layer of a pair.
    """

    layout: Layout
    kernel: int
    stride: int
    input_px: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    depthwise: bool
    linear: bool
    up: bool = True
    down: bool = False

    def row(self, inputs: int) -> tuple[Cell, ...]:
        """What is measured for one input width: a cell for every output width."""
        return tuple(self._cell(inputs, outputs) for outputs in self.outputs)

    def _cell(self, inputs: int, outputs: int) -> Cell:
        before = outputs if self.depthwise else inputs

        def chain(copies: int, after: int) -> Chain:
            return Chain(
                layout=self.layout,
                depthwise=self.depthwise,
                kernel=self.kernel,
                stride=self.stride,
                input_px=self.input_px,
                inputs=before,
                outputs=after,
                linear=self.linear,
                copies=copies,
            )

        if self.layout == "beside":  # without a layer its output would have another shape
            return Cell(chain(1, outputs), chain(1 + MORE, outputs), MORE)
        layers = 2 * MORE if self.layout == "pair" else MORE
        # the short chain does not depend on the output width: all cells of a row share it
        return Cell(chain(0, before), chain(MORE, outputs), layers)

    def times(self, ns: Sequence[Sequence[float]]) -> Iterator[LayerTimes]:
        """The table's entries for measured times; they rise with width, see `rising`.

        Args:
            ns: Nanoseconds, a row for every input width and a column for every output width.
        """
        rows = rising(ns)
        columns = tuple(zip(*rows, strict=True))
        if self.up:
            yield self._layer_times(self.linear, self.inputs, self.outputs, rows)
        if self.down:
            yield self._layer_times(True, self.outputs, self.inputs, columns)

    def _layer_times(
        self,
        linear: bool,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        ns: tuple[tuple[float, ...], ...],
    ) -> LayerTimes:
        return LayerTimes(
            kind="depthwise" if self.depthwise else "dense",
            kernel=self.kernel,
            stride=self.stride,
            input_px=self.input_px,
            linear=linear,
            inputs=inputs,
            outputs=outputs,
            ns=ns,
        )


def bare(size_px: int) -> Chain:
    """What a run of a network of this input costs besides its layers."""
    return Chain(layout="bare", input_px=size_px)


def grids(shape: Shape, space: WidthSpace, points: int) -> tuple[LayerGrid, ...]:
    """Every kind of layer of a network, on at most `points` of the widths that a search chooses from.

    The narrowest and the widest are always among them, so that every structure lies inside the table.
    """
    kinds: dict[tuple[str, int, int, int, bool], tuple[set[int], set[int]]] = {}
    for layer, convolution in _with_places(shape, space):
        key = (layer.kind, layer.kernel, layer.stride, layer.input_px, layer.linear)
        inputs, outputs = kinds.setdefault(key, (set(), set()))
        place = None if convolution is None else convolution.input_place
        inputs |= {layer.inputs} if place is None else space.allowed(place)
        outputs |= {layer.outputs} if convolution is None else space.allowed(convolution.output_place)
    result = []
    pointwise: set[int] = set()
    for (kind, kernel, stride, input_px, linear), (inputs, outputs) in kinds.items():
        if kind == "depthwise":
            layout: Layout = "row" if stride == 1 and kernel < input_px else "beside"
            result.append(
                LayerGrid(layout, kernel, stride, input_px, (1,), spread(outputs, points), True, linear)
            )
        elif kernel > 1 or stride > 1:
            widths = spread(inputs, points), spread(outputs, points)
            result.append(LayerGrid("beside", kernel, stride, input_px, *widths, False, linear))
        elif input_px not in pointwise:
            pointwise.add(input_px)
            up = kinds.get((kind, 1, 1, input_px, False))
            down = kinds.get((kind, 1, 1, input_px, True))
            narrow = (up[0] if up else set()) | (down[1] if down else set())
            wide = (up[1] if up else set()) | (down[0] if down else set())
            result.append(
                LayerGrid(
                    "pair",
                    1,
                    1,
                    input_px,
                    spread(narrow, points),
                    spread(wide, points),
                    depthwise=False,
                    linear=up is None,
                    up=up is not None,
                    down=down is not None,
                )
            )
    return tuple(result)


def _with_places(shape: Shape, space: WidthSpace) -> Iterator[tuple[Layer, Convolution | None]]:
    """Every layer of the unpruned network with its convolution; the last two have none."""
    yield from zip(shape.layers(space.base), [*convolutions(), None, None], strict=True)


def spread(widths: Iterable[int], points: int) -> tuple[int, ...]:
    """At most `points` of the widths, with both ends, spread as evenly as they allow.

    Raises:
        ValueError: There are fewer than two points.
    """
    if points < 2:
        raise ValueError("a grid needs at least two points")
    allowed = sorted(set(widths))
    if len(allowed) <= points:
        return tuple(allowed)
    step = (allowed[-1] - allowed[0]) / (points - 1)
    targets = [allowed[0] + number * step for number in range(points)]
    return tuple(sorted({min(allowed, key=lambda width: abs(width - target)) for target in targets}))


def layer_ns(short: Speed, long: Speed, layers: int) -> float:
    """Nanoseconds of one layer from two chains that were timed alternately.

    The median over rounds of the difference of the chains' medians, divided by the number of layers.
    """
    rounds = zip(short.workers, long.workers, strict=True)
    differences = [stats.median(longer.runs_ns) - stats.median(shorter.runs_ns) for shorter, longer in rounds]
    return stats.median(differences) / layers


def rising(ns: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """The times, each raised to that of any narrower layer, and none below 0.

    The search relies on wider not being faster. Noise can contradict that, and so can hardware that computes
    whole vectors of channels; then the table takes the slower of the two.
    """
    along = [tuple(accumulate((max(time, 0.0) for time in row), max)) for row in ns]
    return tuple(accumulate(along, lambda above, row: tuple(map(max, above, row))))
