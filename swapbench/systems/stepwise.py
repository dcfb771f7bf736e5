"""A decision step by step, as a device takes it: each member is asked only once it is needed.

The timed process imports this module, so it needs nothing but the standard library. `swapbench.systems.rules`
says the same of many presentations at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Ask = Callable[[], float]

MOST_LOGIT = 36.0
"""As in `rules`."""


class NotStepwise(Exception):
    """An output whose meaning a device-like decision does not know."""


def score_of(meaning: Mapping[str, Any]) -> Callable[[Sequence[float]], float]:
    """From the numbers of one output to a score that rises with bona fide; see `pad.raw_outputs`.

    Args:
        meaning: an `OutputMeaning` as a mapping

    Raises:
        NotStepwise: it is an expression
    """
    kind, sign = meaning["kind"], -1.0 if meaning.get("higher_is") == "attack" else 1.0
    index = meaning.get("bona_fide_index", 0)
    indexes = [index] if isinstance(index, int) else list(index)
    if kind == "logits":

        def softmax(numbers: Sequence[float]) -> float:
            highest = max(numbers)
            powers = [math.exp(number - highest) for number in numbers]
            return sum(powers[place] for place in indexes) / sum(powers)

        return softmax
    if kind == "probabilities":
        return lambda numbers: sum(numbers[place] for place in indexes)
    if kind == "score":
        return lambda numbers: sign * numbers[0]
    if kind == "sigmoid":
        return lambda numbers: 1 / (1 + math.exp(min(-sign * numbers[0], 700.0)))
    if kind == "map":
        reductions: dict[str, Callable[[Sequence[float]], float]] = {
            "mean": lambda numbers: math.fsum(numbers) / len(numbers),
            "sum": math.fsum,
            "max": max,
            "min": min,
        }
        reduce = reductions[meaning.get("reduce", "mean")]
        return lambda numbers: sign * reduce(numbers)
    raise NotStepwise(f"an output of kind {kind!r} cannot be timed in a system")


@dataclass(frozen=True)
class Steps:
    """A frozen system in plain values, as JSON holds them.

    Attributes:
        rule: a fusion, or "cascade".
        weights: of the members.
        margin: of a cascade; None otherwise.
        frame_rule: see `records.systems.Frames`.
        bounds: logarithms of Wald's bounds, of a sequential test.
        threshold: of the system.
        members: thresholds of the members, or of a single frame for votes.
        evidence: slope and offset, of a sequential test.
    """

    rule: str
    weights: tuple[float, ...]
    margin: float | None
    frame_rule: str
    bounds: tuple[float, float]
    threshold: float
    members: tuple[float, ...]
    evidence: tuple[float, float]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Steps:
        """The same from JSON, whose lists are tuples here."""
        known: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in values.items()
        }
        return cls(**known)

    def decide(self, asks: Sequence[Sequence[Ask]]) -> tuple[bool, tuple[int, ...]]:
        """Decide about one presentation.

        Args:
            asks: of each member and frame a function that runs the member on it and returns the score

        Returns:
            Whether it is accepted, and how often each member was asked.
        """
        if self.rule == "cascade":
            return self._cascade(asks)
        used = [place for place, weight in enumerate(self.weights) if weight > 0]
        frames = len(asks[0])
        score = total = 0.0
        fused: list[float] = []
        for frame in range(frames):
            one = self._fused([asks[place][frame]() for place in used], used)
            fused.append(one)
            if self.frame_rule == "sequential":
                total += self.evidence[0] * one + self.evidence[1]
                if total <= self.bounds[0] or total >= self.bounds[1]:
                    break
        score = total if self.frame_rule == "sequential" else self._over_frames(fused)
        asked = tuple(len(fused) if place in used else 0 for place in range(len(asks)))
        return score >= self.threshold, asked

    def _cascade(self, asks: Sequence[Sequence[Ask]]) -> tuple[bool, tuple[int, ...]]:
        margin, asked, score = self.margin or 0.0, [0] * len(asks), 0.0
        for place, frames in enumerate(asks):
            score = self._over_frames([ask() for ask in frames]) - self.members[place]
            asked[place] = len(frames)
            if not math.isinf(margin) and abs(score) >= margin:
                break
        return score >= self.threshold, tuple(asked)

    def _fused(self, scores: Sequence[float], used: Sequence[int]) -> float:
        if len(self.weights) == 1:
            return scores[0]
        if self.rule == "maximum":
            return max(scores)
        total = sum(self.weights[place] for place in used)
        shares = [self.weights[place] / total for place in used]
        if self.rule == "mean":
            return sum(share * score for share, score in zip(shares, scores, strict=True))
        if self.rule == "product":
            return math.prod([math.pow(score, share) for share, score in zip(shares, scores, strict=True)])
        return sum(share * _logit(score) for share, score in zip(shares, scores, strict=True))

    def _over_frames(self, scores: Sequence[float]) -> float:
        if self.frame_rule == "vote":
            return sum(score >= self.members[0] for score in scores) / len(scores)
        if self.frame_rule == "median":
            return median(scores)
        return sum(scores) / len(scores)


def _logit(score: float) -> float:
    if score <= 0:
        return -MOST_LOGIT
    if score >= 1:
        return MOST_LOGIT
    return max(-MOST_LOGIT, min(MOST_LOGIT, math.log(score) - math.log1p(-score)))
