"""MSU-MFSD (Wen, Han and Jain, TIFS 2015): 280 clips of 35 people, no development split.

`scene01/real/real_clientNNN_{android|laptop}_SD_scene01.{mp4|mov}` and
`scene01/attack/attack_clientNNN_{android|laptop}_SD_{ipad_video|iphone_video|printed_photo}_scene01.{mp4|mov}`;
android clips are .mp4, laptop clips .mov; a `.face` file of the same name lies beside a clip. 15 people train
and 20 test. The bona fide android clips of clients 003 and 005 to 009 are stored upside down: their frames
must be turned by 180 degrees (bob.db.msu_mfsd_mod lists the same six). The maximum over species is over
ipad_video, iphone_video and printed_photo.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING

from swapbench.data.layouts.corpus import (
    Contents,
    FaceFormat,
    Layout,
    entries,
    kind,
    not_there,
    odd_names,
    usual,
)
from swapbench.data.samples import Annotation, Presentation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.data.samples import Box
    from swapbench.errors import BadDataset

TRAIN = frozenset((2, 3, 5, 6, 7, 8, 9, 11, 12, 21, 22, 34, 53, 54, 55))
TEST = frozenset((1, 13, 14, 23, 24, 26, 28, 29, 30, 32, 33, 35, 36, 37, 39, 42, 48, 49, 50, 51))
UPSIDE_DOWN = frozenset((3, 5, 6, 7, 8, 9))
SPECIES = ("ipad_video", "iphone_video", "printed_photo")
_NAME = re.compile(
    r"(real|attack)_client(\d{3})_(?:(android)|laptop)_SD_"
    rf"(?:({'|'.join(SPECIES)})_)?scene01(?(3)\.mp4|\.mov)"
)


def _contents(root: Path, published: bool) -> Contents:
    clips: dict[str, Presentation] = {}
    faults: list[BadDataset] = []
    findings: list[str] = []
    for folder in ("scene01/real", "scene01/attack"):
        if not (root / folder).is_dir():
            faults.append(not_there(root, folder, "MSU-MFSD has scene01/real and scene01/attack."))
        names, odd = entries(root / folder)
        files = set(names)
        for name in names:
            clip = _presentation(root, folder, name, f"{name[:-4]}.face" in files)
            if clip is not None and (not published or int(clip.subject[-3:]) in TRAIN | TEST):
                clips[clip.name] = clip
            elif not (
                name.endswith(".face") and {f"{name[:-5]}.mp4", f"{name[:-5]}.mov"} & set(map(usual, files))
            ):
                odd.append(name)
        findings += odd_names(LAYOUT.title, folder, odd)
    expected = [_presentation(root, *clip, False) for clip in _clips()] if published else []
    missing = tuple(clip for clip in expected if clip is not None and clip.name not in clips)
    return Contents(tuple(clips.values()), missing, tuple(faults), tuple(findings))


def _clips() -> list[tuple[str, str]]:
    """Folder and file name of all 280 clips."""
    clips = []
    for client, (device, suffix) in product(sorted(TRAIN | TEST), (("android", "mp4"), ("laptop", "mov"))):
        clips.append(("scene01/real", f"real_client{client:03d}_{device}_SD_scene01.{suffix}"))
        clips += [
            ("scene01/attack", f"attack_client{client:03d}_{device}_SD_{species}_scene01.{suffix}")
            for species in SPECIES
        ]
    return clips


def _presentation(root: Path, folder: str, name: str, face: bool) -> Presentation | None:
    """What a file's name says; None for a name that is not of this dataset or lies in the wrong folder."""
    match = _NAME.fullmatch(usual(name))
    if match is None:
        return None
    label, client, android, species = match.groups()
    if folder != f"scene01/{label}" or (species is None) != (label == "real"):
        return None
    path = root / folder / name
    return Presentation(
        name=f"{folder}/{usual(name)}",
        path=path,
        video=True,
        subject=f"msu:{client}",
        label="attack" if species else "bona_fide",
        species=species or "",
        domain=LAYOUT.letter,
        device="android" if android else "laptop",
        split="train" if int(client) in TRAIN else "test",
        annotation=Annotation(path.with_suffix(".face"), "msu") if face else None,
        rotate_deg=180 if android and not species and int(client) in UPSIDE_DOWN else 0,
    )


def _box(numbers: Sequence[float]) -> Box:
    """`left, top, right, bottom`, and four more numbers for the eyes where the file has them.

    The boxes of clips that are stored upside down count in the upright frame: bob.db.msu_mfsd_mod turns the
    frames and takes the boxes as they are.
    """
    left, top, right, bottom = numbers[:4]
    return left, top, right - left, bottom - top


LAYOUT = Layout(
    letter="M",
    key="msu-mfsd",
    title="MSU-MFSD",
    marks=("scene01/real", "scene01/attack"),
    contents=_contents,
    official={
        (split, kind(species)): 2 * len(clients)
        for split, clients in (("train", TRAIN), ("test", TEST))
        for species in ("", *SPECIES)
    },
    faces=FaceFormat("msu", (5, 9), _box),
)
