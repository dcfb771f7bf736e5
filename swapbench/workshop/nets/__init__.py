"""Networks: a file for each family. Widths are arguments, so a pruned network is of the same class.

The `forward` of every network takes normalised NCHW float32 and returns logits [n, classes], without a
softmax. `taps` returns what training and distillation use besides, `for_export` the module whose graph ships,
and in it every module that has `folded` is replaced by the cheaper layer that this returns.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, cast, runtime_checkable

from swapbench.errors import BadCard, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

FAMILIES = {
    "central_difference": "swapbench.workshop.nets.central_difference:CentralDifferenceNet",
    "early_exit": "swapbench.workshop.nets.early_exit:early_exit_net",
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
        exits: Logits of early exits, from the first.
    """

    logits: Tensor
    embedding: Tensor
    features: Tensor
    map_logits: Tensor | None
    exits: tuple[Tensor, ...] = ()


@runtime_checkable
class Tapped(Protocol):
    """A network that shows what it computes on the way to its logits."""

    def taps(self, images: Tensor) -> Taps:
        """A forward pass of normalised images [n, 3, h, w]."""
        ...


@runtime_checkable
class Staged(Protocol):
    """A network that is a chain of stages, between which it can be cut.

    Attributes:
        STAGES: Names of the modules of each stage, one called after the other.
        END: Names of the modules that make logits of the last stage's map.
        classes: Number of logits.
    """

    STAGES: ClassVar[tuple[tuple[str, ...], ...]]
    END: ClassVar[tuple[str, ...]]
    classes: int

    def channels_of(self, stage: int) -> int:
        """Channels of the map of a stage, from 1."""
        ...

    def end(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and embedding of the map of the last stage."""
        ...

    def taps_of(self, maps: Sequence[Tensor]) -> Taps:
        """The taps, from the maps of all stages."""
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


def input_shape(module: nn.Module, height_px: int, width_px: int) -> tuple[int, ...]:
    """What a network takes, [c, h, w]: an image, or the map of the part before it."""
    takes: tuple[int, ...] | None = getattr(module, "takes", None)
    return takes or (3, height_px, width_px)


def output_names(module: nn.Module) -> tuple[str, ...]:
    """What a network returns: its logits, and of a part also the map that the next one takes."""
    return getattr(module, "returns", ("logits",))


def exportable(module: nn.Module) -> nn.Module:
    """The module to export, in eval mode: the network itself, or a copy without the layers of training."""
    shipped = module.for_export() if isinstance(module, HasTrainingParts) else module
    return shipped.eval()
