import numpy as np
import pytest

torch = pytest.importorskip("torch")

import small_nets  # noqa: E402 - torch must be there first
from torch import nn  # noqa: E402

from swapbench.workshop.export.equalise import equalised  # noqa: E402
from swapbench.workshop.export.rewrite import shipped  # noqa: E402

pytestmark = pytest.mark.slow

BATCHES = [torch.from_numpy(small_nets.nchw(small_nets.images(16, seed=seed))) for seed in (1, 2)]
JUDGED = small_nets.images(24, seed=3)


def uneven(net: nn.Module) -> nn.Module:
    """Batch norm factors that differ by up to a hundred between channels: what int8 suffers from."""
    dice = torch.Generator().manual_seed(5)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            factors = torch.pow(10.0, torch.rand(part.num_features, generator=dice) * 2 - 1)
            part.weight.data *= factors
            part.bias.data *= factors
    return net


@pytest.mark.parametrize(
    "kind",
    [small_nets.PReluNet, small_nets.HardSwishNet, small_nets.DifferenceNet, small_nets.ResidualNet],
)
def test_equalising_changes_not_one_bit_of_what_a_network_computes(kind: type) -> None:
    net = shipped(uneven(small_nets.settled(kind())))
    assert np.array_equal(
        small_nets.outputs(equalised(net, BATCHES), JUDGED), small_nets.outputs(net, JUDGED)
    )


def test_channels_between_convolutions_get_alike_in_range() -> None:
    def spread(net: nn.Module) -> float:
        with torch.no_grad():
            widest = net.deep[:3](net.stem(torch.cat(BATCHES))).abs().amax((0, 2, 3))
        return float(widest.max() / widest.min())

    net = uneven(small_nets.settled(small_nets.PReluNet()))
    # powers of two leave a factor of sqrt(2) to either side, and PReLU narrows a channel
    assert spread(net) > 20
    assert spread(equalised(net, BATCHES)) < spread(net) / 3


def test_the_network_that_is_handed_in_is_left_as_it_is() -> None:
    net = uneven(small_nets.settled(small_nets.PReluNet()))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    equalised(net, BATCHES)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Shared(nn.Module):
    """One convolution and one batch norm called twice: what one use would like is wrong for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(3, 3, 3, 1, 1), nn.BatchNorm2d(3), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn(self.conv(self.act(self.bn(self.conv(x)))))).mean((2, 3))


class Grouped(nn.Module):
    """A grouped convolution that is not depthwise, and ReLU as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3, groups=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x))).mean((2, 3))


class Branching(nn.Module):
    """Control flow that depends on values cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return (y if y.sum() > 0 else -y).mean((2, 3))


@pytest.mark.parametrize("kind", [Shared, Grouped, Branching])
def test_unusual_networks_compute_the_same(kind: type) -> None:
    torch.manual_seed(1)
    net = uneven(kind().eval())
    assert np.array_equal(
        small_nets.outputs(equalised(net, BATCHES), JUDGED), small_nets.outputs(net, JUDGED)
    )


def test_a_grouped_convolution_after_a_plain_relu_is_equalised_too() -> None:
    torch.manual_seed(1)
    net = Grouped().eval()
    net.first.weight.data[0] *= 0.01
    net.first.bias.data[0] *= 0.01
    before, after = net.first.weight.detach()[0], equalised(net, BATCHES).first.weight.detach()[0]
    assert float(after.abs().max()) > 10 * float(before.abs().max())


def test_dead_channels_and_dead_networks_do_not_divide_by_zero() -> None:
    net = Grouped().eval()
    net.first.weight.data[:4] = 0
    net.first.bias.data[:4] = 0
    assert np.isfinite(small_nets.outputs(equalised(net, BATCHES), JUDGED)).all()
    net.first.weight.data[:] = 0
    net.first.bias.data[:] = 0
    assert np.array_equal(
        small_nets.outputs(equalised(net, BATCHES), JUDGED), small_nets.outputs(net, JUDGED)
    )
