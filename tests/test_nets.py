from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from swapbench.errors import BadCard, UnknownName

torch = pytest.importorskip("torch")

from swapbench.workshop.nets import build, exportable  # noqa: E402 - torch must be there first
from swapbench.workshop.nets.central_difference import CentralDifference, _reduced, folded_kernel  # noqa: E402
from swapbench.workshop.nets.minifasnet import MOBILEFACENET, V1, V2, check_channels  # noqa: E402
from swapbench.workshop.nets.mobilenet_v3 import SMALL, SMALL_075, rounded_to_8  # noqa: E402

pytestmark = pytest.mark.slow

THIN_CDCN = {"stem": 16, "levels": [[32, 49, 32]] * 3, "head": [32, 16]}
SMALL_NETS: dict[str, dict[str, Any]] = {
    "minifasnet": {"channels": [max(count // 8, 2) for count in V2], "size_px": 64, "classes": 2},
    "resnet_map": {"stem": 4, "stages": [4, 6, 8, 10], "blocks": [1, 1, 1, 1]},
    "mobilenet_v3": {
        "stem": 8,
        "rows": [[3, 8, 8, 1, 0, 2], [5, 24, 12, 1, 1, 2], [5, 36, 12, 1, 1, 1]],
        "embedding": 32,
    },
    "feathernet": {
        "stem": 8,
        "outputs": [8, 10, 12, 14],
        "expansions": [[8], [16, 20], [20], [24, 28]],
        "size_px": 64,
    },
    "central_difference": {"stem": 4, "levels": [[4, 6, 4], [6], [6, 8]], "head": [8, 6]},
}
"""One network of every family that learns in a second. Widths are uneven on purpose."""


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


@pytest.mark.parametrize(
    ("family", "architecture", "size_px", "backbone_parameters", "head_parameters", "published_mmacs"),
    [
        ("mobilenet_v3", {"rows": SMALL}, 128, 975_010, 0, 18.92),
        ("mobilenet_v3", {"rows": SMALL_075}, 128, 621_386, 0, 14.56),
        ("feathernet", {}, 224, 351_220, 2 * 1024 + 2, 80.20),
        ("feathernet", {"pooled": False}, 224, 345_332, 2 * 1024 + 2, 77.74),
        ("central_difference", {}, 256, 2_245_016, 2 * 16 + 2, 47_337.50),
        ("central_difference", THIN_CDCN, 128, 141_350, 2 * 16 + 2, 744.98),
    ],
)
def test_the_other_families_have_the_published_parameters_and_macs(
    family: str,
    architecture: dict[str, Any],
    size_px: int,
    backbone_parameters: int,
    head_parameters: int,
    published_mmacs: float,
) -> None:
    with torch.device("meta"):  # shapes without arithmetic: the whole CDCN takes a minute for one image
        network = build(family, architecture)
        assert macs(network, size_px) / 1e6 == pytest.approx(published_mmacs, abs=0.006)
    assert parameters(network) == backbone_parameters + head_parameters


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


@pytest.mark.parametrize(
    ("family", "embedding", "features", "map_logits"),
    [
        ("mobilenet_v3", (2, 32), (2, 8, 16, 16), None),
        ("feathernet", (2, 14), (2, 12, 4, 4), None),
        ("central_difference", (2, 6), (2, 18, 8, 8), (2, 1, 8, 8)),
    ],
)
def test_every_family_says_what_it_computes_on_the_way(
    family: str, embedding: tuple[int, ...], features: tuple[int, ...], map_logits: tuple[int, ...] | None
) -> None:
    network = build(family, SMALL_NETS[family]).eval()
    images = torch.randn(2, 3, 64, 64)
    taps = network.taps(images)
    assert torch.equal(taps.logits, network(images))
    assert taps.logits.shape == (2, 2)
    assert taps.embedding.shape == embedding
    assert taps.features.shape == features
    assert (None if taps.map_logits is None else tuple(taps.map_logits.shape)) == map_logits


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks lose more time waiting for a second thread than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("family", SMALL_NETS)
def test_every_family_learns_a_batch_by_heart(family: str) -> None:
    torch.manual_seed(2)
    network = build(family, SMALL_NETS[family]).train()
    images, labels = torch.randn(8, 3, 64, 64), torch.tensor([0, 1] * 4)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    untouched = [name for name, one in network.named_parameters() if one.grad is None]
    assert all(name.startswith("map_head") for name in untouched)  # a head of its own needs a loss of its own


@pytest.mark.parametrize("family", SMALL_NETS)
def test_three_classes_are_three_logits(family: str) -> None:
    network = build(family, SMALL_NETS[family] | {"classes": 3}).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize(("width", "rounded"), [(1, 8), (12, 16), (18, 24), (20, 24), (30, 32), (35, 32)])
def test_widths_are_rounded_to_8_but_lose_no_more_than_a_tenth(width: float, rounded: int) -> None:
    assert rounded_to_8(width) == rounded


def test_squeeze_and_excitation_stands_before_the_activation_unless_nothing_widens() -> None:
    network = build("mobilenet_v3", {})
    names = [[type(part).__name__ for part in network.blocks[number].body] for number in (0, 3)]
    assert names[0][:4] == ["Conv2d", "BatchNorm2d", "ReLU", "SqueezeExcitation"]
    assert names[1][3:7] == ["Conv2d", "BatchNorm2d", "SqueezeExcitation", "Hardswish"]


def two_convolutions(x: Any, weight: Any, theta: float, stride: int) -> Any:
    """Central difference as Yu et al. write it."""
    conv2d, total = torch.nn.functional.conv2d, weight.sum((2, 3), keepdim=True)
    return conv2d(x, weight, None, stride, 1) - theta * conv2d(x, total, None, stride)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("theta", [0.0, 0.7, 1.0])
def test_a_central_difference_folds_into_one_convolution_with_equal_outputs_and_gradients(
    stride: int, theta: float
) -> None:
    torch.manual_seed(3)
    # In double precision: float32 rounds differently from one processor to the next.
    part = CentralDifference(16, 8, stride=stride, theta=theta).double()
    x = torch.randn(2, 16, 24, 24, dtype=torch.float64, requires_grad=True)
    published, used = two_convolutions(x, part.weight, theta, stride), part(x)
    plain = part.folded()
    assert type(plain) is torch.nn.Conv2d
    assert float((published - plain(x)).detach().abs().max()) <= 1e-14
    assert torch.equal(used, plain(x))
    direction = torch.randn_like(used)
    wanted = torch.autograd.grad(published, (x, part.weight), direction)
    found = torch.autograd.grad(used, (x, part.weight), direction)
    for one, other in zip(wanted, found, strict=True):
        assert float((one - other).abs().max()) <= 2e-14 * float(one.abs().max())


def test_a_folded_kernel_is_the_one_on_paper() -> None:
    kernel = torch.arange(9.0).reshape(1, 1, 3, 3)  # sum 36, centre 4
    one = folded_kernel(kernel, 0.5)
    assert one[0, 0, 1, 1] == 4 - 0.5 * 36
    assert torch.equal(one[0, 0, 0], kernel[0, 0, 0])
    assert kernel[0, 0, 1, 1] == 4  # the original is left as it is


def test_an_even_kernel_has_no_centre() -> None:
    with pytest.raises(ValueError, match="no centre"):
        folded_kernel(torch.ones(1, 1, 2, 2), 0.7)


@pytest.mark.parametrize("ratio", [2, 4])
def test_pooling_the_middle_of_each_cell_is_bilinear_resizing(ratio: int) -> None:
    x = torch.randn(2, 3, 16, 24)
    wanted = torch.nn.functional.interpolate(x, scale_factor=1 / ratio, mode="bilinear", align_corners=False)
    assert torch.allclose(_reduced(x, ratio), wanted, atol=1e-6)


def test_the_decision_of_a_central_difference_network_begins_as_the_mean_of_its_map() -> None:
    taps = build("central_difference", THIN_CDCN).eval().taps(torch.randn(2, 3, 64, 64))
    difference = taps.logits[:, 1] - taps.logits[:, 0]
    assert torch.allclose(difference, taps.map_logits.mean((1, 2, 3)), rtol=1e-4, atol=1e-6)


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
        (20, 0, "positive whole numbers"),
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
    with pytest.raises(BadCard, match="four positive whole numbers"):
        build("resnet_map", {"stages": [64, 128]})
    with pytest.raises(BadCard, match="must have 49 entries, not 3"):
        build("minifasnet", {"channels": [1, 2, 3]})


@pytest.mark.parametrize(
    ("family", "architecture", "message"),
    [
        ("mobilenet_v3", {"rows": []}, "rows must not be empty"),
        ("mobilenet_v3", {"rows": [[3, 16, 16, 1, 0]]}, r"rows\[0\] must have 6 entries: kernel, expansion"),
        ("mobilenet_v3", {"rows": [*SMALL, [4, 16, 16, 1, 0, 1]]}, r"rows\[11\]: kernel must be odd"),
        ("mobilenet_v3", {"rows": [[3, 16, 0, 1, 0, 1]]}, r"rows\[0\].*positive whole numbers"),
        ("mobilenet_v3", {"rows": [[3, 16, 16, 1, 0, 3]]}, r"rows\[0\]: stride must be 1 or 2"),
        ("mobilenet_v3", {"embedding": 0}, "embedding must be"),
        ("feathernet", {"outputs": [16, 32, 48]}, "four stages"),
        ("feathernet", {"expansions": [[32], [], [192], [288]]}, "at least one block"),
        ("feathernet", {"stem": 0}, "positive whole numbers"),
        ("feathernet", {"size_px": 100}, "multiple of 32, not 100"),
        ("central_difference", {"levels": [[128], [128]]}, "three lists"),
        ("central_difference", {"head": []}, "none may be empty"),
        ("central_difference", {"head": [0]}, "positive whole numbers"),
        ("central_difference", {"classes": 1}, "at least 2"),
        ("central_difference", {"width": 0.25}, "unexpected keyword argument 'width'"),
    ],
)
def test_an_architecture_that_makes_no_network_says_why(
    family: str, architecture: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadCard, match=message):
        build(family, architecture)
