"""Does a phone score as this computer does? The same file and the same pixels under the Python worker are the reference."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.bench.passes import measure_scores
from swapbench.bench.workers import FileUnderTest
from swapbench.errors import SwapbenchError
from swapbench.pad.agreement import flip_threshold, parity
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from swapbench.pad.scores import FoldFrames
    from swapbench.ports import Device, Outputs, Runtime
    from swapbench.records import Parity, Plan, Precision


@dataclass(frozen=True)
class Desktop:
    """This computer as a reference: the device, and its runtimes by name."""

    device: Device
    runtimes: Mapping[str, Runtime]

    def key(self, sha256: str, runtime: str, samples: Path, normalise: str) -> str:
        """What the outputs of a file here depend on, as a name for keeping them."""
        machine = self.device.describe()
        about = (sha256, runtime, samples.name, normalise, sorted(machine.packages.items()), machine.soc)
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]

    def outputs(self, path: Path, runtime: str, samples: Path, normalise: str, plan: Plan) -> Outputs:
        """Raw outputs of a file for every sample. Raises EnvironmentFailed where its worker fails."""
        subject = FileUnderTest(
            path.name,
            self.device.push(path),
            self.runtimes[runtime],
            {"samples": self.device.push(samples), "normalise": normalise},
        )
        ((_, found),) = measure_scores([subject], self.device, plan)
        if isinstance(found, SwapbenchError):
            raise found
        return found


def device_parity(
    reference: Sequence[FoldFrames], device: Sequence[FoldFrames], precision: Precision
) -> Parity | Absent:
    """How far a device's scores are from the reference's, frame by frame, over development and test of the first fold.

    Decisions are those at the threshold that the reference's development scores freeze. Frames without a crop have no score on
    either side and count for nothing; Absent where none is left.
    """
    ours, theirs = (
        np.concatenate([folds[0].dev.score, folds[0].test.score]) for folds in (device, reference)
    )
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    if not both.any():
        return Absent(absent="no frame has a score on the device and on this computer")
    dev = reference[0].dev.acquired
    return parity(theirs[both], ours[both], flip_threshold(dev.bona_fide, dev.attacks), precision)
