"""Networks: a file for each family. Widths are arguments, so a pruned network is of the same class.

The `forward` of every network takes normalised NCHW float32 and returns logits [n, classes], without a
softmax. `taps` returns what training and distillation use besides, `for_export` the module whose graph ships,
and in it every module that has `folded` is replaced by the cheaper layer that this returns.
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
"""Family on a card -> module and class. The architecture on the card holds the arguments of the class."""


def modalities_of(architecture: Mapping[str, Any]) -> tuple[str, ...]:
    """What a network sees besides the photograph, each a channel behind its three: depth, nir."""
    return tuple(architecture.get("modalities", ()))


class Taps(NamedTuple):
    """What a network computes on the way to its logits.

    Attributes:
        logits: [n, classes].
        embedding: [n, d].
        features: Of a middle stage [n, c, h, w].
        map_logits: Of a spatial map [n, 1, h, w]; None without a map head.
    """

    logits: Tensor
    embedding: Tensor
    features: Tensor
    map_logits: Tensor | None


@runtime_checkable
class Tapped(Protocol):
    """A network that shows what it computes on the way to its logits."""

    def taps(self, images: Tensor) -> Taps:
        """A forward pass of normalised images [n, 3, h, w]."""
        ...


@runtime_checkable
class HasTrainingParts(Protocol):
    """A network with layers that only training needs."""

    def for_export(self) -> nn.Module:
        """A copy without those layers, in eval mode."""
        ...


@runtime_checkable
class Foldable(Protocol):
    """A module that an ordinary, cheaper layer can replace once its weights are fixed."""

    def folded(self) -> nn.Module:
        """That layer, equal but for rounding; the module itself is left unchanged."""
        ...


def build(family: str, architecture: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network.

    Raises:
        UnknownName: There is no such family.
        BadCard: The family does not accept the architecture.
    """
    if family not in FAMILIES:
        raise UnknownName("network family", family, FAMILIES)
    module, _, name = FAMILIES[family].partition(":")
    kind = getattr(importlib.import_module(module), name)
    try:
        return cast("nn.Module", kind(**architecture))
    except (TypeError, ValueError) as error:
        raise BadCard(f"the architecture does not fit the family {family}: {error}") from error


def exportable(module: nn.Module) -> nn.Module:
    """The module to export, in eval mode: the network itself, or a copy without the layers of training."""
    shipped = module.for_export() if isinstance(module, HasTrainingParts) else module
    return shipped.eval()
