"""A system against another on the same presentations: paired, because both err on the same hard ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swapbench.pad.matching import matched_folds
from swapbench.pad.scores import coded
from swapbench.records import Gain
from swapbench.stats import DRAWS, bootstrap_interval, clustered_totals, mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.pad.matching import MatchedFold
    from swapbench.pad.metrics import FoldScores
    from swapbench.records import System

    Floats = NDArray[np.float64]
    Side = tuple[System, Sequence[FoldScores]]


def gain(best: tuple[str, Side], system: Side, *, confidence: float, seed: int, draws: int = DRAWS) -> Gain:
    """The gain of a frozen system over its best member, each at its own frozen thresholds.

    Args:
        best: the member's name, its system of one and its scores
        system: with its scores
        confidence: of the interval
        seed: of the bootstrap
        draws: of people
    """
    name, (member, member_scores) = best
    frozen, scores = system
    folds = matched_folds(member_scores, scores, (_thresholds(member), _thresholds(frozen)))
    rights = [(fold.right(0, 0), fold.right(1, 1)) for fold in folds]
    only_member = sum(int(np.sum(alone & ~together)) for alone, together in rights)
    only_system = sum(int(np.sum(together & ~alone)) for alone, together in rights)
    acers = np.array([_acers(fold, None) for fold in folds]).mean(axis=0)[:, 0]
    interval = None
    _, people = coded(np.concatenate([fold.reference.subject for fold in folds]))
    if len(people) > 1:
        drawn = np.array([_acers(fold, (people, draws, seed)) for fold in folds]).mean(axis=0)
        method = f"bootstrap over {len(people)} people, {draws} draws, seed {seed}"
        interval = bootstrap_interval(drawn[1] - drawn[0], confidence, method)
    return Gain(
        member=name,
        member_acer=float(acers[0]),
        change=float(acers[1] - acers[0]),
        interval=interval,
        only_system_right=only_system,
        only_member_right=only_member,
        p_value=mcnemar(only_system, only_member),
    )


def _thresholds(system: System) -> dict[str, float]:
    return {fold.fold: fold.threshold for fold in system.frozen}


def _acers(fold: MatchedFold, people: tuple[tuple[str, ...], int, int] | None) -> Floats:
    """The ACER of both sides in every draw of people, [2, draws]; as it is, without people to draw."""
    code, classes = fold.reference.coded_species  # bona fide is "", so it comes first
    acers = []
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
        acers.append((rate[:, 0] + rate[:, 1:].max(axis=1)) / 2)
    return np.array(acers)
