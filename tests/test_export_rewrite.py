from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import small_nets  # noqa: E402

from swapbench.workshop.export.rewrite import folded, shipped  # noqa: E402

pytestmark = pytest.mark.slow


def test_a_module_that_folds_is_replaced_itself() -> None:
    assert type(folded(small_nets.CentralDifference(3, 8))) is torch.nn.Conv2d


def test_folding_reaches_nested_modules_and_leaves_no_difference_in_the_whole_network() -> None:
    net = small_nets.settled(small_nets.DifferenceNet())
    ship = shipped(net)
    assert not any(isinstance(part, small_nets.CentralDifference) for part in ship.modules())
    batch = small_nets.images(8, seed=1)
    assert np.abs(small_nets.outputs(net, batch) - small_nets.outputs(ship, batch)).max() <= 1e-5


def test_the_network_that_is_shipped_is_a_copy() -> None:
    net = small_nets.settled(small_nets.DifferenceNet())
    shipped(net)
    assert any(isinstance(part, small_nets.CentralDifference) for part in net.modules())


def test_training_heads_stay_behind_and_the_mode_is_eval() -> None:
    net = small_nets.settled(small_nets.ResidualNet()).train()
    ship = shipped(net)
    assert ship.map_head is None
    assert not ship.training
    assert net.map_head is not None
    assert net.training
