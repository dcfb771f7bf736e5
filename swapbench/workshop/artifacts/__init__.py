"""Model card + precision + format -> file, cached by content. The only door from the catalogue to the exporters.

A file lies at `<cache>/<first 8 of its key>/<variant.file_name>`, with `<file>.json` beside it: key and what it is made of, sha256,
parity, seconds. The key is a digest of everything that the bytes and the parity depend on: checkpoint, architecture,
preprocessing, meaning of the output, precision, format, the exporters' versions, and the crops used. The JSON is written last, so what has
none does not count; a file that no longer has its sha256 is made again.

Exporting happens in child processes (`swapbench.workshop.artifacts.child`), one a format: a gigabyte of PyTorch and jax is given back, their
warnings go to a log, and a crash of a converter is one failed variant. The child writes the files; the parent believes the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from swapbench import errors
from swapbench.errors import EnvironmentFailed, SwapbenchError, WorkerFailed
from swapbench.files import disk_failure, write_atomically
from swapbench.records import FORMATS, Frozen, ModelCard, Parity, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    import numpy as np
    from numpy.typing import NDArray

    from swapbench.ports import Progress
    from swapbench.records import Format

EXPORTER_VERSION = 2
"""Part of every key: raise it when a change here or in `swapbench.workshop.export` changes the bytes or the parity of a file."""

CALIBRATION_SAMPLES = 128
PARITY_SAMPLES = 128

FLOAT_LAYERS = (0, 2, 4, 8)
"""Weighted layers from the input on that an int8 file may leave in float, tried in this order. Narrow networks lose most of what
they lose in their first few layers (MiniFASNetV2: correlation .957 with none in float, .996 with four), and are no slower so.
"""

GOOD_CORRELATION = 0.995
"""With the reference scores, on the calibration crops: the first of `FLOAT_LAYERS` to reach it is taken, else the best."""

PACKAGES: dict[Format, tuple[str, ...]] = {
    "onnx": ("torch", "onnx", "onnxscript", "onnxslim", "onnxconverter-common", "onnxruntime"),
    "tflite": ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert"),
}
"""Packages whose version the bytes of a file of that format depend on."""


@dataclass(frozen=True)
class Built:
    """A file that exists, computes what its network computes, and can be measured."""

    variant: Variant
    path: Path
    sha256: str
    parity: Parity


@dataclass(frozen=True)
class Failed:
    """A variant that could not be made, or (then with its path and parity) that computes something else."""

    variant: Variant
    error: SwapbenchError
    path: Path | None = None
    parity: Parity | None = None


@dataclass(frozen=True, eq=False)
class DevCrops:
    """Real crops of the development split, for calibration and parity.

    crops: uint8 [n, height, width, 3] at the card's input size and channel order, as `pad.preprocess.prepare` makes them;
    bona_fide: bool [n]. Leave out rows that could not be read.
    """

    crops: NDArray[np.uint8]
    bona_fide: NDArray[np.bool_]

    def digest(self) -> str:
        """sha256 of pixels and labels."""
        import numpy as np

        total = hashlib.sha256(repr(self.crops.shape).encode())
        total.update(np.ascontiguousarray(self.crops).data)
        total.update(np.ascontiguousarray(self.bona_fide, np.bool_).data)
        return total.hexdigest()


class Sidecar(Frozen):
    """What lies beside a finished file. parity is absent beside a base, the fp32 graph that the precisions are made from.

    export_s: wall time of making and judging this file alone; that of the base stands beside the base.
    float_layers: how many layers from the input on an int8 file keeps in float.
    """

    key: str
    parts: dict[str, Any]
    sha256: str
    parity: Parity | None
    export_s: float
    float_layers: int = 0


class Job(Frozen):
    """What a child process is to do: some variants of one card in one format."""

    card: ModelCard
    card_path: str
    variants: tuple[Variant, ...]
    crops: str
    bona_fide: str
    data_digest: str
    cache_dir: str
    threads: int


def description(card: ModelCard, variant: Variant) -> str:
    """The JSON that travels in a file: network, recipe, precision, checkpoint, preprocessing and meaning of the output."""
    content = {
        "network": card.name,
        "recipe": card.recipe,
        "precision": variant.precision,
        "checkpoint_sha256": card.checkpoint_sha256,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "output": card.output.model_dump(mode="json"),
        "licence": card.licence,
        "source": card.source,
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
    """Where the file of a variant lies, whether it is there or not."""
    return cache_dir / digest(key_parts(card, variant, data_digest))[:8] / variant.file_name


def cached(card: ModelCard, variant: Variant, cache_dir: Path, data_digest: str) -> Built | Failed | None:
    """What the cache holds of a variant: a good file, one that failed parity, or None where it has to be made."""
    path = artifact_path(card, variant, cache_dir, data_digest)
    sidecar = sound(path, digest(key_parts(card, variant, data_digest)))
    if sidecar is None or sidecar.parity is None:
        return None
    from swapbench.pad.agreement import check

    try:
        check(sidecar.parity, reference=f"the PyTorch network of card {card.name}", artifact=path.name)
    except errors.ParityFailed as error:
        return Failed(variant, error, path, sidecar.parity)
    return Built(variant, path, sidecar.sha256, sidecar.parity)


def missing(card: ModelCard, variants: Sequence[Variant], cache_dir: Path, data_digest: str) -> list[Variant]:
    """The variants that would have to be exported."""
    return [one for one in variants if cached(card, one, cache_dir, data_digest) is None]


def build(
    card: ModelCard,
    card_path: Path,
    variants: Sequence[Variant],
    data: DevCrops,
    cache_dir: Path,
    progress: Progress,
) -> list[Built | Failed]:
    """Export what the cache does not hold, and return every variant in the order asked for.

    One failure does not stop the others. Formats are exported at the same time where there are two cores.
    """
    data_digest = data.digest()
    wanted = missing(card, variants, cache_dir, data_digest)
    reported: dict[Variant, SwapbenchError] = {}
    if wanted:
        groups = [[one for one in wanted if one.format == kind] for kind in FORMATS]
        groups = [group for group in groups if group]
        with _job_folder(cache_dir) as folder:
            jobs = _write_jobs(folder, groups, card, card_path, data, data_digest, cache_dir)
            reported = _run_jobs(jobs, cache_dir / "logs", card.name, progress)
    result: list[Built | Failed] = []
    for variant in variants:
        found = cached(card, variant, cache_dir, data_digest)
        lost = WorkerFailed(f"exporting {variant.file_name} left no file", remedy=_see(cache_dir / "logs"))
        result.append(found or Failed(variant, reported.get(variant, lost)))
    return result


def base_parts(card: ModelCard, kind: Format) -> dict[str, Any]:
    """What every file of a network in a format depends on."""
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


def digest(parts: dict[str, Any]) -> str:
    """The key of a file: sha256 of what it depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def sound(path: Path, key: str) -> Sidecar | None:
    """The sidecar of a file that is whole and was made from what `key` says."""
    try:
        sidecar = Sidecar.model_validate_json(_beside(path).read_bytes())
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValidationError):
        return None
    return sidecar if sidecar.key == key and sidecar.sha256 == sha256 else None


def save(
    path: Path,
    content: bytes,
    key: str,
    parts: dict[str, Any],
    parity: Parity | None,
    started: float,
    float_layers: int = 0,
) -> None:
    """Write a file into the cache, and its sidecar last; an old sidecar goes first."""
    _beside(path).unlink(missing_ok=True)
    write_atomically(path, content)
    sidecar = Sidecar(
        key=key,
        parts=parts,
        sha256=hashlib.sha256(content).hexdigest(),
        parity=parity,
        export_s=round(time.monotonic() - started, 3),
        float_layers=float_layers,
    )
    write_atomically(_beside(path), sidecar.model_dump_json(indent=1) + "\n")


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _see(log: Path) -> str:
    return f"What the exporters said is in {log}"


@contextlib.contextmanager
def _job_folder(cache_dir: Path) -> Iterator[Path]:
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".job-", dir=cache_dir))
    except OSError as error:
        raise disk_failure(error, cache_dir) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = []
    for group in groups:
        job = Job(
            card=card,
            card_path=str(card_path.resolve()),
            variants=tuple(group),
            crops=str(folder / "crops.npy"),
            bona_fide=str(folder / "bona_fide.npy"),
            data_digest=data_digest,
            cache_dir=str(cache_dir.resolve()),
            threads=max(1, cores // len(groups)),
        )
        path = folder / f"{group[0].format}.json"
        path.write_text(job.model_dump_json(), encoding="utf-8")
        jobs.append((path, job.variants))
    return jobs


def _run_jobs(
    jobs: Sequence[tuple[Path, tuple[Variant, ...]]], logs: Path, name: str, progress: Progress
) -> dict[Variant, SwapbenchError]:
    """Run the children at the same time, and gather what they say failed."""
    failures: dict[Variant, SwapbenchError] = {}
    done = [0.0] * len(jobs)
    total = float(sum(len(variants) for _, variants in jobs))
    lock = threading.Lock()
    children: list[subprocess.Popen[str]] = []

    def listen(number: int) -> None:
        child, (path, variants), log = children[number], jobs[number], _log(logs, name, jobs[number][0])
        assert child.stdout is not None
        for line in child.stdout:
            said = json.loads(line)
            with lock:
                if "error" in said:
                    failures[Variant.model_validate(said["variant"])] = _restored(said["error"], log)
                done[number] = said["done"]
                progress(f"exporting {name}", sum(done), total)
        if child.wait() != 0:
            for variant in variants:
                died = f"the process that exports {path.stem} died with status {child.returncode}"
                failures.setdefault(variant, WorkerFailed(died, remedy=_see(log)))

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
    """Start `python -m module job` with the converters kept quiet; it answers in lines on its standard output."""
    source = str(Path(__file__).resolve().parents[3])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TQDM_DISABLE": "1",
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, str(job)],
        stdin=subprocess.DEVNULL,
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
        if child.stdout is not None:
            child.stdout.close()


def _restored(told: dict[str, str], log: Path) -> SwapbenchError:
    kind: type[SwapbenchError] = getattr(errors, told["kind"], EnvironmentFailed)
    # the nearest class whose constructor takes a message and a remedy
    plain = next(one for one in kind.__mro__ if one is SwapbenchError or "__init__" not in vars(one))
    return cast("SwapbenchError", plain(told["message"], remedy=told["remedy"] or _see(log)))


def chosen_rows(bona_fide: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows for calibration and rows for parity: both classes alike, spread evenly, the same on every call.

    Parity is judged on rows that calibration has not seen, unless fewer than a quarter of what it wants would be left.
    """
    import numpy as np

    rows = np.arange(len(bona_fide), dtype=np.intp)
    calibration = _spread(rows, bona_fide, CALIBRATION_SAMPLES)
    rest = np.setdiff1d(rows, calibration)
    left = rest if len(rest) >= PARITY_SAMPLES // 4 else rows
    return calibration, _spread(left, bona_fide[left], PARITY_SAMPLES)


def _spread(rows: NDArray[np.intp], bona_fide: NDArray[np.bool_], most: int) -> NDArray[np.intp]:
    import numpy as np

    picked = []
    for group in (rows[bona_fide], rows[~bona_fide]):
        count = min(len(group), most // 2)
        picked.append(group[np.arange(count) * len(group) // max(count, 1)])
    return np.sort(np.concatenate(picked))
