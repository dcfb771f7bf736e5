"""`swapbench init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench.cli import terminal

if TYPE_CHECKING:
    from typer import Typer


def register(app: Typer) -> None:
    """Add the command to the command line."""
    app.command()(init)


def init(
    folder: Annotated[
        Path, typer.Argument(help="Folder to begin in; the current one if not given.")
    ] = Path(),
) -> None:
    """Make a starter folder: a model card and a gate policy to fill in, and what to type next."""
    from swapbench.commands.starter import make_starter

    written, kept = make_starter(folder)
    for path in kept:
        terminal.say(f"kept {path} as it is")
    for path in written:
        print(path)
    terminal.say(f"Next: read {folder / 'README.md'}, then type swapbench doctor")
