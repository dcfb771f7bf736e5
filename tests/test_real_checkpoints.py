"""Two networks of others (minivision-ai/Silent-Face-Anti-Spoofing, Apache-2.0), as a user brings them.

Card files -> crops -> PyTorch, exported files and their scoring workers, on the three sample images of that
project. Its README shows image_T1.jpg as a live face, image_F1.jpg and image_F2.jpg as fake ones. Its tool
adds the softmax outputs of both networks, each on its own crop of the face, and says "live" where class 1 of
the sum is the largest.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import PRETRAINED, skip_without

from swapbench import bench
from swapbench.cards import read_card
from swapbench.data.preprocess import prepare
from swapbench.data.samples import Sample
from swapbench.devices.local import Local
from swapbench.errors import BadCard
from swapbench.pad.agreement import TOLERANCES
from swapbench.ports import Outputs
from swapbench.records import FORMATS, PRECISIONS, Format, Plan, Precision, Variant
from swapbench.runtimes.litert import LiteRT
from swapbench.runtimes.ort import OnnxRuntime
from swapbench.workshop.artifacts import Built, DevCrops, Failed, build

torch = pytest.importorskip("torch")

from swapbench.files import file_sha256  # noqa: E402
from swapbench.workshop.export.outputs import network_outputs  # noqa: E402 - torch must be there first
from swapbench.workshop.nets.checkpoint import load_network, read_tensors  # noqa: E402
from swapbench.workshop.nets.minifasnet import V1, V2  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from swapbench.data.samples import Box
    from swapbench.records import ModelCard, Preprocessing

    Cards = dict[Path, ModelCard]
    Made = dict[Variant, Built | Failed]
    Probabilities = NDArray[np.float64]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PRETRAINED.is_dir(),
        reason="the checkpoints of minivision-ai/Silent-Face-Anti-Spoofing are not in "
        "shared/pretrained/minivision beside the repository",
    ),
]

CARD = """
name = "{name}"
summary = "minivision-ai/Silent-Face-Anti-Spoofing"
family = "minifasnet"
checkpoint = "{checkpoint}"
checkpoint_sha256 = "{sha256}"

[architecture]
channels = {channels}
squeeze = {squeeze}

[preprocessing]
width_px = 80
height_px = 80
crop_scale = {crop_scale}
keep_box_aspect = true
resize = "bilinear"
channel_order = "bgr"
scale = 1.0

[output]
kind = "logits"
bona_fide_index = 1
classes = ["2D attack", "bona fide", "3D attack"]
"""
# The files were saved from a network wrapped for several GPUs. Releases of the 4.0 network differ in how they
# name its squeeze-and-excitation layers.
RENAME_KEYS = r"""
[rename_keys]
'^module\.' = ""
'\.se_(fc|bn)' = '.se_module.\1'
"""

LIVE = {"image_T1.jpg": True, "image_F1.jpg": False, "image_F2.jpg": False}
# Drawn by hand, forehead to chin.
HAND_BOXES = {
    "image_T1.jpg": (120, 100, 245, 250),
    "image_F1.jpg": (195, 110, 190, 230),
    "image_F2.jpg": (125, 180, 230, 320),
}
# (2D attack, bona fide, 3D attack): half the sum of both networks for the boxes that MTCNN finds.
# The README shows verdicts only.
WITH_MTCNN = {
    "image_T1.jpg": (0.0, 1.0, 0.0),
    "image_F1.jpg": (0.06, 0.21, 0.73),
    "image_F2.jpg": (0.0, 0.0, 1.0),
}
KINDS = [(precision, kind) for kind in FORMATS for precision in PRECISIONS]
# as much as another box moves it, and a third of what would turn a verdict
MOST_MOVED_BY_INT8 = 0.1


def write_cards(folder: Path, *, rename: bool = True) -> list[Path]:
    """The two cards as a person would write them, beside nothing: the checkpoints lie elsewhere."""
    v2 = {
        "name": "v2",
        "checkpoint": PRETRAINED / "2.7_80x80_MiniFASNetV2.pth",
        "sha256": "a5eb02e1843f19b5386b953cc4c9f011c3f985d0ee2bb9819eea9a142099bec0",
        "channels": list(V2),
        "squeeze": "false",
        "crop_scale": 2.7,
    }
    v1se = {
        "name": "v1se",
        "checkpoint": PRETRAINED / "4_0_0_80x80_MiniFASNetV1SE.pth",
        "sha256": "84ee1d37d96894d5e82de5a57df044ef80a58be2b218b5ed7cdfd875ec2f5990",
        "channels": list(V1),
        "squeeze": "true",
        "crop_scale": 4.0,
    }
    paths = []
    for fields in (v2, v1se):
        paths.append(folder / f"{fields['name']}.toml")
        paths[-1].write_text(CARD.format(**fields) + (RENAME_KEYS if rename else ""), encoding="utf-8")
    return paths


def sample(image: str, box: Box | None) -> Sample:
    """A still image; the detector looks for the face where there is no box."""
    label = "bona_fide" if LIVE[image] else "attack"
    species = "" if LIVE[image] else "fake"
    return Sample(image, PRETRAINED / image, 0, "somebody", label, species, "", "", "", "dev", "", box, image)


def crops_of(samples: list[Sample], preprocessing: Preprocessing, folder: Path) -> NDArray[np.uint8]:
    prepared = prepare(samples, preprocessing, folder, processes=2)
    assert prepared.failures == {}
    return np.array(prepared.crops())


def jittered(preprocessing: Preprocessing, folder: Path) -> DevCrops:
    """192 crops of the three images, half of them live: the hand-drawn box jittered, the light changed."""
    dice = np.random.default_rng(3)
    samples = []
    for image in ("image_T1.jpg", "image_F1.jpg", "image_T1.jpg", "image_F2.jpg") * 48:
        x, y, width, height = HAND_BOXES[image]
        by, right, down = dice.uniform(0.8, 1.25), dice.uniform(-0.15, 0.15), dice.uniform(-0.15, 0.15)
        x, y = x + width * (right + (1 - by) / 2), y + height * (down + (1 - by) / 2)
        samples.append(sample(image, (x, y, width * by, height * by)))
    light = dice.uniform(0.8, 1.2, (len(samples), 1, 1, 1))
    crops = np.clip(crops_of(samples, preprocessing, folder) * light, 0, 255).astype(np.uint8)
    return DevCrops(crops, np.array([one.bona_fide for one in samples]))


def softmax(logits: NDArray[np.float64]) -> Probabilities:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def disagreements(faces: list[Sample], halves: Probabilities) -> list[str]:
    """The faces whose verdict is not the one that the original project's README shows, in words."""
    found = []
    for face, half in zip(faces, halves, strict=True):
        live = half.argmax() == 1
        if live != face.bona_fide:
            boxed = "a hand-drawn" if face.box else "the detector's"
            said, shown = ("live", "fake") if live else ("fake", "live")
            found.append(
                f"{face.name} in {boxed} box is {said} {half.round(3)}; its authors' README shows a {shown} "
                "face"
            )
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real-checkpoints")


@pytest.fixture(scope="module")
def cards(folder: Path) -> Cards:
    """Card file -> card, V2 first."""
    return {path: read_card(path) for path in write_cards(folder)}


@pytest.fixture(scope="module")
def faces() -> list[Sample]:
    """Each image with the box drawn by hand, and where dlib is installed with the box that it finds."""
    by_hand = [sample(image, box) for image, box in HAND_BOXES.items()]
    detected = [sample(image, None) for image in HAND_BOXES] if importlib.util.find_spec("dlib") else []
    return by_hand + detected


@pytest.fixture(scope="module")
def crops(cards: Cards, faces: list[Sample], folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Card name -> all faces [n, 80, 80, 3]."""
    return {card.name: crops_of(faces, card.preprocessing, folder) for card in cards.values()}


@pytest.fixture(scope="module")
def reference(cards: Cards, crops: dict[str, NDArray[np.uint8]]) -> Probabilities:
    """What both networks say together in PyTorch: half the sum of their softmax outputs, [face, class]."""
    total = [
        softmax(network_outputs(load_network(card, path), crops[card.name], card.preprocessing))
        for path, card in cards.items()
    ]
    return np.mean(total, axis=0)


@pytest.fixture(scope="module")
def made(cards: Cards, folder: Path) -> Made:
    """Every file of both networks, as `swapbench export` makes them."""
    skip_without("litert_torch")
    found: Made = {}
    for path, card in cards.items():
        wanted = [Variant(net=card.name, precision=precision, format=kind) for precision, kind in KINDS]
        data = jittered(card.preprocessing, folder)
        for one in build(card, path, wanted, data, folder / "cache", lambda *_: None):
            found[one.variant] = one
    return found


@pytest.fixture(scope="module")
def answers(
    cards: Cards, crops: dict[str, NDArray[np.uint8]], made: Made, folder: Path
) -> dict[tuple[str, str], Probabilities]:
    """(precision, format) -> [face, class], the sum of both networks' files in their scoring workers."""
    subjects = []
    for card in cards.values():
        np.save(folder / f"{card.name}.npy", crops[card.name])
        normalise = card.preprocessing.model_dump_json(include={"scale", "mean", "std"})
        options = {"samples": str(folder / f"{card.name}.npy"), "normalise": normalise}
        for variant in (one for one in made if one.net == card.name):
            runtime = OnnxRuntime() if variant.format == "onnx" else LiteRT()
            assert made[variant].path is not None, made[variant]
            subjects.append(bench.FileUnderTest(variant.file_name, str(made[variant].path), runtime, options))
    said = {}
    for subject, outputs in bench.measure_scores(subjects, Local(), Plan(warmup_ns=0), at_once=2):
        assert isinstance(outputs, Outputs), outputs
        said[subject.name] = softmax(np.array(outputs.rows))
    return {
        (precision, kind): np.mean(
            [said[f"{card.name}.{precision}.{kind}"] for card in cards.values()], axis=0
        )
        for precision, kind in KINDS
    }


def test_both_networks_load_from_their_cards_and_judge_the_images_as_their_authors_show(
    faces: list[Sample], reference: Probabilities
) -> None:
    assert disagreements(faces, reference) == []
    for face, half in zip(faces, reference, strict=True):
        if face.box:  # from the forehead on, as MTCNN's boxes; dlib's begin at the brow
            assert half.tolist() == pytest.approx(WITH_MTCNN[face.name], abs=0.1), face.name


def test_the_detector_finds_all_three_faces(faces: list[Sample], crops: dict[str, NDArray[np.uint8]]) -> None:
    pytest.importorskip("dlib")
    assert [face.name for face in faces if face.box is None] == list(LIVE)
    assert all(own.std(axis=(1, 2, 3)).min() > 10 for own in crops.values())


def test_without_renaming_the_checkpoint_is_refused_by_the_names_in_it(tmp_path: Path) -> None:
    for path in write_cards(tmp_path, rename=False):
        with pytest.raises(BadCard, match=r"lacks bn\.bias.*has unexpected module\.bn\.bias.*rename_keys"):
            load_network(read_card(path), path)


def test_the_other_release_of_the_squeezing_network_computes_the_same(
    tmp_path: Path, cards: Cards, crops: dict[str, NDArray[np.uint8]]
) -> None:
    """Some releases say se_fc1 where this one says se_module.fc1; one card reads both."""
    (path, card), pixels = list(cards.items())[1], crops["v1se"]
    tensors = read_tensors(PRETRAINED / card.checkpoint)
    renamed = {key.replace("se_module.", "se_"): value for key, value in tensors.items()}
    assert (
        sum(key not in tensors for key in renamed) == 36
    )  # 3 blocks, each 2 convolutions and 2 batch norms of 5
    torch.save(renamed, tmp_path / "other.pth")
    changed = {
        "checkpoint": str(tmp_path / "other.pth"),
        "checkpoint_sha256": file_sha256(tmp_path / "other.pth"),
    }
    other = load_network(card.model_copy(update=changed), path)
    assert np.array_equal(
        network_outputs(other, pixels, card.preprocessing),
        network_outputs(load_network(card, path), pixels, card.preprocessing),
    )


def test_every_file_of_both_networks_keeps_parity(made: Made) -> None:
    assert [one.error for one in made.values() if isinstance(one, Failed)] == []
    assert len(made) == 12


@pytest.mark.parametrize(("precision", "kind"), KINDS)
def test_the_files_judge_the_images_as_the_authors_show(
    precision: Precision,
    kind: Format,
    faces: list[Sample],
    answers: dict[tuple[str, str], Probabilities],
    reference: Probabilities,
) -> None:
    assert disagreements(faces, answers[precision, kind]) == []
    # class 1 alone: int8 may call a print a mask, which no threshold on P(bona fide) ever sees
    moved = np.abs(answers[precision, kind] - reference)[:, 1].max()
    most = TOLERANCES[precision].get("max_abs_difference", MOST_MOVED_BY_INT8)
    assert moved <= most, f"{precision} in {kind} moves P(bona fide) by {moved:.3f} from PyTorch's"
