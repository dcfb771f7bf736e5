"""What the zoo says on a terminal of 80 columns."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

import tomli_w

from swapbench import units
from swapbench.records import LICENCE_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swapbench.commands.zoo import Fetched
    from swapbench.records import PublicFile, PublicNetwork

WIDTH = 80
ASK = "The repository states no licence: ask its author before you use the files."


def listed(rows: Sequence[dict[str, Any]]) -> str:
    """Two lines a network: what it is, and what its author says of it.

    Args:
        rows: As zoo.row makes them.
    """
    if not rows:
        return "No networks found."
    names = max(len(row["name"]) for row in rows)
    lines = [f"{'name':{names}}  input    size     licence     formats"]
    for row in rows:
        formats = " ".join(row["formats"])
        lines.append(
            f"{row['name']:{names}}  {row['input']:7}  {row['size']:7}  {row['licence']:10}  {formats}"
        )
        if row["published"]:
            lines += _wrapped(f"{row['published']}, {row['measured on']}", "    ")
    lines.append("")
    notes = [
        "Sizes are of the largest file. Numbers are as published by the authors, not measured here.",
        "All that is known of one, and where its files are: swapbench zoo NAME",
    ]
    if any(row["licence"] == LICENCE_UNKNOWN for row in rows):
        notes.insert(1, f"Licence unknown: {ASK[0].lower()}{ASK[1:]}")
    return "\n".join([*lines, *(line for note in notes for line in _wrapped(note, ""))])


def whole(network: PublicNetwork) -> str:
    """Everything about one network; the card as TOML."""
    card = network.card
    lines = [*_wrapped(f"{card.name}: {card.summary}", ""), ""]
    lines += [f"licence  {card.licence}", f"source   {card.source}"]
    if card.licence == LICENCE_UNKNOWN:
        lines += _wrapped(ASK, "         ")
    if network.published:
        lines += ["", "As published by its author, not measured by swapbench:"]
        for text in published(network):
            lines += _wrapped(text, "  ")
    lines += ["", "Files, which swapbench does not fetch:"]
    for file in network.files:
        lines += _file_lines(file)
    lines += ["", "What goes in and what comes out was read from:"]
    lines += [line for text in network.read_from for line in _wrapped(text, "  ")]
    if network.uncertain:
        lines += ["", "Not verified, or not said by the card:"]
        lines += [line for text in network.uncertain for line in _wrapped(f"- {text}", "  ", "    ")]
    lines += ["", "The card of its files:", "", _card_lines(network)]
    lines += ["", f"Next: fetch a file, then type swapbench zoo get {card.name} FILE"]
    return "\n".join(lines)


def published(network: PublicNetwork) -> list[str]:
    """What is published, a line for the numbers that stand in one place for one set of data."""
    groups: dict[tuple[str, str], list[str]] = {}
    for number in network.published:
        groups.setdefault((number.data, number.stated), []).append(f"{number.metric} {number.value}")
    return [f"{'; '.join(numbers)}: {data} ({stated})" for (data, stated), numbers in groups.items()]


def place(file: PublicFile) -> str:
    """Where a file is to be had in its repository."""
    if file.release:
        return f"release {file.release}, {file.path}"
    return f"commit {file.commit}, {file.path}" if file.commit else file.path


def fetched(result: Fetched) -> Iterator[str]:
    """What was checked, and what can be typed now."""
    state = "" if result.new else ", which lay there already"
    network = result.network.card
    yield f"{result.path} is {result.file.name} of {network.name}; its card is {result.card}{state}"
    if network.licence == LICENCE_UNKNOWN:
        yield ASK
    if result.exportable:
        yield f"Next: swapbench export {shlex.quote(str(result.card))}"
    elif result.file.format == "pth":
        yield (
            "swapbench cannot build this network: export it with its author's code to "
            f"{result.path.with_suffix('.onnx')}, which uses the card"
        )
    else:
        yield f"Next: swapbench run {shlex.quote(str(result.path))}"


def _card_lines(network: PublicNetwork) -> str:
    """Preprocessing and output as TOML."""
    card = network.card.model_dump(include={"name", "preprocessing", "output"}, exclude_unset=True)
    return textwrap.indent(tomli_w.dumps(card).rstrip(), "    ")


def _file_lines(file: PublicFile) -> Iterator[str]:
    size = units.size(file.bytes) if file.bytes else "size not stated"
    yield f"  {file.name}"
    yield f"    {file.format} {file.precision}, {size}"
    yield f"    sha256 {file.sha256}"
    yield f"    {file.repository}"
    yield from _wrapped(place(file), "    ")
    if file.note:
        yield from _wrapped(file.note, "    ")


def _wrapped(text: str, indent: str, later: str | None = None) -> list[str]:
    """The lines of a text, indented; those after the first by `later`."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if later is None else later,
        break_long_words=False,
        break_on_hyphens=False,
    )
