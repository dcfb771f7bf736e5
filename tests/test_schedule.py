"""Schedules: how much is spent on a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapbench.errors import BadCard
from swapbench.workshop.recipes.pruning_recipe import MetaPruning, Search
from swapbench.workshop.recipes.recipe import read_recipe
from swapbench.workshop.recipes.schedule import Schedule, read_schedule

RECIPES = Path(__file__).parents[1] / "models" / "recipes"


def test_a_factor_takes_every_phase_and_the_warm_up() -> None:
    recipe = read_recipe(RECIPES / "resnet18_map.toml")
    assert [phase.epochs for phase in recipe.phases] == [14, 3]
    shorter = Schedule(epochs=0.1).over(recipe)
    assert [phase.epochs for phase in shorter.phases] == [1, 1]
    assert shorter.warmup_epochs == pytest.approx(0.1 * recipe.warmup_epochs)
    assert [phase.size_px for phase in shorter.phases] == [phase.size_px for phase in recipe.phases]


def test_a_search_is_given_to_recipes_that_search_and_to_no_others() -> None:
    small = read_schedule(RECIPES / "schedules" / "small.toml")
    assert small.search is not None
    found = small.over(read_recipe(RECIPES / "mobilefacenet.toml", RECIPES / "methods" / "metapruning.toml"))
    assert isinstance(found.pruning, MetaPruning)
    assert found.pruning.search == small.search != Search()
    uniform = read_recipe(RECIPES / "mobilefacenet.toml", RECIPES / "methods" / "uniform.toml")
    assert small.over(uniform).pruning == uniform.pruning


def test_the_epochs_of_a_pruning_net_follow_where_they_are_told() -> None:
    recipe = read_recipe(RECIPES / "mobilefacenet.toml", RECIPES / "methods" / "metapruning.toml")
    assert isinstance(recipe.pruning, MetaPruning)
    told = recipe.model_copy(update={"pruning": recipe.pruning.model_copy(update={"epochs": 20})})
    half = Schedule(epochs=0.5).over(told).pruning
    assert isinstance(half, MetaPruning)
    assert half.epochs == 10


def test_nothing_told_changes_nothing() -> None:
    recipe = read_recipe(RECIPES / "mobilefacenet.toml", RECIPES / "methods" / "metapruning.toml")
    assert Schedule().over(recipe) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 0", r"epochs: Input should be greater than 0"),
        ("views = 3", r"unknown key `views`"),
        ("epochs = ", r"is not TOML"),
    ],
)
def test_a_wrong_schedule_names_its_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(BadCard, match=rf"s\.toml.*{message}"):
        read_schedule(path)
