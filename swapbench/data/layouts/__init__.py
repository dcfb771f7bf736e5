"""Datasets in the layouts in which they are distributed, recognised by their folders.

One module per dataset, which defines its `LAYOUT`; a new one is a module like these and an entry in
`LAYOUTS`. What they have in common is in `corpus`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.data.layouts import casia, casia_surf, celeba, folders, msu, oulu, replay, wmca
from swapbench.data.layouts.corpus import Contents, Corpus, FaceFormat, Layout, entries
from swapbench.errors import BadDataset, UnknownName

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["LAYOUTS", "Contents", "Corpus", "FaceFormat", "Layout", "face_format", "find", "recognise"]

LAYOUTS: tuple[Layout, ...] = (
    *(oulu.LAYOUT, casia.LAYOUT, replay.LAYOUT, msu.LAYOUT, celeba.LAYOUT, casia_surf.LAYOUT),
    wmca.LAYOUT,
    folders.LAYOUT,
)
"""In the order in which they are tried: published datasets before folders that anybody names so."""


def face_format(name: str) -> FaceFormat:
    """The annotation format of this name."""
    return {layout.faces.name: layout.faces for layout in LAYOUTS if layout.faces is not None}[name]


def recognise(root: Path) -> Layout | None:
    """The layout of a folder; None where it has none of `LAYOUTS`."""
    return next((layout for layout in LAYOUTS if layout.recognises(root)), None)


def find(data_root: Path, wanted: Collection[str] = ()) -> dict[str, Path]:
    """Letter -> root of the datasets that `data_root` and its direct sub folders are.

    Args:
        data_root: a folder that holds datasets
        wanted: letters of datasets that must be there once

    Raises:
        UnknownName: no dataset has a wanted letter
        BadDataset: a wanted dataset is not there, or there twice
    """
    letters = [layout.letter for layout in LAYOUTS if layout.letter]
    unknown = [letter for letter in wanted if letter not in letters]
    if unknown:
        raise UnknownName("dataset letter", unknown[0], letters)
    if not data_root.is_dir():
        raise BadDataset(
            f"there is no folder {data_root}", remedy="--data-root must hold one folder per dataset."
        )
    roots_of: dict[str, list[Path]] = {}
    for root in (data_root, *(data_root / name for name in entries(data_root)[1])):
        layout = recognise(root)
        if layout is not None and layout.letter:
            roots_of.setdefault(layout.letter, []).append(root)
    for letter in wanted:
        title = next(layout.title for layout in LAYOUTS if layout.letter == letter)
        if letter not in roots_of:
            available = ", ".join(
                f"{letter} in {roots[0].name}" for letter, roots in sorted(roots_of.items())
            )
            raise BadDataset(
                f"no folder in {data_root} has the layout of {title} ({letter})",
                remedy=f"It holds {available or 'no known dataset'}.",
            )
        if len(roots_of[letter]) > 1:
            raise BadDataset(
                f"{data_root} holds {title} ({letter}) {len(roots_of[letter])} times:"
                f" {', '.join(root.name for root in roots_of[letter])}",
                remedy="Keep one of them below the data root.",
            )
    return {letter: roots[0] for letter, roots in roots_of.items()}
