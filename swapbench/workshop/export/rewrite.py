"""What ships of a PyTorch network: a copy without layers of training, with foldable modules folded.

A module is foldable where it has a method `folded()` that returns an ordinary layer of the same function (a
central difference convolution returns an nn.Conv2d). PReLU is not changed here: each format has its own fast
form of it.
"""

from __future__ import annotations

import copy

from torch import fx, nn
from torch.fx.experimental import optimization

from swapbench.workshop.nets import Foldable, exportable


def shipped(network: nn.Module) -> nn.Module:
    """A copy of a network as it ships: `for_export()` where it has that, with foldable modules replaced."""
    return folded(exportable(copy.deepcopy(network))).eval()


def folded(module: nn.Module) -> nn.Module:
    """Replace every foldable module, in place; returns the module, which may itself be replaced."""
    if isinstance(module, Foldable):
        return module.folded()
    for name, child in list(module.named_children()):
        setattr(module, name, folded(child))
    return module


def traced(network: nn.Module) -> fx.GraphModule | None:
    """The graph of a network, which shares its modules; None where it cannot be traced symbolically."""
    try:
        return fx.symbolic_trace(network)
    except (fx.proxy.TraceError, TypeError, RuntimeError, ValueError, AttributeError):
        return None


def batch_norms_folded(network: nn.Module) -> nn.Module:
    """A copy of a network in eval mode whose convolutions hold the batch norms behind them, for a converter.

    Converters fold them too, but only in the end: they trace a network several times, and each trace has
    several operations for a batch norm. A network that cannot be traced, or that calls a convolution twice,
    is returned as it is.
    """
    graph = traced(network)
    if graph is None:
        return network
    called = [str(node.target) for node in graph.graph.nodes if node.op == "call_module"]
    convolutions = [name for name in called if isinstance(graph.get_submodule(name), nn.Conv2d)]
    if len(set(convolutions)) < len(convolutions):
        return network
    return optimization.fuse(graph, no_trace=True)
