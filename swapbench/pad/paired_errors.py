"""Whether a candidate errs more often than its baseline on the same presentations, as far as they can tell.

Both sides decide the same test presentations, each at its own frozen threshold, as a shipped file would.
What is exchanged between the sides in a test is a person, with all presentations in all folds
(`stats.sign_flips`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench import stats
from swapbench.pad.matching import matched_folds, require_both_classes
from swapbench.pad.scores import coded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.pad.metrics import FoldScores

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

_NOTHING = 1e-12
_ENOUGH = 200
"""Exchanges with as large a change after which no more are drawn: their share is known to a fifteenth."""


@dataclass(frozen=True, eq=False)
class PairedCounts:
    """Errors of both sides on the presentations that both scored, by person, fold and class.

    Attributes:
        classes: "" for bona fide, then the species in alphabetical order
        errors: of baseline and candidate, [2, people, folds, classes]
        trials: [people, folds, classes]
        flips: presentations that the two decide differently
        unmatched: presentations of the test splits that lack a score on either side
        unpaired_species: species of either side without a presentation that both scored
    """

    classes: tuple[str, ...]
    errors: Ints
    trials: Ints
    flips: int
    unmatched: int
    unpaired_species: tuple[str, ...]

    @property
    def presentations(self) -> int:
        """How many both sides scored, counted once a fold."""
        return int(self.trials.sum())

    def bpcer(self) -> ErrorCounts:
        """The bona fide presentations that were rejected."""
        return self._of_class(0)

    def apcer(self) -> dict[str, ErrorCounts]:
        """The attacks of each species that were accepted."""
        return {name: self._of_class(number) for number, name in enumerate(self.classes) if name}

    def acer(self, seed: int) -> AcerChange:
        """Half the sum of the worst species' APCER and the BPCER, the mean over folds."""
        return AcerChange(self.errors, self.trials, seed)

    def _of_class(self, number: int) -> ErrorCounts:
        """All folds together."""
        baseline, candidate = self.errors[..., number].sum(axis=2)
        return ErrorCounts(baseline, candidate, self.trials[..., number].sum(axis=1))


@dataclass(frozen=True, eq=False)
class ErrorCounts:
    """The errors of both sides in one class, by person.

    Attributes:
        before: errors of the baseline, [people]
        after: errors of the candidate, [people]
        of: trials, [people]
    """

    before: Ints
    after: Ints
    of: Ints

    @property
    def errors(self) -> tuple[int, int]:
        """Of baseline and candidate."""
        return int(self.before.sum()), int(self.after.sum())

    @property
    def trials(self) -> int:
        """Presentations."""
        return int(self.of.sum())

    @property
    def people(self) -> int:
        """Whom they show."""
        return int(np.sum(self.of > 0))

    @property
    def rates(self) -> tuple[float, float]:
        """Of baseline and candidate."""
        before, after = self.errors
        return before / self.trials, after / self.trials

    def change_p(self) -> float:
        """Two-sided p of the hypothesis that nothing changed."""
        return stats.change_p(self.after - self.before)

    def rise_p(self, allowed: float) -> float:
        """One-sided p of the hypothesis that the rate rose by at most `allowed`."""
        return stats.rise_p(self.after - self.before, allowed * self.trials)

    def least_rise(self, p_value: float, allowed: float) -> float | None:
        """The smallest rise of the rate whose `rise_p` can be `p_value`; None where no rise can."""
        rise = stats.least_rise(self.of, p_value, allowed * self.trials)
        return None if rise is None else rise / self.trials


@dataclass(frozen=True, eq=False)
class AcerChange:
    """The ACER of both sides.

    It holds a maximum, so it is computed anew for every exchange of people.

    Attributes:
        counts: errors of baseline and candidate, [2, people, folds, classes], bona fide first
        of: trials, [people, folds, classes]
        seed: of the exchanges, where there are too many for all of them
    """

    counts: Ints
    of: Ints
    seed: int

    @property
    def errors(self) -> None:
        """An ACER is no share of presentations."""
        return

    @property
    def trials(self) -> int:
        """Presentations, counted once a fold."""
        return int(self.of.sum())

    @property
    def people(self) -> int:
        """Whom they show."""
        return int(np.sum(self.of.sum(axis=(1, 2)) > 0))

    @property
    def rates(self) -> tuple[float, float]:
        """Of baseline and candidate."""
        before, after = self._acer(self.counts.sum(axis=1)).tolist()
        return before, after

    def change_p(self) -> float:
        """Two-sided p of the hypothesis that nothing changed."""
        before, after = self.rates
        return min(1.0, 2 * self._share_as_far(abs(after - before), sign=1 if after > before else -1))

    def rise_p(self, allowed: float) -> float:
        """One-sided p of the hypothesis that the ACER rose by at most `allowed`."""
        before, after = self.rates
        return 1.0 if after - before <= allowed else self._share_as_far(after - before - allowed, sign=1)

    def least_rise(self, p_value: float, allowed: float) -> float | None:
        """The smallest rise whose `rise_p` can be `p_value`, all in bona fide or in the worst species."""
        trials = self.of.sum(axis=0)
        rates = self._rates(self.counts[0].sum(axis=0).astype(np.float64))
        worst = np.argmax(rates[:, 1:], axis=1) + 1
        rises = []
        for fold, species in enumerate(worst.tolist()):
            for number in (0, species):
                weight = 1 / (2 * len(trials) * int(trials[fold, number]))
                rise = stats.least_rise(self.of[:, fold, number], p_value, allowed / weight)
                rises += [] if rise is None else [rise * weight]
        return min(rises, default=None)

    def _share_as_far(self, far: float, *, sign: int) -> float:
        """The share of exchanges after which the ACER rises by `far`, or with `sign` -1 falls by it.

        Random ones end early where the share is large (Besag and Clifford, Biometrika 78, 1991).
        """
        difference = self.counts[1] - self.counts[0]
        differing = np.any(difference != 0, axis=(1, 2))
        moved_by = difference[differing].reshape(-1, difference[0].size).astype(np.float64)
        before, after = self.counts.sum(axis=1).astype(np.float64)
        as_far = ways = 0
        for exchanged in stats.exchanges(len(moved_by), self.seed):
            moved = (exchanged @ moved_by).reshape(-1, *before.shape)
            rise = self._acer(after - moved) - self._acer(before + moved)
            as_far += int(np.sum(sign * rise >= far - _NOTHING))
            ways += len(rise)
            if as_far >= _ENOUGH:
                break
        return as_far / ways

    def _acer(self, errors: Ints | Floats) -> Floats:
        """Of errors [..., folds, classes]: [...]."""
        rates = self._rates(errors)
        mean: Floats = ((rates[..., 0] + rates[..., 1:].max(axis=-1)) / 2).mean(axis=-1)
        return mean

    def _rates(self, errors: Ints | Floats) -> Floats:
        """Rates [..., folds, classes]; -1 of a species that a fold lacks, which is never the worst."""
        trials = self.of.sum(axis=0)
        rates: Floats = np.where(trials > 0, errors / np.maximum(trials, 1), -1.0)
        return rates


def paired_counts(
    baseline: Sequence[FoldScores],
    candidate: Sequence[FoldScores],
    thresholds: tuple[Mapping[str, float], Mapping[str, float]] | None = None,
) -> PairedCounts:
    """Match the test presentations of both sides and count their errors.

    Args:
        baseline: one row per presentation in each split
        candidate: the same
        thresholds: as in `matching.matched_folds`

    Raises:
        BadDataset: as in `matching.matched_folds`, and where a fold has no bona fide presentation or no
            attack with a score on both sides
    """
    folds = matched_folds(baseline, candidate, thresholds)
    require_both_classes(folds)
    code, classes = coded(np.concatenate([fold.reference.species for fold in folds]))
    person, people = coded(np.concatenate([fold.reference.subject for fold in folds]))
    number = np.repeat(np.arange(len(folds)), [len(fold.reference) for fold in folds])
    wrong, wrong_there = (~np.concatenate([fold.right(side, side) for fold in folds]) for side in (0, 1))
    shape = (len(people), len(folds), len(classes))
    cell = np.ravel_multi_index((person, number, code), shape)

    def counted(rows: NDArray[np.bool_]) -> Ints:
        return np.bincount(cell[rows], minlength=int(np.prod(shape))).reshape(shape).astype(np.intp)

    tests = [fold.test for fold in (*baseline, *candidate)]
    species = {name for test in tests for name in test.species.tolist()}
    return PairedCounts(
        classes=classes,
        errors=np.stack([counted(wrong), counted(wrong_there)]),
        trials=counted(np.ones(len(cell), dtype=np.bool_)),
        flips=int(np.sum(wrong != wrong_there)),
        unmatched=sum(fold.unmatched for fold in folds),
        unpaired_species=tuple(sorted(species - set(classes))),
    )
