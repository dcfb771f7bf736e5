"""MobileNetV3 as it is used for presentation attack detection: a list of rows, one bottleneck each.

The blocks are those of Howard et al., "Searching for MobileNetV3" (ICCV 2019). The rows and the head follow
the anti-spoofing networks of kprokofi/light-weight-face-anti-spoofing (MIT), written anew. They differ from
torchvision's small network: there the published widths are absolute, here each expansion multiplies the width
before it and is rounded to 8.

    stem        conv 3x3 s2 3->stem, h-swish                                       size/2
    bottleneck  1x1 up, depthwise, squeeze-and-excitation, 1x1 down; one a row     size/32 with SMALL
    tail        1x1 ->embedding, h-swish, global average
    head        dropout, batch norm, h-swish, linear->classes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from swapbench.workshop.nets import Taps

if TYPE_CHECKING:
    from collections.abc import Sequence


class Row(NamedTuple):
    """One bottleneck.

    Attributes:
        kernel: Side of the depthwise convolution.
        expansion: Channels inside.
        outputs: Channels after it.
        squeeze: 1 with squeeze-and-excitation, else 0.
        hard_swish: 1 for h-swish, 0 for ReLU.
        stride: 1 or 2.
    """

    kernel: int
    expansion: int
    outputs: int
    squeeze: int
    hard_swish: int
    stride: int


SMALL: tuple[Row, ...] = (
    Row(3, 16, 16, 1, 0, 2),
    Row(3, 72, 24, 0, 0, 2),
    Row(3, 88, 24, 0, 0, 1),
    Row(5, 96, 40, 1, 1, 2),
    Row(5, 240, 40, 1, 1, 1),
    Row(5, 240, 40, 1, 1, 1),
    Row(5, 120, 48, 1, 1, 1),
    Row(5, 144, 48, 1, 1, 1),
    Row(5, 288, 96, 1, 1, 2),
    Row(5, 576, 96, 1, 1, 1),
    Row(5, 576, 96, 1, 1, 1),
)
SMALL_075: tuple[Row, ...] = (
    Row(3, 16, 16, 1, 0, 2),
    Row(3, 72, 24, 0, 0, 2),
    Row(3, 88, 24, 0, 0, 1),
    Row(5, 96, 32, 1, 1, 2),
    Row(5, 192, 32, 1, 1, 1),
    Row(5, 192, 32, 1, 1, 1),
    Row(5, 96, 40, 1, 1, 1),
    Row(5, 120, 40, 1, 1, 1),
    Row(5, 240, 72, 1, 1, 2),
    Row(5, 432, 72, 1, 1, 1),
    Row(5, 432, 72, 1, 1, 1),
)
"""SMALL with 0.75 times the outputs, rounded to 8, and the same ratios of expansion."""


def rounded_to_8(width: float) -> int:
    """The nearest multiple of 8, at least 8, and at most 10 % below `width` (Howard et al. 2019)."""
    nearest = max(8, int(width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * width else nearest


class SqueezeExcitation(nn.Module):
    """Channel gates from the global average: linear c->c/4 (rounded to 8), ReLU, linear ->c, hard sigmoid.

    The linear layers are 1x1 convolutions: the same function without a change of shape in the exported graph.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = rounded_to_8(channels / 4)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        gates = torch.relu(self.fc1(nn.functional.adaptive_avg_pool2d(x, 1)))
        return x * nn.functional.hardsigmoid(self.fc2(gates))


class Bottleneck(nn.Module):
    """1x1 up, depthwise, 1x1 down without activation; the input is added where the shape stays the same.

    Where the expansion equals the inputs there is no 1x1 up, and squeeze-and-excitation comes after the
    activation of the depthwise convolution; elsewhere it comes before it.
    """

    def __init__(self, inputs: int, row: Row) -> None:
        super().__init__()
        width = row.expansion
        activation = nn.Hardswish if row.hard_swish else nn.ReLU
        squeeze = [SqueezeExcitation(width)] if row.squeeze else []
        depthwise = _convolution(width, width, row.kernel, stride=row.stride, groups=width)
        if width == inputs:
            widened = [*depthwise, activation(), *squeeze]
        else:
            widened = [*_convolution(inputs, width), activation(), *depthwise, *squeeze, activation()]
        self.body = nn.Sequential(*widened, *_convolution(width, row.outputs))
        self.residual = row.stride == 1 and inputs == row.outputs

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        y = self.body(x)
        return x + y if self.residual else cast("Tensor", y)


class MobileNetV3(nn.Module):
    """The network; 975,010 parameters and 18.92 M MACs at 128 px with the rows SMALL.

    It is fully convolutional: any input size from 32 px works.
    """

    def __init__(
        self,
        *,
        stem: int = 16,
        rows: Sequence[Sequence[int]] = SMALL,
        embedding: int = 1024,
        classes: int = 2,
        dropout: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            stem: Channels of the first convolution.
            rows: Numbers in the order of `Row`, a row for each bottleneck.
            embedding: Width of the embedding.
            classes: Number of logits.
            dropout: Probability after the embedding.

        Raises:
            ValueError: A width is not positive, or a row does not make a bottleneck.
        """
        super().__init__()
        if min(stem, embedding) < 1:
            raise ValueError("stem and embedding must be positive whole numbers")
        checked = checked_rows(rows)
        self.stem = nn.Sequential(*_convolution(3, stem, 3, stride=2), nn.Hardswish())
        widths = (stem, *(row.outputs for row in checked))
        self.blocks = nn.ModuleList(
            Bottleneck(inputs, row) for inputs, row in zip(widths, checked, strict=False)
        )
        self.middle = max((n for n, row in enumerate(checked) if row.stride == 2), default=0)
        self.tail = nn.Sequential(*_convolution(widths[-1], embedding), nn.Hardswish())
        self.drop = nn.Dropout(dropout)
        self.bn = nn.BatchNorm1d(embedding)
        self.act = nn.Hardswish()
        self.fc = nn.Linear(embedding, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def taps(self, images: Tensor) -> Taps:
        """The taps: the embedding is pooled, the features are those before the last down-sampling."""
        x = features = self.stem(images)
        for number, block in enumerate(self.blocks):
            if number == self.middle:
                features = x
            x = block(x)
        embedding = torch.flatten(nn.functional.adaptive_avg_pool2d(self.tail(x), 1), 1)
        logits = self.fc(self.act(self.bn(self.drop(embedding))))
        return Taps(logits, embedding, features, None)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [n, 3, h, w] to logits [n, classes]."""
        return self.taps(images).logits


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return (
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


def checked_rows(rows: Sequence[Sequence[int]]) -> tuple[Row, ...]:
    """The rows with named fields.

    Raises:
        ValueError: A row does not make a bottleneck; the message names it.
    """
    if not rows:
        raise ValueError("rows must not be empty")
    checked = []
    for number, numbers in enumerate(rows):
        if len(numbers) != len(Row._fields):
            raise ValueError(f"rows[{number}] must have {len(Row._fields)} entries: {', '.join(Row._fields)}")
        row = Row(*numbers)
        if min(row.kernel, row.expansion, row.outputs) < 1 or row.kernel % 2 == 0:
            raise ValueError(
                f"rows[{number}]: kernel must be odd, expansion and outputs positive whole numbers"
            )
        if row.stride not in {1, 2} or row.squeeze not in {0, 1} or row.hard_swish not in {0, 1}:
            raise ValueError(f"rows[{number}]: stride must be 1 or 2, squeeze and hard_swish 0 or 1")
        checked.append(row)
    return tuple(checked)
