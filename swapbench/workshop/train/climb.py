"""The climb of sharpness-aware minimisation: up to a worse place nearby, whose gradient is then taken.

Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization" (ICLR 2021). Which
images decide the direction is the loop's affair. Batch norms keep their statistics during the climb, and
learn them in the step itself, at the place that was climbed to.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.workshop.train.state import Learner


class Climb:
    """Moves a learner's weights up and back again."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self._before: list[tuple[nn.Parameter, Tensor]] = []

    @contextlib.contextmanager
    def statistics_kept(self) -> Iterator[None]:
        """Batch norms use each batch's own statistics, and do not remember them."""
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
        norms = [module for module in self.learner.network.modules() if isinstance(module, kinds)]
        tracked = [norm.track_running_stats for norm in norms]
        for norm in norms:
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm, before in zip(norms, tracked, strict=True):
                norm.track_running_stats = before

    @torch.no_grad()
    def up(self, radius: float) -> None:
        """Move by `radius` along the gradients, which are cleared."""
        moved = [parameter for parameter in self.learner.parameters() if parameter.grad is not None]
        norm = torch.stack([_gradient(parameter).norm() for parameter in moved]).norm()
        for parameter in moved:
            self._before.append((parameter, parameter.clone()))
            parameter.add_(_gradient(parameter) * (radius / (norm + 1e-12)))
        self.learner.optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def back(self) -> None:
        """Return to where `up` began; the gradients stay."""
        for parameter, value in self._before:
            parameter.copy_(value)
        self._before.clear()


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
