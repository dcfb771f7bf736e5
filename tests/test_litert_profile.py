"""Times of operators from LiteRT's profiler: from its tables, and from a runtime that was tried."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_files import TinyTflite, convolution_options, ones, schema, small_tflite

from swapbench.runtimes import contract, litert, litert_profile
from swapbench.runtimes.feed import Shapes, Unusable
from swapbench.runtimes.litert_profile import executed, library_of
from swapbench.runtimes.worker import Executed, work

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "[node type]    [start]    [first]   [avg ms]        [%]     [cdf%]   [mem KB] [times called]   [Name]"


def table(*rows: tuple[str, float, int, str], us: int) -> str:
    """The profiler's text for rows of operator, per cent of all time so far, calls so far and name."""
    lines = [
        f"{op:>60}      0.000      0.003      0.003 {share:9.3f}% {100:9.3f}%      0.000 {calls:14}   {name}"
        for op, share, calls, name in rows
    ]
    return "\n".join(
        [
            f"{'=' * 9} Run Order {'=' * 9}",
            HEAD,
            *lines,
            "",
            "=== Top by Computation Time ===",
            HEAD,
            *lines[::-1],
            "",
            "Number of nodes executed: 2",
            f"Timings (microseconds): count=2 curr={us}",
            "Memory (bytes): count=0",
        ]
    )


CONV, ADD = "Delegate/Convolution (NHWC, F32) IGEMM", "Delegate/Add (ND)"


def test_each_run_is_what_it_added_to_the_table() -> None:
    # after one run 30 + 10 µs; after two 50 + 30: the second took 20 + 20
    found = executed(
        [
            table((CONV, 75, 1, "[Delegate]:0"), (ADD, 25, 1, "[Delegate]:1"), us=40),
            table((CONV, 62.5, 2, "[Delegate]:0"), (ADD, 37.5, 2, "[Delegate]:1"), us=80),
        ]
    )
    assert found == [
        Executed("", "Convolution (NHWC, F32) IGEMM", "", "xnnpack", [30_000, 20_000]),
        Executed("", "Add (ND)", "", "xnnpack", [10_000, 20_000]),
    ]


def test_a_row_may_stand_for_several_nodes_and_a_name_may_hold_anything() -> None:
    (one, other) = executed(
        [table((CONV, 60.0, 2, "[Delegate]:0"), ("LOG_SOFTMAX", 40.0, 1, "[a; b]:[c d]:7"), us=10)]
    )
    assert (one.count, one.run_ns) == (2, [6000])
    assert (other.op, other.provider, other.name, other.count) == (
        "LOG_SOFTMAX",
        "builtin",
        "a; b]:[c d:7",
        1,
    )


def test_rounding_of_the_shares_gives_the_whole_microseconds_back_and_never_less_than_none() -> None:
    # 1 of 3 µs is printed as 33.333 %; 1 of 7 as 14.286 %
    found = executed(
        [
            table((CONV, 66.667, 1, "[Delegate]:0"), (ADD, 33.333, 1, "[Delegate]:1"), us=3),
            table((CONV, 85.714, 2, "[Delegate]:0"), (ADD, 14.286, 2, "[Delegate]:1"), us=7),
        ]
    )
    assert [one.run_ns for one in found] == [[2000, 4000], [1000, 0]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing to see",
        HEAD,
        table(us=4),
        table((ADD, 100, 1, "[Delegate]:0"), us=4).replace("Timings", "Times"),
    ],
)
def test_a_table_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(Unusable, match="unknown format"):
        executed([text])


def test_operators_that_change_from_run_to_run_are_refused() -> None:
    first, second = table((CONV, 100, 1, "[Delegate]:0"), us=4), table((ADD, 100, 1, "[Delegate]:0"), us=4)
    with pytest.raises(Unusable, match="changed from run to run"):
        executed([first, second])


# ------------------------------------------------------------------------------------------ where it is


def test_only_releases_that_were_tried_are_called(tmp_path: Path) -> None:
    (tmp_path / "libLiteRt.so").touch()
    assert library_of(tmp_path, "2.3.1") == tmp_path / "libLiteRt.so"
    with pytest.raises(Unusable, match=r"works with ai-edge-litert 2\.3\.\*, but 2\.4\.0 is installed"):
        library_of(tmp_path, "2.4.0")
    with pytest.raises(Unusable, match="has no library with a profiler"):
        library_of(tmp_path / "elsewhere", "2.3.0")


def test_a_library_without_the_functions_is_a_reason_and_no_crash(tmp_path: Path) -> None:
    import ctypes.util

    other = ctypes.util.find_library("m")
    if other is None:
        pytest.skip("no library at hand that is another")
    from pathlib import Path as AnyPath

    with pytest.raises(Unusable, match="has no function LiteRtCreateEnvironment"):
        litert_profile.profile(AnyPath(other), "m.tflite", 1, Shapes(), np.zeros(1, np.float32), 1)


def said(path: Path, *argv: str, version: str | None = None) -> Any:
    pytest.importorskip("ai_edge_litert.interpreter")

    def open_backend() -> Any:
        return litert.open_backend() if version is None else litert.open_backend(version_of=lambda _: version)

    out = StringIO()
    given = ["--mode", "profile", "--artifact", str(path), "--runs", "10", "--warmup-ns", "0", *argv]
    assert work(given, open_backend, StringIO(), out) == 0
    return contract.parse_profile(out.getvalue())


def with_a_node_that_no_delegate_takes() -> bytes:
    """Two convolutions with a local response normalisation between them, then the mean."""
    code, file = schema.BuiltinOperator, TinyTflite()
    x, b = file.tensor("x", [1, 8, 8, 3]), file.tensor("b", [4], ones(4))
    w, v = file.tensor("w", [4, 3, 3, 3], ones(4, 3, 3, 3)), file.tensor("v", [4, 3, 3, 4], ones(4, 3, 3, 4))
    c = file.op(code.CONV_2D, [x, w, b], file.tensor("c", [1, 8, 8, 4]), *convolution_options())
    lrn = (
        schema.LocalResponseNormalizationOptionsT(),
        schema.BuiltinOptions.LocalResponseNormalizationOptions,
    )
    n = file.op(code.LOCAL_RESPONSE_NORMALIZATION, [c], file.tensor("norm; out", [1, 8, 8, 4]), *lrn)
    d = file.op(code.CONV_2D, [n, v, b], file.tensor("d", [1, 8, 8, 4]), *convolution_options())
    file.graph.inputs, file.graph.outputs = [x], [d]
    return file.bytes()


def tried() -> bool:
    from importlib import metadata

    try:
        return metadata.version("ai-edge-litert").startswith(litert_profile.TRIED)
    except metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(not tried(), reason="the profiler was not tried with this release")
def test_the_worker_sees_the_operators_inside_the_delegate(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(small_tflite().bytes())
    found = said(path)
    assert found.absent == ""
    assert {one.provider for one in found.nodes} == {"xnnpack"}
    assert found.nodes[0].op.startswith("Convolution")
    assert {len(one.run_ns) for one in found.nodes} == {10}
    assert len(found.run_ns) == 10
    assert [(one.op, one.provider) for one in found.placed] == [
        (op, "xnnpack") for op in ("CONV_2D", "PRELU", "MEAN", "FULLY_CONNECTED")
    ]


@pytest.mark.skipif(not tried(), reason="the profiler was not tried with this release")
def test_a_node_that_no_delegate_took_has_the_name_and_output_of_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(with_a_node_that_no_delegate_takes())
    found = said(path, "--threads", "2")
    (alone,) = (one for one in found.nodes if one.provider == "builtin")
    assert (alone.op, alone.name) == ("LOCAL_RESPONSE_NORMALIZATION", "norm; out")
    assert alone.output == "float32 1x8x8x4"
    assert [(one.name, one.provider) for one in found.placed] == [
        ("c", "xnnpack"),
        ("norm; out", "builtin"),
        ("d", "xnnpack"),
    ]
    assert sum(one.count for one in found.nodes) == 3


def test_without_a_profiler_the_reason_the_whole_runs_and_the_placing_remain(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(with_a_node_that_no_delegate_takes())
    found = said(path, version="9.9.9")
    assert found.nodes == ()
    assert "but 9.9.9 is installed" in found.absent
    assert len(found.run_ns) == 10
    assert [one.provider for one in found.placed] == ["xnnpack", "builtin", "xnnpack"]
    assert "only runs the default delegate" in said(path, "--provider", "builtin").absent


def test_the_predecessor_has_no_profiler() -> None:
    def import_module(name: str) -> Any:
        if name != "tflite_runtime.interpreter":
            raise ModuleNotFoundError(name)
        return SimpleNamespace(__file__="/nowhere/interpreter.py")

    backend: Any = litert.open_backend(import_module, lambda _: "2.14.0")
    with pytest.raises(Unusable, match="tflite-runtime has no profiler"):
        backend._profile("m.tflite", 1, Shapes(), np.zeros(1), 1)
