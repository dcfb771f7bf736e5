import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swapbench.errors import BadCard
from swapbench.pad.preprocess import load_crop, normalise
from swapbench.records import ModelCard, OutputMeaning, Preprocessing

torch = pytest.importorskip("torch")

from swapbench.nets import build  # noqa: E402 - torch must be there first
from swapbench.nets.checkpoint import file_sha256, load_network, read_tensors, save_checkpoint  # noqa: E402
from swapbench.nets.minifasnet import V1, V2  # noqa: E402

pytestmark = pytest.mark.slow

REAL = Path(__file__).parents[2] / "shared/pretrained/minivision"
SMALL = {"stem": 4, "stages": [4, 6, 8, 10], "blocks": [1, 1, 1, 1]}


def card_for(path: Path, **changes: Any) -> ModelCard:
    card = ModelCard(
        name="small",
        summary="for tests",
        family="resnet_map",
        architecture=SMALL,
        checkpoint=path.name,
        checkpoint_sha256=file_sha256(path) if path.is_file() else "0" * 64,
        preprocessing=Preprocessing(width_px=32, height_px=32, crop_scale=1.0),
        output=OutputMeaning(kind="logits", bona_fide_index=1),
    )
    return card.model_copy(update=changes)


@pytest.fixture
def network() -> Any:
    torch.manual_seed(5)
    return build("resnet_map", SMALL).eval()


def test_a_saved_network_comes_back_in_float32_and_computes_nearly_the_same(
    tmp_path: Path, network: Any
) -> None:
    path = tmp_path / "small.safetensors"
    digest = save_checkpoint(network, path)
    assert digest == file_sha256(path)
    loaded = load_network(card_for(path), tmp_path / "small.toml")
    assert not loaded.training
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    images = torch.randn(3, 3, 32, 32)
    assert torch.allclose(loaded(images), network(images), atol=0.01)
    full = save_checkpoint(network, tmp_path / "full.safetensors", half=False)
    exact = load_network(card_for(tmp_path / "full.safetensors"), tmp_path / "small.toml")
    assert full != digest
    assert torch.equal(exact(images), network(images))


def test_only_kernels_are_halved_because_a_running_variance_of_raw_pixels_would_overflow(
    tmp_path: Path, network: Any
) -> None:
    network.bn1.running_var.fill_(1e6)
    save_checkpoint(network, tmp_path / "a.safetensors")
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "a.safetensors")
    assert stored["conv1.weight"].dtype == torch.float16
    assert stored["bn1.running_var"].tolist() == [1e6] * 4
    with torch.no_grad():
        network.conv1.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"conv1.weight does not fit into float16"):
        save_checkpoint(network, tmp_path / "b.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path, network: Any) -> None:
    assert save_checkpoint(network, tmp_path / "a.safetensors") == save_checkpoint(
        network, tmp_path / "b.safetensors"
    )


def test_another_file_than_the_card_names_is_refused_with_both_digests(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "small.safetensors"
    digest = save_checkpoint(network, path)
    with pytest.raises(BadCard, match=f"has sha256 {digest}, the card says {'0' * 64}"):
        load_network(card_for(path, checkpoint_sha256="0" * 64), tmp_path / "small.toml")
    with pytest.raises(BadCard, match="cannot read the checkpoint"):
        load_network(card_for(path, checkpoint="gone.safetensors"), tmp_path / "small.toml")


def test_a_damaged_safetensors_file_is_a_bad_card(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "small.safetensors"
    save_checkpoint(network, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadCard, match="not a readable safetensors file"):
        load_network(card_for(path), tmp_path / "small.toml")


class Malicious:
    """Asks whoever unpickles it to make a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_pickled_code_in_a_checkpoint_never_runs(tmp_path: Path, how: str) -> None:
    mark, path = tmp_path / "ran", tmp_path / "evil.pth"
    if how == "torch":
        torch.save({"conv1.weight": Malicious(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(mark)))
    with pytest.raises(BadCard, match="could run code: refused") as caught:
        load_network(card_for(path), tmp_path / "small.toml")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.pth"
    path.write_bytes(content)
    with pytest.raises(BadCard) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def test_something_else_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(BadCard, match="is not a state dict"):
        read_tensors(tmp_path / "a.pth")


def test_foreign_names_are_renamed_in_the_cards_order(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "foreign.pth"
    state = {"module." + key.replace("bn1", "norm_1"): value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, path)
    names = {r"^module\.": "", r"norm_(\d)": r"bn\1"}
    loaded = load_network(card_for(path, rename_keys=names), tmp_path / "small.toml")
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(loaded(images), network(images))
    with pytest.raises(BadCard, match="gives two tensors the name x"):
        load_network(card_for(path, rename_keys={"^.*$": "x"}), tmp_path / "small.toml")
    with pytest.raises(BadCard, match="rename_keys pattern '\\('"):
        load_network(card_for(path, rename_keys={"(": "x"}), tmp_path / "small.toml")


def test_keys_that_do_not_fit_are_named(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "small.pth"
    state = network.state_dict()
    state["extra"] = torch.zeros(1)
    del state["fc.bias"]
    state["fc.weight"] = torch.zeros(3, 10)
    torch.save(state, path)
    with pytest.raises(
        BadCard,
        match=r"lacks fc.bias; has besides extra; has other shapes: fc.weight \[3, 10\] for \[2, 10\]",
    ):
        load_network(card_for(path), tmp_path / "small.toml")
    with pytest.raises(BadCard, match=r"has besides .* and [0-9]+ more"):
        load_network(
            card_for(path, family="minifasnet", architecture={"channels": list(V2)}), tmp_path / "small.toml"
        )


def minivision(file: str, channels: tuple[int, ...], scale: float, *, squeeze: bool) -> ModelCard:
    return ModelCard(
        name="minivision",
        summary="Silent-Face-Anti-Spoofing",
        family="minifasnet",
        architecture={"channels": list(channels), "squeeze": squeeze},
        checkpoint=str(REAL / file),
        checkpoint_sha256={
            2.7: "a5eb02e1843f19b5386b953cc4c9f011c3f985d0ee2bb9819eea9a142099bec0",
            4.0: "84ee1d37d96894d5e82de5a57df044ef80a58be2b218b5ed7cdfd875ec2f5990",
        }[scale],
        # releases differ in how they name the squeeze-and-excitation layers
        rename_keys={r"^module\.": "", r"\.se_(fc|bn)": r".se_module.\1"},
        preprocessing=Preprocessing(
            width_px=80,
            height_px=80,
            crop_scale=scale,
            keep_box_aspect=True,
            resize="bilinear",
            channel_order="bgr",
            scale=1.0,
        ),
        output=OutputMeaning(
            kind="logits", bona_fide_index=1, classes=("2D attack", "bona fide", "3D attack")
        ),
    )


@pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real checkpoints are not in {REAL.name}/ beside the repository"
)
@pytest.mark.parametrize(
    ("image", "box", "published"),
    [
        # Boxes drawn by hand on the upright images (no detector here), forehead to chin; published with MTCNN's boxes.
        ("image_T1.jpg", (120, 100, 245, 250), (0.0, 1.0, 0.0)),
        ("image_F1.jpg", (195, 110, 190, 230), (0.06, 0.21, 0.73)),
        ("image_F2.jpg", (125, 180, 230, 320), (0.0, 0.0, 1.0)),
    ],
)
def test_the_real_checkpoints_judge_the_sample_images_as_published(
    image: str, box: tuple[float, float, float, float], published: tuple[float, float, float]
) -> None:
    total = torch.zeros(3)
    for card in (
        minivision("2.7_80x80_MiniFASNetV2.pth", V2, 2.7, squeeze=False),
        minivision("4_0_0_80x80_MiniFASNetV1SE.pth", V1, 4.0, squeeze=True),
    ):
        network = load_network(card, Path("unused.toml"))
        pixels = normalise(load_crop(REAL / image, box, card.preprocessing)[np.newaxis], card.preprocessing)
        with torch.no_grad():
            total += torch.softmax(network(torch.from_numpy(pixels).permute(0, 3, 1, 2)), 1)[0] / 2
    assert total.tolist() == pytest.approx(published, abs=0.1)


def test_a_digest_is_the_files_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
