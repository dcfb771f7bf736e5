"""Which weights a training keeps: climbs, averages, the epoch; and batches and ramps, by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import test_train

from swapbench.errors import BadDataset
from swapbench.workshop.pipeline.crops import stratified_order
from swapbench.workshop.prune.widths import Feasible
from swapbench.workshop.recipes.recipe import TrainRecipe

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.data.dataset import Dataset

stripes = test_train.stripes


def test_the_weight_of_the_discrepancy_rises_between_two_shares_of_the_training() -> None:
    recipe = test_train.tiny(mmd_weight=2.0, mmd_from=0.25, mmd_full=0.75)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    assert [recipe.mmd_weight_at(share) for share in shares] == [0, 0, 1, 2, 2]
    assert test_train.tiny(mmd_weight=2.0).mmd_weight_at(0.0) == 2.0
    with pytest.raises(ValueError, match="mmd_full is before mmd_from"):
        test_train.tiny(mmd_from=0.5, mmd_full=0.4)


def test_a_flat_minimum_and_distillation_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="flat and distillation cannot be combined"):
        test_train.tiny(flat={"radius": 0.05}, distillation={"teachers": {"other": 1.0}})


def test_every_stretch_of_a_stratified_order_has_each_group_by_its_share(stripes: Dataset) -> None:
    samples = stripes.samples("train")  # 12 of each class in each of two domains
    random = np.random.default_rng(3)
    shuffled = random.permutation(48)
    order = stratified_order(shuffled, samples, random)
    assert sorted(order) == list(range(48))
    for start in range(0, 48, 8):
        kinds = [(samples[row].domain, samples[row].label) for row in order[start : start + 8]]
        assert {kinds.count(kind) for kind in set(kinds)} <= {1, 2, 3}
        assert len(set(kinds)) == 4
    halves = [
        [(samples[row].domain, samples[row].label) for row in order[part]]
        for part in (slice(24), slice(24, 48))
    ]
    assert all(half.count(kind) in {6, 5, 7} for half in halves for kind in set(half))


def test_structures_are_drawn_between_a_share_of_the_budget_and_all_of_it() -> None:
    random = np.random.default_rng(0)
    feasible = Feasible((10,) * 6, lambda genes: float(sum(genes)), 30, least=28)
    drawn = [feasible.drawn(random) for _ in range(50)]
    drawn += [feasible.mutated(genes, 0.5, random) for genes in drawn]
    drawn += [feasible.crossed(drawn[0], genes, random) for genes in drawn]
    assert {sum(genes) for genes in drawn} == {28, 29, 30}
    # where single steps jump over the range, the budget still holds
    coarse = Feasible((4,) * 3, lambda genes: 10.0 * sum(genes), 55, least=52)
    assert {sum(coarse.drawn(random)) for _ in range(20)} == {5}


@pytest.mark.slow
def test_a_climb_goes_up_the_gradient_and_comes_back_to_the_bit() -> None:
    import torch

    from swapbench.workshop.train.climb import Climb
    from swapbench.workshop.train.state import Learner

    network = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False), torch.nn.BatchNorm1d(1))
    recipe = test_train.tiny()
    learner = Learner.of(recipe, network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    climb = Climb(learner)
    network.train()
    with climb.statistics_kept():
        network(torch.randn(4, 2))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    network[0].weight.grad = torch.tensor([[3.0, 0.0]])
    network[1].bias.grad = torch.tensor([4.0])
    climb.up(0.5)  # along (0.6, 0, 0.8)
    assert (network[0].weight - before["0.weight"])[0].tolist() == pytest.approx([0.3, 0.0], abs=1e-6)
    assert float(network[1].bias.detach()) == pytest.approx(0.4)
    assert network[1].bias.grad is None
    climb.back()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.slow
def test_the_mean_of_the_weights_by_hand() -> None:
    import torch

    from swapbench.workshop.train.state import Learner

    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
    learner = Learner.of(test_train.tiny(average=0.75), network)
    learner.step()  # the first values are taken as they are
    for value in (2.0, 3.0):
        with torch.no_grad():
            network.weight.fill_(value)
        network.weight.grad = None
        learner.step()
    mean = next(learner.judged.parameters())
    assert float(mean.detach()) == pytest.approx((1 * 0.75 + 2 * 0.25) * 0.75 + 3 * 0.25)
    assert Learner.of(test_train.tiny(), network).judged is network


@pytest.mark.slow
def test_every_switch_changes_the_training_and_a_killed_one_goes_on_to_the_same_weights(
    stripes: Dataset, tmp_path: Path
) -> None:
    from swapbench.workshop.train.setup import TrainingSetup
    from swapbench.workshop.train.training import train

    def digest(name: str, recipe: TrainRecipe, setup: TrainingSetup | None = None) -> str:
        return train(recipe, stripes, tmp_path / name, setup).checkpoint_sha256

    plain = digest("plain", test_train.tiny(choose="last"))
    everything = test_train.tiny(
        choose="last", average=0.8, stratified=True, flat={"radius": 0.05, "by_domain": True}
    )
    others = {
        "average": test_train.tiny(choose="last", average=0.8),
        "stratified": test_train.tiny(choose="last", stratified=True),
        "flat": test_train.tiny(choose="last", flat={"radius": 0.05}),
        "everything": everything,
    }
    found = {name: digest(name, recipe) for name, recipe in others.items()}
    assert len({plain, *found.values()}) == 5

    heard: list[str] = []

    def die_after_two(line: str) -> None:
        heard.append(line)
        if len(heard) == 2:
            raise test_train.Killed

    with pytest.raises(test_train.Killed):
        digest("cut", everything, TrainingSetup(say=die_after_two))
    assert digest("cut", everything) == found["everything"]


@pytest.mark.slow
def test_the_last_epoch_is_kept_where_the_recipe_says_so(stripes: Dataset, tmp_path: Path) -> None:
    run = test_train.run_of(test_train.tiny(choose="last"), stripes, tmp_path)
    import torch

    from swapbench.workshop.train.state import TrainingState

    network = torch.nn.Linear(1, 1)
    state = TrainingState()
    for epoch, loss in enumerate((0.1, 0.3, 0.2)):
        state = run._with_best(state, epoch, {"eer": loss, "loss": 1 - loss}, network)
        assert state.best_epoch == epoch
    by_loss = test_train.run_of(test_train.tiny(choose="loss"), stripes, tmp_path)
    state = TrainingState()
    for epoch, loss in enumerate((0.3, 0.1, 0.2)):
        state = by_loss._with_best(state, epoch, {"eer": 0.0, "loss": loss}, network)
    assert state.best_epoch == 1


@pytest.mark.slow
def test_structures_are_judged_on_a_domain_that_the_pruning_net_never_saw(
    stripes: Dataset, tmp_path: Path
) -> None:
    import test_prune
    import torch

    from swapbench.workshop.prune.fitness import Fitness
    from swapbench.workshop.prune.pruning import prune, without_domain
    from swapbench.workshop.prune.pruning_net import PruningNet
    from swapbench.workshop.prune.widths import WidthSpace
    from swapbench.workshop.train.setup import Execution, TrainingSetup

    made = test_prune.recipe(
        test_prune.META
        | {"held_out": True, "judge": "auc", "mmd_search": 1.0, "mmd_noise": 1e9, "least": 0.8}
    )
    assert made.pruning is not None
    torch.manual_seed(0)
    space = WidthSpace.of(test_prune.THIN)
    net = PruningNet(made.architecture, space, 4)
    execution = Execution(seed=0, work=tmp_path / "work")
    fitness = Fitness.of(net, made, made.pruning, stripes, execution, "B")  # type: ignore[arg-type]
    # domains are numbered by name; all of dev is compared, and train is where more of B is judged
    assert set(fitness.domains[list(fitness.judged)].tolist()) == {1}
    assert set(fitness.domains[list(fitness.compared)].tolist()) == {0, 1}
    of_dev = len([sample for sample in stripes.samples("dev") if sample.domain == "B"])
    assert len(set(fitness.judged) & set(fitness.compared)) == of_dev
    assert len(set(fitness.judged) - set(fitness.compared)) > 0
    assert set(fitness.compared) == set(range(len(stripes.samples("dev"))))
    judged = fitness(space.widest)
    assert judged.fitness == pytest.approx(1 - judged.parts["auc"] + judged.parts["mmd"])
    random = np.random.default_rng(0)
    several = [tuple(int(random.integers(size)) for size in space.sizes) for _ in range(4)]
    share = fitness.noise_share(several, np.random.default_rng(1))
    assert 0 < share < math.inf
    assert share == fitness.noise_share(several, np.random.default_rng(1))
    assert {one.domain for one in without_domain(stripes, "B").samples("train")} == {"A"}

    said: list[str] = []
    card = prune(made, stripes, tmp_path, TrainingSetup(say=said.append))
    assert any("it has its say" in line for line in said)
    assert test_prune.SHAPE.macs(tuple(card.architecture["channels"])) >= 0.8 * test_prune.HALF
    quiet: list[str] = []
    strict = made.replace(pruning=made.pruning.replace(mmd_noise=1e-9))
    prune(strict, stripes, tmp_path, TrainingSetup(say=quiet.append))
    assert any("it has no say in it" in line for line in quiet)
    alone = without_domain(stripes, "B")
    with pytest.raises(BadDataset, match="only A"):
        prune(made, alone, tmp_path / "alone")
