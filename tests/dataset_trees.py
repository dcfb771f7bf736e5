"""Trees in exactly the layouts of the published datasets: names, folders, lists, annotations, no data.

Every writer returns the root that it was given. `fill` makes the content of a clip or an image: `empty` where
only names matter, `tiny` for a real video or image of 64 x 48 pixels. `people` is how many subjects each
split gets (all of them if None). With annotations every clip has a face of about 24 x 24 pixels in the middle
of its frame, in the dataset's own format.
"""

from __future__ import annotations

import json
import zlib
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Fill = Callable[[Path], None]

WIDTH_PX, HEIGHT_PX, FRAMES = 64, 48, 6

OULU_USERS = {"Train": range(1, 21), "Dev": range(21, 36), "Test": range(36, 56)}
CASIA_CLIPS = (*"12345678", "HR_1", "HR_2", "HR_3", "HR_4")
REPLAY_CLIENTS = {"train": range(1, 16), "devel": range(16, 31), "test": range(31, 51)}
MSU_TRAIN = (2, 3, 5, 6, 7, 8, 9, 11, 12, 21, 22, 34, 53, 54, 55)
MSU_TEST = (1, 13, 14, 23, 24, 26, 28, 29, 30, 32, 33, 35, 36, 37, 39, 42, 48, 49, 50, 51)


def empty(path: Path) -> None:
    """A file without content: its name is enough."""
    path.touch()


def tiny(path: Path) -> None:
    """A real video (Motion JPEG) or image of one grey that depends on the name; it brightens by 4 a frame."""
    level = 40 + zlib.crc32(path.name.encode()) % 150
    if path.suffix in {".jpg", ".png"}:
        assert cv2.imwrite(str(path), np.full((HEIGHT_PX, WIDTH_PX, 3), level, np.uint8))
        return
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*video_code(path)), 25.0, (WIDTH_PX, HEIGHT_PX)
    )
    assert writer.isOpened(), path
    for frame in range(FRAMES):
        writer.write(np.full((HEIGHT_PX, WIDTH_PX, 3), level + 4 * frame, np.uint8))
    writer.release()


def video_code(path: Path) -> str:
    """Four letters of a codec that OpenCV's own build can write into this kind of file."""
    return {".mp4": "mp4v", ".mov": "jpeg"}.get(path.suffix, "MJPG")


def write_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def describe(root: Path, **about: Any) -> Path:
    """The dataset.json of a simulated tree."""
    text = {"name": "simulated tree", "simulated": True, "notice": "Simulated data; not PAD performance."}
    return write_file(root / "dataset.json", json.dumps(text | about))


def _made(path: Path, fill: Fill) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    fill(path)
    return path


def oulu_tree(
    root: Path,
    *,
    people: int | None = None,
    phones: Iterable[int] = range(1, 7),
    fill: Fill = empty,
    annotations: bool = False,
    lists: bool = True,
) -> Path:
    """OULU-NPU: {Train,Dev,Test}_files/P_S_UU_F.avi and the 42 lists of Protocols/."""
    names: dict[str, list[str]] = {}
    for split, users in OULU_USERS.items():
        folder = root / f"{split}_files"
        folder.mkdir(parents=True, exist_ok=True)
        grid = product(phones, (1, 2, 3), islice(users, people), range(1, 6))
        names[split] = [f"{p}_{s}_{user:02d}_{f}" for p, s, user, f in grid]
        for name in names[split]:
            fill(folder / f"{name}.avi")
            if annotations:
                lines = [f"{frame},26,20,38,20" for frame in range(FRAMES)]
                (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    if lists:
        write_oulu_lists(root, names)
    return root


def write_oulu_lists(root: Path, names: dict[str, list[str]]) -> None:
    for protocol in (1, 2, 3, 4):
        for phone in (1, 2, 3, 4, 5, 6) if protocol > 2 else (0,):
            for split, found in names.items():
                lines = [
                    f"{oulu_sign(name, split)},{name}\n"
                    for name in found
                    if oulu_listed(protocol, phone, split, name)
                ]
                suffix = f"_{phone}" if phone else ""
                write_file(
                    root / "Protocols" / f"Protocol_{protocol}" / f"{split}{suffix}.txt", "".join(lines)
                )


def oulu_sign(name: str, split: str) -> str:
    kind = name[-1]
    if kind == "1":
        return "+1"
    return "-2" if split == "Test" and kind in "45" else "-1"


def oulu_listed(protocol: int, held_out_phone: int, split: str, name: str) -> bool:
    """The published rules: 1 holds out session 3, 2 the second printer and display, 3 a phone, 4 all."""
    phone, session, _, kind = name.split("_")
    test = split == "Test"
    fits = True
    if protocol in {1, 4}:
        fits &= (session == "3") == test
    if protocol in {2, 4}:
        fits &= kind in ("135" if test else "124")
    if protocol in {3, 4}:
        fits &= (phone == str(held_out_phone)) == test
    return fits


def casia_tree(root: Path, *, people: int | None = None, fill: Fill = empty) -> Path:
    """CASIA-FASD: {train,test}_release/N/{1..8,HR_1..HR_4}.avi; numbers start at 1 in both."""
    for split, count in (("train", 20), ("test", 30)):
        for number, clip in product(range(1, min(people or count, count) + 1), CASIA_CLIPS):
            _made(root / f"{split}_release" / str(number) / f"{clip}.avi", fill)
    return root


REPLAY_INSTRUMENTS = (
    ("print", "highdef_photo"),
    ("mobile", "mobile_photo"),
    ("mobile", "mobile_video"),
    ("highdef", "highdef_photo"),
    ("highdef", "highdef_video"),
)


def replay_names(client: int) -> list[str]:
    """The 24 clips of one client, below the folder of its split and without .mov."""
    who = f"client{client:03d}_session01"
    names = [
        f"real/{who}_webcam_authenticate_{light}_{take}"
        for light in ("adverse", "controlled")
        for take in (1, 2)
    ]
    lights = ("adverse", "controlled")
    for support, (device, shown), light in product(("fixed", "hand"), REPLAY_INSTRUMENTS, lights):
        names.append(f"attack/{support}/attack_{device}_{who}_{shown}_{light}")
    return names


def replay_tree(
    root: Path, *, people: int | None = None, fill: Fill = empty, annotations: bool = False
) -> Path:
    """Replay-Attack: {train,devel,test}/{real,attack/{fixed,hand}}/*.mov, face-locations/, enrolment."""
    for split, clients in REPLAY_CLIENTS.items():
        for client in islice(clients, people):
            for name in replay_names(client):
                _made(root / split / f"{name}.mov", fill)
                if annotations:
                    lines = [f"{frame} 20 12 24 24" for frame in range(FRAMES)]
                    write_file(root / "face-locations" / split / f"{name}.face", "\n".join(lines) + "\n")
            name = f"client{client:03d}_session01_webcam_enroll_controlled.mov"
            _made(root / "enroll" / split / name, empty)
    return root


def msu_names(client: int) -> list[str]:
    """The 8 clips of one client, below scene01/."""
    names = []
    for device, suffix in (("android", "mp4"), ("laptop", "mov")):
        names.append(f"real/real_client{client:03d}_{device}_SD_scene01.{suffix}")
        names += [
            f"attack/attack_client{client:03d}_{device}_SD_{kind}_scene01.{suffix}"
            for kind in ("ipad_video", "iphone_video", "printed_photo")
        ]
    return names


def msu_tree(root: Path, *, people: int | None = None, fill: Fill = empty, annotations: bool = False) -> Path:
    """MSU-MFSD: scene01/{real,attack}/*.{mp4,mov}, with .face files beside them."""
    for clients in (MSU_TRAIN, MSU_TEST):
        for client in islice(clients, people):
            for name in msu_names(client):
                path = _made(root / "scene01" / name, fill)
                if annotations:
                    lines = [f"{frame}, 20, 12, 44, 36, 26, 20, 38, 20" for frame in range(FRAMES)]
                    write_file(path.with_suffix(".face"), "\n".join(lines) + "\n")
    return root


def celeba_label(species: int, light: int = 1, place: int = 1) -> list[int]:
    """The 44 integers of one image: 40 attributes, type, light, place, and 0 = live, 1 = spoof."""
    live = species == 0
    return [*([0] * 40), species, 0 if live else light, 0 if live else place, 0 if live else 1]


def celeba_tree(
    root: Path,
    *,
    people: int = 10,
    types: Sequence[int] = range(11),
    fill: Fill = empty,
    annotations: bool = False,
) -> Path:
    """CelebA-Spoof: Data/{train,test}/ID/{live,spoof}/NNNNNN.{jpg,png} and metas/intra_test/*_label.json."""
    number = 0
    for split, first in (("train", 1), ("test", 1001)):
        labels = {}
        for person, species in product(range(first, first + people), types):
            number += 1
            kind, suffix = ("spoof", "png") if species else ("live", "jpg")
            name = f"Data/{split}/{person}/{kind}/{number:06d}.{suffix}"
            path = _made(root / name, fill)
            if annotations:
                write_file(path.with_name(f"{path.stem}_BB.txt"), "70 56 84 112 0.9987\n")
            labels[name] = celeba_label(species)
        write_file(root / "metas" / "intra_test" / f"{split}_label.json", json.dumps(labels))
    return root
