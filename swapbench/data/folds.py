"""One fold of a protocol: its three splits, what is missing from them, and why it cannot be used.

It knows people, classes and species, but not where a dataset is stored or what a protocol is called.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from swapbench.data.dataset import SPLITS, Dataset, RowFault, grouped, raise_first, shared_subjects
from swapbench.data.layouts.corpus import BONA_FIDE, counted, kind, shortened
from swapbench.data.samples import Sample
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.data.samples import Presentation

DEVELOPMENT_SHARE = 5
"""One in this many training people develops where a dataset has no development split."""

NO_DEV = (
    "no development split: errors at a frozen threshold are absent unless one is given; EER and BPCER at"
    " APCER choose theirs on the test scores, which flatters them"
)

_BOTH_CLASSES = "Every split needs bona fide samples and attacks."


@dataclass(frozen=True)
class Fold:
    """A fold before it is known to be usable.

    Attributes:
        name: the dataset's
        root: the folder
        splits: samples with a file
        missing: what is listed in a split and has no file
        official: published counts by (split, kind); empty where none were published for these splits
        simulated: as in `Dataset`
        notice: as in `Dataset`
        protocol: as in `Dataset`
        fold: as in `Dataset`
        basis: as in `Dataset`
        faults: what was wrong with the lists or manifests that it comes from
        rows_refused: True where what is missing from the samples may only follow from a fault: a manifest has
            rows that were refused, or no file was recognised
    """

    name: str
    root: Path
    splits: Mapping[str, tuple[Sample, ...]]
    missing: Mapping[str, tuple[Presentation, ...]] = field(default_factory=dict)
    official: Mapping[tuple[str, str], int] = field(default_factory=dict)
    simulated: bool = False
    notice: str = ""
    protocol: str = ""
    fold: str = ""
    basis: tuple[str, ...] = ()
    faults: tuple[BadDataset, ...] = ()
    rows_refused: bool = False

    @property
    def title(self) -> str:
        """The fold in words."""
        return (self.protocol or self.name) + (f" fold {self.fold}" if self.fold else "")

    def dataset(self, splits: Sequence[str], *, without_dev: bool = False) -> Dataset:
        """The fold as it is trained on and scored; BadDataset where its numbers would be meaningless.

        Args:
            splits: which are wanted
            without_dev: a development split that does not exist is empty, and the basis says so
        """
        raise_first(
            self.problems(
                [split for split in splits if self.needs(split) or split != "dev" or not without_dev]
            )
        )
        basis = self.all_basis if without_dev and "dev" in splits else self.basis
        return Dataset(
            name=self.name,
            simulated=self.simulated,
            notice=self.notice,
            root=self.root,
            splits={split: self.splits.get(split, ()) for split in splits},
            protocol=self.protocol,
            fold=self.fold,
            basis=(*basis, *(line for split in splits for line in self.gaps(split))),
        )

    @property
    def all_basis(self) -> tuple[str, ...]:
        """The basis, also of a fold without a development split."""
        return self.basis if self.needs("dev") or self.rows_refused else (*self.basis, NO_DEV)

    def problems(self, splits: Sequence[str]) -> tuple[BadDataset, ...]:
        """Every reason not to use the named splits. Shared people are looked for in all splits.

        What may only follow from a fault, such as a class without samples where rows were refused, is none.
        """
        faults = list(self.faults)
        for split in () if self.rows_refused else splits:
            faults += self._empty_classes(split)
        faults += shared_subjects(self.title, self.splits)
        faults += self._separated_frames()
        return grouped(faults)

    def gaps(self, split: str) -> Iterator[str]:
        """What a reader must know about missing files of a split."""
        missing = self.missing.get(split, ())
        if missing:
            listed = len(missing) + len({sample.presentation for sample in self.splits.get(split, ())})
            files = "videos" if missing[0].video else "images"
            yield (
                f"{len(missing)} of {listed} listed {split} {files} are missing,"
                f" first: {shortened([presentation.name for presentation in missing])}"
            )

    def needs(self, split: str) -> bool:
        """True for a split that exists or that no error rate can do without."""
        return split == "test" or bool(self.splits.get(split) or self.missing.get(split))

    def counts(self) -> list[CountRow]:
        """Presentations of each class and species of each split, beside the published number."""
        return count_rows(self.fold, self.splits, self.official)

    def people(self) -> Iterator[str]:
        """How many people each split has, or which people two splits share."""
        people = {split: {item.subject for item in items} for split, items in self.splits.items() if items}
        disjoint = True
        for first, second in combinations(people, 2):
            shared = sorted(people[first] & people[second])
            if shared:
                disjoint = False
                yield (
                    f"{self.title}: {first} and {second} share {counted(len(shared), 'subject')}"
                    f" ({shortened(shared)})"
                )
        if disjoint and people:
            counts = ", ".join(f"{len(subjects)} in {split}" for split, subjects in people.items())
            yield f"{self.title}: nobody is in two splits ({counts})"

    def _empty_classes(self, split: str) -> Iterator[BadDataset]:
        """A fault for each class without a sample, and for each listed species without any file."""
        kinds = {kind(sample.species) for sample in self.splits.get(split, ())}
        listed = Counter(kind(item.species) for item in self.missing.get(split, ()))
        if not kinds and not listed:
            available = [name for name in SPLITS if self.splits.get(name)]
            yield BadDataset(
                f"{self.title} has no {split} split",
                remedy=f"Available splits: {', '.join(available) or 'none'}.",
            )
            return
        for name, count in sorted(listed.items()):
            if name not in kinds:
                yield BadDataset(
                    f"{split} of {self.title} lists {counted(count, 'presentation')} of {name}, but no file",
                    remedy="Restore the files: its error rate would be missing from the result.",
                )
        if BONA_FIDE not in kinds and BONA_FIDE not in listed:
            yield BadDataset(f"{split} of {self.title} has no bona fide samples", remedy=_BOTH_CLASSES)
        if not (kinds | set(listed)) - {BONA_FIDE}:
            yield BadDataset(f"{split} of {self.title} has no attack samples", remedy=_BOTH_CLASSES)

    def _separated_frames(self) -> Iterator[RowFault]:
        """A fault for each presentation whose frames are in two splits."""
        seen: dict[str, str] = {}
        reported: set[str] = set()
        for split, samples in self.splits.items():
            for sample in samples:
                first = seen.setdefault(sample.presentation, split)
                if first != split and sample.presentation not in reported:
                    reported.add(sample.presentation)
                    complaint = f"presentation {sample.presentation!r} is in {first} and in {split}"
                    yield RowFault(self.title, "", complaint)


@dataclass(frozen=True)
class CountRow:
    """Presentations of a class or species in a split.

    Attributes:
        fold: empty where there is only one
        split: train, dev or test
        kind: bona_fide, a species, or "all" for a split that was published as a whole
        found: presentations with a file
        official: how many were published; None where unknown
        people: how many different people they show
    """

    fold: str
    split: str
    kind: str
    found: int
    official: int | None
    people: int


def count_rows(
    fold: str,
    splits: Mapping[str, Sequence[Presentation | Sample]],
    official: Mapping[tuple[str, str], int],
) -> list[CountRow]:
    """A row for each class and species that exists or was published, and for a split published as a whole."""
    rows = []
    for split, items in splits.items():
        trials: dict[str, set[str]] = {}
        people: dict[str, set[str]] = {}
        for item in items:
            name = item.presentation if isinstance(item, Sample) else item.name
            for key in (kind(item.species), ""):
                trials.setdefault(key, set()).add(name)
                people.setdefault(key, set()).add(item.subject)
        published = {key for where, key in official if where == split}
        kinds = sorted(trials.keys() - {""} | published, key=lambda key: (key != BONA_FIDE, key == "", key))
        rows += [
            CountRow(
                fold=fold,
                split=split,
                kind=key or "all",
                found=len(trials.get(key, ())),
                official=official.get((split, key)),
                people=len(people.get(key, ())),
            )
            for key in kinds
        ]
    return rows


def development_people(items: Iterable[Presentation | Sample]) -> tuple[str, ...]:
    """About a fifth of the people, at least two, who develop where a dataset has no development split.

    Both classes and every species remain on both sides. The choice depends on nothing but the names of the
    people and what each shows: people are taken in the order of the sha256 of their names, those who show the
    rarest species first.

    Raises:
        BadDataset: there are fewer than four people, or a species that only one of them shows
    """
    shown: dict[str, set[str]] = {}
    for item in items:
        shown.setdefault(item.subject, set()).add(kind(item.species))
    order = sorted(shown, key=lambda person: hashlib.sha256(person.encode()).digest())
    if len(order) < 4:
        raise BadDataset(
            f"no development split can be carved from {counted(len(order), 'subject')}",
            remedy="Provide at least four, two for each side, or a development split.",
        )
    people_showing = {
        shown_kind: [person for person in order if shown_kind in shown[person]]
        for shown_kind in set().union(*shown.values())
    }
    remaining = {shown_kind: len(holders) for shown_kind, holders in people_showing.items()}
    chosen: list[str] = []

    def spare(person: str) -> bool:
        """True where somebody else on the training side shows everything that this person does."""
        return person not in chosen and all(remaining[shown_kind] > 1 for shown_kind in shown[person])

    def choose(person: str) -> None:
        chosen.append(person)
        for shown_kind in shown[person]:
            remaining[shown_kind] -= 1

    rarest_first = sorted(people_showing, key=lambda shown_kind: (remaining[shown_kind], shown_kind))
    for shown_kind in rarest_first:
        if not any(shown_kind in shown[person] for person in chosen):
            holders = people_showing[shown_kind]
            candidate = next(filter(spare, holders), None)
            if candidate is None:
                raise BadDataset(
                    f"no development split can be carved: too few people show {shown_kind} ({len(holders)})"
                    " to have some on both sides",
                    remedy="Provide a development split, or more people of this kind.",
                )
            choose(candidate)
    target = max(2, round(len(order) / DEVELOPMENT_SHARE))
    for person in order:
        if len(chosen) < target and spare(person):
            choose(person)
    if len(chosen) < 2 or len(order) - len(chosen) < 2:
        raise BadDataset(
            f"no development split can be carved from {counted(len(order), 'subject')}"
            " with two of them on each side",
            remedy="Provide a development split, or more people.",
        )
    return tuple(chosen)


def carved_basis(people: Sequence[str], items: Iterable[Presentation | Sample], source: str) -> str:
    """The sentence about a development split carved from `items`; `source` is what they are, in words."""
    total = len({item.subject for item in items})
    return (
        f"development split carved by subject from {source}: {len(people)} of {total} people"
        f" ({shortened(sorted(people))})"
    )
