"""What a reader finds below the root of a dataset: names, people, species, and what is missing or odd.

A reader lists folders and parses names; it opens no video and no image. It stops at nothing that it finds:
what is wrong becomes a value here, so that a check can list all of it and an evaluation can refuse it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.data.dataset import SPLITS, read_about
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.data.samples import Box, Presentation

BONA_FIDE = "bona_fide"
"""How counts name presentations without a species."""


def kind(species: str) -> str:
    """The key of a count: the species of an attack, `BONA_FIDE` for a bona fide presentation."""
    return species or BONA_FIDE


@dataclass(frozen=True)
class Contents:
    """What a reader found below a root.

    Attributes:
        presentations: those with a file; their `split` is the dataset's own ("" where it has none)
        missing: those that a list or the layout's rule names but that have no file
        faults: why the dataset cannot be used as it is
        findings: what else is odd, counted and named
        remarks: what a reader of the numbers must know about this dataset
    """

    presentations: tuple[Presentation, ...]
    missing: tuple[Presentation, ...] = ()
    faults: tuple[BadDataset, ...] = ()
    findings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus(Contents):
    """A dataset: its contents under its names.

    Attributes:
        letter: in the literature's cross-dataset protocols, empty where it has none
        key: its name in the names of presentations, where several datasets are used together
        title: its name in a table; the tree's own where the data are simulated
        root: the folder
        splits: those that the dataset comes with
        protocol: what the literature calls these splits, as in `Layout`
        official: published counts by (split, kind), where kind "" is a whole split; empty for a simulated
            tree, of which nothing is expected
        simulated: True where no real person is shown
        notice: what must be said wherever numbers from it are shown
    """

    letter: str = ""
    key: str = ""
    title: str = ""
    root: Path = Path()
    splits: tuple[str, ...] = ()
    protocol: str = ""
    official: Mapping[tuple[str, str], int] = field(default_factory=dict)
    simulated: bool = False
    notice: str = ""


@dataclass(frozen=True)
class FaceFormat:
    """How the lines of a dataset's annotation files say where the face is.

    Fields are numbers, separated by commas or spaces. A box without area says that there is no face.

    Attributes:
        name: of the format, part of the digests of its datasets
        fields: how many fields a line may have
        box: the fields behind the frame number -> box
        numbered: True where the first field is the frame's number, from 0; False where a file describes one
            image
        side_px: boxes are in pixels of the frame scaled to a square of this side; None: of the frame as it is
    """

    name: str
    fields: tuple[int, ...]
    box: Callable[[Sequence[float]], Box]
    numbered: bool = True
    side_px: int | None = None


@dataclass(frozen=True)
class Layout:
    """How a dataset lies on disk, and all that the package knows about it.

    Attributes:
        letter: as in `Corpus`
        key: as in `Corpus`
        title: as in `Corpus`; empty where each folder has a name of its own
        marks: folders below the root of which any one identifies the dataset
        contents: the reader: root -> contents; its second argument is True where the published set is
            expected, False for a simulated tree with people and counts of its own
        official: as in `Corpus`; empty where nothing was published, and the splits are those that are there
        protocol: what the literature calls the dataset's own splits; empty where it has no name for them
        faces: format of the dataset's annotation files; None where it has none
        recognised: identifies a root where no name of a folder is given; None: by `marks`
    """

    letter: str
    key: str
    title: str
    marks: tuple[str, ...]
    contents: Callable[[Path, bool], Contents]
    official: Mapping[tuple[str, str], int]
    protocol: str = ""
    faces: FaceFormat | None = None
    recognised: Callable[[Path], bool] | None = None

    def recognises(self, root: Path) -> bool:
        """True where `root` holds one of the marks, or is recognised otherwise."""
        if self.recognised is not None:
            return root.is_dir() and self.recognised(root)
        return any((root / mark).is_dir() for mark in self.marks)

    def _nothing(self, root: Path, contents: Contents) -> BadDataset:
        """The fault of a root with the folders of the dataset and none of its files."""
        found = "; ".join(contents.findings) or "its folders are empty"
        return BadDataset(
            f"no clip or image was recognised in {root}: {found}",
            remedy="Keep the names in which the dataset is handed out.",
        )

    def read(self, root: Path) -> Corpus:
        """List everything below `root`. A dataset.json there may say that the tree is simulated.

        Raises:
            BadDataset: a dataset.json or a folder cannot be read
        """
        about = read_about(root) if (root / "dataset.json").is_file() else None
        simulated = about is not None and about.simulated
        contents = self.contents(root, not simulated)
        explained = contents.missing or contents.faults
        if not contents.presentations and (contents.findings or not explained):
            contents = replace(contents, faults=(self._nothing(root, contents), *contents.faults))
        found = {presentation.split for presentation in contents.presentations}
        published = dict.fromkeys(split for split, _ in self.official)
        return Corpus(
            **vars(contents),
            letter=self.letter,
            key=self.key,
            title=about.name
            if about and (simulated or not self.title)
            else self.title or root.resolve().name,
            root=root,
            splits=tuple(published) or tuple(split for split in SPLITS if split in found),
            protocol=self.protocol,
            official={} if simulated else self.official,
            simulated=simulated,
            notice=about.notice if about is not None else "",
        )


def entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in a folder, sorted, without hidden ones.

    Both lists are empty where there is no folder.

    Raises:
        BadDataset: the folder cannot be listed
    """
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(entry.name)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BadDataset(f"cannot list {folder}: {error.strerror}") from error
    return sorted(files), sorted(folders)


def usual(name: str) -> str:
    """A file's name with its suffix in lower case, as datasets name their files: 1.AVI is 1.avi."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{suffix.lower()}" if dot else name


def counted(count: int, noun: str) -> str:
    """A number of things, as 1 clip or 2 clips."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def shortened(names: Sequence[str], limit: int = 3) -> str:
    """The first of the names, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def odd_names(title: str, place: str, names: Sequence[str]) -> tuple[str, ...]:
    """The finding about names that the dataset does not use, if there are any."""
    if not names:
        return ()
    return (
        f"{place}: left out {counted(len(names), 'name')} that {title} does not use ({shortened(names)})",
    )


def not_there(root: Path, name: str, remedy: str) -> BadDataset:
    """The fault of an official folder or list that is not there."""
    return BadDataset(f"{root} has no {name}", remedy=remedy)
