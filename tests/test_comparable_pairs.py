"""Which records may be compared in which column, for every pair that differs in one thing."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from made_records import MACHINE, accuracy, power, record, speed, weight

from swapbench.records import Plan, Record, RuntimeUsed
from swapbench.report.choose.fronts import comparisons
from swapbench.report.choose.resampling import NOTHING
from swapbench.report.figures.pareto_points import points_of
from swapbench.report.page.data import page_data
from swapbench.report.page.detail import detail_of
from swapbench.report.rows.comparable import CONDITIONS, OF_ONE_RUNTIME, comparable, sets_of, why_not
from swapbench.report.rows.row import Row
from swapbench.report.tables.column import Column
from swapbench.report.tables.columns import COLUMNS, column
from swapbench.report.tables.table import Table, table_of
from swapbench.report.tables.view import Query, view_of


def used(version: str = "1.31.0", threads: int = 1, **settings: str) -> RuntimeUsed:
    return RuntimeUsed(
        runtime="onnxruntime",
        version=version,
        package="onnxruntime",
        providers=("CPU",),
        threads=threads,
        settings={"cores": "big", "affinity": "c0", "flavour": "aar", **settings},
    )


def scored(**more: Any) -> Any:
    return accuracy({"print": (2, 100), "replay": (4, 100)}, 1, 50, **more)


def drawn_uj(**more: str) -> Any:
    return power(20_000_000, 1000, **more)


BASE: dict[str, Any] = {"runtime": used(), "accuracy": scored(), "power": drawn_uj(), "plan": Plan()}
ALONE: dict[str, dict[str, Any]] = {
    "machine": {"machine": MACHINE.model_copy(update={"soc": "Other CPU"})},
    "cores": {"runtime": used(cores="little", affinity="f")},
    "libraries": {"runtime": used(flavour="bundle")},
    "threads": {"runtime": used(threads=2)},
    "version": {"runtime": used("1.32.0")},
    "settings": {"runtime": used(delegate="gpu")},
    "data": {"accuracy": scored(dataset_digest="fedcba9876543210")},
    "protocol": {"accuracy": scored(protocol="cross")},
    "threshold": {"accuracy": scored(threshold_rule="given")},
    "frame_rate": {"plan": Plan(fps=15)},
    "meter": {"power": drawn_uj(meter="nvml")},
    "scope": {"power": drawn_uj(scope="psys")},
}
"""By condition: what one record has otherwise than all others."""
COUNTED = {"file_bytes", "params", "macs"}
LATENCIES = {
    "latency_p05",
    "latency_p50",
    "latency_p90",
    "latency_p95",
    "latency_p99",
    "load",
    "first",
    "cpu_time",
    "peak_memory",
}
LATENCIES |= {"runs", "workers", "memory_before_load"}
PACED = {"paced_p50", "paced_p95", "paced_missed", "paced_frames", "paced_fps"}
RATES = {
    "acer",
    "apcer",
    "bpcer",
    "hter",
    "hter_target_eer",
    "eer",
    "auc",
    "bpcer10",
    "bpcer20",
    "bpcer100",
    "apcer.print",
    "apcer.replay",
    "device_difference",
    "device_flips",
}
RATES |= {
    "acer_sd",
    "threshold",
    "parity_difference",
    "parity_ranks",
    "parity_logits",
    "parity_flips",
    "parity_samples",
    "device_samples",
}
FROZEN = {"acer", "apcer", "bpcer", "hter", "acer_sd", "apcer.print", "apcer.replay"}
DECISIONS = {"decision_time", "decision_p90", "decision_worst", "decision_frames", "decision_latency"}
ENERGIES = {"energy", "energy_gross", "energy_runs"}
BASE_OF = {
    "speed_up": LATENCIES,
    "speed_up_p05": LATENCIES,
    "memory_reduction": LATENCIES,
    "size_reduction": COUNTED,
    "params_reduction": COUNTED,
    "macs_reduction": COUNTED,
    "energy_reduction": ENERGIES,
    "accuracy_kept": FROZEN,
    "error_ratio": FROZEN,
}
SETUP = {"machine", "cores", "libraries", "threads", "version", "settings"}
ASKED = {
    **{name: set() for name in COUNTED},
    **dict.fromkeys(LATENCIES, SETUP),
    **dict.fromkeys(PACED, SETUP | {"frame_rate"}),
    **{name: {"data", "protocol"} for name in RATES},
    **{name: {"data", "protocol", "threshold"} for name in FROZEN},
    **dict.fromkeys(DECISIONS, SETUP | {"data", "protocol"}),
    "decision_energy": SETUP | {"frame_rate", "meter", "scope", "data", "protocol"},
    **dict.fromkeys(ENERGIES, SETUP | {"frame_rate", "meter", "scope"}),
}
"""By column: in what two records may not differ; ratios ask what their base asks, and the same reference."""


def records(times_ns: dict[str, int] | None = None) -> list[Record]:
    """A record, a twin of it, and for each condition one that differs from it in this alone."""
    kinds: dict[str, dict[str, Any]] = {"plain": {}, "twin": {}, **ALONE}
    return [
        record(
            name, minute=minute, speed=speed((times_ns or {}).get(name, 1_000_000), 10_000), **(BASE | other)
        )
        for minute, (name, other) in enumerate(kinds.items())
    ]


def rows_by_name(table: Table) -> dict[str, Row]:
    return {row.net: row for row in table.rows}


TABLE = table_of(records())
ROWS = rows_by_name(TABLE)
EVERY = (*COLUMNS.values(), column("apcer.print", TABLE.rows), column("apcer.replay", TABLE.rows))


def differing(one: str, other: str) -> set[str]:
    return {one, other} - {"plain", "twin"}


@pytest.mark.parametrize("of", EVERY, ids=lambda of: of.name)
def test_every_pair_is_compared_in_a_column_unless_it_differs_in_what_the_column_depends_on(
    of: Column,
) -> None:
    if not of.numeric:
        assert not of.conditions
        return
    for one, other in itertools.product(ROWS, repeat=2):
        differ = differing(one, other) if one != other else set()
        if of.relative:
            asked = ASKED[next(iter(BASE_OF[of.name]))]
            same = ROWS[one].conditions.reference == ROWS[other].conditions.reference
            expected = not differ & asked and same
        else:
            expected = not differ & ASKED[of.name]
        assert comparable(ROWS[one], ROWS[other], of) is expected, (one, other)
        assert comparable(ROWS[other], ROWS[one], of) is expected, (one, other)
        assert (why_not(ROWS[one], ROWS[other], of) == "") is expected


def test_every_condition_has_a_record_that_differs_in_it_alone() -> None:
    assert {*ALONE, "reference"} == set(CONDITIONS)
    for name, row in ROWS.items():
        for condition in ALONE:
            same = getattr(row.conditions, condition) == getattr(ROWS["plain"].conditions, condition)
            assert same is (condition != name), (name, condition)


def test_what_differs_is_said_in_one_phrase() -> None:
    energy = COLUMNS["energy"]
    assert why_not(ROWS["plain"], ROWS["frame_rate"], energy) == "frame rate: none and 15.0"
    assert why_not(ROWS["threads"], ROWS["meter"], energy) == "threads: 2 and 1; meter: rapl and nvml"
    assert why_not(ROWS["plain"], ROWS["cores"], energy) == "cores: big cores 6,7 and little cores 0,1,2,3"
    assert why_not(ROWS["plain"], ROWS["version"], energy) == "version: 1.31.0 and 1.32.0"


def test_two_runtimes_may_be_compared_and_two_versions_of_one_may_not() -> None:
    other = used("2.3.0").model_copy(update={"runtime": "litert"})
    made = [
        record("old", **BASE),
        record("new", **(BASE | ALONE["version"])),
        record("lite", **(BASE | {"runtime": other})),
    ]
    rows = rows_by_name(table_of(made))
    latency = COLUMNS["latency_p50"]
    assert comparable(rows["old"], rows["lite"], latency)
    assert comparable(rows["new"], rows["lite"], latency)
    assert not comparable(rows["old"], rows["new"], latency)


# ------------------------------------------------------------------------------------------ every view agrees


TIMES_NS = {name: 1_000_000 + 50_000 * place for place, name in enumerate(("twin", "plain", *ALONE))}
"""The twin is the fastest of all, and each other one slower than the one before."""
AXES = [
    ("latency_p50", "energy"),
    ("energy", "acer"),
    ("latency_p50", "acer"),
    ("file_bytes", "energy_gross"),
]


@pytest.fixture(scope="module")
def timed() -> Table:
    return table_of(records(TIMES_NS))


def on_page(table: Table, x: str, y: str) -> set[str]:
    """Rows that the page's script puts on a front: what it reads, evaluated pair by pair."""
    data = page_data(table, map(detail_of, records(TIMES_NS)), [])
    by_name = {one["name"]: one for one in data["columns"]}
    across, up = by_name[x], by_name[y]
    asked = {*across["conditions"], *up["conditions"]}
    conditions = data["rows"]["conditions"]

    def may(one: int, other: int) -> bool:
        differ = {name for name in asked if conditions[name][one] != conditions[name][other]}
        if conditions["runtime"][one] != conditions["runtime"][other]:
            differ -= set(data["of_one_runtime"])
        return not differ

    def beats(one: int, other: int) -> bool:
        ours, theirs = ([axis["values"][place] for axis in (across, up)] for place in (one, other))
        return all(a <= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs

    places = range(len(table.rows))
    return {
        table.rows[place].net
        for place in places
        if not any(may(other, place) and beats(other, place) for other in places)
    }


@pytest.mark.parametrize(("x", "y"), AXES)
def test_page_figure_and_front_hold_the_same_rows_against_each_other(timed: Table, x: str, y: str) -> None:
    across, up = COLUMNS[x], COLUMNS[y]
    points, _ = points_of(timed.rows, across, up, NOTHING)
    figure = {point.label.partition(".")[0] for point in points if point.on_front}
    groups = comparisons(timed.rows, (across, up), draws=0)
    front = {one.row.net for group in groups for one in group.standings if one.on_front}
    by_hand = {
        row.net for row in timed.rows if not any(_dominates(other, row, across, up) for other in timed.rows)
    }
    assert figure == front == on_page(timed, x, y) == by_hand
    names = [(group.machine, group.data) for group in groups]
    assert len(set(names)) == len(names)


def _dominates(other: Row, row: Row, *columns: Column) -> bool:
    if not all(comparable(other, row, of) for of in columns):
        return False
    ours, theirs = ([of.number(one) for of in columns] for one in (other, row))
    return all(a <= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs  # type: ignore[operator]


@pytest.mark.parametrize("name", ["latency_p50", "energy", "paced_p50", "acer"])
def test_the_best_of_a_table_is_bold_among_what_may_be_compared(timed: Table, name: str) -> None:
    view = view_of(timed, Query(columns=(name,)))
    for group in view.groups:
        rows = [line.row for line in group.lines]
        for line in group.lines:
            of, cell = view.columns[1], line.cells[1]
            others = [row for row in rows if comparable(row, line.row, of) and of.number(row) is not None]
            shown = {of.digits(row) for row in others}
            best = min((of.number(row) for row in others), default=None)  # type: ignore[type-var]
            assert cell.best is (len(shown) > 1 and of.number(line.row) == best), line.row.net


def test_the_sets_of_a_figure_are_mutually_comparable_and_hold_every_row_once(timed: Table) -> None:
    for x, y in AXES:
        columns = (COLUMNS[x], COLUMNS[y])
        sets = sets_of(timed.rows, columns)
        assert sorted(place for members in sets for place in members) == list(range(len(timed.rows)))
        for members in sets:
            for one, other in itertools.combinations(members, 2):
                assert all(comparable(timed.rows[one], timed.rows[other], of) for of in columns)


def test_energy_at_a_frame_rate_and_back_to_back_are_two_fronts() -> None:
    back_to_back = record("fast", **(BASE | {"power": drawn_uj(), "weight": weight(1, 1, 1)}))
    paced = record(
        "paced",
        **(BASE | {"power": power(15_000_000, 1000), "plan": Plan(fps=15), "weight": weight(9, 9, 9)}),
    )
    table = table_of([back_to_back, paced])
    points, _ = points_of(table.rows, COLUMNS["file_bytes"], COLUMNS["energy"], NOTHING)
    assert all(point.on_front for point in points)
    assert OF_ONE_RUNTIME == ("version", "settings")
