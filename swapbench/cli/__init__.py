"""The command line: parse, call one function, print, exit status. The only module that prints.

Exit statuses: 0 fine; 1 the gate failed; 2 the user's mistake; 3 measured but not valid; 4 the device or the environment
failed; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench import __version__
from swapbench.cli import device, gate, latency, pad, profile, report, starter, terminal
from swapbench.cli.options import (
    FRAMES_PER_VIDEO,
    Card,
    ChannelMultiple,
    Cores,
    Data,
    DataRoot,
    Device,
    Faces,
    Formats,
    Frames,
    Json,
    Precisions,
    Protocol,
    RelativeTo,
    Serial,
    Threads,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


app = typer.Typer(
    name="swapbench",
    help="Speed, weight, accuracy and power of face anti-spoofing models, measured in the file that ships.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells use it: 128 + SIGINT."""


@app.command()
def models(json_out: Json = False) -> None:
    """The networks that swapbench knows: their size, input and how they were made."""
    from swapbench.commands import listing

    rows, errors = listing.list_models(terminal.folders())
    if json_out:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        terminal.print_rows(rows, ("name", "input", "made", "dev EER", "summary"), "No model cards found.")
    terminal.report_errors(errors)


device.register(app)


@app.command()
def export(
    names: Annotated[
        list[str] | None, typer.Argument(help="Model names or card files; all bundled ones if none.")
    ] = None,
    precision: Precisions = None,
    format_: Formats = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset folder for calibration and parity; the simulated one if none."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also copy the files into this folder.")] = None,
    json_out: Json = False,
) -> int:
    """Turn PyTorch networks into the ONNX and TFLite files that ship, and prove that they compute the same."""
    from swapbench.commands import workshop

    with terminal.progress() as progress:
        built, failures = workshop.export(
            terminal.folders(),
            names or [],
            format_ or [],
            precision or [],
            data,
            out,
            progress=progress,
            say=terminal.say,
        )
    rows = workshop.export_rows(built)
    if json_out:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        terminal.print_rows(
            rows, ("file", "size", "largest diff", "correlation", "flips", "path"), "Nothing was exported."
        )
    return terminal.report_failures(failures)


@app.command()
def run(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help=".onnx and .tflite files from anywhere; bundled models if none."),
    ] = None,
    models_: Annotated[
        list[str] | None,
        typer.Option("--models", "-m", metavar="NAME", help="Model names or card files; repeat for several."),
    ] = None,
    precision: Precisions = None,
    format_: Formats = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="onnxruntime or litert; repeat for several; both if none."),
    ] = None,
    device_: Device = "local",
    serial: Serial = None,
    cores: Cores = None,
    delegate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also time .tflite files with TFLite's benchmark_model on a phone: cpu, xnnpack, gpu, nnapi; repeat for several.",
        ),
    ] = None,
    require_full_delegation: Annotated[
        bool,
        typer.Option(
            "--require-full-delegation", help="A delegate that takes less than the whole graph is a failure."
        ),
    ] = False,
    data: Data = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    card: Card = None,
    accuracy: Annotated[
        bool, typer.Option(help="Measure accuracy (needs a card or a file that carries its preprocessing).")
    ] = True,
    threads: Threads = 1,
    target: Annotated[
        float, typer.Option(min=0.001, help="Stop when every median is known to within this share.")
    ] = 0.02,
    budget: Annotated[
        float | None, typer.Option(min=1, help="Seconds for the speed phase; about 5 a file if not given.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, max=1000, help="Also time at a camera's frame rate, and energy only there."),
    ] = None,
    window: Annotated[
        float,
        typer.Option(min=1, help="Seconds of each of the three energy windows: idle, busy, idle."),
    ] = 10.0,
    detached: Annotated[
        bool,
        typer.Option(
            "--detached",
            help="Also have a phone measure its battery by itself: you pull the cable when asked, and plug it in again.",
        ),
    ] = False,
    sustained: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Also run every file so long without a pause, e.g. 10min: minute by minute."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order of slices and of the bootstrap.")] = 0,
    relative_to: RelativeTo = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run, a folder in reports/; a time stamp if not given.")
    ] = None,
    replace: Annotated[
        bool, typer.Option(help="Measure again under a name that exists, replacing its records.")
    ] = False,
    json_out: Json = False,
) -> int:
    """Measure speed, weight, accuracy and power; alone, it runs every bundled model on this computer."""
    from swapbench.commands import run as main_job
    from swapbench.commands.data import DataRequest
    from swapbench.commands.device import DeviceRequest
    from swapbench.report.tables import table

    request = main_job.run_request(
        files=files or [], models=models_ or [], formats=format_ or [], precisions=precision or [], runtimes=runtime or [],
        device=DeviceRequest.of(device_, serial, cores, delegate or [], whole=require_full_delegation, detached=detached), data=DataRequest.of(data, data_root, protocol, frames, faces), card=card, accuracy=accuracy, threads=threads, target=target, budget_s=budget, seed=seed, window_s=window, fps=fps, sustained=sustained,
        relative_to=relative_to, name=name, replace=replace,
    )  # fmt: skip
    with terminal.progress() as progress:
        result = main_job.run(terminal.folders(), request, progress=progress, say=terminal.say)
    if not json_out:
        terminal.print_records(result.records, relative_to)
    elif result.records:  # where all failed, the failures below are what there is to say
        print(table.json_text(result.records, relative_to=relative_to))
    terminal.say_doubts(result.records)
    for note in result.notes:
        terminal.say(note)
    status = terminal.report_failures(result.failures)
    if status == 0 and not all(record.valid for record in result.records):
        return 3
    return status


report.register(app)


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="Recipe name or recipe file; see models/recipes.")],
    data: Data = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Method laid over the network's recipe (name or file): distill, uniform, magnitude, metapruning, metammd; "
            "see models/recipes/methods."
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Trained model (name or card file) that a student learns from, instead of those that the method names; "
            "repeat for several.",
        ),
    ] = None,
    macs: Annotated[
        str | None, typer.Option(help="Budget of pruning in multiply-accumulates, as in 40M.")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="How much is spent, laid over the recipe (name or file): small is for a small machine; see models/recipes/schedules."
        ),
    ] = None,
    latency_table: Annotated[
        Path | None,
        typer.Option(
            help="Measured times of layers, from swapbench latency-table: the budget is --latency-ms then."
        ),
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option(min=0, help="Budget of pruning in milliseconds, by --latency-table.")
    ] = None,
    channel_multiple: ChannelMultiple = None,
    seed: Annotated[int | None, typer.Option(help="Seed; the recipe's own if not given.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all if not given.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the card and the checkpoint; models/ if not given.")
    ] = None,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing",
            help="Do nothing where the same recipe, data and seed were trained here already and the card is there.",
        ),
    ] = False,
) -> None:
    """Train a network from its recipe, distilled or pruned where a method says so; writes a checkpoint and the card that says how it was made."""
    from swapbench.commands import workshop
    from swapbench.commands.data import DataRequest

    request = DataRequest.of(data, data_root, protocol, frames, faces)
    with terminal.progress() as progress:
        path = workshop.train(
            terminal.folders(),
            name,
            request,
            seed,
            out,
            method=recipe,
            macs=macs,
            latency_table=latency_table,
            latency_ms=latency_ms,
            channel_multiple=channel_multiple,
            teachers=teacher or [],
            schedule=schedule,
            threads=threads,
            missing=missing,
            progress=progress,
            say=terminal.say,
        )
    print(path)


latency.register(app)


@app.command()
def version() -> None:
    """The version of swapbench."""
    print(__version__)


pad.register(app)
starter.register(app)
gate.register(app)
profile.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (the console script exits with it)."""
    from typer.exceptions import TyperException

    from swapbench.errors import SwapbenchError

    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback_wanted = bool(os.environ.get("SWAPBENCH_TRACEBACK"))
    try:
        status = int(app(args=arguments, prog_name="swapbench", standalone_mode=False) or 0)
    except typer.Exit as stop:
        status = int(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
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
        terminal.say(
            f"error: {type(error).__name__}: {' '.join(str(error).split())}. This is a fault of swapbench: "
            "please report it with what SWAPBENCH_TRACEBACK=1 and the same command print."
        )
        return 4
    if status == INTERRUPTED:  # typer turns Ctrl-C into this status too, without a word
        terminal.say("Interrupted. What was finished is saved; the same command goes on from there.")
    return status
