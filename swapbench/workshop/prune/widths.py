"""The widths of a MobileFaceNet-like channel list: which are tied, what they cost, and how to draw them within a budget.

Pure arithmetic over the 49 channel counts of nets.minifasnet: no network is built, so a search counts a structure in
microseconds. What may differ are 19 genes:

    stem            K0 = K1, because a depthwise convolution follows
    expansion, 15   K[j+1] = K[j+2] of every bottleneck
    output, 3       K[j+3] of all bottlenecks of a stage: what is added must be equally wide

The tail (K47 = K48) and the embedding keep their widths.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from swapbench import units
from swapbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

Channels = tuple[int, ...]
"""A channel list: 49 counts."""
Genes = tuple[int, ...]
"""A structure: for each gene the number of its width, from 0, the narrowest."""

RESIDUALS = (4, 6, 2)
"""Stands here too because the network, which owns it, needs PyTorch; a test holds both equal."""

PLACES = 49
"""Entries of a channel list."""

_TRIES = 100
"""Draws that may miss the budget before one is narrowed until it fits."""


class Convolution(NamedTuple):
    """Where a convolution stands: path of its module, and the places of its input and output width in the channel list.

    input_place is None for the image; kernel is None for the one over the whole remaining map; linear: no PReLU follows.
    """

    name: str
    input_place: int | None
    output_place: int
    kernel: int | None = 1
    stride: int = 1
    depthwise: bool = False
    linear: bool = False


def convolutions() -> Iterator[Convolution]:
    """Every convolution in order."""
    yield Convolution("conv1", None, 0, 3, 2)
    yield Convolution("conv2_dw", 0, 1, 3, depthwise=True)
    for name, j, _, stride in bottlenecks():
        yield Convolution(f"{name}.conv", j, j + 1)
        yield Convolution(f"{name}.conv_dw", j + 1, j + 2, 3, stride, depthwise=True)
        yield Convolution(f"{name}.project", j + 2, j + 3, linear=True)
    yield Convolution("conv_6_sep", 46, 47)
    yield Convolution("conv_6_dw", 47, 48, None, depthwise=True, linear=True)


def bottlenecks() -> Iterator[tuple[str, int, int, int]]:
    """Every bottleneck: path of its module, j in the channel list, its stage from 0, its stride."""
    j = 1
    for stage, (down, residual) in enumerate(
        (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5"))
    ):
        names = [down, *(f"{residual}.model.{number}" for number in range(RESIDUALS[stage]))]
        for number, name in enumerate(names):
            yield name, j, stage, 1 if number else 2
            j += 3


class Layer(NamedTuple):
    """A layer with weights as arithmetic sees it; a linear one is a 1x1 convolution of one pixel.

    kind: "dense" or "depthwise"; vectors: numbers that follow for every output channel (batch norm 2, PReLU 1).
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    input_px: int
    output_px: int
    vectors: int

    @property
    def linear(self) -> bool:
        """True where no PReLU follows."""
        return self.vectors < 3

    @property
    def weights(self) -> int:
        """Elements of the kernel."""
        return self.kernel**2 * self.outputs * (1 if self.kind == "depthwise" else self.inputs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.output_px**2 * self.weights

    @property
    def parameters(self) -> int:
        """Weights, batch norm scale and shift, PReLU slopes."""
        return self.weights + self.vectors * self.outputs


@dataclass(frozen=True)
class Shape:
    """What a network has besides its channel list."""

    size_px: int = 80
    classes: int = 3
    embedding: int = 128

    def layers(self, channels: Channels) -> Iterator[Layer]:
        """Every layer with weights, in order."""
        px = self.size_px
        for one in convolutions():
            output_px = -(-px // one.stride) if one.kernel else 1
            yield Layer(
                one.name,
                "depthwise" if one.depthwise else "dense",
                3 if one.input_place is None else channels[one.input_place],
                channels[one.output_place],
                one.kernel or px,
                one.stride,
                px,
                output_px,
                2 if one.linear else 3,
            )
            px = output_px
        yield Layer("linear", "dense", channels[-1], self.embedding, 1, 1, 1, 1, 2)
        yield Layer("prob", "dense", self.embedding, self.classes, 1, 1, 1, 1, 0)

    def macs(self, channels: Channels) -> int:
        """Multiply-accumulates of convolutions and linear layers; swapbench.modelfile counts the same in the exported file."""
        return sum(layer.macs for layer in self.layers(channels))

    def parameters(self, channels: Channels) -> int:
        """Trainable parameters of the PyTorch network."""
        return sum(layer.parameters for layer in self.layers(channels))


@dataclass(frozen=True)
class Budget:
    """A hard upper limit: `cost` of a channel list must not exceed `most`. said: such a number as text; quantity: what it is."""

    most: float
    cost: Callable[[Channels], float]
    said: Callable[[float], str]
    quantity: Literal["macs", "latency_ns"]

    @classmethod
    def of_macs(cls, most: float, shape: Shape) -> Budget:
        """A limit in multiply-accumulates."""
        return cls(most, shape.macs, lambda macs: f"{units.count(macs)} MACs", "macs")

    def holds(self, channels: Channels) -> bool:
        """True where the list is within the budget; exactly on the limit is within."""
        return self.cost(channels) <= self.most


@dataclass(frozen=True)
class Gene:
    """Widths that are one decision. places: entries of the channel list; widths: those allowed, ascending, the last unpruned."""

    name: str
    places: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True)
class WidthSpace:
    """All structures that a channel list can be pruned to. multiple: of what every width is one, but for unpruned ones."""

    base: Channels
    genes: tuple[Gene, ...]
    multiple: int = 1

    @classmethod
    def of(
        cls, base: Sequence[int], *, steps: int = 31, smallest: float = 0.1, multiple: int = 1
    ) -> WidthSpace:
        """Each gene takes int(scale x its unpruned width), with so many scales evenly from `smallest` to 1.

        The defaults are the scales of MetaPruning (Liu et al. 2019). A width is rounded down to a multiple of `multiple`, and
        is at least that. Scales that give a layer the same width are one. Raises ValueError where the list does not tie what
        must be tied.
        """
        if len(base) != PLACES or min(base) < 1:
            raise ValueError(f"channels must be {PLACES} numbers from 1")
        scales = [smallest + (1 - smallest) * step / max(steps - 1, 1) for step in range(steps)]
        genes = []
        for name, places in _tied():
            widths = {base[place] for place in places}
            if len(widths) > 1:
                raise ValueError(f"{name} has several widths: channels {', '.join(map(str, places))}")
            (width,) = widths
            # 0.55 x 100 may be 54.999...
            allowed = {_rounded(int(width * scale + 1e-9), width, multiple) for scale in scales} | {width}
            genes.append(Gene(name, places, tuple(sorted(allowed))))
        return cls(tuple(base), tuple(genes), multiple)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many widths each gene has."""
        return tuple(len(gene.widths) for gene in self.genes)

    def allowed(self, place: int) -> set[int]:
        """The widths that an entry of the channel list may have."""
        return next((set(gene.widths) for gene in self.genes if place in gene.places), {self.base[place]})

    @property
    def widest(self) -> Genes:
        """The unpruned structure."""
        return tuple(size - 1 for size in self.sizes)

    def channels(self, genes: Genes) -> Channels:
        """The channel list of a structure."""
        return self.with_widths([gene.widths[number] for gene, number in zip(self.genes, genes, strict=True)])

    def with_widths(self, widths: Sequence[int]) -> Channels:
        """The channel list with one width a gene, whether or not it is among the allowed ones."""
        result = list(self.base)
        for gene, width in zip(self.genes, widths, strict=True):
            for place in gene.places:
                result[place] = width
        return tuple(result)

    def narrowed(self, gene: Gene, width: int) -> int:
        """A width of the gene's layers, whether or not it is among the steps: at most `width`, but never below the narrowest."""
        return max(_rounded(width, gene.widths[-1], self.multiple), gene.widths[0])

    def uniform(self, budget: Budget) -> Channels:
        """The widest list within the budget in which every gene is cut by the same factor, rounded down as `narrowed` does.

        Not bound to the steps, so that it meets the budget as closely as it can: it is what others are compared with.
        Raises UserError for an impossible budget.
        """
        self.within(budget)

        def cut(factor: float) -> Channels:
            return self.with_widths(
                [self.narrowed(gene, int(gene.widths[-1] * factor + 1e-9)) for gene in self.genes]
            )

        factors = sorted(
            {width / gene.widths[-1] for gene in self.genes for width in range(1, gene.widths[-1] + 1)}
        )
        fitting = bisect_right(factors, 0, key=lambda factor: not budget.holds(cut(factor)))
        return cut(factors[fitting - 1]) if fitting else cut(0)

    def within(self, budget: Budget) -> Feasible:
        """The structures within a budget. Raises UserError, naming the smallest possible, where there is none."""
        return Feasible(self.sizes, lambda genes: budget.cost(self.channels(genes)), budget.most, budget.said)


def _rounded(width: int, unpruned: int, multiple: int) -> int:
    """Down to a multiple, but at least one of it; the unpruned width, where that is narrower or all is asked for."""
    return min(max(width // multiple * multiple, multiple), unpruned) if width < unpruned else unpruned


def _tied() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "stem", (0, 1)
    outputs: dict[int, list[int]] = {}
    for name, j, stage, _ in bottlenecks():
        yield f"{name} expansion", (j + 1, j + 2)
        outputs.setdefault(stage, []).append(j + 3)
    for stage, places in outputs.items():
        yield f"stage {stage + 1} output", tuple(places)


@dataclass(frozen=True)
class Feasible:
    """The structures within a hard budget, and ways to draw them. Whatever is drawn is within it.

    sizes: how many values each gene has; cost must not fall when a gene rises; most: the limit.
    """

    sizes: tuple[int, ...]
    cost: Callable[[Genes], float]
    most: float
    said: Callable[[float], str] = "{:g}".format

    def __post_init__(self) -> None:
        """Refuse a budget that no structure meets, instead of drawing for ever."""
        narrowest = self.cost((0,) * len(self.sizes))
        if not narrowest <= self.most:
            raise UserError(
                f"no structure fits into {self.said(self.most)}: the narrowest has {self.said(narrowest)}",
                remedy="Raise the budget, or allow narrower widths (smallest, channel_multiple) in the recipe.",
            )

    def drawn(self, random: np.random.Generator) -> Genes:
        """Every gene uniformly. What misses the budget is drawn again, and after many misses narrowed until it fits."""
        for _ in range(_TRIES):
            genes = tuple(int(random.integers(size)) for size in self.sizes)
            if self.cost(genes) <= self.most:
                return genes
        return self.repaired(genes, random)

    def mutated(self, genes: Genes, probability: float, random: np.random.Generator) -> Genes:
        """Every gene with that probability moved to another of its values, uniformly; repaired into the budget."""
        moved = tuple(
            (gene + int(random.integers(1, size))) % size
            if size > 1 and random.random() < probability
            else gene
            for gene, size in zip(genes, self.sizes, strict=True)
        )
        return self.repaired(moved, random)

    def crossed(self, one: Genes, other: Genes, random: np.random.Generator) -> Genes:
        """Every gene from either parent with even chances; repaired into the budget."""
        mixed = tuple(a if random.random() < 0.5 else b for a, b in zip(one, other, strict=True))
        return self.repaired(mixed, random)

    def repaired(self, genes: Genes, random: np.random.Generator) -> Genes:
        """The structure itself where it fits; else with random genes narrowed one step at a time until it does."""
        found = list(genes)
        while self.cost(tuple(found)) > self.most:
            wide = [place for place, gene in enumerate(found) if gene > 0]
            found[wide[int(random.integers(len(wide)))]] -= 1
        return tuple(found)
