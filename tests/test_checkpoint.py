import hashlib
import os
import pickle
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from swapbench.errors import BadCard
from swapbench.records import ModelCard, OutputMeaning, Preprocessing

torch = pytest.importorskip("torch")

from swapbench.files import file_sha256  # noqa: E402
from swapbench.workshop.nets import build  # noqa: E402 - torch must be there first
from swapbench.workshop.nets.checkpoint import load_network, read_tensors, save_checkpoint  # noqa: E402
from swapbench.workshop.nets.minifasnet import V2  # noqa: E402

pytestmark = pytest.mark.slow

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
    with pytest.raises(BadCard, match="it is not opened, because that could run code") as caught:
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
    with pytest.raises(BadCard, match="rename_keys pattern '\\(' is invalid"):
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
        match=r"lacks fc.bias; has unexpected extra; has other shapes: fc.weight \[3, 10\] for \[2, 10\]",
    ):
        load_network(card_for(path), tmp_path / "small.toml")
    with pytest.raises(BadCard, match=r"has unexpected .* and [0-9]+ more"):
        load_network(
            card_for(path, family="minifasnet", architecture={"channels": list(V2)}), tmp_path / "small.toml"
        )


def training_snapshot(network: Any, path: Path) -> None:
    """As MultiFTNet of Silent-Face-Anti-Spoofing is saved: the network, and a branch that only trains it."""
    state = {f"module.model.{key}": value for key, value in network.state_dict().items()}
    extra = {f"module.FTGenerator.ft.{layer}.weight": torch.zeros(2) for layer in range(9)}
    torch.save({**state, **extra}, path)


def test_keys_that_inference_does_not_need_are_dropped_as_the_card_says(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "snapshot.pth"
    training_snapshot(network, path)
    names = {r"^module\.model\.": ""}
    card = card_for(path, drop_keys=("module.FTGenerator.*",), rename_keys=names)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(load_network(card, tmp_path / "small.toml")(images), network(images))


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (
            {},
            "drop_keys = [\"module.FTGenerator.*\"] and rename_keys = { '^module\\.model\\.' = '' }",
        ),
        ({"drop_keys": ("module.FTGenerator.*",)}, "rename_keys = { '^module\\.model\\.' = '' }"),
        ({"rename_keys": {r"^module\.model\.": ""}}, 'drop_keys = ["module.FTGenerator.*"]'),
    ],
    ids=["both", "prefix", "branch"],
)
def test_the_lines_that_a_card_lacks_are_printed(
    tmp_path: Path, network: Any, given: dict[str, Any], lines: str
) -> None:
    path = tmp_path / "snapshot.pth"
    training_snapshot(network, path)
    with pytest.raises(BadCard) as caught:
        load_network(card_for(path, **given), tmp_path / "small.toml")
    assert caught.value.remedy == f"Write into the card: {lines}"
    written = tomllib.loads(lines.replace(" and ", "\n"))
    changes = {key: tuple(value) if key == "drop_keys" else value for key, value in written.items()}
    load_network(card_for(path, **{**given, **changes}), tmp_path / "small.toml")


def test_what_a_card_renames_and_drops_already_stays_in_the_lines_that_it_lacks(
    tmp_path: Path, network: Any
) -> None:
    path = tmp_path / "snapshot.pth"
    training_snapshot(network, path)
    state = torch.load(path, weights_only=True)
    torch.save({**state, "module.teacher.weight": torch.zeros(2)}, path)
    given = {"rename_keys": {r"^module\.": ""}, "drop_keys": ("module.teacher.*",)}
    with pytest.raises(BadCard) as caught:
        load_network(card_for(path, **given), tmp_path / "small.toml")
    assert caught.value.remedy == (
        'Write into the card: drop_keys = ["module.teacher.*", "module.FTGenerator.*"]'
        r" and '^model\.' = '' as the last line of [rename_keys]"
    )
    drops = ("module.teacher.*", "module.FTGenerator.*")
    names = {r"^module\.": "", r"^model\.": ""}
    load_network(card_for(path, drop_keys=drops, rename_keys=names), tmp_path / "small.toml")


@pytest.mark.parametrize("key", ["state_dict", "model", "net", "model_state_dict", "state_dict_ema"])
def test_a_state_dict_is_found_in_a_training_snapshot(tmp_path: Path, network: Any, key: str) -> None:
    path = tmp_path / "snapshot.pt"
    torch.save({"epoch": 3, "optimizer": {"state": {}}, key: network.state_dict()}, path)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(load_network(card_for(path), tmp_path / "small.toml")(images), network(images))


def test_the_weights_themselves_are_taken_where_their_average_is_there_too(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.pt"
    torch.save({"state_dict_ema": {"w": torch.ones(1)}, "state_dict": {"w": torch.zeros(1)}}, path)
    assert read_tensors(path)["w"].item() == 0


def test_what_batch_norm_counts_while_it_trains_is_not_needed(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "old.pth"
    state = {key: value for key, value in network.state_dict().items() if "num_batches_tracked" not in key}
    assert len(state) < len(network.state_dict())
    torch.save({**state, "gone.num_batches_tracked": torch.tensor(3)}, path)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(load_network(card_for(path), tmp_path / "small.toml")(images), network(images))


def test_a_torchscript_archive_is_called_one_and_torchs_unsafe_advice_is_never_printed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "net.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(path)
    with pytest.raises(BadCard, match="is a TorchScript archive") as caught:
        read_tensors(path)
    assert "Save the state_dict" in caught.value.remedy
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(BadCard, match="it is not opened") as whole:
        read_tensors(tmp_path / "whole.pt")
    assert "weights_only" not in f"{caught.value} {whole.value}"


def test_the_digest_that_a_card_lacks_is_printed_as_a_line_to_write(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "small.safetensors"
    digest = save_checkpoint(network, path)
    with pytest.raises(BadCard) as caught:
        load_network(card_for(path, checkpoint_sha256=""), tmp_path / "small.toml")
    assert caught.value.remedy == f'Write into the card: checkpoint_sha256 = "{digest}"'


def test_a_digest_is_the_files_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_few_stored_numbers_that_stand_for_many_are_not_copied(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1, dtype=torch.float16).expand(1 << 40)}, tmp_path / "net.pth")
    with pytest.raises(BadCard, match="a tensor of 1099511627776 numbers with fewer stored"):
        read_tensors(tmp_path / "net.pth")


def test_a_checkpoint_of_dictionaries_without_end_is_an_error_of_the_file(tmp_path: Path) -> None:
    content: Any = {}
    for _ in range(200):
        content = {"model": content}
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(BadCard, match=r"net\.pth"):
        read_tensors(tmp_path / "net.pth")


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "net.pth").symlink_to("/dev/zero")
    with pytest.raises(BadCard, match="not a regular file"):
        read_tensors(tmp_path / "net.pth")


def test_an_archive_that_unpacks_to_more_than_any_network_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/data/0", b"")
    content = (tmp_path / "net.pth").read_bytes()
    central = content.rindex(b"PK\x01\x02")  # of the last member; its size stands 24 bytes on
    grown = content[: central + 24] + (0xFFFFFFF0).to_bytes(4, "little") + content[central + 28 :]
    first = grown.index(b"PK\x01\x02")
    grown = grown[: first + 24] + (0xFFFFFFF0).to_bytes(4, "little") + grown[first + 28 :]
    (tmp_path / "net.pth").write_bytes(grown)
    with pytest.raises(BadCard, match="unpacks to more than"):
        read_tensors(tmp_path / "net.pth")
