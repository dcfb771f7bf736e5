"""Prints docs/zoo.md, which is made from the cards in models/zoo.

python tests/zoo_page.py > docs/zoo.md
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.cards import read_network
from swapbench.commands import zoo
from swapbench.commands.zoo_text import place, published

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.records import PublicFile, PublicNetwork

NETWORKS = Path(__file__).parents[1] / "models" / "zoo"

HEAD = """
# The zoo: public networks

<!-- Made from models/zoo by tests/zoo_page.py; edit the cards, not this page. -->

Cards of {count} face anti-spoofing networks that others have published. swapbench carries facts only: what
goes in, what comes out, where the files lie and their digests. It downloads nothing and holds no weights. You
fetch a file, and swapbench checks it and writes its card beside it:

    swapbench zoo                                          # the list
    swapbench zoo show minifasnet_v2_minivision            # all that is known of one
    swapbench zoo get minifasnet_v2_minivision FILE        # checks the file, writes its card
    swapbench run FILE --data faces/                       # uses the card that lies beside the file

`get` tells a file by its sha256. It says so where the file is another network of this list, where it was cut
short, and where a web page or a Git LFS pointer was saved in its place. Of a checkpoint whose network
swapbench can build it writes a card for `swapbench export`; other checkpoints are to be exported with their
authors' code. A card of your own in `models/zoo/` of the working folder joins the list.

**Numbers are as their authors published them.** None was measured by swapbench, they come from different data
and protocols, and they cannot be compared with each other. **A licence is what the repository states**;
"unknown" means that no licence was found there: ask the author before you use the files.

| network | input | formats | licence | as published |
|---|---|---|---|---|
"""

TAIL = """
## Left out

The networks of Silent-Face-Anti-Spoofing's Android app are in the format of ncnn. They run (`swapbench run
model_1.param`), but the list has no card of them. The first versions of syaringan357's app take six channels,
hue, saturation and value beside red, green and blue, which a card cannot say; of four later ones the code
that fed them was not found at the same commit. Networks whose files nobody gives a digest of are left out
too, among them DeePixBiS of ffletcherr/face-recognition-liveness and the network with two classes of
hairymax/Face-AntiSpoofing.
"""


def page() -> str:
    """The whole page."""
    networks = [read_network(path) for path in sorted(NETWORKS.glob("*.toml"))]
    table = "\n".join(map(table_row, networks))
    sections = "\n".join(line for network in networks for line in section(network))
    head = HEAD.lstrip().format(count=len(networks))
    return f"{head}{table}\n\n{sections}{TAIL}"


def table_row(network: PublicNetwork) -> str:
    """A line of the table."""
    row = zoo.row(network)
    number = f"{row['published']}: {row['measured on']}" if row["published"] else ""
    name = row["name"]
    return (
        f"| [{name}](#{name}) | {row['input']} | {', '.join(row['formats'])} | {row['licence']} | {number} |"
    )


def section(network: PublicNetwork) -> Iterator[str]:
    """What is known of one network."""
    card = network.card
    yield f"## {card.name}\n"
    yield wrapped(f"{card.summary}. Licence: {card.licence}. Source: <{card.source}>.") + "\n"
    yield "| file | precision | bytes | sha256 | where |"
    yield "|---|---|--:|---|---|"
    yield from map(file_row, network.files)
    if network.published:
        yield "\nAs published, not measured:\n"
        yield from map(item, published(network))
    yield "\nInput and output were read from:\n"
    yield from map(item, network.read_from)
    if network.uncertain:
        yield "\nNot verified, or not said by the card:\n"
        yield from map(item, network.uncertain)
    yield ""


def file_row(file: PublicFile) -> str:
    """A line of a network's files."""
    size = f"{file.bytes:,}" if file.bytes else "not stated"
    where = f"<{file.repository}>, {place(file)}" + (f" ({file.note})" if file.note else "")
    return f"| `{file.name}` | {file.precision} | {size} | `{file.sha256}` | {where} |"


def wrapped(text: str) -> str:
    """A paragraph of at most 110 characters."""
    return textwrap.fill(text, 108, break_long_words=False, break_on_hyphens=False)


def item(text: str) -> str:
    """An item of a list."""
    return textwrap.indent(wrapped(text), "  ").replace("  ", "- ", 1)


if __name__ == "__main__":
    sys.stdout.write(page())
