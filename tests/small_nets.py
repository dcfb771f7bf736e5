"""Small networks, each with one pitfall of exporting.

Seeds are fixed; batch norm statistics and slopes are not at their defaults.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from swapbench.workshop.nets.central_difference import CentralDifference

SIZE_PX = 24


class PReluNet(nn.Module):
    """MiniFASNet in small.

    Depthwise and pointwise convolutions with PReLU, a residual, a depthwise convolution over the whole map,
    linear layers without bias.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16))
        self.deep = nn.Sequential(
            nn.Conv2d(16, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.PReLU(32),
            nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False),
            nn.BatchNorm2d(32),
            nn.PReLU(32),
            nn.Conv2d(32, 16, 1, bias=False),
            nn.BatchNorm2d(16),
        )
        self.whole = nn.Sequential(
            nn.Conv2d(16, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.PReLU(128),
            nn.Conv2d(128, 128, 12, groups=128),
        )
        self.embed = nn.Sequential(nn.Linear(128, 8, bias=False), nn.BatchNorm1d(8))
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.embed(torch.flatten(self.whole(x + self.deep(x)), 1)))


class HardSwishNet(nn.Module):
    """Hard-swish, squeeze-and-excitation, average pooling: MobileNetV3 in small."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.deep = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 1)
        )
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(self.stem(x))
        x = x * nn.functional.hardsigmoid(self.gate(x))
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


class DifferenceNet(nn.Module):
    """Central difference convolutions and padded max pooling after ReLU: CDCN in small."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            CentralDifference(3, 16),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            CentralDifference(16, 16, stride=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(self.body(x), 1), 1))


class ResidualNet(nn.Module):
    """ResNetMap in small: max pooling, one residual block, and a second head that exports leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.block = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 1, 1, bias=False),
            nn.BatchNorm2d(16),
        )
        self.map_head: nn.Conv2d | None = nn.Conv2d(16, 1, 1)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.block(x))
        if self.map_head is not None:
            self.map_head(x)
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))

    def for_export(self) -> nn.Module:
        import copy

        ship = copy.deepcopy(self)
        ship.map_head = None
        return ship


def settled(net: nn.Module) -> nn.Module:
    """In eval mode with statistics, factors and slopes as training leaves them."""
    dice = torch.Generator().manual_seed(7)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.weight.data = torch.rand(part.num_features, generator=dice) + 0.5
            part.bias.data = torch.randn(part.num_features, generator=dice) * 0.2
            part.momentum = 0.5
        if isinstance(part, nn.PReLU):
            part.weight.data = torch.rand(part.num_parameters, generator=dice) * 1.2 - 0.2
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.weight.data = torch.randn(part.weight.shape, generator=dice) / part.weight[0].numel() ** 0.5
    net.train()
    with torch.no_grad():
        for _ in range(5):
            net(torch.from_numpy(nchw(images(16, seed=11))))
    return net.eval()


def images(count: int, seed: int) -> np.ndarray:
    """Float32 [count, SIZE_PX, SIZE_PX, 3] around 0 with gradients and noise; each image has another mean."""
    dice = np.random.default_rng(seed)
    slope = np.linspace(-1, 1, SIZE_PX)
    ramps = (
        slope[None, :, None, None] * dice.normal(size=(count, 1, 1, 3))
        + slope[None, None, :, None] * dice.normal(size=(count, 1, 1, 3))
        + dice.normal(size=(count, 1, 1, 3))
    )
    return (ramps + 0.3 * dice.normal(size=(count, SIZE_PX, SIZE_PX, 3))).astype(np.float32)


def nchw(batch: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


def outputs(net: nn.Module, batch: np.ndarray) -> np.ndarray:
    """What PyTorch computes for NHWC images."""
    with torch.no_grad():
        return net(torch.from_numpy(nchw(batch))).numpy()
