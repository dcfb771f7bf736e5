"""Which people train, develop and test: the protocols of the literature, each with a development split.

Protocols, as they are written on a command line:

- none, `intra` or `grandtest`: the dataset's own splits (OULU-NPU: its protocol 1);
- `1`, `2`, `3`, `4`: those of OULU-NPU, with all six folds of 3 and 4; `3_2` is one fold;
- `O+C+I:M`, `M+I:C`: train on the datasets before the colon, test on the one behind it. Below a data root the
  letters are datasets (O OULU-NPU, C CASIA-FASD, I Idiap Replay-Attack, M MSU-MFSD); in one folder they are
  values of the column `domain`.

Thresholds are frozen on the development split, so every fold has one that shares nobody with train or test.
CASIA-FASD, MSU-MFSD, CelebA-Spoof and a manifest without one have theirs carved from train, by subject.
Across datasets the sources train with what SSDG (Jia et al., CVPR 2020) trains with: train and test of
OULU-NPU and Replay-Attack, everything of the other two; the dev splits of the former, and a fifth of the
people of the latter, develop. The target is tested on train and test of OULU-NPU and Replay-Attack, and on
everything of the other two, as in the literature, so that numbers compare.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swapbench.data import layouts
from swapbench.data.dataset import SPLITS
from swapbench.data.folds import Fold, carved_basis, development_people
from swapbench.data.layouts import oulu
from swapbench.data.layouts.corpus import shortened
from swapbench.data.manifests import FRAMES_PER_VIDEO, has_manifests, read_manifests
from swapbench.errors import BadDataset, UnknownName, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from swapbench.data.dataset import Dataset
    from swapbench.data.layouts import Corpus
    from swapbench.data.manifests import Manifests
    from swapbench.data.samples import Presentation, Sample

_OWN = {"", "intra", "grandtest"}
_OULU = re.compile(r"([12])|([34])(?:_([1-6]))?")
_GRAMMAR = "Use intra, 1, 2, 3, 4 or 3_2 (OULU-NPU), or sources and a target as in O+C+I:M."


def open_data(
    data: Path | None,
    *,
    data_root: Path | None = None,
    protocol: str | None = None,
    frames_per_video: int = FRAMES_PER_VIDEO,
    splits: Sequence[str] = SPLITS,
    without_dev: bool = False,
    images: Path | None = None,
) -> tuple[Dataset, ...]:
    """The folds of a protocol, checked.

    A folder in an official layout is read as that dataset, whether or not it holds manifests too; a folder
    with folders live and spoof only where it holds none.
    `Dataset.basis` says what the numbers rest on.

    Args:
        data: one dataset, a folder or a CSV; None where `data_root` is given
        data_root: a folder that holds several datasets, for a protocol across them
        protocol: as above; None: the dataset's own splits
        frames_per_video: how many frames of each video are scored
        splits: which are returned and checked for files and classes; that nobody is in two splits is checked
            over all three
        without_dev: as in `Fold.dataset`
        images: the folder in which relative paths of manifests begin; None: that of the manifest

    Raises:
        BadDataset: the data cannot be read, or numbers from it would be meaningless
        UserError: the protocol does not exist or does not fit the data
        UnknownName: like UserError, for a split, a dataset letter or a domain
    """
    unknown = [split for split in splits if split not in SPLITS]
    if unknown:
        raise UnknownName("split", unknown[0], SPLITS)
    folds = opened(data, data_root, protocol, frames_per_video, splits, images).folds
    return tuple(fold.dataset(splits, without_dev=without_dev) for fold in folds)


@dataclass(frozen=True)
class Opened:
    """The folds of a protocol, with what they come from."""

    folds: tuple[Fold, ...]
    corpora: tuple[Corpus, ...] = ()


def opened(
    data: Path | None,
    data_root: Path | None,
    protocol: str | None,
    frames: int,
    splits: Sequence[str],
    images: Path | None = None,
) -> Opened:
    """The folds of a protocol, not yet checked; arguments and errors as those of `open_data`."""
    name = (protocol or "").strip()
    if (data is None) == (data_root is None):
        raise UserError(
            "give either a dataset or a data root",
            remedy="--data names one dataset, --data-root a folder that holds several.",
        )
    if data_root is not None:
        if ":" not in name:
            raise UserError(
                f"protocol {name!r} is not a protocol across datasets",
                remedy="With --data-root give sources and a target, as in --protocol O+C+I:M.",
            )
        return _across_datasets(data_root, *_sources_and_target(name), frames)
    assert data is not None
    if ":" not in name and name not in _OWN and not _OULU.fullmatch(name):
        raise UserError(f"there is no protocol {name!r}", remedy=_GRAMMAR)
    layout = layouts.recognise(data)
    if layout is not None and not (has_manifests(data) and not layout.title):
        if images is not None:
            raise UserError(
                f"--images is for manifests, and {data} is not read by one",
                remedy="Leave it out, or name the manifest with --data.",
            )
        return _of_corpus(layout.read(data), name, frames)
    if data.is_dir() and not has_manifests(data) and not (data / "dataset.json").is_file():
        raise _unrecognised(data)
    return Opened((_of_manifests(read_manifests(data, frames, images), data, name, splits),))


def _unrecognised(data: Path) -> BadDataset:
    inner = {letter: root.name for letter, root in layouts.find(data).items()}
    titles = ", ".join(layout.title for layout in layouts.LAYOUTS if layout.title)
    return BadDataset(
        f"{data} holds no manifest, no folders live and spoof, and does not have the layout of {titles}",
        remedy=f"It holds {shortened(sorted(inner.values()))}: name one of them, or use --data-root."
        if inner
        else "Name the folder that holds the dataset's top-level folders.",
    )


def _sources_and_target(protocol: str) -> tuple[tuple[str, ...], str]:
    """The two sides of a protocol like O+C+I:M."""
    left, _, target = (part.strip() for part in protocol.partition(":"))
    sources = tuple(part.strip() for part in left.split("+"))
    if not target or "+" in target or ":" in target or not all(sources):
        raise UserError(
            f"protocol {protocol!r} is not of the form sources:target",
            remedy="Name one target, as in O+C+I:M or M+I:C.",
        )
    names = (*sources, target)
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(
            f"protocol {protocol!r} names {repeated} twice",
            remedy="A target that is also a source would test on people seen in training.",
        )
    return sources, target


def _of_corpus(corpus: Corpus, protocol: str, frames: int) -> Opened:
    """The folds of a protocol on one dataset in its official layout."""
    if ":" in protocol:
        sources, target = _sources_and_target(protocol)
        absent = next(name for name in (*sources, target) if name != corpus.letter)
        raise UserError(
            f"{corpus.root} is one dataset, {corpus.title}, and does not hold {absent}",
            remedy=f"Name the folder that holds the datasets: --data-root {corpus.root.parent}",
        )
    match = _OULU.fullmatch(protocol)
    if corpus.key == oulu.LAYOUT.key:
        number = int(match[1] or match[2]) if match else 1
        alone = int(match[3]) if match and match[3] else None
        phones = oulu.folds(corpus, number) if alone is None else (alone,)
        folds = tuple(_oulu_fold(corpus, number, phone, frames, alone=alone is not None) for phone in phones)
        return Opened(folds, (corpus,))
    if match:
        raise UserError(
            f"protocol {protocol} belongs to OULU-NPU; {corpus.root} is {corpus.title}",
            remedy="Leave out the protocol to use the dataset's own splits.",
        )
    return Opened((_own_splits(corpus, frames),), (corpus,))


def _oulu_fold(corpus: Corpus, number: int, phone: int | None, frames: int, *, alone: bool) -> Fold:
    lists = {split: oulu.listed(corpus, number, phone, split) for split in SPLITS}
    basis = [remark for listed in lists.values() for remark in listed.remarks]
    if number in {1, 3}:
        basis.append(
            "APCER is the maximum over print1, print2, replay1 and replay2;"
            " the lists themselves name print and replay"
        )
    if alone:
        basis.append(f"fold {phone} alone: protocol {number} is reported over all of its folds")
    return Fold(
        name=corpus.title,
        root=corpus.root,
        splits={split: _samples(listed.present, split, frames) for split, listed in lists.items()},
        missing={split: listed.missing for split, listed in lists.items()},
        official={} if corpus.simulated else oulu.official(number, phone),
        simulated=corpus.simulated,
        notice=corpus.notice,
        protocol=f"{corpus.title} protocol {number}",
        fold="" if phone is None else str(phone),
        basis=tuple(basis),
        faults=(*corpus.faults, *(fault for listed in lists.values() for fault in listed.faults)),
        rows_refused=not corpus.presentations,
    )


def _own_splits(corpus: Corpus, frames: int) -> Fold:
    """The splits that a dataset comes with; a development split is carved where it has none."""
    division = _Division.of(corpus, lambda presentation: presentation.split)
    carved = "dev" not in corpus.splits and "train" in corpus.splits and bool(corpus.presentations)
    if carved:
        division = division.carved("train")
    return Fold(
        name=corpus.title,
        root=corpus.root,
        splits={split: _samples(items, split, frames) for split, items in division.present.items()},
        missing=division.missing,
        official={} if carved else corpus.official,
        simulated=corpus.simulated,
        notice=corpus.notice,
        protocol=f"{corpus.title} {corpus.protocol}".strip(),
        basis=(*division.basis, *corpus.remarks),
        faults=(*corpus.faults, *division.faults),
        rows_refused=not corpus.presentations,
    )


def _across_datasets(data_root: Path, sources: Sequence[str], target: str, frames: int) -> Opened:
    """Train and develop on some datasets, test on another one."""
    roots = layouts.find(data_root, (*sources, target))
    corpora = tuple(_read_named(roots[letter]) for letter in (*sources, target))
    splits: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    missing: dict[str, list[Presentation]] = {split: [] for split in SPLITS}
    basis: list[str] = []
    faults: list[BadDataset] = []
    for corpus in corpora:
        develops = "dev" in corpus.splits
        if corpus is corpora[-1]:
            division = _Division.of(
                corpus, lambda presentation: "" if presentation.split == "dev" else "test"
            )
            tested = "train and test, without its dev" if develops else "everything"
            basis.append(f"tested on {corpus.title}: {tested}, as in SSDG (CVPR 2020)")
        elif develops:
            division = _Division.of(
                corpus, lambda presentation: "dev" if presentation.split == "dev" else "train"
            )
            basis.append(f"{corpus.title}: trains with its train and test, develops with its own dev")
        else:
            division = _Division.of(corpus, lambda _: "train").carved(f"all of {corpus.title}")
        basis += (*division.basis, *corpus.remarks)
        faults += (*corpus.faults, *division.faults)
        for split in SPLITS:
            splits[split] += _samples(division.present[split], split, frames)
            missing[split] += division.missing[split]
    titles = [corpus.title for corpus in corpora]
    fold = Fold(
        name=f"{' + '.join(titles[:-1])} to {titles[-1]}",
        root=data_root,
        splits={split: tuple(items) for split, items in splits.items()},
        missing={split: tuple(items) for split, items in missing.items()},
        simulated=any(corpus.simulated for corpus in corpora),
        notice=" ".join(dict.fromkeys(corpus.notice for corpus in corpora if corpus.notice)),
        protocol=f"{'+'.join(sources)} to {target}",
        basis=tuple(basis),
        faults=tuple(faults),
    )
    return Opened((fold,), corpora)


def _read_named(root: Path) -> Corpus:
    """A dataset whose presentations carry its key, so that names of two datasets cannot collide."""
    layout = layouts.recognise(root)
    assert layout is not None, root
    corpus = layout.read(root)

    def named(items: Iterable[Presentation]) -> tuple[Presentation, ...]:
        return tuple(
            replace(presentation, name=f"{corpus.key}/{presentation.name}") for presentation in items
        )

    return replace(corpus, presentations=named(corpus.presentations), missing=named(corpus.missing))


def _of_manifests(manifests: Manifests, data: Path, protocol: str, splits: Sequence[str]) -> Fold:
    """A generic dataset's own splits, or some of its domains against another one."""
    if _OULU.fullmatch(protocol):
        raise UserError(
            f"protocol {protocol} belongs to OULU-NPU; {data} is described by manifests",
            remedy="Leave out the protocol to use the splits of the manifests.",
        )
    by_split = manifests.splits
    basis: list[str] = []
    faults = list(manifests.faults)
    title = ""
    if ":" in protocol:
        sources, target = _sources_and_target(protocol)
        by_split = _domains(by_split, sources, target)
        title = f"{'+'.join(sources)} to {target}"
        basis.append(
            f"train and dev are those of the domains {', '.join(sources)}, test is that of domain {target};"
            " people are disjoint because the dataset's splits are"
        )
    looked_at = {split for split in splits if split in by_split}
    if "dev" not in by_split and "train" in by_split and "dev" in splits:
        looked_at.add("train")
    faults += [fault for split in SPLITS if split in looked_at for fault in manifests.row_faults(split)]
    if "dev" not in by_split and by_split.get("train") and not manifests.faults:
        try:
            people = development_people(by_split["train"])
        except BadDataset as fault:
            faults.append(fault)
        else:
            basis.append(carved_basis(people, by_split["train"], "train"))
            chosen = frozenset(people)
            by_split["dev"] = tuple(
                replace(sample, split="dev") for sample in by_split["train"] if sample.subject in chosen
            )
            by_split["train"] = tuple(sample for sample in by_split["train"] if sample.subject not in chosen)
    return Fold(
        name=manifests.about.name,
        root=manifests.root,
        splits={split: by_split[split] for split in SPLITS if split in by_split},
        simulated=manifests.about.simulated,
        notice=manifests.about.notice,
        protocol=title,
        basis=tuple(basis),
        faults=tuple(faults),
        rows_refused=bool(manifests.faults),
    )


def _domains(
    by_split: Mapping[str, tuple[Sample, ...]], sources: Sequence[str], target: str
) -> dict[str, tuple[Sample, ...]]:
    """Train and dev of the source domains, test of the target domain."""
    domains = sorted({sample.domain for samples in by_split.values() for sample in samples if sample.domain})
    for name in (*sources, target):
        if name not in domains:
            raise UnknownName("domain", name, domains)
    return {
        split: tuple(
            sample for sample in samples if sample.domain in ((target,) if split == "test" else sources)
        )
        for split, samples in by_split.items()
    }


def _samples(items: Iterable[Presentation], split: str, frames: int) -> tuple[Sample, ...]:
    return tuple(sample for presentation in items for sample in presentation.samples(frames, split))


@dataclass(frozen=True)
class _Division:
    """Presentations divided among splits.

    Attributes:
        present: split -> presentations with a file
        missing: split -> presentations without one
        basis: the sentence about a carved split
        faults: why none could be carved
    """

    present: dict[str, tuple[Presentation, ...]]
    missing: dict[str, tuple[Presentation, ...]]
    basis: tuple[str, ...] = ()
    faults: tuple[BadDataset, ...] = ()

    @classmethod
    def of(cls, corpus: Corpus, split_of: Callable[[Presentation], str]) -> _Division:
        """Every presentation in the split that a rule gives it; "" leaves it out."""
        return cls(_by_split(corpus.presentations, split_of), _by_split(corpus.missing, split_of))

    def carved(self, source: str) -> _Division:
        """The same with a development split carved from train; `source` is what from, in words."""
        train = self.present["train"]
        try:
            people = development_people(train)
        except BadDataset as fault:
            return replace(self, faults=(fault,))
        developing = frozenset(people)

        def divided(by_split: dict[str, tuple[Presentation, ...]]) -> dict[str, tuple[Presentation, ...]]:
            carved = _by_split(
                by_split["train"],
                lambda presentation: "dev" if presentation.subject in developing else "train",
            )
            return {**carved, "test": by_split["test"]}

        return _Division(divided(self.present), divided(self.missing), (carved_basis(people, train, source),))


def _by_split(
    items: Iterable[Presentation], split_of: Callable[[Presentation], str]
) -> dict[str, tuple[Presentation, ...]]:
    by_split: dict[str, list[Presentation]] = {split: [] for split in SPLITS}
    for presentation in items:
        split = split_of(presentation)
        if split:
            by_split[split].append(presentation)
    return {split: tuple(members) for split, members in by_split.items()}
