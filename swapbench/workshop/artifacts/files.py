"""The cache of exported files: where a file lies, what it depends on, and whether it counts.

A file lies at `<cache>/<first 8 of its key>/<variant.file_name>`, and beside it `<file>.json`, its sidecar.
The key is a digest of everything that the bytes and the parity depend on: checkpoint, architecture,
preprocessing, meaning of the output, precision, format, the versions of the exporters, and the crops used.
The sidecar is written last, so a file without one does not count; a file that no longer has its sha256 is
made again. Beside a quantised file in which layers stay in float lies the curve of what was tried,
`<file>.curve.csv`.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from swapbench import errors
from swapbench.files import files_sha256, write_atomically
from swapbench.kept import keep, kept
from swapbench.modelfile.parts import write_model
from swapbench.records import Absent, Frozen, ModelCard, Parity, Variant
from swapbench.workshop.export.mixed import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.errors import SwapbenchError

EXPORTER_VERSION = 3
"""Part of every key: raise it when a change here or in `export` changes the bytes or the parity of a file."""

PACKAGES: dict[str, tuple[str, ...]] = {
    "onnx": ("torch", "onnx", "onnxscript", "onnxslim", "onnxconverter-common", "onnxruntime"),
    "ncnn": ("torch", "pnnx", "ncnn"),
    "executorch": ("torch", "torchao", "executorch"),
    "tflite": ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert"),
}
"""Packages whose version the bytes of a file of that format depend on."""


QUANTISED = frozenset({"int8", "int8-dynamic", "int16x8"})
"""Precisions with integer weights: they approximate their network, so what differs from it is measured.

What should compute the same, fp32 and fp16, and does not, is wrong and is not used.
"""


@dataclass(frozen=True)
class Built:
    """A file that can be measured.

    Attributes:
        variant: Which network in which file.
        path: The file.
        sha256: Its digest.
        parity: With its network; a quantised file may break its limits.
        trials: The curve of a quantised file: how agreement grows with what stays in float.
    """

    variant: Variant
    path: Path
    sha256: str
    parity: Parity | Absent
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class Failed:
    """A variant that could not be made, or (with path and parity) does not agree with its network."""

    variant: Variant
    error: SwapbenchError
    path: Path | None = None
    parity: Parity | None = None


class Sidecar(Frozen):
    """What is recorded beside a finished file.

    Attributes:
        key: Digest of `parts`.
        parts: Everything that the bytes and the parity of the file depend on.
        sha256: Of the file.
        parity: None beside a base, the fp32 graph that the precisions are made from.
        export_s: Wall time of making and checking this file alone; the base has its own.
        trials: Of a quantised file, see `Built`.
    """

    key: str
    parts: dict[str, Any]
    sha256: str
    parity: Parity | Absent | None
    export_s: float
    trials: tuple[Trial, ...] = ()

    @classmethod
    def of(
        cls,
        parts: dict[str, Any],
        parity: Parity | Absent | None,
        started: float,
        trials: tuple[Trial, ...] = (),
    ) -> Sidecar:
        """The sidecar of a file that is about to be saved, without its digest.

        Args:
            parts: Everything that the file depends on.
            parity: None for a base.
            started: `time.monotonic()` when the export began.
            trials: Of a quantised file.
        """
        took_s = round(time.monotonic() - started, 3)
        return cls(key=digest(parts), parts=parts, sha256="", parity=parity, export_s=took_s, trials=trials)


def description(card: ModelCard, variant: Variant) -> str:
    """The JSON that is stored in a file: network, checkpoint, preprocessing, meaning of the output."""
    content = {
        "network": card.name,
        "recipe": card.recipe,
        "precision": variant.precision,
        "checkpoint_sha256": card.checkpoint_sha256,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "output": card.output.model_dump(mode="json"),
        "licence": card.licence,
        "source": card.source,
        **({} if card.reads is None else {"reads": card.reads.model_dump(mode="json")}),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def key_parts(card: ModelCard, variant: Variant, data_digest: str) -> dict[str, Any]:
    """Everything that the bytes or the parity of a file depend on."""
    return {
        **base_parts(card, variant.format),
        "file": variant.file_name,
        "description": description(card, variant),
        "data": data_digest,
    }


def artifact_path(card: ModelCard, variant: Variant, cache_dir: Path, data_digest: str) -> Path:
    """Path of the file of a variant, whether or not it exists."""
    return cache_dir / digest(key_parts(card, variant, data_digest))[:8] / variant.file_name


def cached(card: ModelCard, variant: Variant, cache_dir: Path, data_digest: str) -> Built | Failed | None:
    """What the cache holds for a variant: a file to measure, one that failed parity, or None for neither."""
    path = artifact_path(card, variant, cache_dir, data_digest)
    sidecar = valid_sidecar(path, digest(key_parts(card, variant, data_digest)))
    if sidecar is None or sidecar.parity is None:
        return None
    from swapbench.pad.agreement import check

    if variant.precision not in QUANTISED and isinstance(sidecar.parity, Parity):
        try:
            check(sidecar.parity, reference=f"the PyTorch network of card {card.name}", artifact=path.name)
        except errors.ParityFailed as error:
            return Failed(variant, error, path, sidecar.parity)
    return Built(variant, path, sidecar.sha256, sidecar.parity, sidecar.trials)


def missing(card: ModelCard, variants: Sequence[Variant], cache_dir: Path, data_digest: str) -> list[Variant]:
    """The variants that would have to be exported."""
    return [variant for variant in variants if cached(card, variant, cache_dir, data_digest) is None]


def base_parts(card: ModelCard, kind: str) -> dict[str, Any]:
    """What every file of a network in a format depends on, whatever its precision."""
    return {
        "exporter": EXPORTER_VERSION,
        "packages": {name: _version(name) for name in PACKAGES[kind]},
        "format": kind,
        "checkpoint_sha256": card.checkpoint_sha256,
        "rename_keys": card.rename_keys,
        "family": card.family,
        "architecture": card.architecture,
        "size_px": [card.preprocessing.height_px, card.preprocessing.width_px],
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def digest(parts: dict[str, Any] | list[Any]) -> str:
    """The key of a file: the sha256 of what it depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def valid_sidecar(path: Path, key: str) -> Sidecar | None:
    """The sidecar of a file, where the file is whole and was made for this key; else None."""
    content = kept(_beside(path))
    try:
        sidecar = None if content is None else Sidecar.model_validate(content)
    except ValidationError:  # of another version
        return None
    return sidecar if sidecar is not None and sidecar.key == key else None


def save(path: Path, content: bytes, sidecar: Sidecar) -> None:
    """Write a file into the cache. An old sidecar is removed first and the new one written last.

    Args:
        path: The file.
        content: Its bytes, see `modelfile.parts`.
        sidecar: What is known of it, without its digest.
    """
    _beside(path).unlink(missing_ok=True)
    parts = write_model(path, content)
    if len(sidecar.trials) > 1:
        write_atomically(path.with_name(curve_name(path)), curve_csv(sidecar.trials))
    sidecar = sidecar.replace(sha256=files_sha256(parts))
    keep(_beside(path), sidecar.model_dump(mode="json"), parts)


def curve_name(path: Path) -> str:
    """The name of the curve beside a quantised file."""
    return f"{path.name}.curve.csv"


def curve_csv(trials: Sequence[Trial]) -> str:
    """Agreement against size and speed, a row a trial; the layers in float are separated by spaces."""
    text = io.StringIO()
    rows = csv.DictWriter(text, tuple(Trial.model_fields), lineterminator="\n")
    rows.writeheader()
    for trial in trials:
        rows.writerow(trial.model_dump() | {"float_layers": " ".join(trial.float_layers)})
    return text.getvalue()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
