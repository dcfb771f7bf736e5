"""docs/cards.md: every field is described as the models are, and the cards that it shows are whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from card_fields import PAGE, TABLES, meanings, with_fields

from swapbench.cards import read_card

if TYPE_CHECKING:
    from pathlib import Path

    from swapbench.records import Frozen


def examples() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_page_has_the_fields_of_the_models() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_fields(text), "write them with: python tests/card_fields.py"


@pytest.mark.parametrize("model", TABLES.values())
def test_every_field_of_a_card_is_described_and_nothing_else(model: type[Frozen]) -> None:
    assert list(meanings(model)) == list(model.model_fields)


@pytest.mark.parametrize("text", examples(), ids=["classes", "expression", "checkpoint"])
def test_a_card_that_the_page_shows_can_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.toml").write_text(text, encoding="utf-8")
    card = read_card(tmp_path / "card.toml")
    assert card.licence
    assert bool(card.family) == bool(card.checkpoint)


def test_the_cards_that_the_page_shows_are_of_three_kinds(tmp_path: Path) -> None:
    cards = []
    for number, text in enumerate(examples()):
        (tmp_path / f"{number}.toml").write_text(text, encoding="utf-8")
        cards.append(read_card(tmp_path / f"{number}.toml"))
    assert [card.output.kind for card in cards] == ["logits", "expression", "logits"]
    assert cards[2].drop_keys == ("module.FTGenerator.*",)
    assert cards[2].rename_keys == {r"^module\.model\.": ""}
