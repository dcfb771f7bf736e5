"""The commands about runtimes: what there is, and which have a Python environment of their own."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from swapbench.cli import terminal
from swapbench.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 80

RuntimeArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The runtime; swapbench runtimes lists them.")
]


def show(json_out: Json = False) -> None:
    """Show which runtimes work here, on what they could run, and how to get the rest."""
    from swapbench.commands import runtimes

    listed = runtimes.list_runtimes(terminal.folders())
    if json_out:
        terminal.print_result(listed.rows, (), "", json_out=True)
    else:
        _print(listed.rows)
    for notice in listed.notices:
        terminal.say(f"notice: {notice}")


def _print(rows: Sequence[dict[str, Any]]) -> None:
    """The table, and below it what does not fit into a cell."""
    from swapbench.records import SUFFIXES

    shown = [
        {
            "name": row["name"],
            "files": " ".join(f".{SUFFIXES.get(name, name).rpartition('.')[-1]}" for name in row["formats"]),
            "version": f"{row['package']} {row['version']}" if row["state"] == "ok" else row["state"],
            "threads": row["threads"],
            "accelerators": ", ".join(row["accelerators"]),
        }
        for row in rows
    ]
    terminal.print_rows(shown, ("name", "files", "version", "threads", "accelerators"), "", WIDTH)
    notes = []
    for row in rows:
        if row["interpreter"]:
            packages = ", ".join(f"{name} {version}" for name, version in row["packages"].items())
            there = f"{row['interpreter']} ({packages})" if packages else row["interpreter"]
            notes.append(f"{row['name']} runs with {there}")
        if row["added_by"]:
            notes.append(f"{row['name']} comes with the package {row['added_by']}")
        if row["detail"]:
            notes.append(f"{row['name']}: {row['detail']}. {row['remedy']}".rstrip())
    for note in notes:
        lines = textwrap.fill(
            note, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        terminal.show(f"\n{lines}")


def add(
    name: RuntimeArgument,
    python: Annotated[
        Path,
        typer.Option(
            "--python",
            metavar="PATH",
            help="Python interpreter that has the runtime and numpy, or the folder of its environment.",
        ),
    ],
) -> None:
    """Run a runtime with another Python, because its packages do not agree with ours.

    The choice holds for this folder and is written to runtimes/NAME.toml. That Python needs the runtime and
    numpy, and not swapbench.
    """
    from swapbench.commands import runtimes

    about = runtimes.add(terminal.folders(), name, python)
    packages = ", ".join(f"{package} {version}" for package, version in about.packages.items())
    terminal.say(f"{name} runs with {python} from now on ({packages}).")
    terminal.say(f"Next: swapbench run FILE --runtime {name}")


def remove(name: RuntimeArgument) -> None:
    """Run a runtime with swapbench's own Python again."""
    from swapbench.commands import runtimes

    runtimes.remove(terminal.folders(), name)
    terminal.say(f"{name} runs with swapbench's own Python again.")
