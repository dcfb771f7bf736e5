"""Tests of a change in errors between two ways of deciding the same cases, where cases come in groups.

Cases of one group (presentations of a person) resemble each other, so the group is what is exchanged: under
equality either way could have made the errors of the other, and the difference of each group has either sign
with a probability of 1/2 (Fisher, The Design of Experiments, 1935). Where every group is a single case, this
is the exact form of McNemar's test.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swapbench.stats.beta import beta_probability

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

SIGN_FLIPS = 100_000
"""Random exchanges where all of them would be more; no p is smaller than one over their number."""

_ALL_UP_TO = 14
_MOST_SIGNS = 2**28
_SIGNS_AT_ONCE = 2**20
_WAYS_AT_ONCE = 4096
_NOTHING = 1e-9


def rise_p(differences: ArrayLike, allowed: float = 0.0) -> float:
    """Exact one-sided p of the hypothesis that errors rose by at most `allowed`.

    P(sum of the differences with random signs >= their sum - `allowed`): the noise around a rise of `allowed`
    is taken to be that around none. It is too large rather than too small where the rise itself is part of
    the differences. Six groups with one error more and none with fewer give 1/64.

    Args:
        differences: errors of the second way less those of the first, whole numbers, [groups].
        allowed: errors in all groups together.
    """
    values = np.asarray(differences, dtype=np.intp)
    if float(values.sum()) <= allowed:
        return 1.0
    magnitudes, groups = np.unique(np.abs(values[values != 0]), return_counts=True)
    most = math.floor(-float(values[values < 0].sum()) + allowed / 2 + _NOTHING)
    reached = np.ones(1)  # the probability that the differences that changed sign add up to the index
    for magnitude, count in zip(magnitudes.tolist(), groups.tolist(), strict=True):
        before, reached = reached, np.zeros(min(reached.size + magnitude * count, most + 1))
        for heads, probability in enumerate(_half_binomial(count)[: most // magnitude + 1].tolist()):
            after = reached[heads * magnitude : heads * magnitude + before.size]
            after += probability * before[: after.size]
    return min(1.0, float(reached.sum()))


def change_p(differences: ArrayLike) -> float:
    """Exact two-sided p of the hypothesis that the two ways err equally often: twice the smaller `rise_p`."""
    values = np.asarray(differences, dtype=np.intp)
    return min(1.0, 2 * min(rise_p(values), rise_p(-values)))


def _half_binomial(count: int) -> Floats:
    """The probabilities of 0 to `count` heads of as many coins."""
    log_factorial = np.array([math.lgamma(number + 1) for number in range(count + 1)])
    logs = log_factorial[-1] - log_factorial - log_factorial[::-1] - count * math.log(2)
    probabilities: Floats = np.exp(logs)
    return probabilities


def least_rise(trials: ArrayLike, p_value: float, allowed: float = 0.0) -> int | None:
    """The smallest rise, in errors, whose `rise_p` can be at most `p_value`.

    Reached where as many groups as it takes have equally many errors more and none has fewer. 20 groups of
    any size need 8 errors for 0.005.

    Args:
        trials: of each group, [groups].
        p_value: that is to be reached.
        allowed: errors in all groups together.

    Returns:
        None where not even a rise in every trial reaches it: the groups are too few.
    """
    sizes = np.asarray(trials, dtype=np.intp)
    fewest = _fewest_groups(int(np.sum(sizes >= 1)), p_value, 0.0)
    least: int | None = None
    each = 1
    while fewest is not None and (least is None or fewest * each < least):
        groups = int(np.sum(sizes >= each))
        if groups < fewest:
            break
        needed = _fewest_groups(groups, p_value, allowed / each)
        if needed is not None and (least is None or needed * each < least):
            least = needed * each
        each += 1
    return least


def _fewest_groups(groups: int, p_value: float, allowed: float) -> int | None:
    """The fewest groups with one error more each whose p is at most `p_value`, if there are as many."""
    changed = math.floor(allowed / 2 + _NOTHING)

    def reached(count: int) -> bool:
        return count > allowed and beta_probability(0.5, count - changed, changed + 1) <= p_value

    if not reached(groups):
        return None
    low, high = changed, groups
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def exchanges(groups: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Which groups are exchanged, in blocks [ways, groups]: every way there is, or random ones.

    The first way exchanges nothing, so that a share of the ways is a valid p value in either case. Many
    groups have fewer than `SIGN_FLIPS` ways, so that the work is bounded.
    """
    if groups <= _ALL_UP_TO:
        ways = np.arange(2**groups)[:, None] >> np.arange(groups)
        yield (ways & 1).astype(np.bool_)
        return
    rng = np.random.default_rng(seed)
    left = min(SIGN_FLIPS, _MOST_SIGNS // groups)
    first = True
    while left:
        block = (
            rng.integers(
                0, 2, (min(left, _WAYS_AT_ONCE, max(1, _SIGNS_AT_ONCE // groups)), groups), dtype=np.int8
            )
            > 0
        )
        if first:
            block[0] = first = False
        left -= len(block)
        yield block
