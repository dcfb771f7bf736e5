"""What a reader finds below the root of a dataset: names, people, species, and what is missing or odd.

A reader lists folders and parses names; it opens no video and no image. It stops at nothing that it finds: what is wrong
becomes a value here, so that a check can list all of it and an evaluation can refuse it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.data.dataset import read_about
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swapbench.data.samples import Presentation

BONA_FIDE = "bona_fide"
"""How counts name the presentations without a species."""


def kind(species: str) -> str:
    """The key of a count: the species of an attack, `BONA_FIDE` for a bona fide presentation."""
    return species or BONA_FIDE


@dataclass(frozen=True)
class Contents:
    """What a reader found below a root.

    presentations, missing: those with a file, and those that a list or the layout's rule names but that have none. Their
    `split` is the dataset's own ("" where it has none).
    faults: why it cannot be used as it is; findings: what else is odd, counted and named; remarks: what a reader of the
    numbers must know about this dataset.
    """

    presentations: tuple[Presentation, ...]
    missing: tuple[Presentation, ...] = ()
    faults: tuple[BadDataset, ...] = ()
    findings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus(Contents):
    """The same with the dataset's names.

    letter: in the literature's cross-dataset protocols, empty where it has none; title: its name in a table, the tree's own
    where the data are simulated; splits: those that the dataset comes with; official: published counts by (split, kind), where kind "" is a whole split; empty for a
    simulated tree, of which nothing is expected.
    """

    letter: str = ""
    key: str = ""
    title: str = ""
    root: Path = Path()
    splits: tuple[str, ...] = ()
    official: Mapping[tuple[str, str], int] = field(default_factory=dict)
    simulated: bool = False
    notice: str = ""


@dataclass(frozen=True)
class Layout:
    """How a dataset lies on disk.

    marks: sub folders of which any one gives it away; contents: its reader, which is told whether the published set is
    expected (True) or a simulated tree with people and counts of its own; official: as in `Corpus`.
    """

    letter: str
    key: str
    title: str
    marks: tuple[str, ...]
    contents: Callable[[Path, bool], Contents]
    official: Mapping[tuple[str, str], int]

    def recognises(self, root: Path) -> bool:
        """True where `root` holds one of the marks."""
        return any((root / mark).is_dir() for mark in self.marks)

    def read(self, root: Path) -> Corpus:
        """List everything below `root`. A dataset.json there may say that the tree is simulated.

        Raises BadDataset for a dataset.json or a folder that cannot be read.
        """
        about = read_about(root) if (root / "dataset.json").is_file() else None
        simulated = about is not None and about.simulated
        found = self.contents(root, not simulated)
        return Corpus(
            presentations=found.presentations,
            missing=found.missing,
            faults=found.faults,
            findings=found.findings,
            remarks=found.remarks,
            letter=self.letter,
            key=self.key,
            title=about.name if about is not None and simulated else self.title,
            root=root,
            splits=tuple(dict.fromkeys(split for split, _ in self.official)),
            official={} if simulated else self.official,
            simulated=simulated,
            notice=about.notice if about is not None else "",
        )


def entries(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the files and of the folders in a folder, hidden ones left out; nothing where there is no folder.

    Raises BadDataset for a folder that cannot be listed.
    """
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(entry.name)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BadDataset(f"cannot list {folder}: {error.strerror}") from error
    return sorted(files), sorted(folders)


def many(count: int, noun: str) -> str:
    """A number of things, as 1 clip or 2 clips."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def some(names: Sequence[str], limit: int = 3) -> str:
    """The first names of many, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def odd_names(title: str, place: str, names: Sequence[str]) -> tuple[str, ...]:
    """The finding about names that the dataset does not use; none where there are none."""
    if not names:
        return ()
    return (f"{place}: left out {many(len(names), 'name')} that {title} does not use ({some(names)})",)


def absent(root: Path, name: str, what: str) -> BadDataset:
    """The fault about an official folder or list that is not there at all."""
    return BadDataset(f"{root} has no {name}", remedy=what)
