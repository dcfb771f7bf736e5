"""Do two artifacts of a model decide alike, and who pays where they do not? Pairs the scores of two score tables.

A quantised model may keep its EER and yet fail on one attack species. So every species is compared in pairs, presentation by
presentation, at the reference's frozen threshold and at each artifact's own, which a deployment would freeze anew.
`swapbench.pad.agreement` holds a fresh export against its network on crops; this compares what was scored on a dataset.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from swapbench import units
from swapbench.errors import BadDataset
from swapbench.pad.error_lines import Line
from swapbench.pad.rates import accepted, eer_threshold
from swapbench.pad.scores import coded
from swapbench.stats import DRAWS, bootstrap_interval, clustered_totals, holm, mcnemar, proportion, spearman

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from swapbench.pad.metrics import FoldScores
    from swapbench.pad.scores import Scored, Scores
    from swapbench.records import Interval, Proportion

    Flags = NDArray[np.bool_]

BONA_FIDE = "bona fide"
LEAST_CHANGE = 0.01
"""The least rise of an APCER that is flagged, as a share: with a million presentations a hundredth of it is significant."""

_NAMED = 5


@dataclass(frozen=True)
class PairedErrors:
    """Errors of both artifacts on the same presentations, each artifact at one threshold a fold.

    only_reference_right, only_other_right: presentations that one artifact decided right and the other wrong; p_value:
    McNemar's exact test of these two counts, presentations taken as independent; p_holm: the same adjusted for the
    number of species; interval: of the change, a bootstrap over subjects, None where no decision differs or there are fewer
    than two subjects.
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
    """An attack species (its errors are APCER) or bona fide (BPCER): at the reference's threshold and at each one's own."""

    name: str
    at_reference_threshold: PairedErrors
    at_own_threshold: PairedErrors


@dataclass(frozen=True)
class ScoreParity:
    """How far the scores of one artifact are from those of a reference on the same test presentations.

    presentations: pairs with a score on both sides, over all folds; only_in_reference, only_in_other: presentations that
    the other lacks, some of them named in unmatched; unscored_by_reference, unscored_by_other: pairs that only the other side could score;
    rank_correlation: Spearman's, None where a side is constant. The four counts of decisions, p_value (McNemar, exact) and
    flips are at the reference's thresholds. flag: see `score_parity`; worst_species: the species whose APCER rises most at
    either threshold, one that is flagged if there is one; sentence: what to take from it.
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
    """Compare the test scores of two artifacts, matched by fold and presentation, each fold at its own frozen thresholds.

    flag is True where the APCER of a species rises by at least `least_change` and McNemar's p, adjusted by Holm's method for
    the number of species, is at most 1 - confidence, at the reference's thresholds or at each artifact's own. (Either
    family of tests alone errs with that probability where nothing changed, both together with at most twice it.)

    People are those of the reference. Raises BadDataset where folds, labels or species differ, a fold has no development scores, a table has frames
    for presentations, or nothing matches.
    """
    folds = _matched_folds(reference, other)
    bona_fide = np.concatenate([one.known.is_bona_fide for one in folds])
    first = np.concatenate([one.known.score for one in folds])
    second = np.concatenate([one.other for one in folds])
    code, names = coded(np.concatenate([one.known.species for one in folds]))
    if len(names) < 2 or names[0]:  # bona fide is "", so it comes first
        raise BadDataset(
            "no pair of scores in one of the classes, or in both", remedy="Were both scored on the same data?"
        )
    right, right_there, right_own = (
        np.concatenate([one.right(*which) for one in folds]) for which in ((0, 0), (1, 0), (1, 1))
    )
    people, person_names = coded(np.concatenate([one.known.subject for one in folds]))
    sampling = _Sampling(people, len(person_names), code, len(names), confidence, draws, seed)
    changes = [
        ClassChange(name or BONA_FIDE, there, own)
        for name, there, own in zip(
            names, sampling.paired(right, right_there), sampling.paired(right, right_own), strict=True
        )
    ]
    species = tuple(changes[1:])
    flagged = [one for one in species if _is_worse(one, 1 - confidence, least_change)]
    worst = max(flagged or species, key=_rise)
    flipped = right != right_there
    difference = np.abs(first - second)
    return ScoreParity(
        presentations=first.size,
        only_in_reference=sum(len(one.only_in_reference) for one in folds),
        only_in_other=sum(len(one.only_in_other) for one in folds),
        unmatched=tuple(
            name for one in folds for name in (*one.only_in_reference[:_NAMED], *one.only_in_other[:_NAMED])
        ),
        unscored_by_reference=sum(one.unscored_by_reference for one in folds),
        unscored_by_other=sum(one.unscored_by_other for one in folds),
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        rank_correlation=spearman(first, second),
        reference_thresholds={one.name: one.thresholds[0] for one in folds},
        other_thresholds={one.name: one.thresholds[1] for one in folds},
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
            name: int(np.sum(flipped[code == place])) for place, name in enumerate(names) if name
        },
        species=species,
        bona_fide=changes[0],
        worst_species=worst.name,
        flag=bool(flagged),
        sentence=_sentence(flagged, worst, len(species)),
    )


# ---------------------------------------------------------------------------------------------- matching


@dataclass(frozen=True, eq=False)
class _Matched:
    """One fold's test presentations with a score on both sides, the thresholds of both, and what was left out."""

    name: str
    known: Scored
    other: Scores
    thresholds: tuple[float, float]
    only_in_reference: list[str]
    only_in_other: list[str]
    unscored_by_reference: int
    unscored_by_other: int

    def right(self, artifact: int, threshold_of: int) -> Flags:
        """Which presentations an artifact decides rightly; 0 is the reference, 1 the other."""
        scores = (self.known.score, self.other)[artifact]
        decided: Flags = accepted(scores, self.thresholds[threshold_of]) == self.known.is_bona_fide
        return decided


def _matched_folds(reference: Sequence[FoldScores], other: Sequence[FoldScores]) -> list[_Matched]:
    names = [[fold.name for fold in side] for side in (reference, other)]
    if sorted(names[0]) != sorted(names[1]) or len(set(names[0])) != max(1, len(names[0])):
        said = [", ".join(repr(name) for name in side) or "none" for side in names]
        raise BadDataset(
            f"the folds differ: {said[0]} in the reference, {said[1]} in the other",
            remedy="Score both on the same protocol.",
        )
    others = {fold.name: fold for fold in other}
    return [_matched(fold, others[fold.name]) for fold in reference]


def _matched(first: FoldScores, second: FoldScores) -> _Matched:
    thresholds = _threshold(first), _threshold(second)
    place = {name: row for row, name in enumerate(second.test.presentation.tolist())}
    names = first.test.presentation.tolist()
    if len(set(names)) < len(names) or len(place) < len(second.test):
        raise BadDataset(
            "a presentation has several scores in the test split",
            remedy="One presentation is one trial: average its frames with mean_by_presentation first.",
        )
    rows = np.array([row for row, name in enumerate(names) if name in place], dtype=np.intp)
    rows_there = np.array([place[name] for name in names if name in place], dtype=np.intp)
    known, there = first.test.rows(rows), second.test.rows(rows_there)
    for what in ("is_bona_fide", "species"):
        wrong = np.flatnonzero(getattr(known, what) != getattr(there, what))
        if wrong.size:
            raise BadDataset(
                f"the two disagree about the {what} of {wrong.size} presentations,"
                f" among them {known.presentation[wrong[0]]}",
                remedy="Take both from the same labels.",
            )
    missing, missing_there = np.isnan(known.score), np.isnan(there.score)
    both = ~missing & ~missing_there
    return _Matched(
        name=first.name,
        known=known.rows(both),
        other=there.score[both],
        thresholds=thresholds,
        only_in_reference=[name for name in names if name not in place],
        only_in_other=sorted(place.keys() - set(names)),
        unscored_by_reference=int(np.sum(missing & ~missing_there)),
        unscored_by_other=int(np.sum(missing_there & ~missing)),
    )


def _threshold(fold: FoldScores) -> float:
    if fold.dev is None:
        raise BadDataset(
            f"the scores{' of fold ' + fold.name if fold.name else ''} have no development split",
            remedy="Decisions need a threshold that was frozen on one.",
        )
    known = fold.dev.acquired
    return eer_threshold(known.bona_fide, known.attacks).threshold


# ---------------------------------------------------------------------------------------------- pairs


@dataclass(frozen=True, eq=False)
class _Sampling:
    """What paired errors are counted by: the person and the class (a place among all species, 0 is bona fide) of each row."""

    person: NDArray[np.intp]
    people: int
    code: NDArray[np.intp]
    classes: int
    confidence: float
    draws: int
    seed: int

    def paired(self, right: Flags, right_there: Flags) -> list[PairedErrors]:
        """The errors of every class, bona fide first; p values are adjusted for the number of species."""
        state = (right & ~right_there) + 2 * (
            ~right & right_there
        )  # 1 only the reference is right, 2 only the other
        counts = np.bincount(3 * self.code + state, minlength=3 * self.classes).reshape(-1, 3)
        p_values = [mcnemar(int(one), int(two)) for _, one, two in counts]
        adjusted = [p_values[0], *holm(p_values[1:])]
        intervals = self._change_intervals(3 * self.code + state)
        found = []
        for place, (_, one, two) in enumerate(counts.tolist()):
            rows = self.code == place
            trials = int(np.sum(rows))
            found.append(
                PairedErrors(
                    reference=proportion(int(np.sum(~right[rows])), trials, self.confidence),
                    other=proportion(int(np.sum(~right_there[rows])), trials, self.confidence),
                    only_reference_right=one,
                    only_other_right=two,
                    p_value=p_values[place],
                    p_holm=adjusted[place],
                    interval=intervals[place] if one + two else None,
                )
            )
        return found

    def _change_intervals(self, cell: NDArray[np.intp]) -> list[Interval | None]:
        if self.people < 2:
            return [None] * self.classes
        totals = clustered_totals(
            self.person,
            cell,
            groups=self.people,
            cells=3 * self.classes,
            draws=self.draws,
            seed=self.seed,
        ).reshape(self.draws, self.classes, 3)
        trials = totals.sum(axis=2)
        change = np.divide(
            totals[:, :, 1] - totals[:, :, 2], trials, out=np.full(trials.shape, np.nan), where=trials > 0
        )
        method = f"bootstrap over {self.people} groups, {self.draws} draws, seed {self.seed}"
        return [bootstrap_interval(one, self.confidence, method) for one in change.T]


# ---------------------------------------------------------------------------------------------- the verdict


def _is_worse(one: ClassChange, alpha: float, least_change: float) -> bool:
    return any(
        pair.change >= least_change and pair.p_holm <= alpha
        for pair in (one.at_reference_threshold, one.at_own_threshold)
    )


def _rise(one: ClassChange) -> float:
    return max(one.at_own_threshold.change, one.at_reference_threshold.change)


def _sentence(flagged: Sequence[ClassChange], worst: ClassChange, species: int) -> str:
    own = worst.at_own_threshold.change >= worst.at_reference_threshold.change
    pair = worst.at_own_threshold if own else worst.at_reference_threshold
    where = "each artifact's own threshold" if own else "the reference's threshold"
    counted = (
        f"APCER of {worst.name} goes from {_rate(pair.reference)} to {_rate(pair.other)} at {where}"
        f" (McNemar p = {pair.p_holm:.2g}, Holm over {species} species)"
    )
    if not flagged and pair.change <= 0:
        return "No attack species is accepted more often."
    if not flagged:
        return f"No attack species is accepted clearly more often; most changes: {counted}."
    also = [one.name for one in flagged if one is not worst]
    return f"Fails on {worst.name}: {counted}." + (f" Also worse: {', '.join(also)}." if also else "")


def _rate(one: Proportion) -> str:
    return f"{units.percent(one.rate, 2)} ({one.errors} of {one.trials})"


def _lines(found: ScoreParity) -> Iterator[Line]:
    worst = next(one for one in found.species if one.name == found.worst_species)
    name = f"FAILS ON {worst.name}" if found.flag else "largest rise of an APCER"
    yield Line(name, max(0.0, _rise(worst)), note=found.sentence)
    left_out = []
    if found.unmatched:
        left_out.append(
            f"{found.only_in_reference} only in the reference, {found.only_in_other} only in the other"
            f" ({', '.join(found.unmatched)})"
        )
    if found.unscored_by_reference or found.unscored_by_other:
        left_out.append(
            f"no score: {found.unscored_by_reference} of the reference, {found.unscored_by_other} of the other"
        )
    yield Line("presentations compared", found.presentations, "count", note="; ".join(left_out))
    yield Line("largest difference", found.max_abs_difference, "score")
    yield Line("mean difference", found.mean_abs_difference, "score")
    yield Line(
        "rank correlation",
        found.rank_correlation,
        "score",
        note="Spearman" if found.rank_correlation is not None else "n/a: one side is constant",
    )
    yield Line(
        "decision flips",
        found.flips,
        "count",
        note=f"at the reference's threshold; both right {found.both_right}, only the reference"
        f" {found.only_reference_right}, only the other {found.only_other_right}, both wrong {found.both_wrong};"
        f" McNemar p = {found.p_value:.2g}",
    )
    for one in (*found.species, found.bona_fide):
        rate = "BPCER" if one is found.bona_fide else f"APCER {one.name}"
        for where, pair in (
            ("reference's threshold", one.at_reference_threshold),
            ("own threshold", one.at_own_threshold),
        ):
            yield Line(
                f"{rate}, change at {where}",
                pair.change,
                bounds=pair.interval,
                note=f"{_rate(pair.reference)} to {_rate(pair.other)}, p = {pair.p_holm:.2g}",
            )


def _plain(value: Any) -> Any:
    """Models, tuples and mappings as what JSON knows."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
