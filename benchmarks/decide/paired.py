"""Two arms held against each other on the same people and with the same seeds, with both in the interval.

The people of the test are drawn again, the same for both arms and for every seed of a domain; what seeds add
is the spread of their differences. The variances of the two are added, which counts what a seed and a person
have in common twice and so errs to the wide side; the quantile is Student's with the degrees of freedom of
Welch and Satterthwaite, in which the people, who are many, count as exact.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.decide import evidence
from benchmarks.decide.evidence import LOGIT_UNIT
from swapbench import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.decide.evidence import Evidence

    Floats = NDArray[np.float64]

DRAWS, SEED = 1000, 0
_MANY: Final = 1e6


@dataclass(frozen=True)
class Difference:
    """A mean difference in points with its 95 % interval.

    Attributes:
        mean: over the pairs.
        low: of the interval.
        high: of the interval.
        pairs: how many.
    """

    mean: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def difference(
    pairs: Sequence[tuple[Evidence, Evidence]], study: str, value: Callable[[Evidence, str, Floats], Floats]
) -> Difference:
    """The first less the second of each pair.

    Args:
        pairs: results that were tested on the same presentations; at least one.
        study: where those are kept.
        value: `auc` or `acer`, of a result under weights of its people [draws, people] -> [draws].
    """
    weights: dict[str, Floats] = {}
    drawn = []
    for ours, theirs in pairs:
        name = ours.content["presentations_in"]
        if name not in weights:
            weights[name] = _weights(people_of(ours, study), len(weights))
        drawn.append(100 * (value(ours, study, weights[name]) - value(theirs, study, weights[name])))
    values = np.array(drawn)
    mean, of_people = float(values[:, 0].mean()), float(values[:, 1:].mean(axis=0).var(ddof=1))
    count = len(pairs)
    of_seeds = statistics.variance(values[:, 0].tolist()) / count if count > 1 else 0.0
    both = of_people + of_seeds
    freedom = both**2 / (of_seeds**2 / (count - 1)) if of_seeds > 0 else _MANY
    half = stats.t_quantile(0.975, min(freedom, _MANY)) * both**0.5
    return Difference(mean, mean - half, mean + half, count)


def _weights(people: int, number: int) -> Floats:
    """How often each person counts: once as they are, then drawn again [1 + draws, people]."""
    random = np.random.default_rng([SEED, number])
    drawn = random.multinomial(people, np.full(people, 1 / people), DRAWS)
    return np.vstack([np.ones((1, people)), drawn])


def _presentations(result: Evidence, study: str) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """Number of the person, and species, of every presentation."""
    return _presentations_in(evidence.KEPT / study / result.content["presentations_in"])


@lru_cache(maxsize=8)
def _presentations_in(path: Path) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """A file of them, which all results of a study share."""
    about = json.loads(path.read_text(encoding="utf-8"))
    people = np.unique(about["subject"], return_inverse=True)[1]
    return people, np.array(about["species"])


def people_of(result: Evidence, study: str) -> int:
    """How many people it was tested on."""
    return int(_presentations(result, study)[0].max()) + 1


def auc(result: Evidence, study: str, weights: Floats) -> Floats:
    """Area under the curve over the presentations of weighted people; equal scores count half."""
    people, species = _presentations(result, study)
    logits = np.array(result.content["logits_in_hundredths"])
    levels, place = np.unique(logits, return_inverse=True)
    shape = (weights.shape[1], len(levels))
    sums = []
    for is_attack in (False, True):
        rows = (species != "") == is_attack
        counts = np.zeros(shape, np.float32)
        np.add.at(counts, (people[rows], place[rows]), 1)
        sums.append(weights.astype(np.float32) @ counts)
    bona_fide, attacks = (each.astype(np.float64) for each in sums)
    above = bona_fide.sum(axis=1, keepdims=True) - np.cumsum(bona_fide, axis=1)
    won = (attacks * (above + bona_fide / 2)).sum(axis=1)
    return np.asarray(won / (bona_fide.sum(axis=1) * attacks.sum(axis=1)))


def acer(result: Evidence, study: str, weights: Floats) -> Floats:
    """Half the BPCER and half the APCER of the worst species, at the threshold of the development split."""
    counts = weights @ errors_of(result, study)
    rates = counts[:, ::2] / np.maximum(counts[:, 1::2], 1)
    return np.asarray((rates[:, 0] + rates[:, 1:].max(1)) / 2)


def errors_of(result: Evidence, study: str) -> Floats:
    """Of each person, for bona fide and each species: errors and presentations [people, 2 * kinds]."""
    people, species = _presentations(result, study)
    logits = np.array(result.content["logits_in_hundredths"]) * LOGIT_UNIT
    accepted = logits >= result.content["threshold_logit"]
    columns = []
    for kind in ["", *sorted(set(species.tolist()) - {""})]:
        wrong = (species == kind) & (accepted if kind else ~accepted)
        columns += [np.bincount(people, wrong), np.bincount(people, species == kind)]
    return np.stack(columns, 1).astype(float)
