"""The classic mistakes of preprocessing: a division by 255 too many or missing, and red and blue swapped.

A network that is fed so still answers, and its users report that everybody is an attack (minivision-ai/Silent-Face-Anti-Spoofing,
issue 69, for the division; kprokofi/light-weight-face-anti-spoofing, issue 13, for the channels). So the same file scores some
development crops as its card says and in every variation of channel order and scale, and two questions are asked of the scores.
Does a variation separate the classes clearly better? Then the card is suspect. Does a variation ruin the decisions, and the card
left that field to its default? Then the card should say which is right.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from swapbench import units
from swapbench.bench.passes import measure_scores
from swapbench.bench.workers import normalise_json
from swapbench.errors import EnvironmentFailed, NotValid, SwapbenchError, WorkerFailed
from swapbench.files import disk_failure
from swapbench.pad.rates import accepted, auc, eer_threshold
from swapbench.pad.scores import bona_fide_scores
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
"""Eight against eight are ordered without a fault by chance in 1 of 12870 cases; with four, in 1 of 70."""

SIGNIFICANCE = 0.01
NOISE_DEVIATIONS = 2.576
"""99 % of the AUCs of scores that know nothing lie within so many standard deviations of 1/2."""

CLEAR_GAIN = 0.05
"""A variation that gains less AUC than that may be significant on these crops and still no reason to doubt the card."""

COLLAPSE = 0.1
"""By how much more (FAR + FRR) / 2 must rise at the threshold of the scores as the card says."""

DRAWS = 2000


@dataclass(frozen=True)
class Variation:
    """What a file answered to the same crops, prepared in one way: raw outputs, a row a crop.

    changed: the fields in which `preprocessing` is not what the card says; none for the card's own way.
    """

    changed: tuple[Field, ...]
    preprocessing: Preprocessing
    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Findings:
    """Doubts about a card's preprocessing, and where they could not be looked for, why: a sentence for the reader."""

    doubts: tuple[Doubt, ...] = ()
    remark: str = ""


def check_preprocessing(
    subject: FileUnderTest,
    card: ModelCard,
    crops: NDArray[np.uint8],
    bona_fide: Labels,
    device: Device,
    plan: Plan,
    folder: Path,
) -> Findings:
    """Score crops [n, height, width, 3] in all variations and judge the card by it; costs two worker processes.

    crops: in the card's own channel order, one a presentation, as `chosen_rows` picks them; bona_fide: [n]. subject: any
    file of the card. Never raises what is the scoring pass's to report: fewer than 8 crops of a class, a worker that fails
    and outputs of another shape than the card says become a remark.
    """
    fewest = min(int(np.sum(bona_fide)), int(np.sum(~bona_fide)))
    if fewest < LEAST_OF_A_CLASS:
        return Findings(
            remark="Channel order and scale of the card were not checked: the development split has"
            f" {fewest} usable presentations of a class, fewer than {LEAST_OF_A_CLASS}."
        )
    try:
        variations = measure_variants(subject, crops, card.preprocessing, device, plan, folder)
        return suspicions(card, variations, bona_fide)
    except SwapbenchError as error:
        return Findings(remark=f"Channel order and scale of the card were not checked: {error}")


def chosen_rows(samples: Sequence[Sample], failures: Container[int]) -> NDArray[np.intp]:
    """The rows to check a card with: up to 48 of each class, spread evenly over the samples, one of each presentation.

    failures: rows without a crop. Frames of one presentation are not independent, so the first usable one stands for all.
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


def measure_variants(
    subject: FileUnderTest,
    crops: NDArray[np.uint8],
    preprocessing: Preprocessing,
    device: Device,
    plan: Plan,
    folder: Path,
) -> tuple[Variation, ...]:
    """What a file answers to crops [n, height, width, 3] as the card says (first), and in the three other ways.

    Both channel orders are in one samples file, so that a worker for each scale is enough; the two run side by side. Only
    `scale` and `channel_order` change: mean and std stay with the input's channels. The samples lie in `folder` for as
    long as it takes. Raises EnvironmentFailed where a worker fails or the folder cannot be written.
    """
    ways = _ways(preprocessing)
    scales = tuple(dict.fromkeys(way.scale for way in ways.values()))
    answers: dict[float, tuple[tuple[float, ...], ...]] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".variations-", dir=folder) as temporary:
            samples = Path(temporary) / "crops.npy"
            np.save(samples, np.concatenate([crops, crops[..., ::-1]]), allow_pickle=False)
            options = {**subject.options, "samples": device.push(samples)}
            asked = [
                replace(
                    subject,
                    options={
                        **options,
                        "normalise": normalise_json(preprocessing.replace(scale=scale)),
                    },
                )
                for scale in scales
            ]
            scored = list(measure_scores(asked, device, plan, at_once=len(asked)))
            for scale, (_, found) in zip(scales, scored, strict=True):
                if isinstance(found, EnvironmentFailed):
                    raise found
                if len(found.rows) != 2 * len(crops):
                    raise WorkerFailed(
                        f"{subject.name} gave {len(found.rows)} answers to {2 * len(crops)} crops"
                    )
                answers[scale] = found.rows
    except OSError as error:
        raise disk_failure(error, folder) from error
    part = {False: slice(len(crops)), True: slice(len(crops), None)}
    return tuple(
        Variation(changed, way, answers[way.scale][part["channel_order" in changed]])
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
class _Seen:
    """The scores of one variation, and how well they separate."""

    variation: Variation
    scores: Scores
    auc: float


def suspicions(card: ModelCard, variations: Sequence[Variation], bona_fide: Labels) -> Findings:
    """What the answers to the same crops in several ways say about the card; the first variation is the card's own.

    `preprocessing_suspect`: a variation separates better: by an AUC of .05, p < .01 in a paired permutation test (see
    `better_by_chance`), adjusted for the number of variations (Holm), and itself beyond what chance gives.
    `preprocessing_not_stated`: else, where the card leaves a field to its default and changing it raises (FAR + FRR) / 2 at
    the EER threshold of the scores as the card says by .1, p < .01 (exact McNemar test of the decisions, Holm). Scores that
    become constant or fall on one side of the threshold do that even where their order, and so the AUC, survives.
    A remark and no doubt where the scores as the card says tell nothing and no variation does better. Raises BadDataset
    as `bona_fide_scores` does. Outputs that are not finite count as scores that are all equal.
    """
    own, *others = (_seen(one, card.output, bona_fide) for one in variations)
    noise = NOISE_DEVIATIONS * _auc_deviation(bona_fide)
    better = _best(_clearly_better(others, own, bona_fide, noise), bona_fide)
    if better is not None:
        return Findings((_suspect(card, own, *better, bona_fide.size),))
    if abs(own.auc - 0.5) <= noise:
        return Findings(
            remark="Channel order and scale of the card could not be checked: as the card says, the scores of"
            f" {bona_fide.size} development crops do not tell the classes apart (AUC {own.auc:.2f},"
            f" chance alone gives up to {0.5 + noise:.2f}), and no other way does better."
        )
    return Findings(tuple(_not_stated(card, own, others, bona_fide)))


def _seen(variation: Variation, meaning: OutputMeaning, bona_fide: Labels) -> _Seen:
    try:
        scores = bona_fide_scores(variation.rows, meaning)
    except NotValid:
        scores = np.zeros(len(variation.rows))
    return _Seen(variation, scores, auc(scores[bona_fide], scores[~bona_fide]))


def _auc_deviation(bona_fide: Labels) -> float:
    """Standard deviation of the AUC of scores without ties that know nothing (Mann and Whitney 1947)."""
    real, fake = int(np.sum(bona_fide)), int(np.sum(~bona_fide))
    return float(np.sqrt((real + fake + 1) / (12 * real * fake)))


def better_by_chance(scores: Scores, other: Scores, bona_fide: Labels, draws: int = DRAWS) -> float:
    """One-sided p that `other` [n] has so much more AUC than `scores` [n] of the same presentations by chance.

    Paired permutation test of Bandos, Rockette and Gur ("A permutation test sensitive to differences in areas for comparing
    ROC curves from a paired design", Statistics in Medicine 24, 2005): both are ranked, and each presentation's two ranks are
    swapped or not by a coin. Needs no assumption on how scores are distributed. From 1 / (draws + 1) up; the seed is fixed.
    """
    first, second = _ranks(scores), _ranks(other)

    def gain(swapped: Labels) -> float:
        one, two = np.where(swapped, second, first), np.where(swapped, first, second)
        return auc(two[bona_fide], two[~bona_fide]) - auc(one[bona_fide], one[~bona_fide])

    found = gain(np.zeros(bona_fide.size, np.bool_))
    coins = np.random.default_rng(0).integers(0, 2, (draws, bona_fide.size)).astype(np.bool_)
    # a difference of AUCs is a sum of halves over pairs: equal ones may differ in the last bit
    reached = sum(gain(swapped) >= found - 1e-9 for swapped in coins)
    return (1 + reached) / (1 + draws)


def _ranks(scores: Scores) -> Scores:
    """Twice the average rank: ties alike."""
    order = np.sort(scores)
    return (np.searchsorted(order, scores, "left") + np.searchsorted(order, scores, "right")).astype(
        np.float64
    )


def _clearly_better(
    others: Sequence[_Seen], own: _Seen, bona_fide: Labels, noise: float
) -> list[tuple[_Seen, float]]:
    """The variations that separate clearly better than the card's way, with their adjusted p."""
    p_values = [
        better_by_chance(own.scores, one.scores, bona_fide) if one.auc >= own.auc + CLEAR_GAIN else 1.0
        for one in others
    ]
    return [
        (one, p)
        for one, p in zip(others, holm(p_values), strict=True)
        if p < SIGNIFICANCE and one.auc > 0.5 + noise
    ]


def _best(better: Sequence[tuple[_Seen, float]], bona_fide: Labels) -> tuple[_Seen, float] | None:
    """The variation to name, and its p: of those with one change the one that separates best.

    Both changes are named only where they separate clearly better again: else the second one is a guess.
    """
    best: tuple[_Seen, float] | None = None
    for one, p in sorted(better, key=lambda pair: (len(pair[0].variation.changed), -pair[0].auc)):
        if best is None or (
            one.auc >= best[0].auc + CLEAR_GAIN
            and better_by_chance(best[0].scores, one.scores, bona_fide) < SIGNIFICANCE
        ):
            best = one, p
    return best


def _suspect(card: ModelCard, own: _Seen, best: _Seen, p: float, crops: int) -> Doubt:
    changed = best.variation.changed
    whose = "the card's" if card.preprocessing.model_fields_set.issuperset(changed) else "the default"
    says, instead = (_toml(one.variation.preprocessing, changed) for one in (own, best))
    return Doubt(
        code="preprocessing_suspect",
        quantity="accuracy",
        message=f"{crops} development crops separate better with {instead} (AUC {best.auc:.2f}) than with"
        f" {whose} {says} (AUC {own.auc:.2f}), p = {units.significant(p, 1)}",
        remedy=f"Correct the card, if the network was trained so: {instead}",
    )


def _not_stated(card: ModelCard, own: _Seen, others: Sequence[_Seen], bona_fide: Labels) -> list[Doubt]:
    """A doubt for each field that matters and that the card leaves to its default."""
    frozen = eer_threshold(own.scores[bona_fide], own.scores[~bona_fide]).threshold
    single = {one.variation.changed[0]: one for one in others if len(one.variation.changed) == 1}
    own_right, own_error = _decisions(own, frozen, bona_fide)
    errors: dict[Field, float] = {}
    p_values: list[float] = []
    for field, one in single.items():
        right, errors[field] = _decisions(one, frozen, bona_fide)
        p_values.append(mcnemar(int(np.sum(own_right & ~right)), int(np.sum(right & ~own_right))))
    return [
        Doubt(
            code="preprocessing_not_stated",
            quantity="accuracy",
            message=f"the card does not state {field}, and it matters: at the same threshold (FAR + FRR) / 2 of"
            f" {bona_fide.size} development crops is {units.percent(own_error)} with the default"
            f" {_toml(card.preprocessing, (field,))}, {units.percent(errors[field])} with"
            f" {_toml(one.variation.preprocessing, (field,))}",
            remedy="State channel_order and scale in the preprocessing section of the card, as the network was trained.",
        )
        for (field, one), p in zip(single.items(), holm(p_values), strict=True)
        if field not in card.preprocessing.model_fields_set
        and errors[field] >= own_error + COLLAPSE
        and p < SIGNIFICANCE
    ]


def _decisions(seen: _Seen, threshold: float, bona_fide: Labels) -> tuple[Labels, float]:
    """Which crops are decided right at a threshold, and (FAR + FRR) / 2."""
    right = accepted(seen.scores, threshold) == bona_fide
    return right, float(np.mean(~right[bona_fide]) + np.mean(~right[~bona_fide])) / 2


def _toml(preprocessing: Preprocessing, fields: Sequence[Field]) -> str:
    return " and ".join(f"{field} = {json.dumps(getattr(preprocessing, field))}" for field in fields)
