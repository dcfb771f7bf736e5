"""Error rates on paper, as properties, and against scikit-learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.errors import BadDataset, UserError
from swapbench.pad import intervals, metrics, rates
from swapbench.pad.scores import Scored, scores_sha256
from swapbench.records import Absent, Accuracy, Proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

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
    point = rates.eer_threshold(BONA_FIDE, POOLED)
    assert point.threshold == 0.60
    assert (point.far, point.frr) == (0.2, 0.25)
    assert point.eer == pytest.approx(0.225)
    assert rates.apcer_by_species(0.60, ATTACKS) == {"print": 0.0, "replay": 0.5}
    assert rates.apcer(0.60, ATTACKS) == 0.5
    assert rates.bpcer(0.60, BONA_FIDE) == 0.25
    assert rates.acer(0.60, BONA_FIDE, ATTACKS) == 0.375
    assert rates.far(0.60, ATTACKS) == 0.2
    assert rates.hter(0.60, BONA_FIDE, ATTACKS) == 0.225


def test_the_lowest_threshold_without_an_accepted_attack_lies_just_above_the_highest_attack() -> None:
    threshold = rates.threshold_at_apcer(0.0, ATTACKS)
    assert threshold == np.nextafter(0.65, 1.0)
    assert rates.apcer_by_species(threshold, ATTACKS) == {"print": 0.0, "replay": 0.0}
    assert rates.bpcer(threshold, BONA_FIDE) == 0.5
    assert rates.acer(threshold, BONA_FIDE, ATTACKS) == 0.25
    assert rates.far(threshold, ATTACKS) == 0.0
    assert rates.hter(threshold, BONA_FIDE, ATTACKS) == 0.25


def test_a_score_on_the_threshold_is_accepted_bona_fide_and_attack_alike() -> None:
    assert rates.accepted(scores(0.5, np.nextafter(0.5, 0)), 0.5).tolist() == [True, False]
    assert rates.bpcer(0.5, scores(0.5)) == 0.0
    assert rates.apcer(0.5, {"print": scores(0.5)}) == 1.0


def test_float32_scores_are_compared_in_float64() -> None:
    single = np.array([0.1], dtype=np.float32)
    above = rates.threshold_at_apcer(0.0, {"print": single.astype(np.float64)})
    assert above == np.nextafter(float(single[0]), np.inf)
    assert not rates.accepted(single.astype(np.float64), above).any()


def test_apcer_is_the_worst_species_and_never_pooled() -> None:
    generator = np.random.default_rng(7)
    bona_fide = generator.normal(1.0, 0.5, 48_000)
    attacks = {"print": generator.normal(0, 0.5, 24_000), "replay": generator.normal(0.35, 0.5, 24_000)}
    threshold = rates.eer_threshold(bona_fide, np.concatenate(list(attacks.values()))).threshold
    # The normal tails at t = .6: FRR 21.2 %, print 11.5 %, replay 30.9 %, both species pooled 21.2 %.
    assert rates.far(threshold, attacks) == pytest.approx(0.212, abs=0.006)
    assert rates.apcer(threshold, attacks) == pytest.approx(0.309, abs=0.006)


@pytest.mark.parametrize(
    ("target", "accepted_attacks"), [(0.0, 0), (0.09, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.99, 9)]
)
def test_a_target_apcer_is_at_most_in_whole_attacks(target: float, accepted_attacks: int) -> None:
    attacks = {"print": np.arange(10) / 10}
    threshold = rates.threshold_at_apcer(target, attacks)
    assert int(rates.accepted(attacks["print"], threshold).sum()) == accepted_attacks


def test_a_target_of_one_accepts_everything() -> None:
    assert rates.threshold_at_apcer(1.0, ATTACKS) == -math.inf
    assert rates.threshold_at_bpcer(1.0, BONA_FIDE) == math.inf


def test_a_target_that_is_a_whole_number_of_attacks_survives_rounding() -> None:
    assert 0.29 * 100 < 29
    threshold = rates.threshold_at_apcer(0.29, {"print": np.arange(100) / 100})
    assert rates.apcer(threshold, {"print": np.arange(100) / 100}) == 0.29
    assert rates.threshold_at_bpcer(0.29, np.arange(100) / 100) == 0.29


@pytest.mark.parametrize(("target", "threshold"), [(0.0, 0.40), (0.24, 0.40), (0.25, 0.60), (0.5, 0.85)])
def test_the_highest_threshold_for_a_target_bpcer(target: float, threshold: float) -> None:
    assert rates.threshold_at_bpcer(target, BONA_FIDE) == threshold
    assert rates.bpcer(threshold, BONA_FIDE) <= target


@pytest.mark.parametrize("target", [-0.01, 1.01, NAN])
def test_a_target_that_is_no_rate_is_refused(target: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        rates.threshold_at_apcer(target, ATTACKS)
    with pytest.raises(UserError, match="between 0 and 1"):
        rates.threshold_at_bpcer(target, BONA_FIDE)


def test_bpcer_at_apcer_counts_bona_fide_below_the_threshold() -> None:
    attacks = {"print": np.linspace(0.0, 0.63, 10), "replay": np.linspace(0, 0.5, 20)}
    # 1 of 10 prints may pass: the threshold lies just above the second highest, .56; .40 is rejected.
    found = rates.bpcer_at_apcer(0.1, BONA_FIDE, attacks)
    assert isinstance(found, Proportion)
    assert (found.errors, found.trials) == (1, 4)


def test_bpcer_at_apcer_is_absent_where_the_smallest_species_cannot_resolve_the_target() -> None:
    attacks = {"print": np.linspace(0, 0.3, 400), "replay": np.linspace(0, 0.3, 40)}
    found = rates.bpcer_at_apcer(0.01, BONA_FIDE, attacks)
    assert isinstance(found, Absent)
    assert found.absent == "40 attacks of species replay cannot resolve an APCER of 1 %"
    assert found.remedy == "At least 100 attacks of every species are needed."
    assert isinstance(rates.bpcer_at_apcer(0.05, BONA_FIDE, attacks), Proportion)


@pytest.mark.parametrize(
    ("count", "target", "resolved"), [(10, 0.1, True), (9, 0.1, False), (100, 0.01, True), (20, 0.05, True)]
)
def test_as_many_attacks_as_one_over_the_target_are_enough(count: int, target: float, resolved: bool) -> None:
    found = rates.bpcer_at_apcer(target, BONA_FIDE, {"print": np.linspace(0, 0.3, count)})
    assert isinstance(found, Proportion) == resolved


def test_auc_of_the_worked_example_counts_pairs() -> None:
    # .91 and .85 beat 5 attacks each, .60 beats 4, .40 beats 3 (.10 .30 .20): 17 of 20.
    assert rates.auc(BONA_FIDE, POOLED) == pytest.approx(17 / 20)


def test_a_tie_counts_half_in_auc() -> None:
    assert rates.auc(scores(0.5), scores(0.5)) == 0.5
    assert rates.auc(scores(0.5, 1.0), scores(0.5, 0.0)) == pytest.approx(3.5 / 4)


def test_separated_classes_have_no_error_at_the_lowest_bona_fide_score() -> None:
    point = rates.eer_threshold(scores(0.7, 0.9), scores(0.1, 0.3))
    assert (point.threshold, point.far, point.frr) == (0.7, 0.0, 0.0)


def test_constant_scores_have_an_eer_of_one_half() -> None:
    point = rates.eer_threshold(scores(0.5, 0.5), scores(0.5))
    assert point.eer == 0.5
    assert point.threshold == 0.5


def test_reversed_scores_have_an_eer_near_one() -> None:
    assert rates.eer_threshold(scores(0.1, 0.2), scores(0.8, 0.9)).eer == 1.0


NO_SCORES: Scores = np.empty(0)


@pytest.mark.parametrize(
    "rate",
    [
        lambda: rates.bpcer(0.5, NO_SCORES),
        lambda: rates.apcer(0.5, {}),
        lambda: rates.apcer(0.5, {"print": NO_SCORES}),
        lambda: rates.threshold_at_apcer(0.1, {}),
        lambda: rates.threshold_at_bpcer(0.1, NO_SCORES),
        lambda: rates.eer_threshold(NO_SCORES, POOLED),
        lambda: rates.eer_threshold(BONA_FIDE, NO_SCORES),
        lambda: rates.auc(BONA_FIDE, NO_SCORES),
    ],
)
def test_a_rate_of_nothing_is_no_number(rate: Callable[[], object]) -> None:
    with pytest.raises(BadDataset, match="scores, so their error rate is undefined"):
        rate()


@pytest.mark.parametrize(
    "rate",
    [
        lambda: rates.bpcer(0.5, scores(0.5, NAN)),
        lambda: rates.apcer(0.5, {"print": scores(NAN)}),
        lambda: rates.eer_threshold(BONA_FIDE, scores(NAN)),
        lambda: rates.auc(scores(NAN, 0.1), POOLED),
    ],
)
def test_a_nan_is_never_silently_an_error_or_a_success(rate: Callable[[], object]) -> None:
    with pytest.raises(BadDataset, match=r"1 .*scores are NaN"):
        rate()


def test_a_nan_threshold_is_refused() -> None:
    with pytest.raises(UserError, match="threshold cannot be NaN"):
        rates.bpcer(NAN, BONA_FIDE)


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
    assert rates.bpcer(low, bona_fide) <= rates.bpcer(high, bona_fide)
    assert rates.apcer(low, attacks) >= rates.apcer(high, attacks)
    assert rates.far(low, attacks) <= rates.apcer(low, attacks)


@given(some_attacks, st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.05, 0.1, 1 / 3, 0.5]))
def test_the_threshold_for_an_apcer_keeps_it_and_no_lower_candidate_does(
    attacks: dict[str, Scores], target: float
) -> None:
    threshold = rates.threshold_at_apcer(target, attacks)
    assert rates.apcer(threshold, attacks) <= target + 1e-12
    if threshold > -math.inf:
        below = float(np.nextafter(threshold, -math.inf))
        assert rates.apcer(below, attacks) > target


@given(some_scores, st.floats(0, 1))
def test_the_threshold_for_a_bpcer_keeps_it_and_no_higher_one_does(bona_fide: Scores, target: float) -> None:
    threshold = rates.threshold_at_bpcer(target, bona_fide)
    assert rates.bpcer(threshold, bona_fide) <= target + 1e-12
    if threshold < math.inf:
        assert rates.bpcer(float(np.nextafter(threshold, math.inf)), bona_fide) > target


@given(some_scores, some_scores)
def test_no_candidate_has_closer_rates_than_the_eer_threshold(bona_fide: Scores, attacks: Scores) -> None:
    point = rates.eer_threshold(bona_fide, attacks)
    assert point.frr == rates.bpcer(point.threshold, bona_fide)
    assert point.far == rates.apcer(point.threshold, {"all": attacks})
    for candidate in (*bona_fide, *attacks, math.inf):
        gap = abs(rates.apcer(candidate, {"all": attacks}) - rates.bpcer(candidate, bona_fide))
        assert abs(point.far - point.frr) <= gap + 1e-12


@given(some_scores, some_scores)
def test_auc_turns_round_with_the_classes(bona_fide: Scores, attacks: Scores) -> None:
    assert rates.auc(bona_fide, attacks) == pytest.approx(1 - rates.auc(attacks, bona_fide))


@pytest.mark.parametrize("decimals", [1, 2, 15])
def test_agreement_with_scikit_learn_on_random_scores_with_ties(decimals: int) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    generator = np.random.default_rng(decimals)
    for _ in range(20):
        real = np.round(generator.normal(0.6, 0.3, int(generator.integers(1, 60))), decimals)
        fake = np.round(generator.normal(0.4, 0.3, int(generator.integers(1, 60))), decimals)
        truth = np.r_[np.ones(real.size), np.zeros(fake.size)]
        every = np.r_[real, fake]
        assert rates.auc(real, fake) == pytest.approx(roc_auc_score(truth, every), abs=1e-12)
        false_accepts, true_accepts, at = roc_curve(truth, every, drop_intermediate=False)
        for threshold, far, tar in zip(at, false_accepts, true_accepts, strict=True):
            assert rates.apcer(float(threshold), {"all": fake}) == pytest.approx(far)
            assert rates.bpcer(float(threshold), real) == pytest.approx(1 - tar)
        best = int(np.argmin(np.round(np.abs(false_accepts - (1 - true_accepts)), 12)[::-1]))
        point = rates.eer_threshold(real, fake)
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
    assert found.bpcer.interval.method == "Korn-Graubard over 2 people"
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


TOY = metrics.ScoringPass(
    dataset="toy", dataset_digest="d", simulated=True, protocol="all", invoke_ns=1, pass_ns=2
)


def test_the_record_holds_the_same_numbers() -> None:
    test = split("test", [0.9, 0.6, 0.59, 0.2], {"print": [0.1, 0.2, 0.3, 0.7], "replay": [0.6, 0.1]})
    found = metrics.evaluate(DEV, test)
    record = found.accuracy(TOY)
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
    assert found.acer_interval.method == "Jeffreys over 10 people, joined by MOVER"
    assert "seed 11" in found.auc_interval.method


def test_people_with_the_same_scores_leave_the_auc_no_doubt_and_the_rates_some() -> None:
    """Each subject has the same scores, so that every draw is the sample: but it is one of three people."""
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
    assert found.acer_interval.low < found.acer < found.acer_interval.high
    assert found.auc_interval.low == pytest.approx(found.auc)
    assert found.auc_interval.high == pytest.approx(found.auc)
    assert found.acer_bias is None


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
    # Five people are worth five trials: both Jeffreys ends are the .975 quantile of the beta (1/2, 5 1/2),
    # .3794; the distances of two such rates join to sqrt(2) / 2 of it.
    assert found.acer_interval.high == pytest.approx(0.3794 * 2**0.5 / 2, abs=1e-4)
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
    with pytest.raises(BadDataset, match="9 presentations are in both dev and test"):
        metrics.evaluate(DEV, DEV)


@settings(max_examples=25, deadline=None)
@given(some_scores, some_attacks, some_scores, some_attacks)
def test_evaluate_agrees_with_the_single_functions(
    dev_real: Scores, dev_fake: dict[str, Scores], real: Scores, fake: dict[str, Scores]
) -> None:
    dev = split("dev", dev_real.tolist(), {name: one.tolist() for name, one in dev_fake.items()})
    test = split("test", real.tolist(), {name: one.tolist() for name, one in fake.items()})
    found = metrics.evaluate(dev, test, draws=10)
    threshold = rates.eer_threshold(dev_real, np.concatenate(list(dev_fake.values()))).threshold
    assert found.threshold == threshold
    assert found.acer == pytest.approx(rates.acer(threshold, real, fake))
    assert found.hter == pytest.approx(rates.hter(threshold, real, fake))
    if found.acer_interval is not None:
        assert 0 <= found.acer_interval.low <= found.acer_interval.high <= 1


# ------------------------------------------------------------------------------------------- intervals


@settings(max_examples=40, deadline=None)
@given(some_scores, some_attacks, some_scores, some_attacks, st.integers(1, 6))
def test_every_interval_holds_its_estimate(
    dev_real: Scores, dev_fake: dict[str, Scores], real: Scores, fake: dict[str, Scores], subjects: int
) -> None:
    dev = split("dev", dev_real.tolist(), {name: one.tolist() for name, one in dev_fake.items()})
    test = split("test", real.tolist(), {name: one.tolist() for name, one in fake.items()}, subjects)
    found = metrics.evaluate(dev, test, draws=20)
    for estimate, interval in (
        (found.acer, found.acer_interval),
        (found.hter, found.hter_interval),
        (found.auc, found.auc_interval),
        (found.eer, found.eer_interval),
        (found.bpcer.rate, found.bpcer.interval),
        *((one.rate, one.interval) for one in found.apcer_by_species.values()),
    ):
        if interval is not None:
            assert -1e-12 <= interval.low <= estimate + 1e-12
            assert estimate - 1e-12 <= interval.high <= 1 + 1e-12


@settings(max_examples=25, deadline=None)
@given(some_scores, some_attacks, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(real: Scores, fake: dict[str, Scores], random: Random) -> None:
    test = split("test", real.tolist(), {name: one.tolist() for name, one in fake.items()}, subjects=3)
    turned = test.rows(np.array(random.sample(range(len(test)), len(test)), dtype=np.intp))
    assert metrics.evaluate(DEV, turned, draws=20) == metrics.evaluate(DEV, test, draws=20)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(coarse, min_size=1, max_size=30).map(lambda values: scores(*values)),
    st.dictionaries(
        st.sampled_from(["print", "replay"]),
        st.lists(coarse, min_size=1, max_size=30).map(lambda values: scores(*values)),
        min_size=1,
    ),
    st.sampled_from([np.arctan, np.exp, lambda values: 3 * values - 7]),
)
def test_a_rising_function_of_the_scores_changes_no_rate(
    real: Scores, fake: dict[str, Scores], rising: Callable[[Scores], Scores]
) -> None:
    """Decisions depend on the order of scores only, where dev and test are changed alike."""
    dev = overlapping("dev")
    test = split("test", real.tolist(), {name: one.tolist() for name, one in fake.items()}, subjects=4)
    before = metrics.evaluate(dev, test, draws=20)
    after = metrics.evaluate(
        dev.with_scores(rising(dev.score)), test.with_scores(rising(test.score)), draws=20
    )
    for name in (
        "apcer_by_species",
        "bpcer",
        "acer_interval",
        "hter_interval",
        "auc_interval",
        "eer_interval",
    ):
        assert getattr(after, name) == getattr(before, name)
    for name in ("apcer", "acer", "hter", "eer", "auc", "dev_eer", "far"):
        assert getattr(after, name) == getattr(before, name)


def naive_draws(test: Scored, statistic: Callable[[Scored], float], draws: int, seed: int) -> list[float]:
    """Subjects drawn and their rows collected, as the books tell it."""
    people = sorted(set(test.subject.tolist()))
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = generator.integers(0, len(people), len(people))
        rows = np.concatenate([np.flatnonzero(test.subject == people[one]) for one in drawn])
        found.append(statistic(test.rows(rows)))
    return found


def test_intervals_are_those_of_subjects_drawn_one_by_one() -> None:
    test = overlapping("test", subjects=7)
    found = metrics.evaluate(overlapping("dev", seed=2), test, draws=60, seed=5)
    people = naive_draws(test, lambda one: rates.eer_threshold(one.bona_fide, one.attacks).eer, 60, 5)
    assert found.eer_interval is not None
    # type 1 quantiles of 60: the 2nd and the 59th
    ends = sorted(people)[1], sorted(people)[58]
    assert (found.eer_interval.low, found.eer_interval.high) == pytest.approx(ends)
    areas = naive_draws(test, lambda one: rates.auc(one.bona_fide, one.attacks), 60, 5)
    assert found.auc_interval is not None
    # 2.4469 is Student's t at .975 with six degrees of freedom
    middle, reach = np.log(found.auc / (1 - found.auc)), 2.4469 * np.std(areas, ddof=1) * (7 / 6) ** 0.5
    reach /= found.auc * (1 - found.auc)
    low, high = (1 / (1 + np.exp(-end)) for end in (middle - reach, middle + reach))
    assert (found.auc_interval.low, found.auc_interval.high) == pytest.approx((low, high), abs=1e-5)


def test_scores_that_share_bins_move_an_interval_by_less_than_half_a_bin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test = overlapping("test", subjects=12)  # 180 different scores
    exact = metrics.evaluate(DEV, test, draws=200)
    monkeypatch.setattr(intervals, "BINS", 40)
    binned = metrics.evaluate(DEV, test, draws=200)
    assert (binned.auc, binned.eer) == (exact.auc, exact.eer)
    for name in ("auc_interval", "eer_interval"):
        one, other = getattr(binned, name), getattr(exact, name)
        assert one.method == f"{other.method}, scores counted in 40 bins"
        assert abs(one.low - other.low) + abs(one.high - other.high) > 0
        assert abs(one.low - other.low) <= 1 / 80
        assert abs(one.high - other.high) <= 1 / 80


def test_bins_weigh_both_classes_alike_and_never_part_equal_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "BINS", 10)
    generator = np.random.default_rng(0)
    real, fake = np.round(generator.random(30), 3), np.round(generator.random(3000), 3)
    scored = split("test", real.tolist(), {"print": fake.tolist()})
    place, bins = intervals._bin_of_score(scored)
    order = np.argsort(scored.score)
    assert bins == 10
    assert np.all(np.diff(place[order]) >= 0)
    assert all(len(set(place[scored.score == value])) == 1 for value in set(scored.score))
    real_share = np.bincount(place[scored.is_bona_fide], minlength=10) / 30
    fake_share = np.bincount(place[~scored.is_bona_fide], minlength=10) / 3000
    # a score weighs at most 1/30 + 5/3000 of a class, a bin 1/5 of both together
    assert real_share + fake_share == pytest.approx(np.full(10, 0.2), abs=0.05)


def test_hter_without_an_error_has_bounds_from_the_people() -> None:
    clean = split("test", [0.9] * 20, {"print": [0.1] * 20, "replay": [0.2] * 40}, subjects=5)
    found = metrics.evaluate(DEV, clean)
    assert found.hter_interval is not None
    assert found.hter_interval.low == 0
    assert found.hter_interval.high == pytest.approx(0.3794 * 2**0.5 / 2, abs=1e-4)
    assert found.eer_interval is None


def test_presentations_without_known_people_are_drawn_singly() -> None:
    generator = np.random.default_rng(8)
    real, fake = generator.normal(0.7, 0.2, 400), generator.normal(0.4, 0.2, 400)
    single = metrics.evaluate(DEV, split("test", real.tolist(), {"print": fake.tolist()}, subjects=800))
    pairs = metrics.evaluate(DEV, split("test", real.tolist(), {"print": fake.tolist()}, subjects=400))
    assert single.subjects == 800
    for name in ("acer_interval", "hter_interval", "auc_interval", "eer_interval"):
        one, other = getattr(single, name), getattr(pairs, name)
        # the scores of a pair are independent here, so both bootstraps aim at the same interval
        assert one.high - one.low == pytest.approx(other.high - other.low, rel=0.25)


# ------------------------------------------------------------------------------------------------ folds


def p4_fold(number: int, rejected: int, accepted: Mapping[str, int], people: int = 20) -> metrics.FoldScores:
    """OULU-NPU protocol 4: 20 bona fide, 20 print and 20 replay videos of 20 people, some judged wrongly."""
    kinds = [("", 0.9, 0.05, rejected)] + [(name, 0.1, 0.8, count) for name, count in accepted.items()]
    rows = [
        (
            f"fold{number}/{kind or 'live'}/{person}",
            f"person{person}",
            kind,
            wrong if person < count else right,
        )
        for kind, right, wrong, count in kinds
        for person in range(people)
    ]
    presentation, subject, species, score = zip(*rows, strict=True)
    test = Scored.of(presentation, subject, [not one for one in species], species, score)
    return metrics.FoldScores(str(number), split(f"dev{number}", [0.5], {"print": [0.1]}), test)


P4 = [
    p4_fold(1, 0, {"print": 0, "replay": 0}),
    p4_fold(2, 1, {"print": 0, "replay": 0}),
    p4_fold(3, 2, {"print": 0, "replay": 1}),
    p4_fold(4, 0, {"print": 4, "replay": 2}),
    p4_fold(5, 3, {"print": 0, "replay": 0}),
    p4_fold(6, 0, {"print": 1, "replay": 1}),
]


def test_in_protocol_4_one_video_is_five_points() -> None:
    found = metrics.evaluate_folds(P4, draws=50)
    assert [one.bpcer.rate for one in found.folds] == pytest.approx([0, 0.05, 0.1, 0, 0.15, 0])
    assert [one.apcer for one in found.folds] == pytest.approx([0, 0, 0.05, 0.2, 0, 0.05])
    assert [one.acer for one in found.folds] == pytest.approx([0, 0.025, 0.075, 0.1, 0.075, 0.025])
    assert found.acer == pytest.approx(0.05)
    # squares about .05: 2.5, .625, .625, 2.5, .625, .625 thousandths, over 5
    assert found.acer_sd == pytest.approx(math.sqrt(7.5e-3 / 5))
    assert found.apcer == pytest.approx(0.05)
    # pooled FAR of 40: 0 0 1 6 0 2 -> HTER .0 .025 .0625 .075 .075 .025
    assert found.hter == pytest.approx((0.025 + 0.0625 + 0.075 + 0.075 + 0.025) / 6)


def test_proportions_count_the_errors_of_all_folds() -> None:
    found = metrics.evaluate_folds(P4, draws=50)
    assert (found.bpcer.errors, found.bpcer.trials) == (6, 120)
    counted = {name: (one.errors, one.trials) for name, one in found.apcer_by_species.items()}
    assert counted == {"print": (5, 120), "replay": (4, 120)}
    assert (found.bona_fide, found.attacks, found.subjects) == (120, 240, 20)
    assert found.bpcer.interval.method == "Korn-Graubard over 20 people"
    assert found.far == pytest.approx(9 / 240)


def test_every_fold_has_its_own_threshold_and_the_whole_has_none() -> None:
    found = metrics.evaluate_folds(P4, draws=20)
    assert found.threshold is None
    assert [one.threshold for one in found.folds] == [0.5] * 6
    shifted = metrics.FoldScores("7", split("dev7", [0.85], {"print": [0.1]}), P4[5].test)
    assert [one.threshold for one in metrics.evaluate_folds([P4[5], shifted], draws=20).folds] == [0.5, 0.85]


def test_bpcer_at_apcer_is_absent_for_the_whole_where_one_fold_cannot_support_it() -> None:
    found = metrics.evaluate_folds(P4, draws=20).bpcer_at_apcer
    assert isinstance(found["bpcer100"], Absent)
    assert found["bpcer100"].absent == "fold 1: 20 attacks of species print cannot resolve an APCER of 1 %"
    # at most 1 of 20 may pass: just above .1, or above .8 in fold 4, where every bona fide has .9
    assert isinstance(found["bpcer20"], Proportion)
    assert (found["bpcer20"].errors, found["bpcer20"].trials) == (6, 120)


def test_several_folds_become_one_record() -> None:
    errors = metrics.evaluate_folds(P4, draws=20)
    scoring = metrics.ScoringPass(
        dataset="OULU-NPU",
        dataset_digest="d",
        simulated=False,
        protocol="4",
        invoke_ns=1,
        pass_ns=2,
        faces="given",
        basis=("one file is missing",),
        frames=2880,
        frames_without_score=3,
    )
    record = errors.accuracy(scoring)
    assert record == Accuracy.model_validate_json(record.model_dump_json())
    assert (record.threshold, record.acer, record.acer_sd) == (None, errors.acer, errors.acer_sd)
    assert (record.hter, record.hter_interval) == (errors.hter, errors.hter_interval)
    assert record.eer_interval == errors.eer_interval
    assert [one.fold for one in record.folds] == ["1", "2", "3", "4", "5", "6"]
    assert record.failures_by_class == {"bona_fide": 0, "attack": 0}
    assert (record.faces, record.basis) == ("given", ("one file is missing",))
    assert (record.frames, record.frames_without_score, record.subjects) == (2880, 3, 20)


def test_one_fold_is_the_plain_evaluation_and_its_record_has_no_folds() -> None:
    fold = P4[3]
    assert fold.dev is not None
    plain = metrics.evaluate(fold.dev, fold.test, draws=20)
    one = metrics.evaluate_folds([fold], draws=20)
    assert (one.acer, one.acer_interval) == (plain.acer, plain.acer_interval)
    assert one.scores_sha256 == scores_sha256(fold.test)
    assert one.acer_sd is None
    record = plain.accuracy(TOY)
    assert record.folds == ()
    assert record.threshold == 0.5


def test_people_are_drawn_for_all_folds_at_once() -> None:
    """The same scores in three folds say no more than in one, so the interval of the mean is as wide."""
    dev, test = overlapping("dev", seed=4), overlapping("test")
    once = metrics.evaluate(dev, test, draws=200, seed=3)
    thrice = metrics.evaluate_folds(
        [metrics.FoldScores(name, dev, test) for name in "abc"], draws=200, seed=3
    )
    for name in ("acer_interval", "hter_interval", "auc_interval", "eer_interval"):
        one, other = getattr(once, name), getattr(thrice, name)
        assert (one.low, one.high) == pytest.approx((other.low, other.high))
    assert thrice.bpcer.trials == 3 * once.bpcer.trials
    assert thrice.bpcer.rate == pytest.approx(once.bpcer.rate)
    assert thrice.subjects == once.subjects


def test_the_digest_of_folds_depends_on_names_and_scores_and_not_on_their_order() -> None:
    digest = metrics.evaluate_folds(P4, draws=5).scores_sha256
    assert metrics.evaluate_folds(P4[::-1], draws=5).scores_sha256 == digest
    renamed = [metrics.FoldScores(one.name.replace("6", "7"), one.dev, one.test) for one in P4]
    assert metrics.evaluate_folds(renamed, draws=5).scores_sha256 != digest
    assert metrics.evaluate_folds(P4[:5], draws=5).scores_sha256 != digest


def test_a_species_of_one_fold_only_is_counted_there() -> None:
    other = p4_fold(8, 0, {"mask": 2, "print": 0})
    found = metrics.evaluate_folds([P4[0], other], draws=20)
    counted = {name: (one.errors, one.trials) for name, one in found.apcer_by_species.items()}
    assert counted == {"mask": (2, 20), "print": (0, 40), "replay": (0, 20)}


def test_folds_without_an_error_have_bounds() -> None:
    folds = [p4_fold(number, 0, {"print": 0, "replay": 0}) for number in (1, 2)]
    found = metrics.evaluate_folds(folds)
    assert found.acer_interval is not None
    assert found.acer_interval.low == 0
    assert 0 < found.acer_interval.high < 0.3
    assert found.acer_sd == 0


def test_failures_to_acquire_are_counted_by_class() -> None:
    test = split("test", [0.9, NAN, 0.7], {"print": [0.1, NAN, NAN], "replay": [0.2]})
    found = metrics.evaluate(DEV, test, draws=5)
    assert found.failures_by_class == {"bona_fide": 1, "attack": 2}
    assert found.failures_to_acquire == found.folds[0].failures_to_acquire == 3


@pytest.mark.parametrize(
    ("folds", "complaint"),
    [
        ([], "0 folds of 0 names"),
        ([P4[0], P4[0]], "2 folds of 1 names"),
        (
            [P4[0], metrics.FoldScores("2", None, P4[1].test)],
            "the scores of fold 2 have no development split",
        ),
        ([metrics.FoldScores("", None, P4[1].test)], "the scores have no development split"),
        (
            [metrics.FoldScores("5", P4[0].test, P4[0].test)],
            "60 presentations are in both dev and test of fold 5",
        ),
        (
            [metrics.FoldScores("5", P4[0].dev, split("test", [0.9], {}))],
            "the test split of fold 5 has no attack presentation",
        ),
    ],
)
def test_folds_that_cannot_be_judged_are_named(folds: list[metrics.FoldScores], complaint: str) -> None:
    with pytest.raises(BadDataset, match=complaint):
        metrics.evaluate_folds(folds)


# --------------------------------------------------------------------------------- without development scores


def test_without_development_scores_only_descriptions_are_left() -> None:
    test = overlapping("test")
    found = metrics.describe_without_dev(test, draws=50)
    same = metrics.evaluate(overlapping("dev", seed=4), test, draws=50)
    assert (found.eer, found.eer_interval) == (same.eer, same.eer_interval)
    assert (found.auc, found.auc_interval) == (same.auc, same.auc_interval)
    assert found.bpcer_at_apcer == same.bpcer_at_apcer
    assert (found.at_threshold, found.acer_interval, found.hter_interval) == (None, None, None)
    assert (found.bona_fide, found.attacks, found.subjects) == (60, 120, 10)
    assert found.scores_sha256 == same.scores_sha256


def test_a_given_threshold_gives_the_rates_of_the_standard() -> None:
    test = split("test", [0.9, 0.6, 0.59, 0.2], {"print": [0.1, 0.2, 0.3, 0.7], "replay": [0.6, 0.1]})
    found = metrics.describe_without_dev(test, 0.6, draws=50)
    frozen = metrics.evaluate(DEV, test, draws=50)  # .6 too
    assert found.at_threshold is not None
    assert found.at_threshold.apcer_by_species == frozen.apcer_by_species
    assert found.at_threshold.bpcer == frozen.bpcer
    assert (found.at_threshold.acer, found.at_threshold.hter) == (frozen.acer, pytest.approx(frozen.hter))
    assert (found.acer_interval, found.hter_interval) == (frozen.acer_interval, frozen.hter_interval)


def test_a_description_refuses_what_an_evaluation_refuses() -> None:
    with pytest.raises(BadDataset, match="the test split has no attack presentation"):
        metrics.describe_without_dev(split("test", [0.9], {}))
    with pytest.raises(UserError, match="threshold cannot be NaN"):
        metrics.describe_without_dev(DEV, NAN)


# -------------------------------------------------------------------------------- independent implementations

THIRTY_SEVENS = scores(*((37 * number % 101) / 100 for number in range(60)))
ELSEWHERE = {
    "print": scores(*((53 * number % 97) / 130 for number in range(50))),
    "replay": scores(*((29 * number % 89) / 100 for number in range(30))),
}


def test_agreement_with_what_bob_measure_gave() -> None:
    """bob.measure 6.1.1 on the same scores: eer_threshold, frr_threshold and far_threshold, each with farfrr.

    Its BPCER at an APCER of 5 % is higher (52 of 60): it moves the threshold up to the next attack score,
    .87, and so rejects a bona fide score between. Ours is just above .85, the lowest threshold that keeps the
    APCER.
    """
    pooled = np.concatenate(list(ELSEWHERE.values()))
    point = rates.eer_threshold(THIRTY_SEVENS, pooled)
    assert (point.far, point.frr) == (0.45, 0.45)
    assert rates.bpcer(0.4346153846153846, THIRTY_SEVENS) == 0.45
    assert rates.far(0.4346153846153846, ELSEWHERE) == 0.45
    for target, threshold, far in ((0.1, 0.1, 0.875), (0.05, 0.05, 0.925), (0.0, 0.0, 1.0)):
        assert rates.threshold_at_bpcer(target, THIRTY_SEVENS) == threshold
        assert rates.far(threshold, ELSEWHERE) == far
    for target, apcers, bpcer in (
        (0.1, (0.0, 0.1), 0.8166666666666667),
        (0.05, (0.0, 0.03333333333333333), 0.85),
        (0.0, (0.0, 0.0), 0.8833333333333333),
    ):
        threshold = rates.threshold_at_apcer(target, ELSEWHERE)
        assert tuple(rates.apcer_by_species(threshold, ELSEWHERE).values()) == apcers
        assert rates.bpcer(threshold, THIRTY_SEVENS) == bpcer


def test_agreement_with_bob_measure_where_it_is_installed() -> None:
    bob = pytest.importorskip("bob.measure")
    generator = np.random.default_rng(11)
    for decimals in (1, 2, 15):
        for _ in range(10):
            real = np.round(generator.normal(0.6, 0.3, int(generator.integers(2, 60))), decimals)
            fake = np.round(generator.normal(0.4, 0.3, int(generator.integers(2, 60))), decimals)
            for threshold in (*real, *fake, 0.5):
                far, frr = bob.farfrr(fake, real, threshold)
                assert rates.far(float(threshold), {"all": fake}) == pytest.approx(far)
                assert rates.bpcer(float(threshold), real) == pytest.approx(frr)
            far, frr = bob.farfrr(fake, real, bob.eer_threshold(fake, real))
            point = rates.eer_threshold(real, fake)
            assert abs(point.far - point.frr) <= abs(far - frr) + 1e-12
            for target in (0.0, 0.05, 0.1):
                ours = rates.threshold_at_apcer(target, {"all": fake})
                theirs = bob.far_threshold(fake, real, target)
                assert rates.far(ours, {"all": fake}) == pytest.approx(bob.farfrr(fake, real, theirs)[0])
                assert rates.bpcer(ours, real) <= bob.farfrr(fake, real, theirs)[1] + 1e-12


def test_the_eer_is_where_scikit_learns_roc_curve_crosses() -> None:
    from sklearn.metrics import roc_curve

    generator = np.random.default_rng(2)
    real, fake = generator.normal(0.6, 0.2, 3000), generator.normal(0.4, 0.2, 2000)
    false_accepts, true_accepts, _ = roc_curve(
        np.r_[np.ones(3000), np.zeros(2000)], np.r_[real, fake], drop_intermediate=False
    )
    crossing = np.interp(0, false_accepts - (1 - true_accepts), false_accepts)
    assert rates.eer_threshold(real, fake).eer == pytest.approx(crossing, abs=1 / 2000)


def test_scores_without_a_development_split_make_a_record_without_frozen_errors() -> None:
    test = Scored.of(
        ["a", "b", "c", "d"],
        ["1", "2", "3", "4"],
        [True, True, False, False],
        ["", "", "print", "print"],
        [0.9, 0.4, 0.5, 0.1],
    )
    record = metrics.describe_without_dev(test).accuracy(TOY)
    assert [record.threshold, record.acer, record.apcer, record.bpcer, record.hter, record.dev_eer] == [
        None
    ] * 6
    assert (record.threshold_rule, record.apcer_by_species) == ("", {})
    assert record.auc == pytest.approx(3 / 4)  # of four pairs only .4 and .5 stand the wrong way round
    assert (record.bona_fide, record.attacks, record.subjects) == (2, 2, 4)
    # from .5 on: .4 is rejected, .5 accepted
    given = metrics.describe_without_dev(test, 0.5).accuracy(TOY)
    assert (given.threshold, given.threshold_rule, given.acer, given.hter) == (0.5, "given", 0.5, 0.5)
