"""The error rates of ISO/IEC 30107-3:2023 and the thresholds that go with them: pure functions of scores.

Scores rise with bona fide. **A presentation is accepted as bona fide iff `score >= threshold`**: a score
exactly on the threshold is accepted, that of a bona fide presentation and that of an attack alike. APCER is
that of the worst attack instrument species, never pooled. One trial is one presentation (a video or a still
image), not one frame. A score of NaN is refused here: failures to acquire are counted separately
(`Scored.acquired`).

Scores are float64 arrays [presentations], `attacks` maps a species to its scores, rates lie between 0 and 1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from swapbench.errors import BadDataset, UserError
from swapbench.records import Absent, Proportion
from swapbench.stats import clustered_proportion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from swapbench.pad.scores import Scored, Scores, Text


def accepted(scores: Scores, threshold: float) -> NDArray[np.bool_]:
    """Which scores are accepted as bona fide: `score >= threshold`, a tie accepts."""
    if math.isnan(threshold):
        raise UserError("a threshold cannot be NaN")
    return np.asarray(scores, dtype=np.float64) >= threshold


def bpcer(threshold: float, bona_fide: Scores) -> float:
    """Rejected bona fide / bona fide."""
    return float(np.mean(~accepted(usable(bona_fide, "bona fide"), threshold)))


def apcer_by_species(threshold: float, attacks: Mapping[str, Scores]) -> dict[str, float]:
    """Accepted attacks of a species / attacks of that species."""
    return {
        species: float(np.mean(accepted(scores, threshold)))
        for species, scores in usable_species(attacks).items()
    }


def apcer(threshold: float, attacks: Mapping[str, Scores]) -> float:
    """The APCER of the species that is accepted most often: the maximum, never pooled."""
    return max(apcer_by_species(threshold, attacks).values())


def acer(threshold: float, bona_fide: Scores, attacks: Mapping[str, Scores]) -> float:
    """(APCER + BPCER) / 2 with the worst species' APCER.

    The literature's headline; ISO/IEC 30107-3:2023 does not define it.
    """
    return (apcer(threshold, attacks) + bpcer(threshold, bona_fide)) / 2


def far(threshold: float, attacks: Mapping[str, Scores]) -> float:
    """Accepted attacks / attacks of all species together: the older literature's pooled FAR, not an APCER."""
    pooled = np.concatenate(list(usable_species(attacks).values()))
    return float(np.mean(accepted(pooled, threshold)))


def hter(threshold: float, bona_fide: Scores, attacks: Mapping[str, Scores]) -> float:
    """(FAR + FRR) / 2 with the pooled FAR; `threshold` must come from a split other than these scores'."""
    return (far(threshold, attacks) + bpcer(threshold, bona_fide)) / 2


@dataclass(frozen=True)
class ThresholdErrors:
    """The errors on one split at a threshold, each proportion with an interval that knows about people."""

    threshold: float
    apcer_by_species: Mapping[str, Proportion]
    bpcer: Proportion

    @property
    def apcer(self) -> float:
        """The worst species' APCER."""
        return max(rate.rate for rate in self.apcer_by_species.values())

    @property
    def acer(self) -> float:
        """(APCER + BPCER) / 2."""
        return (self.apcer + self.bpcer.rate) / 2

    @property
    def far(self) -> float:
        """Accepted attacks / attacks, all species pooled."""
        return pooled_rate(self.apcer_by_species.values())

    @property
    def hter(self) -> float:
        """(pooled FAR + FRR) / 2."""
        return (self.far + self.bpcer.rate) / 2


def errors_at(threshold: float, scored: Scored, confidence: float = 0.95) -> ThresholdErrors:
    """Count the errors of presentations at a threshold.

    Raises:
        BadDataset: a presentation has no score, or a class is missing
    """
    usable(scored.bona_fide, "bona fide")
    usable_species(scored.attacks_by_species)
    by_class = {
        species: clustered_proportion(wrong, person, confidence)
        for species, (wrong, person) in decisions_by_class(threshold, scored).items()
    }
    bpcer = by_class.pop("")
    return ThresholdErrors(threshold, by_class, bpcer)


def decisions_by_class(threshold: float, scored: Scored) -> dict[str, tuple[NDArray[np.bool_], Text]]:
    """Species, "" for bona fide, -> whether each decision is an error, and whom it is about."""
    code, names = scored.coded_species
    wrong = accepted(scored.score, threshold) != scored.is_bona_fide
    return {
        name: (wrong[code == number], scored.subject[code == number]) for number, name in enumerate(names)
    }


def pooled_rate(proportions: Iterable[Proportion]) -> float:
    """All errors / all trials."""
    counts = list(proportions)
    return sum(count.errors for count in counts) / sum(count.trials for count in counts)


@dataclass(frozen=True)
class EqualError:
    """The EER threshold with both rates at it, which need not be equal on finitely many scores."""

    threshold: float
    far: float
    frr: float

    @property
    def eer(self) -> float:
        """The mean of both rates at the threshold."""
        return (self.far + self.frr) / 2


def eer_threshold(bona_fide: Scores, attacks: Scores) -> EqualError:
    """The threshold among all scores and +inf at which abs(FAR - FRR) is smallest; the lowest of equals.

    `attacks` holds all species together. Rates are compared as whole numbers of errors, so that rounding
    decides nothing.
    """
    real = np.sort(usable(bona_fide, "bona fide"))
    fake = np.sort(usable(attacks, "attack"))
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

    Of a species with N scores at most k = floor(target * N) may be accepted, so the threshold lies just above
    its (k+1)-th highest score (`nextafter` in float64); -inf where all may be accepted. The strictest species
    decides.
    """
    _checked_target(target)
    return max(_threshold_of_species(target, scores) for scores in usable_species(attacks).values())


def _threshold_of_species(target: float, scores: Scores) -> float:
    allowed = math.floor(target * scores.size + 1e-12)
    if allowed >= scores.size:
        return -math.inf
    return float(np.nextafter(np.sort(scores)[::-1][allowed], np.inf))


def threshold_at_bpcer(target: float, bona_fide: Scores) -> float:
    """The highest threshold at which the BPCER does not exceed `target`; +inf where all may be rejected."""
    _checked_target(target)
    scores = np.sort(usable(bona_fide, "bona fide"))
    allowed = math.floor(target * scores.size + 1e-12)
    return math.inf if allowed >= scores.size else float(scores[allowed])


def bpcer_at_apcer(
    target: float,
    bona_fide: Scores,
    attacks: Mapping[str, Scores],
    confidence: float = 0.95,
    person: ArrayLike | None = None,
) -> Proportion | Absent:
    """BPCER at `threshold_at_apcer(target, attacks)` of the same scores: BPCER20 for a target of 1/20.

    Args:
        target: the APCER that no species may exceed
        bona_fide: scores of bona fide presentations
        attacks: species -> its scores
        confidence: of the interval
        person: whom each bona fide presentation is of; None where all are of different people

    Returns:
        The proportion; absent where a species has fewer than 1/target attacks, which cannot tell an APCER of
            `target` from 0.
    """
    threshold = threshold_at_apcer(target, attacks)
    smallest = min(attacks, key=lambda species: attacks[species].size)
    size = attacks[smallest].size
    if size * target < 1 - 1e-9:
        return Absent(
            absent=f"{size} attacks of species {smallest} cannot resolve an APCER of {100 * target:g} %",
            remedy=f"At least {math.ceil(1 / target - 1e-9)} attacks of every species are needed."
            if target > 0
            else "",
        )
    scores = usable(bona_fide, "bona fide")
    groups = np.arange(scores.size) if person is None else person
    return clustered_proportion(~accepted(scores, threshold), groups, confidence)


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is frozen on development scores.

    Attributes:
        rate: "eer", or the rate that development scores keep below `target`: the worst species' "apcer", by
            the lowest such threshold, or the "bpcer", by the highest; "given": `target` is the threshold
        target: between 0 and 1; 0 for "eer"
    """

    rate: Literal["eer", "apcer", "bpcer", "given"] = "eer"
    target: float = 0.0

    @property
    def name(self) -> str:
        """As records state it: "eer@dev", "apcer<=5 %@dev", "given"."""
        fixed = {"eer": "eer@dev", "given": "given"}
        return fixed.get(self.rate) or f"{self.rate}<={100 * self.target:g} %@dev"

    @classmethod
    def named(cls, name: str) -> ThresholdRule | None:
        """The rule of that name; None where it has none that can be applied again."""
        if name == cls().name:
            return cls()
        match = re.fullmatch(r"(apcer|bpcer)<=([0-9.e+-]+) %@dev", name)
        if match is None:
            return None
        return cls("apcer" if match[1] == "apcer" else "bpcer", float(match[2]) / 100)

    def threshold(self, dev: Scored) -> float:
        """The threshold of development presentations that all have a score."""
        if self.rate == "apcer":
            return threshold_at_apcer(self.target, dev.attacks_by_species)
        if self.rate == "bpcer":
            return threshold_at_bpcer(self.target, dev.bona_fide)
        if self.rate == "given":
            return self.target
        return eer_threshold(dev.bona_fide, dev.attacks).threshold


EER_AT_DEV = ThresholdRule()
"""The usual rule."""


def auc(bona_fide: Scores, attacks: Scores) -> float:
    """P(bona fide score > attack score), ties counting half: the area under the ROC curve.

    From ranks, as the Mann-Whitney U statistic (Hanley and McNeil, Radiology 143, 1982).
    """
    real, fake = usable(bona_fide, "bona fide"), np.sort(usable(attacks, "attack"))
    below = np.searchsorted(fake, real, side="left").sum()
    not_above = np.searchsorted(fake, real, side="right").sum()
    return float(below + not_above) / 2 / (real.size * fake.size)


def usable(scores: Scores, what: str) -> Scores:
    """The scores in float64.

    Args:
        scores: of one class or species
        what: what they are, for the message

    Raises:
        BadDataset: there are none, or one is NaN
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise BadDataset(
            f"there are no {what} scores, so their error rate is undefined",
            remedy="Score bona fide presentations and attacks.",
        )
    if np.any(np.isnan(values)):
        raise BadDataset(
            f"{int(np.sum(np.isnan(values)))} {what} scores are NaN",
            remedy="Count failures to acquire separately (Scored.acquired) before computing a rate.",
        )
    return values


def usable_species(attacks: Mapping[str, Scores]) -> dict[str, Scores]:
    """The scores of each species in float64; BadDataset as in `usable`, and where there is no species."""
    if not attacks:
        raise BadDataset(
            "there are no attack scores, so their error rate is undefined",
            remedy="Score bona fide presentations and attacks.",
        )
    return {species: usable(scores, f"{species} attack") for species, scores in attacks.items()}


def _checked_target(target: float) -> None:
    if not 0 <= target <= 1:
        raise UserError(f"a target error rate must lie between 0 and 1, not {target}")
