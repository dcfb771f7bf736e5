"""ResNet with a supervised map: the teacher.

Pixel-wise supervision is from George and Marcel, "Deep Pixel-wise Binary Supervision for Face Presentation
Attack Detection" (ICB 2019), here on a ResNet: the third stage (14x14 at 224 px) feeds a 1x1 convolution, and
each of its cells is to tell whether it sees a bona fide face. The ResNet is that of He et al., "Deep Residual
Learning for Image Recognition" (CVPR 2016); module names are torchvision's, so that its state dicts fit.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar, Final, cast

import torch
from torch import Tensor, nn

from swapbench.data.modalities import MODALITIES
from swapbench.errors import BadCard
from swapbench.workshop.nets import Taps

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESIDUAL_PX: Final = 5


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c, h, w]."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return cast("Tensor", self.relu(y + self.downsample(x)))


class WithHighPass(nn.Module):
    """The input, and what is left of its photographs without their mean over 5x5 pixels."""

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.full((3, 1, _RESIDUAL_PX, _RESIDUAL_PX), -1.0 / _RESIDUAL_PX**2)
        kernel[:, :, _RESIDUAL_PX // 2, _RESIDUAL_PX // 2] += 1
        self.register_buffer("residual", kernel, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c + 3, h, w], of which the first three channels are the photograph."""
        kernel = cast("Tensor", self.residual)
        fine = nn.functional.conv2d(images[:, :3], kernel, padding=_RESIDUAL_PX // 2, groups=3)
        return torch.cat([images, fine], 1)


class ResNetMap(nn.Module):
    """ResNet-18 by default, with a map head on the third stage; 11,177,795 parameters with 2 classes.

    The deployed output is the logits alone: the map head serves training and distillation, and `for_export`
    leaves it out, which saves 257 parameters and the MACs of a 1x1 convolution. The network is fully
    convolutional: any input size from 32 px works.
    """

    STAGES: ClassVar = (
        ("see", "conv1", "bn1", "relu", "maxpool", "layer1"),
        ("layer2",),
        ("layer3",),
        ("layer4",),
    )
    END: ClassVar = ("drop", "fc")

    def __init__(
        self,
        *,
        stem: int = 64,
        stages: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        classes: int = 2,
        dropout: float = 0.0,
        high_pass: bool = False,
        modalities: Sequence[str] = (),
    ) -> None:
        """Build the network.

        Args:
            stem: Channels of the first convolution.
            stages: Channels of the four stages.
            blocks: Number of blocks of each stage.
            classes: Number of logits.
            dropout: Probability before the classifier.
            high_pass: Whether the first convolution also sees what is left of the photograph without its mean
                over 5x5 pixels, where moire and screens are: a fixed filter before a network, as in
                steganalysis (Qian et al. 2015).
            modalities: What it sees besides the photograph, each in a channel of its own: depth, nir. They
                are fused before the first convolution. Such a network teaches and is not exported.

        Raises:
            ValueError: There is no such modality, or stages and blocks are not four positive numbers each.
        """
        super().__init__()
        if len(stages) != 4 or len(blocks) != 4 or min(*stages, *blocks, stem) < 1:
            raise ValueError("stages and blocks must be four positive whole numbers each")
        if set(modalities) - set(MODALITIES) or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities are some of {', '.join(MODALITIES)}, each once")
        self.classes, self._stages = classes, tuple(stages)
        self.high_pass, self.modalities = high_pass, tuple(modalities)
        self.see = WithHighPass() if high_pass else nn.Identity()
        inputs = 3 + 3 * high_pass + len(self.modalities)
        self.conv1 = nn.Conv2d(inputs, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = (stem, *stages)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                *(
                    Block(
                        widths[stage] if block == 0 else widths[stage + 1],
                        widths[stage + 1],
                        stride=2 if block == 0 and stage > 0 else 1,
                    )
                    for block in range(blocks[stage])
                )
            )
            for stage in range(4)
        )
        self.map_head: nn.Conv2d | None = nn.Conv2d(stages[2], 1, 1)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(stages[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Block):
                # every block begins as its shortcut, which calms the first epochs of a training from scratch
                nn.init.zeros_(module.bn2.weight)
        for head in (self.map_head, self.fc):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(cast("Tensor", head.bias))

    def channels_of(self, stage: int) -> int:
        """Channels of the map of a stage, from 1."""
        return self._stages[stage - 1]

    def end(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and embedding, which is pooled, of the map of the last stage."""
        # adaptive_avg_pool2d, not x.mean: the latter leaves a transposition in TFLite files
        embedding = torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)
        return self.fc(self.drop(embedding)), embedding

    def taps_of(self, maps: Sequence[Tensor]) -> Taps:
        """The taps: the features, of the third stage, feed the map; its logits are None once exported."""
        features = maps[2]
        map_logits = None if self.map_head is None else self.map_head(features)
        return Taps(*self.end(maps[3]), features, map_logits)

    def taps(self, images: Tensor) -> Taps:
        """The same of normalised images [n, 3, h, w]."""
        first = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(self.see(images))))))
        second = self.layer2(first)
        third = self.layer3(second)
        return self.taps_of((first, second, third, self.layer4(third)))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [n, 3, h, w], and a channel for each modality, to logits [n, classes]."""
        return self.taps(images).logits

    def for_export(self) -> nn.Module:
        """A copy without the map head, in eval mode.

        Raises:
            BadCard: It sees more than photographs.
        """
        if self.modalities:
            raise BadCard(
                f"a network that sees {' and '.join(self.modalities)} besides photographs is not exported",
                remedy="Distil a student that sees photographs only: swapbench train NAME --recipe distill.",
            )
        shipped = copy.deepcopy(self)
        shipped.map_head = None
        return shipped.eval()
