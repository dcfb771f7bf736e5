"""Times of nodes from onnxruntime's profile: from events written by hand, and from the runtime itself."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from tiny_files import small_onnx

from swapbench.runtimes import contract, ort
from swapbench.runtimes.ort_profile import executed
from swapbench.runtimes.worker import work

if TYPE_CHECKING:
    from pathlib import Path


def run(ts: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": ts, "dur": 90}


def kernel(name: str, ts: int, dur: int, op: str = "Conv", index: int = 0, **told: Any) -> dict[str, Any]:
    told = {"op_name": op, "node_index": str(index), "provider": "CPU", **told}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": told}


def test_each_node_has_its_time_in_each_run_after_the_warm_up() -> None:
    events = [
        {"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 50},
        *(run(100), kernel("a", 101, 9), kernel("b", 110, 9, "Relu", 1)),
        *(run(200), kernel("a", 201, 5), kernel("b", 210, 2, "Relu", 1)),
        *(run(300), kernel("a", 301, 6), kernel("b", 310, 3, "Relu", 1)),
    ]
    found = executed(events, 1)
    assert [(one.name, one.op, one.provider, one.run_ns) for one in found] == [
        ("a", "Conv", "CPU", [5000, 6000]),
        ("b", "Relu", "CPU", [2000, 3000]),
    ]


def test_a_node_counts_without_the_nodes_inside_it() -> None:
    events = [
        *(
            run(0),
            kernel("loop", 1, 20, "Loop"),
            kernel("inner", 3, 5, "Add", 7),
            kernel("inner", 9, 6, "Add", 7),
        ),
        kernel("last", 21, 4, "Relu", 2),
    ]
    assert {one.name: one.run_ns for one in executed(events, 0)} == {
        "loop": [20_000 - 11_000],
        "inner": [11_000],
        "last": [4000],
    }


def test_a_node_that_a_run_left_out_took_no_time_in_it() -> None:
    events = [run(0), kernel("a", 1, 5), run(50), kernel("a", 51, 5), kernel("b", 60, 3, index=1)]
    assert [one.run_ns for one in executed(events, 0)] == [[5000, 5000], [0, 3000]]


def test_nodes_of_one_name_are_told_apart_by_their_number() -> None:
    events = [run(0), kernel("", 1, 5, index=1), kernel("", 7, 2, index=2)]
    assert [one.run_ns for one in executed(events, 0)] == [[5000], [2000]]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("conv_1_nchwc", "conv_1"),
        ("ReorderOutput_token_210", "ReorderOutput"),
        ("a_nchwc_token_3", "a"),
        ("a_token_x", "a_token_x"),
    ],
)
def test_a_name_loses_what_the_optimiser_put_behind_it(said: str, name: str) -> None:
    (found,) = executed([run(0), kernel(said, 1, 5)], 0)
    assert found.name == name


def test_outputs_are_types_and_shapes() -> None:
    shapes = [{"float": [1, 32, 40]}, {"int64": []}]
    (found,) = executed([run(0), kernel("a", 1, 5, output_type_shape=shapes)], 0)
    assert found.output == "float 1x32x40, int64"


@pytest.mark.parametrize("events", [[], [run(0)], [kernel("a", 1, 5)], [run(9), kernel("a", 1, 5)]])
def test_a_profile_without_runs_or_nodes_holds_no_node(events: list[dict[str, Any]]) -> None:
    assert executed(events, 0) == []


def test_the_worker_profiles_a_real_file(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "m.onnx"
    path.write_bytes(small_onnx())
    out = StringIO()
    argv = ["--mode", "profile", "--artifact", str(path), "--runs", "12", "--warmup-ns", "0"]
    assert work(argv, ort.open_backend, StringIO(), out) == 0
    found = contract.parse_profile(out.getvalue())
    assert found.absent == ""
    assert len(found.run_ns) == 12
    assert {len(one.run_ns) for one in found.nodes} == {12}
    assert {one.provider for one in found.nodes} == {"CPUExecutionProvider"}
    assert sum(one.op in {"Conv", "FusedConv"} for one in found.nodes) == 1
    assert [one.op for one in found.nodes][-1] == "Gemm"
    assert found.nodes[-1].output == "float 1x2"
    assert sum(ns for one in found.nodes for ns in one.run_ns) > 0
    assert [(one.op, one.name, one.run_ns) for one in found.placed] == [
        (one.op, one.name, ()) for one in found.nodes
    ]
    assert json.loads(out.getvalue().splitlines()[0])["event"] == "loaded"
