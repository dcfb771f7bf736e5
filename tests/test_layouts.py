import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from dataset_trees import (
    CASIA_CLIPS,
    FRAMES,
    casia_tree,
    celeba_label,
    celeba_tree,
    describe,
    msu_tree,
    oulu_tree,
    replay_tree,
    tiny,
    write_file,
)

from swapbench.data import layouts
from swapbench.data.check import check_data
from swapbench.data.facebox import read_annotation
from swapbench.data.layouts import Corpus, oulu
from swapbench.data.protocol import open_data
from swapbench.data.samples import Annotation, Presentation
from swapbench.errors import BadDataset, UnknownName

TREES = {
    "OULU-NPU": oulu_tree,
    "CASIA-FASD": casia_tree,
    "Replay-Attack": replay_tree,
    "MSU-MFSD": msu_tree,
    "CelebA-Spoof": celeba_tree,
}


def read(root: Path) -> Corpus:
    layout = layouts.recognise(root)
    assert layout is not None
    return layout.read(root)


def counts(corpus: Corpus) -> dict[str, tuple[int, int]]:
    """Split -> bona fide and attack presentations."""
    found = Counter((one.split, one.label) for one in corpus.presentations)
    return {split: (found[split, "bona_fide"], found[split, "attack"]) for split in ("train", "dev", "test")}


def named(corpus: Corpus, name: str) -> Presentation:
    return next(one for one in corpus.presentations if one.name == name)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every dataset with all the names that were published (CelebA-Spoof: a few), files empty."""
    root = tmp_path_factory.mktemp("full")
    for name, tree in TREES.items():
        tree(root / name)
    return root


@pytest.mark.parametrize(
    ("name", "expected", "people"),
    [
        ("OULU-NPU", {"train": (360, 1440), "dev": (270, 1080), "test": (360, 1440)}, 55),
        ("CASIA-FASD", {"train": (60, 180), "dev": (0, 0), "test": (90, 270)}, 50),
        ("Replay-Attack", {"train": (60, 300), "dev": (60, 300), "test": (80, 400)}, 50),
        ("MSU-MFSD", {"train": (30, 90), "dev": (0, 0), "test": (40, 120)}, 35),
    ],
)
def test_the_published_tree_has_the_published_counts_and_nothing_is_odd(
    full: Path, name: str, expected: dict[str, tuple[int, int]], people: int
) -> None:
    corpus = read(full / name)
    assert corpus.title == name
    assert counts(corpus) == expected
    assert len({one.subject for one in corpus.presentations}) == people
    assert (corpus.missing, corpus.faults, corpus.findings) == ((), (), ())
    found = Counter((one.split, one.species or "bona_fide") for one in corpus.presentations)
    assert found == Counter(corpus.official)
    assert len({one.name for one in corpus.presentations}) == len(corpus.presentations)
    assert all(one.path.is_file() and one.video for one in corpus.presentations)


def test_every_field_of_an_oulu_name_is_read(tmp_path: Path) -> None:
    corpus = read(oulu_tree(tmp_path, people=1, annotations=True))
    path = tmp_path / "Dev_files" / "3_2_21_4.avi"
    assert named(corpus, "Dev_files/3_2_21_4.avi") == Presentation(
        name="Dev_files/3_2_21_4.avi",
        path=path,
        video=True,
        subject="oulu:21",
        label="attack",
        species="replay1",
        domain="O",
        session="2",
        device="phone 3",
        split="dev",
        annotation=Annotation(path.with_suffix(".txt"), "oulu"),
    )
    species = {one.name[-5]: one.species for one in corpus.presentations}
    assert species == {"1": "", "2": "print1", "3": "print2", "4": "replay1", "5": "replay2"}


def test_a_casia_number_is_somebody_else_in_test_and_clips_mean_what_the_paper_says(full: Path) -> None:
    corpus = read(full / "CASIA-FASD")
    first = {one.subject for one in corpus.presentations if "/1/" in one.name}
    assert first == {"casia:train_1", "casia:test_1"}
    clips = {one.path.stem: (one.species, one.device) for one in corpus.presentations}
    assert [clips[clip] for clip in CASIA_CLIPS] == [
        ("", "normal quality"),
        ("", "low quality"),
        ("warped", "normal quality"),
        ("warped", "low quality"),
        ("cut", "normal quality"),
        ("cut", "low quality"),
        ("video", "normal quality"),
        ("video", "low quality"),
        ("", "high quality"),
        ("warped", "high quality"),
        ("cut", "high quality"),
        ("video", "high quality"),
    ]


def test_replay_attack_has_three_species_and_a_mirrored_tree_of_faces(tmp_path: Path) -> None:
    corpus = read(replay_tree(tmp_path, people=1, annotations=True))
    name = "attack_mobile_client016_session01_mobile_video_adverse"
    assert named(corpus, f"devel/attack/hand/{name}.mov") == Presentation(
        name=f"devel/attack/hand/{name}.mov",
        path=tmp_path / "devel" / "attack" / "hand" / f"{name}.mov",
        video=True,
        subject="replay:016",
        label="attack",
        species="mobile",
        domain="I",
        session="adverse hand",
        device="webcam",
        split="dev",
        instrument="mobile_video",
        annotation=Annotation(
            tmp_path / "face-locations" / "devel" / "attack" / "hand" / f"{name}.face", "replay"
        ),
    )
    assert Counter(one.species for one in corpus.presentations if one.split == "dev") == {
        "": 4,
        "print": 4,
        "mobile": 8,
        "highdef": 8,
    }
    assert not any("enroll" in one.name for one in corpus.presentations)


def test_six_live_android_clips_of_msu_are_upside_down(full: Path) -> None:
    turned = [one for one in read(full / "MSU-MFSD").presentations if one.rotate_deg]
    assert [one.path.name for one in turned] == [
        f"real_client{client}_android_SD_scene01.mp4" for client in ("003", "005", "006", "007", "008", "009")
    ]
    assert {one.rotate_deg for one in turned} == {180}


def test_an_msu_face_file_belongs_to_the_clip_beside_it(tmp_path: Path) -> None:
    corpus = read(msu_tree(tmp_path, people=1, annotations=True))
    clip = named(corpus, "scene01/attack/attack_client001_laptop_SD_ipad_video_scene01.mov")
    assert clip.annotation == Annotation(clip.path.with_suffix(".face"), "msu")
    assert (clip.species, clip.device, clip.subject, clip.split) == (
        "ipad_video",
        "laptop",
        "msu:001",
        "test",
    )
    assert corpus.findings == ()


def test_celeba_spoof_labels_are_inverted_and_name_eleven_types(tmp_path: Path) -> None:
    corpus = read(celeba_tree(tmp_path, people=1, annotations=True))
    assert counts(corpus) == {"train": (1, 10), "dev": (0, 0), "test": (1, 10)}
    species = [one.species for one in sorted(corpus.presentations, key=lambda one: one.path.name)][:11]
    assert species[:4] == ["", "photo", "poster", "a4"]
    assert species[4:7] == ["face_mask", "upper_body_mask", "region_mask"]
    assert species[7:] == ["pc", "pad", "phone", "3d_mask"]
    path = tmp_path / "Data" / "train" / "1" / "spoof" / "000002.png"
    assert named(corpus, "Data/train/1/spoof/000002.png") == Presentation(
        name="Data/train/1/spoof/000002.png",
        path=path,
        video=False,
        subject="celeba:1",
        label="attack",
        species="photo",
        domain="celeba-spoof",
        session="indoor normal",
        split="train",
        annotation=Annotation(path.with_name("000002_BB.txt"), "celeba"),
    )
    assert corpus.remarks == ("CelebA-Spoof: 561,575 of the paper's 625,537 images were published",)


@pytest.mark.parametrize(("name", "other"), [("1/live/1.jpg", 1), ("1/spoof/1.jpg", 0)])
def test_a_celeba_entry_that_contradicts_its_folder_is_left_out_and_named(
    tmp_path: Path, name: str, other: int
) -> None:
    root = celeba_tree(tmp_path, people=1)
    labels = root / "metas" / "intra_test" / "train_label.json"
    write_file(
        labels, json.dumps(json.loads(labels.read_text()) | {f"Data/train/{name}": celeba_label(other)})
    )
    corpus = read(root)
    assert corpus.remarks[-1] == (
        f"metas/intra_test/train_label.json: left out 1 row naming both live and spoof (Data/train/{name})"
    )
    assert len(corpus.presentations) == 22
    assert corpus.missing == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "train_label.json is not JSON"),
        ("[]", "train_label.json does not map any image to its labels"),
        (b"\xff\xfe\x00", "train_label.json is not JSON"),
        (json.dumps({"Data/train/1/live/1.jpg": [0] * 43}), "1 row not of the form image: 44 labels"),
        (
            json.dumps({"Data/train/1/live/1.jpg": [0] * 40 + [11, 0, 0, 1]}),
            "1 row not of the form image: 44 labels",
        ),
        (json.dumps({"Data/train/1/live/1.jpg": [0] * 43 + ["1"]}), "1 row not of the form image: 44 labels"),
        (json.dumps({"Data/train/1/live/1.jpg": 1}), "1 row not of the form image: 44 labels"),
        (json.dumps({"../../etc/live/1.jpg": celeba_label(0)}), "1 row not of the form image: 44 labels"),
    ],
)
def test_a_broken_celeba_list_is_a_fault_that_names_it(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    root = celeba_tree(tmp_path, people=1)
    path = root / "metas" / "intra_test" / "train_label.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (fault,) = read(root).faults
    assert message in str(fault)
    assert "train_label.json" in str(fault)


def test_a_celeba_image_without_a_file_is_missing(tmp_path: Path) -> None:
    root = celeba_tree(tmp_path, people=2)
    (root / "Data" / "test" / "1001" / "live" / "000023.jpg").unlink()
    shutil.rmtree(root / "Data" / "train" / "2" / "live")
    corpus = read(root)
    assert [one.name for one in corpus.missing] == [
        "Data/train/2/live/000012.jpg",
        "Data/test/1001/live/000023.jpg",
    ]


@pytest.mark.parametrize(
    ("name", "gone", "expected"),
    [
        ("OULU-NPU", "Dev_files", ["has no Dev_files"]),
        ("CASIA-FASD", "test_release", ["has no test_release"]),
        ("Replay-Attack", "devel/attack/hand", ["has no devel/attack/hand"]),
        (
            "Replay-Attack",
            "test",
            ["has no test/real", "has no test/attack/fixed", "has no test/attack/hand"],
        ),
        ("MSU-MFSD", "scene01/attack", ["has no scene01/attack"]),
        ("CelebA-Spoof", "metas", ["metas/intra_test/train_label.json", "metas/intra_test/test_label.json"]),
    ],
)
def test_an_official_folder_that_is_not_there_is_a_fault(
    tmp_path: Path, name: str, gone: str, expected: list[str]
) -> None:
    options = {} if name == "CelebA-Spoof" else {"people": 1}
    root = TREES[name](tmp_path, **options)
    shutil.rmtree(root / gone)
    faults = [str(fault) for fault in read(root).faults]
    assert len(faults) == len(expected)
    assert all(text in fault for text, fault in zip(expected, faults, strict=True))


@pytest.mark.parametrize(
    ("name", "file", "place"),
    [
        ("OULU-NPU", "Train_files/1_1_1_1.avi", "Train_files"),
        ("OULU-NPU", "Train_files/7_1_01_1.avi", "Train_files"),
        ("OULU-NPU", "Test_files/1_1_36_1.av", "Test_files"),
        ("CASIA-FASD", "train_release/1/9.avi", "train_release"),
        ("CASIA-FASD", "train_release/21/1.avi", "train_release"),
        ("CASIA-FASD", "train_release/01/1.avi", "train_release"),
        ("Replay-Attack", "test/real/client031_session01_webcam_authenticate_adverse_3.mov", "test/real"),
        (
            "Replay-Attack",
            "test/real/attack_print_client031_session01_highdef_photo_adverse.mov",
            "test/real",
        ),
        ("MSU-MFSD", "scene01/real/real_client001_android_SD_scene01.mov", "scene01/real"),
        ("MSU-MFSD", "scene01/real/real_client004_android_SD_scene01.mp4", "scene01/real"),
        ("MSU-MFSD", "scene01/real/attack_client001_laptop_SD_ipad_video_scene01.mov", "scene01/real"),
        ("MSU-MFSD", "scene01/attack/attack_client001_laptop_SD_scene01.mov", "scene01/attack"),
    ],
)
def test_a_name_that_a_dataset_does_not_use_is_left_out_and_named(
    tmp_path: Path, name: str, file: str, place: str
) -> None:
    root = TREES[name](tmp_path)
    before = read(root)
    write_file(root / file, "")
    after = read(root)
    assert after.presentations == before.presentations
    (finding,) = after.findings
    assert finding.startswith(f"{place}: left out 1 name that {name} does not use (")
    assert Path(file).name in finding or Path(file).parent.name in finding


def test_hidden_files_are_nothing_odd(tmp_path: Path) -> None:
    root = casia_tree(tmp_path)
    for name in (".DS_Store", "train_release/._1", "train_release/1/._1.avi"):
        write_file(root / name, "")
    assert read(root).findings == ()


def test_an_oulu_clip_in_the_folder_of_another_split_is_left_out_and_missing_where_it_belongs(
    tmp_path: Path,
) -> None:
    root = oulu_tree(tmp_path)
    (root / "Test_files" / "1_1_36_1.avi").rename(root / "Train_files" / "1_1_36_1.avi")
    corpus = read(root)
    assert corpus.findings == ("Train_files: left out 1 clip of people of another split (1_1_36_1)",)
    assert [one.name for one in corpus.missing] == ["Test_files/1_1_36_1.avi"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("OULU-NPU", "Train_files/1_1_01_1.avi"),
        ("CASIA-FASD", "test_release/30/HR_4.avi"),
        ("Replay-Attack", "train/attack/fixed/attack_print_client001_session01_highdef_photo_adverse.mov"),
        ("MSU-MFSD", "scene01/attack/attack_client051_laptop_SD_printed_photo_scene01.mov"),
    ],
)
def test_a_clip_that_was_published_and_has_no_file_is_missing_with_all_that_its_name_says(
    tmp_path: Path, name: str, file: str
) -> None:
    root = TREES[name](tmp_path)
    whole = read(root)
    (root / file).unlink()
    corpus = read(root)
    assert corpus.missing == (named(whole, file),)
    assert len(corpus.presentations) == len(whole.presentations) - 1


def test_clients_of_replay_attack_that_are_not_there_at_all_are_counted(tmp_path: Path) -> None:
    corpus = read(replay_tree(tmp_path, people=2))
    assert corpus.findings == (
        "train: 2 clients of 15 that were published",
        "devel: 2 clients of 15 that were published",
        "test: 2 clients of 20 that were published",
    )


@pytest.mark.parametrize("name", ["OULU-NPU", "CASIA-FASD", "Replay-Attack", "MSU-MFSD"])
def test_of_a_simulated_tree_nothing_is_expected_and_its_own_name_is_used(tmp_path: Path, name: str) -> None:
    root = describe(TREES[name](tmp_path, people=2)).parent
    corpus = read(root)
    assert (corpus.simulated, corpus.title, corpus.official) == (True, "simulated tree", {})
    assert corpus.notice == "Simulated data; not PAD performance."
    assert (corpus.missing, corpus.findings, corpus.faults) == ((), (), ())


def test_a_description_that_says_the_data_are_real_changes_nothing(tmp_path: Path) -> None:
    root = describe(msu_tree(tmp_path), simulated=False, notice="").parent
    corpus = read(root)
    assert (corpus.simulated, corpus.title, len(corpus.official)) == (False, "MSU-MFSD", 8)
    write_file(root / "dataset.json", "{")
    with pytest.raises(BadDataset, match=r"dataset\.json is not JSON"):
        read(root)


def test_the_lists_of_the_four_protocols_follow_from_names_with_the_published_counts() -> None:
    def total(protocol: int, phone: int | None) -> dict[str, tuple[int, int]]:
        official = oulu.official(protocol, phone)
        return {
            split: (
                official[split, "bona_fide"],
                sum(n for (where, kind), n in official.items() if where == split and kind != "bona_fide"),
            )
            for split in ("train", "dev", "test")
        }

    assert total(1, None) == {"train": (240, 960), "dev": (180, 720), "test": (120, 480)}
    assert total(2, None) == {"train": (360, 720), "dev": (270, 540), "test": (360, 720)}
    for phone in range(1, 7):
        assert total(3, phone) == {"train": (300, 1200), "dev": (225, 900), "test": (60, 240)}
        assert total(4, phone) == {"train": (200, 400), "dev": (150, 300), "test": (20, 40)}


def test_a_folder_is_recognised_by_what_lies_in_it_not_by_its_name(full: Path, tmp_path: Path) -> None:
    for name in TREES:
        layout = layouts.recognise(full / name)
        assert layout is not None
        assert layout.title == name
    for folder in ("train/A", "dev/A", "test/A", "data/train"):
        (tmp_path / folder).mkdir(parents=True)
    assert layouts.recognise(tmp_path) is None
    assert layouts.recognise(tmp_path / "nothing") is None


def test_datasets_are_found_below_a_data_root_by_letter(full: Path) -> None:
    found = layouts.find(full, ("O", "M"))
    assert found == {
        "O": full / "OULU-NPU",
        "C": full / "CASIA-FASD",
        "I": full / "Replay-Attack",
        "M": full / "MSU-MFSD",
    }
    assert layouts.find(full / "MSU-MFSD", ("M",)) == {"M": full / "MSU-MFSD"}


def test_a_dataset_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    casia_tree(tmp_path / "casia", people=1)
    with pytest.raises(
        BadDataset, match=r"no folder in .* has the layout of OULU-NPU \(O\)\. It holds C in casia"
    ):
        layouts.find(tmp_path, ("C", "O"))
    with pytest.raises(UnknownName, match=r"no dataset letter named 'X'. Known: C, I, M, O"):
        layouts.find(tmp_path, ("X",))
    with pytest.raises(BadDataset, match="there is no folder"):
        layouts.find(tmp_path / "nothing")
    casia_tree(tmp_path / "copy", people=1)
    with pytest.raises(BadDataset, match=r"holds CASIA-FASD \(C\) 2 times: casia, copy"):
        layouts.find(tmp_path, ("C",))


def test_clips_of_the_small_trees_are_real_videos(tmp_path: Path) -> None:
    casia_tree(tmp_path / "c", people=1, fill=tiny)
    msu_tree(tmp_path / "m", people=1, fill=tiny)
    for path in (
        tmp_path / "c" / "train_release" / "1" / "1.avi",
        *sorted((tmp_path / "m" / "scene01" / "real").iterdir())[:2],
    ):
        video = cv2.VideoCapture(str(path))
        frames = 0
        while video.read()[0]:
            frames += 1
        assert frames == FRAMES, path


def test_a_further_dataset_is_one_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def contents(root: Path, published: bool) -> layouts.Contents:
        assert published
        image = Presentation(
            name="faces/a.png",
            path=root / "faces" / "a.png",
            video=False,
            subject="mine:1",
            label="bona_fide",
            annotation=Annotation(root / "faces" / "a.txt", "mine"),
        )
        return layouts.Contents((image,))

    mine = layouts.Layout(
        letter="X",
        key="mine",
        title="Mine",
        marks=("faces",),
        contents=contents,
        official={("train", "bona_fide"): 1},
        protocol="own",
        faces=layouts.FaceFormat("mine", (3,), lambda numbers: (*numbers[:2], numbers[2], numbers[2]), False),
    )
    monkeypatch.setattr(layouts, "LAYOUTS", (*layouts.LAYOUTS, mine))
    root = tmp_path / "mine"
    write_file(root / "faces" / "a.txt", "1, 2, 30\n")
    assert layouts.find(tmp_path, "X") == {"X": root}
    assert layouts.recognise(root) is mine
    corpus = mine.read(root)
    assert (corpus.title, corpus.protocol, corpus.splits) == ("Mine", "own", ("train",))
    assert corpus.presentations[0].annotation is not None
    assert read_annotation(corpus.presentations[0].annotation).at(7, 64, 48) == (1, 2, 30, 30)


def renamed(root: Path, suffix: Callable[[str], str]) -> Path:
    """The same tree, in which every clip has another suffix."""
    for path in [*root.rglob("*.avi"), *root.rglob("*.mov"), *root.rglob("*.mp4")]:
        path.rename(path.with_suffix(suffix(path.suffix)))
    return root


OF_CLIPS = [name for name in TREES if name != "CelebA-Spoof"]


@pytest.mark.parametrize("name", OF_CLIPS)
def test_suffixes_in_capitals_are_the_datasets_own(tmp_path: Path, name: str) -> None:
    usual = read(TREES[name](tmp_path / "usual", people=1))
    capitals = read(renamed(TREES[name](tmp_path / "capitals", people=1), str.upper))
    assert {one.name for one in capitals.presentations} == {one.name for one in usual.presentations}
    assert all(one.path.is_file() and one.path.suffix.isupper() for one in capitals.presentations)
    assert len(capitals.missing) == len(usual.missing)
    assert (capitals.faults, capitals.findings) == ((), usual.findings)


@pytest.mark.parametrize("name", OF_CLIPS)
def test_where_no_clip_is_recognised_that_is_the_first_and_only_message(tmp_path: Path, name: str) -> None:
    root = renamed(TREES[name](tmp_path / name, people=1), lambda _: ".mkv")
    with pytest.raises(
        BadDataset, match=rf"no clip or image was recognised in .*{name}: .*left out \d+ names"
    ) as caught:
        open_data(root)
    assert "subjects" not in str(caught.value)
    faults = check_data(root).faults
    assert [text for text in faults if "no clip or image was recognised" in text] == list(faults)
