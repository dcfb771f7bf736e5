"""Model cards as TOML files: what a person reads and edits, and what the catalogue loads.

Needs no PyTorch. Reading checks every field (records.ModelCard); writing is stable: the same card gives the
same bytes.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import tomli_w
from pydantic import ValidationError

from swapbench.errors import BadCard
from swapbench.files import write_atomically
from swapbench.records import ModelCard

if TYPE_CHECKING:
    from pathlib import Path


def read_card(path: Path) -> ModelCard:
    """The card in a TOML file.

    Raises:
        BadCard: the file cannot be read, or a field is wrong; the message names it.
    """
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise BadCard(f"cannot read the card {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadCard(f"{path} is not TOML: {error}") from error
    try:
        return ModelCard.model_validate(raw)
    except ValidationError as error:
        raise BadCard(
            f"{path}: {first_problem(error)}",
            remedy="Compare it with a card in models/; swapbench.records.ModelCard describes the fields.",
        ) from error


def first_problem(error: ValidationError) -> str:
    """The first complaint of a validation as 'field: reason', and how many more there are."""
    problems = error.errors(include_url=False)
    where = ".".join(str(key) for key in problems[0]["loc"]) or "the whole"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {problems[0]['msg']}{more}"


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card as TOML, completely or not at all. None is left out: TOML has no null.

    Raises:
        BadCard: the architecture holds something that TOML cannot express.
    """
    try:
        text = tomli_w.dumps(card.model_dump(exclude_none=True))
    except TypeError as error:
        raise BadCard(f"the card of {card.name} cannot be written: {error}") from error
    write_atomically(path, text)
