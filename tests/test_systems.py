"""Systems of files and frames: rules, costs and choices, by hand and by property."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import made_systems as made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.errors import BadDataset, UserError
from swapbench.pad.rates import EER_AT_DEV, ThresholdRule
from swapbench.records import Absent, Evidence, Frames, FrozenFold, System
from swapbench.systems import costs, evidence, rules, search
from swapbench.systems.computed import How, Known, computed
from swapbench.systems.costs import Prices
from swapbench.systems.file import read_system, write_system
from swapbench.systems.frozen import Development, fold_scores
from swapbench.systems.gain import paired
from swapbench.systems.scores import check_probabilities

if TYPE_CHECKING:
    from pathlib import Path

HOW = How(EER_AT_DEV)
NO_ENERGY = Absent(absent="no energy")


def prices(*each: float) -> Prices:
    number = np.array(each)
    return Prices(number, np.repeat(number[:, None], 1000, axis=1))


def known(*folds: made.FoldFrames, time: tuple[float, ...] = (1.0, 10.0)) -> Known:
    members = made.members(*folds)
    names = tuple(f"file {number}" for number in range(len(folds)))
    return Known(
        names, tuple(("run", name) for name in names), members, prices(*time[: len(folds)]), NO_ENERGY
    )


# ---- A cascade of four presentations, by hand ----


def test_a_cascade_of_four_presentations_by_hand() -> None:
    of = known(made.SMALL, made.LARGE)
    frozen = Development(of.folds, EER_AT_DEV).freeze(made.system("cascade", margin=0.15))
    (fold,) = frozen.frozen
    assert fold.members == (0.6, 0.7)
    # dev: .9, .1 and .4 are .3, .5 and .2 away and sure; .6 is asked about: .7 - .7 = 0
    assert fold.threshold == 0.0
    found = computed(frozen, of, HOW)
    # test: |.9 - .6| .3 and |.1 - .6| .5 are sure; .5 (.1) and .65 (.05) are asked: .8 - .7 > 0, .1 - .7 < 0
    (test,) = found.folds
    assert dict(zip(test.test.presentation.tolist(), test.test.score.tolist(), strict=True)) == pytest.approx(
        {"test/live/0": 0.3, "test/live/1": 0.1, "test/print/0": -0.6, "test/print/1": -0.5}
    )
    assert found.rates.acer == 0
    time = found.decision.time_ns
    assert (time.all.mean, time.all.worst) == (6.0, 11.0)  # 1, 11, 11, 1
    assert (time.bona_fide.mean, time.species["print"].mean) == (6.0, 6.0)
    assert [member.asked for member in found.decision.members] == [1.0, 0.5]


def test_the_gain_is_over_the_member_that_is_best_on_development_and_paired() -> None:
    of = known(made.SMALL, made.LARGE)
    frozen = Development(of.folds, EER_AT_DEV).freeze(made.system("cascade", margin=0.15))
    gain = computed(frozen, of, HOW).decision.gain
    assert gain is not None
    # both are faultless on development, so the first is the best; on test it errs twice, the system never
    assert (gain.member, gain.member_acer, gain.change) == ("file 0", 0.5, -0.5)
    assert (gain.only_system_right, gain.only_member_right) == (2, 0)
    assert gain.p_value == 0.5  # two tosses: 2 / 2^2
    assert gain.interval is not None
    assert gain.interval.low == -1.0


def test_two_systems_against_each_other_by_hand() -> None:
    first = {
        "": [[0.9], [0.4], [0.6], [0.7]],
        "print": [[0.1], [0.8]],
        "replay": [[0.2], [0.2], [0.2], [0.6]],
    }
    second = {
        "": [[0.8], [0.7], [0.6], [0.9]],
        "print": [[0.1], [0.1]],
        "replay": [[0.6], [0.6], [0.2], [0.2]],
    }
    sides = []
    for threshold, test in ((0.5, first), (0.55, second)):
        frozen = made.system(count=1, frozen=(FrozenFold(threshold=threshold),))
        sides.append((frozen, fold_scores(frozen, made.members(made.fold(test, test)))))
    found = paired(*sides, confidence=0.95, seed=0)
    assert (found.apcer.before, found.apcer.after) == (0.5, 0.5)  # of print, then of replay
    assert (found.bpcer.before, found.bpcer.after, found.bpcer.change) == (0.25, 0.0, -0.25)
    assert (found.acer.before, found.acer.after) == (0.375, 0.25)
    # 2 replays are right with the first alone; 1 live, 1 print and 1 replay with the second alone
    assert (found.only_first_right, found.only_second_right, found.p_value) == (2, 3, 1.0)
    assert (found.presentations, found.unmatched) == (10, 0)
    back = paired(*reversed(sides), confidence=0.95, seed=0)
    for there, here in ((found.acer, back.acer), (found.apcer, back.apcer), (found.bpcer, back.bpcer)):
        assert there.change == -here.change
        assert there.interval is not None
        assert here.interval is not None
        assert (there.interval.low, there.interval.high) == (-here.interval.high, -here.interval.low)
        assert there.interval.low <= there.change <= there.interval.high
    same = paired(sides[0], sides[0], confidence=0.95, seed=0)
    assert same.acer.interval is not None
    assert (same.acer.change, same.acer.interval.low, same.acer.interval.high) == (0.0, 0.0, 0.0)


def test_two_systems_without_a_class_in_common_are_not_compared() -> None:
    of = known(made.SMALL)
    frozen = made.system(count=1, frozen=(FrozenFold(threshold=0.5),))
    (fold,) = fold_scores(frozen, of.folds)
    attacks = fold.test.rows(~fold.test.is_bona_fide)
    with pytest.raises(BadDataset, match="have no scored presentations in common for bona fide"):
        paired((frozen, [fold]), (frozen, [replace(fold, test=attacks)]), confidence=0.95, seed=0)


def test_attacks_may_cost_more_than_bona_fide() -> None:
    test = {"": [[0.9], [0.9]], "print": [[0.55], [0.1]]}
    of = known(made.fold(made.SMALL_DEV, test), made.LARGE)
    frozen = Development(of.folds, EER_AT_DEV).freeze(made.system("cascade", margin=0.1))
    time = computed(frozen, of, HOW).decision.time_ns
    assert (time.bona_fide.mean, time.species["print"].mean, time.all.mean) == (1.0, 6.0, 3.5)


def test_a_cascade_of_three_asks_the_third_only_where_the_second_is_unsure_too() -> None:
    system = made.system("cascade", 3, margin=0.15)
    frozen = FrozenFold(threshold=0.0, members=(0.5, 0.5, 0.5))
    scores = np.array([[0.9, 0.6, 0.6, 0.4], [0.1, 0.9, 0.6, 0.4], [0.1, 0.1, 0.9, 0.1]])[:, :, None]
    said = rules.decided(system, scores, frozen)
    assert said.asked.tolist() == [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert said.score == pytest.approx([0.4, 0.4, 0.4, -0.4])


# ---- Wald's test ----


def test_walds_bounds_by_hand() -> None:
    low, high = rules.wald_bounds(apcer=0.05, bpcer=0.05)
    assert (math.exp(low), math.exp(high)) == pytest.approx((1 / 19, 19))
    low, high = rules.wald_bounds(apcer=0.01, bpcer=0.1)
    assert (math.exp(low), math.exp(high)) == pytest.approx(
        (0.1 / 0.99, 90)
    )  # beta / (1 - alpha), (1 - beta) / alpha


def test_a_sequential_test_ends_at_a_bound_or_with_the_last_frame() -> None:
    scores = np.array(
        [
            [2.0, 1.0, 5.0],  # 2, then 3 > log 19 = 2.94: two frames
            [-1.0, -1.0, -1.0],  # -3 after three
            [1.0, -1.0, 1.0],  # never: the sum of all
            [1.0, np.nan, np.nan],  # one frame is all there is
        ]
    )
    score, used = rules.sequential(
        scores, Evidence(slope=1.0, offset=0.0), Frames(count=3, rule="sequential")
    )
    assert score.tolist() == [3.0, -3.0, 1.0, 1.0]
    assert used.tolist() == [2, 3, 3, 1]


def test_evidence_is_the_log_likelihood_ratio_of_normal_scores() -> None:
    rng = np.random.default_rng(1)
    real, fake = rng.normal(1, 1, 20_000), rng.normal(-1, 1, 20_000)  # its ratio is exp(2 x)
    found = evidence.fitted(np.concatenate([real, fake]), np.arange(40_000) < 20_000)
    assert found.slope == pytest.approx(2.0, abs=0.1)
    assert found.offset == pytest.approx(0.0, abs=0.05)


def test_evidence_does_not_depend_on_the_shares_of_the_classes() -> None:
    rng = np.random.default_rng(2)
    real, fake = rng.normal(1, 1, 4_000), rng.normal(-1, 1, 40_000)
    found = evidence.fitted(np.concatenate([real, fake]), np.arange(44_000) < 4_000)
    assert found.offset == pytest.approx(0.0, abs=0.1)


# ---- Frames ----


def test_frames_by_hand() -> None:
    scores = np.array([[0.1, 0.5, 0.9, 0.9], [0.2, 0.4, np.nan, np.nan], [np.nan] * 4])
    assert rules.over_frames(scores, "mean").tolist()[:2] == pytest.approx([0.6, 0.3])
    assert rules.over_frames(scores, "median").tolist()[:2] == pytest.approx([0.7, 0.3])
    assert rules.over_frames(scores, "vote", 0.5).tolist()[:2] == [0.75, 0.0]
    assert all(math.isnan(rules.over_frames(scores, rule)[2]) for rule in ("mean", "median", "vote"))


def test_four_frames_at_15_fps_wait_200_ms_whatever_the_network_costs() -> None:
    frames, nothing = np.array([4, 1]), np.zeros(2)
    assert costs.latency_ns(frames, 3e6, nothing, 15.0).tolist() == pytest.approx([203e6, 3e6])
    # a network that is slower than the camera is what is waited for
    assert costs.latency_ns(frames, 100e6, nothing, 15.0).tolist() == pytest.approx([400e6, 100e6])
    assert costs.latency_ns(frames, 3e6, np.array([12e6, 0.0]), 15.0)[0] == pytest.approx(215e6)


def test_frames_of_a_presentation_that_are_equal_are_worth_one() -> None:
    one = np.array(["", ""], dtype=np.object_)
    assert evidence.alike(np.array([[0.0, 0.0], [1.0, 1.0]]), one) == 1.0
    assert evidence.alike(np.array([[0.0, 1.0], [1.0, 0.0]]), one) == -1.0  # between 0, within 1/2
    assert evidence.alike(np.array([[0.0], [1.0]]), one) is None
    # what tells classes apart is no likeness of frames
    two = np.array(["", "", "print", "print"], dtype=np.object_)
    scores = np.array([[10.0, 11.0], [11.0, 10.0], [0.0, 1.0], [1.0, 0.0]])
    assert evidence.alike(scores, two) == -1.0


def test_more_frames_than_one_are_held_against_one_frame() -> None:
    dev = {"": [[0.9, 0.9], [0.7, 0.7]], "print": [[0.2, 0.1], [0.3, 0.1]]}
    test = {"": [[0.4, 1.0], [0.9, 0.9]], "print": [[0.1, 0.1], [0.8, 0.0]]}
    of = known(made.fold(dev, test))
    frozen = Development(of.folds, EER_AT_DEV).freeze(made.system(count=1, frames=Frames(count=2)))
    decision = computed(frozen, of, How(EER_AT_DEV, fps=10.0)).decision
    assert decision.gain is not None
    assert decision.gain.member == "file 0, one frame"
    assert (decision.gain.member_acer, decision.gain.change) == (0.5, -0.5)
    assert decision.frames.all.mean == 2
    assert decision.time_ns.all.mean == 2.0
    assert not isinstance(decision.latency_ns, Absent)
    assert decision.latency_ns.all.mean == pytest.approx(1e8 + 1.0)


# ---- Properties ----

SCORES = st.lists(st.floats(0, 1), min_size=4, max_size=24)


def two_files(first: list[float], second: list[float]) -> tuple[made.FoldFrames, made.FoldFrames]:
    """Both files on the same presentations, half of them bona fide; both splits have equal scores."""
    half = min(len(first), len(second)) // 2

    def classes(scores: list[float]) -> dict[str, list[list[float]]]:
        return {"": [[one] for one in scores[:half]], "print": [[one] for one in scores[half : 2 * half]]}

    return tuple(made.fold(classes(one), classes(one)) for one in (first, second))  # type: ignore[return-value]


def accepted(system: made.System, folds: tuple[made.FoldMembers, ...]) -> list[bool]:
    (scored,), (frozen,) = fold_scores(system, folds), system.frozen
    return (scored.test.score >= frozen.threshold).tolist()


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES)
def test_a_cascade_without_a_margin_is_the_small_file_and_with_an_infinite_one_the_large(
    first: list[float], second: list[float]
) -> None:
    files = two_files(first, second)
    both = made.members(*files)
    development = Development(both, EER_AT_DEV)
    try:
        never = development.freeze(made.system("cascade", margin=0.0))
        always = development.freeze(made.system("cascade", margin=math.inf))
    except BadDataset:  # a file whose scores are the wrong way round has no finite threshold
        return
    for system, file in ((never, files[0]), (always, files[1])):
        alone = made.members(file)
        single = Development(alone, EER_AT_DEV).freeze(made.system(count=1))
        assert accepted(system, both) == accepted(single, alone)


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES, st.sampled_from(("mean", "product", "logits")))
def test_a_fusion_with_weights_1_and_0_is_the_first_file(
    first: list[float], second: list[float], rule: str
) -> None:
    scores = np.array([first[:4], second[:4]])[:, :, None]
    fused = rules.fuse(scores, rule, (1.0, 0.0))
    expected = rules.logits(scores[0]) if rule == "logits" else scores[0]
    assert fused.tolist() == expected.tolist()
    members = (made.Member(file="a.onnx"), made.Member(file="b.onnx", weight=0.0))
    said = rules.decided(made.system(rule, members=members), scores, FrozenFold(threshold=0.0))
    assert said.asked.tolist() == [[1] * 4, [0] * 4]  # a file without weight costs nothing


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_fusions_stay_between_the_least_and_the_highest_score(scores: list[list[float]]) -> None:
    array = np.array(scores)
    for rule in ("mean", "maximum"):
        fused = rules.fuse(array, rule, (1.0,) * len(scores))
        assert np.all(fused >= array.min(axis=0) - 1e-12)
        assert np.all(fused <= array.max(axis=0) + 1e-12)


# ---- As data ----


def test_a_system_survives_toml_and_json_with_an_infinite_margin(tmp_path: Path) -> None:
    frozen = FrozenFold(threshold=0.1, members=(0.5, 0.25))
    system = made.system("cascade", margin=math.inf, frozen=(frozen,))
    write_system(system, tmp_path / "made.toml")
    assert read_system(tmp_path / "made.toml") == system
    text = json.dumps(system.model_dump(mode="json"), allow_nan=False)  # JSON has no infinity
    assert System.model_validate_json(text) == system


# ---- Choosing ----


def test_the_cheapest_that_is_near_enough_to_the_best_is_chosen() -> None:
    of = known(made.SMALL, made.LARGE)
    development = Development(of.folds, EER_AT_DEV)
    systems = tuple(search.margins(development, made.system("cascade", margin=0.0)))
    assert systems[0].margin == 0.0
    assert systems[-1].margin == math.inf
    candidates = search.tried(development, systems, of.time.each)
    assert [round(one.asked[1], 2) for one in candidates] == sorted(
        round(one.asked[1], 2) for one in candidates
    )
    assert search.chosen(candidates, search.Aim()) is candidates[0]  # faultless, and cheapest


def test_a_target_that_nothing_keeps_names_the_nearest() -> None:
    dev = {"": [[0.2], [0.9]], "print": [[0.8], [0.1]]}
    of = known(made.fold(dev, made.SMALL_TEST), made.fold(dev, made.LARGE_TEST))
    development = Development(of.folds, EER_AT_DEV)
    candidates = search.tried(development, [made.system()], of.time.each)
    with pytest.raises(UserError, match=r"nothing that was tried keeps acer <= 10 %.*the lowest is 50\.0 %"):
        search.chosen(candidates, search.Aim("acer", 0.1))


def test_at_a_limit_of_cost_the_lowest_error_is_chosen() -> None:
    dev = {"": [[0.9], [0.5]], "print": [[0.6], [0.1]]}  # the first file errs
    of = known(made.fold(dev, made.SMALL_TEST), made.LARGE)
    development = Development(of.folds, EER_AT_DEV)
    systems = tuple(search.margins(development, made.system("cascade", margin=0.0)))
    candidates = search.tried(development, systems, of.time.each)
    rich, poor = (search.chosen(candidates, search.Aim("cost", limit)) for limit in (11.0, 1.0))
    assert (rich.errors.acer, poor.errors.acer) == (0.0, 0.5)
    assert (poor.cost, poor.system.margin) == (1.0, 0.0)
    with pytest.raises(UserError, match=r"the cheapest takes 2\.00 times the limit"):
        search.chosen(candidates, search.Aim("cost", 0.5))


def test_thresholds_of_a_target_keep_it_on_development() -> None:
    dev = {"": [[0.9], [0.8], [0.3]], "print": [[0.1], [0.2], [0.85]], "replay": [[0.5], [0.1], [0.2]]}
    of = known(made.fold(dev, dev))
    rule = ThresholdRule("apcer", 0.05)
    frozen = Development(of.folds, rule).freeze(made.system(count=1))
    assert frozen.threshold_rule == "apcer<=5 %@dev"
    errors = Development(of.folds, rule).tried(frozen).errors
    assert (errors.apcer, errors.bpcer) == (0.0, pytest.approx(2 / 3))  # just above .85


# ---- Bad input ----


def test_members_of_other_frames_labels_and_folds_are_refused_in_one_sentence() -> None:
    other = made.fold(made.LARGE_DEV, {"": [[0.9], [0.8]], "print": [[0.1], [0.2], [0.3]]})
    with pytest.raises(BadDataset, match="file 0 and file 1 were scored on different frames"):
        made.members(made.SMALL, other)
    with pytest.raises(BadDataset, match="different folds"):
        made.members(made.SMALL, made.fold(made.LARGE_DEV, made.LARGE_TEST, "1"))
    no_dev = made.fold({}, made.LARGE_TEST)
    with pytest.raises(BadDataset, match="file 0 have no development split"):
        made.members(no_dev)


def test_frames_that_a_member_failed_on_are_left_out_for_all() -> None:
    test = {"": [[math.nan, 0.9], [0.5, 0.5]], "print": [[0.6, math.nan], [math.nan, math.nan]]}
    whole = {"": [[0.1, 0.2], [0.3, 0.4]], "print": [[0.5, 0.6], [0.7, 0.8]]}
    (fold,) = made.members(made.fold(whole, test), made.fold(whole, whole))
    assert fold.test.left_out == 4
    assert fold.test.count.tolist() == [1, 2, 1, 0]
    assert fold.test.scores[1, 0].tolist()[0] == 0.2  # the frame that is left has moved up


def test_weights_that_do_not_fit_are_refused() -> None:
    scores = np.array([[0.1], [0.2]])
    with pytest.raises(UserError, match="3 weights for 2 files"):
        rules.fuse(scores, "mean", (1, 1, 1))
    with pytest.raises(UserError, match="must not be negative"):
        rules.fuse(scores, "mean", (1, -1))


def test_scores_that_are_no_probabilities_are_not_fused() -> None:
    large = made.fold({"": [[2.0]], "print": [[1.0]]}, {"": [[2.0]], "print": [[1.0]]})
    with pytest.raises(UserError, match=r"scores of file 0 lie outside 0\.\.1"):
        check_probabilities(("file 0",), made.members(large))
    check_probabilities(("file 0",), made.members(made.SMALL))
