"""The recipes that are bundled: each makes the network that its name promises, and trains."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import test_train

from swapbench.cards import read_card
from swapbench.workshop.recipes.recipe import Augmentation, Phase, read_recipe

if TYPE_CHECKING:
    from swapbench.data.dataset import Dataset

stripes = test_train.stripes
RECIPES = Path(__file__).parents[1] / "models" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))

# Published with three classes; two are one row of 128 weights less.
COUNTS = {
    "cdcn_thin": (141_350 + 2 * 16 + 2, 744.98),  # with the classifier over the grid of the map
    "feathernet_b": (351_220 + 2 * 1024 + 2, 80.20),
    "minifasnet_v1": (414_354 - 128, 40.86),
    "minifasnet_v1se": (433_586 - 128, 40.88),
    "minifasnet_v2": (434_560 - 128, 40.72),
    "minifasnet_v2se": (453_792 - 128, 40.74),
    "mobilefacenet": (991_104, 112.77),
    "mobilenet_v3_small": (975_010, 18.92),
    "resnet18_map": (11_177_538, 1_814),  # as it ships: its map head is for training
}
"""Parameters and millions of multiply-accumulates of every recipe's network."""


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_can_be_read_and_is_named_as_its_file(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.toml")
    assert recipe.stem == name
    assert recipe.output.classes[recipe.output.bona_fide_index] == "bona fide"
    assert (recipe.distillation, recipe.pruning) == (None, None)
    fixed_px = recipe.architecture.get("size_px", recipe.preprocessing.width_px)
    assert fixed_px == recipe.preprocessing.width_px


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipes_network_has_the_published_parameters_and_macs(name: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from swapbench.workshop.nets import build, exportable

    recipe = read_recipe(RECIPES / f"{name}.toml")
    size_px = recipe.preprocessing.width_px
    with torch.device("meta"):  # shapes without arithmetic
        network = exportable(build(recipe.family, recipe.architecture))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, size_px, size_px))
    parameters, mmacs = COUNTS[name]
    assert sum(one.numel() for one in network.parameters()) == parameters
    assert counter.get_total_flops() / 2e6 == pytest.approx(mmacs, rel=3e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains(name: str, stripes: Dataset, tmp_path: Path) -> None:
    """One epoch of sixteen images; what it learns is for longer trainings."""
    torch = pytest.importorskip("torch")
    from swapbench.workshop.nets.checkpoint import load_network
    from swapbench.workshop.train.training import train

    recipe = read_recipe(RECIPES / f"{name}.toml")
    phase = Phase(size_px=recipe.preprocessing.width_px, epochs=1, batch=8)
    short = recipe.model_copy(
        update={"phases": (phase,), "augmentation": Augmentation(), "warmup_epochs": 0.0, "bfloat16": False}
    )
    few = {"train": stripes.samples("train")[:16], "dev": stripes.samples("dev")[:8]}
    card = train(short, dataclasses.replace(stripes, splits=few), tmp_path)
    assert card == read_card(tmp_path / f"{name}.toml")
    assert card.training is not None
    assert 0 <= card.training.dev_results["eer"] <= 1
    trained = load_network(card, tmp_path / f"{name}.toml")
    assert all(bool(torch.isfinite(value).all()) for value in trained.state_dict().values())
