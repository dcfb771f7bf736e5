"""Makes what a simulated data set still lacks, in several processes, however its files are laid out.

Knows the order of writing, the digest, the description and the contact sheet that every layout shares. Must
not know what is in an image. Everything about every image is planned from the recipe before the first pixel,
and each image has its own random stream, so that a split, an order or a number of processes never changes a
byte.

Simulated data; not PAD performance.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from swapbench.cores import usable_cores
from swapbench.errors import UserError
from swapbench.files import write_atomically
from swapbench.processes import results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from PIL.Image import Image as Picture

VERSION = 1
"""Of faces, recapture and the manifest's data set; raised whenever the bytes they make change."""

_OF_FIRST_VERSION = {"world": 1, "modalities": ("rgb",)}

NOTICE = "Simulated data; not PAD performance."
DESCRIPTION = "dataset.json"
LOCK = ".lock"
"""In the folder of the data for as long as a process makes them: another one waits, and then finds them."""
_MARGIN_PX = (92, 24)


@dataclass(frozen=True)
class Simulation:
    """What every simulated data set is made from.

    Attributes:
        seed: of all random streams.
        frame_px: side of the captured image or frame.
        source_px: side of the rendered scene, and of the photographs that attacks copy.
    """

    seed: int = 2024
    frame_px: int = 256
    source_px: int = 512

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            UserError: a size or the seed is out of range.
        """
        for name, low in (("frame_px", 32), ("source_px", 64)):
            size_px = getattr(self, name)
            if size_px < low or size_px % 2:
                raise UserError(f"{name} is {size_px}", remedy=f"Use an even number of at least {low}.")
        self.check_at_least("seed", 0)

    def check_at_least(self, name: str, low: int) -> None:
        """Refuse a field that is smaller than `low`.

        Raises:
            UserError: it is.
        """
        if getattr(self, name) < low:
            raise UserError(f"{name} is {getattr(self, name)}", remedy=f"Use a whole number from {low}.")

    @property
    def settings(self) -> dict[str, Any]:
        """Field -> value, for the digest and the description.

        What the first version did not know is left out where it says what that version did, so that its
        folders keep their names.
        """
        fields = asdict(self)
        return {name: value for name, value in fields.items() if _OF_FIRST_VERSION.get(name) != value}

    def digest_with(self, version: int | list[int]) -> str:
        """Eight hexadecimal digits that name this recipe made by this version."""
        text = json.dumps({"version": version, **self.settings}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def description(
        self, name: str, version: int, conditions: Mapping[str, object], layout: str | None = None
    ) -> str:
        """Content of the description that lies in the folder of the data.

        Args:
            name: of the data set.
            version: of its generator.
            conditions: names of cameras, sites or instruments.
            layout: the published data set that the folder is laid out like; None for manifests.
        """
        content = {
            "name": name,
            "simulated": True,
            "notice": NOTICE,
            **({} if layout is None else {"layout": layout}),
            "seed": self.seed,
            "version": version,
            "frame_px": self.frame_px,
            "recipe": self.settings,
            **conditions,
        }
        return json.dumps(content, indent=2) + "\n"


class Job(Protocol):
    """Some files of a data set, made by one process."""

    def make(self, folder: Path) -> None:
        """Make those that are not in the folder yet."""


@dataclass(frozen=True)
class Stage:
    """Jobs that belong together, and the lists of their files.

    Attributes:
        jobs: in any order.
        images_per_job: images or videos that each makes.
        lists: path below the folder -> content; asked for and written when all jobs have ended.
    """

    jobs: Sequence[Job]
    images_per_job: int
    lists: Callable[[], Mapping[str, str]]


def make(
    folder: Path,
    description: str,
    stages: Sequence[Stage],
    processes: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make what is not there yet: the description first, then stage by stage the images and their lists.

    Args:
        folder: of the data set.
        description: content of its `dataset.json`.
        stages: what it consists of.
        processes: how many work at a time; the bytes do not depend on it.
        progress: called with the number of images done and the total.

    Raises:
        EnvironmentFailed: the folder cannot be written, or the disk is full.
    """
    if not (folder / DESCRIPTION).exists():
        write_atomically(folder / DESCRIPTION, description)
    total = sum(len(stage.jobs) * stage.images_per_job for stage in stages)
    done = 0
    for stage in stages:
        for _ in _run(stage.jobs, folder, processes):
            done += stage.images_per_job
            if progress is not None:
                progress(done, total)
        for path, text in stage.lists().items():
            if not (folder / path).exists():
                write_atomically(folder / path, text)


def process_count(processes: int | None) -> int:
    """The number asked for, or one for each core that this process may use.

    Raises:
        ValueError: fewer than one process.
    """
    if processes is None:
        return usable_cores()
    if processes < 1:
        raise ValueError(f"processes is {processes}, at least 1 is needed")
    return processes


def _run(jobs: Sequence[Job], folder: Path, processes: int) -> Iterator[None]:
    """Run the jobs, yielding as each ends. One thread a job: the bytes do not depend on `processes`."""
    run = functools.partial(_make_in, str(folder))
    if processes == 1 or len(jobs) < 2:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from map(run, jobs)
        finally:
            cv2.setNumThreads(threads)
        return
    yield from results(run, jobs, min(processes, len(jobs)), _begin)


def _make_in(folder: str, job: Job) -> None:
    job.make(Path(folder))


def _begin() -> None:
    cv2.setNumThreads(1)


def draw_contact_sheet(
    out_png: Path,
    rows: Sequence[tuple[str, Iterable[tuple[Picture, str] | None]]],
    columns: int,
    tile_px: int,
) -> None:
    """Write a picture of labelled rows of small images.

    Args:
        out_png: the file.
        rows: label of each row, and its images with their captions; None leaves a tile white.
        columns: tiles in a row.
        tile_px: side of a tile.

    Raises:
        EnvironmentFailed: the picture cannot be written.
    """
    from PIL import Image, ImageDraw

    left, top = _MARGIN_PX
    sheet = Image.new("RGB", (left + columns * tile_px, top + len(rows) * tile_px), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((6, 6), NOTICE[0].lower() + NOTICE[1:-1], fill="black")
    for number, (label, tiles) in enumerate(rows):
        y = top + number * tile_px
        draw.text((6, y + 6), label, fill="black")
        for column, tile in enumerate(tiles):
            if tile is not None:
                image, caption = tile
                sheet.paste(image.resize((tile_px, tile_px)), (left + column * tile_px, y))
                draw.text((left + column * tile_px + 3, y + tile_px - 13), caption, fill="yellow")
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_atomically(out_png, data.getvalue())
