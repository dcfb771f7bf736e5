"""Does a phone score as this computer does?

The reference is the same file on the same pixels, under the Python worker.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from swapbench.bench.outputs import measure_scores
from swapbench.errors import SwapbenchError
from swapbench.pad.agreement import flip_threshold, parity
from swapbench.records import Absent
from swapbench.runtimes.contract import packages_elsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.bench.model_under_test import ModelUnderTest
    from swapbench.pad.scores import FoldFrames
    from swapbench.ports import Device, Outputs, Runtime
    from swapbench.records import OutputMeaning, Parity, Plan, Precision


@dataclass(frozen=True)
class Desktop:
    """This computer as the reference: the device, and its runtimes by name."""

    device: Device
    runtimes: Mapping[str, Runtime]

    def key(self, sha256: str, runtime: str, samples: Path, told: Mapping[str, str]) -> str:
        """A name for a file's cached outputs: a digest of all that they depend on.

        `told` are the worker's options besides the samples.
        """
        machine = self.device.describe()
        about = (
            sha256,
            runtime,
            samples.name,
            sorted(told.items()),
            sorted((packages_elsewhere(self.runtimes.get(runtime)) or machine.packages).items()),
            machine.soc,
        )
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]

    def outputs(
        self, model: ModelUnderTest, runtime: str, samples: Path, told: Mapping[str, str], plan: Plan
    ) -> Outputs:
        """Raw outputs of a file for every sample, under the runtime of that name.

        Raises:
            EnvironmentFailed: its worker failed.
        """
        pushed = model.pushed(self.device)
        options = {**pushed.options, "samples": self.device.push(samples), **told}
        file = replace(pushed, runtime=self.runtimes[runtime], options=options)
        ((_, outputs),) = measure_scores([file], self.device, plan)
        if isinstance(outputs, SwapbenchError):
            raise outputs
        return outputs


def device_parity(
    reference: Sequence[FoldFrames],
    device: Sequence[FoldFrames],
    precision: Precision,
    meaning: OutputMeaning,
) -> Parity | Absent:
    """How far a device's scores are from the reference's, frame by frame.

    Frames are those of the dev and test splits of the first fold. Decisions are made at the threshold frozen
    on the reference's development scores, or on its test scores where there are none. Frames without a crop
    have no score on either side and are left out; Absent where none remains.
    """
    scores, reference_scores = (
        np.concatenate([folds[0].dev.score, folds[0].test.score]) for folds in (device, reference)
    )
    both = ~np.isnan(scores) & ~np.isnan(reference_scores)
    if not both.any():
        return Absent(absent="no frame was scored both on the device and on this computer")
    dev = (reference[0].dev if len(reference[0].dev) else reference[0].test).acquired
    threshold = flip_threshold(dev.bona_fide, dev.attacks)
    return parity(reference_scores[both], scores[both], threshold, precision, meaning)
