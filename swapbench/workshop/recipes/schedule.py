"""How much is spent on a training, apart from what is trained: a TOML file that applies to any recipe.

The recipes hold the full schedule. A smaller one makes a protocol of many trainings feasible on a small
machine, or serves a first try.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from swapbench.cards import first_problem
from swapbench.errors import BadCard
from swapbench.files import toml_table
from swapbench.records import Frozen
from swapbench.workshop.recipes.pruning_recipe import MetaPruning, Search

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.workshop.recipes.recipe import TrainRecipe


class Schedule(Frozen):
    """How much is spent.

    Attributes:
        epochs: Factor of the epochs of every phase, of a PruningNet and of the warm-up.
        search: Replaces the recipe's search; None keeps it.
    """

    epochs: float = Field(default=1.0, gt=0)
    search: Search | None = None

    def over(self, recipe: TrainRecipe) -> TrainRecipe:
        """The recipe with this schedule."""
        phases = tuple(
            phase.replace(epochs=max(1, round(phase.epochs * self.epochs))) for phase in recipe.phases
        )
        changes = {"phases": phases, "warmup_epochs": recipe.warmup_epochs * self.epochs}
        if isinstance(recipe.pruning, MetaPruning):
            pruning = recipe.pruning
            epochs = pruning.epochs and max(1, round(pruning.epochs * self.epochs))
            changes["pruning"] = pruning.replace(epochs=epochs, search=self.search or pruning.search)
        return recipe.replace(**changes)


def read_schedule(path: Path) -> Schedule:
    """Read a schedule.

    Raises:
        BadCard: The file cannot be read, or the schedule is not valid; the message names the file and the
            field.
    """
    try:
        return Schedule.model_validate(toml_table(path, "schedule", BadCard))
    except ValidationError as error:
        raise BadCard(f"{path}: {first_problem(error, Schedule)}") from error
