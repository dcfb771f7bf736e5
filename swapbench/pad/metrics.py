"""The error rates of ISO/IEC 30107-3, in its words, from scores alone.

Scores rise with bona fide. **A presentation is accepted as bona fide iff `score >= threshold`**: a score exactly on
the threshold is accepted, of a bona fide presentation and of an attack alike. APCER is the worst attack instrument
species, never pooled. One trial is one presentation (a video, a still), not one frame. A score that is NaN is a
failure to acquire: it is counted and reported apart, and is in no rate and in no number of trials.

All comparisons are made in float64. This module knows nothing of images, networks or files of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import BadDataset, UserError
from swapbench.pad.scores import scores_sha256
from swapbench.records import Absent, Accuracy, Interval, Proportion
from swapbench.stats import clustered_bootstrap, proportion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from swapbench.pad.scores import Scored, Scores

THRESHOLD_RULE = "eer@dev"
"""Name of the rule of `evaluate`: the EER threshold of the development split, then frozen."""

BPCER_TARGETS: Mapping[str, float] = {"bpcer10": 0.10, "bpcer20": 0.05, "bpcer100": 0.01}
"""BPCER10, 20 and 100: the BPCER at the lowest threshold with APCER of at most 10, 5 and 1 %."""


def accepted(scores: Scores, threshold: float) -> NDArray[np.bool_]:
    """Which scores are accepted as bona fide: `score >= threshold`, a tie accepts."""
    if math.isnan(threshold):
        raise UserError("a threshold cannot be NaN")
    return np.asarray(scores, dtype=np.float64) >= threshold


def bpcer(threshold: float, bona_fide: Scores) -> float:
    """Rejected bona fide / bona fide."""
    return float(np.mean(~accepted(_usable(bona_fide, "bona fide"), threshold)))


def apcer_by_species(threshold: float, attacks: Mapping[str, Scores]) -> dict[str, float]:
    """Accepted attacks of a species / attacks of that species."""
    return {
        species: float(np.mean(accepted(scores, threshold)))
        for species, scores in _usable_species(attacks).items()
    }


def apcer(threshold: float, attacks: Mapping[str, Scores]) -> float:
    """The APCER of the species that is accepted most often: the maximum, never pooled."""
    return max(apcer_by_species(threshold, attacks).values())


def acer(threshold: float, bona_fide: Scores, attacks: Mapping[str, Scores]) -> float:
    """(APCER + BPCER) / 2 with the worst species' APCER. Kept for old tables; ISO/IEC 30107-3:2023 has no such headline."""
    return (apcer(threshold, attacks) + bpcer(threshold, bona_fide)) / 2


def far(threshold: float, attacks: Mapping[str, Scores]) -> float:
    """Accepted attacks / attacks over all species together: the old literature's pooled FAR, not an APCER."""
    pooled = np.concatenate(list(_usable_species(attacks).values()))
    return float(np.mean(accepted(pooled, threshold)))


def hter(threshold: float, bona_fide: Scores, attacks: Mapping[str, Scores]) -> float:
    """(FAR + FRR) / 2 with the pooled FAR. `threshold` must come from another split than these scores."""
    return (far(threshold, attacks) + bpcer(threshold, bona_fide)) / 2


@dataclass(frozen=True)
class EqualError:
    """The EER threshold with both rates there, which need not be equal on finitely many scores."""

    threshold: float
    far: float
    frr: float

    @property
    def eer(self) -> float:
        """The mean of both rates at the threshold."""
        return (self.far + self.frr) / 2


def eer_threshold(bona_fide: Scores, attacks: Scores) -> EqualError:
    """The threshold among all scores and +inf at which abs(FAR - FRR) is smallest; the lowest of equals.

    `attacks` holds all species together. Rates are compared as whole numbers of errors, so rounding decides nothing.
    """
    real = np.sort(_usable(bona_fide, "bona fide"))
    fake = np.sort(_usable(attacks, "attack"))
    candidates = np.append(np.unique(np.concatenate([real, fake])), np.inf)
    accepted_attacks = fake.size - np.searchsorted(fake, candidates, side="left")
    rejected_bona_fide = np.searchsorted(real, candidates, side="left")
    best = int(np.argmin(np.abs(accepted_attacks * real.size - rejected_bona_fide * fake.size)))
    return EqualError(
        threshold=float(candidates[best]),
        far=float(accepted_attacks[best]) / fake.size,
        frr=float(rejected_bona_fide[best]) / real.size,
    )


def threshold_at_apcer(target: float, attacks: Mapping[str, Scores]) -> float:
    """The lowest threshold at which no species' APCER exceeds `target`.

    With a species' scores sorted downwards and k = floor(target * N), at most k of them may be accepted: just above
    the (k+1)-th score, `nextafter` in float64; -inf where all may be. The strictest species decides.
    """
    _checked_target(target)
    return max(_threshold_of_species(target, scores) for scores in _usable_species(attacks).values())


def _threshold_of_species(target: float, scores: Scores) -> float:
    allowed = math.floor(target * scores.size + 1e-12)
    if allowed >= scores.size:
        return -math.inf
    return float(np.nextafter(np.sort(scores)[::-1][allowed], np.inf))


def threshold_at_bpcer(target: float, bona_fide: Scores) -> float:
    """The highest threshold at which the BPCER does not exceed `target`; +inf where all may be rejected."""
    _checked_target(target)
    scores = np.sort(_usable(bona_fide, "bona fide"))
    allowed = math.floor(target * scores.size + 1e-12)
    return math.inf if allowed >= scores.size else float(scores[allowed])


def bpcer_at_apcer(
    target: float, bona_fide: Scores, attacks: Mapping[str, Scores], confidence: float = 0.95
) -> Proportion | Absent:
    """BPCER at `threshold_at_apcer(target, attacks)` of the same scores, or why these cannot support it.

    Fewer than 1/target attacks of a species cannot tell an APCER of `target` from 0: absent, not a number.
    """
    threshold = threshold_at_apcer(target, attacks)
    smallest = min(attacks, key=lambda species: attacks[species].size)
    size = attacks[smallest].size
    if size * target < 1 - 1e-9:
        return Absent(
            absent=f"{size} attacks of species {smallest} cannot resolve an APCER of {100 * target:g} %",
            remedy=f"Needs at least {math.ceil(1 / target - 1e-9)} attacks of every species."
            if target > 0
            else "",
        )
    scores = _usable(bona_fide, "bona fide")
    return proportion(int(np.sum(~accepted(scores, threshold))), scores.size, confidence)


def auc(bona_fide: Scores, attacks: Scores) -> float:
    """P(bona fide score > attack score), ties counted half: the area under the ROC curve, from ranks (Mann-Whitney)."""
    real, fake = _usable(bona_fide, "bona fide"), np.sort(_usable(attacks, "attack"))
    below = np.searchsorted(fake, real, side="left").sum()
    not_above = np.searchsorted(fake, real, side="right").sum()
    return float(below + not_above) / 2 / (real.size * fake.size)


@dataclass(frozen=True)
class ErrorRates:
    """Errors of the test split at a threshold frozen on the development split, with their intervals.

    All trials are presentations with a score; `failures_to_acquire` are beside them. eer and bpcer_at_apcer choose
    their thresholds on the test split itself, as papers do, and are no more than a description of it.
    """

    threshold: float
    threshold_rule: str
    apcer_by_species: Mapping[str, Proportion]
    bpcer: Proportion
    acer_interval: Interval | None
    far: float
    eer: float
    auc: float
    auc_interval: Interval | None
    bpcer_at_apcer: Mapping[str, Proportion | Absent]
    dev_eer: float
    dev_failures_to_acquire: int
    failures_to_acquire: int
    bona_fide: int
    attacks: int
    scores_sha256: str

    @property
    def apcer(self) -> float:
        """The worst species' APCER."""
        return max(one.rate for one in self.apcer_by_species.values())

    @property
    def acer(self) -> float:
        """(APCER + BPCER) / 2."""
        return (self.apcer + self.bpcer.rate) / 2

    @property
    def hter(self) -> float:
        """(pooled FAR + FRR) / 2 at the development split's threshold: hter@source-dev."""
        return (self.far + self.bpcer.rate) / 2

    def accuracy(
        self,
        *,
        dataset: str,
        dataset_digest: str,
        simulated: bool,
        protocol: str,
        invoke_ns: int,
        pass_ns: int,
    ) -> Accuracy:
        """The record of these rates: what was scored and how long it took is the caller's to say."""
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
            eer=self.eer,
            auc=self.auc,
            auc_interval=self.auc_interval,
            bpcer_at_apcer=dict(self.bpcer_at_apcer),
            dev_eer=self.dev_eer,
            failures_to_acquire=self.failures_to_acquire,
            bona_fide=self.bona_fide,
            attacks=self.attacks,
            scores_sha256=self.scores_sha256,
            invoke_ns=invoke_ns,
            pass_ns=pass_ns,
        )


def evaluate(
    dev: Scored, test: Scored, *, confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> ErrorRates:
    """Freeze the EER threshold of `dev`, then count the errors of `test` at it.

    Both hold one row a presentation. Proportions carry Clopper-Pearson intervals, ACER and AUC a bootstrap over
    subjects (None for fewer than two). Raises BadDataset where a split lacks a class, has frames for
    presentations, or shares a presentation with the other.
    """
    for split, scored in (("dev", dev), ("test", test)):
        _check_split(split, scored)
    shared = np.intersect1d(dev.presentation, test.presentation)
    if shared.size:
        raise BadDataset(
            f"{shared.size} presentations are in dev and in test, among them {shared[0]}",
            remedy="A threshold may never come from the scores that it is judged on.",
        )
    known_dev, known = dev.acquired, test.acquired
    frozen = eer_threshold(known_dev.bona_fide, _pooled(known_dev))
    right = accepted(known.score, frozen.threshold)
    attacks = known.attacks_by_species
    by_species = {
        species: proportion(int(np.sum(right[known.species == species])), scores.size, confidence)
        for species, scores in attacks.items()
    }
    rejected = proportion(int(np.sum(~right[known.is_bona_fide])), known.bona_fide.size, confidence)
    return ErrorRates(
        threshold=frozen.threshold,
        threshold_rule=THRESHOLD_RULE,
        apcer_by_species=by_species,
        bpcer=rejected,
        acer_interval=_acer_interval(known, right, by_species, rejected, confidence, draws, seed),
        far=far(frozen.threshold, attacks),
        eer=eer_threshold(known.bona_fide, _pooled(known)).eer,
        auc=auc(known.bona_fide, _pooled(known)),
        auc_interval=_auc_interval(known, confidence, draws, seed),
        bpcer_at_apcer={
            name: bpcer_at_apcer(target, known.bona_fide, attacks, confidence)
            for name, target in BPCER_TARGETS.items()
        },
        dev_eer=frozen.eer,
        dev_failures_to_acquire=dev.failures_to_acquire,
        failures_to_acquire=test.failures_to_acquire,
        bona_fide=known.bona_fide.size,
        attacks=len(known) - known.bona_fide.size,
        scores_sha256=scores_sha256(test),
    )


def _check_split(split: str, scored: Scored) -> None:
    names, count = np.unique(scored.presentation, return_counts=True)
    if np.any(count > 1):
        raise BadDataset(
            f"presentation {names[count > 1][0]} has several scores in {split}",
            remedy="One presentation is one trial: average its frames with mean_by_presentation first.",
        )
    known = scored.acquired
    for what, mask in (("bona fide", known.is_bona_fide), ("attack", ~known.is_bona_fide)):
        if not np.any(mask):
            raise BadDataset(
                f"the {split} split has no {what} presentation with a score"
                f" ({len(scored)} presentations, {scored.failures_to_acquire} failures to acquire)",
                remedy="Both classes are needed in dev and in test.",
            )
    lost = set(scored.attacks_by_species) - set(known.attacks_by_species)
    if lost:
        raise BadDataset(
            f"no attack of species {', '.join(sorted(lost))} in {split} has a score",
            remedy="Its APCER would vanish from the maximum: find out why no face was found.",
        )


def _pooled(scored: Scored) -> Scores:
    return scored.score[~scored.is_bona_fide]


def _acer_interval(
    known: Scored,
    right: NDArray[np.bool_],
    by_species: Mapping[str, Proportion],
    rejected: Proportion,
    confidence: float,
    draws: int,
    seed: int,
) -> Interval | None:
    """Bootstrap over subjects; where there is no error to draw, or nothing but errors, bounds from the proportions.

    Drawing from presentations without an error gives an interval of width 0, which says nothing of the next hundred.
    There each proportion gets its exact interval at a confidence raised for their number (Bonferroni), and
    the ACER lies between the ACERs of the lower and of the upper ends.
    """
    everything = [*by_species.values(), rejected]
    if all(one.errors in {0, one.trials} for one in everything):
        raised = 1 - (1 - confidence) / len(everything)
        ends = [proportion(one.errors, one.trials, raised).interval for one in everything]
        low = (max(end.low for end in ends[:-1]) + ends[-1].low) / 2
        high = (max(end.high for end in ends[:-1]) + ends[-1].high) / 2
        return Interval(
            low=low,
            high=high,
            confidence=confidence,
            method="Clopper-Pearson with Bonferroni, presentations independent",
        )
    classes, code = np.unique(known.species, return_inverse=True)  # bona fide is "", so it comes first
    wrong = (right != known.is_bona_fide).astype(np.float64)

    def acer_of(places: NDArray[np.intp]) -> float:
        drawn = code[places]
        trials = np.bincount(drawn, minlength=classes.size)
        if np.any(trials == 0):
            return math.nan
        rates = np.bincount(drawn, weights=wrong[places], minlength=classes.size) / trials
        return float(rates[1:].max() + rates[0]) / 2

    return clustered_bootstrap(known.subject, acer_of, draws, seed, confidence=confidence)


def _auc_interval(known: Scored, confidence: float, draws: int, seed: int) -> Interval | None:
    """Bootstrap over subjects; None where the classes do not overlap, because then every draw has the same AUC."""
    if auc(known.bona_fide, _pooled(known)) in {0.0, 1.0}:
        return None
    values, place_of = np.unique(known.score, return_inverse=True)

    def auc_of(places: NDArray[np.intp]) -> float:
        real = known.is_bona_fide[places]
        bona_fide = np.bincount(place_of[places[real]], minlength=values.size)
        attacks = np.bincount(place_of[places[~real]], minlength=values.size)
        pairs = bona_fide.sum() * attacks.sum()
        if pairs == 0:
            return math.nan
        return float(np.sum(bona_fide * (np.cumsum(attacks) - attacks / 2))) / float(pairs)

    return clustered_bootstrap(known.subject, auc_of, draws, seed, confidence=confidence)


def _usable(scores: Scores, what: str) -> Scores:
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise BadDataset(
            f"no {what} score: a rate of nothing is not a number", remedy="Both classes are needed."
        )
    if np.any(np.isnan(values)):
        raise BadDataset(
            f"{int(np.sum(np.isnan(values)))} {what} scores are NaN",
            remedy="Count failures to acquire apart (Scored.acquired) before computing a rate.",
        )
    return values


def _usable_species(attacks: Mapping[str, Scores]) -> dict[str, Scores]:
    if not attacks:
        raise BadDataset(
            "no attack score: a rate of nothing is not a number", remedy="Both classes are needed."
        )
    return {species: _usable(scores, f"{species} attack") for species, scores in attacks.items()}


def _checked_target(target: float) -> None:
    if not 0 <= target <= 1:
        raise UserError(f"a target error rate lies between 0 and 1, not {target}")
