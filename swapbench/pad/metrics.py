"""Error rates of a test split at a threshold frozen on a development split, over one fold or several.

The terms are those of ISO/IEC 30107-3. `swapbench.pad.rates` defines each rate, `swapbench.pad.intervals`
draws the bootstrap. One trial is one presentation (a video or a still image), not one frame. A score of NaN
is a failure to acquire: it is counted and reported separately, and enters no rate and no number of trials.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, fields
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import BadDataset
from swapbench.pad.intervals import People
from swapbench.pad.rates import (
    EER_AT_DEV,
    auc,
    bpcer_at_apcer,
    decisions_by_class,
    eer_threshold,
    errors_at,
    pooled_rate,
    threshold_at_apcer,
)
from swapbench.pad.scores import mean_by_presentation, scores_sha256
from swapbench.records import Absent, Accuracy, FailedFrames, FoldErrors, Interval, Proportion
from swapbench.stats import DRAWS, clustered_proportion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.pad.rates import ThresholdErrors, ThresholdRule
    from swapbench.pad.scores import FoldFrames, Scored, Text

GIVEN_RULE = "given"
"""Name of the rule where a threshold was frozen elsewhere."""

BPCER_TARGETS: Mapping[str, float] = {"bpcer10": 0.10, "bpcer20": 0.05, "bpcer100": 0.01}
"""BPCER10, 20 and 100: the BPCER at the lowest threshold with an APCER of at most 10, 5 and 1 %."""


@dataclass(frozen=True, eq=False)
class FoldScores:
    """The scores of one fold of a protocol, one row per presentation.

    Attributes:
        name: empty where there is only one fold
        dev: development scores; None where there are none
        test: test scores
    """

    name: str
    dev: Scored | None
    test: Scored

    @classmethod
    def of_frames(cls, fold: FoldFrames) -> FoldScores:
        """The mean score of the frames of every presentation."""
        dev = mean_by_presentation(fold.dev)[0] if len(fold.dev) else None
        return cls(fold.name, dev, mean_by_presentation(fold.test)[0])


@dataclass(frozen=True)
class ScoringPass:
    """What was scored, how, and how long it took, under the field names of `records.Accuracy`."""

    dataset: str
    dataset_digest: str
    simulated: bool
    protocol: str
    invoke_ns: int
    pass_ns: int
    faces: str = ""
    basis: tuple[str, ...] = ()
    frames: int | None = None
    frames_without_score: int | None = None
    failed_frames: tuple[FailedFrames, ...] = ()
    crops_at_border: int | None = None


@dataclass(frozen=True)
class ErrorRates:
    """Errors of a test split at a threshold frozen on a development split, named as in `records.Accuracy`.

    Over several folds apcer, acer, hter, eer, auc and dev_eer are means; proportions count the errors of all
    folds together, each fold at its own threshold. eer and bpcer_at_apcer choose their thresholds on the test
    split itself, as papers do (eer is the literature's hter@target-eer): they describe the test split and are
    no estimate for new data.

    Attributes:
        folds: every fold, also where there is only one
        acer_bias: see `records.Accuracy`
        bpcer_at_apcer: a name of `BPCER_TARGETS` -> the BPCER, or why the scores cannot support it
        failures_by_class: bona_fide and attack presentations without a score; ISO/IEC 30107-3 calls their
            shares BPNRR and APNRR, the bona fide and attack presentation non-response rates
        subjects: people in the test split
        scores_sha256: digest of the test scores
    """

    folds: tuple[FoldErrors, ...]
    threshold_rule: str
    apcer_by_species: Mapping[str, Proportion]
    bpcer: Proportion
    acer_interval: Interval | None
    acer_bias: float | None
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
        return fmean(fold.apcer for fold in self.folds)

    @property
    def acer(self) -> float:
        """(APCER + BPCER) / 2."""
        return fmean(fold.acer for fold in self.folds)

    @property
    def acer_sd(self) -> float | None:
        """Sample standard deviation of the folds' ACER (n - 1); None for one fold."""
        return stdev(fold.acer for fold in self.folds) if len(self.folds) > 1 else None

    @property
    def hter(self) -> float:
        """(pooled FAR + FRR) / 2 at the development split's threshold: hter@source-dev."""
        return fmean(fold.hter for fold in self.folds)

    @property
    def far(self) -> float:
        """Accepted attacks / attacks, all species pooled."""
        return fmean(pooled_rate(fold.apcer_by_species.values()) for fold in self.folds)

    @property
    def eer(self) -> float:
        """EER of the test split: hter@target-eer."""
        return fmean(fold.eer for fold in self.folds)

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return fmean(fold.auc for fold in self.folds)

    @property
    def dev_eer(self) -> float:
        """EER of the development split."""
        return fmean(fold.dev_eer for fold in self.folds)

    @property
    def bona_fide(self) -> int:
        """Bona fide presentations with a score."""
        return sum(fold.bona_fide for fold in self.folds)

    @property
    def attacks(self) -> int:
        """Attack presentations with a score."""
        return sum(fold.attacks for fold in self.folds)

    @property
    def failures_to_acquire(self) -> int:
        """Presentations without a score."""
        return sum(self.failures_by_class.values())

    def accuracy(self, scoring: ScoringPass) -> Accuracy:
        """The record of these rates; its list of folds is empty where there is only one."""
        rates = {name: getattr(self, name) for name in _RATES_OF_A_RECORD}
        folds = self.folds if len(self.folds) > 1 else ()
        return Accuracy(folds=folds, **rates, **vars(scoring))


_RATES_OF_A_RECORD = sorted(
    Accuracy.model_fields.keys() - {field.name for field in fields(ScoringPass)} - {"folds"}
)


@dataclass(frozen=True)
class TargetRates:
    """What test scores say without a development split.

    Attributes:
        eer: the literature's hter@target-eer: its threshold was chosen on these very scores
        bpcer_at_apcer: as in `ErrorRates`
        at_threshold: errors at a given threshold; None, like acer_interval and hter_interval, where none was
            given
        failures_by_class: as in `ErrorRates`
    """

    eer: float
    eer_interval: Interval | None
    auc: float
    auc_interval: Interval | None
    bpcer_at_apcer: Mapping[str, Proportion | Absent]
    at_threshold: ThresholdErrors | None
    acer_interval: Interval | None
    acer_bias: float | None
    hter_interval: Interval | None
    bona_fide: int
    attacks: int
    failures_by_class: Mapping[str, int]
    subjects: int
    scores_sha256: str

    def accuracy(self, scoring: ScoringPass) -> Accuracy:
        """The record of these rates; what needs a threshold is None where there is none."""
        errors = self.at_threshold
        return Accuracy(
            threshold=None if errors is None else errors.threshold,
            threshold_rule="" if errors is None else GIVEN_RULE,
            apcer_by_species={} if errors is None else dict(errors.apcer_by_species),
            bpcer=None if errors is None else errors.bpcer,
            apcer=None if errors is None else errors.apcer,
            acer=None if errors is None else errors.acer,
            acer_interval=self.acer_interval,
            acer_bias=self.acer_bias,
            hter=None if errors is None else errors.hter,
            hter_interval=self.hter_interval,
            eer=self.eer,
            eer_interval=self.eer_interval,
            auc=self.auc,
            auc_interval=self.auc_interval,
            dev_eer=None,
            bpcer_at_apcer=dict(self.bpcer_at_apcer),
            failures_to_acquire=sum(self.failures_by_class.values()),
            failures_by_class=dict(self.failures_by_class),
            subjects=self.subjects,
            bona_fide=self.bona_fide,
            attacks=self.attacks,
            scores_sha256=self.scores_sha256,
            **vars(scoring),
        )


def evaluate(
    dev: Scored, test: Scored, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> ErrorRates:
    """`evaluate_folds` of a single fold."""
    return evaluate_folds([FoldScores("", dev, test)], confidence=confidence, draws=draws, seed=seed)


def evaluate_folds(
    folds: Sequence[FoldScores],
    *,
    rule: ThresholdRule = EER_AT_DEV,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> ErrorRates:
    """Freeze each fold's threshold on its development scores and count the errors of its test scores.

    Proportions carry intervals that know about people (`stats.clustered_proportion`); ACER, HTER, AUC and EER
    those of `People`, for all folds at once.

    Args:
        folds: tables of one row per presentation; the same presentation may be tested in several folds
        rule: how thresholds are frozen
        confidence: of all intervals, between 0 and 1
        draws: bootstrap replicates
        seed: of the bootstrap

    Returns:
        The rates. The intervals of ACER, HTER, AUC and EER are None for fewer than two subjects, those of AUC
            and EER
        also where the classes do not overlap.

    Raises:
        BadDataset: a split lacks a class, has several rows for a presentation, or shares a presentation with
            the other split; a fold has no development scores, or a name is there twice
    """
    if not folds or len({fold.name for fold in folds}) < len(folds):
        raise BadDataset(
            f"{len(folds)} folds of {len({fold.name for fold in folds})} names cannot be evaluated",
            remedy="Every fold needs a name of its own.",
        )
    errors = [_fold_errors(fold, rule, confidence) for fold in folds]
    people = People.of([fold.test.acquired for fold in folds], confidence, draws, seed)
    acer_interval, hter_interval = people.acer_and_hter(errors)
    auc_interval, eer_interval = people.auc_and_eer(
        [fold.auc for fold in errors], [fold.eer for fold in errors]
    )
    decisions = [
        decisions_by_class(error.threshold, fold.test.acquired)
        for error, fold in zip(errors, folds, strict=True)
    ]
    by_class = {
        name: _of_all_folds([fold[name] for fold in decisions if name in fold], confidence)
        for name in sorted({name for fold in decisions for name in fold})
    }
    return ErrorRates(
        folds=tuple(errors),
        threshold_rule=rule.name,
        apcer_by_species={name: rate for name, rate in by_class.items() if name},
        bpcer=by_class[""],
        acer_interval=acer_interval,
        acer_bias=people.bias_of_acer(errors),
        hter_interval=hter_interval,
        auc_interval=auc_interval,
        eer_interval=eer_interval,
        bpcer_at_apcer={
            name: _bpcer_of_folds(target, folds, confidence) for name, target in BPCER_TARGETS.items()
        },
        dev_failures_to_acquire=sum(fold.dev.failures_to_acquire for fold in folds if fold.dev is not None),
        failures_by_class=_failures_by_class([fold.test for fold in folds]),
        subjects=len({subject for fold in folds for subject in fold.test.subject.tolist()}),
        scores_sha256=folds_sha256(folds),
    )


def _fold_errors(fold: FoldScores, rule: ThresholdRule, confidence: float) -> FoldErrors:
    dev, test = _checked_dev(fold).acquired, fold.test.acquired
    threshold = rule.threshold(dev)
    errors = errors_at(threshold, test, confidence)
    return FoldErrors(
        fold=fold.name,
        threshold=threshold,
        dev_eer=eer_threshold(dev.bona_fide, dev.attacks).eer,
        apcer_by_species=dict(errors.apcer_by_species),
        bpcer=errors.bpcer,
        apcer=errors.apcer,
        acer=errors.acer,
        hter=errors.hter,
        eer=eer_threshold(test.bona_fide, test.attacks).eer,
        auc=auc(test.bona_fide, test.attacks),
        bona_fide=test.bona_fide.size,
        attacks=test.attacks.size,
        failures_to_acquire=fold.test.failures_to_acquire,
    )


def describe_without_dev(
    test: Scored,
    threshold: float | None = None,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> TargetRates:
    """What test scores alone say, and the errors at a threshold that came from elsewhere.

    Args:
        test: one row per presentation
        threshold: a score from which presentations are accepted; None leaves out the errors at it
        confidence: of all intervals, between 0 and 1
        draws: bootstrap replicates
        seed: of the bootstrap

    Raises:
        BadDataset: a class is missing, or a presentation has several rows
    """
    _check_split("test", test)
    acquired = test.acquired
    at_threshold = None if threshold is None else errors_at(threshold, acquired, confidence)
    people = People.of([acquired], confidence, draws, seed)
    acer_interval, hter_interval = (
        (None, None) if at_threshold is None else people.acer_and_hter([at_threshold])
    )
    area = auc(acquired.bona_fide, acquired.attacks)
    eer = eer_threshold(acquired.bona_fide, acquired.attacks).eer
    auc_interval, eer_interval = people.auc_and_eer([area], [eer])
    return TargetRates(
        eer=eer,
        eer_interval=eer_interval,
        auc=area,
        auc_interval=auc_interval,
        bpcer_at_apcer={name: _bpcer(target, acquired, confidence) for name, target in BPCER_TARGETS.items()},
        at_threshold=at_threshold,
        acer_interval=acer_interval,
        acer_bias=None if at_threshold is None else people.bias_of_acer([at_threshold]),
        hter_interval=hter_interval,
        bona_fide=acquired.bona_fide.size,
        attacks=acquired.attacks.size,
        failures_by_class=_failures_by_class([test]),
        subjects=len(set(test.subject.tolist())),
        scores_sha256=scores_sha256(test),
    )


def _checked_dev(fold: FoldScores) -> Scored:
    """The development scores of a fold whose two splits can be evaluated."""
    of_fold = f" of fold {fold.name}" if fold.name else ""
    if fold.dev is None:
        raise BadDataset(
            f"the scores{of_fold} have no development split",
            remedy="A threshold must be frozen on one: add its scores, or give a threshold.",
        )
    for split, scored in (("dev", fold.dev), ("test", fold.test)):
        _check_split(split, scored, of_fold)
    shared = set(fold.dev.presentation.tolist()).intersection(fold.test.presentation.tolist())
    if shared:
        raise BadDataset(
            f"{len(shared)} presentations are in both dev and test{of_fold}, among them {min(shared)}",
            remedy="A threshold must not be chosen on the scores that it is judged on.",
        )
    return fold.dev


def _check_split(split: str, scored: Scored, of_fold: str = "") -> None:
    names = scored.presentation.tolist()
    if len(set(names)) < len(names):
        repeated = min(name for name, count in Counter(names).items() if count > 1)
        raise BadDataset(
            f"presentation {repeated} has several scores in {split}{of_fold}",
            remedy="One presentation is one trial: average its frames with mean_by_presentation first.",
        )
    acquired = scored.acquired
    for label, scores in (("bona fide", acquired.bona_fide), ("attack", acquired.attacks)):
        if not scores.size:
            raise BadDataset(
                f"the {split} split{of_fold} has no {label} presentation with a score"
                f" ({len(scored)} presentations, {scored.failures_to_acquire} failures to acquire)",
                remedy="Dev and test both need bona fide presentations and attacks.",
            )
    lost = set(scored.attacks_by_species) - set(acquired.attacks_by_species)
    if lost:
        raise BadDataset(
            f"no attack of species {', '.join(sorted(lost))} in {split}{of_fold} has a score",
            remedy="Its APCER would be missing from the maximum.",
        )


def _of_all_folds(decisions: Sequence[tuple[NDArray[np.bool_], Text]], confidence: float) -> Proportion:
    """Errors of all folds out of trials of all folds; a person of several folds is one person."""
    wrong, person = (np.concatenate(parts) for parts in zip(*decisions, strict=True))
    return clustered_proportion(wrong, person, confidence)


def _bpcer(target: float, acquired: Scored, confidence: float) -> Proportion | Absent:
    """`bpcer_at_apcer` of presentations with a score."""
    people = acquired.subject[acquired.is_bona_fide]
    return bpcer_at_apcer(target, acquired.bona_fide, acquired.attacks_by_species, confidence, people)


def _bpcer_of_folds(target: float, folds: Sequence[FoldScores], confidence: float) -> Proportion | Absent:
    """`bpcer_at_apcer` of all folds together, each at its own threshold; absent if absent in one fold."""
    decisions = []
    for fold in folds:
        acquired = fold.test.acquired
        bpcer = _bpcer(target, acquired, confidence)
        if isinstance(bpcer, Absent):
            return bpcer.replace(absent=f"fold {fold.name}: {bpcer.absent}") if fold.name else bpcer
        if len(folds) == 1:
            return bpcer
        threshold = threshold_at_apcer(target, acquired.attacks_by_species)
        decisions.append(decisions_by_class(threshold, acquired)[""])
    return _of_all_folds(decisions, confidence)


def _failures_by_class(tests: Sequence[Scored]) -> dict[str, int]:
    return {
        "bona_fide": sum(int(np.sum(np.isnan(test.bona_fide))) for test in tests),
        "attack": sum(int(np.sum(np.isnan(test.attacks))) for test in tests),
    }


def folds_sha256(folds: Sequence[FoldScores]) -> str:
    """The digest of the test scores; over several folds that of the sorted lines `digest name`."""
    digests = {fold.name: scores_sha256(fold.test) for fold in folds}
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{digests[name]} {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
