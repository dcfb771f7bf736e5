"""Samples that passed every check, and how what is wrong with others is said."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench.errors import BadDataset
from swapbench.files import content_of, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.data.samples import Sample

SPLITS = ("train", "dev", "test")
READ_WHOLE_BYTES = 1 << 20
BLOCKS, BLOCK_BYTES = 16, 1 << 16

EXAMPLES = 3
"""So many of equal faults are shown, with how many more there are."""

_PARTICULARS = re.compile(r"'[^']*'|\S*[/.]\S+|\d+")
"""What differs between faults of one kind: quoted values, names of files, numbers."""


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
    def load(cls, data: Path, splits: Sequence[str] = SPLITS, frames_per_video: int | None = None) -> Dataset:
        """Read the manifests of a folder, or a single CSV, and check them.

        Every manifest that is there is read, so that a subject shared with a split that was not requested is
        found too; files are looked up only in the requested splits.

        Args:
            data: the folder or the CSV
            splits: the requested splits
            frames_per_video: how many frames of each whole video are scored; None: the usual number

        Raises:
            BadDataset: a manifest is missing or wrong
        """
        from swapbench.data.manifests import FRAMES_PER_VIDEO, read_manifests

        manifests = read_manifests(data, frames_per_video or FRAMES_PER_VIDEO)
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
                for _, path in sample.beside:
                    digest.update(content(path))
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
        "beside": [modality for modality, _ in sample.beside],
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
    with opened(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size <= READ_WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").digest()
        digest = hashlib.sha256(f"{BLOCKS} blocks of {BLOCK_BYTES} in {size}\n".encode())
        for block in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * block // (BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
        return digest.digest()


class RowFault(BadDataset):
    """A fault of one row of a file.

    Attributes:
        file: the file, or what else the fault is of
        row: where in it, as "line 3"; empty where that is not known
        complaint: what is wrong there
    """

    def __init__(self, file: object, row: str, complaint: str, remedy: str = "") -> None:
        super().__init__(f"{file} {row}".rstrip() + f": {complaint}", remedy=remedy)
        self.file, self.row, self.complaint = str(file), row, complaint

    @property
    def kind(self) -> tuple[str, str]:
        """What faults that are said together have in common: the file, and the complaint without values."""
        return self.file, _PARTICULARS.sub("", self.complaint)


def grouped(faults: Iterable[BadDataset]) -> tuple[BadDataset, ...]:
    """The same faults, of which more than `EXAMPLES` of one kind are one with their number and examples."""
    groups: dict[object, list[BadDataset]] = {}
    for number, fault in enumerate(faults):
        groups.setdefault(fault.kind if isinstance(fault, RowFault) else number, []).append(fault)
    said: list[BadDataset] = []
    for members in groups.values():
        rows = [fault for fault in members if isinstance(fault, RowFault)]
        said += members if len(rows) <= EXAMPLES else [_together(rows)]
    return tuple(said)


def _together(faults: Sequence[RowFault]) -> BadDataset:
    shown = faults[:EXAMPLES]
    more = f"and {len(faults) - EXAMPLES} more"
    if len({fault.complaint for fault in faults}) == 1:
        examples = f"{shown[0].complaint} ({', '.join(fault.row for fault in shown)} {more})"
    else:
        of_rows = (f"{fault.row} {fault.complaint}".lstrip() for fault in shown)
        examples = f"{'; '.join(of_rows)}; {more} of this kind"
    return BadDataset(f"{shown[0].file}, {len(faults)} times: {examples}", remedy=shown[0].remedy)


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
        about: Any = json.loads(content_of(path).decode("utf-8-sig"))
    except OSError as error:
        raise BadDataset(
            f"cannot read {path}: {error.strerror}", remedy="A dataset folder needs a dataset.json."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadDataset(f"{path} is not JSON: {error}") from error
    if (
        not isinstance(about, dict)
        or not isinstance(about.get("name"), str)
        or not isinstance(about.get("simulated"), bool)
    ):
        raise BadDataset(f'{path} must hold at least {{"name": text, "simulated": true or false}}')
    return About(about["name"], about["simulated"], str(about.get("notice", "")))


def shared_subjects(place: str, splits: Mapping[str, Iterable[Sample]]) -> Iterator[RowFault]:
    """A fault for every subject that is in two of the splits; `place` is what the splits are of, in words."""
    seen: dict[str, tuple[str, str]] = {}
    reported: set[str] = set()
    for split, samples in splits.items():
        for sample in samples:
            first, name = seen.setdefault(sample.subject, (split, sample.name))
            if first != split and sample.subject not in reported:
                reported.add(sample.subject)
                yield RowFault(
                    place,
                    "",
                    f"subject {sample.subject!r} is in {first} ({name}) and in {split} ({sample.name})",
                    remedy="Split by subject: test a network on people that it was not trained with.",
                )
