"""CASIA-FASD (Zhang et al., ICB 2012): 600 clips of 50 people in three qualities, no development split.

`{train,test}_release/N/{1..8,HR_1..HR_4}.avi` with people 1 to 20 and 1 to 30: **the numbers start again in
test**, and the same number is somebody else there. Clips 1, 2, HR_1 are bona fide; 3, 4, HR_2 a warped photo;
5, 6, HR_3 a photo with cut eyes; 7, 8, HR_4 a video on a tablet. Odd numbers are the normal quality, even
ones the low, HR the high one; the quality is in `device` because each has a camera of its own. The maximum
over species is over warped, cut and video.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swapbench.data.layouts.corpus import Contents, Layout, entries, kind, not_there, odd_names, usual
from swapbench.data.samples import Presentation

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.errors import BadDataset

PEOPLE = {"train": range(1, 21), "test": range(1, 31)}
SPECIES = {
    **dict.fromkeys(("1", "2", "HR_1"), ""),
    **dict.fromkeys(("3", "4", "HR_2"), "warped"),
    **dict.fromkeys(("5", "6", "HR_3"), "cut"),
    **dict.fromkeys(("7", "8", "HR_4"), "video"),
}


def _contents(root: Path, published: bool) -> Contents:
    presentations: list[Presentation] = []
    missing: list[Presentation] = []
    faults: list[BadDataset] = []
    findings: list[str] = []
    for split, people in PEOPLE.items():
        folder = f"{split}_release"
        if not (root / folder).is_dir():
            faults.append(not_there(root, folder, "CASIA-FASD has train_release and test_release."))
        files, folders = entries(root / folder)
        person_folders = [
            name
            for name in folders
            if name.isdecimal() and name == str(int(name)) and (not published or int(name) in people)
        ]
        odd = [*files, *(name for name in folders if name not in person_folders)]
        clips: dict[tuple[int, str], str] = {}
        for person in sorted(map(int, person_folders)):
            names, inner = entries(root / folder / str(person))
            of_clips = {name: clip for name in names if (clip := _clip(name)) is not None}
            odd += [f"{person}/{name}" for name in (*names, *inner) if name not in of_clips]
            clips.update({(person, clip): name for name, clip in of_clips.items()})
        presentations += [
            _presentation(root, split, person, clip, file) for (person, clip), file in sorted(clips.items())
        ]
        findings += odd_names(LAYOUT.title, folder, odd)
        if published:
            missing += [
                _presentation(root, split, person, clip, f"{clip}.avi")
                for person in people
                for clip in SPECIES
                if (person, clip) not in clips
            ]
    return Contents(tuple(presentations), tuple(missing), tuple(faults), tuple(findings))


def _clip(file: str) -> str | None:
    """The clip that a file is; None for a name that the dataset does not use."""
    clip, _, suffix = usual(file).rpartition(".")
    return clip if suffix == "avi" and clip in SPECIES else None


def _presentation(root: Path, split: str, person: int, clip: str, file: str) -> Presentation:
    folder = f"{split}_release"
    species = SPECIES[clip]
    return Presentation(
        name=f"{folder}/{person}/{clip}.avi",
        path=root / folder / str(person) / file,
        video=True,
        subject=f"casia:{split}_{person}",
        label="attack" if species else "bona_fide",
        species=species,
        domain=LAYOUT.letter,
        device="high quality" if clip.startswith("HR") else f"{'normal' if int(clip) % 2 else 'low'} quality",
        split=split,
    )


LAYOUT = Layout(
    letter="C",
    key="casia-fasd",
    title="CASIA-FASD",
    marks=("train_release", "test_release"),
    contents=_contents,
    official={
        (split, kind(species)): 3 * len(people)
        for split, people in PEOPLE.items()
        for species in dict.fromkeys(SPECIES.values())
    },
)
