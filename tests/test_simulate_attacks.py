"""What attacks of world 2 show: reflections, outlines, hands, folds; and depth and near infrared."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from swapbench.errors import UnknownName, UserError
from swapbench.simulate.camera import SUPERSAMPLING, Camera, Shot, Shots
from swapbench.simulate.dataset import Recipe, modalities_named, plan, simulate
from swapbench.simulate.faces import BACKDROP_DEPTH, Identity, Scene, face_box, relief
from swapbench.simulate.held import Hold, Holds
from swapbench.simulate.instruments import Display, Printer, Sheet, Sheets, Showing, Showings
from swapbench.simulate.modalities import HALF_FACE_MM, STEP_MM
from swapbench.simulate.recapture import Framings, printed, replayed
from swapbench.simulate.reflections import Reflection, Reflections
from swapbench.simulate.worlds import WORLDS

SOURCE_PX, FRAME_PX = 128, 64
SIDE = FRAME_PX * SUPERSAMPLING
GREY = np.full((SOURCE_PX, SOURCE_PX, 3), 128, np.uint8)
HOLD = Hold(
    middle=(0.5, 0.5),
    half=(0.3, 0.4),
    turn_deg=0.0,
    rim=0.05,
    corner=0.0,
    seed=3,
    light=0.4,
    fingers=0,
    skin=(0.5, 0.3, 0.2),
)
SMALL = Recipe.of_world(
    2,
    seed=5,
    frame_px=64,
    source_px=128,
    train_identities=4,
    dev_identities=0,
    test_identities=0,
    train_captures=(1, 1, 1),
    modalities=("rgb", "depth", "nir"),
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def framing(seed: int = 0):
    return Framings(edged=0.0).draw(rng(seed), (43.0, 40.0, 42.0, 48.0), SOURCE_PX, FRAME_PX)


def test_a_reflection_only_adds_light_and_is_as_strong_as_it_says():
    for seed in range(8):
        light = Reflection(seed, strength=0.25, softness=0.004).light(SIDE)
        assert light.min() >= 0
        assert 0.2 < light.max() <= 0.25 + 1e-6
    assert np.array_equal(Reflection(1, 0.2, 0.01).light(96), Reflection(1, 0.2, 0.01).light(96))
    assert not np.array_equal(Reflection(1, 0.2, 0.01).light(96), Reflection(2, 0.2, 0.01).light(96))


def test_a_display_and_a_print_show_a_reflection_on_top_of_what_they_show():
    room = Reflection(4, 0.3, 0.01)
    plain, frame = Showing(glare=0, veil=0, falloff=0), framing()
    display = Display("any", grid=0.0, flicker=0.0)
    added = replayed(GREY, display, replace(plain, reflection=room), frame) - replayed(
        GREY, display, plain, frame
    )
    assert np.allclose(added, room.light(SIDE), atol=1e-6)
    printer = Printer("any", streaks=0.0)
    on_paper = printed(GREY, printer, Sheet(reflection=room), frame) - printed(GREY, printer, Sheet(), frame)
    assert np.allclose(on_paper, room.light(SIDE), atol=1e-6)


def test_an_outline_keeps_what_is_inside_and_hides_what_is_outside():
    picture = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    HOLD.paint(picture, (0.9, 0.0, 0.0))
    middle, row = SIDE // 2, picture[SIDE // 2]
    assert np.allclose(picture[middle, middle], 0.5)
    # half the width is 0.3, so the picture ends at 0.8 of the frame, and the red rim at 0.85
    assert np.allclose(row[round(0.78 * SIDE)], 0.5, atol=1e-3)
    rim = row[round(0.825 * SIDE)]
    assert rim[0] > 0.8
    assert rim[1] < 0.01
    assert not np.allclose(row[round(0.95 * SIDE)], 0.5, atol=0.01)
    shown = HOLD.shown(SIDE)
    # (2 * 0.35) * (2 * 0.45) of the frame with the rim
    assert shown.mean() == pytest.approx(0.63, abs=0.02)


def test_fingers_have_the_colour_of_the_hand_and_reach_over_the_rim():
    bare, held = (np.full((SIDE, SIDE, 3), 0.5, np.float32) for _ in range(2))
    HOLD.paint(bare, (0.0, 0.0, 0.0))
    replace(HOLD, fingers=3).paint(held, (0.0, 0.0, 0.0))
    changed = np.abs(held - bare).max(axis=2) > 0.02
    assert 0.005 < changed.mean() < 0.2
    assert changed[HOLD.shown(SIDE)].any()
    red, green, _ = held[changed].mean(axis=0)
    assert red > green


def test_a_fold_darkens_one_side_of_it():
    frame, printer = framing(), Printer("any", streaks=0.0)
    sheet = Sheet(shade=0.0)
    folded = printed(GREY, printer, replace(sheet, creases=((0.0, 0.0, 0.3),)), frame)
    ratio = (folded / printed(GREY, printer, sheet, frame)).mean(axis=(0, 2))
    middle = SIDE // 2
    assert ratio[middle + 6 : middle + 14].mean() > 1.15
    assert ratio[middle - 14 : middle - 6].mean() < 0.85


def test_uneven_inking_keeps_the_mean():
    frame = framing()
    plain = printed(GREY, Printer("any", streaks=0.0), Sheet(), frame)
    mottled = printed(GREY, Printer("any", streaks=0.0, mottle=0.1), Sheet(), frame)
    ratio = mottled / plain
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert 0.05 < ratio.std() < 0.2


def test_what_a_site_never_does_draws_no_random_numbers():
    """So the worlds that know nothing of it keep their bytes."""
    for population in (Reflections(), Holds()):
        dice = rng(1)
        assert population.draw(dice) is None
        assert dice.random() == rng(1).random()
    kinds = [Sheets(creased=0.5, holds=Holds(0.5)).draw(rng(seed)) for seed in range(200)]
    assert 60 < sum(sheet.hold is not None for sheet in kinds) < 140
    assert 60 < sum(bool(sheet.creases) for sheet in kinds) < 140
    assert all(Showings().draw(rng(seed)).reflection is None for seed in range(20))


def test_a_cameras_processing_does_what_it_says():
    still = Shot(exposure=0.2, adaptation=0.0, sharpening=0.0)
    plain = Camera("plain", 0.3, 0.02, 0.004, 0.0, 1.0, 1.0, 0.0)
    flat = np.full((96, 96, 3), 0.2, np.float32)

    def grain(camera: Camera) -> float:
        return float(camera.develop(flat, still, rng(1)).std())

    assert grain(replace(plain, denoising=0.9)) < 0.8 * grain(plain)
    assert grain(replace(plain, resolution=0.5)) < 0.8 * grain(plain)
    # a lamp of its own: twice the light is twice as bright, where a meter makes them alike
    lamp = replace(plain, shot_noise=0.0, read_noise=0.0, level=0.5)
    dark, bright = (lamp.develop(flat * level, still, rng(1)).mean() for level in (0.5, 1.0))
    assert bright > dark + 20
    metered = replace(lamp, level=None)
    dark, bright = (metered.develop(flat * level, still, rng(1)).mean() for level in (0.5, 1.0))
    assert bright == pytest.approx(dark, abs=1)


def test_shots_scatter_about_what_a_camera_does():
    shots = [Shots(tint=(0.2, -0.2), quality=(50, 52)).draw(rng(seed)) for seed in range(60)]
    red, _, blue = np.log([shot.white_balance for shot in shots]).mean(axis=0)
    assert red == pytest.approx(0.2, abs=0.05)
    assert blue == pytest.approx(-0.2, abs=0.05)
    assert {shot.quality for shot in shots} == {50, 51}


def test_a_relief_has_its_nose_before_its_cheeks_and_the_wall_far_behind():
    person, scene = Identity.draw(1), Scene()
    near = relief(person, scene, 256)
    assert near.shape == (256, 256)
    assert near[0, 0] == BACKDROP_DEPTH
    x, y, width, height = face_box(scene, 256)
    face = near[round(y) : round(y + height), round(x) : round(x + width)]
    row, column = np.unravel_index(np.argmax(face), face.shape)
    # the nearest point is the nose: between the eyes and the chin, in the middle
    assert abs(column / width - 0.5) < 0.12
    assert 0.4 < row / height < 0.75
    assert near[-1, 128] < face[round(height / 2), round(width / 2)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("modalities"), SMALL, ("train",), 1)


def rows(folder):
    with (folder / "manifest-train.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def grey(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image.shape == (64, 64)
    assert image.dtype == np.uint8
    return image.astype(float)


def face_of(row, image):
    x, y, width, height = (int(row[name]) for name in ("box_x", "box_y", "box_w", "box_h"))
    return image[y + height // 4 : y + 3 * height // 4, x + width // 4 : x + 3 * width // 4]


def test_depth_and_near_infrared_lie_beside_every_capture_and_stand_in_the_manifest(made):
    found = rows(made)
    assert len(found) == 12
    for row in found:
        assert row["path_depth"] == row["path"].removesuffix(".jpg") + ".depth.png"
        assert row["path_nir"] == row["path"].removesuffix(".jpg") + ".nir.jpg"
        assert grey(made / row["path_depth"]).std() > 0
        assert grey(made / row["path_nir"]).std() > 0


def test_a_living_face_has_relief_and_instruments_are_smooth(made):
    """What is left when a curved sheet is taken away: a face has a nose, whatever is done to a sheet."""
    left = {}
    for row in rows(made):
        face = face_of(row, grey(made / row["path_depth"]))
        v, u = np.mgrid[-1 : 1 : face.shape[0] * 1j, -1 : 1 : face.shape[1] * 1j]
        terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1).reshape(-1, 6)
        rest = face.ravel() - terms @ np.linalg.lstsq(terms, face.ravel(), rcond=None)[0]
        left.setdefault(row["species"], []).append(rest.std())
    assert min(left[""]) > 1.5 * max(left["print"] + left["replay"])
    # a face is some 3 cm deep: the noise of 2 mm and the median of its neighbours leave less of a plane
    assert max(left["replay"]) < 2.0 / STEP_MM
    assert HALF_FACE_MM / STEP_MM == 50


def test_displays_are_dark_in_near_infrared_and_skin_is_bright(made):
    level = {}
    for row in rows(made):
        face = face_of(row, grey(made / row["path_nir"]))
        level.setdefault(row["species"], []).append(np.median(face))
    assert min(level[""]) > 90
    assert max(level["replay"]) < 0.7 * min(level[""])


def test_photographs_do_not_depend_on_what_is_made_beside_them(made, tmp_path):
    alone = simulate(tmp_path, replace(SMALL, modalities=("rgb",)), ("train",), 1)
    assert alone.name != made.name
    images = sorted(path.relative_to(alone) for path in alone.rglob("*.jpg"))
    assert len(images) == 12
    for path in images:
        assert (alone / path).read_bytes() == (made / path).read_bytes()
    assert "path_depth" not in (alone / "manifest-train.csv").read_text(encoding="utf-8")


def test_a_lost_depth_map_comes_back_alone_and_with_the_same_bytes(made, tmp_path):
    again = tmp_path / made.name
    again.mkdir()
    (again / "dataset.json").write_bytes((made / "dataset.json").read_bytes())
    kept = {}
    for path in made.rglob("*"):
        if path.is_file() and path.suffix in {".jpg", ".png"} and "s0002" in path.parts:
            copy = again / path.relative_to(made)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            kept[copy] = copy.stat().st_mtime_ns
    lost = next(path for path in kept if path.name == "print-0.depth.png")
    before = lost.read_bytes()
    lost.unlink()
    simulate(tmp_path, SMALL, ("train",), 1)
    assert lost.read_bytes() == before
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items() if path != lost)


def test_modalities_are_checked():
    assert modalities_named("nir, depth") == ("rgb", "depth", "nir")
    with pytest.raises(UnknownName, match=r"no modality named 'ir'"):
        modalities_named("rgb,ir")
    with pytest.raises(UserError, match="in that order"):
        replace(SMALL, modalities=("depth", "rgb"))


def _share(attacks, kind, cue):
    """Of the attacks that have a sheet or a showing, those with a cue."""
    return np.mean([bool(getattr(getattr(one, kind), cue)) for one in attacks if hasattr(one, kind)])


def _mean(attacks, kind, name):
    return np.mean([getattr(getattr(one, kind), name) for one in attacks if hasattr(one, kind)])


def test_world_2_has_the_cues_that_it_promises():
    captures = [capture for index in range(160) for capture in plan(Recipe.of_world(2), "train", index)]
    prints = [capture.attack.sheet for capture in captures if capture.species == "print"]
    replays = [capture.attack.showing for capture in captures if capture.species == "replay"]
    for attacks in (prints, replays):
        assert 0.15 < np.mean([attack.hold is not None for attack in attacks]) < 0.45
        assert any(attack.hold and attack.hold.fingers for attack in attacks)
    # what gives an attack away is the site's own: rooms in the glass at B, folds at D, dots and grids at A
    sites = {name: [c.attack for c in captures if c.attack and c.domain == name] for name in "ABCD"}
    reflecting = {name: _share(attacks, "showing", "reflection") for name, attacks in sites.items()}
    folded = {name: _share(attacks, "sheet", "creases") for name, attacks in sites.items()}
    assert reflecting.pop("B") == 1.0
    assert max(reflecting.values()) < 0.4
    assert folded.pop("D") > 0.7
    assert max(folded.values()) < 0.6
    assert folded["A"] == 0
    dots = {name: _mean(attacks, "sheet", "fidelity") for name, attacks in sites.items()}
    grids = {name: _mean(attacks, "showing", "grid") for name, attacks in sites.items()}
    assert min(dots, key=dots.__getitem__) == max(grids, key=grids.__getitem__) == "A"
    assert all(not c.attack for c in captures if not c.species)


def test_a_turned_world_has_folders_of_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    world = WORLDS[2]
    now = Recipe.of_world(2).digest
    monkeypatch.setitem(WORLDS, 2, replace(world, revision=world.revision + 1))  # type: ignore[arg-type]
    assert Recipe.of_world(2).digest != now
    # what names no revision is named as before there were any
    monkeypatch.setitem(WORLDS, 1, replace(WORLDS[1], revision=1))  # type: ignore[arg-type]
    assert Recipe.of_world(1).digest == Recipe().digest
