"""The commands about systems: fuse, cascade, frames, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench import units
from swapbench.cli import terminal
from swapbench.cli.groups import Group
from swapbench.cli.options import Card, DataPath, DataRoot, Faces, Json, Protocol, Runtimes
from swapbench.cli.panels import OUTPUT, WHAT
from swapbench.commands.options import FRAMES_PER_VIDEO, JudgedData, SystemOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from swapbench.commands.system import Found

CHOICE = "Choice"


def _options(
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=WHAT,
            help="Run that holds the files' records. By default the newest; files without any are measured.",
        ),
    ] = None,
    runtime: Runtimes = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=OUTPUT, help="Name of the system and its file."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="LIMIT",
            help='Operating point on the development split, "apcer<=5 %" or "bpcer<=5 %"; or a limit that '
            'is kept at the EER, "acer<=5 %" or, for the lowest ACER at a cost, "decision_time<=2 ms".',
        ),
    ] = None,
    within: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            metavar="POINTS",
            help="Take the cheapest whose ACER on the development split is so near to the lowest.",
        ),
    ] = 0.5,
    cost: Annotated[str, typer.Option(metavar="NAME", help="What is to be small: time or energy.")] = "time",
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=1000, metavar="RATE", help="Frame rate of a camera, which decisions wait for."
        ),
    ] = None,
    data: DataPath = None,
    data_root: DataRoot = None,
    protocol: Protocol = None,
    faces: Faces = None,
    card: Card = None,
) -> SystemOptions:
    from swapbench.catalog import split_commas

    judged = JudgedData(data, data_root, protocol, FRAMES_PER_VIDEO, faces)  # type: ignore[arg-type]
    return SystemOptions(
        run, name, target, within / 100, cost, fps, split_commas(runtime or ()), judged, card
    )


Options = Annotated[SystemOptions, Group(CHOICE, _options)]
_FILE_HELP = "File of a run, or a model file to measure, also with its card: net.onnx=net.toml."


def fuse(
    files: Annotated[list[str], typer.Argument(metavar="FILES", help=_FILE_HELP)],
    *,
    rule: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=CHOICE, help="mean, logits, product or maximum.")
    ] = "mean",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            rich_help_panel=CHOICE,
            help="One for each file, as in 1,2; or search, on the development split. By default all alike.",
        ),
    ] = None,
    options: Options,
    json_out: Json = False,
) -> int:
    """Let several files decide together on each frame."""
    from swapbench.commands import system

    return _show(system.fuse, files, rule, weights, options, json_out=json_out)


def cascade(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help=f"The cheap file, then those that are asked where it is unsure. {_FILE_HELP}",
        ),
    ],
    *,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SCORE",
            rich_help_panel=CHOICE,
            help="Ask the next file where a score is nearer to its threshold. By default it is searched.",
        ),
    ] = None,
    options: Options,
    json_out: Json = False,
) -> int:
    """Ask a large file, or the rest of a network, only where the one before it is unsure."""
    from swapbench.commands import system

    return _show(system.cascade, files, margin, options, json_out=json_out)


def frames(
    file: Annotated[str, typer.Argument(metavar="FILE", help=_FILE_HELP)],
    *,
    counts: Annotated[
        str,
        typer.Option(
            "--frames",
            metavar="NUMBERS",
            rich_help_panel=CHOICE,
            help="Numbers to try, as in 1,2,4,8.",
        ),
    ] = "1,2,4,8",
    rule: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=CHOICE, help="mean, median, vote or sequential (Wald's test)."
        ),
    ] = "mean",
    options: Options,
    json_out: Json = False,
) -> int:
    """Find how many frames of a presentation are worth their time."""
    from swapbench.commands import system
    from swapbench.commands.options import frame_counts

    return _show(system.frames, file, frame_counts(counts), rule, options, json_out=json_out)


def compare(
    first: Annotated[
        str,
        typer.Argument(metavar="FIRST", help="A system of the run by its name, or its file in systems/."),
    ],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="The one that is held against it.")],
    run: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Run that holds the systems. By default the newest."),
    ] = None,
    json_out: Json = False,
) -> int:
    """Hold a system against another: errors on the same presentations, and cost of a decision."""
    from swapbench.commands import system_compare

    found = system_compare.compare(terminal.folders(), first, second, run)
    if json_out:
        terminal.show(json.dumps(found.document(), indent=1, ensure_ascii=False))
    else:
        terminal.show(f"{found.titles[1]} against {found.titles[0]}, on the test split:")
        terminal.print_rows(found.rows(), ("name", "first", "second", "change", "interval"), "")
        for note in found.notes():
            terminal.show(note)
    if found.simulated:
        terminal.say("Simulated data: not PAD performance.")
    return 0


def _show(find: Callable[..., Found], *arguments: object, json_out: bool) -> int:
    """Find a system; show the search on development, then what was found on test."""
    from swapbench.commands.system import shown
    from swapbench.records import Accuracy
    from swapbench.systems.lines import lines, search_rows

    with terminal.progress() as progress:
        found = find(terminal.folders(), *arguments, progress=progress, say=terminal.say)
    record = found.record
    assert isinstance(record.accuracy, Accuracy)
    if json_out:
        terminal.show(json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False))
    else:
        text = units.duration if found.cost == "time" else units.energy
        terminal.show(f"Tried on the development split ({found.chosen.system.threshold_rule}):")
        rows = search_rows(found.candidates, found.chosen, text)
        terminal.print_rows(rows, list(rows[0]), "")
        terminal.show(f"\n{record.title}, on the test split:")
        said = [vars(line) for line in lines(found.decision, record.accuracy)]
        terminal.print_rows(said, ("name", "value", "interval", "note"), "")
    if record.accuracy.simulated:
        terminal.say("Simulated data: not PAD performance.")
    terminal.say(f"wrote {', '.join(shown(path) for path in found.written)}")
    return 0 if record.valid else 3
