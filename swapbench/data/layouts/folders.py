"""A folder of images or videos that says by its folders what they show: `live/` and `spoof/`.

Folders are named in the words people use (`words`): a class (live, real, bona fide, genuine; spoof, fake,
attack), with train, val or dev, and test above or below it, or without any splits: then all is test. A
folder below an attack is its species (`spoof/print/a.jpg`). A folder that is there below both classes is a
person (`live/alice/1.jpg`, `spoof/print/alice/1.jpg`); so is a number in every file name behind subject,
client, person or user (`subject07_3.jpg`). Otherwise each file counts as a person of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swapbench.data.layouts.corpus import Contents, Layout, entries, odd_names
from swapbench.data.samples import VIDEO_SUFFIXES, Presentation
from swapbench.data.words import NO_SPECIES, is_bona_fide, split_named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpeg", ".jpg"),
        *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
"""Suffixes that say that a file is to be an image, also where it cannot be read."""

_PERSON = re.compile(r"(?:subject|subj|client|person|user)[_\-]?(\d+)(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class _File:
    """A file below a class: the split of its folders, and the folders between the class and the file."""

    path: Path
    split: str
    bona_fide: bool
    folders: tuple[str, ...]


def recognised(root: Path) -> bool:
    """True where a folder, or one within a split, is named after a class."""
    return any(True for _ in _class_folders(root))


def _class_folders(root: Path) -> Iterator[tuple[Path, str, bool]]:
    """Every folder of a class with its split, "" where the folders say none; both in either order."""
    for outer in entries(root)[1]:
        outer_class, outer_split = is_bona_fide(outer), split_named(outer)
        if outer_class is None and outer_split is None:
            continue
        inner = entries(root / outer)[1]
        if outer_class is None:
            for name in inner:
                inner_class = is_bona_fide(name)
                if inner_class is not None:
                    yield root / outer / name, outer_split or "", inner_class
            continue
        splits = [(name, split) for name in inner if (split := split_named(name)) is not None]
        for name, split in splits:
            yield root / outer / name, split, outer_class
        if not splits:
            yield root / outer, "", outer_class


def _contents(root: Path, _published: bool) -> Contents:
    found: list[_File] = []
    odd: list[str] = []
    for folder, split, bona_fide in _class_folders(root):
        for path in _files(folder):
            if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and path.is_file():
                found.append(_File(path, split or "test", bona_fide, path.relative_to(folder).parts[:-1]))
            else:
                odd.append(path.relative_to(root).as_posix())
    people = set.intersection(
        *(
            {name for file in found if file.bona_fide == real for name in file.folders}
            for real in (True, False)
        )
    )
    numbered = bool(found) and all(_PERSON.search(file.path.name) for file in found)
    presentations = tuple(_presentation(root, file, people, numbered=numbered) for file in found)
    species = {item.species for item in presentations if item.label == "attack"}
    remarks = ["each file counts as one presentation"]
    if any(item.subject == item.name for item in presentations):
        remarks.append(
            "no folder or file name tells who is shown: each file counts as a person of its own, so intervals"
            " are too narrow"
        )
    if species == {NO_SPECIES}:
        remarks.append("no folders of species: all attacks count as one, so APCER is pooled")
    findings = odd_names("a folder of images", root.resolve().name, odd)
    return Contents(presentations, findings=findings, remarks=tuple(remarks))


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files below a folder, in the order of their names; links to a folder above are not followed."""
    if folder.resolve() in above:
        return
    files, folders = entries(folder)
    yield from (folder / name for name in files)
    for name in folders:
        yield from _files(folder / name, (*above, folder.resolve()))


def _presentation(root: Path, file: _File, people: set[str], *, numbered: bool) -> Presentation:
    name = file.path.relative_to(root).as_posix()
    person = next((folder for folder in file.folders if folder in people), None)
    number = _PERSON.search(file.path.name) if numbered else None
    species = next((folder for folder in file.folders if folder not in people), NO_SPECIES)
    return Presentation(
        name=name,
        path=file.path,
        video=file.path.suffix.lower() in VIDEO_SUFFIXES,
        subject=person or (f"subject {int(number[1])}" if number else name),
        label="bona_fide" if file.bona_fide else "attack",
        species="" if file.bona_fide else species,
        split=file.split,
    )


LAYOUT = Layout(
    letter="",
    key="folders",
    title="",
    marks=(),
    contents=_contents,
    official={},
    recognised=recognised,
)
