"""Crops of the development split that exports are calibrated with and compared on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.cores import usable_cores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from swapbench.data.samples import Sample
    from swapbench.records import Preprocessing

DEV_FRAMES = 1024
"""Frames for calibration and parity: far fewer than a video dataset has."""

CALIBRATION_SAMPLES = 128
LEAST_UNSEEN = 32
LEAST_COMPARED = 128
PARITY_MACS = 2e11
"""Multiplications spent on the scores of one file, less than a minute on one core: it bounds the samples.

A bound of time would make the parity of a file depend on how busy the machine was.
"""


@dataclass(frozen=True, eq=False)
class DevCrops:
    """Real crops of the development split, for calibration and parity.

    Frames that could not be read are left out.

    Attributes:
        crops: uint8 [n, height, width, 3] of the card's input size and channel order, from
            `data.preprocess.prepare`.
        bona_fide: bool [n].
    """

    crops: NDArray[np.uint8]
    bona_fide: NDArray[np.bool_]

    @classmethod
    def of(cls, samples: Sequence[Sample], preprocessing: Preprocessing, cache: Path) -> DevCrops:
        """Up to DEV_FRAMES of the frames, half of each class, prepared as a network takes them."""
        import numpy as np

        from swapbench.data.preprocess import prepare

        bona_fide = np.array([sample.bona_fide for sample in samples], dtype=np.bool_)
        rows = _spread(np.arange(len(samples), dtype=np.intp), bona_fide, DEV_FRAMES)
        frames = [samples[row] for row in rows]
        prepared = prepare(frames, preprocessing, cache, processes=usable_cores())
        usable = [index for index in range(len(frames)) if index not in prepared.failures]
        return cls(np.asarray(prepared.crops()[usable]), bona_fide[rows[usable]])

    def digest(self) -> str:
        """The sha256 of pixels and labels."""
        import numpy as np

        total = hashlib.sha256(repr(self.crops.shape).encode())
        total.update(np.ascontiguousarray(self.crops).data)
        total.update(np.ascontiguousarray(self.bona_fide, np.bool_).data)
        return total.hexdigest()


def rows_for_calibration(bona_fide: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Rows for calibration: half of each class, spread evenly, the same on every call.

    Args:
        bona_fide: bool [n].
    """
    import numpy as np

    return _spread(np.arange(len(bona_fide), dtype=np.intp), bona_fide, CALIBRATION_SAMPLES)


def rows_for_parity(bona_fide: NDArray[np.bool_], macs: int) -> NDArray[np.intp]:
    """Rows for parity: all that calibration has not seen, or where they are less than LEAST_UNSEEN, all.

    Of a large network they are fewer, half of each class.

    Args:
        bona_fide: bool [n].
        macs: multiply-accumulates of a run.
    """
    import numpy as np

    rows = np.arange(len(bona_fide), dtype=np.intp)
    unseen = np.setdiff1d(rows, rows_for_calibration(bona_fide))
    candidates = unseen if len(unseen) >= LEAST_UNSEEN else rows
    most = max(LEAST_COMPARED, int(PARITY_MACS / max(1, macs)))
    return candidates if len(candidates) <= most else _spread(candidates, bona_fide[candidates], most)


def _spread(rows: NDArray[np.intp], bona_fide: NDArray[np.bool_], most: int) -> NDArray[np.intp]:
    import numpy as np

    picked = []
    for group in (rows[bona_fide], rows[~bona_fide]):
        count = min(len(group), most // 2)
        picked.append(group[np.arange(count) * len(group) // max(count, 1)])
    return np.sort(np.concatenate(picked))
