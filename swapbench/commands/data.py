"""Which data: the simulated set, a dataset in its official layout, a manifest, a protocol over several."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from swapbench import catalog
from swapbench.data.dataset import FRAMES_PER_VIDEO
from swapbench.errors import MissingPackage, UserError
from swapbench.records import FACE_BOXES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.data.dataset import Dataset
    from swapbench.data.protocol import DataCheck
    from swapbench.pad.evaluation import Evaluation
    from swapbench.ports import Progress, Say
    from swapbench.records import FaceBoxes


@dataclass(frozen=True)
class DataRequest:
    """The data that a person named. Nothing named: the simulated set, made on first use."""

    data: Path | None = None
    data_root: Path | None = None
    protocol: str | None = None
    frames_per_video: int = FRAMES_PER_VIDEO
    faces: FaceBoxes | None = None

    @classmethod
    def of(
        cls,
        data: Path | None,
        data_root: Path | None,
        protocol: str | None,
        frames_per_video: int,
        faces: str | None,
    ) -> DataRequest:
        """The same from options as they were typed. Raises UserError and UnknownName."""
        if data is not None and data_root is not None:
            raise UserError(
                "--data and --data-root exclude each other",
                remedy="--data names one dataset, --data-root a folder that holds several",
            )
        if faces is not None:
            catalog.checked_names("source of face boxes", (faces,), FACE_BOXES)
        return cls(data, data_root, protocol, frames_per_video, cast("FaceBoxes | None", faces))

    def options(self) -> list[str]:
        """The options that say the same on a command line."""
        said = {
            "--data": self.data,
            "--data-root": self.data_root,
            "--protocol": self.protocol,
            "--frames": None if self.frames_per_video == FRAMES_PER_VIDEO else self.frames_per_video,
            "--faces": self.faces,
        }
        return [text for name, value in said.items() if value is not None for text in (name, str(value))]


def simulate(
    folders: Folders,
    out: Path | None,
    splits: Sequence[str],
    seed: int | None,
    sheet: Path | None,
    *,
    progress: Progress,
) -> Path:
    """Make the simulated dataset of the working folder, or of `out` (cached); returns its folder."""
    _need_opencv("making simulated data", "simulate")
    from swapbench.data.dataset import SPLITS
    from swapbench.simulate import dataset as simulation

    chosen = catalog.checked_names("split", catalog.split_commas(splits), SPLITS) or SPLITS
    folder = simulation.simulate(
        out or folders.data,
        simulation.Recipe() if seed is None else simulation.Recipe(seed=seed),
        splits=chosen,
        progress=lambda done, total: progress("simulating faces and recaptures", done, total),
    )
    if sheet is not None:
        simulation.contact_sheet(folder, sheet)
    return folder


def simulate_oulu(out: Path, seed: int | None, sheet: Path | None, *, progress: Progress) -> Path:
    """Make the simulated set as an OULU-NPU-named tree with protocol files in `out`; returns `out`."""
    _need_opencv("making simulated data", "simulate")
    from swapbench.simulate import oulu_tree as simulation

    folder = simulation.simulate_oulu(
        out,
        simulation.OuluRecipe() if seed is None else simulation.OuluRecipe(seed=seed),
        progress=lambda done, total: progress("simulating videos", done, total),
    )
    if sheet is not None:
        simulation.contact_sheet(folder, sheet)
    return folder


def folds(
    folders: Folders, request: DataRequest, splits: Sequence[str], *, progress: Progress, say: Say
) -> tuple[Dataset, ...]:
    """The folds of the protocol on the data that was named."""
    from swapbench.data.protocol import open_data

    data = request.data
    if data is None and request.data_root is None:
        data = simulate(folders, None, splits, None, None, progress=progress)
    found = open_data(
        data,
        data_root=request.data_root,
        protocol=request.protocol,
        frames_per_video=request.frames_per_video,
        splits=splits,
    )
    if found[0].simulated:
        say(f"Data: {found[0].name} ({found[0].notice})")
    elif found[0].protocol:
        say(f"Data: {found[0].protocol}")
    for line in dict.fromkeys(line for fold in found for line in fold.basis):
        say(f"  {line}")
    return found


def evaluation(folders: Folders, found: tuple[Dataset, ...], request: DataRequest) -> Evaluation:
    """What models are judged on, with the cache of the working folder."""
    from swapbench.pad.evaluation import Evaluation

    return Evaluation(folds=found, cache=folders.build, processes=os.cpu_count() or 1, faces=request.faces)


def check(folders: Folders, request: DataRequest, *, progress: Progress) -> DataCheck:
    """Count a dataset against what its official protocol says, and list what is missing or odd."""
    from swapbench.data.protocol import check_data

    data = request.data
    if data is None and request.data_root is None:
        data = simulate(folders, None, ("dev", "test"), None, None, progress=progress)
    return check_data(data, data_root=request.data_root, protocol=request.protocol)


def _need_opencv(purpose: str, extra: str) -> None:
    if importlib.util.find_spec("cv2") is None:
        raise MissingPackage("opencv-python-headless", purpose, extra)
