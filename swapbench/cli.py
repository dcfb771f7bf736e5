"""The command line: parse, call one function, print, exit status. The only module that prints.

Exit statuses: 0 fine; 1 the gate failed; 2 the user's mistake; 3 measured but not valid; 4 the device or the environment
failed; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from swapbench import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.catalog import Folders
    from swapbench.errors import SwapbenchError
    from swapbench.records import Doubt, Record

app = typer.Typer(
    name="swapbench",
    help="Speed, weight, accuracy and power of face anti-spoofing models, measured in the file that ships.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Datasets: the simulated one, and checks of real ones.", no_args_is_help=True)
app.add_typer(data_app, name="data")

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells use it: 128 + SIGINT."""

Precisions = Annotated[
    list[str] | None,
    typer.Option("--precision", metavar="NAME", help="fp32, fp16 or int8; repeat for several; all if none."),
]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="NAME", help="onnx or tflite; repeat for several; both if none."),
]
RelativeTo = Annotated[
    str | None,
    typer.Option("--relative-to", help="Model to compare with; the one with the most MACs if not given."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of text for a person.")]


def _say(text: str) -> None:
    """One line for a person, on standard error, so that standard output stays a result."""
    print(text, file=sys.stderr, flush=True)


class _PlainProgress:
    """Progress as plain lines, for CI and files: a line when a stage begins, ends, and every 15 seconds."""

    def __init__(self) -> None:
        self._stage = ""
        self._finished = False
        self._began_s = self._said_s = time.monotonic()

    def __call__(self, stage: str, done: float, total: float) -> None:
        now_s = time.monotonic()
        new = stage != self._stage
        if new:
            self._stage, self._began_s, self._finished = stage, now_s, False
        if self._finished:
            return
        self._finished = done >= total
        if new or self._finished or now_s - self._said_s >= 15:
            self._said_s = now_s
            left = ""
            if 0 < done < total:
                left = f", about {(now_s - self._began_s) / done * (total - done):.0f} s left"
            share = f" {100 * done / total:.0f} %" if total else ""
            _say(f"{stage}{share}{left}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class _LiveProgress:
    """Progress bars with remaining time, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=2,  # the thing under test must not feel us
        )
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: float, total: float) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


def _progress() -> _PlainProgress | _LiveProgress:
    return _LiveProgress() if sys.stderr.isatty() and not os.environ.get("CI") else _PlainProgress()


@app.command()
def models(json_out: Json = False) -> None:
    """The networks that swapbench knows: their size, input and how they were made."""
    from swapbench import commands

    rows, errors = commands.list_models(_folders())
    if json_out:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_rows(rows, ("name", "input", "made", "dev EER", "summary"), "No model cards found.")
    _report_errors(errors)


@app.command()
def devices(json_out: Json = False) -> None:
    """The devices that swapbench knows."""
    from swapbench import commands

    rows = commands.list_devices(_folders())
    if json_out:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_rows(rows, ("name", "kind", "summary"), "No device profiles found.")


@app.command()
def doctor(json_out: Json = False) -> None:
    """What can be measured on this machine, and why the rest cannot."""
    from swapbench import commands

    findings = commands.examine(_folders())
    if json_out:
        print(json.dumps([vars(finding) for finding in findings], indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    marks = {
        "ok": "[green]ok[/green]",
        "limited": "[yellow]limited[/yellow]",
        "missing": "[red]missing[/red]",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(marks[finding.state], finding.name, _plain(finding.detail))
        if finding.remedy:
            table.add_row("", "", f"[dim]-> {_plain(finding.remedy)}[/dim]")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


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
    from swapbench import commands

    with _progress() as progress:
        built, failures = commands.export(
            _folders(), names or [], format_ or [], precision or [], data, out, progress=progress, say=_say
        )
    rows = commands.export_rows(built)
    if json_out:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_rows(
            rows, ("file", "size", "largest diff", "correlation", "flips", "path"), "Nothing was exported."
        )
    return _report_failures(failures)


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
    device: Annotated[str, typer.Option(help="Device name; see swapbench devices.")] = "local",
    data: Annotated[Path | None, typer.Option(help="Dataset folder; the simulated one if none.")] = None,
    card: Annotated[
        str | None, typer.Option(help="Model card that tells how the given files are fed and read.")
    ] = None,
    accuracy: Annotated[
        bool, typer.Option(help="Measure accuracy (needs a card or a file that carries its preprocessing).")
    ] = True,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    target: Annotated[
        float, typer.Option(min=0.001, help="Stop when every median is known to within this share.")
    ] = 0.02,
    budget: Annotated[
        float | None, typer.Option(min=1, help="Seconds for the speed phase; about 5 a file if not given.")
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
    from swapbench import commands
    from swapbench.report import table

    request = commands.run_request(
        files=files or [], models=models_ or [], formats=format_ or [], precisions=precision or [], runtimes=runtime or [],
        device=device, data=data, card=card, accuracy=accuracy, threads=threads, target=target, budget_s=budget, seed=seed,
        relative_to=relative_to, name=name, replace=replace,
    )  # fmt: skip
    with _progress() as progress:
        result = commands.run(_folders(), request, progress=progress, say=_say)
    if not json_out:
        _print_records(result.records, relative_to)
    elif result.records:  # where all failed, the failures below are what there is to say
        print(table.json_text(result.records, relative_to=relative_to))
    _say_doubts(result.records)
    for note in result.notes:
        _say(note)
    status = _report_failures(result.failures)
    if status == 0 and not all(record.valid for record in result.records):
        return 3
    return status


@app.command()
def report(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders; the newest run if none.")] = None,
    relative_to: RelativeTo = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; the run's own folder if not given.")
    ] = None,
    json_out: Json = False,
) -> None:
    """Draw the tables and the Pareto figure of a run again, from its records alone."""
    from swapbench import commands
    from swapbench.report import table

    records, written = commands.write_report(_folders(), runs or [], out, relative_to)
    if json_out:
        print(table.json_text(records, relative_to=relative_to))
    else:
        _print_records(records, relative_to)
    for path in written:
        _say(f"wrote {path}")


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="Recipe name or recipe file; see models/recipes.")],
    data: Annotated[Path | None, typer.Option(help="Dataset folder; the simulated one if none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; the recipe's own if not given.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the card and the checkpoint; models/ if not given.")
    ] = None,
) -> None:
    """Train a network from its recipe; writes a checkpoint and the card that says how it was made."""
    from swapbench import commands

    with _progress() as progress:
        path = commands.train(_folders(), name, data, seed, out, progress=progress, say=_say)
    print(path)


@data_app.command("simulate")
def data_simulate(
    out: Annotated[Path | None, typer.Argument(help="Folder to write below; data/ if not given.")] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="train, dev or test; repeat for several; all if none."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything that is drawn; the default set if not given.")
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Also draw a contact sheet to this PNG file.")
    ] = None,
) -> None:
    """Make the simulated dataset: procedural faces, printed and replayed through simulated cameras."""
    from swapbench import commands

    with _progress() as progress:
        folder = commands.simulate(_folders(), out, split or [], seed, contact_sheet, progress=progress)
    print(folder)


@app.command()
def version() -> None:
    """The version of swapbench."""
    print(__version__)


def _folders() -> Folders:
    from swapbench.catalog import Folders

    return Folders(Path.cwd())


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], empty: str) -> None:
    if not rows:
        print(empty)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(str(row.get(column, ""))) for column in columns))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _print_records(records: Sequence[Record], relative_to: str | None) -> None:
    from rich.console import Console

    from swapbench.report import table

    if records:
        Console(width=None if sys.stdout.isatty() else 140).print(
            table.terminal_table(records, relative_to=relative_to)
        )


def _say_doubts(records: Sequence[Record]) -> None:
    """One line a kind of doubt, with an example; the report lists all."""
    by_code: dict[str, list[tuple[str, Doubt]]] = {}
    for record in records:
        for doubt in record.doubts:
            by_code.setdefault(doubt.code, []).append((record.variant.file_name, doubt))
    for code, found in by_code.items():
        name, doubt = found[0]
        whose = "all files" if len(found) == len(records) else f"{len(found)} of {len(records)} files"
        example = (
            doubt.message
            if len({one.message for _, one in found}) == 1
            else f"for one, {name}: {doubt.message}"
        )
        _say(f"doubt: {code} ({whose}): {example}. {doubt.remedy}")


def _report_errors(errors: Sequence[SwapbenchError]) -> None:
    for error in errors:
        _say(f"error: {error}")


def _report_failures(failures: Sequence[tuple[str, SwapbenchError]]) -> int:
    """Say what failed; the exit status is the worst of them, 0 for none."""
    for subject, error in failures:
        _say(f"failed: {subject}: {error}")
    return max((error.exit_status for _, error in failures), default=0)


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
            _say(f"error: {error}")
        else:
            show()
        return 2
    except SwapbenchError as error:
        if traceback_wanted:
            raise
        _say(f"error: {error}")
        return error.exit_status
    except Exception as error:
        if traceback_wanted:
            raise
        _say(
            f"error: {type(error).__name__}: {' '.join(str(error).split())}. This is a fault of swapbench: "
            "please report it with what SWAPBENCH_TRACEBACK=1 and the same command print."
        )
        return 4
    if status == INTERRUPTED:  # typer turns Ctrl-C into this status too, without a word
        _say("Interrupted. What was finished is saved; the same command goes on from there.")
    return status
