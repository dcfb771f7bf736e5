"""Two artifacts on the same presentations: differences, flips, and which species pays."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench import stats
from swapbench.errors import BadDataset
from swapbench.pad import rates
from swapbench.pad.metrics import FoldScores
from swapbench.pad.score_parity import score_parity
from swapbench.pad.scores import Scored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swapbench.pad.score_parity import ScoreParity

NAN = math.nan


def table(
    name: str, bona_fide: Sequence[float], attacks: Mapping[str, Sequence[float]], people: int = 10
) -> Scored:
    """One row a presentation, named by class and number."""
    rows = [("", score) for score in bona_fide]
    rows += [(species, score) for species, values in attacks.items() for score in values]
    return Scored.of(
        [f"{name}/{species or 'live'}/{number}" for number, (species, _) in enumerate(rows)],
        [f"{name} person {number % people}" for number in range(len(rows))],
        [not species for species, _ in rows],
        [species for species, _ in rows],
        [score for _, score in rows],
    )


def fold(
    bona_fide: Sequence[float], attacks: Mapping[str, Sequence[float]], threshold: float = 0.5, name: str = ""
) -> FoldScores:
    """Development scores that are separated at `threshold`, and these test scores."""
    dev = table(f"dev{name}", [threshold], {"print": [threshold - 0.25]})
    return FoldScores(name, dev, table(f"test{name}", bona_fide, attacks))


# bona fide 4, print 4, replay 4; threshold .5, a score of .5 is accepted
REFERENCE = fold([0.9, 0.8, 0.5, 0.2], {"print": [0.1, 0.2, 0.3, 0.6], "replay": [0.1, 0.1, 0.4, 0.4]})
# wrong in the reference: live .2, print .6
# flips: live .5 -> .4, live .2 -> .7, replay .4 -> .5, print .6 -> .3
OTHER = fold([0.9, 0.8, 0.4, 0.7], {"print": [0.1, 0.2, 0.3, 0.3], "replay": [0.1, 0.1, 0.4, 0.5]})


def test_differences_and_the_four_counts_of_decisions_by_hand() -> None:
    found = score_parity([REFERENCE], [OTHER])
    assert found.presentations == 12
    assert found.max_abs_difference == pytest.approx(0.5)
    assert found.mean_abs_difference == pytest.approx((0.1 + 0.5 + 0.3 + 0.1) / 12)
    assert (found.both_right, found.only_reference_right, found.only_other_right, found.both_wrong) == (
        8,
        2,
        2,
        0,
    )
    assert found.flips == 4
    assert found.p_value == 1
    assert found.flips_by_class == {"bona_fide": 2, "attack": 2}
    assert found.flips_by_species == {"print": 1, "replay": 1}
    assert (found.reference_thresholds, found.other_thresholds) == ({"": 0.5}, {"": 0.5})
    assert found.rank_correlation == stats.spearman(REFERENCE.test.score, OTHER.test.score)


def test_error_rates_of_both_by_hand() -> None:
    found = score_parity([REFERENCE], [OTHER])
    changes = {one.name: one.at_reference_threshold for one in (*found.species, found.bona_fide)}
    counted = {name: (one.reference.errors, one.other.errors, one.change) for name, one in changes.items()}
    assert counted == {"print": (1, 0, -0.25), "replay": (0, 1, 0.25), "bona fide": (1, 1, 0.0)}
    assert all(one.reference.trials == one.other.trials == 4 for one in changes.values())
    assert (changes["bona fide"].only_reference_right, changes["bona fide"].only_other_right) == (1, 1)
    assert found.worst_species == "replay"
    assert not found.flag  # one flip is no evidence
    assert found.sentence == (
        "No attack species is accepted clearly more often; the largest rise: APCER of replay goes from"
        " 0.00 % (0 of 4) to 25.00 % (1 of 4) at each artifact's own threshold"
        " (McNemar p = 1, Holm over 2 species)."
    )


def test_an_artifact_is_at_parity_with_itself() -> None:
    found = score_parity([REFERENCE], [REFERENCE])
    assert (found.max_abs_difference, found.mean_abs_difference, found.flips) == (0, 0, 0)
    assert found.rank_correlation == 1
    assert found.p_value == 1
    assert not found.flag
    assert all(
        (one.at_own_threshold.change, one.at_own_threshold.interval, one.at_own_threshold.p_holm)
        == (0, None, 1)
        for one in (*found.species, found.bona_fide)
    )


def big(generator: np.random.Generator) -> dict[str, list[float]]:
    kinds = {"": 0.8, "print": 0.2, "replay": 0.3, "mask": 0.25}
    return {
        name: generator.normal(mean, 0.12, 120).clip(0.001, 0.999).tolist() for name, mean in kinds.items()
    }


def artifact(scores: Mapping[str, Sequence[float]], threshold: float = 0.5) -> FoldScores:
    return fold(scores[""], {name: values for name, values in scores.items() if name}, threshold)


def failing_on_mask() -> tuple[FoldScores, FoldScores]:
    """The other accepts a fifth of the masks that the reference refuses; all else moves within rounding."""
    generator = np.random.default_rng(1)
    scores = big(generator)
    other = {
        name: [one + float(generator.normal(0, 0.003)) for one in values] for name, values in scores.items()
    }
    for place in generator.choice(120, 24, replace=False):
        other["mask"][place] = 0.9
    return artifact(scores), artifact(other)


def test_a_model_that_fails_on_one_species_is_flagged_though_its_scores_correlate() -> None:
    found = score_parity(*([one] for one in failing_on_mask()))
    assert found.flag
    assert found.worst_species == "mask"
    assert found.rank_correlation is not None
    assert found.rank_correlation > 0.85
    worst = next(one for one in found.species if one.name == "mask").at_own_threshold
    assert worst.change >= 0.19
    assert worst.p_holm < 1e-4
    assert worst.interval is not None
    assert 0.05 < worst.interval.low <= worst.change <= worst.interval.high < 0.35
    assert found.sentence.startswith("Fails on mask: APCER of mask goes from")
    assert "Also worse" not in found.sentence
    lines = found.lines()
    assert lines[0].name == "FAILS ON mask"
    assert lines[0].note == found.sentence


def test_a_shift_of_all_scores_is_harmless_once_the_threshold_is_frozen_anew() -> None:
    scores = big(np.random.default_rng(2))
    shifted = {name: [one + 0.25 for one in values] for name, values in scores.items()}
    found = score_parity([artifact(scores, 0.5)], [artifact(shifted, 0.75)])
    assert all(one.at_own_threshold.change == pytest.approx(0, abs=0.01) for one in found.species)
    assert all(one.at_reference_threshold.change > 0.1 for one in found.species)
    assert found.flag  # deployed with the old threshold it lets attacks in
    assert "at the reference's threshold" in found.sentence
    assert "Also worse" in found.sentence
    assert found.rank_correlation == pytest.approx(1)


def test_a_change_that_is_clear_but_small_is_not_flagged() -> None:
    # 10 of 2000 newly accepted, none the other way: p = 2/1024, but half a point
    reference = fold([0.9] * 20, {"print": [0.1] * 2000})
    other = fold([0.9] * 20, {"print": [0.9] * 10 + [0.1] * 1990})
    assert not score_parity([reference], [other]).flag
    assert score_parity([reference], [other], least_change=0.004).flag


def test_p_values_are_adjusted_for_the_number_of_species() -> None:
    reference = fold([0.9] * 5, {name: [0.1] * 20 for name in ("print", "replay", "mask")})
    flipped = {"print": [0.9] * 6 + [0.1] * 14, "replay": [0.1] * 20, "mask": [0.1] * 20}
    found = score_parity([reference], [fold([0.9] * 5, flipped)])
    by_name = {one.name: one.at_own_threshold for one in found.species}
    assert by_name["print"].p_value == pytest.approx(2 / 64)
    assert by_name["print"].p_holm == pytest.approx(3 * 2 / 64)
    assert not found.flag  # .094; alone it would be flagged
    alone = {"print": flipped["print"]}
    assert score_parity([fold([0.9] * 5, {"print": [0.1] * 20})], [fold([0.9] * 5, alone)]).flag
    assert found.bona_fide.at_own_threshold.p_holm == 1


@pytest.mark.parametrize("better", [True, False])
def test_only_a_rise_is_flagged(better: bool) -> None:
    good = fold([0.9] * 20, {"print": [0.1] * 40})
    bad = fold([0.9] * 20, {"print": [0.9] * 20 + [0.1] * 20})
    found = score_parity([bad], [good]) if better else score_parity([good], [bad])
    assert found.flag is not better


def test_decisions_of_each_fold_are_made_at_its_own_thresholds() -> None:
    first = [fold([0.6], {"print": [0.4]}, 0.5, "1"), fold([0.6], {"print": [0.4]}, 0.3, "2")]
    second = [fold([0.6], {"print": [0.4]}, 0.7, "1"), fold([0.6], {"print": [0.4]}, 0.5, "2")]
    found = score_parity(first, second[::-1])
    assert found.reference_thresholds == {"1": 0.5, "2": 0.3}
    assert found.other_thresholds == {"1": 0.7, "2": 0.5}
    assert found.flips == 0  # equal scores at the reference's thresholds
    (change,) = found.species
    # at its own: fold 1 rejects the bona fide at .7, fold 2 no longer accepts the attack at .5
    assert (change.at_own_threshold.reference.errors, change.at_own_threshold.other.errors) == (1, 0)
    own = found.bona_fide.at_own_threshold
    assert (own.reference.errors, own.other.errors, own.other.trials) == (0, 1, 2)


def test_presentations_without_a_partner_are_counted_and_named() -> None:
    one, two = REFERENCE.test, OTHER.test
    first = FoldScores("", REFERENCE.dev, one.rows(np.array([0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])))
    second = FoldScores("", OTHER.dev, two.rows(np.array([0, 1, 2, 3, 4, 5, 6, 7, 8])))
    found = score_parity([first], [second])
    assert found.presentations == 8
    assert (found.only_in_reference, found.only_in_other) == (3, 1)
    assert set(found.unmatched) == {"test/replay/9", "test/replay/10", "test/replay/11", "test/live/1"}
    assert any("3 only in the reference, 1 only in the other" in line.note for line in found.lines())


def test_the_order_of_rows_does_not_matter() -> None:
    turned = FoldScores("", OTHER.dev, OTHER.test.rows(np.random.default_rng(0).permutation(12)))
    assert score_parity([REFERENCE], [turned]) == score_parity([REFERENCE], [OTHER])


def test_a_score_that_only_one_side_has_is_counted_and_not_compared() -> None:
    lost = OTHER.test.score.copy()
    lost[[0, 5]] = NAN
    both = REFERENCE.test.score.copy()
    both[[5, 6]] = NAN
    found = score_parity(
        [FoldScores("", REFERENCE.dev, REFERENCE.test.with_scores(both))],
        [FoldScores("", OTHER.dev, OTHER.test.with_scores(lost))],
    )
    assert found.presentations == 9
    assert (found.unscored_by_reference, found.unscored_by_other) == (1, 1)
    assert any("no score: 1 of the reference, 1 of the other" in line.note for line in found.lines())


def test_one_person_gives_no_interval_and_constant_scores_no_correlation() -> None:
    dev = table("dev", [0.5], {"print": [0.25]})
    constant = table("test", [0.7, 0.7], {"print": [0.7, 0.7]}, people=1)
    first = table("test", [0.7, 0.9], {"print": [0.1, 0.2]}, people=1)
    found = score_parity([FoldScores("", dev, first)], [FoldScores("", dev, constant)])
    assert found.rank_correlation is None
    assert found.species[0].at_own_threshold.interval is None
    assert found.species[0].at_own_threshold.change == 1
    assert any(line.note == "n/a: one side is constant" for line in found.lines())


def test_the_comparison_is_json_for_a_program() -> None:
    found = json.loads(json.dumps(score_parity([REFERENCE], [OTHER]).as_json()))
    assert (found["flips"], found["flag"], found["worst_species"]) == (4, False, "replay")
    assert found["species"][1]["at_own_threshold"]["other"]["errors"] == 1
    assert found["bona_fide"]["name"] == "bona fide"


coarse = st.integers(0, 8).map(lambda n: n / 8)
pairs = st.lists(st.tuples(st.sampled_from(["", "print", "mask"]), coarse, coarse), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(pairs, coarse, coarse)
def test_counts_agree_with_each_other_and_with_the_error_rates(
    rows: list[tuple[str, float, float]], one: float, two: float
) -> None:
    rows = [("", 1.0, 1.0), ("print", 0.0, 0.0), *rows]

    def side(place: int, threshold: float) -> FoldScores:
        by_kind = {
            kind: [row[place] for row in rows if row[0] == kind] for kind in sorted({row[0] for row in rows})
        }
        return artifact(by_kind, threshold)

    first, second = side(1, one), side(2, two)
    found = score_parity([first], [second], draws=10)
    assert found.both_right + found.flips + found.both_wrong == found.presentations == len(rows)
    assert sum(found.flips_by_class.values()) == found.flips
    assert sum(found.flips_by_species.values()) == found.flips_by_class["attack"]
    own = rates.errors_at(two, second.test)
    assert first.dev is not None
    assert second.dev is not None
    assert found.other_thresholds[""] == two
    for change in found.species:
        there = rates.errors_at(one, first.test).apcer_by_species[change.name]
        assert change.at_own_threshold.other.rate == own.apcer_by_species[change.name].rate
        assert change.at_own_threshold.reference.rate == there.rate
        paired = change.at_own_threshold
        assert paired.change == pytest.approx(paired.other.rate - paired.reference.rate)
        assert paired.p_value == stats.mcnemar(paired.only_reference_right, paired.only_other_right)
    back = score_parity([second], [first], draws=10)
    assert back.max_abs_difference == found.max_abs_difference
    assert back.rank_correlation == pytest.approx(found.rank_correlation)


def renamed(scored: Scored, **columns: object) -> Scored:
    kept = {
        name: getattr(scored, name)
        for name in ("presentation", "subject", "is_bona_fide", "species", "score")
    }
    return Scored(**(kept | columns))  # type: ignore[arg-type]


OTHER_SPECIES = OTHER.test.species.copy()
OTHER_SPECIES[4] = "mask"
TWICE = OTHER.test.rows(np.array([0, 0, 4]))
NOBODY = table("elsewhere", [0.9], {"print": [0.1]})
NOTHING_IN_COMMON = "no scored presentations in common for bona fide, for attacks, or for both"


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        (
            [REFERENCE],
            [FoldScores("2", OTHER.dev, OTHER.test)],
            "the folds differ: '' in the reference, '2' in the other",
        ),
        ([], [], "the folds differ: none in the reference"),
        ([REFERENCE, REFERENCE], [OTHER, OTHER], "the folds differ"),
        ([REFERENCE], [FoldScores("", None, OTHER.test)], "have no development split"),
        (
            [REFERENCE],
            [FoldScores("", OTHER.dev, renamed(OTHER.test, species=OTHER_SPECIES))],
            "disagree about the species of 1 presentations, among them test/print/4",
        ),
        ([REFERENCE], [FoldScores("", OTHER.dev, TWICE)], "a presentation has several scores"),
        ([REFERENCE], [FoldScores("", OTHER.dev, NOBODY)], NOTHING_IN_COMMON),
        (
            [REFERENCE],
            [FoldScores("", OTHER.dev, OTHER.test.rows(np.arange(4)))],
            NOTHING_IN_COMMON,
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    first: list[FoldScores], second: list[FoldScores], complaint: str
) -> None:
    with pytest.raises(BadDataset, match=complaint):
        score_parity(first, second)


def test_the_lines_name_every_species_at_both_thresholds() -> None:
    found: ScoreParity = score_parity([REFERENCE], [OTHER])
    names = [line.name for line in found.lines()]
    for name in ("APCER print", "APCER replay", "BPCER"):
        assert f"{name}, change at reference's threshold" in names
        assert f"{name}, change at own threshold" in names
    replay = next(line for line in found.lines() if line.name == "APCER replay, change at own threshold")
    assert (replay.value, replay.note) == ("25.00 %", "0.00 % (0 of 4) to 25.00 % (1 of 4), p = 1")
