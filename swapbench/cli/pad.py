"""The commands about accuracy: data, score, metrics, parity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import (
    FRAMES_PER_VIDEO,
    Card,
    Data,
    DataRoot,
    Device,
    Faces,
    Frames,
    Json,
    Protocol,
    Runtimes,
    Threads,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.pad.error_lines import Line

data_app = typer.Typer(help="Datasets: the simulated one, and checks of real ones.", no_args_is_help=True)

ScoreFile = Annotated[Path, typer.Argument(help="Score file: ours, a CSV of anybody, or bob's columns.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="OURS=THEIRS", help="Name of a column in the file, as in score=prob; repeat."
    ),
]
BonaFideLabel = Annotated[
    str | None, typer.Option(help="The label that means bona fide, where 0 and 1 would be a guess.")
]
ScoresAre = Annotated[str, typer.Option(metavar="CLASS", help="What high scores mean: bona_fide or attack.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(data_app, name="data")
    app.command()(score)
    app.command()(metrics)
    app.command()(parity)


@data_app.command("simulate")
def data_simulate(
    out: Annotated[
        Path | None,
        typer.Argument(
            help="Folder for an OULU-NPU-named tree with protocol files; the default set in data/ if not given."
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="oulu or manifest; oulu where a folder is given.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="train, dev or test (manifest only); repeat; all if none."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything that is drawn; the default set if not given.")
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Also draw a contact sheet to this PNG file.")
    ] = None,
) -> None:
    """Make simulated data: procedural faces, printed and replayed through simulated cameras."""
    from swapbench import catalog
    from swapbench.commands import data
    from swapbench.errors import UserError

    chosen = layout or ("manifest" if out is None else "oulu")
    catalog.checked_names("layout", (chosen,), ("oulu", "manifest"))
    with terminal.progress() as progress:
        if chosen == "manifest":
            folder = data.simulate(
                terminal.folders(), out, split or [], seed, contact_sheet, progress=progress
            )
        elif out is None:
            raise UserError("an OULU-NPU tree needs a folder", remedy="swapbench data simulate FOLDER")
        elif split:
            raise UserError("--split is for --layout manifest", remedy="An OULU-NPU tree has all splits")
        else:
            folder = data.simulate_oulu(out, seed, contact_sheet, progress=progress)
    print(folder)


@data_app.command("check")
def data_check(
    data: Annotated[
        Path | None, typer.Argument(help="Dataset folder or manifest; the simulated set if none.")
    ] = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    json_out: Json = False,
) -> int:
    """Count a dataset by split, class and species against the official numbers, and say what is missing."""
    from swapbench.commands import data as commands
    from swapbench.errors import UserError

    if data is not None and data_root is not None:
        raise UserError("a dataset and --data-root exclude each other", remedy="Name one of them")
    request = commands.DataRequest(data=data, data_root=data_root, protocol=protocol)
    with terminal.progress() as progress:
        found = commands.check(terminal.folders(), request, progress=progress)
    if json_out:
        print(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    else:
        print(found.title)
        terminal.print_rows(
            found.table(), ("fold", "split", "class", "found", "official", "subjects"), "Nothing was found."
        )
        for line in found.lines():
            print(line)
    return 0 if found.complete else 3


def score(
    file: Annotated[Path, typer.Argument(help="Model file, .onnx or .tflite.")],
    out: Annotated[Path, typer.Option(help="Score file to write: .csv or .csv.gz.")],
    data: Data = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    card: Card = None,
    runtime: Runtimes = None,
    device: Device = "local",
    threads: Threads = 1,
) -> None:
    """Score a dataset with one model file: a row a frame, for `swapbench metrics` or anybody's evaluation."""
    from swapbench.commands import scores
    from swapbench.commands.data import DataRequest

    request = DataRequest.of(data, data_root, protocol, frames, faces)
    with terminal.progress() as progress:
        path = scores.score(
            terminal.folders(), file, request, out, device=device, runtimes=runtime or [], card=card,
            threads=threads, progress=progress, say=terminal.say,
        )  # fmt: skip
    print(path)


def metrics(
    file: ScoreFile,
    dev: Annotated[Path | None, typer.Option(help="Score file whose scores freeze the threshold.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="A threshold frozen elsewhere; scores on it are accepted.")
    ] = None,
    column: Columns = None,
    bona_fide_label: BonaFideLabel = None,
    scores_are: ScoresAre = "bona_fide",
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of every interval.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    json_out: Json = False,
) -> None:
    """Evaluate any score file after ISO/IEC 30107-3, with intervals; ours and other people's."""
    from swapbench.commands import scores

    reading = scores.ScoreReading.of(column or [], bona_fide_label, scores_are)
    found = scores.metrics(file, dev, threshold, reading, confidence=confidence, seed=seed)
    _print_lines(found.lines(), found.as_json() if json_out else None)
    for remark in found.remarks:
        terminal.say(f"note: {remark}")


def parity(
    reference: Annotated[
        Path, typer.Argument(help="Score file or model file that the other is held against.")
    ],
    other: Annotated[Path, typer.Argument(help="Score file or model file.")],
    data: Data = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    frames: Frames = FRAMES_PER_VIDEO,
    faces: Faces = None,
    card: Card = None,
    runtime: Runtimes = None,
    device: Device = "local",
    column: Columns = None,
    bona_fide_label: BonaFideLabel = None,
    scores_are: ScoresAre = "bona_fide",
    json_out: Json = False,
) -> int:
    """How far two files' scores are apart: differences, flipped decisions, and which attacks pay for it."""
    from swapbench.commands import scores
    from swapbench.commands.data import DataRequest

    request = DataRequest.of(data, data_root, protocol, frames, faces)
    reading = scores.ScoreReading.of(column or [], bona_fide_label, scores_are)
    with terminal.progress() as progress:
        found = scores.parity(
            terminal.folders(), reference, other, request, reading, device=device, runtimes=runtime or [],
            card=card, progress=progress, say=terminal.say,
        )  # fmt: skip
    _print_lines(found.lines(), found.as_json() if json_out else None)
    return 3 if found.flag else 0


def _print_lines(lines: Sequence[Line], as_json: object | None) -> None:
    """Named numbers as a table for a person, or the JSON."""
    if as_json is not None:
        print(json.dumps(as_json, indent=1, ensure_ascii=False))
        return
    terminal.print_rows(
        [{"quantity": one.name, "value": one.value, "interval": one.interval, "": one.note} for one in lines],
        ("quantity", "value", "interval", ""),
        "Nothing to say.",
    )
