"""The commands of the zoo: cards of networks that others have published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import Json


def show(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A network. By default all, a few words on each.")
    ] = None,
    json_out: Json = False,
) -> None:
    """Show public networks: licence, size, input and published number, or all that is known of one."""
    from swapbench.commands import zoo, zoo_text

    folders = terminal.folders()
    if name is not None:
        network = zoo.network(folders, name)
        as_json = network.model_dump_json(indent=1, exclude_unset=True)
        terminal.show(as_json if json_out else zoo_text.whole(network))
        return
    networks, errors = zoo.networks(folders)
    rows = [zoo.row(network) for network in networks]
    terminal.show(json.dumps(rows, indent=1, ensure_ascii=False) if json_out else zoo_text.listed(rows))
    for error in errors:
        terminal.say(f"error: {error}")


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The network, as swapbench zoo lists it.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that you fetched.")],
) -> None:
    """Check a file that you fetched, by its digest, and write its card beside it. Nothing is downloaded."""
    from swapbench.commands import zoo, zoo_text

    fetched = zoo.get(terminal.folders(), name, file)
    terminal.show(fetched.card)
    for line in zoo_text.fetched(fetched):
        terminal.say(line)
