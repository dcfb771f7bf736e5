"""What is known of a network that others have published: its card, its files and what is said of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

# pydantic needs the real types at run time
from swapbench.records.cards import ModelCard, Precision  # noqa: TC001
from swapbench.records.values import Frozen

LICENCE_UNKNOWN = "unknown"
"""The licence of a network whose repository states none: its author has to be asked."""


class PublicFile(Frozen):
    """A file as its author or a converter published it: how to know it, and where it is to be had.

    Attributes:
        name: of the file where it is published.
        format: "pth" is a checkpoint of PyTorch, which no runtime here reads.
        precision: of its weights.
        bytes: its size, None where nobody states it.
        sha256: of its content.
        repository: address of the repository that holds it.
        commit: at which `path` holds it, or holds a statement of its digest.
        release: name of the release that it is attached to, where it is not in the repository itself.
        path: in the repository, or the name in the release.
        note: what else there is to know.
    """

    name: str
    format: Literal["onnx", "tflite", "pth"]
    precision: Precision = "fp32"
    bytes: int | None = Field(default=None, gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    repository: str = Field(min_length=1)
    commit: str = Field(default="", pattern=r"^([0-9a-f]{40})?$")
    release: str = ""
    path: str = Field(min_length=1)
    note: str = ""


class PublishedNumber(Frozen):
    """A number that the author states. It was not measured by swapbench.

    Attributes:
        metric: in the author's words.
        value: exactly as published.
        data: what it was measured on.
        stated: where it stands.
    """

    metric: str
    value: str
    data: str
    stated: str


class PublicNetwork(Frozen):
    """A network of the zoo.

    Attributes:
        card: what it expects and means. The licence is "unknown" where the repository states none.
        read_from: the author's code and documents from which preprocessing and output were read.
        files: of the network; conversions of the same weights stand together.
        published: numbers as published, the one that a list shows first.
        uncertain: what could not be verified, a sentence each.
    """

    card: ModelCard
    read_from: tuple[str, ...] = Field(min_length=1)
    files: tuple[PublicFile, ...] = Field(min_length=1)
    published: tuple[PublishedNumber, ...] = ()
    uncertain: tuple[str, ...] = ()
