import csv
import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from dataset_trees import casia_tree, celeba_tree, describe, msu_tree, oulu_tree, replay_tree, write_file
from hypothesis import given
from hypothesis import strategies as st

from swapbench.data.check import check_data
from swapbench.data.dataset import Dataset
from swapbench.data.folds import Fold, development_people
from swapbench.data.protocol import open_data
from swapbench.data.samples import Presentation
from swapbench.errors import BadDataset, UnknownName, UserError


def trials(fold: Dataset) -> dict[str, tuple[int, int]]:
    """Split -> bona fide and attack presentations."""
    found = {}
    for split, samples in fold.splits.items():
        labels = Counter(label for _, label in {(one.presentation, one.label) for one in samples})
        found[split] = (labels["bona_fide"], labels["attack"])
    return found


def people(fold: Dataset, split: str) -> set[str]:
    return {sample.subject for sample in fold.samples(split)}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four datasets of the cross-dataset protocols with all names that were published, files empty."""
    root = tmp_path_factory.mktemp("full")
    oulu_tree(root / "oulu")
    casia_tree(root / "casia")
    replay_tree(root / "replay")
    msu_tree(root / "msu")
    return root


@pytest.fixture
def oulu(tmp_path: Path) -> Path:
    """OULU-NPU with three people and two phones in each split: lists and files agree."""
    return oulu_tree(tmp_path / "oulu", people=3, phones=(1, 2))


def sub_lines(path: Path, change: dict[str, str]) -> None:
    text = path.read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize(
    ("protocol", "folds", "expected"),
    [
        (None, [""], {"train": (240, 960), "dev": (180, 720), "test": (120, 480)}),
        ("1", [""], {"train": (240, 960), "dev": (180, 720), "test": (120, 480)}),
        ("2", [""], {"train": (360, 720), "dev": (270, 540), "test": (360, 720)}),
        ("3", list("123456"), {"train": (300, 1200), "dev": (225, 900), "test": (60, 240)}),
        ("4", list("123456"), {"train": (200, 400), "dev": (150, 300), "test": (20, 40)}),
        ("3_2", ["2"], {"train": (300, 1200), "dev": (225, 900), "test": (60, 240)}),
    ],
)
def test_the_folds_of_oulu_have_the_published_counts(
    full: Path, protocol: str | None, folds: list[str], expected: dict[str, tuple[int, int]]
) -> None:
    found = open_data(full / "oulu", protocol=protocol, frames_per_video=1)
    assert [fold.fold for fold in found] == folds
    assert [trials(fold) for fold in found] == [expected] * len(folds)
    number = protocol[0] if protocol else "1"
    assert {(fold.name, fold.protocol) for fold in found} == {("OULU-NPU", f"OULU-NPU protocol {number}")}


def test_a_fold_of_protocol_3_tests_its_own_phone_and_one_alone_says_so(full: Path) -> None:
    (fold,) = open_data(full / "oulu", protocol="3_2", frames_per_video=1)
    assert {sample.device for sample in fold.samples("test")} == {"phone 2"}
    assert "phone 2" not in {sample.device for sample in (*fold.samples("train"), *fold.samples("dev"))}
    assert fold.basis == (
        (
            "APCER is the maximum over print1, print2, replay1 and replay2;"
            " the lists themselves name print and replay"
        ),
        "fold 2 alone: protocol 3 is reported over all of its folds",
    )


def test_frames_are_spread_over_each_video_and_stay_in_one_split(full: Path) -> None:
    (fold,) = open_data(full / "msu", frames_per_video=3, splits=("test",))
    assert list(fold.splits) == ["test"]
    first = [
        sample
        for sample in fold.samples("test")
        if sample.presentation == fold.samples("test")[0].presentation
    ]
    assert [(sample.frame, sample.spread, sample.split) for sample in first] == [
        (0, 3, "test"),
        (1, 3, "test"),
        (2, 3, "test"),
    ]
    assert len(fold.samples("test")) == 3 * 160


@pytest.mark.parametrize(
    ("name", "words", "expected", "basis"),
    [
        (
            "casia",
            "CASIA-FASD",
            {"train": (48, 144), "dev": (12, 36), "test": (90, 270)},
            "development split carved by subject from train: 4 of 20 people (casia:train_",
        ),
        (
            "msu",
            "MSU-MFSD",
            {"train": (24, 72), "dev": (6, 18), "test": (40, 120)},
            "development split carved by subject from train: 3 of 15 people (msu:",
        ),
        ("replay", "Replay-Attack grandtest", {"train": (60, 300), "dev": (60, 300), "test": (80, 400)}, ""),
    ],
)
def test_own_splits_have_a_development_split_that_shares_nobody(
    full: Path, name: str, words: str, expected: dict[str, tuple[int, int]], basis: str
) -> None:
    for protocol in (None, "intra", "grandtest"):
        (fold,) = open_data(full / name, protocol=protocol, frames_per_video=1)
        assert trials(fold) == expected
        assert (fold.protocol, fold.fold) == (words, "")
        assert not people(fold, "dev") & (people(fold, "train") | people(fold, "test"))
        assert [line[: len(basis)] for line in fold.basis] == ([basis] if basis else [])


def test_celeba_spoof_develops_with_a_fifth_of_its_training_people(tmp_path: Path) -> None:
    (fold,) = open_data(celeba_tree(tmp_path, people=10))
    assert trials(fold) == {"train": (8, 80), "dev": (2, 20), "test": (10, 100)}
    assert fold.protocol == "CelebA-Spoof intra-test"
    assert all(sample.spread == 0 for sample in fold.samples("test"))


def test_sources_train_as_in_ssdg_and_develop_on_their_own_people(full: Path) -> None:
    (fold,) = open_data(None, data_root=full, protocol="O+C+I:M", frames_per_video=1)
    # O 720/2880 train+test; C 40 of 50 people: 120/360; I 140/700; M all 70/210
    assert trials(fold)["train"] == (720 + 120 + 140, 2880 + 360 + 700)
    # O 270/1080; C 10 people: 30/90; I 60/300
    assert trials(fold)["dev"] == (270 + 30 + 60, 1080 + 90 + 300)
    assert trials(fold)["test"] == (70, 210)
    assert (fold.name, fold.protocol) == ("OULU-NPU + CASIA-FASD + Replay-Attack to MSU-MFSD", "O+C+I to M")
    assert {sample.domain for sample in fold.samples("train")} == {"O", "C", "I"}
    assert {sample.domain for sample in fold.samples("test")} == {"M"}
    assert fold.samples("test")[0].name.startswith("msu-mfsd/scene01/")
    assert fold.basis[0] == "OULU-NPU: trains with its train and test, develops with its own dev"
    assert fold.basis[1].startswith(
        "development split carved by subject from all of CASIA-FASD: 10 of 50 people"
    )
    assert fold.basis[-1] == "tested on MSU-MFSD: everything, as in SSDG (CVPR 2020)"


def test_a_target_with_a_dev_split_is_tested_without_it(full: Path) -> None:
    (fold,) = open_data(None, data_root=full, protocol="M+C:O", frames_per_video=1)
    assert trials(fold) == {
        "train": (28 * 2 + 120, 28 * 6 + 360),
        "dev": (7 * 2 + 30, 7 * 6 + 90),
        "test": (720, 2880),
    }
    assert fold.basis[-1] == "tested on OULU-NPU: train and test, without its dev, as in SSDG (CVPR 2020)"
    assert people(fold, "test") == {f"oulu:{user:02d}" for user in (*range(1, 21), *range(36, 56))}


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("5", "there is no protocol '5'"),
        ("1_2", "there is no protocol '1_2'"),
        ("3_7", "there is no protocol '3_7'"),
        ("O+C", r"there is no protocol 'O\+C'"),
        ("O+C:M", "is one dataset, OULU-NPU, and does not hold C"),
    ],
)
def test_a_protocol_that_oulu_does_not_have_is_refused(oulu: Path, protocol: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_data(oulu, protocol=protocol)


def test_a_protocol_of_oulu_is_not_anybody_elses(full: Path, domains: Path) -> None:
    with pytest.raises(UserError, match=r"protocol 1 belongs to OULU-NPU; .* is CASIA-FASD"):
        open_data(full / "casia", protocol="1")
    with pytest.raises(UserError, match=r"protocol 3_1 belongs to OULU-NPU; .* is described by manifests"):
        open_data(domains, protocol="3_1")


@pytest.mark.parametrize(
    ("protocol", "error", "message"),
    [
        ("O+X:M", UnknownName, "no dataset letter named 'X'"),
        ("O+M:M", UserError, "names M twice"),
        ("O+O:M", UserError, "names O twice"),
        ("O:C+M", UserError, "is not of the form sources:target"),
        ("O+:M", UserError, "is not of the form sources:target"),
        ("O:", UserError, "is not of the form sources:target"),
        ("1", UserError, "protocol '1' is not a protocol across datasets"),
        (None, UserError, "protocol '' is not a protocol across datasets"),
    ],
)
def test_a_protocol_over_datasets_must_be_sources_and_one_target(
    full: Path, protocol: str | None, error: type[UserError], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_data(None, data_root=full, protocol=protocol)


def test_data_come_from_one_place(full: Path) -> None:
    with pytest.raises(UserError, match="give either a dataset or a data root"):
        open_data(None)
    with pytest.raises(UserError, match="give either a dataset or a data root"):
        open_data(full / "oulu", data_root=full, protocol="O:M")
    with pytest.raises(UnknownName, match="no split named 'eval'"):
        open_data(full / "casia", splits=("eval",))


def test_a_folder_of_datasets_given_as_one_dataset_says_what_lies_below(full: Path, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="It holds casia, msu, oulu and 1 more: name one of them"):
        open_data(full)
    with pytest.raises(
        BadDataset,
        match=r"no folders live and spoof, and does not have the layout of OULU-NPU, CASIA-FASD",
    ):
        open_data(tmp_path)
    with pytest.raises(BadDataset, match="there is no dataset "):
        open_data(tmp_path / "nothing")
    with pytest.raises(BadDataset, match=r"notes\.txt is not a dataset"):
        open_data(write_file(tmp_path / "notes.txt", ""))


def test_a_list_that_is_not_there_is_named(oulu: Path) -> None:
    (oulu / "Protocols" / "Protocol_1" / "Dev.txt").unlink()
    with pytest.raises(BadDataset, match=r"has no Protocols/Protocol_1/Dev\.txt"):
        open_data(oulu, protocol="1")
    assert len(open_data(oulu, protocol="2")) == 1


IN_CONFLICT = "1 sign in conflict with the names"
NOT_OF_THE_FORM = "1 line not of the form sign,P_S_UU_F"


@pytest.mark.parametrize(
    ("split", "change", "message"),
    [
        (
            "Train",
            {"+1,1_1_01_1\n": "-1,1_1_01_1\n"},
            f"{IN_CONFLICT} (line 1 '-1,1_1_01_1', bona_fide by its name)",
        ),
        ("Train", {"-1,1_1_01_4\n": "-2,1_1_01_4\n"}, f"{IN_CONFLICT} (line 4 '-2,1_1_01_4', replay1"),
        ("Test", {"-2,1_3_36_4\n": "-1,1_3_36_4\n"}, f"{IN_CONFLICT} (line 4 '-1,1_3_36_4', replay1"),
        ("Test", {"-1,1_3_36_2\n": "+1,1_3_36_2\n"}, f"{IN_CONFLICT} (line 2 '+1,1_3_36_2', print1"),
        ("Test", {"+1,1_3_36_1\n": "+1 1_3_36_1\n"}, f"{NOT_OF_THE_FORM} (line 1 '+1 1_3_36_1')"),
        ("Test", {"+1,1_3_36_1\n": "+1,1_3_36_\n"}, f"{NOT_OF_THE_FORM} (line 1 '+1,1_3_36_')"),
        ("Test", {"+1,1_3_36_1\n": "0,1_3_36_1\n"}, "1 line not of the form"),
        ("Test", {"+1,1_3_36_1\n": "+1,1_3_36_1\n+1,1_3_36_1\n"}, "1 clip listed twice (line 2 1_3_36_1)"),
    ],
)
def test_a_wrong_line_of_a_list_is_refused_with_its_number(
    oulu: Path, split: str, change: dict[str, str], message: str
) -> None:
    sub_lines(oulu / "Protocols" / "Protocol_1" / f"{split}.txt", change)
    with pytest.raises(BadDataset) as caught:
        open_data(oulu, protocol="1")
    assert f"Protocols/Protocol_1/{split}.txt: {message}" in str(caught.value)
    assert message in check_data(oulu, protocol="1").faults[0]


def test_an_empty_list_and_one_that_is_no_text_are_refused(oulu: Path) -> None:
    path = oulu / "Protocols" / "Protocol_1" / "Test.txt"
    path.write_text("\n")
    with pytest.raises(BadDataset, match=r"Protocols/Protocol_1/Test\.txt lists nothing"):
        open_data(oulu)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadDataset, match=r"cannot read .*Test\.txt"):
        open_data(oulu)


def test_lists_with_other_line_ends_and_a_byte_order_mark_are_read(oulu: Path) -> None:
    before = trials(open_data(oulu)[0])
    for path in (oulu / "Protocols" / "Protocol_1").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert trials(open_data(oulu)[0]) == before


def test_a_listed_clip_without_a_file_is_counted_and_named_in_what_the_numbers_rest_on(oulu: Path) -> None:
    (oulu / "Test_files" / "1_3_36_2.avi").unlink()
    (oulu / "Test_files" / "1_3_37_5.avi").unlink()
    (fold,) = open_data(oulu, protocol="1")
    assert trials(fold)["test"] == (6, 22)
    assert fold.basis[-1] == (
        "2 of 30 listed test videos are missing, first: Test_files/1_3_36_2.avi, Test_files/1_3_37_5.avi"
    )
    (train,) = open_data(oulu, protocol="1", splits=("train", "dev"))
    assert not [line for line in train.basis if "are missing" in line]


def test_a_list_that_names_other_clips_than_the_published_protocol_says_so(oulu: Path) -> None:
    path = oulu / "Protocols" / "Protocol_1" / "Test.txt"
    path.write_text(path.read_text() + "+1,1_1_36_1\n")
    basis = open_data(oulu, protocol="1")[0].basis
    assert (
        "Protocols/Protocol_1/Test.txt: 1 clip that the published protocol does not have there"
        " (Test_files/1_1_36_1.avi)"
    ) in basis
    assert any("570 of the 600 clips of the published protocol not listed" in line for line in basis)


def test_a_species_of_which_no_file_is_left_is_refused(full: Path, tmp_path: Path) -> None:
    root = oulu_tree(tmp_path / "oulu", people=3, phones=(1, 2))
    for path in (root / "Test_files").glob("*_4.avi"):
        path.unlink()
    with pytest.raises(
        BadDataset, match=r"test of OULU-NPU protocol 1 lists 6 presentations of replay1, but no file"
    ):
        open_data(root, protocol="1")
    assert len(open_data(root, protocol="1", splits=("train", "dev"))) == 1
    casia = casia_tree(tmp_path / "casia")
    for clip in ("5", "6", "HR_3"):
        for path in (casia / "test_release").glob(f"*/{clip}.avi"):
            path.unlink()
    with pytest.raises(BadDataset, match="test of CASIA-FASD lists 90 presentations of cut, but no file"):
        open_data(casia)


def test_a_person_in_two_splits_is_refused_whichever_split_is_asked_for(full: Path, tmp_path: Path) -> None:
    root = replay_tree(tmp_path, people=4)
    for path in list((root / "train" / "real").glob("client001*")):
        shutil.copy(path, root / "test" / "real")
    for splits in (("test",), ("dev",), ("train", "dev", "test")):
        with pytest.raises(BadDataset, match=r"subject 'replay:001' is in train \(.*\) and in test \(.*\)"):
            open_data(root, splits=splits)
    checked = check_data(root)
    assert checked.people == ("Replay-Attack grandtest: train and test share 1 subject (replay:001)",)
    assert not checked.complete


def test_a_split_without_attacks_is_refused(tmp_path: Path) -> None:
    root = celeba_tree(tmp_path, people=5)
    path = root / "metas" / "intra_test" / "test_label.json"
    labels = {name: row for name, row in json.loads(path.read_text()).items() if "/live/" in name}
    path.write_text(json.dumps(labels))
    with pytest.raises(BadDataset, match="test of CelebA-Spoof intra-test has no attack samples"):
        open_data(root)
    assert set(open_data(root, splits=("dev",))[0].splits) == {"dev"}


def test_a_folder_that_is_not_there_is_refused_and_the_check_lists_what_else_is_wrong(oulu: Path) -> None:
    shutil.rmtree(oulu / "Dev_files")
    (oulu / "Protocols" / "Protocol_1" / "Test.txt").unlink()
    with pytest.raises(BadDataset, match=r"has no Dev_files\. .* And \d+ more: swapbench data check lists"):
        open_data(oulu, protocol="1")
    checked = check_data(oulu, protocol="1")
    text = "\n".join(checked.lines())
    assert "has no Dev_files" in text
    assert "has no Protocols/Protocol_1/Test.txt" in text
    assert "dev of OULU-NPU protocol 1 lists 12 presentations of bona_fide, but no file" in text
    assert not checked.complete


def test_a_simulated_tree_stays_simulated_and_has_the_folds_that_it_lists(tmp_path: Path) -> None:
    root = describe(oulu_tree(tmp_path, people=2, phones=(1, 2, 3)), name="simulated").parent
    shutil.rmtree(root / "Protocols" / "Protocol_4")
    for phone in (4, 5, 6):
        (root / "Protocols" / "Protocol_3" / f"Test_{phone}.txt").unlink()
    folds = open_data(root, protocol="3")
    assert [fold.fold for fold in folds] == ["1", "2", "3"]
    assert {(fold.name, fold.protocol, fold.simulated) for fold in folds} == {
        ("simulated", "simulated protocol 3", True)
    }
    assert folds[0].notice == "Simulated data; not PAD performance."
    with pytest.raises(BadDataset, match=r"has no Protocols/Protocol_4/Train_1\.txt"):
        open_data(root, protocol="4")
    assert check_data(root, protocol="3").complete


def test_one_simulated_dataset_makes_a_fold_over_several_simulated(full: Path, tmp_path: Path) -> None:
    describe(casia_tree(tmp_path / "c", people=4), name="simulated C")
    msu_tree(tmp_path / "m", people=4)
    (fold,) = open_data(None, data_root=tmp_path, protocol="C:M")
    assert (fold.simulated, fold.notice) == (True, "Simulated data; not PAD performance.")
    assert fold.name == "simulated C to MSU-MFSD"


def test_frames_of_one_presentation_in_two_splits_are_refused(tmp_path: Path) -> None:
    one, other = (item.samples(2, "test") for item in shown("p", "", "print"))
    moved = tuple(dataclasses.replace(sample, split="dev", subject="q") for sample in other)
    fold = Fold("made", tmp_path, {"dev": moved[:1], "test": (*one, *other[1:])})
    assert "made: presentation 'p-print' is in dev and in test" in [
        str(fault) for fault in fold.problems(("test",))
    ]


# --- manifests ---


def manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        write_file(path.parent / row["path"], row["path"])
    return path


def shots(split: str, domain: str, number: int) -> list[dict[str, str]]:
    """A bona fide image and an attack of one person."""
    return [
        {
            "path": f"{split}/{domain}{number}-{species or 'live'}.png",
            "subject": f"{domain}{split}{number}",
            "label": "attack" if species else "bona_fide",
            "species": species,
            "split": split,
            "domain": domain,
        }
        for species in ("", "print")
    ]


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    """A single manifest with three domains, two people each in train, one in dev and one in test."""
    rows = [
        row
        for domain in "ABC"
        for split, count in (("train", 2), ("dev", 1), ("test", 1))
        for number in range(count)
        for row in shots(split, domain, number)
    ]
    return manifest(tmp_path / "set" / "manifest.csv", rows).parent


def test_domains_of_one_folder_are_letters_of_a_protocol(domains: Path) -> None:
    (fold,) = open_data(domains, protocol="A+B:C")
    assert trials(fold) == {"train": (4, 4), "dev": (2, 2), "test": (1, 1)}
    assert {split: {one.domain for one in items} for split, items in fold.splits.items()} == {
        "train": {"A", "B"},
        "dev": {"A", "B"},
        "test": {"C"},
    }
    assert (fold.name, fold.protocol) == ("set", "A+B to C")
    (basis,) = fold.basis
    assert basis.startswith(
        "train and dev are those of the domains A, B, test is that of domain C; people are"
    )
    with pytest.raises(UnknownName, match=r"no domain named 'E'.*A, B, C"):
        open_data(domains, protocol="A+E:C")


def test_a_manifest_without_a_protocol_has_its_own_splits(domains: Path) -> None:
    (fold,) = open_data(domains)
    assert (fold.protocol, fold.fold, fold.basis) == ("", "", ())
    assert fold.digest() == Dataset.load(domains).digest()
    assert trials(fold) == {"train": (6, 6), "dev": (3, 3), "test": (3, 3)}


def test_a_manifest_without_a_development_split_has_one_carved(tmp_path: Path) -> None:
    rows = [row for number in range(10) for row in shots("train", "A", number)]
    data = manifest(tmp_path / "mine.csv", [*rows, *shots("test", "A", 0)])
    (fold,) = open_data(data)
    assert trials(fold) == {"train": (8, 8), "dev": (2, 2), "test": (1, 1)}
    assert {sample.split for sample in fold.samples("dev")} == {"dev"}
    assert fold.basis[0].startswith("development split carved by subject from train: 2 of 10 people (Atrain")
    (again,) = open_data(data, splits=("dev", "test"))
    assert again.samples("dev") == fold.samples("dev")


def test_a_split_that_no_row_has_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    data = manifest(tmp_path / "mine.csv", shots("test", "A", 0))
    with pytest.raises(BadDataset, match=r"mine has no dev split\. Available splits: test"):
        open_data(data, splits=("dev", "test"))
    assert trials(open_data(data, splits=("test",))[0]) == {"test": (1, 1)}


def test_the_check_of_a_manifest_lists_everything_that_is_wrong(tmp_path: Path) -> None:
    rows = [*shots("train", "A", 0), *shots("dev", "A", 0), *shots("test", "A", 0), *shots("test", "A", 1)]
    rows[0]["subject"] = rows[4]["subject"]
    rows[1]["label"] = "spoofy"
    rows[7]["species"] = ""
    data = manifest(tmp_path / "mine.csv", rows)
    (tmp_path / rows[2]["path"]).unlink()
    checked = check_data(data)
    text = "\n".join(checked.faults)
    assert "line 3: unknown label 'spoofy'. Use bona_fide or attack." in text
    assert "line 9: the attack has no species" in text
    assert "row 4: " in text
    assert "does not exist" in text
    assert "subject 'Atest0' is in train" in text
    assert "no attack samples" not in text  # only because row 3 is refused
    assert len(checked.faults) == 4
    assert not checked.complete


# --- the check of official layouts ---


def test_the_check_holds_counts_against_the_published_ones(full: Path) -> None:
    checked = check_data(full / "oulu", protocol="1")
    assert checked.title == "OULU-NPU protocol 1"
    assert checked.complete
    assert checked.table()[:2] == [
        {"fold": "", "split": "train", "class": "bona_fide", "found": 240, "official": 240, "subjects": 20},
        {"fold": "", "split": "train", "class": "print1", "found": 240, "official": 240, "subjects": 20},
    ]
    assert len(checked.rows) == 15
    assert checked.people == (
        "OULU-NPU protocol 1: nobody is in two splits (20 in train, 15 in dev, 20 in test)",
    )
    assert checked.lines()[-1] == "complete"
    assert json.loads(json.dumps(checked.as_json()))["complete"] is True


def test_the_check_counts_a_carved_dataset_whole_and_carved(full: Path) -> None:
    checked = check_data(full / "casia")
    whole = [row for row in checked.rows if row.fold == "all of CASIA-FASD"]
    assert [(row.split, row.kind, row.found, row.official) for row in whole] == [
        ("train", "bona_fide", 60, 60),
        ("train", "cut", 60, 60),
        ("train", "video", 60, 60),
        ("train", "warped", 60, 60),
        ("test", "bona_fide", 90, 90),
        ("test", "cut", 90, 90),
        ("test", "video", 90, 90),
        ("test", "warped", 90, 90),
    ]
    assert [(row.split, row.found) for row in checked.rows if row.fold == "" and row.kind == "bona_fide"] == [
        ("train", 48),
        ("dev", 12),
        ("test", 90),
    ]
    assert checked.complete


def test_the_check_over_datasets_counts_each_of_them(full: Path) -> None:
    checked = check_data(None, data_root=full, protocol="O+C+I:M")
    assert checked.complete
    assert {row.fold for row in checked.rows if row.official is not None} == {
        "all of OULU-NPU",
        "all of CASIA-FASD",
        "all of Replay-Attack",
        "all of MSU-MFSD",
    }


def test_the_check_names_what_is_missing_and_what_is_odd(tmp_path: Path) -> None:
    root = msu_tree(tmp_path)
    (root / "scene01" / "real" / "real_client001_laptop_SD_scene01.mov").unlink()
    write_file(root / "scene01" / "real" / "real_client001_laptop_SD_scene01.avi", "")
    checked = check_data(root)
    assert checked.missing == ("scene01/real/real_client001_laptop_SD_scene01.mov",)
    assert checked.findings == (
        "scene01/real: left out 1 name that MSU-MFSD does not use (real_client001_laptop_SD_scene01.avi)",
    )
    assert "missing: 1 file, first: scene01/real/real_client001_laptop_SD_scene01.mov" in checked.lines()
    assert checked.lines()[-1] == "not complete"
    (row,) = [row for row in checked.rows if row.found != row.official and row.official is not None]
    assert (row.split, row.kind, row.found, row.official) == ("test", "bona_fide", 39, 40)
    assert open_data(root)[0].basis[-1] == (
        "1 of 160 listed test videos are missing, first: scene01/real/real_client001_laptop_SD_scene01.mov"
    )


def test_an_incomplete_celeba_spoof_is_counted_against_the_published_lists(tmp_path: Path) -> None:
    checked = check_data(celeba_tree(tmp_path, people=5))
    whole = [row for row in checked.rows if row.official is not None]
    assert [(row.split, row.kind, row.found, row.official, row.people) for row in whole] == [
        ("train", "all", 55, 494_405, 5),
        ("test", "all", 55, 67_170, 5),
    ]
    assert not checked.complete


# --- carving ---


def shown(who: str, *species: str) -> list[Presentation]:
    return [
        Presentation(f"{who}-{one}", Path(who), True, who, "attack" if one else "bona_fide", one)
        for one in species
    ]


def test_a_fifth_of_the_people_is_taken_in_the_order_of_the_digests_of_their_names() -> None:
    items = [one for number in range(10) for one in shown(f"p{number}", "", "print")]
    # `printf p7 | sha256sum` begins with 03, p0 with 16, p9 with 26
    assert development_people(items) == ("p7", "p0")
    assert development_people(reversed(items)) == ("p7", "p0")


def test_people_who_show_a_rare_species_are_on_both_sides() -> None:
    items = [one for number in range(20) for one in shown(f"p{number}", "", "print")]
    items += [*shown("p3", "mask"), *shown("p7", "mask")]
    chosen = development_people(items)
    assert len(chosen) == 4
    assert len({"p3", "p7"} & set(chosen)) == 1


def test_a_species_that_only_one_person_shows_cannot_be_carved() -> None:
    items = [one for number in range(8) for one in shown(f"p{number}", "", "print")]
    with pytest.raises(BadDataset, match=r"too few people show mask \(1\) to have some on both sides"):
        development_people([*items, *shown("p0", "mask")])
    with pytest.raises(BadDataset, match="no development split can be carved from 3 subjects"):
        development_people(items[:6])


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=4),
        st.sets(st.sampled_from(["", "print", "replay", "mask"]), min_size=1),
        max_size=30,
    )
)
def test_a_carved_split_has_everything_on_both_sides_or_is_refused(kinds: dict[str, set[str]]) -> None:
    items = [one for who, species in kinds.items() for one in shown(who, *sorted(species))]
    every = set().union(*kinds.values())
    everybody_shows_all = all(species == every for species in kinds.values())
    try:
        chosen = set(development_people(items))
    except BadDataset:
        assert len(kinds) < 4 or not everybody_shows_all
        return
    assert set().union(*(kinds[who] for who in chosen)) == every
    assert set().union(*(kinds[who] for who in kinds if who not in chosen)) == every
    assert 2 <= len(chosen) <= len(kinds) - 2
    if everybody_shows_all:
        assert len(chosen) == max(2, round(len(kinds) / 5))
