"""Evolutionary search under a hard budget: better and better structures, judged by whatever fitness is handed in.

The algorithm is MetaPruning's (Liu et al. 2019), with its last generation judged too. Every evaluation is on disk as soon
as it is known, and every draw of a generation comes from (seed, generation) alone: so what was evaluated is all the state
there is, and an interrupted search goes on and ends in the same structures. This module knows no network.
"""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from swapbench.errors import NotValid
from swapbench.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from swapbench.workshop.prune.widths import Feasible, Genes
    from swapbench.workshop.recipes.pruning_recipe import Search

Origin = Literal["random", "mutation", "crossover"]

_STATE_FORMAT = 2
_TRIES = 200
"""Draws of a new structure that may repeat a known one before the generation stays smaller."""


@dataclass(frozen=True)
class Evaluated:
    """A structure that was judged. parts: what the fitness consists of, by name; fitness: lower is better, inf: no number.

    seconds: what judging it took, beside others where several were judged at once.
    """

    generation: int
    origin: Origin
    genes: Genes
    cost: float
    fitness: float
    parts: Mapping[str, float]
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Judged:
    """What a fitness function says of one structure: lower is better; parts are kept in the history."""

    fitness: float
    parts: Mapping[str, float]


def search(
    feasible: Feasible,
    fitness: Callable[[Genes], Judged],
    settings: Search,
    *,
    seed: int,
    state: Path,
    fingerprint: str = "",
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Evaluated, ...]:
    """Every structure that was judged, in order; `best` picks one.

    fitness: must give the same for the same structure, and may be called from `workers` threads at once, which changes no
    result; state: the file that holds what was evaluated; fingerprint: of everything that fitness depends on; progress:
    evaluations done and expected. Raises NotValid for a damaged state, and where a whole first generation has no number.
    """

    def judge(genes: Genes) -> tuple[Judged, float]:
        began_s = time.monotonic()
        return fitness(genes), time.monotonic() - began_s

    found = _read(state, fingerprint, seed, settings)
    total = settings.generations * settings.population
    with ThreadPoolExecutor(workers) as pool:
        for generation in range(settings.generations):
            before = [one for one in found if one.generation < generation]
            bred = list(breed(generation, before, feasible, settings, seed))
            known = len(found) - len(before)
            if [(one.origin, one.genes) for one in found[len(before) :][: len(bred)]] != bred[:known]:
                raise NotValid(f"{state} is damaged", remedy="Delete it to search from the start.")
            coming = [pool.submit(judge, genes) for _, genes in bred[known:]]
            try:
                for (origin, genes), future in zip(bred[known:], coming, strict=True):
                    judged, seconds = future.result()
                    score = judged.fitness if math.isfinite(judged.fitness) else math.inf
                    found.append(
                        Evaluated(
                            generation,
                            origin,
                            genes,
                            float(feasible.cost(genes)),
                            score,
                            dict(judged.parts),
                            seconds,
                        )
                    )
                    _write(state, fingerprint, seed, settings, found)
                    if progress is not None:
                        progress(len(found), total)
            finally:
                for future in coming:
                    future.cancel()
            if not any(math.isfinite(one.fitness) for one in found):
                raise NotValid(
                    "not one structure of the first generation has a fitness that is a number",
                    remedy="Lower the learning_rate of the PruningNet in the recipe.",
                )
    return tuple(found)


def best(evaluated: Sequence[Evaluated]) -> Evaluated:
    """The fittest structure; of equals the cheapest, then the first."""
    return min(evaluated, key=_order)


def breed(
    generation: int, before: Sequence[Evaluated], feasible: Feasible, settings: Search, seed: int
) -> Iterator[tuple[Origin, Genes]]:
    """The structures of a generation, none of them seen before: fewer than the population where no new ones are found."""
    random = np.random.default_rng([seed, generation])
    parents = [one.genes for one in sorted(before, key=_order)[: settings.parents]]
    seen = {one.genes for one in before}

    def pick() -> Genes:
        return parents[int(random.integers(len(parents)))]

    ways: list[tuple[Origin, int, Callable[[], Genes]]] = []
    if parents:
        probability = settings.mutation_probability
        ways += [
            ("mutation", settings.mutations, lambda: feasible.mutated(pick(), probability, random)),
            ("crossover", settings.crossovers, lambda: feasible.crossed(pick(), pick(), random)),
        ]
    missing = settings.population
    for origin, count, way in [*ways, ("random", missing, lambda: feasible.drawn(random))]:
        for _ in range(missing if origin == "random" else count):
            genes = next((genes for genes in (way() for _ in range(_TRIES)) if genes not in seen), None)
            if genes is None:
                break
            seen.add(genes)
            missing -= 1
            yield origin, genes


def _order(one: Evaluated) -> tuple[float, float]:
    return one.fitness, one.cost


def _about(fingerprint: str, seed: int, settings: Search) -> dict[str, Any]:
    return {
        "format": _STATE_FORMAT,
        "fingerprint": fingerprint,
        "seed": seed,
        "settings": settings.model_dump(),
    }


def _write(state: Path, fingerprint: str, seed: int, settings: Search, found: Sequence[Evaluated]) -> None:
    rows = [{**asdict(one), "fitness": _number(one.fitness), "parts": _numbers(one.parts)} for one in found]
    write_atomically(state, json.dumps({**_about(fingerprint, seed, settings), "evaluated": rows}) + "\n")


def _number(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _numbers(parts: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in parts.items()}


def _read(state: Path, fingerprint: str, seed: int, settings: Search) -> list[Evaluated]:
    if not state.is_file():
        return []
    try:
        read = json.loads(state.read_text(encoding="utf-8"))
        about = {name: read[name] for name in _about(fingerprint, seed, settings)}
        rows = [
            Evaluated(
                generation=int(row["generation"]),
                origin=row["origin"],
                genes=tuple(int(gene) for gene in row["genes"]),
                cost=float(row["cost"]),
                fitness=math.inf if row["fitness"] is None else float(row["fitness"]),
                parts={
                    name: math.nan if value is None else float(value) for name, value in row["parts"].items()
                },
                seconds=float(row["seconds"]),
            )
            for row in read["evaluated"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotValid(f"{state} is damaged", remedy="Delete it to search from the start.") from error
    if about != _about(fingerprint, seed, settings):
        raise NotValid(
            f"{state} belongs to another search: its settings, seed, data or network differ",
            remedy="Delete it to search from the start.",
        )
    return rows
