"""The simulated data set: who is in it, which cameras and instruments, which split, and its files on disk.

Knows the layout and the recipe. Must not know how a face is drawn or a print is made. Everything about every
image is planned from the recipe before the first pixel, and each image has its own random stream, so that a
split, an order or a number of processes never changes a byte.

Simulated data; not PAD performance.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import signal
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from swapbench.data.dataset import COLUMNS, SPLITS, Dataset, manifest_path
from swapbench.errors import BadDataset, UnknownName, UserError
from swapbench.files import disk_failure, write_atomically
from swapbench.simulate import recapture
from swapbench.simulate.faces import Identity, Scene, face_box, render
from swapbench.simulate.recapture import (
    STUDIO,
    Camera,
    Display,
    Framing,
    Pixels,
    Printer,
    Sheet,
    Shot,
    Showing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Job = TypeVar("_Job")

VERSION = 1
"""Of the generator; raised whenever the bytes it makes change."""

NOTICE = "Simulated data; not PAD performance."


@dataclass(frozen=True)
class Recipe:
    """What to make. Identities are counts per split over all domains, captures are per identity."""

    seed: int = 2024
    frame_px: int = 256
    source_px: int = 512
    train_identities: int = 960
    dev_identities: int = 60
    test_identities: int = 100
    train_captures: tuple[int, int, int] = (4, 2, 2)
    dev_captures: tuple[int, int, int] = (2, 1, 1)
    test_captures: tuple[int, int, int] = (2, 2, 2)

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            UserError: a size, a count or a seed is out of range.
        """
        if self.frame_px < 32 or self.frame_px % 2:
            raise UserError(f"frame_px is {self.frame_px}", remedy="Use an even number of at least 32.")
        if self.source_px < 64 or self.source_px % 2:
            raise UserError(f"source_px is {self.source_px}", remedy="Use an even number of at least 64.")
        if self.seed < 0:
            raise UserError(
                f"the seed of the simulated data is {self.seed}", remedy="Use a whole number from 0."
            )
        for split in SPLITS:
            if self.identities(split) < 0 or len(self.captures(split)) != 3 or min(self.captures(split)) < 0:
                raise UserError(f"identities or captures of {split} are negative or not three numbers")

    def identities(self, split: str) -> int:
        """Number of people in a split."""
        return {"train": self.train_identities, "dev": self.dev_identities, "test": self.test_identities}[
            split
        ]

    def captures(self, split: str) -> tuple[int, int, int]:
        """Bona fide, print and replay images of each person of a split."""
        return {"train": self.train_captures, "dev": self.dev_captures, "test": self.test_captures}[split]

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that name this recipe made by this version."""
        text = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Light:
    """Light of one session: ranges from which each scene draws."""

    name: str
    azimuth_deg: tuple[float, float]
    elevation_deg: tuple[float, float]
    ambient: tuple[float, float]
    kelvin: tuple[float, float]

    def scene(self, rng: np.random.Generator) -> Scene:
        """A scene under this light."""
        return Scene.draw(rng, self.azimuth_deg, self.elevation_deg, self.ambient, self.kelvin)


@dataclass(frozen=True)
class Domain:
    """A place where data was collected. The last printer and the last display are for the test split only."""

    name: str
    cameras: tuple[Camera, ...]
    lights: tuple[Light, ...]
    printers: tuple[Printer, ...]
    displays: tuple[Display, ...]


DOMAINS = (
    Domain(
        "A",
        (Camera("A-phone", 0.42, 0.014, 0.004, 0.05, 1.10, 1.05, 0.45), Camera("A-tablet", 0.55, 0.020, 0.006, 0.10, 1.00, 1.00, 0.25)),
        (Light("A-office", (-50, 50), (20, 55), (0.50, 0.80), (4000, 6000)), Light("A-window", (-75, 75), (0, 25), (0.25, 0.55), (5500, 8000))),
        (Printer("A-laser", 1.75, False, 0.22, 0.85, 0.75), Printer("A-inkjet", 1.0, True, 0.20, 0.90, 0.55, paper=(0.84, 0.84, 0.86), gloss=0.10),
         Printer("A-press", 2.25, False, 0.30, 0.80, 0.85, paper=(0.80, 0.78, 0.72))),
        (Display("A-monitor", 1.95, 0.42), Display("A-phone-lcd", 1.60, 0.55, 2.15, (0.92, 1.0, 1.12), 0.015, 0.04, 0.20, 0.03),
         Display("A-laptop", 2.20, 0.40, 2.3, (0.97, 1.0, 1.0), 0.035, 0.12, 0.10, 0.06)),
    ),
    Domain(
        "B",
        (Camera("B-webcam", 0.62, 0.024, 0.008, 0.12, 0.95, 0.95, 0.60), Camera("B-phone", 0.45, 0.016, 0.005, 0.06, 1.15, 1.05, 0.35)),
        (Light("B-lamp", (-60, 60), (10, 45), (0.30, 0.60), (2900, 4200)), Light("B-ceiling", (-30, 30), (40, 70), (0.45, 0.75), (3800, 5200))),
        (Printer("B-laser", 2.0, False, 0.26, 0.80, 0.80, paper=(0.83, 0.83, 0.83)), Printer("B-copier", 2.5, False, 0.32, 0.90, 0.90, paper=(0.82, 0.82, 0.80)),
         Printer("B-photo", 0.9, True, 0.22, 0.92, 0.5, gloss=0.14, paper=(0.88, 0.88, 0.88))),
        (Display("B-tablet", 1.85, 0.50, 2.2, (0.95, 1.0, 1.05), 0.02, 0.05, 0.22, 0.03), Display("B-television", 2.40, 0.40, 2.4, (0.90, 1.0, 1.15), 0.03, 0.10, 0.12, 0.08),
         Display("B-phone-oled", 1.70, 0.50, 2.2, (0.96, 1.0, 1.06), 0.004, 0.0, 0.22, 0.07)),
    ),
    Domain(
        "C",
        (Camera("C-phone", 0.40, 0.012, 0.003, 0.04, 1.20, 1.10, 0.50), Camera("C-compact", 0.50, 0.012, 0.004, 0.06, 1.05, 1.00, 0.30)),
        (Light("C-daylight", (-80, 80), (10, 60), (0.45, 0.75), (5200, 7500)), Light("C-shade", (-40, 40), (20, 60), (0.65, 0.9), (6500, 9000))),
        (Printer("C-offset", 1.5, False, 0.20, 0.85, 0.70, gloss=0.08), Printer("C-inkjet", 1.1, True, 0.24, 0.85, 0.60, paper=(0.85, 0.85, 0.82)),
         Printer("C-laser", 1.9, False, 0.24, 0.82, 0.8)),
        (Display("C-phone-lcd", 1.55, 0.55, 2.2, (0.93, 1.0, 1.10), 0.02, 0.05, 0.22, 0.03), Display("C-monitor", 2.05, 0.42, 2.2, (1.0, 1.0, 0.98), 0.03, 0.08, 0.08, 0.05),
         Display("C-tablet", 1.90, 0.48, 2.25, (0.95, 1.0, 1.04), 0.02, 0.04, 0.2, 0.04)),
    ),
    Domain(
        "D",
        (Camera("D-kiosk", 0.58, 0.018, 0.006, 0.10, 1.00, 0.95, 0.70), Camera("D-phone", 0.46, 0.020, 0.006, 0.08, 1.08, 1.00, 0.40)),
        (Light("D-hall", (-70, 70), (25, 65), (0.35, 0.65), (3500, 5500)), Light("D-night", (-60, 60), (-5, 30), (0.20, 0.50), (3000, 6500))),
        (Printer("D-copier", 2.1, False, 0.28, 0.85, 0.85, paper=(0.80, 0.80, 0.79)), Printer("D-photo", 0.95, True, 0.20, 0.90, 0.5, gloss=0.14),
         Printer("D-poster", 2.75, False, 0.34, 0.82, 0.8, paper=(0.84, 0.83, 0.80))),
        (Display("D-laptop", 2.15, 0.42, 2.2, (0.97, 1.0, 1.02), 0.035, 0.12, 0.12, 0.06), Display("D-phone-oled", 1.75, 0.50, 2.2, (0.97, 1.0, 1.05), 0.004, 0.0, 0.22, 0.07),
         Display("D-television", 2.50, 0.38, 2.4, (0.90, 1.0, 1.14), 0.03, 0.1, 0.12, 0.09)),
    ),
)  # fmt: skip
"""Four places with different cameras, lights, printers and displays."""


@dataclass(frozen=True)
class Capture:
    """One image to be made, fully decided: nothing is drawn after this but sensor noise."""

    path: str
    subject: str
    species: str
    domain: str
    split: str
    light: str
    camera: Camera
    shot: Shot
    scene: Scene
    framing: Framing
    noise: tuple[int, ...]
    photo: int | None = None
    photo_shot: Shot | None = None
    printer: Printer | None = None
    sheet: Sheet | None = None
    display: Display | None = None
    showing: Showing | None = None

    @property
    def row(self) -> dict[str, str]:
        """Line of the manifest."""
        instrument = self.printer or self.display
        box = [str(round(x)) for x in self.framing.box]
        values = (
            self.path, "0", self.subject, "attack" if self.species else "bona_fide", self.species, self.domain,
            self.light, self.camera.name, self.split, instrument.name if instrument else "", *box,
        )  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))


def stream(*words: int) -> np.random.Generator:
    """Random numbers that depend on these words alone, and on no other stream."""
    return np.random.default_rng(np.random.SeedSequence(words))


def subject_number(recipe: Recipe, split: str, index: int) -> int:
    """Number of a person that is unique over all splits."""
    return sum(recipe.identities(s) for s in SPLITS[: SPLITS.index(split)]) + index


def person(recipe: Recipe, split: str, index: int) -> Identity:
    """The person behind a place in a split; no two places share one."""
    # Odd multiplication modulo a power of two is a bijection: distinct numbers stay distinct people.
    number = SPLITS.index(split) * 1_000_003 + index + recipe.seed * 8_000_009
    return Identity.draw(number * 0x9E3779B97F4A7C15 % 2**64)


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)


def plan(recipe: Recipe, split: str, index: int) -> tuple[Capture, ...]:
    """All captures of one person, decided from the recipe alone.

    Raises:
        UnknownName: the split is not one of `SPLITS`.
    """
    _check_split(split)
    domain = DOMAINS[index % len(DOMAINS)]
    words = (recipe.seed, SPLITS.index(split), index)
    subject = f"s{subject_number(recipe, split, index):04d}"
    captures = []
    for kind, (species, count) in enumerate(
        zip(("", "print", "replay"), recipe.captures(split), strict=True)
    ):
        for number in range(count):
            rng = stream(*words, kind, number)
            light = domain.lights[int(rng.integers(len(domain.lights)))]
            camera = domain.cameras[int(rng.integers(len(domain.cameras)))]
            shot = Shot.draw(rng, recipe.frame_px)
            photo = None
            scene = light.scene(rng)
            if species:
                photo = number % 2 if split == "train" else 0
                other = stream(*words, 3, photo)
                scene = domain.lights[int(other.integers(len(domain.lights)))].scene(other)
            framing = Framing.draw(rng, face_box(scene, recipe.source_px), recipe.source_px, recipe.frame_px)
            known = (index // len(DOMAINS) + number) % (len(domain.printers) - 1)
            which = -1 if split == "test" and number % 2 else known
            captures.append(
                Capture(
                    path=f"{split}/{domain.name}/{subject}/{species or 'bona-fide'}-{number}.jpg",
                    subject=subject, species=species, domain=domain.name, split=split, light=light.name,
                    camera=camera, shot=shot, scene=scene, framing=framing, noise=(*words, kind, number, 7),
                    photo=photo, photo_shot=studio_shot(stream(*words, 4, photo)) if photo is not None else None,
                    printer=domain.printers[which] if species == "print" else None,
                    sheet=Sheet.draw(rng) if species == "print" else None,
                    display=domain.displays[which] if species == "replay" else None,
                    showing=Showing.draw(rng) if species == "replay" else None,
                )
            )  # fmt: skip
    return tuple(captures)


def studio_shot(rng: np.random.Generator) -> Shot:
    """The shutter release of a photograph that is meant to be copied: well exposed, sharp, little compressed."""
    return Shot(
        exposure=float(0.2 * np.exp(rng.normal(0, 0.15))),
        white_balance=(float(np.exp(rng.normal(0, 0.04))), 1.0, float(np.exp(rng.normal(0, 0.04)))),
        adaptation=0.8,
        quality=int(rng.integers(88, 97)),
    )


def studio_photo(who: Identity, scene: Scene, shot: Shot, rng: np.random.Generator, source_px: int) -> Pixels:
    """The photograph of somebody that is later printed or shown, as it is read back from its file: sRGB bytes."""
    data = STUDIO.photograph(render(who, scene, source_px)[0], shot, rng, supersampling=1)
    stored = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(stored[..., ::-1], np.uint8)


def _make(job: tuple[str, Recipe, str, int]) -> int:
    """Make the images of one person that are not there yet; returns how many that were."""
    folder, recipe, split, index = job
    missing = [c for c in plan(recipe, split, index) if not Path(folder, c.path).exists()]
    if not missing:
        return 0
    who = person(recipe, split, index)
    photos: dict[int, Pixels] = {}
    for capture in missing:
        write_atomically(Path(folder, capture.path), _expose(capture, who, recipe, photos))
    return len(missing)


def _expose(capture: Capture, who: Identity, recipe: Recipe, photos: dict[int, Pixels]) -> bytes:
    rng = stream(*capture.noise)
    if capture.photo is None:
        radiance = recapture.bona_fide(render(who, capture.scene, recipe.source_px)[0], capture.framing)
        return capture.camera.photograph(radiance, capture.shot, rng)
    if capture.photo not in photos and capture.photo_shot is not None:
        # The photograph's own noise must not depend on which of its recaptures is made first.
        own = stream(*capture.noise[:3], 5, capture.photo)
        photos[capture.photo] = studio_photo(who, capture.scene, capture.photo_shot, own, recipe.source_px)
    photo = photos[capture.photo]
    if capture.printer is not None and capture.sheet is not None:
        radiance = recapture.printed(photo, capture.printer, capture.sheet, capture.framing)
    elif capture.display is not None and capture.showing is not None:
        radiance = recapture.replayed(photo, capture.display, capture.showing, capture.framing)
    else:
        raise ValueError(f"{capture.path} is an attack without an instrument")
    return capture.camera.photograph(radiance, capture.shot, rng)


def _manifest(recipe: Recipe, split: str) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for index in range(recipe.identities(split)):
        writer.writerows(c.row for c in plan(recipe, split, index))
    return text.getvalue()


def _description(recipe: Recipe) -> str:
    content = {
        "name": "simulated", "simulated": True, "notice": NOTICE, "seed": recipe.seed, "version": VERSION,
        "frame_px": recipe.frame_px, "recipe": {f.name: getattr(recipe, f.name) for f in fields(recipe)},
        "domains": [d.name for d in DOMAINS],
    }  # fmt: skip
    return json.dumps(content, indent=2) + "\n"


def _begin() -> None:
    # The parent stops the workers; were they to see Ctrl-C too, each would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def process_count(processes: int | None) -> int:
    """The number asked for, or one for each core that this process may run on.

    Raises:
        ValueError: fewer than one process.
    """
    if processes is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if processes < 1:
        raise ValueError(f"processes is {processes}, at least 1 is needed")
    return processes


def each(make: Callable[[_Job], int], jobs: Sequence[_Job], processes: int) -> Iterator[int]:
    """What `make` returns for each job, as they end. One thread a job: the bytes do not depend on `processes`."""
    if processes == 1 or len(jobs) < 2:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from map(make, jobs)
        finally:
            cv2.setNumThreads(threads)
        return
    pool = multiprocessing.get_context("spawn").Pool(min(processes, len(jobs)), _begin)
    try:
        yield from pool.imap_unordered(make, jobs)
        pool.close()
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.terminate()
        pool.join()


def simulate(
    root: Path,
    recipe: Recipe | None = None,
    splits: Sequence[str] = SPLITS,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make the splits that are not complete yet under ``root`` and return the folder of the data set.

    The folder is named by recipe and version. A split is complete when its manifest is there, which is written
    last; until then finished images are kept and only the missing ones are made. ``progress`` hears the number
    of images done and the total. The bytes do not depend on ``processes`` or on what was made before.

    Raises:
        UnknownName: there is no such split.
        EnvironmentFailed: the folder cannot be written, or the disk is full.
        ValueError: fewer than one process.
    """
    recipe = Recipe() if recipe is None else recipe
    for split in splits:
        _check_split(split)
    processes = process_count(processes)
    folder = Path(root) / f"simulated-{recipe.digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        todo = [s for s in SPLITS if s in splits and not manifest_path(folder, s).exists()]
        described = (folder / "dataset.json").exists()
    except OSError as error:
        raise disk_failure(error, folder) from error
    if not described:
        write_atomically(folder / "dataset.json", _description(recipe))
    total = sum(recipe.identities(s) * sum(recipe.captures(s)) for s in todo)
    done = 0
    for split in todo:
        jobs = [(str(folder), recipe, split, index) for index in range(recipe.identities(split))]
        for _ in each(_make, jobs, processes):
            done += sum(recipe.captures(split))
            if progress is not None:
                progress(done, total)
        write_atomically(manifest_path(folder, split), _manifest(recipe, split))
    return folder


def contact_sheet(folder: Path, out_png: Path, columns: int = 6, tile_px: int = 128) -> Path:
    """Write a picture with rows of bona fide, print and replay for each domain, and return its path.

    Raises:
        BadDataset: the folder has no finished split, or an image of it cannot be read.
        EnvironmentFailed: the picture cannot be written.
        ValueError: fewer than one column is asked for.
    """
    from PIL import Image as Picture
    from PIL import ImageDraw

    from swapbench.data.frames import load_frame

    if columns < 1:
        raise ValueError(f"columns is {columns}, at least 1 is needed")
    split = next((s for s in reversed(SPLITS) if manifest_path(folder, s).exists()), None)
    if split is None:
        raise BadDataset(
            f"{folder} has no manifest of a finished split", remedy="Make one with: swapbench data simulate"
        )
    samples = Dataset.load(folder, (split,)).samples(split)
    kinds = ("", "print", "replay")
    domains = [d.name for d in DOMAINS if any(sample.domain == d.name for sample in samples)]
    left, top = 92, 24
    sheet = Picture.new("RGB", (left + columns * tile_px, top + len(domains) * 3 * tile_px), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((6, 6), NOTICE[0].lower() + NOTICE[1:-1], fill="black")
    for place, domain in enumerate(domains):
        for line, species in enumerate(kinds):
            y = top + (3 * place + line) * tile_px
            draw.text((6, y + 6), f"{domain}\n{species or 'bona fide'}", fill="black")
            found = [s for s in samples if s.domain == domain and s.species == species][:columns]
            for column, sample in enumerate(found):
                try:
                    image = load_frame(sample.path)
                except (OSError, ValueError) as error:
                    raise BadDataset(f"cannot read {sample.path}: {error}") from error
                sheet.paste(image.resize((tile_px, tile_px)), (left + column * tile_px, y))
                draw.text((left + column * tile_px + 3, y + tile_px - 13), sample.instrument, fill="yellow")
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_atomically(out_png, data.getvalue())
    return out_png
