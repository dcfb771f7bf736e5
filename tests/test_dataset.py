import csv
import json
from pathlib import Path

import pytest

from swapbench.errors import BadDataset
from swapbench.pad.dataset import COLUMNS, Dataset, Sample

ROW = dict.fromkeys(COLUMNS, "") | {"frame": "0", "domain": "A", "session": "day", "device": "phone"}


def row(split: str, number: int, label: str = "bona_fide", **changes: str) -> dict[str, str]:
    name = f"{split}/{number}-{label}.jpg"
    species = "print" if label == "attack" else ""
    box = {"box_x": "1", "box_y": "2", "box_w": "30.5", "box_h": "40"}
    about = {"path": name, "subject": f"{split}{number}", "label": label, "species": species, "split": split}
    return ROW | about | box | changes


def both(split: str) -> list[dict[str, str]]:
    return [row(split, 1), row(split, 1, "attack")]


def write(folder: Path, rows: dict[str, list[dict[str, str]]], about: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"name": "tiny", "simulated": True, "notice": "not real"}) if about is None else about
    (folder / "dataset.json").write_text(text)
    for split, items in rows.items():
        with (folder / f"manifest-{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(items)
        for item in items:
            path = folder / item["path"]
            if not item["path"].startswith(("/", "..")) and item["path"]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(item["path"].encode())
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "data", {split: both(split) for split in ("train", "dev", "test")})


def test_a_manifest_row_becomes_a_sample_with_every_field(folder: Path) -> None:
    dataset = Dataset.load(folder)
    assert (dataset.name, dataset.simulated, dataset.notice) == ("tiny", True, "not real")
    assert [len(dataset.samples(split)) for split in ("train", "dev", "test")] == [2, 2, 2]
    assert dataset.samples("dev")[1] == Sample(
        name="dev/1-attack.jpg",
        path=folder / "dev" / "1-attack.jpg",
        frame=0,
        subject="dev1",
        label="attack",
        species="print",
        domain="A",
        session="day",
        device="phone",
        split="dev",
        instrument="",
        box=(1.0, 2.0, 30.5, 40.0),
    )
    assert [sample.bona_fide for sample in dataset.samples("dev")] == [True, False]


def test_four_empty_box_columns_mean_that_no_face_is_known(tmp_path: Path) -> None:
    empty = {"box_x": "", "box_y": "", "box_w": "", "box_h": ""}
    folder = write(tmp_path, {"dev": [row("dev", 1, **empty), row("dev", 1, "attack")]})
    assert Dataset.load(folder, ("dev",)).samples("dev")[0].box is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "live"}, "line 3: unknown label 'live'"),
        ({"species": ""}, "line 3: an attack without a species"),
        ({"subject": " "}, "line 3: no subject"),
        ({"split": "dev"}, "split is 'dev' in the manifest of 'train'"),
        ({"frame": "-1"}, "frame '-1' is not a whole number"),
        ({"path": "../secret.jpg"}, "must be relative and stay inside"),
        ({"path": "/etc/hostname"}, "must be relative and stay inside"),
        ({"path": ""}, "must be relative and stay inside"),
        ({"box_w": "0"}, "is empty"),
        ({"box_w": "nan"}, "is empty"),
        ({"box_h": ""}, "is not four numbers"),
        ({"box_y": "left"}, "is not four numbers"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    folder = write(tmp_path, {"train": [row("train", 1), row("train", 1, "attack") | changes]})
    with pytest.raises(BadDataset, match=r"manifest-train\.csv line 3") as caught:
        Dataset.load(folder, ("train",))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bona_fide_sample_with_a_species_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"train": [row("train", 1, species="print"), row("train", 1, "attack")]})
    with pytest.raises(BadDataset, match="bona fide sample with the species 'print'"):
        Dataset.load(folder, ("train",))


def test_a_subject_in_two_splits_is_found_even_when_only_one_is_asked_for(tmp_path: Path) -> None:
    folder = write(
        tmp_path, {"train": both("train"), "test": [*both("test"), row("test", 2, subject="train1")]}
    )
    with pytest.raises(
        BadDataset, match=r"subject 'train1' is in train \(.*\) and in test \(test/2-bona_fide.jpg\)"
    ):
        Dataset.load(folder, ("test",))


def test_a_missing_image_is_named_with_its_row(folder: Path) -> None:
    (folder / "dev" / "1-attack.jpg").unlink()
    with pytest.raises(BadDataset, match=r"manifest-dev.csv row 3: .*1-attack.jpg does not exist"):
        Dataset.load(folder, ("dev",))
    assert len(Dataset.load(folder, ("train", "test")).samples("train")) == 2


@pytest.mark.parametrize("label", ["bona_fide", "attack"])
def test_both_classes_are_needed(tmp_path: Path, label: str) -> None:
    folder = write(tmp_path, {"dev": [row("dev", 1, label), row("dev", 2, label)]})
    with pytest.raises(BadDataset, match=r"has no (attack|bona_fide) samples"):
        Dataset.load(folder, ("dev",))


def test_the_same_frame_twice_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"dev": [*both("dev"), row("dev", 1)]})
    with pytest.raises(BadDataset, match=r"row 4: dev/1-bona_fide\.jpg frame 0 is listed twice"):
        Dataset.load(folder, ("dev",))


def test_a_missing_split_names_the_splits_that_are_there(tmp_path: Path) -> None:
    folder = write(tmp_path, {"train": both("train")})
    with pytest.raises(BadDataset, match=r"has no manifest-dev.csv. Splits there: train"):
        Dataset.load(folder, ("dev",))
    with pytest.raises(BadDataset, match="Loaded: train"):
        Dataset.load(folder, ("train",)).samples("dev")


@pytest.mark.parametrize("about", ["{", "[]", '{"name": "x"}', '{"name": "x", "simulated": "yes"}'])
def test_a_description_must_say_whether_the_data_are_simulated(tmp_path: Path, about: str) -> None:
    folder = write(tmp_path, {"dev": both("dev")}, about)
    with pytest.raises(BadDataset, match=r"dataset\.json"):
        Dataset.load(folder, ("dev",))


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="there is no dataset folder"):
        Dataset.load(tmp_path / "nothing")


def test_a_manifest_without_a_column_or_with_a_short_row_is_refused(folder: Path) -> None:
    manifest = folder / "manifest-dev.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([lines[0], lines[1], "dev/1-attack.jpg,0,dev1"]) + "\n")
    with pytest.raises(BadDataset, match="line 3: wrong number of fields"):
        Dataset.load(folder, ("dev",))
    manifest.write_text("path,label\na.jpg,attack\n")
    with pytest.raises(BadDataset, match="lacks the columns frame, subject"):
        Dataset.load(folder, ("dev",))
    manifest.write_text(lines[0] + "\n")
    with pytest.raises(BadDataset, match="has no rows"):
        Dataset.load(folder, ("dev",))


def test_the_digest_changes_with_pixels_and_rows_and_not_with_the_place(folder: Path, tmp_path: Path) -> None:
    first = Dataset.load(folder).digest()
    folder.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert Dataset.load(moved).digest() == first
    assert Dataset.load(moved).digest(("dev",)) != first
    (moved / "dev" / "1-attack.jpg").write_bytes(b"another picture")
    second = Dataset.load(moved).digest()
    assert second != first
    write(moved, {"dev": [row("dev", 1, domain="B"), row("dev", 1, "attack")]})
    assert Dataset.load(moved).digest() not in {first, second}
