"""A system against another on the same presentations: paired, because both err on the same hard ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.matching import matched_folds, require_both_classes
from swapbench.pad.scores import coded
from swapbench.records import Gain
from swapbench.stats import DRAWS, bootstrap_interval, clustered_totals, mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.pad.matching import MatchedFold
    from swapbench.pad.metrics import FoldScores
    from swapbench.records import Interval, System

    Floats = NDArray[np.float64]
    Side = tuple[System, Sequence[FoldScores]]


@dataclass(frozen=True)
class Change:
    """An error rate of both sides; a rate is the mean over folds.

    Attributes:
        before: Of the first, between 0 and 1.
        after: Of the second.
        interval: Of the difference, people drawn again; None where only one person is known.
    """

    before: float
    after: float
    interval: Interval | None

    @property
    def change(self) -> float:
        """The second less the first."""
        return self.after - self.before


@dataclass(frozen=True)
class Paired:
    """Two frozen systems on the test presentations that both scored.

    Attributes:
        acer: Half the sum of the other two.
        apcer: Of the worst species of each fold.
        bpcer: Of bona fide.
        only_first_right: Presentations.
        only_second_right: Presentations.
        p_value: McNemar's exact test that both are wrong equally often.
        presentations: That both scored, counted once a fold.
        unmatched: That one of them lacks or has no score of.
    """

    acer: Change
    apcer: Change
    bpcer: Change
    only_first_right: int
    only_second_right: int
    p_value: float
    presentations: int
    unmatched: int


def paired(first: Side, second: Side, *, confidence: float, seed: int, draws: int = DRAWS) -> Paired:
    """Two systems against each other, each at its own frozen thresholds.

    Args:
        first: with its scores
        second: with its scores
        confidence: of the intervals
        seed: of the bootstrap
        draws: of people

    Raises:
        BadDataset: the two were not scored on the same presentations, as in `pad.matching.matched_folds` and
            `require_both_classes`
    """
    folds = matched_folds(first[1], second[1], (_thresholds(first[0]), _thresholds(second[0])))
    require_both_classes(folds)
    rights = [(fold.right(0, 0), fold.right(1, 1)) for fold in folds]
    only_first = sum(int(np.sum(one & ~other)) for one, other in rights)
    only_second = sum(int(np.sum(other & ~one)) for one, other in rights)
    rates = np.array([_rates(fold, None) for fold in folds]).mean(axis=0)[..., 0]
    intervals: list[Interval | None] = [None] * len(rates)
    _, people = coded(np.concatenate([fold.reference.subject for fold in folds]))
    if len(people) > 1:
        drawn = np.array([_rates(fold, (people, draws, seed)) for fold in folds]).mean(axis=0)
        method = f"bootstrap over {len(people)} people, {draws} draws, seed {seed}"
        intervals = [bootstrap_interval(after - before, confidence, method) for before, after in drawn]
    acer, apcer, bpcer = (
        Change(float(before), float(after), interval)
        for (before, after), interval in zip(rates, intervals, strict=True)
    )
    return Paired(
        acer=acer,
        apcer=apcer,
        bpcer=bpcer,
        only_first_right=only_first,
        only_second_right=only_second,
        p_value=mcnemar(only_second, only_first),
        presentations=sum(len(fold.reference) for fold in folds),
        unmatched=sum(fold.unmatched for fold in folds),
    )


def gain(best: tuple[str, Side], system: Side, *, confidence: float, seed: int, draws: int = DRAWS) -> Gain:
    """The gain of a frozen system over its best member, each at its own frozen thresholds.

    Args:
        best: the member's name, its system of one and its scores
        system: with its scores
        confidence: of the interval
        seed: of the bootstrap
        draws: of people
    """
    name, member = best
    found = paired(member, system, confidence=confidence, seed=seed, draws=draws)
    return Gain(
        member=name,
        member_acer=found.acer.before,
        change=found.acer.change,
        interval=found.acer.interval,
        only_system_right=found.only_second_right,
        only_member_right=found.only_first_right,
        p_value=found.p_value,
    )


def _thresholds(system: System) -> dict[str, float]:
    return {fold.fold: fold.threshold for fold in system.frozen}


def _rates(fold: MatchedFold, people: tuple[tuple[str, ...], int, int] | None) -> Floats:
    """ACER, APCER and BPCER of both sides in every draw of people, [3, 2, draws]; as they are, without."""
    code, classes = fold.reference.coded_species  # bona fide is "", so it comes first
    rates = []
    for side in (0, 1):
        cell = 2 * code + ~fold.right(side, side)
        if people is None:
            totals = np.bincount(cell, minlength=2 * len(classes))[None].astype(np.float64)
        else:
            names, draws, seed = people
            number_of = {name: number for number, name in enumerate(names)}
            person = np.fromiter(map(number_of.__getitem__, fold.reference.subject.tolist()), np.intp)
            totals = clustered_totals(
                person, cell, groups=len(names), cells=2 * len(classes), draws=draws, seed=seed
            )
        wrong = totals.reshape(len(totals), len(classes), 2)
        trials = wrong.sum(axis=2)
        rate = np.divide(wrong[:, :, 1], trials, out=np.full(trials.shape, np.nan), where=trials > 0)
        attacks = rate[:, 1:].max(axis=1)
        rates.append(((rate[:, 0] + attacks) / 2, attacks, rate[:, 0]))
    return np.array(rates).swapaxes(0, 1)
