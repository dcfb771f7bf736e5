"""The model files that a person named: what each is called, and the card that says what it expects.

A name is a file, a file with its card (`net.onnx=cards/net.toml`), or a folder, which stands for every model
file in it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swapbench import catalog
from swapbench.errors import BadCard, SwapbenchError, UserError
from swapbench.files import toml_table
from swapbench.modelfile import KINDS, MODEL_SUFFIXES
from swapbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.catalog import Folders
    from swapbench.records import ModelCard


@dataclass(frozen=True)
class NamedFile:
    """A model file as a person named it.

    Attributes:
        path: The file.
        title: What tables call it: its name, with as many folders as tell it from the others.
        card: The card that was named for this file alone, "" for none.
    """

    path: Path
    title: str
    card: str = ""


def named_files(names: Sequence[str]) -> tuple[NamedFile, ...]:
    """The files that `names` mean, each once.

    Raises:
        UserError: A folder holds no model file.
    """
    cards: dict[Path, str] = {}
    for name in names:
        path, card = with_card(name)
        files = models_below(path) if path.is_dir() else [path]
        if not files:
            raise UserError(
                f"the folder {path} holds no {KINDS} file",
                remedy="Name model files, or a folder that holds some",
            )
        for file in files:
            cards[file] = card or cards.get(file, "")
    return tuple(
        NamedFile(path, title, card)
        for (path, card), title in zip(cards.items(), distinct_names(list(cards)), strict=True)
    )


def named_file(name: str) -> NamedFile:
    """The one file that `name` means.

    Raises:
        UserError: It means several.
    """
    files = named_files((name,))
    if len(files) > 1:
        raise UserError(f"{name} holds {len(files)} model files", remedy="Name one of them")
    return files[0]


def with_card(name: str) -> tuple[Path, str]:
    """A name that exists is a file, whatever is in it; else what follows its last '=' is a card."""
    file, equals, card = name.rpartition("=")
    if equals and file and card and not Path(name).exists():
        return Path(file), card
    return Path(name), ""


def models_below(folder: Path) -> list[Path]:
    """The model files in a folder, at any depth."""
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in MODEL_SUFFIXES and path.is_file()
    )


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The names of files; where several have one name, with as many of their folders as tell them apart."""
    wholes = [path.absolute().parts[1:] for path in paths]
    depths = [1] * len(paths)
    while True:
        names = ["/".join(parts[-depth:]) for parts, depth in zip(wholes, depths, strict=True)]
        counts = Counter(names)
        alike = (place for place, name in enumerate(names) if counts[name] > 1)
        short = [place for place in alike if depths[place] < len(wholes[place])]
        if not short:
            return names
        for place in short:
            depths[place] += 1


# ------------------------------------------------------------------------------------------------ their cards


@dataclass(frozen=True)
class CardFinder:
    """Finds the card of a model file.

    The first of: the card that was named for the file, the one that was named for all files, `net.toml`
    beside `net.onnx`, the one that swapbench wrote into the file.

    Attributes:
        folders: Of the working folder, where named cards are looked for.
        for_all: The card of all files that have none of their own named.
    """

    folders: Folders
    for_all: ModelCard | None = None

    @classmethod
    def named(cls, folders: Folders, card: str | None) -> CardFinder:
        """With the card `card` (a name or a file) for all files.

        Raises:
            UnknownName: There is no such card.
            BadCard: It is malformed.
        """
        return cls(folders, catalog.model(folders, card).card if card else None)

    def card(self, file: NamedFile, metadata: dict[str, Any] | None) -> ModelCard | Absent | None:
        """The card of a file, why the one that it has cannot be used, or None where it has none.

        Args:
            file: The model file.
            metadata: The description that swapbench wrote into it, if it did.
        """
        try:
            if file.card:
                return catalog.model(self.folders, file.card).card
            if self.for_all is not None:
                return self.for_all
            beside = file.path.with_suffix(".toml")
            if _is_card(beside):
                return catalog.model(self.folders, str(beside)).card
            return None if metadata is None else own_card(file.path, metadata)
        except SwapbenchError as error:
            return Absent(absent=f"its card cannot be used: {error.args[0]}", remedy=error.remedy)


def _is_card(path: Path) -> bool:
    """Whether a file is meant as a card: TOML files of other kinds may lie beside models too."""
    if not path.is_file():
        return False
    try:
        raw = toml_table(path, "card")
    except UserError:
        return True  # it lies where a card lies: better to say that it cannot be read than to pass over it
    return not {"preprocessing", "output"}.isdisjoint(raw)


def own_card(path: Path, metadata: dict[str, Any]) -> ModelCard:
    """The card that a file exported by swapbench carries in its metadata.

    Raises:
        BadCard: The metadata are damaged.
    """
    from pydantic import ValidationError

    from swapbench.cards import first_problem
    from swapbench.records import ModelCard

    try:
        return ModelCard(
            name=metadata["network"],
            recipe=metadata.get("recipe"),
            summary="read from the metadata of the file",
            checkpoint_sha256=metadata.get("checkpoint_sha256", ""),
            preprocessing=metadata["preprocessing"],
            output=metadata["output"],
            reads=metadata.get("reads"),
        )
    except (KeyError, ValidationError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else first_problem(error, ModelCard)
        raise BadCard(
            f"the swapbench metadata in {path} cannot be used: {reason}",
            remedy="Export the file again, or name its card: FILE=CARD.toml",
        ) from error
