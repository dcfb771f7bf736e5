"""A network with early exits: classifiers behind some of its stages, and each part of it as a network alone.

Exits in the middle of a network are those of BranchyNet (Teerapittayanon, McDanel and Kung, ICPR 2016);
training them together, each taught by the last one, is self-distillation (Zhang et al., "Be Your Own Teacher:
Improve the Performance of Convolutional Neural Networks via Self Distillation", ICCV 2019); see
`train.loop`. An exit is a depthwise-separable 3x3 convolution of stride 2, a global average and a linear
layer.

With n exits a network has n + 1 parts. The first takes the image, each other one the map that the part before
it ends with; every part but the last returns the logits of its exit and that map. Parts share no layer, so
they are files that share nothing at run time: what an app computes is one part after another, until it is
sure.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from swapbench.errors import BadCard
from swapbench.workshop.nets import HasTrainingParts, Staged, Taps, build

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Exit(nn.Module):
    """From the map of a stage to logits."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(width, classes)
        for convolution in (self.depthwise, self.pointwise):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, classes]."""
        x = self.relu(self.bn1(self.depthwise(x)))
        x = self.relu(self.bn2(self.pointwise(x)))
        return cast("Tensor", self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)))


class EarlyExitNet(nn.Module):
    """The whole network, as it is trained; what ships of it as one file is the network without its exits."""

    def __init__(self, network: nn.Module, after: Sequence[int], width: int) -> None:
        """Add exits to a network.

        Args:
            network: Whose stages are known.
            after: Stages behind which there is an exit, from 1, ascending.
            width: Of the exits.
        """
        super().__init__()
        staged = _staged(network)
        last = len(staged.STAGES)
        if list(after) != sorted(set(after)) or not after or after[0] < 1 or after[-1] >= last:
            raise ValueError(f"exits are behind stages 1 to {last - 1}, ascending, not {list(after)}")
        self.network = network
        self.after = tuple(after)
        self.exits = nn.ModuleDict(
            {str(stage): Exit(staged.channels_of(stage), width, staged.classes) for stage in after}
        )

    def taps(self, images: Tensor) -> Taps:
        """Those of the network, with the logits of the exits."""
        staged, maps = _staged(self.network), []
        x = images
        for names in staged.STAGES:
            x = _through(self.network, names, x)
            maps.append(x)
        exits = tuple(self.exits[str(stage)](maps[stage - 1]) for stage in self.after)
        return staged.taps_of(maps)._replace(exits=exits)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [n, 3, h, w] to the logits of the last exit [n, classes]."""
        return self.taps(images).logits

    def for_export(self) -> nn.Module:
        """The network without its exits, in eval mode."""
        network = self.network
        return (
            network.for_export() if isinstance(network, HasTrainingParts) else copy.deepcopy(network)
        ).eval()


class Part(nn.Module):
    """One part of such a network, with nothing of the others.

    Attributes:
        takes: Shape of the map that it reads, [c, h, w]; None for the first part, which takes the image.
        returns: Names of its outputs.
    """

    def __init__(self, whole: EarlyExitNet, number: int, takes: Sequence[int] | None) -> None:
        """Cut a part out of a network.

        Args:
            whole: The network, of which it takes what it needs.
            number: Of the part, from 1.
            takes: Shape of the map that it reads.
        """
        super().__init__()
        bounds = (0, *whole.after, len(_staged(whole.network).STAGES))
        if not 1 <= number < len(bounds):
            raise ValueError(f"part = {number}: the network has parts 1 to {len(bounds) - 1}")
        if (number == 1) != (takes is None):
            raise ValueError("takes = [c, h, w] is what every part but the first reads")
        first, last = bounds[number - 1], bounds[number]
        self.takes = None if takes is None else tuple(takes)
        self._stages = _staged(whole.network).STAGES[first:last]
        self.network = (
            whole.network.for_export() if isinstance(whole.network, HasTrainingParts) else whole.network
        )
        needed = {name for names in self._stages for name in names}
        is_last = number == len(bounds) - 1
        if is_last:
            needed |= set(_staged(self.network).END)
            self.exits = nn.ModuleDict()
        else:
            self.exits = nn.ModuleDict({str(last): whole.exits[str(last)]})
        self._exit = "" if is_last else str(last)
        for name, _ in list(self.network.named_children()):
            if name not in needed:
                delattr(self.network, name)
        self.returns = ("logits",) if is_last else ("logits", "features")

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Images or a map [n, c, h, w] to logits [n, classes], and the map for the next part."""
        for names in self._stages:
            x = _through(self.network, names, x)
        if not self._exit:
            return _staged(self.network).end(x)[0]
        return self.exits[self._exit](x), x


def early_exit_net(
    *,
    family: str,
    network: Mapping[str, Any],
    after: Sequence[int],
    width: int = 128,
    part: int | None = None,
    takes: Sequence[int] | None = None,
) -> nn.Module:
    """The builder of the family "early_exit".

    Args:
        family: Of the network itself.
        network: Its architecture.
        after: Stages behind which there is an exit.
        width: Of the exits.
        part: The part to build, from 1; None builds the whole.
        takes: Shape of the map that the part reads.
    """
    whole = EarlyExitNet(build(family, network), after, width)
    return whole if part is None else Part(whole, part, takes)


def shapes_between(whole: EarlyExitNet, height_px: int, width_px: int) -> list[tuple[int, ...]]:
    """The shapes [c, h, w] of the maps that parts after the first read."""
    with torch.no_grad():
        x, shapes = torch.zeros(1, 3, height_px, width_px), []
        for number, names in enumerate(_staged(whole.network).STAGES, 1):
            x = _through(whole.network.eval(), names, x)
            if number in whole.after:
                shapes.append(tuple(x.shape[1:]))
    return shapes


def _staged(network: nn.Module) -> Staged:
    if not isinstance(network, Staged):
        raise BadCard(
            f"a {type(network).__name__} has no stages to put exits behind",
            remedy="Early exits are for mobilefacenet, minifasnet and resnet18_map.",
        )
    return network


def _through(network: nn.Module, names: Sequence[str], x: Tensor) -> Tensor:
    for name in names:
        x = getattr(network, name)(x)
    return x
