"""Structures that another process judges: what it is sent and what it answers, as files.

A batch is a JSON list of structures, its answer a list of what each was found to be, in the same order. The
fitness is a file of its own, which all batches of a search share.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from swapbench.errors import NotValid
from swapbench.files import content_of, write_atomically
from swapbench.workshop.prune.search import Judged, in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swapbench.ports import Progress
    from swapbench.workshop.prune.widths import Genes


def judge(fitness: Path, batch: Path, answer: Path, progress: Progress) -> None:
    """Judge the structures of a batch by the fitness in a file, one after the other on one core.

    Raises:
        NotValid: A file is not what it must be.
        EnvironmentFailed: This computer computes otherwise than the one that searches.
    """
    import torch

    from swapbench.workshop.prune.fitness import Fitness

    torch.set_num_threads(1)  # as where structures are judged side by side: sums are added in one order
    structures = read_batch(batch)
    values = []
    for judged in in_threads(Fitness.read(fitness), 1)(structures):
        values.append(judged)
        progress("judging", len(values), len(structures))
    write_answer(answer, values)


def write_batch(path: Path, structures: Sequence[Genes]) -> None:
    """Write the structures of a batch."""
    write_atomically(path, json.dumps(structures) + "\n")


def read_batch(path: Path) -> list[Genes]:
    """The structures of a batch; NotValid where it is none."""
    return [tuple(int(gene) for gene in genes) for genes in _rows(path)]


def write_answer(path: Path, values: Sequence[tuple[Judged, float]]) -> None:
    """Write what the structures of a batch were found to be, each with the seconds that it took."""
    rows = [
        {
            "fitness": _text(judged.fitness),
            "parts": {name: _text(value) for name, value in judged.parts.items()},
            "seconds": seconds,
        }
        for judged, seconds in values
    ]
    write_atomically(path, json.dumps(rows) + "\n")


def read_answer(path: Path, structures: int) -> list[tuple[Judged, float]]:
    """The answer to a batch of so many structures; NotValid where it is none."""
    try:
        values = [
            (
                Judged(float(row["fitness"]), {name: float(value) for name, value in row["parts"].items()}),
                float(row["seconds"]),
            )
            for row in _rows(path)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_batch(path) from error
    if len(values) != structures:
        raise _no_batch(path)
    return values


def _text(value: float) -> float | str:
    """The value, as a word where it is not finite: JSON has no infinity."""
    return value if math.isfinite(value) else str(value)


def _rows(path: Path) -> list[Any]:
    try:
        rows = json.loads(content_of(path))
    except (OSError, ValueError) as error:
        raise _no_batch(path) from error
    if not isinstance(rows, list):
        raise _no_batch(path)
    return rows


def _no_batch(path: Path) -> NotValid:
    return NotValid(f"{path} holds no batch of structures", remedy="Start the search again.")
