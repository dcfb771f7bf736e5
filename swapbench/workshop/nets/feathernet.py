"""FeatherNet: inverted residuals and a head without pooling.

After Zhang et al., "FeatherNets: Convolutional Neural Networks as Light as Feather for Face Anti-spoofing"
(CVPR Workshops 2019).

    stem      conv 3x3 s2 3->32, ReLU6                                                   size/2
    4 stages  inverted residuals, the first s2, then squeeze-and-excitation              size/32
    head      depthwise 3x3 s2 ("streaming module"), whose cells are the embedding       1024 at 224 px

The authors take those 1024 numbers as the logits of two classes (focal loss with labels 0 and 1). Here a
linear layer follows, 2,050 more parameters, so that the network has one logit a class like every other one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from swapbench.workshop.nets import Taps

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUTS = (16, 32, 48, 64)
"""Channels of each stage."""

EXPANSIONS: tuple[tuple[int, ...], ...] = (
    (32,),
    (96, 192),
    (192, 288, 288, 288, 288, 288),
    (288, 384, 384),
)
"""Width inside each inverted residual of each stage: 1, 6, 6, 6 times its input width."""

_REDUCTION = 32
"""Side of the input divided by the side of the last stage."""


class SqueezeExcitation(nn.Module):
    """Channel gates from the global average: linear c->c/8, ReLU, linear ->c, sigmoid; with biases.

    The linear layers are 1x1 convolutions: the same function without a change of shape in the exported graph.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        gates = torch.relu(self.fc1(nn.functional.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.fc2(gates))


class PooledBranch(nn.Module):
    """The second down-sampling branch of FeatherNetB: average over 2x2, batch norm, 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.bn = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, outputs, h/2, w/2]."""
        return cast("Tensor", self.conv(self.bn(self.pool(x))))

    def folded(self) -> nn.Module:
        """The branch in eval mode with its batch norm in the convolution, which exporters do not fold."""
        bn = self.bn
        assert bn.running_mean is not None
        assert bn.running_var is not None
        conv = nn.Conv2d(self.conv.in_channels, self.conv.out_channels, 1)
        kernel = self.conv.weight.detach()
        factor = (bn.weight / torch.sqrt(bn.running_var + bn.eps)).detach()
        conv.weight = nn.Parameter(kernel * factor.reshape(1, -1, 1, 1))
        conv.bias = nn.Parameter(kernel[:, :, 0, 0] @ (bn.bias.detach() - bn.running_mean * factor))
        return nn.Sequential(self.pool, conv)


class InvertedResidual(nn.Module):
    """1x1 up where the width changes, depthwise 3x3, 1x1 down without activation.

    The input is added where the shape stays the same; with `pooled`, a pooled branch is added where the
    stride is 2.
    """

    def __init__(self, inputs: int, width: int, outputs: int, *, stride: int, pooled: bool) -> None:
        super().__init__()
        up = [] if width == inputs else [*_convolution(inputs, width), nn.ReLU6()]
        self.body = nn.Sequential(
            *up,
            *_convolution(width, width, 3, stride=stride, groups=width),
            nn.ReLU6(),
            *_convolution(width, outputs),
        )
        self.beside: nn.Module | None = None
        if stride == 2 and pooled:
            self.beside = PooledBranch(inputs, outputs)
        elif stride == 1 and inputs == outputs:
            self.beside = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        y = self.body(x)
        return cast("Tensor", y if self.beside is None else y + self.beside(x))


class FeatherNet(nn.Module):
    """The network; FeatherNetB by default, FeatherNetA without `pooled`.

    They have 353,270 and 347,382 parameters, and 80.20 and 77.74 M MACs at 224 px.
    """

    def __init__(
        self,
        *,
        stem: int = 32,
        outputs: Sequence[int] = OUTPUTS,
        expansions: Sequence[Sequence[int]] = EXPANSIONS,
        pooled: bool = True,
        size_px: int = 224,
        classes: int = 2,
        dropout: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            stem: Channels of the first convolution.
            outputs: Channels of the four stages.
            expansions: For each stage, the width inside each of its inverted residuals.
            pooled: Whether down-sampling blocks have a pooled branch.
            size_px: Side of the square input, a multiple of 32; it fixes the size of the classifier.
            classes: Number of logits.
            dropout: Probability before the classifier.

        Raises:
            ValueError: Widths are missing or not positive, or the size is no multiple of 32.
        """
        super().__init__()
        _check(stem, outputs, expansions, size_px)
        self.stem = nn.Sequential(*_convolution(3, stem, 3, stride=2), nn.ReLU6())
        self.stages = nn.ModuleList()
        inputs = stem
        for channels, widths in zip(outputs, expansions, strict=True):
            blocks: list[nn.Module] = []
            for number, width in enumerate(widths):
                stride = 2 if number == 0 else 1
                blocks.append(InvertedResidual(inputs, width, channels, stride=stride, pooled=pooled))
                inputs = channels
            self.stages.append(nn.Sequential(*blocks, SqueezeExcitation(channels)))
        self.streaming = nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs, bias=False)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs * math.ceil(size_px / _REDUCTION / 2) ** 2, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def taps(self, images: Tensor) -> Taps:
        """The taps: the embedding is the streaming module's output, the features are those of stage 3."""
        first, second, third, fourth = self.stages
        features = third(second(first(self.stem(images))))
        cells = self.streaming(fourth(features))
        # channels last within the embedding, as in TFLite: any other order would leave a transposition there
        embedding = torch.flatten(cells.permute(0, 2, 3, 1), 1)
        return Taps(self.fc(self.drop(embedding)), embedding, features, None)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [n, 3, size, size] to logits [n, classes]."""
        return self.taps(images).logits


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return (
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


def _check(stem: int, outputs: Sequence[int], expansions: Sequence[Sequence[int]], size_px: int) -> None:
    if len(outputs) != 4 or len(expansions) != 4 or not all(expansions):
        raise ValueError("outputs and expansions must have four stages with at least one block each")
    if min(stem, *outputs, *(width for stage in expansions for width in stage)) < 1:
        raise ValueError("stem, outputs and expansions must be positive whole numbers")
    if size_px < _REDUCTION or size_px % _REDUCTION:
        raise ValueError(f"size_px must be a multiple of {_REDUCTION}, not {size_px}")
