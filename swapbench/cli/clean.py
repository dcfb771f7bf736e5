"""The command that deletes what is kept: clean."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from swapbench.cli import terminal


def clean(
    crops: Annotated[
        bool, typer.Option("--crops", help="Delete the crops of faces that were kept from the data.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Delete all of build/: crops, scores, exported files, trainings."),
    ] = False,
) -> None:
    """Delete what can be made again; without an option, list it with its size."""
    from swapbench import units
    from swapbench.commands import face_cache

    folders = terminal.folders()
    if crops or everything:
        parts = face_cache.clean(folders, everything=everything)
        nothing = "Nothing to delete."
    else:
        parts = face_cache.kept(folders)
        nothing = "Nothing is kept."
    rows = [{"path": os.path.relpath(part.path), "size": units.size(part.size_bytes)} for part in parts]
    terminal.print_rows(rows, ("path", "size"), nothing)
