"""MiniFASNet and its unpruned ancestor MobileFaceNet, built from one list of 49 channel counts.

MobileFaceNet is by Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on
Mobile Devices" (CCBR 2018). The structure and the lists V1 and V2 follow
minivision-ai/Silent-Face-Anti-Spoofing (Apache-2.0, 2020), written anew; module names are the published ones,
so that its checkpoints load. With the list K and j = 1:

    stem     conv 3x3 s2 3->K0, depthwise 3x3 K1                          size/2
    down 1   bottleneck(K[j], K[j+1], K[j+3]) s2; 4 residual bottlenecks   size/4
    down 2   bottleneck s2; 6 residual                                     size/8
    down 3   bottleneck s2; 2 residual                                     size/16
    tail     1x1 K46->K47; depthwise over the whole remaining map          1x1
    head     linear K48->embedding, batch norm, dropout, linear->classes

j grows by 3 with every bottleneck; K[j+1] = K[j+2] is the width between its two 1x1 convolutions.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn

from swapbench.workshop.nets import Taps

if TYPE_CHECKING:
    from collections.abc import Sequence

RESIDUALS = (4, 6, 2)
"""Residual bottlenecks after each of the three down-sampling ones."""

CHANNELS = 49
"""Entries of a channel list."""


def _channel_list(stem: int, *stages: tuple[int, tuple[int, ...]], tail: int) -> tuple[int, ...]:
    """The channel list of three stages, each its output width and the widths inside its bottlenecks."""
    bottlenecks = [(width, width, outputs) for outputs, widths in stages for width in widths]
    return (stem, stem, *itertools.chain.from_iterable(bottlenecks), tail, tail)


V1 = _channel_list(
    32,
    (64, (103, 13, 26, 13, 52)),
    (128, (231, 154, 52, 26, 52, 26, 26)),
    (128, (308, 26, 26)),
    tail=512,
)
V2 = _channel_list(
    32,
    (64, (103, 13, 13, 13, 13)),
    (128, (231, 231, 52, 26, 77, 26, 26)),
    (128, (308, 26, 26)),
    tail=512,
)
MOBILEFACENET = _channel_list(64, (64, (128,) * 5), (128, (256,) * 7), (128, (512, 256, 256)), tail=512)


class Convolution(nn.Module):
    """Convolution without bias, batch norm, and a PReLU for each channel unless `linear`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        return cast("Tensor", self.prelu(self.bn(self.conv(x))))


class SqueezeExcitation(nn.Module):
    """Channel gates from the global average: 1x1 c->c/4, batch norm, ReLU, 1x1 ->c, batch norm, sigmoid."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        gates = nn.functional.adaptive_avg_pool2d(x, 1)
        gates = torch.relu(self.bn1(self.fc1(gates)))
        return x * torch.sigmoid(self.bn2(self.fc2(gates)))


class Bottleneck(nn.Module):
    """1x1 up, 3x3 depthwise, 1x1 down without activation; with `residual` the input is added."""

    def __init__(
        self, inputs: int, width: int, outputs: int, *, stride: int, residual: bool, squeeze: bool = False
    ) -> None:
        super().__init__()
        self.conv = Convolution(inputs, width)
        self.conv_dw = Convolution(width, width, 3, stride=stride, padding=1, groups=width)
        self.project = Convolution(width, outputs, linear=True)
        if squeeze:
            self.se_module = SqueezeExcitation(outputs)
        self.squeeze = squeeze
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        y = self.project(self.conv_dw(self.conv(x)))
        if self.squeeze:
            y = self.se_module(y)
        return x + y if self.residual else cast("Tensor", y)


class Stage(nn.Module):
    """Residual bottlenecks in series; with `squeeze` the last one has squeeze-and-excitation."""

    def __init__(self, channels: Sequence[int], start: int, blocks: int, *, squeeze: bool) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *(
                Bottleneck(
                    *_bottleneck_widths(channels, start + 3 * block),
                    stride=1,
                    residual=True,
                    squeeze=squeeze and block == blocks - 1,
                )
                for block in range(blocks)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        return cast("Tensor", self.model(x))


class MiniFASNet(nn.Module):
    """The network; 434,560 parameters with V2 at 80 px and 3 classes."""

    STAGES: ClassVar = (
        ("conv1", "conv2_dw", "conv_23", "conv_3"),
        ("conv_34", "conv_4"),
        ("conv_45", "conv_5"),
    )
    END: ClassVar = ("conv_6_sep", "conv_6_dw", "linear", "bn", "drop", "prob")

    def __init__(
        self,
        channels: Sequence[int],
        *,
        size_px: int = 80,
        classes: int = 3,
        squeeze: bool = False,
        embedding: int = 128,
        dropout: float = 0.2,
    ) -> None:
        """Build the network.

        Args:
            channels: The 49 counts.
            size_px: Side of the square input; it fixes the kernel of the last depthwise convolution.
            classes: Number of logits.
            squeeze: Add squeeze-and-excitation, as in the published SE variants (whose dropout is 0.75).
            embedding: Width of the embedding.
            dropout: Probability before the classifier.

        Raises:
            ValueError: The channel list does not make a network.
        """
        super().__init__()
        check_channels(channels)
        self.classes, self._channels = classes, tuple(channels)
        kernel = math.ceil(size_px / 16)
        self.conv1 = Convolution(3, channels[0], 3, stride=2, padding=1)
        self.conv2_dw = Convolution(channels[0], channels[1], 3, padding=1, groups=channels[1])
        first, second, third = (1 + 3 * sum(n + 1 for n in RESIDUALS[:stage]) for stage in range(3))
        self.conv_23 = Bottleneck(*_bottleneck_widths(channels, first), stride=2, residual=False)
        self.conv_3 = Stage(channels, first + 3, RESIDUALS[0], squeeze=squeeze)
        self.conv_34 = Bottleneck(*_bottleneck_widths(channels, second), stride=2, residual=False)
        self.conv_4 = Stage(channels, second + 3, RESIDUALS[1], squeeze=squeeze)
        self.conv_45 = Bottleneck(*_bottleneck_widths(channels, third), stride=2, residual=False)
        self.conv_5 = Stage(channels, third + 3, RESIDUALS[2], squeeze=squeeze)
        self.conv_6_sep = Convolution(channels[46], channels[47])
        self.conv_6_dw = Convolution(channels[47], channels[48], kernel, groups=channels[48], linear=True)
        self.linear = nn.Linear(channels[48], embedding, bias=False)
        self.bn = nn.BatchNorm1d(embedding)
        self.drop = nn.Dropout(dropout)
        self.prob = nn.Linear(embedding, classes, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def channels_of(self, stage: int) -> int:
        """Channels of the map of a stage, from 1."""
        return self._channels[1 + 3 * sum(n + 1 for n in RESIDUALS[:stage])]

    def end(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and embedding, the latter before dropout, of the map of the last stage."""
        x = self.conv_6_dw(self.conv_6_sep(x))
        embedding = self.bn(self.linear(torch.flatten(x, 1)))
        return self.prob(self.drop(embedding)), embedding

    def taps_of(self, maps: Sequence[Tensor]) -> Taps:
        """The taps; the features are those of the second stage."""
        return Taps(*self.end(maps[2]), maps[1], None)

    def taps(self, images: Tensor) -> Taps:
        """The same of normalised images [n, 3, h, w]."""
        first = self.conv_3(self.conv_23(self.conv2_dw(self.conv1(images))))
        second = self.conv_4(self.conv_34(first))
        return self.taps_of((first, second, self.conv_5(self.conv_45(second))))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [n, 3, h, w] to logits [n, classes]."""
        return self.taps(images).logits


def _bottleneck_widths(channels: Sequence[int], j: int) -> tuple[int, int, int]:
    return channels[j], channels[j + 1], channels[j + 3]


def check_channels(channels: Sequence[int]) -> None:
    """Raise ValueError where a channel list does not make a network; the message names the entry."""
    if len(channels) != CHANNELS:
        raise ValueError(f"channels must have {CHANNELS} entries, not {len(channels)}")
    if min(channels) < 1:
        raise ValueError("channels must be positive whole numbers")
    for i in (0, 47):
        if channels[i] != channels[i + 1]:
            raise ValueError(
                f"channels[{i}] and channels[{i + 1}] feed one depthwise convolution and must be equal"
            )
    j = 1
    for residuals in RESIDUALS:
        for block in range(residuals + 1):
            if channels[j + 1] != channels[j + 2]:
                raise ValueError(
                    f"channels[{j + 1}] and channels[{j + 2}] are the width of one bottleneck and must be "
                    "equal"
                )
            if block > 0 and channels[j] != channels[j + 3]:
                raise ValueError(f"channels[{j}] and channels[{j + 3}] are added and must be equal")
            j += 3
