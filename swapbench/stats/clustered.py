"""Proportions of presentations that come in groups: what several of one person are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from swapbench.records import Interval, Proportion
from swapbench.stats.beta import beta_quantile, t_quantile
from swapbench.stats.exact import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def effective_trials(wrong: ArrayLike, group: ArrayLike, confidence: float = 0.95) -> float:
    """How many independent trials the trials of groups are worth for an interval of their error rate.

    Korn and Graubard, Survey Methodology 24 (1998): trials over the design effect (the variance between
    groups over that of independent trials, at least 1), less for few groups. Where no trial or every trial is
    wrong, nothing shows how alike the trials of a group are: each group then counts once.

    Args:
        wrong: whether each trial is an error.
        group: the group of each trial, numbers or names.
        confidence: of the interval.
    """
    errors = np.asarray(wrong, dtype=bool)
    names = np.asarray(group).tolist()
    number_of = {name: number for number, name in enumerate(sorted(set(names)))}
    member = np.fromiter(map(number_of.__getitem__, names), np.intp, len(names))
    trials, groups = errors.size, len(number_of)
    if groups == trials:
        return float(trials)
    rate = float(errors.mean())
    if groups < 2 or rate in {0.0, 1.0}:
        return float(groups)
    excess = np.bincount(member[errors], minlength=groups) - rate * np.bincount(member)
    between = groups / (groups - 1) * float(excess @ excess) / trials**2
    design_effect = max(between / (rate * (1 - rate) / trials), 1.0)
    few = t_quantile((1 + confidence) / 2, trials - 1) / t_quantile((1 + confidence) / 2, groups - 1)
    return min(trials / design_effect * few**2, float(trials))


def clustered_proportion(wrong: ArrayLike, group: ArrayLike, confidence: float = 0.95) -> Proportion:
    """The share of errors with an interval that knows about groups.

    Clopper and Pearson's for trials that are all of different groups, else Korn and Graubard's, which is the
    former for `effective_trials`. 2 errors of 8 trials of 8 people: 3.2 to 65.1 %.

    Raises:
        ValueError: there are no trials.
    """
    errors = np.asarray(wrong, dtype=bool)
    count, trials = int(errors.sum()), errors.size
    effective = effective_trials(errors, group, confidence) if trials else 0.0
    if effective == trials:
        return Proportion(errors=count, trials=trials, interval=clopper_pearson(count, trials, confidence))
    tail, share = (1 - confidence) / 2, count / trials * effective
    interval = Interval(
        low=0.0 if count == 0 else beta_quantile(tail, share, effective - share + 1),
        high=1.0 if count == trials else beta_quantile(1 - tail, share + 1, effective - share),
        confidence=confidence,
        method=f"Korn-Graubard over {len(set(np.asarray(group).tolist()))} people",
    )
    return Proportion(errors=count, trials=trials, interval=interval)


def likely_rates(wrong: ArrayLike, group: ArrayLike, tail: float) -> tuple[float, float]:
    """Both ends of Jeffreys' interval of an error rate, each missed with the probability `tail`.

    From the beta distribution with 1/2 added to errors and successes (Brown, Cai and DasGupta, Statistical
    Science 16, 2001) of `effective_trials`; unlike the exact interval it is right on average and not at
    least, which is what joins to an interval of a mean. It reaches 0 without errors and holds the rate.
    """
    errors = np.asarray(wrong, dtype=bool)
    effective, rate = effective_trials(errors, group, 1 - 2 * tail), float(errors.mean())
    a, b = rate * effective + 0.5, (1 - rate) * effective + 0.5
    low = 0.0 if rate == 0 else min(beta_quantile(tail, a, b), rate)
    high = 1.0 if rate == 1 else max(beta_quantile(1 - tail, a, b), rate)
    return low, high
