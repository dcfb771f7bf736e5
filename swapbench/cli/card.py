"""The command that finds a card."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench.cli import terminal
from swapbench.cli.options import Data, DeviceName, Json, Runtimes, ShapeTexts, Threads
from swapbench.cli.panels import OUTPUT
from swapbench.commands.options import ScoringOptions, input_shapes

if TYPE_CHECKING:
    from swapbench.bench.card_search import Found, Line


MOST_LINES = 6
"""Of one field: a file with many outputs can be read in many ways."""


def card(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Model file, .onnx, .tflite, .param or .pte.")],
    *,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="Card to write. By default net.toml beside net.onnx."
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", rich_help_panel=OUTPUT, help="Overwrite a card that is there already."),
    ] = False,
    at_most: Annotated[int, typer.Option(min=16, metavar="N", help="How many images to try at most.")] = 200,
    runtime: Runtimes = None,
    device: DeviceName = "local",
    threads: Threads = 1,
    shape: ShapeTexts = None,
    json_out: Json = False,
) -> None:
    """Find how to feed a model file and to read its outputs, on labelled images."""
    from swapbench.commands import card as commands

    shapes = input_shapes(shape or ())
    options = ScoringOptions(data, None, tuple(runtime or ()), device, threads, shapes)
    request = commands.CardRequest(file, out, replace, at_most)
    with terminal.progress() as progress:
        found = commands.find_card(terminal.folders(), request, options, progress=progress, say=terminal.say)
    if json_out:
        terminal.show(json.dumps({**asdict(found), "card": found.card.model_dump(mode="json")}, indent=1))
    else:
        _print(found)
    terminal.say(f"Card: {request.path}")


def _print(found: Found) -> None:
    """What was tried, the best first, and what the person must still check."""
    rows: list[dict[str, str]] = []
    for field, lines in itertools.groupby(found.lines, lambda line: line.field):
        first, *others = lines
        rows += [_row(first, field), *(_row(line, "") for line in others[: MOST_LINES - 1])]
        if len(others) >= MOST_LINES:
            rows.append({"value": f"and {len(others) - MOST_LINES + 1} that separate less"})
    terminal.print_rows(rows, ("field", "value", "AUC", "95 %", ""), "Nothing was tried.")
    low, high = found.interval
    counts = f"{found.bona_fide} faces and {found.attacks} attacks"
    terminal.show(f"\nAUC {found.auc:.3f} ({low:.3f} to {high:.3f}) on {counts}.")
    if found.open_fields:
        terminal.show(f"Not told apart by these images: {', '.join(found.open_fields)}.")
    for remark in found.remarks:
        terminal.show(f"Note: {remark}.")
    terminal.show(
        "Compare the card with the network's own code before you report a number: the\n"
        "best of many ways looks better than it is, so measure accuracy on other images.\n"
        "Name, licence and source are yours to write."
    )


def _row(line: Line, field: str) -> dict[str, str]:
    return {
        "field": field,
        "value": line.value,
        "AUC": f"{line.auc:.3f}",
        "95 %": f"{line.low:.3f} to {line.high:.3f}",
        "": line.verdict,
    }
