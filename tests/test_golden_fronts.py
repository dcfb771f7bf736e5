"""Fronts in Python and in the page's script: both are held to tests/golden/fronts.json.

    python tests/test_golden_fronts.py

makes the file again. Its first cases are worked out by hand; the others are drawn with a fixed seed, and
their fronts are found pair by pair from the definition, by neither of the two implementations.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import made_records as made
import pytest

from swapbench.report.choose.fronts import comparisons
from swapbench.report.page.detail import detail_of
from swapbench.report.page.document import page_html
from swapbench.report.rows.comparable import CONDITIONS, OF_ONE_RUNTIME, Conditions, sets_of
from swapbench.report.rows.summary import summary
from swapbench.report.tables.table import table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

GOLDEN = Path(__file__).parent / "golden" / "fronts.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"] if GOLDEN.is_file() else []
HEAD = (
    "Made by python tests/test_golden_fronts.py. Rows have conditions and x and y (null: missing). "
    "front: rows that no comparable row dominates. lines: the front of each set of rows that may all be "
    "compared, best x first."
)
SETUP = ["machine", "version"]
NUMBERS = {"frame_rate": (15, 30), "threads": (1, 2)}
SEED, DRAWN = 20261130, 40
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# ---- The cases ----


def row(x: float | None, y: float | None, **conditions: Any) -> dict[str, Any]:
    return {
        "x": x,
        "y": y,
        "conditions": {"runtime": "onnxruntime", "version": "1", "machine": "a"} | conditions,
    }


def case(
    name: str,
    rows: list[dict[str, Any]],
    front: list[int],
    lines: list[list[int]],
    *,
    x: str = "lower",
    y: str = "lower",
    asked: Sequence[str] = SETUP,
) -> dict[str, Any]:
    axes = {"x": {"better": x, "conditions": list(asked)}, "y": {"better": y, "conditions": []}}
    return {"name": name, **axes, "rows": rows, "front": front, "lines": lines}


BY_HAND = (
    case("no row", [], [], []),
    case("one row", [row(1, 1)], [0], [[0]]),
    case("a row that is worse in both", [row(1, 1), row(2, 2)], [0], [[0]]),
    case("a trade-off of three", [row(3, 1), row(1, 3), row(2, 2)], [0, 1, 2], [[1, 2, 0]]),
    case("equal rows stay together", [row(1, 2), row(1, 2), row(2, 2)], [0, 1], [[0, 1]]),
    case("a tie in x", [row(1, 2), row(1, 3), row(2, 1)], [0, 2], [[0, 2]]),
    case("a tie in y", [row(1, 2), row(2, 2), row(3, 1)], [0, 2], [[0, 2]]),
    case("more is better in x", [row(1, 1), row(2, 1), row(3, 2)], [1, 2], [[2, 1]], x="higher"),
    case(
        "more is better in both", [row(1, 1), row(2, 3), row(3, 2)], [1, 2], [[2, 1]], x="higher", y="higher"
    ),
    case("zeros and negative numbers", [row(0, 0), row(-1, 1), row(0, 1)], [0, 1], [[1, 0]]),
    case("missing values", [row(None, 0), row(0, None), row(2, 2), row(None, None)], [2], [[2]]),
    case("nothing has both numbers", [row(None, 0), row(0, None)], [], []),
    case(
        "two places are not compared",
        [row(1, 1), row(2, 2, machine="b"), row(3, 3, machine="b")],
        [0, 1],
        [[0], [1]],
    ),
    case("places matter only where a column asks", [row(1, 1), row(2, 2, machine="b")], [0], [[0]], asked=[]),
    case(
        "two versions of one runtime are not compared",
        [row(1, 1), row(2, 2, version="2"), row(3, 3, version="2")],
        [0, 1],
        [[0], [1]],
    ),
    case(
        "another runtime is compared with both versions",
        [row(1, 3), row(3, 1, version="2"), row(2, 2, runtime="litert")],
        [0, 1, 2],
        [[0, 2], [1]],
    ),
    case(
        "another runtime beats one version and not the other",
        [row(1, 1), row(3, 3, version="2"), row(2, 2, runtime="litert")],
        [0],
        [[0], []],
    ),
    case(
        "a row that only an incomparable one beats, by way of a third",
        [row(1, 1), row(2, 3, version="2"), row(2.5, 2.5, runtime="litert")],
        [0, 1],
        [[0], [1]],
    ),
)


def drawn_cases() -> list[dict[str, Any]]:
    """Small sets of rows on a coarse grid, where ties are frequent, with their fronts found pair by pair."""
    draw = random.Random(SEED)
    cases = []
    for number in range(DRAWN):
        asked = sorted(draw.sample(CONDITIONS, draw.randint(0, 4)))
        names = ["runtime", *asked]
        kinds = [
            {name: draw.choice(NUMBERS.get(name, "ab")) for name in names} for _ in range(draw.randint(1, 5))
        ]
        rows = [
            row(
                draw.choice([None, *range(6)]) if draw.random() < 0.3 else draw.randint(0, 5),
                draw.choice([None, *range(6)]) if draw.random() < 0.3 else draw.randint(0, 5),
                **draw.choice(kinds),
            )
            for _ in range(draw.randint(2, 14))
        ]
        x, y = draw.choice(("lower", "higher")), draw.choice(("lower", "higher"))
        drawn = case(f"drawn {number}", rows, [], [], x=x, y=y, asked=asked)
        drawn["front"], drawn["lines"] = front_and_lines(drawn)
        cases.append(drawn)
    return cases


def front_and_lines(drawn: dict[str, Any]) -> tuple[list[int], list[list[int]]]:
    """The definition, pair by pair."""
    rows, asked = drawn["rows"], drawn["x"]["conditions"]
    x_sign, y_sign = (-1 if drawn[axis]["better"] == "higher" else 1 for axis in "xy")
    judged = [i for i, values in enumerate(rows) if None not in (values["x"], values["y"])]
    costs = {i: (x_sign * rows[i]["x"], y_sign * rows[i]["y"]) for i in judged}

    def may(i: int, other: int) -> bool:
        ours, theirs = rows[i]["conditions"], rows[other]["conditions"]
        other_runtime = ours["runtime"] != theirs["runtime"]
        return all(
            ours.get(name) == theirs.get(name) or (other_runtime and name in OF_ONE_RUNTIME) for name in asked
        )

    def beats(i: int, other: int) -> bool:
        return costs[i] != costs[other] and all(a <= b for a, b in zip(costs[i], costs[other], strict=True))

    front = [i for i in judged if not any(may(other, i) and beats(other, i) for other in judged)]
    # Each row, in the order of the table, goes to the first set in which it may be compared with every row.
    sets: list[list[int]] = []
    for i in judged:
        home = next((members for members in sets if all(may(i, other) for other in members)), None)
        if home is None:
            sets.append(home := [])
        home.append(i)
    return front, [
        sorted((i for i in members if i in front), key=lambda i: (costs[i], i)) for members in sets
    ]


# ---- Python ----


def rows_and_columns(golden: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The rows and columns of a case, as the report has them."""
    conditions = Conditions(
        device="",
        machine="",
        cores=None,
        held_to="",
        libraries="",
        runtime="",
        version="",
        settings="",
        threads=1,
        data=None,
        protocol=None,
        threshold=None,
        frame_rate=None,
        meter=None,
        scope=None,
    )
    record_row = replace(summary(made.record()), accuracy=None, energy=(), relative=None)
    rows = []
    for i, values in enumerate(golden["rows"]):
        named = {
            "held_to" if name == "cores" else name: value for name, value in values["conditions"].items()
        }
        rows.append(replace(record_row, label=str(i), conditions=replace(conditions, **named)))
    columns = [
        SimpleNamespace(
            name=axis,
            title=axis,
            better=golden[axis]["better"],
            conditions=frozenset(golden[axis]["conditions"]),
            number=lambda of, axis=axis: golden["rows"][int(of.label)][axis],
            absent=lambda of: "",
        )
        for axis in "xy"
    ]
    return rows, columns


@pytest.mark.parametrize("golden", CASES, ids=lambda golden: golden["name"])
def test_the_report_finds_the_golden_front_and_sets(golden: dict[str, Any]) -> None:
    rows, columns = rows_and_columns(golden)
    groups = comparisons(rows, columns, draws=0)
    standings = itertools.chain.from_iterable(group.standings for group in groups)
    assert sorted(int(standing.row.label) for standing in standings if standing.on_front) == golden["front"]

    judged = [i for i, values in enumerate(golden["rows"]) if None not in (values["x"], values["y"])]
    sets = [{judged[place] for place in places} for places in sets_of([rows[i] for i in judged], columns)]
    fronts = [sorted(members & set(golden["front"])) for members in sets]
    assert sorted(fronts) == sorted(sorted(line) for line in golden["lines"])


def test_the_golden_file_is_what_its_maker_writes() -> None:
    assert GOLDEN.read_text(encoding="utf-8") == golden_text()


def test_the_definition_agrees_with_the_cases_worked_out_by_hand() -> None:
    for golden in BY_HAND:
        front, lines = front_and_lines(golden)
        assert (golden["name"], front, lines) == (golden["name"], golden["front"], golden["lines"])


# ---- The page's script ----

FRONTS_IN_THE_PAGE = """cases => {
  const contents = data;
  const results = cases.map(({ rows, x, y, names }) => {
    const values = name => rows.map(row => row.conditions[name] ?? "");
    const conditions = Object.fromEntries(names.map(name => [name, values(name)]));
    data = { of_one_runtime: contents.of_one_runtime, rows: { conditions } };
    const column = (axis, name) => ({ ...axis, values: rows.map(row => row[name]) });
    const [across, up] = [column(x, "x"), column(y, "y")];
    const drawn = rowsToDraw(rows.map((_, i) => i), across, up);
    return frontsOf(drawn, across, up).map(front => front.map(i => drawn[i]));
  });
  data = contents;
  return results;
}"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt install chromium")
def test_the_script_of_the_page_finds_the_golden_front_and_lines(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "index.html"
    path.write_text(page_html(table_of(made.demo()), map(detail_of, made.demo())), encoding="utf-8")
    cases = [golden | {"names": ["runtime", *CONDITIONS]} for golden in CASES]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        results = page.evaluate(FRONTS_IN_THE_PAGE, cases)
        browser.close()
    assert len(results) == len(CASES) >= 50
    for golden, lines in zip(CASES, results, strict=True):
        assert sorted(itertools.chain.from_iterable(lines)) == golden["front"], golden["name"]
        assert sorted(lines) == sorted(golden["lines"]), golden["name"]


# ---- Making the file ----


def golden_text() -> str:
    """The whole file: a line a case."""
    lines = ",\n".join(json.dumps(golden) for golden in (*BY_HAND, *drawn_cases()))
    return f'{{"about": {json.dumps(HEAD)},\n"cases": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    GOLDEN.write_text(golden_text(), encoding="utf-8")
