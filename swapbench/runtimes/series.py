"""Parts of a network in series: each file is fed an output of the file before it.

The timed process imports this module: only the standard library and numpy may be imported here.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from swapbench.runtimes.feed import Shapes, Unusable, fill_with_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swapbench.runtimes.feed import Array, Input, Output
    from swapbench.runtimes.worker import Backend, Engine


def parts_before(text: str | None, backend: Backend, threads: int) -> list[tuple[Engine, int]]:
    """The files of `--reads`, loaded, each with the place of the output that the next one reads.

    Raises:
        Unusable: The text is no such list.
    """
    if text is None:
        return []
    try:
        parts = [(str(part["artifact"]), int(part["place"])) for part in json.loads(text)]
    except (ValueError, KeyError, TypeError) as problem:
        raise Unusable(f"--reads is no list of artifacts and places: {problem!r}") from None
    return [(backend.load(artifact, threads, None, Shapes()), place) for artifact, place in parts]


def scored_in_series(
    before: Sequence[tuple[Engine, int]], engine: Engine, feed: Array, places: Sequence[int]
) -> Callable[[], Sequence[Array]]:
    """A scored call of a file that is fed an output of the file before it.

    Args:
        before: The files before it, each with the place of the output that the next one reads.
        engine: The file.
        feed: Input of the first of all.
        places: Of the outputs that are wanted.

    Raises:
        Unusable: An output does not fit the input that reads it.
    """
    steps: list[Callable[[], None]] = []
    readers = [part for part, _ in before[1:]] + [engine] * bool(before)
    for (part, place), after in zip(before, readers, strict=True):
        call, given = part.scored_call(feed, [place]), part.outputs[place]
        feed = np.zeros(after.input.shape, after.input.dtype)
        steps.append(partial(_hand_over, call, given, feed, after.input))
    last = engine.scored_call(feed, places)

    def scored() -> Sequence[Array]:
        for step in steps:
            step()
        return last()

    return scored


def _hand_over(call: Callable[[], Sequence[Array]], given: Output, feed: Array, spec: Input) -> None:
    fill_with_map(feed, given.real(call()[0]), spec)
