"""Confidence intervals of rates that are not proportions (ACER, HTER, AUC, EER), over one fold or several.

Presentations of one person resemble each other, and folds share people. So the bootstrap draws whole people,
for all folds at once (cluster bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997,
section 3.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.rates import accepted
from swapbench.pad.scores import coded
from swapbench.records import Interval
from swapbench.stats import bootstrap_interval, clustered_totals, proportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.pad.rates import ThresholdErrors
    from swapbench.pad.scores import Scored, Scores
    from swapbench.records import FoldErrors, Proportion

    DecisionErrors = ThresholdErrors | FoldErrors

BINS = 2048
"""How many different scores the bootstrap of AUC and EER distinguishes."""


@dataclass(frozen=True, eq=False)
class SubjectBootstrap:
    """A bootstrap over people, drawn once for all folds.

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
    def of(cls, folds: Sequence[Scored], confidence: float, draws: int, seed: int) -> SubjectBootstrap:
        """A bootstrap over the subjects of these tables, one table per fold."""
        subject, names = coded(np.concatenate([fold.subject for fold in folds]))
        return cls(folds, subject, len(names), confidence, draws, seed)

    def acer_and_hter(self, errors: Sequence[DecisionErrors]) -> tuple[Interval | None, Interval | None]:
        """Intervals of ACER and HTER at the thresholds of the folds.

        Where no decision is wrong, or none is right, there is nothing to draw: the bounds then come from the
        exact intervals of the proportions.

        Args:
            errors: of each fold

        Returns:
            Both intervals; None for fewer than two subjects.
        """
        if all(
            rate.errors in {0, rate.trials}
            for fold in errors
            for rate in (*fold.apcer_by_species.values(), fold.bpcer)
        ):
            return self._exact_bounds(errors)
        if self.subjects < 2:
            return None, None
        cells, first, classes = [], 0, []
        for scored, fold in zip(self.folds, errors, strict=True):
            code, names = scored.coded_species  # bona fide is "", so it comes first
            wrong = accepted(scored.score, fold.threshold) != scored.is_bona_fide
            cells.append(first + 2 * code + wrong)
            classes.append(len(names))
            first += 2 * len(names)
        totals = self._totals(cells, first)
        acers, hters, first = [], [], 0
        for count in classes:
            right_wrong = totals[:, first : first + 2 * count].reshape(self.draws, count, 2)
            first += 2 * count
            wrong, trials = right_wrong[:, :, 1], right_wrong.sum(axis=2)
            rate = _ratio(wrong, trials)
            far = _ratio(wrong[:, 1:].sum(axis=1), trials[:, 1:].sum(axis=1))
            acers.append((rate[:, 1:].max(axis=1) + rate[:, 0]) / 2)
            hters.append((far + rate[:, 0]) / 2)
        return (
            self._interval([fold.acer for fold in errors], acers),
            self._interval([fold.hter for fold in errors], hters),
        )

    def auc_and_eer(
        self, aucs: Sequence[float], eers: Sequence[float]
    ) -> tuple[Interval | None, Interval | None]:
        """Intervals of AUC and EER.

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
        return self._interval(aucs, drawn_aucs, binned), self._interval(eers, drawn_eers, binned)

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
        """The interval of the mean over folds, widened to hold the estimate.

        A maximum over species is biased upwards once more in every draw, so the estimate may lie below all of
        them.
        """
        method = f"bootstrap over {self.subjects} groups, {self.draws} draws, seed {self.seed}{binned}"
        interval = bootstrap_interval(np.mean(replicates, axis=0), self.confidence, method)
        if interval is None:
            return None
        estimate = fmean(estimates)
        bounds = {"low": min(interval.low, estimate), "high": max(interval.high, estimate)}
        return interval.replace(**bounds)

    def _exact_bounds(self, errors: Sequence[DecisionErrors]) -> tuple[Interval, Interval]:
        """Bounds of ACER and HTER from exact intervals at a confidence raised for their number (Bonferroni).

        Drawing from presentations without an error gives an interval of width 0, which says nothing of the
        next hundred. The ACER of a fold lies between the ACERs of the lower and of the upper ends of its
        proportions.
        """
        by_species = [tuple(fold.apcer_by_species.values()) for fold in errors]
        pooled = [
            (proportion(sum(rate.errors for rate in rates), sum(rate.trials for rate in rates)),)
            for rates in by_species
        ]
        return self._bounds(errors, by_species), self._bounds(errors, pooled)

    def _bounds(self, errors: Sequence[DecisionErrors], attacks: Sequence[Sequence[Proportion]]) -> Interval:
        count = sum(len(rates) + 1 for rates in attacks)
        raised = 1 - (1 - self.confidence) / count
        low = high = 0.0
        for fold, rates in zip(errors, attacks, strict=True):
            apcers = [proportion(rate.errors, rate.trials, raised).interval for rate in rates]
            bpcer = proportion(fold.bpcer.errors, fold.bpcer.trials, raised).interval
            low += (max(apcer.low for apcer in apcers) + bpcer.low) / 2
            high += (max(apcer.high for apcer in apcers) + bpcer.high) / 2
        return Interval(
            low=low / len(errors),
            high=high / len(errors),
            confidence=self.confidence,
            method="Clopper-Pearson with Bonferroni, presentations independent",
        )


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
