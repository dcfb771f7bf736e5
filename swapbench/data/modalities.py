"""Captures as other sensors saw them: depth and near infrared beside the photograph, in its geometry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.data.samples import Sample
    from swapbench.records import FaceBoxes

MODALITIES: Final = ("depth", "nir")
"""Besides the photograph; each is an image of one channel."""

PLANES: Final = {"depth": 1, "nir": 2}
"""Of each in an array of several planes: WMCA has grey, depth, infrared and thermal, in that order."""


def in_modality(samples: Sequence[Sample], modality: str, faces: FaceBoxes) -> tuple[Sample, ...]:
    """The same captures as another sensor saw them, with the face boxes of the photographs.

    Args:
        samples: of photographs
        modality: one of `MODALITIES`
        faces: where boxes come from; no detector looks for faces in depth or in near infrared

    Raises:
        BadDataset: a capture has no file of the modality, or no box where one is needed
    """
    for sample in samples:
        if modality not in dict(sample.beside):
            raise BadDataset(
                f"{sample.name} has no {modality} image beside it",
                remedy=f"Name it in the manifest's column path_{modality}, or take a network that sees "
                "photographs only.",
            )
        if faces == "detector" or (faces == "given" and sample.box is None):
            raise BadDataset(
                f"{sample.name} has no face box, and none is looked for in {modality} images",
                remedy="Give boxes, or use whole frames with --faces frame.",
            )
    return tuple(
        replace(
            sample, path=dict(sample.beside)[modality], annotation=None, beside=(), plane=PLANES[modality]
        )
        for sample in samples
    )
