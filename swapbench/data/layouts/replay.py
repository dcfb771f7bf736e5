"""Idiap Replay-Attack (Chingovska et al., BIOSIG 2012): 1,200 clips of 50 clients with a split of its own.

`{train,devel,test}/real/clientNNN_session01_webcam_authenticate_{adverse,controlled}_{1,2}.mov` and
`{train,devel,test}/attack/{fixed,hand}/attack_{print,mobile,highdef}_clientNNN_session01_{highdef,mobile}_{photo,video}_{adverse,controlled}.mov`:
4 bona fide clips and 20 attacks of each client, 60/300, 60/300 and 80/400 clips. `enroll` is for recognition
and is not read. `face-locations/` mirrors the tree with `.face` files.

The species is the instrument that the attack was made with, as in bob.pad: print, mobile (a phone's screen)
or highdef (a tablet's screen); the maximum over species is over these three. Whether the screen showed a
photo or a video is in `instrument`; the light is in `session`, with fixed or hand for an attack's support.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING

from swapbench.data.layouts.corpus import (
    BONA_FIDE,
    Contents,
    FaceFormat,
    Layout,
    counted,
    entries,
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

SPLIT_FOLDERS = {"train": "train", "dev": "devel", "test": "test"}
FOLDERS = ("real", "attack/fixed", "attack/hand")
CLIENTS = {"train": 15, "dev": 15, "test": 20}
INSTRUMENTS = (
    ("print", "highdef_photo"),
    ("mobile", "mobile_photo"),
    ("mobile", "mobile_video"),
    ("highdef", "highdef_photo"),
    ("highdef", "highdef_video"),
)
_REAL = re.compile(r"client(\d{3})_session01_webcam_authenticate_(adverse|controlled)_([12])\.mov")
_ATTACK = re.compile(
    r"attack_(print|mobile|highdef)_client(\d{3})_session01_(highdef|mobile)_(photo|video)_(adverse|controlled)\.mov"
)


def _contents(root: Path, published: bool) -> Contents:
    presentations: list[Presentation] = []
    missing: list[Presentation] = []
    faults: list[BadDataset] = []
    findings: list[str] = []
    for split, prefix in SPLIT_FOLDERS.items():
        clips: dict[str, Presentation] = {}
        for inner in FOLDERS:
            folder = f"{prefix}/{inner}"
            if not (root / folder).is_dir():
                faults.append(
                    not_there(root, folder, "Replay-Attack has real and attack/{fixed,hand} in each split.")
                )
            faces = set(entries(root / "face-locations" / folder)[0])
            names, folders = entries(root / folder)
            odd = list(folders)
            for name in names:
                clip = _presentation(root, split, folder, name, faces)
                if clip is None:
                    odd.append(name)
                else:
                    clips[clip.name] = clip
            findings += odd_names(LAYOUT.title, folder, odd)
        presentations += clips.values()
        if published:
            clients = sorted({clip.subject[-3:] for clip in clips.values()})
            expected = [
                _presentation(root, split, folder, name, set())
                for client in clients
                for folder, name in _clips(prefix, client)
            ]
            missing += [clip for clip in expected if clip is not None and clip.name not in clips]
            if len(clients) != CLIENTS[split]:
                findings.append(
                    f"{prefix}: {counted(len(clients), 'client')} of {CLIENTS[split]} that were published"
                )
    return Contents(tuple(presentations), tuple(missing), tuple(faults), tuple(findings))


def _clips(prefix: str, client: str) -> list[tuple[str, str]]:
    """Folder and file name of the 24 clips of a client."""
    session = f"client{client}_session01"
    lights = ("adverse", "controlled")
    real = [
        (f"{prefix}/real", f"{session}_webcam_authenticate_{light}_{take}.mov")
        for light, take in product(lights, (1, 2))
    ]
    attacks = [
        (f"{prefix}/attack/{support}", f"attack_{species}_{session}_{shown}_{light}.mov")
        for support, (species, shown), light in product(("fixed", "hand"), INSTRUMENTS, lights)
    ]
    return [*real, *attacks]


def _presentation(root: Path, split: str, folder: str, name: str, faces: set[str]) -> Presentation | None:
    """What a file's name says; None for a name that is not of this dataset or lies in the wrong folder."""
    if folder.endswith("/real"):
        match = _REAL.fullmatch(usual(name))
        if match is None:
            return None
        (client, light, _), species, instrument, session = match.groups(), "", "", match[2]
    else:
        match = _ATTACK.fullmatch(usual(name))
        if match is None:
            return None
        species, client, shown_from, shown, light = match.groups()
        instrument, session = f"{shown_from}_{shown}", f"{light} {folder.rsplit('/', 1)[1]}"
    face = f"{name[:-4]}.face"
    return Presentation(
        name=f"{folder}/{usual(name)}",
        path=root / folder / name,
        video=True,
        subject=f"replay:{client}",
        label="attack" if species else "bona_fide",
        species=species,
        domain=LAYOUT.letter,
        session=session,
        device="webcam",
        split=split,
        instrument=instrument,
        annotation=Annotation(root / "face-locations" / folder / face, "replay") if face in faces else None,
    )


def _box(edges: Sequence[float]) -> Box:
    """`x y w h`."""
    x, y, width, height = edges
    return x, y, width, height


LAYOUT = Layout(
    letter="I",
    key="replay-attack",
    title="Replay-Attack",
    marks=("devel/real", "devel/attack", "train/attack/fixed", "train/attack/hand", "test/attack/fixed"),
    contents=_contents,
    official={
        (split, kind): clips * clients
        for split, clients in CLIENTS.items()
        for kind, clips in ((BONA_FIDE, 4), ("print", 4), ("mobile", 8), ("highdef", 8))
    },
    protocol="grandtest",
    faces=FaceFormat("replay", (5,), _box),
)
