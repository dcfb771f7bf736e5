"""The caption of a figure, as text and as LaTeX: what is shown, how many runs and people, which intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swapbench import units
from swapbench.report.figures.style import not_drawn
from swapbench.report.tables.latex_text import flowing
from swapbench.report.tables.table import SIMULATED
from swapbench.report.tables.view import caption_of, confidences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swapbench.records import Accuracy, Interval
    from swapbench.report.figures.drawing import Drawing
    from swapbench.report.rows.row import Row


def captioned(drawing: Drawing, kind: str, rows: Sequence[Row]) -> Drawing:
    """A figure with its caption as `txt`, and as `tex` with a label, "fig:pareto".

    Args:
        drawing: as it is where there is nothing in it.
        kind: of the figure.
        rows: of the table, those that the figure lacks included.
    """
    if not drawing.files:
        return drawing
    text = " ".join(_sentences(drawing, rows))
    files = {
        "txt": f"{text}\n".encode(),
        "tex": f"\\caption{{{flowing(text)}}}\n\\label{{fig:{kind}}}\n".encode(),
    }
    return replace(drawing, files={**drawing.files, **files})


def _sentences(drawing: Drawing, rows: Sequence[Row]) -> Iterator[str]:
    if drawing.shows:
        yield drawing.shows
    left_out = set(drawing.left_out)
    shown = [row for row in rows if row.label not in left_out]
    if shown:
        yield caption_of(shown)
    scored = (
        [row.accuracy for row in shown if row.accuracy] if drawing.about & {"accuracy", "species"} else []
    )
    if "speed" in drawing.about:
        yield from _timed(shown, drawing.about)
    yield from _scored(scored, drawing.about)
    if "power" in drawing.about:
        yield "Energies have their worst-case uncertainty."
    yield from not_drawn("see the table", drawing.left_out)
    if any(accuracy.simulated for accuracy in scored):
        yield SIMULATED


def _timed(rows: Sequence[Row], about: frozenset[str]) -> Iterator[str]:
    timed = [row.speed for row in rows if row.speed]
    if not timed:
        return
    runs, workers = _span(speed.runs for speed in timed), _span(speed.workers for speed in timed)
    yield f"A file was timed in {runs} runs of {workers} fresh processes."
    if "intervals" in about and confidences(rows):
        yield f"Intervals of medians: {confidences(rows)}, order statistics over processes."


def _scored(scored: Sequence[Accuracy], about: frozenset[str]) -> Iterator[str]:
    told = dict.fromkeys(
        f"{accuracy.dataset} ({accuracy.protocol}): {accuracy.bona_fide} bona fide and {accuracy.attacks} "
        f"attack presentations of {_people(accuracy)}"
        for accuracy in scored
    )
    if told:
        yield f"Scored on {units.some(list(told), 3)}."
    intervals: dict[str, list[Interval]] = {}
    for accuracy in scored:
        if {"accuracy", "intervals"} <= about and accuracy.acer_interval:
            intervals.setdefault("ACER", []).append(accuracy.acer_interval)
        if {"species", "intervals"} <= about:
            rates = accuracy.apcer_by_species.values()
            intervals.setdefault("APCER", []).extend(rate.interval for rate in rates)
    for name, found in intervals.items():
        methods = dict.fromkeys(f"{100 * one.confidence:.3g} %, {one.method}" for one in found)
        if methods:
            yield f"Intervals of {name}: {units.some(list(methods), 2)}."


def _people(accuracy: Accuracy) -> str:
    return "an unknown number of people" if accuracy.subjects is None else f"{accuracy.subjects} people"


def _span(numbers: Iterable[int]) -> str:
    """The least and the largest of some numbers: '5 to 8', or '5'."""
    every = sorted(set(numbers))
    return str(every[0]) if len(every) == 1 else f"{every[0]} to {every[-1]}"
