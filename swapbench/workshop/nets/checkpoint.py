"""From a card's checkpoint to a network with weights, and back. No code in a checkpoint ever runs.

The file's sha256 is compared with the card before the file is opened. Our own checkpoints are .safetensors;
foreign .pth files are read by PyTorch's restricted unpickler (tensors and containers only). Weights stored in
half precision are float32 in memory.
"""

from __future__ import annotations

import collections
import hashlib
import pickle
import re
import zipfile
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from swapbench import units
from swapbench.errors import BadCard, of_one_file
from swapbench.files import LARGEST_MODEL_BYTES, file_sha256, opened, write_atomically
from swapbench.workshop.nets import build

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from swapbench.records import ModelCard

_NAMED = 4
"""How many keys an error names."""
_STATES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params", "weights")
_AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema", "params_ema")
"""Under which keys training snapshots hold a state dict; averages of weights where there is nothing else."""
_UNUSED = ".num_batches_tracked"
"""What batch norm counts while it trains; inference never reads it, and old checkpoints lack it."""


def checkpoint_path(card: ModelCard, card_path: Path) -> Path:
    """Path of a card's checkpoint; a relative one is relative to the card."""
    return card_path.parent / card.checkpoint


def load_network(card: ModelCard, card_path: Path) -> nn.Module:
    """The network of a card with its weights, float32, in eval mode.

    Raises:
        BadCard: The checkpoint is not named or missing, has another sha256 than the card says, holds anything
            but tensors, or does not fit the architecture exactly.
        UnknownName: The family is unknown.
    """
    if not card.checkpoint:
        raise BadCard(
            f"card {card.name} names no checkpoint",
            remedy='Write into the card: checkpoint = "FILE", relative to the card.',
        )
    path = checkpoint_path(card, card_path)
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise BadCard(f"card {card.name}: cannot read the checkpoint {path}: {error.strerror}") from error
    if not card.checkpoint_sha256:
        raise BadCard(
            f"card {card.name}: it does not say which file {path.name} must be",
            remedy=f'Write into the card: checkpoint_sha256 = "{sha256}"',
        )
    if sha256 != card.checkpoint_sha256:
        raise BadCard(
            f"card {card.name}: {path.name} has sha256 {sha256}, the card says {card.checkpoint_sha256}",
            remedy="Restore the checkpoint that the card was written for, or train the model again.",
        )
    state = kept(card, read_tensors(path))
    tensors = renamed(card, state)
    names = dict(zip(tensors, state, strict=True))
    network = build(card.family, card.architecture)
    expected = network.state_dict()
    tensors = {key: tensor for key, tensor in tensors.items() if key in expected or not key.endswith(_UNUSED)}
    for key, tensor in expected.items():
        if key.endswith(_UNUSED):
            tensors.setdefault(key, tensor)
    _require_fit(card, expected, tensors, names)
    network.load_state_dict(tensors)
    return network.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors, .pth or .pt file, floats as float32; pickled code never runs.

    Raises:
        BadCard: The file cannot be read, holds anything but a state dict, or unpacks to more than it has.
    """
    with of_one_file(str(path), BadCard):
        with opened(path, LARGEST_MODEL_BYTES):
            pass  # a regular file
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
        state = _state_dict(content)
        if state is None:
            raise BadCard(
                f"{path} is not a state dict: a dictionary of tensors",
                remedy="Save the state_dict alone: torch.save(model.state_dict(), FILE).",
            )
        return {str(key): _single(path, value) for key, value in state.items()}


def _single(path: Path, tensor: Tensor) -> Tensor:
    """The tensor, floats as float32, unless a few stored numbers stand for many: a copy would fill memory."""
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise BadCard(
            f"{path} holds a tensor of {tensor.numel()} numbers with fewer stored",
            remedy="Save contiguous tensors: tensor.contiguous()",
        )
    return tensor.float() if tensor.is_floating_point() else tensor


def _state_dict(content: Any) -> Mapping[str, Tensor] | None:
    """The state dict that a file's content is or that a training snapshot holds; None where there is none."""
    if not isinstance(content, dict):
        return None
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return content
    inner = (_state_dict(content[key]) for key in (*_STATES, *_AVERAGED) if key in content)
    return next((state for state in inner if state is not None), None)


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCard(f"{path} is not a readable safetensors file: {error}") from error


def _read_pickle(path: Path) -> Any:
    if _is_torchscript(path):
        raise BadCard(
            f"{path} is a TorchScript archive, which holds code",
            remedy="Save the state_dict, where you trust the file:"
            " torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE).",
        )
    if _unpacked_bytes(path) > LARGEST_MODEL_BYTES:
        raise BadCard(f"{path} unpacks to more than {LARGEST_MODEL_BYTES / 1e6:g} MB")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadCard(
            f"{path} holds more than tensors; it is not opened, because that could run code",
            remedy="If you trust it, convert it to a plain state dict or to .safetensors.",
        ) from error
    except (
        Exception
    ) as error:  # the unpickler and the archive reader raise what they like for a file cut short
        lines = str(error).splitlines()
        reason = lines[0] if lines and _UNSAFE_ADVICE not in lines[0] else type(error).__name__
        raise BadCard(f"{path} is not a readable checkpoint: {reason}") from error


_UNSAFE_ADVICE = "weights_only"
"""PyTorch's messages advise to switch its restricted unpickler off."""


def _is_torchscript(path: Path) -> bool:
    """Whether a file is what torch.jit.save writes: a zip archive with constants beside the data."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _unpacked_bytes(path: Path) -> int:
    """What a zip archive unpacks to, 0 for another file; PyTorch's reader unpacks no more than this."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return 0


def kept(card: ModelCard, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without those that the card's `drop_keys` leave out."""
    return {
        key: tensor
        for key, tensor in tensors.items()
        if not any(fnmatchcase(key, pattern) for pattern in card.drop_keys)
    }


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


def _require_fit(
    card: ModelCard,
    expected: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
) -> None:
    """Refuse tensors that are not exactly the expected ones; `names` has the file's own names of its keys."""
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
            remedy=_advice(card, expected, names) or "Correct architecture or rename_keys on the card.",
        )


def _advice(card: ModelCard, expected: Collection[str], names: Mapping[str, str]) -> str:
    """The lines that make a card fit, where all that inference needs is there, under a prefix or among more.

    Args:
        card: as it is; what it drops and renames already stays.
        expected: keys of the network.
        names: keys of the checkpoint as the card renames them -> the file's own.
    """
    prefix = _common_prefix(expected, names)
    if any(prefix + key not in names for key in expected if not key.endswith(_UNUSED)):
        return ""
    needed = {names[prefix + key] for key in expected if prefix + key in names}
    surplus = (key for key in names.values() if key not in needed and not key.endswith(_UNUSED))
    patterns = dict.fromkeys(_pattern(key, needed) for key in surplus)
    lines = []
    if patterns:
        dropped = ", ".join(f'"{pattern}"' for pattern in (*card.drop_keys, *patterns))
        lines.append(f"drop_keys = [{dropped}]")
    if prefix:
        line = f"'^{re.escape(prefix)}' = ''"
        added = f"{line} as the last line of [rename_keys]"
        lines.append(added if card.rename_keys else f"rename_keys = {{ {line} }}")
    return f"Write into the card: {' and '.join(lines)}" if lines else ""


def _common_prefix(expected: Collection[str], found: Collection[str]) -> str:
    """What most of the expected keys have before them in the file, such as "module."; "" where nothing."""
    prefixes = collections.Counter(
        key[: -len(name)] for name in expected for key in found if key.endswith(f".{name}")
    )
    prefixes[""] = len(set(expected) & set(found))
    return max(prefixes, key=lambda prefix: prefixes[prefix])


def _pattern(key: str, needed: Collection[str]) -> str:
    """The pattern of the branch of the network that a key belongs to and that inference does not need."""
    parts = key.split(".")
    for count in range(1, len(parts)):
        branch = ".".join(parts[:count]) + "."
        if not any(name.startswith(branch) for name in needed):
            return f"{branch}*"
    return key


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
