"""Evolutionary search for structures under a hard budget, with whatever fitness is passed in.

The algorithm is that of MetaPruning (Liu et al., ICCV 2019), except that the last generation is evaluated
too. Every evaluation is on disk at once, and every draw of a generation comes from (seed, generation) alone:
the evaluated structures are all the state there is, and an interrupted search resumes and ends with the same
structures. This module knows nothing of networks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from swapbench.errors import NotValid
from swapbench.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from swapbench.workshop.prune.widths import Feasible, Genes
    from swapbench.workshop.recipes.pruning_recipe import Search

Origin = Literal["random", "mutation", "crossover"]

_STATE_FORMAT = 2
_TRIES = 200
"""Draws that may repeat an evaluated structure before the generation stays smaller."""


@dataclass(frozen=True)
class Evaluated:
    """A structure and its fitness.

    Attributes:
        generation: From 0.
        origin: How it was made.
        genes: The structure.
        cost: In the unit of the budget.
        fitness: Lower is better; infinite where it is not a finite number.
        parts: What the fitness consists of, by name.
        seconds: Time of the evaluation, during which others may have run beside it.
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
    """The fitness of one structure, lower is better, and what it consists of, for the history."""

    fitness: float
    parts: Mapping[str, float]


Judges = Callable[[Sequence["Genes"]], "Generator[tuple[Judged, float]]"]
"""Whoever judges structures, all that are handed in, in their order: each with the seconds that it took."""


class Elsewhere(Protocol):
    """A place outside of this process where structures are judged."""

    @property
    def at_once(self) -> int:
        """How many are judged at the same time."""

    def judges(self, folder: Path, save: Callable[[Path], None]) -> AbstractContextManager[Judges]:
        """Those who judge there by one fitness, which is gone after the block.

        Args:
            folder: Of the files that go there and come back, for this alone.
            save: Writes the fitness to a file.
        """


def in_threads(fitness: Callable[[Genes], Judged], workers: int) -> Judges:
    """Judging in so many threads of this process; the fitness is called from all of them at once."""

    def evaluate(genes: Genes) -> tuple[Judged, float]:
        began_s = time.monotonic()
        return fitness(genes), time.monotonic() - began_s

    def judged(structures: Sequence[Genes]) -> Generator[tuple[Judged, float]]:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(evaluate, genes) for genes in structures]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    return judged


def search(
    feasible: Feasible,
    judges: Judges,
    settings: Search,
    *,
    seed: int,
    state: Path,
    fingerprint: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Evaluated, ...]:
    """Search, or resume a search, and return every structure that was evaluated, in order; `best` picks one.

    Args:
        feasible: The structures within the budget.
        judges: Must give the same structure the same fitness, whatever they judge beside or before it.
        settings: Sizes of the generations.
        seed: Of all draws.
        state: The file of evaluated structures.
        fingerprint: A digest of everything that the fitness depends on.
        progress: Called with the evaluations that are done and expected.

    Raises:
        NotValid: The state is damaged or belongs to another search, or no structure of the first generation
            has a finite fitness.
    """
    file = _StateFile(state, fingerprint, seed, settings)
    evaluated = file.read()
    total = settings.generations * settings.population
    for generation in range(settings.generations):
        before = [candidate for candidate in evaluated if candidate.generation < generation]
        bred = list(breed(generation, before, feasible, settings, seed))
        resumed = evaluated[len(before) :]
        done = len(resumed)
        if [(candidate.origin, candidate.genes) for candidate in resumed[: len(bred)]] != bred[:done]:
            raise NotValid(f"{state} is damaged", remedy="Delete it to search from the start.")
        if bred[done:]:
            with closing(judges([genes for _, genes in bred[done:]])) as values:
                for (origin, genes), (judged, seconds) in zip(bred[done:], values, strict=True):
                    value = judged.fitness if math.isfinite(judged.fitness) else math.inf
                    cost, parts = float(feasible.cost(genes)), dict(judged.parts)
                    evaluated.append(Evaluated(generation, origin, genes, cost, value, parts, seconds))
                    file.write(evaluated)
                    if progress is not None:
                        progress(len(evaluated), total)
        if not any(math.isfinite(candidate.fitness) for candidate in evaluated):
            raise NotValid(
                "no structure of the first generation has a finite fitness",
                remedy="Lower the learning_rate of the PruningNet in the recipe.",
            )
    return tuple(evaluated)


def best(evaluated: Sequence[Evaluated]) -> Evaluated:
    """The structure of the best fitness; among equals the cheapest, then the first."""
    return min(evaluated, key=_order)


def breed(
    generation: int, before: Sequence[Evaluated], feasible: Feasible, settings: Search, seed: int
) -> Iterator[tuple[Origin, Genes]]:
    """The structures of a generation with their origin, none of them in `before`.

    There are fewer than the population where no new ones are found.
    """
    random = np.random.default_rng([seed, generation])
    parents = [candidate.genes for candidate in sorted(before, key=_order)[: settings.parents]]
    seen = {candidate.genes for candidate in before}

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


def _order(candidate: Evaluated) -> tuple[float, float]:
    return candidate.fitness, candidate.cost


@dataclass(frozen=True)
class _StateFile:
    """The evaluated structures on disk, and what must agree before a search may resume from them."""

    path: Path
    fingerprint: str
    seed: int
    settings: Search

    def _identity(self) -> dict[str, Any]:
        return {
            "format": _STATE_FORMAT,
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "settings": self.settings.model_dump(),
        }

    def write(self, evaluated: Sequence[Evaluated]) -> None:
        """Replace the file, whole or not at all."""
        rows = [
            {
                **asdict(candidate),
                "fitness": _finite(candidate.fitness),
                "parts": {name: _finite(value) for name, value in candidate.parts.items()},
            }
            for candidate in evaluated
        ]
        write_atomically(self.path, json.dumps({**self._identity(), "evaluated": rows}) + "\n")

    def read(self) -> list[Evaluated]:
        """The structures in the file, none where there is no file; NotValid for one that does not fit."""
        if not self.path.is_file():
            return []
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            identity = {name: content[name] for name in self._identity()}
            evaluated = [_evaluated(row) for row in content["evaluated"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotValid(f"{self.path} is damaged", remedy="Delete it to search from the start.") from error
        if identity != self._identity():
            raise NotValid(
                f"{self.path} belongs to another search: its settings, seed, data or network differ",
                remedy="Delete it to search from the start.",
            )
        return evaluated


def _finite(value: float) -> float | None:
    """The value, or None where it is not finite: JSON has no infinity."""
    return value if math.isfinite(value) else None


def _evaluated(row: dict[str, Any]) -> Evaluated:
    parts = {name: math.nan if value is None else float(value) for name, value in row["parts"].items()}
    return Evaluated(
        generation=int(row["generation"]),
        origin=row["origin"],
        genes=tuple(int(gene) for gene in row["genes"]),
        cost=float(row["cost"]),
        fitness=math.inf if row["fitness"] is None else float(row["fitness"]),
        parts=parts,
        seconds=float(row["seconds"]),
    )
