"""The child process: exports the variants of a job into the cache, and reports progress and failures.

Run as `python -m swapbench.workshop.artifacts.child JOB.json`. Reports are JSON, one object a line, on
standard output.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench.errors import SwapbenchError, UserError
from swapbench.workshop.artifacts.dev_crops import chosen_rows
from swapbench.workshop.artifacts.exporting import ExportJob
from swapbench.workshop.artifacts.files import (
    artifact_path,
    base_parts,
    description,
    digest,
    key_parts,
    save,
    valid_sidecar,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from swapbench.records import Variant

FLOAT_LAYERS = (0, 2, 4, 8)
"""Weighted layers from the input on that an int8 file may keep in float, tried in this order.

Narrow networks lose most of their accuracy in their first few layers (MiniFASNetV2: correlation 0.957 with
none in float, 0.996 with four), and are no slower with these in float.
"""

GOOD_CORRELATION = 0.995
"""With the reference scores, on the calibration crops.

The first of FLOAT_LAYERS that reaches it is taken, else the best.
"""


def run_job(job: ExportJob, report: Callable[[dict[str, Any]], None]) -> None:
    """Export the variants of a job into the cache.

    Args:
        job: What to export.
        report: Receives {"done": variants so far} and, for a failure, {"variant", "error", "done"}.
    """
    import numpy as np
    import torch

    from swapbench.pad.agreement import flip_threshold
    from swapbench.pad.raw_outputs import bona_fide_scores
    from swapbench.workshop.export.outputs import network_outputs
    from swapbench.workshop.export.rewrite import shipped
    from swapbench.workshop.nets.checkpoint import load_network

    torch.set_num_threads(job.threads)
    card, share = job.card, len(job.variants) / (len(job.variants) + 2)
    crops, bona_fide = np.load(job.crops, mmap_mode="r"), np.load(job.bona_fide)
    network = load_network(card, Path(job.card_path))

    def samples(rows: NDArray[np.intp]) -> _Samples:
        chosen = crops[rows]
        outputs = network_outputs(network, chosen, card.preprocessing)
        return _Samples(chosen, bona_fide_scores(outputs.tolist(), card.output))

    calibration_rows, compared_rows = chosen_rows(bona_fide)
    calibration, compared = samples(calibration_rows), samples(compared_rows)
    real = bona_fide[compared_rows]
    both_classes = real.any() and not real.all()
    threshold = flip_threshold(compared.reference[real], compared.reference[~real]) if both_classes else 0.5
    report({"done": share})
    base: bytes | None = None
    for number, variant in enumerate(job.variants):
        done = share * (2 + number + 1)
        try:
            base = base if base is not None else _base(job, shipped(network), calibration.crops)
            _make(job, variant, base, calibration, compared, threshold)
            report({"done": done})
        except Exception as error:  # noqa: BLE001 - whatever a converter raises is one failed variant
            traceback.print_exc()
            report({"variant": variant.model_dump(), "error": error_report(error), "done": done})


@dataclass(frozen=True, eq=False)
class _Samples:
    """uint8 crops [n, height, width, 3], and the PyTorch network's bona fide scores of them [n]."""

    crops: NDArray[np.uint8]
    reference: NDArray[np.float64]


def _base(job: ExportJob, network: nn.Module, crops: NDArray[np.uint8]) -> bytes:
    """The fp32 graph that the precisions of a format are made from, from the cache or exported now."""
    from swapbench.workshop.export import to_onnx, to_tflite
    from swapbench.workshop.export.equalise import equalised
    from swapbench.workshop.export.outputs import batches

    kind, preprocessing = job.variants[0].format, job.card.preprocessing
    parts = {**base_parts(job.card, kind), "data": job.data_digest}
    key = digest(parts)
    path = Path(job.cache_dir) / key[:8] / f"base.{kind}"
    if valid_sidecar(path, key) is not None:
        return path.read_bytes()
    started = time.monotonic()
    export = to_onnx.export_base if kind == "onnx" else to_tflite.export_base
    alike = equalised(network, list(batches(crops, preprocessing)))
    content = export(alike, preprocessing.height_px, preprocessing.width_px)
    save(path, content, key, parts, None, started)
    return content


def _make(
    job: ExportJob, variant: Variant, base: bytes, calibration: _Samples, compared: _Samples, threshold: float
) -> None:
    """Make a file, compare its scores under its real runtime with the network's, and save it."""
    from swapbench.pad.agreement import parity

    started = time.monotonic()
    content, float_layers = _converted(job, variant, base, calibration)
    scores = _scores(job, variant, content, compared.crops)
    agreement = parity(compared.reference, scores, threshold, variant.precision)
    parts = key_parts(job.card, variant, job.data_digest)
    path = artifact_path(job.card, variant, Path(job.cache_dir), job.data_digest)
    save(path, content, digest(parts), parts, agreement, started, float_layers)


def _converted(job: ExportJob, variant: Variant, base: bytes, calibration: _Samples) -> tuple[bytes, int]:
    """The bytes of a file, and the number of its layers from the input on that are in float."""
    from swapbench.data.preprocess import normalise
    from swapbench.workshop.export import flatbuffer, to_onnx, to_tflite
    from swapbench.workshop.export.outputs import nchw

    exporter: Any = to_onnx if variant.format == "onnx" else to_tflite
    describe = to_onnx.described if variant.format == "onnx" else flatbuffer.described
    text, best = description(job.card, variant), -1.0
    if variant.precision in {"fp32", "fp16"}:
        convert = exporter.fp32 if variant.precision == "fp32" else exporter.fp16
        return describe(convert(base), text), 0
    if variant.precision != "int8":
        raise UserError(f"exporting to precision {variant.precision!r} is not supported")
    images = normalise(calibration.crops, job.card.preprocessing)
    images = nchw(images) if variant.format == "onnx" else images
    chosen, chosen_layers = b"", 0
    for float_layers in FLOAT_LAYERS:
        content = describe(exporter.int8(base, images, float_layers), text)
        scores = _scores(job, variant, content, calibration.crops)
        correlation = _correlation(calibration.reference, scores)
        if correlation > best or not chosen:
            best, chosen, chosen_layers = correlation, content, float_layers
        if correlation >= GOOD_CORRELATION:
            break
    return chosen, chosen_layers


def _correlation(reference: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    from swapbench.pad.agreement import parity

    agreement = parity(reference, scores, 0.5, "int8")
    # constants have no correlation; two that agree count as perfectly correlated
    return agreement.correlation if agreement.correlation is not None else 1.0 - agreement.max_abs_difference


def _scores(
    job: ExportJob, variant: Variant, content: bytes, crops: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Bona fide scores [n] of a file that is not in the cache yet, with its real runtime."""
    from swapbench.pad.raw_outputs import bona_fide_scores
    from swapbench.workshop.export.outputs import file_outputs

    with tempfile.TemporaryDirectory(dir=Path(job.crops).parent) as folder:
        trial = Path(folder) / variant.file_name
        trial.write_bytes(content)
        outputs = file_outputs(trial, crops, job.card.preprocessing)
    return bona_fide_scores(outputs.tolist(), job.card.output)


def error_report(error: Exception) -> dict[str, str]:
    """An error as the child reports it: {"kind", "message", "remedy"}. Foreign ones come from a converter."""
    if isinstance(error, SwapbenchError):
        return {"kind": type(error).__name__, "message": str(error.args[0]), "remedy": error.remedy}
    if isinstance(error, ImportError):
        remedy = "Install it with: pip install 'swapbench[export]'"
        return {
            "kind": "EnvironmentFailed",
            "message": f"exporting needs a package: {error}",
            "remedy": remedy,
        }
    first = next(iter(str(error).splitlines()), "")
    return {
        "kind": "WorkerFailed",
        "message": f"the exporter failed: {type(error).__name__}: {first}",
        "remedy": "",
    }


def _main(job: Path) -> int:
    """Run a job: reports go to standard output, whatever else is written there goes to the log."""
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(content: dict[str, Any]) -> None:
        reports.write(json.dumps(content) + "\n")
        reports.flush()

    task = ExportJob.model_validate_json(job.read_bytes())
    try:
        run_job(task, report)
    except Exception as error:  # noqa: BLE001 - before the first variant: all of them failed
        traceback.print_exc()
        failure = {"error": error_report(error), "done": len(task.variants)}
        for variant in task.variants:
            report({"variant": variant.model_dump(), **failure})
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
