"""The errors of a test split at a threshold frozen on a development split, over one fold or several, with intervals.

The words are those of ISO/IEC 30107-3. `swapbench.pad.rates` defines each rate (offered here too), `swapbench.pad.intervals`
draws the bootstrap. One trial is one presentation (a video, a still), not one frame. A score that is NaN is a failure to acquire: it
is counted and reported apart, and is in no rate and in no number of trials.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import BadDataset
from swapbench.pad.intervals import Resampling
from swapbench.pad.rates import (
    EqualError,
    accepted,
    acer,
    apcer,
    apcer_by_species,
    auc,
    bpcer,
    bpcer_at_apcer,
    eer_threshold,
    far,
    hter,
    threshold_at_apcer,
    threshold_at_bpcer,
    usable,
    usable_species,
)
from swapbench.pad.scores import scores_sha256
from swapbench.records import Absent, Accuracy, FoldErrors, Interval, Proportion
from swapbench.stats import DRAWS, proportion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.pad.scores import Scored

__all__ = [
    "BPCER_TARGETS",
    "THRESHOLD_RULE",
    "EqualError",
    "ErrorRates",
    "FoldScores",
    "TargetRates",
    "ThresholdErrors",
    "accepted",
    "acer",
    "apcer",
    "apcer_by_species",
    "auc",
    "bpcer",
    "bpcer_at_apcer",
    "describe_without_dev",
    "eer_threshold",
    "errors_at",
    "evaluate",
    "evaluate_folds",
    "far",
    "hter",
    "threshold_at_apcer",
    "threshold_at_bpcer",
]

THRESHOLD_RULE = "eer@dev"
"""Name of the rule of `evaluate`: the EER threshold of the development split, then frozen."""

BPCER_TARGETS: Mapping[str, float] = {"bpcer10": 0.10, "bpcer20": 0.05, "bpcer100": 0.01}
"""BPCER10, 20 and 100: the BPCER at the lowest threshold with APCER of at most 10, 5 and 1 %."""


@dataclass(frozen=True, eq=False)
class FoldScores:
    """One fold of a protocol: development scores (None: there are none) and test scores, one row a presentation.

    name is empty where there is only one fold.
    """

    name: str
    dev: Scored | None
    test: Scored


@dataclass(frozen=True)
class ThresholdErrors:
    """What a threshold does to the presentations of one split, each proportion with its Clopper-Pearson interval."""

    threshold: float
    apcer_by_species: Mapping[str, Proportion]
    bpcer: Proportion

    @property
    def apcer(self) -> float:
        """The worst species' APCER."""
        return max(one.rate for one in self.apcer_by_species.values())

    @property
    def acer(self) -> float:
        """(APCER + BPCER) / 2."""
        return (self.apcer + self.bpcer.rate) / 2

    @property
    def far(self) -> float:
        """Accepted attacks / attacks, all species pooled."""
        return _pooled(self.apcer_by_species)

    @property
    def hter(self) -> float:
        """(pooled FAR + FRR) / 2."""
        return (self.far + self.bpcer.rate) / 2


def errors_at(threshold: float, scored: Scored, confidence: float = 0.95) -> ThresholdErrors:
    """Count the errors of presentations at a threshold. Raises BadDataset where one has no score or a class is missing."""
    usable(scored.bona_fide, "bona fide")
    by_species = {
        species: proportion(int(np.sum(accepted(scores, threshold))), scores.size, confidence)
        for species, scores in usable_species(scored.attacks_by_species).items()
    }
    rejected = int(np.sum(~accepted(scored.bona_fide, threshold)))
    return ThresholdErrors(threshold, by_species, proportion(rejected, scored.bona_fide.size, confidence))


@dataclass(frozen=True)
class ErrorRates:
    """Errors of the test split at a threshold frozen on the development split, with their intervals.

    All trials are presentations with a score; failures to acquire are beside them, by class: ISO/IEC 30107-3 calls their
    shares attack and bona fide presentation non-response rate, APNRR and BPNRR. eer and bpcer_at_apcer choose their
    thresholds on the test split itself, as papers do (eer is the literature's hter@target-eer), and are no more than a
    description of it.

    Over several folds apcer, acer, hter, eer, auc and dev_eer are means; proportions count the errors of all folds
    together, each fold at its own threshold.
    """

    folds: tuple[FoldErrors, ...]
    threshold_rule: str
    apcer_by_species: Mapping[str, Proportion]
    bpcer: Proportion
    acer_interval: Interval | None
    hter_interval: Interval | None
    auc_interval: Interval | None
    eer_interval: Interval | None
    bpcer_at_apcer: Mapping[str, Proportion | Absent]
    dev_failures_to_acquire: int
    failures_by_class: Mapping[str, int]
    subjects: int
    scores_sha256: str

    @property
    def threshold(self) -> float | None:
        """The frozen threshold; None over several folds, where each has its own."""
        return self.folds[0].threshold if len(self.folds) == 1 else None

    @property
    def apcer(self) -> float:
        """The worst species' APCER."""
        return fmean(one.apcer for one in self.folds)

    @property
    def acer(self) -> float:
        """(APCER + BPCER) / 2."""
        return fmean(one.acer for one in self.folds)

    @property
    def acer_sd(self) -> float | None:
        """Standard deviation of the folds' ACER (n - 1); None for one fold."""
        return stdev(one.acer for one in self.folds) if len(self.folds) > 1 else None

    @property
    def hter(self) -> float:
        """(pooled FAR + FRR) / 2 at the development split's threshold: hter@source-dev."""
        return fmean(one.hter for one in self.folds)

    @property
    def far(self) -> float:
        """Accepted attacks / attacks, all species pooled."""
        return fmean(_pooled(one.apcer_by_species) for one in self.folds)

    @property
    def eer(self) -> float:
        """EER of the test split: hter@target-eer."""
        return fmean(one.eer for one in self.folds)

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return fmean(one.auc for one in self.folds)

    @property
    def dev_eer(self) -> float:
        """EER of the development split."""
        return fmean(one.dev_eer for one in self.folds)

    @property
    def bona_fide(self) -> int:
        """Bona fide presentations with a score."""
        return sum(one.bona_fide for one in self.folds)

    @property
    def attacks(self) -> int:
        """Attack presentations with a score."""
        return sum(one.attacks for one in self.folds)

    @property
    def failures_to_acquire(self) -> int:
        """Presentations without a score."""
        return sum(self.failures_by_class.values())

    def accuracy(
        self,
        *,
        dataset: str,
        dataset_digest: str,
        simulated: bool,
        protocol: str,
        invoke_ns: int,
        pass_ns: int,
        faces: str = "",
        basis: tuple[str, ...] = (),
        frames: int | None = None,
        frames_without_score: int | None = None,
    ) -> Accuracy:
        """The record of these rates: what was scored, how, and how long it took is the caller's to say."""
        return Accuracy(
            dataset=dataset,
            dataset_digest=dataset_digest,
            simulated=simulated,
            protocol=protocol,
            threshold=self.threshold,
            threshold_rule=self.threshold_rule,
            apcer_by_species=dict(self.apcer_by_species),
            bpcer=self.bpcer,
            apcer=self.apcer,
            acer=self.acer,
            acer_interval=self.acer_interval,
            acer_sd=self.acer_sd,
            hter=self.hter,
            hter_interval=self.hter_interval,
            eer=self.eer,
            eer_interval=self.eer_interval,
            auc=self.auc,
            auc_interval=self.auc_interval,
            bpcer_at_apcer=dict(self.bpcer_at_apcer),
            dev_eer=self.dev_eer,
            folds=self.folds if len(self.folds) > 1 else (),
            failures_to_acquire=self.failures_to_acquire,
            failures_by_class=dict(self.failures_by_class),
            frames=frames,
            frames_without_score=frames_without_score,
            subjects=self.subjects,
            faces=faces,
            basis=basis,
            bona_fide=self.bona_fide,
            attacks=self.attacks,
            scores_sha256=self.scores_sha256,
            invoke_ns=invoke_ns,
            pass_ns=pass_ns,
        )


@dataclass(frozen=True)
class TargetRates:
    """What test scores say without a development split: descriptions of themselves, and errors at a threshold if one is given.

    eer is the literature's hter@target-eer: its threshold was chosen on these very scores. at_threshold, acer_interval and
    hter_interval are None unless a threshold was given.
    """

    eer: float
    eer_interval: Interval | None
    auc: float
    auc_interval: Interval | None
    bpcer_at_apcer: Mapping[str, Proportion | Absent]
    at_threshold: ThresholdErrors | None
    acer_interval: Interval | None
    hter_interval: Interval | None
    bona_fide: int
    attacks: int
    failures_by_class: Mapping[str, int]
    subjects: int
    scores_sha256: str


def evaluate(
    dev: Scored, test: Scored, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> ErrorRates:
    """`evaluate_folds` of a single fold."""
    return evaluate_folds([FoldScores("", dev, test)], confidence=confidence, draws=draws, seed=seed)


def evaluate_folds(
    folds: Sequence[FoldScores], *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> ErrorRates:
    """In every fold, freeze the EER threshold of its development scores and count the errors of its test scores at it.

    Tables hold one row a presentation; the same presentation may be tested in several folds. Proportions carry
    Clopper-Pearson intervals; ACER, HTER, AUC and EER a bootstrap over subjects, drawn for all folds at once (None for fewer
    than two subjects; AUC and EER also None where the classes do not overlap). In the
    bootstrap of AUC and EER, and nowhere else, more than 2048 different scores share bins: see `swapbench.pad.intervals`.

    Raises BadDataset where a split lacks a class, has frames for presentations, or shares a presentation with the other,
    and where a fold has no development scores or a name twice.
    """
    if not folds or len({fold.name for fold in folds}) < len(folds):
        raise BadDataset(
            f"{len(folds)} folds of {len({fold.name for fold in folds})} names cannot be evaluated"
        )
    known, decided, errors = [], [], []
    dev_failures = 0
    for fold in folds:
        dev = _checked_dev(fold)
        test = fold.test.acquired
        frozen = eer_threshold(dev.acquired.bona_fide, dev.acquired.attacks)
        at_frozen = errors_at(frozen.threshold, test, confidence)
        dev_failures += dev.failures_to_acquire
        known.append(test)
        decided.append(at_frozen)
        errors.append(
            FoldErrors(
                fold=fold.name,
                threshold=frozen.threshold,
                dev_eer=frozen.eer,
                apcer_by_species=dict(at_frozen.apcer_by_species),
                bpcer=at_frozen.bpcer,
                apcer=at_frozen.apcer,
                acer=at_frozen.acer,
                hter=at_frozen.hter,
                eer=eer_threshold(test.bona_fide, test.attacks).eer,
                auc=auc(test.bona_fide, test.attacks),
                bona_fide=test.bona_fide.size,
                attacks=test.attacks.size,
                failures_to_acquire=fold.test.failures_to_acquire,
            )
        )
    species = sorted({name for one in decided for name in one.apcer_by_species})
    sampling = Resampling.of(known, confidence, draws, seed)
    acer_interval, hter_interval = sampling.decisions(decided)
    auc_interval, eer_interval = sampling.rankings([one.auc for one in errors], [one.eer for one in errors])
    repeats = sum(len(fold.test) for fold in folds) - len(
        {name for fold in folds for name in fold.test.presentation.tolist()}
    )
    return ErrorRates(
        folds=tuple(errors),
        threshold_rule=THRESHOLD_RULE,
        apcer_by_species={
            name: _summed(
                [one.apcer_by_species[name] for one in decided if name in one.apcer_by_species],
                confidence,
                repeats,
            )
            for name in species
        },
        bpcer=_summed([one.bpcer for one in decided], confidence, repeats),
        acer_interval=acer_interval,
        hter_interval=hter_interval,
        auc_interval=auc_interval,
        eer_interval=eer_interval,
        bpcer_at_apcer={
            name: _bpcer_of_folds(target, folds, confidence, repeats)
            for name, target in BPCER_TARGETS.items()
        },
        dev_failures_to_acquire=dev_failures,
        failures_by_class=_failures_by_class([fold.test for fold in folds]),
        subjects=len({person for fold in folds for person in fold.test.subject.tolist()}),
        scores_sha256=_digest(folds),
    )


def describe_without_dev(
    test: Scored,
    threshold: float | None = None,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> TargetRates:
    """What test scores alone say, one row a presentation; with a `threshold` that came from elsewhere also the errors at it.

    Raises BadDataset where a class is missing or frames stand for presentations.
    """
    _check_split("test", test)
    known = test.acquired
    at_threshold = None if threshold is None else errors_at(threshold, known, confidence)
    sampling = Resampling.of([known], confidence, draws, seed)
    acer_interval, hter_interval = (
        (None, None) if at_threshold is None else sampling.decisions([at_threshold])
    )
    area = auc(known.bona_fide, known.attacks)
    equal = eer_threshold(known.bona_fide, known.attacks).eer
    auc_interval, eer_interval = sampling.rankings([area], [equal])
    return TargetRates(
        eer=equal,
        eer_interval=eer_interval,
        auc=area,
        auc_interval=auc_interval,
        bpcer_at_apcer={
            name: bpcer_at_apcer(target, known.bona_fide, known.attacks_by_species, confidence)
            for name, target in BPCER_TARGETS.items()
        },
        at_threshold=at_threshold,
        acer_interval=acer_interval,
        hter_interval=hter_interval,
        bona_fide=known.bona_fide.size,
        attacks=known.attacks.size,
        failures_by_class=_failures_by_class([test]),
        subjects=len(set(test.subject.tolist())),
        scores_sha256=scores_sha256(test),
    )


def _checked_dev(fold: FoldScores) -> Scored:
    """The development scores of a fold whose two splits can be evaluated."""
    of = f" of fold {fold.name}" if fold.name else ""
    if fold.dev is None:
        raise BadDataset(
            f"the scores{of} have no development split",
            remedy="A threshold must be frozen on one: add its scores, or give a threshold.",
        )
    for split, scored in (("dev", fold.dev), ("test", fold.test)):
        _check_split(split, scored, of)
    shared = set(fold.dev.presentation.tolist()).intersection(fold.test.presentation.tolist())
    if shared:
        raise BadDataset(
            f"{len(shared)} presentations are in dev and in test{of}, among them {min(shared)}",
            remedy="A threshold may never come from the scores that it is judged on.",
        )
    return fold.dev


def _check_split(split: str, scored: Scored, of: str = "") -> None:
    names = scored.presentation.tolist()
    if len(set(names)) < len(names):
        twice = min(name for name, count in Counter(names).items() if count > 1)
        raise BadDataset(
            f"presentation {twice} has several scores in {split}{of}",
            remedy="One presentation is one trial: average its frames with mean_by_presentation first.",
        )
    known = scored.acquired
    for what, found in (("bona fide", known.bona_fide), ("attack", known.attacks)):
        if not found.size:
            raise BadDataset(
                f"the {split} split{of} has no {what} presentation with a score"
                f" ({len(scored)} presentations, {scored.failures_to_acquire} failures to acquire)",
                remedy="Both classes are needed in dev and in test.",
            )
    lost = set(scored.attacks_by_species) - set(known.attacks_by_species)
    if lost:
        raise BadDataset(
            f"no attack of species {', '.join(sorted(lost))} in {split}{of} has a score",
            remedy="Its APCER would vanish from the maximum: find out why no face was found.",
        )


def _pooled(by_species: Mapping[str, Proportion]) -> float:
    every = by_species.values()
    return sum(one.errors for one in every) / sum(one.trials for one in every)


def _summed(folds: Sequence[Proportion], confidence: float, repeats: int) -> Proportion:
    """Errors of all folds out of trials of all folds."""
    if len(folds) == 1:
        return folds[0]
    total = proportion(sum(one.errors for one in folds), sum(one.trials for one in folds), confidence)
    if not repeats:
        return total
    method = (
        f"{total.interval.method} as if {repeats} repeats of presentations in several folds were new ones"
    )
    return total.replace(interval=total.interval.replace(method=method))


def _bpcer_of_folds(
    target: float, folds: Sequence[FoldScores], confidence: float, repeats: int
) -> Proportion | Absent:
    """`bpcer_at_apcer` of every fold, summed like all proportions; absent where it is in one of them."""
    found = []
    for fold in folds:
        known = fold.test.acquired
        one = bpcer_at_apcer(target, known.bona_fide, known.attacks_by_species, confidence)
        if isinstance(one, Absent):
            return one.replace(absent=f"fold {fold.name}: {one.absent}") if fold.name else one
        found.append(one)
    return _summed(found, confidence, repeats)


def _failures_by_class(tests: Sequence[Scored]) -> dict[str, int]:
    return {
        "bona_fide": sum(int(np.sum(np.isnan(test.bona_fide))) for test in tests),
        "attack": sum(int(np.sum(np.isnan(test.attacks))) for test in tests),
    }


def _digest(folds: Sequence[FoldScores]) -> str:
    """The digest of the test scores; over several folds that of the lines `digest name`, in the order of names."""
    digests = {fold.name: scores_sha256(fold.test) for fold in folds}
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{digests[name]} {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
