"""The fields of a model card as tables for people, made from the models.

python tests/card_fields.py     # writes them into docs/cards.md
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from swapbench.records import Frozen, ModelCard, OutputMeaning, Preprocessing, Reads, Training

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE = Path(__file__).parents[1] / "docs" / "cards.md"
TABLES: Mapping[str, type[Frozen]] = {
    "Above the tables": ModelCard,
    "[preprocessing]": Preprocessing,
    "[output]": OutputMeaning,
    "[reads]": Reads,
    "[training]": Training,
}
BEGIN, END = "<!-- made by tests/card_fields.py: begin -->", "<!-- made by tests/card_fields.py: end -->"
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}


def fields_text() -> str:
    """A heading and a table for each part of a card."""
    return "\n\n".join(f"### {heading}\n\n{_table(model)}" for heading, model in TABLES.items())


def with_fields(page: str) -> str:
    """The page with the tables between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{fields_text()}\n\n{END}{after}"


def meanings(model: type[Frozen]) -> dict[str, str]:
    """Field -> what the docstring says of it, in one line."""
    _, _, listed = inspect.getdoc(model).partition("Attributes:\n")  # type: ignore[union-attr]
    entries = re.split(r"^    (?=\w+: )", listed, flags=re.MULTILINE)[1:]
    parted = (entry.split(": ", 1) for entry in entries)
    return {name: " ".join(text.split()) for name, text in parted}


def _table(model: type[Frozen]) -> str:
    texts = meanings(model)
    rows = [
        f"| `{name}` | {_values(field.annotation)} | {_default(field)} | {_cell(texts[name])} |"
        for name, field in model.model_fields.items()
    ]
    return "\n".join(["| key | value | without it | meaning |", "|---|---|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*")


def _values(kind: Any) -> str:
    """What may be written, in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _values(parts[0])
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in parts)
    if origin in {Union, UnionType}:
        return " or ".join(_values(part) for part in parts if part is not NoneType)
    if origin is tuple:
        one = _values(parts[0])
        return f"{one} or list of {one}s" if one == WORDS[float] else f"list of {one}s"
    if origin is dict:
        return "table"
    if isinstance(kind, type) and issubclass(kind, Frozen):
        return "table, see below"
    return WORDS[kind]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ("", {}, ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(with_fields(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
