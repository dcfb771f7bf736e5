"""The command that measures what a budget in milliseconds is held against: latency-table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import ChannelMultiple, Cores, Device, Json, Serial, Threads


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(name="latency-table")(latency_table)


def latency_table(
    name: Annotated[
        str, typer.Argument(help="Recipe (name or file) of a network that can be pruned: mobilefacenet.")
    ],
    runtime: Annotated[
        str, typer.Option(metavar="NAME", help="onnxruntime or litert: one runtime, one table.")
    ] = "onnxruntime",
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32, fp16 or int8.")] = "fp32",
    device: Device = "local",
    serial: Serial = None,
    cores: Cores = None,
    threads: Threads = 1,
    points: Annotated[
        int,
        typer.Option(
            min=2, help="Widths of each layer that are measured; between them times are interpolated."
        ),
    ] = 4,
    channel_multiple: ChannelMultiple = None,
    check: Annotated[
        int,
        typer.Option(
            min=0, help="Whole networks that are measured too, to see how well sums of layers predict them."
        ),
    ] = 6,
    out: Annotated[
        Path | None, typer.Option(help="The table's file; in reports/latency/ if not given.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="Measure again what is there, replacing it.")] = False,
    json_out: Json = False,
) -> None:
    """Measure how long each layer of a network takes at each width, so that pruning can keep to milliseconds instead of MACs.

    The table is for: swapbench train NAME --recipe metapruning --latency-table FILE --latency-ms 2.5
    """
    from swapbench.commands import latency
    from swapbench.commands.device import DeviceRequest
    from swapbench.records import Plan

    request = latency.LatencyRequest(
        recipe=name, runtime=runtime, precision=precision, device=DeviceRequest.of(device, serial, cores),
        points=points, channel_multiple=channel_multiple, checked=check, out=out, replace=replace, plan=Plan(slice_ns=latency.SLICE_NS, threads=threads),
    )  # fmt: skip
    with terminal.progress() as progress:
        result = latency.latency_table(terminal.folders(), request, progress=progress, say=terminal.say)
    if json_out:
        print(result.table.model_dump_json(indent=1))
        return
    if result.table.checked:
        columns = ("network", "predicted", "measured", "error")
        terminal.print_rows(latency.check_rows(result), columns, "")
    terminal.say(latency.verdict(result))
    print(result.path)
