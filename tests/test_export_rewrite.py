from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import small_nets  # noqa: E402

from swapbench.export.rewrite import central_difference, folded, shipped  # noqa: E402

pytestmark = pytest.mark.slow


def test_a_central_difference_kernel_is_the_one_on_paper() -> None:
    kernel = torch.arange(9.0).reshape(1, 1, 3, 3)  # sum 36, centre 4
    one = central_difference(kernel, 0.5)
    assert one[0, 0, 1, 1] == 4 - 0.5 * 36
    assert torch.equal(one[0, 0, 0], kernel[0, 0, 0])
    assert kernel[0, 0, 1, 1] == 4  # the original is left as it is


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("theta", [0.0, 0.7, 1.0])
def test_folding_a_central_difference_convolution_changes_nothing(stride: int, theta: float) -> None:
    torch.manual_seed(3)
    part = small_nets.CentralDifference(3, 8, stride, theta)
    x = torch.randn(2, 3, 24, 24)
    one = folded(part)
    assert type(one) is torch.nn.Conv2d
    with torch.no_grad():
        assert float((part(x) - one(x)).abs().max()) <= 1e-5


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


def test_an_even_kernel_has_no_centre() -> None:
    with pytest.raises(ValueError, match="no centre"):
        central_difference(torch.ones(1, 1, 2, 2), 0.7)
