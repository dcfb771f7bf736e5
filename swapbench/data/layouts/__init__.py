"""Datasets in the layouts in which they are handed out, recognised by their folders.

One module a dataset; each defines `LAYOUT`. All that they have in common stands in `corpus`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.data.layouts import casia, celeba, msu, oulu, replay
from swapbench.data.layouts.corpus import Corpus, Layout, entries
from swapbench.errors import BadDataset, UnknownName

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["LAYOUTS", "Corpus", "Layout", "find", "recognise"]

LAYOUTS: tuple[Layout, ...] = (oulu.LAYOUT, casia.LAYOUT, replay.LAYOUT, msu.LAYOUT, celeba.LAYOUT)


def recognise(root: Path) -> Layout | None:
    """The layout that a folder is in; None where it is in none of `LAYOUTS`."""
    return next((layout for layout in LAYOUTS if layout.recognises(root)), None)


def find(data_root: Path, wanted: Collection[str] = ()) -> dict[str, Path]:
    """Letter -> root of the datasets that `data_root` or its direct sub folders are.

    Raises UnknownName for a wanted letter that no dataset has, and BadDataset where a wanted dataset is not there or is
    there twice.
    """
    letters = [layout.letter for layout in LAYOUTS if layout.letter]
    unknown = [letter for letter in wanted if letter not in letters]
    if unknown:
        raise UnknownName("dataset letter", unknown[0], letters)
    if not data_root.is_dir():
        raise BadDataset(f"there is no folder {data_root}", remedy="--data-root holds a folder a dataset.")
    found: dict[str, list[Path]] = {}
    for root in (data_root, *(data_root / name for name in entries(data_root)[1])):
        layout = recognise(root)
        if layout is not None and layout.letter:
            found.setdefault(layout.letter, []).append(root)
    for letter in wanted:
        title = next(layout.title for layout in LAYOUTS if layout.letter == letter)
        if letter not in found:
            there = ", ".join(f"{one} in {roots[0].name}" for one, roots in sorted(found.items()))
            raise BadDataset(
                f"{data_root} holds no folder in the layout of {title} ({letter})",
                remedy=f"Found there: {there or 'no known dataset'}.",
            )
        if len(found[letter]) > 1:
            raise BadDataset(
                f"{data_root} holds {title} ({letter}) {len(found[letter])} times:"
                f" {', '.join(root.name for root in found[letter])}",
                remedy="Keep one of them below the data root.",
            )
    return {letter: roots[0] for letter, roots in found.items()}
