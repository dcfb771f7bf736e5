"""Whether a file computes what its reference computes: differences of scores on the same frames, with limits.

The reference is the PyTorch network that the file was exported from, or the same file on another device. Each
precision has limits (`TOLERANCES`). Which of two artifacts decides better on a dataset is another question,
answered by `swapbench.pad.score_parity`. Pure: scores in, verdict out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import ParityFailed
from swapbench.pad.rates import eer_threshold
from swapbench.records import Parity
from swapbench.stats import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from swapbench.records import Precision

    Scores = NDArray[np.float64]

TOLERANCES: Mapping[Precision, Mapping[str, float]] = {
    "fp32": {"max_abs_difference": 1e-3, "mean_abs_difference": 1e-4},
    "fp16": {"max_abs_difference": 5e-2, "mean_abs_difference": 2e-3, "flip_share": 0.02},
    "int8": {"mean_abs_difference": 0.05, "min_correlation": 0.98, "flip_share": 0.05},
}
"""What each precision may cost: limits on differences of scores, P(bona fide), and on flipped decisions.

fp32 is the same arithmetic in another order: logits differ by about 1e-6 to 1e-5, so 1e-3 in a score is a
hundred times what is seen, and a wrong padding, layout or channel order moves scores by far more. It has no
limit on flips: where scores are saturated, many lie within rounding of the threshold, and a limit on the
difference already excludes any other flip.

fp16 has 11 bits of mantissa: about 1e-3 of a logit and so up to 1e-3 in a score, rarely 1e-2 where a network
amplifies it.

int8 has no useful worst case: a single score near the steep middle of the softmax may move far while nothing
is wrong. There the mean, the correlation and the decisions count: .98 and 5 % are limits that a working
quantisation of the networks tried keeps with room to spare, and that one that clips (correlation .67,
decisions at random) exceeds by far. A decision flips where a score crosses the threshold. Scores lie dense at
the EER threshold of a weak network, and 2 to 6 % of them cross it in a quantisation with a correlation of
.993; more than 5 % changes an error rate by as much as networks differ. Flips are counted on about a hundred
samples, so the limit applies to the lower end of the Clopper-Pearson interval of their share.
"""


FLIP_CONFIDENCE = 0.9
"""Two-sided, so that a share that fails exceeds its limit with 95 % confidence."""


def flip_threshold(bona_fide: Scores, attacks: Scores) -> float:
    """The EER threshold of the reference scores, moved half way down to the next score below it.

    Every decision of the reference stays the same; but the EER threshold is itself a score, which rounding
    alone would flip.
    """
    threshold = eer_threshold(bona_fide, attacks).threshold
    scores = np.concatenate([bona_fide, attacks])
    below = scores[scores < threshold]
    if below.size == 0 or not math.isfinite(threshold):
        return threshold
    return (threshold + float(below.max())) / 2


def parity(reference: Scores, scores: Scores, threshold: float, precision: Precision) -> Parity:
    """Compare scores of the same samples. A decision is `score >= threshold`.

    Args:
        reference: scores of the reference, [samples]
        scores: scores of the file, in the same order
        threshold: where decisions are made, see `flip_threshold`
        precision: of the file, whose limits go into the result

    Returns:
        The differences and flips. The correlation is Pearson's, None where either side is constant.

    Raises:
        ValueError: the lengths differ, or there are no samples
    """
    reference, scores = np.asarray(reference, np.float64), np.asarray(scores, np.float64)
    if reference.shape != scores.shape or reference.ndim != 1 or reference.size == 0:
        raise ValueError(f"cannot compare scores of shapes {reference.shape} and {scores.shape}")
    difference = np.abs(reference - scores)
    varied = reference.size > 1 and np.ptp(reference) > 0 and np.ptp(scores) > 0
    with np.errstate(all="ignore"):  # spreads so small that their squares are 0 end in NaN, and that in None
        correlation = float(np.corrcoef(reference, scores)[0, 1]) if varied else None
    return Parity(
        samples=reference.size,
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        correlation=correlation if correlation is None or math.isfinite(correlation) else None,
        decision_flips=int(np.sum((reference >= threshold) != (scores >= threshold))),
        threshold=threshold,
        tolerance=dict(TOLERANCES.get(precision, {})),
    )


def broken_limits(parity: Parity) -> list[str]:
    """Every limit that a comparison breaks, in words. A value that is NaN breaks its limit."""
    limits = parity.tolerance
    flips, samples = parity.decision_flips, parity.samples
    limited = (
        ("max_abs_difference", parity.max_abs_difference, "largest difference"),
        ("mean_abs_difference", parity.mean_abs_difference, "mean difference"),
        (
            "flip_share",
            clopper_pearson(flips, samples, FLIP_CONFIDENCE).low,
            f"the share of flipped decisions ({flips} of {samples}) is at least",
        ),
    )
    broken = [
        f"{words} {value:.3g}, which exceeds {limits[name]:g}"
        for name, value, words in limited
        # written so that NaN breaks the limit
        if name in limits and not value <= limits[name]
    ]
    least = limits.get("min_correlation")
    if least is not None and parity.correlation is not None and parity.correlation < least:
        broken.append(f"correlation {parity.correlation:.4f} is below {least:g}")
    if (
        least is not None
        and parity.correlation is None
        and not parity.max_abs_difference <= limits["mean_abs_difference"]
    ):
        broken.append("correlation is undefined because one side is constant")
    return broken


def check(parity: Parity, *, reference: str, artifact: str) -> Parity:
    """The comparison itself where it keeps every limit.

    Args:
        parity: the comparison
        reference: what the file was compared with, in words
        artifact: the file, in words

    Raises:
        ParityFailed: a limit is broken
    """
    broken = broken_limits(parity)
    if broken:
        raise ParityFailed(
            f"{artifact} does not reproduce {reference} on {parity.samples} samples: {'; '.join(broken)}",
            remedy="Do not use this file. Report the network's operators, or choose another precision.",
        )
    return parity
