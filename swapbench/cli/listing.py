"""The commands that look around: models, devices, doctor, init, version."""

from __future__ import annotations

import json
import pydoc
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench import __version__
from swapbench.cli import terminal
from swapbench.cli.options import Json, Phone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.commands.options import DeviceOptions
    from swapbench.records import Finding

MARKS = {"ok": "[green]ok[/green]", "limited": "[yellow]limited[/yellow]", "missing": "[red]missing[/red]"}


def models(json_out: Json = False) -> None:
    """List the known networks: size, input and how they were made."""
    from swapbench.commands import listing

    rows, errors = listing.list_models(terminal.folders())
    columns = ("name", "input", "made", "dev EER", "summary")
    terminal.print_result(rows, columns, "No model cards found.", json_out=json_out)
    for error in errors:
        terminal.say(f"error: {error}")


def devices(json_out: Json = False) -> None:
    """List the known devices and the phones that are attached."""
    from swapbench.commands import listing

    listed = listing.list_devices(terminal.folders())
    if json_out:
        terminal.show(json.dumps(asdict(listed), indent=1, ensure_ascii=False))
        return
    terminal.print_rows(listed.profiles, ("name", "kind", "attached", "summary"), "No device profiles found.")
    if listed.phones:
        terminal.show("")
        terminal.print_rows(listed.phones, ("serial", "state", "model", "profiles"), "")
    else:
        terminal.say(listed.note or "No phone is attached. Try the emulated one: make phone")


def doctor(
    *,
    device: Phone,
    noise: Annotated[
        bool,
        typer.Option(
            "--noise/--no-noise",
            show_default=False,
            help="Measure this computer's noise too, in ten seconds. This is the default.",
        ),
    ] = True,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write what a phone answers to a zip that you can send with a question. Serials, accounts "
            "and names of networks are taken out, and you see all of it first.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Write the --bundle without asking, once it was shown.")
    ] = False,
    json_out: Json = False,
) -> None:
    """Show what can be measured on this computer or a phone, how surely, and how to get the rest."""
    from swapbench.commands import listing
    from swapbench.commands import noise as noise_command

    if bundle is not None:
        _bundle(device, bundle, asks=not yes, json_out=json_out)
        return
    findings = list(listing.examine(terminal.folders(), device))
    if noise and device.name == "local":
        with terminal.progress() as progress:
            findings.append(noise_command.noise(terminal.folders(), progress=progress))
    if json_out:
        terminal.show(json.dumps([vars(finding) for finding in findings], indent=1, ensure_ascii=False))
    else:
        print_findings(findings)


def _bundle(device: DeviceOptions, path: Path, *, asks: bool, json_out: bool) -> None:
    """Show a report of a phone, ask, and write it."""
    from swapbench.commands.phone_report import make_report
    from swapbench.errors import UserError
    from swapbench.texts import visible

    if json_out:
        raise UserError(
            "--bundle shows a text to be read, which --json cannot", remedy="Leave one of them out"
        )
    if asks and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "--bundle asks before it writes, and there is no terminal to answer at",
            remedy="Add --yes, and read what it shows before you send the file",
        )
    report = make_report(terminal.folders(), device)
    text = visible(report.shown(), keep="\n\t")
    if asks:
        pydoc.pager(text)
    else:
        terminal.show(text)
    print_findings(report.findings)
    taken = ", ".join(f"{kind} {count}x" for kind, count in sorted(report.removed.items())) or "nothing"
    terminal.say(f"Taken out: {taken}. Not asked for: apps, logs, files of yours.")
    if asks and not typer.confirm(f"Write {path}?"):
        terminal.say("Nothing was written.")
        return
    report.write(path)
    terminal.say(f"Wrote {path}. What swapbench makes of it: swapbench device replay {path}")


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Folder to begin in, made if it does not exist. By default this one."
        ),
    ] = Path(),
) -> None:
    """Make a starter folder: a model card and a gate policy to fill in."""
    from swapbench.commands.starter import make_starter

    written, untouched = make_starter(folder)
    for path in untouched:
        terminal.say(f"kept {path} as it is")
    for path in written:
        terminal.show(path)
    terminal.say(f"Next: read {folder / 'README.md'}, then type swapbench doctor")


def version() -> None:
    """Print the version of swapbench."""
    terminal.show(__version__)


def print_findings(findings: Sequence[Finding]) -> None:
    """What the doctor found, each with its remedy."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(MARKS[finding.state], finding.name, terminal.plain(finding.detail))
        if finding.remedy:
            table.add_row("", "", f"[dim]-> {terminal.plain(finding.remedy)}[/dim]")
    terminal.print_table(table, 120)
