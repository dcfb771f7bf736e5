import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from swapbench.data.dataset import Dataset, content_sha256
from swapbench.data.manifests import COLUMNS, read_manifests
from swapbench.data.samples import Annotation, Sample
from swapbench.errors import BadDataset

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
        presentation="dev/1-attack.jpg",
    )
    assert [sample.bona_fide for sample in dataset.samples("dev")] == [True, False]


def test_four_empty_box_columns_mean_that_no_face_is_known(tmp_path: Path) -> None:
    empty = {"box_x": "", "box_y": "", "box_w": "", "box_h": ""}
    folder = write(tmp_path, {"dev": [row("dev", 1, **empty), row("dev", 1, "attack")]})
    assert Dataset.load(folder, ("dev",)).samples("dev")[0].box is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "liveish"}, "line 3: unknown label 'liveish'"),
        ({"species": ""}, "line 3: the attack has no species"),
        ({"subject": " "}, "line 3: the sample has no subject"),
        ({"split": "dev"}, "the split is 'dev' in the manifest of 'train'"),
        ({"frame": "-1"}, "frame '-1' is not a non-negative integer"),
        ({"path": "../secret.jpg"}, "must be absolute, or relative and stay inside"),
        ({"path": ""}, "must be absolute, or relative and stay inside"),
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
    with pytest.raises(BadDataset, match="bona fide sample has the species 'print'"):
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
    with pytest.raises(BadDataset, match=r"has no (attack|bona fide) samples"):
        Dataset.load(folder, ("dev",))


def test_the_same_frame_twice_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"dev": [*both("dev"), row("dev", 1)]})
    with pytest.raises(BadDataset, match=r"row 4: dev/1-bona_fide\.jpg frame 0 is listed twice"):
        Dataset.load(folder, ("dev",))


def test_a_missing_split_names_the_splits_that_are_there(tmp_path: Path) -> None:
    folder = write(tmp_path, {"train": both("train")})
    with pytest.raises(BadDataset, match=r"has no manifest-dev.csv. Available splits: train"):
        Dataset.load(folder, ("dev",))
    with pytest.raises(BadDataset, match="Loaded splits: train"):
        Dataset.load(folder, ("train",)).samples("dev")


@pytest.mark.parametrize("about", ["{", "[]", '{"name": "x"}', '{"name": "x", "simulated": "yes"}'])
def test_a_description_must_say_whether_the_data_are_simulated(tmp_path: Path, about: str) -> None:
    folder = write(tmp_path, {"dev": both("dev")}, about)
    with pytest.raises(BadDataset, match=r"dataset\.json"):
        Dataset.load(folder, ("dev",))


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="there is no dataset "):
        Dataset.load(tmp_path / "nothing")


def test_a_manifest_without_a_column_or_with_a_short_row_is_refused(folder: Path) -> None:
    manifest = folder / "manifest-dev.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([lines[0], lines[1], "dev/1-attack.jpg,0,dev1"]) + "\n")
    with pytest.raises(BadDataset, match="line 3: the number of fields differs from the header's"):
        Dataset.load(folder, ("dev",))
    manifest.write_text("path,label\na.jpg,attack\n")
    with pytest.raises(BadDataset, match="lacks the columns subject, species, split"):
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


def test_the_digest_of_still_images_is_what_older_records_hold(folder: Path) -> None:
    # computed by the first version of the reader, which knew neither videos nor annotations
    assert Dataset.load(folder).digest() == "9b93504f15fdfd2427a216db48a990844493df11c6260c47f5dc5034f89429cc"


def test_what_an_annotation_or_a_rotation_changes_is_in_the_digest(folder: Path, tmp_path: Path) -> None:
    dataset = Dataset.load(folder, ("dev",))
    eyes = tmp_path / "eyes.txt"
    eyes.write_text("0,1,1,2,1")

    def digest(**changes: object) -> str:
        samples = tuple(dataclasses.replace(sample, **changes) for sample in dataset.samples("dev"))
        return dataclasses.replace(dataset, splits={"dev": samples}).digest()

    seen = [
        dataset.digest(),
        digest(rotate_deg=180),
        digest(presentation="one"),
        digest(spread=2),
        digest(annotation=Annotation(eyes, "oulu")),
        digest(annotation=Annotation(eyes, "msu")),
    ]
    eyes.write_text("0,1,1,3,1")
    seen.append(digest(annotation=Annotation(eyes, "oulu")))
    assert len(set(seen)) == len(seen)
    eyes.unlink()
    with pytest.raises(BadDataset, match=r"cannot read .*eyes\.txt"):
        digest(annotation=Annotation(eyes, "oulu"))


def test_a_small_file_is_read_whole_and_of_a_large_one_sixteen_blocks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = bytearray((1 << 20) // 256 * bytes(range(256)))
    path.write_bytes(content)
    assert content_sha256(path) == hashlib.sha256(content).digest()
    content += bytes(3 << 20)
    path.write_bytes(content)
    size = len(content)
    # blocks of 64 KiB, the first at 0 and the last at the end
    expected = hashlib.sha256(f"16 blocks of 65536 in {size}\n".encode())
    for block in range(16):
        start = (size - 65536) * block // 15
        expected.update(content[start : start + 65536])
    first = content_sha256(path)
    assert first == expected.digest()
    for place in (0, size // 15, size - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert content_sha256(path) != first
    path.write_bytes(content + b"0")
    assert content_sha256(path) != first


# --- one manifest for all splits ---


def table(path: Path, header: str, *lines: str, make: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    for line in lines if make else ():
        file = path.parent / line.split(",")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"content")
    return path


NEEDED = "path,subject,label,species,split"


def test_a_single_csv_needs_five_columns_and_is_named_like_its_file(tmp_path: Path) -> None:
    path = table(tmp_path / "mine.csv", NEEDED, "a.png,s1,bona_fide,,test", "b.png,s2,attack,print,test")
    dataset = Dataset.load(path, ("test",))
    assert (dataset.name, dataset.simulated, dataset.root) == ("mine", False, tmp_path)
    assert dataset.samples("test")[1] == Sample(
        "b.png", tmp_path / "b.png", 0, "s2", "attack", "print", "", "", "", "test", "", None, "b.png"
    )
    with pytest.raises(BadDataset, match=r"mine\.csv has no rows of split 'train'\. Available splits: test"):
        Dataset.load(path)


def test_a_folder_with_one_manifest_is_named_like_the_folder_or_by_its_description(tmp_path: Path) -> None:
    table(tmp_path / "set" / "manifest.csv", NEEDED, "a.png,s1,bona_fide,,test", "b.png,s2,attack,print,test")
    assert Dataset.load(tmp_path / "set", ("test",)).name == "set"
    (tmp_path / "set" / "dataset.json").write_text(
        '{"name": "made", "simulated": true, "notice": "not real"}'
    )
    found = Dataset.load(tmp_path / "set" / "manifest.csv", ("test",))
    assert (found.name, found.simulated, found.notice) == ("made", True, "not real")


def test_a_byte_order_mark_and_further_columns_are_no_error(tmp_path: Path) -> None:
    path = table(
        tmp_path / "mine.csv",
        f"\ufeff{NEEDED},note",
        "a.png,s1,bona_fide,,test,x",
        "b.png,s2,attack,print,test,y",
    )
    assert len(Dataset.load(path, ("test",)).samples("test")) == 2


def test_a_video_without_a_frame_is_spread_and_with_one_is_that_frame(tmp_path: Path) -> None:
    path = table(
        tmp_path / "mine.csv",
        f"{NEEDED},frame",
        "a.AVI,s1,bona_fide,,test,",
        "b.mp4,s2,attack,print,test,7",
        "b.mp4,s2,attack,print,test,9",
        "c.png,s3,attack,print,test,",
    )
    samples = Dataset.load(path, ("test",), frames_per_video=3).samples("test")
    assert [(one.name, one.frame, one.spread, one.presentation) for one in samples] == [
        ("a.AVI", 0, 3, "a.AVI"),
        ("a.AVI", 1, 3, "a.AVI"),
        ("a.AVI", 2, 3, "a.AVI"),
        ("b.mp4", 7, 0, "b.mp4"),
        ("b.mp4", 9, 0, "b.mp4"),
        ("c.png", 0, 0, "c.png"),
    ]


def test_the_same_video_twice_is_refused(tmp_path: Path) -> None:
    path = table(
        tmp_path / "mine.csv",
        NEEDED,
        "a.avi,s1,bona_fide,,test",
        "b.avi,s2,attack,print,test",
        "a.avi,s1,bona_fide,,test",
    )
    with pytest.raises(BadDataset, match=r"mine\.csv row 4: a\.avi is listed twice"):
        Dataset.load(path, ("test",))


def test_images_of_one_presentation_are_frames_of_one_trial(tmp_path: Path) -> None:
    path = table(
        tmp_path / "mine.csv",
        f"{NEEDED},frame,presentation",
        "a/0.png,s1,bona_fide,,test,0,a",
        "a/1.png,s1,bona_fide,,test,1,a",
        "b.png,s2,attack,print,test,,",
    )
    samples = Dataset.load(path, ("test",)).samples("test")
    assert [(one.presentation, one.frame) for one in samples] == [("a", 0), ("a", 1), ("b.png", 0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c.png,s3,bona_fide,,test,a", "has subject 's1' in a.png and 's3' in c.png"),
        ("c.png,s1,attack,print,test,a", "has label 'bona_fide' in a.png and 'attack' in c.png"),
        ("c.png,s2,attack,mask,test,b", "has species 'print' in b.png and 'mask' in c.png"),
        ("c.png,s1,bona_fide,,dev,a", "has split 'dev' in c.png and 'test' in a.png"),
        ("a.png,s1,bona_fide,,test,d", "a.png is in two presentations"),
    ],
)
def test_frames_of_one_presentation_that_disagree_are_refused(
    tmp_path: Path, line: str, message: str
) -> None:
    path = table(
        tmp_path / "mine.csv",
        f"{NEEDED},presentation",
        "a.png,s1,bona_fide,,test,a",
        "b.png,s2,attack,print,test,b",
        line,
    )
    with pytest.raises(BadDataset) as caught:
        Dataset.load(path, ("test",))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("label", "remedy"),
    [
        ("1", "1 is bona_fide in most files, and attack in some"),
        ("0", "1 is bona_fide in most files, and attack in some"),
        ("x", "Use bona_fide or attack."),
    ],
)
def test_an_unknown_label_is_refused_with_what_could_be_meant(
    tmp_path: Path, label: str, remedy: str
) -> None:
    path = table(tmp_path / "mine.csv", NEEDED, f"a.png,s1,{label},,test")
    with pytest.raises(BadDataset, match="line 2: unknown label") as caught:
        Dataset.load(path, ("test",))
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        (NEEDED, "a.png,s1,bona_fide,,probe", "line 2: unknown split 'probe'. Use train, dev or test"),
        (NEEDED, "a.png,s1,bona_fide", "line 2: the number of fields differs from the header's"),
        (NEEDED, "a.png,s1,bona_fide,,test,1,2", "line 2: the number of fields differs from the header's"),
        (
            f"{NEEDED},frame",
            "a.avi,s1,bona_fide,,test,1.5",
            "line 2: frame '1.5' is not a non-negative integer",
        ),
        (
            "path,subject,label,species",
            "a.png,s1,bona_fide,",
            "lacks the column split. A manifest has at least path, subject, label, ",
        ),
    ],
)
def test_a_wrong_line_of_a_single_csv_is_named(tmp_path: Path, header: str, line: str, message: str) -> None:
    path = table(tmp_path / "mine.csv", header, line)
    with pytest.raises(BadDataset) as caught:
        Dataset.load(path, ("test",))
    assert message in str(caught.value)


def test_all_wrong_lines_are_collected_and_the_first_is_raised_with_their_number(tmp_path: Path) -> None:
    path = table(
        tmp_path / "mine.csv",
        NEEDED,
        "a.png,s1,liveish,,test",
        "b.png,,attack,print,test",
        "c.png,s3,attack,,test",
    )
    assert len(read_manifests(path).faults) == 3
    with pytest.raises(
        BadDataset, match=r"line 2: unknown label 'liveish'.* And 2 more: swapbench data check"
    ):
        Dataset.load(path, ("test",))


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(BadDataset, match=r"model\.onnx is not a dataset"):
        Dataset.load(tmp_path / "model.onnx")
    (tmp_path / "bytes.csv").write_bytes(b"path,subject,label,species,split\n\xff,s,attack,p,test\n")
    with pytest.raises(BadDataset, match=r"cannot read .*bytes\.csv"):
        Dataset.load(tmp_path / "bytes.csv")


# --- manifests as people write them ---


def test_labels_and_splits_are_the_words_people_use(tmp_path: Path) -> None:
    words = [("Live", ""), ("bona fide", ""), ("genuine", ""), ("Fake", "print"), ("spoof", "replay")]
    lines = [f"{number}.png,s{number},{word},{species},eval" for number, (word, species) in enumerate(words)]
    samples = Dataset.load(table(tmp_path / "mine.csv", NEEDED, *lines), ("test",)).samples("test")
    assert [sample.label for sample in samples] == ["bona_fide"] * 3 + ["attack"] * 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_manifest_may_come_from_a_spreadsheet(tmp_path: Path, encoding: str, mark: str) -> None:
    rows = ["Path,Subject,Label,Species,Split", "a b.png,ä,live,,test", "b.png,s2,attack,print,test"]
    path = table(tmp_path / "mine.csv", NEEDED, *rows[1:])
    path.write_text("sep=" + mark + "\r\n" + "\r\n".join(rows).replace(",", mark), encoding=encoding)
    samples = Dataset.load(path, ("test",)).samples("test")
    assert [(sample.name, sample.subject) for sample in samples] == [("a b.png", "ä"), ("b.png", "s2")]


def test_paths_are_absolute_or_begin_in_the_folder_of_the_images(tmp_path: Path) -> None:
    images = tmp_path / "elsewhere"
    table(images / "x.csv", NEEDED, "in/a.png,s,live,,test", "b.png,s,live,,test")
    rows = [f"{images / 'b.png'},s1,live,,test", "in\\a.png,s2,attack,print,test"]
    path = table(tmp_path / "lists" / "mine.csv", NEEDED, *rows, make=False)
    samples = read_manifests(path, images=images).splits["test"]
    assert [sample.path for sample in samples] == [images / "b.png", images / "in" / "a.png"]
    assert samples[1].name == "in/a.png"
    assert read_manifests(path, images=images).row_faults("test") == ()
    with pytest.raises(BadDataset, match=r"there is no folder .*nowhere"):
        read_manifests(path, images=tmp_path / "nowhere")


def test_a_thousand_equal_faults_are_one_with_three_examples_and_no_consequences(tmp_path: Path) -> None:
    lines = [f"{number}.png,s{number},0,,test" for number in range(1000)]
    (fault,) = read_manifests(table(tmp_path / "a.csv", NEEDED, *lines, make=False)).faults
    assert "a.csv, 1000 times: unknown label '0' (line 2, line 3, line 4 and 997 more). Use" in str(fault)
    lines = [f"{number}.png,s{number},live,,test" for number in range(1000)]
    manifests = read_manifests(table(tmp_path / "b.csv", NEEDED, *lines, make=False))
    (missing,) = manifests.row_faults("test")
    assert "b.csv, 1000 times: row 2 " in str(missing)
    assert str(missing).count("does not exist") == 3
    assert "and 997 more of this kind. Where do the relative paths begin?" in str(missing)


def test_few_faults_are_named_one_by_one(tmp_path: Path) -> None:
    lines = [f"{number}.png,s{number},{number % 2},,test" for number in range(3)]
    assert len(read_manifests(table(tmp_path / "a.csv", NEEDED, *lines)).faults) == 3
