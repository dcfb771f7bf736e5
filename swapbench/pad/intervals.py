"""Confidence intervals of rates that are not proportions (ACER, HTER, AUC, EER), over one fold or several.

Presentations of one person resemble each other, and folds share people. So proportions count what several
presentations of a person are worth, and a bootstrap draws whole people, for all folds at once (Davison and
Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). How often each interval holds the truth
is measured by benchmarks/coverage.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.rates import accepted, decisions_by_class
from swapbench.pad.scores import coded
from swapbench.records import Interval
from swapbench.stats import bootstrap_interval, clustered_totals, likely_rates, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.pad.rates import ThresholdErrors
    from swapbench.pad.scores import Scored, Scores
    from swapbench.records import FoldErrors

    DecisionErrors = ThresholdErrors | FoldErrors

BINS = 2048
"""How many different scores the bootstrap of AUC and EER distinguishes."""


@dataclass(frozen=True, eq=False)
class People:
    """The people of all folds and their presentations: what intervals rest on.

    Attributes:
        folds: the test presentations with a score of each fold; a person may be in several folds
        subject: the number of each row's subject, [rows of all folds]
        subjects: how many people there are
        confidence: of the intervals, between 0 and 1
        draws: replicates
        seed: of the random numbers
    """

    folds: Sequence[Scored]
    subject: NDArray[np.intp]
    subjects: int
    confidence: float
    draws: int
    seed: int

    @classmethod
    def of(cls, folds: Sequence[Scored], confidence: float, draws: int, seed: int) -> People:
        """The people of these tables, one table per fold."""
        subject, names = coded(np.concatenate([fold.subject for fold in folds]))
        return cls(folds, subject, len(names), confidence, draws, seed)

    def acer_and_hter(self, errors: Sequence[DecisionErrors]) -> tuple[Interval | None, Interval | None]:
        """Intervals of ACER and HTER at the thresholds of the folds.

        Each rate has Jeffreys' interval for what its presentations are worth (`stats.likely_rates`), and the
        distances of their ends join as those of independent means do (MOVER; Zou and Donner, Statistics in
        Medicine 27, 2008). The worst species lies above each one's lower end, so that end is missed with the
        probability divided by their number. Over several folds ends are averaged, as if all erred together.

        Args:
            errors: of each fold

        Returns:
            Both intervals; None for fewer than two subjects.
        """
        if self.subjects < 2:
            return None, None
        acers, hters = [], []
        for scored, fold in zip(self.folds, errors, strict=True):
            decisions = decisions_by_class(fold.threshold, scored)
            bona_fide = decisions.pop("")
            tail = (1 - self.confidence) / 2
            rejected = (fold.bpcer.rate, *likely_rates(*bona_fide, tail))
            lows = [likely_rates(*attacks, tail / len(decisions))[0] for attacks in decisions.values()]
            highs = [likely_rates(*attacks, tail)[1] for attacks in decisions.values()]
            worst = (fold.apcer, max(lows), max(highs))
            wrong, person = (np.concatenate(parts) for parts in zip(*decisions.values(), strict=True))
            pooled = (float(np.mean(wrong)), *likely_rates(wrong, person, tail))
            acers.append(_half_of_sum(worst, rejected))
            hters.append(_half_of_sum(pooled, rejected))
        return self._joined(acers), self._joined(hters)

    def _joined(self, ends: Sequence[tuple[float, float]]) -> Interval:
        """The interval of a mean over folds from the ends of each."""
        low, high = (fmean(side) for side in zip(*ends, strict=True))
        method = f"Jeffreys over {self.subjects} people, joined by MOVER"
        return Interval(low=max(low, 0.0), high=min(high, 1.0), confidence=self.confidence, method=method)

    def bias_of_acer(self, errors: Sequence[DecisionErrors]) -> float | None:
        """How far the mean ACER of people drawn again lies above the ACER: a maximum is biased upwards.

        Returns:
            None for fewer than two subjects, and where no fold has more than one species.
        """
        if self.subjects < 2 or all(len(fold.apcer_by_species) < 2 for fold in errors):
            return None
        biases = []
        for number, fold in enumerate(errors):
            totals = self._errors_drawn(number, fold.threshold)
            rate = _ratio(totals[:, :, 1], totals.sum(axis=2))
            drawn = (rate[:, 1:].max(axis=1) + rate[:, 0]) / 2
            biases.append(float(np.nanmean(drawn)) - fold.acer)
        return max(fmean(biases), 0.0)

    def _errors_drawn(self, fold: int, threshold: float) -> Scores:
        """Right and wrong decisions of each class in each draw of people: [draws, classes, 2]."""
        scored = self.folds[fold]
        code, names = scored.coded_species  # bona fide is "", so it comes first
        wrong = accepted(scored.score, threshold) != scored.is_bona_fide
        first = sum(len(one) for one in self.folds[:fold])
        totals = clustered_totals(
            self.subject[first : first + len(scored)],
            2 * code + wrong,
            groups=self.subjects,
            cells=2 * len(names),
            draws=self.draws,
            seed=self.seed,
        )
        return totals.reshape(self.draws, len(names), 2)

    def auc_and_eer(
        self, aucs: Sequence[float], eers: Sequence[float]
    ) -> tuple[Interval | None, Interval | None]:
        """Intervals of AUC and EER.

        That of the AUC is symmetric on the scale of logits, from the deviation of the draws and Student's t
        with one degree of freedom a person less one; percentiles of the draws are too narrow, and too low,
        near 1. That of the EER is the percentiles.

        Args:
            aucs: the AUC of each fold
            eers: the EER of each fold

        Returns:
            Both intervals; None for fewer than two subjects, and where no fold's classes overlap, because
                every draw
            would be the same.
        """
        if all(area in {0.0, 1.0} for area in aucs) or self.subjects < 2:
            return None, None
        cells, first, sizes = [], 0, []
        for scored in self.folds:
            bin_of_row, bins = _bin_of_score(scored)
            cells.append(first + 2 * bin_of_row + scored.is_bona_fide)
            sizes.append(bins)
            first += 2 * bins
        totals = self._totals(cells, first)
        drawn_aucs, drawn_eers, first = [], [], 0
        for bins in sizes:
            by_class = totals[:, first : first + 2 * bins].reshape(self.draws, bins, 2)
            first += 2 * bins
            drawn_auc, drawn_eer = _auc_and_eer_of_counts(by_class[:, :, 1], by_class[:, :, 0])
            drawn_aucs.append(drawn_auc)
            drawn_eers.append(drawn_eer)
        binned = f", scores counted in {BINS} bins" if max(sizes) == BINS else ""
        return self._of_logit(fmean(aucs), drawn_aucs, binned), self._interval(eers, drawn_eers, binned)

    def _of_logit(self, estimate: float, replicates: Sequence[Scores], binned: str) -> Interval | None:
        """The interval of a rate between 0 and 1 that is symmetric in its logit."""
        drawn = np.mean(replicates, axis=0)
        drawn = drawn[~np.isnan(drawn)]
        if drawn.size * 2 < self.draws:
            return None
        few = math.sqrt(self.subjects / (self.subjects - 1))  # people drawn again vary by less than new ones
        deviation = few * float(np.std(drawn, ddof=1)) / (estimate * (1 - estimate))
        reach = t_quantile((1 + self.confidence) / 2, self.subjects - 1) * deviation
        middle = math.log(estimate / (1 - estimate))
        low, high = (_share_of(logit) for logit in (middle - reach, middle + reach))
        method = f"logit, bootstrap over {self.subjects} people, {self.draws} draws, seed {self.seed}{binned}"
        return Interval(low=low, high=high, confidence=self.confidence, method=method)

    def _totals(self, cells: Sequence[NDArray[np.intp]], count: int) -> Scores:
        return clustered_totals(
            self.subject,
            np.concatenate(cells),
            groups=self.subjects,
            cells=count,
            draws=self.draws,
            seed=self.seed,
        )

    def _interval(
        self, estimates: Sequence[float], replicates: Sequence[Scores], binned: str = ""
    ) -> Interval | None:
        """The percentiles of the mean over folds, widened to hold the estimate."""
        method = f"bootstrap over {self.subjects} people, {self.draws} draws, seed {self.seed}{binned}"
        interval = bootstrap_interval(np.mean(replicates, axis=0), self.confidence, method)
        if interval is None:
            return None
        estimate = fmean(estimates)
        bounds = {"low": min(interval.low, estimate), "high": max(interval.high, estimate)}
        return interval.replace(**bounds)


def _share_of(logit: float) -> float:
    """The share of a logit."""
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def _half_of_sum(
    attacks: tuple[float, float, float], bona_fide: tuple[float, float, float]
) -> tuple[float, float]:
    """Both ends of the mean of two rates, each given as (rate, low, high)."""
    rate = (attacks[0] + bona_fide[0]) / 2
    below = math.hypot(attacks[0] - attacks[1], bona_fide[0] - bona_fide[1]) / 2
    above = math.hypot(attacks[2] - attacks[0], bona_fide[2] - bona_fide[0]) / 2
    return rate - below, rate + above


def _bin_of_score(scored: Scored) -> tuple[NDArray[np.intp], int]:
    """The bin of each row's score, rising with the score, and the number of bins: one per score up to `BINS`.

    More scores than that share bins of equal weight, both classes weighing the same; equal scores share a
    bin. Within a bin the order of the two classes is lost, which moves an AUC or an EER by at most 1 / (2
    BINS), 0.025 percentage points (in a draw, whose bins weigh a little more or less, by about that), and in
    practice by far less, because the classes are mixed evenly within so narrow a bin. Point estimates never
    use bins.
    """
    values, rank = np.unique(scored.score, return_inverse=True)
    if values.size <= BINS:
        return rank, values.size
    bona_fide = scored.is_bona_fide
    row_weight = np.where(bona_fide, 0.5 / np.sum(bona_fide), 0.5 / np.sum(~bona_fide))
    weight = np.bincount(rank, weights=row_weight)
    middle = np.cumsum(weight) - weight / 2
    return np.minimum(middle * BINS, BINS - 1).astype(np.intp)[rank], BINS


def _auc_and_eer_of_counts(bona_fide: Scores, attacks: Scores) -> tuple[Scores, Scores]:
    """AUC and EER of each row of [draws, bins] counts by ascending score; NaN where a draw lacks a class."""
    bona_fide_total, attack_total = bona_fide.sum(axis=1), attacks.sum(axis=1)
    attacks_so_far = np.cumsum(attacks, axis=1)
    auc = _ratio(np.sum(bona_fide * (attacks_so_far - attacks / 2), axis=1), bona_fide_total * attack_total)
    zero = np.zeros((len(attacks), 1))  # below the lowest bin nobody is rejected; the last threshold is +inf
    rejected = np.hstack([zero, np.cumsum(bona_fide, axis=1)])
    accepted_attacks = attack_total[:, None] - np.hstack([zero, attacks_so_far])
    gap = np.abs(accepted_attacks * bona_fide_total[:, None] - rejected * attack_total[:, None])
    best = np.argmin(gap, axis=1)[:, None]
    far = _ratio(np.take_along_axis(accepted_attacks, best, axis=1)[:, 0], attack_total)
    frr = _ratio(np.take_along_axis(rejected, best, axis=1)[:, 0], bona_fide_total)
    return auc, (far + frr) / 2


def _ratio(part: Scores, whole: Scores) -> Scores:
    """The quotient, NaN where the whole is 0."""
    quotient: Scores = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return quotient
