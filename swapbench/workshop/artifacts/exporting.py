"""Export in child processes (`artifacts.child`), one for each format.

So the gigabyte that PyTorch and jax take is given back, their warnings go to a log, and a converter that
crashes is one failed variant. The children write the files; the parent relies on the cache alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, cast

from swapbench import errors
from swapbench.cores import usable_cores
from swapbench.environment import CONVERTERS
from swapbench.errors import EnvironmentFailed, SwapbenchError, WorkerFailed
from swapbench.files import lock_of, only_one, scratch_folder
from swapbench.records import ALL_FORMATS, Frozen, ModelCard, Variant
from swapbench.workshop.artifacts.files import Built, Failed, cached, missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from swapbench.ports import Progress
    from swapbench.workshop.artifacts.dev_crops import DevCrops


class ExportJob(Frozen):
    """What a child process exports: variants of one card in one format.

    Attributes:
        card: Of the model.
        card_path: Its file, which the checkpoint's path is relative to.
        variants: In the order in which they are made.
        crops: A .npy file, see `DevCrops`.
        bona_fide: A .npy file, see `DevCrops`.
        data_digest: Of the crops.
        cache_dir: The cache.
        threads: CPU threads of the child.
    """

    card: ModelCard
    card_path: str
    variants: tuple[Variant, ...]
    crops: str
    bona_fide: str
    data_digest: str
    cache_dir: str
    threads: int


def build(
    card: ModelCard,
    card_path: Path,
    variants: Sequence[Variant],
    data: DevCrops,
    cache_dir: Path,
    progress: Progress,
) -> list[Built | Failed]:
    """Export the variants that are not in the cache; one failure does not stop the others.

    Formats are exported at the same time where there are two cores; a network by one command at a time: a
    second one waits, and finds the files.

    Args:
        card: Of the model.
        card_path: Its file, which the checkpoint's path is relative to.
        variants: What is wanted.
        data: Crops for calibration and parity.
        cache_dir: The cache.
        progress: Called with the variants that are done and wanted.

    Returns:
        Every variant in the order asked for.
    """
    data_digest = data.digest()
    wanted = missing(card, variants, cache_dir, data_digest)
    failures: dict[Variant, SwapbenchError] = {}
    with only_one(lock_of(cache_dir, card.name)) if wanted else nullcontext():
        wanted = wanted and missing(card, variants, cache_dir, data_digest)  # after another was waited for
        by_format = [[variant for variant in wanted if variant.format == name] for name in ALL_FORMATS]
        if groups := [group for group in by_format if group]:
            with scratch_folder(cache_dir, "job") as folder:
                jobs = _write_jobs(folder, groups, card, card_path, data, data_digest, cache_dir)
                failures = _run_jobs(jobs, cache_dir / "logs", card.name, progress)
    results: list[Built | Failed] = []
    for variant in variants:
        result = cached(card, variant, cache_dir, data_digest)
        lost = WorkerFailed(f"exporting {variant.file_name} left no file", remedy=_see(cache_dir / "logs"))
        results.append(result or Failed(variant, failures.get(variant, lost)))
    return results


def _see(log: Path) -> str:
    return f"The output of the exporters is in {log}"


def _write_jobs(
    folder: Path,
    groups: Sequence[Sequence[Variant]],
    card: ModelCard,
    card_path: Path,
    data: DevCrops,
    data_digest: str,
    cache_dir: Path,
) -> list[tuple[Path, tuple[Variant, ...]]]:
    import numpy as np

    np.save(folder / "crops.npy", data.crops, allow_pickle=False)
    np.save(folder / "bona_fide.npy", data.bona_fide, allow_pickle=False)
    jobs = []
    for group in groups:
        job = ExportJob(
            card=card,
            card_path=str(card_path.resolve()),
            variants=tuple(group),
            crops=str(folder / "crops.npy"),
            bona_fide=str(folder / "bona_fide.npy"),
            data_digest=data_digest,
            cache_dir=str(cache_dir.resolve()),
            threads=max(1, usable_cores() // len(groups)),
        )
        path = folder / f"{group[0].format}.json"
        path.write_text(job.model_dump_json(), encoding="utf-8")
        jobs.append((path, job.variants))
    return jobs


def _run_jobs(
    jobs: Sequence[tuple[Path, tuple[Variant, ...]]], logs: Path, name: str, progress: Progress
) -> dict[Variant, SwapbenchError]:
    """Run the children at the same time and collect the failures that they report."""
    failures: dict[Variant, SwapbenchError] = {}
    done = [0.0] * len(jobs)
    total = float(sum(len(variants) for _, variants in jobs))
    lock = threading.Lock()
    children: list[subprocess.Popen[str]] = []

    def listen(number: int) -> None:
        child, (path, variants), log = children[number], jobs[number], _log(logs, name, jobs[number][0])
        assert child.stdout is not None
        for line in child.stdout:
            report = json.loads(line)
            with lock:
                if "error" in report:
                    failures[Variant.model_validate(report["variant"])] = _restored(report["error"], log)
                done[number] = report["done"]
                progress(f"exporting {name}", sum(done), total)
        if child.wait() != 0:
            for variant in variants:
                message = f"the process that exports {path.stem} died with status {child.returncode}"
                failures.setdefault(variant, WorkerFailed(message, remedy=_see(log)))

    progress(f"exporting {name}", 0, total)
    try:
        children += [_start(path, _log(logs, name, path)) for path, _ in jobs]
        with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
            try:
                for _ in pool.map(listen, range(len(jobs))):
                    pass
            except BaseException:
                _end(children)  # the listeners wait for their children
                raise
    finally:
        _end(children)
    return failures


def _log(logs: Path, name: str, job: Path) -> Path:
    return logs / f"{name}.{job.stem}.log"


def start_child(module: str, job: Path, errors_to: IO[bytes]) -> subprocess.Popen[str]:
    """Start `python -m module job` with quiet converters; it reports in lines on its standard output.

    Args:
        module: Full name of the module to run.
        job: Its argument, a JSON file.
        errors_to: File that receives its standard error.
    """
    source = str(Path(__file__).resolve().parents[3])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])]),
        **CONVERTERS,
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, str(job)],
        stdin=subprocess.PIPE,  # which ends when we do, however we end; see `interrupts.end_with_parent`
        stdout=subprocess.PIPE,
        stderr=errors_to,
        env=environment,
        text=True,
    )


def _start(job: Path, log: Path) -> subprocess.Popen[str]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors_to:
        return start_child("swapbench.workshop.artifacts.child", job, errors_to)


def _end(children: Sequence[subprocess.Popen[str]]) -> None:
    for child in children:
        if child.poll() is None:
            child.kill()
    for child in children:
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _restored(report: dict[str, str], log: Path) -> SwapbenchError:
    """The error that a child reported, as the nearest class that takes a message and a remedy."""
    kind: type[SwapbenchError] = getattr(errors, report["kind"], EnvironmentFailed)
    parents = kind.__mro__
    plain = next(parent for parent in parents if parent is SwapbenchError or "__init__" not in vars(parent))
    return cast("SwapbenchError", plain(report["message"], remedy=report["remedy"] or _see(log)))
