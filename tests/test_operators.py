"""Shares and differences of operators, from profiles whose numbers are worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench import operators
from swapbench.operators import OperatorCount, Spread, breakdown, counted, difference, identities, matched
from swapbench.ports import Node, Profile
from swapbench.records import RuntimeUsed

USED = RuntimeUsed(runtime="r", version="1", package="p", providers=("cpu",), threads=1)
SAME = Spread(1.0, 1.0, 1.0)


def node(
    op: str, name: str, *run_us: int, output: str = "f 1", provider: str = "cpu", count: int = 1
) -> Node:
    return Node(name, op, output, provider, tuple(us * 1000 for us in run_us), count)


def profile(*nodes: Node, placed: tuple[Node, ...] = (), absent: str = "", run_ns: int = 5000) -> Profile:
    return Profile(USED, (run_ns, run_ns), nodes, placed or nodes, absent)


# ------------------------------------------------------------------------------------------ one file


def test_shares_of_one_process_are_parts_of_the_time_of_all_operators() -> None:
    found = breakdown([profile(node("Conv", "a", 10), node("Relu", "b", 2), node("Conv", "c", 4))])
    assert [(one.op, one.nodes, one.share) for one in found.operators] == [
        ("Conv", 2, Spread(0.875, 0.875, 0.875)),
        ("Relu", 1, Spread(0.125, 0.125, 0.125)),
    ]
    assert [(one.name, one.share.median, one.hint_ns) for one in found.nodes] == [
        ("a", 0.625, 10_000),
        ("c", 0.25, 4000),
        ("b", 0.125, 2000),
    ]
    assert (found.operators_ns, found.run_ns, found.processes, found.runs) == (16_000, 5000, 1, 1)


def test_the_slow_runs_of_a_process_do_not_count() -> None:
    # the sums are 10, 100, 20, 50: the fastest quarter of four is one run
    found = breakdown([profile(node("A", "a", 5, 99, 4, 1), node("B", "b", 5, 1, 16, 49))])
    assert [one.share.median for one in found.operators] == [0.5, 0.5]


def test_a_share_is_the_median_over_processes_and_its_range_the_extremes() -> None:
    processes = [profile(node("A", "a", us), node("B", "b", 10 - us)) for us in (6, 9, 7)]
    found = breakdown(processes)
    assert found.operators[0].share == Spread(0.7, 0.6, 0.9)
    assert found.operators[1].share == Spread(0.3, pytest.approx(0.1), 0.4)


def test_a_process_that_is_slowed_down_as_a_whole_leaves_the_shares_and_the_hint_as_they_are() -> None:
    fast = profile(node("A", "a", 3), node("B", "b", 1), run_ns=5000)
    slow = profile(node("A", "a", 30), node("B", "b", 10), run_ns=50_000)
    found = breakdown([slow, fast, slow])
    assert found.operators[0].share == Spread(0.75, 0.75, 0.75)
    assert (found.operators_ns, found.run_ns, found.operators[0].hint_ns) == (4000, 5000, 3000)


def test_processes_may_execute_the_same_nodes_in_another_order() -> None:
    one = profile(node("A", "a", 1), node("A", "", 2), node("A", "", 3))
    other = profile(node("A", "", 2), node("A", "a", 1), node("A", "", 3))
    assert [part.share for part in breakdown([one, other]).nodes] == [
        Spread(share, share, share) for share in (3 / 6, 2 / 6, 1 / 6)
    ]


def test_processes_that_executed_different_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="different nodes"):
        breakdown([profile(node("A", "a", 1)), profile(node("A", "b", 1))])


def test_without_times_the_reason_stands_and_the_whole_run_is_still_told() -> None:
    found = breakdown([profile(absent="no profiler here", run_ns=7000)])
    assert (found.operators, found.nodes, found.operators_ns) == ((), (), None)
    assert (found.absent, found.run_ns) == ("no profiler here", 7000)


def test_a_graph_below_the_profilers_clock_has_no_shares_and_no_invented_ones() -> None:
    assert breakdown([profile(node("A", "a", 0), node("B", "b", 0))]).absent == operators.TOO_SMALL
    found = difference([profile(node("A", "a", 0))], [profile(node("A", "a", 1))], SAME)
    assert (found.absent, found.operators) == (operators.TOO_SMALL, ())


def test_an_operator_on_two_providers_says_how_many_nodes_each_runs() -> None:
    nodes = [node("A", "a", 1, provider="gpu", count=2), node("A", "b", 1), node("A", "c", 1, provider="gpu")]
    assert breakdown([profile(*nodes)]).operators[0].providers == "gpu 3, cpu 1"


@given(st.lists(st.lists(st.integers(1, 1000), min_size=3, max_size=3), min_size=1, max_size=5))
def test_shares_lie_within_their_range_and_those_of_one_process_sum_to_one(runs: list[list[int]]) -> None:
    found = breakdown([profile(*(node("A", str(place), us) for place, us in enumerate(row))) for row in runs])
    assert all(0 < one.share.low <= one.share.median <= one.share.high < 1 for one in found.nodes)
    assert found.operators[0].share.median == pytest.approx(1)
    if len(runs) == 1:
        assert sum(one.share.median for one in found.nodes) == pytest.approx(1)


# ------------------------------------------------------------------------------------------ two files


def test_what_grew_is_told_from_what_only_has_a_larger_share() -> None:
    # 10 -> 8 µs: Relu is gone, Conv takes as long as before although its share rises from 60 to 75 %
    old = [profile(node("Conv", "a", 6), node("Relu", "b", 4))] * 3
    new = [profile(node("Conv", "a", 6), node("Add", "c", 2))] * 3
    found = difference(old, new, Spread(0.8, 0.8, 0.8))
    changes = {one.op: one for one in found.operators}
    assert changes["Conv"].before.median == pytest.approx(0.6)
    assert changes["Conv"].after.median == pytest.approx(0.6)
    assert not changes["Conv"].grew
    assert (changes["Relu"].nodes, changes["Relu"].change.median) == ((1, 0), pytest.approx(-0.4))
    assert (changes["Add"].nodes, changes["Add"].change.median) == ((0, 1), pytest.approx(0.2))
    assert [one.op for one in found.grew] == ["Add"]
    assert [one.op for one in found.operators] == ["Relu", "Add", "Conv"]  # the largest change first


def test_the_range_of_a_change_holds_that_of_the_processes_and_that_of_the_whole() -> None:
    old = [profile(node("A", "a", 5), node("B", "b", 5))] * 2
    new = [profile(node("A", "a", us), node("B", "b", 10 - us)) for us in (6, 7)]
    found = difference(old, new, Spread(1.0, 0.9, 1.1))
    (change,) = (one for one in found.operators if one.op == "A")
    # .6 and .7 of the whole: the lowest is .9 * .6 - .5, the highest 1.1 * .7 - .5
    assert change.change.low == pytest.approx(0.04)
    assert change.change.median == pytest.approx(0.1)
    assert change.change.high == pytest.approx(0.27)
    assert change.grew


@pytest.mark.parametrize(
    ("low", "median", "grew"), [(0.001, 0.005, True), (0.0, 0.1, False), (0.001, 0.0049, False)]
)
def test_an_operator_grew_where_every_process_says_so_and_it_can_be_noticed(
    low: float, median: float, grew: bool
) -> None:
    change = operators.Change("A", "", "", (1, 1), ("c", "c"), SAME, SAME, Spread(median, low, 1.0))
    assert change.grew is grew


def test_a_node_that_became_another_operator_is_still_the_same_node() -> None:
    old, new = profile(node("Conv", "a", 2)), profile(node("QLinearConv", "a", 1))
    (change,) = difference([old], [new], Spread(0.5, 0.5, 0.5)).nodes
    assert (change.op, change.name, change.nodes) == ("Conv → QLinearConv", "a", (1, 1))
    assert change.change.median == pytest.approx(-0.5)


def test_nodes_that_fell_back_are_named_even_where_there_are_no_times() -> None:
    def placed(*providers: str) -> Profile:
        return profile(
            placed=tuple(
                node("Conv", name, provider=provider) for name, provider in zip("abc", providers, strict=True)
            ),
            absent="no profiler",
        )

    found = difference([placed("xnnpack", "xnnpack", "gpu")], [placed("builtin", "xnnpack", "npu")], SAME)
    assert found.absent == "no profiler"
    assert found.total == SAME
    assert [(one.op, one.before, one.after, one.names, one.fell_back) for one in found.moved] == [
        ("Conv", "xnnpack", "builtin", ("a",), True),
        ("Conv", "gpu", "npu", ("c",), False),
    ]


def test_unequal_numbers_of_processes_do_not_form_pairs() -> None:
    one = profile(node("A", "a", 1))
    for sides in (([one], []), ([], []), ([one], [one, one])):
        with pytest.raises(ValueError, match="do not form pairs"):
            difference(*sides, SAME)


# ------------------------------------------------------------------------------------------ matching


def test_nodes_match_by_a_name_that_is_single_on_both_sides_whatever_the_order() -> None:
    old = [node("A", "x"), node("B", "y")]
    new = [node("B", "y"), node("C", "x")]
    assert matched(old, new) == [(1, 0), (0, 1)]


def test_nodes_without_a_single_name_match_by_operator_output_and_order() -> None:
    old = [node("A", ""), node("A", "", output="f 2"), node("A", "same"), node("A", "same")]
    new = [node("A", "", output="f 2"), node("A", "same"), node("A", ""), node("B", "")]
    # the first "f 1" of the new side takes the first of the old one, and so on; B is new, the last two of the
    # old are gone
    assert matched(old, new) == [(1, 0), (0, 1), (2, 2), (None, 3), (3, None)]


@given(*[st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["", "x", "y", "z"])))] * 2)
def test_every_node_is_matched_once_or_stands_alone(
    old: list[tuple[str, str]], new: list[tuple[str, str]]
) -> None:
    sides = [[node(op, name) for op, name in side] for side in (old, new)]
    pairs = matched(*sides)
    assert sorted(one for one, _ in pairs if one is not None) == list(range(len(old)))
    assert sorted(other for _, other in pairs if other is not None) == list(range(len(new)))
    for one, other in pairs:
        if one is not None and other is not None:
            left, right = sides[0][one], sides[1][other]
            assert left.name == right.name != "" or left.op == right.op


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["", "x"]))))
def test_a_file_against_itself_matches_every_node(nodes: list[tuple[str, str]]) -> None:
    side = [node(op, name) for op, name in nodes]
    assert len(set(identities(side))) == len(side)
    assert all(one is not None and other is not None for one, other in matched(side, side))


# ------------------------------------------------------------------------------------------ without any
# timing


def test_operators_are_counted_in_the_files_alone() -> None:
    found = counted({"Conv": 3, "Relu": 2, "Add": 1}, {"Conv": 3, "Mul": 4, "Add": 2})
    assert found == (OperatorCount("Mul", 0, 4), OperatorCount("Add", 1, 2), OperatorCount("Relu", 2, 0))
    assert counted({"Conv": 3}, {"Conv": 3}) == ()
