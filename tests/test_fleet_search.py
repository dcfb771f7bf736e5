"""The structures of a search on the hosts of a fleet, of which one is lost."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import test_prune
import test_train
from conftest import skip_without
from fleet_lab import lab

from swapbench.catalog import Folders
from swapbench.commands.executors import executor
from swapbench.commands.fleet_options import FleetOptions
from swapbench.study.batches import Batches
from swapbench.workshop.prune.search import in_threads, search
from swapbench.workshop.prune.widths import Budget, WidthSpace
from swapbench.workshop.recipes.pruning_recipe import Search

if TYPE_CHECKING:
    from fleet_lab import Lab

    from swapbench.data.dataset import Dataset

pytestmark = pytest.mark.slow
skip_without("torch")
skip_without("distributed")
skip_without("cryptography")
stripes = test_train.stripes


def test_a_search_on_a_fleet_whose_host_is_lost_ends_as_in_one_process(
    tmp_path: Path, stripes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from swapbench.workshop.prune.fitness import Fitness
    from swapbench.workshop.prune.pruning_net import PruningNet
    from swapbench.workshop.train.setup import Execution

    made = test_prune.recipe(test_prune.META)
    torch.manual_seed(0)
    space = WidthSpace.of(test_prune.THIN)
    net = PruningNet(made.architecture, space, 4)
    settings = Search(generations=2, population=2, parents=1, mutations=1, crossovers=0)
    feasible = space.within(Budget.of_macs(test_prune.HALF, test_prune.SHAPE))
    (tmp_path / "person").mkdir()
    monkeypatch.chdir(tmp_path / "person")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        execution = Execution(seed=0, work=Path("work"))
        fitness = Fitness.of(net, made, made.pruning, stripes, execution)  # type: ignore[arg-type]
        here = search(feasible, in_threads(fitness, 2), settings, seed=1, state=Path("here.json"))
        with lab(tmp_path, ADB="/nowhere") as fleet:
            fleet.scheduler()
            fleet.host("a", "--cores", "1", "--no-processor")
            b = fleet.host("b", "--cores", "1", "--no-processor")

            def sleep(seconds: float) -> None:
                time.sleep(seconds)
                if b.child.poll() is None and ["b"] in begun(fleet):
                    b.kill()

            options = FleetOptions(str(fleet.join_file))
            with executor(Folders(Path.cwd()), None, None, options, lambda _: None) as place:
                assert place.cores == 2
                with Batches(place, sleep).judges(Path.cwd() / "judging", fitness.save) as judges:
                    there = search(feasible, judges, settings, seed=1, state=Path("there.json"))
            assert ["b", "a"] in begun(fleet)  # what b had begun was done again
    finally:
        torch.set_num_threads(threads)
    assert there == here
    assert not Path("judging").exists()


def begun(fleet: Lab) -> list[list[str]]:
    """The hosts that began each job."""
    files = (fleet.folder / "scheduler" / "fleet" / "jobs").glob("*.json")
    return [json.loads(path.read_text())["begun"] for path in files]
