"""The files of a model: most have one, and some keep their weights in others beside it.

What is done with a model (digest, copy, push to a phone) is done with all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.errors import BadModelFile
from swapbench.files import files_sha256, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

_END = b"\0"


def files_of(path: Path) -> tuple[Path, ...]:
    """A model file and, after it, the files beside it that hold its weights.

    Raises:
        BadModelFile: One is missing, or is not beside the model.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        from swapbench.modelfile.external import weights_beside

        return (path, *weights_beside(path))
    return (path, weights_of_ncnn(path)) if suffix == ".param" else (path,)


def weights_of_ncnn(path: Path) -> Path:
    """The .bin file of a .param file; BadModelFile where there is none."""
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise BadModelFile(
            f"{path} keeps its weights in {weights.name}, and there is no such file beside it",
            remedy=f"Copy {weights.name} into the same folder; both files are one model.",
        )
    return weights


def packed(text: bytes, weights: bytes) -> bytes:
    """A network of ncnn in one content: a zero byte ends the text of the .param file."""
    return text + _END + weights


def unpacked(content: bytes) -> tuple[bytes, bytes]:
    """The text and the weights of a network of ncnn, from `packed`."""
    text, _, weights = content.partition(_END)
    return text, weights


def content_of_model(path: Path) -> bytes:
    """The content of a model's files in one; raises as `files_of`."""
    contents = [part.read_bytes() for part in files_of(path)]
    return packed(*contents) if path.suffix == ".param" else contents[0]


def write_model(path: Path, content: bytes) -> tuple[Path, ...]:
    """Write a model from its content in one, each file whole or not at all; returns the files."""
    if path.suffix != ".param":
        write_atomically(path, content)
        return (path,)
    weights = path.with_suffix(".bin")
    for part, held in zip((path, weights), unpacked(content), strict=True):
        write_atomically(part, held)
    return path, weights


def model_sha256(path: Path) -> str:
    """The digest of a model with all of its files; see `files.files_sha256`."""
    return files_sha256(files_of(path))
