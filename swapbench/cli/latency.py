"""The command that measures what a budget in milliseconds is checked against: latency-table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import ChannelMultiple, Json, PhoneCores, Threads
from swapbench.cli.panels import OUTPUT, WHAT


def latency_table(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Recipe of a network that can be pruned: mobilefacenet.")
    ],
    runtime: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=WHAT, help="onnxruntime, litert or ncnn.")
    ] = "onnxruntime",
    precision: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=WHAT, help="fp32, fp16 or int8.")
    ] = "fp32",
    points: Annotated[
        int,
        typer.Option(
            min=2,
            metavar="N",
            rich_help_panel=WHAT,
            help="Widths measured per layer; times between them are interpolated.",
        ),
    ] = 4,
    check: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            rich_help_panel=WHAT,
            help="Whole networks measured too, to see how well sums of layers predict them.",
        ),
    ] = 6,
    channel_multiple: ChannelMultiple = None,
    *,
    device: PhoneCores,
    threads: Threads = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="The table. By default in reports/latency/."
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace/--no-replace",
            show_default=False,
            rich_help_panel=OUTPUT,
            help="Measure again and replace the table.",
        ),
    ] = False,
    json_out: Json = False,
) -> None:
    """Measure each layer of a network at each width, for pruning to a latency budget.

    The table is for: swapbench train NAME --recipe metapruning --latency-table FILE --latency-ms 2.5
    """
    from swapbench.commands import latency
    from swapbench.records import Plan

    request = latency.LatencyRequest(
        recipe=name,
        runtime=runtime,
        precision=precision,
        device=device,
        points=points,
        channel_multiple=channel_multiple,
        checked=check,
        out=out,
        replace=replace,
        plan=Plan(slice_ns=latency.SLICE_NS, threads=threads),
    )
    with terminal.progress() as progress:
        result = latency.latency_table(terminal.folders(), request, progress=progress, say=terminal.say)
    if json_out:
        terminal.show(result.table.model_dump_json(indent=1))
        return
    if result.table.checked:
        columns = ("network", "predicted", "measured", "error")
        terminal.print_rows(latency.check_rows(result.table), columns, "")
    terminal.say(latency.verdict(result.table))
    terminal.show(result.path)
