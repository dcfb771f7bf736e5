"""The commands about scores: score, metrics, parity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench.cli import fleet as fleet_cli
from swapbench.cli import terminal
from swapbench.cli.groups import Group
from swapbench.cli.options import (
    Card,
    DeviceName,
    Json,
    OnFleet,
    RawCsv,
    Reading,
    Runtimes,
    ScoredData,
    ShapeTexts,
    Threads,
)
from swapbench.cli.panels import OUTPUT, RARE
from swapbench.commands.fleet_options import shard_numbers
from swapbench.commands.options import ScoreOutput, ScoringOptions, input_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.commands.fleet_options import FleetOptions
    from swapbench.pad.error_lines import Line


def _output(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Score file to write: .csv or .csv.gz.")],
    raw_csv: RawCsv = False,
) -> ScoreOutput:
    return ScoreOutput(out, raw_csv)


def score(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Model file, also with its card: net.onnx=net.toml.")
    ],
    *,
    output: Annotated[ScoreOutput, Group(OUTPUT, _output)],
    data: ScoredData,
    card: Card = None,
    runtime: Runtimes = None,
    device: DeviceName = "local",
    threads: Threads = 1,
    shape: ShapeTexts = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="K/N",
            rich_help_panel=RARE,
            help="Score one of N shards of the data; a digest of its name puts a presentation into one.",
        ),
    ] = None,
    fleet: OnFleet,
    shards: Annotated[
        int,
        typer.Option(
            "--shards", min=1, max=10_000, metavar="N", rich_help_panel=RARE, help="Jobs for a fleet."
        ),
    ] = 8,
) -> None:
    """Score a dataset with one model file: a row for every frame."""
    from swapbench.commands import scores

    shapes, part = input_shapes(shape or ()), shard_numbers(shard)
    options = ScoringOptions(data, card, tuple(runtime or ()), device, threads, shapes, part)
    if fleet.where is not None:
        _score_on_fleet(file, options, output, fleet, shards)
        return
    with terminal.progress() as progress:
        path = scores.score(terminal.folders(), file, options, output, progress=progress, say=terminal.say)
    terminal.show(path)


def _score_on_fleet(
    file: str, options: ScoringOptions, output: ScoreOutput, fleet: FleetOptions, shards: int
) -> None:
    """The same in shards on the cores of a fleet."""
    from swapbench.commands import fleet_score
    from swapbench.commands.fleet_run import Watch

    with terminal.progress() as progress:
        data = fleet_score.opened(terminal.folders(), options, progress, terminal.say)
    work = fleet_score.Work(file, options, output, shards)
    with fleet_cli.view() as view:
        watch = Watch(view, terminal.say)
        path = fleet_score.score(terminal.folders(), work, data, fleet, watch)
    terminal.show(path)


def metrics(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Score file: from swapbench, any other CSV, or bob's columns."),
    ],
    dev: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Score file whose scores freeze the threshold.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="SCORE", help="A threshold frozen elsewhere; a score equal to it is accepted."),
    ] = None,
    *,
    reading: Reading,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, metavar="P", help="Confidence of every interval.")
    ] = 0.95,
    seed: Annotated[int, typer.Option(metavar="N", rich_help_panel=RARE, help="Seed of the bootstrap.")] = 0,
    json_out: Json = False,
) -> None:
    """Evaluate any score file by ISO/IEC 30107-3, with intervals."""
    from swapbench.commands import scores

    evaluated = scores.metrics(file, dev, threshold, reading, confidence=confidence, seed=seed)
    _print_lines(evaluated.lines(), evaluated.as_json() if json_out else None)
    for remark in evaluated.remarks:
        terminal.say(f"note: {remark}")


def parity(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="Score file or model file to compare with.")
    ],
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="Score file or model file.")],
    *,
    data: ScoredData,
    card: Card = None,
    runtime: Runtimes = None,
    device: DeviceName = "local",
    shape: ShapeTexts = None,
    reading: Reading,
    json_out: Json = False,
) -> int:
    """Compare two files' scores: differences, flipped decisions, attacks affected."""
    from swapbench.commands import scores

    shapes = input_shapes(shape or ())
    options = ScoringOptions(data, card, tuple(runtime or ()), device, shapes=shapes)
    with terminal.progress() as progress:
        compared = scores.parity(
            terminal.folders(), reference, other, options, reading, progress=progress, say=terminal.say
        )
    _print_lines(compared.lines(), compared.as_json() if json_out else None)
    return 3 if compared.flag else 0


def _print_lines(lines: Sequence[Line], as_json: object | None) -> None:
    """Named numbers as a table for a person, or the JSON."""
    if as_json is not None:
        terminal.show(json.dumps(as_json, indent=1, ensure_ascii=False))
        return
    rows = [
        {"quantity": line.name, "value": line.value, "interval": line.interval, "": line.note}
        for line in lines
    ]
    terminal.print_rows(rows, ("quantity", "value", "interval", ""), "Nothing to report.")
