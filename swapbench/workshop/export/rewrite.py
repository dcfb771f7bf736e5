"""What is done to a PyTorch network before it is exported: a copy in eval mode, without training heads, with foldable parts folded.

A module folds itself by having a method `folded()` that returns an ordinary layer computing the same (a central difference
convolution returns one nn.Conv2d). PReLU is not touched here: each format has its own fast form of it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from swapbench.workshop.nets import Foldable, exportable

if TYPE_CHECKING:
    from torch import nn


def shipped(network: nn.Module) -> nn.Module:
    """A copy of `network` as it ships: `for_export()` where it has one, then `folded()` modules replaced, in eval mode."""
    return folded(exportable(copy.deepcopy(network))).eval()


def folded(module: nn.Module) -> nn.Module:
    """Replace, in place, every module that has `folded()` by what that returns; the module itself too."""
    if isinstance(module, Foldable):
        return module.folded()
    for name, child in list(module.named_children()):
        setattr(module, name, folded(child))
    return module
