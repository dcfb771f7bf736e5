"""Networks: one file a family, widths are data, so a pruned network is the same class. Needs PyTorch.

Every network's `forward` takes normalised NCHW float32 and returns logits [n, classes]; no softmax inside. `taps` gives
what training and distillation look at besides, `for_export` the module whose graph ships, and a part that has `folded` is
replaced there by what that returns.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast, runtime_checkable

from swapbench.errors import BadCard, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

FAMILIES = {
    "central_difference": "swapbench.workshop.nets.central_difference:CentralDifferenceNet",
    "feathernet": "swapbench.workshop.nets.feathernet:FeatherNet",
    "minifasnet": "swapbench.workshop.nets.minifasnet:MiniFASNet",
    "mobilenet_v3": "swapbench.workshop.nets.mobilenet_v3:MobileNetV3",
    "resnet_map": "swapbench.workshop.nets.resnet_map:ResNetMap",
}
"""Family name on a card -> where its class is. The architecture of the card is the class's arguments."""


class Taps(NamedTuple):
    """What a network computes on the way to its decision.

    logits [n, classes]; embedding [n, d]; features [n, c, h, w] of a middle stage; and the logits of a spatial map
    [n, 1, h, w] where the network has a map head.
    """

    logits: Tensor
    embedding: Tensor
    features: Tensor
    map_logits: Tensor | None


@runtime_checkable
class Tapped(Protocol):
    """A network that says what it computes on the way to its logits."""

    def taps(self, images: Tensor) -> Taps:
        """One forward pass that keeps what lies on the way."""
        ...


@runtime_checkable
class HasTrainingParts(Protocol):
    """A network with parts that only training needs."""

    def for_export(self) -> nn.Module:
        """A copy without those parts, in eval mode."""
        ...


@runtime_checkable
class Foldable(Protocol):
    """A part that computes the same as an ordinary, cheaper layer once its weights are fixed."""

    def folded(self) -> nn.Module:
        """That layer; exact but for rounding. The part itself is left as it is."""
        ...


def build(family: str, architecture: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network. Raises UnknownName for the family, BadCard for an architecture that it refuses."""
    if family not in FAMILIES:
        raise UnknownName("network family", family, FAMILIES)
    module, _, name = FAMILIES[family].partition(":")
    kind = getattr(importlib.import_module(module), name)
    try:
        return cast("nn.Module", kind(**architecture))
    except (TypeError, ValueError) as error:
        raise BadCard(f"the architecture does not fit the family {family}: {error}") from error


def exportable(module: nn.Module) -> nn.Module:
    """The module to export, in eval mode: the network itself, or what it says should ship. The original is untouched."""
    shipped = module.for_export() if isinstance(module, HasTrainingParts) else module
    return shipped.eval()
