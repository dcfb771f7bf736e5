"""Exporting networks to the ONNX and TFLite files that ship."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench import catalog, units
from swapbench.commands.data import folds
from swapbench.commands.face_cache import face_cache
from swapbench.commands.model_files import model_files
from swapbench.commands.options import DataOptions
from swapbench.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.options import VariantOptions
    from swapbench.errors import SwapbenchError
    from swapbench.ports import Progress, Say
    from swapbench.workshop.artifacts import Built


@dataclass(frozen=True)
class Exported:
    """The files that were exported or were there already, and what failed, each with its error."""

    files: tuple[Built, ...]
    failures: tuple[tuple[str, SwapbenchError], ...]

    def rows(self) -> list[dict[str, str]]:
        """The files as a table."""
        return [
            {
                "file": file.variant.file_name,
                "size": units.size(file.path.stat().st_size),
                "largest diff": units.significant(file.parity.max_abs_difference, 2),
                "correlation": units.NOT_MEASURED
                if file.parity.correlation is None
                else f"{file.parity.correlation:.5f}",
                "flips": f"{file.parity.decision_flips} of {file.parity.samples}",
                "path": os.path.relpath(file.path),
            }
            for file in self.files
        ]


def export(
    folders: Folders,
    wanted: VariantOptions,
    data: Path | None = None,
    out: Path | None = None,
    *,
    progress: Progress,
    say: Say,
) -> Exported:
    """Export the wanted files, which are copied to `out` too; those that exist already are not made again.

    `data` is for calibration and parity: the simulated set if None.
    """
    carded, failures = catalog.networks(folders, wanted.models)
    dataset = folds(folders, DataOptions(data), ("dev",), progress=progress, say=say)[0]
    with face_cache(folders, say) as kept:
        files, failed = model_files(kept, carded, wanted, dataset, progress)
    if out is not None:
        for file in files:
            write_atomically(out / file.variant.file_name, file.path.read_bytes())
    return Exported(files, (*failures, *failed))
