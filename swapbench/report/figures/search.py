"""The history of a pruning search: fitness of all candidates by generation, and below it their cost.

The history is a CSV with a header and a line a candidate, in any order, as a pruning search writes it beside
its checkpoint:

    generation   whole number from 0
    fitness      lower is better; empty, nan or inf where the candidate has none
    cost         what the budget limits, a number (optional); or a column `macs`, `params` or `latency_ns`,
                 which names the unit
    cost_unit    its unit in words, the same in every line (optional)
    candidate    its name (optional)
    best         true | false: whether it was the best so far when it was judged (optional)

Other columns are ignored. Without `best`, the first candidate with a fitness below all before it is the best
so far.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swapbench.errors import UserError
from swapbench.report.figures import system_search
from swapbench.report.figures.drawing import Drawing, as_csv, drawing
from swapbench.report.figures.style import COLOURS, Key, Page, Panel, log_axis, mark, plain_axis, sheet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMAT = "generation,candidate,cost,cost_unit,fitness,best"
_COSTS = {"macs": "MACs", "params": "parameters", "latency_ns": "ns"}
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no", ""})


@dataclass(frozen=True)
class Candidate:
    """One candidate of the search.

    Attributes:
        generation: From 0.
        candidate: Its name, "" where it has none.
        cost: In `cost_unit`; None where the file names none.
        cost_unit: For example "MACs".
        fitness: Lower is better; None where it could not be evaluated.
        best: Whether it was the best so far when it was judged.
    """

    generation: int
    candidate: str
    cost: float | None
    cost_unit: str
    fitness: float | None
    best: bool


def read_history(path: Path) -> tuple[Candidate, ...]:
    """Read the candidates of a search, by generation, in the order of the file within each.

    Raises:
        UserError: The file cannot be read, or a line of it; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            for needed in ("generation", "fitness"):
                if needed not in names:
                    raise UserError(f"{path} has no column {needed}", remedy=f"Its header should be {FORMAT}")
            candidates = [_candidate(line, f"{path} line {reader.line_num}") for line in reader]
    except FileNotFoundError:
        raise UserError(f"there is no search history {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the search history {path}: {error}") from error
    if not candidates:
        raise UserError(f"{path} holds no candidates", remedy=f"A line each, under the header {FORMAT}")
    unit = {candidate.cost_unit for candidate in candidates if candidate.cost is not None}
    if len(unit) > 1:
        raise UserError(f"{path} gives costs in several units: {', '.join(sorted(unit))}")
    candidates.sort(key=lambda candidate: candidate.generation)
    return tuple(candidates) if "best" in names else _with_best(candidates)


def _candidate(line: Mapping[str, str | None], where: str) -> Candidate:
    def text(name: str) -> str:
        return (line.get(name) or "").strip()

    costs = [(text(name), unit) for name, unit in _COSTS.items() if text(name)]
    cost, unit = (text("cost"), text("cost_unit")) if text("cost") else (costs or [("", "")])[0]
    generation = _number(text("generation"), f"{where}: generation")
    if generation is None or generation < 0 or generation != int(generation):
        raise UserError(f"{where}: generation {text('generation')!r} is not a whole number from 0 up")
    best = text("best").lower()
    if best not in _TRUE | _FALSE:
        raise UserError(f"{where}: best is {best!r}", remedy="Write true or false")
    return Candidate(
        generation=int(generation),
        candidate=text("candidate"),
        cost=_number(cost, f"{where}: cost"),
        cost_unit=unit,
        fitness=_number(text("fitness"), f"{where}: fitness"),
        best=best in _TRUE,
    )


def _number(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where} {text!r} is not a number") from None
    return value if math.isfinite(value) else None


def _with_best(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    marked, lowest = [], math.inf
    for candidate in candidates:
        better = candidate.fitness is not None and candidate.fitness < lowest
        lowest = candidate.fitness if better and candidate.fitness is not None else lowest
        marked.append(replace(candidate, best=better))
    return tuple(marked)


def draw(path: Path | None, page: Page) -> Drawing:
    """The figure of a history; of the search of a decision system, see `system_search`."""
    if path is None:
        return Drawing({}, f"no search history was given (a CSV: {FORMAT})")
    if path.name.endswith(".search.csv") and path.is_file():
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        if system_search.is_search(text):
            return system_search.draw(path, text, page)
    candidates = read_history(path)
    failed = tuple(
        candidate.candidate or f"generation {candidate.generation}"
        for candidate in candidates
        if candidate.fitness is None
    )
    if len(failed) == len(candidates):
        return Drawing({}, "no candidate of the search has a fitness, so there is nothing to draw", failed)
    shows = (
        f"A pruning search: fitness and cost of {len(candidates)} candidates by generation, lower is better."
    )
    return drawing(lambda: figure_of(candidates, page), as_csv(candidates), page, failed, shows)


def figure_of(candidates: Sequence[Candidate], page: Page) -> Figure:
    """Draw `candidates`, at least one of which has a fitness; call it inside `rc_context(page.rc)`."""
    with_cost = any(candidate.cost is not None for candidate in candidates)
    keys = [
        Key(
            "",
            (
                mark(page, "candidate", marker=".", color="0.6", markersize=page.pt(4)),
                mark(page, "best so far", marker="D", linestyle="-", color=COLOURS[0], markersize=page.pt(3)),
            ),
        )
    ]
    failed = sum(candidate.fitness is None for candidate in candidates)
    notes = [f"{failed} candidate{'s' * (failed != 1)} without a fitness."] if failed else []
    panels = [Panel(1.5, below_in=0.12 if with_cost else 0.4)] + [Panel(1.1)] * with_cost
    figure, axes = sheet(page, panels, keys, left_in=0.7, notes=notes)
    last = max(candidate.generation for candidate in candidates)
    for panel in axes:
        panel.set_xlim(-0.04 * max(last, 1) - 0.2, 1.04 * max(last, 1) + 0.2)
        plain_axis(panel.xaxis, most=8)
        panel.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        panel.grid(visible=True, which="major")
    axes[-1].set_xlabel("Generation", labelpad=page.pt(2))
    _scatter(
        axes[0],
        [(candidate.generation, candidate.fitness, candidate.best) for candidate in candidates],
        last,
        page,
    )
    axes[0].set_ylabel("Fitness\n(lower is better)", labelpad=page.pt(2))
    axes[0].margins(y=0.1)
    plain_axis(axes[0].yaxis, negative=True)
    if with_cost:
        axes[0].tick_params(axis="x", labelbottom=False)
        costs = [candidate.cost for candidate in candidates if candidate.cost is not None]
        per, unit = _cost_unit(
            costs, next((candidate.cost_unit for candidate in candidates if candidate.cost is not None), "")
        )
        scaled = [
            (candidate.generation, None if candidate.cost is None else candidate.cost / per, candidate.best)
            for candidate in candidates
        ]
        if min(costs) > 0 and max(costs) / min(costs) > 5:
            ends = (min(costs) / per / 1.2, max(costs) / per * 1.2)
            axes[1].set_yscale("log")
            axes[1].set_ylim(*ends)
            log_axis(axes[1].yaxis, *ends)
        else:
            axes[1].margins(y=0.1)
            plain_axis(axes[1].yaxis, most=4, negative=min(costs) < 0)
        _scatter(axes[1], scaled, last, page)
        axes[1].set_ylabel(f"Cost, {unit}" if unit else "Cost", labelpad=page.pt(2))
    return figure


def _cost_unit(costs: Sequence[float], unit: str) -> tuple[float, str]:
    """How many of the unit are shown as one, and what that is called: 4e7 MACs are 40 M MACs."""
    largest = max(map(abs, costs))
    if unit == "ns":
        return 1e6, "ms"
    for size, prefix in ((1e9, "G"), (1e6, "M")):
        if largest >= size:
            return size, f"{prefix} {unit}".strip()
    return 1.0, unit


def _scatter(axes: Axes, points: Sequence[tuple[int, float | None, bool]], last: int, page: Page) -> None:
    known = [(x, y, best) for x, y, best in points if y is not None]
    axes.plot(
        [x for x, _, _ in known],
        [y for _, y, _ in known],
        linestyle="none",
        marker=".",
        markersize=page.pt(2.5),
        color="0.6",
        zorder=2,
    )
    best_points = [(x, y) for x, y, best in known if best]
    if best_points:
        # What the search held at the end of each generation.
        ends = dict(best_points) | {last: best_points[-1][1]}
        axes.plot(
            list(ends),
            list(ends.values()),
            drawstyle="steps-post",
            color=COLOURS[0],
            linewidth=page.pt(1.0),
            zorder=3,
        )
        axes.plot(
            [x for x, _ in best_points],
            [y for _, y in best_points],
            linestyle="none",
            marker="D",
            markersize=page.pt(3),
            color=COLOURS[0],
            zorder=3,
        )
