"""Errors of both sides on the same presentations, with people as what is exchanged: counts known by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from swapbench import stats
from swapbench.errors import BadDataset
from swapbench.pad import rates
from swapbench.pad.metrics import FoldScores
from swapbench.pad.paired_errors import paired_counts
from swapbench.pad.scores import Scored

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from swapbench.pad.paired_errors import PairedCounts

NAN = math.nan
PEOPLE, EACH = 20, 4


def split(
    wrong: Mapping[str, Collection[int]] | None = None,
    *,
    species: Collection[str] = ("print", "replay"),
    people: int = PEOPLE,
    each: int = EACH,
) -> Scored:
    """Presentations of each class, number n of person n modulo `people`; those named are decided wrongly."""
    rows = []
    for name in ("", *species):
        for number in range(people * each):
            right, other = (0.1, 0.9) if name else (0.9, 0.1)
            score = other if number in (wrong or {}).get(name, ()) else right
            rows.append((f"{name or 'live'}/{number}", f"person {number % people}", name, score))
    names, subjects, kinds, scores = zip(*rows, strict=True)
    return Scored.of(names, subjects, [not kind for kind in kinds], kinds, scores)


DEV = Scored.of(["a", "b"], ["x", "y"], [True, False], ["", "print"], [0.6, 0.4])


def folds(test: Scored, *, name: str = "", dev: Scored | None = DEV) -> list[FoldScores]:
    return [FoldScores(name, dev, test)]


def counted(before: Scored, after: Scored) -> PairedCounts:
    return paired_counts(folds(before), folds(after))


def test_one_attack_of_eighty_is_no_change_that_shows() -> None:
    found = counted(split(), split({"print": [7]}))
    printed = found.apcer()["print"]
    assert (printed.errors, printed.trials, printed.people) == ((0, 1), 80, 20)
    assert (printed.change_p(), printed.rise_p(0.01)) == (1.0, 0.5)
    assert printed.least_rise(0.005, 0.01) == 8 / 80
    assert found.apcer()["replay"].rates == found.bpcer().rates == (0.0, 0.0)
    assert (found.flips, found.presentations, found.unmatched) == (1, 240, 0)


def test_errors_of_one_person_are_one_case_and_those_of_many_are_many() -> None:
    of_one = counted(split(each=12), split({"print": range(0, 240, 20)}, each=12)).apcer()["print"]
    of_twelve = counted(split(each=12), split({"print": range(12)}, each=12)).apcer()["print"]
    assert of_one.errors == of_twelve.errors == (0, 12)
    assert of_one.change_p() == 1.0
    assert of_twelve.change_p() == pytest.approx(2 / 2**12)
    assert stats.mcnemar(0, 12) == pytest.approx(2 / 2**12)  # of presentations: the same for both


def test_the_acer_is_that_of_the_worst_species_of_either_side() -> None:
    before = split({"print": [0, 1, 2, 3], "": [5]})
    after = split({"print": [0], "replay": [4, 5, 6, 7, 8, 9], "": [5]})
    acer = counted(before, after).acer(seed=0)
    for side, scored in zip(acer.rates, (before, after), strict=True):
        assert side == pytest.approx(rates.acer(0.5, scored.bona_fide, scored.attacks_by_species))
    assert acer.rates == (pytest.approx(5 / 160), pytest.approx(7 / 160))
    # 3 people are better on print, 6 worse on replay; with a of those and b of these exchanged the rise is
    # max(1 + a, 6 - b) - max(4 - a, b) errors, at least 2 in 110 of 512 ways
    assert acer.change_p() == pytest.approx(2 * 110 / 512)


def test_the_p_of_an_acer_that_rose_in_one_species_is_that_of_its_people() -> None:
    found = counted(split(), split({"print": range(9)}))
    acer = found.acer(seed=0)
    assert acer.rates == (0.0, pytest.approx(9 / 160))
    assert acer.rise_p(0.0) == pytest.approx(1 / 2**9)
    # 1.25 points allowed are two attacks: as far as 7 of 9, which one exchange still reaches
    assert acer.rise_p(2 / 160) == pytest.approx(10 / 2**9)
    assert acer.least_rise(0.005, 0.005) == pytest.approx(8 / 160)
    assert counted(split({"print": range(9)}), split()).acer(seed=0).rise_p(0.0) == 1.0


def test_random_exchanges_agree_with_the_exact_test_of_the_same_people() -> None:
    found = counted(split({"": range(4)}), split({"": range(4, 20)}))
    exact = found.bpcer()
    # 20 people differ, more than are exchanged in every way; attacks do not change
    assert found.acer(seed=1).rise_p(0.0) == pytest.approx(exact.rise_p(0.0), rel=0.15)
    assert exact.rise_p(0.0) == pytest.approx(sum(math.comb(20, k) for k in range(5)) / 2**20)


def test_folds_share_their_people() -> None:
    before = [FoldScores(name, DEV, split()) for name in ("a", "b")]
    after = [FoldScores(name, DEV, split({"print": range(4)})) for name in ("b", "a")]
    found = paired_counts(before, after)
    printed = found.apcer()["print"]
    assert (printed.errors, printed.trials, printed.people) == ((0, 8), 160, 20)
    assert printed.rise_p(0.0) == pytest.approx(1 / 2**4)
    assert found.acer(seed=0).rates[1] == pytest.approx(4 / 160)


def test_nobody_errs() -> None:
    found = counted(split(), split())
    assert found.acer(seed=0).change_p() == found.bpcer().change_p() == 1.0
    assert found.acer(seed=0).rise_p(0.0) == 1.0


def test_each_side_decides_at_its_own_threshold_which_may_be_infinite() -> None:
    before, after = folds(split()), folds(split())
    everybody_rejected = paired_counts(before, after, ({"": 0.5}, {"": math.inf}))
    assert everybody_rejected.bpcer().errors == (0, 80)
    assert everybody_rejected.apcer()["print"].errors == (0, 0)
    everybody_accepted = paired_counts(before, after, ({"": 0.5}, {"": -math.inf}))
    assert everybody_accepted.apcer()["print"].errors == (0, 80)
    # equal error rate where bona fide scores lie below those of attacks: nothing is accepted
    reversed_dev = Scored.of(["a", "b"], ["x", "y"], [True, False], ["", "print"], [0.1, 0.1])
    frozen = paired_counts(before, folds(split(), dev=reversed_dev))
    assert frozen.errors[1].sum() in {0, 80, 160}


def test_presentations_that_one_side_lacks_are_left_out_and_counted() -> None:
    whole = split({"print": [0]})
    scores = whole.score.copy()
    scores[80] = NAN  # the print that was accepted
    found = counted(whole.with_scores(scores), whole)
    assert (found.unmatched, found.apcer()["print"].trials, found.flips) == (1, 79, 0)


def test_a_species_that_only_one_side_has_is_named() -> None:
    found = counted(split(species=("print",)), split())
    assert found.unpaired_species == ("replay",)
    assert found.unmatched == 80
    assert found.classes == ("", "print")


def test_sides_without_bona_fide_in_common_are_refused() -> None:
    whole = split()
    with pytest.raises(BadDataset, match="no scored presentations in common"):
        counted(whole, whole.rows(~whole.is_bona_fide))
    with pytest.raises(BadDataset, match="no development split"):
        paired_counts(folds(whole, dev=None), folds(whole))
