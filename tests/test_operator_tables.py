"""The operators of one file and of two, as a person and a program read them."""

from __future__ import annotations

import json

import pytest

from swapbench.operators import Contents, breakdown, counted, difference
from swapbench.operators import Spread as Range
from swapbench.ports import Node, Profile
from swapbench.records import RuntimeUsed
from swapbench.report.tables import operator_tables as operators

USED = RuntimeUsed(
    runtime="litert",
    version="2.3.0",
    package="p",
    providers=("xnnpack",),
    threads=2,
    delegated_nodes=3,
    nodes=3,
)
OLD = Contents("old.tflite", 1_000_000, 2000, 3_000_000, {"CONV_2D": 2, "RELU": 1})
NEW = Contents("new.tflite", 1_200_000, 2000, 3_000_000, {"CONV_2D": 2, "SIN": 1})


def node(op: str, name: str, us: int, provider: str = "xnnpack", output: str = "float 1x8") -> Node:
    return Node(name, op, output, provider, (us * 1000,))


def profile(*nodes: Node, absent: str = "") -> Profile:
    return Profile(USED, (9000,), () if absent else nodes, nodes, absent)


ONE = [profile(node("Conv", "a", 6), node("Relu", "b", 1), node("Conv", "c", 1))] * 2
TWO = [profile(node("Conv", "a", 6), node("Sin", "d", 3, "builtin"), node("Conv", "c", 1, "builtin"))] * 2
WHOLE = Range(1.25, 1.25, 1.25)


def test_one_file_is_a_table_of_operators_and_one_of_the_heaviest_nodes() -> None:
    assert operators.terminal([OLD], (), [breakdown(ONE)], None, 2).splitlines() == [
        "old.tflite (litert 2.3.0, xnnpack, 3 of 3 nodes delegated, 2 threads, 2 processes of 1 runs)",
        "",
        "Operator  Nodes   Share         Range     Hint  Provider",
        "Conv          2  87.5 %  87.5 to 87.5  7.00 µs  xnnpack",
        "Relu          1  12.5 %  12.5 to 12.5  1.00 µs  xnnpack",
        "",
        "The heaviest 2 of 3 nodes:",
        "Node  Operator  Output      Share         Range  Provider",
        "a     Conv      float 1x8  75.0 %  75.0 to 75.0  xnnpack",
        "b     Relu      float 1x8  12.5 %  12.5 to 12.5  xnnpack",
        "",
        "Range: the lowest and the highest process.",
        (
            "Hint: a run's time while it is profiled, which costs time itself. All operators: 8.00 µs; "
            "a whole run without the "
            "profiler: 9.00 µs."
        ),
    ]


def test_two_files_are_what_grew_came_went_and_fell_back() -> None:
    found = difference(ONE, TWO, WHOLE)
    text = operators.terminal(
        [OLD, NEW], counted(OLD.ops, NEW.ops), [breakdown(ONE), breakdown(TWO)], found, 1
    )
    assert text.splitlines()[3:] == [
        (
            "B takes 125.0 % (125.0 to 125.0) of A's time, measured in pairs without a profiler. "
            "Everything below is a share of A's time."
        ),
        "1 Conv fell back from xnnpack to builtin (c).",
        "",
        "Operator       A       B  Change           Range  Nodes  Provider",
        "Sin            –  37.5 %   +37.5  +37.5 to +37.5  0 → 1  builtin                         new",
        "Relu      12.5 %       –   -12.5  -12.5 to -12.5  1 → 0  xnnpack                         gone",
        "Conv      87.5 %  87.5 %    +0.0    +0.0 to +0.0      2  xnnpack → xnnpack 1, builtin 1",
        "",
        "The 1 nodes that changed most, of 4:",
        "Node  Operator  Output     A       B  Change           Range  Nodes  Provider",
        "d     Sin       float 1x8  –  37.5 %   +37.5  +37.5 to +37.5  0 → 1  builtin   new",
        "",
        (
            "Range: the change in the lowest and the highest pair of processes, with the range of the "
            "whole in it."
        ),
        "",
        (
            "In the files A old.tflite and B new.tflite: size 1.00 MB → 1.20 MB, parameters 2.00 k → 2.00 "
            "k, MACs 3.00 M → 3.00 M."
        ),
        "Operator  A  B",
        "SIN       0  1  added",
        "RELU      1  0  removed",
    ]


def test_without_times_the_reason_the_totals_and_the_graph_difference_remain() -> None:
    sides = [
        [profile(node("Conv", "c", 1, provider), absent="no profiler")] for provider in ("xnnpack", "builtin")
    ]
    text = operators.terminal(
        [OLD, NEW],
        counted(OLD.ops, NEW.ops),
        [breakdown(side) for side in sides],
        difference(sides[0], sides[1], WHOLE),
        5,
    )
    assert "B takes 125.0 %" in text
    assert "No times of operators: no profiler." in text
    assert "1 Conv fell back from xnnpack to builtin (c)." in text
    assert "SIN       0  1  added" in text
    alone = operators.terminal([OLD], (), [breakdown(sides[0])], None, 5)
    assert "A run takes 9.00 µs as a whole." in alone
    assert "CONV_2D       2" in alone


def test_a_graph_difference_needs_no_timing() -> None:
    text = operators.terminal([OLD, NEW], counted(OLD.ops, NEW.ops), (), None, 5)
    assert text.startswith("In the files A old.tflite and B new.tflite")
    same = operators.terminal([OLD, OLD], (), (), None, 5)
    assert same.splitlines()[1:] == ["Both hold the same numbers of the same operators."]


def test_nodes_without_names_are_shown_as_such_and_said_how_they_were_matched() -> None:
    sides = [[profile(node("Conv", "", us))] * 2 for us in (1, 2)]
    text = operators.terminal(
        [OLD, NEW], (), [breakdown(one) for one in sides], difference(sides[0], sides[1], WHOLE), 5
    )
    assert operators.NO_NAMES in text
    assert "–     Conv" in text


def test_a_name_cannot_break_a_table() -> None:
    text = operators.terminal([OLD], (), [breakdown([profile(node("Conv", "a\nb\x1f  c", 1))])], None, 5)
    assert "a b c" in text


def test_json_holds_every_number_unrounded() -> None:
    found = difference(ONE, TWO, WHOLE)
    said = json.loads(
        operators.json_text([OLD, NEW], counted(OLD.ops, NEW.ops), [breakdown(ONE), breakdown(TWO)], found)
    )
    assert (said["kind"], said["version"]) == ("swapbench.operators", 1)
    assert said["files"][0]["ops"] == {"CONV_2D": 2, "RELU": 1}
    assert said["files"][0]["used"]["delegated_nodes"] == 3
    assert said["files"][0]["operators"][0]["share"] == {"median": 0.875, "low": 0.875, "high": 0.875}
    assert said["difference"]["total"]["median"] == 1.25
    assert said["difference"]["moved"] == [
        {"op": "Conv", "before": "xnnpack", "after": "builtin", "names": ["c"]}
    ]
    assert [one["op"] for one in said["counted"]] == ["SIN", "RELU"]
    bare = json.loads(operators.json_text([OLD], (), (), None))
    assert (bare["difference"], "operators" in bare["files"][0]) == (None, False)


@pytest.mark.parametrize("top", [1, 2, 99])
def test_top_says_how_many_nodes_are_shown(top: int) -> None:
    text = operators.terminal([OLD], (), [breakdown(ONE)], None, top)
    assert f"The heaviest {min(top, 3)} of 3 nodes:" in text
