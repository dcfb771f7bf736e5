"""Whether an artifact decides worse than its reference, and on which species: paired error rates.

A quantised model may keep its EER and yet fail on one attack species. So every species is compared in pairs,
presentation by presentation, at the reference's frozen threshold and at each artifact's own, which a
deployment would freeze anew. Whether a file reproduces its reference at all is another question, answered by
`swapbench.pad.agreement`.

Sources: McNemar, Psychometrika 12, 1947 (the exact form of the test); Holm, Scandinavian Journal of
Statistics 6, 1979.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from swapbench import units
from swapbench.errors import BadDataset
from swapbench.pad.error_lines import Line
from swapbench.pad.matching import matched_folds
from swapbench.pad.scores import coded
from swapbench.stats import DRAWS, bootstrap_interval, clustered_totals, holm, mcnemar, proportion, spearman

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from swapbench.pad.metrics import FoldScores
    from swapbench.records import Interval, Proportion

    Flags = NDArray[np.bool_]

BONA_FIDE = "bona fide"
LEAST_CHANGE = 0.01
"""The least rise of an APCER that is flagged, as a share.

With a million presentations even a rise of a hundredth of this is significant.
"""

_NAMED = 5


@dataclass(frozen=True)
class PairedErrors:
    """Errors of both artifacts on the same presentations, each artifact at one threshold per fold.

    Attributes:
        reference: errors of the reference
        other: errors of the other artifact
        only_reference_right: presentations that only the reference decided correctly
        only_other_right: presentations that only the other decided correctly
        p_value: McNemar's exact test of these two counts, presentations taken as independent
        p_holm: the same, adjusted for the number of species
        interval: of `change`, a bootstrap over subjects; None where no decision differs or there are fewer
            than two subjects
    """

    reference: Proportion
    other: Proportion
    only_reference_right: int
    only_other_right: int
    p_value: float
    p_holm: float
    interval: Interval | None

    @property
    def change(self) -> float:
        """Error rate of the other artifact less that of the reference."""
        return (self.only_reference_right - self.only_other_right) / self.reference.trials


@dataclass(frozen=True)
class ClassChange:
    """An attack species (errors are APCER) or bona fide (BPCER), at the reference's and at own thresholds."""

    name: str
    at_reference_threshold: PairedErrors
    at_own_threshold: PairedErrors


@dataclass(frozen=True)
class ScoreParity:
    """How far the scores of one artifact are from those of a reference on the same test presentations.

    The four counts of decisions, `flips` and `p_value` (McNemar, exact) are at the reference's thresholds.

    Attributes:
        presentations: pairs with a score on both sides, over all folds
        only_in_reference: presentations that the other lacks
        only_in_other: presentations that the reference lacks
        unmatched: names of some of these
        unscored_by_reference: pairs that only the other could score
        unscored_by_other: pairs that only the reference could score
        max_abs_difference: of the scores
        mean_abs_difference: of the scores
        rank_correlation: Spearman's; None where a side is constant
        reference_thresholds: fold -> the EER threshold of its development scores
        other_thresholds: the same of the other artifact
        both_right: presentations that both decided correctly
        only_reference_right: presentations that only the reference decided correctly
        only_other_right: presentations that only the other decided correctly
        both_wrong: presentations that both decided wrongly
        p_value: that the two are wrong equally often
        flips_by_class: bona_fide and attack -> presentations that the two decide differently
        flips_by_species: the same for each attack species
        species: the paired errors of each attack species
        bona_fide: the paired errors of bona fide presentations
        worst_species: the one whose APCER rises most at either threshold; a flagged one if there is any
        flag: whether an attack species is accepted more often, see `score_parity`
        sentence: the conclusion in words
    """

    presentations: int
    only_in_reference: int
    only_in_other: int
    unmatched: tuple[str, ...]
    unscored_by_reference: int
    unscored_by_other: int
    max_abs_difference: float
    mean_abs_difference: float
    rank_correlation: float | None
    reference_thresholds: dict[str, float]
    other_thresholds: dict[str, float]
    both_right: int
    only_reference_right: int
    only_other_right: int
    both_wrong: int
    p_value: float
    flips_by_class: dict[str, int]
    flips_by_species: dict[str, int]
    species: tuple[ClassChange, ...]
    bona_fide: ClassChange
    worst_species: str
    flag: bool
    sentence: str

    @property
    def flips(self) -> int:
        """Presentations that the two decide differently at the reference's thresholds."""
        return self.only_reference_right + self.only_other_right

    def lines(self) -> list[Line]:
        """The comparison as named lines for a person, the verdict first."""
        return list(_lines(self))

    def as_json(self) -> dict[str, Any]:
        """The comparison for a program."""
        return {**_plain(asdict(self)), "flips": self.flips}


def score_parity(
    reference: Sequence[FoldScores],
    other: Sequence[FoldScores],
    *,
    confidence: float = 0.95,
    least_change: float = LEAST_CHANGE,
    draws: int = DRAWS,
    seed: int = 0,
) -> ScoreParity:
    """Compare the test scores of two artifacts, matched by fold and presentation, at frozen thresholds.

    flag is True where the APCER of a species rises by at least `least_change` and McNemar's p, adjusted by
    Holm's method for the number of species, is at most 1 - confidence, at the reference's thresholds or at
    each artifact's own. (Either family of tests alone errs with that probability where nothing changed, both
    together with at most twice it.)

    Args:
        reference: scores of the reference, whose subjects the bootstrap draws
        other: scores of the other artifact on the same folds
        confidence: of all intervals and tests, between 0 and 1
        least_change: the smallest rise of an APCER that is flagged, as a share
        draws: bootstrap replicates
        seed: of the bootstrap

    Raises:
        BadDataset: folds, labels or species differ, a fold has no development scores, a presentation has
            several rows, or nothing matches
    """
    folds = matched_folds(reference, other)
    bona_fide = np.concatenate([fold.reference.is_bona_fide for fold in folds])
    first = np.concatenate([fold.reference.score for fold in folds])
    second = np.concatenate([fold.other for fold in folds])
    code, names = coded(np.concatenate([fold.reference.species for fold in folds]))
    if len(names) < 2 or names[0]:  # bona fide is "", so it comes first
        raise BadDataset(
            "the two have no scored presentations in common for bona fide, for attacks, or for both",
            remedy="Score both on the same data.",
        )
    right, right_there, right_own = (
        np.concatenate([fold.right(*which) for fold in folds]) for which in ((0, 0), (1, 0), (1, 1))
    )
    subject, subject_names = coded(np.concatenate([fold.reference.subject for fold in folds]))
    bootstrap = _PairedBootstrap(subject, len(subject_names), code, len(names), confidence, draws, seed)
    changes = [
        ClassChange(name or BONA_FIDE, there, own)
        for name, there, own in zip(
            names, bootstrap.paired(right, right_there), bootstrap.paired(right, right_own), strict=True
        )
    ]
    species = tuple(changes[1:])
    flagged = [change for change in species if _is_worse(change, 1 - confidence, least_change)]
    worst = max(flagged or species, key=_rise)
    flipped = right != right_there
    difference = np.abs(first - second)
    return ScoreParity(
        presentations=first.size,
        only_in_reference=sum(len(fold.only_in_reference) for fold in folds),
        only_in_other=sum(len(fold.only_in_other) for fold in folds),
        unmatched=tuple(
            name
            for fold in folds
            for name in (*fold.only_in_reference[:_NAMED], *fold.only_in_other[:_NAMED])
        ),
        unscored_by_reference=sum(fold.unscored_by_reference for fold in folds),
        unscored_by_other=sum(fold.unscored_by_other for fold in folds),
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        rank_correlation=spearman(first, second),
        reference_thresholds={fold.name: fold.thresholds[0] for fold in folds},
        other_thresholds={fold.name: fold.thresholds[1] for fold in folds},
        both_right=int(np.sum(right & right_there)),
        only_reference_right=int(np.sum(right & ~right_there)),
        only_other_right=int(np.sum(~right & right_there)),
        both_wrong=int(np.sum(~right & ~right_there)),
        p_value=mcnemar(int(np.sum(right & ~right_there)), int(np.sum(~right & right_there))),
        flips_by_class={
            "bona_fide": int(np.sum(flipped & bona_fide)),
            "attack": int(np.sum(flipped & ~bona_fide)),
        },
        flips_by_species={
            name: int(np.sum(flipped[code == number])) for number, name in enumerate(names) if name
        },
        species=species,
        bona_fide=changes[0],
        worst_species=worst.name,
        flag=bool(flagged),
        sentence=_sentence(flagged, worst, len(species)),
    )


# ---------------------------------------------------------------------------------------------- pairs


@dataclass(frozen=True, eq=False)
class _PairedBootstrap:
    """Counts paired errors by class, and bootstraps their change over subjects.

    Attributes:
        subject: the number of each row's subject, [rows]
        subjects: how many there are
        code: the number of each row's class among the species, 0 being bona fide, [rows]
        classes: how many there are
        confidence: of the intervals, between 0 and 1
        draws: replicates
        seed: of the random numbers
    """

    subject: NDArray[np.intp]
    subjects: int
    code: NDArray[np.intp]
    classes: int
    confidence: float
    draws: int
    seed: int

    def paired(self, right: Flags, right_there: Flags) -> list[PairedErrors]:
        """The errors of every class, bona fide first; p values are adjusted for the number of species."""
        # 0: both are right or both wrong, 1: only the reference is right, 2: only the other
        state = (right & ~right_there) + 2 * (~right & right_there)
        counts = np.bincount(3 * self.code + state, minlength=3 * self.classes).reshape(-1, 3)[:, 1:].tolist()
        p_values = [mcnemar(only_reference, only_other) for only_reference, only_other in counts]
        adjusted = [p_values[0], *holm(p_values[1:])]
        intervals = self._change_intervals(3 * self.code + state)
        paired = []
        for number, (only_reference, only_other) in enumerate(counts):
            rows = self.code == number
            trials = int(np.sum(rows))
            paired.append(
                PairedErrors(
                    reference=proportion(int(np.sum(~right[rows])), trials, self.confidence),
                    other=proportion(int(np.sum(~right_there[rows])), trials, self.confidence),
                    only_reference_right=only_reference,
                    only_other_right=only_other,
                    p_value=p_values[number],
                    p_holm=adjusted[number],
                    interval=intervals[number] if only_reference + only_other else None,
                )
            )
        return paired

    def _change_intervals(self, cell: NDArray[np.intp]) -> list[Interval | None]:
        if self.subjects < 2:
            return [None] * self.classes
        totals = clustered_totals(
            self.subject,
            cell,
            groups=self.subjects,
            cells=3 * self.classes,
            draws=self.draws,
            seed=self.seed,
        ).reshape(self.draws, self.classes, 3)
        trials = totals.sum(axis=2)
        change = np.divide(
            totals[:, :, 1] - totals[:, :, 2], trials, out=np.full(trials.shape, np.nan), where=trials > 0
        )
        method = f"bootstrap over {self.subjects} groups, {self.draws} draws, seed {self.seed}"
        return [bootstrap_interval(replicates, self.confidence, method) for replicates in change.T]


# ---------------------------------------------------------------------------------------------- the verdict


def _is_worse(species: ClassChange, alpha: float, least_change: float) -> bool:
    return any(
        pair.change >= least_change and pair.p_holm <= alpha
        for pair in (species.at_reference_threshold, species.at_own_threshold)
    )


def _rise(species: ClassChange) -> float:
    return max(species.at_own_threshold.change, species.at_reference_threshold.change)


def _sentence(flagged: Sequence[ClassChange], worst: ClassChange, count: int) -> str:
    own = worst.at_own_threshold.change >= worst.at_reference_threshold.change
    pair = worst.at_own_threshold if own else worst.at_reference_threshold
    where = "each artifact's own threshold" if own else "the reference's threshold"
    change = (
        f"APCER of {worst.name} goes from {_rate(pair.reference)} to {_rate(pair.other)} at {where}"
        f" (McNemar p = {pair.p_holm:.2g}, Holm over {count} species)"
    )
    if not flagged and pair.change <= 0:
        return "No attack species is accepted more often."
    if not flagged:
        return f"No attack species is accepted clearly more often; the largest rise: {change}."
    also = [species.name for species in flagged if species is not worst]
    return f"Fails on {worst.name}: {change}." + (f" Also worse: {', '.join(also)}." if also else "")


def _rate(rate: Proportion) -> str:
    return f"{units.percent(rate.rate, 2)} ({rate.errors} of {rate.trials})"


def _lines(parity: ScoreParity) -> Iterator[Line]:
    worst = next(species for species in parity.species if species.name == parity.worst_species)
    name = f"FAILS ON {worst.name}" if parity.flag else "largest rise of an APCER"
    yield Line(name, max(0.0, _rise(worst)), note=parity.sentence)
    left_out = []
    if parity.unmatched:
        left_out.append(
            f"{parity.only_in_reference} only in the reference, {parity.only_in_other} only in the other"
            f" ({', '.join(parity.unmatched)})"
        )
    if parity.unscored_by_reference or parity.unscored_by_other:
        left_out.append(
            f"no score: {parity.unscored_by_reference} of the reference,"
            f" {parity.unscored_by_other} of the other"
        )
    yield Line("presentations compared", parity.presentations, "count", note="; ".join(left_out))
    yield Line("largest difference", parity.max_abs_difference, "score")
    yield Line("mean difference", parity.mean_abs_difference, "score")
    yield Line(
        "rank correlation",
        parity.rank_correlation,
        "score",
        note="Spearman" if parity.rank_correlation is not None else "n/a: one side is constant",
    )
    yield Line(
        "decision flips",
        parity.flips,
        "count",
        note=f"at the reference's threshold; both right {parity.both_right},"
        f" only the reference {parity.only_reference_right}, only the other {parity.only_other_right},"
        f" both wrong {parity.both_wrong}; McNemar p = {parity.p_value:.2g}",
    )
    for change in (*parity.species, parity.bona_fide):
        rate = "BPCER" if change is parity.bona_fide else f"APCER {change.name}"
        for where, pair in (
            ("reference's threshold", change.at_reference_threshold),
            ("own threshold", change.at_own_threshold),
        ):
            yield Line(
                f"{rate}, change at {where}",
                pair.change,
                bounds=pair.interval,
                note=f"{_rate(pair.reference)} to {_rate(pair.other)}, p = {pair.p_holm:.2g}",
            )


def _plain(value: Any) -> Any:
    """The same in types that JSON has."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
