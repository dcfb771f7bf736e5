"""The simulated data set: repeatable, resumable, disjoint, and not solved by a trivial cue."""

from __future__ import annotations

import csv
import errno
import json
import pickle
import shutil
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2
from PIL import Image

from swapbench.errors import BadDataset, EnvironmentFailed, UnknownName, UserError
from swapbench.files import disk_failure
from swapbench.simulate import dataset as subject_under_test
from swapbench.simulate import simulator
from swapbench.simulate.dataset import (
    COLUMNS,
    SPLITS,
    Recipe,
    contact_sheet,
    person,
    plan,
    simulate,
)
from swapbench.simulate.simulator import NOTICE
from swapbench.simulate.worlds import STANDARD, WORLDS

TINY = Recipe(
    seed=5,
    frame_px=48,
    source_px=96,
    train_identities=2,
    dev_identities=2,
    test_identities=4,
    train_captures=(1, 1, 1),
    dev_captures=(1, 1, 1),
    test_captures=(1, 2, 2),
)


def contents(folder, *splits):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and (not splits or p.relative_to(folder).parts[0] in splits)
    }


def rows(folder, split):
    with (folder / f"manifest-{split}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("once"), TINY, ("dev", "test"), 1)


@pytest.fixture(scope="module", params=WORLDS, ids=lambda number: f"world-{number}")
def recipe(request):
    return Recipe.of_world(request.param)


@pytest.fixture(scope="module")
def plans(recipe):
    return {split: [plan(recipe, split, i) for i in range(planned(recipe, split))] for split in SPLITS}


def planned(recipe, split):
    """How many people of a split are looked at: all of the first world, and as many of others as it takes."""
    return min(recipe.identities(split), 960 if recipe.world == 1 else 200)


def test_the_same_recipe_gives_the_same_bytes(made, tmp_path):
    again = simulate(tmp_path, TINY, ("dev", "test"), 1)
    assert again.name == made.name
    assert contents(again) == contents(made)


def test_one_process_and_two_give_the_same_bytes(made, tmp_path):
    assert contents(simulate(tmp_path, TINY, ("test",), 2), "test") == contents(made, "test")


def test_adding_the_train_split_later_changes_nothing_else(tmp_path):
    folder = simulate(tmp_path, TINY, ("dev",), 1)
    before = contents(folder)
    simulate(tmp_path, TINY, ("train", "dev"), 1)
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert {s for s in SPLITS if f"manifest-{s}.csv" in after} == {"train", "dev"}


def test_a_complete_split_is_not_made_again(made, monkeypatch):
    def fail(*_args):
        raise AssertionError("made something")

    stamps = {p: p.stat().st_mtime_ns for p in made.rglob("*")}
    monkeypatch.setattr(subject_under_test._Person, "make", fail)
    assert simulate(made.parent, TINY, ("dev", "test"), 1) == made
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*")} == stamps


def test_an_interrupted_run_is_resumed_without_redoing_what_is_there(made, tmp_path, monkeypatch):
    calls = []
    original = subject_under_test._Person.make

    def interrupted(job, folder):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(job)
        return original(job, folder)

    with monkeypatch.context() as patch:
        patch.setattr(subject_under_test._Person, "make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate(tmp_path, TINY, ("test",), 1)
    folder = tmp_path / made.name
    assert not (folder / "manifest-test.csv").exists()
    kept = {p: p.stat().st_mtime_ns for p in folder.rglob("*.jpg")}
    assert len(kept) == 10
    # One image of a finished person is lost: it must come back alone and with the same bytes.
    lost = sorted(kept)[1]
    lost.unlink()
    simulate(tmp_path, TINY, ("test",), 1)
    assert contents(folder, "test") == contents(made, "test")
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in kept.items() if p != lost)
    assert not list(folder.rglob(".*"))


def test_a_full_disk_is_one_clear_line_and_leaves_no_half_file(made, tmp_path, monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / made.name
    folder.mkdir()
    shutil.copy(made / "dataset.json", folder)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        with pytest.raises(
            EnvironmentFailed, match=r"the disk is full: .*bona-fide-0\.jpg .* Free some space"
        ):
            simulate(tmp_path, TINY, ("dev",), 1)
    assert [p.name for p in folder.rglob("*") if p.is_file()] == ["dataset.json"]
    # ... and the same command goes on from there.
    simulate(tmp_path, TINY, ("dev",), 1)
    assert contents(folder, "dev") == contents(made, "dev")


def test_a_failure_in_a_worker_process_keeps_its_remedy_on_the_way_to_the_parent(tmp_path):
    failure = disk_failure(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "a.jpg")
    arrived = pickle.loads(pickle.dumps(failure))
    assert type(arrived) is EnvironmentFailed
    assert str(arrived) == str(failure)
    assert "Free some space" in str(arrived)


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(made, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFailed, match=r"file/simulated-\w+ could not be written .* Check that"):
        simulate(tmp_path / "file", TINY, ("dev",), 1)
    with pytest.raises(EnvironmentFailed, match="could not be written"):
        contact_sheet(made, tmp_path / "file" / "sheet.png")


def test_progress_counts_every_image(tmp_path):
    heard = []
    simulate(tmp_path, TINY, ("dev",), 1, lambda done, total: heard.append((done, total)))
    assert heard == [(3, 6), (6, 6)]


def test_the_manifest_describes_files_that_are_there(made):
    for split in ("dev", "test"):
        lines = rows(made, split)
        assert tuple(lines[0]) == COLUMNS
        assert len(lines) == TINY.identities(split) * sum(TINY.captures(split))
        for line in lines:
            with Image.open(made / line["path"]) as image:
                assert image.size == (48, 48)
                assert image.format == "JPEG"
            assert line["path"].startswith(f"{split}/{line['domain']}/{line['subject']}/")
            assert (line["label"] == "bona_fide") == (line["species"] == "")
            assert (line["label"] == "bona_fide") == (line["instrument"] == "")
            x, y, w, h = (int(line[k]) for k in ("box_x", "box_y", "box_w", "box_h"))
            assert 0 <= x < x + w <= 48
            assert 0 <= y < y + h <= 48
            assert line["frame"] == "0"


def test_the_description_says_that_the_data_are_simulated(made):
    said = json.loads((made / "dataset.json").read_text(encoding="utf-8"))
    assert said["simulated"] is True
    assert said["notice"] == NOTICE
    assert said["frame_px"] == 48
    assert said["recipe"]["seed"] == 5


def test_nobody_is_in_two_splits_or_two_domains(recipe, plans):
    people, places = {}, {}
    for split in SPLITS:
        for index, (capture, *_) in enumerate(plans[split]):
            assert capture.subject not in places
            places[capture.subject] = (split, capture.domain)
            who = person(recipe, split, index)
            assert who.seed not in people
            people[who.seed] = capture.subject
    crowds = {1: (960, 60, 100), 2: (960, 300, 1000)}[recipe.world]
    assert [recipe.identities(split) for split in SPLITS] == list(crowds)
    assert len(places) == sum(planned(recipe, split) for split in SPLITS)
    assert set(Counter(places.values())) == {(s, d.name) for s in SPLITS for d in recipe.domains}


def test_the_last_printer_and_display_of_a_session_are_seen_in_the_test_split_only(recipe, plans):
    for split in SPLITS:
        used = {c.row["instrument"] for captures in plans[split] for c in captures if c.species}
        for session in (session for domain in recipe.domains for session in domain.sessions):
            for kept in (session.printers[-1].name, session.displays[-1].name):
                assert (kept in used) == (split == "test")


def test_instruments_are_used_in_their_own_sessions_only(recipe, plans):
    allowed = {
        (domain.name, session.light.name): (
            {camera.name for camera in session.cameras},
            {instrument.name for instrument in (*session.printers, *session.displays)},
        )
        for domain in recipe.domains
        for session in domain.sessions
    }
    for split in SPLITS:
        for capture in (capture for captures in plans[split] for capture in captures):
            cameras, instruments = allowed[capture.domain, capture.light]
            assert capture.camera.name in cameras
            assert not capture.attack or capture.attack.instrument in instruments


def test_domains_share_no_camera_light_printer_or_display(recipe):
    def names(domain):
        for session in domain.sessions:
            yield session.light.name
            for group in (session.cameras, session.printers, session.displays):
                yield from (thing.name for thing in group)

    by_domain = [set(names(domain)) for domain in recipe.domains]
    assert len(set.union(*by_domain)) == sum(map(len, by_domain))


def test_in_world_2_the_cameras_and_instruments_at_hand_depend_on_the_light():
    for domain in WORLDS[2].domains:
        sessions = domain.sessions
        assert len({session.cameras for session in sessions}) == len(sessions)
        assert len({(session.printers, session.displays) for session in sessions}) == len(sessions)


def test_bona_fide_and_attacks_draw_their_shots_from_the_same_distribution(plans):
    shots = {"": [], "print": [], "replay": []}
    cameras = {"": Counter(), "print": Counter(), "replay": Counter()}
    for captures in plans["train"]:
        for capture in captures:
            shots[capture.species].append(capture.shot)
            cameras[capture.species][capture.camera.name] += 1
    for field in (
        "exposure",
        "focus_px",
        "noise",
        "flare",
        "saturation",
        "contrast",
        "sharpening",
        "quality",
    ):
        values = {k: np.array([getattr(s, field) for s in v]) for k, v in shots.items()}
        spread = values[""].std()
        for species in ("print", "replay"):
            assert abs(values[species].mean() - values[""].mean()) < 0.2 * spread
    for species in ("print", "replay"):
        assert set(cameras[species]) == set(cameras[""])


def test_the_folder_is_named_by_everything_that_changes_the_bytes(monkeypatch):
    assert len({Recipe.of_world(number).digest for number in WORLDS}) == len(WORLDS)
    assert Recipe().digest == Recipe().digest
    assert Recipe(seed=1).digest != Recipe(seed=2).digest
    before = Recipe().digest
    monkeypatch.setattr(simulator, "VERSION", 999)
    assert Recipe().digest != before


def test_the_first_world_keeps_its_folder_and_its_plan():
    """What was simulated before there were worlds: the name of the folder, and what a person's images are."""
    assert STANDARD == 1
    assert Recipe().digest == "fe3ab866"
    told = [
        (
            capture.path,
            capture.camera.name,
            capture.attack.instrument if capture.attack else "",
            round(capture.shot.exposure, 6),
            round(capture.framing.box[0], 4),
        )
        for capture in plan(Recipe(), "test", 5)
    ]
    assert told == [
        ("test/B/s1025/bona-fide-0.jpg", "B-phone", "", 0.174555, 71.7898),
        ("test/B/s1025/bona-fide-1.jpg", "B-webcam", "", 0.189637, 56.1476),
        ("test/B/s1025/print-0.jpg", "B-phone", "B-copier", 0.114166, 64.8688),
        ("test/B/s1025/print-1.jpg", "B-webcam", "B-photo", 0.255508, 77.138),
        ("test/B/s1025/replay-0.jpg", "B-webcam", "B-television", 0.170739, 75.2927),
        ("test/B/s1025/replay-1.jpg", "B-webcam", "B-phone-oled", 0.146417, 50.4364),
    ]


def test_what_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="no world named '3'"):
        Recipe(world=3)
    with pytest.raises(UserError, match=r"frame_px is 33\. Use an even number"):
        Recipe(frame_px=33)
    with pytest.raises(UserError, match=r"source_px is 62\. Use an even number"):
        Recipe(source_px=62)
    with pytest.raises(UserError, match=r"seed is -1\. Use a whole number from 0"):
        Recipe(seed=-1)
    with pytest.raises(UserError, match="negative"):
        replace(TINY, dev_captures=(1, -1, 1))
    with pytest.raises(UnknownName, match=r"no split named 'tests'\. Did you mean test"):
        simulate(tmp_path, TINY, ("tests",), 1)
    with pytest.raises(ValueError, match="processes"):
        simulate(tmp_path, TINY, ("dev",), 0)
    with pytest.raises(UnknownName, match="no split named 'valid'"):
        plan(TINY, "valid", 0)
    with pytest.raises(BadDataset, match=r"no manifest .* swapbench data simulate"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="columns"):
        contact_sheet(tmp_path, tmp_path / "sheet.png", 0)


def test_the_contact_sheet_has_a_row_for_each_kind_in_each_domain(made, tmp_path):
    path = contact_sheet(made, tmp_path / "sheet.png", columns=2, tile_px=48)
    with Image.open(path) as sheet:
        assert sheet.size == (92 + 2 * 48, 24 + 4 * 3 * 48)
        pixels = np.asarray(sheet.convert("L"))
    assert pixels[:24].min() < 100
    assert pixels[24:, 92 : 92 + 48].std() > 10


def test_a_broken_image_is_named_and_no_contact_sheet_is_drawn(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "copy")
    broken = folder / rows(folder, "test")[0]["path"]
    broken.write_bytes(b"no picture")
    with pytest.raises(BadDataset, match=f"cannot read {broken}"):
        contact_sheet(folder, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def _cues(folder, split):
    found, labels = [], []
    for line in rows(folder, split):
        data = (folder / line["path"]).read_bytes()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(np.float32)
        grey = image.mean(axis=2)
        fine = np.log(np.mean((grey - cv2.GaussianBlur(grey, (0, 0), 1.0)) ** 2) + 0.1)
        found.append([np.log(len(data)), *image.mean(axis=(0, 1)), fine, *image.std(axis=(0, 1))])
        labels.append(line["label"] == "attack")
    return np.array(found), np.array(labels)


@pytest.fixture(scope="module")
def cues(simulated):
    return _cues(simulated, "dev"), _cues(simulated, "test")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("JPEG bytes", [0]),
        ("mean colour", [1, 2, 3]),
        ("high-frequency energy", [4]),
        ("contrast", [5, 6, 7]),
        ("all of them", list(range(8))),
    ],
)
def test_no_trivial_cue_solves_the_simulation(cues, name, columns):
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    (dev, known), (test, true) = cues
    mean, spread = dev.mean(axis=0), dev.std(axis=0)
    dev, test = (dev - mean) / spread, (test - mean) / spread
    model = linear_model.LogisticRegression().fit(dev[:, columns], known)
    area = metrics.roc_auc_score(true, model.decision_function(test[:, columns]))
    sys.stdout.write(f"simulated data; not PAD performance: AUC of {name}: {area:.3f}\n")
    # A coin is 0.5; one trivial number must not be worth a detector.
    assert max(area, 1 - area) < 0.80
