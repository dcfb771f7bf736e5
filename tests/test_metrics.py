"""Error rates on paper, as properties, and against scikit-learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.errors import BadDataset, UserError
from swapbench.pad import metrics
from swapbench.pad.scores import Scored, scores_sha256
from swapbench.records import Absent, Accuracy, Proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Scores = NDArray[np.float64]

NAN = math.nan


def scores(*values: float) -> Scores:
    return np.array(values, dtype=np.float64)


# The worked example: bona fide .91 .85 .60 .40, print .10 .30 .55, replay .20 .65.
BONA_FIDE = scores(0.91, 0.85, 0.60, 0.40)
ATTACKS = {"print": scores(0.10, 0.30, 0.55), "replay": scores(0.20, 0.65)}
POOLED = np.concatenate(list(ATTACKS.values()))


def test_errors_at_the_eer_threshold_of_the_worked_example() -> None:
    point = metrics.eer_threshold(BONA_FIDE, POOLED)
    assert point.threshold == 0.60
    assert (point.far, point.frr) == (0.2, 0.25)
    assert point.eer == pytest.approx(0.225)
    assert metrics.apcer_by_species(0.60, ATTACKS) == {"print": 0.0, "replay": 0.5}
    assert metrics.apcer(0.60, ATTACKS) == 0.5
    assert metrics.bpcer(0.60, BONA_FIDE) == 0.25
    assert metrics.acer(0.60, BONA_FIDE, ATTACKS) == 0.375
    assert metrics.far(0.60, ATTACKS) == 0.2
    assert metrics.hter(0.60, BONA_FIDE, ATTACKS) == 0.225


def test_the_lowest_threshold_without_an_accepted_attack_lies_just_above_the_highest_attack() -> None:
    threshold = metrics.threshold_at_apcer(0.0, ATTACKS)
    assert threshold == np.nextafter(0.65, 1.0)
    assert metrics.apcer_by_species(threshold, ATTACKS) == {"print": 0.0, "replay": 0.0}
    assert metrics.bpcer(threshold, BONA_FIDE) == 0.5
    assert metrics.acer(threshold, BONA_FIDE, ATTACKS) == 0.25
    assert metrics.far(threshold, ATTACKS) == 0.0
    assert metrics.hter(threshold, BONA_FIDE, ATTACKS) == 0.25


def test_a_score_on_the_threshold_is_accepted_bona_fide_and_attack_alike() -> None:
    assert metrics.accepted(scores(0.5, np.nextafter(0.5, 0)), 0.5).tolist() == [True, False]
    assert metrics.bpcer(0.5, scores(0.5)) == 0.0
    assert metrics.apcer(0.5, {"print": scores(0.5)}) == 1.0


def test_float32_scores_are_compared_in_float64() -> None:
    single = np.array([0.1], dtype=np.float32)
    above = metrics.threshold_at_apcer(0.0, {"print": single.astype(np.float64)})
    assert above == np.nextafter(float(single[0]), np.inf)
    assert not metrics.accepted(single.astype(np.float64), above).any()


def test_apcer_is_the_worst_species_and_never_pooled() -> None:
    generator = np.random.default_rng(7)
    bona_fide = generator.normal(1.0, 0.5, 48_000)
    attacks = {"print": generator.normal(0, 0.5, 24_000), "replay": generator.normal(0.35, 0.5, 24_000)}
    threshold = metrics.eer_threshold(bona_fide, np.concatenate(list(attacks.values()))).threshold
    # The normal tails at t = .6: FRR 21.2 %, print 11.5 %, replay 30.9 %, both species pooled 21.2 %.
    assert metrics.far(threshold, attacks) == pytest.approx(0.212, abs=0.006)
    assert metrics.apcer(threshold, attacks) == pytest.approx(0.309, abs=0.006)


@pytest.mark.parametrize(
    ("target", "accepted_attacks"), [(0.0, 0), (0.09, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.99, 9)]
)
def test_a_target_apcer_is_at_most_in_whole_attacks(target: float, accepted_attacks: int) -> None:
    attacks = {"print": np.arange(10) / 10}
    threshold = metrics.threshold_at_apcer(target, attacks)
    assert int(metrics.accepted(attacks["print"], threshold).sum()) == accepted_attacks


def test_a_target_of_one_accepts_everything() -> None:
    assert metrics.threshold_at_apcer(1.0, ATTACKS) == -math.inf
    assert metrics.threshold_at_bpcer(1.0, BONA_FIDE) == math.inf


def test_a_target_that_is_a_whole_number_of_attacks_survives_rounding() -> None:
    assert 0.29 * 100 < 29
    threshold = metrics.threshold_at_apcer(0.29, {"print": np.arange(100) / 100})
    assert metrics.apcer(threshold, {"print": np.arange(100) / 100}) == 0.29
    assert metrics.threshold_at_bpcer(0.29, np.arange(100) / 100) == 0.29


@pytest.mark.parametrize(("target", "threshold"), [(0.0, 0.40), (0.24, 0.40), (0.25, 0.60), (0.5, 0.85)])
def test_the_highest_threshold_for_a_target_bpcer(target: float, threshold: float) -> None:
    assert metrics.threshold_at_bpcer(target, BONA_FIDE) == threshold
    assert metrics.bpcer(threshold, BONA_FIDE) <= target


@pytest.mark.parametrize("target", [-0.01, 1.01, NAN])
def test_a_target_that_is_no_rate_is_refused(target: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        metrics.threshold_at_apcer(target, ATTACKS)
    with pytest.raises(UserError, match="between 0 and 1"):
        metrics.threshold_at_bpcer(target, BONA_FIDE)


def test_bpcer_at_apcer_counts_bona_fide_below_the_threshold() -> None:
    attacks = {"print": np.linspace(0.0, 0.63, 10), "replay": np.linspace(0, 0.5, 20)}
    # 1 of 10 prints may pass: the threshold lies just above the second highest, .56; .40 is rejected.
    found = metrics.bpcer_at_apcer(0.1, BONA_FIDE, attacks)
    assert isinstance(found, Proportion)
    assert (found.errors, found.trials) == (1, 4)


def test_bpcer_at_apcer_is_absent_where_the_smallest_species_cannot_resolve_the_target() -> None:
    attacks = {"print": np.linspace(0, 0.3, 400), "replay": np.linspace(0, 0.3, 40)}
    found = metrics.bpcer_at_apcer(0.01, BONA_FIDE, attacks)
    assert isinstance(found, Absent)
    assert found.absent == "40 attacks of species replay cannot resolve an APCER of 1 %"
    assert found.remedy == "Needs at least 100 attacks of every species."
    assert isinstance(metrics.bpcer_at_apcer(0.05, BONA_FIDE, attacks), Proportion)


@pytest.mark.parametrize(
    ("count", "target", "resolved"), [(10, 0.1, True), (9, 0.1, False), (100, 0.01, True), (20, 0.05, True)]
)
def test_as_many_attacks_as_one_over_the_target_are_enough(count: int, target: float, resolved: bool) -> None:
    found = metrics.bpcer_at_apcer(target, BONA_FIDE, {"print": np.linspace(0, 0.3, count)})
    assert isinstance(found, Proportion) == resolved


def test_auc_of_the_worked_example_counts_pairs() -> None:
    # .91 and .85 beat 5 attacks each, .60 beats 4, .40 beats 3 (.10 .30 .20): 17 of 20.
    assert metrics.auc(BONA_FIDE, POOLED) == pytest.approx(17 / 20)


def test_a_tie_counts_half_in_auc() -> None:
    assert metrics.auc(scores(0.5), scores(0.5)) == 0.5
    assert metrics.auc(scores(0.5, 1.0), scores(0.5, 0.0)) == pytest.approx(3.5 / 4)


def test_separated_classes_have_no_error_at_the_lowest_bona_fide_score() -> None:
    point = metrics.eer_threshold(scores(0.7, 0.9), scores(0.1, 0.3))
    assert (point.threshold, point.far, point.frr) == (0.7, 0.0, 0.0)


def test_constant_scores_have_an_eer_of_one_half() -> None:
    point = metrics.eer_threshold(scores(0.5, 0.5), scores(0.5))
    assert point.eer == 0.5
    assert point.threshold == 0.5


def test_reversed_scores_have_an_eer_near_one() -> None:
    assert metrics.eer_threshold(scores(0.1, 0.2), scores(0.8, 0.9)).eer == 1.0


NO_SCORES: Scores = np.empty(0)


@pytest.mark.parametrize(
    "rate",
    [
        lambda: metrics.bpcer(0.5, NO_SCORES),
        lambda: metrics.apcer(0.5, {}),
        lambda: metrics.apcer(0.5, {"print": NO_SCORES}),
        lambda: metrics.threshold_at_apcer(0.1, {}),
        lambda: metrics.threshold_at_bpcer(0.1, NO_SCORES),
        lambda: metrics.eer_threshold(NO_SCORES, POOLED),
        lambda: metrics.eer_threshold(BONA_FIDE, NO_SCORES),
        lambda: metrics.auc(BONA_FIDE, NO_SCORES),
    ],
)
def test_a_rate_of_nothing_is_no_number(rate: Callable[[], object]) -> None:
    with pytest.raises(BadDataset, match="score: a rate of nothing"):
        rate()


@pytest.mark.parametrize(
    "rate",
    [
        lambda: metrics.bpcer(0.5, scores(0.5, NAN)),
        lambda: metrics.apcer(0.5, {"print": scores(NAN)}),
        lambda: metrics.eer_threshold(BONA_FIDE, scores(NAN)),
        lambda: metrics.auc(scores(NAN, 0.1), POOLED),
    ],
)
def test_a_nan_is_never_silently_an_error_or_a_success(rate: Callable[[], object]) -> None:
    with pytest.raises(BadDataset, match=r"1 .*scores are NaN"):
        rate()


def test_a_nan_threshold_is_refused() -> None:
    with pytest.raises(UserError, match="threshold cannot be NaN"):
        metrics.bpcer(NAN, BONA_FIDE)


# ------------------------------------------------------------------------------------------------ properties

coarse = st.integers(-6, 6).map(lambda n: n / 4)  # few values, so many ties
fine = st.floats(-1e6, 1e6)
some_scores = st.lists(coarse | fine, min_size=1, max_size=30).map(lambda values: scores(*values))
some_attacks = st.dictionaries(st.sampled_from(["print", "replay", "mask"]), some_scores, min_size=1)
thresholds = coarse | fine | st.just(math.inf) | st.just(-math.inf)


@given(some_scores, some_attacks, thresholds, thresholds)
def test_apcer_falls_and_bpcer_rises_with_the_threshold(
    bona_fide: Scores, attacks: dict[str, Scores], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert metrics.bpcer(low, bona_fide) <= metrics.bpcer(high, bona_fide)
    assert metrics.apcer(low, attacks) >= metrics.apcer(high, attacks)
    assert metrics.far(low, attacks) <= metrics.apcer(low, attacks)


@given(some_attacks, st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.05, 0.1, 1 / 3, 0.5]))
def test_the_threshold_for_an_apcer_keeps_it_and_no_lower_candidate_does(
    attacks: dict[str, Scores], target: float
) -> None:
    threshold = metrics.threshold_at_apcer(target, attacks)
    assert metrics.apcer(threshold, attacks) <= target + 1e-12
    if threshold > -math.inf:
        below = float(np.nextafter(threshold, -math.inf))
        assert metrics.apcer(below, attacks) > target


@given(some_scores, st.floats(0, 1))
def test_the_threshold_for_a_bpcer_keeps_it_and_no_higher_one_does(bona_fide: Scores, target: float) -> None:
    threshold = metrics.threshold_at_bpcer(target, bona_fide)
    assert metrics.bpcer(threshold, bona_fide) <= target + 1e-12
    if threshold < math.inf:
        assert metrics.bpcer(float(np.nextafter(threshold, math.inf)), bona_fide) > target


@given(some_scores, some_scores)
def test_no_candidate_has_closer_rates_than_the_eer_threshold(bona_fide: Scores, attacks: Scores) -> None:
    point = metrics.eer_threshold(bona_fide, attacks)
    assert point.frr == metrics.bpcer(point.threshold, bona_fide)
    assert point.far == metrics.apcer(point.threshold, {"all": attacks})
    for candidate in (*bona_fide, *attacks, math.inf):
        gap = abs(metrics.apcer(candidate, {"all": attacks}) - metrics.bpcer(candidate, bona_fide))
        assert abs(point.far - point.frr) <= gap + 1e-12


@given(some_scores, some_scores)
def test_auc_turns_round_with_the_classes(bona_fide: Scores, attacks: Scores) -> None:
    assert metrics.auc(bona_fide, attacks) == pytest.approx(1 - metrics.auc(attacks, bona_fide))


@pytest.mark.parametrize("decimals", [1, 2, 15])
def test_agreement_with_scikit_learn_on_random_scores_with_ties(decimals: int) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    generator = np.random.default_rng(decimals)
    for _ in range(20):
        real = np.round(generator.normal(0.6, 0.3, int(generator.integers(1, 60))), decimals)
        fake = np.round(generator.normal(0.4, 0.3, int(generator.integers(1, 60))), decimals)
        truth = np.r_[np.ones(real.size), np.zeros(fake.size)]
        every = np.r_[real, fake]
        assert metrics.auc(real, fake) == pytest.approx(roc_auc_score(truth, every), abs=1e-12)
        false_accepts, true_accepts, at = roc_curve(truth, every, drop_intermediate=False)
        for threshold, far, tar in zip(at, false_accepts, true_accepts, strict=True):
            assert metrics.apcer(float(threshold), {"all": fake}) == pytest.approx(far)
            assert metrics.bpcer(float(threshold), real) == pytest.approx(1 - tar)
        best = int(np.argmin(np.round(np.abs(false_accepts - (1 - true_accepts)), 12)[::-1]))
        point = metrics.eer_threshold(real, fake)
        assert point.threshold == at[::-1][best]


# -------------------------------------------------------------------------------------------------- evaluate


def split(
    name: str,
    bona_fide: Sequence[float],
    attacks: Mapping[str, Sequence[float]],
    subjects: int = 2,
) -> Scored:
    """One row a presentation, subjects taking turns inside each class."""
    rows = [("", score) for score in bona_fide]
    rows += [(species, score) for species, values in attacks.items() for score in values]
    return Scored.of(
        [f"{name}/{number}" for number in range(len(rows))],
        [f"{name}{number % subjects}" for number in range(len(rows))],
        [not species for species, _ in rows],
        [species for species, _ in rows],
        [score for _, score in rows],
    )


DEV = split("dev", BONA_FIDE.tolist(), {name: one.tolist() for name, one in ATTACKS.items()})


def test_the_threshold_is_frozen_on_dev_and_applied_to_test() -> None:
    test = split("test", [0.9, 0.6, 0.59, 0.2], {"print": [0.1, 0.2, 0.3, 0.7], "replay": [0.6, 0.1]})
    found = metrics.evaluate(DEV, test)
    assert (found.threshold, found.threshold_rule) == (0.60, "eer@dev")
    assert found.dev_eer == pytest.approx(0.225)
    counted = {name: (one.errors, one.trials) for name, one in found.apcer_by_species.items()}
    assert counted == {"print": (1, 4), "replay": (1, 2)}  # .60 lies on the threshold and is accepted
    assert (found.bpcer.errors, found.bpcer.trials) == (2, 4)
    assert (found.apcer, found.acer) == (0.5, 0.5)
    assert found.far == pytest.approx(2 / 6)
    assert found.hter == pytest.approx((2 / 6 + 2 / 4) / 2)
    assert (found.bona_fide, found.attacks, found.failures_to_acquire) == (4, 6, 0)
    assert found.scores_sha256 == scores_sha256(test)
    assert found.bpcer.interval.low < 0.5 < found.bpcer.interval.high
    assert found.bpcer.interval.method == "Clopper-Pearson"
    assert set(found.bpcer_at_apcer) == {"bpcer10", "bpcer20", "bpcer100"}
    assert all(isinstance(one, Absent) for one in found.bpcer_at_apcer.values())


def test_a_shift_of_the_test_scores_costs_errors_at_the_frozen_threshold() -> None:
    """pad.md 2.4: the test set's own EER threshold hides a shift, the frozen one shows it."""
    generator = np.random.default_rng(3)

    def scored(name: str, shift: float) -> Scored:
        real = (generator.normal(1, 0.5, 2000) + shift).tolist()
        fake = (generator.normal(0, 0.5, 2000) + shift).tolist()
        return split(name, real, {"print": fake}, subjects=20)

    found = metrics.evaluate(scored("dev", 0.0), scored("test", -0.4), draws=20)
    assert found.eer == pytest.approx(0.159, abs=0.02)
    assert found.hter > found.eer + 0.05
    assert found.bpcer.rate > 0.3


def test_failures_to_acquire_are_reported_and_in_no_rate() -> None:
    dev = split("dev", [0.9, 0.8, NAN], {"print": [0.1, 0.2]})
    test = split("test", [0.9, NAN, 0.7], {"print": [0.1, NAN, NAN]})
    found = metrics.evaluate(dev, test)
    assert found.dev_failures_to_acquire == 1
    assert found.failures_to_acquire == 3
    assert (found.bona_fide, found.attacks) == (2, 1)
    assert (found.bpcer.errors, found.bpcer.trials) == (1, 2)
    assert found.apcer_by_species["print"].trials == 1


def test_the_record_holds_the_same_numbers() -> None:
    test = split("test", [0.9, 0.6, 0.59, 0.2], {"print": [0.1, 0.2, 0.3, 0.7], "replay": [0.6, 0.1]})
    found = metrics.evaluate(DEV, test)
    record = found.accuracy(
        dataset="toy", dataset_digest="d", simulated=True, protocol="all", invoke_ns=1, pass_ns=2
    )
    assert record == Accuracy.model_validate_json(record.model_dump_json())
    assert (record.apcer, record.acer, record.threshold) == (found.apcer, found.acer, found.threshold)
    assert record.acer_interval == found.acer_interval
    assert (record.dataset, record.simulated, record.pass_ns) == ("toy", True, 2)


def overlapping(name: str, subjects: int = 10, seed: int = 5) -> Scored:
    generator = np.random.default_rng(seed)
    return split(
        name,
        generator.normal(0.7, 0.2, 60).tolist(),
        {"print": generator.normal(0.4, 0.2, 60).tolist(), "replay": generator.normal(0.5, 0.2, 60).tolist()},
        subjects,
    )


def test_the_intervals_of_acer_and_auc_hold_the_estimates_and_depend_on_nothing_but_the_seed() -> None:
    dev, test = overlapping("dev", seed=4), overlapping("test")
    found = metrics.evaluate(dev, test, draws=300, seed=11)
    again = metrics.evaluate(dev, test, draws=300, seed=11)
    assert found == again
    assert found.acer_interval is not None
    assert found.auc_interval is not None
    assert 0 < found.acer_interval.low <= found.acer <= found.acer_interval.high < 1
    assert 0 < found.auc_interval.low <= found.auc <= found.auc_interval.high < 1
    assert "10 groups" in found.acer_interval.method
    assert "seed 11" in found.acer_interval.method


def test_a_bootstrap_draw_of_every_subject_once_gives_the_estimates_themselves() -> None:
    """Each subject has the same scores, so that every draw is the sample."""
    one_subject = [("", 0.9), ("", 0.6), ("", 0.5), ("", 0.2), ("print", 0.1), ("print", 0.6), ("print", 0.7)]
    rows = one_subject * 3
    test = Scored.of(
        [f"test/{number}" for number in range(len(rows))],
        [f"subject {number // len(one_subject)}" for number in range(len(rows))],
        [not species for species, _ in rows],
        [species for species, _ in rows],
        [score for _, score in rows],
    )
    found = metrics.evaluate(DEV, test, draws=20)
    assert found.acer_interval is not None
    assert found.auc_interval is not None
    assert found.acer_interval.low == pytest.approx(found.acer)
    assert found.acer_interval.high == pytest.approx(found.acer)
    assert found.auc_interval.low == pytest.approx(found.auc)
    assert found.auc_interval.high == pytest.approx(found.auc)


def test_one_subject_gives_no_bootstrap_interval() -> None:
    found = metrics.evaluate(overlapping("dev"), overlapping("test", subjects=1), draws=20)
    assert found.acer_interval is None
    assert found.auc_interval is None


def test_without_an_error_the_interval_of_acer_is_not_of_width_zero() -> None:
    clean = split("test", [0.9] * 20, {"print": [0.1] * 20, "replay": [0.2] * 40}, subjects=5)
    found = metrics.evaluate(DEV, clean)
    assert found.acer == 0
    assert found.acer_interval is not None
    assert found.acer_interval.low == 0
    # three proportions at 98.33 % each: 1 - (.05 / 3 / 2) ** (1 / 20) for 20 trials without an error
    assert found.acer_interval.high == pytest.approx(1 - (0.05 / 6) ** (1 / 20))
    assert "Bonferroni" in found.acer_interval.method
    assert found.auc == 1
    assert found.auc_interval is None


@pytest.mark.parametrize("which", ["dev", "test"])
@pytest.mark.parametrize(
    ("bona_fide", "attacks", "complaint"),
    [
        ([], {"print": [0.1]}, "split has no bona fide presentation with a score"),
        ([0.9], {}, "split has no attack presentation with a score"),
        ([NAN], {"print": [0.1]}, r"no bona fide presentation with a score \(2 presentations, 1 failures"),
        ([0.9], {"print": [0.1], "replay": [NAN, NAN]}, "no attack of species replay in .* has a score"),
        ([], {}, "split has no bona fide presentation"),
    ],
)
def test_a_split_that_cannot_be_judged_is_a_bad_dataset(
    which: str, bona_fide: list[float], attacks: dict[str, list[float]], complaint: str
) -> None:
    bad = split(which, bona_fide, attacks)
    good = split("other", [0.9], {"print": [0.1]})
    dev, test = (bad, good) if which == "dev" else (good, bad)
    with pytest.raises(BadDataset, match=complaint):
        metrics.evaluate(dev, test)


def test_frames_are_not_trials() -> None:
    frames = Scored.of(
        ["a", "a", "b"], ["1", "1", "1"], [True, True, False], ["", "", "print"], [0.9, 0.8, 0.1]
    )
    with pytest.raises(BadDataset, match="presentation a has several scores in test"):
        metrics.evaluate(DEV, frames)


def test_the_reported_presentations_may_not_choose_the_threshold() -> None:
    with pytest.raises(BadDataset, match="9 presentations are in dev and in test"):
        metrics.evaluate(DEV, DEV)


@settings(max_examples=25, deadline=None)
@given(some_scores, some_attacks, some_scores, some_attacks)
def test_evaluate_agrees_with_the_single_functions(
    dev_real: Scores, dev_fake: dict[str, Scores], real: Scores, fake: dict[str, Scores]
) -> None:
    dev = split("dev", dev_real.tolist(), {name: one.tolist() for name, one in dev_fake.items()})
    test = split("test", real.tolist(), {name: one.tolist() for name, one in fake.items()})
    found = metrics.evaluate(dev, test, draws=10)
    threshold = metrics.eer_threshold(dev_real, np.concatenate(list(dev_fake.values()))).threshold
    assert found.threshold == threshold
    assert found.acer == pytest.approx(metrics.acer(threshold, real, fake))
    assert found.hter == pytest.approx(metrics.hter(threshold, real, fake))
    if found.acer_interval is not None:
        assert 0 <= found.acer_interval.low <= found.acer_interval.high <= 1
