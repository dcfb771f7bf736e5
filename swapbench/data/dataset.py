"""Samples that passed every check, and the generic way to describe them: manifests in CSV.

A folder holds `dataset.json` and one `manifest-<split>.csv` per split, or one `manifest.csv` for all splits;
a single CSV file of any name works too. `dataset.json` is `{"name": text, "simulated": true or false,
"notice": text}`; beside a single CSV it may be left out, which means real data. A row is one image, one frame
of a video, or a whole video:

    path        relative to the folder of the manifest; an image is turned upright by its EXIF orientation
    subject     who is shown, or whose face was copied; never in two splits
    label       bona_fide | attack
    species     attack instrument species ("print", "replay"), empty for bona fide
    split       train | dev | test

and, where they are known:

    frame       number in the video or presentation; if empty, frames spread evenly over a video are taken
    presentation    equal for all images that are frames of one trial; the path if empty
    domain      the conditions that differ between domains: camera, printer, display, light
    session device instrument            further conditions, free text
    box_x box_y box_w box_h              face box in pixels of the upright frame; all four empty if unknown

What would silently make a result wrong is refused here, with its file and line.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from swapbench.data.samples import VIDEO_SUFFIXES, Sample
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from swapbench.data.samples import Box, Label

SPLITS = ("train", "dev", "test")
FRAMES_PER_VIDEO = 8
BOX_COLUMNS = ("box_x", "box_y", "box_w", "box_h")
NEEDED = ("path", "subject", "label", "species", "split")
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
"""The columns of a manifest of still images, as `swapbench data simulate` writes it."""

READ_WHOLE_BYTES = 1 << 20
BLOCKS, BLOCK_BYTES = 16, 1 << 16

_LIKELY = {
    **dict.fromkeys(("live", "real", "genuine", "bonafide", "bona fide", "bona-fide"), "bona_fide"),
    **dict.fromkeys(("spoof", "fake", "attacks"), "attack"),
}


@dataclass(frozen=True)
class Dataset:
    """One fold that passed every check.

    Attributes:
        name: of the dataset
        simulated: True where no real person is shown
        notice: what must be said wherever numbers from it are shown
        root: the folder
        splits: the requested splits, samples in the order of the manifest or list
        protocol: the protocol in words that fit into a table; empty for a manifest's own splits
        fold: which of the protocol's folds, empty where it has only one
        basis: what the numbers rest on, in sentences
    """

    name: str
    simulated: bool
    notice: str
    root: Path
    splits: Mapping[str, tuple[Sample, ...]]
    protocol: str = ""
    fold: str = ""
    basis: tuple[str, ...] = ()

    @classmethod
    def load(
        cls, data: Path, splits: Sequence[str] = SPLITS, frames_per_video: int = FRAMES_PER_VIDEO
    ) -> Dataset:
        """Read the manifests of a folder, or a single CSV, and check them.

        Every manifest that is there is read, so that a subject shared with a split that was not requested is
        found too; files are looked up only in the requested splits.

        Args:
            data: the folder or the CSV
            splits: the requested splits
            frames_per_video: how many frames of each whole video are scored

        Raises:
            BadDataset: a manifest is missing or wrong
        """
        manifests = read_manifests(data, frames_per_video)
        raise_first(manifests.faults)
        for split in splits:
            manifests.need(split)
        raise_first(tuple(shared_subjects(str(data), manifests.splits)))
        for faults_of in (manifests.class_faults, manifests.row_faults):
            raise_first([fault for split in splits for fault in faults_of(split)])
        return cls(
            name=manifests.about.name,
            simulated=manifests.about.simulated,
            notice=manifests.about.notice,
            root=manifests.root,
            splits={split: manifests.splits[split] for split in splits},
        )

    def samples(self, split: str) -> tuple[Sample, ...]:
        """The samples of a split; BadDataset where it was not loaded."""
        if split not in self.splits:
            raise BadDataset(
                f"split {split!r} of {self.name} was not loaded",
                remedy=f"Loaded splits: {', '.join(self.splits)}.",
            )
        return self.splits[split]

    def digest(self, splits: Sequence[str] | None = None) -> str:
        """sha256 over what is known about every sample and the content of its files.

        It changes when a pixel, a label, a box, an annotation or the order of rows changes, and not when the
        folder moves. Of a file above 1 MiB only what `content_sha256` reads counts.

        Args:
            splits: which samples; None: of all loaded splits
        """
        digest = hashlib.sha256()
        # frames of a video follow each other: a few entries are enough
        content = functools.lru_cache(maxsize=4)(_content_or_error)
        for split in splits or tuple(self.splits):
            for sample in self.samples(split):
                digest.update(json.dumps(_digest_row(sample), ensure_ascii=False).encode())
                digest.update(content(sample.path))
                if sample.annotation is not None:
                    digest.update(content(sample.annotation.path))
        return digest.hexdigest()


def _digest_row(sample: Sample) -> list[object]:
    """What is known about a sample. Defaults are left out, so that digests of older records still hold."""
    row = [sample.name, sample.frame, sample.subject, sample.label, sample.species, sample.domain]
    row += [sample.session, sample.device, sample.split, sample.instrument, sample.box]
    further = {
        "presentation": sample.presentation if sample.presentation != sample.name else None,
        "spread": sample.spread,
        "annotation": sample.annotation.format if sample.annotation is not None else None,
        "rotate_deg": sample.rotate_deg,
    }
    further = {name: value for name, value in further.items() if value}
    return [*row, further] if further else row


def _content_or_error(path: Path) -> bytes:
    try:
        return content_sha256(path)
    except OSError as error:
        raise BadDataset(f"cannot read {path}: {error.strerror}") from error


def content_sha256(path: Path) -> bytes:
    """32 bytes that change with a file's content: its sha256, read in pieces.

    Of a file above 1 MiB it is the sha256 of its size and of sixteen blocks of 64 KiB spread evenly from its
    first byte to its last: reading a hundred gigabytes of video would take an hour. Two such files of equal
    size that differ only between the blocks count as equal; compressed videos that differ at all differ
    nearly everywhere.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size <= READ_WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").digest()
        digest = hashlib.sha256(f"{BLOCKS} blocks of {BLOCK_BYTES} in {size}\n".encode())
        for block in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * block // (BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
        return digest.digest()


def raise_first(faults: Sequence[BadDataset]) -> None:
    """Raise the first fault, if any, and say how many more there are."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        more = f"And {len(faults) - 1} more: swapbench data check lists everything that is wrong."
        raise BadDataset(str(faults[0]), remedy=more)


@dataclass(frozen=True)
class About:
    """What `dataset.json` says."""

    name: str
    simulated: bool = False
    notice: str = ""


def read_about(folder: Path) -> About:
    """Read `dataset.json` of a folder; BadDataset where it cannot be read or lacks a field."""
    path = folder / "dataset.json"
    try:
        about: Any = json.loads(path.read_text(encoding="utf-8-sig"))
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
    return About(about["name"], about["simulated"], str(about.get("notice", "")))


def manifest_path(folder: Path, split: str) -> Path:
    """Where the manifest of a split is."""
    return folder / f"manifest-{split}.csv"


@dataclass(frozen=True)
class Manifests:
    """What the manifests of a folder, or a single CSV, say.

    Attributes:
        about: what `dataset.json` says
        root: the folder
        rows: split -> its lines, each as "manifest row n" with the samples it became; a split without a
            manifest or without lines is left out
        files: split -> its manifest
        faults: everything that is wrong with any line, in the order in which it was found
    """

    about: About
    root: Path
    rows: Mapping[str, tuple[tuple[str, tuple[Sample, ...]], ...]]
    files: Mapping[str, Path]
    faults: tuple[BadDataset, ...]

    @property
    def splits(self) -> dict[str, tuple[Sample, ...]]:
        """Split -> all its samples."""
        return {
            split: tuple(sample for _, samples in rows for sample in samples)
            for split, rows in self.rows.items()
        }

    def need(self, split: str) -> None:
        """Raise BadDataset for a split that has no manifest or no row."""
        if split not in self.files:
            single = next(iter(self.files.values()), None)
            raise BadDataset(
                f"{single} has no rows of split {split!r}"
                if single is not None and single not in {manifest_path(self.root, name) for name in SPLITS}
                else f"{self.root} has no {manifest_path(self.root, split).name}",
                remedy=f"Available splits: {', '.join(self.files) or 'none'}.",
            )

    def class_faults(self, split: str) -> Iterator[BadDataset]:
        """A fault for each class of which a split has no sample."""
        labels = {sample.label for _, samples in self.rows[split] for sample in samples}
        for label in ("bona_fide", "attack"):
            if label not in labels:
                separate = self.files[split] == manifest_path(self.root, split)
                yield BadDataset(
                    f"{self.files[split]} has no {label} samples{'' if separate else f' in split {split!r}'}",
                    remedy="Every split needs bona fide samples and attacks.",
                )

    def row_faults(self, split: str) -> Iterator[BadDataset]:
        """A fault for each row that repeats another one or whose file does not exist."""
        seen: set[tuple[str, int, int]] = set()
        for where, samples in self.rows[split]:
            first = samples[0]
            key = (first.name, first.frame, first.spread)
            if key in seen:
                frame = "" if first.spread else f" frame {first.frame}"
                yield BadDataset(f"{where}: {first.name}{frame} is listed twice")
            seen.add(key)
            if not first.path.is_file():
                yield BadDataset(f"{where}: {first.path} does not exist")


def has_manifests(data: Path) -> bool:
    """True for a CSV file and for a folder that holds a manifest."""
    if data.is_file():
        return data.suffix.lower() == ".csv"
    return any(path.is_file() for path in (data / "manifest.csv", *(manifest_path(data, s) for s in SPLITS)))


def read_manifests(data: Path, frames_per_video: int = FRAMES_PER_VIDEO) -> Manifests:
    """Read all manifests of a folder, `manifest-<split>.csv` before `manifest.csv`, or a single CSV file.

    What is wrong with a line is returned in `faults`.

    Args:
        data: the folder or the CSV
        frames_per_video: how many frames of each whole video are scored

    Raises:
        BadDataset: there is nothing to read at all
    """
    if not data.exists():
        raise BadDataset(
            f"there is no dataset {data}",
            remedy="Create a simulated one with: swapbench data simulate",
        )
    if data.is_file() and data.suffix.lower() != ".csv":
        raise BadDataset(
            f"{data} is not a dataset", remedy="Name a dataset folder or a manifest whose name ends in .csv."
        )
    root = data.parent if data.is_file() else data
    files = {split: manifest_path(root, split) for split in SPLITS if manifest_path(root, split).is_file()}
    single = data if data.is_file() else root / "manifest.csv"
    if data.is_file() or (not files and single.is_file()):
        name = data.stem if data.is_file() else root.resolve().name
        about = read_about(root) if (root / "dataset.json").is_file() else About(name)
        files = {}
        sources: list[tuple[str, Path]] = [("", single)]
    else:
        about = read_about(root)
        sources = list(files.items())
    faults: list[BadDataset] = []
    rows: dict[str, list[tuple[str, tuple[Sample, ...]]]] = {split: [] for split in files}
    for split, path in sources:
        for split_of_row, where, samples in _read_manifest(path, split, frames_per_video, faults):
            rows.setdefault(split_of_row, []).append((where, samples))
    faults += _mixed_presentations(
        (where, sample) for split in SPLITS for where, samples in rows.get(split, ()) for sample in samples
    )
    ordered = {split: tuple(rows[split]) for split in SPLITS if split in rows}
    return Manifests(about, root, ordered, files or dict.fromkeys(ordered, single), tuple(faults))


def _read_manifest(
    path: Path, split: str, frames_per_video: int, faults: list[BadDataset]
) -> Iterator[tuple[str, str, tuple[Sample, ...]]]:
    """Split, "manifest row n" and samples of every valid line; what is wrong with others goes to `faults`."""
    number = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            missing = [column for column in NEEDED if column not in (lines.fieldnames or ())]
            if missing:
                faults.append(BadDataset(f"{path} lacks the columns {', '.join(missing)}"))
                return
            for number, line in enumerate(lines, start=2):
                try:
                    first = _first_sample(
                        f"{path} line {lines.line_num}", path.parent, split, line, frames_per_video
                    )
                except BadDataset as fault:
                    faults.append(fault)
                    continue
                samples = tuple(replace(first, frame=frame) for frame in range(first.spread)) or (first,)
                yield first.split, f"{path} row {number}", samples
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.append(BadDataset(f"cannot read {path}: {error}"))
        return
    if number == 1:
        faults.append(BadDataset(f"{path} has no rows"))


def _first_sample(
    where: str, folder: Path, split: str, row: Mapping[str, str | None], frames_per_video: int
) -> Sample:
    """The sample of a line, the first of several where the line is a whole video.

    Args:
        where: file and line, for messages
        folder: that paths are relative to
        split: that the manifest is of; empty in a single CSV
        row: column -> text; None where the line has another number of fields
        frames_per_video: how many frames of a whole video are scored

    Raises:
        BadDataset: a field is wrong
    """
    if None in row or None in row.values():
        raise BadDataset(f"{where}: the number of fields differs from the header's")
    text = {column: (row.get(column) or "").strip() for column in (*COLUMNS, "presentation")}
    relative = PurePosixPath(text["path"])
    if not text["path"] or relative.is_absolute() or ".." in relative.parts:
        raise BadDataset(f"{where}: path {text['path']!r} must be relative and stay inside the folder")
    if text["label"] not in {"bona_fide", "attack"}:
        raise BadDataset(f"{where}: unknown label {text['label']!r}", remedy=_label_remedy(text["label"]))
    if text["label"] == "attack" and not text["species"]:
        raise BadDataset(
            f"{where}: the attack has no species", remedy="Name the species: APCER is counted by species."
        )
    if text["label"] == "bona_fide" and text["species"]:
        raise BadDataset(f"{where}: the bona fide sample has the species {text['species']!r}")
    if not text["subject"]:
        raise BadDataset(f"{where}: the sample has no subject")
    if split and text["split"] != split:
        raise BadDataset(f"{where}: the split is {text['split']!r} in the manifest of {split!r}")
    if text["split"] not in SPLITS:
        raise BadDataset(f"{where}: unknown split {text['split']!r}", remedy="Use train, dev or test.")
    video = relative.suffix.lower() in VIDEO_SUFFIXES
    if text["frame"] and not text["frame"].isdecimal():
        raise BadDataset(f"{where}: frame {text['frame']!r} is not a non-negative integer")
    return Sample(
        name=text["path"],
        path=folder.joinpath(*relative.parts),
        frame=int(text["frame"] or 0),
        subject=text["subject"],
        label=cast("Label", text["label"]),
        species=text["species"],
        domain=text["domain"],
        session=text["session"],
        device=text["device"],
        split=text["split"],
        instrument=text["instrument"],
        box=_box(where, [text[column] for column in BOX_COLUMNS]),
        presentation=text["presentation"] or text["path"],
        spread=frames_per_video if video and not text["frame"] else 0,
    )


def _label_remedy(label: str) -> str:
    likely = _LIKELY.get(label.lower())
    if likely is not None:
        return f"Use bona_fide or attack; {label} is {likely}."
    if label in {"0", "1"}:
        return "Use bona_fide or attack; 1 is bona_fide in most files, and attack in some."
    return "Use bona_fide or attack."


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
            remedy="Leave all four fields empty if the face is not known.",
        )
    return x, y, width, height


def shared_subjects(place: str, splits: Mapping[str, Iterable[Sample]]) -> Iterator[BadDataset]:
    """A fault for every subject that is in two of the splits; `place` is what the splits are of, in words."""
    seen: dict[str, tuple[str, str]] = {}
    reported: set[str] = set()
    for split, samples in splits.items():
        for sample in samples:
            first, name = seen.setdefault(sample.subject, (split, sample.name))
            if first != split and sample.subject not in reported:
                reported.add(sample.subject)
                yield BadDataset(
                    f"{place}: subject {sample.subject!r} is in {first} ({name})"
                    f" and in {split} ({sample.name})",
                    remedy="Split by subject: test a network on people that it was not trained with.",
                )


def _mixed_presentations(rows: Iterable[tuple[str, Sample]]) -> Iterator[BadDataset]:
    """A fault for every row that contradicts an earlier row of its presentation, or is in two of them."""
    seen: dict[str, Sample] = {}
    files: dict[str, str] = {}
    reported: set[str] = set()
    for where, sample in rows:
        first = seen.setdefault(sample.presentation, sample)
        for name in ("subject", "label", "species", "split"):
            if getattr(first, name) != getattr(sample, name) and where not in reported:
                reported.add(where)
                yield BadDataset(
                    f"{where}: presentation {sample.presentation!r} has {name} {getattr(first, name)!r}"
                    f" in {first.name} and {getattr(sample, name)!r} in {sample.name}",
                    remedy="All frames of a presentation need the same subject, label, species and split.",
                )
        if (
            files.setdefault(sample.name, sample.presentation) != sample.presentation
            and where not in reported
        ):
            reported.add(where)
            yield BadDataset(f"{where}: {sample.name} is in two presentations")
