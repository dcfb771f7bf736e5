"""What slows a runtime down: sentences from profiles and records whose nodes can be counted on paper."""

from __future__ import annotations

import pytest

from swapbench.hindrances import hindrances
from swapbench.operators import element_types, summary
from swapbench.ports import Node, Profile
from swapbench.records import OperatorGroup, OperatorProfile, RuntimeUsed

OF_ALL = "% of the time of all operators)"
CPU = RuntimeUsed(runtime="any", version="1", package="any", providers=("CPUExecutionProvider",), threads=1)


def group(
    op: str, output: str, nodes: int, share: float | None = None, provider: str = "cpu"
) -> OperatorGroup:
    return OperatorGroup(op=op, provider=provider, output=output, nodes=nodes, share=share)


def profile(executed: list[OperatorGroup], placed: list[OperatorGroup] | None = None) -> OperatorProfile:
    of_graph = executed if placed is None else placed
    return OperatorProfile(executed=tuple(executed), placed=tuple(of_graph), processes=3, runs=50)


def test_nodes_outside_a_delegate_are_counted_by_operator_with_their_time() -> None:
    found = profile(
        [
            group("Convolution (NHWC, F32)", "", 50, 0.9, "xnnpack"),
            group("CAST", "float32", 2, 0.1, "builtin"),
        ],
        [
            group("CONV_2D", "float32", 48, provider="xnnpack"),
            group("CAST", "float32", 2, provider="builtin"),
            group("LESS", "bool", 1, provider="builtin"),
        ],
    )
    outside, converting = hindrances("fp32", CPU, {}, found)
    assert outside == f"3 of 51 nodes are outside xnnpack: 2 CAST, 1 LESS (10.0 {OF_ALL}"
    assert converting == f"2 executed nodes only convert between types of numbers: 2 CAST (10.0 {OF_ALL}"


def test_where_nothing_is_delegated_at_all_nothing_is_outside() -> None:
    assert (
        hindrances("fp32", CPU, {}, profile([group("Conv", "float", 9, 1.0, "CPUExecutionProvider")])) == ()
    )


def test_floats_in_an_integer_file_are_counted_without_what_only_converts_or_moves() -> None:
    found = profile(
        [
            group("QLinearConv", "uint8", 6, 0.5),
            group("Max", "float", 3, 0.2),
            group("Mul", "float", 1, 0.1),
            group("DequantizeLinear", "float", 3, 0.1),
            group("ReorderOutput", "float", 2, 0.06),
            group("Transpose", "uint8", 1, 0.04),
            group("Reshape", "float", 1, 0.0),
        ]
    )
    floats, converting, moving = hindrances("int8", CPU, {}, found)
    assert floats == (
        f"the outputs of 4 of 10 operators are floats of 32 bits, not int8: 3 Max, 1 Mul (30.0 {OF_ALL}"
    )
    assert converting == (
        f"3 executed nodes only convert between types of numbers: 3 DequantizeLinear (10.0 {OF_ALL}"
    )
    assert moving == (
        f"3 executed nodes only change the layout of tensors: 2 ReorderOutput, 1 Transpose (10.0 {OF_ALL}"
    )
    # an integer file that finds its scales in each run has floats between its operators by design
    assert not any("32 bits" in text for text in hindrances("int8-dynamic", CPU, {}, found))


def test_a_delegate_that_runs_other_nodes_than_the_graph_has_gives_counts_without_times() -> None:
    executed = [
        group("Convolution (NHWC, QC8)", "", 6, 0.7, "xnnpack"),
        group("PReLU (ND)", "", 3, 0.3, "xnnpack"),
    ]
    placed = [
        group("CONV_2D", "int8", 6, provider="xnnpack"),
        group("PRELU", "float32", 3, provider="xnnpack"),
    ]
    assert hindrances("int8", CPU, {}, profile(executed, placed)) == (
        "the outputs of 3 of 9 operators are floats of 32 bits, not int8: 3 PRELU",
    )


def test_a_file_of_halves_that_is_computed_in_full_is_said_to_be() -> None:
    found = profile([group("Conv", "float", 8, 0.9), group("Gemm", "float", 1, 0.1)])
    (text,) = hindrances("fp16", CPU, {}, found)
    assert text.startswith(
        "the outputs of all 9 operators are floats of 32 bits: fp16 is how the file stores"
    )
    halves = profile([group("Conv", "float16", 9, 1.0)])
    assert hindrances("fp16", CPU, {}, halves) == ()


def test_what_takes_no_time_to_speak_of_is_not_said() -> None:
    found = profile([group("Conv", "float", 9, 0.996), group("Cast", "float", 1, 0.004)])
    assert hindrances("fp32", CPU, {}, found) == ()


@pytest.mark.parametrize(
    ("delegated", "expected"),
    [
        (60, ()),
        (48, ("12 of 60 nodes are outside xnnpack",)),
        (0, ("no delegate took any of the 60 nodes",)),
        (None, ()),
    ],
)
def test_without_a_profile_the_worker_says_how_much_is_delegated(
    delegated: int | None, expected: tuple[str, ...]
) -> None:
    used = CPU.replace(providers=("xnnpack", "builtin"), delegated_nodes=delegated, nodes=60)
    assert hindrances("fp32", used, {"CONV_2D": 60}, None) == expected


def test_without_a_profile_conversions_are_counted_in_an_integer_file_that_means_nodes_by_them() -> None:
    ops = {"CONV_2D": 21, "QUANTIZE": 16, "DEQUANTIZE": 15}
    assert hindrances("int8", CPU, ops, None) == (
        "31 of the file's 52 nodes only convert between types of numbers: 16 QUANTIZE, 15 DEQUANTIZE",
    )
    assert hindrances("fp16", CPU, ops, None) == ()  # there they unpack weights, which runtimes do once
    assert hindrances("int8", CPU, {"CONV_2D": 9, "QUANTIZE": 1, "DEQUANTIZE": 1}, None) == ()
    notation = {"Conv": 21, "QuantizeLinear": 40, "DequantizeLinear": 90}
    assert hindrances("int8", CPU, notation, None) == ()


# ---- What a record keeps of a profile ----


def node(op: str, output: str, *run_us: int, count: int = 1) -> Node:
    return Node("", op, output, "cpu", tuple(us * 1000 for us in run_us), count)


def test_a_record_keeps_nodes_by_operator_and_element_type_with_their_median_share() -> None:
    def of_process(float_us: int) -> Profile:
        nodes = (
            node("Conv", "float 1x8", float_us),
            node("Conv", "uint8 1x8", 2, count=3),
            node("Conv", "float 1x4", 1),
        )
        return Profile(CPU, (9000,), nodes, nodes)

    kept = summary([of_process(us) for us in (7, 1, 5)])
    assert [(one.op, one.output, one.nodes) for one in kept.executed] == [
        ("Conv", "float", 2),
        ("Conv", "uint8", 3),
    ]
    # of 10, 4 and 8 µs the floats take 8, 2 and 6
    assert [one.share for one in kept.executed] == pytest.approx([0.75, 0.25])
    assert [(one.output, one.nodes, one.share) for one in kept.placed] == [
        ("uint8", 3, None),
        ("float", 2, None),
    ]
    assert (kept.processes, kept.runs, kept.untimed) == (3, 1, "")


def test_a_profile_without_times_keeps_where_nodes_were_placed_and_why() -> None:
    placed = (Node("a", "CONV_2D", "float32 1x8", "xnnpack"), Node("b", "CAST", "float32 1x8", "builtin"))
    kept = summary([Profile(CPU, (9000, 9000), (), placed, "no profiler here")])
    assert (kept.executed, kept.untimed, kept.runs) == ((), "no profiler here", 2)
    assert hindrances("fp32", CPU, {}, kept) == (
        "1 of 2 nodes are outside xnnpack: 1 CAST",
        "which operators take the time is not known: no profiler here",
    )


def test_the_element_types_of_several_outputs_are_named_once() -> None:
    assert element_types("float 1x32x40x40, int64 4, float 2") == "float, int64"
    assert element_types("") == ""


def test_kernels_of_an_executorch_program_are_outside_its_delegate() -> None:
    used = CPU.model_copy(update={"runtime": "executorch", "providers": ("cpu",)})
    ops = {"Conv2d": 8, "aten::mean": 2, "dim_order_ops::_to_dim_order_copy": 1}
    wanted = "3 of 11 nodes are outside the delegate: 2 aten::mean, 1 dim_order_ops::_to_dim_order_copy"
    assert hindrances("fp32", used, ops, None) == (wanted,)
    assert hindrances("fp32", used, {"aten::mean": 2}, None) == ("no delegate took any of the 2 nodes",)
    assert hindrances("fp32", used, {"Conv2d": 8}, None) == ()
    assert hindrances("fp32", CPU, ops, None) == ()
