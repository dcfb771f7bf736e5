"""Several processes that train one network together, each on a GPU of its own: torchrun starts them, PyTorch's DDP keeps them alike.

    torchrun --nproc-per-node 2 --local-ranks-filter 0 -m swapbench train resnet18_map

Each process has its share of every batch, so the recipe means what it means on one device: the same steps, batches and learning
rates. What is not the same: batch norm and the discrepancy between domains see the images of one share. One process leads; it
alone judges, searches and writes, and what it leaves on disk is there for the others.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed, nn

from swapbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from swapbench.workshop.recipes.recipe import Phase

_PATIENCE = timedelta(days=7)
"""How long the others wait for what the leader does alone, which may be a search of days. A process that dies ends them all."""


@dataclass(frozen=True)
class Processes:
    """This process among `count`, by its rank from 0."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """Which rows of a batch are this process's."""
        return slice(self.rank, None, self.count)

    def require_equal_shares(self, phases: Sequence[Phase]) -> None:
        """UserError where a batch cannot be dealt out evenly: gradients are averaged over processes, not over images."""
        for phase in phases:
            if phase.batch % self.count:
                raise UserError(
                    f"{self.count} processes cannot share a batch of {phase.batch} images evenly",
                    remedy=f"Start as many as divide {phase.batch}, or change batch in the recipe.",
                )

    def wrapped(self, losses: nn.Module) -> nn.Module:
        """The module whose backward pass leaves the mean gradient of all processes in its parameters."""
        if self.count == 1:
            return losses
        # a structure of a PruningNet, or a recipe without a map, leaves parameters without a gradient
        return nn.parallel.DistributedDataParallel(losses, find_unused_parameters=True)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values

    def together(self) -> None:
        """Wait until all are here."""
        if self.count > 1:
            distributed.barrier()

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """The leader runs the block, and after it the others."""
        if not self.leads:
            self.together()
        yield
        if self.leads:
            self.together()


ALONE = Processes()


@contextlib.contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started, this one among them; ALONE where it was not started by torchrun.

    On CUDA each takes the GPU of its local rank. Raises UserError where there are more processes than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    cuda = torch.cuda.is_available()
    if cuda:
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UserError(
                f"{os.environ['LOCAL_WORLD_SIZE']} processes, but {torch.cuda.device_count()} GPUs",
                remedy="Give torchrun --nproc-per-node as many as there are GPUs.",
            )
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
