"""The simulated tree in the layout of OULU-NPU: names, lists, eyes, bytes; the real reader reads it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2
from PIL import Image

from swapbench.data.facebox import read_annotation
from swapbench.data.frames import read_frames
from swapbench.data.layouts import oulu
from swapbench.data.layouts.oulu import box_of_eyes
from swapbench.data.protocol import open_data
from swapbench.errors import BadDataset, EnvironmentFailed, UserError
from swapbench.simulate import dataset as simulate
from swapbench.simulate import oulu_tree as subject_under_test
from swapbench.simulate import presentation, simulator
from swapbench.simulate.camera import SUPERSAMPLING
from swapbench.simulate.instruments import Sheet, Sheets
from swapbench.simulate.oulu_tree import (
    FILES,
    OuluRecipe,
    Video,
    contact_sheet,
    person,
    protocol_lists,
    simulate_oulu,
    videos,
)
from swapbench.simulate.recapture import Framings, bona_fide

TINY = OuluRecipe(seed=5, frame_px=48, source_px=96, frames=2, train_users=1, dev_users=1, test_users=1)
FULL = OuluRecipe(train_users=20, dev_users=15, test_users=20)


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def frames_of(path):
    film = cv2.VideoCapture(str(path))
    frames = []
    while True:
        done, frame = film.read()
        if not done:
            return frames
        frames.append(frame[..., ::-1])


def eyes_of(path):
    return [[int(number) for number in line.split(",")] for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        return simulate_oulu(tmp_path_factory.mktemp("once") / "tree", TINY, 1)


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


# ------------------------------------------------------------ names and lists


@pytest.mark.parametrize(
    ("protocol", "counts"),
    [
        ("1/{}", (240, 960, 180, 720, 120, 480)),
        ("2/{}", (360, 720, 270, 540, 360, 720)),
        *((f"3/{{}}_{phone}", (300, 1200, 225, 900, 60, 240)) for phone in range(1, 7)),
        *((f"4/{{}}_{phone}", (200, 400, 150, 300, 20, 40)) for phone in range(1, 7)),
    ],
)
def test_with_everybody_the_lists_hold_the_published_numbers_of_videos(protocol, counts):
    lists = protocol_lists(FULL)
    found = []
    for split in ("Train", "Dev", "Test"):
        signs = Counter(
            line.split(",")[0]
            for line in lists[f"Protocols/Protocol_{protocol.format(split)}.txt"].splitlines()
        )
        assert set(signs) == ({"+1", "-1", "-2"} if split == "Test" else {"+1", "-1"})
        found += [signs["+1"], signs["-1"] + signs["-2"]]
    assert tuple(found) == counts


def test_there_are_42_lists_and_4950_videos_of_everybody():
    lists = protocol_lists(FULL)
    assert len(lists) == 42
    named = {line.split(",")[1] for text in lists.values() for line in text.splitlines()}
    assert named == {video.name for split in ("train", "dev", "test") for video in videos(FULL, split)}
    assert len(named) == 4950


def test_a_list_looks_as_it_is_handed_out():
    lists = protocol_lists(FULL)
    train = lists["Protocols/Protocol_1/Train.txt"].splitlines()
    assert train[:6] == [
        "+1,1_1_01_1",
        "-1,1_1_01_2",
        "-1,1_1_01_3",
        "-1,1_1_01_4",
        "-1,1_1_01_5",
        "+1,1_1_02_1",
    ]
    test = lists["Protocols/Protocol_1/Test.txt"].splitlines()
    assert test[:5] == ["+1,1_3_36_1", "-1,1_3_36_2", "-1,1_3_36_3", "-2,1_3_36_4", "-2,1_3_36_5"]
    last = lists["Protocols/Protocol_4/Test_6.txt"].splitlines()
    assert last[:4] == ["+1,6_3_36_1", "-1,6_3_36_3", "-2,6_3_36_5", "+1,6_3_37_1"]


def test_what_a_protocol_holds_out_is_in_its_test_list_only():
    lists = protocol_lists(OuluRecipe())

    def parts(path, place):
        return {line.split(",")[1].split("_")[place] for line in lists[f"Protocols/{path}.txt"].splitlines()}

    for split in ("Train", "Dev"):
        assert parts(f"Protocol_1/{split}", 1) == {"1", "2"}
        assert parts(f"Protocol_2/{split}", 3) == {"1", "2", "4"}
        assert parts(f"Protocol_3/{split}_2", 0) == {"1", "3", "4", "5", "6"}
    assert parts("Protocol_1/Test", 1) == {"3"}
    assert parts("Protocol_2/Test", 3) == {"1", "3", "5"}
    assert parts("Protocol_3/Test_2", 0) == {"2"}


def test_every_list_names_files_that_are_there_and_every_file_is_listed(made):
    listed = set()
    for path in (made / "Protocols").rglob("*.txt"):
        split = path.name.split(".")[0].split("_")[0]
        names = [line.split(",")[1] for line in path.read_text().splitlines()]
        assert len(names) == len(set(names)) > 0
        assert all((made / f"{split}_files" / f"{name}.avi").is_file() for name in names)
        listed |= {f"{split}_files/{name}" for name in names}
    videos_there = {p.relative_to(made).as_posix()[:-4] for p in made.rglob("*.avi")}
    eyes_there = {p.relative_to(made).as_posix()[:-4] for p in made.glob("*_files/*.txt")}
    assert listed == videos_there == eyes_there
    assert len(videos_there) == 3 * 6 * 3 * 5


def test_the_description_says_that_the_data_are_simulated(made):
    said = json.loads((made / "dataset.json").read_text(encoding="utf-8"))
    assert said["simulated"] is True
    assert said["notice"] == simulator.NOTICE
    assert said["name"] == TINY.name
    assert OuluRecipe(**said["recipe"]) == TINY


# ------------------------------------------------------------ the real reader


@pytest.mark.parametrize(("protocol", "phone", "attacks"), [(1, None, 48), (3, 2, 60)])
def test_the_reader_of_the_real_data_reads_it_without_a_fault(made, protocol, phone, attacks):
    corpus = oulu.LAYOUT.read(made)
    assert (corpus.simulated, corpus.title, corpus.notice) == (True, TINY.name, simulator.NOTICE)
    assert corpus.faults == corpus.findings == corpus.missing == ()
    listed = {split: oulu.listed(corpus, protocol, phone, split) for split in ("train", "dev", "test")}
    for split, found in listed.items():
        assert found.faults == found.missing == ()
        assert {one.species for one in found.present} == {"", "print1", "print2", "replay1", "replay2"}
        assert {one.split for one in found.present} == {split}
    # Of one person: protocol 1 trains on 6 phones x 2 sessions x 4 attacks, protocol 3 on 5 phones x 3
    # sessions x 4.
    assert sum(one.label == "attack" for one in listed["train"].present) == attacks
    people = {split: {one.subject for one in found.present} for split, found in listed.items()}
    assert people == {"train": {"oulu:01"}, "dev": {"oulu:21"}, "test": {"oulu:36"}}
    if phone:
        assert {one.device for one in listed["test"].present} == {"phone 2"}
        assert "phone 2" not in {one.device for one in listed["train"].present}
    else:
        assert {one.session for one in listed["test"].present} == {"3"}


@pytest.mark.parametrize(("protocol", "presentations"), [("1", (60, 60, 30)), ("3_2", (75, 75, 15))])
def test_a_protocol_opens_as_data_to_train_and_test_on(made, protocol, presentations):
    (fold,) = open_data(made, protocol=protocol, frames_per_video=2)
    assert fold.simulated
    assert fold.notice == simulator.NOTICE
    found = [{sample.presentation for sample in fold.samples(split)} for split in ("train", "dev", "test")]
    assert tuple(len(names) for names in found) == presentations


def test_frames_and_face_boxes_reach_a_network_from_every_video(made):
    corpus = oulu.LAYOUT.read(made)
    for one in corpus.presentations[::20]:
        samples = one.samples(2, one.split)
        frames = [frame for _, frame in read_frames(samples)]
        assert [(frame.number, frame.image.size) for frame in frames] == [(0, (48, 48)), (1, (48, 48))]
        boxes = read_annotation(one.annotation).boxes
        lines = eyes_of(one.annotation.path)
        assert boxes == {n: box_of_eyes((a, b), (c, d)) for n, a, b, c, d in lines}


# ------------------------------------------------------------ videos and eyes


def test_a_video_has_its_frames_and_an_eye_file_a_line_for_each(made):
    for path in sorted(made.rglob("*.avi"))[::30]:
        frames, eyes = frames_of(path), eyes_of(path.with_suffix(".txt"))
        assert [frame.shape for frame in frames] == [(48, 48, 3)] * 2
        assert [line[0] for line in eyes] == [0, 1]
        for _, right_x, right_y, left_x, left_y in eyes:
            # The person's right eye is on the left of the picture.
            assert 0 <= right_x < left_x < 48
            assert 0 <= right_y < 48
            assert 0 <= left_y < 48


def test_frames_of_a_video_show_the_same_and_are_not_equal(made):
    for path in sorted(made.rglob("*.avi"))[::30]:
        first, second = (frame.astype(float) for frame in frames_of(path))
        assert np.abs(first - second).mean() > 0.5
        shrunk = [cv2.resize(frame, (6, 6), interpolation=cv2.INTER_AREA) for frame in (first, second)]
        assert np.abs(shrunk[0] - shrunk[1]).mean() < 25


@pytest.mark.parametrize("file", FILES)
def test_the_eye_file_points_at_the_eyes_of_every_frame(monkeypatch, tmp_path, file):
    # A scene with two lamps in the place of the eyes: what is brightest in the video then is where the eyes
    # are.
    def two_lamps(who, scene, size_px):
        image = np.full((size_px, size_px, 3), 0.03, np.float32)
        for x, y in subject_under_test.eye_positions(who, scene, size_px):
            cv2.circle(
                image, (round(8 * x - 4), round(8 * y - 4)), 8 * 6, (1.0, 1.0, 1.0), -1, cv2.LINE_AA, 3
            )
        return image, (0.0, 0.0, 0.0, 0.0)

    monkeypatch.setattr(presentation, "render", two_lamps)
    # A sheet so curled that the eyes are seen 3 px beside where they would be on a flat one.
    monkeypatch.setattr(Sheets, "draw", lambda _self, _rng: Sheet(bend=0.7, bend_deg=20.0))
    recipe = OuluRecipe(seed=3)
    for user in (1, 2, 36):
        film, text = subject_under_test._Visit(recipe, user, 2).film(Video(4, 2, user, file))
        (tmp_path / "film.avi").write_bytes(film)
        frames = frames_of(tmp_path / "film.avi")
        places = [[int(number) for number in line.split(",")] for line in text.splitlines()]
        assert len({tuple(line[1:]) for line in places}) > 1
        for frame, (_, *eyes) in zip(frames, places, strict=True):
            grey = cv2.GaussianBlur(frame.astype(np.float32).mean(axis=2), (0, 0), 1.5)
            for x, y in (eyes[:2], eyes[2:]):
                near = grey[y - 12 : y + 13, x - 12 : x + 13]
                bright = np.argwhere(near > (near.max() + near.min()) / 2)
                assert np.abs(bright.mean(axis=0) - 12).max() < 1.2


@pytest.mark.parametrize("seed", [1, 3])
def test_a_widened_framing_shows_the_same_in_its_middle(seed):
    rng = np.random.default_rng(seed)
    framing = Framings(edged=1.0).draw(rng, (43.0, 40.0, 42.0, 48.0), 128, 64)
    assert framing.edge is not None
    assert max(framing.edge) > 0
    scene = cv2.GaussianBlur(rng.uniform(0, 1, (128, 128, 3)).astype(np.float32), (0, 0), 3)
    narrow = bona_fide(scene, framing)
    wide = bona_fide(scene, subject_under_test._widened(framing, 4))
    middle = wide[4 * SUPERSAMPLING : -4 * SUPERSAMPLING, 4 * SUPERSAMPLING : -4 * SUPERSAMPLING]
    # The ramp and the rim of an edge are shares of the whole frame, so they move a little; the scene does
    # not.
    depth = SUPERSAMPLING * 8
    inner = slice(depth, -depth)
    assert np.abs(middle[inner, inner] - narrow[inner, inner]).max() < 0.01
    assert np.abs(middle - narrow).mean() < 0.02


# ------------------------------------------------------------ people


def test_nobody_is_in_two_splits_nor_in_the_other_simulated_set():
    people = {person(FULL, user).seed for users in oulu.USERS.values() for user in users}
    assert len(people) == 55
    recipe = simulate.Recipe(seed=FULL.seed)
    others = {
        simulate.person(recipe, split, index).seed
        for split in simulate.SPLITS
        for index in range(recipe.identities(split))
    }
    assert len(others) == 1120
    assert not people & others


def test_a_person_does_not_depend_on_how_many_there_are():
    assert [v for v in videos(FULL, "test") if v.user < 40] == list(videos(OuluRecipe(), "test"))
    assert person(FULL, 36) == person(OuluRecipe(), 36)
    assert person(FULL, 36) != person(OuluRecipe(seed=1), 36)


# ------------------------------------------------------------ making it


def test_what_is_lost_comes_back_with_the_same_bytes_from_two_processes(made, copy):
    lost = [
        *copy.glob("*_files/*_2_[03][16]_*"),
        copy / "Protocols/Protocol_4/Dev_3.txt",
        copy / "Dev_files/1_1_21_1.txt",
    ]
    assert len(lost) == 2 * 2 * 30 + 2
    for path in lost:
        path.unlink()
    redone = {*lost, copy / "Dev_files/1_1_21_1.avi"}
    kept = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file() and p not in redone}
    assert simulate_oulu(copy, TINY, 2) == copy
    assert contents(copy) == contents(made)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_a_complete_tree_is_not_made_again(made, monkeypatch):
    def fail(*_args):
        raise AssertionError("made something")

    for module in (subject_under_test, simulator):
        monkeypatch.setattr(module, "write_atomically", fail)
    heard = []
    simulate_oulu(made, TINY, 1, lambda done, total: heard.append((done, total)))
    assert heard == [(30 * visit, 270) for visit in range(1, 10)]


def test_the_description_is_written_first_and_the_lists_last(tmp_path):
    def interrupt(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_oulu(tmp_path / "tree", TINY, 1, interrupt)
    assert {p.name for p in (tmp_path / "tree").iterdir()} == {"dataset.json", "Train_files"}
    assert len(list((tmp_path / "tree").rglob("*.avi"))) == 30
    assert not list((tmp_path / "tree").rglob(".*"))


def test_a_full_disk_is_one_clear_line_and_leaves_no_half_file(copy, monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    lost = copy / "Test_files/2_1_36_4.avi"
    lost.unlink()
    before = sorted(copy.rglob("*"))
    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(EnvironmentFailed, match=r"the disk is full: .*2_1_36_4\.\w+ .* Free some space"):
        simulate_oulu(copy, TINY, 1)
    assert sorted(copy.rglob("*")) == before


def test_a_full_folder_for_temporary_files_is_noticed_although_the_encoder_is_silent(copy, monkeypatch):
    real = cv2.VideoWriter

    class OnAFullDisk:
        fourcc = staticmethod(real.fourcc)

        def __init__(self, path, *args):
            self.path, self.writer = path, real(path, *args)
            self.set, self.write = self.writer.set, self.writer.write

        def release(self):
            self.writer.release()
            os.truncate(self.path, Path(self.path).stat().st_size - 40)

    lost = copy / "Test_files/2_1_36_4.avi"
    lost.unlink()
    monkeypatch.setattr(cv2, "VideoWriter", OnAFullDisk)
    with pytest.raises(
        EnvironmentFailed, match=r"could not be written completely in .* Free some space there"
    ):
        simulate_oulu(copy, TINY, 1)
    assert not lost.exists()


def test_a_folder_for_temporary_files_that_cannot_be_made_is_named(copy, monkeypatch, tmp_path):
    (copy / "Test_files/2_1_36_4.avi").unlink()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file" / "gone"))
    with pytest.raises(EnvironmentFailed, match=r"gone could not be written .* Check that"):
        simulate_oulu(copy, TINY, 1)


def test_simulated_videos_are_never_put_among_other_files(made, tmp_path):
    real = tmp_path / "OULU-NPU"
    (real / "Train_files").mkdir(parents=True)
    with pytest.raises(UserError, match=r"OULU-NPU is not empty and holds no simulated data\. Give a new"):
        simulate_oulu(real, TINY, 1)
    assert [p.name for p in real.iterdir()] == ["Train_files"]
    other = replace(TINY, seed=6)
    with pytest.raises(UserError, match=f"holds {TINY.name}, not {other.name}"):
        simulate_oulu(made, other, 1)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "dataset.json").write_text("[]")
    with pytest.raises(UserError, match="holds something unknown"):
        simulate_oulu(tmp_path / "odd", TINY, 1)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFailed, match=r"file/tree could not be written .* Check that"):
        simulate_oulu(tmp_path / "file" / "tree", TINY, 1)


def test_what_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"frame_px is 33\. Use an even number of at least 32"):
        OuluRecipe(frame_px=33)
    with pytest.raises(UserError, match=r"source_px is 62\. Use an even number of at least 64"):
        OuluRecipe(source_px=62)
    with pytest.raises(UserError, match=r"seed is -1\. Use a whole number from 0"):
        OuluRecipe(seed=-1)
    with pytest.raises(UserError, match=r"frames is 0\. Use a whole number from 1"):
        OuluRecipe(frames=0)
    with pytest.raises(UserError, match=r"dev_users is 16\. Use 1 to 15"):
        OuluRecipe(dev_users=16)
    with pytest.raises(UserError, match=r"test_users is 0\. Use 1 to 20"):
        OuluRecipe(test_users=0)
    with pytest.raises(ValueError, match="processes"):
        simulate_oulu(tmp_path / "tree", TINY, 0)
    assert not (tmp_path / "tree").exists()


def test_the_name_changes_with_everything_that_changes_the_bytes(monkeypatch):
    names = {OuluRecipe().name, OuluRecipe(seed=1).name, OuluRecipe(frames=4).name}
    monkeypatch.setattr(subject_under_test, "VERSION", 999)
    names.add(OuluRecipe().name)
    monkeypatch.setattr(simulator, "VERSION", 999)
    names.add(OuluRecipe().name)
    assert len(names) == 5


# ------------------------------------------------------------ looking at it


def test_the_contact_sheet_has_a_tile_for_each_kind_session_and_phone(made, tmp_path):
    path = contact_sheet(made, tmp_path / "sheet.png", tile_px=24)
    with Image.open(path) as sheet:
        assert sheet.size == (92 + 6 * 24, 24 + 3 * 5 * 24)
        pixels = np.asarray(sheet.convert("L"))
    tiles = pixels[24:, 92:].reshape(15, 24, 6, 24).std(axis=(1, 3))
    assert tiles.min() > 3


def test_a_contact_sheet_of_nothing_or_of_a_broken_video_is_refused(copy, tmp_path):
    with pytest.raises(BadDataset, match=r"no videos named like OULU-NPU\. Make some with"):
        contact_sheet(tmp_path / "nothing", tmp_path / "sheet.png")
    broken = copy / "Dev_files/1_1_21_1.avi"
    broken.write_bytes(b"no video")
    with pytest.raises(BadDataset, match=f"cannot read {broken}"):
        contact_sheet(copy, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


# ------------------------------------------------------------ trivial cues


def _cues(root, *splits):
    found, labels = [], []
    for path in sorted(path for split in splits for path in (root / f"{split}_files").glob("*.avi")):
        image = frames_of(path)[0].astype(np.float32)
        grey = image.mean(axis=2)
        fine = np.log(np.mean((grey - cv2.GaussianBlur(grey, (0, 0), 1.0)) ** 2) + 0.1)
        size = np.log(path.stat().st_size)
        found.append([size, *image.mean(axis=(0, 1)), fine, *image.std(axis=(0, 1))])
        labels.append(not path.stem.endswith("_1"))
    return np.array(found), np.array(labels)


@pytest.fixture(scope="module")
def cues(tmp_path_factory):
    recipe = OuluRecipe(frames=1, train_users=3, dev_users=1)
    root = simulate_oulu(tmp_path_factory.mktemp("cues") / "tree", recipe)
    return _cues(root, "Train", "Dev"), _cues(root, "Test")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("file bytes", [0]),
        ("mean colour", [1, 2, 3]),
        ("high-frequency energy", [4]),
        ("contrast", [5, 6, 7]),
        ("all of them", list(range(8))),
    ],
)
def test_no_trivial_cue_solves_the_simulation(cues, name, columns):
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    (fitted, known), (test, true) = cues
    mean, spread = fitted.mean(axis=0), fitted.std(axis=0)
    fitted, test = (fitted - mean) / spread, (test - mean) / spread
    model = linear_model.LogisticRegression().fit(fitted[:, columns], known)
    area = metrics.roc_auc_score(true, model.decision_function(test[:, columns]))
    sys.stdout.write(f"simulated data; not PAD performance: AUC of {name}: {area:.3f}\n")
    # A coin is 0.5; one trivial number must not be worth a detector.
    assert max(area, 1 - area) < 0.80
