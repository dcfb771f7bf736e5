"""Raw outputs on the disk, so that a file is scored once on a device."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from swapbench.kept import keep, kept
from swapbench.ports import Outputs, OutputTensor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from swapbench.bench.draft import Draft


def cache_key(draft: Draft, about: Mapping[str, object]) -> str:
    """A name for outputs of a draft's file: a digest of file, runtime, device and what else they rest on."""
    everything = {
        "artifact": draft.artifact_sha256,
        "runtime": draft.runtime.model_dump(mode="json"),
        "device": draft.machine.name,
        **about,
    }
    if draft.machine.build is not None:  # phones of one profile are not all alike
        everything["build"] = draft.machine.build
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:24]


def keep_outputs(path: Path, outputs: Outputs) -> None:
    """Write outputs to a file of the cache."""
    content = {
        "invoke_ns": outputs.invoke_ns,
        "pass_ns": outputs.pass_ns,
        "outputs": [(tensor.name, tensor.shape) for tensor in outputs.tensors],
        "rows": outputs.rows,
    }
    keep(path, content)


def kept_outputs(path: Path) -> Outputs | None:
    """Outputs of an earlier pass; None where there are none, or they are not as they were kept."""
    content = kept(path)
    if content is None:
        return None
    rows = tuple(tuple(row) for row in content["rows"])
    tensors = tuple(OutputTensor(name, tuple(shape)) for name, shape in content["outputs"])
    return Outputs(rows, content["invoke_ns"], content["pass_ns"], tensors)
