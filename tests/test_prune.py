import csv
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_train

from swapbench import catalog
from swapbench.cards import read_card
from swapbench.commands import train as training
from swapbench.data.dataset import Dataset
from swapbench.errors import BadCard, BadDataset, EnvironmentFailed, NotValid, UnknownName, UserError
from swapbench.records import OutputMeaning, Preprocessing
from swapbench.workshop.prune.widths import Budget, Shape, WidthSpace
from swapbench.workshop.recipes.recipe import Phase, TrainRecipe, read_recipe

stripes = test_train.stripes
Killed = test_train.Killed
RECIPES = Path(__file__).parents[1] / "models" / "recipes"
THIN = (8, 8, *(16, 16, 8) * 5, *(16, 16, 12) * 7, 24, 24, 12, *(16, 16, 12) * 2, 32, 32)
SHAPE = Shape(32, 2, 16)
HALF = 150_000  # of 303,616 MACs
FAST_SEARCH = {"generations": 2, "population": 4, "parents": 2, "mutations": 2, "crossovers": 1}
META = {
    "method": "metapruning",
    "macs": HALF,
    "epochs": 2,
    "hidden": 4,
    "calibration_images": 16,
    "search": FAST_SEARCH,
}


def recipe(pruning: dict[str, Any] | None, **changes: Any) -> TrainRecipe:
    made = {
        "name": "thin",
        "summary": "for tests",
        "family": "minifasnet",
        "architecture": {"channels": list(THIN), "size_px": 32, "classes": 2, "embedding": 16},
        "preprocessing": Preprocessing(width_px=32, height_px=32, crop_scale=1.2),
        "output": OutputMeaning(kind="logits", bona_fide_index=1, classes=("attack", "bona fide")),
        "phases": (Phase(size_px=32, epochs=1, batch=8),),
        "learning_rate": 0.01,
        "pruning": pruning,
        "seed": 4,
    }
    return TrainRecipe.model_validate(made | changes)


def test_a_method_is_laid_over_a_networks_recipe() -> None:
    methods = sorted((RECIPES / "methods").glob("*.toml"))
    assert len(methods) >= 7
    for path in (method for method in methods if method.stem not in {"distill", "early_exit"}):
        read = read_recipe(RECIPES / "mobilefacenet.toml", path)
        assert read.recipe == path.stem
        assert read.pruning is not None
        assert read.architecture["channels"][16] == 64
    assert read_recipe(RECIPES / "mobilefacenet.toml").pruning is None


def test_metapruning_is_metammd_with_every_discrepancy_off() -> None:
    plain = read_recipe(RECIPES / "mobilefacenet.toml", RECIPES / "methods" / "metapruning.toml")
    arms = {
        name: read_recipe(RECIPES / "mobilefacenet.toml", RECIPES / "methods" / f"{name}.toml")
        for name in ("metammd", "metammd_training", "metammd_search")
    }
    weights = {
        name: (arm.mmd_weight > 0, arm.pruning.mmd_training > 0, arm.pruning.mmd_search > 0)  # type: ignore[union-attr]
        for name, arm in arms.items()
    }
    assert weights == {
        "metammd": (True, True, True),
        "metammd_training": (True, True, False),
        "metammd_search": (False, False, True),
    }
    off = {"mmd_training": 0.0, "mmd_search": 0.0}
    for arm in arms.values():
        assert arm.pruning is not None
        same = arm.model_copy(
            update={"recipe": "metapruning", "mmd_weight": 0.0, "pruning": arm.pruning.model_copy(update=off)}
        )
        assert same == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[pruning]\nmethod = 'uniform'\nhidden = 3",
            r"unknown key `hidden` in \[pruning\]; known are ",
        ),
        (
            "[pruning]\nmethod = 'magic'",
            r"pruning: Input tag 'magic' .* 'uniform', 'magnitude', 'metapruning'",
        ),
        ("mmd = 1", r"unknown key `mmd`; did you mean mmd_over\?"),
        ("[pruning]\nmethod = 'uniform'\nlatency_ms = 3.0", "latency_ms and latency_table go together"),
        (
            "[pruning]\nmethod = 'uniform'\nmacs = 5\nlatency_ms = 3.0\nlatency_table = 't'",
            "only one budget is possible: macs or latency_ms",
        ),
        (
            "[pruning]\nmethod = 'metapruning'\n[pruning.search]\nsize = 3",
            r"unknown key `size` in \[pruning\.search\]; known are ",
        ),
    ],
)
def test_a_wrong_method_is_named_with_both_files_and_the_field(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(BadCard, match=rf"mobilefacenet\.toml with .*m\.toml: .*{message}"):
        read_recipe(RECIPES / "mobilefacenet.toml", path)


pytest.importorskip("torch")


def train(tmp_path: Path, judges: Any = None, /, **options: Any) -> Path:
    def unheard(*_: Any) -> None:
        return

    request = training.TrainRequest("mobilefacenet", **options)
    return training.train(catalog.Folders(tmp_path), request, judges=judges, progress=unheard, say=unheard)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"recipe": "uniform", "macs": "1M"},
            UserError,
            r"fits into 1\.00 M MACs: the narrowest has 1\.90 M MACs",
        ),
        ({"recipe": "metammd", "macs": "1M"}, UserError, "no structure fits"),
        ({"recipe": "uniform"}, UserError, r"has no budget\. Give one, as in --macs 40M"),
        ({"recipe": "uniform", "macs": "much"}, UserError, "'much' is not a number of multiply-accumulates"),
        ({"recipe": "uniform", "macs": "0"}, UserError, "'0' is not a number"),
        ({"macs": "40M"}, UserError, "does not prune, so --macs has no effect"),
        ({"channel_multiple": 8}, UserError, "does not prune, so --channel-multiple has no effect"),
        ({"recipe": "metamdm"}, UnknownName, r"no method named 'metamdm'\. Did you mean metammd"),
    ],
)
def test_what_cannot_be_pruned_is_said_before_data_are_made(
    tmp_path: Path, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        train(tmp_path, **options)
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_budget_is_written_as_people_write_it() -> None:
    for text, macs in (
        ("40M", 40_000_000),
        ("2.5 M", 2_500_000),
        ("900k", 900_000),
        ("40000000", 40_000_000),
    ):
        found = training.with_budget(recipe({"method": "uniform"}), "--macs", macs=training.read_macs(text))
        assert found.pruning is not None
        assert found.pruning.macs == macs


@pytest.mark.slow
def test_a_network_of_another_family_cannot_be_pruned(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.prune.pruning import prune

    with pytest.raises(BadCard, match="networks of the family feathernet cannot be pruned"):
        prune(recipe({"method": "uniform", "macs": HALF}, family="feathernet"), stripes, tmp_path)
    broken = [*THIN[:4], 9, *THIN[5:]]
    with pytest.raises(BadCard, match="stage 1 output has several widths"):
        prune(
            recipe({"method": "uniform", "macs": HALF}, architecture={"channels": broken}), stripes, tmp_path
        )
    squeezed = {"channels": list(THIN), "size_px": 32, "classes": 2, "squeeze": True}
    with pytest.raises(BadCard, match="a network with squeeze-and-excitation cannot be pruned"):
        prune(recipe({"method": "uniform", "macs": HALF}, architecture=squeezed), stripes, tmp_path)


@pytest.mark.slow
def test_uniform_widths_are_trained_and_stand_on_the_card(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.nets.checkpoint import load_network
    from swapbench.workshop.prune.pruning import prune

    card = prune(recipe({"method": "uniform", "macs": HALF}), stripes, tmp_path)
    assert card == read_card(tmp_path / "thin.uniform-0_15M.toml")
    channels = tuple(card.architecture["channels"])
    assert channels == WidthSpace.of(THIN).uniform(Budget.of_macs(HALF, SHAPE))
    assert 0.8 * HALF < SHAPE.macs(channels) <= HALF
    assert "widths by uniform" in card.summary
    assert sum(
        one.numel() for one in load_network(card, tmp_path / "thin.toml").parameters()
    ) == SHAPE.parameters(channels)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["uniform", "metapruning"])
def test_widths_in_multiples_stand_in_the_name_and_the_summary(
    stripes: Dataset, tmp_path: Path, method: str
) -> None:
    from swapbench.workshop.prune.pruning import prune

    pruning = META if method == "metapruning" else {"method": method, "macs": HALF}
    card = prune(recipe({**pruning, "channel_multiple": 4}), stripes, tmp_path)
    assert card == read_card(tmp_path / f"thin.{method}-0_15M-x4.toml")
    assert f"widths by {method} in multiples of 4 channels, " in card.summary
    assert all(width % 4 == 0 for width in card.architecture["channels"])
    assert SHAPE.macs(tuple(card.architecture["channels"])) <= HALF


@pytest.mark.slow
def test_the_discrepancy_changes_the_training_and_needs_two_domains(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.train.training import train as train_network

    plain = train_network(recipe(None), stripes, tmp_path / "plain")
    mmd = train_network(recipe(None, mmd_weight=1.0), stripes, tmp_path / "mmd")
    assert mmd.checkpoint_sha256 != plain.checkpoint_sha256
    one = {
        split: tuple(dataclasses.replace(sample, domain="A") for sample in stripes.samples(split))
        for split in ("train", "dev")
    }
    alone = dataclasses.replace(stripes, splits=one)
    with pytest.raises(BadDataset, match="train of stripes has only A"):
        train_network(recipe(None, mmd_weight=1.0), alone, tmp_path)
    from swapbench.workshop.prune.pruning import prune

    with pytest.raises(BadDataset, match="dev of stripes has only A"):
        prune(recipe(META | {"mmd_search": 1.0}), alone, tmp_path)
    with pytest.raises(BadDataset, match="train of stripes has only A"):
        prune(recipe(META | {"mmd_training": 1.0}), alone, tmp_path)


@pytest.mark.slow
def test_magnitude_by_hand_keeps_the_largest_filters_and_their_weights() -> None:
    import torch

    from swapbench.workshop.nets.minifasnet import MiniFASNet
    from swapbench.workshop.prune.magnitude import importance, inherited, kept_channels

    space = WidthSpace.of(THIN)
    torch.manual_seed(0)
    network = MiniFASNet(THIN, size_px=32, classes=2, embedding=16)
    weights = network.state_dict()
    # of the 16 channels inside conv_23, 3 and 11 matter in both of its layers, the others hardly
    for name in ("conv_23.conv", "conv_23.conv_dw"):
        weights[f"{name}.conv.weight"].mul_(0.001)
        weights[f"{name}.conv.weight"][[3, 11]] *= 1e5
    matters = importance(weights, space, "l1")
    assert [len(one) for one in matters] == [gene.widths[-1] for gene in space.genes]
    assert sorted(matters[1].argsort(descending=True)[:2].tolist()) == [3, 11]
    assert all(float(one.mean()) == pytest.approx(1.0, abs=1e-4) for one in matters)
    budget = Budget.of_macs(HALF, SHAPE)
    kept = kept_channels(matters, space, budget)
    assert kept[1] == (3, 11)
    channels = space.with_widths([len(one) for one in kept])
    assert 0.9 * HALF < SHAPE.macs(channels) <= HALF
    pruned = MiniFASNet(channels, size_px=32, classes=2, embedding=16)
    state = inherited(weights, space, kept)
    pruned.load_state_dict(state)
    stem = list(kept[0])
    assert torch.equal(
        state["conv_23.conv.conv.weight"], weights["conv_23.conv.conv.weight"][[3, 11]][:, stem]
    )
    assert torch.equal(state["conv_23.conv_dw.bn.weight"], weights["conv_23.conv_dw.bn.weight"][[3, 11]])
    # in multiples of 4, the four that matter most stay of a gene of which two are above the others
    fours = WidthSpace.of(THIN, multiple=4)
    kept = kept_channels(matters, fours, budget)
    assert set(kept[1]) == set(matters[1].argsort(descending=True)[:4].tolist()) > {3, 11}
    channels = fours.with_widths([len(one) for one in kept])
    assert all(width % 4 == 0 for width in channels)
    assert 0.7 * HALF < SHAPE.macs(channels) <= HALF


@pytest.mark.slow
def test_cutting_channels_that_are_zero_changes_no_answer() -> None:
    import torch

    from swapbench.workshop.nets.minifasnet import MiniFASNet
    from swapbench.workshop.prune.magnitude import importance, inherited, kept_channels

    space = WidthSpace.of(THIN)
    torch.manual_seed(0)
    network = MiniFASNet(THIN, size_px=32, classes=2, embedding=16).eval()
    weights = network.state_dict()
    # a channel whose batch norms scale by 0 is 0: the second half of every gene
    for gene in space.genes:
        for name in [name for name in weights if name.endswith("bn.weight")]:
            if len(weights[name]) == gene.widths[-1] and not name.startswith(("conv_6", "bn.")):
                weights[name][gene.widths[-1] // 2 :] = 0
    matters = importance(weights, space, "bn_gamma")
    half = space.with_widths([gene.widths[-1] // 2 for gene in space.genes])
    kept = kept_channels(matters, space, Budget.of_macs(SHAPE.macs(half), SHAPE))
    assert [len(one) for one in kept] == [gene.widths[-1] // 2 for gene in space.genes]
    pruned = MiniFASNet(half, size_px=32, classes=2, embedding=16).eval()
    pruned.load_state_dict(inherited(weights, space, kept))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(pruned(images), network(images), atol=1e-5)


@pytest.mark.slow
def test_magnitude_goes_on_from_the_kept_weights_of_a_network_that_fits(
    stripes: Dataset, tmp_path: Path
) -> None:
    from swapbench.workshop.prune.pruning import prune
    from swapbench.workshop.train.training import train as train_network

    magnitude = {"method": "magnitude", "macs": HALF}
    with pytest.raises(UserError, match=r"there is no .*thin\.toml\. Train it first.*swapbench train thin"):
        prune(recipe(magnitude), stripes, tmp_path)
    train_network(recipe(None), stripes, tmp_path)
    kept = prune(recipe(magnitude), stripes, tmp_path)
    anew = prune(recipe(magnitude | {"inherit": False}, recipe="anew"), stripes, tmp_path)
    assert kept.architecture == anew.architecture
    assert kept.checkpoint_sha256 != anew.checkpoint_sha256
    assert "weights kept" in kept.summary
    assert SHAPE.macs(tuple(kept.architecture["channels"])) <= HALF
    other = recipe(magnitude, architecture={**recipe(None).architecture, "embedding": 8})
    with pytest.raises(BadCard, match="has a different architecture from the recipe"):
        prune(other, stripes, tmp_path)
    card = (tmp_path / "thin.toml").read_text()
    (tmp_path / "thin.toml").write_text(card.replace(stripes.digest(), "0" * 64))
    with pytest.raises(BadCard, match="was trained on different data"):
        prune(recipe(magnitude), stripes, tmp_path)


@pytest.mark.slow
def test_the_network_of_a_structure_computes_what_the_pruning_net_does() -> None:
    import torch

    from swapbench.workshop.nets.minifasnet import MiniFASNet
    from swapbench.workshop.prune.pruning_net import PruningNet

    space = WidthSpace.of(THIN)
    architecture = {**recipe(None).architecture, "dropout": 0.0}
    torch.manual_seed(0)
    net = PruningNet(architecture, space, hidden=4).train()
    images = torch.randn(8, 3, 32, 32)
    torch.manual_seed(5)
    drawn = net(images)
    torch.manual_seed(5)
    genes = tuple(int(torch.randint(size, ())) for size in space.sizes)
    channels = space.channels(genes)
    network = MiniFASNet(channels, size_px=32, classes=2, embedding=16, dropout=0.0).train()
    weights = net.weights(genes)
    assert weights.keys() == dict(network.named_parameters()).keys()
    network.load_state_dict(weights, strict=False)
    assert torch.allclose(network(images), drawn, atol=1e-5)
    # recalibrated on that batch alone, a candidate normalises as the batch did, but for n / (n - 1)
    candidate = net.candidate(genes, [images])
    assert not candidate.training
    statistics = dict(candidate.named_buffers())["conv1.bn.running_mean"]
    with torch.no_grad():
        assert torch.allclose(statistics, candidate.conv1.conv(images).mean((0, 2, 3)), atol=1e-5)


@pytest.mark.slow
def test_every_generator_learns_whatever_is_drawn() -> None:
    import torch

    from swapbench.workshop.prune.pruning_net import PruningNet

    torch.manual_seed(0)
    net = PruningNet(recipe(None).architecture, WidthSpace.of(THIN), hidden=16).train()
    for _ in range(3):
        net(torch.randn(4, 3, 32, 32)).square().sum().backward()
    lacking = [name for name, one in net.named_parameters() if one.grad is None or not one.grad.any()]
    assert [name for name in lacking if "prelu" not in name] == []


@pytest.mark.slow
def test_recalibration_is_the_mean_over_the_batches_and_restores_momentum() -> None:
    import torch

    from swapbench.workshop.prune.pruning_net import recalibrate

    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Dropout(0.9), torch.nn.BatchNorm2d(1))
    network[0].running_mean.fill_(99)
    recalibrate(network, [torch.full((2, 1, 1, 1), 1.0), torch.tensor([2.0, 6.0]).view(2, 1, 1, 1)])
    assert float(network[0].running_mean) == pytest.approx(2.5)  # 1 and 4
    assert float(network[0].running_var) == pytest.approx(4.0)  # 0 and 8
    assert network[0].momentum == 0.1
    assert not network.training


def result(folder: Path, stem: str) -> tuple[str, str]:
    """What a search and the training after it ended in."""
    history = (folder / f"{stem}.search.csv").read_text()
    return history, hashlib.sha256((folder / f"{stem}.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
def test_metapruning_finds_trains_and_keeps_its_history(stripes: Dataset, tmp_path: Path) -> None:
    from swapbench.workshop.prune.pruning import prune
    from swapbench.workshop.train.setup import TrainingSetup

    lines: list[str] = []
    stages: list[tuple[str, float, float]] = []
    setup = TrainingSetup(say=lines.append, progress=lambda *about: stages.append(about))
    card = prune(recipe(META), stripes, tmp_path, setup)
    assert card.recipe == "metapruning-0_15M"
    rows = list(csv.DictReader((tmp_path / "thin.metapruning-0_15M.search.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert all(float(row["macs"]) <= HALF for row in rows)
    assert all(float(row["fitness"]) == float(row["loss"]) for row in rows)
    assert all(row["mmd"] for row in rows)  # it is recorded where it has no say, too
    winner = min(rows, key=lambda row: float(row["fitness"]))
    assert card.architecture["channels"][0] == int(winner["stem"])
    assert card.architecture["channels"][16] == int(winner["stage 1 output"])
    assert SHAPE.macs(tuple(card.architecture["channels"])) == float(winner["macs"])
    assert ("searching widths", 8, 8) in stages
    assert stages[0][0] == "training pruning_net"
    assert stages[-1][0] == "training thin.metapruning-0_15M"
    assert "PruningNet epoch 1/2" in lines[0]
    assert "left" in lines[0]
    assert any(line.startswith("a candidate took") for line in lines)
    # the card's time holds that of the PruningNet and of the search
    (trained,) = (tmp_path / ".training").glob("pruning_net-*.json")
    (searched,) = (tmp_path / ".training").glob("search-*.json")
    before_s = json.loads(trained.read_text())["seconds"] + sum(
        one["seconds"] for one in json.loads(searched.read_text())["evaluated"]
    )
    last = (tmp_path / "thin.metapruning-0_15M.curve.csv").read_text().splitlines()[-1]
    assert card.training is not None
    assert card.training.seconds == pytest.approx(before_s + float(last.rpartition(",")[2]), abs=0.2)
    # another budget and another fitness take the same PruningNet
    again: list[str] = []
    other = recipe(META | {"macs": 200_000, "mmd_search": 1.0})
    prune(other, stripes, tmp_path, TrainingSetup(say=again.append))
    assert not any("PruningNet epoch" in line for line in again)
    rows = list(csv.DictReader((tmp_path / "thin.metapruning-0_2M.search.csv").read_text().splitlines()))
    for row in rows:
        assert float(row["fitness"]) == pytest.approx(float(row["loss"]) + float(row["mmd"]))


@pytest.mark.slow
def test_with_every_discrepancy_off_meta_mmd_is_metapruning_and_with_any_on_it_is_not(
    stripes: Dataset,
    tmp_path: Path,
) -> None:
    from swapbench.workshop.prune.pruning import prune

    def of(name: str, weight: float, training: float, fitness: float) -> tuple[str, str]:
        meta = META | {"mmd_training": training, "mmd_search": fitness}
        prune(recipe(meta, recipe="x", mmd_weight=weight), stripes, tmp_path / name)
        return result(tmp_path / name, "thin.x-0_15M")

    prune(recipe(META, recipe="x"), stripes, tmp_path / "plain")
    plain = result(tmp_path / "plain", "thin.x-0_15M")
    assert of("off", 0, 0, 0) == plain
    trained, searched, last = of("training", 0, 5.0, 0), of("search", 0, 0, 5.0), of("last", 5.0, 0, 0)
    assert plain[0] not in {trained[0], searched[0]}
    assert last[0] == plain[0]
    assert last[1] != plain[1]


TWO_EPOCHS = (Phase(size_px=32, epochs=2, batch=8),)


@pytest.fixture(scope="module")
def uncut(stripes: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pruning that went through without a stop."""
    from swapbench.workshop.prune.pruning import prune

    folder = tmp_path_factory.mktemp("uncut")
    prune(recipe(META, phases=TWO_EPOCHS), stripes, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["PruningNet epoch 1", "searching", "widths:", "epoch 1/2"])
def test_pruning_that_was_cut_anywhere_goes_on_to_the_same_network(
    stripes: Dataset,
    tmp_path: Path,
    moment: str,
    uncut: Path,
) -> None:
    from swapbench.workshop.prune.pruning import prune
    from swapbench.workshop.train.setup import TrainingSetup

    two = recipe(META, phases=TWO_EPOCHS)

    def say(line: str) -> None:
        if line.startswith(moment):
            raise Killed

    def progress(stage: str, done: float, total: float) -> None:
        if stage.startswith(moment) and done == 5:
            raise Killed

    with pytest.raises(Killed):
        prune(two, stripes, tmp_path / "cut", TrainingSetup(say=say, progress=progress))
    assert not (tmp_path / "cut" / "thin.metapruning-0_15M.toml").exists()
    lines: list[str] = []
    prune(two, stripes, tmp_path / "cut", TrainingSetup(say=lines.append))
    in_pruning_net = moment == "PruningNet epoch 1"
    assert lines[0].startswith(
        "PruningNet resuming after epoch 1 of 2" if in_pruning_net else "a candidate took"
    )
    stem = "thin.metapruning-0_15M"
    assert result(tmp_path / "cut", stem) == result(uncut, stem)


@pytest.mark.slow
def test_a_pruning_net_whose_loss_is_no_number_stops_and_keeps_the_last_good_state(
    stripes: Dataset,
    tmp_path: Path,
) -> None:
    import torch

    from swapbench.workshop.prune.pruning import prune
    from swapbench.workshop.train.setup import TrainingSetup

    def poison(line: str) -> None:
        path = next((tmp_path / ".training").glob("pruning_net-*.state.pt"))
        state = torch.load(path, weights_only=True)
        state["network"]["kernels.conv1.bias"].fill_(float("nan"))
        torch.save(state, path)
        raise Killed(line)

    with pytest.raises(Killed):
        prune(recipe(META), stripes, tmp_path, TrainingSetup(say=poison))
    with pytest.raises(NotValid, match="the loss became nan in epoch 2, step 1"):
        prune(recipe(META), stripes, tmp_path)
    assert len(list((tmp_path / ".training").glob("pruning_net-*.state.pt"))) == 1


@pytest.mark.slow
def test_candidates_are_judged_on_as_many_of_each_domain_and_species(stripes: Dataset) -> None:
    from swapbench.workshop.prune.fitness import spread

    samples = stripes.samples("dev")
    assert spread(range(16), samples, 100) == list(range(16))
    chosen = spread(range(16), samples, 8)
    assert len(chosen) == 8
    kinds = [(samples[row].domain, samples[row].species) for row in chosen]
    assert {kinds.count(kind) for kind in kinds} == {2}


@pytest.mark.slow
def test_the_fitness_of_a_structure_is_the_same_each_time_and_in_threads(
    stripes: Dataset, tmp_path: Path
) -> None:
    import torch

    from swapbench.data.frames import side_by_side
    from swapbench.workshop.prune.fitness import Fitness
    from swapbench.workshop.prune.pruning_net import PruningNet
    from swapbench.workshop.train.setup import Execution

    torch.manual_seed(0)
    made = recipe(META | {"mmd_search": 1.0})
    assert made.pruning is not None
    space = WidthSpace.of(THIN)
    net = PruningNet(made.architecture, space, 4)
    execution = Execution(seed=0, work=tmp_path)
    fitness = Fitness.of(net, made, made.pruning, stripes, execution)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    several = [tuple(int(random.integers(size)) for size in space.sizes) for _ in range(6)]
    alone = {genes: fitness(genes) for genes in several}
    together = dict(side_by_side(lambda genes: (genes, fitness(genes)), several * 2, 2))
    assert together == alone
    assert len({one.fitness for one in alone.values()}) == 6
    assert set(alone[several[0]].parts) == {"eer", "auc", "loss", "mmd"}
    (tmp_path / "no.png").write_bytes(b"no image")
    unread = {split: stripes.samples(split) for split in ("train", "dev")}
    unread["dev"] = tuple(
        one if one.bona_fide else dataclasses.replace(one, path=tmp_path / "no.png") for one in unread["dev"]
    )
    without = dataclasses.replace(stripes, splits=unread)
    with pytest.raises(BadDataset, match="dev of stripes has usable images of one class only"):
        Fitness.of(net, made, made.pruning, without, execution)  # type: ignore[arg-type]
    # from its file it judges to the last bit as before, whatever it judged meanwhile, and in another order
    fitness.save(tmp_path / "fitness.safetensors")
    read = Fitness.read(tmp_path / "fitness.safetensors")
    assert {genes: read(genes) for genes in reversed(several)} == alone
    with torch.no_grad():
        net.kernels["conv1"].bias.fill_(float("nan"))
    assert fitness(several[0]).fitness == float("inf")
    assert read(several[0]) == alone[several[0]]


@pytest.fixture(scope="module")
def saved(stripes: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a fitness."""
    import torch

    from swapbench.workshop.prune.fitness import Fitness
    from swapbench.workshop.prune.pruning_net import PruningNet
    from swapbench.workshop.train.setup import Execution

    folder = tmp_path_factory.mktemp("saved")
    made = recipe(META)
    torch.manual_seed(0)
    net = PruningNet(made.architecture, WidthSpace.of(THIN), 4)
    fitness = Fitness.of(net, made, made.pruning, stripes, Execution(seed=0, work=folder))  # type: ignore[arg-type]
    fitness.save(folder / "fitness.safetensors")
    return folder / "fitness.safetensors"


@pytest.mark.slow
def test_a_computer_that_rounds_otherwise_judges_nothing(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from swapbench.workshop.prune.fitness import Fitness

    def otherwise(fitness: Fitness, genes: Any) -> Any:
        scores, embedding = outputs(fitness, genes)
        return torch.nextafter(scores, torch.ones(())), embedding

    outputs = Fitness._outputs
    monkeypatch.setattr(Fitness, "_outputs", otherwise)
    with pytest.raises(EnvironmentFailed, match="computes other last digits than the one that searches"):
        Fitness.read(saved)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no tensors", b"cut"])
def test_what_is_no_fitness_is_called_so(saved: Path, tmp_path: Path, content: bytes) -> None:
    from swapbench.workshop.prune.fitness import Fitness

    path = tmp_path / "f.safetensors"
    path.write_bytes(saved.read_bytes()[:5000] if content == b"cut" else content)
    with pytest.raises(NotValid, match=r"f\.safetensors holds no fitness of structures"):
        Fitness.read(path)


class Kills:
    """Local processes, of which the first to judge a batch is killed."""

    def __init__(self, cores: int) -> None:
        from swapbench.study.executor import LocalProcesses

        self.place, self.cores, self.started = LocalProcesses(cores), cores, 0

    def start(self, job: Any) -> Any:
        running: Any = self.place.start(job)
        self.started += 1
        if self.started == 1:
            running._child.kill()
        return running


@pytest.mark.slow
def test_a_search_in_processes_of_which_one_is_lost_ends_as_in_one_process(
    stripes: Dataset, tmp_path: Path, uncut: Path
) -> None:
    from swapbench.study.batches import Batches
    from swapbench.workshop.prune.pruning import prune

    place = Kills(2)
    prune(recipe(META, phases=TWO_EPOCHS), stripes, tmp_path, None, Batches(place))
    stem = "thin.metapruning-0_15M"
    assert result(tmp_path, stem) == result(uncut, stem)
    assert place.started == 2 * 2 + 1  # two batches a generation, and the lost one again
    assert not list((tmp_path / ".training").glob("judging-*"))


@pytest.mark.slow
def test_jobs_and_a_fleet_are_for_studies_and_searches(tmp_path: Path) -> None:
    from contextlib import nullcontext

    from swapbench.study.executor import LocalProcesses

    judges = nullcontext(LocalProcesses(1))
    for options in ({"recipe": "uniform", "macs": "40M"}, {}):
        with pytest.raises(UserError, match="is neither a study nor a search, so --jobs and --fleet"):
            train(tmp_path, judges, **options)
