"""What is done to a PyTorch network before it is exported: a copy in eval mode, without training heads, with foldable parts folded.

A module folds itself by having a method `folded()` that returns an ordinary layer computing the same (a central difference
convolution returns one nn.Conv2d). PReLU is not touched here: each format has its own fast form of it.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from swapbench.nets import exportable


def shipped(network: nn.Module) -> nn.Module:
    """A copy of `network` as it ships: `for_export()` where it has one, then `folded()` modules replaced, in eval mode."""
    return folded(exportable(copy.deepcopy(network))).eval()


def folded(module: nn.Module) -> nn.Module:
    """Replace, in place, every module that has `folded()` by what that returns; the module itself too."""
    fold = getattr(module, "folded", None)
    if callable(fold):
        return cast("nn.Module", fold())
    for name, child in list(module.named_children()):
        setattr(module, name, folded(child))
    return module


def central_difference(kernel: Tensor, theta: float) -> Tensor:
    """The kernel of one ordinary convolution equal to conv(x, kernel) - theta * conv1x1(x, sum of kernel's taps).

    kernel: [out, in, h, w] with h and w odd. Convolution and difference are linear in x, so theta times the sum of the taps is
    taken off the centre tap; exact but for rounding (Yu et al., "Searching Central Difference Convolutional Networks", 2020).
    """
    height, width = kernel.shape[2:]
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"a kernel of {height}x{width} has no centre tap")
    with torch.no_grad():
        one = kernel.clone()
        one[:, :, height // 2, width // 2] -= theta * kernel.sum((2, 3))
    return one
