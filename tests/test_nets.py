from collections.abc import Sequence
from typing import Any

import pytest

from swapbench.errors import BadCard, UnknownName

torch = pytest.importorskip("torch")

from swapbench.nets import build, exportable  # noqa: E402 - torch must be there first
from swapbench.nets.minifasnet import MOBILEFACENET, V1, V2, check_channels  # noqa: E402

pytestmark = pytest.mark.slow


def parameters(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: Any, size_px: int) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size_px, size_px))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("channels", "squeeze", "size_px", "classes", "published_parameters", "published_mmacs"),
    [
        (V1, False, 80, 3, 414_354, 40.86),
        (V2, False, 80, 3, 434_560, 40.72),
        (V1, True, 80, 3, 433_586, 40.88),
        (V2, True, 80, 3, 453_792, 40.74),
        (V2, True, 128, 2, 473_632, 104.15),
        (MOBILEFACENET, False, 80, 3, 991_232, 112.77),
        (MOBILEFACENET, False, 80, 2, 991_104, 112.77),
        (MOBILEFACENET, False, 112, 3, 1_003_520, 220.97),
    ],
)
def test_the_minifasnet_family_has_the_published_parameters_and_macs(
    channels: Sequence[int],
    squeeze: bool,
    size_px: int,
    classes: int,
    published_parameters: int,
    published_mmacs: float,
) -> None:
    architecture = {"channels": channels, "squeeze": squeeze, "size_px": size_px, "classes": classes}
    network = build("minifasnet", architecture)
    assert parameters(network) == published_parameters
    assert macs(network, size_px) / 1e6 == pytest.approx(published_mmacs, abs=0.006)


def test_resnet18_with_a_map_head_has_the_known_counts_and_ships_without_the_head() -> None:
    network = build("resnet_map", {})
    shipped = exportable(network)
    assert parameters(network) == 11_177_795
    assert parameters(shipped) == 11_177_538
    assert macs(shipped, 224) / 1e9 == pytest.approx(1.814, abs=0.0006)
    assert macs(network, 224) - macs(shipped, 224) == 256 * 14 * 14


def test_exporting_leaves_the_original_whole_and_computes_the_same() -> None:
    torch.manual_seed(0)
    network = build("resnet_map", {"stem": 4, "stages": [4, 6, 8, 10], "blocks": [1, 1, 1, 1]}).train()
    images = torch.randn(2, 3, 64, 64)
    shipped = exportable(network)
    assert network.training
    assert not shipped.training
    network.eval()
    assert torch.equal(shipped(images), network(images))
    assert network.taps(images).map_logits.shape == (2, 1, 4, 4)
    assert shipped.taps(images).map_logits is None


def test_taps_are_the_logits_the_embedding_and_the_features_of_the_middle() -> None:
    network = build("minifasnet", {"channels": V2, "classes": 2}).eval()
    images = torch.randn(2, 3, 80, 80)
    taps = network.taps(images)
    assert torch.equal(taps.logits, network(images))
    assert taps.logits.shape == (2, 2)
    assert taps.embedding.shape == (2, 128)
    assert taps.features.shape == (2, 128, 10, 10)
    assert exportable(network) is network


def test_logits_are_not_probabilities() -> None:
    torch.manual_seed(1)
    logits = build("minifasnet", {"channels": V2})(torch.randn(4, 3, 80, 80))
    assert not torch.allclose(logits.sum(1), torch.ones(4))


def test_a_thinner_network_is_the_same_class() -> None:
    thin = build("minifasnet", {"channels": [max(count // 4, 2) for count in V2], "classes": 2})
    assert type(thin) is type(build("minifasnet", {"channels": V2}))
    assert parameters(thin) < 80_000


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, 31, r"channels\[0\] and channels\[1\] feed one depthwise"),
        (47, 500, r"channels\[47\] and channels\[48\] feed one depthwise"),
        (2, 100, r"channels\[2\] and channels\[3\] are the width"),
        (7, 60, r"channels\[4\] and channels\[7\] are added"),
        (20, 0, "whole numbers from 1"),
    ],
)
def test_a_channel_list_that_makes_no_network_says_where(position: int, value: int, message: str) -> None:
    channels = list(V2)
    channels[position] = value
    with pytest.raises(ValueError, match=message):
        check_channels(channels)
    with pytest.raises(BadCard, match="does not fit the family minifasnet"):
        build("minifasnet", {"channels": channels})


def test_wrong_arguments_and_unknown_families_are_the_users_mistakes() -> None:
    with pytest.raises(UnknownName, match="Did you mean minifasnet"):
        build("minifasnett", {})
    with pytest.raises(BadCard, match="unexpected keyword argument 'depth'"):
        build("resnet_map", {"depth": 18})
    with pytest.raises(BadCard, match="four whole numbers"):
        build("resnet_map", {"stages": [64, 128]})
    with pytest.raises(BadCard, match="must have 49 entries, not 3"):
        build("minifasnet", {"channels": [1, 2, 3]})
