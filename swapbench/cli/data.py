"""The commands about datasets: data simulate, data check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import DataRoot, Images, Json, Protocol


def simulate(
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="Folder for an OULU-NPU-named tree with protocols. By default the standard set in data/.",
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="oulu or manifest. By default oulu if OUT is given.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="train, dev or test (manifest only). By default all."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Random seed. By default the standard set's.")
    ] = None,
    world: Annotated[
        int | None,
        typer.Option(metavar="N", help="Which world (manifest only): 1, of the bundled networks, or 2."),
    ] = None,
    modalities: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="rgb, or with depth and nir beside it (manifest only), as in rgb,depth,nir."
        ),
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw a contact sheet, a PNG file.")
    ] = None,
) -> None:
    """Simulate a dataset: procedural faces, printed and replayed, through simulated cameras."""
    from swapbench import catalog
    from swapbench.commands import data
    from swapbench.errors import UserError

    chosen = layout or ("manifest" if out is None else "oulu")
    catalog.checked_names("layout", (chosen,), ("oulu", "manifest"))
    with terminal.progress() as progress:
        if chosen == "manifest":
            request = data.Simulated(split or (), seed, world, modalities)
            folder = data.simulate(terminal.folders(), request, out, contact_sheet, progress=progress)
        elif out is None:
            raise UserError("an OULU-NPU tree needs a folder", remedy="swapbench data simulate FOLDER")
        elif split or world is not None or modalities is not None:
            option = "--split" if split else "--world" if world is not None else "--modalities"
            raise UserError(
                f"{option} is for --layout manifest",
                remedy="An OULU-NPU tree always has all splits, RGB only, and cameras of its own",
            )
        else:
            folder = data.simulate_oulu(out, seed, contact_sheet, progress=progress)
    terminal.show(folder)


def check(
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="Dataset folder or manifest. By default the simulated set."),
    ] = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    images: Images = None,
    json_out: Json = False,
) -> int:
    """Check a dataset against its official counts and list what is missing."""
    from swapbench.commands import data as commands
    from swapbench.commands.options import DataOptions

    options = DataOptions(data, data_root, protocol, images=images)
    with terminal.progress() as progress:
        result = commands.check(terminal.folders(), options, progress=progress)
    if json_out:
        terminal.show(json.dumps(result.as_json(), indent=1, ensure_ascii=False))
    else:
        terminal.show(result.title)
        columns = ("fold", "split", "class", "found", "official", "subjects")
        terminal.print_rows(result.table(), columns, "Nothing was found.")
        for line in result.lines():
            terminal.show(line)
    return 0 if result.complete else 3
