"""Files for a latency table: chains of layers (`prune.layer_chains`) and whole networks, with random weights.

They are made by processes of their own, so that the memory and the output of the converters do not disturb
the one that measures: `python -m swapbench.workshop.artifacts.chain_files JOB.json` prints the path of every
file that is finished.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from swapbench.cores import usable_cores
from swapbench.errors import WorkerFailed
from swapbench.interrupts import end_with_parent
from swapbench.kept import keep, kept
from swapbench.modelfile.parts import write_model
from swapbench.records import Format, Frozen, Precision
from swapbench.workshop.artifacts.exporting import start_child
from swapbench.workshop.artifacts.files import EXPORTER_VERSION, PACKAGES
from swapbench.workshop.export.exporters import exporter
from swapbench.workshop.export.outputs import nchw
from swapbench.workshop.export.rewrite import shipped
from swapbench.workshop.nets import build
from swapbench.workshop.nets.minifasnet import Convolution
from swapbench.workshop.prune.layer_chains import Chain  # noqa: TC001 - pydantic needs it

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from swapbench.ports import Progress, Say

CALIBRATION_IMAGES = 4
"""For int8. The ranges have no influence on the latency."""

FILES_VERSION = 1
"""Part of the key of these files: raise it when a change here changes them."""

MOST_CHILDREN = 4
"""Each takes more than a gigabyte with its converters."""


class Wanted(Frozen):
    """One file: a chain, or a network of the family minifasnet.

    Attributes:
        path: The file.
        size_px: Side of the input.
        chain: None for a network.
        architecture: Arguments of the network.
    """

    path: str
    size_px: int
    chain: Chain | None = None
    architecture: dict[str, Any] = Field(default_factory=dict)


class Job(Frozen):
    """The files that a process makes."""

    wanted: tuple[Wanted, ...]
    format: Format
    precision: Precision


class ChainNet(nn.Module):
    """The network of a chain: a stem, the units, and the mean over the map, which keeps the output small."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.layout = chain.layout
        self.stem: nn.Module = nn.Identity()
        if chain.layout == "bare":
            self.stem = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 8, 1))
        elif chain.inputs != 3:
            self.stem = Convolution(3, chain.inputs, linear=True)
        self.units = nn.ModuleList(_unit(chain) for _ in range(chain.copies))

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, 3, h, w] to [n, c]."""
        x = self.stem(images)
        if self.layout == "beside":
            first, *others = self.units
            y = first(x)
            for unit in others:
                y = y + unit(x)
            x = y
        else:
            for unit in self.units:
                x = x + unit(x) if self.layout == "pair" else unit(x)
        return torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)


def _unit(chain: Chain) -> nn.Module:
    if chain.layout == "pair":
        return nn.Sequential(
            Convolution(chain.inputs, chain.outputs, linear=chain.linear),
            Convolution(chain.outputs, chain.inputs, linear=True),
        )
    whole = chain.kernel == chain.input_px and chain.kernel > 1
    return Convolution(
        chain.inputs,
        chain.outputs,
        chain.kernel,
        stride=chain.stride,
        padding=0 if whole else chain.kernel // 2,
        groups=chain.inputs if chain.depthwise else 1,
        linear=chain.linear,
    )


def file_content(wanted: Wanted, file_format: Format, precision: Precision) -> bytes:
    """The bytes of a file, from the exporters that also make the files that ship."""
    torch.manual_seed(0)
    network = build("minifasnet", wanted.architecture) if wanted.chain is None else ChainNet(wanted.chain)
    makes = exporter(file_format)
    base = makes.export_base(shipped(network), wanted.size_px, wanted.size_px)
    if precision == "int8":
        images = torch.randn(CALIBRATION_IMAGES, wanted.size_px, wanted.size_px, 3).numpy()
        samples = nchw(images) if file_format == "onnx" else images
        return cast("bytes", makes.Quantiser(base, precision, samples).file())
    convert: Callable[[bytes], bytes] = makes.fp16 if precision == "fp16" else makes.fp32
    return convert(base)


def make(job: Job, say: Say) -> None:
    """Write every file of a job, each whole or not at all; `say` receives the path of each."""
    torch.set_num_threads(1)
    for wanted in job.wanted:
        path = Path(wanted.path)
        keep(_entry(path), {}, write_model(path, file_content(wanted, job.format, job.precision)))
        say(wanted.path)


def is_made(path: Path) -> bool:
    """Whether a file is there as `make` wrote it."""
    return kept(_entry(path)) is not None


def _entry(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def key_parts(file_format: Format) -> list[Any]:
    """What the bytes of the files depend on besides the layers."""
    versions = [importlib.metadata.version(package) for package in PACKAGES[file_format]]
    return [FILES_VERSION, EXPORTER_VERSION, file_format, versions]


def make_in_processes(
    missing: Sequence[Wanted], file_format: Format, precision: Precision, folder: Path, progress: Progress
) -> None:
    """Make files in child processes, whose output goes to `export.log` in a folder.

    Raises:
        WorkerFailed: A process died.
    """
    stage, log = "making the layers' files", folder / "export.log"
    count = min(usable_cores(), MOST_CHILDREN, len(missing))
    lock = threading.Lock()
    done = 0
    folder.mkdir(parents=True, exist_ok=True)

    def listen(child: subprocess.Popen[str]) -> int:
        nonlocal done
        assert child.stdout is not None
        for _ in child.stdout:
            with lock:
                done += 1
                progress(stage, done, len(missing))
        return child.wait()

    progress(stage, 0, len(missing))
    with ExitStack() as stack:
        jobs = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        errors_to = stack.enter_context(log.open("wb"))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=count))
        children = []
        for number in range(count):
            path = jobs / f"{number}.json"
            job = Job(wanted=tuple(missing[number::count]), format=file_format, precision=precision)
            path.write_text(job.model_dump_json(), encoding="utf-8")
            child = stack.enter_context(
                start_child("swapbench.workshop.artifacts.chain_files", path, errors_to)
            )
            stack.callback(child.kill)  # before anybody waits for it
            children.append(child)
        for status in pool.map(listen, children):
            if status != 0:
                raise WorkerFailed(
                    f"a process that makes the layers' files died with status {status}",
                    remedy=f"The exporters' output is in {os.path.relpath(log)}",
                )


def _main(path: Path) -> int:
    """Run a job: paths go to standard output, whatever else is written there goes to standard error."""
    end_with_parent()
    paths = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: str) -> None:
        paths.write(line + "\n")
        paths.flush()

    make(Job.model_validate_json(path.read_bytes()), say)
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
