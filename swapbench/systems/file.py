"""Systems as TOML files: what a person reads and edits, and what a run takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomli_w
from pydantic import ValidationError

from swapbench.cards import first_problem
from swapbench.errors import UserError
from swapbench.files import toml_table, write_atomically
from swapbench.records import System

if TYPE_CHECKING:
    from pathlib import Path


def read_system(path: Path) -> System:
    """The system in a TOML file.

    Raises:
        UserError: the file cannot be read, or a field is wrong; the message names it
    """
    raw = toml_table(path, "system")
    try:
        return System.model_validate(raw)
    except ValidationError as error:
        raise UserError(
            f"{path}: {first_problem(error, System)}",
            remedy="docs/systems.md describes every field; swapbench system writes such files.",
        ) from error


def system_text(system: System) -> str:
    """A system as TOML, the same for the same system."""
    return tomli_w.dumps(system.model_dump(mode="python", exclude_none=True))


def write_system(system: System, path: Path) -> None:
    """Write a system as TOML, completely or not at all."""
    write_atomically(path, system_text(system))
