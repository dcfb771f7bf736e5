"""What a training has come to: what is being trained, how far it is, and the file that survives a kill."""

from __future__ import annotations

import io
import math
import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from swapbench.errors import NotValid
from swapbench.files import write_atomically
from swapbench.workshop.train.setup import CPU

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from swapbench.workshop.distil.distillation import Imitation
    from swapbench.workshop.recipes.recipe import TrainRecipe


@dataclass(frozen=True)
class Learner:
    """What is trained: the network, the layers that only its distillation needs, and their optimiser.

    Attributes:
        average: The mean of the network's weights over the steps; None where the recipe wants none.
    """

    network: nn.Module
    imitation: Imitation | None
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None = None

    @classmethod
    def of(cls, recipe: TrainRecipe, network: nn.Module, imitation: Imitation | None = None) -> Learner:
        """The learner with the recipe's optimiser."""
        parameters = [*network.parameters(), *(imitation.parameters() if imitation else ())]
        kernels = [p for p in parameters if p.dim() > 1]
        vectors = [p for p in parameters if p.dim() <= 1]  # biases, batch norm and PReLU are not decayed
        groups = [
            {"params": kernels, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        if recipe.optimiser == "sgd":
            optimiser: torch.optim.Optimizer = torch.optim.SGD(
                groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True
            )
        else:
            optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        average = None
        if recipe.average > 0:
            mean = get_ema_multi_avg_fn(recipe.average)  # type: ignore[no-untyped-call]
            average = AveragedModel(network, multi_avg_fn=mean, use_buffers=True)
        return cls(network, imitation, optimiser, average)

    @property
    def judged(self) -> nn.Module:
        """The network that is judged and kept: the mean, where there is one."""
        return self.network if self.average is None else self.average.module

    def step(self) -> None:
        """Change the weights by their gradients, and their mean with them."""
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def parameters(self) -> list[nn.Parameter]:
        """Everything that is trained."""
        return [*self.network.parameters(), *(self.imitation.parameters() if self.imitation else ())]


@dataclass(frozen=True)
class TrainingState:
    """How far a training has come; with the learner's weights it is what survives a kill.

    Attributes:
        epochs: Epochs that are finished.
        seconds: Time that they took.
        best_epoch: Epoch of `best`, from 0; -1 before any is chosen.
        best: State dict of the best network so far, on the CPU.
        best_key: Of `best`, by which epochs are ranked: EER and loss on the development split, the two
            the other way round, or minus its number, as the recipe says.
        curve: A row an epoch: its number from 1, input size, mean loss and each of its unweighted terms,
            development results, and seconds since the beginning.
    """

    epochs: int = 0
    seconds: float = 0.0
    best_epoch: int = -1
    best: Mapping[str, Tensor] = field(default_factory=dict)
    best_key: tuple[float, float] = (math.inf, math.inf)
    curve: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class Fitted:
    """A network after its training.

    Attributes:
        network: On the CPU, in eval mode.
        state: Where the training ended.
        teachers_s: What the teachers' outputs took to compute, also where they were on disk already.
    """

    network: nn.Module
    state: TrainingState
    teachers_s: float = 0.0

    @property
    def seconds(self) -> float:
        """What the training took with its teachers."""
        return self.state.seconds + self.teachers_s


def restored(path: Path, learner: Learner, device: torch.device) -> TrainingState:
    """Load the state in a file into the learner, on its device, and return how far it has come.

    Raises:
        NotValid: The file is damaged, or holds the state of another network.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        learner.network.load_state_dict(content["network"])
        if learner.imitation is not None:
            learner.imitation.load_state_dict(content["imitation"])
        learner.optimiser.load_state_dict(content["optimiser"])
        if learner.average is not None:
            learner.average.load_state_dict(content["average"])
    except (pickle.UnpicklingError, RuntimeError, KeyError, ValueError, EOFError) as error:
        raise NotValid(f"{path} is damaged", remedy="Delete it to train from the start.") from error
    return TrainingState(
        epochs=int(content["epochs"]),
        seconds=content["seconds"],
        best_epoch=content["best_epoch"],
        best={name: value.to(CPU) for name, value in content["best"].items()},
        best_key=tuple(content["best_key"]),
        curve=tuple(content["curve"]),
    )


def save_state(path: Path, state: TrainingState, learner: Learner) -> None:
    """Write the state and the learner's weights, whole or not at all."""
    content = {
        "epochs": state.epochs,
        "network": learner.network.state_dict(),
        "imitation": learner.imitation.state_dict() if learner.imitation is not None else {},
        "optimiser": learner.optimiser.state_dict(),
        "average": learner.average.state_dict() if learner.average is not None else {},
        "seconds": state.seconds,
        "best": dict(state.best),
        "best_epoch": state.best_epoch,
        "best_key": list(state.best_key),
        "curve": [dict(row) for row in state.curve],
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())
