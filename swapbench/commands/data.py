"""Which data: the simulated set, a dataset in its official layout, a manifest, a protocol over several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench import catalog, doctor
from swapbench.cores import usable_cores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.options import DataOptions, JudgedData
    from swapbench.data.check import DataCheck
    from swapbench.data.dataset import Dataset
    from swapbench.pad.evaluation import Evaluation
    from swapbench.ports import Progress, Say


@dataclass(frozen=True)
class Simulated:
    """Which simulated data are wanted.

    Attributes:
        splits: none: all.
        seed: None: that of the default set.
        world: None: the standard one.
        modalities: separated by commas; None: RGB alone.
    """

    splits: Sequence[str] = ()
    seed: int | None = None
    world: int | None = None
    modalities: str | None = None


def simulate(
    folders: Folders,
    wanted: Simulated,
    out: Path | None = None,
    sheet: Path | None = None,
    *,
    progress: Progress,
) -> Path:
    """Make a simulated dataset in `out` (data/), unless it is there; returns its folder.

    `sheet` is a PNG file for a contact sheet.
    """
    doctor.require("simulate", "making simulated data")
    from swapbench.data.dataset import SPLITS
    from swapbench.simulate import dataset as simulation
    from swapbench.simulate.worlds import STANDARD

    chosen: dict[str, Any] = {} if wanted.seed is None else {"seed": wanted.seed}
    if wanted.modalities is not None:
        chosen["modalities"] = simulation.modalities_named(wanted.modalities)
    world = STANDARD if wanted.world is None else wanted.world
    folder = simulation.simulate(
        out or folders.data,
        simulation.Recipe.of_world(world, **chosen),
        splits=catalog.checked_names("split", catalog.split_commas(wanted.splits), SPLITS) or SPLITS,
        progress=lambda done, total: progress("simulating faces and recaptures", done, total),
    )
    if sheet is not None:
        simulation.contact_sheet(folder, sheet)
    return folder


def simulate_oulu(out: Path, seed: int | None, sheet: Path | None, *, progress: Progress) -> Path:
    """Make the simulated set as an OULU-NPU-named tree with protocol files in `out`; returns `out`."""
    doctor.require("simulate", "making simulated data")
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
    folders: Folders, options: DataOptions, splits: Sequence[str], *, progress: Progress, say: Say
) -> tuple[Dataset, ...]:
    """The folds of the protocol on the data that were named; scoring alone does without a dev split."""
    from swapbench.data.boxes import with_boxes, with_detector
    from swapbench.data.facebox import detector_of
    from swapbench.data.protocol import open_data

    datasets = open_data(
        options.data if options.named else _simulated(folders, splits, progress, say),
        data_root=options.data_root,
        protocol=options.protocol,
        frames_per_video=options.frames,
        splits=splits,
        without_dev="test" in splits,
        images=options.images,
    )
    if options.boxes is not None:
        datasets = with_boxes(datasets, options.boxes)
    if options.detector is not None:
        datasets = with_detector(datasets, detector_of(options.detector))
    if datasets[0].simulated:
        say(f"Data: {datasets[0].name} ({datasets[0].notice})")
    elif datasets[0].protocol:
        say(f"Data: {datasets[0].protocol}")
    for line in dict.fromkeys(line for dataset in datasets for line in dataset.basis):
        say(f"  {line}")
    return datasets


def _simulated(folders: Folders, splits: Sequence[str], progress: Progress, say: Say) -> Path:
    """The simulated set; where it has to be made first, that is said with what would spare it."""
    told: list[bool] = []

    def tell(stage: str, done: float, total: float) -> None:
        if not told and done < total:
            told.append(True)
            say(
                "Simulating faces first, once, which takes minutes. Name data of your own with --data; "
                "run --no-accuracy needs none."
            )
        progress(stage, done, total)

    return simulate(folders, Simulated(splits), progress=tell)


def evaluation(folders: Folders, data: tuple[Dataset, ...], options: JudgedData) -> Evaluation:
    """What models are judged on, with the cache of the working folder or a temporary one."""
    from swapbench.pad.evaluation import Evaluation

    return Evaluation(
        folds=data,
        cache=folders.cache,
        processes=usable_cores(),
        faces=options.faces,
        threshold=options.threshold,
    )


def check(folders: Folders, options: DataOptions, *, progress: Progress) -> DataCheck:
    """Count a dataset against what its official protocol says, and list what is missing or odd."""
    from swapbench.data.check import check_data

    data = options.data
    if not options.named:
        data = simulate(folders, Simulated(("dev", "test")), progress=progress)
    return check_data(data, data_root=options.data_root, protocol=options.protocol, images=options.images)
