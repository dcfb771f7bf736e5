"""What a file is that is named like a model and is none: a pointer, a web page, another framework's format.

Told by its first bytes, so that the message can say what to do instead of "it cannot be parsed".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from swapbench.errors import BadModelFile

if TYPE_CHECKING:
    from pathlib import Path

TFLITE: Final = b"TFL3"
"""The identifier of a TFLite file, at its fifth byte."""
EXECUTORCH: Final = b"ET12"
"""The identifier of an ExecuTorch program, at its fifth byte."""
NCNN: Final = b"7767517\n"
"""The first line of a network of ncnn."""

_AGAIN = "Download the file itself, not the page that shows it."
_TO_ONNX = "Export the network to ONNX: torch.onnx.export(...)"
_TO_TFLITE = "Convert it: tf.lite.TFLiteConverter"

_STARTS: Final = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", _TO_TFLITE),
    (b"\x80\x02", "a pickle, as PyTorch wrote it before 1.6", _TO_ONNX),
    (b"\x80\x03", "a pickle", _TO_ONNX),
    (b"\x80\x04", "a pickle", _TO_ONNX),
    (b"\x80\x05", "a pickle", _TO_ONNX),
    (NCNN, "a network of ncnn", "Name it .param, with its weights beside it as .bin."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it first."),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it first."),
    (b"\xfd7zXZ\x00", "an xz archive", "Unpack it first."),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", "Give the model file."),
    (b"\xff\xd8\xff", "a JPEG picture", "Give the model file."),
)
"""The beginning of a file, what it is, and what to do."""

_INSIDE_ZIP: Final = (
    (b"/constants.pkl", "a TorchScript archive", _TO_ONNX),
    (b"/data.pkl", "a PyTorch archive", _TO_ONNX),
    (b"model.weights.h5", "a Keras archive", _TO_TFLITE),
    (b"saved_model.pb", "an archive of a TensorFlow SavedModel", f"Unpack it. {_TO_TFLITE}"),
    (b"AndroidManifest.xml", "an Android archive", "Unpack it first."),
)
"""A name inside a zip archive, what it is, and what to do."""

_SHORT_TEXT = 200
"""Bytes of an answer such as "404: Not Found", saved under the name of a model."""

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body|!--)", re.IGNORECASE)


def refuse_foreign(path: Path, content: bytes) -> None:
    """Raise BadModelFile for content that is known to be something else than the name of the file says."""
    found = _kind(path, content)
    if found is not None:
        what, remedy = found
        raise BadModelFile(f"{path} is {what}", remedy=remedy)


def _kind(path: Path, content: bytes) -> tuple[str, str] | None:
    """What the content is and what to do, or None where it may be what the name says."""
    if content.startswith(_LFS):
        return "a Git LFS pointer, not the model", "Fetch the file that it stands for: git lfs pull"
    if _PAGE.match(content[:1024]):
        return "a web page, not a model", _AGAIN
    if content.startswith((b"{", b"[")) and content.rstrip().endswith((b"}", b"]")):
        return "a text in JSON", _AGAIN
    if content.startswith(b"PK\x03\x04"):
        inside = ((what, remedy) for name, what, remedy in _INSIDE_ZIP if name in content)
        return next(inside, ("a zip archive", "Unpack it first."))
    for start, what, remedy in _STARTS:
        if content.startswith(start) and not (path.suffix.lower() == ".param" and start == NCNN):
            return what, remedy
    if len(content) < _SHORT_TEXT and content.isascii():
        text = content.decode().strip()
        if text.isprintable() and " " in text:
            return f"a text, {text!r}", _AGAIN
    mark = content[4:8]
    if path.suffix.lower() == ".onnx" and mark == TFLITE:
        return "a TFLite file named .onnx", "Rename it to .tflite"
    if mark == EXECUTORCH and path.suffix.lower() != ".pte":
        return f"an ExecuTorch program named {path.suffix.lower()}", "Rename it to .pte"
    if mark == b"ORTM":
        return "in onnxruntime's own format (.ort)", "Give the .onnx file that it was made from."
    if path.suffix.lower() == ".tflite" and mark != TFLITE and _is_onnx(content):
        return "an ONNX file named .tflite", "Rename it to .onnx"
    return None


def _is_onnx(content: bytes) -> bool:
    """Whether the content is a graph of ONNX."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return bool(onnx.load_model_from_string(content).graph.node)
    except (DecodeError, UnicodeDecodeError, ValueError):
        return False
