from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import small_nets  # noqa: E402
from torch import nn  # noqa: E402

from swapbench.workshop.export.rewrite import batch_norms_folded, folded, shipped  # noqa: E402

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


def normed(convolution: nn.Conv2d) -> nn.Sequential:
    """A convolution of one pixel, and behind it (x - 1) / 2 * 4 + 5."""
    norm = nn.BatchNorm2d(1, eps=1.0)
    for name, value in (("weight", 4.0), ("bias", 5.0), ("running_mean", 1.0), ("running_var", 3.0)):
        nn.init.constant_(getattr(norm, name), value)
    nn.init.constant_(convolution.weight, 3.0)
    return nn.Sequential(convolution, norm).eval()


def test_a_batch_norm_by_hand_goes_into_the_convolution_before_it() -> None:
    net = normed(nn.Conv2d(1, 1, 1, bias=False))
    folded_net = batch_norms_folded(net)
    (convolution,) = [part for part in folded_net.modules() if isinstance(part, nn.Conv2d)]
    assert not [part for part in folded_net.modules() if isinstance(part, nn.BatchNorm2d)]
    # 3 x 4 / 2, and (0 - 1) x 4 / 2 + 5
    assert (convolution.weight.item(), convolution.bias.item()) == (6.0, 3.0)
    assert (net[0].weight.item(), net[0].bias) == (3.0, None)


def test_a_convolution_that_is_called_twice_keeps_its_batch_norm() -> None:
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    net = nn.Sequential(normed(convolution), normed(convolution)).eval()
    assert batch_norms_folded(net) is net


def test_a_network_that_cannot_be_traced_keeps_its_batch_norms() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    net = nn.Sequential(normed(nn.Conv2d(1, 1, 1)), Branching()).eval()
    assert batch_norms_folded(net) is net
