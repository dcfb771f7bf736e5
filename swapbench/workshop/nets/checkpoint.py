"""From a card's checkpoint to a network with weights, and back. No code in a checkpoint ever runs.

The file's sha256 is compared with the card before the file is opened. Our own checkpoints are .safetensors;
foreign .pth files are read by PyTorch's restricted unpickler (tensors and containers only). Weights stored in
half precision are float32 in memory.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from swapbench import units
from swapbench.errors import BadCard
from swapbench.files import file_sha256, write_atomically
from swapbench.workshop.nets import build

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from swapbench.records import ModelCard

_NAMED = 4
"""How many keys an error names."""


def checkpoint_path(card: ModelCard, card_path: Path) -> Path:
    """Path of a card's checkpoint; a relative one is relative to the card."""
    return card_path.parent / card.checkpoint


def load_network(card: ModelCard, card_path: Path) -> nn.Module:
    """The network of a card with its weights, float32, in eval mode.

    Raises:
        BadCard: The checkpoint is missing, has another sha256 than the card says, holds anything but tensors,
            or does not fit the architecture exactly.
        UnknownName: The family is unknown.
    """
    path = checkpoint_path(card, card_path)
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise BadCard(f"card {card.name}: cannot read the checkpoint {path}: {error.strerror}") from error
    if sha256 != card.checkpoint_sha256:
        raise BadCard(
            f"card {card.name}: {path.name} has sha256 {sha256}, the card says {card.checkpoint_sha256}",
            remedy="Restore the checkpoint that the card was written for, or train the model again.",
        )
    tensors = renamed(card, read_tensors(path))
    network = build(card.family, card.architecture)
    _require_fit(card, network, tensors)
    network.load_state_dict(tensors)
    return network.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors, .pth or .pt file, floats as float32; pickled code never runs.

    Raises:
        BadCard: The file cannot be read or holds anything but a state dict.
    """
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(value, Tensor) for value in state.values())
    ):
        raise BadCard(
            f"{path} is not a state dict: a dictionary of tensors", remedy="Save module.state_dict() alone."
        )
    return {str(key): value.float() if value.is_floating_point() else value for key, value in state.items()}


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCard(f"{path} is not a readable safetensors file: {error}") from error


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadCard(
            f"{path} holds more than tensors; it is not opened, because that could run code",
            remedy="If you trust it, convert it to a plain state dict or to .safetensors.",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise BadCard(f"{path} is not a readable checkpoint: {reason}") from error


def renamed(card: ModelCard, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors renamed by the card's `rename_keys`, whose patterns are applied in order.

    Raises:
        BadCard: A pattern is invalid, or two tensors get the same name.
    """
    result: dict[str, Tensor] = {}
    for key, value in tensors.items():
        new = key
        for pattern, replacement in card.rename_keys.items():
            try:
                new = re.sub(pattern, replacement, new)
            except (re.error, IndexError) as error:
                raise BadCard(
                    f"card {card.name}: rename_keys pattern {pattern!r} is invalid: {error}"
                ) from error
        if new in result:
            raise BadCard(f"card {card.name}: rename_keys gives two tensors the name {new}")
        result[new] = value
    return result


def _require_fit(card: ModelCard, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    expected = network.state_dict()
    shapes = [
        f"{key} {list(tensors[key].shape)} for {list(expected[key].shape)}"
        for key in expected
        if key in tensors and tensors[key].shape != expected[key].shape
    ]
    problems = (
        ("lacks", sorted(expected.keys() - tensors.keys())),
        ("has unexpected", sorted(tensors.keys() - expected.keys())),
        ("has other shapes:", shapes),
    )
    text = "; ".join(f"{what} {units.some(keys, _NAMED)}" for what, keys in problems if keys)
    if text:
        raise BadCard(
            f"card {card.name}: the checkpoint {text}",
            remedy="Correct architecture or rename_keys on the card.",
        )


def save_checkpoint(module: nn.Module, path: Path, *, half: bool = True) -> str:
    """Write the state dict as .safetensors, whole or not at all, and return its sha256.

    Args:
        module: The network.
        path: The file.
        half: Store matrices and kernels in float16. Vectors (biases, batch norm statistics) stay as they are:
            they are small, and a running variance of unscaled pixels would overflow.

    Raises:
        ValueError: A kernel does not fit into float16.
    """
    from safetensors.torch import save

    tensors = {key: _stored(key, value, half=half) for key, value in module.state_dict().items()}
    content = save(tensors)
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def _stored(key: str, value: Tensor, *, half: bool) -> Tensor:
    value = value.detach().cpu().contiguous()
    if not (half and value.dtype == torch.float32 and value.dim() > 1):
        return value
    stored = value.half()
    if torch.isfinite(value).all() and not torch.isfinite(stored).all():
        raise ValueError(f"{key} does not fit into float16")
    return stored
