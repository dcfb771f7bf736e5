"""The command line: parse, call one function, print, exit status. The only package that prints.

Exit statuses: 0 fine; 1 the gate failed; 2 the user's mistake; 3 measured but not valid; 4 the device or the
environment failed; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from swapbench import environment, interrupts
from swapbench.cli import (
    card,
    clean,
    data,
    device,
    fleet,
    gate,
    history,
    inspect,
    latency,
    listing,
    profile,
    report,
    run,
    runtimes,
    scores,
    system,
    terminal,
    train,
    zoo,
)
from swapbench.cli.groups import ungrouped
from swapbench.cli.panels import Command, CommandGroup, ShowGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Commands = Sequence[Callable[..., Any]]

PANELS: Final[Mapping[str, Commands]] = {
    "Measure": (run.run, inspect.inspect, profile.profile, listing.doctor, listing.devices),
    "Compare": (report.report, gate.gate, gate.compare),
    "Data and scores": (card.card, scores.score, scores.metrics, scores.parity),
    "Make models": (listing.models, train.export, train.train, latency.latency_table),
    "Getting started": (listing.init, listing.version, clean.clean),
}
"""Panel of --help -> the commands in it. A command is called like its function."""

FAMILIES: Final[Mapping[str, tuple[str, str, Commands]]] = {
    "runtimes": (
        "Measure",
        "Show what runs files here, or give a runtime a Python of its own.",
        (runtimes.show, runtimes.add, runtimes.remove),
    ),
    "fleet": (
        "Measure",
        "Show the phones of several hosts, or be one of them.",
        (fleet.show, fleet.start, fleet.join),
    ),
    "device": ("Measure", "Prepare a phone for measuring.", (device.prepare, device.end, device.replay)),
    "baseline": ("Compare", "Save what later gates compare with.", (gate.save,)),
    "history": (
        "Compare",
        "Show how numbers moved from commit to commit.",
        (history.show, history.add, history.export),
    ),
    "data": ("Data and scores", "Simulate or check a dataset.", (data.simulate, data.check)),
    "system": (
        "Compare",
        "Let files and frames decide together: what that costs and gains.",
        (system.fuse, system.cascade, system.frames, system.compare),
    ),
    "zoo": ("Make models", "Find the cards of public networks.", (zoo.show, zoo.get)),
}
"""Command with commands of its own -> its panel, its help and these commands."""

FOR_OURSELVES: Final[Commands] = (train.judge,)
"""Commands that a process of ours starts, and nobody types."""


def _typer(text: str, *, kind: type[CommandGroup] = CommandGroup, completion: bool = False) -> typer.Typer:
    return typer.Typer(
        cls=kind,
        help=text,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _add(group: typer.Typer, commands: Commands, panel: str | None = None) -> None:
    for command in commands:
        kind = gate.TakesLists if command is gate.gate else Command
        group.command(cls=kind, rich_help_panel=panel)(ungrouped(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        listing.version()
        raise typer.Exit


def _app() -> typer.Typer:
    app = _typer(
        "Speed, weight, accuracy and power of face anti-spoofing models, measured in the file that ships.",
        completion=True,
    )

    @app.callback()
    def options(
        version: Annotated[
            bool,
            typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
        ] = False,
    ) -> None:
        del version  # its callback has ended the program

    for panel, commands in PANELS.items():
        _add(app, commands, panel)
        for name, (family_panel, text, members) in FAMILIES.items():
            if family_panel == panel:
                shows = any(member.__name__ == "show" for member in members)
                family = _typer(text, kind=ShowGroup if shows else CommandGroup)
                _add(family, members)
                app.add_typer(family, name=name, rich_help_panel=panel)
    for command in FOR_OURSELVES:
        app.command(cls=Command, hidden=True)(ungrouped(command))
    return app


app = _app()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (the console script exits with it)."""
    from typer.exceptions import TyperException

    from swapbench.errors import SwapbenchError, scarcity

    if argv is None:  # this process is ours
        environment.keep_caches_in(Path.cwd() / "build" / "cache")
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback_wanted = bool(os.environ.get("SWAPBENCH_TRACEBACK"))
    with terminal.standard_streams():
        try:
            status = _status_of(arguments)
            sys.stdout.flush()
        except TyperException as error:
            show = getattr(error, "show", None)
            if show is None:
                terminal.say(f"error: {error}")
            else:
                show()
            return 2
        except SwapbenchError as error:
            if traceback_wanted:
                raise
            terminal.say(f"error: {error}")
            return error.exit_status
        except Exception as error:
            if traceback_wanted:
                raise
            if (scarce := scarcity(error)) is not None:
                terminal.say(f"error: {scarce}")
                return scarce.exit_status
            terminal.say(
                f"error: {type(error).__name__}: {' '.join(str(error).split())}. This is a bug in swapbench: "
                "please report it with what the same command prints with SWAPBENCH_TRACEBACK=1."
            )
            return 4
        if status == interrupts.STATUS:  # typer turns Ctrl-C into this status too, without a word
            terminal.say(interrupts.SAID)
        return status


def _status_of(arguments: Sequence[str]) -> int:
    """Run the command; what typer raises to end a program is a status too."""
    try:
        return int(app(args=list(arguments), prog_name="swapbench", standalone_mode=False) or 0)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except typer.Abort as stop:
        if isinstance(stop.__cause__, EOFError):  # typer takes it for the end of what a person types
            raise stop.__cause__ from None
        return interrupts.STATUS
    except KeyboardInterrupt:
        return interrupts.STATUS
