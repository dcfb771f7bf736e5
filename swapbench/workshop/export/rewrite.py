"""What ships of a PyTorch network: a copy without layers of training, with foldable modules folded.

A module is foldable where it has a method `folded()` that returns an ordinary layer of the same function (a
central difference convolution returns an nn.Conv2d). PReLU is not changed here: each format has its own fast
form of it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from swapbench.workshop.nets import Foldable, exportable

if TYPE_CHECKING:
    from torch import nn


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
