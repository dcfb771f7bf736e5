"""The studies whose results gather in the repository: plans, results that are kept, what they say."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import test_train
import tomli_w
from PIL import Image

from benchmarks.decide import __main__ as command
from benchmarks.decide import evidence, paired, progress, studies, verdicts, worlds
from benchmarks.decide.evidence import Evidence
from benchmarks.decide.progress import Standing
from benchmarks.decide.studies import Planned
from benchmarks.decide.worlds import Data
from swapbench.catalog import Folders
from swapbench.commands.study_table import Arm, Study, trainings
from swapbench.data.dataset import Dataset
from swapbench.data.manifests import COLUMNS
from swapbench.simulate.dataset import Recipe
from swapbench.study.executor import Ended, HowFar

BOX = ("14", "10", "24", "26")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A repository of its own for plans, data and results."""
    for module in (studies, worlds, evidence, progress, command):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(studies, "WORK", tmp_path / "build" / "decide")
    monkeypatch.setattr(evidence, "KEPT", tmp_path / "evidence")
    monkeypatch.setattr(verdicts, "KEPT", tmp_path / "evidence")
    (tmp_path / "models").symlink_to(Path(__file__).parents[1] / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_studies_are_as_large_as_was_fixed(here):
    planned = {name: progress.standing(name) for name in studies.FIXED}
    counts = {name: len(one.trainings) for name, one in planned.items()}
    assert counts["distillation-few"] == counts["distillation-all"] == 1 + 4 * 5
    assert counts["modalities-unseen"] == 7 * 3 * 4
    assert counts["weights-A"] == 8 * 3
    assert counts["weights-print"] == 8 * 4
    decided = studies.decision("D", {"live": 1.0, "class": 0.3})
    every = trainings(decided.study, Folders(here), progress.folder_of("decide-D"))
    assert len(every) == 5 * 10
    assert decided.study.protocol == "A+B+C:D"
    # a target is never among the sources on which weights are chosen
    inner = planned["weights-D"].planned.study
    assert {inner.data_options(domain).protocol for domain in inner.domains} == {"B+C:A", "A+C:B", "A+B:C"}
    without = studies.decision("print", {"live": 1.0, "class": 0.3}).study
    assert without.protocol is None
    assert str(without.data).endswith("-without-print")


def test_a_search_of_the_decision_is_the_one_that_was_fixed(here):
    from swapbench.commands.train import TrainRequest, read_recipe

    study = studies.decision("A", {"live": 3.0, "class": 0.3}).study
    recipes = {
        name: read_recipe(
            Folders(here),
            TrainRequest(arm.network, recipe=arm.recipe, macs=arm.macs, schedule=study.schedule),
        )
        for name, arm in study.arms.items()
    }
    live = recipes["metammd_live"]
    assert (live.mmd_over, live.mmd_weight, live.pruning.mmd_training, live.pruning.mmd_search) == (
        "bona_fide",
        3.0,
        3.0,
        3.0,
    )
    for recipe in (live, recipes["metapruning"]):
        assert recipe.pruning.epochs == 28
        assert recipe.pruning.search.generations * recipe.pruning.search.population == 300
        assert recipe.pruning.least == 0.95
        assert recipe.pruning.held_out
    assert recipes["metapruning"].mmd_weight == 0
    assert recipes["flat"].flat.by_domain
    for recipe in recipes.values():
        assert [phase.batch for phase in recipe.phases] == [96]
        assert recipe.stratified
        assert recipe.choose == "last"
        assert recipe.pruning.macs == 14_000_000


def test_what_waits_says_for_what_and_a_weight_is_the_best_on_held_out_sources(here, capsys):
    assert "waits for weights-B, of which 24 trainings are missing" in progress.standing("decide-B")
    assert progress.standing("rank").startswith("waits for decide-D, which waits for weights-D")
    assert command._go("decide-B", 1, None) == 3
    assert "waits for weights-B" in capsys.readouterr().err
    weighed = progress.standing("weights-A")
    best = {"live0_3": 0.9, "class3": 0.8}
    results = tuple(
        Evidence(one.arm, one.domain, one.seed, {"auc": best.get(one.arm, 0.7)}) for one in weighed.trainings
    )
    full = dataclasses.replace(weighed, results=results)
    assert progress.chosen_weights(full) == {"live": 0.3, "class": 3.0}


def test_a_species_is_left_out_of_training_and_alone_in_the_test(here, monkeypatch):
    source = here / "build" / "world" / "simulated-x"
    source.mkdir(parents=True)
    (source / "dataset.json").write_text(json.dumps({"name": "x", "simulated": True}))
    for split in ("train", "dev", "test"):
        lines = [",".join(COLUMNS)]
        for species in ("", "print", "replay"):
            label = "attack" if species else "bona_fide"
            row = dict.fromkeys(COLUMNS, "") | {"path": f"{split}{species}.png", "subject": split}
            row |= {"label": label, "species": species, "split": split}
            lines.append(",".join(row.values()))
            Image.new("RGB", (4, 4)).save(source / f"{split}{species}.png")
        (source / f"manifest-{split}.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(worlds, "simulate", lambda _folder, _recipe: source)
    data = Data(Recipe.of_world(2), "print")
    data.make()
    kinds = {}
    for split in ("train", "dev", "test"):
        with (here / data.folder / f"manifest-{split}.csv").open() as file:
            kinds[split] = [row["species"] for row in csv.DictReader(file)]
    assert kinds == {"train": ["", "replay"], "dev": ["", "replay"], "test": ["", "print"]}


def _red(folder: Path) -> None:
    """Data in which attacks are red, of two domains."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    (folder / "dataset.json").write_text(json.dumps({"name": "red", "simulated": True}))
    for split, count in (("train", 24), ("dev", 12), ("test", 12)):
        rows = []
        for number in range(count):
            attack = number % 2 == 1
            pixels = random.integers(60, 160, (48, 56, 3))
            pixels[..., 0] += 60 * attack
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{split}-{number}.png")
            row = {
                "path": f"{split}-{number}.png",
                "frame": "0",
                "subject": f"{split}{number}",
                "split": split,
            }
            row |= {"label": "attack" if attack else "bona_fide", "species": "print" if attack else ""}
            row |= {"domain": "AB"[number // 2 % 2]} | dict(zip(COLUMNS[-4:], BOX, strict=True))
            rows.append(dict.fromkeys(COLUMNS, "") | row)
        with (folder / f"manifest-{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    Dataset.load(folder)


class InThisProcess:
    """An executor that imports PyTorch no second time."""

    def __init__(self, cores):
        self.cores = cores

    def start(self, job):
        from swapbench import cli

        job.folder.mkdir(parents=True, exist_ok=True)
        return Over(cli.main(list(job.words)))


@dataclasses.dataclass
class Over:
    status: int

    def how_far(self):
        return HowFar()

    def ended(self):
        return Ended(self.status)

    def end(self):
        pass


@pytest.mark.slow
def test_a_result_is_kept_and_its_training_is_not_done_again_elsewhere(here, monkeypatch):
    folder = Path("build") / "world" / "red"
    _red(here / folder)
    data = Data(Recipe.of_world(2))
    monkeypatch.setattr(Data, "folder", property(lambda _: folder))
    monkeypatch.setattr(Data, "make", lambda _: None)
    monkeypatch.setattr(command, "LocalProcesses", InThisProcess)
    teacher = test_train.tiny(name="teacher", choose="last").model_dump(mode="json", exclude_none=True)
    (here / "teacher.toml").write_text(tomli_w.dumps(teacher))
    taught = test_train.tiny(name="taught", choose="last", distillation={"teachers": {"teacher": 1.0}})
    (here / "taught.toml").write_text(tomli_w.dumps(taught.model_dump(mode="json", exclude_none=True)))
    arms = {
        "teacher": Arm(network="teacher.toml"),
        "taught": Arm(network="taught.toml", beside="teacher"),
    }
    planned = Planned(Study(name="tiny", data=folder, arms=arms, seeds=(1,)), data, keeps_scores=True)

    def standing(_name):
        every = trainings(planned.study, Folders(here), progress.folder_of("tiny"))
        found = [evidence.kept("tiny", one) for one in every]
        return Standing(planned, every, tuple(one for one in found if one is not None))

    monkeypatch.setattr(progress, "standing", standing)
    assert command._go("tiny", 1, None) == 0
    files = {path.stem: json.loads(path.read_text()) for path in (here / "evidence" / "tiny").glob("*.json")}
    assert set(files) == {"teacher.seed1", "taught.seed1", "presentations"}
    assert files["teacher.seed1"]["presentations"] == 12
    assert len(files["teacher.seed1"]["logits_in_hundredths"]) == 12
    told = dataclasses.replace(standing(""), planned=planned)
    teacher = told.of("teacher")["", 1]
    everybody = np.ones((1, paired.people_of(teacher, "tiny")))
    for name, value in (("acer", paired.acer), ("auc", paired.auc)):
        found = value(teacher, "tiny", everybody)[0]
        assert found == pytest.approx(files["teacher.seed1"][name], abs=1e-4)
    assert files["teacher.seed1"]["tested_on"] == "the test split"
    assert standing("").missing == ()

    # without the networks nothing is done again, unless a result is lost: then its teacher is trained, too
    for path in (here / "build" / "decide").rglob("*.safetensors"):
        path.unlink()
    assert command._go("tiny", 1, None) == 0
    assert not list((here / "build" / "decide").rglob("*.safetensors"))
    (here / "evidence" / "tiny" / "taught.seed1.json").unlink()
    assert command._go("tiny", 1, None) == 0
    assert files["taught.seed1"]["auc"] == standing("").of("taught")["", 1].auc
    # one of another recipe is none
    other = files["teacher.seed1"] | {"key": "another"}
    (here / "evidence" / "tiny" / "teacher.seed1.json").write_text(json.dumps(other))
    assert [one.arm for one in standing("").missing] == ["teacher"]


def test_pairs_by_hand():
    def results(*areas):
        return {("s", "", seed): Evidence("a", "", seed, {"auc": area}) for seed, area in enumerate(areas)}

    values = verdicts.differences(results(0.9, 0.8, 0.7), results(0.8, 0.78))
    assert values == pytest.approx([0.1, 0.02])
    # mean .06, deviation .0566, t(.975; 1) = 12.706: half 12.706 * .0566 / sqrt(2) = .508
    assert verdicts.spread_of(values) == "+6.00 [-44.82, +56.82]"
    assert verdicts.flips_p(values) == 0.5
    # ten pairs of one sign: 2 / 2^10; with a second question twice that, and the worse of both
    lines = list(verdicts.with_p([(("a",), [0.01] * 10), (("b",), values), (("c",), [0.01])]))
    assert lines == [
        ("a", "10", "+1.00 [+1.00, +1.00]", "0.00195", "0.00391"),
        ("b", "2", "+6.00 [-44.82, +56.82]", "0.5", "0.5"),
        ("c", "1", "+1.00", "", ""),
    ]


def test_errors_of_people_by_hand(here):
    folder = here / "evidence" / "s"
    folder.mkdir(parents=True)
    about = {"subject": ["x", "x", "y", "y", "y"], "species": ["", "print", "", "print", "replay"]}
    (folder / "presentations.json").write_text(json.dumps(about))
    content = {"presentations_in": "presentations.json", "threshold_logit": 0.5}
    content["logits_in_hundredths"] = [49, 50, 80, 10, 10]  # x: rejected, and its print accepted; y: right
    errors = paired.errors_of(Evidence("a", "", 1, content), "s")
    # bona fide, print, replay: errors and presentations
    assert errors.tolist() == [[1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1]]
    weights = np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 0.0]])
    one = Evidence("a", "", 1, content)
    assert paired.acer(one, "s", weights).tolist() == [0.5, 0.0, 1.0]
    # 49 beats 10 twice, 80 beats all three; y alone is right, x alone is wrong
    assert paired.auc(one, "s", weights).tolist() == [pytest.approx(5 / 6), 1.0, 0.0]
    tied = Evidence("a", "", 1, content | {"logits_in_hundredths": [10, 10, 10, 10, 10]})
    assert paired.auc(tied, "s", weights).tolist() == [0.5, 0.5, 0.5]


def _tested_on(folder: Path, people: int, seeds: int, gain: float) -> list[tuple[Evidence, Evidence]]:
    """Pairs of results in which the first rejects `gain` fewer bona fide presentations than the second."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([people, seeds])
    about = {
        "subject": [f"s{number // 4}" for number in range(4 * people)],
        "species": ["", "", "print", "replay"] * people,
    }
    (folder / "presentations.json").write_text(json.dumps(about))
    pairs = []
    for seed in range(seeds):
        halves = []
        for rejected in (0.2 - gain, 0.2):
            wrong = random.uniform(size=4 * people) < np.where(
                np.array(about["species"]) == "", rejected, 0.1
            )
            right = np.where(np.array(about["species"]) == "", 100, -100)
            content = {"presentations_in": "presentations.json", "threshold_logit": 0.0}
            content["logits_in_hundredths"] = np.where(wrong, -right, right).tolist()
            halves.append(Evidence("a", "", seed, content))
        pairs.append((halves[0], halves[1]))
    return pairs


def test_an_interval_over_people_and_seeds_covers_what_is_true(here):
    # BPCER 10 % and 20 %, and the worse of two species with 10 % each in both: on average 5 points of ACER
    covered = 0
    for number in range(60):
        pairs = _tested_on(here / "evidence" / f"s{number}", 100 + number, 5, 0.1)
        found = paired.difference(pairs, f"s{number}", paired.acer)
        assert found.pairs == 5
        assert found.low < found.mean < found.high
        covered += found.low <= -5.0 <= found.high
    assert covered >= 54
    alone = paired.difference(pairs[:1], "s59", paired.acer)
    assert (alone.pairs, alone.low < alone.mean < alone.high) == (1, True)


def test_the_table_says_how_far_everything_is(here):
    text = verdicts.write().read_text()
    assert "| teachers | 0 of 9 |" in text
    assert "| decide-A | waits for weights-A" in text
    assert "A study that is not complete decides nothing." in text
