"""From the scores of members and frames to one score a presentation, and how often each member was asked.

A system decides as a file does: its score rises with bona fide, and what reaches the frozen threshold is
accepted. So every rule is a function from scores to a score and to the inferences that it took; nothing here
knows a label.

Sources: Kittler, Hatef, Duin and Matas, On combining classifiers, IEEE PAMI 20, 1998 (mean, product,
maximum); Wald, Sequential Analysis, 1947.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from swapbench.records import Evidence, FrameRule, Frames, FrozenFold, System

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

MOST_LOGIT = 36.0
"""Probabilities nearer to 0 or 1 than a double can tell are taken for this."""


@dataclass(frozen=True, eq=False)
class Decided:
    """What a system says of presentations.

    Attributes:
        score: [presentations], rises with bona fide; NaN where there is no frame
        asked: inferences of each member, [members, presentations]
        frames: that were looked at, [presentations]
    """

    score: Floats
    asked: Ints
    frames: Ints


def decided(system: System, scores: Floats, frozen: FrozenFold) -> Decided:
    """What a system says.

    Args:
        system: with its margin and its frames
        scores: [members, presentations, frames], NaN behind the last frame of a presentation
        frozen: what was frozen on development; of a cascade the thresholds of its members, of a sequential
            test its evidence
    """
    scores = scores[:, :, : system.frames.count]
    frames = np.sum(~np.isnan(scores[0]), axis=1)
    if system.rule == "cascade":
        assert system.margin is not None
        alone = [
            over_frames(one, system.frames.rule) - threshold
            for one, threshold in zip(scores, frozen.members, strict=True)
        ]
        score, unsure, asked = alone[0], np.ones(len(frames), dtype=np.bool_), [frames]
        for earlier, later in itertools.pairwise(alone):
            unsure = unsure & asked_beyond(earlier, system.margin)
            score = np.where(unsure, later, score)
            asked.append(np.where(unsure, frames, 0))
        return Decided(score, np.stack(asked), frames)
    weights = [member.weight for member in system.members]
    fused = scores[0] if len(scores) == 1 else fuse(scores, system.rule, weights)
    used = np.array([weight > 0 for weight in weights])[:, None]
    if system.frames.rule != "sequential":
        score = over_frames(fused, system.frames.rule, frozen.members[0] if frozen.members else 0.5)
        return Decided(score, used * frames, frames)
    assert frozen.evidence is not None
    score, frames = sequential(fused, frozen.evidence, system.frames)
    return Decided(score, used * frames, frames)


# ---- Members ----


def fuse(scores: Floats, rule: str, weights: Sequence[float]) -> Floats:
    """One score from those of several members: [members, ...] -> [...].

    Args:
        scores: of the members; probabilities of bona fide, except for the maximum
        rule: see `records.systems.Fusion`
        weights: of the members, not negative, not all 0

    Raises:
        UserError: the weights do not fit
    """
    if len(weights) != len(scores):
        raise UserError(f"{len(weights)} weights for {len(scores)} files", remedy="Give one for each file")
    weight = np.array(weights, dtype=np.float64)
    if not np.all(np.isfinite(weight)) or np.any(weight < 0) or not np.any(weight > 0):
        raise UserError("weights must not be negative, and one must be above 0")
    if rule == "maximum":
        highest: Floats = scores.max(axis=0)
        return highest
    scores, weight = scores[weight > 0], weight[weight > 0]
    weight = (weight / weight.sum()).reshape(-1, *[1] * (scores.ndim - 1))
    if rule == "mean":
        return np.asarray(np.sum(weight * scores, axis=0), dtype=np.float64)
    if rule == "product":
        return np.asarray(np.prod(scores**weight, axis=0), dtype=np.float64)
    return np.asarray(np.sum(weight * logits(scores), axis=0), dtype=np.float64)


def logits(scores: Floats) -> Floats:
    """log(p / (1 - p)), within ±MOST_LOGIT."""
    with np.errstate(divide="ignore"):
        value: Floats = np.clip(np.log(scores) - np.log1p(-scores), -MOST_LOGIT, MOST_LOGIT)
    return value


def asked_beyond(distance: Floats, margin: float) -> NDArray[np.bool_]:
    """Where a cascade asks its next member: where a score is nearer to its threshold than the margin."""
    unsure: NDArray[np.bool_] = np.isinf(margin) | (np.abs(distance) < margin)
    return unsure


# ---- Frames ----


def over_frames(scores: Floats, rule: FrameRule, threshold: float = 0.5) -> Floats:
    """One score a presentation from those of its frames: [presentations, frames] -> [presentations].

    Args:
        scores: NaN behind the last frame
        rule: mean, median, or vote: the share of frames that reach `threshold`
        threshold: of a single frame, for votes
    """
    if scores.shape[1] == 1 and rule != "vote":
        return scores[:, 0]
    there = ~np.isnan(scores)
    count = there.sum(axis=1)
    if rule == "median":
        return _median(scores, count)
    values = np.where(there, scores >= threshold, 0.0) if rule == "vote" else np.where(there, scores, 0.0)
    mean: Floats = np.divide(values.sum(axis=1), count, out=np.full(len(scores), np.nan), where=count > 0)
    return mean


def _median(scores: Floats, count: Ints) -> Floats:
    """Of the frames that there are; the mean of both in the middle of an even number."""
    ranked = np.sort(scores, axis=1)  # NaN comes last
    row = np.arange(len(scores))
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, scores.shape[1] - 1)
    middle: Floats = (ranked[row, low] + ranked[row, high]) / 2
    return middle


def wald_bounds(apcer: float, bpcer: float) -> tuple[float, float]:
    """Logarithms of the bounds of Wald's test: it ends at or below the first, and at or above the second.

    He accepts where the likelihood ratio reaches A = (1 - beta) / alpha and rejects where it falls to B =
    beta / (1 - alpha). Alpha is the share of attacks that may be accepted, beta of bona fide that may be
    rejected. Both hold for independent frames; those of one presentation are not (see `evidence.alike`).
    """
    return math.log(bpcer / (1 - apcer)), math.log((1 - bpcer) / apcer)


def sequential(scores: Floats, evidence: Evidence, frames: Frames) -> tuple[Floats, Ints]:
    """Wald's test over the frames of each presentation.

    Args:
        scores: [presentations, frames], NaN behind the last frame
        evidence: from a score to the logarithm of a frame's likelihood ratio
        frames: with the shares of errors that are allowed

    Returns:
        The sum of the evidence where the test ended, or of all frames where it did not; how many frames it
        took.
    """
    low, high = wald_bounds(frames.apcer, frames.bpcer)
    total = np.cumsum(evidence.slope * scores + evidence.offset, axis=1)
    count = np.sum(~np.isnan(scores), axis=1)
    ended = (total <= low) | (total >= high)
    used = np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, count)
    there = used > 0
    score = np.full(len(scores), np.nan)
    score[there] = total[np.flatnonzero(there), used[there] - 1]
    return score, used
