"""OULU-NPU (Boulkenafet et al., FG 2017): 4,950 clips of 55 people on six phones, and four protocols.

`{Train,Dev,Test}_files/P_S_UU_F.avi`: P 1-6 phone; S 1-3 recording session; UU 01-20 train, 21-35 dev, 36-55
test; F 1 bona fide, 2 and 3 prints of two printers, 4 and 5 replays on two displays. Beside a clip is
`P_S_UU_F.txt`, which says where the eyes are. `Protocols/Protocol_k/{Train,Dev,Test}.txt` list each protocol,
`{...}_1.txt` to `_6.txt` its folds for k = 3, 4.

A line of a list is `sign,name`: +1 bona fide; -1 an attack in train and dev; in test -1 a print and -2 a
replay. The species is taken from F and the sign is checked against it. So the maximum over species is over
four in protocols 1 and 3 (print1, print2, replay1, replay2) and over the two that test holds (print2,
replay2) in 2 and 4, where the lists' signs name two (print, replay) everywhere: a maximum over four is never
below one over the two.

Protocol 1 tests session 3; 2 tests the second printer and display; 3 tests one phone per fold; 4 tests all of
these at once.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from swapbench.data.layouts.corpus import (
    Contents,
    FaceFormat,
    Layout,
    counted,
    entries,
    kind,
    not_there,
    odd_names,
    shortened,
    usual,
)
from swapbench.data.samples import Annotation, Presentation
from swapbench.errors import BadDataset
from swapbench.files import content_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from swapbench.data.layouts.corpus import Corpus
    from swapbench.data.samples import Box

SPLIT_FOLDERS = {"train": "Train", "dev": "Dev", "test": "Test"}
USERS = {"train": range(1, 21), "dev": range(21, 36), "test": range(36, 56)}
PHONES = range(1, 7)
SPECIES = {"1": "", "2": "print1", "3": "print2", "4": "replay1", "5": "replay2"}
_NAME = re.compile(r"([1-6])_([1-3])_(\d{2,})_([1-5])")


@dataclass(frozen=True)
class Listed:
    """What a list names.

    Attributes:
        present: clips with a file
        missing: clips without one
        faults: why the list cannot be used
        remarks: what is odd about it
    """

    present: tuple[Presentation, ...] = ()
    missing: tuple[Presentation, ...] = ()
    faults: tuple[BadDataset, ...] = ()
    remarks: tuple[str, ...] = ()


def list_path(root: Path, protocol: int, phone: int | None, split: str) -> Path:
    """Where the list of a split of a protocol is; `phone` is the fold of protocols 3 and 4, else None."""
    fold = "" if phone is None else f"_{phone}"
    return root / "Protocols" / f"Protocol_{protocol}" / f"{SPLIT_FOLDERS[split]}{fold}.txt"


def folds(corpus: Corpus, protocol: int) -> tuple[int | None, ...]:
    """The folds of a protocol: one per held-out phone, or None for the protocol as a whole.

    A simulated tree may hold fewer phones.
    """
    if protocol in {1, 2}:
        return (None,)
    if corpus.simulated:
        phones = tuple(phone for phone in PHONES if list_path(corpus.root, protocol, phone, "test").is_file())
        return phones or (1,)
    return tuple(PHONES)


def belongs(name: str, protocol: int, phone: int | None, split: str) -> bool:
    """True where the published rule of a protocol puts a clip of this split's people into its list."""
    held_out, session, _, clip = name.split("_")
    test = split == "test"
    return (
        (protocol not in {1, 4} or (session == "3") == test)
        and (protocol not in {2, 4} or clip in ("135" if test else "124"))
        and (protocol not in {3, 4} or (held_out == str(phone)) == test)
    )


def official(protocol: int, phone: int | None) -> dict[tuple[str, str], int]:
    """How many clips of each kind the rule gives each split."""
    return dict(
        Counter(
            (split, kind(SPECIES[name[-1]]))
            for split in SPLIT_FOLDERS
            for name in _names(split)
            if belongs(name, protocol, phone, split)
        )
    )


def listed(corpus: Corpus, protocol: int, phone: int | None, split: str) -> Listed:
    """Read the list of one split. Nothing is raised: what is wrong with it is part of the result."""
    path = list_path(corpus.root, protocol, phone, split)
    place = path.relative_to(corpus.root).as_posix()
    try:
        lines = content_of(path).decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        return Listed(
            faults=(not_there(corpus.root, place, "The 42 lists come with OULU-NPU, in Protocols/."),)
        )
    except (OSError, UnicodeDecodeError) as error:
        return Listed(faults=(BadDataset(f"cannot read {path}: {error}"),))
    with_file = {clip.name: clip for clip in corpus.presentations if clip.split == split}
    clips: dict[str, Presentation] = {}
    unreadable, contradictory, repeated = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        sign, _, name = (field.strip() for field in line.partition(","))
        if not _NAME.fullmatch(name) or sign.lstrip("+") not in {"1", "-1", "-2"}:
            unreadable.append(f"line {number} {line.strip()[:40]!r}")
            continue
        clip = _presentation(corpus.root, split, name)
        if int(sign) != _sign(name, split):
            contradictory.append(f"line {number} {line.strip()!r}, {kind(clip.species)} by its name")
        elif clip.name in clips:
            repeated.append(f"line {number} {name}")
        else:
            clips[clip.name] = with_file.get(clip.name, clip)
    faults = []
    if unreadable:
        faults.append(
            BadDataset(
                f"{place}: {counted(len(unreadable), 'line')} not of the form sign,P_S_UU_F"
                f" ({shortened(unreadable)})",
                remedy="A line looks like +1,1_1_01_1.",
            )
        )
    if contradictory:
        faults.append(
            BadDataset(
                f"{place}: {counted(len(contradictory), 'sign')} in conflict with the names"
                f" ({shortened(contradictory)})",
                remedy="+1 is bona fide; attacks are -1, replays -2 in the test lists.",
            )
        )
    if repeated:
        faults.append(
            BadDataset(f"{place}: {counted(len(repeated), 'clip')} listed twice ({shortened(repeated)})")
        )
    if not (clips or faults):
        faults.append(BadDataset(f"{place} lists nothing"))
    return Listed(
        present=tuple(clip for name, clip in clips.items() if name in with_file),
        missing=tuple(clip for name, clip in clips.items() if name not in with_file),
        faults=tuple(faults),
        remarks=() if corpus.simulated else tuple(_deviations(place, clips, protocol, phone, split)),
    )


def _deviations(
    place: str, clips: dict[str, Presentation], protocol: int, phone: int | None, split: str
) -> Iterator[str]:
    """Where a list and the published rule differ."""
    rule = {_clip_name(split, name) for name in _names(split) if belongs(name, protocol, phone, split)}
    foreign = [name for name in clips if name not in rule]
    lacking = [name for name in sorted(rule) if name not in clips]
    if foreign:
        yield (
            f"{place}: {counted(len(foreign), 'clip')} that the published protocol does not have there"
            f" ({shortened(foreign)})"
        )
    if lacking:
        yield (
            f"{place}: {len(lacking)} of the {len(rule)} clips of the published protocol not listed"
            f" ({shortened(lacking)})"
        )


def _contents(root: Path, published: bool) -> Contents:
    presentations: list[Presentation] = []
    missing: list[Presentation] = []
    faults: list[BadDataset] = []
    findings: list[str] = []
    for split, prefix in SPLIT_FOLDERS.items():
        folder = f"{prefix}_files"
        if not (root / folder).is_dir():
            faults.append(not_there(root, folder, "OULU-NPU has Train_files, Dev_files and Test_files."))
        files, _ = entries(root / folder)
        folder_files = set(files)
        file_of = {
            file[:-4]: file for file in files if usual(file).endswith(".avi") and _NAME.fullmatch(file[:-4])
        }
        names = list(file_of)
        expected = {*file_of.values(), *(f"{name}.txt" for name in names)}
        findings += odd_names(LAYOUT.title, folder, [file for file in files if file not in expected])
        if published:
            strangers = [name for name in names if int(name.split("_")[2]) not in USERS[split]]
            if strangers:
                findings.append(
                    f"{folder}: left out {counted(len(strangers), 'clip')} of people of another split"
                    f" ({shortened(strangers)})"
                )
                names = sorted(set(names).difference(strangers))
            missing += [_presentation(root, split, name) for name in _names(split) if name not in file_of]
        presentations += [
            _presentation(root, split, name, file=file_of[name], eyes=f"{name}.txt" in folder_files)
            for name in names
        ]
    return Contents(tuple(presentations), tuple(missing), tuple(faults), tuple(findings))


def _names(split: str) -> Iterator[str]:
    for phone, session, user, clip in product(PHONES, (1, 2, 3), USERS[split], range(1, 6)):
        yield f"{phone}_{session}_{user:02d}_{clip}"


def _clip_name(split: str, name: str) -> str:
    return f"{SPLIT_FOLDERS[split]}_files/{name}.avi"


def _presentation(
    root: Path, split: str, name: str, *, file: str | None = None, eyes: bool = False
) -> Presentation:
    phone, session, user, clip = name.split("_")
    path = root / f"{SPLIT_FOLDERS[split]}_files" / (file or f"{name}.avi")
    species = SPECIES[clip]
    return Presentation(
        name=_clip_name(split, name),
        path=path,
        video=True,
        subject=f"oulu:{user}",
        label="attack" if species else "bona_fide",
        species=species,
        domain=LAYOUT.letter,
        session=session,
        device=f"phone {phone}",
        split=split,
        annotation=Annotation(path.with_suffix(".txt"), "oulu") if eyes else None,
    )


def box_of_eyes(right: tuple[float, float], left: tuple[float, float]) -> Box:
    """The face box from both eye centres (x, y), by the rule of bob.ip.facedetect for annotated eyes.

    It is 2.0 eye distances wide and reaches from 0.7 above to 1.7 below the midpoint of the eyes. With 63 mm
    between the pupils (Dodgson, Variation and extrema of human interpupillary distance, 2004) it is 126 x 151
    mm, about from cheek to cheek and from the middle of the forehead to the chin. dlib's boxes have nearly
    the same longer side (2.3 to 2.7 eye distances on frontal faces).
    """
    distance = math.dist(right, left)
    x, y = (right[0] + left[0]) / 2, (right[1] + left[1]) / 2
    return x - distance, y - 0.7 * distance, 2.0 * distance, 2.4 * distance


def _box(eyes: Sequence[float]) -> Box:
    """`xR,yR,xL,yL`, the eyes' centres, the subject's right eye first.

    Whether the first frame is 0 or 1 is not documented; the motion of one frame is far below the accuracy of
    a box.
    """
    right_x, right_y, left_x, left_y = eyes
    return box_of_eyes((right_x, right_y), (left_x, left_y))


def _sign(name: str, split: str) -> int:
    species = SPECIES[name[-1]]
    if not species:
        return 1
    return -2 if split == "test" and species.startswith("replay") else -1


LAYOUT = Layout(
    letter="O",
    key="oulu-npu",
    title="OULU-NPU",
    marks=("Train_files", "Dev_files", "Test_files"),
    contents=_contents,
    official=dict(Counter((split, kind(SPECIES[name[-1]])) for split in USERS for name in _names(split))),
    faces=FaceFormat("oulu", (5,), _box),
)
