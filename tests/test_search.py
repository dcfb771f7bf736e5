import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from swapbench.errors import NotValid
from swapbench.workshop.prune.search import Evaluated, Judged, best, breed, in_threads, search
from swapbench.workshop.prune.widths import Feasible, Genes
from swapbench.workshop.recipes.pruning_recipe import Search

SMALL = Search(generations=4, population=8, parents=3, mutations=3, crossovers=3)
SPACE = Feasible((31,) * 13, sum, 13 * 9)


def distance(genes: Genes) -> Judged:
    """A toy: every gene should be 7."""
    far = float(sum((gene - 7) ** 2 for gene in genes))
    return Judged(far, {"loss": far, "twice": 2 * far})


def run(tmp_path: Path, **changes: Any) -> tuple[Evaluated, ...]:
    options: dict[str, Any] = {"seed": 3, "state": tmp_path / "search.json"} | changes
    return search(
        options.pop("space", SPACE),
        in_threads(options.pop("fitness", distance), options.pop("workers", 1)),
        options.pop("settings", SMALL),
        **options,
    )


def test_a_search_finds_much_better_structures_than_it_began_with(tmp_path: Path) -> None:
    longer = Search(generations=10, population=30, parents=6, mutations=15, crossovers=10)
    found = run(tmp_path, settings=longer)
    first = best([one for one in found if one.generation == 0])
    assert best(found).fitness < first.fitness / 3
    assert len(found) == 300
    assert {one.origin for one in found} == {"random", "mutation", "crossover"}


def test_no_structure_is_judged_twice_and_the_last_generation_is_judged_too(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert len({one.genes for one in found}) == len(found) == 32
    assert [one.generation for one in found] == [0] * 8 + [1] * 8 + [2] * 8 + [3] * 8
    assert [one.origin for one in found[8:16]] == ["mutation"] * 3 + ["crossover"] * 3 + ["random"] * 2
    assert all(one.parts["twice"] == 2 * one.fitness and one.cost == sum(one.genes) for one in found)


@settings(max_examples=10)
@given(st.integers(0, 500), st.integers(0, 60))
def test_the_budget_is_never_exceeded(seed: int, most: int) -> None:
    space = Feasible((9, 5, 9, 5), lambda genes: genes[0] * 3 + sum(genes), most)
    before = [
        Evaluated(0, origin, genes, 0, distance(genes).fitness, {})
        for origin, genes in breed(0, [], space, SMALL, seed)
    ]
    for generation in (0, 1):
        bred = [genes for _, genes in breed(generation, before if generation else [], space, SMALL, seed)]
        assert all(space.cost(genes) <= most for genes in bred)
        assert len(set(bred)) == len(bred)


@pytest.mark.parametrize("stop", [1, 7, 8, 9, 20, 31])
def test_a_search_that_was_cut_ends_in_the_same_structures(tmp_path: Path, stop: int) -> None:
    whole = run(tmp_path / "whole")
    asked: list[Genes] = []

    def dies(genes: Genes) -> Judged:
        if len(asked) == stop:
            raise KeyboardInterrupt
        asked.append(genes)
        return distance(genes)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", fitness=dies)
    left = json.loads((tmp_path / "cut" / "search.json").read_text())["evaluated"]
    assert len(left) == stop
    again: list[Genes] = []

    def counts(genes: Genes) -> Judged:
        again.append(genes)
        return distance(genes)

    assert run(tmp_path / "cut", fitness=counts) == whole
    assert len(again) == len(whole) - stop
    kept = [json.loads((tmp_path / name / "search.json").read_text()) for name in ("cut", "whole")]
    taken = [[one.pop("seconds") for one in state["evaluated"]] for state in kept]
    assert kept[0] == kept[1]
    assert taken[0][:stop] == [one["seconds"] for one in left]  # what was judged before keeps its time
    assert run(tmp_path / "cut", fitness=dies) == whole  # nothing is left to ask


def test_workers_side_by_side_change_nothing_but_the_time(tmp_path: Path) -> None:
    assert run(tmp_path / "two", workers=2) == run(tmp_path / "one")


def test_another_seed_is_another_search_and_the_same_is_the_same(tmp_path: Path) -> None:
    one = run(tmp_path / "a")
    assert run(tmp_path / "b") == one
    assert [other.genes for other in run(tmp_path / "c", seed=4)] != [other.genes for other in one]


def test_a_state_of_another_search_is_not_continued(tmp_path: Path) -> None:
    run(tmp_path)
    for changes in (
        {"seed": 4},
        {"fingerprint": "other"},
        {"settings": SMALL.model_copy(update={"parents": 2})},
    ):
        with pytest.raises(NotValid, match=r"belongs to another search: .* Delete it"):
            run(tmp_path, **changes)


@pytest.mark.parametrize("damage", ["cut", "genes", "list"])
def test_a_damaged_state_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    run(tmp_path)
    path = tmp_path / "search.json"
    text = path.read_text()
    state = json.loads(text)
    state["evaluated"][5]["genes"][0] += 1
    path.write_text({"cut": text[:500], "genes": json.dumps(state), "list": "[]"}[damage])
    with pytest.raises(NotValid, match=r"search.json is damaged\. Delete it to search from the start"):
        run(tmp_path)


def test_a_structure_without_a_number_is_the_worst_and_survives_a_restart(tmp_path: Path) -> None:
    def sometimes(genes: Genes) -> Judged:
        return Judged(math.nan, {"loss": math.nan}) if genes[0] % 2 else distance(genes)

    found = run(tmp_path, fitness=sometimes)
    assert math.inf in [one.fitness for one in found]
    assert best(found).genes[0] % 2 == 0
    assert "NaN" not in (tmp_path / "search.json").read_text()
    again = run(tmp_path, fitness=sometimes)
    assert [(one.genes, one.fitness) for one in again] == [(one.genes, one.fitness) for one in found]
    with pytest.raises(NotValid, match="no structure of the first generation has a finite fitness"):
        run(tmp_path / "never", fitness=lambda genes: Judged(math.nan, {}))


def test_a_space_that_is_used_up_ends_the_search(tmp_path: Path) -> None:
    found = run(tmp_path, space=Feasible((2, 3), sum, 2))
    assert {one.genes for one in found} == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}
    assert len(found) == 5


def test_of_equals_the_cheapest_is_the_best() -> None:
    ones = [Evaluated(0, "random", (cost,), cost, 1.0, {}) for cost in (5, 3, 4)]
    assert best([*ones, Evaluated(1, "random", (9,), 9, 2.0, {})]).genes == (3,)


def test_progress_counts_to_what_is_expected(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    run(tmp_path, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(number, 32) for number in range(1, 33)]


def test_more_offspring_than_the_population_is_refused() -> None:
    with pytest.raises(ValidationError, match="mutations and crossovers are more than the population"):
        Search(population=10, mutations=6, crossovers=5)
