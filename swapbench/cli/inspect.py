"""The command that looks into files: inspect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench import units
from swapbench.cli import terminal
from swapbench.cli.options import Json, ShapeTexts
from swapbench.commands.options import input_shapes
from swapbench.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.commands.inspect import Inspection
    from swapbench.modelfile import Graph

HEADING = 14
"""Letters of the first column."""


def inspect(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help=".onnx, .tflite, .param and .pte files, or folders of them."),
    ],
    shape: ShapeTexts = None,
    json_out: Json = False,
) -> None:
    """Show what model files are, without running them, and what a card must say."""
    from swapbench.commands import inspect as commands

    found, failures = commands.inspect(files, input_shapes(shape or ()))
    if json_out:
        terminal.show(json.dumps([commands.as_json(one) for one in found], indent=1, ensure_ascii=False))
    else:
        for line in (line for one in found for line in _lines(one)):
            terminal.show(line)
    raise typer.Exit(terminal.report_failures(failures))


def _lines(inspection: Inspection) -> Iterator[str]:
    from swapbench.commands.inspect import card_toml, tensor_text

    graph = inspection.graph
    title = visible(inspection.title)
    yield title
    yield _line("file", _file_text(graph))
    for place, tensor in enumerate(graph.inputs):
        yield _line("" if place else "inputs" if len(graph.inputs) > 1 else "input", tensor_text(tensor))
    for place, (tensor, maker) in enumerate(zip(graph.outputs, graph.made_by, strict=True)):
        heading = "" if place else "outputs" if len(graph.outputs) > 1 else "output"
        yield _line(heading, tensor_text(tensor) + (f", made by {maker}" if maker else ""))
    yield _line("precision", _precision_text(graph))
    yield _line("parameters", f"{graph.params:,}".replace(",", " "))
    uncounted = f", without {', '.join(graph.uncounted_ops)}" if graph.uncounted_ops else ""
    yield _line("MACs", units.count(graph.macs) + uncounted)
    yield _line("operators", ", ".join(f"{name} {count}" for name, count in graph.ops.items()))
    if graph.against_rules:
        yield _line("ONNX's rules", f"against them: {graph.against_rules}")
    if inspection.run_problem:
        yield _line("a run", inspection.run_problem)
    if inspection.card is not None:
        yield _line("card", f"in the file, of {inspection.card.name}")
        yield f"\n# The card in {title}"
        yield card_toml(inspection.card)
        return
    yield _line("card", inspection.card_problem or "none in the file")
    for place, note in enumerate(inspection.draft.notes):
        yield _line("" if place else "it must say", f"- {note}")
    if inspection.draft.toml:
        yield f'\n# A card for {title}: replace every "?"; docs/cards.md describes all fields'
        yield inspection.draft.toml


def _line(heading: str, text: str) -> str:
    """A line of the table; names in a file are a stranger's, and may hold what a terminal would obey."""
    return f"  {heading:{HEADING}}{visible(text)}"


def _file_text(graph: Graph) -> str:
    names = " and ".join(path.name for path in graph.files[1:])
    size = units.size(graph.file_bytes) + (f" with {names}" if names else "")
    versions = (f"{name} {version}" for name, version in graph.versions.items())
    kind = {"onnx": "ONNX", "tflite": "TFLite"}.get(graph.format, graph.format)
    return ", ".join(filter(None, (size, kind, *versions, graph.producer)))


def _precision_text(graph: Graph) -> str:
    shares = ", ".join(
        f"{dtype} {units.percent(count / graph.params)}" for dtype, count in graph.weights.items()
    )
    mixed = "mostly " if len(graph.weights) > 1 else ""
    return f"{mixed}{graph.precision}" + (f" ({shares} of the parameters)" if shares else "")
