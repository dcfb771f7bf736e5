"""A check for the classic mistakes of a card: the wrong class or direction, division by 255, red and blue.

A network with such a card still gives scores, and its users report that everybody is an attack (for the
division: minivision-ai/Silent-Face-Anti-Spoofing, issue 69; for the channels:
kprokofi/light-weight-face-anti-spoofing, issue 13). So the same file scores some development crops as its
card says, in other ways of feeding it, and its outputs are read in other ways. Does another way separate the
classes clearly better? Then the card is suspect, and the output before the preprocessing: a wrong class looks
like a bad scale, but not the other way round. Does another way of feeding ruin the decisions, and the card
leaves that field to its default? Then the card should state it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from swapbench import units
from swapbench.bench.separation import DRAWS, DRAWS_A_TEST, better_by_chance, noise, separation
from swapbench.bench.trials import Trial
from swapbench.data.ranges import usual_ranges
from swapbench.errors import NotValid, SwapbenchError
from swapbench.pad.expression import parse
from swapbench.pad.rates import accepted, eer_threshold
from swapbench.pad.raw_outputs import bona_fide_scores
from swapbench.pad.readings import other_readings, readings
from swapbench.ports import OutputTensor
from swapbench.records import Doubt
from swapbench.stats import holm, mcnemar

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from numpy.typing import NDArray

    from swapbench.bench.trials import TrialBench
    from swapbench.bench.workers import FileUnderTest
    from swapbench.data.samples import Sample
    from swapbench.ports import Outputs
    from swapbench.records import ModelCard, OutputMeaning, Preprocessing

    Scores = NDArray[np.float64]
    Labels = NDArray[np.bool_]

MOST_OF_A_CLASS = 48
LEAST_OF_A_CLASS = 8
"""Chance alone separates eight from eight without an error in 1 of 12870 cases, four from four in 1 of 70."""

SIGNIFICANCE = 0.01

CLEAR_GAIN = 0.05
"""In AUC. A way that gains less may do so significantly and still be no reason to doubt the card."""

CLEAR_GAIN_OF_A_CROP = 0.1
"""Of another crop, border or range: a network may see more in one that it was not trained with."""

COLLAPSE = 0.1
"""By how much another way must raise (FAR + FRR) / 2 to matter."""

STATED = ("channel_order", "scale")
"""Fields that a card should state where they matter."""

_OUTPUT = ("name", "kind", "bona_fide_index", "higher_is", "reduce", "expression")


@dataclass(frozen=True)
class Way:
    """A way to feed a file and to read its outputs.

    Attributes:
        changed: the fields of the card that it changes; none for the card's own way.
        preprocessing: how images are fed.
        output: how outputs are read.
    """

    changed: tuple[str, ...]
    preprocessing: Preprocessing
    output: OutputMeaning

    @property
    def rank(self) -> int:
        """Which of several mistakes is reported first: the lower, as long as the higher explains no more."""
        of_output = [field for field in self.changed if field in _OUTPUT]
        of_input = [field for field in self.changed if field not in _OUTPUT]
        if of_output:
            return 4 if of_input else 0
        if not set(of_input) <= set(STATED):
            return 2
        return 1 if len(of_input) == 1 else 3

    @property
    def clear_gain(self) -> float:
        """By how much it must separate better, in AUC, to be a reason to doubt the card."""
        return CLEAR_GAIN_OF_A_CROP if self.rank == 2 else CLEAR_GAIN


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of one way [n], and how well they separate the classes."""

    way: Way
    scores: Scores
    auc: float


@dataclass(frozen=True)
class CardCheck:
    """What the check of a card with one file found.

    Attributes:
        doubts: about the card.
        remark: why it could not be checked, in one sentence; "" where it was.
    """

    doubts: tuple[Doubt, ...] = ()
    remark: str = ""


@dataclass(frozen=True, eq=False)
class CheckImages:
    """The images that a card is checked with.

    Attributes:
        crops: [n, height, width, channels] as the card says, one a presentation, see `chosen_rows`.
        bona_fide: [n].
        others: crops of the same images by other geometries.
        of_network: whether what belongs to the network is tried too: the other channel order and the usual
            ranges, where the card's scale alone is tried else.
    """

    crops: NDArray[np.uint8]
    bona_fide: Labels
    others: Mapping[Preprocessing, NDArray[np.uint8]] = field(default_factory=dict)
    of_network: bool = True


def chosen_rows(
    samples: Sequence[Sample], failures: Container[int], most: int = MOST_OF_A_CLASS
) -> NDArray[np.intp]:
    """The rows to check a card with: up to `most` of each class, spread evenly, one of each presentation.

    Frames of one presentation are not independent, so the first usable one stands for all.

    Args:
        samples: the development split.
        failures: rows without a crop.
        most: of each class.
    """
    first: dict[str, int] = {}
    for row, sample in enumerate(samples):
        if row not in failures:
            first.setdefault(sample.presentation, row)
    picked: list[int] = []
    for wanted in (True, False):
        rows = [row for row in first.values() if samples[row].bona_fide == wanted]
        count = min(len(rows), most)
        picked += [rows[place * len(rows) // count] for place in range(count)]
    return np.array(sorted(picked), dtype=np.intp)


def check_card(
    file: FileUnderTest,
    card: ModelCard,
    images: CheckImages,
    bench: TrialBench,
) -> CardCheck:
    """Score images in all ways, with a worker for each arithmetic, and judge the card by the scores.

    Errors that the scoring pass reports anyway become a remark here: fewer than 8 images of a class, a worker
    that fails, outputs of another shape than the card says.

    Args:
        file: to check the card with.
        card: the card to check.
        images: to score.
        bench: where they are scored.
    """
    fewest = min(int(np.sum(images.bona_fide)), int(np.sum(~images.bona_fide)))
    if fewest < LEAST_OF_A_CLASS:
        return CardCheck(
            remark="The card was not checked: the development split has"
            f" only {fewest} usable presentations of a class, {LEAST_OF_A_CLASS} are needed."
        )
    fed = ways_to_feed(card.preprocessing, images)
    try:
        outputs = bench.outputs(file, [trial for _, trial in fed])
        scored = [
            scored
            for (changed, trial), given in zip(fed, outputs, strict=True)
            for scored in ways_to_read(card.output, changed, trial.preprocessing, given, images.bona_fide)
        ]
        return judge(card, scored, images.bona_fide)
    except SwapbenchError as error:
        return CardCheck(remark=f"The card was not checked: {error}")


def ways_to_feed(card: Preprocessing, images: CheckImages) -> list[tuple[tuple[str, ...], Trial]]:
    """Changed fields and images: the card's own way first, scale, order, both, usual ranges, other crops.

    Where `scale` or `channel_order` change, mean and std stay with the input's channels; a usual range is
    tried where its mean and std are not the card's.
    """
    # 255 times larger for values up to about 1, 255 times smaller for values up to about 255
    scale = card.scale * 255 if abs(card.scale) < 1 / 16 else card.scale / 255
    ways: list[tuple[tuple[str, ...], Trial]] = [((), Trial(card, images.crops))]
    ways.append((("scale",), Trial(card.replace(scale=scale), images.crops)))
    if images.of_network and card.channel_order != "gray":
        order, swapped = "bgr" if card.channel_order == "rgb" else "rgb", images.crops[..., ::-1]
        ways.append((("channel_order",), Trial(card.replace(channel_order=order), swapped)))
        ways.append((STATED, Trial(card.replace(channel_order=order, scale=scale), swapped)))
    others = [
        (other, crops) for other, crops in images.others.items() if not np.array_equal(crops, images.crops)
    ]
    if images.of_network:
        ranges = [card.replace(**fields) for fields in usual_ranges(card.channel_order).values()]
        normalised = [other for other in ranges if (other.mean, other.std) != (card.mean, card.std)]
        others = [(other, images.crops) for other in normalised] + others
    ways += [(_changed(card, other), Trial(other, crops)) for other, crops in others]
    return ways


def _changed(card: Preprocessing, other: Preprocessing) -> tuple[str, ...]:
    """The fields in which another preprocessing differs from a card's."""
    return tuple(name for name in type(card).model_fields if getattr(other, name) != getattr(card, name))


def ways_to_read(
    meaning: OutputMeaning,
    fed: tuple[str, ...],
    preprocessing: Preprocessing,
    outputs: Outputs,
    bona_fide: Labels,
) -> list[Scored]:
    """The outputs of one way to feed a file, read as the card says and, of the card's own crops, otherwise.

    Args:
        meaning: what the card says.
        fed: the fields of the preprocessing that are changed.
        preprocessing: how the images were fed.
        outputs: what the file gave.
        bona_fide: [n].

    Raises:
        BadCard: as `bona_fide_scores` raises it.
    """
    tensors = outputs.tensors or (OutputTensor("", (len(outputs.rows[0]),)),)
    read = [meaning]
    if set(fed) <= set(STATED):
        read += other_readings(meaning, tensors)
        numbers = np.asarray(outputs.rows, np.float64)
        own = parse(meaning.expression).outputs if meaning.expression else (meaning.name or tensors[0].name,)
        read += [other for other in readings(numbers, tensors) if (other.name or tensors[0].name) not in own]
    scored = []
    for other in read:
        changed = tuple(field for field in _OUTPUT if getattr(other, field) != getattr(meaning, field))
        try:
            scores = bona_fide_scores(outputs.rows, other, tensors)
        except NotValid:
            scores = np.zeros(len(outputs.rows))
        way = Way((*changed, *fed), preprocessing, other)
        scored.append(Scored(way, scores, separation(scores, bona_fide)))
    return scored


# ---------------------------------------------------------------------------------------------- judging


def judge(card: ModelCard, scored: Sequence[Scored], bona_fide: Labels) -> CardCheck:
    """What the scores of the same images in several ways say about the card.

    `output_suspect`, `preprocessing_suspect`: a way separates the classes better, by an AUC of .05 (.1 for
    another crop) with p < .01 in a paired permutation test (see `better_by_chance`), adjusted for the number
    of ways of its kind (Holm), and itself better than chance.

    `preprocessing_not_stated`: otherwise, where the card leaves a field to its default and changing it raises
    (FAR + FRR) / 2 by .1 at the EER threshold of the card's own scores, with p < .01 (exact McNemar test of
    the decisions, Holm). Scores that become constant or fall on one side of the threshold do that even where
    their order, and so the AUC, survives.

    A remark and no doubt where the card's own scores are no better than chance and no other way is better.

    Args:
        card: the card.
        scored: the card's own way first. Outputs that are not finite count as scores that are all equal.
        bona_fide: [n].
    """
    own, *others = scored
    chance = noise(bona_fide)
    better = _clearly_better(others, own, bona_fide, chance)
    best = _best(better, bona_fide)
    if best is not None:
        alike = [
            other
            for other, _ in better
            if other.way.rank <= 2
            and other.way.rank != best[0].way.rank
            and other.auc > best[0].auc - CLEAR_GAIN
        ]
        return CardCheck((_suspect(card, own, *best, alike, bona_fide.size),))
    if abs(own.auc - 0.5) <= chance:
        return CardCheck(
            remark=f"The card could not be checked: the scores of {bona_fide.size} crops do not"
            f" separate the classes (AUC {own.auc:.2f}, chance alone gives up to {0.5 + chance:.2f}), and no"
            " other way to feed the file or to read its outputs does better."
        )
    return CardCheck(tuple(_not_stated(card, own, others, bona_fide)))


def _clearly_better(
    others: Sequence[Scored], own: Scored, bona_fide: Labels, chance: float
) -> list[tuple[Scored, float]]:
    """The ways that separate clearly better than the card's own, with their p, adjusted within each rank."""
    better = []
    for rank in sorted({other.way.rank for other in others}):
        kind = [other for other in others if other.way.rank == rank]
        draws = max(DRAWS, DRAWS_A_TEST * len(kind))
        p_values = [
            better_by_chance(own.scores, other.scores, bona_fide, draws)
            if other.auc >= own.auc + other.way.clear_gain and other.auc > 0.5 + chance
            else 1.0
            for other in kind
        ]
        adjusted = zip(kind, holm(p_values), strict=True)
        better += [(other, p) for other, p in adjusted if p < SIGNIFICANCE]
    return better


def _best(better: Sequence[tuple[Scored, float]], bona_fide: Labels) -> tuple[Scored, float] | None:
    """The way to report, and its p: of the lowest rank the one that separates best.

    One of a higher rank is reported only where it separates clearly better again: otherwise it is a guess.
    """
    best: tuple[Scored, float] | None = None
    for candidate, p in sorted(better, key=lambda pair: (pair[0].way.rank, -pair[0].auc)):
        if best is None or (
            candidate.auc >= best[0].auc + candidate.way.clear_gain
            and better_by_chance(best[0].scores, candidate.scores, bona_fide) < SIGNIFICANCE
        ):
            best = candidate, p
    return best


def _suspect(
    card: ModelCard, own: Scored, best: Scored, p: float, alike: Sequence[Scored], crops: int
) -> Doubt:
    """The doubt about a card; ways of another kind that separate as well as the best are named too."""
    changed = best.way.changed
    stated = card.preprocessing.model_fields_set | card.output.model_fields_set
    whose = "the card's" if stated.issuperset(changed) else "the default"
    said, instead = (_toml(scored.way, changed) for scored in (own, best))
    return Doubt(
        code="output_suspect" if best.way.rank in {0, 4} else "preprocessing_suspect",
        quantity="accuracy",
        message=f"{crops} crops separate better with {instead} (AUC {best.auc:.2f}) than with"
        f" {whose} {said} (AUC {own.auc:.2f}), p = {units.significant(p, 1)}"
        + "".join(
            f"; so they do with {_toml(one.way, one.way.changed)} (AUC {one.auc:.2f})" for one in alike
        ),
        remedy=f"Correct the card if the network was trained with {instead}.",
    )


def _not_stated(card: ModelCard, own: Scored, others: Sequence[Scored], bona_fide: Labels) -> list[Doubt]:
    """A doubt for each field that matters and that the card leaves to its default."""
    threshold = eer_threshold(own.scores[bona_fide], own.scores[~bona_fide]).threshold
    single = {other.way.changed[0]: other for other in others if other.way.rank == 1}
    own_right, own_error = _decisions(own, threshold, bona_fide)
    errors: dict[str, float] = {}
    p_values: list[float] = []
    for name, other in single.items():
        right, errors[name] = _decisions(other, threshold, bona_fide)
        p_values.append(mcnemar(int(np.sum(own_right & ~right)), int(np.sum(right & ~own_right))))
    return [
        Doubt(
            code="preprocessing_not_stated",
            quantity="accuracy",
            message=f"the card does not state {name}, and it matters: (FAR + FRR) / 2 on {bona_fide.size}"
            f" crops is {units.percent(own_error)} with the default"
            f" {_toml(own.way, (name,))},"
            f" and {units.percent(errors[name])} at the same threshold"
            f" with {_toml(other.way, (name,))}",
            remedy="State channel_order and scale in the preprocessing section of the card,"
            " as the network was trained.",
        )
        for (name, other), p in zip(single.items(), holm(p_values), strict=True)
        if name not in card.preprocessing.model_fields_set
        and errors[name] >= own_error + COLLAPSE
        and p < SIGNIFICANCE
    ]


def _decisions(scored: Scored, threshold: float, bona_fide: Labels) -> tuple[Labels, float]:
    """Which crops are classified correctly at a threshold [n], and (FAR + FRR) / 2."""
    right = accepted(scored.scores, threshold) == bona_fide
    return right, float(np.mean(~right[bona_fide]) + np.mean(~right[~bona_fide])) / 2


def _toml(way: Way, fields: Sequence[str]) -> str:
    values = {
        field: getattr(way.output if field in _OUTPUT else way.preprocessing, field) for field in fields
    }
    return " and ".join(f"{field} = {json.dumps(value)}" for field, value in values.items())
