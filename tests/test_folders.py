"""Folders of live/ and spoof/ images as a dataset."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from swapbench.data import layouts
from swapbench.data.check import check_data
from swapbench.data.protocol import open_data
from swapbench.data.words import NO_SPECIES, is_bona_fide, split_named
from swapbench.errors import BadDataset

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.data.samples import Sample


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def opened(root: Path, split: str = "test") -> dict[str, Sample]:
    (dataset,) = open_data(root, splits=("dev", "test"), without_dev=True)
    return {sample.name: sample for sample in dataset.samples(split)}


@pytest.mark.parametrize("real", ["live", "Real", "bonafide", "bona_fide", "Bona-Fide", "genuine"])
@pytest.mark.parametrize("attack", ["spoof", "Fake", "attack", "attacks"])
def test_classes_are_named_in_the_words_people_use(tmp_path: Path, real: str, attack: str) -> None:
    found = opened(tree(tmp_path, f"{real}/1.jpg", f"{attack}/replay/2.PNG", f"{attack}/3.jpeg"))
    assert {name: (sample.label, sample.species) for name, sample in found.items()} == {
        f"{real}/1.jpg": ("bona_fide", ""),
        f"{attack}/replay/2.PNG": ("attack", "replay"),
        f"{attack}/3.jpeg": ("attack", NO_SPECIES),
    }


@pytest.mark.parametrize("place", ["{split}/{kind}", "{kind}/{split}"])
@pytest.mark.parametrize("dev", ["val", "dev", "devel", "validation"])
def test_splits_are_above_or_below_the_classes(tmp_path: Path, place: str, dev: str) -> None:
    for split in ("train", dev, "test"):
        for kind in ("live", "spoof"):
            tree(tmp_path, f"{place.format(split=split, kind=kind)}/{split}.jpg")
    (dataset,) = open_data(tmp_path)
    counts = {split: [sample.label for sample in dataset.samples(split)] for split in dataset.splits}
    assert counts == {split: ["bona_fide", "attack"] for split in ("train", "dev", "test")}
    assert {sample.path.stem for sample in dataset.samples("dev")} == {dev}


def test_a_development_split_is_carved_from_train_where_there_is_none(tmp_path: Path) -> None:
    for number in range(10):
        tree(tmp_path, *(f"train/{kind}/{number}{kind}.jpg" for kind in ("live", "spoof")))
    tree(tmp_path, "test/live/t.jpg", "test/spoof/u.jpg")
    (dataset,) = open_data(tmp_path)
    assert [len(dataset.samples(split)) for split in ("train", "dev", "test")] == [16, 4, 2]
    assert any("carved by subject from train: 4 of 20 people" in line for line in dataset.basis)


def test_people_are_told_where_folders_or_file_names_say_who_is_shown(tmp_path: Path) -> None:
    found = opened(
        tree(tmp_path / "a", "live/ann/1.jpg", "live/bob/1.jpg", "spoof/print/ann/1.jpg", "spoof/bob/9.jpg")
    )
    assert {name: (sample.subject, sample.species) for name, sample in found.items()} == {
        "live/ann/1.jpg": ("ann", ""),
        "live/bob/1.jpg": ("bob", ""),
        "spoof/print/ann/1.jpg": ("ann", "print"),
        "spoof/bob/9.jpg": ("bob", NO_SPECIES),
    }
    found = opened(
        tree(tmp_path / "b", "live/subject07_1.jpg", "live/Subject_7-2.jpg", "spoof/p_client012.jpg")
    )
    assert [sample.subject for sample in found.values()] == ["subject 7", "subject 7", "subject 12"]


def test_where_nothing_tells_who_is_shown_each_file_is_a_person_and_the_basis_says_so(tmp_path: Path) -> None:
    tree(tmp_path, "live/cam1/1.jpg", "live/subject1.jpg", "spoof/print/1.jpg")
    (dataset,) = open_data(tmp_path, splits=("dev", "test"), without_dev=True)
    assert [sample.subject for sample in dataset.samples("test")] == [
        "live/subject1.jpg",
        "live/cam1/1.jpg",
        "spoof/print/1.jpg",
    ]
    assert any("each file counts as a person of its own" in line for line in dataset.basis)
    assert not any("no folders of species" in line for line in dataset.basis)
    assert any(line.startswith("no development split") for line in dataset.basis)


def test_videos_are_spread_and_other_files_are_left_out_with_a_finding(tmp_path: Path) -> None:
    tree(
        tmp_path, "live/1.MP4", "spoof/print/2.avi", "spoof/print/list.txt", "spoof/.hidden.jpg", "README.md"
    )
    (dataset,) = open_data(tmp_path, frames_per_video=3, splits=("dev", "test"), without_dev=True)
    assert [sample.spread for sample in dataset.samples("test")] == [3] * 6
    check = check_data(tmp_path)
    assert check.complete
    assert check.title == tmp_path.name
    assert [(row.fold, row.split, row.kind, row.found) for row in check.rows] == [
        ("", "test", "bona_fide", 1),
        ("", "test", "print", 1),
    ]
    assert any("left out 1 name" in text and "spoof/print/list.txt" in text for text in check.findings)


def test_one_class_alone_is_refused_and_training_needs_a_development_split(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="has no attack samples"):
        opened(tree(tmp_path / "one", "live/1.jpg"))
    tree(tmp_path / "two", "live/1.jpg", "spoof/2.jpg")
    with pytest.raises(BadDataset, match="has no dev split"):
        open_data(tmp_path / "two", splits=("dev", "test"))


def test_manifests_and_published_layouts_come_before_the_names_of_folders(tmp_path: Path) -> None:
    tree(tmp_path / "a", "live/1.jpg", "spoof/2.jpg")
    (tmp_path / "a" / "manifest.csv").write_text(
        "path,subject,label,species,split\nlive/1.jpg,s,bona_fide,,test\nspoof/2.jpg,t,attack,mask,test\n"
    )
    assert [sample.species for sample in opened(tmp_path / "a").values()] == ["", "mask"]
    tree(tmp_path / "b", "devel/real/x.mov", "devel/attack/fixed/y.mov")
    layout = layouts.recognise(tmp_path / "b")
    assert layout is not None
    assert layout.key == "replay-attack"


def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    tree(tmp_path, "live/1.jpg", "spoof/2.jpg")
    (tmp_path / "spoof" / "loop").symlink_to(tmp_path / "spoof")
    assert [*opened(tmp_path)] == ["live/1.jpg", "spoof/2.jpg"]


def test_what_is_no_ordinary_file_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "live/1.jpg", "spoof/2.jpg")
    os.mkfifo(tmp_path / "spoof" / "pipe.jpg")
    (tmp_path / "live" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "live" / "zero.jpg").symlink_to("/dev/zero")
    assert [*opened(tmp_path)] == ["live/1.jpg", "spoof/2.jpg"]
    (finding,) = check_data(tmp_path).findings
    assert "left out 3 names" in finding


def test_words_that_could_mean_either_are_none() -> None:
    assert [is_bona_fide(word) for word in ("1", "0", "true", "client", "")] == [None] * 5
    assert [split_named(word) for word in ("Val", "holdout", "Devel ")] == ["dev", None, "dev"]
