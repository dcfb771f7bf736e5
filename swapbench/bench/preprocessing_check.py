"""A check for the classic preprocessing mistakes: a wrong division by 255, and red and blue swapped.

A network with such an input still gives scores, and its users report that everybody is an attack (for the
division: minivision-ai/Silent-Face-Anti-Spoofing, issue 69; for the channels:
kprokofi/light-weight-face-anti-spoofing, issue 13). So the same file scores some development crops as its
card says and in every variation of channel order and scale. Does a variation separate the classes clearly
better? Then the card is suspect. Does a variation ruin the decisions, and the card leaves that field to its
default? Then the card should state it.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from swapbench import units
from swapbench.bench.outputs import measure_scores
from swapbench.bench.workers import normalise_json
from swapbench.errors import EnvironmentFailed, NotValid, SwapbenchError, WorkerFailed
from swapbench.files import disk_failure
from swapbench.pad.rates import accepted, auc, eer_threshold
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.records import Doubt
from swapbench.stats import holm, mcnemar

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from numpy.typing import NDArray

    from swapbench.bench.workers import FileUnderTest
    from swapbench.data.samples import Sample
    from swapbench.ports import Device
    from swapbench.records import ModelCard, OutputMeaning, Plan, Preprocessing

    Scores = NDArray[np.float64]
    Labels = NDArray[np.bool_]

Field = Literal["channel_order", "scale"]

MOST_OF_A_CLASS = 48
LEAST_OF_A_CLASS = 8
"""Chance alone separates eight from eight without an error in 1 of 12870 cases, four from four in 1 of 70."""

SIGNIFICANCE = 0.01
NOISE_DEVIATIONS = 2.576
"""99 % of the AUCs of random scores lie within so many standard deviations of 1/2."""

CLEAR_GAIN = 0.05
"""In AUC. A variation that gains less may do so significantly and still be no reason to doubt the card."""

COLLAPSE = 0.1
"""By how much a variation must raise (FAR + FRR) / 2 to matter."""

DRAWS = 2000


@dataclass(frozen=True)
class Variation:
    """Raw outputs of a file for the same crops, preprocessed in one way.

    Attributes:
        changed: the fields in which `preprocessing` differs from the card; none for the card's own.
        preprocessing: that way.
        rows: outputs [crops, classes].
    """

    changed: tuple[Field, ...]
    preprocessing: Preprocessing
    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PreprocessingCheck:
    """What the check of a card's preprocessing found.

    Attributes:
        doubts: about the card.
        remark: why it could not be checked, in one sentence; "" where it was.
    """

    doubts: tuple[Doubt, ...] = ()
    remark: str = ""


def check_preprocessing(
    file: FileUnderTest,
    card: ModelCard,
    crops: NDArray[np.uint8],
    bona_fide: Labels,
    device: Device,
    plan: Plan,
    folder: Path,
) -> PreprocessingCheck:
    """Score crops in all variations and judge the card by the scores; takes two worker processes.

    Errors that the scoring pass reports anyway become a remark here: fewer than 8 crops of a class, a worker
    that fails, outputs of another shape than the card says.

    Args:
        file: any file of the card.
        card: the card to check.
        crops: [n, height, width, 3] in the card's own channel order, one a presentation, see `chosen_rows`.
        bona_fide: [n].
        device: where the file runs.
        plan: for its threads.
        folder: for temporary files.
    """
    fewest = min(int(np.sum(bona_fide)), int(np.sum(~bona_fide)))
    if fewest < LEAST_OF_A_CLASS:
        return PreprocessingCheck(
            remark="Channel order and scale of the card were not checked: the development split has"
            f" only {fewest} usable presentations of a class, {LEAST_OF_A_CLASS} are needed."
        )
    try:
        variations = measure_variations(file, crops, card.preprocessing, device, plan, folder)
        return check_outputs(card, variations, bona_fide)
    except SwapbenchError as error:
        return PreprocessingCheck(remark=f"Channel order and scale of the card were not checked: {error}")


def chosen_rows(samples: Sequence[Sample], failures: Container[int]) -> NDArray[np.intp]:
    """The rows to check a card with: up to 48 of each class, spread evenly, one of each presentation.

    Frames of one presentation are not independent, so the first usable one stands for all.

    Args:
        samples: the development split.
        failures: rows without a crop.
    """
    first: dict[str, int] = {}
    for row, sample in enumerate(samples):
        if row not in failures:
            first.setdefault(sample.presentation, row)
    picked: list[int] = []
    for wanted in (True, False):
        rows = [row for row in first.values() if samples[row].bona_fide == wanted]
        count = min(len(rows), MOST_OF_A_CLASS)
        picked += [rows[place * len(rows) // count] for place in range(count)]
    return np.array(sorted(picked), dtype=np.intp)


def measure_variations(
    file: FileUnderTest,
    crops: NDArray[np.uint8],
    preprocessing: Preprocessing,
    device: Device,
    plan: Plan,
    folder: Path,
) -> tuple[Variation, ...]:
    """Raw outputs of a file for the same crops as the card says (first), and in the three other ways.

    Both channel orders are in one samples file, so that one worker a scale is enough; the two run side by
    side. Only `scale` and `channel_order` change: mean and std stay with the input's channels.

    Args:
        file: what to run.
        crops: [n, height, width, 3] in the card's own channel order.
        preprocessing: the card's.
        device: where the file runs.
        plan: for its threads.
        folder: holds the samples meanwhile.

    Raises:
        EnvironmentFailed: a worker failed, or the folder cannot be written.
    """
    ways = _ways(preprocessing)
    scales = tuple(dict.fromkeys(way.scale for way in ways.values()))
    outputs: dict[float, tuple[tuple[float, ...], ...]] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".variations-", dir=folder) as temporary:
            samples = Path(temporary) / "crops.npy"
            np.save(samples, np.concatenate([crops, crops[..., ::-1]]), allow_pickle=False)
            options = {**file.options, "samples": device.push(samples)}
            files = [
                replace(
                    file,
                    options={
                        **options,
                        "normalise": normalise_json(preprocessing.replace(scale=scale)),
                    },
                )
                for scale in scales
            ]
            scored = list(measure_scores(files, device, plan, at_once=len(files)))
            for scale, (_, result) in zip(scales, scored, strict=True):
                if isinstance(result, EnvironmentFailed):
                    raise result
                if len(result.rows) != 2 * len(crops):
                    raise WorkerFailed(
                        f"{file.name} gave {len(result.rows)} outputs for {2 * len(crops)} crops"
                    )
                outputs[scale] = result.rows
    except OSError as error:
        raise disk_failure(error, folder) from error
    half = {False: slice(len(crops)), True: slice(len(crops), None)}
    return tuple(
        Variation(changed, way, outputs[way.scale][half["channel_order" in changed]])
        for changed, way in ways.items()
    )


def _ways(card: Preprocessing) -> dict[tuple[Field, ...], Preprocessing]:
    """Changed fields -> preprocessing: the card's own first, then each field changed alone, then both."""
    # 255 times larger for values up to about 1, 255 times smaller for values up to about 255
    other_scale = card.scale * 255 if abs(card.scale) < 1 / 16 else card.scale / 255
    other = {"channel_order": "bgr" if card.channel_order == "rgb" else "rgb", "scale": other_scale}
    combinations: tuple[tuple[Field, ...], ...] = (
        (),
        ("channel_order",),
        ("scale",),
        ("channel_order", "scale"),
    )
    return {changed: card.replace(**{field: other[field] for field in changed}) for changed in combinations}


# ---------------------------------------------------------------------------------------------- judging


@dataclass(frozen=True, eq=False)
class _ScoredVariation:
    """The scores of one variation [n], and how well they separate the classes."""

    variation: Variation
    scores: Scores
    auc: float


def check_outputs(card: ModelCard, variations: Sequence[Variation], bona_fide: Labels) -> PreprocessingCheck:
    """What the outputs for the same crops in several ways say about the card.

    `preprocessing_suspect`: a variation separates the classes better, by an AUC of .05 with p < .01 in a
    paired permutation test (see `better_by_chance`), adjusted for the number of variations (Holm), and itself
    better than chance.

    `preprocessing_not_stated`: otherwise, where the card leaves a field to its default and changing it raises
    (FAR + FRR) / 2 by .1 at the EER threshold of the card's own scores, with p < .01 (exact McNemar test of
    the decisions, Holm). Scores that become constant or fall on one side of the threshold do that even where
    their order, and so the AUC, survives.

    A remark and no doubt where the card's own scores are no better than chance and no variation is better.

    Args:
        card: the card.
        variations: the card's own first. Outputs that are not finite count as scores that are all equal.
        bona_fide: [n].

    Raises:
        BadDataset: as `bona_fide_scores` raises it.
    """
    own, *others = (_scored(variation, card.output, bona_fide) for variation in variations)
    noise = NOISE_DEVIATIONS * _auc_deviation(bona_fide)
    better = _best(_clearly_better(others, own, bona_fide, noise), bona_fide)
    if better is not None:
        return PreprocessingCheck((_suspect(card, own, *better, bona_fide.size),))
    if abs(own.auc - 0.5) <= noise:
        return PreprocessingCheck(
            remark="Channel order and scale of the card could not be checked: the scores of"
            f" {bona_fide.size} development crops do not separate the classes (AUC {own.auc:.2f},"
            f" chance alone gives up to {0.5 + noise:.2f}), and no other preprocessing does better."
        )
    return PreprocessingCheck(tuple(_not_stated(card, own, others, bona_fide)))


def _scored(variation: Variation, meaning: OutputMeaning, bona_fide: Labels) -> _ScoredVariation:
    try:
        scores = bona_fide_scores(variation.rows, meaning)
    except NotValid:
        scores = np.zeros(len(variation.rows))
    return _ScoredVariation(variation, scores, auc(scores[bona_fide], scores[~bona_fide]))


def _auc_deviation(bona_fide: Labels) -> float:
    """Standard deviation of the AUC of random scores without ties (Mann and Whitney 1947)."""
    positives, negatives = int(np.sum(bona_fide)), int(np.sum(~bona_fide))
    return float(np.sqrt((positives + negatives + 1) / (12 * positives * negatives)))


def better_by_chance(scores: Scores, other: Scores, bona_fide: Labels, draws: int = DRAWS) -> float:
    """One-sided p of the hypothesis that `other` has no higher AUC than `scores` but by chance.

    Paired permutation test of Bandos, Rockette and Gur ("A permutation test sensitive to differences in areas
    for comparing ROC curves from a paired design", Statistics in Medicine 24, 2005): both are ranked, and
    each presentation's two ranks are swapped or not at random. It assumes no distribution of scores.

    Args:
        scores: [n].
        other: [n], of the same presentations.
        bona_fide: [n].
        draws: permutations, with a fixed seed; the least p is 1 / (draws + 1).
    """
    first, second = _ranks(scores), _ranks(other)

    def gain(swapped: Labels) -> float:
        ranks, others = np.where(swapped, second, first), np.where(swapped, first, second)
        return auc(others[bona_fide], others[~bona_fide]) - auc(ranks[bona_fide], ranks[~bona_fide])

    observed = gain(np.zeros(bona_fide.size, np.bool_))
    permutations = np.random.default_rng(0).integers(0, 2, (draws, bona_fide.size)).astype(np.bool_)
    # a difference of AUCs is a sum of halves over pairs: equal ones may differ in the last bit
    reached = sum(gain(swapped) >= observed - 1e-9 for swapped in permutations)
    return (1 + reached) / (1 + draws)


def _ranks(scores: Scores) -> Scores:
    """Twice the average rank, the same for ties."""
    order = np.sort(scores)
    return (np.searchsorted(order, scores, "left") + np.searchsorted(order, scores, "right")).astype(
        np.float64
    )


def _clearly_better(
    others: Sequence[_ScoredVariation], own: _ScoredVariation, bona_fide: Labels, noise: float
) -> list[tuple[_ScoredVariation, float]]:
    """The variations that separate clearly better than the card's own way, with their adjusted p."""
    p_values = [
        better_by_chance(own.scores, other.scores, bona_fide) if other.auc >= own.auc + CLEAR_GAIN else 1.0
        for other in others
    ]
    return [
        (other, p)
        for other, p in zip(others, holm(p_values), strict=True)
        if p < SIGNIFICANCE and other.auc > 0.5 + noise
    ]


def _best(
    better: Sequence[tuple[_ScoredVariation, float]], bona_fide: Labels
) -> tuple[_ScoredVariation, float] | None:
    """The variation to report, and its p: of those with one change the one that separates best.

    Both changes are reported only where they separate clearly better again: otherwise the second one is a
    guess.
    """
    best: tuple[_ScoredVariation, float] | None = None
    for candidate, p in sorted(better, key=lambda pair: (len(pair[0].variation.changed), -pair[0].auc)):
        if best is None or (
            candidate.auc >= best[0].auc + CLEAR_GAIN
            and better_by_chance(best[0].scores, candidate.scores, bona_fide) < SIGNIFICANCE
        ):
            best = candidate, p
    return best


def _suspect(card: ModelCard, own: _ScoredVariation, best: _ScoredVariation, p: float, crops: int) -> Doubt:
    changed = best.variation.changed
    whose = "the card's" if card.preprocessing.model_fields_set.issuperset(changed) else "the default"
    stated, instead = (_toml(scored.variation.preprocessing, changed) for scored in (own, best))
    return Doubt(
        code="preprocessing_suspect",
        quantity="accuracy",
        message=f"{crops} development crops separate better with {instead} (AUC {best.auc:.2f}) than with"
        f" {whose} {stated} (AUC {own.auc:.2f}), p = {units.significant(p, 1)}",
        remedy=f"Correct the card if the network was trained with {instead}.",
    )


def _not_stated(
    card: ModelCard, own: _ScoredVariation, others: Sequence[_ScoredVariation], bona_fide: Labels
) -> list[Doubt]:
    """A doubt for each field that matters and that the card leaves to its default."""
    threshold = eer_threshold(own.scores[bona_fide], own.scores[~bona_fide]).threshold
    single = {other.variation.changed[0]: other for other in others if len(other.variation.changed) == 1}
    own_right, own_error = _decisions(own, threshold, bona_fide)
    errors: dict[Field, float] = {}
    p_values: list[float] = []
    for field, other in single.items():
        right, errors[field] = _decisions(other, threshold, bona_fide)
        p_values.append(mcnemar(int(np.sum(own_right & ~right)), int(np.sum(right & ~own_right))))
    return [
        Doubt(
            code="preprocessing_not_stated",
            quantity="accuracy",
            message=f"the card does not state {field}, and it matters: (FAR + FRR) / 2 on {bona_fide.size}"
            f" development crops is {units.percent(own_error)} with the default"
            f" {_toml(card.preprocessing, (field,))},"
            f" and {units.percent(errors[field])} at the same threshold"
            f" with {_toml(other.variation.preprocessing, (field,))}",
            remedy="State channel_order and scale in the preprocessing section of the card,"
            " as the network was trained.",
        )
        for (field, other), p in zip(single.items(), holm(p_values), strict=True)
        if field not in card.preprocessing.model_fields_set
        and errors[field] >= own_error + COLLAPSE
        and p < SIGNIFICANCE
    ]


def _decisions(scored: _ScoredVariation, threshold: float, bona_fide: Labels) -> tuple[Labels, float]:
    """Which crops are classified correctly at a threshold [n], and (FAR + FRR) / 2."""
    right = accepted(scored.scores, threshold) == bona_fide
    return right, float(np.mean(~right[bona_fide]) + np.mean(~right[~bona_fide])) / 2


def _toml(preprocessing: Preprocessing, fields: Sequence[Field]) -> str:
    return " and ".join(f"{field} = {json.dumps(getattr(preprocessing, field))}" for field in fields)
