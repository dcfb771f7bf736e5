"""The benchmark of simulated worlds: its features, its table, and what it says where nothing was measured."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from PIL import Image

from benchmarks.world import __main__ as command
from benchmarks.world import acceptance, features, scorers, trainings
from benchmarks.world.acceptance import Line
from swapbench.data.dataset import Dataset
from swapbench.data.manifests import COLUMNS
from swapbench.workshop.recipes.recipe import read_recipe

SIDE_PX = 160
BOX = (30.0, 20.0, 90.0, 110.0)


def test_numbers_of_a_frame_are_what_they_are_called():
    pixels = np.zeros((SIDE_PX, SIDE_PX, 3))
    pixels[:, ::2] = (100.0, 50.0, 20.0)
    found = features.of_frame(pixels, 1000)
    assert found["file size"] == pytest.approx([np.log(1000)])
    assert found["mean colour"] == pytest.approx([50, 25, 10])
    # half of it at luma 0.299 * 100 + 0.587 * 50 + 0.114 * 20 = 61.53, half at 0: a variance of (61.53 / 2)^2
    assert found["energy"] == pytest.approx([np.log((61.53 / 2) ** 2 + 0.1)])


@pytest.mark.parametrize("upright", [True, False])
def test_stripes_are_found_in_the_ring_and_the_sector_of_their_frequency(upright):
    x = np.arange(SIDE_PX)
    wave = 128 + 60 * np.cos(2 * np.pi * x / 8)
    grey = np.broadcast_to(wave if upright else wave[:, None], (SIDE_PX, SIDE_PX))
    found = features.of_face(np.dstack([grey] * 3), BOX)
    assert found.shape == (903,)
    # 1/8 of a cycle a pixel is a quarter of the highest frequency: ring 6 of 24; across is sector 0, down 4
    assert int(np.argmax(found[: 24 * 8])) == 6 * 8 + (0 if upright else 4)


def test_features_are_of_the_face_and_not_of_what_is_beside_it():
    pixels = np.full((400, 400, 3), 90.0)
    other = pixels.copy()
    other[:100] = 250
    box = (150.0, 200.0, 90.0, 110.0)
    assert np.array_equal(features.of_face(pixels, box), features.of_face(other, box))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world whose attacks are red, which every detector must see; sizes of its files tell nothing."""
    folder = tmp_path_factory.mktemp("red")
    rng = np.random.default_rng(0)
    (folder / "dataset.json").write_text(json.dumps({"name": "red attacks", "simulated": True}))
    for split, people in (("train", 8), ("dev", 6), ("test", 6)):
        rows = []
        for person in range(people):
            for species in ("", "print", "replay"):
                pixels = rng.integers(60, 160, (SIDE_PX, SIDE_PX, 3))
                pixels[..., 0] += 60 if species else 0
                name = f"{split}-{person}-{species or 'live'}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
                values = dict.fromkeys(COLUMNS, "")
                values |= {"path": name, "frame": "0", "subject": f"{split}{person}", "species": species}
                values |= {"label": "attack" if species else "bona_fide", "split": split, "domain": "A"}
                values |= dict(zip(COLUMNS[-4:], map(str, BOX), strict=True))
                rows.append(values)
        with (folder / f"manifest-{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    return acceptance.World(folder, folder / "networks", folder / "crops", seeds=2)


def test_a_shortcut_is_found_and_the_world_is_not_accepted(world):
    lines = {line.name: line for line in acceptance.of_classical(world)}
    red = lines["logistic regression, mean colour"]
    assert red.measured == "AUC 1.000"
    assert red.holds is False
    size = lines["logistic regression, file size"]
    area = float(size.measured.split()[1])
    assert size.holds == (0.35 <= area <= 0.65)
    spectra = lines["logistic regression, spectra and colours"]
    assert spectra.measured.startswith("ACER 0.0")
    # beside a student that nobody has trained it cannot be better or worse
    assert spectra.holds is None
    assert spectra.measured.endswith("the student is not trained")


def test_the_strength_of_the_regression_is_chosen_without_the_test_split(world):
    data = Dataset.load(world.data)
    chosen = scorers.classical(data)["mean colour"]
    assert chosen.dev is not None
    swapped = {"test": tuple(reversed(data.splits["test"]))}
    again = scorers.classical(
        Dataset(data.name, simulated=True, notice="", root=data.root, splits={**data.splits, **swapped})
    )["mean colour"]
    assert np.array_equal(chosen.dev.score, again.dev.score)
    assert np.array_equal(chosen.test.score, again.test.score[::-1])


def test_networks_that_are_not_trained_are_absent_with_what_trains_them(world):
    lines = acceptance.of_networks(world)
    assert len(lines) == 5
    for line in lines:
        assert line.holds is None
        assert line.measured.startswith("absent: not")
        assert "python -m benchmarks.world train" in line.measured


def test_the_table_says_what_holds():
    text = acceptance.as_markdown(
        [Line("a", "x", "1", True), Line("b", "y", "2", False), Line("c", "z", "3")]
    )
    assert text.splitlines() == [
        "| what | accepted when | measured | holds |",
        "|---|---|---|---|",
        "| a | x | 1 | yes |",
        "| b | y | 2 | no |",
        "| c | z | 3 |  |",
    ]


def test_each_line_has_its_training(tmp_path):
    commands = {
        name: trainee.command(tmp_path / "data", tmp_path, 3, "small")
        for name, trainee in trainings.TRAINEES.items()
    }
    assert [command[1:4] for command in commands.values()] == [["-m", "swapbench", "train"]] * 8
    assert commands["without-B"][-11:-9] == ["--protocol", "A+C+D:B"]
    teacher = commands["distilled"][commands["distilled"].index("--teacher") + 1]
    assert teacher == str(trainings.TRAINEES["teacher"].card(tmp_path, 3))
    assert commands["teacher"][4] == "resnet18_map"
    assert commands["teacher"][-1] == str(tmp_path / "teacher-seed3")
    wide = read_recipe(tmp_path / "recipes" / "minifasnet_v2.toml")
    assert (wide.preprocessing.width_px, wide.architecture["size_px"]) == (128, 128)
    assert {phase.size_px for phase in wide.phases} == {128}


def test_a_slice_of_a_world_is_made_where_it_is_wanted(tmp_path, monkeypatch, capsys):
    made = {}

    def simulate(folder, recipe):
        made[folder] = recipe
        return folder / "simulated-00000000"

    monkeypatch.setattr(command, "simulate", simulate)
    arguments = ["benchmarks.world", "make", str(tmp_path), "--world", "2", "--people", "8", "4", "6"]
    monkeypatch.setattr("sys.argv", arguments)
    assert command.main() == 0
    recipe = made[tmp_path]
    assert (recipe.world, recipe.train_identities, recipe.dev_identities, recipe.test_identities) == (
        2,
        8,
        4,
        6,
    )
    assert recipe.test_captures == (2, 2, 2)
    assert capsys.readouterr().out == f"{tmp_path / 'simulated-00000000'}\n"


def test_a_name_that_nothing_has_and_data_that_are_not_there_are_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks.world", "train", str(tmp_path), "studnet"])
    with pytest.raises(SystemExit):
        command.main()
    assert "nothing is called 'studnet'; known: student" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["benchmarks.world", "table", str(tmp_path / "nowhere")])
    assert command.main() == 2
    assert "nowhere" in capsys.readouterr().err
