"""The ranges of input values that networks are usually fed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swapbench.records import Preprocessing

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of red, green and blue, as torchvision's networks are trained."""


def usual_ranges(channel_order: str) -> dict[str, Mapping[str, Any]]:
    """The ranges by name, the most usual first, as the fields of a preprocessing."""
    channels = 1 if channel_order == "gray" else 3
    zero, half, one = ((number,) * channels for number in (0.0, 0.5, 1.0))
    ranges: dict[str, Mapping[str, Any]] = {
        "0..1": {"scale": 1 / 255, "mean": zero, "std": one},
        "0..255": {"scale": 1.0, "mean": zero, "std": one},
        "-1..1": {"scale": 1 / 255, "mean": half, "std": half},
    }
    if channels == 3:
        mean, std = (values[::-1] if channel_order == "bgr" else values for values in _IMAGENET)
        ranges["ImageNet"] = {"scale": 1 / 255, "mean": mean, "std": std}
    return ranges


def range_name(preprocessing: Preprocessing) -> str:
    """The name of a preprocessing's range; "" for one that is not usual."""
    ranges = usual_ranges(preprocessing.channel_order).items()
    names = (
        name for name, fields in ranges if all(getattr(preprocessing, key) == fields[key] for key in fields)
    )
    return next(names, "")
