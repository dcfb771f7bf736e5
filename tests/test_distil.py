"""Teachers, what a student learns from them, and that none of it is left in the student."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_train
from hypothesis import given
from hypothesis import strategies as st

from swapbench import catalog
from swapbench.cards import read_card, write_card
from swapbench.commands import train as training
from swapbench.data.dataset import Dataset
from swapbench.errors import BadCard, NotValid, UnknownName, UserError
from swapbench.records import ModelCard, OutputMeaning, Preprocessing, Training
from swapbench.workshop.recipes.recipe import Distillation, TrainRecipe, read_recipe

stripes = test_train.stripes
tiny = test_train.tiny
Killed = test_train.Killed
RECIPES = Path(__file__).parents[1] / "models" / "recipes"
OFF = {"weight": 0.0, "bfloat16": False}
EVERY = {
    "weight": 0.5,
    "temperature": 2.0,
    "attention_weight": 1.0,
    "hint_weight": 1.0,
    "map_weight": 1.0,
    "bfloat16": False,
}
# a student without a map head, whose features have another size than the teacher's
THIN = (8, 8, *(16, 16, 8) * 5, *(16, 16, 12) * 7, 24, 24, 12, *(16, 16, 12) * 2, 32, 32)


def student(**distillation: Any) -> TrainRecipe:
    """MiniFASNet in small, taught by `tiny`; weights not named are the defaults of a recipe."""
    return tiny(
        name="thin",
        family="minifasnet",
        architecture={"channels": list(THIN), "size_px": 32, "classes": 2, "embedding": 16},
        map_weight=0.0,
        distillation={"teachers": {"tiny": 1.0}, **distillation},
    )


def plain() -> TrainRecipe:
    return student().model_copy(update={"distillation": None})


def test_the_distill_method_is_laid_over_a_network_and_every_weight_is_a_switch() -> None:
    recipe = read_recipe(RECIPES / "minifasnet_v2.toml", RECIPES / "methods" / "distill.toml")
    assert recipe.stem == "minifasnet_v2.distill"
    assert recipe.distillation is not None
    assert recipe.distillation.teachers == {"resnet18_map": 1.0}
    weights = ("weight", "attention_weight", "hint_weight", "map_weight")
    off = recipe.distillation.model_copy(update=dict.fromkeys(weights, 0.0))
    assert not off.on
    for name in weights:
        one = off.model_copy(update={name: 0.5})
        assert (one.on, one.spatial) == (True, name != "weight")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("teacher = 'x'", r"unknown key `teacher` in \[distillation\]; did you mean teachers\?"),
        ("weight = 1.5", r"distillation\.weight: Input should be less than or equal to 1"),
        ("views = -1", r"distillation\.views: Input should be greater than or equal to 0"),
        ("teachers = { a = 0.0 }", r"distillation\.teachers\.a: Input should be greater than 0"),
        ("temperature = 0", r"distillation\.temperature: Input should be greater than 0"),
    ],
)
def test_a_wrong_key_of_the_method_is_named_with_both_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(f"[distillation]\n{text}\n" + ("" if "teachers" in text else "teachers = { t = 1.0 }\n"))
    with pytest.raises(BadCard, match=rf"minifasnet_v2\.toml with .*m\.toml: {message}"):
        read_recipe(RECIPES / "minifasnet_v2.toml", path)


pytest.importorskip("torch")

# --------------------------------------------------------------------------------------------- losses by hand


@pytest.mark.slow
def test_soft_targets_by_hand_and_not_too_small_by_the_number_of_classes() -> None:
    import torch

    from swapbench.workshop.distil.distillation import soft_target_loss

    student_logits, target = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.75, 0.25]])
    # student (.5, .5): KL = .75 ln 1.5 + .25 ln .5 = .13081; times 16
    assert soft_target_loss(student_logits, target, 4.0).item() == pytest.approx(2.0930, abs=1e-4)
    two = soft_target_loss(student_logits.repeat(2, 1), target.repeat(2, 1), 4.0)
    assert two.item() == pytest.approx(2.0930, abs=1e-4)


@pytest.mark.slow
def test_attention_by_hand() -> None:
    import torch

    from swapbench.workshop.distil.distillation import attention_loss, energy

    features = torch.tensor([[[[3.0, 0.0]], [[1.0, 2.0]]]])  # two channels of 1x2 cells
    assert energy(features).tolist() == [[[[5.0, 2.0]]]]
    right, left = torch.tensor([[[[0.0, 7.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    assert attention_loss(left, right).item() == pytest.approx(2.0)  # nothing in common
    assert attention_loss(left, 100 * left).item() == pytest.approx(0.0)  # size does not matter
    # (1, 1)/sqrt 2 against (1, 0): (1 - .70711)^2 + .70711^2 = .58579; an equal pair halves the mean
    even = torch.tensor([[[[1.0, 1.0]]]])
    assert attention_loss(even, left).item() == pytest.approx(2 - math.sqrt(2))
    assert attention_loss(torch.cat([even, left]), torch.cat([left, left])).item() == pytest.approx(0.292893)
    # a finer teacher is smoothed onto the student's grid first
    fine = torch.tensor([[[[4.0, 4.0, 0.0, 0.0], [4.0, 4.0, 0.0, 0.0]]]])
    assert attention_loss(left, fine).item() < attention_loss(even, fine).item()


@pytest.mark.slow
def test_the_map_by_hand() -> None:
    import torch

    from swapbench.workshop.distil.distillation import map_loss

    # .75 against .5: .13081 as above; against itself 0
    teacher = torch.full((2, 1, 3, 3), 0.75)
    assert map_loss(torch.zeros(2, 1, 3, 3), teacher).item() == pytest.approx(0.13081, abs=1e-5)
    assert map_loss(torch.full((2, 1, 3, 3), math.log(3)), teacher).item() == pytest.approx(0, abs=1e-6)
    # of another size: equal cells stay equal
    assert map_loss(torch.full((2, 1, 2, 2), math.log(3)), teacher).item() == pytest.approx(0, abs=1e-6)
    sure = torch.ones(1, 1, 1, 1)
    assert math.isfinite(map_loss(torch.full((1, 1, 1, 1), -90.0), sure).item())


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(0, 1)), min_size=1, max_size=6))
def test_the_map_term_is_never_negative(cells: list[tuple[float, float]]) -> None:
    import torch

    from swapbench.workshop.distil.distillation import map_loss

    ours, theirs = (torch.tensor(one).view(1, 1, 1, -1) for one in zip(*cells, strict=True))
    assert map_loss(ours, theirs).item() >= -1e-6


def imitation(teachers: dict[str, float], **weights: float) -> Any:
    """The terms for a student with two channels on 2x2 cells, none of them from a real network."""
    import torch

    from swapbench.workshop.distil.distillation import Imitation

    made = Imitation.__new__(Imitation)
    torch.nn.Module.__init__(made)
    made.wanted = Distillation.model_validate({"teachers": teachers, "weight": 0.0, **weights})
    made.shares = list(teachers.values())
    made.map_head, made.regressors = None, None
    return made


@pytest.mark.slow
def test_several_teachers_are_the_mean_of_their_softened_probabilities() -> None:
    import torch

    from swapbench.workshop.distil.distillation import TeacherOutput

    made = imitation({"a": 0.75, "b": 0.25}, weight=1.0, temperature=2.0)
    # at T = 2 the teachers say bona fide with .5 and .9: the mean by shares is .6
    logits = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 2 * math.log(9)]])
    outputs = [TeacherOutput(of_teacher) for of_teacher in logits]
    found = made(torch.tensor([[0.0, 0.0]]), None, outputs)["soft_targets"].item()
    assert found == pytest.approx(4 * (0.6 * math.log(1.2) + 0.4 * math.log(0.8)), abs=1e-6)


@pytest.mark.slow
def test_maps_of_the_teachers_that_have_one_are_averaged() -> None:
    import torch

    from swapbench.workshop.distil.distillation import TeacherOutput
    from swapbench.workshop.nets import Taps

    made = imitation({"a": 0.2, "b": 0.6, "c": 0.2}, map_weight=1.0)
    logits, one = torch.zeros(1, 2), torch.ones(1, 1, 2, 2)
    maps = 0.9 * one, None, 0.6 * one
    outputs = [TeacherOutput(logits, map=of_teacher) for of_teacher in maps]
    taps = Taps(logits, torch.zeros(1, 4), torch.zeros(1, 2, 2, 2), 0 * one)
    # (.2 x .9 + .2 x .6) / .4 = .75
    assert made(logits, taps, outputs)["teacher_map"].item() == pytest.approx(0.13081, abs=1e-5)


@pytest.mark.slow
def test_the_hint_by_hand_goes_through_a_regressor() -> None:
    import torch

    from swapbench.workshop.distil.distillation import TeacherOutput
    from swapbench.workshop.nets import Taps

    made = imitation({"a": 1.0}, hint_weight=1.0)
    regressor = torch.nn.Conv2d(2, 3, 1)
    with torch.no_grad():
        regressor.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, :, None, None])
        regressor.bias.zero_()
    made.regressors = torch.nn.ModuleList([regressor])
    features = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    taps = Taps(torch.zeros(1, 2), torch.zeros(1, 4), features, None)
    theirs = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    found = made(taps.logits, taps, [TeacherOutput(taps.logits, features=theirs)])["hint"]
    assert found.item() == pytest.approx(3.0)  # 1 and 2 as they should be, 3 instead of 6: 9 / 3


@pytest.mark.slow
def test_the_terms_are_added_with_their_weights() -> None:
    import torch

    made = imitation({"a": 1.0}, weight=0.9, attention_weight=2.0, hint_weight=3.0, map_weight=4.0)
    terms = {name: torch.tensor(1.0) for name in ("soft_targets", "attention", "hint", "teacher_map")}
    assert made.added(torch.tensor(10.0), terms).item() == pytest.approx(1 + 0.9 + 2 + 3 + 4)
    assert made.added(torch.tensor(10.0), {}).item() == 10.0


# --------------------------------------------------------------------------------------------------- teachers


@pytest.fixture(scope="module")
def taught(stripes: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained teacher in it, `tiny`."""
    from swapbench.workshop.train.training import train

    folder = tmp_path_factory.mktemp("taught")
    train(tiny(), stripes, folder)
    return folder


def trained(recipe: TrainRecipe, stripes: Dataset, out: Path, taught: Path, **options: Any) -> ModelCard:
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    return train(recipe, stripes, out, TrainingSetup(teachers={"tiny": taught / "tiny.toml"}, **options))


@pytest.fixture(scope="module", params=[0, 2])
def uncut(
    request: pytest.FixtureRequest, stripes: Dataset, taught: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path]:
    """Views of a student that was trained without a stop, and its folder."""
    folder = tmp_path_factory.mktemp("uncut")
    trained(student(**EVERY, views=request.param), stripes, folder, taught)
    return request.param, folder


@pytest.mark.slow
@pytest.mark.parametrize("views", [0, 2])
def test_a_term_without_weight_changes_no_bit_and_one_with_weight_does(
    stripes: Dataset, tmp_path: Path, taught: Path, views: int
) -> None:
    def sha(name: str, recipe: TrainRecipe) -> str:
        return trained(recipe, stripes, tmp_path / name, taught, work=tmp_path / "work").checkpoint_sha256

    control = sha("plain", plain())
    assert sha("off", student(**OFF, views=views)) == control
    soft = sha("soft", student(weight=0.5, bfloat16=False, views=views))
    found = {control, soft}
    for weight in ("attention_weight", "hint_weight", "map_weight"):
        found.add(sha(weight, student(**OFF | {weight: 1.0}, views=views)))
    assert len(found) == 5


@pytest.mark.slow
def test_what_only_training_has_is_neither_in_the_checkpoint_nor_in_the_export(
    stripes: Dataset, tmp_path: Path, taught: Path
) -> None:
    from swapbench.workshop.nets import build, exportable
    from swapbench.workshop.nets.checkpoint import load_network, read_tensors

    recipe = student(**EVERY)
    card = trained(recipe, stripes, tmp_path, taught)
    alone = build(recipe.family, recipe.architecture).state_dict()
    assert read_tensors(tmp_path / card.checkpoint).keys() == alone.keys()
    network = load_network(card, tmp_path / "thin.toml")
    assert exportable(network).state_dict().keys() == alone.keys()
    sha = read_card(taught / "tiny.toml").checkpoint_sha256
    assert card.summary == f"for tests; distilled from tiny ({sha[:8]})"
    header = (tmp_path / "thin.curve.csv").read_text().splitlines()[0]
    assert header == (
        "epoch,size_px,loss,cross_entropy,soft_targets,attention,hint,teacher_map,dev_eer,dev_auc,dev_loss,seconds"
    )


@pytest.mark.slow
def test_a_student_with_a_map_of_its_own_is_taught_there(
    stripes: Dataset, tmp_path: Path, taught: Path
) -> None:
    from swapbench.workshop.distil.distillation import Imitation, open_teachers
    from swapbench.workshop.nets import build
    from swapbench.workshop.train.setup import CPU

    recipe = tiny(recipe="kd", distillation={"teachers": {"tiny": 1.0}, **OFF, "map_weight": 1.0})
    teachers = open_teachers(recipe, {"tiny": taught / "tiny.toml"}, CPU, bfloat16=False)
    network = build(recipe.family, recipe.architecture)
    assert not list(Imitation(recipe, teachers, network).parameters())
    assert len(list(Imitation(student(**EVERY), teachers, build_thin()).parameters())) == 4
    assert network.training is False  # looked at without moving its statistics


def build_thin() -> Any:
    from swapbench.workshop.nets import build

    return build("minifasnet", student().architecture)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["computing teacher outputs", "training thin", "epoch 1/3", "epoch 2/3"])
def test_a_killed_student_goes_on_and_ends_in_the_same_weights(
    stripes: Dataset, tmp_path: Path, taught: Path, moment: str, uncut: tuple[int, Path]
) -> None:
    views, whole = uncut
    recipe = student(**EVERY, views=views)
    calls = 0

    def say(line: str) -> None:
        if line.startswith(moment):
            raise Killed

    def progress(stage: str, done: float, total: float) -> None:
        nonlocal calls
        assert 0 < done <= total
        calls += stage == moment
        if calls == 3:  # in the second view, in the first epoch
            raise Killed

    cut = tmp_path / "cut"
    if moment.startswith("computing") and views == 0:
        trained(recipe, stripes, cut, taught, say=say, progress=progress)
        assert calls == 0  # fresh views: nothing is asked beforehand
        return
    with pytest.raises(Killed):
        trained(recipe, stripes, cut, taught, say=say, progress=progress)
    assert not (cut / "thin.toml").exists()
    lines: list[str] = []
    resumed = trained(recipe, stripes, cut, taught, say=lines.append)
    assert resumed.checkpoint_sha256 == read_card(whole / "thin.toml").checkpoint_sha256
    assert lines[0].startswith("resuming after epoch" if moment.startswith("epoch") else "epoch 1/3")
    curves = [(one / "thin.curve.csv").read_text().splitlines() for one in (whole, cut)]
    without_seconds = [[line.rpartition(",")[0] for line in curve] for curve in curves]
    assert without_seconds[0] == without_seconds[1]
    assert len(curves[0]) == 4


@pytest.mark.slow
def test_cached_outputs_are_those_for_the_very_pixels_that_the_student_sees(
    stripes: Dataset, tmp_path: Path, taught: Path
) -> None:
    import torch

    from swapbench.workshop.distil.distillation import open_teachers
    from swapbench.workshop.distil.teacher_cache import cached_outputs
    from swapbench.workshop.pipeline.batches import batches, chosen, cut
    from swapbench.workshop.pipeline.crops import decode
    from swapbench.workshop.train.setup import CPU

    recipe = student(**EVERY, views=3)
    teachers = open_teachers(recipe, {"tiny": taught / "tiny.toml"}, CPU, bfloat16=False)
    theirs = teachers[0].card.preprocessing
    regions = decode(stripes.samples("train"), [theirs], recipe.augmentation, tmp_path)
    asked: list[tuple[str, float, float]] = []

    def progress(*about: Any) -> None:
        asked.append(about)

    outputs = cached_outputs(teachers, recipe, regions, tmp_path, progress)
    assert asked[-1] == ("computing teacher outputs", 3 * 48, 3 * 48)
    assert outputs.seconds > 0
    random = np.random.default_rng(0)
    seen: set[tuple[int, int]] = set()
    for batch in batches(recipe, 0, regions, recipe.preprocessing, random, views=outputs.views):
        assert batch.views is not None
        assert batch.also == ()
        seen |= set(zip(batch.rows.tolist(), batch.views.tolist(), strict=True))
        # the student's own pixels here: its input is the teacher's
        draws = chosen(outputs.views, batch.views, batch.rows)
        pixels = batch.images.pixels(CPU)
        assert torch.equal(cut(regions, batch.rows, draws, theirs).pixels(CPU), pixels)
        (kept,) = outputs.of(batch.rows, batch.views, CPU)
        fresh = teachers[0].output(pixels)
        for part, value in fresh._asdict().items():
            tolerance = 2e-3 if part == "features" else 1e-5  # features are kept in half precision
            assert torch.allclose(getattr(kept, part).float(), value, rtol=tolerance, atol=tolerance), part
    assert {view for _, view in seen} == {0, 1, 2}
    # asked once, whatever the seed of the training; more views leave the first ones as they are
    before = len(asked)
    again = cached_outputs(teachers, recipe, regions, tmp_path, progress)
    assert len(asked) == before
    assert again.seconds == outputs.seconds
    more = cached_outputs(teachers, student(**EVERY, views=4), regions, tmp_path, progress)
    assert asked[before:][-1] == ("computing teacher outputs", 48, 48)
    assert more.views[2].jitters == outputs.views[2].jitters != more.views[3].jitters


@pytest.mark.slow
def test_teachers_of_another_size_channel_order_and_number_of_classes_teach(
    stripes: Dataset, tmp_path: Path, taught: Path
) -> None:
    import torch

    from swapbench.workshop.distil.distillation import as_two, open_teachers
    from swapbench.workshop.nets import build
    from swapbench.workshop.nets.checkpoint import save_checkpoint
    from swapbench.workshop.train.setup import CPU

    torch.manual_seed(0)
    architecture = {"stem": 4, "stages": [4, 4, 6, 8], "blocks": [1, 1, 1, 1], "classes": 3}
    network = build("resnet_map", architecture).eval()
    card = ModelCard(
        name="three",
        summary="attack, bona fide, another attack",
        family="resnet_map",
        architecture=architecture,
        checkpoint="three.safetensors",
        checkpoint_sha256=save_checkpoint(network, tmp_path / "three.safetensors", half=False),
        preprocessing=Preprocessing(width_px=48, height_px=40, crop_scale=1.2, channel_order="bgr"),
        output=OutputMeaning(kind="logits", bona_fide_index=1, classes=("print", "bona fide", "replay")),
    )
    write_card(card, tmp_path / "three.toml")
    recipe = student(**EVERY, views=2)
    assert recipe.distillation is not None
    both = {"tiny": 3.0, "three": 1.0}
    recipe = recipe.model_copy(
        update={"distillation": recipe.distillation.model_copy(update={"teachers": both})}
    )
    paths = {"tiny": taught / "tiny.toml", "three": tmp_path / "three.toml"}
    opened = open_teachers(recipe, paths, CPU, bfloat16=False)
    assert [(one.stem, one.share) for one in opened] == [("three", 0.25), ("tiny", 0.75)]
    pixels = torch.rand(2, 3, 40, 48) * 255
    output = opened[0].output(pixels)
    with torch.no_grad():
        taps = network.taps(pixels / 255)
    assert torch.allclose(output.logits, as_two(taps.logits, card.output), atol=1e-5)
    assert output.map is not None
    assert torch.allclose(output.map, torch.sigmoid(taps.map_logits), atol=1e-5)
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    lines: list[str] = []
    setup = TrainingSetup(teachers=paths, say=lines.append)
    made = train(recipe, stripes, tmp_path / "out", setup)
    assert (
        f"distilled from three ({card.checkpoint_sha256[:8]}), which was trained on unknown data"
        in made.summary
    )
    assert lines[0].startswith("the teacher three was trained on unknown data")


@pytest.mark.slow
def test_a_bgr_teacher_sees_the_same_colours_as_its_rgb_student(stripes: Dataset, tmp_path: Path) -> None:
    import torch

    from swapbench.workshop.pipeline.batches import batches
    from swapbench.workshop.pipeline.crops import decode
    from swapbench.workshop.train.setup import CPU

    recipe = tiny(augmentation={"colour": 0.5, "brightness": 0.3})
    rgb = recipe.preprocessing
    bgr = rgb.model_copy(update={"channel_order": "bgr"})
    regions = decode(stripes.samples("train"), [rgb, bgr], recipe.augmentation, tmp_path)
    for batch in batches(recipe, 0, regions, rgb, np.random.default_rng(0), also=[(bgr, ())]):
        pixels, other = batch.images.pixels(CPU), batch.also[0].pixels(CPU)
        assert torch.allclose(other.flip(1), pixels, atol=1e-3)
        assert not torch.allclose(other, pixels, atol=1)


# ----------------------------------------------------------------------------------- teachers that do not fit


def card_of(data: str, digest: str = "f" * 64) -> ModelCard:
    return ModelCard(
        name="t",
        summary="s",
        family="resnet_map",
        architecture={},
        checkpoint="t.safetensors",
        checkpoint_sha256="0" * 64,
        preprocessing=Preprocessing(width_px=32, height_px=32, crop_scale=1.2),
        output=OutputMeaning(kind="logits", bona_fide_index=1),
        training=Training(
            command="swapbench train t", seed=0, data=data, data_digest=digest, simulated_data=True
        ),
    )


def fold(name: str, protocol: str = "", number: str = "") -> Dataset:
    return Dataset(name, simulated=True, notice="", root=Path(), splits={}, protocol=protocol, fold=number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("A+B+D to C", fold("simulated", "A+B+C to D")),
        ("simulated", fold("simulated", "A+B+C to D")),
        ("O+C+I to M", fold("Idiap + MSU-MFSD to OULU-NPU", "I+M to O")),
        ("OULU-NPU protocol 1", fold("Idiap + MSU-MFSD to OULU-NPU", "I+M to O")),
        ("OULU-NPU protocol 3 fold 2", fold("OULU-NPU", "OULU-NPU protocol 3", "1")),
        ("OULU-NPU protocol 2", fold("OULU-NPU", "OULU-NPU protocol 1")),
    ],
)
def test_a_teacher_that_saw_the_students_test_conditions_is_refused(theirs: str, ours: Dataset) -> None:
    from swapbench.workshop.distil.distillation import training_data_difference

    message = f"the teacher t was trained on {theirs}, which contains the test conditions of "
    with pytest.raises(BadCard, match=re.escape(message)):
        training_data_difference(card_of(theirs), ours, "0" * 64)
    assert training_data_difference(card_of(theirs), ours, "f" * 64) == ""  # the very same files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("A+B to D", fold("simulated", "A+B+C to D")),
        ("A+B+C to D", fold("simulated")),
        ("simulated", fold("Idiap + MSU-MFSD to OULU-NPU", "I+M to O")),
        ("OULU-NPU protocol 1", fold("OULU-NPU", "OULU-NPU protocol 1")),  # other frames of the same videos
        ("CASIA-FASD", fold("OULU-NPU", "OULU-NPU protocol 1")),
    ],
)
def test_a_teacher_of_other_data_teaches_and_the_card_says_so(theirs: str, ours: Dataset) -> None:
    from swapbench.workshop.distil.distillation import training_data_difference

    found = training_data_difference(card_of(theirs), ours, "0" * 64)
    assert found == f"other data than the student's ({theirs})"


@pytest.mark.slow
def test_a_teacher_that_does_not_fit_is_refused_before_anything_is_computed(
    stripes: Dataset, tmp_path: Path, taught: Path
) -> None:
    from swapbench.workshop.nets.checkpoint import read_tensors, save_checkpoint

    card = read_card(taught / "tiny.toml")
    (tmp_path / card.checkpoint).write_bytes((taught / card.checkpoint).read_bytes())

    def refused(message: str, recipe: TrainRecipe, **changes: Any) -> None:
        write_card(card.model_copy(update=changes), tmp_path / "tiny.toml")
        with pytest.raises(BadCard, match=message):
            trained(recipe, stripes, tmp_path / "out", tmp_path)
        assert not (tmp_path / "out").exists()

    every = student(**EVERY)
    probabilities = OutputMeaning(kind="probabilities", bona_fide_index=1)
    refused("the outputs of a teacher must be logits, not probabilities", every, output=probabilities)
    wide = card.preprocessing.model_copy(update={"crop_scale": 2.7})
    refused("sees another part of the frame than the student: crop_scale is 2.7", every, preprocessing=wide)
    other = card.architecture | {"stages": [4, 4, 6, 10]}
    refused(r"card tiny: the checkpoint has other shapes: .*\[8", every, architecture=other)
    # two numbers an image have no place: another crop is no error for them
    write_card(card.model_copy(update={"preprocessing": wide}), tmp_path / "tiny.toml")
    trained(student(weight=0.5, bfloat16=False), stripes, tmp_path / "wide", tmp_path)
    # no map head: a student's own architecture as teacher
    made = trained(plain(), stripes, tmp_path / "thin", tmp_path)
    with pytest.raises(BadCard, match="map_weight needs a teacher with a map head, and thin has none"):
        trained_by(every, stripes, tmp_path / "out", tmp_path / "thin" / "thin.toml")
    # weights that are no numbers
    tensors = build_thin()
    tensors.load_state_dict(read_tensors(tmp_path / "thin" / made.checkpoint))
    tensors.prob.weight.data.fill_(float("nan"))
    sha = save_checkpoint(tensors, tmp_path / "thin" / made.checkpoint)
    write_card(made.model_copy(update={"checkpoint_sha256": sha}), tmp_path / "thin" / "thin.toml")
    for views in (0, 1):
        with pytest.raises(NotValid, match="the logits of the teacher thin are not finite"):
            trained_by(
                student(weight=0.5, views=views), stripes, tmp_path / "out", tmp_path / "thin" / "thin.toml"
            )


def trained_by(recipe: TrainRecipe, stripes: Dataset, out: Path, teacher: Path) -> ModelCard:
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    return train(recipe, stripes, out, TrainingSetup(teachers={"tiny": teacher}))


@pytest.mark.slow
def test_a_leave_one_out_student_is_not_taught_by_a_network_that_saw_the_domain(
    stripes: Dataset, tmp_path: Path, taught: Path
) -> None:
    # `tiny` was trained on all of stripes, so on domain B too
    one = {
        split: tuple(sample for sample in stripes.samples(split) if sample.domain == "A")
        for split in ("train", "dev")
    }
    target = dataclasses.replace(stripes, splits=one, protocol="A to B")
    with pytest.raises(BadCard, match="was trained on stripes, which contains the test conditions of A to B"):
        trained(student(weight=0.5), target, tmp_path, taught)
    assert not list(tmp_path.glob("*.toml"))


# ----------------------------------------------------------------------------------------------- command line


def train_by_name(tmp_path: Path, name: str, **options: Any) -> Path:
    def unheard(*_: Any) -> None:
        return

    request = training.TrainRequest(name, **options)
    return training.train(catalog.Folders(tmp_path), request, progress=unheard, say=unheard)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"teacher": ("resnet18_map",)},
            UserError,
            r"so --teacher has no effect.*Add a method, as in --recipe distill",
        ),
        (
            {"recipe": "distill", "teacher": ("resnet18",)},
            UnknownName,
            r"no teacher named 'resnet18'\. Did you mean resnet18_map",
        ),
        ({"recipe": "distil"}, UnknownName, r"no method named 'distil'\. Did you mean distill"),
    ],
)
def test_a_teacher_that_there_is_not_is_said_before_data_are_made(
    tmp_path: Path, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        train_by_name(tmp_path, "minifasnet_v2", **options)
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_teachers_of_the_command_line_take_the_place_of_the_recipes() -> None:
    recipe = student(weight=0.5).model_copy(update={"name": "s"})
    assert recipe.distillation is not None
    two = training.taught_by(recipe, ["other", "tiny"])
    assert two.distillation is not None
    assert two.distillation.teachers == {"other": 1.0, "tiny": 1.0}
    retaught = training.taught_by(recipe, ["other"]).distillation
    assert retaught.teachers == {"other": 1.0}  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_teacher_is_looked_for_beside_the_student_first(tmp_path: Path, taught: Path) -> None:
    folders = catalog.Folders(tmp_path)
    recipe = student(weight=0.5)
    with pytest.raises(UnknownName, match="no teacher named 'tiny'"):
        training.teacher_cards(recipe, folders, tmp_path / "out")
    assert training.teacher_cards(recipe, folders, taught) == {"tiny": taught / "tiny.toml"}
    assert training.teacher_cards(student(**OFF), folders, tmp_path) == {}
    builtin = training.taught_by(recipe, ["resnet18_map", str(taught / "tiny.toml")])
    found = training.teacher_cards(builtin, folders, tmp_path)
    assert found["resnet18_map"].is_file()
    assert found[str(taught / "tiny.toml")] == taught / "tiny.toml"
