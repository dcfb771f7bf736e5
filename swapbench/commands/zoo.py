"""The zoo: cards of networks that others have published. Their files are fetched by the user, never by us."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swapbench import catalog, units
from swapbench.cards import card_text, read_card, read_network
from swapbench.errors import BadCard, BadModelFile, SwapbenchError, UnknownName, UserError
from swapbench.files import content_of, file_sha256, write_atomically
from swapbench.modelfile.foreign import refuse_foreign

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from swapbench.catalog import Folders
    from swapbench.records import ModelCard, PublicFile, PublicNetwork

BUILDING = frozenset({"family", "architecture", "rename_keys", "drop_keys"})
"""The fields of a card that only a checkpoint needs."""

LARGEST_TEXT = 2**20
"""Bytes of the largest text that is looked for where a file should be: web pages are smaller."""


def networks(folders: Folders) -> tuple[list[PublicNetwork], tuple[SwapbenchError, ...]]:
    """Every network of the zoo by name, and the errors of those that cannot be read."""
    found: list[PublicNetwork] = []
    errors: list[SwapbenchError] = []
    for path in catalog.zoo_files(folders).values():
        try:
            found.append(read_network(path))
        except BadCard as error:
            errors.append(error)
    return found, tuple(errors)


def network(folders: Folders, name: str) -> PublicNetwork:
    """The network of that name.

    Raises:
        UnknownName: There is none; the message names the nearest ones.
        BadCard: It cannot be read.
    """
    files = catalog.zoo_files(folders)
    if name not in files:
        raise UnknownName("network", name, files)
    return read_network(files[name])


def row(public: PublicNetwork) -> dict[str, Any]:
    """What a list says of a network; the number is its author's."""
    card = public.card
    sizes = [file.bytes for file in public.files if file.bytes]
    first = public.published[0] if public.published else None
    return {
        "name": card.name,
        "input": f"{card.preprocessing.width_px}×{card.preprocessing.height_px}",
        "size": units.size(max(sizes)) if sizes else units.NOT_MEASURED,
        "licence": card.licence,
        "formats": sorted({file.format for file in public.files}),
        "published": f"{first.metric} {first.value}" if first else "",
        "measured on": first.data if first else "",
        "summary": card.summary,
        "source": card.source,
    }


def owner(folders: Folders, sha256: str) -> PublicNetwork | None:
    """The network that has a file with this digest.

    The digest is looked for in the text of the cards, so that only the one that has it is read.
    """
    for path in catalog.zoo_files(folders).values():
        try:
            if sha256.encode() in content_of(path):
                found = read_network(path)
                if any(file.sha256 == sha256 for file in found.files):
                    return found
        except (OSError, BadCard):
            continue
    return None


@dataclass(frozen=True)
class Fetched:
    """A fetched file that is what its name in the zoo says, with its card.

    Attributes:
        network: Of the zoo.
        file: Which of its files this is.
        path: Of the file.
        card: Where its card lies.
        new: Whether the card was written now.
    """

    network: PublicNetwork
    file: PublicFile
    path: Path
    card: Path
    new: bool

    @property
    def exportable(self) -> bool:
        """Whether the file is a checkpoint that `swapbench export` can make files from."""
        return self.file.format == "pth" and bool(self.network.card.family)


def get(folders: Folders, name: str, path: Path) -> Fetched:
    """Check a file that the user fetched, and write its card beside it, as `net.toml` beside `net.onnx`.

    Args:
        folders: Of the working folder.
        name: Of the network.
        path: The file.

    Raises:
        UnknownName: There is no such network.
        BadModelFile: The file is missing, or is not one of this network's.
        UserError: Another card lies where this one belongs.
    """
    public = network(folders, name)
    if not path.is_file():
        raise BadModelFile(f"there is no file {path}", remedy=f"Where to fetch it: swapbench zoo show {name}")
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise BadModelFile(f"cannot read {path}: {error.strerror}") from error
    file = next((file for file in public.files if file.sha256 == sha256), None)
    if file is None:
        raise _not_of(public, owner(folders, sha256), path, sha256)
    target = path.with_suffix(".toml")
    card = card_of(public, file, path.name)
    return Fetched(public, file, path, target, _write(public, card, target))


def card_of(public: PublicNetwork, file: PublicFile, name: str) -> ModelCard:
    """The card of one file: of a checkpoint how the network is built, of others what they expect and mean.

    Args:
        public: The network.
        file: Which of its files.
        name: What the file is called where it lies.
    """
    if file.format == "pth" and public.card.family:
        return public.card.replace(checkpoint=name, checkpoint_sha256=file.sha256)
    kept = public.card.model_fields_set - BUILDING
    return type(public.card)(**{field: getattr(public.card, field) for field in kept})


def _write(public: PublicNetwork, card: ModelCard, target: Path) -> bool:
    """Write a card where none lies, or one of this network that says less; True where it was written."""
    if target.exists():
        try:
            present = read_card(target)
        except BadCard:
            present = None
        if present is None or present not in (
            card_of(public, file, present.checkpoint) for file in public.files
        ):
            raise UserError(
                f"{target} is there already and says something else",
                remedy=f"Move it away, or compare it with: swapbench zoo show {public.card.name}",
            )
        if present == card or (present.checkpoint and not card.checkpoint):
            return False
    write_atomically(target, card_text(card, brief=True))
    return True


def _not_of(public: PublicNetwork, other: PublicNetwork | None, path: Path, sha256: str) -> SwapbenchError:
    """Why a file is none of a network's, as exactly as can be told."""
    name = public.card.name
    if other is not None:
        return BadModelFile(
            f"{path} is {other.card.name}, not {name}",
            remedy=f"Type: swapbench zoo get {other.card.name} {shlex.quote(str(path))}",
        )
    size = path.stat().st_size
    content = path.read_bytes() if size < LARGEST_TEXT else b"\0"
    if b"\0" not in content:  # a text: no file of weights is one
        refuse_foreign(path, content)
    where = f"Fetch it again as it says: swapbench zoo show {name}"
    same_name = next((file for file in public.files if file.name == path.name and file.bytes), None)
    if same_name is not None and size < (same_name.bytes or 0):
        return BadModelFile(
            f"{path} has {size:,} bytes of the {same_name.bytes:,} of {same_name.name}: it is cut short",
            remedy=where,
        )
    return BadModelFile(
        f"{path} ({size:,} bytes, sha256 {sha256[:12]}...) is none of the {_count(public.files)} of {name}",
        remedy=f"{where}. A file that you converted yourself can use the card that is shown there",
    )


def _count(files: Iterable[PublicFile]) -> str:
    number = len(list(files))
    return "1 known file" if number == 1 else f"{number} known files"
