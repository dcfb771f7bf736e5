"""One fold of a protocol: its three splits, what is missing from them, and what would make its numbers mean nothing.

Knows people, classes and species; not where a dataset lies or what a protocol is called.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from swapbench.data.dataset import SPLITS, Dataset, refuse, shared_subjects
from swapbench.data.layouts.corpus import BONA_FIDE, kind, many, some
from swapbench.data.samples import Sample
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.data.samples import Presentation

DEVELOPMENT_SHARE = 5
"""One of so many training people develops where a dataset has no development split."""

_BOTH_CLASSES = "Both classes are needed in every split."


@dataclass(frozen=True)
class Fold:
    """A fold before it is known to be usable.

    name: the dataset's; protocol, fold and basis as in `Dataset`; splits: what has a file; missing: what is listed
    in a split and has none; official: published counts by (split, kind), empty where none were published for these splits;
    faults: what was wrong with the lists or manifests that it comes from.
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

    @property
    def title(self) -> str:
        """The fold in words."""
        return (self.protocol or self.name) + (f" fold {self.fold}" if self.fold else "")

    def dataset(self, splits: Sequence[str]) -> Dataset:
        """The fold as it is trained on and scored. Raises BadDataset where its numbers would mean nothing."""
        refuse(self.problems(splits))
        return Dataset(
            name=self.name,
            simulated=self.simulated,
            notice=self.notice,
            root=self.root,
            splits={split: self.splits[split] for split in splits},
            protocol=self.protocol,
            fold=self.fold,
            basis=(*self.basis, *(line for split in splits for line in self.gaps(split))),
        )

    def problems(self, splits: Sequence[str]) -> tuple[BadDataset, ...]:
        """Everything that forbids to use the named splits. Of people, all splits are looked at."""
        found = list(self.faults)
        for split in splits:
            found += self._empty_classes(split)
        found += shared_subjects(self.title, self.splits)
        found += self._separated_frames()
        return tuple(found)

    def gaps(self, split: str) -> Iterator[str]:
        """What a reader must know about files of a split that are missing."""
        missing = self.missing.get(split, ())
        if missing:
            listed = len(missing) + len({sample.presentation for sample in self.splits.get(split, ())})
            what = "videos" if missing[0].video else "images"
            yield (
                f"{len(missing)} of {listed} listed {split} {what} are missing,"
                f" first: {some([one.name for one in missing])}"
            )

    def needs(self, split: str) -> bool:
        """True for a split that there is or that no error rate can do without."""
        return split != "train" or bool(self.splits.get(split) or self.missing.get(split))

    def counts(self) -> list[CountRow]:
        """Presentations of each class and species of each split, beside the published number."""
        return count_rows(self.fold, self.splits, self.official)

    def people(self) -> Iterator[str]:
        """How many people each split has, or whom two splits share."""
        found = {split: {one.subject for one in items} for split, items in self.splits.items() if items}
        shared = False
        for first, second in combinations(found, 2):
            both = sorted(found[first] & found[second])
            if both:
                shared = True
                yield f"{self.title}: {first} and {second} share {many(len(both), 'subject')} ({some(both)})"
        if not shared:
            yield (
                f"{self.title}: nobody is in two splits"
                f" ({', '.join(f'{len(who)} in {split}' for split, who in found.items())})"
            )

    def _empty_classes(self, split: str) -> Iterator[BadDataset]:
        """A fault for every class without a sample, and for every species that is listed and has no file left."""
        kinds = {kind(sample.species) for sample in self.splits.get(split, ())}
        listed = Counter(kind(one.species) for one in self.missing.get(split, ()))
        if not kinds and not listed:
            there = [name for name in SPLITS if self.splits.get(name)]
            yield BadDataset(
                f"{self.title} has no {split} split", remedy=f"Splits there: {', '.join(there) or 'none'}."
            )
            return
        for name, count in sorted(listed.items()):
            if name not in kinds:
                yield BadDataset(
                    f"{split} of {self.title} lists {many(count, 'presentation')} of {name}, none with a file",
                    remedy="Its error rate would vanish from the result; restore the files.",
                )
        if BONA_FIDE not in kinds and BONA_FIDE not in listed:
            yield BadDataset(f"{split} of {self.title} has no bona_fide samples", remedy=_BOTH_CLASSES)
        if not (kinds | set(listed)) - {BONA_FIDE}:
            yield BadDataset(f"{split} of {self.title} has no attack samples", remedy=_BOTH_CLASSES)

    def _separated_frames(self) -> Iterator[BadDataset]:
        """A fault for every presentation of which frames are in two splits."""
        seen: dict[str, str] = {}
        told: set[str] = set()
        for split, samples in self.splits.items():
            for sample in samples:
                first = seen.setdefault(sample.presentation, split)
                if first != split and sample.presentation not in told:
                    told.add(sample.presentation)
                    yield BadDataset(
                        f"{self.title}: presentation {sample.presentation} is in {first} and in {split}"
                    )


@dataclass(frozen=True)
class CountRow:
    """Presentations of a class or species in a split, how many were published (None: unknown), and of how many people."""

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
    """A row for every class and species that is there or was published, and one for a split published as a whole."""
    rows = []
    for split, items in splits.items():
        trials: dict[str, set[str]] = {}
        people: dict[str, set[str]] = {}
        for one in items:
            name = one.presentation if isinstance(one, Sample) else one.name
            for key in (kind(one.species), ""):
                trials.setdefault(key, set()).add(name)
                people.setdefault(key, set()).add(one.subject)
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
    """About a fifth of the people shown, at least two, who develop where a dataset has no development split.

    Both classes and every species remain on both sides. The choice depends on nothing but the names of the people and what
    each shows: people are taken in the order of the sha256 of their names, those who show the rarest species first.
    Raises BadDataset where there are fewer than four people, or a species that only one of them shows.
    """
    shown: dict[str, set[str]] = {}
    for item in items:
        shown.setdefault(item.subject, set()).add(kind(item.species))
    order = sorted(shown, key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(order) < 4:
        raise BadDataset(
            f"no development split can be carved from {many(len(order), 'subject')}",
            remedy="Four are needed, two on each side; or give a development split.",
        )
    holders = {name: [who for who in order if name in shown[who]] for name in set().union(*shown.values())}
    left = {name: len(people) for name, people in holders.items()}
    chosen: list[str] = []

    def spare(who: str) -> bool:
        """True where somebody else on the training side shows everything that this person does."""
        return who not in chosen and all(left[name] > 1 for name in shown[who])

    def choose(who: str) -> None:
        chosen.append(who)
        for name in shown[who]:
            left[name] -= 1

    for name in sorted(holders, key=lambda name: (len(holders[name]), name)):
        if not any(name in shown[who] for who in chosen):
            free = next(filter(spare, holders[name]), None)
            if free is None:
                raise BadDataset(
                    f"no development split can be carved: too few people show {name} ({len(holders[name])})"
                    " to have some on both sides",
                    remedy="Give a development split, or more people of this kind.",
                )
            choose(free)
    wanted = max(2, round(len(order) / DEVELOPMENT_SHARE))
    for who in order:
        if len(chosen) < wanted and spare(who):
            choose(who)
    if len(chosen) < 2 or len(order) - len(chosen) < 2:
        raise BadDataset(
            f"no development split can be carved from {many(len(order), 'subject')} with two of them on each side",
            remedy="Give a development split, or more people.",
        )
    return tuple(chosen)


def carved_basis(people: Sequence[str], items: Iterable[Presentation | Sample], source: str) -> str:
    """The sentence about a carved development split."""
    every = len({item.subject for item in items})
    return f"development split carved by subject from {source}: {len(people)} of {every} people ({some(sorted(people))})"
