"""Reading a dataset folder: which images there are, whose they are, and what is known about each.

A folder holds `dataset.json` and one `manifest-<split>.csv` a split. A manifest row is one image:

    path        relative to the folder; the frame as a camera gave it, upright after its EXIF orientation
    frame       number of the frame inside its presentation, 0 for a still image
    subject     who is shown, or whose face was copied; never in two splits
    label       bona_fide | attack
    species     attack instrument species ("print", "replay"), empty for bona fide
    domain      the conditions that differ between domains: camera, printer, display, light
    session device split instrument      further conditions, free text
    box_x box_y box_w box_h              face box in pixels of the upright frame; all four empty where none is known

Everything that would make a result wrong without an error is checked here, and named with its file and line.
This module knows nothing about pixels or networks.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, cast

from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Label = Literal["bona_fide", "attack"]
Box = tuple[float, float, float, float]

SPLITS = ("train", "dev", "test")
BOX_COLUMNS = ("box_x", "box_y", "box_w", "box_h")
COLUMNS = (
    "path",
    "frame",
    "subject",
    "label",
    "species",
    "domain",
    "session",
    "device",
    "split",
    "instrument",
    *BOX_COLUMNS,
)


@dataclass(frozen=True)
class Sample:
    """One image of one presentation. `name` is the path as the manifest gives it; `box` is x, y, width, height in pixels."""

    name: str
    path: Path
    frame: int
    subject: str
    label: Label
    species: str
    domain: str
    session: str
    device: str
    split: str
    instrument: str
    box: Box | None

    @property
    def bona_fide(self) -> bool:
        """True for a living face in front of the camera."""
        return self.label == "bona_fide"


@dataclass(frozen=True)
class Dataset:
    """A dataset folder that passed every check. `splits` holds the requested splits in manifest order."""

    name: str
    simulated: bool
    notice: str
    root: Path
    splits: Mapping[str, tuple[Sample, ...]]

    @classmethod
    def load(cls, folder: Path, splits: Sequence[str] = SPLITS) -> Dataset:
        """Read `folder` and check it.

        Every manifest that is there is read, so that a subject shared with a split that was not asked for is found too;
        image files are looked for only in the requested splits. Raises BadDataset.
        """
        about = _about(folder)
        present = [split for split in SPLITS if manifest_path(folder, split).is_file()]
        for split in splits:
            if not manifest_path(folder, split).is_file():
                raise BadDataset(
                    f"{folder} has no {manifest_path(folder, split).name}",
                    remedy=f"Splits there: {', '.join(present) if present else 'none'}.",
                )
        read = {split: _read_manifest(folder, split) for split in dict.fromkeys((*present, *splits))}
        _check_subjects(folder, read)
        for split in splits:
            _check_split(folder, split, read[split])
        return cls(
            name=str(about["name"]),
            simulated=bool(about["simulated"]),
            notice=str(about.get("notice", "")),
            root=folder,
            splits={split: read[split] for split in splits},
        )

    def samples(self, split: str) -> tuple[Sample, ...]:
        """The samples of a split that was loaded; BadDataset names the ones that were."""
        if split not in self.splits:
            raise BadDataset(
                f"split {split!r} of {self.name} was not loaded", remedy=f"Loaded: {', '.join(self.splits)}."
            )
        return self.splits[split]

    def digest(self, splits: Sequence[str] | None = None) -> str:
        """sha256 over the manifest rows and the content of every image of `splits` (all loaded ones unless told).

        It changes when a pixel, a label, a box or the order of rows changes, and not when the folder moves.
        """
        total = hashlib.sha256()
        for split in splits or tuple(self.splits):
            for sample in self.samples(split):
                row = [sample.name, sample.frame, sample.subject, sample.label, sample.species, sample.domain]
                row += [sample.session, sample.device, sample.split, sample.instrument, sample.box]
                total.update(json.dumps(row, ensure_ascii=False).encode())
                total.update(content_sha256(sample.path))
        return total.hexdigest()


def manifest_path(folder: Path, split: str) -> Path:
    """Where the manifest of a split lies."""
    return folder / f"manifest-{split}.csv"


def content_sha256(path: Path) -> bytes:
    """The 32 bytes of a file's sha256, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not folder.is_dir():
        raise BadDataset(
            f"there is no dataset folder {folder}",
            remedy="Make the simulated one with: swapbench data simulate",
        )
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadDataset(
            f"cannot read {path}: {error.strerror}", remedy="A dataset folder needs a dataset.json."
        ) from error
    except ValueError as error:
        raise BadDataset(f"{path} is not JSON: {error}") from error
    if (
        not isinstance(about, dict)
        or not isinstance(about.get("name"), str)
        or not isinstance(about.get("simulated"), bool)
    ):
        raise BadDataset(f'{path} must hold at least {{"name": text, "simulated": true or false}}')
    return about


def _read_manifest(folder: Path, split: str) -> tuple[Sample, ...]:
    path = manifest_path(folder, split)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise BadDataset(f"{path} lacks the columns {', '.join(missing)}")
            samples = tuple(_sample(folder, path, split, rows.line_num, row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadDataset(f"cannot read {path}: {error}") from error
    if not samples:
        raise BadDataset(f"{path} has no rows")
    return samples


def _sample(folder: Path, manifest: Path, split: str, line: int, row: Mapping[str, str | None]) -> Sample:
    where = f"{manifest} line {line}"
    if None in row or any(row[column] is None for column in COLUMNS):
        raise BadDataset(f"{where}: wrong number of fields")
    text = {column: cast("str", row[column]).strip() for column in COLUMNS}
    relative = PurePosixPath(text["path"])
    if not text["path"] or relative.is_absolute() or ".." in relative.parts:
        raise BadDataset(f"{where}: path {text['path']!r} must be relative and stay inside the folder")
    if text["label"] not in ("bona_fide", "attack"):
        raise BadDataset(f"{where}: unknown label {text['label']!r}", remedy="Use bona_fide or attack.")
    if text["label"] == "attack" and not text["species"]:
        raise BadDataset(
            f"{where}: an attack without a species", remedy="APCER is counted by species; name it."
        )
    if text["label"] == "bona_fide" and text["species"]:
        raise BadDataset(f"{where}: a bona fide sample with the species {text['species']!r}")
    if not text["subject"]:
        raise BadDataset(f"{where}: no subject")
    if text["split"] != split:
        raise BadDataset(f"{where}: split is {text['split']!r} in the manifest of {split!r}")
    if not text["frame"].isdecimal():
        raise BadDataset(f"{where}: frame {text['frame']!r} is not a whole number from 0")
    return Sample(
        name=text["path"],
        path=folder.joinpath(*relative.parts),
        frame=int(text["frame"]),
        subject=text["subject"],
        label=cast("Label", text["label"]),
        species=text["species"],
        domain=text["domain"],
        session=text["session"],
        device=text["device"],
        split=split,
        instrument=text["instrument"],
        box=_box(where, [text[column] for column in BOX_COLUMNS]),
    )


def _box(where: str, fields: Sequence[str]) -> Box | None:
    if not any(fields):
        return None
    try:
        x, y, width, height = (float(field) for field in fields)
    except ValueError:
        raise BadDataset(f"{where}: box {', '.join(fields)} is not four numbers") from None
    if not (width > 0 and height > 0 and abs(x) < 1e6 and abs(y) < 1e6 and width < 1e6 and height < 1e6):
        raise BadDataset(
            f"{where}: box {', '.join(fields)} is empty",
            remedy="Leave all four empty where no face is known.",
        )
    return x, y, width, height


def _check_subjects(folder: Path, read: Mapping[str, Iterable[Sample]]) -> None:
    seen: dict[str, Sample] = {}
    for samples in read.values():
        for sample in samples:
            first = seen.setdefault(sample.subject, sample)
            if first.split != sample.split:
                raise BadDataset(
                    f"{folder}: subject {sample.subject!r} is in {first.split} ({first.name}) and in {sample.split} ({sample.name})",
                    remedy="Split by subject: a network that knows the person has not been tested.",
                )


def _check_split(folder: Path, split: str, samples: Sequence[Sample]) -> None:
    manifest = manifest_path(folder, split)
    labels = {sample.label for sample in samples}
    for label in ("bona_fide", "attack"):
        if label not in labels:
            raise BadDataset(
                f"{manifest} has no {label} samples", remedy="Both classes are needed in every split."
            )
    seen: set[tuple[str, int]] = set()
    for row, sample in enumerate(samples, start=2):
        if (sample.name, sample.frame) in seen:
            raise BadDataset(f"{manifest} row {row}: {sample.name} frame {sample.frame} is listed twice")
        seen.add((sample.name, sample.frame))
        if not sample.path.is_file():
            raise BadDataset(f"{manifest} row {row}: {sample.path} does not exist")
