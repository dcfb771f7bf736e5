"""Exporting networks to the files that ship."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from swapbench import catalog, units
from swapbench.bench.doubt import parity_doubts
from swapbench.commands.data import folds
from swapbench.commands.face_cache import face_cache
from swapbench.commands.model_files import model_files
from swapbench.commands.options import DataOptions
from swapbench.files import write_atomically
from swapbench.modelfile.parts import files_of
from swapbench.records import Absent

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.options import VariantOptions
    from swapbench.errors import SwapbenchError
    from swapbench.ports import Progress, Say
    from swapbench.records import Doubt, Parity
    from swapbench.workshop.artifacts import Built
    from swapbench.workshop.export.mixed import Trial

SERIOUS: Final = frozenset({"differs_from_network", "parity_unjudged"})
"""Doubts with which an export ends with status 3; a few flipped decisions are usual of int8."""


@dataclass(frozen=True)
class Exported:
    """The files that were exported or were there already, and what failed, each with its error."""

    files: tuple[Built, ...]
    failures: tuple[tuple[str, SwapbenchError], ...]

    def rows(self) -> list[dict[str, Any]]:
        """The files as a table; `curve` and `doubts` are for programs."""
        return [
            {
                "file": file.variant.file_name,
                "size": units.size(sum(part.stat().st_size for part in files_of(file.path))),
                **_agreement(file.parity),
                "path": os.path.relpath(file.path),
                "curve": [trial.model_dump(mode="json") for trial in file.trials],
                "doubts": [doubt.model_dump() for doubt in self.doubts.get(file.variant.file_name, ())],
            }
            for file in self.files
        ]

    def curves(self) -> list[dict[str, str]]:
        """What was tried for the quantised files in which layers stay in float, as a table."""
        return [
            {
                "file": file.variant.file_name if number == 0 else "",
                "in float": _in_float(trial),
                "size": units.size(trial.file_bytes),
                "time": units.duration(trial.run_ns),
                "logit error": _three(trial.logit_error),
                "rank corr.": _three(trial.rank_correlation),
                "flips": f"{trial.flips} of {trial.samples}",
                "": "this file" if trial.chosen else "",
            }
            for file in self.files
            if len(file.trials) > 1
            for number, trial in enumerate(file.trials)
        ]

    @property
    def doubts(self) -> dict[str, tuple[Doubt, ...]]:
        """File name -> the reasons to distrust that it computes what its network computes, where any are."""
        found = {file.variant.file_name: tuple(parity_doubts(file.parity)) for file in self.files}
        return {
            name: serious
            for name, doubts in found.items()
            if (serious := tuple(doubt for doubt in doubts if doubt.code in SERIOUS))
        }


def _agreement(parity: Parity | Absent) -> dict[str, str]:
    if isinstance(parity, Absent):
        return {}
    return {
        "largest diff": units.significant(parity.max_abs_difference, 2),
        "logit error": _three(parity.logit_error),
        "rank corr.": _three(parity.rank_correlation),
        "flips": f"{parity.decision_flips} of {parity.samples}",
    }


def _in_float(trial: Trial) -> str:
    count = len(trial.float_layers)
    return f"{count} layer{'s' * (count != 1)}, {units.percent(trial.float_share)}"


def _three(number: float | None) -> str:
    return units.NOT_MEASURED if number is None else f"{number:.3f}"


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

    Beside a quantised file in which layers stay in float lies what was tried, as CSV.

    `data` is for calibration and parity: the simulated set if None.
    """
    from swapbench.workshop.artifacts import curve_csv, curve_name

    carded, failures = catalog.networks(folders, wanted.models)
    if not carded:
        return Exported((), tuple(failures))
    dataset = folds(folders, DataOptions(data), ("dev",), progress=progress, say=say)[0]
    with face_cache(folders, say) as kept:
        files, failed = model_files(kept, carded, wanted, dataset, progress)
    if out is not None:
        for file in files:
            for part in files_of(file.path):
                write_atomically(out / part.name, part.read_bytes())
            if len(file.trials) > 1:
                write_atomically(out / curve_name(file.path), curve_csv(file.trials))
    return Exported(files, (*failures, *failed))
