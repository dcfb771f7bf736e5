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
from swapbench.stats import clopper_pearson, spearman

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from swapbench.records import OutputMeaning, Precision

    Scores = NDArray[np.float64]

_QUANTISED: Mapping[str, float] = {
    "flip_share": 0.05,
    "min_rank_correlation": 0.95,
    "min_logit_correlation": 0.97,
    "max_logit_error": 0.25,
}

TOLERANCES: Mapping[Precision, Mapping[str, float]] = {
    "fp32": {"max_abs_difference": 1e-3, "mean_abs_difference": 1e-4},
    "fp16": {"max_abs_difference": 5e-2, "mean_abs_difference": 2e-3, "flip_share": 0.02},
    "int16x8": _QUANTISED,
    "int8": _QUANTISED,
    "int8-dynamic": _QUANTISED,
}
"""What each precision may cost: limits on differences of scores, P(bona fide), and on flipped decisions.

fp32 is the same arithmetic in another order: logits differ by about 1e-6 to 1e-5, so 1e-3 in a score is a
hundred times what is seen, and a wrong padding, layout or channel order moves scores by far more. It has no
limit on flips: where scores are saturated, many lie within rounding of the threshold, and a limit on the
difference already excludes any other flip.

fp16 has 11 bits of mantissa: about 1e-3 of a logit and so up to 1e-3 in a score, rarely 1e-2 where a network
amplifies it.

Weights of 8 bits have no useful worst case, and their scores should not be judged as probabilities: nearly
all of a good network's are 0 or 1, and the few on the steep part of the softmax then decide a correlation.
What a deployment rests on is judged instead:

*Decisions.* A decision flips where a score crosses the threshold. Scores lie dense at the EER threshold of a
weak network, and 2 to 6 % of them cross it in a quantisation whose logits correlate by .99; more than 5 %
changes an error rate by as much as networks differ. The limit applies to the lower end of the
Clopper-Pearson interval of the share, so that few samples condemn nothing by chance.

*Logits*, as their root mean square error in units of the reference's standard deviation, and as their
correlation, which a shift or a factor leaves alone (a threshold frozen anew takes both up). Two classes that
a network separates lie two standard deviations apart and one from the threshold between them, where an error
of .25 is four standard errors: it flips 3 of 100,000 decisions. Noise of that size leaves a correlation of
1 / sqrt(1 + .25^2) = .97. A quantisation that clips its ranges has .67.

*Ranks*, on which the EER and the area under the ROC curve rest, as Spearman's correlation: the same noise
leaves .967 where logits are normally distributed. Ranks are not judged where the error of the logits is at
most `NEAR_ERROR`: what changes places then has practically equal logits, as within the narrow cluster of
each class of a network that separates well (two of them that keep apart but are shuffled within have .75).
"""

NEAR_ERROR = 0.1
"""An error of the logits, in units of their spread, below which a quantised file is as good as its network.

Correlations of logits are then above .995.
"""

PROBABILITIES = frozenset({"logits", "probabilities", "sigmoid"})
"""Kinds of outputs whose scores are probabilities."""

FEW_SAMPLES = 20
"""With fewer, no limit says anything: without a flip, their share may still be 14 % (95 % confidence)."""

MOST_LOGIT = 16.0
"""Probabilities nearer to 0 or 1 than this are taken for it: in float32 a larger one is 1."""

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


def logits(scores: Scores, meaning: OutputMeaning) -> Scores:
    """Scores without saturation: log(p / (1 - p)) of probabilities, within ±MOST_LOGIT.

    Scores of an output that is no probability are taken as they are.
    """
    if meaning.kind not in PROBABILITIES:
        return scores
    least = 1 / (1 + math.exp(MOST_LOGIT))
    clipped = np.clip(scores, least, 1 - least)
    unsaturated: Scores = np.log(clipped) - np.log1p(-clipped)
    return unsaturated


def parity(
    reference: Scores, scores: Scores, threshold: float, precision: Precision, meaning: OutputMeaning
) -> Parity:
    """Compare scores of the same samples. A decision is `score >= threshold`.

    Args:
        reference: scores of the reference, [samples]
        scores: scores of the file, in the same order
        threshold: where decisions are made, see `flip_threshold`
        precision: of the file, whose limits go into the result
        meaning: what the card says of the output: whether scores are probabilities

    Returns:
        The differences and flips. Correlations are None where either side is constant, and the error of the
        logits is where the reference is.

    Raises:
        ValueError: the lengths differ, or there are no samples
    """
    reference, scores = np.asarray(reference, np.float64), np.asarray(scores, np.float64)
    if reference.shape != scores.shape or reference.ndim != 1 or reference.size == 0:
        raise ValueError(f"cannot compare scores of shapes {reference.shape} and {scores.shape}")
    difference = np.abs(reference - scores)
    exact, approximate = logits(reference, meaning), logits(scores, meaning)
    spread = float(exact.std())
    error = float(np.sqrt(np.mean((exact - approximate) ** 2)))
    return Parity(
        samples=reference.size,
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        correlation=_correlation(reference, scores),
        rank_correlation=spearman(reference, scores),
        logit_correlation=_correlation(exact, approximate),
        logit_error=error / spread if np.ptp(exact) > 0 and spread > 0 else None,
        decision_flips=int(np.sum((reference >= threshold) != (scores >= threshold))),
        threshold=threshold,
        tolerance=dict(TOLERANCES.get(precision, {})),
    )


def _correlation(first: Scores, second: Scores) -> float | None:
    """Pearson's; None where a side is constant."""
    if first.size < 2 or not np.ptp(first) > 0 or not np.ptp(second) > 0:
        return None
    with np.errstate(all="ignore"):  # spreads so small that their squares are 0 end in NaN, and that in None
        correlation = float(np.corrcoef(first, second)[0, 1])
    return correlation if math.isfinite(correlation) else None


def broken_limits(parity: Parity) -> list[str]:
    """Every limit that a comparison breaks, in words. A value that is NaN breaks its limit."""
    limits = parity.tolerance
    flips, samples = parity.decision_flips, parity.samples
    share = clopper_pearson(flips, samples, FLIP_CONFIDENCE).low
    error = parity.logit_error
    broken = []
    for name, value, words in (
        ("max_abs_difference", parity.max_abs_difference, "largest difference {:.3g}"),
        ("mean_abs_difference", parity.mean_abs_difference, "mean difference {:.3g}"),
        ("flip_share", share, f"the share of flipped decisions ({flips} of {samples}) is at least {{:.3g}}"),
        ("max_logit_error", error, "the logits' error is {:.3g} of their spread"),
    ):
        # written so that NaN breaks the limit
        if name in limits and value is not None and not value <= limits[name]:
            broken.append(f"{words.format(value)}, which exceeds {limits[name]:g}")
    near = error is not None and error <= NEAR_ERROR
    for name, least, words in (
        ("min_logit_correlation", parity.logit_correlation, "the logits' correlation"),
        ("min_rank_correlation", None if near else parity.rank_correlation, "the rank correlation"),
    ):
        if name in limits and least is not None and least < limits[name]:
            broken.append(f"{words} {least:.4f} is below {limits[name]:g}")
    return broken


def unjudged(parity: Parity) -> str:
    """Why the limits of a quantised file say nothing about it, "" where they do."""
    if "max_logit_error" not in parity.tolerance:
        return ""
    if parity.logit_error is None and parity.max_abs_difference > 0:
        return f"the reference gives all {parity.samples} samples the same score"
    if parity.samples < FEW_SAMPLES:
        return f"there are only {parity.samples} samples to compare, fewer than {FEW_SAMPLES}"
    return ""


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
