"""Cards whose channel order or scale is wrong or not said, on scores that are known by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.bench import (
    CardCheck,
    CheckImages,
    FileUnderTest,
    card_check,
    check_card,
    chosen_rows,
    separation,
)
from swapbench.bench.trials import Trial, TrialBench
from swapbench.cards import read_card
from swapbench.data.samples import Sample
from swapbench.devices.local import Local
from swapbench.errors import EnvironmentFailed, WorkerFailed
from swapbench.ports import Outputs, OutputTensor
from swapbench.records import ModelCard, OutputMeaning, Plan, Preprocessing
from swapbench.runtimes.contract import PythonWorker
from swapbench.testing import Fake, FakeModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.testing import FakeConversation

PLAN = Plan(warmup_ns=0)
COUNT = 20
BONA_FIDE = np.arange(2 * COUNT) < COUNT
RISING = np.linspace(0.51, 0.9, COUNT)
PERFECT = np.concatenate([RISING, 1 - RISING])
INVERTED = 1 - PERFECT
CONSTANT = np.full(2 * COUNT, 0.3)
# bona fide and attack by turns: every attack lies just below a bona fide, so the AUC is (20 * 21 / 2) / 400
BY_TURNS = np.concatenate([np.arange(COUNT) + 0.5, np.arange(COUNT)]) / COUNT
STATED = {"channel_order": "rgb", "scale": 1 / 255}


def card(**preprocessing: Any) -> ModelCard:
    return ModelCard(
        name="net",
        summary="for tests",
        family="none",
        architecture={},
        checkpoint="",
        checkpoint_sha256="",
        preprocessing=Preprocessing(width_px=8, height_px=8, crop_scale=1.0, **preprocessing),
        output=OutputMeaning(kind="score"),
    )


def findings(
    of: ModelCard,
    own: Any,
    *,
    channels: Any = None,
    scale: Any = None,
    both: Any = None,
    bona_fide: Any = BONA_FIDE,
) -> CardCheck:
    """What follows from scores as the card says and with changed channel order, scale and both.

    Those that are not given are the card's.
    """
    ways = fed(of.preprocessing)
    scores = [own if one is None else one for one in (own, channels, scale, both)]
    scored = [
        way
        for (changed, trial), one in zip(ways.items(), scores, strict=True)
        for way in card_check.ways_to_read(
            of.output, changed, trial.preprocessing, outputs_of(one), bona_fide
        )
    ]
    return card_check.judge(of, scored, bona_fide)


def fed(preprocessing: Preprocessing) -> dict[tuple[str, ...], Trial]:
    """The card's own way, then channel order, scale and both changed."""
    no_pixels = CheckImages(np.zeros((2, 8, 8, 3), np.uint8), np.array([True, False]))
    ways = dict(card_check.ways_to_feed(preprocessing, no_pixels))
    return {changed: ways[changed] for changed in ((), ("channel_order",), ("scale",), card_check.STATED)}


def outputs_of(rows: Any, *tensors: OutputTensor) -> Outputs:
    """What a file gave: a number, or a row, for each image."""
    return Outputs(tuple(tuple(map(float, np.atleast_1d(row))) for row in rows), 1, 1, tensors)


def codes(found: CardCheck) -> list[str]:
    assert all(doubt.quantity == "accuracy" for doubt in found.doubts)
    return [doubt.code for doubt in found.doubts]


# ------------------------------------------------------------------------------------------ judging


def test_the_ways_change_one_field_each_and_then_both() -> None:
    ways = {
        changed: trial.preprocessing
        for changed, trial in fed(
            Preprocessing(width_px=8, height_px=8, crop_scale=1.0, mean=(0.5, 0.4, 0.3))
        ).items()
    }
    assert {changed: (way.channel_order, way.scale) for changed, way in ways.items()} == {
        (): ("rgb", 1 / 255),
        ("channel_order",): ("bgr", 1 / 255),
        ("scale",): ("rgb", 1.0),
        ("channel_order", "scale"): ("bgr", 1.0),
    }
    assert {way.mean for way in ways.values()} == {(0.5, 0.4, 0.3)}


@pytest.mark.parametrize(("scale", "other"), [(1.0, 1 / 255), (1 / 127.5, 2.0), (0.5, 0.5 / 255)])
def test_the_other_scale_is_the_one_with_or_without_the_division(scale: float, other: float) -> None:
    ways = fed(Preprocessing(width_px=8, height_px=8, crop_scale=1.0, scale=scale))
    assert ways["scale",].preprocessing.scale == pytest.approx(other)


def test_a_network_that_does_not_mind_raises_no_doubt_whatever_the_card_states() -> None:
    assert findings(card(), PERFECT) == findings(card(**STATED), PERFECT) == CardCheck()


def test_a_variation_that_separates_where_the_card_s_way_does_not_makes_the_card_suspect() -> None:
    found = findings(card(**STATED), BY_TURNS, channels=PERFECT)
    assert codes(found) == ["preprocessing_suspect"]
    (doubt,) = found.doubts
    # 210 of 400 pairs are in order; the p is that of 2000 draws and three comparisons: 3 / 2001
    assert doubt.message == (
        '40 crops separate better with channel_order = "bgr" (AUC 1.00) than with the card\'s'
        ' channel_order = "rgb" (AUC 0.53), p = 0.001'
    )
    assert doubt.remedy == 'Correct the card if the network was trained with channel_order = "bgr".'
    (silent,) = findings(card(scale=1 / 255), BY_TURNS, channels=PERFECT, scale=CONSTANT).doubts
    assert 'than with the default channel_order = "rgb"' in silent.message


def test_both_fields_are_named_only_where_both_are_needed() -> None:
    (one,) = findings(card(**STATED), BY_TURNS, scale=PERFECT, both=PERFECT).doubts
    assert one.remedy.endswith("the network was trained with scale = 1.0.")
    (two,) = findings(card(**STATED), BY_TURNS, both=PERFECT).doubts
    assert two.remedy.endswith('was trained with channel_order = "bgr" and scale = 1.0.')
    # the scale alone helps already: 4 attacks among the bona fide; the channels besides put all in order
    helps = PERFECT.copy()
    helps[COUNT : COUNT + 8] = 0.95
    (three,) = findings(card(**STATED), BY_TURNS, scale=helps, both=PERFECT).doubts
    assert three.remedy.endswith('was trained with channel_order = "bgr" and scale = 1.0.')


def test_a_gain_that_is_small_or_may_be_chance_is_no_doubt() -> None:
    nearly = PERFECT.copy()
    nearly[COUNT] = 0.7  # one attack above about half of the bona fide: AUC .975
    assert findings(card(**STATED), nearly, channels=PERFECT) == CardCheck()
    # 8 against 8: 7 + 6 + 5 + 1 of 64 pairs out of order against none is a gain of .30, which may be chance
    few = np.arange(16) < 8
    own = np.array([8, 7, 6, 5, 4, 3, 2, 1, 7.5, 6.5, 5.5, 1.5, 0.5, 0.4, 0.3, 0.2])
    other = np.array([9, 9, 9, 9, 9, 9, 9, 8.9, 0, 0, 0, 0, 0, 0, 0, 0.0])
    assert separation.separation(own, few) == 45 / 64
    assert separation.better_by_chance(own, other, few) > 0.01 / 3
    assert codes(findings(card(**STATED), own, channels=other, bona_fide=few)) == []


def test_a_variation_that_is_only_less_wrong_is_not_recommended() -> None:
    assert codes(findings(card(**STATED), BY_TURNS - 0.2 * BONA_FIDE, channels=BY_TURNS)) == []


@pytest.mark.parametrize(
    "ruined",
    [CONSTANT, INVERTED, PERFECT / 255, PERFECT * 255],
    ids=["constant", "inverted", "divided", "multiplied"],
)
def test_a_card_that_leaves_a_field_that_matters_to_its_default_is_told_to_state_it(ruined: Any) -> None:
    """Divided by 255 the scores keep their order and AUC but lie below the threshold; times 255 above it."""
    found = findings(card(channel_order="rgb"), PERFECT, scale=ruined, both=ruined)
    assert codes(found) == ["preprocessing_not_stated"]
    (doubt,) = found.doubts
    assert "the card does not state scale, and it matters" in doubt.message
    assert "on 40 crops is 0.0 % with the default scale = 0.0039" in doubt.message
    assert doubt.message.endswith(
        (" 50.0 % at the same threshold with scale = 1.0", " 100.0 % at the same threshold with scale = 1.0")
    )
    assert doubt.remedy.startswith("State channel_order and scale")
    assert findings(card(**STATED), PERFECT, scale=ruined, both=ruined) == CardCheck()


def test_each_field_is_judged_by_its_own_variation() -> None:
    found = findings(card(), PERFECT, channels=CONSTANT, scale=CONSTANT, both=CONSTANT)
    assert codes(found) == ["preprocessing_not_stated"] * 2
    assert "state channel_order" in found.doubts[0].message
    assert "state scale" in found.doubts[1].message
    only_both = findings(card(), PERFECT, both=CONSTANT)
    assert only_both == CardCheck()


def test_a_few_decisions_more_that_are_wrong_are_no_collapse() -> None:
    # 8 attacks of 20 cross: the error rises by .2, but 8 against 0 in McNemar's test is p = 2 / 256,
    # twice that by Holm
    crossed = PERFECT.copy()
    crossed[COUNT : COUNT + 8] = 0.95
    assert codes(findings(card(), PERFECT, channels=crossed, scale=PERFECT)) == []
    crossed[COUNT : COUNT + 9] = 0.95  # 2 * 2 / 512
    assert codes(findings(card(), PERFECT, channels=crossed)) == ["preprocessing_not_stated"]


def test_where_no_way_tells_the_classes_apart_there_is_a_remark_and_no_doubt() -> None:
    found = findings(card(), BY_TURNS, channels=CONSTANT, scale=CONSTANT, both=CONSTANT)
    assert found.doubts == ()
    assert "could not be checked" in found.remark
    # 2.576 standard deviations of sqrt(41 / (12 * 400)) above one half
    assert "(AUC 0.53, chance alone gives up to 0.74)" in found.remark


def test_answers_that_are_no_numbers_are_scores_that_tell_nothing() -> None:
    overflowed = np.full(2 * COUNT, np.nan)
    found = findings(card(), PERFECT, scale=overflowed, both=overflowed)
    assert codes(found) == ["preprocessing_not_stated"]
    assert codes(findings(card(**STATED), overflowed, channels=PERFECT)) == ["preprocessing_suspect"]


def test_a_card_file_that_leaves_fields_out_is_told_apart_from_one_that_writes_the_default(
    tmp_path: Path,
) -> None:
    text = (
        'name = "net"\nsummary = "s"\nfamily = "f"\ncheckpoint = "c"\n'
        'checkpoint_sha256 = "0"\n[architecture]\n'
        '[output]\nkind = "score"\n[preprocessing]\nwidth_px = 8\nheight_px = 8\ncrop_scale = 1.0\n'
    )
    (tmp_path / "silent.toml").write_text(text)
    (tmp_path / "plain.toml").write_text(text + 'channel_order = "rgb"\nscale = 0.00392156862745098\n')
    silent, plain = read_card(tmp_path / "silent.toml"), read_card(tmp_path / "plain.toml")
    assert silent == plain
    assert len(findings(silent, PERFECT, channels=CONSTANT, scale=CONSTANT).doubts) == 2
    assert findings(plain, PERFECT, channels=CONSTANT, scale=CONSTANT).doubts == ()


# ------------------------------------------------------------------------------------ the output of a card


def reading(of: ModelCard, rows: Any, *tensors: OutputTensor, other_scale: Any = None) -> CardCheck:
    """What follows from rows as the card says, and from others where the scale is changed."""
    ways = fed(of.preprocessing)
    given = {(): rows, ("scale",): rows if other_scale is None else other_scale}
    scored = [
        way
        for changed, one in given.items()
        for way in card_check.ways_to_read(
            of.output, changed, ways[changed].preprocessing, outputs_of(one, *tensors), BONA_FIDE
        )
    ]
    return card_check.judge(of, scored, BONA_FIDE)


def classes(**output: Any) -> ModelCard:
    return card(**STATED).replace(output=OutputMeaning(kind="logits", **output))


def test_the_wrong_one_of_two_classes_is_named_with_the_right_one_and_its_auc() -> None:
    rows = np.stack([np.zeros(2 * COUNT), PERFECT - 0.5], axis=1)
    (doubt,) = reading(classes(bona_fide_index=0), rows).doubts
    assert doubt.code == "output_suspect"
    assert doubt.message == (
        "40 crops separate better with bona_fide_index = 1 (AUC 1.00) than with the card's"
        " bona_fide_index = 0 (AUC 0.00), p = 0.0005"
    )
    assert doubt.remedy == "Correct the card if the network was trained with bona_fide_index = 1."
    assert reading(classes(bona_fide_index=1), rows).doubts == ()


def test_a_wrong_class_of_three_is_not_taken_for_a_wrong_scale() -> None:
    """Times 255 the wrong class says nothing any more, which is better than the contrary."""
    rows = np.stack([INVERTED, PERFECT, BY_TURNS * 0.1], axis=1)
    assert codes(reading(classes(bona_fide_index=0), rows, other_scale=rows * 0)) == ["output_suspect"]
    (doubt,) = reading(classes(bona_fide_index=2), rows, other_scale=rows * 255).doubts
    assert "with bona_fide_index = 1 (AUC 1.00)" in doubt.message
    assert reading(classes(bona_fide_index=1), rows, other_scale=rows * 0).doubts == ()


def test_a_wrong_scale_is_not_taken_for_a_wrong_class() -> None:
    noise = np.stack([BY_TURNS, -BY_TURNS], axis=1)
    right = np.stack([INVERTED, PERFECT], axis=1)
    assert codes(reading(classes(bona_fide_index=1), noise, other_scale=right)) == ["preprocessing_suspect"]


@pytest.mark.parametrize("kind", ["score", "sigmoid", "map"])
def test_the_wrong_direction_of_a_number_is_a_doubt(kind: str) -> None:
    rows = INVERTED if kind != "map" else np.stack([INVERTED, INVERTED], axis=1)
    of = card(**STATED).replace(output=OutputMeaning.model_validate({"kind": kind}))
    (doubt,) = reading(of, rows).doubts
    assert 'better with higher_is = "attack" (AUC 1.00) than with the default' in doubt.message
    right = of.replace(output=of.output.replace(higher_is="attack"))
    assert reading(right, rows).doubts == ()


def test_another_output_that_separates_is_named() -> None:
    rows = 4 * np.stack([BY_TURNS, INVERTED, PERFECT], axis=1)
    tensors = (OutputTensor("depth", (1, 1)), OutputTensor("logits", (1, 2)))
    of = card(**STATED).replace(output=OutputMeaning(kind="score"))
    (doubt,) = reading(of, rows, *tensors).doubts
    assert doubt.code == "output_suspect"
    assert 'with name = "logits" and kind = "logits" and bona_fide_index = 1 (AUC 1.00)' in doubt.message
    named = of.replace(output=OutputMeaning(name="logits", kind="logits", bona_fide_index=1))
    assert reading(named, rows, *tensors).doubts == ()


def test_another_crop_must_separate_much_better_to_be_a_doubt() -> None:
    of = card(**STATED)
    other = of.preprocessing.replace(crop_scale=2.7)
    slightly = PERFECT.copy()
    slightly[COUNT : COUNT + 2] = 0.95  # two attacks above all bona fide: AUC .9

    def found(own: Any, wide: Any) -> CardCheck:
        given = [((), of.preprocessing, own), (("crop_scale",), other, wide)]
        scored = [
            way
            for changed, preprocessing, rows in given
            for way in card_check.ways_to_read(of.output, changed, preprocessing, outputs_of(rows), BONA_FIDE)
        ]
        return card_check.judge(of, scored, BONA_FIDE)

    (doubt,) = found(BY_TURNS, PERFECT).doubts
    assert doubt.code == "preprocessing_suspect"
    assert (
        "with crop_scale = 2.7 (AUC 1.00) than with the card's crop_scale = 1.0 (AUC 0.53)" in doubt.message
    )
    assert found(slightly, PERFECT) == CardCheck()


def test_a_normalisation_that_was_forgotten_is_named() -> None:
    of = card(**STATED)
    usual = of.preprocessing.replace(mean=(0.5,) * 3, std=(0.5,) * 3)
    scored = [
        *card_check.ways_to_read(of.output, (), of.preprocessing, outputs_of(BY_TURNS), BONA_FIDE),
        *card_check.ways_to_read(of.output, ("mean", "std"), usual, outputs_of(PERFECT), BONA_FIDE),
    ]
    (doubt,) = card_check.judge(of, scored, BONA_FIDE).doubts
    assert doubt.code == "preprocessing_suspect"
    assert "with mean = [0.5, 0.5, 0.5] and std = [0.5, 0.5, 0.5] (AUC 1.00)" in doubt.message


def test_other_crops_that_are_the_same_pixels_are_not_scored() -> None:
    own = card(**STATED).preprocessing
    crops = np.zeros((2, 8, 8, 3), np.uint8)
    others = {own.replace(crop_scale=2.7): crops, own.replace(border="black"): crops + 1}
    ways = card_check.ways_to_feed(own, CheckImages(crops, np.array([True, False]), others))
    assert [changed for changed, _ in ways][-1] == ("border",)
    assert len(ways) == 7  # own, scale, order, both, -1..1, ImageNet's, border
    gray = own.replace(channel_order="gray", mean=0.0, std=1.0)
    alone = card_check.ways_to_feed(gray, CheckImages(crops[..., :1], np.array([True, False])))
    assert [changed for changed, _ in alone] == [(), ("scale",), ("mean", "std")]


# ------------------------------------------------------------------------------------ the test by permutation


def test_swapping_by_coins_gives_the_p_of_all_swaps() -> None:
    labels = np.array([True, True, False, False])
    right = np.array([0.9, 0.8, 0.2, 0.1])
    # of the 16 ways to swap, only the one that swaps nothing gains as much as 1 - 0
    assert separation.better_by_chance(1 - right, right, labels, draws=4000) == pytest.approx(
        1 / 16, abs=0.015
    )
    assert separation.better_by_chance(right, right, labels) == 1.0
    assert separation.better_by_chance(right, 1 - right, labels) == 1.0


def test_two_ways_that_are_equally_good_seldom_differ() -> None:
    dice = np.random.default_rng(7)
    hits = 0
    for _ in range(150):
        common = dice.normal(BONA_FIDE * 1.0, 1)
        one, other = (common + dice.normal(0, 0.7, common.size) for _ in range(2))
        hits += separation.better_by_chance(one, other, BONA_FIDE, draws=99) <= 0.05
    assert hits <= 15  # 7.5 are due; 16 and more come in 4 of 1000 such tests


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6), st.lists(st.floats(-5, 5), min_size=6, max_size=6))
def test_the_test_looks_at_ranks_alone(one: list[float], other: list[float]) -> None:
    labels = np.array([True, False] * 3)
    first, second = np.array(one), np.array(other)
    p = separation.better_by_chance(first, second, labels, draws=20)
    assert 1 / 21 <= p <= 1
    assert separation.better_by_chance(first * 2, second * 8, labels, draws=20) == p


# ------------------------------------------------------------------------------------------ choosing crops


def sample(presentation: str, *, real: bool) -> Sample:
    return Sample(
        presentation,
        Path(presentation),
        0,
        "s",
        "bona_fide" if real else "attack",
        "" if real else "print",
        "",
        "",
        "",
        "dev",
        "",
        None,
        presentation,
    )


def test_one_frame_of_each_presentation_is_chosen_and_none_that_failed() -> None:
    samples = [sample(f"video {row // 3}", real=row < 9) for row in range(18)]
    assert chosen_rows(samples, {0, 3, 4, 5}).tolist() == [1, 6, 9, 12, 15]
    assert chosen_rows([], set()).tolist() == []


@given(st.lists(st.booleans(), max_size=300), st.sets(st.integers(0, 299)))
def test_at_most_48_of_a_class_are_chosen_and_spread_over_all(labels: list[bool], failures: set[int]) -> None:
    samples = [sample(str(row), real=real) for row, real in enumerate(labels)]
    rows = chosen_rows(samples, failures)
    assert not set(rows.tolist()) & failures
    assert rows.tolist() == sorted(set(rows.tolist()))
    for wanted in (True, False):
        there = [row for row, real in enumerate(labels) if real == wanted and row not in failures]
        taken = [row for row in rows.tolist() if labels[row] == wanted]
        assert len(taken) == min(48, len(there))
        assert taken[:1] == there[:1]
        between = np.diff([there.index(row) for row in taken])
        assert len(between) == 0 or between.max() <= len(there) // len(taken) + 1


# ------------------------------------------------------------------------------------------ measuring


class Answering(Fake):
    """A worker that gives the mean red value of every crop times the scale that it was told."""

    def start(self, argv: Sequence[str]) -> FakeConversation:
        told = {flag: value for flag, value in itertools.pairwise(argv) if flag.startswith("--")}
        crops = np.load(told["--samples"])
        scale = json.loads(told["--normalise"])["scale"]
        rows = tuple((float(crop[..., 0].mean() * scale),) for crop in crops)
        self.models = {told["--artifact"]: FakeModel(rows=rows[: len(rows) - self.lost])}
        return super().start(argv)

    def push(self, path: Path) -> str:
        return str(path)

    lost = 0


def file(**options: str) -> FileUnderTest:
    given = {"samples": "elsewhere.npy", "normalise": "{}", "provider": "p", **options}
    return FileUnderTest("net", "net.onnx", PythonWorker("fake", ("onnx",), "fake", python="python"), given)


def test_ways_of_one_arithmetic_share_a_worker_and_leave_nothing_behind(tmp_path: Path) -> None:
    crops = np.zeros((3, 8, 8, 3), np.uint8)
    crops[...] = [255, 0, 51]
    device = Answering({})
    ways = card_check.ways_to_feed(card(**STATED).preprocessing, CheckImages(crops, np.arange(3) < 1))
    found = TrialBench(device, PLAN, tmp_path / "new").outputs(file(), [trial for _, trial in ways])
    rows = {changed: one.rows for (changed, _), one in zip(ways, found, strict=True)}
    assert set(rows) == {(), ("channel_order",), ("scale",), ("channel_order", "scale"), ("mean", "std")}
    assert {changed: len(one) for changed, one in rows.items()} == dict.fromkeys(rows, 3)
    assert rows[()][0] == pytest.approx((1.0,))
    assert rows["channel_order",][0] == pytest.approx((0.2,))
    assert rows["scale",][0] == pytest.approx((255.0,))
    assert rows["channel_order", "scale"][0] == pytest.approx((51.0,))
    assert len(device.asked) == 4  # two scales, -1..1, ImageNet's
    assert all(argv[argv.index("--provider") + 1] == "p" for argv in device.asked)
    assert device.open_workers == 0
    assert list((tmp_path / "new").iterdir()) == []


def test_a_worker_that_fails_or_loses_answers_is_an_error_and_of_the_check_a_remark(tmp_path: Path) -> None:
    crops = np.zeros((2 * COUNT, 8, 8, 3), np.uint8)
    own = card().preprocessing
    both = [Trial(own, crops), Trial(own.replace(channel_order="bgr"), crops[..., ::-1])]
    short = Answering({})
    short.lost = 1
    with pytest.raises(WorkerFailed, match="net gave 79 outputs for 80 crops"):
        TrialBench(short, PLAN, tmp_path).outputs(file(), both)
    dead = Fake({})
    with pytest.raises(WorkerFailed, match=r"there is no model file net\.onnx"):
        TrialBench(dead, PLAN, tmp_path).outputs(file(), both)
    found = check_card(file(), card(), CheckImages(crops, BONA_FIDE), TrialBench(dead, PLAN, tmp_path))
    assert found.doubts == ()
    assert found.remark == "The card was not checked: there is no model file net.onnx"
    assert list(tmp_path.iterdir()) == []


def test_outputs_of_another_shape_than_the_card_says_are_a_remark(tmp_path: Path) -> None:
    crops = np.zeros((2 * COUNT, 8, 8, 3), np.uint8)
    other = card().model_copy(update={"output": OutputMeaning(kind="logits", bona_fide_index=1)})
    found = check_card(
        file(), other, CheckImages(crops, BONA_FIDE), TrialBench(Answering({}), PLAN, tmp_path)
    )
    assert found.doubts == ()
    assert "the network returns 1 numbers per image" in found.remark


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailed, match="could not be written"):
        TrialBench(Answering({}), PLAN, tmp_path / "file").outputs(
            file(), [Trial(card().preprocessing, np.zeros((1, 8, 8, 3), np.uint8))]
        )


def test_few_crops_are_not_scored_at_all(tmp_path: Path) -> None:
    device = Answering({})
    labels = np.arange(30) < 7
    images = CheckImages(np.zeros((30, 8, 8, 3), np.uint8), labels)
    found = check_card(file(), card(), images, TrialBench(device, PLAN, tmp_path))
    assert found == CardCheck(
        remark="The card was not checked: the development split has"
        " only 7 usable presentations of a class, 8 are needed."
    )
    assert device.asked == []


# ------------------------------------------------------------------------------ a real file and a real worker


@pytest.fixture
def red_minus_blue(tmp_path: Path) -> FileUnderTest:
    """A file whose score is the mean of channel 0 less that of channel 2, 4 deep in a sigmoid."""
    from onnx import helper
    from tiny_files import onnx_bytes

    from swapbench.runtimes.ort import OnnxRuntime

    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["y"]),
    ]
    weights = {"w": np.array([[20], [0], [-20]], np.float32), "b": np.array([-4], np.float32)}
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_bytes(nodes, weights))
    return FileUnderTest("m", str(path), OnnxRuntime(), {})


def test_a_real_file_that_looks_at_red_less_blue_is_found_out(
    tmp_path: Path, red_minus_blue: FileUnderTest
) -> None:
    dice = np.random.default_rng(1)
    crops = dice.integers(90, 110, (2 * COUNT, 8, 8, 3), dtype=np.uint8)
    # bona fide are redder by about 100 / 255, attacks by 25 / 255: scores about sigmoid(4) and sigmoid(-2)
    crops[BONA_FIDE, :, :, 0] += 100
    crops[~BONA_FIDE, :, :, 0] += 25

    def check(of: ModelCard) -> CardCheck:
        own = np.ascontiguousarray(crops if of.preprocessing.channel_order == "rgb" else crops[..., ::-1])
        return check_card(
            red_minus_blue, of, CheckImages(own, BONA_FIDE), TrialBench(Local(), PLAN, tmp_path / "temporary")
        )

    assert check(card(**STATED)) == CardCheck()
    silent = check(card())
    assert (
        codes(silent) == ["preprocessing_not_stated"] * 2
    )  # swapped all are rejected, times 255 all accepted
    (wrong,) = check(card(channel_order="bgr", scale=1 / 255)).doubts
    # a network that looks at red less blue is turned round by the other order: nothing tells the two apart
    assert wrong.code == "output_suspect"
    assert wrong.message.startswith(
        '40 crops separate better with higher_is = "attack" (AUC 1.00) than with the default'
        ' higher_is = "bona_fide" (AUC 0.00)'
    )
    assert wrong.message.endswith('; so they do with channel_order = "rgb" (AUC 1.00)')
    assert list((tmp_path / "temporary").iterdir()) == []
