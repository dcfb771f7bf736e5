"""Intervals of the rates that are no proportions: ACER, HTER, AUC and EER, over one fold or several.

Presentations of one person resemble each other, and folds share people. So whole people are drawn, for all folds at once.
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

    from swapbench.pad.metrics import ThresholdErrors
    from swapbench.pad.scores import Scored, Scores
    from swapbench.records import Proportion

BINS = 2048
"""How many different scores the bootstrap of AUC and EER tells apart."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """Bootstrap over people, drawn once for all folds: `person` holds the place of each row's subject among `people`."""

    known: Sequence[Scored]
    person: NDArray[np.intp]
    people: int
    confidence: float
    draws: int
    seed: int

    @classmethod
    def of(cls, known: Sequence[Scored], confidence: float, draws: int, seed: int) -> Resampling:
        """Bootstrap of the test presentations with a score of each fold; a person may be in several folds."""
        person, names = coded(np.concatenate([one.subject for one in known]))
        return cls(known, person, len(names), confidence, draws, seed)

    def decisions(self, decided: Sequence[ThresholdErrors]) -> tuple[Interval | None, Interval | None]:
        """Intervals of ACER and HTER; where there is no error to draw, or nothing but errors, bounds from the proportions."""
        if all(
            one.errors in {0, one.trials}
            for fold in decided
            for one in (*fold.apcer_by_species.values(), fold.bpcer)
        ):
            return self._exact_bounds(decided)
        if self.people < 2:
            return None, None
        cells, first, classes = [], 0, []
        for test, fold in zip(self.known, decided, strict=True):
            code, names = test.coded_species  # bona fide is "", so it comes first
            wrong = accepted(test.score, fold.threshold) != test.is_bona_fide
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
            false_accepts = _ratio(wrong[:, 1:].sum(axis=1), trials[:, 1:].sum(axis=1))
            acers.append((rate[:, 1:].max(axis=1) + rate[:, 0]) / 2)
            hters.append((false_accepts + rate[:, 0]) / 2)
        return (
            self._interval([one.acer for one in decided], acers),
            self._interval([one.hter for one in decided], hters),
        )

    def rankings(
        self, aucs: Sequence[float], eers: Sequence[float]
    ) -> tuple[Interval | None, Interval | None]:
        """Intervals of AUC and EER, given each fold's; None where no fold's classes overlap: every draw would be the same."""
        if all(one in {0.0, 1.0} for one in aucs) or self.people < 2:
            return None, None
        cells, first, sizes = [], 0, []
        for test in self.known:
            place, bins = _bin_of_score(test)
            cells.append(first + 2 * place + test.is_bona_fide)
            sizes.append(bins)
            first += 2 * bins
        totals = self._totals(cells, first)
        drawn_aucs, drawn_eers, first = [], [], 0
        for bins in sizes:
            by_class = totals[:, first : first + 2 * bins].reshape(self.draws, bins, 2)
            first += 2 * bins
            area, equal = _auc_and_eer_of_counts(by_class[:, :, 1], by_class[:, :, 0])
            drawn_aucs.append(area)
            drawn_eers.append(equal)
        counted = f", scores counted in {BINS} bins" if max(sizes) == BINS else ""
        return self._interval(aucs, drawn_aucs, counted), self._interval(eers, drawn_eers, counted)

    def _totals(self, cells: Sequence[NDArray[np.intp]], count: int) -> Scores:
        return clustered_totals(
            self.person,
            np.concatenate(cells),
            groups=self.people,
            cells=count,
            draws=self.draws,
            seed=self.seed,
        )

    def _interval(
        self, estimates: Sequence[float], replicates: Sequence[Scores], counted: str = ""
    ) -> Interval | None:
        """The interval of the mean over folds, widened to hold the estimate.

        A maximum over species is drawn too high once more in every draw, so that the estimate may lie below them all.
        """
        method = f"bootstrap over {self.people} groups, {self.draws} draws, seed {self.seed}{counted}"
        found = bootstrap_interval(np.mean(replicates, axis=0), self.confidence, method)
        if found is None:
            return None
        estimate = fmean(estimates)
        held = {"low": min(found.low, estimate), "high": max(found.high, estimate)}
        return found.replace(**held)

    def _exact_bounds(self, decided: Sequence[ThresholdErrors]) -> tuple[Interval, Interval]:
        """Bounds of ACER and HTER from exact intervals at a confidence raised for their number (Bonferroni).

        Drawing from presentations without an error gives an interval of width 0, which says nothing of the next hundred.
        The ACER of a fold lies between the ACERs of the lower and of the upper ends of its proportions.
        """
        by_species = [tuple(one.apcer_by_species.values()) for one in decided]
        pooled = [
            (proportion(sum(one.errors for one in many), sum(one.trials for one in many)),)
            for many in by_species
        ]
        return self._bounds(decided, by_species), self._bounds(decided, pooled)

    def _bounds(
        self, decided: Sequence[ThresholdErrors], attacks: Sequence[Sequence[Proportion]]
    ) -> Interval:
        parts = sum(len(many) + 1 for many in attacks)
        raised = 1 - (1 - self.confidence) / parts
        low = high = 0.0
        for fold, many in zip(decided, attacks, strict=True):
            ends = [proportion(one.errors, one.trials, raised).interval for one in many]
            rejected = proportion(fold.bpcer.errors, fold.bpcer.trials, raised).interval
            low += (max(end.low for end in ends) + rejected.low) / 2
            high += (max(end.high for end in ends) + rejected.high) / 2
        return Interval(
            low=low / len(decided),
            high=high / len(decided),
            confidence=self.confidence,
            method="Clopper-Pearson with Bonferroni, presentations independent",
        )


def _bin_of_score(scored: Scored) -> tuple[NDArray[np.intp], int]:
    """The bin of every row's score, rising with the score, and the number of bins: one for each score if there are at most `BINS`.

    More than that share bins of equal weight, both classes weighing the same; equal scores never part. Within a bin the
    order of the two classes is lost, which moves an AUC or an EER by at most 1 / (2 BINS), 0.025 percentage points (a draw,
    whose bins weigh a little more or less, by about that), and in practice by far less, because inside so narrow a bin the classes are mixed evenly. Point estimates never use bins.
    """
    values, place = np.unique(scored.score, return_inverse=True)
    if values.size <= BINS:
        return place, values.size
    real = scored.is_bona_fide
    weight = np.bincount(place, weights=np.where(real, 0.5 / np.sum(real), 0.5 / np.sum(~real)))
    middle = np.cumsum(weight) - weight / 2
    return np.minimum(middle * BINS, BINS - 1).astype(np.intp)[place], BINS


def _auc_and_eer_of_counts(bona_fide: Scores, attacks: Scores) -> tuple[Scores, Scores]:
    """AUC and EER of each row of [draws, bins] counts by ascending score; NaN where a draw lacks a class."""
    reals, fakes = bona_fide.sum(axis=1), attacks.sum(axis=1)
    fakes_to_here = np.cumsum(attacks, axis=1)
    area = _ratio(np.sum(bona_fide * (fakes_to_here - attacks / 2), axis=1), reals * fakes)
    zero = np.zeros((len(reals), 1))  # below the lowest bin nobody is rejected; the last threshold is +inf
    rejected_reals = np.hstack([zero, np.cumsum(bona_fide, axis=1)])
    accepted_fakes = fakes[:, None] - np.hstack([zero, fakes_to_here])
    gap = np.abs(accepted_fakes * reals[:, None] - rejected_reals * fakes[:, None])
    best = np.argmin(gap, axis=1)[:, None]
    far_there = _ratio(np.take_along_axis(accepted_fakes, best, axis=1)[:, 0], fakes)
    frr_there = _ratio(np.take_along_axis(rejected_reals, best, axis=1)[:, 0], reals)
    return area, (far_there + frr_there) / 2


def _ratio(part: Scores, whole: Scores) -> Scores:
    """The quotient, NaN where the whole is 0."""
    found: Scores = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return found
