"""The main job: run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench.cli import fleet as fleet_cli
from swapbench.cli import terminal
from swapbench.cli.groups import Group
from swapbench.cli.options import (
    Card,
    Data,
    Device,
    Doubts,
    InFleet,
    Json,
    RelativeTo,
    Runtimes,
    Seed,
    ShapeTexts,
    Switches,
    Threads,
    Variants,
)
from swapbench.cli.panels import ACCURACY, ENERGY, OUTPUT, TIME, WHAT
from swapbench.commands.fleet_options import FleetOptions
from swapbench.commands.options import RunFolder, TimingOptions, input_shapes, sustained_s
from swapbench.environment import LOST_HOSTS

if TYPE_CHECKING:
    from swapbench.commands.run import RunRequest, RunResult

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILES",
        help=".onnx, .tflite, .param and .pte files, a file with its card (net.onnx=net.toml), folders of "
        "files, names of bundled networks. By default every bundled network.",
    ),
]
System = Annotated[
    Path | None,
    typer.Option(
        "--system",
        metavar="FILE",
        rich_help_panel=WHAT,
        help="Measure the files of a system, then all of it in one process (swapbench system writes one).",
    ),
]
Accuracy = Annotated[
    bool,
    typer.Option(
        "--accuracy/--no-accuracy",
        rich_help_panel=ACCURACY,
        show_default=False,
        help="Score the files, if their preprocessing is known. This is the default.",
    ),
]


def _timing(
    threads: Threads = 1,
    budget: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="Time for the speed phase. By default 5 s per file."),
    ] = None,
    target: Annotated[
        float,
        typer.Option(
            min=0.001, metavar="SHARE", help="Stop once every median is known to this relative precision."
        ),
    ] = 0.02,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=1000,
            metavar="RATE",
            help="Also time at a camera's frame rate, and measure energy at that rate only.",
        ),
    ] = None,
    sustained: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Also run each file for this long without a pause, as in 10min, and report every minute.",
        ),
    ] = None,
    window: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            rich_help_panel=ENERGY,
            help="Length of each of the three energy windows: idle, busy, idle.",
        ),
    ] = 10.0,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile/--no-profile",
            show_default=False,
            help="Also ask each runtime which operators take the time; the report says what slows it down.",
        ),
    ] = False,
    seed: Seed = 0,
) -> TimingOptions:
    return TimingOptions(threads, target, budget, seed, fps, window, sustained_s(sustained), profile=profile)


def _output(
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Name of the run, a folder in reports/. By default a time stamp."
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace/--no-replace", show_default=False, help="Replace the records of a run of that name."
        ),
    ] = False,
    relative_to: RelativeTo = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report",
            show_default=False,
            help="Draw tables, figures and page. This is the default.",
        ),
    ] = True,
) -> RunFolder:
    return RunFolder(name, replace, relative_to, report)


def run(
    files: Files = None,
    *,
    system: System = None,
    variants: Variants,
    runtime: Runtimes = None,
    switch: Switches = None,
    shape: ShapeTexts = None,
    device: Device,
    fleet: InFleet,
    timing: Annotated[TimingOptions, Group(TIME, _timing)],
    accuracy: Accuracy = True,
    data: Data,
    card: Card = None,
    output: Annotated[RunFolder, Group(OUTPUT, _output)],
    doubts: Doubts = False,
    json_out: Json = False,
) -> int:
    """Measure speed, weight, accuracy and power of model files.

    By default it runs every bundled model on this computer.
    """
    from swapbench.catalog import split_commas
    from swapbench.commands import run as main_job
    from swapbench.commands.switches import runtime_switches
    from swapbench.report.tables import table

    request = main_job.RunRequest(
        tuple(files or ()),
        variants,
        split_commas(runtime or ()),
        device,
        data,
        card,
        accuracy=accuracy,
        timing=timing,
        output=output,
        shapes=input_shapes(shape or ()),
        switches=runtime_switches(switch or ()),
        lost_hosts=tuple(os.environ.get(LOST_HOSTS, "").splitlines()),
    )
    result = _result(request, system, fleet)
    if not json_out:
        terminal.print_records(result.records, output.relative_to, every_doubt=doubts)
    elif result.records:  # where all failed, the failures below are what there is to say
        terminal.show(table.json_text(result.records, relative_to=output.relative_to))
        terminal.say_doubts(result.records)
    for note in result.notes:
        terminal.say(note)
    status = terminal.report_failures(result.failures)
    terminal.conclude()
    main_job.finish(result)
    if status == 0 and not all(record.valid for record in result.records):
        return 3
    return status


def _result(request: RunRequest, system: Path | None, fleet: FleetOptions) -> RunResult:
    """What was measured, here or by a fleet."""
    from swapbench.commands import run as main_job
    from swapbench.errors import UserError

    if fleet.where is not None:
        if system is not None:
            raise UserError("--system cannot go to a fleet", remedy="Measure it on its device's own host")
        from swapbench.commands import fleet_run

        with fleet_cli.view() as view:
            watch = fleet_run.Watch(view, terminal.say)
            return fleet_run.run(terminal.folders(), request, fleet, watch)
    with terminal.progress() as progress:
        if system is None:
            return main_job.run(terminal.folders(), request, progress=progress, say=terminal.say)
        from swapbench.commands import system_run

        return system_run.run(terminal.folders(), system, request, progress=progress, say=terminal.say)
