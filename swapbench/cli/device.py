"""The commands about devices: devices, doctor, device prepare."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import Device, Json, Serial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.doctor import Finding

app = typer.Typer(help="Get a phone ready to be measured.", no_args_is_help=True)

MARKS = {
    "ok": "[green]ok[/green]",
    "limited": "[yellow]limited[/yellow]",
    "missing": "[red]missing[/red]",
}


def register(whole: typer.Typer) -> None:
    """Add these commands to the application."""
    whole.command()(devices)
    whole.command()(doctor)
    whole.add_typer(app, name="device")


def devices(json_out: Json = False) -> None:
    """The devices that swapbench knows, and the phones that are attached."""
    from swapbench.commands import listing

    found = listing.list_devices(terminal.folders())
    if json_out:
        print(json.dumps(asdict(found), indent=1, ensure_ascii=False))
        return
    terminal.print_rows(found.profiles, ("name", "kind", "attached", "summary"), "No device profiles found.")
    if found.phones:
        print()
        terminal.print_rows(found.phones, ("serial", "state", "model", "profiles"), "")
    else:
        terminal.say(found.note or "No phone is attached. Try the emulated one: make phone")


def doctor(device: Device = "local", serial: Serial = None, json_out: Json = False) -> None:
    """What can be measured on this computer or on a phone, and why the rest cannot."""
    from swapbench.commands import listing
    from swapbench.commands.device import DeviceRequest

    findings = listing.examine(terminal.folders(), DeviceRequest.of(device, serial))
    if json_out:
        print(json.dumps([vars(finding) for finding in findings], indent=1, ensure_ascii=False))
    else:
        _print_findings(findings)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(metavar="DEVICE", help="Device profile; see: swapbench devices.")],
    onnxruntime_aar: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Official Android archive of ONNX Runtime (.aar).")
    ] = None,
    litert_aar: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Official Android archive of LiteRT (.aar).")
    ] = None,
    benchmark_model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TFLite's benchmark_model for Android, for its delegates."),
    ] = None,
    serial: Serial = None,
    json_out: Json = False,
) -> None:
    """Put the native runner and the runtimes on a phone and try them there; without archives, portable libraries."""
    from swapbench.commands.device import Archives, DeviceRequest
    from swapbench.commands.device import prepare as get_ready

    with terminal.progress() as progress:
        rows = get_ready(
            terminal.folders(),
            DeviceRequest.of(name, serial),
            Archives(onnxruntime_aar, litert_aar, benchmark_model),
            progress=progress,
            say=terminal.say,
        )
    if json_out:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        terminal.print_rows(rows, ("runtime", "version", "flavour", "package", "providers", "library"), "")


@app.command()
def end(
    name: Annotated[str, typer.Argument(metavar="DEVICE", help="Device profile; see: swapbench devices.")],
    serial: Serial = None,
) -> None:
    """End what a phone does, or waits to do, by itself for run --detached, and throw away what it kept."""
    from swapbench.commands.device import DeviceRequest, end_detached

    ended = end_detached(terminal.folders(), DeviceRequest.of(name, serial))
    terminal.say("Ended and thrown away." if ended else "Nothing was left on the phone.")


def _print_findings(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(MARKS[finding.state], finding.name, terminal.plain(finding.detail))
        if finding.remedy:
            table.add_row("", "", f"[dim]-> {terminal.plain(finding.remedy)}[/dim]")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
