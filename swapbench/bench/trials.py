"""The same images fed to a file in several ways: what the check of a card and the search for one measure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from swapbench.bench.output_cache import keep_outputs, kept_outputs
from swapbench.bench.outputs import measure_scores
from swapbench.bench.workers import normalise_json
from swapbench.errors import EnvironmentFailed, WorkerFailed
from swapbench.files import disk_failure, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.bench.workers import FileUnderTest
    from swapbench.ports import Device, Outputs
    from swapbench.records import Plan, Preprocessing

MOST_PIXELS = 256 * 2**20
"""Bytes of crops in one samples file."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Images in one way.

    Attributes:
        preprocessing: that way.
        crops: uint8 [n, height, width, channels], in its channel order.
    """

    preprocessing: Preprocessing
    crops: NDArray[np.uint8]


@dataclass(frozen=True)
class TrialBench:
    """Where files are fed in several ways.

    Attributes:
        device: where they run.
        plan: for its threads.
        folder: holds the samples meanwhile.
        at_once: how many workers run side by side, which changes no score.
        kept: the file of the cache for trials with a digest; None keeps nothing.
    """

    device: Device
    plan: Plan
    folder: Path
    at_once: int = 2
    kept: Callable[[str], Path] | None = None

    def outputs(self, file: FileUnderTest, trials: Sequence[Trial]) -> list[Outputs]:
        """Raw outputs of a file for each trial, in their order, kept from an earlier run or measured now.

        Trials with the same arithmetic share a worker.

        Raises:
            EnvironmentFailed: a worker failed, or the folder cannot be written.
        """
        if self.kept is None:
            return self._measured(file, trials)
        path = self.kept(_digest(trials))
        whole = kept_outputs(path)
        if whole is not None and len(whole.rows) == sum(len(trial.crops) for trial in trials):
            return _shared_out(whole, trials)
        outputs = self._measured(file, trials)
        keep_outputs(path, replace(outputs[0], rows=tuple(row for one in outputs for row in one.rows)))
        return outputs

    def _measured(self, file: FileUnderTest, trials: Sequence[Trial]) -> list[Outputs]:
        batches = _batches(trials)
        try:
            with scratch_folder(self.folder, "variations") as temporary:
                files = [
                    _with_samples(file, batch, self.device, temporary / f"crops-{number}.npy")
                    for number, batch in enumerate(batches)
                ]
                scored = measure_scores(files, self.device, self.plan, at_once=self.at_once)
                results = [outputs for _, outputs in scored]
        except OSError as error:
            raise disk_failure(error, self.folder) from error
        of_trial: dict[int, Outputs] = {}
        for batch, result in zip(batches, results, strict=True):
            if isinstance(result, EnvironmentFailed):
                raise result
            wanted = sum(len(trial.crops) for trial in batch)
            if len(result.rows) != wanted:
                raise WorkerFailed(f"{file.name} gave {len(result.rows)} outputs for {wanted} crops")
            of_trial |= {id(trial): one for trial, one in zip(batch, _shared_out(result, batch), strict=True)}
        return [of_trial[id(trial)] for trial in trials]


def _shared_out(outputs: Outputs, trials: Sequence[Trial]) -> list[Outputs]:
    """The outputs of trials that were scored one after the other, each its own."""
    ends = np.cumsum([len(trial.crops) for trial in trials])
    return [
        replace(outputs, rows=outputs.rows[end - len(trial.crops) : end])
        for trial, end in zip(trials, ends, strict=True)
    ]


def _batches(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials that one worker can score: of the same arithmetic, and not too many pixels."""
    batches: list[list[Trial]] = []
    open_batch: dict[str, list[Trial]] = {}
    for trial in trials:
        key = normalise_json(trial.preprocessing)
        batch = open_batch.get(key)
        if batch is None or sum(one.crops.nbytes for one in batch) + trial.crops.nbytes > MOST_PIXELS:
            batch = open_batch[key] = []
            batches.append(batch)
        batch.append(trial)
    return batches


def _with_samples(file: FileUnderTest, batch: Sequence[Trial], device: Device, path: Path) -> FileUnderTest:
    np.save(path, np.concatenate([trial.crops for trial in batch]), allow_pickle=False)
    told = {"samples": device.push(path), "normalise": normalise_json(batch[0].preprocessing)}
    return replace(file, options={**file.options, **told})


def _digest(trials: Sequence[Trial]) -> str:
    """A digest of all pixels and of how they are normalised."""
    digest = hashlib.sha256()
    for trial in trials:
        digest.update(normalise_json(trial.preprocessing).encode())
        digest.update(np.ascontiguousarray(trial.crops).data)
    return digest.hexdigest()
