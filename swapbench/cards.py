"""Model cards as TOML files: what a person reads and edits, and what the catalogue loads.

Needs no PyTorch. Reading checks every field (records.ModelCard); writing is stable: the same card gives the same bytes.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from swapbench.errors import BadCard
from swapbench.records import ModelCard

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINE_CHARACTERS = 100


def read_card(path: Path) -> ModelCard:
    """The card in a TOML file. Raises BadCard naming the file and the field."""
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
            f"{path}: {first_problem(error)}", remedy="The fields are described in docs/ and in models/."
        ) from error


def first_problem(error: ValidationError) -> str:
    """The first complaint of a validation as 'field: reason', and how many more there are."""
    problems = error.errors(include_url=False)
    where = ".".join(str(part) for part in problems[0]["loc"]) or "the whole"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {problems[0]['msg']}{more}"


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card as TOML, whole or not at all."""
    text = toml_text(card.model_dump(mode="json"))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def toml_text(table: Mapping[str, Any]) -> str:
    """TOML of nested tables of text, numbers, truth values and lists. None is left out: TOML has no null."""
    lines: list[str] = []
    _table(table, (), lines)
    return "\n".join(lines).strip("\n") + "\n"


def _table(table: Mapping[str, Any], name: tuple[str, ...], lines: list[str]) -> None:
    plain = {
        key: value
        for key, value in table.items()
        if value is not None and (not isinstance(value, dict) or not value)
    }
    tables = {key: value for key, value in table.items() if isinstance(value, dict) and value}
    if name and (plain or not tables):
        lines += ["", f"[{'.'.join(_key(part) for part in name)}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in tables.items():
        _table(value, (*name, key), lines)


def _key(key: str) -> str:
    bare = key and all(
        character.isascii() and (character.isalnum() or character in "-_") for character in key
    )
    return key if bare else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if value == {}:
        return "{}"
    if isinstance(value, list | tuple):
        return _list([_value(item) for item in value])
    raise BadCard(f"a card cannot hold {type(value).__name__} {value!r}")


def _list(items: list[str]) -> str:
    short = f"[{', '.join(items)}]"
    if len(short) <= _LINE_CHARACTERS:
        return short
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > _LINE_CHARACTERS:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join(["[", *lines, line, "]"])


def _text(text: str) -> str:
    escaped = (
        text.replace("\\", "\\\\")
        .replace('"', '\\"')
        .replace("\n", "\\n")
        .replace("\t", "\\t")
        .replace("\r", "\\r")
    )
    return '"' + "".join(c if c.isprintable() or c == " " else f"\\U{ord(c):08x}" for c in escaped) + '"'
