"""From paired rounds to a verdict: is the candidate worse than its budget allows, as far as they can tell?

Every round gives two log ratios: candidate over baseline (the change) and a second baseline over the baseline
(the control, an A/A pair). The quantity is the median change; rounds are taken to be independent, and nothing
is assumed about the distribution of the noise. Pure functions of numbers, which know nothing of what is
measured, or how.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from swapbench import stats, units

if TYPE_CHECKING:
    from collections.abc import Sequence

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID"]

LOOKS = (6, 7, 8, 9, 10, 12, 14, 16, 20, 24)
"""Rounds after which a first batch is judged; it goes on only while the verdict is INCONCLUSIVE."""

CONFIRMING_LOOKS = (5, *LOOKS)
"""Rounds after which a second batch is judged; it only has to confirm, so five are enough."""

FALSE_ALARM = 0.005
"""The probability, at most, that a whole gate reports a FAIL although every change is within its margin.

Where error rates are judged beside timings, either kind has half of it.
"""

HIDEABLE = 3.0
"""A PASS rules out a change of this many budgets, however noisy the machine is."""

CONFIDENCE = 0.95
CONFIRMING_CONFIDENCE = 0.90
"""Two-sided confidence of the intervals of a first and of a second batch."""

FLOOR_CONFIDENCE = 0.80
"""Confidence of the controls' interval; lower, as the change's interval contains the same noise again."""


@dataclass(frozen=True)
class Verdict:
    """What the rounds say about one quantity of one model.

    Changes are candidate / baseline - 1, positive is worse. Numbers are NaN where nothing was measured, and
    infinite where the rounds are too few for an interval.

    Attributes:
        outcome: the verdict.
        change: the median change.
        low: of its two-sided interval.
        high: of its two-sided interval.
        margin: the larger of budget and noise floor; the whole interval must exceed it for a FAIL.
        noise_floor: how far from 0 the interval of the controls reaches.
        rounds: how many were measured for this verdict.
        detectable: the smallest true change that would have been a FAIL, with about the interval's
            confidence.
        reason: in words.
        p_value: of the hypothesis that the true change is within the margin; one-sided, for a number of
            rounds fixed beforehand.
    """

    outcome: Outcome
    change: float
    low: float
    high: float
    margin: float
    noise_floor: float
    rounds: int
    detectable: float
    reason: str
    p_value: float = 1.0


def invalid(reason: str, rounds: int = 0) -> Verdict:
    """The verdict where a measurement cannot be used: throttling, another delegate, a worker that died."""
    nan = math.nan
    return Verdict("INVALID", nan, nan, nan, nan, nan, rounds, nan, reason)


def decide(
    changes: Sequence[float],
    controls: Sequence[float],
    budget: float,
    *,
    confidence: float = CONFIDENCE,
) -> Verdict:
    """The verdict over rounds.

    FAIL where the interval of the median change lies above the margin, PASS where it lies below, otherwise
    INCONCLUSIVE. The margin is log(1 + budget) or, where the controls reach further, the noise floor; but
    noise never makes a PASS of a change above HIDEABLE budgets. Fewer rounds than `least_rounds` are
    INCONCLUSIVE, none at all INVALID.

    Args:
        changes: natural logs of ratios, one a round.
        controls: likewise. A second batch may bring those of the first as well: they are independent of its
            changes, and more of them give a better noise floor.
        budget: the allowed change, above 0; 0.01 is 1 %.
        confidence: of the change's interval, two-sided.

    Raises:
        ValueError: fewer controls than changes, a value that is not finite, or a budget that is not above 0.
    """
    if len(changes) > len(controls):
        raise ValueError(f"{len(changes)} changes and only {len(controls)} controls")
    if not all(map(math.isfinite, (*changes, *controls))):
        raise ValueError("a log ratio is not finite")
    if not budget > 0:
        raise ValueError(f"a budget of {budget} leaves no room for noise: it must be above 0")
    if not changes:
        return invalid("no round was measured")
    low, high = change_interval(changes, confidence)
    noise_floor = max(map(abs, change_interval(controls, FLOOR_CONFIDENCE)))
    margin = max(math.log1p(budget), noise_floor)
    outcome: Outcome = "INCONCLUSIVE"
    if low > margin:
        outcome = "FAIL"
    elif high < min(margin, math.log1p(HIDEABLE * budget)):
        outcome = "PASS"
    verdict = Verdict(
        outcome=outcome,
        change=math.expm1(_middle(changes)),
        low=math.expm1(low),
        high=math.expm1(high),
        margin=math.expm1(margin),
        noise_floor=math.expm1(noise_floor),
        rounds=len(changes),
        detectable=math.expm1(margin + (high - low)),
        reason="",
        p_value=exceedance_p(changes, margin),
    )
    return replace(verdict, reason=_reason(verdict, budget, confidence))


def _reason(verdict: Verdict, budget: float, confidence: float) -> str:
    least = least_rounds(confidence)
    if verdict.rounds < least:
        return f"{verdict.rounds} rounds are too few: a {confidence:.0%} interval needs {least}"
    limit = f"the budget of {units.percent(budget)}"
    if verdict.noise_floor > budget:
        limit = f"the noise floor of {units.percent(verdict.noise_floor)} ({limit})"
    change = f"{changed(verdict.change)} [{changed(verdict.low)}, {changed(verdict.high)}]"
    if verdict.outcome == "FAIL":
        return f"{change} is above {limit}"
    if verdict.outcome == "PASS":
        return f"{change} is within {limit}"
    detectable = f"{verdict.rounds} rounds would have shown {changed(verdict.detectable)}"
    if verdict.high < verdict.margin:
        return f"{change}: this machine is too noisy for a budget of {units.percent(budget)}; {detectable}"
    return f"{change} includes {limit}; {detectable}"


def changed(change: float) -> str:
    """A change as text with its sign: 0.071 -> '+7.1 %'."""
    return f"{'+' if change >= 0 else '-'}{units.percent(abs(change))}"


# ---------------------------------------------------------------------------------------------- the interval


def change_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """`stats.median_interval` of changes by round; (-inf, inf) for too few rounds to be sure enough.

    Unlike a percentile bootstrap of the median it holds its confidence for few rounds (measured in
    benchmarks/gate_simulation.py).
    """
    interval = stats.median_interval(values, confidence)
    if interval is None or interval.confidence < confidence:
        return -math.inf, math.inf
    return interval.low, interval.high


def exceedance_p(values: Sequence[float], limit: float) -> float:
    """One-sided p of the hypothesis that the median is at most `limit`.

    The sign test, interpolated as in `stats.median_interval`: below (1 - confidence) / 2 exactly where that
    interval's lower end is above `limit`. Eight values above the limit give 1/256.
    """
    ordered = sorted(values)
    count = len(ordered)
    below = sum(value <= limit for value in ordered)
    tails = stats.binomial_tails(count)
    if below == count:
        return 1.0
    if below == 0 or 2 * below >= count:
        return tails[below + 1]
    weight = (limit - ordered[below - 1]) / (ordered[below] - ordered[below - 1])
    share = below * weight / ((count - below) - (count - 2 * below) * weight)
    return tails[below] + share * (tails[below + 1] - tails[below])


@functools.cache
def least_rounds(confidence: float = CONFIDENCE) -> int:
    """Fewest values whose range contains the median with this confidence: 6 for 95 %, 8 for 99 %."""
    return math.ceil(math.log2(2 / (1 - confidence)) - 1e-9)


def _middle(values: Sequence[float]) -> float:
    """The median; of an even number the mean of the middle two, so that it is the middle of its interval."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


# ------------------------------------------------------------------------------------------- several verdicts


def confirmed(first: Verdict, second: Verdict) -> Verdict:
    """`first`, or where it is a FAIL what a second, independent batch of rounds makes of it.

    Where both FAIL the result is a FAIL with the numbers of the second batch, because the first was chosen
    for being large. Its p: under the hypothesis a first batch is below t and an independent second one below
    2 t with a probability of at most 2 t squared. Otherwise the result is INCONCLUSIVE, or INVALID where the
    second batch is.
    """
    if first.outcome != "FAIL" or second.outcome == "INVALID":
        return first if first.outcome != "FAIL" else second
    rounds = first.rounds + second.rounds
    if second.outcome == "FAIL":
        reason = f"{second.reason}; a first batch showed {changed(first.change)}"
        return replace(
            second, rounds=rounds, reason=reason, p_value=2 * max(first.p_value, second.p_value / 2) ** 2
        )
    reason = (
        f"a first batch of {first.rounds} rounds showed {changed(first.change)}, "
        f"a second of {second.rounds} did not confirm it: {second.reason}"
    )
    return replace(
        second,
        outcome="INCONCLUSIVE",
        rounds=rounds,
        reason=reason,
        p_value=max(first.p_value, second.p_value),
    )


def sure_p(comparisons: int, false_alarm: float = FALSE_ALARM) -> tuple[float, float]:
    """The p of a first and a second batch that a FAIL needs among so many comparisons; see `family`."""
    first = math.sqrt(false_alarm / (2 * max(comparisons, 1)))
    return first, 2 * first


def family(verdicts: Sequence[Verdict], *, false_alarm: float = FALSE_ALARM) -> tuple[Verdict, ...]:
    """The verdicts of one gate, in their order, with a family-wise error rate of `false_alarm`.

    A FAIL that `doubts_among` doubts becomes INCONCLUSIVE. Every FAIL must have been confirmed before.
    """
    measured = [place for place, verdict in enumerate(verdicts) if verdict.outcome != "INVALID"]
    doubts = doubts_among([verdicts[place].p_value for place in measured], false_alarm)
    doubt_of = dict(zip(measured, doubts, strict=True))
    return tuple(
        replace(verdict, outcome="INCONCLUSIVE", reason=f"{verdict.reason}; {doubt_of[place]}")
        if verdict.outcome == "FAIL" and doubt_of[place]
        else verdict
        for place, verdict in enumerate(verdicts)
    )


def doubts_among(p_values: Sequence[float], false_alarm: float) -> tuple[str, ...]:
    """Why each p of a family is not significant, "" where it is.

    Holm's step-down method (1979) with a family-wise error rate of `false_alarm`.
    """
    return tuple(
        f"not significant among {len(p_values)} comparisons"
        f" (adjusted p {adjusted:.2g}, at most {false_alarm:g} is needed)"
        if adjusted > false_alarm
        else ""
        for adjusted in stats.holm(p_values)
    )
