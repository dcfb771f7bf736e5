"""The trainings of a study, and batches of structures of a search, on the hosts of a fleet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from swapbench import catalog
from swapbench.commands.fleet_run import who
from swapbench.commands.fleet_words import Packing, command_files
from swapbench.fleet.door import door_to, needs_dask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.commands.fleet_options import FleetOptions
    from swapbench.ports import Say
    from swapbench.study.executor import Executor
    from swapbench.study.jobs import Job


@contextlib.contextmanager
def executor(folders: Folders, options: FleetOptions, say: Say, *, gpu: bool) -> Iterator[Executor]:
    """The hosts of a fleet as the place where trainings run.

    Raises:
        EnvironmentFailed: The scheduler cannot be reached, or no host offers cores.
    """
    needs_dask()
    from swapbench.fleet.client import Fleet
    from swapbench.fleet.executor import OnFleet

    assert options.where is not None
    packing = Packing(folders)  # one for all trainings: what they share is read once
    own = folders.models.resolve() != catalog.builtin_folder("models").resolve()
    cards = (folders.models,) if own else ()

    def pack(job: Job) -> tuple[tuple[str, ...], Mapping[str, str], Mapping[str, Path]]:
        packing.files = {}
        words = command_files(packing, job.words, cards if job.words[0] == "train" else (), job.folder)
        return tuple(words), dict(packing.files), packing.local

    with Fleet(door_to(options.where, folders.root), options.wait_s, say) as fleet:
        yield OnFleet(fleet, folders.root, pack, who(), gpu=gpu, lease_s=options.lease_s)
