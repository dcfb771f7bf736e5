"""The child process: exports the variants of a job into the cache, and reports progress and failures.

Run as `python -m swapbench.workshop.artifacts.child JOB.json`. Reports are JSON, one object a line, on
standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swapbench.cards import read_card
from swapbench.errors import BadCard, SwapbenchError, UserError
from swapbench.interrupts import end_with_parent
from swapbench.modelfile.parts import content_of_model
from swapbench.pad.agreement import flip_threshold
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.records import NOTHING_TO_COMPARE, SUFFIXES
from swapbench.workshop.artifacts.dev_crops import rows_for_calibration, rows_for_parity
from swapbench.workshop.artifacts.exporting import ExportJob
from swapbench.workshop.artifacts.files import (
    QUANTISED,
    Sidecar,
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

    from numpy.typing import NDArray
    from torch import nn

    from swapbench.records import ModelCard, Variant
    from swapbench.workshop.artifacts.quantising import Judge, Samples
    from swapbench.workshop.export.mixed import Trial


def run_job(job: ExportJob, report: Callable[[dict[str, Any]], None]) -> None:
    """Export the variants of a job into the cache.

    Args:
        job: What to export.
        report: Receives {"done": variants so far} and, for a failure, {"variant", "error", "done"}.
    """
    import torch

    from swapbench.modelfile import read_graph
    from swapbench.workshop.artifacts.quantising import Judge, Samples
    from swapbench.workshop.export.outputs import network_outputs
    from swapbench.workshop.export.rewrite import shipped
    from swapbench.workshop.nets.checkpoint import load_network

    def inputs(rows: NDArray[np.intp]) -> NDArray[Any]:
        return _read_by(card, Path(job.card_path), crops[rows])

    torch.set_num_threads(job.threads)
    card, share = job.card, len(job.variants) / (len(job.variants) + 2)
    crops, bona_fide = np.load(job.crops, mmap_mode="r"), np.load(job.bona_fide)
    network = load_network(card, Path(job.card_path))
    calibration_rows = rows_for_calibration(bona_fide)
    base = _base(job, shipped(network), inputs(calibration_rows))
    compared_rows = rows_for_parity(bona_fide, read_graph(base).macs)

    def samples(rows: NDArray[np.intp]) -> Samples:
        chosen = inputs(rows)
        if not len(chosen):
            return Samples(chosen, np.empty(0))
        outputs = network_outputs(network, chosen, card.preprocessing)
        return Samples(chosen, bona_fide_scores(outputs.tolist(), card.output))

    calibration, compared = samples(calibration_rows), samples(compared_rows)
    real = bona_fide[compared_rows]
    both_classes = real.any() and not real.all()
    threshold = flip_threshold(compared.reference[real], compared.reference[~real]) if both_classes else 0.5
    judge = Judge(card, Path(job.crops).parent, threshold)
    report({"done": share})
    for number, variant in enumerate(job.variants):
        done = share * (2 + number + 1)
        try:
            _make(job, variant, content_of_model(base), calibration, compared, judge)
            report({"done": done})
        except Exception as error:  # noqa: BLE001 - whatever a converter raises is one failed variant
            traceback.print_exc()
            report({"variant": variant.model_dump(), "error": error_report(error), "done": done})


def _read_by(card: ModelCard, path: Path, crops: NDArray[np.uint8]) -> NDArray[Any]:
    """What a network takes: crops, or the maps [n, h, w, c] that the parts before it make of them.

    Raises:
        BadCard: the card of the part before it is not beside its own, or cannot be used
    """
    from swapbench.workshop.export.outputs import network_outputs
    from swapbench.workshop.nets import output_names
    from swapbench.workshop.nets.checkpoint import load_network

    if card.reads is None or not len(crops):
        return crops
    before_path = path.with_name(f"{card.reads.card}.toml")
    before = read_card(before_path)
    network = load_network(before, before_path)
    names = output_names(network)
    if card.reads.output not in names:
        raise BadCard(
            f"card {card.stem} reads {card.reads.output}, and {before.stem} returns {', '.join(names)}",
            remedy="Correct output in the section [reads] of the card.",
        )
    place = names.index(card.reads.output)
    maps = network_outputs(network, _read_by(before, before_path, crops), before.preprocessing, place)
    return np.ascontiguousarray(maps.transpose(0, 2, 3, 1))


def _base(job: ExportJob, network: nn.Module, crops: NDArray[Any]) -> Path:
    """The fp32 graph that the precisions of a format are made from, from the cache or exported now."""
    from swapbench.workshop.export.equalise import equalised
    from swapbench.workshop.export.exporters import exporter
    from swapbench.workshop.export.outputs import batches

    kind, preprocessing = job.variants[0].format, job.card.preprocessing
    parts = {**base_parts(job.card, kind), "data": job.data_digest}
    key = digest(parts)
    path = Path(job.cache_dir) / key[:8] / f"base.{SUFFIXES[kind]}"
    if valid_sidecar(path, key) is not None:
        return path
    started = time.monotonic()
    alike = equalised(network, list(batches(crops, preprocessing))) if len(crops) else network
    content = exporter(kind).export_base(alike, preprocessing.height_px, preprocessing.width_px)
    save(path, content, Sidecar.of(parts, None, started))
    return path


def _make(
    job: ExportJob, variant: Variant, base: bytes, calibration: Samples, compared: Samples, judge: Judge
) -> None:
    """Make a file, compare its scores under its real runtime with the network's, and save it."""
    from swapbench.workshop.artifacts.quantising import quantised
    from swapbench.workshop.export.exporters import exporter

    started = time.monotonic()
    text = description(job.card, variant)
    makes = exporter(variant.format)
    trials: tuple[Trial, ...] = ()
    if variant.precision in {"fp32", "fp16"}:
        convert = makes.fp32 if variant.precision == "fp32" else makes.fp16
        content = makes.described(convert(base), text)
    elif variant.precision in QUANTISED:
        content, trials = quantised(
            variant, base, calibration, judge, lambda file: makes.described(file, text)
        )
    else:
        raise UserError(f"exporting to precision {variant.precision!r} is not supported")
    agreement = judge.parity(content, variant, compared)[0] if len(compared) else NOTHING_TO_COMPARE
    path = artifact_path(job.card, variant, Path(job.cache_dir), job.data_digest)
    parts = key_parts(job.card, variant, job.data_digest)
    save(path, content, Sidecar.of(parts, agreement, started, trials))


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
    end_with_parent()
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
