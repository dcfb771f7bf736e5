"""The widths of a MobileFaceNet-like channel list: which are tied, what they cost, how to draw them.

Pure arithmetic over the 49 channel counts of `nets.minifasnet`: no network is built, so a search counts a
structure in microseconds. What may differ are 19 genes:

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
"""A structure: for each gene the index of its width, from 0, the narrowest."""

RESIDUALS = (4, 6, 2)
"""Residual bottlenecks a stage, as in `nets.minifasnet`, which needs PyTorch; a test holds both equal."""

PLACES = 49
"""Entries of a channel list."""

_TRIES = 100
"""Draws over the budget before one is narrowed until it fits."""


class Convolution(NamedTuple):
    """Where a convolution of the network stands, and where its widths stand in the channel list.

    Attributes:
        name: Path of its module.
        input_place: None for the image.
        output_place: Index into the channel list.
        kernel: Side in pixels; None for the convolution over the whole remaining map.
        stride: 1 or 2.
        depthwise: Each channel is convolved alone.
        linear: No PReLU follows.
    """

    name: str
    input_place: int | None
    output_place: int
    kernel: int | None = 1
    stride: int = 1
    depthwise: bool = False
    linear: bool = False


def convolutions() -> Iterator[Convolution]:
    """Every convolution of the network, in order."""
    yield Convolution("conv1", None, 0, 3, 2)
    yield Convolution("conv2_dw", 0, 1, 3, depthwise=True)
    for name, j, _, stride in bottlenecks():
        yield Convolution(f"{name}.conv", j, j + 1)
        yield Convolution(f"{name}.conv_dw", j + 1, j + 2, 3, stride, depthwise=True)
        yield Convolution(f"{name}.project", j + 2, j + 3, linear=True)
    yield Convolution("conv_6_sep", 46, 47)
    yield Convolution("conv_6_dw", 47, 48, None, depthwise=True, linear=True)


def bottlenecks() -> Iterator[tuple[str, int, int, int]]:
    """Path of the module, j in the channel list, stage from 0, and stride of every bottleneck, in order."""
    j = 1
    for stage, (down, residual) in enumerate(
        (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5"))
    ):
        names = [down, *(f"{residual}.model.{number}" for number in range(RESIDUALS[stage]))]
        for number, name in enumerate(names):
            yield name, j, stage, 1 if number else 2
            j += 3


class Layer(NamedTuple):
    """A layer with weights, for counting; a fully connected one counts as a 1x1 convolution of one pixel.

    Attributes:
        name: Path of its module.
        kind: "dense" or "depthwise".
        inputs: Channels.
        outputs: Channels.
        kernel: Side in pixels.
        stride: 1 or 2.
        input_px: Side of its input.
        output_px: Side of its output.
        vectors: Parameters per output channel that follow it: 2 of batch norm, 1 of PReLU.
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
        """Whether no PReLU follows."""
        return self.vectors < 3

    @property
    def weights(self) -> int:
        """Parameters of the kernel."""
        return self.kernel**2 * self.outputs * (1 if self.kind == "depthwise" else self.inputs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.output_px**2 * self.weights

    @property
    def parameters(self) -> int:
        """Parameters of the kernel, of batch norm (scale and shift) and of PReLU."""
        return self.weights + self.vectors * self.outputs


@dataclass(frozen=True)
class Shape:
    """What decides the layers of a network besides its channel list."""

    size_px: int = 80
    classes: int = 3
    embedding: int = 128

    def layers(self, channels: Channels) -> Iterator[Layer]:
        """Every layer with weights, in order."""
        px = self.size_px
        for convolution in convolutions():
            output_px = -(-px // convolution.stride) if convolution.kernel else 1
            place = convolution.input_place
            yield Layer(
                convolution.name,
                "depthwise" if convolution.depthwise else "dense",
                3 if place is None else channels[place],
                channels[convolution.output_place],
                convolution.kernel or px,
                convolution.stride,
                px,
                output_px,
                2 if convolution.linear else 3,
            )
            px = output_px
        yield Layer("linear", "dense", channels[-1], self.embedding, 1, 1, 1, 1, 2)
        yield Layer("prob", "dense", self.embedding, self.classes, 1, 1, 1, 1, 0)

    def macs(self, channels: Channels) -> int:
        """Multiply-accumulates of convolutions and linear layers, counted as in `swapbench.modelfile`."""
        return sum(layer.macs for layer in self.layers(channels))

    def parameters(self, channels: Channels) -> int:
        """Trainable parameters of the PyTorch network."""
        return sum(layer.parameters for layer in self.layers(channels))


@dataclass(frozen=True)
class Budget:
    """A hard upper limit on the cost of a channel list.

    Attributes:
        most: The limit; a cost of exactly this much is within it.
        cost: Of a channel list.
        text: Formats a cost with its unit.
        quantity: What the cost is; the name of its column in a search's history.
    """

    most: float
    cost: Callable[[Channels], float]
    text: Callable[[float], str]
    quantity: Literal["macs", "latency_ns"]

    @classmethod
    def of_macs(cls, most: float, shape: Shape) -> Budget:
        """A limit on multiply-accumulates."""
        return cls(most, shape.macs, lambda macs: f"{units.count(macs)} MACs", "macs")

    def holds(self, channels: Channels) -> bool:
        """Whether the list is within the budget."""
        return self.cost(channels) <= self.most


@dataclass(frozen=True)
class Gene:
    """Widths of the channel list that are one decision.

    Attributes:
        name: Of the layers, for people.
        places: Indexes into the channel list.
        widths: Those allowed, ascending; the last is the unpruned one.
    """

    name: str
    places: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True)
class WidthSpace:
    """All structures that a channel list can be pruned to.

    Attributes:
        base: The unpruned channel list.
        genes: In order.
        multiple: Every width is a multiple of it, except for unpruned ones.
    """

    base: Channels
    genes: tuple[Gene, ...]
    multiple: int = 1

    @classmethod
    def of(
        cls, base: Sequence[int], *, steps: int = 31, smallest: float = 0.1, multiple: int = 1
    ) -> WidthSpace:
        """The space in which each gene takes int(scale x its unpruned width), with evenly spaced scales.

        The defaults are the scales of MetaPruning (Liu et al., ICCV 2019). Scales that give a layer the same
        width are one.

        Args:
            base: The unpruned channel list.
            steps: How many scales.
            smallest: The smallest scale; the largest is 1.
            multiple: Widths are rounded down to a multiple of it, and are at least that.

        Raises:
            ValueError: The list has another length, or different widths where they are tied.
        """
        if len(base) != PLACES or min(base) < 1:
            raise ValueError(f"channels must be {PLACES} positive numbers")
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
        """The number of widths of each gene."""
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
        """The channel list with these widths, one a gene, whether or not they are among the allowed ones."""
        result = list(self.base)
        for gene, width in zip(self.genes, widths, strict=True):
            for place in gene.places:
                result[place] = width
        return tuple(result)

    def narrowed(self, gene: Gene, width: int) -> int:
        """The widest valid width of a gene up to `width`, at least its narrowest; not bound to the steps."""
        return max(_rounded(width, gene.widths[-1], self.multiple), gene.widths[0])

    def uniform(self, budget: Budget) -> Channels:
        """The widest channel list within the budget in which every gene is cut by the same factor.

        Widths are rounded down as in `narrowed` and not bound to the steps, so that the list meets the budget
        as closely as it can: it is the baseline of the other methods.

        Raises:
            UserError: No structure is within the budget.
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

    def within(self, budget: Budget, least: float = 0.0) -> Feasible:
        """The structures within a budget, of which those above this share of it are drawn.

        Raises:
            UserError: There is none; the message names the cost of the narrowest.
        """
        most = budget.most
        cost = lambda genes: budget.cost(self.channels(genes))  # noqa: E731
        return Feasible(self.sizes, cost, most, budget.text, least * most)


def _rounded(width: int, unpruned: int, multiple: int) -> int:
    """The width rounded down to a multiple, at least one multiple and at most the unpruned width."""
    return min(max(width // multiple * multiple, multiple), unpruned) if width < unpruned else unpruned


def _tied() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and places of widths that must be equal."""
    yield "stem", (0, 1)
    outputs: dict[int, list[int]] = {}
    for name, j, stage, _ in bottlenecks():
        yield f"{name} expansion", (j + 1, j + 2)
        outputs.setdefault(stage, []).append(j + 3)
    for stage, places in outputs.items():
        yield f"stage {stage + 1} output", tuple(places)


@dataclass(frozen=True)
class Feasible:
    """The structures within a hard budget, and ways to draw them; whatever is drawn is within it.

    Attributes:
        sizes: Number of values of each gene.
        cost: Of a structure; it must not fall when a gene rises.
        most: The limit.
        text: Formats a cost.
        least: What is drawn costs this at least, or as much as single steps of single genes reach.
    """

    sizes: tuple[int, ...]
    cost: Callable[[Genes], float]
    most: float
    text: Callable[[float], str] = "{:g}".format
    least: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a budget that no structure meets, instead of drawing forever."""
        narrowest = self.cost((0,) * len(self.sizes))
        if not narrowest <= self.most:
            raise UserError(
                f"no structure fits into {self.text(self.most)}: the narrowest has {self.text(narrowest)}",
                remedy="Raise the budget, or allow narrower widths (smallest, channel_multiple) in the "
                "recipe.",
            )

    def drawn(self, random: np.random.Generator) -> Genes:
        """Draw every gene uniformly, again where the budget is missed; after many misses repair the draw."""
        for _ in range(_TRIES):
            genes = tuple(int(random.integers(size)) for size in self.sizes)
            if self.least <= self.cost(genes) <= self.most:
                return genes
        return self.repaired(genes, random)

    def mutated(self, genes: Genes, probability: float, random: np.random.Generator) -> Genes:
        """Move each gene to another of its values with some probability; repaired into the budget."""
        moved = tuple(
            (gene + int(random.integers(1, size))) % size
            if size > 1 and random.random() < probability
            else gene
            for gene, size in zip(genes, self.sizes, strict=True)
        )
        return self.repaired(moved, random)

    def crossed(self, mother: Genes, father: Genes, random: np.random.Generator) -> Genes:
        """Take every gene from either parent with even chances; repaired into the budget."""
        mixed = tuple(a if random.random() < 0.5 else b for a, b in zip(mother, father, strict=True))
        return self.repaired(mixed, random)

    def repaired(self, genes: Genes, random: np.random.Generator) -> Genes:
        """The structure, with random genes narrowed, and then widened, a step at a time until it fits."""
        repaired = list(genes)
        while self.cost(tuple(repaired)) > self.most:
            wide = [place for place, gene in enumerate(repaired) if gene > 0]
            repaired[wide[int(random.integers(len(wide)))]] -= 1
        while self.cost(tuple(repaired)) < self.least:
            wider = [self._widened(repaired, place) for place in range(len(repaired))]
            fitting = [genes for genes in wider if genes is not None and self.cost(genes) <= self.most]
            if not fitting:
                break
            repaired = list(fitting[int(random.integers(len(fitting)))])
        return tuple(repaired)

    def _widened(self, genes: Sequence[int], place: int) -> Genes | None:
        """With one gene a step wider; None where it is as wide as it gets."""
        if genes[place] + 1 >= self.sizes[place]:
            return None
        return (*genes[:place], genes[place] + 1, *genes[place + 1 :])
