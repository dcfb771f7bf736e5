"""Model cards as TOML files: what a person reads and edits, and what the catalogue loads.

Needs no PyTorch. Reading checks every field (records.ModelCard); writing is stable: the same card gives the
same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from swapbench.errors import BadCard, nearest
from swapbench.files import toml_table, write_atomically
from swapbench.records import ModelCard, PublicNetwork

if TYPE_CHECKING:
    from pathlib import Path

Value = TypeVar("Value", bound=BaseModel)


def read_card(path: Path) -> ModelCard:
    """The card in a TOML file.

    Raises:
        BadCard: the file cannot be read, or a field is wrong; the message names it.
    """
    return _validated(ModelCard, toml_table(path, "card", BadCard), path)


def read_network(path: Path) -> PublicNetwork:
    """A network of the zoo: a card in a TOML file, with what is known of its files.

    Raises:
        BadCard: the file cannot be read, a field is wrong, or the network is not called like the file.
    """
    raw = toml_table(path, "card", BadCard)
    beside = {name: raw.pop(name) for name in PublicNetwork.model_fields if name != "card" and name in raw}
    card = _validated(ModelCard, raw, path)
    if card.name != path.stem:
        raise BadCard(f"{path} is the card of {card.name}", remedy=f"Call it {card.name}.toml")
    return _validated(PublicNetwork, {"card": card, **beside}, path)


def _validated(kind: type[Value], raw: dict[str, Any], path: Path) -> Value:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise BadCard(
            f"{path}: {first_problem(error, kind)}",
            remedy="docs/cards.md describes every field; swapbench init writes a card to begin with.",
        ) from error


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """The first complaint of a validation as 'field: reason', and how many more there are.

    A key that the model does not know comes first, because a field that is missing may only be misspelt.

    Args:
        error: of the validation
        model: that was to be made
    """
    problems = error.errors(include_url=False)
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    first = (unknown or problems)[0]
    if unknown:
        text = _unknown_key(first["loc"], model)
    else:
        where = ".".join(str(key) for key in first["loc"]) or "the whole"
        text = f"{where}: {first['msg'].removeprefix('Value error, ')}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{text}{more}"


def _unknown_key(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """What is unknown, in which table, and the table it belongs to or the nearest key that this one knows."""
    *tables, key = place
    known, names = [model], []
    for table in tables:
        inner = [part for candidate in known for part in _inner_models(candidate, table)]
        if inner:
            known = inner
            names.append(str(table))
        else:  # a position in a list, or the tag of one of several models
            known = [candidate for candidate in known if _has_tag(candidate, table)] or known
    fields = sorted({field for candidate in known for field in candidate.model_fields})
    text = f"unknown key `{key}`" + (f" in [{'.'.join(names)}]" if names else "")
    if key in model.model_fields:
        return f"{text}; it belongs above the tables"
    for table in model.model_fields:
        if table not in names and any(
            key in candidate.model_fields for candidate in _inner_models(model, table)
        ):
            return f"{text}; it belongs in [{table}]"
    if near := nearest(str(key), fields):
        return f"{text}; did you mean {near[0]}?"
    return f"{text}; known are {', '.join(fields)}"


def _has_tag(model: type[BaseModel], tag: int | str) -> bool:
    """Whether a tag, such as method = "uniform", tells this model from others that a field may hold."""
    return any(get_args(field.annotation) == (tag,) for field in model.model_fields.values())


def _inner_models(model: type[BaseModel], field: int | str) -> list[type[BaseModel]]:
    """The models that a field may hold, also as an alternative or in a list."""
    found, types = [], [model.model_fields[field].annotation] if field in model.model_fields else []
    while types:
        candidate = types.pop()
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            found.append(candidate)
        types += get_args(candidate)
    return found


def card_text(card: ModelCard, *, brief: bool = False) -> str:
    """A card as TOML. None is left out: TOML has no null.

    Args:
        card: the card
        brief: leave out what nobody said and therefore stands at its default

    Raises:
        BadCard: the architecture holds something that TOML cannot express.
    """
    try:
        return tomli_w.dumps(card.model_dump(exclude_none=True, exclude_unset=brief))
    except TypeError as error:
        raise BadCard(f"the card of {card.name} cannot be written: {error}") from error


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card as TOML, completely or not at all.

    Raises:
        BadCard: the architecture holds something that TOML cannot express.
    """
    write_atomically(path, card_text(card))
