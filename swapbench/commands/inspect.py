"""What a model file is, and what a card for it must say. Nothing is run and no runtime is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomli_w

from swapbench.commands.card_draft import draft
from swapbench.commands.named_files import named_files, own_card
from swapbench.errors import SwapbenchError
from swapbench.modelfile import read_graph
from swapbench.modelfile.input_shapes import refuse_unmeasurable, shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swapbench.commands.card_draft import CardDraft
    from swapbench.modelfile import Graph, Shapes, Tensor
    from swapbench.records import ModelCard


@dataclass(frozen=True)
class Inspection:
    """One model file.

    Attributes:
        title: What the person called it.
        graph: What is in it.
        card: The one that swapbench wrote into it; None where there is none.
        card_problem: Why that one cannot be used, "" where it can.
        draft: What a card must say where it has none.
        run_problem: What a run has against it as it is, "" for nothing.
    """

    title: str
    graph: Graph
    card: ModelCard | None
    card_problem: str
    draft: CardDraft
    run_problem: str


def inspect(
    names: Sequence[str], shapes: Shapes | None = None
) -> tuple[tuple[Inspection, ...], tuple[tuple[str, SwapbenchError], ...]]:
    """Look into files, folders of files and files with their cards; each that cannot be read fails alone.

    Args:
        names: As for a run; cards that are named are not looked at.
        shapes: Of inputs with free lengths.

    Raises:
        UserError: A folder holds no model file.
    """
    found: list[Inspection] = []
    failures: list[tuple[str, SwapbenchError]] = []
    for file in named_files(names):
        try:
            graph = read_graph(file.path, shapes)
        except SwapbenchError as error:
            failures.append((file.title, error))
            continue
        card, card_problem, run_problem = None, "", ""
        try:
            card = None if graph.metadata is None else own_card(file.path, graph.metadata)
        except SwapbenchError as error:
            card_problem = str(error)
        try:
            refuse_unmeasurable(graph, file.title)
        except SwapbenchError as error:
            run_problem = str(error)
        found.append(
            Inspection(file.title, graph, card, card_problem, draft(graph, file.path.stem), run_problem)
        )
    return tuple(found), tuple(failures)


def as_json(inspection: Inspection) -> dict[str, Any]:
    """An inspection for a program: plain values with their units in their names."""
    graph = inspection.graph
    return {
        "file": inspection.title,
        "format": graph.format,
        "files": [path.name for path in graph.files],
        "file_bytes": graph.file_bytes,
        "producer": graph.producer,
        "versions": dict(graph.versions),
        "inputs": [_tensor(tensor) for tensor in graph.inputs],
        "layout": graph.layout,
        "outputs": [
            {**_tensor(tensor), "made_by": maker}
            for tensor, maker in zip(graph.outputs, graph.made_by, strict=True)
        ],
        "free_dimensions": dict(graph.dimensions),
        "precision": graph.precision,
        "parameters_by_type": dict(graph.weights),
        "params": graph.params,
        "macs": graph.macs,
        "ops": dict(graph.ops),
        "uncounted_ops": list(graph.uncounted_ops),
        "against_rules": graph.against_rules,
        "run_problem": inspection.run_problem,
        "card": None if inspection.card is None else inspection.card.model_dump(mode="json"),
        "card_problem": inspection.card_problem,
        "card_must_say": list(inspection.draft.notes),
        "card_draft": inspection.draft.toml,
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "declared": list(tensor.declared),
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def card_toml(card: ModelCard) -> str:
    """What a card says of a file that exists, as TOML."""
    said = card.model_dump(include={"name", "preprocessing", "output"}, exclude_none=True)
    return tomli_w.dumps(said)


def tensor_text(tensor: Tensor) -> str:
    """An input or output in one line, with what the file leaves free and how it is quantised."""
    words = [tensor.name, tensor.dtype, shape_text(tensor.shape)]
    if tensor.is_free:
        words.append(f"(in the file: {', '.join(map(str, tensor.declared))})")
    if tensor.scale is not None:
        words.append(f"(scale {tensor.scale:.6g}, zero point {tensor.zero_point})")
    return " ".join(words)
