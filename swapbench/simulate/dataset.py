"""The simulated data set with manifests: who is in it, which cameras and instruments, which split.

Knows its recipe and its layout. Must not know how a face is drawn or a print is made.

Simulated data; not PAD performance.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from swapbench.data.dataset import SPLITS, Dataset
from swapbench.data.manifests import COLUMNS, manifest_path
from swapbench.errors import BadDataset, UnknownName, UserError
from swapbench.files import disk_failure, only_one, write_atomically
from swapbench.simulate import modalities, simulator
from swapbench.simulate.faces import Identity, face_box
from swapbench.simulate.presentation import (
    Photograph,
    Presentation,
    Print,
    Replay,
    Subject,
    draw_identity,
    stream,
    studio_shot,
)
from swapbench.simulate.simulator import LOCK, Simulation, Stage, draw_contact_sheet, process_count
from swapbench.simulate.worlds import STANDARD, world_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image as Picture

    from swapbench.data.samples import Sample
    from swapbench.simulate.domains import Domain

SPECIES = ("", "print", "replay")
"""What is captured of each person: bona fide, which is no attack species, and the two species of attack."""


MODALITIES = ("rgb", *modalities.MAKE)
"""What a capture can consist of; rgb is always there."""


def modalities_named(names: str) -> tuple[str, ...]:
    """The modalities of a text like rgb,depth,nir, in their order, with rgb.

    Raises:
        UnknownName: one does not exist.
    """
    wanted = {name.strip() for name in names.split(",")}
    for name in sorted(wanted):
        if name not in MODALITIES:
            raise UnknownName("modality", name, MODALITIES)
    return tuple(name for name in MODALITIES if name in wanted or name == MODALITIES[0])


_TRAIN, _DEV, _TEST = world_named(STANDARD).crowds


@dataclass(frozen=True)
class Recipe(Simulation):
    """What to make. `Recipe.of_world` gives every world its own numbers of people.

    Attributes:
        train_identities: people of the split, over all domains.
        dev_identities: the same.
        test_identities: the same.
        train_captures: bona fide, print and replay images of each person of the split.
        dev_captures: the same.
        test_captures: the same.
        world: number of the world.
        modalities: rgb first, and what is made beside it: depth, nir.
    """

    train_identities: int = _TRAIN.people
    dev_identities: int = _DEV.people
    test_identities: int = _TEST.people
    train_captures: tuple[int, int, int] = _TRAIN.captures
    dev_captures: tuple[int, int, int] = _DEV.captures
    test_captures: tuple[int, int, int] = _TEST.captures
    world: int = STANDARD
    modalities: tuple[str, ...] = MODALITIES[:1]

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            UserError: a size, a count or the seed is out of range.
            UnknownName: there is no such world.
        """
        super().__post_init__()
        world_named(self.world)
        if self.modalities != modalities_named(",".join(self.modalities)):
            raise UserError(
                f"the modalities are {self.modalities}", remedy=f"Give some of {MODALITIES}, in that order."
            )
        for split in SPLITS:
            counts = self.captures(split)
            if self.identities(split) < 0 or len(counts) != len(SPECIES) or min(counts) < 0:
                raise UserError(
                    f"the identities or captures of {split} are negative or not three numbers",
                    remedy="Give one number of people and three numbers of images for each split.",
                )

    @classmethod
    def of_world(cls, number: int = STANDARD, **changes: Any) -> Recipe:
        """The recipe of a world with its own numbers of people; `changes` name fields.

        Raises:
            UnknownName: there is no such world.
        """
        fields: dict[str, Any] = {"world": number}
        for split, crowd in zip(SPLITS, world_named(number).crowds, strict=True):
            fields |= {f"{split}_identities": crowd.people, f"{split}_captures": crowd.captures}
        return cls(**(fields | changes))

    def identities(self, split: str) -> int:
        """Number of people in a split."""
        counts = {"train": self.train_identities, "dev": self.dev_identities, "test": self.test_identities}
        return counts[split]

    def captures(self, split: str) -> tuple[int, int, int]:
        """Bona fide, print and replay images of each person of a split."""
        return {"train": self.train_captures, "dev": self.dev_captures, "test": self.test_captures}[split]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The sites of its world."""
        return world_named(self.world).domains

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that name this recipe made by this version."""
        revision = world_named(self.world).revision
        return self.digest_with(simulator.VERSION if revision == 1 else [simulator.VERSION, revision])


@dataclass(frozen=True)
class Capture(Presentation):
    """One image of the data set.

    Attributes:
        path: of the image, relative to the folder.
        subject: the person's name.
        species: attack instrument species, empty for bona fide.
        domain: name of the site.
        split: train, dev or test.
        light: name of the session's light.
        noise: words of the stream of the sensor noise.
    """

    path: str
    subject: str
    species: str
    domain: str
    split: str
    light: str
    noise: tuple[int, ...]

    def path_of(self, modality: str) -> str:
        """Where the file of a modality is, relative to the folder."""
        ending = modalities.SUFFIX.get(modality)
        return self.path if ending is None else str(PurePosixPath(self.path).with_suffix(ending))

    def file_of(self, modality: str, subject: Subject) -> bytes:
        """The content of that file."""
        if modality == MODALITIES[0]:
            radiance = subject.radiance(self)
            return self.camera.photograph(radiance, self.shot, stream(*self.noise))
        return modalities.MAKE[modality](subject, self, stream(*self.noise, MODALITIES.index(modality)))

    @property
    def row(self) -> dict[str, str]:
        """Line of the manifest, of the photograph alone."""
        values = (
            self.path,
            "0",
            self.subject,
            "attack" if self.attack else "bona_fide",
            self.species,
            self.domain,
            self.light,
            self.camera.name,
            self.split,
            self.attack.instrument if self.attack else "",
            *(str(round(x)) for x in self.framing.box),
        )
        return dict(zip(COLUMNS, values, strict=True))


def subject_number(recipe: Recipe, split: str, index: int) -> int:
    """Number of a person that is unique over all splits."""
    return sum(recipe.identities(s) for s in SPLITS[: SPLITS.index(split)]) + index


def person(recipe: Recipe, split: str, index: int) -> Identity:
    """The person with an index in a split; no two share a face."""
    return draw_identity(recipe.seed, SPLITS.index(split) * 1_000_003 + index)


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)


def plan(recipe: Recipe, split: str, index: int) -> tuple[Capture, ...]:
    """All captures of one person, decided from the recipe alone.

    Raises:
        UnknownName: the split is not one of `SPLITS`.
    """
    _check_split(split)
    return tuple(
        _capture(recipe, split, index, species, number)
        for species, count in zip(SPECIES, recipe.captures(split), strict=True)
        for number in range(count)
    )


def _capture(recipe: Recipe, split: str, index: int, species: str, number: int) -> Capture:
    domain = recipe.domains[index % len(recipe.domains)]
    subject = f"s{subject_number(recipe, split, index):04d}"
    words = (recipe.seed, SPLITS.index(split), index)
    rng = stream(*words, SPECIES.index(species), number)
    session = domain.sessions[int(rng.integers(len(domain.sessions)))]
    camera = session.cameras[int(rng.integers(len(session.cameras)))]
    shot = camera.shots.draw(rng, recipe.frame_px)
    scene = session.light.scene(rng)
    photo = number % 2 if split == "train" else 0
    if species:
        other = stream(*words, 3, photo)
        scene = domain.sessions[int(other.integers(len(domain.sessions)))].light.scene(other)
    framing = domain.framings.draw(rng, face_box(scene, recipe.source_px), recipe.source_px, recipe.frame_px)
    attack: Print | Replay | None = None
    if species:
        # The photograph's own noise must not depend on which of its recaptures is made first.
        photograph = Photograph(photo, studio_shot(stream(*words, 4, photo)), stream(*words, 5, photo))
        instruments = session.printers if species == "print" else session.displays
        place = _instrument_index(recipe, split, index, number, len(instruments))
        if species == "print":
            attack = Print(photograph, session.printers[place], domain.sheets.draw(rng))
        else:
            attack = Replay(photograph, session.displays[place], domain.showings.draw(rng))
    return Capture(
        camera=camera,
        shot=shot,
        scene=scene,
        framing=framing,
        attack=attack,
        path=f"{split}/{domain.name}/{subject}/{species or 'bona-fide'}-{number}.jpg",
        subject=subject,
        species=species,
        domain=domain.name,
        split=split,
        light=session.light.name,
        noise=(*words, SPECIES.index(species), number, 7),
    )


def _instrument_index(recipe: Recipe, split: str, index: int, number: int, count: int) -> int:
    """Which printer or display; every second attack of the test split uses the last, seen nowhere else."""
    if split == "test" and number % 2:
        return -1
    return (index // len(recipe.domains) + number) % (count - 1)


@dataclass(frozen=True)
class _Person:
    """All images of one person."""

    recipe: Recipe
    split: str
    index: int

    def make(self, folder: Path) -> None:
        """Make the files that are not there yet."""
        missing = [
            (capture, modality)
            for capture in plan(self.recipe, self.split, self.index)
            for modality in self.recipe.modalities
            if not (folder / capture.path_of(modality)).exists()
        ]
        if not missing:
            return
        subject = Subject(person(self.recipe, self.split, self.index), self.recipe.source_px)
        for capture, modality in missing:
            write_atomically(folder / capture.path_of(modality), capture.file_of(modality, subject))


def _manifest(recipe: Recipe, split: str) -> str:
    text = io.StringIO()
    beside = {f"path_{modality}": modality for modality in recipe.modalities[1:]}
    writer = csv.DictWriter(text, (*COLUMNS, *beside), lineterminator="\n")
    writer.writeheader()
    for index in range(recipe.identities(split)):
        for capture in plan(recipe, split, index):
            writer.writerow(
                capture.row | {column: capture.path_of(modality) for column, modality in beside.items()}
            )
    return text.getvalue()


def _stage(recipe: Recipe, split: str) -> Stage:
    return Stage(
        jobs=[_Person(recipe, split, index) for index in range(recipe.identities(split))],
        images_per_job=sum(recipe.captures(split)),
        lists=lambda: {manifest_path(Path(), split).name: _manifest(recipe, split)},
    )


def simulate(
    root: Path,
    recipe: Recipe | None = None,
    splits: Sequence[str] = SPLITS,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make the splits that are not complete yet and return the folder of the data set.

    A split is complete when its manifest is there, which is written last; until then finished images are kept
    and only the missing ones are made. The bytes do not depend on `processes` or on what was made before.

    Args:
        root: gets the folder, which is named by recipe and version.
        recipe: what to make.
        splits: which of `SPLITS`.
        processes: how many work at a time; None: one for each core.
        progress: called with the number of images done and the total.

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
    if _incomplete(folder, splits):
        with only_one(folder / LOCK):
            stages = [_stage(recipe, split) for split in _incomplete(folder, splits)]
            description = recipe.description(
                "simulated", simulator.VERSION, {"domains": [domain.name for domain in recipe.domains]}
            )
            simulator.make(folder, description, stages, processes, progress)
    return folder


def _incomplete(folder: Path, splits: Sequence[str]) -> list[str]:
    try:
        return [s for s in SPLITS if s in splits and not manifest_path(folder, s).exists()]
    except OSError as error:
        raise disk_failure(error, folder) from error


def contact_sheet(folder: Path, out_png: Path, columns: int = 6, tile_px: int = 128) -> Path:
    """Write a picture with rows of bona fide, print and replay for each domain, and return its path.

    Raises:
        BadDataset: the folder has no finished split, or an image of it cannot be read.
        EnvironmentFailed: the picture cannot be written.
        ValueError: fewer than one column is asked for.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}, at least 1 is needed")
    split = next((s for s in reversed(SPLITS) if manifest_path(folder, s).exists()), None)
    if split is None:
        raise BadDataset(
            f"{folder} has no manifest of a finished split", remedy="Make one with: swapbench data simulate"
        )
    samples = Dataset.load(folder, (split,)).samples(split)
    shown = {sample.domain for sample in samples}
    rows = [
        (
            f"{domain}\n{species or 'bona fide'}",
            _tiles([s for s in samples if (s.domain, s.species) == (domain, species)][:columns]),
        )
        for domain in sorted(shown)
        for species in SPECIES
    ]
    draw_contact_sheet(out_png, rows, columns, tile_px)
    return out_png


def _tiles(samples: Sequence[Sample]) -> Iterator[tuple[Picture, str]]:
    from swapbench.data.images import load_frame

    for sample in samples:
        yield load_frame(sample.path), sample.instrument
