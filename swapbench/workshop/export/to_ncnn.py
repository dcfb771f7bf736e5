"""PyTorch to ncnn: fp32 and fp16 networks, "input" to "logits", a .param text and its .bin in one content.

The base is converted once with pnnx, ncnn's own converter; the precisions are made from it without PyTorch.
Every function returns the same bytes for the same arguments. Neither pnnx nor ncnn's package on PyPI has the
tools that make int8 files (ncnn2table, ncnn2int8), so there is no `Quantiser` here.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from swapbench.errors import MissingPackage, UserError, WorkerFailed
from swapbench.modelfile import ncnn_bin
from swapbench.modelfile.ncnn_param import METADATA_LINE, parse
from swapbench.modelfile.parts import packed, unpacked

if TYPE_CHECKING:
    from torch import nn

TIMEOUT_S: Final = 600.0
_NAMES: Final = {"in0": "input", "out0": "logits"}
"""What pnnx calls the input and the output, and what our files of the other formats call them."""
_HALF: Final = struct.pack("<I", ncnn_bin.FLOAT16)


def export_base(module: nn.Module, height_px: int, width_px: int) -> bytes:
    """The fp32 network of a PyTorch network, with batch norm folded; its `Input` says the size.

    Args:
        module: In eval mode.
        height_px: Of the input.
        width_px: Of the input.

    Raises:
        MissingPackage: pnnx is not installed.
        WorkerFailed: pnnx fails, or leaves operators that ncnn does not have.
        UserError: it is a part of a network with early exits.
    """
    import torch

    from swapbench.workshop.export.rewrite import batch_norms_folded
    from swapbench.workshop.nets import input_shape, output_names

    if len(output_names(module)) > 1 or input_shape(module, height_px, width_px)[0] != 3:
        raise UserError(
            "parts of a network with early exits are exported to onnx and tflite only",
            remedy="Choose one of these: --format tflite",
        )

    example = torch.zeros(1, 3, height_px, width_px)
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        trace: Any = torch.jit.trace
        traced = trace(batch_norms_folded(module.eval()), example, check_trace=False)
        traced.save(str(Path(folder) / "network.pt"))
        _run_pnnx(Path(folder), f"inputshape=[1,3,{height_px},{width_px}]")
        text = (Path(folder) / "network.ncnn.param").read_text("utf-8")
        weights = (Path(folder) / "network.ncnn.bin").read_bytes()
    _refuse_unknown(text)
    return packed(_named(text, f"0={width_px} 1={height_px} 2=3").encode(), weights)


def _run_pnnx(folder: Path, *options: str) -> None:
    """Convert `network.pt` in a folder; all that pnnx writes lies beside it."""
    try:
        import pnnx
    except ImportError:
        raise MissingPackage("pnnx", "exporting to ncnn", "export") from None
    try:
        done = subprocess.run(
            [pnnx.EXEC_PATH, "network.pt", *options, "fp16=0"],
            cwd=folder,
            capture_output=True,
            timeout=TIMEOUT_S,
            text=True,
            errors="replace",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkerFailed(f"pnnx did not convert the network: {error}") from error
    if done.returncode != 0 or not (folder / "network.ncnn.bin").is_file():
        sys.stderr.write(done.stdout + done.stderr)
        raise WorkerFailed(f"pnnx did not convert the network: it ended with {done.returncode}")


def _refuse_unknown(text: str) -> None:
    """Raise WorkerFailed for operators that pnnx leaves under PyTorch's names: ncnn has no layer for them."""
    kinds = {line.split()[0] for line in text.splitlines()[2:]}
    unknown = sorted(kind for kind in kinds if "." in kind or ":" in kind)
    if unknown:
        raise WorkerFailed(
            f"the network cannot be converted to ncnn, which has no layer for {', '.join(unknown)}",
            remedy="Build it without these operators, or export another format.",
        )


def _named(text: str, size: str) -> str:
    """The text with our names of input and output and the size of the input, and single spaces."""
    magic, counts, *layers = text.splitlines()
    lines = []
    for layer in layers:
        kind, name, taken, made, *rest = layer.split()
        blobs = int(taken) + int(made)
        named = [_NAMES.get(blob, blob) for blob in rest[:blobs]]
        params = [size] if kind == "Input" else rest[blobs:]
        lines.append(" ".join([kind, _NAMES.get(name, name), taken, made, *named, *params]))
    return "\n".join([magic, counts, *lines, ""])


def fp32(base: bytes) -> bytes:
    """The base, unchanged."""
    return base


def fp16(base: bytes) -> bytes:
    """Weights of convolutions and linear layers in float16, as pnnx writes them with fp16=1."""
    text, weights = unpacked(base)
    made = bytearray()
    for weight in ncnn_bin.weights(parse(text).layers, weights):
        stored = weights[weight.begin : weight.end]
        if weight.part.tagged and weight.dtype == "float32":
            half = np.frombuffer(stored, np.float32).astype(np.float16).tobytes()
            made += _HALF + half + bytes(-len(half) % ncnn_bin.WORD)
        else:
            made += (bytes(ncnn_bin.WORD) if weight.part.tagged else b"") + stored
    return packed(text, bytes(made))


def described(model: bytes, metadata: str) -> bytes:
    """The network with `metadata` (JSON text) behind its last layer, where ncnn reads no more."""
    text, weights = unpacked(model)
    lines = [line for line in text.decode().splitlines() if not line.startswith(METADATA_LINE)]
    return packed("\n".join([*lines, f"{METADATA_LINE}{metadata}", ""]).encode(), weights)
