"""The generic way to describe a dataset: manifests in CSV.

A folder holds `dataset.json` and one `manifest-<split>.csv` per split, or one `manifest.csv` for all splits;
a single CSV file of any name works too. `dataset.json` is `{"name": text, "simulated": true or false,
"notice": text}`; beside a single CSV it may be left out, which means real data. A row is one image, one frame
of a video, or a whole video:

    path        absolute, or relative to the folder of the images, which is that of the manifest unless
                another is named; an image is turned upright by its EXIF orientation
    subject     who is shown, or whose face was copied; never in two splits
    label       bona fide or attack, in any of the words of `words`
    species     attack instrument species ("print", "replay"), empty for bona fide
    split       train, dev or test, in any of the words of `words`

and, where they are known:

    frame       number in the video or presentation; if empty, frames spread evenly over a video are taken
    presentation    equal for all images that are frames of one trial; the path if empty
    domain      the conditions that differ between domains: camera, printer, display, light
    session device instrument            further conditions, free text
    box_x box_y box_w box_h              face box in pixels of the upright frame; all four empty if unknown
    path_depth path_nir                  the same capture as a depth and a near-infrared sensor saw it

What would silently make a result wrong is refused here, with its file and line.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from swapbench.data.dataset import SPLITS, About, RowFault, grouped, read_about
from swapbench.data.samples import VIDEO_SUFFIXES, Sample
from swapbench.data.tables import TextLines, column_name
from swapbench.data.words import is_bona_fide, split_named
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from swapbench.data.samples import Box

FRAMES_PER_VIDEO = 8
BOX_COLUMNS = ("box_x", "box_y", "box_w", "box_h")
MODALITY_COLUMNS = {"depth": "path_depth", "nir": "path_nir"}
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


def manifest_path(folder: Path, split: str) -> Path:
    """Where the manifest of a split is."""
    return folder / f"manifest-{split}.csv"


@dataclass(frozen=True)
class Manifests:
    """What the manifests of a folder, or a single CSV, say.

    Attributes:
        about: what `dataset.json` says
        root: the folder
        rows: split -> its lines, each as "row n" with the samples it became; a split without a manifest or
            without lines is left out
        files: split -> its manifest
        faults: everything that is wrong with any line, in the order in which it was found; equal ones are one
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
                whose = "" if separate else f" in split {split!r}"
                yield BadDataset(
                    f"{self.files[split]} has no {label.replace('_', ' ')} samples{whose}",
                    remedy="Every split needs bona fide samples and attacks.",
                )

    def row_faults(self, split: str) -> tuple[BadDataset, ...]:
        """A fault for each row that repeats another one or whose file does not exist; equal ones are one."""
        return grouped(self._row_faults(split))

    def _row_faults(self, split: str) -> Iterator[RowFault]:
        seen: set[tuple[str, int, int]] = set()
        for row, samples in self.rows[split]:
            first = samples[0]
            key = (first.name, first.frame, first.spread)
            if key in seen:
                frame = "" if first.spread else f" frame {first.frame}"
                yield RowFault(self.files[split], row, f"{first.name}{frame} is listed twice")
            seen.add(key)
            wanted = [first.path, *(path for _, path in first.beside)]
            if lost := [path for path in wanted if not path.is_file()]:
                yield RowFault(
                    self.files[split],
                    row,
                    f"{lost[0]} does not exist",
                    "Where do the relative paths begin? Name that folder: --images ROOT.",
                )


def has_manifests(data: Path) -> bool:
    """True for a CSV file and for a folder that holds a manifest."""
    if data.is_file():
        return data.suffix.lower() == ".csv"
    return any(path.is_file() for path in (data / "manifest.csv", *(manifest_path(data, s) for s in SPLITS)))


def read_manifests(
    data: Path, frames_per_video: int = FRAMES_PER_VIDEO, images: Path | None = None
) -> Manifests:
    """Read all manifests of a folder, `manifest-<split>.csv` before `manifest.csv`, or a single CSV file.

    What is wrong with a line is returned in `faults`.

    Args:
        data: the folder or the CSV
        frames_per_video: how many frames of each whole video are scored
        images: the folder in which relative paths begin; None: that of the manifest

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
    if images is not None and not images.is_dir():
        raise BadDataset(f"there is no folder {images}", remedy="--images names the folder of the images.")
    faults: list[BadDataset] = []
    rows: dict[str, list[tuple[str, tuple[Sample, ...]]]] = {split: [] for split in files}
    for split, path in sources:
        for row, samples in _read_manifest(path, split, images or path.parent, frames_per_video, faults):
            rows.setdefault(samples[0].split, []).append((row, samples))
    faults += _mixed_presentations(
        (files.get(split, single), row, sample)
        for split in SPLITS
        for row, samples in rows.get(split, ())
        for sample in samples
    )
    ordered = {split: tuple(rows[split]) for split in SPLITS if split in rows}
    return Manifests(about, root, ordered, files or dict.fromkeys(ordered, single), grouped(faults))


def _read_manifest(
    path: Path, split: str, images: Path, frames_per_video: int, faults: list[BadDataset]
) -> Iterator[tuple[str, tuple[Sample, ...]]]:
    """Number and samples of every valid row; what is wrong with others goes to `faults`."""
    number = 1
    try:
        text = TextLines.of(path)
        lines = csv.DictReader(text.lines(), delimiter=text.separator)
        lines.fieldnames = [column_name(name) for name in lines.fieldnames or ()]
        missing = [column for column in NEEDED if column not in lines.fieldnames]
        if missing:
            faults.append(
                BadDataset(
                    f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
                    remedy=f"A manifest has at least {', '.join(NEEDED)}; a folder of live/ and spoof/ images"
                    " needs none.",
                )
            )
            return
        for number, line in enumerate(lines, start=2):
            try:
                first = _first_sample(images, split, line, frames_per_video)
            except BadDataset as fault:
                place = f"line {text.first + lines.line_num}"
                faults.append(RowFault(path, place, fault.args[0], fault.remedy))
                continue
            samples = tuple(replace(first, frame=frame) for frame in range(first.spread)) or (first,)
            yield f"row {number}", samples
    except BadDataset as fault:
        faults.append(fault)
        return
    except (OSError, csv.Error) as error:
        faults.append(BadDataset(f"cannot read {path}: {error}"))
        return
    if number == 1:
        faults.append(BadDataset(f"{path} has no rows"))


def _first_sample(images: Path, split: str, row: Mapping[str, str | None], frames_per_video: int) -> Sample:
    """The sample of a line, the first of several where the line is a whole video.

    Args:
        images: the folder in which relative paths begin
        split: that the manifest is of; empty in a single CSV
        row: column -> text; None where the line has another number of fields
        frames_per_video: how many frames of a whole video are scored

    Raises:
        BadDataset: a field is wrong, without its place
    """
    if None in row or None in row.values():
        raise BadDataset("the number of fields differs from the header's")
    further = ("presentation", *MODALITY_COLUMNS.values())
    text = {column: (row.get(column) or "").strip() for column in (*COLUMNS, *further)}
    name = text["path"].replace("\\", "/")
    path = _inside(text, "path")
    real = is_bona_fide(text["label"])
    if real is None:
        raise BadDataset(f"unknown label {text['label']!r}", remedy=_label_remedy(text["label"]))
    if not real and not text["species"]:
        raise BadDataset("the attack has no species", remedy="Name the species: APCER is counted by species.")
    if real and text["species"]:
        raise BadDataset(f"the bona fide sample has the species {text['species']!r}")
    if not text["subject"]:
        raise BadDataset("the sample has no subject")
    split_of_row = split_named(text["split"])
    if split and split_of_row != split:
        raise BadDataset(f"the split is {text['split']!r} in the manifest of {split!r}")
    if split_of_row is None:
        raise BadDataset(f"unknown split {text['split']!r}", remedy="Use train, dev or test.")
    video = path.suffix.lower() in VIDEO_SUFFIXES
    if text["frame"] and not text["frame"].isdecimal():
        raise BadDataset(f"frame {text['frame']!r} is not a non-negative integer")
    return Sample(
        name=name,
        path=images / path,
        frame=int(text["frame"] or 0),
        subject=text["subject"],
        label="bona_fide" if real else "attack",
        species=text["species"],
        domain=text["domain"],
        session=text["session"],
        device=text["device"],
        split=split_of_row,
        instrument=text["instrument"],
        box=box_of([text[column] for column in BOX_COLUMNS]),
        presentation=text["presentation"] or name,
        spread=frames_per_video if video and not text["frame"] else 0,
        beside=tuple(
            (modality, images / _inside(text, column))
            for modality, column in MODALITY_COLUMNS.items()
            if text[column]
        ),
    )


def _inside(text: Mapping[str, str], column: str) -> PurePosixPath:
    """The path in a column; BadDataset for none, and for one that leaves the folder."""
    path = PurePosixPath(text[column].replace("\\", "/"))
    if not text[column] or ".." in path.parts:
        raise BadDataset(
            f"{column} {text[column]!r} must be absolute, or relative and stay inside the folder",
            remedy="Name the folder in which relative paths begin: --images ROOT.",
        )
    return path


def _label_remedy(label: str) -> str:
    if label in {"0", "1"}:
        return "Use bona_fide or attack; 1 is bona_fide in most files, and attack in some."
    return "Use bona_fide or attack."


def box_of(fields: Sequence[str]) -> Box | None:
    """x, y, width and height of a face from text, None where all are empty; BadDataset if they are none."""
    if not any(fields):
        return None
    try:
        x, y, width, height = (float(field) for field in fields)
    except ValueError:
        raise BadDataset(f"box {', '.join(fields)} is not four numbers") from None
    if not (width > 0 and height > 0 and abs(x) < 1e6 and abs(y) < 1e6 and width < 1e6 and height < 1e6):
        raise BadDataset(
            f"box {', '.join(fields)} is empty",
            remedy="Leave all four fields empty if the face is not known.",
        )
    return x, y, width, height


def _mixed_presentations(rows: Iterable[tuple[Path, str, Sample]]) -> Iterator[RowFault]:
    """A fault for every row that contradicts an earlier row of its presentation, or is in two of them."""
    seen: dict[str, Sample] = {}
    files: dict[str, str] = {}
    reported: set[tuple[Path, str]] = set()
    for file, row, sample in rows:
        first = seen.setdefault(sample.presentation, sample)
        for name in ("subject", "label", "species", "split"):
            if getattr(first, name) != getattr(sample, name) and (file, row) not in reported:
                reported.add((file, row))
                yield RowFault(
                    file,
                    row,
                    f"presentation {sample.presentation!r} has {name} {getattr(first, name)!r}"
                    f" in {first.name} and {getattr(sample, name)!r} in {sample.name}",
                    "All frames of a presentation need the same subject, label, species and split.",
                )
        if (
            files.setdefault(sample.name, sample.presentation) != sample.presentation
            and (file, row) not in reported
        ):
            reported.add((file, row))
            yield RowFault(file, row, f"{sample.name} is in two presentations")
