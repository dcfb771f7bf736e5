"""Equalise the ranges of channels that are quantised together, without changing what a network computes.

An int8 tensor has one scale for all channels, so a channel with a tenth of the widest range gets a tenth of
the levels. ReLU and PReLU are positively homogeneous: f(x / s) * s = f(x) for s > 0. Between two
convolutions, the first may therefore give every channel c divided by s[c], and the second take it times s[c]
(Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019; here with
observed ranges, since weights are quantised per channel and only activations share a scale). The factors are
powers of two, so in floating point the results are the same to the bit.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, fx, nn

from swapbench.workshop.export.rewrite import traced

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_HALVINGS = 6
"""Channels narrower than the widest by more than 2^6 are scaled by 2^6: they carry little, or are dead."""

_HOMOGENEOUS_MODULES = (nn.ReLU, nn.PReLU, nn.Identity)
_HOMOGENEOUS_FUNCTIONS = (torch.relu, nn.functional.relu)


@dataclass(frozen=True)
class _Pair:
    """Two layers with nothing but homogeneous activations between them, whose tensors have no other users.

    Attributes:
        first: A convolution or the batch norm after it.
        second: A convolution.
        between: The nodes from `first` to the one before `second`; one scale must fit the output of each.
    """

    first: nn.Conv2d | nn.BatchNorm2d
    second: nn.Conv2d
    between: tuple[fx.Node, ...]


def equalised(network: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """A copy of a network, in eval mode, whose channels have similar ranges.

    Networks that cannot be traced symbolically, and layers whose channels meet others (residual sums), stay
    as they are.

    Args:
        network: The network.
        batches: Normalised images [n, 3, height, width] on which ranges are observed.
    """
    result = copy.deepcopy(network).eval()
    graph = traced(result)
    if graph is None:
        return result
    pairs = list(_pairs(result, graph.graph))
    ranges = _ranges(graph, pairs, batches)
    with torch.no_grad():
        for pair, widest in zip(pairs, ranges, strict=True):
            _move(pair, _factors(widest))
    return result


def _pairs(network: nn.Module, graph: fx.Graph) -> Iterator[_Pair]:
    """The pairs of layers between which channels can be scaled."""
    modules = dict(network.named_modules())
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]

    def module(node: fx.Node) -> nn.Module | None:
        return modules[str(node.target)] if node.op == "call_module" else None

    def only_here(node: fx.Node) -> bool:
        return calls.count(str(node.target)) == 1

    for node in graph.nodes:
        second = module(node)
        if not isinstance(second, nn.Conv2d) or not only_here(node):
            continue
        between: list[fx.Node] = []
        before = node.args[0]
        while isinstance(before, fx.Node) and len(before.users) == 1:
            between.append(before)
            homogeneous = before.op == "call_function" and before.target in _HOMOGENEOUS_FUNCTIONS
            if not homogeneous and not isinstance(module(before), _HOMOGENEOUS_MODULES):
                break
            before = before.args[0]
        if (
            not between
            or not isinstance(before, fx.Node)
            or before is not between[-1]
            or not only_here(before)
        ):
            continue
        first = module(before)
        if isinstance(first, nn.Conv2d) or (isinstance(first, nn.BatchNorm2d) and first.affine):
            yield _Pair(first, second, tuple(between))


class _Watch(fx.Interpreter):
    """Runs a traced network and records the largest magnitude of every channel of chosen nodes."""

    def __init__(self, traced: fx.GraphModule, chosen: set[fx.Node]) -> None:
        super().__init__(traced)
        self.widest: dict[fx.Node, Tensor] = {}
        self.chosen = chosen

    def run_node(self, n: fx.Node) -> object:
        """Run a node; the interpreter calls this for every node in order."""
        output = super().run_node(n)
        if n in self.chosen:
            seen = cast("Tensor", output).abs().amax((0, 2, 3))
            self.widest[n] = torch.maximum(self.widest[n], seen) if n in self.widest else seen
        return output


def _ranges(traced: fx.GraphModule, pairs: Sequence[_Pair], batches: Sequence[Tensor]) -> list[Tensor]:
    """Largest magnitude of each channel over all batches and all tensors between the layers of each pair."""
    watch = _Watch(traced, {node for pair in pairs for node in pair.between})
    with torch.no_grad():
        for batch in batches:
            watch.run(batch)
    return [torch.stack([watch.widest[node] for node in pair.between]).amax(0) for pair in pairs]


def _factors(widest: Tensor) -> Tensor:
    """Powers of two, at most 1; a channel divided by its own gets a range near the widest."""
    largest = float(widest.max())
    if not math.isfinite(largest) or largest <= 0:
        return torch.ones_like(widest)
    halvings = torch.round(torch.log2(largest / widest.clamp(min=largest * 2.0**-_MOST_HALVINGS)))
    return torch.pow(2.0, -halvings)


def _move(pair: _Pair, factors: Tensor) -> None:
    """Divide the channels of the first layer by the factors, and multiply those of the second by them."""
    first, second = pair.first, pair.second
    first.weight /= factors.reshape((-1, 1, 1, 1) if isinstance(first, nn.Conv2d) else (-1,))
    if first.bias is not None:
        first.bias /= factors
    # weight [out, in of the group, h, w]: an output sees the channels of its own group
    inputs, outputs = second.in_channels // second.groups, second.out_channels // second.groups
    by_output = factors.reshape(second.groups, 1, inputs).expand(-1, outputs, -1)
    second.weight *= by_output.reshape(second.out_channels, inputs, 1, 1)
