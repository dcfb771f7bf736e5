"""Depth and near infrared beside photographs: manifests, CASIA-SURF, teachers with several inputs."""

from __future__ import annotations

import csv
import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import test_train
from PIL import Image

from swapbench.data.dataset import Dataset
from swapbench.data.frames import read_frames
from swapbench.data.layouts import recognise
from swapbench.data.manifests import COLUMNS
from swapbench.data.modalities import in_modality
from swapbench.data.preprocess import prepare
from swapbench.data.protocol import open_data
from swapbench.errors import BadCard, BadDataset

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def depths(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Photographs that tell nothing; depth images that are flat for attacks."""
    folder = tmp_path_factory.mktemp("depths")
    random = np.random.default_rng(0)
    (folder / "dataset.json").write_text(json.dumps({"name": "depths", "simulated": True}))
    for split, count in (("train", 48), ("dev", 16)):
        rows = []
        for number in range(count):
            attack = number % 2 == 1
            name = f"{split}-{number}.png"
            Image.fromarray(random.integers(0, 255, (48, 56, 3), np.uint8)).save(folder / name)
            level = np.full((48, 56), 128.0) if attack else np.tile(np.linspace(40, 220, 56), (48, 1))
            for ending in ("depth", "nir"):
                noisy = level + random.normal(0, 3, level.shape)
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.{ending}.png")
            row = {"path": name, "frame": "0", "subject": f"{split}{number}", "split": split}
            row |= {"label": "attack" if attack else "bona_fide", "species": "print" if attack else ""}
            row |= {"path_depth": f"{name}.depth.png", "path_nir": f"{name}.nir.png"}
            row |= dict(zip(COLUMNS[-4:], ("14", "10", "24", "26"), strict=True))
            rows.append(dict.fromkeys(COLUMNS, "") | row)
        with (folder / f"manifest-{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, (*COLUMNS, "path_depth", "path_nir"))
            writer.writeheader()
            writer.writerows(rows)
    return Dataset.load(folder, ("train", "dev"))


def test_a_manifest_names_what_other_sensors_saw(depths: Dataset, tmp_path: Path) -> None:
    first = depths.samples("train")[0]
    assert first.beside == (
        ("depth", depths.root / "train-0.png.depth.png"),
        ("nir", depths.root / "train-0.png.nir.png"),
    )
    seen = in_modality(depths.samples("train"), "depth", "given")
    assert seen[0].path.name == "train-0.png.depth.png"
    assert seen[0].box == first.box
    # its content is part of what the data are
    alone = dataclasses.replace(
        depths, splits={"train": tuple(dataclasses.replace(s, beside=()) for s in depths.samples("train"))}
    )
    assert alone.digest() != depths.digest(["train"])


@pytest.mark.parametrize(
    ("change", "faces", "message"),
    [
        ({"beside": ()}, "given", "train-0.png has no depth image beside it"),
        ({"box": None}, "given", "train-0.png has no face box, and none is looked for in depth images"),
        ({}, "detector", "train-0.png has no face box"),
    ],
)
def test_a_capture_without_the_modality_or_a_box_is_named(
    depths: Dataset, change: dict[str, object], faces: str, message: str
) -> None:
    sample = dataclasses.replace(depths.samples("train")[0], **change)  # type: ignore[arg-type]
    with pytest.raises(BadDataset, match=message):
        in_modality([sample], "depth", faces)  # type: ignore[arg-type]


def test_an_image_beside_that_does_not_exist_or_leaves_the_folder_is_a_fault(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    head = "path,subject,label,species,split,path_depth\n"
    (tmp_path / "manifest.csv").write_text(head + "a.png,s,bona_fide,,train,b.png\n")
    with pytest.raises(BadDataset, match=r"b\.png does not exist"):
        open_data(tmp_path, splits=("train",))
    (tmp_path / "manifest.csv").write_text(head + "a.png,s,bona_fide,,train,../b.png\n")
    with pytest.raises(BadDataset, match=r"path_depth '\.\./b\.png' must be absolute, or relative"):
        open_data(tmp_path, splits=("train",))


LINES = {
    "train_list.txt": (
        (
            "Training/real_part/CLKJ_AS0005/real.rssdk/color/101.jpg"
            " Training/real_part/CLKJ_AS0005/real.rssdk/depth/101.jpg"
            " Training/real_part/CLKJ_AS0005/real.rssdk/ir/101.jpg 1"
        ),
        (
            "Training/fake_part/CLKJ_CS0110/06_enm_b.rssdk/color/91.jpg"
            " Training/fake_part/CLKJ_CS0110/06_enm_b.rssdk/depth/91.jpg"
            " Training/fake_part/CLKJ_CS0110/06_enm_b.rssdk/ir/91.jpg 0"
        ),
    ),
    "val_private_list.txt": (
        "Val/0007/007243-color.jpg Val/0007/007243-depth.jpg Val/0007/007243-ir.jpg 1",
        "Val/0007/007193-color.jpg Val/0007/007193-depth.jpg Val/0007/007193-ir.jpg 0",
    ),
    "test_private_list.txt": (
        "Testing/0000/000000-color.jpg Testing/0000/000000-depth.jpg Testing/0000/000000-ir.jpg 1",
        "Testing/0000/000001-color.jpg Testing/0000/000001-depth.jpg Testing/0000/000001-ir.jpg 0",
    ),
}


def surf_tree(root: Path) -> Path:
    """CASIA-SURF in small: every list with a bona fide capture and an attack."""
    root.mkdir()
    for name, lines in LINES.items():
        (root / name).write_text("\n".join(lines) + "\n")
        for path in (path for line in lines for path in line.split()[:3]):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 10)).save(root / path)
    return root


def test_casia_surf_is_read_from_the_lists_with_labels(tmp_path: Path) -> None:
    root = surf_tree(tmp_path / "surf")
    layout = recognise(root)
    assert layout is not None
    assert layout.title == "CASIA-SURF"
    corpus = layout.read(root)
    real, fake, *others = corpus.presentations
    assert (real.subject, real.label, real.split) == ("casia-surf:CLKJ_AS0005", "bona_fide", "train")
    folder = root / "Training/real_part/CLKJ_AS0005/real.rssdk"
    assert real.beside == (("depth", folder / "depth/101.jpg"), ("nir", folder / "ir/101.jpg"))
    assert (fake.subject, fake.species) == ("casia-surf:CLKJ_CS0110", "photo_enm_b")
    assert [(one.split, one.species) for one in others] == [
        ("dev", ""),
        ("dev", "photo"),
        ("test", ""),
        ("test", "photo"),
    ]
    assert len({one.subject for one in corpus.presentations}) == 6
    (data,) = open_data(root, splits=("train", "dev", "test"))
    assert data.samples("test")[1].beside[0][0] == "depth"


def test_what_casia_surf_lacks_and_has_otherwise_is_said(tmp_path: Path) -> None:
    root = surf_tree(tmp_path / "surf")
    (root / "Val/0007/007193-ir.jpg").unlink()
    (root / "test_private_list.txt").unlink()
    lines = ("Val/0000/000000-color.jpg Val/0000/000000-depth.jpg Val/0000/000000-ir.jpg", "../x 1 2 1")
    (root / "val_private_list.txt").write_text("\n".join((*LINES["val_private_list.txt"], *lines)))
    layout = recognise(root)
    assert layout is not None
    corpus = layout.read(root)
    assert [one.name for one in corpus.missing] == ["Val/0007/007193-color.jpg"]
    assert "test_private_list.txt" in str(corpus.faults[0])
    assert "val_private_list.txt: left out 2 lines in another form" in corpus.findings[0]


def wmca_tree(root: Path) -> Path:
    """WMCA in small: a bona fide capture and an attack in each group, three frames each."""
    h5py = pytest.importorskip("h5py")
    lines = ["path,label,kind,group"]
    for number, group in enumerate(("train", "dev", "eval")):
        for kind in (0, 2):
            name = f"face-station/12.02.18/{500 * (kind > 0) + number:03d}_01_000_{kind}_00"
            lines.append(f"{name},{kind},x,{group}")
            for folder, planes in (("RGB", 3), ("CDIT", 4)):
                path = root / f"WMCA_preprocessed_{folder}" / "WMCA" / f"{name}.hdf5"
                path.parent.mkdir(parents=True, exist_ok=True)
                with h5py.File(path, "w") as file:
                    for frame in (0, 2, 10):  # numbers may be missing, and 10 comes after 2
                        array = np.stack(
                            [np.full((6, 8), 20 * plane + frame, np.uint8) for plane in range(planes)]
                        )
                        file[f"Frame_{frame}/array"] = array
    (root / "wmca-protocols-csv").mkdir()
    (root / "wmca-protocols-csv" / "PROTOCOL-grandtest.csv").write_text("\n".join(lines) + "\n")
    return root


def test_wmca_is_read_from_its_protocol_and_its_stacks(tmp_path: Path) -> None:
    root = wmca_tree(tmp_path / "wmca")
    layout = recognise(root)
    assert layout is not None
    assert layout.title == "WMCA"
    corpus = layout.read(root)
    assert corpus.findings == ()
    assert [(one.split, one.subject, one.species) for one in corpus.presentations[:2]] == [
        ("train", "wmca:000", ""),
        ("train", "wmca:500", "type2"),
    ]
    (data,) = open_data(root, splits=("train", "test"), frames_per_video=3)
    samples = data.samples("train")[:3]
    found = dict(read_frames(samples))
    assert [found[index].number for index in range(3)] == [0, 1, 2]  # type: ignore[union-attr]
    assert found[2].image.getpixel((0, 0)) == (10, 30, 50)  # type: ignore[union-attr]
    depth = dict(read_frames(in_modality(samples, "depth", "frame")))
    assert depth[1].image.getpixel((0, 0)) == (22, 22, 22)  # type: ignore[union-attr]
    assert dict(read_frames(in_modality(samples, "nir", "frame")))[0].image.getpixel((0, 0)) == (40, 40, 40)  # type: ignore[union-attr]
    # both lie in one file: what is kept of one is not taken for the other
    size = test_train.INPUT.replace(face_box="frame", channel_order="gray", mean=(0.5,), std=(0.25,))
    kept = [prepare(in_modality(samples, name, "frame"), size, tmp_path).crops() for name in ("depth", "nir")]
    assert [int(crops[0, 0, 0, 0]) for crops in kept] == [20, 40]


def test_a_stack_that_is_none_and_a_frame_that_it_lacks_are_said(tmp_path: Path) -> None:
    root = wmca_tree(tmp_path / "wmca")
    (data,) = open_data(root, splits=("train",), frames_per_video=1)
    sample = data.samples("train")[0]
    late = dataclasses.replace(sample, spread=0, frame=7)
    assert dict(read_frames([late]))[0] == "there is no frame 7: the file has 3 frames"
    sample.path.write_bytes(b"no file of this kind")
    assert str(dict(read_frames([sample]))[0]).startswith("not an HDF5 file of frames")
    (root / "wmca-protocols-csv" / "PROTOCOL-grandtest.csv").unlink()
    layout = recognise(root)
    assert layout is not None
    assert "PROTOCOL-grandtest.csv" in str(layout.read(root).faults[0])


@pytest.mark.slow
def test_a_teacher_that_sees_depth_teaches_a_student_that_sees_photographs(
    depths: Dataset, tmp_path: Path
) -> None:
    from swapbench.workshop.nets import exportable
    from swapbench.workshop.nets.checkpoint import load_network
    from swapbench.workshop.train.training import train

    architecture = test_train.tiny().architecture
    seeing = test_train.tiny(
        name="seeing",
        choose="last",
        architecture=architecture | {"modalities": ["depth", "nir"], "high_pass": True},
    )
    card = train(seeing, depths, tmp_path)
    assert card.training is not None
    # photographs tell nothing: what it knows it has from the others
    assert card.training.dev_results["auc"] > 0.9
    blind = train(test_train.tiny(name="blind"), depths, tmp_path)
    assert blind.training is not None
    assert blind.training.dev_results["auc"] < 0.9
    for views in (0, 1):
        taught = test_train.tiny(
            name=f"student{views}",
            distillation={"teachers": {"seeing": 1.0}, "attention_weight": 1.0, "views": views},
        )
        train(taught, depths, tmp_path)
        curve = (tmp_path / f"student{views}.curve.csv").read_text().splitlines()
        assert "soft_targets" in curve[0]
    network = load_network(card, tmp_path / "seeing.toml")
    with pytest.raises(BadCard, match="sees depth and nir besides photographs is not exported"):
        exportable(network)


@pytest.mark.slow
def test_the_fine_residual_is_what_the_mean_of_its_surroundings_leaves() -> None:
    import torch

    from swapbench.workshop.nets.resnet_map import ResNetMap

    network = ResNetMap(stem=4, stages=(4, 4, 6, 8), blocks=(1, 1, 1, 1), high_pass=True).eval()
    seen: list[torch.Tensor] = []
    network.conv1.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    images = torch.zeros(1, 3, 32, 32)
    images[0, 1, 10, 12] = 25.0
    network(images)
    (stacked,) = seen
    assert torch.equal(stacked[:, :3], images)
    assert stacked[0, 4, 10, 12] == pytest.approx(24.0)
    assert stacked[0, 4, 8, 14] == pytest.approx(-1.0)
    assert float(stacked[0, 3].abs().max()) == 0.0
    assert "residual" not in network.state_dict()
    with pytest.raises(ValueError, match="modalities are some of depth, nir"):
        ResNetMap(modalities=("thermal",))
