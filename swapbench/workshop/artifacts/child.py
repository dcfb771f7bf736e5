"""The child process: exports the variants of a job into the cache, and tells the parent about progress and failures.

Run as `python -m swapbench.workshop.artifacts.child JOB.json`. Answers are JSON, one object a line, on standard output.
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
from swapbench.workshop.artifacts import (
    FLOAT_LAYERS,
    GOOD_CORRELATION,
    Job,
    artifact_path,
    base_parts,
    chosen_rows,
    description,
    digest,
    key_parts,
    save,
    sound,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from swapbench.records import Variant


def run_job(job: Job, say: Callable[[dict[str, Any]], None]) -> None:
    """Export the variants of a job into the cache. `say` is told {"done": variants so far} and {"variant", "error", "done"}."""
    import numpy as np
    import torch

    from swapbench.pad.agreement import flip_threshold
    from swapbench.pad.scores import bona_fide_scores
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

    calibration_rows, judged_rows = chosen_rows(bona_fide)
    calibration, judged, real = samples(calibration_rows), samples(judged_rows), bona_fide[judged_rows]
    mixed = real.any() and not real.all()
    threshold = flip_threshold(judged.reference[real], judged.reference[~real]) if mixed else 0.5
    say({"done": share})
    base: bytes | None = None
    for number, variant in enumerate(job.variants):
        done = share * (2 + number + 1)
        try:
            base = base if base is not None else _base(job, shipped(network), calibration.crops)
            _make(job, variant, base, calibration, judged, threshold)
            say({"done": done})
        except Exception as error:  # noqa: BLE001 - whatever a converter raises is one failed variant
            traceback.print_exc()
            say({"variant": variant.model_dump(), "error": told(error), "done": done})


@dataclass(frozen=True, eq=False)
class _Samples:
    """uint8 crops, and what the PyTorch network scores them."""

    crops: NDArray[np.uint8]
    reference: NDArray[np.float64]


def _base(job: Job, network: nn.Module, crops: NDArray[np.uint8]) -> bytes:
    """The fp32 graph that the precisions of a format are made from, from the cache where it is there."""
    from swapbench.workshop.export import to_onnx, to_tflite
    from swapbench.workshop.export.equalise import equalised
    from swapbench.workshop.export.outputs import batches

    kind, preprocessing = job.variants[0].format, job.card.preprocessing
    parts = {**base_parts(job.card, kind), "data": job.data_digest}
    key = digest(parts)
    path = Path(job.cache_dir) / key[:8] / f"base.{kind}"
    if sound(path, key) is not None:
        return path.read_bytes()
    started = time.monotonic()
    export = to_onnx.export_base if kind == "onnx" else to_tflite.export_base
    alike = equalised(network, list(batches(crops, preprocessing)))
    content = export(alike, preprocessing.height_px, preprocessing.width_px)
    save(path, content, key, parts, None, started)
    return content


def _make(
    job: Job, variant: Variant, base: bytes, calibration: _Samples, judged: _Samples, threshold: float
) -> None:
    """Make a file, score it with its real runtime, compare, and save; the sidecar makes it count."""
    from swapbench.pad.agreement import parity

    started = time.monotonic()
    content, float_layers = _converted(job, variant, base, calibration)
    found = parity(
        judged.reference, _scores(job, variant, content, judged.crops), threshold, variant.precision
    )
    parts = key_parts(job.card, variant, job.data_digest)
    path = artifact_path(job.card, variant, Path(job.cache_dir), job.data_digest)
    save(path, content, digest(parts), parts, found, started, float_layers)


def _converted(job: Job, variant: Variant, base: bytes, calibration: _Samples) -> tuple[bytes, int]:
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
        raise UserError(f"there is no way to export to precision {variant.precision!r}")
    images = normalise(calibration.crops, job.card.preprocessing)
    images = nchw(images) if variant.format == "onnx" else images
    chosen, chosen_layers = b"", 0
    for float_layers in FLOAT_LAYERS:
        content = describe(exporter.int8(base, images, float_layers), text)
        near = _correlation(calibration.reference, _scores(job, variant, content, calibration.crops))
        if near > best or not chosen:
            best, chosen, chosen_layers = near, content, float_layers
        if near >= GOOD_CORRELATION:
            break
    return chosen, chosen_layers


def _correlation(reference: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    from swapbench.pad.agreement import parity

    found = parity(reference, scores, 0.5, "int8")
    # two constants that agree are as near as can be
    return found.correlation if found.correlation is not None else 1.0 - found.max_abs_difference


def _scores(job: Job, variant: Variant, content: bytes, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    from swapbench.pad.scores import bona_fide_scores
    from swapbench.workshop.export.outputs import file_outputs

    with tempfile.TemporaryDirectory(dir=Path(job.crops).parent) as folder:
        trial = Path(folder) / variant.file_name
        trial.write_bytes(content)
        outputs = file_outputs(trial, crops, job.card.preprocessing)
    return bona_fide_scores(outputs.tolist(), job.card.output)


def told(error: Exception) -> dict[str, str]:
    """An error as the child says it. What is not ours was raised inside a converter."""
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
    """Entry of the child: answers on standard output, everything else that is written there goes to the log."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(said: dict[str, Any]) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    task = Job.model_validate_json(job.read_bytes())
    try:
        run_job(task, say)
    except Exception as error:  # noqa: BLE001 - before the first variant: all of them failed
        traceback.print_exc()
        for variant in task.variants:
            say({"variant": variant.model_dump(), "error": told(error), "done": len(task.variants)})
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
