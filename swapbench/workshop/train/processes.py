"""Several processes that train one network together, each on a GPU of its own (DistributedDataParallel).

    torchrun --nproc-per-node 2 --local-ranks-filter 0 -m swapbench train resnet18_map

Each process has its share of every batch, so a recipe means what it means on one device: the same steps,
batches and learning rates. One difference remains: batch norm and the discrepancy between domains see the
images of one share only. One process leads: it alone evaluates, searches and writes, and the others read what
it leaves on disk.
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
"""How long the others wait for what the leader does alone, which may be a search of days.

A process that dies ends them all at once.
"""


@dataclass(frozen=True)
class Processes:
    """This process, by its rank from 0, among `count`."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process evaluates, searches and writes."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """The rows of a batch that belong to this process."""
        return slice(self.rank, None, self.count)

    def require_equal_shares(self, phases: Sequence[Phase]) -> None:
        """Check that every batch can be dealt out evenly: gradients are averaged over processes, not images.

        Raises:
            UserError: The number of processes does not divide a batch.
        """
        for phase in phases:
            if phase.batch % self.count:
                raise UserError(
                    f"{self.count} processes cannot share a batch of {phase.batch} images evenly",
                    remedy=f"Use a number that divides {phase.batch}, or change batch in the recipe.",
                )

    def wrapped(self, losses: nn.Module) -> nn.Module:
        """The module whose backward pass leaves the mean gradient of all processes in its parameters."""
        if self.count == 1:
            return losses
        # a structure of a PruningNet, or a recipe without a map, leaves parameters without a gradient
        return nn.parallel.DistributedDataParallel(losses, find_unused_parameters=True)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values`, in place, over all processes."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values

    def together(self) -> None:
        """Wait until all processes get here."""
        if self.count > 1:
            distributed.barrier()

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """Run the block in the leading process, and then in the others."""
        if not self.leads:
            self.together()
        yield
        if self.leads:
            self.together()


ALONE = Processes()


@contextlib.contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started, this one among them; ALONE where torchrun did not start it.

    On CUDA each takes the GPU of its local rank.

    Raises:
        UserError: There are more processes than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    cuda = torch.cuda.is_available()
    if cuda:
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UserError(
                f"{os.environ['LOCAL_WORLD_SIZE']} processes were started, but there are "
                f"{torch.cuda.device_count()} GPUs",
                remedy="Give torchrun a --nproc-per-node of at most the number of GPUs.",
            )
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
