"""Checkpoints of the zoo: the layer names in their authors' code are those that a card translates.

The checkpoints themselves are not here: networks of the cards' architectures with weights of their own are
saved under the names that stand in the authors' code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import PRETRAINED, REPOSITORY

from swapbench import catalog
from swapbench.cards import read_network
from swapbench.catalog import Folders
from swapbench.commands import zoo
from swapbench.files import file_sha256

torch = pytest.importorskip("torch")

from swapbench.workshop.nets import build  # noqa: E402 - torch must be there first
from swapbench.workshop.nets.checkpoint import load_network  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from swapbench.records import PublicNetwork

pytestmark = pytest.mark.slow

NETWORKS = [read_network(path) for path in sorted((REPOSITORY / "models" / "zoo").glob("*.toml"))]
EXPORTABLE = [network for network in NETWORKS if network.card.family]

YAKHYO = {
    r"^conv1\.": "stem.",
    r"^conv2_dw\.": "stem_dw.",
    r"^conv_23\.": "transition1.",
    r"^conv_3\.": "stage2.",
    r"^conv_34\.": "transition2.",
    r"^conv_4\.": "stage3.",
    r"^conv_45\.": "transition3.",
    r"^conv_5\.": "stage4.",
    r"^conv_6_sep\.": "final_expand.",
    r"^conv_6_dw\.": "final_dw.",
    r"^prob\.": "classifier.",
    r"\.se_module\.": ".se.",
}
"""Our name of a layer -> that of models/fastnet.py in yakhyo/face-anti-spoofing."""


def built(network: PublicNetwork) -> nn.Module:
    """A network of the card's architecture, its weights and statistics drawn at random."""
    torch.manual_seed(5)
    made = build(network.card.family, network.card.architecture).eval()
    for name, value in made.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            value.add_(torch.randn_like(value) * 0.05)
    return made


def loads(network: PublicNetwork, folder: Path, renamed: Callable[[str], str], **more: Tensor) -> None:
    """Save a network under other names, with more tensors, and load it as the card says: nothing changed."""
    made = built(network)
    state = {renamed(name): value for name, value in made.state_dict().items()} | more
    torch.save(state, folder / "net.pth")
    card = network.card.replace(checkpoint="net.pth", checkpoint_sha256=file_sha256(folder / "net.pth"))
    loaded = load_network(card, folder / "net.toml")
    size = card.preprocessing.width_px
    images = torch.rand(2, 3, size, size) * 255
    with torch.no_grad():
        assert torch.equal(loaded(images), made(images))


@pytest.mark.parametrize("network", EXPORTABLE, ids=lambda network: network.card.name)
def test_the_names_of_the_authors_training_load(network: PublicNetwork, tmp_path: Path) -> None:
    """Saved from DataParallel; Roll-Face trains with a Fourier branch beside the network."""
    if network.card.drop_keys:
        branch = {"module.FTGenerator.ft.0.weight": torch.ones(128, 128, 3, 3)}
        loads(network, tmp_path, lambda name: f"module.model.{name}", **branch)
    else:
        loads(network, tmp_path, lambda name: f"module.{name}")


@pytest.mark.parametrize("name", ["minifasnet_v2_minivision", "minifasnet_v1se_minivision"])
def test_the_names_of_yakhyo_load(name: str, tmp_path: Path) -> None:
    def yakhyos(layer: str) -> str:
        for ours, theirs in YAKHYO.items():
            layer = re.sub(ours, theirs, layer)
        return layer

    (network,) = (network for network in EXPORTABLE if network.card.name == name)
    loads(network, tmp_path, yakhyos)


@pytest.mark.skipif(
    not PRETRAINED.is_dir(), reason="the real networks are not in shared/pretrained beside the repository"
)
def test_the_real_checkpoint_and_its_conversion_agree(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "fetched.pth"
    path.symlink_to(PRETRAINED / "2.7_80x80_MiniFASNetV2.pth")
    fetched = zoo.get(Folders(tmp_path), "minifasnet_v2_minivision", path)
    assert fetched.exportable
    network = load_network(catalog.model(Folders(tmp_path), str(fetched.card)).card, fetched.card)
    images = np.random.default_rng(3).integers(0, 256, (4, 3, 80, 80)).astype(np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(images)).numpy()
    converted = onnxruntime.InferenceSession(PRETRAINED.parent / "feni" / "2.7_80x80_MiniFASNetV2.onnx")
    (said,) = converted.run(None, {converted.get_inputs()[0].name: images})
    assert logits == pytest.approx(said, abs=1e-4)
