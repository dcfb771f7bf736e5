"""Does an exported file decide as the network does that it came from? Compares scores, P(bona fide), on the same real crops.

Pure: scores in, verdict out. `swapbench.workshop.export.outputs` is where they come from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swapbench.errors import ParityFailed
from swapbench.pad.metrics import eer_threshold
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
"""What each precision may cost, as data.

fp32 is the same arithmetic in another order: logits differ by about 1e-6 to 1e-5, so 1e-3 in a score is a hundred times what is
seen, and a wrong padding, layout or channel order moves scores by far more. fp16 has 11 bits of mantissa: some 1e-3 of a
logit and so up to 1e-3 in a score, seldom 1e-2 where a network magnifies. int8 has no useful worst case: a single
score near the steep middle of the softmax may move far while nothing is wrong. There the mean, the correlation and the
decisions count: .98 and 5 % are where a working quantisation of the networks tried stays well inside and a clipping
one (correlation .67 and decisions at random) is well outside. A decision flips where a score crosses
the threshold. At the EER threshold of a weak network scores lie dense, and 2 to 6 % of them cross in a quantisation with
a correlation of .993; surely more than 5 % changes an error rate by as much as networks differ. Flips are counted on a
hundred samples or so, so the limit is held against the lower end of the exact interval of their share. fp32 has no limit on flips: where scores
are saturated, many lie within rounding of the threshold, and a limit on the difference already excludes any other flip.
"""


FLIP_CONFIDENCE = 0.9
"""Two-sided, so that a share that fails exceeds its limit with 95 % confidence."""


def flip_threshold(bona_fide: Scores, attacks: Scores) -> float:
    """The EER threshold of the reference scores, moved down half way to the next score below it.

    Every reference decision stays as it is; but the EER threshold is itself a score, which rounding alone would make flip.
    """
    threshold = eer_threshold(bona_fide, attacks).threshold
    scores = np.concatenate([bona_fide, attacks])
    below = scores[scores < threshold]
    if below.size == 0 or not math.isfinite(threshold):
        return threshold
    return (threshold + float(below.max())) / 2


def parity(reference: Scores, scores: Scores, threshold: float, precision: Precision) -> Parity:
    """Compare scores of the same samples. A decision is `score >= threshold`.

    correlation is Pearson's, None where either side is constant. Raises ValueError for lengths that differ or no samples.
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


def broken_limits(found: Parity) -> list[str]:
    """Every tolerance that a comparison breaks, in words; empty where it holds. A value that is not a number breaks all."""
    limits = found.tolerance
    flips, samples = found.decision_flips, found.samples
    checks = (
        ("max_abs_difference", found.max_abs_difference, "largest difference"),
        ("mean_abs_difference", found.mean_abs_difference, "mean difference"),
        (
            "flip_share",
            clopper_pearson(flips, samples, FLIP_CONFIDENCE).low,
            f"{flips} flipped decisions of {samples} are a share of at least",
        ),
    )
    broken = [
        f"{words} {value:.3g}, which exceeds {limits[name]:g}"
        for name, value, words in checks
        # written so that NaN breaks the limit
        if name in limits and not value <= limits[name]
    ]
    least = limits.get("min_correlation")
    if least is not None and found.correlation is not None and found.correlation < least:
        broken.append(f"correlation {found.correlation:.4f} is below {least:g}")
    if (
        least is not None
        and found.correlation is None
        and not found.max_abs_difference <= limits["mean_abs_difference"]
    ):
        broken.append("correlation is undefined: one side is constant")
    return broken


def check(found: Parity, *, reference: str, artifact: str) -> Parity:
    """The same comparison where every tolerance holds; ParityFailed, naming both sides and each broken limit, otherwise."""
    broken = broken_limits(found)
    if broken:
        raise ParityFailed(
            f"{artifact} does not compute what {reference} computes on {found.samples} samples: {'; '.join(broken)}",
            remedy="Do not ship or measure this file. Report the network's operators, or choose another precision.",
        )
    return found
