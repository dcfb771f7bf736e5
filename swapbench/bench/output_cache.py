"""Raw outputs on the disk, so that a file is scored once on a device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from swapbench.files import write_atomically
from swapbench.ports import Outputs, OutputTensor

if TYPE_CHECKING:
    from pathlib import Path


def keep_outputs(path: Path, outputs: Outputs) -> None:
    """Write outputs to a file of the cache."""
    content = {
        "invoke_ns": outputs.invoke_ns,
        "pass_ns": outputs.pass_ns,
        "outputs": [(tensor.name, tensor.shape) for tensor in outputs.tensors],
        "rows": outputs.rows,
    }
    write_atomically(path, json.dumps(content) + "\n")


def kept_outputs(path: Path) -> Outputs | None:
    """Outputs of an earlier pass; None where there are none, or they are damaged."""
    try:
        content = json.loads(path.read_bytes())
        rows = tuple(tuple(row) for row in content["rows"])
        tensors = tuple(OutputTensor(name, tuple(shape)) for name, shape in content.get("outputs", ()))
        return Outputs(rows, content["invoke_ns"], content["pass_ns"], tensors)
    except (OSError, ValueError, KeyError, TypeError):
        return None
