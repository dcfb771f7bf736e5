import csv
import dataclasses
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from dataset_trees import oulu_tree
from dataset_trees import tiny as tiny_video
from PIL import Image
from tiny_videos import cut, frame_of, level, spread_over, video

from swapbench.cards import read_card
from swapbench.data import facebox
from swapbench.data.dataset import Dataset
from swapbench.data.frames import Frame, read_frames
from swapbench.data.manifests import COLUMNS
from swapbench.data.preprocess import cropped, load_crop
from swapbench.data.protocol import open_data
from swapbench.data.samples import Annotation, Sample
from swapbench.errors import BadCard, BadDataset, NotValid
from swapbench.records import Border, OutputMeaning, Preprocessing
from swapbench.workshop.pipeline.crops import Jitter, balanced_order, decode, draw_jitter, jittered
from swapbench.workshop.recipes.recipe import Augmentation, Phase, TrainRecipe, read_recipe

if TYPE_CHECKING:
    from swapbench.workshop.train.loop import TrainingRun

RECIPES = Path(__file__).parents[1] / "models" / "recipes"
NONE = Augmentation(scale=0, shift=0, flip=0, brightness=0, contrast=0, colour=0)
INPUT = Preprocessing(width_px=32, height_px=32, crop_scale=1.2)


def tiny(**changes: Any) -> TrainRecipe:
    recipe = TrainRecipe(
        name="tiny",
        summary="for tests",
        family="resnet_map",
        architecture={"stem": 4, "stages": [4, 4, 6, 8], "blocks": [1, 1, 1, 1]},
        preprocessing=INPUT,
        output=OutputMeaning(kind="logits", bona_fide_index=1, classes=("attack", "bona fide")),
        phases=(Phase(size_px=32, epochs=3, batch=8),),
        learning_rate=0.01,
        map_weight=0.5,
        augmentation=Augmentation(scale=0.05, shift=0.02),
        seed=4,
    )
    return TrainRecipe.model_validate(recipe.model_dump() | changes)


def run_of(
    recipe: TrainRecipe, dataset: Dataset, work: Path, *, choose_epoch: bool = True, **execution: Any
) -> "TrainingRun":
    """A training that says nothing."""
    from swapbench.workshop.train.loop import TrainingRun
    from swapbench.workshop.train.setup import Execution

    how = Execution(**{"seed": 4, "work": work} | execution)
    return TrainingRun(recipe, dataset, "", how, choose_epoch=choose_epoch)


@pytest.fixture(scope="session")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset of noise in which attacks carry faint stripes."""
    folder = tmp_path_factory.mktemp("stripes")
    random = np.random.default_rng(0)
    (folder / "dataset.json").write_text(json.dumps({"name": "stripes", "simulated": True}))
    for split, count in (("train", 48), ("dev", 16)):
        rows = []
        for number in range(count):
            attack = number % 2 == 1
            pixels = random.normal(128, 25, (48, 56, 3))
            if attack:
                pixels[:, ::4] += 70
            name = f"{split}-{number}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
            about = {"path": name, "frame": "0", "subject": f"{split}{number}", "split": split}
            about |= {"label": "attack" if attack else "bona_fide", "species": "print" if attack else ""}
            about |= {
                "domain": "AB"[number // 2 % 2],
                "box_x": "14",
                "box_y": "10",
                "box_w": "24",
                "box_h": "26",
            }
            rows.append(dict.fromkeys(COLUMNS, "") | about)
        with (folder / f"manifest-{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    return Dataset.load(folder, ("train", "dev"))


def test_a_wrong_recipe_is_named_with_its_field(tmp_path: Path) -> None:
    text = (RECIPES / "minifasnet_v2.toml").read_text()
    path = tmp_path / "r.toml"
    path.write_text(text.replace("learning_rate = ", "learning_rate = -"))
    with pytest.raises(BadCard, match=r"r.toml: learning_rate: Input should be greater than 0"):
        read_recipe(path)
    path.write_text(text.replace("width_px = 80", "width_px = 64"))
    with pytest.raises(BadCard, match="needs a square input"):
        read_recipe(path)
    path.write_text("name = ")
    with pytest.raises(BadCard, match="is not TOML"):
        read_recipe(path)
    with pytest.raises(BadCard, match="cannot read the recipe"):
        read_recipe(tmp_path / "none.toml")


def test_the_phase_of_an_epoch_and_the_file_name() -> None:
    phases = ({"size_px": 16, "epochs": 2, "batch": 4}, {"size_px": 32, "epochs": 3, "batch": 8})
    recipe = tiny(phases=phases, recipe="kd")
    assert [recipe.phase(epoch).size_px for epoch in range(recipe.epochs)] == [16, 16, 32, 32, 32]
    assert recipe.stem == "tiny.kd"
    with pytest.raises(IndexError):
        recipe.phase(5)
    with pytest.raises(ValueError, match="the last phase must train at the deployed size"):
        tiny(phases=phases[:1])


def test_a_jittered_crop_by_hand() -> None:
    limits = (0, 0, 100, 100)
    assert jittered((20, 30, 60, 70), Jitter(), limits) == (20, 30, 60, 70)
    # half the side about the centre (40, 50); then moved by a quarter of the old side
    assert jittered((20, 30, 60, 70), Jitter(0.5, 0.25, -0.25), limits) == (40, 30, 60, 50)
    # moved out of the limits: shifted back; too large for them: as large as they are
    assert jittered((20, 30, 60, 70), Jitter(1.0, 2.0, 0.0), limits) == (60, 30, 100, 70)
    assert jittered((20, 30, 60, 70), Jitter(3.0), limits) == (0, 0, 100, 100)


def test_a_view_without_jitter_is_the_deployed_crop_and_a_flip_mirrors_it(
    stripes: Dataset, tmp_path: Path
) -> None:
    samples = stripes.samples("dev")
    for resize in ("antialias", "bilinear"):
        preprocessing = INPUT.model_copy(update={"resize": resize, "channel_order": "bgr"})
        regions = decode(samples, [preprocessing], Augmentation(), tmp_path)
        for index in (0, 7):
            deployed = load_crop(samples[index].path, samples[index].box, preprocessing)
            assert np.array_equal(regions.view(index, preprocessing, Jitter()), deployed)
            assert np.array_equal(regions.view(index, preprocessing, Jitter(flip=True)), deployed[:, ::-1])


@pytest.mark.parametrize("border", get_args(Border))
@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_a_view_at_the_edge_of_the_frame_is_the_deployed_crop_too(
    tmp_path: Path, border: Border, fit: str
) -> None:
    path = tmp_path / "noise.png"
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    box = (40.0, 2.0, 20.0, 26.0)
    samples = [frame_of(path, box=box), frame_of(path, label="attack", box=box)]
    changes = {"border": border, "fit": fit, "keep_box_aspect": True, "crop_scale": 1.8}
    preprocessing = INPUT.model_copy(update=changes)
    regions = decode(samples, [preprocessing], Augmentation(), tmp_path / "work")
    deployed = load_crop(path, box, preprocessing)
    assert np.array_equal(regions.view(0, preprocessing, Jitter()), deployed)
    moved = regions.view(0, preprocessing, Jitter(1.1, 0.1, -0.1))
    assert moved.shape == deployed.shape
    assert not np.array_equal(moved, deployed)


def test_decoding_twice_reads_the_file_and_a_broken_image_is_named(stripes: Dataset, tmp_path: Path) -> None:
    samples = stripes.samples("dev")
    decode(samples, [INPUT], Augmentation(), tmp_path / "work")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    decode(samples, [INPUT], Augmentation(), tmp_path / "work", threads=2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()} == written
    assert len(written) == 2
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no")
    bad = Sample(
        "b/broken.jpg", broken, 0, "x", "attack", "print", "A", "", "", "dev", "", None, "b/broken.jpg"
    )
    with pytest.raises(BadDataset, match=r"1 of 17 images cannot be read: b/broken.jpg"):
        decode([*samples, bad], [INPUT], Augmentation(), tmp_path / "work")
    assert len(list((tmp_path / "work").iterdir())) == 2


def labelled(folder: Path, **about: Any) -> list[Sample]:
    """Three frames of a bona fide video and three of an attack, in another order than in the files."""
    live, attack = video(folder / "live.avi", stripe=True), video(folder / "print.avi", stripe=True)
    return [
        *[frame_of(live, number, **about) for number in (9, 3, 0)],
        *spread_over(attack, 3, label="attack", **about),  # frames 3, 10 and 16
    ]


def test_training_on_videos_cuts_the_frames_that_are_deployed(tmp_path: Path) -> None:
    samples = labelled(tmp_path, box=(16, 12, 20, 20))
    regions = decode(samples, [INPUT], Augmentation(), tmp_path / "work", threads=2)
    assert list(regions.samples) == samples
    frames = {
        found.number: found.image
        for _, found in read_frames([frame_of(samples[0].path, number) for number in (0, 3, 9)])
        if isinstance(found, Frame)
    }
    for index, number in enumerate((9, 3, 0)):
        deployed = cropped(frames[number], (16, 12, 20, 20), INPUT)
        assert np.array_equal(regions.view(index, INPUT, Jitter()), deployed)
    shown = [level(Image.fromarray(regions.view(index, INPUT, Jitter()))) for index in range(6)]
    assert shown == [9, 3, 0, 3, 10, 16]
    assert regions.left_out == ()


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that finds the same box in all frames but those that are (nearly) black."""

    def stand_in(image: Image.Image) -> tuple[float, float, float, float] | None:
        return (20, 10, 24, 24) if level(image) else None

    monkeypatch.setattr(facebox, "detect", stand_in)


def test_frames_without_a_face_are_left_out_of_training_and_counted(tmp_path: Path, searched: None) -> None:
    samples = labelled(tmp_path)
    for _ in ("decoded", "from disk"):
        regions = decode(samples, [INPUT], Augmentation(), tmp_path / "work")
        assert list(regions.samples) == [*samples[:2], *samples[3:]]
        (reason,) = regions.left_out
        assert reason.startswith("live.avi: no face found by dlib ")
        shown = [level(Image.fromarray(regions.view(index, INPUT, Jitter()))) for index in range(5)]
        assert shown == [9, 3, 3, 10, 16]


def test_a_teacher_with_whole_frames_sees_the_same_frames_as_its_student(
    tmp_path: Path, searched: None
) -> None:
    samples = labelled(tmp_path)
    whole = INPUT.model_copy(update={"face_box": "frame"})
    regions = decode(samples, [INPUT, whole], Augmentation(), tmp_path / "work")
    assert len(regions.samples) == 5
    (frame,) = (found for _, found in read_frames([frame_of(samples[0].path, 9)]))
    assert isinstance(frame, Frame)
    assert np.array_equal(regions.view(0, whole, Jitter()), cropped(frame.image, None, whole))
    assert np.array_equal(regions.view(0, INPUT, Jitter()), cropped(frame.image, (20, 10, 24, 24), INPUT))


def test_a_class_without_any_face_cannot_be_trained(tmp_path: Path, searched: None) -> None:
    samples = [one for one in labelled(tmp_path) if not one.bona_fide or one.frame == 0]
    with pytest.raises(
        BadDataset, match=r"no bona_fide frame has a face: 1 of 4 have none, live.avi: no face"
    ):
        decode(samples, [INPUT], Augmentation(), tmp_path / "work")


def test_a_truncated_video_cannot_be_trained_on(tmp_path: Path) -> None:
    samples = labelled(tmp_path, box=(16, 12, 20, 20))
    cut(samples[3].path, 12)
    with pytest.raises(
        BadDataset, match=r"1 of 6 images cannot be read: print.avi: truncated or damaged: 12 of 20"
    ):
        decode(samples, [INPUT], Augmentation(), tmp_path / "work")
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def test_an_epoch_is_half_bona_fide_and_every_attack_group_counts_alike() -> None:
    def sample(label: str, domain: str, species: str = "") -> Sample:
        return Sample("n", Path("n"), 0, "s", label, species, domain, "", "", "train", "", None, "n")  # type: ignore[arg-type]

    samples = [
        *[sample("bona_fide", "A") for _ in range(10)],
        *[sample("attack", "A", "print") for _ in range(30)],
        *[sample("attack", "A", "replay") for _ in range(6)],
        *[sample("attack", "B", "print") for _ in range(14)],
    ]
    order = balanced_order(samples, np.random.default_rng(0))
    assert len(order) == 60
    chosen = [(samples[row].label, samples[row].domain, samples[row].species) for row in order]
    assert chosen.count(("bona_fide", "A", "")) == 30
    assert {
        chosen.count(("attack", *group)) for group in (("A", "print"), ("A", "replay"), ("B", "print"))
    } == {10}
    assert np.bincount(order, minlength=60)[:10].tolist() == [3] * 10
    assert not np.array_equal(order, balanced_order(samples, np.random.default_rng(1)))


def test_jitter_stays_within_the_recipe() -> None:
    random = np.random.default_rng(0)
    draws = [draw_jitter(Augmentation(scale=0.2, shift=0.1, flip=0.5), random) for _ in range(300)]
    assert 0.8 <= min(draw.scale for draw in draws) < 0.85
    assert 1.15 < max(draw.scale for draw in draws) <= 1.2
    assert max(abs(draw.shift_x) for draw in draws) <= 0.1
    assert 100 < sum(draw.flip for draw in draws) < 200
    assert draw_jitter(NONE, random) == Jitter()


@pytest.mark.slow
def test_training_finds_the_stripes_and_leaves_a_card_that_says_how(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.nets.checkpoint import load_network
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    lines: list[str] = []
    recipe = tiny(
        phases=[{"size_px": 16, "epochs": 2, "batch": 8}, {"size_px": 32, "epochs": 10, "batch": 8}]
    )
    setup = TrainingSetup(seed=7, work=tmp_path / "work", say=lines.append)
    card = train(recipe, stripes, tmp_path / "models", setup)
    assert card == read_card(tmp_path / "models" / "tiny.toml")
    assert card.training is not None
    assert card.training.command == "swapbench train tiny --seed 7"
    assert card.training.seed == 7
    assert card.training.simulated_data
    assert card.training.data_digest == stripes.digest()
    assert card.training.dev_results["eer"] <= 0.125
    assert card.training.dev_results["auc"] > 0.9
    assert card.training.dev_results["epoch"] >= 3  # the best is looked for at the deployed size only
    assert set(card.training.packages) >= {"torch", "pillow"}
    assert len(lines) == 12
    assert "16 px" in lines[0]
    assert "32 px" in lines[2]
    assert load_network(card, tmp_path / "models" / "tiny.toml") is not None
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "tiny.curve.csv",
        "tiny.safetensors",
        "tiny.toml",
    ]
    assert not list((tmp_path / "work").glob("*.state.pt"))
    curve = list(csv.DictReader((tmp_path / "models" / "tiny.curve.csv").read_text().splitlines()))
    assert [row["epoch"] for row in curve] == [str(number) for number in range(1, 13)]
    assert [row["size_px"] for row in curve] == ["16"] * 2 + ["32"] * 10
    best = curve[int(card.training.dev_results["epoch"]) - 1]
    assert float(best["dev_eer"]) == card.training.dev_results["eer"]  # float32 here and there
    for row in curve:  # map_weight is .5
        mixed = 0.5 * float(row["cross_entropy"]) + 0.5 * float(row["map"])
        assert float(row["loss"]) == pytest.approx(mixed, abs=2e-6)
    assert float(curve[-1]["seconds"]) == card.training.seconds


class Killed(Exception):
    pass


@pytest.mark.slow
def test_early_exits_train_together_and_ship_as_parts(stripes: Dataset, tmp_path: Path) -> None:
    import torch

    from swapbench.modelfile import read_graph
    from swapbench.records import Parity, Reads, Variant
    from swapbench.workshop.artifacts import Built
    from swapbench.workshop.artifacts.child import run_job
    from swapbench.workshop.artifacts.exporting import ExportJob
    from swapbench.workshop.artifacts.files import cached
    from swapbench.workshop.nets.checkpoint import load_network
    from swapbench.workshop.train.training import train

    recipe = tiny(recipe="early_exit", early_exit={"after": [1, 3], "width": 8})
    card = train(recipe, stripes, tmp_path)
    curve = (tmp_path / "tiny.early_exit.curve.csv").read_text()
    assert curve.splitlines()[0].startswith("epoch,size_px,loss,cross_entropy,map,exit_1,exit_2,")
    paths = [tmp_path / f"tiny.early_exit_{number}.toml" for number in (1, 2, 3)]
    parts = [read_card(path) for path in paths]
    assert [part.reads for part in parts] == [
        None,
        Reads(card="tiny.early_exit_1"),
        Reads(card="tiny.early_exit_2"),
    ]
    assert {part.checkpoint_sha256 for part in parts} == {card.checkpoint_sha256}
    # one part after the other says what the whole says
    x = images = torch.randn(2, 3, 32, 32)
    for part, path in zip(parts, paths, strict=True):
        said = load_network(part, path)(x)
        logits, x = said if isinstance(said, tuple) else (said, x)
    whole = load_network(card, tmp_path / "tiny.early_exit.toml")
    assert torch.equal(logits, whole(images))
    crops = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8)
    np.save(tmp_path / "crops.npy", crops)
    np.save(tmp_path / "bona_fide.npy", np.arange(8) % 2 == 0)
    macs = []
    for file_format, taken in (("onnx", (1, 4, 8, 8)), ("tflite", (1, 8, 8, 4))):
        variant = Variant(net="tiny", recipe="early_exit_2", precision="fp32", format=file_format)
        job = ExportJob(
            card=parts[1],
            card_path=str(paths[1]),
            variants=(variant,),
            crops=str(tmp_path / "crops.npy"),
            bona_fide=str(tmp_path / "bona_fide.npy"),
            data_digest="",
            cache_dir=str(tmp_path / "cache"),
            threads=1,
        )
        run_job(job, lambda _: None)
        built = cached(parts[1], variant, tmp_path / "cache", "")
        assert isinstance(built, Built)
        assert isinstance(built.parity, Parity)
        assert built.parity.samples == 8  # compared with the network on the maps that the first part makes
        graph = read_graph(built.path)
        assert graph.inputs[0].shape == taken
        assert [tensor.name for tensor in graph.outputs] == ["logits", "features"]
        macs.append(graph.macs)
    assert macs[0] == macs[1]


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_in_the_same_weights(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    whole = train(tiny(), stripes, tmp_path / "whole")
    heard: list[str] = []

    def die_after_two(line: str) -> None:
        heard.append(line)
        if len(heard) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(tiny(), stripes, tmp_path / "cut", TrainingSetup(say=die_after_two))
    assert not (tmp_path / "cut" / "tiny.toml").exists()
    resumed = train(tiny(), stripes, tmp_path / "cut", TrainingSetup(say=heard.append))
    assert heard[2] == "resuming after epoch 2 of 3"
    assert len(heard) == 4
    assert resumed.checkpoint_sha256 == whole.checkpoint_sha256
    curves = [(tmp_path / one / "tiny.curve.csv").read_text().splitlines() for one in ("whole", "cut")]
    assert [[line.rpartition(",")[0] for line in one] for one in curves][1:] == [
        [line.rpartition(",")[0] for line in curves[0]]
    ]
    assert len(curves[1]) == 4
    other = train(tiny(), stripes, tmp_path / "other", TrainingSetup(seed=5))
    assert other.checkpoint_sha256 != whole.checkpoint_sha256


@pytest.mark.slow
def test_the_loop_computes_what_a_plain_loop_does(stripes: Dataset, tmp_path: Path) -> None:
    """Whatever else the loop can do, on a CPU its weights are those of a few lines of PyTorch, to the bit."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    from swapbench.workshop.nets import build
    from swapbench.workshop.pipeline.batches import batches, normalised
    from swapbench.workshop.train.setup import CPU
    from swapbench.workshop.train.state import Learner

    recipe = tiny(weight_decay=0.1, label_smoothing=0.1, warmup_epochs=0.0)
    size = recipe.preprocessing
    regions = decode(stripes.samples("train"), [size], recipe.augmentation, tmp_path)
    seen: list[float] = []
    run = run_of(recipe, stripes, tmp_path)
    torch.manual_seed(0)
    ours = build(recipe.family, recipe.architecture)
    learner = Learner.of(recipe, ours)
    for epoch in range(3):
        run.learn(epoch, learner, regions, on_step=seen.append)
    assert seen == pytest.approx([step / 6 for step in range(1, 7)] * 3)

    torch.manual_seed(0)
    plain = build(recipe.family, recipe.architecture).train()
    kernels = [one for one in plain.parameters() if one.dim() > 1]
    vectors = [one for one in plain.parameters() if one.dim() == 1]
    groups = [{"params": kernels, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=0.01)
    for epoch in range(3):
        for step, batch in enumerate(
            batches(recipe, epoch, regions, size, np.random.default_rng([4, epoch]))
        ):
            for group in optimiser.param_groups:
                group["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * (epoch + step / 6) / 3))
            optimiser.zero_grad()
            taps = plain.taps(normalised(batch.images.pixels(CPU), size))
            target = batch.bona_fide.float()[:, None, None, None].expand_as(taps.map_logits)
            logits = taps.logits[:, [0]].logsumexp(1), taps.logits[:, 1]  # as two classes
            labels = cross_entropy(torch.stack(logits, 1), batch.bona_fide, label_smoothing=0.1)
            loss = 0.5 * labels + 0.5 * binary_cross_entropy_with_logits(taps.map_logits, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 5.0)
            optimiser.step()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name]), name


@pytest.mark.slow
def test_progress_tells_the_work_that_is_left_also_after_a_kill(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    recipe = tiny(
        phases=[{"size_px": 16, "epochs": 1, "batch": 8}, {"size_px": 32, "epochs": 2, "batch": 24}]
    )
    heard: list[tuple[str, float, float]] = []
    lines: list[str] = []

    def die(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            raise Killed

    def progress(*about: Any) -> None:
        heard.append(about)

    with pytest.raises(Killed):
        train(recipe, stripes, tmp_path, TrainingSetup(say=die, progress=progress))
    # an epoch counts as much as its pixels: 256 in 6 steps, then 1024 in 2
    total = 256 + 2 * 1024
    assert [done for _, done, _ in heard] == pytest.approx([256 / 6 * k for k in range(1, 7)] + [768, 1280])
    assert {(stage, all_) for stage, _, all_ in heard} == {("training tiny", total)}
    assert lines[0].startswith("epoch 1/3 16 px: loss ")
    assert lines[0].endswith("s left")
    heard.clear()
    train(recipe, stripes, tmp_path, TrainingSetup(progress=progress))
    assert [about[1:] for about in heard] == [(512, 1024), (1024, 1024)]


@pytest.mark.slow
def test_what_is_finished_is_not_trained_again_where_only_missing_things_are_wanted(
    stripes: Dataset, tmp_path: Path
) -> None:
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    out, lines = tmp_path / "models", list[str]()

    def again(recipe: TrainRecipe, **options: Any) -> bool:
        lines.clear()
        setup = TrainingSetup(work=tmp_path / "work", say=lines.append, missing=True, **options)
        train(recipe, stripes, out, setup)
        return any(line.startswith("epoch") for line in lines)

    assert again(tiny())
    before = (out / "tiny.toml").read_bytes()
    assert not again(tiny())
    assert lines == [
        f"{out / 'tiny.toml'} exists already: the same recipe, data and seed were trained before"
    ]
    assert (out / "tiny.toml").read_bytes() == before
    assert again(tiny(), seed=9)  # another seed
    assert again(tiny())  # the card is that of seed 9 now
    assert again(tiny(learning_rate=0.02))
    assert again(tiny())
    (out / "tiny.safetensors").write_bytes(b"")
    assert again(tiny())
    (out / "tiny.toml").unlink()
    assert again(tiny())
    train(tiny(), stripes, out, TrainingSetup(work=tmp_path / "work", say=lines.append))
    assert lines[-1].startswith("epoch 3/3")  # unless told, it is trained anew


@pytest.mark.slow
def test_weights_of_another_architecture_are_a_clear_error(stripes: Dataset, tmp_path: Path) -> None:
    import torch

    from swapbench.workshop.train.setup import Start
    from swapbench.workshop.train.training import train

    with pytest.raises(BadCard, match="recipe tiny: the initial weights do not fit the architecture: "):
        train(tiny(), stripes, tmp_path, start=Start({"conv1.weight": torch.zeros(8, 3, 7, 7)}))
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.slow
def test_a_step_keeps_every_tensor_on_the_device_of_the_run(stripes: Dataset, tmp_path: Path) -> None:
    """Without a GPU: PyTorch's device without memory refuses tensors of the CPU as a GPU does."""
    import torch

    from swapbench.workshop.distil.distillation import Imitation, Teacher, TeacherOutput
    from swapbench.workshop.nets import build
    from swapbench.workshop.pipeline.batches import Batch, Images
    from swapbench.workshop.train.state import Learner

    every = dict.fromkeys(("weight", "attention_weight", "hint_weight", "map_weight"), 0.5)
    recipe = tiny(distillation={"teachers": {"t": 1.0}, **every})
    card = read_card(Path(__file__).parents[1] / "models" / "resnet18_map.toml")
    meta, cpu = torch.device("meta"), torch.device("cpu")
    with meta:
        network = build(recipe.family, recipe.architecture)
        teacher = Teacher(card, build(card.family, card.architecture), 1.0, meta)
        learner = Learner.of(recipe, network, Imitation(recipe, [teacher], network))
        output = TeacherOutput(torch.zeros(8, 2), *(torch.zeros(8, c, 14, 14) for c in (1, 1, 256)))
    run = run_of(recipe, stripes, tmp_path, seed=0, device=meta)
    labels = torch.zeros(8, dtype=torch.long)
    images = Images(np.zeros((8, 32, 32, 3), np.uint8), np.ones((8, 3), np.float32), np.ones(8, np.float32))
    batch = Batch(np.arange(8), images, labels, labels)
    loss, terms = run.loss(learner, batch, recipe.preprocessing, [output])
    assert {one.device for one in (loss, *terms.values())} == {meta}
    assert len(terms) == 6
    for part, value in output._asdict().items():
        wrong = output._replace(**{part: torch.zeros(value.shape, device=cpu)})
        with pytest.raises(RuntimeError, match="device"):
            run.loss(learner, batch, recipe.preprocessing, [wrong])


@pytest.mark.slow
def test_a_damaged_state_is_a_clear_error(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    def die(line: str) -> None:
        raise Killed(line)

    with pytest.raises(Killed):
        train(tiny(), stripes, tmp_path, TrainingSetup(say=die))
    state = next((tmp_path / ".training").glob("*.state.pt"))
    state.write_bytes(state.read_bytes()[:2000])
    with pytest.raises(NotValid, match=r"is damaged\. Delete it"):
        train(tiny(), stripes, tmp_path)


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(
    stripes: Dataset, tmp_path: Path
) -> None:
    import torch

    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    heard: list[str] = []

    def poison(line: str) -> None:
        heard.append(line)
        state_path = next((tmp_path / ".training").glob("*.state.pt"))
        state = torch.load(state_path, weights_only=True)
        state["network"]["fc.weight"].fill_(float("nan"))
        torch.save(state, state_path)
        raise Killed

    with pytest.raises(Killed):
        train(tiny(), stripes, tmp_path, TrainingSetup(say=poison))
    with pytest.raises(
        NotValid,
        match=r"the loss became nan in epoch 2, step 1 \(cross_entropy\)\. Lower .* is in .*state\.pt",
    ):
        train(tiny(), stripes, tmp_path)
    assert len(list((tmp_path / ".training").glob("*.state.pt"))) == 1
    assert not (tmp_path / "tiny.toml").exists()


@pytest.mark.slow
def test_a_student_learns_from_a_teacher_card_in_the_same_folder(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.train.training import train

    train(tiny(), stripes, tmp_path)
    distil = {"teachers": {"tiny": 1.0}, "weight": 0.9, "temperature": 4.0}
    student = train(tiny(recipe="kd", distillation=distil, map_weight=0.0), stripes, tmp_path)
    assert student.recipe == "kd"
    assert (tmp_path / "tiny.kd.safetensors").is_file()
    with pytest.raises(BadCard, match="cannot read the card"):
        train(tiny(distillation=distil | {"teachers": {"nobody": 1.0}}), stripes, tmp_path)


@pytest.mark.slow
def test_three_classes_become_two_without_changing_the_score() -> None:
    import torch

    from swapbench.workshop.distil.distillation import as_two

    logits = torch.tensor([[0.3, 1.2, -0.4], [2.0, 0.1, 0.2]])
    two = as_two(logits, OutputMeaning(kind="logits", bona_fide_index=1))
    assert torch.allclose(torch.softmax(two, 1)[:, 1], torch.softmax(logits, 1)[:, 1])


@pytest.mark.slow
def test_colours_change_each_image_alone_and_stay_in_range() -> None:
    import torch

    from swapbench.workshop.pipeline.batches import recoloured

    pixels = torch.tensor([100.0, 200.0]).view(1, 1, 1, 2).expand(2, 3, 1, 2)
    same = recoloured(pixels, torch.ones(2, 3), torch.ones(2))
    assert torch.equal(same, pixels)
    changed = recoloured(pixels, torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]), torch.tensor([0.5, 1.0]))
    assert changed[0, 0, 0].tolist() == [125.0, 175.0]  # half the distance from the mean of 150
    assert changed[1, 0, 0].tolist() == [200.0, 255.0]


@pytest.mark.slow
def test_a_map_weight_needs_a_map_head(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.nets.minifasnet import V2
    from swapbench.workshop.train.training import train

    thin = {"channels": [max(count // 8, 2) for count in V2], "classes": 2, "size_px": 32}
    with pytest.raises(BadCard, match="map_weight needs a network with a map head"):
        train(tiny(family="minifasnet", architecture=thin), stripes, tmp_path)


@pytest.mark.slow
def test_a_fold_of_videos_trains_and_a_frame_without_a_face_is_left_out(tmp_path: Path) -> None:
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    root = oulu_tree(tmp_path / "OULU-NPU", people=2, phones=(1, 2), fill=tiny_video)
    (fold,) = open_data(root, protocol="1", frames_per_video=2, splits=("train", "dev"))

    def with_boxes(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """A box for every frame but the first, which says that nobody is there."""
        boxed = [dataclasses.replace(one, box=(8.0, 6.0, 24.0, 24.0)) for one in samples[1:]]
        nobody = tmp_path / f"{samples[0].split}.face"
        nobody.write_text("0 0 0 0 0\n")
        return (dataclasses.replace(samples[0], annotation=Annotation(nobody, "replay")), *boxed)

    fold = dataclasses.replace(
        fold, splits={split: with_boxes(samples) for split, samples in fold.splits.items()}
    )
    lines: list[str] = []
    recipe = tiny(phases=(Phase(size_px=32, epochs=1, batch=8),))
    card = train(recipe, fold, tmp_path, TrainingSetup(say=lines.append))
    assert "1 training frames have no face" in lines[0]
    assert card.training is not None
    assert card.training.data == "OULU-NPU protocol 1"
    assert 0 <= card.training.dev_results["eer"] <= 1


@pytest.mark.slow
def test_the_commit_says_changed_of_code_and_recipes_and_not_of_what_a_training_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swapbench.workshop.train import training as train

    code = tmp_path / "swapbench" / "workshop" / "train" / "training.py"
    recipe = tmp_path / "models" / "recipes" / "tiny.toml"
    checkpoint = tmp_path / "models" / "tiny.safetensors"
    for path in (code, recipe, checkpoint):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("one\n", encoding="utf-8")
    monkeypatch.setattr(train, "__file__", str(code))

    def git(*asked: str) -> str:
        who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *who, *asked], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    git("add", "models")
    git("commit", "--quiet", "-m", "somebody's own repository, which only holds an installed swapbench")
    assert train._commit() == ""
    git("add", ".")
    git("commit", "--quiet", "-m", "all")
    checkpoint.write_text("two\n", encoding="utf-8")
    (tmp_path / "models" / "tiny.curve.csv").write_text("new\n", encoding="utf-8")
    assert train._commit() == git("rev-parse", "HEAD")
    recipe.write_text("two\n", encoding="utf-8")
    assert train._commit() == git("rev-parse", "HEAD") + "+changed"
