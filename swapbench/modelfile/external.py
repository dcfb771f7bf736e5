"""ONNX models of several files: weights in files beside the graph, as torch.onnx.export writes by default.

See https://onnx.ai/onnx/repo-docs/ExternalData.html. A location is taken for a plain file name: nothing
outside the folder of the model is ever read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from swapbench.errors import BadModelFile
from swapbench.files import LARGEST_MODEL_BYTES, content_of, opened
from swapbench.modelfile import DAMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_FILES: Final = 1000
SMALL_BYTES: Final = 1 << 20
"""Tensors up to this size are brought into the graph, because shapes and zero biases must be read."""

_ONE_FILE = "Save it anew: onnx.save(onnx.load('{name}'), 'one_file.onnx')"


def weights_beside(path: Path) -> tuple[Path, ...]:
    """The files beside an ONNX file that hold its weights, () where there are none or it is damaged.

    Raises:
        BadModelFile: One is missing, or is not beside the model.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    content = content_of(path, LARGEST_MODEL_BYTES)
    if b"location" not in content:
        return ()
    try:
        return weight_files(path, onnx.load_model_from_string(content))
    except (DecodeError, *DAMAGE):
        return ()


def weight_files(path: Path, model: Any) -> tuple[Path, ...]:
    """The files that hold weights of a model, in the order in which it names them.

    Raises:
        BadModelFile: One is missing, or is not beside the model.
    """
    tensors = (tensor for part in (model.graph, *model.functions) for tensor in _external(part))
    names = list(dict.fromkeys(_described(tensor).get("location", "") for tensor in tensors))
    if len(names) > MOST_FILES:
        raise BadModelFile(
            f"{path} keeps its weights in {len(names)} files", remedy=_ONE_FILE.format(name=path.name)
        )
    return tuple(_beside(path, name) for name in names)


def _beside(path: Path, name: str) -> Path:
    if name in {"", ".", ".."} or any(mark in name for mark in "/\\\0"):
        raise BadModelFile(
            f"{path} keeps its weights in {name!r}, which is not the name of a file beside it",
            remedy=_ONE_FILE.format(name=path.name),
        )
    other = path.with_name(name)
    if not other.is_file():
        raise BadModelFile(
            f"{path} keeps its weights in {name}, and there is no such file beside it",
            remedy=f"Copy {name} into the same folder; both files are one model.",
        )
    return other


def bring_in(path: Path, model: Any) -> None:
    """Put the small ones of the tensors that lie in other files into the graph itself.

    Raises:
        ValueError: A tensor lies beyond the end of its file.
    """
    import onnx

    stored = sum(other.stat().st_size for other in weight_files(path, model))
    brought = 0
    for tensor in _external(model.graph):
        described = _described(tensor)
        other = path.with_name(described["location"])
        offset = int(described.get("offset", 0))
        room = other.stat().st_size - offset
        length = int(described.get("length", room))
        if offset < 0 or not 0 <= length <= room:
            raise ValueError(f"the weight {tensor.name!r} lies beyond the end of {other.name}")
        if length <= SMALL_BYTES:
            brought += length
            if brought > stored:
                raise ValueError("its weights overlap in their file")
            with opened(other) as file:
                file.seek(offset)
                tensor.raw_data = file.read(length)
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT


def _described(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _external(graph: Any) -> Iterator[Any]:
    """The tensors of a graph or function, and of all graphs inside it, that lie in other files."""
    import onnx

    tensors = list(getattr(graph, "initializer", ()))
    for sparse in getattr(graph, "sparse_initializer", ()):
        tensors += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _external(inner)
    yield from (tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL)
