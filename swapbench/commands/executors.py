"""Where trainings run and the structures of a search are judged: processes here, or hosts of a fleet."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from swapbench.catalog import split_commas
from swapbench.cores import usable_cores
from swapbench.errors import UserError
from swapbench.study.executor import LocalProcesses

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from swapbench.catalog import Folders
    from swapbench.commands.fleet_options import FleetOptions
    from swapbench.ports import Say
    from swapbench.study.executor import Executor


def executor(
    folders: Folders, jobs: int | None, gpus: str | None, fleet: FleetOptions, say: Say
) -> AbstractContextManager[Executor]:
    """Who works, in a block.

    Args:
        folders: Of the working folder.
        jobs: Cores of this computer; None for all.
        gpus: Numbers of GPUs, as 0,1, or of a fleet that it is to be one.
        fleet: Whose hosts work, where it is named.
        say: Hears what a person should know.

    Raises:
        UserError: Cores are said for a fleet, whose hosts say themselves how many they have.
    """
    if fleet.where is None:
        return nullcontext(LocalProcesses(jobs or usable_cores(), gpus=split_commas((gpus or "",))))
    if jobs is not None:
        raise UserError(
            "the hosts of a fleet say how many cores they have, so --jobs has no place", remedy="Leave it out"
        )
    from swapbench.commands import fleet_study

    return fleet_study.executor(folders, fleet, say, gpu=gpus is not None)
