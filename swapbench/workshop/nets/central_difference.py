"""Central difference network: convolutions that see differences to their centre, and a map that decides.

After Yu et al., "Searching Central Difference Convolutional Networks for Face Anti-Spoofing" (CVPR 2020),
written anew:

    stem    3->64                                                            size
    levels  three of 128, 196, 128, each followed by max pooling 3x3 s2       size/2, size/4, size/8
    head    the three levels resized to size/8 and joined, ->128->64->1       a map of size/8

Every convolution is 3x3 with central difference, then batch norm and ReLU, except for the map itself.

Two things differ here. The paper regresses a depth map in 0..1 through a last ReLU; here the cells of the map
are logits of "this cell sees a bona fide face", as in `resnet_map`, so that one loss serves both. A ReLU
before the decision would give every attack without a positive cell the same score and no gradient. The
paper's score is the sum of the map over the mask of the face; a deployed network has no mask, so a linear
layer over a 4x4 grid of the map gives the two logits. It is initialised as the plain mean of the map and can
learn which regions count.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from swapbench.workshop.nets import Taps

if TYPE_CHECKING:
    from collections.abc import Sequence

GRID = 4
"""Cells per side of the grid that the decision is made from."""


def folded_kernel(kernel: Tensor, theta: float) -> Tensor:
    """The kernel of the convolution that equals conv(x, kernel) - theta * conv1x1(x, sum of the taps).

    Both terms are linear in x, so theta times the sum of the taps is subtracted from the centre tap; this is
    exact but for rounding, at the borders too. Gradients flow back to the kernel.

    Args:
        kernel: [out, in, h, w] with odd h and w.
        theta: Share of the difference.

    Raises:
        ValueError: The kernel has no centre tap.
    """
    height, width = kernel.shape[2:]
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"a kernel of {height}x{width} has no centre tap")
    padding = (width // 2, width // 2, height // 2, height // 2)
    return kernel - theta * nn.functional.pad(kernel.sum((2, 3), keepdim=True), padding)


class CentralDifference(nn.Conv2d):
    """3x3 convolution whose taps also see the difference to the centre, see `folded_kernel`.

    It uses the folded kernel in training as well: the same function and gradients as two convolutions, for
    nine tenths of their work. `weight` is the unfolded kernel.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, theta: float = 0.7) -> None:
        super().__init__(inputs, outputs, 3, stride, 1, bias=False)
        self.theta = theta

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, outputs, h/stride, w/stride]."""
        return nn.functional.conv2d(x, folded_kernel(self.weight, self.theta), None, self.stride, 1)

    def folded(self) -> nn.Conv2d:
        """An ordinary convolution that computes the same."""
        plain = nn.Conv2d(self.in_channels, self.out_channels, 3, self.stride[0], 1, bias=False)
        plain.weight = nn.Parameter(folded_kernel(self.weight.detach(), self.theta))
        return plain


class CentralDifferenceNet(nn.Module):
    """The network; by default CDCN, with 2,245,050 parameters and 47.34 G MACs at 256 px.

    A thin one has stem 16, levels 32-49-32 and head 32-16: 141,384 parameters and 0.745 G MACs at 128 px. Any
    input size that is a multiple of 8 works; a multiple of 32 can be exported, because then the grid divides
    the map evenly.
    """

    def __init__(
        self,
        *,
        stem: int = 64,
        levels: Sequence[Sequence[int]] = ((128, 196, 128),) * 3,
        head: Sequence[int] = (128, 64),
        theta: float = 0.7,
        classes: int = 2,
    ) -> None:
        """Build the network.

        Args:
            stem: Channels of the first convolution.
            levels: Channels of the convolutions of each of the three levels; the last of each feeds the map.
            head: Channels between the joined levels and the map.
            theta: Share of the difference; 0 gives an ordinary network.
            classes: Number of logits.

        Raises:
            ValueError: Widths are missing or not positive.
        """
        super().__init__()
        if len(levels) != 3 or not all(levels) or not head:
            raise ValueError("levels must be three lists of channels, head one list, and none may be empty")
        if min(stem, *(channels for level in levels for channels in level), *head) < 1:
            raise ValueError("stem, levels and head must be positive whole numbers")
        if classes < 2:
            raise ValueError("classes must be at least 2")
        self.stem = _convolutions((3, stem), theta)
        inputs = (stem, *(level[-1] for level in levels))
        self.levels = nn.ModuleList(
            nn.Sequential(_convolutions((before, *level), theta), nn.MaxPool2d(3, 2, 1))
            for before, level in zip(inputs, levels, strict=False)
        )
        self.head = _convolutions((sum(inputs[1:]), *head), theta)
        self.map_head = CentralDifference(head[-1], 1, theta=theta)
        self.fc = nn.Linear(GRID * GRID, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        with torch.no_grad():
            # the logit of class 1 minus any other is initially the mean of the map
            self.fc.weight.fill_(-0.5 / GRID**2)
            self.fc.weight[1] = 0.5 / GRID**2
            self.fc.bias.zero_()

    def taps(self, images: Tensor) -> Taps:
        """The taps: the embedding is the pooled input of the map, the features are the joined levels."""
        first, second, third = self.levels
        low = first(self.stem(images))
        middle = second(low)
        features = torch.cat([_reduced(low, 4), _reduced(middle, 2), third(middle)], 1)
        last = self.head(features)
        map_logits = self.map_head(last)
        regions = torch.flatten(nn.functional.adaptive_avg_pool2d(map_logits, GRID), 1)
        embedding = torch.flatten(nn.functional.adaptive_avg_pool2d(last, 1), 1)
        return Taps(self.fc(regions), embedding, features, map_logits)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [n, 3, h, w] to logits [n, classes]."""
        return self.taps(images).logits


def _convolutions(channels: Sequence[int], theta: float) -> nn.Sequential:
    """Central difference convolution, batch norm and ReLU from each width to the next."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [CentralDifference(inputs, outputs, theta=theta), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _reduced(x: Tensor, ratio: int) -> Tensor:
    """Bilinear resizing by 1/2 or 1/4 without antialiasing: the mean of the middle 2x2 of each cell.

    It is a pooling operator, because the converter to float16 does not support resizing operators.
    """
    edge = ratio // 2 - 1
    return nn.functional.avg_pool2d(x[:, :, edge:, edge:], 2, ratio)
