"""What is measured for a latency table: small files that hold a layer several times.

One layer takes less than a call of the runtime does, so it is not timed alone. Two files that differ only in how often they
hold it are timed in turns; the difference, divided by the number of layers, is the layer's time without the cost of the
call, of the input and of what surrounds the layer. Tables of layers were brought to architecture search by Cai et al.,
ProxylessNAS (ICLR 2019), Wu et al., FBNet (CVPR 2019) and Cai et al., Once for All (ICLR 2020).

Layers stand in these files as they stand in the network, because runtimes fuse what follows a convolution and keep its
result in a layout of their own:

    pair     1x1 up with PReLU, 1x1 down without, the input added: a bottleneck without its depthwise layer. Each of the two
             layers gets half, which is exact for the bottleneck as a whole
    row      depthwise layers with PReLU one after the other
    beside   layers that change the size of the map, all on the same tensor, their results added. The additions count too, a
             padding that they share hardly
    bare     no layer at all: what a run costs besides its layers

Pure: which chains, and what becomes of their times. `build.chain_files` makes the files.
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
"""Units that the longer file of two has more: enough to stand out of a call's cost, few enough to be quick."""


class Chain(Frozen):
    """One file: `copies` units behind a 1x1 convolution that makes `inputs` channels of the image (none where inputs is 3).

    linear: no PReLU follows the layer; of a pair, the one up.
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
        """Different for different chains, and fit for a file name."""
        return (
            f"{self.layout}-{'depthwise-' if self.depthwise else ''}{self.kernel}x{self.kernel}-s{self.stride}-{self.input_px}px-{self.inputs}to{self.outputs}"
            f"{'-linear' if self.linear else ''}-x{self.copies}"
        )


class Cell(NamedTuple):
    """Two chains whose difference in time is that of so many layers."""

    short: Chain
    long: Chain
    layers: int


@dataclass(frozen=True)
class LayerGrid:
    """Layers of a kind on a grid of widths. A sitting measures one row of it: one of `inputs` with all `outputs`.

    inputs: (1,) of a depthwise layer. up, down: which layers of the network a pair stands for.
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
        """What is measured for one of the input widths, a cell for every output width."""
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
        # nothing in it depends on the width after: all cells of a row share it
        return Cell(chain(0, before), chain(MORE, outputs), layers)

    def times(self, ns: Sequence[Sequence[float]]) -> Iterator[LayerTimes]:
        """What stands in the table; ns: a row for every one of `inputs`. Times rise with width; see `rising`."""
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
    """Every kind of layer of the network, on at most `points` widths a side of those that the search chooses from.

    The narrowest and the widest are always among them, so that any structure lies inside the table.
    """
    found: dict[tuple[str, int, int, int, bool], tuple[set[int], set[int]]] = {}
    for layer, one in _with_places(shape, space):
        key = (layer.kind, layer.kernel, layer.stride, layer.input_px, layer.linear)
        inputs, outputs = found.setdefault(key, (set(), set()))
        inputs |= {layer.inputs} if one is None or one.input_place is None else space.allowed(one.input_place)
        outputs |= {layer.outputs} if one is None else space.allowed(one.output_place)
    made = []
    pointwise: set[int] = set()
    for (kind, kernel, stride, input_px, linear), (inputs, outputs) in found.items():
        if kind == "depthwise":
            layout: Layout = "row" if stride == 1 and kernel < input_px else "beside"
            made.append(
                LayerGrid(layout, kernel, stride, input_px, (1,), spread(outputs, points), True, linear)
            )
        elif kernel > 1 or stride > 1:
            widths = spread(inputs, points), spread(outputs, points)
            made.append(LayerGrid("beside", kernel, stride, input_px, *widths, False, linear))
        elif input_px not in pointwise:
            pointwise.add(input_px)
            up = found.get((kind, 1, 1, input_px, False))
            down = found.get((kind, 1, 1, input_px, True))
            narrow = (up[0] if up else set()) | (down[1] if down else set())
            wide = (up[1] if up else set()) | (down[0] if down else set())
            made.append(
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
    return tuple(made)


def _with_places(shape: Shape, space: WidthSpace) -> Iterator[tuple[Layer, Convolution | None]]:
    """Every layer of the unpruned network with where its widths stand; the last two keep theirs."""
    yield from zip(shape.layers(space.base), [*convolutions(), None, None], strict=True)


def spread(widths: Iterable[int], points: int) -> tuple[int, ...]:
    """At most so many of the widths, with both ends, spread as evenly as they allow. Raises ValueError below two points."""
    if points < 2:
        raise ValueError("a grid needs at least two points")
    known = sorted(set(widths))
    if len(known) <= points:
        return tuple(known)
    step = (known[-1] - known[0]) / (points - 1)
    wanted = [known[0] + number * step for number in range(points)]
    return tuple(sorted({min(known, key=lambda width: abs(width - one)) for one in wanted}))


def layer_ns(short: Speed, long: Speed, layers: int) -> float:
    """Time of one layer by two chains that were timed in turns: the median over rounds of the difference of their medians."""
    rounds = zip(short.workers, long.workers, strict=True)
    differences = [stats.median(many.runs_ns) - stats.median(few.runs_ns) for few, many in rounds]
    return stats.median(differences) / layers


def rising(ns: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """The times with each at least as high as any of a narrower layer, and none below 0.

    The search takes for granted that wider is not faster. Noise can say otherwise; so can hardware that computes whole
    vectors of channels, and then the table takes the worse of the two.
    """
    along = [tuple(accumulate((max(one, 0.0) for one in row), max)) for row in ns]
    return tuple(accumulate(along, lambda above, row: tuple(map(max, above, row))))
